/* backend/cpu/simd.c: the tables of functions, by instruction set. */
#include "backend/cpu/simd.h"

extern const dlt_simd dlt_simd_table_plain;
#if defined(__x86_64__)
extern const dlt_simd dlt_simd_table_avx2, dlt_simd_table_avx512;
extern const dlt_gemm_ops dlt_simd_gemm_avx512_bf16;
#endif

const dlt_simd *dlt_simd_of(dlt_isa isa)
{
#if defined(__x86_64__)
    if (isa >= DLT_ISA_AVX512) {
        return &dlt_simd_table_avx512;
    }
    if (isa == DLT_ISA_AVX2) {
        return &dlt_simd_table_avx2;
    }
#else
    (void)isa;
#endif
    return &dlt_simd_table_plain;
}

const dlt_gemm_ops *dlt_gemm_bf16_of(dlt_isa isa)
{
#if defined(__x86_64__)
    return isa == DLT_ISA_AVX512_BF16 ? &dlt_simd_gemm_avx512_bf16 : NULL;
#else
    (void)isa;
    return NULL;
#endif
}
