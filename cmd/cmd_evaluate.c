/* cmd/cmd_evaluate.c: dltrain evaluate: loss, metrics, confusion matrix and figures for each class of a
 * trained model. */
#include "cmd/model_flags.h"
#include "cmd/screen.h"
#include "cmd/write_out.h"
#include "trainer/evaluate.h"
#include "trainer/model.h"
#include "trainer/signals.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct evaluate_options {
    const char *data, *which, *weights;
    int format;
    bool confusion;
    dlt_device_flags device;
    dlt_strings overrides;
} evaluate_options;

enum { FORMAT_TEXT, FORMAT_JSON, FORMAT_CSV, SHOWN_MATRIX = 20 };
static const char *const formats[] = {"text", "json", "csv", NULL};

static const dlt_flag flags[] = {
    DLT_TEXT(evaluate_options, data, "data", 'd', DLT_FLAG_FILE, "SET|FILE",
             "test, validation or train of the run's config, or a file that is read as the training data "
             "were; default: test, else "
             "validation"),
    DLT_TEXT(evaluate_options, which, "which", '\0', DLT_FLAG_TEXT, "final|best|last|FILE",
             "weights of a run; default: those that fit left"),
    DLT_TEXT(evaluate_options, weights, "weights", '\0', DLT_FLAG_FILE, "FILE",
             "use these weights instead: a checkpoint, a run, or a file that Keras saved"),
    DLT_CHOICE(evaluate_options, format, "format", 'f', formats, "FORMAT", "text, json or csv"),
    DLT_SWITCH(evaluate_options, confusion, "confusion", '\0', "show the confusion matrix whatever its size"),
    DLT_DEVICE_FLAGS(evaluate_options, device),
    DLT_OVERRIDES(evaluate_options, overrides),
    {0},
};

static void leave_at_once(void)
{
    _exit(130);
}

/* Leaves all but the test set out. A model file, which knows nothing but what its training data tell, has to
 * see those, and which of them validation takes away. */
static void leave_test(const dlt_model *model, dlt_data_spec *data)
{
    if (model->checkpoint != NULL) {
        data->train = NULL;
    }
    if (model->checkpoint != NULL ||
        (data->validation != NULL && data->validation->kind != &dlt_split_kind)) {
        data->validation = NULL;
    }
}

/* The files that a checkpoint says its data came from: shown, for they may help, and not opened, for they may be a stranger's. */
static void show_paths(const dlt_data_spec *data, dlt_diag *diag)
{
    const struct {
        const char *name;
        const dlt_item *item;
    } sets[] = {{"train", data->train}, {"validation", data->validation}, {"test", data->test}};
    for (size_t i = 0; i < DLT_COUNT(sets); i++) {
        const dlt_item *item = sets[i].item;
        for (const dlt_field *f = item != NULL ? item->kind->fields : NULL; f != NULL && f->name != NULL; f++) {
            const void *place = (const char *)item->params + f->offset;
            dlt_strings paths = {0};
            if (f->type == DLT_FIELD_PATH && *(const char *const *)place != NULL) {
                paths = (dlt_strings){1, place};
            } else if (f->type == DLT_FIELD_PATHS) {
                paths = *(const dlt_strings *)place;
            }
            for (size_t k = 0; k < paths.count; k++) {
                dlt_note(diag, (dlt_pos){0}, "inside stands data.%s: %s of %s: %s", sets[i].name, f->name, item->kind->name, paths.at[k]);
            }
        }
    }
}

/* Which records: a set of the config, or a file. */
static dlt_status choose_data(const dlt_command_call *call, const dlt_model *model, dlt_data_spec *data,
                              dlt_set *set)
{
    const evaluate_options *o = call->options;
    const dlt_data_spec *config = &model->spec->value.data;
    struct stat status;
    const char *wanted = o->data;
    *data = *config;
    const bool names_set = wanted == NULL || ((strcmp(wanted, "test") == 0 || strcmp(wanted, "validation") == 0 ||
                                               strcmp(wanted, "train") == 0) &&
                                              stat(wanted, &status) != 0);
    if (names_set && model->run == NULL && model->checkpoint != NULL) {
        show_paths(config, call->diag);
        return dlt_fail(call->diag, DLT_E_CONFIG, (dlt_pos){0},
                        "a checkpoint alone is evaluated on data that you name: give --data FILE (paths "
                        "inside it are not opened)");
    }
    if (wanted == NULL) {
        wanted = config->test != NULL ? "test" : config->validation != NULL ? "validation" : "train";
    }
    if (names_set && strcmp(wanted, "test") == 0) {
        *set = DLT_TEST;
        if (config->test == NULL) {
            return dlt_fail(call->diag, DLT_E_CONFIG, (dlt_pos){0},
                            "the config names no test data; give --data FILE");
        }
        leave_test(model, data);
        return DLT_OK;
    }
    if (names_set && strcmp(wanted, "validation") == 0) {
        *set = DLT_VALIDATION;
        data->test = NULL;
        if (config->validation == NULL) {
            return dlt_fail(call->diag, DLT_E_CONFIG, (dlt_pos){0},
                            "the config names no validation data; give --data FILE");
        }
        if (config->validation->kind != &dlt_split_kind && model->checkpoint != NULL) {
            data->train = NULL;
        }
        return DLT_OK;
    }
    if (names_set && strcmp(wanted, "train") == 0) {
        *set = DLT_TRAIN;
        data->test = NULL;
        return DLT_OK;
    }
    static const char *const sets[] = {"test", "validation", "train"};
    const int near = stat(wanted, &status) != 0 ? dlt_nearest(wanted, sets, DLT_COUNT(sets)) : -1;
    if (near >= 0) {
        return dlt_fail(call->diag, DLT_E_CONFIG, (dlt_pos){0}, "--data: there is no file '%s'; did you mean '%s'?",
                        wanted, sets[near]);
    }
    *set = DLT_TEST;
    leave_test(model, data);
    return dlt_model_source(model, wanted, call->arena, &data->test, call->diag);
}

/* Name of a class, or its number, for which `number` is room. */
static const char *name_of(const dlt_evaluation *e, int64_t index, char number[24])
{
    if (e->names != NULL) {
        return e->names[index];
    }
    snprintf(number, 24, "%lld", (long long)index);
    return number;
}

static void put_json(const dlt_evaluation *e, dlt_buf *out)
{
    dlt_json j;
    char number[24];
    dlt_json_init(&j, out, 1);
    dlt_json_open(&j, '{');
    dlt_json_key_int(&j, "samples", e->samples);
    for (int i = 0; i < e->count; i++) {
        dlt_json_key_double(&j, e->values[i].name, e->values[i].value);
    }
    if (e->classes > 0) {
        dlt_json_key(&j, "classes");
        dlt_json_open(&j, '[');
        for (int64_t i = 0; i < e->classes; i++) {
            const dlt_class_figures f = dlt_class_figures_of(e, i);
            const char *name = name_of(e, i, number);
            dlt_json_open(&j, '{');
            dlt_json_key_string(&j, "class", name);
            dlt_json_key_double(&j, "precision", f.precision);
            dlt_json_key_double(&j, "recall", f.recall);
            dlt_json_key_double(&j, "f1", f.f1);
            dlt_json_key_int(&j, "count", f.count);
            dlt_json_key(&j, "predicted");
            dlt_json_open(&j, '[');
            for (int64_t k = 0; k < e->classes; k++) {
                dlt_json_int(&j, e->confusion[i * e->classes + k]);
            }
            dlt_json_close(&j, ']');
            dlt_json_close(&j, '}');
        }
        dlt_json_close(&j, ']');
    }
    dlt_json_close(&j, '}');
    dlt_buf_char(out, '\n');
}

/* One figure: "recall[>50K],0.64". of, as: names of classes, or NULL. */
static void put_figure(dlt_buf *out, const char *what, const char *of, const char *as, const char *value)
{
    dlt_buf name = {0};
    dlt_buf_string(&name, what);
    if (of != NULL) {
        dlt_buf_printf(&name, "[%s]", of);
    }
    if (as != NULL) {
        dlt_buf_printf(&name, "[%s]", as);
    }
    dlt_buf_csv(out, dlt_buf_text(&name));
    dlt_buf_printf(out, ",%s\n", value);
    out->failed = out->failed || name.failed;
    dlt_buf_release(&name);
}

static void put_ratio(dlt_buf *out, const char *what, const char *of, double value)
{
    char number[40];
    dlt_format_double(value, number, sizeof number);
    put_figure(out, what, of, NULL, number);
}

static void put_count(dlt_buf *out, const char *what, const char *of, const char *as, int64_t value)
{
    char number[40];
    snprintf(number, sizeof number, "%lld", (long long)value);
    put_figure(out, what, of, as, number);
}

static void put_csv(const dlt_evaluation *e, dlt_buf *out)
{
    char number[24], other[24];
    dlt_buf_string(out, "name,value\n");
    put_count(out, "samples", NULL, NULL, e->samples);
    for (int i = 0; i < e->count; i++) {
        put_ratio(out, e->values[i].name, NULL, e->values[i].value);
    }
    for (int64_t i = 0; i < e->classes; i++) {
        const dlt_class_figures f = dlt_class_figures_of(e, i);
        const char *name = name_of(e, i, number);
        put_ratio(out, "precision", name, f.precision);
        put_ratio(out, "recall", name, f.recall);
        put_ratio(out, "f1", name, f.f1);
        put_count(out, "count", name, NULL, f.count);
    }
    for (int64_t i = 0; i < e->classes; i++) {
        const char *name = name_of(e, i, number);
        for (int64_t k = 0; k < e->classes; k++) {
            put_count(out, "confusion", name, name_of(e, k, other), e->confusion[i * e->classes + k]);
        }
    }
}

static void put_matrix(const dlt_evaluation *e, dlt_buf *out)
{
    char number[24];
    int width = 6;
    for (int64_t i = 0; i < e->classes; i++) {
        const char *name = name_of(e, i, number);
        const int length = (int)dlt_utf8_length(name, strlen(name));
        width = length > width ? (length < 12 ? length : 12) : width;
    }
    dlt_buf_string(out, "\nconfusion: a row for each true class, a column for what it was taken for\n");
    dlt_buf_printf(out, "%*s", width, "");
    for (int64_t k = 0; k < e->classes; k++) {
        dlt_buf_printf(out, " %*.*s", width, width, name_of(e, k, number));
    }
    dlt_buf_char(out, '\n');
    for (int64_t i = 0; i < e->classes; i++) {
        dlt_buf_printf(out, "%-*.*s", width, width, name_of(e, i, number));
        for (int64_t k = 0; k < e->classes; k++) {
            const long long count = (long long)e->confusion[i * e->classes + k];
            if (count == 0) {
                dlt_buf_printf(out, " %*s", width, "."); /* what is not zero shall catch the eye */
            } else {
                dlt_buf_printf(out, " %*lld", width, count);
            }
        }
        dlt_buf_char(out, '\n');
    }
}

static void put_text(const dlt_evaluation *e, bool whole_matrix, dlt_buf *out)
{
    char figure[40], seconds[40], number[24], count[40];
    for (int i = 0; i < e->count; i++) {
        dlt_format_figure(e->values[i].value, figure, sizeof figure);
        dlt_buf_printf(out, "%s %s   ", e->values[i].name, figure);
    }
    dlt_format_seconds(e->seconds, seconds, sizeof seconds);
    dlt_format_count(e->samples, count, sizeof count);
    dlt_buf_printf(out, "%s samples in %s\n", count, seconds);
    if (e->classes == 0) {
        return;
    }
    int width = 5;
    for (int64_t i = 0; i < e->classes; i++) {
        const char *name = name_of(e, i, number);
        const int length = (int)dlt_utf8_length(name, strlen(name));
        width = length > width ? (length < 30 ? length : 30) : width;
    }
    dlt_buf_printf(out, "%-*s  precision  recall      f1    count   most often taken for\n", width, "class");
    for (int64_t i = 0; i < e->classes; i++) {
        const dlt_class_figures f = dlt_class_figures_of(e, i);
        const char *name = name_of(e, i, number);
        dlt_format_count(f.count, count, sizeof count);
        dlt_buf_printf(out, "%-*.*s     %.4f  %.4f  %.4f  %7s", width, width, name, f.precision, f.recall,
                       f.f1, count);
        if (f.taken_for >= 0) {
            dlt_buf_printf(out, "   %s (%lld)", name_of(e, f.taken_for, number), (long long)f.taken_count);
        }
        dlt_buf_char(out, '\n');
    }
    if (whole_matrix || e->classes <= SHOWN_MATRIX) {
        put_matrix(e, out);
    }
}

static dlt_status run(const dlt_command_call *call)
{
    const evaluate_options *o = call->options;
    const dlt_load_options load = {.overrides = o->overrides.at, .override_count = o->overrides.count};
    const dlt_model_choice choice = {
        .given = call->arguments.at[0], .which = o->which, .weights = o->weights};
    dlt_model model;
    dlt_session *session = NULL;
    dlt_data_spec data;
    dlt_set set = DLT_TEST;
    dlt_evaluation e;
    dlt_buf out = {0};
    dlt_signals_install(leave_at_once);
    DLT_TRY(dlt_model_open(&choice, call->catalogue, &load, call->arena, &model, call->diag));
    dlt_session_options options = dlt_session_of_flags(&o->device);
    options.evaluate = true;
    dlt_status status = choose_data(call, &model, &data, &set);
    status = status == DLT_OK ? dlt_model_session(&model, &options, &data, &session, call->diag) : status;
    status = status == DLT_OK ? dlt_evaluate(session, set, dlt_stop_flag(), &e, call->diag) : status;
    if (status == DLT_OK) {
        if (o->format == FORMAT_JSON) {
            put_json(&e, &out);
        } else if (o->format == FORMAT_CSV) {
            put_csv(&e, &out);
        } else {
            put_text(&e, o->confusion, &out);
        }
        status = dlt_write_out(&out, call->diag);
    }
    dlt_buf_release(&out);
    dlt_session_close(session);
    dlt_model_close(&model);
    return status;
}

static const char *const examples[] = {"dltrain evaluate runs/mnist-cnn",
                                       "dltrain evaluate runs/iris --data new.csv --format json", NULL};

const dlt_command dlt_command_evaluate = {
    .name = "evaluate",
    .doc = "loss, metrics and figures for each class of a trained model",
    .arguments = "RUN|CHECKPOINT|MODEL",
    .argument = DLT_ARG_RUN,
    .least = 1,
    .most = 1,
    .flags = flags,
    .options_size = sizeof(evaluate_options),
    .text = "Evaluates a run (runs/NAME means its newest finished run) or a checkpoint file. Of a checkpoint "
            "alone, paths that stand "
            "inside are not opened: name the data with --data. Weights that Keras saved are evaluated with a "
            "model file: dltrain evaluate MODEL.yaml --weights FILE.weights.h5.",
    .examples = examples,
    .run = run,
};
