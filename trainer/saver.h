/* trainer/saver.h: checkpoints of a run: what they hold beside the arrays, taking a snapshot, writing it
 * behind the training's back, and bringing it back.
 *
 * A checkpoint is written at the end of an epoch's training, before its validation: what follows (validation,
 * callbacks, logs) is a function of what it holds, so a run that is resumed does it again with the same
 * outcome. Between epochs one is written when asked for: by a signal, by time, by a callback. */
#ifndef DLT_TRAINER_SAVER_H
#define DLT_TRAINER_SAVER_H

#include "io/h5/checkpoint.h"
#include "trainer/callback.h"
#include "trainer/engine.h"

/** Where a run stands. */
typedef struct dlt_progress {
    int64_t epoch;     /* that is under way, from 0 */
    int64_t batch;     /* batches of it that are done */
    int64_t step;      /* batches since the beginning */
    dlt_cursor cursor; /* of the next batch */
    bool trained;      /* all batches of the epoch are done; validation and callbacks are not */
    bool finished;     /* fit is over: these are the model's final weights */
    int64_t history_bytes, metrics_bytes; /* lengths of history.csv and metrics.jsonl */
    double best;                          /* of the run's monitor; NaN: none yet */
    int64_t best_epoch, best_step;
    int64_t skipped;     /* steps that were not finite (fit.non_finite: skip, rollback) */
    int64_t rolled_back; /* of these, so many since the last one that was finite */
    int64_t epoch_end;   /* step of the last checkpoint at an epoch's end, which is gone back to; 0: none */
    bool stop;           /* a callback asked for the end of the training */
    bool stop_failed;    /* it shall end with DLT_E_NUMERIC */
} dlt_progress;

/** Everything of a checkpoint that is not an array of the engine. */
typedef struct dlt_saved_meta {
    dlt_progress progress;
    const dlt_callback_set *callbacks; /* may be NULL */
    const char *config;                /* effective config */
    const char *device;                /* identity of device and libraries (decisions 23) */
    const char *data_digest;           /* fingerprint of the data */
    const dlt_frame *frame;
    const dlt_fitted *fitted;
} dlt_saved_meta;

/** A copy of the model's weights that a callback keeps (restore_best_weights). */
typedef struct dlt_kept_weights {
    bool held;
    int64_t epoch;
    char *data; /* all weights one after another; NULL: no callback keeps any */
} dlt_kept_weights;

typedef struct dlt_saver dlt_saver;

/**
 * Prepares for saving into `folder` (checkpoints/): takes the memory of the snapshot, starts the writer, and
 * has it prove that a checkpoint fits there (decisions 25). folder NULL: nothing can be saved but to files
 * that callbacks name.
 */
dlt_status dlt_saver_create(dlt_engine *engine, const char *folder, int64_t keep, bool keeps_weights,
                            dlt_saver **saver, dlt_diag *diag);
/** Waits for what is being written. NULL is accepted. */
void dlt_saver_destroy(dlt_saver *saver);
/**
 * Takes a snapshot and hands it to the writer; waits first if the last one is still being written. path NULL:
 * as step-N of the folder, which becomes `last` (and `best` if asked); nothing is done if step N is saved
 * already. weights_only: without optimizer and state. A failure of an earlier write is reported here, once, and
 * does not keep this one from being tried: training may go on, the old files stay.
 */
dlt_status dlt_saver_save(dlt_saver *saver, const dlt_saved_meta *meta, const char *path, bool weights_only,
                          dlt_diag *diag);
/**
 * A log was written to: it is synced before the next checkpoint, which says how long it is, counts as saved. If that fails
 * so does the save.
 */
dlt_status dlt_saver_sync_first(dlt_saver *saver, const char *path, dlt_diag *diag);
/** Tells that the folder's checkpoint of this step was resumed from: it is not saved again, damaged ones that
 * are newer make room for those that will be, and `last` points to it. */
dlt_status dlt_saver_resumed(dlt_saver *saver, int64_t step, dlt_diag *diag);
/** Lets `best` point to the checkpoint of a step that was given to dlt_saver_save, once that is written. What
 * fails is reported by the next save or wait. */
void dlt_saver_mark_best(dlt_saver *saver, int64_t step);
/** True once the trial has shown that checkpoints cannot be saved here: dlt_saver_wait says why. */
bool dlt_saver_trial_failed(const dlt_saver *saver);
/** Waits until everything is on the disk; reports what failed. */
dlt_status dlt_saver_wait(dlt_saver *saver, dlt_diag *diag);
/** Bytes of a checkpoint, about; and seconds that the trial took (0: not known yet). */
int64_t dlt_saver_bytes(const dlt_saver *saver);
dlt_kept_weights *dlt_saver_kept(dlt_saver *saver);
/** Copies the weights into the kept ones, or back. */
dlt_status dlt_saver_keep(dlt_saver *saver, int64_t epoch, dlt_diag *diag);
dlt_status dlt_saver_restore_kept(dlt_saver *saver, dlt_diag *diag);
/** The folder of checkpoints; NULL without one. Not while something is being written: dlt_saver_wait first.
 */
dlt_checkpoint_folder *dlt_saver_folder(dlt_saver *saver);

/* ---- reading back ---- */

/** What a checkpoint says beside its arrays. Texts live in the arena. */
typedef struct dlt_loaded_meta {
    dlt_progress progress;
    const char *config, *device, *data_digest, *version;
    dlt_frame *frame; /* to be destroyed */
    dlt_fitted fitted;
} dlt_loaded_meta;

dlt_status dlt_saved_meta_read(dlt_checkpoint *checkpoint, dlt_arena *arena, dlt_loaded_meta *meta,
                               dlt_diag *diag);
/**
 * States of callbacks, which are not fresh any more. keeps: one a callback, those that go on with the state saved
 * at their place; the others stay fresh. NULL: all, and they must be as many as were saved.
 */
dlt_status dlt_saved_callbacks_read(dlt_checkpoint *checkpoint, dlt_callback_set *callbacks, const bool *keeps,
                                    dlt_diag *diag);
dlt_status dlt_saved_kept_read(dlt_checkpoint *checkpoint, dlt_saver *saver, dlt_diag *diag);
/**
 * Error unless the arrays of these kinds are all there with their shapes: to be asked before the engine starts, so that what
 * a checkpoint's config claims never takes memory that its weights do not.
 */
dlt_status dlt_saved_arrays_fit(const dlt_checkpoint *checkpoint, const dlt_engine *engine, unsigned kinds,
                                dlt_diag *diag);
/**
 * Arrays of these kinds into the engine. Each has to be there with its shape; messages name layer, index,
 * expected and found. Weights that Keras wrote are read in the same way.
 */
dlt_status dlt_saved_arrays_read(dlt_checkpoint *checkpoint, dlt_engine *engine, unsigned kinds,
                                 dlt_diag *diag);
/**
 * The same where the learning rate was changed: the engine's stays. saved_rate: the file has one, as it was a
 * number and no schedule when it was written; the optimizer's other arrays are numbered accordingly.
 */
dlt_status dlt_saved_arrays_read_new_rate(dlt_checkpoint *checkpoint, dlt_engine *engine, unsigned kinds,
                                          bool saved_rate, dlt_diag *diag);

#endif
