/* io/data/frame.h: what train decides and everything else follows: the parts of a record, their types, the
 * columns of a table they come from, vocabularies and class names. Validation, test and prediction are read
 * by train's frame; it is saved with the cache of a packed source and with each checkpoint. */
#ifndef DLT_IO_DATA_FRAME_H
#define DLT_IO_DATA_FRAME_H

#include "base/text.h"
#include "io/data/words.h"

/**
 * The layout is the presented one: codes of a text target are class numbers and its dictionary holds the
 * names in order of their bytes. The dictionary of a TENSOR part gives the names of its codes (characters of
 * a text).
 */
typedef struct dlt_frame {
    dlt_record_layout layout;
    bool table;               /* records are rows of a table: a column each */
    bool named;               /* the table's columns have names of their own, from a header line */
    int64_t file_columns;     /* columns of the table, used or not */
    const int64_t *column_of; /* by part: its column, from 0 */
    int64_t class_count;      /* classes of a class target (dlt_target_of); 0: none, or not known */
    dlt_part *parts;          /* layout.parts, for the source that is being read */
    dlt_words *words;         /* by part; empty where it has no dictionary of its own */
    dlt_arena *arena;         /* owns everything but the words */
} dlt_frame;

/** Parts of a frame under construction: name, role, type, dtype, shape are taken from `parts`, dictionaries
 * are made. */
typedef struct dlt_frame_plan {
    size_t count;
    const dlt_part *parts; /* dictionary not NULL: the part has one (its content is not looked at) */
    bool table, named;
    int64_t file_columns;
    const int64_t *column_of; /* NULL where there is no table */
} dlt_frame_plan;

/**
 * Makes a frame; offsets are each a multiple of the element's size, record_bytes a multiple of the largest
 * one. A record of more than 1 GiB or of no bytes is refused with DLT_E_DATA.
 */
dlt_status dlt_frame_create(const dlt_frame_plan *plan, dlt_frame **frame, dlt_diag *diag);
/** NULL is accepted. */
void dlt_frame_destroy(dlt_frame *frame);
/** Words of a part, or NULL if it has no dictionary. */
dlt_words *dlt_frame_words(dlt_frame *frame, size_t part);
/** First part of a role from `from` on, or -1. */
int dlt_layout_find(const dlt_record_layout *layout, dlt_role role, size_t from);
/** Bytes of one record's element of a part. */
size_t dlt_part_bytes(const dlt_part *part);

/** Appends the frame in a form that any machine reads back (little-endian, versioned). */
void dlt_frame_write(const dlt_frame *frame, dlt_buf *out);
/**
 * Reads a frame written by dlt_frame_write; `bytes` may be hostile. *used tells how much of them it took.
 * `what` names the place they come from. Status of errors is `kind`.
 */
dlt_status dlt_frame_read(const void *data, size_t bytes, size_t *used, const char *what, dlt_status kind,
                          dlt_frame **frame, dlt_diag *diag);

/* ---- the form of small binary records, shared with the cache ---- */

void dlt_put_u64(dlt_buf *out, uint64_t value);
void dlt_put_double(dlt_buf *out, double value);
void dlt_put_text(dlt_buf *out, const char *text, size_t bytes);

/** Reads what dlt_put_* wrote; `bad` is sticky, values are 0 then. */
typedef struct dlt_get {
    const unsigned char *at, *end;
    bool bad;
} dlt_get;
uint64_t dlt_get_u64(dlt_get *in);
/** A value of 0..most; anything else is bad. */
int64_t dlt_get_count(dlt_get *in, int64_t most);
double dlt_get_double(dlt_get *in);
/** A text without NUL bytes of at most `most` bytes; it lies in the input and has no NUL behind it. */
const char *dlt_get_text(dlt_get *in, size_t most, size_t *bytes);

#endif
