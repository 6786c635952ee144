/* trainer/metrics/metric_losses.c: losses as metrics: the sample-weighted mean of a loss before reduction.
 * Parameters are those of the loss, but for its reduction. */
#include "trainer/losses/crossentropy.h"

#define DLT_LOSS(Class, name) extern const dlt_loss_desc dlt_loss_##name;
#include "trainer/losses/losses.def"
#undef DLT_LOSS

static void update_by(dlt_builder *b, const dlt_loss_desc *loss, const void *params, const dlt_outcome *o)
{
    dlt_value *own_mask = NULL;
    dlt_value *values = loss->build(b, params, o->y_true, o->y_pred, &own_mask);
    dlt_metric_mean(b, o, values, own_mask);
}

#define UPDATE(id, loss)                                                                                     \
    static void id##_update(dlt_builder *b, const void *params, const dlt_outcome *o)                        \
    {                                                                                                        \
        update_by(b, &dlt_loss_##loss, params, o);                                                           \
    }
#define METRIC(Class, id, log_name, aliases_, doc_)                                                          \
    UPDATE(id, id)                                                                                           \
    const dlt_metric_desc dlt_metric_##id = {                                                                \
        .kind = {.name = #Class, .doc = doc_, .aliases = aliases_},                                          \
        .direction = DLT_SMALLER_IS_BETTER,                                                                  \
        .fits = DLT_FITS_NUMBERS,                                                                            \
        .update = id##_update,                                                                               \
        .result = dlt_metric_mean_result,                                                                    \
        .default_name = log_name,                                                                            \
    };
METRIC(MeanSquaredError, mean_squared_error, "mean_squared_error", "mse MSE",
       "mean of the squared differences")
METRIC(MeanAbsoluteError, mean_absolute_error, "mean_absolute_error", "mae MAE",
       "mean of the absolute differences")
METRIC(MeanAbsolutePercentageError, mean_absolute_percentage_error, "mean_absolute_percentage_error",
       "mape MAPE", "mean of the absolute differences in percent of the target")
METRIC(MeanSquaredLogarithmicError, mean_squared_logarithmic_error, "mean_squared_logarithmic_error",
       "msle MSLE", "mean of the squared differences of logarithms")
METRIC(KLDivergence, kl_divergence, "kl_divergence", "kld KLD",
       "Kullback-Leibler divergence of two distributions")
METRIC(Poisson, poisson, "poisson", NULL, "mean of prediction - target times ln prediction")
METRIC(Hinge, hinge, "hinge", NULL, "mean of max(1 - target times prediction, 0)")
METRIC(SquaredHinge, squared_hinge, "squared_hinge", NULL, "mean of the squares of the hinge loss")
METRIC(CategoricalHinge, categorical_hinge, "categorical_hinge", NULL,
       "hinge loss between the right class and the best wrong one")

UPDATE(log_cosh_error, log_cosh)
const dlt_metric_desc dlt_metric_log_cosh_error = {
    .kind = {.name = "LogCoshError",
             .doc = "mean of the logarithms of the hyperbolic cosines of the differences"},
    .direction = DLT_SMALLER_IS_BETTER,
    .fits = DLT_FITS_NUMBERS,
    .update = log_cosh_error_update,
    .result = dlt_metric_mean_result,
    .default_name = "logcosh",
};

/* The metric has the other sign than the loss: larger is better. */
typedef struct cosine_params {
    int64_t axis;
} cosine_params;
static const dlt_field cosine_fields[] = {
    DLT_INT(cosine_params, axis, -DLT_MAX_RANK, DLT_MAX_RANK - 1, -1, "axis of the vectors"),
    {0},
};
static void cosine_update(dlt_builder *b, const void *params, const dlt_outcome *o)
{
    const int axis = (int)((const cosine_params *)params)->axis;
    dlt_value *t = dlt_axis_to_last(b, o->y_true, axis), *p = dlt_axis_to_last(b, o->y_pred, axis);
    dlt_value *cosine = dlt_mul(b, dlt_normalize(b, t, -1), dlt_normalize(b, p, -1));
    dlt_metric_mean(b, o, dlt_sum(b, cosine, dlt_axis_bit(cosine, -1), false), NULL);
}
const dlt_metric_desc dlt_metric_cosine_similarity = {
    .kind = {.name = "CosineSimilarity",
             .doc = "cosine of the angle between target and prediction",
             .size = sizeof(cosine_params),
             .fields = cosine_fields},
    .direction = DLT_LARGER_IS_BETTER,
    .fits = DLT_FITS_NUMBERS,
    .update = cosine_update,
    .result = dlt_metric_mean_result,
    .default_name = "cosine_similarity",
};

static const dlt_field binary_fields[] = {DLT_BINARY_CROSSENTROPY_FIELDS, {0}};
static const dlt_field categorical_fields[] = {DLT_CATEGORICAL_CROSSENTROPY_FIELDS, {0}};
static const dlt_field sparse_fields[] = {DLT_SPARSE_CROSSENTROPY_FIELDS, {0}};
#define CROSSENTROPY(Class, id, type, fields_, form_, fits_, aliases_, doc_)                                 \
    UPDATE(id, id)                                                                                           \
    const dlt_metric_desc dlt_metric_##id = {                                                                \
        .kind = {.name = #Class, .doc = doc_, .size = sizeof(type), .fields = fields_, .aliases = aliases_}, \
        .direction = DLT_SMALLER_IS_BETTER,                                                                  \
        .form = form_,                                                                                       \
        .fits = fits_,                                                                                       \
        .update = id##_update,                                                                               \
        .result = dlt_metric_mean_result,                                                                    \
        .default_name = #id,                                                                                 \
    };
CROSSENTROPY(BinaryCrossentropy, binary_crossentropy, dlt_binary_crossentropy_params, binary_fields,
             DLT_TARGET_SAME, DLT_FITS_BINARY, "bce BCE", "cross-entropy of two classes")
CROSSENTROPY(CategoricalCrossentropy, categorical_crossentropy, dlt_categorical_crossentropy_params,
             categorical_fields, DLT_TARGET_SAME, DLT_FITS_CLASSES, NULL,
             "cross-entropy of one-hot or soft targets")
CROSSENTROPY(SparseCategoricalCrossentropy, sparse_categorical_crossentropy, dlt_sparse_crossentropy_params,
             sparse_fields, DLT_TARGET_CLASSES, DLT_FITS_CLASSES, NULL, "cross-entropy of class numbers")
