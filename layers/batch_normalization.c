/* layers/batch_normalization.c: normalises each channel over the batch (Ioffe & Szegedy, arXiv:1502.03167).
 *   training:   m, v = mean and biased variance over all axes but `axis`
 *               y = (x - m) / sqrt(v + epsilon) gamma + beta
 *               moving_mean     = moving_mean momentum + m (1 - momentum)
 *               moving_variance = moving_variance momentum + v (1 - momentum)
 *   otherwise, and with trainable: false:   the same y with the moving statistics
 * Shape as the input (N, ..., C). Weights of size C in Keras' order: gamma, beta (learned), moving_mean, moving_variance.
 * With a mask (N, ...) the statistics are those of the steps that count, sums divided by (count + 1e-7), as in Keras. */
#include "layers/layer.h"

#include "base/text.h"

typedef struct bn_params {
    int64_t axis;
    double momentum, epsilon;
    bool center, scale;
    dlt_weight_params gamma, beta;
    const dlt_item *moving_mean_initializer, *moving_variance_initializer, *activity_regularizer;
} bn_params;

static const dlt_field bn_fields[] = {
    DLT_INT(bn_params, axis, -DLT_MAX_RANK, DLT_MAX_RANK - 1, -1,
            "axis of the channels; the batch is axis 0"),
    DLT_FLOAT(bn_params, momentum, 0, 1, 0.99,
              "how much the moving statistics keep of themselves at each step"),
    DLT_FLOAT(bn_params, epsilon, 0, INFINITY, 0.001, "added to the variance"),
    DLT_BOOL(bn_params, center, true, "add beta"),
    DLT_BOOL(bn_params, scale, true, "multiply by gamma"),
    DLT_WEIGHT(bn_params, beta, "zeros", "the learned mean (C)"),
    DLT_WEIGHT(bn_params, gamma, "ones", "the learned deviation (C)"),
    DLT_ITEM(bn_params, moving_mean_initializer, "initializer", zeros, "first value of the moving mean"),
    DLT_ITEM(bn_params, moving_variance_initializer, "initializer", ones,
             "first value of the moving variance"),
    DLT_ACTIVITY_FIELD(bn_params),
    {0},
};

/* A vector (C) along `axis` of a value of this rank. */
static dlt_value *along(dlt_builder *b, dlt_value *v, int axis, int rank)
{
    for (int i = axis + 1; i < rank && v != NULL; i++) {
        v = dlt_expand(b, v, -1);
    }
    return v;
}

/* x normalised by statistics that lie along `axis`. */
static dlt_value *normalise(dlt_builder *b, const bn_params *p, dlt_value *x, int axis, dlt_value *mean,
                            dlt_value *variance, dlt_value *gamma, dlt_value *beta)
{
    const int rank = dlt_shape_of(x).rank;
    dlt_value *factor = dlt_rsqrt(b, dlt_add_c(b, variance, p->epsilon));
    if (gamma != NULL) {
        factor = dlt_mul(b, factor, gamma);
    }
    dlt_value *shift = dlt_neg(b, dlt_mul(b, mean, factor));
    if (beta != NULL) {
        shift = dlt_add(b, shift, beta);
    }
    return dlt_add(b, dlt_mul(b, x, along(b, factor, axis, rank)), along(b, shift, axis, rank));
}

/* Statistics (C) of the steps that count. */
static void masked_moments(dlt_builder *b, dlt_value *x, dlt_value *mask, int axis, dlt_value **mean,
                           dlt_value **variance)
{
    const int rank = dlt_shape_of(x).rank;
    const uint32_t axes = dlt_axes_from(x, 0) & ~dlt_axis_bit(x, axis);
    dlt_value *counts = dlt_broadcast_to(b, dlt_mask_weights(b, mask, x), dlt_shape_of(x));
    dlt_value *zero = dlt_constant(b, 0);
    dlt_value *divisor = dlt_add_c(b, dlt_sum(b, counts, axes, false), DLT_KERAS_EPSILON);
    *mean = dlt_div(b, dlt_sum(b, dlt_select(b, counts, x, zero), axes, false), divisor);
    dlt_value *distance = dlt_select(b, counts, dlt_sub(b, x, along(b, *mean, axis, rank)), zero);
    *variance = dlt_div(b, dlt_sum(b, dlt_square(b, distance), axes, false), divisor);
}

/* Batch statistics by the op, which wants the channels last. */
static dlt_value *by_op(dlt_builder *b, const bn_params *p, dlt_value *x, int axis, dlt_value *gamma,
                        dlt_value *beta, dlt_value **mean, dlt_value **variance)
{
    int there[DLT_MAX_RANK], back[DLT_MAX_RANK];
    const int rank = dlt_shape_of(x).rank;
    int at = 0;
    for (int i = 0; i < rank; i++) {
        if (i != axis) {
            there[at++] = i;
        }
    }
    there[rank - 1] = axis;
    for (int i = 0; i < rank; i++) {
        back[there[i]] = i;
    }
    dlt_value *moved = dlt_transpose(b, x, there);
    return dlt_transpose(b, dlt_batch_norm(b, moved, gamma, beta, p->epsilon, mean, variance), back);
}

/* moving = moving momentum + batch (1 - momentum); `moving` is the state's present value */
static void follow(dlt_builder *b, const char *name, double momentum, dlt_value *moving, dlt_value *batch)
{
    const char *path = dlt_arena_printf(dlt_builder_graph(b)->arena, "%s/%s", dlt_scope_path(b), name);
    if (path == NULL) {
        return; /* the arena's failure is sticky and ends the building */
    }
    dlt_value *kept = dlt_mul_c(b, moving, momentum);
    dlt_watch(b, batch); /* a mean of two finite numbers is finite */
    dlt_assign(b, dlt_variables_find(dlt_builder_graph(b)->variables, path),
               dlt_add(b, kept, dlt_mul_c(b, dlt_stop_gradient(b, batch), 1 - momentum)));
}

static dlt_value *bn_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const bn_params *p = params;
    dlt_value *x = dlt_as_real(b, in), *mean = NULL, *variance = NULL, *y;
    dlt_value *mask = in->mask;
    const dlt_shape shape = dlt_shape_of(in);
    if (shape.rank < 2) {
        return dlt_reject(b, "BatchNormalization needs (N, ..., C), got rank %d", shape.rank);
    }
    const int axis = dlt_layer_axis(b, "axis", p->axis, in);
    if (axis < 0) {
        return NULL;
    }
    const dlt_shape channels = DLT_SHAPE(shape.dim[axis]);
    dlt_value *gamma = p->scale ? dlt_weight(b, &p->gamma, channels) : NULL;
    dlt_value *beta = p->center ? dlt_weight(b, &p->beta, channels) : NULL;
    dlt_value *moving_mean =
        dlt_state(b, "moving_mean", dlt_real(b), channels, p->moving_mean_initializer, 0);
    dlt_value *moving_variance =
        dlt_state(b, "moving_variance", dlt_real(b), channels, p->moving_variance_initializer, 1);
    if (!dlt_training(b)) {
        return normalise(b, p, x, axis, moving_mean, moving_variance, gamma, beta);
    }
    if (mask != NULL) {
        if (mask->shape.rank != shape.rank - 1) {
            char is[160], of[160];
            return dlt_reject(
                b,
                "BatchNormalization: a mask of shape %s does not fit the input %s; one axis less is needed",
                dlt_shape_text_batch(&mask->shape, is, sizeof is),
                dlt_shape_text_batch(&shape, of, sizeof of));
        }
        masked_moments(b, x, mask, axis, &mean, &variance);
        y = normalise(b, p, x, axis, mean, variance, gamma, beta);
    } else {
        y = by_op(b, p, x, axis, gamma, beta, &mean, &variance);
    }
    follow(b, "moving_mean", p->momentum, moving_mean, mean);
    follow(b, "moving_variance", p->momentum, moving_variance, variance);
    return y;
}

static bool bn_joins(const dlt_item *item)
{
    return item->trainable;
}

static const char *const bn_examples[] = {
    "{input: [4, 3], layer: BatchNormalization}",
    "{input: [3, 4, 2], layer: {BatchNormalization: {axis: 1, momentum: 0.5, epsilon: 0.1}}}",
    "{input: [2, 3, 4, 2], layer: {BatchNormalization: {center: false}}}",
    "{input: [4, 3], layer: {BatchNormalization: {scale: false}}}",
    "{input: [4, 3], layer: {BatchNormalization: {scale: false, center: false}}}",
    "{input: [4, 3], layer: {BatchNormalization: {trainable: false}}}",
    "{input: [3, 4, 2], mask: true, layer: {BatchNormalization: {momentum: 0.8}}}",
    "{input: [3, 4, 2], mask: true, layer: {BatchNormalization: {axis: 1}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_batch_normalization = {
    .kind = {.name = "BatchNormalization",
             .doc = "normalises each channel over the batch",
             .size = sizeof(bn_params),
             .fields = bn_fields},
    .build = bn_build,
    .mask = DLT_MASK_PASS,
    .joins_samples = bn_joins,
    .examples = bn_examples,
};
