/* trainer/losses/loss_categorical_focal_crossentropy.c: cross-entropy in which hard samples count more.
 *   sum over the classes of alpha (1 - p)^gamma (-t ln p)
 * p is divided by its sum and clipped to [EPS, 1 - EPS]. Source: Lin et al., arXiv:1708.02002. */
#include "trainer/losses/crossentropy.h"

typedef struct focal_params {
    dlt_loss_params common;
    double alpha, gamma;
    bool from_logits;
    double label_smoothing;
    int64_t axis;
} focal_params;

static const dlt_field fields[] = {
    DLT_FLOAT(focal_params, alpha, 0, HUGE_VAL, 0.25, "weight of the loss"),
    DLT_FLOAT(focal_params, gamma, 0, HUGE_VAL, 2.0, "how little well classified samples count"),
    DLT_FROM_LOGITS(focal_params, "predictions are logits, before any softmax"),
    DLT_LABEL_SMOOTHING(focal_params),
    DLT_CLASS_AXIS(focal_params, "axis of the classes"),
    DLT_LOSS_FIELDS,
    {0},
};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    const focal_params *f = params;
    const dlt_shape shape = dlt_shape_of(y_true);
    const int64_t classes = shape.rank > 0 && shape.dim[shape.rank - 1] > 0 ? shape.dim[shape.rank - 1] : 1;
    (void)mask;
    dlt_value *t = dlt_smoothed(b, y_true, f->label_smoothing, f->label_smoothing / (double)classes);
    dlt_value *p = dlt_axis_to_last(b, y_pred, (int)f->axis);
    t = dlt_axis_to_last(b, t, (int)f->axis);
    p = dlt_clipped_probabilities(b, f->from_logits ? dlt_softmax(b, p) : p);
    dlt_value *factor = dlt_mul_c(b, dlt_pow(b, dlt_c_sub(b, 1, p), dlt_constant(b, f->gamma)), f->alpha);
    dlt_value *l = dlt_mul(b, factor, dlt_neg(b, dlt_mul(b, t, dlt_log(b, p))));
    return dlt_sum(b, l, dlt_axis_bit(l, -1), false);
}

const dlt_loss_desc dlt_loss_categorical_focal_crossentropy = {
    .kind = {.name = "CategoricalFocalCrossentropy",
             .doc = "cross-entropy of one-hot targets in which hard samples count more",
             .size = sizeof(focal_params),
             .fields = fields},
    .build = build,
    .fits = DLT_FITS_CLASSES,
    .from_logits = offsetof(focal_params, from_logits),
};
