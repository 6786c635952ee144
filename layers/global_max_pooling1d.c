/* layers/global_max_pooling1d.c: the largest value of each channel.    (N, T, C) to (N, C), or (N, 1, C). */
#include "layers/windows.h"

static const dlt_field global_max_pooling1d_fields[] = {DLT_GLOBAL_POOL_FIELDS, {0}};

static dlt_value *global_max_pooling1d_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const dlt_global_pool_params *p = params;
    const uint32_t axes = dlt_global_pool_axes(b, p, 1, in);
    return axes == 0 ? NULL : dlt_reduce(b, DLT_REDUCE_MAX, dlt_as_real(b, in), axes, p->keepdims);
}

static const char *const global_max_pooling1d_examples[] = {
    "{input: [2, 4, 3], layer: GlobalMaxPooling1D}",
    "{input: [2, 4, 3], layer: {GlobalMaxPooling1D: {keepdims: true, data_format: channels_first}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_global_max_pooling1d = {
    .kind = {.name = "GlobalMaxPooling1D",
             .doc = "the largest value of each channel",
             .size = sizeof(dlt_global_pool_params),
             .fields = global_max_pooling1d_fields,
             .aliases = "GlobalMaxPool1D"},
    .build = global_max_pooling1d_build,
    .mask = DLT_MASK_DROP,
    .examples = global_max_pooling1d_examples,
};
