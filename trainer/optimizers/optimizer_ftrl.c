/* trainer/optimizers/optimizer_ftrl.c: follow the regularized leader, for sparse linear models.
 * With p = learning_rate_power:
 *   gs = g + 2 l2_shrinkage w
 *   a' = a + g^2
 *   z += gs - (a'^-p - a^-p) / rate w
 *   q = a'^-p / rate + 2 (l2 + beta / (2 rate))
 *   w = (clip(z, -l1, l1) - z) / q
 * Source: McMahan et al., KDD 2013. */
#include "trainer/kinds.h"

typedef struct ftrl_params {
    dlt_optimizer_params common;
    double learning_rate_power, initial_accumulator_value, l1_regularization_strength,
        l2_regularization_strength, l2_shrinkage_regularization_strength, beta;
} ftrl_params;

static const dlt_field fields[] = {
    DLT_FLOAT(ftrl_params, learning_rate_power, -HUGE_VAL, 0, -0.5,
              "how the rate falls while gradients add up; 0: it does not"),
    DLT_FLOAT(ftrl_params, initial_accumulator_value, 0, HUGE_VAL, 0.1, "where the sums of squares start"),
    DLT_FLOAT(ftrl_params, l1_regularization_strength, 0, HUGE_VAL, 0.0, "makes small weights 0"),
    DLT_FLOAT(ftrl_params, l2_regularization_strength, 0, HUGE_VAL, 0.0, "makes weights smaller"),
    DLT_FLOAT(ftrl_params, l2_shrinkage_regularization_strength, 0, HUGE_VAL, 0.0,
              "as l2, by way of the gradient"),
    DLT_FLOAT(ftrl_params, beta, 0, HUGE_VAL, 0.0, "beta of the paper"),
    DLT_OPTIMIZER_FIELDS(0.001, null),
    {0},
};

static int slots(const void *params, const char *names[DLT_OPTIMIZER_MAX_SLOTS])
{
    (void)params;
    names[0] = "accumulator";
    names[1] = "linear";
    return 2;
}

static dlt_value *update(dlt_builder *b, const void *params, const dlt_optimizer_io *io)
{
    const ftrl_params *p = params;
    dlt_variable *a_slot, *z_slot;
    dlt_value *power = dlt_constant(b, -p->learning_rate_power);
    dlt_value *a = dlt_flat_slot(b, "accumulator", p->initial_accumulator_value, &a_slot);
    dlt_value *z = dlt_flat_slot(b, "linear", 0, &z_slot);
    dlt_value *shrunk = dlt_add(b, io->g, dlt_mul_c(b, io->w, 2 * p->l2_shrinkage_regularization_strength));
    dlt_value *a_next = dlt_add(b, a, dlt_square(b, io->g));
    dlt_value *root = dlt_pow(b, a_next, power);
    dlt_value *sigma = dlt_div(b, dlt_sub(b, root, dlt_pow(b, a, power)), io->rate);
    z = dlt_add(b, z, dlt_sub(b, shrunk, dlt_mul(b, sigma, io->w)));
    dlt_value *l2 =
        dlt_add_c(b, dlt_div(b, dlt_constant(b, p->beta), io->rate), 2 * p->l2_regularization_strength);
    dlt_value *q = dlt_add(b, dlt_div(b, root, io->rate), l2);
    const double l1 = p->l1_regularization_strength;
    dlt_assign(b, a_slot, a_next);
    dlt_assign(b, z_slot, z);
    /* q is 0 only where nothing was ever added up, as in padding: the weight stays 0 there */
    return dlt_divide_no_nan(b, dlt_sub(b, dlt_clip(b, z, -l1, l1), z), q);
}

const dlt_optimizer_desc dlt_optimizer_ftrl = {
    .kind = {.name = "Ftrl",
             .doc = "follow the regularized leader, for sparse linear models",
             .size = sizeof(ftrl_params),
             .fields = fields,
             .check = dlt_optimizer_check},
    .update = update,
    .slots = slots,
    .interleaved = 2,
    .sums = true,
};
