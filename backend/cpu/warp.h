/* backend/cpu/warp.h: where a sampled pixel comes from along one axis: what the kernels of WARP and WARP_DX share, so that all of them
 * look at the same pixels with the same weights. */
#ifndef DLT_CPU_WARP_H
#define DLT_CPU_WARP_H

#include "graph/builder.h"

#include <math.h>

/** Two neighbours along an axis; the second does not count where its weight is 0. */
typedef struct dlt_warp_tap {
    int64_t at[2]; /* in 0..size-1; -1: outside, the fill value */
    double weight[2];
} dlt_warp_tap;

/** Where position i of an axis of `size` pixels lies by the fill mode. */
static inline int64_t dlt_warp_inside(int64_t i, int64_t size, dlt_fill_mode mode)
{
    if (i >= 0 && i < size) {
        return i;
    }
    if (mode == DLT_FILL_CONSTANT || mode == DLT_FILL_NEAREST) {
        return mode == DLT_FILL_CONSTANT ? -1 : i < 0 ? 0 : size - 1;
    }
    const bool reflects = mode == DLT_FILL_REFLECT;
    const int64_t period = reflects ? 2 * size : size;
    int64_t at = i < 0 ? i + period : i; /* the neighbouring period, as a rule */
    if (at < 0 || at >= period) {
        at = (at % period + period) % period;
    }
    return reflects && at >= size ? period - 1 - at : at;
}

/** The pixels that a sample at `place` is made of. */
static inline dlt_warp_tap dlt_warp_tap_at(double place, int64_t size, const dlt_warp_attrs *attrs)
{
    const double most = 1 << 30; /* keeps what follows in range; NaN fails both comparisons and goes to -most */
    const double c = !(place > -most) ? -most : place < most ? place : most;
    if (attrs->nearest) {
        const int64_t at = dlt_warp_inside((int64_t)round(c), size, attrs->fill_mode);
        return (dlt_warp_tap){.at = {at, at}, .weight = {1, 0}};
    }
    const int64_t toward_zero = (int64_t)c, i = toward_zero - ((double)toward_zero > c); /* floor(c), without a call */
    const double weight = c - (double)i;
    return (dlt_warp_tap){.at = {dlt_warp_inside(i, size, attrs->fill_mode), dlt_warp_inside(i + 1, size, attrs->fill_mode)},
                          .weight = {1 - weight, weight}};
}

#endif
