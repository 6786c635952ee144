/* layers/windows.c: the window of convolutions and pools (keras-layers.md 0.1). */
#include "layers/windows.h"

#include "base/text.h"

#include <assert.h>
#include <stdio.h>

/* What an input of 1, 2 or 3 spatial axes looks like, in words. */
static const char *wanted_shape(int axes, int format)
{
    static const char *const last[] = {"(N, T, C)", "(N, H, W, C)", "(N, D, H, W, C)"};
    static const char *const first[] = {"(N, C, T)", "(N, C, H, W)", "(N, C, D, H, W)"};
    return format == DLT_CHANNELS_FIRST ? first[axes - 1] : last[axes - 1];
}

static bool has_axes(dlt_builder *b, const dlt_value *x, int axes, int format)
{
    const dlt_shape shape = dlt_shape_of(x);
    if (dlt_builder_failed(b) || x == NULL) {
        return false;
    }
    if (shape.rank == axes + 2) {
        return true;
    }
    char text[160];
    dlt_shape_text_batch(&shape, text, sizeof text);
    const char *name = dlt_layer_item(b)->kind->name;
    if (shape.rank == axes + 1) {
        dlt_reject(b, "%s needs %s, got %s; if the axis of the channels is missing, put Reshape before it",
                   name, wanted_shape(axes, format), text);
    } else {
        dlt_reject(b, "%s needs %s, got %s", name, wanted_shape(axes, format), text);
    }
    return false;
}

/* "3 x 5" */
static char *sizes_text(const int64_t *size, int axes, char *text, size_t room)
{
    int used = 0;
    for (int i = 0; i < axes && used >= 0 && (size_t)used < room; i++) {
        used += snprintf(text + used, room - (size_t)used, "%s%lld", i > 0 ? " x " : "", (long long)size[i]);
    }
    return text;
}

dlt_value *dlt_window_begin(dlt_builder *b, dlt_value *x, int format, int padding, dlt_window *window)
{
    const int axes = window->axes;
    assert(axes > 0 && axes <= DLT_MAX_SPATIAL);
    if (!has_axes(b, x, axes, format)) {
        return NULL;
    }
    x = dlt_channels_last(b, dlt_as_real(b, x), format);
    const dlt_shape shape = dlt_shape_of(x);
    int64_t out[DLT_MAX_SPATIAL], covers[DLT_MAX_SPATIAL];
    if (x == NULL) {
        return NULL;
    }
    for (int i = 0; i < axes; i++) {
        window->before[i] = window->after[i] = 0;
        covers[i] = (window->size[i] - 1) * window->dilation[i] + 1;
    }
    if (padding == DLT_PADDING_SAME) {
        dlt_window_same(window, &shape);
    } else if (padding == DLT_PADDING_CAUSAL) {
        window->before[0] = covers[0] - 1;
    }
    if (!dlt_window_output(window, &shape, out)) {
        char window_text[96], input_text[96];
        return dlt_reject(
            b, "%s: the window covers %s, more than the input of %s; use padding: same or a smaller window",
            dlt_layer_item(b)->kind->name, sizes_text(covers, axes, window_text, sizeof window_text),
            sizes_text(shape.dim + 1, axes, input_text, sizeof input_text));
    }
    return x;
}

static void check_axes(const dlt_item *item, const char *field, const dlt_ints *list, int axes,
                       dlt_diag *diag)
{
    if (list->count > 1 && list->count != (size_t)axes) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, field),
                 "%s: %s has %zu numbers; give %d, or one for all axes", item->kind->name, field, list->count,
                 axes);
    }
}

void dlt_pool_check(const dlt_item *item, int axes, dlt_diag *diag)
{
    const dlt_pool_params *p = item->params;
    if (p->pool_size.count == 0) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "pool_size"),
                 "%s: pool_size is an empty list; give a size", item->kind->name);
    }
    check_axes(item, "pool_size", &p->pool_size, axes, diag);
    check_axes(item, "strides", &p->strides, axes, diag);
}

static int64_t element(const dlt_ints *list, int i)
{
    return list->at[list->count > 1 ? i : 0];
}

dlt_value *dlt_pool_build(dlt_builder *b, const dlt_pool_params *p, int axes, dlt_value *in,
                          dlt_pool_call *pool)
{
    dlt_window window = {.axes = axes};
    for (int i = 0; i < axes; i++) {
        window.size[i] = element(&p->pool_size, i);
        window.stride[i] = p->strides.count > 0 ? element(&p->strides, i) : window.size[i];
        window.dilation[i] = 1;
    }
    dlt_value *x = dlt_window_begin(b, in, p->data_format, p->padding, &window);
    return x == NULL ? NULL : dlt_channels_first(b, pool(b, x, &window), p->data_format);
}

uint32_t dlt_global_pool_axes(dlt_builder *b, const dlt_global_pool_params *params, int axes,
                              const dlt_value *in)
{
    const int first = params->data_format == DLT_CHANNELS_FIRST ? 2 : 1;
    return has_axes(b, in, axes, params->data_format) ? ((UINT32_C(1) << axes) - 1) << first : 0;
}
