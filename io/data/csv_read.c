/* io/data/csv_read.c: CSV files as blocks of whole records, file after file. */
#include "io/data/csv_internal.h"

#include "base/alloc.h"

#include <string.h>

enum { FRONT_BYTES = 6 }; /* the longest mark that a kind of file begins with */

void csv_reader_release(csv_reader *reader)
{
    dlt_stream_close(reader->stream);
    dlt_free(reader->carry);
    *reader = (csv_reader){0};
}

static bool make_room(char **text, size_t *room, size_t wanted)
{
    if (*room >= wanted) {
        return true;
    }
    char *grown = dlt_realloc(*text, wanted, 1);
    if (grown == NULL) {
        return false;
    }
    *text = grown;
    *room = wanted;
    return true;
}

/* Adds bytes of the stream to the block's text. */
static dlt_status more_text(csv_reader *reader, csv_block *block, size_t *bytes, bool *ended, dlt_diag *diag)
{
    size_t got = 0;
    DLT_TRY(dlt_stream_read(reader->stream, block->text + *bytes, block->room - *bytes, &got, diag));
    *bytes += got;
    *ended = got == 0;
    return DLT_OK;
}

static dlt_status open_next(csv_reader *reader, dlt_diag *diag)
{
    const char *path = reader->paths->at[reader->file];
    reader->started = false;
    return dlt_stream_open(path, reader->at, reader->stop, &reader->stream, diag);
}

/* What a file is that is no text, by its first bytes; NULL: it may be text. */
static const char *not_text(const char *text, size_t bytes)
{
    static const struct {
        const char *magic;
        size_t bytes;
        const char *what;
    } known[] = {{"\x89HDF", 4, "an HDF5 file"},
                 {"\x93NUMPY", 6, "a NumPy array, for which there is the source NPY"},
                 {"PK\3\4", 4, "a zip archive; where it holds NumPy arrays there is the source NPZ"},
                 {"\0\0", 2, "a binary file"}};
    for (size_t i = 0; i < DLT_COUNT(known); i++) {
        if (bytes >= known[i].bytes && memcmp(text, known[i].magic, known[i].bytes) == 0) {
            return known[i].what;
        }
    }
    return NULL;
}

/* The front of a file: a byte order mark is passed over, and so are skip_rows lines. *start is where records
 * begin. */
static dlt_status skip_front(csv_reader *reader, csv_block *block, size_t *bytes, bool *ended, size_t *start,
                             dlt_diag *diag)
{
    const char *path = reader->paths->at[reader->file];
    while (*bytes < FRONT_BYTES && !*ended) {
        DLT_TRY(more_text(reader, block, bytes, ended, diag));
    }
    block->binary = not_text(block->text, *bytes);
    const unsigned char *front = (const unsigned char *)block->text;
    if (*bytes >= 2 && ((front[0] == 0xff && front[1] == 0xfe) || (front[0] == 0xfe && front[1] == 0xff))) {
        return dlt_fail(diag, DLT_E_DATA, (dlt_pos){path, 1, 1, 0}, "the file is UTF-16; save it as UTF-8");
    }
    *start = *bytes >= 3 && memcmp(front, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    for (int64_t skipped = 0; skipped < reader->skip_rows;) {
        const char *feed = memchr(block->text + *start, '\n', *bytes - *start);
        if (feed != NULL) {
            *start = (size_t)(feed + 1 - block->text);
            block->lines_before++;
            skipped++;
            continue;
        }
        *bytes = *start = 0; /* the rest of a skipped line need not be kept */
        if (*ended) {
            break;
        }
        DLT_TRY(more_text(reader, block, bytes, ended, diag));
    }
    return DLT_OK;
}

static dlt_status keep_rest(csv_reader *reader, const csv_block *block, size_t bytes, dlt_diag *diag)
{
    const size_t rest = bytes - block->end;
    if (!make_room(&reader->carry, &reader->carry_room, rest > 0 ? rest : 1)) {
        return dlt_fail_memory(diag);
    }
    memcpy(reader->carry, block->text + block->end, rest);
    reader->carry_bytes = rest;
    return DLT_OK;
}

dlt_status csv_reader_next(csv_reader *reader, csv_block *block, bool *got, dlt_diag *diag)
{
    *got = false;
    if (reader->stream == NULL) {
        if (reader->file == reader->paths->count) {
            return DLT_OK;
        }
        DLT_TRY(open_next(reader, diag));
    }
    block->state = CSV_READ;
    block->file = reader->file;
    block->file_start = !reader->started;
    block->binary = NULL;
    block->lines_before = 0;
    block->start = 0;
    block->open_quote = SIZE_MAX;
    block->too_long = false;
    block->no_memory = false;
    enum { LEAST_ROOM = 16 }; /* for FRONT_BYTES */
    const size_t wanted =
        reader->carry_bytes + (reader->block_bytes > LEAST_ROOM ? reader->block_bytes : LEAST_ROOM);
    if (!make_room(&block->text, &block->room, wanted)) {
        return dlt_fail_memory(diag);
    }
    size_t bytes = reader->carry_bytes;
    bool ended = false;
    if (bytes > 0) {
        memcpy(block->text, reader->carry, bytes);
        reader->carry_bytes = 0;
    }
    if (!reader->started) {
        DLT_TRY(skip_front(reader, block, &bytes, &ended, &block->start, diag));
        reader->started = true;
    }
    csv_split split = {.at = block->start, .boundary = block->start, .plain = true};
    csv_split_more(&split, &reader->dialect, block->text, bytes);
    const bool live = dlt_stream_is_pipe(reader->stream);
    while (!ended && (bytes < block->room || split.boundary == block->start)) {
        if (live && split.boundary > block->start) {
            break; /* who types rows wants an answer to those that are there */
        }
        if (bytes == block->room) {
            const size_t most = block->start + CSV_RECORD_BYTES;
            if (bytes >= most) {
                break;
            }
            if (!make_room(&block->text, &block->room, block->room * 2 < most ? block->room * 2 : most)) {
                return dlt_fail_memory(diag);
            }
        }
        const bool whole = split.boundary > block->start; /* then the next call tries again, and tells */
        const dlt_status status = more_text(reader, block, &bytes, &ended, whole ? NULL : diag);
        if (status != DLT_OK && whole) {
            break;
        }
        DLT_TRY(status);
        csv_split_more(&split, &reader->dialect, block->text, bytes);
    }
    *got = true;
    block->end = ended && !csv_split_in_quotes(&split) ? bytes : split.boundary;
    if (csv_split_in_quotes(&split) && (ended || block->end == block->start)) {
        block->open_quote = split.quote_at;
    }
    block->too_long = !ended && block->end == block->start;
    if (ended || block->too_long) { /* nothing of this file can be read any further */
        dlt_stream_close(reader->stream);
        reader->stream = NULL;
        reader->file++;
        return DLT_OK;
    }
    return keep_rest(reader, block, bytes, diag);
}

/* Fields of a line outside quotes, counted for one delimiter. */
static size_t fields_of_line(const char *line, const char *end, char delimiter)
{
    size_t fields = 1;
    bool quoted = false;
    for (const char *c = line; c < end; c++) {
        quoted = quoted != (*c == '"');
        fields += !quoted && *c == delimiter;
    }
    return fields;
}

dlt_status csv_reader_find_delimiter(csv_reader *reader, dlt_diag *diag)
{
    static const char candidates[] = {',', ';', '\t', '|'};
    enum { LINES = 20, LOOK_BYTES = 64 << 10 };
    size_t got = 0, best = 1;
    reader->dialect.delimiter = ',';
    if (reader->paths->count == 0) {
        return DLT_OK;
    }
    /* what is looked at is kept as if it had been left over from a block before */
    DLT_TRY(open_next(reader, diag));
    if (!make_room(&reader->carry, &reader->carry_room, LOOK_BYTES)) {
        return dlt_fail_memory(diag);
    }
    if (dlt_stream_is_pipe(reader->stream)) {
        DLT_TRY(dlt_stream_read(reader->stream, reader->carry, LOOK_BYTES, &got, diag));
    } else {
        DLT_TRY(dlt_stream_fill(reader->stream, reader->carry, LOOK_BYTES, &got, diag));
    }
    reader->carry_bytes = got;
    const char *front = reader->carry, *end = front + got;
    for (int64_t skipped = 0; skipped < reader->skip_rows && front < end; skipped++) {
        const char *feed = memchr(front, '\n', (size_t)(end - front));
        front = feed != NULL ? feed + 1 : end;
    }
    for (size_t i = 0; i < DLT_COUNT(candidates); i++) {
        size_t fields = 0;
        bool same = true;
        int lines = 0;
        for (const char *line = front; line < end && lines < LINES; lines++) {
            const char *feed = memchr(line, '\n', (size_t)(end - line));
            if (feed == NULL && got == LOOK_BYTES && lines > 0) {
                break; /* a line that was cut off */
            }
            const char *line_end = feed != NULL ? feed : end;
            const size_t here = fields_of_line(line, line_end, candidates[i]);
            same = same && (fields == 0 || here == fields || line_end == line);
            fields = fields == 0 ? here : fields;
            line = feed != NULL ? feed + 1 : end;
        }
        if (same && fields > best) {
            best = fields;
            reader->dialect.delimiter = candidates[i];
        }
    }
    return DLT_OK;
}
