/* trainer/session.h: from a run spec to programs that can run: data opened, tables fitted, layers measured,
 * engine built. What every command that does more than read a model file begins with. */
#ifndef DLT_TRAINER_SESSION_H
#define DLT_TRAINER_SESSION_H

#include "schema/spec.h"
#include "trainer/engine.h"
#include "trainer/saver.h"

typedef struct dlt_session_options {
    dlt_depth depth;               /* PROBE: check; SCAN: plan, summary; LOAD: everything else */
    bool no_data;                  /* data are not looked at: the model must begin with Input */
    bool train, evaluate, predict; /* programs that are wanted */
    const dlt_data_spec *data;     /* what to open in place of the spec's data; NULL: the spec's */
    const dlt_loaded_meta *loaded; /* of a checkpoint: its frame and what was fitted rule; NULL: train's */
    const dlt_fitted
        *fitted;        /* what tables and measured layers learned before (resume); NULL: they learn now */
    const char *device; /* NULL: the spec's */
    int threads;
    bool pin, plain, no_fusion;
    bool reference; /* kernels: reference, whatever the spec says */
    const char *isa;
    const char *prefer; /* kernels to take wherever they can be */
    int trial;          /* of dlt_device_options */
    dlt_dtype real; /* F32 unless told */
    int64_t batch;  /* of training; 0: the spec's */
    const atomic_int *stop;
    dlt_layer_visit *visit;
    void *visit_context;
} dlt_session_options;

/** A loader that fills slots of the engine. */
typedef struct dlt_feed {
    dlt_loader *loader;
    dlt_run_program program;
    int first_slot; /* of the engine's slots: the loader's slot 0 */
} dlt_feed;

typedef struct dlt_session {
    dlt_arena *arena;
    const dlt_run_spec *run;
    const dlt_spec *spec;
    dlt_datasets *data;             /* NULL with no_data */
    const dlt_signature *signature; /* NULL with no_data */
    const dlt_frame *frame;
    dlt_fitted fitted; /* tables and measured weights (by path) */
    dlt_inputs *inputs;
    dlt_engine *engine; /* NULL after dlt_session_check */
    int64_t batch, train_rows, batches_in_pass, steps_per_epoch, evaluate_batch;
    const float *class_weights;
    int64_t class_weight_count;
    dlt_feed evaluation[DLT_SET_COUNT]; /* made at the first evaluation of a set, kept for the next */
} dlt_session;

/**
 * All mistakes that can be seen are told, not only the first. Builds the forward graph and the training graph, checks the whole model, and stops there: nothing is
 * planned, no device is opened. *y_shape is the output's shape, batch axis included.
 */
dlt_status dlt_session_check(const dlt_run_spec *run, const dlt_session_options *options,
                             dlt_session **session, dlt_diag *diag);
/** Looks only at what needs neither data nor layers: what callbacks watch, and which files they write. */
dlt_status dlt_session_parts(const dlt_run_spec *run, dlt_diag *diag);
/** Opens data and device, fits, builds and plans all programs. Weights are not made and no device memory is
 * taken yet. */
dlt_status dlt_session_open(const dlt_run_spec *run, const dlt_session_options *options,
                            dlt_session **session, dlt_diag *diag);
/** NULL is accepted. */
void dlt_session_close(dlt_session *session);

/** What decides about bits: device, versions (decisions 23). Lives in the session's arena; NULL when memory is refused. */
const char *dlt_session_identity(const dlt_session *session);
/** The same for an open device: "dltrain 0.1.0; cpu avx512, OpenBLAS 0.3.21 SkylakeX, libc 2.36". */
void dlt_identity(const dlt_backend *backend, const dlt_device *device, dlt_buf *out);

/** The training program for a batch of `rows` rows when `step` batches were done: gradient accumulation has
 * two. */
dlt_run_program dlt_session_program(const dlt_session *session, int64_t step, int64_t rows);

/* ---- evaluation ---- */

/**
 * A loader over a view that fills a program's slots. Train: endless, shuffled as the spec says. Evaluate,
 * predict: one pass in order, the last batch padded.
 */
dlt_status dlt_session_feed(dlt_session *session, dlt_set set, dlt_run_program program, dlt_cursor start,
                            int64_t limit, dlt_feed *feed, dlt_diag *diag);
void dlt_feed_close(dlt_feed *feed);

/**
 * Runs the evaluate program over a set: sums of loss and metrics are in the engine afterwards
 * (dlt_engine_metrics). `each`, if not NULL, sees every batch while its values can be read. Ends with
 * DLT_E_STOPPED when *stop is set.
 */
typedef dlt_status dlt_batch_seen(void *context, const dlt_batch *batch, int slot, dlt_diag *diag);
dlt_status dlt_session_evaluate(dlt_session *session, dlt_set set, int64_t limit, const atomic_int *stop,
                                dlt_batch_seen *each, void *context, dlt_diag *diag);

#endif
