/* trainer/losses/loss_binary_crossentropy.c: cross-entropy of two classes.
 *   probabilities: mean over an axis of -(t ln p + (1 - t) ln(1 - p)), p clipped to [EPS, 1 - EPS]
 *   logits:        mean of t softplus(-z) + (1 - t) softplus(z)
 * The gradient of the latter is exact at z = 0 too, where networks start. */
#include "trainer/losses/crossentropy.h"

typedef dlt_binary_crossentropy_params params_type;

static const dlt_field fields[] = {DLT_BINARY_CROSSENTROPY_FIELDS, DLT_LOSS_FIELDS, {0}};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    const params_type *p = params;
    (void)mask;
    dlt_value *t = dlt_smoothed(b, y_true, p->label_smoothing, 0.5 * p->label_smoothing);
    dlt_value *z = p->from_logits ? y_pred : dlt_logits_of(y_pred, false), *l;
    if (z != NULL) {
        dlt_value *yes = dlt_mul(b, t, dlt_softplus(b, dlt_neg(b, z)));
        l = dlt_add(b, yes, dlt_mul(b, dlt_c_sub(b, 1, t), dlt_softplus(b, z)));
    } else {
        l = dlt_binary_crossentropy_of(b, t, y_pred);
    }
    l = dlt_axis_to_last(b, l, (int)p->axis);
    return dlt_mean(b, l, dlt_axis_bit(l, -1), false);
}

static const params_type defaults = {.axis = -1};
const dlt_loss_desc dlt_loss_binary_crossentropy = {
    .kind = {.name = "BinaryCrossentropy",
             .doc = "cross-entropy of two classes",
             .size = sizeof(params_type),
             .fields = fields,
             .aliases = "bce BCE"},
    .build = build,
    .fits = DLT_FITS_BINARY,
    .from_logits = offsetof(params_type, from_logits),
    .defaults = &defaults,
};
