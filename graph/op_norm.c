/* graph/op_norm.c: batch and layer normalisation, softmax and its cross-entropy. */
#include "graph/builder.h"

#include "graph/graph_internal.h"

/* Adds a BATCH_NORM or LAYER_NORM node: statistics of shape `stats`. */
static dlt_node *norm(dlt_builder *b, dlt_op op, dlt_value *x, dlt_value *gamma, dlt_value *beta, dlt_norm_attrs attrs,
                      dlt_shape stats)
{
    dlt_value *in[3] = {x};
    int count = 1;
    attrs.has_gamma = gamma != NULL;
    attrs.has_beta = beta != NULL;
    if (gamma != NULL) {
        in[count++] = gamma;
    }
    if (beta != NULL) {
        in[count++] = beta;
    }
    dlt_node *node = dlt_node_add(b, op, in, count, &attrs, sizeof attrs);
    dlt_node_output(b, node, x->type, x->shape);
    for (int i = 0; i < 3; i++) {
        dlt_node_output(b, node, x->type, stats);
    }
    return b->failed ? NULL : node;
}

dlt_value *dlt_batch_norm(dlt_builder *b, dlt_value *x, dlt_value *gamma, dlt_value *beta, double epsilon,
                          dlt_value **mean, dlt_value **variance)
{
    *mean = *variance = NULL;
    if (b->failed || x == NULL) {
        return NULL;
    }
    const int64_t c = x->shape.dim[x->shape.rank - 1];
    const dlt_node *node =
        norm(b, DLT_OP_BATCH_NORM, x, gamma, beta, (dlt_norm_attrs){.epsilon = epsilon}, DLT_SHAPE(c));
    if (node == NULL) {
        return NULL;
    }
    *mean = node->outputs[1];
    *variance = node->outputs[2];
    return node->outputs[0];
}

dlt_value *dlt_layer_norm(dlt_builder *b, dlt_value *x, dlt_value *gamma, dlt_value *beta, int axes, double epsilon)
{
    if (b->failed || x == NULL) {
        return NULL;
    }
    dlt_shape stats = x->shape;
    stats.rank -= axes;
    const dlt_node *node =
        norm(b, DLT_OP_LAYER_NORM, x, gamma, beta, (dlt_norm_attrs){.epsilon = epsilon, .axes = axes}, stats);
    return node != NULL ? node->outputs[0] : NULL;
}

static void gradient(dlt_builder *b, const dlt_node *node, dlt_op op, dlt_value *const *dy, const bool *wanted,
                     dlt_value **dx)
{
    const dlt_norm_attrs *attrs = node->attrs;
    dlt_value *x = node->inputs[0];
    if (dy[0] == NULL) { /* mean and variance carry no gradient */
        return;
    }
    dlt_value *in[5] = {dy[0], x, node->outputs[1], node->outputs[3]};
    if (attrs->has_gamma) {
        in[4] = node->inputs[1];
    }
    const dlt_shape weights =
        op == DLT_OP_BATCH_NORM_DX ? node->outputs[1]->shape : dlt_reduce_shape(&x->shape, (UINT32_C(1) << node->outputs[1]->shape.rank) - 1, false);
    dlt_node *back = dlt_node_add(b, op, in, attrs->has_gamma ? 5 : 4, attrs, sizeof *attrs);
    dlt_value *d = dlt_node_output(b, back, x->type, x->shape);
    dlt_value *dgamma = dlt_node_output(b, back, x->type, weights);
    dlt_value *dbeta = dlt_node_output(b, back, x->type, weights);
    int k = 0;
    dx[k] = wanted[k] ? d : NULL;
    k++;
    if (attrs->has_gamma) {
        dx[k] = wanted[k] ? dgamma : NULL;
        k++;
    }
    if (attrs->has_beta) {
        dx[k] = wanted[k] ? dbeta : NULL;
    }
}

void dlt_gradient_batch_norm(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted,
                             dlt_value **dx)
{
    gradient(b, node, DLT_OP_BATCH_NORM_DX, dy, wanted, dx);
}

void dlt_gradient_layer_norm(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted,
                             dlt_value **dx)
{
    gradient(b, node, DLT_OP_LAYER_NORM_DX, dy, wanted, dx);
}

dlt_value *dlt_softmax(dlt_builder *b, dlt_value *x)
{
    if (b->failed || x == NULL) {
        return NULL;
    }
    return dlt_node_simple(b, DLT_OP_SOFTMAX, &x, 1, NULL, 0, x->type, x->shape);
}

void dlt_gradient_softmax(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    if (wanted[0]) {
        dlt_value *const in[] = {dy[0], node->outputs[0]};
        dx[0] = dlt_node_simple(b, DLT_OP_SOFTMAX_DX, in, 2, NULL, 0, dy[0]->type, dy[0]->shape);
    }
}

dlt_value *dlt_log_softmax(dlt_builder *b, dlt_value *x)
{
    const uint32_t last = dlt_axis_bit(x, -1);
    dlt_value *shifted = dlt_sub(b, x, dlt_stop_gradient(b, dlt_reduce(b, DLT_REDUCE_MAX, x, last, true)));
    return dlt_sub(b, shifted, dlt_log(b, dlt_sum(b, dlt_exp(b, shifted), last, true)));
}

dlt_value *dlt_softmax_xent(dlt_builder *b, dlt_value *logits, dlt_value *target)
{
    if (b->failed || logits == NULL || target == NULL) {
        return NULL;
    }
    dlt_value *const in[] = {logits, target};
    dlt_shape rows = logits->shape;
    rows.rank--;
    const dlt_shape wanted = dlt_dtype_is_real(target->type) ? logits->shape : rows;
    if (!dlt_shape_equal(&target->shape, &wanted)) {
        char is[160], should[160];
        return dlt_reject(b, "targets have shape %s, the outputs need %s", dlt_shape_text_batch(&target->shape, is, sizeof is),
                          dlt_shape_text_batch(&wanted, should, sizeof should));
    }
    dlt_node *node = dlt_node_add(b, DLT_OP_SOFTMAX_XENT, in, 2, NULL, 0);
    dlt_value *loss = dlt_node_output(b, node, logits->type, rows);
    dlt_node_output(b, node, logits->type, logits->shape);
    return loss;
}

void dlt_gradient_softmax_xent(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted,
                               dlt_value **dx)
{
    dlt_value *target = node->inputs[1], *p = node->outputs[1];
    if (!wanted[0] || dy[0] == NULL) {
        return;
    }
    const int64_t classes = p->shape.dim[p->shape.rank - 1];
    dlt_value *g = dlt_expand(b, dy[0], -1);
    if (dlt_dtype_is_real(target->type)) { /* (p sum t - t) g */
        dlt_value *sum = dlt_sum(b, target, dlt_axis_bit(target, -1), true);
        dx[0] = dlt_mul(b, dlt_sub(b, dlt_mul(b, p, sum), target), g);
        return;
    }
    /* (p - one_hot) g where the class is one, 0 where it is ignored */
    dlt_value *zero = dlt_constant_typed(b, target->type, 0);
    dlt_value *end = dlt_constant_typed(b, target->type, (double)classes);
    dlt_value *valid = dlt_and(b, dlt_less_equal(b, zero, target), dlt_less(b, target, end));
    g = dlt_mul(b, g, dlt_expand(b, dlt_cast(b, valid, b->options.real), -1));
    dx[0] = dlt_mul(b, dlt_sub(b, p, dlt_one_hot(b, target, classes)), g);
}
