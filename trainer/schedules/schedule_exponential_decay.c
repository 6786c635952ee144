/* trainer/schedules/schedule_exponential_decay.c: rate0 decay_rate^(s / decay_steps).
 * With staircase the exponent is rounded down. */
#include "trainer/schedules/decay.h"

typedef struct exponential_params {
    double initial_learning_rate, decay_steps, decay_rate;
    bool staircase;
} exponential_params;

static const dlt_field fields[] = {
    DLT_RATE_FIELD(exponential_params, initial_learning_rate, DLT_REQUIRED, "rate at the first step"),
    DLT_STEPS_FIELD(exponential_params, decay_steps, "steps in which the rate falls by decay_rate"),
    DLT_FLOAT_OPEN(exponential_params, decay_rate, 0, HUGE_VAL, DLT_FIELD_OPEN_MIN, DLT_REQUIRED,
                   "factor of decay_steps steps"),
    DLT_BOOL(exponential_params, staircase, false, "fall at once every decay_steps steps"),
    {0},
};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *step)
{
    const exponential_params *p = params;
    dlt_value *f = dlt_div_c(b, step, p->decay_steps);
    if (p->staircase) {
        f = dlt_elementwise(b, DLT_EW_FLOOR, f, NULL, NULL);
    }
    return dlt_mul_c(b, dlt_pow(b, dlt_f64(b, p->decay_rate), f), p->initial_learning_rate);
}

const dlt_schedule_desc dlt_schedule_exponential_decay = {
    .kind = {.name = "ExponentialDecay",
             .doc = "a rate that falls by a factor every so many steps",
             .size = sizeof(exponential_params),
             .fields = fields},
    .build = build,
};
