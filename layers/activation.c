/* layers/activation.c: an activation function as a layer of its own.    y = act(x), of the shape of x (glu halves an axis) */
#include "layers/layer.h"

typedef struct activation_params {
    const dlt_item *activation;
} activation_params;

static const dlt_field activation_fields[] = {
    DLT_ITEM(activation_params, activation, "activation", DLT_REQUIRED, "the function"),
    {0},
};

static dlt_value *activation_build(dlt_builder *b, const void *params, dlt_value *in)
{
    return dlt_activate(b, dlt_as_real(b, in), ((const activation_params *)params)->activation);
}

static const char *const activation_examples[] = {
    "{input: [2, 3], layer: {Activation: {activation: linear}}}",
    "{input: [2, 3], layer: {Activation: {activation: relu}}}",
    "{input: [4, 5], layer: {Activation: {activation: {relu: {negative_slope: 0.2, max_value: 1.5, threshold: 0.4}}}}}",
    "{input: [4, 5], layer: {Activation: {activation: {relu: {negative_slope: 0.1}}}}}",
    "{input: [4, 5], layer: {Activation: {activation: relu6}}}",
    "{input: [2, 3], layer: {Activation: {activation: {leaky_relu: {negative_slope: 0.1}}}}}",
    "{input: [2, 3], layer: {Activation: {activation: elu}}}",
    "{input: [2, 3], layer: {Activation: {activation: selu}}}",
    "{input: [2, 3], layer: {Activation: {activation: {celu: {alpha: 1.7}}}}}",
    "{input: [2, 3], layer: {Activation: {activation: gelu}}}",
    "{input: [2, 3], layer: {Activation: {activation: {gelu: {approximate: true}}}}}",
    "{input: [2, 6], layer: {Activation: {activation: glu}}}",
    "{input: [2, 4, 3], layer: {Activation: {activation: {glu: {axis: 1}}}}}",
    "{input: [2, 3], layer: {Activation: {activation: silu}}}",
    "{input: [2, 3], layer: {Activation: {activation: hard_swish}}}",
    "{input: [2, 3], layer: {Activation: {activation: sigmoid}}}",
    "{input: [2, 3], layer: {Activation: {activation: hard_sigmoid}}}",
    "{input: [2, 3], layer: {Activation: {activation: log_sigmoid}}}",
    "{input: [2, 3], layer: {Activation: {activation: sparse_sigmoid}}}",
    "{input: [2, 3], layer: {Activation: {activation: tanh}}}",
    "{input: [2, 3], layer: {Activation: {activation: tanh_shrink}}}",
    "{input: [2, 3], layer: {Activation: {activation: hard_tanh}}}",
    "{input: [2, 3], layer: {Activation: {activation: hard_shrink}}}",
    "{input: [2, 3], layer: {Activation: {activation: soft_shrink}}}",
    "{input: [2, 3], layer: {Activation: {activation: {threshold: {threshold: 0.5, default_value: -1.5}}}}}",
    "{input: [2, 3], layer: {Activation: {activation: softplus}}}",
    "{input: [2, 3], layer: {Activation: {activation: softsign}}}",
    "{input: [2, 3], layer: {Activation: {activation: {squareplus: {b: 0.5}}}}}",
    "{input: [2, 3], layer: {Activation: {activation: sparse_plus}}}",
    "{input: [2, 3], layer: {Activation: {activation: mish}}}",
    "{input: [2, 3], layer: {Activation: {activation: exponential}}}",
    "{input: [2, 3], layer: {Activation: {activation: softmax}}}",
    "{input: [2, 4, 3], layer: {Activation: {activation: {softmax: {axis: 1}}}}}",
    "{input: [2, 3], layer: {Activation: {activation: log_softmax}}}",
    "{input: [2, 4, 3], layer: {Activation: {activation: {log_softmax: {axis: 1}}}}}",
    "{input: [2, 5], layer: {Activation: {activation: sparsemax}}}",
    "{input: [2, 4, 3], layer: {Activation: {activation: {sparsemax: {axis: 1}}}}}",
    "{input: [2, 3], dtype: int32, high: 9, layer: {Activation: {activation: tanh}}, no_gradient: true}",
    NULL,
};

const dlt_layer_desc dlt_layer_activation = {
    .kind = {.name = "Activation",
             .doc = "an activation function",
             .size = sizeof(activation_params),
             .fields = activation_fields,
             .scalar_field = "activation"},
    .build = activation_build,
    .mask = DLT_MASK_PASS,
    .examples = activation_examples,
};
