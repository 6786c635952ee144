/* io/h5/checkpoint_write.c: saving. The order of the steps is the whole point: robustness of a checkpoint means that a file
 * under its final name is whole, was synced, and was read back and found to be what was written.
 *
 * Reading back goes through the child and the checks of checkpoint_read.c, not along the offsets that the writer knows: a
 * checkpoint counts only if the reader that will need it one day accepts it. It costs 2 to 4 ms more than the digests. */
#include "io/h5/checkpoint.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/sha256.h"
#include "base/text.h"
#include "io/file.h"
#include "io/h5/checkpoint_internal.h"
#include "io/h5/h5_writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct dlt_checkpoint_writer {
    bool may_replace;
    char *path, *temporary, *folder;
    int fd;
    dlt_h5_writer *h5;
    dlt_buf manifest;
    dlt_status status; /* of the first failure */
};

/* ---- temporary names ---- */

char *dlt_checkpoint_temporary(const char *path)
{
    static atomic_uint next; /* with the clock: no name twice, not even where each process has number 1 */
    dlt_buf name = {0};
    const char *base = dlt_path_base(path);
    dlt_buf_append(&name, path, (size_t)(base - path));
    dlt_buf_printf(&name, ".%s.tmp-%ld-%lld", base, (long)getpid(),
                   (long long)dlt_clock_ns() + (long long)atomic_fetch_add(&next, 1));
    if (name.failed) {
        dlt_buf_release(&name);
        return NULL;
    }
    return name.data;
}

bool dlt_checkpoint_is_temporary(const char *name)
{
    const char *mark = name;
    for (const char *at = strstr(name, ".tmp-"); at != NULL; at = strstr(at + 1, ".tmp-")) {
        mark = at;
    }
    if (name[0] != '.' || mark == name) {
        return false;
    }
    const char *number = mark + strlen(".tmp-");
    const size_t pid = strspn(number, "0123456789");
    const size_t count = number[pid] == '-' ? strspn(number + pid + 1, "0123456789") : 0;
    static const char suffix[] = ".weights.h5";
    const size_t length = (size_t)(mark - name), tail = sizeof suffix - 1;
    return pid > 0 && count > 0 && number[pid + 1 + count] == '\0' && length > tail + 1 &&
           strncmp(mark - tail, suffix, tail) == 0;
}

/* Whether `name` is a temporary one for `base`, of a process that is no more (or of this one, which writes one file at a time). */
static bool was_left(const char *name, const char *base)
{
    const size_t length = strlen(base);
    if (!dlt_checkpoint_is_temporary(name) || strncmp(name + 1, base, length) != 0 || !dlt_text_starts(name + 1 + length, ".tmp-")) {
        return false;
    }
    const long pid = strtol(name + 1 + length + strlen(".tmp-"), NULL, 10);
    return pid > 0 && pid < INT_MAX && (pid == (long)getpid() || (kill((pid_t)pid, 0) != 0 && errno == ESRCH));
}

void dlt_checkpoint_clean_beside(const char *path)
{
    char *folder = dlt_path_folder(path);
    DIR *names = folder != NULL ? opendir(folder) : NULL;
    const struct dirent *entry;
    while (names != NULL && (entry = readdir(names)) != NULL) { /* NOLINT(concurrency-mt-unsafe): a stream of our own */
        char *left = was_left(entry->d_name, dlt_path_base(path)) ? dlt_path_join(folder, entry->d_name) : NULL;
        if (left != NULL) {
            (void)dlt_file()->unlink(left);
        }
        dlt_free(left);
    }
    if (names != NULL) {
        closedir(names);
    }
    dlt_free(folder);
}

/* ---- the writer ---- */

/* Notes the first failure; later ones are consequences. */
static dlt_status note(dlt_checkpoint_writer *w, dlt_status status)
{
    if (w->status == DLT_OK) {
        w->status = status;
    }
    return status;
}

static void destroy(dlt_checkpoint_writer *w, bool remove)
{
    dlt_h5_writer_destroy(w->h5);
    if (w->fd >= 0) {
        dlt_file()->close(w->fd);
    }
    if (remove) {
        dlt_file()->unlink(w->temporary); /* if that fails too, dlt_checkpoint_clean finds it */
    }
    dlt_free(w->path);
    dlt_free(w->temporary);
    dlt_free(w->folder);
    dlt_buf_release(&w->manifest);
    dlt_free(w);
}

dlt_status dlt_checkpoint_begin(const char *path, dlt_checkpoint_writer **writer, dlt_diag *diag)
{
    *writer = NULL;
    dlt_checkpoint_writer *w = dlt_alloc_zeroed(1, sizeof *w);
    if (w == NULL) {
        return dlt_fail_memory(diag);
    }
    w->fd = -1;
    w->path = dlt_path_join("", path);
    w->temporary = dlt_checkpoint_temporary(path);
    w->folder = dlt_path_folder(path);
    if (w->path == NULL || w->temporary == NULL || w->folder == NULL) {
        destroy(w, false);
        return dlt_fail_memory(diag);
    }
    do {
        w->fd = dlt_file()->open(w->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (w->fd < 0 && errno == EINTR);
    if (w->fd < 0) {
        const dlt_status status =
            dlt_fail(diag, DLT_E_CHECKPOINT, (dlt_pos){0}, "cannot create '%s': %s", w->temporary, strerror(errno));
        destroy(w, false);
        return status;
    }
    const dlt_status status = dlt_h5_writer_create(w->fd, w->temporary, DLT_E_CHECKPOINT, &w->h5, diag);
    if (status != DLT_OK) {
        destroy(w, true);
        return status;
    }
    dlt_buf_printf(&w->manifest, "dltrain checkpoint %d\n", (int)DLT_CHECKPOINT_VERSION);
    *writer = w;
    return DLT_OK;
}

void dlt_checkpoint_may_replace(dlt_checkpoint_writer *writer)
{
    writer->may_replace = true;
}

void dlt_checkpoint_abandon(dlt_checkpoint_writer *writer)
{
    if (writer != NULL) {
        destroy(writer, true);
    }
}

/* Names and paths are fields of the manifest's lines. */
static bool is_plain(const char *text)
{
    return dlt_text_plain(text) && dlt_utf8_valid(text, strlen(text));
}

static dlt_status check_name(dlt_checkpoint_writer *w, const char *text, dlt_diag *diag)
{
    return is_plain(text) ? DLT_OK
                          : note(w, dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0},
                                             "'%s' cannot be a name in a checkpoint: it holds control characters or "
                                             "is not UTF-8",
                                             text));
}

dlt_status dlt_checkpoint_group(dlt_checkpoint_writer *w, const char *path, const char *name, dlt_diag *diag)
{
    if (w->status != DLT_OK) {
        return w->status;
    }
    DLT_TRY(check_name(w, path, diag));
    DLT_TRY(check_name(w, name, diag));
    DLT_TRY(note(w, dlt_h5_writer_group(w->h5, path, diag)));
    DLT_TRY(note(w, dlt_h5_writer_text(w->h5, path, "name", name, diag)));
    dlt_buf_printf(&w->manifest, "group\t%s\t%s\n", path, name);
    return DLT_OK;
}

/* Index of the first value that is not finite, or -1. The exponent of such a value is all ones. */
static int64_t first_not_finite(dlt_dtype dtype, const void *data, int64_t count)
{
    enum { RUN = 4096 };
    for (int64_t start = 0; start < count; start += RUN) {
        const int64_t n = count - start < RUN ? count - start : RUN;
        unsigned bad = 0;
        /* without a branch inside, so that compilers vectorize it */
#define SCAN(ctype, mask)                                                                                            \
    do {                                                                                                             \
        const ctype *bits = (const ctype *)data + start;                                                             \
        for (int64_t i = 0; i < n; i++) {                                                                            \
            bad |= (bits[i] & (mask)) == (mask);                                                                     \
        }                                                                                                            \
        for (int64_t i = 0; bad != 0 && i < n; i++) {                                                                \
            if ((bits[i] & (mask)) == (mask)) {                                                                      \
                return start + i;                                                                                    \
            }                                                                                                        \
        }                                                                                                            \
    } while (0)
        switch (dtype) {
        case DLT_F32:
            SCAN(uint32_t, UINT32_C(0x7F800000));
            break;
        case DLT_F64:
            SCAN(uint64_t, UINT64_C(0x7FF0000000000000));
            break;
        case DLT_BF16:
            SCAN(uint16_t, 0x7F80U);
            break;
        case DLT_F16:
            SCAN(uint16_t, 0x7C00U);
            break;
        default:
            return -1;
        }
#undef SCAN
    }
    return -1;
}

static dlt_status check_finite(dlt_checkpoint_writer *w, const char *path, dlt_dtype dtype, const dlt_shape *shape,
                               const void *data, int64_t count, dlt_diag *diag)
{
    if (!dlt_text_starts(path, "/layers/") && !dlt_text_starts(path, "/optimizer/") &&
        !dlt_text_starts(path, "/vars/")) {
        return DLT_OK;
    }
    int64_t bad = first_not_finite(dtype, data, count);
    if (bad < 0) {
        return DLT_OK;
    }
    char what[CHECKPOINT_DESCRIPTION], where[160];
    dlt_shape index = {.rank = shape->rank};
    for (int i = shape->rank - 1; i >= 0; i--) {
        index.dim[i] = bad % shape->dim[i];
        bad /= shape->dim[i];
    }
    return note(w, dlt_fail(diag, DLT_E_NUMERIC, (dlt_pos){0}, "'%s' is not saved: %s is not finite at %s", w->path,
                            dlt_checkpoint_describe(path, what, sizeof what),
                            dlt_shape_text(&index, where, sizeof where)));
}

dlt_status dlt_checkpoint_add(dlt_checkpoint_writer *w, const char *path, dlt_dtype dtype, const dlt_shape *shape,
                              const void *data, dlt_diag *diag)
{
    if (w->status != DLT_OK) {
        return w->status;
    }
    size_t bytes = 0;
    const int64_t count = dlt_shape_count(shape);
    if (count < 0 || !dlt_mul_size((size_t)count, dlt_dtype_size(dtype), &bytes)) {
        return note(w, dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "'%s' has an impossible shape", path));
    }
    DLT_TRY(check_name(w, path, diag));
    DLT_TRY(check_finite(w, path, dtype, shape, data, count, diag));
    DLT_TRY(note(w, dlt_h5_writer_dataset(w->h5, path, dtype, shape, data, diag)));
    char digest[DLT_SHA256_HEX];
    dlt_sha256_of(data, bytes, digest);
    dlt_buf_printf(&w->manifest, "dataset\t%s\t%s\t[", path, dlt_dtype_name(dtype));
    for (int i = 0; i < shape->rank; i++) {
        dlt_buf_printf(&w->manifest, "%s%" PRId64, i > 0 ? "," : "", shape->dim[i]);
    }
    dlt_buf_printf(&w->manifest, "]\t%s\n", digest);
    return DLT_OK;
}

dlt_status dlt_checkpoint_text(dlt_checkpoint_writer *w, const char *name, const void *text, size_t bytes,
                               dlt_diag *diag)
{
    if (w->status != DLT_OK) {
        return w->status;
    }
    dlt_buf path = {0};
    dlt_buf_printf(&path, "/dltrain/%s", name);
    const dlt_shape shape = DLT_SHAPE((int64_t)bytes);
    const dlt_status status =
        path.failed ? note(w, dlt_fail_memory(diag)) : dlt_checkpoint_add(w, path.data, DLT_U8, &shape, text, diag);
    dlt_buf_release(&path);
    return status;
}

/* ---- the end ---- */

/* The file under its temporary name is read as a resume would read it. */
static dlt_status read_back(const dlt_checkpoint_writer *w, dlt_diag *diag)
{
    dlt_checkpoint *again = NULL;
    size_t bytes = 0;
    DLT_TRY(dlt_checkpoint_open(w->temporary, DLT_CHECKPOINT_OURS, &again, diag));
    const char *manifest = dlt_checkpoint_manifest(again, &bytes);
    dlt_status status = DLT_OK;
    if (bytes != w->manifest.length || memcmp(manifest, w->manifest.data, bytes) != 0) {
        status =
            dlt_fail(diag, DLT_E_CHECKPOINT, (dlt_pos){0}, "'%s' does not read back as it was written", w->temporary);
    } else {
        status = dlt_checkpoint_verify(again, diag);
    }
    dlt_checkpoint_close(again);
    return status;
}

static dlt_status failed(const char *path, int reason, dlt_diag *diag)
{
    return dlt_fail(diag, DLT_E_CHECKPOINT, (dlt_pos){0}, "cannot write '%s': %s", path, strerror(reason));
}

/* Everything up to the rename. */
static dlt_status complete(dlt_checkpoint_writer *w, dlt_diag *diag)
{
    const dlt_shape manifest = DLT_SHAPE((int64_t)w->manifest.length), whole = DLT_SHAPE(DLT_SHA256_BYTES);
    uint8_t digest[DLT_SHA256_BYTES];
    dlt_sha256 sha;
    if (w->manifest.failed) {
        return dlt_fail_memory(diag);
    }
    dlt_sha256_init(&sha);
    dlt_sha256_update(&sha, w->manifest.data, w->manifest.length);
    dlt_sha256_final(&sha, digest);
    DLT_TRY(dlt_h5_writer_dataset(w->h5, CHECKPOINT_MANIFEST, DLT_U8, &manifest, w->manifest.data, diag));
    DLT_TRY(dlt_h5_writer_dataset(w->h5, CHECKPOINT_DIGEST, DLT_U8, &whole, digest, diag));
    dlt_h5_writer *h5 = w->h5;
    w->h5 = NULL;
    DLT_TRY(dlt_h5_writer_finish(h5, diag));
    if (dlt_file()->fsync(w->fd) != 0) { /* final: a second fsync would report success for lost pages */
        return failed(w->temporary, errno, diag);
    }
    DLT_TRY(read_back(w, diag));
    const int fd = w->fd;
    w->fd = -1;
    if (dlt_file()->close(fd) != 0 && errno != EINTR) { /* on Linux an interrupted close has closed */
        return failed(w->temporary, errno, diag);
    }
    if ((w->may_replace ? dlt_file()->rename : dlt_file()->rename_new)(w->temporary, w->path) != 0) {
        return errno == EEXIST ? dlt_fail(diag, DLT_E_CHECKPOINT, (dlt_pos){0},
                                          "'%s' exists; a checkpoint is never replaced", w->path)
                               : failed(w->path, errno, diag);
    }
    return DLT_OK;
}

dlt_status dlt_checkpoint_finish(dlt_checkpoint_writer *w, dlt_diag *diag)
{
    dlt_status status = w->status;
    if (status == DLT_OK) {
        status = complete(w, diag);
    }
    const bool renamed = status == DLT_OK;
    if (renamed) {
        status = dlt_file_sync_folder(w->folder, DLT_E_CHECKPOINT, diag);
    }
    destroy(w, !renamed);
    return status;
}
