/* layers/elu_layer.c: x, or alpha (e^x - 1) below 0. Shape as the input. */
#include "layers/activations.h"

typedef struct elu_layer_params {
    double alpha;
} elu_layer_params;

static const dlt_field elu_layer_fields[] = {
    DLT_FLOAT(elu_layer_params, alpha, -INFINITY, INFINITY, 1, "what it falls to below 0, negated"),
    {0},
};

static dlt_value *elu_layer_build(dlt_builder *b, const void *params, dlt_value *in)
{
    return dlt_elu(b, dlt_as_real(b, in), ((const elu_layer_params *)params)->alpha);
}

static const char *const elu_layer_examples[] = {"{input: [2, 3], layer: ELU}",
                                                 "{input: [2, 3], layer: {ELU: {alpha: 0.5}}}", NULL};

const dlt_layer_desc dlt_layer_elu_layer = {
    .kind = {.name = "ELU",
             .doc = "x, or an exponential below 0",
             .size = sizeof(elu_layer_params),
             .fields = elu_layer_fields},
    .build = elu_layer_build,
    .mask = DLT_MASK_PASS,
    .examples = elu_layer_examples,
};
