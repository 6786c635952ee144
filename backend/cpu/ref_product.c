/* backend/cpu/ref_product.c: MATMUL, CONV, CONV_DX, CONV_DW. Sums are taken in double, in the order of the formulas below, and
 * rounded once. An epilogue runs on the finished result (ref_expr.c). */
#include "backend/cpu/ref.h"

/* Sums that are built up at once, in scratch. */
enum { MOST_SUMS = DLT_CPU_SCRATCH_BYTES / sizeof(double) };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void clear(double *sums, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        sums[i] = 0;
    }
}

/* ---- MATMUL: y[i, j] = sum_k a[i, k] b[k, j], for each of the leading axes ---- */

typedef struct product {
    int64_t batch, m, n, k;
    bool shared; /* b has no leading axes: those of a are rows */
    bool trans_a, trans_b;
} product;

static product product_of(const dlt_node *node)
{
    const dlt_matmul_attrs *t = node->attrs;
    const dlt_shape *a = &node->inputs[0]->shape, *b = &node->inputs[1]->shape;
    const int r = a->rank, s = b->rank;
    return (product){.batch = dlt_ref_span(a, 0, r - 2),
                     .m = a->dim[r - (t->trans_a ? 1 : 2)],
                     .k = a->dim[r - (t->trans_a ? 2 : 1)],
                     .n = b->dim[s - (t->trans_b ? 2 : 1)],
                     .shared = s == 2,
                     .trans_a = t->trans_a,
                     .trans_b = t->trans_b};
}

static bool prepare_matmul(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const product p = product_of(query->node);
    dlt_shape result = query->node->inputs[0]->shape;
    result.dim[result.rank - 2] = p.m;
    result.dim[result.rank - 1] = p.n;
    dlt_ref_phase(schedule, p.batch * p.m, (double)p.k * (double)p.n);
    return dlt_ref_epilogue_prepare(query, &result, schedule);
}

DLT_REF_INLINE void matmul_of(const dlt_cpu_call *call, void *y, int64_t task, const dlt_dtype a_type, const dlt_dtype b_type,
                              const dlt_dtype y_type, const bool rounds)
{
    const product p = product_of(call->node);
    const void *a = call->in[0], *b = call->in[1];
    const dlt_ref_range part = dlt_ref_part(call, 0, task, p.batch * p.m);
    double *sums = call->scratch;
    for (int64_t row = part.first; row < part.end; row++) {
        const int64_t i = row % p.m, from_a = row / p.m * p.m * p.k, from_b = p.shared ? 0 : row / p.m * p.k * p.n;
        for (int64_t first = 0; first < p.n; first += MOST_SUMS) {
            const int64_t count = smaller(p.n - first, MOST_SUMS);
            clear(sums, count);
            if (p.trans_b) {
                for (int64_t j = 0; j < count; j++) {
                    for (int64_t k = 0; k < p.k; k++) {
                        const double x = dlt_ref_factor(a, a_type, rounds, from_a + (p.trans_a ? k * p.m + i : i * p.k + k));
                        sums[j] += x * dlt_ref_factor(b, b_type, rounds, from_b + (first + j) * p.k + k);
                    }
                }
            } else {
                for (int64_t k = 0; k < p.k; k++) {
                    const double x = dlt_ref_factor(a, a_type, rounds, from_a + (p.trans_a ? k * p.m + i : i * p.k + k));
                    for (int64_t j = 0; j < count; j++) {
                        sums[j] += x * dlt_ref_factor(b, b_type, rounds, from_b + k * p.n + first + j);
                    }
                }
            }
            for (int64_t j = 0; j < count; j++) {
                dlt_ref_put(y, y_type, row * p.n + first + j, sums[j]);
            }
        }
    }
}

DLT_REF_INLINE void matmul(const dlt_cpu_call *call, void *y, int64_t task, const dlt_dtype type)
{
    matmul_of(call, y, task, type, type, type, false);
}

static void run_matmul(const dlt_cpu_call *call, int phase, int64_t task)
{
    const dlt_node *n = call->node;
    if (phase == 0 && dlt_ref_rounds(n)) {
        matmul_of(call, dlt_ref_epilogue_target(call), task, n->inputs[0]->type, n->inputs[1]->type, DLT_F32, true);
    } else if (phase == 0) {
        DLT_REF_BY_TYPE(matmul, n->inputs[0]->type, call, dlt_ref_epilogue_target(call), task);
    } else {
        dlt_ref_epilogue_run(call, phase - 1, task);
    }
}

const dlt_cpu_kernel dlt_cpu_ref_MATMUL = {.name = "matmul_reference",
                                           .op = DLT_OP_MATMUL,
                                           .declines = dlt_ref_epilogue_declines,
                                           .prepare = prepare_matmul,
                                           .run = run_matmul};

/* ---- convolutions ----
 * Which positions meet says ref.h. Group g reads input channels [g C / G, ...) and writes output channels [g F / G, ...). */

static dlt_ref_window window_of(const dlt_node *node)
{
    const dlt_conv_attrs *attrs = node->attrs;
    const dlt_shape *y = node->op == DLT_OP_CONV      ? NULL
                         : node->op == DLT_OP_CONV_DX ? &node->inputs[0]->shape
                                                      : &node->inputs[1]->shape;
    dlt_shape made = attrs->x_shape;
    if (y == NULL) { /* with an epilogue, output 0 need not be the result */
        dlt_window_output(&attrs->window, &attrs->x_shape, made.dim + 1);
        made.dim[made.rank - 1] = attrs->kernel_shape.dim[attrs->kernel_shape.rank - 1];
        y = &made;
    }
    return dlt_ref_window_of(attrs, &attrs->x_shape, y);
}

/* y[n, o, f] = sum over k and c of x[n, at(o, k), c] kernel[k, c, f] */
static bool prepare_conv(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_ref_window w = window_of(query->node);
    const dlt_conv_attrs *attrs = query->node->attrs;
    dlt_shape result = attrs->x_shape;
    const int64_t c_each = w.in_channels / w.groups;
    dlt_window_output(&attrs->window, &attrs->x_shape, result.dim + 1);
    result.dim[result.rank - 1] = w.out_channels;
    dlt_ref_phase(schedule, w.batch * dlt_ref_volume(w.out),
                  (double)w.cells * (double)c_each * (double)w.out_channels);
    return dlt_ref_epilogue_prepare(query, &result, schedule);
}

DLT_REF_INLINE void conv(const dlt_cpu_call *call, void *y, int64_t task, const dlt_dtype type)
{
    const dlt_ref_window w = window_of(call->node);
    const void *x = call->in[0], *kernel = call->in[1];
    const int64_t c_each = w.in_channels / w.groups, f_each = w.out_channels / w.groups, positions = dlt_ref_volume(w.out);
    const dlt_ref_range part = dlt_ref_part(call, 0, task, w.batch * positions);
    double *sums = call->scratch;
    for (int64_t item = part.first; item < part.end; item++) {
        const dlt_ref_place o = dlt_ref_unravel(item % positions, w.out);
        for (int64_t g = 0; g < w.groups; g++) {
            for (int64_t first = 0; first < f_each; first += MOST_SUMS) {
                const int64_t count = smaller(f_each - first, MOST_SUMS);
                clear(sums, count);
                for (int64_t cell = 0; cell < w.cells; cell++) {
                    const int64_t at = dlt_ref_input_at(&w, &o, cell);
                    const int64_t from = (item / positions * dlt_ref_volume(w.in) + at) * w.in_channels + g * c_each;
                    for (int64_t c = 0; c < c_each && at >= 0; c++) {
                        const double value = dlt_ref_get(x, type, from + c);
                        const int64_t row = (cell * c_each + c) * w.out_channels + g * f_each + first;
                        for (int64_t f = 0; f < count; f++) {
                            sums[f] += value * dlt_ref_get(kernel, type, row + f);
                        }
                    }
                }
                for (int64_t f = 0; f < count; f++) {
                    dlt_ref_put(y, type, item * w.out_channels + g * f_each + first + f, sums[f]);
                }
            }
        }
    }
}

static void run_conv(const dlt_cpu_call *call, int phase, int64_t task)
{
    if (phase == 0) {
        DLT_REF_BY_TYPE(conv, call->node->inputs[0]->type, call, dlt_ref_epilogue_target(call), task);
    } else {
        dlt_ref_epilogue_run(call, phase - 1, task);
    }
}

const dlt_cpu_kernel dlt_cpu_ref_CONV = {.name = "conv_reference",
                                         .op = DLT_OP_CONV,
                                         .declines = dlt_ref_epilogue_declines,
                                         .prepare = prepare_conv,
                                         .run = run_conv};

/* dx[n, i, c] = sum over k and f of dy[n, o(i, k), f] kernel[k, c, f] */
static bool prepare_conv_dx(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_ref_window w = window_of(query->node);
    const dlt_conv_attrs *attrs = query->node->attrs;
    const int64_t c_each = w.in_channels / w.groups;
    dlt_ref_phase(schedule, w.batch * dlt_ref_volume(w.in),
                  (double)w.cells * (double)c_each * (double)w.out_channels);
    return dlt_ref_epilogue_prepare(query, &attrs->x_shape, schedule);
}

DLT_REF_INLINE void conv_dx(const dlt_cpu_call *call, void *dx, int64_t task, const dlt_dtype type)
{
    const dlt_ref_window w = window_of(call->node);
    const void *dy = call->in[0], *kernel = call->in[1];
    const int64_t c_each = w.in_channels / w.groups, f_each = w.out_channels / w.groups, positions = dlt_ref_volume(w.in);
    const dlt_ref_range part = dlt_ref_part(call, 0, task, w.batch * positions);
    double *sums = call->scratch;
    for (int64_t item = part.first; item < part.end; item++) {
        const dlt_ref_place at = dlt_ref_unravel(item % positions, w.in);
        for (int64_t first = 0; first < w.in_channels; first += MOST_SUMS) {
            const int64_t count = smaller(w.in_channels - first, MOST_SUMS);
            clear(sums, count);
            for (int64_t cell = 0; cell < w.cells; cell++) {
                const int64_t o = dlt_ref_output_at(&w, &at, cell);
                for (int64_t i = 0; i < count && o >= 0; i++) {
                    const int64_t g = (first + i) / c_each, c = (first + i) % c_each;
                    const int64_t from = (item / positions * dlt_ref_volume(w.out) + o) * w.out_channels + g * f_each;
                    const int64_t row = (cell * c_each + c) * w.out_channels + g * f_each;
                    for (int64_t f = 0; f < f_each; f++) {
                        sums[i] += dlt_ref_get(dy, type, from + f) * dlt_ref_get(kernel, type, row + f);
                    }
                }
            }
            for (int64_t i = 0; i < count; i++) {
                dlt_ref_put(dx, type, item * w.in_channels + first + i, sums[i]);
            }
        }
    }
}

static void run_conv_dx(const dlt_cpu_call *call, int phase, int64_t task)
{
    if (phase == 0) {
        DLT_REF_BY_TYPE(conv_dx, call->node->inputs[0]->type, call, dlt_ref_epilogue_target(call), task);
    } else {
        dlt_ref_epilogue_run(call, phase - 1, task);
    }
}

const dlt_cpu_kernel dlt_cpu_ref_CONV_DX = {.name = "conv_dx_reference",
                                            .op = DLT_OP_CONV_DX,
                                            .declines = dlt_ref_epilogue_declines,
                                            .prepare = prepare_conv_dx,
                                            .run = run_conv_dx};

/* dkernel[k, c, f] = sum over n and o of x[n, at(o, k), c] dy[n, o, f] */
static bool prepare_conv_dw(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_ref_window w = window_of(query->node);
    const int64_t f_each = w.out_channels / w.groups;
    dlt_ref_phase(schedule, w.cells * w.in_channels, (double)(w.batch * dlt_ref_volume(w.out)) * (double)f_each);
    return true;
}

/* An item is a row of the result in one group: cell, channel within the group, group. */
DLT_REF_INLINE void conv_dw(const dlt_cpu_call *call, int64_t task, const dlt_dtype type)
{
    const dlt_ref_window w = window_of(call->node);
    const void *x = call->in[0], *dy = call->in[1];
    const int64_t c_each = w.in_channels / w.groups, f_each = w.out_channels / w.groups, positions = dlt_ref_volume(w.out);
    const dlt_ref_range part = dlt_ref_part(call, 0, task, w.cells * w.in_channels);
    double *sums = call->scratch;
    for (int64_t item = part.first; item < part.end; item++) {
        const int64_t g = item % w.groups, c = item / w.groups % c_each, cell = item / w.groups / c_each;
        for (int64_t first = 0; first < f_each; first += MOST_SUMS) {
            const int64_t count = smaller(f_each - first, MOST_SUMS);
            clear(sums, count);
            for (int64_t i = 0; i < w.batch * positions; i++) {
                const dlt_ref_place o = dlt_ref_unravel(i % positions, w.out);
                const int64_t at = dlt_ref_input_at(&w, &o, cell);
                if (at < 0) {
                    continue;
                }
                const int64_t from = (i / positions * dlt_ref_volume(w.in) + at) * w.in_channels + g * c_each + c;
                const double value = dlt_ref_get(x, type, from);
                for (int64_t f = 0; f < count; f++) {
                    sums[f] += value * dlt_ref_get(dy, type, i * w.out_channels + g * f_each + first + f);
                }
            }
            for (int64_t f = 0; f < count; f++) {
                dlt_ref_put(call->out[0], type, (cell * c_each + c) * w.out_channels + g * f_each + first + f, sums[f]);
            }
        }
    }
}

static void run_conv_dw(const dlt_cpu_call *call, int phase, int64_t task)
{
    (void)phase;
    DLT_REF_BY_TYPE(conv_dw, call->node->inputs[0]->type, call, task);
}

const dlt_cpu_kernel dlt_cpu_ref_CONV_DW = {.name = "conv_dw_reference",
                                            .op = DLT_OP_CONV_DW,
                                            .declines = dlt_ref_needs_one_type,
                                            .prepare = prepare_conv_dw,
                                            .run = run_conv_dw};
