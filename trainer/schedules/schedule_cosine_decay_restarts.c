/* trainer/schedules/schedule_cosine_decay_restarts.c: half a cosine again and again, each t_mul times as long
 * and m_mul times as high as the one before. With f = s / first_decay_steps, t = t_mul and i restarts so far:
 *   t = 1: i = floor(f), f -= i
 *   else: i = floor(ln(1 - f (1 - t)) / ln t), f = (f - (1 - t^i) / (1 - t)) / t^i
 *   rate0 ((1 - alpha) m_mul^i (1 + cos(pi f)) / 2 + alpha)
 * Source: Loshchilov & Hutter, arXiv:1608.03983. */
#include "trainer/schedules/decay.h"

typedef struct restarts_params {
    double initial_learning_rate, first_decay_steps, t_mul, m_mul, alpha;
} restarts_params;

static const dlt_field fields[] = {
    DLT_RATE_FIELD(restarts_params, initial_learning_rate, DLT_REQUIRED, "rate at the first step"),
    DLT_STEPS_FIELD(restarts_params, first_decay_steps, "steps of the first fall"),
    DLT_FLOAT(restarts_params, t_mul, 1, HUGE_VAL, 2.0,
              "how many times as long each fall is as the one before"),
    DLT_FLOAT(restarts_params, m_mul, 0, HUGE_VAL, 1.0,
              "how many times as high each fall begins as the one before"),
    DLT_FLOAT(restarts_params, alpha, 0, HUGE_VAL, 0.0, "the lowest rate, as a share of the first"),
    {0},
};

static dlt_value *floor_of(dlt_builder *b, dlt_value *x)
{
    return dlt_elementwise(b, DLT_EW_FLOOR, x, NULL, NULL);
}

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *step)
{
    const restarts_params *p = params;
    const double t = p->t_mul;
    dlt_value *f = dlt_div_c(b, step, p->first_decay_steps), *i;
    if (t == 1) {
        i = floor_of(b, f);
        f = dlt_sub(b, f, i);
    } else {
        /* at a restart the quotient is a whole number but for rounding; the nudge is far less than one step's
         * share */
        dlt_value *quotient = dlt_div_c(b, dlt_log(b, dlt_add_c(b, dlt_mul_c(b, f, t - 1), 1)), log(t));
        i = floor_of(b, dlt_add_c(b, quotient, 1e-12));
        dlt_value *length = dlt_pow(b, dlt_f64(b, t), i);
        dlt_value *begun = dlt_div_c(b, dlt_sub_c(b, length, 1), t - 1);
        f = dlt_max_c(b, dlt_div(b, dlt_sub(b, f, begun), length), 0);
    }
    return dlt_cosine_fall(b, p->initial_learning_rate, p->alpha, f, dlt_pow(b, dlt_f64(b, p->m_mul), i));
}

const dlt_schedule_desc dlt_schedule_cosine_decay_restarts = {
    .kind = {.name = "CosineDecayRestarts",
             .doc = "a rate that falls along half a cosine again and again",
             .size = sizeof(restarts_params),
             .fields = fields},
    .build = build,
};
