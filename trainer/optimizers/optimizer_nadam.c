/* trainer/optimizers/optimizer_nadam.c: Adam with Nesterov momentum.
 *   mu_t = beta_1 (1 - 0.96^t / 2)      P_t = P_(t-1) mu_t, P_0 = 1      m, v as Adam
 *   mh = mu_(t+1) m / (1 - P_t mu_(t+1)) + (1 - mu_t) g / (1 - P_t)
 *   w -= rate mh / (sqrt(v / (1 - beta_2^t)) + eps)
 * Source: Dozat, ICLR workshop 2016. P is kept as Keras keeps it: a scalar at the end of the optimizer's
 * variables. */
#include "trainer/optimizers/adam.h"

typedef struct nadam_params {
    dlt_optimizer_params common;
    double beta_1, beta_2, epsilon;
} nadam_params;

static const dlt_field fields[] = {
    DLT_BETA_FIELDS(nadam_params, 0.999),
    DLT_EPSILON_FIELD(nadam_params),
    DLT_OPTIMIZER_FIELDS(0.001, null),
    {0},
};

static int slots(const void *params, const char *names[DLT_OPTIMIZER_MAX_SLOTS])
{
    (void)params;
    names[0] = "momentum";
    names[1] = "velocity";
    return 2;
}

/* beta_1 (1 - 0.96^t / 2), float64 */
static dlt_value *mu(dlt_builder *b, double beta_1, dlt_value *step)
{
    dlt_value *power = dlt_pow(b, dlt_constant_typed(b, DLT_F64, 0.96), step);
    return dlt_mul_c(b, dlt_c_sub(b, 1, dlt_mul_c(b, power, 0.5)), beta_1);
}

static dlt_value *update(dlt_builder *b, const void *params, const dlt_optimizer_io *io)
{
    const nadam_params *p = params;
    const dlt_dtype real = dlt_real(b);
    dlt_variable *scalar;
    dlt_value *mu_now = mu(b, p->beta_1, io->step), *mu_next = mu(b, p->beta_1, dlt_add_c(b, io->step, 1));
    dlt_value *product =
        dlt_mul(b, dlt_cast(b, dlt_optimizer_scalar(b, "u_product", 1, &scalar), DLT_F64), mu_now);
    dlt_assign(b, scalar, dlt_cast(b, product, real));
    dlt_value *m = dlt_moving_slot(b, "momentum", io->g, p->beta_1);
    dlt_value *v = dlt_moving_slot(b, "velocity", dlt_square(b, io->g), p->beta_2);
    dlt_value *of_m = dlt_div(b, mu_next, dlt_c_sub(b, 1, dlt_mul(b, product, mu_next)));
    dlt_value *of_g = dlt_div(b, dlt_c_sub(b, 1, mu_now), dlt_c_sub(b, 1, product));
    dlt_value *mean =
        dlt_add(b, dlt_mul(b, m, dlt_cast(b, of_m, real)), dlt_mul(b, io->g, dlt_cast(b, of_g, real)));
    dlt_value *squares = dlt_div(b, v, dlt_one_minus_power(b, p->beta_2, io->step));
    return dlt_sub(b, io->w,
                   dlt_div(b, dlt_mul(b, mean, io->rate), dlt_add_c(b, dlt_sqrt(b, squares), p->epsilon)));
}

const dlt_optimizer_desc dlt_optimizer_nadam = {
    .kind = {.name = "Nadam",
             .doc = "Adam with Nesterov momentum",
             .size = sizeof(nadam_params),
             .fields = fields,
             .check = dlt_optimizer_check},
    .update = update,
    .slots = slots,
    .interleaved = 2,
    .scalar = "u_product",
};
