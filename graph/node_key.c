/* graph/node_key.c: what decides how long a node takes, as a text. */
#include "graph/builder.h"
#include "graph/passes.h"

#include "base/text.h"

#include <string.h>

static void put_value(const dlt_value *v, dlt_buf *out)
{
    char shape[160], layout[40];
    dlt_buf_printf(out, " %s%s", dlt_dtype_name(v->type), dlt_shape_text(&v->shape, shape, sizeof shape));
    if (v->layout.kind != DLT_LAYOUT_ROW_MAJOR) {
        dlt_buf_printf(out, " %s", dlt_layout_text(v->layout, layout, sizeof layout));
    }
}

static void put_window(const dlt_conv_attrs *a, dlt_buf *out)
{
    const dlt_window *w = &a->window;
    const struct {
        const char *name;
        const int64_t *of;
    } parts[] = {{"window", w->size}, {"stride", w->stride}, {"dilation", w->dilation}, {"before", w->before}};
    for (size_t k = 0; k < DLT_COUNT(parts); k++) {
        dlt_buf_printf(out, " %s", parts[k].name);
        for (int i = 0; i < w->axes; i++) {
            dlt_buf_printf(out, "%s%lld", i == 0 ? " " : "x", (long long)parts[k].of[i]);
        }
    }
    if (a->groups != 1) {
        dlt_buf_printf(out, " groups %lld", (long long)a->groups);
    }
}

void dlt_node_key(const dlt_node *n, dlt_buf *out)
{
    dlt_buf_string(out, dlt_op_name(n->op));
    for (int i = 0; i < (n->own_inputs > 0 ? n->own_inputs : n->input_count); i++) {
        put_value(n->inputs[i], out);
    }
    if (n->op == DLT_OP_MATMUL) {
        const dlt_matmul_attrs *a = n->attrs;
        dlt_buf_printf(out, "%s%s", a->trans_a ? " first transposed" : "", a->trans_b ? " second transposed" : "");
    } else if (n->op == DLT_OP_CONV || n->op == DLT_OP_CONV_DX || n->op == DLT_OP_CONV_DW) {
        put_window(n->attrs, out);
    }
    if (n->epilogue != NULL) {
        dlt_buf_string(out, " epilogue");
    }
}
