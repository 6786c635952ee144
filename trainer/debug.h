/* trainer/debug.h: one training step, looked at node by node. */
#ifndef DLT_TRAINER_DEBUG_H
#define DLT_TRAINER_DEBUG_H

#include "trainer/session.h"

/** Figures of one value. */
typedef struct dlt_value_figures {
    int64_t count, zeros, bad; /* bad: NaN or infinite */
    double min, max, mean;     /* of the finite ones; NaN if there is none */
} dlt_value_figures;

/** A value that a node made. */
typedef struct dlt_debug_row {
    int node;
    const char *layer; /* "" outside layers */
    const char *op;
    dlt_pos pos;
    dlt_phase phase;
    bool last_of_layer; /* the layer's result (forward), or what it hands to the layer before (backward) */
    dlt_dtype type;
    dlt_shape shape;
    dlt_value_figures figures;
} dlt_debug_row;

/** A trainable weight and its gradient. */
typedef struct dlt_debug_weight {
    const char *path;
    dlt_pos pos;
    dlt_value_figures weight, gradient;
    double weight_norm, gradient_norm; /* l2 */
} dlt_debug_weight;

typedef struct dlt_debug_report {
    int64_t step; /* batches before this one */
    int64_t rows;
    const uint64_t *records; /* of the batch */
    double loss;
    const dlt_debug_row *values;
    int count, first_bad;            /* index of the first row with a bad value; -1: none */
    const dlt_debug_weight *weights; /* empty where a bad value was found before the gradients were done */
    int weight_count;
} dlt_debug_report;

/**
 * Trains from the state that the session's engine has (progress: where that is) until `step` batches are
 * done, then runs the next one without fusion, node by node, up to the guard: nothing of it is written. All
 * of the report lives in the session's arena.
 */
dlt_status dlt_debug_step(dlt_session *session, dlt_cursor cursor, int64_t done, int64_t step,
                          const atomic_int *stop, dlt_debug_report *report, dlt_diag *diag);

#endif
