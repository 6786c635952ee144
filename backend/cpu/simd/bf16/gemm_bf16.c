/* backend/cpu/simd/bf16/gemm_bf16.c: micro-kernels of products of bfloat16 numbers, and the packing of their operands.
 *
 *   c[i, j] (+)= sum_s (a[i, 2 s] b[2 s, j] + a[i, 2 s + 1] b[2 s + 1, j])      sums in float32, in the order of s
 *
 * One VDPBF16PS is a step: it does twice the work of a fused multiply-add. Operands are packed as in simd/gemm.c, a pair along the
 * depth in place of a float; float32 operands are rounded to the nearest on the way (ties to even, NaN stays NaN). The instruction
 * takes subnormal operands for 0 and gives 0 for a subnormal sum: that is all in which the packing of float32 operands differs from
 * their conversion elsewhere. */
#include "backend/cpu/simd.h"
#include "backend/cpu/simd/transpose.h"

enum {
    MR = 14,
    NV = 2,
    NR = NV * VW,
    AHEAD = 16 /* steps along the depth that are fetched before they are needed, as in simd/gemm.c */
};

/* ---- micro-kernels ---- */

/* acc + the products of pairs */
VEC vf vdot(vf acc, __m512i a, __m512i b) { return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b); }

/* rows and vectors are constants where this is inlined. */
VEC void micro(const int rows, const int vectors, const float *a, int64_t lda, const float *b, int64_t ldb, int64_t depth,
               float *c, int64_t ldc, int64_t last, bool add)
{
    vf acc[MR][NV];
    UNROLL(16)
    for (int i = 0; i < rows; i++) {
        UNROLL(2)
        for (int v = 0; v < vectors; v++) {
            acc[i][v] = vzero();
        }
    }
    if (add) {
        UNROLL(16)
        for (int i = 0; i < rows; i++) {
            UNROLL(2)
            for (int v = 0; v < vectors; v++) {
                acc[i][v] = v + 1 < vectors ? vload(c + i * ldc + v * VW) : vload_to(c + i * ldc + v * VW, last);
            }
        }
    }
    for (int64_t l = 0; l < depth; l++, a += lda, b += ldb) {
        __m512i bv[NV];
        __builtin_prefetch(a + AHEAD * lda);
        UNROLL(2)
        for (int v = 0; v < vectors; v++) {
            bv[v] = _mm512_loadu_si512(b + v * VW);
        }
        UNROLL(16)
        for (int i = 0; i < rows; i++) {
            const __m512i av = vbits(vset(a[i]));
            UNROLL(2)
            for (int v = 0; v < vectors; v++) {
                acc[i][v] = vdot(acc[i][v], av, bv[v]);
            }
        }
    }
    UNROLL(16)
    for (int i = 0; i < rows; i++) {
        UNROLL(2)
        for (int v = 0; v < vectors; v++) {
            if (v + 1 < vectors) {
                vstore(c + i * ldc + v * VW, acc[i][v]);
            } else {
                vstore_to(c + i * ldc + v * VW, acc[i][v], last);
            }
        }
    }
}

/* last: columns in the last vector */
typedef void micro_fn(const float *a, int64_t lda, const float *b, int64_t ldb, int64_t depth, float *c, int64_t ldc,
                      int64_t last, bool add);

#define MICRO(rows, vectors)                                                                                 \
    static void micro_##rows##_##vectors(const float *a, int64_t lda, const float *b, int64_t ldb, int64_t depth, float *c, \
                                         int64_t ldc, int64_t last, bool add)                                \
    {                                                                                                        \
        micro(rows, vectors, a, lda, b, ldb, depth, c, ldc, last, add);                                      \
    }
#define MICROS(rows) MICRO(rows, 1) MICRO(rows, 2)
#define ROW(rows) {micro_##rows##_1, micro_##rows##_2}
MICROS(1)
MICROS(2)
MICROS(3)
MICROS(4)
MICROS(5)
MICROS(6)
MICROS(7)
MICROS(8)
MICROS(9)
MICROS(10)
MICROS(11)
MICROS(12)
MICROS(13)
MICROS(14)

static micro_fn *const micros[MR + 1][NV] = {
    {NULL, NULL}, ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7), ROW(8), ROW(9), ROW(10), ROW(11), ROW(12), ROW(13), ROW(14),
};

static void panel(const float *a, int64_t lda, int64_t rows, const float *b, int64_t ldb, int64_t panel_stride,
                  int64_t depth, float *c, int64_t ldc, int64_t cols, bool add)
{
    for (; cols > 0; cols -= NR, b += panel_stride, c += NR) {
        const int64_t n = cols < NR ? cols : NR, vectors = (n + VW - 1) / VW;
        micros[rows][vectors - 1](a, lda, b, ldb, depth, c, ldc, n - (vectors - 1) * VW, add);
    }
}

/* ---- packing: each function for both types of elements; `half` is a constant where they are inlined ---- */

enum { PAIR = 2, WIDE = PAIR * VW /* elements of a vector of pairs */ };

VEC const void *element(const void *at, bool half, int64_t i)
{
    return (const char *)at + i * (half ? (int64_t)sizeof(uint16_t) : (int64_t)sizeof(float));
}

/* Up to 16 floats; those behind the n-th are 0. */
VEC vf some(const void *at, int64_t n)
{
    return n <= 0 ? vzero() : vload_to(at, n);
}

/* Elements 0 .. n - 1 of a row as pairs, zeros behind them. n > 0 */
VEC __m512i pairs(const void *at, bool half, int64_t n)
{
    if (half) {
        return n >= WIDE ? _mm512_loadu_si512(at) : _mm512_maskz_loadu_epi16((__mmask32)((UINT64_C(1) << n) - 1), at);
    }
    return (__m512i)_mm512_cvtne2ps_pbh(some((const float *)at + VW, n - VW), some(at, n));
}

/* Pairs of the elements 0 .. n - 1, at most VW, of two rows; without a second row its elements are 0. n > 0 */
VEC __m512i two_rows(const void *first, const void *second, bool half, int64_t n)
{
    if (half) {
        const __mmask16 m = n >= VW ? 0xFFFF : vfirst(n);
        const __m512i x = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, first));
        const __m512i y = _mm512_cvtepu16_epi32(second != NULL ? _mm256_maskz_loadu_epi16(m, second) : _mm256_setzero_si256());
        return _mm512_or_si512(x, _mm512_slli_epi32(y, 16));
    }
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19,
                                           3, 18, 2, 17, 1, 16, 0);
    const vf x = some(first, n), y = second != NULL ? some(second, n) : vzero();
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(y, x));
}

/* Step s of row i to d[s * stride + i], for i < count <= VW. As `turn` of simd/gemm.c. */
VEC void turn(float *d, int64_t stride, const void *const *rows, bool half, int count, int64_t depth)
{
    const int64_t steps = (depth + 1) / PAIR;
    for (int64_t s = 0; s < steps; s += VW) {
        const int64_t n = steps - s < VW ? steps - s : VW;
        vf r[VW];
        for (int i = 0; i < VW; i++) {
            r[i] = i < count ? vfrombits(pairs(element(rows[i], half, s * PAIR), half, depth - s * PAIR)) : vzero();
        }
        transpose(r);
        for (int64_t k = 0; k < n; k++) {
            if (s + k + 1 < steps || stride >= VW) {
                vstore(d + (s + k) * stride, r[k]);
            } else {
                vstore_n(d + (s + k) * stride, r[k], stride);
            }
        }
    }
}

VEC void columns_of(float *d, const void *a, bool half, int64_t stride, int64_t count, int64_t depth)
{
    const int64_t steps = (depth + 1) / PAIR;
    for (int64_t s = 0; s < steps; s++) {
        const void *first = element(a, half, s * PAIR * stride);
        const vf x = vfrombits(two_rows(first, s * PAIR + 1 < depth ? element(first, half, stride) : NULL, half, count));
        if (s + 1 < steps) {
            vstore(d + s * MR, x);
        } else {
            vstore_n(d + s * MR, x, MR);
        }
    }
}

/* An element whose neighbours lie anywhere. */
VEC uint32_t bits_of(const void *b, bool half, int64_t at)
{
    uint32_t bits = 0;
    if (half) {
        return ((const uint16_t *)b)[at];
    }
    memcpy(&bits, (const float *)b + at, sizeof bits);
    return vec_to_bf16(bits) >> 16;
}

VEC void panels_of(float *d, const void *b, bool half, int64_t row_stride, int64_t col_stride, int64_t depth, int64_t cols)
{
    const int64_t steps = (depth + 1) / PAIR;
    for (; cols > 0; cols -= NR, d += steps * NR, b = element(b, half, NR * col_stride)) {
        const int64_t n = cols < NR ? cols : NR;
        for (int64_t s = 0; s < steps && col_stride == 1; s++) {
            const void *first = element(b, half, s * PAIR * row_stride);
            const void *second = s * PAIR + 1 < depth ? element(first, half, row_stride) : NULL;
            __builtin_prefetch(element(first, half, AHEAD * row_stride));
            __builtin_prefetch(element(first, half, (AHEAD + 1) * row_stride));
            for (int v = 0; v < NV; v++) {
                const int64_t left = n - v * VW, other = v * VW;
                const void *more = second != NULL ? element(second, half, other) : NULL;
                vstore(d + s * NR + other, left > 0 ? vfrombits(two_rows(element(first, half, other), more, half, left)) : vzero());
            }
        }
        for (int v = 0; v < NV && col_stride != 1 && row_stride == 1; v++) {
            const void *rows[VW] = {0};
            const int64_t left = n - v * VW < VW ? n - v * VW : VW;
            for (int64_t i = 0; i < left; i++) {
                rows[i] = element(b, half, (v * VW + i) * col_stride);
            }
            turn(d + v * VW, NR, rows, half, left > 0 ? (int)left : 0, depth);
        }
        for (int64_t s = 0; s < steps && col_stride != 1 && row_stride != 1; s++) {
            for (int64_t j = 0; j < NR; j++) {
                const int64_t at = s * PAIR * row_stride + j * col_stride;
                const uint32_t low = j < n ? bits_of(b, half, at) : 0;
                const uint32_t high = j < n && s * PAIR + 1 < depth ? bits_of(b, half, at + row_stride) : 0;
                const uint32_t pair = low | high << 16;
                memcpy(d + s * NR + j, &pair, sizeof pair);
            }
        }
    }
}

static void pack_rows(float *d, const float *const *rows, int64_t count, int64_t depth)
{
    const void *at[VW];
    for (int64_t i = 0; i < count; i++) {
        at[i] = rows[i];
    }
    turn(d, MR, at, false, (int)count, depth);
}
static void pack_columns(float *d, const float *a, int64_t stride, int64_t count, int64_t depth)
{
    columns_of(d, a, false, stride, count, depth);
}
static void pack_b(float *d, const float *b, int64_t row_stride, int64_t col_stride, int64_t depth, int64_t cols)
{
    panels_of(d, b, false, row_stride, col_stride, depth, cols);
}
static void pack_rows_bf16(float *d, const uint16_t *const *rows, int64_t count, int64_t depth)
{
    const void *at[VW];
    for (int64_t i = 0; i < count; i++) {
        at[i] = rows[i];
    }
    turn(d, MR, at, true, (int)count, depth);
}
static void pack_columns_bf16(float *d, const uint16_t *a, int64_t stride, int64_t count, int64_t depth)
{
    columns_of(d, a, true, stride, count, depth);
}
static void pack_b_bf16(float *d, const uint16_t *b, int64_t row_stride, int64_t col_stride, int64_t depth, int64_t cols)
{
    panels_of(d, b, true, row_stride, col_stride, depth, cols);
}

/* ---- the yardstick ---- */

static double spin(int64_t rounds)
{
    enum { CHAINS = 12 };
    vf acc[CHAINS];
    const __m512i x = _mm512_set1_epi32(0x3F803F80), y = _mm512_set1_epi32(0x3A833A83); /* pairs of 1 and of 0.001 */
    volatile float sink;
    UNROLL(12)
    for (int k = 0; k < CHAINS; k++) {
        acc[k] = vset((float)k);
    }
    for (int64_t i = 0; i < rounds; i++) {
        UNROLL(12)
        for (int k = 0; k < CHAINS; k++) {
            acc[k] = vdot(acc[k], x, y);
        }
    }
    for (int k = 1; k < CHAINS; k++) {
        acc[0] = acc[0] + acc[k];
    }
    sink = vsum(acc[0]);
    (void)sink;
    return 2.0 * PAIR * CHAINS * VW * (double)rounds;
}

extern const dlt_gemm_ops DLT_SIMD(gemm);
const dlt_gemm_ops DLT_SIMD(gemm) = {.mr = MR,
                                     .nr = NR,
                                     .lanes = VW,
                                     .deep = PAIR,
                                     .panel = panel,
                                     .pack_rows = pack_rows,
                                     .pack_columns = pack_columns,
                                     .pack_b = pack_b,
                                     .pack_rows_bf16 = pack_rows_bf16,
                                     .pack_columns_bf16 = pack_columns_bf16,
                                     .pack_b_bf16 = pack_b_bf16,
                                     .spin = spin};
