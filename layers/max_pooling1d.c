/* layers/max_pooling1d.c: the largest value of each window.    (N, T, C) to (N, T', C). Padding never wins. */
#include "layers/windows.h"

static const dlt_field max_pooling1d_fields[] = {DLT_POOL_FIELDS("2"), {0}};

static void max_pooling1d_check(const dlt_item *item, dlt_diag *diag)
{
    dlt_pool_check(item, 1, diag);
}

static dlt_value *max_pooling1d_build(dlt_builder *b, const void *params, dlt_value *in)
{
    return dlt_pool_build(b, params, 1, in, dlt_max_pool);
}

static const char *const max_pooling1d_examples[] = {
    "{input: [2, 5, 3], layer: MaxPooling1D}",
    "{input: [2, 6, 2], layer: {MaxPooling1D: {pool_size: 3, strides: 2, padding: same}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_max_pooling1d = {
    .kind = {.name = "MaxPooling1D",
             .doc = "the largest value of each window",
             .size = sizeof(dlt_pool_params),
             .fields = max_pooling1d_fields,
             .aliases = "MaxPool1D",
             .check = max_pooling1d_check},
    .build = max_pooling1d_build,
    .mask = DLT_MASK_DROP,
    .examples = max_pooling1d_examples,
};
