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
enum { LARGEST_FIVE = 27 };
static const uint64_t fives[LARGEST_FIVE + 1] = {
    1, 5, 25, 125, 625, 3125, 15625, 78125, 390625, 1953125, 9765625, 48828125, 244140625, 1220703125, 6103515625,
    30517578125, 152587890625, 762939453125, 3814697265625, 19073486328125, 95367431640625, 476837158203125,
    2384185791015625, 11920928955078125, 59604644775390625, 298023223876953125, 1490116119384765625,
    7450580596923828125};

/* mantissa * 10^exponent, correctly rounded (to nearest, ties to even), where the power of five fits 64 bits: what
 * "%.17g" and "%.18e" write, for which strtod costs several times as much. Exact in 128 bits and rounded once; within
 * |exponent| <= LARGEST_FIVE nothing overflows and nothing is subnormal. */
static double scale_exactly(uint64_t mantissa, int exponent)
{
    __extension__ typedef unsigned __int128 wide;
    if (mantissa == 0) {
        return 0;
    }
    const uint64_t five = fives[exponent < 0 ? -exponent : exponent];
    wide v;
    int two = exponent; /* the value is v * 2^two, and a little more if `more` */
    bool more = false;
    if (exponent >= 0) {
        v = (wide)mantissa * five;
    } else {
        /* shifted so that the quotient has 62 to 64 bits, more than the 53 wanted and few enough for one division
         * instruction: the remainder then only tells ties apart */
        const int up = __builtin_clzll(mantissa), shift = __builtin_clzll(five);
        const wide top = (wide)(mantissa << up) << 63;
        const uint64_t divisor = five << shift;
        v = top / divisor;
        more = v * divisor != top;
        two += shift - up - 63;
    }
    const uint64_t high = (uint64_t)(v >> 64);
    const int bits = high != 0 ? 128 - __builtin_clzll(high) : 64 - __builtin_clzll((uint64_t)v);
    if (bits > 53) {
        const int drop = bits - 53;
        const wide rest = v & (((wide)1 << drop) - 1), half = (wide)1 << (drop - 1);
        v >>= drop;
        two += drop;
        if (rest > half || (rest == half && (more || (v & 1) != 0))) {
            v++;
        }
    }
    const uint64_t power_bits = (uint64_t)(two + 1023) << 52; /* 2^two, a normal number */
    double power = 0;
    memcpy(&power, &power_bits, sizeof power);
    return (double)(uint64_t)v * power;
}

/* strtod for what is longer or more extreme; the text is a number already. */
static bool long_double_text(const char *text, size_t bytes, double *value)
{
    enum { LONGEST = 512 };
    char copy[LONGEST];
    if (bytes >= sizeof copy) {
        return false;
    }
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    *value = strtod(copy, NULL);
    return isfinite(*value);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

const char *dlt_scan_double(const char *text, const char *end, double *value)
{
    enum { LARGEST_EXPONENT = 100000, MOST_DIGITS = 19 };
    const char *at = text;
    const bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+')) {
        at++;
    }
    const char *const digits = at;
    uint64_t mantissa = 0; /* wraps around when there are too many digits, which is looked at below */
    int exponent = 0;
    while (at < end && is_digit(*at)) {
        mantissa = mantissa * 10 + (uint64_t)(*at++ - '0');
    }
    ptrdiff_t count = at - digits;
    if (at < end && *at == '.') {
        const char *const fraction = ++at;
        while (at < end && is_digit(*at)) {
            mantissa = mantissa * 10 + (uint64_t)(*at++ - '0');
        }
        count += at - fraction;
        exponent = at - fraction < LARGEST_EXPONENT ? -(int)(at - fraction) : -LARGEST_EXPONENT;
    }
    if (count == 0) {
        return NULL;
    }
    const char *const digits_end = at;
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        const bool down = at < end && *at == '-';
        if (at < end && (*at == '-' || *at == '+')) {
            at++;
        }
        int e = 0;
        const char *const first = at;
        for (; at < end && is_digit(*at); at++) {
            if (e < LARGEST_EXPONENT) {
                e = e * 10 + (*at - '0');
            }
        }
        if (at == first) {
            return NULL;
        }
        exponent += down ? -e : e;
    }
    if (count > MOST_DIGITS) { /* leading zeros do not count */
        for (const char *c = digits; c < digits_end && (*c == '0' || *c == '.'); c++) {
            count -= *c == '0';
        }
    }
    double v = 0;
    if (count > MOST_DIGITS || exponent < -LARGEST_FIVE || exponent > LARGEST_FIVE) {
        return long_double_text(text, (size_t)(at - text), value) ? at : NULL;
    }
    if (mantissa <= (UINT64_C(1) << 53) && exponent >= -22 && exponent <= 22) {
        /* an integer below 2^53 times or over an exact power of ten is rounded once: correct (Clinger 1990) */
        v = (double)mantissa;
        v = exponent < 0 ? v / exact_powers[-exponent] : v * exact_powers[exponent];
    } else {
        v = scale_exactly(mantissa, exponent);
    }
    *value = negative ? -v : v;
    return at;
}

bool dlt_parse_double(const char *text, size_t bytes, double *value)
{
    double v = 0;
    if (bytes == 0 || dlt_scan_double(text, text + bytes, &v) != text + bytes) {
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
