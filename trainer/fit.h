/* trainer/fit.h: the training loop. */
#ifndef DLT_TRAINER_FIT_H
#define DLT_TRAINER_FIT_H

#include "trainer/rundir.h"
#include "trainer/session.h"

/** What is known before the first step; for the head of the screen. */
typedef struct dlt_fit_start {
    const dlt_session *session;
    const char *run;  /* directory; NULL: none */
    dlt_run_log *log; /* log.txt of the run, for what is on the screen; NULL: none */
    int64_t parameters, planned_bytes;
    int layers;
    bool resumed;
    const dlt_progress *progress; /* where it goes on, if resumed */
    bool exact;                   /* it goes on bit for bit */
    const char *why_not;          /* if not: the difference */
} dlt_fit_start;

/** After a batch. */
typedef struct dlt_fit_batch {
    int64_t epoch, epochs;  /* from 0 */
    int64_t batch, batches; /* done, of how many */
    int64_t rows;           /* of this batch */
} dlt_fit_batch;

/** After an epoch. */
typedef struct dlt_fit_epoch {
    int64_t epoch, epochs;
    const dlt_logs *logs;
    double seconds, train_seconds,
        waiting;         /* waiting: share of the training time that was spent waiting for data */
    int64_t rows;        /* trained on */
    const char *monitor; /* name whose best is marked; NULL: none */
    bool best;
} dlt_fit_epoch;

typedef enum dlt_resume_mode { DLT_RESUME_AUTO, DLT_RESUME_NEVER, DLT_RESUME_FILE } dlt_resume_mode;

typedef enum dlt_fit_outcome {
    DLT_FIT_DONE,
    DLT_FIT_DONE_BEFORE, /* this run was complete already */
    DLT_FIT_STOPPED      /* by a signal; saved */
} dlt_fit_outcome;

typedef struct dlt_fit_result {
    dlt_fit_outcome outcome;
    char run[4096]; /* directory; "" if none */
    char hash[65];  /* of weights, optimizer and state at the end */
    char weights_hash[65];
    int64_t epochs_done, steps;
    double best;
    int64_t best_epoch; /* from 0; -1: none */
    char monitor[DLT_LOG_NAME];
    const char *stop_reason; /* of a callback; NULL */
    int64_t restored_epoch;  /* whose weights a callback put back at the end, from 1; 0: those of the last one stay */
    bool has_test;
    dlt_log_entry test[64]; /* loss and metrics on the test set */
    int test_count;
    double seconds;
} dlt_fit_result;

/** What the loop tells while it runs. Members may be NULL. Called from the loop's thread, between batches. */
typedef struct dlt_fit_events {
    void *context;
    void (*start)(void *context, const dlt_fit_start *start);
    void (*batch)(void *context, const dlt_fit_batch *batch);
    void (*epoch)(void *context, const dlt_fit_epoch *epoch);
    /** Something to say once: a warning, a callback's reason to stop. */
    void (*message)(void *context, dlt_severity severity, const char *text);
    /** Values of loss and metrics so far, for a progress line: the loop asks only where this is set and at
     * most 10 times a second. */
    void (*values)(void *context, const dlt_logs *logs);
    /** All is done (or was done before), while the run's log can still be written. */
    void (*end)(void *context, const dlt_fit_result *result);
} dlt_fit_events;

typedef struct dlt_fit_options {
    const char *run; /* --run DIR; NULL: runs/NAME/ beside the model file */
    dlt_resume_mode resume;
    const char *resume_path;                 /* a checkpoint or run directory to go on from */
    const char *weights;                     /* weights to start from */
    bool force, allow_change, exact, no_run; /* no_run: nothing is written (verify-resume, tests) */
    dlt_session_options session;
    const char *argv_json; /* "[\"dltrain\", ...]" for run.json */
    int64_t began_ns;      /* when the program was started (dlt_clock_ns), for timing.jsonl */
    dlt_fit_events events;
    /** Tests and verify-resume: stop, as if by SIGTERM, after this many steps (0: never), or in the
     * validation of an epoch. */
    int64_t stop_after_steps;
    int64_t stop_in_validation; /* epoch from 1; 0: never */
    /** The same, as if by a power cut: save after this many steps (0: never), make one more, and die. `die` does
     * not return. */
    int64_t die_after_steps;
    void (*die)(void);
} dlt_fit_options;

/**
 * Trains a model: starts, resumes or finds it done. All decisions about run directories are decisions 28-30.
 * A stop by a signal gives DLT_OK with outcome STOPPED. Texts of the result live in the arena.
 */
dlt_status dlt_fit(const dlt_run_spec *run, const dlt_catalogue *catalogue, const dlt_fit_options *options,
                   dlt_arena *arena, dlt_fit_result *result, dlt_diag *diag);

#endif
