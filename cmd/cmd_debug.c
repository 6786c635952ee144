/* cmd/cmd_debug.c: dltrain debug: one training step, value by value. */
#include "cmd/model_flags.h"
#include "cmd/screen.h"
#include "cmd/write_out.h"
#include "trainer/debug.h"
#include "trainer/model.h"
#include "trainer/signals.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "io/file.h"

typedef struct debug_options {
    dlt_opt_int step;
    bool nodes;
    const char *layer;
    dlt_device_flags device;
    dlt_strings overrides;
} debug_options;

static const dlt_flag flags[] = {
    DLT_NUMBER(debug_options, step, "step", 's', 1, INT64_MAX, "N",
               "the step to look at, from 1; default: the one that comes next"),
    DLT_SWITCH(debug_options, nodes, "nodes", '\0', "show every operation, not only the results of layers"),
    DLT_TEXT(debug_options, layer, "layer", '\0', DLT_FLAG_TEXT, "NAME",
             "show only this layer and what is inside it"),
    DLT_DEVICE_FLAGS(debug_options, device),
    DLT_OVERRIDES(debug_options, overrides),
    {0},
};

/* ---- where to start ---- */

typedef struct origin {
    const dlt_run_spec *spec;
    dlt_checkpoint *checkpoint; /* NULL: first values */
    dlt_loaded_meta meta;
} origin;

/* The newest checkpoint of a run from which the step can be reached. */
static dlt_status choose_checkpoint(const dlt_command_call *call, const char *run, int64_t step, origin *from)
{
    dlt_checkpoint_folder *folder = NULL;
    int64_t *steps = NULL, chosen = -1;
    size_t count = 0;
    const char *path = dlt_arena_printf(call->arena, "%s/checkpoints", run);
    if (path == NULL) {
        return dlt_fail_memory(call->diag);
    }
    DLT_TRY(dlt_checkpoint_folder_open(path, &folder, call->diag));
    dlt_status status = dlt_checkpoint_list(folder, &steps, &count, call->diag);
    for (size_t i = 0; i < count && chosen < 0; i++) {
        chosen = step < 0 || steps[i] <= step ? steps[i] : -1;
    }
    dlt_free(steps);
    dlt_checkpoint_folder_close(folder);
    DLT_TRY(status);
    if (chosen < 0) {
        return DLT_OK; /* from the very beginning */
    }
    char name[DLT_CHECKPOINT_NAME];
    dlt_checkpoint_name(chosen, name);
    const char *file = dlt_arena_printf(call->arena, "%s/%s", path, name);
    status = file != NULL ? dlt_checkpoint_open(file, DLT_CHECKPOINT_OURS, &from->checkpoint, call->diag)
                          : dlt_fail_memory(call->diag);
    return status == DLT_OK ? dlt_saved_meta_read(from->checkpoint, call->arena, &from->meta, call->diag)
                            : status;
}

static dlt_status find_origin(const dlt_command_call *call, const dlt_load_options *load, origin *from)
{
    const debug_options *o = call->options;
    const char *given = call->arguments.at[0], *run = NULL;
    struct stat status;
    if (dlt_file()->stat(given, &status) == 0 && S_ISREG(status.st_mode)) {
        return dlt_spec_load(call->arena, call->catalogue, given, load, &from->spec, call->diag);
    }
    DLT_TRY(dlt_rundir_resolve(given, call->arena, &run, call->diag));
    const char *config = dlt_arena_printf(call->arena, "%s/config.yaml", run);
    DLT_TRY(config != NULL
                ? dlt_spec_load(call->arena, call->catalogue, config, load, &from->spec, call->diag)
                : dlt_fail_memory(call->diag));
    return choose_checkpoint(call, run, o->step.set ? o->step.value - 1 : -1, from);
}

/* ---- what was found ---- */

static void put_number(dlt_buf *out, double value)
{
    char text[40];
    dlt_format_figure(value, text, sizeof text);
    dlt_buf_printf(out, " %9s", isnan(value) ? "-" : text);
}

static void put_figures(dlt_buf *out, const dlt_value_figures *f)
{
    put_number(out, f->min);
    put_number(out, f->mean);
    put_number(out, f->max);
    dlt_buf_printf(out, " %3.0f%%", f->count > 0 ? 100.0 * (double)f->zeros / (double)f->count : 0);
    if (f->bad > 0) {
        dlt_buf_printf(out, "  %lld NOT FINITE", (long long)f->bad);
    }
}

static bool inside(const char *path, const char *layer)
{
    const size_t n = strlen(layer);
    return strncmp(path, layer, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static void put_pos(dlt_buf *out, dlt_pos pos)
{
    if (pos.line > 0) {
        dlt_buf_printf(out, " %4u", pos.line);
    }
    dlt_buf_char(out, '\n');
}

/* "conv2d_1", "conv2d_1 relu"; the beginning of a path gives way to its end, which tells layers apart. */
static void put_name(dlt_buf *out, size_t columns, const char *layer, const char *op)
{
    const size_t ops = op != NULL ? strlen(op) + 1 : 0, most = ops < columns - 8 ? columns - ops : 8;
    const size_t length = strlen(layer), cut = length > most ? length - most + 2 : 0;
    dlt_buf_printf(out, "%s%s%s%s", cut > 0 ? ".." : "", layer + cut, op != NULL ? " " : "",
                   op != NULL ? op : "");
    for (size_t at = (cut > 0 ? most : length) + ops; at < columns; at++) {
        dlt_buf_char(out, ' ');
    }
}

static void put_values(const debug_options *o, const dlt_debug_report *r, dlt_phase phase, dlt_buf *out)
{
    dlt_buf_printf(out, "\n%-22s %-17s %9s %9s %9s zero line\n",
                   phase == DLT_PHASE_FORWARD ? "forward" : "backward", "shape", "min", "mean", "max");
    for (int i = 0; i < r->count; i++) {
        const dlt_debug_row *v = &r->values[i];
        const bool shown = o->layer != NULL ? inside(v->layer, o->layer)
                                            : (o->nodes || (v->last_of_layer && v->layer[0] != '\0'));
        if (v->phase != phase || !(shown || i == r->first_bad)) {
            continue;
        }
        char shape[128];
        dlt_shape_text(&v->shape, shape, sizeof shape);
        const bool named = o->nodes || o->layer != NULL || i == r->first_bad;
        put_name(out, 22, v->layer[0] != '\0' ? v->layer : "(loss)", named ? v->op : NULL);
        dlt_buf_printf(out, " %-17.17s", shape);
        put_figures(out, &v->figures);
        if (i == r->first_bad) {
            dlt_buf_string(out, "  <- the first");
        }
        put_pos(out, v->pos);
    }
}

static void put_report(const debug_options *o, const dlt_debug_report *r, dlt_buf *out)
{
    char loss[40];
    dlt_format_figure(r->loss, loss, sizeof loss);
    dlt_buf_printf(out, "step %lld: loss %s, %lld records (", (long long)r->step + 1, loss,
                   (long long)r->rows);
    for (int64_t i = 0; i < r->rows && i < 8; i++) {
        dlt_buf_printf(out, "%s%lld", i > 0 ? ", " : "", (long long)r->records[i] + 1);
    }
    dlt_buf_string(out, r->rows > 8 ? ", ...)\n" : ")\n");
    put_values(o, r, DLT_PHASE_FORWARD, out);
    put_values(o, r, DLT_PHASE_BACKWARD, out);
    dlt_buf_printf(out, "\n%-20s %9s %9s %9s %9s %9s zero line\n", "weight", "norm", "gradient", "min",
                   "mean", "max");
    for (int i = 0; i < r->weight_count; i++) {
        const dlt_debug_weight *w = &r->weights[i];
        if (o->layer == NULL || inside(w->path, o->layer)) {
            put_name(out, 20, w->path, NULL);
            put_number(out, w->weight_norm);
            put_number(out, w->gradient_norm);
            put_figures(out, &w->gradient);
            put_pos(out, w->pos);
        }
    }
    if (r->first_bad >= 0) {
        const dlt_debug_row *v = &r->values[r->first_bad];
        dlt_buf_printf(out, "\nthe first value that is not finite: %s of %s", v->op,
                       v->layer[0] != '\0' ? v->layer : "the loss");
        if (v->pos.line > 0) {
            dlt_buf_printf(out, " (%s:%u)", dlt_path_base(v->pos.file), v->pos.line);
        }
        dlt_buf_char(out, '\n');
    } else {
        dlt_buf_string(out, "\nevery value is finite\n");
    }
}

static dlt_status debug(const dlt_command_call *call, const origin *from, dlt_session *s)
{
    const debug_options *o = call->options;
    dlt_debug_report report;
    dlt_buf out = {0};
    dlt_cursor cursor = {0, 0};
    int64_t done = 0;
    DLT_TRY(dlt_engine_start(s->engine, call->diag));
    DLT_TRY(dlt_engine_init_variables(s->engine, &s->fitted, false, call->diag));
    if (from->checkpoint != NULL) {
        DLT_TRY(dlt_saved_arrays_read(from->checkpoint, s->engine,
                                      DLT_SAVED_WEIGHTS | DLT_SAVED_OPTIMIZER | DLT_SAVED_STATE, call->diag));
        cursor = from->meta.progress.cursor;
        done = from->meta.progress.step;
    }
    const int64_t step = o->step.set ? o->step.value - 1 : done;
    if (step > done) {
        fprintf(stderr, "training %lld step%s from step %lld on, to get there\n", (long long)(step - done),
                step - done == 1 ? "" : "s", (long long)done);
    }
    DLT_TRY(dlt_debug_step(s, cursor, done, step, dlt_stop_flag(), &report, call->diag));
    put_report(o, &report, &out);
    const dlt_status status = dlt_write_out(&out, call->diag);
    dlt_buf_release(&out);
    return status;
}

static dlt_status run(const dlt_command_call *call)
{
    const debug_options *o = call->options;
    const dlt_load_options load = {.overrides = o->overrides.at, .override_count = o->overrides.count};
    origin from = {0};
    dlt_session *session = NULL;
    dlt_signals_install(NULL);
    dlt_status status = find_origin(call, &load, &from);
    if (status == DLT_OK) {
        dlt_session_options options = dlt_session_of_flags(&o->device);
        options.depth = DLT_DEPTH_LOAD;
        options.train = true;
        options.fitted = from.checkpoint != NULL ? &from.meta.fitted : NULL;
        status = dlt_session_open(from.spec, &options, &session, call->diag);
    }
    status = status == DLT_OK ? debug(call, &from, session) : status;
    dlt_session_close(session);
    dlt_checkpoint_close(from.checkpoint);
    dlt_frame_destroy(from.meta.frame);
    return status;
}

static const char *const examples[] = {"dltrain debug model.yaml",
                                       "dltrain debug runs/mnist-cnn --step 118 --layer dense_2", NULL};

const dlt_command dlt_command_debug = {
    .name = "debug",
    .doc = "look at one training step, value by value",
    .arguments = "FILE|RUN",
    .argument = DLT_ARG_MODEL,
    .least = 1,
    .most = 1,
    .flags = flags,
    .options_size = sizeof(debug_options),
    .text =
        "Runs one training step without fusion, operation by operation, and shows range, mean and zeros of "
        "what each layer made, and "
        "of the gradient of each weight; the first value that is not finite is marked. Nothing is written.\n"
        "Of a run, the newest checkpoint before the step is taken and trained up to it; rates that callbacks "
        "set between are not set again.",
    .examples = examples,
    .run = run,
};
