/* trainer/rundir.h: the folder of a run, runs/NAME/STAMP-xxxx/.
 *
 *     config.yaml     effective config; can be run again as it is
 *     plan.json       what `plan` says of it
 *     run.json        versions, device, seed, digests, data fingerprints, argv, how far it came
 *     metrics.jsonl   one line an epoch      history.csv  the same as Keras' CSVLogger
 *     timing.jsonl    one line an epoch: times; log.txt: what was on the screen. Neither is part of any
 * comparison. checkpoints/    step-*.weights.h5 with the links last.weights.h5 and best.weights.h5 lock who
 * is at work here
 *
 * It is created exclusively and never overwritten. */
#ifndef DLT_TRAINER_RUNDIR_H
#define DLT_TRAINER_RUNDIR_H

#include "base/arena.h"
#include "base/diag.h"
#include "io/data/stamp.h"

#include <stdbool.h>
#include <stdint.h>

/** A file that a run reads: enough to tell later whether it is still the same. */
typedef struct dlt_run_file {
    const char *path; /* absolute */
    int64_t bytes;
    const char *digest; /* of the size and of samples of the bytes (io/data/stamp.h), 64 hexadecimal digits */
    unsigned folder;    /* 0: a file; else a folder of images, and what of it the digest is of (io/data/folder.h) */
} dlt_run_file;

/** What a stamp says of a file. Texts live in the arena. */
dlt_status dlt_run_file_of(const dlt_stamp *stamp, dlt_arena *arena, dlt_run_file *file, dlt_diag *diag);
/** Looks at the file under a path, or, where `folder` is not 0, at the folder. */
dlt_status dlt_run_file_look(const char *path, unsigned folder, dlt_arena *arena, dlt_run_file *file, dlt_diag *diag);

/** What a run began with. */
typedef enum dlt_run_origin {
    DLT_RUN_FROM_CONFIG,     /* the initializers of its config */
    DLT_RUN_FROM_WEIGHTS,    /* weights of another file */
    DLT_RUN_FROM_CHECKPOINT /* a checkpoint of another run, which it goes on from */
} dlt_run_origin;

/** What run.json says that others ask for. Texts live in the arena of the call that read it. */
typedef struct dlt_run_info {
    const char *path;            /* of the run directory */
    const char *name;            /* of the model */
    const char *digest;          /* of what is trained (dlt_run_spec.digest) */
    const char *created;         /* UTC */
    const char *version;         /* of dltrain */
    const char *device;          /* identity (decisions 23) */
    const char *state;           /* "running", "stopped", "done" */
    int64_t epochs_done, epochs; /* of how many */
    double best;                 /* of `monitor`; NaN: none */
    const char *monitor;
    int64_t seed;
    const char *weights; /* digest of the final weights; NULL: not there yet */
    bool changed;        /* rate or callbacks were changed under way (--allow-change) */
    const char *inexact; /* why it did not go on bit for bit when it was resumed, the first time that it did not; NULL: it did */
    dlt_run_origin origin;
    dlt_run_file start;       /* file of that origin; path NULL: none */
    const char *data_digest;  /* of the content of all sets */
    const dlt_run_file *data; /* files of all sets; data_count of them */
    size_t data_count;
} dlt_run_info;

/** Makes runs/NAME/STAMP-xxxx below `folder`; *path lives in the arena. */
dlt_status dlt_rundir_create(const char *folder, const char *name, dlt_arena *arena, const char **path,
                             dlt_diag *diag);
/** Makes this very folder; an existing one that holds a run is refused, or, with `force`, moved to
 * PATH.old-STAMP. */
dlt_status dlt_rundir_create_at(const char *path, bool force, dlt_diag *diag);
/** True if the folder holds a run (a run.json). */
bool dlt_rundir_is(const char *path);
/** Removes what a process that was killed left of files that it was replacing. For the owner of the lock; what cannot be removed stays. */
void dlt_rundir_clean(const char *path);
/** Whether a run keeps a file or folder of this name in its folder. */
bool dlt_rundir_keeps(const char *name);
/** Reads run.json. */
dlt_status dlt_rundir_info(const char *path, dlt_arena *arena, dlt_run_info *info, dlt_diag *diag);
/** Writes run.json in one step. `more` is JSON text of further members ("\"argv\": [...]"), or NULL. */
dlt_status dlt_rundir_set_info(const char *path, const dlt_run_info *info, const char *more, dlt_diag *diag);
/**
 * The newest run in runs/NAME below `folder` with this digest, and the newest of all; members are NULL where
 * there is none. Folders without a readable run.json are passed over.
 */
dlt_status dlt_rundir_find(const char *folder, const char *name, const char *digest, dlt_arena *arena,
                           dlt_run_info *same, dlt_run_info *newest, dlt_diag *diag);
/** True for a run that is looked for. */
typedef bool dlt_run_filter(void *context, const dlt_run_info *info);
/** The newest run in runs/NAME below `folder` that the filter accepts; its path is NULL where there is none. */
dlt_status dlt_rundir_find_where(const char *folder, const char *name, dlt_run_filter *accepts, void *context,
                                 dlt_arena *arena, dlt_run_info *found, dlt_diag *diag);
/**
 * The run that a user means: a run directory, or runs/NAME (its newest finished run, or the newest at all).
 * *path lives in the arena.
 */
dlt_status dlt_rundir_resolve(const char *given, dlt_arena *arena, const char **path, dlt_diag *diag);

/** A path as it is shortest to write from here: the part below the working directory, where it lies there.
 * Points into `path`. */
const char *dlt_shown_path(const char *path);
/** Path of the file that holds a run's final weights, whether it is there or not. NULL: memory was refused.
 */
const char *dlt_final_weights_of(const char *run, dlt_arena *arena);

/* ---- lock (trainer/run_lock.c) ---- */

typedef struct dlt_run_lock dlt_run_lock;
/**
 * Takes the folder's lock: DLT_E_CHECKPOINT with the owner's process and host if another run holds it. A lock whose owner is
 * gone is taken over with a warning. Until it is released a thread gives a sign of life every half minute.
 */
dlt_status dlt_run_lock_take(const char *path, dlt_run_lock **lock, dlt_diag *diag);
/** DLT_E_CHECKPOINT if another process has taken the lock over, as happens to one that slept for long. NULL is accepted. */
dlt_status dlt_run_lock_check(const dlt_run_lock *lock, dlt_diag *diag);
/** NULL is accepted. */
void dlt_run_lock_release(dlt_run_lock *lock);
/** For tests: how often signs of life are given, and how old the last one of another machine must be for it to be gone. */
void dlt_run_lock_set_times(double beat_s, double stale_s);

/* ---- logs: files that only grow ---- */

typedef struct dlt_run_log dlt_run_log;
/** Opens for appending; a file longer than `keep` bytes is cut back to it first (keep < 0: kept whole), a shorter one is warned
 * of. It survives a power cut no sooner than a checkpoint says so (dlt_saver_sync_first). */
dlt_status dlt_run_log_open(const char *path, const char *file, int64_t keep, dlt_run_log **log,
                            dlt_diag *diag);
dlt_status dlt_run_log_append(dlt_run_log *log, const char *text, size_t bytes, dlt_diag *diag);
const char *dlt_run_log_path(const dlt_run_log *log);
/** Bytes in the file. */
int64_t dlt_run_log_bytes(const dlt_run_log *log);
/** NULL is accepted. */
void dlt_run_log_close(dlt_run_log *log);

#endif
