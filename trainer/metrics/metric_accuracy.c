/* trainer/metrics/metric_accuracy.c: how often predictions equal targets. As a bare word, `accuracy` and
 * `acc` stand for the accuracy that fits the shapes (Keras' compile). */
#include "trainer/metrics/accuracy.h"

static void update(dlt_builder *b, const void *params, const dlt_outcome *o)
{
    (void)params;
    dlt_metric_mean(b, o, dlt_equal(b, o->y_true, o->y_pred), NULL);
}

static const dlt_metric_desc *resolve(const dlt_shape *y_true, const dlt_shape *y_pred)
{
    bool binary, sparse;
    dlt_resolve_shapes(y_true, y_pred, &binary, &sparse);
    return binary   ? &dlt_metric_binary_accuracy
           : sparse ? &dlt_metric_sparse_categorical_accuracy
                    : &dlt_metric_categorical_accuracy;
}

const dlt_metric_desc dlt_metric_accuracy = {
    .kind = {.name = "Accuracy",
             .doc = "how often predictions equal targets; the bare word: the accuracy that fits the outputs",
             .aliases = "acc"},
    .direction = DLT_LARGER_IS_BETTER,
    .fits = DLT_FITS_NUMBERS,
    .update = update,
    .result = dlt_metric_mean_result,
    .default_name = "accuracy",
    .resolve = resolve,
};
