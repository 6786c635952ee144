/* base/tensor.h: element types and shapes, the vocabulary of data, graph and backends alike. */
#ifndef DLT_BASE_TENSOR_H
#define DLT_BASE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum dlt_dtype {
    DLT_F32,
    DLT_F64,
    DLT_BF16,
    DLT_F16,
    DLT_U8,
    DLT_I8,
    DLT_I16,
    DLT_I32,
    DLT_I64,
    DLT_DTYPE_COUNT
} dlt_dtype;

/** Bytes of one element. */
size_t dlt_dtype_size(dlt_dtype type);
/** "float32", "uint8", ... as numpy and Keras call them. */
const char *dlt_dtype_name(dlt_dtype type);
/** F32, F64, BF16, F16. */
bool dlt_dtype_is_real(dlt_dtype type);

enum { DLT_MAX_RANK = 8 };

/** Logical shape, outermost axis first. Rank 0 is a scalar. */
typedef struct dlt_shape {
    int rank;
    int64_t dim[DLT_MAX_RANK];
} dlt_shape;

/** Shape from its dimensions: DLT_SHAPE(2, 3). Use dlt_scalar() for rank 0. */
#define DLT_SHAPE(...)                                                                                       \
    ((dlt_shape){.rank = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .dim = {__VA_ARGS__}})
static inline dlt_shape dlt_scalar(void)
{
    return (dlt_shape){.rank = 0};
}

/** Number of elements, or -1 if it overflows or a dimension is negative. */
int64_t dlt_shape_count(const dlt_shape *shape);
bool dlt_shape_equal(const dlt_shape *a, const dlt_shape *b);
/** "(2, 3)", "(5,)", "()": as Keras prints them. room of 160 holds any. Returns text. */
char *dlt_shape_text(const dlt_shape *shape, char *text, size_t room);
/** The same with the first axis shown as `None`, for shapes of a batch. */
char *dlt_shape_text_batch(const dlt_shape *shape, char *text, size_t room);

#endif
