/* trainer/optimizers/optimizer_sgd.c: gradient descent.
 *   no momentum: w -= rate g
 *   momentum:    m = mu m - rate g      w += m
 *   Nesterov:    m = mu m - rate g      w += mu m - rate g, with the new m
 * The momentum holds the step itself, rate included (PyTorch's holds an average of gradients). */
#include "trainer/kinds.h"

typedef struct sgd_params {
    dlt_optimizer_params common;
    double momentum;
    bool nesterov;
} sgd_params;

static const dlt_field fields[] = {
    DLT_FLOAT(sgd_params, momentum, 0, 1, 0.0, "share of the last step that is added to the next"),
    DLT_BOOL(sgd_params, nesterov, false, "look ahead by the momentum (Nesterov)"),
    DLT_OPTIMIZER_FIELDS(0.01, null),
    {0},
};

static int slots(const void *params, const char *names[DLT_OPTIMIZER_MAX_SLOTS])
{
    names[0] = "momentum";
    return ((const sgd_params *)params)->momentum != 0 ? 1 : 0;
}

static dlt_value *update(dlt_builder *b, const void *params, const dlt_optimizer_io *io)
{
    const sgd_params *p = params;
    dlt_value *step = dlt_mul(b, io->g, io->rate);
    if (p->momentum == 0) {
        return dlt_sub(b, io->w, step);
    }
    dlt_variable *slot;
    dlt_value *m = dlt_flat_slot(b, "momentum", 0, &slot);
    m = dlt_sub(b, dlt_mul_c(b, m, p->momentum), step);
    dlt_assign(b, slot, m);
    return dlt_add(b, io->w, p->nesterov ? dlt_sub(b, dlt_mul_c(b, m, p->momentum), step) : m);
}

const dlt_optimizer_desc dlt_optimizer_sgd = {
    .kind = {.name = "SGD",
             .doc = "gradient descent, with momentum or without",
             .size = sizeof(sgd_params),
             .fields = fields,
             .check = dlt_optimizer_check},
    .update = update,
    .slots = slots,
};
