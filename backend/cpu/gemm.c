/* backend/cpu/gemm.c: blocks of matrix products on one thread. */
#include "backend/cpu/gemm.h"

#include "base/alloc.h"

#include <assert.h>

int64_t dlt_gemm_edge(int64_t size, int64_t n, int64_t i, int64_t grain)
{
    const int64_t grains = dlt_divide_up(size, grain), at = grains * i / n * grain;
    return at < size ? at : size;
}

int64_t dlt_gemm_steps(const dlt_gemm_ops *ops, int64_t depth)
{
    return ops->deep == 1 ? depth : dlt_divide_up(depth, ops->deep);
}

const void *dlt_gemm_at(const void *operand, dlt_dtype type, int64_t at)
{
    return (const char *)operand + at * (int64_t)dlt_dtype_size(type);
}

int64_t dlt_gemm_chunks(const dlt_gemm_ops *ops, int64_t depth)
{
    return dlt_divide_up(dlt_gemm_steps(ops, depth), DLT_GEMM_DEPTH);
}

dlt_gemm_chunk dlt_gemm_chunk_at(const dlt_gemm_ops *ops, int64_t depth, int64_t chunk)
{
    const int64_t steps = dlt_gemm_steps(ops, depth), n = dlt_gemm_chunks(ops, depth);
    const int64_t first = n > 0 ? steps * chunk / n : 0, end = n > 0 ? steps * (chunk + 1) / n : 0;
    const int64_t end_element = end * ops->deep < depth ? end * ops->deep : depth;
    return (dlt_gemm_chunk){first * ops->deep, end_element - first * ops->deep, end - first};
}

void dlt_gemm_pack_a(const dlt_gemm_ops *ops, float *d, const void *a, dlt_dtype type, int64_t row, int64_t col, int64_t count, int64_t depth)
{
    enum { MOST = 32 };
    assert(count <= MOST && (type == DLT_F32 || (type == DLT_BF16 && ops->deep == 2)));
    if (type == DLT_F32 && row == 1) {
        ops->pack_columns(d, a, col, count, depth);
    } else if (type == DLT_F32) {
        const float *rows[MOST];
        for (int64_t i = 0; i < count; i++) {
            rows[i] = (const float *)a + i * row;
        }
        ops->pack_rows(d, rows, count, depth);
    } else if (row == 1) {
        ops->pack_columns_bf16(d, a, col, count, depth);
    } else {
        const uint16_t *rows[MOST];
        for (int64_t i = 0; i < count; i++) {
            rows[i] = (const uint16_t *)a + i * row;
        }
        ops->pack_rows_bf16(d, rows, count, depth);
    }
}

void dlt_gemm_pack_b(const dlt_gemm_ops *ops, float *d, const void *b, dlt_dtype type, int64_t row, int64_t col, int64_t depth, int64_t cols)
{
    if (type == DLT_F32) {
        ops->pack_b(d, b, row, col, depth, cols);
    } else {
        ops->pack_b_bf16(d, b, row, col, depth, cols);
    }
}

void dlt_gemm_run(const dlt_gemm_ops *ops, const dlt_gemm_block *g, float *pack)
{
    float *a = pack, *b = pack + DLT_GEMM_PACK_A;
    const int64_t panels = dlt_divide_up(g->rows, ops->mr);
    const int64_t chunks = g->depth > 0 ? dlt_gemm_chunks(ops, g->depth) : 1;
    /* a transposed A that is used by one panel of B alone is read where it is */
    const bool direct = g->a_row == 1 && g->cols <= ops->nr && ops->deep == 1;
    for (int64_t k = 0; k < chunks; k++) {
        const dlt_gemm_chunk ch = dlt_gemm_chunk_at(ops, g->depth, k);
        dlt_gemm_pack_b(ops, b, dlt_gemm_at(g->b, g->b_type, ch.first * g->b_row), g->b_type, g->b_row, g->b_col, ch.depth, g->cols);
        for (int64_t p = 0; p < panels && !direct; p++) { /* rows are shared out evenly among panels */
            const int64_t first = g->rows * p / panels, count = g->rows * (p + 1) / panels - first;
            dlt_gemm_pack_a(ops, a + p * ch.steps * ops->mr, dlt_gemm_at(g->a, g->a_type, ch.first * g->a_col + first * g->a_row),
                            g->a_type, g->a_row, g->a_col, count, ch.depth);
        }
        for (int64_t p = 0; p < panels; p++) {
            const int64_t first = g->rows * p / panels, count = g->rows * (p + 1) / panels - first;
            const float *at = direct ? (const float *)g->a + ch.first * g->a_col + first : a + p * ch.steps * ops->mr;
            ops->panel(at, direct ? g->a_col : ops->mr, count, b, ops->nr, ch.steps * ops->nr, ch.steps, g->c + first * g->ldc,
                       g->ldc, g->cols, g->add || k > 0);
        }
    }
}

/* Blocks are as large as packing allows, unless that leaves too few of them to share out. */
dlt_gemm_grid dlt_gemm_cut(const dlt_gemm_ops *ops, int64_t rows, int64_t cols, int64_t depth, int64_t batch)
{
    const double enough = 1.5e6, work = 2.0 * (double)rows * (double)cols * (double)depth; /* operations worth a task */
    const double fair = work * (double)batch / enough;
    const int64_t wanted = dlt_divide_up(fair > 64 ? 64 : fair < 1 ? 1 : (int64_t)fair, batch > 0 ? batch : 1);
    assert(ops->mr > 0 && ops->nr > 0); /* sides of what stays in registers */
    if (rows < 1 || cols < 1) {
        return (dlt_gemm_grid){1, 1, 1, depth};
    }
    dlt_gemm_grid g = {dlt_divide_up(rows, DLT_GEMM_ROWS), dlt_divide_up(cols, DLT_GEMM_COLS), 1, depth};
    while (g.row_blocks * g.col_blocks < wanted) {
        const int64_t height = rows / g.row_blocks, width = cols / g.col_blocks;
        /* packing a row of A costs about twice as much as a column of B: keep blocks wide */
        if (width >= 2 * ops->nr && width * 2 > height) {
            g.col_blocks = g.col_blocks * 2 < dlt_divide_up(cols, ops->nr) ? g.col_blocks * 2 : dlt_divide_up(cols, ops->nr);
        } else if (height >= 2 * ops->mr) {
            g.row_blocks *= 2;
        } else {
            break;
        }
    }
    if (g.row_blocks * g.col_blocks * 2 <= wanted && depth >= 2048 && batch == 1) {
        const int64_t more = wanted / (g.row_blocks * g.col_blocks), most = depth / 1024;
        g.splits = more < most ? more : most;
        g.split_depth = dlt_divide_up(dlt_divide_up(depth, g.splits), 16) * 16;
        g.splits = dlt_divide_up(depth, g.split_depth);
    }
    return g;
}

dlt_gemm_grid dlt_gemm_cut_large(const dlt_gemm_ops *ops, int64_t rows, int64_t cols, int64_t depth)
{
    enum { WANTED = 32, NARROW = 64 };
    dlt_gemm_grid g = {dlt_divide_up(rows, DLT_GEMM_TALL), dlt_divide_up(cols, DLT_GEMM_COLS), 1, depth};
    if (2.0 * (double)rows * (double)cols * (double)depth < 1e7 || rows < 2 * ops->mr) {
        g.col_blocks = 1;
        return g;
    }
    while (g.row_blocks * g.col_blocks < WANTED && cols / g.col_blocks >= 2 * NARROW) {
        g.col_blocks *= 2;
    }
    while (g.row_blocks * g.col_blocks < WANTED && rows / g.row_blocks >= 128) {
        g.row_blocks *= 2;
    }
    if (g.row_blocks * g.col_blocks * 2 <= WANTED && depth >= 2048) {
        const int64_t more = WANTED / (g.row_blocks * g.col_blocks), most = depth / 1024;
        g.splits = more < most ? more : most;
        g.split_depth = dlt_divide_up(dlt_divide_up(depth, g.splits), 16) * 16;
        g.splits = dlt_divide_up(depth, g.split_depth);
    }
    return g;
}

double dlt_gemm_seconds(dlt_isa isa, int64_t rows, int64_t cols, int64_t depth, int64_t batch)
{
    /* Operations a second of one thread, and of packing elements; measured on a 3.7 GHz Zen 4 (bench/bench_kernels.c). Only their
     * ratio to the rival's figures matters. */
    static const double rate[] = {22e9, 105e9, 110e9, 110e9}, packing[] = {0.7e9, 1.2e9, 1.6e9, 1.6e9};
    static const int64_t lanes[] = {8, 16, 32, 32};
    const int64_t half = lanes[isa] / 2;
    const double wide = (double)(dlt_divide_up(cols, half) * half);
    const double m = (double)rows, n = (double)cols, k = (double)depth;
    const bool large = batch == 1 && cols >= 128 && m * n * k >= 5e6; /* A is packed once */
    const double col_blocks = large ? 1 : (double)dlt_divide_up(cols, DLT_GEMM_COLS);
    const double row_blocks = (double)dlt_divide_up(rows, large ? DLT_GEMM_TALL : DLT_GEMM_ROWS);
    return (double)batch * (2 * m * wide * k / rate[isa] + (m * k * col_blocks + k * n * row_blocks) / packing[isa] + 2e-7);
}

void dlt_gemm_join(const dlt_simd *simd, float *partials, int64_t n, int64_t stride, int64_t first, int64_t end)
{
    for (int64_t step = 1; step < n; step *= 2) {
        for (int64_t i = 0; i + step < n; i += 2 * step) {
            simd->reduce[DLT_COMPUTE_F32]->rows_add(partials + i * stride + first, partials + (i + step) * stride + first,
                                                    end - first, DLT_REDUCE_SUM);
        }
    }
}
