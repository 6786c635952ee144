/* graph/plan.c: the memory plan. Views share their operand's memory; gradients lie in GRAD; the new value of a variable is
 * written in place where nothing needs the old one any more; an elementwise result may take over the memory of an operand
 * that dies with it. What is left is packed by lifetime: largest first into the lowest gap that fits, or, for very long
 * programs, in order of creation into the best free piece. */
#include "graph/plan.h"

#include "graph/builder.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { NONE = -1, MOST_FOR_BEST_PACKING = 4000 };

/* A piece of TRANSIENT: one or more values that follow each other in place, or a node's workspace. */
typedef struct buffer {
    int64_t bytes, offset;
    int first, last;
} buffer;

typedef struct planner {
    const dlt_graph *g;
    dlt_arena *arena;
    dlt_place *places;
    int *root;           /* by value id: the value whose memory it is in */
    int64_t *shift;      /* by value id: bytes from the root's start */
    bool *fixed;         /* by value id, roots: storage and offset are known */
    int *last_use;       /* by value id, roots: node id; node_count for named outputs; NONE: never */
    int *buffer_of;      /* by value id, roots in TRANSIENT */
    buffer *buffers;
    int buffer_count;
    int64_t *workspace;
    int *workspace_buffer; /* by node id */
    bool *copies;
    int guard; /* node id or NONE */
} planner;

static dlt_variable *variable_of(const dlt_node *n)
{
    return *(dlt_variable *const *)n->attrs;
}

static int64_t bytes_of(const dlt_value *v)
{
    return dlt_value_bytes(v);
}

static void fix(planner *p, const dlt_value *v, dlt_storage storage, int64_t offset)
{
    p->places[v->id].storage = storage;
    p->places[v->id].offset = offset;
    p->fixed[v->id] = true;
}

/* Roots of views, and places that follow from what a value is. False on overflow. */
static bool find_roots(planner *p, int64_t *input_bytes, int64_t *constant_bytes)
{
    *input_bytes = *constant_bytes = 0;
    for (int i = 0; i < p->g->node_count; i++) {
        const dlt_node *n = p->g->nodes[i];
        for (int k = 0; k < n->output_count; k++) {
            const dlt_value *v = n->outputs[k];
            p->root[v->id] = v->id;
            p->places[v->id] = (dlt_place){.storage = DLT_TRANSIENT, .bytes = bytes_of(v), .first = i, .last = NONE};
            p->last_use[v->id] = NONE;
            p->buffer_of[v->id] = NONE;
        }
        const dlt_value *v = n->output_count > 0 ? n->outputs[0] : NULL;
        const dlt_value *x = n->input_count > 0 ? n->inputs[0] : NULL;
        int64_t *end = n->op == DLT_OP_INPUT ? input_bytes : constant_bytes;
        switch (n->op) {
        case DLT_OP_VAR:
            assert(v != NULL);
            fix(p, v, variable_of(n)->storage, variable_of(n)->offset);
            break;
        case DLT_OP_INPUT:
        case DLT_OP_CONST:
            assert(v != NULL);
            fix(p, v, n->op == DLT_OP_INPUT ? DLT_INPUT : DLT_CONSTANT, *end);
            if (__builtin_add_overflow(*end, bytes_of(v) + DLT_PLAN_ALIGN - 1, end)) {
                return false;
            }
            *end = *end / DLT_PLAN_ALIGN * DLT_PLAN_ALIGN;
            break;
        case DLT_OP_FLAT:
            assert(v != NULL);
            fix(p, v, v->storage, 0);
            break;
        case DLT_OP_RESHAPE:
        case DLT_OP_SEGMENT:
            assert(v != NULL && x != NULL);
            p->root[v->id] = p->root[x->id];
            p->shift[v->id] = p->shift[x->id] + (n->op == DLT_OP_SEGMENT ? variable_of(n)->offset : 0);
            break;
        default:
            break;
        }
    }
    return true;
}

static void find_last_uses(planner *p)
{
    for (int i = 0; i < p->g->node_count; i++) {
        const dlt_node *n = p->g->nodes[i];
        if ((dlt_op_flags(n->op) & DLT_OP_VIEW) != 0 && n->op != DLT_OP_FLAT) {
            continue; /* a view uses nothing by itself */
        }
        for (int k = 0; k < n->input_count; k++) {
            p->last_use[p->root[n->inputs[k]->id]] = i;
        }
    }
    for (int i = 0; i < p->g->output_count; i++) {
        p->last_use[p->root[p->g->outputs[i].value->id]] = p->g->node_count;
    }
}

/* Puts v's root at a fixed place if it has transient memory of just this size of its own. */
static bool put(planner *p, const dlt_value *v, dlt_storage storage, int64_t offset, int64_t bytes)
{
    const int root = p->root[v->id];
    if (p->fixed[root] || p->shift[v->id] != 0 || p->places[root].bytes != bytes ||
        p->places[root].storage != DLT_TRANSIENT) {
        return false;
    }
    p->places[root].storage = storage;
    p->places[root].offset = offset;
    p->fixed[root] = true;
    return true;
}

/* Gradients go to their place in GRAD: graph/pass_place.c has seen to it that they can. */
static bool place_gradients(planner *p)
{
    for (int i = 0; i < p->g->node_count; i++) {
        const dlt_node *n = p->g->nodes[i];
        if (n->op != DLT_OP_FLAT || n->outputs[0]->storage != DLT_GRAD) {
            continue;
        }
        int at = 0;
        for (int k = 0; k < p->g->variables->count; k++) {
            const dlt_variable *v = p->g->variables->list[k];
            if (v->storage != DLT_PARAM || !v->trainable) {
                continue;
            }
            if (at == n->input_count || !put(p, n->inputs[at], DLT_GRAD, v->grad_offset, bytes_of(n->inputs[at]))) {
                return false;
            }
            at++;
        }
    }
    return true;
}

/* True if output v of an elementwise program may overwrite the memory of operand x while the program runs. */
static bool elementwise_in_place(const dlt_node *n, const dlt_value *v, const dlt_value *x)
{
    if (n->op != DLT_OP_EXPR || dlt_dtype_size(v->type) != dlt_dtype_size(x->type) || v->extent != x->extent ||
        !dlt_layout_equal(v->layout, x->layout)) {
        return false;
    }
    const dlt_expr *e = n->attrs;
    return e->outputs[v->out].reduce == DLT_REDUCE_NONE && dlt_shape_equal(&x->shape, &e->domain);
}

/* True if node n and all after it can do without the old value that `root` stands for, when n writes v in its place. */
static bool may_be_overwritten(const planner *p, int root, const dlt_node *n, const dlt_value *v)
{
    if (root == NONE || p->last_use[root] < n->id) {
        return true;
    }
    bool safe = p->last_use[root] == n->id;
    for (int k = 0; k < n->input_count && safe; k++) {
        const dlt_value *x = n->inputs[k];
        safe = p->root[x->id] != root || (p->shift[x->id] == 0 && elementwise_in_place(n, v, x));
    }
    return safe;
}

/* New values of variables are written in place where that is allowed; else the ASSIGN copies. */
static bool place_assignments(planner *p)
{
    const dlt_variables *all = p->g->variables;
    int *read = dlt_arena_alloc(p->arena, (size_t)all->count, sizeof *read); /* by variable: its VAR value, or NONE */
    if (read == NULL) {
        return false;
    }
    for (int i = 0; i < all->count; i++) {
        read[i] = NONE;
    }
    for (int i = 0; i < p->g->node_count; i++) {
        const dlt_node *n = p->g->nodes[i];
        if (n->op == DLT_OP_VAR) {
            read[variable_of(n)->id] = n->outputs[0]->id;
        }
    }
    for (int i = 0; i < p->g->node_count; i++) {
        const dlt_node *n = p->g->nodes[i];
        if (n->op != DLT_OP_ASSIGN) {
            continue;
        }
        const dlt_variable *target = variable_of(n);
        const dlt_value *v = n->inputs[0];
        const int root = p->root[v->id];
        const dlt_node *maker = p->g->nodes[p->places[root].first];
        const dlt_value *made = NULL;
        for (int k = 0; k < maker->output_count; k++) {
            made = maker->outputs[k]->id == root ? maker->outputs[k] : made;
        }
        bool in_place = maker->id > p->guard && p->last_use[root] != p->g->node_count && made != NULL;
        if (target == NULL) {
            for (int k = 0; k < p->g->node_count && in_place; k++) {
                const dlt_node *flat = p->g->nodes[k];
                in_place = flat->op != DLT_OP_FLAT || flat->outputs[0]->storage != DLT_PARAM ||
                           may_be_overwritten(p, flat->outputs[0]->id, maker, made);
            }
            for (int k = 0; k < all->count && in_place; k++) {
                const bool part = all->list[k]->storage == DLT_PARAM && all->list[k]->trainable;
                in_place = !part || read[k] == NONE || p->last_use[read[k]] < maker->id;
            }
            p->copies[i] = !(in_place && put(p, v, DLT_PARAM, 0, all->trainable_bytes));
        } else {
            /* a trainable weight that is set by itself follows the update of all: it is copied (constraints) */
            in_place = in_place && !(target->storage == DLT_PARAM && target->trainable) &&
                       may_be_overwritten(p, read[target->id], maker, made);
            p->copies[i] = !(in_place && put(p, v, target->storage, target->offset, dlt_variable_bytes(all, target)));
        }
    }
    return true;
}

/* ---- transient memory ---- */

static int new_buffer(planner *p, int64_t bytes, int first, int last)
{
    p->buffers[p->buffer_count] = (buffer){.bytes = (bytes + DLT_PLAN_ALIGN - 1) / DLT_PLAN_ALIGN * DLT_PLAN_ALIGN,
                                           .first = first,
                                           .last = last};
    return p->buffer_count++;
}

/* The buffer of an operand that dies at node n and may be overwritten by output v; NONE if there is none. */
static int buffer_to_take_over(const planner *p, const dlt_node *n, const dlt_value *v)
{
    for (int k = 0; k < n->input_count; k++) {
        const dlt_value *x = n->inputs[k];
        const int root = p->root[x->id], b = p->buffer_of[root];
        if (b == NONE || p->last_use[root] != n->id || p->shift[x->id] != 0 || p->places[root].bytes != bytes_of(x) ||
            p->buffers[b].last != n->id || !elementwise_in_place(n, v, x)) {
            continue;
        }
        /* another operand in the same memory, read in another way? */
        bool alone = true;
        for (int j = 0; j < n->input_count && alone; j++) {
            const int other = p->root[n->inputs[j]->id];
            alone = j == k || other != root || elementwise_in_place(n, v, n->inputs[j]);
        }
        if (alone) {
            return b;
        }
    }
    return NONE;
}

static void make_buffers(planner *p, bool reuse)
{
    for (int i = 0; i < p->g->node_count; i++) {
        const dlt_node *n = p->g->nodes[i];
        for (int k = 0; k < n->output_count; k++) {
            const dlt_value *v = n->outputs[k];
            dlt_place *place = &p->places[v->id];
            if (p->root[v->id] != v->id || p->fixed[v->id]) {
                continue;
            }
            const int last = reuse ? p->last_use[v->id] : p->g->node_count;
            if (p->last_use[v->id] == NONE) {
                place->bytes = 0; /* nobody uses it: it is not even written */
                continue;
            }
            const int taken = reuse ? buffer_to_take_over(p, n, v) : NONE;
            if (taken != NONE) {
                p->buffers[taken].last = last;
                p->buffer_of[v->id] = taken;
            } else {
                p->buffer_of[v->id] = new_buffer(p, place->bytes, i, last);
            }
            place->last = last;
        }
        p->workspace_buffer[i] = n->workspace_bytes > 0 ? new_buffer(p, n->workspace_bytes, i, reuse ? i : p->g->node_count) : NONE;
    }
}

/* For packing: buffers by size, largest first, then in the order made. */
typedef struct by_size {
    int64_t bytes;
    int index;
} by_size;

static int larger_first(const void *a, const void *b)
{
    const by_size *x = a, *y = b;
    if (x->bytes != y->bytes) {
        return x->bytes > y->bytes ? -1 : 1;
    }
    return x->index < y->index ? -1 : 1;
}

/* Each buffer, largest first, into the smallest gap that fits among those which live at the same time. */
static bool pack_by_size(planner *p, int64_t *end)
{
    const size_t count = (size_t)p->buffer_count;
    by_size *order = dlt_arena_alloc(p->arena, count, sizeof *order);
    int *placed = dlt_arena_alloc(p->arena, count, sizeof *placed); /* sorted by offset */
    if (order == NULL || placed == NULL) {
        return false;
    }
    for (int i = 0; i < p->buffer_count; i++) {
        order[i] = (by_size){p->buffers[i].bytes, i};
    }
    qsort(order, count, sizeof *order, larger_first);
    *end = 0;
    for (int i = 0; i < p->buffer_count; i++) {
        buffer *b = &p->buffers[order[i].index];
        int64_t at = 0, best = NONE, best_gap = INT64_MAX;
        for (int k = 0; k < i; k++) {
            const buffer *other = &p->buffers[placed[k]];
            if (other->last < b->first || b->last < other->first) {
                continue;
            }
            const int64_t gap = other->offset - at;
            if (gap >= b->bytes && gap < best_gap) {
                best = at;
                best_gap = gap;
            }
            if (other->offset + other->bytes > at) {
                at = other->offset + other->bytes;
            }
        }
        b->offset = best != NONE ? best : at;
        if (b->offset > INT64_MAX - b->bytes) {
            return false;
        }
        *end = b->offset + b->bytes > *end ? b->offset + b->bytes : *end;
        int k = i;
        for (; k > 0 && p->buffers[placed[k - 1]].offset > b->offset; k--) {
            placed[k] = placed[k - 1];
        }
        placed[k] = order[i].index;
    }
    return true;
}

/* A free piece of memory, in a list sorted by offset. */
typedef struct piece {
    int64_t offset, bytes;
} piece;

static void give_back(piece *pieces, int *count, int64_t offset, int64_t bytes)
{
    int at = 0;
    while (at < *count && pieces[at].offset < offset) {
        at++;
    }
    const bool joins_before = at > 0 && pieces[at - 1].offset + pieces[at - 1].bytes == offset;
    const bool joins_behind = at < *count && offset + bytes == pieces[at].offset;
    if (joins_before && joins_behind) {
        pieces[at - 1].bytes += bytes + pieces[at].bytes;
        memmove(pieces + at, pieces + at + 1, (size_t)(--*count - at) * sizeof *pieces);
    } else if (joins_before) {
        pieces[at - 1].bytes += bytes;
    } else if (joins_behind) {
        pieces[at].offset = offset;
        pieces[at].bytes += bytes;
    } else {
        memmove(pieces + at + 1, pieces + at, (size_t)((*count)++ - at) * sizeof *pieces);
        pieces[at] = (piece){offset, bytes};
    }
}

/* For very long programs: walks through time and takes the smallest free piece that fits. Buffers are in order of `first`. */
static bool pack_by_time(planner *p, int64_t *end)
{
    const int nodes = p->g->node_count;
    piece *pieces = dlt_arena_alloc(p->arena, (size_t)p->buffer_count + 1, sizeof *pieces);
    int *dying = dlt_arena_alloc(p->arena, (size_t)nodes + 2, sizeof *dying); /* head of the list of a node */
    int *next = dlt_arena_alloc(p->arena, (size_t)p->buffer_count, sizeof *next);
    int count = 0, done = 0;
    if (pieces == NULL || dying == NULL || next == NULL) {
        return false;
    }
    for (int i = 0; i < nodes + 2; i++) {
        dying[i] = NONE;
    }
    *end = 0;
    for (int i = 0; i < p->buffer_count; i++) {
        buffer *b = &p->buffers[i];
        for (; done < b->first; done++) {
            for (int k = dying[done]; k != NONE; k = next[k]) {
                give_back(pieces, &count, p->buffers[k].offset, p->buffers[k].bytes);
            }
        }
        int best = NONE;
        for (int k = 0; k < count; k++) {
            if (pieces[k].bytes >= b->bytes && (best == NONE || pieces[k].bytes < pieces[best].bytes)) {
                best = k;
            }
        }
        if (best != NONE) {
            b->offset = pieces[best].offset;
            pieces[best].offset += b->bytes;
            pieces[best].bytes -= b->bytes;
            if (pieces[best].bytes == 0) {
                memmove(pieces + best, pieces + best + 1, (size_t)(--count - best) * sizeof *pieces);
            }
        } else { /* a free piece at the end can grow */
            const bool tail = count > 0 && pieces[count - 1].offset + pieces[count - 1].bytes == *end;
            b->offset = tail ? pieces[--count].offset : *end;
            if (b->offset > INT64_MAX - b->bytes) {
                return false;
            }
            *end = b->offset + b->bytes;
        }
        next[i] = dying[b->last];
        dying[b->last] = i;
    }
    return true;
}

/* INPUTs at the places they have in another plan, as far as that one has them and they fit. */
static bool follow_inputs(planner *p, const dlt_plan *like, int64_t *input_bytes)
{
    for (int i = 0; i < p->g->input_count; i++) {
        const dlt_value *v = p->g->inputs[i];
        if (i >= like->graph->input_count) {
            return false;
        }
        const dlt_place *place = &like->places[like->graph->inputs[i]->id];
        if (place->bytes < bytes_of(v)) {
            return false;
        }
        p->places[v->id].offset = place->offset;
    }
    *input_bytes = like->input_bytes;
    return true;
}

static bool plan(planner *p, const dlt_plan_options *options, dlt_plan *out)
{
    const bool reuse = options->reuse;
    const dlt_graph *g = p->g;
    const size_t values = (size_t)g->value_count, nodes = (size_t)g->node_count;
    size_t most = nodes;
    for (int i = 0; i < g->node_count; i++) {
        most += (size_t)g->nodes[i]->output_count;
        p->guard = g->nodes[i]->op == DLT_OP_GUARD ? i : p->guard;
    }
    p->places = dlt_arena_alloc(p->arena, values, sizeof *p->places);
    p->root = dlt_arena_alloc(p->arena, values, sizeof *p->root);
    p->shift = dlt_arena_alloc(p->arena, values, sizeof *p->shift);
    p->fixed = dlt_arena_alloc(p->arena, values, sizeof *p->fixed);
    p->last_use = dlt_arena_alloc(p->arena, values, sizeof *p->last_use);
    p->buffer_of = dlt_arena_alloc(p->arena, values, sizeof *p->buffer_of);
    p->buffers = dlt_arena_alloc(p->arena, most, sizeof *p->buffers);
    p->workspace = dlt_arena_alloc(p->arena, nodes, sizeof *p->workspace);
    p->workspace_buffer = dlt_arena_alloc(p->arena, nodes, sizeof *p->workspace_buffer);
    p->copies = dlt_arena_alloc(p->arena, nodes, sizeof *p->copies);
    if (dlt_arena_failed(p->arena) || !find_roots(p, &out->input_bytes, &out->constant_bytes) ||
        (options->inputs_like != NULL && !follow_inputs(p, options->inputs_like, &out->input_bytes))) {
        return false;
    }
    find_last_uses(p);
    if (!place_gradients(p) || !place_assignments(p)) {
        return false;
    }
    make_buffers(p, reuse);
    if (!(p->buffer_count <= MOST_FOR_BEST_PACKING ? pack_by_size(p, &out->transient_bytes)
                                                    : pack_by_time(p, &out->transient_bytes))) {
        return false;
    }
    for (int i = 0; i < g->node_count; i++) {
        const dlt_node *n = g->nodes[i];
        p->workspace[i] = p->workspace_buffer[i] != NONE ? p->buffers[p->workspace_buffer[i]].offset : 0;
        for (int k = 0; k < n->output_count; k++) {
            const int id = n->outputs[k]->id, root = p->root[id];
            if (root == id && p->buffer_of[id] != NONE) {
                p->places[id].offset = p->buffers[p->buffer_of[id]].offset;
            } else if (root != id) {
                p->places[id].storage = p->places[root].storage;
                p->places[id].offset = p->places[root].offset + p->shift[id];
                p->places[id].last = p->places[root].last;
            }
        }
    }
    out->places = p->places;
    out->workspace = p->workspace;
    out->copies = p->copies;
    return true;
}

dlt_status dlt_plan_create(const dlt_graph *graph, const dlt_plan_options *options, const dlt_plan **out, dlt_diag *diag)
{
    planner p = {.g = graph, .arena = graph->arena, .guard = NONE};
    dlt_plan *made = dlt_arena_alloc(graph->arena, 1, sizeof *made);
    *out = NULL;
    if (made == NULL) {
        return dlt_fail_memory(diag);
    }
    made->graph = graph;
    if (!plan(&p, options, made)) {
        return dlt_arena_failed(graph->arena)
                   ? dlt_fail_memory(diag)
                   : dlt_fail(diag, DLT_E_MEMORY, (dlt_pos){0}, "the memory of program %s is too large to be counted",
                              graph->name);
    }
    *out = made;
    return DLT_OK;
}
