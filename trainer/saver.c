/* trainer/saver.c: checkpoints of a run. */
#include "trainer/saver.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/num.h"
#include "io/file.h"
#include "io/yaml.h"
#include "trainer/optimizer.h"
#include "trainer/planted.h"
#include "trainer/signals.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static const int64_t MOST_PROGRESS = (int64_t)1 << 48; /* steps, bytes: more than any run makes */
enum { ALL_KINDS = DLT_SAVED_WEIGHTS | DLT_SAVED_OPTIMIZER | DLT_SAVED_STATE };
enum { FILE_PATH = DLT_SAVED_PATH + sizeof "/dltrain/kept/" }; /* room for any path in a file: none is cut */

/* One write, as the writer sees it: a copy of everything. */
typedef struct job {
    char *path; /* NULL: step-N of the folder */
    bool weights_only;
    dlt_progress progress;
    char *meta; /* JSON */
    char *config, *device, *data_digest;
    dlt_buf frame, fitted;
    dlt_callback_state *states;
    int state_count;
    bool kept;
    int64_t kept_epoch;
} job;

/* A file that is written beside the checkpoints. */
typedef struct log_file {
    char *path;
    bool written; /* since it was last synced */
} log_file;

struct dlt_saver {
    dlt_engine *engine;
    dlt_arena *arena;
    const dlt_saved *list; /* weights, optimizer, state */
    int count, weights;    /* of them the first so many are weights */
    const char **groups;   /* vars groups: layers without weights too */
    const char **group_names;
    int group_count;
    int64_t *offsets; /* of each array in the snapshot */
    int64_t bytes, weight_bytes;
    char *snapshot, *kept_snapshot;
    dlt_kept_weights kept;
    dlt_checkpoint_folder *folder;
    const char *folder_path;
    size_t keep;
    int64_t last_saved; /* step of the newest file of the folder; -1: none */

    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool has_job, stopping, trial;
    log_file *logs;
    size_t log_count, log_room;
    int64_t best; /* step that `best` shall point to once it is written; -1: nothing to do */
    job job;
    atomic_bool trial_failed;
    dlt_diag *problems; /* of the writer */
    dlt_status status;  /* of the last job */
};

/* ---- the groups of a weights file ---- */

/* Collects the group of each layer, with the layer's name as Keras' `name` attribute has it. */
typedef struct collector {
    dlt_saver *saver;
    int room;
    bool failed;
} collector;

static void add_group(collector *c, const char *path, const char *name)
{
    dlt_saver *s = c->saver;
    if (s->group_count == c->room) {
        const int room = c->room > 0 ? 2 * c->room : 32;
        const char **groups = dlt_arena_alloc(s->arena, (size_t)room, sizeof *groups);
        const char **names = dlt_arena_alloc(s->arena, (size_t)room, sizeof *names);
        if (groups == NULL || names == NULL) {
            c->failed = true;
            return;
        }
        if (s->group_count > 0) {
            memcpy(groups, s->groups, (size_t)s->group_count * sizeof *groups);
            memcpy(names, s->group_names, (size_t)s->group_count * sizeof *names);
        }
        s->groups = groups;
        s->group_names = names;
        c->room = room;
    }
    s->groups[s->group_count] = path;
    s->group_names[s->group_count++] = name;
}

/* ---- the JSON of a checkpoint ---- */

static void put_progress(dlt_buf *out, const dlt_progress *p)
{
    dlt_json j;
    dlt_json_init(&j, out, 0);
    dlt_json_open(&j, '{');
    dlt_json_key_string(&j, "version", DLT_VERSION);
    dlt_json_key_int(&j, "epoch", p->epoch);
    dlt_json_key_int(&j, "batch", p->batch);
    dlt_json_key_int(&j, "step", p->step);
    dlt_json_key_int(&j, "pass", (int64_t)p->cursor.pass);
    dlt_json_key_int(&j, "pass_batch", p->cursor.batch);
    dlt_json_key_bool(&j, "trained", p->trained);
    dlt_json_key_bool(&j, "finished", p->finished);
    dlt_json_key_int(&j, "history_bytes", p->history_bytes);
    dlt_json_key_int(&j, "metrics_bytes", p->metrics_bytes);
    dlt_json_key_double(&j, "best", p->best);
    dlt_json_key_int(&j, "best_epoch", p->best_epoch);
    dlt_json_key_int(&j, "best_step", p->best_step);
    dlt_json_key_int(&j, "skipped", p->skipped);
    dlt_json_key_int(&j, "rolled_back", p->rolled_back);
    dlt_json_key_int(&j, "epoch_end", p->epoch_end);
    dlt_json_key_bool(&j, "stop", p->stop);
    dlt_json_key_bool(&j, "stop_failed", p->stop_failed);
    dlt_json_close(&j, '}');
}

/* Names and lengths before the values, so that a reader knows what it gets (docs/checkpoint-format.md). */
static void put_fitted(dlt_buf *out, const dlt_fitted *fitted)
{
    const size_t count = fitted != NULL ? fitted->count : 0;
    dlt_put_u64(out, count);
    for (size_t i = 0; i < count; i++) {
        const dlt_fitted_entry *e = &fitted->entries[i];
        dlt_put_text(out, e->name, strlen(e->name));
        dlt_put_u64(out, e->numbers != NULL ? 0 : 1);
        dlt_put_u64(out, e->count);
        for (size_t k = 0; k < e->count; k++) {
            if (e->numbers != NULL) {
                dlt_put_double(out, e->numbers[k]);
            } else {
                dlt_put_text(out, e->texts[k], strlen(e->texts[k]));
            }
        }
    }
}

static dlt_status get_fitted(const char *data, size_t bytes, dlt_arena *arena, dlt_fitted *fitted,
                             dlt_diag *diag)
{
    dlt_get in = {.at = (const unsigned char *)data, .end = (const unsigned char *)data + bytes};
    *fitted = (dlt_fitted){.arena = arena};
    const int64_t entries = dlt_get_count(&in, (int64_t)bytes);
    for (int64_t i = 0; i < entries && !in.bad; i++) {
        size_t length = 0;
        const char *name = dlt_get_text(&in, 4096, &length);
        const char *kept = in.bad ? NULL : dlt_arena_copy(arena, name, length);
        const bool texts = dlt_get_count(&in, 1) == 1;
        const int64_t count = dlt_get_count(&in, (in.end - in.at) / 8);
        double *numbers = dlt_arena_alloc(arena, texts ? 0 : (size_t)count, sizeof *numbers);
        const char **strings = dlt_arena_alloc(arena, texts ? (size_t)count : 0, sizeof *strings);
        for (int64_t k = 0; k < count && !in.bad && numbers != NULL && strings != NULL; k++) {
            if (texts) {
                const char *text = dlt_get_text(&in, bytes, &length);
                strings[k] = in.bad ? "" : dlt_arena_copy(arena, text, length);
            } else {
                numbers[k] = dlt_get_double(&in);
            }
        }
        if (in.bad) {
            break;
        }
        const bool added = kept != NULL && !dlt_arena_failed(arena) &&
                           (texts ? dlt_fitted_texts(fitted, kept, strings, (size_t)count)
                                  : dlt_fitted_numbers(fitted, kept, numbers, (size_t)count));
        if (!added) {
            return dlt_fail_memory(diag);
        }
    }
    if (in.bad || in.at != in.end) {
        return dlt_fail(diag, DLT_E_CHECKPOINT, (dlt_pos){0}, "the checkpoint's preprocessing is damaged");
    }
    return DLT_OK;
}

/* ---- the writer ---- */

static void release_job(job *j)
{
    dlt_free(j->path);
    dlt_free(j->meta);
    dlt_free(j->config);
    dlt_free(j->device);
    dlt_free(j->data_digest);
    dlt_free(j->states);
    dlt_buf_release(&j->frame);
    dlt_buf_release(&j->fitted);
    *j = (job){0};
}

static const char *rooted(char room[FILE_PATH], const char *path)
{
    assert(strlen(path) <= DLT_SAVED_PATH); /* of a dlt_saved, or of a group of one */
    snprintf(room, FILE_PATH, "/%s", path);
    return room;
}

static dlt_status write_arrays(const dlt_saver *s, const job *j, dlt_checkpoint_writer *w, dlt_diag *diag)
{
    char path[FILE_PATH];
    for (int i = 0; i < s->group_count; i++) {
        DLT_TRY(dlt_checkpoint_group(w, rooted(path, s->groups[i]), s->group_names[i], diag));
    }
    const int count = j->weights_only ? s->weights : s->count;
    if (!j->weights_only && s->engine->spec->optimizer != NULL) {
        char snake[128];
        dlt_snake_case(s->engine->spec->optimizer->kind->name, snake, sizeof snake);
        DLT_TRY(dlt_checkpoint_group(w, "/optimizer/vars", snake, diag));
    }
    DLT_TRY(dlt_checkpoint_group(w, "/vars", s->engine->spec->name, diag));
    for (int i = 0; i < count; i++) {
        const dlt_saved *a = &s->list[i];
        DLT_TRY(dlt_checkpoint_add(w, rooted(path, a->path), a->variable->type, &a->shape,
                                   s->snapshot + s->offsets[i], diag));
    }
    for (int i = 0; i < s->weights && j->kept && !j->weights_only; i++) { /* EarlyStopping's best */
        const dlt_saved *a = &s->list[i];
        snprintf(path, sizeof path, "/dltrain/kept/%s", a->path);
        DLT_TRY(dlt_checkpoint_add(w, path, a->variable->type, &a->shape, s->kept_snapshot + s->offsets[i],
                                   diag));
    }
    return DLT_OK;
}

static dlt_status write_meta(const job *j, dlt_checkpoint_writer *w, dlt_diag *diag)
{
    char path[64];
    DLT_TRY(dlt_checkpoint_text(w, "progress", j->meta, strlen(j->meta), diag));
    DLT_TRY(dlt_checkpoint_text(w, "config", j->config, strlen(j->config), diag));
    DLT_TRY(dlt_checkpoint_text(w, "device", j->device, strlen(j->device), diag));
    DLT_TRY(dlt_checkpoint_text(w, "data", j->data_digest, strlen(j->data_digest), diag));
    DLT_TRY(dlt_checkpoint_text(w, "frame", j->frame.data, j->frame.length, diag));
    DLT_TRY(dlt_checkpoint_text(w, "preprocess", j->fitted.data, j->fitted.length, diag));
    const dlt_shape scalar = dlt_scalar();
    if (j->kept) {
        DLT_TRY(dlt_checkpoint_add(w, "/dltrain/kept/epoch", DLT_I64, &scalar, &j->kept_epoch, diag));
    }
    const int64_t states = j->state_count;
    DLT_TRY(dlt_checkpoint_add(w, "/dltrain/callbacks/count", DLT_I64, &scalar, &states, diag));
    for (int i = 0; i < j->state_count; i++) {
        const dlt_callback_state *state = &j->states[i];
        const dlt_shape numbers = DLT_SHAPE((int64_t)DLT_COUNT(state->number));
        const dlt_shape integers = DLT_SHAPE((int64_t)DLT_COUNT(state->integer));
        const dlt_shape text = DLT_SHAPE((int64_t)sizeof state->text);
        snprintf(path, sizeof path, "/dltrain/callbacks/%d/number", i);
        DLT_TRY(dlt_checkpoint_add(w, path, DLT_F64, &numbers, state->number, diag));
        snprintf(path, sizeof path, "/dltrain/callbacks/%d/integer", i);
        DLT_TRY(dlt_checkpoint_add(w, path, DLT_I64, &integers, state->integer, diag));
        snprintf(path, sizeof path, "/dltrain/callbacks/%d/text", i);
        DLT_TRY(dlt_checkpoint_add(w, path, DLT_U8, &text, state->text, diag));
    }
    return DLT_OK;
}

/* The folder of a file that a user named. */
static dlt_status make_folder_of(const char *path, dlt_diag *diag)
{
    char *folder = dlt_path_folder(path);
    const dlt_status status =
        folder != NULL ? dlt_file_make_folders(folder, false, DLT_E_CHECKPOINT, diag) : dlt_fail_memory(diag);
    dlt_free(folder);
    return status;
}

/* A checkpoint tells the lengths of the logs: after a power cut they must not be shorter. */
static dlt_status sync_file(const char *path, dlt_diag *diag)
{
    int fd = -1;
    dlt_status status = DLT_OK;
    do {
        fd = dlt_file()->open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK, 0);
    } while (fd < 0 && errno == EINTR);
    /* what is no file, as a terminal, cannot be synced */
    if (fd < 0 || (dlt_file()->fsync(fd) != 0 && errno != EINVAL && errno != EROFS)) {
        status = dlt_fail(diag, DLT_E_CHECKPOINT, (dlt_pos){0}, "cannot sync '%s': %s", path, strerror(errno));
    }
    if (fd >= 0) {
        dlt_file()->close(fd);
    }
    char *folder = dlt_path_folder(path);
    if (status == DLT_OK) {
        status = folder != NULL ? dlt_file_sync_folder(folder, DLT_E_CHECKPOINT, diag) : dlt_fail_memory(diag);
    }
    dlt_free(folder);
    return status;
}

static dlt_status sync_logs(dlt_saver *s, dlt_diag *diag)
{
    dlt_status status = DLT_OK;
    for (size_t i = 0; status == DLT_OK; i++) {
        pthread_mutex_lock(&s->lock);
        const char *path = i < s->log_count ? s->logs[i].path : NULL; /* the list may move; what it points to stays */
        const bool due = path != NULL && s->logs[i].written;
        if (due) {
            s->logs[i].written = false; /* what comes from now on is for the next time */
        }
        pthread_mutex_unlock(&s->lock);
        if (path == NULL) {
            break;
        }
        status = due ? sync_file(path, diag) : DLT_OK;
        if (status != DLT_OK) {
            pthread_mutex_lock(&s->lock);
            s->logs[i].written = true;
            pthread_mutex_unlock(&s->lock);
        }
    }
    return status;
}

static dlt_status write_job(dlt_saver *s, dlt_diag *diag)
{
    const job *j = &s->job;
    char name[DLT_CHECKPOINT_NAME];
    dlt_checkpoint_writer *w = NULL;
    dlt_checkpoint_name(j->progress.step, name);
    char *path = j->path != NULL ? dlt_path_join("", j->path) : dlt_path_join(s->folder_path, name);
    if (path == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_status status = sync_logs(s, diag);
    if (status == DLT_OK && j->path != NULL) {
        status = make_folder_of(path, diag);
        dlt_checkpoint_clean_beside(path); /* in the run's own folder that is done when the run begins */
    }
    status = status == DLT_OK ? dlt_checkpoint_begin(path, &w, diag) : status;
    if (status == DLT_OK) {
        if (j->path != NULL) {
            dlt_checkpoint_may_replace(w);
        }
        status = write_arrays(s, j, w, diag);
        if (status == DLT_OK && !j->weights_only) {
            status = write_meta(j, w, diag);
        }
        if (status == DLT_OK) {
            dlt_signals_hold(); /* a second Ctrl-C does not cut the rename */
            status = dlt_checkpoint_finish(w, diag);
            dlt_signals_release();
        } else {
            dlt_checkpoint_abandon(w);
        }
    }
    dlt_free(path);
    if (status == DLT_OK && j->path == NULL) {
        dlt_checkpoint_trust(s->folder, j->progress.step);
        status = dlt_checkpoint_link(s->folder, "last.weights.h5", j->progress.step, diag);
        if (status == DLT_OK) {
            status = dlt_checkpoint_retain(s->folder, s->keep, j->progress.epoch_end, diag);
        }
    }
    return status;
}

/* What the writer does next, in this order. */
typedef enum task_kind { TASK_NONE, TASK_TRIAL, TASK_WRITE, TASK_BEST } task_kind;

static task_kind next_task(const dlt_saver *s)
{
    return s->trial ? TASK_TRIAL : s->has_job ? TASK_WRITE : s->best >= 0 ? TASK_BEST : TASK_NONE;
}

static dlt_status do_task(dlt_saver *s, task_kind task, int64_t best)
{
    double seconds = 0;
    dlt_status status = DLT_OK;
    switch (task) {
    case TASK_TRIAL:
        status = dlt_checkpoint_trial(s->folder, s->bytes, &seconds, s->problems);
        atomic_store_explicit(&s->trial_failed, status != DLT_OK, memory_order_relaxed);
        break;
    case TASK_WRITE:
        status = write_job(s, s->problems);
        break;
    default:
        status = dlt_checkpoint_link(s->folder, "best.weights.h5", best, s->problems);
    }
    return status;
}

static void *writer_main(void *argument)
{
    dlt_saver *s = argument;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        task_kind task = next_task(s);
        while (task == TASK_NONE && !s->stopping) {
            pthread_cond_wait(&s->changed, &s->lock);
            task = next_task(s);
        }
        if (task == TASK_NONE) {
            break;
        }
        const int64_t best = s->best;
        const bool lost = task == TASK_BEST && s->status != DLT_OK; /* the file it would point to */
        pthread_mutex_unlock(&s->lock);
        const dlt_status status = lost ? DLT_OK : do_task(s, task, best);
        pthread_mutex_lock(&s->lock);
        s->status = s->status == DLT_OK ? status : s->status;
        if (task == TASK_TRIAL) {
            s->trial = false;
        } else if (task == TASK_WRITE) {
            s->last_saved = status != DLT_OK && s->job.path == NULL ? -1 : s->last_saved;
            release_job(&s->job);
            s->has_job = false;
        } else if (s->best == best) {
            s->best = -1;
        }
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- the saver ---- */

static dlt_status prepare(dlt_saver *s, dlt_diag *diag)
{
    collector c = {.saver = s};
    int total = 0;
    DLT_TRY(dlt_saved_list(s->arena, s->engine->variables, s->engine->spec->optimizer, DLT_SAVED_WEIGHTS,
                           &s->list, &s->weights, diag));
    const unsigned which = s->engine->options.train ? ALL_KINDS : DLT_SAVED_WEIGHTS;
    DLT_TRY(dlt_saved_list(s->arena, s->engine->variables, s->engine->spec->optimizer, which, &s->list,
                           &total, diag));
    s->count = total;
    s->offsets = dlt_arena_alloc(s->arena, (size_t)total + 1, sizeof *s->offsets);
    if (s->offsets == NULL) {
        return dlt_fail_memory(diag);
    }
    for (int i = 0; i < total; i++) {
        s->offsets[i] = s->bytes;
        s->bytes +=
            (dlt_shape_count(&s->list[i].shape) * (int64_t)dlt_dtype_size(s->list[i].variable->type) + 63) /
            64 * 64;
        s->weight_bytes = i < s->weights ? s->bytes : s->weight_bytes;
    }
    const dlt_graph *built = s->engine->programs[s->engine->main].built;
    dlt_names seen = {.arena = s->arena};
    for (int i = 0; i < built->group_count && !c.failed; i++) {
        int64_t *times = dlt_names_at(&seen, built->groups[i].group, 0);
        const char *path = dlt_arena_printf(s->arena, "%s/vars", built->groups[i].group);
        if (path != NULL && strlen(path) > DLT_SAVED_PATH) {
            return dlt_saved_too_long(path, diag);
        }
        c.failed = times == NULL || path == NULL;
        if (!c.failed && (*times)++ == 0) { /* a layer that is used again opens its group again */
            add_group(&c, path, built->groups[i].name);
        }
    }
    return c.failed ? dlt_fail_memory(diag) : DLT_OK;
}

dlt_status dlt_saver_create(dlt_engine *engine, const char *folder, int64_t keep, bool keeps_weights,
                            dlt_saver **out, dlt_diag *diag)
{
    *out = NULL;
    dlt_saver *s = dlt_alloc_zeroed(1, sizeof *s);
    if (s == NULL) {
        return dlt_fail_memory(diag);
    }
    *s = (dlt_saver){.engine = engine,
                     .arena = dlt_arena_create(),
                     .keep = keep < 2 ? 2 : (size_t)keep,
                     .last_saved = -1,
                     .best = -1,
                     .problems = dlt_diag_create()};
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    dlt_status status = s->arena != NULL && s->problems != NULL ? prepare(s, diag) : dlt_fail_memory(diag);
    if (status == DLT_OK) {
        s->snapshot = dlt_alloc_aligned(64, (size_t)s->bytes);
        s->kept.data = keeps_weights ? dlt_alloc_aligned(64, (size_t)s->weight_bytes) : NULL;
        s->kept_snapshot = keeps_weights ? dlt_alloc_aligned(64, (size_t)s->weight_bytes) : NULL;
        s->folder_path = folder != NULL ? dlt_arena_string(s->arena, folder) : NULL;
        const bool fits =
            s->snapshot != NULL && (!keeps_weights || (s->kept.data != NULL && s->kept_snapshot != NULL));
        status = fits && (folder == NULL || s->folder_path != NULL) ? DLT_OK : dlt_fail_memory(diag);
    }
    if (status == DLT_OK && folder != NULL) {
        status = dlt_checkpoint_folder_open(folder, &s->folder, diag);
        status = status == DLT_OK ? dlt_checkpoint_clean(s->folder, NULL, diag) : status;
    }
    if (status == DLT_OK) {
        s->trial = s->folder != NULL;
        s->started = pthread_create(&s->thread, NULL, writer_main, s) == 0;
        status = s->started ? DLT_OK
                            : dlt_fail(diag, DLT_E_MEMORY, (dlt_pos){0},
                                       "cannot start the thread that saves checkpoints");
    }
    if (status != DLT_OK) {
        dlt_saver_destroy(s);
        return status;
    }
    *out = s;
    return DLT_OK;
}

void dlt_saver_destroy(dlt_saver *s)
{
    if (s == NULL) {
        return;
    }
    if (s->started) {
        pthread_mutex_lock(&s->lock);
        s->stopping = true;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
    }
    release_job(&s->job);
    for (size_t i = 0; i < s->log_count; i++) {
        dlt_free(s->logs[i].path);
    }
    dlt_free(s->logs);
    dlt_checkpoint_folder_close(s->folder);
    dlt_free(s->snapshot);
    dlt_free(s->kept.data);
    dlt_free(s->kept_snapshot);
    dlt_diag_destroy(s->problems);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    dlt_arena_destroy(s->arena);
    dlt_free(s);
}

/* Copies what the job needs out of the engine and wakes the writer. */
static dlt_status hand_over(dlt_saver *s, dlt_diag *diag)
{
    const int count = s->job.weights_only ? s->weights : s->count;
    for (int i = 0; i < count; i++) {
        DLT_TRY(dlt_engine_read(s->engine, &s->list[i], s->snapshot + s->offsets[i], diag));
    }
    if (s->kept.held) {
        memcpy(s->kept_snapshot, s->kept.data, (size_t)s->weight_bytes);
    }
    pthread_mutex_lock(&s->lock);
    s->has_job = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return DLT_OK;
}

dlt_status dlt_saver_wait(dlt_saver *s, dlt_diag *diag)
{
    pthread_mutex_lock(&s->lock);
    const bool forgotten = DLT_PLANTED("buffer") && !s->has_job && s->job.meta != NULL;
    pthread_mutex_unlock(&s->lock);
    if (forgotten) { /* never in the product: the copy is taken only now, after later steps */
        DLT_TRY(hand_over(s, diag));
    }
    pthread_mutex_lock(&s->lock);
    while (next_task(s) != TASK_NONE) {
        pthread_cond_wait(&s->changed, &s->lock);
    }
    const dlt_status status = s->status;
    s->status = DLT_OK;
    for (size_t i = 0; i < dlt_diag_size(s->problems); i++) {
        const dlt_message *m = dlt_diag_at(s->problems, i);
        if (m->severity == DLT_ERROR) {
            dlt_fail(diag, m->status, m->pos, "%s", m->text);
        } else {
            dlt_warn(diag, m->pos, "%s", m->text);
        }
    }
    dlt_diag_reset(s->problems);
    pthread_mutex_unlock(&s->lock);
    return status;
}

static char *copied(const char *text)
{
    return dlt_path_join("", text != NULL ? text : "");
}

/* Fills the job; false when memory is refused. */
static bool fill_job(dlt_saver *s, const dlt_saved_meta *meta, const char *path, bool weights_only)
{
    job *j = &s->job;
    dlt_buf text = {0};
    *j = (job){.weights_only = weights_only,
               .progress = meta->progress,
               .kept = s->kept.held,
               .kept_epoch = s->kept.epoch};
    put_progress(&text, &meta->progress);
    j->meta = text.failed ? NULL : copied(text.data);
    dlt_buf_release(&text);
    j->path = path != NULL ? copied(path) : NULL;
    j->config = copied(meta->config);
    j->device = copied(meta->device);
    j->data_digest = copied(meta->data_digest);
    if (meta->frame != NULL) {
        dlt_frame_write(meta->frame, &j->frame);
    }
    put_fitted(&j->fitted, meta->fitted);
    j->state_count = meta->callbacks != NULL ? meta->callbacks->count : 0;
    j->states = dlt_alloc_zeroed((size_t)j->state_count, sizeof *j->states);
    if (j->states != NULL && j->state_count > 0) {
        memcpy(j->states, meta->callbacks->states, (size_t)j->state_count * sizeof *j->states);
    }
    return j->meta != NULL && (path == NULL || j->path != NULL) && j->config != NULL && j->device != NULL &&
           j->data_digest != NULL && j->states != NULL && !j->frame.failed && !j->fitted.failed;
}

dlt_status dlt_saver_save(dlt_saver *s, const dlt_saved_meta *meta, const char *path, bool weights_only,
                          dlt_diag *diag)
{
    const dlt_status before = dlt_saver_wait(s, diag);
    if (path == NULL && (s->folder == NULL || s->last_saved == meta->progress.step)) {
        return before; /* nowhere to save to, or nothing has changed since */
    }
    if (!fill_job(s, meta, path, weights_only)) {
        release_job(&s->job);
        return dlt_fail_memory(diag);
    }
    if (path == NULL) {
        s->last_saved = meta->progress.step; /* until the writer says that it failed */
    }
    if (!DLT_PLANTED("buffer")) {
        DLT_TRY(hand_over(s, diag));
    }
    return before;
}

dlt_status dlt_saver_sync_first(dlt_saver *s, const char *path, dlt_diag *diag)
{
    dlt_status status = DLT_OK;
    pthread_mutex_lock(&s->lock);
    size_t i = 0;
    while (i < s->log_count && strcmp(s->logs[i].path, path) != 0) {
        i++;
    }
    if (i == s->log_room) {
        const size_t room = s->log_room > 0 ? 2 * s->log_room : 8;
        log_file *grown = dlt_realloc(s->logs, room, sizeof *grown);
        if (grown != NULL) {
            s->logs = grown;
            s->log_room = room;
        }
    }
    if (i == s->log_count) {
        char *copy = i < s->log_room ? copied(path) : NULL;
        if (copy != NULL) {
            s->logs[s->log_count++] = (log_file){.path = copy};
        } else {
            status = dlt_fail_memory(diag);
        }
    }
    if (status == DLT_OK) {
        s->logs[i].written = true;
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

dlt_status dlt_saver_resumed(dlt_saver *s, int64_t step, dlt_diag *diag)
{
    s->last_saved = step;
    DLT_TRY(dlt_checkpoint_set_aside(s->folder, step, diag));
    dlt_diag *aside = dlt_diag_create();
    if (aside == NULL) {
        return dlt_fail_memory(diag);
    }
    /* its process may have died between file and link; a link is for people, and no reason not to train */
    dlt_status status = dlt_checkpoint_link(s->folder, "last.weights.h5", step, aside);
    if (status == DLT_E_MEMORY) {
        status = dlt_fail_memory(diag);
    } else if (status != DLT_OK) {
        dlt_warn(diag, (dlt_pos){0}, "%s", dlt_diag_text(aside, dlt_diag_size(aside) - 1));
        status = DLT_OK;
    }
    dlt_diag_destroy(aside);
    return status;
}

void dlt_saver_mark_best(dlt_saver *s, int64_t step)
{
    if (s->folder == NULL) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    s->best = step;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

bool dlt_saver_trial_failed(const dlt_saver *s)
{
    return atomic_load_explicit(&s->trial_failed, memory_order_relaxed);
}

int64_t dlt_saver_bytes(const dlt_saver *s)
{
    return s->bytes;
}

dlt_kept_weights *dlt_saver_kept(dlt_saver *s)
{
    return &s->kept;
}

dlt_checkpoint_folder *dlt_saver_folder(dlt_saver *s)
{
    return s->folder;
}

dlt_status dlt_saver_keep(dlt_saver *s, int64_t epoch, dlt_diag *diag)
{
    if (s->kept.data == NULL) {
        return dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0},
                        "no room was taken for weights that a callback keeps");
    }
    for (int i = 0; i < s->weights; i++) {
        DLT_TRY(dlt_engine_read(s->engine, &s->list[i], s->kept.data + s->offsets[i], diag));
    }
    s->kept.held = true;
    s->kept.epoch = epoch;
    return DLT_OK;
}

dlt_status dlt_saver_restore_kept(dlt_saver *s, dlt_diag *diag)
{
    for (int i = 0; i < s->weights && s->kept.held; i++) {
        DLT_TRY(dlt_engine_write(s->engine, &s->list[i], s->kept.data + s->offsets[i], diag));
    }
    return DLT_OK;
}

/* ---- reading back ---- */

static dlt_status read_text(dlt_checkpoint *c, dlt_arena *arena, const char *name, const char **text,
                            size_t *bytes, dlt_diag *diag)
{
    char *data = NULL;
    DLT_TRY(dlt_checkpoint_read_text(c, name, &data, bytes, diag));
    *text = dlt_arena_copy(arena, data, *bytes);
    dlt_free(data);
    return *text != NULL ? DLT_OK : dlt_fail_memory(diag);
}

static int64_t int_of(const dlt_yaml *map, const char *key)
{
    const dlt_yaml *v = dlt_yaml_get(map, key);
    int64_t n = 0;
    return v != NULL && v->type == DLT_YAML_SCALAR && dlt_parse_i64(v->text, v->length, &n) ? n : 0;
}

static bool bool_of(const dlt_yaml *map, const char *key)
{
    const dlt_yaml *v = dlt_yaml_get(map, key);
    return v != NULL && v->type == DLT_YAML_SCALAR && strcmp(v->text, "true") == 0;
}

static double double_of(const dlt_yaml *map, const char *key)
{
    const dlt_yaml *v = dlt_yaml_get(map, key);
    double d = (double)NAN;
    if (v != NULL && v->type == DLT_YAML_SCALAR && !dlt_parse_double(v->text, v->length, &d)) {
        dlt_parse_special(v->text, v->length, &d);
    }
    return d;
}

static dlt_status get_progress(const char *text, size_t bytes, dlt_arena *arena, dlt_loaded_meta *meta,
                               dlt_diag *diag)
{
    dlt_yaml *root = NULL;
    const dlt_status status = dlt_yaml_parse(arena, "progress", text, bytes, &root, diag);
    if (status != DLT_OK) {
        return status == DLT_E_MEMORY ? status : DLT_E_CHECKPOINT;
    }
    const dlt_yaml *version = dlt_yaml_get(root, "version");
    meta->version = version != NULL && version->type == DLT_YAML_SCALAR ? version->text : "?";
    meta->progress = (dlt_progress){.epoch = int_of(root, "epoch"),
                                    .batch = int_of(root, "batch"),
                                    .step = int_of(root, "step"),
                                    .cursor = {(uint64_t)int_of(root, "pass"), int_of(root, "pass_batch")},
                                    .trained = bool_of(root, "trained"),
                                    .finished = bool_of(root, "finished"),
                                    .history_bytes = int_of(root, "history_bytes"),
                                    .metrics_bytes = int_of(root, "metrics_bytes"),
                                    .best = double_of(root, "best"),
                                    .best_epoch = int_of(root, "best_epoch"),
                                    .best_step = int_of(root, "best_step"),
                                    .skipped = int_of(root, "skipped"),
                                    .rolled_back = int_of(root, "rolled_back"),
                                    .epoch_end = int_of(root, "epoch_end"),
                                    .stop = bool_of(root, "stop"),
                                    .stop_failed = bool_of(root, "stop_failed")};
    const dlt_progress *p = &meta->progress;
    const int64_t counts[] = {p->epoch,         p->batch,      p->step,      (int64_t)p->cursor.pass,
                              p->cursor.batch,  p->skipped,    p->best_step, p->history_bytes,
                              p->metrics_bytes, p->best_epoch, p->epoch_end, p->rolled_back};
    bool possible = true;
    for (size_t i = 0; i < DLT_COUNT(counts); i++) { /* so that one more, or a product with few, is no overflow */
        possible = possible && counts[i] >= -1 && counts[i] <= MOST_PROGRESS;
    }
    if (!possible || p->epoch < 0 || p->batch < 0 || p->step < 0 || p->cursor.batch < 0 || p->history_bytes < 0 ||
        p->metrics_bytes < 0 || (int64_t)p->cursor.pass < 0) {
        return dlt_fail(diag, DLT_E_CHECKPOINT, (dlt_pos){0}, "the checkpoint's progress is damaged");
    }
    return DLT_OK;
}

dlt_status dlt_saved_meta_read(dlt_checkpoint *c, dlt_arena *arena, dlt_loaded_meta *meta, dlt_diag *diag)
{
    const char *text = NULL;
    size_t bytes = 0, used = 0;
    *meta = (dlt_loaded_meta){0};
    DLT_TRY(read_text(c, arena, "progress", &text, &bytes, diag));
    DLT_TRY(get_progress(text, bytes, arena, meta, diag));
    DLT_TRY(read_text(c, arena, "config", &meta->config, &bytes, diag));
    DLT_TRY(read_text(c, arena, "device", &meta->device, &bytes, diag));
    DLT_TRY(read_text(c, arena, "data", &meta->data_digest, &bytes, diag));
    DLT_TRY(read_text(c, arena, "preprocess", &text, &bytes, diag));
    DLT_TRY(get_fitted(text, bytes, arena, &meta->fitted, diag));
    DLT_TRY(read_text(c, arena, "frame", &text, &bytes, diag));
    return dlt_frame_read(text, bytes, &used, "the checkpoint's data frame", DLT_E_CHECKPOINT, &meta->frame,
                          diag);
}

dlt_status dlt_saved_callbacks_read(dlt_checkpoint *c, dlt_callback_set *callbacks, const bool *keeps,
                                    dlt_diag *diag)
{
    int64_t count = 0;
    char path[64];
    const dlt_shape scalar = dlt_scalar();
    DLT_TRY(dlt_checkpoint_read(c, "/dltrain/callbacks/count", DLT_I64, &scalar, &count, diag));
    if (keeps == NULL && count != callbacks->count) {
        return dlt_fail(diag, DLT_E_CHECKPOINT, (dlt_pos){0},
                        "the checkpoint has states of %lld callbacks, the model file has %d",
                        (long long)count, callbacks->count);
    }
    for (int i = 0; i < callbacks->count; i++) {
        dlt_callback_state *state = &callbacks->states[i];
        if (keeps != NULL && !keeps[i]) {
            continue;
        }
        const dlt_shape numbers = DLT_SHAPE((int64_t)DLT_COUNT(state->number));
        const dlt_shape integers = DLT_SHAPE((int64_t)DLT_COUNT(state->integer));
        const dlt_shape text = DLT_SHAPE((int64_t)sizeof state->text);
        snprintf(path, sizeof path, "/dltrain/callbacks/%d/number", i);
        DLT_TRY(dlt_checkpoint_read(c, path, DLT_F64, &numbers, state->number, diag));
        snprintf(path, sizeof path, "/dltrain/callbacks/%d/integer", i);
        DLT_TRY(dlt_checkpoint_read(c, path, DLT_I64, &integers, state->integer, diag));
        snprintf(path, sizeof path, "/dltrain/callbacks/%d/text", i);
        DLT_TRY(dlt_checkpoint_read(c, path, DLT_U8, &text, state->text, diag));
        state->text[sizeof state->text - 1] = '\0';
        callbacks->fresh[i] = false;
    }
    return DLT_OK;
}

dlt_status dlt_saved_kept_read(dlt_checkpoint *c, dlt_saver *s, dlt_diag *diag)
{
    char path[FILE_PATH];
    const dlt_shape scalar = dlt_scalar();
    s->kept.held = false;
    if (s->kept.data == NULL || dlt_checkpoint_find(c, "/dltrain/kept/epoch") == NULL) {
        return DLT_OK;
    }
    DLT_TRY(dlt_checkpoint_read(c, "/dltrain/kept/epoch", DLT_I64, &scalar, &s->kept.epoch, diag));
    for (int i = 0; i < s->weights; i++) {
        const dlt_saved *a = &s->list[i];
        snprintf(path, sizeof path, "/dltrain/kept/%s", a->path);
        DLT_TRY(
            dlt_checkpoint_read(c, path, a->variable->type, &a->shape, s->kept.data + s->offsets[i], diag));
    }
    s->kept.held = true;
    return DLT_OK;
}

/* Every layer of the model has just the variables it should have. */
static dlt_status expect_counts(const dlt_checkpoint *c, const dlt_engine *e, dlt_arena *arena, dlt_diag *diag)
{
    const dlt_variables *all = e->variables;
    dlt_names counts = {.arena = arena};
    dlt_status status = DLT_OK;
    for (int i = 0; i < all->count; i++) {
        int64_t *count =
            all->list[i]->role == DLT_VARIABLE_WEIGHT ? dlt_names_at(&counts, all->list[i]->group, 0) : NULL;
        if (count != NULL) {
            ++*count;
        }
    }
    if (dlt_arena_failed(arena)) {
        return dlt_fail_memory(diag);
    }
    for (int i = 0; i < all->count; i++) { /* in the order of the layers, each group once */
        int64_t *count =
            all->list[i]->role == DLT_VARIABLE_WEIGHT ? dlt_names_find(&counts, all->list[i]->group) : NULL;
        if (count != NULL && *count > 0) {
            char group[FILE_PATH];
            const dlt_status one = dlt_checkpoint_expect(c, rooted(group, all->list[i]->group),
                                                         (size_t)*count, diag);
            status = status == DLT_OK ? one : status;
            *count = 0;
        }
    }
    return status;
}

/* Where the rate of a file stands. */
typedef enum saved_rate { RATE_AS_HERE, RATE_IN_FILE, NO_RATE_IN_FILE } saved_rate;

/* Path in the file of an array that is not the rate itself, which comes second of the optimizer's. */
static const char *path_in_file(char room[FILE_PATH], const dlt_saved *a, saved_rate rate, bool rate_here)
{
    static const char optimizer[] = "optimizer/vars/";
    int64_t number = 0;
    const size_t length = strlen(optimizer);
    if (rate == RATE_AS_HERE || strncmp(a->path, optimizer, length) != 0 ||
        !dlt_parse_i64(a->path + length, strlen(a->path + length), &number) || number == 0) {
        return rooted(room, a->path);
    }
    number += (rate == RATE_IN_FILE ? 1 : 0) - (rate_here ? 1 : 0);
    snprintf(room, FILE_PATH, "/%s%lld", optimizer, (long long)number);
    return room;
}

static dlt_status read_arrays(dlt_checkpoint *c, dlt_engine *e, unsigned which, saved_rate rate,
                              dlt_diag *diag)
{
    const dlt_variable *rate_here = dlt_variables_find(e->variables, DLT_PATH_LEARNING_RATE);
    const dlt_saved *list = NULL;
    int count = 0;
    dlt_arena *arena = dlt_arena_create();
    if (arena == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_status status = dlt_saved_list(arena, e->variables, e->spec->optimizer, which, &list, &count, diag);
    if (status == DLT_OK) {
        status = expect_counts(c, e, arena, diag);
    }
    for (int i = 0; i < count && status == DLT_OK; i++) {
        char path[FILE_PATH];
        if (rate != RATE_AS_HERE && list[i].variable == rate_here) {
            continue;
        }
        const int64_t elements = dlt_shape_count(&list[i].shape);
        char *data = dlt_alloc((size_t)elements * dlt_dtype_size(list[i].variable->type));
        status =
            data == NULL
                ? dlt_fail_memory(diag)
                : dlt_checkpoint_read(c, path_in_file(path, &list[i], rate, rate_here != NULL),
                                      list[i].variable->type, &list[i].shape, data, diag);
        const bool skipped = DLT_PLANTED("slot") && strcmp(list[i].path, "optimizer/vars/2") == 0;
        if (status == DLT_OK && !skipped) {
            status = dlt_engine_write(e, &list[i], data, diag);
        }
        dlt_free(data);
    }
    dlt_arena_destroy(arena);
    return status;
}

dlt_status dlt_saved_arrays_fit(const dlt_checkpoint *c, const dlt_engine *e, unsigned which, dlt_diag *diag)
{
    const dlt_saved *list = NULL;
    int count = 0;
    dlt_arena *arena = dlt_arena_create();
    if (arena == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_status status = dlt_saved_list(arena, e->variables, e->spec->optimizer, which, &list, &count, diag);
    if (status == DLT_OK) {
        status = expect_counts(c, e, arena, diag);
    }
    for (int i = 0; i < count && status == DLT_OK; i++) {
        char path[FILE_PATH];
        status = dlt_checkpoint_fits(c, rooted(path, list[i].path), &list[i].shape, diag);
    }
    dlt_arena_destroy(arena);
    return status;
}

dlt_status dlt_saved_arrays_read(dlt_checkpoint *c, dlt_engine *e, unsigned which, dlt_diag *diag)
{
    return read_arrays(c, e, which, RATE_AS_HERE, diag);
}

dlt_status dlt_saved_arrays_read_new_rate(dlt_checkpoint *c, dlt_engine *e, unsigned which, bool in_file,
                                          dlt_diag *diag)
{
    return read_arrays(c, e, which, in_file ? RATE_IN_FILE : NO_RATE_IN_FILE, diag);
}
