/* backend/cpu/rnn_rows.c: LSTM, GRU (reset after the product) and simple recurrence with their gradients, in float32.
 *
 * Rows of a batch do not see each other, so groups of rows are tasks: each goes through all steps on its own. What all steps
 * share is done before and after: the inputs' projection, and the gradients of inputs and weights, are large products. The recurrent
 * kernel is packed once.
 *
 * `saved`, in steps of processing order, each (B, .): h before the first step and after each; LSTM: c likewise; gates after
 * their activation, (T, B, G U); GRU: h U_n + bias before the reset gate. Evaluation keeps one step of states only: there,
 * h and c are overwritten from step to step. ref_rnn.c says what masks do. */
#include "backend/cpu/gemm.h"
#include "backend/cpu/ref.h"

#include "base/alloc.h"

#include <string.h>

enum {
    GROUP = 16,        /* rows that go through the steps together */
    DEPTH = 512,       /* of a packed panel of a recurrent kernel */
    LINE = 1024        /* units that a pass of elementwise work takes */
};

typedef struct rnn {
    const dlt_rnn_attrs *attrs;
    int64_t batch, steps, channels, units, gates, width; /* B, T, C, U, G, P = G U */
    int kernel, bias, recurrent, recurrent_bias, mask, initial, inputs; /* places among the operands of RNN; -1: not there */
    bool lstm, gru;
} rnn;

typedef struct prepared {
    const dlt_simd *simd;
    int first;          /* operand of the node that is x */
    bool saves;         /* somebody wants `saved` */
    int64_t packed;     /* floats of the packed recurrent kernel; each array below: its offset in floats */
    int64_t h, c, gate, inner; /* in `saved`, or in workspace behind the packed kernel */
    int64_t x, dz, dinner, dh, dc; /* gradient, workspace */
    int64_t major, minor, row_blocks, col_blocks; /* projection: rows of a product are `minor` of one `major` */
} prepared;

static rnn rnn_of(const dlt_node *n, int first)
{
    const dlt_rnn_attrs *attrs = n->attrs;
    const dlt_shape *x = &n->inputs[first]->shape;
    rnn r = {.attrs = attrs,
             .batch = x->dim[0],
             .steps = x->dim[1],
             .channels = x->dim[2],
             .units = attrs->units,
             .lstm = attrs->cell == DLT_RNN_LSTM,
             .gru = attrs->cell == DLT_RNN_GRU};
    int at = 1;
    r.gates = r.lstm ? 4 : r.gru ? 3 : 1;
    r.width = r.gates * r.units;
    r.kernel = attrs->has_kernel ? at++ : -1;
    r.bias = attrs->has_bias ? at++ : -1;
    r.recurrent = at++;
    r.recurrent_bias = attrs->body.params == 2 ? at++ : -1;
    r.mask = attrs->has_mask ? at++ : -1;
    r.initial = attrs->has_initial ? at : -1;
    r.inputs = at + (attrs->has_initial ? attrs->body.states : 0);
    return r;
}

static int first_operand(const dlt_node *n)
{
    const dlt_rnn_attrs *attrs = n->attrs;
    return n->op == DLT_OP_RNN ? 0 : (int)attrs->has_dy + (int)attrs->has_dlast;
}

static bool named(const char *name, const char *wanted)
{
    return name != NULL && strcmp(name, wanted) == 0;
}

static const char *declines(const dlt_cpu_query *query)
{
    const dlt_rnn_attrs *a = query->node->attrs;
    if (query->node->inputs[first_operand(query->node)]->type != DLT_F32) {
        return "needs float32";
    }
    if (a->cell != DLT_RNN_LSTM && a->cell != DLT_RNN_GRU && a->cell != DLT_RNN_SIMPLE) {
        return "knows LSTM, GRU with reset_after and SimpleRNN, without recurrent_dropout";
    }
    if (!named(a->activation, "tanh") || (a->cell != DLT_RNN_SIMPLE && !named(a->recurrent_activation, "sigmoid"))) {
        return "needs tanh and sigmoid";
    }
    return NULL;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t time_of(const rnn *r, int64_t t)
{
    return r->attrs->backwards ? r->steps - 1 - t : t;
}

static bool is_masked(const rnn *r, const uint8_t *mask, int64_t b, int64_t t)
{
    return mask != NULL && mask[b * r->steps + time_of(r, t)] == 0;
}

/* ---- the recurrent kernel, packed ---- */

/* Floats of a (depth x cols) matrix in panels of gemm->nr columns, at most DEPTH rows at a time. */
static int64_t packed_floats(const dlt_gemm_ops *gemm, int64_t depth, int64_t cols)
{
    return dlt_divide_up(cols, gemm->nr) * gemm->nr * depth;
}

/* Rows [DEPTH k, ...) of the matrix whose element (l, j) is at m[l * row + j * col]; block k of the packed form. */
static void pack_block(const dlt_gemm_ops *gemm, float *to, const float *m, int64_t row, int64_t col, int64_t depth, int64_t cols,
                       int64_t k)
{
    const int64_t first = k * DEPTH;
    gemm->pack_b(to + first * dlt_divide_up(cols, gemm->nr) * gemm->nr, m + first * row, row, col, least(DEPTH, depth - first), cols);
}

/* c[rows x cols] (+)= a packed; rows of a are `stride` floats apart. pack: scratch of mr * DEPTH floats. */
static void times_packed(const dlt_gemm_ops *gemm, const float *a, int64_t stride, int64_t rows, const float *packed, int64_t depth,
                         int64_t cols, float *c, int64_t ldc, bool add, float *pack)
{
    const int64_t panels = dlt_divide_up(rows, gemm->mr), wide = dlt_divide_up(cols, gemm->nr) * gemm->nr;
    for (int64_t l = 0; l < depth; l += DEPTH) {
        const int64_t deep = least(DEPTH, depth - l);
        for (int64_t p = 0; p < panels; p++) {
            const int64_t first = rows * p / panels, count = rows * (p + 1) / panels - first;
            const float *at[32];
            for (int64_t i = 0; i < count; i++) {
                at[i] = a + (first + i) * stride + l;
            }
            gemm->pack_rows(pack, at, count, deep);
            gemm->panel(pack, gemm->mr, count, packed + l * wide, gemm->nr, deep * gemm->nr, deep, c + first * ldc, ldc, cols,
                        add || l > 0);
        }
    }
}

/* ---- products over all steps ----
 * Row (t, b) of what is in processing order lies at (t B + b); row (b, time) of x at (b T + time). For one b, or one t, both
 * lie at even distances: that one is the `major` index. */

static void cut_projection(const rnn *r, int64_t cols, prepared *p)
{
    const bool by_sample = r->steps > r->batch;
    p->major = by_sample ? r->batch : r->steps;
    p->minor = by_sample ? r->steps : r->batch;
    p->row_blocks = dlt_divide_up(p->minor, DLT_GEMM_ROWS);
    p->col_blocks = dlt_divide_up(cols, DLT_GEMM_COLS);
}

typedef struct block {
    int64_t rows, first_col, cols;
    int64_t x, x_step; /* first row in x, and from one row to the next (maybe backwards), in rows */
    int64_t z, z_step; /* the same in processing order */
} block;

static block block_of(const rnn *r, const prepared *p, int64_t task, int64_t cols)
{
    const int64_t col = task % p->col_blocks, row = task / p->col_blocks % p->row_blocks;
    const int64_t major = task / p->col_blocks / p->row_blocks;
    const int64_t first = dlt_gemm_edge(p->minor, p->row_blocks, row, 1);
    block k = {.rows = dlt_gemm_edge(p->minor, p->row_blocks, row + 1, 1) - first};
    k.first_col = dlt_gemm_edge(cols, p->col_blocks, col, 32);
    k.cols = dlt_gemm_edge(cols, p->col_blocks, col + 1, 32) - k.first_col;
    if (r->steps > r->batch) {
        k.x = major * r->steps + time_of(r, first);
        k.x_step = r->attrs->backwards ? -1 : 1;
        k.z = first * r->batch + major;
        k.z_step = r->batch;
    } else {
        k.x = first * r->steps + time_of(r, major);
        k.x_step = r->steps;
        k.z = major * r->batch + first;
        k.z_step = 1;
    }
    return k;
}

/* z = x kernel + bias, or x itself where it is projected already. The recurrent bias of gates that do not tell the two sums apart
 * is added here too. */
static void project(const rnn *r, const prepared *p, const void *const *in, float *z, int64_t task, float *scratch)
{
    const block k = block_of(r, p, task, r->width);
    const float *bias = r->bias >= 0 ? in[r->bias] : NULL;
    const float *more = r->recurrent_bias >= 0 ? in[r->recurrent_bias] : NULL;
    const int64_t both = r->gru ? 2 * r->units : r->width; /* columns that take `more` */
    for (int64_t i = 0; i < k.rows; i++) {
        float *to = z + (k.z + i * k.z_step) * r->width;
        const float *x = r->kernel < 0 ? (const float *)in[0] + (k.x + i * k.x_step) * r->width : NULL;
        for (int64_t j = k.first_col; j < k.first_col + k.cols; j++) {
            const float start = x != NULL ? x[j] : 0;
            to[j] = start + (bias != NULL ? bias[j] : 0) + (more != NULL && j < both ? more[j] : 0);
        }
    }
    if (r->kernel >= 0) {
        const dlt_gemm_block g = {.a = (const float *)in[0] + k.x * r->channels,
                                  .b = (const float *)in[r->kernel] + k.first_col,
                                  .c = z + k.z * r->width + k.first_col,
                                  .a_row = k.x_step * r->channels,
                                  .a_col = 1,
                                  .b_row = r->width,
                                  .b_col = 1,
                                  .ldc = k.z_step * r->width,
                                  .rows = k.rows,
                                  .cols = k.cols,
                                  .depth = r->channels,
                                  .add = true};
        dlt_gemm_run(p->simd->gemm, &g, scratch);
    }
}

/* ---- elementwise work on n <= LINE units ---- */

static void apply(const dlt_simd *simd, dlt_ew op, float *x, int64_t n)
{
    simd->ew[DLT_COMPUTE_F32][op][0](x, x, NULL, NULL, n);
}

/* Gates of a row: z becomes the activated gates; inner: GRU's h U_n with its bias. h, c: states before, then after. */
static void step_row(const rnn *r, const dlt_simd *simd, float *z, const float *inner, const float *h, const float *c,
                     float *next_h, float *next_c, float *line)
{
    for (int64_t first = 0; first < r->units; first += LINE) {
        const int64_t n = least(LINE, r->units - first), u = r->units;
        float *g = z + first;
        if (r->lstm) {
            float *i = g, *f = g + u, *a = g + 2 * u, *o = g + 3 * u;
            apply(simd, DLT_EW_SIGMOID, i, n);
            apply(simd, DLT_EW_SIGMOID, f, n);
            apply(simd, DLT_EW_TANH, a, n);
            apply(simd, DLT_EW_SIGMOID, o, n);
            for (int64_t j = 0; j < n; j++) {
                next_c[first + j] = f[j] * c[first + j] + i[j] * a[j];
            }
            memcpy(line, next_c + first, (size_t)n * sizeof *line);
            apply(simd, DLT_EW_TANH, line, n);
            for (int64_t j = 0; j < n; j++) {
                next_h[first + j] = o[j] * line[j];
            }
        } else if (r->gru) {
            float *update = g, *reset = g + u, *fresh = g + 2 * u;
            apply(simd, DLT_EW_SIGMOID, update, n);
            apply(simd, DLT_EW_SIGMOID, reset, n);
            for (int64_t j = 0; j < n; j++) {
                fresh[j] += reset[j] * inner[first + j];
            }
            apply(simd, DLT_EW_TANH, fresh, n);
            for (int64_t j = 0; j < n; j++) {
                next_h[first + j] = update[j] * h[first + j] + (1 - update[j]) * fresh[j];
            }
        } else {
            apply(simd, DLT_EW_TANH, g, n);
            memcpy(next_h + first, g, (size_t)n * sizeof *g);
        }
    }
}

/* ---- RNN ---- */

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

/* Places of states and gates, from `at` on; the end. */
static int64_t lay_out(const rnn *r, bool all_steps, int64_t at, prepared *p)
{
    const int64_t state = r->batch * r->units * (all_steps ? r->steps + 1 : 1);
    p->h = at;
    p->c = p->h + state;
    p->gate = p->c + (r->lstm ? state : 0);
    p->inner = p->gate + r->steps * r->batch * r->width;
    return p->inner + (r->gru ? r->batch * r->units * (all_steps ? r->steps : 1) : 0);
}

static bool prepare_rnn(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const rnn r = rnn_of(query->node, 0);
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    p->simd = dlt_simd_of(query->isa);
    p->saves = is_used(query->graph, query->node->outputs[2]);
    p->packed = packed_floats(p->simd->gemm, r.units, r.width);
    schedule->opaque_bytes = lay_out(&r, true, 0, p) * (int64_t)sizeof(float);
    const int64_t end = p->saves ? p->packed : lay_out(&r, false, p->packed, p);
    cut_projection(&r, r.width, p);
    schedule->workspace_bytes = end * (int64_t)sizeof(float);
    schedule->prepared = p;
    schedule->phases = 2;
    schedule->tasks[0] = p->major * p->row_blocks * p->col_blocks + dlt_divide_up(r.units, DEPTH);
    schedule->tasks[1] = dlt_divide_up(r.batch, GROUP);
    return true;
}

/* One group of rows through all steps. */
static void run_group(const dlt_cpu_call *call, const rnn *r, int64_t task)
{
    const prepared *p = call->prepared;
    const dlt_gemm_ops *gemm = p->simd->gemm;
    const int64_t first = task * GROUP, rows = least(GROUP, r->batch - first), u = r->units, every = r->batch * u;
    float *base = p->saves ? call->out[2] : call->workspace;
    const float *packed = call->workspace;
    const uint8_t *mask = r->mask >= 0 ? call->in[r->mask] : NULL;
    const float *more = r->recurrent_bias >= 0 ? (const float *)call->in[r->recurrent_bias] + 2 * u : NULL;
    const int64_t advance = p->saves ? every : 0;
    float *h = base + p->h + first * u, *c = base + p->c + first * u, *inner = base + p->inner + first * u;
    float *line = call->scratch, *pack = line + LINE, *y = call->out[0], *last = call->out[1];
    const size_t bytes = (size_t)(rows * u) * sizeof(float), row = (size_t)u * sizeof(float);
    for (int s = 0; s < r->attrs->body.states; s++) {
        if (r->initial >= 0) {
            memcpy(s == 0 ? h : c, (const float *)call->in[r->initial + s] + first * u, bytes);
        } else {
            memset(s == 0 ? h : c, 0, bytes);
        }
    }
    for (int64_t t = 0; t < r->steps; t++) {
        float *z = base + p->gate + (t * r->batch + first) * r->width, *next_h = h + advance, *next_c = c + advance;
        if (r->gru) { /* the columns of the fresh state apart: they lie in panels of their own only if the units fill panels */
            for (int64_t b = 0; b < rows; b++) {
                for (int64_t j = 0; j < u; j++) {
                    inner[b * u + j] = z[b * r->width + 2 * u + j];
                    z[b * r->width + 2 * u + j] = more != NULL ? more[j] : 0;
                }
            }
        }
        times_packed(gemm, h, u, rows, packed, u, r->width, z, r->width, true, pack);
        for (int64_t b = 0; b < rows; b++) {
            float *zb = z + b * r->width;
            for (int64_t j = 0; r->gru && j < u; j++) { /* x W_n where the gate becomes, h U_n inside */
                const float outer = inner[b * u + j];
                inner[b * u + j] = zb[2 * u + j];
                zb[2 * u + j] = outer;
            }
            if (is_masked(r, mask, first + b, t)) {
                memmove(next_h + b * u, h + b * u, row);
                if (r->lstm) {
                    memmove(next_c + b * u, c + b * u, row);
                }
            } else {
                step_row(r, p->simd, zb, inner + b * u, h + b * u, c + b * u, next_h + b * u, next_c + b * u, line);
            }
            if (y != NULL && r->attrs->zero_masked && is_masked(r, mask, first + b, t)) {
                memset(y + ((first + b) * r->steps + t) * u, 0, row);
            } else if (y != NULL) {
                memcpy(y + ((first + b) * r->steps + t) * u, next_h + b * u, row);
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

static void run_rnn(const dlt_cpu_call *call, int phase, int64_t task)
{
    const rnn r = rnn_of(call->node, 0);
    const prepared *p = call->prepared;
    const int64_t projections = p->major * p->row_blocks * p->col_blocks;
    if (phase == 1) {
        run_group(call, &r, task);
    } else if (task < projections) {
        float *base = p->saves ? call->out[2] : call->workspace;
        project(&r, p, call->in, base + p->gate, task, call->scratch);
    } else {
        pack_block(p->simd->gemm, call->workspace, call->in[r.recurrent], r.width, 1, r.units, r.width, task - projections);
    }
}

const dlt_cpu_kernel dlt_cpu_rnn_rows = {
    .name = "rnn_rows", .op = DLT_OP_RNN, .declines = declines, .prepare = prepare_rnn, .run = run_rnn};

/* ---- RNN_DX ----
 * Phases: pack the kernel's transpose, and copy x into processing order (rows that are masked as 0: what stands in padding
 * must not reach a gradient); back through the steps by groups of rows; gradients of inputs and weights as products. */

enum { DX_X, DX_RECURRENT, DX_KERNEL, DX_BIASES, DX_PARTS };

typedef struct prepared_dx {
    prepared at;
    int64_t tasks[DX_PARTS]; /* of the last phase */
    dlt_gemm_grid recurrent, kernel;
} prepared_dx;

/* Number of the result that is the gradient of operand k of the RNN. */
static void *gradient_of(const dlt_cpu_call *call, int first, int k)
{
    int at = 0;
    for (int i = 0; i < k; i++) {
        at += dlt_dtype_is_real(call->node->inputs[first + i]->type);
    }
    return k >= 0 ? call->out[at] : NULL;
}

static dlt_gemm_grid weights_grid(int64_t rows, int64_t cols)
{
    return (dlt_gemm_grid){.row_blocks = dlt_divide_up(rows, DLT_GEMM_ROWS), .col_blocks = dlt_divide_up(cols, 128), .splits = 1};
}

static bool prepare_rnn_dx(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const int first = first_operand(query->node);
    const rnn r = rnn_of(query->node, first);
    prepared_dx *d = dlt_arena_alloc(query->arena, 1, sizeof *d);
    if (d == NULL) {
        return false;
    }
    prepared *p = &d->at;
    p->first = first;
    p->simd = dlt_simd_of(query->isa);
    p->packed = packed_floats(p->simd->gemm, r.width, r.units);
    lay_out(&r, true, 0, p);
    cut_projection(&r, r.channels, p);
    p->dh = p->packed;
    p->dc = p->dh + r.batch * r.units;
    p->dz = p->dc + (r.lstm ? r.batch * r.units : 0);
    p->dinner = p->dz + r.steps * r.batch * r.width;
    p->x = p->dinner + (r.gru ? r.steps * r.batch * r.width : 0);
    const int64_t end = p->x + (r.kernel >= 0 ? r.steps * r.batch * r.channels : 0);
    d->recurrent = weights_grid(r.units, r.width);
    d->kernel = weights_grid(r.channels, r.width);
    d->tasks[DX_X] = p->major * p->row_blocks * p->col_blocks;
    d->tasks[DX_RECURRENT] = d->recurrent.row_blocks * d->recurrent.col_blocks;
    d->tasks[DX_KERNEL] = r.kernel >= 0 ? d->kernel.row_blocks * d->kernel.col_blocks : 0;
    d->tasks[DX_BIASES] = dlt_divide_up(r.width, DLT_GEMM_COLS);
    schedule->workspace_bytes = end * (int64_t)sizeof(float);
    schedule->prepared = d;
    schedule->phases = 3;
    schedule->tasks[0] = dlt_divide_up(r.width, DEPTH) + dlt_divide_up(r.batch, GROUP);
    schedule->tasks[1] = dlt_divide_up(r.batch, GROUP);
    for (int i = 0; i < DX_PARTS; i++) {
        schedule->tasks[2] += d->tasks[i];
    }
    return true;
}

/* Rows of x of a group in processing order. */
static void copy_inputs(const rnn *r, const prepared *p, const void *const *in, float *work, int64_t task)
{
    const uint8_t *mask = r->mask >= 0 ? in[r->mask] : NULL;
    const size_t bytes = (size_t)r->channels * sizeof(float);
    for (int64_t b = task * GROUP; b < least(r->batch, (task + 1) * GROUP) && r->kernel >= 0; b++) {
        for (int64_t t = 0; t < r->steps; t++) {
            float *to = work + p->x + (t * r->batch + b) * r->channels;
            if (is_masked(r, mask, b, t)) {
                memset(to, 0, bytes);
            } else {
                memcpy(to, (const float *)in[0] + (b * r->steps + time_of(r, t)) * r->channels, bytes);
            }
        }
    }
}

/* Gradients of a row's gates before their activation: dz, and GRU's twin for the products with h, dinner. dh, dc: gradients of the
 * states after the step, in; of what of the states before it does not come through the product, out. */
static void step_row_back(const rnn *r, const dlt_simd *simd, const float *z, const float *inner, const float *h, const float *c,
                          const float *next_c, float *dh, float *dc, float *dz, float *dinner, float *line)
{
    const int64_t u = r->units;
    for (int64_t first = 0; first < u; first += LINE) {
        const int64_t n = least(LINE, u - first);
        const float *g = z + first;
        float *d = dz + first, *s = dh + first;
        if (r->lstm) {
            const float *i = g, *f = g + u, *a = g + 2 * u, *o = g + 3 * u;
            float *e = dc + first;
            memcpy(line, next_c + first, (size_t)n * sizeof *line);
            apply(simd, DLT_EW_TANH, line, n);
            for (int64_t j = 0; j < n; j++) {
                const float cell = e[j] + s[j] * o[j] * (1 - line[j] * line[j]);
                d[3 * u + j] = s[j] * line[j] * o[j] * (1 - o[j]);
                d[j] = cell * a[j] * i[j] * (1 - i[j]);
                d[u + j] = cell * c[first + j] * f[j] * (1 - f[j]);
                d[2 * u + j] = cell * i[j] * (1 - a[j] * a[j]);
                e[j] = cell * f[j];
                s[j] = 0;
            }
        } else if (r->gru) {
            const float *update = g, *reset = g + u, *fresh = g + 2 * u;
            float *q = dinner + first;
            for (int64_t j = 0; j < n; j++) {
                const float df = s[j] * (1 - update[j]) * (1 - fresh[j] * fresh[j]);
                d[j] = q[j] = s[j] * (h[first + j] - fresh[j]) * update[j] * (1 - update[j]);
                d[u + j] = q[u + j] = df * inner[first + j] * reset[j] * (1 - reset[j]);
                d[2 * u + j] = df;
                q[2 * u + j] = df * reset[j];
                s[j] *= update[j];
            }
        } else {
            for (int64_t j = 0; j < n; j++) {
                d[j] = s[j] * (1 - g[j] * g[j]);
                s[j] = 0;
            }
        }
    }
}

static void run_group_back(const dlt_cpu_call *call, const rnn *r, const prepared *p, int64_t task)
{
    const void *const *in = call->in + p->first;
    const int64_t first = task * GROUP, rows = least(GROUP, r->batch - first), u = r->units, every = r->batch * u;
    float *work = call->workspace, *dh = work + p->dh + first * u, *dc = work + p->dc + first * u;
    const float *saved = in[r->inputs + 1], *dy = r->attrs->has_dy ? call->in[0] : NULL;
    const float *dlast = r->attrs->has_dlast ? call->in[r->attrs->has_dy ? 1 : 0] : NULL;
    const uint8_t *mask = r->mask >= 0 ? in[r->mask] : NULL;
    float *line = call->scratch, *pack = line + LINE;
    const size_t row = (size_t)r->width * sizeof(float);
    if (dlast != NULL) {
        memcpy(dh, dlast + first * u, (size_t)(rows * u) * sizeof(float));
    } else {
        memset(dh, 0, (size_t)(rows * u) * sizeof(float));
    }
    if (r->lstm) {
        memset(dc, 0, (size_t)(rows * u) * sizeof(float));
    }
    for (int64_t t = r->steps - 1; t >= 0; t--) {
        const int64_t at = t * r->batch + first;
        float *dz = work + p->dz + at * r->width, *dinner = r->gru ? work + p->dinner + at * r->width : dz;
        bool any = false;
        for (int64_t b = 0; b < rows; b++) {
            const bool masked = is_masked(r, mask, first + b, t);
            const float *g = dy != NULL ? dy + ((first + b) * r->steps + t) * u : NULL;
            const int64_t before = p->h + t * every + (first + b) * u;
            for (int64_t j = 0; g != NULL && !(masked && r->attrs->zero_masked) && j < u; j++) {
                dh[b * u + j] += g[j];
            }
            if (masked) {
                memset(dz + b * r->width, 0, row);
                memset(dinner + b * r->width, 0, row);
                continue;
            }
            any = true;
            step_row_back(r, p->simd, saved + p->gate + (at + b) * r->width, saved + p->inner + (at + b) * u, saved + before,
                          saved + before + (p->c - p->h), saved + before + (p->c - p->h) + every, dh + b * u, dc + b * u,
                          dz + b * r->width, dinner + b * r->width, line);
        }
        if (any) { /* what came through the product; rows that are masked have none */
            times_packed(p->simd->gemm, dinner, r->width, rows, work, r->width, u, dh, u, true, pack);
        }
    }
    for (int s = 0; s < r->attrs->body.states && r->initial >= 0; s++) {
        float *to = gradient_of(call, p->first, r->initial + s);
        if (to != NULL) {
            memcpy(to + first * u, s == 0 ? dh : dc, (size_t)(rows * u) * sizeof(float));
        }
    }
}

/* dx = dz kernel^T */
static void inputs_back(const dlt_cpu_call *call, const rnn *r, const prepared *p, int64_t task)
{
    float *dx = gradient_of(call, p->first, 0);
    if (dx == NULL) {
        return;
    }
    const float *dz = (const float *)call->workspace + p->dz;
    const block k = block_of(r, p, task, r->channels);
    if (r->kernel < 0) {
        for (int64_t i = 0; i < k.rows; i++) {
            memcpy(dx + (k.x + i * k.x_step) * r->width + k.first_col, dz + (k.z + i * k.z_step) * r->width + k.first_col,
                   (size_t)k.cols * sizeof *dx);
        }
        return;
    }
    const dlt_gemm_block g = {.a = dz + k.z * r->width,
                              .b = (const float *)call->in[p->first + r->kernel] + k.first_col * r->width,
                              .c = dx + k.x * r->channels + k.first_col,
                              .a_row = k.z_step * r->width,
                              .a_col = 1,
                              .b_row = 1,
                              .b_col = r->width,
                              .ldc = k.x_step * r->channels,
                              .rows = k.rows,
                              .cols = k.cols,
                              .depth = r->width};
    dlt_gemm_run(p->simd->gemm, &g, call->scratch);
}

/* A block of a^T dz over all rows of all steps: a is (T B, rows). */
static void weights_back(const dlt_cpu_call *call, const rnn *r, const prepared *p, float *to, const float *a, int64_t rows,
                         const float *dz, const dlt_gemm_grid *grid, int64_t task)
{
    const int64_t i = task / grid->col_blocks, j = task % grid->col_blocks;
    const int64_t row = dlt_gemm_edge(rows, grid->row_blocks, i, 16), col = dlt_gemm_edge(r->width, grid->col_blocks, j, 32);
    if (to == NULL) {
        return;
    }
    float *const part = to + row * r->width + col;
    const dlt_gemm_block g = {.a = a + row,
                              .b = dz + col,
                              .c = part,
                              .a_row = 1,
                              .a_col = rows,
                              .b_row = r->width,
                              .b_col = 1,
                              .ldc = r->width,
                              .rows = dlt_gemm_edge(rows, grid->row_blocks, i + 1, 16) - row,
                              .cols = dlt_gemm_edge(r->width, grid->col_blocks, j + 1, 32) - col,
                              .depth = r->steps * r->batch};
    dlt_gemm_run(p->simd->gemm, &g, call->scratch);
}

static void biases_back(const dlt_cpu_call *call, const rnn *r, const prepared *p, int64_t task)
{
    const float *work = call->workspace, *dz = work + p->dz, *dinner = r->gru ? work + p->dinner : dz;
    const int64_t first = task * DLT_GEMM_COLS, cols = least(DLT_GEMM_COLS, r->width - first);
    float *const to[] = {gradient_of(call, p->first, r->bias), gradient_of(call, p->first, r->recurrent_bias)};
    for (int k = 0; k < 2; k++) {
        double sum[DLT_GEMM_COLS] = {0}; /* long sums of like terms: float would lose digits */
        const float *from = k == 0 ? dz : dinner;
        for (int64_t i = 0; i < r->steps * r->batch && to[k] != NULL; i++) {
            for (int64_t j = 0; j < cols; j++) {
                sum[j] += (double)from[i * r->width + first + j];
            }
        }
        for (int64_t j = 0; j < cols && to[k] != NULL; j++) {
            to[k][first + j] = (float)sum[j];
        }
    }
}

static void run_rnn_dx(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared_dx *d = call->prepared;
    const prepared *p = &d->at;
    const rnn r = rnn_of(call->node, p->first);
    const void *const *in = call->in + p->first;
    float *work = call->workspace;
    const int64_t packs = dlt_divide_up(r.width, DEPTH);
    if (phase == 0 && task < packs) {
        pack_block(p->simd->gemm, work, in[r.recurrent], 1, r.width, r.width, r.units, task);
    } else if (phase == 0) {
        copy_inputs(&r, p, in, work, task - packs);
    } else if (phase == 1) {
        run_group_back(call, &r, p, task);
    } else if (task < d->tasks[DX_X]) {
        inputs_back(call, &r, p, task);
    } else if ((task -= d->tasks[DX_X]) < d->tasks[DX_RECURRENT]) {
        weights_back(call, &r, p, gradient_of(call, p->first, r.recurrent), (const float *)in[r.inputs + 1] + p->h, r.units,
                     work + (r.gru ? p->dinner : p->dz), &d->recurrent, task);
    } else if ((task -= d->tasks[DX_RECURRENT]) < d->tasks[DX_KERNEL]) {
        weights_back(call, &r, p, gradient_of(call, p->first, r.kernel), work + p->x, r.channels, work + p->dz, &d->kernel, task);
    } else {
        biases_back(call, &r, p, task - d->tasks[DX_KERNEL]);
    }
}

const dlt_cpu_kernel dlt_cpu_rnn_dx_rows = {
    .name = "rnn_dx_rows", .op = DLT_OP_RNN_DX, .declines = declines, .prepare = prepare_rnn_dx, .run = run_rnn_dx};
