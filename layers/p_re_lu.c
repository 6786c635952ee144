/* layers/p_re_lu.c: a rectifier whose slope below 0 is learned.    y = max(x, 0) - alpha max(-x, 0)
 * Shape as the input. Weight: alpha, of the input's shape without the batch; shared axes have size 1. */
#include "layers/layer.h"

#include "base/text.h"

typedef struct p_re_lu_params {
    dlt_weight_params alpha;
    dlt_ints shared_axes;
} p_re_lu_params;

static const dlt_field p_re_lu_fields[] = {
    DLT_WEIGHT(p_re_lu_params, alpha, "zeros", "the slope below 0"),
    DLT_INTS(p_re_lu_params, shared_axes, 1, DLT_MAX_RANK - 1, "null",
             "axes along which it is one number; the first is 1"),
    {0},
};

static dlt_value *p_re_lu_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const p_re_lu_params *p = params;
    const dlt_shape x = dlt_shape_of(in);
    dlt_shape shape = {.rank = x.rank - 1};
    if (x.rank < 2) {
        return dlt_reject(b, "PReLU needs (N, ..., C), got rank %d", x.rank);
    }
    for (int i = 0; i < shape.rank; i++) {
        shape.dim[i] = x.dim[i + 1];
    }
    for (size_t i = 0; i < p->shared_axes.count; i++) {
        if (p->shared_axes.at[i] > shape.rank) {
            char text[160];
            return dlt_layer_reject(b, "shared_axes", "PReLU: there is no axis %lld in the input %s",
                                    (long long)p->shared_axes.at[i],
                                    dlt_shape_text_batch(&x, text, sizeof text));
        }
        shape.dim[p->shared_axes.at[i] - 1] = 1;
    }
    dlt_value *v = dlt_as_real(b, in);
    dlt_value *below = dlt_mul(b, dlt_relu(b, dlt_neg(b, v)), dlt_weight(b, &p->alpha, shape));
    return dlt_sub(b, dlt_relu(b, v), below);
}

static const char *const p_re_lu_examples[] = {
    "{input: [2, 3], layer: PReLU}",
    "{input: [2, 3, 4, 2], layer: {PReLU: {shared_axes: [1, 2], alpha_initializer: ones}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_p_re_lu = {
    .kind = {.name = "PReLU",
             .doc = "a rectifier with a learned slope below 0",
             .size = sizeof(p_re_lu_params),
             .fields = p_re_lu_fields},
    .build = p_re_lu_build,
    .mask = DLT_MASK_PASS,
    .examples = p_re_lu_examples,
};
