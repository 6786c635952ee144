/* backend/cpu/simd.c: the tables of functions, by instruction set. */
#include "backend/cpu/simd.h"

extern const dlt_simd dlt_simd_table_plain;
#if defined(__x86_64__)
extern const dlt_simd dlt_simd_table_avx2, dlt_simd_table_avx512;
#endif

const dlt_simd *dlt_simd_of(dlt_isa isa)
{
#if defined(__x86_64__)
    if (isa == DLT_ISA_AVX512) {
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
