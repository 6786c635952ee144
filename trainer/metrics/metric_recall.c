/* trainer/metrics/metric_recall.c: TP / (TP + FN): how much of what is positive was said to be. */
#include "trainer/metrics/confusion.h"

static const dlt_field fields[] = {DLT_THRESHOLD_FIELD, DLT_TOP_K_CLASS_FIELDS, {0}};

static void update(dlt_builder *b, const void *params, const dlt_outcome *o)
{
    dlt_confusion_update(b, params, o, DLT_TRUE_POSITIVES | DLT_FALSE_NEGATIVES);
}

const dlt_metric_desc dlt_metric_recall = {
    .kind = {.name = "Recall",
             .doc = "share of what is positive that is said to be",
             .size = sizeof(dlt_confusion_params),
             .fields = fields},
    .direction = DLT_LARGER_IS_BETTER,
    .fits = DLT_FITS_PROBABILITIES,
    .update = update,
    .result = dlt_confusion_ratio,
};
