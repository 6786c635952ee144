/* trainer/predict.c: predictions for raw rows. */
#include "trainer/predict.h"

#include "base/alloc.h"
#include "base/json.h"
#include "io/data/convert.h"
#include "io/data/rows.h"
#include "io/file.h"
#include "io/h5/h5_writer.h"
#include "io/outfile.h"
#include "trainer/evaluate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { NPY_HEADER = 192 }; /* a multiple of 64 that holds any shape */
static const dlt_pos nowhere = {0};

/* Where predictions go, and what they mean. */
typedef struct sink {
    const dlt_predict_options *options;
    dlt_diag *diag;
    dlt_outfile file; /* not open: standard output */
    dlt_buf text;
    dlt_shape row;            /* of one prediction */
    int64_t width;            /* elements of it */
    const char *const *names; /* of classes; NULL: numbers */
    int64_t classes;          /* the prediction is over so many classes; 0: it is no class */
    bool logits;
    int64_t rows;
    float *all; /* HDF5: every prediction */
    int64_t all_room;
} sink;

/* ---- bytes ---- */

static dlt_status flush(sink *s)
{
    dlt_status status = DLT_OK;
    if (s->text.failed) {
        return dlt_fail_memory(s->diag);
    }
    if (s->text.length > 0) {
        status = s->options->output != NULL
                     ? dlt_outfile_write(&s->file, s->text.data, s->text.length, s->diag)
                     : s->options->write(s->options->context, s->text.data, s->text.length, s->diag);
    }
    dlt_buf_reset(&s->text);
    return status;
}

/* ---- text ---- */

static int64_t class_of(const sink *s, const float *y)
{
    if (s->width == 1) {
        return y[0] > (s->logits ? 0.0f : 0.5f);
    }
    int64_t best = 0;
    for (int64_t i = 1; i < s->width; i++) {
        best = y[i] > y[best] ? i : best;
    }
    return best;
}

static void put_class(const sink *s, dlt_buf *out, int64_t index)
{
    if (s->names != NULL && index < s->classes) {
        dlt_buf_csv(out, s->names[index]);
    } else {
        dlt_buf_printf(out, "%lld", (long long)index);
    }
}

static void put_csv_header(sink *s)
{
    if (s->classes > 0) {
        dlt_buf_string(&s->text, "class");
        for (int64_t i = 0; i < s->width; i++) {
            dlt_buf_char(&s->text, ',');
            put_class(s, &s->text, s->width == 1 ? 1 : i);
        }
    } else {
        for (int64_t i = 0; i < s->width; i++) {
            if (s->width == 1) {
                dlt_buf_string(&s->text, "prediction");
            } else {
                dlt_buf_printf(&s->text, "%sy%lld", i > 0 ? "," : "", (long long)i);
            }
        }
    }
    dlt_buf_char(&s->text, '\n');
}

static void put_csv(sink *s, const float *y)
{
    char number[40];
    if (s->classes > 0) {
        put_class(s, &s->text, class_of(s, y));
    }
    for (int64_t i = 0; i < s->width; i++) {
        dlt_format_float(y[i], number, sizeof number);
        dlt_buf_printf(&s->text, "%s%s", i > 0 || s->classes > 0 ? "," : "", number);
    }
    dlt_buf_char(&s->text, '\n');
}

/* A tensor as nested lists. */
static void put_list(dlt_json *j, const float **y, const dlt_shape *shape, int axis)
{
    if (axis == shape->rank) {
        dlt_json_float(j, *(*y)++);
        return;
    }
    dlt_json_open(j, '[');
    for (int64_t i = 0; i < shape->dim[axis]; i++) {
        put_list(j, y, shape, axis + 1);
    }
    dlt_json_close(j, ']');
}

static void put_jsonl(sink *s, const float *y)
{
    dlt_json j;
    const float *at = y;
    dlt_json_init(&j, &s->text, 0);
    dlt_json_open(&j, '{');
    if (s->classes > 0) {
        const int64_t index = class_of(s, y);
        dlt_json_key(&j, "class");
        if (s->names != NULL && index < s->classes) {
            dlt_json_string(&j, s->names[index]);
        } else {
            dlt_json_int(&j, index);
        }
    }
    dlt_json_key(&j, s->classes > 0 ? "outputs" : "prediction");
    put_list(&j, &at, &s->row, s->row.rank == 1 && s->row.dim[0] == 1 ? 1 : 0);
    dlt_json_close(&j, '}');
    dlt_buf_char(&s->text, '\n');
}

/* ---- NPY: a header of fixed length, filled in when the number of rows is known ---- */

static void put_npy_header(const sink *s, int64_t rows, char header[NPY_HEADER + 1])
{
    char shape[100];
    size_t at = (size_t)snprintf(shape, sizeof shape, "(%lld,", (long long)rows);
    for (int i = 0; i < s->row.rank; i++) {
        at += (size_t)snprintf(shape + at, sizeof shape - at, "%s%lld", i > 0 ? ", " : " ",
                               (long long)s->row.dim[i]);
    }
    snprintf(header, NPY_HEADER + 1,
             "\x93NUMPY%c%c%c%c{'descr': '<f4', 'fortran_order': False, 'shape': %s), }", 1, 1, 1, 1, shape);
    const size_t text = 10 + strlen(header + 10);
    memset(header + text, ' ', NPY_HEADER - text);
    header[NPY_HEADER - 1] = '\n';
    header[7] = 0; /* version 1.0, and the length of what follows in 16 bits */
    header[8] = (char)(NPY_HEADER - 10);
    header[9] = 0;
}

static dlt_status finish_npy(sink *s)
{
    char header[NPY_HEADER + 1];
    put_npy_header(s, s->rows, header);
    if (dlt_file()->pwrite(s->file.fd, header, NPY_HEADER, 0) != NPY_HEADER) {
        return dlt_fail(s->diag, DLT_E_OUTPUT, nowhere, "cannot write '%s': %s", s->file.name,
                        strerror(errno));
    }
    return DLT_OK;
}

/* ---- HDF5 ---- */

static dlt_status keep_row(sink *s, const float *y)
{
    if ((s->rows + 1) * s->width > s->all_room) {
        const int64_t room = s->all_room > 0 ? 2 * s->all_room : 1024 * s->width;
        float *grown = dlt_realloc(s->all, (size_t)room, sizeof *grown);
        if (grown == NULL) {
            return dlt_fail_memory(s->diag);
        }
        s->all = grown;
        s->all_room = room;
    }
    memcpy(s->all + s->rows * s->width, y, (size_t)s->width * sizeof *y);
    return DLT_OK;
}

static dlt_status finish_hdf5(sink *s)
{
    dlt_h5_writer *w = NULL;
    dlt_shape shape = {.rank = s->row.rank + 1, .dim = {s->rows}};
    for (int i = 0; i < s->row.rank; i++) {
        shape.dim[i + 1] = s->row.dim[i];
    }
    DLT_TRY(dlt_h5_writer_create(s->file.fd, s->file.name, DLT_E_OUTPUT, &w, s->diag));
    dlt_status status = dlt_h5_writer_dataset(w, "/predictions", DLT_F32, &shape, s->all, s->diag);
    if (status == DLT_OK && s->classes > 0) {
        dlt_buf names = {0};
        for (int64_t i = 0; i < s->classes && s->names != NULL; i++) {
            dlt_buf_printf(&names, "%s%s", i > 0 ? "\n" : "", s->names[i]);
        }
        if (names.failed) {
            status = dlt_fail_memory(s->diag);
        } else if (names.length > 0) {
            status = dlt_h5_writer_text(w, "/predictions", "class_names", names.data, s->diag);
        }
        dlt_buf_release(&names);
    }
    if (status != DLT_OK) {
        dlt_h5_writer_destroy(w);
        return status;
    }
    return dlt_h5_writer_finish(w, s->diag);
}

/* ---- rows ---- */

static dlt_status put_row(sink *s, const float *y)
{
    switch (s->options->format) {
    case DLT_PREDICT_CSV:
        put_csv(s, y);
        break;
    case DLT_PREDICT_JSONL:
        put_jsonl(s, y);
        break;
    case DLT_PREDICT_NPY:
        dlt_buf_append(&s->text, (const char *)y, (size_t)s->width * sizeof *y);
        break;
    default:
        DLT_TRY(keep_row(s, y));
    }
    s->rows++;
    return s->text.length > (1 << 16) ? flush(s) : DLT_OK;
}

/* Repeats the last row of a batch that is not full, so that the program has something to work on. */
static void pad_batch(const dlt_session *session, void *const *outputs, int64_t rows, int64_t batch)
{
    for (int i = 0; i < session->inputs->step.input_count; i++) {
        const dlt_step_input *in = &session->inputs->step.inputs[i];
        const size_t bytes = (size_t)dlt_shape_count(&in->shape) * dlt_dtype_size(in->type);
        char *last = (char *)outputs[i] + (size_t)(rows - 1) * bytes;
        for (int64_t r = rows; r < batch; r++) {
            memcpy((char *)outputs[i] + (size_t)r * bytes, last, bytes);
        }
    }
}

static dlt_status predict_rows(const dlt_model *model, dlt_session *session, sink *s)
{
    const dlt_engine *e = session->engine;
    const dlt_compiled *program = &e->programs[DLT_RUN_PREDICT];
    const dlt_value *y = dlt_graph_output(program->graph, "y");
    const int64_t batch = program->graph->batch;
    dlt_rows *rows = NULL;
    dlt_table table;
    dlt_input_encoder encoder = {0};
    void *outputs[256];
    float *weights = NULL, *values = dlt_alloc((size_t)dlt_value_bytes(y));
    dlt_status status = values != NULL
                            ? dlt_rows_open(s->options->input, session->frame, model->spec->value.data.train,
                                            batch, s->options->stop, &rows, s->diag)
                            : dlt_fail_memory(s->diag);
    if (status == DLT_OK) {
        const char *path = strcmp(s->options->input, "-") == 0 ? "standard input" : s->options->input;
        status = dlt_inputs_encoder(session->arena, session->inputs, dlt_rows_layout(rows), path, false,
                                    &encoder, s->diag);
    }
    dlt_engine_slot(e, DLT_RUN_PREDICT, 0, outputs, &weights);
    while (status == DLT_OK && (status = dlt_rows_next(rows, &table, s->diag)) == DLT_OK && table.rows > 0) {
        bool finite = true;
        status = encoder.encode(encoder.context, &table, outputs, s->diag);
        if (status == DLT_OK) {
            pad_batch(session, outputs, table.rows, batch);
            status = dlt_engine_run(session->engine, DLT_RUN_PREDICT, 0, &finite, s->diag);
        }
        if (status == DLT_OK) {
            status = e->backend->read_value(program->program, 0, y, values, s->diag);
        }
        for (int64_t r = 0; r < table.rows && status == DLT_OK; r++) {
            status = put_row(s, values + r * s->width);
        }
        if (s->options->progress != NULL) {
            s->options->progress(s->options->progress_context, s->rows);
        }
        if (status == DLT_OK && s->options->stop != NULL &&
            atomic_load_explicit(s->options->stop, memory_order_relaxed) != 0) {
            status = DLT_E_STOPPED;
        }
    }
    dlt_rows_close(rows);
    dlt_free(values);
    return status;
}

/* NPY has the number of rows in front and HDF5 addresses all over: neither can be written front to back. */
static dlt_status check_output(const dlt_predict_options *options, dlt_diag *diag)
{
    struct stat seen;
    if (options->format != DLT_PREDICT_NPY && options->format != DLT_PREDICT_HDF5) {
        return DLT_OK;
    }
    if (options->output == NULL) {
        return dlt_fail(diag, DLT_E_CONFIG, nowhere, "this format needs a file: give --output");
    }
    if (dlt_file()->stat(options->output, &seen) == 0 && !S_ISREG(seen.st_mode) && !S_ISDIR(seen.st_mode)) {
        return dlt_fail(diag, DLT_E_CONFIG, nowhere, "this format needs a regular file, and '%s' is none",
                        options->output);
    }
    return DLT_OK;
}

dlt_status dlt_predict(const dlt_model *model, dlt_session *session, const dlt_predict_options *options,
                       int64_t *rows, dlt_diag *diag)
{
    const dlt_value *y = dlt_graph_output(session->engine->programs[DLT_RUN_PREDICT].graph, "y");
    sink s = {.options = options, .diag = diag, .file = {.fd = -1}};
    *rows = 0;
    if (y->type != DLT_F32) {
        return dlt_fail(diag, DLT_E_UNSUPPORTED, nowhere,
                        "the model's output is %s; predictions are written as float32",
                        dlt_dtype_name(y->type));
    }
    s.row = (dlt_shape){.rank = y->shape.rank - 1};
    memcpy(s.row.dim, y->shape.dim + 1, (size_t)s.row.rank * sizeof *s.row.dim);
    s.width = dlt_shape_count(&s.row);
    dlt_frame_classes(session->frame, &s.classes, &s.names);
    if (s.classes == 0 && session->spec->loss != NULL &&
        dlt_loss_of(session->spec->loss)->form == DLT_TARGET_CLASSES) {
        s.classes = s.width; /* class numbers */
    }
    if (s.row.rank != 1 || (s.width != s.classes && !(s.width == 1 && s.classes == 2))) {
        s.classes = 0;
    }
    s.logits = dlt_takes_logits(session->spec->loss);
    DLT_TRY(check_output(options, diag));
    dlt_status status = options->output != NULL ? dlt_outfile_open(options->output, DLT_OUTFILE_REPLACE, DLT_E_OUTPUT,
                                                                   options->stop, &s.file, diag)
                                                : DLT_OK;
    if (status == DLT_OK && options->format == DLT_PREDICT_CSV) {
        put_csv_header(&s);
    } else if (status == DLT_OK && options->format == DLT_PREDICT_NPY) {
        char header[NPY_HEADER + 1];
        put_npy_header(&s, 0, header);
        dlt_buf_append(&s.text, header, NPY_HEADER);
    }
    status = status == DLT_OK ? predict_rows(model, session, &s) : status;
    status = status == DLT_OK ? flush(&s) : status;
    if (status == DLT_OK && options->format == DLT_PREDICT_NPY) {
        status = finish_npy(&s);
    } else if (status == DLT_OK && options->format == DLT_PREDICT_HDF5) {
        status = finish_hdf5(&s);
    }
    status = dlt_outfile_close(&s.file, status, diag);
    *rows = s.rows;
    dlt_buf_release(&s.text);
    dlt_free(s.all);
    return status;
}
