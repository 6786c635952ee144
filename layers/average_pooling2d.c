/* layers/average_pooling2d.c: the mean of each window.    (N, H, W, C) to (N, H', W', C). Padding is not counted. */
#include "layers/windows.h"

static const dlt_field average_pooling2d_fields[] = {DLT_POOL_FIELDS(NULL), {0}};

static void average_pooling2d_check(const dlt_item *item, dlt_diag *diag)
{
    dlt_pool_check(item, 2, diag);
}

static dlt_value *average_pooling2d_build(dlt_builder *b, const void *params, dlt_value *in)
{
    return dlt_pool_build(b, params, 2, in, dlt_avg_pool);
}

static const char *const average_pooling2d_examples[] = {
    "{input: [2, 5, 6, 2], layer: {AveragePooling2D: {pool_size: 2}}}",
    "{input: [2, 5, 6, 2], layer: {AveragePooling2D: {pool_size: [2, 3], strides: 1}}}",
    "{input: [2, 5, 7, 1], layer: {AveragePooling2D: {pool_size: 3, strides: [2, 1], padding: same}}}",
    "{input: [2, 2, 5, 4], layer: {AveragePooling2D: {pool_size: 2, data_format: channels_first}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_average_pooling2d = {
    .kind = {.name = "AveragePooling2D",
             .doc = "the mean of each window",
             .size = sizeof(dlt_pool_params),
             .fields = average_pooling2d_fields,
             .aliases = "AvgPool2D",
             .check = average_pooling2d_check},
    .build = average_pooling2d_build,
    .mask = DLT_MASK_DROP,
    .examples = average_pooling2d_examples,
};
