/* trainer/schedules/schedule_inverse_time_decay.c: rate0 / (1 + decay_rate s / decay_steps).
 * With staircase s / decay_steps is rounded down. */
#include "trainer/schedules/decay.h"

typedef struct inverse_params {
    double initial_learning_rate, decay_steps, decay_rate;
    bool staircase;
} inverse_params;

static const dlt_field fields[] = {
    DLT_RATE_FIELD(inverse_params, initial_learning_rate, DLT_REQUIRED, "rate at the first step"),
    DLT_STEPS_FIELD(inverse_params, decay_steps, "steps in which the divisor grows by decay_rate"),
    DLT_FLOAT(inverse_params, decay_rate, 0, HUGE_VAL, DLT_REQUIRED, "how fast the divisor grows"),
    DLT_BOOL(inverse_params, staircase, false, "fall at once every decay_steps steps"),
    {0},
};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *step)
{
    const inverse_params *p = params;
    dlt_value *f = dlt_div_c(b, step, p->decay_steps);
    if (p->staircase) {
        f = dlt_elementwise(b, DLT_EW_FLOOR, f, NULL, NULL);
    }
    return dlt_div(b, dlt_f64(b, p->initial_learning_rate), dlt_add_c(b, dlt_mul_c(b, f, p->decay_rate), 1));
}

const dlt_schedule_desc dlt_schedule_inverse_time_decay = {
    .kind = {.name = "InverseTimeDecay",
             .doc = "a rate that falls as 1 / (1 + time)",
             .size = sizeof(inverse_params),
             .fields = fields},
    .build = build,
};
