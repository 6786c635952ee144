/* layers/multi_head_attention.c: self-attention with several heads (Vaswani et al., arXiv:1706.03762).
 *   q = x W_q + b_q,  k = x W_k + b_k,  v = x W_v + b_v        for each head h
 *   o = softmax( q k^T / sqrt(key_dim) + masks ) v             y = sum_h o W_o + b_o
 * Input (N, T, D), output (N, T, D) or (N, T, output_shape...). It is Keras' layer with query = value = key = x.
 * Weights as in Keras, in groups query_dense, key_dense, value_dense, output_dense: kernels (D, heads, key_dim) twice,
 * (D, heads, value_dim), (heads, value_dim, output_shape...); biases (heads, key_dim) twice, (heads, value_dim),
 * (output_shape...). Initializers see the true fans: D in, heads * key_dim out (Keras >= 3.15).
 *
 * Masks: steps that are masked are seen by nobody. What a masked step itself gives is not used by anybody who honours masks,
 * but follows Keras 3.15.1: the mean of all values, or 0 where dropout is set (its other code path). */
#include "layers/layer.h"

#include "base/text.h"

#include <math.h>

enum { MAX_HEADS = 1 << 16 };

typedef struct mha_params {
    int64_t num_heads, key_dim;
    dlt_opt_int value_dim, seed;
    double dropout;
    bool use_bias, causal;
    dlt_ints output_shape;
    dlt_weight_params kernel, bias;
} mha_params;

static const dlt_field mha_fields[] = {
    DLT_INT(mha_params, num_heads, 1, MAX_HEADS, DLT_REQUIRED, "how many heads look at the steps"),
    DLT_INT(mha_params, key_dim, 1, MAX_HEADS, DLT_REQUIRED, "size of the queries and keys of a head"),
    DLT_OPT_INT(mha_params, value_dim, 1, MAX_HEADS, "size of the values of a head; null: key_dim"),
    DLT_FLOAT_OPEN(mha_params, dropout, 0, 1, DLT_FIELD_OPEN_MAX, 0,
                   "part of the attention dropped in training"),
    DLT_BOOL(mha_params, use_bias, true, "add a learned vector to each projection"),
    DLT_INTS(mha_params, output_shape, 1, DLT_MAX_UNITS, "null",
             "size, or sizes, of the output of a step; null: the input's"),
    DLT_BOOL(mha_params, causal, false, "a step sees itself and the steps before it only"),
    DLT_WEIGHT(mha_params, kernel, "glorot_uniform", "the matrices of the four projections"),
    DLT_WEIGHT(mha_params, bias, "zeros", "their vectors"),
    DLT_OPT_INT(mha_params, seed, INT64_MIN, INT64_MAX, "sets this layer's draws apart; null: its name does"),
    {0},
};

static void mha_check(const dlt_item *item, dlt_diag *diag)
{
    const mha_params *p = item->params;
    if (p->output_shape.count > DLT_MAX_RANK - 3) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "output_shape"),
                 "MultiHeadAttention: output_shape has %zu sizes; at "
                 "most %d are possible",
                 p->output_shape.count, DLT_MAX_RANK - 3);
    }
}

/* One projection: kernel and bias with Keras' shapes, applied as a matrix (in, out). */
static dlt_value *project(dlt_builder *b, const mha_params *p, const char *name, const char *group,
                          dlt_value *x, dlt_shape kernel_shape, dlt_shape bias_shape)
{
    const int64_t in = dlt_shape_of(x).dim[2], out = dlt_shape_count(&bias_shape);
    dlt_scope_enter(b, name, group, (dlt_pos){0}, true);
    dlt_value *kernel = dlt_weight_fans(b, &p->kernel, kernel_shape, in, out);
    dlt_value *y = dlt_matmul(b, x, dlt_reshape(b, kernel, DLT_SHAPE(in, out)), false, false);
    if (p->use_bias) {
        y = dlt_add(b, y, dlt_reshape(b, dlt_weight(b, &p->bias, bias_shape), DLT_SHAPE(out)));
    }
    dlt_scope_leave(b);
    return y;
}

/* To the heads: (N, T, D) to (N, T, heads, size). */
static dlt_value *heads(dlt_builder *b, const mha_params *p, const char *name, const char *group,
                        dlt_value *x, int64_t size)
{
    const dlt_shape s = dlt_shape_of(x);
    dlt_value *y =
        project(b, p, name, group, x, DLT_SHAPE(s.dim[2], p->num_heads, size), DLT_SHAPE(p->num_heads, size));
    return dlt_reshape(b, y, DLT_SHAPE(s.dim[0], s.dim[1], p->num_heads, size));
}

static dlt_value *mha_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const mha_params *p = params;
    const dlt_shape shape = dlt_shape_of(in);
    const int64_t value_dim = p->value_dim.set ? p->value_dim.value : p->key_dim;
    dlt_value *x = dlt_as_real(b, in), *mask = in->mask;
    char is[160], of[160];
    if (shape.rank != 3) {
        return dlt_reject(b, "MultiHeadAttention needs (N, T, D), got %s",
                          dlt_shape_text_batch(&shape, is, sizeof is));
    }
    const dlt_shape steps = DLT_SHAPE(shape.dim[0], shape.dim[1]);
    if (mask != NULL && !dlt_shape_equal(&mask->shape, &steps)) {
        return dlt_reject(b, "MultiHeadAttention: a mask of shape %s does not fit the input %s",
                          dlt_shape_text_batch(&mask->shape, is, sizeof is),
                          dlt_shape_text_batch(&shape, of, sizeof of));
    }
    dlt_value *q = heads(b, p, "query", "query_dense", x, p->key_dim);
    dlt_value *k = heads(b, p, "key", "key_dense", x, p->key_dim);
    dlt_value *v = heads(b, p, "value", "value_dense", x, value_dim);
    dlt_attention_attrs attrs = {.scale = 1 / sqrt((double)p->key_dim), .causal = p->causal};
    if (dlt_builder_mode(b) == DLT_MODE_TRAIN && p->dropout > 0) {
        attrs.dropout = p->dropout;
        attrs.stream = dlt_stream(b, dlt_layer_draw(b, "dropout", p->seed));
    }
    dlt_value *o = dlt_attention(b, q, k, v, mask, &attrs);
    if (mask != NULL) {
        dlt_value *other = p->dropout > 0 ? dlt_constant(b, 0) : dlt_mean(b, v, dlt_axis_bit(v, 1), true);
        dlt_value *counts = dlt_reshape(b, mask, DLT_SHAPE(shape.dim[0], shape.dim[1], 1, 1));
        o = dlt_select(b, counts, o, other);
    }
    dlt_shape out = {.rank = 1, .dim = {shape.dim[2]}};
    if (p->output_shape.count > 0) {
        out.rank = (int)p->output_shape.count;
        for (int i = 0; i < out.rank; i++) {
            out.dim[i] = p->output_shape.at[i];
        }
    }
    if (dlt_shape_count(&out) < 0) {
        return dlt_layer_reject(b, "output_shape", "output_shape %s is too large",
                                dlt_shape_text(&out, is, sizeof is));
    }
    dlt_shape kernel = {.rank = 2 + out.rank, .dim = {p->num_heads, value_dim}};
    dlt_shape y = {.rank = 2 + out.rank, .dim = {shape.dim[0], shape.dim[1]}};
    for (int i = 0; i < out.rank; i++) {
        kernel.dim[2 + i] = y.dim[2 + i] = out.dim[i];
    }
    o = dlt_reshape(b, o, DLT_SHAPE(shape.dim[0], shape.dim[1], p->num_heads * value_dim));
    return dlt_reshape(b, project(b, p, "attention_output", "output_dense", o, kernel, out), y);
}

/* The op counts samples by rows of axis 0, which TimeDistributed would fold. */
static bool mha_joins(const dlt_item *item)
{
    return ((const mha_params *)item->params)->dropout > 0;
}

static const char *const mha_examples[] = {
    "{input: [2, 3, 4], layer: {MultiHeadAttention: {num_heads: 2, key_dim: 3}}}",
    "{input: [2, 4, 4], layer: {MultiHeadAttention: {num_heads: 2, key_dim: 2, value_dim: 3, causal: true, use_bias: false}}}",
    "{input: [2, 3, 4], mask: true, layer: {MultiHeadAttention: {num_heads: 2, key_dim: 2}}}",
    "{input: [2, 3, 4], mask: true, layer: {MultiHeadAttention: {num_heads: 1, key_dim: 4, dropout: 0.25, causal: true}}}",
    "{input: [2, 3, 4], layer: {MultiHeadAttention: {num_heads: 2, key_dim: 2, output_shape: [2, 3], seed: 5, dropout: 0.5}}}",
    "{input: [2, 3, 4], layer: {MultiHeadAttention: {num_heads: 2, key_dim: 2, output_shape: 5, bias_initializer: ones}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_multi_head_attention = {
    .kind = {.name = "MultiHeadAttention",
             .doc = "self-attention with several heads",
             .size = sizeof(mha_params),
             .fields = mha_fields,
             .check = mha_check},
    .build = mha_build,
    .mask = DLT_MASK_PASS,
    .joins_samples = mha_joins,
    .examples = mha_examples,
};
