/* cmd/cmd_summary.c: dltrain summary: layers, shapes, parameters. */
#include "cmd/load_model.h"
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

static bool below(const char *path, const char *above)
{
    const size_t length = strlen(above);
    return strncmp(path, above, length) == 0 && path[length] == '/';
}

/* Layers are noted when they are built: a container behind what it holds. Here it stands before it. */
static void containers_first(rows *r)
{
    for (int i = 0; i < r->count; i++) {
        const row moved = r->at[i];
        int at = i;
        for (; at > 0 && below(r->at[at - 1].path, moved.path); at--) {
            r->at[at] = r->at[at - 1];
        }
        r->at[at] = moved;
    }
}

/* The nearest container that a row lies in; -1: the model's own list. */
static int parent_of(const rows *r, int i)
{
    int at = i - 1;
    while (at >= 0 && !below(r->at[i].path, r->at[at].path)) {
        at--;
    }
    return at;
}

/* Copies of a Repeat beyond its first: they are the same again. */
static bool is_copy(const rows *r, int i)
{
    for (int at = parent_of(r, i); at >= 0; at = parent_of(r, at)) {
        if (strcmp(r->at[at].item->kind->name, "Repeat") == 0 &&
            strncmp(r->at[i].path + strlen(r->at[at].path) + 1, "0/", 2) != 0) {
            return true;
        }
    }
    return false;
}

/* A row's name below its container's, indented; without the parts of the path that only say "inside". */
static void put_name(const rows *r, int i, char *text, size_t room)
{
    int depth = 0;
    const int parent = parent_of(r, i);
    for (int at = parent; at >= 0; at = parent_of(r, at)) {
        depth++;
    }
    const char *name = r->at[i].path + (parent >= 0 ? strlen(r->at[parent].path) + 1 : 0);
    const bool shortcut = strncmp(name, "shortcut/", 9) == 0;
    const char *slash = strrchr(name, '/');
    snprintf(text, room, "%*s%s%s", 2 * depth, "", shortcut ? "shortcut/" : "",
             slash != NULL ? slash + 1 : name);
}

/* Of one sample: the batch axis is left out. */
static const char *put_shape(const dlt_shape *shape, char *text, size_t room)
{
    dlt_shape sample = {.rank = shape->rank > 0 ? shape->rank - 1 : 0};
    for (int i = 0; i < sample.rank; i++) {
        sample.dim[i] = shape->dim[i + 1];
    }
    return dlt_shape_text(&sample, text, room);
}

static void put_text(const dlt_session *s, rows *r, dlt_buf *out)
{
    const dlt_variables *all = s->engine->variables;
    const dlt_compiled *c = &s->engine->programs[s->engine->main];
    enum { MOST = 26 };
    int width = 5, kinds = 4, shapes = 6;
    bool copies = false;
    char count[40], shape[160], total[40], trained[40], name[256];
    containers_first(r);
    for (int i = 0; i < r->count; i++) {
        put_name(r, i, name, sizeof name);
        put_shape(&r->at[i].shape, shape, sizeof shape);
        const int lengths[] = {(int)strlen(name), (int)strlen(r->at[i].item->kind->name), (int)strlen(shape)};
        width = lengths[0] > width ? (lengths[0] < MOST ? lengths[0] : MOST) : width;
        kinds = lengths[1] > kinds ? lengths[1] : kinds;
        shapes = lengths[2] > shapes ? lengths[2] : shapes;
    }
    dlt_buf_printf(out, "%-*s %-*s %-*s %10s %7s line\n", width, "layer", kinds, "kind", shapes, "output",
                   "parameters", "MFLOP");
    for (int i = 0; i < r->count; i++) {
        const row *at = &r->at[i];
        if (is_copy(r, i)) {
            copies = true;
            continue;
        }
        const double flops = flops_of(c->graph, at->path) / (double)c->graph->batch;
        dlt_format_count(weights_of(all, at->path, false), count, sizeof count);
        put_name(r, i, name, sizeof name);
        dlt_buf_printf(out, "%-*.*s %-*s %-*s %10s %7.3g %4u%s\n", width, width, name, kinds,
                       at->item->kind->name, shapes, put_shape(&at->shape, shape, sizeof shape), count,
                       flops * 1e-6, at->item->pos.line, at->item->trainable ? "" : " frozen");
    }
    dlt_format_count(dlt_variables_count_weights(all, false), total, sizeof total);
    dlt_format_count(dlt_variables_count_weights(all, true), trained, sizeof trained);
    dlt_buf_printf(out,
                   "%s parameters, %s of them trainable\noutput and work are those of one sample, forward\n",
                   total, trained);
    if (s->signature != NULL && s->frame != NULL && s->frame->table && dlt_table_layer_of(s->spec) != NULL) {
        dlt_buf_string(out, "\n");
        dlt_signature_columns(s->signature, out);
    }
    if (copies) {
        dlt_buf_string(out, "of a Repeat the first copy is shown; its own row counts them all\n");
    }
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
    DLT_TRY(dlt_load_argument(call, &load, &spec));
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
    out.failed = out.failed || dlt_arena_failed(call->arena); /* a row is missing */
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
