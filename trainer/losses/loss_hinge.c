/* trainer/losses/loss_hinge.c: mean over the last axis of max(1 - t p, 0). */
#include "trainer/losses/hinge.h"

dlt_value *dlt_hinge_of(dlt_builder *b, dlt_value *y_true, dlt_value *y_pred)
{
    dlt_value *zero = dlt_constant(b, 0), *one = dlt_constant(b, 1);
    dlt_value *other =
        dlt_mul(b, dlt_not(b, dlt_equal(b, y_true, zero)), dlt_not(b, dlt_equal(b, y_true, one)));
    dlt_value *any = dlt_reduce(b, DLT_REDUCE_MAX, other, dlt_axes_from(other, 0), false);
    dlt_value *t = dlt_select(b, any, y_true, dlt_sub_c(b, dlt_mul_c(b, y_true, 2), 1));
    return dlt_relu(b, dlt_c_sub(b, 1, dlt_mul(b, t, y_pred)));
}

static const dlt_field fields[] = {DLT_LOSS_FIELDS, {0}};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    (void)params;
    (void)mask;
    dlt_value *l = dlt_hinge_of(b, y_true, y_pred);
    return dlt_mean(b, l, dlt_axis_bit(l, -1), false);
}

const dlt_loss_desc dlt_loss_hinge = {
    .kind = {.name = "Hinge",
             .doc = "mean of max(1 - target times prediction, 0); targets -1 and 1, or 0 and 1",
             .size = sizeof(dlt_loss_params),
             .fields = fields},
    .build = build,
    .fits = DLT_FITS_NUMBERS,
    .from_logits = -1,
};
