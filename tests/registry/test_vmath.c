/* tests/registry/test_vmath.c: errors of the vector functions in units in the last place, their special values, and random
 * numbers, for every instruction set of this machine. The truth is libm in double. */
#include "support/support.h"

#include "backend/cpu/simd.h"
#include "base/pool.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 1 << 12 };

typedef double truth_fn(double x);

static double sigmoid_of(double x) { return 1 / (1 + exp(-x)); }
static double softplus_of(double x) { return x > 40 ? x : log1p(exp(x)); }
static double rsqrt_of(double x) { return 1 / sqrt(x); }
static double recip_of(double x) { return 1 / x; }

static const struct {
    dlt_ew op;
    truth_fn *truth;
    double low, high; /* where errors are measured, besides numbers of all sizes */
    double ulp;
} functions[] = {
    {DLT_EW_EXP, exp, -87, 88, 1.2},        {DLT_EW_EXPM1, expm1, -20, 88, 2},     {DLT_EW_LOG, log, 0, 4, 1.5},
    {DLT_EW_LOG1P, log1p, -0.99, 4, 1.7},   {DLT_EW_SIN, sin, -40, 40, 1.7},       {DLT_EW_COS, cos, -40, 40, 1.7},
    {DLT_EW_TANH, tanh, -10, 10, 2},        {DLT_EW_SIGMOID, sigmoid_of, -30, 30, 2.2}, {DLT_EW_SOFTPLUS, softplus_of, -30, 30, 2},
    {DLT_EW_ERF, erf, -4.5, 4.5, 2},        {DLT_EW_SQRT, sqrt, 0, 9, 0.51},       {DLT_EW_RSQRT, rsqrt_of, 0, 9, 1.6},
    {DLT_EW_RECIP, recip_of, -9, 9, 0.51},
};

/* Distance of y from the truth in units in the last place of the float next to the truth. */
static double ulps(float y, double truth)
{
    const float near = (float)truth;
    if (truth != truth || y != y) {
        return (truth != truth) == (y != y) ? 0 : HUGE_VAL;
    }
    if (fabsf(near) < 0x1p-126f) { /* denormal: flushed or not */
        return fabsf(y) <= 0x1p-125f ? 0 : HUGE_VAL;
    }
    if (isinf(near) || isinf(y)) {
        return near == y ? 0 : fabs(truth) > 0x1.fffffep127 && fabsf(y) >= 0x1.fffffep127f ? 0 : HUGE_VAL;
    }
    int e;
    frexp(truth, &e);
    return fabs((double)y - truth) / ldexp(1, e - 24);
}

static float random_bits(uint64_t i)
{
    const uint32_t bits = dlt_random_bits(7, 1, 0, i);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float as_read(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; /* denormal operands count as zero */
}

/* An operand. Denormal ones only where the processor knows the mode that the pool sets, which valgrind's does not. */
static float operand(float x)
{
    volatile float smallest = 0x1p-149f;
    return smallest * 0x1p30f > 0 ? as_read(x) : x;
}

static void functions_keep_their_bounds(void **state)
{
    (void)state;
    static float x[COUNT], y[COUNT];
    for (int isa = 0; isa <= (int)dlt_isa_best(); isa++) {
        const dlt_simd *simd = dlt_simd_of((dlt_isa)isa);
        for (size_t f = 0; f < DLT_COUNT(functions); f++) {
            double worst = 0;
            float at = 0;
            for (int round = 0; round < 24; round++) {
                for (int i = 0; i < COUNT; i++) {
                    const uint64_t n = (uint64_t)round * COUNT + (uint64_t)i;
                    const double u = dlt_random_uniform(11, 2, 0, n);
                    x[i] = round % 3 == 0   ? operand(random_bits(n))
                           : round % 3 == 1 ? (float)(functions[f].low + u * (functions[f].high - functions[f].low))
                                            : (float)((u - 0.5) * 2);
                }
                const int n = COUNT - round; /* tails too */
                simd->ew[DLT_COMPUTE_F32][functions[f].op][0](y, x, x, x, n);
                for (int i = 0; i < n; i++) {
                    const double e = ulps(y[i], functions[f].truth((double)as_read(x[i])));
                    if (!(e <= worst)) {
                        worst = e;
                        at = x[i];
                    }
                }
            }
            if (getenv("DLT_TEST_VERBOSE") != NULL) {
                print_message("%-8s %-10s %.3f ulp at %a\n", dlt_isa_name((dlt_isa)isa), dlt_ew_name(functions[f].op), worst, (double)at);
            }
            if (!(worst <= functions[f].ulp)) {
                fail_msg("%s of %s: %.3f ulp at %a, bound %.2f", dlt_ew_name(functions[f].op), dlt_isa_name((dlt_isa)isa), worst,
                         (double)at, functions[f].ulp);
            }
        }
    }
}

static void powers_keep_their_bound(void **state)
{
    (void)state;
    static float x[COUNT], y[COUNT], z[COUNT];
    for (int isa = 0; isa <= (int)dlt_isa_best(); isa++) {
        const dlt_simd *simd = dlt_simd_of((dlt_isa)isa);
        for (int round = 0; round < 4; round++) {
            for (int i = 0; i < COUNT; i++) {
                const uint64_t n = (uint64_t)round * COUNT + (uint64_t)i;
                x[i] = (float)(dlt_random_uniform(1, 1, 0, n) * 10);
                y[i] = (float)((dlt_random_uniform(2, 1, 0, n) - 0.5) * 40);
                if (round == 3) {
                    y[i] = roundf(y[i]);
                    x[i] = -x[i];
                }
            }
            simd->ew[DLT_COMPUTE_F32][DLT_EW_POW][0](z, x, y, y, COUNT);
            for (int i = 0; i < COUNT; i++) {
                if (!(ulps(z[i], pow((double)as_read(x[i]), (double)y[i])) <= 1)) {
                    fail_msg("pow(%a, %a) is %a", (double)x[i], (double)y[i], (double)z[i]);
                }
            }
        }
        static const float special[] = {0, -0.0f, 1, -1, 2, -2, 3, 0.5f, -0.5f, HUGE_VALF, -HUGE_VALF, NAN};
        for (size_t i = 0; i < DLT_COUNT(special); i++) {
            for (size_t k = 0; k < DLT_COUNT(special); k++) {
                float r;
                simd->ew[DLT_COMPUTE_F32][DLT_EW_POW][0](&r, &special[i], &special[k], &special[k], 1);
                if (!(ulps(r, pow((double)special[i], (double)special[k])) <= 1)) {
                    fail_msg("pow(%g, %g) is %g", (double)special[i], (double)special[k], (double)r);
                }
            }
        }
    }
}

static void special_values_are_those_of_c(void **state)
{
    (void)state;
    static const float special[] = {0, -0.0f, HUGE_VALF, -HUGE_VALF, NAN, 1, -1, 0x1p-126f, 0x1.fffffep127f, -0x1.fffffep127f};
    for (int isa = 0; isa <= (int)dlt_isa_best(); isa++) {
        const dlt_simd *simd = dlt_simd_of((dlt_isa)isa);
        for (size_t f = 0; f < DLT_COUNT(functions); f++) {
            for (size_t i = 0; i < DLT_COUNT(special); i++) {
                float y;
                simd->ew[DLT_COMPUTE_F32][functions[f].op][0](&y, &special[i], &special[i], &special[i], 1);
                const double truth = functions[f].truth((double)special[i]);
                if (!(ulps(y, truth) <= 2) || (truth == 0 && (signbit(truth) != 0) != (signbit(y) != 0))) {
                    fail_msg("%s(%g) is %g on %s", dlt_ew_name(functions[f].op), (double)special[i], (double)y,
                             dlt_isa_name((dlt_isa)isa));
                }
            }
        }
    }
}

static void two_operands_and_comparisons_follow_c(void **state)
{
    (void)state;
    static const float v[] = {0, -0.0f, 1, -1, 2.5f, -2.5f, 3, 7, HUGE_VALF, -HUGE_VALF, NAN, 0.3f};
    enum { N = (int)DLT_COUNT(v) };
    for (int isa = 0; isa <= (int)dlt_isa_best(); isa++) {
        const dlt_simd *simd = dlt_simd_of((dlt_isa)isa);
        for (int i = 0; i < N; i++) {
            float r[N], again[N];
            const float a = v[i];
            for (int op = DLT_EW_ADD; op <= DLT_EW_OR; op++) {
                float as[N];
                for (int k = 0; k < N; k++) {
                    as[k] = a;
                }
                simd->ew[DLT_COMPUTE_F32][op][0](r, as, v, v, N);
                simd->ew[DLT_COMPUTE_F32][op][DLT_EW_A_ONE](again, &a, v, v, N);
                assert_memory_equal(r, again, sizeof r);
                for (int k = 0; k < N; k++) { /* and with a scalar second operand */
                    simd->ew[DLT_COMPUTE_F32][op][DLT_EW_B_ONE](again, as, &v[k], v, N);
                    assert_memory_equal(&r[k], &again[k], sizeof r[k]);
                }
                for (int k = 0; k < N; k++) {
                    const float b = v[k];
                    const bool nan = a != a || b != b;
                    float want = r[k];
                    switch (op) {
                    case DLT_EW_MAX:
                        want = nan ? NAN : a < b ? b : a;
                        break;
                    case DLT_EW_MIN:
                        want = nan ? NAN : b < a ? b : a;
                        break;
                    case DLT_EW_LT:
                        want = a < b;
                        break;
                    case DLT_EW_LE:
                        want = a <= b;
                        break;
                    case DLT_EW_EQ:
                        want = a == b;
                        break;
                    case DLT_EW_AND:
                        want = a != 0 && b != 0;
                        break;
                    case DLT_EW_OR:
                        want = a != 0 || b != 0;
                        break;
                    case DLT_EW_DIV:
                        want = a / b;
                        break;
                    case DLT_EW_MOD:
                        want = fmodf(a, b);
                        want = want != 0 && (want < 0) != (b < 0) ? want + b : want;
                        break;
                    default:
                        break;
                    }
                    if (!(want == r[k] && (signbit(want) != 0) == (signbit(r[k]) != 0)) && !(want != want && r[k] != r[k])) {
                        fail_msg("%s(%g, %g) is %g", dlt_ew_name((dlt_ew)op), (double)a, (double)b, (double)r[k]);
                    }
                }
            }
        }
    }
}

static void large_angles_are_reduced_exactly(void **state)
{
    (void)state;
    static float x[COUNT], s[COUNT], c[COUNT];
    const dlt_simd *simd = dlt_simd_of(dlt_isa_best());
    for (int i = 0; i < COUNT; i++) {
        x[i] = ldexpf(1 + dlt_random_uniform(3, 1, 0, (uint64_t)i), 20 + i % 107) * (i % 2 == 0 ? 1.0f : -1.0f);
    }
    simd->ew[DLT_COMPUTE_F32][DLT_EW_SIN][0](s, x, x, x, COUNT);
    simd->ew[DLT_COMPUTE_F32][DLT_EW_COS][0](c, x, x, x, COUNT);
    for (int i = 0; i < COUNT; i++) {
        if (!(ulps(s[i], sin((double)x[i])) <= 1.5) || !(ulps(c[i], cos((double)x[i])) <= 1.5)) {
            fail_msg("sin or cos of %a: %a, %a", (double)x[i], (double)s[i], (double)c[i]);
        }
    }
}

static void random_numbers_are_those_of_the_generator(void **state)
{
    (void)state;
    static float u[1000];
    for (int isa = 0; isa <= (int)dlt_isa_best(); isa++) {
        const dlt_simd *simd = dlt_simd_of((dlt_isa)isa);
        for (uint64_t first = 0; first < 9; first++) {
            for (int n = 1; n < 1000; n += 83) {
                simd->shape[DLT_COMPUTE_F32]->uniform(u, UINT64_C(0x123456789abcdef), 77, UINT64_C(1) << 33 | 5, first, n);
                for (int i = 0; i < n; i++) {
                    const float want = dlt_random_uniform(UINT64_C(0x123456789abcdef), 77, UINT64_C(1) << 33 | 5, first + (uint64_t)i);
                    assert_memory_equal(&want, &u[i], sizeof want);
                }
            }
        }
    }
}

int main(void)
{
    dlt_pool *pool = dlt_pool_create(1, false);
    if (pool == NULL) {
        return 1;
    }
    dlt_pool_run(pool, &(dlt_pool_job){.stages = 0}); /* from here on denormals are flushed, as in all threads that compute */
    dlt_pool_destroy(pool);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_keep_their_bounds),
        cmocka_unit_test(powers_keep_their_bound),
        cmocka_unit_test(special_values_are_those_of_c),
        cmocka_unit_test(two_operands_and_comparisons_follow_c),
        cmocka_unit_test(large_angles_are_reduced_exactly),
        cmocka_unit_test(random_numbers_are_those_of_the_generator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
