/* graph/rewrite.c: how a pass makes its new graph from the old one. */
#include "graph/rewrite.h"

#include "graph/graph_internal.h"

#include <string.h>

void dlt_rewrite_begin(dlt_rewrite *r, const dlt_graph *from)
{
    *r = (dlt_rewrite){.from = from};
    r->to = dlt_arena_alloc(from->arena, 1, sizeof *r->to);
    r->map = dlt_arena_alloc(from->arena, (size_t)from->value_count, sizeof(dlt_value *));
    if (r->to == NULL || r->map == NULL) {
        r->failed = true;
        return;
    }
    *r->to = (dlt_graph){.arena = from->arena,
                         .variables = from->variables,
                         .name = from->name,
                         .real = from->real,
                         .batch = from->batch};
}

dlt_value *dlt_rewrite_of(const dlt_rewrite *r, const dlt_value *old)
{
    return r->failed || old == NULL ? NULL : r->map[old->id];
}

dlt_node *dlt_rewrite_node(dlt_rewrite *r, const dlt_node *old, dlt_op op, dlt_value *const *inputs, int count,
                           const void *attrs, size_t attrs_size)
{
    if (r->failed) {
        return NULL;
    }
    dlt_graph *g = r->to;
    dlt_node *node = dlt_arena_alloc(g->arena, 1, sizeof *node);
    dlt_value **in = dlt_arena_alloc(g->arena, (size_t)count, sizeof(dlt_value *));
    if (node == NULL || in == NULL ||
        !dlt_graph_grow(g->arena, &g->nodes, g->node_count, &g->node_room, sizeof *g->nodes)) {
        r->failed = true;
        return NULL;
    }
    if (count > 0) {
        memcpy(in, inputs, (size_t)count * sizeof *in);
    }
    *node = (dlt_node){.id = g->node_count,
                       .op = op,
                       .phase = old->phase,
                       .input_count = count,
                       .own_inputs = count,
                       .inputs = in,
                       .attrs = attrs,
                       .attrs_size = attrs_size,
                       .layer = old->layer,
                       .pos = old->pos};
    g->nodes[g->node_count++] = node;
    return node;
}

dlt_value *dlt_rewrite_value(dlt_rewrite *r, dlt_node *node, dlt_dtype type, dlt_shape shape, dlt_layout layout)
{
    if (r->failed || node == NULL) {
        return NULL;
    }
    dlt_graph *g = r->to;
    dlt_value *v = dlt_arena_alloc(g->arena, 1, sizeof *v);
    dlt_value **outputs = dlt_arena_alloc(g->arena, (size_t)node->output_count + 1, sizeof(dlt_value *));
    if (v == NULL || outputs == NULL) {
        r->failed = true;
        return NULL;
    }
    if (node->output_count > 0) {
        memcpy(outputs, node->outputs, (size_t)node->output_count * sizeof(dlt_value *));
    }
    *v = (dlt_value){.id = g->value_count++,
                     .out = node->output_count,
                     .node = node,
                     .type = type,
                     .shape = shape,
                     .layout = layout,
                     .extent = dlt_shape_count(&shape)};
    outputs[node->output_count++] = v;
    node->outputs = outputs;
    return v;
}

dlt_value *dlt_rewrite_output(dlt_rewrite *r, dlt_node *node, const dlt_value *old)
{
    dlt_value *v = dlt_rewrite_value(r, node, old->type, old->shape, old->layout);
    if (v != NULL) {
        v->storage = old->storage;
        v->extent = old->extent;
        r->map[old->id] = v;
    }
    return v;
}

dlt_node *dlt_rewrite_copy(dlt_rewrite *r, const dlt_node *old)
{
    if (r->failed) {
        return NULL;
    }
    dlt_value **in = dlt_arena_alloc(r->to->arena, (size_t)old->input_count, sizeof(dlt_value *));
    if (in == NULL) {
        r->failed = true;
        return NULL;
    }
    for (int i = 0; i < old->input_count; i++) {
        in[i] = r->map[old->inputs[i]->id];
    }
    dlt_node *node = dlt_rewrite_node(r, old, old->op, in, old->input_count, old->attrs, old->attrs_size);
    if (node == NULL) {
        return NULL;
    }
    node->epilogue = old->epilogue;
    node->own_inputs = old->own_inputs;
    for (int i = 0; i < old->output_count; i++) {
        dlt_rewrite_output(r, node, old->outputs[i]);
    }
    return node;
}

dlt_status dlt_rewrite_end(dlt_rewrite *r, dlt_graph **out, dlt_diag *diag)
{
    *out = NULL;
    if (r->failed) {
        return dlt_fail_memory(diag);
    }
    const dlt_graph *from = r->from;
    dlt_graph *to = r->to;
    to->inputs = dlt_arena_alloc(to->arena, (size_t)from->input_count, sizeof *to->inputs);
    to->outputs = dlt_arena_alloc(to->arena, (size_t)from->output_count, sizeof *to->outputs);
    if (to->inputs == NULL || to->outputs == NULL) {
        return dlt_fail_memory(diag);
    }
    to->input_count = to->input_room = from->input_count;
    to->output_count = to->output_room = from->output_count;
    for (int i = 0; i < from->input_count; i++) {
        to->inputs[i] = r->map[from->inputs[i]->id];
    }
    for (int i = 0; i < from->output_count; i++) {
        to->outputs[i] = from->outputs[i];
        to->outputs[i].value = r->map[from->outputs[i].value->id];
    }
    *out = to;
    return DLT_OK;
}

int *dlt_graph_uses(const dlt_graph *graph)
{
    int *uses = dlt_arena_alloc(graph->arena, (size_t)graph->value_count, sizeof *uses);
    if (uses == NULL) {
        return NULL;
    }
    for (int i = 0; i < graph->node_count; i++) {
        for (int k = 0; k < graph->nodes[i]->input_count; k++) {
            uses[graph->nodes[i]->inputs[k]->id]++;
        }
    }
    for (int i = 0; i < graph->output_count; i++) {
        uses[graph->outputs[i].value->id]++;
    }
    return uses;
}
