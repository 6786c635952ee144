/* backend/cpu/ref_move.c: TRANSPOSE, SLICE, PAD, CONCAT, REVERSE, REORDER, GATHER, SCATTER_ADD for all element types. */
#include "backend/cpu/ref.h"

#include <math.h>
#include <string.h>

enum { TILE = 512 };

/* out[to[i]] = in[from[i]] for elements of `size` bytes. */
static void move_elements(void *out, const int64_t *to, const void *in, const int64_t *from, int64_t n, size_t size)
{
    for (int64_t i = 0; i < n; i++) {
        switch (size) {
        case 1:
            ((uint8_t *)out)[to[i]] = ((const uint8_t *)in)[from[i]];
            break;
        case 2:
            ((uint16_t *)out)[to[i]] = ((const uint16_t *)in)[from[i]];
            break;
        case 4:
            ((uint32_t *)out)[to[i]] = ((const uint32_t *)in)[from[i]];
            break;
        default:
            ((uint64_t *)out)[to[i]] = ((const uint64_t *)in)[from[i]];
        }
    }
}

/* ---- one element after the other, by maps of both sides ---- */

typedef struct maps {
    int64_t count;
    dlt_ref_map to, from;
} maps;

/* Prepares a walk over the positions of the result. */
static maps *new_maps(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    maps *m = dlt_arena_alloc(query->arena, 1, sizeof *m);
    if (m != NULL) {
        const dlt_shape *shape = &query->node->outputs[0]->shape;
        dlt_ref_map_rows(shape, &m->to);
        m->from = m->to;
        m->count = dlt_shape_count(shape);
        dlt_ref_phase(schedule, m->count, 4);
        schedule->prepared = m;
    }
    return m;
}

static void run_maps(const dlt_cpu_call *call, int phase, int64_t task)
{
    const maps *m = call->prepared;
    const dlt_ref_range part = dlt_ref_part(call, phase, task, m->count);
    int64_t to[TILE], from[TILE];
    for (int64_t first = part.first; first < part.end; first += TILE) {
        const int64_t n = part.end - first < TILE ? part.end - first : TILE;
        dlt_ref_map_offsets(&m->to, first, n, to);
        dlt_ref_map_offsets(&m->from, first, n, from);
        move_elements(call->out[0], to, call->in[0], from, n, dlt_dtype_size(call->node->outputs[0]->type));
    }
}

/* Axes of the operand, row-major. */
static dlt_ref_map input_map(const dlt_node *n)
{
    dlt_ref_map map;
    dlt_ref_map_rows(&n->inputs[0]->shape, &map);
    return map;
}

static bool prepare_transpose(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_transpose_attrs *attrs = query->node->attrs;
    const dlt_ref_map in = input_map(query->node);
    maps *m = new_maps(query, schedule);
    if (m == NULL) {
        return false;
    }
    for (int i = 0; i < m->from.shape.rank; i++) {
        m->from.axes[i] = in.axes[attrs->perm[i]];
    }
    dlt_ref_map_finish(&m->from);
    return true;
}

static bool prepare_slice(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_slice_attrs *attrs = query->node->attrs;
    const dlt_ref_map in = input_map(query->node);
    maps *m = new_maps(query, schedule);
    if (m == NULL) {
        return false;
    }
    memcpy(m->from.axes, in.axes, sizeof in.axes);
    m->from.start = attrs->start * in.axes[attrs->axis].hi;
    dlt_ref_map_finish(&m->from);
    return true;
}

static bool prepare_reverse(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_axis_attrs *attrs = query->node->attrs;
    maps *m = new_maps(query, schedule);
    if (m == NULL) {
        return false;
    }
    dlt_ref_axis *axis = &m->from.axes[attrs->axis];
    m->from.start = (m->from.shape.dim[attrs->axis] - 1) * axis->hi;
    axis->hi = -axis->hi;
    dlt_ref_map_finish(&m->from);
    return true;
}

const dlt_cpu_kernel dlt_cpu_ref_TRANSPOSE = {
    .name = "transpose_reference", .op = DLT_OP_TRANSPOSE, .prepare = prepare_transpose, .run = run_maps};
const dlt_cpu_kernel dlt_cpu_ref_SLICE = {
    .name = "slice_reference", .op = DLT_OP_SLICE, .prepare = prepare_slice, .run = run_maps};
const dlt_cpu_kernel dlt_cpu_ref_REVERSE = {
    .name = "reverse_reference", .op = DLT_OP_REVERSE, .prepare = prepare_reverse, .run = run_maps};

/* ---- REORDER ----
 * Between any two layouts that have the same logical positions. The logical order of a FLAT vector is that of its variables
 * one after another without padding, each in the row-major order of its shape; in memory each has its own layout. */

typedef struct segment { /* one variable's part of a FLAT vector, or the whole of another tensor */
    int64_t first, count; /* logical positions */
    dlt_ref_map to, from; /* over the segment's own shape, offsets in the whole */
} segment;
typedef struct reorder {
    segment *segments;
    int count;
    int64_t elements;
} reorder;

static bool is_flat(const dlt_value *v)
{
    return v->layout.kind == DLT_LAYOUT_FLAT;
}

static const char *declines_reorder(const dlt_cpu_query *query)
{
    const dlt_value *in = query->node->inputs[0], *out = query->node->outputs[0];
    dlt_ref_map map;
    if ((!is_flat(in) && !dlt_ref_map_layout(&in->shape, in->layout, &in->shape, &map)) ||
        (!is_flat(out) && !dlt_ref_map_layout(&out->shape, out->layout, &out->shape, &map))) {
        return "unknown layout";
    }
    if ((is_flat(in) && !is_flat(out) && out->layout.kind != DLT_LAYOUT_ROW_MAJOR) ||
        (is_flat(out) && !is_flat(in) && in->layout.kind != DLT_LAYOUT_ROW_MAJOR)) {
        return "the other side of a flat vector must be row-major";
    }
    return NULL;
}

/* Offsets of a variable's elements in a FLAT vector, or in the same vector without padding. */
static bool map_variable(const dlt_variable *v, bool flat, int64_t logical, dlt_ref_map *map)
{
    if (!flat) {
        dlt_ref_map_rows(&v->shape, map);
        map->start = logical;
        return true;
    }
    const bool known = dlt_ref_map_layout(&v->shape, v->layout, &v->shape, map);
    map->start = v->offset / (int64_t)dlt_dtype_size(v->type);
    return known;
}

static bool prepare_reorder(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_value *in = query->node->inputs[0], *out = query->node->outputs[0];
    const dlt_variables *all = query->graph->variables;
    const bool by_variable = is_flat(in) || is_flat(out);
    reorder *r = dlt_arena_alloc(query->arena, 1, sizeof *r);
    segment *segments = dlt_arena_alloc(query->arena, by_variable ? (size_t)all->count : 1, sizeof *segments);
    if (r == NULL || segments == NULL) {
        return false;
    }
    *r = (reorder){.segments = segments};
    if (!by_variable) {
        segment *s = &segments[r->count++];
        s->count = r->elements = dlt_shape_count(&in->shape);
        dlt_ref_map_layout(&in->shape, in->layout, &in->shape, &s->from);
        dlt_ref_map_layout(&out->shape, out->layout, &out->shape, &s->to);
    }
    for (int i = 0; by_variable && i < all->count; i++) {
        const dlt_variable *v = all->list[i];
        if (v->storage != DLT_PARAM || !v->trainable) {
            continue;
        }
        segment *s = &segments[r->count++];
        s->first = r->elements;
        s->count = dlt_shape_count(&v->shape);
        if (!map_variable(v, is_flat(in), r->elements, &s->from) || !map_variable(v, is_flat(out), r->elements, &s->to)) {
            dlt_fail(query->diag, DLT_E_UNSUPPORTED, query->node->pos, "cpu: %s has a layout that cannot be reordered", v->path);
            return false;
        }
        r->elements += s->count;
    }
    schedule->prepared = r;
    if (is_flat(out)) {
        dlt_ref_phase(schedule, 1, 0); /* zeros the padding */
    }
    dlt_ref_phase(schedule, r->elements, 4);
    return true;
}

static void run_reorder(const dlt_cpu_call *call, int phase, int64_t task)
{
    const reorder *r = call->prepared;
    const dlt_value *value = call->node->outputs[0];
    if (is_flat(value) && phase == 0) {
        memset(call->out[0], 0, (size_t)dlt_value_bytes(value));
        return;
    }
    const dlt_ref_range part = dlt_ref_part(call, phase, task, r->elements);
    int64_t to[TILE], from[TILE];
    for (int k = 0; k < r->count; k++) {
        const segment *s = &r->segments[k];
        const int64_t begin = part.first > s->first ? part.first - s->first : 0;
        const int64_t end = part.end < s->first + s->count ? part.end - s->first : s->count;
        for (int64_t first = begin; first < end; first += TILE) {
            const int64_t n = end - first < TILE ? end - first : TILE;
            dlt_ref_map_offsets(&s->to, first, n, to);
            dlt_ref_map_offsets(&s->from, first, n, from);
            move_elements(call->out[0], to, call->in[0], from, n, dlt_dtype_size(value->type));
        }
    }
}

const dlt_cpu_kernel dlt_cpu_ref_REORDER = {.name = "reorder_reference",
                                            .op = DLT_OP_REORDER,
                                            .layouts = true,
                                            .declines = declines_reorder,
                                            .prepare = prepare_reorder,
                                            .run = run_reorder};

/* ---- whole runs of bytes: (outer, axis, inner) ---- */

/* Bytes of one step along an axis. */
static int64_t step_bytes(const dlt_value *v, int axis)
{
    return dlt_ref_span(&v->shape, axis + 1, v->shape.rank) * (int64_t)dlt_dtype_size(v->type);
}

static bool prepare_pad(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_pad_attrs *attrs = query->node->attrs;
    const dlt_value *y = query->node->outputs[0];
    dlt_ref_phase(schedule, dlt_ref_span(&y->shape, 0, attrs->axis + 1), (double)step_bytes(y, attrs->axis));
    return true;
}

static void run_pad(const dlt_cpu_call *call, int phase, int64_t task)
{
    const dlt_node *n = call->node;
    const dlt_pad_attrs *attrs = n->attrs;
    const int64_t bytes = step_bytes(n->outputs[0], attrs->axis);
    const int64_t in = n->inputs[0]->shape.dim[attrs->axis], out = n->outputs[0]->shape.dim[attrs->axis];
    const dlt_ref_range part =
        dlt_ref_part(call, phase, task, dlt_ref_span(&n->outputs[0]->shape, 0, attrs->axis + 1));
    for (int64_t i = part.first; i < part.end; i++) {
        const int64_t outer = i / out, at = i % out - attrs->before;
        char *to = (char *)call->out[0] + i * bytes;
        if (at < 0 || at >= in) {
            memset(to, 0, (size_t)bytes);
        } else {
            memcpy(to, (const char *)call->in[0] + (outer * in + at) * bytes, (size_t)bytes);
        }
    }
}

const dlt_cpu_kernel dlt_cpu_ref_PAD = {
    .name = "pad_reference", .op = DLT_OP_PAD, .prepare = prepare_pad, .run = run_pad};

static bool prepare_concat(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_axis_attrs *attrs = query->node->attrs;
    const dlt_value *y = query->node->outputs[0];
    dlt_ref_phase(schedule, dlt_ref_span(&y->shape, 0, attrs->axis),
                  (double)(step_bytes(y, attrs->axis) * y->shape.dim[attrs->axis]));
    return true;
}

static void run_concat(const dlt_cpu_call *call, int phase, int64_t task)
{
    const dlt_node *n = call->node;
    const dlt_axis_attrs *attrs = n->attrs;
    const int64_t bytes = step_bytes(n->outputs[0], attrs->axis);
    const dlt_ref_range part = dlt_ref_part(call, phase, task, dlt_ref_span(&n->outputs[0]->shape, 0, attrs->axis));
    for (int64_t outer = part.first; outer < part.end; outer++) {
        char *to = (char *)call->out[0] + outer * n->outputs[0]->shape.dim[attrs->axis] * bytes;
        for (int k = 0; k < n->input_count; k++) {
            const int64_t run = n->inputs[k]->shape.dim[attrs->axis] * bytes;
            memcpy(to, (const char *)call->in[k] + outer * run, (size_t)run);
            to += run;
        }
    }
}

const dlt_cpu_kernel dlt_cpu_ref_CONCAT = {
    .name = "concat_reference", .op = DLT_OP_CONCAT, .prepare = prepare_concat, .run = run_concat};

/* ---- rows by number ---- */

/* What a row that does not exist holds: NaN, or the least integer. */
static void fill_missing(void *row, dlt_dtype type, int64_t width)
{
    for (int64_t i = 0; i < width; i++) {
        if (dlt_dtype_is_real(type)) {
            dlt_ref_put(row, type, i, (double)NAN);
        } else {
            dlt_ref_put_integer(row, type, i, INT64_MIN);
        }
    }
}

static bool prepare_gather(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_value *table = query->node->inputs[0], *ids = query->node->inputs[1];
    dlt_ref_phase(schedule, dlt_shape_count(&ids->shape), (double)step_bytes(table, 0));
    return true;
}

static void run_gather(const dlt_cpu_call *call, int phase, int64_t task)
{
    const dlt_value *table = call->node->inputs[0], *ids = call->node->inputs[1];
    const int64_t bytes = step_bytes(table, 0);
    const dlt_ref_range part = dlt_ref_part(call, phase, task, dlt_shape_count(&ids->shape));
    for (int64_t i = part.first; i < part.end; i++) {
        const int64_t id = dlt_ref_get_integer(call->in[1], ids->type, i);
        char *to = (char *)call->out[0] + i * bytes;
        if (id < 0 || id >= table->shape.dim[0]) {
            fill_missing(to, table->type, dlt_ref_span(&table->shape, 1, table->shape.rank));
        } else {
            memcpy(to, (const char *)call->in[0] + id * bytes, (size_t)bytes);
        }
    }
}

static const char *declines_ids(const dlt_cpu_query *query)
{
    const dlt_value *ids = query->node->inputs[query->node->op == DLT_OP_GATHER ? 1 : 0];
    return dlt_dtype_is_real(ids->type) ? "needs integer row numbers" : NULL;
}

const dlt_cpu_kernel dlt_cpu_ref_GATHER = {.name = "gather_reference",
                                           .op = DLT_OP_GATHER,
                                           .declines = declines_ids,
                                           .prepare = prepare_gather,
                                           .run = run_gather};

static int64_t row_width(const dlt_value *v)
{
    return dlt_ref_span(&v->shape, 1, v->shape.rank);
}

static bool prepare_scatter_add(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_value *ids = query->node->inputs[0], *y = query->node->outputs[0];
    dlt_ref_phase(schedule, row_width(y), (double)(y->shape.dim[0] + dlt_shape_count(&ids->shape)) * 4);
    return true;
}

/* A task adds its columns of all rows, in the type of the result and in the order of ids. */
static void run_scatter_add(const dlt_cpu_call *call, int phase, int64_t task)
{
    const dlt_value *ids = call->node->inputs[0], *y = call->node->outputs[0];
    const int64_t width = row_width(y), rows = y->shape.dim[0], count = dlt_shape_count(&ids->shape);
    const dlt_ref_range part = dlt_ref_part(call, phase, task, width);
    const bool real = dlt_dtype_is_real(y->type);
    const size_t size = dlt_dtype_size(y->type);
    for (int64_t row = 0; row < rows; row++) {
        memset((char *)call->out[0] + (row * width + part.first) * (int64_t)size, 0, (size_t)(part.end - part.first) * size);
    }
    for (int64_t i = 0; i < count && rows > 0; i++) {
        const int64_t id = dlt_ref_get_integer(call->in[0], ids->type, i);
        const int64_t row = id < 0 || id >= rows ? 0 : id; /* what was gathered there was NaN */
        for (int64_t c = part.first; c < part.end; c++) {
            const int64_t to = row * width + c, from = i * width + c;
            if (real) { /* the sum of two floats taken in double and rounded is their sum in float */
                dlt_ref_put(call->out[0], y->type, to,
                            dlt_ref_get(call->out[0], y->type, to) + dlt_ref_get(call->in[1], y->type, from));
            } else {
                dlt_ref_put_integer(call->out[0], y->type, to,
                                    dlt_ref_get_integer(call->out[0], y->type, to) +
                                        dlt_ref_get_integer(call->in[1], y->type, from));
            }
        }
    }
}

const dlt_cpu_kernel dlt_cpu_ref_SCATTER_ADD = {.name = "scatter_add_reference",
                                                .op = DLT_OP_SCATTER_ADD,
                                                .declines = declines_ids,
                                                .prepare = prepare_scatter_add,
                                                .run = run_scatter_add};
