/* tests/support/program.h: from a few builder calls to a program that runs on the CPU.
 *
 *     static void doubled(dlt_builder *b, const void *context)
 *     {
 *         dlt_output(b, "y", dlt_mul_c(b, dlt_input(b, "x", dlt_real(b), DLT_SHAPE(3)), 2));
 *     }
 *     ...
 *     test_program *t = test_compile(doubled, NULL, &(test_options){0});
 *     test_set_input(t, 0, (double[]){1, 2, 3});
 *     test_run(t);
 *     double y[3];
 *     test_get(t, "y", y);
 *     test_release(t);
 *
 * Whatever fails ends the test with the diag's first message. */
#ifndef DLT_TESTS_PROGRAM_H
#define DLT_TESTS_PROGRAM_H

#include "support/support.h"

#include "backend/backend.h"
#include "graph/builder.h"
#include "graph/passes.h"
#include "graph/plan.h"

/** Zeroed: float32, all passes, memory reuse, chosen kernels, one thread, best instruction set, training. */
typedef struct test_options {
    const char *label; /* what a failure is about, or NULL */
    bool no_fuse, no_layout, no_reuse;
    bool reference; /* only reference kernels */
    int threads;    /* 0: one */
    const char *isa;
    const char *prefer; /* kernels to take wherever they can be */
    dlt_dtype real; /* F32 or F64 */
    dlt_dtype compute; /* of products in layers: BF16, or F32: as `real` */
    dlt_mode mode;
    uint64_t seed;
    int64_t batch;
    const dlt_target *target; /* NULL: the device's. `select` is the device's in any case */
} test_options;

typedef void test_build(dlt_builder *b, const void *context);

typedef struct test_program {
    test_options options;
    dlt_arena *arena;
    dlt_diag *diag;
    dlt_variables *variables;
    dlt_graph *built, *graph; /* before and after the passes */
    const dlt_plan *plan;
    dlt_device *device;
    dlt_memory *memory;
    dlt_program *program;
    dlt_memory_sizes sizes;
} test_program;

/** Builds, runs the passes, plans, verifies the plan, opens a device and compiles. Variables start as 0. */
test_program *test_compile(test_build *build, const void *context, const test_options *options);
/** Builds a graph and no more; `built` is set. */
test_program *test_graph(test_build *build, const void *context, const test_options *options);
void test_release(test_program *t);

/** Values of the n-th INPUT, converted to its type. */
void test_set_input(test_program *t, int n, const double *values);
/** Elements of the n-th INPUT. */
int64_t test_input_count(const test_program *t, int n);
void test_set_variable(test_program *t, const char *path, const double *values);
void test_get_variable(test_program *t, const char *path, double *values);
/** Runs once; false if the guard stopped the step. */
bool test_run(test_program *t);
/** Elements of a named output, and its values. */
int64_t test_count(const test_program *t, const char *name);
void test_get(test_program *t, const char *name, double *values);
/** All named outputs, PARAM, GRAD and STATE as bytes (malloc), for comparisons bit for bit. */
void *test_bytes(test_program *t, size_t *bytes);
/** Nodes of an op after the passes. */
int test_nodes(const test_program *t, dlt_op op);

/** Elements of an array of any type, as doubles and back. */
double test_element(const void *at, dlt_dtype type, int64_t i);
void test_put_element(void *at, dlt_dtype type, int64_t i, double x);

/* ---- numbers for tests ---- */

/** Uniform in [low, high): a function of (seed, i) alone. */
double test_random(uint64_t seed, uint64_t i, double low, double high);
void test_fill(double *values, int64_t count, uint64_t seed, double low, double high);

/** Fails unless all |a - b| <= tolerance max(1, |b|); two NaNs and equal infinities agree. */
void test_close(const char *what, const double *a, const double *b, int64_t count, double tolerance);

#endif
