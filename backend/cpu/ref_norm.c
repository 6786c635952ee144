/* backend/cpu/ref_norm.c: BATCH_NORM, LAYER_NORM, SOFTMAX and their gradients, SOFTMAX_XENT. Statistics and sums in double. */
#include "backend/cpu/ref.h"

#include <math.h>
#include <string.h>

/* ---- BATCH_NORM: statistics over all axes but the last ----
 * Phase 0: channels. Two doubles of each are kept in workspace for phase 1, which goes by rows. */

static int64_t channels_of(const dlt_value *x)
{
    return x->shape.dim[x->shape.rank - 1];
}

static int64_t rows_of(const dlt_value *x)
{
    return dlt_ref_span(&x->shape, 0, x->shape.rank - 1);
}

static bool prepare_batch_norm(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_value *x = query->node->inputs[0];
    dlt_ref_phase(schedule, channels_of(x), 8 * (double)rows_of(x));
    dlt_ref_phase(schedule, rows_of(x), 8 * (double)channels_of(x));
    schedule->workspace_bytes = 2 * channels_of(x) * (int64_t)sizeof(double);
    return true;
}

static void put_if(void *at, dlt_dtype type, int64_t i, double x)
{
    if (at != NULL) {
        dlt_ref_put(at, type, i, x);
    }
}

DLT_REF_INLINE void batch_norm(const dlt_cpu_call *call, int phase, int64_t task, const dlt_dtype type)
{
    const dlt_norm_attrs *attrs = call->node->attrs;
    const dlt_value *value = call->node->inputs[0];
    const int64_t channels = channels_of(value), rows = rows_of(value);
    const void *x = call->in[0], *gamma = attrs->has_gamma ? call->in[1] : NULL;
    const void *beta = attrs->has_beta ? call->in[attrs->has_gamma ? 2 : 1] : NULL;
    double *means = call->workspace, *rstds = means + channels;
    if (phase == 0) {
        const dlt_ref_range part = dlt_ref_part(call, 0, task, channels);
        for (int64_t c = part.first; c < part.end; c++) {
            double sum = 0, squares = 0;
            for (int64_t row = 0; row < rows; row++) {
                sum += dlt_ref_get(x, type, row * channels + c);
            }
            means[c] = sum / (double)(rows > 0 ? rows : 1);
            for (int64_t row = 0; row < rows; row++) {
                const double d = dlt_ref_get(x, type, row * channels + c) - means[c];
                squares += d * d;
            }
            const double variance = squares / (double)(rows > 0 ? rows : 1);
            rstds[c] = 1 / sqrt(variance + attrs->epsilon);
            put_if(call->out[1], type, c, means[c]);
            put_if(call->out[2], type, c, variance);
            put_if(call->out[3], type, c, rstds[c]);
        }
        return;
    }
    const dlt_ref_range part = dlt_ref_part(call, 1, task, rows);
    for (int64_t row = part.first; row < part.end && call->out[0] != NULL; row++) {
        for (int64_t c = 0; c < channels; c++) {
            const double normal = (dlt_ref_get(x, type, row * channels + c) - means[c]) * rstds[c];
            const double scaled = gamma != NULL ? normal * dlt_ref_get(gamma, type, c) : normal;
            dlt_ref_put(call->out[0], type, row * channels + c, beta != NULL ? scaled + dlt_ref_get(beta, type, c) : scaled);
        }
    }
}

/* With h = (x - mean) rstd:  dbeta = sum dy,  dgamma = sum dy h,  dx = gamma rstd (dy - dbeta / n - h dgamma / n). */
DLT_REF_INLINE void batch_norm_dx(const dlt_cpu_call *call, int phase, int64_t task, const dlt_dtype type)
{
    const dlt_norm_attrs *attrs = call->node->attrs;
    const dlt_value *value = call->node->inputs[0];
    const int64_t channels = channels_of(value), rows = rows_of(value);
    const void *dy = call->in[0], *x = call->in[1], *mean = call->in[2], *rstd = call->in[3];
    const void *gamma = attrs->has_gamma ? call->in[4] : NULL;
    double *dgammas = call->workspace, *dbetas = dgammas + channels;
    if (phase == 0) {
        const dlt_ref_range part = dlt_ref_part(call, 0, task, channels);
        for (int64_t c = part.first; c < part.end; c++) {
            dgammas[c] = dbetas[c] = 0;
            for (int64_t row = 0; row < rows; row++) {
                const double g = dlt_ref_get(dy, type, row * channels + c);
                const double centred = dlt_ref_get(x, type, row * channels + c) - dlt_ref_get(mean, type, c);
                dbetas[c] += g;
                dgammas[c] += g * centred * dlt_ref_get(rstd, type, c);
            }
            put_if(call->out[1], type, c, dgammas[c]);
            put_if(call->out[2], type, c, dbetas[c]);
        }
        return;
    }
    const dlt_ref_range part = dlt_ref_part(call, 1, task, rows);
    for (int64_t row = part.first; row < part.end && call->out[0] != NULL; row++) {
        for (int64_t c = 0; c < channels; c++) {
            const double r = dlt_ref_get(rstd, type, c), n = (double)rows;
            const double h = (dlt_ref_get(x, type, row * channels + c) - dlt_ref_get(mean, type, c)) * r;
            const double g = dlt_ref_get(dy, type, row * channels + c) - dbetas[c] / n - h * dgammas[c] / n;
            const double scale = gamma != NULL ? dlt_ref_get(gamma, type, c) : 1;
            dlt_ref_put(call->out[0], type, row * channels + c, scale * r * g);
        }
    }
}

static void run_batch_norm(const dlt_cpu_call *call, int phase, int64_t task)
{
    const dlt_dtype type = call->node->inputs[0]->type;
    if (call->node->op == DLT_OP_BATCH_NORM) {
        DLT_REF_BY_TYPE(batch_norm, type, call, phase, task);
    } else {
        DLT_REF_BY_TYPE(batch_norm_dx, type, call, phase, task);
    }
}

const dlt_cpu_kernel dlt_cpu_ref_BATCH_NORM = {.name = "batch_norm_reference",
                                               .op = DLT_OP_BATCH_NORM,
                                               .declines = dlt_ref_needs_one_type,
                                               .prepare = prepare_batch_norm,
                                               .run = run_batch_norm};
const dlt_cpu_kernel dlt_cpu_ref_BATCH_NORM_DX = {.name = "batch_norm_dx_reference",
                                                  .op = DLT_OP_BATCH_NORM_DX,
                                                  .declines = dlt_ref_needs_one_type,
                                                  .prepare = prepare_batch_norm,
                                                  .run = run_batch_norm};

/* ---- LAYER_NORM: each row of the last `axes` axes by itself ---- */

/* (rows, width) of the normalised tensor. */
static void layer_shape(const dlt_node *n, int64_t *rows, int64_t *width)
{
    const dlt_norm_attrs *attrs = n->attrs;
    const dlt_shape *s = &n->inputs[0]->shape;
    *rows = dlt_ref_span(s, 0, s->rank - attrs->axes);
    *width = dlt_ref_span(s, s->rank - attrs->axes, s->rank);
}

static bool prepare_layer_norm(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    int64_t rows, width;
    layer_shape(query->node, &rows, &width);
    dlt_ref_phase(schedule, rows, 8 * (double)width);
    if (query->node->op == DLT_OP_LAYER_NORM_DX) { /* dgamma and dbeta, by columns */
        dlt_ref_phase(schedule, width, 8 * (double)rows);
    }
    return true;
}

DLT_REF_INLINE void layer_norm(const dlt_cpu_call *call, int64_t task, const dlt_dtype type)
{
    const dlt_norm_attrs *attrs = call->node->attrs;
    int64_t rows, width;
    layer_shape(call->node, &rows, &width);
    const void *x = call->in[0], *gamma = attrs->has_gamma ? call->in[1] : NULL;
    const void *beta = attrs->has_beta ? call->in[attrs->has_gamma ? 2 : 1] : NULL;
    const dlt_ref_range part = dlt_ref_part(call, 0, task, rows);
    for (int64_t row = part.first; row < part.end; row++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < width; i++) {
            sum += dlt_ref_get(x, type, row * width + i);
        }
        const double mean = sum / (double)(width > 0 ? width : 1);
        for (int64_t i = 0; i < width; i++) {
            const double d = dlt_ref_get(x, type, row * width + i) - mean;
            squares += d * d;
        }
        const double variance = squares / (double)(width > 0 ? width : 1), rstd = 1 / sqrt(variance + attrs->epsilon);
        put_if(call->out[1], type, row, mean);
        put_if(call->out[2], type, row, variance);
        put_if(call->out[3], type, row, rstd);
        for (int64_t i = 0; i < width && call->out[0] != NULL; i++) {
            const double normal = (dlt_ref_get(x, type, row * width + i) - mean) * rstd;
            const double scaled = gamma != NULL ? normal * dlt_ref_get(gamma, type, i) : normal;
            dlt_ref_put(call->out[0], type, row * width + i, beta != NULL ? scaled + dlt_ref_get(beta, type, i) : scaled);
        }
    }
}

/* With g = dy gamma and h = (x - mean) rstd:  dx = rstd (g - mean(g) - h mean(g h)). */
DLT_REF_INLINE void layer_norm_dx(const dlt_cpu_call *call, int phase, int64_t task, const dlt_dtype type)
{
    const dlt_norm_attrs *attrs = call->node->attrs;
    int64_t rows, width;
    layer_shape(call->node, &rows, &width);
    const void *dy = call->in[0], *x = call->in[1], *mean = call->in[2], *rstd = call->in[3];
    const void *gamma = attrs->has_gamma ? call->in[4] : NULL;
    if (phase == 1) {
        const dlt_ref_range part = dlt_ref_part(call, 1, task, width);
        for (int64_t i = part.first; i < part.end; i++) {
            double dgamma = 0, dbeta = 0;
            for (int64_t row = 0; row < rows; row++) {
                const double g = dlt_ref_get(dy, type, row * width + i);
                const double centred = dlt_ref_get(x, type, row * width + i) - dlt_ref_get(mean, type, row);
                dbeta += g;
                dgamma += g * centred * dlt_ref_get(rstd, type, row);
            }
            put_if(call->out[1], type, i, dgamma);
            put_if(call->out[2], type, i, dbeta);
        }
        return;
    }
    const dlt_ref_range part = dlt_ref_part(call, 0, task, rows);
    for (int64_t row = part.first; row < part.end && call->out[0] != NULL; row++) {
        const double m = dlt_ref_get(mean, type, row), r = dlt_ref_get(rstd, type, row), n = (double)width;
        double sum = 0, sum_h = 0;
        for (int64_t i = 0; i < width; i++) {
            const double h = (dlt_ref_get(x, type, row * width + i) - m) * r;
            const double g = dlt_ref_get(dy, type, row * width + i) * (gamma != NULL ? dlt_ref_get(gamma, type, i) : 1);
            sum += g;
            sum_h += g * h;
        }
        for (int64_t i = 0; i < width; i++) {
            const double h = (dlt_ref_get(x, type, row * width + i) - m) * r;
            const double g = dlt_ref_get(dy, type, row * width + i) * (gamma != NULL ? dlt_ref_get(gamma, type, i) : 1);
            dlt_ref_put(call->out[0], type, row * width + i, r * (g - sum / n - h * sum_h / n));
        }
    }
}

static void run_layer_norm(const dlt_cpu_call *call, int phase, int64_t task)
{
    const dlt_dtype type = call->node->inputs[0]->type;
    if (call->node->op == DLT_OP_LAYER_NORM) {
        DLT_REF_BY_TYPE(layer_norm, type, call, task);
    } else {
        DLT_REF_BY_TYPE(layer_norm_dx, type, call, phase, task);
    }
}

const dlt_cpu_kernel dlt_cpu_ref_LAYER_NORM = {.name = "layer_norm_reference",
                                               .op = DLT_OP_LAYER_NORM,
                                               .declines = dlt_ref_needs_one_type,
                                               .prepare = prepare_layer_norm,
                                               .run = run_layer_norm};
const dlt_cpu_kernel dlt_cpu_ref_LAYER_NORM_DX = {.name = "layer_norm_dx_reference",
                                                  .op = DLT_OP_LAYER_NORM_DX,
                                                  .declines = dlt_ref_needs_one_type,
                                                  .prepare = prepare_layer_norm,
                                                  .run = run_layer_norm};

/* ---- softmax over the last axis ---- */

static bool prepare_rows(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_value *x = query->node->inputs[0];
    dlt_ref_phase(schedule, rows_of(x), 16 * (double)channels_of(x));
    return true;
}

/* Largest element of a row (NaN does not count here: it shows in the sum), and the sum of exp(x - largest). */
DLT_REF_INLINE double sum_of_exps(const void *x, int64_t start, int64_t width, double *largest, const dlt_dtype type)
{
    double sum = 0;
    *largest = (double)-INFINITY;
    for (int64_t i = 0; i < width; i++) {
        const double z = dlt_ref_get(x, type, start + i);
        *largest = z > *largest ? z : *largest;
    }
    for (int64_t i = 0; i < width; i++) {
        sum += exp(dlt_ref_get(x, type, start + i) - *largest);
    }
    return sum;
}

DLT_REF_INLINE void softmax(const dlt_cpu_call *call, int64_t task, const dlt_dtype type)
{
    const int64_t width = channels_of(call->node->inputs[0]), rows = rows_of(call->node->inputs[0]);
    const dlt_ref_range part = dlt_ref_part(call, 0, task, rows);
    for (int64_t row = part.first; row < part.end; row++) {
        double largest;
        const double sum = sum_of_exps(call->in[0], row * width, width, &largest, type);
        for (int64_t i = row * width; i < (row + 1) * width; i++) {
            dlt_ref_put(call->out[0], type, i, exp(dlt_ref_get(call->in[0], type, i) - largest) / sum);
        }
    }
}

/* dx = y (dy - sum dy y) */
DLT_REF_INLINE void softmax_dx(const dlt_cpu_call *call, int64_t task, const dlt_dtype type)
{
    const int64_t width = channels_of(call->node->inputs[0]), rows = rows_of(call->node->inputs[0]);
    const void *dy = call->in[0], *y = call->in[1];
    const dlt_ref_range part = dlt_ref_part(call, 0, task, rows);
    for (int64_t row = part.first; row < part.end; row++) {
        double sum = 0;
        for (int64_t i = row * width; i < (row + 1) * width; i++) {
            sum += dlt_ref_get(dy, type, i) * dlt_ref_get(y, type, i);
        }
        for (int64_t i = row * width; i < (row + 1) * width; i++) {
            dlt_ref_put(call->out[0], type, i, dlt_ref_get(y, type, i) * (dlt_ref_get(dy, type, i) - sum));
        }
    }
}

/* loss = -sum_c t (z - largest - log sum), or that of one class t; probabilities = softmax(z) */
DLT_REF_INLINE void softmax_xent(const dlt_cpu_call *call, int64_t task, const dlt_dtype type)
{
    const dlt_value *z = call->node->inputs[0], *target = call->node->inputs[1];
    const int64_t width = channels_of(z), rows = rows_of(z);
    const dlt_ref_range part = dlt_ref_part(call, 0, task, rows);
    for (int64_t row = part.first; row < part.end; row++) {
        double largest, loss = 0;
        const double sum = sum_of_exps(call->in[0], row * width, width, &largest, type), log_sum = log(sum);
        for (int64_t i = 0; i < width; i++) {
            const double shifted = dlt_ref_get(call->in[0], type, row * width + i) - largest;
            put_if(call->out[1], type, row * width + i, exp(shifted) / sum);
            if (dlt_dtype_is_real(target->type)) {
                loss -= dlt_ref_get(call->in[1], target->type, row * width + i) * (shifted - log_sum);
            } else if (dlt_ref_get_integer(call->in[1], target->type, row) == i) {
                loss = log_sum - shifted;
            }
        }
        put_if(call->out[0], type, row, loss);
    }
}

static void run_softmax(const dlt_cpu_call *call, int phase, int64_t task)
{
    const dlt_dtype type = call->node->inputs[0]->type;
    (void)phase;
    if (call->node->op == DLT_OP_SOFTMAX) {
        DLT_REF_BY_TYPE(softmax, type, call, task);
    } else if (call->node->op == DLT_OP_SOFTMAX_DX) {
        DLT_REF_BY_TYPE(softmax_dx, type, call, task);
    } else {
        DLT_REF_BY_TYPE(softmax_xent, type, call, task);
    }
}

const dlt_cpu_kernel dlt_cpu_ref_SOFTMAX = {.name = "softmax_reference",
                                            .op = DLT_OP_SOFTMAX,
                                            .declines = dlt_ref_needs_one_type,
                                            .prepare = prepare_rows,
                                            .run = run_softmax};
const dlt_cpu_kernel dlt_cpu_ref_SOFTMAX_DX = {.name = "softmax_dx_reference",
                                               .op = DLT_OP_SOFTMAX_DX,
                                               .declines = dlt_ref_needs_one_type,
                                               .prepare = prepare_rows,
                                               .run = run_softmax};
const dlt_cpu_kernel dlt_cpu_ref_SOFTMAX_XENT = {
    .name = "softmax_xent_reference", .op = DLT_OP_SOFTMAX_XENT, .prepare = prepare_rows, .run = run_softmax};
