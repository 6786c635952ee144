/* io/data/convert.c: conversion of elements. */
#include "io/data/convert.h"

#include <math.h>
#include <string.h>

double dlt_element_value(dlt_dtype dtype, const void *at, size_t i)
{
    const char *element = (const char *)at + i * dlt_dtype_size(dtype);
    uint16_t half;
    float single;
    double value;
    int16_t short_integer;
    int32_t integer;
    int64_t long_integer;
    switch (dtype) {
    case DLT_F32:
        memcpy(&single, element, sizeof single);
        return (double)single;
    case DLT_F64:
        memcpy(&value, element, sizeof value);
        return value;
    case DLT_BF16:
        memcpy(&half, element, sizeof half);
        return (double)dlt_bf16_to_float(half);
    case DLT_F16:
        memcpy(&half, element, sizeof half);
        return (double)dlt_f16_to_float(half);
    case DLT_U8:
        return (double)*(const unsigned char *)element;
    case DLT_I8:
        return (double)*(const signed char *)element;
    case DLT_I16:
        memcpy(&short_integer, element, sizeof short_integer);
        return (double)short_integer;
    case DLT_I32:
        memcpy(&integer, element, sizeof integer);
        return (double)integer;
    default: /* DLT_I64 */
        memcpy(&long_integer, element, sizeof long_integer);
        return (double)long_integer;
    }
}

/* An int64 as an integer of type `to`; false if it does not fit. */
static bool put_integer(int64_t value, dlt_dtype to, char *out)
{
    static const struct {
        int64_t least, most;
    } range[DLT_DTYPE_COUNT] = {[DLT_U8] = {0, UINT8_MAX},
                                [DLT_I8] = {INT8_MIN, INT8_MAX},
                                [DLT_I16] = {INT16_MIN, INT16_MAX},
                                [DLT_I32] = {INT32_MIN, INT32_MAX},
                                [DLT_I64] = {INT64_MIN, INT64_MAX}};
    if (value < range[to].least || value > range[to].most) {
        return false;
    }
    const uint8_t u8 = (uint8_t)value;
    const int16_t i16 = (int16_t)value;
    const int32_t i32 = (int32_t)value;
    switch (to) {
    case DLT_U8:
    case DLT_I8:
        memcpy(out, &u8, sizeof u8);
        break;
    case DLT_I16:
        memcpy(out, &i16, sizeof i16);
        break;
    case DLT_I32:
        memcpy(out, &i32, sizeof i32);
        break;
    default:
        memcpy(out, &value, sizeof value);
        break;
    }
    return true;
}

static bool put_real(double value, dlt_dtype to, char *out)
{
    const float single = (float)value;
    if (to == DLT_F64) {
        memcpy(out, &value, sizeof value);
        return true;
    }
    if (to == DLT_F32) {
        memcpy(out, &single, sizeof single);
        return !isinf(single) || isinf(value);
    }
    /* by way of float: a double is rounded twice, which can be off by half a unit of the short type in rare
     * ties */
    const uint16_t half = to == DLT_F16 ? dlt_float_to_f16(single) : dlt_float_to_bf16(single);
    const float back = to == DLT_F16 ? dlt_f16_to_float(half) : dlt_bf16_to_float(half);
    memcpy(out, &half, sizeof half);
    return !isinf(back) || isinf(value);
}

static int64_t integer_at(dlt_dtype from, const char *in)
{
    int16_t i16;
    int32_t i32;
    int64_t i64;
    switch (from) {
    case DLT_U8:
        return *(const unsigned char *)in;
    case DLT_I8:
        return *(const signed char *)in;
    case DLT_I16:
        memcpy(&i16, in, sizeof i16);
        return i16;
    case DLT_I32:
        memcpy(&i32, in, sizeof i32);
        return i32;
    default:
        memcpy(&i64, in, sizeof i64);
        return i64;
    }
}

static bool convert_one(dlt_dtype from, const char *in, dlt_dtype to, char *out)
{
    if (!dlt_dtype_is_real(from)) {
        const int64_t value = integer_at(from, in);
        return dlt_dtype_is_real(to) ? put_real((double)value, to, out) : put_integer(value, to, out);
    }
    const double value = dlt_element_value(from, in, 0);
    if (dlt_dtype_is_real(to)) {
        return put_real(value, to, out);
    }
    /* -2^63 and 2^63 are exact doubles: a whole number between them has an int64 */
    return value >= -0x1p63 && value < 0x1p63 && value == floor(value) &&
           put_integer((int64_t)value, to, out);
}

/* What every picture goes through: worth a loop that becomes vectors. */
#if defined(__GNUC__) && !defined(__clang__)
__attribute__((optimize("O3"))) /* gcc makes them at this level only; clang does so at -O2 */
#endif
static void
bytes_to_floats(const unsigned char *restrict in, float *restrict out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)in[i];
    }
}

size_t dlt_convert(dlt_dtype from, const void *in, dlt_dtype to, void *out, size_t count)
{
    if (from == to) {
        memcpy(out, in, count * dlt_dtype_size(from));
        return count;
    }
    if (from == DLT_U8 && to == DLT_F32) {
        bytes_to_floats(in, out, count);
        return count;
    }
    const size_t in_bytes = dlt_dtype_size(from), out_bytes = dlt_dtype_size(to);
    for (size_t i = 0; i < count; i++) {
        if (!convert_one(from, (const char *)in + i * in_bytes, to, (char *)out + i * out_bytes)) {
            return i;
        }
    }
    return count;
}
