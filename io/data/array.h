/* io/data/array.h: arrays in files, rows along the first axis, and the source that up to three of them make:
 * features, labels, sample weights. IDX, NPY, NPZ and HDF5 differ only in how an array is found and its bytes
 * are read. */
#ifndef DLT_IO_DATA_ARRAY_H
#define DLT_IO_DATA_ARRAY_H

#include "io/data/source.h"
#include "io/data/stream.h"

/** How an element lies in the file; it is handed out in native byte order as `dtype`. */
typedef enum dlt_element {
    DLT_ELEMENT_SAME, /* as it is handed out, but for the byte order */
    DLT_ELEMENT_BOOL, /* one byte, 0 or 1: uint8 */
    DLT_ELEMENT_U16,  /* int32 */
    DLT_ELEMENT_U32,  /* int64 */
    DLT_ELEMENT_U64   /* int64; a value that does not fit is an error */
} dlt_element;

typedef struct dlt_array dlt_array;
struct dlt_array {
    const char
        *field; /* "features", "labels", "sample_weight": the parameter that named it, and the part's name */
    const char *path; /* what messages call it: the file, or "file.npz: x" */
    dlt_pos at;
    dlt_role role;

    /* set by the kind */
    dlt_dtype dtype;
    dlt_dtype wanted; /* of the part: dtype, or what train has */
    dlt_element element;
    bool swap;          /* the other byte order */
    bool by_column;     /* the first axis is the fastest (Fortran order) */
    dlt_shape shape;    /* with the first axis */
    int64_t most_bytes; /* of elements that the file can hold; what the header claims is compared with it */
    bool exact_bytes;   /* it holds just so many */

    /* access: one of these */
    dlt_stream *stream; /* from front to back, positioned at the first element */
    int fd;             /* -1: none. Elements start at `offset` */
    int64_t offset;
    const char *file; /* path of fd */
    /** Rows [first, first + rows) as handed out; any order, any thread. NULL: not this way. */
    dlt_status (*read)(dlt_array *array, int64_t first, int64_t rows, void *out, dlt_diag *diag);
    /** Bytes of elements from front to back. NULL: not this way. */
    dlt_status (*pull)(dlt_array *array, void *out, size_t bytes, size_t *got, dlt_diag *diag);
    void *handle;  /* the kind's own */
    bool in_place; /* elements need no change and lie in `file`: records may be read there */

    /* the array's own */
    int64_t next_row;
    size_t element_bytes; /* in the file */
    int64_t row_elements;
    unsigned char *whole; /* all of it as handed out: small labels, and what is not stored row after row */
};

enum { DLT_ARRAYS_MOST = 3 };

/** State of a source made of arrays; the kind fills in `array` and `count`. */
typedef struct dlt_arrays {
    dlt_array array[DLT_ARRAYS_MOST];
    size_t count;
    int64_t rows, next;
    unsigned char *scratch; /* rows of one array on their way into units */
    size_t scratch_bytes;
    void (*release)(struct dlt_arrays *arrays); /* the kind's own handles; NULL: none */
    void *handle;
} dlt_arrays;

/** Zeroed state, hung into the source; NULL when memory is refused. */
dlt_arrays *dlt_arrays_create(dlt_source *source, dlt_diag *diag);
/** Adds an array; NULL paths are the caller's to leave out. */
dlt_array *dlt_arrays_add(dlt_arrays *arrays, const char *field, const char *path, dlt_pos at, dlt_role role);
/**
 * After the header was read through the stream: a plain file is read by its own descriptor from now on, in
 * any order, and its elements begin at `offset`. Compressed ones stay streams.
 */
dlt_status dlt_array_in_place(dlt_array *array, int64_t offset, dlt_diag *diag);
/** Opens the array `name` of a file that holds several, for the field of the source that names it. */
typedef dlt_status dlt_array_open(dlt_source *source, const char *field, const char *name, dlt_role role,
                                  dlt_diag *diag);
/** Opens those that are named (not NULL), for predicting the features alone. The mistakes of all are told. */
dlt_status dlt_arrays_open_named(dlt_source *source, const char *features, const char *labels,
                                 const char *sample_weight, dlt_array_open *open, dlt_diag *diag);
/** When all arrays have their headers: checks them against each other and the frame to follow, and makes the
 * frame. */
dlt_status dlt_arrays_finish(dlt_source *source, dlt_diag *diag);
dlt_status dlt_arrays_next(dlt_source *source, int64_t most, unsigned char *units, int64_t *got,
                           dlt_diag *diag);
void dlt_arrays_close(dlt_source *source);

#endif
