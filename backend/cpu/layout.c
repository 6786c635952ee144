/* backend/cpu/layout.c: which layouts and epilogues the CPU's kernels like.
 *
 * Convolutions wish for channels in blocks of 16 wherever conv_direct_blocked can run them; pools and batch normalisation go
 * along with their operand, so a chain of such layers stays in blocks and is reordered at its ends only. */
#include "backend/cpu/conv.h"
#include "backend/cpu/tiles.h"
#include "graph/passes.h"

enum { MAX_EPILOGUE = 32 }; /* instructions: their buffers must fit beside a block of the product */

static const dlt_layout row_major = {DLT_LAYOUT_ROW_MAJOR, 0, 0};
static const dlt_layout blocked = {DLT_LAYOUT_CHANNEL_BLOCKED, DLT_CONV_BLOCK, 0};
static const dlt_layout kernel_blocked = {DLT_LAYOUT_KERNEL_BLOCKED, DLT_CONV_BLOCK, DLT_CONV_BLOCK};

static bool few_channels(const dlt_node *n)
{
    const dlt_conv_attrs *attrs = n->attrs;
    return attrs->x_shape.dim[attrs->x_shape.rank - 1] % DLT_CONV_BLOCK != 0;
}

/* All operands of the rank of operand `leader` take its layout. */
static double follow(const dlt_node *n, dlt_layout *layouts, int leader)
{
    const dlt_layout layout = layouts[leader];
    const dlt_shape *first = &n->inputs[leader]->shape;
    if (layout.kind != DLT_LAYOUT_CHANNEL_BLOCKED) {
        return 0;
    }
    for (int i = 0; i < n->input_count + n->output_count; i++) {
        const dlt_value *v = i < n->input_count ? n->inputs[i] : n->outputs[i - n->input_count];
        layouts[i] = v->shape.rank == first->rank ? layout : row_major; /* the others have one number a channel */
    }
    return 1e-6;
}

double dlt_cpu_layout(void *self, const dlt_node *node, dlt_layout *layouts)
{
    (void)self;
    switch (node->op) {
    case DLT_OP_CONV:
    case DLT_OP_CONV_DX:
    case DLT_OP_CONV_DW: {
        if (dlt_conv_blocked_decline(node) != NULL) {
            return 0;
        }
        const bool few = few_channels(node), dw = node->op == DLT_OP_CONV_DW;
        layouts[0] = few ? row_major : blocked;
        layouts[1] = dw ? blocked : few ? row_major : kernel_blocked;
        for (int i = 2; i < node->input_count; i++) {
            layouts[i] = row_major;
        }
        layouts[node->input_count] = !dw ? blocked : few ? row_major : kernel_blocked;
        /* im2col writes and reads its rows besides */
        return 0.2 * dlt_node_flops(node) / 1e11 + 1e-9;
    }
    case DLT_OP_MAX_POOL:
    case DLT_OP_AVG_POOL:
    case DLT_OP_AVG_POOL_DX:
    case DLT_OP_BATCH_NORM:
        return follow(node, layouts, 0);
    case DLT_OP_BATCH_NORM_DX: /* with x, which the forward pass left */
        return follow(node, layouts, 1);
    case DLT_OP_MAX_POOL_DX: /* the indices lie as the forward pass left them */
        return follow(node, layouts, 1);
    default:
        return 0;
    }
}

bool dlt_cpu_epilogue(void *self, const dlt_node *node, const dlt_expr *expr)
{
    (void)self;
    const dlt_value *y = node->outputs[0];
    if (expr->instr_count > MAX_EPILOGUE || expr->compute != y->type || !(y->type == DLT_F32 || y->type == DLT_F64)) {
        return false;
    }
    if (node->op != DLT_OP_MATMUL && y->layout.kind != DLT_LAYOUT_CHANNEL_BLOCKED) {
        return false;
    }
    for (int i = 0; i < expr->output_count; i++) {
        if (expr->outputs[i].reduce != DLT_REDUCE_NONE) {
            return false;
        }
    }
    return true;
}
