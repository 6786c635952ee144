/* trainer/callbacks/callback_csv_logger.c: a line for each epoch in a CSV file: epoch (from 0), then the logs
 * by name.
 *
 * Columns are those of the first epoch; if none of them begins with val_, a val_ column of each is added
 * (validation may run in later epochs only). What an epoch does not have is NA. Lines end with CR LF and
 * numbers read back exactly, both as Python's csv module writes them. The file's length is part of the state,
 * so that a resumed run overwrites lines of epochs that are run again. */
#include "trainer/callbacks/monitor.h"

#include "base/text.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct csv_params {
    const char *filename, *separator;
    bool append;
} csv_params;

static const dlt_field fields[] = {
    DLT_PATH(csv_params, filename, NULL, "the file"),
    DLT_STRING(csv_params, separator, "\",\"", "character between columns"),
    DLT_BOOL(csv_params, append, false, "keep what stands in the file"),
    {0},
};

/* the state: the text holds the columns' names, each ended by a line feed */
enum { OFFSET, HEADER_DONE, COLUMNS_KNOWN }; /* integers */

static void check(const dlt_item *item, dlt_diag *diag)
{
    const csv_params *p = item->params;
    if (strlen(p->separator) != 1 || strchr("\"\r\n", p->separator[0]) != NULL) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "separator"),
                 "CSVLogger: separator must be one character, no quote and no line end");
    }
}

/* Python's csv.excel: a field is quoted only where it must be. */
static void append_field(dlt_buf *out, const char *text, char separator)
{
    const char special[] = {separator, '"', '\r', '\n', '\0'};
    if (strpbrk(text, special) == NULL) {
        dlt_buf_string(out, text);
        return;
    }
    dlt_buf_char(out, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"') {
            dlt_buf_char(out, '"');
        }
        dlt_buf_char(out, *text);
    }
    dlt_buf_char(out, '"');
}

/* Python's repr of a float: shortest digits, a point always, exponents below 1e-4 and from 1e16 on. */
static void append_number(dlt_buf *out, double value)
{
    char text[48];
    dlt_format_double(value, text, sizeof text);
    if (!isfinite(value)) {
        dlt_buf_string(out, text);
        return;
    }
    const bool exponent = strpbrk(text, "eE") != NULL;
    if (exponent && fabs(value) >= 1e-4 && fabs(value) < 1e16) { /* %g prefers 1e+05 to 100000 */
        dlt_buf_printf(out, "%.1f", value);
    } else if (exponent || strchr(text, '.') != NULL) {
        dlt_buf_string(out, text);
    } else {
        dlt_buf_printf(out, "%s.0", text);
    }
}

/* Fixes the columns; false, with a message, if their names are too long to be kept. */
static bool choose_columns(const dlt_item *item, dlt_callback_state *state, const dlt_callback_io *io)
{
    const dlt_logs *logs = io->logs;
    dlt_buf names = {0};
    bool any_val = false;
    for (int i = 0; i < logs->count; i++) {
        dlt_buf_printf(&names, "%s\n", logs->at[i].name);
        any_val = any_val || dlt_text_starts(logs->at[i].name, "val_");
    }
    for (int i = 0; i < logs->count && !any_val; i++) {
        dlt_buf_printf(&names, "val_%s\n", logs->at[i].name);
    }
    const bool fits = !names.failed && names.length < sizeof state->text;
    if (fits) {
        memcpy(state->text, dlt_buf_text(&names), names.length + 1);
        state->integer[COLUMNS_KNOWN] = 1;
    } else if (names.failed) {
        dlt_fail_memory(io->diag);
    } else {
        dlt_warn(io->diag, item->pos, "CSVLogger: too many columns; nothing is written");
    }
    dlt_buf_release(&names);
    return fits;
}

/* The header (logs NULL) or a line of values. */
static void append_line(dlt_buf *out, const dlt_callback_state *state, const dlt_callback_io *io, bool header,
                        char separator)
{
    if (header) {
        dlt_buf_string(out, "epoch");
    } else {
        dlt_buf_printf(out, "%" PRId64, io->epoch);
    }
    for (const char *at = state->text; *at != '\0';) {
        char name[sizeof state->text];
        const size_t length = strcspn(at, "\n");
        memcpy(name, at, length);
        name[length] = '\0';
        at += length + 1;
        dlt_buf_char(out, separator);
        const dlt_log_entry *entry = dlt_logs_find(io->logs, name);
        if (header) {
            append_field(out, name, separator);
        } else if (entry == NULL) {
            dlt_buf_string(out, "NA");
        } else {
            append_number(out, entry->value);
        }
    }
    dlt_buf_string(out, "\r\n");
}

static void train_begin(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io)
{
    const csv_params *p = item->params;
    int64_t size = -1;
    if (p->append && !io->file_size(io->context, p->filename, &size, io->diag)) {
        return;
    }
    state->integer[OFFSET] = size > 0 ? size : 0;
    state->integer[HEADER_DONE] = size > 0;
    if (size <= 0) { /* the file is there, empty, from now on */
        io->write = (dlt_write_request){.path = p->filename, .offset = 0, .text = "", .bytes = 0};
    }
}

static void epoch_end(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io)
{
    const csv_params *p = item->params;
    if (state->integer[COLUMNS_KNOWN] == 0 && !choose_columns(item, state, io)) {
        return;
    }
    int64_t size;
    if (!io->file_size(io->context, p->filename, &size, io->diag)) {
        return;
    }
    if (size < state->integer[OFFSET]) { /* a gap would be filled with NULs */
        dlt_warn(io->diag, item->pos, size < 0 ? "CSVLogger: '%s' is gone, and with it the rows of earlier epochs"
                                               : "CSVLogger: '%s' has lost rows of earlier epochs",
                 p->filename);
        state->integer[OFFSET] = size > 0 ? size : 0;
        state->integer[HEADER_DONE] = size > 0;
    }
    dlt_buf line = {0};
    if (state->integer[HEADER_DONE] == 0) {
        append_line(&line, state, io, true, p->separator[0]);
    }
    append_line(&line, state, io, false, p->separator[0]);
    const char *text = line.failed ? NULL : dlt_arena_copy(io->arena, dlt_buf_text(&line), line.length);
    if (text == NULL) {
        dlt_fail_memory(io->diag);
    } else {
        io->write = (dlt_write_request){p->filename, state->integer[OFFSET], text, line.length};
        state->integer[OFFSET] += (int64_t)line.length;
        state->integer[HEADER_DONE] = 1;
    }
    dlt_buf_release(&line);
}

const dlt_callback_desc dlt_callback_csv_logger = {
    .kind = {.name = "CSVLogger",
             .doc = "writes a line for each epoch to a CSV file",
             .size = sizeof(csv_params),
             .fields = fields,
             .check = check},
    .monitor = -1,
    .mode = -1,
    .train_begin = train_begin,
    .epoch_end = epoch_end,
};
