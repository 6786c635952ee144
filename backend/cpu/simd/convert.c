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

/* bfloat16 is the upper half of a float; rounding is to the nearest, ties to even, and a NaN stays one (base/half.c). */
static void float_of_bf16(void *d, const void *s, int64_t n)
{
    uint32_t *to = d;
    const uint16_t *from = s;
    for (int64_t i = 0; i < n; i++) {
        to[i] = (uint32_t)from[i] << 16;
    }
}
static void bf16_of_f32(void *d, const void *s, int64_t n)
{
    uint16_t *to = d;
    const uint32_t *from = s;
    for (int64_t i = 0; i < n; i++) {
        to[i] = (uint16_t)(vec_to_bf16(from[i]) >> 16);
    }
}

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
                         [DLT_I16] = float_of_i16, [DLT_I32] = float_of_i32, [DLT_I64] = float_of_i64,
                         [DLT_BF16] = float_of_bf16},
    [DLT_COMPUTE_F64] = {[DLT_F32] = double_of_f32, [DLT_F64] = copy8, [DLT_U8] = double_of_u8,
                         [DLT_I8] = double_of_i8, [DLT_I16] = double_of_i16, [DLT_I32] = double_of_i32,
                         [DLT_I64] = double_of_i64},
    [DLT_COMPUTE_I64] = {[DLT_F32] = i64_of_f32, [DLT_F64] = i64_of_f64, [DLT_U8] = int64_t_of_u8,
                         [DLT_I8] = int64_t_of_i8, [DLT_I16] = int64_t_of_i16, [DLT_I32] = int64_t_of_i32,
                         [DLT_I64] = int64_t_of_i64},
};
dlt_convert_fn *const DLT_SIMD(store)[DLT_COMPUTE_COUNT][DLT_DTYPE_COUNT] = {
    [DLT_COMPUTE_F32] = {[DLT_F32] = copy4, [DLT_F64] = double_of_f32, [DLT_U8] = u8_of_f32, [DLT_I8] = i8_of_f32,
                         [DLT_I16] = i16_of_f32, [DLT_I32] = i32_of_f32, [DLT_I64] = i64_of_f32,
                         [DLT_BF16] = bf16_of_f32},
    [DLT_COMPUTE_F64] = {[DLT_F32] = float_of_f64, [DLT_F64] = copy8, [DLT_U8] = u8_of_f64, [DLT_I8] = i8_of_f64,
                         [DLT_I16] = i16_of_f64, [DLT_I32] = i32_of_f64, [DLT_I64] = i64_of_f64},
    [DLT_COMPUTE_I64] = {[DLT_F32] = float_of_i64, [DLT_F64] = double_of_i64, [DLT_U8] = u8_of_i64,
                         [DLT_I8] = i8_of_i64, [DLT_I16] = i16_of_i64, [DLT_I32] = i32_of_i64, [DLT_I64] = copy8},
};

/* ---- random numbers ---- */

/* Lanes of 64 bits, of which a product reads the lower halves. */
#if defined(DLT_ISA_avx512)
typedef __m512i vq;
VEC vq vq_set(uint64_t x) { return _mm512_set1_epi64((int64_t)x); }
VEC vq vq_count(uint64_t x) { return _mm512_add_epi64(vq_set(x), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7)); }
VEC vq vq_product(vq a, vq b) { return _mm512_mul_epu32(a, b); }
VEC vq vq_upper(vq a) { return _mm512_srli_epi64(a, 32); }
VEC vq vq_xor(vq a, vq b, vq c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
/* Lower half of a, then of b. */
VEC vq vq_pair(vq a, vq b) { return _mm512_mask_blend_epi32(0xAAAA, a, _mm512_slli_epi64(b, 32)); }
/* a[0], b[0], a[1], b[1], ... */
VEC void vq_store_two(uint32_t *d, vq a, vq b)
{
    const __m512i low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), high = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    _mm512_storeu_si512(d, _mm512_permutex2var_epi64(a, low, b));
    _mm512_storeu_si512(d + 16, _mm512_permutex2var_epi64(a, high, b));
}
#elif defined(DLT_ISA_avx2)
typedef __m256i vq;
VEC vq vq_set(uint64_t x) { return _mm256_set1_epi64x((int64_t)x); }
VEC vq vq_count(uint64_t x) { return _mm256_add_epi64(vq_set(x), _mm256_setr_epi64x(0, 1, 2, 3)); }
VEC vq vq_product(vq a, vq b) { return _mm256_mul_epu32(a, b); }
VEC vq vq_upper(vq a) { return _mm256_srli_epi64(a, 32); }
VEC vq vq_xor(vq a, vq b, vq c) { return _mm256_xor_si256(_mm256_xor_si256(a, b), c); }
VEC vq vq_pair(vq a, vq b) { return _mm256_blend_epi32(a, _mm256_slli_epi64(b, 32), 0xAA); }
VEC void vq_store_two(uint32_t *d, vq a, vq b)
{
    const __m256i even = _mm256_unpacklo_epi64(a, b), odd = _mm256_unpackhi_epi64(a, b);
    _mm256_storeu_si256((__m256i *)(void *)d, _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256((__m256i *)(void *)(d + 8), _mm256_permute2x128_si256(even, odd, 0x31));
}
#else
typedef uint64_t vq;
VEC vq vq_set(uint64_t x) { return x; }
VEC vq vq_count(uint64_t x) { return x; }
VEC vq vq_product(vq a, vq b) { return (a & UINT32_MAX) * b; }
VEC vq vq_upper(vq a) { return a >> 32; }
VEC vq vq_xor(vq a, vq b, vq c) { return a ^ b ^ c; }
VEC vq vq_pair(vq a, vq b) { return (a & UINT32_MAX) | b << 32; }
VEC void vq_store_two(uint32_t *d, vq a, vq b)
{
    d[0] = (uint32_t)a;
    d[1] = (uint32_t)(a >> 32);
    d[2] = (uint32_t)b;
    d[3] = (uint32_t)(b >> 32);
}
#endif
enum {
    CHAINS = 4, /* vectors on the way at the same time: a round waits for its product */
    LANES = sizeof(vq) / sizeof(uint64_t),
    BLOCKS = CHAINS * LANES /* Philox blocks made together */
};

/* Words of the blocks with counters block, block + 1, ... in order: base/rng.h, with lanes for counters. */
static void philox(uint64_t seed, uint32_t stream, uint64_t sample, uint32_t block, uint32_t words[4 * BLOCKS])
{
    vq c0[CHAINS], c1[CHAINS], c2[CHAINS], c3[CHAINS];
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    const vq m0 = vq_set(UINT64_C(0xD2511F53)), m1 = vq_set(UINT64_C(0xCD9E8D57));
    UNROLL(4)
    for (int i = 0; i < CHAINS; i++) { /* what a counter carries beyond 32 bits is above what a product reads */
        c0[i] = vq_count((uint64_t)block + (uint64_t)(i * LANES));
        c1[i] = vq_set(stream);
        c2[i] = vq_set((uint32_t)sample);
        c3[i] = vq_set((uint32_t)(sample >> 32));
    }
    UNROLL(2)
    for (int round = 0; round < 10; round++) {
        const vq add0 = vq_set(k0), add1 = vq_set(k1);
        UNROLL(4)
        for (int i = 0; i < CHAINS; i++) {
            const vq p0 = vq_product(c0[i], m0), p1 = vq_product(c2[i], m1);
            c0[i] = vq_xor(vq_upper(p1), c1[i], add0);
            c2[i] = vq_xor(vq_upper(p0), c3[i], add1);
            c1[i] = p1; /* only the lower halves count */
            c3[i] = p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    UNROLL(4)
    for (int i = 0; i < CHAINS; i++) {
        vq_store_two(words + 4 * LANES * i, vq_pair(c0[i], c1[i]), vq_pair(c2[i], c3[i]));
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
