/* layers/softmax_layer.c: e^x divided by its sum over one or more axes. Shape as the input.
 * With a mask of the input's shape: what does not count gets 0. (A mask (N, T) on (N, T, C) is an error in Keras as well.) */
#include "layers/layer.h"

#include "base/text.h"

typedef struct softmax_layer_params {
    dlt_ints axis;
} softmax_layer_params;

static const dlt_field softmax_layer_fields[] = {
    DLT_INTS(softmax_layer_params, axis, -DLT_MAX_RANK, DLT_MAX_RANK - 1, "-1",
             "axis or axes that sum to 1 together"),
    {0},
};

static dlt_value *softmax_layer_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const softmax_layer_params *p = params;
    const dlt_shape shape = dlt_shape_of(in);
    dlt_value *x = dlt_as_real(b, in), *mask = in->mask;
    uint32_t axes = 0;
    for (size_t i = 0; i < p->axis.count; i++) {
        const int axis = dlt_layer_axis(b, "axis", p->axis.at[i], in);
        if (axis < 0) {
            return NULL;
        }
        axes |= UINT32_C(1) << axis;
    }
    if (axes == 0) {
        return dlt_layer_reject(b, "axis", "Softmax: axis is an empty list; give an axis");
    }
    if (mask != NULL) {
        if (!dlt_shape_equal(&mask->shape, &shape)) {
            char is[160], of[160];
            return dlt_reject(
                b, "Softmax: a mask of shape %s does not fit the input %s; it must have the input's shape",
                dlt_shape_text_batch(&mask->shape, is, sizeof is),
                dlt_shape_text_batch(&shape, of, sizeof of));
        }
        x = dlt_select(b, mask, x, dlt_constant(b, -1e9));
    }
    dlt_value *y;
    if (axes == UINT32_C(1) << (shape.rank - 1)) {
        y = dlt_softmax(b, x);
    } else {
        dlt_value *largest = dlt_stop_gradient(b, dlt_reduce(b, DLT_REDUCE_MAX, x, axes, true));
        dlt_value *e = dlt_exp(b, dlt_sub(b, x, largest));
        y = dlt_div(b, e, dlt_sum(b, e, axes, true));
    }
    return mask != NULL ? dlt_select(b, mask, y, dlt_constant(b, 0)) : y;
}

static const char *const softmax_layer_examples[] = {
    "{input: [2, 3], layer: Softmax}",
    "{input: [2, 3, 4], layer: {Softmax: {axis: 1}}}",
    "{input: [2, 3, 4], layer: {Softmax: {axis: [1, 2]}}}",
    "{input: [2, 5], mask: true, layer: Softmax}",
    NULL,
};

const dlt_layer_desc dlt_layer_softmax_layer = {
    .kind = {.name = "Softmax",
             .doc = "e^x, divided by its sum over axes",
             .size = sizeof(softmax_layer_params),
             .fields = softmax_layer_fields},
    .build = softmax_layer_build,
    .mask = DLT_MASK_PASS,
    .examples = softmax_layer_examples,
};
