/* trainer/metrics/metric_confusion_counts.c: the four counts of a table of confusion, as metrics. They have
 * no better direction. */
#include "trainer/metrics/confusion.h"

static const dlt_field fields[] = {DLT_THRESHOLD_FIELD, {0}};

static int result(const void *params, const double *const *sums, const int64_t *counts, double *out, int room)
{
    (void)params;
    for (int i = 0; i < (int)counts[0] && i < room; i++) {
        out[i] = sums[0][i];
    }
    return (int)counts[0];
}

#define COUNT(Class, id, BIT, doc_)                                                                          \
    static void id##_update(dlt_builder *b, const void *params, const dlt_outcome *o)                        \
    {                                                                                                        \
        dlt_confusion_update(b, params, o, BIT);                                                             \
    }                                                                                                        \
    const dlt_metric_desc dlt_metric_##id = {                                                                \
        .kind = {.name = #Class, .doc = doc_, .size = sizeof(dlt_confusion_params), .fields = fields},       \
        .fits = DLT_FITS_PROBABILITIES,                                                                      \
        .update = id##_update,                                                                               \
        .result = result,                                                                                    \
    };
COUNT(TruePositives, true_positives, DLT_TRUE_POSITIVES, "number of positive elements said to be positive")
COUNT(FalsePositives, false_positives, DLT_FALSE_POSITIVES, "number of negative elements said to be positive")
COUNT(TrueNegatives, true_negatives, DLT_TRUE_NEGATIVES, "number of negative elements said to be negative")
COUNT(FalseNegatives, false_negatives, DLT_FALSE_NEGATIVES, "number of positive elements said to be negative")
