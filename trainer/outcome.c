/* trainer/outcome.c: targets, predictions, masks and weights brought to shapes that fit (keras-training.md
 * 2, 3.1). */
#include "trainer/kinds.h"

static int64_t last_of(const dlt_shape *shape)
{
    return shape->rank > 0 ? shape->dim[shape->rank - 1] : 0;
}

/* True if something says how much each step of a sample counts: then the steps must stay apart. */
static bool counts_steps(const dlt_outcome *o)
{
    return o->mask != NULL ||
           (o->weight != NULL && o->weight->shape.rank > 1 && o->weight->shape.dim[1] != 1);
}

/* Ranks that differ by a last axis of size 1: a lone batch axis is expanded, anything else squeezed. */
static void join_ranks(dlt_builder *b, dlt_outcome *o)
{
    dlt_value **longer = &o->y_true, **shorter = &o->y_pred;
    if (o->y_pred->shape.rank > o->y_true->shape.rank) {
        longer = &o->y_pred;
        shorter = &o->y_true;
    }
    const dlt_shape l = (*longer)->shape, s = (*shorter)->shape;
    if (l.rank != s.rank + 1 || last_of(&l) != 1) {
        return;
    }
    if (s.rank == 1 || counts_steps(o)) {
        *shorter = dlt_expand(b, *shorter, -1);
    } else {
        *longer = dlt_squeeze(b, *longer, -1);
    }
}

/* The shape that y_true must have for these predictions. */
static dlt_shape wanted_shape(const dlt_value *y_pred, dlt_target_form form)
{
    dlt_shape shape = y_pred->shape;
    if (form == DLT_TARGET_CLASSES && shape.rank > 0) {
        shape.rank--;
    }
    return shape;
}

bool dlt_outcome_match(dlt_builder *b, const dlt_outcome *outcome, dlt_target_form form, dlt_outcome *matched)
{
    *matched = *outcome;
    if (dlt_builder_failed(b) || outcome->y_true == NULL || outcome->y_pred == NULL) {
        return false;
    }
    if (matched->mask == NULL) {
        matched->mask = outcome->y_pred->mask;
    }
    matched->y_pred = dlt_cast(b, outcome->y_pred, dlt_real(b));
    matched->y_true = dlt_cast(b, outcome->y_true, form == DLT_TARGET_CLASSES ? DLT_I32 : dlt_real(b));
    if (matched->y_true == NULL || matched->y_pred == NULL) {
        return false;
    }
    const dlt_shape t = matched->y_true->shape, p = matched->y_pred->shape;
    if (form == DLT_TARGET_SAME) {
        join_ranks(b, matched);
    } else if (t.rank == p.rank && t.rank > 1 && last_of(&t) == 1) {
        matched->y_true = dlt_squeeze(b, matched->y_true, -1);
    }
    if (matched->y_true == NULL || matched->y_pred == NULL) {
        return false;
    }
    const dlt_shape wanted = wanted_shape(matched->y_pred, form);
    if (!dlt_shape_equal(&matched->y_true->shape, &wanted) || (form == DLT_TARGET_CLASSES && p.rank < 2)) {
        if (dlt_uncertain(matched->y_true,
                          matched->y_pred)) { /* sizes are not known yet: anything of the right shape */
            dlt_value *any = dlt_constant_typed(b, matched->y_true->type, 0);
            matched->y_true = dlt_broadcast_to(b, any, wanted);
            return matched->y_true != NULL;
        }
        char is[160], should[160], predicted[160];
        dlt_reject(b, "targets have shape %s; outputs of shape %s need %s%s",
                   dlt_shape_text_batch(&t, is, sizeof is),
                   dlt_shape_text_batch(&p, predicted, sizeof predicted),
                   dlt_shape_text_batch(&wanted, should, sizeof should),
                   wanted.rank > t.rank && form == DLT_TARGET_CLASSES ? "; put Flatten or a global pooling layer before the last layer" : "");
        return false;
    }
    return true;
}

dlt_value *dlt_outcome_rows(dlt_builder *b, const dlt_outcome *outcome)
{
    if (dlt_builder_failed(b) || outcome->rows == NULL) {
        return NULL;
    }
    dlt_value *row = dlt_index(b, outcome->rows->type, DLT_SHAPE(dlt_batch_size(b)), 0);
    return dlt_cast(b, dlt_less(b, row, outcome->rows), dlt_real(b));
}

dlt_value *dlt_weight_aligned(dlt_builder *b, dlt_value *weight, dlt_shape shape)
{
    if (dlt_builder_failed(b) || weight == NULL) {
        return NULL;
    }
    dlt_shape aligned = weight->shape;
    while (aligned.rank > shape.rank && last_of(&aligned) == 1) {
        aligned.rank--;
    }
    while (aligned.rank < shape.rank) {
        aligned.dim[aligned.rank++] = 1;
    }
    bool fits = aligned.rank == shape.rank;
    for (int i = 0; i < shape.rank && fits; i++) {
        fits = aligned.dim[i] == shape.dim[i] || aligned.dim[i] == 1;
    }
    if (!fits) {
        char is[160], should[160];
        return dlt_reject(b, "weights or masks of shape %s do not fit losses of shape %s",
                          dlt_shape_text_batch(&weight->shape, is, sizeof is),
                          dlt_shape_text_batch(&shape, should, sizeof should));
    }
    dlt_value *real = dlt_cast(b, weight, dlt_real(b));
    return dlt_shape_equal(&weight->shape, &aligned) ? real : dlt_reshape(b, real, aligned);
}

/* ---- formulas ---- */

dlt_value *dlt_clip(dlt_builder *b, dlt_value *x, double lo, double hi)
{
    return dlt_max_c(b, dlt_min_c(b, x, hi), lo);
}

dlt_value *dlt_divide_no_nan(dlt_builder *b, dlt_value *x, dlt_value *y)
{
    if (x == NULL || y == NULL) {
        return NULL;
    }
    dlt_value *zero = dlt_constant_typed(b, y->type, 0);
    dlt_value *empty = dlt_equal(b, y, zero);
    dlt_value *quotient = dlt_div(b, x, dlt_select(b, empty, dlt_constant_typed(b, y->type, 1), y));
    return dlt_select(b, empty, zero,
                      quotient); /* the divisor is never 0, so the gradient has no NaN either */
}

dlt_value *dlt_normalize(dlt_builder *b, dlt_value *x, int axis)
{
    dlt_value *squares = dlt_sum(b, dlt_square(b, x), dlt_axis_bit(x, axis), true);
    return dlt_mul(b, x, dlt_rsqrt(b, dlt_max_c(b, squares, DLT_EPSILON * DLT_EPSILON)));
}

dlt_value *dlt_axis_to_last(dlt_builder *b, dlt_value *x, int axis)
{
    if (x == NULL) {
        return NULL;
    }
    const int rank = x->shape.rank, from = axis < 0 ? rank + axis : axis;
    if (from < 0 || from >= rank) {
        char text[160];
        return dlt_reject(b, "axis %d of a tensor of shape %s does not exist", axis,
                          dlt_shape_text_batch(&x->shape, text, sizeof text));
    }
    if (from == rank - 1) {
        return x;
    }
    int perm[DLT_MAX_RANK], at = 0;
    for (int i = 0; i < rank; i++) {
        if (i != from) {
            perm[at++] = i;
        }
    }
    perm[at] = from;
    return dlt_transpose(b, x, perm);
}

dlt_value *dlt_logits_of(const dlt_value *probabilities, bool softmax)
{
    if (probabilities == NULL) {
        return NULL;
    }
    const dlt_node *node = probabilities->node;
    const bool found =
        softmax ? node->op == DLT_OP_SOFTMAX
                : node->op == DLT_OP_EW && ((const dlt_ew_attrs *)node->attrs)->op == DLT_EW_SIGMOID;
    return found ? node->inputs[0] : NULL;
}

void dlt_resolve_shapes(const dlt_shape *y_true, const dlt_shape *y_pred, bool *binary, bool *sparse)
{
    *binary = last_of(y_pred) == 1;
    *sparse = y_true->rank < y_pred->rank || (last_of(y_true) == 1 && last_of(y_pred) > 1);
}
