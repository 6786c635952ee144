/* graph/pass_fuse.c: elementwise ops and reductions become expression programs.
 *
 * Groups grow in the order of the nodes: a node joins the groups of its operands if they have the same domain (shape and
 * layout), compute type, phase and side of the guard, the limits of the target allow it, and no way leads from the group
 * through a node outside back into it. Reductions end a program: what depends on one stays outside. A product or
 * convolution takes the group that starts at its result as an epilogue where the target can.
 *
 * Groups and the nodes outside of them are units, and units must never wait for each other in a circle. All units that
 * were placed so far have a time, and each is later than what it needs. So a search for a way from a group back to it
 * need not look at what is earlier than the group.
 *
 * Ops made from scalars alone (positions, random numbers, repeated constants) are computed again wherever they are used
 * rather than kept in memory. The new order of nodes is that of the old ones as far as dependencies let it be. */
#include "graph/passes.h"

#include "graph/builder.h"
#include "graph/graph_internal.h"
#include "graph/rewrite.h"

#include "base/num.h"

#include <assert.h>
#include <string.h>

enum {
    NONE = -1,
    MAX_SEARCH = 4000,    /* units looked at before a merge is given up */
    MAX_FREE_DEPTH = 8,   /* ops that are computed again rather than kept */
    MAX_WAITING = 16384   /* elements of the operands of work that waits for the guard */
};

typedef struct group {
    int *members; /* node ids, ascending */
    int count, room;
    int anchor; /* node whose epilogue this is, or NONE */
    int merged_into; /* the group that took this one over, or NONE */
    uint32_t reduce_axes;
    bool reduces;
    int64_t time; /* of the unit */
    int seen;     /* stamp of the search that met it */
} group;

typedef struct fuse {
    const dlt_graph *g;
    const dlt_target *target;
    bool on;
    dlt_rewrite r;
    int *group_of;    /* by node id; NONE: no member of a group */
    int *anchor_of;   /* by node id: the group whose anchor it is, or NONE */
    int64_t *time;    /* by node id, of units of one node */
    int64_t clock;    /* time of the latest unit */
    int guard;        /* node id; the number of nodes if there is none */
    bool *is_free;    /* by node id */
    bool *is_kept;    /* by node id, free ops: something needs them in memory */
    int **users;      /* by value id: ids of nodes that use it, ended by NONE */
    bool *named;      /* by value id: an output of the graph */
    group *groups;
    int group_count, group_room;
    int *seen; /* by node id: stamp of the search that met it */
    int *seen_value;
    int stamp;
    int *stack; /* of nodes: one of each unit */
    int *later; /* units that a merge makes wait: one node of each */
    int *reg_of; /* of the program that is written now, by old value id: register + 1, 0: none yet; only members and free ops */
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

static int merged(const fuse *f, int at)
{
    while (at != NONE && f->groups[at].merged_into != NONE) {
        at = f->groups[at].merged_into;
    }
    return at;
}

/* The group that a node is a member of, or NONE. */
static int group_at(const fuse *f, int node)
{
    return merged(f, f->group_of[node]);
}

/* The group that a node is a member or the anchor of, or NONE: then it is a unit of its own. */
static int unit_at(const fuse *f, int node)
{
    const int at = group_at(f, node);
    return at != NONE ? at : merged(f, f->anchor_of[node]);
}

static int new_group(fuse *f, int node, int anchor)
{
    if (!dlt_graph_grow(f->g->arena, &f->groups, f->group_count, &f->group_room, sizeof *f->groups)) {
        f->r.failed = true;
        return NONE;
    }
    group *gr = &f->groups[f->group_count];
    *gr = (group){.anchor = anchor, .merged_into = NONE, .time = f->time[node]};
    if (!dlt_graph_grow(f->g->arena, &gr->members, 0, &gr->room, sizeof *gr->members)) {
        f->r.failed = true;
        return NONE;
    }
    gr->members[gr->count++] = node;
    f->group_of[node] = f->group_count;
    if (anchor != NONE) {
        f->anchor_of[anchor] = f->group_count;
    }
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

/* ---- units and their times ---- */

static int64_t *time_of(fuse *f, int node)
{
    const int at = unit_at(f, node);
    return at != NONE ? &f->groups[at].time : &f->time[node];
}

/* What is to become one unit: up to two groups, an anchor that has no group yet, and the node that is being placed. Any but
 * the node may be NONE. */
typedef struct joint {
    int a, b, anchor;
    const dlt_node *n;
} joint;

static bool within(const fuse *f, const joint *j, int node)
{
    const int at = unit_at(f, node);
    return node == j->n->id || node == j->anchor || (at != NONE && (at == j->a || at == j->b));
}

/* A search among the units around a joint. */
typedef struct search {
    int64_t lowest; /* what is not later is not looked at */
    int count;      /* nodes found: in f->stack or f->later */
} search;

/* Calls visit with each node of a unit, given by one of them. */
typedef bool visit_node(fuse *f, const joint *j, const dlt_node *n, search *s);

static bool each_of_unit(fuse *f, const joint *j, int node, visit_node *visit, search *s)
{
    const int at = unit_at(f, node);
    if (at == NONE) {
        return visit(f, j, f->g->nodes[node], s);
    }
    bool ok = f->groups[at].anchor == NONE || visit(f, j, f->g->nodes[f->groups[at].anchor], s);
    for (int k = 0; k < f->groups[at].count && ok; k++) {
        ok = visit(f, j, f->g->nodes[f->groups[at].members[k]], s);
    }
    return ok;
}

static bool each_of_joint(fuse *f, const joint *j, visit_node *visit, search *s)
{
    bool ok = visit(f, j, j->n, s);
    ok = ok && (j->a == NONE || each_of_unit(f, j, f->groups[j->a].members[0], visit, s));
    ok = ok && (j->b == NONE || each_of_unit(f, j, f->groups[j->b].members[0], visit, s));
    return ok && (j->anchor == NONE || visit(f, j, f->g->nodes[j->anchor], s));
}

/* True the first time that a search meets a unit. */
static bool first_met(fuse *f, int node)
{
    const int at = unit_at(f, node);
    int *seen = at != NONE ? &f->groups[at].seen : &f->seen[node];
    const bool first = *seen != f->stamp;
    *seen = f->stamp;
    return first;
}

/* Puts on the stack what n needs and is not of the joint. */
static bool push_producers(fuse *f, const joint *j, const dlt_node *n, search *s)
{
    for (int k = 0; k < n->input_count; k++) {
        const int from = n->inputs[k]->node->id;
        if (!within(f, j, from) && *time_of(f, from) > s->lowest && first_met(f, from)) {
            f->stack[s->count++] = from;
        }
    }
    return true;
}

/* False if n, which is outside, needs something of the joint. */
static bool needs_none(fuse *f, const joint *j, const dlt_node *n, search *s)
{
    (void)s;
    for (int k = 0; k < n->input_count; k++) {
        if (within(f, j, n->inputs[k]->node->id)) {
            return false;
        }
    }
    return true;
}

/* A product comes before its epilogue: it must not need any of it. */
static bool anchor_needs_joint(const fuse *f, const joint *j)
{
    const int anchors[] = {j->anchor, j->a != NONE ? f->groups[j->a].anchor : NONE,
                           j->b != NONE ? f->groups[j->b].anchor : NONE};
    for (size_t i = 0; i < DLT_COUNT(anchors); i++) {
        const dlt_node *m = anchors[i] != NONE ? f->g->nodes[anchors[i]] : NULL;
        for (int k = 0; m != NULL && k < m->input_count; k++) {
            if (within(f, j, m->inputs[k]->node->id)) {
                return true;
            }
        }
    }
    return false;
}

/* True if some way leads from the joint through a unit outside back into it, or if the search takes too long. */
static bool would_cycle(fuse *f, const joint *j)
{
    search s = {.lowest = INT64_MAX};
    int looked = 0;
    const int parts[] = {j->a != NONE ? f->groups[j->a].members[0] : NONE,
                         j->b != NONE ? f->groups[j->b].members[0] : NONE, j->anchor};
    for (size_t i = 0; i < DLT_COUNT(parts); i++) {
        s.lowest = parts[i] != NONE && *time_of(f, parts[i]) < s.lowest ? *time_of(f, parts[i]) : s.lowest;
    }
    f->stamp++;
    each_of_joint(f, j, push_producers, &s);
    while (s.count > 0) {
        const int node = f->stack[--s.count];
        if (++looked > MAX_SEARCH || !each_of_unit(f, j, node, needs_none, &s)) {
            return true;
        }
        each_of_unit(f, j, node, push_producers, &s);
    }
    return false;
}

/* Adds to `later` the units outside the joint that use a result of n. */
static bool push_users(fuse *f, const joint *j, const dlt_node *n, search *s)
{
    for (int i = 0; i < n->output_count; i++) {
        for (const int *u = f->users[n->outputs[i]->id]; *u != NONE && *u < j->n->id; u++) {
            if (!within(f, j, *u) && first_met(f, *u)) {
                f->later[s->count++] = *u;
            }
        }
    }
    return s->count <= MAX_SEARCH;
}

/* Finds what has to come after the joint; NONE: too many units. */
static int find_later(fuse *f, const joint *j)
{
    search s = {0};
    f->stamp++;
    bool ok = each_of_joint(f, j, push_users, &s);
    for (int i = 0; i < s.count && ok; i++) {
        ok = each_of_unit(f, j, f->later[i], push_users, &s);
    }
    return ok ? s.count : NONE;
}

/* The joint, whose group is `at`, becomes the latest unit; what waits for it follows in the order it had. */
static void set_times(fuse *f, int at, int later)
{
    f->groups[at].time = ++f->clock;
    for (int i = 1; i < later; i++) { /* by time; there are few, and nearly always none */
        const int node = f->later[i];
        int k = i;
        for (; k > 0 && *time_of(f, f->later[k - 1]) > *time_of(f, node); k--) {
            f->later[k] = f->later[k - 1];
        }
        f->later[k] = node;
    }
    for (int i = 0; i < later; i++) {
        *time_of(f, f->later[i]) = ++f->clock;
    }
}

/* A node of the joint uses the result of one of its reductions: it has to stay outside. */
static bool uses_reduction(const fuse *f, const joint *j)
{
    for (int i = 0; i < 2; i++) {
        const int at = i == 0 ? j->a : j->b;
        for (int k = 0; at != NONE && k < f->groups[at].count; k++) {
            const dlt_node *m = f->g->nodes[f->groups[at].members[k]];
            for (const int *u = m->op == DLT_OP_REDUCE ? f->users[m->outputs[0]->id] : NULL; u != NULL && *u != NONE; u++) {
                if (within(f, j, *u)) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* Counts what the program of the joint would have. */
static bool within_limits(fuse *f, const joint *j)
{
    int inputs = 0, outputs = 0, instrs = 0;
    f->stamp++;
    for (int i = 0; i < 3; i++) {
        const int at = i == 0 ? j->a : i == 1 ? j->b : NONE;
        assert(at == NONE || f->groups != NULL);
        const int count = i == 2 ? 1 : at != NONE ? f->groups[at].count : 0;
        for (int k = 0; k < count; k++) {
            const dlt_node *m = i == 2 ? j->n : f->g->nodes[f->groups[at].members[k]];
            instrs += 1 + m->input_count; /* and its constants */
            for (int o = 0; o < m->input_count; o++) {
                const int from = m->inputs[o]->node->id;
                instrs += f->is_free[from] ? MAX_FREE_DEPTH / 2 : 0;
                if (!within(f, j, from) && !is_scalar_constant(m->inputs[o]) &&
                    f->seen_value[m->inputs[o]->id] != f->stamp) {
                    f->seen_value[m->inputs[o]->id] = f->stamp;
                    inputs++; /* a free op counts as the scalar that it may need */
                }
            }
            bool outside = f->named[m->outputs[0]->id];
            for (const int *u = f->users[m->outputs[0]->id]; *u != NONE && !outside; u++) {
                outside = !within(f, j, *u);
            }
            outputs += outside;
        }
    }
    return inputs <= f->target->max_inputs && outputs <= f->target->max_outputs && instrs <= f->target->max_instrs;
}

/* Reductions of one program must go over the same axes, and end it: not in an epilogue. */
static bool reductions_agree(const fuse *f, const joint *j)
{
    const bool reduces = j->n->op == DLT_OP_REDUCE;
    uint32_t axes = reduces ? ((const dlt_reduce_attrs *)j->n->attrs)->axes : 0;
    bool any = reduces, anchored = j->anchor != NONE;
    for (int i = 0; i < 2; i++) {
        const group *gr = (i == 0 ? j->a : j->b) != NONE ? &f->groups[i == 0 ? j->a : j->b] : NULL;
        if (gr == NULL) {
            continue;
        }
        anchored = anchored || gr->anchor != NONE;
        if (gr->reduces && any && axes != gr->reduce_axes) {
            return false;
        }
        axes = gr->reduces ? gr->reduce_axes : axes;
        any = any || gr->reduces;
    }
    return !any || (!anchored && f->target->reduces != NULL);
}

/* True if node m, of a group, can be in one program with n. */
static bool same_kind(const fuse *f, const dlt_node *m, const dlt_node *n)
{
    return m->phase == n->phase && (m->id > f->guard) == (n->id > f->guard) && compute_of(m) == compute_of(n) &&
           same_domain(domain_of(m), domain_of(n));
}

/* Number of units that the joint makes wait; NONE if its parts cannot be one program. */
static int can_join(fuse *f, const joint *j)
{
    const group *a = j->a != NONE ? &f->groups[j->a] : NULL, *b = j->b != NONE ? &f->groups[j->b] : NULL;
    if ((a != NULL && !same_kind(f, f->g->nodes[a->members[0]], j->n)) ||
        (b != NULL && !same_kind(f, f->g->nodes[b->members[0]], j->n)) ||
        (a != NULL && b != NULL && a->anchor != NONE && b->anchor != NONE)) {
        return NONE;
    }
    if (!reductions_agree(f, j) || !within_limits(f, j) || uses_reduction(f, j) || anchor_needs_joint(f, j) ||
        would_cycle(f, j)) {
        return NONE;
    }
    return find_later(f, j);
}

static void join(fuse *f, int into, const dlt_node *n)
{
    add_member(f, into, n->id);
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
static bool starts_epilogue(const fuse *f, const dlt_value *v, const dlt_node *n)
{
    const dlt_node *m = v->node;
    return is_anchor(m) && f->anchor_of[m->id] == NONE && n->op == DLT_OP_EW && f->target->epilogue != NULL &&
           m->phase == n->phase && (m->id > f->guard) == (n->id > f->guard) && same_domain(v, n->outputs[0]) &&
           compute_of_type(v->type) == compute_of(n);
}

/* Joins n with the groups of its operands' producers; an anchor stands for the group of its epilogue. */
static int join_groups(fuse *f, const dlt_node *n)
{
    int at = NONE;
    for (int k = 0; k < n->input_count && !f->r.failed; k++) {
        const int from = unit_at(f, n->inputs[k]->node->id);
        if (from == NONE || from == at) {
            continue;
        }
        const joint j = {.a = at != NONE ? at : from, .b = at != NONE ? from : NONE, .anchor = NONE, .n = n};
        const int later = can_join(f, &j);
        if (later == NONE) {
            continue;
        }
        if (at == NONE) {
            join(f, from, n);
            at = from;
        } else {
            merge(f, at, from);
        }
        set_times(f, at, later);
    }
    return at;
}

/* Makes n, or the group that it has joined, the epilogue of the product that one of its operands is. */
static int join_anchor(fuse *f, const dlt_node *n, int at)
{
    for (int k = 0; k < n->input_count && !f->r.failed; k++) {
        const dlt_value *v = n->inputs[k];
        if (!starts_epilogue(f, v, n) || (at != NONE && f->groups[at].anchor != NONE)) {
            continue;
        }
        const joint j = {.a = at, .b = NONE, .anchor = v->node->id, .n = n};
        const int later = can_join(f, &j);
        if (later == NONE) {
            continue;
        }
        if (at == NONE) {
            at = new_group(f, n->id, v->node->id);
        } else {
            f->groups[at].anchor = v->node->id;
            f->anchor_of[v->node->id] = at;
        }
        if (at != NONE) {
            set_times(f, at, later);
        }
        break;
    }
    return at;
}

static void place_node(fuse *f, const dlt_node *n)
{
    int at = NONE;
    if (f->on) {
        at = join_groups(f, n);
        at = join_anchor(f, n, at);
    }
    if (at == NONE && !f->r.failed) {
        at = new_group(f, n->id, NONE);
        if (at != NONE && n->op == DLT_OP_REDUCE) {
            f->groups[at].reduces = true;
            f->groups[at].reduce_axes = ((const dlt_reduce_attrs *)n->attrs)->axes;
        }
    }
}

/* True if a free op can be computed again inside the program of `user`. Positions along an axis are the same in any domain
 * that has this axis in full, counted from the last; other ops need the very domain. */
static bool computed_again(const dlt_node *n, const dlt_node *user)
{
    const dlt_value *v = n->outputs[0];
    if (!fusable(user) || compute_of(user) != compute_of(n)) {
        return false;
    }
    const dlt_value *domain = domain_of(user);
    if (same_domain(domain, v)) {
        return true;
    }
    const int axis = ew_of(n)->axis, more = domain->shape.rank - v->shape.rank;
    return ew_of(n)->op == DLT_EW_INDEX && domain->layout.kind == DLT_LAYOUT_ROW_MAJOR && more >= 0 &&
           domain->shape.dim[axis + more] == v->shape.dim[axis];
}

/* Free ops are made on their own only where something needs them in memory. */
static void find_kept(fuse *f)
{
    for (int i = 0; i < f->g->node_count; i++) {
        const dlt_node *n = f->g->nodes[i];
        if (!f->is_free[i]) {
            continue;
        }
        f->is_kept[i] = f->named[n->outputs[0]->id];
        for (const int *u = f->users[n->outputs[0]->id]; *u != NONE && !f->is_kept[i]; u++) {
            f->is_kept[i] = !computed_again(n, f->g->nodes[*u]);
        }
    }
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
    int *touched; /* ids set in f->reg_of */
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
        if (e->instrs[i].op.op == DLT_EW_CONST && dlt_same_bits(e->instrs[i].op.value, value)) {
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
    e->f->reg_of[v->id] = reg >= 0 ? reg + 1 : reg;
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
    return e->f->reg_of[v->id] = emit_instr(e, &cast, reg, 0, 0);
}

/* Register of an operand, emitting what is computed again here. */
static int operand(emitter *e, const dlt_value *v)
{
    const int known = e->f->reg_of[v->id];
    if (known != 0) {
        return known > 0 ? known - 1 : as_stored(e, v, known);
    }
    if (is_scalar_constant(v)) {
        return emit_constant(e, (*(const double *const *)v->node->attrs)[0]);
    }
    const bool here = e->f->is_free[v->node->id] && (same_domain(v, e->domain) || !e->f->is_kept[v->node->id]);
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
        e->f->reg_of[e->touched[i]] = 0;
    }
    return p;
}

/* An EXPR node for some members. */
static void emit_expr(fuse *f, int at, const int *members, int count)
{
    emitter e = {.f = f, .at = at, .domain = domain_of(f->g->nodes[members[0]])};
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
static bool emit_anchored(fuse *f, int at)
{
    const group *gr = &f->groups[at];
    const dlt_node *anchor = f->g->nodes[gr->anchor];
    emitter e = {.f = f, .at = at, .domain = anchor->outputs[0]};
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

/* Everything that uses what a unit makes, directly or through views, comes before unit `assign`. The guard and assignments
 * have an order of their own. */
static bool add_reader_edges(fuse *f, order *o, int maker, int assign)
{
    bool ok = true;
    for (int i = 0; i < o->units[maker].next_count && ok; i++) {
        const int reader = o->units[maker].next[i], node = o->units[reader].node;
        const unsigned flags = node != NONE ? dlt_op_flags(f->g->nodes[node]->op) : 0;
        if ((flags & DLT_OP_VIEW) != 0) {
            ok = add_reader_edges(f, o, reader, assign);
        } else if ((flags & DLT_OP_ORDERED) == 0) {
            ok = add_edge(f, o, reader, assign);
        }
    }
    return ok;
}

/* An assignment waits for all readers of what it overwrites: of the variable's old value and, where a weight is set again
 * after the update of all weights, of what that update made. */
static bool add_assign_edges(fuse *f, order *o)
{
    const dlt_graph *g = f->g;
    int *assigned = dlt_arena_alloc(g->arena, (size_t)g->variables->count, sizeof *assigned); /* unit + 1, by variable */
    int all = NONE, update = NONE; /* the unit that assigns all trainable weights, and the one that makes their values */
    bool ok = assigned != NULL;
    for (int i = 0; i < g->node_count && ok; i++) {
        const dlt_node *n = g->nodes[i];
        const dlt_variable *v = n->op == DLT_OP_ASSIGN ? *(dlt_variable *const *)n->attrs : NULL;
        if (v != NULL) {
            assigned[v->id] = o->unit_of[i] + 1;
        } else if (n->op == DLT_OP_ASSIGN) {
            all = o->unit_of[i];
            update = o->unit_of[n->inputs[0]->node->id];
        }
    }
    for (int i = 0; i < g->node_count && ok; i++) {
        const dlt_node *n = g->nodes[i];
        const dlt_variable *v = n->op == DLT_OP_VAR ? *(dlt_variable *const *)n->attrs : NULL;
        const bool by_all = v != NULL && all != NONE && v->storage == DLT_PARAM && v->trainable;
        if (v != NULL && assigned[v->id] > 0) {
            ok = add_reader_edges(f, o, o->unit_of[i], assigned[v->id] - 1);
            ok = ok && (!by_all || add_reader_edges(f, o, update, assigned[v->id] - 1));
        }
        ok = ok && (!by_all || add_reader_edges(f, o, o->unit_of[i], all));
    }
    return ok;
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
        const int at = unit_at(f, i);
        o->unit_of[i] = NONE;
        if (at != NONE && unit_of_group[at] != NONE) {
            o->unit_of[i] = unit_of_group[at];
        } else if (!f->is_free[i] || f->is_kept[i]) {
            o->units[o->count] = (unit){.key = i, .node = at == NONE ? i : NONE, .group = at};
            o->unit_of[i] = o->count++;
            if (at != NONE) {
                unit_of_group[at] = o->unit_of[i];
            }
        }
    }
    int last_ordered = NONE;
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
        if (i > f->guard && n->phase == DLT_PHASE_UPDATE && n->input_count > 0) {
            ok = ok && add_edge(f, o, o->unit_of[f->guard], at);
        }
    }
    return ok && add_assign_edges(f, o);
}

static void emit_unit(fuse *f, const unit *u)
{
    if (u->group == NONE) {
        const dlt_node *n = f->g->nodes[u->node];
        if (fusable(n)) {
            emit_expr(f, NONE, &u->node, 1);
        } else {
            dlt_rewrite_copy(&f->r, n);
        }
        return;
    }
    const group *gr = &f->groups[u->group];
    if (gr->anchor == NONE) {
        emit_expr(f, u->group, gr->members, gr->count);
    } else if (!emit_anchored(f, u->group) && !f->r.failed) {
        dlt_rewrite_copy(&f->r, f->g->nodes[gr->anchor]);
        emit_expr(f, u->group, gr->members, gr->count);
    }
}

/* ---- work that waits for the guard ---- */

/*
 * Work whose results go only into variables, on small operands, may wait for the guard: then it writes its variable itself
 * and no copy is needed. Sets waits[] for nodes in front of the guard; true if there are any.
 */
static bool find_waiting(const fuse *f, bool *waits)
{
    bool any = false;
    for (int i = f->guard - 1; i >= 0; i--) {
        const dlt_node *n = f->g->nodes[i];
        bool late = fusable(n) && !f->named[n->outputs[0]->id] && f->users[n->outputs[0]->id][0] != NONE;
        for (int k = 0; k < n->input_count && late; k++) {
            late = dlt_shape_count(&n->inputs[k]->shape) <= MAX_WAITING;
        }
        for (const int *u = late ? f->users[n->outputs[0]->id] : NULL; u != NULL && *u != NONE && late; u++) {
            const dlt_node *user = f->g->nodes[*u];
            late = *u < f->guard ? waits[*u] : *u > f->guard && (user->op == DLT_OP_ASSIGN || user->phase == DLT_PHASE_UPDATE);
        }
        waits[i] = late;
        any = any || late;
    }
    return any;
}

/* The graph with such work moved behind the guard; the graph itself if there is none. NULL: memory was refused. */
static const dlt_graph *with_waiting(fuse *f, const dlt_graph *graph)
{
    bool *waits = dlt_arena_alloc(graph->arena, (size_t)graph->node_count, sizeof *waits);
    dlt_rewrite r;
    if (waits == NULL) {
        return NULL;
    }
    if (f->guard == graph->node_count || !find_waiting(f, waits)) {
        return graph;
    }
    dlt_rewrite_begin(&r, graph);
    for (int pass = 0; pass < 2; pass++) { /* up to the guard without what waits, then what waits */
        for (int i = 0; i <= f->guard; i++) {
            if (waits[i] == (pass == 1)) {
                dlt_node *n = dlt_rewrite_copy(&r, graph->nodes[i]);
                if (n != NULL && waits[i]) {
                    n->phase = DLT_PHASE_UPDATE;
                }
            }
        }
    }
    for (int i = f->guard + 1; i < graph->node_count; i++) {
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
    f->is_kept = dlt_arena_alloc(arena, n, sizeof *f->is_kept);
    f->anchor_of = dlt_arena_alloc(arena, n, sizeof *f->anchor_of);
    f->time = dlt_arena_alloc(arena, n, sizeof *f->time);
    f->later = dlt_arena_alloc(arena, n, sizeof *f->later);
    f->seen = dlt_arena_alloc(arena, n, sizeof *f->seen);
    f->seen_value = dlt_arena_alloc(arena, (size_t)graph->value_count, sizeof *f->seen_value);
    f->stack = dlt_arena_alloc(arena, n, sizeof *f->stack);
    if (dlt_arena_failed(arena) || !find_users(f)) {
        return false;
    }
    f->guard = graph->node_count;
    for (int i = 0; i < graph->node_count; i++) {
        f->group_of[i] = f->anchor_of[i] = NONE;
        f->guard = graph->nodes[i]->op == DLT_OP_GUARD ? i : f->guard;
    }
    return true;
}

dlt_status dlt_pass_fuse(const dlt_graph *graph, const dlt_target *target, bool on, dlt_graph **out, dlt_diag *diag)
{
    fuse f = {.target = target, .on = on};
    order o = {0};
    *out = NULL;
    const dlt_graph *ordered = prepare(&f, graph) ? with_waiting(&f, graph) : NULL;
    if (ordered == NULL || (ordered != graph && !prepare(&f, ordered))) {
        return dlt_fail_memory(diag);
    }
    dlt_rewrite_begin(&f.r, f.g);
    find_free(&f);
    find_kept(&f);
    for (int i = 0; i < f.g->node_count && !f.r.failed; i++) {
        f.time[i] = ++f.clock;
        if (fusable(f.g->nodes[i]) && !f.is_free[i]) {
            place_node(&f, f.g->nodes[i]);
        }
    }
    f.reg_of = dlt_arena_alloc(f.g->arena, (size_t)f.g->value_count, sizeof *f.reg_of);
    if (f.r.failed || f.reg_of == NULL || !make_order(&f, &o)) {
        return dlt_fail_memory(diag);
    }
    int emitted = 0;
    for (int i = 0; i < o.count; i++) {
        if (o.units[i].waits == 0) {
            heap_push(&o, i);
        }
    }
    while (o.heap_count > 0 && !f.r.failed) {
        const unit *u = &o.units[heap_pop(&o)];
        emit_unit(&f, u);
        emitted++;
        for (int k = 0; k < u->next_count; k++) {
            if (--o.units[u->next[k]].waits == 0) {
                heap_push(&o, u->next[k]);
            }
        }
    }
    if (!f.r.failed && emitted != o.count) {
        return dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "fusion made a circle in program %s", graph->name);
    }
    return dlt_rewrite_end(&f.r, out, diag);
}
