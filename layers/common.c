/* layers/common.c: what many layers share: axes, data formats, dropout, masks, activity regularizers. */
#include "layers/layer.h"

#include "base/text.h"

const char *const dlt_padding_names[] = {"valid", "same", NULL};
const char *const dlt_data_format_names[] = {"channels_last", "channels_first", NULL};

dlt_value *dlt_as_real(dlt_builder *b, dlt_value *x)
{
    return x == NULL || dlt_dtype_is_real(x->type) ? x : dlt_cast(b, x, dlt_real(b));
}

int dlt_layer_axis(dlt_builder *b, const char *field, int64_t axis, const dlt_value *x)
{
    const int rank = x != NULL ? x->shape.rank : 0;
    const int64_t at = axis < 0 ? rank + axis : axis;
    char text[160];
    if (dlt_builder_failed(b)) {
        return -1;
    }
    if (at == 0) {
        dlt_layer_reject(
            b, field,
            "axis %lld is the batch; an axis of the features is needed: 1 to %d, or -1 for the last",
            (long long)axis, rank - 1);
        return -1;
    }
    if (at < 0 || at >= rank) {
        dlt_layer_reject(b, field,
                         "there is no axis %lld in the input %s; its axes are 1 to %d, or -1 for the last",
                         (long long)axis, dlt_shape_text_batch(&x->shape, text, sizeof text), rank - 1);
        return -1;
    }
    return (int)at;
}

dlt_value *dlt_channels_last(dlt_builder *b, dlt_value *x, int format)
{
    int perm[DLT_MAX_RANK] = {0};
    const int rank = dlt_shape_of(x).rank;
    if (format != DLT_CHANNELS_FIRST || rank < 3) {
        return x;
    }
    for (int i = 1; i + 1 < rank; i++) {
        perm[i] = i + 1;
    }
    perm[rank - 1] = 1;
    return dlt_transpose(b, x, perm);
}

dlt_value *dlt_channels_first(dlt_builder *b, dlt_value *x, int format)
{
    int perm[DLT_MAX_RANK] = {0};
    const int rank = dlt_shape_of(x).rank;
    if (format != DLT_CHANNELS_FIRST || rank < 3) {
        return x;
    }
    perm[1] = rank - 1;
    for (int i = 2; i < rank; i++) {
        perm[i] = i - 1;
    }
    return dlt_transpose(b, x, perm);
}

const char *dlt_layer_draw(dlt_builder *b, const char *purpose, dlt_opt_int seed)
{
    if (!seed.set) {
        return purpose;
    }
    const char *draw =
        dlt_arena_printf(dlt_builder_graph(b)->arena, "%s/%lld", purpose, (long long)seed.value);
    return draw != NULL ? draw : purpose; /* the arena's failure is sticky and ends the building */
}

dlt_value *dlt_dropout(dlt_builder *b, dlt_value *x, double rate, dlt_shape shape, const char *draw)
{
    const dlt_shape full = dlt_shape_of(x);
    /* a mask without the batch axis, or with one of size 1, is drawn once a batch */
    const bool once = shape.rank < full.rank || (shape.rank > 0 && shape.dim[0] != full.dim[0]);
    if (rate >= 1) {
        return dlt_mul_c(b, x, 0);
    }
    dlt_value *keep = dlt_less_equal(b, dlt_constant(b, rate), dlt_uniform(b, draw, shape, once));
    return dlt_select(b, keep, dlt_div_c(b, x, 1 - rate), dlt_constant(b, 0));
}

dlt_value *dlt_mask_weights(dlt_builder *b, dlt_value *mask, const dlt_value *x)
{
    dlt_value *weights = dlt_cast(b, mask, dlt_real(b));
    while (weights != NULL && weights->shape.rank < x->shape.rank) {
        weights = dlt_expand(b, weights, -1);
    }
    return weights;
}

/* Either of two masks; of equal shapes, or a message. */
static dlt_value *either(dlt_builder *b, dlt_value *x, dlt_value *y)
{
    if (x == NULL || y == NULL || x == y) {
        return x;
    }
    if (!dlt_shape_equal(&x->shape, &y->shape)) {
        char left[160], right[160];
        return dlt_reject(b, "masks of shape %s and %s cannot be merged",
                          dlt_shape_text_batch(&x->shape, left, sizeof left),
                          dlt_shape_text_batch(&y->shape, right, sizeof right));
    }
    return dlt_elementwise(b, DLT_EW_OR, x, y, NULL);
}

dlt_value *dlt_mask_either(dlt_builder *b, dlt_value *const *values, int count)
{
    dlt_value *mask = count > 0 && values[0] != NULL ? values[0]->mask : NULL;
    for (int i = 1; i < count && mask != NULL; i++) {
        mask = values[i] != NULL && values[i]->mask != NULL ? either(b, mask, values[i]->mask) : NULL;
    }
    return mask;
}

dlt_value *dlt_mask_joined(dlt_builder *b, dlt_value *const *values, int count)
{
    dlt_value *mask = NULL;
    const dlt_value *bare = NULL;
    for (int i = 0; i < count; i++) {
        if (values[i] == NULL) {
            return NULL;
        }
        if (values[i]->mask == NULL) {
            bare = values[i];
        } else {
            mask = mask == NULL ? values[i]->mask : either(b, mask, values[i]->mask);
        }
    }
    if (mask == NULL || bare == NULL) {
        return mask;
    }
    /* counts everywhere */
    return dlt_broadcast_to(b, dlt_constant_typed(b, DLT_U8, 1), mask->shape);
}
