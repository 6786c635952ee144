/* trainer/penalty.c: regularizers and constraints of items, and what all penalties of a model come to. */
#include "trainer/kinds.h"

dlt_value *dlt_regularize(dlt_builder *b, const dlt_item *item, dlt_value *w)
{
    if (item == NULL || w == NULL) {
        return NULL;
    }
    return ((const dlt_regularizer_desc *)(const void *)item->kind)->build(b, item->params, w);
}

dlt_value *dlt_constrain(dlt_builder *b, const dlt_item *item, dlt_value *w)
{
    if (item == NULL || w == NULL) {
        return w;
    }
    return ((const dlt_constraint_desc *)(const void *)item->kind)->build(b, item->params, w);
}

/* ---- all penalties ---- */

static dlt_value *plus(dlt_builder *b, dlt_value *x, dlt_value *y)
{
    return x == NULL ? y : y == NULL ? x : dlt_add(b, x, y);
}

/* Nodes of a penalty stand in "LAYER/penalty" at the place of its regularizer. */
static void enter_penalty(dlt_builder *b, const char *layer, dlt_pos pos)
{
    dlt_scope_enter(b, layer, NULL, pos, true);
    dlt_scope_enter(b, DLT_PENALTY_SCOPE, NULL, pos, true);
}

static void leave_penalty(dlt_builder *b)
{
    dlt_scope_leave(b);
    dlt_scope_leave(b);
}

/* Penalties of trainable weights, each once however often it is used. */
static dlt_value *weight_penalties(dlt_builder *b)
{
    const dlt_variables *all = dlt_builder_graph(b)->variables;
    dlt_value *sum = NULL;
    for (int i = 0; i < all->count && !dlt_builder_failed(b); i++) {
        dlt_variable *v = all->list[i];
        if (v->regularizer != NULL && v->trainable) {
            enter_penalty(b, v->layer, v->regularizer->pos.line > 0 ? v->regularizer->pos : v->pos);
            sum = plus(b, sum, dlt_regularize(b, v->regularizer, dlt_current(b, v)));
            leave_penalty(b);
        }
    }
    return sum;
}

/*
 * Activity penalties: of the rows that count, divided by their number. Those that layers give as finished
 * scalars hold padding too: such a program is not padded (graph/builder.h).
 */
static dlt_value *activity_penalties(dlt_builder *b, dlt_value *rows)
{
    int count;
    const dlt_penalty *penalties = dlt_penalties(b, &count);
    dlt_value *sum = NULL, *whole = NULL;
    for (int i = 0; i < count && !dlt_builder_failed(b); i++) {
        dlt_value *x = dlt_cast(b, penalties[i].value, dlt_real(b));
        const dlt_shape shape = dlt_shape_of(x);
        if (penalties[i].regularizer == NULL) {
            whole = plus(b, whole, x);
            continue;
        }
        if (rows != NULL && shape.rank > 0) { /* zeros add nothing to a penalty */
            const int64_t per_sample = shape.dim[0] / dlt_batch_size(b);
            dlt_value *row = dlt_index(b, rows->type, DLT_SHAPE(shape.dim[0]), 0);
            dlt_value *counts = dlt_less(b, row, dlt_mul_c(b, rows, (double)per_sample));
            x = dlt_mul(b, x, dlt_weight_aligned(b, counts, shape));
        }
        enter_penalty(b, x != NULL ? penalties[i].value->node->layer : NULL, penalties[i].regularizer->pos);
        dlt_value *penalty = dlt_regularize(b, penalties[i].regularizer, x);
        leave_penalty(b);
        sum = plus(b, sum, penalty);
    }
    if (sum == NULL) {
        return whole;
    }
    sum = rows != NULL ? dlt_div(b, sum, dlt_cast(b, rows, dlt_real(b)))
                       : dlt_div_c(b, sum, (double)dlt_batch_size(b));
    return plus(b, sum, whole);
}

dlt_value *dlt_penalty_total(dlt_builder *b, dlt_value *rows)
{
    dlt_value *of_weights = weight_penalties(b), *of_activities = activity_penalties(b, rows);
    return dlt_builder_failed(b) ? NULL : plus(b, of_weights, of_activities);
}
