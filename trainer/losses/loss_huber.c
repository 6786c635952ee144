/* trainer/losses/loss_huber.c: e^2 / 2 where |e| <= delta, else delta |e| - delta^2 / 2.
 * The mean of it over the last axis. */
#include "trainer/kinds.h"

typedef struct huber_params {
    dlt_loss_params common;
    double delta;
} huber_params;

static const dlt_field fields[] = {
    DLT_FLOAT(huber_params, delta, 0, HUGE_VAL, 1.0, "difference from which on the loss grows linearly"),
    DLT_LOSS_FIELDS,
    {0},
};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    const huber_params *p = params;
    (void)mask;
    dlt_value *e = dlt_sub(b, y_pred, y_true), *size = dlt_abs(b, e);
    dlt_value *squared = dlt_mul_c(b, dlt_square(b, e), 0.5);
    dlt_value *linear = dlt_sub_c(b, dlt_mul_c(b, size, p->delta), 0.5 * p->delta * p->delta);
    dlt_value *near = dlt_less_equal(b, size, dlt_constant(b, p->delta));
    dlt_value *l = dlt_select(b, near, squared, linear);
    return dlt_mean(b, l, dlt_axis_bit(l, -1), false);
}

const dlt_loss_desc dlt_loss_huber = {
    .kind = {.name = "Huber",
             .doc = "squared for small differences, linear for large ones",
             .size = sizeof(huber_params),
             .fields = fields},
    .build = build,
    .fits = DLT_FITS_NUMBERS,
    .from_logits = -1,
};
