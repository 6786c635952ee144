/* layers/activations.c: activation functions as compositions of builder calls (keras-layers.md 1; Keras 3.15.1 on JAX, whose
 * forms are kept where they differ at the edges or in overflow).
 *
 * Kinds bear the names of Keras' functions: `activation: relu`, or with parameters
 * `activation: {leaky_relu: {negative_slope: 0.1}}`. All keep the shape but glu, which halves an axis. */
#include "layers/activations.h"

#include "base/text.h"

/* A function of x alone. */
#define PLAIN(name_, expression)                                                                             \
    static dlt_value *name_##_build(dlt_builder *b, const void *params, dlt_value *x)                        \
    {                                                                                                        \
        (void)params;                                                                                        \
        return expression;                                                                                   \
    }

/* x > c and x >= c as 1 and 0 */
static dlt_value *above(dlt_builder *b, dlt_value *x, double c)
{
    return dlt_less(b, dlt_constant(b, c), x);
}

static dlt_value *at_least(dlt_builder *b, dlt_value *x, double c)
{
    return dlt_less_equal(b, dlt_constant(b, c), x);
}

static dlt_value *clip(dlt_builder *b, dlt_value *x, double low, double high)
{
    return dlt_min_c(b, dlt_max_c(b, x, low), high);
}

/* ---- linear units and their bends ---- */

static dlt_value *linear_build(dlt_builder *b, const void *params, dlt_value *x)
{
    (void)b;
    (void)params;
    return x;
}

dlt_value *dlt_leaky_relu(dlt_builder *b, dlt_value *x, double slope)
{
    return dlt_select(b, at_least(b, x, 0), x, dlt_mul_c(b, x, slope));
}

static const dlt_field relu_fields[] = {DLT_RELU_FIELDS, {0}};

dlt_value *dlt_relu_of(dlt_builder *b, dlt_value *x, const dlt_relu_params *p)
{
    const double slope = p->negative_slope, threshold = p->threshold;
    if (slope != 0 && threshold == 0 && !p->max_value.set) {
        return dlt_leaky_relu(b, x, slope);
    }
    dlt_value *y =
        threshold != 0 ? dlt_select(b, above(b, x, threshold), x, dlt_constant(b, 0)) : dlt_relu(b, x);
    if (p->max_value.set) {
        y = clip(b, y, 0, p->max_value.value);
    }
    if (slope != 0) {
        y = dlt_sub(b, y, dlt_mul_c(b, dlt_relu(b, dlt_c_sub(b, threshold, x)), slope));
    }
    return y;
}

static dlt_value *relu_build(dlt_builder *b, const void *params, dlt_value *x)
{
    return dlt_relu_of(b, x, params);
}

static dlt_value *relu6(dlt_builder *b, dlt_value *x)
{
    return dlt_min_c(b, dlt_relu(b, x), 6);
}
PLAIN(relu6, relu6(b, x))

typedef struct slope_params {
    double negative_slope;
} slope_params;

static const dlt_field leaky_relu_fields[] = {
    DLT_FLOAT(slope_params, negative_slope, -INFINITY, INFINITY, 0.2,
              "slope below 0; the layer LeakyReLU has 0.3"),
    {0},
};

static dlt_value *leaky_relu_build(dlt_builder *b, const void *params, dlt_value *x)
{
    return dlt_leaky_relu(b, x, ((const slope_params *)params)->negative_slope);
}

/* ---- exponential units ---- */

typedef struct alpha_params {
    double alpha;
} alpha_params;

/* the exponential never sees a positive number */
dlt_value *dlt_elu(dlt_builder *b, dlt_value *x, double alpha)
{
    dlt_value *positive = above(b, x, 0);
    dlt_value *low = dlt_select(b, positive, dlt_constant(b, 0), x);
    return dlt_select(b, positive, x, dlt_mul_c(b, dlt_elementwise(b, DLT_EW_EXPM1, low, NULL, NULL), alpha));
}

static const dlt_field elu_fields[] = {
    DLT_FLOAT(alpha_params, alpha, -INFINITY, INFINITY, 1, "what it falls to below 0, negated"),
    {0},
};

static dlt_value *elu_build(dlt_builder *b, const void *params, dlt_value *x)
{
    return dlt_elu(b, x, ((const alpha_params *)params)->alpha);
}

PLAIN(selu, dlt_mul_c(b, dlt_elu(b, x, 1.6732632423543772), 1.0507009873554805))

static const dlt_field celu_fields[] = {
    DLT_FLOAT_OPEN(alpha_params, alpha, 0, INFINITY, DLT_FIELD_OPEN_MIN, 1,
                   "what it falls to below 0, negated"),
    {0},
};

static dlt_value *celu_build(dlt_builder *b, const void *params, dlt_value *x)
{
    const double alpha = ((const alpha_params *)params)->alpha;
    dlt_value *low = dlt_div_c(b, dlt_min_c(b, x, 0), alpha);
    return dlt_add(b, dlt_max_c(b, x, 0),
                   dlt_mul_c(b, dlt_elementwise(b, DLT_EW_EXPM1, low, NULL, NULL), alpha));
}

typedef struct gelu_params {
    bool approximate;
} gelu_params;

static const dlt_field gelu_fields[] = {
    DLT_BOOL(gelu_params, approximate, false, "by tanh in place of erf"),
    {0},
};

static dlt_value *gelu_build(dlt_builder *b, const void *params, dlt_value *x)
{
    dlt_value *bend;
    if (((const gelu_params *)params)->approximate) { /* tanh(sqrt(2 / pi) (x + 0.044715 x^3)) */
        dlt_value *cube = dlt_mul_c(b, dlt_mul(b, x, dlt_square(b, x)), 0.044715);
        bend = dlt_tanh(b, dlt_mul_c(b, dlt_add(b, x, cube), 0.79788456080286535588));
    } else {
        bend = dlt_erf(b, dlt_mul_c(b, x, 0.70710678118654752440));
    }
    return dlt_mul(b, dlt_mul_c(b, x, 0.5), dlt_add_c(b, bend, 1));
}

/* ---- sigmoids ---- */

/* relu6(x + 3) / 6: slope 1/6, not the 0.2 of Keras 2 */
static dlt_value *hard_sigmoid(dlt_builder *b, dlt_value *x)
{
    return dlt_div_c(b, relu6(b, dlt_add_c(b, x, 3)), 6);
}

PLAIN(sigmoid, dlt_sigmoid(b, x))
PLAIN(hard_sigmoid, hard_sigmoid(b, x))
PLAIN(log_sigmoid, dlt_neg(b, dlt_softplus(b, dlt_neg(b, x))))
PLAIN(sparse_sigmoid, dlt_mul_c(b, clip(b, dlt_add_c(b, x, 1), 0, 2), 0.5))
PLAIN(silu, dlt_mul(b, x, dlt_sigmoid(b, x)))
PLAIN(hard_silu, dlt_mul(b, x, hard_sigmoid(b, x)))
PLAIN(tanh, dlt_tanh(b, x))
PLAIN(tanh_shrink, dlt_sub(b, x, dlt_tanh(b, x)))
PLAIN(hard_tanh, clip(b, x, -1, 1))
PLAIN(softsign, dlt_div(b, x, dlt_add_c(b, dlt_abs(b, x), 1)))

/* ---- shrinking ---- */

typedef struct shrink_params {
    double threshold;
} shrink_params;

static const dlt_field shrink_fields[] = {
    DLT_FLOAT(shrink_params, threshold, 0, INFINITY, 0.5, "what lies closer to 0 becomes 0"),
    {0},
};

static dlt_value *hard_shrink_build(dlt_builder *b, const void *params, dlt_value *x)
{
    const double threshold = ((const shrink_params *)params)->threshold;
    return dlt_select(b, above(b, dlt_abs(b, x), threshold), x, dlt_constant(b, 0));
}

/* sign(x) max(|x| - threshold, 0) */
static dlt_value *soft_shrink_build(dlt_builder *b, const void *params, dlt_value *x)
{
    const double threshold = ((const shrink_params *)params)->threshold;
    dlt_value *low = dlt_select(b, dlt_less(b, x, dlt_constant(b, -threshold)), dlt_add_c(b, x, threshold),
                                dlt_constant(b, 0));
    return dlt_select(b, above(b, x, threshold), dlt_sub_c(b, x, threshold), low);
}

typedef struct threshold_params {
    double threshold, default_value;
} threshold_params;

static const dlt_field threshold_fields[] = {
    DLT_FLOAT(threshold_params, threshold, -INFINITY, INFINITY, DLT_REQUIRED, "above it the input stays"),
    DLT_FLOAT(threshold_params, default_value, -INFINITY, INFINITY, DLT_REQUIRED, "what the rest becomes"),
    {0},
};

static dlt_value *threshold_build(dlt_builder *b, const void *params, dlt_value *x)
{
    const threshold_params *p = params;
    return dlt_select(b, above(b, x, p->threshold), x, dlt_constant(b, p->default_value));
}

/* ---- smooth and sparse relatives of relu ---- */

typedef struct squareplus_params {
    double b;
} squareplus_params;

static const dlt_field squareplus_fields[] = {
    DLT_FLOAT(squareplus_params, b, 0, INFINITY, 4, "roundness of the bend"),
    {0},
};

static dlt_value *squareplus_build(dlt_builder *b, const void *params, dlt_value *x)
{
    const double roundness = ((const squareplus_params *)params)->b;
    return dlt_div_c(b, dlt_add(b, x, dlt_sqrt(b, dlt_add_c(b, dlt_square(b, x), roundness))), 2);
}

PLAIN(softplus, dlt_softplus(b, x))
PLAIN(mish, dlt_mul(b, x, dlt_tanh(b, dlt_softplus(b, x))))
PLAIN(exponential, dlt_exp(b, x))

/* 0 below -1, a parabola up to 1, x from there on */
static dlt_value *sparse_plus_build(dlt_builder *b, const void *params, dlt_value *x)
{
    dlt_value *parabola = dlt_div_c(b, dlt_square(b, dlt_add_c(b, x, 1)), 4);
    dlt_value *high = dlt_select(b, at_least(b, x, 1), x, parabola);
    (void)params;
    return dlt_select(b, dlt_less_equal(b, x, dlt_constant(b, -1)), dlt_constant(b, 0), high);
}

/* ---- along an axis ---- */

typedef struct axis_params {
    int64_t axis;
} axis_params;

static const dlt_field axis_fields[] = {
    DLT_INT(axis_params, axis, -DLT_MAX_RANK, DLT_MAX_RANK - 1, -1,
            "axis along which it works; the batch is axis 0"),
    {0},
};

/* The axis counted from the front; -1 after a message. */
static int axis_of(dlt_builder *b, const char *name, const void *params, const dlt_value *x)
{
    const int64_t axis = ((const axis_params *)params)->axis;
    const int rank = dlt_shape_of(x).rank;
    const int64_t at = axis < 0 ? rank + axis : axis;
    char text[160];
    if (dlt_builder_failed(b) || x == NULL) {
        return -1;
    }
    if (at < 1 || at >= rank) {
        dlt_reject(b,
                   "%s cannot work along axis %lld of %s; an axis of 1 to %d, or -1 for the last, is needed",
                   name, (long long)axis, dlt_shape_text_batch(&x->shape, text, sizeof text), rank - 1);
        return -1;
    }
    return (int)at;
}

/* x with axis `at` and the last one in each other's place. */
static dlt_value *swapped(dlt_builder *b, dlt_value *x, int at)
{
    int perm[DLT_MAX_RANK];
    const int rank = dlt_shape_of(x).rank;
    for (int i = 0; i < rank; i++) {
        perm[i] = i == at ? rank - 1 : i == rank - 1 ? at : i;
    }
    return at == rank - 1 ? x : dlt_transpose(b, x, perm);
}

static dlt_value *softmax_build(dlt_builder *b, const void *params, dlt_value *x)
{
    const int at = axis_of(b, "softmax", params, x);
    return at < 0 ? NULL : swapped(b, dlt_softmax(b, swapped(b, x, at)), at);
}

static dlt_value *log_softmax_build(dlt_builder *b, const void *params, dlt_value *x)
{
    const int at = axis_of(b, "log_softmax", params, x);
    return at < 0 ? NULL : swapped(b, dlt_log_softmax(b, swapped(b, x, at)), at);
}

/* With z the sorted input, c its running sums and k the size of the support {j: 1 + j z_j > c_j}:
 *     y = max(x - tau, 0),  tau = (sum of c over the support - 1) / k.
 * This is what Keras 3.15.1 computes. The projection onto the simplex (Martins & Astudillo, arXiv:1602.02068) has c_k in
 * place of the sum of the c; the two agree where the support has one element, and only there does y sum to 1. */
static dlt_value *sparsemax_build(dlt_builder *b, const void *params, dlt_value *x)
{
    const int at = axis_of(b, "sparsemax", params, x);
    if (at < 0) {
        return NULL;
    }
    x = swapped(b, x, at);
    const dlt_shape shape = dlt_shape_of(x);
    if (shape.rank < 2) {
        return NULL;
    }
    const int64_t n = shape.dim[shape.rank - 1];
    const uint32_t last = dlt_axis_bit(x, -1);
    dlt_value *sorted = dlt_top_k(b, x, n, NULL);
    dlt_value *sums = dlt_cumsum(b, sorted, -1, false);
    dlt_value *rank = dlt_add_c(b, dlt_index(b, dlt_real(b), DLT_SHAPE(n), 0), 1);
    dlt_value *support = above(b, dlt_sub(b, sorted, dlt_div(b, dlt_sub_c(b, sums, 1), rank)), 0);
    dlt_value *count = dlt_sum(b, support, last, true);
    dlt_value *total = dlt_sum(b, dlt_select(b, support, sums, dlt_constant(b, 0)), last, true);
    dlt_value *tau = dlt_div(b, dlt_sub_c(b, total, 1), count);
    return swapped(b, dlt_max_c(b, dlt_sub(b, x, tau), 0), at);
}

static dlt_value *glu_build(dlt_builder *b, const void *params, dlt_value *x)
{
    const int at = axis_of(b, "glu", params, x);
    if (at < 0) {
        return NULL;
    }
    const int64_t n = x->shape.dim[at];
    if (n % 2 != 0) {
        char text[160];
        return dlt_reject(b, "glu needs an axis of even size to halve; axis %d of %s has %lld", at,
                          dlt_shape_text_batch(&x->shape, text, sizeof text), (long long)n);
    }
    return dlt_mul(b, dlt_slice(b, x, at, 0, n / 2), dlt_sigmoid(b, dlt_slice(b, x, at, n / 2, n / 2)));
}

/* ---- the registry ---- */

#define PARAMS(type, table) .size = sizeof(type), .fields = table
#define ACTIVATION(id, ...)                                                                                  \
    static const dlt_activation_desc id##_desc = {.kind = {.name = #id, __VA_ARGS__}, .build = id##_build};

ACTIVATION(linear, .doc = "x")
ACTIVATION(relu, .doc = "max(x, 0)", PARAMS(dlt_relu_params, relu_fields))
ACTIVATION(relu6, .doc = "min(max(x, 0), 6)")
ACTIVATION(leaky_relu, .doc = "x, or negative_slope x below 0", PARAMS(slope_params, leaky_relu_fields))
ACTIVATION(elu, .doc = "x, or alpha (e^x - 1) below 0", PARAMS(alpha_params, elu_fields))
ACTIVATION(selu, .doc = "elu with the two constants that keep mean 0 and variance 1")
ACTIVATION(celu, .doc = "max(x, 0) + alpha (e^(min(x, 0) / alpha) - 1)", PARAMS(alpha_params, celu_fields))
ACTIVATION(gelu, .doc = "0.5 x (1 + erf(x / sqrt 2))", PARAMS(gelu_params, gelu_fields))
ACTIVATION(glu, .doc = "a sigmoid(b) of the halves a and b of an axis", PARAMS(axis_params, axis_fields))
ACTIVATION(silu, .doc = "x sigmoid(x)", .aliases = "swish")
ACTIVATION(hard_silu, .doc = "x hard_sigmoid(x)", .aliases = "hard_swish")
ACTIVATION(sigmoid, .doc = "1 / (1 + e^-x)")
ACTIVATION(hard_sigmoid, .doc = "min(max(x / 6 + 0.5, 0), 1)")
ACTIVATION(log_sigmoid, .doc = "log(sigmoid(x))")
ACTIVATION(sparse_sigmoid, .doc = "min(max((x + 1) / 2, 0), 1)")
ACTIVATION(tanh, .doc = "tanh(x)")
ACTIVATION(tanh_shrink, .doc = "x - tanh(x)")
ACTIVATION(hard_tanh, .doc = "min(max(x, -1), 1)")
ACTIVATION(hard_shrink, .doc = "x, or 0 within the threshold", PARAMS(shrink_params, shrink_fields))
ACTIVATION(soft_shrink, .doc = "sign(x) max(|x| - threshold, 0)", PARAMS(shrink_params, shrink_fields))
ACTIVATION(threshold, .doc = "x above the threshold, else default_value",
           PARAMS(threshold_params, threshold_fields))
ACTIVATION(softplus, .doc = "log(1 + e^x)")
ACTIVATION(softsign, .doc = "x / (1 + |x|)")
ACTIVATION(squareplus, .doc = "(x + sqrt(x^2 + b)) / 2", PARAMS(squareplus_params, squareplus_fields))
ACTIVATION(sparse_plus, .doc = "0 below -1, (x + 1)^2 / 4 up to 1, then x")
ACTIVATION(mish, .doc = "x tanh(softplus(x))")
ACTIVATION(exponential, .doc = "e^x")
ACTIVATION(softmax, .doc = "e^x, divided by its sum along an axis", PARAMS(axis_params, axis_fields))
ACTIVATION(log_softmax, .doc = "log(softmax(x))", PARAMS(axis_params, axis_fields))
ACTIVATION(sparsemax, .doc = "like softmax, with exact zeros", PARAMS(axis_params, axis_fields))

/* All of them, in the order of Keras' reference. */
/* clang-format off */
#define ALL(each)                                                                                            \
    each(linear) each(relu) each(relu6) each(leaky_relu) each(elu) each(selu) each(celu) each(gelu)          \
    each(glu) each(silu) each(hard_silu) each(sigmoid) each(hard_sigmoid) each(log_sigmoid)                  \
    each(sparse_sigmoid) each(tanh) each(tanh_shrink) each(hard_tanh) each(hard_shrink) each(soft_shrink)    \
    each(threshold) each(softplus) each(softsign) each(squareplus) each(sparse_plus) each(mish)              \
    each(exponential) each(softmax) each(log_softmax) each(sparsemax)
/* clang-format on */

#define AS_DESC(id) &id##_desc,
#define AS_KIND(id) &id##_desc.kind,
const dlt_activation_desc *const dlt_activations[] = {ALL(AS_DESC) NULL};
const dlt_kind *const dlt_activation_kinds[] = {ALL(AS_KIND)};
const size_t dlt_activation_kind_count = DLT_COUNT(dlt_activation_kinds);

dlt_value *dlt_activate(dlt_builder *b, dlt_value *x, const dlt_item *activation)
{
    if (activation == NULL || x == NULL) {
        return x;
    }
    const dlt_activation_desc *desc = (const dlt_activation_desc *)(const void *)activation->kind;
    return desc->build(b, activation->params, x);
}

const char *dlt_activation_name(const dlt_item *activation)
{
    if (activation == NULL) {
        return "linear";
    }
    const size_t count = dlt_field_count(activation->kind->fields);
    for (size_t i = 0; i < count; i++) {
        if (activation->field_pos == NULL || activation->field_pos[i].line > 0) {
            return NULL;
        }
    }
    return activation->kind->name;
}
