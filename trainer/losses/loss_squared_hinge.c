/* trainer/losses/loss_squared_hinge.c: mean over the last axis of max(1 - t p, 0)^2. */
#include "trainer/losses/hinge.h"

static const dlt_field fields[] = {DLT_LOSS_FIELDS, {0}};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    (void)params;
    (void)mask;
    dlt_value *l = dlt_square(b, dlt_hinge_of(b, y_true, y_pred));
    return dlt_mean(b, l, dlt_axis_bit(l, -1), false);
}

const dlt_loss_desc dlt_loss_squared_hinge = {
    .kind = {.name = "SquaredHinge",
             .doc = "mean of the squares of the hinge loss",
             .size = sizeof(dlt_loss_params),
             .fields = fields},
    .build = build,
    .fits = DLT_FITS_NUMBERS,
    .from_logits = -1,
};
