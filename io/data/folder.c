/* io/data/folder.c: listing folders of images. */
#include "io/data/folder.h"

#include "base/alloc.h"
#include "base/text.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

static const char *const endings[] = {".jpg", ".jpeg", ".png", NULL};
/* Keras reads the first two; the others are often met */
static const char *const others[] = {".bmp", ".gif", ".webp", ".tif", ".tiff", NULL};

/* Names as they come. */
typedef struct names {
    const char **at;
    size_t count, room;
} names;

static bool add_name(names *list, dlt_arena *arena, const char *name)
{
    if (list->count == list->room) {
        const size_t room = list->room > 0 ? 2 * list->room : 64;
        const char **grown = dlt_realloc(list->at, room, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        list->at = grown;
        list->room = room;
    }
    list->at[list->count] = dlt_arena_string(arena, name);
    return list->at[list->count++] != NULL;
}

/* The names in order, in the arena; NULL when memory is refused. */
static const char **in_order(const names *list, dlt_arena *arena)
{
    const char **sorted = dlt_arena_alloc(arena, list->count, sizeof *sorted);
    size_t *order = dlt_alloc_zeroed(list->count, sizeof *order);
    if (sorted != NULL && order != NULL) {
        dlt_sort_texts(list->at, order, list->count);
        for (size_t i = 0; i < list->count; i++) {
            sorted[i] = list->at[order[i]];
        }
    }
    const bool good = order != NULL;
    dlt_free(order);
    return good ? sorted : NULL;
}

static bool ends_in(const char *name, const char *const *wanted)
{
    const size_t length = strlen(name);
    for (; *wanted != NULL; wanted++) {
        const size_t tail = strlen(*wanted);
        if (length > tail && dlt_text_same(name + length - tail, *wanted)) {
            return true;
        }
    }
    return false;
}

static int64_t mtime_of(const struct stat *status)
{
    return (int64_t)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec;
}

static dlt_status cannot_open(const char *path, int reason, dlt_pos at, dlt_diag *diag)
{
    return dlt_fail(diag, DLT_E_DATA, at, "cannot open '%s': %s", path,
                    reason == ENOTDIR ? "it is no folder" : strerror(reason));
}

/* Whether an entry is a folder that counts. File systems need not say what an entry is. */
static dlt_status is_folder(const char *folder, const struct dirent *entry, bool links, bool *result,
                            dlt_diag *diag)
{
    struct stat status;
    *result = entry->d_type == DT_DIR;
    if (entry->d_type != DT_UNKNOWN && (entry->d_type != DT_LNK || !links)) {
        return DLT_OK;
    }
    char *path = dlt_path_join(folder, entry->d_name);
    if (path == NULL) {
        return dlt_fail_memory(diag);
    }
    *result = (links ? dlt_file()->stat(path, &status) : dlt_file()->lstat(path, &status)) == 0 &&
              S_ISDIR(status.st_mode);
    dlt_free(path);
    return DLT_OK;
}

static dlt_status read_names(DIR *listing, bool links, dlt_pos at, dlt_arena *arena, dlt_folder *folder,
                             names *files, names *folders, dlt_diag *diag)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(listing);
        if (entry == NULL) {
            return errno == 0 ? DLT_OK
                              : dlt_fail(diag, DLT_E_DATA, at, "cannot list '%s': %s", folder->path,
                                         strerror(errno));
        }
        bool inner = false;
        if (entry->d_name[0] == '.') {
            continue;
        }
        DLT_TRY(is_folder(folder->path, entry, links, &inner, diag));
        if (inner || ends_in(entry->d_name, endings)) {
            if (!add_name(inner ? folders : files, arena, entry->d_name)) {
                return dlt_fail_memory(diag);
            }
        } else if (ends_in(entry->d_name, others)) {
            folder->other_count++;
            if (folder->first_other == NULL || strcmp(entry->d_name, folder->first_other) < 0) {
                folder->first_other = dlt_arena_string(arena, entry->d_name);
            }
        }
    }
}

static dlt_status look_at_files(dlt_folder *folder, const char **sorted, size_t count, dlt_arena *arena,
                                dlt_diag *diag)
{
    dlt_buf path = {0};
    folder->files = dlt_arena_alloc(arena, count, sizeof *folder->files);
    if (folder->files == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < count; i++) {
        struct stat status;
        dlt_buf_reset(&path);
        dlt_buf_printf(&path, "%s/%s", folder->path, sorted[i]);
        if (path.failed) {
            dlt_buf_release(&path);
            return dlt_fail_memory(diag);
        }
        const bool there = dlt_file()->stat(path.data, &status) == 0;
        folder->files[i] =
            (dlt_folder_file){sorted[i], there ? (int64_t)status.st_size : -1, there ? mtime_of(&status) : 0};
    }
    folder->count = count;
    dlt_buf_release(&path);
    return DLT_OK;
}

dlt_status dlt_folder_list(const char *path, bool links, dlt_pos at, dlt_arena *arena, dlt_folder *folder,
                           dlt_diag *diag)
{
    struct stat status;
    *folder = (dlt_folder){.path = path};
    if (dlt_file()->stat(path, &status) != 0) {
        return cannot_open(path, errno, at, diag);
    }
    folder->mtime_ns = mtime_of(&status);
    DIR *listing = opendir(path);
    if (listing == NULL) {
        return errno == ENOMEM ? dlt_fail_memory(diag) : cannot_open(path, errno, at, diag);
    }
    names files = {0}, folders = {0};
    dlt_status result = read_names(listing, links, at, arena, folder, &files, &folders, diag);
    closedir(listing);
    if (result == DLT_OK) {
        const char **sorted = in_order(&files, arena);
        folder->folders = in_order(&folders, arena);
        folder->folder_count = folders.count;
        result = sorted != NULL && folder->folders != NULL
                     ? look_at_files(folder, sorted, files.count, arena, diag)
                     : dlt_fail_memory(diag);
    }
    dlt_free(files.at);
    dlt_free(folders.at);
    return result == DLT_OK && dlt_arena_failed(arena) ? dlt_fail_memory(diag) : result;
}

static void add_number(dlt_sha256 *sha, int64_t value)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)((uint64_t)value >> (8 * i));
    }
    dlt_sha256_update(sha, bytes, sizeof bytes);
}

dlt_status dlt_folder_stamp_of(const dlt_folder *folder, unsigned counts, dlt_arena *arena, dlt_stamp *stamp,
                               dlt_diag *diag)
{
    struct dlt_folder_stamp *made = dlt_arena_alloc(arena, 1, sizeof *made);
    if (made == NULL) {
        return dlt_fail_memory(diag);
    }
    *made = (struct dlt_folder_stamp){.counts = counts, .mtime_ns = folder->mtime_ns};
    *stamp = (dlt_stamp){.path = folder->path, .folder = made};
    dlt_sha256 names_and_sizes, times;
    dlt_sha256_init(&names_and_sizes);
    dlt_sha256_init(&times);
    for (size_t i = 0; (counts & DLT_FOLDER_FILES) != 0 && i < folder->count; i++) {
        const dlt_folder_file *file = &folder->files[i];
        dlt_sha256_update(&names_and_sizes, file->name, strlen(file->name) + 1);
        add_number(&names_and_sizes, file->size);
        add_number(&times, file->mtime_ns);
        stamp->size += file->size > 0 ? file->size : 0;
        stamp->mtime_ns = file->mtime_ns > stamp->mtime_ns ? file->mtime_ns : stamp->mtime_ns;
    }
    add_number(&names_and_sizes, -2); /* no size: here the files end */
    for (size_t i = 0; (counts & DLT_FOLDER_FOLDERS) != 0 && i < folder->folder_count; i++) {
        dlt_sha256_update(&names_and_sizes, folder->folders[i], strlen(folder->folders[i]) + 1);
    }
    dlt_sha256_final(&names_and_sizes, stamp->sample);
    dlt_sha256_final(&times, made->times);
    return DLT_OK;
}

dlt_status dlt_folder_stamp_take(const char *path, unsigned counts, dlt_arena *arena, dlt_stamp *stamp,
                                 dlt_diag *diag)
{
    dlt_folder folder;
    DLT_TRY(dlt_folder_list(path, (counts & DLT_FOLDER_LINKS) != 0, (dlt_pos){0}, arena, &folder, diag));
    return dlt_folder_stamp_of(&folder, counts, arena, stamp, diag);
}
