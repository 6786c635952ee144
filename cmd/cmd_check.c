/* cmd/cmd_check.c: dltrain check: every mistake of a model file, once. */
#include "cmd/args.h"
#include "cmd/load_model.h"
#include "cmd/probe_model.h"
#include "cmd/print_diag.h"
#include "cmd/write_out.h"
#include "layers/layer.h"
#include "schema/dump.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct check_options {
    bool show, no_data;
    int format;
    dlt_strings overrides;
} check_options;

enum { FORMAT_TEXT, FORMAT_JSON };
static const char *const formats[] = {"text", "json", NULL};

static const dlt_flag flags[] = {
    DLT_SWITCH(check_options, show, "show", '\0',
               "print the effective config, with where each value comes from"),
    DLT_CHOICE(check_options, format, "format", '\0', formats, "FORMAT",
               "json: one object a message, on standard output"),
    DLT_SWITCH(
        check_options, no_data, "no-data", '\0',
        "do not look at data files; only a model that begins with Input can then be checked for shapes"),
    DLT_OVERRIDES(check_options, overrides),
    {0},
};

/* "model.yaml: ok   11 layers, 34,826 parameters, 14.2 MiB on cpu at batch 128" */
static void put_ok(const dlt_run_spec *spec, const dlt_session *session, const char *file, dlt_buf *out)
{
    char number[32];
    dlt_format_count((int64_t)spec->value.layers.count, number, sizeof number);
    dlt_buf_escaped(out, file, strlen(file));
    dlt_buf_printf(out, ": ok   %s layer%s", number, spec->value.layers.count == 1 ? "" : "s");
    if (session != NULL && session->engine != NULL) {
        dlt_format_count(dlt_variables_count_weights(session->engine->variables, false), number,
                         sizeof number);
        /* vocabularies of a table are known when all of it was read */
        const bool exact = session->signature == NULL || session->signature->exact || dlt_table_layer_of(&spec->value) == NULL;
        dlt_buf_printf(out, ", %s%s parameters", exact ? "" : "about ", number);
        dlt_format_bytes((uint64_t)dlt_engine_bytes(session->engine), number, sizeof number);
        dlt_buf_printf(out, ", %s on %s", number, session->engine->backend->name);
    }
    dlt_format_count(session != NULL ? session->batch : spec->value.fit.batch_size, number, sizeof number);
    dlt_buf_printf(out, " at batch %s\n", number);
}

/* One file with a diag of its own, so that its messages and their count stand together. */
static dlt_status check_file(const dlt_command_call *call, const char *path, bool many)
{
    const check_options *options = call->options;
    const dlt_load_options load = {.overrides = options->overrides.at,
                                   .override_count = options->overrides.count};
    const char *shown = strcmp(path, "-") == 0 ? "stdin" : path;
    dlt_arena *arena = dlt_arena_create();
    dlt_diag *diag = dlt_diag_create();
    dlt_buf out = {0}, messages = {0};
    dlt_status status = DLT_OK;
    if (arena == NULL || diag == NULL) {
        status = dlt_fail_memory(call->diag);
        goto out;
    }
    const dlt_run_spec *spec = NULL;
    dlt_session *session = NULL;
    status = dlt_load_model(arena, call->catalogue, path, &load, options->no_data, &spec, diag);
    status = status == DLT_OK ? dlt_probe_model(spec, options->no_data, &session, diag) : status;
    dlt_diag_sort(diag);
    if (options->format == FORMAT_JSON) {
        dlt_print_messages_json(diag, &out);
    } else {
        const dlt_print_options print = dlt_print_options_for(STDERR_FILENO);
        dlt_print_messages(diag, &print, &messages);
        dlt_print_summary(diag, shown, &messages);
    }
    if (status == DLT_OK && options->show) {
        if (many) {
            dlt_buf_printf(&out, "# %s\n", shown);
        }
        dlt_spec_dump(spec, DLT_DUMP_DEFAULTS | DLT_DUMP_ORIGINS, &out);
    } else if (status == DLT_OK && options->format == FORMAT_TEXT) {
        put_ok(spec, session, shown, &out);
    }
    if (messages.failed) { /* and half of them is not shown */
        status = dlt_fail_memory(call->diag);
    } else {
        fputs(dlt_buf_text(&messages), stderr);
    }
    const dlt_status written = dlt_write_out(&out, call->diag);
    status = written != DLT_OK ? written : status;
    dlt_session_close(session);
out:
    dlt_buf_release(&out);
    dlt_buf_release(&messages);
    dlt_arena_destroy(arena);
    dlt_diag_destroy(diag);
    return status;
}

static dlt_status run(const dlt_command_call *call)
{
    dlt_status status = DLT_OK;
    for (size_t i = 0; i < call->arguments.count; i++) {
        const dlt_status one = check_file(call, call->arguments.at[i], call->arguments.count > 1);
        status = status != DLT_OK ? status : one;
    }
    return status;
}

static const char *const examples[] = {"dltrain check model.yaml",
                                       "dltrain check --show -o fit.epochs=3 model.yaml", NULL};

const dlt_command dlt_command_check = {
    .name = "check",
    .doc = "find every mistake in model files",
    .arguments = "FILE...",
    .argument = DLT_ARG_MODEL,
    .least = 1,
    .most = -1,
    .flags = flags,
    .options_size = sizeof(check_options),
    .text = "Reads model files and reports all their mistakes at once, each with its place, what was found, "
            "what may stand "
            "there and the nearest known name; then looks at headers and first records of the data, and at "
            "every shape. No weights are "
            "made. '-' is standard input. Ends with 2 if the file is wrong, with 4 if the data do not fit.",
    .examples = examples,
    .run = run,
};
