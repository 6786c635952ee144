/* graph/op_matmul.c: matrix products. */
#include "graph/builder.h"

#include "graph/graph_internal.h"

dlt_value *dlt_matmul(dlt_builder *b, dlt_value *x, dlt_value *y, bool trans_x, bool trans_y)
{
    if (b->failed || x == NULL || y == NULL) {
        return NULL;
    }
    const dlt_shape *xs = &x->shape, *ys = &y->shape;
    char left[160], right[160];
    if (xs->rank < 2 || ys->rank < 2 || (ys->rank > 2 && ys->rank != xs->rank) ||
        (ys->rank == 2 && xs->rank > 2 && trans_x)) {
        return dlt_reject(b, "no matrix product of %s and %s", dlt_shape_text(xs, left, sizeof left),
                          dlt_shape_text(ys, right, sizeof right));
    }
    const int r = xs->rank, s = ys->rank;
    const int64_t m = xs->dim[r - (trans_x ? 1 : 2)], k = xs->dim[r - (trans_x ? 2 : 1)];
    const int64_t ky = ys->dim[s - (trans_y ? 1 : 2)], n = ys->dim[s - (trans_y ? 2 : 1)];
    bool fits = k == ky;
    for (int i = 0; s > 2 && i < r - 2; i++) {
        fits = fits && xs->dim[i] == ys->dim[i];
    }
    if (!fits) {
        return dlt_reject(b, "no matrix product of %s and %s: %lld is not %lld", dlt_shape_text(xs, left, sizeof left),
                          dlt_shape_text(ys, right, sizeof right), (long long)k, (long long)ky);
    }
    dlt_shape shape = *xs;
    shape.dim[r - 2] = m;
    shape.dim[r - 1] = n;
    dlt_value *const in[] = {x, y};
    const dlt_matmul_attrs attrs = {.trans_a = trans_x, .trans_b = trans_y};
    return dlt_node_simple(b, DLT_OP_MATMUL, in, 2, &attrs, sizeof attrs, x->type, shape);
}

/* (rows, last): all leading axes as rows. */
static dlt_value *as_rows(dlt_builder *b, dlt_value *x)
{
    const int64_t last = x->shape.dim[x->shape.rank - 1];
    int64_t rows = 1;
    for (int i = 0; i + 1 < x->shape.rank; i++) {
        rows *= x->shape.dim[i];
    }
    return dlt_reshape(b, x, DLT_SHAPE(rows, last));
}

void dlt_gradient_matmul(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    const dlt_matmul_attrs *t = node->attrs;
    dlt_value *x = node->inputs[0], *w = node->inputs[1], *g = dy[0];
    const bool rows = w->shape.rank == 2 && x->shape.rank > 2; /* leading axes of x are rows; trans_a is false */
    if (wanted[0]) {
        /* Y = A B: dA = G B^T;  A stored transposed: dA' = B G^T */
        dx[0] = t->trans_a ? dlt_matmul(b, w, g, t->trans_b, true) : dlt_matmul(b, g, w, false, !t->trans_b);
    }
    if (wanted[1]) {
        dlt_value *a = rows ? as_rows(b, x) : x;
        g = rows ? as_rows(b, g) : g;
        /* dB = A^T G;  B stored transposed: dB' = G^T A */
        dx[1] = t->trans_b ? dlt_matmul(b, g, a, true, t->trans_a) : dlt_matmul(b, a, g, !t->trans_a, false);
    }
}
