/* layers/feature_space.h: what the files of FeatureSpace share.
 *
 * feature_space.c holds the kinds and turns encoded INPUT values into the vector; feature_fit.c learns from the training
 * rows; feature_encode.c turns rows into INPUT values by what was learned. Between them stands dlt_fitted alone:
 *
 *   features   names, sorted           kinds   the kind of each           (texts)
 *   NAME:mean  NAME:variance           of numbers                         (numbers)
 *   NAME:missing                       there if missing values get a column of their own
 *   NAME:vocabulary                    texts or integers, in the order of their indices behind the OOV slots
 *   NAME:boundaries                    of bins */
#ifndef DLT_LAYERS_FEATURE_SPACE_H
#define DLT_LAYERS_FEATURE_SPACE_H

#include "layers/layer.h"

typedef enum dlt_feature_kind {
    DLT_FEATURE_FLOAT,
    DLT_FEATURE_NORMALIZED,
    DLT_FEATURE_RESCALED,
    DLT_FEATURE_DISCRETIZED,
    DLT_FEATURE_INTEGER_CATEGORICAL,
    DLT_FEATURE_STRING_CATEGORICAL,
    DLT_FEATURE_INTEGER_HASHED,
    DLT_FEATURE_STRING_HASHED,
    DLT_FEATURE_KINDS
} dlt_feature_kind;

enum {
    DLT_FEATURE_BARE_TOKENS = 10000, /* of a text column that nobody declared (decisions 3) */
    DLT_FEATURE_MAX_BINS = 1 << 24
};

/** Parameters of a feature, whatever its kind: each kind has the rows that it knows. */
typedef struct dlt_feature_params {
    double scale, offset;
    dlt_opt_int num_bins, max_tokens;
    int64_t num_oov_indices;
    dlt_floats bin_boundaries;
    int output_mode;
} dlt_feature_params;

typedef struct dlt_cross_params {
    dlt_strings feature_names;
    dlt_opt_int crossing_dim;
    int output_mode;
} dlt_cross_params;

typedef struct dlt_feature_space_params {
    dlt_item_map features;
    dlt_items crosses;
    int output_mode;
    int64_t crossing_dim, hashing_dim, num_discretization_bins;
} dlt_feature_space_params;

/** Which kind a feature's item is. */
dlt_feature_kind dlt_feature_kind_of(const dlt_item *item);
/** Keras' name of a kind: "float_normalized". */
const char *dlt_feature_kind_name(dlt_feature_kind kind);
/** True for kinds whose encoding is an index: one-hot vectors, crosses. */
bool dlt_feature_is_index(dlt_feature_kind kind);

/** A feature with everything that is known once it was fitted. */
typedef struct dlt_feature {
    const char *name;
    dlt_feature_kind kind;
    bool bare;             /* taken by its column's type, not declared */
    bool indicator;        /* a column says where the value was missing */
    double mean, variance; /* numbers; a missing one becomes the mean */
    double scale, offset;
    int64_t oov, size; /* index kinds: OOV slots; all slots, hash bins or bins */
    const dlt_fitted_entry *vocabulary, *boundaries; /* or NULL */
} dlt_feature;

typedef struct dlt_feature_cross {
    const char *name; /* "a_X_b" */
    size_t count;
    const size_t *of; /* features by number */
    int64_t bins;
} dlt_feature_cross;

/** What the layer does, from its parameters and what was fitted: features sorted by name, then crosses sorted by name. */
typedef struct dlt_feature_plan {
    size_t feature_count, cross_count;
    const dlt_feature *features;
    const dlt_feature_cross *crosses;
} dlt_feature_plan;

dlt_status dlt_feature_plan_make(const dlt_item *item, const dlt_fitted *fitted, dlt_arena *arena,
                                 dlt_feature_plan *plan, dlt_diag *diag);
/** "a_X_b". NULL: no memory. */
const char *dlt_feature_cross_name(dlt_arena *arena, const dlt_cross_params *params);
/** Name of an entry: "age:mean". NULL: no memory. */
const char *dlt_feature_entry_name(dlt_arena *arena, const char *feature, const char *what);

/** Part of a layout with this name and role FEATURE, or -1 after a message at `at`. */
int64_t dlt_feature_part(const dlt_record_layout *layout, const char *name, dlt_pos at, dlt_diag *diag);
/** Whether a part can serve a kind; a message at `at` if not. */
dlt_status dlt_feature_accepts(dlt_feature_kind kind, const dlt_part *part, dlt_pos at, dlt_diag *diag);

/* the functions of dlt_table_layer */
dlt_status dlt_feature_fit_begin(const dlt_item *item, const dlt_record_layout *layout, dlt_arena *arena,
                                 void **state, dlt_diag *diag);
dlt_status dlt_feature_fit_rows(void *state, const dlt_table *rows, dlt_diag *diag);
dlt_status dlt_feature_fit_end(void *state, dlt_fitted *fitted, dlt_diag *diag);
dlt_status dlt_feature_encoder(const dlt_item *item, const dlt_fitted *fitted,
                               const dlt_record_layout *layout, dlt_arena *arena, void **encoder,
                               dlt_diag *diag);
dlt_status dlt_feature_encode(const void *encoder, const dlt_table *rows, void *const *outputs,
                              dlt_diag *diag);

#endif
