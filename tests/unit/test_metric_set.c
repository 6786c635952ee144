/* tests/unit/test_metric_set.c: names of metrics in the logs, and results from sums alone. */
#include "support/golden.h"
#include "support/run.h"
#include "support/support.h"
#include "trainer/metric.h"

#include <math.h>
#include <string.h>

static void check_names(const char *lists, const char *const *names)
{
    dlt_arena *arena = dlt_arena_create();
    dlt_diag *diag = dlt_diag_create();
    const dlt_spec *spec =
        &dlt_test_spec(arena, dlt_arena_printf(arena, "layers: [Flatten]\n%s\n", lists))->value;
    dlt_metric_set *set;
    assert_int_equal(dlt_metric_set_create(arena, &spec->metrics, &spec->weighted_metrics, &set, diag),
                     DLT_OK);
    int count = 0;
    for (; names[count] != NULL; count++) {
        assert_true(count < set->count);
        assert_string_equal(set->at[count].name, names[count]);
        assert_int_equal(set->at[count].weighted, count >= (int)spec->metrics.count);
    }
    assert_int_equal(set->count, count);
    dlt_diag_destroy(diag);
    dlt_arena_destroy(arena);
}

static void names_are_those_of_keras(void **state)
{
    (void)state;
    /* a word keeps its word, an object has its class's name */
    check_names("metrics: [mse, MSE, acc, accuracy, AUC, RootMeanSquaredError]",
                (const char *const[]){"mse", "MSE", "acc", "accuracy", "AUC", "RootMeanSquaredError", NULL});
    check_names("metrics: [{MeanSquaredError: {}}, {LogCoshError: {}}, {BinaryAccuracy: {threshold: 0.3}}]",
                (const char *const[]){"mean_squared_error", "logcosh", "binary_accuracy", NULL});
    /* classes without a name of their own are counted */
    check_names("metrics: [{AUC: {}}, {Precision: {}}, {AUC: {curve: PR}}, {TruePositives: {}}, {AUC: {}}]",
                (const char *const[]){"auc", "precision", "auc_1", "true_positives", "auc_2", NULL});
    check_names("metrics: [{AUC: {name: area}}, AUC, {AUC: {}}]",
                (const char *const[]){"area", "AUC", "auc", NULL});
    /* of equal names the second is _1; weighted ones are weighted_NAME */
    check_names("metrics: [mse, mse, {MeanSquaredError: {name: mse}}]",
                (const char *const[]){"mse", "mse_1", "mse_2", NULL});
    check_names(
        "metrics: [mse, mae]\nweighted_metrics: [mse, mae, mse, {AUC: {}}]",
        (const char *const[]){"mse", "mae", "weighted_mse", "weighted_mae", "weighted_mse_1", "auc", NULL});
}

static void names_of_the_logs_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"loss", "val_mse", "learning_rate", "epoch"};
    for (size_t i = 0; i < DLT_COUNT(bad); i++) {
        dlt_arena *arena = dlt_arena_create();
        dlt_diag *diag = dlt_diag_create();
        const char *text =
            dlt_arena_printf(arena, "layers: [Flatten]\nmetrics: [{MeanSquaredError: {name: %s}}]\n", bad[i]);
        const dlt_spec *spec = &dlt_test_spec(arena, text)->value;
        dlt_metric_set *set;
        assert_int_equal(dlt_metric_set_create(arena, &spec->metrics, &spec->weighted_metrics, &set, diag),
                         DLT_E_CONFIG);
        assert_string_equal(dlt_diag_text(diag, 0),
                            dlt_arena_printf(arena,
                                             "test.yaml:2:12: a metric cannot be called '%s': the logs use "
                                             "that name themselves; give it another with name:",
                                             bad[i]));
        dlt_diag_destroy(diag);
        dlt_arena_destroy(arena);
    }
}

static void several_values_have_numbers(void **state)
{
    (void)state;
    dlt_test_run *run = dlt_test_run_open();
    const dlt_item *item = dlt_test_item(run->arena, "metric", "{Precision: {thresholds: [0.2, 0.5, 0.8]}}");
    dlt_metric_set *set;
    assert_int_equal(
        dlt_metric_set_create(run->arena, &(dlt_items){1, &item}, &(dlt_items){0}, &set, run->diag), DLT_OK);
    dlt_builder *b = dlt_builder_create(
        run->arena, run->variables,
        &(dlt_builder_options){.name = "evaluate", .mode = DLT_MODE_EVALUATE, .real = DLT_F32, .batch = 4},
        run->diag);
    const dlt_outcome o = {.y_true = dlt_input(b, "t", DLT_U8, DLT_SHAPE(4)),
                           .y_pred = dlt_input(b, "p", DLT_F32, DLT_SHAPE(4, 1))};
    dlt_metric_set_update(b, set, &o, NULL);
    dlt_log_entry entries[8];
    assert_int_equal(dlt_metric_log_names(set, true, entries, 8), 4);
    assert_string_equal(entries[0].name, "val_loss");
    assert_int_equal(entries[0].direction, DLT_SMALLER_IS_BETTER);
    assert_string_equal(entries[1].name, "val_precision[0]");
    assert_string_equal(entries[3].name, "val_precision[2]");
    assert_int_equal(entries[3].direction, DLT_LARGER_IS_BETTER);
    assert_int_equal(dlt_metric_log_names(set, false, NULL, 0), 4);
    dlt_test_run_close(run);
}

static void results_come_from_sums_alone(void **state)
{
    (void)state;
    dlt_arena *arena = dlt_arena_create();
    double out[4];
    const double tp[] = {3, 1, 0}, fp[] = {1, 0, 0};
    const dlt_item *precision = dlt_test_item(arena, "metric", "{Precision: {thresholds: [0.1, 0.5, 0.9]}}");
    assert_int_equal(dlt_metric_of(precision)->result(precision->params, (const double *const[]){tp, fp},
                                                      (int64_t[]){3, 3}, out, 4),
                     3);
    assert_true(out[0] == 0.75 && out[1] == 1 && out[2] == 0);
    out[1] = -1;
    assert_int_equal(dlt_metric_of(precision)->result(precision->params, (const double *const[]){tp, fp},
                                                      (int64_t[]){3, 3}, out, 1),
                     3);
    assert_true(out[1] == -1); /* no more than there is room for */

    const dlt_item *mean = dlt_test_item(arena, "metric", "mse");
    assert_int_equal(dlt_metric_of(mean)->result(mean->params,
                                                 (const double *const[]){(double[]){0}, (double[]){0}},
                                                 (int64_t[]){1, 1}, out, 1),
                     1);
    assert_true(out[0] == 0); /* nothing was seen */

    /* buckets of 4 thresholds: all positives in the highest, all negatives in the lowest; then the other way
     * round; then mixed */
    const dlt_item *auc = dlt_test_item(arena, "metric", "{AUC: {num_thresholds: 4}}");
    const double high[] = {0, 0, 0, 5}, low[] = {7, 0, 0, 0}, even[] = {1, 1, 1, 1};
    dlt_metric_of(auc)->result(auc->params, (const double *const[]){high, low}, (int64_t[]){4, 4}, out, 1);
    assert_true(out[0] == 1);
    dlt_metric_of(auc)->result(auc->params, (const double *const[]){even, even}, (int64_t[]){4, 4}, out, 1);
    assert_true(fabs(out[0] - 0.5 + 0.5 * 0.25 * 0.25) <
                1e-12); /* the curve has no point above the highest threshold */
    const dlt_item *labels = dlt_test_item(
        arena, "metric", "{AUC: {num_thresholds: 4, multi_label: true, label_weights: [3, 1]}}");
    const double positives[] = {0, 0, 0, 5, 1, 1, 1, 1}, negatives[] = {7, 0, 0, 0, 1, 1, 1, 1};
    dlt_metric_of(labels)->result(labels->params, (const double *const[]){positives, negatives},
                                  (int64_t[]){8, 8}, out, 1);
    assert_true(fabs(out[0] - (3 + 0.5 - 0.5 * 0.25 * 0.25) / 4) < 1e-12);
    dlt_arena_destroy(arena);
}

static void metrics_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *metric;
        dlt_shape t, p;
        const char *text;
    } cases[] = {
        {"{Precision: {class_id: 3}}",
         {2, {4, 3}},
         {2, {4, 3}},
         "test.yaml:2:12: class_id 3 needs outputs of at least 4 classes, got 3"},
        {"{R2Score: {}}",
         {3, {4, 2, 3}},
         {3, {4, 2, 3}},
         "test.yaml:2:12: R2Score needs outputs (N, outputs), got (None, 2, 3)"},
        {"{AUC: {multi_label: true}}", {1, {4}}, {1, {4}}, ""},
        {"{AUC: {multi_label: true, num_labels: 2}}",
         {2, {4, 3}},
         {2, {4, 3}},
         "test.yaml:2:12: AUC with multi_label needs outputs (N, labels) of num_labels, got (None, 3)"},
        {"{AUC: {label_weights: [1, 2]}}",
         {2, {4, 3}},
         {2, {4, 3}},
         "test.yaml:2:12: AUC has 2 label_weights for 3 outputs"},
        {"sparse_categorical_accuracy",
         {2, {4, 3}},
         {2, {4, 3}},
         "test.yaml:2:11: targets have shape (None, 3); outputs of shape (None, 3) need (None,)"},
    };
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        dlt_test_run *run = dlt_test_run_open();
        const dlt_item *item = dlt_test_item(run->arena, "metric", cases[i].metric);
        dlt_metric_set *set;
        assert_int_equal(
            dlt_metric_set_create(run->arena, &(dlt_items){1, &item}, &(dlt_items){0}, &set, run->diag),
            DLT_OK);
        dlt_builder *b = dlt_builder_create(
            run->arena, run->variables,
            &(dlt_builder_options){
                .name = "evaluate", .mode = DLT_MODE_EVALUATE, .real = DLT_F32, .batch = 4},
            run->diag);
        const dlt_outcome o = {.y_true = dlt_input(b, "t", DLT_F32, cases[i].t),
                               .y_pred = dlt_input(b, "p", DLT_F32, cases[i].p)};
        dlt_metric_set_update(b, set, &o, NULL);
        assert_string_equal(dlt_diag_text(run->diag, 0), cases[i].text);
        dlt_test_run_close(run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_keras),
        cmocka_unit_test(names_of_the_logs_are_refused),
        cmocka_unit_test(several_values_have_numbers),
        cmocka_unit_test(results_come_from_sums_alone),
        cmocka_unit_test(metrics_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
