/* trainer/schedules/schedule_piecewise_constant_decay.c: one rate after another.
 * values[i] where boundaries[i-1] < s <= boundaries[i]. */
#include "trainer/schedules/decay.h"

typedef struct piecewise_params {
    dlt_floats boundaries, values;
} piecewise_params;

static const dlt_field fields[] = {
    DLT_FLOATS(piecewise_params, boundaries, 0, HUGE_VAL, NULL,
               "last steps of all values but the last, rising"),
    DLT_FLOATS(piecewise_params, values, 0, HUGE_VAL, NULL, "the rates, one more than boundaries"),
    {0},
};

static void check(const dlt_item *item, dlt_diag *diag)
{
    const piecewise_params *p = item->params;
    if (p->values.count != p->boundaries.count + 1) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "values"),
                 "PiecewiseConstantDecay: %zu boundaries need %zu values, found %zu", p->boundaries.count,
                 p->boundaries.count + 1, p->values.count);
    }
    for (size_t i = 1; i < p->boundaries.count; i++) {
        if (!(p->boundaries.at[i - 1] < p->boundaries.at[i])) {
            dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "boundaries"),
                     "PiecewiseConstantDecay: boundaries must rise");
            return;
        }
    }
}

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *step)
{
    const piecewise_params *p = params;
    dlt_value *rate = dlt_f64(b, p->values.at[p->boundaries.count]);
    for (size_t i = p->boundaries.count; i-- > 0;) {
        dlt_value *within = dlt_less_equal(b, step, dlt_f64(b, p->boundaries.at[i]));
        rate = dlt_select(b, within, dlt_f64(b, p->values.at[i]), rate);
    }
    return rate;
}

const dlt_schedule_desc dlt_schedule_piecewise_constant_decay = {
    .kind = {.name = "PiecewiseConstantDecay",
             .doc = "one rate after another, each up to a given step",
             .size = sizeof(piecewise_params),
             .fields = fields,
             .check = check},
    .build = build,
};
