/* tests/unit/test_golden_weights.c: regularizers, constraints and initializers against Keras, alone and as
 * layers use them. */
#include "layers/layer.h"
#include "support/golden.h"
#include "support/run.h"
#include "support/support.h"
#include "trainer/initializer.h"

#include "base/num.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- layers ---- */

static dlt_shape shape_in(const dlt_yaml *list)
{
    dlt_shape shape = {.rank = 0};
    for (size_t i = 0; i < list->count; i++) {
        assert_true(dlt_parse_i64(list->values[i]->text, list->values[i]->length, &shape.dim[shape.rank++]));
    }
    return shape;
}

/* The layers of a case as a training program of this real type over the run's variables; *x is its input. */
static dlt_builder *build_layers(dlt_test_run *run, const dlt_yaml *c, dlt_value **x, dlt_value **y)
{
    const char *text =
        dlt_arena_printf(run->arena, "layers: %s\n", dlt_golden_flow(run->arena, dlt_yaml_get(c, "layers")));
    const dlt_spec *spec = &dlt_test_spec(run->arena, text)->value;
    const dlt_yaml *input = dlt_yaml_get(c, "input");
    const dlt_shape shape = shape_in(dlt_yaml_get(input, "shape"));
    const char *type = dlt_golden_text(input, "dtype");
    dlt_builder *b = dlt_builder_create(
        run->arena, run->variables,
        &(dlt_builder_options){
            .name = "train", .mode = DLT_MODE_TRAIN, .real = DLT_F32, .batch = shape.dim[0]},
        run->diag);
    *x = dlt_input(b, "x", type != NULL && strcmp(type, "int32") == 0 ? DLT_I32 : DLT_F32, shape);
    *y = dlt_model_apply(b, &spec->layers, *x, NULL, NULL, 0, NULL, NULL);
    if (dlt_builder_failed(b)) {
        fail_msg("%s: %s", dlt_golden_text(c, "name"), dlt_diag_text(run->diag, 0));
    }
    assert_true(dlt_variables_number(run->variables));
    return b;
}

static const char *weight_key(dlt_arena *arena, const char *kind, const dlt_variable *v)
{
    return dlt_arena_printf(arena, "%s/%s/vars/%d", kind, v->group, v->index);
}

static void finish(dlt_test_run *run, dlt_builder *b, const char *name)
{
    dlt_graph *graph = NULL;
    if (dlt_builder_finish(b, &graph) != DLT_OK) {
        fail_msg("%s: %s", name, dlt_diag_text(run->diag, 0));
    }
    dlt_test_run_add(run, graph);
    dlt_test_run_start(run);
}

/* ---- regularizers ---- */

static void regularize_alone(const dlt_golden *g, const dlt_yaml *c)
{
    const char *name = dlt_golden_text(c, "name");
    const dlt_golden_array *w = dlt_golden_find(g, name, "w"), *dw = dlt_golden_find(g, name, "dw");
    dlt_test_run *run = dlt_test_run_open();
    const dlt_item *item =
        dlt_test_item(run->arena, "regularizer", dlt_golden_flow(run->arena, dlt_yaml_get(c, "regularizer")));
    dlt_builder *b = dlt_builder_create(
        run->arena, run->variables,
        &(dlt_builder_options){.name = name, .mode = DLT_MODE_TRAIN, .real = DLT_F32, .batch = 1}, run->diag);
    dlt_value *x = dlt_input(b, "w", DLT_F32, w->shape), *dx = NULL, *value = dlt_regularize(b, item, x);
    dlt_gradients(b, value, &x, 1, &dx);
    dlt_output(b, "value", value);
    dlt_output(b, "dw", dx);
    finish(run, b, name);
    dlt_test_input(run, 0, 0, w->values);
    assert_true(dlt_test_run_once(run, 0));
    double got[256];
    dlt_test_output(run, 0, "value", got);
    dlt_assert_close(name, got, dlt_golden_find(g, name, "value")->values, 1, 1e-5);
    dlt_test_output(run, 0, "dw", got);
    dlt_assert_close(name, got, dw->values, dlt_shape_count(&dw->shape), 1e-5);
    dlt_test_run_close(run);
}

/* Penalty of a model, and the gradients of sum(y dy) + penalty. */
static void regularize_layers(const dlt_golden *g, const dlt_yaml *c)
{
    const char *name = dlt_golden_text(c, "name");
    dlt_test_run *run = dlt_test_run_open();
    dlt_value *x, *y;
    dlt_builder *b = build_layers(run, c, &x, &y);
    dlt_value *penalty = dlt_penalty_total(b, NULL);
    dlt_value *dy = dlt_input(b, "dy", DLT_F32, dlt_shape_of(y));
    dlt_value *total = dlt_sum_all(b, dlt_mul(b, y, dy));
    const dlt_golden_array *expected = dlt_golden_find(g, name, "reg");
    if (penalty != NULL) {
        total = dlt_add(b, total, penalty);
        dlt_output(b, "reg", penalty);
    } else {
        assert_true(expected == NULL || expected->values[0] == 0);
    }
    dlt_value *w[32], *dw[32];
    const dlt_variable *of[32];
    int count = 0;
    for (int i = 0; i < run->variables->count; i++) {
        dlt_variable *v = run->variables->list[i];
        if (v->role == DLT_VARIABLE_WEIGHT && v->trainable) {
            of[count] = v;
            w[count++] = dlt_current(b, v);
        }
    }
    dlt_gradients(b, total, w, count, dw);
    for (int i = 0; i < count; i++) {
        dlt_output(b, of[i]->path, dw[i]);
    }
    finish(run, b, name);
    for (int i = 0; i < run->variables->count; i++) {
        const dlt_variable *v = run->variables->list[i];
        const dlt_golden_array *value =
            v->role == DLT_VARIABLE_WEIGHT ? dlt_golden_find(g, name, weight_key(run->arena, "w", v)) : NULL;
        if (value != NULL) {
            dlt_test_set(run, v, NULL, value->values);
        }
    }
    dlt_test_input(run, 0, 0, dlt_golden_find(g, name, "x")->values);
    dlt_test_input(run, 0, 1, dlt_golden_find(g, name, "dy")->values);
    assert_true(dlt_test_run_once(run, 0));
    double got[1024];
    if (penalty != NULL) {
        assert_non_null(expected);
        dlt_test_output(run, 0, "reg", got);
        dlt_assert_close(name, got, expected->values, 1, 1e-5);
    }
    for (int i = 0; i < count; i++) {
        const dlt_golden_array *gradient = dlt_golden_find(g, name, weight_key(run->arena, "dw", of[i]));
        assert_non_null(gradient);
        dlt_test_output(run, 0, of[i]->path, got);
        dlt_assert_close(name, got, gradient->values, dlt_shape_count(&gradient->shape), 2e-5);
    }
    dlt_test_run_close(run);
}

/* Layers that take no activity_regularizer here, or refuse it where Keras drops it without a word. */
static bool is_refused(const char *name)
{
    return strcmp(name, "activity_batch_normalization") == 0 ||
           strcmp(name, "activity_layer_normalization") == 0 ||
           strcmp(name, "activity_in_time_distributed") == 0;
}

static void regularizers_are_those_of_keras(void **state)
{
    (void)state;
    dlt_golden *g = dlt_golden_open("regularizers");
    int done = 0;
    if (g == NULL) {
        skip();
    }
    for (size_t i = 0; i < g->cases->count; i++) {
        const dlt_yaml *c = g->cases->values[i];
        if (!is_refused(dlt_golden_text(c, "name"))) {
            (dlt_yaml_get(c, "layers") != NULL ? regularize_layers : regularize_alone)(g, c);
            done++;
        }
    }
    print_message("%d cases\n", done);
    dlt_golden_close(g);
}

/* ---- constraints ---- */

static void constrain_alone(const dlt_golden *g, const dlt_yaml *c)
{
    const char *name = dlt_golden_text(c, "name");
    const dlt_golden_array *w = dlt_golden_find(g, name, "w"),
                           *expected = dlt_golden_find(g, name, "projected");
    dlt_test_run *run = dlt_test_run_open();
    const dlt_item *item =
        dlt_test_item(run->arena, "constraint", dlt_golden_flow(run->arena, dlt_yaml_get(c, "constraint")));
    dlt_builder *b = dlt_builder_create(
        run->arena, run->variables,
        &(dlt_builder_options){.name = name, .mode = DLT_MODE_TRAIN, .real = DLT_F32, .batch = 1}, run->diag);
    dlt_output(b, "projected", dlt_constrain(b, item, dlt_input(b, "w", DLT_F32, w->shape)));
    finish(run, b, name);
    dlt_test_input(run, 0, 0, w->values);
    assert_true(dlt_test_run_once(run, 0));
    double got[256];
    dlt_test_output(run, 0, "projected", got);
    dlt_assert_close(name, got, expected->values, dlt_shape_count(&expected->shape), 1e-5);
    dlt_test_run_close(run);
}

static void constrain_layers(const dlt_golden *g, const dlt_yaml *c)
{
    const char *name = dlt_golden_text(c, "name");
    dlt_test_run *run = dlt_test_run_open();
    dlt_value *x, *y;
    dlt_builder *b = build_layers(run, c, &x, &y);
    for (int i = 0; i < run->variables->count; i++) {
        dlt_variable *v = run->variables->list[i];
        if (v->constraint != NULL) {
            dlt_output(b, v->path, dlt_constrain(b, v->constraint, dlt_current(b, v)));
        }
    }
    finish(run, b, name);
    int checked = 0;
    for (int i = 0; i < run->variables->count; i++) {
        const dlt_variable *v = run->variables->list[i];
        const dlt_golden_array *w =
            v->role == DLT_VARIABLE_WEIGHT ? dlt_golden_find(g, name, weight_key(run->arena, "w", v)) : NULL;
        if (w != NULL) {
            dlt_test_set(run, v, NULL, w->values);
        }
    }
    assert_true(dlt_test_run_once(run, 0));
    for (int i = 0; i < run->variables->count; i++) {
        const dlt_variable *v = run->variables->list[i];
        double got[1024];
        if (v->constraint != NULL) {
            const dlt_golden_array *expected =
                dlt_golden_find(g, name, weight_key(run->arena, "projected", v));
            assert_non_null(expected);
            dlt_test_output(run, 0, v->path, got);
            dlt_assert_close(name, got, expected->values, dlt_shape_count(&expected->shape), 1e-5);
            checked++;
        }
    }
    assert_true(checked > 0);
    dlt_test_run_close(run);
}

static void constraints_are_those_of_keras(void **state)
{
    (void)state;
    dlt_golden *g = dlt_golden_open("constraints");
    if (g == NULL) {
        skip();
    }
    for (size_t i = 0; i < g->cases->count; i++) {
        const dlt_yaml *c = g->cases->values[i];
        (dlt_yaml_get(c, "layers") != NULL ? constrain_layers : constrain_alone)(g, c);
    }
    print_message("%d cases\n", (int)g->cases->count);
    dlt_golden_close(g);
}

/* ---- initializers ---- */

enum { DRAWN = 120000 };

static double mean_of(const double *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += x[i];
    }
    return sum / (double)count;
}

static double deviation_of(const double *x, int64_t count)
{
    const double mean = mean_of(x, count);
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += (x[i] - mean) * (x[i] - mean);
    }
    return sqrt(sum / (double)count);
}

/* Columns (or rows, if there are fewer) at right angles and of length gain. */
static void check_orthogonal(const char *name, const double *x, const dlt_shape *shape, double gain)
{
    const int64_t columns = shape->dim[shape->rank - 1], rows = dlt_shape_count(shape) / columns;
    const bool tall = rows >= columns;
    const int64_t n = tall ? columns : rows, m = tall ? rows : columns;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j <= i; j++) {
            double dot = 0;
            for (int64_t k = 0; k < m; k++) {
                dot +=
                    tall ? x[k * columns + i] * x[k * columns + j] : x[i * columns + k] * x[j * columns + k];
            }
            if (!(fabs(dot - (i == j ? gain * gain : 0)) < 1e-12)) {
                fail_msg("%s: vectors %lld and %lld have product %g", name, (long long)i, (long long)j, dot);
            }
        }
    }
}

/* A weight's first value against what Keras gave its random generator. `suffix`: "" or
 * "/layers/dense/vars/0". */
static void check_initial(const dlt_golden *g, const char *name, const char *suffix, const dlt_variable *v,
                          dlt_diag *diag)
{
    char key[160];
    const dlt_golden_array *found;
    double *values = malloc((DRAWN + (size_t)dlt_shape_count(&v->shape)) * sizeof *values);
#define FIND(what) (snprintf(key, sizeof key, "%s%s", what, suffix), found = dlt_golden_find(g, name, key))
    if (FIND("exact") != NULL) {
        assert_int_equal(dlt_initial_value(v, 7, values, diag), DLT_OK);
        dlt_assert_close(name, values, found->values, dlt_shape_count(&v->shape), 1e-6);
        free(values);
        return;
    }
    if (FIND("orthogonal") != NULL) {
        assert_int_equal(dlt_initial_value(v, 7, values, diag), DLT_OK);
        check_orthogonal(name, values, &v->shape, found->values[0]);
        free(values);
        return;
    }
    dlt_variable large = *v;
    if (large.fan_in == 0) {
        dlt_fans(&v->shape, &large.fan_in, &large.fan_out);
    }
    if (FIND("fans") != NULL) {
        assert_int_equal(large.fan_in, (int64_t)found->values[0]);
        assert_int_equal(large.fan_out, (int64_t)found->values[1]);
    }
    large.shape = DLT_SHAPE(DRAWN);
    large.ones_count = 0;
    assert_int_equal(dlt_initial_value(&large, 7, values, diag), DLT_OK);
    double least = INFINITY, most = -INFINITY;
    for (int i = 0; i < DRAWN; i++) {
        least = fmin(least, values[i]);
        most = fmax(most, values[i]);
    }
    const double deviation = deviation_of(values, DRAWN), mean = mean_of(values, DRAWN);
    double low = -INFINITY, high = INFINITY, middle;
    if (FIND("uniform") != NULL) {
        low = found->values[0];
        high = found->values[1];
        middle = (low + high) / 2;
        assert_true(least < low + 1e-3 * (high - low) && most > high - 1e-3 * (high - low));
    } else if (FIND("truncated_normal") != NULL) {
        middle = found->values[0];
        low = middle - 2 * found->values[1];
        high = middle + 2 * found->values[1];
        assert_true(most > high - 0.02 * (high - low));
    } else {
        assert_non_null(FIND("normal"));
        middle = found->values[0];
        assert_true(most > middle + 3.5 * found->values[1]);
    }
    const double slack = 1e-6 * (isfinite(high) ? high - low : 0);
    if (!(least >= low - slack && most <= high + slack)) {
        fail_msg("%s%s: values in [%g, %g], expected within [%g, %g]", name, suffix, least, most, low, high);
    }
    assert_non_null(FIND("std"));
    if (!(fabs(deviation - found->values[0]) <= 0.01 * found->values[0]) ||
        !(fabs(mean - middle) <= 0.015 * found->values[0])) {
        fail_msg("%s%s: mean %g, deviation %g; expected %g, %g", name, suffix, mean, deviation, middle,
                 found->values[0]);
    }
    free(values);
#undef FIND
}

static void initializers_are_those_of_keras(void **state)
{
    (void)state;
    dlt_golden *g = dlt_golden_open("initializers");
    if (g == NULL) {
        skip();
    }
    int weights = 0;
    for (size_t i = 0; i < g->cases->count; i++) {
        const dlt_yaml *c = g->cases->values[i];
        const char *name = dlt_golden_text(c, "name");
        dlt_test_run *run = dlt_test_run_open();
        if (dlt_yaml_get(c, "layers") == NULL) {
            const dlt_item *item = dlt_test_item(run->arena, "initializer",
                                                 dlt_golden_flow(run->arena, dlt_yaml_get(c, "initializer")));
            const dlt_variable v = {
                .path = name, .shape = shape_in(dlt_yaml_get(c, "shape")), .initializer = item};
            check_initial(g, name, "", &v, run->diag);
            weights++;
        } else {
            dlt_value *x, *y;
            build_layers(run, c, &x, &y);
            for (int k = 0; k < run->variables->count; k++) {
                const dlt_variable *v = run->variables->list[k];
                if (v->role == DLT_VARIABLE_WEIGHT) {
                    check_initial(g, name, weight_key(run->arena, "", v), v, run->diag);
                    weights++;
                }
            }
        }
        dlt_test_run_close(run);
    }
    print_message("%d cases, %d weights\n", (int)g->cases->count, weights);
    dlt_golden_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regularizers_are_those_of_keras),
        cmocka_unit_test(constraints_are_those_of_keras),
        cmocka_unit_test(initializers_are_those_of_keras),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
