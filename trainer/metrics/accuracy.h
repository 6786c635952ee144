/* trainer/metrics/accuracy.h: the accuracies that the word `accuracy` may stand for. */
#ifndef DLT_TRAINER_METRICS_ACCURACY_H
#define DLT_TRAINER_METRICS_ACCURACY_H

#include "trainer/kinds.h"

extern const dlt_metric_desc dlt_metric_binary_accuracy, dlt_metric_categorical_accuracy,
    dlt_metric_sparse_categorical_accuracy;

/** 1 where fewer than k predictions are larger than that of the class, which ties with the k-th so count as
 * hits. */
dlt_value *dlt_in_top_k(dlt_builder *b, dlt_value *classes, dlt_value *y_pred, int64_t k);

#endif
