/* trainer/losses/loss_crossentropy.c: the words `crossentropy` and `ce`: the one of three cross-entropies
 * that fits the shapes of targets and outputs (Keras' compile). */
#include "trainer/losses/crossentropy.h"

static const dlt_loss_desc *resolve(const dlt_shape *y_true, const dlt_shape *y_pred)
{
    bool binary, sparse;
    dlt_resolve_shapes(y_true, y_pred, &binary, &sparse);
    return binary   ? &dlt_loss_binary_crossentropy
           : sparse ? &dlt_loss_sparse_categorical_crossentropy
                    : &dlt_loss_categorical_crossentropy;
}

const dlt_loss_desc dlt_loss_crossentropy = {
    .kind = {.name = "Crossentropy",
             .doc = "binary, categorical or sparse categorical cross-entropy, by the shapes",
             .aliases = "ce"},
    .fits = DLT_FITS_CLASSES,
    .from_logits = -1,
    .resolve = resolve,
};
