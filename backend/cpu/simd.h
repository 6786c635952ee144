/* backend/cpu/simd.h: what the sources of backend/cpu/simd, compiled once for each instruction set, give to the rest of
 * the CPU backend: one table of functions a set. Programs hold the functions they need from preparation on.
 *
 * None of them reads or writes outside the operands it is given, and none depends on alignment. */
#ifndef DLT_CPU_SIMD_H
#define DLT_CPU_SIMD_H

#include "backend/cpu/kernel.h"

/** d[i] = op(a[i], b[i], c[i]) for i < n. Elements have the program's compute type. d may be one of the operands. */
typedef void dlt_ew_fn(void *d, const void *a, const void *b, const void *c, int64_t n);
/** Converts n elements between a stored type and a compute type. */
typedef void dlt_convert_fn(void *d, const void *s, int64_t n);

/** Compute types of programs, as indices. */
typedef enum dlt_compute { DLT_COMPUTE_F32, DLT_COMPUTE_F64, DLT_COMPUTE_I64, DLT_COMPUTE_COUNT } dlt_compute;
/** Which operands of an instruction are one element for all: sums of these index the table. */
enum { DLT_EW_A_ONE = 1, DLT_EW_B_ONE = 2, DLT_EW_C_ONE = 4, DLT_EW_FORMS = 8 };
typedef dlt_ew_fn *dlt_ew_forms[DLT_EW_FORMS];

/** Bringing operands into shape. */
typedef struct dlt_shapers {
    /** One element n times. */
    void (*fill)(void *d, const void *s, int64_t n);
    /** Each of s[0..rows) `length` times; d has room for a vector of 64 bytes more. */
    void (*spread)(void *d, const void *s, int64_t rows, int64_t length);
    /** INDEX of n elements from position `first` on: (position / inner) % size. */
    void (*index)(void *d, int64_t first, int64_t n, int64_t inner, int64_t size);
    /** UNIFORM: elements [first, first + n) of one sample (base/rng.h). NULL for integers. */
    void (*uniform)(void *d, uint64_t seed, uint32_t stream, uint64_t sample, uint64_t first, int64_t n);
} dlt_shapers;

/** Reductions in the order of graph/expr.h; acc is DLT_REDUCE_LANES elements. */
typedef struct dlt_reducers {
    /** Element i goes to lane i % 16; the first lies at lane 0. */
    void (*lanes_add)(void *acc, const void *s, int64_t n, dlt_reduce_kind kind);
    /** Joins the lanes by halves and stores one element. */
    void (*lanes_join)(void *d, const void *acc, dlt_reduce_kind kind);
    /** acc[i] = acc[i] (+) s[i]. */
    void (*rows_add)(void *acc, const void *s, int64_t n, dlt_reduce_kind kind);
    /** rows_add for each of `rows` rows of n elements, one after another. */
    void (*columns)(void *acc, const void *s, int64_t rows, int64_t n, dlt_reduce_kind kind);
    /** d[r] = row r of s, of `length` elements at most DLT_REDUCE_CHUNK, by its lanes. */
    void (*rows)(void *d, const void *s, int64_t rows, int64_t length, dlt_reduce_kind kind);
} dlt_reducers;

/**
 * Parts of matrix products (simd/gemm.c says how operands are packed). A step along the depth takes `deep` elements: one float, or two
 * bfloat16, which take a float's room, the first in its lower half; an odd depth is filled up with a zero. Packed operands, lda, ldb, and
 * the depth of `panel` count in steps; the functions that pack are told elements.
 */
typedef struct dlt_gemm_ops {
    int mr, nr, lanes; /* rows of a panel of A, columns of a panel of B */
    int deep;
    /** c[rows x cols] (+)= A panel (element (i, l) at a[l * lda + i]) times panels of B (element (l, j) of one at
     *  b[l * ldb + j], panels panel_stride apart; each can be read as whole vectors). rows <= mr. */
    void (*panel)(const float *a, int64_t lda, int64_t rows, const float *b, int64_t ldb, int64_t panel_stride, int64_t depth,
                  float *c, int64_t ldc, int64_t cols, bool add);
    /** A panel of A from `count` <= mr rows of `depth` elements: depth * mr floats. */
    void (*pack_rows)(float *d, const float *const *rows, int64_t count, int64_t depth);
    /** The same from A transposed: element (i, l) at a[l * stride + i]. */
    void (*pack_columns)(float *d, const float *a, int64_t stride, int64_t count, int64_t depth);
    /** Panels of B; element (l, j) at b[l * row_stride + j * col_stride]. */
    void (*pack_b)(float *d, const float *b, int64_t row_stride, int64_t col_stride, int64_t depth, int64_t cols);
    /** The same from bfloat16; NULL where `deep` is 1. */
    void (*pack_rows_bf16)(float *d, const uint16_t *const *rows, int64_t count, int64_t depth);
    void (*pack_columns_bf16)(float *d, const uint16_t *a, int64_t stride, int64_t count, int64_t depth);
    void (*pack_b_bf16)(float *d, const uint16_t *b, int64_t row_stride, int64_t col_stride, int64_t depth, int64_t cols);
    /** Does nothing but `rounds` times as many fused multiply-adds as fit the registers; how many operations that were. */
    double (*spin)(int64_t rounds);
} dlt_gemm_ops;

enum { DLT_CONV_BLOCK = 16 }; /* channels of a block, whatever the instruction set */

/** What the elements of a row of results are made of: taps, each a run of elements of x times rows of the kernel. */
typedef struct dlt_conv_taps {
    int64_t count, run;
    const int64_t *x_offset, *w_offset; /* of each tap, in floats */
    int64_t x_step, y_step;             /* from pixel to pixel */
    int64_t w_row;                      /* from one element of a run to the next */
    int64_t w_block, y_block;           /* from one block of result channels to the next */
    int64_t w_vector, y_vector;         /* set inside */
} dlt_conv_taps;

/** Inner loops of convolutions (simd/conv.c). */
typedef struct dlt_conv_ops {
    /** y[pixel, channel] = sum over taps and runs of x w, for `pixels` pixels and `blocks` blocks of channels. */
    void (*row)(const dlt_conv_taps *taps, const float *x, const float *w, float *y, int64_t pixels, int64_t blocks);
    /** acc[b, i, o] += sum over `lines` x `pixels` of x[i] dy[b, o]: i < 16 lie one after another, o is a block, b < blocks. */
    void (*dw_blocks)(float *acc, int64_t acc_block, const float *x, int64_t x_step, int64_t x_row, const float *dy, int64_t dy_row,
                      int64_t dy_block, int64_t pixels, int64_t lines, int64_t blocks);
    /** The same with i over `groups` runs of x, x_group apart. */
    void (*dw_first)(float *acc, int64_t acc_row, int64_t groups, int64_t run, const float *x, int64_t x_group, int64_t x_step,
                     int64_t x_row, const float *dy, int64_t dy_row, int64_t pixels, int64_t lines);
} dlt_conv_ops;

/** Rows [top, bottom) and columns [left, right) of a tile of 6 x 6 that lie inside the input; zeros stand for the others. */
typedef struct dlt_winograd_place {
    int64_t top, bottom, left, right;
} dlt_winograd_place;

/** Transforms of F(4 x 4, 3 x 3) for a block of channels (simd/winograd.c). Points of a transformed tile lie *_point floats apart. */
typedef struct dlt_winograd_ops {
    /** 36 points of 6 x 6 pixels of the input; x: the pixel at row 0 and column 0, which is read only if it is there. */
    void (*input)(float *v, int64_t v_point, const float *x, int64_t x_row, const dlt_winograd_place *place);
    /** rows x columns pixels, at most 4 x 4, from 36 points. */
    void (*output)(float *y, int64_t y_row, int64_t rows, int64_t columns, const float *m, int64_t m_point);
    /** 36 points of rows x columns pixels of the result's gradient. */
    void (*gradient)(float *v, int64_t v_point, const float *dy, int64_t dy_row, int64_t rows, int64_t columns);
    /** 36 points of 9 places of the kernel, w_place apart (below zero: turned round). */
    void (*kernel)(float *u, int64_t u_point, const float *w, int64_t w_place);
    /** 9 places of the kernel's gradient from the gradients of 36 points. */
    void (*weights)(float *w, int64_t w_place, const float *u, int64_t u_point);
} dlt_winograd_ops;

/** Cells of a window as they are met at each of `pixels` positions in a row of the result. */
typedef struct dlt_pool_row {
    int64_t pixels, channels;
    int64_t x_step, y_step;     /* floats from pixel to pixel, of input and result */
    int64_t rows, columns;      /* cells */
    int64_t row_step, col_step; /* floats from cell to cell */
    int64_t first_cell, cells_per_row; /* number of the first cell, and how it grows from row to row */
} dlt_pool_row;

/** Pools of float32 (simd/pool.c). `index` says which cell won; y and index may be NULL. */
typedef struct dlt_pool_ops {
    void (*max)(float *y, uint8_t *index, const float *x, const dlt_pool_row *r);
    /** dx (+)= dy at the cells that won; add: else the cells are set. */
    void (*max_dx)(float *dx, const float *dy, const uint8_t *index, const dlt_pool_row *r, bool add);
    /** y = sum / count. */
    void (*avg)(float *y, const float *x, const dlt_pool_row *r, float count);
    /** dx += dy / count. */
    void (*avg_dx)(float *dx, const float *dy, const dlt_pool_row *r, float count);
} dlt_pool_ops;

/** Some rows of some channels: `segments` times `rows` rows of `width` floats. */
typedef struct dlt_channel_rows {
    int64_t segments, segment_step, rows, row_step, width;
} dlt_channel_rows;

/** Softmax and norms (simd/norm.c). Any result may be NULL where the comment says so. */
typedef struct dlt_norm_ops {
    void (*softmax)(float *y, const float *x, int64_t n);
    void (*softmax_dx)(float *dx, const float *dy, const float *y, int64_t n);
    /** Loss of one row; y (may be NULL): probabilities. t: probabilities of the target, or NULL: its class. */
    float (*xent)(float *y, const float *x, const float *t, int64_t target, int64_t n);
    /** One row: y = (x - mean) rstd gamma + beta; gamma, beta, y may be NULL. stats: mean, variance, rstd. */
    void (*layer)(float *y, float stats[3], const float *x, const float *gamma, const float *beta, float epsilon, int64_t n);
    /** One row; gamma, dx may be NULL; dgamma, dbeta (may be NULL) are added to. */
    void (*layer_dx)(float *dx, float *dgamma, float *dbeta, const float *dy, const float *x, float mean, float rstd,
                     const float *gamma, int64_t n);
    /** Mean and sum of squared distances from it, of each channel. */
    void (*moments)(float *mean, float *squares, const float *x, const dlt_channel_rows *r);
    /** y = (x - mean) rstd gamma + beta, gamma and beta not NULL. */
    void (*batch)(float *y, const float *x, const float *mean, const float *rstd, const float *gamma, const float *beta,
                  const dlt_channel_rows *r);
    /** Sums of dy and of dy (x - mean) rstd. */
    void (*batch_sums)(float *sum, float *product, const float *dy, const float *x, const float *mean, const float *rstd,
                       const dlt_channel_rows *r);
    /** dx = scale (dy - a - (x - mean) rstd b), all but dy and x one number a channel. */
    void (*batch_dx)(float *dx, const float *dy, const float *x, const float *mean, const float *rstd, const float *scale,
                     const float *a, const float *b, const dlt_channel_rows *r);
} dlt_norm_ops;

/** One row of a step of a recurrent cell and its gradient (simd/rnn.c), gates of `units` one after another. dh, dc: gradients of the states
 * after the step, in; of the states before it as far as it does not come through the product, out. States may be overwritten in place. */
typedef struct dlt_rnn_ops {
    void (*lstm)(float *z, const float *c, float *next_c, float *next_h, int64_t units);
    void (*lstm_back)(float *dz, float *dh, float *dc, const float *z, const float *c, const float *next_c, int64_t units);
    /** inner: what the reset gate is multiplied by. dz: of u, r, n, and of inner. */
    void (*gru)(float *z, const float *inner, const float *h, float *next_h, int64_t units);
    void (*gru_back)(float *dz, float *dh, const float *z, const float *inner, const float *h, int64_t units);
    void (*simple)(float *z, float *next_h, int64_t units);
    void (*simple_back)(float *dz, float *dh, const float *z, int64_t units);
    /** sum[j] += x[r, j] over rows, `stride` floats apart, in their order. */
    void (*sums)(double *sum, const float *x, int64_t stride, int64_t rows, int64_t cols);
} dlt_rnn_ops;

/** d = wa a + wb b, n floats each; two products and a sum, each rounded (simd/warp.c). d may be a. */
typedef void dlt_blend_fn(float *d, const float *a, float wa, const float *b, float wb, int64_t n);

typedef struct dlt_simd {
    int lanes; /* floats in a vector */

    const dlt_ew_forms *ew[DLT_COMPUTE_COUNT];        /* by op; NULL where an op or a form of it does not exist */
    dlt_ew_fn *const *cast[DLT_COMPUTE_COUNT];        /* CAST by type; NULL: not possible here */
    dlt_convert_fn *const (*load)[DLT_DTYPE_COUNT];   /* by compute and stored type; NULL: the same */
    dlt_convert_fn *const (*store)[DLT_DTYPE_COUNT];
    const dlt_shapers *shape[DLT_COMPUTE_COUNT];
    const dlt_reducers *reduce[DLT_COMPUTE_COUNT];
    const dlt_gemm_ops *gemm;
    const dlt_conv_ops *conv;
    const dlt_winograd_ops *winograd;
    const dlt_pool_ops *pool;
    const dlt_norm_ops *norm;
    const dlt_rnn_ops *rnn;
    dlt_blend_fn *blend;
} dlt_simd;

/** The table of an instruction set that this build has (on other machines than x86 only plain). */
const dlt_simd *dlt_simd_of(dlt_isa isa);
/** Products of bfloat16 numbers with sums in float32 (simd/bf16/gemm_bf16.c); NULL where the instruction set has none. */
const dlt_gemm_ops *dlt_gemm_bf16_of(dlt_isa isa);

#endif
