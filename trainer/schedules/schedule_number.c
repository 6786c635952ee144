/* trainer/schedules/schedule_number.c: what a plain number in place of a schedule becomes
 * (DLT_FIELD_FLOAT_OR_ITEM): a rate that lies in a variable, which callbacks may change. */
#include "trainer/kinds.h"

static const dlt_field fields[] = {
    DLT_FLOAT(dlt_constant_rate_params, value, 0, HUGE_VAL, DLT_REQUIRED, "the rate"),
    {0},
};

const dlt_schedule_desc dlt_schedule_number = {
    .kind = {.name = "number",
             .doc = "the same rate all the time, unless a callback changes it",
             .size = sizeof(dlt_constant_rate_params),
             .fields = fields,
             .scalar_field = "value"},
    .constant = true,
};
