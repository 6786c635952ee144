/* layers/normalization.c: to mean 0 and variance 1 by fixed numbers.    y = (x - mean) / max(sqrt(variance), 1e-7)
 * or, with invert: y = mean + x max(sqrt(variance), 1e-7). Shape as the input.
 * Without given mean and variance both are measured on the training data before training (population variance over all axes
 * but `axis`), and kept as weights that no gradient changes: mean, variance (sizes of the axes), count () - which stays 0, as
 * in Keras. axis: null takes one mean and variance for everything. */
#include "layers/layer.h"

#include "base/alloc.h"
#include "base/text.h"

#include <string.h>

typedef struct normalization_params {
    dlt_ints axis;
    dlt_floats mean, variance;
    bool invert;
} normalization_params;

static const dlt_field normalization_fields[] = {
    {.name = "axis",
     .type = DLT_FIELD_INTS,
     .offset = offsetof(normalization_params, axis),
     .min = -DLT_MAX_RANK,
     .max = DLT_MAX_RANK - 1,
     .def = "-1",
     .flags = DLT_FIELD_NULL,
     .doc = "axis or axes with numbers of their own; null: none, the same for all"},
    DLT_FLOATS(normalization_params, mean, -INFINITY, INFINITY, "null",
               "given mean: one, or one an element of the axes"),
    DLT_FLOATS(normalization_params, variance, 0, INFINITY, "null", "given variance, as the mean"),
    DLT_BOOL(normalization_params, invert, false, "the way back"),
    {0},
};

static void normalization_check(const dlt_item *item, dlt_diag *diag)
{
    const normalization_params *p = item->params;
    if ((p->mean.count > 0) != (p->variance.count > 0)) {
        const char *given = p->mean.count > 0 ? "mean" : "variance",
                   *missing = p->mean.count > 0 ? "variance" : "mean";
        dlt_fail(
            diag, DLT_E_CONFIG, dlt_item_pos(item, given),
            "Normalization: %s is given without %s; give both, or neither to measure them on the training data",
            given, missing);
    } else if (p->mean.count != p->variance.count) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "variance"),
                 "Normalization: mean has %zu numbers and variance %zu; give as many", p->mean.count,
                 p->variance.count);
    }
}

/* Bits of the kept axes; -1 for a wrong one, whose number goes to *wrong. */
static int64_t kept_axes(const normalization_params *p, int rank, int64_t *wrong)
{
    int64_t bits = 0;
    for (size_t i = 0; i < p->axis.count; i++) {
        const int64_t axis = p->axis.at[i] < 0 ? p->axis.at[i] + rank : p->axis.at[i];
        if (axis < 1 || axis >= rank) {
            *wrong = p->axis.at[i];
            return -1;
        }
        bits |= INT64_C(1) << axis;
    }
    return bits;
}

/* Sizes of the kept axes, and the same with 1 at all others. */
static void kept_shapes(const dlt_shape *in, int64_t bits, dlt_shape *sizes, dlt_shape *spread)
{
    *sizes = dlt_scalar();
    *spread = *in;
    for (int i = 0; i < in->rank; i++) {
        if ((bits >> i & 1) != 0) {
            sizes->dim[sizes->rank++] = in->dim[i];
        } else {
            spread->dim[i] = 1;
        }
    }
}

/* Given numbers as a value that broadcasts to the input. */
static dlt_value *given(dlt_builder *b, const char *field, const dlt_floats *list, const dlt_shape *sizes,
                        const dlt_shape *spread)
{
    const int64_t count = (int64_t)list->count, whole = dlt_shape_count(sizes);
    if (count == 1) {
        return dlt_constant(b, list->at[0]);
    }
    if (count != whole) {
        char text[160];
        return dlt_layer_reject(
            b, field,
            "Normalization: %s has %lld numbers, but the sizes of its axes are %s; give %lld, or "
            "one for all",
            field, (long long)count, dlt_shape_text(sizes, text, sizeof text), (long long)whole);
    }
    return dlt_constant_array(b, dlt_real(b), *spread, list->at);
}

static dlt_value *normalization_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const normalization_params *p = params;
    const dlt_shape x = dlt_shape_of(in);
    dlt_shape sizes, spread;
    int64_t wrong = 0;
    const int64_t bits = kept_axes(p, x.rank, &wrong);
    dlt_value *mean, *variance;
    if (bits < 0) {
        dlt_layer_axis(b, "axis", wrong, in);
        return NULL;
    }
    kept_shapes(&x, bits, &sizes, &spread);
    if (p->mean.count > 0) {
        mean = given(b, "mean", &p->mean, &sizes, &spread);
        variance = given(b, "variance", &p->variance, &sizes, &spread);
    } else {
        mean = dlt_reshape(b, dlt_state(b, "mean", dlt_real(b), sizes, NULL, 0), spread);
        variance = dlt_reshape(b, dlt_state(b, "variance", dlt_real(b), sizes, NULL, 1), spread);
        dlt_state(b, "count", DLT_I32, dlt_scalar(), NULL, 0);
    }
    dlt_value *deviation = dlt_max_c(b, dlt_sqrt(b, variance), DLT_KERAS_EPSILON);
    dlt_value *v = dlt_as_real(b, in);
    return p->invert ? dlt_add(b, mean, dlt_mul(b, v, deviation))
                     : dlt_div(b, dlt_sub(b, v, mean), deviation);
}

/* ---- measuring: running count, mean and sum of squared distances of each kept element (Welford 1962) ---- */

static bool normalization_wanted(const dlt_item *item)
{
    return ((const normalization_params *)item->params)->mean.count == 0;
}

static size_t kept_count(const dlt_item *item, const dlt_shape *in)
{
    dlt_shape sizes, spread;
    int64_t wrong;
    const int64_t bits = kept_axes(item->params, in->rank, &wrong);
    if (bits < 0) {
        return 0; /* the building has complained */
    }
    kept_shapes(in, bits, &sizes, &spread);
    const int64_t count = dlt_shape_count(&sizes);
    return count > 0 ? (size_t)count : 0;
}

static size_t normalization_state_count(const dlt_item *item, const dlt_shape *in)
{
    size_t count;
    return dlt_mul_size(3, kept_count(item, in), &count) ? count : 0;
}

static void normalization_update(const dlt_item *item, const dlt_shape *in, double *state, const double *x,
                                 int64_t rows)
{
    const size_t kept = kept_count(item, in);
    double *count = state, *mean = state + kept, *squares = state + 2 * kept;
    dlt_shape sizes, spread;
    int64_t wrong, stride[DLT_MAX_RANK] = {0}, index[DLT_MAX_RANK] = {0}, step = 1;
    const int64_t bits = kept_axes(item->params, in->rank, &wrong);
    if (kept == 0) {
        return;
    }
    kept_shapes(in, bits, &sizes, &spread);
    for (int i = in->rank - 1; i >= 0; i--) {
        if ((bits >> i & 1) != 0) {
            stride[i] = step;
            step *= in->dim[i];
        }
    }
    int64_t total = rows, at = 0;
    for (int i = 1; i < in->rank; i++) {
        total *= in->dim[i];
    }
    for (int64_t e = 0; e < total; e++) {
        const double distance = x[e] - mean[at];
        count[at] += 1;
        mean[at] += distance / count[at];
        squares[at] += distance * (x[e] - mean[at]);
        for (int i = in->rank - 1; i >= 0;
             i--) { /* to the next element; axis 0 is never kept and needs no bound */
            at += stride[i];
            if (++index[i] < in->dim[i] || i == 0) {
                break;
            }
            at -= stride[i] * in->dim[i];
            index[i] = 0;
        }
    }
}

static void normalization_finish(const dlt_item *item, const dlt_shape *in, const double *state,
                                 const char *name, double *value, size_t count)
{
    const size_t kept = kept_count(item, in);
    const bool is_mean = strcmp(name, "mean") == 0, is_variance = strcmp(name, "variance") == 0;
    for (size_t i = 0; i < count; i++) {
        value[i] = 0;
        if (i < kept && is_mean) {
            value[i] = state[kept + i];
        } else if (i < kept && is_variance && state[i] > 0) {
            value[i] = state[2 * kept + i] / state[i];
        }
    }
}

static const dlt_adapt_layer normalization_adapt = {.wanted = normalization_wanted,
                                                    .state_count = normalization_state_count,
                                                    .update = normalization_update,
                                                    .finish = normalization_finish};

static const char *const normalization_examples[] = {
    "{input: [3, 4], layer: Normalization}",
    "{input: [3, 2, 4], layer: {Normalization: {axis: [1, 2]}}}",
    "{input: [3, 2, 4], layer: {Normalization: {axis: 1, invert: true}}}",
    "{input: [3, 4], layer: {Normalization: {axis: null}}}",
    "{input: [3, 2], layer: {Normalization: {mean: [0.5, -1], variance: [4, 0.25]}}}",
    "{input: [3, 2], layer: {Normalization: {mean: 1.5, variance: 4, invert: true}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_normalization = {
    .kind = {.name = "Normalization",
             .doc = "to mean 0 and variance 1, measured on the training data",
             .size = sizeof(normalization_params),
             .fields = normalization_fields,
             .check = normalization_check},
    .build = normalization_build,
    .mask = DLT_MASK_PASS,
    .adapt = &normalization_adapt,
    .examples = normalization_examples,
};
