/* trainer/model.c: a trained model. */
#include "trainer/model.h"

#include "base/alloc.h"
#include "base/text.h"
#include "io/file.h"
#include "trainer/rundir.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* The weights file that `which` means in a run. */
static const char *file_of_run(const char *run, const char *which, dlt_arena *arena)
{
    struct stat status;
    const char *final = dlt_final_weights_of(run, arena);
    if (which == NULL || strcmp(which, "final") == 0) {
        const bool there = final != NULL && dlt_file()->stat(final, &status) == 0;
        return there || which != NULL ? final
                                      : dlt_arena_printf(arena, "%s/checkpoints/last.weights.h5", run);
    }
    if (strcmp(which, "best") == 0 || strcmp(which, "last") == 0) {
        return dlt_arena_printf(arena, "%s/checkpoints/%s.weights.h5", run, which);
    }
    return dlt_arena_string(arena, which);
}

/* A file that `which` names must be there; a word that is nearly one of the run's own is taken for a slip. */
static dlt_status check_which(const char *which, dlt_diag *diag)
{
    static const char *const own[] = {"final", "best", "last"};
    struct stat status;
    const int near = which != NULL && dlt_file()->stat(which, &status) != 0 ? dlt_nearest(which, own, DLT_COUNT(own)) : -1;
    return near < 0 || strcmp(which, own[near]) == 0
               ? DLT_OK
               : dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0}, "--which: there is no file '%s'; did you mean '%s'?", which,
                          own[near]);
}

static bool is_file(const char *path)
{
    struct stat status;
    return dlt_file()->stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/* A checkpoint by its first bytes, or, where it is damaged, by its name; any other file is a model file. */
static bool is_checkpoint(const char *path)
{
    static const unsigned char mark[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    unsigned char front[8] = {0};
    const int fd = dlt_file()->open(path, O_RDONLY | O_CLOEXEC, 0);
    const bool marked = fd >= 0 && dlt_file()->pread(fd, front, sizeof front, 0) == (ssize_t)sizeof front &&
                        memcmp(front, mark, sizeof mark) == 0;
    if (fd >= 0) {
        dlt_file()->close(fd);
    }
    return marked || dlt_text_ends(path, ".h5") || dlt_text_ends(path, ".hdf5");
}

static dlt_status open_weights(const char *given, dlt_arena *arena, dlt_checkpoint **weights, dlt_diag *diag)
{
    const char *path = dlt_rundir_is(given) ? dlt_final_weights_of(given, arena) : given;
    return path != NULL ? dlt_checkpoint_open(path, DLT_CHECKPOINT_ANY, weights, diag)
                        : dlt_fail_memory(diag);
}

/* The config as the checkpoint has it: its text is data, and nothing in it is expanded. */
static dlt_status load_stored(dlt_model *m, const dlt_catalogue *catalogue, const dlt_load_options *load,
                              dlt_arena *arena, dlt_diag *diag)
{
    dlt_load_options options = *load;
    const char *name = dlt_arena_printf(arena, "%s:config", m->path);
    options.stored = true;
    return name != NULL ? dlt_spec_parse(arena, catalogue, name, m->meta.config, strlen(m->meta.config),
                                         &options, &m->spec, diag)
                        : dlt_fail_memory(diag);
}

static dlt_status load_of_run(dlt_model *m, const dlt_catalogue *catalogue, const dlt_load_options *load,
                              dlt_arena *arena, dlt_diag *diag)
{
    const char *file = dlt_arena_printf(arena, "%s/config.yaml", m->run);
    return file != NULL ? dlt_spec_load(arena, catalogue, file, load, &m->spec, diag) : dlt_fail_memory(diag);
}

static dlt_status open_model(dlt_model *m, const dlt_model_choice *choice, const dlt_catalogue *catalogue,
                             const dlt_load_options *load, dlt_arena *arena, dlt_diag *diag)
{
    if (is_file(choice->given) && !is_checkpoint(choice->given)) {
        m->path = dlt_arena_string(arena, choice->given);
        if (choice->weights == NULL && !dlt_text_ends(choice->given, ".yaml") &&
            !dlt_text_ends(choice->given, ".yml")) {
            return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0}, "'%s' is neither a run nor a checkpoint",
                            choice->given);
        }
        if (choice->weights == NULL) {
            return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0},
                            "'%s' is a model file, which has no weights: name a run or a checkpoint, or give "
                            "--weights FILE",
                            choice->given);
        }
        DLT_TRY(open_weights(choice->weights, arena, &m->weights, diag));
        return m->path != NULL ? dlt_spec_load(arena, catalogue, m->path, load, &m->spec, diag)
                               : dlt_fail_memory(diag);
    }
    if (is_file(choice->given)) {
        m->path = dlt_arena_string(arena, choice->given);
    } else {
        DLT_TRY(dlt_rundir_resolve(choice->given, arena, &m->run, diag));
        DLT_TRY(check_which(choice->which, diag));
        m->path = file_of_run(m->run, choice->which, arena);
    }
    if (m->path == NULL) {
        return dlt_fail_memory(diag);
    }
    DLT_TRY(dlt_checkpoint_open(m->path, DLT_CHECKPOINT_OURS, &m->checkpoint, diag));
    DLT_TRY(dlt_saved_meta_read(m->checkpoint, arena, &m->meta, diag));
    DLT_TRY(m->run != NULL ? load_of_run(m, catalogue, load, arena, diag)
                           : load_stored(m, catalogue, load, arena, diag));
    return choice->weights != NULL ? open_weights(choice->weights, arena, &m->weights, diag) : DLT_OK;
}

dlt_status dlt_model_open(const dlt_model_choice *choice, const dlt_catalogue *catalogue,
                          const dlt_load_options *load, dlt_arena *arena, dlt_model *m, dlt_diag *diag)
{
    *m = (dlt_model){0};
    const dlt_status status = open_model(m, choice, catalogue, load, arena, diag);
    if (status != DLT_OK) {
        dlt_model_close(m);
    }
    return status;
}

void dlt_model_close(dlt_model *m)
{
    dlt_checkpoint_close(m->checkpoint);
    dlt_checkpoint_close(m->weights);
    dlt_frame_destroy(m->meta.frame);
    *m = (dlt_model){0};
}

dlt_status dlt_model_source(const dlt_model *m, const char *path, dlt_arena *arena, const dlt_item **out,
                            dlt_diag *diag)
{
    const dlt_item *like = m->spec->value.data.train;
    *out = NULL;
    if (like == NULL) {
        return dlt_fail(diag, DLT_E_CHECKPOINT, (dlt_pos){0},
                        "the model's config names no training data, so '%s' cannot be read like them", path);
    }
    dlt_item *item = dlt_arena_alloc(arena, 1, sizeof *item);
    void *params = dlt_arena_alloc(arena, 1, like->kind->size);
    if (item == NULL || params == NULL) {
        return dlt_fail_memory(diag);
    }
    DLT_TRY(dlt_source_desc_of(like)->input(arena, like, path, true, params, diag));
    *item = *like;
    item->params = params;
    item->field_pos = NULL;
    item->pos = (dlt_pos){.file = path};
    *out = item;
    return DLT_OK;
}

dlt_status dlt_model_session(const dlt_model *m, const dlt_session_options *given, const dlt_data_spec *data,
                             dlt_session **session, dlt_diag *diag)
{
    dlt_session_options options = *given;
    dlt_data_spec train_only = m->spec->value.data;
    train_only.test = NULL;
    if (train_only.validation != NULL && train_only.validation->kind != &dlt_split_kind) {
        train_only.validation = NULL; /* a split stays: what it takes away is not learned from */
    }
    options.depth = DLT_DEPTH_LOAD;
    options.data = data;
    if (m->checkpoint != NULL) {
        options.loaded = &m->meta;
        options.no_data = data == NULL;
    } else if (data == NULL) {
        options.data = &train_only;
        options.depth = DLT_DEPTH_SCAN; /* weights that are measured on the data come from the file */
    }
    DLT_TRY(dlt_session_open(m->spec, &options, session, diag));
    dlt_checkpoint *from = m->weights != NULL ? m->weights : m->checkpoint;
    dlt_engine *engine = (*session)->engine;
    dlt_status status = dlt_saved_arrays_fit(from, engine, DLT_SAVED_WEIGHTS, diag);
    status = status == DLT_OK ? dlt_engine_start(engine, diag) : status;
    status = status == DLT_OK ? dlt_engine_init_variables(engine, NULL, true, diag) : status;
    status = status == DLT_OK ? dlt_saved_arrays_read(from, engine, DLT_SAVED_WEIGHTS, diag) : status;
    if (status != DLT_OK) {
        dlt_session_close(*session);
        *session = NULL;
    }
    return status;
}

dlt_status dlt_weights_load(dlt_engine *engine, const char *given, dlt_arena *arena, dlt_diag *diag)
{
    dlt_checkpoint *c = NULL;
    DLT_TRY(open_weights(given, arena, &c, diag));
    const dlt_status status = dlt_saved_arrays_read(c, engine, DLT_SAVED_WEIGHTS, diag);
    dlt_checkpoint_close(c);
    return status;
}
