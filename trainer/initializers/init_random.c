/* trainer/initializers/init_random.c: normal, truncated normal and uniform values with bounds of the user's.
 * TruncatedNormal draws again what lies outside two standard deviations, and does not correct the smaller
 * variance, as Keras. */
#include "trainer/initializers/draw.h"

typedef struct normal_params {
    double mean, stddev;
    dlt_opt_int seed;
} normal_params;

static const dlt_field normal_fields[] = {
    DLT_FLOAT(normal_params, mean, -HUGE_VAL, HUGE_VAL, 0.0, "mean"),
    DLT_FLOAT(normal_params, stddev, 0, HUGE_VAL, 0.05, "standard deviation"),
    DLT_SEED_FIELD(normal_params),
    {0},
};

typedef struct uniform_params {
    double minval, maxval;
    dlt_opt_int seed;
} uniform_params;

static const dlt_field uniform_fields[] = {
    DLT_FLOAT(uniform_params, minval, -HUGE_VAL, HUGE_VAL, -0.05, "smallest value"),
    DLT_FLOAT(uniform_params, maxval, -HUGE_VAL, HUGE_VAL, 0.05, "values are below this"),
    DLT_SEED_FIELD(uniform_params),
    {0},
};

static bool normal(const void *params, const dlt_initializer_io *io)
{
    const normal_params *p = params;
    const dlt_draw draw = dlt_draw_of(io, &p->seed);
    dlt_draw_normal(&draw, p->mean, p->stddev, dlt_shape_count(&io->shape), io->out);
    return true;
}

static bool truncated(const void *params, const dlt_initializer_io *io)
{
    const normal_params *p = params;
    const dlt_draw draw = dlt_draw_of(io, &p->seed);
    dlt_draw_truncated(&draw, p->mean, p->stddev, dlt_shape_count(&io->shape), io->out);
    return true;
}

static bool uniform(const void *params, const dlt_initializer_io *io)
{
    const uniform_params *p = params;
    const dlt_draw draw = dlt_draw_of(io, &p->seed);
    dlt_draw_uniform(&draw, p->minval, p->maxval, dlt_shape_count(&io->shape), io->out);
    return true;
}

const dlt_initializer_desc dlt_initializer_random_normal = {
    .kind = {.name = "RandomNormal",
             .doc = "normal values",
             .size = sizeof(normal_params),
             .fields = normal_fields,
             .aliases = "normal"},
    .fill = normal,
};
const dlt_initializer_desc dlt_initializer_truncated_normal = {
    .kind = {.name = "TruncatedNormal",
             .doc = "normal values within two standard deviations",
             .size = sizeof(normal_params),
             .fields = normal_fields},
    .fill = truncated,
};
const dlt_initializer_desc dlt_initializer_random_uniform = {
    .kind = {.name = "RandomUniform",
             .doc = "uniform values",
             .size = sizeof(uniform_params),
             .fields = uniform_fields,
             .aliases = "uniform"},
    .fill = uniform,
};
