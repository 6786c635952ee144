/* trainer/metrics/metric_binary_accuracy.c: how often (p > threshold) equals the target, element by element.
 */
#include "trainer/metrics/accuracy.h"

typedef struct binary_accuracy_params {
    double threshold;
} binary_accuracy_params;

static const dlt_field fields[] = {
    DLT_FLOAT(binary_accuracy_params, threshold, -HUGE_VAL, HUGE_VAL, 0.5, "predictions above it mean 1"),
    {0},
};

static void update(dlt_builder *b, const void *params, const dlt_outcome *o)
{
    const binary_accuracy_params *p = params;
    dlt_value *said = dlt_less(b, dlt_constant(b, p->threshold), o->y_pred);
    dlt_metric_mean(b, o, dlt_equal(b, o->y_true, said), NULL);
}

static const binary_accuracy_params defaults = {.threshold = 0.5};
const dlt_metric_desc dlt_metric_binary_accuracy = {
    .kind = {.name = "BinaryAccuracy",
             .doc = "how often predictions are on the target's side of a threshold",
             .size = sizeof(binary_accuracy_params),
             .fields = fields},
    .direction = DLT_LARGER_IS_BETTER,
    .fits = DLT_FITS_BINARY,
    .update = update,
    .result = dlt_metric_mean_result,
    .default_name = "binary_accuracy",
    .defaults = &defaults,
};
