/* trainer/initializers/draw.h: what the random initializers share. Element i of a weight is a pure function
 * of seed, stream and i (decisions 18): the same on every machine. */
#ifndef DLT_TRAINER_INITIALIZERS_DRAW_H
#define DLT_TRAINER_INITIALIZERS_DRAW_H

#include "trainer/kinds.h"

/* `seed: 7` of an initializer: the same values wherever it stands with this shape, as in Keras. */
#define DLT_SEED_FIELD(T)                                                                                    \
    DLT_OPT_INT(T, seed, 0, 9007199254740992,                                                                \
                "the same values wherever this initializer stands; default: by the model's seed and the "    \
                "weight's path")

/** Seed and stream of a weight's numbers. */
typedef struct dlt_draw {
    uint64_t seed;
    uint32_t stream;
} dlt_draw;
dlt_draw dlt_draw_of(const dlt_initializer_io *io, const dlt_opt_int *seed);

/** count values of N(mean, stddev^2). */
void dlt_draw_normal(const dlt_draw *draw, double mean, double stddev, int64_t count, double *out);
/** The same, drawn again (sample 1, 2, ... of the stream) where they lie outside mean +- 2 stddev. */
void dlt_draw_truncated(const dlt_draw *draw, double mean, double stddev, int64_t count, double *out);
/** Uniform in [lo, hi). */
void dlt_draw_uniform(const dlt_draw *draw, double lo, double hi, int64_t count, double *out);

#endif
