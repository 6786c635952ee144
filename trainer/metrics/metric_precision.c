/* trainer/metrics/metric_precision.c: TP / (TP + FP): how much of what was said to be positive is. */
#include "trainer/metrics/confusion.h"

static const dlt_field fields[] = {DLT_THRESHOLD_FIELD, DLT_TOP_K_CLASS_FIELDS, {0}};

static void update(dlt_builder *b, const void *params, const dlt_outcome *o)
{
    dlt_confusion_update(b, params, o, DLT_TRUE_POSITIVES | DLT_FALSE_POSITIVES);
}

const dlt_metric_desc dlt_metric_precision = {
    .kind = {.name = "Precision",
             .doc = "share of what is said to be positive that is",
             .size = sizeof(dlt_confusion_params),
             .fields = fields},
    .direction = DLT_LARGER_IS_BETTER,
    .fits = DLT_FITS_PROBABILITIES,
    .update = update,
    .result = dlt_confusion_ratio,
};
