/* graph/pass_fold.c: constants, repetitions, and copies that only repeat. */
#include "graph/passes.h"

#include "graph/builder.h"
#include "graph/rewrite.h"

#include "base/rng.h"

#include <math.h>
#include <string.h>

/* Equal small results are shared between phases too; large ones would only be kept alive from forward to backward. */
enum { SHARED_BETWEEN_PHASES = 4096 };

typedef struct fold {
    dlt_rewrite r;
    dlt_node **table; /* open addressing by contents; room is a power of two */
    size_t room;
} fold;

static bool is_scalar_constant(const dlt_value *v)
{
    return v->node->op == DLT_OP_CONST && dlt_shape_count(&v->shape) == 1;
}

static double scalar_of(const dlt_value *v)
{
    return (*(const double *const *)v->node->attrs)[0];
}

static double evaluate(const dlt_ew_attrs *attrs, double a, double b, double c)
{
    switch (attrs->op) {
    case DLT_EW_COPY:
    case DLT_EW_STOP:
        return a;
    case DLT_EW_NEG:
        return -a;
    case DLT_EW_ABS:
        return fabs(a);
    case DLT_EW_SQUARE:
        return a * a;
    case DLT_EW_SQRT:
        return sqrt(a);
    case DLT_EW_RSQRT:
        return 1 / sqrt(a);
    case DLT_EW_RECIP:
        return 1 / a;
    case DLT_EW_EXP:
        return exp(a);
    case DLT_EW_LOG:
        return log(a);
    case DLT_EW_ADD:
        return a + b;
    case DLT_EW_SUB:
        return a - b;
    case DLT_EW_MUL:
        return a * b;
    case DLT_EW_DIV:
        return a / b;
    case DLT_EW_MAX:
        return a >= b ? a : b;
    case DLT_EW_MIN:
        return a <= b ? a : b;
    case DLT_EW_POW:
        return pow(a, b);
    case DLT_EW_LT:
        return a < b;
    case DLT_EW_LE:
        return a <= b;
    case DLT_EW_EQ:
        return a == b;
    case DLT_EW_SELECT:
        return a != 0 ? b : c;
    default:
        return (double)NAN; /* not folded: see foldable */
    }
}

/* True if the node makes one finite real number from constants: *value. Or gives one constant another shape. */
static bool foldable(const dlt_node *n, dlt_value *const *in, double *value)
{
    if (n->op == DLT_OP_RESHAPE && is_scalar_constant(in[0])) {
        *value = scalar_of(in[0]);
        return true;
    }
    if (n->op != DLT_OP_EW || n->input_count == 0 || dlt_shape_count(&n->outputs[0]->shape) != 1 ||
        !dlt_dtype_is_real(n->outputs[0]->type)) {
        return false;
    }
    double x[3] = {0};
    for (int i = 0; i < n->input_count; i++) {
        if (!is_scalar_constant(in[i]) || !dlt_dtype_is_real(in[i]->type)) {
            return false;
        }
        x[i] = scalar_of(in[i]);
    }
    *value = evaluate(n->attrs, x[0], x[1], x[2]);
    return isfinite(*value);
}

/* A constant of one element in place of a node. */
static void fold_to_constant(fold *f, const dlt_node *n, double value)
{
    dlt_arena *arena = f->r.to->arena;
    double *kept = dlt_arena_alloc(arena, 1, sizeof *kept);
    double **attrs = dlt_arena_alloc(arena, 1, sizeof *attrs);
    if (kept == NULL || attrs == NULL) {
        f->r.failed = true;
        return;
    }
    *kept = value;
    *attrs = kept;
    dlt_node *node = dlt_rewrite_node(&f->r, n, DLT_OP_CONST, NULL, 0, attrs, sizeof *attrs);
    dlt_value *v = node != NULL ? dlt_rewrite_output(&f->r, node, n->outputs[0]) : NULL;
    if (v != NULL) {
        v->storage = DLT_CONSTANT;
    }
}

/* x for x * 1, x / 1 and copies that change neither shape nor type; NULL: the node does something. */
static dlt_value *identity(const dlt_node *n, dlt_value *const *in)
{
    const dlt_ew_attrs *attrs = n->attrs;
    if (n->op != DLT_OP_EW || n->input_count == 0 || in[0]->type != n->outputs[0]->type ||
        !dlt_shape_equal(&in[0]->shape, &n->outputs[0]->shape)) {
        return NULL;
    }
    if (attrs->op == DLT_EW_COPY || attrs->op == DLT_EW_STOP || attrs->op == DLT_EW_CAST) {
        return in[0];
    }
    const bool by_one = (attrs->op == DLT_EW_MUL || attrs->op == DLT_EW_DIV) && is_scalar_constant(in[1]) &&
                        dlt_dtype_is_real(in[1]->type) && scalar_of(in[1]) == 1;
    return by_one ? in[0] : NULL;
}

static bool same_constant(const dlt_node *a, const dlt_node *b)
{
    const int64_t count = dlt_shape_count(&a->outputs[0]->shape);
    return memcmp(*(const double *const *)a->attrs, *(const double *const *)b->attrs, (size_t)count * sizeof(double)) == 0;
}

static bool same(const dlt_node *a, const dlt_node *b)
{
    if (a->op != b->op || a->input_count != b->input_count || a->output_count != b->output_count ||
        a->attrs_size != b->attrs_size) {
        return false;
    }
    for (int i = 0; i < a->output_count; i++) {
        if (a->outputs[i]->type != b->outputs[i]->type ||
            !dlt_shape_equal(&a->outputs[i]->shape, &b->outputs[i]->shape)) {
            return false;
        }
    }
    if (a->op == DLT_OP_CONST) {
        return same_constant(a, b);
    }
    if (a->attrs_size > 0 && memcmp(a->attrs, b->attrs, a->attrs_size) != 0) {
        return false;
    }
    for (int i = 0; i < a->input_count; i++) {
        if (a->inputs[i] != b->inputs[i]) {
            return false;
        }
    }
    if (a->phase != b->phase) {
        for (int i = 0; i < a->output_count; i++) {
            if (dlt_shape_count(&a->outputs[i]->shape) > SHARED_BETWEEN_PHASES) {
                return false;
            }
        }
    }
    return true;
}

static uint64_t hash_of(const dlt_node *n)
{
    uint64_t h = 1469598103934665603u ^ (uint64_t)n->op;
    for (int i = 0; i < n->input_count; i++) {
        h = (h ^ (uint64_t)n->inputs[i]->id) * 1099511628211u;
    }
    const unsigned char *bytes = n->attrs;
    for (size_t i = 0; n->op != DLT_OP_CONST && i < n->attrs_size; i++) {
        h = (h ^ bytes[i]) * 1099511628211u;
    }
    if (n->op == DLT_OP_CONST) {
        const uint64_t *value = (const uint64_t *)*(const void *const *)n->attrs;
        h = (h ^ (dlt_shape_count(&n->outputs[0]->shape) > 0 ? value[0] : 0)) * 1099511628211u;
    }
    return h ^ h >> 29;
}

/* An earlier node that computes the same, or NULL after remembering this one. */
static dlt_node *find_same(fold *f, dlt_node *n)
{
    for (size_t at = hash_of(n) & (f->room - 1);; at = (at + 1) & (f->room - 1)) {
        if (f->table[at] == NULL) {
            f->table[at] = n;
            return NULL;
        }
        if (same(f->table[at], n)) {
            return f->table[at];
        }
    }
}

/* Elementwise ops broadcast by themselves: a copy that only repeats its operand need not be made for them. */
static dlt_value *through_repeat(dlt_value *v)
{
    while (v->node->op == DLT_OP_EW && ((const dlt_ew_attrs *)v->node->attrs)->op == DLT_EW_COPY &&
           v->node->inputs[0]->type == v->type) {
        v = v->node->inputs[0];
    }
    return v;
}

static void fold_node(fold *f, const dlt_node *n)
{
    dlt_value *few[16], **in = few;
    if (n->input_count > 16) {
        in = dlt_arena_alloc(f->r.to->arena, (size_t)n->input_count, sizeof(dlt_value *));
        if (in == NULL) {
            f->r.failed = true;
            return;
        }
    }
    for (int i = 0; i < n->input_count; i++) {
        in[i] = dlt_rewrite_of(&f->r, n->inputs[i]);
        if (n->op == DLT_OP_EW) {
            in[i] = through_repeat(in[i]);
        }
    }
    double value;
    if (foldable(n, in, &value)) {
        fold_to_constant(f, n, value);
        return;
    }
    dlt_value *same_value = identity(n, in);
    if (same_value != NULL) {
        f->r.map[n->outputs[0]->id] = same_value;
        return;
    }
    dlt_node *copy = dlt_rewrite_node(&f->r, n, n->op, in, n->input_count, n->attrs, n->attrs_size);
    for (int i = 0; i < n->output_count && copy != NULL; i++) {
        dlt_rewrite_output(&f->r, copy, n->outputs[i]);
    }
    if (f->r.failed || n->op == DLT_OP_INPUT || n->op == DLT_OP_RNN || n->op == DLT_OP_RNN_DX ||
        (dlt_op_flags(n->op) & DLT_OP_ORDERED) != 0) {
        return;
    }
    const dlt_node *before = find_same(f, copy);
    if (before != NULL) {
        f->r.to->node_count--; /* the copy was the last node */
        for (int i = 0; i < n->output_count; i++) {
            f->r.map[n->outputs[i]->id] = before->outputs[i];
        }
    }
}

dlt_status dlt_pass_fold(const dlt_graph *graph, dlt_graph **out, dlt_diag *diag)
{
    fold f = {.room = 64};
    dlt_rewrite_begin(&f.r, graph);
    while (f.room < 4 * (size_t)graph->node_count) {
        f.room *= 2;
    }
    f.table = dlt_arena_alloc(graph->arena, f.room, sizeof(dlt_node *));
    f.r.failed = f.r.failed || f.table == NULL;
    for (int i = 0; i < graph->node_count && !f.r.failed; i++) {
        fold_node(&f, graph->nodes[i]);
    }
    return dlt_rewrite_end(&f.r, out, diag);
}
