/* layers/flatten.c: one vector a sample.    (N, ...) to (N, product); (N) to (N, 1). Values in row-major order. */
#include "layers/layer.h"

typedef struct flatten_params {
    int data_format;
} flatten_params;

static const dlt_field flatten_fields[] = {
    DLT_ENUM(flatten_params, data_format, dlt_data_format_names, channels_last,
             "channels_first: the channels are moved behind before flattening"),
    {0},
};

static dlt_value *flatten_build(dlt_builder *b, const void *params, dlt_value *in)
{
    return dlt_flatten(b, dlt_channels_last(b, in, ((const flatten_params *)params)->data_format));
}

static const char *const flatten_examples[] = {
    "{input: [2, 3, 4, 2], layer: Flatten}",
    "{input: [2, 3], layer: Flatten}",
    "{input: [2], layer: Flatten}",
    "{input: [2, 3, 4, 2], layer: {Flatten: {data_format: channels_first}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_flatten = {
    .kind = {.name = "Flatten",
             .doc = "one vector a sample",
             .size = sizeof(flatten_params),
             .fields = flatten_fields},
    .build = flatten_build,
    .mask = DLT_MASK_DROP,
    .examples = flatten_examples,
};
