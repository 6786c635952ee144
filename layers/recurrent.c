/* layers/recurrent.c: the frame of the recurrent layers: weights, dropout, the step as a graph of its own, masks.
 *
 * Keras' conventions (keras-layers.md 6; keras/src/layers/rnn in 3.15.1): a masked step keeps the state and repeats the last
 * output; with go_backwards outputs come in processing order and the mask is handed on as it is; dropout masks are drawn once
 * a call; without recurrent_dropout one input mask serves all gates, with it each gate has masks of its own. */
#include "layers/recurrent.h"

#include "base/text.h"

#include <assert.h>

enum { MAX_GATES = 4, MAX_PARAMS = 1 + 2 * MAX_GATES };

dlt_value *dlt_recurrent_gate(dlt_builder *b, const dlt_recurrent_params *params, dlt_value *all, int k)
{
    return dlt_slice(b, all, -1, k * params->units, params->units);
}

dlt_value *dlt_recurrent_product(dlt_builder *b, const dlt_recurrent_params *params,
                                 const dlt_recurrent_step *io, int k)
{
    if (io->recurrent == NULL) {
        return dlt_matmul(b, io->h[k], io->gate[k], false, false);
    }
    dlt_value *kernel = k < 0 ? io->recurrent : dlt_recurrent_gate(b, params, io->recurrent, k);
    return dlt_matmul(b, io->state[0], kernel, false, false);
}

dlt_value *dlt_recurrent_activate(dlt_builder *b, dlt_value *x, const dlt_item *activation)
{
    dlt_value *y = dlt_activate(b, x, activation);
    if (x != NULL && y != NULL && !dlt_shape_equal(&x->shape, &y->shape)) {
        return dlt_reject(
            b, "an activation of a recurrent layer must keep the shape, which %s does not; choose another",
            activation->kind->name);
    }
    return y;
}

/* Parameters of the step's graph, in order. */
typedef struct step_params {
    dlt_value *at[MAX_PARAMS];
    int count;
    bool gated, has_bias; /* gate kernels and masks in place of the whole kernel; the recurrent bias */
} step_params;

/* The step as a graph: inputs x, states, parameters; outputs s0, s1. */
static bool make_body(dlt_builder *outer, const dlt_recurrent_cell *cell, const dlt_recurrent_params *p,
                      const step_params *params, const dlt_value *x, dlt_rnn_body *body)
{
    static const char *const names[] = {"s0", "s1"};
    assert(cell->states <= (int)DLT_COUNT(names));
    dlt_arena *arena = dlt_builder_graph(outer)->arena;
    const int64_t batch = x->shape.dim[0];
    const dlt_builder_options options = {
        .name = cell->name, .mode = dlt_builder_mode(outer), .real = dlt_real(outer), .batch = batch};
    if (dlt_builder_failed(outer)) {
        return false;
    }
    dlt_builder *b =
        dlt_builder_create(arena, dlt_variables_create(arena), &options, dlt_builder_diag(outer));
    if (b == NULL) {
        dlt_builder_fail(outer);
        return false;
    }
    dlt_scope_enter(b, cell->name, NULL, dlt_scope_pos(outer), true);
    dlt_recurrent_step io = {.x = dlt_input(b, "x", dlt_real(b), DLT_SHAPE(batch, cell->gates * p->units))};
    for (int i = 0; i < cell->states; i++) {
        io.state[i] = dlt_input(b, "state", dlt_real(b), DLT_SHAPE(batch, p->units));
    }
    dlt_value *in[MAX_PARAMS];
    for (int i = 0; i < params->count; i++) {
        in[i] = dlt_input(b, "param", params->at[i]->type, params->at[i]->shape);
    }
    int at = 0;
    if (params->gated) {
        for (int k = 0; k < cell->gates; k++) {
            io.gate[k] = in[at++];
        }
        for (int k = 0; k < cell->gates; k++) {
            io.h[k] = dlt_mul(b, io.state[0], in[at++]);
        }
    } else {
        io.recurrent = in[at++];
    }
    io.recurrent_bias = params->has_bias ? in[at] : NULL;
    dlt_value *next[2] = {NULL, NULL};
    cell->step(b, p, &io, next);
    for (int i = 0; i < cell->states; i++) {
        dlt_output(b, names[i], next[i]);
    }
    body->states = cell->states;
    body->params = params->count;
    if (dlt_builder_finish(b, &body->graph) != DLT_OK) {
        dlt_builder_fail(outer); /* the message was left by the step's builder */
        return false;
    }
    return true;
}

/* Ones of a shape with a part of them dropped and the rest scaled up: what Keras multiplies inputs and states with. */
static dlt_value *drop_mask(dlt_builder *b, const dlt_recurrent_params *p, const char *draw, double rate,
                            dlt_shape shape)
{
    return dlt_dropout(b, dlt_broadcast_to(b, dlt_constant(b, 1), shape), rate, shape,
                       dlt_layer_draw(b, draw, p->seed));
}

/* x with its mask of dropped features, the same at all steps. */
static dlt_value *dropped(dlt_builder *b, const dlt_recurrent_params *p, dlt_value *x, const char *draw)
{
    const dlt_shape shape = DLT_SHAPE(x->shape.dim[0], x->shape.dim[2]);
    return dlt_mul(b, x, dlt_expand(b, drop_mask(b, p, draw, p->dropout, shape), 1));
}

/* The projected input where each gate drops features of its own. */
static dlt_value *project_by_gate(dlt_builder *b, const dlt_recurrent_cell *cell,
                                  const dlt_recurrent_params *p, dlt_value *x, dlt_value *kernel,
                                  dlt_value *bias)
{
    static const char *const draws[MAX_GATES] = {"dropout/0", "dropout/1", "dropout/2", "dropout/3"};
    dlt_value *parts[MAX_GATES];
    for (int k = 0; k < cell->gates; k++) {
        parts[k] =
            dlt_matmul(b, dropped(b, p, x, draws[k]), dlt_recurrent_gate(b, p, kernel, k), false, false);
    }
    dlt_value *all = dlt_concat(b, parts, cell->gates, -1);
    return bias != NULL ? dlt_add(b, all, bias) : all;
}

static bool check_input(dlt_builder *b, const dlt_value *in)
{
    const char *name = dlt_layer_item(b)->kind->name;
    const dlt_shape x = dlt_shape_of(in);
    char is[160], mask[160];
    if (x.rank != 3) {
        dlt_reject(b, "%s needs (N, T, C), got %s; put Embedding or Reshape before it", name,
                   dlt_shape_text_batch(&x, is, sizeof is));
        return false;
    }
    if (in->mask != NULL) {
        const dlt_shape wanted = DLT_SHAPE(x.dim[0], x.dim[1]);
        if (!dlt_shape_equal(&in->mask->shape, &wanted)) {
            dlt_reject(b, "%s: a mask of shape %s does not fit the input %s; one number a step is needed",
                       name, dlt_shape_text_batch(&in->mask->shape, mask, sizeof mask),
                       dlt_shape_text_batch(&x, is, sizeof is));
            return false;
        }
    }
    return true;
}

dlt_value *dlt_recurrent_build(dlt_builder *b, const dlt_recurrent_cell *cell, const dlt_recurrent_params *p,
                               dlt_value *in)
{
    static const char *const draws[MAX_GATES] = {"recurrent_dropout/0", "recurrent_dropout/1",
                                                 "recurrent_dropout/2", "recurrent_dropout/3"};
    const dlt_layer_call call = dlt_layer_called(b);
    const bool drops = dlt_builder_mode(b) == DLT_MODE_TRAIN;
    if (!check_input(b, in)) {
        return NULL;
    }
    dlt_value *x = dlt_as_real(b, in), *mask = in->mask, *recurrent_bias = NULL, *last = NULL;
    const int64_t features = dlt_shape_of(in).dim[2], width = cell->gates * p->units;
    dlt_weight_params recurrent_params = p->recurrent;
    recurrent_params.name = "recurrent_kernel";
    dlt_scope_enter(b, cell->name, "cell", (dlt_pos){0}, true);
    dlt_value *kernel = dlt_weight(b, &p->kernel, DLT_SHAPE(features, width));
    dlt_value *recurrent = dlt_weight(b, &recurrent_params, DLT_SHAPE(p->units, width));
    dlt_value *bias = p->use_bias ? cell->bias(b, p, &recurrent_bias) : NULL;
    dlt_scope_leave(b);
    if (x == NULL || dlt_builder_failed(b)) {
        return NULL;
    }

    dlt_rnn_attrs attrs = {.cell = cell->kind(p),
                           .activation = dlt_activation_name(p->activation),
                           .recurrent_activation = dlt_activation_name(p->recurrent_activation),
                           .units = p->units,
                           .backwards = p->go_backwards != call.flipped,
                           .zero_masked = call.zero_masked};
    if (drops && p->dropout > 0) {
        if (p->recurrent_dropout > 0 && !cell->one_draw) {
            x = project_by_gate(b, cell, p, x, kernel, bias);
            kernel = bias = NULL;
            attrs.projected = true;
        } else {
            x = dropped(b, p, x, "dropout");
        }
    }
    step_params params = {.has_bias = recurrent_bias != NULL};
    if (drops && p->recurrent_dropout > 0) {
        attrs.cell = DLT_RNN_OTHER;
        params.gated = true;
        for (int k = 0; k < cell->gates; k++) {
            params.at[params.count++] = dlt_recurrent_gate(b, p, recurrent, k);
        }
        for (int k = 0; k < cell->gates; k++) {
            params.at[params.count++] =
                drop_mask(b, p, draws[k], p->recurrent_dropout, DLT_SHAPE(dlt_shape_of(in).dim[0], p->units));
        }
    } else {
        params.at[params.count++] = recurrent;
    }
    if (params.has_bias) {
        params.at[params.count++] = recurrent_bias;
    }
    if (dlt_builder_failed(b) || !make_body(b, cell, p, &params, x, &attrs.body)) {
        return NULL;
    }
    dlt_value *all = dlt_rnn(b,
                             &(dlt_rnn_args){.x = x,
                                             .kernel = kernel,
                                             .bias = bias,
                                             .params = params.at,
                                             .param_count = params.count,
                                             .mask = mask,
                                             .attrs = &attrs},
                             &last);
    dlt_value *y = p->return_sequences ? all : last;
    if (y != NULL && p->return_sequences) {
        y->mask = mask;
    }
    return y;
}
