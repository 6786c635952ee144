/* tests/support/h5_inside.h: HDF5 files listed in this process, for sweeps over very many damaged files. A child for each
 * would be the real thing but takes milliseconds; the sweeps therefore run in a forked worker that may die. */
#ifndef DLT_TESTS_H5_INSIDE_H
#define DLT_TESTS_H5_INSIDE_H

#include "io/h5/h5_table.h"

/** dlt_h5_open without a child: libhdf5 runs here. The messages are the same but for a crash. */
dlt_status dlt_h5_open_inside(const char *path, dlt_status kind, dlt_h5_file **file, dlt_diag *diag);

enum { DLT_SWEEP_DIED = 255 }; /* the worker crashed or hung in this case */

/**
 * Runs work(context, i) for i in [0, count) in forked workers and notes what each returns (0 to 254). A worker that dies
 * is replaced and the case marked.
 */
void dlt_sweep(size_t count, unsigned char (*work)(void *context, size_t i), void *context, unsigned char *results);

#endif
