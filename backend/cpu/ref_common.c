/* backend/cpu/ref_common.c: elements, cutting of work and walking over layouts for the reference kernels. */
#include "backend/cpu/ref.h"

#include <math.h>
#include <string.h>

/* ---- elements ---- */

int64_t dlt_ref_get_integer(const void *at, dlt_dtype type, int64_t i)
{
    switch (type) {
    case DLT_U8:
        return ((const uint8_t *)at)[i];
    case DLT_I8:
        return ((const int8_t *)at)[i];
    case DLT_I16:
        return ((const int16_t *)at)[i];
    case DLT_I32:
        return ((const int32_t *)at)[i];
    default:
        return ((const int64_t *)at)[i];
    }
}

static int64_t clamp(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

void dlt_ref_put_integer(void *at, dlt_dtype type, int64_t i, int64_t x)
{
    switch (type) {
    case DLT_U8:
        ((uint8_t *)at)[i] = (uint8_t)clamp(x, 0, UINT8_MAX);
        break;
    case DLT_I8:
        ((int8_t *)at)[i] = (int8_t)clamp(x, INT8_MIN, INT8_MAX);
        break;
    case DLT_I16:
        ((int16_t *)at)[i] = (int16_t)clamp(x, INT16_MIN, INT16_MAX);
        break;
    case DLT_I32:
        ((int32_t *)at)[i] = (int32_t)clamp(x, INT32_MIN, INT32_MAX);
        break;
    default:
        ((int64_t *)at)[i] = x;
    }
}

int64_t dlt_ref_to_integer(double x)
{
    if (x != x) {
        return 0;
    }
    if (x >= 0x1p63) {
        return INT64_MAX;
    }
    return x < -0x1p63 ? INT64_MIN : (int64_t)x;
}

const char *dlt_ref_needs_one_type(const dlt_cpu_query *query)
{
    const dlt_node *n = query->node;
    int type = -1;
    for (int i = 0; i < n->own_inputs + n->output_count; i++) {
        const dlt_value *v = i < n->own_inputs ? n->inputs[i] : n->outputs[i - n->own_inputs];
        if (!dlt_dtype_is_real(v->type) || (i >= n->own_inputs && n->epilogue != NULL)) {
            continue;
        }
        if (type >= 0 && type != (int)v->type) {
            return "needs one real type";
        }
        type = (int)v->type;
    }
    return NULL;
}

/* ---- work ---- */

int64_t dlt_ref_tasks(int64_t items, double cost)
{
    enum { MOST = 128 };
    const double enough = 32768; /* operations that are worth a task */
    const double wanted = (double)items * cost / enough;
    const int64_t tasks = wanted > MOST ? MOST : (int64_t)wanted;
    return items <= 0 ? 0 : tasks < 1 ? 1 : tasks > items ? items : tasks;
}

dlt_ref_range dlt_ref_share(int64_t items, int64_t tasks, int64_t task)
{
    const int64_t each = items / tasks, more = items % tasks; /* the first `more` tasks have one more */
    const int64_t first = task * each + (task < more ? task : more);
    return (dlt_ref_range){first, first + each + (task < more)};
}

void dlt_ref_phase(dlt_cpu_schedule *schedule, int64_t items, double cost)
{
    schedule->tasks[schedule->phases++] = dlt_ref_tasks(items, cost);
}

dlt_ref_range dlt_ref_part(const dlt_cpu_call *call, int phase, int64_t task, int64_t items)
{
    const dlt_cpu_choice *choice = call->node->choice;
    return dlt_ref_share(items, choice->schedule.tasks[phase], task);
}

/* ---- shapes ---- */

int64_t dlt_ref_span(const dlt_shape *shape, int first, int end)
{
    int64_t count = 1;
    for (int i = first; i < end; i++) {
        count *= shape->dim[i];
    }
    return count;
}

void dlt_ref_map_finish(dlt_ref_map *map)
{
    int64_t next = 1;
    map->in_order = map->constant = true;
    for (int i = map->shape.rank - 1; i >= 0; i--) {
        const dlt_ref_axis *a = &map->axes[i];
        if (map->shape.dim[i] == 1) {
            continue;
        }
        map->constant = map->constant && a->hi == 0 && a->lo == 0;
        map->in_order = map->in_order && a->block == 1 && a->hi == next;
        next *= map->shape.dim[i];
    }
}

void dlt_ref_map_rows(const dlt_shape *shape, dlt_ref_map *map)
{
    int64_t next = 1;
    *map = (dlt_ref_map){.shape = *shape};
    for (int i = shape->rank - 1; i >= 0; i--) {
        map->axes[i] = (dlt_ref_axis){.block = 1, .hi = next};
        next *= shape->dim[i];
    }
    dlt_ref_map_finish(map);
}

/* Axes of a tensor in its own shape. */
static bool own_axes(const dlt_shape *s, dlt_layout layout, dlt_ref_axis *axes)
{
    const int last = s->rank - 1;
    const int64_t block = layout.block, in_block = layout.in_block;
    int64_t next;
    switch (layout.kind) {
    case DLT_LAYOUT_ROW_MAJOR:
        next = 1;
        for (int i = last; i >= 0; i--) {
            axes[i] = (dlt_ref_axis){.block = 1, .hi = next};
            next *= s->dim[i];
        }
        return true;
    case DLT_LAYOUT_CHANNEL_BLOCKED: /* (N, C / block, spatial, block) */
        if (s->rank < 2 || block < 1 || s->dim[last] % block != 0) {
            return false;
        }
        next = block;
        for (int i = last - 1; i >= 1; i--) {
            axes[i] = (dlt_ref_axis){.block = 1, .hi = next};
            next *= s->dim[i];
        }
        axes[last] = (dlt_ref_axis){.block = block, .hi = next, .lo = 1};
        axes[0] = (dlt_ref_axis){.block = 1, .hi = next * (s->dim[last] / block)};
        return true;
    case DLT_LAYOUT_KERNEL_BLOCKED: /* (O / block, I / in_block, spatial, in_block, block) */
        if (s->rank < 2 || block < 1 || in_block < 1 || s->dim[last] % block != 0 || s->dim[last - 1] % in_block != 0) {
            return false;
        }
        next = block * in_block;
        for (int i = last - 2; i >= 0; i--) {
            axes[i] = (dlt_ref_axis){.block = 1, .hi = next};
            next *= s->dim[i];
        }
        axes[last - 1] = (dlt_ref_axis){.block = in_block, .hi = next, .lo = block};
        axes[last] = (dlt_ref_axis){.block = block, .hi = next * (s->dim[last - 1] / in_block), .lo = 1};
        return true;
    default:
        return false;
    }
}

bool dlt_ref_map_layout(const dlt_shape *shape, dlt_layout layout, const dlt_shape *domain, dlt_ref_map *map)
{
    dlt_ref_axis own[DLT_MAX_RANK];
    const int skip = domain->rank - shape->rank;
    *map = (dlt_ref_map){.shape = *domain};
    if (skip < 0 || !own_axes(shape, layout, own)) {
        return false;
    }
    for (int i = 0; i < domain->rank; i++) {
        const bool repeats = i < skip || (shape->dim[i - skip] == 1 && domain->dim[i] != 1);
        map->axes[i] = repeats ? (dlt_ref_axis){.block = 1} : own[i - skip];
    }
    dlt_ref_map_finish(map);
    return true;
}

void dlt_ref_map_offsets(const dlt_ref_map *map, int64_t first, int64_t count, int64_t *offsets)
{
    const int rank = map->shape.rank, last = rank - 1;
    if (map->constant || map->in_order || rank == 0) {
        for (int64_t i = 0; i < count; i++) {
            offsets[i] = map->constant ? map->start : map->start + first + i;
        }
        return;
    }
    int64_t at[DLT_MAX_RANK] = {0}, rest = first;
    for (int i = last; i >= 0; i--) {
        at[i] = rest % map->shape.dim[i];
        rest /= map->shape.dim[i];
    }
    const dlt_ref_axis inner = map->axes[last];
    for (int64_t done = 0; done < count;) { /* one run along the last axis after the other */
        int64_t base = map->start;
        for (int i = 0; i < last; i++) {
            const dlt_ref_axis *a = &map->axes[i];
            base += at[i] / a->block * a->hi + at[i] % a->block * a->lo;
        }
        for (; done < count && at[last] < map->shape.dim[last]; done++, at[last]++) {
            offsets[done] = base + at[last] / inner.block * inner.hi + at[last] % inner.block * inner.lo;
        }
        at[last] = 0;
        for (int i = last - 1; i >= 0 && ++at[i] == map->shape.dim[i]; i--) {
            at[i] = 0;
        }
    }
}

/* ---- windows ---- */

dlt_ref_window dlt_ref_window_of(const dlt_conv_attrs *attrs, const dlt_shape *x, const dlt_shape *y)
{
    const dlt_window *given = &attrs->window;
    dlt_ref_window w = {.batch = x->dim[0],
                        .in_channels = x->dim[x->rank - 1],
                        .out_channels = y->dim[y->rank - 1],
                        .groups = attrs->groups,
                        .cells = 1};
    const int skip = DLT_MAX_SPATIAL - given->axes;
    for (int i = 0; i < DLT_MAX_SPATIAL; i++) {
        const bool there = i >= skip;
        w.in[i] = there ? x->dim[1 + i - skip] : 1;
        w.out[i] = there ? y->dim[1 + i - skip] : 1;
        w.size[i] = there ? given->size[i - skip] : 1;
        w.stride[i] = there ? given->stride[i - skip] : 1;
        w.dilation[i] = there ? given->dilation[i - skip] : 1;
        w.before[i] = there ? given->before[i - skip] : 0;
        w.cells *= w.size[i];
    }
    return w;
}

dlt_ref_place dlt_ref_unravel(int64_t flat, const int64_t size[DLT_MAX_SPATIAL])
{
    dlt_ref_place p;
    for (int i = DLT_MAX_SPATIAL - 1; i >= 0; i--) {
        p.at[i] = flat % size[i];
        flat /= size[i];
    }
    return p;
}

int64_t dlt_ref_volume(const int64_t size[DLT_MAX_SPATIAL])
{
    return size[0] * size[1] * size[2];
}

int64_t dlt_ref_input_at(const dlt_ref_window *w, const dlt_ref_place *output, int64_t cell)
{
    const dlt_ref_place k = dlt_ref_unravel(cell, w->size);
    int64_t flat = 0;
    for (int i = 0; i < DLT_MAX_SPATIAL; i++) {
        const int64_t x = output->at[i] * w->stride[i] + k.at[i] * w->dilation[i] - w->before[i];
        if (x < 0 || x >= w->in[i]) {
            return -1;
        }
        flat = flat * w->in[i] + x;
    }
    return flat;
}

int64_t dlt_ref_output_at(const dlt_ref_window *w, const dlt_ref_place *input, int64_t cell)
{
    const dlt_ref_place k = dlt_ref_unravel(cell, w->size);
    int64_t flat = 0;
    for (int i = 0; i < DLT_MAX_SPATIAL; i++) {
        const int64_t from = input->at[i] + w->before[i] - k.at[i] * w->dilation[i];
        if (from < 0 || from % w->stride[i] != 0 || from / w->stride[i] >= w->out[i]) {
            return -1;
        }
        flat = flat * w->out[i] + from / w->stride[i];
    }
    return flat;
}
