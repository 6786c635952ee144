/* trainer/losses/loss_log_cosh.c: mean over the last axis of ln cosh(p - t), as e + softplus(-2e) - ln 2. */
#include "trainer/kinds.h"

static const dlt_field fields[] = {DLT_LOSS_FIELDS, {0}};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    (void)params;
    (void)mask;
    dlt_value *e = dlt_sub(b, y_pred, y_true);
    dlt_value *l = dlt_sub_c(b, dlt_add(b, e, dlt_softplus(b, dlt_mul_c(b, e, -2))), 0.69314718055994530942);
    return dlt_mean(b, l, dlt_axis_bit(l, -1), false);
}

const dlt_loss_desc dlt_loss_log_cosh = {
    .kind = {.name = "LogCosh",
             .doc = "mean of the logarithms of the hyperbolic cosines of the differences",
             .size = sizeof(dlt_loss_params),
             .fields = fields},
    .build = build,
    .fits = DLT_FITS_NUMBERS,
    .from_logits = -1,
};
