/* io/data/stamp.h: what a source file was like when it was read: to find its packed copy again, to notice
 * that it changed, and to name the data in run.json. */
#ifndef DLT_IO_DATA_STAMP_H
#define DLT_IO_DATA_STAMP_H

#include "base/sha256.h"
#include "io/file.h"

typedef struct dlt_stamp {
    const char *path; /* borrowed */
    int64_t size, mtime_ns;
    /** Of the size and of samples of the bytes: all of them up to 128 KiB, else both ends and 32 places. */
    uint8_t sample[DLT_SHA256_BYTES];
    const struct dlt_folder_stamp *folder; /* of a folder, see io/data/folder.h; borrowed. NULL: a file */
} dlt_stamp;

/** Takes the stamp of an open regular file, with or without looking at its bytes. `path` must outlive the
 * stamp. */
dlt_status dlt_stamp_take(int fd, const char *path, bool with_sample, dlt_stamp *stamp, dlt_diag *diag);
/**
 * DLT_E_DATA if the file is not what it was. A new time with the same size and samples is let pass when
 * `packed`: then the records were copied when the stamp was taken, and a `touch` should not stop a run. Where
 * records are read in place it is an error, because only samples can be compared. Of a folder, whose files
 * were copied, only names and sizes are compared, and only where its own time says that names came or went.
 */
dlt_status dlt_stamp_check(const dlt_stamp *stamp, bool packed, dlt_diag *diag);

#endif
