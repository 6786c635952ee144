/* trainer/metrics/metric_categorical_accuracy.c: how often the largest prediction is that of the right class;
 * of equals the first counts. Targets one-hot, or class numbers. */
#include "trainer/metrics/accuracy.h"

static void one_hot_update(dlt_builder *b, const void *params, const dlt_outcome *o)
{
    (void)params;
    dlt_value *hit = dlt_equal(b, dlt_argmax(b, o->y_true), dlt_argmax(b, o->y_pred));
    dlt_metric_mean(b, o, dlt_cast(b, hit, dlt_real(b)), NULL);
}

static void sparse_update(dlt_builder *b, const void *params, const dlt_outcome *o)
{
    (void)params;
    dlt_value *hit = dlt_equal(b, o->y_true, dlt_argmax(b, o->y_pred));
    dlt_metric_mean(b, o, dlt_cast(b, hit, dlt_real(b)), NULL);
}

const dlt_metric_desc dlt_metric_categorical_accuracy = {
    .kind = {.name = "CategoricalAccuracy",
             .doc = "how often the likeliest class is the right one; one-hot targets"},
    .direction = DLT_LARGER_IS_BETTER,
    .fits = DLT_FITS_CLASSES,
    .update = one_hot_update,
    .result = dlt_metric_mean_result,
    .default_name = "categorical_accuracy",
};
const dlt_metric_desc dlt_metric_sparse_categorical_accuracy = {
    .kind = {.name = "SparseCategoricalAccuracy",
             .doc = "how often the likeliest class is the right one; class numbers"},
    .direction = DLT_LARGER_IS_BETTER,
    .form = DLT_TARGET_CLASSES,
    .fits = DLT_FITS_CLASSES,
    .update = sparse_update,
    .result = dlt_metric_mean_result,
    .default_name = "sparse_categorical_accuracy",
};
