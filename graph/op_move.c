/* graph/op_move.c: values that change place or shape but not value; gathering and scattering of rows. */
#include "graph/builder.h"

#include "graph/graph_internal.h"

#include <string.h>

dlt_value *dlt_reshape(dlt_builder *b, dlt_value *x, dlt_shape shape)
{
    if (b->failed || x == NULL || dlt_shape_equal(&x->shape, &shape)) {
        return b->failed ? NULL : x;
    }
    if (dlt_shape_count(&x->shape) != dlt_shape_count(&shape)) {
        char from[160], to[160];
        return dlt_reject(b, "%s has not as many elements as %s", dlt_shape_text(&x->shape, from, sizeof from),
                          dlt_shape_text(&shape, to, sizeof to));
    }
    dlt_value *y = dlt_node_simple(b, DLT_OP_RESHAPE, &x, 1, NULL, 0, x->type, shape);
    if (y != NULL) {
        y->storage = x->storage;
    }
    return y;
}

dlt_value *dlt_flatten(dlt_builder *b, dlt_value *x)
{
    if (b->failed || x == NULL) {
        return NULL;
    }
    int64_t rest = 1;
    for (int i = 1; i < x->shape.rank; i++) {
        rest *= x->shape.dim[i];
    }
    return x->shape.rank == 0 ? x : dlt_reshape(b, x, DLT_SHAPE(x->shape.dim[0], rest));
}

dlt_value *dlt_expand(dlt_builder *b, dlt_value *x, int axis)
{
    if (b->failed || x == NULL) {
        return NULL;
    }
    if (x->shape.rank == DLT_MAX_RANK) {
        return dlt_reject(b, "tensors have at most %d axes", DLT_MAX_RANK);
    }
    const int at = axis < 0 ? x->shape.rank + 1 + axis : axis;
    dlt_shape shape = {.rank = x->shape.rank + 1};
    for (int i = 0; i < shape.rank; i++) {
        shape.dim[i] = i == at ? 1 : x->shape.dim[i - (i > at)];
    }
    return dlt_reshape(b, x, shape);
}

dlt_value *dlt_squeeze(dlt_builder *b, dlt_value *x, int axis)
{
    if (b->failed || x == NULL) {
        return NULL;
    }
    const int at = axis < 0 ? x->shape.rank + axis : axis;
    dlt_shape shape = {.rank = 0};
    for (int i = 0; i < x->shape.rank; i++) {
        if (i != at) {
            shape.dim[shape.rank++] = x->shape.dim[i];
        }
    }
    return dlt_reshape(b, x, shape);
}

dlt_value *dlt_transpose(dlt_builder *b, dlt_value *x, const int *perm)
{
    if (b->failed || x == NULL) {
        return NULL;
    }
    dlt_transpose_attrs attrs = {{0}};
    dlt_shape shape = {.rank = x->shape.rank};
    bool moves = false;
    int last = -1;
    for (int i = 0; i < shape.rank; i++) {
        attrs.perm[i] = perm[i];
        shape.dim[i] = x->shape.dim[perm[i]];
        if (shape.dim[i] != 1) { /* axes of size 1 may go anywhere without a copy */
            moves = moves || perm[i] < last;
            last = perm[i];
        }
    }
    if (!moves) {
        return dlt_reshape(b, x, shape);
    }
    return dlt_node_simple(b, DLT_OP_TRANSPOSE, &x, 1, &attrs, sizeof attrs, x->type, shape);
}

dlt_value *dlt_slice(dlt_builder *b, dlt_value *x, int axis, int64_t start, int64_t count)
{
    if (b->failed || x == NULL) {
        return NULL;
    }
    const dlt_slice_attrs attrs = {.axis = axis < 0 ? x->shape.rank + axis : axis, .start = start, .count = count};
    dlt_shape shape = x->shape;
    if (start == 0 && count == shape.dim[attrs.axis]) {
        return x;
    }
    shape.dim[attrs.axis] = count;
    return dlt_node_simple(b, DLT_OP_SLICE, &x, 1, &attrs, sizeof attrs, x->type, shape);
}

dlt_value *dlt_pad(dlt_builder *b, dlt_value *x, int axis, int64_t before, int64_t after)
{
    if (b->failed || x == NULL || (before == 0 && after == 0)) {
        return b->failed ? NULL : x;
    }
    const dlt_pad_attrs attrs = {.axis = axis < 0 ? x->shape.rank + axis : axis, .before = before, .after = after};
    dlt_shape shape = x->shape;
    shape.dim[attrs.axis] += before + after;
    return dlt_node_simple(b, DLT_OP_PAD, &x, 1, &attrs, sizeof attrs, x->type, shape);
}

dlt_value *dlt_concat(dlt_builder *b, dlt_value *const *parts, int count, int axis)
{
    if (b->failed || count == 0) {
        return NULL;
    }
    for (int i = 0; i < count; i++) {
        if (parts[i] == NULL) {
            return NULL;
        }
    }
    if (count == 1) {
        return parts[0];
    }
    const int at = axis < 0 ? parts[0]->shape.rank + axis : axis;
    dlt_shape shape = parts[0]->shape;
    for (int i = 1; i < count; i++) {
        dlt_shape other = parts[i]->shape;
        const int64_t more = other.rank == shape.rank ? other.dim[at] : 0;
        if (other.rank == shape.rank) {
            other.dim[at] = shape.dim[at];
        }
        if (!dlt_shape_equal(&other, &shape)) {
            char left[160], right[160];
            return dlt_reject(b, "shapes %s and %s cannot be joined along axis %d",
                              dlt_shape_text(&parts[0]->shape, left, sizeof left),
                              dlt_shape_text(&parts[i]->shape, right, sizeof right), axis);
        }
        shape.dim[at] += more;
    }
    const dlt_axis_attrs attrs = {.axis = at};
    return dlt_node_simple(b, DLT_OP_CONCAT, parts, count, &attrs, sizeof attrs, parts[0]->type, shape);
}

dlt_value *dlt_reverse(dlt_builder *b, dlt_value *x, int axis)
{
    if (b->failed || x == NULL) {
        return NULL;
    }
    const dlt_axis_attrs attrs = {.axis = axis < 0 ? x->shape.rank + axis : axis};
    return dlt_node_simple(b, DLT_OP_REVERSE, &x, 1, &attrs, sizeof attrs, x->type, x->shape);
}

/* Shape of ids followed by that of table without its first axis. */
static dlt_shape rows_shape(const dlt_shape *ids, const dlt_shape *table)
{
    dlt_shape shape = *ids;
    for (int i = 1; i < table->rank && shape.rank < DLT_MAX_RANK; i++) {
        shape.dim[shape.rank++] = table->dim[i];
    }
    return shape;
}

dlt_value *dlt_gather(dlt_builder *b, dlt_value *table, dlt_value *ids)
{
    if (b->failed || table == NULL || ids == NULL) {
        return NULL;
    }
    if (ids->shape.rank + table->shape.rank - 1 > DLT_MAX_RANK) {
        return dlt_reject(b, "tensors have at most %d axes", DLT_MAX_RANK);
    }
    dlt_value *const in[] = {table, ids};
    return dlt_node_simple(b, DLT_OP_GATHER, in, 2, NULL, 0, table->type, rows_shape(&ids->shape, &table->shape));
}

dlt_value *dlt_scatter_add(dlt_builder *b, dlt_value *ids, dlt_value *x, int64_t rows)
{
    if (b->failed || ids == NULL || x == NULL) {
        return NULL;
    }
    dlt_shape shape = {.rank = 1, .dim = {rows}};
    for (int i = ids->shape.rank; i < x->shape.rank; i++) {
        shape.dim[shape.rank++] = x->shape.dim[i];
    }
    dlt_value *const in[] = {ids, x};
    return dlt_node_simple(b, DLT_OP_SCATTER_ADD, in, 2, NULL, 0, x->type, shape);
}

/* ---- gradients ---- */

void dlt_gradient_reshape(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    if (wanted[0]) {
        dx[0] = dlt_reshape(b, dy[0], node->inputs[0]->shape);
    }
}

void dlt_gradient_transpose(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted,
                            dlt_value **dx)
{
    const dlt_transpose_attrs *attrs = node->attrs;
    int inverse[DLT_MAX_RANK] = {0};
    for (int i = 0; i < node->inputs[0]->shape.rank; i++) {
        inverse[attrs->perm[i]] = i;
    }
    if (wanted[0]) {
        dx[0] = dlt_transpose(b, dy[0], inverse);
    }
}

void dlt_gradient_slice(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    const dlt_slice_attrs *attrs = node->attrs;
    const int64_t whole = node->inputs[0]->shape.dim[attrs->axis];
    if (wanted[0]) {
        dx[0] = dlt_pad(b, dy[0], attrs->axis, attrs->start, whole - attrs->start - attrs->count);
    }
}

void dlt_gradient_pad(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    const dlt_pad_attrs *attrs = node->attrs;
    if (wanted[0]) {
        dx[0] = dlt_slice(b, dy[0], attrs->axis, attrs->before, node->inputs[0]->shape.dim[attrs->axis]);
    }
}

void dlt_gradient_concat(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    const dlt_axis_attrs *attrs = node->attrs;
    int64_t start = 0;
    for (int k = 0; k < node->input_count; k++) {
        const int64_t count = node->inputs[k]->shape.dim[attrs->axis];
        if (wanted[k]) {
            dx[k] = dlt_slice(b, dy[0], attrs->axis, start, count);
        }
        start += count;
    }
}

void dlt_gradient_reverse(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    const dlt_axis_attrs *attrs = node->attrs;
    if (wanted[0]) {
        dx[0] = dlt_reverse(b, dy[0], attrs->axis);
    }
}

void dlt_gradient_gather(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    if (wanted[0]) {
        dx[0] = dlt_scatter_add(b, node->inputs[1], dy[0], node->inputs[0]->shape.dim[0]);
    }
}

void dlt_gradient_scatter_add(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted,
                              dlt_value **dx)
{
    if (wanted[1]) {
        dx[1] = dlt_gather(b, dy[0], node->inputs[0]);
    }
}

void dlt_gradient_segment(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    (void)b, (void)node, (void)dy, (void)wanted, (void)dx; /* stands behind the update: nothing is differentiated there */
}
