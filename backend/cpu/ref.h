/* backend/cpu/ref.h: what the reference kernels share. Internal to backend/cpu/ref_*.c.
 *
 * Reference kernels are plain loops with libm. Unless a file says otherwise they read elements as double, compute in double
 * and round once when they store: one source serves float32 and float64, and the float results are as exact as they can be,
 * which is what faster kernels are measured against. Expression programs are the exception: they compute in the program's
 * type, because a fused program must give the bits of the unfused ops (decisions 20). */
#ifndef DLT_BACKEND_CPU_REF_H
#define DLT_BACKEND_CPU_REF_H

#include "backend/cpu/kernel.h"
#include "base/half.h"

#if defined(__GNUC__)
#define DLT_REF_INLINE static inline __attribute__((always_inline))
#else
#define DLT_REF_INLINE static inline
#endif

/* ---- elements ---- */

/** Element i of a real array. */
DLT_REF_INLINE double dlt_ref_get(const void *at, dlt_dtype type, int64_t i)
{
    switch (type) {
    case DLT_F32:
        return (double)((const float *)at)[i];
    case DLT_F64:
        return ((const double *)at)[i];
    case DLT_BF16:
        return (double)dlt_bf16_to_float(((const uint16_t *)at)[i]);
    default:
        return (double)dlt_f16_to_float(((const uint16_t *)at)[i]);
    }
}

DLT_REF_INLINE void dlt_ref_put(void *at, dlt_dtype type, int64_t i, double x)
{
    switch (type) {
    case DLT_F32:
        ((float *)at)[i] = (float)x;
        break;
    case DLT_F64:
        ((double *)at)[i] = x;
        break;
    case DLT_BF16:
        ((uint16_t *)at)[i] = dlt_float_to_bf16((float)x);
        break;
    default:
        ((uint16_t *)at)[i] = dlt_float_to_f16((float)x);
    }
}

/** Element i of an integer array. */
int64_t dlt_ref_get_integer(const void *at, dlt_dtype type, int64_t i);
/** Stores an integer, saturating. */
void dlt_ref_put_integer(void *at, dlt_dtype type, int64_t i, int64_t x);
/** Conversion of CAST: toward zero, saturating, NaN gives 0. */
int64_t dlt_ref_to_integer(double x);

/** Calls body(..., type) with the common types as constants, so that the compiler makes a version for each. */
#define DLT_REF_BY_TYPE(body, type, ...)                                                                     \
    do {                                                                                                     \
        switch (type) {                                                                                      \
        case DLT_F32:                                                                                        \
            body(__VA_ARGS__, DLT_F32);                                                                      \
            break;                                                                                           \
        case DLT_F64:                                                                                        \
            body(__VA_ARGS__, DLT_F64);                                                                      \
            break;                                                                                           \
        default:                                                                                             \
            body(__VA_ARGS__, type);                                                                         \
        }                                                                                                    \
    } while (0)

/* ---- work ---- */

typedef struct dlt_ref_range {
    int64_t first, end;
} dlt_ref_range;

/** Number of tasks for `items` that take `cost` operations each: a function of the shape alone. 0 for no items. */
int64_t dlt_ref_tasks(int64_t items, double cost);
/** The items of one of `tasks` tasks. */
dlt_ref_range dlt_ref_share(int64_t items, int64_t tasks, int64_t task);

/** Adds a phase to a schedule. */
void dlt_ref_phase(dlt_cpu_schedule *schedule, int64_t items, double cost);
/** The items of a task of a phase that was added in this way. */
dlt_ref_range dlt_ref_part(const dlt_cpu_call *call, int phase, int64_t task, int64_t items);

/* ---- shapes ---- */

/** Product of the dimensions [first, end). */
int64_t dlt_ref_span(const dlt_shape *shape, int first, int end);

/** Where logical positions lie: coordinate c of an axis contributes (c / block) hi + (c % block) lo elements. */
typedef struct dlt_ref_axis {
    int64_t block, hi, lo;
} dlt_ref_axis;
typedef struct dlt_ref_map {
    dlt_shape shape; /* that is walked over, row-major */
    dlt_ref_axis axes[DLT_MAX_RANK];
    int64_t start;  /* offset of the first element */
    bool in_order;  /* offset = start + flat position */
    bool constant;  /* offset = start everywhere */
} dlt_ref_map;

/** Row-major map of a tensor. */
void dlt_ref_map_rows(const dlt_shape *shape, dlt_ref_map *map);
/** Map of a tensor of this shape and layout (not FLAT), broadcast to `domain`. False for a layout that is not known. */
bool dlt_ref_map_layout(const dlt_shape *shape, dlt_layout layout, const dlt_shape *domain, dlt_ref_map *map);
/** Sets in_order and constant after axes were changed. */
void dlt_ref_map_finish(dlt_ref_map *map);
/** Offsets of the positions [first, first + count). */
void dlt_ref_map_offsets(const dlt_ref_map *map, int64_t first, int64_t count, int64_t *offsets);

/* ---- windows ---- */

/** Geometry of a convolution or pool with three spatial axes; missing ones are of size 1 in front. */
typedef struct dlt_ref_window {
    int64_t batch;
    int64_t in[DLT_MAX_SPATIAL], out[DLT_MAX_SPATIAL], size[DLT_MAX_SPATIAL];
    int64_t stride[DLT_MAX_SPATIAL], dilation[DLT_MAX_SPATIAL], before[DLT_MAX_SPATIAL];
    int64_t in_channels, out_channels, groups;
    int64_t cells; /* of the window */
} dlt_ref_window;
/** x and y: shapes of input and output. */
dlt_ref_window dlt_ref_window_of(const dlt_conv_attrs *attrs, const dlt_shape *x, const dlt_shape *y);

/** Coordinates over the three spatial axes. */
typedef struct dlt_ref_place {
    int64_t at[DLT_MAX_SPATIAL];
} dlt_ref_place;
dlt_ref_place dlt_ref_unravel(int64_t flat, const int64_t size[DLT_MAX_SPATIAL]);
int64_t dlt_ref_volume(const int64_t size[DLT_MAX_SPATIAL]);
/**
 * Along each axis position o of the output meets cell k of the window at position o stride + k dilation - before of the
 * input. Flat input position where an output position meets a cell; -1: in the padding.
 */
int64_t dlt_ref_input_at(const dlt_ref_window *w, const dlt_ref_place *output, int64_t cell);
/** Flat output position that meets an input position in a cell; -1: none. */
int64_t dlt_ref_output_at(const dlt_ref_window *w, const dlt_ref_place *input, int64_t cell);

/* ---- expression programs ---- */

typedef struct dlt_ref_program dlt_ref_program;
/** Why a program of this node cannot be run, or NULL. */
const char *dlt_ref_program_declines(const dlt_node *node, const dlt_expr *expr);
/**
 * Prepares the program of an EXPR, or the epilogue of a product whose result is of type `result` and lies row-major in
 * workspace. Adds its phases to the schedule, and the workspace that it needs. NULL when memory is refused.
 */
const dlt_ref_program *dlt_ref_program_create(const dlt_node *node, const dlt_expr *expr, dlt_dtype result,
                                              dlt_arena *arena, dlt_cpu_schedule *schedule);
/** Runs a task of one of its phases, counted from 0. inputs: one pointer for each input of the program. */
void dlt_ref_program_run(const dlt_ref_program *program, int phase, int64_t task, const void *const *inputs,
                         void *const *outputs, void *workspace, void *scratch);

/* ---- epilogues: a product with a program behind it writes its result into workspace, and the program reads it there ---- */

const char *dlt_ref_epilogue_declines(const dlt_cpu_query *query);
/** Adds the phases of the epilogue, if there is one, behind those of the product. False when memory is refused. */
bool dlt_ref_epilogue_prepare(const dlt_cpu_query *query, const dlt_shape *result, dlt_cpu_schedule *schedule);
/** Where the product goes. */
void *dlt_ref_epilogue_target(const dlt_cpu_call *call);
/** Runs a task of a phase of the epilogue, counted from 0. */
void dlt_ref_epilogue_run(const dlt_cpu_call *call, int phase, int64_t task);

/** Type of a product's result, before an epilogue. */
dlt_dtype dlt_ref_result_type(const dlt_node *node);
/** True for a product that reads a factor in bfloat16: then it rounds the other one, and its result is float32. */
bool dlt_ref_rounds(const dlt_node *node);
/** A factor of a product; rounds: to the nearest bfloat16. */
DLT_REF_INLINE double dlt_ref_factor(const void *at, dlt_dtype type, bool rounds, int64_t i)
{
    const double x = dlt_ref_get(at, type, i);
    return rounds && type == DLT_F32 ? (double)dlt_bf16_to_float(dlt_float_to_bf16((float)x)) : x;
}

/** NULL if all real operands and results have one type, else the reason to decline. */
const char *dlt_ref_needs_one_type(const dlt_cpu_query *query);

#endif
