/* layers/layer_normalization.c: normalises each sample by itself (Ba et al., arXiv:1607.06450).
 *   m, v = mean and biased variance over the axes together;   y = (x - m) / sqrt(v + epsilon) gamma + beta
 * Shape as the input. gamma and beta have the sizes of the axes, in increasing order of the axes. */
#include "layers/layer.h"

typedef struct ln_params {
    dlt_ints axis;
    double epsilon;
    bool center, scale;
    dlt_weight_params gamma, beta;
    const dlt_item *activity_regularizer;
} ln_params;

static const dlt_field ln_fields[] = {
    DLT_INTS(ln_params, axis, -DLT_MAX_RANK, DLT_MAX_RANK - 1, "-1",
             "axis or axes that are normalised together"),
    DLT_FLOAT(ln_params, epsilon, 0, INFINITY, 0.001, "added to the variance"),
    DLT_BOOL(ln_params, center, true, "add beta"),
    DLT_BOOL(ln_params, scale, true, "multiply by gamma"),
    DLT_WEIGHT(ln_params, beta, "zeros", "the learned mean"),
    DLT_WEIGHT(ln_params, gamma, "ones", "the learned deviation"),
    DLT_ACTIVITY_FIELD(ln_params),
    {0},
};

static void ln_check(const dlt_item *item, dlt_diag *diag)
{
    if (((const ln_params *)item->params)->axis.count == 0) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "axis"),
                 "LayerNormalization: axis is an empty list; give an axis");
    }
}

static dlt_value *ln_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const ln_params *p = params;
    const dlt_shape x = dlt_shape_of(in);
    uint32_t axes = 0;
    dlt_shape sizes = {.rank = 0}, spread = x; /* of the weights, and with axes of size 1 between */
    bool trailing = true;
    if (x.rank < 2) {
        return dlt_reject(b, "LayerNormalization needs (N, ..., C), got rank %d", x.rank);
    }
    for (size_t i = 0; i < p->axis.count; i++) {
        const int axis = dlt_layer_axis(b, "axis", p->axis.at[i], in);
        if (axis < 0) {
            return NULL;
        }
        if ((axes >> axis & 1) != 0) {
            return dlt_layer_reject(b, "axis", "LayerNormalization: axis %d is listed twice", axis);
        }
        axes |= UINT32_C(1) << axis;
    }
    for (int i = 0; i < x.rank; i++) {
        if ((axes >> i & 1) != 0) {
            sizes.dim[sizes.rank++] = x.dim[i];
        } else {
            trailing = trailing && sizes.rank == 0;
            spread.dim[i] = 1;
        }
    }
    dlt_value *gamma = p->scale ? dlt_weight(b, &p->gamma, sizes) : NULL;
    dlt_value *beta = p->center ? dlt_weight(b, &p->beta, sizes) : NULL;
    dlt_value *v = dlt_as_real(b, in);
    if (trailing) {
        return dlt_layer_norm(b, v, gamma, beta, sizes.rank, p->epsilon);
    }
    dlt_value *distance = dlt_sub(b, v, dlt_mean(b, v, axes, true));
    dlt_value *variance = dlt_mean(b, dlt_square(b, distance), axes, true);
    dlt_value *y = dlt_mul(b, distance, dlt_rsqrt(b, dlt_add_c(b, variance, p->epsilon)));
    if (gamma != NULL) {
        y = dlt_mul(b, y, dlt_reshape(b, gamma, spread));
    }
    return beta != NULL ? dlt_add(b, y, dlt_reshape(b, beta, spread)) : y;
}

static const char *const ln_examples[] = {
    "{input: [3, 4], layer: LayerNormalization}",
    "{input: [2, 3, 4], layer: {LayerNormalization: {axis: [1, 2], epsilon: 0.1}}}",
    "{input: [2, 3, 4], layer: {LayerNormalization: {axis: 1}}}",
    "{input: [2, 3, 2, 4], layer: {LayerNormalization: {axis: [3, 1]}}}",
    "{input: [3, 4], layer: {LayerNormalization: {center: false}}}",
    "{input: [3, 4], layer: {LayerNormalization: {scale: false}}}",
    "{input: [2, 3, 4], layer: {LayerNormalization: {axis: [-1, -2], scale: false, center: false}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_layer_normalization = {
    .kind = {.name = "LayerNormalization",
             .doc = "normalises each sample by itself",
             .size = sizeof(ln_params),
             .fields = ln_fields,
             .check = ln_check},
    .build = ln_build,
    .mask = DLT_MASK_PASS,
    .examples = ln_examples,
};
