/* layers/time_distributed.c: the same layer at each step of axis 1.    y[n,t,...] = layer(x[n,t,...])
 * Input (N, T, ...), output (N, T, ...); the layer's weights stand in the group `layer`. Steps are folded into the batch: one
 * call on (N T, ...). Layers whose samples share statistics or draws in training (BatchNormalization) are called once a step
 * instead, one after another, as Keras does. The mask goes to layers that use one, and on to the output. */
#include "layers/layer.h"

#include "base/text.h"

typedef struct time_distributed_params {
    const dlt_item *layer;
} time_distributed_params;

static const dlt_field time_distributed_fields[] = {
    DLT_ITEM(time_distributed_params, layer, "layer", DLT_REQUIRED, "the layer that each step goes through"),
    {0},
};

/* Keras calls the layer past the place where it looks at this parameter; so do we, but not silently. */
static void time_distributed_check(const dlt_item *item, dlt_diag *diag)
{
    const dlt_item *inner = ((const time_distributed_params *)item->params)->layer;
    if (dlt_layer_activity_regularizer(inner) != NULL) {
        dlt_warn(diag, dlt_item_pos(inner, "activity_regularizer"),
                 "TimeDistributed: an activity_regularizer has no effect in here, as in Keras; put the layer "
                 "ActivityRegularization behind TimeDistributed");
    }
}

static bool joins(const dlt_item *item)
{
    const dlt_layer_desc *layer = dlt_layer_of(item);
    return layer->joins_samples != NULL && layer->joins_samples(item);
}

/* x with its axes `first` and the one behind it as one. */
static dlt_value *folded(dlt_builder *b, dlt_value *x)
{
    const dlt_shape shape = dlt_shape_of(x);
    dlt_shape one = {.rank = shape.rank - 1, .dim = {shape.dim[0] * shape.dim[1]}};
    for (int i = 1; i < one.rank; i++) {
        one.dim[i] = shape.dim[i + 1];
    }
    return dlt_reshape(b, x, one);
}

static dlt_value *at_once(dlt_builder *b, const dlt_item *layer, const char *name, dlt_value *in,
                          dlt_value *mask)
{
    const int64_t batch = in->shape.dim[0], steps = in->shape.dim[1];
    dlt_value *x = folded(b, in);
    if (x != NULL && mask != NULL) {
        x->mask = folded(b, mask);
    }
    dlt_scope_enter(b, NULL, NULL, (dlt_pos){0}, true);
    dlt_scope_fold(b, steps);
    dlt_value *y = dlt_layer_apply_as(b, layer, name, "layer", x, (dlt_layer_call){.no_penalty = true});
    dlt_scope_leave(b);
    const dlt_shape out = dlt_shape_of(y);
    if (y == NULL || dlt_builder_failed(b)) {
        return NULL;
    }
    if (out.rank == DLT_MAX_RANK) {
        return dlt_reject(b, "tensors have at most %d axes", DLT_MAX_RANK);
    }
    dlt_shape shape = {.rank = out.rank + 1, .dim = {batch, steps}};
    for (int i = 2; i < shape.rank; i++) {
        shape.dim[i] = out.dim[i - 1];
    }
    return dlt_reshape(b, y, shape);
}

static dlt_value *step_of(dlt_builder *b, dlt_value *x, int64_t t)
{
    return dlt_squeeze(b, dlt_slice(b, x, 1, t, 1), 1);
}

static dlt_value *one_by_one(dlt_builder *b, const dlt_item *layer, const char *name, dlt_value *in,
                             dlt_value *mask)
{
    const int64_t steps = in->shape.dim[1];
    if (steps > DLT_MAX_NODES) {
        return dlt_reject(b, "%lld steps are too many for a layer that is called once a step",
                          (long long)steps);
    }
    dlt_value **parts = dlt_arena_alloc(dlt_builder_graph(b)->arena, (size_t)steps, sizeof(dlt_value *));
    if (parts == NULL) {
        return dlt_reject_at(b, DLT_E_MEMORY, dlt_scope_pos(b), "out of memory");
    }
    for (int64_t t = 0; t < steps; t++) {
        dlt_value *x = step_of(b, in, t);
        if (x != NULL && mask != NULL) {
            x->mask = step_of(b, mask, t);
        }
        parts[t] = x != NULL ? dlt_expand(b,
                                          dlt_layer_apply_as(b, layer, name, "layer", x,
                                                             (dlt_layer_call){.no_penalty = true}),
                                          1)
                             : NULL;
    }
    return dlt_concat(b, parts, (int)steps, 1);
}

static dlt_value *time_distributed_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const dlt_item *layer = ((const time_distributed_params *)params)->layer;
    const dlt_shape x = dlt_shape_of(in);
    const char *name = dlt_layer_inner_name(b, layer, "");
    dlt_value *mask = in->mask;
    char is[160], of[160];
    if (x.rank < 3) {
        return dlt_reject(b, "TimeDistributed needs (N, T, ...) with something at each step, got %s",
                          dlt_shape_text_batch(&x, is, sizeof is));
    }
    if (mask != NULL) {
        const dlt_shape m = dlt_shape_of(mask);
        if (m.rank < 2 || m.dim[0] != x.dim[0] || m.dim[1] != x.dim[1]) {
            return dlt_reject(b, "TimeDistributed: a mask of shape %s does not fit the input %s",
                              dlt_shape_text_batch(&m, is, sizeof is),
                              dlt_shape_text_batch(&x, of, sizeof of));
        }
    }
    if (dlt_layer_of(layer)->mask != DLT_MASK_USE && !dlt_layer_any(layer, joins)) {
        mask = NULL; /* nothing in there looks at it, and it is not lost */
    }
    const bool apart = dlt_training(b) && dlt_layer_any(layer, joins);
    return apart ? one_by_one(b, layer, name, in, mask) : at_once(b, layer, name, in, mask);
}

static const char *const time_distributed_examples[] = {
    "{input: [2, 4, 3], layer: {TimeDistributed: {layer: {Dense: {units: 2, activation: tanh}}}}}",
    "{input: [2, 3, 4, 4, 2], layer: {TimeDistributed: {layer: {Conv2D: {filters: 2, kernel_size: 3, padding: same}}}}}",
    "{input: [2, 3, 4, 2], layer: {TimeDistributed: {layer: Flatten}}}",
    "{input: [2, 3, 4, 2], layer: {TimeDistributed: {layer: {LSTM: {units: 2, return_sequences: true}}}}}",
    "{input: [3, 2, 4], layer: {TimeDistributed: {layer: {BatchNormalization: {momentum: 0.7}}}}}",
    "{input: [3, 2, 4], layer: {TimeDistributed: {layer: {Sequential: {layers: [{Dense: {units: 2}}, BatchNormalization]}}}}}",
    "{input: [2, 4, 3], mask: true, layer: {TimeDistributed: {layer: {Dropout: {rate: 0.5}}}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_time_distributed = {
    .kind = {.name = "TimeDistributed",
             .doc = "the same layer at each step",
             .size = sizeof(time_distributed_params),
             .fields = time_distributed_fields,
             .check = time_distributed_check},
    .build = time_distributed_build,
    .mask = DLT_MASK_PASS,
    .examples = time_distributed_examples,
};
