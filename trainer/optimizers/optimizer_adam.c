/* trainer/optimizers/optimizer_adam.c: steps along a mean of gradients over the root of that of squares.
 *   m += (g - m)(1 - beta_1)
 *   v += (g^2 - v)(1 - beta_2)      u = max(u, v) with amsgrad, else v
 *   w -= rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(u) + eps)
 * Source: Kingma & Ba, arXiv:1412.6980, the formula before section 2.1, as in Keras (PyTorch's eps is that of
 * Algorithm 1). */
#include "trainer/optimizers/adam.h"

static const dlt_field fields[] = {DLT_ADAM_FIELDS, DLT_OPTIMIZER_FIELDS(0.001, null), {0}};

int dlt_adam_slots(const void *params, const char *names[DLT_OPTIMIZER_MAX_SLOTS])
{
    names[0] = "momentum";
    names[1] = "velocity";
    names[2] = "velocity_hat";
    return ((const dlt_adam_params *)params)->amsgrad ? 3 : 2;
}

dlt_value *dlt_adam_update(dlt_builder *b, const void *params, const dlt_optimizer_io *io)
{
    const dlt_adam_params *p = params;
    dlt_value *m = dlt_moving_slot(b, "momentum", io->g, p->beta_1);
    dlt_value *v = dlt_moving_slot(b, "velocity", dlt_square(b, io->g), p->beta_2);
    if (p->amsgrad) {
        dlt_variable *slot;
        v = dlt_max(b, dlt_flat_slot(b, "velocity_hat", 0, &slot), v);
        dlt_assign(b, slot, v);
    }
    dlt_value *correction = dlt_div(b, dlt_sqrt(b, dlt_one_minus_power(b, p->beta_2, io->step)),
                                    dlt_one_minus_power(b, p->beta_1, io->step));
    dlt_value *alpha = dlt_mul(b, io->rate, correction);
    return dlt_sub(b, io->w, dlt_div(b, dlt_mul(b, m, alpha), dlt_add_c(b, dlt_sqrt(b, v), p->epsilon)));
}

const dlt_optimizer_desc dlt_optimizer_adam = {
    .kind = {.name = "Adam",
             .doc = "steps along the mean of recent gradients, divided by their root mean square",
             .size = sizeof(dlt_adam_params),
             .fields = fields,
             .check = dlt_optimizer_check},
    .update = dlt_adam_update,
    .slots = dlt_adam_slots,
    .interleaved = 2,
};
