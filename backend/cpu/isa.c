/* backend/cpu/isa.c: instruction sets. */
#include "backend/cpu/kernel.h"

const char *dlt_isa_name(dlt_isa isa)
{
    static const char *const names[] = {"plain", "avx2", "avx512", "avx512_bf16"};
    return names[isa];
}

dlt_isa dlt_isa_best(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
        return __builtin_cpu_supports("avx512bf16") ? DLT_ISA_AVX512_BF16 : DLT_ISA_AVX512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return DLT_ISA_AVX2;
    }
#endif
    return DLT_ISA_PLAIN;
}
