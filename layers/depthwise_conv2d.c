/* layers/depthwise_conv2d.c: each channel of an image convolved by itself, depth_multiplier times.
 *   y[n,i,j,c M + m] = act( sum_{k,l} x[n, i s_h + k d_h, j s_w + l d_w, c] kernel[k,l,c,m] + bias[c M + m] )
 * Input (N, H, W, C), output (N, H', W', C M). Weights: kernel (kh, kw, C, M), bias (C M). It is a convolution in C groups, whose
 * kernel (kh, kw, 1, C M) is the same numbers in the same order. */
#include "layers/convolution.h"

static const dlt_field depthwise_conv2d_fields[] = {
    DLT_CONV_FIELDS(2, dlt_padding_names),
    DLT_INT(dlt_conv_params, depth_multiplier, 1, 1 << 16, 1, "results a channel"),
    DLT_WEIGHT(dlt_conv_params, depthwise, "glorot_uniform", "the windows (kh, kw, C, depth_multiplier)"),
    {0},
};

static void depthwise_conv2d_check(const dlt_item *item, dlt_diag *diag)
{
    dlt_conv_check(item, 2, diag);
}

static dlt_value *depthwise_conv2d_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const dlt_conv_params *p = params;
    dlt_weight_params weight = p->depthwise;
    dlt_window window = dlt_conv_window(p, 2);
    dlt_value *x = dlt_window_begin(b, in, p->data_format, p->padding, &window);
    weight.name = "kernel";
    if (x == NULL) {
        return NULL;
    }
    const int64_t channels = x->shape.dim[3], results = channels * p->depth_multiplier;
    dlt_value *kernel = dlt_weight(
        b, &weight, DLT_SHAPE(p->kernel_size[0], p->kernel_size[1], channels, p->depth_multiplier));
    kernel = dlt_reshape(b, kernel, DLT_SHAPE(p->kernel_size[0], p->kernel_size[1], 1, results));
    return dlt_conv_finish(b, p, dlt_conv(b, x, kernel, &window, channels), results);
}

static const char *const depthwise_conv2d_examples[] = {
    "{input: [2, 5, 6, 2], layer: {DepthwiseConv2D: {kernel_size: 3}}}",
    "{input: [2, 5, 6, 3], layer: {DepthwiseConv2D: {kernel_size: 2, depth_multiplier: 2, padding: same, strides: 2, activation: tanh}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_depthwise_conv2d = {
    .kind = {.name = "DepthwiseConv2D",
             .doc = "each channel of an image convolved by itself",
             .size = sizeof(dlt_conv_params),
             .fields = depthwise_conv2d_fields,
             .check = depthwise_conv2d_check},
    .build = depthwise_conv2d_build,
    .mask = DLT_MASK_DROP,
    .examples = depthwise_conv2d_examples,
};
