/* tests/unit/test_golden_losses.c: losses against Keras: value and gradient. */
#include "support/golden.h"
#include "support/run.h"
#include "support/support.h"
#include "trainer/kinds.h"

#include <stdlib.h>
#include <string.h>

/* One case as a program: inputs y_true, y_pred, perhaps sample_weight and mask; outputs loss, dy. */
static void run_case(const dlt_golden *g, const dlt_yaml *c)
{
    const char *name = dlt_golden_text(c, "name");
    const dlt_golden_array *parts[4];
    static const char *const keys[] = {"y_true", "y_pred", "sample_weight", "mask"};
    static const dlt_dtype types[] = {DLT_F32, DLT_F32, DLT_F32, DLT_U8};
    dlt_test_run *run = dlt_test_run_open();
    const dlt_item *loss =
        dlt_test_item(run->arena, "loss", dlt_golden_flow(run->arena, dlt_yaml_get(c, "loss")));
    dlt_value *in[4] = {NULL};
    dlt_builder *b = dlt_builder_create(
        run->arena, run->variables,
        &(dlt_builder_options){.name = name, .mode = DLT_MODE_TRAIN, .real = DLT_F32, .batch = 5}, run->diag);
    for (int i = 0; i < 4; i++) {
        parts[i] = dlt_golden_find(g, name, keys[i]);
        if (parts[i] != NULL) {
            in[i] = dlt_input(b, keys[i], i == 0 ? parts[i]->type : types[i], parts[i]->shape);
        }
    }
    in[1]->mask = in[3];
    dlt_value *y = dlt_loss_apply(b, loss, &(dlt_outcome){.y_true = in[0], .y_pred = in[1], .weight = in[2]});
    dlt_value *dy = NULL;
    dlt_gradients(b, y, &in[1], 1, &dy);
    dlt_output(b, "loss", y);
    dlt_output(b, "dy", dy);
    dlt_graph *graph = NULL;
    if (dlt_builder_finish(b, &graph) != DLT_OK) {
        fail_msg("%s: %s", name, dlt_diag_text(run->diag, 0));
    }
    dlt_test_run_add(run, graph);
    dlt_test_run_start(run);
    for (int i = 0, number = 0; i < 4; i++) {
        if (parts[i] != NULL) {
            dlt_test_input(run, 0, number++, parts[i]->values);
        }
    }
    assert_true(dlt_test_run_once(run, 0));
    const dlt_golden_array *value = dlt_golden_find(g, name, "loss"),
                           *gradient = dlt_golden_find(g, name, "dy_pred");
    double got[256];
    dlt_test_output(run, 0, "loss", got);
    dlt_assert_close(name, got, value->values, 1, 1e-5);
    dlt_test_output(run, 0, "dy", got);
    dlt_assert_close(name, got, gradient->values, dlt_shape_count(&gradient->shape), 1e-5);
    dlt_test_run_close(run);
}

/* reduction: none gives no number to make small; model files do not have it. */
static bool has_no_value(const dlt_golden *g, const dlt_yaml *c)
{
    return dlt_golden_find(g, dlt_golden_text(c, "name"), "loss")->shape.rank > 0;
}

static void losses_are_those_of_keras(void **state)
{
    (void)state;
    dlt_golden *g = dlt_golden_open("losses");
    if (g == NULL) {
        skip();
    }
    int done = 0;
    for (size_t i = 0; i < g->cases->count; i++) {
        if (!has_no_value(g, g->cases->values[i])) {
            run_case(g, g->cases->values[i]);
            done++;
        }
    }
    print_message("%d cases\n", done);
    dlt_golden_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(losses_are_those_of_keras)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
