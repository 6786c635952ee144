/* graph/op_rnn.c: recurrence as one op over a step body (decisions 10). */
#include "graph/builder.h"

#include "graph/graph_internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { MAX_INPUTS = 32 };

dlt_value *dlt_rnn(dlt_builder *b, const dlt_rnn_args *args, dlt_value **last)
{
    dlt_value *in[MAX_INPUTS];
    int count = 0;
    *last = NULL;
    if (b->failed || args->x == NULL) {
        return NULL;
    }
    dlt_rnn_attrs attrs = *args->attrs;
    const dlt_rnn_body *body = &attrs.body;
    if (3 + args->param_count + body->states + 1 > MAX_INPUTS) {
        return dlt_reject_at(b, DLT_E_INTERNAL, dlt_scope_pos(b), "a recurrent cell has too many parameters");
    }
    attrs.has_kernel = args->kernel != NULL;
    attrs.has_bias = args->bias != NULL;
    attrs.has_mask = args->mask != NULL;
    attrs.has_initial = args->initial != NULL;
    in[count++] = args->x;
    if (attrs.has_kernel) {
        in[count++] = args->kernel;
    }
    if (attrs.has_bias) {
        in[count++] = args->bias;
    }
    for (int i = 0; i < args->param_count; i++) {
        in[count++] = args->params[i];
    }
    if (attrs.has_mask) {
        in[count++] = args->mask;
    }
    for (int i = 0; attrs.has_initial && i < body->states; i++) {
        in[count++] = args->initial[i];
    }
    const dlt_shape x = args->x->shape;
    dlt_node *node = dlt_node_add(b, DLT_OP_RNN, in, count, &attrs, sizeof attrs);
    dlt_value *y = dlt_node_output(b, node, args->x->type, DLT_SHAPE(x.dim[0], x.dim[1], attrs.units));
    *last = dlt_node_output(b, node, args->x->type, DLT_SHAPE(x.dim[0], attrs.units));
    dlt_node_output(b, node, DLT_U8, DLT_SHAPE(0)); /* sized at selection */
    return y;
}

void dlt_inline(dlt_builder *b, const dlt_graph *graph, dlt_value *const *inputs, dlt_value **outputs)
{
    dlt_value **map = dlt_arena_alloc(b->arena, (size_t)graph->value_count, sizeof(dlt_value *));
    for (int i = 0; i < graph->output_count; i++) {
        outputs[i] = NULL;
    }
    if (map == NULL) {
        dlt_builder_out_of_memory(b);
        return;
    }
    for (int i = 0; i < graph->input_count; i++) {
        map[graph->inputs[i]->id] = inputs[i];
    }
    for (int i = 0; i < graph->node_count && !b->failed; i++) {
        const dlt_node *n = graph->nodes[i];
        if (n->op == DLT_OP_INPUT) {
            continue;
        }
        dlt_value **in = dlt_arena_alloc(b->arena, (size_t)n->input_count, sizeof(dlt_value *));
        if (in == NULL) {
            dlt_builder_out_of_memory(b);
            return;
        }
        for (int k = 0; k < n->input_count; k++) {
            in[k] = map[n->inputs[k]->id];
        }
        dlt_node *copy = dlt_node_add(b, n->op, in, n->input_count, NULL, 0);
        if (copy == NULL) {
            return;
        }
        copy->attrs = n->attrs; /* constant and in the same run's arena */
        copy->attrs_size = n->attrs_size;
        for (int k = 0; k < n->output_count; k++) {
            const dlt_value *was = n->outputs[k];
            dlt_value *v = dlt_node_output(b, copy, was->type, was->shape);
            if (v == NULL) {
                return;
            }
            v->storage = was->storage;
            map[was->id] = v;
        }
    }
    for (int i = 0; i < graph->output_count; i++) {
        outputs[i] = map[graph->outputs[i].value->id];
    }
}

/* The autodiff of a step body: recomputes the step, then goes back through it. */
static bool grad_body(dlt_builder *outer, const dlt_rnn_body *body, dlt_rnn_body *grad)
{
    const dlt_graph *g = body->graph;
    const dlt_builder_options options = {
        .name = "rnn_dx", .mode = DLT_MODE_TRAIN, .real = outer->options.real, .batch = g->batch};
    dlt_builder *b = dlt_builder_create(outer->arena, dlt_variables_create(outer->arena), &options, outer->diag);
    if (b == NULL) {
        return false;
    }
    dlt_value *in[MAX_INPUTS], *seeds[MAX_INPUTS], *out[MAX_INPUTS], *dx[MAX_INPUTS];
    char name[16];
    int count = 0;
    for (int i = 0; i < 1 + body->states; i++) { /* projected input and states before */
        in[count] = dlt_input(b, "in", g->inputs[i]->type, g->inputs[i]->shape);
        count++;
    }
    for (int i = 0; i < body->states; i++) {
        seeds[i] = dlt_input(b, "seed", g->inputs[1 + i]->type, g->inputs[1 + i]->shape);
    }
    for (int i = 0; i < body->params; i++) {
        const dlt_value *p = g->inputs[1 + body->states + i];
        in[count] = dlt_input(b, "param", p->type, p->shape);
        count++;
    }
    assert(count == g->input_count); /* a step has these inputs (graph/op_rnn.h) */
    dlt_inline(b, g, in, out);
    dlt_gradients_from(b, out, seeds, body->states, in, count, dx);
    for (int i = 0; i < count; i++) {
        if (i == 0) {
            snprintf(name, sizeof name, "dx");
        } else if (i <= body->states) {
            snprintf(name, sizeof name, "ds%d", i - 1);
        } else {
            snprintf(name, sizeof name, "dp%d", i - 1 - body->states);
        }
        dlt_output(b, name, dx[i]);
    }
    grad->states = body->states;
    grad->params = body->params;
    return dlt_builder_finish(b, &grad->graph) == DLT_OK;
}

void dlt_gradient_rnn(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    dlt_value *in[MAX_INPUTS + 4];
    int count = 0;
    dlt_rnn_attrs attrs = *(const dlt_rnn_attrs *)node->attrs;
    (void)wanted; /* results that nobody uses are not computed */
    attrs.has_dy = dy[0] != NULL;
    attrs.has_dlast = dy[1] != NULL;
    if (b->failed || (!attrs.has_dy && !attrs.has_dlast)) {
        return;
    }
    if (!grad_body(b, &attrs.body, &attrs.grad)) {
        dlt_builder_out_of_memory(b);
        return;
    }
    for (int i = 0; i < 2; i++) {
        if (dy[i] != NULL) {
            in[count++] = dy[i];
        }
    }
    for (int i = 0; i < node->input_count; i++) {
        in[count++] = node->inputs[i];
    }
    in[count++] = node->outputs[0];
    in[count++] = node->outputs[2];
    dlt_node *back = dlt_node_add(b, DLT_OP_RNN_DX, in, count, &attrs, sizeof attrs);
    for (int k = 0; k < node->input_count; k++) {
        if (dlt_dtype_is_real(node->inputs[k]->type)) { /* all but the mask */
            dx[k] = dlt_node_output(b, back, node->inputs[k]->type, node->inputs[k]->shape);
        }
    }
}
