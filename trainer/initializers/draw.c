/* trainer/initializers/draw.c: normal and uniform values from counters. */
#include "trainer/initializers/draw.h"

#include "base/rng.h"

dlt_draw dlt_draw_of(const dlt_initializer_io *io, const dlt_opt_int *seed)
{
    if (seed->set) {
        return (dlt_draw){(uint64_t)seed->value, dlt_fnv1a("initializer:seed")};
    }
    return (dlt_draw){io->seed, io->stream};
}

/* Standard normal of each of 32 + 32 random bits (Box-Muller), as dlt_random_normal makes it. */
static double normal_of(uint32_t first, uint32_t second)
{
    const double u = ((double)first + 0.5) * 0x1p-32, v = ((double)second + 0.5) * 0x1p-32;
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586476925 * v);
}

void dlt_draw_normal(const dlt_draw *draw, double mean, double stddev, int64_t count, double *out)
{
    const uint32_t key[2] = {(uint32_t)draw->seed, (uint32_t)(draw->seed >> 32)};
    for (int64_t i = 0; i < count; i += 2) { /* a block of Philox is two values */
        const uint32_t counter[4] = {(uint32_t)(i / 2), draw->stream, 0, 0};
        uint32_t bits[4];
        dlt_philox(counter, key, bits);
        out[i] = mean + stddev * normal_of(bits[0], bits[1]);
        if (i + 1 < count) {
            out[i + 1] = mean + stddev * normal_of(bits[2], bits[3]);
        }
    }
}

void dlt_draw_truncated(const dlt_draw *draw, double mean, double stddev, int64_t count, double *out)
{
    dlt_draw_normal(draw, 0, 1, count, out);
    for (int64_t i = 0; i < count; i++) {
        double x = out[i];
        for (uint64_t again = 1; !(fabs(x) <= 2); again++) {
            x = dlt_random_normal(draw->seed, draw->stream, again, (uint64_t)i);
        }
        out[i] = mean + stddev * x;
    }
}

void dlt_draw_uniform(const dlt_draw *draw, double lo, double hi, int64_t count, double *out)
{
    const uint32_t key[2] = {(uint32_t)draw->seed, (uint32_t)(draw->seed >> 32)};
    for (int64_t i = 0; i < count; i += 4) {
        const uint32_t counter[4] = {(uint32_t)(i / 4), draw->stream, 0, 0};
        uint32_t bits[4];
        dlt_philox(counter, key, bits);
        for (int64_t k = 0; k < 4 && i + k < count; k++) {
            out[i + k] = lo + (hi - lo) * (double)dlt_uniform_of(bits[k]);
        }
    }
}
