/* layers/leaky_re_lu.c: x, or negative_slope x below 0. Shape as the input. The slope is 0.3, that of the activation 0.2. */
#include "layers/activations.h"

typedef struct leaky_re_lu_params {
    double negative_slope;
} leaky_re_lu_params;

static const dlt_field leaky_re_lu_fields[] = {
    DLT_FLOAT(leaky_re_lu_params, negative_slope, 0, INFINITY, 0.3, "slope below 0"),
    {0},
};

static dlt_value *leaky_re_lu_build(dlt_builder *b, const void *params, dlt_value *in)
{
    return dlt_leaky_relu(b, dlt_as_real(b, in), ((const leaky_re_lu_params *)params)->negative_slope);
}

static const char *const leaky_re_lu_examples[] = {
    "{input: [2, 3], layer: LeakyReLU}",
    "{input: [2, 3], layer: {LeakyReLU: {negative_slope: 0.1}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_leaky_re_lu = {
    .kind = {.name = "LeakyReLU",
             .doc = "x, or a part of it below 0",
             .size = sizeof(leaky_re_lu_params),
             .fields = leaky_re_lu_fields},
    .build = leaky_re_lu_build,
    .mask = DLT_MASK_PASS,
    .examples = leaky_re_lu_examples,
};
