/* graph/passes.c: the passes in their order, and what a node costs. */
#include "graph/passes.h"

#include "graph/builder.h"

#include <assert.h>

dlt_status dlt_pass_select(dlt_graph *graph, const dlt_target *target, dlt_diag *diag)
{
    dlt_status status = DLT_OK;
    for (int i = 0; i < graph->node_count; i++) {
        dlt_node *n = graph->nodes[i];
        for (int k = 0; k < n->output_count; k++) { /* sizes that follow from the closed list of variables */
            dlt_value *v = n->outputs[k];
            if (v->layout.kind == DLT_LAYOUT_FLAT) {
                v->extent = graph->variables->trainable_bytes / (int64_t)dlt_dtype_size(v->type);
            }
        }
        const dlt_status one = target->select(target->self, graph, n, diag);
        status = status == DLT_OK ? one : status;
    }
    return status;
}

dlt_status dlt_passes_run(const dlt_graph *graph, const dlt_target *target, const dlt_pass_options *options,
                          dlt_graph **out, dlt_diag *diag)
{
    dlt_graph *g = NULL;
    *out = NULL;
    DLT_TRY(dlt_pass_dead(graph, &g, diag));
    DLT_TRY(dlt_pass_fold(g, &g, diag));
    DLT_TRY(dlt_pass_dead(g, &g, diag));
    DLT_TRY(dlt_pass_precision(g, options->compute, options->compute_at, target, &g, diag));
    DLT_TRY(dlt_pass_layout(g, target, options->layout, &g, diag));
    if (options->main_program && !dlt_variables_close(graph->variables)) {
        return dlt_fail(diag, DLT_E_MEMORY, (dlt_pos){0}, "the weights and optimizer slots together are too large");
    }
    DLT_TRY(dlt_pass_place(g, &g, diag));
    DLT_TRY(dlt_pass_fuse(g, target, options->fuse, &g, diag));
    DLT_TRY(dlt_pass_select(g, target, diag));
    *out = g;
    return DLT_OK;
}

static double window_cells(const dlt_conv_attrs *attrs)
{
    double cells = 1;
    for (int i = 0; i < attrs->window.axes; i++) {
        cells *= (double)attrs->window.size[i];
    }
    return cells;
}

static double elements(const dlt_value *v)
{
    return (double)dlt_shape_count(&v->shape);
}

double dlt_node_flops(const dlt_node *n)
{
    const dlt_value *y = n->output_count > 0 ? n->outputs[0] : NULL;
    const dlt_value *x = n->input_count > 0 ? n->inputs[0] : NULL;
    double flops = 0;
    switch (n->op) {
    case DLT_OP_MATMUL: {
        const dlt_matmul_attrs *attrs = n->attrs;
        assert(x != NULL && y != NULL);
        const double k = (double)x->shape.dim[x->shape.rank - (attrs->trans_a ? 2 : 1)];
        flops = 2 * elements(y) * k;
        break;
    }
    case DLT_OP_CONV:
    case DLT_OP_CONV_DX: {
        const dlt_conv_attrs *attrs = n->attrs;
        const dlt_shape *kernel = &attrs->kernel_shape;
        assert(x != NULL && y != NULL);
        const double out = n->op == DLT_OP_CONV ? elements(y) : elements(x);
        flops = 2 * out * window_cells(attrs) * (double)kernel->dim[kernel->rank - 2];
        break;
    }
    case DLT_OP_CONV_DW: {
        const dlt_conv_attrs *attrs = n->attrs;
        const dlt_shape *kernel = &attrs->kernel_shape;
        flops = 2 * elements(n->inputs[1]) * window_cells(attrs) * (double)kernel->dim[kernel->rank - 2];
        break;
    }
    case DLT_OP_MAX_POOL:
    case DLT_OP_AVG_POOL:
        flops = elements(y) * window_cells(n->attrs);
        break;
    case DLT_OP_MAX_POOL_DX:
    case DLT_OP_AVG_POOL_DX:
        flops = elements(x) * window_cells(n->attrs);
        break;
    case DLT_OP_EXPR:
        flops = dlt_expr_flops(n->attrs) * (double)dlt_shape_count(&((const dlt_expr *)n->attrs)->domain);
        break;
    case DLT_OP_BATCH_NORM:
    case DLT_OP_LAYER_NORM:
        flops = 8 * elements(x);
        break;
    case DLT_OP_BATCH_NORM_DX:
    case DLT_OP_LAYER_NORM_DX:
        flops = 12 * elements(x);
        break;
    case DLT_OP_SOFTMAX:
    case DLT_OP_SOFTMAX_XENT:
        flops = 14 * elements(x);
        break;
    case DLT_OP_SOFTMAX_DX:
        flops = 4 * elements(x);
        break;
    case DLT_OP_SCATTER_ADD:
        flops = elements(n->inputs[1]);
        break;
    case DLT_OP_WARP:
    case DLT_OP_WARP_DX: /* two interpolations between columns and one between rows */
        flops = ((const dlt_warp_attrs *)n->attrs)->nearest ? 0 : 9 * elements(n->op == DLT_OP_WARP ? y : x);
        break;
    case DLT_OP_RNN:
    case DLT_OP_RNN_DX: {
        /* products with the kernel and the recurrent kernel; the gradient does each twice */
        const dlt_rnn_attrs *attrs = n->attrs;
        const int first = n->op == DLT_OP_RNN_DX ? (int)attrs->has_dy + (int)attrs->has_dlast : 0;
        const int weights = (int)attrs->has_kernel + (int)attrs->has_bias + attrs->body.params;
        const dlt_value *in = n->inputs[first];
        const double rows = (double)in->shape.dim[0] * (double)in->shape.dim[1];
        for (int i = 0; i < weights; i++) {
            const dlt_value *w = n->inputs[first + 1 + i];
            flops += w->shape.rank == 2 ? 2 * rows * elements(w) : 0;
        }
        flops *= n->op == DLT_OP_RNN_DX ? 2 : 1;
        break;
    }
    case DLT_OP_ATTENTION:
    case DLT_OP_ATTENTION_DX: {
        const int first = n->op == DLT_OP_ATTENTION ? 0 : 1;
        const dlt_shape *q = &n->inputs[first]->shape, *v = &n->inputs[first + 2]->shape;
        const double pairs = (double)q->dim[0] * (double)q->dim[2] * (double)q->dim[1] * (double)v->dim[1];
        flops = 2 * pairs * (double)(q->dim[3] + v->dim[3]) * (first == 0 ? 1 : 2.5);
        break;
    }
    default:
        break;
    }
    if (n->epilogue != NULL) {
        flops += dlt_expr_flops(n->epilogue) * (double)dlt_shape_count(&n->epilogue->domain);
    }
    return flops;
}

int64_t dlt_node_bytes(const dlt_node *n)
{
    int64_t bytes = 0;
    if ((dlt_op_flags(n->op) & DLT_OP_VIEW) != 0 || n->op == DLT_OP_VAR || n->op == DLT_OP_INPUT || n->op == DLT_OP_CONST) {
        return 0;
    }
    for (int i = 0; i < n->input_count; i++) {
        bytes += dlt_value_bytes(n->inputs[i]);
    }
    for (int i = 0; i < n->output_count; i++) {
        bytes += dlt_value_bytes(n->outputs[i]);
    }
    return bytes;
}
