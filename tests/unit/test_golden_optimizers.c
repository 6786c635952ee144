/* tests/unit/test_golden_optimizers.c: ten steps of each optimizer on three weights against Keras, and its
 * variables in the order of the file; learning-rate schedules. */
#include "support/golden.h"
#include "support/run.h"
#include "support/support.h"
#include "trainer/optimizer.h"
#include "trainer/variables.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WEIGHTS = 3, STEPS = 10, MOST = 12 };
static const int64_t counts[WEIGHTS] = {12, 4, 1};

typedef struct fixture {
    const char *name;
    dlt_test_run *run;
    const dlt_item *optimizer, *constraint;
    dlt_variable *w[WEIGHTS];
} fixture;

/* loss = sum of w g, so that the gradients are what is put in. */
static int add_program(fixture *f, dlt_update_kind kind)
{
    static const char *const names[] = {"w0", "w1", "w2"};
    const dlt_shape shapes[WEIGHTS] = {DLT_SHAPE(3, 4), DLT_SHAPE(4), dlt_scalar()};
    dlt_builder *b = dlt_builder_create(
        f->run->arena, f->run->variables,
        &(dlt_builder_options){.name = f->name, .mode = DLT_MODE_TRAIN, .real = DLT_F32, .batch = 1},
        f->run->diag);
    dlt_value *loss = NULL;
    for (int i = 0; i < WEIGHTS; i++) {
        dlt_value *w = dlt_variable_value(b, &(dlt_variable){.path = names[i],
                                                             .group = "layers/test",
                                                             .role = DLT_VARIABLE_WEIGHT,
                                                             .type = DLT_F32,
                                                             .shape = shapes[i],
                                                             .storage = DLT_PARAM,
                                                             .created_trainable = true,
                                                             .trainable = true,
                                                             .constraint = i == 0 ? f->constraint : NULL,
                                                             .layer = "test"});
        dlt_value *product = dlt_sum_all(b, dlt_mul(b, w, dlt_input(b, names[i], DLT_F32, shapes[i])));
        loss = loss != NULL ? dlt_add(b, loss, product) : product;
        f->w[i] = dlt_variables_find(f->run->variables, names[i]);
    }
    dlt_update_report report;
    dlt_optimizer_build(b, f->optimizer, loss, kind, &report);
    dlt_output(b, "grad_norm", report.grad_norm);
    dlt_output(b, "learning_rate", report.rate);
    dlt_graph *graph = NULL;
    if (dlt_builder_finish(b, &graph) != DLT_OK) {
        fail_msg("%s: %s", f->name, dlt_diag_text(f->run->diag, 0));
    }
    return dlt_test_run_add(f->run, graph);
}

static int add_finish(fixture *f)
{
    dlt_builder *b = dlt_builder_create(
        f->run->arena, f->run->variables,
        &(dlt_builder_options){.name = "finish", .mode = DLT_MODE_PREDICT, .real = DLT_F32, .batch = 1},
        f->run->diag);
    dlt_graph *graph = NULL;
    dlt_optimizer_finish(b);
    assert_int_equal(dlt_builder_finish(b, &graph), DLT_OK);
    return dlt_test_run_add(f->run, graph);
}

static void check_variables(const dlt_golden *g, fixture *f)
{
    const dlt_saved *list;
    int count;
    assert_int_equal(dlt_saved_list(f->run->arena, f->run->variables, f->optimizer, DLT_SAVED_OPTIMIZER,
                                    &list, &count, f->run->diag),
                     DLT_OK);
    for (int i = 0; i < count; i++) {
        char key[32], what[160], path[48];
        snprintf(key, sizeof key, "vars/%d", i);
        snprintf(path, sizeof path, "optimizer/%s", key);
        snprintf(what, sizeof what, "%s %s (%s)", f->name, key, list[i].variable->path);
        assert_string_equal(list[i].path, path);
        const dlt_golden_array *expected = dlt_golden_find(g, f->name, key);
        if (expected == NULL || !dlt_shape_equal(&expected->shape, &list[i].shape)) {
            fail_msg("%s: not in Keras' list", what);
        }
        double got[MOST];
        dlt_test_get(f->run, list[i].variable, list[i].part, got);
        dlt_assert_close(what, got, expected->values, dlt_shape_count(&expected->shape), 2e-5);
    }
    char after[32];
    snprintf(after, sizeof after, "vars/%d", count);
    if (dlt_golden_find(g, f->name, after) != NULL) {
        fail_msg("%s: Keras has more than %d variables", f->name, count);
    }
}

static void check_weights(const dlt_golden *g, fixture *f, const char *suffix, int step)
{
    for (int i = 0; i < WEIGHTS; i++) {
        char key[32], what[160];
        snprintf(key, sizeof key, "w%d_%s", i, suffix);
        snprintf(what, sizeof what, "%s %s step %d", f->name, key, step);
        const dlt_golden_array *expected = dlt_golden_find(g, f->name, key);
        double got[MOST];
        dlt_test_get(f->run, f->w[i], NULL, got);
        dlt_assert_close(what, got, expected->values + (step < 0 ? 0 : step) * counts[i], counts[i], 1e-5);
    }
}

static void run_case(const dlt_golden *g, const dlt_yaml *c)
{
    fixture f = {.name = dlt_golden_text(c, "name"), .run = dlt_test_run_open()};
    dlt_arena *arena = f.run->arena;
    f.optimizer = dlt_test_item(arena, "optimizer", dlt_golden_flow(arena, dlt_yaml_get(c, "optimizer")));
    if (dlt_yaml_get(c, "constraint") != NULL) {
        f.constraint =
            dlt_test_item(arena, "constraint", dlt_golden_flow(arena, dlt_yaml_get(c, "constraint")));
    }
    const dlt_optimizer_params *p = dlt_optimizer_common(f.optimizer);
    const int64_t rounds = p->gradient_accumulation_steps.set ? p->gradient_accumulation_steps.value : 1;
    const int step = add_program(&f, rounds > 1 ? DLT_UPDATE_APPLY : DLT_UPDATE_STEP);
    const int accumulate = rounds > 1 ? add_program(&f, DLT_UPDATE_ACCUMULATE) : -1;
    const int finish = p->use_ema ? add_finish(&f) : -1;
    dlt_test_run_start(f.run);
    const char *scale = dlt_golden_text(c, "gradient_scale");
    const dlt_golden_array *gradients[WEIGHTS];
    for (int i = 0; i < WEIGHTS; i++) {
        char key[8];
        snprintf(key, sizeof key, "w%d", i);
        dlt_test_set(f.run, f.w[i], NULL, dlt_golden_find(g, NULL, key)->values);
        key[0] = 'g';
        gradients[i] = dlt_golden_find(g, NULL, key);
    }
    for (int t = 0; t < STEPS; t++) {
        const int program = (t + 1) % rounds == 0 ? step : accumulate;
        for (int i = 0; i < WEIGHTS; i++) {
            double scaled[MOST];
            for (int64_t k = 0; k < counts[i]; k++) {
                scaled[k] = (double)(float)(gradients[i]->values[t * counts[i] + k] *
                                            (scale != NULL ? strtod(scale, NULL) : 1));
            }
            dlt_test_input(f.run, program, i, scaled);
        }
        assert_true(dlt_test_run_once(f.run, program));
        check_weights(g, &f, "after", t);
    }
    check_variables(g, &f);
    if (finish >= 0) {
        assert_true(dlt_test_run_once(f.run, finish));
        check_weights(g, &f, "final", -1);
    }
    dlt_test_run_close(f.run);
}

static void optimizers_are_those_of_keras(void **state)
{
    (void)state;
    dlt_golden *g = dlt_golden_open("optimizers");
    if (g == NULL) {
        skip();
    }
    for (size_t i = 0; i < g->cases->count; i++) {
        run_case(g, g->cases->values[i]);
    }
    print_message("%d cases\n", (int)g->cases->count);
    dlt_golden_close(g);
}

static void schedules_are_those_of_keras(void **state)
{
    (void)state;
    dlt_golden *g = dlt_golden_open("schedules");
    if (g == NULL) {
        skip();
    }
    for (size_t i = 0; i < g->cases->count; i++) {
        const dlt_yaml *c = g->cases->values[i];
        const char *name = dlt_golden_text(c, "name");
        dlt_test_run *run = dlt_test_run_open();
        const dlt_item *item =
            dlt_test_item(run->arena, "schedule", dlt_golden_flow(run->arena, dlt_yaml_get(c, "schedule")));
        dlt_builder *b = dlt_builder_create(
            run->arena, run->variables,
            &(dlt_builder_options){.name = name, .mode = DLT_MODE_PREDICT, .real = DLT_F32, .batch = 1},
            run->diag);
        dlt_value *step = dlt_input(b, "step", DLT_F64, dlt_scalar());
        dlt_output(b, "rate", dlt_schedule_of(item)->build(b, item->params, step));
        dlt_graph *graph = NULL;
        assert_int_equal(dlt_builder_finish(b, &graph), DLT_OK);
        dlt_test_run_add(run, graph);
        dlt_test_run_start(run);
        const dlt_golden_array *steps = dlt_golden_find(g, name, "steps"),
                               *values = dlt_golden_find(g, name, "value");
        for (int64_t k = 0; k < steps->shape.dim[0]; k++) {
            double got;
            char what[160];
            dlt_test_input(run, 0, 0, &steps->values[k]);
            assert_true(dlt_test_run_once(run, 0));
            dlt_test_output(run, 0, "rate", &got);
            snprintf(what, sizeof what, "%s at step %.0f", name, steps->values[k]);
            /* Keras' float32 loses digits where a rate falls towards 0 */
            if (!(fabs(got - values->values[k]) <=
                  1e-5 * fabs(values->values[k]) + 1e-7 * values->values[0])) {
                fail_msg("%s: %.9g, expected %.9g", what, got, values->values[k]);
            }
        }
        dlt_test_run_close(run);
    }
    print_message("%d cases\n", (int)g->cases->count);
    dlt_golden_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optimizers_are_those_of_keras),
        cmocka_unit_test(schedules_are_those_of_keras),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
