/* backend/cpu/rnn_rows.h: what the fast recurrence (rnn_rows.c) and its gradient (rnn_rows_dx.c) share.
 *
 * Rows of a batch do not see each other, so groups of rows are tasks: each goes through all steps on its own. What all steps
 * share is done before and after, as large products. Matrices that many rows are multiplied by are packed once.
 *
 * `saved`, in steps of processing order, each (B, .): h before the first step and after each; LSTM: c likewise; gates after
 * their activation, (T, B, G U); GRU: h U_n + bias before the reset gate. Evaluation keeps one step of states only: there,
 * h and c are overwritten from step to step. ref_rnn.c says what masks do. */
#ifndef DLT_CPU_RNN_ROWS_H
#define DLT_CPU_RNN_ROWS_H

#include "backend/cpu/gemm.h"

typedef struct dlt_rnn_shape {
    const dlt_rnn_attrs *attrs;
    const dlt_simd *simd;
    const dlt_gemm_ops *gemm; /* of all products; a recurrent kernel of bfloat16 says that they round their factors */
    int64_t batch, steps, channels, units, width; /* B, T, C, U, G U */
    int kernel, bias, recurrent, recurrent_bias, mask, initial, inputs; /* places among the operands of RNN; -1: not there */
    bool lstm, gru;
    int64_t group;                  /* rows that go through the steps together */
    int64_t h, c, gate, inner, end; /* in `saved`, in floats */
} dlt_rnn_shape;

/** first: operand of the node that is x. */
dlt_rnn_shape dlt_rnn_of(const dlt_node *node, int first, dlt_isa isa);
/** Places of states and gates in `saved`, or where one step of states is kept. */
void dlt_rnn_lay_out(dlt_rnn_shape *r, bool all_steps);
const char *dlt_rnn_declines(const dlt_cpu_query *query);

static inline int64_t dlt_rnn_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/** Which step of x is processed at t. */
static inline int64_t dlt_rnn_time(const dlt_rnn_shape *r, int64_t t)
{
    return r->attrs->backwards ? r->steps - 1 - t : t;
}

static inline bool dlt_rnn_masked(const dlt_rnn_shape *r, const uint8_t *mask, int64_t b, int64_t t)
{
    return mask != NULL && mask[b * r->steps + dlt_rnn_time(r, t)] == 0;
}

/* ---- packed matrices ----
 * In blocks of at most DEPTH rows, each in panels of gemm->nr columns. */

typedef struct dlt_rnn_matrix {
    int64_t depth, cols, at; /* at: floats from the start of the workspace */
    int64_t tasks;           /* of packing; 0 if there is no such matrix */
} dlt_rnn_matrix;

/** Lays one out at *at, which moves behind it. */
dlt_rnn_matrix dlt_rnn_matrix_at(const dlt_gemm_ops *gemm, int64_t depth, int64_t cols, int64_t *at);
/** Task of packing the matrix whose element (l, j) is from[l * row + j * col], of float32 or bfloat16. */
void dlt_rnn_pack(const dlt_gemm_ops *gemm, const dlt_rnn_matrix *m, float *work, const void *from, dlt_dtype type, int64_t row, int64_t col,
                  int64_t task);
/** c[rows x cols] (+)= a times columns [first, first + cols) of the matrix; rows of a and c lie *_row apart. first: a multiple of gemm->nr. pack: scratch. */
void dlt_rnn_times(const dlt_gemm_ops *gemm, const float *a, int64_t a_row, int64_t rows, const dlt_rnn_matrix *m, const float *work,
                   int64_t first, int64_t cols, float *c, int64_t c_row, bool add, float *pack);

/* ---- products over all steps ----
 * Row (t, b) of what is in processing order lies at (t B + b); row (b, time) of x at (b T + time). For one b, or one t, both
 * lie at even distances: a block is some rows of one of them, times some columns. */

typedef struct dlt_rnn_cut {
    bool by_sample;
    int64_t major, row_blocks, col_blocks, cols;
    int64_t tasks;
} dlt_rnn_cut;

typedef struct dlt_rnn_block {
    int64_t rows, first_col, cols;
    int64_t x, x_step; /* first row in x, and from one row to the next (maybe backwards), in rows */
    int64_t z, z_step; /* the same in processing order */
} dlt_rnn_block;

dlt_rnn_cut dlt_rnn_cut_of(const dlt_rnn_shape *r, int64_t cols);
dlt_rnn_block dlt_rnn_block_of(const dlt_rnn_shape *r, const dlt_rnn_cut *cut, int64_t task);

#endif
