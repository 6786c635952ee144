/* backend/cpu/simd/warp.c: weighted sums of two runs of pixels. */
#include "backend/cpu/simd.h"
#include "backend/cpu/simd/vec.h"

dlt_blend_fn DLT_SIMD(blend);
void DLT_SIMD(blend)(float *d, const float *a, float wa, const float *b, float wb, int64_t n)
{
    const vf va = vset(wa), vb = vset(wb);
    for (int64_t i = 0; i < n; i += VW) {
        vstore_to(d + i, va * vload_to(a + i, n - i) + vb * vload_to(b + i, n - i), n - i);
    }
}
