/* layers/repeat_vector.c: the same vector at each of n steps.    (N, C) to (N, n, C) */
#include "layers/layer.h"

#include "base/text.h"

typedef struct repeat_vector_params {
    int64_t n;
} repeat_vector_params;

static const dlt_field repeat_vector_fields[] = {
    DLT_INT(repeat_vector_params, n, 1, INT32_MAX, DLT_REQUIRED, "how many steps"),
    {0},
};

static dlt_value *repeat_vector_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const dlt_shape x = dlt_shape_of(in);
    char text[160];
    if (x.rank != 2) {
        return dlt_reject(b, "RepeatVector needs (N, C), got %s; put Flatten before it",
                          dlt_shape_text_batch(&x, text, sizeof text));
    }
    const dlt_shape shape = DLT_SHAPE(x.dim[0], ((const repeat_vector_params *)params)->n, x.dim[1]);
    return dlt_broadcast_to(b, dlt_expand(b, in, 1), shape);
}

static const char *const repeat_vector_examples[] = {"{input: [2, 3], layer: {RepeatVector: {n: 4}}}", NULL};

const dlt_layer_desc dlt_layer_repeat_vector = {
    .kind = {.name = "RepeatVector",
             .doc = "the same vector at each of n steps",
             .size = sizeof(repeat_vector_params),
             .fields = repeat_vector_fields},
    .build = repeat_vector_build,
    .mask = DLT_MASK_DROP,
    .examples = repeat_vector_examples,
};
