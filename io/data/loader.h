/* io/data/loader.h: batches of a view, read ahead into buffers that the caller owns.
 *
 * The order of rows is a function of (seed, pass, position) and nothing else: neither the number of workers
 * nor their luck changes it, and any batch is reached at once. Batches form one endless line, pass after
 * pass; epochs are cut from it by dlt_epoch_steps. After creation the loader takes no memory; its threads
 * call pread, stat at the end of a pass, and wait.
 *
 *     while ((status = dlt_loader_next(loader, &batch, diag)) == DLT_OK && batch.rows > 0) {
 *         ... use the buffers of slot batch.slot ...
 *         dlt_loader_release(loader, &batch);
 *     } */
#ifndef DLT_IO_DATA_LOADER_H
#define DLT_IO_DATA_LOADER_H

#include "io/data/encode.h"
#include "io/data/view.h"

/** A place in the line of batches. */
typedef struct dlt_cursor {
    uint64_t pass; /* over the data, from 0 */
    int64_t batch; /* in the pass, from 0 */
} dlt_cursor;

/** Buffers for one batch, the caller's. */
typedef struct dlt_slot {
    void *const *outputs; /* what the encoder writes; without one, a buffer for each part, NULL: left out */
    float *weights;       /* of each row; NULL: not wanted */
} dlt_slot;

enum { DLT_WORKERS_CHOSEN = -1 };

typedef struct dlt_loader_options {
    dlt_view view;
    int64_t batch_size;
    dlt_shuffle_mode shuffle;
    uint64_t seed;
    dlt_cursor start;
    bool repeat;         /* pass after pass; else the line ends with the pass it starts in */
    bool pad;            /* fill up the last batch of a pass with its last row, at weight 0 */
    int64_t limit;       /* most batches from `start` or a seek on; 0: no limit */
    int workers;         /* threads that read ahead; 0: dlt_loader_next reads itself; DLT_WORKERS_CHOSEN */
    dlt_lent_threads threads; /* that copy with it where there are no workers */
    dlt_encode encode;   /* NULL: parts are copied to the outputs as they are */
    const void *context; /* of encode */
    const int *direct;   /* by part: the output that encode copies it to as it is, -1: none; borrowed. NULL: none for all */
    const float *class_weight; /* by class of the target; NULL: none. Other classes weigh 1, as in Keras */
    int64_t class_count;
    const dlt_slot *slots; /* the ring; copied, the buffers are borrowed */
    size_t slot_count;     /* at least 1, with workers at least 2 */
} dlt_loader_options;

typedef struct dlt_batch {
    size_t slot;
    int64_t rows;          /* real ones; 0: the line has ended */
    int64_t filled;        /* in the buffers: batch_size where padded */
    dlt_cursor cursor;     /* of this batch */
    dlt_cursor next;       /* of the one behind it: what a checkpoint after this batch keeps */
    uint64_t first_sample; /* rows of the line before it: sample number of random draws (decisions 18) */
    bool last_in_pass;
    const int64_t *row_numbers; /* record numbers of the rows; lives until the batch is released */
} dlt_batch;

typedef struct dlt_loader_stats {
    uint64_t batches;           /* handed out */
    uint64_t waits;             /* times that the consumer had to wait for one */
    int64_t wait_ns;            /* how long, together; without workers: the time of reading */
    uint64_t reads, read_bytes; /* of files, so far; complete once the loader is idle */
} dlt_loader_stats;

typedef struct dlt_loader dlt_loader;

/** Takes all memory, and starts the workers. */
dlt_status dlt_loader_create(const dlt_loader_options *options, dlt_loader **loader, dlt_diag *diag);
/** Stops the workers, each within the batch it is at. NULL is accepted. */
void dlt_loader_destroy(dlt_loader *loader);
/** The next batch, waiting for it if need be. An error of a batch comes when its turn has come, and again
 * until a seek. */
dlt_status dlt_loader_next(dlt_loader *loader, dlt_batch *batch, dlt_diag *diag);
/** The batch's slot may be filled again. In the order of dlt_loader_next. */
void dlt_loader_release(dlt_loader *loader, const dlt_batch *batch);
/** Goes on at another place; batches that were handed out must have been released. */
void dlt_loader_seek(dlt_loader *loader, dlt_cursor cursor);
/** What was done so far. */
dlt_loader_stats dlt_loader_statistics(dlt_loader *loader);
/** Threads at work. */
int dlt_loader_workers(const dlt_loader *loader);

/** Batches of a pass over `rows` rows. */
int64_t dlt_batches_in_pass(int64_t rows, int64_t batch_size);
/**
 * Steps of the epoch that begins at `cursor`. steps_per_epoch 0: to the end of the pass. Else so many, but an
 * epoch never runs over the end of a pass: it is short there (*is_short, which Keras warns about), and the
 * next one begins the next pass.
 */
int64_t dlt_epoch_steps(dlt_cursor cursor, int64_t batches_in_pass, int64_t steps_per_epoch, bool *is_short);

#endif
