/* layers/global_average_pooling1d.c: the mean of each channel over the steps.    (N, T, C) to (N, C), or (N, 1, C).
 * With a mask (N, T): the mean of the steps that count; a sample without any gives 0 / 0, as in Keras. */
#include "layers/windows.h"

#include "base/text.h"

static const dlt_field global_average_pooling1d_fields[] = {DLT_GLOBAL_POOL_FIELDS, {0}};

static dlt_value *global_average_pooling1d_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const dlt_global_pool_params *p = params;
    const uint32_t axes = dlt_global_pool_axes(b, p, 1, in);
    const bool first = p->data_format == DLT_CHANNELS_FIRST;
    dlt_value *x = dlt_as_real(b, in);
    if (axes == 0 || in->mask == NULL) {
        return axes == 0 ? NULL : dlt_mean(b, x, axes, p->keepdims);
    }
    const dlt_shape steps = DLT_SHAPE(in->shape.dim[0], in->shape.dim[first ? 2 : 1]);
    if (!dlt_shape_equal(&steps, &in->mask->shape)) {
        char is[160], of[160];
        return dlt_reject(b, "GlobalAveragePooling1D: a mask of shape %s does not fit the input %s",
                          dlt_shape_text_batch(&in->mask->shape, is, sizeof is),
                          dlt_shape_text_batch(&in->shape, of, sizeof of));
    }
    dlt_value *counts = dlt_expand(b, dlt_cast(b, in->mask, dlt_real(b)), first ? 1 : -1);
    return dlt_div(b, dlt_sum(b, dlt_mul(b, x, counts), axes, p->keepdims),
                   dlt_sum(b, counts, axes, p->keepdims));
}

static const char *const global_average_pooling1d_examples[] = {
    "{input: [2, 4, 3], layer: GlobalAveragePooling1D}",
    "{input: [2, 4, 3], mask: true, layer: GlobalAveragePooling1D}",
    "{input: [2, 4, 3], layer: {GlobalAveragePooling1D: {keepdims: true, data_format: channels_first}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_global_average_pooling1d = {
    .kind = {.name = "GlobalAveragePooling1D",
             .doc = "the mean of each channel over the steps",
             .size = sizeof(dlt_global_pool_params),
             .fields = global_average_pooling1d_fields,
             .aliases = "GlobalAvgPool1D"},
    .build = global_average_pooling1d_build,
    .mask = DLT_MASK_END,
    .examples = global_average_pooling1d_examples,
};
