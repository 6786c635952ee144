/* backend/cpu/simd/gemm.c: micro-kernels of matrix products and the packing of their operands.
 *
 *   c[i, j] (+)= sum_l a[i, l] b[l, j]      one chain of fused multiply-adds in the order of l for each element
 *
 * so the bits of a product do not depend on how it is cut into blocks of rows and columns. A is packed into panels of MR
 * rows, element (i, l) at l * MR + i; B into panels of NR = 2 VW columns, element (l, j) at l * NR + j, zeros behind the
 * last column. A panel of A stays in the first-level cache while panels of B stream past it from the second. */
#include "backend/cpu/simd.h"
#include "backend/cpu/simd/transpose.h"

#if defined(DLT_ISA_avx512)
enum { MR = 14 };
#elif defined(DLT_ISA_avx2)
enum { MR = 6 };
#else
enum { MR = 4 };
#endif
enum {
    NV = 2,
    NR = NV * VW,
    AHEAD = 16 /* steps along the depth that are fetched before they are needed: A of a large product comes from the third-level cache */
};

/* ---- micro-kernels ---- */

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
        vf bv[NV];
        __builtin_prefetch(a + AHEAD * lda);
        UNROLL(2)
        for (int v = 0; v < vectors; v++) {
            bv[v] = vload(b + v * VW);
        }
        UNROLL(16)
        for (int i = 0; i < rows; i++) {
            const vf av = vset(a[i]);
            UNROLL(2)
            for (int v = 0; v < vectors; v++) {
                acc[i][v] = vfma(av, bv[v], acc[i][v]);
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
#if !defined(DLT_ISA_plain)
MICROS(5)
MICROS(6)
#endif
#if defined(DLT_ISA_avx512)
MICROS(7)
MICROS(8)
MICROS(9)
MICROS(10)
MICROS(11)
MICROS(12)
MICROS(13)
MICROS(14)
#endif

static micro_fn *const micros[MR + 1][NV] = {
    {NULL, NULL}, ROW(1), ROW(2), ROW(3), ROW(4),
#if !defined(DLT_ISA_plain)
    ROW(5), ROW(6),
#endif
#if defined(DLT_ISA_avx512)
    ROW(7), ROW(8), ROW(9), ROW(10), ROW(11), ROW(12), ROW(13), ROW(14),
#endif
};

static void panel(const float *a, int64_t lda, int64_t rows, const float *b, int64_t ldb, int64_t panel_stride,
                  int64_t depth, float *c, int64_t ldc, int64_t cols, bool add)
{
    for (; cols > 0; cols -= NR, b += panel_stride, c += NR) {
        const int64_t n = cols < NR ? cols : NR, vectors = (n + VW - 1) / VW;
        micros[rows][vectors - 1](a, lda, b, ldb, depth, c, ldc, n - (vectors - 1) * VW, add);
    }
}

/* ---- packing ---- */

/* d[l * stride + i] = rows[i][l] for i < count <= VW and l < depth. Vectors are stored one after the other, each covering what
 * the one before wrote beyond its `count` elements; the last ones are cut. */
VEC void turn(float *d, int64_t stride, const float *const *rows, int count, int64_t depth)
{
    int64_t l = 0;
    for (; l < depth; l += VW) {
        const int64_t n = depth - l < VW ? depth - l : VW;
        vf r[VW];
        for (int i = 0; i < VW; i++) {
            r[i] = i < count ? vload_to(rows[i] + l, n) : vzero();
        }
        transpose(r);
        for (int64_t k = 0; k < n; k++) {
            float column[VW];
            if (l + k + 1 < depth || stride >= VW) {
                vstore(d + (l + k) * stride, r[k]);
            } else {
                vstore(column, r[k]);
                memcpy(d + (l + k) * stride, column, (size_t)stride * sizeof *d);
            }
        }
    }
}

/* A whose rows lie anywhere, each with its elements one after another. */
static void pack_rows(float *d, const float *const *rows, int64_t count, int64_t depth)
{
    turn(d, MR, rows, (int)count, depth);
}

/* A that lies transposed: element (i, l) at a[l * stride + i]. */
static void pack_columns(float *d, const float *a, int64_t stride, int64_t count, int64_t depth)
{
    for (int64_t l = 0; l < depth; l++) {
        for (int64_t i = 0; i < count; i += VW) {
            vstore_to(d + l * MR + i, vload_to(a + l * stride + i, count - i), count - i);
        }
    }
}

static void pack_b(float *d, const float *b, int64_t row_stride, int64_t col_stride, int64_t depth, int64_t cols)
{
    for (; cols > 0; cols -= NR, d += depth * NR, b += NR * col_stride) {
        const int64_t n = cols < NR ? cols : NR;
        if (col_stride == 1) {
            for (int64_t l = 0; l < depth; l++) {
                for (int v = 0; v < NV; v++) {
                    const int64_t left = n - v * VW;
                    __builtin_prefetch(b + (l + AHEAD) * row_stride + v * VW);
                    vstore(d + l * NR + v * VW, left > 0 ? vload_to(b + l * row_stride + v * VW, left) : vzero());
                }
            }
        } else if (row_stride == 1) {
            for (int v = 0; v < NV; v++) {
                const float *rows[VW] = {0};
                const int64_t left = n - v * VW < VW ? n - v * VW : VW;
                for (int64_t i = 0; i < left; i++) {
                    rows[i] = b + (v * VW + i) * col_stride;
                }
                turn(d + v * VW, NR, rows, left > 0 ? (int)left : 0, depth);
            }
        } else {
            for (int64_t l = 0; l < depth; l++) {
                for (int64_t j = 0; j < NR; j++) {
                    d[l * NR + j] = j < n ? b[l * row_stride + j * col_stride] : 0;
                }
            }
        }
    }
}

/* ---- the yardstick ---- */

static double spin(int64_t rounds)
{
    enum { CHAINS = 12 };
    vf acc[CHAINS];
    const vf x = vset(0.999f), y = vset(0.001f);
    volatile float sink;
    UNROLL(12)
    for (int k = 0; k < CHAINS; k++) {
        acc[k] = vset((float)k);
    }
    for (int64_t i = 0; i < rounds; i++) {
        UNROLL(12)
        for (int k = 0; k < CHAINS; k++) {
            acc[k] = vfma(acc[k], x, y);
        }
    }
    for (int k = 1; k < CHAINS; k++) {
        acc[0] = acc[0] + acc[k];
    }
    sink = vsum(acc[0]);
    (void)sink;
    return 2.0 * CHAINS * VW * (double)rounds;
}

extern const dlt_gemm_ops DLT_SIMD(gemm);
const dlt_gemm_ops DLT_SIMD(gemm) = {
    .mr = MR, .nr = NR, .lanes = VW, .deep = 1, .panel = panel, .pack_rows = pack_rows, .pack_columns = pack_columns, .pack_b = pack_b,
    .spin = spin};
