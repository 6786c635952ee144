/* layers/residual.c: layers with a way around them.    y = main(x) + shortcut(x), or main(x) + x without a shortcut
 * Both must have one shape. Weights stand below residual/main and residual/shortcut. The mask is that of Keras' Add: none if
 * one side has none, else a step counts if it counts on either side. */
#include "layers/layer.h"

#include "base/text.h"

typedef struct residual_params {
    dlt_items layers, shortcut;
} residual_params;

static const dlt_field residual_fields[] = {
    DLT_ITEMS(residual_params, layers, "layer", NULL, "the main way"),
    DLT_ITEMS(residual_params, shortcut, "layer", "null", "the way around; null: the input itself"),
    {0},
};

static dlt_value *residual_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const residual_params *p = params;
    dlt_value *main = dlt_layers_apply(b, &p->layers, "main", in);
    dlt_value *side = p->shortcut.count > 0 ? dlt_layers_apply(b, &p->shortcut, "shortcut", in) : in;
    if (main == NULL || side == NULL) {
        return NULL;
    }
    if (!dlt_shape_equal(&main->shape, &side->shape)) {
        char left[160], right[160];
        dlt_shape_text_batch(&main->shape, left, sizeof left);
        dlt_shape_text_batch(&side->shape, right, sizeof right);
        return p->shortcut.count > 0
                   ? dlt_reject(b, "Residual: the layers give %s, the shortcut %s; both must give one shape",
                                left, right)
                   : dlt_reject(
                         b,
                         "Residual: the layers give %s, the input is %s; make them one shape, or add a shortcut: "
                         "layers that bring the input to %s",
                         left, right, left);
    }
    dlt_value *const both[] = {dlt_as_real(b, main), dlt_as_real(b, side)};
    dlt_value *const sources[] = {main, side};
    dlt_value *y = dlt_add(b, both[0], both[1]);
    if (y != NULL) {
        y->mask = dlt_mask_either(b, sources, 2);
    }
    return y;
}

static const char *const residual_examples[] = {
    "{input: [2, 3], layer: {Residual: {layers: [{Dense: {units: 4, activation: tanh}}, {Dense: {units: 3}}]}}}",
    "{input: [2, 3], layer: {Residual: {layers: [{Dense: {units: 4}}], shortcut: [{Dense: {units: 4, use_bias: false}}]}}}",
    "{input: [2, 4, 3], mask: true, layer: {Residual: {layers: [{Dense: {units: 3}}]}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_residual = {
    .kind = {.name = "Residual",
             .doc = "layers with a way around them, added up",
             .size = sizeof(residual_params),
             .fields = residual_fields},
    .build = residual_build,
    .mask = DLT_MASK_USE,
    .examples = residual_examples,
};
