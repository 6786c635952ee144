/* cmd/output_guard.c: what --output may name. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "cmd/output_guard.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/text.h"
#include "io/file.h"
#include "io/h5/h5_table.h"
#include "io/outfile.h"
#include "io/yaml.h"
#include "trainer/rundir.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const dlt_pos nowhere = {0};

static dlt_status refuse(const char *path, const char *why, dlt_diag *diag)
{
    return dlt_fail(diag, DLT_E_CONFIG, nowhere, "--output: '%s' is %s, and is left as it is; give another name", path, why);
}

/* Whether two names, or the file that standard input is, mean the same file. */
static bool same_file(const struct stat *file, const char *path)
{
    struct stat other;
    const int got = strcmp(path, "-") == 0 ? dlt_file()->fstat(STDIN_FILENO, &other) : dlt_file()->stat(path, &other);
    return got == 0 && other.st_dev == file->st_dev && other.st_ino == file->st_ino;
}

static bool is_hdf5(const char *path)
{
    static const char mark[8] = {'\x89', 'H', 'D', 'F', '\r', '\n', '\x1a', '\n'};
    char front[sizeof mark];
    int fd = -1;
    if (dlt_file_open_read(path, DLT_E_OUTPUT, nowhere, &fd, NULL, NULL) != DLT_OK) {
        return false;
    }
    const bool marked = dlt_file_read_at(fd, path, front, sizeof front, 0, DLT_E_OUTPUT, NULL) == DLT_OK &&
                        memcmp(front, mark, sizeof mark) == 0;
    dlt_file()->close(fd); /* only read from */
    return marked;
}

/* Refuses an HDF5 file that holds anything but what predict writes. A damaged one is not predict's: it leaves none. */
static dlt_status check_hdf5(const char *path, dlt_diag *diag)
{
    dlt_h5_file *file = NULL;
    const dlt_status status = dlt_h5_open(path, DLT_E_OUTPUT, nowhere, &file, NULL);
    if (status == DLT_E_MEMORY) {
        return dlt_fail_memory(diag);
    }
    const bool ours = status == DLT_OK && dlt_h5_find(file, "/predictions") != NULL && dlt_h5_entries(file, "/") == 1;
    dlt_h5_close(file);
    return ours ? DLT_OK : refuse(path, "an HDF5 file that predict did not write", diag);
}

/* By its content: what a model file must have. By its name where it cannot be read, as happens while one is written. */
static dlt_status is_model_file(const char *path, bool *is, dlt_diag *diag)
{
    dlt_arena *arena = dlt_arena_create();
    dlt_diag *unheard = dlt_diag_create();
    dlt_yaml *root = NULL;
    if (arena == NULL || unheard == NULL) {
        dlt_diag_destroy(unheard);
        dlt_arena_destroy(arena);
        return dlt_fail_memory(diag);
    }
    (void)dlt_yaml_load(arena, path, &root, unheard);
    *is = root != NULL ? dlt_yaml_get(root, "layers") != NULL || dlt_yaml_get(root, "include") != NULL
                       : dlt_text_ends(path, ".yaml") || dlt_text_ends(path, ".yml");
    dlt_diag_destroy(unheard);
    dlt_arena_destroy(arena);
    return DLT_OK;
}

/* Whether a run keeps this file: in its folder under a name of its own, or among its checkpoints. */
static dlt_status is_of_run(const char *folder, const char *name, bool *is, dlt_diag *diag)
{
    char whole[PATH_MAX]; /* "." may be anywhere */
    *is = false;
    if (realpath(folder, whole) == NULL) {
        return DLT_OK; /* opening says why */
    }
    *is = dlt_rundir_is(whole) && dlt_rundir_keeps(name);
    if (!*is && strcmp(dlt_path_base(whole), "checkpoints") == 0) {
        char *above = dlt_path_folder(whole);
        if (above == NULL) {
            return dlt_fail_memory(diag);
        }
        *is = dlt_rundir_is(above);
        dlt_free(above);
    }
    return DLT_OK;
}

dlt_status dlt_output_place(const char *path, dlt_diag *diag)
{
    char *target = NULL;
    struct stat there;
    bool is = false;
    if (path[0] == '\0' || (dlt_file()->stat(path, &there) == 0 && !S_ISREG(there.st_mode))) {
        return DLT_OK;
    }
    DLT_TRY(dlt_outfile_target(path, DLT_E_OUTPUT, &target, diag));
    char *folder = dlt_path_folder(target);
    dlt_status status = folder != NULL ? is_of_run(folder, dlt_path_base(target), &is, diag) : dlt_fail_memory(diag);
    if (status == DLT_OK && is) {
        status = dlt_fail(diag, DLT_E_CONFIG, nowhere,
                          "--output: '%s' is a file of a run, where only fit writes; give another name", path);
    }
    dlt_free(folder);
    dlt_free(target);
    return status;
}

dlt_status dlt_output_allowed(const char *path, const dlt_output_read *reads, size_t count, dlt_diag *diag)
{
    struct stat there;
    bool is_model = false;
    const bool regular = dlt_file()->stat(path, &there) == 0 && S_ISREG(there.st_mode);
    for (size_t i = 0; regular && i < count; i++) {
        if (reads[i].path != NULL && same_file(&there, reads[i].path)) {
            return refuse(path, reads[i].what, diag);
        }
    }
    DLT_TRY(dlt_output_place(path, diag));
    if (!regular) {
        return DLT_OK;
    }
    if (is_hdf5(path)) {
        return check_hdf5(path, diag);
    }
    DLT_TRY(is_model_file(path, &is_model, diag));
    return is_model ? refuse(path, "a model file", diag) : DLT_OK;
}
