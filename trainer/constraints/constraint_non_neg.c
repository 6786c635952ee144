/* trainer/constraints/constraint_non_neg.c: max(w, 0). */
#include "trainer/kinds.h"

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *w)
{
    (void)params;
    return dlt_relu(b, w);
}

const dlt_constraint_desc dlt_constraint_non_neg = {
    .kind = {.name = "NonNeg", .doc = "weights of at least 0"},
    .build = build,
};
