/* graph/pass_fuse.c: elementwise ops and reductions become expression programs.
 *
 * Groups grow in the order of the nodes: a node joins the groups of its operands if they have the same domain (shape and
 * layout), compute type and phase, the limits of the target allow it, and no way leads from the group through a node
 * outside back into it. Reductions end a program: what depends on one stays outside. A product or convolution takes the
 * group that starts at its result as an epilogue where the target can.
 *
 * Ops made from scalars alone (positions, random numbers, repeated constants) are computed again wherever they are used
 * rather than kept in memory. The new order of nodes is that of the old ones as far as dependencies let it be. */
#include "graph/passes.h"

#include "graph/builder.h"
#include "graph/graph_internal.h"
#include "graph/rewrite.h"

#include <string.h>

enum {
    NONE = -1,
    MAX_SEARCH = 4000,    /* nodes looked at before a merge is given up */
    MAX_FREE_DEPTH = 8,   /* ops that are computed again rather than kept */
    SUNK_ELEMENTS = 16384 /* operands of work that waits for the guard, at most */
};

typedef struct group {
    int *members; /* node ids, ascending */
    int count, room;
    int anchor; /* node whose epilogue this is, or NONE */
    int merged_into; /* the group that took this one over, or NONE */
    uint32_t reduce_axes;
    bool reduces;
} group;

typedef struct fuse {
    const dlt_graph *g;
    const dlt_target *target;
    bool on;
    dlt_rewrite r;
    int *group_of;    /* by node id; NONE: stands alone */
    bool *is_free;    /* by node id */
    int **users;      /* by value id: ids of nodes that use it, ended by NONE */
    bool *named;      /* by value id: an output of the graph */
    group *groups;
    int group_count, group_room;
    int *seen; /* by node id: stamp of the search that met it */
    int *seen_value;
    int stamp;
    int *stack;
} fuse;

static const dlt_ew_attrs *ew_of(const dlt_node *n)
{
    return n->attrs;
}

static dlt_dtype compute_of_type(dlt_dtype type)
{
    return type == DLT_F64 ? DLT_F64 : dlt_dtype_is_real(type) ? DLT_F32 : DLT_I64;
}

/* Type in which a node computes: casts belong to the side that is real. */
static dlt_dtype compute_of(const dlt_node *n)
{
    const dlt_dtype out = compute_of_type(n->outputs[0]->type);
    if (n->op == DLT_OP_REDUCE || n->input_count == 0) {
        return out;
    }
    const dlt_dtype in = compute_of_type(n->inputs[0]->type);
    switch (ew_of(n)->op) {
    case DLT_EW_CAST:
        return out == DLT_I64 ? in : out;
    case DLT_EW_LT:
    case DLT_EW_LE:
    case DLT_EW_EQ:
    case DLT_EW_AND:
    case DLT_EW_OR:
    case DLT_EW_NOT:
        return in;
    default:
        return out;
    }
}

/* The value whose shape and layout are the node's domain. */
static const dlt_value *domain_of(const dlt_node *n)
{
    return n->op == DLT_OP_REDUCE ? n->inputs[0] : n->outputs[0];
}

static bool fusable(const dlt_node *n)
{
    return n->op == DLT_OP_EW || n->op == DLT_OP_REDUCE;
}

static bool is_anchor(const dlt_node *n)
{
    return n->op == DLT_OP_MATMUL || n->op == DLT_OP_CONV || n->op == DLT_OP_CONV_DX;
}

static bool is_scalar_constant(const dlt_value *v)
{
    return v->node->op == DLT_OP_CONST && dlt_shape_count(&v->shape) == 1;
}

static bool is_scalar(const dlt_value *v)
{
    return dlt_shape_count(&v->shape) == 1;
}

static bool same_domain(const dlt_value *a, const dlt_value *b)
{
    return dlt_shape_equal(&a->shape, &b->shape) && dlt_layout_equal(a->layout, b->layout);
}

/* ---- preparation ---- */

static bool find_users(fuse *f)
{
    const dlt_graph *g = f->g;
    int *counts = dlt_arena_alloc(g->arena, (size_t)g->value_count + 1, sizeof *counts);
    if (counts == NULL) {
        return false;
    }
    size_t total = 0;
    for (int i = 0; i < g->node_count; i++) {
        for (int k = 0; k < g->nodes[i]->input_count; k++) {
            counts[g->nodes[i]->inputs[k]->id]++;
            total++;
        }
    }
    int *pool = dlt_arena_alloc(g->arena, total + (size_t)g->value_count, sizeof *pool);
    f->users = dlt_arena_alloc(g->arena, (size_t)g->value_count, sizeof *f->users);
    f->named = dlt_arena_alloc(g->arena, (size_t)g->value_count, sizeof *f->named);
    if (pool == NULL || f->users == NULL || f->named == NULL) {
        return false;
    }
    for (int v = 0; v < g->value_count; v++) {
        f->users[v] = pool;
        pool += counts[v] + 1;
        f->users[v][0] = NONE;
        counts[v] = 0;
    }
    for (int i = 0; i < g->node_count; i++) {
        for (int k = 0; k < g->nodes[i]->input_count; k++) {
            const int v = g->nodes[i]->inputs[k]->id;
            f->users[v][counts[v]++] = i;
            f->users[v][counts[v]] = NONE;
        }
    }
    for (int i = 0; i < g->output_count; i++) {
        f->named[g->outputs[i].value->id] = true;
    }
    return true;
}

/* Marks ops that are made from scalars alone, a few deep. */
static void find_free(fuse *f)
{
    int *depth = f->stack; /* not in use yet */
    for (int i = 0; i < f->g->node_count; i++) {
        const dlt_node *n = f->g->nodes[i];
        depth[i] = 0;
        bool is_free = f->on && n->op == DLT_OP_EW && !is_scalar(n->outputs[0]) &&
                       n->outputs[0]->layout.kind == DLT_LAYOUT_ROW_MAJOR && ew_of(n)->op != DLT_EW_CAST;
        for (int k = 0; k < n->input_count && is_free; k++) {
            const dlt_value *v = n->inputs[k];
            const bool from_free = f->is_free[v->node->id] && same_domain(v, n->outputs[0]) &&
                                   compute_of(v->node) == compute_of(n);
            is_free = is_scalar(v) || from_free;
            if (from_free && depth[v->node->id] >= depth[i]) {
                depth[i] = depth[v->node->id] + 1;
            }
        }
        f->is_free[i] = is_free && depth[i] < MAX_FREE_DEPTH;
    }
}

/* ---- groups ---- */

static int group_at(fuse *f, int node)
{
    int at = f->group_of[node];
    while (at != NONE && f->groups[at].merged_into != NONE) {
        at = f->groups[at].merged_into;
    }
    return at;
}

static int new_group(fuse *f, int node, int anchor)
{
    if (!dlt_graph_grow(f->g->arena, &f->groups, f->group_count, &f->group_room, sizeof *f->groups)) {
        f->r.failed = true;
        return NONE;
    }
    group *gr = &f->groups[f->group_count];
    *gr = (group){.anchor = anchor, .merged_into = NONE};
    if (!dlt_graph_grow(f->g->arena, &gr->members, 0, &gr->room, sizeof *gr->members)) {
        f->r.failed = true;
        return NONE;
    }
    gr->members[gr->count++] = node;
    f->group_of[node] = f->group_count;
    return f->group_count++;
}

static void add_member(fuse *f, int at, int node)
{
    group *gr = &f->groups[at];
    if (!dlt_graph_grow(f->g->arena, &gr->members, gr->count, &gr->room, sizeof *gr->members)) {
        f->r.failed = true;
        return;
    }
    int k = gr->count++;
    for (; k > 0 && gr->members[k - 1] > node; k--) {
        gr->members[k] = gr->members[k - 1];
    }
    gr->members[k] = node;
    f->group_of[node] = at;
}

/* True if node belongs to one of the two groups, as a member or as their anchor. */
static bool within(fuse *f, int node, int a, int b)
{
    const int at = group_at(f, node);
    return (at != NONE && (at == a || at == b)) || (a != NONE && f->groups[a].anchor == node) ||
           (b != NONE && f->groups[b].anchor == node);
}

/* Pushes the producers of a node's operands that lie outside both groups; true if one lies inside and is not allowed. */
static bool push_producers(fuse *f, const dlt_node *n, int a, int b, bool inside_is_bad, int lowest, int *top)
{
    for (int k = 0; k < n->input_count; k++) {
        const int from = n->inputs[k]->node->id;
        if (within(f, from, a, b)) {
            if (inside_is_bad) {
                return true;
            }
        } else if (from >= lowest && f->seen[from] != f->stamp) {
            f->seen[from] = f->stamp;
            f->stack[(*top)++] = from;
        }
    }
    return false;
}

static int lowest_of(const fuse *f, int at)
{
    const group *gr = &f->groups[at];
    return gr->anchor != NONE && gr->anchor < gr->members[0] ? gr->anchor : gr->members[0];
}

/* True if some way leads from group a or b through a node outside back into one of them or into node n. */
static bool would_cycle(fuse *f, int a, int b, const dlt_node *n)
{
    int lowest = n->id, top = 0, looked = 0;
    f->stamp++;
    for (int i = 0; i < 2; i++) {
        const int at = i == 0 ? a : b;
        if (at == NONE || (i == 1 && a == b)) {
            continue;
        }
        lowest = lowest_of(f, at) < lowest ? lowest_of(f, at) : lowest;
    }
    for (int i = 0; i < 2; i++) {
        const int at = i == 0 ? a : b;
        if (at == NONE || (i == 1 && a == b)) {
            continue;
        }
        for (int k = 0; k < f->groups[at].count; k++) {
            push_producers(f, f->g->nodes[f->groups[at].members[k]], a, b, false, lowest, &top);
        }
        if (f->groups[at].anchor != NONE) {
            push_producers(f, f->g->nodes[f->groups[at].anchor], a, b, false, lowest, &top);
        }
    }
    push_producers(f, n, a, b, false, lowest, &top);
    while (top > 0) {
        const dlt_node *m = f->g->nodes[f->stack[--top]];
        if (++looked > MAX_SEARCH || push_producers(f, m, a, b, true, lowest, &top)) {
            return true;
        }
    }
    return false;
}

/* A node of group a or b, or n itself, uses the result of a reduction of the group: it has to stay outside. */
static bool uses_reduction(fuse *f, int a, int b, const dlt_node *n)
{
    for (int i = 0; i < 2; i++) {
        const int at = i == 0 ? a : b;
        for (int k = 0; at != NONE && k < f->groups[at].count; k++) {
            const dlt_node *m = f->g->nodes[f->groups[at].members[k]];
            for (const int *u = m->op == DLT_OP_REDUCE ? f->users[m->outputs[0]->id] : NULL; u != NULL && *u != NONE; u++) {
                if (*u == n->id || within(f, *u, a, b)) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* Counts what the program of a, b and n together would have. */
static bool within_limits(fuse *f, int a, int b, const dlt_node *n)
{
    int inputs = 0, outputs = 0, instrs = 0;
    f->stamp++;
    for (int i = 0; i < 3; i++) {
        const int at = i == 0 ? a : i == 1 ? b : NONE;
        const int count = i == 2 ? 1 : at != NONE && (i == 0 || a != b) ? f->groups[at].count : 0;
        for (int k = 0; k < count; k++) {
            const dlt_node *m = i == 2 ? n : f->g->nodes[f->groups[at].members[k]];
            instrs += 1 + m->input_count; /* and its constants */
            for (int j = 0; j < m->input_count; j++) {
                const int from = m->inputs[j]->node->id;
                instrs += f->is_free[from] ? MAX_FREE_DEPTH / 2 : 0;
                if (!within(f, from, a, b) && from != n->id && !is_scalar_constant(m->inputs[j]) &&
                    f->seen_value[m->inputs[j]->id] != f->stamp) {
                    f->seen_value[m->inputs[j]->id] = f->stamp;
                    inputs++; /* a free op counts as the scalar that it may need */
                }
            }
            bool outside = f->named[m->outputs[0]->id];
            for (const int *u = f->users[m->outputs[0]->id]; *u != NONE && !outside; u++) {
                outside = *u != n->id && !within(f, *u, a, b);
            }
            outputs += outside;
        }
    }
    return inputs <= f->target->max_inputs && outputs <= f->target->max_outputs && instrs <= f->target->max_instrs;
}

/* Reductions of one program must go over the same axes. */
static bool reductions_agree(const fuse *f, int a, int b, const dlt_node *n)
{
    uint32_t axes = 0;
    bool any = false;
    for (int i = 0; i < 2; i++) {
        const int at = i == 0 ? a : b;
        if (at == NONE || !f->groups[at].reduces) {
            continue;
        }
        if (any && axes != f->groups[at].reduce_axes) {
            return false;
        }
        any = true;
        axes = f->groups[at].reduce_axes;
    }
    if (n->op == DLT_OP_REDUCE) {
        const dlt_reduce_attrs *attrs = n->attrs;
        return !any || axes == attrs->axes;
    }
    return true;
}

/* True if the programs of groups a and b (b may be NONE) and node n can be one. */
static bool can_join(fuse *f, int a, int b, const dlt_node *n)
{
    for (int i = 0; i < 2; i++) {
        const int at = i == 0 ? a : b;
        const dlt_node *m = at != NONE ? f->g->nodes[f->groups[at].members[0]] : n;
        if (m->phase != n->phase || compute_of(m) != compute_of(n) || !same_domain(domain_of(m), domain_of(n))) {
            return false;
        }
    }
    const bool anchored = f->groups[a].anchor != NONE || (b != NONE && f->groups[b].anchor != NONE);
    if (b != NONE && b != a && f->groups[a].anchor != NONE && f->groups[b].anchor != NONE) {
        return false;
    }
    const bool reduces = n->op == DLT_OP_REDUCE || f->groups[a].reduces || (b != NONE && f->groups[b].reduces);
    if (reduces && (anchored || f->target->reduces == NULL)) {
        return false;
    }
    return reductions_agree(f, a, b, n) && within_limits(f, a, b, n) && !uses_reduction(f, a, b, n) &&
           !would_cycle(f, a, b, n);
}

static void join(fuse *f, int into, int node)
{
    const dlt_node *n = f->g->nodes[node];
    add_member(f, into, node);
    if (n->op == DLT_OP_REDUCE) {
        f->groups[into].reduces = true;
        f->groups[into].reduce_axes = ((const dlt_reduce_attrs *)n->attrs)->axes;
    }
}

static void merge(fuse *f, int into, int other)
{
    for (int k = 0; k < f->groups[other].count && !f->r.failed; k++) {
        add_member(f, into, f->groups[other].members[k]);
    }
    if (f->groups[other].anchor != NONE) {
        f->groups[into].anchor = f->groups[other].anchor;
    }
    if (f->groups[other].reduces) {
        f->groups[into].reduces = true;
        f->groups[into].reduce_axes = f->groups[other].reduce_axes;
    }
    f->groups[other].merged_into = into;
}

/* An epilogue can start at v: a product's result that has no epilogue yet, used in full by n. */
static bool starts_epilogue(fuse *f, const dlt_value *v, const dlt_node *n)
{
    if (!is_anchor(v->node) || v->out != 0 || n->op != DLT_OP_EW || f->target->epilogue == NULL ||
        v->node->phase != n->phase || !same_domain(v, n->outputs[0]) || compute_of_type(v->type) != compute_of(n)) {
        return false;
    }
    for (const int *u = f->users[v->id]; *u != NONE; u++) {
        const int at = group_at(f, *u);
        if (at != NONE && f->groups[at].anchor == v->node->id) {
            return false; /* has one: n may join it as a member of that group */
        }
    }
    return true;
}

static void place_node(fuse *f, const dlt_node *n)
{
    int at = NONE;
    /* groups of the operands' producers, then of other users of the same anchor's result */
    for (int k = 0; k < n->input_count && f->on && !f->r.failed; k++) {
        const dlt_value *v = n->inputs[k];
        int from = group_at(f, v->node->id);
        if (from == NONE && is_anchor(v->node)) {
            for (const int *u = f->users[v->id]; *u != NONE && from == NONE; u++) {
                const int other = group_at(f, *u);
                from = other != NONE && f->groups[other].anchor == v->node->id ? other : NONE;
            }
        }
        if (from == NONE || from == at) {
            continue;
        }
        if (at == NONE) {
            if (can_join(f, from, NONE, n)) {
                at = from;
                join(f, at, n->id);
            }
        } else if (can_join(f, at, from, n)) {
            merge(f, at, from);
        }
    }
    for (int k = 0; k < n->input_count && f->on && !f->r.failed; k++) {
        const dlt_value *v = n->inputs[k];
        if (!starts_epilogue(f, v, n)) {
            continue;
        }
        if (at == NONE) {
            at = new_group(f, n->id, v->node->id);
            break;
        }
        group *gr = &f->groups[at];
        if (gr->anchor == NONE && !gr->reduces) {
            gr->anchor = v->node->id;
            if (would_cycle(f, at, NONE, n)) {
                gr->anchor = NONE;
            } else {
                break;
            }
        }
    }
    if (at == NONE && !f->r.failed) {
        at = new_group(f, n->id, NONE);
        if (at != NONE && n->op == DLT_OP_REDUCE) {
            f->groups[at].reduces = true;
            f->groups[at].reduce_axes = ((const dlt_reduce_attrs *)n->attrs)->axes;
        }
    }
}

/* A free op is made on its own only where something needs it in memory. */
static bool needed_in_memory(const fuse *f, const dlt_node *n)
{
    const dlt_value *v = n->outputs[0];
    bool needed = f->named[v->id];
    for (const int *u = f->users[v->id]; *u != NONE && !needed; u++) {
        const dlt_node *user = f->g->nodes[*u];
        const bool has_uniform = ew_of(n)->op == DLT_EW_UNIFORM || n->input_count > 1 || ew_of(n)->op != DLT_EW_INDEX;
        const bool same = fusable(user) && same_domain(domain_of(user), v) && compute_of(user) == compute_of(n);
        const bool index = fusable(user) && !has_uniform && compute_of(user) == compute_of(n) &&
                           domain_of(user)->layout.kind == DLT_LAYOUT_ROW_MAJOR;
        needed = !(same || index);
    }
    return needed;
}

/* ---- emitting programs ---- */

typedef struct emitter {
    fuse *f;
    int at; /* group, or NONE for a lone free node */
    const dlt_value *domain;
    dlt_value **inputs; /* of the new node that belong to the program */
    const dlt_value **input_of; /* the old values they stand for */
    int input_count, input_room;
    dlt_instr *instrs;
    int instr_count, instr_room;
    int *reg_of; /* by old value id: register + 1, 0: none yet; only for members and free ops */
    int *touched; /* ids set in reg_of */
    int touched_count, touched_room;
} emitter;

/* Registers are numbered after all inputs are known: instruction k is written as -1 - k until then. */
static int emit_instr(emitter *e, const dlt_ew_attrs *op, int a, int b, int c)
{
    if (!dlt_graph_grow(e->f->g->arena, &e->instrs, e->instr_count, &e->instr_room, sizeof *e->instrs)) {
        e->f->r.failed = true;
        return 0;
    }
    e->instrs[e->instr_count] =
        (dlt_instr){.op = *op, .a = (uint16_t)(int16_t)a, .b = (uint16_t)(int16_t)b, .c = (uint16_t)(int16_t)c};
    return -1 - e->instr_count++;
}

static int emit_constant(emitter *e, double value)
{
    for (int i = 0; i < e->instr_count; i++) {
        if (e->instrs[i].op.op == DLT_EW_CONST && memcmp(&e->instrs[i].op.value, &value, sizeof value) == 0) {
            return -1 - i;
        }
    }
    const dlt_ew_attrs op = {.op = DLT_EW_CONST, .value = value};
    return emit_instr(e, &op, 0, 0, 0);
}

static int input_register(emitter *e, const dlt_value *v)
{
    for (int i = 0; i < e->input_count; i++) {
        if (e->input_of[i] == v) {
            return i;
        }
    }
    dlt_arena *arena = e->f->g->arena;
    int room = e->input_room;
    if (!dlt_graph_grow(arena, &e->inputs, e->input_count, &room, sizeof(dlt_value *)) ||
        !dlt_graph_grow(arena, &e->input_of, e->input_count, &e->input_room, sizeof(dlt_value *))) {
        e->f->r.failed = true;
        return 0;
    }
    e->inputs[e->input_count] = dlt_rewrite_of(&e->f->r, v);
    e->input_of[e->input_count] = v;
    return e->input_count++;
}

static void remember(emitter *e, const dlt_value *v, int reg)
{
    if (!dlt_graph_grow(e->f->g->arena, &e->touched, e->touched_count, &e->touched_room, sizeof *e->touched)) {
        e->f->r.failed = true;
        return;
    }
    e->reg_of[v->id] = reg >= 0 ? reg + 1 : reg;
    e->touched[e->touched_count++] = v->id;
}

static int emit_node(emitter *e, const dlt_node *n);

static bool is_member(const emitter *e, const dlt_node *n)
{
    return e->at != NONE && group_at(e->f, n->id) == e->at;
}

/* True if an instruction may give what a type narrower than the program's cannot hold. */
static bool leaves_type(dlt_ew op, dlt_dtype type)
{
    switch (op) {
    case DLT_EW_COPY:
    case DLT_EW_STOP:
    case DLT_EW_CAST: /* is as if stored already */
    case DLT_EW_MAX:
    case DLT_EW_MIN:
    case DLT_EW_SELECT:
    case DLT_EW_MOD:
    case DLT_EW_NOT:
    case DLT_EW_LT:
    case DLT_EW_LE:
    case DLT_EW_EQ:
    case DLT_EW_AND:
    case DLT_EW_OR:
        return false;
    default:
        return type != DLT_F32 && type != DLT_F64 && type != DLT_I64;
    }
}

/* Register of a value that was computed here, as an operand: as if it had been stored in its own type (decisions 20). */
static int as_stored(emitter *e, const dlt_value *v, int reg)
{
    const dlt_instr *x = reg < 0 ? &e->instrs[-1 - reg] : NULL;
    if (x == NULL || !leaves_type(x->op.op, v->type)) {
        return reg;
    }
    const dlt_ew_attrs cast = {.op = DLT_EW_CAST, .type = v->type};
    return e->reg_of[v->id] = emit_instr(e, &cast, reg, 0, 0);
}

/* Register of an operand, emitting what is computed again here. */
static int operand(emitter *e, const dlt_value *v)
{
    const int known = e->reg_of[v->id];
    if (known != 0) {
        return known > 0 ? known - 1 : as_stored(e, v, known);
    }
    if (is_scalar_constant(v)) {
        return emit_constant(e, (*(const double *const *)v->node->attrs)[0]);
    }
    const bool here = e->f->is_free[v->node->id] && (same_domain(v, e->domain) || !needed_in_memory(e->f, v->node));
    if (here && dlt_rewrite_of(&e->f->r, v) == NULL) {
        return as_stored(e, v, emit_node(e, v->node));
    }
    return input_register(e, v);
}

static int emit_node(emitter *e, const dlt_node *n)
{
    dlt_ew_attrs op = *ew_of(n);
    int reg[3] = {0};
    if (op.op == DLT_EW_INDEX) { /* the axis in the program's domain, which may have more axes in front */
        op.axis += e->domain->shape.rank - n->outputs[0]->shape.rank;
    }
    for (int k = 0; k < n->input_count; k++) {
        reg[k] = operand(e, n->inputs[k]);
    }
    const int result = emit_instr(e, &op, reg[0], reg[1], reg[2]);
    remember(e, n->outputs[0], result);
    return result;
}

static uint16_t final_register(const emitter *e, uint16_t coded)
{
    const int reg = (int16_t)coded;
    return (uint16_t)(reg >= 0 ? reg : e->input_count + (-1 - reg));
}

static bool used_outside(const emitter *e, const dlt_value *v)
{
    bool outside = e->f->named[v->id];
    for (const int *u = e->f->users[v->id]; *u != NONE && !outside; u++) {
        outside = !is_member(e, e->f->g->nodes[*u]);
    }
    return outside;
}

typedef struct program {
    dlt_expr *expr;
    const dlt_value **results; /* old values of the outputs */
} program;

/* The program of a group, or of one node (group NONE). with_anchor: register 0 is the anchor's result. */
static program make_program(fuse *f, emitter *e, const int *members, int count, int anchor)
{
    dlt_arena *arena = f->g->arena;
    program p = {dlt_arena_alloc(arena, 1, sizeof *p.expr),
                 dlt_arena_alloc(arena, (size_t)count + 1, sizeof *p.results)};
    dlt_expr_out *outs = dlt_arena_alloc(arena, (size_t)count + 1, sizeof *outs);
    int out_count = 0;
    if (p.expr == NULL || p.results == NULL || outs == NULL) {
        f->r.failed = true;
        return p;
    }
    if (anchor != NONE) {
        input_register(e, f->g->nodes[anchor]->outputs[0]);
    }
    if (anchor != NONE && used_outside(e, f->g->nodes[anchor]->outputs[0])) {
        p.results[out_count] = f->g->nodes[anchor]->outputs[0];
        outs[out_count++] = (dlt_expr_out){.reg = 0, .type = f->g->nodes[anchor]->outputs[0]->type};
    }
    for (int k = 0; k < count && !f->r.failed; k++) {
        const dlt_node *n = f->g->nodes[members[k]];
        const dlt_value *v = n->outputs[0];
        dlt_expr_out out = {.type = v->type};
        if (n->op == DLT_OP_REDUCE) {
            const dlt_reduce_attrs *attrs = n->attrs;
            out.reduce = attrs->kind;
            out.axes = attrs->axes;
            out.reg = (uint16_t)(int16_t)operand(e, n->inputs[0]);
        } else {
            out.reg = (uint16_t)(int16_t)emit_node(e, n);
        }
        if (n->op == DLT_OP_REDUCE || used_outside(e, v)) {
            p.results[out_count] = v;
            outs[out_count++] = out;
        }
    }
    for (int i = 0; i < e->instr_count; i++) {
        dlt_instr *x = &e->instrs[i];
        const int operands = dlt_ew_operands(x->op.op);
        x->a = operands > 0 ? final_register(e, x->a) : 0;
        x->b = operands > 1 ? final_register(e, x->b) : 0;
        x->c = operands > 2 ? final_register(e, x->c) : 0;
    }
    for (int i = 0; i < out_count; i++) {
        outs[i].reg = final_register(e, outs[i].reg);
    }
    *p.expr = (dlt_expr){.compute = compute_of(f->g->nodes[members[0]]),
                         .domain = domain_of(f->g->nodes[members[0]])->shape,
                         .input_count = e->input_count,
                         .instr_count = e->instr_count,
                         .output_count = out_count,
                         .instrs = e->instrs,
                         .outputs = outs};
    for (int i = 0; i < e->touched_count; i++) {
        e->reg_of[e->touched[i]] = 0;
    }
    return p;
}

static void begin_emitter(fuse *f, emitter *e, int at, const dlt_value *domain, int *reg_of)
{
    *e = (emitter){.f = f, .at = at, .domain = domain, .reg_of = reg_of};
}

/* An EXPR node for some members. */
static void emit_expr(fuse *f, int at, const int *members, int count, int *reg_of)
{
    emitter e;
    const dlt_node *first = f->g->nodes[members[0]];
    begin_emitter(f, &e, at, domain_of(first), reg_of);
    const program p = make_program(f, &e, members, count, NONE);
    if (f->r.failed) {
        return;
    }
    dlt_node *n = dlt_rewrite_node(&f->r, f->g->nodes[members[count - 1]], DLT_OP_EXPR, e.inputs, e.input_count, p.expr,
                                   sizeof *p.expr);
    for (int i = 0; i < p.expr->output_count; i++) {
        dlt_rewrite_output(&f->r, n, p.results[i]);
    }
}

/* A product with the group as its epilogue; false if the target refuses: then they go one after the other. */
static bool emit_anchored(fuse *f, int at, int *reg_of)
{
    const group *gr = &f->groups[at];
    const dlt_node *anchor = f->g->nodes[gr->anchor];
    emitter e;
    begin_emitter(f, &e, at, anchor->outputs[0], reg_of);
    const program p = make_program(f, &e, gr->members, gr->count, gr->anchor);
    if (f->r.failed || !f->target->epilogue(f->target->self, anchor, p.expr)) {
        return false;
    }
    const int own = anchor->input_count, total = own + e.input_count - 1;
    dlt_value **in = dlt_arena_alloc(f->g->arena, (size_t)total, sizeof(dlt_value *));
    if (in == NULL) {
        f->r.failed = true;
        return false;
    }
    for (int i = 0; i < own; i++) {
        in[i] = dlt_rewrite_of(&f->r, anchor->inputs[i]);
    }
    for (int i = 1; i < e.input_count; i++) {
        in[own + i - 1] = e.inputs[i];
    }
    dlt_node *n = dlt_rewrite_node(&f->r, anchor, anchor->op, in, total, anchor->attrs, anchor->attrs_size);
    if (n == NULL) {
        return false;
    }
    n->own_inputs = own;
    n->epilogue = p.expr;
    for (int i = 0; i < p.expr->output_count; i++) {
        dlt_rewrite_output(&f->r, n, p.results[i]);
    }
    return true;
}

/* ---- order ---- */

/* What is emitted as one: a group with its anchor, a free op that something needs in memory, or any other node. */
typedef struct unit {
    int key;   /* the smaller comes first where both could */
    int node;  /* of a unit of one node, else NONE */
    int group; /* or NONE */
    int waits; /* units that must come before and have not */
    int *next; /* units that wait for this one */
    int next_count, next_room;
} unit;

typedef struct order {
    unit *units;
    int count;
    int *unit_of; /* by node id; NONE: not emitted (free ops that are computed again) */
    int *heap;
    int heap_count;
} order;

static void heap_push(order *o, int at)
{
    int k = o->heap_count++;
    for (; k > 0 && o->units[o->heap[(k - 1) / 2]].key > o->units[at].key; k = (k - 1) / 2) {
        o->heap[k] = o->heap[(k - 1) / 2];
    }
    o->heap[k] = at;
}

static int heap_pop(order *o)
{
    const int top = o->heap[0], last = o->heap[--o->heap_count];
    int k = 0;
    for (;;) {
        int child = 2 * k + 1;
        if (child >= o->heap_count) {
            break;
        }
        if (child + 1 < o->heap_count && o->units[o->heap[child + 1]].key < o->units[o->heap[child]].key) {
            child++;
        }
        if (o->units[o->heap[child]].key >= o->units[last].key) {
            break;
        }
        o->heap[k] = o->heap[child];
        k = child;
    }
    o->heap[k] = last;
    return top;
}

static bool add_edge(fuse *f, order *o, int before, int after)
{
    if (before == NONE || after == NONE || before == after) {
        return true;
    }
    unit *u = &o->units[before];
    if (!dlt_graph_grow(f->g->arena, &u->next, u->next_count, &u->next_room, sizeof *u->next)) {
        return false;
    }
    u->next[u->next_count++] = after;
    o->units[after].waits++;
    return true;
}

/* Edges from the producers of a node's operands; free ops pass on what they depend on. */
static bool add_operand_edges(fuse *f, order *o, const dlt_node *n, int at)
{
    bool ok = true;
    for (int k = 0; k < n->input_count && ok; k++) {
        const dlt_node *from = n->inputs[k]->node;
        ok = o->unit_of[from->id] != NONE ? add_edge(f, o, o->unit_of[from->id], at) : add_operand_edges(f, o, from, at);
    }
    return ok;
}

/*
 * Work whose results go only into variables, on small operands, may wait for the guard: then it writes its variable itself
 * and no copy is needed.
 */
static void sink(fuse *f, int *phase)
{
    for (int i = f->g->node_count - 1; i >= 0; i--) {
        const dlt_node *n = f->g->nodes[i];
        bool late = fusable(n) && n->phase != DLT_PHASE_UPDATE;
        for (int k = 0; k < n->input_count && late; k++) {
            late = dlt_shape_count(&n->inputs[k]->shape) <= SUNK_ELEMENTS;
        }
        for (int k = 0; k < n->output_count && late; k++) {
            const dlt_value *v = n->outputs[k];
            late = !f->named[v->id] && f->users[v->id][0] != NONE;
            for (const int *u = f->users[v->id]; *u != NONE && late; u++) {
                late = f->g->nodes[*u]->op == DLT_OP_ASSIGN || phase[*u] == DLT_PHASE_UPDATE;
                late = late && f->g->nodes[*u]->op != DLT_OP_GUARD;
            }
        }
        phase[i] = late ? (int)DLT_PHASE_UPDATE : (int)n->phase;
    }
}

static bool make_order(fuse *f, order *o)
{
    const dlt_graph *g = f->g;
    dlt_arena *arena = g->arena;
    o->units = dlt_arena_alloc(arena, (size_t)g->node_count, sizeof *o->units);
    o->unit_of = dlt_arena_alloc(arena, (size_t)g->node_count, sizeof *o->unit_of);
    o->heap = dlt_arena_alloc(arena, (size_t)g->node_count, sizeof *o->heap);
    int *unit_of_group = dlt_arena_alloc(arena, (size_t)f->group_count, sizeof *unit_of_group);
    if (o->units == NULL || o->unit_of == NULL || o->heap == NULL || unit_of_group == NULL) {
        return false;
    }
    for (int i = 0; i < f->group_count; i++) {
        unit_of_group[i] = NONE;
    }
    for (int i = 0; i < g->node_count; i++) {
        const dlt_node *n = g->nodes[i];
        const int at = group_at(f, i);
        o->unit_of[i] = NONE;
        if (at != NONE && unit_of_group[at] != NONE) {
            o->unit_of[i] = unit_of_group[at];
        } else if (!(f->is_free[i] && !needed_in_memory(f, n))) {
            o->units[o->count] = (unit){.key = i, .node = at == NONE ? i : NONE, .group = at};
            o->unit_of[i] = o->count++;
            if (at != NONE) {
                unit_of_group[at] = o->unit_of[i];
            }
        }
    }
    for (int i = 0; i < f->group_count; i++) { /* anchors move into their group's unit */
        const int anchor = f->groups[i].merged_into == NONE ? f->groups[i].anchor : NONE;
        if (anchor != NONE) {
            o->units[o->unit_of[anchor]].waits = -1; /* emptied */
            o->unit_of[anchor] = unit_of_group[i];
            o->units[unit_of_group[i]].key = anchor;
        }
    }
    int guard = NONE, last_ordered = NONE;
    bool ok = true;
    for (int i = 0; i < g->node_count && ok; i++) {
        const dlt_node *n = g->nodes[i];
        const int at = o->unit_of[i];
        if (at == NONE) {
            continue;
        }
        ok = add_operand_edges(f, o, n, at);
        if ((dlt_op_flags(n->op) & DLT_OP_ORDERED) != 0) {
            ok = ok && add_edge(f, o, last_ordered, at);
            last_ordered = at;
        }
        if (n->op == DLT_OP_GUARD) {
            guard = at;
        }
    }
    for (int i = 0; i < g->node_count && ok && guard != NONE; i++) {
        if (g->nodes[i]->phase == DLT_PHASE_UPDATE && o->unit_of[i] != NONE && g->nodes[i]->input_count > 0 &&
            o->units[o->unit_of[i]].key > o->units[guard].key) {
            ok = add_edge(f, o, guard, o->unit_of[i]);
        }
    }
    return ok;
}

static void emit_unit(fuse *f, const unit *u, int *reg_of)
{
    if (u->group == NONE) {
        const dlt_node *n = f->g->nodes[u->node];
        if (fusable(n)) {
            emit_expr(f, NONE, &u->node, 1, reg_of);
        } else {
            dlt_rewrite_copy(&f->r, n);
        }
        return;
    }
    const group *gr = &f->groups[u->group];
    if (gr->anchor == NONE) {
        emit_expr(f, u->group, gr->members, gr->count, reg_of);
    } else if (!emit_anchored(f, u->group, reg_of) && !f->r.failed) {
        dlt_rewrite_copy(&f->r, f->g->nodes[gr->anchor]);
        emit_expr(f, u->group, gr->members, gr->count, reg_of);
    }
}

/* The graph with such work moved behind the guard; the graph itself if there is none. NULL: memory was refused. */
static const dlt_graph *with_sunk(fuse *f, const dlt_graph *graph)
{
    int *phase = dlt_arena_alloc(graph->arena, (size_t)graph->node_count, sizeof *phase);
    if (phase == NULL) {
        return NULL;
    }
    int guard = NONE;
    for (int i = 0; i < graph->node_count; i++) {
        guard = graph->nodes[i]->op == DLT_OP_GUARD ? i : guard;
    }
    if (guard == NONE) {
        return graph;
    }
    sink(f, phase);
    dlt_rewrite r;
    dlt_rewrite_begin(&r, graph);
    for (int pass = 0; pass < 2; pass++) { /* up to the guard without what waits, then what waits */
        for (int i = 0; i <= guard; i++) {
            const bool waits = phase[i] != (int)graph->nodes[i]->phase;
            if (waits == (pass == 1)) {
                dlt_node *n = dlt_rewrite_copy(&r, graph->nodes[i]);
                if (n != NULL && waits) {
                    n->phase = DLT_PHASE_UPDATE;
                }
            }
        }
    }
    for (int i = guard + 1; i < graph->node_count; i++) {
        dlt_rewrite_copy(&r, graph->nodes[i]);
    }
    dlt_graph *out = NULL;
    return dlt_rewrite_end(&r, &out, NULL) == DLT_OK ? out : NULL;
}

static bool prepare(fuse *f, const dlt_graph *graph)
{
    dlt_arena *arena = graph->arena;
    const size_t n = (size_t)graph->node_count;
    f->g = graph;
    f->group_of = dlt_arena_alloc(arena, n, sizeof *f->group_of);
    f->is_free = dlt_arena_alloc(arena, n, sizeof *f->is_free);
    f->seen = dlt_arena_alloc(arena, n, sizeof *f->seen);
    f->seen_value = dlt_arena_alloc(arena, (size_t)graph->value_count, sizeof *f->seen_value);
    f->stack = dlt_arena_alloc(arena, n, sizeof *f->stack);
    if (f->group_of == NULL || f->is_free == NULL || f->seen == NULL || f->seen_value == NULL || f->stack == NULL ||
        !find_users(f)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        f->group_of[i] = NONE;
    }
    return true;
}

dlt_status dlt_pass_fuse(const dlt_graph *graph, const dlt_target *target, bool on, dlt_graph **out, dlt_diag *diag)
{
    fuse f = {.target = target, .on = on};
    order o = {0};
    *out = NULL;
    const dlt_graph *sunk = prepare(&f, graph) ? with_sunk(&f, graph) : NULL;
    if (sunk == NULL || (sunk != graph && !prepare(&f, sunk))) {
        return dlt_fail_memory(diag);
    }
    dlt_rewrite_begin(&f.r, f.g);
    find_free(&f);
    for (int i = 0; i < f.g->node_count && !f.r.failed; i++) {
        if (fusable(f.g->nodes[i]) && !f.is_free[i]) {
            place_node(&f, f.g->nodes[i]);
        }
    }
    int *reg_of = dlt_arena_alloc(f.g->arena, (size_t)f.g->value_count, sizeof *reg_of);
    if (f.r.failed || reg_of == NULL || !make_order(&f, &o)) {
        return dlt_fail_memory(diag);
    }
    int emptied = 0, emitted = 0;
    for (int i = 0; i < o.count; i++) {
        emptied += o.units[i].waits < 0;
        if (o.units[i].waits == 0) {
            heap_push(&o, i);
        }
    }
    while (o.heap_count > 0 && !f.r.failed) {
        const unit *u = &o.units[heap_pop(&o)];
        emit_unit(&f, u, reg_of);
        emitted++;
        for (int k = 0; k < u->next_count; k++) {
            if (--o.units[u->next[k]].waits == 0) {
                heap_push(&o, u->next[k]);
            }
        }
    }
    if (!f.r.failed && emitted + emptied != o.count) {
        return dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "fusion made a circle in program %s", graph->name);
    }
    return dlt_rewrite_end(&f.r, out, diag);
}
