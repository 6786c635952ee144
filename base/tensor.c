/* base/tensor.c: element types and shapes. */
#include "base/tensor.h"

#include <stdio.h>

static const struct {
    const char *name;
    size_t size;
    bool real;
} types[DLT_DTYPE_COUNT] = {
    [DLT_F32] = {"float32", 4, true}, [DLT_F64] = {"float64", 8, true}, [DLT_BF16] = {"bfloat16", 2, true},
    [DLT_F16] = {"float16", 2, true}, [DLT_U8] = {"uint8", 1, false},   [DLT_I8] = {"int8", 1, false},
    [DLT_I16] = {"int16", 2, false},  [DLT_I32] = {"int32", 4, false},  [DLT_I64] = {"int64", 8, false},
};

size_t dlt_dtype_size(dlt_dtype type)
{
    return types[type].size;
}

const char *dlt_dtype_name(dlt_dtype type)
{
    return types[type].name;
}

bool dlt_dtype_is_real(dlt_dtype type)
{
    return types[type].real;
}

int64_t dlt_shape_count(const dlt_shape *shape)
{
    int64_t count = 1;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dim[i] < 0 || __builtin_mul_overflow(count, shape->dim[i], &count)) {
            return -1;
        }
    }
    return count;
}

bool dlt_shape_equal(const dlt_shape *a, const dlt_shape *b)
{
    if (a->rank != b->rank) {
        return false;
    }
    for (int i = 0; i < a->rank; i++) {
        if (a->dim[i] != b->dim[i]) {
            return false;
        }
    }
    return true;
}

static char *text_of(const dlt_shape *shape, bool batch, char *text, size_t room)
{
    size_t at = 0;
    text[0] = '\0';
    for (int i = 0; i < shape->rank && at < room; i++) {
        const char *before = i == 0 ? "(" : ", ";
        const int n = batch && i == 0 ? snprintf(text + at, room - at, "%sNone", before)
                                      : snprintf(text + at, room - at, "%s%lld", before, (long long)shape->dim[i]);
        at += n > 0 ? (size_t)n : 0;
    }
    if (at < room) {
        snprintf(text + at, room - at, "%s", shape->rank == 0 ? "()" : shape->rank == 1 ? ",)" : ")");
    }
    return text;
}

char *dlt_shape_text(const dlt_shape *shape, char *text, size_t room)
{
    return text_of(shape, false, text, room);
}

char *dlt_shape_text_batch(const dlt_shape *shape, char *text, size_t room)
{
    return text_of(shape, true, text, room);
}
