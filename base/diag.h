/* base/diag.h: the list of messages that a command shows to its user, each with the place it is about. */
#ifndef DLT_BASE_DIAG_H
#define DLT_BASE_DIAG_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

/** A place in a text. Counts from 1; line 0 means nowhere. `span` is the length of the token in characters. */
typedef struct dlt_pos {
    const char *file; /* borrowed: lives as long as the diag's owner keeps the text */
    unsigned line, column, span;
} dlt_pos;

typedef enum dlt_severity { DLT_NOTE, DLT_WARNING, DLT_ERROR } dlt_severity;

/** What a program that reads messages wants to know apart from the sentence. Any member may be NULL. */
typedef struct dlt_detail {
    const char *key;     /* what the message is about: "kernal_size", "fit.epochs" */
    const char *found;   /* the text that stands there */
    const char *allowed; /* what may stand there */
    const char *nearest; /* the known name most like what was found */
} dlt_detail;

typedef struct dlt_message {
    dlt_severity severity;
    dlt_status status; /* DLT_OK for notes and warnings */
    dlt_pos pos;
    const char *text;  /* one sentence, no line feed, control bytes escaped */
    dlt_detail detail; /* copies */
} dlt_message;

/** Opaque list of messages; not shared between threads without a lock of the caller's. */
typedef struct dlt_diag dlt_diag;

/** NULL when memory is refused. */
dlt_diag *dlt_diag_create(void);
/** NULL is accepted. */
void dlt_diag_destroy(dlt_diag *diag);
/** Forgets all messages. */
void dlt_diag_reset(dlt_diag *diag);

/**
 * Adds an error and returns `status`, so that a check is one statement. `diag` may be NULL: nothing is kept. Where there is no
 * memory for the message, it says "out of memory" instead, and returns that.
 */
dlt_status dlt_fail(dlt_diag *diag, dlt_status status, dlt_pos at, const char *fmt, ...) DLT_PRINTF(4, 5);
/** The same with detail for machines. */
dlt_status dlt_fail_detail(dlt_diag *diag, dlt_status status, dlt_pos at, const dlt_detail *detail,
                           const char *fmt, ...) DLT_PRINTF(5, 6);
/** "out of memory", which needs no memory to be said. */
dlt_status dlt_fail_memory(dlt_diag *diag);
void dlt_warn(dlt_diag *diag, dlt_pos at, const char *fmt, ...) DLT_PRINTF(3, 4);
void dlt_note(dlt_diag *diag, dlt_pos at, const char *fmt, ...) DLT_PRINTF(3, 4);

/** Number of messages of at least this severity. */
size_t dlt_diag_count(const dlt_diag *diag, dlt_severity at_least);
/** Number of all messages. */
size_t dlt_diag_size(const dlt_diag *diag);
/** Message i in the order added, or sorted after dlt_diag_sort; NULL when i is out of range. */
const dlt_message *dlt_diag_at(const dlt_diag *diag, size_t i);
/** "file:line:column: text" of message i, or "" when there is none. Lives until the diag is reset. */
const char *dlt_diag_text(const dlt_diag *diag, size_t i);
/** Status of the first error, DLT_OK if there is none. */
dlt_status dlt_diag_status(const dlt_diag *diag);
/** Sorts by file, line and column, keeping the order of equals; drops repetitions of one message. */
void dlt_diag_sort(dlt_diag *diag);

/**
 * Gives the text of `file` to the diag (copied), so that messages can show the line they are about.
 * A second text of the same name replaces the first.
 */
void dlt_diag_add_source(dlt_diag *diag, const char *file, const char *text, size_t bytes);
/** Line `line` (from 1) of a source: start and length, without its end; NULL if not known. */
const char *dlt_diag_source_line(const dlt_diag *diag, const char *file, unsigned line, size_t *length);

/* tests/analyze.sh: these return the status they are given, which an analyzer cannot see from another file. */
#if defined(DLT_ANALYSIS) && !defined(DLT_DIAG_ITSELF)
#define dlt_fail(diag, status, ...) (dlt_fail(diag, status, __VA_ARGS__), (status))
#define dlt_fail_detail(diag, status, ...) (dlt_fail_detail(diag, status, __VA_ARGS__), (status))
#define dlt_fail_memory(diag) (dlt_fail_memory(diag), DLT_E_MEMORY)
#endif

#endif
