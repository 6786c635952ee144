/* tests/fuzz/h5_fuzz.h: HDF5 files without libhdf5: a table as the child would send it and the bytes that it
 * speaks of, both made from the input. dlt_h5_open and everything behind it then run as they are, but for the
 * child. */
#ifndef DLT_TESTS_H5_FUZZ_H
#define DLT_TESTS_H5_FUZZ_H

#include "fuzz/data_fuzz.h"

#include "base/alloc.h"
#include "io/h5/h5_internal.h"

/* ---- reading the input ---- */

typedef struct fuzz_input {
    const uint8_t *at;
    size_t left;
} fuzz_input;

/* The next so many bytes (at most 8) as a little-endian number; what is missing is 0. */
static inline uint64_t fuzz_next(fuzz_input *in, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes && in->left > 0; i++, in->left--) {
        value |= (uint64_t)*in->at++ << (8 * i);
    }
    return value;
}

/* The next bytes, at most `wanted`. */
static inline const uint8_t *fuzz_take(fuzz_input *in, size_t wanted, size_t *got)
{
    const uint8_t *at = in->at;
    *got = wanted < in->left ? wanted : in->left;
    in->at += *got;
    in->left -= *got;
    return at;
}

/* ---- the table ---- */

static dlt_buf fuzz_table; /* what the next dlt_h5_open gets */

static inline dlt_status fuzz_lister(const dlt_h5_file *file, char **table, size_t *bytes, dlt_diag *diag)
{
    (void)file;
    *bytes = fuzz_table.length;
    *table = dlt_alloc(*bytes + 1);
    if (*table == NULL) {
        return dlt_fail_memory(diag);
    }
    memcpy(*table, dlt_buf_text(&fuzz_table), *bytes);
    return DLT_OK;
}

static inline void fuzz_put(dlt_buf *out, uint64_t value, size_t bytes)
{
    dlt_buf_append(out, (const char *)&value, bytes); /* the wire form has the machine's byte order */
}

static inline void fuzz_put_text(dlt_buf *out, const char *text, size_t bytes)
{
    fuzz_put(out, bytes, 4);
    dlt_buf_append(out, text, bytes);
}

static inline void fuzz_begin_table(void)
{
    dlt_buf_reset(&fuzz_table);
    dlt_buf_string(&fuzz_table, DLT_H5_MAGIC);
    fuzz_put(&fuzz_table, DLT_H5_VERSION, 4);
}

static inline void fuzz_end_table(void)
{
    const uint64_t length = fuzz_table.length;
    dlt_buf_char(&fuzz_table, 'E');
    fuzz_put(&fuzz_table, length, 8);
    FUZZ_CLAIM(!fuzz_table.failed);
}

/* A text attribute, as `name` of a vars group and `dtype` of bfloat16 are. */
static inline void fuzz_attribute(const char *name, const char *text, size_t bytes)
{
    fuzz_put(&fuzz_table, 0, 4); /* left out */
    fuzz_put(&fuzz_table, text != NULL, 4);
    if (text != NULL) {
        fuzz_put_text(&fuzz_table, name, strlen(name));
        fuzz_put(&fuzz_table, DLT_H5_STRINGS, 1);
        fuzz_put(&fuzz_table, 1, 1);
        fuzz_put(&fuzz_table, 1, 4);
        fuzz_put_text(&fuzz_table, text, bytes);
    }
}

static inline void fuzz_group(const char *path, const char *name, size_t name_bytes)
{
    dlt_buf_char(&fuzz_table, 'O');
    fuzz_put(&fuzz_table, DLT_H5_GROUP, 1);
    fuzz_put_text(&fuzz_table, path, strlen(path));
    fuzz_put_text(&fuzz_table, "", 0); /* not refused */
    fuzz_attribute("name", name, name_bytes);
}

/* A contiguous little-endian dataset at `offset` of the file. */
static inline void fuzz_dataset(const char *path, dlt_dtype type, const dlt_shape *shape, uint64_t offset)
{
    const dlt_h5_kind kind = type == DLT_BF16          ? (dlt_h5_kind)DLT_H5_OPAQUE
                             : dlt_dtype_is_real(type) ? DLT_H5_FLOAT
                             : type == DLT_U8          ? DLT_H5_UINT
                                                       : DLT_H5_INT;
    dlt_buf_char(&fuzz_table, 'O');
    fuzz_put(&fuzz_table, DLT_H5_DATASET, 1);
    fuzz_put_text(&fuzz_table, path, strlen(path));
    fuzz_put_text(&fuzz_table, "", 0);
    fuzz_put(&fuzz_table, kind, 1);
    fuzz_put(&fuzz_table, dlt_dtype_size(type), 1);
    fuzz_put(&fuzz_table, 0, 1);
    fuzz_put(&fuzz_table, (uint64_t)shape->rank, 1);
    for (int i = 0; i < shape->rank; i++) {
        fuzz_put(&fuzz_table, (uint64_t)shape->dim[i], 8);
    }
    fuzz_put(&fuzz_table, 0, 8); /* fill value */
    fuzz_put(&fuzz_table, DLT_H5_CONTIGUOUS, 1);
    fuzz_put(&fuzz_table, offset, 8);
    fuzz_attribute("dtype", type == DLT_BF16 ? "bfloat16" : NULL, strlen("bfloat16"));
}

/* Every file begins with what dlt_h5_open looks for. */
static const char fuzz_signature[8] = {'\x89', 'H', 'D', 'F', '\r', '\n', '\x1a', '\n'};

#endif
