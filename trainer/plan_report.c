/* trainer/plan_report.c: what `plan` says of an engine. */
#include "trainer/plan_report.h"

#include "base/json.h"
#include "graph/passes.h"

#include <stdio.h>
#include <string.h>

enum { LARGEST = 8 };

/* ---- figures ---- */

/* Kernels, programs and floating-point work of one phase. */
typedef struct phase_figures {
    int kernels, programs, fused; /* fused: programs of more than one instruction or output, and epilogues */
    double flops, bytes;
} phase_figures;

static bool runs(const dlt_node *n)
{
    return n->choice != NULL;
}

/* Operations that became one program: instructions but constants, and reductions. */
static int expr_work(const dlt_expr *e)
{
    int work = 0;
    for (int k = 0; k < e->instr_count; k++) {
        work += e->instrs[k].op.op != DLT_EW_CONST;
    }
    for (int k = 0; k < e->output_count; k++) {
        work += e->outputs[k].reduce != DLT_REDUCE_NONE;
    }
    return work;
}

static void count_phases(const dlt_graph *g, phase_figures phases[3])
{
    memset(phases, 0, 3 * sizeof *phases);
    for (int i = 0; i < g->node_count; i++) {
        const dlt_node *n = g->nodes[i];
        if (!runs(n)) {
            continue;
        }
        phase_figures *p = &phases[n->phase];
        p->kernels++;
        p->flops += dlt_node_flops(n);
        p->bytes += (double)dlt_node_bytes(n);
        if (n->op == DLT_OP_EXPR) {
            p->programs++;
            p->fused += expr_work(n->attrs) > 1;
        }
        p->fused += n->epilogue != NULL;
    }
}

/* The largest values in TRANSIENT, by bytes. */
static int find_largest(const dlt_compiled *c, const dlt_value *largest[LARGEST])
{
    int count = 0;
    for (int i = 0; i < c->graph->node_count; i++) {
        const dlt_node *n = c->graph->nodes[i];
        for (int k = 0; k < n->output_count; k++) {
            const dlt_value *v = n->outputs[k];
            const dlt_place *p = &c->plan->places[v->id];
            if (p->storage != DLT_TRANSIENT || p->bytes == 0 || (dlt_op_flags(n->op) & DLT_OP_VIEW) != 0) {
                continue;
            }
            int at = count < LARGEST ? count++ : LARGEST;
            for (; at > 0 && c->plan->places[largest[at - 1]->id].bytes < p->bytes; at--) {
                if (at < LARGEST) {
                    largest[at] = largest[at - 1];
                }
            }
            if (at < LARGEST) {
                largest[at] = v;
            }
        }
    }
    return count;
}

static int64_t slot_bytes(const dlt_engine *e)
{
    return e->sizes.bytes[DLT_INPUT] * e->sizes.input_slots;
}

static int64_t workspace_of(const dlt_compiled *c)
{
    int64_t most = 0;
    for (int i = 0; i < c->graph->node_count; i++) {
        most = c->graph->nodes[i]->workspace_bytes > most ? c->graph->nodes[i]->workspace_bytes : most;
    }
    return most;
}

static const char *layer_of(const dlt_node *n)
{
    return n->layer != NULL && n->layer[0] != '\0' ? n->layer : "-";
}

/* The value whose memory a view shows, or the value itself. */
static const dlt_value *seen_through(const dlt_value *v)
{
    while ((dlt_op_flags(v->node->op) & DLT_OP_VIEW) != 0 && v->node->input_count > 0) {
        v = v->node->inputs[0];
    }
    return v;
}

/* ---- JSON ---- */

/* What a kernel reads (views seen through) and writes: with it the plan is a graph that can be followed. */
static void put_values(dlt_json *j, const dlt_node *n)
{
    char text[160];
    dlt_json_key(j, "inputs");
    dlt_json_open(j, '[');
    for (int i = 0; i < n->input_count; i++) {
        dlt_json_int(j, seen_through(n->inputs[i])->id);
    }
    dlt_json_close(j, ']');
    dlt_json_key(j, "outputs");
    dlt_json_open(j, '[');
    for (int i = 0; i < n->output_count; i++) {
        const dlt_value *v = n->outputs[i];
        dlt_json_open(j, '{');
        dlt_json_key_int(j, "value", v->id);
        dlt_json_key_string(j, "type", dlt_dtype_name(v->type));
        dlt_json_key_string(j, "shape", dlt_shape_text(&v->shape, text, sizeof text));
        dlt_json_key_string(j, "layout", dlt_layout_text(v->layout, text, sizeof text));
        dlt_json_close(j, '}');
    }
    dlt_json_close(j, ']');
}

static void put_kernel(dlt_json *j, const dlt_node *n)
{
    const dlt_choice *c = n->choice;
    dlt_json_open(j, '{');
    dlt_json_key_string(j, "op", dlt_op_name(n->op));
    dlt_json_key_string(j, "layer", layer_of(n));
    dlt_json_key_int(j, "line", n->pos.line);
    dlt_json_key_string(j, "phase",
                        n->phase == DLT_PHASE_FORWARD    ? "forward"
                        : n->phase == DLT_PHASE_BACKWARD ? "backward"
                                                         : "update");
    dlt_json_key_string(j, "kernel", c->count > 0 ? c->candidates[c->taken].name : "");
    dlt_json_key_double(j, "flops", dlt_node_flops(n));
    dlt_json_key_int(j, "bytes", dlt_node_bytes(n));
    if (n->op == DLT_OP_EXPR) {
        dlt_json_key_int(j, "operations", expr_work(n->attrs));
    }
    if (n->epilogue != NULL) {
        dlt_json_key_int(j, "epilogue_operations", expr_work(n->epilogue));
    }
    put_values(j, n);
    dlt_json_key(j, "rejected");
    dlt_json_open(j, '[');
    for (int i = 0; i < c->count; i++) {
        if (i != c->taken) {
            dlt_json_open(j, '{');
            dlt_json_key_string(j, "kernel", c->candidates[i].name);
            dlt_json_key_string(j, "why", c->candidates[i].reason);
            dlt_json_close(j, '}');
        }
    }
    dlt_json_close(j, ']');
    dlt_json_close(j, '}');
}

static void put_program(dlt_json *j, const dlt_engine *e, dlt_run_program program)
{
    const dlt_compiled *c = &e->programs[program];
    phase_figures phases[3];
    static const char *const names[] = {"forward", "backward", "update"};
    count_phases(c->graph, phases);
    dlt_json_open(j, '{');
    dlt_json_key_string(j, "name", dlt_run_program_name(program));
    dlt_json_key_int(j, "batch", c->graph->batch);
    dlt_json_key_int(j, "transient_bytes", c->plan->transient_bytes);
    dlt_json_key_int(j, "workspace_bytes", workspace_of(c));
    dlt_json_key_int(j, "input_bytes", c->plan->input_bytes);
    for (int i = 0; i < 3; i++) {
        dlt_json_key(j, names[i]);
        dlt_json_open(j, '{');
        dlt_json_key_int(j, "kernels", phases[i].kernels);
        dlt_json_key_int(j, "programs", phases[i].programs);
        dlt_json_key_int(j, "fused", phases[i].fused);
        dlt_json_key_double(j, "flops", phases[i].flops);
        dlt_json_key_double(j, "bytes", phases[i].bytes);
        dlt_json_close(j, '}');
    }
    dlt_json_key(j, "kernels");
    dlt_json_open(j, '[');
    for (int i = 0; i < c->graph->node_count; i++) {
        if (runs(c->graph->nodes[i])) {
            put_kernel(j, c->graph->nodes[i]);
        }
    }
    dlt_json_close(j, ']');
    dlt_json_close(j, '}');
}

void dlt_plan_report_json(const dlt_engine *e, dlt_buf *out)
{
    dlt_json j;
    dlt_buf device = {0};
    e->backend->describe(e->device, &device);
    dlt_json_init(&j, out, 1);
    dlt_json_open(&j, '{');
    dlt_json_key_string(&j, "device", dlt_buf_text(&device));
    dlt_json_key_int(&j, "bytes", dlt_engine_bytes(e));
    dlt_json_key(&j, "storage");
    dlt_json_open(&j, '{');
    dlt_json_key_int(&j, "parameters", e->sizes.bytes[DLT_PARAM]);
    dlt_json_key_int(&j, "gradients", e->sizes.bytes[DLT_GRAD]);
    dlt_json_key_int(&j, "state", e->sizes.bytes[DLT_STATE]);
    dlt_json_key_int(&j, "activations", e->sizes.bytes[DLT_TRANSIENT]);
    dlt_json_key_int(&j, "input", e->sizes.bytes[DLT_INPUT]);
    dlt_json_key_int(&j, "input_slots", e->sizes.input_slots);
    dlt_json_close(&j, '}');
    dlt_json_key(&j, "programs");
    dlt_json_open(&j, '[');
    for (int i = 0; i < DLT_RUN_PROGRAMS; i++) {
        if (e->programs[i].plan != NULL) {
            put_program(&j, e, (dlt_run_program)i);
        }
    }
    dlt_json_close(&j, ']');
    dlt_json_close(&j, '}');
    dlt_buf_char(out, '\n');
    dlt_buf_release(&device);
}

/* ---- text ---- */

static void put_bytes(dlt_buf *out, const char *name, int64_t bytes)
{
    char text[40];
    dlt_format_bytes((uint64_t)bytes, text, sizeof text);
    dlt_buf_printf(out, "%s %s", name, text);
}

static void put_flops(dlt_buf *out, const char *name, double flops)
{
    static const char *const units[] = {"FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"};
    size_t unit = 0;
    while (flops >= 1000 && unit + 1 < DLT_COUNT(units)) {
        flops /= 1000;
        unit++;
    }
    dlt_buf_printf(out, "%s %.3g %s", name, flops, units[unit]);
}

static void put_largest(const dlt_compiled *c, dlt_buf *out)
{
    const dlt_value *largest[LARGEST];
    const int count = find_largest(c, largest);
    dlt_buf_printf(out, "%-34s %10s  %-22s %s\n", "largest activations", "", "lives from .. to", "line");
    for (int i = 0; i < count; i++) {
        const dlt_value *v = largest[i];
        const dlt_place *p = &c->plan->places[v->id];
        char bytes[40], life[64], name[64], shape[160];
        const dlt_node *last = p->last < c->graph->node_count ? c->graph->nodes[p->last] : NULL;
        dlt_format_bytes((uint64_t)p->bytes, bytes, sizeof bytes);
        snprintf(name, sizeof name, "%.30s%s", layer_of(v->node),
                 v->node->phase == DLT_PHASE_BACKWARD ? " grad" : "");
        snprintf(life, sizeof life, "%d .. %d %s", p->first, p->last,
                 last != NULL ? dlt_op_name(last->op) : "end");
        dlt_buf_printf(out, "  %-32s %10s  %-22s %s:%u  %s\n", name, bytes, life,
                       v->node->pos.file != NULL ? v->node->pos.file : "-", v->node->pos.line,
                       dlt_shape_text(&v->shape, shape, sizeof shape));
    }
}

static void put_kernels(const dlt_compiled *c, bool verbose, dlt_buf *out)
{
    static const char *const names[] = {"forward", "backward", "update"};
    dlt_buf_printf(out, "%-10s %-32s %-14s %-28s %s\n", "kernels", "layer", "op", "kernel", "instead of");
    for (int i = 0; i < c->graph->node_count; i++) {
        const dlt_node *n = c->graph->nodes[i];
        const bool product = n->op == DLT_OP_MATMUL || n->op == DLT_OP_CONV || n->op == DLT_OP_CONV_DX ||
                             n->op == DLT_OP_CONV_DW || n->op == DLT_OP_RNN || n->op == DLT_OP_RNN_DX ||
                             n->op == DLT_OP_ATTENTION || n->op == DLT_OP_ATTENTION_DX;
        if (!runs(n) || !(verbose || product)) {
            continue;
        }
        const dlt_choice *choice = n->choice;
        dlt_buf_printf(out, "%-10s %-32.32s %-14s %-28s", names[n->phase], layer_of(n), dlt_op_name(n->op),
                       choice->count > 0 ? choice->candidates[choice->taken].name : "-");
        for (int k = 0; k < choice->count; k++) {
            if (k != choice->taken && (verbose || strcmp(choice->candidates[k].reason, "reference") != 0)) {
                dlt_buf_printf(out, " %s (%s)", choice->candidates[k].name, choice->candidates[k].reason);
            }
        }
        if (n->epilogue != NULL) {
            dlt_buf_printf(out, " + epilogue of %d", n->epilogue->instr_count);
        }
        dlt_buf_char(out, '\n');
    }
}

static void put_layouts(const dlt_graph *g, dlt_buf *out)
{
    int blocked = 0, reorders = 0;
    for (int i = 0; i < g->node_count; i++) {
        const dlt_node *n = g->nodes[i];
        reorders += n->op == DLT_OP_REORDER;
        for (int k = 0; k < n->output_count; k++) {
            blocked += n->outputs[k]->layout.kind == DLT_LAYOUT_CHANNEL_BLOCKED;
        }
    }
    dlt_buf_printf(out, "layouts     %d values in blocks of channels, %d reorders\n", blocked, reorders);
}

void dlt_plan_report_text(const dlt_engine *e, bool verbose, dlt_buf *out)
{
    const dlt_compiled *c = &e->programs[e->main];
    phase_figures phases[3];
    char total[40];
    dlt_buf device = {0};
    e->backend->describe(e->device, &device);
    dlt_format_bytes((uint64_t)dlt_engine_bytes(e), total, sizeof total);
    dlt_buf_printf(out, "memory at batch %lld on %s   %s (%lld bytes)\n", (long long)c->graph->batch,
                   dlt_buf_text(&device), total, (long long)dlt_engine_bytes(e));
    put_bytes(out, "  parameters", e->sizes.bytes[DLT_PARAM]);
    put_bytes(out, "   gradients", e->sizes.bytes[DLT_GRAD]);
    put_bytes(out, "   optimizer and state", e->sizes.bytes[DLT_STATE]);
    put_bytes(out, "   input", slot_bytes(e));
    put_bytes(out, "   activations", e->sizes.bytes[DLT_TRANSIENT]);
    put_bytes(out, ", of which workspace", workspace_of(c));
    dlt_buf_char(out, '\n');
    put_largest(c, out);
    count_phases(c->graph, phases);
    put_flops(out, "work a step ", phases[0].flops + phases[1].flops + phases[2].flops);
    put_flops(out, "   forward", phases[0].flops);
    put_flops(out, "   backward", phases[1].flops);
    put_flops(out, "   update", phases[2].flops);
    dlt_buf_char(out, '\n');
    dlt_buf_printf(out,
                   "programs    forward %d kernels, %d fused   backward %d kernels, %d fused   update %d "
                   "kernels, %d fused\n",
                   phases[0].kernels, phases[0].fused, phases[1].kernels, phases[1].fused, phases[2].kernels,
                   phases[2].fused);
    put_layouts(c->graph, out);
    put_kernels(c, verbose, out);
    dlt_buf_release(&device);
}
