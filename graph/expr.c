/* graph/expr.c: shapes of domains and reductions, cost of programs. */
#include "graph/expr.h"

bool dlt_broadcast(const dlt_shape *a, const dlt_shape *b, dlt_shape *out)
{
    const dlt_shape *longer = a->rank >= b->rank ? a : b, *shorter = longer == a ? b : a;
    const int skip = longer->rank - shorter->rank;
    *out = *longer;
    for (int i = 0; i < shorter->rank; i++) {
        const int64_t l = longer->dim[skip + i], s = shorter->dim[i];
        if (l != s && l != 1 && s != 1) {
            return false;
        }
        out->dim[skip + i] = l == 1 ? s : l;
    }
    return true;
}

dlt_shape dlt_reduce_shape(const dlt_shape *domain, uint32_t axes, bool keep)
{
    dlt_shape out = {.rank = 0};
    for (int i = 0; i < domain->rank; i++) {
        if ((axes >> i & 1) == 0) {
            out.dim[out.rank++] = domain->dim[i];
        } else if (keep) {
            out.dim[out.rank++] = 1;
        }
    }
    return out;
}

bool dlt_reduce_view(const dlt_shape *domain, uint32_t axes, int64_t *outer, int64_t *length, int64_t *inner)
{
    enum { BEFORE, INSIDE, BEHIND } at = BEFORE;
    *outer = *length = *inner = 1;
    for (int i = 0; i < domain->rank; i++) {
        if (domain->dim[i] == 1) {
            continue;
        }
        const bool reduced = (axes >> i & 1) != 0;
        if (reduced && at == BEHIND) {
            return false;
        }
        if (reduced) {
            at = INSIDE;
            *length *= domain->dim[i];
        } else if (at == BEFORE) {
            *outer *= domain->dim[i];
        } else {
            at = BEHIND;
            *inner *= domain->dim[i];
        }
    }
    return true;
}

double dlt_expr_flops(const dlt_expr *expr)
{
    double flops = 0;
    for (int i = 0; i < expr->instr_count; i++) {
        switch (expr->instrs[i].op.op) {
        case DLT_EW_CONST:
        case DLT_EW_INDEX:
        case DLT_EW_COPY:
        case DLT_EW_STOP:
        case DLT_EW_CAST:
            break;
        case DLT_EW_EXP:
        case DLT_EW_EXPM1:
        case DLT_EW_LOG:
        case DLT_EW_LOG1P:
        case DLT_EW_SIN:
        case DLT_EW_COS:
        case DLT_EW_TANH:
        case DLT_EW_SIGMOID:
        case DLT_EW_SOFTPLUS:
        case DLT_EW_ERF:
        case DLT_EW_POW:
        case DLT_EW_UNIFORM:
            flops += 10;
            break;
        default:
            flops += 1;
        }
    }
    for (int i = 0; i < expr->output_count; i++) {
        flops += expr->outputs[i].reduce != DLT_REDUCE_NONE;
    }
    return flops;
}
