/* layers/activity_regularization.c: y = x, and adds (l1 sum |x| + l2 sum x^2) / N to the loss. */
#include "layers/layer.h"

typedef struct activity_regularization_params {
    double l1, l2;
} activity_regularization_params;

static const dlt_field activity_regularization_fields[] = {
    DLT_FLOAT(activity_regularization_params, l1, 0, INFINITY, 0, "weight of the sum of magnitudes"),
    DLT_FLOAT(activity_regularization_params, l2, 0, INFINITY, 0, "weight of the sum of squares"),
    {0},
};

static dlt_value *activity_regularization_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const activity_regularization_params *p = params;
    dlt_value *x = dlt_as_real(b, in);
    const double batch = (double)dlt_batch_size(b);
    if (dlt_builder_mode(b) == DLT_MODE_PREDICT) {
        return in;
    }
    if (p->l1 != 0) {
        dlt_penalise_by(b, dlt_div_c(b, dlt_mul_c(b, dlt_sum_all(b, dlt_abs(b, x)), p->l1), batch));
    }
    if (p->l2 != 0) {
        dlt_penalise_by(b, dlt_div_c(b, dlt_mul_c(b, dlt_sum_all(b, dlt_square(b, x)), p->l2), batch));
    }
    return in;
}

static const char *const activity_regularization_examples[] = {
    "{input: [2, 3], layer: {ActivityRegularization: {l1: 0.1, l2: 0.2}}}",
    "{input: [2, 3], before: [{Dense: {units: 2}}], layer: {ActivityRegularization: {l2: 0.01}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_activity_regularization = {
    .kind = {.name = "ActivityRegularization",
             .doc = "a penalty on what passes through",
             .size = sizeof(activity_regularization_params),
             .fields = activity_regularization_fields},
    .build = activity_regularization_build,
    .mask = DLT_MASK_PASS,
    .examples = activity_regularization_examples,
};
