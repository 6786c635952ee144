/* io/data/convert.h: elements of one type as elements of another. */
#ifndef DLT_IO_DATA_CONVERT_H
#define DLT_IO_DATA_CONVERT_H

#include "base/half.h"
#include "base/tensor.h"

/**
 * Converts `count` elements; in and out must not overlap, out is aligned. Floats are rounded to nearest even
 * (float64 to a 16-bit type by way of float32). A value that the other type does not have - an integer
 * outside its range, a fraction or NaN where integers are wanted, a finite float that would become infinite -
 * ends it: the result is its index, else `count`.
 */
size_t dlt_convert(dlt_dtype from, const void *in, dlt_dtype to, void *out, size_t count);
/** Element i as a double (an int64 beyond 2^53 is rounded). */
double dlt_element_value(dlt_dtype dtype, const void *at, size_t i);

#endif
