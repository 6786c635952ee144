/* trainer/optimizers/optimizer_adamax.c: Adam with the largest recent gradient in place of the root mean
 * square. m += (g - m)(1 - beta_1) u = max(beta_2 u, |g|) w -= rate m / ((1 - beta_1^t)(u + eps)) Source:
 * Kingma & Ba, arXiv:1412.6980, section 7.1. */
#include "trainer/optimizers/adam.h"

typedef struct adamax_params {
    dlt_optimizer_params common;
    double beta_1, beta_2, epsilon;
} adamax_params;

static const dlt_field fields[] = {
    DLT_BETA_FIELDS(adamax_params, 0.999),
    DLT_EPSILON_FIELD(adamax_params),
    DLT_OPTIMIZER_FIELDS(0.001, null),
    {0},
};

static int slots(const void *params, const char *names[DLT_OPTIMIZER_MAX_SLOTS])
{
    (void)params;
    names[0] = "momentum";
    names[1] = "norm";
    return 2;
}

static dlt_value *update(dlt_builder *b, const void *params, const dlt_optimizer_io *io)
{
    const adamax_params *p = params;
    dlt_variable *slot;
    dlt_value *m = dlt_moving_slot(b, "momentum", io->g, p->beta_1);
    dlt_value *u = dlt_mul_c(b, dlt_flat_slot(b, "norm", 0, &slot), p->beta_2);
    u = dlt_max(b, u, dlt_abs(b, io->g));
    dlt_assign(b, slot, u);
    dlt_value *correction = dlt_one_minus_power(b, p->beta_1, io->step);
    return dlt_sub(b, io->w,
                   dlt_div(b, dlt_mul(b, m, io->rate), dlt_mul(b, dlt_add_c(b, u, p->epsilon), correction)));
}

const dlt_optimizer_desc dlt_optimizer_adamax = {
    .kind = {.name = "Adamax",
             .doc = "Adam with the largest of recent gradients in place of their root mean square",
             .size = sizeof(adamax_params),
             .fields = fields,
             .check = dlt_optimizer_check},
    .update = update,
    .slots = slots,
    .interleaved = 2,
};
