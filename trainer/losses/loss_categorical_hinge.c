/* trainer/losses/loss_categorical_hinge.c: max(max over the last axis of (1 - t) p - sum of t p + 1, 0). */
#include "trainer/kinds.h"

static const dlt_field fields[] = {DLT_LOSS_FIELDS, {0}};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    (void)params;
    (void)mask;
    const uint32_t last = dlt_axis_bit(y_pred, -1);
    dlt_value *right = dlt_sum(b, dlt_mul(b, y_true, y_pred), last, false);
    dlt_value *wrong =
        dlt_reduce(b, DLT_REDUCE_MAX, dlt_mul(b, dlt_c_sub(b, 1, y_true), y_pred), last, false);
    return dlt_relu(b, dlt_add_c(b, dlt_sub(b, wrong, right), 1));
}

const dlt_loss_desc dlt_loss_categorical_hinge = {
    .kind = {.name = "CategoricalHinge",
             .doc = "hinge loss between the right class and the best wrong one",
             .size = sizeof(dlt_loss_params),
             .fields = fields},
    .build = build,
    .fits = DLT_FITS_NUMBERS,
    .from_logits = -1,
};
