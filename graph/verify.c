/* graph/verify.c: an independent check of memory plans. Walks through the program and keeps, for each storage class, who
 * wrote each byte last. Shares no code with graph/plan.c: it works out for itself what is a view of what. In the end every
 * variable must hold what was assigned to it, or what it held before. */
#include "graph/plan.h"

#include "graph/builder.h"

#include <string.h>

/* Bytes [start, end) hold what `owner` wrote: a value id, or OLD + variable id for a variable's value from before. */
typedef struct span {
    int64_t start, end;
    int64_t owner;
} span;

enum { OLD = 1 << 30 };

typedef struct memory {
    span *spans; /* sorted, disjoint */
    int count, room;
    int64_t size;
} memory;

typedef struct checker {
    const dlt_plan *plan;
    dlt_arena *arena;
    memory classes[DLT_STORAGE_COUNT];
    const dlt_value **source; /* by value id: the value that wrote the bytes, through views */
    int64_t *final_owner;     /* by variable id: who must have written it last when the step is over */
    const char *problem;
    const dlt_node *at;
    const dlt_value *about;
    bool no_memory;
} checker;

static void offend(checker *c, const dlt_node *n, const dlt_value *v, const char *problem)
{
    if (c->problem == NULL) {
        c->problem = problem;
        c->at = n;
        c->about = v;
    }
}

/* First span that ends behind `start`. */
static int find(const memory *m, int64_t start)
{
    int low = 0, high = m->count;
    while (low < high) {
        const int mid = low + (high - low) / 2;
        if (m->spans[mid].end <= start) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static bool make_room(checker *c, memory *m, int at, int more)
{
    if (m->count + more > m->room) {
        const int room = 2 * (m->count + more) + 16;
        span *grown = dlt_arena_alloc(c->arena, (size_t)room, sizeof *grown);
        if (grown == NULL) {
            c->no_memory = true;
            return false;
        }
        if (m->count > 0) {
            memcpy(grown, m->spans, (size_t)m->count * sizeof *grown);
        }
        m->spans = grown;
        m->room = room;
    }
    memmove(m->spans + at + more, m->spans + at, (size_t)(m->count - at) * sizeof *m->spans);
    m->count += more;
    return true;
}

/* Marks a range as written by `owner`. */
static void write_range(checker *c, memory *m, int64_t start, int64_t end, int64_t owner)
{
    if (start >= end) {
        return;
    }
    int at = find(m, start);
    if (at < m->count && m->spans[at].start < start) { /* keep what is left of a span that begins before */
        if (!make_room(c, m, at, 1)) {
            return;
        }
        m->spans[at].end = start;
        m->spans[at + 1].start = start;
        at++;
    }
    int last = at; /* spans swallowed whole */
    while (last < m->count && m->spans[last].end <= end) {
        last++;
    }
    if (last < m->count && m->spans[last].start < end) {
        m->spans[last].start = end;
    }
    if (last == at) {
        if (!make_room(c, m, at, 1)) {
            return;
        }
    } else {
        memmove(m->spans + at + 1, m->spans + last, (size_t)(m->count - last) * sizeof *m->spans);
        m->count -= last - at - 1;
    }
    m->spans[at] = (span){start, end, owner};
}

/* True if every byte of the range was written last by `owner`. */
static bool holds(const memory *m, int64_t start, int64_t end, int64_t owner)
{
    for (int at = find(m, start); start < end; at++) {
        if (at == m->count || m->spans[at].start > start || m->spans[at].owner != owner) {
            return false;
        }
        start = m->spans[at].end;
    }
    return true;
}

static const dlt_variable *variable_of(const dlt_node *n)
{
    return *(dlt_variable *const *)n->attrs;
}

static int64_t start_of(const checker *c, const dlt_value *v)
{
    return c->plan->places[v->id].offset;
}

static int64_t bytes_of(const dlt_value *v)
{
    return v->extent * (int64_t)dlt_dtype_size(v->type);
}

static void check_bounds(checker *c, const dlt_node *n, const dlt_value *v)
{
    const dlt_place *p = &c->plan->places[v->id];
    const int64_t bytes = bytes_of(v);
    if (p->offset < 0 || bytes < 0 || p->offset > c->classes[p->storage].size - bytes) {
        offend(c, n, v, "lies outside its storage class");
    }
    if (p->offset % (int64_t)dlt_dtype_size(v->type) != 0) {
        offend(c, n, v, "is not aligned to its elements");
    }
}

/* Checks that operand v still holds what it should when node n reads it. */
static void check_operand(checker *c, const dlt_node *n, const dlt_value *v)
{
    const dlt_value *source = c->source[v->id];
    const dlt_place *p = &c->plan->places[v->id];
    if (source == NULL) {
        offend(c, n, v, "is read before it was ever written");
        return;
    }
    check_bounds(c, n, v);
    if (source->node->op == DLT_OP_FLAT) { /* one after the other: each part by itself */
        const dlt_node *flat = source->node;
        int k = 0;
        for (int i = 0; i < c->plan->graph->variables->count; i++) {
            const dlt_variable *part = c->plan->graph->variables->list[i];
            if (part->storage != DLT_PARAM || !part->trainable) {
                continue;
            }
            const dlt_value *x = k < flat->input_count ? flat->inputs[k] : NULL;
            if (x == NULL || start_of(c, x) != part->offset || c->plan->places[x->id].storage != p->storage) {
                offend(c, n, v, "a part of the vector is not where its variable is");
                return;
            }
            check_operand(c, n, x);
            k++;
        }
        return;
    }
    int64_t owner = source->id;
    if (source->node->op == DLT_OP_VAR) {
        owner = (int64_t)OLD + variable_of(source->node)->id;
    }
    if (!holds(&c->classes[p->storage], p->offset, p->offset + bytes_of(v), owner)) {
        offend(c, n, v, "was overwritten before it is read, or was never written");
    }
}

static bool overlap(int64_t a, int64_t a_bytes, int64_t b, int64_t b_bytes)
{
    return a < b + b_bytes && b < a + a_bytes && a_bytes > 0 && b_bytes > 0;
}

/* An elementwise program may write where it reads, element by element. */
static bool same_elements(const dlt_node *n, const dlt_value *out, const dlt_value *in)
{
    if (n->op != DLT_OP_EXPR) {
        return false;
    }
    const dlt_expr *e = n->attrs;
    return e->outputs[out->out].reduce == DLT_REDUCE_NONE && dlt_shape_equal(&in->shape, &e->domain) &&
           dlt_layout_equal(in->layout, out->layout) && in->extent == out->extent &&
           dlt_dtype_size(in->type) == dlt_dtype_size(out->type);
}

static void check_result(checker *c, const dlt_node *n, const dlt_value *v, bool guarded)
{
    const dlt_place *p = &c->plan->places[v->id];
    const int64_t bytes = bytes_of(v);
    check_bounds(c, n, v);
    if ((p->storage == DLT_PARAM || p->storage == DLT_STATE) && !guarded) {
        offend(c, n, v, "is written before the guard");
    }
    if (p->storage == DLT_INPUT || p->storage == DLT_CONSTANT) {
        offend(c, n, v, "is written to memory that is only read");
    }
    for (int k = 0; k < n->input_count; k++) {
        const dlt_value *x = n->inputs[k];
        const dlt_place *q = &c->plan->places[x->id];
        if (q->storage == p->storage && overlap(p->offset, bytes, q->offset, bytes_of(x)) &&
            !(p->offset == q->offset && same_elements(n, v, x))) {
            offend(c, n, v, "overlaps an operand of its own node");
        }
    }
    if (p->storage == DLT_TRANSIENT &&
        overlap(p->offset, bytes, c->plan->workspace[n->id], n->workspace_bytes)) {
        offend(c, n, v, "overlaps the workspace");
    }
    for (int k = 0; k < v->out; k++) {
        const dlt_value *other = n->outputs[k];
        const dlt_place *q = &c->plan->places[other->id];
        if (q->bytes > 0 && q->storage == p->storage && overlap(p->offset, bytes, q->offset, bytes_of(other))) {
            offend(c, n, v, "overlaps another result of its node");
        }
    }
}

static void run_node(checker *c, const dlt_node *n, bool guarded)
{
    const dlt_plan *plan = c->plan;
    for (int k = 0; k < n->output_count; k++) {
        const dlt_value *v = n->outputs[k];
        const bool view = n->op == DLT_OP_RESHAPE || n->op == DLT_OP_SEGMENT;
        c->source[v->id] = view ? c->source[n->inputs[0]->id] : v;
    }
    switch (n->op) {
    case DLT_OP_VAR:
        check_bounds(c, n, n->outputs[0]);
        if (start_of(c, n->outputs[0]) != variable_of(n)->offset) {
            offend(c, n, n->outputs[0], "is not where its variable is");
        }
        return;
    case DLT_OP_INPUT:
    case DLT_OP_CONST: {
        const dlt_value *v = n->outputs[0];
        memory *m = &c->classes[plan->places[v->id].storage];
        check_bounds(c, n, v);
        for (int at = find(m, start_of(c, v)); at < m->count && m->spans[at].start < start_of(c, v) + bytes_of(v); at++) {
            offend(c, n, v, "overlaps another input or constant");
        }
        write_range(c, m, start_of(c, v), start_of(c, v) + bytes_of(v), v->id);
        return;
    }
    case DLT_OP_RESHAPE:
        if (start_of(c, n->outputs[0]) != start_of(c, n->inputs[0]) || bytes_of(n->outputs[0]) != bytes_of(n->inputs[0])) {
            offend(c, n, n->outputs[0], "is not where the value is that it is a view of");
        }
        return;
    case DLT_OP_SEGMENT:
        if (start_of(c, n->outputs[0]) != start_of(c, n->inputs[0]) + variable_of(n)->offset) {
            offend(c, n, n->outputs[0], "is not where its part of the vector is");
        }
        return;
    case DLT_OP_FLAT:
        return; /* checked where it is read */
    default:
        break;
    }
    for (int k = 0; k < n->input_count; k++) {
        check_operand(c, n, n->inputs[k]);
    }
    if (n->op == DLT_OP_ASSIGN) {
        const dlt_variable *target = variable_of(n);
        const dlt_place *p = &plan->places[n->inputs[0]->id];
        const dlt_storage storage = target != NULL ? target->storage : DLT_PARAM;
        const int64_t start = target != NULL ? target->offset : 0;
        const int64_t bytes = bytes_of(n->inputs[0]);
        if (!guarded) {
            offend(c, n, n->inputs[0], "is assigned before the guard");
        }
        if (!plan->copies[n->id] && (p->storage != storage || p->offset != start)) {
            offend(c, n, n->inputs[0], "is neither in its variable's place nor copied there");
        }
        if (plan->copies[n->id] && p->storage == storage && overlap(p->offset, bytes, start, bytes)) {
            offend(c, n, n->inputs[0], "is copied onto itself");
        }
        if (c->source[n->inputs[0]->id] == NULL) {
            return; /* told above */
        }
        const int64_t owner = c->source[n->inputs[0]->id]->id;
        write_range(c, &c->classes[storage], start, start + bytes, owner);
        if (target != NULL) {
            c->final_owner[target->id] = owner;
            return;
        }
        for (int i = 0; i < plan->graph->variables->count; i++) {
            const dlt_variable *v = plan->graph->variables->list[i];
            c->final_owner[i] = v->storage == DLT_PARAM && v->trainable ? owner : c->final_owner[i];
        }
        return;
    }
    if (n->workspace_bytes > 0) {
        const int64_t start = plan->workspace[n->id];
        for (int k = 0; k < n->input_count; k++) {
            const dlt_value *x = n->inputs[k];
            if (plan->places[x->id].storage == DLT_TRANSIENT &&
                overlap(start, n->workspace_bytes, start_of(c, x), bytes_of(x))) {
                offend(c, n, x, "is an operand that the workspace overlaps");
            }
        }
        if (start < 0 || start > plan->transient_bytes - n->workspace_bytes) {
            offend(c, n, NULL, "has its workspace outside the transient memory");
        }
        write_range(c, &c->classes[DLT_TRANSIENT], start, start + n->workspace_bytes, -1 - (int64_t)n->id);
    }
    for (int k = 0; k < n->output_count; k++) {
        const dlt_value *v = n->outputs[k];
        if (plan->places[v->id].bytes > 0) {
            check_result(c, n, v, guarded);
        }
    }
    for (int k = 0; k < n->output_count; k++) {
        const dlt_value *v = n->outputs[k];
        const dlt_place *p = &plan->places[v->id];
        if (p->bytes > 0) {
            write_range(c, &c->classes[p->storage], p->offset, p->offset + bytes_of(v), v->id);
        }
    }
}

dlt_status dlt_plan_verify(const dlt_plan *plan, dlt_diag *diag)
{
    const dlt_graph *g = plan->graph;
    const dlt_variables *all = g->variables;
    checker c = {.plan = plan, .arena = dlt_arena_create()};
    if (c.arena == NULL) {
        return dlt_fail_memory(diag);
    }
    const int64_t sizes[DLT_STORAGE_COUNT] = {
        [DLT_TRANSIENT] = plan->transient_bytes, [DLT_PARAM] = all->param_bytes, [DLT_GRAD] = all->grad_bytes,
        [DLT_STATE] = all->state_bytes,          [DLT_INPUT] = plan->input_bytes, [DLT_CONSTANT] = plan->constant_bytes};
    for (int i = 0; i < DLT_STORAGE_COUNT; i++) {
        c.classes[i].size = sizes[i];
    }
    c.source = dlt_arena_alloc(c.arena, (size_t)g->value_count, sizeof(const dlt_value *));
    c.final_owner = dlt_arena_alloc(c.arena, (size_t)all->count, sizeof *c.final_owner);
    c.no_memory = c.source == NULL || c.final_owner == NULL;
    for (int i = 0; i < all->count && !c.no_memory; i++) {
        const dlt_variable *v = all->list[i];
        const int64_t bytes = dlt_variable_bytes(all, v);
        memory *m = &c.classes[v->storage];
        const int at = find(m, v->offset);
        if (v->offset < 0 || v->offset > m->size - bytes || (at < m->count && m->spans[at].start < v->offset + bytes && bytes > 0)) {
            offend(&c, NULL, NULL, "two variables overlap, or one lies outside its storage class");
        }
        write_range(&c, m, v->offset, v->offset + bytes, (int64_t)OLD + v->id);
        c.final_owner[i] = (int64_t)OLD + v->id;
    }
    bool has_guard = false;
    for (int i = 0; i < g->node_count; i++) {
        has_guard = has_guard || g->nodes[i]->op == DLT_OP_GUARD;
    }
    bool guarded = !has_guard;
    for (int i = 0; i < g->node_count && !c.no_memory && c.problem == NULL; i++) {
        const dlt_node *n = g->nodes[i];
        if (n->id != i) {
            offend(&c, n, NULL, "does not stand where its number says");
        }
        run_node(&c, n, guarded);
        guarded = guarded || n->op == DLT_OP_GUARD;
    }
    for (int i = 0; i < g->output_count && !c.no_memory && c.problem == NULL; i++) {
        check_operand(&c, g->outputs[i].value->node, g->outputs[i].value);
    }
    for (int i = 0; i < all->count && !c.no_memory && c.problem == NULL; i++) {
        const dlt_variable *v = all->list[i];
        if (!holds(&c.classes[v->storage], v->offset, v->offset + dlt_variable_bytes(all, v), c.final_owner[i])) {
            offend(&c, NULL, NULL, "a variable does not hold what it should when the step is over");
        }
    }
    dlt_status status = DLT_OK;
    if (c.no_memory) {
        status = dlt_fail_memory(diag);
    } else if (c.problem != NULL) {
        status = dlt_fail(diag, DLT_E_INTERNAL, c.at != NULL ? c.at->pos : (dlt_pos){0},
                          "the memory plan of program %s is wrong: value %d of node %d (%s) %s", g->name,
                          c.about != NULL ? c.about->id : -1, c.at != NULL ? c.at->id : -1,
                          c.at != NULL ? dlt_op_name(c.at->op) : "variables", c.problem);
    }
    dlt_arena_destroy(c.arena);
    return status;
}
