/* trainer/metrics/confusion.c: counts of true and false positives and negatives (keras-training.md 5). */
#include "trainer/metrics/confusion.h"

/* Predictions that are not among the k largest of their row become this; it is also the threshold then. */
#define FAR_BELOW -1e10

static dlt_value *keep_top_k(dlt_builder *b, dlt_value *p, int64_t k)
{
    const dlt_shape shape = dlt_shape_of(p);
    const int64_t classes = shape.rank > 0 ? shape.dim[shape.rank - 1] : 1;
    if (k >= classes) {
        return p;
    }
    dlt_value *at = NULL;
    dlt_top_k(b, p, k, &at);
    dlt_value *among = dlt_one_hot(b, at, classes); /* (..., k, C) */
    among = dlt_sum(b, among, dlt_axis_bit(among, -2), false);
    return dlt_select(b, among, p, dlt_constant(b, FAR_BELOW));
}

dlt_value *dlt_confusion_weight(dlt_builder *b, const dlt_outcome *outcome, dlt_shape shape)
{
    dlt_value *w = dlt_weight_aligned(b, outcome->weight, shape);
    dlt_value *rows = dlt_weight_aligned(b, dlt_outcome_rows(b, outcome), shape);
    return w == NULL ? rows : rows == NULL ? w : dlt_mul(b, w, rows);
}

/* x as a column (N, 1). */
static dlt_value *column(dlt_builder *b, dlt_value *x)
{
    const dlt_shape shape = dlt_shape_of(x);
    return dlt_reshape(b, x, DLT_SHAPE(dlt_shape_count(&shape), 1));
}

void dlt_confusion_update(dlt_builder *b, const dlt_confusion_params *params, const dlt_outcome *outcome,
                          unsigned which)
{
    static const char *const names[] = {"true_positives", "false_positives", "true_negatives",
                                        "false_negatives"};
    const double usual = params->top_k.set ? FAR_BELOW : 0.5;
    const size_t count = params->thresholds.count > 0 ? params->thresholds.count : 1;
    const double *at = params->thresholds.count > 0 ? params->thresholds.at : &usual;
    dlt_value *p = outcome->y_pred, *t = outcome->y_true;
    if (dlt_builder_failed(b)) {
        return;
    }
    const int last = p->shape.rank - 1;
    if (params->top_k.set) {
        p = keep_top_k(b, p, params->top_k.value);
    }
    if (params->class_id.set) {
        if (last < 1 || params->class_id.value >= p->shape.dim[last]) {
            dlt_reject(b, "class_id %lld needs outputs of at least %lld classes, got %lld",
                       (long long)params->class_id.value, (long long)params->class_id.value + 1,
                       last < 1 ? 1LL : (long long)p->shape.dim[last]);
            return;
        }
        p = dlt_slice(b, p, last, params->class_id.value, 1);
        t = dlt_slice(b, t, last, params->class_id.value, 1);
    }
    const dlt_shape shape = dlt_shape_of(p);
    dlt_value *w = dlt_confusion_weight(b, outcome, shape);
    dlt_value *negative = dlt_not(b, t), *positive = dlt_not(b, negative);
    if (w != NULL) {
        positive = dlt_mul(b, positive, w);
        negative = dlt_mul(b, negative, w);
    }
    dlt_value *thresholds = dlt_constant_array(b, dlt_real(b), DLT_SHAPE((int64_t)count), at);
    dlt_value *said = dlt_less(b, thresholds, column(b, p)); /* (N, thresholds) */
    dlt_value *not_said = (which & (DLT_TRUE_NEGATIVES | DLT_FALSE_NEGATIVES)) != 0 ? dlt_not(b, said) : NULL;
    for (unsigned i = 0; i < 4; i++) {
        if ((which >> i & 1) != 0) {
            dlt_value *truth = i == 0 || i == 3 ? positive : negative; /* TP FP TN FN */
            dlt_value *claim = i < 2 ? said : not_said;
            dlt_metric_sum(b, names[i], dlt_sum(b, dlt_mul(b, claim, column(b, truth)), 1, false));
        }
    }
}

int dlt_confusion_ratio(const void *params, const double *const *sums, const int64_t *counts, double *out,
                        int room)
{
    (void)params;
    for (int i = 0; i < (int)counts[0] && i < room; i++) {
        const double all = sums[0][i] + sums[1][i];
        out[i] = all != 0 ? sums[0][i] / all : 0;
    }
    return (int)counts[0];
}
