/* trainer/fit.c: the training loop. */
#include "trainer/fit.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/json.h"
#include "io/file.h"
#include "schema/dump.h"
#include "trainer/blame.h"
#include "trainer/model.h"
#include "trainer/optimizer.h"
#include "trainer/plan_report.h"
#include "trainer/planted.h"
#include "trainer/signals.h"
#include "trainer/tune.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_LOGS = 256, MAX_ROLLBACKS = 3, MAX_WANTED = 64, MOST_TOLD_WHY = 3 };
static const dlt_pos nowhere = {0};

/* A file that a callback asked for. */
typedef struct wanted_save {
    const char *path; /* NULL: among the run's own; lives in `scratch` */
    bool weights_only;
} wanted_save;

/* Everything of one call of dlt_fit. */
typedef struct fit {
    const dlt_run_spec *run;
    const dlt_spec *spec;
    const dlt_catalogue *catalogue;
    const dlt_fit_options *options;
    dlt_fit_result *result;
    dlt_diag *diag;
    dlt_arena *arena;

    const char *path; /* run directory, NULL: none */
    bool new_run;
    int64_t named_step; /* in the name of the checkpoint that the run goes on from; -1: not from the run's folder */
    double first_step_s; /* from the start of the program to the end of its first step; 0: not made yet */
    bool first_step_told;
    dlt_run_info info;
    dlt_run_lock *lock;
    bool lock_lost;
    struct stat info_seen; /* of run.json when it was read; zeros: there was none */
    dlt_checkpoint *checkpoint; /* to go on from */
    dlt_loaded_meta loaded;
    bool resuming;
    const dlt_run_spec
        *before; /* what the checkpoint was trained with, where that was changed since; else NULL */
    const dlt_run_spec *recorded; /* what the checkpoint was trained with; NULL: not known */
    bool config_unknown; /* the checkpoint's cannot be read */
    const dlt_spec_change *changes;
    size_t change_count;
    bool no_memory;        /* was refused while runs were looked through */
    dlt_status search;     /* what else failed meanwhile */
    bool changes_accepted; /* --allow-change took over a run of another digest */

    dlt_session *session;
    dlt_engine *engine;
    dlt_saver *saver;
    dlt_callback_set *callbacks;
    dlt_feed feed;
    dlt_progress progress;
    const char *config, *identity;
    char data_digest[DLT_DATA_DIGEST];
    dlt_run_log *history, *metrics, *timing, *log;
    const char **columns; /* of a history.csv that goes on, after the epoch; NULL: its header is still to be written */
    int column_count;

    dlt_log_entry train_logs[MAX_LOGS], all_logs[MAX_LOGS];
    int train_count;
    const char *monitor;
    bool larger_is_better;
    int64_t last_save_ns, last_values_ns;
    bool told_validation; /* that a validation is not finite was told */
    int told_why; /* times that a batch which was not finite was explained */
    dlt_arena *scratch; /* of the event that is under way */
    wanted_save wanted[MAX_WANTED];
    int wanted_count;
} fit;

/* Tells what was noted since `from` and forgets it; errors stay. */
static void tell_notes(fit *f, size_t from)
{
    if (f->options->events.message == NULL) {
        return;
    }
    for (size_t i = from; i < dlt_diag_size(f->diag); i++) {
        const dlt_message *m = dlt_diag_at(f->diag, i);
        if (m->severity != DLT_ERROR) {
            f->options->events.message(f->options->events.context, m->severity, dlt_diag_text(f->diag, i));
        }
    }
    if (dlt_diag_count(f->diag, DLT_ERROR) == 0) {
        dlt_diag_reset(f->diag);
    }
}

static void say(fit *f, dlt_severity severity, const char *text)
{
    if (f->options->events.message != NULL) {
        f->options->events.message(f->options->events.context, severity, text);
    }
}

/* ---- which run ---- */

static const char *checkpoints_of(fit *f, const char *run)
{
    return dlt_arena_printf(f->arena, "%s/checkpoints", run);
}

/* Opens the newest whole checkpoint of a run directory; none is no error. */
static dlt_status open_newest(fit *f, const char *run)
{
    dlt_checkpoint_folder *folder = NULL;
    DLT_TRY(dlt_checkpoint_folder_open(checkpoints_of(f, run), &folder, f->diag));
    const dlt_status status = dlt_checkpoint_newest(folder, &f->checkpoint, &f->named_step, f->diag);
    dlt_checkpoint_folder_close(folder);
    return status;
}

/* The config of a run directory as a spec of its own, for comparing: *before, NULL if it cannot be read. Only memory can fail. */
static dlt_status config_of_run(fit *f, const char *run, const dlt_run_spec **before)
{
    dlt_diag *unheard = dlt_diag_create();
    const char *file = dlt_arena_printf(f->arena, "%s/config.yaml", run);
    *before = NULL;
    const dlt_status status = unheard != NULL && file != NULL ? dlt_spec_load(f->arena, f->catalogue, file,
                                                                              &(dlt_load_options){0}, before, unheard)
                                                              : DLT_E_MEMORY;
    dlt_diag_destroy(unheard);
    return status == DLT_E_MEMORY ? dlt_fail_memory(f->diag) : DLT_OK;
}

/* The config that a checkpoint was trained with: *before, NULL if it cannot be read. Only memory can fail. */
static dlt_status config_of_checkpoint(fit *f, dlt_checkpoint *c, const dlt_run_spec **before)
{
    char *text = NULL;
    size_t bytes = 0;
    dlt_diag *unheard = dlt_diag_create();
    *before = NULL;
    dlt_status status = unheard != NULL ? dlt_checkpoint_read_text(c, "config", &text, &bytes, unheard) : DLT_E_MEMORY;
    if (status == DLT_OK) {
        status = dlt_spec_parse(f->arena, f->catalogue, "checkpoint", text, bytes,
                                &(dlt_load_options){.stored = true}, before, unheard);
    }
    dlt_free(text);
    dlt_diag_destroy(unheard);
    return status == DLT_E_MEMORY ? dlt_fail_memory(f->diag) : DLT_OK;
}

/* Differences to a config: *changes, NULL if that is NULL. Only memory can fail. */
static dlt_status changes_since(fit *f, const dlt_run_spec *before, const dlt_spec_change **changes, size_t *count)
{
    *count = 0;
    *changes = before != NULL ? dlt_spec_compare(f->arena, before, f->run, false, count) : NULL;
    return before != NULL && *changes == NULL ? dlt_fail_memory(f->diag) : DLT_OK;
}

static dlt_status changes_since_run(fit *f, const char *run, const dlt_spec_change **changes, size_t *count)
{
    const dlt_run_spec *before = NULL;
    DLT_TRY(config_of_run(f, run, &before));
    return changes_since(f, before, changes, count);
}

/* Leaves out where data lie and callbacks write: a checkpoint may go on on another machine, and what the data are is compared by
 * their digest. */
static dlt_status without_moved_files(fit *f, const dlt_spec_change **changes, size_t *count)
{
    dlt_spec_change *kept = dlt_arena_alloc(f->arena, *count + 1, sizeof *kept);
    size_t n = 0;
    for (size_t i = 0; kept != NULL && i < *count; i++) {
        const dlt_spec_change *c = &(*changes)[i];
        const bool moves = dlt_text_starts(c->path, "data.") || dlt_text_starts(c->path, "fit.callbacks");
        if (!moves || (c->flags & DLT_FIELD_FILES) == 0) {
            kept[n++] = *c;
        }
    }
    *changes = kept;
    *count = n;
    return kept != NULL ? DLT_OK : dlt_fail_memory(f->diag);
}

/* True if there are changes, and all of them may be made on --allow-change. */
static bool only_changeable(const dlt_spec_change *changes, size_t count)
{
    for (size_t i = 0; i < count && changes != NULL; i++) {
        if ((changes[i].flags & DLT_FIELD_CHANGEABLE) == 0) {
            return false;
        }
    }
    return changes != NULL && count > 0;
}

/* One line each; DLT_ERROR: why something is refused, which is said however little else is. */
static void tell_changes(fit *f, dlt_severity severity, const dlt_spec_change *changes, size_t count)
{
    for (size_t i = 0; i < count && changes != NULL; i++) {
        const char *text =
            changes[i].pos.line > 0
                ? dlt_arena_printf(f->arena, "  %-34s %s -> %s   %s:%u", changes[i].path, changes[i].old_text,
                                   changes[i].new_text, changes[i].pos.file, changes[i].pos.line)
                : dlt_arena_printf(f->arena, "  %-34s %s -> %s", changes[i].path, changes[i].old_text,
                                   changes[i].new_text);
        if (text != NULL) {
            say(f, severity, text);
        }
    }
}

static bool is_complete(const fit *f, const dlt_run_info *info)
{
    return strcmp(info->state, "done") == 0 && info->epochs >= f->spec->fit.epochs;
}

/* The same for a run that --allow-change takes over: one that a callback ended early has epochs left. */
static bool has_epochs_left(const fit *f, const dlt_run_info *info)
{
    return strcmp(info->state, "done") != 0 || info->epochs_done < f->spec->fit.epochs;
}

/* A run that --allow-change can go on with. */
static bool can_be_changed(void *context, const dlt_run_info *info)
{
    fit *f = context;
    size_t count = 0;
    const dlt_spec_change *changes = NULL;
    if (changes_since_run(f, info->path, &changes, &count) != DLT_OK) {
        f->no_memory = true;
        return false;
    }
    return only_changeable(changes, count) && has_epochs_left(f, info);
}

/* A path as a command line has it. */
static const char *shell_word(fit *f, const char *path)
{
    dlt_buf text = {0};
    dlt_buf_shell(&text, path);
    const char *word = text.failed ? NULL : dlt_arena_string(f->arena, dlt_buf_text(&text));
    dlt_buf_release(&text);
    return word != NULL ? word : path;
}

/* Reads run.json, and remembers which one it was. */
static dlt_status read_info(fit *f, const char *path, dlt_run_info *info)
{
    const char *file = dlt_arena_printf(f->arena, "%s/run.json", path);
    if (file == NULL) {
        return dlt_fail_memory(f->diag);
    }
    if (dlt_file()->stat(file, &f->info_seen) != 0) {
        return dlt_fail(f->diag, DLT_E_CHECKPOINT, nowhere, "cannot read '%s': %s", file, strerror(errno));
    }
    return dlt_rundir_info(path, f->arena, info, f->diag);
}

/* Between reading what a run holds and taking its lock another process may have worked there. It has written run.json anew. */
static dlt_status check_unchanged(fit *f)
{
    struct stat now = {0};
    const char *file = dlt_arena_printf(f->arena, "%s/run.json", f->path);
    if (file == NULL) {
        return dlt_fail_memory(f->diag);
    }
    const bool there = dlt_file()->stat(file, &now) == 0;
    const struct stat *then = &f->info_seen;
    const bool same = f->new_run ? !there
                                 : there && now.st_ino == then->st_ino && now.st_dev == then->st_dev &&
                                       now.st_mtim.tv_sec == then->st_mtim.tv_sec &&
                                       now.st_mtim.tv_nsec == then->st_mtim.tv_nsec;
    return same ? DLT_OK
                : dlt_fail(f->diag, DLT_E_CHECKPOINT, nowhere,
                           "another process worked in '%s' just now; run the same command again", f->path);
}

/* The file that --weights or --resume names; of a run its final weights. NULL: neither is given (*status DLT_OK), or no memory. */
static const char *start_of(fit *f, dlt_status *status)
{
    const dlt_fit_options *o = f->options;
    const char *start = o->resume == DLT_RESUME_FILE ? o->resume_path : o->weights;
    *status = DLT_OK;
    if (start != NULL && dlt_rundir_is(start)) {
        start = dlt_final_weights_of(start, f->arena);
        *status = start != NULL ? DLT_OK : dlt_fail_memory(f->diag);
    }
    return start;
}

/* What a new run begins with, for run.json. */
static dlt_status note_origin(fit *f, dlt_run_info *info)
{
    const dlt_fit_options *o = f->options;
    dlt_status status = DLT_OK;
    const char *start = start_of(f, &status);
    info->origin = o->resume == DLT_RESUME_FILE ? DLT_RUN_FROM_CHECKPOINT
                   : o->weights != NULL         ? DLT_RUN_FROM_WEIGHTS
                                                : DLT_RUN_FROM_CONFIG;
    info->start = (dlt_run_file){0};
    info->inexact = NULL;
    return start != NULL ? dlt_run_file_look(start, 0, f->arena, &info->start, f->diag) : status;
}

static bool same_text(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* Whether a run began with what --weights or --resume names now: then this command was given before, and the run goes on. Without either any
 * run goes on; so does one whose file of then is gone. */
static dlt_status began_so(fit *f, const dlt_run_info *info, bool *so)
{
    dlt_run_info asked = {0};
    struct stat seen;
    dlt_status status = DLT_OK;
    const char *start = start_of(f, &status);
    *so = true;
    if (start == NULL) {
        return status;
    }
    char *absolute = dlt_path_absolute(start);
    if (absolute == NULL) {
        return dlt_fail_memory(f->diag);
    }
    const size_t length = strlen(absolute); /* of the file, or of the run that it was in */
    const bool gone = dlt_file()->stat(absolute, &seen) != 0 && info->start.path != NULL && strncmp(absolute, info->start.path, length) == 0 &&
                      (info->start.path[length] == '\0' || info->start.path[length] == '/');
    dlt_free(absolute);
    if (gone) {
        return DLT_OK;
    }
    DLT_TRY(note_origin(f, &asked));
    *so = asked.origin == info->origin && same_text(asked.start.path, info->start.path) &&
          same_text(asked.start.digest, info->start.digest);
    return DLT_OK;
}

/* A run of this config that began with what is asked for. */
static bool is_wanted(void *context, const dlt_run_info *info)
{
    fit *f = context;
    bool so = false;
    if (strcmp(info->digest, f->run->digest) != 0) {
        return false;
    }
    if (f->search == DLT_OK) {
        f->search = began_so(f, info, &so);
    }
    return f->search == DLT_OK && so;
}

/* Goes on with, or finds done, the run in a directory that the user or the search named. */
static dlt_status use_run(fit *f, const char *path, const dlt_run_info *info)
{
    const dlt_fit_options *o = f->options;
    bool so = true;
    if (o->weights != NULL || (o->resume == DLT_RESUME_FILE && !dlt_rundir_is(o->resume_path))) {
        DLT_TRY(began_so(f, info, &so));
    }
    if (!so) {
        return dlt_fail(f->diag, DLT_E_CHECKPOINT, nowhere,
                        "'%s' did not begin with '%s' and would go on with its own checkpoint; nothing was changed. To go on with it: without %s   "
                        "to start anew there: --force",
                        path, o->weights != NULL ? o->weights : o->resume_path, o->weights != NULL ? "--weights" : "--resume");
    }
    f->path = path;
    f->info = *info;
    bool same = strcmp(info->digest, f->run->digest) == 0;
    size_t count = 0;
    const dlt_spec_change *changes = NULL;
    if (!same) {
        DLT_TRY(changes_since_run(f, path, &changes, &count));
        if (changes != NULL) {
            DLT_TRY(without_moved_files(f, &changes, &count));
            same = count == 0;
        }
    }
    if (same) {
        if (is_complete(f, info)) {
            f->result->outcome = DLT_FIT_DONE_BEFORE;
            return DLT_OK;
        }
        return open_newest(f, path);
    }
    const bool changeable = only_changeable(changes, count);
    if (!changeable || !f->options->allow_change || !has_epochs_left(f, info)) {
        tell_changes(f, DLT_ERROR, changes, count);
        if (changeable && f->options->allow_change) {
            return dlt_fail(
                f->diag, DLT_E_CHECKPOINT, nowhere,
                "'%s' has done all of its %lld epochs, so no step is left for what was changed (above); "
                "nothing was changed. To train on: -o fit.epochs=N   to start anew there: --force",
                path, (long long)info->epochs_done);
        }
        return dlt_fail(
            f->diag, DLT_E_CHECKPOINT, nowhere,
            "'%s' was trained with another config (above), so it cannot be resumed; nothing was changed. "
            "%sTo take over what fits: --weights %s   to start anew there: --force",
            path, changeable ? "To go on with the new one: --allow-change   " : "", shell_word(f, path));
    }
    f->changes_accepted = true;
    DLT_TRY(open_newest(f, path));
    if (f->checkpoint == NULL) {
        say(f, DLT_NOTE, "nothing was saved yet; it begins anew with what was changed:");
        tell_changes(f, DLT_NOTE, changes, count);
    }
    return DLT_OK;
}

static dlt_status find_run(fit *f)
{
    const dlt_fit_options *o = f->options;
    dlt_run_info same, newest;
    if (o->no_run) {
        return DLT_OK;
    }
    if (o->resume == DLT_RESUME_FILE) {
        const char *there = dlt_rundir_is(o->resume_path)                            ? o->resume_path
                            : o->run != NULL && !o->force && dlt_rundir_is(o->run) ? o->run
                                                                                   : NULL;
        if (there != NULL) { /* the second: this command was given before */
            DLT_TRY(read_info(f, there, &same));
            return use_run(f, there, &same);
        }
        f->path = o->run;
        f->new_run = true;
        f->path = o->run != NULL ? dlt_arena_string(f->arena, o->run) : NULL;
        if (o->run != NULL && f->path == NULL) {
            return dlt_fail_memory(f->diag);
        }
        return dlt_checkpoint_open(o->resume_path, DLT_CHECKPOINT_OURS, &f->checkpoint, f->diag);
    }
    if (o->run != NULL) {
        f->path = dlt_arena_string(f->arena, o->run);
        f->new_run = o->force || !dlt_rundir_is(o->run) || o->resume == DLT_RESUME_NEVER;
        if (f->new_run) {
            return f->path != NULL ? DLT_OK : dlt_fail_memory(f->diag);
        }
        DLT_TRY(read_info(f, o->run, &same));
        return use_run(f, f->path, &same);
    }
    f->new_run = true;
    if (o->resume == DLT_RESUME_NEVER || o->force) {
        return DLT_OK;
    }
    DLT_TRY(
        dlt_rundir_find(f->run->folder, f->spec->name, f->run->digest, f->arena, &same, &newest, f->diag));
    if (same.path != NULL && o->weights != NULL) {
        const char *last = same.path;
        DLT_TRY(dlt_rundir_find_where(f->run->folder, f->spec->name, is_wanted, f, f->arena, &same, f->diag));
        DLT_TRY(f->search);
        if (same.path == NULL) {
            const char *text =
                dlt_arena_printf(f->arena, "new run: the last one (%s) did not begin with '%s'", dlt_shown_path(last), o->weights);
            say(f, DLT_NOTE, text != NULL ? text : "new run");
            return DLT_OK;
        }
    }
    if (same.path != NULL) {
        f->new_run = false;
        DLT_TRY(read_info(f, same.path, &same));
        return use_run(f, same.path, &same);
    }
    if (newest.path != NULL && o->allow_change) {
        dlt_run_info found;
        DLT_TRY(dlt_rundir_find_where(f->run->folder, f->spec->name, can_be_changed, f, f->arena, &found,
                                      f->diag));
        if (f->no_memory) {
            return DLT_E_MEMORY;
        }
        if (found.path != NULL) {
            f->new_run = false;
            DLT_TRY(read_info(f, found.path, &found));
            return use_run(f, found.path, &found);
        }
    }
    if (newest.path != NULL) {
        size_t count = 0;
        const char *text = dlt_arena_printf(f->arena, "new run: differs from the last one (%s, %s) in",
                                            dlt_shown_path(newest.path), newest.state);
        const dlt_spec_change *changes = NULL;
        DLT_TRY(changes_since_run(f, newest.path, &changes, &count));
        say(f, DLT_NOTE, text != NULL ? text : "new run");
        tell_changes(f, DLT_NOTE, changes, count);
    }
    return DLT_OK;
}

/* ---- the run directory ---- */

static dlt_status write_file(fit *f, const char *file, const dlt_buf *text)
{
    char *path = dlt_path_join(f->path, file);
    const dlt_status status =
        path == NULL || text->failed
            ? dlt_fail_memory(f->diag)
            : dlt_file_replace(path, dlt_buf_text(text), text->length, DLT_E_CHECKPOINT, f->diag);
    dlt_free(path);
    return status;
}

static dlt_status write_info(fit *f, const char *state)
{
    dlt_buf more = {0};
    if (f->path == NULL) {
        return DLT_OK;
    }
    f->info.name = f->spec->name;
    f->info.digest = f->run->digest;
    f->info.version = DLT_VERSION;
    f->info.device = f->identity;
    f->info.state = state;
    f->info.epochs = f->spec->fit.epochs;
    f->info.epochs_done = f->progress.epoch;
    f->info.best = f->progress.best;
    f->info.monitor = f->monitor;
    f->info.seed = f->spec->seed;
    f->info.data_digest = f->data_digest;
    f->info.weights = f->result->weights_hash[0] != '\0' ? f->result->weights_hash : NULL;
    f->info.changed = f->info.changed || f->before != NULL;
    if (f->options->argv_json != NULL) {
        dlt_buf_printf(&more, "\"argv\": %s", f->options->argv_json);
    }
    const dlt_status status =
        more.failed ? dlt_fail_memory(f->diag) : dlt_rundir_set_info(f->path, &f->info, more.data, f->diag);
    dlt_buf_release(&more);
    return status;
}

/* Cuts the first line of a CSV file (RFC 4180) into its fields and keeps them but for the first. */
static dlt_status cut_header(fit *f, const char *text)
{
    char *at = dlt_arena_copy(f->arena, text, strcspn(text, "\r\n"));
    size_t commas = 0;
    for (const char *c = at; c != NULL && *c != '\0'; c++) {
        commas += *c == ',';
    }
    f->columns = dlt_arena_alloc(f->arena, commas + 1, sizeof *f->columns);
    if (at == NULL || f->columns == NULL) {
        return dlt_fail_memory(f->diag);
    }
    bool more = true;
    for (int field = 0; more; field++) {
        const char *name = at;
        char *to = at;
        bool quoted = false;
        for (; *at != '\0' && (quoted || *at != ','); at++) {
            if (*at != '"') {
                *to++ = *at;
            } else if (quoted && at[1] == '"') {
                *to++ = *++at;
            } else {
                quoted = !quoted;
            }
        }
        more = *at++ == ',';
        *to = '\0';
        if (field > 0) {
            f->columns[f->column_count++] = name;
        }
    }
    return DLT_OK;
}

/* The columns of a history.csv that goes on: they stay, though changed callbacks may log more or less. */
static dlt_status read_columns(fit *f)
{
    char *path = dlt_path_join(f->path, "history.csv"), *text = NULL;
    size_t bytes = 0;
    dlt_status status = path == NULL ? dlt_fail_memory(f->diag)
                                     : dlt_file_load(path, (size_t)f->progress.history_bytes,
                                                     DLT_E_CHECKPOINT, nowhere, &text, &bytes, f->diag);
    if (status == DLT_OK && bytes == 0) {
        f->progress.history_bytes = 0; /* it was deleted, which was warned of: it begins anew, with its header */
    } else if (status == DLT_OK) {
        status = cut_header(f, text);
    }
    dlt_free(text);
    dlt_free(path);
    return status;
}

/* The files of a set that is not a part of train. */
static const dlt_stamp *files_of(const fit *f, int set, size_t *count)
{
    const dlt_view *view = dlt_datasets_view(f->session->data, (dlt_set)set);
    *count = 0;
    return view != NULL && f->session->signature->sets[set].digest[0] != '\0'
               ? dlt_dataset_stamps(view->dataset, count)
               : NULL;
}

/* The files of all sets, for run.json. */
static dlt_status list_data(fit *f)
{
    size_t count = 0, total = 0;
    for (int set = 0; set < DLT_SET_COUNT; set++) {
        (void)files_of(f, set, &count);
        total += count;
    }
    dlt_run_file *files = dlt_arena_alloc(f->arena, total + 1, sizeof *files);
    f->info.data = files;
    f->info.data_count = 0;
    for (int set = 0; set < DLT_SET_COUNT && files != NULL; set++) {
        const dlt_stamp *stamps = files_of(f, set, &count);
        for (size_t i = 0; i < count; i++) {
            DLT_TRY(dlt_run_file_of(&stamps[i], f->arena, &files[f->info.data_count++], f->diag));
        }
    }
    return files != NULL ? DLT_OK : dlt_fail_memory(f->diag);
}

/* Makes or enters the run directory: lock, config, logs cut back to where the checkpoint was. */
static dlt_status enter_run(fit *f)
{
    if (f->options->no_run) {
        return DLT_OK;
    }
    if (f->new_run) {
        if (f->options->run != NULL) {
            DLT_TRY(dlt_rundir_create_at(f->path, f->options->force || f->options->resume == DLT_RESUME_NEVER,
                                         f->diag));
        } else {
            DLT_TRY(dlt_rundir_create(f->run->folder, f->spec->name, f->arena, &f->path, f->diag));
        }
        char *created = dlt_arena_alloc(f->arena, 32, 1);
        if (created == NULL) {
            return dlt_fail_memory(f->diag);
        }
        dlt_clock_utc(created, 32);
        f->info.created = created;
    }
    if (f->new_run || !f->resuming) {
        DLT_TRY(note_origin(f, &f->info));
    }
    DLT_TRY(list_data(f));
    DLT_TRY(dlt_run_lock_take(f->path, &f->lock, f->diag));
    DLT_TRY(check_unchanged(f));
    dlt_rundir_clean(f->path);
    dlt_buf text = {0};
    dlt_spec_dump(f->run, DLT_DUMP_DEFAULTS, &text);
    dlt_status status = write_file(f, "config.yaml", &text);
    dlt_buf_reset(&text);
    if (status == DLT_OK) {
        dlt_plan_report_json(f->engine, &text);
        status = write_file(f, "plan.json", &text);
    }
    dlt_buf_release(&text);
    DLT_TRY(status);
    const bool fresh = !f->resuming || f->new_run;
    DLT_TRY(dlt_run_log_open(f->path, "history.csv", fresh ? 0 : f->progress.history_bytes, &f->history,
                             f->diag));
    DLT_TRY(dlt_run_log_open(f->path, "metrics.jsonl", fresh ? 0 : f->progress.metrics_bytes, &f->metrics,
                             f->diag));
    DLT_TRY(dlt_run_log_open(f->path, "timing.jsonl", -1, &f->timing, f->diag));
    DLT_TRY(dlt_run_log_open(f->path, "log.txt", -1, &f->log, f->diag));
    if (fresh) {
        f->progress.history_bytes = f->progress.metrics_bytes = 0;
    }
    if (f->progress.history_bytes > 0) {
        DLT_TRY(read_columns(f));
    }
    return write_info(f, "running");
}

/* ---- what was changed on --allow-change ---- */

/* The checkpoint knows best what it was trained with: a run that was taken over and killed before it saved
 * has the new config already, and the old checkpoint still. */
static dlt_status find_changes(fit *f)
{
    const dlt_run_spec *before = NULL;
    const dlt_spec_change *changes = NULL;
    DLT_TRY(config_of_checkpoint(f, f->checkpoint, &before));
    DLT_TRY(changes_since(f, before, &changes, &f->change_count));
    f->recorded = before;
    f->config_unknown = before == NULL;
    if (f->new_run && before != NULL) {
        DLT_TRY(without_moved_files(f, &changes, &f->change_count));
    }
    const bool changeable = only_changeable(changes, f->change_count);
    if (f->new_run && f->change_count > 0 && !(changeable && f->options->allow_change)) { /* --resume FILE */
        tell_changes(f, DLT_ERROR, changes, f->change_count);
        return dlt_fail(f->diag, DLT_E_CHECKPOINT, nowhere,
                        "'%s' was trained with another config (above), so it cannot be resumed. %sTo take over what fits: --weights %s",
                        f->options->resume_path, changeable ? "To go on with the new one: --allow-change   " : "",
                        shell_word(f, f->options->resume_path));
    }
    if (!changeable) {
        if (!f->changes_accepted) {
            f->change_count = 0;
            return DLT_OK;
        }
        if (changes != NULL && f->change_count == 0) {
            return DLT_OK; /* changed, and changed back before anything was saved */
        }
        tell_changes(f, DLT_ERROR, changes, f->change_count);
        return dlt_fail(
            f->diag, DLT_E_CHECKPOINT, nowhere,
            "the newest checkpoint of '%s' was trained with another config, so it cannot be resumed",
            f->path);
    }
    f->before = before;
    f->changes = changes;
    say(f, DLT_NOTE, "goes on with what was changed:");
    tell_changes(f, DLT_NOTE, changes, f->change_count);
    return DLT_OK;
}

static bool has_rate(const dlt_run_spec *spec)
{
    const dlt_item *optimizer = spec->value.optimizer;
    return optimizer != NULL && dlt_schedule_of(dlt_optimizer_common(optimizer)->learning_rate)->constant;
}

static bool is_rate(const dlt_spec_change *change)
{
    return strncmp(change->path, "optimizer.", strlen("optimizer.")) == 0;
}

/* Weights and what else of `kinds` of a checkpoint of this run, which may be older than a change of the rate:
 * then the rate that is now stays. */
static dlt_status read_arrays(fit *f, dlt_checkpoint *c, const dlt_run_spec *before, unsigned kinds)
{
    size_t count = 0;
    const dlt_spec_change *changes = NULL;
    DLT_TRY(changes_since(f, before, &changes, &count));
    for (size_t i = 0; i < count && only_changeable(changes, count); i++) {
        if (is_rate(&changes[i])) {
            return dlt_saved_arrays_read_new_rate(c, f->engine, kinds, has_rate(before), f->diag);
        }
    }
    return dlt_saved_arrays_read(c, f->engine, kinds, f->diag);
}

static bool is_number(const dlt_kind *kind, const char *name)
{
    for (const dlt_field *field = kind->fields; field != NULL && field->name != NULL; field++) {
        if (strcmp(field->name, name) == 0) {
            return field->type == DLT_FIELD_INT || field->type == DLT_FIELD_OPT_INT ||
                   field->type == DLT_FIELD_FLOAT || field->type == DLT_FIELD_OPT_FLOAT;
        }
    }
    return false;
}

/* True if the callback at a place goes on with its state: it is of the same kind, and at most numbers of it
 * were changed. Another monitor or file makes what it remembers meaningless. */
static bool keeps_state(const fit *f, size_t place)
{
    const dlt_items *callbacks = &f->spec->fit.callbacks;
    char path[48];
    const int length = snprintf(path, sizeof path, "fit.callbacks[%zu]", place);
    if (place >= f->before->value.fit.callbacks.count) {
        return false;
    }
    for (size_t i = 0; i < f->change_count; i++) {
        const char *changed = f->changes[i].path;
        const char *field = strrchr(changed, '.');
        if (strcmp(changed, "fit.callbacks") == 0) {
            return false;
        }
        if (strncmp(changed, path, (size_t)length) == 0 &&
            (changed[length] == '\0' || field == NULL || !is_number(callbacks->at[place]->kind, field + 1))) {
            return false;
        }
    }
    return true;
}

static dlt_status read_callbacks(fit *f)
{
    bool *keeps = NULL;
    if (f->before != NULL) {
        keeps = dlt_arena_alloc(f->arena, f->spec->fit.callbacks.count + 1, sizeof *keeps);
        if (keeps == NULL) {
            return dlt_fail_memory(f->diag);
        }
        for (size_t i = 0; i < f->spec->fit.callbacks.count; i++) {
            keeps[i] = keeps_state(f, i);
        }
    }
    return dlt_saved_callbacks_read(f->checkpoint, f->callbacks, keeps, f->diag);
}

/* A best value of another monitor is none, and an end that other callbacks asked for is open again. */
static void forget_outdated(fit *f)
{
    int mode_before = 0, mode = 0;
    bool callbacks = false;
    for (size_t i = 0; i < f->change_count; i++) {
        callbacks = callbacks || !is_rate(&f->changes[i]);
    }
    if (f->before == NULL || !callbacks) {
        return;
    }
    const bool validation = f->spec->data.validation != NULL;
    const char *before = dlt_best_monitor(&f->before->value.fit.callbacks, validation, &mode_before);
    const char *now = dlt_best_monitor(&f->spec->fit.callbacks, validation, &mode);
    if (strcmp(before, now) != 0 || mode_before != mode) {
        f->progress.best = (double)NAN;
        f->progress.best_epoch = -1;
        f->progress.best_step = 0;
    }
    f->progress.stop = f->progress.stop_failed = false;
}

/* ---- beginning ---- */

static bool keeps_weights(const dlt_spec *spec)
{
    for (size_t i = 0; i < spec->fit.callbacks.count; i++) {
        if (strcmp(spec->fit.callbacks.at[i]->kind->name, "EarlyStopping") == 0) {
            return true; /* it may keep weights: restore_best_weights */
        }
    }
    return false;
}

static dlt_status open_session(fit *f)
{
    dlt_session_options o = f->options->session;
    o.depth = DLT_DEPTH_LOAD;
    o.train = true;
    o.evaluate = f->spec->data.validation != NULL || f->spec->data.test != NULL;
    o.stop = o.stop != NULL ? o.stop : dlt_stop_flag();
    o.fitted = f->resuming ? &f->loaded.fitted : NULL;
    DLT_TRY(dlt_session_open(f->run, &o, &f->session, f->diag));
    f->engine = f->session->engine;
    f->identity = dlt_session_identity(f->session);
    if (f->identity == NULL) {
        return dlt_fail_memory(f->diag);
    }
    dlt_signature_digest(f->session->signature, f->data_digest);
    return DLT_OK;
}

/* What must be as it was, so that a resumed run goes on bit for bit. */
static dlt_status check_resumed(fit *f, const char **why_not)
{
    *why_not = NULL;
    if (!dlt_same_data(f->loaded.data_digest, f->data_digest)) {
        return dlt_fail(f->diag, DLT_E_DATA, dlt_run_spec_pos(f->run, "data"),
                        "the data are not those that this run was trained on so far; put them back, or start "
                        "anew with --resume never");
    }
    if (strcmp(f->loaded.device, f->identity) != 0) {
        *why_not =
            dlt_arena_printf(f->arena, "saved on \"%s\", this is \"%s\"", f->loaded.device, f->identity);
    } else if (f->before != NULL) {
        *why_not = "no longer the run of its first config (changes above)";
    } else if (f->config_unknown) {
        *why_not = "the config that it was trained with cannot be read";
    } else {
        return DLT_OK;
    }
    if (f->options->exact) {
        return dlt_fail(f->diag, DLT_E_CHECKPOINT, nowhere, "not bit for bit: %s",
                        *why_not != NULL ? *why_not : "");
    }
    return DLT_OK;
}

static dlt_status load_state(fit *f)
{
    DLT_TRY(dlt_engine_start(f->engine, f->diag));
    DLT_TRY(dlt_engine_init_variables(f->engine, &f->session->fitted, f->resuming || f->options->weights != NULL, f->diag));
    if (f->resuming) {
        DLT_TRY(read_arrays(f, f->checkpoint, f->before,
                            DLT_SAVED_WEIGHTS | DLT_SAVED_OPTIMIZER | DLT_SAVED_STATE));
        DLT_TRY(read_callbacks(f));
        f->progress = f->loaded.progress;
        forget_outdated(f);
        f->progress.cursor.batch += DLT_PLANTED("cursor");
    } else if (f->options->weights != NULL) {
        DLT_TRY(dlt_weights_load(f->engine, f->options->weights, f->arena, f->diag));
    }
    return DLT_OK;
}

static dlt_status open_saver(fit *f)
{
    const char *folder = f->path != NULL ? checkpoints_of(f, f->path) : NULL;
    DLT_TRY(
        dlt_saver_create(f->engine, folder, f->spec->fit.keep, keeps_weights(f->spec), &f->saver, f->diag));
    if (f->resuming && !f->new_run) {
        DLT_TRY(dlt_saver_resumed(f->saver, f->progress.step, f->diag));
    }
    return f->resuming ? dlt_saved_kept_read(f->checkpoint, f->saver, f->diag) : DLT_OK;
}

/* ---- saving ---- */

static dlt_saved_meta meta_of(const fit *f)
{
    return (dlt_saved_meta){.progress = f->progress,
                            .callbacks = f->callbacks,
                            .config = f->config,
                            .device = f->identity,
                            .data_digest = f->data_digest,
                            .frame = f->session->frame,
                            .fitted = &f->session->fitted};
}

/* What `aside` holds: warnings are told; so are failures to write, memory for it included, after which training goes on, for the
 * older checkpoints are still there. Other failures end the run. */
static dlt_status forgive(fit *f, dlt_status status, const dlt_diag *aside)
{
    const bool forgiven =
        (status == DLT_E_CHECKPOINT || status == DLT_E_OUTPUT || status == DLT_E_MEMORY) && !dlt_saver_trial_failed(f->saver);
    for (size_t i = 0; i < dlt_diag_size(aside); i++) {
        const dlt_message *m = dlt_diag_at(aside, i);
        if (m->severity != DLT_ERROR) {
            say(f, m->severity, dlt_diag_text(aside, i));
        } else if (forgiven) {
            const char *text = dlt_arena_printf(f->scratch, "not saved, training goes on: %s", m->text);
            say(f, DLT_WARNING, text != NULL ? text : "a checkpoint was not saved, training goes on");
        } else {
            dlt_fail(f->diag, m->status, m->pos, "%s", m->text);
        }
    }
    return forgiven ? DLT_OK : status;
}

/* One whose lock was taken over leaves everything as the new owner has it. */
static dlt_status check_lock(fit *f)
{
    const dlt_status status = dlt_run_lock_check(f->lock, f->diag);
    f->lock_lost = status != DLT_OK;
    return status;
}

/* Saves where the run stands. Failures, of the last save that is, are told here and by the next wait. */
static dlt_status save(fit *f, const char *path, bool weights_only)
{
    DLT_TRY(check_lock(f));
    const dlt_saved_meta meta = meta_of(f);
    dlt_diag *aside = dlt_diag_create();
    if (aside == NULL) {
        return dlt_fail_memory(f->diag);
    }
    const dlt_status status = forgive(f, dlt_saver_save(f->saver, &meta, path, weights_only, aside), aside);
    dlt_diag_destroy(aside);
    f->last_save_ns = dlt_clock_ns();
    return status;
}

/* Waits until what is being saved is there. A failure is told, and is no more than that. */
static dlt_status wait_for_saves(fit *f)
{
    dlt_diag *aside = dlt_diag_create();
    if (aside == NULL) {
        return dlt_fail_memory(f->diag);
    }
    const dlt_status status = forgive(f, dlt_saver_wait(f->saver, aside), aside);
    dlt_diag_destroy(aside);
    return status;
}

/* Saves what callbacks asked for, once all of them have had their turn: a state half of whose callbacks have
 * seen an event could not be resumed from. */
static dlt_status save_wanted(fit *f)
{
    dlt_status status = DLT_OK;
    for (int i = 0; i < f->wanted_count && status == DLT_OK; i++) {
        status = save(f, f->wanted[i].path, f->wanted[i].weights_only);
    }
    f->wanted_count = 0;
    return status;
}

/* ---- callbacks ---- */

/* What a path names; *there false: nothing. */
static dlt_status look_at_file(const char *path, struct stat *file, bool *there, dlt_diag *diag)
{
    *there = dlt_file()->stat(path, file) == 0;
    return *there || errno == ENOENT || errno == ENOTDIR
               ? DLT_OK
               : dlt_fail(diag, DLT_E_OUTPUT, nowhere, "cannot look at '%s': %s", path, strerror(errno));
}

static bool file_size(void *context, const char *path, int64_t *size, dlt_diag *diag)
{
    struct stat file;
    bool there;
    (void)context;
    if (look_at_file(path, &file, &there, diag) != DLT_OK) {
        return false;
    }
    *size = there ? (int64_t)file.st_size : -1;
    return true;
}

/* Whether `path`, NULL for none, names this file. */
static dlt_status is_file(const char *path, const struct stat *file, bool *same, dlt_diag *diag)
{
    struct stat other;
    bool there = false;
    if (path != NULL) {
        DLT_TRY(look_at_file(path, &other, &there, diag));
    }
    *same = there && other.st_dev == file->st_dev && other.st_ino == file->st_ino;
    return DLT_OK;
}

/* A callback must not write over what the run reads. */
static dlt_status check_target(const fit *f, int callback, const char *path, dlt_diag *diag)
{
    struct stat target;
    bool there, read;
    DLT_TRY(look_at_file(path, &target, &there, diag));
    if (!there) {
        return DLT_OK;
    }
    DLT_TRY(is_file(f->run->file, &target, &read, diag));
    for (int set = 0; set < DLT_SET_COUNT && !read; set++) {
        const dlt_view *view = dlt_datasets_view(f->session->data, (dlt_set)set);
        DLT_TRY(is_file(view != NULL ? dlt_dataset_path(view->dataset) : NULL, &target, &read, diag));
    }
    return read ? dlt_fail(diag, DLT_E_CONFIG, f->run->value.fit.callbacks.at[callback]->pos,
                           "a callback would write over '%s', which this run reads; give it another file", path)
                : DLT_OK;
}

static dlt_status write_request(const fit *f, int callback, const dlt_write_request *w, dlt_diag *diag)
{
    if (w->offset == 0) { /* it may not be there yet */
        DLT_TRY(check_target(f, callback, w->path, diag));
        char *folder = dlt_path_folder(w->path);
        const dlt_status made =
            folder != NULL ? dlt_file_make_folders(folder, false, DLT_E_OUTPUT, diag) : dlt_fail_memory(diag);
        dlt_free(folder);
        DLT_TRY(made);
    }
    const int fd = dlt_file()->open(w->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND, 0666);
    if (fd < 0) {
        return dlt_fail(diag, DLT_E_OUTPUT, nowhere, "cannot open '%s': %s", w->path, strerror(errno));
    }
    dlt_status status =
        dlt_file()->ftruncate(fd, (off_t)w->offset) == 0
            ? dlt_file_write(fd, w->path, w->text, w->bytes, DLT_E_OUTPUT, diag)
            : dlt_fail(diag, DLT_E_OUTPUT, nowhere, "cannot write '%s': %s", w->path, strerror(errno));
    if (dlt_file()->close(fd) != 0 && status == DLT_OK) {
        status = dlt_fail(diag, DLT_E_OUTPUT, nowhere, "cannot write '%s': %s", w->path, strerror(errno));
    }
    return status;
}

/* Does what a callback asked for. */
static dlt_status act(void *context, int index, const dlt_callback_io *io, dlt_diag *diag)
{
    fit *f = context;
    if (io->set_rate) {
        DLT_TRY(dlt_engine_set_scalar(f->engine, DLT_PATH_LEARNING_RATE, io->rate, diag));
    }
    if (io->keep_weights) {
        DLT_TRY(dlt_saver_keep(f->saver, io->epoch, diag));
    }
    if (io->restore_weights) {
        DLT_TRY(dlt_saver_restore_kept(f->saver, diag));
        f->result->restored_epoch = dlt_saver_kept(f->saver)->epoch + 1;
    }
    if (io->save && f->wanted_count < MAX_WANTED && !(io->save_path == NULL && f->progress.trained)) {
        f->wanted[f->wanted_count++] = (wanted_save){io->save_path, io->save_weights_only};
    } /* the end of an epoch is among the run's own anyway */
    if (io->write.path != NULL) {
        DLT_TRY(write_request(f, index, &io->write, diag));
        DLT_TRY(dlt_saver_sync_first(f->saver, io->write.path, diag));
    }
    if (io->stop) {
        f->progress.stop = true;
        f->progress.stop_failed = io->stop_status != DLT_OK;
        if (io->stop_reason != NULL) {
            f->result->stop_reason = dlt_arena_string(f->arena, io->stop_reason);
        }
    }
    return DLT_OK;
}

static dlt_status call_back(fit *f, dlt_callback_event event, dlt_logs *logs)
{
    bool stop = false;
    double rate = 0;
    const bool fixed = dlt_variables_find(f->engine->variables, DLT_PATH_LEARNING_RATE) == NULL;
    if (f->callbacks->count == 0) {
        return DLT_OK;
    }
    if (!fixed) {
        DLT_TRY(dlt_engine_get_scalar(f->engine, DLT_PATH_LEARNING_RATE, &rate, f->diag));
    }
    dlt_arena_destroy(f->scratch);
    f->scratch = dlt_arena_create();
    if (f->scratch == NULL) {
        return dlt_fail_memory(f->diag);
    }
    dlt_callback_io io = {.epoch = f->progress.epoch,
                          .batch = f->progress.batch - 1,
                          .step = f->progress.step,
                          .logs = logs,
                          .rate = rate,
                          .rate_fixed = fixed,
                          .arena = f->scratch,
                          .diag = f->diag,
                          .file_size = file_size};
    const size_t before = dlt_diag_size(f->diag);
    const dlt_status status = dlt_callback_set_run(f->callbacks, event, &io, act, f, &stop);
    tell_notes(f, before);
    return status;
}

/* ---- an epoch ---- */

static bool stop_asked(const fit *f)
{
    return dlt_stop_requested() != DLT_REQUEST_NONE ||
           (f->options->stop_after_steps > 0 && f->progress.step >= f->options->stop_after_steps);
}

/* Dies once a step was made after the one that was saved; until then there is nothing to do. */
static dlt_status die_if_asked(fit *f)
{
    if (f->options->die_after_steps > 0 && f->progress.step > f->options->die_after_steps) {
        DLT_TRY(dlt_saver_wait(f->saver, f->diag));
        f->options->die();
    }
    return DLT_OK;
}

static bool save_asked(const fit *f)
{
    const double every = f->spec->fit.save_every_min.set ? f->spec->fit.save_every_min.value * 60 : 0;
    return dlt_save_requested() || (every > 0 && dlt_seconds_since(f->last_save_ns) >= every) ||
           (f->options->die_after_steps > 0 && f->progress.step == f->options->die_after_steps);
}

/* Says why the last batch was not finite, where training goes on all the same: what `stop` would have said. */
static void tell_why(fit *f, const dlt_blame_options *blame)
{
    dlt_diag *aside = dlt_diag_create();
    if (aside == NULL || f->told_why >= MOST_TOLD_WHY) {
        dlt_diag_destroy(aside);
        return;
    }
    f->told_why++;
    (void)dlt_blame(blame, aside); /* fails with what it found */
    for (size_t i = 1; i < dlt_diag_size(aside); i++) {
        const dlt_message *m = dlt_diag_at(aside, i);
        if (m->severity == DLT_NOTE) {
            say(f, DLT_NOTE, dlt_diag_text(aside, i));
        }
    }
    dlt_diag_destroy(aside);
}

/* Opens the checkpoint that a bad batch goes back to; NULL if there is none. It is the one at the end of the
 * last epoch, not just the newest: when the others are written hangs on signals and clocks, and a resumed run
 * has to go back to the same one. */
static dlt_status open_epoch_end(fit *f, dlt_checkpoint **c)
{
    char name[DLT_CHECKPOINT_NAME];
    struct stat seen;
    *c = NULL;
    if (f->path == NULL || f->progress.epoch_end <= 0) {
        return DLT_OK;
    }
    dlt_checkpoint_name(f->progress.epoch_end, name);
    const char *path = dlt_arena_printf(f->scratch, "%s/%s", checkpoints_of(f, f->path), name);
    if (path == NULL) {
        return dlt_fail_memory(f->diag);
    }
    return dlt_file()->stat(path, &seen) == 0 ? dlt_checkpoint_open(path, DLT_CHECKPOINT_OURS, c, f->diag)
                                              : DLT_OK;
}

/*
 * Takes weights and optimizer back to the end of the last epoch and goes on with the batch after the bad one;
 * the place in the data and the epoch's sums stay. *done false: there is no such checkpoint, or it did not
 * help often enough.
 */
static dlt_status roll_back(fit *f, const dlt_blame_options *blame, bool *done)
{
    dlt_checkpoint *c = NULL;
    *done = false;
    const bool rolls = f->spec->fit.non_finite == DLT_NON_FINITE_ROLLBACK;
    if (f->progress.rolled_back >= MAX_ROLLBACKS) {
        dlt_note(f->diag, dlt_run_spec_pos(f->run, "fit.non_finite"), "went back %d times in a row, which did not help", (int)MAX_ROLLBACKS);
        return DLT_OK;
    }
    DLT_TRY(dlt_saver_wait(f->saver, f->diag));
    DLT_TRY(open_epoch_end(f, &c));
    if (c == NULL) {
        dlt_note(f->diag, dlt_run_spec_pos(f->run, "fit.non_finite"),
                 "%s goes back to the end of the last epoch, and no epoch has ended yet%s", rolls ? "rollback" : "after an update that is not finite skip",
                 rolls ? "; skip passes the batch over" : "");
        return DLT_OK;
    }
    const char *text = dlt_arena_printf(
        f->scratch, "epoch %lld, batch %lld%s is not finite: back to the weights of step %lld, and on behind it",
        (long long)f->progress.epoch + 1, (long long)f->progress.batch + 1,
        blame->updated != NULL ? ": its update" : "", (long long)f->progress.epoch_end);
    say(f, DLT_WARNING, text != NULL ? text : "a batch is not finite: went back to the last epoch's end");
    tell_why(f, blame); /* with the weights that did it */
    const dlt_run_spec *before = NULL;
    dlt_status status = config_of_checkpoint(f, c, &before);
    status = status == DLT_OK ? read_arrays(f, c, before, DLT_SAVED_WEIGHTS | DLT_SAVED_OPTIMIZER) : status;
    dlt_checkpoint_close(c);
    DLT_TRY(status);
    f->progress.rolled_back++;
    f->progress.skipped++;
    *done = true;
    return DLT_OK;
}

/*
 * A step that was not finite: stop with the culprit, or go on without it. `updated`: what its update, which has been applied,
 * made not finite, or NULL; the weights before it are gone, so that `skip` has to go back as well.
 */
static dlt_status not_finite(fit *f, dlt_run_program program, const dlt_batch *batch, int slot,
                             const dlt_saved *updated)
{
    const bool skip = f->spec->fit.non_finite == DLT_NON_FINITE_SKIP && updated == NULL;
    const dlt_blame_options blame = {.session = f->session,
                                     .program = program,
                                     .slot = slot,
                                     .epoch = f->progress.epoch,
                                     .step = f->progress.step,
                                     .batch = batch,
                                     .run = skip ? NULL : f->path,
                                     .updated = updated};
    if (skip) {
        const char *text =
            dlt_arena_printf(f->scratch, "epoch %lld, batch %lld is not finite and was skipped",
                             (long long)f->progress.epoch + 1, (long long)f->progress.batch + 1);
        say(f, DLT_WARNING, text != NULL ? text : "a batch is not finite and was skipped");
        tell_why(f, &blame);
        f->progress.skipped++;
        return DLT_OK;
    }
    bool done = false;
    if (f->spec->fit.non_finite != DLT_NON_FINITE_STOP) {
        DLT_TRY(roll_back(f, &blame, &done));
        if (done) {
            return DLT_OK;
        }
    }
    DLT_TRY(wait_for_saves(f)); /* what is told then does not hang on how far the last one is */
    return dlt_blame(&blame, f->diag);
}

/* `skip` is for batches that are an exception: where none of an epoch's is finite, nothing is learned any more. */
static dlt_status check_progress(const fit *f, int64_t steps)
{
    if (steps == 0 || f->progress.stop || f->progress.step > f->progress.epoch_end) {
        return DLT_OK;
    }
    return dlt_fail(f->diag, DLT_E_NUMERIC, dlt_run_spec_pos(f->run, "fit.non_finite"),
                    "no batch of epoch %lld was finite, so that all were skipped; the weights are those of step %lld",
                    (long long)f->progress.epoch + 1, (long long)f->progress.step);
}

static dlt_status tell_batch(fit *f, int64_t steps, int64_t rows)
{
    const dlt_fit_events *e = &f->options->events;
    if (e->batch != NULL) {
        e->batch(e->context,
                 &(dlt_fit_batch){f->progress.epoch, f->spec->fit.epochs, f->progress.batch, steps, rows});
    }
    if (e->values != NULL && dlt_seconds_since(f->last_values_ns) >= 0.1) {
        int count = 0;
        DLT_TRY(dlt_engine_metrics(f->engine, false, f->all_logs, MAX_LOGS, &count, f->diag));
        dlt_logs logs = {.count = count, .room = MAX_LOGS, .at = f->all_logs};
        e->values(e->context, &logs);
        f->last_values_ns = dlt_clock_ns();
    }
    return DLT_OK;
}

/* Trains from progress.batch to the end of the epoch; *stopped: a signal came first, and the state was saved.
 */
static dlt_status train_epoch(fit *f, int64_t steps, bool *stopped)
{
    const bool wants_batches = dlt_callback_set_wants_batches(f->callbacks);
    *stopped = false;
    while (f->progress.batch < steps && !f->progress.stop) {
        dlt_batch batch;
        bool finite = true;
        DLT_TRY(dlt_loader_next(f->feed.loader, &batch, f->diag));
        const int slot = f->feed.first_slot + (int)batch.slot;
        const dlt_run_program program = dlt_session_program(f->session, f->progress.step, batch.rows);
        dlt_status status = dlt_engine_run(f->engine, program, slot, &finite, f->diag);
        const dlt_saved *updated = NULL;
        if (status == DLT_OK && finite) {
            status = dlt_update_look(f->session, program, slot, &updated, f->diag);
            finite = updated == NULL;
        }
        if (status == DLT_OK && !finite) {
            status = not_finite(f, program, &batch, slot, updated);
        } else if (finite) {
            f->progress.rolled_back = 0;
        }
        const dlt_cursor next = batch.next;
        const int64_t rows = (int64_t)batch.rows;
        dlt_loader_release(f->feed.loader, &batch);
        DLT_TRY(status);
        f->progress.cursor = next;
        f->progress.batch++;
        f->progress.step += finite;
        if (f->first_step_s <= 0) {
            f->first_step_s = dlt_seconds_since(f->options->began_ns);
        }
        DLT_TRY(tell_batch(f, steps, rows));
        if (dlt_saver_trial_failed(f->saver)) { /* better to fail now than at the first save */
            return dlt_saver_wait(f->saver, f->diag);
        }
        if (wants_batches) {
            int count = 0;
            DLT_TRY(dlt_engine_metrics(f->engine, false, f->all_logs, MAX_LOGS, &count, f->diag));
            dlt_logs logs = {.count = count, .room = MAX_LOGS, .at = f->all_logs};
            DLT_TRY(call_back(f, DLT_EVENT_BATCH_END, &logs));
            DLT_TRY(save_wanted(f));
        }
        DLT_TRY(die_if_asked(f));
        if (stop_asked(f)) {
            if (f->progress.batch < steps) {
                *stopped = true;
                return save(f, NULL, false);
            }
        } else if (save_asked(f)) {
            if (f->progress.batch < steps) { /* the end of the epoch saves anyway */
                DLT_TRY(save(f, NULL, false));
            }
        }
    }
    return DLT_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const dlt_log_entry *)a)->name, ((const dlt_log_entry *)b)->name);
}

static void sort_logs(dlt_logs *logs)
{
    for (int i = 1; i < logs->count; i++) { /* short and nearly sorted */
        const dlt_log_entry e = logs->at[i];
        int k = i;
        for (; k > 0 && by_name(&e, &logs->at[k - 1]) < 0; k--) {
            logs->at[k] = logs->at[k - 1];
        }
        logs->at[k] = e;
    }
}

/* Ends a validation early, where a test asks for it. */
static dlt_status stop_after_first(void *context, const dlt_batch *batch, int slot, dlt_diag *diag)
{
    (void)context;
    (void)batch;
    (void)slot;
    (void)diag;
    return DLT_E_STOPPED;
}

/*
 * The first batch of a validation whose loss is not finite: training goes on, as in Keras, but what makes the figures useless
 * is told, once a run.
 */
static dlt_status look_at_validation(void *context, const dlt_batch *batch, int slot, dlt_diag *diag)
{
    fit *f = context;
    double loss = 0;
    char number[40];
    if (f->told_validation) {
        return DLT_OK;
    }
    DLT_TRY(dlt_engine_scalar(f->engine, DLT_RUN_EVALUATE, slot, "loss", &loss, diag));
    dlt_diag *aside = isfinite(loss) ? NULL : dlt_diag_create();
    if (aside == NULL) {
        return DLT_OK;
    }
    f->told_validation = true;
    dlt_format_float((float)loss, number, sizeof number);
    dlt_warn(aside, (dlt_pos){0},
             "epoch %lld: val_loss is %s from batch %lld on; training goes on. A monitor of it finds no improvement any more",
             (long long)f->progress.epoch + 1, number, (long long)batch->cursor.batch + 1);
    (void)dlt_blame_evaluation(&(dlt_blame_options){.session = f->session,
                                                    .program = DLT_RUN_EVALUATE,
                                                    .set = DLT_VALIDATION,
                                                    .slot = slot,
                                                    .batch = batch},
                               aside);
    for (size_t i = 0; i < dlt_diag_size(aside); i++) {
        say(f, dlt_diag_at(aside, i)->severity, dlt_diag_text(aside, i));
    }
    dlt_diag_destroy(aside);
    return DLT_OK;
}

static bool validation_due(const fit *f)
{
    return f->spec->data.validation != NULL && (f->progress.epoch + 1) % f->spec->fit.validation_freq == 0;
}

/* Adds val_ values to the logs; *stopped: a signal came. */
static dlt_status validate(fit *f, dlt_logs *logs, bool *stopped)
{
    const int64_t limit = f->spec->fit.validation_steps.set ? f->spec->fit.validation_steps.value : 0;
    const bool planted = f->options->stop_in_validation == f->progress.epoch + 1;
    int count = 0;
    const dlt_status status = dlt_session_evaluate(f->session, DLT_VALIDATION, limit, dlt_stop_flag(),
                                                   planted ? stop_after_first : look_at_validation, f, f->diag);
    *stopped = status == DLT_E_STOPPED;
    if (*stopped) {
        return DLT_OK;
    }
    DLT_TRY(status);
    DLT_TRY(dlt_engine_metrics(f->engine, true, logs->at + logs->count, MAX_LOGS - 1 - logs->count, &count,
                               f->diag));
    logs->count += count;
    return DLT_OK;
}

/* ---- logs ---- */

/* The columns of history.csv are fixed: everything that a complete epoch logs. */
static void history_header(const fit *f, const dlt_logs *logs, dlt_buf *out)
{
    (void)f;
    dlt_buf_string(out, "epoch");
    for (int i = 0; i < logs->count; i++) {
        dlt_buf_char(out, ',');
        dlt_buf_csv(out, logs->at[i].name);
    }
    dlt_buf_string(out, "\r\n");
}

static void history_value(const dlt_log_entry *e, dlt_buf *out)
{
    char number[40];
    if (e == NULL) {
        dlt_buf_string(out, ",NA");
    } else {
        dlt_format_float((float)e->value, number, sizeof number);
        dlt_buf_printf(out, ",%s", number);
    }
}

/* By the columns of the file that goes on, else by `names`, as in the header. */
static void history_row(const fit *f, const dlt_logs *names, const dlt_logs *logs, dlt_buf *out)
{
    dlt_buf_printf(out, "%lld", (long long)f->progress.epoch);
    for (int i = 0; i < f->column_count; i++) {
        history_value(dlt_logs_find(logs, f->columns[i]), out);
    }
    for (int i = 0; i < names->count && f->columns == NULL; i++) {
        history_value(dlt_logs_find(logs, names->at[i].name), out);
    }
    dlt_buf_string(out, "\r\n");
}

static void metrics_line(const fit *f, const dlt_logs *logs, dlt_buf *out)
{
    dlt_json j;
    dlt_json_init(&j, out, 0);
    dlt_json_open(&j, '{');
    dlt_json_key_int(&j, "epoch", f->progress.epoch);
    dlt_json_key_int(&j, "step", f->progress.step);
    for (int i = 0; i < logs->count; i++) {
        dlt_json_key(&j, logs->at[i].name);
        dlt_json_float(&j, (float)logs->at[i].value);
    }
    dlt_json_close(&j, '}');
    dlt_buf_char(out, '\n');
}

/* All names that an epoch with validation has, sorted, learning_rate included. */
static void all_names(fit *f, const dlt_logs *logs, dlt_log_entry *room, dlt_logs *names)
{
    *names = (dlt_logs){.room = MAX_LOGS, .at = room};
    names->count = dlt_metric_log_names(f->engine->metrics, false, room, MAX_LOGS / 2);
    if (f->spec->data.validation != NULL) {
        names->count += dlt_metric_log_names(f->engine->metrics, true, room + names->count, MAX_LOGS / 2);
    }
    for (int i = 0; i < logs->count; i++) {
        if (dlt_logs_find(names, logs->at[i].name) == NULL) {
            dlt_logs_set(names, logs->at[i].name, 0, DLT_NO_DIRECTION);
        }
    }
    sort_logs(names);
}

static dlt_status write_logs(fit *f, const dlt_logs *logs, const dlt_fit_epoch *epoch)
{
    static const char *const timing = "{\"epoch\": %lld, \"seconds\": %.3f, \"train_seconds\": %.3f, "
                                      "\"rows_per_second\": %.1f, \"waiting\": %.4f";
    if (f->path == NULL) {
        return DLT_OK;
    }
    DLT_TRY(check_lock(f));
    dlt_buf text = {0};
    dlt_log_entry room[MAX_LOGS];
    dlt_logs names;
    all_names(f, logs, room, &names);
    if (f->progress.history_bytes == 0) {
        history_header(f, &names, &text);
    }
    history_row(f, &names, logs, &text);
    dlt_status status = text.failed ? dlt_fail_memory(f->diag)
                                    : dlt_run_log_append(f->history, text.data, text.length, f->diag);
    dlt_buf_reset(&text);
    metrics_line(f, logs, &text);
    if (status == DLT_OK) {
        status = text.failed ? dlt_fail_memory(f->diag)
                             : dlt_run_log_append(f->metrics, text.data, text.length, f->diag);
    }
    dlt_buf_reset(&text);
    dlt_buf_printf(&text, timing, (long long)f->progress.epoch, epoch->seconds, epoch->train_seconds,
                   epoch->train_seconds > 0 ? (double)epoch->rows / epoch->train_seconds : 0, epoch->waiting);
    if (f->first_step_s > 0 &&
        !f->first_step_told) { /* from the start of the program to the end of the first step it made */
        dlt_buf_printf(&text, ", \"first_step\": %.4f", f->first_step_s);
        f->first_step_told = true;
    }
    dlt_buf_string(&text, "}\n");
    if (status == DLT_OK) {
        status = text.failed ? dlt_fail_memory(f->diag)
                             : dlt_run_log_append(f->timing, text.data, text.length, f->diag);
    }
    dlt_buf_release(&text);
    DLT_TRY(dlt_saver_sync_first(f->saver, dlt_run_log_path(f->history), f->diag));
    DLT_TRY(dlt_saver_sync_first(f->saver, dlt_run_log_path(f->metrics), f->diag));
    f->progress.history_bytes = dlt_run_log_bytes(f->history);
    f->progress.metrics_bytes = dlt_run_log_bytes(f->metrics);
    return status;
}

/* ---- what is best ---- */

static dlt_status note_best(fit *f, const dlt_logs *logs, bool *best)
{
    const dlt_log_entry *e = f->monitor != NULL ? dlt_logs_find(logs, f->monitor) : NULL;
    *best = false;
    if (e == NULL || isnan(e->value)) {
        return DLT_OK;
    }
    const double old = f->progress.best;
    *best = isnan(old) || (f->larger_is_better ? e->value > old : e->value < old);
    if (!*best) {
        return DLT_OK;
    }
    f->progress.best = e->value;
    f->progress.best_epoch = f->progress.epoch;
    f->progress.best_step = f->progress.step;
    dlt_saver_mark_best(f->saver, f->progress.step);
    return DLT_OK;
}

static void choose_monitor(fit *f)
{
    int mode = 0;
    dlt_log_entry room[MAX_LOGS];
    dlt_logs none = {0}, names;
    f->monitor = dlt_best_monitor(&f->spec->fit.callbacks, f->spec->data.validation != NULL, &mode);
    all_names(f, &none, room, &names);
    const dlt_log_entry *e = f->monitor != NULL ? dlt_logs_find(&names, f->monitor) : NULL;
    f->larger_is_better = mode == 2 || (mode == 0 && e != NULL && e->direction == DLT_LARGER_IS_BETTER);
}

/* ---- the loop ---- */

/* After an epoch's batches: validation, callbacks, logs. *stopped: a signal came during the validation. */
static dlt_status end_epoch(fit *f, int64_t start_ns, double train_seconds, double waiting, int64_t rows,
                            bool *stopped)
{
    dlt_logs logs = {.room = MAX_LOGS, .at = f->all_logs};
    DLT_TRY(dlt_engine_metrics(f->engine, false, f->train_logs, MAX_LOGS, &f->train_count, f->diag));
    memcpy(logs.at, f->train_logs, (size_t)f->train_count * sizeof *logs.at);
    logs.count = f->train_count;
    if (validation_due(f)) {
        DLT_TRY(validate(f, &logs, stopped));
        if (*stopped) {
            return DLT_OK; /* what stands before the validation is saved: it will be done again */
        }
    }
    sort_logs(&logs);
    DLT_TRY(call_back(f, DLT_EVENT_EPOCH_END, &logs));
    dlt_fit_epoch epoch = {.epoch = f->progress.epoch,
                           .epochs = f->spec->fit.epochs,
                           .logs = &logs,
                           .seconds = dlt_seconds_since(start_ns),
                           .train_seconds = train_seconds,
                           .waiting = waiting,
                           .rows = rows,
                           .monitor = f->monitor};
    DLT_TRY(note_best(f, &logs, &epoch.best));
    DLT_TRY(write_logs(f, &logs, &epoch));
    if (f->options->events.epoch != NULL) {
        f->options->events.epoch(f->options->events.context, &epoch);
    }
    return DLT_OK;
}

static dlt_status run_epoch(fit *f, bool *stopped)
{
    const int64_t start = dlt_clock_ns();
    const int64_t steps_asked = f->spec->fit.steps_per_epoch.set ? f->spec->fit.steps_per_epoch.value : 0;
    const int64_t first_batch = f->progress.batch;
    double train_seconds = 0, waiting = 0;
    int64_t rows = 0;
    if (!f->progress.trained) {
        bool is_short = false;
        const dlt_cursor begin = {f->progress.cursor.pass, f->progress.cursor.batch - f->progress.batch};
        const int64_t steps = dlt_epoch_steps(begin, f->session->batches_in_pass, steps_asked, &is_short);
        if (is_short) {
            say(f, DLT_WARNING,
                "the data end before steps_per_epoch batches: this epoch is short, as in Keras");
        }
        if (first_batch == 0) {
            DLT_TRY(dlt_engine_zero_metrics(f->engine, f->diag));
            DLT_TRY(call_back(f, DLT_EVENT_EPOCH_BEGIN, &(dlt_logs){0}));
        }
        const dlt_loader_stats before = dlt_loader_statistics(f->feed.loader);
        DLT_TRY(train_epoch(f, steps, stopped));
        if (*stopped) {
            return DLT_OK;
        }
        const dlt_loader_stats after = dlt_loader_statistics(f->feed.loader);
        train_seconds = dlt_seconds_since(start);
        waiting = train_seconds > 0 ? (double)(after.wait_ns - before.wait_ns) * 1e-9 / train_seconds : 0;
        DLT_TRY(check_progress(f, steps));
        rows = (f->progress.batch - first_batch) * f->session->batch;
        if (f->session->train_rows >= 0 && f->progress.cursor.batch == 0 &&
            f->session->train_rows % f->session->batch != 0) {
            rows -= f->session->batch - f->session->train_rows % f->session->batch;
        }
        f->progress.trained = true;
        f->progress.epoch_end = f->progress.step;
        DLT_TRY(save(f, NULL, false));
        if (stop_asked(f)) {
            *stopped = true;
            return DLT_OK;
        }
    }
    DLT_TRY(end_epoch(f, start, train_seconds, waiting, rows, stopped));
    if (!*stopped) {
        f->progress.epoch++;
        f->progress.batch = 0;
        f->progress.trained = false;
        DLT_TRY(save_wanted(f));
        DLT_TRY(write_info(f, "running"));
    }
    return DLT_OK;
}

static dlt_status evaluate_test(fit *f)
{
    if (f->spec->data.test == NULL || f->options->no_run) {
        return DLT_OK;
    }
    const dlt_status status =
        dlt_session_evaluate(f->session, DLT_TEST, 0, dlt_stop_flag(), NULL, NULL, f->diag);
    if (status == DLT_E_STOPPED) {
        return DLT_OK; /* fit is over and saved; the figures can be had from `evaluate` */
    }
    DLT_TRY(status);
    DLT_TRY(dlt_engine_metrics(f->engine, false, f->result->test, (int)DLT_COUNT(f->result->test),
                               &f->result->test_count, f->diag));
    for (int i = 0; i < f->result->test_count; i++) { /* names must outlive the session */
        f->result->test[i].name = dlt_arena_string(f->arena, f->result->test[i].name);
    }
    f->result->has_test = true;
    return DLT_OK;
}

/* The end of fit: what callbacks and averages make of the weights, saved as the run's final ones. */
static dlt_status end_training(fit *f)
{
    DLT_TRY(call_back(f, DLT_EVENT_TRAIN_END, &(dlt_logs){0}));
    if (f->engine->programs[DLT_RUN_FINISH].program != NULL) {
        bool finite = true;
        DLT_TRY(dlt_engine_run(f->engine, DLT_RUN_FINISH, 0, &finite, f->diag));
    }
    DLT_TRY(dlt_engine_hash(f->engine, DLT_SAVED_WEIGHTS, f->result->weights_hash, f->diag));
    DLT_TRY(dlt_engine_hash(f->engine, DLT_SAVED_WEIGHTS | DLT_SAVED_OPTIMIZER | DLT_SAVED_STATE,
                            f->result->hash, f->diag));
    if (f->path != NULL) {
        const char *final = dlt_final_weights_of(f->path, f->arena);
        f->progress.finished = true;
        if (final == NULL) {
            return dlt_fail_memory(f->diag);
        }
        DLT_TRY(wait_for_saves(f)); /* the older ones may fail; without this one, nothing is done */
        DLT_TRY(check_lock(f));
        const dlt_saved_meta meta = meta_of(f);
        DLT_TRY(dlt_saver_save(f->saver, &meta, final, false, f->diag));
        DLT_TRY(dlt_saver_wait(f->saver, f->diag));
    }
    DLT_TRY(evaluate_test(f));
    return write_info(f, "done");
}

static dlt_status loop(fit *f)
{
    bool stopped = false;
    if (!f->resuming) {
        f->progress.epoch = f->spec->fit.initial_epoch;
        f->progress.best = (double)NAN;
        f->progress.best_epoch = -1;
    }
    DLT_TRY(call_back(f, DLT_EVENT_TRAIN_BEGIN, &(dlt_logs){0}));
    DLT_TRY(
        dlt_session_feed(f->session, DLT_TRAIN, f->engine->main, f->progress.cursor, 0, &f->feed, f->diag));
    f->last_save_ns = dlt_clock_ns();
    while (f->progress.epoch < f->spec->fit.epochs && !f->progress.stop && !stopped) {
        DLT_TRY(run_epoch(f, &stopped));
    }
    if (stopped) {
        f->result->outcome = DLT_FIT_STOPPED;
        DLT_TRY(dlt_saver_wait(f->saver, f->diag));
        return write_info(f, "stopped");
    }
    DLT_TRY(end_training(f));
    return f->progress.stop_failed ? DLT_E_NUMERIC : DLT_OK;
}

static void tell_start(fit *f, const char *why_not)
{
    if (f->options->events.start == NULL) {
        return;
    }
    const dlt_fit_start start = {.session = f->session,
                                 .run = f->path,
                                 .log = f->log,
                                 .parameters = dlt_variables_count_weights(f->engine->variables, false),
                                 .planned_bytes = dlt_engine_bytes(f->engine),
                                 .layers = (int)f->spec->layers.count,
                                 .resumed = f->resuming,
                                 .progress = &f->progress,
                                 .exact = why_not == NULL,
                                 .why_not = why_not};
    f->options->events.start(f->options->events.context, &start);
}

/* Kernels by timing, if that is asked for; a run that goes on keeps those that it began with, so that it goes on with the same bits. */
static dlt_status tune(fit *f)
{
    dlt_tuning t = {.seconds = 0};
    if (f->resuming) {
        t.kernels = f->recorded != NULL ? f->recorded->value.tuned : t.kernels;
        if (f->spec->tune && t.kernels.count == 0) {
            say(f, DLT_NOTE, "tune: this run began with kernels chosen by rule and keeps them");
        }
    } else if (!f->spec->tune || f->spec->tuned.count > 0) {
        return DLT_OK;
    } else {
        dlt_session_options o = f->options->session;
        o.stop = o.stop != NULL ? o.stop : dlt_stop_flag();
        DLT_TRY(dlt_tune(f->run, &o, f->arena, &t, f->diag));
        const char *text = dlt_arena_printf(f->scratch, "tune: %zu kinds of work timed in %.1f s; for %d of them a kernel other than by rule",
                                            t.kernels.count, t.seconds, t.other);
        say(f, DLT_NOTE, text != NULL ? text : "tune: kernels timed");
    }
    const dlt_run_spec *tuned = dlt_run_spec_tuned(f->arena, f->run, &t.kernels);
    if (tuned == NULL) {
        return dlt_fail_memory(f->diag);
    }
    f->run = tuned;
    f->spec = &tuned->value;
    return DLT_OK;
}

/* A run cannot end with an epoch that lies behind it: its weights would be those of no epoch's end. */
static dlt_status check_end(fit *f)
{
    const dlt_progress *p = &f->loaded.progress;
    const long long under_way = (long long)p->epoch + 1, wanted = (long long)f->spec->fit.epochs;
    if (p->epoch < f->spec->fit.epochs || p->finished || (p->batch == 0 && !p->trained)) {
        return DLT_OK;
    }
    return dlt_fail(f->diag, DLT_E_CHECKPOINT, dlt_run_spec_pos(f->run, "fit.epochs"),
                    "epoch %lld is under way (step %lld), so fit cannot end with epoch %lld; nothing was changed. To end it: -o fit.epochs=%lld   "
                    "to start anew: --resume never",
                    under_way, (long long)p->step, wanted, under_way);
}

static dlt_status begin(fit *f)
{
    const char *why_not = NULL;
    const size_t before = dlt_diag_size(f->diag);
    DLT_TRY(find_run(f));
    if (f->result->outcome == DLT_FIT_DONE_BEFORE) {
        return DLT_OK;
    }
    if (f->spec->loss == NULL) {
        return dlt_fail(f->diag, DLT_E_CONFIG, dlt_run_spec_pos(f->run, "loss"), "fit needs a loss:");
    }
    if (f->checkpoint != NULL) {
        f->resuming = true;
        DLT_TRY(dlt_saved_meta_read(f->checkpoint, f->arena, &f->loaded, f->diag));
        if (f->named_step >= 0 && f->loaded.progress.step != f->named_step) {
            return dlt_fail(f->diag, DLT_E_CHECKPOINT, nowhere,
                            "'%s/checkpoints' has a checkpoint under the name of step %lld that was saved at step %lld; give it that name, or "
                            "put it elsewhere",
                            f->path, (long long)f->named_step, (long long)f->loaded.progress.step);
        }
        DLT_TRY(find_changes(f));
        DLT_TRY(check_end(f));
    }
    DLT_TRY(tune(f));
    f->callbacks = dlt_callback_set_create(f->arena, &f->spec->fit.callbacks);
    if (f->callbacks == NULL) {
        return dlt_fail_memory(f->diag);
    }
    DLT_TRY(open_session(f));
    if (f->resuming) {
        DLT_TRY(check_resumed(f, &why_not));
        if (why_not != NULL && f->info.inexact == NULL && !f->new_run) {
            f->info.inexact = dlt_arena_printf(f->arena, "in epoch %lld, after step %lld: %s", (long long)f->loaded.progress.epoch + 1,
                                               (long long)f->loaded.progress.step, why_not);
        }
    }
    dlt_buf config = {0};
    dlt_spec_dump(f->run, DLT_DUMP_DEFAULTS, &config);
    f->config = config.failed ? NULL : dlt_arena_string(f->arena, dlt_buf_text(&config));
    dlt_buf_release(&config);
    if (f->config == NULL) {
        return dlt_fail_memory(f->diag);
    }
    DLT_TRY(load_state(f));
    choose_monitor(f);
    DLT_TRY(enter_run(f));
    DLT_TRY(open_saver(f));
    tell_notes(f, before);
    tell_start(f, why_not);
    return DLT_OK;
}

static void fill_result(fit *f)
{
    dlt_fit_result *r = f->result;
    snprintf(r->run, sizeof r->run, "%s", f->path != NULL ? f->path : "");
    snprintf(r->monitor, sizeof r->monitor, "%s",
             f->monitor != NULL        ? f->monitor
             : f->info.monitor != NULL ? f->info.monitor
                                       : "");
    if (r->outcome == DLT_FIT_DONE_BEFORE) {
        r->epochs_done = f->info.epochs_done;
        r->best = f->info.best;
        r->best_epoch = -1;
        return;
    }
    r->epochs_done = f->progress.epoch;
    r->steps = f->progress.step;
    r->best = f->progress.best;
    r->best_epoch = f->progress.best_epoch;
}

dlt_status dlt_fit(const dlt_run_spec *run, const dlt_catalogue *catalogue, const dlt_fit_options *options,
                   dlt_arena *arena, dlt_fit_result *result, dlt_diag *diag)
{
    const int64_t start = dlt_clock_ns();
    *result = (dlt_fit_result){.best = (double)NAN, .best_epoch = -1};
    fit f = {.run = run,
             .spec = &run->value,
             .catalogue = catalogue,
             .options = options,
             .result = result,
             .diag = diag,
             .arena = arena,
             .named_step = -1,
             .progress = {.best = (double)NAN, .best_epoch = -1}};
    f.scratch = dlt_arena_create();
    dlt_status status = f.scratch != NULL ? begin(&f) : dlt_fail_memory(diag);
    if (status == DLT_OK && result->outcome != DLT_FIT_DONE_BEFORE) {
        status = loop(&f);
        if (status != DLT_OK && f.path != NULL && !f.lock_lost) {
            dlt_saver_wait(f.saver, diag);
            write_info(&f, "failed");
        }
    }
    fill_result(&f);
    result->seconds = dlt_seconds_since(start);
    if (status == DLT_OK && options->events.end != NULL) {
        options->events.end(options->events.context, result);
    }
    dlt_feed_close(&f.feed);
    dlt_saver_destroy(f.saver);
    dlt_checkpoint_close(f.checkpoint);
    dlt_frame_destroy(f.loaded.frame);
    dlt_run_log_close(f.history);
    dlt_run_log_close(f.metrics);
    dlt_run_log_close(f.timing);
    dlt_run_log_close(f.log);
    dlt_run_lock_release(f.lock);
    dlt_session_close(f.session);
    dlt_arena_destroy(f.scratch);
    return status;
}
