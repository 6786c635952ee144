/* layers/reshape.c: the same values in another shape.    (N, ...) to (N, target_shape...); one -1 takes what is left. */
#include "layers/layer.h"

#include "base/alloc.h"

typedef struct reshape_params {
    dlt_ints target_shape;
} reshape_params;

static const dlt_field reshape_fields[] = {
    DLT_SHAPE_FIELD(reshape_params, target_shape, -1, INT32_MAX, DLT_MAX_RANK - 1, NULL,
                    "sizes of one sample, without the batch; one -1 takes what is left"),
    {0},
};

static void reshape_check(const dlt_item *item, dlt_diag *diag)
{
    const reshape_params *p = item->params;
    int open = 0;
    for (size_t i = 0; i < p->target_shape.count; i++) {
        open += p->target_shape.at[i] < 0;
        if (p->target_shape.at[i] == 0) {
            dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "target_shape"),
                     "Reshape: a size of 0 leaves nothing; sizes are at least 1, and one may be -1");
            return;
        }
    }
    if (open > 1) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "target_shape"),
                 "Reshape: only one size can be -1, found %d; write the others as numbers", open);
    }
}

static dlt_value *reshape_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const reshape_params *p = params;
    const dlt_shape x = dlt_shape_of(in);
    if (x.rank < 1) {
        return NULL;
    }
    int64_t have = 1, known = 1;
    dlt_shape wanted = {.rank = (int)p->target_shape.count + 1, .dim = {x.dim[0]}};
    int open = -1;
    bool fits = true;
    for (int i = 1; i < x.rank; i++) {
        have *= x.dim[i]; /* the whole shape was checked when the value was made */
    }
    for (int i = 1; i < wanted.rank; i++) {
        wanted.dim[i] = p->target_shape.at[i - 1];
        if (wanted.dim[i] < 0) {
            open = i;
        } else {
            fits = fits && dlt_mul_i64(known, wanted.dim[i], &known);
        }
    }
    if (fits && open >= 0) {
        fits = have % known == 0;
        wanted.dim[open] = have / known;
    } else {
        fits = fits && have == known;
    }
    if (!fits) {
        char is[160], target[160];
        dlt_shape said = {.rank = wanted.rank - 1};
        for (int i = 0; i < said.rank; i++) {
            said.dim[i] = p->target_shape.at[i];
        }
        return dlt_layer_reject(b, "target_shape", "Reshape cannot make %s of %s: a sample has %lld values",
                                dlt_shape_text(&said, target, sizeof target),
                                dlt_shape_text_batch(&x, is, sizeof is), (long long)have);
    }
    return dlt_reshape(b, in, wanted);
}

static const char *const reshape_examples[] = {
    "{input: [2, 6], layer: {Reshape: {target_shape: [2, 3]}}}",
    "{input: [2, 3, 4], layer: {Reshape: {target_shape: [-1, 2, 2]}}}",
    "{input: [2, 1], layer: {Reshape: {target_shape: []}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_reshape = {
    .kind = {.name = "Reshape",
             .doc = "the same values in another shape",
             .size = sizeof(reshape_params),
             .fields = reshape_fields,
             .check = reshape_check},
    .build = reshape_build,
    .mask = DLT_MASK_DROP,
    .examples = reshape_examples,
};
