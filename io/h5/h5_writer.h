/* io/h5/h5_writer.h: makes a new HDF5 file of groups, datasets and text attributes, as Keras and h5py read it.
 *
 * The file has libhdf5's oldest format (superblock 0), contiguous little-endian datasets and no times, so the same calls give
 * the same bytes. libhdf5 writes through a driver of ours on dlt_file(), to a descriptor that stays the caller's: creating,
 * syncing, renaming are its business.
 *
 * libhdf5 is not to be used by two threads: one writer may be open at a time in a process, and each of its calls comes from
 * the thread that opened it. */
#ifndef DLT_IO_H5_WRITER_H
#define DLT_IO_H5_WRITER_H

#include "base/diag.h"
#include "base/tensor.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct dlt_h5_writer dlt_h5_writer;

/**
 * Begins a file on fd, which is open for reading and writing and empty, and outlives the writer. path stands in messages;
 * kind is the status of failures. A second writer at a time is DLT_E_INTERNAL.
 */
dlt_status dlt_h5_writer_create(int fd, const char *path, dlt_status kind, dlt_h5_writer **writer, dlt_diag *diag)
    DLT_MUST_CHECK;
/* After the first failure nothing more is written; each further call fails without a word. */

/** A group, and the groups above it that are missing. */
dlt_status dlt_h5_writer_group(dlt_h5_writer *writer, const char *path, dlt_diag *diag) DLT_MUST_CHECK;
/**
 * A dataset with its values: densely packed, row-major, native byte order. Rank 0 is a scalar. Groups above are made. bfloat16
 * is stored as 2 opaque bytes with the attribute dtype="bfloat16", as Keras does.
 */
dlt_status dlt_h5_writer_dataset(dlt_h5_writer *writer, const char *path, dlt_dtype dtype, const dlt_shape *shape,
                                 const void *data, dlt_diag *diag) DLT_MUST_CHECK;
/** A text attribute (scalar, variable-length UTF-8) of an object that exists. */
dlt_status dlt_h5_writer_text(dlt_h5_writer *writer, const char *object, const char *name, const char *text,
                              dlt_diag *diag) DLT_MUST_CHECK;
/** Writes what is outstanding and destroys the writer. The file is whole only if this and every call before gave DLT_OK. */
dlt_status dlt_h5_writer_finish(dlt_h5_writer *writer, dlt_diag *diag) DLT_MUST_CHECK;
/** Gives up: nothing more is written. NULL is accepted. */
void dlt_h5_writer_destroy(dlt_h5_writer *writer);

#endif
