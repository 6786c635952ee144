/* tests/unit/test_golden_layers.c: layers, activations and containers against Keras: outputs at inference and in training,
 * gradients of input and weights, changed statistics, paths of weights; and the masks that leave layers. */
#include "layers/layer.h"
#include "support/golden.h"
#include "support/run.h"
#include "support/support.h"
#include "trainer/initializer.h"

#include "base/num.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WEIGHTS = 96 };

static dlt_shape shape_in(const dlt_yaml *list)
{
    dlt_shape shape = {.rank = 0};
    for (size_t i = 0; i < list->count; i++) {
        assert_true(dlt_parse_i64(list->values[i]->text, list->values[i]->length, &shape.dim[shape.rank++]));
    }
    return shape;
}

static void must(const dlt_test_run *run, const dlt_yaml *c, bool good)
{
    if (!good) {
        fail_msg("%s: %s", dlt_golden_text(c, "name"),
                 dlt_diag_size(run->diag) > 0 ? dlt_diag_text(run->diag, 0) : "failed without a message");
    }
}

/* The layers of a case as a program over the run's variables. */
static dlt_builder *build(dlt_test_run *run, const dlt_yaml *c, const char *name, dlt_mode mode, dlt_value **x, dlt_value **y)
{
    const char *text =
        dlt_arena_printf(run->arena, "layers: %s\n", dlt_golden_flow(run->arena, dlt_yaml_get(c, "layers")));
    const dlt_spec *spec = &dlt_test_spec(run->arena, text)->value;
    const dlt_yaml *input = dlt_yaml_get(c, "input");
    const dlt_shape shape = shape_in(dlt_yaml_get(input, "shape"));
    const char *type = dlt_golden_text(input, "dtype");
    dlt_builder *b = dlt_builder_create(
        run->arena, run->variables,
        &(dlt_builder_options){.name = name, .mode = mode, .real = DLT_F32, .batch = shape.dim[0]}, run->diag);
    const bool ints = type != NULL && strcmp(type, "int32") == 0, bytes = type != NULL && strcmp(type, "uint8") == 0;
    *x = dlt_input(b, "x", ints ? DLT_I32 : bytes ? DLT_U8 : DLT_F32, shape);
    *y = dlt_model_apply(b, &spec->layers, *x, NULL, NULL, 0, NULL, NULL);
    must(run, c, *y != NULL && !dlt_builder_failed(b));
    return b;
}

static void add(dlt_test_run *run, const dlt_yaml *c, dlt_builder *b)
{
    dlt_graph *graph = NULL;
    must(run, c, dlt_builder_finish(b, &graph) == DLT_OK);
    dlt_test_run_add(run, graph);
}

static const dlt_golden_array *array_of(const dlt_golden *g, const dlt_yaml *c, const char *kind, const dlt_variable *v,
                                        dlt_arena *arena)
{
    return dlt_golden_find(g, dlt_golden_text(c, "name"), dlt_arena_printf(arena, "%s/%s/vars/%d", kind, v->group, v->index));
}

static bool is_weight(const dlt_variable *v)
{
    return v->role == DLT_VARIABLE_WEIGHT;
}

/* Names of a case's arrays that begin with `kind`. */
static int count_of(const dlt_golden *g, const dlt_yaml *c, const char *kind)
{
    char start[160];
    int count = 0;
    snprintf(start, sizeof start, "%s/%s/", dlt_golden_text(c, "name"), kind);
    for (int i = 0; i < g->count; i++) {
        count += strncmp(g->arrays[i].name, start, strlen(start)) == 0;
    }
    return count;
}

/* Gradients that are 0 in exact arithmetic, as of a bias in front of a batch norm, are rounding errors and nothing else. */
static bool both_are_zero(const dlt_golden_array *expected, const double *got)
{
    for (int64_t i = 0; i < dlt_shape_count(&expected->shape); i++) {
        if (!(fabs(expected->values[i]) < 1e-6) || !(fabs(got[i]) < 1e-6)) {
            return false;
        }
    }
    return true;
}

static void close_to(const dlt_golden_array *expected, const double *got, const dlt_yaml *c, const char *what, double tolerance)
{
    char name[200];
    snprintf(name, sizeof name, "%s: %s", dlt_golden_text(c, "name"), what);
    if (!both_are_zero(expected, got)) {
        dlt_assert_close(name, got, expected->values, dlt_shape_count(&expected->shape), tolerance);
    }
}

static void compare_output(dlt_test_run *run, int program, const char *output, const dlt_golden_array *expected, const dlt_yaml *c,
                           double tolerance)
{
    double *got = malloc((size_t)(dlt_shape_count(&expected->shape) + 1) * sizeof *got);
    const dlt_value *v = dlt_graph_output(run->graphs[program], output);
    assert_non_null(v);
    assert_int_equal(dlt_shape_count(&v->shape), dlt_shape_count(&expected->shape));
    dlt_test_output(run, program, output, got);
    close_to(expected, got, c, output, tolerance);
    free(got);
}

static double tolerance_of(const dlt_yaml *c)
{
    const char *text = dlt_golden_text(c, "tolerance");
    if (strstr(dlt_golden_text(c, "name"), "_large_mean") != NULL) {
        return 5e-5; /* digits that float32 has not (tests/golden/README.md) */
    }
    return text != NULL ? strtod(text, NULL) : 1e-5;
}

/* Sets the weights to those of the case; every weight of the case must be one of the model's, and the reverse. */
static void set_weights(const dlt_golden *g, const dlt_yaml *c, dlt_test_run *run)
{
    int found = 0;
    for (int i = 0; i < run->variables->count; i++) {
        const dlt_variable *v = run->variables->list[i];
        const dlt_golden_array *w = is_weight(v) ? array_of(g, c, "w", v, run->arena) : NULL;
        if (w != NULL) {
            if (!dlt_shape_equal(&w->shape, &v->shape)) {
                fail_msg("%s: %s has another shape than Keras'", dlt_golden_text(c, "name"), v->path);
            }
            dlt_test_set(run, v, NULL, w->values);
            found++;
        } else if (is_weight(v)) {
            fail_msg("%s: Keras has no weight %s/vars/%d", dlt_golden_text(c, "name"), v->group, v->index);
        }
    }
    if (found != count_of(g, c, "w")) {
        fail_msg("%s: %d of Keras' %d weights are there", dlt_golden_text(c, "name"), found, count_of(g, c, "w"));
    }
}

static void compare_layers(const dlt_golden *g, const dlt_yaml *c)
{
    const char *name = dlt_golden_text(c, "name"), *train = dlt_golden_text(c, "train");
    const bool trains = train == NULL || strcmp(train, "false") != 0;
    const double tolerance = tolerance_of(c);
    dlt_test_run *run = dlt_test_run_open();
    dlt_value *x, *y, *wrt[MOST_WEIGHTS + 1], *grads[MOST_WEIGHTS + 1];
    const dlt_variable *of[MOST_WEIGHTS + 1];
    int count = 0;
    if (trains) {
        dlt_builder *b = build(run, c, "train", DLT_MODE_TRAIN, &x, &y);
        dlt_value *penalty = dlt_penalty_total(b, NULL);
        dlt_value *total = dlt_sum_all(b, dlt_mul(b, y, dlt_input(b, "dy", DLT_F32, dlt_shape_of(y))));
        total = penalty != NULL ? dlt_add(b, total, penalty) : total;
        dlt_output(b, "y_train", y);
        if (dlt_dtype_is_real(x->type)) {
            of[count] = NULL;
            wrt[count++] = x;
        }
        assert_true(dlt_variables_number(run->variables));
        for (int i = 0; i < run->variables->count; i++) {
            dlt_variable *v = run->variables->list[i];
            if (is_weight(v) && v->trainable) {
                assert_true(count < MOST_WEIGHTS);
                of[count] = v;
                wrt[count++] = dlt_current(b, v);
            }
        }
        dlt_gradients(b, total, wrt, count, grads);
        for (int i = 0; i < count; i++) {
            dlt_output(b, of[i] != NULL ? of[i]->path : "dx", grads[i]);
        }
        add(run, c, b);
    }
    dlt_builder *b = build(run, c, "predict", DLT_MODE_PREDICT, &x, &y);
    dlt_output(b, "y", y);
    assert_true(dlt_variables_number(run->variables));
    add(run, c, b);
    dlt_test_run_start(run);
    set_weights(g, c, run);
    const int predict = trains ? 1 : 0;
    dlt_test_input(run, predict, 0, dlt_golden_find(g, name, "x")->values);
    assert_true(dlt_test_run_once(run, predict));
    compare_output(run, predict, "y", dlt_golden_find(g, name, "y"), c, tolerance);
    if (trains) {
        dlt_test_input(run, 0, 0, dlt_golden_find(g, name, "x")->values);
        dlt_test_input(run, 0, 1, dlt_golden_find(g, name, "dy")->values);
        assert_true(dlt_test_run_once(run, 0));
        compare_output(run, 0, "y_train", dlt_golden_find(g, name, "y_train"), c, tolerance);
        int gradients = 0;
        for (int i = 0; i < count; i++) {
            const dlt_golden_array *expected =
                of[i] == NULL ? dlt_golden_find(g, name, "dx") : array_of(g, c, "dw", of[i], run->arena);
            if (expected == NULL) {
                fail_msg("%s: Keras has no gradient of %s", name, of[i] != NULL ? of[i]->path : "x");
            }
            gradients += of[i] != NULL;
            compare_output(run, 0, of[i] != NULL ? of[i]->path : "dx", expected, c, 5 * tolerance);
        }
        assert_int_equal(gradients, count_of(g, c, "dw"));
        for (int i = 0; i < run->variables->count; i++) {
            const dlt_variable *v = run->variables->list[i];
            const dlt_golden_array *after = is_weight(v) ? array_of(g, c, "w_after", v, run->arena) : NULL;
            if (after != NULL) {
                double *got = malloc((size_t)(dlt_shape_count(&v->shape) + 1) * sizeof *got);
                dlt_test_get(run, v, NULL, got);
                close_to(after, got, c, v->path, tolerance);
                free(got);
            }
        }
    }
    dlt_test_run_close(run);
}

static void compare_family(const char *family)
{
    dlt_golden *g = dlt_golden_open(family);
    assert_non_null(g);
    assert_true(g->cases->count > 10);
    for (size_t i = 0; i < g->cases->count; i++) {
        compare_layers(g, g->cases->values[i]);
    }
    dlt_golden_close(g);
}

static void layers_are_those_of_keras(void **state)
{
    (void)state;
    compare_family("layers");
}

static void activations_are_those_of_keras(void **state)
{
    (void)state;
    compare_family("activations");
}

static void containers_are_those_of_keras(void **state)
{
    (void)state;
    compare_family("containers");
}

static void layers_for_images_are_those_of_keras(void **state)
{
    (void)state;
    compare_family("images");
}

static void masks_are_those_of_keras(void **state)
{
    (void)state;
    dlt_golden *g = dlt_golden_open("masks");
    assert_non_null(g);
    for (size_t i = 0; i < g->cases->count; i++) {
        const dlt_yaml *c = g->cases->values[i];
        const char *name = dlt_golden_text(c, "name"), *said = dlt_golden_text(c, "mask");
        const dlt_golden_array *mask = dlt_golden_find(g, name, "mask");
        dlt_test_run *run = dlt_test_run_open();
        dlt_value *x, *y;
        dlt_builder *b = build(run, c, "predict", DLT_MODE_PREDICT, &x, &y);
        const dlt_shape shape = shape_in(dlt_yaml_get(dlt_yaml_get(c, "output"), "shape"));
        if (!dlt_shape_equal(&shape, &y->shape)) {
            fail_msg("%s: the output has another shape than Keras'", name);
        }
        assert_int_equal(mask != NULL, strcmp(said, "true") == 0);
        if ((y->mask != NULL) != (mask != NULL)) {
            fail_msg("%s: there %s a mask, in Keras it is the other way round", name, y->mask != NULL ? "is" : "is not");
        }
        if (mask != NULL) {
            dlt_output(b, "mask", y->mask);
            assert_true(dlt_variables_number(run->variables));
            add(run, c, b);
            dlt_test_run_start(run);
            dlt_test_input(run, 0, 0, dlt_golden_find(g, name, "x")->values);
            assert_true(dlt_test_run_once(run, 0));
            compare_output(run, 0, "mask", mask, c, 0);
        }
        dlt_test_run_close(run);
    }
    dlt_golden_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_are_those_of_keras),
        cmocka_unit_test(activations_are_those_of_keras),
        cmocka_unit_test(containers_are_those_of_keras),
        cmocka_unit_test(layers_for_images_are_those_of_keras),
        cmocka_unit_test(masks_are_those_of_keras),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
