/* io/h5/checkpoint_folder.c: the files of a run: which is the newest that is whole, which may go, links for people. */
#include "io/h5/checkpoint.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/text.h"
#include "io/file.h"
#include "io/h5/checkpoint_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file that was found whole, as it was then. */
typedef struct trusted {
    int64_t step;
    ino_t inode;
    off_t size;
    struct timespec changed;
} trusted;

struct dlt_checkpoint_folder {
    char *path;
    trusted *list;
    size_t count, room;
};

static const char prefix[] = "step-", suffix[] = ".weights.h5";

void dlt_checkpoint_name(int64_t step, char name[DLT_CHECKPOINT_NAME])
{
    snprintf(name, DLT_CHECKPOINT_NAME, "%s%012" PRId64 "%s", prefix, step, suffix);
}

/* The step of a name that dlt_checkpoint_name gives, else -1. */
static int64_t step_of(const char *name)
{
    char again[DLT_CHECKPOINT_NAME];
    int64_t step = -1;
    if (!dlt_text_starts(name, prefix) || !dlt_text_ends(name, suffix) || strlen(name) >= sizeof again) {
        return -1;
    }
    const size_t start = sizeof prefix - 1, digits = strspn(name + start, "0123456789");
    char number[DLT_CHECKPOINT_NAME]; /* without the leading zeros: in numbers of ours they mean nothing */
    const size_t zeros = strspn(name + start, "0");
    const size_t skip = zeros < digits ? zeros : digits > 0 ? digits - 1 : 0;
    memcpy(number, name + start + skip, digits - skip);
    if (!dlt_parse_i64(number, digits - skip, &step)) {
        return -1;
    }
    dlt_checkpoint_name(step, again);
    return strcmp(again, name) == 0 ? step : -1;
}

static char *path_of(const dlt_checkpoint_folder *folder, int64_t step)
{
    char name[DLT_CHECKPOINT_NAME];
    dlt_checkpoint_name(step, name);
    return dlt_path_join(folder->path, name);
}

dlt_status dlt_checkpoint_folder_open(const char *path, dlt_checkpoint_folder **folder, dlt_diag *diag)
{
    struct stat seen;
    *folder = NULL;
    const int reason = dlt_file()->stat(path, &seen) != 0 ? errno : S_ISDIR(seen.st_mode) ? 0 : ENOTDIR;
    if (reason != 0) {
        return dlt_fail(diag, DLT_E_CHECKPOINT, (dlt_pos){0}, "cannot open folder '%s': %s", path, strerror(reason));
    }
    dlt_checkpoint_folder *made = dlt_alloc_zeroed(1, sizeof *made);
    char *copy = dlt_path_join("", path);
    if (made == NULL || copy == NULL) {
        dlt_free(made);
        dlt_free(copy);
        return dlt_fail_memory(diag);
    }
    made->path = copy;
    *folder = made;
    return DLT_OK;
}

void dlt_checkpoint_folder_close(dlt_checkpoint_folder *folder)
{
    if (folder != NULL) {
        dlt_free(folder->path);
        dlt_free(folder->list);
        dlt_free(folder);
    }
}

/* ---- what lies there ---- */

/* Calls visit for each name; stops at the first status that is not DLT_OK. */
static dlt_status each_name(const dlt_checkpoint_folder *folder, dlt_status (*visit)(void *context, const char *name),
                            void *context, dlt_diag *diag)
{
    DIR *names = opendir(folder->path);
    if (names == NULL) {
        return dlt_fail(diag, DLT_E_CHECKPOINT, (dlt_pos){0}, "cannot open folder '%s': %s", folder->path,
                        strerror(errno));
    }
    dlt_status status = DLT_OK;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(names); /* NOLINT(concurrency-mt-unsafe): a stream of our own */
        if (entry == NULL) {
            if (errno != 0) {
                status = dlt_fail(diag, DLT_E_CHECKPOINT, (dlt_pos){0}, "cannot read folder '%s': %s", folder->path,
                                  strerror(errno));
            }
            break;
        }
        status = visit(context, entry->d_name);
        if (status != DLT_OK) {
            break;
        }
    }
    closedir(names);
    return status;
}

typedef struct listing {
    int64_t *steps;
    size_t count, room;
    dlt_diag *diag;
} listing;

static dlt_status add_step(void *context, const char *name)
{
    listing *l = context;
    const int64_t step = step_of(name);
    if (step < 0) {
        return DLT_OK;
    }
    if (l->count == l->room) {
        const size_t room = l->room > 0 ? l->room * 2 : 16;
        int64_t *grown = dlt_realloc(l->steps, room, sizeof *grown);
        if (grown == NULL) {
            return dlt_fail_memory(l->diag);
        }
        l->steps = grown;
        l->room = room;
    }
    l->steps[l->count++] = step;
    return DLT_OK;
}

static int newest_first(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left < right) - (left > right);
}

dlt_status dlt_checkpoint_list(const dlt_checkpoint_folder *folder, int64_t **steps, size_t *count, dlt_diag *diag)
{
    listing l = {.diag = diag};
    *steps = NULL;
    *count = 0;
    const dlt_status status = each_name(folder, add_step, &l, diag);
    if (status != DLT_OK) {
        dlt_free(l.steps);
        return status;
    }
    if (l.count > 0) {
        qsort(l.steps, l.count, sizeof *l.steps, newest_first);
    }
    *steps = l.steps;
    *count = l.count;
    return DLT_OK;
}

/* ---- which are whole ---- */

static bool same_file(const trusted *t, const struct stat *seen)
{
    return t->inode == seen->st_ino && t->size == seen->st_size && t->changed.tv_sec == seen->st_mtim.tv_sec &&
           t->changed.tv_nsec == seen->st_mtim.tv_nsec;
}

void dlt_checkpoint_trust(dlt_checkpoint_folder *folder, int64_t step)
{
    struct stat seen;
    char *path = path_of(folder, step);
    const bool found = path != NULL && dlt_file()->stat(path, &seen) == 0;
    dlt_free(path);
    if (!found) {
        return; /* it will be verified when it matters */
    }
    trusted *entry = NULL;
    for (size_t i = 0; i < folder->count; i++) {
        entry = folder->list[i].step == step ? &folder->list[i] : entry;
    }
    if (entry == NULL) {
        if (folder->count == folder->room) {
            const size_t room = folder->room > 0 ? folder->room * 2 : 8;
            trusted *grown = dlt_realloc(folder->list, room, sizeof *grown);
            if (grown == NULL) {
                return;
            }
            folder->list = grown;
            folder->room = room;
        }
        entry = &folder->list[folder->count++];
    }
    *entry = (trusted){.step = step, .inode = seen.st_ino, .size = seen.st_size, .changed = seen.st_mtim};
}

static bool is_trusted(const dlt_checkpoint_folder *folder, int64_t step, const struct stat *seen)
{
    for (size_t i = 0; i < folder->count; i++) {
        if (folder->list[i].step == step) {
            return same_file(&folder->list[i], seen);
        }
    }
    return false;
}

/* Opens and verifies one. A file that is not whole gives DLT_OK and *checkpoint NULL, and a warning. */
static dlt_status open_whole(dlt_checkpoint_folder *folder, int64_t step, dlt_checkpoint **checkpoint, dlt_diag *diag)
{
    *checkpoint = NULL;
    char *path = path_of(folder, step);
    dlt_diag *aside = dlt_diag_create();
    if (path == NULL || aside == NULL) {
        dlt_free(path);
        dlt_diag_destroy(aside);
        return dlt_fail_memory(diag);
    }
    dlt_checkpoint *opened = NULL;
    dlt_status status = dlt_checkpoint_open(path, DLT_CHECKPOINT_OURS, &opened, aside);
    if (status == DLT_OK) {
        status = dlt_checkpoint_verify(opened, aside);
    }
    if (status == DLT_OK) {
        dlt_checkpoint_trust(folder, step);
        *checkpoint = opened;
        opened = NULL;
    } else if (status == DLT_E_CHECKPOINT) {
        dlt_warn(diag, (dlt_pos){0}, "a checkpoint is passed over: %s", dlt_diag_text(aside, 0));
        status = DLT_OK;
    } else { /* says nothing about the file: not to be mistaken for a bad one */
        dlt_fail(diag, status, (dlt_pos){0}, "%s", dlt_diag_text(aside, 0));
    }
    dlt_checkpoint_close(opened);
    dlt_diag_destroy(aside);
    dlt_free(path);
    return status;
}

dlt_status dlt_checkpoint_newest(dlt_checkpoint_folder *folder, dlt_checkpoint **checkpoint, int64_t *step,
                                 dlt_diag *diag)
{
    int64_t *steps = NULL;
    size_t count = 0;
    *checkpoint = NULL;
    *step = -1;
    dlt_status status = dlt_checkpoint_list(folder, &steps, &count, diag);
    for (size_t i = 0; i < count && status == DLT_OK && *checkpoint == NULL; i++) {
        status = open_whole(folder, steps[i], checkpoint, diag);
        *step = *checkpoint != NULL ? steps[i] : -1;
    }
    if (status == DLT_OK && *checkpoint == NULL && count > 0) {
        status = dlt_fail(diag, DLT_E_CHECKPOINT, (dlt_pos){0}, "none of the %zu checkpoint%s in '%s' is whole",
                          count, count == 1 ? "" : "s", folder->path);
    }
    dlt_free(steps);
    return status;
}

/* ---- links ---- */

static dlt_status failed(const char *what, const char *path, dlt_diag *diag)
{
    return dlt_fail(diag, DLT_E_CHECKPOINT, (dlt_pos){0}, "cannot %s '%s': %s", what, path, strerror(errno));
}

/* *step: the one that a link names, -1 where there is none. Only memory can fail: a link that was not read must not cost its file. */
static dlt_status linked(const dlt_checkpoint_folder *folder, const char *name, int64_t *step, dlt_diag *diag)
{
    char target[DLT_CHECKPOINT_NAME];
    char *path = dlt_path_join(folder->path, name);
    *step = -1;
    if (path == NULL) {
        return dlt_fail_memory(diag);
    }
    const ssize_t bytes = dlt_file()->readlink(path, target, sizeof target - 1);
    dlt_free(path);
    if (bytes >= 0) {
        target[bytes] = '\0';
        *step = step_of(target);
    }
    return DLT_OK;
}

dlt_status dlt_checkpoint_link(dlt_checkpoint_folder *folder, const char *name, int64_t step, dlt_diag *diag)
{
    int64_t now = -1;
    DLT_TRY(linked(folder, name, &now, diag));
    if (now == step) {
        return DLT_OK;
    }
    char target[DLT_CHECKPOINT_NAME];
    struct stat seen;
    dlt_checkpoint_name(step, target);
    char *path = dlt_path_join(folder->path, name);
    char *temporary = path != NULL ? dlt_checkpoint_temporary(path) : NULL;
    dlt_status status = DLT_OK;
    if (temporary == NULL) {
        status = dlt_fail_memory(diag);
    } else if (dlt_file()->lstat(path, &seen) == 0 && !S_ISLNK(seen.st_mode)) {
        status = dlt_fail(diag, DLT_E_CHECKPOINT, (dlt_pos){0}, "'%s' is not replaced: it is no link of ours", path);
    } else if (dlt_file()->symlink(target, temporary) != 0) {
        status = failed("link", temporary, diag);
    } else if (dlt_file()->rename(temporary, path) != 0) {
        status = failed("link", path, diag);
        dlt_file()->unlink(temporary);
    } else {
        status = dlt_file_sync_folder(folder->path, DLT_E_CHECKPOINT, diag);
    }
    dlt_free(path);
    dlt_free(temporary);
    return status;
}

/* ---- tidying up ---- */

static dlt_status remove_step(const dlt_checkpoint_folder *folder, int64_t step, dlt_diag *diag)
{
    char *path = path_of(folder, step);
    if (path == NULL) {
        return dlt_fail_memory(diag);
    }
    const dlt_status status =
        dlt_file()->unlink(path) == 0 || errno == ENOENT ? DLT_OK : failed("remove", path, diag);
    dlt_free(path);
    return status;
}

/* True if the step's file is whole, asking the file itself only where it is not trusted. */
static dlt_status is_whole(dlt_checkpoint_folder *folder, int64_t step, bool *whole, dlt_diag *diag)
{
    struct stat seen;
    char *path = path_of(folder, step);
    if (path == NULL) {
        return dlt_fail_memory(diag);
    }
    *whole = dlt_file()->stat(path, &seen) == 0 && is_trusted(folder, step, &seen);
    dlt_free(path);
    if (*whole) {
        return DLT_OK;
    }
    dlt_checkpoint *opened = NULL;
    DLT_TRY(open_whole(folder, step, &opened, diag));
    *whole = opened != NULL;
    dlt_checkpoint_close(opened);
    return DLT_OK;
}

dlt_status dlt_checkpoint_retain(dlt_checkpoint_folder *folder, size_t keep, int64_t also, dlt_diag *diag)
{
    int64_t *steps = NULL;
    size_t count = 0, whole_count = 0, i = 0;
    const size_t wanted = keep > 2 ? keep : 2;
    int64_t last = -1, best = -1;
    DLT_TRY(linked(folder, "last.weights.h5", &last, diag));
    DLT_TRY(linked(folder, "best.weights.h5", &best, diag));
    DLT_TRY(dlt_checkpoint_list(folder, &steps, &count, diag));
    dlt_status status = DLT_OK;
    for (; i < count && whole_count < wanted && status == DLT_OK; i++) {
        bool whole = false;
        status = is_whole(folder, steps[i], &whole, diag);
        whole_count += whole;
    }
    for (; i < count && status == DLT_OK; i++) { /* there are enough newer ones */
        if (steps[i] != last && steps[i] != best && steps[i] != also) {
            status = remove_step(folder, steps[i], diag);
        }
    }
    dlt_free(steps);
    return status;
}

static dlt_status rename_damaged(const dlt_checkpoint_folder *folder, int64_t step, dlt_diag *diag)
{
    char name[DLT_CHECKPOINT_NAME + sizeof ".damaged"];
    dlt_checkpoint_name(step, name);
    memcpy(name + strlen(name), ".damaged", sizeof ".damaged");
    char *path = path_of(folder, step), *aside = dlt_path_join(folder->path, name);
    const dlt_status status = path == NULL || aside == NULL                ? dlt_fail_memory(diag)
                              : dlt_file()->rename(path, aside) != 0 ? failed("rename", path, diag)
                                                                     : DLT_OK;
    dlt_free(path);
    dlt_free(aside);
    return status;
}

dlt_status dlt_checkpoint_set_aside(dlt_checkpoint_folder *folder, int64_t step, dlt_diag *diag)
{
    int64_t *steps = NULL;
    size_t count = 0;
    dlt_diag *told = dlt_diag_create(); /* by the one who passed them over */
    if (told == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_status status = dlt_checkpoint_list(folder, &steps, &count, diag);
    for (size_t i = 0; i < count && status == DLT_OK && steps[i] > step; i++) {
        bool whole = false;
        status = is_whole(folder, steps[i], &whole, told);
        if (status != DLT_OK) {
            dlt_fail(diag, status, (dlt_pos){0}, "%s", dlt_diag_text(told, dlt_diag_size(told) - 1));
        } else if (!whole) {
            status = rename_damaged(folder, steps[i], diag);
        }
    }
    dlt_free(steps);
    dlt_diag_destroy(told);
    return status;
}

typedef struct sweep {
    const dlt_checkpoint_folder *folder;
    size_t removed;
    dlt_diag *diag;
} sweep;

static dlt_status remove_leftover(void *context, const char *name)
{
    sweep *s = context;
    struct stat seen;
    if (!dlt_checkpoint_is_temporary(name)) {
        return DLT_OK;
    }
    char *path = dlt_path_join(s->folder->path, name);
    dlt_status status = DLT_OK;
    if (path == NULL) {
        status = dlt_fail_memory(s->diag);
    } else if (dlt_file()->lstat(path, &seen) == 0 && (S_ISREG(seen.st_mode) || S_ISLNK(seen.st_mode))) {
        if (dlt_file()->unlink(path) == 0) {
            s->removed++;
        } else if (errno != ENOENT) {
            status = failed("remove", path, s->diag);
        }
    }
    dlt_free(path);
    return status;
}

dlt_status dlt_checkpoint_clean(dlt_checkpoint_folder *folder, size_t *removed, dlt_diag *diag)
{
    sweep s = {.folder = folder, .diag = diag};
    const dlt_status status = each_name(folder, remove_leftover, &s, diag);
    if (removed != NULL) {
        *removed = s.removed;
    }
    return status;
}

/* ---- the trial ---- */

/* Writes that many bytes that a file system cannot make fewer of. */
static dlt_status write_filler(int fd, const char *path, int64_t bytes, dlt_diag *diag)
{
    enum { PIECE = 1 << 20 };
    uint64_t *piece = dlt_alloc(PIECE), seed = (uint64_t)dlt_clock_ns() | 1;
    dlt_status status = piece != NULL ? DLT_OK : dlt_fail_memory(diag);
    for (int64_t done = 0; done < bytes && status == DLT_OK; done += PIECE) {
        for (size_t i = 0; i < PIECE / sizeof *piece; i++) { /* xorshift64 (Marsaglia 2003) */
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            piece[i] = seed;
        }
        const int64_t left = bytes - done;
        status = dlt_file_write(fd, path, piece, left < PIECE ? (size_t)left : PIECE, DLT_E_CHECKPOINT, diag);
    }
    dlt_free(piece);
    return status;
}

dlt_status dlt_checkpoint_trial(dlt_checkpoint_folder *folder, int64_t bytes, double *seconds, dlt_diag *diag)
{
    const int64_t start = dlt_clock_ns();
    char *base = dlt_path_join(folder->path, "trial.weights.h5");
    char *first = base != NULL ? dlt_checkpoint_temporary(base) : NULL;
    char *second = base != NULL ? dlt_checkpoint_temporary(base) : NULL;
    const char *there = NULL; /* the name under which the file stands */
    int fd = -1;
    dlt_status status = DLT_OK;
    *seconds = 0;
    if (first == NULL || second == NULL) {
        status = dlt_fail_memory(diag);
        goto out;
    }
    do {
        fd = dlt_file()->open(first, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        status = failed("create", first, diag);
        goto out;
    }
    there = first;
    status = write_filler(fd, first, bytes, diag);
    if (status == DLT_OK && dlt_file()->fsync(fd) != 0) {
        status = failed("write", first, diag);
    }
    if (dlt_file()->close(fd) != 0 && errno != EINTR && status == DLT_OK) {
        status = failed("write", first, diag);
    }
    if (status == DLT_OK && dlt_file()->rename_new(first, second) != 0) {
        status = failed("rename", first, diag);
    }
    if (status == DLT_OK) {
        there = second;
        status = dlt_file_sync_folder(folder->path, DLT_E_CHECKPOINT, diag);
    }
    if (dlt_file()->unlink(there) != 0 && status == DLT_OK) {
        status = failed("remove", there, diag);
    }
    *seconds = dlt_seconds_since(start);
out:
    dlt_free(base);
    dlt_free(first);
    dlt_free(second);
    return status;
}
