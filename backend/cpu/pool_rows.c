/* backend/cpu/pool_rows.c: pools over two spatial axes, row-major or in channel blocks, and their gradients.
 *
 * A plane is an image with all its channels, or one of its channel blocks; a task takes some planes. In a row of the result
 * the positions whose window lies inside the input are run together, those at the edges one by one. Gradients add the
 * windows of a plane in their order. */
#include "backend/cpu/conv.h"
#include "backend/cpu/tiles.h"

#include "base/alloc.h"

#include <string.h>

typedef struct prepared {
    dlt_conv_geometry g;
    const dlt_simd *simd;
    int64_t planes, channels; /* channels of a plane */
    int64_t per_task;
    bool overlapping;
} prepared;

static bool is_forward(const dlt_node *n)
{
    return n->op == DLT_OP_MAX_POOL || n->op == DLT_OP_AVG_POOL;
}

static dlt_conv_geometry geometry_of(const dlt_node *n)
{
    return dlt_conv_geometry_of(n->attrs, is_forward(n) ? &n->outputs[0]->shape : &n->inputs[0]->shape);
}

static const char *declines(const dlt_cpu_query *query)
{
    const dlt_node *n = query->node;
    const dlt_conv_attrs *attrs = n->attrs;
    const dlt_conv_geometry g = geometry_of(n);
    if (n->inputs[0]->type != DLT_F32) {
        return "needs float32";
    }
    if (attrs->window.axes > 2) {
        return "needs one or two spatial axes";
    }
    if (g.size[1] * g.size[2] > 256) {
        return "window too large";
    }
    for (int i = 1; i < 3; i++) {
        const int64_t covers = (g.size[i] - 1) * g.dilation[i] + 1;
        const bool padded = g.before[i] > 0 || (g.out[i] - 1) * g.stride[i] + covers - g.before[i] > g.in[i];
        if (padded && (g.dilation[i] > 1 || g.before[i] >= covers || (g.out[i] - 1) * g.stride[i] - g.before[i] >= g.in[i])) {
            return "windows without cells";
        }
    }
    for (int i = 0; i < n->input_count + n->output_count; i++) {
        const dlt_value *v = i < n->input_count ? n->inputs[i] : n->outputs[i - n->input_count];
        if (!dlt_layout_equal(v->layout, n->inputs[0]->layout) ||
            !(v->layout.kind == DLT_LAYOUT_ROW_MAJOR || v->layout.kind == DLT_LAYOUT_CHANNEL_BLOCKED)) {
            return "needs one layout";
        }
    }
    return NULL;
}

static bool prepare(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_node *n = query->node;
    const dlt_layout layout = n->inputs[0]->layout;
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    p->g = geometry_of(n);
    p->simd = dlt_simd_of(query->isa);
    p->channels = layout.kind == DLT_LAYOUT_CHANNEL_BLOCKED ? layout.block : p->g.in_channels;
    p->planes = p->channels > 0 ? p->g.batch * (p->g.in_channels / p->channels) : 0;
    for (int i = 1; i < 3; i++) {
        p->overlapping = p->overlapping || p->g.stride[i] < (p->g.size[i] - 1) * p->g.dilation[i] + 1;
    }
    const double work = (double)(p->g.in[1] * p->g.in[2] * p->channels) * 0.5 + 50; /* nanoseconds of a plane */
    const int64_t wanted = (int64_t)(8000 / work) + 1, most = (p->planes + 63) / 64;
    p->per_task = wanted > most ? wanted : most;
    schedule->prepared = p;
    schedule->phases = 1;
    schedule->tasks[0] = dlt_divide_up(p->planes, p->per_task);
    return true;
}

/* Cells [first, end) of the window along an axis that lie inside the input at position o. */
static void cells_at(const dlt_conv_geometry *g, int axis, int64_t o, int64_t *first, int64_t *end)
{
    const int64_t start = o * g->stride[axis] - g->before[axis], d = g->dilation[axis];
    *first = start < 0 ? (-start + d - 1) / d : 0;
    *end = start + (g->size[axis] - 1) * d < g->in[axis] ? g->size[axis] : (g->in[axis] - 1 - start) / d + 1;
}

typedef void row_fn(const dlt_cpu_call *call, const prepared *p, int64_t x, int64_t y, const dlt_pool_row *r);

/* Calls for each stretch of a plane's rows; x, y: offsets of its first element in input and result. */
static void walk(const dlt_cpu_call *call, const prepared *p, int64_t plane, row_fn *run)
{
    const dlt_conv_geometry *g = &p->g;
    const int64_t channels = p->channels, x_plane = plane * g->in[1] * g->in[2] * channels;
    const int64_t y_plane = plane * g->out[1] * g->out[2] * channels;
    for (int64_t o = 0; o < g->out[1]; o++) {
        int64_t top, bottom;
        cells_at(g, 1, o, &top, &bottom);
        const int64_t line = o * g->stride[1] - g->before[1] + top * g->dilation[1];
        for (int64_t q = 0; q < g->out[2];) {
            int64_t left, right, count = 1;
            cells_at(g, 2, q, &left, &right);
            if (right - left == g->size[2]) { /* inside: so are those that follow, up to the edge */
                const int64_t last = (g->in[2] - 1 - (g->size[2] - 1) * g->dilation[2] + g->before[2]) / g->stride[2];
                count = (last < g->out[2] - 1 ? last : g->out[2] - 1) - q + 1;
            }
            const int64_t column = q * g->stride[2] - g->before[2] + left * g->dilation[2];
            const dlt_pool_row r = {.pixels = count,
                                    .channels = channels,
                                    .x_step = g->stride[2] * channels,
                                    .y_step = channels,
                                    .rows = bottom - top,
                                    .columns = right - left,
                                    .row_step = g->dilation[1] * g->in[2] * channels,
                                    .col_step = g->dilation[2] * channels,
                                    .first_cell = top * g->size[2] + left,
                                    .cells_per_row = g->size[2]};
            run(call, p, x_plane + (line * g->in[2] + column) * channels, y_plane + (o * g->out[2] + q) * channels, &r);
            q += count;
        }
    }
}

static void max_row(const dlt_cpu_call *call, const prepared *p, int64_t x, int64_t y, const dlt_pool_row *r)
{
    p->simd->pool->max(call->out[0] != NULL ? (float *)call->out[0] + y : NULL,
                       call->out[1] != NULL ? (uint8_t *)call->out[1] + y : NULL, (const float *)call->in[0] + x, r);
}
static void max_dx_row(const dlt_cpu_call *call, const prepared *p, int64_t x, int64_t y, const dlt_pool_row *r)
{
    p->simd->pool->max_dx((float *)call->out[0] + x, (const float *)call->in[0] + y, (const uint8_t *)call->in[1] + y, r,
                          p->overlapping);
}
static void avg_row(const dlt_cpu_call *call, const prepared *p, int64_t x, int64_t y, const dlt_pool_row *r)
{
    p->simd->pool->avg((float *)call->out[0] + y, (const float *)call->in[0] + x, r, (float)(r->rows * r->columns));
}
static void avg_dx_row(const dlt_cpu_call *call, const prepared *p, int64_t x, int64_t y, const dlt_pool_row *r)
{
    p->simd->pool->avg_dx((float *)call->out[0] + x, (const float *)call->in[0] + y, r, (float)(r->rows * r->columns));
}

static void run(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    const int64_t first = task * p->per_task, end = first + p->per_task < p->planes ? first + p->per_task : p->planes;
    const int64_t plane = p->g.in[1] * p->g.in[2] * p->channels;
    (void)phase;
    for (int64_t i = first; i < end; i++) {
        switch (call->node->op) {
        case DLT_OP_MAX_POOL:
            walk(call, p, i, max_row);
            break;
        case DLT_OP_AVG_POOL:
            walk(call, p, i, avg_row);
            break;
        default:
            memset((float *)call->out[0] + i * plane, 0, (size_t)plane * sizeof(float));
            walk(call, p, i, call->node->op == DLT_OP_MAX_POOL_DX ? max_dx_row : avg_dx_row);
        }
    }
}

#define POOL(symbol, text, OP)                                                                               \
    const dlt_cpu_kernel symbol = {                                                                          \
        .name = text, .op = OP, .layouts = true, .declines = declines, .prepare = prepare, .run = run}
POOL(dlt_cpu_max_pool_rows, "max_pool_rows", DLT_OP_MAX_POOL);
POOL(dlt_cpu_max_pool_dx_rows, "max_pool_dx_rows", DLT_OP_MAX_POOL_DX);
POOL(dlt_cpu_avg_pool_rows, "avg_pool_rows", DLT_OP_AVG_POOL);
POOL(dlt_cpu_avg_pool_dx_rows, "avg_pool_dx_rows", DLT_OP_AVG_POOL_DX);
