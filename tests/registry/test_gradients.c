/* tests/registry/test_gradients.c: the gradients of every example of every layer in the registry, by central differences in
 * double, with respect to the input and all trainable weights. A new layer is tested by having examples. */
#include "support/layer_model.h"
#include "support/program.h"
#include "support/run.h"

#include "trainer/initializer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64, PER_ARRAY = 10 };

static int64_t compared; /* elements, over all examples */

typedef struct gradient_case {
    const char *text;
    const dlt_items *layers;
    const dlt_layer_input_spec *input;
    int count; /* of gradients, "d0", "d1"...: of inputs (path NULL), or of these variables */
    const char *paths[MOST];
    int64_t elements[MOST];
} gradient_case;

/* loss = sum(y dy) + penalties, with its gradients. */
static void build(dlt_builder *b, const void *context)
{
    gradient_case *c = (gradient_case *)(uintptr_t)context;
    const dlt_dtype type = dlt_dtype_is_real(c->input->type) ? dlt_real(b) : c->input->type;
    dlt_value *wrt[MOST], *gradients[MOST], *x = dlt_input(b, "x", type, c->input->shape);
    c->count = 0;
    if (c->input->mask) {
        x->mask = dlt_input(b, "mask", DLT_U8, DLT_SHAPE(c->input->shape.dim[0], c->input->shape.dim[1]));
    }
    dlt_value *y = dlt_model_apply(b, c->layers, x, NULL, NULL, 0, NULL, NULL);
    if (y == NULL) {
        return;
    }
    dlt_value *loss =
        dlt_sum_all(b, dlt_mul(b, dlt_cast(b, y, dlt_real(b)), dlt_input(b, "dy", dlt_real(b), dlt_shape_of(y))));
    dlt_value *penalty = dlt_penalty_total(b, NULL);
    loss = penalty != NULL ? dlt_add(b, loss, penalty) : loss;
    if (dlt_dtype_is_real(type)) {
        c->paths[c->count] = NULL;
        wrt[c->count++] = x;
    }
    dlt_graph *g = dlt_builder_graph(b);
    for (int i = 0; i < g->variables->count; i++) {
        dlt_variable *v = g->variables->list[i];
        if (v->storage == DLT_PARAM && v->trainable) {
            assert_true(c->count < MOST);
            c->paths[c->count] = v->path;
            wrt[c->count++] = dlt_current(b, v);
        }
    }
    dlt_gradients(b, loss, wrt, c->count, gradients);
    dlt_output(b, "loss", loss);
    for (int i = 0; i < c->count; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%d", i);
        c->elements[i] = dlt_shape_count(&wrt[i]->shape);
        dlt_output(b, name, gradients[i]);
    }
}

static double loss_of(test_program *t)
{
    double loss;
    assert_true(test_run(t));
    test_get(t, "loss", &loss);
    return loss;
}

static void set(test_program *t, const char *path, const double *values)
{
    if (path != NULL) {
        test_set_variable(t, path, values);
    } else {
        test_set_input(t, 0, values);
    }
}

/* Reproducible values: inputs and weights within 1, other state (as a moving variance) around 1. */
static double *values_of(int64_t count, uint64_t stream, double low, double high)
{
    double *x = calloc((size_t)count + 1, sizeof *x);
    assert_non_null(x);
    for (int64_t k = 0; k < count; k++) {
        x[k] = test_random(stream, (uint64_t)k, low, high);
    }
    return x;
}

static void fill(test_program *t, const gradient_case *c)
{
    for (int i = 0; i < t->built->input_count; i++) {
        const dlt_dtype type = t->built->inputs[i]->type;
        double *x = values_of(test_input_count(t, i), 11 + (uint64_t)i, -1, 1);
        for (int64_t k = 0; k < test_input_count(t, i) && !dlt_dtype_is_real(type); k++) {
            const double high = type == DLT_U8 && i > 0 ? 2 : c->input->high > 0 ? (double)c->input->high : 2;
            x[k] = floor((x[k] + 1) / 2 * high);
        }
        test_set_input(t, i, x);
        free(x);
    }
    for (int i = 0; i < t->variables->count; i++) {
        const dlt_variable *v = t->variables->list[i];
        if (dlt_dtype_is_real(v->type) && v->role == DLT_VARIABLE_WEIGHT) {
            double *x = values_of(dlt_shape_count(&v->shape), 101 + (uint64_t)i, v->trainable ? -1 : 0.5, v->trainable ? 1 : 1.5);
            test_set_variable(t, v->path, x);
            free(x);
        }
    }
}

/* Elements of one array against central differences. */
static void compare(test_program *t, const gradient_case *c, int number, double *x)
{
    const int64_t count = c->elements[number], stride = count > PER_ARRAY ? count / PER_ARRAY : 1;
    double *gradient = calloc((size_t)count + 1, sizeof *gradient);
    char name[16];
    snprintf(name, sizeof name, "d%d", number);
    loss_of(t);
    test_get(t, name, gradient);
    for (int64_t k = 0; k < count; k += stride) {
        const double h = 1e-5, was = x[k];
        x[k] = was + h;
        set(t, c->paths[number], x);
        const double above = loss_of(t);
        x[k] = was - h;
        set(t, c->paths[number], x);
        const double below = loss_of(t);
        x[k] = was;
        set(t, c->paths[number], x);
        compared++;
        const double numeric = (above - below) / (2 * h), difference = fabs(numeric - gradient[k]);
        if (!(difference <= 1e-6 * fmax(1, fabs(numeric)))) {
            fail_msg("%s: gradient of %s, element %lld, is %.9g; by central differences it is %.9g", c->text,
                     c->paths[number] != NULL ? c->paths[number] : "the input", (long long)k, gradient[k], numeric);
        }
    }
    free(gradient);
}

static void check_example(const char *text)
{
    dlt_layer_model *m = dlt_layer_model_open();
    const dlt_layer_example e = dlt_layer_example_read(m, text);
    gradient_case c = {.text = text, .input = &e.input};
    c.layers = &dlt_test_spec(m->arena, dlt_arena_printf(m->arena, "layers: %s\n", e.layers))->value.layers;
    test_program *t = test_compile(build, &c, &(test_options){.label = text,
                                                              .real = DLT_F64,
                                                              .reference = true,
                                                              .seed = 5,
                                                              .mode = DLT_MODE_TRAIN,
                                                              .batch = e.input.shape.dim[0]});
    fill(t, &c);
    for (int i = 0; i < c.count && !e.no_gradient; i++) {
        double *x = NULL;
        if (c.paths[i] == NULL) {
            x = values_of(c.elements[i], 11, -1, 1);
        } else {
            x = calloc((size_t)c.elements[i] + 1, sizeof *x);
            test_get_variable(t, c.paths[i], x);
        }
        compare(t, &c, i, x);
        free(x);
    }
    test_release(t);
    dlt_layer_model_close(m);
}

static void gradients_of_all_layers_are_their_central_differences(void **state)
{
    (void)state;
    int examples = 0;
    for (size_t i = 0; dlt_layers[i] != NULL; i++) {
        for (size_t k = 0; dlt_layers[i]->examples[k] != NULL; k++) {
            check_example(dlt_layers[i]->examples[k]);
            examples++;
        }
    }
    print_message("%d examples, %lld elements\n", examples, (long long)compared);
    assert_true(compared > 20 * examples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients_of_all_layers_are_their_central_differences)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
