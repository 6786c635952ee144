/* bench/bench_data.c: how fast tables are parsed and batches come, on one core and on several.
 *
 *   bench_data parse [THREADS]   MB/s of made-up tables: short numbers, numbers of 19 digits, mixed with text
 *   bench_data load FILE...      the time to load CSV files with the target in their last column
 *   bench_data mnist FOLDER      the time to load MNIST from gzip IDX files
 *   bench_data loader            microseconds a batch, from memory and from a cache file
 *
 * Times are of the processor (all threads together) and of the wall; what the machine does besides shows in
 * the second. */
#include "support/support.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rng.h"
#include "io/data/loader.h"
#include "support/data_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static long peak_mb(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
}

static dlt_dataset *timed_open(data_fixture *f, const char *what, const dlt_item *item, dlt_depth depth,
                               dlt_dataset_options options)
{
    dlt_dataset *ds = NULL;
    options.cache = data_path(f, "cache");
    const int64_t start = dlt_clock_ns();
    const double before = processor_seconds();
    if (dlt_dataset_open(item, depth, &options, &ds, f->diag) != DLT_OK) {
        printf("%s\n", dlt_diag_text(f->diag, 0));
        exit(1);
    }
    const double wall = dlt_seconds_since(start), work = processor_seconds() - before;
    const double mb = (double)dlt_dataset_file_bytes(ds) * 1e-6;
    printf(
        "%-28s %6.1f MB  %8lld records  %6.3f s wall  %6.3f s processor  %6.0f MB/s wall  %6.0f MB/s a core"
        "  peak %ld MB\n",
        what, mb, (long long)dlt_dataset_count(ds), wall, work, mb / wall, mb / work, peak_mb());
    return ds;
}

/* ---- parsing ---- */

static void write_table(dlt_buf *text, int kind, int rows)
{
    for (int i = 0; i < rows; i++) {
        for (uint64_t c = 0; c < 16; c++) {
            const uint32_t r = dlt_random_bits(1, (uint32_t)kind, (uint64_t)i, c);
            if (kind == 0 && c % 2 == 0) {
                dlt_buf_printf(text, "%u,", r % 256);
            } else if (kind == 0) {
                dlt_buf_printf(text, "%.4f,", (double)(int32_t)r / 1e7);
            } else if (kind == 1) {
                dlt_buf_printf(text, "%.18e,", (double)(int32_t)r / 1e7);
            } else if (c % 2 == 0) {
                dlt_buf_printf(text, "%u,", r % 100000);
            } else {
                dlt_buf_printf(text, " word-%u,", r % (uint32_t)(c * 10));
            }
        }
        dlt_buf_printf(text, "%d\n", i % 10);
    }
}

static void parse(data_fixture *f, int threads)
{
    static const char *const names[] = {"short numbers", "numbers of 19 digits", "numbers and texts"};
    for (int kind = 0; kind < 3; kind++) {
        dlt_buf text = {0}, whole = {0};
        write_table(&text, kind, 4000);
        while (whole.length < (96u << 20)) {
            dlt_buf_append(&whole, text.data, text.length);
        }
        const char *path = data_file(f, "table.csv", whole.data, whole.length);
        dlt_buf_release(&text);
        dlt_buf_release(&whole);
        const dlt_item *item =
            data_item(f, &dlt_source_category, "CSV", "path", path, "target", "-1", "header", "false", NULL);
        for (int round = 0; round < 3; round++) {
            dlt_dataset_close(
                timed_open(f, names[kind], item, DLT_DEPTH_LOAD,
                           (dlt_dataset_options){.memory = (uint64_t)4 << 30, .threads = threads}));
        }
    }
}

/* ---- batches ---- */

enum { SLOTS = 8, BATCHES = 2000 };

static void batches(data_fixture *f, const char *what, const dlt_dataset *ds, int64_t batch_size, int workers,
                    bool encode)
{
    const dlt_record_layout *layout = &dlt_dataset_frame(ds)->layout;
    size_t features[64], target[1] = {layout->count - 1}, count = 0;
    for (size_t i = 0; i < layout->count - 1; i++) {
        features[count++] = i;
    }
    const dlt_plain_output outputs[2] = {{count, features, DLT_F32}, {1, target, DLT_I32}};
    const dlt_plain_encoder encoder = {2, outputs, {0}};
    dlt_slot slots[SLOTS];
    for (size_t i = 0; i < SLOTS; i++) {
        void **buffers = dlt_arena_alloc(f->arena, layout->count + 2, sizeof *buffers);
        for (size_t k = 0; !encode && k < layout->count; k++) {
            buffers[k] = dlt_arena_alloc(f->arena, (size_t)batch_size, dlt_part_bytes(&layout->parts[k]));
        }
        for (size_t k = 0; encode && k < 2; k++) {
            buffers[k] = dlt_arena_alloc(
                f->arena, (size_t)(batch_size * dlt_plain_output_elements(&outputs[k], layout)), 4);
        }
        slots[i] = (dlt_slot){buffers, NULL};
    }
    dlt_loader *loader = NULL;
    const dlt_loader_options options = {.view = dlt_view_whole(ds),
                                        .batch_size = batch_size,
                                        .shuffle = DLT_SHUFFLE_ON,
                                        .repeat = true,
                                        .workers = workers,
                                        .encode = encode ? dlt_encode_plain : NULL,
                                        .context = &encoder,
                                        .slots = slots,
                                        .slot_count = SLOTS};
    assert_int_equal(dlt_loader_create(&options, &loader, f->diag), DLT_OK);
    dlt_batch batch;
    int64_t start = 0;
    double before = 0;
    for (int i = -20; i < BATCHES; i++) {
        if (i == 0) {
            start = dlt_clock_ns();
            before = processor_seconds();
        }
        assert_int_equal(dlt_loader_next(loader, &batch, f->diag), DLT_OK);
        dlt_loader_release(loader, &batch);
    }
    const double wall = dlt_seconds_since(start), work = processor_seconds() - before;
    const dlt_loader_stats stats = dlt_loader_statistics(loader);
    printf("%-40s batch %4lld  %d workers  %7.1f us wall  %7.1f us processor  %6.1f reads a batch\n", what,
           (long long)batch_size, workers, wall * 1e6 / BATCHES, work * 1e6 / BATCHES,
           (double)stats.reads / (double)stats.batches);
    dlt_loader_destroy(loader);
}

static void loader(data_fixture *f)
{
    const dlt_item *images =
        data_item(f, &dlt_source_category, "Synthetic", "task", "images", "samples", "60000", NULL);
    dlt_dataset *ds = timed_open(f, "60,000 made-up images", images, DLT_DEPTH_LOAD,
                                 (dlt_dataset_options){.memory = 1 << 30, .threads = 1});
    for (int workers = 0; workers <= 2; workers++) {
        batches(f, "28x28 bytes from memory", ds, 128, workers, false);
    }
    batches(f, "28x28 bytes from memory, as float32", ds, 128, 0, true);
    dlt_dataset_close(ds);
    dlt_buf text = {0};
    for (int i = 0; i < 200000; i++) {
        for (uint64_t c = 0; c < 20; c++) {
            dlt_buf_printf(&text, "%u,", dlt_random_bits(1, 1, (uint64_t)i, c) % 1000);
        }
        dlt_buf_printf(&text, "%d\n", i % 10);
    }
    const dlt_item *table = data_item(f, &dlt_source_category, "CSV", "path",
                                      data_text(f, "table.csv", text.data), "target", "-1", NULL);
    dlt_buf_release(&text);
    ds = timed_open(f, "200,000 records of 21 numbers", table, DLT_DEPTH_LOAD,
                    (dlt_dataset_options){.memory = 1 << 30, .threads = 1});
    batches(f, "20 columns from memory, as float32", ds, 32, 0, true);
    batches(f, "20 columns from memory, as float32", ds, 128, 0, true);
    dlt_dataset_close(ds);
    ds = timed_open(f, "the same into a cache file", table, DLT_DEPTH_LOAD,
                    (dlt_dataset_options){.memory = 1 << 20, .threads = 1});
    for (int workers = 0; workers <= 2; workers += 2) {
        batches(f, "20 columns from a cache file, as float32", ds, 128, workers, true);
    }
    dlt_dataset_close(ds);
}

int main(int argc, char **argv)
{
    void *state = NULL;
    if (argc < 2 || data_setup(&state) != 0) {
        fprintf(stderr, "bench_data parse [THREADS] | load FILE... | mnist FOLDER | loader\n");
        return 2;
    }
    data_fixture *f = state;
    if (strcmp(argv[1], "parse") == 0) {
        parse(f, argc > 2 ? (int)strtol(argv[2], NULL, 10) : 1);
    } else if (strcmp(argv[1], "loader") == 0) {
        loader(f);
    } else if (strcmp(argv[1], "mnist") == 0 && argc == 3) {
        const dlt_item *item =
            data_item(f, &dlt_source_category, "IDX", "features",
                      dlt_arena_printf(f->arena, "%s/train-images-idx3-ubyte.gz", argv[2]), "labels",
                      dlt_arena_printf(f->arena, "%s/train-labels-idx1-ubyte.gz", argv[2]), NULL);
        for (int i = 0; i < 5; i++) {
            dlt_dataset_close(timed_open(f, "MNIST train", item, DLT_DEPTH_LOAD,
                                         (dlt_dataset_options){.memory = 1 << 30, .threads = 1}));
        }
    } else {
        for (int i = 2; i < argc; i++) {
            const dlt_item *item =
                data_item(f, &dlt_source_category, "CSV", "path", argv[i], "target", "-1", NULL);
            for (int round = 0; round < 3; round++) {
                dlt_dataset_close(
                    timed_open(f, dlt_path_base(argv[i]), item, DLT_DEPTH_LOAD,
                               (dlt_dataset_options){.memory = (uint64_t)4 << 30, .threads = 1}));
            }
        }
    }
    data_teardown(&state);
    return 0;
}
