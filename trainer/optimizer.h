/* trainer/optimizer.h: a whole update, in Keras' order (keras-training.md 6.2-6.5): gradients, unscaling,
 * accumulation, guard, clipping, weight decay, the optimizer's own rule, moving average, constraints,
 * counters. */
#ifndef DLT_TRAINER_OPTIMIZER_H
#define DLT_TRAINER_OPTIMIZER_H

#include "trainer/kinds.h"

/** Paths of variables; each stands in the variables' list once a training program was built. */
#define DLT_PATH_ITERATION "iteration"         /* int64 scalar: micro-steps so far */
#define DLT_PATH_LEARNING_RATE "learning_rate" /* real scalar; none where a schedule makes the rate */
#define DLT_SLOT_AVERAGE "average"             /* of dlt_flat_slot: the moving average of the weights */
#define DLT_SLOT_ACCUMULATOR "gradient_accumulator"

typedef enum dlt_update_kind {
    DLT_UPDATE_STEP,       /* every batch makes a step */
    DLT_UPDATE_ACCUMULATE, /* the batch's gradients are only added up */
    DLT_UPDATE_APPLY       /* the last of gradient_accumulation_steps batches: a step with the mean */
} dlt_update_kind;

static inline const dlt_optimizer_params *dlt_optimizer_common(const dlt_item *optimizer)
{
    return optimizer->params;
}

/** What an update makes known. */
typedef struct dlt_update_report {
    dlt_value *grad_norm; /* Euclidean norm of all gradients together, before clipping */
    dlt_value *rate;      /* learning rate of this step, real */
    dlt_value *sum;       /* of the new weights and flat slots: not finite where one is not; NULL when accumulating */
} dlt_update_report;

/**
 * Adds everything from the loss (scalar, with penalties) to the new weights. All weights must exist; at least
 * one must be trainable. The guard looks at the loss, the norm of the gradients and what is watched (dlt_watch).
 */
void dlt_optimizer_build(dlt_builder *b, const dlt_item *optimizer, dlt_value *loss, dlt_update_kind kind,
                         dlt_update_report *report);
/** The end of fit with use_ema: the averages become the weights. */
void dlt_optimizer_finish(dlt_builder *b);

#endif
