/* layers/average_pooling1d.c: the mean of each window.    (N, T, C) to (N, T', C). Padding is not counted. */
#include "layers/windows.h"

static const dlt_field average_pooling1d_fields[] = {DLT_POOL_FIELDS(NULL), {0}};

static void average_pooling1d_check(const dlt_item *item, dlt_diag *diag)
{
    dlt_pool_check(item, 1, diag);
}

static dlt_value *average_pooling1d_build(dlt_builder *b, const void *params, dlt_value *in)
{
    return dlt_pool_build(b, params, 1, in, dlt_avg_pool);
}

static const char *const average_pooling1d_examples[] = {
    "{input: [2, 5, 3], layer: {AveragePooling1D: {pool_size: 2}}}",
    "{input: [2, 6, 2], layer: {AveragePooling1D: {pool_size: 3, strides: 2, padding: same}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_average_pooling1d = {
    .kind = {.name = "AveragePooling1D",
             .doc = "the mean of each window",
             .size = sizeof(dlt_pool_params),
             .fields = average_pooling1d_fields,
             .aliases = "AvgPool1D",
             .check = average_pooling1d_check},
    .build = average_pooling1d_build,
    .mask = DLT_MASK_DROP,
    .examples = average_pooling1d_examples,
};
