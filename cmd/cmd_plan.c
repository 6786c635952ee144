/* cmd/cmd_plan.c: dltrain plan: exact memory, work and kernels of a run before it is queued. */
#include "cmd/load_model.h"
#include "cmd/model_flags.h"
#include "cmd/write_out.h"
#include "graph/passes.h"
#include "trainer/plan_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct plan_options {
    bool kernels, no_data, no_fusion;
    int format, dump, solve;
    const char *limit;
    dlt_opt_int batch;
    dlt_device_flags device;
    dlt_strings overrides;
} plan_options;

enum { FORMAT_TEXT, FORMAT_JSON };
static const char *const formats[] = {"text", "json", NULL};
enum { DUMP_NONE, DUMP_BUILT, DUMP_PASSED, DUMP_BUILT_DOT, DUMP_PASSED_DOT };
static const char *const dumps[] = {"none", "built", "passed", "built-dot", "passed-dot", NULL};
enum { SOLVE_NONE, SOLVE_BATCH };
static const char *const solves[] = {"none", "batch", NULL};

static const dlt_flag flags[] = {
    DLT_SWITCH(plan_options, kernels, "kernels", 'k', "show every kernel with the ones it was preferred to"),
    DLT_CHOICE(plan_options, format, "format", 'f', formats, "FORMAT", "text or json"),
    DLT_TEXT(plan_options, limit, "limit", '\0', DLT_FLAG_TEXT, "BYTES",
             "end with 3 if more memory is needed: 40GiB, 512MiB, 1e9"),
    DLT_CHOICE(plan_options, solve, "solve", '\0', solves, "WHAT",
               "batch: the largest batch size within --limit"),
    DLT_NUMBER(plan_options, batch, "batch", 'b', 1, INT32_MAX, "N", "plan for this batch size"),
    DLT_CHOICE(plan_options, dump, "dump", '\0', dumps, "STAGE",
               "print the graph as it was built or after the passes, as text or Graphviz"),
    DLT_SWITCH(plan_options, no_fusion, "no-fusion", '\0',
               "plan without fusion: more kernels, the same bits"),
    DLT_SWITCH(plan_options, no_data, "no-data", '\0', "do not look at data: the model begins with Input"),
    DLT_DEVICE_FLAGS(plan_options, device),
    DLT_OVERRIDES(plan_options, overrides),
    {0},
};

/* "40GiB", "512 MiB", "1.5e9": bytes; -1: none of these. */
static int64_t parse_bytes(const char *text)
{
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"", 1},
                 {"B", 1},
                 {"KiB", 1024.0},
                 {"MiB", 1048576.0},
                 {"GiB", 1073741824.0},
                 {"TiB", 1099511627776.0},
                 {"KB", 1e3},
                 {"MB", 1e6},
                 {"GB", 1e9},
                 {"TB", 1e12}};
    char *end = NULL;
    const double value = strtod(text, &end);
    while (*end == ' ') {
        end++;
    }
    for (size_t i = 0; i < DLT_COUNT(units) && end != text; i++) {
        if (dlt_text_same(end, units[i].unit) && value >= 0 && value * units[i].factor < 9e18) {
            return (int64_t)(value * units[i].factor);
        }
    }
    return -1;
}

static dlt_status open_session(const dlt_command_call *call, const dlt_run_spec *spec, int64_t batch,
                               dlt_session **session)
{
    const plan_options *o = call->options;
    dlt_session_options options = dlt_session_of_flags(&o->device);
    options.depth = DLT_DEPTH_SCAN;
    options.no_data = o->no_data;
    options.train = spec->value.loss != NULL && !o->no_data;
    options.predict = !options.train;
    options.evaluate =
        options.train && (spec->value.data.validation != NULL || spec->value.data.test != NULL);
    options.no_fusion = o->no_fusion;
    options.batch = batch;
    return dlt_session_open(spec, &options, session, call->diag);
}

/* The largest batch whose plan fits: doubling, then halving the distance. */
static dlt_status solve_batch(const dlt_command_call *call, const dlt_run_spec *spec, int64_t limit,
                              int64_t *best)
{
    int64_t low = 0, high = 1, top = INT32_MAX;
    *best = 0;
    while (low + 1 < top) {
        dlt_session *session = NULL;
        const int64_t at = high < top ? high : low + (top - low) / 2;
        DLT_TRY(open_session(call, spec, at, &session));
        const bool capped = session->batch < at; /* more than there are rows */
        const bool fits = dlt_engine_bytes(session->engine) <= limit;
        const int64_t batch = session->batch;
        dlt_session_close(session);
        if (fits) {
            low = batch;
            if (capped) {
                break;
            }
            high = high < top ? high * 2 : high;
        } else {
            top = at;
        }
    }
    *best = low;
    return DLT_OK;
}

static void put_dump(const dlt_engine *e, int dump, dlt_buf *out)
{
    const dlt_compiled *c = &e->programs[e->main];
    const dlt_graph *g = dump == DUMP_BUILT || dump == DUMP_BUILT_DOT ? c->built : c->graph;
    if (dump == DUMP_BUILT_DOT || dump == DUMP_PASSED_DOT) {
        dlt_graph_dot(g, out);
    } else {
        dlt_graph_dump(g, out);
    }
}

static dlt_status report(const dlt_command_call *call, const dlt_run_spec *spec, const dlt_engine *e,
                         int64_t limit, dlt_buf *out)
{
    const plan_options *o = call->options;
    char needed[40], most[40];
    if (o->dump != DUMP_NONE) {
        put_dump(e, o->dump, out);
    } else if (o->format == FORMAT_JSON) {
        dlt_plan_report_json(e, out);
    } else {
        dlt_plan_report_text(e, o->kernels, out);
    }
    if (o->solve == SOLVE_BATCH) {
        int64_t best = 0;
        DLT_TRY(solve_batch(call, spec, limit, &best));
        dlt_format_count(best, needed, sizeof needed);
        dlt_buf_printf(
            out, best > 0 ? "largest batch within the limit: %s\n" : "not even one row fits into the limit\n",
            needed);
        return best > 0 ? DLT_OK : DLT_E_MEMORY;
    }
    if (limit >= 0 && dlt_engine_bytes(e) > limit) {
        dlt_format_bytes((uint64_t)dlt_engine_bytes(e), needed, sizeof needed);
        dlt_format_bytes((uint64_t)limit, most, sizeof most);
        return dlt_fail(call->diag, DLT_E_MEMORY, dlt_run_spec_pos(spec, "fit.batch_size"),
                        "%s are needed, the limit is %s; `--solve batch` finds a batch size that fits",
                        needed, most);
    }
    return DLT_OK;
}

static dlt_status run(const dlt_command_call *call)
{
    const plan_options *o = call->options;
    const dlt_load_options load = {.overrides = o->overrides.at, .override_count = o->overrides.count};
    const dlt_run_spec *spec = NULL;
    dlt_session *session = NULL;
    dlt_buf out = {0};
    const int64_t limit = o->limit != NULL ? parse_bytes(o->limit) : -1;
    if (o->limit != NULL && limit < 0) {
        return dlt_fail(call->diag, DLT_E_CONFIG, (dlt_pos){0},
                        "--limit: expected a size like 40GiB or 512MiB, found '%s'", o->limit);
    }
    if (o->solve == SOLVE_BATCH && limit < 0) {
        return dlt_fail(call->diag, DLT_E_CONFIG, (dlt_pos){0}, "--solve batch needs --limit");
    }
    DLT_TRY(dlt_load_argument(call, &load, &spec));
    DLT_TRY(open_session(call, spec, o->batch.set ? o->batch.value : 0, &session));
    dlt_status status = report(call, spec, session->engine, limit, &out);
    const dlt_status written = dlt_write_out(&out, call->diag);
    dlt_buf_release(&out);
    dlt_session_close(session);
    return status != DLT_OK ? status : written;
}

static const char *const examples[] = {
    "dltrain plan model.yaml", "dltrain plan model.yaml --limit 8GiB --solve batch",
    "dltrain plan model.yaml --dump passed-dot | dot -Tsvg > step.svg", NULL};

const dlt_command dlt_command_plan = {
    .name = "plan",
    .doc = "exact memory, work and kernels of a run, before it runs",
    .arguments = "FILE",
    .argument = DLT_ARG_MODEL,
    .least = 1,
    .most = 1,
    .flags = flags,
    .options_size = sizeof(plan_options),
    .text = "Plans the whole run and prints what it will take: memory to the byte, the largest activations "
            "with their lines, the work of a "
            "step, the kernels that were chosen. No weights are made and no memory of the device is taken.",
    .examples = examples,
    .run = run,
};
