/* cmd/cmd_time.c: dltrain time: where a training step spends its time. */
#include "cmd/model_flags.h"
#include "cmd/write_out.h"
#include "trainer/proofs.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>

typedef struct time_options {
    dlt_opt_int steps, batch;
    int format;
    bool no_fusion;
    dlt_device_flags device;
    dlt_strings overrides;
} time_options;

enum { FORMAT_TEXT, FORMAT_JSON };
static const char *const formats[] = {"text", "json", NULL};

static const dlt_flag flags[] = {
    DLT_NUMBER(time_options, steps, "steps", 'n', 1, 1000000, "N", "steps to time; default: 50"),
    DLT_NUMBER(time_options, batch, "batch", 'b', 1, INT32_MAX, "N", "at this batch size"),
    DLT_CHOICE(time_options, format, "format", 'f', formats, "FORMAT", "text or json"),
    DLT_SWITCH(time_options, no_fusion, "no-fusion", '\0', "without fusion"),
    DLT_DEVICE_FLAGS(time_options, device),
    DLT_OVERRIDES(time_options, overrides),
    {0},
};

/* Three digits, in 8 columns with the blank before them; blank for nothing. */
static void put_time(dlt_buf *out, double seconds)
{
    static const char *const units[] = {"s ", "ms", "us"};
    int unit = 0;
    for (; unit < 2 && seconds < 1; unit++) {
        seconds *= 1e3;
    }
    if (seconds <= 0) {
        dlt_buf_printf(out, " %7s", "");
    } else {
        dlt_buf_printf(out, " %4.*f %s", seconds < 10 ? 2 : seconds < 100 ? 1 : 0, seconds, units[unit]);
    }
}

/* A line of the table: rows of one line of the model file, which a block that is repeated has several of. */
typedef struct line {
    dlt_time_row sum;
    const char *name; /* the last part of the path */
    int copies;
    double kernel_seconds;
} line;

static double seconds_of(const dlt_time_row *r)
{
    return r->forward + r->backward + r->update;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static int gather(const dlt_timing *t, line *lines)
{
    int count = 0;
    for (int i = 0; i < t->count; i++) {
        const dlt_time_row *r = &t->rows[i];
        const char *name = last_part(r->layer);
        int at = 0;
        while (at < count && !(lines[at].sum.pos.line == r->pos.line && strcmp(lines[at].name, name) == 0)) {
            at++;
        }
        line *l = &lines[at];
        if (at == count) {
            lines[count++] = (line){.sum = *r, .name = name, .copies = 1, .kernel_seconds = seconds_of(r)};
            continue;
        }
        l->copies++;
        l->sum.forward += r->forward;
        l->sum.backward += r->backward;
        l->sum.update += r->update;
        l->sum.flops += r->flops;
        if (seconds_of(r) > l->kernel_seconds) {
            l->kernel_seconds = seconds_of(r);
            l->sum.kernel = r->kernel;
        }
    }
    return count;
}

/* How many of the lines take nine tenths of the time. */
static int count_costly(const line *lines, int count, bool *taken)
{
    double total = 0, sum = 0;
    int costly = 0;
    for (int i = 0; i < count; i++) {
        total += seconds_of(&lines[i].sum);
    }
    for (; sum < 0.9 * total && costly < count; costly++) {
        int most = -1;
        for (int i = 0; i < count; i++) {
            if (!taken[i] && (most < 0 || seconds_of(&lines[i].sum) > seconds_of(&lines[most].sum))) {
                most = i;
            }
        }
        taken[most] = true;
        sum += seconds_of(&lines[most].sum);
    }
    return costly;
}

static dlt_status put_text(const dlt_timing *t, dlt_arena *arena, dlt_buf *out, dlt_diag *diag)
{
    enum { COLUMNS = 19 };
    line *lines = dlt_arena_alloc(arena, (size_t)t->count + 1, sizeof *lines);
    bool *costly = dlt_arena_alloc(arena, (size_t)t->count + 1, sizeof *costly);
    if (lines == NULL || costly == NULL) {
        return dlt_fail_memory(diag);
    }
    const int count = gather(t, lines), few = count_costly(lines, count, costly);
    dlt_buf_printf(out, "%-*s %7s %7s %7s %7s line  kernel\n", COLUMNS, "layer", "forward", "backward",
                   "update", "GFLOP/s");
    for (int i = 0; i < count; i++) {
        const line *l = &lines[i];
        char times[16] = "", number[16] = "";
        const double seconds = seconds_of(&l->sum);
        if (l->copies > 1) {
            snprintf(times, sizeof times, " x %d", l->copies);
        }
        if (l->sum.pos.line > 0) {
            snprintf(number, sizeof number, "%u", l->sum.pos.line);
        }
        const int most = COLUMNS - (int)strlen(times), length = (int)strlen(l->name);
        dlt_buf_printf(out, "%.*s%s%*s", most, l->name, times, length < most ? most - length : 0, "");
        put_time(out, l->sum.forward);
        put_time(out, l->sum.backward);
        put_time(out, l->sum.update);
        dlt_buf_printf(out, " %7.1f %4s%c %s\n", seconds > 0 ? l->sum.flops / seconds * 1e-9 : 0, number,
                       costly[i] ? '*' : ' ', l->sum.kernel);
    }
    dlt_buf_string(out, "step");
    put_time(out, t->step);
    dlt_buf_string(out, " (median)   fastest");
    put_time(out, t->fastest);
    dlt_buf_printf(out, "   90 %% of it in %d line%s (*)\n", few, few == 1 ? "" : "s");
    dlt_buf_printf(out, "in %lld steps: %lld allocations, %lld waits; %lld launches a step\n",
                   (long long)t->steps, (long long)t->allocations, (long long)t->futex_calls,
                   (long long)t->launches);
    return DLT_OK;
}

static void put_json(const dlt_timing *t, dlt_buf *out)
{
    dlt_json j;
    dlt_json_init(&j, out, 1);
    dlt_json_open(&j, '{');
    dlt_json_key_double(&j, "step", t->step);
    dlt_json_key_double(&j, "fastest", t->fastest);
    dlt_json_key_int(&j, "steps", t->steps);
    dlt_json_key_int(&j, "allocations", t->allocations);
    dlt_json_key_int(&j, "futex_calls", t->futex_calls);
    dlt_json_key_int(&j, "launches", t->launches);
    dlt_json_key(&j, "layers");
    dlt_json_open(&j, '[');
    for (int i = 0; i < t->count; i++) {
        dlt_json_open(&j, '{');
        dlt_json_key_string(&j, "layer", t->rows[i].layer);
        dlt_json_key_double(&j, "forward", t->rows[i].forward);
        dlt_json_key_double(&j, "backward", t->rows[i].backward);
        dlt_json_key_double(&j, "update", t->rows[i].update);
        dlt_json_key_double(&j, "flops", t->rows[i].flops);
        dlt_json_key_string(&j, "kernel", t->rows[i].kernel);
        dlt_json_close(&j, '}');
    }
    dlt_json_close(&j, ']');
    dlt_json_close(&j, '}');
    dlt_buf_char(out, '\n');
}

static dlt_status run(const dlt_command_call *call)
{
    const time_options *o = call->options;
    const dlt_load_options load = {.overrides = o->overrides.at, .override_count = o->overrides.count};
    const dlt_run_spec *spec = NULL;
    dlt_session *session = NULL;
    dlt_timing t;
    dlt_buf out = {0};
    DLT_TRY(dlt_spec_load(call->arena, call->catalogue, call->arguments.at[0], &load, &spec, call->diag));
    dlt_session_options options = dlt_session_of_flags(&o->device);
    options.depth = DLT_DEPTH_LOAD;
    options.train = true;
    options.no_fusion = o->no_fusion;
    options.batch = o->batch.set ? o->batch.value : 0;
    DLT_TRY(dlt_session_open(spec, &options, &session, call->diag));
    dlt_status status = dlt_time_step(session, o->steps.set ? o->steps.value : 50, &t, call->diag);
    if (status == DLT_OK) {
        if (o->format == FORMAT_JSON) {
            put_json(&t, &out);
        } else {
            status = put_text(&t, call->arena, &out, call->diag);
        }
        status = status == DLT_OK ? dlt_write_out(&out, call->diag) : status;
    }
    dlt_buf_release(&out);
    dlt_session_close(session);
    return status;
}

static const char *const examples[] = {"dltrain time model.yaml", NULL};

const dlt_command dlt_command_time = {
    .name = "time",
    .doc = "where a training step spends its time, layer by layer",
    .arguments = "FILE",
    .argument = DLT_ARG_MODEL,
    .least = 1,
    .most = 1,
    .flags = flags,
    .options_size = sizeof(time_options),
    .text = "Times whole training steps on one batch of the data, then every kernel by itself, and adds them "
            "up by layer. The weights are "
            "thrown away.",
    .examples = examples,
    .run = run,
};
