/* tests/unit/test_passes.c: what each pass does to a graph, and how long all of them take for long ones. */
#include "support/program.h"

#include "backend/cpu/kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int count(const dlt_graph *g, dlt_op op)
{
    int n = 0;
    for (int i = 0; i < g->node_count; i++) {
        n += g->nodes[i]->op == op;
    }
    return n;
}

static int count_ew(const dlt_graph *g, dlt_ew op)
{
    int n = 0;
    for (int i = 0; i < g->node_count; i++) {
        n += g->nodes[i]->op == DLT_OP_EW && ((const dlt_ew_attrs *)g->nodes[i]->attrs)->op == op;
    }
    return n;
}

/* Instructions of the n-th EXPR. */
static const dlt_expr *expr_of(const dlt_graph *g, int n)
{
    for (int i = 0; i < g->node_count; i++) {
        if (g->nodes[i]->op == DLT_OP_EXPR && n-- == 0) {
            return g->nodes[i]->attrs;
        }
    }
    fail_msg("no such program");
    return NULL;
}

static const dlt_node *producer(const dlt_graph *g, const char *output)
{
    const dlt_value *v = dlt_graph_output(g, output);
    assert_non_null(v);
    return v->node;
}

typedef dlt_status pass(const dlt_graph *graph, dlt_graph **out, dlt_diag *diag);

/* Builds a graph and runs one pass on it. */
static test_program *through(test_build *build, pass *run)
{
    test_program *t = test_graph(build, NULL, &(test_options){0});
    if (run(t->built, &t->graph, t->diag) != DLT_OK) {
        fail_msg("%s", dlt_diag_text(t->diag, 0));
    }
    return t;
}

/* ---- dead ---- */

static void with_dead_ends(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(3)), *unused = dlt_input(b, "unused", DLT_F32, DLT_SHAPE(2)), *at;
    dlt_exp(b, dlt_mul(b, x, x));
    dlt_neg(b, unused);
    dlt_output(b, "y", dlt_tanh(b, x));
    dlt_output(b, "top", dlt_top_k(b, x, 1, &at)); /* its indices are not wanted, the node is */
    dlt_value *loss = dlt_sum_all(b, x);
    dlt_guard(b, &loss, 1);
}

static void dead_nodes_go_and_inputs_and_guards_stay(void **state)
{
    (void)state;
    test_program *t = through(with_dead_ends, dlt_pass_dead);
    assert_int_equal(count_ew(t->graph, DLT_EW_EXP) + count_ew(t->graph, DLT_EW_MUL) + count_ew(t->graph, DLT_EW_NEG), 0);
    assert_int_equal(count_ew(t->graph, DLT_EW_TANH), 1);
    assert_int_equal(count(t->graph, DLT_OP_INPUT), 2);
    assert_int_equal(t->graph->input_count, 2);
    assert_int_equal(count(t->graph, DLT_OP_GUARD), 1);
    assert_int_equal(count(t->graph, DLT_OP_REDUCE), 1);
    assert_int_equal(count(t->graph, DLT_OP_TOP_K), 1);
    for (int i = 0; i < t->graph->node_count; i++) {
        assert_int_equal(t->graph->nodes[i]->id, i);
    }
    test_release(t);
}

/* ---- fold ---- */

static void with_constants(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(3));
    dlt_value *two = dlt_add(b, dlt_constant(b, 1), dlt_constant(b, 1)), *eight = dlt_pow(b, two, dlt_constant(b, 3));
    dlt_output(b, "y", dlt_mul(b, x, eight));
    dlt_output(b, "shaped", dlt_reshape(b, eight, DLT_SHAPE(1, 1)));
    dlt_output(b, "same", dlt_mul_c(b, dlt_div_c(b, dlt_stop_gradient(b, x), 1), 1));
    dlt_output(b, "kept", dlt_log(b, dlt_constant(b, 0))); /* is not finite: left to the program */
    dlt_output(b, "integer", dlt_add(b, dlt_constant_typed(b, DLT_I32, 1), dlt_constant_typed(b, DLT_I32, 2)));
}

static void constants_are_folded_and_ones_disappear(void **state)
{
    (void)state;
    test_program *t = through(with_constants, dlt_pass_fold);
    const dlt_node *y = producer(t->graph, "y");
    assert_int_equal(y->op, DLT_OP_EW);
    assert_int_equal(y->inputs[1]->node->op, DLT_OP_CONST);
    assert_true((*(const double *const *)y->inputs[1]->node->attrs)[0] == 8);
    assert_int_equal(count_ew(t->graph, DLT_EW_POW), 0);
    assert_int_equal(producer(t->graph, "shaped")->op, DLT_OP_CONST);
    assert_int_equal(dlt_graph_output(t->graph, "shaped")->shape.rank, 2);
    assert_ptr_equal(dlt_graph_output(t->graph, "same"), t->graph->inputs[0]);
    assert_int_equal(count_ew(t->graph, DLT_EW_LOG), 1);
    assert_int_equal(count_ew(t->graph, DLT_EW_ADD), 1);
    test_release(t);
}

static void with_repetitions(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(3)), *large = dlt_input(b, "large", DLT_F32, DLT_SHAPE(100, 100));
    dlt_output(b, "a", dlt_mul_c(b, dlt_tanh(b, x), 2));
    dlt_output(b, "b", dlt_mul_c(b, dlt_tanh(b, x), 3));
    dlt_output(b, "c", dlt_sum(b, x, 1, false));
    dlt_output(b, "d", dlt_sum(b, x, 1, true));
    dlt_scope_enter(b, "drop", NULL, (dlt_pos){0}, true);
    dlt_output(b, "u", dlt_uniform(b, "mask", DLT_SHAPE(3), false));
    dlt_output(b, "v", dlt_uniform(b, "mask", DLT_SHAPE(3), false)); /* a second use: other numbers */
    dlt_scope_leave(b);
    dlt_output(b, "e", dlt_exp(b, large));
    dlt_builder_phase(b, DLT_PHASE_BACKWARD);
    dlt_output(b, "f", dlt_sqrt(b, dlt_exp(b, large))); /* computed again rather than kept for so long */
    dlt_output(b, "g", dlt_neg(b, dlt_tanh(b, x)));
}

static void equal_computations_are_done_once(void **state)
{
    (void)state;
    test_program *t = through(with_repetitions, dlt_pass_fold);
    assert_int_equal(count_ew(t->graph, DLT_EW_TANH), 1);
    assert_int_equal(count_ew(t->graph, DLT_EW_MUL), 2);
    assert_int_equal(count(t->graph, DLT_OP_REDUCE), 2);
    assert_int_equal(count_ew(t->graph, DLT_EW_UNIFORM), 2);
    assert_int_equal(count_ew(t->graph, DLT_EW_EXP), 2);
    test_release(t);
}

static void with_repeats(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(3, 4)), *s = dlt_input(b, "s", DLT_F32, DLT_SHAPE(4));
    dlt_value *wide = dlt_broadcast_to(b, s, DLT_SHAPE(3, 4));
    dlt_output(b, "y", dlt_add(b, x, wide));
    dlt_output(b, "z", dlt_matmul(b, wide, dlt_input(b, "w", DLT_F32, DLT_SHAPE(4, 2)), false, false)); /* needs it */
}

static void elementwise_ops_repeat_their_operands_themselves(void **state)
{
    (void)state;
    test_program *t = through(with_repeats, dlt_pass_fold);
    assert_ptr_equal(producer(t->graph, "y")->inputs[1], t->graph->inputs[1]);
    assert_int_equal(producer(t->graph, "z")->inputs[0]->node->op, DLT_OP_EW);
    test_release(t);
}

/* ---- place ---- */

static void with_shared_gradients(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *w[3] = {dlt_weight(b, &(dlt_weight_params){.name = "a"}, DLT_SHAPE(4)),
                       dlt_weight(b, &(dlt_weight_params){.name = "b"}, DLT_SHAPE(4)),
                       dlt_weight(b, &(dlt_weight_params){.name = "c"}, DLT_SHAPE(2, 2))};
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(4)), *own = dlt_exp(b, x);
    dlt_value *g[3] = {own, own, dlt_reshape(b, x, DLT_SHAPE(2, 2))}; /* shared; a view of an input */
    dlt_value *flat = dlt_flat_grads(b, g, 3);
    dlt_output(b, "norm", dlt_sum_all(b, dlt_square(b, flat)));
    dlt_output(b, "old", w[0]); /* is overwritten by the step: copied */
    dlt_output(b, "kept", dlt_state(b, "s", DLT_F32, DLT_SHAPE(2), NULL, 0)); /* is not */
    dlt_assign_flat(b, dlt_sub(b, dlt_flat_params(b), flat));
}

static void gradients_get_memory_of_their_own(void **state)
{
    (void)state;
    test_program *t = through(with_shared_gradients, dlt_pass_place);
    const dlt_node *flat = NULL;
    for (int i = 0; i < t->graph->node_count; i++) {
        const dlt_node *n = t->graph->nodes[i];
        flat = n->op == DLT_OP_FLAT && n->outputs[0]->storage == DLT_GRAD ? n : flat;
    }
    assert_non_null(flat);
    assert_int_equal(count_ew(t->graph, DLT_EW_COPY), 3);
    assert_int_equal(((const dlt_ew_attrs *)flat->inputs[0]->node->attrs)->op, DLT_EW_EXP);
    assert_int_equal(((const dlt_ew_attrs *)flat->inputs[1]->node->attrs)->op, DLT_EW_COPY);
    assert_int_equal(((const dlt_ew_attrs *)flat->inputs[2]->node->attrs)->op, DLT_EW_COPY);
    assert_int_equal(producer(t->graph, "old")->op, DLT_OP_EW);
    assert_int_equal(producer(t->graph, "kept")->op, DLT_OP_VAR);
    test_release(t);
}

static void swapping(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_state(b, "x", DLT_F32, DLT_SHAPE(3), NULL, 0), *y = dlt_state(b, "y", DLT_F32, DLT_SHAPE(3), NULL, 0);
    dlt_assign(b, dlt_variable_of(x), y);
    dlt_assign(b, dlt_variable_of(y), x);
}

static void variables_change_places(void **state)
{
    (void)state;
    double got[3];
    test_program *t = test_compile(swapping, NULL, &(test_options){0});
    test_set_variable(t, "x", (double[]){1, 2, 3});
    test_set_variable(t, "y", (double[]){4, 5, 6});
    test_run(t);
    test_get_variable(t, "x", got);
    test_close("x", got, (double[]){4, 5, 6}, 3, 0);
    test_get_variable(t, "y", got);
    test_close("y", got, (double[]){1, 2, 3}, 3, 0);
    test_release(t);
}

/* ---- fuse ---- */

static bool takes_any(void *self, const dlt_node *node, const dlt_expr *expr)
{
    (void)self, (void)node, (void)expr;
    return true;
}

static bool takes_none(void *self, const dlt_node *node, const dlt_expr *expr)
{
    (void)self, (void)node, (void)expr;
    return false;
}

static bool reduces(void *self, const dlt_expr *expr)
{
    (void)self, (void)expr;
    return true;
}

static const dlt_target plain = {.max_inputs = 16, .max_instrs = 96, .max_outputs = 8, .reduces = reduces};
static const dlt_target epilogues = {
    .max_inputs = 16, .max_instrs = 96, .max_outputs = 8, .reduces = reduces, .epilogue = takes_any};

static test_program *fused_by(test_build *build, const dlt_target *target, bool on)
{
    test_program *t = test_graph(build, NULL, &(test_options){0});
    assert_int_equal(dlt_pass_fold(t->built, &t->graph, t->diag), DLT_OK);
    assert_int_equal(dlt_pass_dead(t->graph, &t->graph, t->diag), DLT_OK);
    if (dlt_pass_fuse(t->graph, target, on, &t->graph, t->diag) != DLT_OK) {
        fail_msg("%s", dlt_diag_text(t->diag, 0));
    }
    return t;
}

static void chain_and_reduction(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(8, 4)), *bias = dlt_input(b, "b", DLT_F32, DLT_SHAPE(4));
    dlt_value *y = dlt_relu(b, dlt_add(b, x, bias));
    dlt_output(b, "y", y);
    dlt_output(b, "mean", dlt_mean(b, dlt_square(b, y), 1, false)); /* over the rows; the division comes behind */
}

static void chains_become_one_program_that_a_reduction_ends(void **state)
{
    (void)state;
    test_program *t = fused_by(chain_and_reduction, &plain, true);
    assert_int_equal(count(t->graph, DLT_OP_EXPR), 2);
    const dlt_expr *e = expr_of(t->graph, 0);
    assert_int_equal(e->input_count, 2);
    assert_int_equal(e->instr_count, 3);
    assert_int_equal(e->output_count, 2);
    assert_int_equal(e->outputs[0].reduce, DLT_REDUCE_NONE);
    assert_int_equal(e->outputs[1].reduce, DLT_REDUCE_SUM);
    assert_int_equal(e->outputs[1].axes, 1);
    assert_int_equal(expr_of(t->graph, 1)->instr_count, 2); /* the number of rows, and the division */
    test_release(t);
    t = fused_by(chain_and_reduction, &plain, false);
    assert_int_equal(count(t->graph, DLT_OP_EXPR), 5);
    test_release(t);
    dlt_target none = plain;
    none.reduces = NULL;
    t = fused_by(chain_and_reduction, &none, true);
    assert_int_equal(count(t->graph, DLT_OP_EXPR), 3);
    test_release(t);
}

static void two_shapes(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(8, 4));
    dlt_value *s = dlt_exp(b, dlt_neg(b, dlt_input(b, "s", DLT_F32, DLT_SHAPE(4)))); /* of another domain */
    dlt_value *i = dlt_cast(b, dlt_mul(b, x, s), DLT_I32);                           /* the cast ends a real program */
    dlt_output(b, "y", dlt_add(b, i, i));
}

static void domains_and_types_separate_programs(void **state)
{
    (void)state;
    test_program *t = fused_by(two_shapes, &plain, true);
    assert_int_equal(count(t->graph, DLT_OP_EXPR), 3);
    assert_int_equal(expr_of(t->graph, 1)->compute, DLT_F32);
    assert_int_equal(expr_of(t->graph, 2)->compute, DLT_I64);
    test_release(t);
}

static void limits(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *sum = dlt_input(b, "x", DLT_F32, DLT_SHAPE(8));
    for (int i = 0; i < 20; i++) {
        sum = dlt_tanh(b, dlt_add(b, sum, dlt_input(b, "y", DLT_F32, DLT_SHAPE(8))));
    }
    dlt_output(b, "sum", sum);
}

static void programs_stay_within_the_limits_of_the_target(void **state)
{
    (void)state;
    const dlt_target small = {.max_inputs = 4, .max_instrs = 20, .max_outputs = 2, .reduces = reduces};
    test_program *t = fused_by(limits, &small, true);
    assert_true(count(t->graph, DLT_OP_EXPR) >= 20 / 3);
    for (int i = 0; i < count(t->graph, DLT_OP_EXPR); i++) {
        const dlt_expr *e = expr_of(t->graph, i);
        assert_in_range(e->input_count, 1, 4);
        assert_in_range(e->instr_count, 1, 20);
        assert_in_range(e->output_count, 1, 2);
    }
    test_release(t);
}

static void diamond(dlt_builder *b, const void *context)
{
    (void)context;
    /* tanh and add are of one domain, but a transpose stands between them on one way */
    dlt_value *y = dlt_tanh(b, dlt_input(b, "x", DLT_F32, DLT_SHAPE(4, 4)));
    dlt_output(b, "z", dlt_add(b, y, dlt_transpose(b, y, (int[]){1, 0})));
}

static void circles(dlt_builder *b, const void *context)
{
    (void)context;
    /* group P = {a, c}: c needs r, made from group Q = {b, d}; d needs something of P that is not r: P and Q must not end
     * up waiting for each other */
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(4)), *y = dlt_input(b, "y", DLT_F32, DLT_SHAPE(4));
    dlt_value *p = dlt_exp(b, x), *q = dlt_tanh(b, y);
    dlt_value *p2 = dlt_mul(b, p, dlt_reverse(b, q, 0));
    dlt_value *q2 = dlt_mul(b, q, dlt_cumsum(b, p2, 0, false));
    dlt_output(b, "a", dlt_add(b, p2, dlt_reverse(b, q2, 0)));
    dlt_output(b, "b", dlt_add(b, q2, p));
}

static void fusion_makes_no_circles(void **state)
{
    (void)state;
    test_program *t = fused_by(diamond, &plain, true);
    assert_int_equal(count(t->graph, DLT_OP_EXPR), 2);
    test_release(t);
    t = fused_by(circles, &plain, true);
    for (int i = 0; i < t->graph->node_count; i++) {
        for (int k = 0; k < t->graph->nodes[i]->input_count; k++) {
            assert_true(t->graph->nodes[i]->inputs[k]->node->id < i);
        }
    }
    test_release(t);
}

static void dense(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(8, 4)), *w = dlt_input(b, "w", DLT_F32, DLT_SHAPE(4, 3));
    dlt_value *z = dlt_add(b, dlt_matmul(b, x, w, false, false), dlt_input(b, "b", DLT_F32, DLT_SHAPE(3)));
    dlt_output(b, "z", z);
    dlt_output(b, "y", dlt_relu(b, z));
}

static void chains_go_into_epilogues_where_the_target_takes_them(void **state)
{
    (void)state;
    test_program *t = fused_by(dense, &epilogues, true);
    assert_int_equal(count(t->graph, DLT_OP_EXPR), 0);
    const dlt_node *n = producer(t->graph, "y");
    assert_int_equal(n->op, DLT_OP_MATMUL);
    assert_int_equal(n->own_inputs, 2);
    assert_int_equal(n->input_count, 3);
    assert_int_equal(n->output_count, 2);
    assert_non_null(n->epilogue);
    assert_int_equal(n->epilogue->input_count, 2); /* the product and the bias */
    assert_int_equal(n->epilogue->instr_count, 2);
    test_release(t);
    dlt_target refuses = epilogues; /* one after the other then */
    refuses.epilogue = takes_none;
    t = fused_by(dense, &refuses, true);
    assert_int_equal(count(t->graph, DLT_OP_EXPR), 1);
    assert_null(producer(t->graph, "y")->epilogue);
    test_release(t);
    t = fused_by(dense, &plain, true);
    assert_int_equal(count(t->graph, DLT_OP_EXPR), 1);
    test_release(t);
}

static void product_twice(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(4, 4));
    dlt_value *early = dlt_neg(b, x);                              /* what the product needs */
    dlt_value *m = dlt_matmul(b, early, x, false, false);
    dlt_output(b, "y", dlt_add(b, early, dlt_tanh(b, m)));         /* must not pull `early` into the epilogue */
    dlt_output(b, "z", dlt_add(b, m, dlt_softmax(b, m)));          /* needs the product through another node */
    dlt_output(b, "sum", dlt_sum_all(b, m));                       /* no reduction in an epilogue */
}

static void epilogues_do_not_wait_for_themselves(void **state)
{
    (void)state;
    size_t bytes = 0, other = 0;
    void *expected = NULL;
    for (int how = 0; how < 2; how++) {
        test_program *t = test_compile(product_twice, NULL,
                                       &(test_options){.reference = true, .target = how == 0 ? &plain : &epilogues});
        double x[16];
        test_fill(x, 16, 1, -1, 1);
        test_set_input(t, 0, x);
        test_run(t);
        void *got = test_bytes(t, how == 0 ? &bytes : &other);
        if (how == 0) {
            expected = got;
        } else {
            const dlt_node *n = NULL;
            for (int i = 0; i < t->graph->node_count; i++) {
                n = t->graph->nodes[i]->op == DLT_OP_MATMUL ? t->graph->nodes[i] : n;
            }
            assert_non_null(n);
            assert_non_null(n->epilogue);
            assert_int_equal(bytes, other);
            assert_memory_equal(expected, got, bytes);
            free(got);
        }
        test_release(t);
    }
    free(expected);
}

static void narrow(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_U8, DLT_SHAPE(2));
    dlt_output(b, "y", dlt_sub(b, dlt_add(b, x, x), x));
}

static void values_inside_programs_are_as_if_stored(void **state)
{
    (void)state;
    for (int off = 0; off < 2; off++) {
        double y[2];
        test_program *t = test_compile(narrow, NULL, &(test_options){.no_fuse = off == 1});
        test_set_input(t, 0, (double[]){100, 200});
        test_run(t);
        test_get(t, "y", y);
        assert_true(y[0] == 100 && y[1] == 55); /* 200 + 200 is 255 in uint8 */
        test_release(t);
    }
}

static void free_ops(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(64, 32));
    dlt_value *keep = dlt_less(b, dlt_uniform(b, "mask", DLT_SHAPE(64, 32), false), dlt_constant(b, 0.5));
    dlt_value *y = dlt_mul(b, x, keep);
    dlt_output(b, "y", y);
    dlt_output(b, "z", dlt_mul(b, dlt_softmax(b, y), keep)); /* drawn again rather than kept */
}

static void random_numbers_are_drawn_where_they_are_used(void **state)
{
    (void)state;
    test_program *t = fused_by(free_ops, &plain, true);
    assert_int_equal(count(t->graph, DLT_OP_EXPR), 2);
    for (int k = 0; k < 2; k++) {
        const dlt_expr *e = expr_of(t->graph, k);
        int draws = 0;
        for (int i = 0; i < e->instr_count; i++) {
            draws += e->instrs[i].op.op == DLT_EW_UNIFORM;
        }
        assert_int_equal(draws, 1);
    }
    test_release(t);
}

static void state_and_guard(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(8)), *loss = dlt_sum_all(b, x);
    dlt_value *s = dlt_state(b, "s", DLT_F32, dlt_scalar(), NULL, 0);
    dlt_assign(b, dlt_variable_of(s), dlt_add(b, dlt_mul_c(b, s, 0.9), loss)); /* made before the guard */
    dlt_guard(b, &loss, 1);
}

static void small_updates_wait_for_the_guard_and_need_no_copy(void **state)
{
    (void)state;
    for (int off = 0; off < 2; off++) {
        test_program *t = test_compile(state_and_guard, NULL, &(test_options){.no_fuse = off == 1});
        int guard = -1;
        for (int i = 0; i < t->graph->node_count; i++) {
            const dlt_node *n = t->graph->nodes[i];
            guard = n->op == DLT_OP_GUARD ? i : guard;
            if (n->op == DLT_OP_ASSIGN) {
                assert_false(t->plan->copies[i]);
                assert_true(guard >= 0 && n->inputs[0]->node->id > guard);
            }
        }
        test_release(t);
    }
}

static void update_before_the_guard(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(8)), *small = dlt_mul_c(b, dlt_sum_all(b, x), 2);
    dlt_value *s = dlt_state(b, "s", DLT_F32, dlt_scalar(), NULL, 0);
    dlt_builder_phase(b, DLT_PHASE_UPDATE);
    dlt_value *next = dlt_add_c(b, small, 1); /* belongs to the update, but the guard looks at it */
    dlt_guard(b, &next, 1);
    dlt_assign(b, dlt_variable_of(s), next);
}

static void what_the_guard_looks_at_does_not_wait_for_it(void **state)
{
    (void)state;
    for (int off = 0; off < 2; off++) {
        double s, x[8] = {1, 2, 3};
        test_program *t = test_compile(update_before_the_guard, NULL, &(test_options){.no_fuse = off == 1});
        test_set_input(t, 0, x);
        assert_true(test_run(t));
        test_get_variable(t, "s", &s);
        assert_true(s == 13);
        test_release(t);
    }
}

static void index_of_ones(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(3, 5));
    dlt_output(b, "rows", dlt_add(b, x, dlt_index(b, DLT_F32, DLT_SHAPE(3, 1), 0)));
    dlt_output(b, "ones", dlt_add(b, x, dlt_index(b, DLT_F32, DLT_SHAPE(3, 1), 1))); /* 0 everywhere */
    dlt_output(b, "columns", dlt_add(b, x, dlt_index(b, DLT_F32, DLT_SHAPE(5), 0)));
}

static void positions_that_repeat_stay_what_they_are(void **state)
{
    (void)state;
    for (int off = 0; off < 2; off++) {
        double x[15] = {0}, y[15];
        test_program *t = test_compile(index_of_ones, NULL, &(test_options){.no_fuse = off == 1});
        test_set_input(t, 0, x);
        test_run(t);
        for (int k = 0; k < 3; k++) {
            test_get(t, k == 0 ? "rows" : k == 1 ? "ones" : "columns", y);
            for (int i = 0; i < 15; i++) {
                assert_true(y[i] == (k == 0 ? i / 5 : k == 1 ? 0 : i % 5));
            }
        }
        test_release(t);
    }
}

/* ---- texts ---- */

static void graphs_are_dumped(void **state)
{
    (void)state;
    test_program *t = test_compile(chain_and_reduction, NULL, &(test_options){.reference = true});
    dlt_buf text = {0};
    dlt_graph_dump(t->built, &text);
    assert_string_equal(dlt_buf_text(&text), "program test: 8 nodes\n"
                                             "    0 forward  %0 float32(8, 4) = input x\n"
                                             "    1 forward  %1 float32(4,) = input b\n"
                                             "    2 forward  %2 float32(8, 4) = add %0 %1\n"
                                             "    3 forward  %3 float32(8, 4) = relu %2\n"
                                             "    4 forward  %4 float32(8, 4) = square %3\n"
                                             "    5 forward  %5 float32(4,) = reduce sum %4\n"
                                             "    6 forward  %6 float32() = const 8\n"
                                             "    7 forward  %7 float32(4,) = div %5 %6\n"
                                             "output y = %3\n"
                                             "output mean = %7\n");
    dlt_buf_reset(&text);
    dlt_graph_dump(t->graph, &text);
    assert_non_null(strstr(dlt_buf_text(&text), "expr %0 %1 {r2 = add r0 r1; r3 = relu r2; r4 = square r3 -> out r3, "
                                                "out r4 sum}  [expr_reference]"));
    dlt_buf_reset(&text);
    dlt_graph_dot(t->built, &text);
    assert_true(dlt_text_starts(dlt_buf_text(&text), "digraph \"test\" {"));
    assert_non_null(strstr(dlt_buf_text(&text), "n2 -> n3 [label=\"(8, 4)\""));
    assert_true(dlt_text_ends(dlt_buf_text(&text), "}\n"));
    dlt_buf_release(&text);
    test_release(t);
}

/* ---- growth ---- */

static void chain(dlt_builder *b, const void *context)
{
    const int layers = *(const int *)context;
    dlt_value *x = dlt_input(b, "x", dlt_real(b), DLT_SHAPE(4, 8));
    dlt_value **w = calloc(4 * (size_t)layers, sizeof(dlt_value *)), **g = w + 2 * layers;
    assert_non_null(w);
    for (int i = 0; i < layers; i++) {
        char name[40];
        snprintf(name, sizeof name, "dense_%d", i);
        dlt_scope_enter(b, name, NULL, (dlt_pos){0}, true);
        w[2 * i] = dlt_weight(b, &(dlt_weight_params){.name = "kernel"}, DLT_SHAPE(8, 8));
        w[2 * i + 1] = dlt_weight(b, &(dlt_weight_params){.name = "bias"}, DLT_SHAPE(8));
        dlt_value *y = dlt_add(b, dlt_matmul(b, x, w[2 * i], false, false), w[2 * i + 1]);
        x = dlt_add(b, x, dlt_relu(b, y));
        dlt_scope_leave(b);
    }
    dlt_value *loss = dlt_mean_all(b, dlt_square(b, x));
    dlt_output(b, "loss", loss);
    dlt_gradients(b, loss, w, 2 * layers, g);
    dlt_value *flat = dlt_flat_grads(b, g, 2 * layers), *watched[] = {loss, dlt_sum_all(b, dlt_square(b, flat))};
    dlt_guard(b, watched, 2);
    dlt_assign_flat(b, dlt_sub(b, dlt_flat_params(b), dlt_mul_c(b, flat, 0.1)));
    free(w);
}

/* How long it may take is test_counts.py's, which counts instructions. */
static void a_chain_of_ten_thousand_layers_is_planned(void **state)
{
    (void)state;
    const int layers = 10000;
    test_program *t = test_graph(chain, &layers, &(test_options){0});
    dlt_cpu_target target;
    dlt_cpu_target_init(&target, DLT_ISA_PLAIN, false);
    const dlt_pass_options options = {.fuse = true, .layout = true, .main_program = true};
    assert_int_equal(dlt_passes_run(t->built, &target.target, &options, &t->graph, t->diag), DLT_OK);
    assert_int_equal(dlt_plan_create(t->graph, &(dlt_plan_options){.reuse = true}, &t->plan, t->diag), DLT_OK);
    assert_int_equal(dlt_plan_verify(t->plan, t->diag), DLT_OK);
    assert_true(test_nodes(t, DLT_OP_MATMUL) == 3 * layers - 1);
    test_release(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dead_nodes_go_and_inputs_and_guards_stay),
        cmocka_unit_test(constants_are_folded_and_ones_disappear),
        cmocka_unit_test(equal_computations_are_done_once),
        cmocka_unit_test(elementwise_ops_repeat_their_operands_themselves),
        cmocka_unit_test(gradients_get_memory_of_their_own),
        cmocka_unit_test(variables_change_places),
        cmocka_unit_test(chains_become_one_program_that_a_reduction_ends),
        cmocka_unit_test(domains_and_types_separate_programs),
        cmocka_unit_test(programs_stay_within_the_limits_of_the_target),
        cmocka_unit_test(fusion_makes_no_circles),
        cmocka_unit_test(chains_go_into_epilogues_where_the_target_takes_them),
        cmocka_unit_test(epilogues_do_not_wait_for_themselves),
        cmocka_unit_test(values_inside_programs_are_as_if_stored),
        cmocka_unit_test(random_numbers_are_drawn_where_they_are_used),
        cmocka_unit_test(small_updates_wait_for_the_guard_and_need_no_copy),
        cmocka_unit_test(what_the_guard_looks_at_does_not_wait_for_it),
        cmocka_unit_test(positions_that_repeat_stay_what_they_are),
        cmocka_unit_test(graphs_are_dumped),
        cmocka_unit_test(a_chain_of_ten_thousand_layers_is_planned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
