/* graph/op_warp.c: images sampled at affinely transformed places, and the way back.
 *
 * WARP is linear in x but for the fill value, so its gradient, WARP_DX, needs nothing of the forward pass but the transform; the
 * gradient of WARP_DX is WARP again with 0 outside. */
#include "graph/builder.h"

#include "graph/graph_internal.h"

#include "base/text.h"

static bool is_transform(const dlt_value *transform, const dlt_value *images)
{
    const dlt_shape *t = &transform->shape;
    return t->rank == 2 && (t->dim[0] == 1 || t->dim[0] == images->shape.dim[0]) && t->dim[1] == 6 &&
           transform->type == images->type;
}

dlt_value *dlt_warp(dlt_builder *b, dlt_value *x, dlt_value *transform, const dlt_warp_attrs *attrs)
{
    char images[160], matrix[160];
    if (b->failed || x == NULL || transform == NULL) {
        return NULL;
    }
    if (x->shape.rank != 4 || !dlt_dtype_is_real(x->type) || x->shape.dim[1] < 1 || x->shape.dim[2] < 1) {
        return dlt_reject(b, "images (N, H, W, C) of at least one pixel are needed, got %s",
                          dlt_shape_text(&x->shape, images, sizeof images));
    }
    if (!is_transform(transform, x) || attrs->height < 1 || attrs->width < 1) {
        return dlt_reject(b, "images %s cannot be brought to %lld x %lld pixels by transforms %s",
                          dlt_shape_text(&x->shape, images, sizeof images), (long long)attrs->height,
                          (long long)attrs->width, dlt_shape_text(&transform->shape, matrix, sizeof matrix));
    }
    dlt_value *const in[] = {x, transform};
    const dlt_shape shape = DLT_SHAPE(x->shape.dim[0], attrs->height, attrs->width, x->shape.dim[3]);
    return dlt_node_simple(b, DLT_OP_WARP, in, 2, attrs, sizeof *attrs, x->type, shape);
}

void dlt_gradient_warp(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    const dlt_shape *shape = &node->inputs[0]->shape;
    dlt_warp_attrs attrs = *(const dlt_warp_attrs *)node->attrs;
    attrs.height = shape->dim[1];
    attrs.width = shape->dim[2];
    if (wanted[0]) {
        dlt_value *const in[] = {dy[0], node->inputs[1]};
        dx[0] = dlt_node_simple(b, DLT_OP_WARP_DX, in, 2, &attrs, sizeof attrs, node->inputs[0]->type, *shape);
    }
}

void dlt_gradient_warp_dx(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    dlt_warp_attrs attrs = *(const dlt_warp_attrs *)node->attrs;
    attrs.height = node->inputs[0]->shape.dim[1];
    attrs.width = node->inputs[0]->shape.dim[2];
    attrs.fill_value = 0;
    if (wanted[0]) {
        dx[0] = dlt_warp(b, dy[0], node->inputs[1], &attrs);
    }
}
