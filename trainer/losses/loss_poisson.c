/* trainer/losses/loss_poisson.c: mean over the last axis of p - t ln(p + EPS). */
#include "trainer/kinds.h"

static const dlt_field fields[] = {DLT_LOSS_FIELDS, {0}};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    (void)params;
    (void)mask;
    dlt_value *l = dlt_sub(b, y_pred, dlt_mul(b, y_true, dlt_log(b, dlt_add_c(b, y_pred, DLT_EPSILON))));
    return dlt_mean(b, l, dlt_axis_bit(l, -1), false);
}

const dlt_loss_desc dlt_loss_poisson = {
    .kind = {.name = "Poisson",
             .doc = "mean of prediction - target times ln prediction, for counts",
             .size = sizeof(dlt_loss_params),
             .fields = fields},
    .build = build,
    .fits = DLT_FITS_NUMBERS,
    .from_logits = -1,
};
