/* backend/cpu/layout.c: which layouts and epilogues the CPU's kernels like. */
#include "backend/cpu/kernel.h"

enum { MAX_EPILOGUE = 32 }; /* instructions: their buffers must fit beside a block of the product */

double dlt_cpu_layout(void *self, const dlt_node *node, dlt_layout *layouts)
{
    (void)self;
    (void)node;
    (void)layouts;
    return 0;
}

bool dlt_cpu_epilogue(void *self, const dlt_node *node, const dlt_expr *expr)
{
    (void)self;
    const dlt_value *y = node->outputs[0];
    if (node->op != DLT_OP_MATMUL || expr->instr_count > MAX_EPILOGUE || expr->compute != y->type ||
        !(y->type == DLT_F32 || y->type == DLT_F64)) {
        return false;
    }
    for (int i = 0; i < expr->output_count; i++) {
        if (expr->outputs[i].reduce != DLT_REDUCE_NONE) {
            return false;
        }
    }
    return true;
}
