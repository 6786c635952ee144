/* tests/support/op_case.h: one op, or a few, checked in all ways that hold for any op.
 *
 * The outputs of a case in double against its naive formula; the gradient of a random weighted sum of its real outputs with
 * respect to its inputs against central differences in double (style.md 8); float against double, with reference kernels and
 * with those that are chosen on each instruction set; and the same bits with and without fusion, memory reuse and threads. */
#ifndef DLT_TESTS_OP_CASE_H
#define DLT_TESTS_OP_CASE_H

#include "support/program.h"

enum { OP_MOST_INPUTS = 8, OP_MOST_OUTPUTS = 4 };

typedef struct op_input {
    dlt_shape shape;
    double low, high; /* range of values; 0, 0: -1 to 1 */
    bool integer;     /* of type `type`; else of the program's real type */
    dlt_dtype type;
    bool fixed;       /* no gradient is asked for (integers have none anyway) */
    bool spread;      /* values differ by at least 0.01: for ops that compare */
} op_input;

typedef struct op_case op_case;
struct op_case {
    const char *name;
    void (*build)(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out);
    /** Values of the outputs; NULL: only the gradients are checked. */
    void (*naive)(const op_case *c, double *const *in, double *const *out);
    const void *attrs; /* for build and naive */
    int input_count, output_count;
    op_input inputs[OP_MOST_INPUTS];
    bool no_gradient;
    bool loose[OP_MOST_OUTPUTS]; /* outputs that do not count in the gradient's sum */
    double tolerance;            /* of float results, relative; 0: 2e-6 with reference kernels, 1e-4 with chosen ones */
    uint64_t seed;               /* of the values */
};

void op_check(const op_case *c);

/** Ops and instructions that stood in a checked case so far. */
extern bool op_covered[DLT_OP_COUNT];
extern bool ew_covered[DLT_EW_COUNT];

#endif
