/* io/h5/checkpoint.h: the checkpoint file: everything that changes the next step, in one HDF5 file that Keras reads as its own
 * `.weights.h5`. docs/checkpoint-format.md has the tree and the promise.
 *
 * Writing. The file appears under its name whole and verified, or not at all:
 *     write to a temporary name -> fsync -> open again and check every digest -> rename without replacing -> fsync the folder
 * Reading. A file of ours carries a manifest with a digest of each dataset; what is read is checked against it. A file that
 * Keras wrote is read by the same calls, without digests. Foreign files are opened through io/h5/h5_table.h.
 *
 * Every failure is DLT_E_CHECKPOINT unless said otherwise (DLT_E_MEMORY; DLT_E_NUMERIC for a weight that is not finite;
 * DLT_E_INTERNAL where the machine cannot start the reader, which says nothing about the file; DLT_E_MEMORY, too, where a limit
 * of the process forbids that). */
#ifndef DLT_IO_CHECKPOINT_H
#define DLT_IO_CHECKPOINT_H

#include "base/diag.h"
#include "base/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DLT_CHECKPOINT_VERSION = 1 };

/* ---- writing ---- */

typedef struct dlt_checkpoint_writer dlt_checkpoint_writer;

/**
 * Begins the checkpoint that will be `path`, under a temporary name in the same folder. One writer at a time in a process,
 * used by one thread (io/h5/h5_writer.h). After a failure nothing more is written, later calls fail without another message,
 * and finish removes the temporary file.
 */
dlt_status dlt_checkpoint_begin(const char *path, dlt_checkpoint_writer **writer, dlt_diag *diag) DLT_MUST_CHECK;
/** A file that stands under the checkpoint's name may be replaced, in one step: files that users name, final weights. */
void dlt_checkpoint_may_replace(dlt_checkpoint_writer *writer);
/** A `vars` group with Keras' attribute `name`; may stay empty. Comes before its variables or alone, once. */
dlt_status dlt_checkpoint_group(dlt_checkpoint_writer *writer, const char *path, const char *name, dlt_diag *diag)
    DLT_MUST_CHECK;
/**
 * A dataset: "/layers/dense/vars/0", "/optimizer/vars/3", "/dltrain/cursor". data: densely packed, row-major, in Keras'
 * logical layout, borrowed for the call. Under /layers, /optimizer and /vars a value that is not finite is refused.
 */
dlt_status dlt_checkpoint_add(dlt_checkpoint_writer *writer, const char *path, dlt_dtype dtype, const dlt_shape *shape,
                              const void *data, dlt_diag *diag) DLT_MUST_CHECK;
/** Text or other bytes as dataset /dltrain/NAME of type uint8. */
dlt_status dlt_checkpoint_text(dlt_checkpoint_writer *writer, const char *name, const void *text, size_t bytes,
                               dlt_diag *diag) DLT_MUST_CHECK;
/**
 * Makes the file durable, verifies it and gives it its name. Destroys the writer. On failure the temporary file is gone and
 * every other file as it was; only when the last step fails (syncing the folder) does the new file stand, whole, under its
 * name, without a promise that the name survives a power cut. An existing `path` is an error, never replaced.
 */
dlt_status dlt_checkpoint_finish(dlt_checkpoint_writer *writer, dlt_diag *diag) DLT_MUST_CHECK;
/** Gives up and removes the temporary file. NULL is accepted. */
void dlt_checkpoint_abandon(dlt_checkpoint_writer *writer);

/* ---- reading ---- */

typedef struct dlt_checkpoint dlt_checkpoint;

typedef enum dlt_checkpoint_origin {
    DLT_CHECKPOINT_OURS, /* a checkpoint of dltrain, with its manifest: what a run resumes from */
    DLT_CHECKPOINT_ANY   /* also weights that Keras saved */
} dlt_checkpoint_origin;

typedef struct dlt_checkpoint_entry {
    const char *path;
    dlt_dtype dtype; /* as stored; of foreign files the type that holds every value (dlt_h5_dtype) */
    dlt_shape shape;
    int64_t bytes; /* in the file */
} dlt_checkpoint_entry;

/**
 * Opens a checkpoint. Of one of ours the manifest and everything but the values are checked: each dataset is there with its
 * type and shape, each name is as written, and nothing else lies among them. The values are checked when read, or by verify.
 */
dlt_status dlt_checkpoint_open(const char *path, dlt_checkpoint_origin origin, dlt_checkpoint **checkpoint,
                               dlt_diag *diag) DLT_MUST_CHECK;
/** NULL is accepted. */
void dlt_checkpoint_close(dlt_checkpoint *checkpoint);
/** Reads everything and compares each digest. Nothing to do for foreign files. */
dlt_status dlt_checkpoint_verify(dlt_checkpoint *checkpoint, dlt_diag *diag) DLT_MUST_CHECK;

/** True if it has our manifest. */
bool dlt_checkpoint_is_ours(const dlt_checkpoint *checkpoint);
/** Datasets, sorted by the bytes of their paths ("10" before "2"); NULL out of range. */
size_t dlt_checkpoint_count(const dlt_checkpoint *checkpoint);
const dlt_checkpoint_entry *dlt_checkpoint_at(const dlt_checkpoint *checkpoint, size_t i);
const dlt_checkpoint_entry *dlt_checkpoint_find(const dlt_checkpoint *checkpoint, const char *path);
/** Number of variables of "/layers/dense" (entries of its `vars`), 0 if there is no such layer. */
size_t dlt_checkpoint_variables(const dlt_checkpoint *checkpoint, const char *layer);
/** Error unless `layer` has exactly this many variables; no group and an empty group both count as none, as in Keras. */
dlt_status dlt_checkpoint_expect(const dlt_checkpoint *checkpoint, const char *layer, size_t count, dlt_diag *diag)
    DLT_MUST_CHECK;
/** Error unless the dataset is there with this shape: to be asked before memory is taken for it. Nothing is read. */
dlt_status dlt_checkpoint_fits(const dlt_checkpoint *checkpoint, const char *path, const dlt_shape *shape,
                               dlt_diag *diag) DLT_MUST_CHECK;
/**
 * Reads a dataset of the expected shape into out (elements of dtype, densely packed), converting where types differ.
 * Messages: "'x.weights.h5': variable 0 of '/layers/dense' has shape (32, 8); expected (32, 16)"
 */
dlt_status dlt_checkpoint_read(dlt_checkpoint *checkpoint, const char *path, dlt_dtype dtype, const dlt_shape *shape,
                               void *out, dlt_diag *diag) DLT_MUST_CHECK;
/** /dltrain/NAME as NUL-terminated bytes; free with dlt_free. bytes may be NULL. */
dlt_status dlt_checkpoint_read_text(dlt_checkpoint *checkpoint, const char *name, char **text, size_t *bytes,
                                    dlt_diag *diag) DLT_MUST_CHECK;

/* ---- the folder of a run's checkpoints ---- */

enum { DLT_CHECKPOINT_NAME = 48 }; /* room for the longest name below */

/** "step-000000000042.weights.h5" */
void dlt_checkpoint_name(int64_t step, char name[DLT_CHECKPOINT_NAME]);

/** A folder, and which of its files this process knows to be good. Not shared between threads. */
typedef struct dlt_checkpoint_folder dlt_checkpoint_folder;

dlt_status dlt_checkpoint_folder_open(const char *path, dlt_checkpoint_folder **folder, dlt_diag *diag) DLT_MUST_CHECK;
/** NULL is accepted. */
void dlt_checkpoint_folder_close(dlt_checkpoint_folder *folder);

/** Steps of the files named step-*.weights.h5, newest first; free *steps with dlt_free. Nothing is opened. */
dlt_status dlt_checkpoint_list(const dlt_checkpoint_folder *folder, int64_t **steps, size_t *count, dlt_diag *diag)
    DLT_MUST_CHECK;
/**
 * Opens the newest checkpoint that is whole; each newer one that is not is named in a warning. *checkpoint is NULL and
 * the status DLT_OK where there is no checkpoint at all; where there are some but none is whole, that is an error.
 */
dlt_status dlt_checkpoint_newest(dlt_checkpoint_folder *folder, dlt_checkpoint **checkpoint, int64_t *step, dlt_diag *diag)
    DLT_MUST_CHECK;
/** Tells that this step's file was just finished by this process: it need not be read again to be trusted. */
void dlt_checkpoint_trust(dlt_checkpoint_folder *folder, int64_t step);
/** Makes `name` ("last.weights.h5", "best.weights.h5") a relative symlink to the step's file, in one step. */
dlt_status dlt_checkpoint_link(dlt_checkpoint_folder *folder, const char *name, int64_t step, dlt_diag *diag)
    DLT_MUST_CHECK;
/**
 * Removes old checkpoints: the newest `keep` (at least 2) that are whole stay, and so do step `also` (-1: none) and whatever
 * last and best point to. Files that this process does not know to be good are verified first, so that a bad one never counts
 * among those kept.
 */
dlt_status dlt_checkpoint_retain(dlt_checkpoint_folder *folder, size_t keep, int64_t also, dlt_diag *diag) DLT_MUST_CHECK;
/**
 * Renames the files newer than `step` that are not whole, to NAME.damaged: a run that goes on from `step` comes to theirs again.
 */
dlt_status dlt_checkpoint_set_aside(dlt_checkpoint_folder *folder, int64_t step, dlt_diag *diag) DLT_MUST_CHECK;
/**
 * Removes temporary files that a killed process of ours left. To be called at start, by the owner of the run's lock: another
 * writer's temporary file would go too. *removed may be NULL.
 */
dlt_status dlt_checkpoint_clean(dlt_checkpoint_folder *folder, size_t *removed, dlt_diag *diag) DLT_MUST_CHECK;
/**
 * The same for one file outside of a run's folder: removes temporary files for `path` itself that processes left which are no more. To be
 * called before it is written again, as far as it goes. A process of another machine counts as no more; two that write one file
 * lose one of the two anyway.
 */
void dlt_checkpoint_clean_beside(const char *path);
/**
 * Proves that a checkpoint of so many bytes can be saved here: writes as much, syncs, renames, syncs the folder, removes.
 * *seconds is what that took.
 */
dlt_status dlt_checkpoint_trial(dlt_checkpoint_folder *folder, int64_t bytes, double *seconds, dlt_diag *diag)
    DLT_MUST_CHECK;

#endif
