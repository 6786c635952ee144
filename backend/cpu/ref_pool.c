/* backend/cpu/ref_pool.c: MAX_POOL, AVG_POOL and their gradients. Cells in the padding neither win nor count. */
#include "backend/cpu/ref.h"

#include <math.h>

/* What is known of one channel while the cells of a window are looked at; as many channels at once as fit into scratch. */
typedef struct channel {
    double value;
    int64_t winner; /* cell, or -1 */
} channel;
enum { MOST_CHANNELS = DLT_CPU_SCRATCH_BYTES / sizeof(channel) };

/* Geometry of a pool (x -> y) or of its gradient (dy -> dx). */
static bool is_forward(const dlt_node *n)
{
    return n->op == DLT_OP_MAX_POOL || n->op == DLT_OP_AVG_POOL;
}

static dlt_ref_window window_of(const dlt_node *n)
{
    const dlt_conv_attrs *attrs = n->attrs;
    return dlt_ref_window_of(attrs, &attrs->x_shape, is_forward(n) ? &n->outputs[0]->shape : &n->inputs[0]->shape);
}

/* An item is a position of the result with all its channels. */
static int64_t items_of(const dlt_node *n, const dlt_ref_window *w)
{
    return w->batch * dlt_ref_volume(is_forward(n) ? w->out : w->in);
}

static bool prepare(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_ref_window w = window_of(query->node);
    dlt_ref_phase(schedule, items_of(query->node, &w), 8 * (double)w.cells * (double)w.in_channels);
    return true;
}

/* Cells of the window at output position o that lie inside the input. */
static int64_t cells_inside(const dlt_ref_window *w, const dlt_ref_place *o)
{
    int64_t count = 1;
    for (int i = 0; i < DLT_MAX_SPATIAL; i++) {
        int64_t along = 0;
        for (int64_t k = 0; k < w->size[i]; k++) {
            const int64_t x = o->at[i] * w->stride[i] + k * w->dilation[i] - w->before[i];
            along += x >= 0 && x < w->in[i];
        }
        count *= along;
    }
    return count > 0 ? count : 1;
}

/* ---- one item and `count` channels from `first` on ---- */

/* y = the largest, NaN if one is NaN; index: the cell that won, of equals the first. */
DLT_REF_INLINE void max_pool(const dlt_cpu_call *call, const dlt_ref_window *w, int64_t item, int64_t first,
                             int64_t count, const dlt_dtype type)
{
    const int64_t positions = dlt_ref_volume(w->out), to = item * w->in_channels + first;
    const dlt_ref_place o = dlt_ref_unravel(item % positions, w->out);
    channel *best = call->scratch;
    for (int64_t c = 0; c < count; c++) {
        best[c] = (channel){(double)-INFINITY, -1};
    }
    for (int64_t cell = 0; cell < w->cells; cell++) {
        const int64_t at = dlt_ref_input_at(w, &o, cell);
        const int64_t from = (item / positions * dlt_ref_volume(w->in) + at) * w->in_channels + first;
        for (int64_t c = 0; c < count && at >= 0; c++) {
            const double x = dlt_ref_get(call->in[0], type, from + c), y = best[c].value;
            if (best[c].winner < 0 || x > y || (x != x && y == y)) {
                best[c] = (channel){x, cell};
            }
        }
    }
    for (int64_t c = 0; c < count; c++) {
        if (call->out[0] != NULL) {
            dlt_ref_put(call->out[0], type, to + c, best[c].value);
        }
        if (call->out[1] != NULL) {
            const int64_t winner = best[c].winner < 0 ? 0 : best[c].winner;
            dlt_ref_put_integer(call->out[1], call->node->outputs[1]->type, to + c, winner);
        }
    }
}

/* dx = sum of dy over the windows that this element won */
DLT_REF_INLINE void max_pool_dx(const dlt_cpu_call *call, const dlt_ref_window *w, int64_t item, int64_t first,
                                int64_t count, const dlt_dtype type)
{
    const int64_t positions = dlt_ref_volume(w->in);
    const dlt_ref_place x = dlt_ref_unravel(item % positions, w->in);
    const dlt_dtype index_type = call->node->inputs[1]->type;
    double *sums = call->scratch;
    for (int64_t c = 0; c < count; c++) {
        sums[c] = 0;
    }
    for (int64_t cell = w->cells - 1; cell >= 0; cell--) { /* the last cell meets the first window */
        const int64_t o = dlt_ref_output_at(w, &x, cell);
        const int64_t from = (item / positions * dlt_ref_volume(w->out) + o) * w->in_channels + first;
        for (int64_t c = 0; c < count && o >= 0; c++) {
            if (dlt_ref_get_integer(call->in[1], index_type, from + c) == cell) {
                sums[c] += dlt_ref_get(call->in[0], type, from + c);
            }
        }
    }
    for (int64_t c = 0; c < count; c++) {
        dlt_ref_put(call->out[0], type, item * w->in_channels + first + c, sums[c]);
    }
}

/* y = mean of the cells that lie inside the input */
DLT_REF_INLINE void avg_pool(const dlt_cpu_call *call, const dlt_ref_window *w, int64_t item, int64_t first,
                             int64_t count, const dlt_dtype type)
{
    const int64_t positions = dlt_ref_volume(w->out);
    const dlt_ref_place o = dlt_ref_unravel(item % positions, w->out);
    const double cells = (double)cells_inside(w, &o);
    double *sums = call->scratch;
    for (int64_t c = 0; c < count; c++) {
        sums[c] = 0;
    }
    for (int64_t cell = 0; cell < w->cells; cell++) {
        const int64_t at = dlt_ref_input_at(w, &o, cell);
        const int64_t from = (item / positions * dlt_ref_volume(w->in) + at) * w->in_channels + first;
        for (int64_t c = 0; c < count && at >= 0; c++) {
            sums[c] += dlt_ref_get(call->in[0], type, from + c);
        }
    }
    for (int64_t c = 0; c < count; c++) {
        dlt_ref_put(call->out[0], type, item * w->in_channels + first + c, sums[c] / cells);
    }
}

/* dx = sum of dy / count over the windows that hold this element */
DLT_REF_INLINE void avg_pool_dx(const dlt_cpu_call *call, const dlt_ref_window *w, int64_t item, int64_t first,
                                int64_t count, const dlt_dtype type)
{
    const int64_t positions = dlt_ref_volume(w->in);
    const dlt_ref_place x = dlt_ref_unravel(item % positions, w->in);
    double *sums = call->scratch;
    for (int64_t c = 0; c < count; c++) {
        sums[c] = 0;
    }
    for (int64_t cell = w->cells - 1; cell >= 0; cell--) {
        const int64_t o = dlt_ref_output_at(w, &x, cell);
        if (o < 0) {
            continue;
        }
        const dlt_ref_place at = dlt_ref_unravel(o, w->out);
        const double cells = (double)cells_inside(w, &at);
        const int64_t from = (item / positions * dlt_ref_volume(w->out) + o) * w->in_channels + first;
        for (int64_t c = 0; c < count; c++) {
            sums[c] += dlt_ref_get(call->in[0], type, from + c) / cells;
        }
    }
    for (int64_t c = 0; c < count; c++) {
        dlt_ref_put(call->out[0], type, item * w->in_channels + first + c, sums[c]);
    }
}

static void run(const dlt_cpu_call *call, int phase, int64_t task)
{
    const dlt_ref_window w = window_of(call->node);
    const dlt_dtype type = call->node->inputs[0]->type;
    const dlt_ref_range part = dlt_ref_part(call, phase, task, items_of(call->node, &w));
    for (int64_t item = part.first; item < part.end; item++) {
        for (int64_t first = 0; first < w.in_channels; first += MOST_CHANNELS) {
            const int64_t count = w.in_channels - first < MOST_CHANNELS ? w.in_channels - first : MOST_CHANNELS;
            switch (call->node->op) {
            case DLT_OP_MAX_POOL:
                DLT_REF_BY_TYPE(max_pool, type, call, &w, item, first, count);
                break;
            case DLT_OP_MAX_POOL_DX:
                DLT_REF_BY_TYPE(max_pool_dx, type, call, &w, item, first, count);
                break;
            case DLT_OP_AVG_POOL:
                DLT_REF_BY_TYPE(avg_pool, type, call, &w, item, first, count);
                break;
            default:
                DLT_REF_BY_TYPE(avg_pool_dx, type, call, &w, item, first, count);
            }
        }
    }
}

#define POOL(OP, text)                                                                                       \
    const dlt_cpu_kernel dlt_cpu_ref_##OP = {                                                                \
        .name = text, .op = DLT_OP_##OP, .declines = dlt_ref_needs_one_type, .prepare = prepare, .run = run}
POOL(MAX_POOL, "max_pool_reference");
POOL(MAX_POOL_DX, "max_pool_dx_reference");
POOL(AVG_POOL, "avg_pool_reference");
POOL(AVG_POOL_DX, "avg_pool_dx_reference");
