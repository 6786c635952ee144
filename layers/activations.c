/* layers/activations.c: activation functions as compositions of builder calls (keras-layers.md 1). */
#include "layers/layer.h"

static dlt_value *linear_build(dlt_builder *b, const void *params, dlt_value *x)
{
    (void)b;
    (void)params;
    return x;
}

static dlt_value *tanh_build(dlt_builder *b, const void *params, dlt_value *x)
{
    (void)params;
    return dlt_tanh(b, x);
}

static const dlt_activation_desc linear = {.kind = {"Linear", "x", 0, NULL}, .build = linear_build};
static const dlt_activation_desc tanh_desc = {.kind = {"Tanh", "tanh x", 0, NULL}, .build = tanh_build};

const dlt_activation_desc *const dlt_activations[] = {&linear, &tanh_desc, NULL};

dlt_value *dlt_activate(dlt_builder *b, dlt_value *x, const dlt_item *activation)
{
    if (activation == NULL || x == NULL) {
        return x;
    }
    const dlt_activation_desc *desc = (const dlt_activation_desc *)(const void *)activation->kind;
    return desc->build(b, activation->params, x);
}
