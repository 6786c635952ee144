/* layers/dense.c: fully connected layer.    y[n,u] = act( sum_c x[n,c] kernel[c,u] + bias[u] )
 * Input (N, ..., C), output (N, ..., units). Weights as in Keras: kernel (C, units), bias (units). */
#include "layers/layer.h"

typedef struct dense_params {
    int64_t units;
    const dlt_item *activation;
    bool use_bias;
    dlt_weight_params kernel, bias;
    const dlt_item *activity_regularizer;
} dense_params;

static const dlt_field dense_fields[] = {
    DLT_INT(dense_params, units, 1, DLT_MAX_UNITS, DLT_REQUIRED, "size of the last output axis"),
    DLT_ITEM(dense_params, activation, "activation", null, "applied to the result"),
    DLT_BOOL(dense_params, use_bias, true, "add a learned vector"),
    DLT_WEIGHT(dense_params, kernel, "glorot_uniform", "the matrix (C, units)"),
    DLT_WEIGHT(dense_params, bias, "zeros", "the vector (units)"),
    DLT_ACTIVITY_FIELD(dense_params),
    {0},
};

static dlt_value *dense_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const dense_params *p = params;
    const dlt_shape x = dlt_shape_of(in);
    if (x.rank < 2) {
        return dlt_reject(b, "Dense needs (N, ..., C), got rank %d; put Flatten before it", x.rank);
    }
    dlt_value *kernel = dlt_weight(b, &p->kernel, DLT_SHAPE(x.dim[x.rank - 1], p->units));
    dlt_value *y = dlt_matmul(b, dlt_as_real(b, in), kernel, false, false);
    if (y != NULL && y->shape.rank == 2) {
        y->uncertain = false; /* (N, units), whatever the data turn out to have */
    }
    if (p->use_bias) {
        y = dlt_add(b, y, dlt_weight(b, &p->bias, DLT_SHAPE(p->units)));
    }
    return dlt_activate(b, y, p->activation);
}

static const char *const dense_examples[] = {
    "{input: [2, 3], layer: {Dense: {units: 4, activation: tanh}}}",
    "{input: [2, 5, 3], layer: {Dense: {units: 4}}}",
    "{input: [2, 3], layer: {Dense: {units: 2, use_bias: false}}}",
    "{input: [2, 3], layer: {Dense: {units: 2, activity_regularizer: {L2: {l2: 0.1}}}}}",
    "{input: [2, 3], layer: {Dense: {units: 2, trainable: false}}}",
    "{input: [2, 4, 3], mask: true, layer: {Dense: {units: 2, activation: softmax}}}",
    "{input: [2, 3], dtype: uint8, high: 9, layer: {Dense: {units: 2}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_dense = {
    .kind = {.name = "Dense",
             .doc = "fully connected layer on the last axis",
             .size = sizeof(dense_params),
             .fields = dense_fields},
    .build = dense_build,
    .mask = DLT_MASK_PASS,
    .examples = dense_examples,
};
