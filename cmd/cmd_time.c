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

static void put_ms(dlt_buf *out, double seconds)
{
    if (seconds <= 0) {
        dlt_buf_printf(out, " %11s", "");
    } else if (seconds < 1e-3) {
        dlt_buf_printf(out, " %8.1f us", seconds * 1e6);
    } else {
        dlt_buf_printf(out, " %8.2f ms", seconds * 1e3);
    }
}

static void put_text(const dlt_timing *t, dlt_buf *out)
{
    double total = 0;
    int width = 8;
    for (int i = 0; i < t->count; i++) {
        const int length = (int)strlen(t->rows[i].layer);
        width = length > width ? (length < 40 ? length : 40) : width;
        total += t->rows[i].forward + t->rows[i].backward + t->rows[i].update;
    }
    dlt_buf_printf(out, "%-*s %11s %11s %11s %7s %8s  %-24s line\n", width, "layer", "forward", "backward",
                   "update", "share", "GFLOP/s", "kernel");
    for (int i = 0; i < t->count; i++) {
        const dlt_time_row *r = &t->rows[i];
        const double seconds = r->forward + r->backward + r->update;
        dlt_buf_printf(out, "%-*.*s", width, width, r->layer);
        put_ms(out, r->forward);
        put_ms(out, r->backward);
        put_ms(out, r->update);
        dlt_buf_printf(out, " %5.1f %% %8.1f  %-24s", total > 0 ? 100 * seconds / total : 0,
                       seconds > 0 ? r->flops / seconds * 1e-9 : 0, r->kernel);
        if (r->pos.line > 0) {
            dlt_buf_printf(out, " %s:%u", r->pos.file, r->pos.line);
        }
        dlt_buf_char(out, '\n');
    }
    dlt_buf_string(out, "step");
    put_ms(out, t->step);
    dlt_buf_string(out, " (median)   fastest");
    put_ms(out, t->fastest);
    dlt_buf_printf(out, "   %lld allocations in %lld steps   %lld launches a step\n",
                   (long long)t->allocations, (long long)t->steps, (long long)t->launches);
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
            put_text(&t, &out);
        }
        status = dlt_write_out(&out, call->diag);
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
