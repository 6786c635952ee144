/* layers/gru.c: gated recurrent unit (Cho et al., arXiv:1406.1078).
 *   blocks z | r | h along the last axis; s = recurrent_activation
 *   z = s(x W_z + h' U_z)    r = s(x W_r + h' U_r)    h = z h' + (1 - z) n
 *   reset_after:   n = act(x W_h + r (h' U_h))        else   n = act(x W_h + (r h') U_h)
 *   x W has the bias added; with reset_after h' U has one of its own.
 * Input (N, T, C), output (N, units) or (N, T, units). Weights of the cell as in Keras: kernel W (C, 3 units),
 * recurrent_kernel U (units, 3 units), bias (2, 3 units): input and recurrent bias; (3 units) without reset_after. */
#include "layers/recurrent.h"

static const dlt_field gru_fields[] = {
    DLT_RECURRENT_FIELDS,
    DLT_RECURRENT_GATES,
    DLT_BOOL(dlt_recurrent_params, reset_after, true,
             "the reset gate works on the product with U, not before it"),
    {0},
};

static dlt_rnn_cell gru_kind(const dlt_recurrent_params *p)
{
    return p->reset_after ? DLT_RNN_GRU : DLT_RNN_GRU_BEFORE;
}

static dlt_value *gru_bias(dlt_builder *b, const dlt_recurrent_params *p, dlt_value **recurrent)
{
    if (!p->reset_after) {
        return dlt_weight(b, &p->bias, DLT_SHAPE(3 * p->units));
    }
    dlt_value *both = dlt_weight(b, &p->bias, DLT_SHAPE(2, 3 * p->units));
    *recurrent = dlt_squeeze(b, dlt_slice(b, both, 0, 1, 1), 0);
    return dlt_squeeze(b, dlt_slice(b, both, 0, 0, 1), 0);
}

/* h' U of gate k with its bias. */
static dlt_value *inner(dlt_builder *b, const dlt_recurrent_params *p, const dlt_recurrent_step *io, int k)
{
    dlt_value *product = dlt_recurrent_product(b, p, io, k);
    return io->recurrent_bias == NULL ? product
                                      : dlt_add(b, product, dlt_recurrent_gate(b, p, io->recurrent_bias, k));
}

static void gru_step(dlt_builder *b, const dlt_recurrent_params *p, const dlt_recurrent_step *io,
                     dlt_value **next)
{
    dlt_value *h = io->state[0], *gate[3], *x[3];
    for (int k = 0; k < 3; k++) {
        x[k] = dlt_recurrent_gate(b, p, io->x, k);
    }
    if (io->recurrent != NULL && p->reset_after) {
        dlt_value *all = dlt_recurrent_product(b, p, io, -1);
        if (io->recurrent_bias != NULL) {
            all = dlt_add(b, all, io->recurrent_bias);
        }
        for (int k = 0; k < 3; k++) {
            gate[k] = dlt_recurrent_gate(b, p, all, k);
        }
    } else if (io->recurrent != NULL) {
        dlt_value *kernel = dlt_slice(b, io->recurrent, 1, 0, 2 * p->units);
        dlt_value *two = dlt_matmul(b, h, kernel, false, false);
        gate[0] = dlt_recurrent_gate(b, p, two, 0);
        gate[1] = dlt_recurrent_gate(b, p, two, 1);
        gate[2] = NULL;
    } else {
        gate[0] = inner(b, p, io, 0);
        gate[1] = inner(b, p, io, 1);
        gate[2] = p->reset_after ? inner(b, p, io, 2) : NULL;
    }
    dlt_value *z = dlt_recurrent_activate(b, dlt_add(b, x[0], gate[0]), p->recurrent_activation);
    dlt_value *r = dlt_recurrent_activate(b, dlt_add(b, x[1], gate[1]), p->recurrent_activation);
    dlt_value *fresh;
    if (p->reset_after) {
        fresh = dlt_mul(b, r, gate[2]);
    } else {
        dlt_value *kernel = io->recurrent != NULL ? dlt_recurrent_gate(b, p, io->recurrent, 2) : io->gate[2];
        fresh = dlt_matmul(b, dlt_mul(b, r, io->recurrent != NULL ? h : io->h[2]), kernel, false, false);
    }
    dlt_value *n = dlt_recurrent_activate(b, dlt_add(b, x[2], fresh), p->activation);
    next[0] = dlt_add(b, dlt_mul(b, z, h), dlt_mul(b, dlt_c_sub(b, 1, z), n));
}

static const dlt_recurrent_cell cell = {
    .name = "gru_cell", .gates = 3, .states = 1, .kind = gru_kind, .bias = gru_bias, .step = gru_step};

static dlt_value *gru_build(dlt_builder *b, const void *params, dlt_value *in)
{
    return dlt_recurrent_build(b, &cell, params, in);
}

static const char *const gru_examples[] = {
    "{input: [2, 4, 3], layer: {GRU: {units: 2}}}",
    "{input: [2, 4, 3], layer: {GRU: {units: 2, return_sequences: true, go_backwards: true, use_bias: false}}}",
    "{input: [2, 4, 3], mask: true, layer: {GRU: {units: 2, return_sequences: true}}}",
    "{input: [2, 4, 3], mask: true, layer: {GRU: {units: 2, reset_after: false}}}",
    "{input: [2, 3, 2], layer: {GRU: {units: 3, activation: softsign, recurrent_activation: hard_sigmoid}}}",
    "{input: [2, 3, 2], layer: {GRU: {units: 2, dropout: 0.25}}}",
    "{input: [2, 3, 2], layer: {GRU: {units: 2, dropout: 0.25, recurrent_dropout: 0.5, return_sequences: true}}}",
    "{input: [2, 3, 2], layer: {GRU: {units: 2, recurrent_dropout: 0.5, reset_after: false, use_bias: false}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_gru = {
    .kind = {.name = "GRU",
             .doc = "gated recurrent unit",
             .size = sizeof(dlt_recurrent_params),
             .fields = gru_fields},
    .build = gru_build,
    .mask = DLT_MASK_USE,
    .recurrent = true,
    .examples = gru_examples,
};
