/* layers/permute.c: axes in another order.    axis i of the output is axis dims[i] of the input, both counted from 1 */
#include "layers/layer.h"

#include "base/text.h"

typedef struct permute_params {
    dlt_ints dims;
} permute_params;

static const dlt_field permute_fields[] = {
    DLT_INTS(permute_params, dims, 1, DLT_MAX_RANK - 1, NULL,
             "which axis comes where; the first behind the batch is 1"),
    {0},
};

static void permute_check(const dlt_item *item, dlt_diag *diag)
{
    const permute_params *p = item->params;
    uint32_t seen = 0;
    for (size_t i = 0; i < p->dims.count; i++) {
        seen |= UINT32_C(1) << p->dims.at[i];
    }
    if (p->dims.count == 0 || p->dims.count >= DLT_MAX_RANK ||
        seen != (UINT32_C(1) << (p->dims.count + 1)) - 2) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "dims"),
                 "Permute: dims must hold each axis 1, 2, ... once");
    }
}

static dlt_value *permute_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const permute_params *p = params;
    int perm[DLT_MAX_RANK] = {0};
    const dlt_shape x = dlt_shape_of(in);
    if (x.rank != (int)p->dims.count + 1) {
        char text[160];
        return dlt_layer_reject(b, "dims",
                                "Permute has %zu dims, but the input %s has %d axes behind the batch",
                                p->dims.count, dlt_shape_text_batch(&x, text, sizeof text), x.rank - 1);
    }
    for (int i = 1; i < x.rank; i++) {
        perm[i] = (int)p->dims.at[i - 1];
    }
    return dlt_transpose(b, in, perm);
}

static const char *const permute_examples[] = {
    "{input: [2, 3, 4], layer: {Permute: {dims: [2, 1]}}}",
    "{input: [2, 3, 4, 5], layer: {Permute: {dims: [3, 1, 2]}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_permute = {
    .kind = {.name = "Permute",
             .doc = "axes in another order",
             .size = sizeof(permute_params),
             .fields = permute_fields,
             .check = permute_check},
    .build = permute_build,
    .mask = DLT_MASK_DROP,
    .examples = permute_examples,
};
