/* tests/unit/test_kinds.c: names and tables of the training kinds. */
#include "support/run.h"
#include "support/support.h"
#include "trainer/kinds.h"

#include <string.h>

static void the_tables_are_sound(void **state)
{
    (void)state;
    dlt_diag *diag = dlt_diag_create();
    if (dlt_catalogue_check(dlt_test_catalogue(), diag) != DLT_OK) {
        fail_msg("%s", dlt_diag_text(diag, 0));
    }
    dlt_diag_destroy(diag);
}

static void names_are_those_of_keras(void **state)
{
    (void)state;
    static const char *const names[][3] = {
        {"loss", "mse", "MeanSquaredError"},
        {"loss", "MSE", "MeanSquaredError"},
        {"loss", "mean_squared_error", "MeanSquaredError"},
        {"loss", "mae", "MeanAbsoluteError"},
        {"loss", "MAPE", "MeanAbsolutePercentageError"},
        {"loss", "msle", "MeanSquaredLogarithmicError"},
        {"loss", "huber", "Huber"},
        {"loss", "log_cosh", "LogCosh"},
        {"loss", "cosine_similarity", "CosineSimilarity"},
        {"loss", "kld", "KLDivergence"},
        {"loss", "kl_divergence", "KLDivergence"},
        {"loss", "bce", "BinaryCrossentropy"},
        {"loss", "binary_crossentropy", "BinaryCrossentropy"},
        {"loss", "categorical_crossentropy", "CategoricalCrossentropy"},
        {"loss", "sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"},
        {"loss", "binary_focal_crossentropy", "BinaryFocalCrossentropy"},
        {"loss", "ce", "Crossentropy"},
        {"loss", "crossentropy", "Crossentropy"},
        {"metric", "acc", "Accuracy"},
        {"metric", "AUC", "AUC"},
        {"metric", "auc", "AUC"},
        {"metric", "r2_score", "R2Score"},
        {"metric", "top_k_categorical_accuracy", "TopKCategoricalAccuracy"},
        {"metric", "sparse_top_k_categorical_accuracy", "SparseTopKCategoricalAccuracy"},
        {"metric", "root_mean_squared_error", "RootMeanSquaredError"},
        {"metric", "log_cosh_error", "LogCoshError"},
        {"metric", "true_positives", "TruePositives"},
        {"optimizer", "sgd", "SGD"},
        {"optimizer", "adam", "Adam"},
        {"optimizer", "adamw", "AdamW"},
        {"optimizer", "rmsprop", "RMSprop"},
        {"optimizer", "adagrad", "Adagrad"},
        {"optimizer", "adadelta", "Adadelta"},
        {"optimizer", "adamax", "Adamax"},
        {"optimizer", "nadam", "Nadam"},
        {"optimizer", "lion", "Lion"},
        {"optimizer", "ftrl", "Ftrl"},
        {"initializer", "zero", "Zeros"},
        {"initializer", "one", "Ones"},
        {"initializer", "normal", "RandomNormal"},
        {"initializer", "uniform", "RandomUniform"},
        {"initializer", "truncated_normal", "TruncatedNormal"},
        {"initializer", "glorot_uniform", "GlorotUniform"},
        {"initializer", "he_normal", "HeNormal"},
        {"initializer", "lecun_uniform", "LecunUniform"},
        {"initializer", "orthogonal", "Orthogonal"},
        {"initializer", "OrthogonalInitializer", "Orthogonal"},
        {"initializer", "identity", "Identity"},
        {"regularizer", "l1", "L1"},
        {"regularizer", "l2", "L2"},
        {"regularizer", "l1l2", "L1L2"},
        {"regularizer", "orthogonal_regularizer", "OrthogonalRegularizer"},
        {"constraint", "max_norm", "MaxNorm"},
        {"constraint", "non_neg", "NonNeg"},
        {"constraint", "unit_norm", "UnitNorm"},
        {"constraint", "min_max_norm", "MinMaxNorm"},
        {"callback", "ReduceLROnPlateau", "ReduceLROnPlateau"},
        {"callback", "CSVLogger", "CSVLogger"},
        {"callback", "TerminateOnNaN", "TerminateOnNaN"},
    };
    for (size_t i = 0; i < DLT_COUNT(names); i++) {
        const dlt_category *category = dlt_catalogue_find(dlt_test_catalogue(), names[i][0]);
        const dlt_kind *kind = dlt_kind_find(category, names[i][1]);
        if (kind == NULL) {
            fail_msg("no %s '%s'", names[i][0], names[i][1]);
        }
        assert_string_equal(kind->name, names[i][2]);
    }
    assert_null(dlt_kind_find(dlt_catalogue_find(dlt_test_catalogue(), "metric"),
                              "huber")); /* Keras has no such metric */
    assert_null(dlt_kind_find(dlt_catalogue_find(dlt_test_catalogue(), "optimizer"), "lamb"));
}

static void defaults_are_those_of_keras(void **state)
{
    (void)state;
    dlt_arena *arena = dlt_arena_create();
    const struct {
        const char *name;
        double rate;
        bool decays;
    } optimizers[] = {{"SGD", 0.01, false},     {"RMSprop", 0.001, false}, {"Adam", 0.001, false},
                      {"AdamW", 0.001, true},   {"Adagrad", 0.001, false}, {"Adadelta", 0.001, false},
                      {"Adamax", 0.001, false}, {"Nadam", 0.001, false},   {"Lion", 0.001, false},
                      {"Ftrl", 0.001, false}};
    for (size_t i = 0; i < DLT_COUNT(optimizers); i++) {
        const dlt_item *item = dlt_test_item(arena, "optimizer", optimizers[i].name);
        const dlt_optimizer_params *p = item->params;
        assert_true(dlt_schedule_of(p->learning_rate)->constant);
        assert_true(((const dlt_constant_rate_params *)p->learning_rate->params)->value ==
                    optimizers[i].rate);
        assert_int_equal(p->weight_decay.set, optimizers[i].decays);
        assert_true(p->weight_decay.value == (optimizers[i].decays ? 0.004 : 0));
        assert_true(p->ema_momentum == 0.99 && !p->use_ema && !p->clipnorm.set &&
                    !p->gradient_accumulation_steps.set);
    }
    dlt_arena_destroy(arena);
}

static void mistakes_are_found_where_they_stand(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"optimizer: {Adam: {clipnorm: 1, global_clipnorm: 2}}",
         "test.yaml:2:50: Adam: only one of clipnorm, clipvalue and global_clipnorm can be set; clipnorm is "
         "set already"},
        {"optimizer: {SGD: {learning_rate: {PiecewiseConstantDecay: {boundaries: [5, 3], values: [1, 0.5, "
         "0.1]}}}}",
         "test.yaml:2:72: PiecewiseConstantDecay: boundaries must rise"},
        {"optimizer: {SGD: {learning_rate: {PiecewiseConstantDecay: {boundaries: [3], values: [1]}}}}",
         "test.yaml:2:85: PiecewiseConstantDecay: 1 boundaries need 2 values, found 1"},
        {"metrics: [{AUC: {num_labels: 3}}]",
         "test.yaml:2:30: AUC: num_labels is for multi_label: true only"},
        {"fit: {callbacks: [{CSVLogger: {filename: a.csv, separator: ab}}]}",
         "test.yaml:2:60: CSVLogger: separator must be one character, no quote and no line end"},
        {"fit: {callbacks: [{ModelCheckpoint: {filepath: best.keras}}]}",
         "test.yaml:2:48: ModelCheckpoint: filepath must end in .weights.h5, as Keras wants it"},
        {"fit: {callbacks: [{ModelCheckpoint: {save_freq: often}}]}",
         "test.yaml:2:49: ModelCheckpoint: save_freq must be epoch or a number of batches, found 'often'"},
        {"fit: {callbacks: [{LearningRateScheduler: {schedule: {0: 0.1, ten: 0.2}}}]}",
         "test.yaml:2:54: LearningRateScheduler: 'ten' is no epoch (0, 1, 2, ...)"},
        {"fit: {callbacks: [{LearningRateScheduler: {schedule: {1: 0.1, 01: 0.2}}}]}",
         "test.yaml:2:54: LearningRateScheduler: epoch 1 stands twice"},
    };
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        dlt_arena *arena = dlt_arena_create();
        const char *text = dlt_arena_printf(arena, "layers: [Flatten]\n%s\n", cases[i][0]);
        assert_string_equal(dlt_test_mistake(arena, text), cases[i][1]);
        dlt_arena_destroy(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tables_are_sound),
        cmocka_unit_test(names_are_those_of_keras),
        cmocka_unit_test(defaults_are_those_of_keras),
        cmocka_unit_test(mistakes_are_found_where_they_stand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
