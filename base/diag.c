/* base/diag.c: messages with places. Memory comes from an arena; running out of it leaves a fixed last message. */
#define DLT_DIAG_ITSELF
#include "base/diag.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

typedef struct source {
    const char *file, *text;
    size_t bytes;
} source;

struct dlt_diag {
    dlt_arena *arena;
    dlt_message *messages;
    size_t count, room;
    source *sources;
    size_t source_count, source_room;
    bool out_of_memory; /* a message was lost, or dlt_fail_memory was called */
};

static const dlt_message memory_message = {
    .severity = DLT_ERROR, .status = DLT_E_MEMORY, .text = "out of memory"};

dlt_diag *dlt_diag_create(void)
{
    dlt_diag *diag = dlt_alloc_zeroed(1, sizeof *diag);
    if (diag == NULL) {
        return NULL;
    }
    diag->arena = dlt_arena_create();
    if (diag->arena == NULL) {
        dlt_free(diag);
        return NULL;
    }
    return diag;
}

void dlt_diag_destroy(dlt_diag *diag)
{
    if (diag != NULL) {
        dlt_arena_destroy(diag->arena);
        dlt_free(diag->messages);
        dlt_free(diag->sources);
        dlt_free(diag);
    }
}

void dlt_diag_reset(dlt_diag *diag)
{
    diag->count = 0; /* texts stay in the arena until destroy: a reset is rare and messages are short */
    diag->out_of_memory = false;
}

/* Makes room for one more element of a growing array; false when memory is refused. */
static bool grow(void **array, size_t count, size_t *room, size_t size)
{
    if (count < *room) {
        return true;
    }
    const size_t wanted = *room > 0 ? *room * 2 : 8;
    void *grown = dlt_realloc(*array, wanted, size);
    if (grown == NULL) {
        return false;
    }
    *array = grown;
    *room = wanted;
    return true;
}

static const char *keep(dlt_diag *diag, const char *text)
{
    return text != NULL ? dlt_arena_string(diag->arena, text) : NULL;
}

/* False when the message could not be kept: the list then ends with the fixed one. */
static bool add(dlt_diag *diag, dlt_severity severity, dlt_status status, dlt_pos at, const dlt_detail *detail,
                const char *fmt, va_list args)
{
    if (diag == NULL || diag->out_of_memory) {
        return diag == NULL;
    }
    dlt_buf text = {0};
    dlt_buf_vprintf(&text, fmt, args);
    if (status == DLT_E_MEMORY && at.file == NULL && strcmp(dlt_buf_text(&text), memory_message.text) == 0) {
        diag->out_of_memory = true; /* passed on from another list: the fixed message, which is not said twice */
        dlt_buf_release(&text);
        return false;
    }
    dlt_buf escaped = {0};
    dlt_buf_escaped(&escaped, dlt_buf_text(&text), text.length);
    dlt_message message = {.severity = severity, .status = status, .pos = at};
    message.pos.file = keep(diag, at.file);
    message.text = escaped.failed || text.failed ? NULL : keep(diag, dlt_buf_text(&escaped));
    if (detail != NULL) {
        message.detail = (dlt_detail){keep(diag, detail->key), keep(diag, detail->found),
                                      keep(diag, detail->allowed), keep(diag, detail->nearest)};
    }
    void *messages = diag->messages;
    if (message.text == NULL || dlt_arena_failed(diag->arena) ||
        !grow(&messages, diag->count, &diag->room, sizeof *diag->messages)) {
        diag->out_of_memory = true;
    } else {
        diag->messages = messages;
        diag->messages[diag->count++] = message;
    }
    dlt_buf_release(&text);
    dlt_buf_release(&escaped);
    return !diag->out_of_memory;
}

dlt_status dlt_fail(dlt_diag *diag, dlt_status status, dlt_pos at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const bool kept = add(diag, DLT_ERROR, status, at, NULL, fmt, args);
    va_end(args);
    return kept ? status : DLT_E_MEMORY;
}

dlt_status dlt_fail_detail(dlt_diag *diag, dlt_status status, dlt_pos at, const dlt_detail *detail,
                           const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const bool kept = add(diag, DLT_ERROR, status, at, detail, fmt, args);
    va_end(args);
    return kept ? status : DLT_E_MEMORY;
}

dlt_status dlt_fail_memory(dlt_diag *diag)
{
    if (diag != NULL) {
        diag->out_of_memory = true;
    }
    return DLT_E_MEMORY;
}

void dlt_warn(dlt_diag *diag, dlt_pos at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add(diag, DLT_WARNING, DLT_OK, at, NULL, fmt, args);
    va_end(args);
}

void dlt_note(dlt_diag *diag, dlt_pos at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add(diag, DLT_NOTE, DLT_OK, at, NULL, fmt, args);
    va_end(args);
}

size_t dlt_diag_size(const dlt_diag *diag)
{
    return diag->count + (diag->out_of_memory ? 1 : 0);
}

const dlt_message *dlt_diag_at(const dlt_diag *diag, size_t i)
{
    if (i < diag->count) {
        return &diag->messages[i];
    }
    return i == diag->count && diag->out_of_memory ? &memory_message : NULL;
}

size_t dlt_diag_count(const dlt_diag *diag, dlt_severity at_least)
{
    size_t count = 0;
    const dlt_message *m = NULL;
    for (size_t i = 0; (m = dlt_diag_at(diag, i)) != NULL; i++) {
        count += m->severity >= at_least;
    }
    return count;
}

const char *dlt_diag_text(const dlt_diag *diag, size_t i)
{
    const dlt_message *m = dlt_diag_at(diag, i);
    if (m == NULL) {
        return "";
    }
    const char *text = NULL;
    if (m->pos.file != NULL && m->pos.line > 0) {
        text = dlt_arena_printf(diag->arena, "%s:%u:%u: %s", m->pos.file, m->pos.line, m->pos.column, m->text);
    } else if (m->pos.file != NULL) {
        text = dlt_arena_printf(diag->arena, "%s: %s", m->pos.file, m->text);
    } else {
        text = m->text;
    }
    return text != NULL ? text : memory_message.text;
}

dlt_status dlt_diag_status(const dlt_diag *diag)
{
    const dlt_message *m = NULL;
    for (size_t i = 0; (m = dlt_diag_at(diag, i)) != NULL; i++) {
        if (m->severity == DLT_ERROR) {
            return m->status;
        }
    }
    return DLT_OK;
}

static int compare(const dlt_message *a, const dlt_message *b)
{
    if ((a->pos.file == NULL) != (b->pos.file == NULL)) {
        return a->pos.file == NULL ? 1 : -1; /* what has no place comes last */
    }
    const int file = a->pos.file != NULL ? strcmp(a->pos.file, b->pos.file) : 0;
    if (file != 0) {
        return file;
    }
    if (a->pos.line != b->pos.line) {
        return a->pos.line < b->pos.line ? -1 : 1;
    }
    return (a->pos.column > b->pos.column) - (a->pos.column < b->pos.column);
}

void dlt_diag_sort(dlt_diag *diag)
{
    /* Insertion sort: stable, needs no memory, and lists are short or nearly sorted already. */
    for (size_t i = 1; i < diag->count; i++) {
        const dlt_message m = diag->messages[i];
        size_t to = i;
        for (; to > 0 && compare(&m, &diag->messages[to - 1]) < 0; to--) {
            diag->messages[to] = diag->messages[to - 1];
        }
        diag->messages[to] = m;
    }
    size_t kept = 0;
    for (size_t i = 0; i < diag->count; i++) {
        const dlt_message *m = &diag->messages[i];
        bool repeated = false;
        for (size_t k = kept; k > 0 && !repeated && compare(&diag->messages[k - 1], m) == 0; k--) {
            repeated = strcmp(diag->messages[k - 1].text, m->text) == 0;
        }
        if (!repeated) {
            diag->messages[kept++] = *m;
        }
    }
    diag->count = kept;
}

void dlt_diag_add_source(dlt_diag *diag, const char *file, const char *text, size_t bytes)
{
    if (diag == NULL) {
        return;
    }
    const source added = {keep(diag, file), dlt_arena_copy(diag->arena, text, bytes), bytes};
    if (added.file == NULL || added.text == NULL) {
        diag->out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < diag->source_count; i++) {
        if (strcmp(diag->sources[i].file, file) == 0) {
            diag->sources[i] = added;
            return;
        }
    }
    void *sources = diag->sources;
    if (!grow(&sources, diag->source_count, &diag->source_room, sizeof *diag->sources)) {
        diag->out_of_memory = true;
        return;
    }
    diag->sources = sources;
    diag->sources[diag->source_count++] = added;
}

const char *dlt_diag_source_line(const dlt_diag *diag, const char *file, unsigned line, size_t *length)
{
    for (size_t i = 0; file != NULL && i < diag->source_count; i++) {
        if (strcmp(diag->sources[i].file, file) != 0) {
            continue;
        }
        const char *at = diag->sources[i].text, *end = at + diag->sources[i].bytes;
        for (unsigned l = 1; l < line; l++) {
            const char *feed = memchr(at, '\n', (size_t)(end - at));
            if (feed == NULL) {
                return NULL;
            }
            at = feed + 1;
        }
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        *length = (size_t)((feed != NULL ? feed : end) - at);
        if (*length > 0 && at[*length - 1] == '\r') {
            --*length;
        }
        return at;
    }
    return NULL;
}
