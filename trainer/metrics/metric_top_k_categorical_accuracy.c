/* trainer/metrics/metric_top_k_categorical_accuracy.c: how often the right class is among the k likeliest;
 * classes as likely as the k-th count as hits. Targets one-hot, or class numbers. */
#include "trainer/metrics/accuracy.h"

typedef struct top_k_params {
    int64_t k;
} top_k_params;

static const dlt_field fields[] = {
    DLT_INT(top_k_params, k, 1, 1 << 24, 5, "how many guesses are allowed"),
    {0},
};

dlt_value *dlt_in_top_k(dlt_builder *b, dlt_value *classes, dlt_value *y_pred, int64_t k)
{
    const dlt_shape shape = dlt_shape_of(y_pred);
    if (dlt_builder_failed(b) || shape.rank == 0) {
        return NULL;
    }
    dlt_value *is_class = dlt_one_hot(b, classes, shape.dim[shape.rank - 1]);
    const uint32_t last = dlt_axis_bit(y_pred, -1);
    /* a select, not a product: other classes may be infinite */
    dlt_value *own = dlt_sum(b, dlt_select(b, is_class, y_pred, dlt_constant(b, 0)), last, true);
    dlt_value *larger = dlt_sum(b, dlt_less(b, own, y_pred), last, false);
    /* a class number out of range is never a hit */
    dlt_value *exists = dlt_sum(b, is_class, last, false);
    return dlt_mul(b, exists, dlt_less(b, larger, dlt_constant(b, (double)k)));
}

static void one_hot_update(dlt_builder *b, const void *params, const dlt_outcome *o)
{
    const top_k_params *p = params;
    dlt_metric_mean(b, o, dlt_in_top_k(b, dlt_argmax(b, o->y_true), o->y_pred, p->k), NULL);
}

static void sparse_update(dlt_builder *b, const void *params, const dlt_outcome *o)
{
    const top_k_params *p = params;
    dlt_metric_mean(b, o, dlt_in_top_k(b, o->y_true, o->y_pred, p->k), NULL);
}

static const top_k_params defaults = {.k = 5};
const dlt_metric_desc dlt_metric_top_k_categorical_accuracy = {
    .kind = {.name = "TopKCategoricalAccuracy",
             .doc = "how often the right class is among the k likeliest; one-hot targets",
             .size = sizeof(top_k_params),
             .fields = fields},
    .direction = DLT_LARGER_IS_BETTER,
    .fits = DLT_FITS_CLASSES,
    .update = one_hot_update,
    .result = dlt_metric_mean_result,
    .default_name = "top_k_categorical_accuracy",
    .defaults = &defaults,
};
const dlt_metric_desc dlt_metric_sparse_top_k_categorical_accuracy = {
    .kind = {.name = "SparseTopKCategoricalAccuracy",
             .doc = "how often the right class is among the k likeliest; class numbers",
             .size = sizeof(top_k_params),
             .fields = fields},
    .direction = DLT_LARGER_IS_BETTER,
    .form = DLT_TARGET_CLASSES,
    .fits = DLT_FITS_CLASSES,
    .update = sparse_update,
    .result = dlt_metric_mean_result,
    .default_name = "sparse_top_k_categorical_accuracy",
    .defaults = &defaults,
};
