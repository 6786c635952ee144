/* tests/support/op_case.c */
#include "support/op_case.h"

#include "backend/cpu/kernel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PROBES = 24 }; /* elements of an input whose derivative is taken */

bool op_covered[DLT_OP_COUNT];
bool ew_covered[DLT_EW_COUNT];

/* What is built: a case with the gradients of all its inputs, or of one. */
typedef struct subject {
    const op_case *c;
    int only; /* -1: all */
} subject;

static bool has_gradient(const op_case *c, int input)
{
    return !c->no_gradient && !c->inputs[input].integer && !c->inputs[input].fixed;
}

static bool is_asked(const subject *s, int input)
{
    return has_gradient(s->c, input) && (s->only < 0 || s->only == input);
}

/* Inputs, the case, the weighted sum of its outputs, gradients. */
static void build(dlt_builder *b, const void *context)
{
    const subject *s = context;
    const op_case *c = s->c;
    dlt_value *in[OP_MOST_INPUTS] = {NULL}, *out[OP_MOST_OUTPUTS] = {NULL}, *wrt[OP_MOST_INPUTS], *g[OP_MOST_INPUTS];
    dlt_value *sum = NULL;
    char name[16];
    for (int i = 0; i < c->input_count; i++) {
        const op_input *x = &c->inputs[i];
        snprintf(name, sizeof name, "x%d", i);
        in[i] = dlt_input(b, name, x->integer ? x->type : dlt_real(b), x->shape);
    }
    c->build(b, c, in, out);
    for (int i = 0; i < c->output_count; i++) {
        snprintf(name, sizeof name, "y%d", i);
        dlt_output(b, name, out[i]);
        if (out[i] == NULL || c->no_gradient || c->loose[i] || !dlt_dtype_is_real(out[i]->type)) {
            continue;
        }
        const int64_t count = dlt_shape_count(&out[i]->shape);
        double *weights = malloc(((size_t)count + 1) * sizeof *weights);
        assert_non_null(weights);
        test_fill(weights, count, 1000 + (uint64_t)i, -1, 1);
        dlt_value *w = dlt_constant_array(b, out[i]->type, out[i]->shape, weights);
        free(weights);
        dlt_value *part = dlt_sum_all(b, dlt_mul(b, out[i], w));
        sum = sum == NULL ? part : dlt_add(b, sum, part);
    }
    if (sum == NULL) {
        return;
    }
    int count = 0;
    for (int i = 0; i < c->input_count; i++) {
        if (is_asked(s, i)) {
            wrt[count++] = in[i];
        }
    }
    dlt_output(b, "sum", sum);
    dlt_gradients(b, sum, wrt, count, g);
    for (int i = 0, k = 0; i < c->input_count; i++) {
        if (is_asked(s, i)) {
            snprintf(name, sizeof name, "g%d", i);
            dlt_output(b, name, g[k++]);
        }
    }
}

static double *doubles(int64_t count)
{
    double *values = calloc((size_t)count + 1, sizeof *values);
    assert_non_null(values);
    return values;
}

/* Values of an input: exact in float, so that float and double programs see the same numbers. */
static double *make_input(const op_case *c, int input)
{
    const op_input *x = &c->inputs[input];
    const int64_t count = dlt_shape_count(&x->shape);
    const bool given = x->low != 0 || x->high != 0;
    const double low = given ? x->low : -1, high = given ? x->high : 1;
    double *values = doubles(count);
    test_fill(values, count, c->seed + 17 * (uint64_t)input + 1, low, high);
    for (int64_t i = 0; i < count; i++) {
        values[i] = x->integer ? floor(values[i]) : (double)(float)values[i];
        if (x->spread) { /* a permutation of equidistant values */
            values[i] = (double)(float)(low + 0.02 * (double)((i * 7919 + 13 * (int64_t)c->seed) % (count > 0 ? count : 1)));
        }
    }
    return values;
}

static void set_inputs(test_program *t, const op_case *c, double *const *in)
{
    for (int i = 0; i < c->input_count; i++) {
        test_set_input(t, i, in[i]);
    }
}

static void cover(const dlt_graph *g)
{
    for (int i = 0; i < g->node_count; i++) {
        const dlt_node *n = g->nodes[i];
        op_covered[n->op] = true;
        if (n->op == DLT_OP_EW) {
            ew_covered[((const dlt_ew_attrs *)n->attrs)->op] = true;
        }
        const dlt_expr *e = n->op == DLT_OP_EXPR ? n->attrs : n->epilogue;
        for (int k = 0; e != NULL && k < e->instr_count; k++) {
            ew_covered[e->instrs[k].op.op] = true;
        }
    }
}

static void check_outputs(const op_case *c, test_program *t, double *const *in)
{
    double *out[OP_MOST_OUTPUTS];
    char name[80], what[16];
    for (int i = 0; i < c->output_count; i++) {
        snprintf(what, sizeof what, "y%d", i);
        out[i] = doubles(test_count(t, what));
    }
    c->naive(c, in, out);
    for (int i = 0; i < c->output_count; i++) {
        snprintf(what, sizeof what, "y%d", i);
        snprintf(name, sizeof name, "%s: %s", c->name, what);
        const int64_t count = test_count(t, what);
        double *got = doubles(count);
        test_get(t, what, got);
        test_close(name, got, out[i], count, 1e-12);
        free(got);
        free(out[i]);
    }
}

static double sum_at(test_program *t, int input, const double *values)
{
    double sum;
    test_set_input(t, input, values);
    test_run(t);
    test_get(t, "sum", &sum);
    return sum;
}

static void check_gradients(const op_case *c, test_program *t, double *const *in)
{
    char what[16];
    for (int i = 0; i < c->input_count; i++) {
        if (!has_gradient(c, i)) {
            continue;
        }
        const int64_t count = dlt_shape_count(&c->inputs[i].shape), step = count / MOST_PROBES + 1;
        double *g = doubles(count);
        snprintf(what, sizeof what, "g%d", i);
        test_get(t, what, g);
        for (int64_t k = 0; k < count; k += step) {
            const double x = in[i][k], h = 1e-5 * fmax(1, fabs(x));
            in[i][k] = x + h;
            const double above = sum_at(t, i, in[i]);
            in[i][k] = x - h;
            const double below = sum_at(t, i, in[i]), expected = (above - below) / (2 * h);
            in[i][k] = x;
            if (!(fabs(g[k] - expected) <= 1e-6 * fmax(1, fabs(g[k])))) {
                fail_msg("%s: gradient of input %d at %lld is %.12g, differences give %.12g", c->name, i, (long long)k,
                         g[k], expected);
            }
        }
        test_set_input(t, i, in[i]);
        test_run(t);
        free(g);
    }
}

/* All named outputs agree with those of the double program. */
static void check_against(const op_case *c, test_program *t, test_program *wide, double tolerance)
{
    char name[120];
    for (int i = 0; i < t->graph->output_count; i++) {
        const char *what = t->graph->outputs[i].name;
        if (strcmp(what, "sum") == 0) { /* of the check's own, with a rounding error of its own */
            continue;
        }
        const int64_t count = test_count(t, what);
        double *a = doubles(count), *b = doubles(count);
        test_get(t, what, a);
        test_get(wide, what, b);
        double scale = 1; /* sums of many: relative to the largest */
        for (int64_t k = 0; k < count; k++) {
            scale = isfinite(b[k]) && fabs(b[k]) > scale ? fabs(b[k]) : scale;
        }
        snprintf(name, sizeof name, "%s: %s, %s%s, %d threads", c->name, what,
                 t->options.reference ? "reference" : "chosen on ",
                 t->options.reference ? "" : t->options.isa != NULL ? t->options.isa : "the best", t->options.threads);
        test_close(name, a, b, count, tolerance * scale);
        free(a);
        free(b);
    }
}

static void same_bits(const op_case *c, test_program *t, test_options options, const char *what, double *const *in)
{
    size_t bytes, other_bytes;
    void *expected = test_bytes(t, &bytes);
    test_program *other = test_compile(build, &(subject){c, -1}, &options);
    set_inputs(other, c, in);
    test_run(other);
    void *got = test_bytes(other, &other_bytes);
    if (bytes != other_bytes || memcmp(expected, got, bytes) != 0) {
        fail_msg("%s: other bits %s", c->name, what);
    }
    free(expected);
    free(got);
    test_release(other);
}

static void check_floats(const op_case *c, test_program *wide, double *const *in, bool reference, const char *isa)
{
    const double tolerance = c->tolerance > 0 ? c->tolerance : reference ? 2e-6 : 1e-4;
    const test_options options = {.reference = reference, .isa = isa, .threads = 1};
    test_program *t = test_compile(build, &(subject){c, -1}, &options);
    set_inputs(t, c, in);
    test_run(t);
    cover(t->built);
    cover(t->graph);
    check_against(c, t, wide, tolerance);
    test_options changed = options;
    changed.threads = 3;
    same_bits(c, t, changed, "with three threads", in);
    changed = options;
    changed.no_reuse = true;
    same_bits(c, t, changed, "without memory reuse", in);
    if (reference) { /* an epilogue or a layout may pick another kernel */
        changed = options;
        changed.no_fuse = true;
        same_bits(c, t, changed, "without fusion", in);
    }
    test_release(t);
}

/* The gradient of one input alone is the same as among all: results that nobody wants are left out. */
static void check_single_gradients(const op_case *c, test_program *wide, double *const *in)
{
    int gradients = 0;
    char what[16], name[120];
    for (int i = 0; i < c->input_count; i++) {
        gradients += has_gradient(c, i);
    }
    for (int i = 0; i < c->input_count && gradients > 1; i++) {
        if (!has_gradient(c, i)) {
            continue;
        }
        test_program *t = test_compile(build, &(subject){c, i}, &(test_options){.real = DLT_F64, .reference = true});
        set_inputs(t, c, in);
        test_run(t);
        snprintf(what, sizeof what, "g%d", i);
        snprintf(name, sizeof name, "%s: %s alone", c->name, what);
        const int64_t count = test_count(t, what);
        double *alone = doubles(count), *among = doubles(count);
        test_get(t, what, alone);
        test_get(wide, what, among);
        test_close(name, alone, among, count, 0);
        free(alone);
        free(among);
        test_release(t);
    }
}

void op_check(const op_case *c)
{
    double *in[OP_MOST_INPUTS];
    for (int i = 0; i < c->input_count; i++) {
        in[i] = make_input(c, i);
    }
    test_program *wide = test_compile(build, &(subject){c, -1}, &(test_options){.real = DLT_F64, .reference = true});
    set_inputs(wide, c, in);
    test_run(wide);
    if (c->naive != NULL) {
        check_outputs(c, wide, in);
    }
    check_gradients(c, wide, in);
    check_single_gradients(c, wide, in);
    check_floats(c, wide, in, true, NULL);
    for (int isa = DLT_ISA_PLAIN; isa <= (int)dlt_isa_best(); isa++) {
        check_floats(c, wide, in, false, dlt_isa_name((dlt_isa)isa));
    }
    test_release(wide);
    for (int i = 0; i < c->input_count; i++) {
        free(in[i]);
    }
}
