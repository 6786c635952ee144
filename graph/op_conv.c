/* graph/op_conv.c: convolutions and pools over 1 to 3 spatial axes, channels last. */
#include "graph/builder.h"

#include "graph/graph_internal.h"

void dlt_window_same(dlt_window *window, const dlt_shape *x)
{
    for (int i = 0; i < window->axes; i++) {
        const int64_t n = x->dim[1 + i], s = window->stride[i];
        const int64_t covers = (window->size[i] - 1) * window->dilation[i] + 1;
        const int64_t out = (n + s - 1) / s;
        const int64_t total = (out - 1) * s + covers - n;
        window->before[i] = total > 0 ? total / 2 : 0; /* the odd cell goes behind */
        window->after[i] = total > 0 ? total - total / 2 : 0;
    }
}

bool dlt_window_output(const dlt_window *window, const dlt_shape *x, int64_t out[DLT_MAX_SPATIAL])
{
    for (int i = 0; i < window->axes; i++) {
        const int64_t covers = (window->size[i] - 1) * window->dilation[i] + 1;
        const int64_t padded = x->dim[1 + i] + window->before[i] + window->after[i];
        if (padded < covers) {
            return false;
        }
        out[i] = (padded - covers) / window->stride[i] + 1;
    }
    return true;
}

/* Shape (N, out..., channels); false after a message if the window is larger than the input. */
static bool window_shape(dlt_builder *b, const dlt_window *w, const dlt_value *x, int64_t channels, dlt_shape *shape)
{
    int64_t out[DLT_MAX_SPATIAL] = {0};
    char text[160];
    if (x->shape.rank != w->axes + 2) {
        dlt_reject(b, "expected an input of %d axes (N, ..., C), got %s", w->axes + 2,
                   dlt_shape_text_batch(&x->shape, text, sizeof text));
        return false;
    }
    if (!dlt_window_output(w, &x->shape, out)) {
        dlt_reject(b, "the window is larger than the input %s; padding: same, or a smaller window",
                   dlt_shape_text_batch(&x->shape, text, sizeof text));
        return false;
    }
    *shape = x->shape;
    for (int i = 0; i < w->axes; i++) {
        shape->dim[1 + i] = out[i];
    }
    shape->dim[w->axes + 1] = channels;
    return true;
}

dlt_value *dlt_conv(dlt_builder *b, dlt_value *x, dlt_value *kernel, const dlt_window *window, int64_t groups)
{
    dlt_shape shape;
    if (b->failed || x == NULL || kernel == NULL) {
        return NULL;
    }
    const int r = kernel->shape.rank;
    if (!window_shape(b, window, x, kernel->shape.dim[r - 1], &shape)) {
        return NULL;
    }
    const int64_t c = x->shape.dim[x->shape.rank - 1];
    if (r != window->axes + 2 || c != kernel->shape.dim[r - 2] * groups || shape.dim[r - 1] % groups != 0) {
        char left[160], right[160];
        return dlt_reject(b, "kernel %s in %lld groups does not fit input %s",
                          dlt_shape_text(&kernel->shape, left, sizeof left), (long long)groups,
                          dlt_shape_text_batch(&x->shape, right, sizeof right));
    }
    const dlt_conv_attrs attrs = {
        .window = *window, .groups = groups, .x_shape = x->shape, .kernel_shape = kernel->shape};
    dlt_value *const in[] = {x, kernel};
    return dlt_node_simple(b, DLT_OP_CONV, in, 2, &attrs, sizeof attrs, x->type, shape);
}

/* Gradient of a convolution with respect to its input: dy, kernel -> x's shape. */
static dlt_value *conv_dx(dlt_builder *b, dlt_value *dy, dlt_value *kernel, const dlt_conv_attrs *attrs)
{
    dlt_value *const in[] = {dy, kernel};
    return dy == NULL || kernel == NULL
               ? NULL
               : dlt_node_simple(b, DLT_OP_CONV_DX, in, 2, attrs, sizeof *attrs, dy->type, attrs->x_shape);
}

/* With respect to its kernel: x, dy -> kernel's shape. */
static dlt_value *conv_dw(dlt_builder *b, dlt_value *x, dlt_value *dy, const dlt_conv_attrs *attrs)
{
    dlt_value *const in[] = {x, dy};
    return dy == NULL || x == NULL
               ? NULL
               : dlt_node_simple(b, DLT_OP_CONV_DW, in, 2, attrs, sizeof *attrs, dy->type, attrs->kernel_shape);
}

void dlt_gradient_conv(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    if (wanted[0]) {
        dx[0] = conv_dx(b, dy[0], node->inputs[1], node->attrs);
    }
    if (wanted[1]) {
        dx[1] = conv_dw(b, node->inputs[0], dy[0], node->attrs);
    }
}

/* CONV_DX is linear in dy and in the kernel, CONV_DW in x and dy: their gradients are the other two. */
void dlt_gradient_conv_dx(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    const dlt_conv_attrs *attrs = node->attrs;
    if (wanted[0]) {
        dx[0] = dlt_conv(b, dy[0], node->inputs[1], &attrs->window, attrs->groups);
    }
    if (wanted[1]) {
        dx[1] = conv_dw(b, dy[0], node->inputs[0], attrs);
    }
}

void dlt_gradient_conv_dw(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    const dlt_conv_attrs *attrs = node->attrs;
    if (wanted[0]) {
        dx[0] = conv_dx(b, node->inputs[1], dy[0], attrs);
    }
    if (wanted[1]) {
        dx[1] = dlt_conv(b, node->inputs[0], dy[0], &attrs->window, attrs->groups);
    }
}

dlt_value *dlt_max_pool(dlt_builder *b, dlt_value *x, const dlt_window *window)
{
    dlt_shape shape;
    if (b->failed || x == NULL || !window_shape(b, window, x, x->shape.dim[x->shape.rank - 1], &shape)) {
        return NULL;
    }
    const dlt_conv_attrs attrs = {.window = *window, .groups = 1, .x_shape = x->shape};
    dlt_node *node = dlt_node_add(b, DLT_OP_MAX_POOL, &x, 1, &attrs, sizeof attrs);
    dlt_value *y = dlt_node_output(b, node, x->type, shape);
    /* which cell of the window won, row-major; of equals the first. Dead, and removed, where no gradient is asked for. */
    int64_t cells = 1;
    for (int i = 0; i < window->axes; i++) {
        cells *= window->size[i];
    }
    dlt_node_output(b, node, cells <= 256 ? DLT_U8 : DLT_I32, shape);
    return y;
}

void dlt_gradient_max_pool(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted,
                           dlt_value **dx)
{
    const dlt_conv_attrs *attrs = node->attrs;
    if (wanted[0]) {
        dlt_value *const in[] = {dy[0], node->outputs[1]};
        dx[0] = dlt_node_simple(b, DLT_OP_MAX_POOL_DX, in, 2, attrs, sizeof *attrs, dy[0]->type, attrs->x_shape);
    }
}

dlt_value *dlt_avg_pool(dlt_builder *b, dlt_value *x, const dlt_window *window)
{
    dlt_shape shape;
    if (b->failed || x == NULL || !window_shape(b, window, x, x->shape.dim[x->shape.rank - 1], &shape)) {
        return NULL;
    }
    const dlt_conv_attrs attrs = {.window = *window, .groups = 1, .x_shape = x->shape};
    return dlt_node_simple(b, DLT_OP_AVG_POOL, &x, 1, &attrs, sizeof attrs, x->type, shape);
}

void dlt_gradient_avg_pool(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted,
                           dlt_value **dx)
{
    const dlt_conv_attrs *attrs = node->attrs;
    if (wanted[0]) {
        dx[0] = dlt_node_simple(b, DLT_OP_AVG_POOL_DX, &dy[0], 1, attrs, sizeof *attrs, dy[0]->type, attrs->x_shape);
    }
}
