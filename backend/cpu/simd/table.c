/* backend/cpu/simd/table.c: the table of an instruction set, put together from the other sources. */
#include "backend/cpu/simd/ew.h"

extern const dlt_gemm_ops DLT_SIMD(gemm);
extern const dlt_conv_ops DLT_SIMD(conv);
extern const dlt_winograd_ops DLT_SIMD(winograd);
extern const dlt_pool_ops DLT_SIMD(pool);
extern const dlt_norm_ops DLT_SIMD(norm);
extern const dlt_rnn_ops DLT_SIMD(rnn);
dlt_blend_fn DLT_SIMD(blend);
extern const dlt_simd DLT_SIMD(table);
const dlt_simd DLT_SIMD(table) = {
    .lanes = VW,
    .ew = {DLT_SIMD(ew_f32), DLT_SIMD(ew_f64), DLT_SIMD(ew_i64)},
    .cast = {DLT_SIMD(cast_f32), DLT_SIMD(cast_f64), DLT_SIMD(cast_i64)},
    .load = DLT_SIMD(load),
    .store = DLT_SIMD(store),
    .shape = {&DLT_SIMD(shape_f32), &DLT_SIMD(shape_f64), &DLT_SIMD(shape_i64)},
    .gemm = &DLT_SIMD(gemm),
    .conv = &DLT_SIMD(conv),
    .winograd = &DLT_SIMD(winograd),
    .pool = &DLT_SIMD(pool),
    .norm = &DLT_SIMD(norm),
    .rnn = &DLT_SIMD(rnn),
    .blend = DLT_SIMD(blend),
    .reduce = {&DLT_SIMD(reduce_f32), &DLT_SIMD(reduce_f64), &DLT_SIMD(reduce_i64)},
};
