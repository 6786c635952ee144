/* layers/rescaling.c: y = x scale + offset. A list of scales or offsets holds one a channel (last axis). */
#include "layers/layer.h"

typedef struct rescaling_params {
    dlt_floats scale, offset;
} rescaling_params;

static const dlt_field rescaling_fields[] = {
    DLT_FLOATS(rescaling_params, scale, -INFINITY, INFINITY, NULL, "factor, or one a channel; 1/255 is fine"),
    DLT_FLOATS(rescaling_params, offset, -INFINITY, INFINITY, "0", "what is added then, or one a channel"),
    {0},
};

static void rescaling_check(const dlt_item *item, dlt_diag *diag)
{
    if (((const rescaling_params *)item->params)->scale.count == 0) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "scale"),
                 "Rescaling: scale is an empty list; give a number");
    }
}

/* One number, or a vector along the last axis of x. */
static dlt_value *numbers(dlt_builder *b, const char *field, const dlt_floats *list, const dlt_value *x)
{
    const int rank = dlt_shape_of(x).rank;
    const int64_t count = (int64_t)list->count, channels = rank > 0 ? x->shape.dim[rank - 1] : 1;
    if (count > 1 && count != channels && !dlt_uncertain(x, NULL)) {
        return dlt_layer_reject(b, field,
                                "%s has %lld numbers, but the last axis of the input has %lld; "
                                "give as many, or one for all",
                                field, (long long)count, (long long)channels);
    }
    return dlt_constant_array(b, dlt_real(b), count > 1 ? DLT_SHAPE(count) : dlt_scalar(), list->at);
}

static dlt_value *rescaling_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const rescaling_params *p = params;
    dlt_value *y = dlt_mul(b, dlt_as_real(b, in), numbers(b, "scale", &p->scale, in));
    const bool shifts = p->offset.count > 1 || (p->offset.count == 1 && p->offset.at[0] != 0);
    return shifts ? dlt_add(b, y, numbers(b, "offset", &p->offset, in)) : y;
}

static const char *const rescaling_examples[] = {
    "{input: [2, 3], dtype: uint8, high: 9, layer: {Rescaling: {scale: 1/255}}, no_gradient: true}",
    "{input: [2, 3], layer: {Rescaling: {scale: 2, offset: -1.5}}}",
    "{input: [2, 4, 3], layer: {Rescaling: {scale: [0.5, 2, -1], offset: [0, 1, -2]}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_rescaling = {
    .kind = {.name = "Rescaling",
             .doc = "multiplies and adds fixed numbers",
             .size = sizeof(rescaling_params),
             .fields = rescaling_fields,
             .check = rescaling_check},
    .build = rescaling_build,
    .mask = DLT_MASK_PASS,
    .examples = rescaling_examples,
};
