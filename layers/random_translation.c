/* layers/random_translation.c: in training, each image (N, H, W, C) is moved down by v H pixels and to the right by u W;
 * otherwise y = x. v and u are uniform between the ends of height_factor and width_factor. */
#include "layers/images.h"

static const dlt_field random_translation_fields[] = {
    DLT_FLOATS(dlt_affine_params, height_factor, -1, 1, NULL,
               "how far down, as a part of the height: f for -f to f, or the least and the largest"),
    DLT_FLOATS(dlt_affine_params, width_factor, -1, 1, NULL, "how far to the right, as a part of the width; likewise"),
    DLT_AFFINE_FIELDS,
    {0},
};

static void random_translation_check(const dlt_item *item, dlt_diag *diag)
{
    const dlt_affine_params *p = item->params;
    dlt_factor_check(item, "height_factor", &p->height_factor, -INFINITY, diag);
    dlt_factor_check(item, "width_factor", &p->width_factor, -INFINITY, diag);
}

static dlt_value *random_translation_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const dlt_affine_params *p = params;
    dlt_value *x = dlt_images(b, in, p->data_format);
    if (x == NULL || dlt_builder_mode(b) != DLT_MODE_TRAIN) {
        return dlt_channels_first(b, x, p->data_format);
    }
    const dlt_affine_term terms[] = {
        {dlt_factor_draw(b, "height", p->seed, &p->height_factor, x), {0, 0, 0, 0, 0, -(double)x->shape.dim[1]}},
        {dlt_factor_draw(b, "width", p->seed, &p->width_factor, x), {0, 0, -(double)x->shape.dim[2], 0, 0, 0}}};
    const double stay[6] = {1, 0, 0, 0, 1, 0};
    return dlt_affine_apply(b, p, x, dlt_affine(b, stay, terms, 2));
}

static const char *const random_translation_examples[] = {
    "{input: [2, 3, 4, 2], before: [{Dense: {units: 2}}], layer: {RandomTranslation: {height_factor: 0.2, width_factor: 0.3}}}",
    "{input: [3, 5, 4, 1], layer: {RandomTranslation: {height_factor: [-0.5, 0.25], width_factor: 0, fill_mode: constant, "
    "fill_value: 0.5}}}",
    "{input: [2, 2, 4, 4], layer: {RandomTranslation: {height_factor: 1, width_factor: [0.1, 1], fill_mode: wrap, "
    "data_format: channels_first}}}",
    "{input: [2, 4, 4, 2], layer: {RandomTranslation: {height_factor: 0.4, width_factor: 0.4, fill_mode: nearest, interpolation: "
    "nearest, seed: 5}}}",
    "{input: [2, 3, 4, 3], dtype: uint8, high: 9, layer: {RandomTranslation: {height_factor: 0.4, width_factor: 0.1}}, no_gradient: "
    "true}",
    NULL,
};

const dlt_layer_desc dlt_layer_random_translation = {
    .kind = {.name = "RandomTranslation",
             .doc = "moves images at random in training",
             .size = sizeof(dlt_affine_params),
             .fields = random_translation_fields,
             .check = random_translation_check},
    .build = random_translation_build,
    .mask = DLT_MASK_DROP,
    .examples = random_translation_examples,
};
