/* tests/registry/test_plans.c: programs give the same bits however they were compiled and run; the verifier finds every fault
 * that is planted into a memory plan; a steady step allocates nothing. */
#include "support/program.h"

#include "backend/cpu/kernel.h"
#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- random programs ---- */

/* A generator of its own: what a seed means must not change with the library's. */
typedef struct dice {
    uint64_t state;
} dice;

static uint64_t roll(dice *d, uint64_t sides)
{
    d->state = d->state * 6364136223846793005u + 1442695040888963407u;
    return (d->state >> 33) % sides;
}

enum { MOST_VALUES = 200, BATCH = 4 };

typedef struct maker {
    dlt_builder *b;
    dice dice;
    dlt_value *values[MOST_VALUES]; /* real ones */
    int count;
    int weights;
} maker;

static dlt_value *any(maker *m)
{
    return m->values[roll(&m->dice, (uint64_t)m->count)];
}

/* Values stay small, so that no program overflows. */
static void keep(maker *m, dlt_value *v)
{
    if (v != NULL && m->count < MOST_VALUES && dlt_shape_count(&v->shape) <= 20000) {
        m->values[m->count++] = v;
    }
}

static dlt_value *a_weight(maker *m, dlt_shape shape)
{
    char name[32];
    snprintf(name, sizeof name, "w%d", m->weights++);
    return dlt_weight(m->b, &(dlt_weight_params){.name = dlt_arena_string(dlt_builder_graph(m->b)->arena, name)}, shape);
}

static dlt_value *unary(maker *m)
{
    dlt_value *x = any(m);
    switch (roll(&m->dice, 12)) {
    case 0:
        return dlt_tanh(m->b, x);
    case 1:
        return dlt_sigmoid(m->b, x);
    case 2:
        return dlt_relu(m->b, x);
    case 3:
        return dlt_neg(m->b, x);
    case 4:
        return dlt_tanh(m->b, dlt_square(m->b, x));
    case 5:
        return dlt_mul_c(m->b, x, 0.75);
    case 6:
        return dlt_add_c(m->b, dlt_abs(m->b, x), 0.125);
    case 7:
        return dlt_sqrt(m->b, dlt_add_c(m->b, dlt_square(m->b, x), 1));
    case 8:
        return dlt_stop_gradient(m->b, x);
    case 9: { /* by way of narrow integers, which saturate */
        dlt_value *i = dlt_cast(m->b, dlt_mul_c(m->b, x, 90), roll(&m->dice, 2) == 0 ? DLT_U8 : DLT_I8);
        i = dlt_sub(m->b, dlt_add(m->b, i, i), i);
        return dlt_mul_c(m->b, dlt_cast(m->b, i, dlt_real(m->b)), 0.01);
    }
    case 10: /* random numbers, computed where they are used */
        return dlt_mul(m->b, x, dlt_less(m->b, dlt_uniform(m->b, "keep", x->shape, roll(&m->dice, 2) == 0),
                                         dlt_constant(m->b, 0.5)));
    default: { /* positions, along axes that may repeat */
        dlt_shape shape = {.rank = 0};
        if (x->shape.rank == 0) {
            return dlt_exp(m->b, dlt_neg(m->b, dlt_abs(m->b, x)));
        }
        for (int i = (int)roll(&m->dice, (uint64_t)x->shape.rank); i < x->shape.rank; i++) {
            shape.dim[shape.rank++] = roll(&m->dice, 4) == 0 ? 1 : x->shape.dim[i];
        }
        const int axis = (int)roll(&m->dice, (uint64_t)shape.rank);
        return dlt_tanh(m->b, dlt_add(m->b, x, dlt_index(m->b, dlt_real(m->b), shape, axis)));
    }
    }
}

static dlt_value *binary(maker *m)
{
    dlt_value *x = any(m), *y = any(m);
    dlt_shape both;
    for (int i = 0; i < 20 && !dlt_broadcast(&x->shape, &y->shape, &both); i++) {
        y = any(m);
    }
    if (!dlt_broadcast(&x->shape, &y->shape, &both) || dlt_shape_count(&both) > 20000) {
        y = x;
    }
    switch (roll(&m->dice, 6)) {
    case 0:
        return dlt_add(m->b, x, dlt_mul_c(m->b, y, 0.5));
    case 1:
        return dlt_tanh(m->b, dlt_sub(m->b, x, y));
    case 2:
        return dlt_tanh(m->b, dlt_mul(m->b, x, y));
    case 3:
        return dlt_max(m->b, x, y);
    case 4:
        return dlt_select(m->b, dlt_less(m->b, x, y), x, dlt_tanh(m->b, y));
    default:
        return dlt_div(m->b, x, dlt_add_c(m->b, dlt_square(m->b, y), 1));
    }
}

static dlt_value *reduction(maker *m)
{
    dlt_value *x = any(m);
    if (x->shape.rank == 0) {
        return dlt_square(m->b, x);
    }
    const uint32_t axes = 1 + (uint32_t)roll(&m->dice, (UINT64_C(1) << x->shape.rank) - 1);
    const bool kept = roll(&m->dice, 2) == 0;
    return roll(&m->dice, 3) == 0 ? dlt_reduce(m->b, DLT_REDUCE_MAX, x, axes, kept) : dlt_tanh(m->b, dlt_mean(m->b, x, axes, kept));
}

static dlt_value *product(maker *m)
{
    dlt_value *x = any(m);
    if (x->shape.rank < 2) {
        return unary(m);
    }
    dlt_value *y = dlt_matmul(m->b, x, a_weight(m, DLT_SHAPE(x->shape.dim[x->shape.rank - 1], 1 + (int64_t)roll(&m->dice, 9))),
                              false, false);
    if (roll(&m->dice, 2) == 0) { /* what becomes an epilogue */
        y = dlt_add(m->b, y, a_weight(m, DLT_SHAPE(y->shape.dim[y->shape.rank - 1])));
    }
    return dlt_tanh(m->b, y);
}

static dlt_value *moved(maker *m)
{
    dlt_value *x = any(m);
    const int rank = x->shape.rank;
    if (rank == 0) {
        return dlt_neg(m->b, x);
    }
    const int axis = (int)roll(&m->dice, (uint64_t)rank);
    switch (roll(&m->dice, 7)) {
    case 0:
        return dlt_reshape(m->b, x, DLT_SHAPE(dlt_shape_count(&x->shape)));
    case 1:
        return rank < 4 ? dlt_expand(m->b, x, axis) : dlt_flatten(m->b, x);
    case 2: {
        int perm[DLT_MAX_RANK];
        for (int i = 0; i < rank; i++) {
            perm[i] = (i + axis) % rank;
        }
        return dlt_transpose(m->b, x, perm);
    }
    case 3:
        return dlt_slice(m->b, x, axis, 0, (x->shape.dim[axis] + 1) / 2);
    case 4: {
        dlt_value *parts[] = {x, dlt_tanh(m->b, x), x};
        return x->shape.dim[axis] < 50 ? dlt_concat(m->b, parts, 3, axis) : dlt_reverse(m->b, x, axis);
    }
    case 5:
        return dlt_mul_c(m->b, dlt_cumsum(m->b, x, axis, false), 0.05);
    default:
        return dlt_softmax(m->b, x);
    }
}

/* A state that follows a value: s = 0.9 s + 0.1 x; old or new state goes on into the program. */
static void follow(maker *m, int number)
{
    dlt_value *x = any(m);
    char name[32];
    snprintf(name, sizeof name, "s%d", number);
    dlt_value *s = dlt_state(m->b, dlt_arena_string(dlt_builder_graph(m->b)->arena, name), dlt_real(m->b), x->shape, NULL, 0);
    dlt_variable *v = dlt_variable_of(s);
    dlt_value *next = dlt_add(m->b, dlt_mul_c(m->b, s, 0.9), dlt_mul_c(m->b, dlt_stop_gradient(m->b, x), 0.1));
    dlt_assign(m->b, v, next);
    keep(m, roll(&m->dice, 2) == 0 ? s : next);
}

static void random_program(dlt_builder *b, const void *context)
{
    maker m = {.b = b, .dice = {*(const uint64_t *)context}};
    char name[32];
    keep(&m, dlt_input(b, "a", dlt_real(b), DLT_SHAPE(BATCH, 6)));
    keep(&m, dlt_input(b, "b", dlt_real(b), DLT_SHAPE(BATCH, 3, 5)));
    keep(&m, dlt_input(b, "c", dlt_real(b), dlt_scalar()));
    keep(&m, a_weight(&m, DLT_SHAPE(5)));
    keep(&m, a_weight(&m, DLT_SHAPE(3, 1)));
    if (roll(&m.dice, 4) == 0) { /* large enough for several tasks and chunks */
        keep(&m, dlt_input(b, "d", dlt_real(b), DLT_SHAPE(130, 150)));
    }
    const int ops = 5 + (int)roll(&m.dice, 40);
    for (int i = 0; i < ops; i++) {
        const uint64_t kind = roll(&m.dice, 12);
        if (kind == 11) {
            follow(&m, i);
        } else {
            keep(&m, kind < 3 ? unary(&m) : kind < 7 ? binary(&m) : kind < 8 ? reduction(&m) : kind < 9 ? product(&m) : moved(&m));
        }
    }
    dlt_value *loss = dlt_constant(b, 0);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "y%d", i);
        dlt_value *y = any(&m);
        dlt_output(b, name, y);
        loss = dlt_add(b, loss, dlt_mean_all(b, dlt_square(b, y)));
    }
    dlt_output(b, "loss", loss);
    const dlt_variables *all = dlt_builder_graph(b)->variables;
    dlt_value *w[MOST_VALUES], *g[MOST_VALUES];
    int count = 0;
    for (int i = 0; i < all->count; i++) {
        if (all->list[i]->trainable) {
            w[count++] = dlt_current(b, all->list[i]);
        }
    }
    dlt_gradients(b, loss, w, count, g);
    dlt_value *watched[] = {loss, NULL};
    dlt_value *flat = dlt_flat_grads(b, g, count);
    const bool early = roll(&m.dice, 2) == 0; /* the update begins in front of the guard */
    if (early) {
        dlt_builder_phase(b, DLT_PHASE_UPDATE);
    }
    watched[1] = dlt_sum_all(b, dlt_square(b, flat));
    dlt_output(b, "norm", watched[1]);
    if (roll(&m.dice, 2) == 0) { /* clipped by the norm, which the guard looks at */
        flat = dlt_mul(b, flat, dlt_div(b, dlt_constant(b, 1), dlt_add_c(b, watched[1], 1)));
    }
    dlt_guard(b, watched, 2);
    dlt_builder_phase(b, DLT_PHASE_UPDATE);
    dlt_variable *slot;
    dlt_value *v = dlt_flat_slot(b, "v", 0, &slot);
    v = dlt_add(b, dlt_mul_c(b, v, 0.9), dlt_mul_c(b, flat, 0.1));
    dlt_assign(b, slot, v);
    if (roll(&m.dice, 3) == 0) {
        dlt_output(b, "v", v);
    }
    dlt_assign_flat(b, dlt_sub(b, dlt_flat_params(b), v));
    if (roll(&m.dice, 2) == 0) { /* a constraint on one weight */
        dlt_variable *first = dlt_variable_of(w[0]);
        dlt_assign(b, first, dlt_min_c(b, dlt_current(b, first), 0.4));
    }
    dlt_variable *samples = dlt_variable_of(dlt_samples(b));
    if (samples != NULL) {
        dlt_assign(b, samples, dlt_add_c(b, dlt_samples(b), BATCH));
    }
}

/* Compiles, sets the same start everywhere, takes three steps. */
static test_program *after_steps(test_build *build, const void *context, const test_options *options)
{
    test_program *t = test_compile(build, context, options);
    double *values = calloc(30000, sizeof *values);
    assert_non_null(values);
    for (int i = 0; i < t->graph->input_count; i++) {
        test_fill(values, test_input_count(t, i), (uint64_t)i + 1, -1, 1);
        test_set_input(t, i, values);
    }
    for (int i = 0; i < t->variables->count; i++) {
        const dlt_variable *v = t->variables->list[i];
        if (v->storage == DLT_PARAM) {
            test_fill(values, dlt_shape_count(&v->shape), (uint64_t)i + 100, -0.5, 0.5);
            test_set_variable(t, v->path, values);
        }
    }
    free(values);
    for (int i = 0; i < 3; i++) {
        assert_true(test_run(t));
    }
    return t;
}

/* Fails unless both have the same bits in all outputs and variables. */
static void assert_same_bits(test_program *a, test_program *b, uint64_t seed, int way)
{
    size_t bytes, other;
    void *expected = test_bytes(a, &bytes), *got = test_bytes(b, &other);
    if (bytes != other || memcmp(expected, got, bytes) != 0) {
        size_t at = 0, start = 0;
        while (at < bytes && ((char *)expected)[at] == ((char *)got)[at]) {
            at++;
        }
        const char *what = "a variable";
        for (int i = 0; i < a->graph->output_count && start <= at; i++) {
            start += (size_t)dlt_value_bytes(a->graph->outputs[i].value);
            what = start > at ? a->graph->outputs[i].name : what;
        }
        dlt_buf text = {0};
        dlt_graph_dump(a->graph, &text);
        dlt_graph_dump(b->graph, &text);
        fprintf(stderr, "%s", dlt_buf_text(&text));
        dlt_buf_release(&text);
        fail_msg("TEST_PLANS_SEED=%llu, way %d: other bits in %s", (unsigned long long)seed, way, what);
    }
    free(expected);
    free(got);
}

static bool take_any(void *self, const dlt_node *node, const dlt_expr *expr)
{
    (void)self, (void)node, (void)expr;
    return true;
}

static bool reduce_any(void *self, const dlt_expr *expr)
{
    (void)self, (void)expr;
    return true;
}

static const dlt_target with_epilogues = {
    .max_inputs = 16, .max_instrs = 96, .max_outputs = 8, .epilogue = take_any, .reduces = reduce_any};
static const dlt_target small_programs = {.max_inputs = 3, .max_instrs = 6, .max_outputs = 2, .reduces = reduce_any};

static void programs_give_the_same_bits_however_they_are_compiled(void **state)
{
    (void)state;
    const char *given = getenv("TEST_PLANS_SEED"), *rounds = getenv("TEST_PLANS_ROUNDS");
    const uint64_t first = given != NULL ? strtoull(given, NULL, 10) : 1;
    const uint64_t last = given != NULL ? first : rounds != NULL ? strtoull(rounds, NULL, 10) : 60;
    const test_options ways[] = {
        {.no_fuse = true},
        {.no_reuse = true},
        {.no_fuse = true, .no_reuse = true},
        {.threads = 2},
        {.threads = 3},
        {.threads = 4, .no_fuse = true},
        {.reference = true, .target = &with_epilogues},
        {.reference = true, .target = &small_programs, .threads = 2},
    };
    for (uint64_t seed = first; seed <= last; seed++) {
        char label[40];
        snprintf(label, sizeof label, "TEST_PLANS_SEED=%llu", (unsigned long long)seed);
        for (int wide = 0; wide < 2; wide++) {
            test_options options = {.label = label, .real = wide ? DLT_F64 : DLT_F32, .seed = seed, .batch = BATCH};
            test_program *chosen = after_steps(random_program, &seed, &options);
            options.reference = true;
            test_program *reference = after_steps(random_program, &seed, &options);
            for (size_t i = 0; i < DLT_COUNT(ways); i++) { /* each against its own kind of kernels */
                options = ways[i];
                options.label = label;
                options.real = wide ? DLT_F64 : DLT_F32;
                options.seed = seed;
                options.batch = BATCH;
                test_program *got = after_steps(random_program, &seed, &options);
                assert_same_bits(ways[i].reference ? reference : chosen, got, seed, (int)i);
                test_release(got);
            }
            test_release(chosen);
            test_release(reference);
        }
    }
}

/* ---- planted faults ---- */

/* A program that has one of everything a plan is about. */
static void plan_program(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(BATCH, 40)), *target = dlt_input(b, "t", DLT_F32, DLT_SHAPE(BATCH, 30));
    dlt_value *w = dlt_weight(b, &(dlt_weight_params){.name = "w"}, DLT_SHAPE(40, 30));
    dlt_value *u = dlt_weight(b, &(dlt_weight_params){.name = "u"}, DLT_SHAPE(30, 30));
    dlt_value *mean, *variance;
    dlt_value *h = dlt_batch_norm(b, dlt_matmul(b, x, w, false, false), NULL, NULL, 1e-3, &mean, &variance);
    dlt_value *flat_h = dlt_reshape(b, h, DLT_SHAPE(BATCH * 30));
    dlt_value *y = dlt_matmul(b, dlt_reshape(b, dlt_tanh(b, flat_h), DLT_SHAPE(BATCH, 30)), u, false, false);
    y = dlt_add(b, dlt_softmax(b, y), dlt_cumsum(b, h, 1, false));
    y = dlt_mul(b, y, target);
    dlt_value *picked = NULL, *top = dlt_top_k(b, y, 3, &picked);
    dlt_output(b, "top", top);
    dlt_output(b, "picked", picked);
    dlt_value *sd = dlt_state(b, "mean", DLT_F32, DLT_SHAPE(30), NULL, 0), *loss = dlt_mean_all(b, dlt_square(b, y));
    dlt_assign(b, dlt_variable_of(sd), dlt_add(b, dlt_mul_c(b, sd, 0.9), mean));
    dlt_output(b, "old", dlt_mul_c(b, sd, 2));
    dlt_value *const wrt[] = {w, u};
    dlt_value *g[2];
    dlt_gradients(b, loss, wrt, 2, g);
    dlt_output(b, "loss", loss);
    dlt_value *scale = dlt_constant_array(b, DLT_F32, DLT_SHAPE(2), (double[]){0.1, 0.2});
    dlt_value *more = dlt_constant_array(b, DLT_F32, DLT_SHAPE(2), (double[]){0.3, 0.4});
    dlt_output(b, "constants", dlt_cumsum(b, dlt_add(b, scale, more), 0, false));
    dlt_guard(b, &loss, 1);
    dlt_builder_phase(b, DLT_PHASE_UPDATE);
    dlt_variable *slot;
    dlt_value *flat = dlt_flat_grads(b, g, 2), *m = dlt_flat_slot(b, "m", 0, &slot);
    dlt_state(b, "idle", DLT_F32, DLT_SHAPE(100), NULL, 0);
    dlt_output(b, "late", dlt_cumsum(b, dlt_exp(b, dlt_reverse(b, dlt_mul(b, mean, variance), 0)), 0, false));
    m = dlt_add(b, dlt_mul_c(b, m, 0.9), flat);
    dlt_assign(b, slot, m);
    dlt_assign_flat(b, dlt_sub(b, dlt_flat_params(b), dlt_mul_c(b, m, 0.1)));
    dlt_assign(b, dlt_variable_of(u), dlt_min_c(b, dlt_current(b, dlt_variable_of(u)), 1));
}

/* A plan that may be changed. */
typedef struct draft {
    dlt_plan plan;
    dlt_place *places;
    int64_t *workspace;
    bool *copies;
} draft;

static draft draft_of(const test_program *t)
{
    const dlt_graph *g = t->graph;
    draft d = {.plan = *t->plan};
    d.places = calloc((size_t)g->value_count, sizeof *d.places);
    d.workspace = calloc((size_t)g->node_count, sizeof *d.workspace);
    d.copies = calloc((size_t)g->node_count, sizeof *d.copies);
    assert_true(d.places != NULL && d.workspace != NULL && d.copies != NULL);
    memcpy(d.places, t->plan->places, (size_t)g->value_count * sizeof *d.places);
    memcpy(d.workspace, t->plan->workspace, (size_t)g->node_count * sizeof *d.workspace);
    memcpy(d.copies, t->plan->copies, (size_t)g->node_count * sizeof *d.copies);
    d.plan.places = d.places;
    d.plan.workspace = d.workspace;
    d.plan.copies = d.copies;
    return d;
}

static void release_draft(draft *d)
{
    free(d->places);
    free(d->workspace);
    free(d->copies);
}

/* True if the verifier objects, with a message that holds `about`. */
static bool refused(const draft *d, const char *about)
{
    dlt_diag *diag = dlt_diag_create();
    assert_non_null(diag);
    const dlt_status status = dlt_plan_verify(&d->plan, diag);
    const bool found = status == DLT_E_INTERNAL && strstr(dlt_diag_text(diag, 0), about) != NULL;
    if (status != DLT_OK && !found) {
        print_message("%s\n", dlt_diag_text(diag, 0));
    }
    dlt_diag_destroy(diag);
    return found;
}

/* The n-th node of an op. */
static const dlt_node *node_of(const dlt_graph *g, dlt_op op, int n)
{
    for (int i = 0; i < g->node_count; i++) {
        if (g->nodes[i]->op == op && n-- == 0) {
            return g->nodes[i];
        }
    }
    fail_msg("there is no such %s", dlt_op_name(op));
    return NULL;
}

static bool is_transient(const draft *d, const dlt_value *v)
{
    return d->places[v->id].storage == DLT_TRANSIENT && d->places[v->id].bytes > 0;
}

/* An EXPR before the guard whose result 0 is transient. */
static const dlt_node *early_expr(const draft *d)
{
    const dlt_graph *g = d->plan.graph;
    for (int i = 0; i < node_of(g, DLT_OP_GUARD, 0)->id; i++) {
        if (g->nodes[i]->op == DLT_OP_EXPR && is_transient(d, g->nodes[i]->outputs[0])) {
            return g->nodes[i];
        }
    }
    fail_msg("no early program");
    return NULL;
}

typedef void plant(draft *d);

static void plant_offset_behind_the_end(draft *d)
{
    const dlt_value *v = early_expr(d)->outputs[0];
    d->places[v->id].offset = (d->plan.transient_bytes + 63) / 64 * 64;
}

static void plant_negative_offset(draft *d)
{
    d->places[early_expr(d)->outputs[0]->id].offset = -64;
}

static void plant_odd_offset(draft *d)
{
    d->places[early_expr(d)->outputs[0]->id].offset += 1;
}

static void plant_write_before_the_guard(draft *d)
{
    dlt_place *p = &d->places[early_expr(d)->outputs[0]->id];
    p->storage = DLT_STATE;
    p->offset = 0;
}

static void plant_write_to_param_before_the_guard(draft *d)
{
    dlt_place *p = &d->places[node_of(d->plan.graph, DLT_OP_MATMUL, 0)->outputs[0]->id];
    p->storage = DLT_PARAM;
    p->offset = 0;
}

static void plant_write_to_input(draft *d)
{
    dlt_place *p = &d->places[node_of(d->plan.graph, DLT_OP_SOFTMAX, 0)->outputs[0]->id];
    p->storage = DLT_INPUT;
    p->offset = 0;
}

static void plant_assignment_that_does_not_copy(draft *d)
{
    for (int i = 0; i < d->plan.graph->node_count; i++) {
        if (d->copies[i]) {
            d->copies[i] = false;
            return;
        }
    }
    fail_msg("nothing is copied");
}

static void plant_moved_view(draft *d)
{
    d->places[node_of(d->plan.graph, DLT_OP_RESHAPE, 0)->outputs[0]->id].offset += 64;
}

static void plant_moved_segment(draft *d)
{
    d->places[node_of(d->plan.graph, DLT_OP_SEGMENT, 0)->outputs[0]->id].offset -= 64;
}

static void plant_moved_variable(draft *d)
{
    for (int i = 0; i < d->plan.graph->node_count; i++) {
        const dlt_node *n = d->plan.graph->nodes[i];
        if (n->op == DLT_OP_VAR && d->places[n->outputs[0]->id].offset > 0) {
            d->places[n->outputs[0]->id].offset -= 64;
            return;
        }
    }
    fail_msg("no variable to move");
}

static void plant_overlapping_inputs(draft *d)
{
    d->places[d->plan.graph->inputs[1]->id].offset = d->places[d->plan.graph->inputs[0]->id].offset;
}

static void plant_overlapping_constants(draft *d)
{
    const dlt_node *a = node_of(d->plan.graph, DLT_OP_CONST, 0), *b = node_of(d->plan.graph, DLT_OP_CONST, 1);
    d->places[b->outputs[0]->id].offset = d->places[a->outputs[0]->id].offset;
}

static void plant_gradient_elsewhere(draft *d)
{
    const dlt_graph *g = d->plan.graph;
    for (int i = 0; i < g->node_count; i++) {
        for (int k = 0; k < g->nodes[i]->output_count; k++) {
            dlt_place *p = &d->places[g->nodes[i]->outputs[k]->id];
            if (p->storage == DLT_GRAD && g->nodes[i]->op != DLT_OP_FLAT && p->offset > 0) {
                p->offset -= 64;
                return;
            }
        }
    }
    fail_msg("no gradient to move");
}

static void plant_small_transient(draft *d)
{
    d->plan.transient_bytes -= 64;
}

static void plant_value_that_is_not_written(draft *d)
{
    d->places[node_of(d->plan.graph, DLT_OP_SOFTMAX, 0)->outputs[0]->id].bytes = 0;
}

static void plant_results_in_one_place(draft *d)
{
    const dlt_node *n = node_of(d->plan.graph, DLT_OP_TOP_K, 0);
    d->places[n->outputs[1]->id].offset = d->places[n->outputs[0]->id].offset;
}

static void plant_result_over_operand(draft *d)
{
    const dlt_node *n = node_of(d->plan.graph, DLT_OP_SOFTMAX, 0);
    d->places[n->outputs[0]->id] = d->places[n->inputs[0]->id];
}

static void plant_workspace_outside(draft *d)
{
    d->workspace[node_of(d->plan.graph, DLT_OP_BATCH_NORM, 0)->id] = d->plan.transient_bytes;
}

static void plant_workspace_over_result(draft *d)
{
    const dlt_node *n = node_of(d->plan.graph, DLT_OP_BATCH_NORM, 0);
    d->workspace[n->id] = d->places[n->outputs[0]->id].offset;
}

static void plant_workspace_over_operand(draft *d)
{
    const dlt_node *n = node_of(d->plan.graph, DLT_OP_BATCH_NORM, 0);
    d->workspace[n->id] = d->places[n->inputs[0]->id].offset;
}

static void plant_new_state_over_the_old(draft *d)
{
    /* "old" reads the state at the end; its new value, made before, is put into its place */
    const dlt_graph *g = d->plan.graph;
    for (int i = 0; i < g->node_count; i++) {
        const dlt_node *n = g->nodes[i];
        const dlt_variable *v = n->op == DLT_OP_ASSIGN ? *(dlt_variable *const *)n->attrs : NULL;
        if (v != NULL && strcmp(v->path, "mean") == 0) {
            d->copies[i] = false;
            d->places[n->inputs[0]->id].storage = DLT_STATE;
            d->places[n->inputs[0]->id].offset = v->offset + 64;
            return;
        }
    }
    fail_msg("no state is assigned");
}

/* A value behind the guard lies over a variable that the step neither reads nor assigns. */
static void plant_write_over_an_idle_variable(draft *d)
{
    const dlt_graph *g = d->plan.graph;
    const dlt_variable *idle = dlt_variables_find(g->variables, "idle");
    assert_non_null(idle);
    for (int i = node_of(g, DLT_OP_GUARD, 0)->id; i < g->node_count; i++) {
        const dlt_node *n = g->nodes[i];
        if (n->op == DLT_OP_EXPR && is_transient(d, n->outputs[0]) && dlt_value_bytes(n->outputs[0]) <= dlt_variable_bytes(g->variables, idle)) {
            d->places[n->outputs[0]->id].storage = idle->storage;
            d->places[n->outputs[0]->id].offset = idle->offset;
            return;
        }
    }
    fail_msg("no late value");
}

static void plant_copy_onto_itself(draft *d)
{
    const dlt_graph *g = d->plan.graph;
    for (int i = 0; i < g->node_count; i++) {
        if (g->nodes[i]->op == DLT_OP_ASSIGN && !d->copies[i]) {
            d->copies[i] = true;
            return;
        }
    }
    fail_msg("everything is copied");
}

static void every_planted_fault_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *about; /* what the message says */
        plant *plant;
    } faults[] = {
        {"outside its storage class", plant_offset_behind_the_end},
        {"outside its storage class", plant_negative_offset},
        {"not aligned", plant_odd_offset},
        {"before the guard", plant_write_before_the_guard},
        {"before the guard", plant_write_to_param_before_the_guard},
        {"only read", plant_write_to_input},
        {"nor copied", plant_assignment_that_does_not_copy},
        {"view of", plant_moved_view},
        {"part of the vector", plant_moved_segment},
        {"not where its variable is", plant_moved_variable},
        {"another input or constant", plant_overlapping_inputs},
        {"another input or constant", plant_overlapping_constants},
        {"where its variable is", plant_gradient_elsewhere},
        {"outside", plant_small_transient},
        {"never written", plant_value_that_is_not_written},
        {"another result", plant_results_in_one_place},
        {"operand of its own node", plant_result_over_operand},
        {"outside the transient memory", plant_workspace_outside},
        {"workspace", plant_workspace_over_result},
        {"workspace", plant_workspace_over_operand},
        {"the memory plan", plant_new_state_over_the_old},
        {"when the step is over", plant_write_over_an_idle_variable},
        {"onto itself", plant_copy_onto_itself},
    };
    for (int how = 0; how < 2; how++) {
        test_program *t = test_compile(plan_program, NULL, &(test_options){.reference = true, .no_fuse = how == 1});
        for (size_t i = 0; i < DLT_COUNT(faults); i++) {
            draft d = draft_of(t);
            assert_int_equal(dlt_plan_verify(&d.plan, t->diag), DLT_OK);
            faults[i].plant(&d);
            if (!refused(&d, faults[i].about)) {
                fail_msg("fault %d (%s) was not found", (int)i, faults[i].about);
            }
            release_draft(&d);
        }
        test_release(t);
    }
}

/* Every two transient values that live at the same time, put into one place. */
static void values_that_live_together_may_not_share_memory(void **state)
{
    (void)state;
    test_program *t = test_compile(plan_program, NULL, &(test_options){.reference = true});
    const dlt_graph *g = t->graph;
    draft d = draft_of(t);
    int pairs = 0;
    for (int i = 0; i < g->node_count; i++) {
        for (int j = i; j < g->node_count; j++) {
            for (int k = 0; k < g->nodes[i]->output_count * g->nodes[j]->output_count; k++) {
                const dlt_value *a = g->nodes[i]->outputs[k % g->nodes[i]->output_count];
                const dlt_value *b = g->nodes[j]->outputs[k / g->nodes[i]->output_count];
                const bool views = g->nodes[i]->op == DLT_OP_RESHAPE || g->nodes[j]->op == DLT_OP_RESHAPE;
                const dlt_place *p = &d.places[a->id], *q = &d.places[b->id];
                if (a == b || views || !is_transient(&d, a) || !is_transient(&d, b) || p->last <= j) {
                    continue;
                }
                const int64_t kept = q->offset;
                d.places[b->id].offset = p->offset;
                dlt_diag *diag = dlt_diag_create();
                if (dlt_plan_verify(&d.plan, diag) != DLT_E_INTERNAL) {
                    fail_msg("value %d may lie over %d", b->id, a->id);
                }
                dlt_diag_destroy(diag);
                d.places[b->id].offset = kept;
                pairs++;
            }
        }
    }
    assert_true(pairs > 20);
    release_draft(&d);
    test_release(t);
}

static void nodes_out_of_order_are_found(void **state)
{
    (void)state;
    test_program *t = test_compile(plan_program, NULL, &(test_options){.reference = true});
    const dlt_node *softmax = node_of(t->graph, DLT_OP_SOFTMAX, 0), *producer = softmax->inputs[0]->node;
    dlt_graph swapped = *t->graph;
    dlt_node **nodes = calloc((size_t)swapped.node_count, sizeof *nodes);
    assert_non_null(nodes);
    memcpy(nodes, swapped.nodes, (size_t)swapped.node_count * sizeof *nodes);
    dlt_node a = *softmax, b = *producer;
    a.id = producer->id; /* consumer in place of its producer, and numbered so */
    b.id = softmax->id;
    nodes[a.id] = &a;
    nodes[b.id] = &b;
    swapped.nodes = nodes;
    draft d = draft_of(t);
    d.plan.graph = &swapped;
    assert_true(refused(&d, "ever written"));
    nodes[a.id] = (dlt_node *)(uintptr_t)softmax; /* and with a number that does not fit */
    assert_true(refused(&d, "where its number says"));
    free(nodes);
    release_draft(&d);
    test_release(t);
}

/* ---- counts ---- */

static void a_steady_step_allocates_nothing(void **state)
{
    (void)state;
    const uint64_t seed = 7;
    test_program *t = test_compile(random_program, &seed, &(test_options){.threads = 2, .batch = BATCH});
    test_run(t);
    const uint64_t before = dlt_alloc_calls();
    for (int i = 0; i < 100; i++) {
        test_run(t);
    }
    assert_int_equal(dlt_alloc_calls() - before, 0);
    test_release(t);
}

/* From the builder to one run with the n-th allocation refused; true if it went through. */
static bool runs_without_allocation(uint64_t nth)
{
    bool done = false;
    dlt_device *device = NULL;
    dlt_memory *memory = NULL;
    dlt_program *program = NULL;
    dlt_graph *built = NULL, *g = NULL;
    const dlt_plan *plan = NULL;
    const uint64_t refused_before = dlt_alloc_fail_at(nth, true);
    dlt_diag *diag = dlt_diag_create();
    dlt_arena *arena = dlt_arena_create();
    dlt_variables *variables = arena != NULL ? dlt_variables_create(arena) : NULL;
    const dlt_builder_options how = {.name = "test", .real = DLT_F32, .batch = BATCH};
    dlt_builder *b = variables != NULL ? dlt_builder_create(arena, variables, &how, diag) : NULL;
    dlt_status status = DLT_E_MEMORY;
    if (b != NULL) {
        plan_program(b, NULL);
        status = dlt_builder_finish(b, &built);
    }
    const dlt_backend *cpu = &dlt_backend_cpu;
    if (status == DLT_OK) {
        status = cpu->open(&(dlt_device_options){.name = "cpu", .threads = 1}, &device, diag);
    }
    if (status == DLT_OK) {
        const dlt_pass_options passes = {.fuse = true, .layout = true, .main_program = true};
        status = dlt_passes_run(built, cpu->target(device), &passes, &g, diag);
    }
    if (status == DLT_OK) {
        status = dlt_plan_create(g, &(dlt_plan_options){.reuse = true}, &plan, diag);
    }
    status = status == DLT_OK ? dlt_plan_verify(plan, diag) : status;
    if (status == DLT_OK) {
        const dlt_memory_sizes sizes = {.bytes = {[DLT_TRANSIENT] = plan->transient_bytes,
                                                  [DLT_PARAM] = variables->param_bytes,
                                                  [DLT_GRAD] = variables->grad_bytes,
                                                  [DLT_STATE] = variables->state_bytes,
                                                  [DLT_INPUT] = plan->input_bytes},
                                        .input_slots = 1};
        status = cpu->memory_create(device, &sizes, &memory, diag);
    }
    status = status == DLT_OK ? cpu->program_create(device, memory, plan, &program, diag) : status;
    if (status == DLT_OK) {
        done = cpu->run(program, 0, diag) == DLT_OK;
    }
    const bool refused_some = dlt_alloc_fail_at(0, false) != refused_before;
    assert_true(done || refused_some); /* nothing fails for another reason */
    assert_true(done || diag == NULL || status != DLT_OK);
    cpu->program_destroy(program);
    cpu->memory_destroy(memory);
    cpu->close(device);
    dlt_arena_destroy(arena);
    dlt_diag_destroy(diag);
    return done && !refused_some;
}

static void every_refused_allocation_is_an_error_and_no_crash(void **state)
{
    (void)state;
    uint64_t nth = 1;
    while (!runs_without_allocation(nth)) {
        assert_true(++nth < 100000);
    }
    assert_true(nth > 10);
}

static void memory_is_what_the_plan_says(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        test_program *t = test_compile(plan_program, NULL, &(test_options){.threads = threads});
        const dlt_variables *v = t->variables;
        const int64_t parts[] = {v->param_bytes, v->grad_bytes, v->state_bytes, t->plan->transient_bytes, t->plan->input_bytes};
        int64_t total = threads * (int64_t)DLT_CPU_SCRATCH_BYTES;
        for (size_t i = 0; i < DLT_COUNT(parts); i++) {
            total += (parts[i] + 4095) / 4096 * 4096;
        }
        assert_int_equal(dlt_backend_cpu.memory_bytes(t->device, &t->sizes), total);
        int64_t params = 0;
        for (int i = 0; i < v->count; i++) {
            params += v->list[i]->storage == DLT_PARAM ? (dlt_shape_count(&v->list[i]->shape) * 4 + 63) / 64 * 64 : 0;
        }
        assert_int_equal(v->param_bytes, params);
        assert_int_equal(v->grad_bytes, v->trainable_bytes);
        test_release(t);
    }
}

static void fusion_and_reuse_save_something(void **state)
{
    (void)state;
    test_program *fused = test_compile(plan_program, NULL, &(test_options){0});
    test_program *plain = test_compile(plan_program, NULL, &(test_options){.no_fuse = true});
    test_program *apart = test_compile(plan_program, NULL, &(test_options){.no_reuse = true});
    assert_true(test_nodes(fused, DLT_OP_EXPR) < test_nodes(plain, DLT_OP_EXPR));
    assert_true(fused->graph->node_count < plain->graph->node_count);
    assert_true(fused->plan->transient_bytes < apart->plan->transient_bytes);
    test_release(fused);
    test_release(plain);
    test_release(apart);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_give_the_same_bits_however_they_are_compiled),
        cmocka_unit_test(every_planted_fault_is_found),
        cmocka_unit_test(values_that_live_together_may_not_share_memory),
        cmocka_unit_test(nodes_out_of_order_are_found),
        cmocka_unit_test(a_steady_step_allocates_nothing),
        cmocka_unit_test(every_refused_allocation_is_an_error_and_no_crash),
        cmocka_unit_test(memory_is_what_the_plan_says),
        cmocka_unit_test(fusion_and_reuse_save_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
