/* tests/support/layer_model.h: layers from YAML to graph, for tests. */
#ifndef DLT_TESTS_LAYER_MODEL_H
#define DLT_TESTS_LAYER_MODEL_H

#include "layers/layer.h"

/** Everything that one model needs; starts with open. */
typedef struct dlt_layer_model {
    dlt_arena *arena;
    dlt_diag *diag;
    const dlt_items *layers; /* after parse */
    dlt_variables *variables;
    dlt_builder *b; /* after build */
    dlt_value *in, *out;
    const dlt_fitted *fitted; /* of a FeatureSpace; set before build */
    dlt_value *const *inputs;
    int input_count;
} dlt_layer_model;

/** What the layers are given. */
typedef struct dlt_layer_input_spec {
    dlt_shape shape; /* with the batch */
    dlt_dtype type;
    bool mask;    /* a mask (N, T) */
    int64_t high; /* integers are 0..high-1 */
} dlt_layer_input_spec;

/** An example of a layer (layers/layer.h) taken apart. */
typedef struct dlt_layer_example {
    dlt_layer_input_spec input;
    const char *layers; /* "[BEFORE..., LAYER]" */
    bool no_gradient;
    const dlt_layer_desc *desc; /* for who reads the examples of a layer to set */
} dlt_layer_example;

/** Asserts that there is memory. */
dlt_layer_model *dlt_layer_model_open(void);
void dlt_layer_model_close(dlt_layer_model *m);
/** The kinds of all categories: layers, activations, features, crosses as they are, the others as far as layers name them. */
const dlt_catalogue *dlt_layer_catalogue(void);
/** Parses a YAML list of layers; false where the diag says why. Places count in the text "layers: LIST". */
bool dlt_layer_model_parse(dlt_layer_model *m, const char *list);
/** Builds the parsed layers as a program of its own over the model's variables. `mode`, real type F32 or F64. */
dlt_value *dlt_layer_model_build(dlt_layer_model *m, dlt_mode mode, dlt_dtype real,
                                 const dlt_layer_input_spec *input);
/** What one of the catalogue's regularizers (L1, L2) makes of a value. */
dlt_value *dlt_layer_model_regularize(dlt_builder *b, const dlt_item *regularizer, dlt_value *x);
/** Parses and builds a training program of float32. */
dlt_value *dlt_layer_model_make(dlt_layer_model *m, const char *list, const dlt_layer_input_spec *input);
/** Takes an example apart; asserts that it can be read. */
dlt_layer_example dlt_layer_example_read(dlt_layer_model *m, const char *example);
/**
 * "layers/dense 0 dense/kernel (3, 4)\n...": group, number, path and shape of all weights, in order of creation; then, where
 * they are not the usual, fans, elements that start as 1, "frozen" or "fixed" (no gradient ever).
 */
const char *dlt_layer_model_weights(dlt_layer_model *m);
/** Shape of a value, "none" for NULL. */
const char *dlt_layer_model_shape(dlt_layer_model *m, const dlt_value *v);
/** First message, or "". */
const char *dlt_layer_model_error(const dlt_layer_model *m);

#endif
