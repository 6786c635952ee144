/* graph/dump.c: graphs as text and as pictures. */
#include "graph/passes.h"

#include "graph/builder.h"

#include "base/text.h"

#include <assert.h>
#include <string.h>

static const char *phase_name(dlt_phase phase)
{
    return phase == DLT_PHASE_FORWARD ? "forward" : phase == DLT_PHASE_BACKWARD ? "backward" : "update";
}

/* "add", "reduce sum", "var dense/kernel": what a node does. */
static void describe(const dlt_node *n, dlt_buf *out)
{
    switch (n->op) {
    case DLT_OP_EW:
        dlt_buf_string(out, dlt_ew_name(((const dlt_ew_attrs *)n->attrs)->op));
        break;
    case DLT_OP_VAR:
    case DLT_OP_ASSIGN:
    case DLT_OP_SEGMENT: {
        const dlt_variable *v = *(dlt_variable *const *)n->attrs;
        dlt_buf_printf(out, "%s %s", dlt_op_name(n->op), v != NULL ? v->path : "(all)");
        break;
    }
    case DLT_OP_INPUT:
        dlt_buf_printf(out, "input %s", *(const char *const *)n->attrs);
        break;
    case DLT_OP_CONST: {
        char number[40];
        dlt_format_double((*(const double *const *)n->attrs)[0], number, sizeof number);
        dlt_buf_printf(out, "const %s%s", number, dlt_shape_count(&n->outputs[0]->shape) > 1 ? " ..." : "");
        break;
    }
    case DLT_OP_REDUCE: {
        static const char *const names[] = {"", "sum", "max", "min"};
        dlt_buf_printf(out, "reduce %s", names[((const dlt_reduce_attrs *)n->attrs)->kind]);
        break;
    }
    case DLT_OP_WARP:
    case DLT_OP_WARP_DX: {
        static const char *const modes[] = {"constant", "nearest", "reflect", "wrap"};
        const dlt_warp_attrs *attrs = n->attrs;
        dlt_buf_printf(out, "%s %s, %s outside", dlt_op_name(n->op), attrs->nearest ? "nearest" : "bilinear", modes[attrs->fill_mode]);
        break;
    }
    default:
        dlt_buf_string(out, dlt_op_name(n->op));
    }
}

static void dump_expr(const dlt_expr *e, dlt_buf *out)
{
    char number[40];
    dlt_buf_string(out, " {");
    for (int i = 0; i < e->instr_count; i++) {
        const dlt_instr *x = &e->instrs[i];
        const int operands = dlt_ew_operands(x->op.op);
        dlt_buf_printf(out, "%sr%d = %s", i > 0 ? "; " : "", e->input_count + i, dlt_ew_name(x->op.op));
        const int regs[] = {x->a, x->b, x->c};
        assert(operands <= (int)DLT_COUNT(regs));
        for (int k = 0; k < operands; k++) {
            dlt_buf_printf(out, " r%d", regs[k]);
        }
        if (x->op.op == DLT_EW_CONST) {
            dlt_format_double(x->op.value, number, sizeof number);
            dlt_buf_printf(out, " %s", number);
        }
    }
    for (int i = 0; i < e->output_count; i++) {
        static const char *const kinds[] = {"", " sum", " max", " min"};
        dlt_buf_printf(out, "%s out r%d%s", i == 0 ? " ->" : ",", (int)e->outputs[i].reg, kinds[e->outputs[i].reduce]);
    }
    dlt_buf_string(out, "}");
}

void dlt_graph_dump(const dlt_graph *graph, dlt_buf *out)
{
    char shape[160], layout[40];
    dlt_buf_printf(out, "program %s: %d nodes\n", graph->name, graph->node_count);
    for (int i = 0; i < graph->node_count; i++) {
        const dlt_node *n = graph->nodes[i];
        dlt_buf_printf(out, "%5d %-8s ", i, phase_name(n->phase));
        for (int k = 0; k < n->output_count; k++) {
            const dlt_value *v = n->outputs[k];
            dlt_buf_printf(out, "%s%%%d %s%s", k > 0 ? ", " : "", v->id, dlt_dtype_name(v->type),
                           dlt_shape_text(&v->shape, shape, sizeof shape));
            if (v->layout.kind != DLT_LAYOUT_ROW_MAJOR) {
                dlt_buf_printf(out, " %s", dlt_layout_text(v->layout, layout, sizeof layout));
            }
        }
        dlt_buf_string(out, n->output_count > 0 ? " = " : "");
        describe(n, out);
        for (int k = 0; k < n->input_count; k++) {
            dlt_buf_printf(out, " %%%d", n->inputs[k]->id);
        }
        if (n->op == DLT_OP_EXPR) {
            dump_expr(n->attrs, out);
        } else if (n->epilogue != NULL) {
            dlt_buf_string(out, " epilogue");
            dump_expr(n->epilogue, out);
        }
        if (n->choice != NULL) {
            const dlt_choice *c = n->choice;
            if (c->count > 0) {
                dlt_buf_printf(out, "  [%s]", c->candidates[c->taken].name);
            }
        }
        if (n->layer != NULL && n->layer[0] != '\0') {
            dlt_buf_printf(out, "  # %s", n->layer);
        }
        dlt_buf_char(out, '\n');
    }
    for (int i = 0; i < graph->output_count; i++) {
        dlt_buf_printf(out, "output %s = %%%d\n", graph->outputs[i].name, graph->outputs[i].value->id);
    }
}

/* Text inside a double-quoted Graphviz string. */
static void quoted(dlt_buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            dlt_buf_char(out, '\\');
        }
        dlt_buf_char(out, *text);
    }
}

void dlt_graph_dot(const dlt_graph *graph, dlt_buf *out)
{
    char shape[160];
    static const char *const colours[] = {"lightblue", "lightsalmon", "lightgreen"};
    dlt_buf_string(out, "digraph \"");
    quoted(out, graph->name);
    dlt_buf_string(out, "\" {\n  node [shape=box, style=filled, fontname=monospace, fontsize=10];\n");
    for (int i = 0; i < graph->node_count; i++) {
        const dlt_node *n = graph->nodes[i];
        dlt_buf text = {0};
        if (n->op == DLT_OP_CONST) {
            continue;
        }
        describe(n, &text);
        dlt_buf_printf(out, "  n%d [label=\"", i);
        quoted(out, dlt_buf_text(&text));
        if (n->layer != NULL && n->layer[0] != '\0') {
            dlt_buf_string(out, "\\n");
            quoted(out, n->layer);
        }
        dlt_buf_printf(out, "\", fillcolor=%s];\n", colours[n->phase]);
        dlt_buf_finish(&text, out);
        for (int k = 0; k < n->input_count; k++) {
            const dlt_value *v = n->inputs[k];
            if (v->node->op != DLT_OP_CONST) {
                dlt_buf_printf(out, "  n%d -> n%d [label=\"%s\", fontsize=8];\n", v->node->id, i,
                               dlt_shape_text(&v->shape, shape, sizeof shape));
            }
        }
    }
    dlt_buf_string(out, "}\n");
}
