/* layers/re_lu.c: the activation relu with its parameters as a layer. Shape as the input. */
#include "layers/activations.h"

static const dlt_field re_lu_fields[] = {DLT_RELU_FIELDS, {0}};

static dlt_value *re_lu_build(dlt_builder *b, const void *params, dlt_value *in)
{
    return dlt_relu_of(b, dlt_as_real(b, in), params);
}

static const char *const re_lu_examples[] = {
    "{input: [2, 3], layer: ReLU}",
    "{input: [4, 5], layer: {ReLU: {max_value: 1.5, negative_slope: 0.2, threshold: 0.4}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_re_lu = {
    .kind = {.name = "ReLU",
             .doc = "max(x, 0) as a layer",
             .size = sizeof(dlt_relu_params),
             .fields = re_lu_fields},
    .build = re_lu_build,
    .mask = DLT_MASK_PASS,
    .examples = re_lu_examples,
};
