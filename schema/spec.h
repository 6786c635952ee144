/* schema/spec.h: the run spec: a model file, typed, complete (defaults filled in) and constant.
 *
 * Stage of the path of data: YAML text -> node tree -> **run spec** -> data signature -> graph ... */
#ifndef DLT_SCHEMA_SPEC_H
#define DLT_SCHEMA_SPEC_H

#include "base/arena.h"
#include "base/kind.h"
#include "io/data/data_spec.h"

typedef enum dlt_precision { DLT_PRECISION_F32, DLT_PRECISION_MIXED_BF16, DLT_PRECISION_MIXED_F16 } dlt_precision;
typedef enum dlt_non_finite { DLT_NON_FINITE_STOP, DLT_NON_FINITE_SKIP, DLT_NON_FINITE_ROLLBACK } dlt_non_finite;
typedef enum dlt_kernels { DLT_KERNELS_AUTO, DLT_KERNELS_REFERENCE } dlt_kernels;

/** fit: */
typedef struct dlt_fit_spec {
    int64_t epochs, batch_size, initial_epoch;
    dlt_opt_int steps_per_epoch, validation_steps, validation_batch_size;
    int64_t validation_freq;
    int shuffle;               /* dlt_shuffle_mode */
    dlt_float_map class_weight; /* word "balanced", or class name or number -> weight */
    dlt_items callbacks;       /* category "callback" */
    int non_finite;            /* dlt_non_finite */
    dlt_opt_float save_every_min; /* minutes between checkpoints inside an epoch */
    int64_t keep;              /* checkpoints kept besides the best */
} dlt_fit_spec;

typedef struct dlt_spec {
    const char *name;   /* of the model; default: the file's name without its suffix */
    int64_t seed;
    const char *device; /* auto | cpu | cuda | cuda:N */
    int precision;      /* dlt_precision */
    bool deterministic, tune;
    dlt_string_map tuned; /* kernels that tune took, by dlt_node_key */
    int kernels;        /* dlt_kernels */
    dlt_data_spec data;
    dlt_items layers;         /* category "layer" */
    const dlt_item *optimizer; /* category "optimizer" */
    const dlt_item *loss;      /* category "loss"; NULL: none (predict only) */
    dlt_items metrics;         /* category "metric" */
    dlt_items weighted_metrics;
    dlt_fit_spec fit;
} dlt_spec;

/** Places of what a whole-model check complains about; index by field name as in dlt_item_pos. */
typedef struct dlt_run_spec {
    dlt_spec value;
    const dlt_item *root;  /* the same as items: kind `model`, params == &value; the sections data and fit have their
                              places through dlt_run_spec_pos */
    const char *file;      /* the model file as the user named it */
    const char *folder;    /* absolute: relative paths were taken against it */
    char digest[65];       /* of everything that changes what is trained (decisions 29) */
    const struct dlt_shown *effective; /* every value written down again: see schema/dump.h */
    bool unsure_activation;                 /* mistaken in an activation: that the last one does not fit the loss says nothing */
    bool unsure_metrics, unsure_validation; /* mistaken in what the logs have: that a name is not among them says nothing */
    bool mistaken;         /* made in spite of mistakes (dlt_load_options.stand_in): to look for others in, and for nothing else */
} dlt_run_spec;

typedef struct dlt_load_options {
    const char *const *overrides; /* "fit.epochs=3", in order */
    size_t override_count;
    /**
     * Kind that takes the place of each layer that is wrong. With it a spec is handed out in spite of mistakes, if what is wrong can
     * be left out: things of lists go, fields get their defaults. NULL: none is.
     */
    const dlt_kind *stand_in;
    bool stored; /* the text comes from a checkpoint: no include, no variables, paths are not resolved (decisions 31) */
} dlt_load_options;

/**
 * Reads a model file into a run spec. All mistakes are reported, not only the first; *spec is NULL if there is any, but for
 * options->stand_in.
 * path "-" is standard input. Everything lives in `arena`.
 */
dlt_status dlt_spec_load(dlt_arena *arena, const dlt_catalogue *catalogue, const char *path,
                         const dlt_load_options *options, const dlt_run_spec **spec, dlt_diag *diag);
/** The same from a text. */
dlt_status dlt_spec_parse(dlt_arena *arena, const dlt_catalogue *catalogue, const char *name, const char *text,
                          size_t bytes, const dlt_load_options *options, const dlt_run_spec **spec, dlt_diag *diag);
/** A copy of a spec with other kernels that tune took: what a run writes down. NULL when memory is refused. */
const dlt_run_spec *dlt_run_spec_tuned(dlt_arena *arena, const dlt_run_spec *spec, const dlt_string_map *tuned);
/**
 * One thing from a node ("{Dense: {units: 4}}"), as if it stood in a model file under a field of `category`; and from a
 * text that messages call `name`. For tests and examples.
 */
struct dlt_yaml;
dlt_status dlt_item_read(dlt_arena *arena, const dlt_catalogue *catalogue, const char *category,
                         const struct dlt_yaml *node, const dlt_item **item, dlt_diag *diag);
dlt_status dlt_item_parse(dlt_arena *arena, const dlt_catalogue *catalogue, const char *category, const char *name,
                          const char *text, const dlt_item **item, dlt_diag *diag);

/** The table of a model file: kind "model", whose fields are the keys at its top (`include`, `vars` and notes apart). */
extern const dlt_kind dlt_kind_model;
/**
 * Looks for mistakes in the tables themselves: defaults that do not read, unknown categories, names twice, no doc. For
 * tests. Adds DLT_E_INTERNAL errors.
 */
dlt_status dlt_catalogue_check(const dlt_catalogue *catalogue, dlt_diag *diag);
/** Place of the value at a path ("fit.batch_size", "data.train", "loss"), of what holds it, or of the file's first line. */
dlt_pos dlt_run_spec_pos(const dlt_run_spec *spec, const char *path);

#endif
