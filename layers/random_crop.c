/* layers/random_crop.c: in training, (N, H, W, C) to (N, height, width, C): a window at a place drawn once for the batch. At inference the
 * images go through whole, in their own size, as in Keras: what follows must take both sizes.
 *
 * The place is drawn only if the images are larger along both axes. Else, as in Keras, the window begins where the largest one of its
 * aspect ratio lies in the middle, is cut off at the edge of the image, and is resized if that made it smaller. */
#include "layers/images.h"

typedef struct random_crop_params {
    int64_t height, width;
    dlt_opt_int seed;
    int data_format;
} random_crop_params;

static const dlt_field random_crop_fields[] = {
    DLT_INT(random_crop_params, height, 1, DLT_MAX_IMAGE, DLT_REQUIRED, "rows of the window"),
    DLT_INT(random_crop_params, width, 1, DLT_MAX_IMAGE, DLT_REQUIRED, "columns of the window"),
    DLT_ENUM(random_crop_params, data_format, dlt_data_format_names, channels_last, "where the channels stand"),
    DLT_OPT_INT(random_crop_params, seed, INT64_MIN, INT64_MAX, "sets this layer's draws apart; null: its name does"),
    {0},
};

/* One of 0..count-1 for the batch. u < 1, so u count rounds to less than count: it is below by half a unit in the last place or more. */
static dlt_value *draw_start(dlt_builder *b, const char *purpose, dlt_opt_int seed, int64_t count)
{
    dlt_value *u = dlt_uniform(b, dlt_layer_draw(b, purpose, seed), DLT_SHAPE(1, 1), true);
    return dlt_elementwise(b, DLT_EW_FLOOR, dlt_mul_c(b, u, (double)count), NULL, NULL);
}

static dlt_value *random_crop_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const random_crop_params *p = params;
    dlt_value *x = dlt_images(b, in, p->data_format);
    if (x == NULL || dlt_builder_mode(b) != DLT_MODE_TRAIN) {
        return dlt_channels_first(b, x, p->data_format);
    }
    const int64_t rows = x->shape.dim[1], columns = x->shape.dim[2];
    if (rows > p->height && columns > p->width) {
        const dlt_warp_attrs attrs = {.height = p->height, .width = p->width, .nearest = true, .fill_mode = DLT_FILL_NEAREST};
        const double stay[6] = {1, 0, 0, 0, 1, 0};
        const dlt_affine_term start[] = {{draw_start(b, "top", p->seed, rows - p->height + 1), {0, 0, 0, 0, 0, 1}},
                                         {draw_start(b, "left", p->seed, columns - p->width + 1), {0, 0, 1, 0, 0, 0}}};
        return dlt_channels_first(b, dlt_warp(b, x, dlt_affine(b, stay, start, 2), &attrs), p->data_format);
    }
    const dlt_image_place middle = dlt_image_aspect(&x->shape, p->height, p->width);
    const int64_t height = rows - middle.top < p->height ? rows - middle.top : p->height;
    const int64_t width = columns - middle.left < p->width ? columns - middle.left : p->width;
    x = dlt_image_window(b, x, middle.top, middle.left, height, width);
    return dlt_channels_first(b, dlt_image_resize(b, x, p->height, p->width, false), p->data_format);
}

/* A batch shares its place, which is drawn anew for each step of TimeDistributed. */
static bool random_crop_joins(const dlt_item *item)
{
    (void)item;
    return true;
}

static const char *const random_crop_examples[] = {
    "{input: [2, 4, 5, 2], before: [{Dense: {units: 2}}], layer: {RandomCrop: {height: 2, width: 3}}}",
    "{input: [2, 2, 5, 4], layer: {RandomCrop: {height: 3, width: 4, seed: 1, data_format: channels_first}}}",
    "{input: [2, 4, 5, 2], layer: {RandomCrop: {height: 4, width: 3}}}",
    "{input: [2, 3, 3, 1], layer: {RandomCrop: {height: 5, width: 2}}}",
    "{input: [2, 4, 4, 1], dtype: uint8, high: 9, layer: {RandomCrop: {height: 3, width: 3}}, no_gradient: true}",
    NULL,
};

const dlt_layer_desc dlt_layer_random_crop = {
    .kind = {.name = "RandomCrop",
             .doc = "a window of images in training, at a place drawn once a batch; at inference they stay whole, and what follows must take both sizes",
             .size = sizeof(random_crop_params),
             .fields = random_crop_fields},
    .build = random_crop_build,
    .mask = DLT_MASK_DROP,
    .whole_at_inference = true,
    .joins_samples = random_crop_joins,
    .examples = random_crop_examples,
};
