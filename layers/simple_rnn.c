/* layers/simple_rnn.c: the plain recurrent layer.    h = act(x W + b + h' U)
 * Input (N, T, C), output (N, units) or (N, T, units). Weights of the cell as in Keras: kernel W (C, units),
 * recurrent_kernel U (units, units), bias b (units). */
#include "layers/recurrent.h"

static const dlt_field simple_rnn_fields[] = {DLT_RECURRENT_FIELDS, {0}};

static dlt_rnn_cell simple_kind(const dlt_recurrent_params *p)
{
    (void)p;
    return DLT_RNN_SIMPLE;
}

static dlt_value *simple_bias(dlt_builder *b, const dlt_recurrent_params *p, dlt_value **recurrent)
{
    (void)recurrent;
    return dlt_weight(b, &p->bias, DLT_SHAPE(p->units));
}

static void simple_step(dlt_builder *b, const dlt_recurrent_params *p, const dlt_recurrent_step *io,
                        dlt_value **next)
{
    next[0] = dlt_recurrent_activate(b, dlt_add(b, io->x, dlt_recurrent_product(b, p, io, 0)), p->activation);
}

static const dlt_recurrent_cell cell = {.name = "simple_rnn_cell",
                                        .gates = 1,
                                        .states = 1,
                                        .one_draw = true,
                                        .kind = simple_kind,
                                        .bias = simple_bias,
                                        .step = simple_step};

static dlt_value *simple_rnn_build(dlt_builder *b, const void *params, dlt_value *in)
{
    return dlt_recurrent_build(b, &cell, params, in);
}

static const char *const simple_rnn_examples[] = {
    "{input: [2, 4, 3], layer: {SimpleRNN: {units: 2}}}",
    "{input: [2, 4, 3], mask: true, layer: {SimpleRNN: {units: 2, return_sequences: true, activation: softsign}}}",
    "{input: [2, 4, 3], layer: {SimpleRNN: {units: 2, go_backwards: true, use_bias: false}}}",
    "{input: [2, 3, 2], layer: {SimpleRNN: {units: 2, dropout: 0.25, recurrent_dropout: 0.5}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_simple_rnn = {
    .kind = {.name = "SimpleRNN",
             .doc = "plain recurrent layer",
             .size = sizeof(dlt_recurrent_params),
             .fields = simple_rnn_fields},
    .build = simple_rnn_build,
    .mask = DLT_MASK_USE,
    .recurrent = true,
    .examples = simple_rnn_examples,
};
