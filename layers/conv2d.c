/* layers/conv2d.c: convolution of images: (N, H, W, C) to (N, H', W', filters). Formula and weights: convolution.c. */
#include "layers/convolution.h"

static const dlt_field conv2d_fields[] = {DLT_CONV_KERNEL_FIELDS, DLT_CONV_FIELDS(2, dlt_padding_names), {0}};

static void conv2d_check(const dlt_item *item, dlt_diag *diag)
{
    dlt_conv_check(item, 2, diag);
}

static dlt_value *conv2d_build(dlt_builder *b, const void *params, dlt_value *in)
{
    return dlt_conv_build(b, params, 2, in);
}

static const char *const conv2d_examples[] = {
    "{input: [2, 5, 6, 2], layer: {Conv2D: {filters: 3, kernel_size: 3}}}",
    "{input: [2, 5, 6, 2], layer: {Conv2D: {filters: 3, kernel_size: [3, 2], strides: [2, 1], padding: same, use_bias: false}}}",
    "{input: [2, 6, 7, 4], layer: {Conv2D: {filters: 6, kernel_size: 3, dilation_rate: 2, groups: 2, activation: tanh}}}",
    "{input: [2, 3, 5, 4], layer: {Conv2D: {filters: 2, kernel_size: 2, data_format: channels_first}}}",
    "{input: [2, 4, 4, 3], layer: {Conv2D: {filters: 3, kernel_size: 1, groups: 3, kernel_regularizer: {L2: {l2: 0.1}}}}}",
    "{input: [2, 4, 4, 1], layer: {Conv2D: {filters: 2, kernel_size: 5, padding: same, activity_regularizer: {L1: {l1: 0.1}}}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_conv2d = {
    .kind = {.name = "Conv2D",
             .doc = "convolution of images",
             .size = sizeof(dlt_conv_params),
             .fields = conv2d_fields,
             .aliases = "Convolution2D",
             .check = conv2d_check},
    .build = conv2d_build,
    .mask = DLT_MASK_DROP,
    .examples = conv2d_examples,
};
