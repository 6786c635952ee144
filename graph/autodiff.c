/* graph/autodiff.c: reverse-mode differentiation, symbol to symbol: the gradient is more graph. */
#include "graph/builder.h"

#include "graph/graph_internal.h"

#include <string.h>

static dlt_gradient_rule *const rules[DLT_OP_COUNT] = {
    [DLT_OP_EW] = dlt_gradient_ew,
    [DLT_OP_REDUCE] = dlt_gradient_reduce,
    [DLT_OP_RESHAPE] = dlt_gradient_reshape,
    [DLT_OP_TRANSPOSE] = dlt_gradient_transpose,
    [DLT_OP_SLICE] = dlt_gradient_slice,
    [DLT_OP_PAD] = dlt_gradient_pad,
    [DLT_OP_CONCAT] = dlt_gradient_concat,
    [DLT_OP_REVERSE] = dlt_gradient_reverse,
    [DLT_OP_GATHER] = dlt_gradient_gather,
    [DLT_OP_SCATTER_ADD] = dlt_gradient_scatter_add,
    [DLT_OP_WARP] = dlt_gradient_warp,
    [DLT_OP_WARP_DX] = dlt_gradient_warp_dx,
    [DLT_OP_TOP_K] = dlt_gradient_top_k,
    [DLT_OP_CUMSUM] = dlt_gradient_cumsum,
    [DLT_OP_MATMUL] = dlt_gradient_matmul,
    [DLT_OP_CONV] = dlt_gradient_conv,
    [DLT_OP_CONV_DX] = dlt_gradient_conv_dx,
    [DLT_OP_CONV_DW] = dlt_gradient_conv_dw,
    [DLT_OP_MAX_POOL] = dlt_gradient_max_pool,
    [DLT_OP_AVG_POOL] = dlt_gradient_avg_pool,
    [DLT_OP_BATCH_NORM] = dlt_gradient_batch_norm,
    [DLT_OP_LAYER_NORM] = dlt_gradient_layer_norm,
    [DLT_OP_SOFTMAX] = dlt_gradient_softmax,
    [DLT_OP_SOFTMAX_XENT] = dlt_gradient_softmax_xent,
    [DLT_OP_RNN] = dlt_gradient_rnn,
    [DLT_OP_ATTENTION] = dlt_gradient_attention,
    [DLT_OP_SEGMENT] = dlt_gradient_segment,
};

/* What is known of each value of the graph as it stood when differentiation began. */
typedef struct table {
    dlt_value **gradient; /* sum so far, NULL: none */
    bool *reaches;        /* depends on one of `wrt` */
} table;

static void accumulate(dlt_builder *b, table *t, const dlt_value *x, dlt_value *g)
{
    dlt_value **sum = &t->gradient[x->id];
    if (*sum == NULL) {
        *sum = g;
        return;
    }
    /* contributions arrive from the last use to the first; the sum is taken first use first (decisions 16) */
    *sum = dlt_add(b, g, *sum);
}

/* Goes back through one node whose outputs have gradients. */
static void back_through(dlt_builder *b, table *t, const dlt_node *node)
{
    bool few_wants[64] = {false}, any = false;
    dlt_value *few_dy[8] = {NULL}, *few_dx[64] = {NULL};
    bool *wants = few_wants;
    dlt_value **dx = few_dx, **dy = few_dy;
    if (node->input_count > 64 || node->output_count > 8) {
        wants = dlt_arena_alloc(b->arena, (size_t)node->input_count, sizeof *wants);
        dx = dlt_arena_alloc(b->arena, (size_t)node->input_count, sizeof(dlt_value *));
        dy = dlt_arena_alloc(b->arena, (size_t)node->output_count, sizeof(dlt_value *));
        if (wants == NULL || dx == NULL || dy == NULL) {
            dlt_builder_out_of_memory(b);
            return;
        }
    }
    for (int i = 0; i < node->output_count; i++) {
        dy[i] = t->gradient[node->outputs[i]->id];
        any = any || dy[i] != NULL;
    }
    bool reached = false;
    for (int i = 0; i < node->input_count; i++) {
        wants[i] = t->reaches[node->inputs[i]->id];
        reached = reached || wants[i];
    }
    if (!any || !reached) {
        return;
    }
    if (rules[node->op] == NULL) {
        dlt_reject_at(b, DLT_E_UNSUPPORTED, node->pos, "%s has no gradient", dlt_op_name(node->op));
        return;
    }
    /* nodes of the gradient belong to the layer whose forward node they come from */
    dlt_scope *scope = &b->scopes[b->depth - 1];
    const dlt_scope kept = *scope;
    scope->path = node->layer;
    scope->pos = node->pos;
    rules[node->op](b, node, dy, wants, dx);
    *scope = kept;
    for (int i = 0; i < node->input_count && !b->failed; i++) {
        if (wants[i] && dx[i] != NULL) {
            accumulate(b, t, node->inputs[i], dx[i]);
        }
    }
}

void dlt_gradients_from(dlt_builder *b, dlt_value *const *of, dlt_value *const *seeds, int of_count,
                        dlt_value *const *wrt, int count, dlt_value **out)
{
    const dlt_graph *g = b->graph;
    const int nodes = g->node_count, values = g->value_count;
    memset(out, 0, (size_t)count * sizeof *out);
    if (b->failed) {
        return;
    }
    table t = {dlt_arena_alloc(b->arena, (size_t)values, sizeof(dlt_value *)),
               dlt_arena_alloc(b->arena, (size_t)values, sizeof(bool))};
    if (t.gradient == NULL || t.reaches == NULL) {
        dlt_builder_out_of_memory(b);
        return;
    }
    for (int i = 0; i < count; i++) {
        if (wrt[i] == NULL) {
            return;
        }
        t.reaches[wrt[i]->id] = true;
    }
    for (int i = 0; i < nodes; i++) {
        const dlt_node *n = g->nodes[i];
        bool reaches = false;
        for (int k = 0; k < n->input_count && !reaches; k++) {
            reaches = t.reaches[n->inputs[k]->id];
        }
        const bool stops = n->op == DLT_OP_EW && ((const dlt_ew_attrs *)n->attrs)->op == DLT_EW_STOP;
        for (int k = 0; k < n->output_count && reaches && !stops; k++) {
            t.reaches[n->outputs[k]->id] = true;
        }
    }
    for (int i = 0; i < of_count; i++) {
        if (of[i] != NULL && seeds[i] != NULL) {
            accumulate(b, &t, of[i], seeds[i]);
        }
    }
    for (int i = nodes - 1; i >= 0 && !b->failed; i--) {
        back_through(b, &t, g->nodes[i]);
    }
    for (int i = 0; i < count && !b->failed; i++) {
        out[i] = t.gradient[wrt[i]->id];
        if (out[i] == NULL) {
            out[i] = dlt_broadcast_to(b, dlt_constant_typed(b, wrt[i]->type, 0), wrt[i]->shape);
        }
    }
}

void dlt_gradients(dlt_builder *b, dlt_value *of, dlt_value *const *wrt, int count, dlt_value **out)
{
    const dlt_phase phase = b->phase;
    b->phase = DLT_PHASE_BACKWARD;
    dlt_value *seed = of != NULL ? dlt_broadcast_to(b, dlt_constant_typed(b, of->type, 1), of->shape) : NULL;
    dlt_gradients_from(b, &of, &seed, 1, wrt, count, out);
    b->phase = phase;
}
