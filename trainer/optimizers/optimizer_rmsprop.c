/* trainer/optimizers/optimizer_rmsprop.c: steps divided by the root of a moving average of squared gradients.
 *   v = rho v + (1 - rho) g^2      a = rho a + (1 - rho) g (centered)
 *   step = rate g / sqrt(v - a^2 + eps)      m = mu m + step, w -= m; or w -= step
 * Source: Hinton's lecture 6e; eps stands inside the root, as in Keras. */
#include "trainer/kinds.h"

typedef struct rmsprop_params {
    dlt_optimizer_params common;
    double rho, momentum, epsilon;
    bool centered;
} rmsprop_params;

static const dlt_field fields[] = {
    DLT_FLOAT(rmsprop_params, rho, 0, 1, 0.9, "share of the old average of squares that stays at each step"),
    DLT_FLOAT(rmsprop_params, momentum, 0, 1, 0.0, "share of the last step that is added to the next"),
    DLT_FLOAT_OPEN(rmsprop_params, epsilon, 0, HUGE_VAL, DLT_FIELD_OPEN_MIN, 1e-7,
                   "added to the average under the root"),
    DLT_BOOL(rmsprop_params, centered, false, "divide by the deviation from the mean gradient"),
    DLT_OPTIMIZER_FIELDS(0.001, null),
    {0},
};

static int slots(const void *params, const char *names[DLT_OPTIMIZER_MAX_SLOTS])
{
    const rmsprop_params *p = params;
    int count = 0;
    names[count++] = "velocity";
    if (p->momentum > 0) {
        names[count++] = "momentum";
    }
    if (p->centered) {
        names[count++] = "average_gradient";
    }
    return count;
}

/* slot = rho slot + (1 - rho) x */
static dlt_value *average(dlt_builder *b, const char *name, dlt_value *x, double rho)
{
    dlt_variable *slot;
    dlt_value *old = dlt_flat_slot(b, name, 0, &slot);
    dlt_value *now = dlt_add(b, dlt_mul_c(b, old, rho), dlt_mul_c(b, x, 1 - rho));
    dlt_assign(b, slot, now);
    return now;
}

static dlt_value *update(dlt_builder *b, const void *params, const dlt_optimizer_io *io)
{
    const rmsprop_params *p = params;
    dlt_value *spread = average(b, "velocity", dlt_square(b, io->g), p->rho);
    if (p->centered) {
        spread = dlt_sub(b, spread, dlt_square(b, average(b, "average_gradient", io->g, p->rho)));
    }
    dlt_value *step = dlt_div(b, dlt_mul(b, io->g, io->rate), dlt_sqrt(b, dlt_add_c(b, spread, p->epsilon)));
    if (p->momentum > 0) {
        dlt_variable *slot;
        dlt_value *m = dlt_flat_slot(b, "momentum", 0, &slot);
        step = dlt_add(b, dlt_mul_c(b, m, p->momentum), step);
        dlt_assign(b, slot, step);
    }
    return dlt_sub(b, io->w, step);
}

const dlt_optimizer_desc dlt_optimizer_rmsprop = {
    .kind = {.name = "RMSprop",
             .doc = "steps divided by the root mean square of recent gradients",
             .size = sizeof(rmsprop_params),
             .fields = fields,
             .aliases = "rmsprop RMSProp",
             .check = dlt_optimizer_check},
    .update = update,
    .slots = slots,
};
