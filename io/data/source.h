/* io/data/source.h: source kinds: where records come from.
 *
 * A source kind is one file io/data/source_NAME.c with one descriptor, and one row in sources.def. It opens
 * what its item names, says what a record is (a frame) and gives the records from front to back, once, as
 * packed units; data sets (dataset.h) keep them, in memory or in a cache file, and give random access. A unit
 * is a record, but where records overlap (windows over a text) it is what they are cut from: record r covers
 * `span` bytes from byte r * stride of the units. */
#ifndef DLT_IO_DATA_SOURCE_H
#define DLT_IO_DATA_SOURCE_H

#include "base/kind.h"
#include "io/data/frame.h"
#include "io/data/stamp.h"
#include "io/data/stats.h"

#include <stdatomic.h>

enum {
    DLT_PROBE_RECORDS = 1000,        /* looked at by `check`; they settle the types of a table's columns */
    DLT_PROBE_LABEL_BYTES = 16 << 20 /* labels up to this size are all read by `check` */
};

typedef struct dlt_source dlt_source;

/** How a source is opened. */
typedef struct dlt_source_options {
    const dlt_frame *follow; /* train's frame, which rules; NULL: this is train */
    bool predict;            /* features only: what else the source has is not looked at */
    int threads;             /* that may work for the source, at least 1 */
    uint64_t memory;         /* bytes that it may hold besides small buffers */
    size_t block_bytes; /* of a text that is cut into blocks; 0: chosen. Tests take small ones to see seams */
    const atomic_int *stop; /* not 0: end with DLT_E_STOPPED; may be NULL */
} dlt_source_options;

/** Parts of a source's records that lie in a file as they are, so that they need not be copied. */
typedef struct dlt_extent {
    size_t part;
    const char *path;
    int64_t offset, stride; /* of record 0 in the file, and from record to record */
} dlt_extent;

struct dlt_source {
    const dlt_item *item;
    dlt_source_options options;
    dlt_arena *arena; /* lives as long as the source */

    /* set by `files`: what the records depend on, in order; empty where there are no files (or only standard
     * input) */
    dlt_stamp *stamps;
    size_t stamp_count;
    int64_t wanted; /* records, before those that cannot be read are left out; 0: not known */

    /* set by `open` */
    dlt_frame *frame;           /* the presented records (a text target: see class_map) */
    size_t unit_bytes;          /* that `next` gives */
    int64_t stride, span;       /* bytes: units cover record r from r * stride on */
    const size_t *unit_offsets; /* by part: where it lies in the span; NULL: the layout's offsets */
    int64_t units;              /* that there are; -1: known at the end */
    bool labels_known;          /* stats.classes are complete already */
    bool costly;                /* records are packed into a cache file though memory holds them: they are dear to make */
    dlt_extent *extents;        /* all parts, or none */
    size_t extent_count;
    /** Values of a part for records [first, first + rows), at any time, by any thread: then nothing need be
     * kept. NULL: no. */
    dlt_status (*fetch)(const dlt_source *source, size_t part, int64_t first, int64_t rows, void *out,
                        dlt_diag *diag);
    dlt_stats stats; /* grows with `next`; after open: of what was looked at */

    /* set when the source is settled */
    int32_t *
        *class_map; /* by part: NULL, or class number of each code that the units hold; NULL: none at all */

    void *state; /* the kind's own */
};

typedef struct dlt_source_desc {
    dlt_kind kind; /* first: the kind of an item of category "source" is one of these */
    /** Finds the files and takes their stamps. */
    dlt_status (*files)(dlt_source *source, dlt_diag *diag);
    /** Reads headers and what else tells the frame. */
    dlt_status (*open)(dlt_source *source, dlt_diag *diag);
    /**
     * Gives the next units, at most `most`: *got of them, 0 at the end. units == NULL: they are only looked
     * at, for the stats; how many come at once is the source's choice then.
     */
    dlt_status (*next)(dlt_source *source, int64_t most, unsigned char *units, int64_t *got, dlt_diag *diag);
    /** No more is read: types, vocabularies and class names become final. Done by `next` at the end. NULL:
     * nothing to do. */
    dlt_status (*settle)(dlt_source *source, dlt_diag *diag);
    void (*close)(dlt_source *source); /* also after a failed `files` or `open` */
    /** Parameters of an item of this kind that reads `path` as `like` (an item of this kind, or NULL) would:
     * the features, for predict, or with `targets` those and the weights too, for evaluate. An error where
     * they do not lie in one file. */
    dlt_status (*input)(dlt_arena *arena, const dlt_item *like, const char *path, bool targets, void *params,
                        dlt_diag *diag);
} dlt_source_desc;

/** Category "source": kinds of sources.def. Category "validation": the same, and `split`. */
extern const dlt_category dlt_source_category, dlt_validation_category;
/** The kind `split` (params: dlt_split_params). */
extern const dlt_kind dlt_split_kind;
/** Descriptor of a source's item. */
const dlt_source_desc *dlt_source_desc_of(const dlt_item *item);

/** Finds the files; *source is to be closed with dlt_source_close also after later failures. */
dlt_status dlt_source_create(const dlt_item *item, const dlt_source_options *options, dlt_source **source,
                             dlt_diag *diag);
dlt_status dlt_source_open(dlt_source *source, dlt_diag *diag);
static inline dlt_status dlt_source_next(dlt_source *source, int64_t most, unsigned char *units, int64_t *got,
                                         dlt_diag *diag)
{
    return dlt_source_desc_of(source->item)->next(source, most, units, got, diag);
}
/** NULL is accepted. */
void dlt_source_close(dlt_source *source);
/** Records that `units` units make. */
int64_t dlt_source_records(const dlt_source *source, int64_t units);
/** Digest of the kind and of every parameter but the paths: with the stamps it tells what the records are. */
void dlt_source_digest(const dlt_source *source, bool with_paths, dlt_sha256 *sha);
/** Kind for a file of raw rows, told by its first bytes; a table for what is nothing else. */
dlt_status dlt_source_kind_of_file(const char *path, const dlt_frame *frame, const dlt_kind **kind,
                                   dlt_diag *diag);

/* ---- for the kinds ---- */

/**
 * Adds a file: "cannot open" is reported at `at`. `path` must live in the source's arena or in the item. "-"
 * has no stamp and is let through for prediction only.
 */
dlt_status dlt_source_add_file(dlt_source *source, const char *path, dlt_pos at, dlt_diag *diag);
/** The same for files that stand in these fields of the source's item (NULL paths: none); all that cannot be opened are told. */
dlt_status dlt_source_add_fields(dlt_source *source, const char *const *fields, const char *const *paths, size_t count, dlt_diag *diag);
/**
 * Expands paths: a path that no file has and that holds one of *?[ is a pattern, whose matches come in order
 * of their bytes; matching nothing is an error. Adds all as files.
 */
dlt_status dlt_source_add_paths(dlt_source *source, const dlt_strings *paths, const char *field,
                                dlt_strings *found, dlt_diag *diag);
/** True when the user asked to stop; the status to return is DLT_E_STOPPED. */
bool dlt_source_stopped(const dlt_source *source);
dlt_status dlt_source_stop(const dlt_source *source, dlt_diag *diag);

#endif
