/* layers/global_average_pooling2d.c: the mean of each channel.    (N, H, W, C) to (N, C), or (N, 1, 1, C). */
#include "layers/windows.h"

static const dlt_field global_average_pooling2d_fields[] = {DLT_GLOBAL_POOL_FIELDS, {0}};

static dlt_value *global_average_pooling2d_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const dlt_global_pool_params *p = params;
    const uint32_t axes = dlt_global_pool_axes(b, p, 2, in);
    return axes == 0 ? NULL : dlt_mean(b, dlt_as_real(b, in), axes, p->keepdims);
}

static const char *const global_average_pooling2d_examples[] = {
    "{input: [2, 3, 4, 5], layer: GlobalAveragePooling2D}",
    "{input: [2, 3, 4, 5], layer: {GlobalAveragePooling2D: {keepdims: true}}}",
    "{input: [2, 3, 4, 5], layer: {GlobalAveragePooling2D: {data_format: channels_first}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_global_average_pooling2d = {
    .kind = {.name = "GlobalAveragePooling2D",
             .doc = "the mean of each channel",
             .size = sizeof(dlt_global_pool_params),
             .fields = global_average_pooling2d_fields,
             .aliases = "GlobalAvgPool2D"},
    .build = global_average_pooling2d_build,
    .mask = DLT_MASK_DROP,
    .examples = global_average_pooling2d_examples,
};
