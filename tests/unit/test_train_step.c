/* tests/unit/test_train_step.c: what stands in the graphs of a step, and in which order; what a checkpoint
 * lists. */
#include "support/golden.h"
#include "support/run.h"
#include "support/support.h"
#include "trainer/optimizer.h"
#include "trainer/step.h"
#include "trainer/variables.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

static const char *const model =
    "layers:\n"
    "  - Dense: {units: 4, activation: relu, kernel_regularizer: l2, activity_regularizer: l1, "
    "kernel_constraint: NonNeg}\n"
    "  - BatchNormalization\n"
    "  - Dropout: {rate: 0.5}\n"
    "  - Dense: {units: 3, trainable: false, kernel_regularizer: {L2: {l2: 100}}}\n"
    "  - Dense: {units: 2, activation: softmax}\n"
    "optimizer: {Adam: {use_ema: true%s}}\n"
    "loss: sparse_categorical_crossentropy\n"
    "metrics: [accuracy]\n"
    "weighted_metrics: [accuracy]\n";

typedef struct fixture {
    dlt_test_run *run;
    const dlt_spec *spec;
    dlt_metric_set *metrics;
} fixture;

static fixture open_fixture(const char *more)
{
    fixture f = {.run = dlt_test_run_open()};
    f.spec = &dlt_test_spec(f.run->arena, dlt_arena_printf(f.run->arena, model, more))->value;
    assert_int_equal(dlt_metric_set_create(f.run->arena, &f.spec->metrics, &f.spec->weighted_metrics,
                                           &f.metrics, f.run->diag),
                     DLT_OK);
    return f;
}

static dlt_step build(fixture *f, dlt_program_kind kind, int64_t batch)
{
    static const dlt_step_input x = {.name = "x", .type = DLT_U8, .shape = {1, {5}}};
    static const dlt_step_input y = {.name = "y", .type = DLT_U8};
    static const dlt_step_input w = {.name = "w", .type = DLT_F32};
    const dlt_step_data data = {.inputs = &x, .input_count = 1, .target = &y, .weight = &w};
    const dlt_step_options options = {.kind = kind, .batch = batch, .real = DLT_F32};
    dlt_step step;
    if (dlt_step_build(f->run->arena, f->run->variables, f->spec, &data, &options, f->metrics, &step,
                       f->run->diag) != DLT_OK) {
        fail_msg("%s", dlt_diag_text(f->run->diag, 0));
    }
    return step;
}

static int count_nodes(const dlt_graph *g, dlt_op op)
{
    int count = 0;
    for (int i = 0; i < g->node_count; i++) {
        count += g->nodes[i]->op == op;
    }
    return count;
}

static const dlt_variable *written(const dlt_node *assign)
{
    return *(dlt_variable *const *)assign->attrs;
}

static void nothing_is_written_before_the_guard(void **state)
{
    (void)state;
    const dlt_program_kind kinds[] = {DLT_PROGRAM_APPLY, DLT_PROGRAM_ACCUMULATE};
    fixture f = open_fixture(", gradient_accumulation_steps: 2, clipnorm: 1");
    for (size_t k = 0; k < DLT_COUNT(kinds); k++) {
        const dlt_step step = build(&f, kinds[k], 4);
        int guard = -1, phase = DLT_PHASE_FORWARD;
        assert_int_equal(count_nodes(step.graph, DLT_OP_GUARD), 1);
        for (int i = 0; i < step.graph->node_count; i++) {
            const dlt_node *n = step.graph->nodes[i];
            if (n->op == DLT_OP_GUARD) {
                guard = i;
                assert_int_equal(n->input_count, 4);
                assert_ptr_equal(n->inputs[0], dlt_graph_output(step.graph, "loss"));
                assert_ptr_equal(n->inputs[1], dlt_graph_output(step.graph, "grad_norm"));
                /* mean and variance of the batch, which the moving ones follow */
                assert_int_equal(n->inputs[2]->node->op, DLT_OP_BATCH_NORM);
                assert_ptr_equal(n->inputs[3]->node, n->inputs[2]->node);
                assert_ptr_not_equal(n->inputs[3], n->inputs[2]);
            }
            assert_true(n->op != DLT_OP_ASSIGN || guard >= 0);
            /* phases follow each other, and the update begins behind the guard */
            assert_true((int)n->phase >= phase);
            phase = (int)n->phase;
            assert_int_equal(n->phase == DLT_PHASE_UPDATE, guard >= 0 && i > guard);
        }
    }
    dlt_test_run_close(f.run);
}

static void programs_read_what_data_give(void **state)
{
    (void)state;
    fixture f = open_fixture("");
    dlt_step s = build(&f, DLT_PROGRAM_TRAIN, 4);
    assert_int_equal(s.graph->input_count, 3);
    assert_int_equal(s.target, 1);
    assert_int_equal(s.weight, 2);
    assert_int_equal(s.rows, -1);
    assert_int_equal(s.graph->inputs[0]->type, DLT_U8); /* the model casts it itself */
    assert_int_equal(s.graph->inputs[1]->type, DLT_U8);
    assert_non_null(dlt_graph_output(s.graph, "learning_rate"));
    assert_null(dlt_graph_output(s.graph, "y"));
    assert_string_equal(s.last->kind->name, "Dense");
    assert_int_equal(s.last->pos.line, 6);
    s = build(&f, DLT_PROGRAM_EVALUATE, 6);
    assert_int_equal(s.graph->input_count, 4);
    assert_int_equal(s.rows, 3);
    assert_int_equal(s.graph->inputs[3]->shape.rank, 0);
    assert_ptr_equal(dlt_graph_output(s.graph, "y"), s.y);
    assert_int_equal(count_nodes(s.graph, DLT_OP_GUARD), 0);
    s = build(&f, DLT_PROGRAM_PREDICT, 7);
    assert_int_equal(s.graph->input_count, 1);
    assert_int_equal(count_nodes(s.graph, DLT_OP_ASSIGN), 0);
    assert_null(dlt_graph_output(s.graph, "loss"));
    s = build(&f, DLT_PROGRAM_FINISH, 1);
    assert_int_equal(s.graph->input_count, 0);
    assert_int_equal(count_nodes(s.graph, DLT_OP_ASSIGN), 1);
    assert_null(written(s.graph->nodes[s.graph->node_count - 1])); /* all trainable weights at once */
    dlt_test_run_close(f.run);
}

static void each_program_writes_what_is_its_own(void **state)
{
    (void)state;
    fixture f = open_fixture(", gradient_accumulation_steps: 2");
    static const char *const by_apply[] = {"metric/loss:total",
                                           "metric/loss:rows",
                                           "metric/accuracy:total",
                                           "metric/accuracy:count",
                                           "metric/weighted_accuracy:total",
                                           "metric/weighted_accuracy:count",
                                           "iteration",
                                           "samples",
                                           "batch_normalization/moving_mean",
                                           "batch_normalization/moving_variance",
                                           "optimizer:average",
                                           "optimizer:gradient_accumulator",
                                           "optimizer:momentum",
                                           "optimizer:velocity",
                                           "dense/kernel",
                                           NULL};
    static const char *const not_by_accumulate[] = {"optimizer:momentum", "optimizer:velocity", NULL};
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        const dlt_step s = build(&f, accumulate ? DLT_PROGRAM_ACCUMULATE : DLT_PROGRAM_APPLY, 4);
        int flat = 0, assigned = 0, expected = 0;
        for (int i = 0; i < s.graph->node_count; i++) {
            if (s.graph->nodes[i]->op == DLT_OP_ASSIGN) {
                assigned++;
                flat += written(s.graph->nodes[i]) == NULL;
            }
        }
        for (int k = 0; by_apply[k] != NULL; k++) {
            bool wanted = true, found = false;
            for (int j = 0; accumulate && not_by_accumulate[j] != NULL; j++) {
                wanted = wanted && strcmp(not_by_accumulate[j], by_apply[k]) != 0;
            }
            for (int i = 0; i < s.graph->node_count; i++) {
                const dlt_node *n = s.graph->nodes[i];
                found = found || (n->op == DLT_OP_ASSIGN && written(n) != NULL &&
                                  strcmp(written(n)->path, by_apply[k]) == 0);
            }
            if (found != wanted) {
                fail_msg("%s: %s", s.graph->name, by_apply[k]);
            }
            expected += wanted;
        }
        assert_int_equal(flat, accumulate ? 0 : 1);
        assert_int_equal(assigned, expected + flat);
    }
    const dlt_step s = build(&f, DLT_PROGRAM_EVALUATE, 4);
    for (int i = 0; i < s.graph->node_count; i++) { /* evaluation writes sums of metrics alone */
        assert_true(s.graph->nodes[i]->op != DLT_OP_ASSIGN ||
                    written(s.graph->nodes[i])->role == DLT_VARIABLE_METRIC);
    }
    dlt_test_run_close(f.run);
}

static void later_programs_add_no_variables(void **state)
{
    (void)state;
    fixture f = open_fixture("");
    build(&f, DLT_PROGRAM_TRAIN, 4);
    const int count = f.run->variables->count;
    f.run->variables->closed = true;
    build(&f, DLT_PROGRAM_TRAIN, 3);
    build(&f, DLT_PROGRAM_EVALUATE, 4);
    build(&f, DLT_PROGRAM_PREDICT, 4);
    build(&f, DLT_PROGRAM_FINISH, 4);
    assert_int_equal(f.run->variables->count, count);
    dlt_test_run_close(f.run);
}

static void a_checkpoint_lists_variables_as_keras_does(void **state)
{
    (void)state;
    fixture f = open_fixture(", gradient_accumulation_steps: 2, amsgrad: true");
    const dlt_saved *list;
    int count;
    build(&f, DLT_PROGRAM_APPLY, 4);
    assert_int_equal(dlt_saved_list(f.run->arena, f.run->variables, f.spec->optimizer, DLT_SAVED_WEIGHTS,
                                    &list, &count, f.run->diag),
                     DLT_OK);
    static const char *const weights[] = {"layers/dense/vars/0",
                                          "layers/dense/vars/1",
                                          "layers/batch_normalization/vars/0",
                                          "layers/batch_normalization/vars/1",
                                          "layers/batch_normalization/vars/2",
                                          "layers/batch_normalization/vars/3",
                                          "layers/dense_1/vars/0",
                                          "layers/dense_1/vars/1",
                                          "layers/dense_2/vars/0",
                                          "layers/dense_2/vars/1"};
    assert_int_equal(count, DLT_COUNT(weights));
    for (int i = 0; i < count; i++) {
        bool found = false;
        for (int k = 0; k < count; k++) {
            found = found || strcmp(list[k].path, weights[i]) == 0;
        }
        assert_true(found);
    }
    assert_int_equal(dlt_saved_list(f.run->arena, f.run->variables, f.spec->optimizer, DLT_SAVED_OPTIMIZER,
                                    &list, &count, f.run->diag),
                     DLT_OK);
    /* iteration, rate; average, accumulator of the six trained weights; m, v of each in turn; v_hat of each
     */
    assert_int_equal(count, 2 + 6 + 6 + 12 + 6);
    static const struct {
        int at;
        const char *path, *part;
    } places[] = {{0, "iteration", NULL},
                  {1, "learning_rate", NULL},
                  {2, "optimizer:average", "dense/kernel"},
                  {7, "optimizer:average", "dense_2/bias"},
                  {8, "optimizer:gradient_accumulator", "dense/kernel"},
                  {14, "optimizer:momentum", "dense/kernel"},
                  {15, "optimizer:velocity", "dense/kernel"},
                  {16, "optimizer:momentum", "dense/bias"},
                  {18, "optimizer:momentum", "batch_normalization/gamma"},
                  {25, "optimizer:velocity", "dense_2/bias"},
                  {26, "optimizer:velocity_hat", "dense/kernel"},
                  {31, "optimizer:velocity_hat", "dense_2/bias"}};
    for (size_t i = 0; i < DLT_COUNT(places); i++) {
        const dlt_saved *s = &list[places[i].at];
        assert_string_equal(s->path, dlt_arena_printf(f.run->arena, "optimizer/vars/%d", places[i].at));
        assert_string_equal(s->variable->path, places[i].path);
        assert_true((s->part == NULL) == (places[i].part == NULL));
        if (s->part != NULL) {
            assert_string_equal(s->part->path, places[i].part);
            assert_true(dlt_shape_equal(&s->shape, &s->part->shape));
        }
    }
    assert_int_equal(dlt_saved_list(f.run->arena, f.run->variables, f.spec->optimizer,
                                    DLT_SAVED_WEIGHTS | DLT_SAVED_OPTIMIZER | DLT_SAVED_STATE, &list, &count,
                                    f.run->diag),
                     DLT_OK);
    /* every variable is there, and nothing twice */
    for (int i = 0; i < f.run->variables->count; i++) {
        const dlt_variable *v = f.run->variables->list[i];
        int seen = 0;
        for (int k = 0; k < count; k++) {
            seen += list[k].variable == v &&
                    (list[k].part == NULL || strcmp(list[k].part->path, "dense/kernel") == 0);
        }
        if (seen != 1) {
            fail_msg("%s is saved %d times", v->path, seen);
        }
    }
    dlt_test_run_close(f.run);
}

static void penalties_are_of_trained_weights_and_real_rows(void **state)
{
    (void)state;
    /* one row and the same with padding: the loss is the same, and the frozen layer's penalty of 100 is not
     * in it */
    fixture f = open_fixture("");
    double whole, padded;
    dlt_step s[2];
    int programs[2];
    const dlt_step train = build(&f, DLT_PROGRAM_TRAIN, 4);
    dlt_test_run_add(f.run, train.graph);
    for (int i = 0; i < 2; i++) {
        s[i] = build(&f, DLT_PROGRAM_EVALUATE, i == 0 ? 2 : 5);
        programs[i] = dlt_test_run_add(f.run, s[i].graph);
    }
    dlt_test_run_start(f.run);
    for (int i = 0; i < f.run->variables->count; i++) {
        const dlt_variable *v = f.run->variables->list[i];
        if (v->role == DLT_VARIABLE_WEIGHT) {
            double values[32];
            for (int k = 0; k < 32; k++) {
                values[k] = 0.1 + 0.05 * k;
            }
            dlt_test_set(f.run, v, NULL, values);
        }
    }
    const double x[25] = {1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9};
    for (int i = 0; i < 2; i++) {
        dlt_test_input(f.run, programs[i], 0, x);
        dlt_test_input(f.run, programs[i], s[i].target, (double[]){0, 1, 1, 1, 1});
        dlt_test_input(f.run, programs[i], s[i].weight, (double[]){1, 0.5, 7, 7, 7});
        dlt_test_input(f.run, programs[i], s[i].rows, &(double){2});
        assert_true(dlt_test_run_once(f.run, programs[i]));
        dlt_test_output(f.run, programs[i], "loss", i == 0 ? &whole : &padded);
    }
    dlt_assert_close("padded", &padded, &whole, 1, 1e-6);
    assert_true(whole > 0.1 &&
                whole <
                    100); /* the frozen kernel alone would give 100 times a sum of squares of 3 and more */
    double total, rows;
    dlt_test_get(f.run, f.metrics->loss_total, NULL, &total);
    dlt_test_get(f.run, f.metrics->loss_rows, NULL, &rows);
    assert_true(rows == 4);
    dlt_assert_close("logged", &(double){total / rows}, &whole, 1, 1e-6);
    dlt_test_run_close(f.run);
}

static void what_is_missing_is_said(void **state)
{
    (void)state;
    dlt_test_run *run = dlt_test_run_open();
    const dlt_spec *spec = &dlt_test_spec(run->arena, "layers: [Flatten]\n")->value;
    const dlt_step_input x = {.name = "x", .type = DLT_F32, .shape = {1, {5}}};
    const dlt_step_data data = {.inputs = &x, .input_count = 1, .target = &x};
    dlt_step step;
    assert_int_equal(
        dlt_step_build(run->arena, run->variables, spec, &data,
                       &(dlt_step_options){.kind = DLT_PROGRAM_TRAIN, .batch = 2, .real = DLT_F32}, NULL,
                       &step, run->diag),
        DLT_E_CONFIG);
    assert_string_equal(dlt_diag_text(run->diag, 0), "train needs a loss:");
    dlt_test_run_close(run);
}

static void refused_memory_is_said(void **state)
{
    (void)state;
    dlt_arena *arena = dlt_arena_create();
    const dlt_spec *spec =
        &dlt_test_spec(arena, dlt_arena_printf(arena, model, ", gradient_accumulation_steps: 2, clipnorm: 1"))
             ->value;
    static const dlt_step_input x = {.name = "x", .type = DLT_U8, .shape = {1, {5}}};
    static const dlt_step_input y = {.name = "y", .type = DLT_U8};
    const dlt_step_data data = {.inputs = &x, .input_count = 1, .target = &y};
    dlt_status status = DLT_E_MEMORY;
    int n = 0;
    for (; status != DLT_OK; n++) {
        dlt_diag *diag = dlt_diag_create();
        dlt_arena *own = dlt_arena_create();
        dlt_variables *variables = dlt_variables_create(own);
        dlt_metric_set *metrics = NULL;
        dlt_step step;
        dlt_alloc_fail_at((uint64_t)n + 1, true);
        status = variables != NULL
                     ? dlt_metric_set_create(own, &spec->metrics, &spec->weighted_metrics, &metrics, diag)
                     : DLT_E_MEMORY;
        if (status == DLT_OK) {
            status =
                dlt_step_build(own, variables, spec, &data,
                               &(dlt_step_options){.kind = DLT_PROGRAM_APPLY, .batch = 3, .real = DLT_F32},
                               metrics, &step, diag);
        }
        const dlt_saved *list;
        int count;
        if (status == DLT_OK) {
            status =
                dlt_saved_list(own, variables, spec->optimizer, DLT_SAVED_OPTIMIZER, &list, &count, diag);
        }
        dlt_alloc_fail_at(0, false);
        assert_true(status == DLT_OK || status == DLT_E_MEMORY);
        dlt_arena_destroy(own);
        dlt_diag_destroy(diag);
    }
    assert_true(n > 1);
    dlt_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_written_before_the_guard),
        cmocka_unit_test(programs_read_what_data_give),
        cmocka_unit_test(each_program_writes_what_is_its_own),
        cmocka_unit_test(later_programs_add_no_variables),
        cmocka_unit_test(a_checkpoint_lists_variables_as_keras_does),
        cmocka_unit_test(penalties_are_of_trained_weights_and_real_rows),
        cmocka_unit_test(what_is_missing_is_said),
        cmocka_unit_test(refused_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
