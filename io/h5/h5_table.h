/* io/h5/h5_table.h: the only door to HDF5 files (Keras weights, checkpoints, data sets).
 *
 * libhdf5 is never let near a foreign file in this process. dlt_h5_open starts a child of our own executable that holds
 * one read-only descriptor and little else (no file system, bounded memory and time); the child parses the file with
 * libhdf5 and sends a table: what objects there are, of which type and shape, and where their bytes lie. The table is
 * treated as hostile, checked, and kept; the elements are then read by this process with pread and zlib.
 *
 *     dlt_h5_file *file = NULL;
 *     DLT_TRY(dlt_h5_open(path, DLT_E_DATA, pos, &file, diag));
 *     const dlt_h5_object *images = dlt_h5_find(file, "/train/images");
 *     if (images == NULL) { ... }
 *     status = dlt_h5_read(file, images, &(dlt_h5_want){.dtype = DLT_U8, .first = 0, .count = 128}, out, room, diag);
 *     dlt_h5_close(file);
 *
 * Soft and external links, virtual datasets and external storage are listed but never followed. */
#ifndef DLT_IO_H5_TABLE_H
#define DLT_IO_H5_TABLE_H

#include "base/diag.h"
#include "base/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** An open file: the table and a read-only descriptor. */
typedef struct dlt_h5_file dlt_h5_file;

typedef enum dlt_h5_class {
    DLT_H5_GROUP,
    DLT_H5_DATASET,
    DLT_H5_OTHER /* a link that is not followed, a named type: refused says which */
} dlt_h5_class;

typedef enum dlt_h5_kind {
    DLT_H5_INT,   /* signed integer of 1, 2, 4 or 8 bytes; also the enums that h5py writes for bool */
    DLT_H5_UINT,  /* unsigned */
    DLT_H5_FLOAT, /* IEEE 754 of 2, 4 or 8 bytes */
    DLT_H5_BFLOAT /* bfloat16: as a float type, or 2 bytes with attribute dtype="bfloat16" as Keras writes it */
} dlt_h5_kind;

typedef enum dlt_h5_storage { DLT_H5_COMPACT, DLT_H5_CONTIGUOUS, DLT_H5_CHUNKED } dlt_h5_storage;

typedef enum dlt_h5_value { DLT_H5_INTS, DLT_H5_FLOATS, DLT_H5_STRINGS } dlt_h5_value;

/** A small attribute: one value or a list. Others (larger ones, other types) are only counted. */
typedef struct dlt_h5_attribute {
    const char *name;
    dlt_h5_value type;
    bool scalar;  /* a single value, not a list of one */
    size_t count; /* may be 0 */
    const int64_t *ints;
    const double *floats;
    const char *const *strings; /* NUL-terminated; never with a NUL inside, but any other byte */
} dlt_h5_attribute;

/** One object of the file. All memory belongs to the file and lives until dlt_h5_close. */
typedef struct dlt_h5_object {
    const char *path; /* "/layers/dense/vars/0"; the root is "/" */
    dlt_h5_class object_class;
    const char *refused; /* NULL, or why it cannot be read: "it is a soft link", "its type is compound" */

    /* what follows tells of datasets that are not refused */
    dlt_h5_kind kind;
    unsigned element_bytes;
    bool big_endian;
    dlt_shape shape;       /* rank 0 to DLT_MAX_RANK */
    int64_t bytes;         /* elements x element_bytes */
    int64_t bytes_stored;  /* what the file holds of it: less when compressed or partly never written */
    dlt_h5_storage storage;
    dlt_shape chunk;       /* CHUNKED: same rank; rows are read cheapest in multiples of chunk.dim[0] */
    const void *layout;    /* private */

    size_t attribute_count;
    const dlt_h5_attribute *attributes;
    unsigned attributes_left_out; /* too large, too many, or of another type */
} dlt_h5_object;

/**
 * Opens a file for reading and fetches its table; costs a few milliseconds. kind is the status of every failure that lies in
 * the file (DLT_E_DATA, DLT_E_CHECKPOINT), here and in later reads; that the child cannot be started is DLT_E_INTERNAL,
 * refused memory or a limit of the process DLT_E_MEMORY. `at` is shown with messages. Whatever a file holds, this process lives on:
 *     "bad HDF5 file 'x.h5': REASON"
 * Needs dlt_h5_child_main in main (below). May be called from any thread.
 */
dlt_status dlt_h5_open(const char *path, dlt_status kind, dlt_pos at, dlt_h5_file **file, dlt_diag *diag)
    DLT_MUST_CHECK;
/** NULL is accepted. No read may be under way. */
void dlt_h5_close(dlt_h5_file *file);

/** The path that was opened. */
const char *dlt_h5_path(const dlt_h5_file *file);
/** Size in bytes and modification time (ns since 1970) when it was opened. */
int64_t dlt_h5_size(const dlt_h5_file *file);
int64_t dlt_h5_mtime_ns(const dlt_h5_file *file);

/** Number of objects, the root included; dlt_h5_at gives them sorted by the bytes of their paths. */
size_t dlt_h5_count(const dlt_h5_file *file);
const dlt_h5_object *dlt_h5_at(const dlt_h5_file *file, size_t i);
/** The object of this path (a leading slash may be left out), or NULL. */
const dlt_h5_object *dlt_h5_find(const dlt_h5_file *file, const char *path);
/** Number of objects directly inside a group; 0 where there is no such group. */
size_t dlt_h5_entries(const dlt_h5_file *file, const char *group);
/** An attribute by name, or NULL. */
const dlt_h5_attribute *dlt_h5_find_attribute(const dlt_h5_object *object, const char *name);
/**
 * Type that holds every value of a dataset: float and bfloat types as they are, int8 to int64 and uint8 as they are,
 * uint16 -> int32, uint32 and uint64 -> int64 (a value beyond it is an error when it is read).
 */
dlt_dtype dlt_h5_dtype(const dlt_h5_object *dataset);
/** "float32", "uint16 big-endian": as the file has it. Static text. */
const char *dlt_h5_type_name(const dlt_h5_object *dataset);

/** What is wanted of a dataset. */
typedef struct dlt_h5_want {
    dlt_dtype dtype;        /* of the elements in `out` */
    const dlt_shape *shape; /* that the whole dataset must have; NULL: any */
    bool all;               /* everything; else rows [first, first + count) of axis 0 */
    int64_t first, count;
} dlt_h5_want;

/**
 * Reads a dataset, or rows of it, into out: densely packed, row-major, native byte order. The one function that reads
 * elements. `room` must be exactly the bytes that the result takes. Contiguous data of the wanted type go straight to
 * `out`; chunks are decoded (shuffle, deflate, fletcher32), those of which rows are left over are kept in a cache.
 * Chunks that were never written give the fill value.
 * Values are converted where types differ; one that does not fit is an error with its index: an integer outside the
 * range, a fraction or a NaN where integers are wanted, a finite float that would become infinite. Rounding of floats is
 * to nearest even.
 * May be called by several threads at once. Errors: the kind given to dlt_h5_open; DLT_E_MEMORY.
 */
dlt_status dlt_h5_read(dlt_h5_file *file, const dlt_h5_object *dataset, const dlt_h5_want *want, void *out, size_t room,
                       dlt_diag *diag) DLT_MUST_CHECK;
/** Bytes of decoded chunks that are kept for later reads (32 MiB unless told). Not while reads are under way. */
void dlt_h5_set_cache(dlt_h5_file *file, size_t bytes);

/* ---- the child ---- */

/** What holds the child back on this machine; for `doctor`. */
typedef struct dlt_h5_guard {
    bool seccomp;       /* system calls by allow-list; nothing can be opened */
    bool memory_limit;  /* RLIMIT_AS; off in builds with sanitizers */
    bool cpu_limit;     /* RLIMIT_CPU */
    bool file_limit;    /* RLIMIT_NOFILE, RLIMIT_FSIZE 0 */
    bool no_core;       /* RLIMIT_CORE 0, not dumpable */
    bool no_privileges; /* PR_SET_NO_NEW_PRIVS */
} dlt_h5_guard;

/**
 * The first call of main(), in every program that opens HDF5 files: returns at once in an ordinary start, never in a
 * child. Without it dlt_h5_open refuses to work, since the child would be the whole program again.
 */
void dlt_h5_child_main(int argc, char **argv);
/** Starts a child that only reports which guards hold. */
dlt_status dlt_h5_child_guard(dlt_h5_guard *guard, dlt_diag *diag) DLT_MUST_CHECK;

#endif
