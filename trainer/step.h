/* trainer/step.h: the graph of each program of a run (decisions 14).
 *
 *   train       forward, loss, penalties, metric sums, gradients, guard, update, counters
 *   accumulate  the same, but gradients are only added up
 *   apply       the last batch of such a round: a step with their mean
 *   evaluate    forward, loss, penalties, metric sums; the batch may be padded: the first `rows` rows count
 *   predict     forward
 *   finish      the end of fit with use_ema: averages become weights
 *
 * Named outputs, for the loop to read:
 *   train, accumulate, apply: "loss" (of this batch, with penalties), "grad_norm" (before clipping; of the batch's
 *                             gradients, or of their mean over the round), "learning_rate" (of this step)
 *   train, apply:             "update_sum" (not finite where a new weight or a number of the optimizer is not)
 *   evaluate:                 "loss", "y"
 *   predict:                  "y"
 * What an epoch comes to stands in the sums of the metric set (trainer/metric.h). A program with penalties that
 * layers give as finished scalars must not be padded (dlt_penalties). */
#ifndef DLT_TRAINER_STEP_H
#define DLT_TRAINER_STEP_H

#include "layers/layer.h"
#include "schema/spec.h"
#include "trainer/metric.h"

typedef enum dlt_program_kind {
    DLT_PROGRAM_TRAIN,
    DLT_PROGRAM_ACCUMULATE,
    DLT_PROGRAM_APPLY,
    DLT_PROGRAM_EVALUATE,
    DLT_PROGRAM_PREDICT,
    DLT_PROGRAM_FINISH
} dlt_program_kind;
/** "train", "train-accumulate", "train-apply", "evaluate", "predict", "finish". */
const char *dlt_program_name(dlt_program_kind kind);

/** One INPUT that data fill: the type as data come, the shape of one row. */
typedef struct dlt_step_input {
    const char *name;
    dlt_dtype type;
    dlt_shape shape;
    bool uncertain; /* the shape may change once the data were scanned in full (decisions 1) */
} dlt_step_input;

/** What data give to a model. */
typedef struct dlt_step_data {
    const dlt_step_input *inputs; /* of the model: one, or those of the table layer that stands first */
    int input_count;
    const dlt_step_input *target; /* NULL: none, as in prediction */
    const dlt_step_input *weight; /* of samples, class weights folded in; NULL: none */
    const dlt_fitted *fitted;     /* what preprocessing learned; NULL: nothing */
} dlt_step_data;

typedef struct dlt_step_options {
    dlt_program_kind kind;
    int64_t batch;
    dlt_dtype real;         /* F32, or F64 for gradient checks */
    dlt_layer_visit *visit; /* sees each layer's output, for summaries; NULL: nobody */
    void *context;
} dlt_step_options;

typedef struct dlt_step {
    dlt_graph *graph;
    /* places among graph->inputs, which passes keep; -1: none. The model's inputs are the first. */
    int target, weight, rows;
    dlt_value *y;         /* predictions; NULL for finish */
    const dlt_item *last; /* the layer that made them */
} dlt_step;

/**
 * Builds one program over the variables of the run; the first training program adds those of the optimizer.
 * spec: what the model file says. metrics: of the run, made once.
 */
dlt_status dlt_step_build(dlt_arena *arena, dlt_variables *variables, const dlt_spec *spec,
                          const dlt_step_data *data, const dlt_step_options *options, dlt_metric_set *metrics,
                          dlt_step *step, dlt_diag *diag);

#endif
