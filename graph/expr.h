/* graph/expr.h: expression programs: chains of elementwise ops as one piece of work.
 *
 * A program runs once for each element of a domain (a logical shape). Its inputs are broadcast to the domain by numpy's
 * rule: axes are matched from the last, an axis of size 1 or a missing one repeats. Registers are in SSA form: register
 * i < input_count is input i converted to the program's type; register input_count + k is the result of instruction k.
 * An output is a register stored with its own type, or reduced over some axes of the domain.
 *
 * The CPU runs a program over tiles that stay in L1 with one SIMD kernel per instruction; CUDA turns the same program into
 * one kernel. Every instruction rounds once, so a fused program gives the bits of the unfused ops (decisions 20).
 * As the epilogue of a matmul or convolution, register 0 is its result; inputs 1.. are operands of the node after the
 * op's own. */
#ifndef DLT_GRAPH_EXPR_H
#define DLT_GRAPH_EXPR_H

#include "base/tensor.h"

typedef enum dlt_ew {
#define DLT_EW(name, operands, text) DLT_EW_##name,
#include "graph/ew.def"
#undef DLT_EW
    DLT_EW_COUNT
} dlt_ew;

/** "add", "select", ... */
const char *dlt_ew_name(dlt_ew op);
/** Number of operands, 0..3. */
int dlt_ew_operands(dlt_ew op);

/** What an instruction needs besides its operands. */
typedef struct dlt_ew_attrs {
    dlt_ew op;
    double value;       /* CONST */
    int axis;           /* INDEX: axis of the domain, from 0 */
    dlt_dtype type;     /* CAST: the result is as if it had been stored in this type */
    uint32_t stream;    /* UNIFORM */
    uint64_t seed;      /* UNIFORM */
    int64_t per_sample; /* UNIFORM: elements that belong to one sample; element = flat % per_sample,
                           sample = operand + flat / per_sample */
} dlt_ew_attrs;

typedef struct dlt_instr {
    dlt_ew_attrs op;
    uint16_t a, b, c; /* operand registers; unused ones are 0 */
} dlt_instr;

typedef enum dlt_reduce_kind { DLT_REDUCE_NONE, DLT_REDUCE_SUM, DLT_REDUCE_MAX, DLT_REDUCE_MIN } dlt_reduce_kind;

typedef struct dlt_expr_out {
    uint16_t reg;
    dlt_reduce_kind reduce;
    uint32_t axes;  /* reduced axes of the domain: bit i is axis i; 0 when reduce is NONE */
    dlt_dtype type; /* stored type; conversion as CAST does it */
} dlt_expr_out;

typedef struct dlt_expr {
    dlt_dtype compute; /* F32, F64 or I64: type of every register. UNIFORM's operand is read as I64 in any program. */
    dlt_shape domain;
    int input_count, instr_count, output_count;
    const dlt_instr *instrs;
    const dlt_expr_out *outputs;
} dlt_expr;

/**
 * Fixed order of a reduction, the same whether the program is fused or not and for any number of threads (decisions 19).
 * The domain in row-major order is seen as (outer, length, inner): reduced axes must lie next to each other after axes of
 * size 1 are dropped and neighbours are joined; other patterns are brought to it by a TRANSPOSE before the reduction.
 *
 *   inner == 1 (rows): each row of `length` is cut into chunks of DLT_REDUCE_CHUNK elements. Inside a chunk element k goes
 *     to lane k % 16; the 16 lanes are joined by halves (l and l + 8, then l + 4, l + 2, l + 1). Chunks are joined as below.
 *   inner > 1 (columns): `length` is cut into chunks of DLT_REDUCE_ROWS(inner) rows, added up one after another.
 *   Chunk results are joined pairwise: 0+1, 2+3, ..., an odd last one is carried on, until one is left.
 *   Lanes and columns start at 0, -inf (MAX) or inf (MIN); on integers the least and the largest. What is there already is
 *   the first operand of each instruction (ADD, MAX, MIN), also when lanes and chunks are joined: the lower one is.
 *
 * The positions are logical whatever the layouts; the order is that of the row-major domain.
 */
enum { DLT_REDUCE_CHUNK = 4096, DLT_REDUCE_LANES = 16 };
static inline int64_t dlt_reduce_rows(int64_t inner)
{
    const int64_t rows = 16384 / inner;
    return rows < 16 ? 16 : rows;
}

/** The view (outer, length, inner) of a domain and its reduced axes; false if the reduced axes do not lie together. */
bool dlt_reduce_view(const dlt_shape *domain, uint32_t axes, int64_t *outer, int64_t *length, int64_t *inner);
/** Shape that is left: reduced axes dropped, or kept with size 1. */
dlt_shape dlt_reduce_shape(const dlt_shape *domain, uint32_t axes, bool keep);
/** Broadcast of two shapes by numpy's rule; false if they clash. */
bool dlt_broadcast(const dlt_shape *a, const dlt_shape *b, dlt_shape *out);

/**
 * Number of floating-point operations of one element, taking exp and its like as 10 (for `plan` and `time`).
 */
double dlt_expr_flops(const dlt_expr *expr);

#endif
