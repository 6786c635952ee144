/* base/num.h: text to numbers, the same in every locale, whole field or nothing; the bits of numbers. */
#ifndef DLT_BASE_NUM_H
#define DLT_BASE_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/**
 * Decimal integer "[-+]?[0-9]+" filling all `bytes`; false if it is anything else or outside int64.
 * Hexadecimal "0x1f" and octal "0o17" as in the YAML 1.2 core schema.
 */
bool dlt_parse_i64(const char *text, size_t bytes, int64_t *value);
/**
 * Decimal number "[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?" filling all `bytes`, correctly rounded.
 * Overflow gives false, underflow the nearest value. "nan" and "inf" are not numbers here: ask dlt_parse_special.
 */
bool dlt_parse_double(const char *text, size_t bytes, double *value);
/**
 * The same for a number that something else may follow: reads as far as the number goes and returns where it ends, or NULL
 * if text .. end does not begin with one (or it overflows). For readers of large tables.
 */
const char *dlt_scan_double(const char *text, const char *end, double *value);
/** ".nan", "nan", "NaN", ".inf", "inf", "-inf", "Infinity" and the like; false for anything else. */
bool dlt_parse_special(const char *text, size_t bytes, double *value);

/** The bits of a number. */
static inline uint64_t dlt_bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
/** The same number to the last bit: 0 is not -0, and a NaN is the same as itself. */
static inline bool dlt_same_bits(double a, double b)
{
    return dlt_bits_of(a) == dlt_bits_of(b);
}

#endif
