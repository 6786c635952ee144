/* layers/sequential.c: a list of layers as one layer.    y = last(... first(x)) */
#include "layers/layer.h"

typedef struct sequential_params {
    dlt_items layers;
} sequential_params;

static const dlt_field sequential_fields[] = {
    DLT_ITEMS(sequential_params, layers, "layer", NULL, "the layers, one after another"),
    {0},
};

static dlt_value *sequential_build(dlt_builder *b, const void *params, dlt_value *in)
{
    return dlt_layers_apply(b, &((const sequential_params *)params)->layers, NULL, in);
}

static const char *const sequential_examples[] = {
    "{input: [2, 3], layer: {Sequential: {layers: [{Dense: {units: 4, activation: tanh}}, {Dense: {units: 2}}]}}}",
    "{input: [2, 3], layer: {Sequential: {layers: [{Sequential: {layers: [{Dense: {units: 4}}]}}], trainable: false}}}",
    "{input: [2, 3], layer: {Sequential: {layers: []}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_sequential = {
    .kind = {.name = "Sequential",
             .doc = "a list of layers as one",
             .size = sizeof(sequential_params),
             .fields = sequential_fields},
    .build = sequential_build,
    .mask = DLT_MASK_USE,
    .examples = sequential_examples,
};
