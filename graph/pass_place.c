/* graph/pass_place.c: gradients are written straight to their place in GRAD. One that has no memory of its own, or is the
 * gradient of two variables, is copied there. */
#include "graph/passes.h"

#include "graph/builder.h"
#include "graph/rewrite.h"

/* The value whose memory v is a view of. */
static const dlt_value *root_of(const dlt_value *v)
{
    while (v->node->op == DLT_OP_RESHAPE) {
        v = v->node->inputs[0];
    }
    return v;
}

static bool has_memory(const dlt_value *root)
{
    switch (root->node->op) {
    case DLT_OP_VAR:
    case DLT_OP_INPUT:
    case DLT_OP_CONST:
    case DLT_OP_SEGMENT:
    case DLT_OP_FLAT:
        return false;
    default:
        return true;
    }
}

dlt_status dlt_pass_place(const dlt_graph *graph, dlt_graph **out, dlt_diag *diag)
{
    dlt_rewrite r;
    dlt_rewrite_begin(&r, graph);
    bool *taken = dlt_arena_alloc(graph->arena, (size_t)graph->value_count, sizeof *taken);
    dlt_ew_attrs *copy = dlt_arena_alloc(graph->arena, 1, sizeof *copy);
    r.failed = r.failed || taken == NULL || copy == NULL;
    if (copy != NULL) {
        copy->op = DLT_EW_COPY;
    }
    for (int i = 0; i < graph->output_count && !r.failed; i++) {
        taken[root_of(graph->outputs[i].value)->id] = true;
    }
    for (int i = 0; i < graph->node_count && !r.failed; i++) {
        const dlt_node *n = graph->nodes[i];
        if (n->op != DLT_OP_FLAT || n->outputs[0]->storage != DLT_GRAD) {
            dlt_rewrite_copy(&r, n);
            continue;
        }
        dlt_value **in = dlt_arena_alloc(graph->arena, (size_t)n->input_count, sizeof(dlt_value *));
        if (in == NULL) {
            r.failed = true;
            break;
        }
        for (int k = 0; k < n->input_count; k++) {
            const dlt_value *root = root_of(n->inputs[k]);
            in[k] = dlt_rewrite_of(&r, n->inputs[k]);
            if (!has_memory(root) || taken[root->id]) {
                dlt_node *c = dlt_rewrite_node(&r, n, DLT_OP_EW, &in[k], 1, copy, sizeof *copy);
                in[k] = dlt_rewrite_value(&r, c, in[k]->type, in[k]->shape, in[k]->layout);
            }
            taken[root->id] = true;
        }
        dlt_node *flat = dlt_rewrite_node(&r, n, n->op, in, n->input_count, NULL, 0);
        if (flat != NULL) {
            dlt_rewrite_output(&r, flat, n->outputs[0]);
        }
    }
    return dlt_rewrite_end(&r, out, diag);
}
