/* trainer/model.h: a trained model: a run or a checkpoint, or a model file and the weights that Keras saved,
 * opened to be evaluated or to predict. Paths and variables that stand inside a checkpoint are never opened
 * or expanded (decisions 31); a model file, and the config in a run directory, are the user's own and are. */
#ifndef DLT_TRAINER_MODEL_H
#define DLT_TRAINER_MODEL_H

#include "trainer/session.h"

typedef struct dlt_model {
    const char *path; /* of the checkpoint, or of the model file */
    const char *run;  /* run directory, or NULL */
    const dlt_run_spec *spec;
    dlt_checkpoint
        *checkpoint;         /* of ours, which knows config, frame and what was fitted; NULL: a model file */
    dlt_checkpoint *weights; /* of another file; NULL: the checkpoint's own */
    dlt_loaded_meta meta;    /* of the checkpoint */
} dlt_model;

/** What a user names. */
typedef struct dlt_model_choice {
    const char
        *given; /* a run directory, runs/NAME (its newest finished run), a checkpoint or a model file */
    const char
        *which; /* of a run: "final" (the weights that fit left), "best", "last", or a file; NULL: final */
    const char
        *weights; /* weights to use in place of its own: a checkpoint, a run, or a file that Keras saved */
} dlt_model_choice;

/**
 * Opens it. A model file needs `weights`; what else there is to know (types of columns, class names, what
 * FeatureSpace learns) then comes from its training data. Overrides apply to the model's config.
 */
dlt_status dlt_model_open(const dlt_model_choice *choice, const dlt_catalogue *catalogue,
                          const dlt_load_options *load, dlt_arena *arena, dlt_model *model, dlt_diag *diag);
void dlt_model_close(dlt_model *model);

/**
 * An item of category "source" that reads `path` as the model's training data were read: the kind of train's
 * source (or that of the file's first bytes), its delimiter, target and so on.
 */
dlt_status dlt_model_source(const dlt_model *model, const char *path, dlt_arena *arena, const dlt_item **item,
                            dlt_diag *diag);

/**
 * Opens a session for the model and puts its weights in. data: where evaluation takes its records from; NULL:
 * none are needed (a model file's training data are read all the same). options->depth is chosen here.
 */
dlt_status dlt_model_session(const dlt_model *model, const dlt_session_options *options,
                             const dlt_data_spec *data, dlt_session **session, dlt_diag *diag);

/** Puts the weights of a checkpoint, a run (its final ones) or a file that Keras saved into an engine that was started. */
dlt_status dlt_weights_load(dlt_engine *engine, const char *given, dlt_arena *arena, dlt_diag *diag);

#endif
