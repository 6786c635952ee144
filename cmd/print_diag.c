/* cmd/print_diag.c: messages for people and for machines. */
#include "cmd/print_diag.h"

#include "base/json.h"
#include "cmd/exit_codes.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { TAB_STOP = 8, GUTTER = 8 /* "    9 | " */, DOTS = 3 };

/* ---- widths ---- */

typedef struct range {
    unsigned first, last;
} range;

static bool in_ranges(unsigned code, const range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (code >= ranges[i].first && code <= ranges[i].last) {
            return true;
        }
    }
    return false;
}

/* Columns that a character takes on a terminal. wcwidth needs setlocale, which would make numbers depend on
 * the locale. */
static int width_of(unsigned code)
{
    static const range zero[] = {{0x0300, 0x036F},  {0x0483, 0x0489}, {0x0591, 0x05BD}, {0x0610, 0x061A},
                                 {0x064B, 0x065F},  {0x0E34, 0x0E3A}, {0x0E47, 0x0E4E}, {0x1AB0, 0x1AFF},
                                 {0x1DC0, 0x1DFF},  {0x200B, 0x200F}, {0x202A, 0x202E}, {0x2060, 0x2064},
                                 {0x20D0, 0x20FF},  {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}, {0xFEFF, 0xFEFF},
                                 {0xE0100, 0xE01EF}};
    static const range wide[] = {
        {0x1100, 0x115F}, {0x2E80, 0x303E},   {0x3041, 0x33FF},   {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},
        {0xA000, 0xA4CF}, {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},
        {0xFFE0, 0xFFE6}, {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
    if (in_ranges(code, zero, DLT_COUNT(zero))) {
        return 0;
    }
    return in_ranges(code, wide, DLT_COUNT(wide)) ? 2 : 1;
}

/* Next character of a line: its bytes; *code is its number, or '?' where it must not reach a terminal. */
static size_t next_character(const char *line, size_t length, unsigned *code)
{
    const unsigned char c = (unsigned char)line[0];
    size_t bytes = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    if (bytes > length || !dlt_utf8_valid(line, bytes)) {
        *code = '?';
        return 1;
    }
    unsigned value = bytes == 1 ? c : c & (bytes == 2 ? 0x1Fu : bytes == 3 ? 0x0Fu : 0x07u);
    for (size_t i = 1; i < bytes; i++) {
        value = value << 6 | ((unsigned char)line[i] & 0x3Fu);
    }
    const bool control = (value < 0x20 && value != '\t') || (value >= 0x7F && value < 0xA0) ||
                         (value >= 0x202A && value <= 0x202E);
    *code = control ? '?' : value;
    return bytes;
}

/* ---- the excerpt ---- */

/* A line laid out in columns. */
typedef struct layout {
    int start, end; /* columns of the token */
    int columns;    /* of the whole line */
} layout;

static int columns_of(unsigned code, int at)
{
    return code == '\t' ? TAB_STOP - at % TAB_STOP : width_of(code);
}

static layout lay_out(const char *line, size_t length, unsigned column, unsigned span)
{
    layout l = {.start = -1, .end = -1};
    unsigned character = 1;
    for (size_t i = 0; i < length; character++) {
        unsigned code = 0;
        l.start = character == column ? l.columns : l.start;
        l.end = character == column + span ? l.columns : l.end;
        i += next_character(line + i, length - i, &code);
        l.columns += columns_of(code, l.columns);
    }
    if (l.start < 0) { /* behind the last character: something is missing there */
        l.start = l.columns + (int)(column > character ? column - character : 0);
    }
    l.end = l.end <= l.start ? (column + span >= character ? l.columns : l.start + 1) : l.end;
    l.end = l.end <= l.start ? l.start + 1 : l.end;
    return l;
}

/* Appends the columns from..to of a line. */
static void put_columns(const char *line, size_t length, int from, int to, dlt_buf *out)
{
    int at = 0;
    for (size_t i = 0; i < length && at < to;) {
        unsigned code = 0;
        const size_t bytes = next_character(line + i, length - i, &code);
        const int columns = columns_of(code, at);
        if (code == '\t') {
            for (int k = 0; k < columns; k++, at++) {
                if (at >= from && at < to) {
                    dlt_buf_char(out, ' ');
                }
            }
            i += bytes;
            continue;
        }
        if (at >= from && at + columns <= to) {
            if (code == '?') {
                dlt_buf_char(out, '?');
            } else {
                dlt_buf_append(out, line + i, bytes);
            }
        } else if (at + columns > from && at < to) { /* half of a wide character */
            dlt_buf_char(out, ' ');
        }
        at += columns;
        i += bytes;
    }
}

static void put_excerpt(const dlt_diag *diag, dlt_pos pos, const dlt_print_options *options, dlt_buf *out)
{
    size_t length = 0;
    const char *line = pos.line > 0 ? dlt_diag_source_line(diag, pos.file, pos.line, &length) : NULL;
    if (line == NULL) {
        return;
    }
    const layout l = lay_out(line, length, pos.column, pos.span > 0 ? pos.span : 1);
    const int room = options->width > GUTTER + 20 ? options->width - GUTTER : 20;
    int from = 0, to = l.columns;
    if (l.columns > room) { /* show the part around the token, some of what stands before it */
        const int before = room / 3, most = l.columns + 1 - room; /* a token may stand just behind the line */
        from = l.end <= room - DOTS ? 0 : l.start > before ? l.start - before : 0;
        from = from > most ? most : from;
        to = from + room < l.columns ? from + room : l.columns;
    }
    const int last = l.end < to || to == l.columns ? l.end : to;
    dlt_buf_printf(out, "%5u | ", pos.line);
    if (from > 0) { /* what is left out shows as dots */
        dlt_buf_string(out, "...");
    }
    put_columns(line, length, from > 0 ? from + DOTS : 0, to < l.columns ? to - DOTS : to, out);
    if (to < l.columns) {
        dlt_buf_string(out, "...");
    }
    dlt_buf_printf(out, "\n      | %*s%s", l.start - from, "", options->color ? "\033[1;31m" : "");
    for (int i = l.start; i < last; i++) {
        dlt_buf_char(out, '^');
    }
    dlt_buf_printf(out, "%s\n", options->color ? "\033[0m" : "");
}

/* ---- messages ---- */

static const char *severity_word(dlt_severity severity)
{
    return severity == DLT_ERROR ? "error" : severity == DLT_WARNING ? "warning" : "note";
}

void dlt_print_messages(const dlt_diag *diag, const dlt_print_options *options, dlt_buf *out)
{
    for (size_t i = 0; i < dlt_diag_size(diag); i++) {
        const dlt_message *m = dlt_diag_at(diag, i);
        const bool placed = m->pos.file != NULL;
        if (placed) {
            dlt_buf_string(out, options->color ? "\033[1m" : "");
            dlt_buf_escaped(out, m->pos.file, strlen(m->pos.file));
            if (m->pos.line > 0) {
                dlt_buf_printf(out, ":%u:%u", m->pos.line, m->pos.column);
            }
            dlt_buf_printf(out, ":%s ", options->color ? "\033[0m" : "");
        }
        if (!placed || m->severity != DLT_ERROR) { /* what has a place is plainly a mistake there */
            dlt_buf_printf(out, "%s: ", severity_word(m->severity));
        }
        dlt_buf_printf(out, "%s\n", m->text);
        put_excerpt(diag, m->pos, options, out);
    }
}

static void put_text(dlt_json *json, const char *key, const char *text)
{
    dlt_json_key(json, key);
    dlt_json_string(json, text != NULL && *text != '\0' ? text : NULL);
}

static void put_count(dlt_json *json, const char *key, unsigned count)
{
    dlt_json_key(json, key);
    if (count > 0) {
        dlt_json_int(json, count);
    } else {
        dlt_json_null(json);
    }
}

void dlt_print_messages_json(const dlt_diag *diag, dlt_buf *out)
{
    for (size_t i = 0; i < dlt_diag_size(diag); i++) {
        const dlt_message *m = dlt_diag_at(diag, i);
        const bool placed = m->pos.line > 0;
        dlt_json json;
        dlt_json_init(&json, out, 0);
        dlt_json_open(&json, '{');
        put_text(&json, "file", m->pos.file);
        put_count(&json, "line", placed ? m->pos.line : 0);
        put_count(&json, "column", placed ? m->pos.column : 0);
        put_count(&json, "span", placed ? m->pos.span : 0);
        put_text(&json, "severity", severity_word(m->severity));
        put_text(&json, "code", dlt_status_word(m->status));
        put_text(&json, "key", m->detail.key);
        put_text(&json, "found", m->detail.found);
        put_text(&json, "allowed", m->detail.allowed);
        put_text(&json, "nearest", m->detail.nearest);
        put_text(&json, "text", m->text);
        dlt_json_close(&json, '}');
        dlt_buf_char(out, '\n');
    }
}

void dlt_print_summary(const dlt_diag *diag, const char *file, dlt_buf *out)
{
    const size_t errors = dlt_diag_count(diag, DLT_ERROR),
                 warnings = dlt_diag_count(diag, DLT_WARNING) - errors;
    if (errors + warnings == 0) {
        return;
    }
    if (errors > 0) {
        dlt_buf_printf(out, "%zu error%s", errors, errors > 1 ? "s" : "");
    }
    if (warnings > 0) {
        dlt_buf_printf(out, "%s%zu warning%s", errors > 0 ? ", " : "", warnings, warnings > 1 ? "s" : "");
    }
    dlt_buf_string(out, " in ");
    dlt_buf_escaped(out, file, strlen(file));
    dlt_buf_char(out, '\n');
}

dlt_print_options dlt_print_options_for(int fd)
{
    enum { DEFAULT_WIDTH = 80, NARROWEST = 40, WIDEST = 200 };
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM"), *columns = getenv("COLUMNS");
    struct winsize size = {0};
    const bool terminal = isatty(fd) == 1;
    dlt_print_options options = {.width = DEFAULT_WIDTH};
    options.color =
        terminal && (no_color == NULL || *no_color == '\0') && term != NULL && strcmp(term, "dumb") != 0;
    if (terminal && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        options.width = size.ws_col;
    } else if (columns != NULL) {
        options.width = (int)strtol(columns, NULL, 10);
    }
    options.width = options.width < NARROWEST ? DEFAULT_WIDTH
                    : options.width > WIDEST  ? WIDEST
                                              : options.width;
    return options;
}
