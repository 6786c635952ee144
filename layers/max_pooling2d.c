/* layers/max_pooling2d.c: the largest value of each window.    (N, H, W, C) to (N, H', W', C). Padding never wins. */
#include "layers/windows.h"

static const dlt_field max_pooling2d_fields[] = {DLT_POOL_FIELDS("2"), {0}};

static void max_pooling2d_check(const dlt_item *item, dlt_diag *diag)
{
    dlt_pool_check(item, 2, diag);
}

static dlt_value *max_pooling2d_build(dlt_builder *b, const void *params, dlt_value *in)
{
    return dlt_pool_build(b, params, 2, in, dlt_max_pool);
}

static const char *const max_pooling2d_examples[] = {
    "{input: [2, 5, 6, 2], layer: MaxPooling2D}",
    "{input: [2, 5, 6, 2], layer: {MaxPooling2D: {pool_size: [2, 3], strides: 1}}}",
    "{input: [2, 5, 7, 1], layer: {MaxPooling2D: {pool_size: 3, strides: [2, 1], padding: same}}}",
    "{input: [2, 2, 5, 4], layer: {MaxPooling2D: {data_format: channels_first}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_max_pooling2d = {
    .kind = {.name = "MaxPooling2D",
             .doc = "the largest value of each window",
             .size = sizeof(dlt_pool_params),
             .fields = max_pooling2d_fields,
             .aliases = "MaxPool2D",
             .check = max_pooling2d_check},
    .build = max_pooling2d_build,
    .mask = DLT_MASK_DROP,
    .examples = max_pooling2d_examples,
};
