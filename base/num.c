/* base/num.c: text to numbers. Short decimal fractions take an exact fast path; the rest goes to strtod, which is locale
 * free because dltrain never calls setlocale. */
#include "base/num.h"

#include "base/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool digit_of(char c, unsigned base, unsigned *digit)
{
    unsigned d = 16;
    if (c >= '0' && c <= '9') {
        d = (unsigned)(c - '0');
    } else if (c >= 'a' && c <= 'f') {
        d = (unsigned)(c - 'a') + 10;
    } else if (c >= 'A' && c <= 'F') {
        d = (unsigned)(c - 'A') + 10;
    }
    *digit = d;
    return d < base;
}

bool dlt_parse_i64(const char *text, size_t bytes, int64_t *value)
{
    size_t at = 0;
    const bool negative = bytes > 0 && text[0] == '-';
    if (bytes > 0 && (text[0] == '-' || text[0] == '+')) {
        at = 1;
    }
    unsigned base = 10;
    if (at == 0 && bytes > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'o')) {
        base = text[1] == 'x' ? 16 : 8;
        at = 2;
    }
    if (at == bytes) {
        return false;
    }
    int64_t v = 0;
    for (; at < bytes; at++) {
        unsigned digit = 0;
        if (!digit_of(text[at], base, &digit) || __builtin_mul_overflow(v, (int64_t)base, &v)) {
            return false;
        }
        const int64_t d = (int64_t)digit;
        if (negative ? __builtin_sub_overflow(v, d, &v) : __builtin_add_overflow(v, d, &v)) {
            return false;
        }
    }
    *value = v;
    return true;
}

/* Powers of ten that a double holds exactly. */
static const double exact_powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

bool dlt_parse_double(const char *text, size_t bytes, double *value)
{
    enum { LARGEST_EXPONENT = 100000, LONGEST = 512 };
    size_t at = 0;
    const bool negative = bytes > 0 && text[0] == '-';
    if (bytes > 0 && (text[0] == '-' || text[0] == '+')) {
        at = 1;
    }
    uint64_t mantissa = 0;
    int exponent = 0, digits = 0, significant = 0;
    bool point = false;
    for (; at < bytes; at++) {
        const char c = text[at];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9') {
            break;
        }
        digits++;
        if (significant > 0 || c != '0') {
            significant++;
        }
        if (significant <= 19) {
            mantissa = mantissa * 10 + (uint64_t)(c - '0');
        }
        exponent -= point;
    }
    if (digits == 0) {
        return false;
    }
    if (at < bytes && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        const bool down = at < bytes && text[at] == '-';
        if (at < bytes && (text[at] == '-' || text[at] == '+')) {
            at++;
        }
        int e = 0;
        const size_t first = at;
        for (; at < bytes && text[at] >= '0' && text[at] <= '9'; at++) {
            if (e < LARGEST_EXPONENT) {
                e = e * 10 + (text[at] - '0');
            }
        }
        if (at == first) {
            return false;
        }
        exponent += down ? -e : e;
    }
    if (at != bytes) {
        return false;
    }
    /* An integer below 2^53 times or over an exact power of ten is rounded once: correct (Clinger 1990). */
    if (significant <= 19 && mantissa <= (UINT64_C(1) << 53) && exponent >= -22 && exponent <= 22) {
        double v = (double)mantissa;
        v = exponent < 0 ? v / exact_powers[-exponent] : v * exact_powers[exponent];
        *value = negative ? -v : v;
        return true;
    }
    char copy[LONGEST];
    if (bytes >= sizeof copy) {
        return false;
    }
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    const double v = strtod(copy, NULL);
    if (!isfinite(v)) {
        return false;
    }
    *value = v;
    return true;
}

bool dlt_parse_special(const char *text, size_t bytes, double *value)
{
    char word[16];
    if (bytes == 0 || bytes >= sizeof word) {
        return false;
    }
    memcpy(word, text, bytes);
    word[bytes] = '\0';
    const bool negative = word[0] == '-';
    const char *name = word + (word[0] == '-' || word[0] == '+');
    name += *name == '.';
    if (dlt_text_same(name, "nan") && name == word + (word[0] == '.')) {
        *value = (double)NAN;
        return true;
    }
    if (dlt_text_same(name, "inf") || dlt_text_same(name, "infinity")) {
        *value = negative ? -(double)INFINITY : (double)INFINITY;
        return true;
    }
    return false;
}
