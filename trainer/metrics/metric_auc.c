/* trainer/metrics/metric_auc.c: area under the ROC or precision-recall curve, from counts at a list of
 * thresholds -EPS, 1 / (n - 1), ..., (n - 2) / (n - 1), 1 + EPS      or the user's between the first and the
 * last. A prediction p falls into bucket max(ceil(p (n - 1)) - 1, 0), the last threshold below it. Sums of
 * positives and negatives by bucket are kept; what lies above a threshold is the sum of the buckets from
 * there on (keras-training.md 5). */
#include "trainer/metrics/confusion.h"

#include <stdlib.h>

typedef enum curve_kind { CURVE_ROC, CURVE_PR, CURVE_PRGAIN } curve_kind;
typedef enum summation { SUM_INTERPOLATION, SUM_MAJORING, SUM_MINORING } summation;

typedef struct auc_params {
    int64_t num_thresholds;
    int curve, summation_method;
    dlt_floats thresholds;
    bool multi_label;
    dlt_opt_int num_labels;
    dlt_floats label_weights;
    bool from_logits;
} auc_params;

static const char *const curves[] = {"ROC", "PR", "PRGAIN", NULL};
static const char *const summations[] = {"interpolation", "majoring", "minoring", NULL};
static const dlt_field fields[] = {
    DLT_INT(auc_params, num_thresholds, 2, 1 << 20, 200, "points of the curve"),
    DLT_ENUM(auc_params, curve, curves, ROC,
             "true over false positive rate, or precision over recall, or their gains"),
    DLT_ENUM(auc_params, summation_method, summations, interpolation,
             "how the area between two points is taken"),
    DLT_FLOATS(auc_params, thresholds, 0, 1, "null", "thresholds to use in place of evenly spaced ones"),
    DLT_BOOL(auc_params, multi_label, false, "a curve for each output, and the mean of their areas"),
    DLT_OPT_INT(auc_params, num_labels, 1, 1 << 20, "number of outputs, with multi_label"),
    DLT_FLOATS(auc_params, label_weights, 0, HUGE_VAL, "null", "weight of each output"),
    DLT_BOOL(auc_params, from_logits, false, "predictions are logits, before any sigmoid"),
    {0},
};

static void check(const dlt_item *item, dlt_diag *diag)
{
    const auc_params *p = item->params;
    if (p->num_labels.set && !p->multi_label) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "num_labels"),
                 "AUC: num_labels is for multi_label: true only");
    }
    if (p->num_labels.set && p->label_weights.count > 0 &&
        p->label_weights.count != (size_t)p->num_labels.value) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "label_weights"),
                 "AUC: %zu label_weights for %lld labels", p->label_weights.count,
                 (long long)p->num_labels.value);
    }
}

static int64_t threshold_count(const auc_params *p)
{
    return p->thresholds.count > 0 ? (int64_t)p->thresholds.count + 2 : p->num_thresholds;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The user's thresholds in order, with the two ends; NULL when memory is refused. */
static double *sorted_thresholds(dlt_builder *b, const auc_params *p)
{
    const size_t n = p->thresholds.count;
    double *at = dlt_arena_alloc(dlt_builder_graph(b)->arena, n + 2, sizeof *at);
    if (at == NULL) {
        dlt_reject_at(b, DLT_E_MEMORY, dlt_scope_pos(b), "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        at[i + 1] = p->thresholds.at[i];
    }
    qsort(at + 1, n, sizeof *at, by_size);
    at[0] = -DLT_EPSILON;
    at[n + 1] = 1 + DLT_EPSILON;
    return at;
}

/* Bucket of each prediction, real. */
static dlt_value *buckets(dlt_builder *b, const auc_params *params, dlt_value *p)
{
    dlt_value *above;
    if (params->thresholds.count > 0) {
        const double *at = sorted_thresholds(b, params);
        if (at == NULL) {
            return NULL;
        }
        dlt_value *thresholds = dlt_constant_array(b, dlt_real(b), DLT_SHAPE(threshold_count(params)), at);
        dlt_value *is_above = dlt_less(b, thresholds, dlt_expand(b, p, -1));
        above = dlt_sum(b, is_above, dlt_axis_bit(is_above, -1), false);
    } else {
        dlt_value *scaled = dlt_mul_c(b, dlt_clip(b, p, 0, 1), (double)(params->num_thresholds - 1));
        above = dlt_elementwise(b, DLT_EW_CEIL, scaled, NULL, NULL);
    }
    return dlt_relu(b, dlt_sub_c(b, above, 1));
}

static void update(dlt_builder *b, const void *params, const dlt_outcome *o)
{
    const auc_params *a = params;
    const int64_t n = threshold_count(a);
    dlt_value *p = a->from_logits ? dlt_sigmoid(b, o->y_pred) : o->y_pred;
    const dlt_shape shape = dlt_shape_of(p);
    if (dlt_builder_failed(b)) {
        return;
    }
    const int64_t labels = shape.rank > 0 ? shape.dim[shape.rank - 1] : 1;
    if (a->multi_label && (shape.rank != 2 || (a->num_labels.set && a->num_labels.value != labels))) {
        char text[160];
        dlt_reject(b, "AUC with multi_label needs outputs (N, labels)%s, got %s",
                   a->num_labels.set ? " of num_labels" : "",
                   dlt_shape_text_batch(&shape, text, sizeof text));
        return;
    }
    if (a->label_weights.count > 0 && (int64_t)a->label_weights.count != labels) {
        dlt_reject(b, "AUC has %zu label_weights for %lld outputs", a->label_weights.count,
                   (long long)labels);
        return;
    }
    dlt_value *ids = dlt_cast(b, buckets(b, a, p), DLT_I32);
    if (a->multi_label) {
        ids = dlt_add(b, ids, dlt_mul_c(b, dlt_index(b, DLT_I32, shape, 1), (double)n));
    }
    dlt_value *w = dlt_confusion_weight(b, o, shape);
    if (a->label_weights.count > 0 && !a->multi_label) {
        dlt_value *of_label = dlt_constant_array(b, dlt_real(b), DLT_SHAPE(labels), a->label_weights.at);
        w = w != NULL ? dlt_mul(b, w, of_label) : of_label;
    }
    dlt_value *negative = dlt_not(b, o->y_true), *positive = dlt_not(b, negative);
    if (w != NULL) {
        positive = dlt_mul(b, positive, w);
        negative = dlt_mul(b, negative, w);
    }
    const int64_t bins = a->multi_label ? labels * n : n;
    dlt_metric_sum(b, "positives", dlt_bincount(b, ids, positive, bins));
    dlt_metric_sum(b, "negatives", dlt_bincount(b, ids, negative, bins));
}

static double ratio(double x, double y)
{
    return y != 0 ? x / y : 0;
}

/* Counts at one threshold. */
typedef struct counts_at {
    double tp, fp, tn, fn;
} counts_at;

static void point(curve_kind curve, const counts_at *c, double *x, double *y)
{
    const double recall = ratio(c->tp, c->tp + c->fn);
    if (curve == CURVE_ROC) {
        *x = ratio(c->fp, c->fp + c->tn);
        *y = recall;
    } else if (curve == CURVE_PR) {
        *x = recall;
        *y = ratio(c->tp, c->tp + c->fp);
    } else {
        const double scale = ratio(c->tp + c->fn, c->tn + c->fp);
        const double recall_gain = 1 - scale * ratio(c->fn, c->tp);
        *x = c->tp == 0 || recall_gain < 0 ? 0 : recall_gain;
        *y = c->tp == 0 ? 1 : 1 - scale * ratio(c->fp, c->tp);
    }
}

/* Area between two thresholds of a precision-recall curve, interpolated. Source: Davis & Goadrich, ICML 2006.
 */
static double pr_step(const counts_at *low, const counts_at *high)
{
    const double dtp = low->tp - high->tp, p_low = low->tp + low->fp, p_high = high->tp + high->fp;
    const double slope = ratio(dtp, p_low > p_high ? p_low - p_high : 0);
    const double intercept = high->tp - slope * p_high;
    const double grown = p_low > 0 && p_high > 0 ? p_low / p_high : 1;
    const double all = high->tp + high->fn;
    return ratio(slope * (dtp + intercept * log(grown)), all > 0 ? all : 0);
}

static double area_step(const auc_params *p, const counts_at *low, const counts_at *high)
{
    const curve_kind curve = (curve_kind)p->curve;
    const summation method = (summation)p->summation_method;
    if (curve == CURVE_PR && method == SUM_INTERPOLATION) {
        return pr_step(low, high);
    }
    double x_low, y_low, x_high, y_high;
    point(curve, low, &x_low, &y_low);
    point(curve, high, &x_high, &y_high);
    const double height = method == SUM_INTERPOLATION                    ? (y_low + y_high) / 2
                          : (method == SUM_MAJORING) == (y_low > y_high) ? y_low
                                                                         : y_high;
    return (x_low - x_high) * height;
}

/* The area for one label, from its sums by bucket. */
static double area(const auc_params *p, const double *positives, const double *negatives, int64_t n)
{
    double all_positive = 0, all_negative = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        all_positive += positives[i];
        all_negative += negatives[i];
    }
    counts_at high = {0}, low;
    for (int64_t i = n - 1; i >= 0; i--) {
        low.tp = high.tp + positives[i];
        low.fp = high.fp + negatives[i];
        low.tn = all_negative - low.fp;
        low.fn = all_positive - low.tp;
        if (i < n - 1) {
            sum += area_step(p, &low, &high);
        }
        high = low;
    }
    return sum;
}

static int result(const void *params, const double *const *sums, const int64_t *counts, double *out, int room)
{
    const auc_params *p = params;
    const int64_t n = threshold_count(p), labels = counts[0] / n;
    double total = 0, weights = 0;
    for (int64_t i = 0; i < labels; i++) {
        const double weight = p->multi_label && p->label_weights.count > 0 ? p->label_weights.at[i] : 1;
        total += weight * area(p, sums[0] + i * n, sums[1] + i * n, n);
        weights += weight;
    }
    if (room > 0) {
        out[0] = ratio(total, weights);
    }
    return 1;
}

const dlt_metric_desc dlt_metric_auc = {
    .kind = {.name = "AUC",
             .doc = "area under the ROC or the precision-recall curve",
             .size = sizeof(auc_params),
             .fields = fields,
             .check = check},
    .direction = DLT_LARGER_IS_BETTER,
    .fits = DLT_FITS_PROBABILITIES,
    .update = update,
    .result = result,
};
