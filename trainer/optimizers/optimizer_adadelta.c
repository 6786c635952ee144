/* trainer/optimizers/optimizer_adadelta.c: steps scaled by the ratio of the sizes of recent steps and
 * gradients. a = rho a + (1 - rho) g^2 D = -sqrt(d + eps) g / sqrt(a + eps) d = rho d + (1 - rho) D^2 w +=
 * rate D Source: Zeiler, arXiv:1212.5701. */
#include "trainer/kinds.h"

typedef struct adadelta_params {
    dlt_optimizer_params common;
    double rho, epsilon;
} adadelta_params;

static const dlt_field fields[] = {
    DLT_FLOAT(adadelta_params, rho, 0, 1, 0.95, "share of the old averages that stays at each step"),
    DLT_FLOAT_OPEN(adadelta_params, epsilon, 0, HUGE_VAL, DLT_FIELD_OPEN_MIN, 1e-7,
                   "added to both averages under their roots"),
    DLT_OPTIMIZER_FIELDS(0.001, null),
    {0},
};

static int slots(const void *params, const char *names[DLT_OPTIMIZER_MAX_SLOTS])
{
    (void)params;
    names[0] = "accumulated_grad";
    names[1] = "accumulated_delta_var";
    return 2;
}

static dlt_value *averaged(dlt_builder *b, dlt_value *old, dlt_value *x, double rho)
{
    return dlt_add(b, dlt_mul_c(b, old, rho), dlt_mul_c(b, dlt_square(b, x), 1 - rho));
}

static dlt_value *update(dlt_builder *b, const void *params, const dlt_optimizer_io *io)
{
    const adadelta_params *p = params;
    dlt_variable *grad_slot, *step_slot;
    dlt_value *a = averaged(b, dlt_flat_slot(b, "accumulated_grad", 0, &grad_slot), io->g, p->rho);
    dlt_value *d = dlt_flat_slot(b, "accumulated_delta_var", 0, &step_slot);
    dlt_value *size = dlt_mul(b, dlt_sqrt(b, dlt_add_c(b, d, p->epsilon)), io->g);
    dlt_value *step = dlt_neg(b, dlt_div(b, size, dlt_sqrt(b, dlt_add_c(b, a, p->epsilon))));
    dlt_assign(b, grad_slot, a);
    dlt_assign(b, step_slot, averaged(b, d, step, p->rho));
    return dlt_add(b, io->w, dlt_mul(b, step, io->rate));
}

const dlt_optimizer_desc dlt_optimizer_adadelta = {
    .kind = {.name = "Adadelta",
             .doc = "steps scaled by the sizes of recent steps and gradients",
             .size = sizeof(adadelta_params),
             .fields = fields,
             .check = dlt_optimizer_check},
    .update = update,
    .slots = slots,
    .interleaved = 2,
};
