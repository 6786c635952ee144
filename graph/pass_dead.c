/* graph/pass_dead.c: drops what nobody uses. Inputs stay: they are slots of the staging ring. */
#include "graph/passes.h"

#include "graph/rewrite.h"

dlt_status dlt_pass_dead(const dlt_graph *graph, dlt_graph **out, dlt_diag *diag)
{
    dlt_rewrite r;
    dlt_rewrite_begin(&r, graph);
    bool *live = dlt_arena_alloc(graph->arena, (size_t)graph->value_count, sizeof *live);
    bool *kept = dlt_arena_alloc(graph->arena, (size_t)graph->node_count, sizeof *kept);
    if (live == NULL || kept == NULL || r.failed) {
        *out = NULL;
        return dlt_fail_memory(diag);
    }
    for (int i = 0; i < graph->output_count; i++) {
        live[graph->outputs[i].value->id] = true;
    }
    for (int i = graph->node_count - 1; i >= 0; i--) {
        const dlt_node *n = graph->nodes[i];
        bool keep = (dlt_op_flags(n->op) & DLT_OP_ORDERED) != 0 || n->op == DLT_OP_INPUT;
        for (int k = 0; k < n->output_count && !keep; k++) {
            keep = live[n->outputs[k]->id];
        }
        for (int k = 0; k < n->input_count && keep; k++) {
            live[n->inputs[k]->id] = true;
        }
        kept[i] = keep;
    }
    for (int i = 0; i < graph->node_count; i++) {
        if (kept[i]) {
            dlt_rewrite_copy(&r, graph->nodes[i]);
        }
    }
    return dlt_rewrite_end(&r, out, diag);
}
