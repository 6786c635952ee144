/* trainer/optimizers/optimizer_adamw.c: Adam with decoupled weight decay: w -= w decay rate before each step,
 * which every optimizer can do; here the decay is 0.004 unless said otherwise. Source: Loshchilov & Hutter,
 * arXiv:1711.05101. */
#include "trainer/optimizers/adam.h"

static const dlt_field fields[] = {DLT_ADAM_FIELDS, DLT_OPTIMIZER_FIELDS(0.001, 0.004), {0}};

const dlt_optimizer_desc dlt_optimizer_adamw = {
    .kind = {.name = "AdamW",
             .doc = "Adam with weight decay",
             .size = sizeof(dlt_adam_params),
             .fields = fields,
             .aliases = "adamw",
             .check = dlt_optimizer_check},
    .update = dlt_adam_update,
    .slots = dlt_adam_slots,
    .interleaved = 2,
};
