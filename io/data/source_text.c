/* io/data/source_text.c: windows over a text, for character models: `sequence_length` characters in, the next
 * one out (last), or the same window one character on (sequence). A character is a code point; its code is
 * its place among all that occur, in order of code points (as `sorted(set(text))`). Files are read one behind
 * the other as one text.
 *
 * Units are codes; windows overlap in them, so nothing is stored twice. */
#include "io/data/source.h"
#include "io/data/stream.h"

#include "base/alloc.h"

#include <string.h>

enum { PAGES = 0x110000 / 256, BUFFER_BYTES = 256 << 10 };
enum { TARGET_SEQUENCE, TARGET_LAST };
static const char *const level_names[] = {"character", NULL};
static const char *const target_names[] = {"sequence", "last", NULL};

typedef struct text_params {
    dlt_strings path;
    int64_t sequence_length;
    int level, target;
    dlt_opt_int stride;
} text_params;

static const dlt_field text_fields[] = {
    DLT_PATHS(text_params, path, NULL, "file, pattern or list of them, UTF-8; gzip is told by its content"),
    DLT_INT(text_params, sequence_length, 1, 1 << 20, DLT_REQUIRED, "characters of an input"),
    DLT_ENUM(text_params, level, level_names, character, "what a token is"),
    DLT_ENUM(text_params, target, target_names, sequence,
             "the window one character on, or the one character behind it"),
    DLT_OPT_INT(
        text_params, stride, 1, 1 << 20,
        "characters from one window to the next; default: sequence_length, or 1 where the target is last"),
    {0},
};

/* A text being decoded, file after file. */
typedef struct decoder {
    const dlt_strings *paths;
    size_t file;
    dlt_stream *stream;
    unsigned line, column; /* of the next character, from 1 */
    dlt_pos from;          /* of the first character that `decode` gave last */
    size_t at, end;        /* bytes of `buffer` that are not decoded yet */
    bool file_ended;
    unsigned char *buffer;
} decoder;

typedef struct text_state {
    dlt_strings paths;
    decoder decoder;
    int32_t *code[PAGES]; /* by code point / 256, then % 256: code + 1; 0 or no page: none */
    bool wide;            /* codes are int32, not bytes */
} text_state;

static void decoder_start(decoder *d)
{
    dlt_stream_close(d->stream);
    d->stream = NULL;
    d->file = 0;
    d->at = d->end = 0;
    d->file_ended = true;
}

/* More bytes behind those that are left; *more is false at the very end. */
static dlt_status decoder_fill(dlt_source *source, decoder *d, bool *more, dlt_diag *diag)
{
    const dlt_pos at = dlt_item_pos(source->item, "path");
    const bool opens = d->file_ended;
    size_t got = 0;
    *more = true;
    if (opens) {
        if (d->file == d->paths->count) {
            *more = false;
            return DLT_OK;
        }
        DLT_TRY(dlt_stream_open(d->paths->at[d->file], at, source->options.stop, &d->stream, diag));
        d->file_ended = false;
        d->line = d->column = 1;
    }
    memmove(d->buffer, d->buffer + d->at, d->end - d->at);
    d->end -= d->at;
    d->at = 0;
    if (opens) { /* all that a byte order mark takes, which is passed over */
        DLT_TRY(dlt_stream_fill(d->stream, d->buffer, 3, &got, diag));
        d->end = got;
        d->at = got == 3 && memcmp(d->buffer, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        return DLT_OK;
    }
    DLT_TRY(dlt_stream_read(d->stream, d->buffer + d->end, BUFFER_BYTES - d->end, &got, diag));
    d->end += got;
    if (got == 0) {
        if (d->at < d->end) {
            return dlt_fail(diag, DLT_E_DATA, (dlt_pos){d->paths->at[d->file], d->line, d->column, 0},
                            "the text ends in the middle of a UTF-8 character");
        }
        dlt_stream_close(d->stream);
        d->stream = NULL;
        d->file_ended = true;
        d->file++;
    }
    return DLT_OK;
}

/* Length of the UTF-8 character that begins with this byte; 0: none does. */
static size_t utf8_length(unsigned char c)
{
    return c < 0x80                ? 1
           : c >= 0xc2 && c < 0xe0 ? 2
           : c >= 0xe0 && c < 0xf0 ? 3
           : c >= 0xf0 && c < 0xf5 ? 4
                                   : 0;
}

static uint32_t utf8_value(const unsigned char *c, size_t length)
{
    static const unsigned char first_bits[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t value = c[0] & first_bits[length];
    for (size_t i = 1; i < length; i++) {
        value = value << 6 | (c[i] & 0x3f);
    }
    return value;
}

/* Decodes up to `most` characters into `points`; *got is 0 at the end. Positions are kept for messages. */
static dlt_status decode(dlt_source *source, decoder *d, uint32_t *points, size_t most, size_t *got,
                         dlt_diag *diag)
{
    *got = 0;
    while (*got < most) {
        const size_t length = d->at < d->end ? utf8_length(d->buffer[d->at]) : 1;
        if (d->at == d->end || d->end - d->at < length) {
            bool more = true;
            if (*got > 0) {
                return DLT_OK;
            }
            DLT_TRY(decoder_fill(source, d, &more, diag));
            if (!more) {
                return DLT_OK;
            }
            continue;
        }
        const unsigned char *c = d->buffer + d->at;
        const dlt_pos at = {d->paths->at[d->file], d->line, d->column, 0};
        if (length == 0 || !dlt_utf8_valid((const char *)c, length)) {
            return dlt_fail(diag, DLT_E_DATA, at, "byte 0x%02x is no UTF-8", c[0]);
        }
        if (c[0] == '\0') {
            return dlt_fail(diag, DLT_E_DATA, at, "the text has a NUL character");
        }
        d->from = *got == 0 ? at : d->from;
        points[(*got)++] = utf8_value(c, length);
        d->at += length;
        d->column = c[0] == '\n' ? 1 : d->column + 1;
        d->line += c[0] == '\n';
    }
    return DLT_OK;
}

static size_t put_utf8(uint32_t point, char text[4])
{
    if (point < 0x80) {
        text[0] = (char)point;
        return 1;
    }
    const size_t length = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char marks[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--) {
        text[i] = (char)(unsigned char)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    text[0] = (char)(unsigned char)(marks[length] | point);
    return length;
}

/* Code + 1 of a character, 0 if it has none. */
static int32_t code_of(const text_state *s, uint32_t point)
{
    const int32_t *page = s->code[point / 256];
    return page != NULL ? page[point % 256] : 0;
}

static bool set_code(text_state *s, uint32_t point, int32_t code)
{
    int32_t **page = &s->code[point / 256];
    if (*page == NULL) {
        *page = dlt_alloc_zeroed(256, sizeof **page);
    }
    if (*page != NULL) {
        (*page)[point % 256] = code;
    }
    return *page != NULL;
}

/* The whole text once: counts it and, without a vocabulary to follow, notes what occurs. */
static dlt_status survey(dlt_source *source, int64_t *characters, dlt_diag *diag)
{
    enum { AT_ONCE = 4096 };
    text_state *s = source->state;
    uint32_t points[AT_ONCE];
    size_t got = 1;
    *characters = 0;
    decoder_start(&s->decoder);
    while (got > 0) {
        if (dlt_source_stopped(source)) {
            return dlt_source_stop(source, diag);
        }
        DLT_TRY(decode(source, &s->decoder, points, AT_ONCE, &got, diag));
        *characters += (int64_t)got;
        for (size_t i = 0; i < got && source->options.follow == NULL; i++) {
            if (!set_code(s, points[i], 1)) {
                return dlt_fail_memory(diag);
            }
        }
    }
    return DLT_OK;
}

static dlt_status take_vocabulary(dlt_source *source, const dlt_dictionary *train, dlt_diag *diag)
{
    text_state *s = source->state;
    if (train == NULL) {
        return dlt_fail(diag, DLT_E_DATA, source->item->pos, "train is no text, this source is");
    }
    for (int64_t i = 0; i < train->count; i++) {
        const unsigned char *c = (const unsigned char *)train->at[i];
        const size_t length = utf8_length(c[0]);
        if (length == 0 || train->length[i] != length || !dlt_utf8_valid(train->at[i], length)) {
            return dlt_fail(diag, DLT_E_DATA, source->item->pos,
                            "the vocabulary of train is not one of characters");
        }
        if (!set_code(s, utf8_value(c, length), (int32_t)i + 1)) {
            return dlt_fail_memory(diag);
        }
    }
    return DLT_OK;
}

static dlt_status text_files(dlt_source *source, dlt_diag *diag)
{
    const text_params *p = source->item->params;
    text_state *s = dlt_alloc_zeroed(1, sizeof *s);
    if (s == NULL) {
        return dlt_fail_memory(diag);
    }
    source->state = s;
    s->decoder.paths = &s->paths;
    s->decoder.file_ended = true;
    return dlt_source_add_paths(source, &p->path, "path", &s->paths, diag);
}

/* Gives the characters that occur their codes, in order. */
static int64_t number_characters(text_state *s)
{
    int32_t code = 0;
    for (size_t page = 0; page < PAGES; page++) {
        for (size_t i = 0; s->code[page] != NULL && i < 256; i++) {
            if (s->code[page][i] != 0) {
                s->code[page][i] = ++code;
            }
        }
    }
    return code;
}

/* The frame's words: the characters in the order of their codes. */
static dlt_status fill_vocabulary(dlt_source *source, size_t parts, dlt_diag *diag)
{
    const text_state *s = source->state;
    for (uint32_t point = 0; point < PAGES * 256; point++) {
        if (s->code[point / 256] == NULL) {
            point += 255; /* with the loop's own one: the next page */
            continue;
        }
        char text[4];
        const size_t length = put_utf8(point, text);
        for (size_t i = 0; code_of(s, point) != 0 && i < parts; i++) {
            if (dlt_words_add(dlt_frame_words(source->frame, i), text, length) < 0) {
                return dlt_fail_memory(diag);
            }
        }
    }
    return DLT_OK;
}

static dlt_status text_open(dlt_source *source, dlt_diag *diag)
{
    static const dlt_dictionary some = {0};
    const text_params *p = source->item->params;
    const dlt_frame *train = source->options.follow;
    text_state *s = source->state;
    const int64_t length = p->sequence_length;
    const bool last = p->target == TARGET_LAST, predict = source->options.predict;
    s->decoder.buffer = dlt_alloc(BUFFER_BYTES);
    size_t *offsets = dlt_arena_alloc(source->arena, 2, sizeof *offsets);
    if (s->decoder.buffer == NULL || offsets == NULL) {
        return dlt_fail_memory(diag);
    }
    int64_t characters = -1, kinds = 0;
    if (train != NULL) {
        DLT_TRY(take_vocabulary(source, train->layout.parts[0].dictionary, diag));
        kinds = train->layout.parts[0].dictionary->count;
        s->wide = train->layout.parts[0].dtype != DLT_U8;
    }
    if (!predict) {
        DLT_TRY(survey(source, &characters, diag));
        if (characters < length + 1) {
            return dlt_fail(diag, DLT_E_DATA, source->item->pos,
                            "the text has %lld characters; sequence_length %lld needs at least %lld",
                            (long long)characters, (long long)length, (long long)length + 1);
        }
    }
    kinds = train == NULL ? number_characters(s) : kinds;
    s->wide = s->wide || kinds > 256;
    const size_t code_bytes = s->wide ? 4 : 1;
    const dlt_dtype dtype = s->wide ? DLT_I32 : DLT_U8;
    const dlt_part parts[2] = {
        {.name = "features",
         .role = DLT_ROLE_FEATURE,
         .dtype = dtype,
         .shape = DLT_SHAPE(length),
         .dictionary = &some},
        {.name = "labels",
         .role = DLT_ROLE_TARGET,
         .dtype = dtype,
         .shape = last ? dlt_scalar() : DLT_SHAPE(length),
         .dictionary = &some},
    };
    const size_t part_count = predict ? 1 : 2;
    if (train != NULL) {
        for (size_t i = 0; i < part_count; i++) {
            if (train->layout.count < part_count ||
                !dlt_shape_equal(&train->layout.parts[i].shape, &parts[i].shape)) {
                return dlt_fail(diag, DLT_E_DATA, source->item->pos,
                                "sequence_length and target must be those of train");
            }
        }
    }
    DLT_TRY(dlt_frame_create(&(dlt_frame_plan){.count = part_count, .parts = parts}, &source->frame, diag));
    if (!dlt_stats_init(&source->stats, part_count)) {
        return dlt_fail_memory(diag);
    }
    if (train == NULL) {
        DLT_TRY(fill_vocabulary(source, part_count, diag));
    } else {
        for (size_t i = 0; i < part_count; i++) {
            source->frame->parts[i].dictionary = train->layout.parts[0].dictionary;
        }
    }
    const int64_t stride = p->stride.set ? p->stride.value : last ? 1 : length;
    offsets[0] = 0;
    offsets[1] = (size_t)(last ? length : 1) * code_bytes;
    source->unit_offsets = offsets;
    source->unit_bytes = code_bytes;
    source->stride = stride * (int64_t)code_bytes;
    source->span = (predict ? length : length + 1) * (int64_t)code_bytes;
    source->units = characters;
    for (size_t i = 0; i < part_count; i++) {
        source->stats.part[i].distinct = kinds;
        source->stats.part[i].least = 0;
        source->stats.part[i].most = (double)(kinds - 1);
    }
    source->labels_known = true;
    source->stats.records = characters >= 0 ? dlt_source_records(source, characters) : 0;
    source->stats.complete = characters >= 0;
    decoder_start(&s->decoder);
    return DLT_OK;
}

static dlt_status text_next(dlt_source *source, int64_t most, unsigned char *units, int64_t *got,
                            dlt_diag *diag)
{
    enum { AT_ONCE = 4096 };
    text_state *s = source->state;
    uint32_t points[AT_ONCE];
    size_t count = 0;
    *got = 0;
    if (dlt_source_stopped(source)) {
        return dlt_source_stop(source, diag);
    }
    while (*got < most) {
        const size_t wanted = most - *got < AT_ONCE ? (size_t)(most - *got) : AT_ONCE;
        DLT_TRY(decode(source, &s->decoder, points, wanted, &count, diag));
        dlt_pos at = s->decoder.from;
        for (size_t i = 0; i < count; i++) {
            const int32_t code = code_of(s, points[i]) - 1;
            if (code < 0) {
                char text[4];
                const size_t length = put_utf8(points[i], text);
                return dlt_fail(diag, DLT_E_DATA, at, "the character '%.*s' (U+%04X) does not occur in train",
                                (int)length, text, (unsigned)points[i]);
            }
            if (units != NULL && s->wide) {
                memcpy(units + 4 * (size_t)*got, &code, sizeof code);
            } else if (units != NULL) {
                units[*got] = (unsigned char)code;
            }
            at.column = points[i] == '\n' ? 1 : at.column + 1;
            at.line += points[i] == '\n';
            ++*got;
        }
        if (count == 0 || units == NULL || (source->options.predict && *got > 0)) {
            break;
        }
    }
    return DLT_OK;
}

static void text_close(dlt_source *source)
{
    text_state *s = source->state;
    if (s == NULL) {
        return;
    }
    dlt_stream_close(s->decoder.stream);
    dlt_free(s->decoder.buffer);
    for (size_t i = 0; i < PAGES; i++) {
        dlt_free(s->code[i]);
    }
    dlt_free(s);
    source->state = NULL;
}

static dlt_status text_input(dlt_arena *arena, const dlt_item *like, const char *path, bool targets,
                             void *params, dlt_diag *diag)
{
    (void)targets; /* the next characters */
    const char **paths = dlt_arena_alloc(arena, 1, sizeof *paths);
    if (paths == NULL) {
        return dlt_fail_memory(diag);
    }
    paths[0] = path;
    *(text_params *)params =
        like != NULL ? *(const text_params *)like->params : (text_params){.sequence_length = 1};
    ((text_params *)params)->path = (dlt_strings){1, paths};
    return DLT_OK;
}

const dlt_source_desc dlt_source_text = {
    .kind = {.name = "Text",
             .doc = "windows over a text, for character models",
             .size = sizeof(text_params),
             .fields = text_fields},
    .files = text_files,
    .open = text_open,
    .next = text_next,
    .close = text_close,
    .input = text_input,
};
