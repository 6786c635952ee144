/* io/outfile.h: files that results are written to under a name that the user gave. What stands under that
 * name decides how: nothing, or a regular file, gets its contents in one step by way of a temporary file, a
 * symbolic link is followed first, and a device, pipe or socket is written straight into, for a new file in
 * its place would do harm. */
#ifndef DLT_IO_OUTFILE_H
#define DLT_IO_OUTFILE_H

#include "base/diag.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

typedef enum dlt_outfile_mode {
    DLT_OUTFILE_REPLACE, /* a regular file that exists is replaced, once the new one is whole */
    DLT_OUTFILE_NEW,     /* a regular file that exists is left as it is: an error */
    DLT_OUTFILE_NAME     /* replaces the name itself, whatever stands there: for dltrain's own files */
} dlt_outfile_mode;

/** {.fd = -1} is one that is not open. */
typedef struct dlt_outfile {
    int fd; /* for reading and writing at any place; if `straight`, for writing one byte after the other */
    char *name;      /* of the file that fd writes to, for messages */
    char *target;    /* the name it gets when it is whole; NULL: it has it already */
    bool straight;   /* no regular file */
    dlt_status kind; /* of failures */
    const atomic_int *stop;
} dlt_outfile;

/** The file that a name leads to, whether it is there or not: its symbolic links are followed. *target: free with
 * dlt_free; NULL on failure. */
dlt_status dlt_outfile_target(const char *path, dlt_status kind, char **target, dlt_diag *diag);
/** Opens. On failure nothing is left behind and `out` is not open. A pipe waits for its reader, here and
 * in writing; where *stop is not 0 before that (stop may be NULL), the status is DLT_E_STOPPED. */
dlt_status dlt_outfile_open(const char *path, dlt_outfile_mode mode, dlt_status kind, const atomic_int *stop,
                            dlt_outfile *out, dlt_diag *diag);
dlt_status dlt_outfile_write(dlt_outfile *out, const void *data, size_t bytes, dlt_diag *diag);
/** Closes. `status` tells how writing went: what is not whole is removed, and what stood there before stays.
 * Returns `status`, or the failure of closing. Does nothing for one that is not open. */
dlt_status dlt_outfile_close(dlt_outfile *out, dlt_status status, dlt_diag *diag);
/** Opens, writes and closes. */
dlt_status dlt_outfile_write_all(const char *path, dlt_outfile_mode mode, const void *data, size_t bytes,
                                 dlt_status kind, dlt_diag *diag);

#endif
