/* io/data/npy.h: the header of NumPy's array files, versions 1 to 3 (formats.md 8). */
#ifndef DLT_IO_DATA_NPY_H
#define DLT_IO_DATA_NPY_H

#include "io/data/array.h"

enum { DLT_NPY_START = 12, DLT_NPY_MOST_HEADER = 10000 /* as NumPy */ };

/** Gives bytes from the front of the file; fewer than asked for only at its end. */
typedef dlt_status (*dlt_npy_take)(void *context, void *data, size_t bytes, size_t *got, dlt_diag *diag);

/**
 * Reads the header through `take` into the array's dtype, element, swap, by_column and shape. *data_at is
 * where elements begin.
 */
dlt_status dlt_npy_header(dlt_array *array, dlt_npy_take take, void *context, int64_t *data_at,
                          dlt_diag *diag);
/** Header text without magic: parsed into the array. For tests and fuzzing. */
dlt_status dlt_npy_parse(dlt_array *array, const char *text, size_t bytes, dlt_diag *diag);

#endif
