/* trainer/schedules/schedule_cosine_decay.c: half a cosine, after a straight climb if warmup_target is given.
 *   fall(s) = rate ((1 - alpha) (1 + cos(pi f)) / 2 + alpha), f = min(s, decay_steps) / decay_steps
 *   no target: fall(s) from the first rate
 *   target: rate0 + (target - rate0) s / warmup_steps while s < warmup_steps, then fall(s - warmup_steps)
 * from it Source: Loshchilov & Hutter, arXiv:1608.03983. */
#include "trainer/schedules/decay.h"

typedef struct cosine_params {
    double initial_learning_rate, decay_steps, alpha;
    dlt_opt_float warmup_target;
    double warmup_steps;
} cosine_params;

static const dlt_field fields[] = {
    DLT_RATE_FIELD(cosine_params, initial_learning_rate, DLT_REQUIRED, "rate at the first step"),
    DLT_STEPS_FIELD(cosine_params, decay_steps, "steps in which the rate falls, after those of the warm-up"),
    DLT_FLOAT(cosine_params, alpha, 0, HUGE_VAL, 0.0, "the lowest rate, as a share of the highest"),
    DLT_OPT_FLOAT(cosine_params, warmup_target, 0, HUGE_VAL, 0,
                  "rate at the end of the warm-up; without it there is none"),
    DLT_FLOAT(cosine_params, warmup_steps, 0, HUGE_VAL, 0, "steps in which the rate climbs to warmup_target"),
    {0},
};

dlt_value *dlt_cosine_fall(dlt_builder *b, double rate, double alpha, dlt_value *f, dlt_value *scale)
{
    dlt_value *cosine = dlt_elementwise(b, DLT_EW_COS, dlt_mul_c(b, f, 3.14159265358979323846), NULL, NULL);
    dlt_value *share = dlt_mul_c(b, dlt_add_c(b, cosine, 1), 0.5);
    if (scale != NULL) {
        share = dlt_mul(b, share, scale);
    }
    return dlt_mul_c(b, dlt_add_c(b, dlt_mul_c(b, share, 1 - alpha), alpha), rate);
}

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *step)
{
    const cosine_params *p = params;
    const double warm = p->warmup_target.set ? p->warmup_steps : 0;
    dlt_value *s = dlt_min_c(b, step, p->decay_steps + warm);
    if (!p->warmup_target.set) {
        return dlt_cosine_fall(b, p->initial_learning_rate, p->alpha, dlt_div_c(b, s, p->decay_steps), NULL);
    }
    const double target = p->warmup_target.value;
    dlt_value *fall =
        dlt_cosine_fall(b, target, p->alpha, dlt_div_c(b, dlt_sub_c(b, s, warm), p->decay_steps), NULL);
    if (warm == 0) {
        return fall;
    }
    dlt_value *climb = dlt_add_c(b, dlt_mul_c(b, dlt_div_c(b, s, warm), target - p->initial_learning_rate),
                                 p->initial_learning_rate);
    return dlt_select(b, dlt_less(b, s, dlt_f64(b, warm)), climb, fall);
}

const dlt_schedule_desc dlt_schedule_cosine_decay = {
    .kind = {.name = "CosineDecay",
             .doc = "a rate that falls along half a cosine, after a warm-up if asked for",
             .size = sizeof(cosine_params),
             .fields = fields},
    .build = build,
};
