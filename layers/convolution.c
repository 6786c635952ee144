/* layers/convolution.c: convolution (cross-correlation) over one or two axes. For images:
 *   y[n,i,j,f] = act( sum_{k,l,c} x[n, i s_h + k d_h, j s_w + l d_w, c] kernel[k,l,c,f] + bias[f] )
 * Input (N, H, W, C), output (N, H', W', filters). Weights as in Keras: kernel (kh, kw, C / groups, filters), bias (filters).
 * Group g sees the input channels [g C/G, (g+1) C/G) and makes the output channels [g F/G, (g+1) F/G).
 * channels_first input is transposed on the way in and out: the numbers are Keras', the time is that of two transposes. */
#include "layers/convolution.h"

void dlt_conv_check(const dlt_item *item, int axes, dlt_diag *diag)
{
    const dlt_conv_params *p = item->params;
    bool strides = false, dilation = false;
    for (int i = 0; i < axes; i++) {
        strides = strides || p->strides[i] > 1;
        dilation = dilation || p->dilation_rate[i] > 1;
    }
    if (strides && dilation) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "dilation_rate"),
                 "%s: strides and dilation_rate cannot both be above 1; leave one of them at 1",
                 item->kind->name);
    }
    if (p->groups > 0 && p->filters % p->groups != 0) {
        dlt_fail(
            diag, DLT_E_CONFIG, dlt_item_pos(item, "groups"),
            "%s: %lld filters cannot be split into %lld groups of one size; choose groups that divide filters",
            item->kind->name, (long long)p->filters, (long long)p->groups);
    }
}

dlt_window dlt_conv_window(const dlt_conv_params *p, int axes)
{
    dlt_window window = {.axes = axes};
    for (int i = 0; i < axes; i++) {
        window.size[i] = p->kernel_size[i];
        window.stride[i] = p->strides[i];
        window.dilation[i] = p->dilation_rate[i];
    }
    return window;
}

dlt_value *dlt_conv_finish(dlt_builder *b, const dlt_conv_params *p, dlt_value *y, int64_t channels)
{
    if (p->use_bias) {
        y = dlt_add(b, y, dlt_weight(b, &p->bias, DLT_SHAPE(channels)));
    }
    return dlt_activate(b, dlt_channels_first(b, y, p->data_format), p->activation);
}

dlt_value *dlt_conv_build(dlt_builder *b, const dlt_conv_params *p, int axes, dlt_value *in)
{
    dlt_window window = dlt_conv_window(p, axes);
    dlt_value *x = dlt_window_begin(b, in, p->data_format, p->padding, &window);
    if (x == NULL) {
        return NULL;
    }
    const int64_t channels = x->shape.dim[axes + 1];
    if (channels % p->groups != 0) {
        return dlt_layer_reject(
            b, "groups",
            "%s: %lld input channels cannot be split into %lld groups of one size; choose "
            "groups that divide both",
            dlt_layer_item(b)->kind->name, (long long)channels, (long long)p->groups);
    }
    dlt_shape shape = {.rank = axes + 2};
    for (int i = 0; i < axes; i++) {
        shape.dim[i] = p->kernel_size[i];
    }
    shape.dim[axes] = channels / p->groups;
    shape.dim[axes + 1] = p->filters;
    return dlt_conv_finish(b, p, dlt_conv(b, x, dlt_weight(b, &p->kernel, shape), &window, p->groups),
                           p->filters);
}
