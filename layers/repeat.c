/* layers/repeat.c: a list of layers several times, one copy after another, each with weights of its own.
 * Copy k is called repeat/k in paths and stands below repeat/blocks/sequential, sequential_1, ... in weights files. */
#include "layers/layer.h"

enum { MAX_LAYERS = 1000000 };

typedef struct repeat_params {
    int64_t times;
    dlt_items layers;
} repeat_params;

static const dlt_field repeat_fields[] = {
    DLT_INT(repeat_params, times, 1, MAX_LAYERS, DLT_REQUIRED, "how many copies there are"),
    DLT_ITEMS(repeat_params, layers, "layer", NULL, "the layers of one copy"),
    {0},
};

extern const dlt_layer_desc dlt_layer_repeat;

/* Adds the layers that an item becomes, itself included; stops counting above the limit. */
static void count_layers(void *context, const dlt_item *item)
{
    int64_t *total = context, inside = 0;
    dlt_layer_children(item, count_layers, &inside);
    const bool repeats = dlt_layer_of(item) == &dlt_layer_repeat;
    const int64_t times = repeats ? ((const repeat_params *)item->params)->times : 1;
    const int64_t more = inside > MAX_LAYERS ? inside : 1 + inside * times; /* at most 1e12 */
    *total = *total > MAX_LAYERS ? *total : *total + more;
}

static void repeat_check(const dlt_item *item, dlt_diag *diag)
{
    const repeat_params *p = item->params;
    int64_t inside = 0;
    dlt_layer_children(item, count_layers, &inside);
    if (inside <= MAX_LAYERS && inside * p->times > MAX_LAYERS) { /* else a Repeat inside has complained */
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "times"),
                 "Repeat: %lld times %lld layers are more than 1,000,000; lower times", (long long)p->times,
                 (long long)inside);
    }
}

static dlt_value *repeat_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const repeat_params *p = params;
    dlt_arena *arena = dlt_builder_graph(b)->arena;
    for (int64_t k = 0; k < p->times && !dlt_builder_failed(b) && p->layers.count > 0; k++) {
        const char *name = dlt_arena_printf(arena, "%lld", (long long)k);
        const char *group =
            k == 0 ? "blocks/sequential" : dlt_arena_printf(arena, "blocks/sequential_%lld", (long long)k);
        dlt_scope_enter(b, name, group, (dlt_pos){0}, true);
        in = dlt_layers_apply(b, &p->layers, NULL, in);
        dlt_scope_leave(b);
    }
    return in;
}

static const char *const repeat_examples[] = {
    "{input: [2, 3], layer: {Repeat: {times: 3, layers: [{Dense: {units: 4, activation: tanh}}]}}}",
    "{input: [2, 4], layer: {Repeat: {times: 2, layers: [{Residual: {layers: [LayerNormalization, {Dense: {units: 4}}]}}]}}}",
    "{input: [2, 3], layer: {Repeat: {times: 2, layers: [{Dense: {units: 3, name: a}}, {Reuse: {layer: a}}]}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_repeat = {
    .kind = {.name = "Repeat",
             .doc = "a list of layers several times, each copy with its own weights",
             .size = sizeof(repeat_params),
             .fields = repeat_fields,
             .check = repeat_check},
    .build = repeat_build,
    .mask = DLT_MASK_USE,
    .examples = repeat_examples,
};
