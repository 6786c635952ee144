/* tests/support/cell.c: steps of recurrent cells. */
#include "support/cell.h"

#include "support/support.h"

static dlt_value *part(dlt_builder *b, dlt_value *x, int k, int64_t units)
{
    return dlt_slice(b, x, -1, k * units, units);
}

dlt_rnn_body test_cell_body(dlt_builder *outer, dlt_rnn_cell cell, int64_t batch, int64_t units, bool bias)
{
    const dlt_builder_options options = {.name = "cell", .mode = DLT_MODE_TRAIN, .real = dlt_real(outer), .batch = batch};
    dlt_arena *arena = dlt_builder_graph(outer)->arena;
    dlt_builder *b = dlt_builder_create(arena, dlt_variables_create(arena), &options, dlt_builder_diag(outer));
    const int64_t width = (cell == DLT_RNN_LSTM ? 4 : cell == DLT_RNN_GRU ? 3 : 1) * units;
    dlt_rnn_body body = {.states = cell == DLT_RNN_LSTM ? 2 : 1, .params = bias ? 2 : 1};
    dlt_value *x = dlt_input(b, "x", dlt_real(b), DLT_SHAPE(batch, width)), *s[2] = {NULL, NULL};
    for (int i = 0; i < body.states; i++) {
        s[i] = dlt_input(b, "s", dlt_real(b), DLT_SHAPE(batch, units));
    }
    dlt_value *all = dlt_matmul(b, s[0], dlt_input(b, "w", dlt_real(b), DLT_SHAPE(units, width)), false, false);
    if (bias) {
        all = dlt_add(b, all, dlt_input(b, "b", dlt_real(b), DLT_SHAPE(width)));
    }
    if (cell == DLT_RNN_LSTM) {
        all = dlt_add(b, all, x);
        dlt_value *i = dlt_sigmoid(b, part(b, all, 0, units)), *f = dlt_sigmoid(b, part(b, all, 1, units));
        dlt_value *a = dlt_tanh(b, part(b, all, 2, units)), *o = dlt_sigmoid(b, part(b, all, 3, units));
        dlt_value *next = dlt_add(b, dlt_mul(b, f, s[1]), dlt_mul(b, i, a));
        dlt_output(b, "s0", dlt_mul(b, o, dlt_tanh(b, next)));
        dlt_output(b, "s1", next);
    } else if (cell == DLT_RNN_GRU) {
        dlt_value *z = dlt_sigmoid(b, dlt_add(b, part(b, x, 0, units), part(b, all, 0, units)));
        dlt_value *r = dlt_sigmoid(b, dlt_add(b, part(b, x, 1, units), part(b, all, 1, units)));
        dlt_value *n = dlt_tanh(b, dlt_add(b, part(b, x, 2, units), dlt_mul(b, r, part(b, all, 2, units))));
        dlt_output(b, "s0", dlt_add(b, dlt_mul(b, z, s[0]), dlt_mul(b, dlt_c_sub(b, 1, z), n)));
    } else {
        dlt_output(b, "s0", dlt_tanh(b, dlt_add(b, x, all)));
    }
    assert_int_equal(dlt_builder_finish(b, &body.graph), DLT_OK);
    return body;
}
