/* trainer/initializer.c: first values of weights and states (keras-training.md 10). */
#include "trainer/initializer.h"

#include "base/rng.h"

void dlt_fans(const dlt_shape *shape, int64_t *fan_in, int64_t *fan_out)
{
    const int rank = shape->rank;
    int64_t receptive = 1;
    if (rank < 2) {
        *fan_in = *fan_out = rank == 1 ? shape->dim[0] : 1;
        return;
    }
    for (int i = 0; i < rank - 2; i++) {
        receptive *= shape->dim[i]; /* the product of all sizes was found to fit when the weight was made */
    }
    *fan_in = shape->dim[rank - 2] * receptive;
    *fan_out = shape->dim[rank - 1] * receptive;
}

static const dlt_initializer_desc *initializer_of(const dlt_variable *variable)
{
    return variable->initializer != NULL
               ? (const dlt_initializer_desc *)(const void *)variable->initializer->kind
               : NULL;
}

dlt_status dlt_initializer_fits(const dlt_variable *variable, dlt_diag *diag)
{
    const dlt_initializer_desc *desc = initializer_of(variable);
    const int rank = variable->shape.rank;
    if (desc == NULL || (rank >= desc->min_rank && (desc->max_rank == 0 || rank <= desc->max_rank))) {
        return DLT_OK;
    }
    char text[160];
    return dlt_fail(diag, DLT_E_CONFIG,
                    variable->initializer->pos.line > 0 ? variable->initializer->pos : variable->pos,
                    "%s needs a weight of rank %d%s; %s has shape %s", desc->kind.name, desc->min_rank,
                    desc->max_rank == 0 ? " or more" : "", variable->path,
                    dlt_shape_text(&variable->shape, text, sizeof text));
}

/* What the initializer alone makes. */
static dlt_status fill(const dlt_variable *variable, uint64_t seed, double *out, dlt_diag *diag)
{
    const dlt_initializer_desc *desc = initializer_of(variable);
    if (desc == NULL) {
        const int64_t count = dlt_shape_count(&variable->shape);
        for (int64_t i = 0; i < count; i++) {
            out[i] = variable->constant;
        }
        return DLT_OK;
    }
    DLT_TRY(dlt_initializer_fits(variable, diag));
    dlt_initializer_io io = {.shape = variable->shape,
                             .fan_in = variable->fan_in,
                             .fan_out = variable->fan_out,
                             .seed = seed,
                             .stream = dlt_fnv1a(variable->path),
                             .out = out};
    if (io.fan_in <= 0 || io.fan_out <= 0) {
        dlt_fans(&io.shape, &io.fan_in, &io.fan_out);
    }
    return desc->fill(variable->initializer->params, &io) ? DLT_OK : dlt_fail_memory(diag);
}

dlt_status dlt_initial_value(const dlt_variable *variable, uint64_t seed, double *out, dlt_diag *diag)
{
    DLT_TRY(fill(variable, seed, out, diag));
    for (int64_t i = 0; i < variable->ones_count; i++) {
        out[variable->ones_from + i] = 1;
    }
    return DLT_OK;
}
