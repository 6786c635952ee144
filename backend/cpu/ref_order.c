/* backend/cpu/ref_order.c: TOP_K, BINCOUNT, CUMSUM. */
#include "backend/cpu/ref.h"

/* ---- TOP_K: x (..., n) -> values (..., k), indices (..., k) int32 ---- */

static int64_t last_axis(const dlt_value *v)
{
    return v->shape.dim[v->shape.rank - 1];
}

static int64_t rows_of(const dlt_value *v)
{
    return dlt_ref_span(&v->shape, 0, v->shape.rank - 1);
}

static bool prepare_top_k(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_top_k_attrs *attrs = query->node->attrs;
    const dlt_value *x = query->node->inputs[0];
    dlt_ref_phase(schedule, rows_of(x), 4 * (double)last_axis(x) + (double)(attrs->k * attrs->k));
    schedule->workspace_bytes = schedule->tasks[0] * attrs->k * (int64_t)sizeof(int32_t);
    return true;
}

/* True if element i comes before element j: larger, and NaN is larger than all; j stands before i. */
static bool comes_before(const void *x, dlt_dtype type, int64_t i, int64_t j)
{
    if (!dlt_dtype_is_real(type)) {
        return dlt_ref_get_integer(x, type, i) > dlt_ref_get_integer(x, type, j);
    }
    const double a = dlt_ref_get(x, type, i), b = dlt_ref_get(x, type, j);
    return a > b || (a != a && b == b);
}

/* The list of the largest so far is kept in order; an element is put in where it belongs. */
static void run_top_k(const dlt_cpu_call *call, int phase, int64_t task)
{
    const dlt_top_k_attrs *attrs = call->node->attrs;
    const dlt_value *x = call->node->inputs[0];
    const int64_t n = last_axis(x), k = attrs->k;
    const dlt_ref_range part = dlt_ref_part(call, phase, task, rows_of(x));
    int32_t *best = (int32_t *)call->workspace + task * k;
    for (int64_t row = part.first; row < part.end; row++) {
        int64_t count = 0;
        for (int64_t i = 0; i < n; i++) {
            int64_t at = count < k ? count++ : k;
            for (; at > 0 && comes_before(call->in[0], x->type, row * n + i, row * n + best[at - 1]); at--) {
                if (at < k) {
                    best[at] = best[at - 1];
                }
            }
            if (at < k) {
                best[at] = (int32_t)i;
            }
        }
        for (int64_t i = 0; i < k; i++) {
            const int64_t from = row * n + best[i], to = row * k + i;
            if (call->out[0] != NULL && dlt_dtype_is_real(x->type)) {
                dlt_ref_put(call->out[0], x->type, to, dlt_ref_get(call->in[0], x->type, from));
            } else if (call->out[0] != NULL) {
                dlt_ref_put_integer(call->out[0], x->type, to, dlt_ref_get_integer(call->in[0], x->type, from));
            }
            if (call->out[1] != NULL) {
                ((int32_t *)call->out[1])[to] = best[i];
            }
        }
    }
}

const dlt_cpu_kernel dlt_cpu_ref_TOP_K = {
    .name = "top_k_reference", .op = DLT_OP_TOP_K, .prepare = prepare_top_k, .run = run_top_k};

/* ---- BINCOUNT: ids, weights of one shape -> (bins) float64 ---- */

static const char *declines_bincount(const dlt_cpu_query *query)
{
    const dlt_node *n = query->node;
    return dlt_dtype_is_real(n->inputs[0]->type)    ? "needs integer bins"
           : !dlt_dtype_is_real(n->inputs[1]->type) ? "needs real weights"
                                                    : NULL;
}

static bool prepare_bincount(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    (void)query;
    dlt_ref_phase(schedule, 1, 0);
    return true;
}

static void run_bincount(const dlt_cpu_call *call, int phase, int64_t task)
{
    const dlt_bincount_attrs *attrs = call->node->attrs;
    const dlt_value *ids = call->node->inputs[0], *weights = call->node->inputs[1];
    const int64_t count = dlt_shape_count(&ids->shape);
    double *bins = call->out[0];
    (void)phase, (void)task;
    for (int64_t i = 0; i < attrs->bins; i++) {
        bins[i] = 0;
    }
    for (int64_t i = 0; i < count; i++) {
        const int64_t bin = dlt_ref_get_integer(call->in[0], ids->type, i);
        if (bin >= 0 && bin < attrs->bins) {
            bins[bin] += dlt_ref_get(call->in[1], weights->type, i);
        }
    }
}

const dlt_cpu_kernel dlt_cpu_ref_BINCOUNT = {.name = "bincount_reference",
                                             .op = DLT_OP_BINCOUNT,
                                             .declines = declines_bincount,
                                             .prepare = prepare_bincount,
                                             .run = run_bincount};

/* ---- CUMSUM: each element is the sum of those up to it along the axis, rounded once ---- */

static bool prepare_cumsum(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_axis_attrs *attrs = query->node->attrs;
    const dlt_shape *s = &query->node->inputs[0]->shape;
    const int64_t length = s->dim[attrs->axis];
    dlt_ref_phase(schedule, dlt_ref_span(s, 0, attrs->axis) * dlt_ref_span(s, attrs->axis + 1, s->rank), 4 * (double)length);
    return true;
}

static void run_cumsum(const dlt_cpu_call *call, int phase, int64_t task)
{
    const dlt_axis_attrs *attrs = call->node->attrs;
    const dlt_value *x = call->node->inputs[0];
    const dlt_shape *s = &x->shape;
    const int64_t inner = dlt_ref_span(s, attrs->axis + 1, s->rank), length = s->dim[attrs->axis];
    const dlt_ref_range part = dlt_ref_part(call, phase, task, dlt_ref_span(s, 0, attrs->axis) * inner);
    for (int64_t line = part.first; line < part.end; line++) {
        const int64_t start = line / inner * length * inner + line % inner;
        double sum = 0;
        int64_t integer_sum = 0;
        for (int64_t i = 0; i < length; i++) {
            const int64_t at = start + (attrs->reverse ? length - 1 - i : i) * inner;
            if (dlt_dtype_is_real(x->type)) {
                sum += dlt_ref_get(call->in[0], x->type, at);
                dlt_ref_put(call->out[0], x->type, at, sum);
            } else {
                integer_sum += dlt_ref_get_integer(call->in[0], x->type, at);
                dlt_ref_put_integer(call->out[0], x->type, at, integer_sum);
            }
        }
    }
}

const dlt_cpu_kernel dlt_cpu_ref_CUMSUM = {
    .name = "cumsum_reference", .op = DLT_OP_CUMSUM, .prepare = prepare_cumsum, .run = run_cumsum};
