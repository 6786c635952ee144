/* io/data/dataset.h: all records of a source, kept so that any of them can be read: in memory, in a cache
 * file, or where they are. Constant once opened; any number of threads may read, each with a reader of its
 * own. */
#ifndef DLT_IO_DATA_DATASET_H
#define DLT_IO_DATA_DATASET_H

#include "base/pool.h"
#include "io/data/source.h"

/** How far a data set is opened (decisions 1). */
typedef enum dlt_depth {
    DLT_DEPTH_PROBE, /* headers, the first 1,000 records, labels up to 16 MiB: for `check` */
    DLT_DEPTH_SCAN,  /* all records were looked at, but are not kept: for `plan` */
    DLT_DEPTH_LOAD   /* records can be read */
} dlt_depth;

typedef struct dlt_dataset dlt_dataset;

typedef struct dlt_dataset_options {
    const dlt_frame *follow; /* train's; NULL: this is train. Must outlive the data set */
    uint64_t memory;         /* bytes of records that may be kept in memory */
    const char *cache;       /* folder of cache files, as in data.cache; NULL: the user's */
    int threads;             /* for packing, at least 1 */
    size_t block_bytes;      /* as in dlt_source_options; 0: chosen */
    const atomic_int *stop;  /* not 0: end with DLT_E_STOPPED; may be NULL */
} dlt_dataset_options;

/** Opens a source's item. Errors of the data are DLT_E_DATA, at file:line:column where there is one. */
dlt_status dlt_dataset_open(const dlt_item *item, dlt_depth depth, const dlt_dataset_options *options,
                            dlt_dataset **dataset, dlt_diag *diag);
/** NULL is accepted. */
void dlt_dataset_close(dlt_dataset *dataset);

/** Parts of a record as they are read, vocabularies, class names. */
const dlt_frame *dlt_dataset_frame(const dlt_dataset *dataset);
const dlt_stats *dlt_dataset_stats(const dlt_dataset *dataset);
/** Number of records; -1 where only a scan can tell. */
int64_t dlt_dataset_count(const dlt_dataset *dataset);
/** Types, counts and classes are final. */
bool dlt_dataset_exact(const dlt_dataset *dataset);
/** Digest of the source's content (of samples of it) and of what the kind does with it, not of its place. */
const char *dlt_dataset_digest(const dlt_dataset *dataset);
/** Digest of all that was read, every byte of every record; "" where that was not done: at another depth than DLT_DEPTH_LOAD, or
 * where records are read in place or made as they are needed. */
const char *dlt_dataset_content(const dlt_dataset *dataset);
/** Bytes of records in memory. */
uint64_t dlt_dataset_memory(const dlt_dataset *dataset);
/** "memory", "cache file PATH", "in place", "made as needed", "not kept". */
const char *dlt_dataset_place(const dlt_dataset *dataset);
/** Path of the source's first file; NULL where there is none. */
const char *dlt_dataset_path(const dlt_dataset *dataset);
/** Path of the file whose rows are a part's records, one each; NULL where no single file is. */
const char *dlt_dataset_part_path(const dlt_dataset *dataset, size_t part);
/** What each of the source's files was like when it was opened; *count of them, in the source's order. */
const dlt_stamp *dlt_dataset_stamps(const dlt_dataset *dataset, size_t *count);
/** Bytes of the source's files. */
int64_t dlt_dataset_file_bytes(const dlt_dataset *dataset);
/** True where reading is copying from memory. */
bool dlt_dataset_in_memory(const dlt_dataset *dataset);
/** DLT_E_DATA if a file of the source is not what it was when it was opened. Only stat, unless its time
 * changed. */
dlt_status dlt_dataset_unchanged(const dlt_dataset *dataset, dlt_diag *diag);

/** Reads rows for one thread. */
typedef struct dlt_reader dlt_reader;

/** At most `most` rows a call. A reader takes no memory after this. */
dlt_status dlt_reader_create(const dlt_dataset *dataset, int64_t most, dlt_reader **reader, dlt_diag *diag);
/** NULL is accepted. */
void dlt_reader_destroy(dlt_reader *reader);
/** Records in memory are copied by these threads, and by the one that reads, from now on. */
void dlt_reader_share(dlt_reader *reader, dlt_lent_threads threads);
/**
 * Copies records rows[0..count), in that order, repetitions allowed: part i of them to columns[i], densely
 * packed; a NULL column is left out. Neighbouring records of a file are read together.
 */
dlt_status dlt_reader_read(dlt_reader *reader, const int64_t *rows, int64_t count, void *const *columns,
                           dlt_diag *diag);
/** Calls of pread and bytes they brought, since the reader was made. */
void dlt_reader_work(const dlt_reader *reader, uint64_t *reads, uint64_t *bytes);

#endif
