/* tests/registry/test_kernels.c: the fast kernels against the reference in double, over random shapes, on every instruction
 * set of this machine; with and without fusion, and with 1 to 4 threads, bit for bit. DLT_TEST_SEED=n repeats a run. */
#include "support/cell.h"
#include "support/program.h"

#include "backend/cpu/kernel.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 20250101;

/* A stream of random choices. */
typedef struct draw {
    uint64_t seed, at;
} draw;

static int64_t pick(draw *d, int64_t low, int64_t high)
{
    return low + (int64_t)(dlt_random_bits(d->seed, 3, 0, d->at++) % (uint64_t)(high - low + 1));
}


/* One case: a graph that depends on its number alone. */
typedef struct kernel_case {
    const char *what;
    uint64_t seed;
    double tolerance;
    double low, high; /* of inputs; both 0: -1 and 1 */
    test_build *build;
    const char *prefer; /* kernels that are meant, whatever their cost; NULL: those that are chosen */
    test_build *layer; /* mixed precision: `build` is in_layer, and this is what it builds */
} kernel_case;

/* Products are rounded where a layer asked for them. */
static void in_layer(dlt_builder *b, const void *context)
{
    const kernel_case *c = context;
    dlt_scope_enter(b, "layer", NULL, (dlt_pos){0}, true);
    c->layer(b, c);
    dlt_scope_leave(b);
}

static void fill_inputs(test_program *t, const kernel_case *c)
{
    for (int i = 0; i < t->built->input_count; i++) {
        const int64_t n = test_input_count(t, i);
        double *x = calloc((size_t)n + 1, sizeof *x);
        assert_non_null(x);
        const bool integers = !dlt_dtype_is_real(t->built->inputs[i]->type);
        for (int64_t k = 0; k < n; k++) {
            const double low = c->low < c->high ? c->low : -1, high = c->low < c->high ? c->high : 1;
            x[k] = integers ? floor(test_random(c->seed + (uint64_t)i, (uint64_t)k, 0, 7))
                            : (double)(float)test_random(c->seed + (uint64_t)i, (uint64_t)k, low, high);
        }
        test_set_input(t, i, x);
        free(x);
    }
    for (int i = 0; i < t->variables->count; i++) {
        const dlt_variable *v = t->variables->list[i];
        const int64_t n = dlt_shape_count(&v->shape);
        double *x = calloc((size_t)n + 1, sizeof *x);
        assert_non_null(x);
        for (int64_t k = 0; k < n; k++) {
            x[k] = (double)(float)test_random(c->seed + 100 + (uint64_t)i, (uint64_t)k, -1, 1);
        }
        test_set_variable(t, v->path, x);
        free(x);
    }
}

static double **outputs_of(const kernel_case *c, const test_options *options)
{
    test_program *t = test_compile(c->build, c, options);
    double **all = calloc((size_t)t->graph->output_count + 1, sizeof *all);
    assert_non_null(all);
    fill_inputs(t, c);
    test_run(t);
    for (int i = 0; i < t->graph->output_count; i++) {
        const int64_t n = test_count(t, t->graph->outputs[i].name);
        all[i] = calloc((size_t)n + 1, sizeof **all);
        assert_non_null(all[i]);
        test_get(t, t->graph->outputs[i].name, all[i]);
    }
    test_release(t);
    return all;
}

static void free_outputs(double **all)
{
    for (int i = 0; all[i] != NULL; i++) {
        free(all[i]);
    }
    free(all);
}

/* Compares every instruction set with the reference in double, then fused with unfused and the numbers of threads. */
static void check_case(const kernel_case *c)
{
    const dlt_dtype compute = c->layer != NULL ? DLT_BF16 : DLT_F32;
    double **truth = outputs_of(c, &(test_options){.reference = true, .real = DLT_F64, .compute = compute, .batch = 4});
    for (int isa = 0; isa <= (int)dlt_isa_best(); isa++) {
        const char *name = dlt_isa_name((dlt_isa)isa);
        const test_options plain = {.isa = name, .batch = 4, .prefer = c->prefer, .compute = compute};
        test_program *t = test_compile(c->build, c, &plain);
        size_t bytes = 0, other_bytes = 0;
        fill_inputs(t, c);
        test_run(t);
        for (int i = 0; i < t->graph->output_count; i++) {
            const char *output = t->graph->outputs[i].name;
            const int64_t n = test_count(t, output);
            double *y = calloc((size_t)n + 1, sizeof *y);
            char what[160];
            assert_non_null(y);
            test_get(t, output, y);
            snprintf(what, sizeof what, "%s, seed %llu, %s, output %s", c->what, (unsigned long long)c->seed, name, output);
            test_close(what, y, truth[i], n, c->tolerance);
            free(y);
        }
        if (getenv("DLT_TEST_VERBOSE") != NULL) {
            dlt_buf text = {0};
            dlt_graph_dump(t->graph, &text);
            fputs(text.data, stderr);
            dlt_buf_release(&text);
        }
        void *first = test_bytes(t, &bytes);
        test_release(t);
        for (int way = 0; way < 5; way++) { /* 1: unfused and without reuse of memory; else more threads */
            const test_options options = {
                .isa = name, .prefer = c->prefer, .batch = 4, .compute = compute, .threads = way == 1 ? 1 : way + 1, .no_fuse = way == 1, .no_reuse = way == 1};
            t = test_compile(c->build, c, &options);
            fill_inputs(t, c);
            test_run(t);
            void *other = test_bytes(t, &other_bytes);
            if (bytes != other_bytes || memcmp(first, other, bytes) != 0) {
                fail_msg("%s, seed %llu, %s: other bits %s", c->what, (unsigned long long)c->seed, name,
                         way == 1 ? "unfused" : "with more threads");
            }
            free(other);
            test_release(t);
        }
        free(first);
    }
    free_outputs(truth);
}

static void check_many(kernel_case c, int count)
{
    const char *only = getenv("DLT_TEST_SEED");
    if (only != NULL) {
        c.seed = strtoull(only, NULL, 10);
        check_case(&c);
        return;
    }
    const char *fewer = getenv("DLT_TEST_FEWER"); /* one of so many, for valgrind */
    const int part = fewer != NULL && atoi(fewer) > 1 ? atoi(fewer) : 1;
    for (int i = 0; i < (count + part - 1) / part; i++) {
        c.seed = seed + (uint64_t)i;
        check_case(&c);
    }
}

/* ---- expression programs ---- */

/* A shape that broadcasts to `shape`. */
static dlt_shape broadcastable(draw *d, dlt_shape shape)
{
    const int64_t how = pick(d, 0, 5);
    if (how == 0) {
        return dlt_scalar();
    }
    if (how == 1) { /* the last axis alone */
        return DLT_SHAPE(shape.dim[shape.rank - 1]);
    }
    for (int i = 0; i < shape.rank && how < 4; i++) {
        shape.dim[i] = pick(d, 0, 1) == 0 ? 1 : shape.dim[i];
    }
    return shape;
}

static void random_program(dlt_builder *b, const void *context)
{
    static const dlt_ew unary[] = {DLT_EW_NEG,  DLT_EW_ABS,     DLT_EW_SQUARE,   DLT_EW_EXP, DLT_EW_TANH, DLT_EW_SIGMOID,
                                   DLT_EW_RELU, DLT_EW_SOFTPLUS, DLT_EW_SIN,      DLT_EW_COS, DLT_EW_ERF,  DLT_EW_EXPM1,
                                   DLT_EW_NOT,  DLT_EW_SIGN};
    static const dlt_ew binary[] = {DLT_EW_ADD, DLT_EW_SUB, DLT_EW_MUL, DLT_EW_MAX, DLT_EW_MIN, DLT_EW_LT, DLT_EW_LE};
    const kernel_case *c = context;
    draw d = {c->seed, 0};
    dlt_shape shape = {.rank = (int)pick(&d, 1, 4)};
    for (int i = 0; i < shape.rank; i++) {
        static const int64_t sizes[] = {1, 2, 3, 5, 10, 16, 17, 33, 64, 130, 300, 1100};
        shape.dim[i] = sizes[pick(&d, 0, shape.rank < 3 ? 11 : 7)];
    }
    dlt_value *v[40];
    int count = 0;
    v[count++] = dlt_input(b, "x", dlt_real(b), shape);
    for (int i = (int)pick(&d, 0, 4); i > 0; i--) {
        v[count++] = dlt_input(b, "y", dlt_real(b), broadcastable(&d, shape));
    }
    v[count++] = dlt_cast(b, dlt_input(b, "k", DLT_I32, broadcastable(&d, shape)), dlt_real(b));
    if (pick(&d, 0, 1) == 0) {
        v[count++] = dlt_mul_c(b, dlt_index(b, dlt_real(b), shape, (int)pick(&d, 0, shape.rank - 1)), 0.01);
    }
    if (pick(&d, 0, 1) == 0) {
        v[count++] = dlt_uniform(b, "draw", shape, false);
    }
    for (int i = (int)pick(&d, 1, 16); i > 0; i--) {
        dlt_value *x = v[pick(&d, 0, count - 1)], *y = v[pick(&d, 0, count - 1)], *z = v[pick(&d, 0, count - 1)];
        switch (pick(&d, 0, 3)) {
        case 0: { /* bounded, so that errors do not grow */
            const dlt_ew op = unary[pick(&d, 0, (int64_t)DLT_COUNT(unary) - 1)];
            x = dlt_min_c(b, dlt_max_c(b, x, -2), 2);
            v[count++] = dlt_elementwise(b, op, x, NULL, NULL);
            break;
        }
        case 1:
            v[count++] = dlt_select(b, dlt_less(b, x, dlt_constant(b, 0.25)), y, z);
            break;
        default:
            v[count++] = dlt_mul_c(b, dlt_elementwise(b, binary[pick(&d, 0, (int64_t)DLT_COUNT(binary) - 1)], x, y, NULL), 0.5);
        }
    }
    dlt_value *last = dlt_add(b, v[count - 1], v[0]);
    dlt_output(b, "last", last);
    if (pick(&d, 0, 1) == 0) {
        dlt_output(b, "other", dlt_mul(b, v[pick(&d, 0, count - 1)], v[0]));
    }
    if (pick(&d, 0, 1) == 0) {
        dlt_output(b, "whole", dlt_cast(b, dlt_mul_c(b, last, 4), DLT_F64));
    }
    /* reductions over axes that lie together, or all */
    const int first = (int)pick(&d, 0, shape.rank - 1), end = (int)pick(&d, first + 1, shape.rank);
    uint32_t axes = 0;
    for (int i = first; i < end; i++) {
        axes |= UINT32_C(1) << i;
    }
    dlt_output(b, "sum", dlt_sum(b, dlt_mul_c(b, last, 0.01), axes, false));
    if (pick(&d, 0, 1) == 0) {
        dlt_output(b, "max", dlt_reduce(b, DLT_REDUCE_MAX, last, axes, true));
    }
    if (pick(&d, 0, 1) == 0) {
        dlt_output(b, "min", dlt_reduce(b, DLT_REDUCE_MIN, dlt_sub(b, last, v[0]), axes, false));
    }
    if (pick(&d, 0, 1) == 0) {
        dlt_output(b, "all", dlt_mean_all(b, last));
    }
}

static void programs_match_the_reference(void **state)
{
    (void)state;
    check_many((kernel_case){"random program", 0, 2e-5, 0, 0, random_program}, 60);
}

static void scalar_program(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", dlt_real(b), dlt_scalar()), *y = dlt_input(b, "y", DLT_I64, dlt_scalar());
    dlt_output(b, "a", dlt_exp(b, dlt_mul_c(b, dlt_add(b, x, dlt_cast(b, y, dlt_real(b))), 0.1)));
    dlt_output(b, "b", dlt_add(b, y, dlt_constant_typed(b, DLT_I64, 3)));
}

static void scalars_and_integers_match_the_reference(void **state)
{
    (void)state;
    check_many((kernel_case){"scalars", 0, 1e-6, 0, 0, scalar_program}, 3);
}

/* Long reductions have several chunks in both directions. */
static void long_reductions(dlt_builder *b, const void *context)
{
    const kernel_case *c = context;
    draw d = {c->seed, 0};
    const dlt_shape shape = pick(&d, 0, 1) == 0 ? DLT_SHAPE(pick(&d, 1, 5), pick(&d, 4000, 20000))
                                                : DLT_SHAPE(pick(&d, 500, 3000), pick(&d, 1, 40));
    dlt_value *x = dlt_input(b, "x", dlt_real(b), shape);
    dlt_value *y = dlt_mul(b, x, dlt_input(b, "y", dlt_real(b), DLT_SHAPE(shape.dim[0], 1)));
    dlt_output(b, "rows", dlt_mean(b, y, 2, false));
    dlt_output(b, "columns", dlt_mean(b, dlt_square(b, y), 1, false));
    dlt_output(b, "all", dlt_mean_all(b, dlt_abs(b, y)));
    dlt_output(b, "y", y);
}

static void long_reductions_match_the_reference(void **state)
{
    (void)state;
    check_many((kernel_case){"long reductions", 0, 1e-5, 0, 0, long_reductions}, 12);
}

/* ---- products ---- */

/* What may follow a product: bias, activation, dropout, a residual, the product itself. */
static void epilogue(dlt_builder *b, draw *d, dlt_value *y)
{
    const dlt_shape s = dlt_shape_of(y);
    const int64_t how = pick(d, 0, 5);
    if (how == 0) {
        dlt_output(b, "y", y);
        return;
    }
    dlt_value *z = dlt_add(b, y, dlt_input(b, "bias", dlt_real(b), DLT_SHAPE(s.dim[s.rank - 1])));
    if (how > 1) {
        z = dlt_relu(b, z);
    }
    if (how == 3) {
        dlt_value *kept = dlt_less(b, dlt_constant(b, 0.5), dlt_uniform(b, "dropout", s, false));
        z = dlt_mul(b, dlt_mul(b, z, kept), dlt_index(b, dlt_real(b), s, s.rank - 1));
    }
    if (how == 4) {
        dlt_shape column = s;
        column.dim[s.rank - 1] = 1;
        z = dlt_mul(b, dlt_add(b, z, dlt_input(b, "rest", dlt_real(b), s)), dlt_input(b, "scale", dlt_real(b), column));
    }
    if (how == 5) {
        dlt_output(b, "y", y);
    }
    dlt_output(b, "z", z);
}

static void random_product(dlt_builder *b, const void *context)
{
    const kernel_case *c = context;
    draw d = {c->seed, 0};
    static const int64_t sizes[] = {1, 2, 3, 7, 13, 14, 15, 16, 31, 32, 33, 64, 65, 100, 129, 200, 300};
    const int64_t m = sizes[pick(&d, 0, 16)], n = sizes[pick(&d, 0, 16)], k = pick(&d, 0, 3) > 0 ? pick(&d, 1, 130) : pick(&d, 1, 5000);
    const bool ta = pick(&d, 0, 1) == 0, tb = pick(&d, 0, 1) == 0;
    const int64_t how = pick(&d, 0, 3);
    dlt_value *x, *y;
    if (how == 0) { /* batched */
        const int64_t batch = pick(&d, 1, 3);
        x = dlt_input(b, "x", dlt_real(b), ta ? DLT_SHAPE(batch, 2, k, m) : DLT_SHAPE(batch, 2, m, k));
        y = dlt_input(b, "y", dlt_real(b), tb ? DLT_SHAPE(batch, 2, n, k) : DLT_SHAPE(batch, 2, k, n));
        epilogue(b, &d, dlt_matmul(b, x, y, ta, tb));
    } else if (how == 1) { /* leading axes are rows */
        x = dlt_input(b, "x", dlt_real(b), DLT_SHAPE(pick(&d, 1, 4), m, k));
        y = dlt_input(b, "y", dlt_real(b), tb ? DLT_SHAPE(n, k) : DLT_SHAPE(k, n));
        epilogue(b, &d, dlt_matmul(b, x, y, false, tb));
    } else {
        x = dlt_input(b, "x", dlt_real(b), ta ? DLT_SHAPE(k, m) : DLT_SHAPE(m, k));
        y = dlt_input(b, "y", dlt_real(b), tb ? DLT_SHAPE(n, k) : DLT_SHAPE(k, n));
        epilogue(b, &d, dlt_matmul(b, x, y, ta, tb));
    }
}

static void products_match_the_reference(void **state)
{
    (void)state;
    check_many((kernel_case){"product", 0, 1e-4, 0, 0, random_product}, 50);
}

/* ---- convolutions and pools ---- */

static dlt_window random_window(draw *d, int axes, const dlt_shape *x)
{
    dlt_window w = {.axes = axes};
    for (int i = 0; i < axes; i++) {
        w.size[i] = pick(d, 1, 4);
        w.stride[i] = pick(d, 1, 3) == 1 ? pick(d, 1, 3) : 1;
        w.dilation[i] = pick(d, 0, 3) == 0 ? 2 : 1;
    }
    const int64_t how = pick(d, 0, 2);
    if (how == 0) {
        dlt_window_same(&w, x);
    } else if (how == 1) {
        for (int i = 0; i < axes; i++) {
            w.before[i] = pick(d, 0, w.size[i] - 1);
            w.after[i] = pick(d, 0, w.size[i] - 1);
        }
    }
    return w;
}

static dlt_shape random_image(draw *d, int axes, int64_t channels)
{
    dlt_shape s = {.rank = axes + 2};
    s.dim[0] = pick(d, 1, 3);
    for (int i = 0; i < axes; i++) {
        s.dim[1 + i] = pick(d, 7, axes == 3 ? 9 : 20);
    }
    s.dim[axes + 1] = channels;
    return s;
}

/* A convolution, what may follow it, and both gradients. */
static void random_convolution(dlt_builder *b, const void *context)
{
    const kernel_case *c = context;
    draw d = {c->seed, 0};
    static const int64_t channels[] = {1, 3, 5, 16, 32, 48};
    const int axes = pick(&d, 0, 5) == 0 ? (int)pick(&d, 1, 3) : 2;
    const int64_t groups = pick(&d, 0, 7) == 0 ? 2 : 1;
    const int64_t in = channels[pick(&d, 0, 5)] * groups, out = channels[pick(&d, 2, 5)] * groups;
    const dlt_shape image = random_image(&d, axes, in);
    const dlt_window w = random_window(&d, axes, &image);
    dlt_shape kernel = {.rank = axes + 2};
    for (int i = 0; i < axes; i++) {
        kernel.dim[i] = w.size[i];
    }
    kernel.dim[axes] = in / groups;
    kernel.dim[axes + 1] = out;
    dlt_value *x = dlt_input(b, "x", dlt_real(b), image), *k = dlt_input(b, "kernel", dlt_real(b), kernel);
    if (pick(&d, 0, 1) == 0) {
        x = dlt_relu(b, x);
    }
    dlt_value *y = dlt_conv(b, x, k, &w, groups);
    const int64_t how = pick(&d, 0, 3);
    if (how > 0) {
        y = dlt_add(b, y, dlt_input(b, "bias", dlt_real(b), DLT_SHAPE(out)));
    }
    if (how > 1) {
        y = dlt_relu(b, y);
    }
    if (how > 2) {
        y = dlt_mul(b, y, dlt_input(b, "scale", dlt_real(b), dlt_shape_of(y)));
    }
    dlt_output(b, "y", y);
    dlt_value *loss = dlt_sum_all(b, dlt_mul(b, y, dlt_input(b, "dy", dlt_real(b), dlt_shape_of(y))));
    dlt_value *const wrt[] = {x, k, b != NULL && how > 0 ? dlt_builder_graph(b)->inputs[2] : x};
    dlt_value *grads[3];
    dlt_gradients(b, loss, wrt, 3, grads);
    dlt_output(b, "dx", grads[0]);
    dlt_output(b, "dkernel", grads[1]);
    dlt_output(b, "db", grads[2]);
}

/* Stride 1, 3 x 3: what Winograd takes, with every kind of edge. 192 channels are so many that its phases are apart. */
static void random_winograd(dlt_builder *b, const void *context)
{
    const kernel_case *c = context;
    draw d = {c->seed, 0};
    static const int64_t channels[] = {16, 32, 64, 80, 192};
    const int64_t in = channels[pick(&d, 0, 4)], out = in == 192 ? 192 : channels[pick(&d, 0, 3)];
    const dlt_shape image = DLT_SHAPE(pick(&d, 1, 5), pick(&d, 3, 14), pick(&d, 3, 30), in);
    dlt_window w = {.axes = 2, .size = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}};
    for (int i = 0; i < 2; i++) {
        w.before[i] = pick(&d, 0, 2);
        w.after[i] = pick(&d, 0, 2);
    }
    dlt_value *x = dlt_input(b, "x", dlt_real(b), image), *k = dlt_input(b, "kernel", dlt_real(b), DLT_SHAPE(3, 3, in, out));
    dlt_value *y = dlt_conv(b, x, k, &w, 1);
    if (pick(&d, 0, 1) == 0) {
        y = dlt_relu(b, dlt_add(b, y, dlt_input(b, "bias", dlt_real(b), DLT_SHAPE(out))));
    }
    dlt_output(b, "y", y);
    dlt_value *loss = dlt_sum_all(b, dlt_mul(b, y, dlt_input(b, "dy", dlt_real(b), dlt_shape_of(y))));
    dlt_value *const wrt[] = {x, k};
    dlt_value *grads[2];
    dlt_gradients(b, loss, wrt, 2, grads);
    dlt_output(b, "dx", grads[0]);
    dlt_output(b, "dkernel", grads[1]);
}

/* How many nodes of an op run on a kernel of this name. */
static int nodes_on(const test_program *t, dlt_op op, const char *kernel)
{
    int count = 0;
    for (int i = 0; i < t->graph->node_count; i++) {
        const dlt_node *n = t->graph->nodes[i];
        const dlt_choice *choice = n->choice;
        count += n->op == op && strcmp(choice->candidates[choice->taken].name, kernel) == 0;
    }
    return count;
}

static void winograd_matches_the_reference(void **state)
{
    (void)state;
    kernel_case c = {"winograd", 0, 1e-3, 0, 0, random_winograd, "winograd"}; /* sums of up to 1,728 products, of which an element may be a small rest */
    int convolutions = 0, dx = 0, dw = 0;
    check_many(c, 30);
    for (uint64_t i = 0; i < 30; i++) {
        c.seed = seed + i;
        test_program *t = test_compile(random_winograd, &c, &(test_options){.batch = 4, .prefer = c.prefer});
        convolutions += nodes_on(t, DLT_OP_CONV, "conv_winograd");
        dx += nodes_on(t, DLT_OP_CONV_DX, "conv_dx_winograd");
        dw += nodes_on(t, DLT_OP_CONV_DW, "conv_dw_winograd");
        test_release(t);
    }
    assert_true(convolutions == 30 && dx == 30 && dw == 30); /* else something else was compared */
}

static void convolutions_match_the_reference(void **state)
{
    (void)state;
    check_many((kernel_case){"convolution", 0, 2e-4, 0, 0, random_convolution, NULL}, 40);
    check_many((kernel_case){"convolution of few channels", 0, 2e-4, 0, 0, random_convolution, "few"}, 40);
}

static void random_pool(dlt_builder *b, const void *context)
{
    const kernel_case *c = context;
    draw d = {c->seed, 0};
    static const int64_t channels[] = {1, 3, 16, 17, 32};
    const int axes = pick(&d, 0, 4) == 0 ? (int)pick(&d, 1, 3) : 2;
    const dlt_shape image = random_image(&d, axes, channels[pick(&d, 0, 4)]);
    const dlt_window w = random_window(&d, axes, &image);
    dlt_value *x = dlt_input(b, "x", dlt_real(b), image);
    dlt_value *y = pick(&d, 0, 1) == 0 ? dlt_max_pool(b, x, &w) : dlt_avg_pool(b, x, &w);
    dlt_output(b, "y", y);
    dlt_value *loss = dlt_sum_all(b, dlt_mul(b, y, dlt_input(b, "dy", dlt_real(b), dlt_shape_of(y))));
    dlt_value *dx = NULL;
    dlt_gradients(b, loss, &x, 1, &dx);
    dlt_output(b, "dx", dx);
}

static void pools_match_the_reference(void **state)
{
    (void)state;
    check_many((kernel_case){"pool", 0, 1e-5, 0, 0, random_pool}, 40);
}

/* ---- softmax and norms ---- */

static void random_norm(dlt_builder *b, const void *context)
{
    const kernel_case *c = context;
    draw d = {c->seed, 0};
    const dlt_shape s = DLT_SHAPE(pick(&d, 1, 40), pick(&d, 1, 30), pick(&d, 1, 70));
    dlt_value *x = dlt_mul_c(b, dlt_input(b, "x", dlt_real(b), s), 3), *y = NULL;
    dlt_value *wrt[3] = {x, x, x}, *grads[3];
    dlt_value *gamma = dlt_input(b, "gamma", dlt_real(b), DLT_SHAPE(s.dim[2]));
    dlt_value *beta = dlt_input(b, "beta", dlt_real(b), DLT_SHAPE(s.dim[2]));
    const int64_t how = pick(&d, 0, 5);
    const bool has_gamma = pick(&d, 0, 1) == 0, has_beta = pick(&d, 0, 1) == 0;
    if (how == 0) {
        y = dlt_softmax(b, x);
    } else if (how == 1) {
        y = dlt_softmax_xent(b, x, dlt_input(b, "class", DLT_I32, DLT_SHAPE(s.dim[0], s.dim[1])));
    } else if (how == 2) {
        y = dlt_softmax_xent(b, x, dlt_input(b, "target", dlt_real(b), s));
    } else if (how == 3) {
        y = dlt_layer_norm(b, x, has_gamma ? gamma : NULL, has_beta ? beta : NULL, 1, 1e-3);
    } else {
        dlt_value *mean, *variance;
        x = wrt[0] = wrt[1] = wrt[2] = dlt_add_c(b, x, 10); /* a mean that is large against the spread */
        y = dlt_batch_norm(b, x, has_gamma ? gamma : NULL, has_beta ? beta : NULL, 1e-3, &mean, &variance);
        dlt_output(b, "mean", mean);
        dlt_output(b, "variance", variance);
    }
    if (how >= 3) {
        wrt[1] = has_gamma ? gamma : x;
        wrt[2] = has_beta ? beta : x;
    }
    dlt_output(b, "y", y);
    dlt_value *loss = dlt_sum_all(b, dlt_mul(b, y, dlt_input(b, "dy", dlt_real(b), dlt_shape_of(y))));
    dlt_gradients(b, loss, wrt, 3, grads);
    dlt_output(b, "dx", grads[0]);
    dlt_output(b, "dgamma", grads[1]);
    dlt_output(b, "dbeta", grads[2]);
}

static void norms_match_the_reference(void **state)
{
    (void)state;
    check_many((kernel_case){"norm", 0, 5e-4, 0, 0, random_norm}, 40);
}

/* ---- attention and recurrence ---- */

static void random_attention(dlt_builder *b, const void *context)
{
    const kernel_case *c = context;
    draw d = {c->seed, 0};
    const int64_t batch = pick(&d, 1, 5), queries = pick(&d, 1, 70), heads = pick(&d, 1, 3), depth = pick(&d, 1, 40);
    const bool same = pick(&d, 0, 1) == 0, long_one = pick(&d, 0, 9) == 0;
    const int64_t t = long_one ? queries + 250 : queries, keys = same ? t : pick(&d, 1, 70), values = pick(&d, 1, 40);
    const dlt_attention_attrs attrs = {.scale = 1 / sqrt((double)depth),
                                       .causal = pick(&d, 0, 1) == 0,
                                       .dropout = pick(&d, 0, 2) == 0 ? 0.3 : 0};
    dlt_value *q = dlt_input(b, "q", dlt_real(b), DLT_SHAPE(batch, t, heads, depth));
    dlt_value *k = dlt_input(b, "k", dlt_real(b), DLT_SHAPE(batch, keys, heads, depth));
    dlt_value *v = dlt_input(b, "v", dlt_real(b), DLT_SHAPE(batch, keys, heads, values));
    dlt_value *mask = pick(&d, 0, 1) == 0 ? dlt_input(b, "mask", DLT_U8, DLT_SHAPE(batch, keys)) : NULL;
    dlt_value *o = dlt_attention(b, dlt_mul_c(b, q, 3), k, v, mask, &attrs);
    dlt_output(b, "o", o);
    dlt_value *loss = dlt_sum_all(b, dlt_mul(b, o, dlt_input(b, "do", dlt_real(b), dlt_shape_of(o))));
    dlt_value *const wrt[] = {q, k, v};
    dlt_value *grads[3];
    dlt_gradients(b, loss, wrt, 3, grads);
    dlt_output(b, "dq", grads[0]);
    dlt_output(b, "dk", grads[1]);
    dlt_output(b, "dv", grads[2]);
}

static void attention_matches_the_reference(void **state)
{
    (void)state;
    check_many((kernel_case){"attention", 0, 1e-4, 0, 0, random_attention}, 40);
}

static void random_recurrence(dlt_builder *b, const void *context)
{
    static const dlt_rnn_cell cells[] = {DLT_RNN_LSTM, DLT_RNN_GRU, DLT_RNN_SIMPLE};
    const kernel_case *c = context;
    draw d = {c->seed, 0};
    const dlt_rnn_cell cell = cells[pick(&d, 0, 2)];
    const int64_t batch = pick(&d, 1, 40), steps = pick(&d, 1, 12), channels = pick(&d, 1, 30);
    const int64_t units = pick(&d, 0, 7) == 0 ? 270 : pick(&d, 1, 40);
    const int64_t width = (cell == DLT_RNN_LSTM ? 4 : cell == DLT_RNN_GRU ? 3 : 1) * units;
    const bool kernel = pick(&d, 0, 3) > 0, bias = pick(&d, 0, 2) > 0, inner = cell == DLT_RNN_GRU && bias;
    const bool mask = pick(&d, 0, 1) == 0, initial = pick(&d, 0, 1) == 0, sequences = pick(&d, 0, 2) > 0;
    const dlt_rnn_attrs attrs = {.cell = cell,
                                 .activation = "tanh",
                                 .recurrent_activation = "sigmoid",
                                 .units = units,
                                 .backwards = pick(&d, 0, 1) == 0,
                                 .zero_masked = pick(&d, 0, 1) == 0,
                                 .projected = !kernel,
                                 .body = test_cell_body(b, cell, batch, units, inner)};
    dlt_value *wrt[8], *grads[8], *params[2], *states[2], *last;
    int count = 0, at = 0;
    wrt[count++] = dlt_input(b, "x", dlt_real(b), DLT_SHAPE(batch, steps, kernel ? channels : width));
    if (kernel) {
        wrt[count++] = dlt_input(b, "kernel", dlt_real(b), DLT_SHAPE(channels, width));
    }
    if (kernel && bias) {
        wrt[count++] = dlt_input(b, "bias", dlt_real(b), DLT_SHAPE(width));
    }
    const int first_param = count;
    /* small enough that rounding errors do not grow from step to step */
    wrt[count++] = params[0] =
        dlt_mul_c(b, dlt_input(b, "recurrent", dlt_real(b), DLT_SHAPE(units, width)), 1 / sqrt((double)units));
    if (inner) {
        wrt[count++] = params[1] = dlt_input(b, "inner", dlt_real(b), DLT_SHAPE(width));
    }
    for (int i = 0; i < attrs.body.states && initial; i++) {
        wrt[count++] = states[i] = dlt_input(b, "state", dlt_real(b), DLT_SHAPE(batch, units));
    }
    dlt_rnn_args args = {.x = wrt[at++],
                         .params = params,
                         .param_count = count - first_param - (initial ? attrs.body.states : 0),
                         .mask = mask ? dlt_input(b, "mask", DLT_U8, DLT_SHAPE(batch, steps)) : NULL,
                         .initial = initial ? states : NULL,
                         .attrs = &attrs};
    args.kernel = kernel ? wrt[at++] : NULL;
    args.bias = kernel && bias ? wrt[at++] : NULL;
    dlt_value *y = dlt_rnn(b, &args, &last), *loss = NULL;
    if (sequences) {
        dlt_output(b, "y", y);
        loss = dlt_sum_all(b, dlt_mul(b, y, dlt_input(b, "dy", dlt_real(b), dlt_shape_of(y))));
    }
    if (!sequences || pick(&d, 0, 1) == 0) {
        dlt_output(b, "last", last);
        dlt_value *more = dlt_sum_all(b, dlt_square(b, last));
        loss = loss != NULL ? dlt_add(b, loss, more) : more;
    }
    if (pick(&d, 0, 4) == 0) {
        return; /* as in evaluation: nothing is saved */
    }
    dlt_gradients(b, loss, wrt, count, grads);
    for (int i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%d", i);
        dlt_output(b, name, grads[i]);
    }
}

static void recurrence_matches_the_reference(void **state)
{
    (void)state;
    check_many((kernel_case){"recurrence", 0, 2e-4, 0, 0, random_recurrence}, 60);
}

/* ---- mixed precision: the reference in double is given the same rounded factors ---- */

/* Two dense layers, one behind a reshape, and all their gradients: rounded values that ops between products and a product with a
 * weight read. */
static void random_dense_layers(dlt_builder *b, const void *context)
{
    const kernel_case *c = context;
    draw d = {c->seed, 0};
    static const int64_t sizes[] = {1, 2, 3, 15, 16, 33, 64, 100, 200};
    const int64_t rows = sizes[pick(&d, 0, 8)], in = sizes[pick(&d, 0, 8)], units = 2 * sizes[pick(&d, 0, 8)], out = sizes[pick(&d, 0, 8)];
    dlt_variable first = {.path = "first", .role = DLT_VARIABLE_WEIGHT, .type = dlt_real(b), .storage = DLT_PARAM, .trainable = true},
                 second = first;
    first.shape = DLT_SHAPE(in, units);
    second.path = "second";
    second.shape = DLT_SHAPE(units / 2, out);
    dlt_value *x = dlt_input(b, "x", dlt_real(b), DLT_SHAPE(rows, in)), *w = dlt_variable_value(b, &first), *v = dlt_variable_value(b, &second);
    dlt_value *bias = dlt_input(b, "bias", dlt_real(b), DLT_SHAPE(units));
    dlt_value *h = dlt_relu(b, dlt_add(b, dlt_matmul(b, x, w, false, false), bias));
    dlt_value *y = dlt_matmul(b, dlt_reshape(b, h, DLT_SHAPE(2 * rows, units / 2)), v, false, false);
    dlt_output(b, "h", h);
    dlt_output(b, "y", y);
    dlt_value *dy = dlt_input(b, "dy", dlt_real(b), DLT_SHAPE(2 * rows, out));
    dlt_value *const wrt[] = {w, v, bias, x};
    static const char *const names[] = {"dw", "dv", "dbias", "dx"};
    dlt_value *grads[4];
    dlt_gradients_from(b, &y, &dy, 1, wrt, 4, grads);
    for (int i = 0; i < 4; i++) {
        dlt_output(b, names[i], grads[i]);
    }
}

static void mixed_precision_matches_the_reference(void **state)
{
    (void)state;
    check_many((kernel_case){"product in bfloat16", 0, 1e-4, 0, 0, in_layer, .layer = random_product}, 50);
    /* a value between two bfloat16 may be rounded the other way in double: 2^-8 of a factor */
    check_many((kernel_case){"dense layers in bfloat16", 0, 4e-2, 0, 0, in_layer, .layer = random_dense_layers}, 25);
    check_many((kernel_case){"convolution in bfloat16", 0, 2e-2, 0, 0, in_layer, .layer = random_convolution}, 20);
    check_many((kernel_case){"attention in bfloat16", 0, 2e-2, 0, 0, in_layer, .layer = random_attention}, 12);
    check_many((kernel_case){"recurrence in bfloat16", 0, 2e-2, 0, 0, in_layer, .layer = random_recurrence}, 15);
}

/* The reference kernels of products that read bfloat16, and what the pass asks for without a target that reads it. */
static void reference_products_round_their_factors(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        const kernel_case c = {"product in bfloat16", seed + (uint64_t)i, 1e-4, 0, 0, in_layer, .layer = random_product};
        double **truth = outputs_of(&c, &(test_options){.reference = true, .real = DLT_F64, .compute = DLT_BF16, .batch = 4});
        for (int isa = 0; isa <= (int)dlt_isa_best(); isa++) {
            const test_options options = {.reference = true, .isa = dlt_isa_name((dlt_isa)isa), .compute = DLT_BF16, .batch = 4};
            test_program *t = test_compile(c.build, &c, &options);
            fill_inputs(t, &c);
            test_run(t);
            for (int k = 0; k < t->graph->output_count; k++) {
                const char *output = t->graph->outputs[k].name;
                const int64_t n = test_count(t, output);
                double *y = calloc((size_t)n + 1, sizeof *y);
                assert_non_null(y);
                test_get(t, output, y);
                test_close(output, y, truth[k], n, 1e-5); /* sums in double, as in the truth */
                free(y);
            }
            test_release(t);
        }
        free_outputs(truth);
    }
}

/* An embedding and its gradient; some numbers lie outside the table. */
static void random_embedding(dlt_builder *b, const void *context)
{
    const kernel_case *c = context;
    draw d = {c->seed, 0};
    const int64_t rows = pick(&d, 1, 40), width = pick(&d, 0, 1) == 0 ? pick(&d, 1, 70) : pick(&d, 100, 400);
    const dlt_dtype type = pick(&d, 0, 1) == 0 ? DLT_I32 : DLT_I64;
    dlt_value *ids = dlt_input(b, "ids", type, DLT_SHAPE(pick(&d, 1, 9), pick(&d, 1, 200)));
    dlt_value *table = dlt_input(b, "table", dlt_real(b), DLT_SHAPE(rows, width));
    dlt_value *x = dlt_input(b, "x", dlt_real(b), DLT_SHAPE(dlt_shape_of(ids).dim[0], dlt_shape_of(ids).dim[1], width));
    dlt_output(b, "sums", dlt_scatter_add(b, ids, x, rows));
    dlt_output(b, "rows", dlt_gather(b, table, ids));
}

static void embeddings_match_the_reference(void **state)
{
    (void)state;
    check_many((kernel_case){"embedding", 0, 1e-5, 0, 30, random_embedding, NULL}, 30);
}

/* Images moved, mirrored and stretched, or turned, and what goes back to them. */
static void random_warp(dlt_builder *b, const void *context)
{
    static const int64_t channels[] = {1, 2, 3, 4, 17, 40};
    static const double kinds[][12] = {/* what is added to what the inputs times the second six are; products and sums are exact */
                                       {1, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 8}, {-1, 0, 20, 0, 1, 0, 0, 0, 0, 0, 0, 4},
                                       {-1, 0, 0, 0, -1, 0, 0, 0, 16, 0, 0, 16}, {0, 0, 0, 0, 0, 0, 2, 0, 8, 0, 2, 8},
                                       {0, 0, 0, 0, 0, 0, 1, 1, 16, 1, 1, 16}};
    const kernel_case *c = context;
    draw d = {c->seed, 0};
    const double *kind = kinds[pick(&d, 0, 4)];
    const int64_t batch = pick(&d, 1, 5), depth = channels[pick(&d, 0, 5)];
    const dlt_shape shape = DLT_SHAPE(batch, pick(&d, 1, 70), pick(&d, 1, 90), depth);
    const bool same = pick(&d, 0, 1) == 0;
    const dlt_warp_attrs attrs = {.height = same ? shape.dim[1] : pick(&d, 1, 70),
                                  .width = same ? shape.dim[2] : pick(&d, 1, 90),
                                  .nearest = pick(&d, 0, 2) == 0,
                                  .fill_mode = (dlt_fill_mode)pick(&d, DLT_FILL_CONSTANT, DLT_FILL_WRAP),
                                  .fill_value = 0.25};
    dlt_value *x = dlt_input(b, "x", dlt_real(b), shape);
    dlt_value *transform = dlt_input(b, "transform", dlt_real(b), DLT_SHAPE(pick(&d, 0, 3) == 0 ? 1 : batch, 6));
    transform = dlt_add(b, dlt_constant_array(b, dlt_real(b), DLT_SHAPE(6), kind),
                        dlt_mul(b, dlt_constant_array(b, dlt_real(b), DLT_SHAPE(6), kind + 6), transform));
    dlt_value *dy = dlt_input(b, "dy", dlt_real(b), DLT_SHAPE(batch, attrs.height, attrs.width, depth)), *dx;
    dlt_value *y = dlt_warp(b, x, transform, &attrs);
    dlt_gradients_from(b, &y, &dy, 1, &x, 1, &dx);
    dlt_output(b, "y", y);
    dlt_output(b, "dx", dx);
}

static void images_match_the_reference(void **state)
{
    (void)state;
    check_many((kernel_case){"image", 0, 1e-4, 0, 0, random_warp, NULL}, 40);
}

/* Convolution, batch norm, relu, pool, convolution: as in a residual network. */
static void norm_in_blocks(dlt_builder *b, const void *context)
{
    (void)context;
    const dlt_window three = {.axes = 2, .size = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .before = {1, 1}, .after = {1, 1}};
    const dlt_window half = {.axes = 2, .size = {3, 3}, .stride = {2, 2}, .dilation = {1, 1}, .before = {0, 0}, .after = {1, 1}};
    dlt_value *x = dlt_input(b, "x", dlt_real(b), DLT_SHAPE(4, 12, 12, 3)), *mean, *variance;
    dlt_value *k1 = dlt_input(b, "k1", dlt_real(b), DLT_SHAPE(3, 3, 3, 32));
    dlt_value *gamma = dlt_input(b, "gamma", dlt_real(b), DLT_SHAPE(32)), *beta = dlt_input(b, "beta", dlt_real(b), DLT_SHAPE(32));
    dlt_value *k2 = dlt_input(b, "k2", dlt_real(b), DLT_SHAPE(3, 3, 32, 32));
    dlt_value *y = dlt_batch_norm(b, dlt_conv(b, x, k1, &three, 1), gamma, beta, 1e-3, &mean, &variance);
    dlt_value *z = dlt_relu(b, y);
    z = dlt_conv(b, dlt_avg_pool(b, z, &half), k2, &three, 1);
    z = dlt_mean(b, z, 6, false);
    dlt_output(b, "z", z);
    dlt_output(b, "mean", mean);
    dlt_output(b, "variance", variance);
    dlt_value *loss = dlt_sum_all(b, dlt_square(b, z));
    dlt_value *const wrt[] = {k1, gamma, beta, k2};
    static const char *const names[] = {"dk1", "dgamma", "dbeta", "dk2"};
    dlt_value *grads[4];
    dlt_gradients(b, loss, wrt, 4, grads);
    for (int i = 0; i < 4; i++) {
        dlt_output(b, names[i], grads[i]);
    }
}

static void norms_run_in_blocks(void **state)
{
    (void)state;
    kernel_case c = {"norm in blocks", 3, 1e-3, 0, 0, norm_in_blocks};
    check_case(&c);
}

/* Keras' MNIST network in small: everything between the first convolution and Flatten stays in blocks. */
static void small_network(dlt_builder *b, const void *context)
{
    (void)context;
    const dlt_window three = {.axes = 2, .size = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}};
    const dlt_window two = {.axes = 2, .size = {2, 2}, .stride = {2, 2}, .dilation = {1, 1}};
    dlt_value *x = dlt_input(b, "x", dlt_real(b), DLT_SHAPE(4, 14, 14, 1));
    dlt_value *k1 = dlt_input(b, "k1", dlt_real(b), DLT_SHAPE(3, 3, 1, 16));
    dlt_value *b1 = dlt_input(b, "b1", dlt_real(b), DLT_SHAPE(16));
    dlt_value *k2 = dlt_input(b, "k2", dlt_real(b), DLT_SHAPE(3, 3, 16, 32));
    dlt_value *b2 = dlt_input(b, "b2", dlt_real(b), DLT_SHAPE(32));
    dlt_value *w = dlt_input(b, "w", dlt_real(b), DLT_SHAPE(128, 10));
    dlt_value *y = dlt_max_pool(b, dlt_relu(b, dlt_add(b, dlt_conv(b, x, k1, &three, 1), b1)), &two);
    y = dlt_max_pool(b, dlt_relu(b, dlt_add(b, dlt_conv(b, y, k2, &three, 1), b2)), &two);
    y = dlt_matmul(b, dlt_flatten(b, y), w, false, false);
    dlt_value *loss = dlt_mean_all(b, dlt_softmax_xent(b, y, dlt_input(b, "label", DLT_I32, DLT_SHAPE(4))));
    dlt_output(b, "loss", loss);
    dlt_value *const wrt[] = {k1, b1, k2, b2, w};
    static const char *const names[] = {"dk1", "db1", "dk2", "db2", "dw"};
    dlt_value *grads[5];
    dlt_gradients(b, loss, wrt, 5, grads);
    for (int i = 0; i < 5; i++) {
        dlt_output(b, names[i], grads[i]);
    }
}

static void a_network_stays_in_blocks(void **state)
{
    (void)state;
    kernel_case c = {"small network", 1, 1e-4, 0, 0, small_network};
    check_case(&c);
    test_program *t = test_compile(small_network, &c, &(test_options){.batch = 4});
    /* one to Flatten and one back; the kernels are inputs here, so they and their gradients are reordered too */
    assert_int_equal(test_nodes(t, DLT_OP_REORDER), 4);
    test_release(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_match_the_reference),
        cmocka_unit_test(scalars_and_integers_match_the_reference),
        cmocka_unit_test(long_reductions_match_the_reference),
        cmocka_unit_test(products_match_the_reference),
        cmocka_unit_test(convolutions_match_the_reference),
        cmocka_unit_test(winograd_matches_the_reference),
        cmocka_unit_test(pools_match_the_reference),
        cmocka_unit_test(norms_match_the_reference),
        cmocka_unit_test(attention_matches_the_reference),
        cmocka_unit_test(recurrence_matches_the_reference),
        cmocka_unit_test(mixed_precision_matches_the_reference),
        cmocka_unit_test(reference_products_round_their_factors),
        cmocka_unit_test(embeddings_match_the_reference),
        cmocka_unit_test(images_match_the_reference),
        cmocka_unit_test(norms_run_in_blocks),
        cmocka_unit_test(a_network_stays_in_blocks),
    };
    if (getenv("DLT_TEST_SEED") == NULL) {
        print_message("seed %llu\n", (unsigned long long)seed);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
