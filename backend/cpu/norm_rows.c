/* backend/cpu/norm_rows.c: softmax, cross-entropy from logits and layer norm, row by row; batch norm by channels, row-major or
 * in channel blocks.
 *
 * Sums over rows (the weights' gradients of layer norm, everything of batch norm) are made for fixed groups of rows, lie in
 * workspace, and are joined in the order of the groups: variances by Chan's formula in double. */
#include "backend/cpu/gemm.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

typedef struct prepared {
    const dlt_simd *simd;
    int64_t rows, width, per_task, groups;
    /* batch norm: units are images of a channel block, or rows */
    int64_t units, unit_rows, unit_step, row_step, strip, strips, strip_step;
} prepared;

/* Rows of a task of about 8 microseconds: a function of the shape. */
static int64_t rows_per_task(int64_t rows, int64_t width, double ns)
{
    const double row = (double)width * ns + 10;
    const int64_t worth = (int64_t)(8000 / row) + 1, most = dlt_divide_up(rows, 128);
    return worth > most ? worth : most;
}

static const char *all_float(const dlt_cpu_query *query)
{
    const dlt_node *n = query->node;
    for (int i = 0; i < n->input_count + n->output_count; i++) {
        const dlt_dtype type = (i < n->input_count ? n->inputs[i] : n->outputs[i - n->input_count])->type;
        if (dlt_dtype_is_real(type) && type != DLT_F32) {
            return "needs float32";
        }
    }
    return NULL;
}

/* ---- softmax and cross-entropy ---- */

static bool prepare_rows(const dlt_cpu_query *query, dlt_cpu_schedule *schedule, double ns)
{
    const dlt_shape *s = &query->node->inputs[0]->shape;
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    p->simd = dlt_simd_of(query->isa);
    p->width = s->rank > 0 ? s->dim[s->rank - 1] : 1;
    p->rows = p->width > 0 ? dlt_shape_count(s) / p->width : 0;
    p->per_task = rows_per_task(p->rows, p->width, ns);
    schedule->prepared = p;
    schedule->phases = 1;
    schedule->tasks[0] = dlt_divide_up(p->rows, p->per_task);
    return true;
}

static bool prepare_softmax(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    return prepare_rows(query, schedule, 0.8);
}

static int64_t end_of(const prepared *p, int64_t task)
{
    return (task + 1) * p->per_task < p->rows ? (task + 1) * p->per_task : p->rows;
}

static void run_softmax(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    (void)phase;
    for (int64_t r = task * p->per_task; r < end_of(p, task); r++) {
        const int64_t at = r * p->width;
        if (call->node->op == DLT_OP_SOFTMAX) {
            p->simd->norm->softmax((float *)call->out[0] + at, (const float *)call->in[0] + at, p->width);
        } else {
            p->simd->norm->softmax_dx((float *)call->out[0] + at, (const float *)call->in[0] + at,
                                      (const float *)call->in[1] + at, p->width);
        }
    }
}

static void run_xent(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    const dlt_dtype type = call->node->inputs[1]->type;
    (void)phase;
    for (int64_t r = task * p->per_task; r < end_of(p, task); r++) {
        const int64_t at = r * p->width;
        int64_t target = 0;
        const float *t = NULL;
        if (dlt_dtype_is_real(type)) {
            t = (const float *)call->in[1] + at;
        } else {
            p->simd->load[DLT_COMPUTE_I64][type](&target, (const char *)call->in[1] + r * (int64_t)dlt_dtype_size(type), 1);
        }
        const float loss = p->simd->norm->xent(call->out[1] != NULL ? (float *)call->out[1] + at : NULL,
                                               (const float *)call->in[0] + at, t, target, p->width);
        if (call->out[0] != NULL) {
            ((float *)call->out[0])[r] = loss;
        }
    }
}

const dlt_cpu_kernel dlt_cpu_softmax_rows = {
    .name = "softmax_rows", .op = DLT_OP_SOFTMAX, .declines = all_float, .prepare = prepare_softmax, .run = run_softmax};
const dlt_cpu_kernel dlt_cpu_softmax_dx_rows = {
    .name = "softmax_dx_rows", .op = DLT_OP_SOFTMAX_DX, .declines = all_float, .prepare = prepare_softmax, .run = run_softmax};
const dlt_cpu_kernel dlt_cpu_softmax_xent_rows = {
    .name = "softmax_xent_rows", .op = DLT_OP_SOFTMAX_XENT, .declines = all_float, .prepare = prepare_softmax, .run = run_xent};

/* ---- layer norm ---- */

static bool prepare_layer(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_node *n = query->node;
    const dlt_norm_attrs *attrs = n->attrs;
    const bool forward = n->op == DLT_OP_LAYER_NORM;
    const dlt_shape *s = &n->inputs[forward ? 0 : 1]->shape;
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    p->simd = dlt_simd_of(query->isa);
    p->width = 1;
    for (int i = s->rank - attrs->axes; i < s->rank; i++) {
        p->width *= s->dim[i];
    }
    p->rows = p->width > 0 ? dlt_shape_count(s) / p->width : 0;
    p->per_task = rows_per_task(p->rows, p->width, 0.3);
    if (!forward && p->per_task < dlt_divide_up(p->rows, 32)) {
        p->per_task = dlt_divide_up(p->rows, 32); /* each task has sums of its own */
    }
    p->groups = dlt_divide_up(p->rows, p->per_task);
    schedule->prepared = p;
    schedule->phases = 1;
    schedule->tasks[0] = p->groups;
    if (!forward) {
        schedule->phases = 2;
        schedule->tasks[1] = 1;
        schedule->workspace_bytes = 2 * p->groups * p->width * (int64_t)sizeof(float);
    }
    return true;
}

static void put(void *out, int64_t at, float x)
{
    if (out != NULL) {
        ((float *)out)[at] = x;
    }
}

static void run_layer(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    const dlt_norm_attrs *attrs = call->node->attrs;
    const float *gamma = attrs->has_gamma ? call->in[1] : NULL;
    const float *beta = attrs->has_beta ? call->in[attrs->has_gamma ? 2 : 1] : NULL;
    (void)phase;
    for (int64_t r = task * p->per_task; r < end_of(p, task); r++) {
        float stats[3];
        p->simd->norm->layer(call->out[0] != NULL ? (float *)call->out[0] + r * p->width : NULL, stats,
                             (const float *)call->in[0] + r * p->width, gamma, beta, (float)attrs->epsilon, p->width);
        for (int k = 0; k < 3; k++) {
            put(call->out[1 + k], r, stats[k]);
        }
    }
}

static void run_layer_dx(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    const dlt_norm_attrs *attrs = call->node->attrs;
    float *sums = call->workspace; /* of dgamma, then of dbeta */
    if (phase == 1) {
        for (int k = 0; k < 2; k++) {
            float *from = sums + k * p->groups * p->width;
            if (call->out[1 + k] == NULL) {
                continue;
            }
            if (p->groups == 0) {
                memset(call->out[1 + k], 0, (size_t)p->width * sizeof *sums);
                continue;
            }
            dlt_gemm_join(p->simd, from, p->groups, p->width, 0, p->width);
            memcpy(call->out[1 + k], from, (size_t)p->width * sizeof *sums);
        }
        return;
    }
    const float *gamma = attrs->has_gamma ? call->in[4] : NULL;
    float *dgamma = call->out[1] != NULL ? sums + task * p->width : NULL;
    float *dbeta = call->out[2] != NULL ? sums + (p->groups + task) * p->width : NULL;
    for (int k = 0; k < 2; k++) {
        float *to = k == 0 ? dgamma : dbeta;
        if (to != NULL) {
            memset(to, 0, (size_t)p->width * sizeof *to);
        }
    }
    for (int64_t r = task * p->per_task; r < end_of(p, task); r++) {
        const int64_t at = r * p->width;
        p->simd->norm->layer_dx(call->out[0] != NULL ? (float *)call->out[0] + at : NULL, dgamma, dbeta,
                                (const float *)call->in[0] + at, (const float *)call->in[1] + at,
                                ((const float *)call->in[2])[r], ((const float *)call->in[3])[r], gamma, p->width);
    }
}

const dlt_cpu_kernel dlt_cpu_layer_norm_rows = {
    .name = "layer_norm_rows", .op = DLT_OP_LAYER_NORM, .declines = all_float, .prepare = prepare_layer, .run = run_layer};
const dlt_cpu_kernel dlt_cpu_layer_norm_dx_rows = {.name = "layer_norm_dx_rows",
                                                   .op = DLT_OP_LAYER_NORM_DX,
                                                   .declines = all_float,
                                                   .prepare = prepare_layer,
                                                   .run = run_layer_dx};

/* ---- batch norm ---- */

static const char *batch_declines(const dlt_cpu_query *query)
{
    const dlt_node *n = query->node;
    const bool forward = n->op == DLT_OP_BATCH_NORM;
    const dlt_layout layout = n->inputs[0]->layout;
    const dlt_value *others[] = {forward ? n->outputs[0] : n->inputs[1], n->outputs[0]};
    for (int i = 0; i < 2; i++) {
        if (!dlt_layout_equal(layout, others[i]->layout)) {
            return "needs one layout";
        }
    }
    if (layout.kind != DLT_LAYOUT_ROW_MAJOR && layout.kind != DLT_LAYOUT_CHANNEL_BLOCKED) {
        return "needs rows or channel blocks";
    }
    if (dlt_shape_count(&n->inputs[0]->shape) == 0) {
        return "empty";
    }
    return all_float(query);
}

static bool prepare_batch(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_value *x = query->node->inputs[0];
    const dlt_shape *s = &x->shape;
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    p->simd = dlt_simd_of(query->isa);
    p->width = s->dim[s->rank - 1];
    p->rows = dlt_shape_count(s) / p->width;
    if (x->layout.kind == DLT_LAYOUT_CHANNEL_BLOCKED) {
        const int64_t positions = p->rows / s->dim[0];
        p->strip = x->layout.block;
        p->units = s->dim[0];
        p->unit_rows = positions;
        p->unit_step = positions * p->width;
        p->row_step = p->strip;
        p->strip_step = positions * p->strip;
    } else {
        p->strip = p->width < 64 ? p->width : 64;
        p->units = p->rows;
        p->unit_rows = 1;
        p->unit_step = p->row_step = p->width;
        p->strip_step = p->strip;
    }
    p->strips = dlt_divide_up(p->width, p->strip);
    /* groups of units: a share of work that stays in the second-level cache */
    const int64_t unit = p->unit_rows * p->strip, cache = dlt_divide_up(32768, unit), share = dlt_divide_up(p->units, 64);
    p->per_task = cache > share ? cache : share;
    p->groups = dlt_divide_up(p->units, p->per_task);
    schedule->prepared = p;
    schedule->phases = 3;
    schedule->tasks[0] = schedule->tasks[2] = p->groups * p->strips;
    schedule->tasks[1] = 1;
    /* two sums a group and channel, then five numbers a channel */
    schedule->workspace_bytes = (2 * p->groups + 5) * p->width * (int64_t)sizeof(float);
    return true;
}

/* What a task works on: the strip's first channel, and its rows. */
static dlt_channel_rows rows_of(const prepared *p, int64_t task, int64_t *channel, int64_t *offset)
{
    const int64_t strip = task % p->strips, first = task / p->strips * p->per_task;
    const int64_t units = p->units - first < p->per_task ? p->units - first : p->per_task;
    *channel = strip * p->strip;
    *offset = first * p->unit_step + strip * p->strip_step;
    const int64_t width = p->width - *channel < p->strip ? p->width - *channel : p->strip;
    if (p->unit_rows == 1) { /* rows of one segment */
        return (dlt_channel_rows){.segments = 1, .rows = units, .row_step = p->unit_step, .width = width};
    }
    return (dlt_channel_rows){units, p->unit_step, p->unit_rows, p->row_step, width};
}

static float *channel_numbers(const dlt_cpu_call *call, const prepared *p, int k)
{
    return (float *)call->workspace + (2 * p->groups + k) * p->width;
}

/* Joins the groups' moments: Chan, Golub, LeVeque, "Algorithms for computing the sample variance", 1983. */
static void join_moments(const dlt_cpu_call *call, const prepared *p)
{
    const dlt_norm_attrs *attrs = call->node->attrs;
    const float *means = call->workspace, *squares = means + p->groups * p->width;
    const float *gamma = attrs->has_gamma ? call->in[1] : NULL;
    const float *beta = attrs->has_beta ? call->in[attrs->has_gamma ? 2 : 1] : NULL;
    for (int64_t c = 0; c < p->width; c++) {
        double mean = 0, sum = 0, count = 0;
        for (int64_t g = 0; g < p->groups; g++) {
            const int64_t units = p->units - g * p->per_task < p->per_task ? p->units - g * p->per_task : p->per_task;
            const double n = (double)(units * p->unit_rows), d = (double)means[g * p->width + c] - mean;
            sum += (double)squares[g * p->width + c] + d * d * count * n / (count + n);
            mean += d * n / (count + n);
            count += n;
        }
        const double variance = sum / count, rstd = 1 / sqrt(variance + attrs->epsilon);
        put(call->out[1], c, (float)mean);
        put(call->out[2], c, (float)variance);
        put(call->out[3], c, (float)rstd);
        channel_numbers(call, p, 0)[c] = (float)mean;
        channel_numbers(call, p, 1)[c] = (float)rstd;
        channel_numbers(call, p, 2)[c] = gamma != NULL ? gamma[c] : 1;
        channel_numbers(call, p, 3)[c] = beta != NULL ? beta[c] : 0;
    }
}

static void run_batch(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    float *means = call->workspace, *squares = means + p->groups * p->width;
    int64_t channel, offset;
    if (phase == 1) {
        join_moments(call, p);
        return;
    }
    const dlt_channel_rows r = rows_of(p, task, &channel, &offset);
    const float *x = (const float *)call->in[0] + offset;
    if (phase == 0) {
        const int64_t at = task / p->strips * p->width + channel;
        p->simd->norm->moments(means + at, squares + at, x, &r);
    } else if (call->out[0] != NULL) {
        p->simd->norm->batch((float *)call->out[0] + offset, x, channel_numbers(call, p, 0) + channel,
                             channel_numbers(call, p, 1) + channel, channel_numbers(call, p, 2) + channel,
                             channel_numbers(call, p, 3) + channel, &r);
    }
}

static void run_batch_dx(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    const dlt_norm_attrs *attrs = call->node->attrs;
    float *sums = call->workspace, *products = sums + p->groups * p->width;
    const float *mean = call->in[2], *rstd = call->in[3];
    int64_t channel, offset;
    if (phase == 1) {
        dlt_gemm_join(p->simd, sums, p->groups, p->width, 0, p->width);
        dlt_gemm_join(p->simd, products, p->groups, p->width, 0, p->width);
        for (int64_t c = 0; c < p->width; c++) {
            put(call->out[1], c, products[c]);
            put(call->out[2], c, sums[c]);
            channel_numbers(call, p, 0)[c] = rstd[c] * (attrs->has_gamma ? ((const float *)call->in[4])[c] : 1);
            channel_numbers(call, p, 1)[c] = sums[c] / (float)p->rows;
            channel_numbers(call, p, 2)[c] = products[c] / (float)p->rows;
        }
        return;
    }
    const dlt_channel_rows r = rows_of(p, task, &channel, &offset);
    const float *dy = (const float *)call->in[0] + offset, *x = (const float *)call->in[1] + offset;
    if (phase == 0) {
        const int64_t at = task / p->strips * p->width + channel;
        p->simd->norm->batch_sums(sums + at, products + at, dy, x, mean + channel, rstd + channel, &r);
    } else if (call->out[0] != NULL) {
        p->simd->norm->batch_dx((float *)call->out[0] + offset, dy, x, mean + channel, rstd + channel,
                                channel_numbers(call, p, 0) + channel, channel_numbers(call, p, 1) + channel,
                                channel_numbers(call, p, 2) + channel, &r);
    }
}

const dlt_cpu_kernel dlt_cpu_batch_norm_channels = {.name = "batch_norm_channels",
                                                    .op = DLT_OP_BATCH_NORM,
                                                    .layouts = true,
                                                    .declines = batch_declines,
                                                    .prepare = prepare_batch,
                                                    .run = run_batch};
const dlt_cpu_kernel dlt_cpu_batch_norm_dx_channels = {.name = "batch_norm_dx_channels",
                                                       .op = DLT_OP_BATCH_NORM_DX,
                                                       .layouts = true,
                                                       .declines = batch_declines,
                                                       .prepare = prepare_batch,
                                                       .run = run_batch_dx};
