/* tests/unit/test_model_check.c: what is said about models whose parts do not fit each other. */
#include "support/run.h"
#include "support/support.h"
#include "trainer/check.h"

#include <string.h>

/* All messages of a check, one a line; "" where nothing is wrong. */
static const char *messages(dlt_arena *arena, const char *text, dlt_shape input,
                            const dlt_target_info *target, bool validation)
{
    dlt_diag *diag = dlt_diag_create();
    const dlt_spec *spec = &dlt_test_spec(arena, text)->value;
    dlt_metric_set *metrics;
    const dlt_step_input x = {.name = "x", .type = DLT_F32, .shape = input};
    const dlt_step_data data = {.inputs = &x, .input_count = 1};
    dlt_step step;
    dlt_variables *variables = dlt_variables_create(arena);
    assert_int_equal(dlt_metric_set_create(arena, &spec->metrics, &spec->weighted_metrics, &metrics, diag),
                     DLT_OK);
    if (dlt_step_build(arena, variables, spec, &data,
                       &(dlt_step_options){.kind = DLT_PROGRAM_PREDICT, .batch = 2, .real = DLT_F32}, metrics,
                       &step, diag) != DLT_OK) {
        fail_msg("%s", dlt_diag_text(diag, 0));
    }
    const dlt_check check = {.spec = spec,
                             .variables = variables,
                             .y = step.y,
                             .last = step.last,
                             .target = target,
                             .metrics = metrics,
                             .validation = validation};
    const dlt_status status = dlt_check_model(&check, diag);
    assert_int_equal(status, dlt_diag_count(diag, DLT_ERROR) > 0 ? DLT_E_CONFIG : DLT_OK);
    const char *all = "";
    for (size_t i = 0; i < dlt_diag_size(diag); i++) {
        all = dlt_arena_printf(arena, "%s%s%s", all, i > 0 ? "\n" : "", dlt_diag_text(diag, i));
    }
    dlt_diag_destroy(diag);
    return all;
}

static const dlt_target_info ten_classes = {.type = DLT_U8, .classes = 10};
static const dlt_target_info two_classes = {.type = DLT_I32, .classes = 2};
static const dlt_target_info two_names = {.type = DLT_I32, .classes = 2, .names = true};
static const dlt_target_info three_names = {.type = DLT_I32, .classes = 3, .names = true};
static const dlt_target_info one_hot = {.type = DLT_F32, .shape = {1, {10}}};
static const dlt_target_info number = {.type = DLT_F32};
static const dlt_target_info tokens = {.type = DLT_I32, .shape = {1, {5}}, .classes = 7};
static const dlt_target_info unsure = {.type = DLT_U8, .classes = 10, .uncertain = true};

typedef struct case_of {
    const char *layers, *rest;
    const dlt_target_info *target;
    const char *text;
} case_of;

static void check_cases(const case_of *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        dlt_arena *arena = dlt_arena_create();
        const char *text = dlt_arena_printf(arena, "layers:\n%s%s\n", cases[i].layers, cases[i].rest);
        const bool steps = cases[i].target == &tokens;
        assert_string_equal(
            messages(arena, text, steps ? DLT_SHAPE(5, 4) : DLT_SHAPE(4), cases[i].target, true),
            cases[i].text);
        dlt_arena_destroy(arena);
    }
}

static void losses_are_held_against_labels_and_outputs(void **state)
{
    (void)state;
    static const case_of cases[] = {
        /* all is well */
        {"  - Dense: {units: 10, activation: softmax}\n",
         "loss: sparse_categorical_crossentropy\nmetrics: [accuracy]", &ten_classes, ""},
        {"  - Dense: {units: 12, activation: softmax}\n",
         "loss: sparse_categorical_crossentropy\nmetrics: [accuracy]", &ten_classes, ""},
        {"  - Dense: {units: 10}\n  - Activation: {activation: softmax}\n", "loss: crossentropy", &one_hot,
         ""},
        {"  - Dense: {units: 10}\n", "loss: {SparseCategoricalCrossentropy: {from_logits: true}}",
         &ten_classes, ""},
        {"  - Dense: {units: 1, activation: sigmoid}\n",
         "loss: binary_crossentropy\nmetrics: [accuracy, AUC, {Precision: {}}]", &two_names, ""},
        {"  - Dense: {units: 1}\n", "loss: mse\nmetrics: [mae, {R2Score: {}}]", &number, ""},
        {"  - Dense: {units: 7, activation: softmax}\n",
         "loss: sparse_categorical_crossentropy\nmetrics: [accuracy]", &tokens, ""},
        {"  - Dense: {units: 10, activation: softmax}\n  - Reshape: {target_shape: [10]}\n",
         "loss: categorical_crossentropy", &one_hot, ""},
        {"  - Dense: {units: 1}\n", "loss: sparse_categorical_crossentropy", NULL,
         "test.yaml:3:7: loss sparse_categorical_crossentropy takes probabilities, but the last layer "
         "(test.yaml:2:5) gives values of activation linear; write activation: softmax there, or "
         "from_logits: true in the loss"},
        /* too few outputs */
        {"  - Dense: {units: 1, activation: sigmoid}\n", "loss: sparse_categorical_crossentropy",
         &ten_classes,
         "test.yaml:3:7: loss sparse_categorical_crossentropy with 10 classes needs 10 outputs; the last "
         "layer (test.yaml:2:5) gives 1"},
        {"  - Dense: {units: 5, activation: softmax}\n", "loss: sparse_categorical_crossentropy", &unsure,
         "test.yaml:3:7: loss sparse_categorical_crossentropy with 10 classes needs 10 outputs; the last "
         "layer (test.yaml:2:5) gives 5"}, /* there are 10 at least */
        {"  - Dense: {units: 1, activation: sigmoid}\n", "loss: binary_crossentropy", &unsure, ""},
        {"  - Dense: {units: 1, activation: sigmoid}\n", "loss: categorical_crossentropy", &one_hot,
         "test.yaml:3:7: loss categorical_crossentropy needs an output for each class; the last layer "
         "(test.yaml:2:5) gives 1; for two classes and one output there is binary_crossentropy"},
        {"  - Dense: {units: 5, activation: softmax}\n", "loss: categorical_crossentropy", &one_hot,
         "test.yaml:3:7: loss categorical_crossentropy with targets of 10 numbers needs 10 outputs; the last "
         "layer (test.yaml:2:5) gives 5"},
        /* the wrong form of targets */
        {"  - Dense: {units: 10, activation: softmax}\n", "loss: categorical_crossentropy", &ten_classes,
         "test.yaml:3:7: loss categorical_crossentropy wants a row of 10 numbers for each target; the "
         "targets are class numbers, for which there is sparse_categorical_crossentropy"},
        {"  - Dense: {units: 10, activation: softmax}\n", "loss: sparse_categorical_crossentropy", &one_hot,
         "test.yaml:3:7: loss sparse_categorical_crossentropy wants class numbers; the targets are rows of "
         "10 numbers, for which there is categorical_crossentropy"},
        {"  - Dense: {units: 1, activation: sigmoid}\n", "loss: binary_crossentropy", &ten_classes,
         "test.yaml:3:7: loss binary_crossentropy tells two classes apart, the targets have 10; "
         "sparse_categorical_crossentropy with 10 outputs can"},
        {"  - Dense: {units: 2, activation: softmax}\n", "loss: binary_crossentropy", &two_classes,
         "test.yaml:3:7: loss binary_crossentropy with one number a target needs 1 output; the last layer "
         "(test.yaml:2:5) gives 2; for as many classes there is sparse_categorical_crossentropy"},
        {"  - Dense: {units: 1}\n", "loss: mse", &three_names,
         "test.yaml:3:7: loss mse is for numbers; the targets are names of 3 classes"},
        {"  - Dense: {units: 3}\n", "loss: mse", &number,
         "test.yaml:3:7: loss mse needs targets of the outputs' shape; a target has shape (), and the last "
         "layer (test.yaml:2:5) gives (3,)"},
        /* metrics too */
        {"  - Dense: {units: 10, activation: softmax}\n",
         "loss: sparse_categorical_crossentropy\nmetrics: [categorical_accuracy, mse]", &ten_classes,
         "test.yaml:4:11: metric categorical_accuracy wants a row of 10 numbers for each target; the targets "
         "are class numbers, for which there is sparse_categorical_accuracy\n"
         "test.yaml:4:33: metric mse needs targets of the outputs' shape; a target has shape (), and the "
         "last layer (test.yaml:2:5) gives (10,)"},
        {"  - Dense: {units: 3, activation: softmax}\n",
         "loss: sparse_categorical_crossentropy\nmetrics: [{AUC: {}}]", &three_names,
         "test.yaml:4:12: metric AUC is for numbers; the targets are names of 3 classes"},
    };
    check_cases(cases, DLT_COUNT(cases));
}

static void losses_are_held_against_the_last_activation(void **state)
{
    (void)state;
    static const case_of cases[] = {
        {"  - Dense: {units: 10}\n", "loss: sparse_categorical_crossentropy", &ten_classes,
         "test.yaml:3:7: loss sparse_categorical_crossentropy takes probabilities, but the last layer "
         "(test.yaml:2:5) gives values of activation linear; write activation: softmax there, or "
         "from_logits: true in the loss"},
        {"  - Dense: {units: 1, activation: relu}\n", "loss: bce", &two_classes,
         "test.yaml:3:7: loss bce takes probabilities, but the last layer (test.yaml:2:5) gives values of "
         "activation relu; write activation: sigmoid there, or from_logits: true in the loss"},
        {"  - Dense: {units: 1, activation: softmax}\n", "loss: binary_crossentropy", &two_classes,
         "test.yaml:3:7: loss binary_crossentropy: the softmax of one output is always 1; use activation: "
         "sigmoid there"},
        {"  - Dense: {units: 10, activation: softmax}\n",
         "loss: {SparseCategoricalCrossentropy: {from_logits: true}}", &ten_classes,
         "test.yaml:3:53: loss SparseCategoricalCrossentropy takes logits (from_logits: true), but the last "
         "layer (test.yaml:2:5) gives probabilities: softmax is applied twice"},
        {"  - Dense: {units: 1, activation: hard_sigmoid}\n", "loss: binary_crossentropy", &two_classes, ""},
        {"  - Dense: {units: 4, activation: relu}\n  - Reshape: {target_shape: [4]}\n",
         "loss: categorical_crossentropy", NULL, ""},
    };
    check_cases(cases, DLT_COUNT(cases));
}

static void callbacks_are_held_against_the_logs(void **state)
{
    (void)state;
    static const struct {
        const char *fit;
        bool validation;
        const char *text;
    } cases[] = {
        {"[{EarlyStopping: {}}, {ReduceLROnPlateau: {monitor: acc}}, TerminateOnNaN]", true, ""},
        {"[{EarlyStopping: {monitor: val_accuracy}}]", true,
         "test.yaml:7:45: EarlyStopping watches 'val_accuracy', which is not measured; there are acc, loss, "
         "tp, val_acc, val_loss, val_tp"},
        {"[{EarlyStopping: {monitor: val_los}}]", true,
         "test.yaml:7:45: EarlyStopping watches 'val_los', which is not measured; did you mean 'val_loss'?"},
        {"[{EarlyStopping: {}}]", false,
         "test.yaml:7:20: EarlyStopping watches val_loss, but there are no validation data; give "
         "data.validation, or watch loss"},
        {"[{EarlyStopping: {monitor: tp}}]", true,
         "test.yaml:7:45: EarlyStopping: tp has no better direction of its own; write mode: min or mode: "
         "max"},
        {"[{EarlyStopping: {monitor: tp, mode: max}}]", true, ""},
        {"[{ModelCheckpoint: {monitor: nonsense}}]", true, ""}, /* it saves each time and does not look */
        {"[{ModelCheckpoint: {monitor: nonsense, save_best_only: true}}]", true,
         "test.yaml:7:47: ModelCheckpoint watches 'nonsense', which is not measured; there are acc, loss, "
         "tp, val_acc, val_loss, val_tp"},
        {"[{ModelCheckpoint: {filepath: \"m-{epoch:02d}-{val_los:.2f}.weights.h5\"}}]", true,
         "test.yaml:7:48: ModelCheckpoint: filepath names {val_los}, which has no value, or none of this "
         "format; did you mean {val_loss}?"},
        {"[{ModelCheckpoint: {filepath: \"m-{epoch:2x}.weights.h5\"}}]", true,
         "test.yaml:7:48: ModelCheckpoint: '{epoch:2x}.weights.h5' is no {name} or {name:format}; "
         "{epoch:02d} and {val_loss:.3f} are"},
        {"[{ModelCheckpoint: {filepath: \"m-{batch}.weights.h5\"}}]", true,
         "test.yaml:7:48: ModelCheckpoint: filepath names {batch}, which there is only with save_freq as a "
         "number of batches"},
    };
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        dlt_arena *arena = dlt_arena_create();
        const char *text =
            dlt_arena_printf(arena,
                             "layers:\n  - Dense: {units: 1, activation: sigmoid}\nloss: bce\nmetrics:\n  - "
                             "acc\n  - {TruePositives: {name: tp}}\nfit: {callbacks: %s}\n",
                             cases[i].fit);
        assert_string_equal(messages(arena, text, DLT_SHAPE(4), &two_classes, cases[i].validation),
                            cases[i].text);
        dlt_arena_destroy(arena);
    }
}

static void a_rate_has_one_master(void **state)
{
    (void)state;
    dlt_arena *arena = dlt_arena_create();
    assert_string_equal(
        messages(
            arena,
            "layers: [{Dense: {units: 1}}]\nloss: mse\n"
            "optimizer: {SGD: {learning_rate: {CosineDecay: {initial_learning_rate: 0.1, decay_steps: "
            "10}}}}\n"
            "fit: {callbacks: [{ReduceLROnPlateau: {}}, {LearningRateScheduler: {schedule: {0: 0.1}}}]}\n",
            DLT_SHAPE(4), &number, true),
        "test.yaml:4:20: ReduceLROnPlateau sets the learning rate, which CosineDecay (test.yaml:3:35) makes "
        "already\n"
        "test.yaml:4:45: LearningRateScheduler sets the learning rate, which CosineDecay (test.yaml:3:35) "
        "makes already");
    dlt_arena_destroy(arena);
}

static void initializers_are_held_against_shapes(void **state)
{
    (void)state;
    dlt_arena *arena = dlt_arena_create();
    assert_string_equal(
        messages(arena,
                 "layers: [{Dense: {units: 2, bias_initializer: orthogonal, kernel_initializer: "
                 "identity}}]\nloss: mse\n",
                 DLT_SHAPE(4), NULL, true),
        "test.yaml:1:47: Orthogonal needs a weight of rank 2 or more; dense/bias has shape (2,)");
    dlt_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_held_against_labels_and_outputs),
        cmocka_unit_test(losses_are_held_against_the_last_activation),
        cmocka_unit_test(callbacks_are_held_against_the_logs),
        cmocka_unit_test(a_rate_has_one_master),
        cmocka_unit_test(initializers_are_held_against_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
