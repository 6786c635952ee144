/* graph/pass_fold.c: constants, repetitions, and copies that only repeat. */
#include "graph/passes.h"

#include "graph/builder.h"
#include "graph/rewrite.h"

#include "base/num.h"
#include "base/rng.h"

#include <assert.h>
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
    if (n->op == DLT_OP_RESHAPE && n->input_count > 0 && is_scalar_constant(in[0])) {
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
    if (n->op != DLT_OP_EW || n->input_count < 1 || in[0]->type != n->outputs[0]->type ||
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

/* ---- attributes, member by member: the bytes between members have no value ---- */

static bool same_ew(const dlt_ew_attrs *a, const dlt_ew_attrs *b)
{
    return a->op == b->op && dlt_same_bits(a->value, b->value) && a->axis == b->axis && a->type == b->type &&
           a->stream == b->stream && a->seed == b->seed && a->per_sample == b->per_sample;
}

static bool same_conv(const dlt_conv_attrs *a, const dlt_conv_attrs *b)
{
    const dlt_window *v = &a->window, *w = &b->window;
    bool same = v->axes == w->axes && a->groups == b->groups && dlt_shape_equal(&a->x_shape, &b->x_shape) &&
                dlt_shape_equal(&a->kernel_shape, &b->kernel_shape);
    for (int i = 0; same && i < v->axes; i++) {
        same = v->size[i] == w->size[i] && v->stride[i] == w->stride[i] && v->dilation[i] == w->dilation[i] &&
               v->before[i] == w->before[i] && v->after[i] == w->after[i];
    }
    return same;
}

static bool same_norm(const dlt_norm_attrs *a, const dlt_norm_attrs *b)
{
    return dlt_same_bits(a->epsilon, b->epsilon) && a->axes == b->axes && a->has_gamma == b->has_gamma &&
           a->has_beta == b->has_beta;
}

static bool same_attention(const dlt_attention_attrs *a, const dlt_attention_attrs *b)
{
    return dlt_same_bits(a->scale, b->scale) && a->causal == b->causal && a->has_mask == b->has_mask &&
           dlt_same_bits(a->dropout, b->dropout) && a->stream == b->stream && a->seed == b->seed;
}

static bool same_warp(const dlt_warp_attrs *a, const dlt_warp_attrs *b)
{
    return a->height == b->height && a->width == b->width && a->nearest == b->nearest && a->fill_mode == b->fill_mode &&
           dlt_same_bits(a->fill_value, b->fill_value);
}

static bool same_permutation(const dlt_node *a, const dlt_node *b)
{
    const dlt_transpose_attrs *x = a->attrs, *y = b->attrs;
    return memcmp(x->perm, y->perm, (size_t)a->outputs[0]->shape.rank * sizeof x->perm[0]) == 0;
}

/* The same op with as many bytes of attributes. Attributes that are not known here are never the same. */
static bool same_attributes(const dlt_node *a, const dlt_node *b)
{
    const void *const x = a->attrs, *const y = b->attrs;
    if (a->attrs_size == 0) {
        return true;
    }
    switch (a->op) {
    case DLT_OP_EW:
        return same_ew(x, y);
    case DLT_OP_REDUCE: {
        const dlt_reduce_attrs *m = x, *n = y;
        return m->kind == n->kind && m->axes == n->axes && m->keep == n->keep;
    }
    case DLT_OP_TRANSPOSE:
        return same_permutation(a, b);
    case DLT_OP_SLICE: {
        const dlt_slice_attrs *m = x, *n = y;
        return m->axis == n->axis && m->start == n->start && m->count == n->count;
    }
    case DLT_OP_PAD: {
        const dlt_pad_attrs *m = x, *n = y;
        return m->axis == n->axis && m->before == n->before && m->after == n->after;
    }
    case DLT_OP_CONCAT:
    case DLT_OP_REVERSE:
    case DLT_OP_CUMSUM: {
        const dlt_axis_attrs *m = x, *n = y;
        return m->axis == n->axis && m->reverse == n->reverse;
    }
    case DLT_OP_TOP_K:
        return ((const dlt_top_k_attrs *)x)->k == ((const dlt_top_k_attrs *)y)->k;
    case DLT_OP_BINCOUNT:
        return ((const dlt_bincount_attrs *)x)->bins == ((const dlt_bincount_attrs *)y)->bins;
    case DLT_OP_MATMUL: {
        const dlt_matmul_attrs *m = x, *n = y;
        return m->trans_a == n->trans_a && m->trans_b == n->trans_b;
    }
    case DLT_OP_CONV:
    case DLT_OP_CONV_DX:
    case DLT_OP_CONV_DW:
    case DLT_OP_MAX_POOL:
    case DLT_OP_MAX_POOL_DX:
    case DLT_OP_AVG_POOL:
    case DLT_OP_AVG_POOL_DX:
        return same_conv(x, y);
    case DLT_OP_BATCH_NORM:
    case DLT_OP_BATCH_NORM_DX:
    case DLT_OP_LAYER_NORM:
    case DLT_OP_LAYER_NORM_DX:
        return same_norm(x, y);
    case DLT_OP_ATTENTION:
    case DLT_OP_ATTENTION_DX:
        return same_attention(x, y);
    case DLT_OP_WARP:
    case DLT_OP_WARP_DX:
        return same_warp(x, y);
    case DLT_OP_VAR:
    case DLT_OP_SEGMENT: /* the variable */
        return *(void *const *)x == *(void *const *)y;
    default:
        return false;
    }
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
    if (!same_attributes(a, b)) {
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
    if (n->op == DLT_OP_EW) { /* of all attributes these tell most nodes apart */
        const dlt_ew_attrs *ew = n->attrs;
        h = (h ^ (uint64_t)ew->op ^ dlt_bits_of(ew->value) ^ (uint64_t)ew->stream << 8) * 1099511628211u;
    }
    if (n->op == DLT_OP_SLICE) {
        h = (h ^ (uint64_t)((const dlt_slice_attrs *)n->attrs)->start) * 1099511628211u;
    }
    if (n->op == DLT_OP_VAR || n->op == DLT_OP_SEGMENT) {
        h = (h ^ (uint64_t)(*(const dlt_variable *const *)n->attrs)->id) * 1099511628211u;
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
    dlt_value *few[16] = {NULL}, **in = few;
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
    assert(copy != NULL);
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
