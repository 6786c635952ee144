/* trainer/optimizers/adam.h: Adam and AdamW differ in the default of weight_decay alone. */
#ifndef DLT_TRAINER_OPTIMIZERS_ADAM_H
#define DLT_TRAINER_OPTIMIZERS_ADAM_H

#include "trainer/kinds.h"

typedef struct dlt_adam_params {
    dlt_optimizer_params common;
    double beta_1, beta_2, epsilon;
    bool amsgrad;
} dlt_adam_params;

/* decay rates of the two averages, for all of Adam's family; each is below 1, or the correction would divide
 * by 0 */
#define DLT_BETA_FIELDS(T, beta_2_default_)                                                                  \
    DLT_FLOAT_OPEN(T, beta_1, 0, 1, DLT_FIELD_OPEN_MAX, 0.9,                                                 \
                   "share of the old mean that stays at each step"),                                         \
        DLT_FLOAT_OPEN(T, beta_2, 0, 1, DLT_FIELD_OPEN_MAX, beta_2_default_,                                 \
                       "share of the old mean of squares that stays at each step")
#define DLT_EPSILON_FIELD(T)                                                                                 \
    DLT_FLOAT_OPEN(T, epsilon, 0, HUGE_VAL, DLT_FIELD_OPEN_MIN, 1e-7,                                        \
                   "added to the root of the mean of squares")
#define DLT_ADAM_FIELDS                                                                                      \
    DLT_BETA_FIELDS(dlt_adam_params, 0.999), DLT_EPSILON_FIELD(dlt_adam_params),                             \
        DLT_BOOL(dlt_adam_params, amsgrad, false, "use the largest mean of squares seen so far")

int dlt_adam_slots(const void *params, const char *names[DLT_OPTIMIZER_MAX_SLOTS]);
dlt_value *dlt_adam_update(dlt_builder *b, const void *params, const dlt_optimizer_io *io);

#endif
