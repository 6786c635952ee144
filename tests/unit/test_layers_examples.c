/* tests/unit/test_layers_examples.c: the examples of all layers: each can be read, built in every mode, and differentiated. */
#include "support/layer_model.h"
#include "support/support.h"

#include "base/alloc.h"
#include "schema/spec.h"

#include <stdio.h>
#include <string.h>

static void the_tables_of_all_kinds_are_sound(void **state)
{
    (void)state;
    dlt_diag *diag = dlt_diag_create();
    const dlt_status status = dlt_catalogue_check(dlt_layer_catalogue(), diag);
    for (size_t i = 0; i < dlt_diag_size(diag); i++) {
        print_message("%s\n", dlt_diag_text(diag, i));
    }
    assert_int_equal(status, DLT_OK);
    dlt_diag_destroy(diag);
}

static void every_layer_has_examples(void **state)
{
    (void)state;
    for (size_t i = 0; dlt_layers[i] != NULL; i++) {
        const dlt_layer_desc *layer = dlt_layers[i];
        if (layer->examples == NULL || (layer->examples[0] == NULL && layer->table == NULL)) {
            fail_msg("%s has no examples", layer->kind.name);
        }
    }
}

/* Calls `test` with each example of each layer, and a model to make it in. */
static void for_each(void (*test)(dlt_layer_model *m, const char *text, const dlt_layer_example *e))
{
    for (size_t i = 0; dlt_layers[i] != NULL; i++) {
        for (size_t k = 0; dlt_layers[i]->examples[k] != NULL; k++) {
            dlt_layer_model *m = dlt_layer_model_open();
            dlt_layer_example e = dlt_layer_example_read(m, dlt_layers[i]->examples[k]);
            e.desc = dlt_layers[i];
            test(m, dlt_layers[i]->examples[k], &e);
            dlt_layer_model_close(m);
        }
    }
}

static void check(dlt_layer_model *m, const char *text, bool good)
{
    if (!good || dlt_diag_count(m->diag, DLT_ERROR) > 0) {
        fail_msg("%s: %s", text, dlt_layer_model_error(m));
    }
}

static void build_in_all_modes(dlt_layer_model *m, const char *text, const dlt_layer_example *e)
{
    dlt_graph *graph;
    check(m, text, dlt_layer_model_parse(m, e->layers));
    dlt_value *trained = dlt_layer_model_build(m, DLT_MODE_TRAIN, DLT_F32, &e->input);
    check(m, text, trained != NULL && dlt_builder_finish(m->b, &graph) == DLT_OK);
    m->variables->closed = true; /* the other programs must not need more */
    for (int mode = DLT_MODE_EVALUATE; mode <= DLT_MODE_PREDICT; mode++) {
        dlt_value *out = dlt_layer_model_build(m, (dlt_mode)mode, DLT_F32, &e->input);
        check(m, text, out != NULL && dlt_builder_finish(m->b, &graph) == DLT_OK);
        const dlt_shape *wanted = e->desc->whole_at_inference ? &e->input.shape : &trained->shape;
        if (!dlt_shape_equal(&out->shape, wanted) || out->type != trained->type) {
            fail_msg("%s: gives %s in training and %s in mode %d", text, dlt_layer_model_shape(m, trained),
                     dlt_layer_model_shape(m, out), mode);
        }
        if ((out->mask != NULL) != (trained->mask != NULL)) {
            fail_msg("%s: has a mask in one mode only", text);
        }
    }
}

static void every_example_builds_the_same_shape_in_every_mode(void **state)
{
    (void)state;
    for_each(build_in_all_modes);
}

/* True if a node can be reached from the values backwards. */
static bool reaches(const dlt_graph *g, const dlt_value *from, const dlt_value *to)
{
    bool *seen = dlt_alloc_zeroed((size_t)g->value_count, sizeof *seen);
    assert_non_null(seen);
    seen[from->id] = true;
    for (int i = g->node_count - 1; i >= 0; i--) {
        const dlt_node *n = g->nodes[i];
        bool wanted = false;
        for (int k = 0; k < n->output_count; k++) {
            wanted = wanted || seen[n->outputs[k]->id];
        }
        for (int k = 0; k < n->input_count && wanted; k++) {
            seen[n->inputs[k]->id] = true;
        }
    }
    const bool found = seen[to->id];
    dlt_free(seen);
    return found;
}

static void differentiate(dlt_layer_model *m, const char *text, const dlt_layer_example *e)
{
    dlt_value *wrt[64], *gradients[64];
    int count = 0;
    dlt_graph *graph;
    for (int real = DLT_F32; real <= DLT_F64; real++) {
        m->variables = dlt_variables_create(m->arena);
        assert_non_null(m->variables);
        check(m, text, dlt_layer_model_parse(m, e->layers));
        dlt_value *out = dlt_layer_model_build(m, DLT_MODE_TRAIN, (dlt_dtype)real, &e->input);
        check(m, text, out != NULL);
        dlt_value *loss = dlt_sum_all(m->b, dlt_square(m->b, dlt_cast(m->b, out, (dlt_dtype)real)));
        count = 0;
        if (dlt_dtype_is_real(e->input.type)) {
            wrt[count++] = m->in;
        }
        for (int i = 0; i < m->variables->count; i++) {
            dlt_variable *v = m->variables->list[i];
            if (v->storage == DLT_PARAM && v->trainable) {
                assert_true(count < 64);
                wrt[count++] = dlt_current(m->b, v);
            }
        }
        dlt_gradients(m->b, loss, wrt, count, gradients);
        for (int i = 0; i < count; i++) {
            check(m, text, gradients[i] != NULL);
            if (!dlt_shape_equal(&gradients[i]->shape, &wrt[i]->shape) ||
                gradients[i]->type != wrt[i]->type) {
                fail_msg("%s: a gradient has not the shape of what it belongs to", text);
            }
            /* the way back must lead somewhere: a gradient of plain zeros means a broken chain */
            const bool dropped = strstr(text, "rate: 1}") != NULL;
            if (!e->no_gradient && !dropped &&
                !reaches(m->b != NULL ? dlt_builder_graph(m->b) : NULL, gradients[i], loss) &&
                !reaches(dlt_builder_graph(m->b), gradients[i], out)) {
                const dlt_variable *v = dlt_variable_of(wrt[i]);
                if (v == NULL || strstr(v->path, "reverse_embeddings") == NULL) {
                    fail_msg("%s: no gradient reaches %s", text, v != NULL ? v->path : "the input");
                }
            }
        }
        check(m, text, dlt_builder_finish(m->b, &graph) == DLT_OK);
    }
}

static void every_example_can_be_differentiated(void **state)
{
    (void)state;
    for_each(differentiate);
}

/* Refuses each allocation in turn: building must end with a message, not with a crash. */
static void starve(dlt_layer_model *m, const char *text, const dlt_layer_example *e)
{
    check(m, text, dlt_layer_model_parse(m, e->layers));
    for (uint64_t nth = 1; nth < 40; nth++) {
        dlt_arena *arena = dlt_arena_create();
        dlt_diag *diag = dlt_diag_create();
        assert_non_null(arena);
        assert_non_null(diag);
        dlt_alloc_fail_at(nth, true);
        dlt_variables *variables = dlt_variables_create(arena);
        const dlt_builder_options options = {
            .name = "test", .mode = DLT_MODE_TRAIN, .real = DLT_F32, .batch = e->input.shape.dim[0]};
        dlt_builder *b = variables != NULL ? dlt_builder_create(arena, variables, &options, diag) : NULL;
        bool done = false;
        if (b != NULL) {
            dlt_graph *graph = NULL;
            dlt_value *in = dlt_input(b, "x", e->input.type, e->input.shape);
            if (in != NULL) {
                dlt_model_apply(b, m->layers, in, NULL, NULL, 0, NULL, NULL);
            }
            done = dlt_builder_finish(b, &graph) == DLT_OK;
        }
        dlt_alloc_fail_at(0, false);
        if (!done && dlt_diag_size(diag) > 0 && dlt_diag_status(diag) != DLT_E_MEMORY) {
            fail_msg("%s: allocation %d refused gives '%s'", text, (int)nth, dlt_diag_text(diag, 0));
        }
        dlt_arena_destroy(arena);
        dlt_diag_destroy(diag);
        if (done) {
            break;
        }
    }
}

static void a_refused_allocation_ends_the_building_with_a_message(void **state)
{
    (void)state;
    for_each(starve);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tables_of_all_kinds_are_sound),
        cmocka_unit_test(every_layer_has_examples),
        cmocka_unit_test(every_example_builds_the_same_shape_in_every_mode),
        cmocka_unit_test(every_example_can_be_differentiated),
        cmocka_unit_test(a_refused_allocation_ends_the_building_with_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
