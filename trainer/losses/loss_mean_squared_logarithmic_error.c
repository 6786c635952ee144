/* trainer/losses/loss_mean_squared_logarithmic_error.c: the squared error of logarithms.
 *   mean over the last axis of (ln(max(p, EPS) + 1) - ln(max(t, EPS) + 1))^2 */
#include "trainer/kinds.h"

static const dlt_field fields[] = {DLT_LOSS_FIELDS, {0}};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    (void)params;
    (void)mask;
    dlt_value *p = dlt_log(b, dlt_add_c(b, dlt_max_c(b, y_pred, DLT_EPSILON), 1));
    dlt_value *t = dlt_log(b, dlt_add_c(b, dlt_max_c(b, y_true, DLT_EPSILON), 1));
    dlt_value *e = dlt_sub(b, p, t);
    return dlt_mean(b, dlt_square(b, e), dlt_axis_bit(e, -1), false);
}

const dlt_loss_desc dlt_loss_mean_squared_logarithmic_error = {
    .kind = {.name = "MeanSquaredLogarithmicError",
             .doc = "mean of the squared differences of logarithms",
             .size = sizeof(dlt_loss_params),
             .fields = fields,
             .aliases = "msle MSLE"},
    .build = build,
    .fits = DLT_FITS_NUMBERS,
    .from_logits = -1,
};
