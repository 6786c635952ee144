/* layers/center_crop.c: the middle of images: (N, H, W, C) to (N, height, width, C), rows from floor((H - height) / 2) on. Images that are
 * smaller along an axis: the largest window of the wanted aspect ratio in the middle, resized (bilinear), as in Keras. */
#include "layers/images.h"

typedef struct center_crop_params {
    int64_t height, width;
    int data_format;
} center_crop_params;

static const dlt_field center_crop_fields[] = {
    DLT_INT(center_crop_params, height, 1, DLT_MAX_IMAGE, DLT_REQUIRED, "rows of the result"),
    DLT_INT(center_crop_params, width, 1, DLT_MAX_IMAGE, DLT_REQUIRED, "columns of the result"),
    DLT_ENUM(center_crop_params, data_format, dlt_data_format_names, channels_last, "where the channels stand"),
    {0},
};

static dlt_value *center_crop_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const center_crop_params *p = params;
    dlt_value *x = dlt_images(b, in, p->data_format);
    if (x == NULL) {
        return NULL;
    }
    const int64_t more_rows = x->shape.dim[1] - p->height, more_columns = x->shape.dim[2] - p->width;
    if (more_rows >= 0 && more_columns >= 0) {
        x = dlt_image_window(b, x, more_rows / 2, more_columns / 2, p->height, p->width);
    } else {
        const dlt_image_place middle = dlt_image_aspect(&x->shape, p->height, p->width);
        x = dlt_image_window(b, x, middle.top, middle.left, middle.height, middle.width);
        x = dlt_image_resize(b, x, p->height, p->width, false);
    }
    return dlt_channels_first(b, x, p->data_format);
}

static const char *const center_crop_examples[] = {
    "{input: [2, 5, 6, 2], before: [{Conv2D: {filters: 2, kernel_size: 2}}], layer: {CenterCrop: {height: 2, width: 3}}}",
    "{input: [2, 3, 3, 1], layer: {CenterCrop: {height: 5, width: 2}}}",
    "{input: [2, 2, 5, 4], layer: {CenterCrop: {height: 4, width: 4, data_format: channels_first}}}",
    "{input: [2, 4, 4, 1], dtype: uint8, high: 9, layer: {CenterCrop: {height: 3, width: 2}}, no_gradient: true}",
    NULL,
};

const dlt_layer_desc dlt_layer_center_crop = {
    .kind = {.name = "CenterCrop",
             .doc = "the middle of images",
             .size = sizeof(center_crop_params),
             .fields = center_crop_fields},
    .build = center_crop_build,
    .mask = DLT_MASK_DROP,
    .examples = center_crop_examples,
};
