/* trainer/losses/loss_cosine_similarity.c: minus the cosine of the angle between t and p along an axis. */
#include "trainer/kinds.h"

typedef struct cosine_params {
    dlt_loss_params common;
    int64_t axis;
} cosine_params;

static const dlt_field fields[] = {
    DLT_INT(cosine_params, axis, -DLT_MAX_RANK, DLT_MAX_RANK - 1, -1, "axis of the vectors"),
    DLT_LOSS_FIELDS,
    {0},
};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    const cosine_params *p = params;
    (void)mask;
    dlt_value *t = dlt_axis_to_last(b, y_true, (int)p->axis), *y = dlt_axis_to_last(b, y_pred, (int)p->axis);
    dlt_value *l = dlt_mul(b, dlt_normalize(b, t, -1), dlt_normalize(b, y, -1));
    return dlt_neg(b, dlt_sum(b, l, dlt_axis_bit(l, -1), false));
}

const dlt_loss_desc dlt_loss_cosine_similarity = {
    .kind = {.name = "CosineSimilarity",
             .doc = "minus the cosine of the angle between target and prediction",
             .size = sizeof(cosine_params),
             .fields = fields},
    .build = build,
    .fits = DLT_FITS_NUMBERS,
    .from_logits = -1,
};
