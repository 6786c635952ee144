/* tests/unit/test_golden_metrics.c: metrics against Keras: the result after each of three batches, with the
 * last batch at its own size and padded. */
#include "support/golden.h"
#include "support/run.h"
#include "support/support.h"
#include "trainer/metric.h"

#include <stdlib.h>
#include <string.h>

static const char *const keys[] = {"y_true", "y_pred", "sample_weight", "mask"};
enum { PARTS = 4, BATCH = 5, LAST = 2 };

typedef struct fixture {
    const char *name;
    const dlt_golden_array *parts[PARTS];
    dlt_test_run *run;
    dlt_metric_set *set;
} fixture;

static dlt_shape shape_of(const dlt_golden_array *array, int64_t batch)
{
    dlt_shape shape = array->shape;
    shape.dim[0] = batch;
    return shape;
}

static void add_program(fixture *f, int64_t batch, bool padded)
{
    dlt_builder *b = dlt_builder_create(
        f->run->arena, f->run->variables,
        &(dlt_builder_options){.name = f->name, .mode = DLT_MODE_EVALUATE, .real = DLT_F32, .batch = batch},
        f->run->diag);
    dlt_value *in[PARTS] = {NULL};
    for (int i = 0; i < PARTS; i++) {
        if (f->parts[i] != NULL) {
            in[i] = dlt_input(b, keys[i],
                              i == 0   ? f->parts[i]->type
                              : i == 3 ? DLT_U8
                                       : DLT_F32,
                              shape_of(f->parts[i], batch));
        }
    }
    in[1]->mask = in[3];
    dlt_outcome outcome = {.y_true = in[0], .y_pred = in[1], .weight = in[2]};
    outcome.rows = padded ? dlt_input(b, "rows", DLT_I32, dlt_scalar()) : NULL;
    dlt_metric_set_update(b, f->set, &outcome, NULL);
    dlt_graph *graph = NULL;
    if (dlt_builder_finish(b, &graph) != DLT_OK) {
        fail_msg("%s: %s", f->name, dlt_diag_text(f->run->diag, 0));
    }
    dlt_test_run_add(f->run, graph);
}

/* Feeds rows [first, first + rows) to a program of `batch` rows, the last one repeated. */
static void feed(fixture *f, int program, int64_t first, int64_t rows, int64_t batch, bool padded)
{
    int number = 0;
    for (int i = 0; i < PARTS; i++) {
        if (f->parts[i] == NULL) {
            continue;
        }
        const dlt_shape row = shape_of(f->parts[i], 1);
        const int64_t each = dlt_shape_count(&row);
        double *values = malloc((size_t)(batch * each) * sizeof *values);
        for (int64_t r = 0; r < batch; r++) {
            const int64_t from = first + (r < rows ? r : rows - 1);
            memcpy(values + r * each, f->parts[i]->values + from * each, (size_t)each * sizeof *values);
        }
        dlt_test_input(f->run, program, number++, values);
        free(values);
    }
    if (padded) {
        dlt_test_input(f->run, program, number, &(double){(double)rows});
    }
    assert_true(dlt_test_run_once(f->run, program));
}

static int result(fixture *f, double *out, int room)
{
    const dlt_metric *metric = &f->set->at[0];
    double storage[DLT_METRIC_MAX_SUMS][1024];
    const double *sums[DLT_METRIC_MAX_SUMS];
    for (int i = 0; i < metric->sum_count; i++) {
        assert_true(dlt_shape_count(&metric->sums[i]->shape) <= 1024);
        dlt_test_get(f->run, metric->sums[i], NULL, storage[i]);
        sums[i] = storage[i];
    }
    return dlt_metric_values(metric, sums, out, room);
}

static void run_case(const dlt_golden *g, const dlt_yaml *c, bool padded)
{
    fixture f = {.name = dlt_golden_text(c, "name"), .run = dlt_test_run_open()};
    for (int i = 0; i < PARTS; i++) {
        f.parts[i] = dlt_golden_find(g, f.name, keys[i]);
    }
    const dlt_item *item =
        dlt_test_item(f.run->arena, "metric", dlt_golden_flow(f.run->arena, dlt_yaml_get(c, "metric")));
    assert_int_equal(
        dlt_metric_set_create(f.run->arena, &(dlt_items){1, &item}, &(dlt_items){0}, &f.set, f.run->diag),
        DLT_OK);
    f.set->at[0].weighted = true; /* the cases with weights want them seen */
    assert_string_equal(f.set->at[0].name, dlt_golden_text(c, "log_name"));
    const char *direction = dlt_golden_text(c, "direction");
    assert_int_equal(f.set->at[0].direction, strcmp(direction, "up") == 0     ? DLT_LARGER_IS_BETTER
                                             : strcmp(direction, "down") == 0 ? DLT_SMALLER_IS_BETTER
                                                                              : DLT_NO_DIRECTION);
    add_program(&f, BATCH, padded);
    if (!padded) {
        add_program(&f, LAST, false);
    }
    const char *resolved = dlt_golden_text(c, "resolves_to");
    if (resolved != NULL) {
        assert_string_equal(f.set->at[0].desc->kind.name, resolved);
    }
    dlt_test_run_start(f.run);
    const dlt_golden_array *expected = dlt_golden_find(g, f.name, "result");
    const dlt_shape row = shape_of(expected, 1);
    const int64_t values = dlt_shape_count(&row);
    for (int i = 0; i < 3; i++) {
        double got[64];
        feed(&f, i == 2 && !padded ? 1 : 0, 5 * i, i == 2 ? LAST : BATCH, i == 2 && !padded ? LAST : BATCH,
             padded);
        assert_int_equal(result(&f, got, 64), values);
        dlt_assert_close(f.name, got, expected->values + i * values, values, 1e-5);
    }
    assert_int_equal(f.set->at[0].value_count, values);
    dlt_test_run_close(f.run);
}

static void run_all(bool padded)
{
    dlt_golden *g = dlt_golden_open("metrics");
    if (g == NULL) {
        skip();
    }
    for (size_t i = 0; i < g->cases->count; i++) {
        run_case(g, g->cases->values[i], padded);
    }
    print_message("%d cases\n", (int)g->cases->count);
    dlt_golden_close(g);
}

static void metrics_are_those_of_keras(void **state)
{
    (void)state;
    run_all(false);
}

static void padding_does_not_count(void **state)
{
    (void)state;
    run_all(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_are_those_of_keras),
        cmocka_unit_test(padding_does_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
