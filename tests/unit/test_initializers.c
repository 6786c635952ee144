/* tests/unit/test_initializers.c: first values are a function of seed, path and element alone; memory that is
 * refused. */
#include "support/run.h"
#include "support/support.h"
#include "trainer/initializer.h"

#include "base/alloc.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 4001 };

static void fill(dlt_arena *arena, const char *initializer, const char *path, uint64_t seed, dlt_shape shape,
                 double *out)
{
    dlt_diag *diag = dlt_diag_create();
    const dlt_variable v = {
        .path = path, .shape = shape, .initializer = dlt_test_item(arena, "initializer", initializer)};
    assert_int_equal(dlt_initial_value(&v, seed, out, diag), DLT_OK);
    dlt_diag_destroy(diag);
}

static const char *const random_ones[] = {"RandomNormal",    "RandomUniform",  "TruncatedNormal",
                                          "VarianceScaling", "glorot_uniform", "he_normal",
                                          "orthogonal"};

static void values_follow_seed_and_path(void **state)
{
    (void)state;
    static double a[COUNT], b[COUNT];
    dlt_arena *arena = dlt_arena_create();
    for (size_t i = 0; i < DLT_COUNT(random_ones); i++) {
        const dlt_shape shape = DLT_SHAPE(50, 80);
        fill(arena, random_ones[i], "dense/kernel", 7, shape, a);
        fill(arena, random_ones[i], "dense/kernel", 7, shape, b);
        assert_memory_equal(a, b, 4000 * sizeof *a);
        fill(arena, random_ones[i], "dense_1/kernel", 7, shape, b);
        assert_true(memcmp(a, b, 40 * sizeof *a) != 0);
        fill(arena, random_ones[i], "dense/kernel", 8, shape, b);
        assert_true(memcmp(a, b, 40 * sizeof *a) != 0);
    }
    /* with a seed of its own: the same wherever it stands, as in Keras */
    fill(arena, "{HeNormal: {seed: 3}}", "dense/kernel", 7, DLT_SHAPE(50, 80), a);
    fill(arena, "{HeNormal: {seed: 3}}", "other/kernel", 9, DLT_SHAPE(50, 80), b);
    assert_memory_equal(a, b, 4000 * sizeof *a);
    fill(arena, "{HeNormal: {seed: 4}}", "dense/kernel", 7, DLT_SHAPE(50, 80), b);
    assert_true(memcmp(a, b, 40 * sizeof *a) != 0);
    dlt_arena_destroy(arena);
}

static void values_are_elements_of_their_stream(void **state)
{
    (void)state;
    static double x[COUNT];
    dlt_arena *arena = dlt_arena_create();
    const uint32_t stream = dlt_fnv1a("dense/kernel");
    fill(arena, "{RandomNormal: {mean: 1, stddev: 2}}", "dense/kernel", 7, DLT_SHAPE(COUNT), x);
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_true(x[i] == 1 + 2 * dlt_random_normal(7, stream, 0, i));
    }
    fill(arena, "{RandomUniform: {minval: -1, maxval: 3}}", "dense/kernel", 7, DLT_SHAPE(COUNT), x);
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_true(x[i] == -1 + 4 * (double)dlt_random_uniform(7, stream, 0, i));
    }
    int again = 0;
    fill(arena, "{TruncatedNormal: {mean: 1, stddev: 2}}", "dense/kernel", 7, DLT_SHAPE(COUNT), x);
    for (uint64_t i = 0; i < COUNT; i++) {
        const double first = dlt_random_normal(7, stream, 0, i);
        assert_true(fabs(x[i] - 1) <= 4);
        assert_true(fabs(first) > 2 || x[i] == 1 + 2 * first);
        again += fabs(first) > 2;
    }
    assert_in_range(again, 120, 250); /* 4.55 % */
    dlt_arena_destroy(arena);
}

static void fans_follow_the_shape(void **state)
{
    (void)state;
    static const struct {
        dlt_shape shape;
        int64_t in, out;
    } cases[] = {{{0, {0}}, 1, 1},
                 {{1, {7}}, 7, 7},
                 {{2, {6, 10}}, 6, 10},
                 {{4, {3, 5, 4, 8}}, 60, 120},
                 {{5, {2, 3, 2, 4, 6}}, 48, 72}};
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        int64_t in, out;
        dlt_fans(&cases[i].shape, &in, &out);
        assert_int_equal(in, cases[i].in);
        assert_int_equal(out, cases[i].out);
    }
}

static void orthogonal_is_the_factor_with_a_positive_diagonal(void **state)
{
    (void)state;
    /* Q is the one factor of A = Q R for which R has a positive diagonal: Gram-Schmidt finds it in another
     * way */
    enum { M = 37, N = 20 };
    static double a[M * N], q[M * N], x[M * N];
    dlt_arena *arena = dlt_arena_create();
    fill(arena, "{RandomNormal: {stddev: 1}}", "k", 5, DLT_SHAPE(M * N), a);
    for (int wide = 0; wide < 2; wide++) {
        fill(arena, "{Orthogonal: {gain: 1.5}}", "k", 5, wide ? DLT_SHAPE(4, 5, M) : DLT_SHAPE(M, N), x);
        for (int j = 0; j < N; j++) {
            for (int i = 0; i < M; i++) {
                q[i * N + j] = a[i * N + j];
            }
            for (int round = 0; round < 2; round++) {
                for (int k = 0; k < j; k++) {
                    double dot = 0;
                    for (int i = 0; i < M; i++) {
                        dot += q[i * N + k] * q[i * N + j];
                    }
                    for (int i = 0; i < M; i++) {
                        q[i * N + j] -= dot * q[i * N + k];
                    }
                }
            }
            double norm = 0;
            for (int i = 0; i < M; i++) {
                norm += q[i * N + j] * q[i * N + j];
            }
            for (int i = 0; i < M; i++) {
                q[i * N + j] /= sqrt(norm);
                const double got = wide ? x[j * M + i] : x[i * N + j];
                assert_true(fabs(got - 1.5 * q[i * N + j]) < 1e-12);
            }
        }
    }
    dlt_arena_destroy(arena);
}

static void forget_gates_start_as_ones(void **state)
{
    (void)state;
    dlt_arena *arena = dlt_arena_create();
    dlt_diag *diag = dlt_diag_create();
    double x[8];
    const dlt_variable v = {.path = "lstm/bias",
                            .shape = DLT_SHAPE(8),
                            .initializer = dlt_test_item(arena, "initializer", "zeros"),
                            .ones_from = 2,
                            .ones_count = 2};
    assert_int_equal(dlt_initial_value(&v, 0, x, diag), DLT_OK);
    assert_memory_equal(x, ((double[]){0, 0, 1, 1, 0, 0, 0, 0}), sizeof x);
    const dlt_variable plain = {.path = "state", .shape = DLT_SHAPE(8), .constant = 0.25};
    assert_int_equal(dlt_initial_value(&plain, 0, x, diag), DLT_OK);
    assert_true(x[0] == 0.25 && x[7] == 0.25);
    dlt_diag_destroy(diag);
    dlt_arena_destroy(arena);
}

static void refused_memory_is_said(void **state)
{
    (void)state;
    dlt_arena *arena = dlt_arena_create();
    const dlt_item *item = dlt_test_item(arena, "initializer", "orthogonal");
    for (uint64_t n = 1; n <= 5; n++) {
        dlt_diag *diag = dlt_diag_create();
        double x[12];
        const dlt_variable v = {.path = "k", .shape = DLT_SHAPE(3, 4), .initializer = item};
        dlt_alloc_fail_at(n, false);
        const dlt_status status = dlt_initial_value(&v, 0, x, diag);
        dlt_alloc_fail_at(0, false);
        assert_int_equal(status, n <= 4 ? DLT_E_MEMORY : DLT_OK); /* it takes four blocks */
        dlt_diag_destroy(diag);
    }
    dlt_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_follow_seed_and_path),
        cmocka_unit_test(values_are_elements_of_their_stream),
        cmocka_unit_test(fans_follow_the_shape),
        cmocka_unit_test(orthogonal_is_the_factor_with_a_positive_diagonal),
        cmocka_unit_test(forget_gates_start_as_ones),
        cmocka_unit_test(refused_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
