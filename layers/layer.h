/* layers/layer.h: what a layer is. One file a layer, one row in layers.def; nothing else is edited (docs/adding-a-layer.md).
 *
 * A layer builds a piece of graph out of builder calls. It has no kernels, no gradient rule, and never sees a device, a
 * file or YAML. */
#ifndef DLT_LAYERS_LAYER_H
#define DLT_LAYERS_LAYER_H

#include "base/fitted.h"
#include "base/kind.h"
#include "base/table.h"
#include "graph/builder.h"

/** What a layer does with the mask of its input (decisions 9; keras-layers.md 14). */
typedef enum dlt_mask_rule {
    DLT_MASK_PASS, /* the output has the input's mask */
    DLT_MASK_USE,  /* build looks at in->mask and sets the output's itself */
    DLT_MASK_DROP, /* the output has none unless build made one; a mask that gets lost is warned about */
    DLT_MASK_END   /* the output has none, and that is as it should be */
} dlt_mask_rule;

/** One numeric INPUT that a table layer's encode fills. */
typedef struct dlt_layer_input {
    const char *name;
    dlt_dtype type;
    dlt_shape shape; /* of one row, without the batch axis */
} dlt_layer_input;

/**
 * A layer that turns columns of a table into numbers before the graph (decisions 2). It stands first. fit sees all rows of
 * train once, in order, in batches; what it learns goes into `fitted` and from there alone encode and build take it.
 */
typedef struct dlt_table_layer {
    /** Begins: checks the parameters against the columns (messages name columns and places); *state is the layer's own. */
    dlt_status (*fit_begin)(const dlt_item *item, const dlt_record_layout *layout, dlt_arena *arena, void **state,
                            dlt_diag *diag);
    dlt_status (*fit_rows)(void *state, const dlt_table *rows, dlt_diag *diag);
    dlt_status (*fit_end)(void *state, dlt_fitted *fitted, dlt_diag *diag);
    /** Prepares encoding rows of `layout` from what was fitted; *encoder lives in `arena`. Columns are found by name. */
    dlt_status (*encoder)(const dlt_item *item, const dlt_fitted *fitted, const dlt_record_layout *layout,
                          dlt_arena *arena, void **encoder, dlt_diag *diag);
    /** The INPUT values, in order; *inputs lives in `arena`. */
    dlt_status (*inputs)(const dlt_item *item, const dlt_fitted *fitted, dlt_arena *arena,
                         const dlt_layer_input **inputs, int *count, dlt_diag *diag);
    /** Fills outputs[i] (rows x input i's shape). Called by loader threads: no allocation, no shared state. */
    dlt_status (*encode)(const void *encoder, const dlt_table *rows, void *const *outputs, dlt_diag *diag);
} dlt_table_layer;

/**
 * A layer whose weights are measured on the training data before training (decisions 4). The trainer runs the layers before
 * it over train and hands over their output as float64.
 */
typedef struct dlt_adapt_layer {
    /** False if nothing is to be measured (the user gave the values). */
    bool (*wanted)(const dlt_item *item);
    /** Number of doubles of running state for inputs of this shape (batch axis included). */
    size_t (*state_count)(const dlt_item *item, const dlt_shape *in);
    /** x: `rows` rows of the input, row-major. state starts as zeros. */
    void (*update)(const dlt_item *item, const dlt_shape *in, double *state, const double *x, int64_t rows);
    /** Value of the layer's weight `name` ("mean"), `count` doubles. */
    void (*finish)(const dlt_item *item, const dlt_shape *in, const double *state, const char *name, double *value,
                   size_t count);
} dlt_adapt_layer;

/** What one call of a layer asks beside its parameters: Reuse, Bidirectional and TimeDistributed say it. */
typedef struct dlt_layer_call {
    bool reversed;    /* Reuse with `reverse: true`: only of layers that are `reversible` */
    bool flipped;     /* recurrent: in the direction opposite to go_backwards */
    bool zero_masked; /* recurrent: output 0 at masked steps in place of the last output */
    bool no_penalty;  /* the layer's activity_regularizer is passed over */
} dlt_layer_call;

typedef struct dlt_layer_desc {
    dlt_kind kind; /* first: a kind of category "layer" is one of these */
    /** The output, or NULL after dlt_reject. `in` is never NULL, but for layers that stand first (Input, tables). */
    dlt_value *(*build)(dlt_builder *b, const void *params, dlt_value *in);
    dlt_mask_rule mask;
    bool no_key;       /* gets no group in weights files (Input, Reuse) */
    bool starts;       /* may be built with `in` NULL: Input, table layers */
    bool mixes_samples; /* rows of a batch influence each other at inference: no padding of the last batch (decisions 14) */
    bool whole_at_inference; /* training alone changes the size: at inference the input goes through as it is (RandomCrop) */
    bool reversible;    /* build knows what dlt_layer_call's `reversed` asks */
    bool recurrent;     /* its parameters begin with dlt_recurrent_params (layers/recurrent.h) */
    /**
     * True if, in training, the rows of a batch share something: statistics, or a draw. TimeDistributed then builds the layer
     * once a step, as Keras does, in place of once for all steps. NULL: they do not.
     */
    bool (*joins_samples)(const dlt_item *item);
    const dlt_table_layer *table;
    const dlt_adapt_layer *adapt;
    /**
     * Small models for the registry's tests, NULL-terminated: "{input: [2, 5, 3], layer: {Dense: {units: 4}}}". Optional
     * keys: dtype: int32 and high: 9 (ids 0..8), before: [layers], mask: true (a mask with holes), no_gradient: true.
     */
    const char *const *examples;
} dlt_layer_desc;

/** All layers, NULL-terminated: layers.def as a table. */
extern const dlt_layer_desc *const dlt_layers[];
/** The same as kinds, for the catalogue of a program (cmd/). */
extern const dlt_kind *const dlt_layer_kinds[];
extern const size_t dlt_layer_kind_count;
static inline const dlt_layer_desc *dlt_layer_of(const dlt_item *item)
{
    return (const dlt_layer_desc *)(const void *)item->kind;
}

/**
 * Builds a list of layers one after another. `list` names it among its owner's children in paths and files ("main",
 * "branches/sequential_1"), NULL for the model's own list. `visit`, if not NULL, sees each layer's output.
 */
typedef void dlt_layer_visit(void *context, const dlt_item *item, const char *path, dlt_value *in, dlt_value *out);
dlt_value *dlt_layers_apply(dlt_builder *b, const dlt_items *items, const char *list, dlt_value *in);
/**
 * The model's own list; the only one that a trainer calls. Where a layer is rejected, those behind it are looked at as far as can be:
 * then the builder has failed, and the result is something of the right shape to look at, or NULL where that is not known.
 */
dlt_value *dlt_model_apply(dlt_builder *b, const dlt_items *items, dlt_value *in, const dlt_fitted *fitted,
                           dlt_value *const *inputs, int input_count, dlt_layer_visit *visit, void *context);
/** One layer, in a builder in which there is nothing else: what it makes of `in`, or NULL where it is rejected. */
dlt_value *dlt_layer_alone(dlt_builder *b, const dlt_item *item, dlt_value *in);
/**
 * Builds one inner layer of the present one (Bidirectional, TimeDistributed): `name` extends the path, `group` the path in
 * weights files ("forward_layer", "layer").
 */
dlt_value *dlt_layer_apply(dlt_builder *b, const dlt_item *item, const char *name, const char *group, dlt_value *in);
dlt_value *dlt_layer_apply_as(dlt_builder *b, const dlt_item *item, const char *name, const char *group, dlt_value *in,
                              dlt_layer_call call);
/** What such a layer is called: the user's name, or its class in snake case; `prefix` before it. NULL: no memory. */
const char *dlt_layer_inner_name(dlt_builder *b, const dlt_item *item, const char *prefix);
/** Builds again, with the same weights, the layer called `name` in the present list or one around it (Reuse). */
dlt_value *dlt_layers_reuse(dlt_builder *b, const char *name, bool reverse, dlt_value *in);
/** What the present call asks. */
dlt_layer_call dlt_layer_called(const dlt_builder *b);
/** The layer that is being built: its place, its name. Reuse: the layer that is used again. */
const dlt_item *dlt_layer_item(const dlt_builder *b);
/** True if no other layer of the model was built before this one. */
bool dlt_layer_first(const dlt_builder *b);
/** dlt_reject at the place where the present layer's `field` was written. */
dlt_value *dlt_layer_reject(dlt_builder *b, const char *field, const char *fmt, ...) DLT_PRINTF(3, 4);
/** Calls `visit` with each layer that stands among the parameters of `item`, in order; not with theirs. */
void dlt_layer_children(const dlt_item *item, void (*visit)(void *context, const dlt_item *child), void *context);
/** The layer's activity_regularizer, or NULL. */
const dlt_item *dlt_layer_activity_regularizer(const dlt_item *item);
/** True if `test` holds for the layer or one inside it. */
bool dlt_layer_any(const dlt_item *item, bool (*test)(const dlt_item *item));
/** INPUT values and fitted values for a table layer's build. */
dlt_value *const *dlt_layer_inputs(const dlt_builder *b, int *count);
const dlt_fitted *dlt_layer_fitted(const dlt_builder *b);

/* ---- what many layers share ---- */

enum { DLT_MAX_UNITS = 1 << 24 };
#define DLT_KERAS_EPSILON 1e-7 /* keras.config.epsilon() */

/** Names for DLT_ENUM: {valid, same}, {channels_last, channels_first}. */
extern const char *const dlt_padding_names[];
extern const char *const dlt_data_format_names[];
enum { DLT_PADDING_VALID, DLT_PADDING_SAME, DLT_PADDING_CAUSAL };
enum { DLT_CHANNELS_LAST, DLT_CHANNELS_FIRST };

/** x in the real type: integers and bytes are numbers to layers that compute. */
dlt_value *dlt_as_real(dlt_builder *b, dlt_value *x);
/** A field `axis` as an axis of x, counted from the front; -1 after a message if there is none or it is the batch axis. */
int dlt_layer_axis(dlt_builder *b, const char *field, int64_t axis, const dlt_value *x);
/** (N, C, ...) to (N, ..., C) and back, where format is DLT_CHANNELS_FIRST; else x. */
dlt_value *dlt_channels_last(dlt_builder *b, dlt_value *x, int format);
dlt_value *dlt_channels_first(dlt_builder *b, dlt_value *x, int format);
/** Row of layers that take Keras' activity_regularizer; the member is `const dlt_item *`. layer.c sees to the rest. */
#define DLT_ACTIVITY_FIELD(T)                                                                                \
    DLT_ITEM(T, activity_regularizer, "regularizer", null, "penalty on the output, added to the loss")
/** Name of a random draw; a layer's `seed`, if set, becomes part of it. */
const char *dlt_layer_draw(dlt_builder *b, const char *purpose, dlt_opt_int seed);
/** Inverted dropout of x by a mask of `shape`, which broadcasts to x: x / (1 - rate) where u >= rate, else 0. */
dlt_value *dlt_dropout(dlt_builder *b, dlt_value *x, double rate, dlt_shape shape, const char *draw);
/** A mask as 0 and 1 of the real type with axes of size 1 behind, so that it has x's rank. */
dlt_value *dlt_mask_weights(dlt_builder *b, dlt_value *mask, const dlt_value *x);
/** Mask of a sum, product, ... of values, as Keras' merge layers make it: none if one has none, else where any counts. */
dlt_value *dlt_mask_either(dlt_builder *b, dlt_value *const *values, int count);
/** Mask of values joined along their last axis: none if no one has one, else a value without a mask counts everywhere. */
dlt_value *dlt_mask_joined(dlt_builder *b, dlt_value *const *values, int count);

/* ---- activations: kinds of category "activation", composed of builder calls ---- */

typedef struct dlt_activation_desc {
    dlt_kind kind;
    dlt_value *(*build)(dlt_builder *b, const void *params, dlt_value *x);
} dlt_activation_desc;
/** All activations, NULL-terminated; and as kinds. */
extern const dlt_activation_desc *const dlt_activations[];
extern const dlt_kind *const dlt_activation_kinds[];
extern const size_t dlt_activation_kind_count;
/** The activation of x; NULL: linear. */
dlt_value *dlt_activate(dlt_builder *b, dlt_value *x, const dlt_item *activation);
/** Its name if it has no parameters or only default ones ("linear" for NULL), else NULL. */
const char *dlt_activation_name(const dlt_item *activation);

/* ---- kinds that stand in FeatureSpace (layers/feature_space.c) ---- */

/** Categories "feature", and "cross", whose kind `cross` is implied where none is named. */
extern const dlt_kind *const dlt_feature_kinds[];
extern const size_t dlt_feature_kind_count;
extern const dlt_kind *const dlt_cross_kinds[];
extern const size_t dlt_cross_kind_count;

#endif
