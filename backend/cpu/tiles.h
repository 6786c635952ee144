/* backend/cpu/tiles.h: expression programs over tiles that stay in the first-level cache: one SIMD loop per instruction.
 *
 * The domain is walked in the order in which it lies in memory. Axes that no operand tells apart are joined; what is left
 * decides how tiles are cut:
 *   flat    every operand has the full shape or is one element: a tile is any range;
 *   rows    the last axis is short: a tile is some whole rows, operands that repeat are spread into buffers;
 *   pieces  the last axis is long: a tile lies in one row, operands that repeat are read where they are.
 * Registers that are one number for the whole domain, or for a piece, are computed once; in rows so are those that depend
 * on the position in the row alone. Results go straight to the output where no operand in the same memory is read later.
 *
 * Bits do not depend on how the domain is cut, so a fused program gives those of the separate ops. */
#ifndef DLT_CPU_TILES_H
#define DLT_CPU_TILES_H

#include "backend/cpu/kernel.h"
#include "backend/cpu/simd.h"

enum {
    DLT_TILES_MAX_INPUTS = 16,
    DLT_TILES_MAX_OUTPUTS = 8,
    DLT_TILES_MAX_REGS = 128,
    DLT_TILES_EPILOGUE_BYTES = 64 << 10 /* memory of the buffers of an epilogue, at most */
};

typedef struct dlt_tiles dlt_tiles;

typedef enum dlt_tiles_form {
    DLT_TILES_ANY,    /* as fits the program */
    DLT_TILES_ROWS,   /* epilogue: ranges are whole rows of the domain's last axis (of a channel block) */
    DLT_TILES_PIECES  /* epilogue: each range lies in one row */
} dlt_tiles_form;

/** NULL if a program can run on tiles, else why not. epilogue: its input 0 is the result of the node. */
const char *dlt_tiles_decline(const dlt_node *node, const dlt_expr *expr, bool epilogue);

/** Prepares a program of an EXPR node or an epilogue. NULL when memory is refused. */
const dlt_tiles *dlt_tiles_create(const dlt_cpu_query *query, const dlt_expr *expr, bool epilogue, dlt_tiles_form form);
/** Elements of the domain as it lies in memory. */
int64_t dlt_tiles_count(const dlt_tiles *tiles);
/** Most elements of one call of dlt_tiles_run_on; ranges begin at multiples of dlt_tiles_unit. */
int64_t dlt_tiles_most(const dlt_tiles *tiles);
/** Whole rows: length of a row; else 1. */
int64_t dlt_tiles_unit(const dlt_tiles *tiles);
/** Elements of the tile that begins at `at`, in a range that ends at `end`. */
int64_t dlt_tiles_next(const dlt_tiles *tiles, int64_t at, int64_t end);
/** Bytes of buffers that a run needs. */
int64_t dlt_tiles_bytes(const dlt_tiles *tiles);
/** Nanoseconds that an element takes, roughly. */
double dlt_tiles_cost(const dlt_tiles *tiles);

/** A run of a program by one thread: operands resolved. */
typedef struct dlt_tiles_run {
    const dlt_tiles *tiles;
    const void *in[DLT_TILES_MAX_INPUTS];
    void *out[DLT_TILES_MAX_OUTPUTS];
    bool direct[DLT_TILES_MAX_OUTPUTS];
    char *buffers;
    void *at[DLT_TILES_MAX_REGS];      /* where each register is now */
    double scalar[DLT_TILES_MAX_REGS]; /* memory of registers that are one number (8 bytes, any type) */
} dlt_tiles_run;

/** in, out: operands of the program (epilogue: in[0] is not read). buffers: 64-byte aligned. */
void dlt_tiles_begin(dlt_tiles_run *run, const dlt_tiles *tiles, const void *const *in, void *const *out, void *buffers);
/** Runs elements [first, first + n), n at most dlt_tiles_most. result: epilogue: where element `first` of input 0 is. */
void dlt_tiles_run_on(dlt_tiles_run *run, const void *result, int64_t first, int64_t n);
/** Runs any range that begins at a multiple of the unit. Not for epilogues. */
void dlt_tiles_run_range(dlt_tiles_run *run, int64_t first, int64_t end);
/** After dlt_tiles_run_on: the values of the register that output k stores, n of them. */
const void *dlt_tiles_values(const dlt_tiles_run *run, int output);

/**
 * An epilogue over a block of a matrix of `width` columns: rows [row, row + rows), columns [column, column + columns).
 * result: its first element, rows `stride` apart. Form ROWS: the block has all columns, and stride is width.
 */
void dlt_tiles_run_block(dlt_tiles_run *run, const void *result, int64_t stride, int64_t width, int64_t row, int64_t rows,
                         int64_t column, int64_t columns);

#endif
