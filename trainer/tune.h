/* trainer/tune.h: kernels chosen by timing them. */
#ifndef DLT_TRAINER_TUNE_H
#define DLT_TRAINER_TUNE_H

#include "trainer/session.h"

typedef struct dlt_tuning {
    dlt_string_map kernels; /* by dlt_node_key: of everything that more than one kernel can do; lives in the arena */
    int other;              /* how many of them are not what the rule says */
    double seconds;         /* that it took */
} dlt_tuning;

/**
 * Times the kernels of a training step on this machine: each node with each kernel that can run it besides the reference, on zeros. The
 * rule's choice stays unless another is faster by 5 %. options: of the session that will train.
 */
dlt_status dlt_tune(const dlt_run_spec *run, const dlt_session_options *options, dlt_arena *arena, dlt_tuning *tuning, dlt_diag *diag);

#endif
