/* trainer/constraints/constraint_norm.c: norms along axes held within bounds.
 * With n the Euclidean norm of w along `axis`:
 *   UnitNorm:   w / (EPS + n)
 *   MaxNorm:    w clip(n, 0, max) / (EPS + n)
 *   MinMaxNorm: w (rate clip(n, min, max) + (1 - rate) n) / (EPS + n)
 * axis 0 is right for Dense kernels (inputs, units), [0, 1, 2] for Conv2D's (h, w, inputs, filters). */
#include "trainer/kinds.h"

typedef struct unit_params {
    dlt_ints axis;
} unit_params;
typedef struct max_params {
    double max_value;
    dlt_ints axis;
} max_params;
typedef struct min_max_params {
    double min_value, max_value, rate;
    dlt_ints axis;
} min_max_params;

#define AXIS(T)                                                                                              \
    DLT_INTS(T, axis, -DLT_MAX_RANK, DLT_MAX_RANK - 1, "0", "axis or axes that a norm is taken along")
static const dlt_field unit_fields[] = {AXIS(unit_params), {0}};
static const dlt_field max_fields[] = {
    DLT_FLOAT(max_params, max_value, 0, HUGE_VAL, 2, "the largest norm"),
    AXIS(max_params),
    {0},
};
static const dlt_field min_max_fields[] = {
    DLT_FLOAT(min_max_params, min_value, 0, HUGE_VAL, 0.0, "the smallest norm"),
    DLT_FLOAT(min_max_params, max_value, 0, HUGE_VAL, 1.0, "the largest norm"),
    DLT_FLOAT(min_max_params, rate, 0, 1, 1.0, "how much of the way to the bound is gone at each step"),
    AXIS(min_max_params),
    {0},
};

static void min_max_check(const dlt_item *item, dlt_diag *diag)
{
    const min_max_params *p = item->params;
    if (p->min_value > p->max_value) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "min_value"),
                 "MinMaxNorm: min_value is larger than max_value");
    }
}

/* Norms of w, reduced axes kept; NULL with an error if an axis does not exist. */
static dlt_value *norms(dlt_builder *b, dlt_value *w, const dlt_ints *axes)
{
    const int rank = dlt_shape_of(w).rank;
    uint32_t bits = 0;
    if (dlt_builder_failed(b) || w == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < axes->count; i++) {
        const int64_t axis = axes->at[i] < 0 ? rank + axes->at[i] : axes->at[i];
        if (axis < 0 || axis >= rank) {
            char text[160];
            return dlt_reject(b, "a norm along axis %lld of a weight of shape %s", (long long)axes->at[i],
                              dlt_shape_text(&w->shape, text, sizeof text));
        }
        bits |= UINT32_C(1) << axis;
    }
    return dlt_sqrt(b, dlt_sum(b, dlt_square(b, w), bits, true));
}

static dlt_value *scaled(dlt_builder *b, dlt_value *w, dlt_value *wanted, dlt_value *n)
{
    return dlt_mul(b, w, dlt_div(b, wanted, dlt_add_c(b, n, DLT_EPSILON)));
}

static dlt_value *unit_build(dlt_builder *b, const void *params, dlt_value *w)
{
    dlt_value *n = norms(b, w, &((const unit_params *)params)->axis);
    return dlt_div(b, w, dlt_add_c(b, n, DLT_EPSILON));
}

static dlt_value *max_build(dlt_builder *b, const void *params, dlt_value *w)
{
    const max_params *p = params;
    dlt_value *n = norms(b, w, &p->axis);
    return scaled(b, w, dlt_min_c(b, n, p->max_value), n);
}

static dlt_value *min_max_build(dlt_builder *b, const void *params, dlt_value *w)
{
    const min_max_params *p = params;
    dlt_value *n = norms(b, w, &p->axis);
    dlt_value *bound = dlt_mul_c(b, dlt_clip(b, n, p->min_value, p->max_value), p->rate);
    return scaled(b, w, p->rate < 1 ? dlt_add(b, bound, dlt_mul_c(b, n, 1 - p->rate)) : bound, n);
}

const dlt_constraint_desc dlt_constraint_unit_norm = {
    .kind = {.name = "UnitNorm", .doc = "norms of 1", .size = sizeof(unit_params), .fields = unit_fields},
    .build = unit_build,
};
const dlt_constraint_desc dlt_constraint_max_norm = {
    .kind = {.name = "MaxNorm",
             .doc = "norms of at most max_value",
             .size = sizeof(max_params),
             .fields = max_fields},
    .build = max_build,
};
const dlt_constraint_desc dlt_constraint_min_max_norm = {
    .kind = {.name = "MinMaxNorm",
             .doc = "norms between two bounds",
             .size = sizeof(min_max_params),
             .fields = min_max_fields,
             .check = min_max_check},
    .build = min_max_build,
};
