/* io/data/stamp.c: stamps of source files. */
#include "io/data/stamp.h"

#include "io/data/folder.h"

#include <errno.h>
#include <string.h>

enum { WHOLE_BYTES = 128 << 10, END_BYTES = 32 << 10, PLACES = 32, PLACE_BYTES = 1 << 10 };

static dlt_status digest_range(dlt_sha256 *sha, int fd, const char *path, int64_t from, int64_t bytes,
                               dlt_diag *diag)
{
    unsigned char piece[8192];
    while (bytes > 0) {
        const size_t n = bytes < (int64_t)sizeof piece ? (size_t)bytes : sizeof piece;
        DLT_TRY(dlt_file_read_at(fd, path, piece, n, from, DLT_E_DATA, diag));
        dlt_sha256_update(sha, piece, n);
        from += (int64_t)n;
        bytes -= (int64_t)n;
    }
    return DLT_OK;
}

static dlt_status digest_samples(int fd, dlt_stamp *stamp, dlt_diag *diag)
{
    dlt_sha256 sha;
    uint8_t size[8];
    for (int i = 0; i < 8; i++) {
        size[i] = (uint8_t)((uint64_t)stamp->size >> (8 * i));
    }
    dlt_sha256_init(&sha);
    dlt_sha256_update(&sha, size, sizeof size);
    if (stamp->size <= WHOLE_BYTES) {
        DLT_TRY(digest_range(&sha, fd, stamp->path, 0, stamp->size, diag));
    } else {
        DLT_TRY(digest_range(&sha, fd, stamp->path, 0, END_BYTES, diag));
        const int64_t between = stamp->size - 2 * END_BYTES - PLACE_BYTES;
        for (int64_t i = 0; i < PLACES; i++) {
            const int64_t at = END_BYTES + between / (PLACES - 1) * i;
            DLT_TRY(digest_range(&sha, fd, stamp->path, at, PLACE_BYTES, diag));
        }
        DLT_TRY(digest_range(&sha, fd, stamp->path, stamp->size - END_BYTES, END_BYTES, diag));
    }
    dlt_sha256_final(&sha, stamp->sample);
    return DLT_OK;
}

static int64_t mtime_of(const struct stat *status)
{
    return (int64_t)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec;
}

dlt_status dlt_stamp_take(int fd, const char *path, bool with_sample, dlt_stamp *stamp, dlt_diag *diag)
{
    struct stat status;
    if (dlt_file()->fstat(fd, &status) != 0) {
        return dlt_fail(diag, DLT_E_DATA, (dlt_pos){0}, "cannot read '%s': %s", path, strerror(errno));
    }
    *stamp = (dlt_stamp){.path = path, .size = (int64_t)status.st_size, .mtime_ns = mtime_of(&status)};
    return with_sample ? digest_samples(fd, stamp, diag) : DLT_OK;
}

static dlt_status check_folder(const dlt_stamp *stamp, const struct stat *status, bool *same, dlt_diag *diag)
{
    dlt_stamp now = {0};
    *same = mtime_of(status) == stamp->folder->mtime_ns;
    if (*same) {
        return DLT_OK;
    }
    dlt_arena *arena = dlt_arena_create();
    if (arena == NULL) {
        return dlt_fail_memory(diag);
    }
    const dlt_status result = dlt_folder_stamp_take(stamp->path, stamp->folder->counts, arena, &now, diag);
    *same = memcmp(now.sample, stamp->sample, sizeof now.sample) == 0;
    dlt_arena_destroy(arena);
    return result;
}

dlt_status dlt_stamp_check(const dlt_stamp *stamp, bool packed, dlt_diag *diag)
{
    struct stat status;
    bool same = false;
    if (dlt_file()->stat(stamp->path, &status) != 0) {
        return dlt_fail(diag, DLT_E_DATA, (dlt_pos){0},
                        "'%s' can no longer be read while the run uses it: %s", stamp->path, strerror(errno));
    }
    if (stamp->folder != NULL) {
        DLT_TRY(check_folder(stamp, &status, &same, diag));
    } else {
        same = (int64_t)status.st_size == stamp->size && mtime_of(&status) == stamp->mtime_ns;
    }
    if (same) {
        return DLT_OK;
    }
    if (stamp->folder == NULL && packed && (int64_t)status.st_size == stamp->size) {
        int fd = -1;
        dlt_stamp now = {0};
        DLT_TRY(dlt_file_open_read(stamp->path, DLT_E_DATA, (dlt_pos){0}, &fd, NULL, diag));
        const dlt_status taken = dlt_stamp_take(fd, stamp->path, true, &now, diag);
        dlt_file()->close(fd);
        DLT_TRY(taken);
        if (memcmp(now.sample, stamp->sample, sizeof now.sample) == 0) {
            return DLT_OK;
        }
    }
    return dlt_fail(
        diag, DLT_E_DATA, (dlt_pos){0},
        "'%s' changed while the run was using it; a run needs the same data from its first step to its last",
        stamp->path);
}
