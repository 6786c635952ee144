/* tests/unit/test_data_loader.c: batches come in the order that the seed says, whoever fills them. */
#include "support/support.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rng.h"
#include "io/data/loader.h"
#include "support/data_support.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SOURCES &dlt_source_category

enum { MOST_SLOTS = 8 };

/* Records whose first feature is their number, with labels and weights; a ring of buffers. */
typedef struct ring {
    dlt_dataset *ds;
    int64_t batch_size;
    void **outputs[MOST_SLOTS];
    dlt_slot slots[MOST_SLOTS];
    size_t count;
    dlt_loader *loader;
} ring;

static dlt_dataset *numbered(data_fixture *f, int64_t count, uint64_t memory)
{
    int32_t *x = dlt_alloc((size_t)count * 2 * sizeof *x), *y = dlt_alloc((size_t)count * sizeof *y);
    float *w = dlt_alloc((size_t)count * sizeof *w);
    for (int64_t i = 0; i < count; i++) {
        x[2 * i] = (int32_t)i;
        x[2 * i + 1] = (int32_t)-i;
        y[i] = (int32_t)(i % 3);
        w[i] = (float)(i % 5) * 0.5f;
    }
    const char *shape = dlt_arena_printf(f->arena, "(%lld, 2)", (long long)count);
    const char *one = dlt_arena_printf(f->arena, "(%lld,)", (long long)count);
    const char *name = dlt_arena_printf(f->arena, "x%lld.npy", (long long)count);
    const dlt_item *item =
        data_item(f, SOURCES, "NPY", "features", data_npy(f, name, "<i4", false, shape, x, (size_t)count * 8),
                  "labels", data_npy(f, "y.npy", "<i4", false, one, y, (size_t)count * 4), "sample_weight",
                  data_npy(f, "w.npy", "<f4", false, one, w, (size_t)count * 4), NULL);
    dlt_free(x);
    dlt_free(y);
    dlt_free(w);
    dlt_dataset *ds =
        data_open_with(f, item, DLT_DEPTH_LOAD, (dlt_dataset_options){.memory = memory, .threads = 1});
    assert_non_null(ds);
    return ds;
}

static void ring_open(data_fixture *f, ring *r, dlt_dataset *ds, dlt_loader_options options, size_t slots)
{
    const dlt_record_layout *layout = &dlt_dataset_frame(ds)->layout;
    *r = (ring){.ds = ds, .batch_size = options.batch_size, .count = slots};
    for (size_t i = 0; i < slots; i++) {
        r->outputs[i] = dlt_arena_alloc(f->arena, 4, sizeof(void *));
        for (size_t k = 0; k < layout->count; k++) {
            r->outputs[i][k] =
                dlt_arena_alloc(f->arena, (size_t)options.batch_size, dlt_part_bytes(&layout->parts[k]));
        }
        r->slots[i] =
            (dlt_slot){r->outputs[i], dlt_arena_alloc(f->arena, (size_t)options.batch_size, sizeof(float))};
    }
    options.view = options.view.dataset != NULL ? options.view : dlt_view_whole(ds);
    options.slots = r->slots;
    options.slot_count = slots;
    assert_int_equal(dlt_loader_create(&options, &r->loader, f->diag), DLT_OK);
}

static void ring_close(ring *r)
{
    dlt_loader_destroy(r->loader);
}

/* Takes a batch, checks that its buffers hold the rows it names, and gives it back. */
static dlt_batch take(data_fixture *f, ring *r, int64_t *numbers)
{
    dlt_batch batch;
    assert_int_equal(dlt_loader_next(r->loader, &batch, f->diag), DLT_OK);
    for (int64_t i = 0; i < batch.filled; i++) {
        const int32_t *x = r->outputs[batch.slot][0];
        const int32_t *y = r->outputs[batch.slot][1];
        assert_int_equal(x[2 * i], batch.row_numbers[i]);
        assert_int_equal(x[2 * i + 1], -batch.row_numbers[i]);
        assert_int_equal(y[i], batch.row_numbers[i] % 3);
        if (numbers != NULL) {
            numbers[i] = batch.row_numbers[i];
        }
    }
    if (batch.rows > 0) {
        dlt_loader_release(r->loader, &batch);
    }
    return batch;
}

static void order_is_the_shuffle_for_any_number_of_workers(void **state)
{
    data_fixture *f = *state;
    static const uint64_t memories[] = {1 << 24, 10}; /* in memory, and in place */
    for (size_t m = 0; m < 2; m++) {
        dlt_dataset *ds = numbered(f, 1003, memories[m]);
        for (int workers = 0; workers <= 4; workers++) {
            for (size_t slots = workers > 0 ? 2 : 1; slots <= MOST_SLOTS; slots += 3) {
                ring r;
                ring_open(f, &r, ds,
                          (dlt_loader_options){.batch_size = 32,
                                               .shuffle = DLT_SHUFFLE_ON,
                                               .seed = 9,
                                               .repeat = true,
                                               .workers = workers},
                          slots);
                for (uint64_t pass = 0; pass < 3; pass++) {
                    dlt_shuffle order;
                    dlt_shuffle_init(&order, 1003, 9, pass);
                    for (int64_t b = 0; b < 32; b++) {
                        int64_t numbers[32];
                        const dlt_batch batch = take(f, &r, numbers);
                        assert_int_equal(batch.rows, b < 31 ? 32 : 11);
                        assert_int_equal(batch.filled, batch.rows);
                        assert_true(batch.cursor.pass == pass && batch.cursor.batch == b);
                        assert_true(batch.next.pass == (b < 31 ? pass : pass + 1) &&
                                    batch.next.batch == (b + 1) % 32);
                        assert_int_equal(batch.first_sample, pass * 1003 + (uint64_t)b * 32);
                        assert_int_equal(batch.last_in_pass, b == 31);
                        for (int64_t i = 0; i < batch.rows; i++) {
                            assert_int_equal(numbers[i], dlt_shuffle_at(&order, (uint64_t)(32 * b + i)));
                        }
                    }
                }
                ring_close(&r);
            }
        }
        dlt_dataset_close(ds);
    }
}

static void without_shuffle_the_order_is_the_files(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = numbered(f, 10, 1 << 20);
    ring r;
    ring_open(f, &r, ds, (dlt_loader_options){.batch_size = 4, .workers = 2}, 3);
    int64_t numbers[4];
    for (int64_t b = 0; b < 3; b++) {
        const dlt_batch batch = take(f, &r, numbers);
        for (int64_t i = 0; i < batch.rows; i++) {
            assert_int_equal(numbers[i], 4 * b + i);
        }
    }
    /* one pass: then the line has ended, however often one asks */
    for (int i = 0; i < 3; i++) {
        dlt_batch batch;
        assert_int_equal(dlt_loader_next(r.loader, &batch, f->diag), DLT_OK);
        assert_int_equal(batch.rows, 0);
        assert_true(batch.cursor.pass == 1 && batch.cursor.batch == 0);
    }
    ring_close(&r);
    dlt_dataset_close(ds);
}

static void shuffle_batch_keeps_batches_together(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = numbered(f, 100, 1 << 20);
    ring r;
    ring_open(f, &r, ds,
              (dlt_loader_options){
                  .batch_size = 16, .shuffle = DLT_SHUFFLE_BATCH, .seed = 3, .repeat = true, .workers = 2},
              4);
    bool moved = false, differs = false;
    int64_t before[7][16];
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t b = 0; b < 7; b++) {
            int64_t numbers[16];
            unsigned seen = 0;
            const dlt_batch batch = take(f, &r, numbers);
            for (int64_t i = 0; i < batch.rows; i++) {
                assert_in_range(numbers[i], 16 * b, 16 * b + batch.rows - 1);
                seen |= 1u << (numbers[i] - 16 * b);
                moved = moved || numbers[i] != 16 * b + i;
                differs = differs || (pass == 1 && numbers[i] != before[b][i]);
                before[b][i] = numbers[i];
            }
            assert_int_equal(seen, (1u << batch.rows) - 1);
        }
    }
    assert_true(moved && differs);
    ring_close(&r);
    dlt_dataset_close(ds);
}

static void a_seek_replays(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = numbered(f, 500, 1 << 20);
    for (int workers = 0; workers <= 3; workers++) {
        ring r, again;
        int64_t first[40][16], numbers[16];
        dlt_batch batches[40];
        const dlt_loader_options options = {
            .batch_size = 16, .shuffle = DLT_SHUFFLE_ON, .seed = 5, .repeat = true, .workers = workers};
        ring_open(f, &r, ds, options, 5);
        for (int i = 0; i < 40; i++) {
            batches[i] = take(f, &r, first[i]);
        }
        for (int i = 39; i >= 0; i -= 7) { /* back in the same loader */
            dlt_loader_seek(r.loader, batches[i].cursor);
            const dlt_batch batch = take(f, &r, numbers);
            assert_true(batch.cursor.pass == batches[i].cursor.pass &&
                        batch.cursor.batch == batches[i].cursor.batch);
            assert_memory_equal(numbers, first[i], (size_t)batch.rows * sizeof *numbers);
        }
        ring_close(&r);
        /* resumed by another one, from what a checkpoint after batch 20 keeps */
        dlt_loader_options resumed = options;
        resumed.start = batches[20].next;
        ring_open(f, &again, ds, resumed, 3);
        for (int i = 21; i < 40; i++) {
            const dlt_batch batch = take(f, &again, numbers);
            assert_int_equal(batch.first_sample, batches[i].first_sample);
            assert_memory_equal(numbers, first[i], (size_t)batch.rows * sizeof *numbers);
        }
        ring_close(&again);
    }
    dlt_dataset_close(ds);
}

static void limits_hold_from_each_seek(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = numbered(f, 100, 1 << 20);
    ring r;
    ring_open(f, &r, ds, (dlt_loader_options){.batch_size = 10, .repeat = true, .limit = 3, .workers = 2}, 4);
    for (int round = 0; round < 3; round++) {
        int64_t numbers[10];
        for (int i = 0; i < 3; i++) {
            assert_int_equal(take(f, &r, numbers).rows, 10);
            assert_int_equal(numbers[0], 10 * i);
        }
        assert_int_equal(take(f, &r, NULL).rows, 0);
        dlt_loader_seek(r.loader, (dlt_cursor){0, 0});
    }
    ring_close(&r);
    dlt_dataset_close(ds);
}

static void the_last_batch_is_short_or_padded_at_weight_0(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = numbered(f, 10, 1 << 20);
    for (int pad = 0; pad < 2; pad++) {
        ring r;
        ring_open(f, &r, ds, (dlt_loader_options){.batch_size = 4, .pad = pad != 0, .workers = 1}, 2);
        for (int b = 0; b < 2; b++) {
            take(f, &r, NULL);
        }
        dlt_batch batch;
        assert_int_equal(dlt_loader_next(r.loader, &batch, f->diag), DLT_OK);
        assert_int_equal(batch.rows, 2);
        assert_int_equal(batch.filled, pad ? 4 : 2);
        const float *weights = r.slots[batch.slot].weights;
        assert_true(weights[0] == 1.5f && weights[1] == 2.0f);
        if (pad) {
            const int32_t *x = r.outputs[batch.slot][0];
            assert_true(x[4] == 9 && x[6] == 9); /* the last row again */
            assert_true(weights[2] == 0 && weights[3] == 0);
        }
        dlt_loader_release(r.loader, &batch);
        ring_close(&r);
    }
    dlt_dataset_close(ds);
}

static void weights_are_columns_times_classes(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = numbered(f, 30, 1 << 20);
    static const float classes[] = {10, 100}; /* class 2 is not named: 1 */
    for (int direct = 0; direct < 2; direct++) {
        ring r;
        ring_open(
            f, &r, ds,
            (dlt_loader_options){.batch_size = 30, .class_weight = classes, .class_count = 2, .workers = 0},
            1);
        if (!direct) { /* columns that nobody wants are read for the weights alone */
            dlt_loader_destroy(r.loader);
            r.outputs[0][1] = r.outputs[0][2] = NULL;
            assert_int_equal(dlt_loader_create(&(dlt_loader_options){.view = dlt_view_whole(ds),
                                                                     .batch_size = 30,
                                                                     .class_weight = classes,
                                                                     .class_count = 2,
                                                                     .slots = r.slots,
                                                                     .slot_count = 1},
                                               &r.loader, f->diag),
                             DLT_OK);
        }
        dlt_batch batch;
        assert_int_equal(dlt_loader_next(r.loader, &batch, f->diag), DLT_OK);
        for (int i = 0; i < 30; i++) {
            const float label = i % 3 == 2 ? 1 : classes[i % 3];
            assert_true(r.slots[0].weights[i] == (float)(i % 5) * 0.5f * label);
        }
        dlt_loader_release(r.loader, &batch);
        ring_close(&r);
    }
    dlt_dataset_close(ds);
}

/* Takes its time, now here, now there, and fails at one record. */
typedef struct slow {
    int64_t bad;
} slow;

static dlt_status slow_encode(const void *context, const dlt_table *rows, void *const *outputs,
                              dlt_diag *diag)
{
    const slow *s = context;
    const int32_t *x = rows->columns[0];
    int32_t *out = outputs[0];
    const struct timespec nap = {0, (long)(dlt_random_bits(1, 1, (uint64_t)x[0], 0) % 300000)};
    nanosleep(&nap, NULL);
    for (int64_t i = 0; i < rows->rows; i++) {
        out[i] = x[2 * i];
        if (rows->row_numbers[i] == s->bad) {
            return dlt_fail(diag, DLT_E_DATA, (dlt_pos){0}, "record %lld is bad", (long long)s->bad);
        }
    }
    return DLT_OK;
}

static void an_error_comes_in_its_turn_with_its_record(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = numbered(f, 400, 1 << 20);
    const slow context = {.bad = 205};
    for (int workers = 0; workers <= 4; workers++) {
        ring r;
        ring_open(f, &r, ds,
                  (dlt_loader_options){
                      .batch_size = 10, .workers = workers, .encode = slow_encode, .context = &context},
                  6);
        for (int b = 0; b < 20; b++) {
            dlt_batch batch;
            assert_int_equal(dlt_loader_next(r.loader, &batch, f->diag), DLT_OK);
            assert_int_equal(((int32_t *)r.outputs[batch.slot][0])[3], 10 * b + 3);
            dlt_loader_release(r.loader, &batch);
        }
        for (int again = 0; again < 2; again++) {
            dlt_batch batch;
            assert_int_equal(dlt_loader_next(r.loader, &batch, f->diag), DLT_E_DATA);
            assert_string_equal(data_message(f, 0), "record 205 is bad");
            data_forget(f);
        }
        dlt_loader_seek(r.loader, (dlt_cursor){0, 30}); /* beyond it all is well */
        for (int b = 30; b < 40; b++) {
            dlt_batch batch;
            assert_int_equal(dlt_loader_next(r.loader, &batch, f->diag), DLT_OK);
            assert_int_equal(batch.cursor.batch, b);
            dlt_loader_release(r.loader, &batch);
        }
        ring_close(&r);
    }
    dlt_dataset_close(ds);
}

static void it_stops_within_a_batch(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = numbered(f, 4000, 1 << 20);
    const slow context = {.bad = -1};
    for (int i = 0; i < 20; i++) {
        ring r;
        ring_open(f, &r, ds,
                  (dlt_loader_options){.batch_size = 10,
                                       .repeat = true,
                                       .workers = 1 + i % 4,
                                       .encode = slow_encode,
                                       .context = &context},
                  8);
        dlt_batch batch;
        for (int k = 0; k < i; k++) {
            assert_int_equal(dlt_loader_next(r.loader, &batch, f->diag), DLT_OK);
            if (k % 2 == 0) {
                dlt_loader_release(r.loader, &batch); /* some are still held when it is stopped */
            }
            if (k == 6) {
                break;
            }
        }
        const int64_t start = dlt_clock_ns();
        ring_close(&r);
        assert_true(dlt_seconds_since(start) < 20); /* not the endless line to its end */
    }
    dlt_dataset_close(ds);
}

static void nothing_is_allocated_after_the_start(void **state)
{
    data_fixture *f = *state;
    static const uint64_t memories[] = {1 << 24, 10};
    for (size_t m = 0; m < 2; m++) {
        dlt_dataset *ds = numbered(f, 2000, memories[m]);
        ring r;
        ring_open(
            f, &r, ds,
            (dlt_loader_options){.batch_size = 64, .shuffle = DLT_SHUFFLE_ON, .repeat = true, .workers = 3},
            6);
        const uint64_t calls = dlt_alloc_calls();
        for (int i = 0; i < 500; i++) {
            take(f, &r, NULL);
        }
        assert_int_equal(dlt_alloc_calls(), calls);
        const dlt_loader_stats stats = dlt_loader_statistics(r.loader);
        assert_int_equal(stats.batches, 500);
        assert_true(stats.wait_ns >= 0 && stats.waits <= 500);
        assert_int_equal(stats.reads > 0, m == 1);
        ring_close(&r);
        dlt_dataset_close(ds);
    }
}

static void a_ring_in_use_is_no_deadlock(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = numbered(f, 100, 1 << 20);
    for (int workers = 0; workers < 2; workers++) {
        ring r;
        dlt_batch a, b, c;
        ring_open(f, &r, ds, (dlt_loader_options){.batch_size = 10, .workers = workers}, 2);
        assert_int_equal(dlt_loader_next(r.loader, &a, f->diag), DLT_OK);
        assert_int_equal(dlt_loader_next(r.loader, &b, f->diag), DLT_OK);
        assert_int_equal(dlt_loader_next(r.loader, &c, f->diag), DLT_E_INTERNAL);
        assert_string_equal(data_message(f, 0), "all 2 batches of the ring are in use");
        data_forget(f);
        dlt_loader_release(r.loader, &a);
        assert_int_equal(dlt_loader_next(r.loader, &c, f->diag), DLT_OK);
        assert_int_equal(c.cursor.batch, 2);
        ring_close(&r);
    }
    dlt_dataset_close(ds);
}

static void a_change_of_the_file_ends_the_pass_with_an_error(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = numbered(f, 64, 10);
    ring r;
    ring_open(f, &r, ds, (dlt_loader_options){.batch_size = 16, .repeat = true, .workers = 0}, 2);
    for (int i = 0; i < 3; i++) {
        take(f, &r, NULL);
    }
    const struct timespec later[2] = {{.tv_sec = 2000000000}, {.tv_sec = 2000000000}};
    assert_int_equal(utimensat(AT_FDCWD, data_path(f, "x64.npy"), later, 0), 0);
    dlt_batch batch;
    assert_int_equal(dlt_loader_next(r.loader, &batch, f->diag), DLT_E_DATA);
    assert_string_equal(data_message(f, 0), "'x64.npy' changed while the run was using it; a run needs the "
                                            "same data from its first step to its last");
    data_forget(f);
    ring_close(&r);
    dlt_dataset_close(ds);
}

static void views_are_loaded_through(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = numbered(f, 300, 1 << 20);
    dlt_split *split = NULL;
    assert_int_equal(dlt_split_create(ds, &(dlt_split_params){.fraction = 0.3, .shuffle = true}, 8,
                                      (dlt_pos){0}, NULL, &split, f->diag),
                     DLT_OK);
    ring r;
    ring_open(f, &r, ds,
              (dlt_loader_options){
                  .view = split->train, .batch_size = 7, .shuffle = DLT_SHUFFLE_ON, .seed = 1, .workers = 2},
              3);
    dlt_shuffle order;
    dlt_shuffle_init(&order, 210, 1, 0);
    for (int64_t b = 0; b < 30; b++) {
        int64_t numbers[7];
        assert_int_equal(take(f, &r, numbers).rows, 7);
        for (int64_t i = 0; i < 7; i++) {
            assert_int_equal(numbers[i], dlt_view_row(&split->train, (int64_t)dlt_shuffle_at(
                                                                         &order, (uint64_t)(7 * b + i))));
        }
    }
    ring_close(&r);
    dlt_split_destroy(split);
    dlt_dataset_close(ds);
}

/* The cases of Keras 3.15's epoch iterator (keras-training.md 1.1: 11 rows, batch 4, steps 2). */
static void epochs_continue_across_the_pass_as_in_keras(void **state)
{
    (void)state;
    static const struct {
        int64_t rows, batch, steps;
        int64_t expected[8];
        bool is_short[8];
    } cases[] = {
        {11, 4, 2, {2, 1, 2, 1}, {false, true, false, true}},
        {11, 4, 0, {3, 3, 3}, {false, false, false}},
        {8, 4, 2, {2, 2, 2}, {false, false, false}},
        {11, 4, 5, {3, 3}, {true, true}},
        {11, 4, 1, {1, 1, 1, 1}, {false, false, false, false}},
    };
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        const int64_t batches = dlt_batches_in_pass(cases[i].rows, cases[i].batch);
        dlt_cursor cursor = {0, 0};
        for (int epoch = 0; epoch < 8 && cases[i].expected[epoch] > 0; epoch++) {
            bool is_short = false;
            const int64_t steps = dlt_epoch_steps(cursor, batches, cases[i].steps, &is_short);
            assert_int_equal(steps, cases[i].expected[epoch]);
            assert_int_equal(is_short, cases[i].is_short[epoch]);
            cursor.batch += steps;
            if (cursor.batch == batches) {
                cursor = (dlt_cursor){cursor.pass + 1, 0};
            }
        }
    }
}

/* Threads that are lent copy as the one that reads would, and parts that an encoder leaves as they are go
 * to its outputs straight away. */
static void lent_threads_and_direct_parts_change_nothing(void **state)
{
    enum { ROWS = 5000 }; /* of 16 bytes: more than one task */
    data_fixture *f = *state;
    dlt_dataset *ds = numbered(f, 12000, 1 << 24);
    const dlt_record_layout *layout = &dlt_dataset_frame(ds)->layout;
    const size_t x[] = {0}, y[] = {1};
    const dlt_plain_output outputs[] = {{1, x, DLT_I32}, {1, y, DLT_I32}, {1, x, DLT_I32}, {1, x, DLT_F32}};
    const dlt_plain_encoder encoder = {.count = DLT_COUNT(outputs), .outputs = outputs};
    int direct[3] = {0};
    dlt_encode_plain_direct(&encoder, layout, direct);
    assert_int_equal(direct[0], 0);
    assert_int_equal(direct[1], 1);
    assert_int_equal(direct[2], -1); /* weights are no output */
    for (int variant = 0; variant < 6; variant++) {
        dlt_pool *pool = dlt_pool_create(1 + variant % 3, false);
        assert_non_null(pool);
        const dlt_lent_threads threads = dlt_pool_lend(pool);
        assert_int_equal(threads.lender != NULL, variant % 3 > 0);
        void *buffers[4];
        for (size_t i = 0; i < DLT_COUNT(buffers); i++) {
            buffers[i] = dlt_arena_alloc(f->arena, ROWS, 8);
        }
        const dlt_slot slot = {buffers, dlt_arena_alloc(f->arena, ROWS, sizeof(float))};
        dlt_loader_options options = {.view = dlt_view_whole(ds),
                                      .batch_size = ROWS,
                                      .shuffle = DLT_SHUFFLE_ON,
                                      .seed = 4,
                                      .slots = &slot,
                                      .slot_count = 1,
                                      .threads = threads,
                                      .encode = dlt_encode_plain,
                                      .context = &encoder};
        options.direct = variant < 3 ? direct : NULL;
        dlt_loader *loader;
        dlt_batch batch;
        assert_int_equal(dlt_loader_create(&options, &loader, f->diag), DLT_OK);
        int64_t seen = 0;
        while (dlt_loader_next(loader, &batch, f->diag) == DLT_OK && batch.rows > 0) {
            for (int64_t i = 0; i < batch.rows; i++) {
                const int64_t row = batch.row_numbers[i];
                assert_int_equal(((int32_t *)buffers[0])[2 * i], row);
                assert_int_equal(((int32_t *)buffers[0])[2 * i + 1], -row);
                assert_int_equal(((int32_t *)buffers[1])[i], row % 3);
                assert_int_equal(((int32_t *)buffers[2])[2 * i + 1], -row);
                assert_true((int64_t)((float *)buffers[3])[2 * i] == row);
                assert_true(slot.weights[i] * 2 == (float)(row % 5));
            }
            seen += batch.rows;
            dlt_loader_release(loader, &batch);
        }
        assert_int_equal(seen, 12000);
        dlt_loader_destroy(loader);
        dlt_pool_destroy(pool);
    }
    dlt_dataset_close(ds);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, data_setup, data_teardown)
    const struct CMUnitTest tests[] = {
        TEST(lent_threads_and_direct_parts_change_nothing),
        TEST(order_is_the_shuffle_for_any_number_of_workers),
        TEST(without_shuffle_the_order_is_the_files),
        TEST(shuffle_batch_keeps_batches_together),
        TEST(a_seek_replays),
        TEST(limits_hold_from_each_seek),
        TEST(the_last_batch_is_short_or_padded_at_weight_0),
        TEST(weights_are_columns_times_classes),
        TEST(an_error_comes_in_its_turn_with_its_record),
        TEST(it_stops_within_a_batch),
        TEST(nothing_is_allocated_after_the_start),
        TEST(a_ring_in_use_is_no_deadlock),
        TEST(a_change_of_the_file_ends_the_pass_with_an_error),
        TEST(views_are_loaded_through),
        TEST(epochs_continue_across_the_pass_as_in_keras),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
