/* layers/gaussian_noise.c: in training, y = x + stddev g with g standard normal; otherwise y = x.
 * g = sqrt(-2 ln(1 - u)) cos(2 pi v) of two uniform draws (Box & Muller 1958); u < 1, so the logarithm is finite. */
#include "layers/layer.h"

typedef struct gaussian_noise_params {
    double stddev;
    dlt_opt_int seed;
} gaussian_noise_params;

static const dlt_field gaussian_noise_fields[] = {
    DLT_FLOAT(gaussian_noise_params, stddev, 0, 1, DLT_REQUIRED, "standard deviation of the noise"),
    DLT_OPT_INT(gaussian_noise_params, seed, INT64_MIN, INT64_MAX,
                "sets this layer's draws apart; null: its name does"),
    {0},
};

static dlt_value *gaussian_noise_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const gaussian_noise_params *p = params;
    const dlt_shape shape = dlt_shape_of(in);
    if (dlt_builder_mode(b) != DLT_MODE_TRAIN || p->stddev == 0) {
        return in;
    }
    dlt_value *u = dlt_uniform(b, dlt_layer_draw(b, "radius", p->seed), shape, false);
    dlt_value *v = dlt_uniform(b, dlt_layer_draw(b, "angle", p->seed), shape, false);
    dlt_value *radius = dlt_sqrt(b, dlt_mul_c(b, dlt_log(b, dlt_c_sub(b, 1, u)), -2));
    dlt_value *angle = dlt_elementwise(b, DLT_EW_COS, dlt_mul_c(b, v, 6.28318530717958647693), NULL, NULL);
    return dlt_add(b, dlt_as_real(b, in), dlt_mul_c(b, dlt_mul(b, radius, angle), p->stddev));
}

static const char *const gaussian_noise_examples[] = {
    "{input: [4, 3], layer: {GaussianNoise: {stddev: 0.5}}}",
    "{input: [2, 3], layer: {GaussianNoise: {stddev: 0}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_gaussian_noise = {
    .kind = {.name = "GaussianNoise",
             .doc = "adds normal noise in training",
             .size = sizeof(gaussian_noise_params),
             .fields = gaussian_noise_fields},
    .build = gaussian_noise_build,
    .mask = DLT_MASK_PASS,
    .examples = gaussian_noise_examples,
};
