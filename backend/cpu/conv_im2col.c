/* backend/cpu/conv_im2col.c: convolutions of any geometry as matrix products, row-major.
 *
 *   forward  y[o, f]  = sum_l X[o, l] w[l, f]        l = (cell of the window, channel), X[o, l] = x where the window at o meets it
 *   dx       dx[i, c] = sum_l Y[i, l] w'[l, c]       l = (cell, f), Y[i, l] = dy at the position whose cell is i, or 0
 *   dw       dw[l, f] = sum_o X[o, l] dy[o, f]
 *
 * Rows of X and Y are gathered into scratch a panel at a time, never as a whole. Groups are products of their own. Sums over
 * many positions are split, and joined pairwise. */
#include "backend/cpu/conv.h"
#include "backend/cpu/gemm.h"
#include "graph/passes.h"

#include <math.h>
#include <string.h>

typedef struct prepared {
    dlt_conv_geometry g;
    const dlt_simd *simd;
    dlt_op op;
    int64_t cells, in_group, out_group; /* channels of a group */
    int64_t in_positions, out_positions;
    int64_t rows, cols, depth; /* of a group's product */
    dlt_gemm_grid grid;
    int64_t join_tasks;
} prepared;

enum { GATHERED = DLT_GEMM_DEPTH * (DLT_GEMM_ROWS + 16) }; /* floats */
_Static_assert((DLT_GEMM_PACK + GATHERED) * (int)sizeof(float) <= (int)DLT_CPU_SCRATCH_BYTES, "scratch is too small");

static const char *declines(const dlt_cpu_query *query)
{
    const dlt_node *n = query->node;
    if (n->inputs[0]->type != DLT_F32 || n->inputs[1]->type != DLT_F32) {
        return "needs float32";
    }
    return n->epilogue != NULL ? "no epilogue" : NULL;
}

/* The product, in whole vectors, and the copies: an element for each cell of each window, in runs of a pixel's channels. */
static double cost(const dlt_cpu_query *query)
{
    static const double rate[] = {14e9, 60e9, 70e9, 70e9}, lanes[] = {4, 8, 16, 16};
    const dlt_node *n = query->node;
    const dlt_shape *y = n->op == DLT_OP_CONV      ? &n->outputs[0]->shape
                         : n->op == DLT_OP_CONV_DX ? &n->inputs[0]->shape
                                                   : &n->inputs[1]->shape;
    const dlt_conv_geometry g = dlt_conv_geometry_of(n->attrs, y);
    const int64_t in = g.in_channels / g.groups, out = g.out_channels / g.groups; /* of a group */
    const double channels = (double)(n->op == DLT_OP_CONV_DX ? out : in), cols = (double)(n->op == DLT_OP_CONV_DX ? in : out);
    const double wide = ceil(cols / lanes[query->isa]) * lanes[query->isa];
    const double positions = (double)g.batch * (double)(n->op == DLT_OP_CONV_DX ? g.in[0] * g.in[1] * g.in[2] : g.out[0] * g.out[1] * g.out[2]);
    const double copied = positions * (double)(g.size[0] * g.size[1] * g.size[2] * g.groups) * channels;
    return dlt_node_flops(n) * wide / (cols > 0 ? cols : 1) / rate[query->isa] + copied * (0.3e-9 + 12e-9 / (channels > 0 ? channels : 1)) + 1e-5;
}

static bool prepare(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_node *n = query->node;
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    const dlt_shape *y = n->op == DLT_OP_CONV      ? &n->outputs[0]->shape
                         : n->op == DLT_OP_CONV_DX ? &n->inputs[0]->shape
                                                   : &n->inputs[1]->shape;
    p->g = dlt_conv_geometry_of(n->attrs, y);
    const dlt_conv_geometry *g = &p->g;
    p->simd = dlt_simd_of(query->isa);
    p->op = n->op;
    p->cells = g->size[0] * g->size[1] * g->size[2];
    p->in_group = g->in_channels / g->groups;
    p->out_group = g->out_channels / g->groups;
    p->in_positions = g->batch * g->in[0] * g->in[1] * g->in[2];
    p->out_positions = g->batch * g->out[0] * g->out[1] * g->out[2];
    if (n->op == DLT_OP_CONV) {
        p->rows = p->out_positions;
        p->cols = p->out_group;
        p->depth = p->cells * p->in_group;
    } else if (n->op == DLT_OP_CONV_DX) {
        p->rows = p->in_positions;
        p->cols = p->in_group;
        p->depth = p->cells * p->out_group;
    } else {
        p->rows = p->cells * p->in_group;
        p->cols = p->out_group;
        p->depth = p->out_positions;
    }
    p->grid = dlt_gemm_cut(p->simd->gemm, p->rows, p->cols, p->depth, n->op == DLT_OP_CONV_DW ? 1 : g->groups);
    if (n->op != DLT_OP_CONV_DW) { /* depths are short, and results cannot be joined in place */
        p->grid.splits = 1;
        p->grid.split_depth = p->depth;
    }
    schedule->prepared = p;
    schedule->phases = 1;
    schedule->tasks[0] = p->rows * p->cols > 0 ? g->groups * p->grid.row_blocks * p->grid.col_blocks * p->grid.splits : 0;
    if (p->grid.splits > 1) {
        const int64_t weights = p->rows * g->out_channels;
        p->join_tasks = weights * p->grid.splits / 65536 < 64 ? weights * p->grid.splits / 65536 + 1 : 64;
        schedule->phases = 2;
        schedule->tasks[1] = p->join_tasks;
        schedule->workspace_bytes = p->grid.splits * weights * (int64_t)sizeof(float);
    }
    return true;
}

/* A position of an image. */
typedef struct place {
    int64_t image, at[3];
} place;

static place unravel(int64_t position, const int64_t size[3])
{
    place p;
    for (int i = 2; i >= 0; i--) {
        p.at[i] = position % size[i];
        position /= size[i];
    }
    p.image = position;
    return p;
}

/* Offset in positions of what cell `cell` of the window at output `o` meets, or -1. */
static int64_t met(const dlt_conv_geometry *g, const place *o, int64_t cell)
{
    int64_t offset = 0, k[3];
    for (int i = 2; i >= 0; i--) {
        k[i] = cell % g->size[i];
        cell /= g->size[i];
    }
    offset = o->image;
    for (int i = 0; i < 3; i++) {
        const int64_t x = o->at[i] * g->stride[i] + k[i] * g->dilation[i] - g->before[i];
        if (x < 0 || x >= g->in[i]) {
            return -1;
        }
        offset = offset * g->in[i] + x;
    }
    return offset;
}

/* Offset of the output whose cell `cell` is input x, or -1. */
static int64_t met_by(const dlt_conv_geometry *g, const place *x, int64_t cell)
{
    int64_t offset = 0, k[3];
    for (int i = 2; i >= 0; i--) {
        k[i] = cell % g->size[i];
        cell /= g->size[i];
    }
    offset = x->image;
    for (int i = 0; i < 3; i++) {
        const int64_t o = x->at[i] + g->before[i] - k[i] * g->dilation[i];
        if (o < 0 || o % g->stride[i] != 0 || o / g->stride[i] >= g->out[i]) {
            return -1;
        }
        offset = offset * g->out[i] + o / g->stride[i];
    }
    return offset;
}

/* Elements [l, end) of a row of X or Y. */
static void gather(const prepared *p, const float *from, bool backwards, int64_t row, int64_t group, int64_t l, int64_t end,
                   float *d)
{
    const dlt_conv_geometry *g = &p->g;
    const int64_t width = backwards ? p->out_group : p->in_group, channels = backwards ? g->out_channels : g->in_channels;
    const place at = unravel(row, backwards ? g->in : g->out);
    while (l < end) {
        const int64_t cell = l / width, c = l % width, n = width - c < end - l ? width - c : end - l;
        const int64_t offset = backwards ? met_by(g, &at, cell) : met(g, &at, cell);
        if (offset < 0) {
            memset(d, 0, (size_t)n * sizeof *d);
        } else {
            const float *s = from + offset * channels + group * width + c;
            for (int64_t i = 0; i < n; i++) {
                d[i] = s[i];
            }
        }
        d += n;
        l += n;
    }
}

/* Panels of the kernel for rows [l, l + depth) of the product. */
static void pack_kernel(const prepared *p, const float *w, int64_t group, int64_t l, int64_t depth, int64_t column,
                        int64_t cols, float *d)
{
    const dlt_gemm_ops *ops = p->simd->gemm;
    const int64_t f = p->g.out_channels;
    if (p->op == DLT_OP_CONV) {
        ops->pack_b(d, w + l * f + group * p->out_group + column, f, 1, depth, cols);
        return;
    }
    for (int64_t done = 0; done < depth;) { /* turned, cell by cell */
        const int64_t cell = (l + done) / p->out_group, at = (l + done) % p->out_group;
        const int64_t n = p->out_group - at < depth - done ? p->out_group - at : depth - done;
        const float *from = w + (cell * p->in_group + column) * f + group * p->out_group + at;
        for (int64_t j = 0; j < cols; j += ops->nr) {
            ops->pack_b(d + j * depth + done * ops->nr, from + j * f, 1, f, n, cols - j < ops->nr ? cols - j : ops->nr);
        }
        done += n;
    }
}

/* forward and dx: a block of rows and columns */
static void run_rows(const prepared *p, const float *from, const float *w, float *to, int64_t channels, int64_t group,
                     int64_t row, int64_t end_row, int64_t column, int64_t cols, float *scratch)
{
    const dlt_gemm_ops *ops = p->simd->gemm;
    float *a = scratch, *b = scratch + DLT_GEMM_PACK_A, *rows = scratch + DLT_GEMM_PACK;
    const int64_t panels = (end_row - row + ops->mr - 1) / ops->mr;
    const int64_t blocks = p->depth > 0 ? (p->depth + DLT_GEMM_DEPTH - 1) / DLT_GEMM_DEPTH : 1;
    for (int64_t k = 0; k < blocks; k++) {
        const int64_t l = p->depth * k / blocks, depth = p->depth * (k + 1) / blocks - l;
        pack_kernel(p, w, group, l, depth, column, cols, b);
        for (int64_t i = 0; i < panels; i++) {
            const int64_t first = row + (end_row - row) * i / panels, count = row + (end_row - row) * (i + 1) / panels - first;
            const float *at[32];
            for (int64_t r = 0; r < count; r++) {
                at[r] = rows + r * depth;
                gather(p, from, p->op == DLT_OP_CONV_DX, first + r, group, l, l + depth, rows + r * depth);
            }
            ops->pack_rows(a, at, count, depth);
            ops->panel(a, ops->mr, count, b, ops->nr, depth * ops->nr, depth, to + first * channels + group * p->cols + column,
                       channels, cols, k > 0);
        }
    }
}

/* dw: rows [row, end_row) of a group's kernel over positions [o, end) */
static void run_dw(const prepared *p, const float *x, const float *dy, float *to, int64_t group, int64_t row, int64_t end_row,
                   int64_t column, int64_t cols, int64_t o, int64_t end, float *scratch)
{
    const dlt_gemm_ops *ops = p->simd->gemm;
    float *a = scratch, *b = scratch + DLT_GEMM_PACK_A, *rows = scratch + DLT_GEMM_PACK;
    const int64_t f = p->g.out_channels, width = end_row - row, panels = (width + ops->mr - 1) / ops->mr;
    for (bool add = false; o < end; add = true) {
        const int64_t depth = end - o < DLT_GEMM_DEPTH ? end - o : DLT_GEMM_DEPTH;
        ops->pack_b(b, dy + o * f + group * p->out_group + column, f, 1, depth, cols);
        for (int64_t r = 0; r < depth; r++) {
            gather(p, x, false, o + r, group, row, end_row, rows + r * width);
        }
        for (int64_t i = 0; i < panels; i++) {
            const int64_t first = width * i / panels, count = width * (i + 1) / panels - first;
            ops->pack_columns(a, rows + first, width, count, depth);
            ops->panel(a, ops->mr, count, b, ops->nr, depth * ops->nr, depth,
                       to + (row + first) * f + group * p->out_group + column, f, cols, add);
        }
        o += depth;
    }
}

static void run(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    const dlt_gemm_grid *g = &p->grid;
    const int64_t weights = p->rows * p->g.out_channels;
    float *sums = g->splits > 1 ? call->workspace : call->out[0];
    if (phase == 1) {
        const int64_t first = weights * task / p->join_tasks, end = weights * (task + 1) / p->join_tasks;
        dlt_gemm_join(p->simd, sums, g->splits, weights, first, end);
        memcpy((float *)call->out[0] + first, sums + first, (size_t)(end - first) * sizeof *sums);
        return;
    }
    const int64_t row_block = task % g->row_blocks, col_block = task / g->row_blocks % g->col_blocks;
    const int64_t split = task / (g->row_blocks * g->col_blocks) % g->splits;
    const int64_t group = task / (g->row_blocks * g->col_blocks * g->splits);
    const int64_t row = dlt_gemm_edge(p->rows, g->row_blocks, row_block, 1);
    const int64_t end_row = dlt_gemm_edge(p->rows, g->row_blocks, row_block + 1, 1);
    const int64_t column = dlt_gemm_edge(p->cols, g->col_blocks, col_block, p->simd->gemm->nr);
    const int64_t cols = dlt_gemm_edge(p->cols, g->col_blocks, col_block + 1, p->simd->gemm->nr) - column;
    if (p->op == DLT_OP_CONV_DW) {
        const int64_t o = split * g->split_depth, end = o + g->split_depth < p->depth ? o + g->split_depth : p->depth;
        run_dw(p, call->in[0], call->in[1], sums + split * weights, group, row, end_row, column, cols, o, end, call->scratch);
    } else {
        const int64_t channels = p->op == DLT_OP_CONV ? p->g.out_channels : p->g.in_channels;
        run_rows(p, call->in[0], call->in[1], call->out[0], channels, group, row, end_row, column, cols, call->scratch);
    }
}

#define IM2COL(symbol, text, OP)                                                                             \
    const dlt_cpu_kernel symbol = {                                                                          \
        .name = text, .op = OP, .declines = declines, .cost = cost, .prepare = prepare, .run = run}
IM2COL(dlt_cpu_conv_im2col, "conv_im2col", DLT_OP_CONV);
IM2COL(dlt_cpu_conv_dx_im2col, "conv_dx_im2col", DLT_OP_CONV_DX);
IM2COL(dlt_cpu_conv_dw_im2col, "conv_dw_im2col", DLT_OP_CONV_DW);
