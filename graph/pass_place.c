/* graph/pass_place.c: gradients are written straight to their place in GRAD. One that has no memory of its own, or is the
 * gradient of two variables, is copied there. A named output that is the old value of a variable is copied too, as the step
 * writes over it. */
#include "graph/passes.h"

#include "graph/builder.h"
#include "graph/rewrite.h"

#include <assert.h>

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

/* True if v lies in a variable that the step assigns. */
static bool is_overwritten(const dlt_graph *graph, const dlt_value *v)
{
    const dlt_variable *variable = dlt_variable_of(root_of(v));
    bool assigned = false;
    for (int i = 0; i < graph->node_count && variable != NULL && !assigned; i++) {
        const dlt_node *n = graph->nodes[i];
        const dlt_variable *target = n->op == DLT_OP_ASSIGN ? *(dlt_variable *const *)n->attrs : NULL;
        const bool all = n->op == DLT_OP_ASSIGN && target == NULL; /* every trainable weight */
        assigned = target == variable || (all && variable->storage == DLT_PARAM && variable->trainable);
    }
    return assigned;
}

/* A copy of v in the new graph; NULL: memory was refused. */
static dlt_value *copy_of(dlt_rewrite *r, const dlt_node *near, dlt_value *v, const dlt_ew_attrs *copy)
{
    if (v == NULL) {
        return NULL;
    }
    dlt_node *n = dlt_rewrite_node(r, near, DLT_OP_EW, &v, 1, copy, sizeof *copy);
    return dlt_rewrite_value(r, n, v->type, v->shape, v->layout);
}

dlt_status dlt_pass_place(const dlt_graph *graph, dlt_graph **out, dlt_diag *diag)
{
    dlt_rewrite r;
    dlt_rewrite_begin(&r, graph);
    bool *taken = dlt_arena_alloc(graph->arena, (size_t)graph->value_count, sizeof *taken);
    dlt_ew_attrs *copy = dlt_arena_alloc(graph->arena, 1, sizeof *copy);
    dlt_value **copied = dlt_arena_alloc(graph->arena, (size_t)graph->output_count, sizeof(dlt_value *)); /* by output */
    r.failed = r.failed || taken == NULL || copy == NULL || copied == NULL;
    if (copy != NULL) {
        copy->op = DLT_EW_COPY;
    }
    for (int i = 0; i < graph->output_count && !r.failed; i++) {
        taken[root_of(graph->outputs[i].value)->id] = true;
    }
    for (int i = 0; i < graph->node_count && !r.failed; i++) {
        const dlt_node *n = graph->nodes[i];
        if (n->op == DLT_OP_ASSIGN && is_overwritten(graph, n->inputs[0])) { /* two variables may change places */
            dlt_value *v = copy_of(&r, n, dlt_rewrite_of(&r, n->inputs[0]), copy);
            dlt_rewrite_node(&r, n, n->op, &v, 1, n->attrs, n->attrs_size);
            continue;
        }
        if (n->op != DLT_OP_FLAT || n->outputs[0]->storage != DLT_GRAD) {
            dlt_rewrite_copy(&r, n);
            for (int k = 0; k < graph->output_count && n->output_count > 0; k++) {
                const dlt_value *v = graph->outputs[k].value;
                if (v->node == n && is_overwritten(graph, v)) {
                    copied[k] = copy_of(&r, n, dlt_rewrite_of(&r, v), copy);
                }
            }
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
                in[k] = copy_of(&r, n, in[k], copy);
            }
            taken[root->id] = true;
        }
        dlt_node *flat = dlt_rewrite_node(&r, n, n->op, in, n->input_count, NULL, 0);
        if (flat != NULL) {
            dlt_rewrite_output(&r, flat, n->outputs[0]);
        }
    }
    DLT_TRY(dlt_rewrite_end(&r, out, diag));
    assert(copied != NULL); /* else r.failed, which ends above */
    for (int k = 0; k < graph->output_count; k++) {
        (*out)->outputs[k].value = copied[k] != NULL ? copied[k] : (*out)->outputs[k].value;
    }
    return DLT_OK;
}
