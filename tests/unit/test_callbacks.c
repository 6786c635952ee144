/* tests/unit/test_callbacks.c: what callbacks ask of the loop: files, rates, stops; and that their state is
 * all they remember. */
#include "support/run.h"
#include "support/support.h"
#include "trainer/callback.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A loop that keeps one file in memory. */
typedef struct fixture {
    dlt_arena *arena;
    dlt_diag *diag;
    dlt_callback_set *set;
    dlt_callback_io io;
    dlt_log_entry entries[16];
    dlt_logs logs;
    char file[4096];
    int64_t file_bytes; /* -1: there is none */
    bool unknown;       /* the file cannot be looked at */
    char asked[512];    /* what was asked for since the last event: "0:stop 1:save " */
} fixture;

static bool file_size(void *context, const char *path, int64_t *size, dlt_diag *diag)
{
    const fixture *f = context;
    assert_non_null(strstr(path, "log.csv"));
    *size = f->file_bytes;
    if (f->unknown) {
        dlt_fail(diag, DLT_E_OUTPUT, (dlt_pos){0}, "cannot look at '%s'", path);
    }
    return !f->unknown;
}

static dlt_status act(void *context, int index, const dlt_callback_io *io, dlt_diag *diag)
{
    fixture *f = context;
    const size_t at = strlen(f->asked);
    (void)diag;
    snprintf(f->asked + at, sizeof f->asked - at, "%d:%s%s%s%s%s ", index, io->stop ? "stop" : "",
             io->keep_weights ? "keep" : "", io->restore_weights ? "restore" : "", io->save ? "save" : "",
             io->set_rate ? "rate" : "");
    if (io->write.path != NULL) {
        assert_true(io->write.offset <= (f->file_bytes < 0 ? 0 : f->file_bytes));
        memcpy(f->file + io->write.offset, io->write.text, io->write.bytes);
        f->file_bytes = io->write.offset + (int64_t)io->write.bytes;
        f->file[f->file_bytes] = '\0';
    }
    return DLT_OK;
}

static void open_fixture(fixture *f, const char *callbacks)
{
    memset(f, 0, sizeof *f);
    f->arena = dlt_arena_create();
    f->diag = dlt_diag_create();
    const dlt_spec *spec =
        &dlt_test_spec(f->arena,
                       dlt_arena_printf(f->arena, "layers: [Flatten]\nfit: {callbacks: %s}\n", callbacks))
             ->value;
    f->set = dlt_callback_set_create(f->arena, &spec->fit.callbacks);
    f->logs = (dlt_logs){.room = 16, .at = f->entries};
    f->file_bytes = -1;
    f->io = (dlt_callback_io){.logs = &f->logs,
                              .rate = 0.5,
                              .arena = f->arena,
                              .diag = f->diag,
                              .file_size = file_size,
                              .context = f};
}

static void close_fixture(fixture *f)
{
    dlt_diag_destroy(f->diag);
    dlt_arena_destroy(f->arena);
}

static bool fire(fixture *f, dlt_callback_event event)
{
    bool stop;
    f->asked[0] = '\0';
    assert_int_equal(dlt_callback_set_run(f->set, event, &f->io, act, f, &stop), DLT_OK);
    return stop;
}

static bool end_epoch(fixture *f, int epoch, const char *const *names, const double *values)
{
    f->io.epoch = epoch;
    f->logs.count = 0;
    for (int i = 0; names[i] != NULL; i++) {
        assert_true(dlt_logs_set(&f->logs, names[i], values[i], DLT_SMALLER_IS_BETTER));
    }
    return fire(f, DLT_EVENT_EPOCH_END);
}

static void csv_is_what_python_writes(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "[{CSVLogger: {filename: log.csv}}]");
    fire(&f, DLT_EVENT_TRAIN_BEGIN);
    assert_int_equal(f.file_bytes, 0);
    end_epoch(&f, 0, (const char *const[]){"loss", "acc", NULL}, (double[]){0.5, 1});
    end_epoch(&f, 1, (const char *const[]){"loss", "acc", "val_loss", "val_acc", NULL},
              (double[]){100000, 0.1, 1e-5, 0.25});
    end_epoch(&f, 2, (const char *const[]){"loss", NULL}, (double[]){NAN});
    end_epoch(&f, 3, (const char *const[]){"acc", "loss", NULL}, (double[]){1e16, -INFINITY});
    end_epoch(&f, 4, (const char *const[]){"acc", "loss", NULL},
              (double[]){123456789012345680.0 / 1e4, 0.0001});
    assert_string_equal(f.file, "epoch,acc,loss,val_acc,val_loss\r\n"
                                "0,1.0,0.5,NA,NA\r\n"
                                "1,0.1,100000.0,0.25,1e-05\r\n"
                                "2,NA,nan,NA,NA\r\n"
                                "3,1e+16,-inf,NA,NA\r\n"
                                "4,12345678901234.568,0.0001,NA,NA\r\n");
    close_fixture(&f);
}

static void csv_can_be_continued(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "[{CSVLogger: {filename: log.csv, separator: \";\", append: true}}]");
    f.file_bytes = snprintf(f.file, sizeof f.file, "epoch;loss\r\n0;1.0\r\n");
    fire(&f, DLT_EVENT_TRAIN_BEGIN);
    end_epoch(&f, 0, (const char *const[]){"loss", "val_loss", NULL}, (double[]){0.5, 2});
    assert_string_equal(f.file, "epoch;loss\r\n0;1.0\r\n0;0.5;2.0\r\n"); /* no second header */
    /* the run dies after epoch 1 was written, with the checkpoint of epoch 0: epoch 1 is run again */
    const dlt_callback_state saved = f.set->states[0];
    end_epoch(&f, 1, (const char *const[]){"loss", "val_loss", NULL}, (double[]){0.4, 1});
    f.set->states[0] = saved;
    end_epoch(&f, 1, (const char *const[]){"loss", "val_loss", NULL}, (double[]){0.25, 1});
    assert_string_equal(f.file, "epoch;loss\r\n0;1.0\r\n0;0.5;2.0\r\n1;0.25;1.0\r\n");
    close_fixture(&f);
    open_fixture(&f, "[{CSVLogger: {filename: log.csv, append: true}}]"); /* nothing to append to */
    fire(&f, DLT_EVENT_TRAIN_BEGIN);
    end_epoch(&f, 0, (const char *const[]){"loss", "val_loss", NULL}, (double[]){0.5, 2});
    assert_string_equal(f.file, "epoch,loss,val_loss\r\n0,0.5,2.0\r\n");
    close_fixture(&f);
}

/* No answer of the disk is neither an empty nor a missing file: nothing may be written over. */
static void csv_writes_nothing_over_a_file_it_cannot_look_at(void **state)
{
    static const dlt_callback_event events[] = {DLT_EVENT_TRAIN_BEGIN, DLT_EVENT_EPOCH_END};
    fixture f;
    bool stop;
    (void)state;
    for (size_t i = 0; i < DLT_COUNT(events); i++) {
        open_fixture(&f, "[{CSVLogger: {filename: log.csv, append: true}}]");
        fire(&f, DLT_EVENT_TRAIN_BEGIN);
        end_epoch(&f, 0, (const char *const[]){"loss", NULL}, (double[]){1});
        const int64_t bytes = f.file_bytes;
        f.unknown = true;
        f.asked[0] = '\0';
        assert_int_equal(dlt_callback_set_run(f.set, events[i], &f.io, act, &f, &stop), DLT_E_OUTPUT);
        assert_string_equal(f.asked, "");
        assert_int_equal(f.file_bytes, bytes);
        close_fixture(&f);
    }
}

static void csv_quotes_where_it_must(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "[{CSVLogger: {filename: log.csv}}]");
    fire(&f, DLT_EVENT_TRAIN_BEGIN);
    end_epoch(&f, 0, (const char *const[]){"a,b", "say \"x\"", "val_z", NULL}, (double[]){1, 2, 3});
    assert_string_equal(f.file, "epoch,\"a,b\",\"say \"\"x\"\"\",val_z\r\n0,1.0,2.0,3.0\r\n");
    close_fixture(&f);
}

static void a_table_of_rates_is_followed(void **state)
{
    (void)state;
    static const double rates[] = {0.5, 0.5, 0.125, 0.125, 0.1, 0.1};
    fixture f;
    open_fixture(&f,
                 "[{LearningRateScheduler: {schedule: {4: 0.1, 2: 1/8}}}, {CSVLogger: {filename: log.csv}}]");
    fire(&f, DLT_EVENT_TRAIN_BEGIN);
    for (int epoch = 0; epoch < 6; epoch++) {
        f.io.epoch = epoch;
        fire(&f, DLT_EVENT_EPOCH_BEGIN);
        assert_string_equal(f.asked, epoch >= 2 ? "0:rate " : "");
        assert_true(f.io.rate == (double)(float)rates[epoch]);
        end_epoch(&f, epoch, (const char *const[]){"loss", NULL}, (double[]){1});
        const dlt_log_entry *entry = dlt_logs_find(&f.logs, "learning_rate");
        assert_non_null(entry);
        assert_true(entry->value == (double)(float)rates[epoch]);
    }
    /* callbacks behind it see the rate in the logs */
    assert_memory_equal(f.file, "epoch,learning_rate,loss,val_learning_rate,val_loss\r\n0,0.5,1.0,NA,NA\r\n",
                        70);
    assert_non_null(strstr(f.file, "\r\n4,0.10000000149011612,1.0,NA,NA\r\n"));
    close_fixture(&f);
}

static void a_rate_that_is_lowered_is_seen_by_the_next(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "[{ReduceLROnPlateau: {monitor: loss, patience: 1, factor: 0.5}}, {ReduceLROnPlateau: "
                     "{monitor: loss, patience: 1, factor: 0.1, min_lr: 0.2}}]");
    fire(&f, DLT_EVENT_TRAIN_BEGIN);
    end_epoch(&f, 0, (const char *const[]){"loss", NULL}, (double[]){1});
    assert_string_equal(f.asked, "");
    end_epoch(&f, 1, (const char *const[]){"loss", NULL}, (double[]){1});
    assert_string_equal(f.asked, "0:rate 1:rate ");
    assert_true(f.io.rate == (double)0.2f); /* 0.5 -> 0.25 -> not below 0.2 */
    assert_true(dlt_logs_find(&f.logs, "learning_rate")->value == 0.25);
    close_fixture(&f);
}

static void nan_ends_training(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "[TerminateOnNaN]");
    assert_true(dlt_callback_set_wants_batches(f.set));
    f.io.batch = 7;
    dlt_logs_set(&f.logs, "loss", 0.5, DLT_SMALLER_IS_BETTER);
    assert_false(fire(&f, DLT_EVENT_BATCH_END));
    dlt_logs_set(&f.logs, "loss", NAN, DLT_SMALLER_IS_BETTER);
    assert_true(fire(&f, DLT_EVENT_BATCH_END));
    assert_int_equal(f.io.stop_status, DLT_E_NUMERIC);
    assert_string_equal(f.io.stop_reason, "batch 8: the loss is not a number");
    dlt_logs_set(&f.logs, "loss", -INFINITY, DLT_SMALLER_IS_BETTER);
    assert_true(fire(&f, DLT_EVENT_BATCH_END));
    assert_string_equal(f.io.stop_reason, "batch 8: the loss is infinite");
    close_fixture(&f);
}

static void stopping_says_why(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f,
                 "[{EarlyStopping: {monitor: loss, patience: 3, restore_best_weights: true, verbose: 1}}]");
    assert_false(dlt_callback_set_wants_batches(f.set));
    fire(&f, DLT_EVENT_TRAIN_BEGIN);
    static const double losses[] = {0.5, 0.0297, 0.03, 0.0298, 0.0299};
    for (int epoch = 0; epoch < 5; epoch++) {
        const bool stop = end_epoch(&f, epoch, (const char *const[]){"loss", NULL}, &losses[epoch]);
        assert_int_equal(stop, epoch == 4);
        assert_string_equal(f.asked, epoch < 2 ? "0:keep " : epoch == 4 ? "0:stop " : "");
    }
    assert_string_equal(f.io.stop_reason, "loss has not improved on 0.0297 (epoch 2) for 3 epochs");
    assert_int_equal(f.io.stop_status, DLT_OK);
    fire(&f, DLT_EVENT_TRAIN_END);
    assert_string_equal(f.asked, "0:restore ");
    assert_string_equal(dlt_diag_text(f.diag, 0), "epoch 5: early stopping");
    assert_string_equal(dlt_diag_text(f.diag, 1), "weights of epoch 2 restored");
    close_fixture(&f);
}

static void a_missing_value_is_warned_about_once(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "[{EarlyStopping: {patience: 0}}]");
    for (int epoch = 0; epoch < 4; epoch++) {
        assert_false(end_epoch(&f, epoch, (const char *const[]){"loss", NULL}, (double[]){1}));
    }
    assert_int_equal(dlt_diag_size(f.diag), 1);
    assert_string_equal(dlt_diag_text(f.diag, 0),
                        "test.yaml:2:20: EarlyStopping watches val_loss, which epoch 1 does not have");
    close_fixture(&f);
}

static void checkpoints_have_the_names_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *format, *name;
    } cases[] = {
        {"m.weights.h5", "m.weights.h5"},
        {"{epoch:03d}.weights.h5", "003.weights.h5"},
        {"{epoch:3d}.weights.h5", "  3.weights.h5"},
        {"{{{epoch}}}-{loss:.2e}.weights.h5", "{3}-1.23e-01.weights.h5"},
        {"{loss}-{loss:08.3f}-{val_loss:06.1f}-{loss:g}.weights.h5",
         "0.125-0000.125--002.5-0.125.weights.h5"},
    };
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        fixture f;
        char callbacks[256];
        snprintf(callbacks, sizeof callbacks, "[{ModelCheckpoint: {filepath: \"%s\"}}]", cases[i].format);
        open_fixture(&f, callbacks);
        fire(&f, DLT_EVENT_TRAIN_BEGIN);
        end_epoch(&f, 2, (const char *const[]){"loss", "val_loss", NULL},
                  (double[]){strstr(cases[i].format, "2e") != NULL ? 0.1234 : 0.125, -2.5});
        assert_string_equal(f.asked, "0:save ");
        const char *slash = strrchr(f.io.save_path, '/');
        assert_string_equal(slash != NULL ? slash + 1 : f.io.save_path, cases[i].name);
        close_fixture(&f);
    }
    fixture f;
    open_fixture(&f, "[{ModelCheckpoint: {save_best_only: true, monitor: loss}}]");
    fire(&f, DLT_EVENT_TRAIN_BEGIN);
    end_epoch(&f, 0, (const char *const[]){"loss", NULL}, (double[]){1});
    assert_true(f.io.save && f.io.best && f.io.save_path == NULL &&
                !f.io.save_weights_only); /* among the run's own */
    end_epoch(&f, 1, (const char *const[]){"loss", NULL}, (double[]){1});
    assert_string_equal(f.asked, "");
    close_fixture(&f);
}

static void state_is_all_that_is_remembered(void **state)
{
    (void)state;
    /* a run whose callbacks are made anew from their saved states after every epoch decides as one that goes
     * through */
    static const char *const callbacks =
        "[{EarlyStopping: {monitor: loss, patience: 6, min_delta: 0.01}}, {ReduceLROnPlateau: {monitor: "
        "loss, patience: 2, cooldown: 1}},"
        " {ModelCheckpoint: {monitor: loss, save_best_only: true}}, {CSVLogger: {filename: log.csv}}]";
    fixture through, anew;
    open_fixture(&through, callbacks);
    open_fixture(&anew, callbacks);
    fire(&through, DLT_EVENT_TRAIN_BEGIN);
    fire(&anew, DLT_EVENT_TRAIN_BEGIN);
    bool stop = false;
    int epoch = 0;
    for (; epoch < 40 && !stop; epoch++) {
        const double loss = 1 / (1 + 0.1 * (epoch % 7) + (epoch < 15 ? 0.05 * epoch : 0.5));
        dlt_callback_state saved[4];
        memcpy(saved, anew.set->states, sizeof saved);
        const double rate = anew.io.rate;
        const int64_t bytes = anew.file_bytes;
        char file[4096];
        memcpy(file, anew.file, sizeof file);
        close_fixture(&anew);
        open_fixture(&anew, callbacks);
        memcpy(anew.set->states, saved, sizeof saved);
        memcpy(anew.file, file, sizeof file);
        anew.file_bytes = bytes;
        anew.io.rate = rate;
        stop = end_epoch(&through, epoch, (const char *const[]){"loss", NULL}, &loss);
        assert_int_equal(end_epoch(&anew, epoch, (const char *const[]){"loss", NULL}, &loss), stop);
        assert_string_equal(anew.asked, through.asked);
        assert_true(anew.io.rate == through.io.rate);
    }
    assert_true(stop && epoch < 40);
    assert_string_equal(anew.file, through.file);
    close_fixture(&through);
    close_fixture(&anew);
}

static void the_best_follows_the_first_that_watches(void **state)
{
    (void)state;
    static const struct {
        const char *callbacks, *monitor;
        bool validation;
        int mode;
    } cases[] = {
        {"[]", "loss", false, 0},
        {"[]", "val_loss", true, 0},
        {"[{ModelCheckpoint: {monitor: a}}, {CSVLogger: {filename: log.csv}}, {EarlyStopping: {monitor: b, "
         "mode: max}}]",
         "b", true, 2},
        {"[{ModelCheckpoint: {monitor: a, save_best_only: true, mode: min}}, {EarlyStopping: {monitor: b}}]",
         "a", true, 1},
    };
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        dlt_arena *arena = dlt_arena_create();
        const dlt_spec *spec =
            &dlt_test_spec(arena, dlt_arena_printf(arena, "layers: [Flatten]\nfit: {callbacks: %s}\n",
                                                   cases[i].callbacks))
                 ->value;
        int mode = -1;
        assert_string_equal(dlt_best_monitor(&spec->fit.callbacks, cases[i].validation, &mode),
                            cases[i].monitor);
        assert_int_equal(mode, cases[i].mode);
        dlt_arena_destroy(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_is_what_python_writes),
        cmocka_unit_test(csv_can_be_continued),
        cmocka_unit_test(csv_writes_nothing_over_a_file_it_cannot_look_at),
        cmocka_unit_test(csv_quotes_where_it_must),
        cmocka_unit_test(a_table_of_rates_is_followed),
        cmocka_unit_test(a_rate_that_is_lowered_is_seen_by_the_next),
        cmocka_unit_test(nan_ends_training),
        cmocka_unit_test(stopping_says_why),
        cmocka_unit_test(a_missing_value_is_warned_about_once),
        cmocka_unit_test(checkpoints_have_the_names_asked_for),
        cmocka_unit_test(state_is_all_that_is_remembered),
        cmocka_unit_test(the_best_follows_the_first_that_watches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
