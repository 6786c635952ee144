/* cmd/cmd_time.c: dltrain time: where a training step spends its time. */
#include "cmd/load_model.h"
#include "cmd/model_flags.h"
#include "cmd/write_out.h"
#include "trainer/proofs.h"

#include "base/json.h"
#include "base/pool.h"

#include <stdio.h>
#include <string.h>

typedef struct time_options {
    dlt_opt_int steps, batch;
    int format;
    bool no_fusion, whole;
    const char *weights, *prefer;
    dlt_device_flags device;
    dlt_strings overrides;
} time_options;

enum { FORMAT_TEXT, FORMAT_JSON };
static const char *const formats[] = {"text", "json", NULL};

static const dlt_flag flags[] = {
    DLT_NUMBER(time_options, steps, "steps", 'n', 1, 1000000, "N", "steps to time; default: 50"),
    DLT_NUMBER(time_options, batch, "batch", 'b', 1, INT32_MAX, "N", "at this batch size"),
    DLT_CHOICE(time_options, format, "format", 'f', formats, "FORMAT", "text or json"),
    DLT_SWITCH(time_options, whole, "whole", 'w', "whole steps only: no layers, no comparison with one thread"),
    DLT_TEXT(time_options, weights, "weights", '\0', DLT_FLAG_FILE, "FILE",
             "start from these weights: a checkpoint, a run, or a file that Keras saved"),
    DLT_TEXT(time_options, prefer, "prefer", '\0', DLT_FLAG_TEXT, "KERNEL",
             "take kernels with this in their names wherever they can run"),
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

/* A rate as a share of what the device can do. */
static void put_share(dlt_buf *out, double flops, double seconds, double peak)
{
    if (seconds > 0 && peak > 0 && flops / seconds >= 0.0005 * peak) {
        dlt_buf_printf(out, " %5.1f %%", 100 * flops / seconds / peak);
    } else {
        dlt_buf_printf(out, " %7s", "");
    }
}

static dlt_status put_layers(const dlt_timing *t, dlt_arena *arena, dlt_buf *out, dlt_diag *diag)
{
    enum { COLUMNS = 19 };
    line *lines = dlt_arena_alloc(arena, (size_t)t->count + 1, sizeof *lines);
    bool *costly = dlt_arena_alloc(arena, (size_t)t->count + 1, sizeof *costly);
    if (lines == NULL || costly == NULL) {
        return dlt_fail_memory(diag);
    }
    const int count = gather(t, lines), few = count_costly(lines, count, costly);
    dlt_buf_printf(out, "%-*s %7s %7s %7s %7s line  kernel\n", COLUMNS, "layer", "forward", "backward", "update",
                   "of peak");
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
        put_share(out, l->sum.flops, seconds, t->peak);
        dlt_buf_printf(out, " %4s%c %s\n", number, costly[i] ? '*' : ' ', l->sum.kernel);
    }
    dlt_buf_printf(out, "90 %% of the time in %d line%s (*)\n", few, few == 1 ? "" : "s");
    return DLT_OK;
}

static dlt_status put_text(const dlt_timing *t, double alone, int threads, dlt_arena *arena, dlt_buf *out, dlt_diag *diag)
{
    if (t->count > 0) {
        DLT_TRY(put_layers(t, arena, out, diag));
    }
    dlt_buf_string(out, "step");
    put_time(out, t->step);
    dlt_buf_string(out, " (median)   fastest");
    put_time(out, t->fastest);
    dlt_buf_printf(out, "   waiting for data %.1f %%\n", 100 * t->waiting);
    if (t->peak > 0) {
        dlt_buf_printf(out, "%.3f GFLOP, %.1f %% of the peak of %.0f GFLOP/s", t->flops * 1e-9, 100 * t->flops / t->step / t->peak,
                       t->peak * 1e-9);
        if (alone > 0) {
            dlt_buf_printf(out, "; %d threads %.2fx", threads, alone / t->step);
        }
        dlt_buf_char(out, '\n');
    }
    dlt_buf_printf(out, "in %lld steps: %lld allocations, %lld waits; %lld launches a step\n", (long long)t->steps,
                   (long long)t->allocations, (long long)t->futex_calls, (long long)t->launches);
    return DLT_OK;
}

static void put_json(const dlt_timing *t, double alone, dlt_buf *out)
{
    dlt_json j;
    dlt_json_init(&j, out, 1);
    dlt_json_open(&j, '{');
    dlt_json_key_double(&j, "step", t->step);
    dlt_json_key_double(&j, "fastest", t->fastest);
    dlt_json_key_double(&j, "slowest", t->slowest);
    dlt_json_key_double(&j, "mean", t->mean);
    dlt_json_key_double(&j, "waiting", t->waiting);
    dlt_json_key_double(&j, "flops", t->flops);
    dlt_json_key_double(&j, "peak", t->peak);
    if (alone > 0) {
        dlt_json_key_double(&j, "one_thread", alone);
    }
    dlt_json_key_int(&j, "steps", t->steps);
    dlt_json_key_int(&j, "allocations", t->allocations);
    dlt_json_key_int(&j, "futex_calls", t->futex_calls);
    dlt_json_key_int(&j, "launches", t->launches);
    dlt_json_key(&j, "losses");
    dlt_json_open(&j, '[');
    for (int i = 0; i < t->loss_count; i++) {
        dlt_json_double(&j, t->losses[i]);
    }
    dlt_json_close(&j, ']');
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

/* Opens the model anew, with so many threads. */
static dlt_status time_with(const dlt_command_call *call, const dlt_run_spec *spec, int threads, const dlt_time_options *options,
                            dlt_session **session, dlt_timing *t)
{
    const time_options *o = call->options;
    dlt_session_options session_options = dlt_session_of_flags(&o->device);
    session_options.depth = DLT_DEPTH_LOAD;
    session_options.train = true;
    session_options.no_fusion = o->no_fusion;
    session_options.batch = o->batch.set ? o->batch.value : 0;
    session_options.threads = threads;
    session_options.prefer = o->prefer;
    DLT_TRY(dlt_session_open(spec, &session_options, session, call->diag));
    return dlt_time_steps(*session, options, t, call->diag);
}

static dlt_status run(const dlt_command_call *call)
{
    enum { STEPS = 50, FEW_STEPS = 5 }; /* with one thread */
    const time_options *o = call->options;
    const dlt_load_options load = {.overrides = o->overrides.at, .override_count = o->overrides.count};
    const dlt_run_spec *spec = NULL;
    dlt_session *session = NULL;
    dlt_timing t = {0};
    dlt_buf out = {0};
    DLT_TRY(dlt_load_argument(call, &load, &spec));
    dlt_time_options options = {.steps = o->steps.set ? o->steps.value : STEPS, .weights = o->weights, .whole = o->whole};
    const int threads = o->device.threads.set ? (int)o->device.threads.value : dlt_processors();
    double alone = 0;
    dlt_status status = DLT_OK;
    if (!o->whole && threads > 1) {
        dlt_time_options few = options;
        few.steps = options.steps < FEW_STEPS ? options.steps : FEW_STEPS;
        few.whole = true;
        status = time_with(call, spec, 1, &few, &session, &t);
        alone = t.step;
        dlt_session_close(session);
        session = NULL;
    }
    if (status == DLT_OK) {
        status = time_with(call, spec, threads, &options, &session, &t);
    }
    if (status == DLT_OK && o->format == FORMAT_JSON) {
        put_json(&t, alone, &out);
    } else if (status == DLT_OK) {
        status = put_text(&t, alone, threads, call->arena, &out, call->diag);
    }
    status = status == DLT_OK ? dlt_write_out(&out, call->diag) : status;
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
    .text = "Trains on batches of the data as fit does and times the steps, then times every kernel by itself, and adds "
            "them up by layer; a few steps on one thread say what the others bring. The weights are thrown away.",
    .examples = examples,
    .run = run,
};
