/* trainer/proofs.h: proofs and tools on the user's own model: gradient check, times, a step looked at node by
 * node. */
#ifndef DLT_TRAINER_PROOFS_H
#define DLT_TRAINER_PROOFS_H

#include "trainer/session.h"

/** Loads one batch of a set into slot `slot` of a program (the first batch of the first pass). */
dlt_status dlt_load_batch(dlt_session *session, dlt_set set, dlt_run_program program, int64_t skip,
                          dlt_batch *batch, int *slot, dlt_feed *feed, dlt_diag *diag);

typedef struct dlt_gradcheck_row {
    const char *weight; /* path of the variable */
    dlt_pos pos;
    int64_t checked; /* elements that were compared; 0: this weight was not checked */
    int64_t kinks;   /* others: wherever they were looked at, the loss has a kink in that very point */
    double worst;    /* largest |analytic - numeric| / max(1, |analytic|) */
    double analytic, numeric; /* there */
    int64_t element;
    bool good; /* worst <= 1e-6 (double), or nothing could be compared */
} dlt_gradcheck_row;

/**
 * Compares the gradient of each weight with central differences, in double, on one batch: up to `per_weight`
 * elements of each, spread over it. Elements at a kink of the loss (a bias that begins at 0 under relu) are
 * looked at again with all weights moved a little. session: opened with real F64, train. rows lives in the session's arena.
 */
dlt_status dlt_gradcheck(dlt_session *session, int64_t per_weight, const dlt_gradcheck_row **rows, int *count,
                         dlt_diag *diag);

typedef struct dlt_time_row {
    const char *layer;
    dlt_pos pos;
    double forward, backward, update; /* seconds a step */
    double flops, bytes;
    const char *kernel; /* of its most costly node */
} dlt_time_row;

typedef struct dlt_time_options {
    int64_t steps;       /* timed, after a few to warm up */
    const char *weights; /* to start from, as of dlt_weights_load; NULL: the initializers' */
    bool whole;          /* whole steps only, not node by node */
} dlt_time_options;

typedef struct dlt_timing {
    double step; /* seconds, the median of whole steps of full batches */
    double fastest, slowest;
    double mean;    /* from batch to batch, whatever happens between */
    double waiting; /* share of the time in which no batch was there */
    double peak;    /* operations a second that the device has at most, measured beside it; 0: not known */
    double flops;   /* of a step */
    int64_t steps, allocations; /* measured; allocations while they ran */
    int64_t futex_calls;        /* of the pool while they ran: threads whose spin ran out, and who woke them */
    int64_t launches;
    int loss_count;
    const double *losses; /* of every step, those of the warm-up first */
    int count;
    const dlt_time_row *rows; /* in order of the layers; none of them with `whole` */
} dlt_timing;

/** Trains as `fit` does, batch by batch from the data, and times whole steps; then the last batch node by node. */
dlt_status dlt_time_steps(dlt_session *session, const dlt_time_options *options, dlt_timing *timing, dlt_diag *diag);

#endif
