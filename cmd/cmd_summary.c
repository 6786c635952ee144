/* cmd/cmd_summary.c: dltrain summary: layers, shapes, parameters. */
#include "cmd/model_flags.h"
#include "cmd/write_out.h"
#include "graph/passes.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>

typedef struct summary_options {
    bool no_data;
    int format;
    dlt_device_flags device;
    dlt_strings overrides;
} summary_options;

enum { FORMAT_TEXT, FORMAT_JSON };
static const char *const formats[] = {"text", "json", NULL};

static const dlt_flag flags[] = {
    DLT_CHOICE(summary_options, format, "format", 'f', formats, "FORMAT", "text or json"),
    DLT_SWITCH(summary_options, no_data, "no-data", '\0', "do not look at data: the model begins with Input"),
    DLT_DEVICE_FLAGS(summary_options, device),
    DLT_OVERRIDES(summary_options, overrides),
    {0},
};

/* One layer as it was built. */
typedef struct row {
    const dlt_item *item;
    const char *path;
    dlt_shape shape;
    dlt_dtype type;
    int depth;
} row;

typedef struct rows {
    row *at;
    int count, room;
    dlt_arena *arena;
} rows;

static void note(void *context, const dlt_item *item, const char *path, dlt_value *in, dlt_value *out)
{
    rows *r = context;
    (void)in;
    if (r->count == r->room) {
        const int room = r->room > 0 ? 2 * r->room : 64;
        row *grown = dlt_arena_alloc(r->arena, (size_t)room, sizeof *grown);
        if (grown == NULL) {
            return; /* the arena's failure is asked for at the end */
        }
        if (r->count > 0) {
            memcpy(grown, r->at, (size_t)r->count * sizeof *grown);
        }
        r->at = grown;
        r->room = room;
    }
    row *added = &r->at[r->count++];
    *added = (row){.item = item, .path = path, .shape = out->shape, .type = out->type};
    for (const char *c = path; *c != '\0'; c++) {
        added->depth += *c == '/';
    }
}

/* Elements of the weights whose layer is `path` or lies below it; own: only those that are trainable. */
static int64_t weights_of(const dlt_variables *all, const char *path, bool trainable)
{
    const size_t length = strlen(path);
    int64_t count = 0;
    for (int i = 0; i < all->count; i++) {
        const dlt_variable *v = all->list[i];
        const bool inside = v->role == DLT_VARIABLE_WEIGHT && strncmp(v->layer, path, length) == 0 &&
                            (v->layer[length] == '\0' || v->layer[length] == '/');
        if (inside && (v->trainable || !trainable)) {
            count += dlt_shape_count(&v->shape);
        }
    }
    return count;
}

/* Forward work of a layer, from the nodes of the graph. */
static double flops_of(const dlt_graph *g, const char *path)
{
    const size_t length = strlen(path);
    double flops = 0;
    for (int i = 0; i < g->node_count; i++) {
        const dlt_node *n = g->nodes[i];
        if (n->phase == DLT_PHASE_FORWARD && n->layer != NULL && strncmp(n->layer, path, length) == 0 &&
            (n->layer[length] == '\0' || n->layer[length] == '/')) {
            flops += dlt_node_flops(n);
        }
    }
    return flops;
}

static void put_text(const dlt_session *s, const rows *r, dlt_buf *out)
{
    const dlt_variables *all = s->engine->variables;
    const dlt_compiled *c = &s->engine->programs[s->engine->main];
    int width = 5;
    char count[40], shape[160], total[40], trained[40], name[256];
    for (int i = 0; i < r->count; i++) {
        const int length = (int)strlen(r->at[i].path);
        width = length > width ? (length < 40 ? length : 40) : width;
    }
    dlt_buf_printf(out, "%-*s  %-24s %-20s %12s %10s  line\n", width, "layer", "kind", "output", "parameters",
                   "MFLOP");
    for (int i = 0; i < r->count; i++) {
        const row *at = &r->at[i];
        const double flops = flops_of(c->graph, at->path) / (double)c->graph->batch;
        dlt_format_count(weights_of(all, at->path, false), count, sizeof count);
        snprintf(name, sizeof name, "%s", at->path);
        dlt_buf_printf(out, "%-*.*s  %-24s %-20s %12s %10.3g  %u%s\n", width, width, name,
                       at->item->kind->name, dlt_shape_text_batch(&at->shape, shape, sizeof shape), count,
                       flops * 1e-6, at->item->pos.line, at->item->trainable ? "" : "  frozen");
    }
    dlt_format_count(dlt_variables_count_weights(all, false), total, sizeof total);
    dlt_format_count(dlt_variables_count_weights(all, true), trained, sizeof trained);
    dlt_buf_printf(out, "%s parameters, %s of them trainable; work is for one sample, forward\n", total,
                   trained);
}

static void put_json(const dlt_session *s, const rows *r, dlt_buf *out)
{
    const dlt_variables *all = s->engine->variables;
    dlt_json j;
    dlt_json_init(&j, out, 1);
    dlt_json_open(&j, '{');
    dlt_json_key_int(&j, "parameters", dlt_variables_count_weights(all, false));
    dlt_json_key_int(&j, "trainable", dlt_variables_count_weights(all, true));
    dlt_json_key(&j, "layers");
    dlt_json_open(&j, '[');
    for (int i = 0; i < r->count; i++) {
        const row *at = &r->at[i];
        dlt_json_open(&j, '{');
        dlt_json_key_string(&j, "layer", at->path);
        dlt_json_key_string(&j, "kind", at->item->kind->name);
        dlt_json_key_int(&j, "line", at->item->pos.line);
        dlt_json_key_int(&j, "parameters", weights_of(all, at->path, false));
        dlt_json_key(&j, "output");
        dlt_json_open(&j, '[');
        for (int k = 1; k < at->shape.rank; k++) {
            dlt_json_int(&j, at->shape.dim[k]);
        }
        dlt_json_close(&j, ']');
        dlt_json_close(&j, '}');
    }
    dlt_json_close(&j, ']');
    dlt_json_close(&j, '}');
    dlt_buf_char(out, '\n');
}

static dlt_status run(const dlt_command_call *call)
{
    const summary_options *o = call->options;
    const dlt_load_options load = {.overrides = o->overrides.at, .override_count = o->overrides.count};
    const dlt_run_spec *spec = NULL;
    dlt_session *session = NULL;
    rows r = {.arena = call->arena};
    dlt_buf out = {0};
    DLT_TRY(dlt_spec_load(call->arena, call->catalogue, call->arguments.at[0], &load, &spec, call->diag));
    dlt_session_options options = dlt_session_of_flags(&o->device);
    options.depth = DLT_DEPTH_SCAN;
    options.no_data = o->no_data;
    options.predict = true;
    options.visit = note;
    options.visit_context = &r;
    DLT_TRY(dlt_session_open(spec, &options, &session, call->diag));
    if (o->format == FORMAT_JSON) {
        put_json(session, &r, &out);
    } else {
        put_text(session, &r, &out);
    }
    const dlt_status status = dlt_write_out(&out, call->diag);
    dlt_buf_release(&out);
    dlt_session_close(session);
    return status;
}

static const char *const examples[] = {"dltrain summary model.yaml", NULL};

const dlt_command dlt_command_summary = {
    .name = "summary",
    .doc = "layers, shapes, parameters and work of a model",
    .arguments = "FILE",
    .argument = DLT_ARG_MODEL,
    .least = 1,
    .most = 1,
    .flags = flags,
    .options_size = sizeof(summary_options),
    .text = "Shows each layer with its output, its parameters, its work and its line. Parameters of a "
            "container count those inside.",
    .examples = examples,
    .run = run,
};
