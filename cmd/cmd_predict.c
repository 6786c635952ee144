/* cmd/cmd_predict.c: dltrain predict: raw rows in, predictions out. */
#include "cmd/model_flags.h"
#include "cmd/output_guard.h"
#include "cmd/write_out.h"
#include "trainer/predict.h"
#include "trainer/signals.h"

#include "base/clock.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct predict_flags {
    const char *input, *output, *which, *weights;
    int format;
    dlt_opt_int batch;
    dlt_device_flags device;
    dlt_strings overrides;
} predict_flags;

static const char *const formats[] = {"auto", "csv", "jsonl", "npy", "hdf5", NULL};

static const dlt_flag flags[] = {
    DLT_TEXT(predict_flags, input, "input", 'i', DLT_FLAG_FILE, "FILE",
             "rows to predict for; - is standard input, the default"),
    DLT_TEXT(predict_flags, output, "output", '\0', DLT_FLAG_FILE, "FILE",
             "where predictions go; an older result is replaced; - is standard output, the default"),
    DLT_CHOICE(predict_flags, format, "format", 'f', formats, "FORMAT",
               "csv, jsonl, npy or hdf5; auto: by the name of --output, else csv"),
    DLT_TEXT(predict_flags, which, "which", '\0', DLT_FLAG_TEXT, "final|best|last|FILE",
             "weights of a run; default: those that fit left"),
    DLT_TEXT(predict_flags, weights, "weights", '\0', DLT_FLAG_FILE, "FILE",
             "use these weights instead: a checkpoint, a run, or a file that Keras saved"),
    DLT_NUMBER(predict_flags, batch, "batch", 'b', 1, 1 << 20, "N",
               "rows that are worked on at once; default: the model's batch size"),
    DLT_DEVICE_FLAGS(predict_flags, device),
    DLT_OVERRIDES(predict_flags, overrides),
    {0},
};

static void leave_at_once(void)
{
    _exit(130);
}

static dlt_status write_bytes(void *context, const char *bytes, size_t count, dlt_diag *diag)
{
    (void)context;
    const dlt_buf text = {.data = (char *)(uintptr_t)bytes, .length = count, .room = count};
    return dlt_write_out(&text, diag);
}

static dlt_predict_format format_of(const predict_flags *o)
{
    if (o->format > 0) {
        return (dlt_predict_format)(o->format - 1);
    }
    if (o->output != NULL && dlt_text_ends(o->output, ".npy")) {
        return DLT_PREDICT_NPY;
    }
    if (o->output != NULL && (dlt_text_ends(o->output, ".h5") || dlt_text_ends(o->output, ".hdf5"))) {
        return DLT_PREDICT_HDF5;
    }
    if (o->output != NULL && (dlt_text_ends(o->output, ".jsonl") || dlt_text_ends(o->output, ".json"))) {
        return DLT_PREDICT_JSONL;
    }
    return DLT_PREDICT_CSV;
}

/* A line on the terminal while predictions go to a file; rows may come from a pipe, so there is no telling how many are left. */
typedef struct progress {
    int64_t start_ns, last_ns;
    bool shown;
} progress;

static void put_progress(void *context, int64_t rows)
{
    progress *p = context;
    char count[40];
    const double took = dlt_seconds_since(p->start_ns);
    if (took < 1 || dlt_seconds_since(p->last_ns) < 0.2) {
        return;
    }
    p->last_ns = dlt_clock_ns();
    p->shown = true;
    dlt_format_count(rows, count, sizeof count);
    fprintf(stderr, "\r%s predictions   %.1f k/s\033[K", count, (double)rows / took * 1e-3);
    (void)fflush(stderr);
}

/* Says what became of it where the predictions went to a file: nothing else would. */
static void put_done(const predict_flags *o, int64_t rows, double took)
{
    char count[40], seconds[40];
    dlt_format_count(rows, count, sizeof count);
    dlt_format_seconds(took, seconds, sizeof seconds);
    fprintf(stderr, "%s   %s predictions in %s\n", o->output, count, seconds);
}

/* Adds the files that an item's parameters name (patterns are not expanded); only counts them where reads is NULL. */
static size_t add_files(const dlt_item *item, dlt_output_read *reads)
{
    size_t count = 0;
    for (const dlt_field *f = item != NULL ? item->kind->fields : NULL; f != NULL && f->name != NULL; f++) {
        const void *at = (const char *)item->params + f->offset;
        const bool several = f->type == DLT_FIELD_PATHS;
        if (!several && f->type != DLT_FIELD_PATH) {
            continue;
        }
        const size_t paths = several ? ((const dlt_strings *)at)->count : 1;
        for (size_t i = 0; i < paths; i++, count++) {
            if (reads != NULL) {
                reads[count] = (dlt_output_read){
                    several ? ((const dlt_strings *)at)->at[i] : *(const char *const *)at, "a file of the model's data"};
            }
        }
    }
    return count;
}

/* No result may take the place of what it was made from. The paths inside a checkpoint are nobody's here. */
static dlt_status check_output(const dlt_command_call *call, const dlt_model *model, const char *output)
{
    const predict_flags *o = call->options;
    const dlt_output_read given[] = {{o->input != NULL ? o->input : "-", "the input"},
                                     {model->path, model->checkpoint != NULL ? "the checkpoint" : "the model file"},
                                     {o->weights, "the file of weights"}};
    const bool own = model->run != NULL || model->checkpoint == NULL;
    const dlt_data_spec *data = &model->spec->value.data;
    const dlt_item *const items[] = {data->train, data->validation, data->test};
    size_t count = DLT_COUNT(given);
    for (size_t i = 0; own && i < DLT_COUNT(items); i++) {
        count += add_files(items[i], NULL);
    }
    dlt_output_read *reads = dlt_arena_alloc(call->arena, count, sizeof *reads);
    if (reads == NULL) {
        return dlt_fail_memory(call->diag);
    }
    memcpy(reads, given, sizeof given);
    count = DLT_COUNT(given);
    for (size_t i = 0; own && i < DLT_COUNT(items); i++) {
        count += add_files(items[i], reads + count);
    }
    return dlt_output_allowed(output, reads, count, call->diag);
}

static dlt_status run(const dlt_command_call *call)
{
    const predict_flags *o = call->options;
    const int64_t start = dlt_clock_ns();
    const dlt_load_options load = {.overrides = o->overrides.at, .override_count = o->overrides.count};
    const dlt_model_choice choice = {
        .given = call->arguments.at[0], .which = o->which, .weights = o->weights};
    dlt_model model;
    dlt_session *session = NULL;
    int64_t rows = 0;
    const char *output = dlt_is_standard_output(o->output) ? NULL : o->output;
    const bool watched = output != NULL && isatty(STDERR_FILENO) == 1;
    progress shown = {.start_ns = start, .last_ns = start};
    dlt_signals_install(leave_at_once);
    DLT_TRY(dlt_model_open(&choice, call->catalogue, &load, call->arena, &model, call->diag));
    dlt_session_options options = dlt_session_of_flags(&o->device);
    options.predict = true;
    options.batch = o->batch.set ? o->batch.value : 0;
    dlt_status status = output != NULL ? check_output(call, &model, output) : DLT_OK;
    status = status == DLT_OK ? dlt_model_session(&model, &options, NULL, &session, call->diag) : status;
    if (status == DLT_OK) {
        const dlt_predict_options predict = {.input = o->input != NULL ? o->input : "-",
                                             .output = output,
                                             .format = format_of(o),
                                             .stop = dlt_stop_flag(),
                                             .write = write_bytes,
                                             .progress = watched ? put_progress : NULL,
                                             .progress_context = &shown};
        if (strcmp(predict.input, "-") == 0 && isatty(STDIN_FILENO)) {
            fputs("reading rows from the terminal; Ctrl-D ends them\n", stderr);
        }
        status = dlt_predict(&model, session, &predict, &rows, call->diag);
        if (shown.shown) {
            fputs("\r\033[K", stderr);
        }
    }
    if (status == DLT_OK && output != NULL) {
        put_done(o, rows, dlt_seconds_since(start));
    }
    dlt_session_close(session);
    dlt_model_close(&model);
    return status;
}

static const char *const examples[] = {
    "dltrain predict runs/iris --input new.csv --output predictions.csv",
    "printf '5.1,3.5,1.4,0.2\\n' | dltrain predict runs/iris",
    "dltrain predict model.yaml --weights keras.weights.h5 --input new.npy", NULL};

const dlt_command dlt_command_predict = {
    .name = "predict",
    .doc = "predictions of a trained model for raw rows",
    .arguments = "RUN|CHECKPOINT|MODEL",
    .argument = DLT_ARG_RUN,
    .least = 1,
    .most = 1,
    .flags = flags,
    .options_size = sizeof(predict_flags),
    .text = "Reads rows as the training data were, with or without their targets, from a file or standard "
            "input, and writes a prediction "
            "for each. Rows stream through: their number does not matter. --output replaces an older result, but nothing that is "
            "read here, no file of a run, and no model file or checkpoint.\n"
            "Weights that Keras saved are used with a model file: dltrain predict MODEL.yaml --weights "
            "FILE.weights.h5. Column types, class names "
            "and what FeatureSpace learns then come from the model file's training data.",
    .examples = examples,
    .run = run,
};
