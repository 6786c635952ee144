/* layers/recurrent.h: what SimpleRNN, LSTM and GRU share. */
#ifndef DLT_LAYERS_RECURRENT_H
#define DLT_LAYERS_RECURRENT_H

#include "layers/layer.h"

/** Parameters of all three; each has the rows that it knows in its table. */
typedef struct dlt_recurrent_params {
    int64_t units;
    const dlt_item *activation, *recurrent_activation;
    bool use_bias, unit_forget_bias, reset_after;
    double dropout, recurrent_dropout;
    bool return_sequences, go_backwards;
    dlt_opt_int seed;
    dlt_weight_params kernel, recurrent, bias;
    const dlt_item *activity_regularizer;
} dlt_recurrent_params;

/** Rows that all three have. */
#define DLT_RECURRENT_FIELDS                                                                                 \
    DLT_INT(dlt_recurrent_params, units, 1, DLT_MAX_UNITS, DLT_REQUIRED,                                     \
            "size of the output and of the state"),                                                          \
        DLT_ITEM(dlt_recurrent_params, activation, "activation", tanh, "makes new contents of the state"),   \
        DLT_BOOL(dlt_recurrent_params, use_bias, true, "add a learned vector"),                              \
        DLT_WEIGHT(dlt_recurrent_params, kernel, "glorot_uniform", "from the input to the gates"),           \
        DLT_WEIGHT(dlt_recurrent_params, recurrent, "orthogonal",                                            \
                   "from the last output to the gates (recurrent_kernel)"),                                  \
        DLT_WEIGHT(dlt_recurrent_params, bias, "zeros", "the vector"),                                       \
        DLT_FLOAT_OPEN(dlt_recurrent_params, dropout, 0, 1, DLT_FIELD_OPEN_MAX, 0,                           \
                       "part of the inputs dropped in training, the same at all steps"),                     \
        DLT_FLOAT_OPEN(dlt_recurrent_params, recurrent_dropout, 0, 1, DLT_FIELD_OPEN_MAX, 0,                 \
                       "part of the last output dropped in training, the same at all steps"),                \
        DLT_OPT_INT(dlt_recurrent_params, seed, INT64_MIN, INT64_MAX,                                        \
                    "sets this layer's draws apart; null: its name does"),                                   \
        DLT_BOOL(dlt_recurrent_params, return_sequences, false,                                              \
                 "give the outputs of all steps, not only the last"),                                        \
        DLT_BOOL(dlt_recurrent_params, go_backwards, false,                                                  \
                 "from the last step to the first; outputs in that order")
/** Rows that LSTM and GRU have. SimpleRNN has no activity_regularizer: Keras 3.15.1 takes one there and forgets it. */
#define DLT_RECURRENT_GATES                                                                                  \
    DLT_ITEM(dlt_recurrent_params, recurrent_activation, "activation", sigmoid,                              \
             "opens and closes the gates"),                                                                  \
        DLT_ACTIVITY_FIELD(dlt_recurrent_params)

/** One step of a cell, in the builder of the step. */
typedef struct dlt_recurrent_step {
    dlt_value *x;         /* (N, gates U): projected input, bias added */
    dlt_value *state[2];  /* (N, U) each; state[0] is the last output h */
    dlt_value *recurrent; /* (U, gates U); NULL where gate[] is used */
    dlt_value *gate[4];   /* (U, U): the gates' parts of it, each with its own dropped h in h[] */
    dlt_value *h[4];
    dlt_value *recurrent_bias; /* (gates U), or NULL */
} dlt_recurrent_step;
/** What sets the three apart. */
typedef struct dlt_recurrent_cell {
    const char *name; /* of Keras' cell: "lstm_cell" */
    int gates, states;
    bool one_draw; /* dropout draws once for all gates even where recurrent_dropout is set */
    /** Kind that backends may know a kernel for. */
    dlt_rnn_cell (*kind)(const dlt_recurrent_params *params);
    /** The bias weight; *recurrent is set where a part of it is added to h's product alone. */
    dlt_value *(*bias)(dlt_builder *b, const dlt_recurrent_params *params, dlt_value **recurrent);
    /** The new states. */
    void (*step)(dlt_builder *b, const dlt_recurrent_params *params, const dlt_recurrent_step *io,
                 dlt_value **next);
} dlt_recurrent_cell;

/** The layer: (N, T, C) to (N, U), or (N, T, U) with return_sequences. */
dlt_value *dlt_recurrent_build(dlt_builder *b, const dlt_recurrent_cell *cell,
                               const dlt_recurrent_params *params, dlt_value *in);
/** h times the recurrent kernel of gate `k` (of `gates`), or of all gates where k is -1 and nothing is dropped from h. */
dlt_value *dlt_recurrent_product(dlt_builder *b, const dlt_recurrent_params *params,
                                 const dlt_recurrent_step *io, int k);
/** The activation of x; one that changes the shape is refused. */
dlt_value *dlt_recurrent_activate(dlt_builder *b, dlt_value *x, const dlt_item *activation);
/** Columns of gate k of a value (N, gates U). */
dlt_value *dlt_recurrent_gate(dlt_builder *b, const dlt_recurrent_params *params, dlt_value *all, int k);

#endif
