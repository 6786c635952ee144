/* tests/unit/test_optimizers.c: optimizers that have no golden vectors, steps far on, padding between
 * weights, the guard. */
#include "support/golden.h"
#include "support/run.h"
#include "support/support.h"
#include "trainer/optimizer.h"
#include "trainer/variables.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two weights (3) and (5), so that there is padding between them; loss = sum of w g, so that the gradients
 * are what is put in. */
enum { WEIGHTS = 2 };
static const int64_t counts[WEIGHTS] = {3, 5};

typedef struct fixture {
    dlt_test_run *run;
    const dlt_item *optimizer, *constraint;
    dlt_variable *w[WEIGHTS];
} fixture;

static int add_program(fixture *f, dlt_update_kind kind)
{
    static const char *const names[] = {"a/w", "b/w"};
    dlt_builder *b = dlt_builder_create(
        f->run->arena, f->run->variables,
        &(dlt_builder_options){.name = "step", .mode = DLT_MODE_TRAIN, .real = DLT_F32, .batch = 1},
        f->run->diag);
    dlt_value *loss = NULL;
    for (int i = 0; i < WEIGHTS; i++) {
        dlt_value *w = dlt_variable_value(b, &(dlt_variable){.path = names[i],
                                                             .group = names[i],
                                                             .role = DLT_VARIABLE_WEIGHT,
                                                             .type = DLT_F32,
                                                             .shape = DLT_SHAPE(counts[i]),
                                                             .storage = DLT_PARAM,
                                                             .created_trainable = true,
                                                             .trainable = true,
                                                             .constraint = f->constraint,
                                                             .layer = "test"});
        dlt_value *part =
            dlt_sum_all(b, dlt_mul(b, w, dlt_input(b, names[i], DLT_F32, DLT_SHAPE(counts[i]))));
        loss = loss != NULL ? dlt_add(b, loss, part) : part;
        f->w[i] = dlt_variables_find(f->run->variables, names[i]);
    }
    dlt_update_report report;
    dlt_optimizer_build(b, f->optimizer, loss, kind, &report);
    dlt_output(b, "grad_norm", report.grad_norm);
    dlt_output(b, "learning_rate", report.rate);
    dlt_graph *graph = NULL;
    if (dlt_builder_finish(b, &graph) != DLT_OK) {
        fail_msg("%s", dlt_diag_text(f->run->diag, 0));
    }
    return dlt_test_run_add(f->run, graph);
}

static fixture open_fixture(const char *optimizer, const char *constraint)
{
    fixture f = {.run = dlt_test_run_open()};
    f.optimizer = dlt_test_item(f.run->arena, "optimizer", optimizer);
    f.constraint = constraint != NULL ? dlt_test_item(f.run->arena, "constraint", constraint) : NULL;
    return f;
}

static void set_weights(fixture *f, const double *w)
{
    dlt_test_set(f->run, f->w[0], NULL, w);
    dlt_test_set(f->run, f->w[1], NULL, w + counts[0]);
}

static bool step(fixture *f, int program, const double *g)
{
    dlt_test_input(f->run, program, 0, g);
    dlt_test_input(f->run, program, 1, g + counts[0]);
    return dlt_test_run_once(f->run, program);
}

static void get_weights(fixture *f, double *w)
{
    dlt_test_get(f->run, f->w[0], NULL, w);
    dlt_test_get(f->run, f->w[1], NULL, w + counts[0]);
}

static void other_optimizers_are_those_of_keras(void **state)
{
    (void)state;
    /* four weights after eight steps with gradients sin(1.3 t + i)(1 + i / 2); by Keras 3.15.1 on JAX */
    static const struct {
        const char *optimizer;
        double w[4];
        const char *slots[4]; /* of the first weight, as the file has them */
    } cases[] = {
        {"{Adagrad: {learning_rate: 0.1}}",
         {0.384102613, -1.30901814, 1.99176562, 0.0651804209},
         {"accumulator"}},
        {"{Adagrad: {learning_rate: 0.1, initial_accumulator_value: 0.5, epsilon: 1e-3}}",
         {0.399792194, -1.29812884, 1.99443913, 0.0911656618},
         {"accumulator"}},
        {"{Adadelta: {learning_rate: 1.0, rho: 0.9, epsilon: 1e-3}}",
         {0.334158212, -1.30937612, 2.05657005, 0.156177491},
         {"accumulated_grad", "accumulated_delta_var"}},
        {"{Adamax: {learning_rate: 0.1}}",
         {0.353590965, -1.47262847, 1.87624514, 0.0483742431},
         {"momentum", "norm"}},
        {"{Nadam: {learning_rate: 0.1}}",
         {0.339462668, -1.35358298, 1.98176551, 0.0702145547},
         {"momentum", "velocity"}},
        {"{Lion: {learning_rate: 0.1}}", {0.200000018, -1.20000005, 2.19999981, 0.210000008}, {"momentum"}},
        {"{Ftrl: {learning_rate: 0.1}}",
         {-0.115897387, -1.01738846, 1.64913559, 0.0585058369},
         {"accumulator", "linear"}},
        {"{Ftrl: {learning_rate: 0.2, learning_rate_power: -0.7, initial_accumulator_value: 0.3, "
         "l1_regularization_strength: 0.05, l2_regularization_strength: 0.02, "
         "l2_shrinkage_regularization_strength: 0.01, beta: 0.1}}",
         {-0.172615662, -0.965722561, 1.53764558, 0.0702194497},
         {"accumulator", "linear"}},
    };
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        fixture f = open_fixture(cases[i].optimizer, NULL);
        const int program = add_program(&f, DLT_UPDATE_STEP);
        double w[8] = {0.5, -1.2, 2.0, 0.01}, g[8];
        dlt_test_run_start(f.run);
        set_weights(&f, w);
        for (int t = 0; t < 8; t++) {
            for (int k = 0; k < 8; k++) {
                g[k] = k < 4 ? sin(1.3 * t + k) * (1 + 0.5 * k) : 0;
            }
            assert_true(step(&f, program, g));
        }
        get_weights(&f, w);
        dlt_assert_close(cases[i].optimizer, w, cases[i].w, 4, 1e-5);
        /* iteration, learning_rate, then slots by weight; the scalar of Nadam ends the list */
        const dlt_saved *list;
        int count, slots = 0;
        assert_int_equal(dlt_saved_list(f.run->arena, f.run->variables, f.optimizer, DLT_SAVED_OPTIMIZER,
                                        &list, &count, f.run->diag),
                         DLT_OK);
        for (; slots < 4 && cases[i].slots[slots] != NULL; slots++) {
            char path[64];
            snprintf(path, sizeof path, "optimizer:%s", cases[i].slots[slots]);
            assert_string_equal(list[2 + slots].variable->path, path);
            assert_ptr_equal(list[2 + slots].part, f.w[0]);
        }
        const bool scalar = dlt_optimizer_of(f.optimizer)->scalar != NULL;
        assert_int_equal(count, 2 + WEIGHTS * slots + scalar);
        assert_true(!scalar || strcmp(list[count - 1].variable->path, "optimizer:u_product") == 0);
        dlt_test_run_close(f.run);
    }
}

static const char *const all[] = {"{SGD: {momentum: 0.9, nesterov: true, ",
                                  "{RMSprop: {momentum: 0.9, centered: true, ",
                                  "{Adam: {amsgrad: true, ",
                                  "{AdamW: {",
                                  "{Adagrad: {",
                                  "{Adadelta: {",
                                  "{Adamax: {",
                                  "{Nadam: {",
                                  "{Lion: {",
                                  "{Ftrl: {"};

/* Bytes of a storage class that belong to no variable's elements. */
static void check_padding(fixture *f, const char *what)
{
    const dlt_storage storages[] = {DLT_PARAM, DLT_STATE, DLT_GRAD};
    const int64_t sizes[] = {f->run->variables->param_bytes, f->run->variables->state_bytes,
                             f->run->variables->grad_bytes};
    for (int s = 0; s < 3; s++) {
        unsigned char *bytes = calloc((size_t)sizes[s] + 1, 1), *used = calloc((size_t)sizes[s] + 1, 1);
        assert_int_equal(dlt_backend_cpu.read(f->run->memory, storages[s], 0, bytes, sizes[s], f->run->diag),
                         DLT_OK);
        for (int i = 0; i < f->run->variables->count; i++) {
            const dlt_variable *v = f->run->variables->list[i];
            const bool flat = v->layout.kind == DLT_LAYOUT_FLAT;
            if (s < 2 && v->storage == storages[s] && !flat) {
                memset(used + v->offset, 1, (size_t)dlt_shape_count(&v->shape) * dlt_dtype_size(v->type));
            }
            for (int k = 0;
                 k < WEIGHTS && ((s < 2 && v->storage == storages[s] && flat) || (s == 2 && i == 0)); k++) {
                memset(used + (s < 2 ? v->offset : 0) + f->w[k]->offset, 1,
                       (size_t)counts[k] * sizeof(float));
            }
        }
        int64_t padding = 0;
        for (int64_t i = 0; i < sizes[s]; i++) {
            padding += used[i] == 0;
            if (used[i] == 0 && bytes[i] != 0) {
                fail_msg("%s: byte %lld of %s is padding and not 0", what, (long long)i,
                         dlt_storage_name(storages[s]));
            }
        }
        assert_true(padding > 0);
        free(bytes);
        free(used);
    }
}

static void padding_stays_zero(void **state)
{
    (void)state;
    static const char *const rest[] = {
        "learning_rate: 0.1, weight_decay: 0.1, clipnorm: 0.5, use_ema: true, ema_overwrite_frequency: 2}}",
        "learning_rate: 0.1, global_clipnorm: 0.5, gradient_accumulation_steps: 2}}"};
    static const char *const constraints[] = {"{MinMaxNorm: {min_value: 0.5, rate: 0.5}}", "UnitNorm",
                                              "NonNeg", "{MaxNorm: {max_value: 0.7}}"};
    for (size_t i = 0; i < DLT_COUNT(all); i++) {
        for (size_t k = 0; k < DLT_COUNT(rest); k++) {
            char text[256];
            snprintf(text, sizeof text, "%s%s", all[i], rest[k]);
            fixture f = open_fixture(text, constraints[(i + k) % DLT_COUNT(constraints)]);
            const bool accumulates = k == 1;
            const int apply = add_program(&f, accumulates ? DLT_UPDATE_APPLY : DLT_UPDATE_STEP);
            const int add = accumulates ? add_program(&f, DLT_UPDATE_ACCUMULATE) : apply;
            dlt_test_run_start(f.run);
            set_weights(&f, (double[]){1, -2, 3, 0.5, 0.25, -0.125, 0, 2});
            for (int t = 0; t < 6; t++) {
                assert_true(step(&f, t % 2 == 1 ? apply : add, (double[]){1, -1, 0.5, 0, 2, 0.1, -3, t}));
            }
            check_padding(&f, text);
            dlt_test_run_close(f.run);
        }
    }
}

static void steps_far_on_are_right(void **state)
{
    (void)state;
    static const double iterations[] = {999, 99999, 1e6, 3e9};
    for (size_t i = 0; i < DLT_COUNT(iterations); i++) {
        fixture f = open_fixture("{Adam: {learning_rate: 0.01}}", NULL);
        const int program = add_program(&f, DLT_UPDATE_STEP);
        dlt_test_run_start(f.run);
        const dlt_variable *iteration = dlt_variables_find(f.run->variables, DLT_PATH_ITERATION);
        const dlt_variable *m = dlt_variables_find(f.run->variables, "optimizer:momentum");
        const dlt_variable *v = dlt_variables_find(f.run->variables, "optimizer:velocity");
        dlt_test_set(f.run, iteration, NULL, &iterations[i]);
        set_weights(&f, (double[8]){1});
        dlt_test_set(f.run, m, f.w[0], (double[]){0.5, 0, 0});
        dlt_test_set(f.run, v, f.w[0], (double[]){0.25, 1, 1});
        assert_true(step(&f, program, (double[8]){-1}));
        const double t = iterations[i] + 1, m1 = 0.9 * 0.5 - 0.1, v1 = 0.999 * 0.25 + 0.001;
        const double alpha = 0.01 * sqrt(1 - pow(0.999, t)) / (1 - pow(0.9, t));
        const double expected = 1 - alpha * m1 / (sqrt(v1) + 1e-7);
        double w[8], now;
        get_weights(&f, w);
        dlt_assert_close("weight", w, &expected, 1, 1e-6);
        dlt_test_get(f.run, iteration, NULL, &now);
        assert_true(now == t);
        dlt_test_run_close(f.run);
    }
}

static void clipping_holds_the_norm(void **state)
{
    (void)state;
    static const struct {
        const char *optimizer;
        double expected[8];
    } cases[] = {
        {"{SGD: {learning_rate: 1, clipnorm: 1}}",
         {-0.6, -0.8, 0, -0.5, 0, 0, 0, 0}}, /* (3, 4) to (0.6, 0.8); 0.5 stays */
        {"{SGD: {learning_rate: 1, clipvalue: 1}}", {-1, -1, 0, -0.5, 0, 0, 0, 0}},
        {"{SGD: {learning_rate: 1, global_clipnorm: 100}}", {-3, -4, 0, -0.5, 0, 0, 0, 0}},
    };
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        fixture f = open_fixture(cases[i].optimizer, NULL);
        const int program = add_program(&f, DLT_UPDATE_STEP);
        double w[8], norm;
        dlt_test_run_start(f.run);
        assert_true(step(&f, program, (double[8]){3, 4, 0, 0.5}));
        get_weights(&f, w);
        dlt_assert_close(cases[i].optimizer, w, cases[i].expected, 8, 1e-6);
        dlt_test_output(f.run, program, "grad_norm", &norm); /* before clipping */
        dlt_assert_close("norm", &norm, &(double){sqrt(25.25)}, 1, 1e-6);
        dlt_test_run_close(f.run);
    }
}

static void what_is_not_finite_changes_nothing(void **state)
{
    (void)state;
    static const double bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < DLT_COUNT(all); i++) {
        for (size_t k = 0; k < DLT_COUNT(bad); k++) {
            char text[256];
            snprintf(text, sizeof text, "%sclipnorm: 1, use_ema: true}}", all[i]);
            fixture f = open_fixture(text, "NonNeg");
            const int program = add_program(&f, DLT_UPDATE_STEP);
            dlt_test_run_start(f.run);
            set_weights(&f, (double[]){1, 2, 3, 4, 5, 6, 7, 8});
            assert_true(step(&f, program, (double[]){1, -1, 1, -1, 1, -1, 1, -1}));
            const size_t param = (size_t)f.run->variables->param_bytes,
                         bytes = (size_t)f.run->variables->state_bytes;
            unsigned char *before = malloc(param + bytes), *after = malloc(param + bytes);
            assert_int_equal(
                dlt_backend_cpu.read(f.run->memory, DLT_PARAM, 0, before, (int64_t)param, f.run->diag),
                DLT_OK);
            assert_int_equal(dlt_backend_cpu.read(f.run->memory, DLT_STATE, 0, before + param, (int64_t)bytes,
                                                  f.run->diag),
                             DLT_OK);
            assert_false(step(&f, program, (double[]){1, -1, 1, -1, 1, bad[k], 1, -1}));
            assert_int_equal(
                dlt_backend_cpu.read(f.run->memory, DLT_PARAM, 0, after, (int64_t)param, f.run->diag),
                DLT_OK);
            assert_int_equal(
                dlt_backend_cpu.read(f.run->memory, DLT_STATE, 0, after + param, (int64_t)bytes, f.run->diag),
                DLT_OK);
            assert_memory_equal(before, after, param + bytes);
            free(before);
            free(after);
            dlt_test_run_close(f.run);
        }
    }
}

static void a_rate_in_a_variable_can_be_changed(void **state)
{
    (void)state;
    fixture f = open_fixture("{SGD: {learning_rate: 0.5}}", NULL);
    const int program = add_program(&f, DLT_UPDATE_STEP);
    double w[8], rate;
    dlt_test_run_start(f.run);
    const dlt_variable *variable = dlt_variables_find(f.run->variables, DLT_PATH_LEARNING_RATE);
    assert_true(step(&f, program, (double[8]){1}));
    dlt_test_set(f.run, variable, NULL, &(double){0.25});
    assert_true(step(&f, program, (double[8]){1}));
    get_weights(&f, w);
    assert_true(w[0] == -0.75);
    dlt_test_output(f.run, program, "learning_rate", &rate);
    assert_true(rate == 0.25);
    dlt_test_run_close(f.run);
    f = open_fixture("{SGD: {learning_rate: {ExponentialDecay: {initial_learning_rate: 0.5, decay_steps: 1, "
                     "decay_rate: 0.5}}}}",
                     NULL);
    add_program(&f, DLT_UPDATE_STEP);
    assert_null(dlt_variables_find(f.run->variables, DLT_PATH_LEARNING_RATE)); /* as in Keras' file */
    dlt_test_run_close(f.run);
}

static void restarts_fall_on_their_steps(void **state)
{
    (void)state;
    /* lengths 10, 20, 40, ...: restarts at 10, 30, 70, 150, ..., where the rate is the first again */
    fixture f = open_fixture(
        "{SGD: {learning_rate: {CosineDecayRestarts: {initial_learning_rate: 0.1, first_decay_steps: 10}}}}",
        NULL);
    const int program = add_program(&f, DLT_UPDATE_STEP);
    dlt_test_run_start(f.run);
    for (int k = 0; k < 20; k++) {
        const double restart = 10 * (pow(2, k) - 1);
        for (int before = 0; before < 2 && restart - before >= 0; before++) {
            const double at = restart - before, last = 10 * pow(2, k - 1);
            const double expected =
                before == 0 ? 0.1 : 0.05 * (1 + cos(3.14159265358979323846 * (last - 1) / last));
            double rate;
            dlt_test_set(f.run, dlt_variables_find(f.run->variables, DLT_PATH_ITERATION), NULL, &at);
            assert_true(step(&f, program, (double[8]){0}));
            dlt_test_output(f.run, program, "learning_rate", &rate);
            if (!(fabs(rate - expected) <= 1e-8)) {
                fail_msg("rate %.9g at step %.0f, expected %.9g", rate, at, expected);
            }
        }
    }
    dlt_test_run_close(f.run);
}

static void nothing_to_train_is_said(void **state)
{
    (void)state;
    dlt_test_run *run = dlt_test_run_open();
    const dlt_item *optimizer = dlt_test_item(run->arena, "optimizer", "Adam");
    dlt_builder *b = dlt_builder_create(
        run->arena, run->variables,
        &(dlt_builder_options){.name = "step", .mode = DLT_MODE_TRAIN, .real = DLT_F32, .batch = 1},
        run->diag);
    dlt_update_report report;
    dlt_graph *graph;
    dlt_optimizer_build(b, optimizer, dlt_input(b, "x", DLT_F32, dlt_scalar()), DLT_UPDATE_STEP, &report);
    assert_int_equal(dlt_builder_finish(b, &graph), DLT_E_CONFIG);
    assert_string_equal(dlt_diag_text(run->diag, 0),
                        "test.yaml:2:12: there is nothing to train: no layer has trainable weights");
    dlt_test_run_close(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_optimizers_are_those_of_keras),
        cmocka_unit_test(padding_stays_zero),
        cmocka_unit_test(steps_far_on_are_right),
        cmocka_unit_test(clipping_holds_the_norm),
        cmocka_unit_test(what_is_not_finite_changes_nothing),
        cmocka_unit_test(a_rate_in_a_variable_can_be_changed),
        cmocka_unit_test(restarts_fall_on_their_steps),
        cmocka_unit_test(nothing_to_train_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
