/* trainer/losses/loss_mean_absolute_percentage_error.c: absolute error in percent of the target.
 *   100 times the mean over the last axis of |(t - p) / max(|t|, EPS)| */
#include "trainer/kinds.h"

static const dlt_field fields[] = {DLT_LOSS_FIELDS, {0}};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    (void)params;
    (void)mask;
    dlt_value *size = dlt_max_c(b, dlt_abs(b, y_true), DLT_EPSILON);
    dlt_value *e = dlt_abs(b, dlt_div(b, dlt_sub(b, y_true, y_pred), size));
    return dlt_mul_c(b, dlt_mean(b, e, dlt_axis_bit(e, -1), false), 100);
}

const dlt_loss_desc dlt_loss_mean_absolute_percentage_error = {
    .kind = {.name = "MeanAbsolutePercentageError",
             .doc = "mean of the absolute differences in percent of the target",
             .size = sizeof(dlt_loss_params),
             .fields = fields,
             .aliases = "mape MAPE"},
    .build = build,
    .fits = DLT_FITS_NUMBERS,
    .from_logits = -1,
};
