/* cmd/cmd_init.c: dltrain init: a model file to start from.
 *
 * Nothing is asked. Where --data names a file, a look at its first bytes fills in what can be known: the
 * delimiter and the last column of a table, the number of its classes, the number of characters of a text. */
#include "base/alloc.h"
#include "cmd/args.h"
#include "cmd/write_out.h"
#include "io/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

typedef struct init_options {
    int kind;
    const char *data, *output;
} init_options;

enum { KIND_IMAGE, KIND_TABLE, KIND_TEXT, KIND_REGRESSION, KIND_TRANSFORMER };
static const char *const kinds[] = {"image", "table", "text", "regression", "transformer", NULL};

static const dlt_flag flags[] = {
    DLT_CHOICE(init_options, kind, "kind", '\0', kinds, "KIND", "what is to be learned from"),
    DLT_TEXT(init_options, data, "data", '\0', DLT_FLAG_FILE, "FILE", "the data set to train on"),
    DLT_TEXT(init_options, output, "output", '\0', DLT_FLAG_FILE, "FILE",
             "the file to write (model.yaml); '-' is standard output"),
    {0},
};

enum { LOOKED_AT = 4 << 20 /* bytes of a data file */, MOST_CLASSES = 1000, MANY_CLASSES = 100 };

/* What a look at a data file showed; 0 and "" where nothing did. */
typedef struct glance {
    char target[128];
    int64_t classes;    /* distinct values of the last column */
    int64_t characters; /* distinct characters */
    bool whole;         /* all of the file was seen */
} glance;

/* Reads the beginning of a regular file; *beginning is NULL where there is none, which is no mistake: data may come later. Only
 * memory can fail. */
static dlt_status beginning_of(const char *path, char **beginning, size_t *bytes, bool *whole)
{
    int fd = -1;
    int64_t size = 0;
    *beginning = NULL;
    const dlt_status opened = dlt_file_open_read(path, DLT_E_DATA, (dlt_pos){0}, &fd, &size, NULL);
    if (opened != DLT_OK) {
        return opened == DLT_E_MEMORY ? opened : DLT_OK;
    }
    *bytes = size < LOOKED_AT ? (size_t)size : LOOKED_AT;
    *whole = size <= LOOKED_AT;
    char *text = dlt_alloc(*bytes + 1);
    const dlt_status status = text != NULL ? DLT_OK : DLT_E_MEMORY;
    if (text != NULL && dlt_file_read_at(fd, path, text, *bytes, 0, DLT_E_DATA, NULL) != DLT_OK) {
        dlt_free(text);
        text = NULL;
    }
    dlt_file()->close(fd);
    if (text != NULL) {
        text[*bytes] = '\0';
    }
    *beginning = text;
    return status;
}

/* The delimiter that the first line has most of. */
static char delimiter_of(const char *text, size_t bytes)
{
    static const char candidates[] = {',', ';', '\t', '|'};
    size_t best = 0;
    char delimiter = ',';
    const char *feed = memchr(text, '\n', bytes), *end = feed != NULL ? feed : text + bytes;
    for (size_t i = 0; i < DLT_COUNT(candidates); i++) {
        size_t count = 0;
        for (const char *c = text; c < end; c++) {
            count += *c == candidates[i];
        }
        if (count > best) {
            best = count;
            delimiter = candidates[i];
        }
    }
    return delimiter;
}

/* Last field of the line [line, end), without quotes and blanks around it. */
static const char *last_field(const char *line, const char *end, char delimiter, size_t *length)
{
    bool quoted = false;
    const char *start = line;
    for (const char *c = line; c < end; c++) {
        quoted = *c == '"' ? !quoted : quoted;
        start = *c == delimiter && !quoted ? c + 1 : start;
    }
    while (start < end && strchr(" \"\r", *start) != NULL) {
        start++;
    }
    while (end > start && strchr(" \"\r", end[-1]) != NULL) {
        end--;
    }
    *length = (size_t)(end - start);
    return start;
}

/* True if a field could be the name of a column that stands in YAML as it is. */
static bool is_plain_name(const char *text, size_t length, size_t room)
{
    if (length == 0 || length >= room ||
        !((text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z'))) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        const char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_')) {
            return false;
        }
    }
    return true;
}

static void look_at_table(const char *text, size_t bytes, glance *seen)
{
    const char *values[MOST_CLASSES];
    size_t lengths[MOST_CLASSES];
    int64_t classes = 0;
    const char delimiter = delimiter_of(text, bytes), *end = text + bytes;
    bool first = true;
    for (const char *line = text; line < end;) {
        const char *feed = memchr(line, '\n', (size_t)(end - line));
        if (feed == NULL && !seen->whole) {
            break; /* a line cut in two */
        }
        const char *stop = feed != NULL ? feed : end;
        size_t length = 0;
        const char *field = last_field(line, stop, delimiter, &length);
        const bool header = first && is_plain_name(field, length, sizeof seen->target);
        line = stop + 1;
        if (header) {
            memcpy(seen->target, field, length);
            seen->target[length] = '\0';
        }
        first = false;
        if (header || length == 0) {
            continue;
        }
        int64_t i = 0;
        while (i < classes && (lengths[i] != length || memcmp(values[i], field, length) != 0)) {
            i++;
        }
        if (i == classes) {
            if (classes == MOST_CLASSES) {
                return; /* not classes but numbers */
            }
            values[classes] = field;
            lengths[classes++] = length;
        }
    }
    seen->classes = classes;
}

static void look_at_text(const char *text, size_t bytes, glance *seen)
{
    bool known[0x800] = {false}; /* by the first bytes of a character: a rough count is enough */
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)text[i];
        if ((c & 0xC0) == 0x80) {
            continue;
        }
        const unsigned next = i + 1 < bytes ? (unsigned char)text[i + 1] & 0x3Fu : 0;
        const unsigned code = c < 0x80 ? c : (c & 0x1Fu) << 6 | next;
        seen->characters += !known[code];
        known[code] = true;
    }
}

/* *readable is false where there is nothing that can be read. Only memory can fail. */
static dlt_status look_at(const char *path, int kind, glance *seen, bool *readable)
{
    size_t bytes = 0;
    char *text = NULL;
    DLT_TRY(beginning_of(path, &text, &bytes, &seen->whole));
    if (text != NULL && (kind == KIND_TABLE || kind == KIND_REGRESSION)) {
        look_at_table(text, bytes, seen);
    } else if (text != NULL && (kind == KIND_TEXT || kind == KIND_TRANSFORMER)) {
        look_at_text(text, bytes, seen);
    }
    *readable = text != NULL;
    dlt_free(text);
    return DLT_OK;
}

/* ---- the files ---- */

/* A path inside { }: quoted, for blanks and commas may stand in it. */
static void put_path(const char *path, dlt_buf *out)
{
    dlt_buf_char(out, '\'');
    for (; *path != '\0'; path++) {
        dlt_buf_char(out, *path);
        dlt_buf_string(out, *path == '\''                                        ? "'"
                            : *path == '$' && (path[1] == '$' || path[1] == '{') ? "$"
                                                                                 : "");
    }
    dlt_buf_char(out, '\'');
}

/* Runs go by the model's name: that of the data, so that two models in a folder have names of their own. */
static void put_name(const init_options *options, dlt_buf *out)
{
    const char *stem = options->data != NULL ? options->data : kinds[options->kind];
    const char *slash = strrchr(stem, '/');
    stem = slash != NULL && slash[1] != '\0' ? slash + 1 : stem;
    const size_t length = strcspn(stem, ".");
    dlt_buf_string(out, "name: ");
    for (size_t i = 0; i < length; i++) {
        const char c = stem[i];
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9' && i > 0);
        dlt_buf_char(out, plain ? c : i == 0 ? 'm' : '-');
    }
    dlt_buf_string(out, length == 0 ? "model\n" : "\n");
}

static void put_image(const init_options *options, dlt_buf *out)
{
    const char *data = options->data != NULL ? options->data : "train-images-idx3-ubyte.gz";
    const char *mark = strstr(data, "images-idx3");
    dlt_buf_string(out, "seed: 0\ndata:\n");
    if (dlt_text_ends(data, ".npz") || dlt_text_ends(data, ".h5") || dlt_text_ends(data, ".hdf5")) {
        dlt_buf_printf(out, "  train: {%s: {path: ", dlt_text_ends(data, ".npz") ? "NPZ" : "HDF5");
        put_path(data, out);
        dlt_buf_string(out, ", features: x_train, labels: y_train}}\n");
    } else {
        dlt_buf labels = {0};
        dlt_buf_append(&labels, data, mark != NULL ? (size_t)(mark - data) : 0);
        dlt_buf_printf(&labels, "%s%s", mark != NULL ? "labels-idx1" : "",
                       mark != NULL ? mark + strlen("images-idx3") : "train-labels-idx1-ubyte.gz");
        dlt_buf_string(out, "  train: {IDX: {features: ");
        put_path(data, out);
        dlt_buf_string(out, ", labels: ");
        put_path(dlt_buf_text(&labels), out);
        dlt_buf_string(out, "}}\n");
        dlt_buf_finish(&labels, out);
    }
    dlt_buf_string(out,
                   "  validation: {split: 0.1}\n"
                   "layers:\n"
                   "  - Input: {shape: [28, 28, 1]}     # rows, columns, channels of one image\n"
                   "  - Rescaling: {scale: 1/255}\n"
                   "  - Conv2D: {filters: 32, kernel_size: 3, activation: relu}\n"
                   "  - MaxPooling2D: {pool_size: 2}\n"
                   "  - Conv2D: {filters: 64, kernel_size: 3, activation: relu}\n"
                   "  - MaxPooling2D: {pool_size: 2}\n"
                   "  - Flatten\n"
                   "  - Dropout: {rate: 0.5}\n"
                   "  - Dense: {units: 10, activation: softmax}     # one for each class\n"
                   "optimizer: {Adam: {learning_rate: 1e-3}}\n"
                   "loss: sparse_categorical_crossentropy\n"
                   "metrics: [accuracy]\n"
                   "fit:\n"
                   "  epochs: 12\n"
                   "  batch_size: 128\n"
                   "  callbacks:\n"
                   "    - EarlyStopping: {monitor: val_loss, patience: 3, restore_best_weights: true}\n");
}

static void put_csv(const init_options *options, const glance *seen, dlt_buf *out)
{
    dlt_buf_string(out, "data:\n  train: {CSV: {path: ");
    put_path(options->data != NULL ? options->data : "train.csv", out);
    if (seen->target[0] != '\0') {
        dlt_buf_printf(out, ", target: %s}}     # the column to predict\n", seen->target);
    } else {
        dlt_buf_string(out, ", target: -1}}     # the column to predict: its name or number, -1 the last\n");
    }
}

static void put_table(const init_options *options, const glance *seen, dlt_buf *out)
{
    const bool known = seen->classes > 1 && seen->classes < MOST_CLASSES;
    dlt_buf_string(out, "seed: 0\n");
    put_csv(options, seen, out);
    dlt_buf_string(out, "  validation: {split: {fraction: 0.2, shuffle: true, stratify: true}}\n"
                        "layers:\n"
                        "  - FeatureSpace     # columns to numbers, by their types; 'dltrain help "
                        "FeatureSpace' says how to choose\n"
                        "  - Dense: {units: 64, activation: relu}\n"
                        "  - Dropout: {rate: 0.2}\n"
                        "  - Dense: {units: 32, activation: relu}\n");
    dlt_buf_printf(out, "  - Dense: {units: %lld, activation: softmax}     # one for each class\n",
                   known ? (long long)seen->classes : 2LL);
    dlt_buf_string(out,
                   "optimizer: {Adam: {learning_rate: 1e-3}}\n"
                   "loss: sparse_categorical_crossentropy\n"
                   "metrics: [accuracy]\n"
                   "fit:\n"
                   "  epochs: 50\n"
                   "  batch_size: 64\n"
                   "  callbacks:\n"
                   "    - EarlyStopping: {monitor: val_loss, patience: 5, restore_best_weights: true}\n");
}

static void put_regression(const init_options *options, const glance *seen, dlt_buf *out)
{
    dlt_buf_string(out, "seed: 0\n");
    put_csv(options, seen, out);
    dlt_buf_string(out,
                   "  validation: {split: {fraction: 0.2, shuffle: true}}\n"
                   "layers:\n"
                   "  - FeatureSpace     # columns to numbers, by their types\n"
                   "  - Dense: {units: 64, activation: relu}\n"
                   "  - Dense: {units: 64, activation: relu}\n"
                   "  - Dense: {units: 1}\n"
                   "optimizer: {Adam: {learning_rate: 1e-3}}\n"
                   "loss: mse\n"
                   "metrics: [mae]\n"
                   "fit:\n"
                   "  epochs: 100\n"
                   "  batch_size: 32\n"
                   "  callbacks:\n"
                   "    - EarlyStopping: {monitor: val_loss, patience: 10, restore_best_weights: true}\n");
}

/* Everything of a text model but its middle layers. */
static void put_text_model(const init_options *options, const glance *seen, int length,
                           const char *embedding, const char *middle, const char *rest, dlt_buf *out)
{
    const long long characters = seen->characters > 1 ? (long long)seen->characters : 128;
    dlt_buf_printf(out, "seed: 0\nvars:\n  characters: %lld     # %s\n", characters,
                   seen->characters > 1 ? "distinct ones that were seen in the text"
                                        : "distinct ones of the text");
    dlt_buf_string(out, "data:\n  train: {Text: {path: ");
    put_path(options->data != NULL ? options->data : "input.txt", out);
    dlt_buf_printf(out, ", sequence_length: %d, level: character}}\n  validation: {split: 0.1}\nlayers:\n",
                   length);
    dlt_buf_printf(out, "  - Embedding: {input_dim: \"${vars.characters}\", output_dim: %s}\n%s", embedding,
                   middle);
    dlt_buf_printf(out, "  - Dense: {units: \"${vars.characters}\"}     # logits of the next character\n%s",
                   rest);
}

static void put_text(const init_options *options, const glance *seen, dlt_buf *out)
{
    put_text_model(options, seen, 100, "64",
                   "  - LSTM: {units: 256, return_sequences: true}\n"
                   "  - Dropout: {rate: 0.2}\n",
                   "optimizer: {Adam: {learning_rate: 2e-3, clipnorm: 1.0}}\n"
                   "loss: {SparseCategoricalCrossentropy: {from_logits: true}}\n"
                   "metrics: [sparse_categorical_accuracy]\n"
                   "fit:\n"
                   "  epochs: 10\n"
                   "  batch_size: 64\n",
                   out);
}

static void put_transformer(const init_options *options, const glance *seen, dlt_buf *out)
{
    put_text_model(options, seen, 128, "192",
                   "  - PositionEmbedding: {sequence_length: 128}\n"
                   "  - Repeat:\n"
                   "      times: 4\n"
                   "      layers:\n"
                   "        - Residual:\n"
                   "            layers:\n"
                   "              - LayerNormalization\n"
                   "              - MultiHeadAttention: {num_heads: 6, key_dim: 32, causal: true}\n"
                   "              - Dropout: {rate: 0.1}\n"
                   "        - Residual:\n"
                   "            layers:\n"
                   "              - LayerNormalization\n"
                   "              - Dense: {units: 768, activation: gelu}\n"
                   "              - Dense: {units: 192}\n"
                   "              - Dropout: {rate: 0.1}\n"
                   "  - LayerNormalization\n",
                   "optimizer: {AdamW: {learning_rate: 1e-3, weight_decay: 0.1, clipnorm: 1.0}}\n"
                   "loss: {SparseCategoricalCrossentropy: {from_logits: true}}\n"
                   "metrics: [sparse_categorical_accuracy]\n"
                   "fit:\n"
                   "  epochs: 10\n"
                   "  batch_size: 64\n",
                   out);
}

static dlt_status run(const dlt_command_call *call)
{
    const init_options *options = call->options;
    const char *path = options->output != NULL ? options->output : "model.yaml";
    glance seen = {0};
    dlt_buf out = {0};
    dlt_status status = DLT_OK;
    bool readable = true;
    if (options->data != NULL && look_at(options->data, options->kind, &seen, &readable) != DLT_OK) {
        return dlt_fail_memory(call->diag);
    }
    if (!readable) {
        dlt_warn(call->diag, (dlt_pos){0}, "cannot look at '%s'; the file that is written is a guess", options->data);
    }
    if (options->kind == KIND_TABLE && seen.classes > MANY_CLASSES) {
        dlt_warn(call->diag, (dlt_pos){0},
                 "the last column has %lld different values; is it a number to predict? then --kind regression",
                 (long long)seen.classes);
    }
    put_name(options, &out);
    switch (options->kind) {
    case KIND_TABLE:
        put_table(options, &seen, &out);
        break;
    case KIND_TEXT:
        put_text(options, &seen, &out);
        break;
    case KIND_REGRESSION:
        put_regression(options, &seen, &out);
        break;
    case KIND_TRANSFORMER:
        put_transformer(options, &seen, &out);
        break;
    case KIND_IMAGE:
    default:
        put_image(options, &out);
        break;
    }
    if (dlt_is_standard_output(path)) {
        status = dlt_write_out(&out, call->diag);
    } else {
        status = dlt_write_file(path, DLT_WRITE_NEW, &out, call->diag);
        if (status == DLT_OK) {
            dlt_buf word = {0};
            dlt_buf_shell(&word, path);
            fprintf(stderr, "wrote %s\nnext   dltrain check %s\n", path, word.failed ? path : dlt_buf_text(&word));
            dlt_buf_release(&word);
        }
    }
    dlt_buf_release(&out);
    return status;
}

static const char *const examples[] = {"dltrain init --kind table --data train.csv",
                                       "dltrain init --kind text --data input.txt --output char.yaml", NULL};

const dlt_command dlt_command_init = {
    .name = "init",
    .doc = "write a model file to start from",
    .arguments = "",
    .argument = DLT_ARG_NONE,
    .least = 0,
    .most = 0,
    .flags = flags,
    .options_size = sizeof(init_options),
    .text = "Writes a model file to start from: image is a small convolutional network, table classifies the "
            "rows of a CSV file, "
            "regression predicts a number of them, text is a recurrent and transformer an attention model of "
            "characters. A file "
            "that exists is never replaced.",
    .examples = examples,
    .run = run,
};
