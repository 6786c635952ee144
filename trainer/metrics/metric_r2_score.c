/* trainer/metrics/metric_r2_score.c: coefficient of determination of each output,
 *   1 - sum w (t - p)^2 / (sum w t^2 - (sum w t)^2 / sum w), 0 where it is infinite;
 * adjusted for the number of regressors p: 1 - (1 - r)(n - 1) / (n - p - 1), n elements seen (samples times
 * outputs, as in Keras); the plain score where n <= p + 1. */
#include "trainer/kinds.h"

typedef enum aggregation { AGGREGATE_UNIFORM, AGGREGATE_BY_VARIANCE, AGGREGATE_NONE } aggregation;

typedef struct r2_params {
    int class_aggregation;
    int64_t num_regressors;
} r2_params;

static const char *const aggregations[] = {"uniform_average", "variance_weighted_average", "null", NULL};
static const dlt_field fields[] = {
    DLT_ENUM(r2_params, class_aggregation, aggregations, uniform_average,
             "how the scores of several outputs become one; null: all of them"),
    DLT_INT(r2_params, num_regressors, 0, INT32_MAX, 0,
            "number of independent variables, for the adjusted score"),
    {0},
};

static void update(dlt_builder *b, const void *params, const dlt_outcome *o)
{
    (void)params;
    dlt_value *t = o->y_true, *p = o->y_pred;
    const dlt_shape shape = dlt_shape_of(p);
    if (dlt_builder_failed(b)) {
        return;
    }
    if (shape.rank != 2) {
        char text[160];
        dlt_reject(b, "R2Score needs outputs (N, outputs), got %s",
                   dlt_shape_text_batch(&shape, text, sizeof text));
        return;
    }
    dlt_value *w = dlt_weight_aligned(b, o->weight, shape),
              *rows = dlt_weight_aligned(b, dlt_outcome_rows(b, o), shape);
    w = w == NULL ? rows : rows == NULL ? w : dlt_mul(b, w, rows);
    w = dlt_broadcast_to(b, w != NULL ? w : dlt_constant(b, 1), shape);
    dlt_value *seen = o->rows != NULL ? dlt_mul_c(b, dlt_cast(b, o->rows, DLT_F64), (double)shape.dim[1])
                                      : dlt_constant_typed(b, DLT_F64, (double)(shape.dim[0] * shape.dim[1]));
    /* the score is a difference of large sums: they are taken in double */
    w = dlt_cast(b, w, DLT_F64);
    t = dlt_cast(b, t, DLT_F64);
    dlt_value *e = dlt_square(b, dlt_sub(b, t, dlt_cast(b, p, DLT_F64)));
    dlt_metric_sum(b, "sum", dlt_sum(b, dlt_mul(b, w, t), 1, false));
    dlt_metric_sum(b, "squared_sum", dlt_sum(b, dlt_mul(b, w, dlt_square(b, t)), 1, false));
    dlt_metric_sum(b, "residual", dlt_sum(b, dlt_mul(b, w, e), 1, false));
    dlt_metric_sum(b, "count", dlt_sum(b, w, 1, false));
    dlt_metric_sum(b, "num_samples", seen);
}

static double adjusted(const r2_params *p, double score, double n)
{
    const double left = n - (double)p->num_regressors - 1;
    return p->num_regressors == 0 || left <= 0 ? score : 1 - (1 - score) * (n - 1) / left;
}

static int result(const void *params, const double *const *sums, const int64_t *counts, double *out, int room)
{
    const r2_params *p = params;
    const int outputs = (int)counts[0];
    double plain = 0, weighted = 0, variance = 0;
    for (int i = 0; i < outputs; i++) {
        const double total = sums[1][i] - sums[0][i] * (sums[0][i] / sums[3][i]);
        double score = 1 - sums[2][i] / total;
        score = isinf(score) ? 0 : score;
        plain += score / outputs;
        weighted += total * score;
        variance += total;
        if (p->class_aggregation == AGGREGATE_NONE && i < room) {
            out[i] = adjusted(p, score, sums[4][0]);
        }
    }
    if (p->class_aggregation == AGGREGATE_NONE) {
        return outputs;
    }
    if (room > 0) {
        out[0] =
            adjusted(p, p->class_aggregation == AGGREGATE_UNIFORM ? plain : weighted / variance, sums[4][0]);
    }
    return 1;
}

const dlt_metric_desc dlt_metric_r2_score = {
    .kind = {.name = "R2Score",
             .doc = "share of the targets' variance that the predictions explain",
             .size = sizeof(r2_params),
             .fields = fields},
    .direction = DLT_LARGER_IS_BETTER,
    .fits = DLT_FITS_NUMBERS,
    .update = update,
    .result = result,
    .default_name = "r2_score",
};
