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
    DLT_MASK_DROP, /* the output has none; a mask that gets lost is warned about */
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

typedef struct dlt_layer_desc {
    dlt_kind kind; /* first: a kind of category "layer" is one of these */
    /** The output, or NULL after dlt_reject. `in` is never NULL, but for layers that stand first (Input, tables). */
    dlt_value *(*build)(dlt_builder *b, const void *params, dlt_value *in);
    dlt_mask_rule mask;
    bool no_key;       /* gets no group in weights files (Input, Reuse) */
    bool mixes_samples; /* rows of a batch influence each other at inference: no padding of the last batch (decisions 14) */
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
/** The model's own list; the only one that a trainer calls. */
dlt_value *dlt_model_apply(dlt_builder *b, const dlt_items *items, dlt_value *in, const dlt_fitted *fitted,
                           dlt_value *const *inputs, int input_count, dlt_layer_visit *visit, void *context);
/**
 * Builds one inner layer of the present one (Bidirectional, TimeDistributed): `name` extends the path, `group` the path in
 * weights files ("forward_layer", "layer").
 */
dlt_value *dlt_layer_apply(dlt_builder *b, const dlt_item *item, const char *name, const char *group, dlt_value *in);
/** Builds again, with the same weights, the layer called `name` in the present list or one around it (Reuse). */
dlt_value *dlt_layer_reuse(dlt_builder *b, const char *name, bool reverse, dlt_value *in);
/** True while a layer is built by Reuse with `reverse: true`. */
bool dlt_layer_reversed(const dlt_builder *b);
/** INPUT values and fitted values for a table layer's build. */
dlt_value *const *dlt_layer_inputs(const dlt_builder *b, int *count);
const dlt_fitted *dlt_layer_fitted(const dlt_builder *b);

/* ---- activations: kinds of category "activation", composed of builder calls ---- */

typedef struct dlt_activation_desc {
    dlt_kind kind;
    dlt_value *(*build)(dlt_builder *b, const void *params, dlt_value *x);
} dlt_activation_desc;
/** All activations, NULL-terminated. */
extern const dlt_activation_desc *const dlt_activations[];
/** The activation of x; NULL: linear. */
dlt_value *dlt_activate(dlt_builder *b, dlt_value *x, const dlt_item *activation);

#endif
