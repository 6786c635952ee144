/* trainer/regularizers/regularizer_l1_l2.c: l1 sum |w| + l2 sum w^2, and either alone. There is no factor
 * 1/2. */
#include "trainer/kinds.h"

typedef struct l1_params {
    double l1;
} l1_params;
typedef struct l2_params {
    double l2;
} l2_params;
typedef struct l1_l2_params {
    double l1, l2;
} l1_l2_params;

#define FACTOR(T, member, default_, doc_)                                                                    \
    DLT_FLOAT_OPEN(T, member, 0, HUGE_VAL, DLT_FIELD_OPEN_MAX, default_, doc_)
static const dlt_field l1_fields[] = {FACTOR(l1_params, l1, 0.01, "factor of the sum of absolute values"),
                                      {0}};
static const dlt_field l2_fields[] = {FACTOR(l2_params, l2, 0.01, "factor of the sum of squares"), {0}};
static const dlt_field l1_l2_fields[] = {
    FACTOR(l1_l2_params, l1, 0.0, "factor of the sum of absolute values"),
    FACTOR(l1_l2_params, l2, 0.0, "factor of the sum of squares"),
    {0},
};

static dlt_value *sum(dlt_builder *b, dlt_value *w, double l1, double l2)
{
    dlt_value *first = l1 != 0 ? dlt_mul_c(b, dlt_sum_all(b, dlt_abs(b, w)), l1) : NULL;
    dlt_value *second = l2 != 0 ? dlt_mul_c(b, dlt_sum_all(b, dlt_square(b, w)), l2) : NULL;
    return first == NULL    ? (second == NULL ? dlt_constant(b, 0) : second)
           : second == NULL ? first
                            : dlt_add(b, first, second);
}

static dlt_value *l1_build(dlt_builder *b, const void *params, dlt_value *w)
{
    return sum(b, w, ((const l1_params *)params)->l1, 0);
}

static dlt_value *l2_build(dlt_builder *b, const void *params, dlt_value *w)
{
    return sum(b, w, 0, ((const l2_params *)params)->l2);
}

static dlt_value *l1_l2_build(dlt_builder *b, const void *params, dlt_value *w)
{
    const l1_l2_params *p = params;
    return sum(b, w, p->l1, p->l2);
}

const dlt_regularizer_desc dlt_regularizer_l1 = {
    .kind = {.name = "L1",
             .doc = "sum of absolute values",
             .size = sizeof(l1_params),
             .fields = l1_fields,
             .scalar_field = "l1"},
    .build = l1_build,
};
const dlt_regularizer_desc dlt_regularizer_l2 = {
    .kind = {.name = "L2",
             .doc = "sum of squares",
             .size = sizeof(l2_params),
             .fields = l2_fields,
             .scalar_field = "l2"},
    .build = l2_build,
};
const dlt_regularizer_desc dlt_regularizer_l1_l2 = {
    .kind = {.name = "L1L2",
             .doc = "sums of absolute values and of squares",
             .size = sizeof(l1_l2_params),
             .fields = l1_l2_fields},
    .build = l1_l2_build,
};
