/* cmd/output_guard.h: what --output may name. An older result is replaced without a question; what cannot be had back is not. */
#ifndef DLT_CMD_OUTPUT_GUARD_H
#define DLT_CMD_OUTPUT_GUARD_H

#include "base/diag.h"

#include <stddef.h>

/** A file that the command reads. */
typedef struct dlt_output_read {
    const char *path; /* "-": standard input; NULL: there is none */
    const char *what; /* it is: "the input" */
} dlt_output_read;

/** DLT_E_CONFIG where the file that `path` leads to (links are followed) lies among the files of a run. Devices and pipes
 * are let through. */
dlt_status dlt_output_place(const char *path, dlt_diag *diag);
/**
 * The same for a file that may be replaced: also DLT_E_CONFIG where it is one of those that the command reads, a
 * checkpoint, a file of weights or a model file. To be asked before anything is computed.
 */
dlt_status dlt_output_allowed(const char *path, const dlt_output_read *reads, size_t count, dlt_diag *diag);

#endif
