/* backend/cpu/matmul.c: matrix products, by packed micro-kernels or by OpenBLAS on tiles.
 *
 * The result is cut into blocks of rows and columns, each computed by one task over the whole depth; where there are too
 * few blocks the depth is split too, partial results lie in workspace and phase 1 joins them pairwise. An epilogue runs on
 * each block while it is in cache. Which kernel is taken and how it cuts does not depend on the epilogue: a fused product
 * has the bits of a separate one. */
#include "backend/cpu/gemm.h"
#include "backend/cpu/tiles.h"

#include "base/alloc.h"

#include <cblas.h>
#include <string.h>

enum { BLAS_TILE = 256, BLAS_LEAST = 64 };

/* A product as `batch` of (rows x depth) (depth x cols). */
typedef struct shape {
    int64_t rows, cols, depth, batch;
    int64_t a_step, b_step;               /* elements from one of the batch to the next */
    int64_t a_row, a_col, b_row, b_col;   /* strides */
    bool trans_a, trans_b;
} shape;

typedef struct prepared {
    shape s;
    dlt_dtype type, a_type, b_type; /* of the operands of gemm_openblas; of gemm_packed and gemm_bf16 */
    const dlt_simd *simd;
    const dlt_gemm_ops *ops;
    dlt_gemm_grid grid;
    const dlt_tiles *epilogue; /* NULL: none */
    int64_t join_rows;         /* split depth: rows of a task of the last phase */
    int64_t panels, pack_tasks; /* large products: of A, packed as a whole in phase 0; else 0 */
    int64_t steps;             /* of the whole depth */
    int64_t sums_at;           /* floats: where partial results begin in the workspace, behind A */
} prepared;

static shape shape_of(const dlt_node *n)
{
    const dlt_matmul_attrs *t = n->attrs;
    const dlt_shape *a = &n->inputs[0]->shape, *b = &n->inputs[1]->shape;
    shape s = {.batch = 1, .trans_a = t->trans_a, .trans_b = t->trans_b};
    const int64_t a0 = a->dim[a->rank - 2], a1 = a->dim[a->rank - 1], b0 = b->dim[b->rank - 2], b1 = b->dim[b->rank - 1];
    int64_t leading = 1;
    for (int i = 0; i + 2 < a->rank; i++) {
        leading *= a->dim[i];
    }
    s.rows = t->trans_a ? a1 : a0;
    s.depth = t->trans_a ? a0 : a1;
    s.cols = t->trans_b ? b0 : b1;
    if (b->rank == 2) {
        s.rows *= leading; /* leading axes are rows */
    } else {
        s.batch = leading;
        s.a_step = a0 * a1;
        s.b_step = b0 * b1;
    }
    s.a_row = t->trans_a ? 1 : a1;
    s.a_col = t->trans_a ? a1 : 1;
    s.b_row = t->trans_b ? 1 : b1;
    s.b_col = t->trans_b ? b1 : 1;
    return s;
}

static const char *decline_type(const dlt_cpu_query *query, bool doubles)
{
    const dlt_node *n = query->node;
    const dlt_dtype type = n->inputs[0]->type;
    if (n->inputs[1]->type != type || !(type == DLT_F32 || (doubles && type == DLT_F64))) {
        return doubles ? "needs float32 or float64" : "needs float32";
    }
    if (n->epilogue != NULL) {
        return n->epilogue->compute != type ? "the epilogue computes in another type"
                                            : dlt_tiles_decline(n, n->epilogue, true);
    }
    return n->outputs[0]->type != type ? "the result has another type" : NULL;
}

/* ---- packed micro-kernels ---- */

static const char *packed_declines(const dlt_cpu_query *query)
{
    return decline_type(query, false);
}

/* Operands of float32 and bfloat16: all are multiplied as bfloat16. */
static const char *bf16_declines(const dlt_cpu_query *query)
{
    const dlt_node *n = query->node;
    const dlt_dtype a = n->inputs[0]->type, b = n->inputs[1]->type;
    if (!(a == DLT_BF16 || b == DLT_BF16) || !(a == DLT_BF16 || a == DLT_F32) || !(b == DLT_BF16 || b == DLT_F32)) {
        return "needs an operand of bfloat16";
    }
    if (dlt_gemm_bf16_of(query->isa) == NULL) {
        return "needs AVX512-BF16";
    }
    if (n->epilogue != NULL) {
        return n->epilogue->compute != DLT_F32 ? "the epilogue computes in another type" : dlt_tiles_decline(n, n->epilogue, true);
    }
    return n->outputs[0]->type != DLT_F32 ? "the result has another type" : NULL;
}

static double packed_cost(const dlt_cpu_query *query)
{
    const shape s = shape_of(query->node);
    return dlt_gemm_seconds(query->isa, s.rows, s.cols, s.depth, s.batch);
}

static bool prepare_epilogue(const dlt_cpu_query *query, prepared *p)
{
    if (query->node->epilogue == NULL) {
        return true;
    }
    const bool rows = p->grid.col_blocks == 1 && p->s.cols <= 128;
    p->epilogue = dlt_tiles_create(query, query->node->epilogue, true, rows ? DLT_TILES_ROWS : DLT_TILES_PIECES);
    return p->epilogue != NULL;
}

static bool packed_prepare(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    p->s = shape_of(query->node);
    p->type = DLT_F32;
    p->a_type = query->node->inputs[0]->type;
    p->b_type = query->node->inputs[1]->type;
    p->simd = dlt_simd_of(query->isa);
    p->ops = p->a_type == DLT_BF16 || p->b_type == DLT_BF16 ? dlt_gemm_bf16_of(query->isa) : p->simd->gemm;
    p->grid = dlt_gemm_cut(p->ops, p->s.rows, p->s.cols, p->s.depth, p->s.batch);
    schedule->prepared = p;
    if (p->s.rows == 0 || p->s.cols == 0) { /* an empty result */
        schedule->phases = 1;
        return true;
    }
    const dlt_gemm_grid large = dlt_gemm_cut_large(p->ops, p->s.rows, p->s.cols, p->s.depth);
    if (p->s.batch == 1 && large.col_blocks > 1) {
        enum { PACK_ELEMENTS = 65536 }; /* of a task */
        p->grid = large;
        p->panels = dlt_divide_up(p->s.rows, p->ops->mr);
        p->steps = dlt_gemm_steps(p->ops, p->s.depth);
        p->pack_tasks = dlt_divide_up(p->panels, dlt_divide_up(PACK_ELEMENTS, p->steps * p->ops->mr));
        p->sums_at = p->panels * p->ops->mr * p->steps;
        schedule->tasks[schedule->phases++] = p->pack_tasks;
    }
    schedule->tasks[schedule->phases++] = p->s.batch * p->grid.row_blocks * p->grid.col_blocks * p->grid.splits;
    int64_t floats = p->sums_at;
    if (p->grid.splits > 1) {
        const int64_t wanted = p->s.rows * p->s.cols * p->grid.splits / 65536 + 1;
        p->join_rows = (p->s.rows + wanted - 1) / wanted;
        schedule->tasks[schedule->phases++] = (p->s.rows + p->join_rows - 1) / p->join_rows;
        floats += p->grid.splits * p->s.rows * p->s.cols;
    }
    schedule->workspace_bytes = floats * (int64_t)sizeof(float);
    return prepare_epilogue(query, p);
}

_Static_assert((DLT_GEMM_PACK + DLT_GEMM_TALL * DLT_GEMM_COLS) * (int)sizeof(float) + (int)DLT_TILES_EPILOGUE_BYTES <=
                   (int)DLT_CPU_SCRATCH_BYTES,
               "scratch is too small");

/* Where a thread's scratch has what: packed operands, then a block of the result, then the epilogue's buffers. */
static float *scratch_block(const dlt_cpu_call *call)
{
    return (float *)call->scratch + DLT_GEMM_PACK;
}
static void *scratch_epilogue(const dlt_cpu_call *call)
{
    return (char *)call->scratch + DLT_CPU_SCRATCH_BYTES - DLT_TILES_EPILOGUE_BYTES;
}

static void run_epilogue(const dlt_cpu_call *call, const prepared *p, const void *block, int64_t stride, int64_t row,
                         int64_t rows, int64_t column, int64_t columns)
{
    dlt_tiles_run run;
    const void *in[DLT_TILES_MAX_INPUTS] = {NULL};
    const dlt_node *n = call->node;
    for (int i = n->own_inputs; i < n->input_count; i++) {
        in[1 + i - n->own_inputs] = call->in[i];
    }
    dlt_tiles_begin(&run, p->epilogue, in, call->out, scratch_epilogue(call));
    dlt_tiles_run_block(&run, block, stride, p->s.cols, row, rows, column, columns);
}

/* Row from which on panel `panel` of A has its rows. */
static int64_t panel_row(const prepared *p, int64_t panel)
{
    return p->s.rows * panel / p->panels;
}

/* Some panels of A over their whole depth. */
static void pack_panels(const dlt_cpu_call *call, const prepared *p, int64_t task)
{
    const shape *s = &p->s;
    for (int64_t i = p->panels * task / p->pack_tasks; i < p->panels * (task + 1) / p->pack_tasks; i++) {
        const int64_t first = panel_row(p, i), count = panel_row(p, i + 1) - first;
        dlt_gemm_pack_a(p->ops, (float *)call->workspace + i * p->ops->mr * p->steps, dlt_gemm_at(call->in[0], p->a_type, first * s->a_row),
                        p->a_type, s->a_row, s->a_col, count, s->depth);
    }
}

/* A block of a large product, from packed panels of A; what of B it needs is packed here. */
static void run_large(const dlt_cpu_call *call, const prepared *p, int64_t task)
{
    const shape *s = &p->s;
    const dlt_gemm_grid *g = &p->grid;
    const int64_t row_block = task % g->row_blocks, col_block = task / g->row_blocks % g->col_blocks, split = task / (g->row_blocks * g->col_blocks);
    const int64_t panel = p->panels * row_block / g->row_blocks, end_panel = p->panels * (row_block + 1) / g->row_blocks;
    const int64_t row = panel_row(p, panel), rows = panel_row(p, end_panel) - row;
    const int64_t column = dlt_gemm_edge(s->cols, g->col_blocks, col_block, p->ops->nr);
    const int64_t cols = dlt_gemm_edge(s->cols, g->col_blocks, col_block + 1, p->ops->nr) - column;
    const int64_t start = split * g->split_depth, whole = s->depth - start < g->split_depth ? s->depth - start : g->split_depth;
    const bool in_scratch = p->epilogue != NULL && g->splits == 1;
    float *pack = call->scratch, *sums = (float *)call->workspace + p->sums_at + split * s->rows * s->cols;
    float *c = in_scratch ? scratch_block(call) : (g->splits > 1 ? sums : (float *)call->out[0]) + row * s->cols + column;
    const int64_t ldc = in_scratch ? cols : s->cols, chunks = dlt_gemm_chunks(p->ops, whole);
    for (int64_t k = 0; k < chunks && cols > 0; k++) {
        const dlt_gemm_chunk ch = dlt_gemm_chunk_at(p->ops, whole, k);
        const int64_t l = start + ch.first;
        dlt_gemm_pack_b(p->ops, pack, dlt_gemm_at(call->in[1], p->b_type, l * s->b_row + column * s->b_col), p->b_type, s->b_row, s->b_col,
                        ch.depth, cols);
        for (int64_t i = panel; i < end_panel; i++) {
            const int64_t first = panel_row(p, i);
            p->ops->panel((const float *)call->workspace + (i * p->steps + l / p->ops->deep) * p->ops->mr, p->ops->mr, panel_row(p, i + 1) - first,
                          pack, p->ops->nr, ch.steps * p->ops->nr, ch.steps, c + (first - row) * ldc, ldc, cols, k > 0);
        }
    }
    if (in_scratch && rows > 0 && cols > 0) {
        run_epilogue(call, p, c, ldc, row, rows, column, cols);
    }
}

static void packed_run(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    const shape *s = &p->s;
    const dlt_gemm_grid *g = &p->grid;
    if (p->panels > 0 && phase == 0) {
        pack_panels(call, p, task);
        return;
    }
    if (p->panels > 0 && phase == 1) {
        run_large(call, p, task);
        return;
    }
    if (phase > 0) {
        const int64_t row = task * p->join_rows, rows = s->rows - row < p->join_rows ? s->rows - row : p->join_rows;
        float *sums = (float *)call->workspace + p->sums_at;
        dlt_gemm_join(p->simd, sums, g->splits, s->rows * s->cols, row * s->cols, (row + rows) * s->cols);
        if (p->epilogue != NULL) {
            run_epilogue(call, p, sums + row * s->cols, s->cols, row, rows, 0, s->cols);
        } else {
            memcpy((float *)call->out[0] + row * s->cols, sums + row * s->cols, (size_t)(rows * s->cols) * sizeof *sums);
        }
        return;
    }
    const int64_t row_block = task % g->row_blocks, col_block = task / g->row_blocks % g->col_blocks;
    const int64_t split = task / (g->row_blocks * g->col_blocks) % g->splits;
    const int64_t one = task / (g->row_blocks * g->col_blocks * g->splits); /* of the batch */
    const int64_t row = dlt_gemm_edge(s->rows, g->row_blocks, row_block, 1);
    const int64_t end_row = dlt_gemm_edge(s->rows, g->row_blocks, row_block + 1, 1);
    const int64_t column = dlt_gemm_edge(s->cols, g->col_blocks, col_block, p->ops->nr);
    const int64_t end_column = dlt_gemm_edge(s->cols, g->col_blocks, col_block + 1, p->ops->nr);
    const int64_t l = split * g->split_depth, depth = s->depth - l < g->split_depth ? s->depth - l : g->split_depth;
    const bool in_scratch = p->epilogue != NULL && g->splits == 1;
    dlt_gemm_block block = {.a = dlt_gemm_at(call->in[0], p->a_type, one * s->a_step + row * s->a_row + l * s->a_col),
                            .b = dlt_gemm_at(call->in[1], p->b_type, one * s->b_step + l * s->b_row + column * s->b_col),
                            .a_type = p->a_type,
                            .b_type = p->b_type,
                            .a_row = s->a_row,
                            .a_col = s->a_col,
                            .b_row = s->b_row,
                            .b_col = s->b_col,
                            .rows = end_row - row,
                            .cols = end_column - column,
                            .depth = depth};
    if (in_scratch) {
        block.c = scratch_block(call);
        block.ldc = block.cols;
    } else {
        float *to = g->splits > 1 ? (float *)call->workspace + split * s->rows * s->cols : (float *)call->out[0];
        block.c = to + (one * s->rows + row) * s->cols + column;
        block.ldc = s->cols;
    }
    dlt_gemm_run(p->ops, &block, call->scratch);
    if (in_scratch) {
        run_epilogue(call, p, block.c, block.ldc, one * s->rows + row, block.rows, column, block.cols);
    }
}

const dlt_cpu_kernel dlt_cpu_gemm_packed = {.name = "gemm_packed",
                                            .op = DLT_OP_MATMUL,
                                            .declines = packed_declines,
                                            .cost = packed_cost,
                                            .prepare = packed_prepare,
                                            .run = packed_run};

const dlt_cpu_kernel dlt_cpu_gemm_bf16 = {
    .name = "gemm_bf16", .op = DLT_OP_MATMUL, .declines = bf16_declines, .prepare = packed_prepare, .run = packed_run};

/* ---- OpenBLAS ----
 *
 * The serial build that Debian ships is not safe to call from several threads at once, though it locks its allocator: of
 * 18,000 equal products on 6 threads of a busy machine a few had other bits (0.3.21; none with a lock around each call, none
 * on one thread). So all tiles are one task, and the cost says that the other threads wait. */

static const char *blas_declines(const dlt_cpu_query *query)
{
    const shape s = shape_of(query->node);
    const char *reason = decline_type(query, true);
    if (reason == NULL && (s.rows < BLAS_LEAST || s.cols < BLAS_LEAST)) {
        return "needs 64 rows and columns"; /* narrower tiles give other bits than the whole (decisions 19) */
    }
    if (reason == NULL && s.depth < 1) {
        return "needs a depth";
    }
    return reason;
}

static double blas_cost(const dlt_cpu_query *query)
{
    /* Measured on a 3.7 GHz Zen 4 (bench/bench_kernels.c): rate on large tiles, and what a call costs. */
    static const double rate[] = {90e9, 90e9, 90e9, 90e9};
    const shape s = shape_of(query->node);
    const double m = (double)s.rows, n = (double)s.cols, k = (double)s.depth;
    const double tiles = (double)(dlt_divide_up(s.rows, BLAS_TILE) * dlt_divide_up(s.cols, BLAS_TILE));
    const double idle = 2; /* what is not shared out counts as if there were two threads, at least */
    return idle * (double)s.batch *
           (2 * m * n * k / rate[query->isa] + k * (m * (n / BLAS_TILE + 1) + n * (m / BLAS_TILE + 1)) / 1e9 + tiles * 2e-6);
}

static bool blas_prepare(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    p->s = shape_of(query->node);
    p->type = query->node->inputs[0]->type;
    p->simd = dlt_simd_of(query->isa);
    p->ops = p->simd->gemm;
    const int64_t tile = p->type == DLT_F64 ? BLAS_TILE / 2 : BLAS_TILE;
    p->grid = (dlt_gemm_grid){(p->s.rows + tile - 1) / tile, (p->s.cols + tile - 1) / tile, 1, p->s.depth};
    schedule->prepared = p;
    schedule->phases = 1;
    schedule->tasks[0] = 1;
    return prepare_epilogue(query, p);
}

static void blas_tile(const dlt_cpu_call *call, const prepared *p, int64_t task)
{
    const shape *s = &p->s;
    const dlt_gemm_grid *g = &p->grid;
    const int64_t row_block = task % g->row_blocks, col_block = task / g->row_blocks % g->col_blocks;
    const int64_t one = task / (g->row_blocks * g->col_blocks);
    const int64_t row = dlt_gemm_edge(s->rows, g->row_blocks, row_block, 1);
    const int64_t rows = dlt_gemm_edge(s->rows, g->row_blocks, row_block + 1, 1) - row;
    const int64_t column = dlt_gemm_edge(s->cols, g->col_blocks, col_block, 1);
    const int64_t cols = dlt_gemm_edge(s->cols, g->col_blocks, col_block + 1, 1) - column;
    const int64_t a = one * s->a_step + row * s->a_row, b = one * s->b_step + column * s->b_col;
    const int64_t c = (one * s->rows + row) * s->cols + column;
    const CBLAS_TRANSPOSE ta = s->trans_a ? CblasTrans : CblasNoTrans, tb = s->trans_b ? CblasTrans : CblasNoTrans;
    const blasint lda = (blasint)(s->trans_a ? s->a_col : s->a_row), ldb = (blasint)(s->trans_b ? s->b_col : s->b_row);
    if (p->type == DLT_F64) {
        /* with an epilogue the block goes to scratch; 128 x 128 doubles fit */
        double *to = p->epilogue != NULL ? (double *)call->scratch : (double *)call->out[0] + c;
        const int64_t ldc = p->epilogue != NULL ? cols : s->cols;
        cblas_dgemm(CblasRowMajor, ta, tb, (blasint)rows, (blasint)cols, (blasint)s->depth, 1, (const double *)call->in[0] + a,
                    lda, (const double *)call->in[1] + b, ldb, 0, to, (blasint)ldc);
        if (p->epilogue != NULL) {
            run_epilogue(call, p, to, ldc, one * s->rows + row, rows, column, cols);
        }
        return;
    }
    float *to = p->epilogue != NULL ? (float *)call->scratch : (float *)call->out[0] + c;
    const int64_t ldc = p->epilogue != NULL ? cols : s->cols;
    cblas_sgemm(CblasRowMajor, ta, tb, (blasint)rows, (blasint)cols, (blasint)s->depth, 1, (const float *)call->in[0] + a, lda,
                (const float *)call->in[1] + b, ldb, 0, to, (blasint)ldc);
    if (p->epilogue != NULL) {
        run_epilogue(call, p, to, ldc, one * s->rows + row, rows, column, cols);
    }
}

static void blas_run(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    (void)phase, (void)task;
    for (int64_t i = 0; i < p->s.batch * p->grid.row_blocks * p->grid.col_blocks; i++) {
        blas_tile(call, p, i);
    }
}

const dlt_cpu_kernel dlt_cpu_gemm_openblas = {.name = "gemm_openblas",
                                              .op = DLT_OP_MATMUL,
                                              .declines = blas_declines,
                                              .cost = blas_cost,
                                              .prepare = blas_prepare,
                                              .run = blas_run};
