/* tests/unit/test_losses.c: losses that have no golden vectors, and what Keras does not do: padding, weights
 * by sample on steps. */
#include "support/golden.h"
#include "support/run.h"
#include "support/support.h"
#include "trainer/kinds.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A loss of given arrays; gradient with respect to y_pred. */
typedef struct case_of {
    const char *loss;
    dlt_shape t, p, w, m; /* w, m: rank 0 is none */
    const double *y_true, *y_pred, *weight, *mask;
    double rows;            /* 0: no padding */
    dlt_dtype target;       /* F32 or I32 */
    const char *activation; /* "softmax", "sigmoid": y_pred is what stands before; NULL: as it is */
} case_of;

static dlt_test_run *run_loss(const case_of *c, double *value, double *gradient)
{
    dlt_test_run *run = dlt_test_run_open();
    const dlt_item *loss = dlt_test_item(run->arena, "loss", c->loss);
    dlt_builder *b = dlt_builder_create(
        run->arena, run->variables,
        &(dlt_builder_options){.name = "loss", .mode = DLT_MODE_TRAIN, .real = DLT_F32, .batch = c->p.dim[0]},
        run->diag);
    dlt_value *p = dlt_input(b, "p", DLT_F32, c->p), *x = p, *dp = NULL;
    if (c->activation != NULL) {
        x = strcmp(c->activation, "softmax") == 0 ? dlt_softmax(b, p) : dlt_sigmoid(b, p);
    }
    dlt_outcome o = {.y_true = dlt_input(b, "t", c->target, c->t), .y_pred = x};
    o.weight = c->weight != NULL ? dlt_input(b, "w", DLT_F32, c->w) : NULL;
    o.mask = c->mask != NULL ? dlt_input(b, "m", DLT_U8, c->m) : NULL;
    o.rows = c->rows > 0 ? dlt_input(b, "rows", DLT_I32, dlt_scalar()) : NULL;
    dlt_value *y = dlt_loss_apply(b, loss, &o);
    dlt_gradients(b, y, &p, 1, &dp);
    dlt_output(b, "loss", y);
    dlt_output(b, "dp", dp);
    dlt_graph *graph = NULL;
    if (dlt_builder_finish(b, &graph) != DLT_OK) {
        return run;
    }
    dlt_test_run_add(run, graph);
    dlt_test_run_start(run);
    int input = 0;
    dlt_test_input(run, 0, input++, c->y_pred);
    dlt_test_input(run, 0, input++, c->y_true);
    if (c->weight != NULL) {
        dlt_test_input(run, 0, input++, c->weight);
    }
    if (c->mask != NULL) {
        dlt_test_input(run, 0, input++, c->mask);
    }
    if (c->rows > 0) {
        dlt_test_input(run, 0, input, &c->rows);
    }
    assert_true(dlt_test_run_once(run, 0));
    dlt_test_output(run, 0, "loss", value);
    if (gradient != NULL) {
        dlt_test_output(run, 0, "dp", gradient);
    }
    return run;
}

static void other_losses_are_those_of_keras(void **state)
{
    (void)state;
    /* y_pred {{0.3, 0.5, 0.2}, {0.6, 0.1, 0.3}}; values and gradients by Keras 3.15.1 on JAX */
    static const double p[] = {0.3, 0.5, 0.2, 0.6, 0.1, 0.3};
    static const struct {
        const char *loss;
        double t[6], value, gradient[6];
    } cases[] = {
        {"mape",
         {0.2, 0.7, 0.1, 1, 0, 0},
         66666704,
         {83.333336, -23.809526, 166.66667, -16.666668, 1.6666667e+08, 1.6666667e+08}},
        {"msle",
         {0.2, 0.7, 0.1, 1, 0, 0},
         0.026225936,
         {0.020523757, -0.027814038, 0.024169831, -0.046488233, 0.028881842, 0.067272857}},
        {"LogCosh",
         {0.2, 0.7, 0.1, 1, 0, 0},
         0.026189607,
         {0.016611323, -0.032895878, 0.016611338, -0.063324824, 0.016611338, 0.048552111}},
        {"CosineSimilarity",
         {0.2, 0.7, 0.1, 1, 0, 0},
         -0.91694999,
         {0.15394786, -0.14813852, 0.13942446, -0.16026294, 0.096157812, 0.28847343}},
        {"{CosineSimilarity: {axis: 0}}",
         {0.2, 0.7, 0.1, 1, 0, 0},
         -0.83334821,
         {0.11694108, -0.025143087, -0.64003873, -0.058470517, 0.12571548, 0.42669249}},
        {"Poisson",
         {0.2, 0.7, 0.1, 1, 0, 0},
         0.56629443,
         {0.055555589, -0.066666603, 0.083333381, -0.11111106, 0.16666667, 0.16666667}},
        {"kld",
         {0.2, 0.7, 0.1, 1, 0, 0},
         0.2979728,
         {-0.33333334, -0.69999999, -0.24999999, -0.83333331, -4.9999994e-07, -1.6666667e-07}},
        {"Hinge",
         {0, 1, 0, 1, 0, 0},
         0.9666667,
         {0.16666667, -0.16666667, 0.16666667, -0.16666667, 0.16666667, 0.16666667}},
        {"Hinge",
         {-1, 1, -1, 1, -1, 0.5},
         0.89166665,
         {0.16666667, -0.16666667, 0.16666667, -0.16666667, 0.16666667, -0.083333336}},
        {"squared_hinge",
         {0, 1, 0, 1, 0, 0},
         1.0733333,
         {0.43333334, -0.16666667, 0.40000004, -0.13333333, 0.36666667, 0.43333334}},
        {"categorical_hinge", {0, 1, 0, 1, 0, 0}, 0.75, {0.5, -0.5, 0, -0.5, 0, 0.5}},
        {"BinaryFocalCrossentropy",
         {0, 1, 0, 1, 0, 0},
         0.054866619,
         {0.057096072, -0.19885787, 0.023209568, -0.11255451, 0.0053638718, 0.057096072}},
        {"{BinaryFocalCrossentropy: {apply_class_balancing: true, gamma: 1.5, alpha: 0.3, label_smoothing: "
         "0.1}}",
         {0, 1, 0, 1, 0, 0},
         0.041813098,
         {0.058960095, -0.069230422, 0.033179298, -0.044903837, 0.015619081, 0.058960095}},
        {"{BinaryFocalCrossentropy: {from_logits: true}}",
         {0, 1, 0, 1, 0, 0},
         0.18880016,
         {0.071584411, -0.022989497, 0.06391111, -0.01923733, 0.056599103, 0.071584411}},
        {"CategoricalFocalCrossentropy",
         {0, 1, 0, 1, 0, 0},
         0.031877361,
         {0.074571699, -0.074571699, 0.074571699, -0.033766352, 0.050649531, 0.050649531}},
        {"{CategoricalFocalCrossentropy: {from_logits: true, alpha: 0.5, gamma: 3, label_smoothing: 0.2}}",
         {0, 1, 0, 1, 0, 0},
         0.1097762,
         {0.039529596, -0.072633483, 0.033103891, -0.055300485, 0.022112189, 0.033188302}},
        {"CategoricalGeneralizedCrossEntropy", {1, 0}, 0.51829654, {0, -0.70710677, 0, -0.6454972, 0, 0}},
        {"{CategoricalGeneralizedCrossEntropy: {q: 0.8, reduction: sum}}",
         {1, 0},
         0.95138878,
         {0, -1.1486983, 0, -1.1075664, 0, 0}},
    };
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        const bool classes = strstr(cases[i].loss, "Generalized") != NULL;
        const case_of c = {.loss = cases[i].loss,
                           .t = classes ? DLT_SHAPE(2) : DLT_SHAPE(2, 3),
                           .p = DLT_SHAPE(2, 3),
                           .y_true = cases[i].t,
                           .y_pred = p,
                           .target = classes ? DLT_I32 : DLT_F32};
        double value, gradient[6];
        dlt_test_run_close(run_loss(&c, &value, gradient));
        dlt_assert_close(cases[i].loss, &value, &cases[i].value, 1, 1e-5);
        dlt_assert_close(cases[i].loss, gradient, cases[i].gradient, 6, 1e-5);
    }
}

static void crossentropy_behind_its_activation_is_taken_from_logits(void **state)
{
    (void)state;
    /* far from 0 and on the wrong side: from probabilities the loss would be cut at 16.1 and the gradient
     * would be 0 */
    const double z[] = {40, -40}, t[] = {0, 1};
    double value, gradient[6];
    dlt_test_run_close(run_loss(&(case_of){.loss = "binary_crossentropy",
                                           .t = DLT_SHAPE(2, 1),
                                           .p = DLT_SHAPE(2, 1),
                                           .y_true = t,
                                           .y_pred = z,
                                           .activation = "sigmoid"},
                                &value, gradient));
    dlt_assert_close("sigmoid", &value, &(double){40}, 1, 1e-6);
    dlt_assert_close("sigmoid", gradient, (double[]){0.5, -0.5}, 2, 1e-6);

    const double s[] = {50, 0, 0, 0, 0, 0}, classes[] = {1, 2}, one_hot[] = {0, 1, 0, 0, 0, 1};
    const double third = 1.0 / 3, expected = (50 + log(3)) / 2,
                 slopes[] = {0.5, -0.5, 0, third / 2, third / 2, (third - 1) / 2};
    dlt_test_run_close(run_loss(&(case_of){.loss = "sparse_categorical_crossentropy",
                                           .t = DLT_SHAPE(2),
                                           .p = DLT_SHAPE(2, 3),
                                           .y_true = classes,
                                           .y_pred = s,
                                           .target = DLT_I32,
                                           .activation = "softmax"},
                                &value, gradient));
    dlt_assert_close("softmax", &value, &expected, 1, 1e-6);
    dlt_assert_close("softmax", gradient, slopes, 6, 1e-6);
    dlt_test_run_close(run_loss(&(case_of){.loss = "categorical_crossentropy",
                                           .t = DLT_SHAPE(2, 3),
                                           .p = DLT_SHAPE(2, 3),
                                           .y_true = one_hot,
                                           .y_pred = s,
                                           .activation = "softmax"},
                                &value, gradient));
    dlt_assert_close("softmax", &value, &expected, 1, 1e-6);
    dlt_assert_close("softmax", gradient, slopes, 6, 1e-6);
}

static void a_network_of_zeros_learns_from_binary_crossentropy(void **state)
{
    (void)state;
    double value, gradient[2];
    dlt_test_run_close(run_loss(&(case_of){.loss = "{BinaryCrossentropy: {from_logits: true}}",
                                           .t = DLT_SHAPE(2, 1),
                                           .p = DLT_SHAPE(2, 1),
                                           .y_true = (double[]){0, 1},
                                           .y_pred = (double[]){0, 0}},
                                &value, gradient));
    dlt_assert_close("loss", &value, &(double){log(2)}, 1, 1e-6);
    dlt_assert_close("gradient", gradient, (double[]){0.25, -0.25}, 2, 1e-6);
}

static void padded_rows_do_not_count(void **state)
{
    (void)state;
    static const char *const reductions[] = {"sum_over_batch_size", "mean", "sum", "mean_with_sample_weight"};
    const double t[] = {0, 1, 0.5, 9, 9}, p[] = {0.25, 0.5, 0.75, -9, 70}, w[] = {1, 2, 0.5, 3, 4};
    for (size_t i = 0; i < DLT_COUNT(reductions); i++) {
        for (int weighted = 0; weighted < 2; weighted++) {
            for (int rank = 1; rank < 3; rank++) {
                char loss[96];
                double whole, padded;
                snprintf(loss, sizeof loss, "{MeanSquaredError: {reduction: %s}}", reductions[i]);
                case_of c = {.loss = loss,
                             .t = DLT_SHAPE(3, 1),
                             .p = DLT_SHAPE(3, 1),
                             .w = DLT_SHAPE(3),
                             .y_true = t,
                             .y_pred = p,
                             .weight = weighted ? w : NULL};
                dlt_test_run_close(run_loss(&c, &whole, NULL));
                c.t = c.p = rank == 2 ? DLT_SHAPE(5, 1) : DLT_SHAPE(5);
                c.w = DLT_SHAPE(5);
                c.rows = 3;
                dlt_test_run_close(run_loss(&c, &padded, NULL));
                dlt_assert_close(loss, &padded, &whole, 1, 1e-6);
            }
        }
    }
}

static void weights_by_sample_hold_for_all_steps(void **state)
{
    (void)state;
    /* Keras refuses this */
    const double t[] = {0, 0, 0, 0}, p[] = {1, 2, 3, 4}, w[] = {2, 0.5};
    double value;
    const double expected = (2 * (1 + 4) + 0.5 * (9 + 16)) / 4, weighted = (2 * (1 + 4) + 0.5 * (9 + 16)) / 5;
    case_of c = {.loss = "mse",
                 .t = DLT_SHAPE(2, 2, 1),
                 .p = DLT_SHAPE(2, 2, 1),
                 .w = DLT_SHAPE(2),
                 .y_true = t,
                 .y_pred = p,
                 .weight = w};
    dlt_test_run_close(run_loss(&c, &value, NULL));
    dlt_assert_close("mean", &value, &expected, 1, 1e-6);
    c.loss = "{MeanSquaredError: {reduction: mean_with_sample_weight}}";
    dlt_test_run_close(run_loss(&c, &value, NULL));
    dlt_assert_close("mean_with_sample_weight", &value, &weighted, 1, 1e-6);
}

static void masks_reach_targets_without_a_last_axis(void **state)
{
    (void)state;
    /* targets (B, T), outputs (B, T, 1), a mask (B, T): Keras squeezes the outputs, and then fails at the
     * mask */
    const double t[] = {0, 0, 0, 0}, p[] = {1, 2, 3, 4}, m[] = {1, 0, 1, 1};
    double value;
    dlt_test_run_close(run_loss(&(case_of){.loss = "mse",
                                           .t = DLT_SHAPE(2, 2),
                                           .p = DLT_SHAPE(2, 2, 1),
                                           .m = DLT_SHAPE(2, 2),
                                           .y_true = t,
                                           .y_pred = p,
                                           .mask = m},
                                &value, NULL));
    dlt_assert_close("masked", &value, &(double){(1 + 9 + 16) / 3.0}, 1, 1e-6);
    /* an element of the mask for three losses */
    const double grid[12] = {0}, q[] = {1, 1, 1, 5, 5, 5, 1, 2, 3, 2, 2, 2};
    dlt_test_run_close(run_loss(&(case_of){.loss = "mae",
                                           .t = DLT_SHAPE(2, 2, 3, 1),
                                           .p = DLT_SHAPE(2, 2, 3, 1),
                                           .m = DLT_SHAPE(2, 2),
                                           .y_true = grid,
                                           .y_pred = q,
                                           .mask = m},
                                &value, NULL));
    dlt_assert_close("masked", &value, &(double){(3 + 6 + 6) / 9.0}, 1, 1e-6);
}

static void shapes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *loss;
        dlt_shape t, p;
        const char *text;
    } cases[] = {
        {"mse",
         {2, {2, 3}},
         {2, {2, 4}},
         "test.yaml:2:7: targets have shape (None, 3); outputs of shape (None, 4) need (None, 4)"},
        {"sparse_categorical_crossentropy",
         {2, {2, 3}},
         {2, {2, 3}},
         "test.yaml:2:7: targets have shape (None, 3); outputs of shape (None, 3) need (None,)"},
        {"categorical_crossentropy",
         {1, {2}},
         {2, {2, 3}},
         "test.yaml:2:7: targets have shape (None,); outputs of shape (None, 3) need (None, 3)"},
        {"{CosineSimilarity: {axis: 3}}",
         {2, {2, 3}},
         {2, {2, 3}},
         "test.yaml:2:8: axis 3 of a tensor of shape (None, 3) does not exist"},
    };
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        const double numbers[8] = {0};
        double value;
        dlt_test_run *run = run_loss(&(case_of){.loss = cases[i].loss,
                                                .t = cases[i].t,
                                                .p = cases[i].p,
                                                .y_true = numbers,
                                                .y_pred = numbers},
                                     &value, NULL);
        assert_string_equal(dlt_diag_text(run->diag, 0), cases[i].text);
        dlt_test_run_close(run);
    }
}

static void none_is_no_reduction_for_training(void **state)
{
    (void)state;
    dlt_arena *arena = dlt_arena_create();
    assert_non_null(
        strstr(dlt_test_mistake(arena, "layers: [Flatten]\nloss: {MeanSquaredError: {reduction: none}}\n"),
               "reduction"));
    dlt_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_losses_are_those_of_keras),
        cmocka_unit_test(crossentropy_behind_its_activation_is_taken_from_logits),
        cmocka_unit_test(a_network_of_zeros_learns_from_binary_crossentropy),
        cmocka_unit_test(padded_rows_do_not_count),
        cmocka_unit_test(weights_by_sample_hold_for_all_steps),
        cmocka_unit_test(masks_reach_targets_without_a_last_axis),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused),
        cmocka_unit_test(none_is_no_reduction_for_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
