/* trainer/metrics/metric_root_mean_squared_error.c: root of the mean of (t - p)^2 over everything. */
#include "trainer/kinds.h"

static void update(dlt_builder *b, const void *params, const dlt_outcome *o)
{
    (void)params;
    dlt_metric_mean(b, o, dlt_square(b, dlt_sub(b, o->y_pred, o->y_true)), NULL);
}

static int result(const void *params, const double *const *sums, const int64_t *counts, double *out, int room)
{
    const int values = dlt_metric_mean_result(params, sums, counts, out, room);
    if (room > 0) {
        out[0] = sqrt(out[0]);
    }
    return values;
}

const dlt_metric_desc dlt_metric_root_mean_squared_error = {
    .kind = {.name = "RootMeanSquaredError", .doc = "root of the mean of the squared differences"},
    .direction = DLT_SMALLER_IS_BETTER,
    .fits = DLT_FITS_NUMBERS,
    .update = update,
    .result = result,
    .default_name = "root_mean_squared_error",
};
