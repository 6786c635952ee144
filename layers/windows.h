/* layers/windows.h: what convolutions and pools share: parameters of a window, and its place in the input. */
#ifndef DLT_LAYERS_WINDOWS_H
#define DLT_LAYERS_WINDOWS_H

#include "layers/layer.h"

enum { DLT_MAX_WINDOW = 1 << 16 };

/**
 * Brings x to (N, spatial..., C) and fills `before` and `after` of a window whose axes, sizes, strides and dilations are
 * set. NULL after a message if x has not `axes` spatial axes, or the window does not fit.
 */
dlt_value *dlt_window_begin(dlt_builder *b, dlt_value *x, int format, int padding, dlt_window *window);

/** Parameters of MaxPooling and AveragePooling in all dimensions. */
typedef struct dlt_pool_params {
    dlt_ints pool_size, strides;
    int padding, data_format;
} dlt_pool_params;
/** Rows of their table; default_size is "2" or NULL: required. */
#define DLT_POOL_FIELDS(default_size)                                                                        \
    DLT_INTS(dlt_pool_params, pool_size, 1, DLT_MAX_WINDOW, default_size,                                    \
             "size of the window, or one an axis"),                                                          \
        DLT_INTS(dlt_pool_params, strides, 1, DLT_MAX_WINDOW, "null",                                        \
                 "step of the window, or one an axis; null: its size"),                                      \
        DLT_ENUM(dlt_pool_params, padding, dlt_padding_names, valid,                                         \
                 "same: pads the edges, ceil(size / stride) windows"),                                       \
        DLT_ENUM(dlt_pool_params, data_format, dlt_data_format_names, channels_last,                         \
                 "where the channels stand")

typedef dlt_value *dlt_pool_call(dlt_builder *b, dlt_value *x, const dlt_window *window);
/** The pool over `axes` spatial axes. Padding never wins a maximum and is not counted in an average. */
dlt_value *dlt_pool_build(dlt_builder *b, const dlt_pool_params *params, int axes, dlt_value *in,
                          dlt_pool_call *pool);
/** The lengths of pool_size and strides. */
void dlt_pool_check(const dlt_item *item, int axes, dlt_diag *diag);

typedef struct dlt_global_pool_params {
    int data_format;
    bool keepdims;
} dlt_global_pool_params;
#define DLT_GLOBAL_POOL_FIELDS                                                                               \
    DLT_ENUM(dlt_global_pool_params, data_format, dlt_data_format_names, channels_last,                      \
             "where the channels stand"),                                                                    \
        DLT_BOOL(dlt_global_pool_params, keepdims, false, "keep the pooled axes with size 1")
/** Bits of the spatial axes, of which there must be `axes`; 0 after a message. */
uint32_t dlt_global_pool_axes(dlt_builder *b, const dlt_global_pool_params *params, int axes,
                              const dlt_value *in);

#endif
