/* backend/cpu/rnn_rows.c: LSTM, GRU (reset after the product) and simple recurrence, in float32 but for the factors of products. rnn_rows.h says how. */
#include "backend/cpu/rnn_rows.h"

#include "backend/cpu/ref.h"
#include "base/alloc.h"

#include <string.h>

enum {
    GROUP = 16,            /* rows that go through the steps together */
    GROUP_FAR = 32,        /* where the recurrent kernel does not stay in the second-level cache: each read serves more rows */
    NEAR_FLOATS = 160 << 10,
    DEPTH = 512,           /* of a packed block */
    STRIP = 256            /* columns that are packed, or multiplied by, at a time; a multiple of every nr */
};

/* ---- what both kernels share ---- */

dlt_rnn_shape dlt_rnn_of(const dlt_node *n, int first, dlt_isa isa)
{
    const dlt_rnn_attrs *attrs = n->attrs;
    const dlt_shape *x = &n->inputs[first]->shape;
    dlt_rnn_shape r = {.attrs = attrs,
                 .simd = dlt_simd_of(isa),
                 .batch = x->dim[0],
                 .steps = x->dim[1],
                 .channels = x->dim[2],
                 .units = attrs->units,
                 .lstm = attrs->cell == DLT_RNN_LSTM,
                 .gru = attrs->cell == DLT_RNN_GRU};
    int at = 1;
    r.width = (r.lstm ? 4 : r.gru ? 3 : 1) * r.units;
    r.kernel = attrs->has_kernel ? at++ : -1;
    r.bias = attrs->has_bias ? at++ : -1;
    r.recurrent = at++;
    r.recurrent_bias = attrs->body.params == 2 ? at++ : -1;
    r.mask = attrs->has_mask ? at++ : -1;
    r.initial = attrs->has_initial ? at : -1;
    r.inputs = at + (attrs->has_initial ? attrs->body.states : 0);
    r.gemm = n->inputs[first + r.recurrent]->type == DLT_BF16 ? dlt_gemm_bf16_of(isa) : r.simd->gemm;
    r.group = r.units * r.width <= NEAR_FLOATS ? GROUP : GROUP_FAR;
    return r;
}

void dlt_rnn_lay_out(dlt_rnn_shape *r, bool all_steps)
{
    const int64_t state = r->batch * r->units * (all_steps ? r->steps + 1 : 1);
    r->h = 0;
    r->c = r->h + state;
    r->gate = r->c + (r->lstm ? state : 0);
    r->inner = r->gate + r->steps * r->batch * r->width;
    r->end = r->inner + (r->gru ? r->batch * r->units * (all_steps ? r->steps : 1) : 0);
}

static bool named(const char *name, const char *wanted)
{
    return name != NULL && strcmp(name, wanted) == 0;
}

const char *dlt_rnn_declines(const dlt_cpu_query *query)
{
    const dlt_node *n = query->node;
    const dlt_rnn_attrs *a = n->attrs;
    const int x = n->op == DLT_OP_RNN ? 0 : (int)a->has_dy + (int)a->has_dlast;
    if (n->inputs[x]->type != DLT_F32) {
        return "needs float32";
    }
    if (a->cell != DLT_RNN_LSTM && a->cell != DLT_RNN_GRU && a->cell != DLT_RNN_SIMPLE) {
        return "knows LSTM, GRU with reset_after and SimpleRNN, without recurrent_dropout";
    }
    if (!named(a->activation, "tanh") || (a->cell != DLT_RNN_SIMPLE && !named(a->recurrent_activation, "sigmoid"))) {
        return "needs tanh and sigmoid";
    }
    const dlt_dtype type = n->inputs[x + 1 + (int)a->has_kernel + (int)a->has_bias]->type;
    if (!(type == DLT_F32 || (type == DLT_BF16 && dlt_gemm_bf16_of(query->isa) != NULL))) {
        return "needs a recurrent kernel of float32, or bfloat16 and instructions for it";
    }
    return NULL;
}

dlt_rnn_matrix dlt_rnn_matrix_at(const dlt_gemm_ops *gemm, int64_t depth, int64_t cols, int64_t *at)
{
    const dlt_rnn_matrix m = {
        .depth = depth, .cols = cols, .at = *at, .tasks = dlt_divide_up(depth, DEPTH) * dlt_divide_up(cols, STRIP)};
    *at += dlt_divide_up(cols, gemm->nr) * gemm->nr * dlt_gemm_steps(gemm, depth);
    return m;
}

/* Where column `first` of the block of rows from l on lies. */
static int64_t packed_place(const dlt_gemm_ops *gemm, const dlt_rnn_matrix *m, int64_t l, int64_t first)
{
    const int64_t wide = dlt_divide_up(m->cols, gemm->nr) * gemm->nr;
    return m->at + dlt_gemm_steps(gemm, l) * wide + first * dlt_gemm_steps(gemm, dlt_rnn_least(DEPTH, m->depth - l));
}

void dlt_rnn_pack(const dlt_gemm_ops *gemm, const dlt_rnn_matrix *m, float *work, const void *from, dlt_dtype type, int64_t row, int64_t col,
                  int64_t task)
{
    const int64_t strips = dlt_divide_up(m->cols, STRIP), l = task / strips * DEPTH, first = task % strips * STRIP;
    dlt_gemm_pack_b(gemm, work + packed_place(gemm, m, l, first), dlt_gemm_at(from, type, l * row + first * col), type, row, col,
                    dlt_rnn_least(DEPTH, m->depth - l), dlt_rnn_least(STRIP, m->cols - first));
}

void dlt_rnn_times(const dlt_gemm_ops *gemm, const float *a, int64_t a_row, int64_t rows, const dlt_rnn_matrix *m, const float *work,
                   int64_t first, int64_t cols, float *c, int64_t c_row, bool add, float *pack)
{
    const int64_t panels = dlt_divide_up(rows, gemm->mr);
    for (int64_t l = 0; l < m->depth; l += DEPTH) {
        const int64_t depth = dlt_rnn_least(DEPTH, m->depth - l), steps = dlt_gemm_steps(gemm, depth);
        for (int64_t p = 0; p < panels; p++) {
            const int64_t row = rows * p / panels, count = rows * (p + 1) / panels - row;
            const float *at[32];
            for (int64_t i = 0; i < count; i++) {
                at[i] = a + (row + i) * a_row + l;
            }
            gemm->pack_rows(pack, at, count, depth);
            gemm->panel(pack, gemm->mr, count, work + packed_place(gemm, m, l, first), gemm->nr, steps * gemm->nr, steps, c + row * c_row,
                        c_row, cols, add || l > 0);
        }
    }
}

/* Rows of one step lie together in processing order and are many there: by sample only where they are few. */
dlt_rnn_cut dlt_rnn_cut_of(const dlt_rnn_shape *r, int64_t cols)
{
    dlt_rnn_cut cut = {.by_sample = r->batch < 28 && r->steps > r->batch, .cols = cols};
    cut.major = cut.by_sample ? r->batch : r->steps;
    cut.row_blocks = dlt_divide_up(cut.by_sample ? r->steps : r->batch, DLT_GEMM_ROWS);
    cut.col_blocks = dlt_divide_up(cols, STRIP);
    cut.tasks = cut.major * cut.row_blocks * cut.col_blocks;
    return cut;
}

dlt_rnn_block dlt_rnn_block_of(const dlt_rnn_shape *r, const dlt_rnn_cut *cut, int64_t task)
{
    const int64_t col = task % cut->col_blocks, row = task / cut->col_blocks % cut->row_blocks;
    const int64_t major = task / cut->col_blocks / cut->row_blocks, minor = cut->by_sample ? r->steps : r->batch;
    const int64_t first = dlt_gemm_edge(minor, cut->row_blocks, row, 1);
    dlt_rnn_block k = {.rows = dlt_gemm_edge(minor, cut->row_blocks, row + 1, 1) - first,
                       .first_col = col * STRIP,
                       .cols = dlt_rnn_least(STRIP, cut->cols - col * STRIP)};
    if (cut->by_sample) {
        k.x = major * r->steps + dlt_rnn_time(r, first);
        k.x_step = r->attrs->backwards ? -1 : 1;
        k.z = first * r->batch + major;
        k.z_step = r->batch;
    } else {
        k.x = first * r->steps + dlt_rnn_time(r, major);
        k.x_step = r->steps;
        k.z = major * r->batch + first;
        k.z_step = 1;
    }
    return k;
}

/* ---- RNN ----
 * Phases: pack the kernels; project all steps; go through the steps by groups of rows. */

typedef struct prepared {
    dlt_rnn_shape r;
    bool saves;               /* somebody wants `saved` */
    int64_t states;           /* what stands for `saved` otherwise: floats from the start of the workspace */
    dlt_rnn_matrix kernel;    /* no columns: x is projected already */
    dlt_rnn_matrix recurrent; /* GRU: of update and reset gate */
    dlt_rnn_matrix fresh;     /* GRU: of the fresh state, whose product stays apart; no columns: not GRU */
    dlt_rnn_cut cut;
} prepared;

static bool is_used(const dlt_graph *g, const dlt_value *v)
{
    for (int i = 0; i < g->node_count; i++) {
        for (int k = 0; k < g->nodes[i]->input_count; k++) {
            if (g->nodes[i]->inputs[k] == v) {
                return true;
            }
        }
    }
    return false;
}

static bool prepare(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    p->r = dlt_rnn_of(query->node, 0, query->isa);
    dlt_rnn_shape *r = &p->r;
    const dlt_gemm_ops *gemm = r->gemm;
    int64_t at = 0;
    p->kernel = dlt_rnn_matrix_at(gemm, r->channels, r->kernel >= 0 ? r->width : 0, &at);
    p->recurrent = dlt_rnn_matrix_at(gemm, r->units, r->gru ? 2 * r->units : r->width, &at);
    p->fresh = dlt_rnn_matrix_at(gemm, r->units, r->gru ? r->units : 0, &at);
    p->cut = dlt_rnn_cut_of(r, r->width);
    p->saves = is_used(query->graph, query->node->outputs[2]);
    p->states = at;
    dlt_rnn_lay_out(r, true);
    schedule->opaque_bytes = r->end * (int64_t)sizeof(float);
    if (!p->saves) {
        dlt_rnn_lay_out(r, false);
        at += r->end;
    }
    schedule->workspace_bytes = at * (int64_t)sizeof(float);
    schedule->prepared = p;
    schedule->phases = 3;
    schedule->tasks[0] = p->kernel.tasks + p->recurrent.tasks + p->fresh.tasks;
    schedule->tasks[1] = p->cut.tasks;
    schedule->tasks[2] = dlt_divide_up(r->batch, r->group);
    return true;
}

static float *saved_of(const dlt_cpu_call *call, const prepared *p)
{
    return p->saves ? call->out[2] : (float *)call->workspace + p->states;
}

static void pack(const dlt_cpu_call *call, const prepared *p, int64_t task)
{
    const dlt_rnn_shape *r = &p->r;
    const dlt_gemm_ops *gemm = r->gemm;
    const void *recurrent = call->in[r->recurrent];
    const dlt_dtype type = call->node->inputs[r->recurrent]->type;
    if (task < p->kernel.tasks) {
        dlt_rnn_pack(gemm, &p->kernel, call->workspace, call->in[r->kernel], DLT_F32, r->width, 1, task);
    } else if ((task -= p->kernel.tasks) < p->recurrent.tasks) {
        dlt_rnn_pack(gemm, &p->recurrent, call->workspace, recurrent, type, r->width, 1, task);
    } else {
        dlt_rnn_pack(gemm, &p->fresh, call->workspace, dlt_gemm_at(recurrent, type, 2 * r->units), type, r->width, 1,
                     task - p->recurrent.tasks);
    }
}

/* z = x kernel + bias, or x itself where it is projected already. The recurrent bias of gates that do not tell the two sums apart
 * is added here too. */
static void project(const dlt_cpu_call *call, const prepared *p, int64_t task)
{
    const dlt_rnn_shape *r = &p->r;
    const dlt_rnn_block k = dlt_rnn_block_of(r, &p->cut, task);
    const float *x = (const float *)call->in[0] + k.x * (r->kernel < 0 ? r->width : r->channels);
    const float *bias = r->bias >= 0 ? call->in[r->bias] : NULL;
    const float *more = r->recurrent_bias >= 0 ? call->in[r->recurrent_bias] : NULL;
    const int64_t both = r->gru ? 2 * r->units : r->width; /* columns that take `more` */
    float *z = saved_of(call, p) + r->gate + k.z * r->width + k.first_col, start[STRIP];
    for (int64_t j = 0; j < k.cols; j++) {
        start[j] = bias != NULL ? bias[k.first_col + j] : 0;
        start[j] += more != NULL && k.first_col + j < both ? more[k.first_col + j] : 0;
    }
    for (int64_t i = 0; i < k.rows; i++) {
        float *to = z + i * k.z_step * r->width;
        if (r->kernel >= 0) {
            memcpy(to, start, (size_t)k.cols * sizeof *to);
        } else {
            const float *from = x + i * k.x_step * r->width + k.first_col;
            for (int64_t j = 0; j < k.cols; j++) {
                to[j] = from[j] + start[j];
            }
        }
    }
    if (r->kernel >= 0) {
        dlt_rnn_times(r->gemm, x, k.x_step * r->channels, k.rows, &p->kernel, call->workspace, k.first_col, k.cols, z,
                      k.z_step * r->width, true, call->scratch);
    }
}

/* One group of rows through all steps. */
static void run_group(const dlt_cpu_call *call, const prepared *p, int64_t task)
{
    const dlt_rnn_shape *r = &p->r;
    const dlt_gemm_ops *gemm = r->gemm;
    const dlt_rnn_ops *cell = r->simd->rnn;
    const int64_t first = task * r->group, rows = dlt_rnn_least(r->group, r->batch - first), u = r->units;
    const int64_t advance = p->saves ? r->batch * u : 0;
    const uint8_t *mask = r->mask >= 0 ? call->in[r->mask] : NULL;
    const float *more = r->gru && r->recurrent_bias >= 0 ? (const float *)call->in[r->recurrent_bias] + 2 * u : NULL;
    float *base = saved_of(call, p), *h = base + r->h + first * u, *c = base + r->c + first * u, *inner = base + r->inner + first * u;
    float *y = call->out[0], *last = call->out[1];
    const size_t bytes = (size_t)(rows * u) * sizeof(float), row = (size_t)u * sizeof(float);
    for (int s = 0; s < r->attrs->body.states; s++) {
        if (r->initial >= 0) {
            memcpy(s == 0 ? h : c, (const float *)call->in[r->initial + s] + first * u, bytes);
        } else {
            memset(s == 0 ? h : c, 0, bytes);
        }
    }
    for (int64_t t = 0; t < r->steps; t++) {
        float *z = base + r->gate + (t * r->batch + first) * r->width, *next_h = h + advance, *next_c = c + advance;
        dlt_rnn_times(gemm, h, u, rows, &p->recurrent, call->workspace, 0, p->recurrent.cols, z, r->width, true, call->scratch);
        for (int64_t b = 0; b < rows && more != NULL; b++) {
            memcpy(inner + b * u, more, row);
        }
        if (r->gru) {
            dlt_rnn_times(gemm, h, u, rows, &p->fresh, call->workspace, 0, u, inner, u, more != NULL, call->scratch);
        }
        for (int64_t b = 0; b < rows; b++) {
            float *zb = z + b * r->width, *to = next_h + b * u;
            const bool masked = dlt_rnn_masked(r, mask, first + b, t);
            if (masked) {
                memmove(to, h + b * u, row);
                if (r->lstm) {
                    memmove(next_c + b * u, c + b * u, row);
                }
            } else if (r->lstm) {
                cell->lstm(zb, c + b * u, next_c + b * u, to, u);
            } else if (r->gru) {
                cell->gru(zb, inner + b * u, h + b * u, to, u);
            } else {
                cell->simple(zb, to, u);
            }
            if (y != NULL && masked && r->attrs->zero_masked) {
                memset(y + ((first + b) * r->steps + t) * u, 0, row);
            } else if (y != NULL) {
                memcpy(y + ((first + b) * r->steps + t) * u, to, row);
            }
        }
        h = next_h;
        c = next_c;
        inner += advance;
    }
    if (last != NULL) {
        memcpy(last + first * u, h, bytes);
    }
}

static void run(const dlt_cpu_call *call, int phase, int64_t task)
{
    if (phase == 0) {
        pack(call, call->prepared, task);
    } else if (phase == 1) {
        project(call, call->prepared, task);
    } else {
        run_group(call, call->prepared, task);
    }
}

const dlt_cpu_kernel dlt_cpu_rnn_rows = {
    .name = "rnn_rows", .op = DLT_OP_RNN, .declines = dlt_rnn_declines, .prepare = prepare, .run = run};
