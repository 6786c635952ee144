/* layers/bidirectional.c: a recurrent layer in both directions.    y = merge(forward(x), backward(x))
 * Input (N, T, C); output (N, U') or, with the layer's return_sequences, (N, T, U'), the backward output turned back in time.
 * U' = 2 units for concat, else units. The two have weights of their own, in the groups forward_layer and backward_layer.
 * With return_sequences both give 0 at masked steps, and the mask goes on. */
#include "layers/recurrent.h"

enum { MERGE_CONCAT, MERGE_SUM, MERGE_AVE, MERGE_MUL };
static const char *const merge_names[] = {"concat", "sum", "ave", "mul", NULL};

typedef struct bidirectional_params {
    const dlt_item *layer, *backward_layer;
    int merge_mode;
} bidirectional_params;

static const dlt_field bidirectional_fields[] = {
    DLT_ITEM(bidirectional_params, layer, "layer", DLT_REQUIRED,
             "the recurrent layer: LSTM, GRU or SimpleRNN"),
    DLT_ENUM(bidirectional_params, merge_mode, merge_names, concat, "how the two outputs become one"),
    DLT_ITEM(bidirectional_params, backward_layer, "layer", null,
             "another layer for the way back, with go_backwards: true"),
    {0},
};

static const dlt_recurrent_params *recurrent_of(const dlt_item *item)
{
    return item->params;
}

static bool check_one(const dlt_item *item, const char *field, dlt_diag *diag)
{
    if (!dlt_layer_of(item)->recurrent) {
        dlt_fail(diag, DLT_E_CONFIG, item->pos, "Bidirectional: %s must be LSTM, GRU or SimpleRNN, found %s",
                 field, item->kind->name);
        return false;
    }
    return true;
}

static void bidirectional_check(const dlt_item *item, dlt_diag *diag)
{
    const bidirectional_params *p = item->params;
    if (!check_one(p->layer, "layer", diag) ||
        (p->backward_layer != NULL && !check_one(p->backward_layer, "backward_layer", diag))) {
        return;
    }
    const dlt_recurrent_params *forward = recurrent_of(p->layer);
    if (p->backward_layer == NULL) {
        if (forward->go_backwards) {
            dlt_fail(
                diag, DLT_E_CONFIG, dlt_item_pos(p->layer, "go_backwards"),
                "Bidirectional goes both ways by itself; remove go_backwards, or give a backward_layer that goes forwards");
        }
        return;
    }
    const dlt_recurrent_params *backward = recurrent_of(p->backward_layer);
    if (forward->go_backwards == backward->go_backwards) {
        dlt_fail(
            diag, DLT_E_CONFIG, dlt_item_pos(p->backward_layer, "go_backwards"),
            "Bidirectional: layer and backward_layer go the same way; set go_backwards: true in backward_layer");
    }
    if (forward->return_sequences != backward->return_sequences) {
        dlt_fail(
            diag, DLT_E_CONFIG, dlt_item_pos(p->backward_layer, "return_sequences"),
            "Bidirectional: layer and backward_layer differ in return_sequences; set it in both or in neither");
    }
}

static dlt_value *bidirectional_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const bidirectional_params *p = params;
    const bool sequences = recurrent_of(p->layer)->return_sequences, own = p->backward_layer != NULL;
    const dlt_item *back = own ? p->backward_layer : p->layer;
    const dlt_layer_call call = {.zero_masked = sequences},
                         back_call = {.flipped = !own, .zero_masked = sequences};
    const char *name = dlt_layer_inner_name(b, p->layer, "forward_");
    const char *back_name = dlt_layer_inner_name(b, back, own ? "" : "backward_");
    dlt_value *forward = dlt_layer_apply_as(b, p->layer, name, "forward_layer", in, call);
    dlt_value *backward = dlt_layer_apply_as(b, back, back_name, "backward_layer", in, back_call);
    if (forward == NULL || backward == NULL) {
        return NULL;
    }
    if (sequences) {
        backward = dlt_reverse(b, backward, 1);
    }
    if (p->merge_mode != MERGE_CONCAT && backward != NULL &&
        !dlt_shape_equal(&forward->shape, &backward->shape)) {
        return dlt_layer_reject(b, "backward_layer",
                                "Bidirectional: %s needs outputs of one size, but the layers have %lld and "
                                "%lld units",
                                merge_names[p->merge_mode], (long long)recurrent_of(p->layer)->units,
                                (long long)recurrent_of(back)->units);
    }
    dlt_value *const both[] = {forward, backward};
    dlt_value *y;
    switch (p->merge_mode) {
    case MERGE_SUM:
        y = dlt_add(b, forward, backward);
        break;
    case MERGE_AVE:
        y = dlt_div_c(b, dlt_add(b, forward, backward), 2);
        break;
    case MERGE_MUL:
        y = dlt_mul(b, forward, backward);
        break;
    default:
        y = dlt_concat(b, both, 2, -1);
    }
    if (y != NULL && sequences) {
        y->mask = in->mask;
    }
    return y;
}

static const char *const bidirectional_examples[] = {
    "{input: [2, 4, 3], layer: {Bidirectional: {layer: {LSTM: {units: 2}}}}}",
    "{input: [2, 4, 3], layer: {Bidirectional: {layer: {GRU: {units: 2, return_sequences: true}}, merge_mode: sum}}}",
    "{input: [2, 4, 3], mask: true, layer: {Bidirectional: {layer: {LSTM: {units: 2, return_sequences: true}}}}}",
    "{input: [2, 4, 3], mask: true, layer: {Bidirectional: {layer: {GRU: {units: 2}}, merge_mode: mul}}}",
    "{input: [2, 4, 3], layer: {Bidirectional: {layer: {SimpleRNN: {units: 2}}, merge_mode: ave}}}",
    "{input: [2, 4, 3], layer: {Bidirectional: {layer: {LSTM: {units: 2}}, backward_layer: {GRU: {units: 3, go_backwards: true}}}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_bidirectional = {
    .kind = {.name = "Bidirectional",
             .doc = "a recurrent layer in both directions",
             .size = sizeof(bidirectional_params),
             .fields = bidirectional_fields,
             .check = bidirectional_check},
    .build = bidirectional_build,
    .mask = DLT_MASK_USE,
    .examples = bidirectional_examples,
};
