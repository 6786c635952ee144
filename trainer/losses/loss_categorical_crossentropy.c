/* trainer/losses/loss_categorical_crossentropy.c: -sum over the classes of t ln p; p is divided by its sum
 * and clipped to [EPS, 1 - EPS]. From logits: -sum t log softmax(z). */
#include "trainer/losses/crossentropy.h"

typedef dlt_categorical_crossentropy_params params_type;

static const dlt_field fields[] = {DLT_CATEGORICAL_CROSSENTROPY_FIELDS, DLT_LOSS_FIELDS, {0}};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    const params_type *p = params;
    const dlt_shape shape = dlt_shape_of(y_true);
    const int64_t classes = shape.rank > 0 ? shape.dim[shape.rank - 1] : 1;
    const int axis = (int)p->axis;
    (void)mask;
    dlt_value *t =
        dlt_smoothed(b, y_true, p->label_smoothing, p->label_smoothing / (double)(classes > 0 ? classes : 1));
    dlt_value *z = p->from_logits ? y_pred : NULL;
    if (z == NULL &&
        (axis == -1 || axis == shape.rank - 1)) { /* a softmax over another axis is no SOFTMAX node */
        z = dlt_logits_of(y_pred, true);
    }
    t = dlt_axis_to_last(b, t, axis);
    if (z != NULL) {
        return dlt_softmax_xent(b, dlt_axis_to_last(b, z, axis), t);
    }
    dlt_value *l = dlt_mul(b, t, dlt_log(b, dlt_clipped_probabilities(b, dlt_axis_to_last(b, y_pred, axis))));
    return dlt_neg(b, dlt_sum(b, l, dlt_axis_bit(l, -1), false));
}

static const params_type defaults = {.axis = -1};
const dlt_loss_desc dlt_loss_categorical_crossentropy = {
    .kind = {.name = "CategoricalCrossentropy",
             .doc = "cross-entropy of one-hot or soft targets",
             .size = sizeof(params_type),
             .fields = fields},
    .build = build,
    .fits = DLT_FITS_CLASSES,
    .from_logits = offsetof(params_type, from_logits),
    .defaults = &defaults,
};
