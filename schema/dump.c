/* schema/dump.c: an effective config as YAML. */
#include "schema/dump.h"

#include "base/num.h"
#include "schema/schema_internal.h"

#include <string.h>

enum {
    LINE_WIDTH = 100,    /* things that fit stand on one line */
    COMMENT_COLUMN = 60, /* origins stand here, or sooner when all lines are short */
    INDENT = 2
};

/* ---- scalars ---- */

/* Words that some reader of YAML takes for something else than a text. */
static bool is_special_word(const char *text)
{
    static const char *const words[] = {"null", "~", "true", "false", "yes",   "no",    "on", "off",
                                        "y",    "n", ".nan", ".inf",  "-.inf", "+.inf", "<<", "="};
    for (size_t i = 0; i < DLT_COUNT(words); i++) {
        if (dlt_text_same(text, words[i])) {
            return true;
        }
    }
    return false;
}

static bool needs_quotes(const char *text)
{
    const size_t length = strlen(text);
    double value = 0;
    int64_t whole = 0;
    if (length == 0 || is_special_word(text) || dlt_read_number(text, length, true, &value) ||
        dlt_parse_i64(text, length, &whole)) {
        return true;
    }
    if (strchr("-?:,[]{}#&*!|>'\"%@` \t$.", text[0]) != NULL && !(text[0] == '.' && text[1] == '/')) {
        return true; /* more than YAML asks for: 1.1 readers are touchier */
    }
    if (text[length - 1] == ' ' || text[length - 1] == ':' || text[length - 1] == '\t') {
        return true;
    }
    /* digits with _ or : are numbers to readers of YAML 1.1 */
    if (text[0] >= '0' && text[0] <= '9' && strspn(text, "0123456789_:.eE+-") == length) {
        return true;
    }
    return strpbrk(text, ",[]{}\"'") != NULL || strstr(text, ": ") != NULL || strstr(text, " #") != NULL;
}

/* True if text needs escapes: control characters and the line ends that only YAML knows. */
static bool needs_escapes(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        const unsigned char u = (unsigned char)*c;
        if (u < 0x20 || u == 0x7F || (u == 0xC2 && (unsigned char)c[1] < 0xA0) ||
            (u == 0xE2 && (unsigned char)c[1] == 0x80 && ((unsigned char)c[2] & 0xFE) == 0xA8) ||
            (u == 0xEF && ((memcmp(c, "\xEF\xBB\xBF", 3) == 0) || (unsigned char)c[1] == 0xBF))) {
            return true;
        }
    }
    return false;
}

/* One character of a text in double quotes; returns its bytes. */
static size_t escape(const char *c, dlt_buf *out)
{
    const unsigned char u = (unsigned char)c[0];
    size_t bytes = u < 0x80 ? 1 : u < 0xE0 ? 2 : u < 0xF0 ? 3 : 4;
    unsigned code = bytes == 1 ? u : u & (bytes == 2 ? 0x1Fu : bytes == 3 ? 0x0Fu : 0x07u);
    for (size_t i = 1; i < bytes; i++) {
        if (c[i] == '\0') {
            bytes = i; /* cut short: never in a valid text */
            break;
        }
        code = code << 6 | ((unsigned char)c[i] & 0x3Fu);
    }
    if (u == '"' || u == '\\') {
        dlt_buf_printf(out, "\\%c", u);
    } else if (u == '\n') {
        dlt_buf_string(out, "\\n");
    } else if (u == '\t') {
        dlt_buf_string(out, "\\t");
    } else if (code < 0x20 || (code >= 0x7F && code < 0xA0)) {
        dlt_buf_printf(out, "\\x%02x", code);
    } else if (code == 0x2028 || code == 0x2029 || code == 0xFEFF || (code >= 0xFFC0 && code <= 0xFFFF)) {
        dlt_buf_printf(out, "\\u%04x", code);
    } else {
        dlt_buf_append(out, c, bytes);
    }
    return bytes;
}

static void quote(const char *t, dlt_buf *out)
{
    if (needs_escapes(t)) {
        dlt_buf_char(out, '"');
        while (*t != '\0') {
            t += escape(t, out);
        }
        dlt_buf_char(out, '"');
    } else if (needs_quotes(t)) {
        dlt_buf_char(out, '\'');
        for (; *t != '\0'; t++) {
            dlt_buf_char(out, *t);
            if (*t == '\'') {
                dlt_buf_char(out, '\'');
            }
        }
        dlt_buf_char(out, '\'');
    } else {
        dlt_buf_string(out, t);
    }
}

void dlt_quote(const char *text, bool string, dlt_buf *out)
{
    if (!string) {
        dlt_buf_string(out, text);
        return;
    }
    dlt_buf dollars = {0}; /* "$$" reads back as "$" */
    for (const char *c = text; *c != '\0'; c++) {
        dlt_buf_char(&dollars, *c);
        if (*c == '$' && (c[1] == '$' || c[1] == '{')) {
            dlt_buf_char(&dollars, '$');
        }
    }
    out->failed = out->failed || dollars.failed;
    quote(dlt_buf_text(&dollars), out);
    dlt_buf_release(&dollars);
}

/* YAML finds a key by its ":" only within 1,024 characters, of which an escaped byte takes four; before a longer one stands "?". */
static bool is_long_key(const char *key)
{
    return strlen(key) > 1000 / 4;
}

void dlt_put_key(const char *key, dlt_buf *out)
{
    const bool is_long = is_long_key(key);
    dlt_buf_string(out, is_long ? "? " : "");
    quote(key, out);
    dlt_buf_string(out, is_long ? " : " : ": ");
}

/* ---- one line ---- */

static bool is_visible(const dlt_shown *s, bool defaults)
{
    if (defaults || s->always || (!s->is_default && !s->section)) {
        return true;
    }
    for (size_t i = 0; s->section && i < s->count; i++) {
        if (is_visible(s->at[i], defaults)) {
            return true;
        }
    }
    return false;
}

/* True if an item stands as its bare name. */
static bool is_bare(const dlt_shown *item, bool defaults)
{
    const dlt_shown *params = item->at[0];
    for (size_t i = 0; i < params->count; i++) {
        if (is_visible(params->at[i], defaults)) {
            return false;
        }
    }
    return true;
}

static void put_entry(const dlt_shown *s, const char *key, bool first, bool defaults, bool canonical,
                      dlt_buf *out)
{
    dlt_buf_string(out, first ? "" : ", ");
    dlt_put_key(key, out);
    dlt_shown_line(s, defaults, canonical, out);
}

void dlt_shown_line(const dlt_shown *shown, bool defaults, bool canonical, dlt_buf *out)
{
    size_t put = 0;
    switch (shown->type) {
    case DLT_YAML_LIST:
        dlt_buf_char(out, '[');
        for (size_t i = 0; i < shown->count; i++) {
            dlt_buf_string(out, i > 0 ? ", " : "");
            dlt_shown_line(shown->at[i], defaults, canonical, out);
        }
        dlt_buf_char(out, ']');
        break;
    case DLT_YAML_MAP:
        if (shown->item && is_bare(shown, defaults)) {
            quote(canonical ? shown->at[0]->canonical : shown->at[0]->key, out);
            break;
        }
        dlt_buf_char(out, '{');
        for (size_t i = 0; i < shown->count; i++) {
            const dlt_shown *s = shown->at[i];
            if (shown->item || is_visible(s, defaults)) {
                put_entry(s, shown->item && canonical ? s->canonical : s->key, put++ == 0, defaults,
                          canonical, out);
            }
        }
        dlt_buf_char(out, '}');
        break;
    case DLT_YAML_NULL:
    case DLT_YAML_SCALAR:
    default:
        dlt_quote(canonical ? shown->canonical : shown->text, shown->string, out);
        break;
    }
}

void dlt_shown_origin(const dlt_shown *shown, const char *file, dlt_buf *out)
{
    const dlt_pos pos = shown->pos;
    if (shown->is_default || pos.file == NULL || pos.line == 0) {
        dlt_buf_string(out, "default");
    } else if (shown->source != NULL && shown->source->origin != NULL) {
        dlt_buf_string(out, shown->source->origin);
    } else if (strcmp(pos.file, "-o") == 0) {
        dlt_buf_string(out, "-o");
    } else if (strcmp(pos.file, file) == 0) {
        dlt_buf_printf(out, "%s:%u:%u", pos.file, pos.line, pos.column);
    } else {
        dlt_buf_printf(out, "include %s:%u", pos.file, pos.line);
    }
}

/* ---- the whole ---- */

typedef struct printer {
    dlt_buf *out;
    const char *file;
    bool defaults, origins;
    bool measuring; /* the first of two passes: finds where the comments can stand */
    size_t column;  /* where they stand */
    dlt_buf line;
} printer;

static void end_line(printer *p, const dlt_shown *about)
{
    if (p->measuring) {
        if (about != NULL && p->line.length > p->column && p->line.length <= COMMENT_COLUMN) {
            p->column = p->line.length;
        }
    } else {
        dlt_buf_append(p->out, dlt_buf_text(&p->line), p->line.length);
        if (p->origins && about != NULL) {
            for (size_t i = p->line.length; i < p->column; i++) {
                dlt_buf_char(p->out, ' ');
            }
            dlt_buf_string(p->out, "  # ");
            dlt_shown_origin(about, p->file, p->out);
        }
        dlt_buf_char(p->out, '\n');
    }
    p->out->failed = p->out->failed || p->line.failed;
    dlt_buf_reset(&p->line);
}

static void indent(printer *p, int columns)
{
    dlt_buf_printf(&p->line, "%*s", columns, "");
}

static bool holds_items(const dlt_shown *s)
{
    if (s->item) {
        return true;
    }
    for (size_t i = 0; i < s->count; i++) {
        if (holds_items(s->at[i])) {
            return true;
        }
    }
    return false;
}

/* True if a list or mapping is best written on the line it begins on. */
static bool on_one_line(const printer *p, const dlt_shown *s, int columns)
{
    if (s->type == DLT_YAML_SCALAR || s->type == DLT_YAML_NULL || s->count == 0) {
        return true;
    }
    if (s->section || (p->origins && holds_items(s) && !(s->item && is_bare(s, p->defaults)))) {
        return false;
    }
    if (s->type == DLT_YAML_LIST) { /* a list of things with parameters reads better one to a line */
        for (size_t i = 0; i < s->count; i++) {
            if (holds_items(s->at[i]) && !(s->at[i]->item && is_bare(s->at[i], p->defaults))) {
                return false;
            }
        }
    }
    dlt_buf line = {0};
    dlt_shown_line(s, p->defaults, false, &line);
    const bool fits =
        !holds_items(s) || columns + (int)dlt_utf8_length(dlt_buf_text(&line), line.length) <= LINE_WIDTH;
    dlt_buf_finish(&line, p->out);
    return fits;
}

static void print_map(printer *p, const dlt_shown *map, int columns);
static void print_list(printer *p, const dlt_shown *list, int columns);

/* A value whose key, or "-", stands on the line already. */
static void print_value(printer *p, const dlt_shown *s, int columns)
{
    if (on_one_line(p, s, (int)p->line.length + 1)) {
        dlt_buf_char(&p->line, ' ');
        dlt_shown_line(s, p->defaults, false, &p->line);
        end_line(p, s);
        return;
    }
    end_line(p, NULL);
    if (s->type == DLT_YAML_LIST) {
        print_list(p, s, columns + INDENT);
    } else {
        print_map(p, s, columns + INDENT);
    }
}

static void print_map(printer *p, const dlt_shown *map, int columns)
{
    for (size_t i = 0; i < map->count; i++) {
        const dlt_shown *s = map->at[i];
        if (!map->item && !is_visible(s, p->defaults)) {
            continue;
        }
        indent(p, columns);
        dlt_buf_string(&p->line, is_long_key(s->key) ? "? " : "");
        quote(s->key, &p->line);
        if (is_long_key(s->key)) {
            end_line(p, NULL);
            indent(p, columns);
        }
        dlt_buf_char(&p->line, ':');
        if (map->item) {
            end_line(p, map);
            print_map(p, s, columns + INDENT);
        } else {
            print_value(p, s, columns);
        }
    }
}

static void print_list(printer *p, const dlt_shown *list, int columns)
{
    for (size_t i = 0; i < list->count; i++) {
        const dlt_shown *s = list->at[i];
        indent(p, columns);
        if (!s->item) {
            dlt_buf_char(&p->line, '-');
            print_value(p, s, columns);
            continue;
        }
        dlt_buf_string(&p->line, "- ");
        if (is_bare(s, p->defaults)) {
            quote(s->at[0]->key, &p->line);
            end_line(p, s);
            continue;
        }
        quote(s->at[0]->key, &p->line);
        dlt_buf_char(&p->line, ':');
        const dlt_shown *params = s->at[0];
        dlt_buf flow = {0};
        dlt_shown_line(params, p->defaults, false, &flow);
        bool lists = false; /* of things: they get lines of their own */
        for (size_t k = 0; k < params->count; k++) {
            lists =
                lists || (is_visible(params->at[k], p->defaults) && params->at[k]->type == DLT_YAML_LIST &&
                          !on_one_line(p, params->at[k], columns));
        }
        const size_t width = p->line.length + 1 + dlt_utf8_length(dlt_buf_text(&flow), flow.length);
        if (!p->origins && !lists && width <= LINE_WIDTH) {
            dlt_buf_char(&p->line, ' ');
            dlt_buf_append(&p->line, dlt_buf_text(&flow), flow.length);
            end_line(p, s);
        } else {
            end_line(p, s);
            print_map(p, params, columns + 2 * INDENT);
        }
        dlt_buf_finish(&flow, p->out);
    }
}

void dlt_spec_dump(const dlt_run_spec *spec, unsigned flags, dlt_buf *out)
{
    printer p = {.out = out,
                 .file = spec->file,
                 .defaults = (flags & DLT_DUMP_DEFAULTS) != 0,
                 .origins = (flags & DLT_DUMP_ORIGINS) != 0,
                 .measuring = (flags & DLT_DUMP_ORIGINS) != 0};
    if (p.measuring) {
        print_map(&p, spec->effective, 0);
        p.measuring = false;
    }
    print_map(&p, spec->effective, 0);
    dlt_buf_finish(&p.line, out);
}
