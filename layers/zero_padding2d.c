/* layers/zero_padding2d.c: zeros around images.    (N, H, W, C) to (N, top + H + bottom, left + W + right, C) */
#include "layers/windows.h"

typedef struct zero_padding2d_params {
    dlt_ints padding;
    int data_format;
} zero_padding2d_params;

static const dlt_field zero_padding2d_fields[] = {
    DLT_INTS(zero_padding2d_params, padding, 0, DLT_MAX_WINDOW, "1",
             "rows and columns of zeros: one number, [height, width] or [top, bottom, left, right]"),
    DLT_ENUM(zero_padding2d_params, data_format, dlt_data_format_names, channels_last,
             "where the channels stand"),
    {0},
};

static void zero_padding2d_check(const dlt_item *item, dlt_diag *diag)
{
    const size_t count = ((const zero_padding2d_params *)item->params)->padding.count;
    if (count != 1 && count != 2 && count != 4) {
        dlt_fail(
            diag, DLT_E_CONFIG, dlt_item_pos(item, "padding"),
            "ZeroPadding2D: padding has %zu numbers; give 1, 2 (height, width) or 4 (top, bottom, left, right)",
            count);
    }
}

static dlt_value *zero_padding2d_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const zero_padding2d_params *p = params;
    const int64_t *n = p->padding.at;
    const size_t count = p->padding.count;
    const dlt_global_pool_params format = {.data_format = p->data_format};
    const int first = p->data_format == DLT_CHANNELS_FIRST ? 2 : 1;
    if (dlt_global_pool_axes(b, &format, 2, in) == 0) {
        return NULL;
    }
    dlt_value *y = dlt_pad(b, in, first, n[0], n[count == 4 ? 1 : 0]);
    return dlt_pad(b, y, first + 1,
                   n[count == 1   ? 0
                     : count == 2 ? 1
                                  : 2],
                   n[count == 1   ? 0
                     : count == 2 ? 1
                                  : 3]);
}

static const char *const zero_padding2d_examples[] = {
    "{input: [2, 3, 4, 2], layer: ZeroPadding2D}",
    "{input: [2, 3, 4, 2], layer: {ZeroPadding2D: {padding: [2, 0]}}}",
    "{input: [2, 2, 3, 4], layer: {ZeroPadding2D: {padding: [1, 0, 0, 2], data_format: channels_first}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_zero_padding2d = {
    .kind = {.name = "ZeroPadding2D",
             .doc = "zeros around images",
             .size = sizeof(zero_padding2d_params),
             .fields = zero_padding2d_fields,
             .check = zero_padding2d_check},
    .build = zero_padding2d_build,
    .mask = DLT_MASK_DROP,
    .examples = zero_padding2d_examples,
};
