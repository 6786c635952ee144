/* trainer/losses/loss_sparse_categorical_crossentropy.c: -ln p[class]; p is divided by its sum and clipped to
 * [EPS, 1 - EPS]. From logits: -log softmax(z)[class]. Elements of ignore_class have loss 0 and do not count
 * in the mean. Class numbers out of range have loss 0 too, as in Keras on JAX. Keras' `axis` works with -1
 * only, so there is none. */
#include "trainer/losses/crossentropy.h"

typedef dlt_sparse_crossentropy_params params_type;

static const dlt_field fields[] = {DLT_SPARSE_CROSSENTROPY_FIELDS, DLT_LOSS_FIELDS, {0}};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    const params_type *p = params;
    const dlt_shape shape = dlt_shape_of(y_pred);
    if (p->ignore_class.set) {
        dlt_value *ignored =
            dlt_equal(b, y_true, dlt_constant_typed(b, DLT_I32, (double)p->ignore_class.value));
        y_true = dlt_select(b, ignored, dlt_constant_typed(b, DLT_I32, -1), y_true);
        *mask = dlt_cast(b, dlt_not(b, ignored), dlt_real(b));
    }
    dlt_value *z = p->from_logits ? y_pred : dlt_logits_of(y_pred, true);
    if (z != NULL) {
        return dlt_softmax_xent(b, z, y_true);
    }
    dlt_value *classes = dlt_one_hot(b, y_true, shape.rank > 0 ? shape.dim[shape.rank - 1] : 1);
    dlt_value *l = dlt_mul(b, classes, dlt_log(b, dlt_clipped_probabilities(b, y_pred)));
    return dlt_neg(b, dlt_sum(b, l, dlt_axis_bit(l, -1), false));
}

static const params_type defaults = {.from_logits = false};
const dlt_loss_desc dlt_loss_sparse_categorical_crossentropy = {
    .kind = {.name = "SparseCategoricalCrossentropy",
             .doc = "cross-entropy of class numbers",
             .size = sizeof(params_type),
             .fields = fields},
    .build = build,
    .form = DLT_TARGET_CLASSES,
    .fits = DLT_FITS_CLASSES,
    .from_logits = offsetof(params_type, from_logits),
    .defaults = &defaults,
};
