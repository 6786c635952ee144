/* backend/cpu/simd/ew.h: the parts from which table.c makes an instruction set's table. */
#ifndef DLT_CPU_SIMD_EW_H
#define DLT_CPU_SIMD_EW_H

#include "backend/cpu/simd.h"
#include "backend/cpu/simd/vec.h"

extern const dlt_ew_forms DLT_SIMD(ew_f32)[DLT_EW_COUNT], DLT_SIMD(ew_f64)[DLT_EW_COUNT], DLT_SIMD(ew_i64)[DLT_EW_COUNT];
extern dlt_ew_fn *const DLT_SIMD(cast_f32)[DLT_DTYPE_COUNT];
extern dlt_ew_fn *const DLT_SIMD(cast_f64)[DLT_DTYPE_COUNT];
extern dlt_ew_fn *const DLT_SIMD(cast_i64)[DLT_DTYPE_COUNT];
extern const dlt_reducers DLT_SIMD(reduce_f32), DLT_SIMD(reduce_f64), DLT_SIMD(reduce_i64);

/* convert.c */
extern dlt_convert_fn *const DLT_SIMD(load)[DLT_COMPUTE_COUNT][DLT_DTYPE_COUNT];
extern dlt_convert_fn *const DLT_SIMD(store)[DLT_COMPUTE_COUNT][DLT_DTYPE_COUNT];
extern const dlt_shapers DLT_SIMD(shape_f32), DLT_SIMD(shape_f64), DLT_SIMD(shape_i64);

#endif
