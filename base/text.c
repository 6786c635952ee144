/* base/text.c: building, measuring and comparing text. */
#include "base/text.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dlt_buf_release(dlt_buf *buf)
{
    dlt_free(buf->data);
    *buf = (dlt_buf){0};
}

void dlt_buf_reset(dlt_buf *buf)
{
    buf->length = 0;
    buf->failed = false;
    if (buf->data != NULL) {
        buf->data[0] = '\0';
    }
}

/* Room for `more` bytes and the NUL. */
static bool reserve(dlt_buf *buf, size_t more)
{
    size_t need = 0;
    if (buf->failed || !dlt_add_size(buf->length, more, &need) || !dlt_add_size(need, 1, &need)) {
        buf->failed = true;
        return false;
    }
    if (need <= buf->room) {
        return true;
    }
    size_t room = buf->room > 0 ? buf->room : 64;
    while (room < need) {
        room = room > SIZE_MAX / 2 ? need : room * 2;
    }
    char *data = dlt_realloc(buf->data, room, 1);
    if (data == NULL) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->room = room;
    return true;
}

void dlt_buf_append(dlt_buf *buf, const char *text, size_t bytes)
{
    if (reserve(buf, bytes)) {
        if (bytes > 0) {
            memcpy(buf->data + buf->length, text, bytes);
        }
        buf->length += bytes;
        buf->data[buf->length] = '\0';
    }
}

void dlt_buf_string(dlt_buf *buf, const char *text)
{
    dlt_buf_append(buf, text, strlen(text));
}

void dlt_buf_char(dlt_buf *buf, char c)
{
    dlt_buf_append(buf, &c, 1);
}

void dlt_buf_vprintf(dlt_buf *buf, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, fmt, args);
    if (length < 0) {
        buf->failed = true;
    } else if (reserve(buf, (size_t)length)) {
        vsnprintf(buf->data + buf->length, (size_t)length + 1, fmt, again);
        buf->length += (size_t)length;
    }
    va_end(again);
}

void dlt_buf_printf(dlt_buf *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    dlt_buf_vprintf(buf, fmt, args);
    va_end(args);
}

void dlt_buf_finish(dlt_buf *piece, dlt_buf *out)
{
    out->failed = out->failed || piece->failed;
    dlt_buf_release(piece);
}

void dlt_buf_csv(dlt_buf *out, const char *text)
{
    if (strpbrk(text, ",\"\r\n") == NULL) {
        dlt_buf_string(out, text);
        return;
    }
    dlt_buf_char(out, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"') {
            dlt_buf_char(out, '"');
        }
        dlt_buf_char(out, *text);
    }
    dlt_buf_char(out, '"');
}

/* Whether a shell takes it as one word that means itself. Bytes beyond ASCII do. */
static bool is_shell_word(const char *text)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_";
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x80 && strchr(safe, *c) == NULL) {
            return false;
        }
    }
    return *text != '\0';
}

void dlt_buf_shell(dlt_buf *out, const char *path)
{
    const bool plain = dlt_text_plain(path);
    const char *dash = path[0] == '-' ? "./" : "";
    if (is_shell_word(path)) {
        dlt_buf_printf(out, "%s%s", dash, path);
        return;
    }
    dlt_buf_printf(out, "%s'%s", plain ? "" : "$", dash);
    for (const char *c = path; *c != '\0'; c++) {
        const unsigned char byte = (unsigned char)*c;
        if (plain && byte == '\'') {
            dlt_buf_string(out, "'\\''");
        } else if (!plain && (byte == '\'' || byte == '\\')) {
            dlt_buf_printf(out, "\\%c", byte);
        } else if (byte < 0x20 || byte == 0x7F) {
            dlt_buf_printf(out, "\\x%02x", byte);
        } else {
            dlt_buf_char(out, *c);
        }
    }
    dlt_buf_char(out, '\'');
}

const char *dlt_buf_text(const dlt_buf *buf)
{
    return buf->data != NULL ? buf->data : "";
}

/* Bytes of the valid UTF-8 character at text, 0 if it is not valid. */
static size_t utf8_bytes(const unsigned char *text, size_t bytes)
{
    const unsigned char c = text[0];
    if (c < 0x80) {
        return 1;
    }
    const size_t length = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (c < 0xC2 || c > 0xF4 || bytes < length) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    const bool overlong = (c == 0xE0 && text[1] < 0xA0) || (c == 0xF0 && text[1] < 0x90);
    const bool surrogate = c == 0xED && text[1] >= 0xA0;
    const bool too_large = c == 0xF4 && text[1] >= 0x90;
    return overlong || surrogate || too_large ? 0 : length;
}

bool dlt_utf8_valid(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        const size_t step = utf8_bytes((const unsigned char *)text + i, bytes - i);
        if (step == 0) {
            return false;
        }
        i += step;
    }
    return true;
}

bool dlt_text_plain(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7F) {
            return false;
        }
    }
    return true;
}

size_t dlt_utf8_length(const char *text, size_t bytes)
{
    size_t length = 0;
    for (size_t i = 0; i < bytes; i++) {
        length += ((unsigned char)text[i] & 0xC0) != 0x80;
    }
    return length;
}

void dlt_buf_escaped(dlt_buf *buf, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        const unsigned char c = (unsigned char)text[i];
        const size_t step = utf8_bytes((const unsigned char *)text + i, bytes - i);
        /* C1 control characters are valid UTF-8 but steer terminals as well */
        const bool control = c < 0x20 || c == 0x7F || (c == 0xC2 && step == 2 && (unsigned char)text[i + 1] < 0xA0);
        if (step == 0 || control) {
            const size_t shown = step == 0 ? 1 : step;
            for (size_t k = 0; k < shown; k++) {
                dlt_buf_printf(buf, "\\x%02x", (unsigned)(unsigned char)text[i + k]);
            }
            i += shown;
        } else {
            dlt_buf_append(buf, text + i, step);
            i += step;
        }
    }
}

void dlt_format_double(double value, char *text, size_t room)
{
    if (isnan(value)) {
        snprintf(text, room, "nan"); /* never "-nan" */
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, room, "%.*g", digits, value);
        if (!isfinite(value) || strtod(text, NULL) == value) {
            return;
        }
    }
}

void dlt_format_float(float value, char *text, size_t room)
{
    if (isnan(value)) {
        snprintf(text, room, "nan");
        return;
    }
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, room, "%.*g", digits, (double)value);
        if (!isfinite(value) || strtof(text, NULL) == value) {
            return;
        }
    }
}

void dlt_format_bytes(uint64_t bytes, char *text, size_t room)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    if (bytes < 1024) {
        snprintf(text, room, "%u B", (unsigned)bytes);
        return;
    }
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1023.95 && unit + 1 < DLT_COUNT(units)) { /* 1023.95 would print as 1024.0 */
        value /= 1024;
        unit++;
    }
    snprintf(text, room, "%.1f %s", value, units[unit]);
}

void dlt_format_count(int64_t count, char *text, size_t room)
{
    char digits[32];
    const int length = snprintf(digits, sizeof digits, "%lld", (long long)count);
    size_t at = 0;
    for (int i = 0; i < length && at + 2 < room; i++) {
        const int left = length - i;
        if (i > 0 && left % 3 == 0 && digits[i - 1] != '-') {
            text[at++] = ',';
        }
        text[at++] = digits[i];
    }
    text[at] = '\0';
}

void dlt_format_seconds(double seconds, char *text, size_t room)
{
    if (!(seconds >= 0)) {
        snprintf(text, room, "?");
    } else if (seconds < 1e-3) {
        snprintf(text, room, "%.0f us", seconds * 1e6);
    } else if (seconds < 0.1) {
        snprintf(text, room, "%.1f ms", seconds * 1e3);
    } else if (seconds < 10) {
        snprintf(text, room, "%.1f s", seconds);
    } else if (seconds < 120) {
        snprintf(text, room, "%.0f s", seconds);
    } else if (seconds < 3600) {
        const long long s = (long long)(seconds + 0.5);
        snprintf(text, room, "%lld min %02lld s", s / 60, s % 60);
    } else if (seconds < 172800) {
        const long long m = (long long)(seconds / 60 + 0.5);
        snprintf(text, room, "%lld h %02lld min", m / 60, m % 60);
    } else {
        snprintf(text, room, "%.1f days", seconds / 86400);
    }
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Cost in half steps of reading b where a stands. */
static int replace_cost(char a, char b)
{
    if (a == b) {
        return 0;
    }
    return lower(a) == lower(b) ? 1 : 2;
}

static int min3(int a, int b, int c)
{
    const int ab = a < b ? a : b;
    return ab < c ? ab : c;
}

int dlt_edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 64 };
    const size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST) {
        return strcmp(a, b) == 0 ? 0 : 2 * (int)(n > m ? n : m);
    }
    /* Damerau-Levenshtein with swaps of neighbours; three rolling rows */
    int rows[3][LONGEST + 1] = {{0}}; /* i % 3 is too much for an analyzer */
    for (size_t j = 0; j <= m; j++) {
        rows[0][j] = 2 * (int)j;
    }
    for (size_t i = 1; i <= n; i++) {
        int *now = rows[i % 3], *last = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];
        now[0] = 2 * (int)i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = min3(last[j] + 2, now[j - 1] + 2, last[j - 1] + replace_cost(a[i - 1], b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 2 < now[j]) {
                now[j] = before[j - 2] + 2;
            }
        }
    }
    return rows[n % 3][m];
}

int dlt_nearest(const char *text, const char *const *names, size_t count)
{
    int best = -1, best_distance = 0;
    for (size_t i = 0; i < count; i++) {
        if (names[i] == NULL) {
            continue;
        }
        if (dlt_text_same(text, names[i])) { /* but for upper and lower case */
            return (int)i;
        }
        const int distance = dlt_edit_distance(text, names[i]);
        if (best < 0 || distance < best_distance) {
            best = (int)i;
            best_distance = distance;
        }
    }
    if (best < 0) {
        return -1;
    }
    const size_t n = strlen(text), m = strlen(names[best]);
    const size_t longer = n > m ? n : m, shorter = n < m ? n : m;
    const int allowed = longer < 3 ? 2 : 2 * (int)((longer + 2) / 3);
    if (best_distance <= allowed && (size_t)best_distance < 2 * shorter) { /* something of it must be there */
        return best;
    }
    best = -1; /* cut short, as acc of accuracy: the shortest that goes on */
    for (size_t i = 0; n >= 3 && i < count; i++) {
        if (names[i] != NULL && strncmp(names[i], text, n) == 0 &&
            (best < 0 || strlen(names[i]) < strlen(names[best]))) {
            best = (int)i;
        }
    }
    return best;
}

static int compare_texts(const char *const *texts, size_t a, size_t b)
{
    const int order = strcmp(texts[a], texts[b]);
    return order != 0 ? order : (a > b) - (a < b);
}

static void sift_down(const char *const *texts, size_t *order, size_t at, size_t count)
{
    for (size_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && compare_texts(texts, order[child], order[child + 1]) < 0) {
            child++;
        }
        if (compare_texts(texts, order[at], order[child]) >= 0) {
            return;
        }
        const size_t swap = order[at];
        order[at] = order[child];
        order[child] = swap;
        at = child;
    }
}

void dlt_sort_texts(const char *const *texts, size_t *order, size_t count)
{
    for (size_t i = 0; i < count; i++) { /* heap sort */
        order[i] = i;
    }
    for (size_t i = count / 2; i > 0; i--) {
        sift_down(texts, order, i - 1, count);
    }
    for (size_t end = count; end > 1; end--) {
        const size_t swap = order[0];
        order[0] = order[end - 1];
        order[end - 1] = swap;
        sift_down(texts, order, 0, end - 1);
    }
}

bool dlt_text_starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool dlt_text_ends(const char *text, const char *suffix)
{
    const size_t n = strlen(text), m = strlen(suffix);
    return n >= m && strcmp(text + n - m, suffix) == 0;
}

bool dlt_text_same(const char *a, const char *b)
{
    for (; *a != '\0' && lower(*a) == lower(*b); a++, b++) {
    }
    return lower(*a) == lower(*b);
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_word(char c)
{
    return is_upper(c) || is_lower(c) || (c >= '0' && c <= '9') || c == '_';
}

void dlt_snake_case(const char *name, char *text, size_t room)
{
    /* Keras' two regular expressions come to this: drop what is no word character, then put '_' before a capital that
     * is not the first and has a small letter on either side. */
    size_t at = 0;
    char last = '\0';
    for (const char *c = name; *c != '\0' && at + 2 < room; c++) {
        if (!is_word(*c)) {
            continue;
        }
        const char *next = c + 1;
        while (*next != '\0' && !is_word(*next)) {
            next++;
        }
        if (is_upper(*c) && last != '\0' && (is_lower(*next) || is_lower(last))) {
            text[at++] = '_';
        }
        text[at++] = lower(*c);
        last = *c;
    }
    text[at] = '\0';
}

void dlt_buf_wrap(dlt_buf *out, const char *text, int at, int columns, int width)
{
    bool first = true;
    while (*text != '\0') {
        if (*text == '\n') { /* a new paragraph */
            dlt_buf_printf(out, "\n\n%*s", columns, "");
            at = columns;
            first = true;
            text++;
            continue;
        }
        const int word = (int)strcspn(text, " \n");
        if (!first && at + 1 + word > width) {
            dlt_buf_printf(out, "\n%*s", columns, "");
            at = columns;
        } else if (!first) {
            dlt_buf_char(out, ' ');
            at++;
        }
        dlt_buf_append(out, text, (size_t)word);
        at += word;
        first = false;
        text += word;
        text += strspn(text, " ");
    }
}
