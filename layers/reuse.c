/* layers/reuse.c: an earlier layer once more, with the same weights.    y = layer(x), or its way back with `reverse`
 * The name is looked for in the list where Reuse stands, then in the lists around it. Gradients of all uses add up in list
 * order; Reuse itself writes nothing into weights files. */
#include "layers/layer.h"

typedef struct reuse_params {
    const char *layer;
    bool reverse;
} reuse_params;

static const dlt_field reuse_fields[] = {
    DLT_STRING(reuse_params, layer, NULL, "name of the layer"),
    DLT_BOOL(reuse_params, reverse, false, "the way back through a ReversibleEmbedding: output logits"),
    {0},
};

static dlt_value *reuse_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const reuse_params *p = params;
    return dlt_layers_reuse(b, p->layer, p->reverse, in);
}

/* What is used again is not known here: TimeDistributed takes the careful way. */
static bool reuse_joins(const dlt_item *item)
{
    (void)item;
    return true;
}

static const char *const reuse_examples[] = {
    "{input: [2, 3], before: [{Dense: {units: 3, name: a, activation: tanh}}, {Dense: {units: 3}}], layer: {Reuse: {layer: a}}}",
    "{input: [4, 3], before: [{BatchNormalization: {name: a}}], layer: {Reuse: {layer: a}}}",
    "{input: [2, 3], dtype: int32, high: 5, before: [{ReversibleEmbedding: {input_dim: 5, output_dim: 2, name: tokens, "
    "logit_soft_cap: 1.5}}], layer: {Reuse: {layer: tokens, reverse: true}}}",
    "{input: [2, 3], dtype: int32, high: 5, before: [{ReversibleEmbedding: {input_dim: 5, output_dim: 2, name: tokens, "
    "tie_weights: false}}], layer: {Reuse: {layer: tokens, reverse: true}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_reuse = {
    .kind = {.name = "Reuse",
             .doc = "an earlier layer once more, with the same weights",
             .size = sizeof(reuse_params),
             .fields = reuse_fields,
             .scalar_field = "layer"},
    .build = reuse_build,
    .mask = DLT_MASK_USE,
    .no_key = true,
    .joins_samples = reuse_joins,
    .examples = reuse_examples,
};
