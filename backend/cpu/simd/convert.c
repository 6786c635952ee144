/* backend/cpu/simd/convert.c: operands on their way into and out of expression programs: conversions, broadcasting,
 * positions and random numbers. */
#include "backend/cpu/simd/ew.h"

#include "base/rng.h"

#include <math.h>

/* ---- conversions ---- */

#define LOAD(name, from, to)                                                                                 \
    static void name(void *d, const void *s, int64_t n)                                                      \
    {                                                                                                        \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            ((to *)d)[i] = (to)((const from *)s)[i];                                                         \
        }                                                                                                    \
    }
#define LOADS(to)                                                                                            \
    LOAD(to##_of_u8, uint8_t, to)                                                                            \
    LOAD(to##_of_i8, int8_t, to)                                                                             \
    LOAD(to##_of_i16, int16_t, to)                                                                           \
    LOAD(to##_of_i32, int32_t, to)                                                                           \
    LOAD(to##_of_i64, int64_t, to)
LOADS(float)
LOADS(double)
LOADS(int64_t)
LOAD(float_of_f64, double, float)
LOAD(double_of_f32, float, double)

static void copy4(void *d, const void *s, int64_t n)
{
    memcpy(d, s, (size_t)n * 4);
}
static void copy8(void *d, const void *s, int64_t n)
{
    memcpy(d, s, (size_t)n * 8);
}

/* Toward zero, saturating; NaN gives 0. */
static int64_t whole(double x)
{
    return x != x ? 0 : x >= 0x1p63 ? INT64_MAX : x < -0x1p63 ? INT64_MIN : (int64_t)x;
}
static int64_t clamp(int64_t x, int64_t lowest, int64_t largest)
{
    return x < lowest ? lowest : x > largest ? largest : x;
}
static int64_t same(int64_t x)
{
    return x;
}

#define STORE(name, from, to, lowest, largest, whole)                                                        \
    static void name(void *d, const void *s, int64_t n)                                                      \
    {                                                                                                        \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            ((to *)d)[i] = (to)clamp(whole(((const from *)s)[i]), lowest, largest);                          \
        }                                                                                                    \
    }
#define STORES(name, from, whole)                                                                            \
    STORE(u8_of_##name, from, uint8_t, 0, UINT8_MAX, whole)                                                  \
    STORE(i8_of_##name, from, int8_t, INT8_MIN, INT8_MAX, whole)                                             \
    STORE(i16_of_##name, from, int16_t, INT16_MIN, INT16_MAX, whole)                                         \
    STORE(i32_of_##name, from, int32_t, INT32_MIN, INT32_MAX, whole)
#define STORE_WIDE(name, from)                                                                               \
    static void i64_of_##name(void *d, const void *s, int64_t n)                                             \
    {                                                                                                        \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            ((int64_t *)d)[i] = whole(((const from *)s)[i]);                                                 \
        }                                                                                                    \
    }
STORES(f32, float, whole)
STORES(f64, double, whole)
STORES(i64, int64_t, same)
STORE_WIDE(f32, float)
STORE_WIDE(f64, double)

dlt_convert_fn *const DLT_SIMD(load)[DLT_COMPUTE_COUNT][DLT_DTYPE_COUNT] = {
    [DLT_COMPUTE_F32] = {[DLT_F32] = copy4, [DLT_F64] = float_of_f64, [DLT_U8] = float_of_u8, [DLT_I8] = float_of_i8,
                         [DLT_I16] = float_of_i16, [DLT_I32] = float_of_i32, [DLT_I64] = float_of_i64},
    [DLT_COMPUTE_F64] = {[DLT_F32] = double_of_f32, [DLT_F64] = copy8, [DLT_U8] = double_of_u8,
                         [DLT_I8] = double_of_i8, [DLT_I16] = double_of_i16, [DLT_I32] = double_of_i32,
                         [DLT_I64] = double_of_i64},
    [DLT_COMPUTE_I64] = {[DLT_F32] = i64_of_f32, [DLT_F64] = i64_of_f64, [DLT_U8] = int64_t_of_u8,
                         [DLT_I8] = int64_t_of_i8, [DLT_I16] = int64_t_of_i16, [DLT_I32] = int64_t_of_i32,
                         [DLT_I64] = int64_t_of_i64},
};
dlt_convert_fn *const DLT_SIMD(store)[DLT_COMPUTE_COUNT][DLT_DTYPE_COUNT] = {
    [DLT_COMPUTE_F32] = {[DLT_F32] = copy4, [DLT_F64] = double_of_f32, [DLT_U8] = u8_of_f32, [DLT_I8] = i8_of_f32,
                         [DLT_I16] = i16_of_f32, [DLT_I32] = i32_of_f32, [DLT_I64] = i64_of_f32},
    [DLT_COMPUTE_F64] = {[DLT_F32] = float_of_f64, [DLT_F64] = copy8, [DLT_U8] = u8_of_f64, [DLT_I8] = i8_of_f64,
                         [DLT_I16] = i16_of_f64, [DLT_I32] = i32_of_f64, [DLT_I64] = i64_of_f64},
    [DLT_COMPUTE_I64] = {[DLT_F32] = float_of_i64, [DLT_F64] = double_of_i64, [DLT_U8] = u8_of_i64,
                         [DLT_I8] = i8_of_i64, [DLT_I16] = i16_of_i64, [DLT_I32] = i32_of_i64, [DLT_I64] = copy8},
};

/* ---- random numbers ---- */

enum { BLOCKS = 16 }; /* Philox blocks made together: 64 words */

/* Words of the blocks with counters block, block + 1, ... in order: base/rng.h, with lanes for counters. Products of 32
 * bits are made in lanes of 64. */
static void philox(uint64_t seed, uint32_t stream, uint64_t sample, uint32_t block, uint32_t words[4 * BLOCKS])
{
    uint64_t c0[BLOCKS], c1[BLOCKS], c2[BLOCKS], c3[BLOCKS];
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int i = 0; i < BLOCKS; i++) {
        c0[i] = block + (uint32_t)i;
        c1[i] = stream;
        c2[i] = (uint32_t)sample;
        c3[i] = (uint32_t)(sample >> 32);
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            const uint64_t p0 = UINT64_C(0xD2511F53) * (c0[i] & UINT32_MAX), p1 = UINT64_C(0xCD9E8D57) * (c2[i] & UINT32_MAX);
            const uint64_t n0 = (p1 >> 32) ^ c1[i] ^ k0, n2 = (p0 >> 32) ^ c3[i] ^ k1;
            c1[i] = p1; /* only the lower halves count */
            c3[i] = p0;
            c0[i] = n0;
            c2[i] = n2;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < BLOCKS; i++) {
        words[4 * i] = (uint32_t)c0[i];
        words[4 * i + 1] = (uint32_t)c1[i];
        words[4 * i + 2] = (uint32_t)c2[i];
        words[4 * i + 3] = (uint32_t)c3[i];
    }
}

#define UNIFORM(T)                                                                                           \
    static void uniform_##T(void *dv, uint64_t seed, uint32_t stream, uint64_t sample, uint64_t first, int64_t n) \
    {                                                                                                        \
        T *d = dv;                                                                                           \
        uint32_t words[4 * BLOCKS];                                                                          \
        int64_t skip = (int64_t)(first % 4);                                                                 \
        uint32_t block = (uint32_t)(first / 4);                                                              \
        while (n > 0) {                                                                                      \
            const int64_t count = n < 4 * BLOCKS - skip ? n : 4 * BLOCKS - skip;                             \
            philox(seed, stream, sample, block, words);                                                      \
            for (int64_t i = 0; i < count; i++) {                                                            \
                d[i] = (T)(int32_t)(words[skip + i] >> 8) * (T)0x1p-24;                                      \
            }                                                                                                \
            d += count;                                                                                      \
            n -= count;                                                                                      \
            skip = 0;                                                                                        \
            block += BLOCKS;                                                                                 \
        }                                                                                                    \
    }
UNIFORM(float)
UNIFORM(double)

/* ---- shapes ---- */

#define SHAPERS(T)                                                                                           \
    static void fill_##T(void *d, const void *s, int64_t n)                                                  \
    {                                                                                                        \
        const T x = *(const T *)s;                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            ((T *)d)[i] = x;                                                                                 \
        }                                                                                                    \
    }                                                                                                        \
    static void spread_##T(void *dv, const void *sv, int64_t rows, int64_t length)                           \
    {                                                                                                        \
        enum { STEP = 64 / sizeof(T) }; /* writes whole vectors: the next row covers what is too much */     \
        T *d = dv;                                                                                           \
        const T *s = sv;                                                                                     \
        for (int64_t r = 0; r < rows; r++, d += length) {                                                    \
            const T x = s[r];                                                                                \
            for (int64_t i = 0; i < length; i += STEP) {                                                     \
                for (int k = 0; k < STEP; k++) {                                                             \
                    d[i + k] = x;                                                                            \
                }                                                                                            \
            }                                                                                                \
        }                                                                                                    \
    }                                                                                                        \
    static void index_##T(void *dv, int64_t first, int64_t n, int64_t inner, int64_t size)                   \
    {                                                                                                        \
        T *d = dv;                                                                                           \
        int64_t at = first / inner % size, left = inner - first % inner;                                     \
        for (int64_t i = 0; i < n;) {                                                                        \
            if (inner == 1) {                                                                                \
                const int64_t end = n - i < size - at ? n - i : size - at;                                   \
                for (int64_t k = 0; k < end; k++) {                                                          \
                    d[i + k] = (T)(at + k);                                                                  \
                }                                                                                            \
                i += end;                                                                                    \
                at = 0;                                                                                      \
            } else {                                                                                         \
                const int64_t end = n - i < left ? n - i : left;                                             \
                for (int64_t k = 0; k < end; k++) {                                                          \
                    d[i + k] = (T)at;                                                                        \
                }                                                                                            \
                i += end;                                                                                    \
                at = at + 1 < size ? at + 1 : 0;                                                             \
                left = inner;                                                                                \
            }                                                                                                \
        }                                                                                                    \
    }
SHAPERS(float)
SHAPERS(double)
SHAPERS(int64_t)

const dlt_shapers DLT_SIMD(shape_f32) = {fill_float, spread_float, index_float, uniform_float};
const dlt_shapers DLT_SIMD(shape_f64) = {fill_double, spread_double, index_double, uniform_double};
const dlt_shapers DLT_SIMD(shape_i64) = {fill_int64_t, spread_int64_t, index_int64_t, NULL};
