/* layers/images.c: images and their sizes, ranges of random factors, affine transforms. */
#include "layers/images.h"

#include "base/text.h"

const char *const dlt_fill_mode_names[] = {
    [DLT_FILL_CONSTANT] = "constant", [DLT_FILL_NEAREST] = "nearest", [DLT_FILL_REFLECT] = "reflect", [DLT_FILL_WRAP] = "wrap", NULL};
const char *const dlt_interpolation_names[] = {"bilinear", "nearest", NULL};

dlt_value *dlt_images(dlt_builder *b, dlt_value *x, int format)
{
    const dlt_shape shape = dlt_shape_of(x);
    const char *name = dlt_layer_item(b)->kind->name;
    char text[160];
    if (dlt_builder_failed(b) || x == NULL) {
        return NULL;
    }
    dlt_shape_text_batch(&shape, text, sizeof text);
    if (shape.rank != 4) {
        return dlt_reject(b, "%s needs images %s, got %s%s", name, format == DLT_CHANNELS_FIRST ? "(N, C, H, W)" : "(N, H, W, C)",
                          text, shape.rank == 3 ? "; if the axis of the channels is missing, put Reshape before it" : "");
    }
    dlt_value *y = dlt_channels_last(b, dlt_as_real(b, x), format);
    if (y != NULL && (y->shape.dim[1] < 1 || y->shape.dim[2] < 1)) {
        return dlt_reject(b, "%s needs images of at least one pixel, got %s", name, text);
    }
    return y;
}

dlt_value *dlt_image_window(dlt_builder *b, dlt_value *x, int64_t top, int64_t left, int64_t height, int64_t width)
{
    return dlt_slice(b, dlt_slice(b, x, 1, top, height), 2, left, width);
}

dlt_image_place dlt_image_aspect(const dlt_shape *x, int64_t height, int64_t width)
{
    const int64_t rows = x->dim[1], columns = x->dim[2];
    const int64_t high = columns * height / width, wide = rows * width / height;
    dlt_image_place p = {.height = high < rows ? high : rows, .width = wide < columns ? wide : columns};
    p.height = p.height > 1 ? p.height : 1;
    p.width = p.width > 1 ? p.width : 1;
    p.top = (rows - p.height) / 2;
    p.left = (columns - p.width) / 2;
    return p;
}

/*
 * Position i of the result is (i + 0.5) in / out of the input, which pixel k covers from k to k + 1. WARP counts from the centres of
 * pixels: 0.5 less. With weights that fall outside given to the edge this is Keras' renormalised triangle. The nearest pixel to that is
 * the one which is covered, unless the position falls between two pixels: it is a multiple of 1 / (2 out), so half of
 * that more settles it without reaching the next.
 */
dlt_value *dlt_image_resize(dlt_builder *b, dlt_value *x, int64_t height, int64_t width, bool nearest)
{
    const dlt_shape shape = dlt_shape_of(x);
    if (x == NULL || (shape.dim[1] == height && shape.dim[2] == width)) {
        return x;
    }
    const dlt_warp_attrs attrs = {.height = height, .width = width, .nearest = nearest, .fill_mode = DLT_FILL_NEAREST};
    const double rows = (double)shape.dim[1] / (double)height, columns = (double)shape.dim[2] / (double)width;
    const double across = nearest ? 0.25 / (double)width : 0, down = nearest ? 0.25 / (double)height : 0;
    const double transform[6] = {columns, 0, 0.5 * columns - 0.5 + across, 0, rows, 0.5 * rows - 0.5 + down};
    return dlt_warp(b, x, dlt_affine(b, transform, NULL, 0), &attrs);
}

void dlt_factor_check(const dlt_item *item, const char *field, const dlt_floats *factor, double above, dlt_diag *diag)
{
    const char *name = item->kind->name;
    if (factor->count != 1 && factor->count != 2) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, field),
                 "%s: %s has %zu numbers; give one, f for -f to f, or two, the least and the largest", name, field, factor->count);
        return;
    }
    for (size_t i = 0; i < factor->count; i++) {
        if (factor->at[i] <= above) {
            dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, field), "%s: %s must be above %g, got %g", name, field, above,
                     factor->at[i]);
            return;
        }
    }
}

dlt_value *dlt_factor_draw(dlt_builder *b, const char *purpose, dlt_opt_int seed, const dlt_floats *factor, const dlt_value *x)
{
    const double first = factor->count == 2 ? factor->at[0] : -factor->at[0], second = factor->at[factor->count - 1];
    const double low = first < second ? first : second, high = first < second ? second : first;
    if (!(low < high)) {
        return dlt_broadcast_to(b, dlt_constant(b, low), DLT_SHAPE(1, 1));
    }
    dlt_value *u = dlt_uniform(b, dlt_layer_draw(b, purpose, seed), DLT_SHAPE(dlt_shape_of(x).dim[0], 1), false);
    return dlt_add_c(b, dlt_mul_c(b, u, high - low), low);
}

dlt_value *dlt_affine(dlt_builder *b, const double fixed[6], const dlt_affine_term *terms, int count)
{
    dlt_value *sum = dlt_constant_array(b, dlt_real(b), DLT_SHAPE(1, 6), fixed);
    for (int i = 0; i < count; i++) {
        sum = dlt_add(b, sum, dlt_mul(b, terms[i].value, dlt_constant_array(b, dlt_real(b), DLT_SHAPE(1, 6), terms[i].by)));
    }
    return sum;
}

dlt_value *dlt_affine_apply(dlt_builder *b, const dlt_affine_params *p, dlt_value *x, dlt_value *transform)
{
    const dlt_shape shape = dlt_shape_of(x);
    const dlt_warp_attrs attrs = {.height = shape.dim[1],
                                  .width = shape.dim[2],
                                  .nearest = p->interpolation == DLT_NEAREST,
                                  .fill_mode = (dlt_fill_mode)p->fill_mode,
                                  .fill_value = p->fill_value};
    return dlt_channels_first(b, dlt_warp(b, x, transform, &attrs), p->data_format);
}
