/* layers/random_flip.c: in training, each image (N, H, W, C) is mirrored with probability 1/2; otherwise y = x.
 * One draw decides for an image: with both directions it stays as it is or is turned by 180 degrees, as in Keras. */
#include "layers/images.h"

enum { HORIZONTAL, VERTICAL, HORIZONTAL_AND_VERTICAL };
static const char *const mode_names[] = {"horizontal", "vertical", "horizontal_and_vertical", NULL};

typedef struct random_flip_params {
    int mode;
    dlt_opt_int seed;
    int data_format;
} random_flip_params;

static const dlt_field random_flip_fields[] = {
    DLT_ENUM(random_flip_params, mode, mode_names, horizontal_and_vertical,
             "left and right, top and bottom, or both at once, which turns by 180 degrees"),
    DLT_ENUM(random_flip_params, data_format, dlt_data_format_names, channels_last, "where the channels stand"),
    DLT_OPT_INT(random_flip_params, seed, INT64_MIN, INT64_MAX, "sets this layer's draws apart; null: its name does"),
    {0},
};

static dlt_value *random_flip_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const random_flip_params *p = params;
    dlt_value *x = dlt_images(b, in, p->data_format);
    if (x == NULL || dlt_builder_mode(b) != DLT_MODE_TRAIN) {
        return dlt_channels_first(b, x, p->data_format);
    }
    const dlt_warp_attrs attrs = {
        .height = x->shape.dim[1], .width = x->shape.dim[2], .nearest = true, .fill_mode = DLT_FILL_NEAREST};
    /* column i comes from i, or from W - 1 - i = i + (-2 i + W - 1); rows likewise */
    dlt_affine_term flip = {.by = {0}};
    if (p->mode != VERTICAL) {
        flip.by[0] = -2;
        flip.by[2] = (double)(attrs.width - 1);
    }
    if (p->mode != HORIZONTAL) {
        flip.by[4] = -2;
        flip.by[5] = (double)(attrs.height - 1);
    }
    dlt_value *u = dlt_uniform(b, dlt_layer_draw(b, "flip", p->seed), DLT_SHAPE(x->shape.dim[0], 1), false);
    flip.value = dlt_less_equal(b, u, dlt_constant(b, 0.5));
    const double stay[6] = {1, 0, 0, 0, 1, 0};
    return dlt_channels_first(b, dlt_warp(b, x, dlt_affine(b, stay, &flip, 1), &attrs), p->data_format);
}

static const char *const random_flip_examples[] = {
    "{input: [2, 3, 4, 2], before: [{Dense: {units: 2}}], layer: RandomFlip}",
    "{input: [3, 2, 5, 1], layer: {RandomFlip: {mode: horizontal, seed: 3}}}",
    "{input: [2, 2, 3, 4], layer: {RandomFlip: {mode: vertical, data_format: channels_first}}}",
    "{input: [2, 3, 4, 3], dtype: uint8, high: 9, layer: RandomFlip, no_gradient: true}",
    NULL,
};

const dlt_layer_desc dlt_layer_random_flip = {
    .kind = {.name = "RandomFlip",
             .doc = "mirrors images at random in training",
             .size = sizeof(random_flip_params),
             .fields = random_flip_fields},
    .build = random_flip_build,
    .mask = DLT_MASK_DROP,
    .examples = random_flip_examples,
};
