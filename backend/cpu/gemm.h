/* backend/cpu/gemm.h: blocks of matrix products on one thread, from the packed micro-kernels of simd/gemm.c. */
#ifndef DLT_CPU_GEMM_H
#define DLT_CPU_GEMM_H

#include "backend/cpu/simd.h"

enum {
    DLT_GEMM_ROWS = 112, /* of a block, at most */
    DLT_GEMM_COLS = 256,
    DLT_GEMM_DEPTH = 192, /* packed at a time */
    DLT_GEMM_TALL = 512,  /* rows of a block of a large product, at most */
    /* floats that packing needs: a block of A whose panels are not full, and one of B */
    DLT_GEMM_PACK_A = (DLT_GEMM_ROWS + 16) * DLT_GEMM_DEPTH,
    DLT_GEMM_PACK = DLT_GEMM_PACK_A + (DLT_GEMM_COLS + 32) * DLT_GEMM_DEPTH
};

/**
 * Steps along the depth of so many elements, and packing of a panel of A (rows [first, first + count), at most mr) or of panels of B, from
 * float32 or, where `deep` is 2, bfloat16. Strides as in dlt_gemm_block.
 */
int64_t dlt_gemm_steps(const dlt_gemm_ops *ops, int64_t depth);
void dlt_gemm_pack_a(const dlt_gemm_ops *ops, float *d, const void *a, dlt_dtype type, int64_t row, int64_t col, int64_t count, int64_t depth);
void dlt_gemm_pack_b(const dlt_gemm_ops *ops, float *d, const void *b, dlt_dtype type, int64_t row, int64_t col, int64_t depth, int64_t cols);
/** Element `at` of such an operand. */
const void *dlt_gemm_at(const void *operand, dlt_dtype type, int64_t at);

/** c[rows x cols] (+)= a b: element (i, l) of a at a[i * a_row + l * a_col], one of the strides 1; b alike. */
typedef struct dlt_gemm_block {
    const void *a, *b;
    dlt_dtype a_type, b_type;
    float *c;
    int64_t a_row, a_col, b_row, b_col, ldc;
    int64_t rows, cols, depth; /* rows, cols: at most DLT_GEMM_ROWS, _COLS */
    bool add;
} dlt_gemm_block;
/** pack: DLT_GEMM_PACK floats. */
void dlt_gemm_run(const dlt_gemm_ops *ops, const dlt_gemm_block *g, float *pack);

/** How a product is cut into blocks: a function of its shape and the instruction set. */
typedef struct dlt_gemm_grid {
    int64_t row_blocks, col_blocks, splits; /* splits: of the depth; their sums are joined pairwise */
    int64_t split_depth;
} dlt_gemm_grid;
dlt_gemm_grid dlt_gemm_cut(const dlt_gemm_ops *ops, int64_t rows, int64_t cols, int64_t depth, int64_t batch);
/**
 * The same for a large product of one piece whose A is packed as a whole beforehand: taller blocks, for which packing B costs little. col_blocks is 1
 * where that does not pay.
 */
dlt_gemm_grid dlt_gemm_cut_large(const dlt_gemm_ops *ops, int64_t rows, int64_t cols, int64_t depth);
/** Start of block i of n in `size`, a multiple of `grain` but the end. */
int64_t dlt_gemm_edge(int64_t size, int64_t n, int64_t i, int64_t grain);
/** Steps of a chunk of the depth that is packed at a time, one of as many of equal length as it takes, and its place. */
typedef struct dlt_gemm_chunk {
    int64_t first, depth, steps; /* elements; elements; steps */
} dlt_gemm_chunk;
int64_t dlt_gemm_chunks(const dlt_gemm_ops *ops, int64_t depth);
dlt_gemm_chunk dlt_gemm_chunk_at(const dlt_gemm_ops *ops, int64_t depth, int64_t chunk);
/** Predicted seconds of the whole product on one thread. */
double dlt_gemm_seconds(dlt_isa isa, int64_t rows, int64_t cols, int64_t depth, int64_t batch);

/** Joins n partial results of `count` elements, `stride` apart, pairwise into the first, elements [first, end). */
void dlt_gemm_join(const dlt_simd *simd, float *partials, int64_t n, int64_t stride, int64_t first, int64_t end);

#endif
