/* layers/random_zoom.c: in training, each image (N, H, W, C) is scaled around its middle by 1 / zoom; otherwise y = x. zoom is 1 plus a number
 * uniform between the ends of height_factor: above 0 the image shrinks, below it grows. The width has a draw of its own if
 * width_factor is given, else that of the height. */
#include "layers/images.h"

static const dlt_field random_zoom_fields[] = {
    DLT_FLOATS(dlt_affine_params, height_factor, -1, 1, NULL,
               "how much smaller (above 0) or larger, as a part: f for -f to f, or the least and the largest; above -1"),
    DLT_FLOATS(dlt_affine_params, width_factor, -1, 1, "null", "likewise for the width; null: the height's draw"),
    DLT_AFFINE_FIELDS,
    {0},
};

static void random_zoom_check(const dlt_item *item, dlt_diag *diag)
{
    const dlt_affine_params *p = item->params;
    dlt_factor_check(item, "height_factor", &p->height_factor, -1, diag);
    if (p->width_factor.count > 0) {
        dlt_factor_check(item, "width_factor", &p->width_factor, -1, diag);
    }
}

static dlt_value *random_zoom_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const dlt_affine_params *p = params;
    dlt_value *x = dlt_images(b, in, p->data_format);
    if (x == NULL || dlt_builder_mode(b) != DLT_MODE_TRAIN) {
        return dlt_channels_first(b, x, p->data_format);
    }
    /* the middle stays: c + (1 + v) (i - c) = i + v (i - c) */
    const double down = 0.5 * (double)(x->shape.dim[1] - 1), right = 0.5 * (double)(x->shape.dim[2] - 1);
    dlt_value *height = dlt_factor_draw(b, "height", p->seed, &p->height_factor, x);
    dlt_value *width = p->width_factor.count > 0 ? dlt_factor_draw(b, "width", p->seed, &p->width_factor, x) : height;
    const dlt_affine_term terms[] = {{height, {0, 0, 0, 0, 1, -down}}, {width, {1, 0, -right, 0, 0, 0}}};
    const double stay[6] = {1, 0, 0, 0, 1, 0};
    return dlt_affine_apply(b, p, x, dlt_affine(b, stay, terms, 2));
}

static const char *const random_zoom_examples[] = {
    "{input: [2, 3, 4, 2], before: [{Dense: {units: 2}}], layer: {RandomZoom: {height_factor: 0.3}}}",
    "{input: [2, 5, 4, 1], layer: {RandomZoom: {height_factor: [-0.5, 0.2], width_factor: [0.1, 0.4], fill_mode: wrap, seed: 1}}}",
    "{input: [2, 2, 4, 5], layer: {RandomZoom: {height_factor: 0.5, width_factor: 0.5, fill_mode: constant, interpolation: nearest, "
    "data_format: channels_first}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_random_zoom = {
    .kind = {.name = "RandomZoom",
             .doc = "makes images smaller or larger at random in training",
             .size = sizeof(dlt_affine_params),
             .fields = random_zoom_fields,
             .check = random_zoom_check},
    .build = random_zoom_build,
    .mask = DLT_MASK_DROP,
    .examples = random_zoom_examples,
};
