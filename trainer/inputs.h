/* trainer/inputs.h: how records become the INPUT values of a model: which parts of the data go where, who
 * encodes them, and what preprocessing has to learn first.
 *
 * Stage of the path of data: run spec -> **data signature** -> graph. */
#ifndef DLT_TRAINER_INPUTS_H
#define DLT_TRAINER_INPUTS_H

#include "io/data/datasets.h"
#include "io/data/loader.h"
#include "trainer/check.h"
#include "trainer/step.h"

typedef struct dlt_inputs {
    dlt_step_data step;     /* what the graph's builder needs */
    const dlt_item *table;  /* the layer that encodes tables, standing first; NULL: none */
    const dlt_frame *frame; /* of the data */
    dlt_target_info target;
    dlt_plain_output *plain; /* of the inputs, where there is no table layer, then of the target */
    bool weighted;           /* samples have weights: of a column, or of classes */
    dlt_step_input target_input, weight_input;
} dlt_inputs;

/**
 * Says what goes into the model. fitted: what a table layer has learned, NULL where there is none yet.
 * signature NULL: the model is used without data of its own (predict), and the frame alone counts: no target,
 * no weights. Everything lives in the arena.
 */
dlt_status dlt_inputs_create(dlt_arena *arena, const dlt_spec *spec, const dlt_signature *signature,
                             const dlt_frame *frame, const dlt_fitted *fitted, dlt_inputs **inputs,
                             dlt_diag *diag);

/** What turns records into the INPUT values of a step: for the loader, or called by itself. */
typedef struct dlt_input_encoder {
    dlt_encode encode;
    const void *context; /* of encode */
    const int *direct;   /* as the loader's */
} dlt_input_encoder;

/**
 * Prepares the encoder for records of `layout`, which has the frame's features and, if with_target, its
 * targets. outputs of the encoder: the model's inputs in order, then the target. path: the file of the
 * records, which messages name; NULL where it is not one.
 */
dlt_status dlt_inputs_encoder(dlt_arena *arena, const dlt_inputs *inputs, const dlt_record_layout *layout,
                              const char *path, bool with_target, dlt_input_encoder *out, dlt_diag *diag);

/**
 * Lets the table layer of a model learn from the records of a view, in order. *fitted stays empty where there
 * is no such layer.
 */
dlt_status dlt_table_fit(dlt_arena *arena, const dlt_spec *spec, const dlt_view *view, const dlt_frame *frame,
                         const atomic_int *stop, dlt_fitted *fitted, dlt_diag *diag);
/** The same from the first records of a source that was only looked at: for `check`. What comes of it is
 * uncertain. */
dlt_status dlt_table_fit_probe(dlt_arena *arena, const dlt_spec *spec, const dlt_frame *frame,
                               dlt_fitted *fitted, dlt_diag *diag);
/** Classes that a frame's target names: their number and names, 0 and NULL where it is no text and no code.
 */
void dlt_frame_classes(const dlt_frame *frame, int64_t *count, const char *const **names);
/** The table layer that stands first, or NULL. */
const dlt_item *dlt_table_layer_of(const dlt_spec *spec);

#endif
