/* backend/cpu/simd/transpose.h: a square of vectors turned over, as packing needs it. Bits are moved only: lanes may be anything of 32 bits. */
#ifndef DLT_CPU_SIMD_TRANSPOSE_H
#define DLT_CPU_SIMD_TRANSPOSE_H

#include "backend/cpu/simd/vec.h"

/* VW rows become VW columns. */
VEC void transpose(vf r[VW])
{
#if defined(DLT_ISA_avx512)
    __m512 t[16];
    for (int i = 0; i < 16; i += 4) { /* 4 x 4 blocks inside lanes of 128 bits */
        const __m512 l0 = _mm512_unpacklo_ps(r[i], r[i + 1]), h0 = _mm512_unpackhi_ps(r[i], r[i + 1]);
        const __m512 l1 = _mm512_unpacklo_ps(r[i + 2], r[i + 3]), h1 = _mm512_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i] = _mm512_shuffle_ps(l0, l1, 0x44);
        t[i + 1] = _mm512_shuffle_ps(l0, l1, 0xEE);
        t[i + 2] = _mm512_shuffle_ps(h0, h1, 0x44);
        t[i + 3] = _mm512_shuffle_ps(h0, h1, 0xEE);
    }
    for (int k = 0; k < 4; k++) { /* t[4 i + k] holds columns k, 4 + k, 8 + k, 12 + k of rows 4 i .. 4 i + 3 */
        const __m512 x0 = _mm512_shuffle_f32x4(t[k], t[4 + k], 0x88), x1 = _mm512_shuffle_f32x4(t[k], t[4 + k], 0xDD);
        const __m512 y0 = _mm512_shuffle_f32x4(t[8 + k], t[12 + k], 0x88), y1 = _mm512_shuffle_f32x4(t[8 + k], t[12 + k], 0xDD);
        r[k] = _mm512_shuffle_f32x4(x0, y0, 0x88);
        r[8 + k] = _mm512_shuffle_f32x4(x0, y0, 0xDD);
        r[4 + k] = _mm512_shuffle_f32x4(x1, y1, 0x88);
        r[12 + k] = _mm512_shuffle_f32x4(x1, y1, 0xDD);
    }
#elif defined(DLT_ISA_avx2)
    __m256 t[8];
    for (int i = 0; i < 8; i += 4) {
        const __m256 l0 = _mm256_unpacklo_ps(r[i], r[i + 1]), h0 = _mm256_unpackhi_ps(r[i], r[i + 1]);
        const __m256 l1 = _mm256_unpacklo_ps(r[i + 2], r[i + 3]), h1 = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i] = _mm256_shuffle_ps(l0, l1, 0x44);
        t[i + 1] = _mm256_shuffle_ps(l0, l1, 0xEE);
        t[i + 2] = _mm256_shuffle_ps(h0, h1, 0x44);
        t[i + 3] = _mm256_shuffle_ps(h0, h1, 0xEE);
    }
    for (int k = 0; k < 4; k++) {
        r[k] = _mm256_permute2f128_ps(t[k], t[4 + k], 0x20);
        r[4 + k] = _mm256_permute2f128_ps(t[k], t[4 + k], 0x31);
    }
#else
    const vf a = r[0], b = r[1], c = r[2], d = r[3];
    for (int k = 0; k < 4; k++) {
        r[k] = (vf){a[k], b[k], c[k], d[k]};
    }
#endif
}

#endif
