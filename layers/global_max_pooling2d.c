/* layers/global_max_pooling2d.c: the largest value of each channel.    (N, H, W, C) to (N, C), or (N, 1, 1, C). */
#include "layers/windows.h"

static const dlt_field global_max_pooling2d_fields[] = {DLT_GLOBAL_POOL_FIELDS, {0}};

static dlt_value *global_max_pooling2d_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const dlt_global_pool_params *p = params;
    const uint32_t axes = dlt_global_pool_axes(b, p, 2, in);
    return axes == 0 ? NULL : dlt_reduce(b, DLT_REDUCE_MAX, dlt_as_real(b, in), axes, p->keepdims);
}

static const char *const global_max_pooling2d_examples[] = {
    "{input: [2, 3, 4, 5], layer: GlobalMaxPooling2D}",
    "{input: [2, 3, 4, 5], layer: {GlobalMaxPooling2D: {keepdims: true}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_global_max_pooling2d = {
    .kind = {.name = "GlobalMaxPooling2D",
             .doc = "the largest value of each channel",
             .size = sizeof(dlt_global_pool_params),
             .fields = global_max_pooling2d_fields,
             .aliases = "GlobalMaxPool2D"},
    .build = global_max_pooling2d_build,
    .mask = DLT_MASK_DROP,
    .examples = global_max_pooling2d_examples,
};
