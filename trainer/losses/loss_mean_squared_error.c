/* trainer/losses/loss_mean_squared_error.c: mean over the last axis of (t - p)^2. */
#include "trainer/kinds.h"

static const dlt_field fields[] = {DLT_LOSS_FIELDS, {0}};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    (void)params;
    (void)mask;
    dlt_value *e = dlt_sub(b, y_true, y_pred);
    return dlt_mean(b, dlt_square(b, e), dlt_axis_bit(e, -1), false);
}

const dlt_loss_desc dlt_loss_mean_squared_error = {
    .kind = {.name = "MeanSquaredError",
             .doc = "mean of the squared differences",
             .size = sizeof(dlt_loss_params),
             .fields = fields,
             .aliases = "mse MSE"},
    .build = build,
    .fits = DLT_FITS_NUMBERS,
    .from_logits = -1,
};
