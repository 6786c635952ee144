/* trainer/initializers/init_variance_scaling.c: values whose variance is scale / fan, so that signals keep
 * size. v = scale / max(1, fan), fan = fan_in, fan_out or their mean truncated normal:   stddev = sqrt(v) /
 * 0.8796 (the deviation of a cut normal), cut at two of that untruncated normal: stddev = sqrt(v) uniform:
 * within sqrt(3 v) Sources: Glorot & Bengio, AISTATS 2010; He et al., arXiv:1502.01852; LeCun et al., 1998.
 */
#include "trainer/initializers/draw.h"

typedef enum fan_mode { FAN_IN, FAN_OUT, FAN_AVG } fan_mode;
typedef enum distribution { TRUNCATED_NORMAL, UNTRUNCATED_NORMAL, UNIFORM, NORMAL } distribution;

typedef struct scaling_params {
    double scale;
    int mode, distribution;
    dlt_opt_int seed;
} scaling_params;
typedef struct seed_params {
    dlt_opt_int seed;
} seed_params;

static const char *const modes[] = {"fan_in", "fan_out", "fan_avg", NULL};
static const char *const distributions[] = {"truncated_normal", "untruncated_normal", "uniform", "normal",
                                            NULL};
static const dlt_field scaling_fields[] = {
    DLT_FLOAT_OPEN(scaling_params, scale, 0, HUGE_VAL, DLT_FIELD_OPEN_MIN, 1.0, "variance times fan"),
    DLT_ENUM(scaling_params, mode, modes, fan_in, "what the variance is divided by"),
    DLT_ENUM(scaling_params, distribution, distributions, truncated_normal, "normal means truncated_normal"),
    DLT_SEED_FIELD(scaling_params),
    {0},
};
static const dlt_field seed_fields[] = {DLT_SEED_FIELD(seed_params), {0}};

/* Deviation of a standard normal that is cut at -2 and 2. */
#define CUT_DEVIATION 0.87962566103423978

static bool fill_scaled(const dlt_initializer_io *io, double scale, fan_mode mode, distribution kind,
                        const dlt_opt_int *seed)
{
    const double in = (double)io->fan_in, out = (double)io->fan_out;
    const double fan = mode == FAN_IN ? in : mode == FAN_OUT ? out : (in + out) / 2;
    const double v = scale / (fan > 1 ? fan : 1);
    const int64_t count = dlt_shape_count(&io->shape);
    const dlt_draw draw = dlt_draw_of(io, seed);
    if (kind == UNIFORM) {
        dlt_draw_uniform(&draw, -sqrt(3 * v), sqrt(3 * v), count, io->out);
    } else if (kind == UNTRUNCATED_NORMAL) {
        dlt_draw_normal(&draw, 0, sqrt(v), count, io->out);
    } else {
        dlt_draw_truncated(&draw, 0, sqrt(v) / CUT_DEVIATION, count, io->out);
    }
    return true;
}

static bool fill(const void *params, const dlt_initializer_io *io)
{
    const scaling_params *p = params;
    return fill_scaled(io, p->scale, (fan_mode)p->mode, (distribution)p->distribution, &p->seed);
}

const dlt_initializer_desc dlt_initializer_variance_scaling = {
    .kind = {.name = "VarianceScaling",
             .doc = "values whose variance is scale / fan",
             .size = sizeof(scaling_params),
             .fields = scaling_fields},
    .fill = fill,
};

#define SCALED(Class, id, scale_, mode_, distribution_, doc_)                                                \
    static bool id##_fill(const void *params, const dlt_initializer_io *io)                                  \
    {                                                                                                        \
        return fill_scaled(io, scale_, mode_, distribution_, &((const seed_params *)params)->seed);          \
    }                                                                                                        \
    const dlt_initializer_desc dlt_initializer_##id = {                                                      \
        .kind = {.name = #Class, .doc = doc_, .size = sizeof(seed_params), .fields = seed_fields},           \
        .fill = id##_fill,                                                                                   \
    };
SCALED(GlorotUniform, glorot_uniform, 1, FAN_AVG, UNIFORM, "uniform, variance 2 / (inputs + outputs)")
SCALED(GlorotNormal, glorot_normal, 1, FAN_AVG, TRUNCATED_NORMAL,
       "truncated normal, variance 2 / (inputs + outputs)")
SCALED(HeUniform, he_uniform, 2, FAN_IN, UNIFORM, "uniform, variance 2 / inputs")
SCALED(HeNormal, he_normal, 2, FAN_IN, TRUNCATED_NORMAL, "truncated normal, variance 2 / inputs")
SCALED(LecunUniform, lecun_uniform, 1, FAN_IN, UNIFORM, "uniform, variance 1 / inputs")
SCALED(LecunNormal, lecun_normal, 1, FAN_IN, TRUNCATED_NORMAL, "truncated normal, variance 1 / inputs")
