/* trainer/optimizers/optimizer_adagrad.c: steps divided by the root of the sum of all squared gradients so
 * far. a += g^2, from initial_accumulator_value on w -= rate g / sqrt(a + eps) Source: Duchi et al., JMLR 12,
 * 2011. */
#include "trainer/optimizers/adam.h"

typedef struct adagrad_params {
    dlt_optimizer_params common;
    double initial_accumulator_value, epsilon;
} adagrad_params;

static const dlt_field fields[] = {
    DLT_FLOAT(adagrad_params, initial_accumulator_value, 0, HUGE_VAL, 0.1, "where the sums of squares start"),
    DLT_FLOAT_OPEN(adagrad_params, epsilon, 0, HUGE_VAL, DLT_FIELD_OPEN_MIN, 1e-7,
                   "added to the sum under the root"),
    DLT_OPTIMIZER_FIELDS(0.001, null),
    {0},
};

static int slots(const void *params, const char *names[DLT_OPTIMIZER_MAX_SLOTS])
{
    (void)params;
    names[0] = "accumulator";
    return 1;
}

static dlt_value *update(dlt_builder *b, const void *params, const dlt_optimizer_io *io)
{
    const adagrad_params *p = params;
    dlt_variable *slot;
    dlt_value *a = dlt_flat_slot(b, "accumulator", p->initial_accumulator_value, &slot);
    a = dlt_add(b, a, dlt_square(b, io->g));
    dlt_assign(b, slot, a);
    return dlt_sub(b, io->w,
                   dlt_div(b, dlt_mul(b, io->g, io->rate), dlt_sqrt(b, dlt_add_c(b, a, p->epsilon))));
}

const dlt_optimizer_desc dlt_optimizer_adagrad = {
    .kind = {.name = "Adagrad",
             .doc = "steps divided by the root of the sum of all squared gradients",
             .size = sizeof(adagrad_params),
             .fields = fields,
             .check = dlt_optimizer_check},
    .update = update,
    .slots = slots,
    .sums = true,
};
