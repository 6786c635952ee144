/* backend/cpu/layout.c: which layouts and epilogues the CPU's kernels like. */
#include "backend/cpu/kernel.h"

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
    (void)node;
    (void)expr;
    return false;
}
