/* trainer/engine.h: the programs of a run on a device: built, planned, compiled, fed and read.
 *
 * Everything that trains, evaluates or predicts goes through an engine; so do `plan`, `time`, `debug`,
 * `gradcheck` and `verify-resume`. Between start and destroy nothing is allocated. */
#ifndef DLT_TRAINER_ENGINE_H
#define DLT_TRAINER_ENGINE_H

#include "backend/backend.h"
#include "trainer/inputs.h"
#include "trainer/variables.h"

/**
 * The programs a run may have, in the order in which they are built: the first one brings all variables, and APPLY has those of
 * the optimizer that ACCUMULATE does without. *_REST: the same for the uneven last batch of a pass.
 */
typedef enum dlt_run_program {
    DLT_RUN_TRAIN,
    DLT_RUN_TRAIN_REST,
    DLT_RUN_APPLY,
    DLT_RUN_APPLY_REST,
    DLT_RUN_ACCUMULATE,
    DLT_RUN_ACCUMULATE_REST,
    DLT_RUN_EVALUATE,
    DLT_RUN_PREDICT,
    DLT_RUN_FINISH,
    DLT_RUN_PROGRAMS
} dlt_run_program;
const char *dlt_run_program_name(dlt_run_program program);

typedef struct dlt_engine_options {
    const char *device; /* "auto", "cpu", ... */
    dlt_device_options device_options;
    dlt_dtype real; /* F32; F64 for gradient checks */
    bool plain;     /* no fusion, no layouts, no reuse of memory: for debugging */
    bool no_fusion; /* no fusion only: more kernels, the same bits */
    bool train;     /* the programs that training needs */
    dlt_pos precision_at; /* where `precision` was written, for messages */
    int64_t batch,
        rest; /* rows of a training batch, and of the last one of a pass if it is smaller, else 0 */
    int64_t evaluate_batch;          /* 0: no evaluate program */
    int64_t predict_batch;           /* 0: no predict program */
    int train_slots, evaluate_slots; /* input buffers, so that one is filled while another is worked on */
    dlt_layer_visit *visit;          /* sees the layers of the first program */
    void *visit_context;
} dlt_engine_options;

typedef struct dlt_compiled {
    dlt_step step;
    const dlt_graph *built; /* as it was built, before the passes */
    dlt_graph *graph;       /* NULL: this run has no such program */
    const dlt_plan *plan;
    dlt_program *program; /* NULL before start */
} dlt_compiled;

typedef struct dlt_engine {
    dlt_arena *arena; /* borrowed */
    const dlt_spec *spec;
    const dlt_inputs *inputs;
    dlt_engine_options options;
    const dlt_backend *backend;
    dlt_device *device;
    dlt_variables *variables;
    dlt_metric_set *metrics;
    dlt_compiled programs[DLT_RUN_PROGRAMS];
    dlt_run_program main; /* that decided the layouts of variables */
    dlt_memory_sizes sizes;
    dlt_memory *memory; /* NULL before start */
} dlt_engine;

/** Opens the device, builds and plans all programs. Allocates no memory of the device, initialises no
 * weights. */
dlt_status dlt_engine_create(dlt_arena *arena, const dlt_spec *spec, const dlt_inputs *inputs,
                             const dlt_engine_options *options, dlt_engine **engine, dlt_diag *diag);
/** Takes the memory and compiles the programs. Weights are zero until they are set. */
dlt_status dlt_engine_start(dlt_engine *engine, dlt_diag *diag);
/** NULL is accepted. */
void dlt_engine_destroy(dlt_engine *engine);

/** Bytes that start takes from the device: the figure of `plan`. */
int64_t dlt_engine_bytes(const dlt_engine *engine);

/** Where the loader puts a batch for a program: the buffers of its inputs, target and weight. outputs has
 * room for 64. */
void dlt_engine_slot(const dlt_engine *engine, dlt_run_program program, int slot, void **outputs,
                     float **weights);
/** Sets how many rows of a batch count (EVALUATE). */
void dlt_engine_set_rows(const dlt_engine *engine, dlt_run_program program, int slot, int64_t rows);
/** Runs a program on a slot and waits. *finite false: the guard stopped it and nothing was written. */
dlt_status dlt_engine_run(dlt_engine *engine, dlt_run_program program, int slot, bool *finite,
                          dlt_diag *diag);
/** A scalar that a program gave: "loss", "grad_norm", "learning_rate". */
dlt_status dlt_engine_scalar(dlt_engine *engine, dlt_run_program program, int slot, const char *name,
                             double *value, dlt_diag *diag);

/* ---- variables ---- */

/** First values of everything, by the initializers and the seed; weights that were measured come from
 * `fitted`. weights_follow: all weights are read from a file next, so drawing them is left out. */
dlt_status dlt_engine_init_variables(dlt_engine *engine, const dlt_fitted *fitted, bool weights_follow, dlt_diag *diag);
/** Reads a saved array, logical and row-major, in the variable's type. */
dlt_status dlt_engine_read(const dlt_engine *engine, const dlt_saved *saved, void *data, dlt_diag *diag);
dlt_status dlt_engine_write(const dlt_engine *engine, const dlt_saved *saved, const void *data,
                            dlt_diag *diag);
/** One scalar variable. */
dlt_status dlt_engine_get_scalar(const dlt_engine *engine, const char *path, double *value, dlt_diag *diag);
dlt_status dlt_engine_set_scalar(const dlt_engine *engine, const char *path, double value, dlt_diag *diag);
/** SHA-256 of arrays of these kinds (dlt_saved_kind bits), in hexadecimal: equal hashes are equal bits. */
dlt_status dlt_engine_hash(const dlt_engine *engine, unsigned kinds, char hex[65], dlt_diag *diag);
/** Zeroes the sums of loss and metrics: the start of an epoch or an evaluation. */
dlt_status dlt_engine_zero_metrics(const dlt_engine *engine, dlt_diag *diag);
/** Values of loss and metrics so far, as log entries (names with `val_` where asked). Returns how many in
 * *count. */
dlt_status dlt_engine_metrics(const dlt_engine *engine, bool val, dlt_log_entry *entries, int room,
                              int *count, dlt_diag *diag);

#endif
