/* layers/conv1d.c: convolution of sequences: (N, T, C) to (N, T', filters). Formula and weights: convolution.c, with one axis.
 * padding: causal puts dilation_rate (kernel_size - 1) zeros before the first step: a step sees none after it. */
#include "layers/convolution.h"

static const char *const paddings[] = {"valid", "same", "causal", NULL};

static const dlt_field conv1d_fields[] = {DLT_CONV_KERNEL_FIELDS, DLT_CONV_FIELDS(1, paddings), {0}};

static void conv1d_check(const dlt_item *item, dlt_diag *diag)
{
    const dlt_conv_params *p = item->params;
    dlt_conv_check(item, 1, diag);
    if (p->padding == DLT_PADDING_CAUSAL && p->data_format == DLT_CHANNELS_FIRST) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "padding"),
                 "Conv1D: padding: causal needs data_format: channels_last, as in Keras");
    }
}

static dlt_value *conv1d_build(dlt_builder *b, const void *params, dlt_value *in)
{
    return dlt_conv_build(b, params, 1, in);
}

static const char *const conv1d_examples[] = {
    "{input: [2, 6, 2], layer: {Conv1D: {filters: 3, kernel_size: 3, activation: tanh}}}",
    "{input: [2, 7, 4], layer: {Conv1D: {filters: 4, kernel_size: 2, strides: 2, padding: same, groups: 2}}}",
    "{input: [2, 3, 6], layer: {Conv1D: {filters: 2, kernel_size: 2, data_format: channels_first}}}",
    "{input: [2, 6, 2], layer: {Conv1D: {filters: 2, kernel_size: 3, padding: causal, dilation_rate: 2, use_bias: false}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_conv1d = {
    .kind = {.name = "Conv1D",
             .doc = "convolution of sequences",
             .size = sizeof(dlt_conv_params),
             .fields = conv1d_fields,
             .aliases = "Convolution1D",
             .check = conv1d_check},
    .build = conv1d_build,
    .mask = DLT_MASK_DROP,
    .examples = conv1d_examples,
};
