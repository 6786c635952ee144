/* trainer/model.c: a trained model. */
#include "trainer/model.h"

#include "base/alloc.h"
#include "io/file.h"
#include "trainer/rundir.h"

#include <string.h>

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

static bool is_file(const char *path)
{
    struct stat status;
    return dlt_file()->stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

static dlt_status load_config(dlt_model *m, const dlt_catalogue *catalogue, const dlt_load_options *load,
                              dlt_arena *arena, dlt_diag *diag)
{
    dlt_load_options options = *load;
    options.stored = m->run == NULL;
    if (m->run != NULL) {
        const char *file = dlt_arena_printf(arena, "%s/config.yaml", m->run);
        return file != NULL ? dlt_spec_load(arena, catalogue, file, &options, &m->spec, diag)
                            : dlt_fail_memory(diag);
    }
    const char *name = dlt_arena_printf(arena, "%s:config", m->path);
    return name != NULL ? dlt_spec_parse(arena, catalogue, name, m->meta.config, strlen(m->meta.config),
                                         &options, &m->spec, diag)
                        : dlt_fail_memory(diag);
}

dlt_status dlt_model_open(const char *given, const char *which, const dlt_catalogue *catalogue,
                          const dlt_load_options *load, dlt_arena *arena, dlt_model *m, dlt_diag *diag)
{
    *m = (dlt_model){0};
    if (is_file(given)) {
        m->path = dlt_arena_string(arena, given);
    } else {
        DLT_TRY(dlt_rundir_resolve(given, arena, &m->run, diag));
        m->path = file_of_run(m->run, which, arena);
    }
    if (m->path == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_status status = dlt_checkpoint_open(m->path, DLT_CHECKPOINT_OURS, &m->checkpoint, diag);
    status = status == DLT_OK ? dlt_saved_meta_read(m->checkpoint, arena, &m->meta, diag) : status;
    status = status == DLT_OK ? load_config(m, catalogue, load, arena, diag) : status;
    if (status != DLT_OK) {
        dlt_model_close(m);
    }
    return status;
}

void dlt_model_close(dlt_model *m)
{
    dlt_checkpoint_close(m->checkpoint);
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
    DLT_TRY(dlt_source_desc_of(like)->input(arena, like, path, params, diag));
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
    options.loaded = &m->meta;
    options.data = data;
    options.no_data = data == NULL;
    DLT_TRY(dlt_session_open(m->spec, &options, session, diag));
    dlt_status status = dlt_engine_start((*session)->engine, diag);
    status = status == DLT_OK ? dlt_engine_init_variables((*session)->engine, NULL, diag) : status;
    status = status == DLT_OK
                 ? dlt_saved_arrays_read(m->checkpoint, (*session)->engine, DLT_SAVED_WEIGHTS, diag)
                 : status;
    if (status != DLT_OK) {
        dlt_session_close(*session);
        *session = NULL;
    }
    return status;
}
