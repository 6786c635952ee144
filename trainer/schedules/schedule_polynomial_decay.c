/* trainer/schedules/schedule_polynomial_decay.c: (rate0 - end) (1 - s / steps)^power + end, s at most steps;
 * or, with cycle, steps times the number of cycles begun, so that the rate climbs again after each. */
#include "trainer/schedules/decay.h"

typedef struct polynomial_params {
    double initial_learning_rate, decay_steps, end_learning_rate, power;
    bool cycle;
} polynomial_params;

static const dlt_field fields[] = {
    DLT_RATE_FIELD(polynomial_params, initial_learning_rate, DLT_REQUIRED, "rate at the first step"),
    DLT_STEPS_FIELD(polynomial_params, decay_steps, "steps until the rate is end_learning_rate"),
    DLT_RATE_FIELD(polynomial_params, end_learning_rate, 0.0001, "the lowest rate"),
    DLT_FLOAT(polynomial_params, power, 0, HUGE_VAL, 1.0, "1: a straight line"),
    DLT_BOOL(polynomial_params, cycle, false,
             "begin again after decay_steps steps, from a lower rate each time"),
    {0},
};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *step)
{
    const polynomial_params *p = params;
    dlt_value *f;
    if (p->cycle) {
        dlt_value *cycles = dlt_elementwise(b, DLT_EW_CEIL, dlt_div_c(b, step, p->decay_steps), NULL, NULL);
        f = dlt_div(b, step, dlt_mul_c(b, dlt_max_c(b, cycles, 1), p->decay_steps));
    } else {
        f = dlt_div_c(b, dlt_min_c(b, step, p->decay_steps), p->decay_steps);
    }
    dlt_value *left = dlt_pow(b, dlt_c_sub(b, 1, f), dlt_f64(b, p->power));
    return dlt_add_c(b, dlt_mul_c(b, left, p->initial_learning_rate - p->end_learning_rate),
                     p->end_learning_rate);
}

const dlt_schedule_desc dlt_schedule_polynomial_decay = {
    .kind = {.name = "PolynomialDecay",
             .doc = "a rate that falls to another along a line or a power of it",
             .size = sizeof(polynomial_params),
             .fields = fields},
    .build = build,
};
