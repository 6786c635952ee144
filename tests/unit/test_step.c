/* tests/unit/test_step.c: whole training steps on the CPU, from the builder to the numbers. */
#include "support/program.h"

#include <math.h>
#include <string.h>

enum { ROWS = 4, IN = 3, OUT = 5 };

/* One dense layer with relu, mean of squares as the loss, plain descent. */
static void dense_step(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", dlt_real(b), DLT_SHAPE(ROWS, IN));
    dlt_value *w = dlt_weight(b, &(dlt_weight_params){.name = "kernel"}, DLT_SHAPE(IN, OUT));
    dlt_value *y = dlt_relu(b, dlt_add_c(b, dlt_matmul(b, x, w, false, false), 0.25));
    dlt_value *loss = dlt_mean_all(b, dlt_square(b, y)), *g;
    dlt_gradients(b, loss, &w, 1, &g);
    dlt_output(b, "loss", loss);
    dlt_guard(b, &loss, 1);
    dlt_assign_flat(b, dlt_sub(b, dlt_flat_params(b), dlt_mul_c(b, dlt_flat_grads(b, &g, 1), 0.5)));
}

/* The same by hand; returns the loss. */
static double step_by_hand(const double *x, double *w)
{
    double y[ROWS][OUT], loss = 0, g[IN][OUT] = {{0}};
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < OUT; j++) {
            y[i][j] = 0.25;
            for (int k = 0; k < IN; k++) {
                y[i][j] += x[i * IN + k] * w[k * OUT + j];
            }
            y[i][j] = fmax(y[i][j], 0);
            loss += y[i][j] * y[i][j] / (ROWS * OUT);
        }
    }
    for (int i = 0; i < ROWS; i++) {
        for (int k = 0; k < IN; k++) {
            for (int j = 0; j < OUT; j++) {
                g[k][j] += x[i * IN + k] * 2 * y[i][j] / (ROWS * OUT);
            }
        }
    }
    for (int k = 0; k < IN * OUT; k++) {
        w[k] -= 0.5 * g[k / OUT][k % OUT];
    }
    return loss;
}

static void a_step_gives_the_numbers_of_its_formula(void **state)
{
    (void)state;
    double x[ROWS * IN], w[IN * OUT], got[IN * OUT], loss;
    for (int wide = 0; wide < 2; wide++) {
        const double tolerance = wide ? 1e-12 : 1e-5;
        test_program *t = test_compile(dense_step, NULL, &(test_options){.real = wide ? DLT_F64 : DLT_F32});
        test_fill(x, ROWS * IN, 1, -1, 1);
        test_fill(w, IN * OUT, 2, -1, 1);
        test_set_input(t, 0, x);
        test_set_variable(t, "kernel", w);
        for (int step = 0; step < 5; step++) {
            const double expected = step_by_hand(x, w);
            assert_true(test_run(t));
            test_get(t, "loss", &loss);
            test_close("loss", &loss, &expected, 1, tolerance);
            test_get_variable(t, "kernel", got);
            test_close("kernel", got, w, IN * OUT, tolerance);
        }
        test_release(t);
    }
}

static void a_step_that_is_not_finite_changes_nothing(void **state)
{
    (void)state;
    double x[ROWS * IN] = {NAN}, w[IN * OUT], got[IN * OUT];
    test_program *t = test_compile(dense_step, NULL, &(test_options){0});
    test_fill(w, IN * OUT, 2, 0, 1);
    test_set_input(t, 0, x);
    test_set_variable(t, "kernel", w);
    assert_false(test_run(t));
    test_get_variable(t, "kernel", got);
    test_close("kernel", got, w, IN * OUT, 1e-7);
    test_release(t);
}

enum { WIDE = 4000 };

/* A guard with work for all threads right in front of it and behind it. */
static void guarded(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(4, WIDE));
    dlt_value *s = dlt_state(b, "s", DLT_F32, DLT_SHAPE(4, WIDE), NULL, 0);
    dlt_value *y = dlt_reverse(b, dlt_reverse(b, dlt_add(b, x, x), 1), 0), *sum = dlt_sum_all(b, y);
    dlt_guard(b, &sum, 1);
    dlt_builder_phase(b, DLT_PHASE_UPDATE);
    dlt_assign(b, dlt_variable_of(s), dlt_reverse(b, dlt_reverse(b, dlt_add(b, s, y), 0), 1));
}

static void a_guard_that_stops_leaves_no_thread_behind(void **state)
{
    (void)state;
    static double x[4 * WIDE];
    /* reference kernels: the fast ones take so little time here that each is one task */
    test_program *t = test_compile(guarded, NULL, &(test_options){.threads = 4, .reference = true});
    assert_true(dlt_backend_cpu.launches(t->program) > 4);
    for (int i = 0; i < 400; i++) {
        x[7] = i % 2 == 0 ? NAN : 1;
        test_set_input(t, 0, x);
        assert_true(test_run(t) == (i % 2 != 0));
    }
    test_release(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_step_gives_the_numbers_of_its_formula),
                                       cmocka_unit_test(a_step_that_is_not_finite_changes_nothing),
                                       cmocka_unit_test(a_guard_that_stops_leaves_no_thread_behind)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
