/* io/data/csv_parse.c: blocks of CSV text into packed records. */
#include "io/data/csv_internal.h"

#include "base/alloc.h"
#include "base/num.h"

#include <math.h>
#include <string.h>

/* ---- where records end ---- */

enum { AT_RECORD, AT_FIELD, IN_FIELD, IN_QUOTES, BEHIND_QUOTE, IN_COMMENT };

static bool is_blank(const csv_dialect *dialect, char c)
{
    return (c == ' ' || c == '\t') && c != dialect->delimiter;
}

void csv_split_more(csv_split *split, const csv_dialect *dialect, const char *text, size_t bytes)
{
    if (split->plain) {
        /* without quotes every line feed ends a record: the last one is found from behind */
        if (memchr(text + split->at, '"', bytes - split->at) == NULL) {
            for (size_t i = bytes; i > split->at; i--) {
                if (text[i - 1] == '\n') {
                    split->boundary = i;
                    break;
                }
            }
            split->at = bytes;
            return;
        }
        split->plain = false;
        split->at = split->boundary;
        split->state = AT_RECORD;
    }
    int state = split->state;
    for (size_t i = split->at; i < bytes; i++) {
        const char c = text[i];
        if (state == IN_QUOTES) {
            const char *quote = memchr(text + i, '"', bytes - i);
            if (quote == NULL) {
                break;
            }
            i = (size_t)(quote - text);
            state = BEHIND_QUOTE;
        } else if (c == '\n') {
            split->boundary = i + 1;
            state = AT_RECORD;
        } else if (state == AT_RECORD && dialect->comment != '\0' && c == dialect->comment) {
            state = IN_COMMENT;
        } else if (state == AT_RECORD || state == AT_FIELD) {
            if (c == '"') {
                split->quote_at = i;
                state = IN_QUOTES;
            } else if (c == dialect->delimiter) {
                state = AT_FIELD;
            } else if (!dialect->trim || !is_blank(dialect, c)) {
                state = IN_FIELD;
            } else {
                state = AT_FIELD;
            }
        } else if (state == BEHIND_QUOTE) {
            state = c == '"' ? IN_QUOTES : c == dialect->delimiter ? AT_FIELD : IN_FIELD;
        } else if (state == IN_FIELD && c == dialect->delimiter) {
            state = AT_FIELD;
        }
    }
    split->state = state;
    split->at = bytes;
}

bool csv_split_in_quotes(const csv_split *split)
{
    return !split->plain && split->state == IN_QUOTES;
}

/* ---- one field ---- */

/* A field as it was found: `end` is where the delimiter, the line's end or the text's end stands. */
typedef struct field {
    const char *start; /* first byte behind blanks, the quote included: what messages point at */
    const char *text;  /* value */
    size_t length;
    const char *end;
    unsigned lines;        /* line feeds inside */
    const char *last_line; /* where the last line inside begins; NULL if lines is 0 */
    bool behind_quote;     /* something stands between the closing quote and the end */
    bool quoted;
} field;

static bool grow_scratch(csv_block *block, size_t bytes)
{
    if (block->scratch_room >= bytes) {
        return true;
    }
    char *scratch = dlt_realloc(block->scratch, bytes, 1);
    if (scratch == NULL) {
        return false;
    }
    block->scratch = scratch;
    block->scratch_room = bytes;
    return true;
}

static bool ends_field(const csv_dialect *dialect, const char *at, const char *end)
{
    return at == end || *at == dialect->delimiter || *at == '\n' ||
           (*at == '\r' && (at + 1 == end || at[1] == '\n'));
}

/* A quoted field; `at` stands on the opening quote. false when memory is refused. */
static bool take_quoted(const csv_dialect *dialect, csv_block *block, const char *at, const char *end,
                        field *f)
{
    const char *start = at + 1, *from = start;
    size_t copied = 0;
    bool doubled = false;
    const char *quote = NULL;
    f->quoted = true;
    for (;;) {
        quote = memchr(from, '"', (size_t)(end - from));
        if (quote == NULL || quote + 1 == end || quote[1] != '"') {
            break;
        }
        /* "" is one quote: the value is put together in the scratch */
        const size_t piece = (size_t)(quote + 1 - (doubled ? from : start));
        if (!grow_scratch(block, (size_t)(end - at))) {
            return false;
        }
        memcpy(block->scratch + copied, doubled ? from : start, piece);
        copied += piece;
        doubled = true;
        from = quote + 2;
    }
    const char *close = quote != NULL ? quote : end; /* the reader sees to it that there is one */
    if (doubled) {
        memcpy(block->scratch + copied, from, (size_t)(close - from));
        f->text = block->scratch;
        f->length = copied + (size_t)(close - from);
    } else {
        f->text = start;
        f->length = (size_t)(close - start);
    }
    for (const char *feed = start; (feed = memchr(feed, '\n', (size_t)(close - feed))) != NULL; feed++) {
        f->lines++;
        f->last_line = feed + 1;
    }
    at = close < end ? close + 1 : end;
    while (at < end && dialect->trim && is_blank(dialect, *at)) {
        at++;
    }
    f->behind_quote = !ends_field(dialect, at, end);
    while (at < end && *at != dialect->delimiter && *at != '\n') {
        at++;
    }
    f->end = at > start && at[-1] == '\r' && (at == end || *at == '\n') && !f->behind_quote ? at - 1 : at;
    return true;
}

/* The field that begins at `at`. A carriage return that ends no line is left in the value. false when memory
 * is refused. */
static bool take_field(const csv_dialect *dialect, csv_block *block, const char *at, const char *end,
                       field *f)
{
    *f = (field){0};
    while (dialect->trim && at < end && is_blank(dialect, *at)) {
        at++;
    }
    f->start = at;
    if (at < end && *at == '"') {
        return take_quoted(dialect, block, at, end, f);
    }
    f->text = at;
    while (at < end && *at != dialect->delimiter && *at != '\n') {
        at++;
    }
    if (at > f->text && at[-1] == '\r' && (at == end || *at == '\n')) {
        at--;
    }
    f->end = at;
    while (dialect->trim && at > f->text && is_blank(dialect, at[-1])) {
        at--;
    }
    f->length = (size_t)(at - f->text);
    return true;
}

bool csv_is_missing(const csv_plan *plan, const char *text, size_t length)
{
    if (length == 0) {
        return true;
    }
    for (size_t i = 0; i < plan->missing_count; i++) {
        if (plan->missing[i].length == length && memcmp(plan->missing[i].at, text, length) == 0) {
            return true;
        }
    }
    return false;
}

csv_text csv_mapped_label(const dlt_string_map *map, const char *text, size_t length)
{
    for (size_t i = 0; map != NULL && i < map->count; i++) {
        if (strlen(map->key[i]) == length && memcmp(map->key[i], text, length) == 0) {
            return (csv_text){map->value[i], strlen(map->value[i])};
        }
    }
    return (csv_text){text, length};
}

/* ---- walking ---- */

/* Past blank and comment lines; false at the end. *lines counts what was passed. */
static bool find_record(const csv_dialect *dialect, const char **at, const char *end, unsigned *lines)
{
    while (*at < end) {
        const char *c = *at;
        if (dialect->comment != '\0' && *c == dialect->comment) {
            const char *feed = memchr(c, '\n', (size_t)(end - c));
            *at = feed != NULL ? feed + 1 : end;
            *lines += feed != NULL;
            continue;
        }
        while (dialect->trim && c < end && is_blank(dialect, *c)) {
            c++;
        }
        if (c < end && *c == '\r' && (c + 1 == end || c[1] == '\n')) {
            c++;
        }
        if (c < end && *c != '\n') {
            return true;
        }
        *lines += c < end;
        *at = c < end ? c + 1 : end;
    }
    return false;
}

bool csv_walk_record(csv_walk *walk)
{
    return find_record(walk->dialect, &walk->at, walk->end, &walk->lines);
}

bool csv_walk_field(csv_walk *walk, csv_text *text, bool *more)
{
    field f;
    if (!take_field(walk->dialect, walk->block, walk->at, walk->end, &f)) {
        walk->no_memory = true;
        return false;
    }
    *text = (csv_text){f.text, f.length};
    walk->lines += f.lines;
    const char *at = f.end;
    *more = at < walk->end && *at == walk->dialect->delimiter;
    if (!*more) {
        at += at < walk->end && *at == '\r';
        walk->lines += at < walk->end && *at == '\n';
    }
    walk->at = at < walk->end ? at + 1 : at;
    return true;
}

/* ---- a block ---- */

void csv_block_release(csv_block *block, size_t part_count)
{
    dlt_free(block->text);
    dlt_free(block->records);
    for (size_t i = 0; block->words != NULL && i < part_count; i++) {
        dlt_words_release(&block->words[i]);
    }
    dlt_free(block->words);
    dlt_free(block->stats);
    dlt_free(block->distinct);
    dlt_free(block->scratch);
    *block = (csv_block){0};
}

bool csv_block_prepare(csv_block *block, const csv_plan *plan)
{
    if (block->words == NULL) {
        block->words = dlt_alloc_zeroed(plan->part_count, sizeof *block->words);
    }
    if (block->stats == NULL) {
        block->stats = dlt_alloc_zeroed(plan->part_count, sizeof *block->stats);
    }
    if (block->distinct == NULL && plan->count_distinct) {
        block->distinct = dlt_alloc_zeroed(plan->part_count, sizeof *block->distinct);
    }
    return block->words != NULL && block->stats != NULL && (block->distinct != NULL || !plan->count_distinct);
}

/* What is going on while a block is parsed. */
typedef struct parser {
    csv_block *block;
    const csv_plan *plan;
    const char *at, *end;
    const char *line_start;
    size_t field;     /* index of the column */
    bool cut_wrongly; /* the record's fields could not be told apart, and that was said */
} parser;

/* Characters from the beginning of the line, from 1: what an editor shows (continuation bytes of UTF-8 do not
 * count). */
static unsigned column_of(const char *line_start, const char *at)
{
    unsigned column = 1;
    for (const char *c = line_start; c < at; c++) {
        column += ((unsigned char)*c & 0xc0) != 0x80;
    }
    return column;
}

static void complain(parser *p, csv_fault fault, const char *at, const char *text, size_t length,
                     size_t count)
{
    csv_block *block = p->block;
    p->cut_wrongly = p->cut_wrongly || fault == CSV_FAULT_QUOTE || fault == CSV_FAULT_RETURN;
    if (block->error_count == CSV_MOST_ERRORS) {
        block->errors_more++;
        return;
    }
    csv_error *error = &block->errors[block->error_count++];
    *error = (csv_error){.fault = fault,
                         .line = block->lines,
                         .column = column_of(p->line_start, at),
                         .field = p->field,
                         .count = count};
    error->text_length = length < sizeof error->text ? length : sizeof error->text;
    while (error->text_length < length && error->text_length > 0 &&
           ((unsigned char)text[error->text_length] & 0xc0) == 0x80) { /* not in the middle of a character */
        error->text_length--;
    }
    memcpy(error->text, text, error->text_length);
}

static void put_number(parser *p, const csv_column *column, unsigned char *record, double value)
{
    memcpy(record + column->offset, &value, sizeof value);
    dlt_part_stats_number(&p->block->stats[column->part], value);
    if (p->block->distinct != NULL) {
        dlt_distinct_add(&p->block->distinct[column->part], value);
    }
}

static void put_missing(parser *p, const csv_column *column, unsigned char *record, const field *f)
{
    if (column->value_needed) {
        complain(p, CSV_FAULT_MISSING, f->start, f->text, f->length, 0);
    }
    p->block->stats[column->part].missing++;
    if (column->action == CSV_TEXT) {
        const int32_t missing = DLT_CODE_MISSING;
        memcpy(record + column->offset, &missing, sizeof missing);
    } else {
        const double missing = (double)NAN;
        memcpy(record + column->offset, &missing, sizeof missing);
    }
}

static void put_number_field(parser *p, const csv_column *column, unsigned char *record, const field *f)
{
    double value = 0;
    csv_text text = {f->text, f->length};
    if (column->is_label) {
        text = csv_mapped_label(p->plan->label_map, text.at, text.length);
    }
    if (csv_is_missing(p->plan, text.at, text.length)) {
        put_missing(p, column, record, f);
    } else if (dlt_parse_double(text.at, text.length, &value)) {
        if (column->whole && value != floor(value)) {
            complain(p, CSV_FAULT_WHOLE, f->start, f->text, f->length, 0);
        } else if (column->is_weight && value < 0) {
            complain(p, CSV_FAULT_WEIGHT, f->start, f->text, f->length, 0);
        }
        put_number(p, column, record, value);
    } else if (dlt_parse_special(text.at, text.length, &value) && isnan(value)) {
        put_missing(p, column, record, f);
    } else {
        complain(p, CSV_FAULT_NUMBER, f->start, f->text, f->length, 0);
    }
}

static void put_text(parser *p, const csv_column *column, unsigned char *record, const field *f)
{
    csv_text text = {f->text, f->length};
    if (column->is_label) {
        text = csv_mapped_label(p->plan->label_map, text.at, text.length);
    }
    if (csv_is_missing(p->plan, text.at, text.length)) {
        put_missing(p, column, record, f);
        return;
    }
    int32_t code = dlt_words_find(column->known, text.at, text.length);
    if (code < 0 && text.length > DLT_WORDS_LONGEST) {
        complain(p, CSV_FAULT_LONG, f->start, f->text, f->length, f->length);
        return;
    }
    if (code < 0 && column->grows) {
        if (memchr(text.at, '\0', text.length) != NULL) {
            complain(p, CSV_FAULT_NUL, f->start, f->text, f->length, 0);
            return;
        }
        if (!dlt_utf8_valid(text.at, text.length)) {
            complain(p, CSV_FAULT_UTF8, f->start, f->text, f->length, 0);
            return;
        }
        code = dlt_words_add(&p->block->words[column->part], text.at, text.length);
        if (code == DLT_WORDS_FULL) {
            p->block->full_part = (int)column->part;
        }
        p->block->no_memory = p->block->no_memory || code == DLT_WORDS_NO_MEMORY;
        code = code < 0 ? 0 : code;
        code += (int32_t)column->known->dictionary.count;
    } else if (code < 0 && column->is_label) {
        complain(p, CSV_FAULT_LABEL, f->start, f->text, f->length, 0);
    } else if (code < 0) {
        code = DLT_CODE_UNSEEN;
    }
    memcpy(record + column->offset, &code, sizeof code);
}

/* The field at p->at by the general way; moves to its end. */
static void general_field(parser *p, unsigned char *record)
{
    const csv_dialect *dialect = &p->plan->dialect;
    field f;
    if (!take_field(dialect, p->block, p->at, p->end, &f)) {
        p->block->no_memory = true;
        p->at = p->end;
        return;
    }
    if (f.behind_quote) {
        complain(p, CSV_FAULT_QUOTE, f.start, f.start, (size_t)(f.end - f.start), 0);
    } else if (!f.quoted && memchr(f.text, '\r', (size_t)(f.end - f.text)) != NULL) {
        const char *at = memchr(f.text, '\r', (size_t)(f.end - f.text));
        complain(p, CSV_FAULT_RETURN, at, "", 0, 0);
    } else if (p->field < p->plan->column_count) {
        const csv_column *column = &p->plan->columns[p->field];
        if (column->action == CSV_NUMBER) {
            put_number_field(p, column, record, &f);
        } else if (column->action == CSV_TEXT) {
            put_text(p, column, record, &f);
        }
    }
    if (f.lines > 0) {
        p->block->lines += f.lines;
        p->line_start = f.last_line;
    }
    p->at = f.end;
}

/* A number that stands in its field as most do: no quotes, nothing odd. False (and nothing moved) when it
 * does not. */
static bool quick_number(parser *p, const csv_column *column, unsigned char *record)
{
    const csv_dialect *dialect = &p->plan->dialect;
    const char *at = p->at;
    double value = 0;
    while (dialect->trim && at < p->end && is_blank(dialect, *at)) {
        at++;
    }
    at = dlt_scan_double(at, p->end, &value);
    if (at == NULL) {
        return false;
    }
    while (dialect->trim && at < p->end && is_blank(dialect, *at)) {
        at++;
    }
    if (!ends_field(dialect, at, p->end) || column->whole || column->is_weight) {
        return false;
    }
    put_number(p, column, record, value);
    p->at = at;
    return true;
}

/* The record at p->at. The row counts if nothing was wrong with it. */
static void parse_record(parser *p)
{
    csv_block *block = p->block;
    const csv_plan *plan = p->plan;
    unsigned char *record = block->records + (size_t)block->rows * plan->record_bytes;
    const char *start = p->at;
    const size_t errors = block->error_count, more = block->errors_more;
    const unsigned lines = block->lines;
    p->line_start = start;
    p->cut_wrongly = false;
    for (p->field = 0;; p->field++) {
        const bool known = p->field < plan->column_count;
        const csv_column *column = &plan->columns[known ? p->field : 0];
        if (!known || column->action != CSV_NUMBER || plan->missing_first ||
            (column->is_label && plan->label_map != NULL) || !quick_number(p, column, record)) {
            general_field(p, record);
        }
        if (p->at == p->end || *p->at != plan->dialect.delimiter) {
            break;
        }
        p->at++;
    }
    const size_t found = p->field + 1;
    const unsigned lines_inside = block->lines - lines;
    if (found != plan->column_count && !p->cut_wrongly && !block->no_memory) { /* else their number is no news */
        block->error_count = errors; /* what fields in the wrong places were said to be matters no more */
        block->errors_more = more;
        block->lines = lines;
        p->line_start = start;
        complain(p, CSV_FAULT_COLUMNS, start, "", 0, found);
        block->lines = lines + lines_inside;
    }
    if (block->error_count == errors && block->errors_more == more) {
        block->rows++;
    }
    if (p->at < p->end && *p->at == '\r') {
        p->at++;
    }
    if (p->at < p->end && *p->at == '\n') {
        p->at++;
        block->lines++;
    }
}

static bool make_row(csv_block *block, const csv_plan *plan)
{
    if (block->rows < block->row_room) {
        return true;
    }
    const int64_t room = block->row_room > 0 ? block->row_room * 2 : 256;
    unsigned char *records = dlt_realloc(block->records, (size_t)room, plan->record_bytes);
    if (records == NULL) {
        return false;
    }
    /* what lies between and behind the parts of a record must be the same in every run */
    memset(records + (size_t)block->row_room * plan->record_bytes, 0,
           (size_t)(room - block->row_room) * plan->record_bytes);
    block->records = records;
    block->row_room = room;
    return true;
}

void csv_parse(csv_block *block, const csv_plan *plan)
{
    parser p = {
        .block = block, .plan = plan, .at = block->text + block->start, .end = block->text + block->end};
    block->rows = 0;
    block->lines = 0;
    block->error_count = 0;
    block->errors_more = 0;
    block->full_part = -1;
    for (size_t i = 0; i < plan->part_count; i++) {
        dlt_words_reset(&block->words[i]);
        block->stats[i] = (dlt_part_stats){.least = (double)NAN, .most = (double)NAN, .whole = true};
    }
    while (!block->no_memory && find_record(&plan->dialect, &p.at, p.end, &block->lines)) {
        if (!make_row(block, plan)) {
            block->no_memory = true;
            break;
        }
        parse_record(&p);
    }
}
