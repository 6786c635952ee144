/* layers/parallel.c: lists of layers side by side on one input.    y = merge(branch_1(x), branch_2(x), ...)
 * concat joins the last axes; the other merges want one shape. An empty branch hands the input on. Weights stand below
 * parallel/branches/sequential, sequential_1, ... Masks merge as in Keras' Concatenate and Add. */
#include "layers/layer.h"

#include "base/text.h"

enum { MERGE_CONCAT, MERGE_ADD, MERGE_MULTIPLY, MERGE_AVERAGE, MERGE_MAXIMUM, MAX_BRANCHES = 1024 };
static const char *const merge_names[] = {"concat", "add", "multiply", "average", "maximum", NULL};

typedef struct parallel_params {
    dlt_item_lists branches;
    int merge;
} parallel_params;

static const dlt_field parallel_fields[] = {
    DLT_ITEM_LISTS(parallel_params, branches, "layer", NULL, "lists of layers that all get the input"),
    DLT_ENUM(parallel_params, merge, merge_names, concat, "how their outputs become one"),
    {0},
};

static void parallel_check(const dlt_item *item, dlt_diag *diag)
{
    const size_t count = ((const parallel_params *)item->params)->branches.count;
    if (count == 0 || count > MAX_BRANCHES) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "branches"),
                 "Parallel has %zu branches; 1 to %d lists of layers are needed", count, MAX_BRANCHES);
    }
}

static bool same_shapes(dlt_builder *b, const parallel_params *p, dlt_value *const *parts, int count)
{
    for (int i = 1; i < count; i++) {
        dlt_shape one = parts[0]->shape, other = parts[i]->shape;
        char left[160], right[160];
        dlt_shape_text_batch(&one, left, sizeof left);
        dlt_shape_text_batch(&other, right, sizeof right);
        if (p->merge == MERGE_CONCAT && one.rank == other.rank && one.rank > 1) {
            one.dim[one.rank - 1] = other.dim[one.rank - 1];
        }
        if (!dlt_shape_equal(&one, &other)) {
            dlt_layer_reject(b, "branches",
                             "Parallel: %s needs equal shapes%s, but branch 1 gives %s and branch %d %s",
                             merge_names[p->merge], p->merge == MERGE_CONCAT ? " up to the last axis" : "",
                             left, i + 1, right);
            return false;
        }
    }
    return true;
}

static dlt_value *merged(dlt_builder *b, int merge, dlt_value *const *parts, int count)
{
    if (merge == MERGE_CONCAT) {
        return dlt_concat(b, parts, count, -1);
    }
    dlt_value *y = parts[0];
    for (int i = 1; i < count; i++) {
        y = merge == MERGE_MULTIPLY  ? dlt_mul(b, y, parts[i])
            : merge == MERGE_MAXIMUM ? dlt_max(b, y, parts[i])
                                     : dlt_add(b, y, parts[i]);
    }
    return merge == MERGE_AVERAGE && count > 1 ? dlt_div_c(b, y, count) : y;
}

static dlt_value *parallel_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const parallel_params *p = params;
    dlt_arena *arena = dlt_builder_graph(b)->arena;
    const int count = (int)p->branches.count;
    dlt_value **parts = dlt_arena_alloc(arena, (size_t)count, sizeof(dlt_value *));
    if (parts == NULL) {
        return dlt_reject_at(b, DLT_E_MEMORY, dlt_scope_pos(b), "out of memory");
    }
    bool mixed = false, wrong = false;
    for (int i = 0; i < count; i++) {
        const char *list =
            i == 0 ? "branches/sequential" : dlt_arena_printf(arena, "branches/sequential_%d", i);
        parts[i] = dlt_layers_apply(b, &p->branches.at[i], list, in);
        if (parts[i] == NULL && !dlt_builder_look_on(b)) {
            return NULL;
        }
        wrong = wrong || parts[i] == NULL;
        mixed = mixed || (!wrong && parts[i]->type != parts[0]->type);
    }
    if (wrong) {
        dlt_builder_fail(b); /* every branch has had its say */
        return NULL;
    }
    if (!same_shapes(b, p, parts, count)) {
        return NULL;
    }
    dlt_value *mask =
        p->merge == MERGE_CONCAT ? dlt_mask_joined(b, parts, count) : dlt_mask_either(b, parts, count);
    if (count == 1) {
        return parts[0]; /* with its mask */
    }
    for (int i = 0; i < count; i++) {
        parts[i] = mixed || p->merge == MERGE_AVERAGE ? dlt_as_real(b, parts[i]) : parts[i];
    }
    dlt_value *y = merged(b, p->merge, parts, count);
    if (y != NULL) {
        y->mask = mask;
    }
    return y;
}

static const char *const parallel_examples[] = {
    "{input: [2, 3], layer: {Parallel: {branches: [[{Dense: {units: 4, activation: tanh}}], [{Dense: {units: 2}}], []]}}}",
    "{input: [2, 3], layer: {Parallel: {branches: [[{Dense: {units: 4}}], [{Dense: {units: 4}}]], merge: add}}}",
    "{input: [2, 3], layer: {Parallel: {branches: [[{Dense: {units: 3, activation: sigmoid}}], []], merge: multiply}}}",
    "{input: [2, 3], layer: {Parallel: {branches: [[{Dense: {units: 4}}], [{Dense: {units: 4}}]], merge: average}}}",
    "{input: [2, 3], layer: {Parallel: {branches: [[{Dense: {units: 4}}], [{Dense: {units: 4}}]], merge: maximum}}}",
    "{input: [2, 4, 3], mask: true, layer: {Parallel: {branches: [[{GRU: {units: 2, return_sequences: true}}], [{Dense: {units: 2}}]]}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_parallel = {
    .kind = {.name = "Parallel",
             .doc = "lists of layers side by side",
             .size = sizeof(parallel_params),
             .fields = parallel_fields,
             .check = parallel_check},
    .build = parallel_build,
    .mask = DLT_MASK_USE,
    .examples = parallel_examples,
};
