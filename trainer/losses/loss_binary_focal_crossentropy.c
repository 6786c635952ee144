/* trainer/losses/loss_binary_focal_crossentropy.c: binary cross-entropy in which hard samples count more.
 *   mean over an axis of (1 - pt)^gamma bce(t, p), pt = t p + (1 - t)(1 - p)
 * Balanced by t alpha + (1 - t)(1 - alpha) where asked for. Source: Lin et al., arXiv:1708.02002. */
#include "trainer/losses/crossentropy.h"

typedef struct focal_params {
    dlt_loss_params common;
    bool apply_class_balancing, from_logits;
    double alpha, gamma, label_smoothing;
    int64_t axis;
} focal_params;

static const dlt_field fields[] = {
    DLT_BOOL(focal_params, apply_class_balancing, false, "weigh class 1 by alpha and class 0 by 1 - alpha"),
    DLT_FLOAT(focal_params, alpha, 0, 1, 0.25, "weight of class 1"),
    DLT_FLOAT(focal_params, gamma, 0, HUGE_VAL, 2.0, "how little well classified samples count"),
    DLT_FROM_LOGITS(focal_params, "predictions are logits, before any sigmoid"),
    DLT_LABEL_SMOOTHING(focal_params),
    DLT_CLASS_AXIS(focal_params, "axis that the mean is taken over"),
    DLT_LOSS_FIELDS,
    {0},
};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    const focal_params *f = params;
    (void)mask;
    dlt_value *t = dlt_smoothed(b, y_true, f->label_smoothing, 0.5 * f->label_smoothing),
              *not_t = dlt_c_sub(b, 1, t);
    dlt_value *p = f->from_logits ? dlt_sigmoid(b, y_pred) : y_pred;
    dlt_value *pt = dlt_add(b, dlt_mul(b, t, p), dlt_mul(b, not_t, dlt_c_sub(b, 1, p)));
    dlt_value *factor = dlt_pow(b, dlt_c_sub(b, 1, pt), dlt_constant(b, f->gamma));
    dlt_value *l = dlt_mul(b, factor, dlt_binary_crossentropy_of(b, t, p));
    if (f->apply_class_balancing) {
        l = dlt_mul(b, l, dlt_add(b, dlt_mul_c(b, t, f->alpha), dlt_mul_c(b, not_t, 1 - f->alpha)));
    }
    l = dlt_axis_to_last(b, l, (int)f->axis);
    return dlt_mean(b, l, dlt_axis_bit(l, -1), false);
}

const dlt_loss_desc dlt_loss_binary_focal_crossentropy = {
    .kind = {.name = "BinaryFocalCrossentropy",
             .doc = "binary cross-entropy in which hard samples count more",
             .size = sizeof(focal_params),
             .fields = fields},
    .build = build,
    .fits = DLT_FITS_BINARY,
    .from_logits = offsetof(focal_params, from_logits),
};
