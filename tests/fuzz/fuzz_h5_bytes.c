/* tests/fuzz/fuzz_h5_bytes.c: the reader of elements: chunks, filters, conversion.
 *
 * Input: a description of one chunked dataset, then its chunks.
 *   u8 kind % 4, u8 log2 of the element's bytes % 4, u8 big-endian & 1, u8 wanted type % 9, u8 rank % 3 + 1
 *   rank x u8 dimension % 12 + 1, rank x u8 chunk % 8 + 1
 *   u8 number of filters % 4, then that many u8: the filter's place among those not yet taken
 *   one u8 for each chunk: 255 never written, else bits 5 to 7 the mask; then u16 its bytes (only where deflate applies)
 *   the rest: the file, chunk after chunk
 * Reading everything at once, row by row, and with a cache that is too small must come to the same. */
#define _GNU_SOURCE /* memfd_create */
#include "fuzz/fuzz.h"

#include "base/alloc.h"
#include "io/h5/h5_internal.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct input {
    const uint8_t *at;
    size_t left;
} input;

static unsigned next(input *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->at++;
}

static void put(dlt_buf *out, uint64_t value, size_t bytes)
{
    dlt_buf_append(out, (const char *)&value, bytes);
}

/* Writes the table of the dataset and returns how many bytes its chunks take. */
static void describe(input *in, dlt_buf *out, dlt_dtype *wanted)
{
    static const unsigned widths[4][4] = {{1, 2, 4, 8}, {1, 2, 4, 8}, {2, 4, 8, 4}, {2, 2, 2, 2}};
    const unsigned kind = next(in) % 4, bytes = widths[kind][next(in) % 4], big = next(in) & 1;
    *wanted = (dlt_dtype)(next(in) % DLT_DTYPE_COUNT);
    const unsigned rank = next(in) % 3 + 1;
    unsigned dim[3], chunk[3], ids[3] = {DLT_H5_FILTER_DEFLATE, DLT_H5_FILTER_SHUFFLE, DLT_H5_FILTER_FLETCHER32};
    uint64_t grid = 1, chunk_bytes = bytes, offset = 0;
    dlt_buf_string(out, DLT_H5_MAGIC);
    put(out, DLT_H5_VERSION, 4);
    dlt_buf_append(out, "O\0", 2); /* the root: a group without attributes */
    put(out, 1, 4);
    dlt_buf_char(out, '/');
    put(out, 0, 4); /* refused: no */
    put(out, 0, 8); /* no attributes */
    dlt_buf_append(out, "O\1", 2);
    put(out, 2, 4);
    dlt_buf_string(out, "/x");
    put(out, 0, 4);
    put(out, kind, 1);
    put(out, bytes, 1);
    put(out, big, 1);
    put(out, rank, 1);
    for (unsigned i = 0; i < rank; i++) {
        dim[i] = next(in) % 12 + 1;
        put(out, dim[i], 8);
    }
    put(out, UINT64_C(0x4142434445464748), 8); /* fill value */
    put(out, DLT_H5_CHUNKED, 1);
    for (unsigned i = 0; i < rank; i++) {
        chunk[i] = next(in) % 8 + 1;
        chunk_bytes *= chunk[i];
        grid *= (dim[i] + chunk[i] - 1) / chunk[i];
        put(out, chunk[i], 8);
    }
    const unsigned filters = next(in) % 4;
    unsigned order[3] = {0};
    put(out, filters, 1);
    for (unsigned i = 0; i < filters; i++) {
        const unsigned place = next(in) % (3 - i);
        order[i] = ids[place];
        ids[place] = ids[2 - i];
        put(out, order[i], 1);
        put(out, bytes, 4);
    }
    put(out, grid, 8);
    for (uint64_t n = 0; n < grid; n++) {
        const unsigned word = next(in), mask = word >> 5;
        uint64_t stored = chunk_bytes;
        bool deflated = false;
        for (unsigned i = 0; i < filters; i++) {
            if ((mask >> i & 1) == 0) {
                deflated |= order[i] == DLT_H5_FILTER_DEFLATE;
                stored += order[i] == DLT_H5_FILTER_FLETCHER32 ? 4 : 0;
            }
        }
        if (deflated) {
            stored = next(in);
            stored |= (uint64_t)next(in) << 8;
        }
        put(out, word == 255 ? DLT_H5_NOWHERE : offset, 8);
        put(out, stored, 4);
        put(out, mask, 4);
        offset += word == 255 ? 0 : stored;
    }
    put(out, 0, 8); /* no attributes */
    const uint64_t length = out->length;
    dlt_buf_char(out, 'E');
    put(out, length, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {.at = data, .left = size};
    dlt_buf table = {0};
    dlt_dtype wanted = DLT_F32;
    dlt_h5_file *file = NULL;
    dlt_diag *diag = dlt_diag_create();
    describe(&in, &table, &wanted);
    const int fd = memfd_create("file", MFD_CLOEXEC);
    FUZZ_CLAIM(diag != NULL && fd >= 0 && pwrite(fd, in.at, in.left, 0) == (ssize_t)in.left);
    FUZZ_CLAIM(dlt_h5_file_create(fd, "fuzz.h5", DLT_E_DATA, (dlt_pos){0}, &file, diag) == DLT_OK);
    if (dlt_h5_parse_table(file, table.data, table.length, diag) != DLT_OK) {
        fprintf(stderr, "%s\n", dlt_diag_text(diag, 0));
        abort(); /* only valid tables are made here */
    }
    const dlt_h5_object *set = dlt_h5_find(file, "/x");
    FUZZ_CLAIM(set != NULL);
    if (set->refused == NULL) {
        const size_t element = dlt_dtype_size(wanted), count = (size_t)dlt_shape_count(&set->shape);
        const size_t row = count / (size_t)set->shape.dim[0] * element;
        uint8_t *once = malloc(count * element), *rows = malloc(count * element);
        FUZZ_CLAIM(once != NULL && rows != NULL);
        dlt_h5_want want = {.dtype = wanted, .all = true};
        const dlt_status status = dlt_h5_read(file, set, &want, once, count * element, diag);
        FUZZ_CLAIM(dlt_diag_size(diag) == (status != DLT_OK));
        for (int round = 0; round < 2; round++) {
            bool good = true;
            dlt_h5_set_cache(file, round == 0 ? 1 << 20 : 64);
            for (int64_t i = 0; i < set->shape.dim[0]; i++) {
                want = (dlt_h5_want){.dtype = wanted, .first = i, .count = 1};
                good &= dlt_h5_read(file, set, &want, rows + (size_t)i * row, row, NULL) == DLT_OK;
            }
            FUZZ_CLAIM(good == (status == DLT_OK));
            FUZZ_CLAIM(!good || memcmp(once, rows, count * element) == 0);
        }
        free(once);
        free(rows);
    }
    dlt_h5_close(file);
    dlt_diag_destroy(diag);
    dlt_buf_release(&table);
    return 0;
}
