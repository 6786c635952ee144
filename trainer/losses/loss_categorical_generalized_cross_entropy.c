/* trainer/losses/loss_categorical_generalized_cross_entropy.c: (1 - p[class]^q) / q, between cross-entropy (q
 * near 0) and absolute error (q = 1); takes wrong labels well. Source: Zhang & Sabuncu, arXiv:1805.07836. */
#include "trainer/kinds.h"

typedef struct gce_params {
    dlt_loss_params common;
    double q;
} gce_params;

static const dlt_field fields[] = {
    DLT_FLOAT_OPEN(gce_params, q, 0, 1, DLT_FIELD_OPEN_MIN | DLT_FIELD_OPEN_MAX, 0.5,
                   "0: cross-entropy, 1: absolute error"),
    DLT_LOSS_FIELDS,
    {0},
};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    const gce_params *p = params;
    const dlt_shape shape = dlt_shape_of(y_pred);
    (void)mask;
    dlt_value *classes = dlt_one_hot(b, y_true, shape.rank > 0 ? shape.dim[shape.rank - 1] : 1);
    dlt_value *right = dlt_sum(b, dlt_mul(b, y_pred, classes), dlt_axis_bit(y_pred, -1), false);
    return dlt_div_c(b, dlt_c_sub(b, 1, dlt_pow(b, right, dlt_constant(b, p->q))), p->q);
}

const dlt_loss_desc dlt_loss_categorical_generalized_cross_entropy = {
    .kind = {.name = "CategoricalGeneralizedCrossEntropy",
             .doc = "cross-entropy of class numbers that wrong labels disturb less",
             .size = sizeof(gce_params),
             .fields = fields},
    .build = build,
    .form = DLT_TARGET_CLASSES,
    .fits = DLT_FITS_CLASSES,
    .from_logits = -1,
};
