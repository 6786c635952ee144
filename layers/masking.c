/* layers/masking.c: steps whose features all have one value are padding: they become 0, and later layers pass over them.
 *   mask[n,t] = any_c( x[n,t,c] != mask_value )        y = x mask
 * Input and output (N, T, C), or (N, ..., C); it makes the mask. */
#include "layers/layer.h"

#include "base/text.h"

typedef struct masking_params {
    double mask_value;
} masking_params;

static const dlt_field masking_fields[] = {
    DLT_FLOAT(masking_params, mask_value, -INFINITY, INFINITY, 0, "the value that padding has"),
    {0},
};

static dlt_value *masking_build(dlt_builder *b, const void *params, dlt_value *in)
{
    dlt_value *x = dlt_as_real(b, in);
    const dlt_shape shape = dlt_shape_of(x);
    if (shape.rank < 2) {
        return dlt_reject(b, "Masking needs (N, ..., C), got rank %d", shape.rank);
    }
    dlt_value *differs =
        dlt_not(b, dlt_equal(b, x, dlt_constant(b, ((const masking_params *)params)->mask_value)));
    dlt_value *any = dlt_reduce(b, DLT_REDUCE_MAX, differs, dlt_axis_bit(x, -1), false);
    dlt_value *y = dlt_mul(b, x, dlt_expand(b, any, -1));
    if (y != NULL) {
        y->mask = dlt_cast(b, any, DLT_U8);
    }
    return y;
}

static const char *const masking_examples[] = {
    "{input: [2, 4, 3], layer: Masking}",
    "{input: [2, 4, 3], layer: {Masking: {mask_value: -1}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_masking = {
    .kind = {.name = "Masking",
             .doc = "steps of one value are padding",
             .size = sizeof(masking_params),
             .fields = masking_fields},
    .build = masking_build,
    .mask = DLT_MASK_USE,
    .examples = masking_examples,
};
