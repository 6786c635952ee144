/* graph/op_attention.c: scaled dot-product attention. */
#include "graph/builder.h"

#include "graph/graph_internal.h"

dlt_value *dlt_attention(dlt_builder *b, dlt_value *q, dlt_value *k, dlt_value *v, dlt_value *mask,
                         const dlt_attention_attrs *args)
{
    if (b->failed || q == NULL || k == NULL || v == NULL) {
        return NULL;
    }
    const dlt_shape *qs = &q->shape, *ks = &k->shape, *vs = &v->shape;
    if (qs->rank != 4 || ks->rank != 4 || vs->rank != 4 || qs->dim[0] != ks->dim[0] || ks->dim[0] != vs->dim[0] ||
        ks->dim[1] != vs->dim[1] || qs->dim[2] != ks->dim[2] || ks->dim[2] != vs->dim[2] || qs->dim[3] != ks->dim[3]) {
        char t[3][160];
        return dlt_reject(b, "no attention of %s over %s and %s", dlt_shape_text(qs, t[0], sizeof t[0]),
                          dlt_shape_text(ks, t[1], sizeof t[1]), dlt_shape_text(vs, t[2], sizeof t[2]));
    }
    dlt_attention_attrs attrs = *args;
    dlt_value *in[5] = {q, k, v};
    int count = 3;
    attrs.has_mask = mask != NULL;
    if (mask != NULL) {
        in[count++] = mask;
    }
    if (attrs.dropout > 0) {
        attrs.stream = attrs.stream != 0 ? attrs.stream : dlt_stream(b, "dropout");
        attrs.seed = b->options.seed;
        in[count++] = dlt_samples(b);
    }
    dlt_node *node = dlt_node_add(b, DLT_OP_ATTENTION, in, count, &attrs, sizeof attrs);
    dlt_value *o = dlt_node_output(b, node, q->type, DLT_SHAPE(qs->dim[0], qs->dim[1], qs->dim[2], vs->dim[3]));
    dlt_node_output(b, node, q->type, DLT_SHAPE(qs->dim[0], qs->dim[2], qs->dim[1]));
    return o;
}

void dlt_gradient_attention(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted,
                            dlt_value **dx)
{
    dlt_value *in[8] = {dy[0],           node->inputs[0],  node->inputs[1],
                        node->inputs[2], node->outputs[0], node->outputs[1]};
    int count = 6;
    (void)wanted; /* results that nobody uses are not computed */
    if (b->failed || dy[0] == NULL) {
        return;
    }
    for (int i = 3; i < node->input_count; i++) {
        in[count++] = node->inputs[i];
    }
    dlt_node *back =
        dlt_node_add(b, DLT_OP_ATTENTION_DX, in, count, node->attrs, sizeof(dlt_attention_attrs));
    for (int k = 0; k < 3; k++) {
        dx[k] = dlt_node_output(b, back, node->inputs[k]->type, node->inputs[k]->shape);
    }
}
