/* tests/unit/test_golden_callbacks.c: what callbacks decide on sequences of values, against Keras.
 * LearningRateScheduler is not compared: Keras takes a function, the vectors a schedule, and dltrain a table.
 */
#include "support/golden.h"
#include "support/run.h"
#include "support/support.h"
#include "trainer/callback.h"

#include "base/num.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 64 };

/* A run that only counts. Its weights are the number of the epoch that ended last. */
typedef struct fixture {
    dlt_golden *g;
    const dlt_yaml *c;
    const char *name;
    dlt_arena *arena;
    dlt_diag *diag;
    dlt_callback_set *set;
    dlt_callback_io io;
    dlt_log_entry entries[8];
    dlt_logs logs;
    int weights, kept;
    bool stop;
    int saves;
    bool saved[MOST];
} fixture;

static double number(const dlt_yaml *node)
{
    double value;
    if (!dlt_parse_double(node->text, node->length, &value)) {
        assert_true(dlt_parse_special(node->text, node->length, &value));
    }
    return value;
}

static dlt_status act(void *context, int index, const dlt_callback_io *io, dlt_diag *diag)
{
    fixture *f = context;
    (void)index;
    (void)diag;
    if (io->keep_weights) {
        f->kept = f->weights;
    }
    if (io->restore_weights) {
        f->weights = f->kept;
    }
    if (io->save) {
        const dlt_yaml *files = dlt_yaml_get(f->c, "files");
        const char *slash = strrchr(io->save_path, '/');
        assert_true(f->saves < (int)files->count);
        assert_string_equal(slash != NULL ? slash + 1 : io->save_path, files->values[f->saves]->text);
        assert_true(io->save_weights_only);
        f->saves++;
    }
    return DLT_OK;
}

static bool fire(fixture *f, dlt_callback_event event)
{
    bool stop;
    assert_int_equal(dlt_callback_set_run(f->set, event, &f->io, act, f, &stop), DLT_OK);
    return stop;
}

static const dlt_golden_array *expected(const fixture *f, const char *key)
{
    const dlt_golden_array *array = dlt_golden_find(f->g, f->name, key);
    if (array == NULL) {
        fail_msg("%s has no %s", f->name, key);
    }
    return array;
}

/* Which way the monitored value is better. */
static dlt_direction direction_of(const fixture *f, const char *monitor)
{
    const dlt_yaml *metrics = dlt_yaml_get(f->c, "metrics");
    if (metrics == NULL || strcmp(monitor, "loss") == 0 || strcmp(monitor, "val_loss") == 0) {
        return DLT_SMALLER_IS_BETTER;
    }
    return dlt_metric_of(dlt_test_item(f->arena, "metric", dlt_golden_flow(f->arena, metrics->values[0])))
        ->direction;
}

static void run_case(dlt_golden *g, const dlt_yaml *c, const dlt_item *item, const char *monitor)
{
    fixture f = {.g = g,
                 .c = c,
                 .name = dlt_golden_text(c, "name"),
                 .arena = g->arena,
                 .diag = dlt_diag_create(),
                 .kept = -1,
                 .weights = -1};
    const dlt_yaml *values = dlt_yaml_get(c, "values"), *batches = dlt_yaml_get(c, "batches");
    const bool stops = strcmp(item->kind->name, "EarlyStopping") == 0,
               lowers = strcmp(item->kind->name, "ReduceLROnPlateau") == 0;
    const dlt_direction direction = direction_of(&f, monitor);
    f.set = dlt_callback_set_create(f.arena, &(dlt_items){1, &item});
    f.logs = (dlt_logs){.room = 8, .at = f.entries};
    f.io = (dlt_callback_io){.logs = &f.logs, .arena = f.arena, .diag = f.diag};
    f.io.rate = lowers ? (double)(float)number(dlt_yaml_get(c, "learning_rate")) : 0.1;
    fire(&f, DLT_EVENT_TRAIN_BEGIN);
    int epoch = 0, marks = 0;
    bool stop = false;
    for (; epoch < (int)values->count && !stop; epoch++) {
        f.io.epoch = epoch;
        f.logs.count = 0;
        fire(&f, DLT_EVENT_EPOCH_BEGIN);
        for (int batch = 0; batches != NULL && batch < (int)number(batches); batch++) {
            const int before = f.saves;
            f.io.batch = batch;
            fire(&f, DLT_EVENT_BATCH_END);
            f.saved[marks++] = f.saves > before;
        }
        f.weights = epoch;
        dlt_logs_set(&f.logs, "other", 1, DLT_NO_DIRECTION);
        if (values->values[epoch]->type == DLT_YAML_SCALAR) {
            dlt_logs_set(&f.logs, monitor, number(values->values[epoch]), direction);
        }
        const int before = f.saves;
        stop = fire(&f, DLT_EVENT_EPOCH_END);
        if (batches == NULL) {
            f.saved[marks++] = f.saves > before;
        }
        const dlt_callback_state *state = &f.set->states[0];
        if (stops || lowers) { /* integer[1] is the wait of both */
            assert_int_equal(state->integer[1], (int64_t)expected(&f, "wait")->values[epoch]);
        }
        if (lowers) {
            dlt_assert_close(f.name, &f.io.rate, &expected(&f, "learning_rate")->values[epoch], 1, 1e-6);
        }
    }
    fire(&f, DLT_EVENT_TRAIN_END);
    if (stops) {
        const dlt_callback_state *state = &f.set->states[0];
        assert_int_equal(epoch, (int)expected(&f, "epochs_run")->values[0]);
        assert_int_equal(stop, (int)expected(&f, "stopped")->values[0]);
        assert_int_equal(f.weights, (int)expected(&f, "weights_of_epoch")->values[0]);
        assert_int_equal(state->integer[2], (int64_t)expected(&f, "best_epoch")->values[0]);
        const double best = state->integer[0] != 0 ? state->number[0] : (double)NAN;
        dlt_assert_close(f.name, &best, expected(&f, "best")->values, 1, 1e-6);
    } else if (!lowers) {
        const dlt_golden_array *saved = expected(&f, "saved");
        assert_int_equal(marks, dlt_shape_count(&saved->shape));
        for (int i = 0; i < marks; i++) {
            assert_int_equal(f.saved[i], (int)saved->values[i]);
        }
        assert_int_equal(f.saves, (int)dlt_yaml_get(c, "files")->count);
    }
    dlt_diag_destroy(f.diag);
}

static void callbacks_decide_as_those_of_keras(void **state)
{
    (void)state;
    dlt_golden *g = dlt_golden_open("callbacks");
    if (g == NULL) {
        skip();
    }
    int done = 0;
    for (size_t i = 0; i < g->cases->count; i++) {
        const dlt_yaml *c = g->cases->values[i], *callback = dlt_yaml_get(c, "callback");
        if (dlt_yaml_get(callback, "LearningRateScheduler") != NULL) {
            continue;
        }
        const dlt_item *item = dlt_test_item(g->arena, "callback", dlt_golden_flow(g->arena, callback));
        run_case(g, c, item, dlt_golden_text(callback->values[0], "monitor"));
        done++;
    }
    print_message("%d cases\n", done);
    dlt_golden_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(callbacks_decide_as_those_of_keras)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
