/* layers/convolution.h: what Conv1D, Conv2D and DepthwiseConv2D share. */
#ifndef DLT_LAYERS_CONVOLUTION_H
#define DLT_LAYERS_CONVOLUTION_H

#include "layers/windows.h"

/** Parameters; the first `axes` elements of the arrays are used. */
typedef struct dlt_conv_params {
    int64_t filters, kernel_size[DLT_MAX_SPATIAL], strides[DLT_MAX_SPATIAL], dilation_rate[DLT_MAX_SPATIAL],
        groups;
    int64_t depth_multiplier; /* of depthwise convolutions */
    int padding, data_format;
    const dlt_item *activation;
    bool use_bias;
    dlt_weight_params kernel, depthwise, bias;
    const dlt_item *activity_regularizer;
} dlt_conv_params;

/** Rows that all have. paddings: the names of DLT_ENUM. */
#define DLT_CONV_FIELDS(axes, paddings)                                                                      \
    DLT_AXES(dlt_conv_params, kernel_size, axes, 1, DLT_MAX_WINDOW, DLT_REQUIRED,                            \
             "size of the window, or one an axis"),                                                          \
        DLT_AXES(dlt_conv_params, strides, axes, 1, DLT_MAX_WINDOW, 1,                                       \
                 "step of the window, or one an axis"),                                                      \
        DLT_ENUM(dlt_conv_params, padding, paddings, valid,                                                  \
                 "same: pads the edges with zeros, ceil(size / stride) results"),                            \
        DLT_ENUM(dlt_conv_params, data_format, dlt_data_format_names, channels_last,                         \
                 "where the channels stand"),                                                                \
        DLT_AXES(dlt_conv_params, dilation_rate, axes, 1, DLT_MAX_WINDOW, 1,                                 \
                 "distance between the cells of the window"),                                                \
        DLT_ITEM(dlt_conv_params, activation, "activation", null, "applied to the result"),                  \
        DLT_BOOL(dlt_conv_params, use_bias, true, "add a learned number to each output channel"),            \
        DLT_WEIGHT(dlt_conv_params, bias, "zeros", "one number an output channel"),                          \
        DLT_ACTIVITY_FIELD(dlt_conv_params)
/** Rows of convolutions with a kernel (window..., C / groups, filters). */
#define DLT_CONV_KERNEL_FIELDS                                                                               \
    DLT_INT(dlt_conv_params, filters, 1, DLT_MAX_UNITS, DLT_REQUIRED, "number of output channels"),          \
        DLT_INT(dlt_conv_params, groups, 1, DLT_MAX_UNITS, 1,                                                \
                "parts of the channels that do not see each other"),                                         \
        DLT_WEIGHT(dlt_conv_params, kernel, "glorot_uniform",                                                \
                   "the windows (window..., C / groups, filters)")

/** Rules across fields, for kind->check. */
void dlt_conv_check(const dlt_item *item, int axes, dlt_diag *diag);
/** The convolution with a kernel of its own. */
dlt_value *dlt_conv_build(dlt_builder *b, const dlt_conv_params *params, int axes, dlt_value *in);
/** A window from the parameters. */
dlt_window dlt_conv_window(const dlt_conv_params *params, int axes);
/** What follows the product: bias (of `channels`), channels first again, activation. */
dlt_value *dlt_conv_finish(dlt_builder *b, const dlt_conv_params *params, dlt_value *y, int64_t channels);

#endif
