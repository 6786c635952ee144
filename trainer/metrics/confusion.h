/* trainer/metrics/confusion.h: what the metrics that count true and false positives and negatives share. All
 * elements of a batch are taken as one list; an element is said to be positive where its prediction is above
 * a threshold. Masks do not count here, as in Keras. */
#ifndef DLT_TRAINER_METRICS_CONFUSION_H
#define DLT_TRAINER_METRICS_CONFUSION_H

#include "trainer/kinds.h"

typedef struct dlt_confusion_params {
    dlt_floats thresholds; /* empty: 0.5 */
    dlt_opt_int top_k, class_id;
} dlt_confusion_params;

#define DLT_THRESHOLD_FIELD                                                                                  \
    DLT_FLOATS(dlt_confusion_params, thresholds, 0, 1, "null",                                               \
               "predictions above it mean 1; a list gives a value for each; default 0.5")
#define DLT_TOP_K_CLASS_FIELDS                                                                               \
    DLT_OPT_INT(dlt_confusion_params, top_k, 1, 1 << 24,                                                     \
                "only the k largest predictions of a sample can mean 1"),                                    \
        DLT_OPT_INT(dlt_confusion_params, class_id, 0, 1 << 24, "look at this class only")

/** Which counts are wanted. */
enum { DLT_TRUE_POSITIVES = 1, DLT_FALSE_POSITIVES = 2, DLT_TRUE_NEGATIVES = 4, DLT_FALSE_NEGATIVES = 8 };
/** Sums of the metric, one for each bit of `which` from the lowest, of shape (thresholds). */
void dlt_confusion_update(dlt_builder *b, const dlt_confusion_params *params, const dlt_outcome *outcome,
                          unsigned which);
/** Ratio sums[0] / (sums[0] + sums[1]) for each threshold, 0 where nothing was counted. */
int dlt_confusion_ratio(const void *params, const double *const *sums, const int64_t *counts, double *out,
                        int room);
/** Weight of each element of y_pred, padding included; NULL: 1 each. */
dlt_value *dlt_confusion_weight(dlt_builder *b, const dlt_outcome *outcome, dlt_shape shape);

#endif
