/* graph/pass_precision.c: the place where mixed precision enters. */
#include "graph/passes.h"

dlt_status dlt_pass_precision(const dlt_graph *graph, dlt_dtype compute, dlt_pos at, const dlt_target *target,
                              dlt_graph **out, dlt_diag *diag)
{
    *out = NULL;
    (void)target;
    if (compute != DLT_F32 && compute != DLT_F64) {
        return dlt_fail(diag, DLT_E_UNSUPPORTED, at,
                        "precision: there are no %s kernels on this device yet; use float32",
                        dlt_dtype_name(compute));
    }
    *out = (dlt_graph *)(uintptr_t)graph; /* nothing to change: graphs are constant once returned */
    return DLT_OK;
}
