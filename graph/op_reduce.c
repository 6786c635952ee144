/* graph/op_reduce.c: sums and extremes over axes. */
#include "graph/builder.h"

#include "graph/graph_internal.h"

uint32_t dlt_axes_from(const dlt_value *x, int first)
{
    const int rank = x != NULL ? x->shape.rank : 0;
    return ((UINT32_C(1) << rank) - 1) & ~((UINT32_C(1) << first) - 1);
}

uint32_t dlt_axis_bit(const dlt_value *x, int axis)
{
    const int bit = axis < 0 ? (x != NULL ? x->shape.rank : 0) + axis : axis;
    return bit >= 0 ? UINT32_C(1) << bit : 0; /* none: x is NULL after a failure */
}

dlt_value *dlt_reduce(dlt_builder *b, dlt_reduce_kind kind, dlt_value *x, uint32_t axes, bool keep)
{
    int64_t outer, length, inner;
    if (b->failed || x == NULL) {
        return NULL;
    }
    axes &= (UINT32_C(1) << x->shape.rank) - 1;
    if (axes == 0) {
        return x;
    }
    if (!dlt_reduce_view(&x->shape, axes, &outer, &length, &inner)) {
        /* bring the reduced axes to the end: the order of a reduction is defined for axes that lie together */
        dlt_transpose_attrs t = {{0}};
        int at = 0, kept = 0;
        for (int pass = 0; pass < 2; pass++) {
            for (int i = 0; i < x->shape.rank; i++) {
                if ((int)(axes >> i & 1) == pass) {
                    t.perm[at++] = i;
                    kept += pass == 0;
                }
            }
        }
        dlt_value *moved = dlt_transpose(b, x, t.perm);
        dlt_value *y = dlt_reduce(b, kind, moved, dlt_axes_from(moved, kept), false);
        return keep && y != NULL ? dlt_reshape(b, y, dlt_reduce_shape(&x->shape, axes, true)) : y;
    }
    const dlt_reduce_attrs attrs = {.kind = kind, .axes = axes, .keep = keep};
    return dlt_node_simple(b, DLT_OP_REDUCE, &x, 1, &attrs, sizeof attrs, x->type,
                           dlt_reduce_shape(&x->shape, axes, keep));
}

dlt_value *dlt_sum(dlt_builder *b, dlt_value *x, uint32_t axes, bool keep)
{
    return dlt_reduce(b, DLT_REDUCE_SUM, x, axes, keep);
}

dlt_value *dlt_mean(dlt_builder *b, dlt_value *x, uint32_t axes, bool keep)
{
    if (x == NULL) {
        return NULL;
    }
    int64_t count = 1;
    for (int i = 0; i < x->shape.rank; i++) {
        count *= (axes >> i & 1) != 0 ? x->shape.dim[i] : 1;
    }
    return dlt_div_c(b, dlt_sum(b, x, axes, keep), count > 0 ? (double)count : 1);
}

dlt_value *dlt_sum_all(dlt_builder *b, dlt_value *x)
{
    return dlt_sum(b, x, dlt_axes_from(x, 0), false);
}

dlt_value *dlt_mean_all(dlt_builder *b, dlt_value *x)
{
    return dlt_mean(b, x, dlt_axes_from(x, 0), false);
}

dlt_value *dlt_sum_to(dlt_builder *b, dlt_value *x, dlt_shape shape)
{
    if (b->failed || x == NULL || dlt_shape_equal(&x->shape, &shape)) {
        return b->failed ? NULL : x;
    }
    const int extra = x->shape.rank - shape.rank;
    if (extra < 0) { /* x is smaller: a gradient that does not depend on the broadcast operand */
        return dlt_broadcast_to(b, x, shape);
    }
    uint32_t axes = 0;
    for (int i = 0; i < x->shape.rank; i++) {
        if (i < extra || (shape.dim[i - extra] == 1 && x->shape.dim[i] != 1)) {
            axes |= UINT32_C(1) << i;
        }
    }
    dlt_value *y = axes != 0 ? dlt_sum(b, x, axes, false) : x;
    if (y == NULL) {
        return NULL;
    }
    if (dlt_shape_count(&y->shape) == dlt_shape_count(&shape)) {
        return dlt_reshape(b, y, shape);
    }
    return dlt_broadcast_to(b, y, shape);
}

void dlt_gradient_reduce(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    const dlt_reduce_attrs *attrs = node->attrs;
    dlt_value *x = node->inputs[0];
    if (!wanted[0]) {
        return;
    }
    const dlt_shape kept = dlt_reduce_shape(&x->shape, attrs->axes, true);
    dlt_value *g = dlt_reshape(b, dy[0], kept);
    if (attrs->kind != DLT_REDUCE_SUM) { /* to every element that equals the extreme: ties get it each */
        dlt_value *y = dlt_reshape(b, node->outputs[0], kept);
        dx[0] = dlt_mul(b, dlt_equal(b, x, y), g);
    } else {
        dx[0] = dlt_broadcast_to(b, g, x->shape);
    }
}
