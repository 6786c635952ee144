/* backend/cpu/conv.h: geometry that the convolution kernels share. Internal to backend/cpu. */
#ifndef DLT_CPU_CONV_H
#define DLT_CPU_CONV_H

#include "backend/cpu/simd.h"

/** A convolution or pool with three spatial axes; missing ones are of size 1 in front. */
typedef struct dlt_conv_geometry {
    int64_t batch, in_channels, out_channels, groups;
    int64_t in[3], out[3], size[3], stride[3], dilation[3], before[3];
} dlt_conv_geometry;
/** y: shape of the forward result. */
dlt_conv_geometry dlt_conv_geometry_of(const dlt_conv_attrs *attrs, const dlt_shape *y);

/** Why the blocked kernels cannot run a CONV, CONV_DX or CONV_DW in any layout; NULL: they can. */
const char *dlt_conv_blocked_decline(const dlt_node *node);
/** The same, and why not with the layouts that its operands have. */
const char *dlt_conv_blocked_layouts_decline(const dlt_node *node);

#endif
