/* layers/random_rotation.c: in training, each image (N, H, W, C) is turned around its middle, counter-clockwise by 2 pi times a number uniform
 * between the ends of factor; otherwise y = x. */
#include "layers/images.h"

static const dlt_field random_rotation_fields[] = {
    DLT_FLOATS(dlt_affine_params, factor, -1, 1, NULL,
               "parts of a full turn, counter-clockwise: f for -f to f, or the least and the largest"),
    DLT_AFFINE_FIELDS,
    {0},
};

static void random_rotation_check(const dlt_item *item, dlt_diag *diag)
{
    dlt_factor_check(item, "factor", &((const dlt_affine_params *)item->params)->factor, -INFINITY, diag);
}

static dlt_value *random_rotation_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const dlt_affine_params *p = params;
    dlt_value *x = dlt_images(b, in, p->data_format);
    if (x == NULL || dlt_builder_mode(b) != DLT_MODE_TRAIN) {
        return dlt_channels_first(b, x, p->data_format);
    }
    /* (i, j) comes from the middle plus (cos (i - right) - sin (j - down), sin (i - right) + cos (j - down)) */
    const double down = 0.5 * (double)(x->shape.dim[1] - 1), right = 0.5 * (double)(x->shape.dim[2] - 1);
    dlt_value *angle = dlt_mul_c(b, dlt_factor_draw(b, "angle", p->seed, &p->factor, x), 6.28318530717958647693);
    const dlt_affine_term terms[] = {
        {dlt_elementwise(b, DLT_EW_COS, angle, NULL, NULL), {1, 0, -right, 0, 1, -down}},
        {dlt_elementwise(b, DLT_EW_SIN, angle, NULL, NULL), {0, -1, down, 1, 0, -right}}};
    const double middle[6] = {0, 0, right, 0, 0, down};
    return dlt_affine_apply(b, p, x, dlt_affine(b, middle, terms, 2));
}

static const char *const random_rotation_examples[] = {
    "{input: [2, 3, 4, 2], before: [{Dense: {units: 2}}], layer: {RandomRotation: {factor: 0.1}}}",
    "{input: [2, 5, 4, 1], layer: {RandomRotation: {factor: [-0.5, 1], fill_mode: constant, fill_value: -1, seed: 2}}}",
    "{input: [2, 2, 4, 5], layer: {RandomRotation: {factor: 0.25, fill_mode: nearest, interpolation: nearest, data_format: "
    "channels_first}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_random_rotation = {
    .kind = {.name = "RandomRotation",
             .doc = "turns images at random in training",
             .size = sizeof(dlt_affine_params),
             .fields = random_rotation_fields,
             .check = random_rotation_check},
    .build = random_rotation_build,
    .mask = DLT_MASK_DROP,
    .examples = random_rotation_examples,
};
