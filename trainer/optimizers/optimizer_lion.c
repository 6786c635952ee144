/* trainer/optimizers/optimizer_lion.c: steps of one size, by the sign of a mean of gradients.
 *   w -= rate sign(beta_1 m + (1 - beta_1) g)      m = beta_2 m + (1 - beta_2) g
 * Source: Chen et al., arXiv:2302.06675. */
#include "trainer/kinds.h"

typedef struct lion_params {
    dlt_optimizer_params common;
    double beta_1, beta_2;
} lion_params;

static const dlt_field fields[] = {
    DLT_FLOAT_OPEN(lion_params, beta_1, 0, 1, DLT_FIELD_OPEN_MIN, 0.9,
                   "share of the mean in the direction of a step"),
    DLT_FLOAT(lion_params, beta_2, 0, 1, 0.99, "share of the old mean that stays at each step"),
    DLT_OPTIMIZER_FIELDS(0.001, null),
    {0},
};

static int slots(const void *params, const char *names[DLT_OPTIMIZER_MAX_SLOTS])
{
    (void)params;
    names[0] = "momentum";
    return 1;
}

static dlt_value *mixed(dlt_builder *b, dlt_value *m, dlt_value *g, double beta)
{
    return dlt_add(b, dlt_mul_c(b, m, beta), dlt_mul_c(b, g, 1 - beta));
}

static dlt_value *update(dlt_builder *b, const void *params, const dlt_optimizer_io *io)
{
    const lion_params *p = params;
    dlt_variable *slot;
    dlt_value *m = dlt_flat_slot(b, "momentum", 0, &slot);
    dlt_value *direction = dlt_elementwise(b, DLT_EW_SIGN, mixed(b, m, io->g, p->beta_1), NULL, NULL);
    dlt_assign(b, slot, mixed(b, m, io->g, p->beta_2));
    return dlt_sub(b, io->w, dlt_mul(b, direction, io->rate));
}

const dlt_optimizer_desc dlt_optimizer_lion = {
    .kind = {.name = "Lion",
             .doc = "steps of one size, by the sign of the mean of recent gradients",
             .size = sizeof(lion_params),
             .fields = fields,
             .check = dlt_optimizer_check},
    .update = update,
    .slots = slots,
};
