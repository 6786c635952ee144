/* trainer/plan_report.c: what `plan` says of an engine. */
#include "trainer/plan_report.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/linux_map.h"
#include "graph/passes.h"
#include "io/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 8 };
static const char *const phase_names[] = {"forward", "backward", "update"};

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
    dlt_json_key_string(j, "phase", phase_names[n->phase]);
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
    count_phases(c->graph, phases);
    dlt_json_open(j, '{');
    dlt_json_key_string(j, "name", dlt_run_program_name(program));
    dlt_json_key_int(j, "batch", c->graph->batch);
    dlt_json_key_int(j, "transient_bytes", c->plan->transient_bytes);
    dlt_json_key_int(j, "workspace_bytes", workspace_of(c));
    dlt_json_key_int(j, "input_bytes", c->plan->input_bytes);
    for (int i = 0; i < 3; i++) {
        dlt_json_key(j, phase_names[i]);
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
    dlt_buf_finish(&device, out);
}

/* ---- text ---- */

enum { NAME_COLUMNS = 30 };

static void put_bytes(dlt_buf *out, const char *name, int64_t bytes)
{
    char text[40];
    dlt_format_bytes((uint64_t)bytes, text, sizeof text);
    dlt_buf_printf(out, "   %s %s", name, text);
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

/* "grad repeat/0/dense", its end where it is too long: that is what tells layers apart. */
static const char *name_of(const dlt_node *n, char *text, size_t room)
{
    const char *layer = layer_of(n), *grad = n->phase == DLT_PHASE_BACKWARD ? "grad " : "";
    const size_t most = NAME_COLUMNS - strlen(grad), length = strlen(layer);
    const bool cut = length > most;
    snprintf(text, room, "%s%s%s", grad, cut ? "..." : "", cut ? layer + length - (most - 3) : layer);
    return text;
}

static void put_memory(const dlt_engine *e, dlt_buf *out)
{
    const dlt_compiled *c = &e->programs[e->main];
    const dlt_memory_sizes *s = &e->sizes;
    char total[40], exact[40], machine[40];
    const int64_t bytes = dlt_engine_bytes(e);
    const int64_t named = s->bytes[DLT_PARAM] + s->bytes[DLT_GRAD] + s->bytes[DLT_STATE] + slot_bytes(e) +
                          s->bytes[DLT_TRANSIENT];
    dlt_format_bytes((uint64_t)bytes, total, sizeof total);
    dlt_format_count(bytes, exact, sizeof exact);
    dlt_buf_printf(out, "memory at batch %lld   peak %s (%s bytes)", (long long)c->graph->batch, total,
                   exact);
    if (strcmp(e->backend->name, "cpu") == 0) {
        dlt_format_bytes(dlt_memory_of_machine(), machine, sizeof machine);
        dlt_buf_printf(out, " of %s", machine);
    }
    dlt_buf_string(out, "\n ");
    put_bytes(out, "parameters", s->bytes[DLT_PARAM]);
    put_bytes(out, "gradients", s->bytes[DLT_GRAD]);
    put_bytes(out, "optimizer and state", s->bytes[DLT_STATE]);
    dlt_buf_string(out, "\n ");
    put_bytes(out, "activations", s->bytes[DLT_TRANSIENT]);
    put_bytes(out, "of which workspace", workspace_of(c));
    dlt_buf_printf(out, "\n    input %d x", s->input_slots);
    dlt_format_bytes((uint64_t)s->bytes[DLT_INPUT], exact, sizeof exact);
    dlt_buf_printf(out, " %s", exact);
    put_bytes(out, "threads and page ends", bytes - named);
    dlt_buf_string(out, "\ndevice      ");
    e->backend->describe(e->device, out);
    dlt_buf_char(out, '\n');
}

/* The line in the model file; with the file's name where that is an included one. */
static void put_place(dlt_buf *out, dlt_pos pos, const dlt_compiled *c)
{
    const char *file = NULL; /* of the first layer: nearly always the model file */
    for (int i = 0; i < c->graph->node_count && file == NULL; i++) {
        file = c->graph->nodes[i]->pos.file;
    }
    if (pos.line > 0 && file != NULL && strcmp(file, pos.file) == 0) {
        dlt_buf_printf(out, " %u", pos.line);
    } else if (pos.line > 0) {
        dlt_buf_printf(out, " %s:%u", dlt_path_base(pos.file), pos.line);
    }
    dlt_buf_char(out, '\n');
}

static void put_largest(const dlt_compiled *c, dlt_buf *out)
{
    const dlt_value *largest[LARGEST];
    const int count = find_largest(c, largest);
    dlt_buf_printf(out, "%-*s %10s  %-*s line\n", NAME_COLUMNS + 2, "largest activations", "", NAME_COLUMNS,
                   "live until");
    for (int i = 0; i < count; i++) {
        const dlt_value *v = largest[i];
        const dlt_place *p = &c->plan->places[v->id];
        char bytes[40], life[64], name[64];
        const dlt_node *last = p->last < c->graph->node_count ? c->graph->nodes[p->last] : NULL;
        dlt_format_bytes((uint64_t)p->bytes, bytes, sizeof bytes);
        dlt_buf_printf(out, "  %-*s %10s  %-*s", NAME_COLUMNS, name_of(v->node, name, sizeof name), bytes,
                       NAME_COLUMNS, last != NULL ? name_of(last, life, sizeof life) : "the end of the step");
        put_place(out, v->node->pos, c);
    }
}

/* Where values lie in blocks of channels: the layers from the first to the last, and the reorders. */
static void put_layouts(const dlt_graph *g, dlt_buf *out)
{
    const dlt_node *first = NULL, *last = NULL;
    int blocked = 0, reorders = 0;
    unsigned block = 0;
    char name[64];
    for (int i = 0; i < g->node_count; i++) {
        const dlt_node *n = g->nodes[i];
        for (int k = 0; k < n->output_count; k++) {
            if (n->outputs[k]->layout.kind == DLT_LAYOUT_CHANNEL_BLOCKED) {
                first = first == NULL ? n : first;
                last = n->phase == DLT_PHASE_FORWARD ? n : last;
                block = n->outputs[k]->layout.block;
                blocked++;
            }
        }
    }
    if (blocked == 0) {
        dlt_buf_string(out, "layouts     row-major everywhere\n");
        return;
    }
    dlt_buf_printf(out, "layouts     %d values in blocks of %u channels", blocked, block);
    if (first != last && first != NULL && last != NULL) {
        dlt_buf_printf(out, "\n            %s", name_of(first, name, sizeof name));
        dlt_buf_printf(out, " .. %s and back", name_of(last, name, sizeof name));
    }
    for (int i = 0; i < g->node_count; i++) {
        if (g->nodes[i]->op == DLT_OP_REORDER) {
            dlt_buf_printf(out, "%s %s", reorders++ == 0 ? "\n            reorders:" : ",",
                           name_of(g->nodes[i], name, sizeof name));
        }
    }
    dlt_buf_char(out, '\n');
}

static bool is_product(const dlt_node *n)
{
    return n->op == DLT_OP_MATMUL || n->op == DLT_OP_CONV || n->op == DLT_OP_CONV_DX ||
           n->op == DLT_OP_CONV_DW || n->op == DLT_OP_RNN || n->op == DLT_OP_RNN_DX ||
           n->op == DLT_OP_ATTENTION || n->op == DLT_OP_ATTENTION_DX;
}

static int operations_of(const dlt_node *n)
{
    return n->op == DLT_OP_EXPR ? expr_work(n->attrs) : n->epilogue != NULL ? expr_work(n->epilogue) : 0;
}

/* Order that brings together kernels of which one line can speak: copies of a block, the projections of an attention. 0: alike. */
static int compare_kernels(const dlt_node *a, const dlt_node *b)
{
    const dlt_choice *x = a->choice, *y = b->choice;
    const int64_t key[][2] = {{a->pos.line, b->pos.line}, {a->pos.column, b->pos.column}, {a->op, b->op},
                              {a->phase, b->phase},       {x->taken, y->taken},           {x->count, y->count},
                              {operations_of(a), operations_of(b)}};
    int order = 0;
    for (size_t i = 0; i < sizeof key / sizeof *key && order == 0; i++) {
        order = (key[i][0] > key[i][1]) - (key[i][0] < key[i][1]);
    }
    for (int i = 0; i < x->count && order == 0; i++) {
        order = i == x->taken ? 0 : strcmp(x->candidates[i].reason, y->candidates[i].reason);
    }
    return order;
}

typedef struct place {
    const dlt_node *node;
    int at; /* among the graph's nodes */
} place;

static int by_kernel(const void *a, const void *b)
{
    const place *x = a, *y = b;
    const int order = compare_kernels(x->node, y->node);
    return order != 0 ? order : (x->at > y->at) - (x->at < y->at);
}

/* times[i]: of how many kernels a line for node i speaks; 0: an earlier one speaks of it, or there is none. False: no memory. */
static bool count_kernels(const dlt_graph *g, int phase, int *times)
{
    place *places = dlt_alloc_zeroed((size_t)g->node_count, sizeof *places);
    int count = 0;
    if (places == NULL) {
        return false;
    }
    for (int i = 0; i < g->node_count; i++) {
        const dlt_node *n = g->nodes[i];
        if (runs(n) && (int)n->phase == phase && is_product(n)) {
            places[count++] = (place){n, i};
        }
    }
    qsort(places, (size_t)count, sizeof *places, by_kernel);
    for (int i = 0, first = 0; i < count; i++) {
        if (compare_kernels(places[first].node, places[i].node) != 0) {
            first = i;
        }
        times[places[first].at]++;
    }
    dlt_free(places);
    return true;
}

static bool is_reference(const char *kernel)
{
    static const char suffix[] = "_reference";
    const size_t length = strlen(kernel);
    return length >= sizeof suffix - 1 && strcmp(kernel + length - (sizeof suffix - 1), suffix) == 0;
}

/* "not NAME (REASON)", broken at blanks where 80 columns end. */
static void put_rejected(const dlt_candidate *c, dlt_buf *out)
{
    enum { INDENT = NAME_COLUMNS + 3, WIDTH = 80 };
    const char *text = c->reason;
    dlt_buf_printf(out, "%*snot %s", INDENT, "", c->name);
    int at = INDENT + 4 + (int)strlen(c->name);
    bool first = true;
    do {
        const int word = (int)strcspn(text, " ");
        const bool last = text[word] == '\0';
        if (at + 1 + word + (first ? 1 : 0) + (last ? 1 : 0) > WIDTH) {
            dlt_buf_printf(out, "\n%*s", INDENT + 3, "");
            at = INDENT + 3;
        }
        dlt_buf_printf(out, " %s%.*s", first ? "(" : "", word, text);
        at += 1 + word + (first ? 1 : 0);
        first = false;
        text += word + !last;
    } while (*text != '\0');
    dlt_buf_string(out, ")\n");
}

static void put_kernel_line(const dlt_node *n, int times, bool verbose, dlt_buf *out)
{
    const dlt_choice *c = n->choice;
    char name[64], kernel[96], more[32] = "";
    const int operations = operations_of(n);
    if (times > 1) {
        snprintf(more, sizeof more, " x %d", times);
    }
    snprintf(kernel, sizeof kernel, "%s%s", c->count > 0 ? c->candidates[c->taken].name : "-", more);
    if (operations > 0) {
        snprintf(more, sizeof more, "  %s%d", n->op == DLT_OP_EXPR ? "of " : "+ ", operations);
    } else {
        more[0] = '\0';
    }
    dlt_buf_printf(out, "  %-*s %-12s %s%s\n", NAME_COLUMNS, name_of(n, name, sizeof name),
                   dlt_op_name(n->op), kernel, more);
    for (int k = 0; k < c->count; k++) {
        if (k != c->taken && (verbose || !is_reference(c->candidates[k].name))) {
            put_rejected(&c->candidates[k], out);
        }
    }
}

static void put_kernels(const dlt_graph *g, int phase, bool verbose, dlt_buf *out)
{
    int *times = dlt_alloc_zeroed((size_t)g->node_count, sizeof *times);
    if (times == NULL || !count_kernels(g, phase, times)) {
        out->failed = true;
        dlt_free(times);
        return;
    }
    for (int i = 0; i < g->node_count; i++) {
        const dlt_node *n = g->nodes[i];
        if (verbose && runs(n) && (int)n->phase == phase) {
            put_kernel_line(n, 1, true, out);
        } else if (!verbose && times[i] > 0) {
            put_kernel_line(n, times[i], false, out);
        }
    }
    dlt_free(times);
}

/* Mixed precision: how many products read bfloat16, which is what it gains. */
static void put_precision(const dlt_engine *e, const dlt_graph *g, dlt_buf *out)
{
    int products = 0, low = 0;
    for (int i = 0; i < g->node_count && e->spec->precision == DLT_PRECISION_MIXED_BF16; i++) {
        const dlt_node *n = g->nodes[i];
        bool reads = false;
        for (int k = 0; k < n->own_inputs; k++) {
            reads = reads || n->inputs[k]->type == DLT_BF16;
        }
        products += dlt_op_is_product(n->op);
        low += dlt_op_is_product(n->op) && reads;
    }
    if (products > 0) {
        dlt_buf_printf(out, "precision   mixed_bfloat16: %d of %d products in bfloat16%s\n", low, products,
                       low == products ? "" : low > 0 ? ", the others as fast as in float32" : ": no faster than float32 here");
    }
}

void dlt_plan_report_text(const dlt_engine *e, bool verbose, dlt_buf *out)
{
    const dlt_compiled *c = &e->programs[e->main];
    phase_figures phases[3];
    count_phases(c->graph, phases);
    put_memory(e, out);
    put_largest(c, out);
    put_flops(out, "work       ", phases[0].flops + phases[1].flops + phases[2].flops);
    dlt_buf_string(out, " a step\n");
    put_precision(e, c->graph, out);
    put_layouts(c->graph, out);
    for (int i = 0; i < 3; i++) {
        dlt_buf_printf(out, "%-9s   %d kernels, %d of them fused,", phase_names[i], phases[i].kernels,
                       phases[i].fused);
        put_flops(out, "", phases[i].flops);
        dlt_buf_char(out, '\n');
        put_kernels(c->graph, i, verbose, out);
    }
}
