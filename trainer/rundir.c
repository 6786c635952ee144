/* trainer/rundir.c: the folder of a run. */
#include "trainer/rundir.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/num.h"
#include "base/text.h"
#include "io/data/folder.h"
#include "io/file.h"
#include "io/yaml.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { MOST_INFO_BYTES = 1 << 20, ATTEMPTS = 100 };
static const dlt_pos nowhere = {0};

static const char *in_folder(dlt_arena *arena, const char *folder, const char *file)
{
    return dlt_arena_printf(arena, "%s/%s", folder, file);
}

bool dlt_rundir_is(const char *path)
{
    struct stat status;
    char file[PATH_MAX]; /* needs no memory: a run that is taken for none would be begun anew */
    const int length = snprintf(file, sizeof file, "%s/run.json", path);
    return length > 0 && (size_t)length < sizeof file && dlt_file()->stat(file, &status) == 0 && S_ISREG(status.st_mode);
}

/* ---- making ---- */

dlt_status dlt_rundir_create(const char *folder, const char *name, dlt_arena *arena, const char **path,
                             dlt_diag *diag)
{
    char stamp[32];
    *path = NULL;
    const char *parent = dlt_arena_printf(arena, "%s%sruns/%s", strcmp(folder, ".") == 0 ? "" : folder,
                                          strcmp(folder, ".") == 0 ? "" : "/", name);
    if (parent == NULL) {
        return dlt_fail_memory(diag);
    }
    DLT_TRY(dlt_file_make_folders(parent, false, DLT_E_CHECKPOINT, diag));
    dlt_clock_stamp(stamp, sizeof stamp);
    for (int i = 0; i < ATTEMPTS; i++) {
        uint16_t random = (uint16_t)(dlt_clock_ns() >> 8);
        if (getrandom(&random, sizeof random, GRND_NONBLOCK) < 0) {
            random = (uint16_t)(random + i);
        }
        const char *made = dlt_arena_printf(arena, "%s/%s-%04x", parent, stamp, (unsigned)random);
        if (made == NULL) {
            return dlt_fail_memory(diag);
        }
        if (dlt_file()->mkdir(made, 0777) == 0) {
            const char *checkpoints = in_folder(arena, made, "checkpoints");
            *path = made;
            DLT_TRY(dlt_file_sync_folder(parent, DLT_E_CHECKPOINT, diag));
            return checkpoints != NULL ? dlt_file_make_folders(checkpoints, true, DLT_E_CHECKPOINT, diag)
                                       : dlt_fail_memory(diag);
        }
        if (errno != EEXIST) {
            return dlt_fail(diag, DLT_E_CHECKPOINT, nowhere, "cannot make run directory '%s': %s", made,
                            strerror(errno));
        }
    }
    return dlt_fail(diag, DLT_E_CHECKPOINT, nowhere, "cannot find a free name for a run directory in '%s'",
                    parent);
}

/* A name that a run directory may hold before its run.json is written. */
static bool is_ours(const char *name)
{
    static const char *const ours[] = {"checkpoints",  "config.yaml",  "plan.json", "history.csv", "metrics.jsonl",
                                       "timing.jsonl", "log.txt",      "lock",      NULL};
    for (int i = 0; ours[i] != NULL; i++) {
        const size_t length = strlen(ours[i]);
        if (strncmp(name, ours[i], length) == 0 && (name[length] == '\0' || dlt_text_starts(name + length, ".tmp-"))) {
            return true;
        }
    }
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || dlt_text_starts(name, "run.json.tmp-");
}

/* A run that was stopped while it was made has no checkpoint yet: one without run.json lost that afterwards. */
static dlt_status check_checkpoints(const char *path, dlt_diag *diag)
{
    char *checkpoints = dlt_path_join(path, "checkpoints");
    if (checkpoints == NULL) {
        return dlt_fail_memory(diag);
    }
    DIR *folder = opendir(checkpoints);
    char newest[NAME_MAX + 1] = "";
    for (const struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, newest) > 0) { /* step-... is behind best, final and last */
            snprintf(newest, sizeof newest, "%s", entry->d_name);
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
    const dlt_status status =
        newest[0] == '\0' ? DLT_OK
                          : dlt_fail(diag, DLT_E_CHECKPOINT, nowhere,
                                     "'%s' holds checkpoints but no run.json, which says what they are of; nothing was changed. "
                                     "To go on: --resume %s/%s --run FOLDER, with a new folder",
                                     path, checkpoints, newest);
    dlt_free(checkpoints);
    return status;
}

bool dlt_rundir_keeps(const char *name)
{
    return is_ours(name) || dlt_text_starts(name, "run.json");
}

/* Whether a run may begin in a folder that held none: it is empty, or a run was being made there when it was stopped, or has been
 * made there since by another process. Somebody else's files are left alone. */
static dlt_status check_folder(const char *path, dlt_diag *diag)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return dlt_fail(diag, DLT_E_CHECKPOINT, nowhere, "cannot use '%s' as a run directory: %s", path, strerror(errno));
    }
    bool begun = false;
    dlt_buf other = {0};
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        begun = begun || strcmp(entry->d_name, "checkpoints") == 0;
        if (other.length == 0 && strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            dlt_buf_string(&other, entry->d_name);
        }
        if (!is_ours(entry->d_name)) {
            dlt_buf_reset(&other);
            dlt_buf_string(&other, entry->d_name);
            begun = false;
            break;
        }
    }
    closedir(folder);
    const dlt_status status =
        other.failed                                ? dlt_fail_memory(diag)
        : other.length == 0 || dlt_rundir_is(path) ? DLT_OK
        : begun                                     ? check_checkpoints(path, diag)
            : dlt_fail(diag, DLT_E_CHECKPOINT, nowhere,
                       "'%s' is no run directory and holds other files ('%s'); give --run a folder that is new or empty", path,
                       dlt_buf_text(&other));
    dlt_buf_release(&other);
    return status;
}

/* Moves a run to PATH.old-STAMP, unless somebody is at work in it. */
static dlt_status move_aside(const char *path, dlt_diag *diag)
{
    char stamp[32];
    struct stat status;
    dlt_buf old = {0}, lock_file = {0};
    dlt_run_lock *lock = NULL;
    DLT_TRY(dlt_run_lock_take(path, &lock, diag));
    dlt_clock_stamp(stamp, sizeof stamp);
    dlt_buf_printf(&old, "%s.old-%s", path, stamp);
    for (int i = 2; !old.failed && dlt_file()->lstat(old.data, &status) == 0; i++) {
        dlt_buf_reset(&old);
        dlt_buf_printf(&old, "%s.old-%s-%d", path, stamp, i);
    }
    dlt_buf_printf(&lock_file, "%s/lock", dlt_buf_text(&old));
    const dlt_status moved = old.failed || lock_file.failed ? dlt_fail_memory(diag)
                             : dlt_file()->rename(path, old.data) != 0
                                 ? dlt_fail(diag, DLT_E_CHECKPOINT, nowhere, "cannot move '%s' to '%s': %s", path, old.data,
                                            strerror(errno))
                                 : DLT_OK;
    if (moved == DLT_OK) {
        dlt_file()->unlink(lock_file.data); /* it has moved along */
        dlt_note(diag, nowhere, "the old run is now '%s'", old.data);
    }
    dlt_run_lock_release(lock);
    dlt_buf_release(&lock_file);
    dlt_buf_release(&old);
    return moved;
}

dlt_status dlt_rundir_create_at(const char *path, bool force, dlt_diag *diag)
{
    struct stat status;
    if (dlt_file()->lstat(path, &status) == 0) {
        if (!dlt_rundir_is(path)) {
            DLT_TRY(check_folder(path, diag));
        }
        if (!force && dlt_rundir_is(path)) {
            return dlt_fail(
                diag, DLT_E_CHECKPOINT, nowhere,
                "'%s' holds a run already; --force starts anew there and keeps the old one beside it", path);
        }
        if (dlt_rundir_is(path)) {
            DLT_TRY(move_aside(path, diag));
        }
    }
    char *checkpoints = dlt_path_join(path, "checkpoints"), *above = dlt_path_folder(path);
    dlt_status made = checkpoints != NULL && above != NULL
                          ? dlt_file_make_folders(checkpoints, false, DLT_E_CHECKPOINT, diag)
                          : dlt_fail_memory(diag);
    if (made == DLT_OK) { /* a run that was stopped here may have left its folder unsynced; and so is one moved aside */
        made = dlt_file_sync_folder(above, DLT_E_CHECKPOINT, diag);
    }
    dlt_free(above);
    dlt_free(checkpoints);
    return made;
}

/* ---- run.json ---- */

static const char *const origins[] = {"config", "weights", "checkpoint"};

static void put_file(dlt_json *j, const dlt_run_file *file)
{
    dlt_json_open(j, '{');
    dlt_json_key_string(j, "path", file->path);
    dlt_json_key_int(j, "bytes", file->bytes);
    dlt_json_key_string(j, "digest", file->digest);
    if (file->folder != 0) {
        dlt_json_key_int(j, "folder", file->folder);
    }
    dlt_json_close(j, '}');
}

dlt_status dlt_rundir_set_info(const char *path, const dlt_run_info *info, const char *more, dlt_diag *diag)
{
    dlt_buf text = {0};
    dlt_json j;
    dlt_json_init(&j, &text, 2);
    dlt_json_open(&j, '{');
    dlt_json_key_int(&j, "format", 1);
    dlt_json_key_string(&j, "name", info->name);
    dlt_json_key_string(&j, "state", info->state);
    dlt_json_key_int(&j, "epochs_done", info->epochs_done);
    dlt_json_key_int(&j, "epochs", info->epochs);
    dlt_json_key_string(&j, "monitor", info->monitor);
    dlt_json_key(&j, "best");
    if (isnan(info->best)) {
        dlt_json_null(&j);
    } else {
        dlt_json_double(&j, info->best);
    }
    dlt_json_key_string(&j, "digest", info->digest);
    dlt_json_key_string(&j, "created", info->created);
    dlt_json_key_string(&j, "version", info->version);
    dlt_json_key_string(&j, "device", info->device);
    dlt_json_key_int(&j, "seed", info->seed);
    dlt_json_key_string(&j, "began_with", origins[info->origin]);
    if (info->start.path != NULL) {
        dlt_json_key(&j, "start");
        put_file(&j, &info->start);
    }
    dlt_json_key_bool(&j, "changed", info->changed);
    if (info->inexact != NULL) {
        dlt_json_key_string(&j, "inexact", info->inexact);
    }
    dlt_json_key_string(&j, "data_digest", info->data_digest);
    dlt_json_key(&j, "data");
    dlt_json_open(&j, '[');
    for (size_t i = 0; i < info->data_count; i++) {
        put_file(&j, &info->data[i]);
    }
    dlt_json_close(&j, ']');
    if (info->weights != NULL) {
        dlt_json_key_string(&j, "weights", info->weights);
    }
    if (more != NULL && more[0] != '\0') {
        dlt_buf_printf(&text, ",\n  %s", more);
    }
    dlt_json_close(&j, '}');
    dlt_buf_char(&text, '\n');
    char *file = dlt_path_join(path, "run.json");
    const dlt_status status = text.failed || file == NULL
                                  ? dlt_fail_memory(diag)
                                  : dlt_file_replace(file, text.data, text.length, DLT_E_CHECKPOINT, diag);
    dlt_free(file);
    dlt_buf_release(&text);
    return status;
}

static const char *text_of(const dlt_yaml *map, const char *key)
{
    const dlt_yaml *v = dlt_yaml_get(map, key);
    return v != NULL && v->type == DLT_YAML_SCALAR ? v->text : NULL;
}

static int64_t int_of(const dlt_yaml *map, const char *key)
{
    const dlt_yaml *v = dlt_yaml_get(map, key);
    int64_t n = 0;
    return v != NULL && v->type == DLT_YAML_SCALAR && dlt_parse_i64(v->text, v->length, &n) ? n : 0;
}

static dlt_run_file file_of(const dlt_yaml *map)
{
    return (dlt_run_file){text_of(map, "path"), int_of(map, "bytes"), text_of(map, "digest"),
                          (unsigned)(int_of(map, "folder") & 7)};
}

dlt_status dlt_run_file_of(const dlt_stamp *stamp, dlt_arena *arena, dlt_run_file *file, dlt_diag *diag)
{
    char digest[DLT_SHA256_HEX], *path = dlt_path_absolute(stamp->path);
    dlt_sha256_hex(stamp->sample, digest);
    *file = (dlt_run_file){.path = path != NULL ? dlt_arena_string(arena, path) : NULL,
                           .bytes = stamp->size,
                           .digest = dlt_arena_string(arena, digest),
                           .folder = stamp->folder != NULL ? stamp->folder->counts : 0};
    dlt_free(path);
    return file->path != NULL && file->digest != NULL ? DLT_OK : dlt_fail_memory(diag);
}

dlt_status dlt_run_file_look(const char *path, unsigned folder, dlt_arena *arena, dlt_run_file *file, dlt_diag *diag)
{
    dlt_stamp stamp;
    int fd = -1;
    if (folder != 0) {
        DLT_TRY(dlt_folder_stamp_take(path, folder, arena, &stamp, diag));
        return dlt_run_file_of(&stamp, arena, file, diag);
    }
    DLT_TRY(dlt_file_open_read(path, DLT_E_DATA, nowhere, &fd, NULL, diag));
    const dlt_status status = dlt_stamp_take(fd, path, true, &stamp, diag);
    dlt_file()->close(fd);
    return status == DLT_OK ? dlt_run_file_of(&stamp, arena, file, diag) : status;
}

/* The files of the data; a list of something else has none. */
static dlt_status read_files(const dlt_yaml *list, dlt_arena *arena, dlt_run_info *info, dlt_diag *diag)
{
    if (list == NULL || list->type != DLT_YAML_LIST || list->count == 0) {
        return DLT_OK;
    }
    dlt_run_file *files = dlt_arena_alloc(arena, list->count, sizeof *files);
    if (files == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < list->count; i++) {
        files[i] = file_of(list->values[i]);
        info->data_count += files[i].path != NULL && files[i].digest != NULL && info->data_count == i;
    }
    info->data = files;
    return DLT_OK;
}

dlt_status dlt_rundir_info(const char *path, dlt_arena *arena, dlt_run_info *info, dlt_diag *diag)
{
    dlt_yaml *root = NULL;
    *info = (dlt_run_info){.best = (double)NAN};
    const char *file = in_folder(arena, path, "run.json");
    char *text = NULL;
    size_t bytes = 0;
    if (file == NULL) {
        return dlt_fail_memory(diag);
    }
    DLT_TRY(dlt_file_load(file, MOST_INFO_BYTES, DLT_E_CHECKPOINT, nowhere, &text, &bytes, diag));
    dlt_status status = dlt_yaml_parse(arena, file, text, bytes, &root, diag);
    dlt_free(text);
    if (status != DLT_OK) {
        return status == DLT_E_MEMORY ? status : DLT_E_CHECKPOINT;
    }
    *info = (dlt_run_info){.path = dlt_arena_string(arena, path),
                           .name = text_of(root, "name"),
                           .digest = text_of(root, "digest"),
                           .created = text_of(root, "created"),
                           .version = text_of(root, "version"),
                           .device = text_of(root, "device"),
                           .state = text_of(root, "state"),
                           .monitor = text_of(root, "monitor"),
                           .epochs_done = int_of(root, "epochs_done"),
                           .epochs = int_of(root, "epochs"),
                           .best = (double)NAN,
                           .seed = int_of(root, "seed"),
                           .weights = text_of(root, "weights"),
                           .inexact = text_of(root, "inexact"),
                           .data_digest = text_of(root, "data_digest"),
                           .start = file_of(dlt_yaml_get(root, "start"))};
    const char *changed = text_of(root, "changed"), *origin = text_of(root, "began_with");
    info->changed = changed != NULL && strcmp(changed, "true") == 0;
    for (size_t i = 0; i < DLT_COUNT(origins) && origin != NULL; i++) {
        info->origin = strcmp(origin, origins[i]) == 0 ? (dlt_run_origin)i : info->origin;
    }
    DLT_TRY(read_files(dlt_yaml_get(root, "data"), arena, info, diag));
    const char *best = text_of(root, "best");
    double value = 0;
    if (best != NULL && dlt_parse_double(best, strlen(best), &value)) {
        info->best = value;
    }
    if (info->name == NULL || info->digest == NULL || info->state == NULL || info->created == NULL) {
        return dlt_fail(diag, DLT_E_CHECKPOINT, nowhere,
                        "'%s' is not what dltrain writes: it lacks name, digest, state or created", file);
    }
    return DLT_OK;
}

void dlt_rundir_clean(const char *path)
{
    static const char *const replaced[] = {"run.json.tmp-", "config.yaml.tmp-", "plan.json.tmp-"};
    DIR *names = opendir(path);
    const struct dirent *entry;
    while (names != NULL && (entry = readdir(names)) != NULL) { /* NOLINT(concurrency-mt-unsafe): a stream of our own */
        for (size_t i = 0; i < DLT_COUNT(replaced); i++) {
            const size_t length = strlen(replaced[i]);
            const char *number = entry->d_name + length;
            if (strncmp(entry->d_name, replaced[i], length) == 0 && number[0] != '\0' && strspn(number, "0123456789") == strlen(number)) {
                char *file = dlt_path_join(path, entry->d_name);
                if (file != NULL) {
                    (void)dlt_file()->unlink(file);
                }
                dlt_free(file);
            }
        }
    }
    if (names != NULL) {
        closedir(names);
    }
}

/* ---- finding ---- */

typedef dlt_status visit_run(void *context, const dlt_run_info *info, dlt_diag *diag);

/* Calls visit for each readable run in a folder of runs, in no order. */
static dlt_status each_run(const char *parent, dlt_arena *arena, visit_run *visit, void *context,
                           dlt_diag *diag)
{
    DIR *folder = opendir(parent);
    dlt_status status = DLT_OK;
    if (folder == NULL) {
        return DLT_OK; /* none yet */
    }
    for (const struct dirent *entry; status == DLT_OK && (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        const char *path = in_folder(arena, parent, entry->d_name);
        dlt_diag *unheard = dlt_diag_create(); /* a broken folder is no reason to stop */
        dlt_run_info info;
        const dlt_status read = path == NULL || unheard == NULL ? DLT_E_MEMORY
                                : dlt_rundir_is(path)           ? dlt_rundir_info(path, arena, &info, unheard)
                                                                : DLT_E_CHECKPOINT;
        if (read == DLT_E_MEMORY) {
            status = dlt_fail_memory(diag);
        } else if (read == DLT_OK) {
            status = visit(context, &info, diag);
        }
        dlt_diag_destroy(unheard);
    }
    closedir(folder);
    return status;
}

/* Later of two runs: by creation, then by name, which begins with the time as well. */
static bool is_newer(const dlt_run_info *a, const dlt_run_info *b)
{
    if (b->path == NULL) {
        return true;
    }
    const int by_time = strcmp(a->created, b->created);
    return by_time != 0 ? by_time > 0 : strcmp(a->path, b->path) > 0;
}

typedef struct search {
    const char *digest;
    dlt_run_info same, newest, finished;
} search;

static dlt_status look_at(void *context, const dlt_run_info *info, dlt_diag *diag)
{
    search *s = context;
    (void)diag;
    if (s->digest != NULL && strcmp(info->digest, s->digest) == 0 && is_newer(info, &s->same)) {
        s->same = *info;
    }
    if (is_newer(info, &s->newest)) {
        s->newest = *info;
    }
    if (strcmp(info->state, "done") == 0 && is_newer(info, &s->finished)) {
        s->finished = *info;
    }
    return DLT_OK;
}

/* The folder of all runs of a name; NULL when memory is refused. */
static const char *runs_of(const char *folder, const char *name, dlt_arena *arena)
{
    const bool here = strcmp(folder, ".") == 0;
    return dlt_arena_printf(arena, "%s%sruns/%s", here ? "" : folder, here ? "" : "/", name);
}

typedef struct filtered_search {
    dlt_run_filter *accepts;
    void *context;
    dlt_run_info found;
} filtered_search;

static dlt_status look_at_accepted(void *context, const dlt_run_info *info, dlt_diag *diag)
{
    filtered_search *s = context;
    (void)diag;
    if (is_newer(info, &s->found) && s->accepts(s->context, info)) {
        s->found = *info;
    }
    return DLT_OK;
}

dlt_status dlt_rundir_find_where(const char *folder, const char *name, dlt_run_filter *accepts, void *context,
                                 dlt_arena *arena, dlt_run_info *found, dlt_diag *diag)
{
    filtered_search s = {.accepts = accepts, .context = context};
    const char *parent = runs_of(folder, name, arena);
    *found = (dlt_run_info){0};
    if (parent == NULL) {
        return dlt_fail_memory(diag);
    }
    DLT_TRY(each_run(parent, arena, look_at_accepted, &s, diag));
    *found = s.found;
    return DLT_OK;
}

dlt_status dlt_rundir_find(const char *folder, const char *name, const char *digest, dlt_arena *arena,
                           dlt_run_info *same, dlt_run_info *newest, dlt_diag *diag)
{
    search s = {.digest = digest};
    const char *parent = runs_of(folder, name, arena);
    *same = *newest = (dlt_run_info){0};
    if (parent == NULL) {
        return dlt_fail_memory(diag);
    }
    DLT_TRY(each_run(parent, arena, look_at, &s, diag));
    *same = s.same;
    *newest = s.newest;
    return DLT_OK;
}

dlt_status dlt_rundir_resolve(const char *given, dlt_arena *arena, const char **path, dlt_diag *diag)
{
    *path = NULL;
    if (dlt_rundir_is(given)) {
        *path = dlt_arena_string(arena, given);
        return *path != NULL ? DLT_OK : dlt_fail_memory(diag);
    }
    search s = {0};
    DLT_TRY(each_run(given, arena, look_at, &s, diag));
    *path = s.finished.path != NULL ? s.finished.path : s.newest.path;
    if (*path == NULL) {
        struct stat status;
        const bool there = dlt_file()->stat(given, &status) == 0;
        return dlt_fail(diag, DLT_E_CHECKPOINT, nowhere,
                        there ? "'%s' is no run directory and holds none" : "there is no '%s'", given);
    }
    return DLT_OK;
}

const char *dlt_shown_path(const char *path)
{
    char here[PATH_MAX];
    const size_t length = getcwd(here, sizeof here) != NULL ? strlen(here) : 0;
    const bool below =
        length > 1 && strncmp(path, here, length) == 0 && path[length] == '/' && path[length + 1] != '\0';
    path = below ? path + length + 1 : path;
    while (strncmp(path, "./", 2) == 0 && path[2] != '\0') {
        path += 2;
    }
    return path;
}

const char *dlt_final_weights_of(const char *run, dlt_arena *arena)
{
    return dlt_arena_printf(arena, "%s/checkpoints/final.weights.h5", run);
}

/* ---- logs ---- */

struct dlt_run_log {
    char *path;
    int fd;
    int64_t bytes;
};

dlt_status dlt_run_log_open(const char *path, const char *file, int64_t keep, dlt_run_log **out,
                            dlt_diag *diag)
{
    struct stat status;
    *out = NULL;
    dlt_run_log *log = dlt_alloc_zeroed(1, sizeof *log);
    if (log == NULL) {
        return dlt_fail_memory(diag);
    }
    log->path = dlt_path_join(path, file);
    log->fd =
        log->path != NULL ? dlt_file()->open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    if (log->fd < 0 || dlt_file()->fstat(log->fd, &status) != 0 ||
        (keep >= 0 && status.st_size > keep && dlt_file()->ftruncate(log->fd, (off_t)keep) != 0)) {
        const dlt_status failed = log->path != NULL
                                      ? dlt_fail(diag, DLT_E_CHECKPOINT, nowhere, "cannot open '%s': %s",
                                                 log->path, strerror(errno))
                                      : dlt_fail_memory(diag);
        dlt_run_log_close(log);
        return failed;
    }
    log->bytes = keep >= 0 && status.st_size > keep ? keep : (int64_t)status.st_size;
    if (log->bytes < keep) {
        dlt_warn(diag, nowhere, "'%s' is %lld bytes shorter than when the checkpoint was saved: rows are missing", log->path,
                 (long long)(keep - log->bytes));
    }
    *out = log;
    return DLT_OK;
}

dlt_status dlt_run_log_append(dlt_run_log *log, const char *text, size_t bytes, dlt_diag *diag)
{
    DLT_TRY(dlt_file_write(log->fd, log->path, text, bytes, DLT_E_CHECKPOINT, diag));
    log->bytes += (int64_t)bytes;
    return DLT_OK;
}

const char *dlt_run_log_path(const dlt_run_log *log)
{
    return log->path;
}

int64_t dlt_run_log_bytes(const dlt_run_log *log)
{
    return log->bytes;
}

void dlt_run_log_close(dlt_run_log *log)
{
    if (log != NULL) {
        if (log->fd >= 0) {
            dlt_file()->close(log->fd);
        }
        dlt_free(log->path);
        dlt_free(log);
    }
}
