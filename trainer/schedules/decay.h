/* trainer/schedules/decay.h: rows and formulas that the schedules share. All scalars are float64: Keras'
 * float32 is exact up to step 2^24 only. */
#ifndef DLT_TRAINER_SCHEDULES_DECAY_H
#define DLT_TRAINER_SCHEDULES_DECAY_H

#include "trainer/kinds.h"

#define DLT_RATE_FIELD(T, member, default_, doc_) DLT_FLOAT(T, member, 0, HUGE_VAL, default_, doc_)
#define DLT_STEPS_FIELD(T, member, doc_)                                                                     \
    DLT_FLOAT_OPEN(T, member, 0, HUGE_VAL, DLT_FIELD_OPEN_MIN, DLT_REQUIRED, doc_)

static inline dlt_value *dlt_f64(dlt_builder *b, double value)
{
    return dlt_constant_typed(b, DLT_F64, value);
}
/** rate ((1 - alpha) (1 + cos(pi f)) / 2 scale + alpha); scale NULL: 1. */
dlt_value *dlt_cosine_fall(dlt_builder *b, double rate, double alpha, dlt_value *f, dlt_value *scale);

#endif
