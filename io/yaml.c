/* io/yaml.c: YAML texts as trees, from libyaml's events.
 *
 * The text is looked through once before libyaml sees it: encoding, control characters and the places of its
 * lines. So positions come from our own table, counted as editors count (libyaml also ends lines at U+0085,
 * U+2028 and U+2029). libyaml is quadratic in nested brackets; it scans at most one line or 1024 characters
 * ahead of its events, and we stop at the 33rd level. libyaml allocates with malloc; its refusals arrive as
 * YAML_MEMORY_ERROR. */
#include "io/yaml.h"

#include "base/alloc.h"
#include "base/text.h"
#include "io/file.h"

#include <string.h>
#include <yaml.h>

/* A line of the text: where it starts. */
typedef struct line_start {
    unsigned index; /* in characters from 0 */
    unsigned byte;
} line_start;

/* A collection that is still open. */
typedef struct frame {
    dlt_yaml *node;
    size_t first;        /* its first entry in reader.entries */
    size_t nodes_before; /* reader.nodes when it began */
    size_t start;        /* index of its first character */
    int height;          /* levels of collections below */
    int anchor;          /* index in reader.anchors, -1: none */
    bool flow;
} frame;

typedef struct anchor {
    uint32_t hash;
    const char *name;
    dlt_yaml *node; /* NULL while its collection is open */
    size_t nodes;
    int height;
} anchor;

typedef struct reader {
    dlt_arena *arena;
    dlt_diag *diag;
    const char *name; /* of the file, in the arena */
    unsigned first_line, first_column;
    const char *text;
    size_t bytes;
    line_start *lines;
    size_t line_count, line_room;
    size_t last_line;                 /* where the last search ended */
    size_t cursor_index, cursor_byte; /* the last index turned into a byte */
    frame frames[DLT_YAML_MAX_DEPTH];
    int depth;
    dlt_yaml **entries; /* of all open collections; keys and values of a mapping in turn */
    size_t entry_count, entry_room;
    size_t nodes;
    anchor *anchors;
    size_t anchor_count, anchor_room;
    dlt_yaml *root;
    size_t errors;
    bool torn; /* a mistake after which the tree is not whole */
} reader;

static uint32_t hash_of(const char *text)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    }
    return hash;
}

static bool grow(void **array, size_t count, size_t *room, size_t size)
{
    if (count < *room) {
        return true;
    }
    const size_t wanted = *room > 0 ? *room * 2 : 64;
    void *grown = dlt_realloc(*array, wanted, size);
    if (grown == NULL) {
        return false;
    }
    *array = grown;
    *room = wanted;
    return true;
}

/* ---- places ---- */

/* The line that holds character `index`. */
static size_t line_of(reader *r, size_t index)
{
    size_t low = r->last_line;
    if (r->lines[low].index > index) {
        low = 0;
    }
    for (int steps = 0; steps < 4 && low + 1 < r->line_count;
         steps++) { /* mostly the same line or the next */
        if (r->lines[low + 1].index > index) {
            r->last_line = low;
            return low;
        }
        low++;
    }
    size_t high = r->line_count; /* lines[low].index <= index < lines[high].index */
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (r->lines[middle].index <= index) {
            low = middle;
        } else {
            high = middle;
        }
    }
    r->last_line = low;
    return low;
}

/* Byte at which character `index` begins. */
static size_t byte_of(reader *r, size_t index)
{
    const size_t line = line_of(r, index);
    if (r->cursor_index > index || r->cursor_index < r->lines[line].index) {
        r->cursor_index = r->lines[line].index;
        r->cursor_byte = r->lines[line].byte;
    }
    while (r->cursor_index < index && r->cursor_byte < r->bytes) {
        r->cursor_byte++;
        while (r->cursor_byte < r->bytes && ((unsigned char)r->text[r->cursor_byte] & 0xC0) == 0x80) {
            r->cursor_byte++;
        }
        r->cursor_index++;
    }
    return r->cursor_byte;
}

/* Number of characters from `index` to the end of its line, blanks at the end not counted. */
static size_t rest_of_line(reader *r, size_t index)
{
    const size_t line = line_of(r, index), start = byte_of(r, index);
    const char *feed = line + 1 < r->line_count ? r->text + r->lines[line + 1].byte - 1 : r->text + r->bytes;
    const char *from = r->text + start;
    while (feed > from && (feed[-1] == ' ' || feed[-1] == '\t' || feed[-1] == '\r')) {
        feed--;
    }
    return dlt_utf8_length(from, (size_t)(feed - from));
}

/* Place of the characters from..to; a token over several lines is shown up to the end of its first one. */
static dlt_pos place(reader *r, size_t from, size_t to)
{
    const size_t line = line_of(r, from);
    size_t span = to > from ? to - from : 1;
    if (line + 1 < r->line_count && to >= r->lines[line + 1].index) {
        span = rest_of_line(r, from);
    }
    dlt_pos pos = {.file = r->name,
                   .line = r->first_line + (unsigned)line,
                   .column = (unsigned)(from - r->lines[line].index) + 1,
                   .span = span > 0 ? (unsigned)span : 1};
    if (line == 0) {
        pos.column += r->first_column - 1;
    }
    return pos;
}

/* libyaml starts a node with an anchor or a tag at that; we want the node's own first character, which lies
 * before character `to` (0: the properties are not the whole of it). */
static size_t skip_properties(reader *r, size_t from, size_t to)
{
    const size_t start = byte_of(r, from), end = to > 0 ? byte_of(r, to) : r->bytes;
    size_t byte = start;
    while (byte < end) {
        const char c = r->text[byte];
        if (c == '&' || c == '!') {
            while (byte < end && strchr(" \t\r\n", r->text[byte]) == NULL) {
                byte++;
            }
        } else if (c == '#') {
            while (byte < end && r->text[byte] != '\n') {
                byte++;
            }
        } else if (strchr(" \t\r\n", c) != NULL) {
            byte++;
        } else {
            return from + dlt_utf8_length(r->text + start, byte - start);
        }
    }
    return from;
}

/* ---- mistakes ---- */

/* Counts a mistake; true when there were so many that the rest is not worth looking at. */
static bool too_many(reader *r)
{
    r->errors++;
    return r->errors >= DLT_YAML_MAX_ERRORS;
}

static dlt_status out_of_memory(reader *r)
{
    r->torn = true;
    return dlt_fail_memory(r->diag);
}

/* One entry for each thing libyaml can complain about. `context` places the message where the broken thing
 * began. */
typedef struct complaint {
    const char *problem;
    const char *context_has; /* NULL, or a word that libyaml's context must hold */
    bool at_context;
    const char *text;
} complaint;

static const complaint complaints[] = {
    {"could not find expected ':'", NULL, true, "a ':' is missing behind this key; write 'key: value'"},
    {"mapping values are not allowed", NULL, false,
     "a ':' cannot stand here; put text that holds ': ' in quotes, and indent the keys of a mapping alike"},
    {"mapping keys are not allowed", NULL, false, "'? ' cannot stand here; write 'key: value'"},
    {"block sequence entries are not allowed", NULL, false,
     "'- ' cannot stand here; start the list on a line of its own"},
    {"did not find expected node content", NULL, false, "a value is missing here"},
    {"found unexpected end of stream", NULL, true, "the quote that opens here is not closed"},
    {"found unexpected document indicator", NULL, true,
     "the quote that opens here is not closed before a line of '---' or '...'"},
    {"found unknown escape character", NULL, false,
     "unknown escape; in double quotes write \\\\ for a backslash, or use single quotes"},
    {"did not find expected hexdecimal number", NULL, false,
     "\\x, \\u and \\U need 2, 4 and 8 hexadecimal digits"},
    {"did not find expected hexadecimal number", NULL, false,
     "\\x, \\u and \\U need 2, 4 and 8 hexadecimal digits"},
    {"found invalid Unicode character escape code", NULL, false, "this escape is no Unicode character"},
    {"found unexpected ':'", NULL, false, "a ':' cannot stand inside this text; put the text in quotes"},
    {"found a tab character", NULL, false, "a tab cannot indent; use blanks"},
    {"found an indentation indicator equal to 0", NULL, false,
     "the indentation behind '|' or '>' counts from 1"},
    {"did not find expected comment or line break", "block scalar", false,
     "behind '|' or '>' the text starts on the next line; put text that begins with them in quotes"},
    {"did not find expected alphabetic or numeric character", "alias", true,
     "'*' starts an alias; put text that begins with it in quotes"},
    {"did not find expected alphabetic or numeric character", NULL, true,
     "'&' starts an anchor; put text that begins with it in quotes"},
    {"found undefined tag handle", NULL, true, "'!' starts a tag; put text that begins with it in quotes"},
    {"", "tag directive", true,
     "a line that begins with '%' is a YAML directive, which is not needed here; remove it"},
    {"", "%TAG", true,
     "a line that begins with '%' is a YAML directive, which is not needed here; remove it"},
    {"", "while scanning a tag", true, "'!' starts a tag; put text that begins with it in quotes"},
    {"", "while parsing a tag", true, "'!' starts a tag; put text that begins with it in quotes"},
    {"", "directive", true,
     "a line that begins with '%' is a YAML directive, which is not needed here; remove it"},
    {"found duplicate %YAML directive", NULL, false, "the %YAML line stands here twice; remove both"},
    {"found duplicate %TAG directive", NULL, false, "the %TAG line stands here twice; remove both"},
    {"found incompatible YAML document", NULL, false,
     "this asks for another version of YAML; remove the %YAML line"},
    {"did not find expected <document start>", NULL, false,
     "nothing may follow here: what the file holds has ended before this"},
    {"control characters are not allowed", NULL, false, "control characters are not allowed"},
};

/* What libyaml's last failure means. */
static dlt_status yaml_failed(reader *r, const yaml_parser_t *parser)
{
    r->torn = true;
    if (parser->error == YAML_MEMORY_ERROR) {
        return dlt_fail_memory(r->diag);
    }
    const char *problem = parser->problem != NULL ? parser->problem : "";
    const char *context = parser->context != NULL ? parser->context : "";
    if (parser->error ==
        YAML_READER_ERROR) { /* bytes are counted here; our own look at the text comes first */
        size_t index = 0;
        for (size_t i = 0; i < parser->problem_offset && i < r->bytes; i++) {
            index += ((unsigned char)r->text[i] & 0xC0) != 0x80;
        }
        return dlt_fail(r->diag, DLT_E_CONFIG, place(r, index, index + 1), "cannot be read as UTF-8 text: %s",
                        problem);
    }
    const size_t at = parser->problem_mark.index, began = parser->context_mark.index;
    const dlt_pos here = place(r, at, at + 1), start = place(r, began, began + 1);
    const size_t byte = byte_of(r, at);
    const char c = byte < r->bytes ? r->text[byte] : '\0';
    if (strcmp(problem, "found character that cannot start any token") == 0) {
        if (c == '\t') {
            return dlt_fail(r->diag, DLT_E_CONFIG, here, "a tab cannot indent; use blanks");
        }
        return dlt_fail(r->diag, DLT_E_CONFIG, here, "'%c' cannot start a value; put the text in quotes", c);
    }
    if (strcmp(problem, "did not find expected key") == 0 && c == ':') {
        return dlt_fail(r->diag, DLT_E_CONFIG, here, "a key is missing before ':'");
    }
    if (strcmp(problem, "did not find expected key") == 0) {
        return dlt_fail(r->diag, DLT_E_CONFIG, here,
                        "this does not line up with the mapping that began on line %u; indent its keys alike",
                        start.line);
    }
    if (strcmp(problem, "did not find expected '-' indicator") == 0) {
        return dlt_fail(r->diag, DLT_E_CONFIG, here,
                        "this does not line up with the list that began on line %u; its entries start with "
                        "'- ' in one column",
                        start.line);
    }
    const bool list = strcmp(problem, "did not find expected ',' or ']'") == 0;
    if (list || strcmp(problem, "did not find expected ',' or '}'") == 0) {
        const size_t open = byte_of(r, began), stopped = byte_of(r, at);
        if ((open > 0 && r->text[open - 1] == '$') ||
            (stopped > 0 && stopped < r->bytes && r->text[stopped] == '{' && r->text[stopped - 1] == '$')) {
            return dlt_fail(r->diag, DLT_E_CONFIG, here,
                            "inside [ ] and { } a variable needs quotes: \"${...}\"");
        }
        return dlt_fail(r->diag, DLT_E_CONFIG, here,
                        "expected ',' or '%c' here: the '%c' of line %u, column %u is still open",
                        list ? ']' : '}', list ? '[' : '{', start.line, start.column);
    }
    for (size_t i = 0; i < DLT_COUNT(complaints); i++) {
        const complaint *known = &complaints[i];
        if (dlt_text_starts(problem, known->problem) &&
            (known->context_has == NULL || strstr(context, known->context_has) != NULL)) {
            return dlt_fail(r->diag, DLT_E_CONFIG, known->at_context && *context != '\0' ? start : here, "%s",
                            known->text);
        }
    }
    return dlt_fail(r->diag, DLT_E_CONFIG, here, "cannot be read as YAML: %s", problem);
}

/* ---- the first look: encoding and lines ---- */

static bool add_line(reader *r, size_t index, size_t byte)
{
    void *lines = r->lines;
    if (!grow(&lines, r->line_count, &r->line_room, sizeof *r->lines)) {
        return false;
    }
    r->lines = lines;
    r->lines[r->line_count++] = (line_start){(unsigned)index, (unsigned)byte};
    return true;
}

/* Bytes of the character at `byte`, 0 if it is not valid UTF-8; *code is its number. */
static size_t decode(const char *text, size_t bytes, size_t byte, unsigned *code)
{
    const unsigned char c = (unsigned char)text[byte];
    if (c < 0x80) {
        *code = c;
        return 1;
    }
    const size_t length = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (length > bytes - byte || !dlt_utf8_valid(text + byte, length)) {
        return 0;
    }
    unsigned value = c & (length == 4 ? 0x07u : length == 3 ? 0x0Fu : 0x1Fu);
    for (size_t i = 1; i < length; i++) {
        value = value << 6 | ((unsigned char)text[byte + i] & 0x3Fu);
    }
    *code = value;
    return length;
}

/* YAML's printable characters (section 5.1 of YAML 1.2) as libyaml has them. */
static bool printable(unsigned code)
{
    return code == '\t' || code == '\n' || code == '\r' || (code >= 0x20 && code <= 0x7E) || code == 0x85 ||
           (code >= 0xA0 && code <= 0xD7FF) || (code >= 0xE000 && code <= 0xFFFD && code != 0xFEFF) ||
           code >= 0x10000;
}

static dlt_status look_through(reader *r)
{
    const char *t = r->text;
    if (r->bytes >= 2 &&
        (memcmp(t, "\xFE\xFF", 2) == 0 || memcmp(t, "\xFF\xFE", 2) == 0 || t[0] == '\0' || t[1] == '\0')) {
        r->torn = true;
        return dlt_fail(r->diag, DLT_E_CONFIG, (dlt_pos){.file = r->name},
                        "this text is UTF-16 or UTF-32; save it as UTF-8");
    }
    if (!add_line(r, 0, 0)) {
        return out_of_memory(r);
    }
    size_t index = 0;
    for (size_t byte = 0; byte < r->bytes; index++) {
        unsigned code = 0;
        const size_t length = decode(t, r->bytes, byte, &code);
        if (length == 0 || !printable(code)) {
            const dlt_pos at = place(r, index, index + 1);
            r->torn = true;
            if (length == 0) {
                return dlt_fail(r->diag, DLT_E_CONFIG, at, "byte 0x%02x is not UTF-8; save the file as UTF-8",
                                (unsigned)(unsigned char)t[byte]);
            }
            return dlt_fail(r->diag, DLT_E_CONFIG, at,
                            "the character U+%04X is not allowed in YAML; remove it", code);
        }
        byte += length;
        if (code == '\n' && !add_line(r, index + 1, byte)) {
            return out_of_memory(r);
        }
    }
    return DLT_OK;
}

/* ---- building ---- */

/* A node with `text` (may be NULL) right behind it. */
static dlt_yaml *new_node(reader *r, dlt_yaml_type type, const char *text, size_t length)
{
    dlt_yaml *node = dlt_arena_alloc(r->arena, 1, sizeof *node + (text != NULL ? length + 1 : 0));
    if (node != NULL) {
        node->type = type;
        if (text != NULL) {
            char *copy = (char *)(node + 1);
            if (length > 0) {
                memcpy(copy, text, length);
            }
            node->text = copy;
            node->length = length;
        }
    }
    return node;
}

/* Counts nodes against the budget; false and a message when it is used up. */
static bool count_nodes(reader *r, size_t more, dlt_pos at)
{
    if (more > DLT_YAML_MAX_NODES - r->nodes) {
        dlt_fail(r->diag, DLT_E_CONFIG, at,
                 "more than %d values in one file, aliases counted as often as they are used",
                 (int)DLT_YAML_MAX_NODES);
        r->torn = true;
        return false;
    }
    r->nodes += more;
    return true;
}

static frame *top(reader *r)
{
    return r->depth > 0 ? &r->frames[r->depth - 1] : NULL;
}

/* True if the next node is a key of a mapping. */
static bool wants_key(const frame *f, const reader *r)
{
    return f != NULL && f->node->type == DLT_YAML_MAP && (r->entry_count - f->first) % 2 == 0;
}

/* Hangs a finished or just opened node into the collection around it. */
static dlt_status hang(reader *r, dlt_yaml *node)
{
    frame *f = top(r);
    if (f == NULL) {
        r->root = node;
        return DLT_OK;
    }
    if (wants_key(f, r)) {
        if (node->type == DLT_YAML_LIST || node->type == DLT_YAML_MAP) {
            r->torn = true;
            return dlt_fail(r->diag, DLT_E_CONFIG, node->pos, "a key must be a word, not a %s",
                            node->type == DLT_YAML_LIST ? "list" : "mapping");
        }
        if (node->type == DLT_YAML_NULL && node->text == NULL) {
            r->torn = true;
            return dlt_fail(r->diag, DLT_E_CONFIG, node->pos, "a key is missing before ':'");
        }
    }
    void *entries = r->entries;
    if (!grow(&entries, r->entry_count, &r->entry_room, sizeof *r->entries)) {
        return out_of_memory(r);
    }
    r->entries = entries;
    r->entries[r->entry_count++] = node;
    return DLT_OK;
}

/* Remembers an anchor; *index is -1 when the node has none. */
static dlt_status add_anchor(reader *r, const yaml_char_t *name, dlt_yaml *node, int *index)
{
    *index = -1;
    if (name == NULL) {
        return DLT_OK;
    }
    if (r->anchor_count == DLT_YAML_MAX_ANCHORS) {
        r->torn = true;
        return dlt_fail(r->diag, DLT_E_CONFIG, node->pos, "more than %d anchors in one file",
                        (int)DLT_YAML_MAX_ANCHORS);
    }
    void *anchors = r->anchors;
    const char *copy = dlt_arena_string(r->arena, (const char *)name);
    if (copy == NULL || !grow(&anchors, r->anchor_count, &r->anchor_room, sizeof *r->anchors)) {
        return out_of_memory(r);
    }
    r->anchors = anchors;
    *index = (int)r->anchor_count;
    r->anchors[r->anchor_count++] = (anchor){.hash = hash_of(copy), .name = copy, .node = node, .nodes = 1};
    return DLT_OK;
}

static const char core_prefix[] = "tag:yaml.org,2002:"; /* what `!!` stands for */

/* The word of a tag of the core set, "" for the tag '!' (a string, list or mapping as it stands), NULL for
 * any other. */
static const char *core_tag(const char *tag)
{
    static const char *const known[] = {"str", "int", "float", "bool", "null", "seq", "map"};
    if (strcmp(tag, "!") == 0) {
        return "";
    }
    for (size_t i = 0; dlt_text_starts(tag, core_prefix) && i < DLT_COUNT(known); i++) {
        if (strcmp(tag + sizeof core_prefix - 1, known[i]) == 0) {
            return known[i];
        }
    }
    return NULL;
}

static bool is_null_word(const char *text, size_t length)
{
    return length == 0 || (length == 1 && text[0] == '~') ||
           (length == 4 &&
            (memcmp(text, "null", 4) == 0 || memcmp(text, "Null", 4) == 0 || memcmp(text, "NULL", 4) == 0));
}

/* What a tag makes of a node of type `type`; a foreign or unfitting one is a mistake. */
static dlt_status apply_tag(reader *r, const yaml_char_t *tag, dlt_yaml *node, dlt_pos at)
{
    if (tag == NULL) {
        return DLT_OK;
    }
    const char *word = core_tag((const char *)tag);
    const bool list = node->type == DLT_YAML_LIST, map = node->type == DLT_YAML_MAP;
    bool fits = word != NULL;
    if (fits && *word != '\0') {
        fits = strcmp(word, "seq") == 0 ? list : strcmp(word, "map") == 0 ? map : !list && !map;
    }
    if (!fits) {
        if (word != NULL) {
            dlt_fail(r->diag, DLT_E_CONFIG, at, "the tag '!!%s' does not fit this value; remove it", word);
        } else {
            const char *name = (const char *)tag;
            const bool core = dlt_text_starts(name, core_prefix);
            dlt_fail(
                r->diag, DLT_E_CONFIG, at,
                "the tag '%s%s' is not known here; remove it, or put text that begins with '!' in quotes",
                core ? "!!" : "", core ? name + sizeof core_prefix - 1 : name);
        }
        r->torn = r->torn || too_many(r);
        return r->torn ? DLT_E_CONFIG : DLT_OK;
    }
    if (list || map) {
        return DLT_OK;
    }
    if (*word == '\0' || strcmp(word, "str") == 0) {
        node->type = DLT_YAML_SCALAR;
        node->quoted = true;
    } else if (strcmp(word, "null") == 0) {
        node->type = is_null_word(node->text, node->length) ? DLT_YAML_NULL : DLT_YAML_SCALAR;
    } else {
        node->type = DLT_YAML_SCALAR; /* the schema reads it as a number or a boolean if that is wanted */
        node->quoted = false;
    }
    return DLT_OK;
}

static dlt_status add_scalar(reader *r, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    const size_t length = event->data.scalar.length;
    const bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    const bool has_properties = event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL;
    const size_t first = event->start_mark.index, end = event->end_mark.index;
    const size_t start = has_properties ? skip_properties(r, first, end) : first;
    const dlt_pos at = place(r, start, end);
    if (length > DLT_YAML_MAX_SCALAR) {
        r->torn = true;
        return dlt_fail(r->diag, DLT_E_CONFIG, at, "this text has %zu bytes; at most %d are read", length,
                        (int)DLT_YAML_MAX_SCALAR);
    }
    if (!count_nodes(r, 1, at)) {
        return DLT_E_CONFIG;
    }
    const bool empty = plain && length == 0;
    const bool null = plain && is_null_word(text, length);
    dlt_yaml *node = new_node(r, null ? DLT_YAML_NULL : DLT_YAML_SCALAR, empty ? NULL : text, length);
    if (node == NULL) {
        return out_of_memory(r);
    }
    node->quoted = !plain;
    node->pos = at;
    if (length > 0 && memchr(text, '\0', length) != NULL) {
        dlt_fail(r->diag, DLT_E_CONFIG, at, "a text must not hold the character U+0000");
        node->length = strlen(node->text);
        if (too_many(r)) {
            r->torn = true;
            return DLT_E_CONFIG;
        }
    }
    DLT_TRY(apply_tag(r, event->data.scalar.tag, node, place(r, first, first + 1)));
    if (node->type == DLT_YAML_SCALAR && node->text == NULL) {
        node->text = "";
    }
    int index = -1;
    DLT_TRY(add_anchor(r, event->data.scalar.anchor, node, &index));
    return hang(r, node);
}

static dlt_status open_collection(reader *r, dlt_yaml_type type, const yaml_event_t *event,
                                  const yaml_char_t *name, const yaml_char_t *tag, bool flow)
{
    const size_t first = event->start_mark.index;
    /* the mark ends behind the properties, not behind what they belong to */
    const size_t start = name != NULL || tag != NULL ? skip_properties(r, first, 0) : first;
    const dlt_pos at = place(r, start, start + 1);
    if (r->depth == DLT_YAML_MAX_DEPTH) {
        r->torn = true;
        return dlt_fail(r->diag, DLT_E_CONFIG, at, "nested more than %d levels deep",
                        (int)DLT_YAML_MAX_DEPTH);
    }
    if (!count_nodes(r, 1, at)) {
        return DLT_E_CONFIG;
    }
    dlt_yaml *node = new_node(r, type, NULL, 0);
    if (node == NULL) {
        return out_of_memory(r);
    }
    node->pos = at;
    DLT_TRY(apply_tag(r, tag, node, place(r, first, first + 1)));
    int index = -1;
    DLT_TRY(add_anchor(r, name, node, &index));
    if (index >= 0) {
        r->anchors[index].node = NULL; /* until it is closed */
    }
    DLT_TRY(hang(r, node));
    r->frames[r->depth++] = (frame){.node = node,
                                    .first = r->entry_count,
                                    .nodes_before = r->nodes - 1,
                                    .start = start,
                                    .anchor = index,
                                    .flow = flow};
    return DLT_OK;
}

/* ---- duplicate keys ---- */

/* Complains about keys that stand twice and about merge keys, and drops them; *count becomes the pairs left.
 */
static dlt_status check_keys(reader *r, dlt_yaml **entries, size_t *count)
{
    const size_t pairs = *count;
    size_t *order = dlt_alloc_zeroed(pairs, sizeof *order);
    const char **texts = dlt_alloc_zeroed(pairs, sizeof *texts);
    if (order == NULL || texts == NULL) {
        dlt_free(order);
        dlt_free(texts);
        return out_of_memory(r);
    }
    dlt_status status = DLT_OK;
    bool dropped = false;
    for (size_t i = 0; i < pairs; i++) {
        texts[i] = entries[2 * i]->text;
    }
    dlt_sort_texts(texts, order, pairs);
    for (size_t i = 0, first = 0; i < pairs && status == DLT_OK; i++) {
        dlt_yaml *key = entries[2 * order[i]];
        if (i == 0 || strcmp(entries[2 * order[first]]->text, key->text) != 0) {
            first = i;
            if (strcmp(key->text, "<<") == 0 && !key->quoted) {
                dlt_fail(r->diag, DLT_E_CONFIG, key->pos,
                         "merge keys ('<<') are not read; write the keys out, or use 'include'");
            } else {
                continue;
            }
        } else {
            const dlt_pos before = entries[2 * order[first]]->pos;
            const dlt_detail detail = {.key = key->text, .found = key->text};
            dlt_fail_detail(r->diag, DLT_E_CONFIG, key->pos, &detail,
                            "key '%s' stands here twice; the first is on line %u, column %u", key->text,
                            before.line, before.column);
        }
        entries[2 * order[i] + 1] = NULL; /* dropped; its key is still compared with */
        dropped = true;
        if (too_many(r)) {
            r->torn = true;
            status = DLT_E_CONFIG;
        }
    }
    dlt_free(order);
    dlt_free(texts);
    if (dropped && status == DLT_OK) {
        size_t kept = 0;
        for (size_t i = 0; i < pairs; i++) {
            if (entries[2 * i + 1] != NULL) {
                entries[2 * kept] = entries[2 * i];
                entries[2 * kept + 1] = entries[2 * i + 1];
                kept++;
            }
        }
        *count = kept;
    }
    return status;
}

static dlt_status close_collection(reader *r, const yaml_event_t *event)
{
    frame f = r->frames[--r->depth];
    dlt_yaml **entries = r->entries != NULL ? r->entries + f.first : NULL, *node = f.node;
    const size_t entry_count = entries != NULL ? r->entry_count - f.first : 0;
    node->count = node->type == DLT_YAML_MAP ? entry_count / 2 : entry_count;
    if (node->type == DLT_YAML_MAP && node->count > 0) {
        DLT_TRY(check_keys(r, entries, &node->count));
    }
    const size_t lists = node->type == DLT_YAML_MAP ? 2 : 1;
    dlt_yaml **kept = dlt_arena_alloc(r->arena, node->count * lists, sizeof(dlt_yaml *));
    if (kept == NULL) {
        return out_of_memory(r);
    }
    for (size_t i = 0; i < node->count; i++) {
        for (size_t k = 0; k < lists; k++) {
            kept[k * node->count + i] = entries[lists * i + k];
        }
    }
    if (node->type == DLT_YAML_MAP) {
        node->keys = kept;
        node->values = kept + node->count;
    } else {
        node->values = kept;
    }
    if (f.flow) {
        node->pos = place(r, f.start, event->end_mark.index);
    } else if (node->type == DLT_YAML_MAP && node->count > 0) {
        node->pos.span = node->keys[0]->pos.span;
    }
    r->entry_count = f.first;
    if (f.anchor >= 0) {
        r->anchors[f.anchor].node = node;
        r->anchors[f.anchor].nodes = r->nodes - f.nodes_before;
        r->anchors[f.anchor].height = f.height + 1;
    }
    frame *outer = top(r);
    if (outer != NULL && outer->height < f.height + 1) {
        outer->height = f.height + 1;
    }
    return DLT_OK;
}

static dlt_status add_alias(reader *r, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    const dlt_pos at = place(r, event->start_mark.index, event->end_mark.index);
    const uint32_t hash = hash_of(name);
    const anchor *found = NULL;
    for (size_t i = r->anchor_count; i > 0 && found == NULL; i--) { /* the last of a name counts */
        if (r->anchors[i - 1].hash == hash && strcmp(r->anchors[i - 1].name, name) == 0) {
            found = &r->anchors[i - 1];
        }
    }
    if (found == NULL) {
        r->torn = true;
        return dlt_fail(r->diag, DLT_E_CONFIG, at,
                        "'*%s' names no anchor above (&%s); put text that begins with '*' in quotes", name,
                        name);
    }
    if (found->node == NULL) {
        r->torn = true;
        return dlt_fail(r->diag, DLT_E_CONFIG, at, "'*%s' stands inside what it refers to", name);
    }
    if (r->depth + found->height > DLT_YAML_MAX_DEPTH) {
        r->torn = true;
        return dlt_fail(r->diag, DLT_E_CONFIG, at, "nested more than %d levels deep",
                        (int)DLT_YAML_MAX_DEPTH);
    }
    if (!count_nodes(r, found->nodes, at)) {
        return DLT_E_CONFIG;
    }
    frame *f = top(r);
    const int height = found->height;
    dlt_yaml *node = found->node;
    DLT_TRY(hang(r, node));
    if (f != NULL && f->height < height) {
        f->height = height;
    }
    return DLT_OK;
}

/* ---- the loop over events ---- */

static dlt_status take(reader *r, const yaml_event_t *event, int *documents)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++*documents > 1) {
            r->torn = true;
            return dlt_fail(r->diag, DLT_E_CONFIG,
                            place(r, event->start_mark.index, event->start_mark.index + 3),
                            "a second document begins here; keep one to a file");
        }
        return DLT_OK;
    case YAML_SCALAR_EVENT:
        return add_scalar(r, event);
    case YAML_ALIAS_EVENT:
        return add_alias(r, event);
    case YAML_SEQUENCE_START_EVENT:
        return open_collection(r, DLT_YAML_LIST, event, event->data.sequence_start.anchor,
                               event->data.sequence_start.tag,
                               event->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE);
    case YAML_MAPPING_START_EVENT:
        return open_collection(r, DLT_YAML_MAP, event, event->data.mapping_start.anchor,
                               event->data.mapping_start.tag,
                               event->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return close_collection(r, event);
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
    default:
        return DLT_OK;
    }
}

static dlt_status run(reader *r)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        return out_of_memory(r);
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)r->text, r->bytes);
    dlt_status status = DLT_OK;
    int documents = 0;
    for (bool done = false; !done && status == DLT_OK;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = yaml_failed(r, &parser);
            break;
        }
        done = event.type == YAML_STREAM_END_EVENT;
        status = take(r, &event, &documents);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return status;
}

dlt_status dlt_yaml_parse_part(dlt_arena *arena, dlt_pos at, const char *text, size_t bytes, dlt_yaml **root,
                               dlt_diag *diag)
{
    *root = NULL;
    const char *name = dlt_arena_string(arena, at.file);
    if (name == NULL) {
        return dlt_fail_memory(diag);
    }
    if (bytes > DLT_YAML_MAX_BYTES) {
        return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){.file = name}, "has %zu bytes; at most %d are read",
                        bytes, (int)DLT_YAML_MAX_BYTES);
    }
    reader r = {.arena = arena,
                .diag = diag,
                .name = name,
                .first_line = at.line,
                .first_column = at.column,
                .text = text,
                .bytes = bytes};
    dlt_status status = look_through(&r);
    if (status == DLT_OK) {
        status = run(&r);
    }
    if (status == DLT_OK && r.root == NULL) {
        r.root = new_node(&r, DLT_YAML_NULL, NULL, 0);
        if (r.root == NULL) {
            status = out_of_memory(&r);
        } else {
            r.root->pos = (dlt_pos){name, at.line, at.column, 1};
        }
    }
    if (status == DLT_OK && r.errors > 0) {
        status = DLT_E_CONFIG;
    }
    if (!r.torn && !dlt_arena_failed(arena)) {
        *root = r.root;
    }
    dlt_free(r.lines);
    dlt_free(r.entries);
    dlt_free(r.anchors);
    return status;
}

dlt_status dlt_yaml_parse(dlt_arena *arena, const char *name, const char *text, size_t bytes, dlt_yaml **root,
                          dlt_diag *diag)
{
    static const char mark[] = "\xEF\xBB\xBF"; /* byte order mark */
    if (bytes >= 3 && memcmp(text, mark, 3) == 0) {
        text += 3;
        bytes -= 3;
    }
    if (bytes <= DLT_YAML_MAX_BYTES && diag != NULL) {
        const size_t errors = dlt_diag_count(diag, DLT_ERROR);
        dlt_diag_add_source(diag, name, text, bytes);
        if (dlt_diag_count(diag, DLT_ERROR) > errors) {
            *root = NULL;
            return DLT_E_MEMORY; /* the diag has said so */
        }
    }
    return dlt_yaml_parse_part(arena, (dlt_pos){name, 1, 1, 1}, text, bytes, root, diag);
}

dlt_status dlt_yaml_load(dlt_arena *arena, const char *path, dlt_yaml **root, dlt_diag *diag)
{
    char *text = NULL;
    size_t bytes = 0;
    *root = NULL;
    DLT_TRY(dlt_file_load(path, DLT_YAML_MAX_BYTES, DLT_E_CONFIG, (dlt_pos){0}, &text, &bytes, diag));
    const dlt_status status =
        dlt_yaml_parse(arena, strcmp(path, "-") == 0 ? "stdin" : path, text, bytes, root, diag);
    dlt_free(text);
    return status;
}

const dlt_yaml *dlt_yaml_get(const dlt_yaml *map, const char *key)
{
    if (map == NULL || map->type != DLT_YAML_MAP) {
        return NULL;
    }
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->keys[i]->text, key) == 0) {
            return map->values[i];
        }
    }
    return NULL;
}
