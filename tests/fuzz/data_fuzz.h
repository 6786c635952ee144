/* tests/fuzz/data_fuzz.h: files in memory, and what must hold of any data set whatever its bytes. */
#ifndef DLT_TESTS_DATA_FUZZ_H
#define DLT_TESTS_DATA_FUZZ_H

#include "fuzz/fuzz.h"
#include "support/support.h"

#include "io/data/rows.h"
#include "support/data_support.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* ---- files "mem:0", "mem:1", ... ---- */

enum { FUZZ_FILES = 4, FUZZ_FD = 5000 };
static struct {
    const uint8_t *data;
    size_t size;
} fuzz_files[FUZZ_FILES];

static int fuzz_strangers; /* paths that were asked for and are none of these, but for the kernel's own */

static inline void fuzz_note_path(const char *path)
{
    fuzz_strangers +=
        strncmp(path, "mem:", 4) != 0 && strncmp(path, "/proc/", 6) != 0 && strncmp(path, "/sys/", 5) != 0;
}

static inline int fuzz_file_of(const char *path)
{
    const bool ours =
        strncmp(path, "mem:", 4) == 0 && path[4] >= '0' && path[4] < '0' + FUZZ_FILES && path[5] == '\0';
    return ours ? path[4] - '0' : -1;
}

static inline void fuzz_fill_stat(int file, struct stat *status)
{
    memset(status, 0, sizeof *status);
    status->st_mode = S_IFREG | 0444;
    status->st_size = (off_t)fuzz_files[file].size;
}

static inline int fuzz_open(const char *path, int flags, mode_t mode)
{
    (void)flags;
    (void)mode;
    fuzz_note_path(path);
    const int file = fuzz_file_of(path);
    errno = ENOENT;
    return file >= 0 ? FUZZ_FD + file : -1;
}

static inline int fuzz_open_beneath(const char *folder, const char *path, int flags)
{
    (void)folder;
    return fuzz_open(path, flags, 0);
}

static inline int fuzz_close(int fd)
{
    FUZZ_CLAIM(fd >= FUZZ_FD && fd < FUZZ_FD + FUZZ_FILES);
    return 0;
}

static inline ssize_t fuzz_pread(int fd, void *data, size_t bytes, off_t offset)
{
    const int file = fd - FUZZ_FD;
    FUZZ_CLAIM(file >= 0 && file < FUZZ_FILES && offset >= 0);
    if ((size_t)offset >= fuzz_files[file].size) {
        return 0;
    }
    const size_t left = fuzz_files[file].size - (size_t)offset, n = left < bytes ? left : bytes;
    memcpy(data, fuzz_files[file].data + offset, n);
    return (ssize_t)n;
}

static inline int fuzz_fstat(int fd, struct stat *status)
{
    fuzz_fill_stat(fd - FUZZ_FD, status);
    return 0;
}

static inline int fuzz_stat(const char *path, struct stat *status)
{
    const int file = fuzz_file_of(path);
    fuzz_note_path(path);
    errno = ENOENT;
    if (file >= 0) {
        fuzz_fill_stat(file, status);
    }
    return file >= 0 ? 0 : -1;
}

static inline int fuzz_mkdir(const char *path, mode_t mode)
{
    (void)path;
    (void)mode;
    errno = EROFS;
    return -1;
}

static inline void fuzz_install(void)
{
    static dlt_file_ops ops;
    ops = *dlt_file_system();
    ops.open = fuzz_open;
    ops.open_beneath = fuzz_open_beneath;
    ops.close = fuzz_close;
    ops.pread = fuzz_pread;
    ops.fstat = fuzz_fstat;
    ops.stat = fuzz_stat;
    ops.lstat = fuzz_stat;
    ops.mkdir = fuzz_mkdir;
    dlt_file_install(&ops);
}

static inline void fuzz_put_file(int file, const uint8_t *data, size_t size)
{
    fuzz_files[file].data = data;
    fuzz_files[file].size = size;
}

/* ---- claims ---- */

/* A status without a sentence, or an error that is none of the user's. */
static inline void fuzz_claim_messages(const dlt_diag *diag, dlt_status status)
{
    FUZZ_CLAIM(status == DLT_OK || status == DLT_E_DATA || status == DLT_E_CONFIG);
    FUZZ_CLAIM((status == DLT_OK) == (dlt_diag_count(diag, DLT_ERROR) == 0));
    for (size_t i = 0; i < dlt_diag_size(diag); i++) {
        const char *text = dlt_diag_text(diag, i);
        FUZZ_CLAIM(text[0] != '\0' && strchr(text, '\n') == NULL && strchr(text, '\033') == NULL);
    }
}

/* Values that encoders index with lie in their ranges. */
static inline void fuzz_claim_values(const dlt_table *rows)
{
    for (size_t i = 0; i < rows->layout->count; i++) {
        const dlt_part *part = &rows->layout->parts[i];
        for (int64_t r = 0; part->type == DLT_COLUMN_TEXT && r < rows->rows; r++) {
            const int32_t code = ((const int32_t *)rows->columns[i])[r];
            FUZZ_CLAIM(code >= DLT_CODE_UNSEEN && code < part->dictionary->count);
            FUZZ_CLAIM(part->role != DLT_ROLE_TARGET || code >= 0);
        }
        for (int64_t r = 0;
             part->role != DLT_ROLE_FEATURE && part->type == DLT_COLUMN_NUMBER && r < rows->rows; r++) {
            FUZZ_CLAIM(!isnan(((const double *)rows->columns[i])[r]));
        }
    }
}

/* Opens at a depth and reads everything; the digest of all bytes (or of the messages) is left in `digest`. */
static inline dlt_status fuzz_read_all(data_fixture *f, const dlt_item *item, dlt_depth depth,
                                       dlt_dataset_options options, char digest[65])
{
    dlt_dataset *ds = NULL;
    dlt_sha256 sha;
    uint8_t bytes[DLT_SHA256_BYTES];
    options.cache = "/nowhere";
    options.threads = 1;
    dlt_sha256_init(&sha);
    const dlt_status status = dlt_dataset_open(item, depth, &options, &ds, f->diag);
    fuzz_claim_messages(f->diag, status);
    dlt_diag_sort(f->diag); /* as they are shown */
    for (size_t i = 0; i < dlt_diag_size(f->diag); i++) {
        const char *text = dlt_diag_text(f->diag, i);
        dlt_sha256_update(&sha, text, strlen(text));
    }
    dlt_diag_reset(f->diag);
    if (status == DLT_OK && depth == DLT_DEPTH_LOAD) {
        const dlt_record_layout *layout = &dlt_dataset_frame(ds)->layout;
        const int64_t count = dlt_dataset_count(ds), room = 1 + (int64_t)((1 << 20) / layout->record_bytes);
        const int64_t most = count < room ? count : room; /* fresh memory is what an execution costs most */
        void **columns = calloc(layout->count, sizeof *columns);
        int64_t *rows = calloc((size_t)most, sizeof *rows);
        dlt_reader *reader = NULL;
        FUZZ_CLAIM(count > 0 && columns != NULL && rows != NULL);
        for (size_t i = 0; i < layout->count; i++) {
            columns[i] = calloc((size_t)most, dlt_part_bytes(&layout->parts[i]));
            FUZZ_CLAIM(columns[i] != NULL);
        }
        FUZZ_CLAIM(dlt_reader_create(ds, most, &reader, f->diag) == DLT_OK);
        for (int64_t first = 0; first < count; first += most) {
            const int64_t n = count - first < most ? count - first : most;
            for (int64_t i = 0; i < n; i++) {
                rows[i] = first + i;
            }
            FUZZ_CLAIM(dlt_reader_read(reader, rows, n, columns, f->diag) == DLT_OK);
            fuzz_claim_values(&(dlt_table){layout, n, columns, rows});
            for (size_t i = 0; i < layout->count; i++) {
                dlt_sha256_update(&sha, columns[i], (size_t)n * dlt_part_bytes(&layout->parts[i]));
            }
        }
        dlt_reader_destroy(reader);
        for (size_t i = 0; i < layout->count; i++) {
            free(columns[i]);
        }
        free(columns);
        free(rows);
    }
    dlt_dataset_close(ds);
    dlt_sha256_final(&sha, bytes);
    dlt_sha256_hex(bytes, digest);
    return status;
}

/* A fixture without a folder. */
static inline void fuzz_begin(data_fixture *f)
{
    memset(f, 0, sizeof *f);
    f->arena = dlt_arena_create();
    f->diag = dlt_diag_create();
    FUZZ_CLAIM(f->arena != NULL && f->diag != NULL);
    fuzz_install();
}

static inline void fuzz_end(data_fixture *f)
{
    dlt_file_install(NULL);
    dlt_arena_destroy(f->arena);
    dlt_diag_destroy(f->diag);
}

/* The three depths agree on whether the data are good: what load takes, scan and probe take (one of them is
 * looked at, by `choice`). */
static inline void fuzz_claim_source(data_fixture *f, const dlt_item *item, unsigned choice)
{
    char digest[65], again[65];
    const dlt_dataset_options options = {.memory = 1 << 20};
    const dlt_status load = fuzz_read_all(f, item, DLT_DEPTH_LOAD, options, digest);
    const dlt_depth depth = choice % 4 == 0   ? DLT_DEPTH_LOAD
                            : choice % 4 == 1 ? DLT_DEPTH_SCAN
                                              : DLT_DEPTH_PROBE;
    const dlt_status status = fuzz_read_all(f, item, depth, options, again);
    FUZZ_CLAIM(load != DLT_OK || status == DLT_OK);
    FUZZ_CLAIM(depth != DLT_DEPTH_LOAD || (status == load && strcmp(digest, again) == 0));
}

#endif
