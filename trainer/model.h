/* trainer/model.h: a trained model: a run or a checkpoint, opened to be evaluated or to predict. Paths and
 * variables that stand inside a checkpoint are never opened or expanded (decisions 31); the config in a run
 * directory is the user's own and is. */
#ifndef DLT_TRAINER_MODEL_H
#define DLT_TRAINER_MODEL_H

#include "trainer/session.h"

typedef struct dlt_model {
    const char *path; /* of the weights file */
    const char *run;  /* run directory, or NULL */
    const dlt_run_spec *spec;
    dlt_checkpoint *checkpoint;
    dlt_loaded_meta meta;
} dlt_model;

/**
 * Opens what a user names: a run directory, runs/NAME (its newest finished run), or a checkpoint file. which:
 * "final" (default of a run: the weights that fit left), "best", "last", or a file; NULL: the default.
 * overrides apply to the model's config.
 */
dlt_status dlt_model_open(const char *given, const char *which, const dlt_catalogue *catalogue,
                          const dlt_load_options *load, dlt_arena *arena, dlt_model *model, dlt_diag *diag);
void dlt_model_close(dlt_model *model);

/**
 * An item of category "source" that reads `path` as the model's training data were read: the kind of train's
 * source (or that of the file's first bytes), its delimiter, target and so on.
 */
dlt_status dlt_model_source(const dlt_model *model, const char *path, dlt_arena *arena, const dlt_item **item,
                            dlt_diag *diag);

/** Opens a session for the model and puts its weights in. data: where evaluation takes its records from;
 * NULL: none are needed. */
dlt_status dlt_model_session(const dlt_model *model, const dlt_session_options *options,
                             const dlt_data_spec *data, dlt_session **session, dlt_diag *diag);

#endif
