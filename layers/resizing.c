/* layers/resizing.c: images of another size: (N, H, W, C) to (N, height, width, C), in training and at inference. Of Keras' interpolations
 * there are bilinear (half-pixel centres, no antialiasing) and nearest. The type stays: integers are rounded, halves to even, and
 * saturated.
 *
 * crop_to_aspect_ratio first takes the largest window of the wanted aspect ratio in the middle; pad_to_aspect_ratio first puts
 * fill_value around the images until they have it, as many pixels on both sides: an odd one is lost, as in Keras. */
#include "layers/images.h"

typedef struct resizing_params {
    int64_t height, width;
    int interpolation;
    bool crop_to_aspect_ratio, pad_to_aspect_ratio;
    double fill_value;
    int data_format;
} resizing_params;

static const dlt_field resizing_fields[] = {
    DLT_INT(resizing_params, height, 1, DLT_MAX_IMAGE, DLT_REQUIRED, "rows of the result"),
    DLT_INT(resizing_params, width, 1, DLT_MAX_IMAGE, DLT_REQUIRED, "columns of the result"),
    DLT_ENUM(resizing_params, interpolation, dlt_interpolation_names, bilinear, "between pixels: weighted, or the nearest"),
    DLT_BOOL(resizing_params, crop_to_aspect_ratio, false, "cut off what is not of the result's aspect ratio instead of stretching"),
    DLT_BOOL(resizing_params, pad_to_aspect_ratio, false, "put fill_value around instead of stretching"),
    DLT_FLOAT(resizing_params, fill_value, -INFINITY, INFINITY, 0, "with pad_to_aspect_ratio"),
    DLT_ENUM(resizing_params, data_format, dlt_data_format_names, channels_last, "where the channels stand"),
    {0},
};

static void resizing_check(const dlt_item *item, dlt_diag *diag)
{
    const resizing_params *p = item->params;
    if (p->crop_to_aspect_ratio && p->pad_to_aspect_ratio) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "pad_to_aspect_ratio"),
                 "Resizing: only one of crop_to_aspect_ratio and pad_to_aspect_ratio can be true");
    }
}

/* `count` rows (axis 1) or columns (axis 2) of a value before and behind. */
static dlt_value *surround(dlt_builder *b, dlt_value *x, int axis, int64_t count, double value)
{
    dlt_shape edge = dlt_shape_of(x);
    if (x == NULL || count <= 0) {
        return x;
    }
    edge.dim[axis] = count;
    dlt_value *fill = dlt_broadcast_to(b, dlt_constant_typed(b, x->type, value), edge);
    dlt_value *const parts[] = {fill, x, fill};
    return dlt_concat(b, parts, 3, axis);
}

/* Pads along the axis that is too short; Keras pads the rows alone if they are. */
static dlt_value *pad_to_aspect(dlt_builder *b, const resizing_params *p, dlt_value *x)
{
    const int64_t rows = x->shape.dim[1], columns = x->shape.dim[2];
    const int64_t high = columns * p->height / p->width, wide = rows * p->width / p->height;
    const int64_t above = high > rows ? (high - rows) / 2 : 0, before = wide > columns ? (wide - columns) / 2 : 0;
    return above > 0 ? surround(b, x, 1, above, p->fill_value) : surround(b, x, 2, before, p->fill_value);
}

/* x as an integer: to the nearest, halves to even. */
static dlt_value *rounded(dlt_builder *b, dlt_value *x, dlt_dtype type)
{
    dlt_value *up = dlt_elementwise(b, DLT_EW_FLOOR, dlt_add_c(b, x, 0.5), NULL, NULL);
    dlt_value *half = dlt_equal(b, dlt_sub(b, up, x), dlt_constant(b, 0.5));
    dlt_value *odd = dlt_elementwise(b, DLT_EW_MOD, up, dlt_constant(b, 2), NULL);
    return dlt_cast(b, dlt_sub(b, up, dlt_mul(b, half, odd)), type);
}

static dlt_value *resizing_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const resizing_params *p = params;
    dlt_value *x = dlt_images(b, in, p->data_format);
    if (x == NULL) {
        return NULL;
    }
    if (p->crop_to_aspect_ratio) {
        const dlt_image_place middle = dlt_image_aspect(&x->shape, p->height, p->width);
        x = dlt_image_window(b, x, middle.top, middle.left, middle.height, middle.width);
    } else if (p->pad_to_aspect_ratio) {
        x = pad_to_aspect(b, p, x);
    }
    x = dlt_image_resize(b, x, p->height, p->width, p->interpolation == DLT_NEAREST);
    if (!dlt_dtype_is_real(in->type)) {
        x = rounded(b, x, in->type);
    }
    return dlt_channels_first(b, x, p->data_format);
}

static const char *const resizing_examples[] = {
    "{input: [2, 3, 4, 2], before: [{Dense: {units: 2}}], layer: {Resizing: {height: 5, width: 2}}}",
    "{input: [2, 5, 4, 1], layer: {Resizing: {height: 2, width: 7, interpolation: nearest}}}",
    "{input: [2, 6, 3, 2], before: [{Conv2D: {filters: 2, kernel_size: 2}}], layer: {Resizing: {height: 4, width: 4, crop_to_aspect_ratio: true}}}",
    "{input: [2, 2, 6, 3], layer: {Resizing: {height: 4, width: 4, pad_to_aspect_ratio: true, fill_value: 0.5, data_format: channels_first}}}",
    "{input: [2, 3, 5, 2], layer: {Resizing: {height: 4, width: 4, pad_to_aspect_ratio: true}}}",
    "{input: [2, 3, 4, 1], dtype: uint8, high: 256, layer: {Resizing: {height: 2, width: 5}}, no_gradient: true}",
    NULL,
};

const dlt_layer_desc dlt_layer_resizing = {
    .kind = {.name = "Resizing",
             .doc = "images of another size",
             .size = sizeof(resizing_params),
             .fields = resizing_fields,
             .check = resizing_check},
    .build = resizing_build,
    .mask = DLT_MASK_DROP,
    .examples = resizing_examples,
};
