/* io/data/source_csv.c: tables in CSV files (RFC 4180, and what real files have besides: formats.md 11).
 *
 * The first records settle the types of the columns: number, or text where a value is none. Text becomes
 * codes into a dictionary in order of first appearance. Blocks of records are parsed side by side and put
 * together in their order, so the result does not depend on the number of threads. */
#include "io/data/csv_internal.h"

#include "base/alloc.h"
#include "base/num.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { HEADER_AUTO, HEADER_TRUE, HEADER_FALSE };
static const char *const header_names[] = {"auto", "true", "false", NULL};
static const char *const type_names[] = {"number", "text", "integer", NULL};
enum { TYPE_NUMBER, TYPE_TEXT, TYPE_INTEGER, TYPE_COUNT, TYPE_UNKNOWN = TYPE_COUNT };

typedef struct csv_params {
    dlt_strings path;
    dlt_columns target, columns, sample_weight;
    int header;
    const char *delimiter;
    dlt_strings missing;
    bool trim;
    int64_t skip_rows;
    dlt_string_map label_map, types;
    const char *comment;
} csv_params;

static const dlt_field csv_fields[] = {
    DLT_PATHS(csv_params, path, NULL, "file, pattern or list of them; gzip is told by its content"),
    DLT_COLUMNS(csv_params, target, "null", "column(s) to predict: names, or numbers from 0, -1 the last"),
    DLT_COLUMNS(csv_params, columns, "null",
                "input columns, in this order; default: all others, in the file's order"),
    DLT_COLUMNS(csv_params, sample_weight, "null", "column that holds the weights of the records"),
    DLT_ENUM(csv_params, header, header_names, auto,
             "whether the first record holds the names of the columns"),
    DLT_STRING(csv_params, delimiter, "','", "one character between fields, or tab, or auto"),
    DLT_STRINGS(csv_params, missing, "['', NA, N/A, NaN, nan, 'null', 'NULL', None, '?']",
                "texts that stand for a missing value; an empty field always does"),
    DLT_BOOL(csv_params, trim, true, "take blanks around fields away"),
    DLT_INT(csv_params, skip_rows, 0, 1000000000, 0, "lines at the front of each file to pass over"),
    DLT_STRING_MAP(csv_params, label_map,
                   "texts of the target to replace before anything else is done with them"),
    DLT_STRING_MAP(csv_params, types,
                   "types of columns that should not be inferred: number, text or integer"),
    DLT_STRING(csv_params, comment, "null", "character that begins a comment line"),
    {0},
};

typedef struct csv_state {
    csv_reader reader;
    csv_plan plan;
    csv_column *columns;      /* plan.columns */
    const char *const *names; /* of the file's columns */
    bool named;               /* from a header */

    csv_block *first, *last; /* read, oldest first */
    csv_block *spare;
    csv_block **all; /* every block there is */
    size_t all_count, queued;
    bool at_end;
    dlt_status broken; /* why nothing more can be read, but for the end */

    csv_block *current; /* being handed out, from current_row on */
    int64_t current_row;
    unsigned line;           /* of the next record to be put together, in its file */
    size_t shown, not_shown; /* errors */
    const char *labels[CSV_MOST_ERRORS]; /* unknown ones that were shown */
    size_t label_count;
    int64_t looked_at;       /* records that settled the types */
    bool settled;

    /* helpers: everything above that is about the queue is under `lock` while there are any */
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    pthread_t *helpers;
    size_t helper_count;
    bool quit;
} csv_state;

/* ---- checks of the parameters alone ---- */

/* The byte that a delimiter or comment stands for, 0 if it is not one byte. */
static char one_byte(const char *text)
{
    if (strcmp(text, "tab") == 0 || strcmp(text, "\\t") == 0) {
        return '\t';
    }
    return strlen(text) == 1 ? text[0] : '\0';
}

static int type_of(const char *name)
{
    for (int i = 0; i < TYPE_COUNT; i++) {
        if (strcmp(name, type_names[i]) == 0) {
            return i;
        }
    }
    return TYPE_UNKNOWN;
}

static void csv_check(const dlt_item *item, dlt_diag *diag)
{
    const csv_params *p = item->params;
    const char delimiter = one_byte(p->delimiter);
    if (strcmp(p->delimiter, "auto") != 0 && (delimiter == '\0' || strchr("\"\r\n.+-", delimiter) != NULL ||
                                              (delimiter >= '0' && delimiter <= '9'))) {
        dlt_fail(
            diag, DLT_E_CONFIG, dlt_item_pos(item, "delimiter"),
            "CSV: delimiter must be one character that no number or quote has, or tab, or auto, found '%s'",
            p->delimiter);
    }
    if (p->comment != NULL && (strlen(p->comment) != 1 || strchr("\"\r\n", p->comment[0]) != NULL ||
                               (delimiter != '\0' && p->comment[0] == delimiter))) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "comment"),
                 "CSV: comment must be one character other than a quote and the delimiter, found '%s'",
                 p->comment);
    }
    if (p->sample_weight.count > 1) {
        dlt_fail(diag, DLT_E_CONFIG, p->sample_weight.at[1].pos,
                 "CSV: sample_weight must be one column, found %zu", p->sample_weight.count);
    }
    for (size_t i = 0; i < p->types.count; i++) {
        if (type_of(p->types.value[i]) == TYPE_UNKNOWN) {
            const int near = dlt_nearest(p->types.value[i], type_names, TYPE_COUNT);
            const dlt_detail detail = {.key = "types",
                                       .found = p->types.value[i],
                                       .allowed = "number, text, integer",
                                       .nearest = near >= 0 ? type_names[near] : NULL};
            dlt_fail_detail(diag, DLT_E_CONFIG,
                            p->types.pos != NULL ? p->types.pos[i] : dlt_item_pos(item, "types"), &detail,
                            "CSV: type of column '%s' must be number, text or integer, found '%s'%s%s%s",
                            p->types.key[i], p->types.value[i], near >= 0 ? "; did you mean '" : "",
                            near >= 0 ? type_names[near] : "", near >= 0 ? "'?" : "");
        }
    }
}

/* ---- the queue of blocks ---- */

/* True if a field of a header makes the name; a field that is no name makes the column's number. */
static bool makes_name(const csv_text *field, size_t column, const char *name)
{
    char number[24];
    if (field->length > 0 && memchr(field->at, '\0', field->length) == NULL) {
        return strlen(name) == field->length && memcmp(name, field->at, field->length) == 0;
    }
    snprintf(number, sizeof number, "%zu", column);
    return strcmp(number, name) == 0;
}

/* The header that every file begins with, after the first: it must be the same. */
static dlt_status pass_header(csv_state *s, csv_block *block, dlt_diag *diag)
{
    csv_walk walk = {.dialect = &s->plan.dialect,
                     .at = block->text + block->start,
                     .end = block->text + block->end,
                     .block = block};
    const char *path = s->reader.paths->at[block->file];
    bool more = csv_walk_record(&walk);
    const unsigned line = 1 + block->lines_before + walk.lines;
    for (size_t i = 0; more; i++) {
        csv_text name = {0};
        if (!csv_walk_field(&walk, &name, &more)) {
            return dlt_fail_memory(diag);
        }
        const char *wanted = i < s->plan.column_count ? s->names[i] : NULL;
        if (wanted == NULL || !makes_name(&name, i, wanted)) {
            return dlt_fail(
                diag, DLT_E_DATA, (dlt_pos){path, line, 1, 0},
                "column %zu is '%.*s', but '%s' in '%s'; files that are read together need the same header",
                i, (int)(name.length < 64 ? name.length : 64), name.at, wanted != NULL ? wanted : "not there",
                s->reader.paths->at[0]);
        }
        if (!more && i + 1 < s->plan.column_count) {
            return dlt_fail(diag, DLT_E_DATA, (dlt_pos){path, line, 1, 0},
                            "the header has %zu columns, that of '%s' has %zu", i + 1, s->reader.paths->at[0],
                            s->plan.column_count);
        }
    }
    block->start = (size_t)(walk.at - block->text);
    block->lines_before += walk.lines;
    return DLT_OK;
}

static csv_block *take_spare(csv_state *s)
{
    csv_block *block = s->spare;
    if (block != NULL) {
        s->spare = block->next;
        block->next = NULL;
        return block;
    }
    csv_block **all = dlt_realloc(s->all, s->all_count + 1, sizeof *all);
    if (all == NULL) {
        return NULL;
    }
    s->all = all;
    block = dlt_alloc_zeroed(1, sizeof *block);
    if (block != NULL) {
        s->all[s->all_count++] = block;
    }
    return block;
}

static void give_spare(csv_state *s, csv_block *block)
{
    block->next = s->spare;
    s->spare = block;
}

/* Reads one more block into the queue. */
static dlt_status fetch(csv_state *s, dlt_diag *diag)
{
    csv_block *block = take_spare(s);
    bool got = false;
    if (block == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_status status = csv_reader_next(&s->reader, block, &got, diag);
    if (status == DLT_OK && got && block->file_start && block->file > 0 && s->named) { /* decided already */
        status = pass_header(s, block, diag);
    }
    if (status == DLT_OK && got && s->plan.columns != NULL && !csv_block_prepare(block, &s->plan)) {
        status = dlt_fail_memory(diag);
    }
    if (status != DLT_OK || !got) {
        give_spare(s, block);
        s->at_end = true;
        return status;
    }
    if (s->helper_count > 0) {
        pthread_mutex_lock(&s->lock);
    }
    if (s->last != NULL) {
        s->last->next = block;
    } else {
        s->first = block;
    }
    s->last = block;
    s->queued++;
    if (s->helper_count > 0) {
        pthread_cond_signal(&s->work);
        pthread_mutex_unlock(&s->lock);
    }
    return DLT_OK;
}

static void *help(void *context)
{
    csv_state *s = context;
    pthread_mutex_lock(&s->lock);
    while (!s->quit) {
        csv_block *block = s->first;
        while (block != NULL && block->state != CSV_READ) {
            block = block->next;
        }
        if (block == NULL) {
            pthread_cond_wait(&s->work, &s->lock);
            continue;
        }
        block->state = CSV_PARSING;
        pthread_mutex_unlock(&s->lock);
        csv_parse(block, &s->plan);
        pthread_mutex_lock(&s->lock);
        block->state = CSV_PARSED;
        pthread_cond_signal(&s->done);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Helpers that parse while this thread reads and puts together. Where they cannot be had, it does all by
 * itself. */
static void start_helpers(csv_state *s, int threads)
{
    s->helpers = dlt_alloc_zeroed((size_t)threads, sizeof *s->helpers);
    if (s->helpers == NULL) {
        return;
    }
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the thread that handles them */
    pthread_mutex_lock(&s->lock);                /* nobody looks at helper_count until it is final */
    for (int i = 1; i < threads; i++) {
        if (pthread_create(&s->helpers[s->helper_count], NULL, help, s) != 0) {
            break;
        }
        s->helper_count++;
    }
    pthread_mutex_unlock(&s->lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void stop_helpers(csv_state *s)
{
    if (s->helper_count > 0) {
        pthread_mutex_lock(&s->lock);
        s->quit = true;
        pthread_cond_broadcast(&s->work);
        pthread_mutex_unlock(&s->lock);
        for (size_t i = 0; i < s->helper_count; i++) {
            pthread_join(s->helpers[i], NULL);
        }
        s->helper_count = 0;
    }
    dlt_free(s->helpers);
    s->helpers = NULL;
}

/* The oldest block, parsed and out of the queue; NULL at the end. */
static dlt_status next_parsed(dlt_source *source, csv_block **parsed, dlt_diag *diag)
{
    csv_state *s = source->state;
    const int threads = source->options.threads;
    *parsed = NULL;
    /* one block in work for each thread and one on either side; just one where rows come from a pipe */
    const size_t wanted = threads > 1 && !source->options.predict ? (size_t)threads + 2 : 1;
    while (!s->at_end && s->queued < wanted) {
        s->broken = fetch(s, diag);
        if (s->broken != DLT_OK && s->broken != DLT_E_DATA) {
            return s->broken;
        }
    }
    if (s->first == NULL) { /* what is in front of a break is looked at first, however many threads there are */
        return s->broken;
    }
    if (wanted > 1 && s->helpers == NULL && s->queued == wanted) {
        start_helpers(s, threads);
    }
    if (s->helper_count > 0) {
        pthread_mutex_lock(&s->lock);
    }
    csv_block *block = s->first;
    if (block->state == CSV_READ) {
        block->state = CSV_PARSING;
        if (s->helper_count > 0) {
            pthread_mutex_unlock(&s->lock);
        }
        csv_parse(block, &s->plan);
        if (s->helper_count > 0) {
            pthread_mutex_lock(&s->lock);
        }
        block->state = CSV_PARSED;
    }
    while (block->state != CSV_PARSED) {
        pthread_cond_wait(&s->done, &s->lock);
    }
    s->first = block->next;
    s->last = s->first != NULL ? s->last : NULL;
    s->queued--;
    if (s->helper_count > 0) {
        pthread_mutex_unlock(&s->lock);
    }
    block->next = NULL;
    *parsed = block;
    return DLT_OK;
}

/* ---- which columns there are ---- */

static bool same_text(const csv_text *text, const char *name)
{
    return strlen(name) == text->length && memcmp(name, text->at, text->length) == 0;
}

/* Fields of the record that the walk stands at, copied; *count of them. NULL when memory is refused. */
static csv_text *take_record(dlt_arena *arena, csv_walk *walk, size_t *count)
{
    csv_text *fields = NULL;
    size_t room = 0;
    bool more = true;
    *count = 0;
    while (more && *count < CSV_MOST_COLUMNS) {
        csv_text field = {0};
        if (*count == room) {
            csv_text *grown = dlt_realloc(fields, room > 0 ? room * 2 : 64, sizeof *fields);
            if (grown == NULL) {
                dlt_free(fields);
                return NULL;
            }
            fields = grown;
            room = room > 0 ? room * 2 : 64;
        }
        if (!csv_walk_field(walk, &field, &more)) {
            dlt_free(fields);
            return NULL;
        }
        fields[(*count)++] = (csv_text){dlt_arena_copy(arena, field.at, field.length), field.length};
    }
    if (dlt_arena_failed(arena)) {
        dlt_free(fields);
        return NULL;
    }
    return fields;
}

static bool has_field(const csv_text *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (same_text(&fields[i], name)) {
            return true;
        }
    }
    return false;
}

static bool has_name(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static bool refers_to(const dlt_columns *columns, const csv_text *fields, size_t count)
{
    for (size_t i = 0; i < columns->count; i++) {
        if (!columns->at[i].number && has_field(fields, count, columns->at[i].name)) {
            return true;
        }
    }
    return false;
}

/* What the records behind the first one have in each column. */
enum { SEEN_NUMBER = 1, SEEN_TEXT = 2, SEEN_FIRST_AGAIN = 4 };

/* Notes the fields of records from the walk on; *records counts them up to DLT_PROBE_RECORDS. */
static bool note_fields(const csv_state *s, csv_walk *walk, const csv_text *first, size_t count,
                        unsigned char *seen, int64_t *records)
{
    double number = 0;
    while (*records < DLT_PROBE_RECORDS && csv_walk_record(walk)) {
        bool more = true;
        for (size_t i = 0; more; i++) {
            csv_text field = {0};
            if (!csv_walk_field(walk, &field, &more)) {
                return false;
            }
            if (i < count && !csv_is_missing(&s->plan, field.at, field.length)) {
                const bool again =
                    field.length == first[i].length && memcmp(field.at, first[i].at, field.length) == 0;
                seen[i] |= dlt_parse_double(field.at, field.length, &number) ? SEEN_NUMBER : SEEN_TEXT;
                seen[i] |= again ? SEEN_FIRST_AGAIN : 0;
            }
        }
        ++*records;
    }
    return true;
}

/* Whether the first record looks like names: none is a number, and what follows in some column is numbers; or they differ and
 * what follows is never again what stands in the first record. Reads on in the first file as far
 * as need be. */
static dlt_status looks_like_header(csv_state *s, csv_walk walk, const csv_text *fields, size_t count,
                                    bool *header, dlt_diag *diag)
{
    enum { MOST_BYTES = 16 << 20 };
    double number = 0;
    bool any = false, numbers = false, again = false, repeated = false;
    *header = false;
    for (size_t i = 0; i < count; i++) {
        if (dlt_parse_double(fields[i].at, fields[i].length, &number)) {
            return DLT_OK;
        }
        any = any || fields[i].length > 0;
        for (size_t k = 0; k < i && count <= 1024; k++) {
            if (fields[k].length == fields[i].length &&
                memcmp(fields[k].at, fields[i].at, fields[i].length) == 0) {
                repeated = true;
            }
        }
    }
    unsigned char *seen = dlt_alloc_zeroed(count, 1);
    if (seen == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_status status = DLT_OK;
    int64_t records = 0;
    size_t bytes = 0;
    for (csv_block *block = walk.block; block != NULL && block->file == walk.block->file;) {
        if (block != walk.block) {
            walk.at = block->text + block->start;
            walk.end = block->text + block->end;
        }
        if (!note_fields(s, &walk, fields, count, seen, &records)) {
            status = dlt_fail_memory(diag);
            break;
        }
        bytes += block->end - block->start;
        if (block->next == NULL && !s->at_end && records < DLT_PROBE_RECORDS && bytes < MOST_BYTES) {
            status = fetch(s, diag);
            if (status != DLT_OK) {
                break;
            }
        }
        block = records < DLT_PROBE_RECORDS ? block->next : NULL;
    }
    for (size_t i = 0; i < count; i++) {
        numbers = numbers || (seen[i] & (SEEN_NUMBER | SEEN_TEXT)) == SEEN_NUMBER;
        again = again || (seen[i] & SEEN_FIRST_AGAIN) != 0;
    }
    dlt_free(seen);
    *header = any && (numbers || (records > 0 && !again && !repeated));
    return status;
}

/* What the reader found: the file's quotes or lines go on without end. */
static void report_open_end(dlt_source *source, const csv_block *block, dlt_diag *diag)
{
    csv_state *s = source->state;
    dlt_pos at = {s->reader.paths->at[block->file], s->line, 1, 0};
    const size_t upto = block->open_quote != SIZE_MAX ? block->open_quote : block->end;
    for (size_t i = block->start; i < upto; i++) {
        at.column = block->text[i] == '\n' ? 1 : at.column + (((unsigned char)block->text[i] & 0xc0) != 0x80);
        at.line += block->text[i] == '\n';
    }
    s->shown++;
    if (block->open_quote != SIZE_MAX) {
        dlt_fail(diag, DLT_E_DATA, at, "this quote is never closed");
    } else {
        dlt_fail(diag, DLT_E_DATA, at, "a record is longer than %d MiB", CSV_RECORD_BYTES >> 20);
    }
}

/* Reads the first block, decides about the header and takes the names. */
static dlt_status find_names(dlt_source *source, dlt_diag *diag)
{
    const csv_params *p = source->item->params;
    const dlt_frame *train = source->options.follow;
    csv_state *s = source->state;
    csv_walk walk = {0};
    csv_block *block = NULL;
    unsigned line = 1;
    for (bool found = false; !found;) {
        DLT_TRY(fetch(s, diag));
        block = s->last;
        if (s->at_end) {
            return dlt_fail(diag, DLT_E_DATA, dlt_item_pos(source->item, "path"), "'%s' has no records",
                            s->reader.paths->at[0]);
        }
        if (block->binary != NULL) {
            return dlt_fail(diag, DLT_E_DATA, dlt_item_pos(source->item, "path"), "'%s' is no table in text: it is %s",
                            s->reader.paths->at[block->file], block->binary);
        }
        walk = (csv_walk){.dialect = &s->plan.dialect,
                          .at = block->text + block->start,
                          .end = block->text + block->end,
                          .block = block};
        found = csv_walk_record(&walk);
        s->line = (block->file_start ? 1 : line) + block->lines_before;
        line = s->line + walk.lines;
        if (!found && (block->open_quote != SIZE_MAX || block->too_long)) {
            report_open_end(source, block, diag);
            return DLT_E_DATA;
        }
    }
    size_t count = 0;
    csv_text *fields = take_record(source->arena, &walk, &count);
    if (fields == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_status status = DLT_OK;
    bool header = p->header == HEADER_TRUE;
    /* the names, if they are names; a nameless column (pandas writes its index so) has its number */
    const char **names = dlt_arena_alloc(source->arena, count, sizeof *names);
    for (size_t i = 0; names != NULL && i < count; i++) {
        const bool named = fields[i].length > 0 && memchr(fields[i].at, '\0', fields[i].length) == NULL;
        names[i] = named ? fields[i].at : dlt_arena_printf(source->arena, "%zu", i);
    }
    if (names == NULL || dlt_arena_failed(source->arena)) {
        dlt_free(fields);
        return dlt_fail_memory(diag);
    }
    if (count == CSV_MOST_COLUMNS) {
        status = dlt_fail(diag, DLT_E_DATA, (dlt_pos){s->reader.paths->at[block->file], line, 1, 0},
                          "there are %d columns or more; at most %d are supported", CSV_MOST_COLUMNS,
                          CSV_MOST_COLUMNS - 1);
    } else if (p->header == HEADER_AUTO && train != NULL && train->named) {
        bool all = true;
        size_t known = 0;
        for (size_t i = 0; i < train->layout.count; i++) {
            const dlt_part *part = &train->layout.parts[i];
            const bool there = has_name(names, count, part->name);
            all = all && (part->role != DLT_ROLE_FEATURE || there);
            known += there;
        }
        header = all || 2 * known >= train->layout.count; /* where a column is missing, that is what is told */
    } else if (p->header == HEADER_AUTO) {
        header = refers_to(&p->target, fields, count) || refers_to(&p->columns, fields, count) ||
                 refers_to(&p->sample_weight, fields, count);
        if (!header) {
            status = looks_like_header(s, walk, fields, count, &header, diag);
        }
    }
    for (size_t i = 0; !header && !dlt_arena_failed(source->arena) && i < count; i++) {
        names[i] = dlt_arena_printf(source->arena, "%zu", i);
    }
    if (dlt_arena_failed(source->arena)) {
        status = dlt_fail_memory(diag);
    }
    s->names = names;
    s->named = header;
    s->plan.column_count = count;
    if (header) {
        block->start = (size_t)(walk.at - block->text);
        block->lines_before += walk.lines;
        for (size_t i = 0; status == DLT_OK && i < count; i++) {
            for (size_t k = 0; status == DLT_OK && k < i && count <= 4096; k++) {
                if (strcmp(names[i], names[k]) == 0) {
                    status =
                        dlt_fail(diag, DLT_E_DATA, (dlt_pos){s->reader.paths->at[block->file], line, 1, 0},
                                 "columns %zu and %zu are both named '%s'", k, i, names[i]);
                }
            }
        }
    }
    dlt_free(fields);
    for (csv_block *next = block->next; status == DLT_OK && header && next != NULL; next = next->next) {
        if (next->file_start) { /* of another file, read before it was known that there is a header */
            status = pass_header(s, next, diag);
        }
    }
    return status;
}

/* "; it has a, b, c", for messages about a column that is not there. */
static void put_columns(const csv_state *s, dlt_buf *out)
{
    enum { SHOWN = 12 };
    for (size_t i = 0; i < s->plan.column_count && i < SHOWN; i++) {
        dlt_buf_printf(out, "%s%.40s", i > 0 ? ", " : "; it has ", s->names[i]);
    }
    dlt_buf_printf(out, "%s",
                   s->plan.column_count == 1       ? ": one column; is that the delimiter?"
                   : s->plan.column_count > SHOWN ? ", ..."
                                                  : "");
}

/* Column that a reference means, or -1 with a message. */
static int64_t column_of(const dlt_source *source, const dlt_column_ref *ref, dlt_diag *diag)
{
    const csv_state *s = source->state;
    const int64_t count = (int64_t)s->plan.column_count;
    if (ref->number && ref->index >= -count && ref->index < count) {
        return ref->index >= 0 ? ref->index : ref->index + count;
    }
    for (int64_t i = 0; s->named && i < count; i++) {
        if (strcmp(s->names[i], ref->name) == 0) {
            return i;
        }
    }
    if (ref->number) {
        dlt_fail(diag, DLT_E_CONFIG, ref->pos,
                 "there is no column %s: '%s' has %lld columns, numbered from 0", ref->name,
                 s->reader.paths->at[0], (long long)count);
    } else if (!s->named) {
        dlt_fail(diag, DLT_E_CONFIG, ref->pos,
                 "there is no column '%s': '%s' has no header line, so its columns have numbers, 0 to %lld",
                 ref->name, s->reader.paths->at[0], (long long)count - 1);
    } else {
        const int near = dlt_nearest(ref->name, s->names, (size_t)count);
        const dlt_detail detail = {.found = ref->name, .nearest = near >= 0 ? s->names[near] : NULL};
        if (near >= 0) {
            dlt_fail_detail(diag, DLT_E_CONFIG, ref->pos, &detail,
                            "'%s' has no column '%s'; did you mean '%s'?", s->reader.paths->at[0], ref->name,
                            s->names[near]);
        } else {
            dlt_buf columns = {0};
            put_columns(s, &columns);
            dlt_fail_detail(diag, DLT_E_CONFIG, ref->pos, &detail, "'%s' has no column '%s'%s",
                            s->reader.paths->at[0], ref->name, dlt_buf_text(&columns));
            dlt_buf_release(&columns);
        }
    }
    return -1;
}

/* ---- types ---- */

/* What the first records have in each column. */
typedef struct survey {
    int64_t numbers, texts;
    char *text; /* the first that is no number */
    unsigned line;
    const char *path;
} survey;

static dlt_status look_at_block(dlt_source *source, csv_block *block, unsigned *line, survey *seen,
                                const bool *is_target, int64_t *records, dlt_diag *diag)
{
    const csv_params *p = source->item->params;
    csv_state *s = source->state;
    csv_walk walk = {.dialect = &s->plan.dialect,
                     .at = block->text + block->start,
                     .end = block->text + block->end,
                     .block = block};
    *line = (block->file_start ? 1 : *line) + block->lines_before;
    while (*records < DLT_PROBE_RECORDS && csv_walk_record(&walk)) {
        bool more = true;
        for (size_t i = 0; more; i++) {
            csv_text field = {0};
            const unsigned here = *line + walk.lines;
            double number = 0;
            if (!csv_walk_field(&walk, &field, &more)) {
                return dlt_fail_memory(diag);
            }
            if (i >= s->plan.column_count) {
                continue;
            }
            if (is_target[i]) {
                field = csv_mapped_label(&p->label_map, field.at, field.length);
            }
            if (csv_is_missing(&s->plan, field.at, field.length)) {
                continue;
            }
            if (dlt_parse_double(field.at, field.length, &number) ||
                (dlt_parse_special(field.at, field.length, &number) && isnan(number))) {
                seen[i].numbers++;
            } else if (seen[i].texts++ == 0) {
                seen[i].text = dlt_arena_copy(source->arena, field.at, field.length < 64 ? field.length : 64);
                seen[i].line = here;
                seen[i].path = s->reader.paths->at[block->file];
            }
        }
        ++*records;
    }
    *line += walk.lines;
    return DLT_OK;
}

/* Looks at the first records, reading ahead as far as need be. */
static dlt_status look_ahead(dlt_source *source, survey *seen, const bool *is_target, dlt_diag *diag)
{
    enum { MOST_BYTES = 16 << 20 };
    csv_state *s = source->state;
    size_t bytes = 0;
    unsigned line = 1;
    for (csv_block *block = s->first; s->looked_at < DLT_PROBE_RECORDS && bytes < MOST_BYTES;) {
        DLT_TRY(look_at_block(source, block, &line, seen, is_target, &s->looked_at, diag));
        bytes += block->end - block->start;
        if (block->next == NULL && !s->at_end && s->looked_at < DLT_PROBE_RECORDS && bytes < MOST_BYTES) {
            DLT_TRY(fetch(s, diag));
        }
        if (block->next == NULL) {
            break;
        }
        block = block->next;
    }
    return dlt_arena_failed(source->arena) ? dlt_fail_memory(diag) : DLT_OK;
}

/* ---- the plan ---- */

/* What the parts of a record are while they are being chosen. */
typedef struct choice {
    size_t count;
    dlt_part *parts;
    int64_t *column_of;
    bool *declared;
    bool *whole; /* declared integer */
} choice;

static dlt_status make_choice(dlt_source *source, size_t most, choice *c, dlt_diag *diag)
{
    c->parts = dlt_arena_alloc(source->arena, most, sizeof *c->parts);
    c->column_of = dlt_arena_alloc(source->arena, most, sizeof *c->column_of);
    c->declared = dlt_arena_alloc(source->arena, most, sizeof *c->declared);
    c->whole = dlt_arena_alloc(source->arena, most, sizeof *c->whole);
    return dlt_arena_failed(source->arena) ? dlt_fail_memory(diag) : DLT_OK;
}

static void choose(choice *c, const char *name, int64_t column, dlt_role role, int type)
{
    static const dlt_dictionary some = {0};
    const bool text = type == TYPE_TEXT;
    c->parts[c->count] = (dlt_part){.name = name,
                                    .role = role,
                                    .type = text                   ? DLT_COLUMN_TEXT
                                            : type == TYPE_INTEGER ? DLT_COLUMN_INTEGER
                                                                   : DLT_COLUMN_NUMBER,
                                    .dtype = text ? DLT_I32 : DLT_F64,
                                    .shape = dlt_scalar(),
                                    .dictionary = text ? &some : NULL};
    c->column_of[c->count++] = column;
}

/* Type of a column by the first records. */
static int infer(const survey *seen, const char *name, dlt_diag *diag)
{
    if (seen->texts == 0) {
        return TYPE_NUMBER;
    }
    if (seen->numbers >= 10 * seen->texts) {
        dlt_warn(diag, (dlt_pos){seen->path, seen->line, 1, 0},
                 "column '%s' is read as text because of '%s', though most of its values are numbers; if "
                 "that stands for a "
                 "missing value, add it to missing; else declare types: {%s: text}",
                 name, seen->text, name);
    }
    return TYPE_TEXT;
}

/* Which columns train uses, and as what. */
static dlt_status choose_for_train(dlt_source *source, choice *c, dlt_diag *diag)
{
    const csv_params *p = source->item->params;
    csv_state *s = source->state;
    const size_t count = s->plan.column_count;
    enum { UNUSED, FEATURE, TARGET, WEIGHT };
    unsigned char *use = dlt_arena_alloc(source->arena, count, 1);
    bool *is_target = dlt_arena_alloc(source->arena, count, sizeof *is_target);
    survey *seen = dlt_arena_alloc(source->arena, count, sizeof *seen);
    int *type = dlt_arena_alloc(source->arena, count, sizeof *type);
    DLT_TRY(make_choice(source, count, c, diag));
    bool good = true;
    for (size_t i = 0; i < p->target.count; i++) {
        const int64_t column = column_of(source, &p->target.at[i], diag);
        good = good && column >= 0 && use[column] == UNUSED;
        if (column >= 0 && use[column] != UNUSED) {
            dlt_fail(diag, DLT_E_CONFIG, p->target.at[i].pos, "column '%s' is named twice", s->names[column]);
        } else if (column >= 0) {
            use[column] = TARGET;
            is_target[column] = true;
        }
    }
    for (size_t i = 0; i < p->sample_weight.count; i++) {
        const int64_t column = column_of(source, &p->sample_weight.at[i], diag);
        good = good && column >= 0 && use[column] == UNUSED;
        if (column >= 0 && use[column] != UNUSED) {
            dlt_fail(diag, DLT_E_CONFIG, p->sample_weight.at[i].pos,
                     "column '%s' is the target and the weight", s->names[column]);
        } else if (column >= 0) {
            use[column] = WEIGHT;
        }
    }
    for (size_t i = 0; i < count; i++) {
        type[i] = TYPE_UNKNOWN;
    }
    for (size_t i = 0; i < p->types.count; i++) {
        int64_t index = 0;
        const char *key = p->types.key[i];
        const bool number = dlt_parse_i64(key, strlen(key), &index);
        const int64_t column = column_of(
            source,
            &(dlt_column_ref){key, number, index,
                              p->types.pos != NULL ? p->types.pos[i] : dlt_item_pos(source->item, "types")},
            diag);
        good = good && column >= 0;
        if (column >= 0) {
            type[column] = type_of(p->types.value[i]);
        }
    }
    int64_t *order = dlt_arena_alloc(source->arena, count, sizeof *order);
    size_t features = 0;
    if (dlt_arena_failed(source->arena)) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < p->columns.count; i++) {
        const int64_t column = column_of(source, &p->columns.at[i], diag);
        good = good && column >= 0 && use[column] == UNUSED;
        if (column >= 0 && use[column] != UNUSED) {
            dlt_fail(diag, DLT_E_CONFIG, p->columns.at[i].pos, "column '%s' is %s", s->names[column],
                     use[column] == FEATURE  ? "named twice"
                     : use[column] == TARGET ? "the target, too"
                                             : "the weight, too");
        } else if (column >= 0) {
            use[column] = FEATURE;
            order[features++] = column;
        }
    }
    for (size_t i = 0; p->columns.count == 0 && i < count; i++) {
        if (use[i] == UNUSED) {
            use[i] = FEATURE;
            order[features++] = (int64_t)i;
        }
    }
    if (!good) {
        return DLT_E_CONFIG;
    }
    if (features == 0) {
        return dlt_fail(diag, DLT_E_CONFIG, source->item->pos, "no column is left as input");
    }
    DLT_TRY(look_ahead(source, seen, is_target, diag));
    for (size_t i = 0; i < features; i++) {
        const int64_t k = order[i];
        c->declared[c->count] = type[k] != TYPE_UNKNOWN;
        c->whole[c->count] = type[k] == TYPE_INTEGER;
        choose(c, s->names[k], k, DLT_ROLE_FEATURE,
               c->declared[c->count] ? type[k] : infer(&seen[k], s->names[k], diag));
    }
    for (size_t i = 0; i < p->target.count; i++) {
        const int64_t k = column_of(source, &p->target.at[i], diag);
        c->declared[c->count] = type[k] != TYPE_UNKNOWN;
        c->whole[c->count] = type[k] == TYPE_INTEGER;
        choose(c, s->names[k], k, DLT_ROLE_TARGET,
               c->declared[c->count] ? type[k] : infer(&seen[k], s->names[k], diag));
    }
    for (size_t k = 0; k < count; k++) {
        if (use[k] == WEIGHT) {
            c->declared[c->count] = true;
            choose(c, s->names[k], (int64_t)k, DLT_ROLE_WEIGHT, TYPE_NUMBER);
        }
    }
    return DLT_OK;
}

/* Column of a part of train in this file; -1 where it has none. */
static int64_t column_like_train(const dlt_source *source, const dlt_frame *train, size_t part)
{
    const csv_state *s = source->state;
    const int64_t count = (int64_t)s->plan.column_count;
    if (s->named && train->named) {
        for (int64_t i = 0; i < count; i++) {
            if (strcmp(s->names[i], train->layout.parts[part].name) == 0) {
                return i;
            }
        }
        return -1;
    }
    if (count == train->file_columns) {
        return train->column_of[part];
    }
    /* without the columns of targets and weights, or with the inputs alone: what is left stands in train's
     * order */
    int64_t features = 0, others = 0, before = 0, others_before = 0;
    for (size_t i = 0; i < train->layout.count; i++) {
        const bool feature = train->layout.parts[i].role == DLT_ROLE_FEATURE;
        features += feature;
        others += !feature;
        before += feature && train->column_of[i] < train->column_of[part];
        others_before += !feature && train->column_of[i] < train->column_of[part];
    }
    if (train->layout.parts[part].role != DLT_ROLE_FEATURE) {
        return -1;
    }
    if (count == train->file_columns - others) {
        return train->column_of[part] - others_before;
    }
    return count == features ? before : -1;
}

/* What a source that follows train says of its own columns must be what train does with them: it is not done otherwise. */
static dlt_status agree_with_train(const dlt_source *source, const choice *c, dlt_diag *diag)
{
    const csv_params *p = source->item->params;
    const csv_state *s = source->state;
    dlt_status status = DLT_OK;
    size_t features = 0;
    for (size_t i = 0; i < c->count; i++) {
        features += c->parts[i].role == DLT_ROLE_FEATURE;
    }
    if (p->columns.count > 0 && p->columns.count != features) {
        status = dlt_fail(diag, DLT_E_CONFIG, p->columns.at[0].pos,
                          "%zu columns are named, but train has %zu inputs; leave columns out here",
                          p->columns.count, features);
    }
    const struct {
        const dlt_columns *columns;
        dlt_role role;
        const char *what;
    } named[] = {{&p->columns, DLT_ROLE_FEATURE, "input"}, {&p->sample_weight, DLT_ROLE_WEIGHT, "weight"}};
    for (size_t k = 0; k < DLT_COUNT(named); k++) {
        for (size_t i = 0; i < named[k].columns->count; i++) {
            const int64_t column = column_of(source, &named[k].columns->at[i], diag);
            bool known = false;
            for (size_t j = 0; j < c->count; j++) {
                known = known || (c->parts[j].role == named[k].role && c->column_of[j] == column);
            }
            if (column < 0) {
                status = DLT_E_CONFIG;
            } else if (!known) {
                status = dlt_fail(diag, DLT_E_CONFIG, named[k].columns->at[i].pos,
                                  "column '%s' is no %s in train, which is followed here", s->names[column],
                                  named[k].what);
            }
        }
    }
    for (size_t i = 0; i < p->types.count; i++) {
        const int type = type_of(p->types.value[i]);
        for (size_t j = 0; j < c->count; j++) {
            const int own = c->parts[j].type == DLT_COLUMN_TEXT      ? TYPE_TEXT
                            : c->parts[j].type == DLT_COLUMN_INTEGER ? TYPE_INTEGER
                                                                     : TYPE_NUMBER;
            if (strcmp(c->parts[j].name, p->types.key[i]) == 0 && (own == TYPE_TEXT) != (type == TYPE_TEXT)) {
                status = dlt_fail(diag, DLT_E_CONFIG,
                                  p->types.pos != NULL ? p->types.pos[i] : dlt_item_pos(source->item, "types"),
                                  "column '%s' is %s here and %s in train, which is followed", p->types.key[i],
                                  type_names[type], type_names[own]);
            }
        }
    }
    return status;
}

static dlt_status choose_like_train(dlt_source *source, choice *c, dlt_diag *diag)
{
    const csv_params *p = source->item->params;
    const dlt_frame *train = source->options.follow;
    csv_state *s = source->state;
    const char *path = s->reader.paths->at[0];
    if (!train->table) {
        return dlt_fail(diag, DLT_E_DATA, source->item->pos,
                        "train has whole arrays, this source is a table");
    }
    DLT_TRY(make_choice(source, train->layout.count, c, diag));
    dlt_status status = DLT_OK;
    for (size_t i = 0; i < train->layout.count; i++) {
        const dlt_part *part = &train->layout.parts[i];
        if (source->options.predict && part->role != DLT_ROLE_FEATURE) {
            continue;
        }
        const int64_t column = column_like_train(source, train, i);
        if (column < 0 && part->role == DLT_ROLE_WEIGHT) {
            continue; /* weights are a matter of each source */
        }
        if (column < 0 && !(s->named && train->named)) {
            return dlt_fail(diag, DLT_E_DATA, (dlt_pos){path, 1, 1, 0},
                            "found %zu column%s, expected %lld as in train", s->plan.column_count,
                            s->plan.column_count == 1 ? "" : "s",
                            (long long)train->file_columns);
        }
        if (column < 0) {
            const int near = dlt_nearest(part->name, s->names, s->plan.column_count);
            status = dlt_fail(diag, DLT_E_DATA, (dlt_pos){path, 1, 1, 0},
                              "there is no column '%s', which train has%s%s%s", part->name,
                              near >= 0 ? "; there is '" : "", near >= 0 ? s->names[near] : "",
                              near >= 0 ? "'" : "");
            continue;
        }
        c->declared[c->count] = true;
        choose(c, part->name, column, part->role,
               part->type == DLT_COLUMN_TEXT      ? TYPE_TEXT
               : part->type == DLT_COLUMN_INTEGER ? TYPE_INTEGER
                                                  : TYPE_NUMBER);
    }
    for (size_t i = 0; i < p->target.count && !source->options.predict; i++) {
        const int64_t column = column_of(source, &p->target.at[i], diag);
        bool known = column < 0;
        for (size_t k = 0; k < c->count; k++) {
            known = known || (c->parts[k].role == DLT_ROLE_TARGET && c->column_of[k] == column);
        }
        status = status == DLT_OK && column < 0 ? DLT_E_CONFIG : status;
        if (!known) {
            const dlt_status other =
                dlt_fail(diag, DLT_E_CONFIG, p->target.at[i].pos,
                         "the target is column '%s' here, another one than in train", s->names[column]);
            status = status == DLT_OK ? other : status;
        }
    }
    if (status == DLT_OK && !source->options.predict) {
        status = agree_with_train(source, c, diag);
    }
    return status;
}

/* The first names, for messages: "a, b, c, ..." */
static const char *some_names(dlt_source *source, const dlt_dictionary *names)
{
    enum { SHOWN = 12 };
    dlt_buf text = {0};
    for (int64_t i = 0; i < names->count && i < SHOWN; i++) {
        dlt_buf_printf(&text, "%s%s", i > 0 ? ", " : "", names->at[i]);
    }
    if (names->count > SHOWN) {
        dlt_buf_string(&text, ", ...");
    }
    const char *kept = dlt_arena_string(source->arena, dlt_buf_text(&text));
    dlt_buf_release(&text);
    return kept;
}

static dlt_status make_plan(dlt_source *source, const choice *c, dlt_diag *diag)
{
    static const dlt_words none = {0};
    const csv_params *p = source->item->params;
    const dlt_frame *train = source->options.follow;
    csv_state *s = source->state;
    const dlt_frame_plan plan = {.count = c->count,
                                 .parts = c->parts,
                                 .table = true,
                                 .named = s->named,
                                 .file_columns = (int64_t)s->plan.column_count,
                                 .column_of = c->column_of};
    DLT_TRY(dlt_frame_create(&plan, &source->frame, diag));
    if (!dlt_stats_init(&source->stats, c->count)) {
        return dlt_fail_memory(diag);
    }
    const dlt_record_layout *layout = &source->frame->layout;
    s->columns = dlt_arena_alloc(source->arena, s->plan.column_count, sizeof *s->columns);
    source->class_map = dlt_alloc_zeroed(c->count, sizeof *source->class_map);
    if (s->columns == NULL || source->class_map == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < c->count; i++) {
        const dlt_part *part = &layout->parts[i];
        csv_column *column = &s->columns[c->column_of[i]];
        *column = (csv_column){.action = part->type == DLT_COLUMN_TEXT ? CSV_TEXT : CSV_NUMBER,
                               .whole = c->whole[i],
                               .declared = c->declared[i],
                               .value_needed = part->role != DLT_ROLE_FEATURE,
                               .is_weight = part->role == DLT_ROLE_WEIGHT,
                               .is_label = part->role == DLT_ROLE_TARGET,
                               .grows = train == NULL,
                               .part = i,
                               .offset = layout->offsets[i],
                               .known = &none,
                               .name = part->name};
        if (train != NULL && part->type == DLT_COLUMN_TEXT) {
            for (size_t k = 0; k < train->layout.count; k++) {
                if (strcmp(train->layout.parts[k].name, part->name) == 0) {
                    column->known = dlt_words_of(train->layout.parts[k].dictionary);
                }
            }
            if (column->is_label) {
                s->plan.label_names = some_names(source, &column->known->dictionary);
            }
            /* the part speaks train's codes */
            source->frame->parts[i].dictionary = &column->known->dictionary;
        }
    }
    s->plan.columns = s->columns;
    s->plan.record_bytes = layout->record_bytes;
    s->plan.part_count = c->count;
    s->plan.label_map = p->label_map.count > 0 ? &p->label_map : NULL;
    s->plan.count_distinct = !source->options.predict && c->count <= CSV_DISTINCT_COLUMNS;
    for (csv_block *block = s->first; block != NULL; block = block->next) {
        if (!csv_block_prepare(block, &s->plan)) {
            return dlt_fail_memory(diag);
        }
    }
    source->unit_bytes = layout->record_bytes;
    source->stride = source->span = (int64_t)layout->record_bytes;
    source->units = -1;
    return DLT_OK;
}

static dlt_status csv_files(dlt_source *source, dlt_diag *diag)
{
    const csv_params *p = source->item->params;
    csv_state *s = dlt_alloc_zeroed(1, sizeof *s);
    dlt_strings *paths = dlt_arena_alloc(source->arena, 1, sizeof *paths);
    if (s == NULL || paths == NULL) {
        dlt_free(s);
        return dlt_fail_memory(diag);
    }
    source->state = s;
    s->reader = (csv_reader){.paths = paths,
                             .stop = source->options.stop,
                             .at = dlt_item_pos(source->item, "path"),
                             .skip_rows = p->skip_rows,
                             .block_bytes = source->options.block_bytes > 0 ? source->options.block_bytes
                                                                            : CSV_BLOCK_BYTES};
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->done, NULL);
    return dlt_source_add_paths(source, &p->path, "path", paths, diag);
}

static dlt_status csv_open(dlt_source *source, dlt_diag *diag)
{
    const csv_params *p = source->item->params;
    csv_state *s = source->state;
    double number = 0;
    csv_text *missing = dlt_arena_alloc(source->arena, p->missing.count, sizeof *missing);
    if (missing == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < p->missing.count; i++) {
        missing[i] = (csv_text){p->missing.at[i], strlen(p->missing.at[i])};
        s->plan.missing_first =
            s->plan.missing_first || dlt_parse_double(missing[i].at, missing[i].length, &number);
    }
    s->plan.missing = missing;
    s->plan.missing_count = p->missing.count;
    s->reader.dialect = (csv_dialect){.delimiter = one_byte(p->delimiter), .trim = p->trim};
    if (p->comment != NULL) {
        s->reader.dialect.comment = p->comment[0];
    }
    if (strcmp(p->delimiter, "auto") == 0) {
        DLT_TRY(csv_reader_find_delimiter(&s->reader, diag));
    }
    s->plan.dialect = s->reader.dialect;
    DLT_TRY(find_names(source, diag));
    choice c = {0};
    DLT_TRY(source->options.follow != NULL ? choose_like_train(source, &c, diag)
                                           : choose_for_train(source, &c, diag));
    return make_plan(source, &c, diag);
}

/* ---- putting blocks together ---- */

/* An unknown label, often that of a whole class, is one mistake, however many rows have it. */
static bool label_was_shown(dlt_source *source, const csv_error *error)
{
    csv_state *s = source->state;
    for (size_t i = 0; i < s->label_count; i++) {
        if (strlen(s->labels[i]) == error->text_length &&
            memcmp(s->labels[i], error->text, error->text_length) == 0) {
            return true;
        }
    }
    const char *copy = dlt_arena_printf(source->arena, "%.*s", (int)error->text_length, error->text);
    if (copy != NULL && s->label_count < CSV_MOST_ERRORS) {
        s->labels[s->label_count++] = copy;
    }
    return false;
}

static void report(dlt_source *source, const csv_block *block, const csv_error *error, dlt_diag *diag)
{
    csv_state *s = source->state;
    const dlt_pos at = {s->reader.paths->at[block->file], s->line + error->line, error->column, 0};
    static const csv_column nothing = {0}; /* what a row has beyond the columns */
    const csv_column *column = error->field < s->plan.column_count ? &s->plan.columns[error->field] : &nothing;
    const char *name = column->name != NULL ? column->name
                       : error->field < s->plan.column_count ? s->names[error->field]
                                                             : "?";
    const int length = (int)error->text_length;
    if (s->shown == CSV_MOST_ERRORS || (error->fault == CSV_FAULT_LABEL && label_was_shown(source, error))) {
        s->not_shown++;
        return;
    }
    s->shown++;
    switch (error->fault) {
    case CSV_FAULT_COLUMNS:
        dlt_fail(diag, DLT_E_DATA, at, "found %zu column%s, expected %zu", error->count,
                 error->count == 1 ? "" : "s", s->plan.column_count);
        break;
    case CSV_FAULT_NUMBER:
        if (column->declared) {
            dlt_fail(diag, DLT_E_DATA, at, "column '%s': '%.*s' is not a number", name, length, error->text);
        } else {
            dlt_fail(diag, DLT_E_DATA, at,
                     "column '%s': '%.*s' is not a number, but the first %lld records have numbers there; "
                     "add it to missing, or "
                     "declare types: {%s: text}",
                     name, length, error->text, (long long)s->looked_at, name);
        }
        break;
    case CSV_FAULT_WHOLE:
        dlt_fail(diag, DLT_E_DATA, at, "column '%s' is declared integer, found '%.*s'", name, length,
                 error->text);
        break;
    case CSV_FAULT_MISSING:
        dlt_fail(diag, DLT_E_DATA, at, "column '%s', the %s, has no value", name,
                 column->is_weight ? "weight" : "target");
        break;
    case CSV_FAULT_LABEL:
        dlt_fail(diag, DLT_E_DATA, at, "label '%.*s' is not one of the %lld classes of train (%s); if it is another word for one of "
                 "them, label_map says which",
                 length, error->text, (long long)(column->known != NULL ? column->known->dictionary.count : 0),
                 s->plan.label_names);
        break;
    case CSV_FAULT_WEIGHT:
        dlt_fail(diag, DLT_E_DATA, at, "column '%s': the weight %.*s is below 0", name, length, error->text);
        break;
    case CSV_FAULT_QUOTE:
        dlt_fail(diag, DLT_E_DATA, at, "something stands behind a closing quote: %.*s", length, error->text);
        break;
    case CSV_FAULT_RETURN:
        dlt_fail(diag, DLT_E_DATA, at, "a carriage return without a line feed; lines end in LF or CR LF");
        break;
    case CSV_FAULT_NUL:
        dlt_fail(diag, DLT_E_DATA, at, "column '%s': the text has a NUL byte", name);
        break;
    case CSV_FAULT_UTF8:
        dlt_fail(diag, DLT_E_DATA, at, "column '%s': the text is no UTF-8; save the file as UTF-8", name);
        break;
    case CSV_FAULT_LONG:
        dlt_fail(diag, DLT_E_DATA, at, "column '%s': a text of %zu bytes; at most %d are supported", name,
                 error->count, DLT_WORDS_LONGEST);
        break;
    }
}

/* Gives the block's new words their codes in the whole, and the codes in its records follow. */
static dlt_status join_words(dlt_source *source, csv_block *block, const csv_column *column, dlt_diag *diag)
{
    const dlt_words *new_words = &block->words[column->part];
    const int64_t count = new_words->dictionary.count;
    if (count == 0) {
        return DLT_OK;
    }
    dlt_words *words = dlt_frame_words(source->frame, column->part);
    int32_t *code = dlt_alloc((size_t)count * sizeof *code);
    bool same = true, full = block->full_part == (int)column->part, refused = code == NULL;
    for (int64_t i = 0; !refused && !full && i < count; i++) {
        code[i] = dlt_words_add(words, new_words->at[i], new_words->length[i]);
        same = same && code[i] == (int32_t)i;
        full = code[i] == DLT_WORDS_FULL;
        refused = code[i] == DLT_WORDS_NO_MEMORY;
    }
    for (int64_t r = 0; !refused && !full && !same && r < block->rows; r++) {
        unsigned char *at = block->records + (size_t)r * source->unit_bytes + column->offset;
        int32_t old;
        memcpy(&old, at, sizeof old);
        if (old >= 0) {
            memcpy(at, &code[old], sizeof old);
        }
    }
    dlt_free(code);
    if (refused) {
        return dlt_fail_memory(diag);
    }
    if (full) {
        return dlt_fail(diag, DLT_E_DATA, source->item->pos,
                        "column '%s' has more than %d different texts, or more than %d MiB of them; leave it "
                        "out with columns",
                        column->name, DLT_WORDS_MOST, DLT_WORDS_MOST_BYTES >> 20);
    }
    return DLT_OK;
}

static dlt_status count_classes(dlt_source *source, const csv_block *block, dlt_diag *diag)
{
    const dlt_record_layout *layout = &source->frame->layout;
    const int target = dlt_layout_find(layout, DLT_ROLE_TARGET, 0);
    if (target < 0 || source->options.predict ||
        dlt_layout_find(layout, DLT_ROLE_TARGET, (size_t)target + 1) >= 0) {
        return DLT_OK;
    }
    const bool text = layout->parts[target].type == DLT_COLUMN_TEXT;
    for (int64_t r = 0; r < block->rows; r++) {
        const unsigned char *at = block->records + (size_t)r * source->unit_bytes + layout->offsets[target];
        double value = 0;
        int32_t code = 0;
        if (text) {
            memcpy(&code, at, sizeof code);
            value = (double)code;
        } else {
            memcpy(&value, at, sizeof value);
        }
        if (!dlt_stats_class(&source->stats, value, source->stats.records + r)) {
            return dlt_fail_memory(diag);
        }
    }
    return DLT_OK;
}

static dlt_status put_together(dlt_source *source, csv_block *block, dlt_diag *diag)
{
    csv_state *s = source->state;
    s->line = (block->file_start ? 1 : s->line) + block->lines_before;
    for (size_t i = 0; i < block->error_count; i++) {
        report(source, block, &block->errors[i], diag);
    }
    s->not_shown += block->errors_more;
    if (block->open_quote != SIZE_MAX || block->too_long) {
        report_open_end(source, block, diag);
    }
    s->line += block->lines;
    if (block->no_memory) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < s->plan.column_count; i++) {
        const csv_column *column = &s->plan.columns[i];
        if (column->action == CSV_TEXT && column->grows) {
            DLT_TRY(join_words(source, block, column, diag));
        }
    }
    for (size_t i = 0; i < s->plan.part_count; i++) {
        dlt_part_stats *whole = &source->stats.part[i];
        const dlt_part_stats *piece = &block->stats[i];
        whole->missing += piece->missing;
        whole->whole = whole->whole && piece->whole;
        whole->least = piece->least < whole->least || isnan(whole->least) ? piece->least : whole->least;
        whole->most = piece->most > whole->most || isnan(whole->most) ? piece->most : whole->most;
    }
    DLT_TRY(count_classes(source, block, diag));
    source->stats.records += block->rows;
    return DLT_OK;
}

/* A text target's codes become class numbers: names in order of their bytes. */
static dlt_status sort_classes(dlt_source *source, size_t part, dlt_diag *diag)
{
    dlt_words *words = dlt_frame_words(source->frame, part), sorted = {0};
    const size_t count = (size_t)words->dictionary.count;
    int32_t *place = dlt_alloc_zeroed(count, sizeof *place);
    int64_t *moved = dlt_alloc_zeroed(2 * count, sizeof *moved);
    dlt_class_stats *classes = &source->stats.classes;
    if (place == NULL || moved == NULL || !dlt_words_sort(words, &sorted, place)) {
        dlt_words_release(&sorted);
        dlt_free(place);
        dlt_free(moved);
        return dlt_fail_memory(diag);
    }
    for (int64_t i = 0; i < classes->count && i < (int64_t)count; i++) {
        moved[place[i]] = classes->records[i];
        moved[(int64_t)count + place[i]] = classes->first[i];
    }
    for (int64_t i = 0; i < classes->count && i < (int64_t)count; i++) {
        classes->records[i] = moved[i];
        classes->first[i] = moved[(int64_t)count + i];
    }
    dlt_words_release(words);
    *words = sorted;
    dlt_free(moved);
    source->class_map[part] = place;
    return DLT_OK;
}

static dlt_status csv_settle(dlt_source *source, dlt_diag *diag)
{
    csv_state *s = source->state;
    if (s->settled) {
        return DLT_OK;
    }
    s->settled = true;
    stop_helpers(s);
    dlt_distinct *all = dlt_alloc_zeroed(1, sizeof *all);
    if (all == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < source->frame->layout.count; i++) {
        dlt_part *part = &source->frame->parts[i];
        dlt_part_stats *stats = &source->stats.part[i];
        part->may_be_missing = stats->missing > 0;
        if (part->type == DLT_COLUMN_TEXT) {
            stats->distinct = part->dictionary->count;
        } else if (s->plan.count_distinct) {
            *all = (dlt_distinct){0};
            for (size_t k = 0; k < s->all_count; k++) {
                if (s->all[k]->distinct != NULL) {
                    dlt_distinct_join(all, &s->all[k]->distinct[i]);
                }
            }
            stats->distinct = dlt_distinct_count(all);
        }
        if (source->options.follow == NULL) {
            if (part->type != DLT_COLUMN_TEXT && !s->columns[source->frame->column_of[i]].declared) {
                part->type = stats->whole && !isnan(stats->least) ? DLT_COLUMN_INTEGER : DLT_COLUMN_NUMBER;
            }
            if (stats->missing == source->stats.records && stats->missing > 0 && source->stats.complete) {
                dlt_warn(diag, source->item->pos, "column '%s' has no value in any record", part->name);
            }
        }
    }
    dlt_free(all);
    for (size_t i = 0; i < source->frame->layout.count && source->options.follow == NULL; i++) {
        const dlt_part *part = &source->frame->layout.parts[i];
        if (part->role == DLT_ROLE_TARGET && part->type == DLT_COLUMN_TEXT) {
            DLT_TRY(sort_classes(source, i, diag));
        }
    }
    if (s->not_shown > 0) {
        char count[40];
        dlt_format_count((int64_t)s->not_shown, count, sizeof count);
        dlt_fail(diag, DLT_E_DATA, (dlt_pos){0}, "and %s more errors in the data", count);
    }
    return s->shown > 0 ? DLT_E_DATA : DLT_OK;
}

static dlt_status csv_next(dlt_source *source, int64_t most, unsigned char *units, int64_t *got,
                           dlt_diag *diag)
{
    csv_state *s = source->state;
    *got = 0;
    while (s->current == NULL || s->current_row == s->current->rows) {
        if (dlt_source_stopped(source)) {
            return dlt_source_stop(source, diag);
        }
        if (s->current != NULL) {
            give_spare(s, s->current);
            s->current = NULL;
        }
        DLT_TRY(next_parsed(source, &s->current, diag));
        s->current_row = 0;
        if (s->current == NULL) {
            source->stats.complete = true;
            return csv_settle(source, diag);
        }
        DLT_TRY(put_together(source, s->current, diag));
        if (source->options.predict && s->shown > 0) {
            return DLT_E_DATA; /* what was predicted before stands; nothing is guessed about the rest */
        }
    }
    int64_t rows = s->current->rows - s->current_row;
    if (units != NULL) {
        rows = rows < most ? rows : most;
        memcpy(units, s->current->records + (size_t)s->current_row * source->unit_bytes,
               (size_t)rows * source->unit_bytes);
    }
    s->current_row += rows;
    *got = rows;
    return DLT_OK;
}

static void csv_close(dlt_source *source)
{
    csv_state *s = source->state;
    if (s == NULL) {
        return;
    }
    stop_helpers(s);
    for (size_t i = 0; i < s->all_count; i++) {
        csv_block_release(s->all[i], s->plan.part_count);
        dlt_free(s->all[i]);
    }
    dlt_free(s->all);
    csv_reader_release(&s->reader);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->done);
    dlt_free(s);
    source->state = NULL;
}

static dlt_status csv_input(dlt_arena *arena, const dlt_item *like, const char *path, bool targets, void *params, dlt_diag *diag)
{
    (void)targets; /* in the same file; the frame knows which they are */
    static const char *const missing[] = {"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"};
    csv_params *p = params;
    *p = like != NULL
             ? *(const csv_params *)like->params
             : (csv_params){.delimiter = ",", .trim = true, .missing = {DLT_COUNT(missing), missing}};
    const char **paths = dlt_arena_alloc(arena, 1, sizeof *paths);
    if (paths == NULL) {
        return dlt_fail_memory(diag);
    }
    paths[0] = path;
    p->path = (dlt_strings){1, paths};
    p->columns = p->target = p->sample_weight = (dlt_columns){0};
    /* whoever types rows writes no header and no front matter, whatever train's files have */
    p->header = p->header == HEADER_TRUE ? HEADER_AUTO : p->header;
    p->skip_rows = strcmp(path, "-") == 0 ? 0 : p->skip_rows;
    return DLT_OK;
}

const dlt_source_desc dlt_source_csv = {
    .kind = {.name = "CSV",
             .doc = "tables in CSV files",
             .size = sizeof(csv_params),
             .fields = csv_fields,
             .check = csv_check},
    .files = csv_files,
    .open = csv_open,
    .next = csv_next,
    .settle = csv_settle,
    .close = csv_close,
    .input = csv_input,
};
