/* trainer/losses/crossentropy.c: what the cross-entropies share. */
#include "trainer/losses/crossentropy.h"

dlt_value *dlt_clipped_probabilities(dlt_builder *b, dlt_value *p)
{
    dlt_value *sum = dlt_sum(b, p, dlt_axis_bit(p, -1), true);
    return dlt_clip(b, dlt_div(b, p, sum), DLT_EPSILON, 1 - DLT_EPSILON);
}

dlt_value *dlt_smoothed(dlt_builder *b, dlt_value *t, double smoothing, double rest)
{
    return smoothing > 0 ? dlt_add_c(b, dlt_mul_c(b, t, 1 - smoothing), rest) : t;
}

dlt_value *dlt_binary_crossentropy_of(dlt_builder *b, dlt_value *t, dlt_value *p)
{
    p = dlt_clip(b, p, DLT_EPSILON, 1 - DLT_EPSILON);
    dlt_value *yes = dlt_mul(b, t, dlt_log(b, p));
    dlt_value *no = dlt_mul(b, dlt_c_sub(b, 1, t), dlt_log(b, dlt_c_sub(b, 1, p)));
    return dlt_neg(b, dlt_add(b, yes, no));
}
