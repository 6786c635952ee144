/* base/half.h: 16-bit floats as float32 and back: IEEE 754 binary16 (f16) and bfloat16 (bf16). */
#ifndef DLT_BASE_HALF_H
#define DLT_BASE_HALF_H

#include <stdint.h>

float dlt_f16_to_float(uint16_t bits);
float dlt_bf16_to_float(uint16_t bits);
/** Rounded to nearest, ties to even; what is too large becomes infinite, NaN stays NaN. */
uint16_t dlt_float_to_f16(float value);
uint16_t dlt_float_to_bf16(float value);

#endif
