/* backend/cpu/rnn_rows_dx.c: gradient of LSTM, GRU (reset after the product) and simple recurrence, in float32 but for the factors of products. rnn_rows.h says how.
 *
 * Phases: pack the transposed kernels, and x and h as the products for the weights' gradients want them (rows of x that are masked as 0: what
 * stands in padding must not reach a gradient); back through the steps by groups of rows, which gives dz, the gradient of all
 * gates before their activation; gradients of inputs, weights and biases.
 *
 * A row of dz is U columns a gate; GRU has a fourth, the gradient of what its reset gate is multiplied by, which takes the place of the third in
 * everything that has to do with the recurrent kernel. */
#include "backend/cpu/rnn_rows.h"

#include "backend/cpu/ref.h"
#include "base/alloc.h"

#include <string.h>

enum {
    PACKED_ROWS = 512, /* of x or h that a task packs, about */
    STRIP = 64         /* columns of dz that a task of the last phase takes; a multiple of every nr */
};

typedef struct prepared {
    dlt_rnn_shape r;
    int first;                /* operand of the node that is x */
    const dlt_gemm_ops *weights; /* of the products for the weights' gradients. Pairs of rows of x and h are made within a step: with an odd
                                  * batch, or rows that are masked one by one, they are multiplied as float32 */
    int64_t dz_width;         /* of a row of dz */
    dlt_rnn_matrix kernel;    /* transposed, as the next two; no columns: x was projected already */
    dlt_rnn_matrix recurrent; /* GRU: of update and reset gate */
    dlt_rnn_matrix fresh;     /* GRU: of the fresh state; no columns: not GRU */
    int64_t x_panels, panels; /* columns of x, then of h, in panels of T B rows */
    int64_t a, dz, dh, dc;    /* floats from the start of the workspace */
    int64_t chunk, pack_tasks; /* steps that a task packs */
    dlt_rnn_cut cut;
    int64_t row_parts, strips; /* of the weights' gradients */
} prepared;

static bool prepare(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_rnn_attrs *attrs = query->node->attrs;
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    p->first = (int)attrs->has_dy + (int)attrs->has_dlast;
    p->r = dlt_rnn_of(query->node, p->first, query->isa);
    dlt_rnn_shape *r = &p->r;
    const dlt_gemm_ops *gemm = r->gemm;
    const int64_t u = r->units, rows = r->steps * r->batch;
    int64_t at = 0;
    p->weights = r->batch % gemm->deep == 0 && r->mask < 0 ? gemm : r->simd->gemm;
    dlt_rnn_lay_out(r, true);
    p->dz_width = r->gru ? 4 * u : r->width;
    p->kernel = dlt_rnn_matrix_at(gemm, r->width, r->kernel >= 0 ? r->channels : 0, &at);
    p->recurrent = dlt_rnn_matrix_at(gemm, r->gru ? 2 * u : r->width, u, &at);
    p->fresh = dlt_rnn_matrix_at(gemm, u, r->gru ? u : 0, &at);
    p->x_panels = r->kernel >= 0 ? dlt_divide_up(r->channels, p->weights->mr) : 0;
    p->panels = p->x_panels + dlt_divide_up(u, p->weights->mr);
    p->a = at;
    p->dz = p->a + p->panels * p->weights->mr * dlt_gemm_steps(p->weights, rows);
    p->dh = p->dz + rows * p->dz_width;
    p->dc = p->dh + r->batch * u;
    at = p->dc + (r->lstm ? r->batch * u : 0);
    p->chunk = dlt_divide_up(PACKED_ROWS, r->batch);
    p->pack_tasks = dlt_divide_up(r->steps, p->chunk);
    p->cut = dlt_rnn_cut_of(r, r->kernel >= 0 ? r->channels : r->width);
    p->row_parts = dlt_divide_up(p->panels * p->weights->mr, DLT_GEMM_TALL);
    p->strips = dlt_divide_up(p->dz_width, STRIP) + (r->gru ? 2 : 0); /* ranges of their own may end in strips of their own */
    schedule->workspace_bytes = at * (int64_t)sizeof(float);
    schedule->prepared = p;
    schedule->phases = 3;
    schedule->tasks[0] = p->kernel.tasks + p->recurrent.tasks + p->fresh.tasks + p->pack_tasks;
    schedule->tasks[1] = dlt_divide_up(r->batch, r->group);
    schedule->tasks[2] = p->cut.tasks + p->strips * p->row_parts + dlt_divide_up(p->dz_width, STRIP);
    return true;
}

/* Result that is the gradient of operand k of the RNN; NULL: nobody wants it. */
static float *gradient_of(const dlt_cpu_call *call, int first, int k)
{
    int at = 0;
    for (int i = 0; i < k; i++) {
        at += dlt_dtype_is_real(call->node->inputs[first + i]->type);
    }
    return k >= 0 ? call->out[at] : NULL;
}

/* ---- packing ---- */

/* Rows of one step: x, then h before the step, cut into panels by column. */
static void pack_step(const prepared *p, const void *const *in, float *work, int64_t t)
{
    const dlt_rnn_shape *r = &p->r;
    const dlt_gemm_ops *gemm = p->weights;
    const uint8_t *mask = r->mask >= 0 ? in[r->mask] : NULL;
    const int64_t steps = dlt_gemm_steps(gemm, r->batch), rows = r->steps * steps, h_panels = p->panels - p->x_panels;
    const float *x = (const float *)in[0] + dlt_rnn_time(r, t) * r->channels;
    const float *h = (const float *)in[r->inputs + 1] + r->h + t * r->batch * r->units;
    float *to = work + p->a + t * steps * gemm->mr;
    for (int64_t i = 0; i < p->x_panels; i++, to += rows * gemm->mr) {
        const int64_t first = r->channels * i / p->x_panels, count = r->channels * (i + 1) / p->x_panels - first;
        gemm->pack_columns(to, x + first, r->steps * r->channels, count, r->batch);
        for (int64_t b = 0; b < r->batch && mask != NULL; b++) {
            if (dlt_rnn_masked(r, mask, b, t)) {
                memset(to + b * gemm->mr, 0, (size_t)count * sizeof *to);
            }
        }
    }
    for (int64_t i = 0; i < h_panels; i++, to += rows * gemm->mr) {
        const int64_t first = r->units * i / h_panels, count = r->units * (i + 1) / h_panels - first;
        gemm->pack_columns(to, h + first, r->units, count, r->batch);
    }
}

static void pack(const dlt_cpu_call *call, const prepared *p, int64_t task)
{
    const dlt_rnn_shape *r = &p->r;
    const dlt_gemm_ops *gemm = r->gemm;
    const void *const *in = call->in + p->first;
    const void *recurrent = in[r->recurrent];
    const dlt_dtype type = call->node->inputs[p->first + r->recurrent]->type;
    float *work = call->workspace;
    if (task < p->kernel.tasks) {
        dlt_rnn_pack(gemm, &p->kernel, work, in[r->kernel], DLT_F32, 1, r->width, task);
    } else if ((task -= p->kernel.tasks) < p->recurrent.tasks) {
        dlt_rnn_pack(gemm, &p->recurrent, work, recurrent, type, 1, r->width, task);
    } else if ((task -= p->recurrent.tasks) < p->fresh.tasks) {
        dlt_rnn_pack(gemm, &p->fresh, work, dlt_gemm_at(recurrent, type, 2 * r->units), type, 1, r->width, task);
    } else {
        const int64_t t = (task - p->fresh.tasks) * p->chunk;
        for (int64_t i = t; i < dlt_rnn_least(t + p->chunk, r->steps); i++) {
            pack_step(p, in, work, i);
        }
    }
}

/* ---- back through the steps ---- */

static void run_group(const dlt_cpu_call *call, const prepared *p, int64_t task)
{
    const dlt_rnn_shape *r = &p->r;
    const dlt_gemm_ops *gemm = r->gemm;
    const dlt_rnn_ops *cell = r->simd->rnn;
    dlt_ew_fn *const add = r->simd->ew[DLT_COMPUTE_F32][DLT_EW_ADD][0];
    const void *const *in = call->in + p->first;
    const int64_t first = task * r->group, rows = dlt_rnn_least(r->group, r->batch - first), u = r->units, every = r->batch * u;
    float *work = call->workspace, *dh = work + p->dh + first * u, *dc = work + p->dc + first * u;
    const float *saved = in[r->inputs + 1], *dy = r->attrs->has_dy ? call->in[0] : NULL;
    const float *dlast = r->attrs->has_dlast ? call->in[r->attrs->has_dy ? 1 : 0] : NULL;
    const uint8_t *mask = r->mask >= 0 ? in[r->mask] : NULL;
    const size_t bytes = (size_t)(rows * u) * sizeof(float);
    if (dlast != NULL) {
        memcpy(dh, dlast + first * u, bytes);
    } else {
        memset(dh, 0, bytes);
    }
    if (r->lstm) {
        memset(dc, 0, bytes);
    }
    for (int64_t t = r->steps - 1; t >= 0; t--) {
        const int64_t at = t * r->batch + first;
        float *dz = work + p->dz + at * p->dz_width;
        bool any = false;
        for (int64_t b = 0; b < rows; b++) {
            const bool masked = dlt_rnn_masked(r, mask, first + b, t);
            const float *z = saved + r->gate + (at + b) * r->width, *h = saved + r->h + t * every + (first + b) * u;
            float *to = dz + b * p->dz_width, *s = dh + b * u;
            if (dy != NULL && !(masked && r->attrs->zero_masked)) {
                add(s, s, dy + ((first + b) * r->steps + t) * u, NULL, u);
            }
            any = any || !masked;
            if (masked) {
                memset(to, 0, (size_t)p->dz_width * sizeof *to);
            } else if (r->lstm) {
                const float *c = saved + r->c + t * every + (first + b) * u;
                cell->lstm_back(to, s, dc + b * u, z, c, c + every, u);
            } else if (r->gru) {
                cell->gru_back(to, s, z, saved + r->inner + (at + b) * u, h, u);
            } else {
                cell->simple_back(to, s, z, u);
            }
        }
        if (any) { /* what came through the product; rows that are masked have none */
            dlt_rnn_times(gemm, dz, p->dz_width, rows, &p->recurrent, work, 0, u, dh, u, true, call->scratch);
            dlt_rnn_times(gemm, dz + 3 * u, p->dz_width, r->gru ? rows : 0, &p->fresh, work, 0, u, dh, u, true, call->scratch);
        }
    }
    for (int s = 0; s < r->attrs->body.states && r->initial >= 0; s++) {
        float *to = gradient_of(call, p->first, r->initial + s);
        if (to != NULL) {
            memcpy(to + first * u, s == 0 ? dh : dc, bytes);
        }
    }
}

/* ---- gradients of inputs and weights ---- */

/* dx = dz kernel^T */
static void inputs_back(const dlt_cpu_call *call, const prepared *p, int64_t task)
{
    const dlt_rnn_shape *r = &p->r;
    const dlt_rnn_block k = dlt_rnn_block_of(r, &p->cut, task);
    const float *dz = (const float *)call->workspace + p->dz + k.z * p->dz_width;
    float *dx = gradient_of(call, p->first, 0);
    if (dx == NULL) {
        return;
    }
    dx += k.x * p->cut.cols + k.first_col;
    if (r->kernel >= 0) {
        dlt_rnn_times(r->gemm, dz, k.z_step * p->dz_width, k.rows, &p->kernel, call->workspace, k.first_col, k.cols, dx,
                      k.x_step * r->channels, false, call->scratch);
        return;
    }
    for (int64_t i = 0; i < k.rows; i++) {
        memcpy(dx + i * k.x_step * r->width, dz + i * k.z_step * p->dz_width + k.first_col, (size_t)k.cols * sizeof *dx);
    }
}

/* Columns of dz that meet the same matrices. */
typedef struct strip {
    int64_t first, cols;
    int64_t x_column, h_column; /* of the gradient with respect to kernel and recurrent kernel; -1: these columns are not part of it */
} strip;

/* Strip i; no columns: there are fewer. */
static strip strip_of(const prepared *p, int64_t i)
{
    const int64_t u = p->r.units, ranges[][2] = {{0, p->r.gru ? 2 * u : p->dz_width}, {2 * u, 3 * u}, {3 * u, 4 * u}};
    for (int k = 0; k < (p->r.gru ? 3 : 1); k++) {
        const int64_t count = dlt_divide_up(ranges[k][1] - ranges[k][0], STRIP), first = ranges[k][0] + i * STRIP;
        if (i < count) {
            return (strip){.first = first,
                           .cols = dlt_rnn_least(STRIP, ranges[k][1] - first),
                           .x_column = k < 2 ? first : -1,
                           .h_column = k == 0 ? first : k == 1 ? -1 : first - u};
        }
        i -= count;
    }
    return (strip){0};
}

/* Some rows of a strip of the gradients of both kernels: sums of x dz and h dz over all rows of all steps. */
static void weights_back(const dlt_cpu_call *call, const prepared *p, int64_t task)
{
    const dlt_rnn_shape *r = &p->r;
    const dlt_gemm_ops *gemm = p->weights;
    const strip s = strip_of(p, task / p->row_parts);
    const int64_t part = task % p->row_parts, rows = r->steps * r->batch, h_panels = p->panels - p->x_panels;
    const int64_t chunks = dlt_gemm_chunks(gemm, rows), steps = dlt_gemm_steps(gemm, rows);
    const float *work = call->workspace, *dz = work + p->dz + s.first;
    float *const dkernel = s.x_column >= 0 ? gradient_of(call, p->first, r->kernel) : NULL;
    float *const drecurrent = s.h_column >= 0 ? gradient_of(call, p->first, r->recurrent) : NULL;
    for (int64_t k = 0; k < chunks && s.cols > 0; k++) {
        const dlt_gemm_chunk ch = dlt_gemm_chunk_at(gemm, rows, k);
        gemm->pack_b(call->scratch, dz + ch.first * p->dz_width, p->dz_width, 1, ch.depth, s.cols);
        for (int64_t i = p->panels * part / p->row_parts; i < p->panels * (part + 1) / p->row_parts; i++) {
            const bool of_x = i < p->x_panels;
            const int64_t panel = of_x ? i : i - p->x_panels, all = of_x ? p->x_panels : h_panels, height = of_x ? r->channels : r->units;
            const int64_t first = height * panel / all, count = height * (panel + 1) / all - first;
            float *const to = of_x ? dkernel : drecurrent;
            if (to != NULL) {
                gemm->panel(work + p->a + (i * steps + ch.first / gemm->deep) * gemm->mr, gemm->mr, count, call->scratch, gemm->nr,
                            ch.steps * gemm->nr, ch.steps,
                            to + first * r->width + (of_x ? s.x_column : s.h_column), r->width, s.cols, k > 0);
            }
        }
    }
}

static void biases_back(const dlt_cpu_call *call, const prepared *p, int64_t task)
{
    const dlt_rnn_shape *r = &p->r;
    const int64_t first = task * STRIP, cols = dlt_rnn_least(STRIP, p->dz_width - first), u = r->units;
    float *const bias = gradient_of(call, p->first, r->bias), *const more = gradient_of(call, p->first, r->recurrent_bias);
    double sum[STRIP] = {0}; /* long sums of like terms: float would lose digits */
    if (bias == NULL && more == NULL) {
        return;
    }
    r->simd->rnn->sums(sum, (const float *)call->workspace + p->dz + first, p->dz_width, r->steps * r->batch, cols);
    for (int64_t j = first; j < first + cols; j++) {
        if (bias != NULL && j < r->width) {
            bias[j] = (float)sum[j - first];
        }
        if (more != NULL && !(r->gru && j >= 2 * u && j < 3 * u)) {
            more[r->gru && j >= 3 * u ? j - u : j] = (float)sum[j - first];
        }
    }
}

static void run(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    if (phase == 0) {
        pack(call, p, task);
    } else if (phase == 1) {
        run_group(call, p, task);
    } else if (task < p->cut.tasks) {
        inputs_back(call, p, task);
    } else if ((task -= p->cut.tasks) < p->strips * p->row_parts) {
        weights_back(call, p, task);
    } else {
        biases_back(call, p, task - p->strips * p->row_parts);
    }
}

const dlt_cpu_kernel dlt_cpu_rnn_dx_rows = {
    .name = "rnn_dx_rows", .op = DLT_OP_RNN_DX, .declines = dlt_rnn_declines, .prepare = prepare, .run = run};
