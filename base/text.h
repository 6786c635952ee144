/* base/text.h: building, measuring and comparing text. */
#ifndef DLT_BASE_TEXT_H
#define DLT_BASE_TEXT_H

#include "base/status.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A growing text; starts as {0}. Failure is sticky: ask `failed` once at the end. */
typedef struct dlt_buf {
    char *data; /* NUL-terminated, or NULL while empty */
    size_t length, room;
    bool failed;
} dlt_buf;

void dlt_buf_release(dlt_buf *buf);
/** Empties the text, keeps its memory. */
void dlt_buf_reset(dlt_buf *buf);
void dlt_buf_append(dlt_buf *buf, const char *text, size_t bytes);
void dlt_buf_string(dlt_buf *buf, const char *text);
void dlt_buf_char(dlt_buf *buf, char c);
void dlt_buf_printf(dlt_buf *buf, const char *fmt, ...) DLT_PRINTF(2, 3);
/**
 * Appends text broken at blanks to lines of `width`, those after the first indented by `columns`; `at` is where the first one starts.
 * A line feed in the text begins a new paragraph.
 */
void dlt_buf_wrap(dlt_buf *buf, const char *text, int at, int columns, int width);
void dlt_buf_vprintf(dlt_buf *buf, const char *fmt, va_list args) DLT_PRINTF(2, 0);
/** Appends text with control bytes and invalid UTF-8 as \xNN, so that input cannot steer a terminal. */
void dlt_buf_escaped(dlt_buf *buf, const char *text, size_t bytes);
/** Releases a piece that went into `out`: where the piece was not whole, `out` is not either. */
void dlt_buf_finish(dlt_buf *piece, dlt_buf *out);
/** The text, never NULL. */
const char *dlt_buf_text(const dlt_buf *buf);

/** Shortest decimal text that reads back as the same double ("0.001", "1e-07", "nan", "inf"). At least 32 bytes. */
void dlt_format_double(double value, char *text, size_t room);
/** Shortest decimal text that reads back as the same float. */
void dlt_format_float(float value, char *text, size_t room);
/** Appends a field of CSV (RFC 4180), quoted where it must be. */
void dlt_buf_csv(dlt_buf *buf, const char *text);
/** Appends a file name as a word for a shell: as it is where that means the same, else quoted; one that begins with a dash
 * gets "./" in front. Control bytes are written as \xNN in $'...', which bash, zsh and ksh read. */
void dlt_buf_shell(dlt_buf *buf, const char *path);
/** "512 B", "14.2 MiB", "1.5 GiB": one decimal, binary units. */
void dlt_format_bytes(uint64_t bytes, char *text, size_t room);
/** "34,826": groups of three. */
void dlt_format_count(int64_t count, char *text, size_t room);
/** "1.9 s", "2 min 10 s", "3 h 05 min": as people say it. */
void dlt_format_seconds(double seconds, char *text, size_t room);

/** Least number of insertions, deletions, replacements and swaps of neighbours that turn a into b; case counts half.
 * Texts over 64 bytes count as different by their lengths. Result in half steps. */
int dlt_edit_distance(const char *a, const char *b);
/**
 * Index of the name most like `text`: the same but for case, or close enough to be meant (a third of its length is another), or
 * one that `text` is the beginning of; -1 if there is none.
 * names has count entries, NULL ones are skipped.
 */
int dlt_nearest(const char *text, const char *const *names, size_t count);

/**
 * Order of texts by strcmp, equal ones by their number: order[0..count) becomes their numbers. n log n whatever the texts
 * are, no recursion, no memory.
 */
void dlt_sort_texts(const char *const *texts, size_t *order, size_t count);

/** True if the bytes are valid UTF-8 (no overlong forms, no surrogates, at most U+10FFFF). */
bool dlt_utf8_valid(const char *text, size_t bytes);
/** True if no byte is a control character. */
bool dlt_text_plain(const char *text);
/** Characters in a valid UTF-8 text. */
size_t dlt_utf8_length(const char *text, size_t bytes);
bool dlt_text_starts(const char *text, const char *prefix);
bool dlt_text_ends(const char *text, const char *suffix);
/** Equal without regard to ASCII case. */
bool dlt_text_same(const char *a, const char *b);
/** Keras' name of a class: "MaxPooling2D" -> "max_pooling2d" (keras-files.md 1.3). room: 2 * strlen + 1. */
void dlt_snake_case(const char *name, char *text, size_t room);

#endif
