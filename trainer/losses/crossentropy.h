/* trainer/losses/crossentropy.h: what the cross-entropies share: their parameters, which the metrics of the
 * same names have too, and the way from predictions to logarithms. */
#ifndef DLT_TRAINER_LOSSES_CROSSENTROPY_H
#define DLT_TRAINER_LOSSES_CROSSENTROPY_H

#include "trainer/kinds.h"

typedef struct dlt_binary_crossentropy_params {
    dlt_loss_params common;
    bool from_logits;
    double label_smoothing;
    int64_t axis;
} dlt_binary_crossentropy_params;

typedef struct dlt_categorical_crossentropy_params {
    dlt_loss_params common;
    bool from_logits;
    double label_smoothing;
    int64_t axis;
} dlt_categorical_crossentropy_params;

typedef struct dlt_sparse_crossentropy_params {
    dlt_loss_params common;
    bool from_logits;
    dlt_opt_int ignore_class;
} dlt_sparse_crossentropy_params;

#define DLT_FROM_LOGITS(T, doc_) DLT_BOOL(T, from_logits, false, doc_)
#define DLT_LABEL_SMOOTHING(T)                                                                               \
    DLT_FLOAT(T, label_smoothing, 0, 1, 0.0, "share of each target that is spread evenly over the classes")
#define DLT_CLASS_AXIS(T, doc_) DLT_INT(T, axis, -DLT_MAX_RANK, DLT_MAX_RANK - 1, -1, doc_)

#define DLT_BINARY_CROSSENTROPY_FIELDS                                                                       \
    DLT_FROM_LOGITS(dlt_binary_crossentropy_params, "predictions are logits, before any sigmoid"),           \
        DLT_LABEL_SMOOTHING(dlt_binary_crossentropy_params),                                                 \
        DLT_CLASS_AXIS(dlt_binary_crossentropy_params, "axis that the mean is taken over")
#define DLT_CATEGORICAL_CROSSENTROPY_FIELDS                                                                  \
    DLT_FROM_LOGITS(dlt_categorical_crossentropy_params, "predictions are logits, before any softmax"),      \
        DLT_LABEL_SMOOTHING(dlt_categorical_crossentropy_params),                                            \
        DLT_CLASS_AXIS(dlt_categorical_crossentropy_params, "axis of the classes")
#define DLT_SPARSE_CROSSENTROPY_FIELDS                                                                       \
    DLT_FROM_LOGITS(dlt_sparse_crossentropy_params, "predictions are logits, before any softmax"),           \
        DLT_OPT_INT(dlt_sparse_crossentropy_params, ignore_class, INT32_MIN, INT32_MAX,                      \
                    "class number whose elements do not count")

/** Probabilities as Keras takes them: divided by their sum along the last axis, and clipped to [EPS, 1 -
 * EPS]. */
dlt_value *dlt_clipped_probabilities(dlt_builder *b, dlt_value *p);
/** t (1 - smoothing) + rest. */
dlt_value *dlt_smoothed(dlt_builder *b, dlt_value *t, double smoothing, double rest);
/** Each element's -(t ln p + (1 - t) ln(1 - p)), p clipped. */
dlt_value *dlt_binary_crossentropy_of(dlt_builder *b, dlt_value *t, dlt_value *p);

extern const dlt_loss_desc dlt_loss_binary_crossentropy, dlt_loss_categorical_crossentropy,
    dlt_loss_sparse_categorical_crossentropy;

#endif
