/* graph/pass_layout.c: physical layouts. The target says what it wishes for convolutions and the like;
 * elementwise ops go along with their operands; everything else is row-major. Where two neighbours differ a
 * REORDER stands between them. */
#include "graph/passes.h"

#include "graph/builder.h"
#include "graph/rewrite.h"

#include <string.h>

static const dlt_layout row_major = {DLT_LAYOUT_ROW_MAJOR, 0, 0};

/* The same value in another layout. */
typedef struct twin {
    dlt_value *value;
    struct twin *next;
} twin;

typedef struct pass {
    dlt_rewrite r;
    const dlt_target *target; /* NULL: no wishes */
    twin **twins;             /* by id of the new value */
    int twin_room;
} pass;

static void keep_twin(pass *p, const dlt_value *of, dlt_value *value)
{
    dlt_arena *arena = p->r.to->arena;
    while (of->id >= p->twin_room) {
        const int room = p->twin_room > 0 ? 2 * p->twin_room : 256;
        twin **grown = dlt_arena_alloc(arena, (size_t)room, sizeof *grown);
        if (grown == NULL) {
            p->r.failed = true;
            return;
        }
        if (p->twin_room > 0) {
            memcpy(grown, p->twins, (size_t)p->twin_room * sizeof *grown);
        }
        p->twins = grown;
        p->twin_room = room;
    }
    twin *t = dlt_arena_alloc(arena, 1, sizeof *t);
    if (t == NULL) {
        p->r.failed = true;
        return;
    }
    *t = (twin){value, p->twins[of->id]};
    p->twins[of->id] = t;
}

/* v in the wanted layout, by a REORDER where it must be; `user` gives it a place. */
static dlt_value *in_layout(pass *p, dlt_value *v, dlt_layout wanted, const dlt_node *user)
{
    if (p->r.failed || v == NULL || dlt_layout_equal(v->layout, wanted)) {
        return v;
    }
    for (const twin *t = v->id < p->twin_room ? p->twins[v->id] : NULL; t != NULL; t = t->next) {
        if (dlt_layout_equal(t->value->layout, wanted)) {
            return t->value;
        }
    }
    dlt_node *n = dlt_rewrite_node(&p->r, user, DLT_OP_REORDER, &v, 1, NULL, 0);
    dlt_value *moved = dlt_rewrite_value(&p->r, n, v->type, v->shape, wanted);
    if (moved != NULL) {
        keep_twin(p, v, moved);
        keep_twin(p, moved, v);
    }
    return moved;
}

/* An operand that repeats along every axis but the last, or along all: it fits any channel-blocked domain. */
static bool is_channel_vector(const dlt_value *v, int64_t channels)
{
    const dlt_shape *s = &v->shape;
    if (dlt_shape_count(s) == 1) {
        return true;
    }
    for (int i = 0; i + 1 < s->rank; i++) {
        if (s->dim[i] != 1) {
            return false;
        }
    }
    return s->rank > 0 && s->dim[s->rank - 1] == channels;
}

/* Layout in which an elementwise node runs: that of its operands of full shape, if the others fit it. */
static dlt_layout ew_layout(const pass *p, const dlt_node *n)
{
    const dlt_shape *domain = &n->outputs[0]->shape;
    dlt_layout layout = row_major;
    for (int i = 0; i < n->input_count; i++) {
        const dlt_value *v = p->r.map[n->inputs[i]->id];
        if (dlt_shape_equal(&v->shape, domain) && v->layout.kind != DLT_LAYOUT_ROW_MAJOR) {
            layout = v->layout;
            break;
        }
    }
    const dlt_ew op = ((const dlt_ew_attrs *)n->attrs)->op;
    if (layout.kind == DLT_LAYOUT_ROW_MAJOR || layout.kind == DLT_LAYOUT_FLAT || op == DLT_EW_INDEX ||
        op == DLT_EW_UNIFORM) {
        return layout;
    }
    const int64_t channels = domain->dim[domain->rank - 1];
    for (int i = 0; i < n->input_count; i++) {
        const dlt_value *v = p->r.map[n->inputs[i]->id];
        const bool full = dlt_shape_equal(&v->shape, domain);
        const bool fits = layout.kind == DLT_LAYOUT_CHANNEL_BLOCKED ? is_channel_vector(v, channels)
                                                                    : dlt_shape_count(&v->shape) == 1;
        if (!full && !fits) {
            return row_major;
        }
    }
    return layout;
}

/* Layouts of all inputs and outputs of a node, as it will run. */
static void choose(const pass *p, const dlt_node *n, dlt_layout *layouts)
{
    const int in = n->input_count;
    for (int i = 0; i < in + n->output_count; i++) {
        layouts[i] = row_major;
    }
    switch (n->op) {
    case DLT_OP_EW: {
        const dlt_layout layout = ew_layout(p, n);
        for (int i = 0; i < in; i++) {
            const bool full = dlt_shape_equal(&n->inputs[i]->shape, &n->outputs[0]->shape);
            layouts[i] = full ? layout : row_major;
        }
        layouts[in] = layout;
        return;
    }
    case DLT_OP_REDUCE: {
        const dlt_reduce_attrs *attrs = n->attrs;
        const dlt_value *x = p->r.map[n->inputs[0]->id];
        const uint32_t all = (UINT32_C(1) << x->shape.rank) - 1;
        const bool keeps_channels = attrs->axes == all >> 1 && x->layout.kind == DLT_LAYOUT_CHANNEL_BLOCKED;
        layouts[0] = keeps_channels || attrs->axes == all ? x->layout : row_major;
        return;
    }
    case DLT_OP_VAR:
        layouts[0] = (*(dlt_variable *const *)n->attrs)->layout;
        return;
    case DLT_OP_FLAT:
        for (int i = 0; i < in; i++) { /* the i-th trainable variable */
            layouts[i] = (dlt_layout){0};
        }
        layouts[in].kind = DLT_LAYOUT_FLAT;
        for (int i = 0, k = 0; i < p->r.from->variables->count && k < in; i++) {
            const dlt_variable *v = p->r.from->variables->list[i];
            if (v->storage == DLT_PARAM && v->trainable) {
                layouts[k++] = v->layout;
            }
        }
        return;
    case DLT_OP_SEGMENT:
        layouts[0].kind = DLT_LAYOUT_FLAT;
        layouts[1] = (*(dlt_variable *const *)n->attrs)->layout;
        return;
    case DLT_OP_ASSIGN: {
        const dlt_variable *v = *(dlt_variable *const *)n->attrs;
        layouts[0] = v != NULL ? v->layout : (dlt_layout){.kind = DLT_LAYOUT_FLAT};
        return;
    }
    case DLT_OP_GUARD:
    case DLT_OP_INPUT:
    case DLT_OP_CONST:
    case DLT_OP_RESHAPE:
        return;
    default:
        break;
    }
    if (p->target == NULL) {
        for (int i = 0; i < in; i++) {
            const dlt_variable *v = dlt_variable_of(n->inputs[i]);
            layouts[i] = v != NULL && v->layout.kind == DLT_LAYOUT_FLAT ? v->layout : row_major;
        }
        return;
    }
    for (int i = 0; i < in; i++) {
        layouts[i] = p->r.map[n->inputs[i]->id]->layout;
    }
    if (!(p->target->layout(p->target->self, n, layouts) > 0)) {
        for (int i = 0; i < in + n->output_count; i++) {
            layouts[i] = row_major;
        }
    }
}

static void rewrite_node(pass *p, const dlt_node *n)
{
    dlt_arena *arena = p->r.to->arena;
    enum { FEW = 24 }; /* inputs and outputs: most nodes need no more */
    dlt_layout few[FEW] = {{0}}, *layouts = few;
    dlt_value *few_in[FEW], **in = few_in;
    const size_t count = (size_t)n->input_count + (size_t)n->output_count;
    if (count > FEW) {
        layouts = dlt_arena_alloc(arena, count, sizeof *layouts);
        in = dlt_arena_alloc(arena, (size_t)n->input_count, sizeof(dlt_value *));
        if (layouts == NULL || in == NULL) {
            p->r.failed = true;
            return;
        }
    }
    choose(p, n, layouts);
    for (int i = 0; i < n->input_count; i++) {
        in[i] = in_layout(p, dlt_rewrite_of(&p->r, n->inputs[i]), layouts[i], n);
    }
    dlt_node *copy = dlt_rewrite_node(&p->r, n, n->op, in, n->input_count, n->attrs, n->attrs_size);
    for (int i = 0; i < n->output_count && copy != NULL; i++) {
        dlt_value *v = dlt_rewrite_output(&p->r, copy, n->outputs[i]);
        if (v != NULL) {
            v->layout = layouts[n->input_count + i];
        }
    }
}

/* The main program decides in which layout a convolution's kernel lives for the whole run. */
static void choose_kernel_layouts(const pass *p, const dlt_graph *graph)
{
    for (int i = 0; i < graph->node_count; i++) {
        const dlt_node *n = graph->nodes[i];
        dlt_variable *kernel = n->op == DLT_OP_CONV ? dlt_variable_of(n->inputs[1]) : NULL;
        dlt_layout layouts[3] = {row_major, row_major, row_major};
        if (kernel != NULL && kernel->layout.kind == DLT_LAYOUT_ROW_MAJOR &&
            p->target->layout(p->target->self, n, layouts) > 0) {
            kernel->layout = layouts[1];
        }
    }
}

dlt_status dlt_pass_layout(const dlt_graph *graph, const dlt_target *target, bool wishes, dlt_graph **out,
                           dlt_diag *diag)
{
    pass p = {.target = wishes && target->layout != NULL ? target : NULL};
    dlt_rewrite_begin(&p.r, graph);
    if (p.target != NULL && !graph->variables->closed) {
        choose_kernel_layouts(&p, graph);
    }
    for (int i = 0; i < graph->node_count && !p.r.failed; i++) {
        rewrite_node(&p, graph->nodes[i]);
    }
    for (int i = 0; i < graph->output_count && !p.r.failed; i++) { /* the loop reads row-major */
        const dlt_value *v = graph->outputs[i].value;
        p.r.map[v->id] = in_layout(&p, p.r.map[v->id], row_major, v->node);
    }
    return dlt_rewrite_end(&p.r, out, diag);
}
