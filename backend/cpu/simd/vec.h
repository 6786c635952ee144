/* backend/cpu/simd/vec.h: vectors of floats for the instruction set this source is being compiled for.
 *
 * vf holds VW floats, vi as many int32, vm a truth value a lane. avx512 and avx2 use intrinsics, plain the compilers' vector
 * extension with four lanes (SSE2, NEON). Functions ending in _n touch only the first n < VW elements in memory; the
 * other lanes are zero. vfma rounds once where the instruction set can (not in plain on x86). */
#ifndef DLT_CPU_SIMD_VEC_H
#define DLT_CPU_SIMD_VEC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define VEC static inline __attribute__((always_inline, unused))

/* Before a loop whose turns, n at most, are known where it is inlined: written out, so that arrays of vectors stay in registers. With what
 * clang's sanitizers add to each access that would take minutes to compile. */
#define UNROLL_TEXT(words) _Pragma(#words)
#if !defined(__clang__)
#define UNROLL(n) UNROLL_TEXT(GCC unroll n)
#elif __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNROLL(n)
#else
#define UNROLL(n) UNROLL_TEXT(clang loop unroll(full))
#endif

#if defined(DLT_ISA_avx512)

#include <immintrin.h>
enum { VW = 16 };
typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

VEC vf vload(const float *p) { return _mm512_loadu_ps(p); }
VEC void vstore(float *p, vf a) { _mm512_storeu_ps(p, a); }
VEC vm vfirst(int64_t n) { return (vm)((UINT32_C(1) << n) - 1); }
VEC vf vload_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(vfirst(n), p); }
VEC void vstore_n(float *p, vf a, int64_t n) { _mm512_mask_storeu_ps(p, vfirst(n), a); }
VEC vf vset(float x) { return _mm512_set1_ps(x); }
VEC vf vfma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
VEC vf vfnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a b */
VEC vf vminof(vf a, vf b) { return _mm512_min_ps(a, b); } /* a < b ? a : b */
VEC vf vmaxof(vf a, vf b) { return _mm512_max_ps(a, b); } /* a > b ? a : b */
VEC vf vsqrt(vf a) { return _mm512_sqrt_ps(a); }
VEC vf vround(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
VEC vf vfloor(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
VEC vf vceil(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
VEC vf vtrunc(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }
VEC vm vlt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
VEC vm vle(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
VEC vm veq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
VEC vm vne(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ); }
VEC vf vselect(vm m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); } /* m ? a : b */
VEC vm vand_m(vm a, vm b) { return (vm)(a & b); }
VEC vm vor_m(vm a, vm b) { return (vm)(a | b); }
VEC bool vany(vm m) { return m != 0; }
VEC vi vbits(vf a) { return _mm512_castps_si512(a); }
VEC vf vfrombits(vi a) { return _mm512_castsi512_ps(a); }
VEC vi vset_i(int32_t x) { return _mm512_set1_epi32(x); }
VEC vi vto_int(vf a) { return _mm512_cvtps_epi32(a); } /* nearest; a must fit */
VEC vf vto_float(vi a) { return _mm512_cvtepi32_ps(a); }
VEC vi vadd_i(vi a, vi b) { return _mm512_add_epi32(a, b); }
VEC vi vsub_i(vi a, vi b) { return _mm512_sub_epi32(a, b); }
VEC vi vand_i(vi a, vi b) { return _mm512_and_si512(a, b); }
VEC vi vor_i(vi a, vi b) { return _mm512_or_si512(a, b); }
VEC vi vxor_i(vi a, vi b) { return _mm512_xor_si512(a, b); }
VEC vi vshl_i(vi a, int n) { return _mm512_slli_epi32(a, (unsigned)n); }
VEC vi vshr_i(vi a, int n) { return _mm512_srai_epi32(a, (unsigned)n); } /* keeps the sign */

#elif defined(DLT_ISA_avx2)

#include <immintrin.h>
enum { VW = 8 };
typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm;

static const int32_t vec_first[2 * 8] __attribute__((unused)) = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
VEC __m256i vfirst(int64_t n) { return _mm256_loadu_si256((const __m256i *)(const void *)(vec_first + 8 - n)); }
VEC vf vload(const float *p) { return _mm256_loadu_ps(p); }
VEC void vstore(float *p, vf a) { _mm256_storeu_ps(p, a); }
VEC vf vload_n(const float *p, int64_t n) { return _mm256_maskload_ps(p, vfirst(n)); }
VEC void vstore_n(float *p, vf a, int64_t n) { _mm256_maskstore_ps(p, vfirst(n), a); }
VEC vf vset(float x) { return _mm256_set1_ps(x); }
VEC vf vfma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
VEC vf vfnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
VEC vf vminof(vf a, vf b) { return _mm256_min_ps(a, b); }
VEC vf vmaxof(vf a, vf b) { return _mm256_max_ps(a, b); }
VEC vf vsqrt(vf a) { return _mm256_sqrt_ps(a); }
VEC vf vround(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
VEC vf vfloor(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
VEC vf vceil(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
VEC vf vtrunc(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }
VEC vm vlt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
VEC vm vle(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
VEC vm veq(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
VEC vm vne(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_NEQ_UQ); }
VEC vf vselect(vm m, vf a, vf b) { return _mm256_blendv_ps(b, a, m); }
VEC vm vand_m(vm a, vm b) { return _mm256_and_ps(a, b); }
VEC vm vor_m(vm a, vm b) { return _mm256_or_ps(a, b); }
VEC bool vany(vm m) { return _mm256_movemask_ps(m) != 0; }
VEC vi vbits(vf a) { return _mm256_castps_si256(a); }
VEC vf vfrombits(vi a) { return _mm256_castsi256_ps(a); }
VEC vi vset_i(int32_t x) { return _mm256_set1_epi32(x); }
VEC vi vto_int(vf a) { return _mm256_cvtps_epi32(a); }
VEC vf vto_float(vi a) { return _mm256_cvtepi32_ps(a); }
VEC vi vadd_i(vi a, vi b) { return _mm256_add_epi32(a, b); }
VEC vi vsub_i(vi a, vi b) { return _mm256_sub_epi32(a, b); }
VEC vi vand_i(vi a, vi b) { return _mm256_and_si256(a, b); }
VEC vi vor_i(vi a, vi b) { return _mm256_or_si256(a, b); }
VEC vi vxor_i(vi a, vi b) { return _mm256_xor_si256(a, b); }
VEC vi vshl_i(vi a, int n) { return _mm256_slli_epi32(a, n); }
VEC vi vshr_i(vi a, int n) { return _mm256_srai_epi32(a, n); }

#else /* plain */

enum { VW = 4 };
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef vi vm;

VEC vf vload(const float *p)
{
    vf a;
    memcpy(&a, p, sizeof a);
    return a;
}
VEC void vstore(float *p, vf a) { memcpy(p, &a, sizeof a); }
VEC vf vload_n(const float *p, int64_t n)
{
    const float x0 = n > 0 ? p[0] : 0, x1 = n > 1 ? p[1] : 0, x2 = n > 2 ? p[2] : 0;
    return (vf){x0, x1, x2, 0};
}
VEC void vstore_n(float *p, vf a, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        p[i] = a[i];
    }
}
VEC vf vset(float x) { return (vf){x, x, x, x}; }
#if defined(__FP_FAST_FMAF)
VEC vf vfma(vf a, vf b, vf c)
{
    return (vf){__builtin_fmaf(a[0], b[0], c[0]), __builtin_fmaf(a[1], b[1], c[1]), __builtin_fmaf(a[2], b[2], c[2]),
                __builtin_fmaf(a[3], b[3], c[3])};
}
#else
VEC vf vfma(vf a, vf b, vf c) { return a * b + c; }
#endif
VEC vf vfnma(vf a, vf b, vf c) { return vfma(-a, b, c); }
VEC vi vbits(vf a) { return (vi)a; }
VEC vf vfrombits(vi a) { return (vf)a; }
VEC vf vselect(vm m, vf a, vf b) { return (vf)((m & (vi)a) | (~m & (vi)b)); }
VEC vm vlt(vf a, vf b) { return a < b; }
VEC vm vle(vf a, vf b) { return a <= b; }
VEC vm veq(vf a, vf b) { return a == b; }
VEC vm vne(vf a, vf b) { return a != b; }
VEC vm vand_m(vm a, vm b) { return a & b; }
VEC vm vor_m(vm a, vm b) { return a | b; }
VEC bool vany(vm m) { return (m[0] | m[1] | m[2] | m[3]) != 0; }
VEC vf vminof(vf a, vf b) { return vselect(a < b, a, b); }
VEC vf vmaxof(vf a, vf b) { return vselect(a > b, a, b); }
VEC vf vsqrt(vf a)
{
    return (vf){__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]), __builtin_sqrtf(a[3])};
}
VEC vi vset_i(int32_t x) { return (vi){x, x, x, x}; }
VEC vf vto_float(vi a) { return __builtin_convertvector(a, vf); }
VEC vi vadd_i(vi a, vi b)
{
    typedef uint32_t vu __attribute__((vector_size(16)));
    return (vi)((vu)a + (vu)b);
}
VEC vi vsub_i(vi a, vi b)
{
    typedef uint32_t vu __attribute__((vector_size(16)));
    return (vi)((vu)a - (vu)b);
}
VEC vi vand_i(vi a, vi b) { return a & b; }
VEC vi vor_i(vi a, vi b) { return a | b; }
VEC vi vxor_i(vi a, vi b) { return a ^ b; }
VEC vi vshl_i(vi a, int n)
{
    typedef uint32_t vu __attribute__((vector_size(16)));
    return (vi)((vu)a << (uint32_t)n);
}
VEC vi vshr_i(vi a, int n) { return a >> n; }
/* Adding and taking away 1.5 * 2^23 rounds to nearest; larger numbers are whole already, and NaN stays. */
VEC vf vround(vf a)
{
    const vf big = vset(0x1.8p23f), size = (vf)((vi)a & 0x7FFFFFFF);
    const vf whole = (vf)((vi)((a + big) - big) | ((vi)a & INT32_MIN));
    return vselect(size < vset(0x1p22f), whole, a);
}
VEC vf vfloor(vf a)
{
    const vf r = vround(a);
    return vselect(r > a, r - vset(1), r);
}
VEC vf vceil(vf a)
{
    const vf r = vround(a), up = vselect(r < a, r + vset(1), r);
    return (vf)((vi)up | ((vi)a & INT32_MIN)); /* -0 */
}
VEC vf vtrunc(vf a) { return vselect(a < vset(0), vceil(a), vfloor(a)); }
VEC vi vto_int(vf a) { return __builtin_convertvector(vround(a), vi); }

#endif

VEC vf vabs(vf a) { return vfrombits(vand_i(vbits(a), vset_i(INT32_MAX))); }
VEC vf vneg(vf a) { return vfrombits(vxor_i(vbits(a), vset_i(INT32_MIN))); }
/* The size of a with the sign of s. */
VEC vf vcopysign(vf a, vf s) { return vfrombits(vor_i(vbits(vabs(a)), vand_i(vbits(s), vset_i(INT32_MIN)))); }
VEC vf vzero(void) { return vset(0); }
/* Up to VW elements. */
VEC vf vload_to(const float *p, int64_t n) { return n >= VW ? vload(p) : vload_n(p, n); }
VEC void vstore_to(float *p, vf a, int64_t n)
{
    if (n >= VW) {
        vstore(p, a);
    } else {
        vstore_n(p, a, n);
    }
}
/* Joined by halves: lanes l and l + VW / 2, then l + VW / 4, ... */
VEC float vsum(vf a)
{
    float x[VW];
    vstore(x, a);
    for (int half = VW / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; l++) {
            x[l] += x[l + half];
        }
    }
    return x[0];
}
VEC float vlargest(vf a)
{
    float x[VW];
    vstore(x, a);
    for (int half = VW / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; l++) {
            x[l] = x[l] > x[l + half] ? x[l] : x[l + half];
        }
    }
    return x[0];
}

/* Bits of a float after rounding to bfloat16: to the nearest, ties to even; NaN stays NaN. */
VEC uint32_t vec_to_bf16(uint32_t bits)
{
    const uint32_t near = bits + 0x7FFF + (bits >> 16 & 1), quiet = bits | 0x400000;
    return ((bits & INT32_MAX) > 0x7F800000 ? quiet : near) & 0xFFFF0000;
}

/* Lanes as bytes: 0..255. */
VEC void vstore_bytes(uint8_t *p, vi a, int64_t n)
{
#if defined(DLT_ISA_avx512)
    if (n >= VW) {
        _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(a));
        return;
    }
#endif
    int32_t x[VW];
    memcpy(x, &a, sizeof x);
    for (int64_t i = 0; i < n && i < VW; i++) {
        p[i] = (uint8_t)x[i];
    }
}
VEC vi vload_bytes(const uint8_t *p, int64_t n)
{
#if defined(DLT_ISA_avx512)
    if (n >= VW) {
        return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    }
#elif defined(DLT_ISA_avx2)
    if (n >= VW) {
        return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
    }
#endif
    int32_t x[VW] = {0};
    vi a;
    for (int64_t i = 0; i < n && i < VW; i++) {
        x[i] = p[i];
    }
    memcpy(&a, x, sizeof a);
    return a;
}

#define DLT_SIMD_JOIN2(name, isa) dlt_simd_##name##_##isa
#define DLT_SIMD_JOIN(name, isa) DLT_SIMD_JOIN2(name, isa)
/* Name of something shared between the sources of one instruction set. */
#define DLT_SIMD(name) DLT_SIMD_JOIN(name, DLT_ISA)

#endif
