/* backend/cpu/ref_warp.c: WARP and WARP_DX: affine sampling of images in double, rounded once. */
#include "backend/cpu/ref.h"
#include "backend/cpu/warp.h"

#include <string.h>

typedef struct transform {
    double a[3], b[3]; /* column and row of the input for (i, j, 1) */
} transform;

/* The transform of a sample; one row serves all samples. */
static transform transform_of(const dlt_value *v, const void *data, int64_t sample)
{
    const int64_t at = v->shape.dim[0] == 1 ? 0 : 6 * sample;
    transform t;
    for (int k = 0; k < 3; k++) {
        t.a[k] = dlt_ref_get(data, v->type, at + k);
        t.b[k] = dlt_ref_get(data, v->type, at + 3 + k);
    }
    return t;
}

/* The pixels of the input that pixel (j, i) of the result is made of. */
static void taps_of(const transform *t, int64_t i, int64_t j, const dlt_shape *x, const dlt_warp_attrs *attrs, dlt_warp_tap *row,
                    dlt_warp_tap *column)
{
    const double u = (double)i, v = (double)j;
    *column = dlt_warp_tap_at(t->a[0] * u + t->a[1] * v + t->a[2], x->dim[2], attrs);
    *row = dlt_warp_tap_at(t->b[0] * u + t->b[1] * v + t->b[2], x->dim[1], attrs);
}

/* ---- WARP: a task takes some rows of the result ---- */

static bool prepare_warp(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_shape *y = &query->node->outputs[0]->shape;
    dlt_ref_phase(schedule, y->dim[0] * y->dim[1], (double)(y->dim[2] * (y->dim[3] + 4) * 10));
    return true;
}

DLT_REF_INLINE void warp_rows(const dlt_cpu_call *call, dlt_ref_range part, dlt_dtype type)
{
    const dlt_node *n = call->node;
    const dlt_warp_attrs *attrs = n->attrs;
    const dlt_shape *x = &n->inputs[0]->shape, *y = &n->outputs[0]->shape;
    const int64_t channels = x->dim[3];
    for (int64_t line = part.first; line < part.end; line++) {
        const int64_t sample = line / y->dim[1], j = line % y->dim[1];
        const transform t = transform_of(n->inputs[1], call->in[1], sample);
        for (int64_t i = 0; i < y->dim[2]; i++) {
            dlt_warp_tap row, column;
            taps_of(&t, i, j, x, attrs, &row, &column);
            for (int64_t c = 0; c < channels; c++) {
                double sums[2] = {0, 0}; /* of each column */
                for (int k = 0; k < 2; k++) {
                    double v[2];
                    for (int l = 0; l < 2; l++) {
                        const int64_t at = ((sample * x->dim[1] + row.at[l]) * x->dim[2] + column.at[k]) * channels + c;
                        v[l] = row.at[l] < 0 || column.at[k] < 0 ? attrs->fill_value : dlt_ref_get(call->in[0], type, at);
                    }
                    sums[k] = !(row.weight[1] > 0) ? v[0] : row.weight[0] * v[0] + row.weight[1] * v[1];
                }
                dlt_ref_put(call->out[0], type, (line * y->dim[2] + i) * channels + c,
                            !(column.weight[1] > 0) ? sums[0] : column.weight[0] * sums[0] + column.weight[1] * sums[1]);
            }
        }
    }
}

static void run_warp(const dlt_cpu_call *call, int phase, int64_t task)
{
    const dlt_shape *y = &call->node->outputs[0]->shape;
    const dlt_ref_range part = dlt_ref_part(call, phase, task, y->dim[0] * y->dim[1]);
    DLT_REF_BY_TYPE(warp_rows, call->node->outputs[0]->type, call, part);
}

const dlt_cpu_kernel dlt_cpu_ref_WARP = {.name = "warp_reference",
                                         .op = DLT_OP_WARP,
                                         .declines = dlt_ref_needs_one_type,
                                         .prepare = prepare_warp,
                                         .run = run_warp};

/* ---- WARP_DX: a task takes whole samples, whose pixels it adds in the order of the result ---- */

static bool prepare_warp_dx(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_shape *dy = &query->node->inputs[0]->shape;
    dlt_ref_phase(schedule, dy->dim[0], (double)(dy->dim[1] * dy->dim[2] * (dy->dim[3] + 4) * 10));
    return true;
}

DLT_REF_INLINE void scatter_samples(const dlt_cpu_call *call, dlt_ref_range part, dlt_dtype type)
{
    const dlt_node *n = call->node;
    const dlt_warp_attrs *attrs = n->attrs;
    const dlt_shape *x = &n->outputs[0]->shape, *y = &n->inputs[0]->shape;
    const int64_t channels = x->dim[3], size = x->dim[1] * x->dim[2] * channels, bytes = (int64_t)dlt_dtype_size(type);
    for (int64_t sample = part.first; sample < part.end; sample++) {
        char *dx = (char *)call->out[0] + sample * size * bytes;
        const char *dy = (const char *)call->in[0] + sample * y->dim[1] * y->dim[2] * channels * bytes;
        const transform t = transform_of(n->inputs[1], call->in[1], sample);
        memset(dx, 0, (size_t)(size * bytes));
        for (int64_t pixel = 0; pixel < y->dim[1] * y->dim[2]; pixel++) {
            dlt_warp_tap row, column;
            taps_of(&t, pixel % y->dim[2], pixel / y->dim[2], x, attrs, &row, &column);
            for (int k = 0; k < 4; k++) {
                const int64_t down = row.at[k / 2], right = column.at[k % 2];
                const double weight = row.weight[k / 2] * column.weight[k % 2];
                if (down < 0 || right < 0 || !(weight > 0)) {
                    continue;
                }
                for (int64_t c = 0; c < channels; c++) {
                    const int64_t to = (down * x->dim[2] + right) * channels + c;
                    dlt_ref_put(dx, type, to,
                                dlt_ref_get(dx, type, to) + weight * dlt_ref_get(dy, type, pixel * channels + c));
                }
            }
        }
    }
}

static void run_warp_dx(const dlt_cpu_call *call, int phase, int64_t task)
{
    const dlt_ref_range part = dlt_ref_part(call, phase, task, call->node->inputs[0]->shape.dim[0]);
    DLT_REF_BY_TYPE(scatter_samples, call->node->outputs[0]->type, call, part);
}

const dlt_cpu_kernel dlt_cpu_ref_WARP_DX = {.name = "warp_dx_reference",
                                            .op = DLT_OP_WARP_DX,
                                            .declines = dlt_ref_needs_one_type,
                                            .prepare = prepare_warp_dx,
                                            .run = run_warp_dx};
