/* io/h5/checkpoint_internal.h: what checkpoint.c, checkpoint_folder.c and their tests share. */
#ifndef DLT_IO_CHECKPOINT_INTERNAL_H
#define DLT_IO_CHECKPOINT_INTERNAL_H

#include "io/h5/checkpoint.h"
#include "io/h5/h5_table.h"

/* ---- paths in the file ---- */
#define CHECKPOINT_MANIFEST "/dltrain/manifest"
#define CHECKPOINT_DIGEST "/dltrain/manifest_sha256"

enum {
    CHECKPOINT_MAX_MANIFEST = 64 << 20, /* bytes */
    CHECKPOINT_MAX_TEXT = 1 << 30       /* bytes of a text that is read whole */
};

/** "variable 0 of '/layers/dense'", "variable 1 of the model", "'/dltrain/cursor'". Returns text. */
char *dlt_checkpoint_describe(const char *path, char *text, size_t room);
enum { CHECKPOINT_DESCRIPTION = 1200 };
/** The manifest as it lies in the file; NULL in foreign files. */
const char *dlt_checkpoint_manifest(const dlt_checkpoint *checkpoint, size_t *bytes);

/** Makes a checkpoint of an open HDF5 file, which it takes over also on failure. */
dlt_status dlt_checkpoint_of_file(dlt_h5_file *file, dlt_checkpoint_origin origin, dlt_checkpoint **checkpoint,
                                  dlt_diag *diag);
/** A new name ".NAME.tmp-PID-NUMBER" beside `path`; free with dlt_free; NULL when memory is refused. */
char *dlt_checkpoint_temporary(const char *path);
/** True for names (without folder) that dlt_checkpoint_temporary gives. */
bool dlt_checkpoint_is_temporary(const char *name);

#endif
