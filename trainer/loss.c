/* trainer/loss.c: from losses of samples to the one number of a batch (keras-training.md 3). */
#include "trainer/kinds.h"

const char *const dlt_reduction_names[] = {"sum_over_batch_size", "sum", "mean_with_sample_weight", "mean",
                                           NULL};

const dlt_loss_desc *dlt_loss_resolve(const dlt_item *loss, const dlt_shape *y_true, const dlt_shape *y_pred,
                                      const void **params)
{
    const dlt_loss_desc *desc = dlt_loss_of(loss);
    *params = loss->params;
    if (desc->resolve != NULL) {
        desc = desc->resolve(y_true, y_pred);
        *params = desc->defaults;
    }
    return desc;
}

static double elements(const dlt_value *v)
{
    return v != NULL ? (double)dlt_shape_count(&v->shape) : 1;
}

/* Product of two factors, either of which may be missing. */
static dlt_value *times(dlt_builder *b, dlt_value *x, dlt_value *y)
{
    return x == NULL ? y : y == NULL ? x : dlt_mul(b, x, y);
}

/* The mask of the predictions and that of the loss, as one; aligned to `shape`. */
static dlt_value *joint_mask(dlt_builder *b, const dlt_outcome *o, dlt_value *own, dlt_shape shape)
{
    return times(b, dlt_weight_aligned(b, o->mask, shape), dlt_weight_aligned(b, own, shape));
}

/*
 * Elements that the mean is over: all of them; of the valid rows, if some are padding; the valid ones, if
 * there is a mask (Keras weights those with total / valid, which comes to the same). NULL: *fixed is the
 * number.
 */
static dlt_value *mean_divisor(dlt_builder *b, const dlt_outcome *o, dlt_value *values, dlt_value *mask,
                               dlt_value *rows, double *fixed)
{
    if (mask != NULL) {
        /* the mask may have one element for several values */
        return dlt_mul_c(b, dlt_sum_all(b, times(b, mask, rows)), elements(values) / elements(mask));
    }
    if (rows != NULL) {
        return dlt_mul_c(b, dlt_cast(b, o->rows, dlt_real(b)), elements(values) / (double)dlt_batch_size(b));
    }
    *fixed = elements(values);
    return NULL;
}

/* Sum of the weights. Keras takes them as they are given: (B, 1) counts once a sample however many steps it
 * has. */
static dlt_value *weight_divisor(dlt_builder *b, const dlt_outcome *o, dlt_value *values, dlt_value *weight,
                                 dlt_value *mask, dlt_value *rows)
{
    if (weight != NULL && o->weight->shape.rank < values->shape.rank) {
        weight = dlt_broadcast_to(b, weight, values->shape); /* (B) for (B, T), which Keras refuses */
    }
    return dlt_sum_all(b, times(b, times(b, weight, mask), rows));
}

static dlt_value *reduce(dlt_builder *b, const dlt_outcome *o, dlt_reduction reduction, dlt_value *values,
                         dlt_value *own)
{
    if (values == NULL) {
        return NULL;
    }
    if (values->shape.rank == 0) {
        if (o->weight == NULL) {
            return values;
        }
        /* rank-1 predictions have one loss for the batch, which Keras multiplies with each weight */
        values = dlt_broadcast_to(b, values, o->weight->shape);
    }
    dlt_value *mask = joint_mask(b, o, own, values->shape);
    dlt_value *weight = dlt_weight_aligned(b, o->weight, values->shape);
    dlt_value *rows = dlt_weight_aligned(b, dlt_outcome_rows(b, o), values->shape);
    dlt_value *all = times(b, times(b, weight, mask), rows);
    dlt_value *total = dlt_sum_all(b, times(b, values, all));
    if (reduction == DLT_REDUCTION_SUM) {
        return total;
    }
    if (reduction == DLT_REDUCTION_MEAN_WITH_SAMPLE_WEIGHT && (weight != NULL || mask != NULL)) {
        return dlt_divide_no_nan(b, total, weight_divisor(b, o, values, weight, mask, rows));
    }
    double fixed = 0;
    dlt_value *divisor = mean_divisor(b, o, values, mask, rows, &fixed);
    return divisor != NULL ? dlt_divide_no_nan(b, total, divisor)
                           : dlt_div_c(b, total, fixed > 0 ? fixed : 1);
}

dlt_value *dlt_loss_apply(dlt_builder *b, const dlt_item *loss, const dlt_outcome *outcome)
{
    if (dlt_builder_failed(b) || outcome->y_true == NULL || outcome->y_pred == NULL) {
        return NULL;
    }
    const void *params;
    const dlt_loss_desc *desc =
        dlt_loss_resolve(loss, &outcome->y_true->shape, &outcome->y_pred->shape, &params);
    dlt_value *result = NULL, *own = NULL;
    dlt_outcome given = *outcome, o;
    dlt_scope_enter(b, "loss", NULL, loss->pos, true);
    if (outcome->rows != NULL && given.y_true->shape.rank == 1 && given.y_pred->shape.rank == 1) {
        /* a loss of the whole batch would hold the padding too */
        given.mask = given.y_pred->mask;
        given.y_true = dlt_expand(b, given.y_true, -1);
        given.y_pred = dlt_expand(b, given.y_pred, -1);
    }
    if (dlt_outcome_match(b, &given, desc->form, &o)) {
        dlt_value *values = desc->build(b, params, o.y_true, o.y_pred, &own);
        result = reduce(b, &o, (dlt_reduction)((const dlt_loss_params *)params)->reduction, values, own);
    }
    dlt_scope_leave(b);
    return result;
}
