/* layers/lstm.c: long short-term memory (Hochreiter & Schmidhuber 1997, with forget gates).
 *   z = x W + h' U + b, in blocks i | f | c | o along the last axis; s = recurrent_activation
 *   c = s(z_f) c' + s(z_i) act(z_c)        h = s(z_o) act(c)
 * Input (N, T, C), output (N, units) or (N, T, units). Weights of the cell as in Keras: kernel W (C, 4 units),
 * recurrent_kernel U (units, 4 units), bias b (4 units), which starts as 1 for f where unit_forget_bias. */
#include "layers/recurrent.h"

static const dlt_field lstm_fields[] = {
    DLT_RECURRENT_FIELDS,
    DLT_RECURRENT_GATES,
    DLT_BOOL(dlt_recurrent_params, unit_forget_bias, true, "the forget gate's bias starts as 1"),
    {0},
};

static dlt_rnn_cell lstm_kind(const dlt_recurrent_params *p)
{
    (void)p;
    return DLT_RNN_LSTM;
}

static dlt_value *lstm_bias(dlt_builder *b, const dlt_recurrent_params *p, dlt_value **recurrent)
{
    const dlt_shape shape = DLT_SHAPE(4 * p->units);
    (void)recurrent;
    return p->unit_forget_bias ? dlt_weight_ones(b, &p->bias, shape, p->units, p->units)
                               : dlt_weight(b, &p->bias, shape);
}

static void lstm_step(dlt_builder *b, const dlt_recurrent_params *p, const dlt_recurrent_step *io,
                      dlt_value **next)
{
    dlt_value *z[4];
    if (io->recurrent != NULL) {
        dlt_value *all = dlt_add(b, io->x, dlt_recurrent_product(b, p, io, -1));
        for (int k = 0; k < 4; k++) {
            z[k] = dlt_recurrent_gate(b, p, all, k);
        }
    } else {
        for (int k = 0; k < 4; k++) {
            z[k] = dlt_add(b, dlt_recurrent_gate(b, p, io->x, k), dlt_recurrent_product(b, p, io, k));
        }
    }
    dlt_value *i = dlt_recurrent_activate(b, z[0], p->recurrent_activation);
    dlt_value *f = dlt_recurrent_activate(b, z[1], p->recurrent_activation);
    dlt_value *o = dlt_recurrent_activate(b, z[3], p->recurrent_activation);
    next[1] = dlt_add(b, dlt_mul(b, f, io->state[1]),
                      dlt_mul(b, i, dlt_recurrent_activate(b, z[2], p->activation)));
    next[0] = dlt_mul(b, o, dlt_recurrent_activate(b, next[1], p->activation));
}

static const dlt_recurrent_cell cell = {
    .name = "lstm_cell", .gates = 4, .states = 2, .kind = lstm_kind, .bias = lstm_bias, .step = lstm_step};

static dlt_value *lstm_build(dlt_builder *b, const void *params, dlt_value *in)
{
    return dlt_recurrent_build(b, &cell, params, in);
}

static const char *const lstm_examples[] = {
    "{input: [2, 4, 3], layer: {LSTM: {units: 2}}}",
    "{input: [2, 4, 3], layer: {LSTM: {units: 2, return_sequences: true, go_backwards: true}}}",
    "{input: [2, 4, 3], mask: true, layer: {LSTM: {units: 2, return_sequences: true}}}",
    "{input: [2, 4, 3], mask: true, layer: {LSTM: {units: 2, go_backwards: true, use_bias: false}}}",
    "{input: [2, 3, 2], layer: {LSTM: {units: 3, activation: softsign, recurrent_activation: hard_sigmoid}}}",
    "{input: [2, 3, 2], layer: {LSTM: {units: 2, unit_forget_bias: false, dropout: 0.25, seed: 3}}}",
    "{input: [2, 3, 2], layer: {LSTM: {units: 2, dropout: 0.25, recurrent_dropout: 0.5, return_sequences: true}}}",
    "{input: [2, 3, 2], mask: true, layer: {LSTM: {units: 2, recurrent_dropout: 0.5, use_bias: false}}}",
    "{input: [2, 3, 2], layer: {LSTM: {units: 2, activity_regularizer: {L2: {l2: 0.1}}}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_lstm = {
    .kind = {.name = "LSTM",
             .doc = "long short-term memory",
             .size = sizeof(dlt_recurrent_params),
             .fields = lstm_fields},
    .build = lstm_build,
    .mask = DLT_MASK_USE,
    .recurrent = true,
    .examples = lstm_examples,
};
