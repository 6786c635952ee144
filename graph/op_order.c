/* graph/op_order.c: sorting and counting. */
#include "graph/builder.h"

#include "graph/graph_internal.h"

dlt_value *dlt_top_k(dlt_builder *b, dlt_value *x, int64_t k, dlt_value **indices)
{
    if (b->failed || x == NULL) {
        return NULL;
    }
    const int last = x->shape.rank - 1;
    if (last < 0 || k < 1 || k > x->shape.dim[last]) {
        char text[160];
        return dlt_reject(b, "the %lld largest of %s were asked for", (long long)k,
                          dlt_shape_text(&x->shape, text, sizeof text));
    }
    dlt_shape shape = x->shape;
    shape.dim[last] = k;
    const dlt_top_k_attrs attrs = {.k = k};
    dlt_node *node = dlt_node_add(b, DLT_OP_TOP_K, &x, 1, &attrs, sizeof attrs);
    dlt_value *values = dlt_node_output(b, node, x->type, shape);
    dlt_value *at = dlt_node_output(b, node, DLT_I32, shape);
    if (indices != NULL) {
        *indices = at;
    }
    return values;
}

dlt_value *dlt_argmax(dlt_builder *b, dlt_value *x)
{
    dlt_value *indices = NULL;
    dlt_top_k(b, x, 1, &indices);
    return dlt_squeeze(b, indices, -1);
}

dlt_value *dlt_bincount(dlt_builder *b, dlt_value *ids, dlt_value *weights, int64_t bins)
{
    if (b->failed || ids == NULL || weights == NULL) {
        return NULL;
    }
    dlt_value *const in[] = {ids, dlt_broadcast_to(b, weights, ids->shape)};
    const dlt_bincount_attrs attrs = {.bins = bins};
    return dlt_node_simple(b, DLT_OP_BINCOUNT, in, 2, &attrs, sizeof attrs, DLT_F64, DLT_SHAPE(bins));
}

dlt_value *dlt_cumsum(dlt_builder *b, dlt_value *x, int axis, bool reverse)
{
    if (b->failed || x == NULL) {
        return NULL;
    }
    const dlt_axis_attrs attrs = {.axis = axis < 0 ? x->shape.rank + axis : axis, .reverse = reverse};
    return dlt_node_simple(b, DLT_OP_CUMSUM, &x, 1, &attrs, sizeof attrs, x->type, x->shape);
}

void dlt_gradient_top_k(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    /* each value's gradient goes back to where it stood: sum over k of one_hot(index_k) g_k */
    const dlt_top_k_attrs *attrs = node->attrs;
    dlt_value *x = node->inputs[0];
    const int64_t n = x->shape.dim[x->shape.rank - 1];
    if (!wanted[0] || dy[0] == NULL) {
        return;
    }
    dlt_value *where = dlt_one_hot(b, node->outputs[1], n); /* (..., k, n) */
    dlt_value *g = dlt_mul(b, where, dlt_expand(b, dy[0], -1));
    dx[0] = attrs->k == 1 ? dlt_squeeze(b, g, -2) : dlt_sum(b, g, dlt_axis_bit(g, -2), false);
}

void dlt_gradient_cumsum(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    const dlt_axis_attrs *attrs = node->attrs;
    if (wanted[0]) {
        dx[0] = dlt_cumsum(b, dy[0], attrs->axis, !attrs->reverse);
    }
}
