/* tests/support/golden.h: the golden vectors of tests/golden: cases (YAML) and arrays (NPZ). */
#ifndef DLT_TESTS_GOLDEN_H
#define DLT_TESTS_GOLDEN_H

#include "base/tensor.h"
#include "io/yaml.h"

/** One array, as double. Integers are exact. */
typedef struct dlt_golden_array {
    const char *name; /* without .npy */
    dlt_dtype type;   /* as stored: F32, I32, U8 */
    dlt_shape shape;
    double *values;
} dlt_golden_array;

typedef struct dlt_golden {
    dlt_arena *arena;
    const dlt_yaml *cases; /* LIST of MAP */
    int count;
    dlt_golden_array *arrays;
} dlt_golden;

/** Reads tests/golden/FAMILY.yaml and .npz. NULL if they are not there; asserts that they can be read. */
dlt_golden *dlt_golden_open(const char *family);
void dlt_golden_close(dlt_golden *golden);
/** The array NAME/KEY, or KEY if name is NULL; NULL if there is none. */
const dlt_golden_array *dlt_golden_find(const dlt_golden *golden, const char *name, const char *key);
/** A scalar of a case as text, or NULL. */
const char *dlt_golden_text(const dlt_yaml *node, const char *key);
/** A node in YAML's flow style, in the arena. */
const char *dlt_golden_flow(dlt_arena *arena, const dlt_yaml *node);

/**
 * Asserts that got agrees with what is expected: |difference| <= tolerance * max(|expected|, 0.1 * largest
 * expected, floor), NaN where NaN is expected. `what` names it in the message.
 */
void dlt_assert_close(const char *what, const double *got, const double *expected, int64_t count,
                      double tolerance);

#endif
