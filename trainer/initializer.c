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

dlt_status dlt_initial_value(const dlt_variable *variable, uint64_t seed, double *out, dlt_diag *diag)
{
    const dlt_item *item = variable->initializer;
    if (item == NULL) {
        const int64_t count = dlt_shape_count(&variable->shape);
        for (int64_t i = 0; i < count; i++) {
            out[i] = variable->constant;
        }
        return DLT_OK;
    }
    const dlt_initializer_desc *desc = (const dlt_initializer_desc *)(const void *)item->kind;
    const int rank = variable->shape.rank;
    if (rank < desc->min_rank || (desc->max_rank > 0 && rank > desc->max_rank)) {
        char text[160];
        return dlt_fail(diag, DLT_E_CONFIG, item->pos.line > 0 ? item->pos : variable->pos,
                        "%s makes matrices%s; %s has shape %s", item->kind->name, desc->max_rank == 0 ? " and more" : "",
                        variable->path, dlt_shape_text(&variable->shape, text, sizeof text));
    }
    dlt_initializer_io io = {.shape = variable->shape,
                             .fan_in = variable->fan_in,
                             .fan_out = variable->fan_out,
                             .seed = seed,
                             .stream = dlt_fnv1a(variable->path),
                             .out = out};
    if (io.fan_in <= 0 || io.fan_out <= 0) {
        dlt_fans(&io.shape, &io.fan_in, &io.fan_out);
    }
    return desc->fill(item->params, &io) ? DLT_OK : dlt_fail_memory(diag);
}
