/* tests/unit/test_data_memory.c: a table of 300 MB is read, packed and shuffled in less than 100 MB of
 * memory. The file itself is made up as it is read. A program of its own, because the peak of a process is
 * never forgotten. */
#include "support/support.h"

#include "base/alloc.h"
#include "io/data/loader.h"
#include "support/data_support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { ROW_BYTES = 100, BLOCK_ROWS = 1000, FILE_FD = 7777 };
static const int64_t rows =
    SANITIZED ? 30000 : 3000000; /* sanitizers count memory of their own: there only the rest is tested */
static char block[BLOCK_ROWS * ROW_BYTES + 1];

/* Rows of 100 bytes: four numbers and a label, the same thousand again and again. */
static void make_block(void)
{
    for (int i = 0; i < BLOCK_ROWS; i++) {
        const int length =
            snprintf(block + i * ROW_BYTES, ROW_BYTES + 1, "%024.15f,%024.15f,%024.15f,%019d,%d\n", i / 7.0,
                     i * 1e3 / 3, -i / 11.0, i, i % 10);
        assert_int_equal(length, ROW_BYTES - 3);
        memcpy(block + i * ROW_BYTES + ROW_BYTES - 4, "   \n", 5); /* blanks are trimmed */
    }
}

static bool is_ours(const char *path)
{
    return strcmp(path, "/made-up/large.csv") == 0;
}

static int made_open(const char *path, int flags, mode_t mode)
{
    return is_ours(path) ? FILE_FD : dlt_file_system()->open(path, flags, mode);
}

static int made_close(int fd)
{
    return fd == FILE_FD ? 0 : dlt_file_system()->close(fd);
}

static void fill_stat(struct stat *status)
{
    memset(status, 0, sizeof *status);
    status->st_mode = S_IFREG | 0444;
    status->st_size = (off_t)(rows * ROW_BYTES);
}

static int made_fstat(int fd, struct stat *status)
{
    if (fd == FILE_FD) {
        fill_stat(status);
        return 0;
    }
    return dlt_file_system()->fstat(fd, status);
}

static int made_stat(const char *path, struct stat *status)
{
    if (is_ours(path)) {
        fill_stat(status);
        return 0;
    }
    return dlt_file_system()->stat(path, status);
}

static ssize_t made_pread(int fd, void *data, size_t bytes, off_t offset)
{
    if (fd != FILE_FD) {
        return dlt_file_system()->pread(fd, data, bytes, offset);
    }
    const int64_t left = rows * ROW_BYTES - (int64_t)offset;
    const size_t all = left < (int64_t)bytes ? (size_t)left : bytes;
    for (size_t done = 0; done < all;) {
        const size_t at = (size_t)((int64_t)offset + (int64_t)done) % (BLOCK_ROWS * ROW_BYTES);
        const size_t n = BLOCK_ROWS * ROW_BYTES - at < all - done ? BLOCK_ROWS * ROW_BYTES - at : all - done;
        memcpy((char *)data + done, block + at, n);
        done += n;
    }
    return (ssize_t)all;
}

static long peak_mb(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
}

static void a_large_table_needs_little_memory(void **state)
{
    data_fixture *f = *state;
    dlt_file_ops ops = *dlt_file_system();
    ops.open = made_open;
    ops.close = made_close;
    ops.fstat = made_fstat;
    ops.stat = made_stat;
    ops.pread = made_pread;
    make_block();
    dlt_file_install(&ops);
    const dlt_item *item =
        data_item(f, &dlt_source_category, "CSV", "path", "/made-up/large.csv", "target", "-1", NULL);
    const dlt_dataset_options options = {.memory = 16 << 20, .threads = 2};
    dlt_dataset *ds = data_open_with(f, item, DLT_DEPTH_SCAN, options);
    assert_non_null(ds);
    assert_int_equal(dlt_dataset_count(ds), rows);
    dlt_dataset_close(ds);
    const long after_scan = peak_mb();
    ds = data_open_with(f, item, DLT_DEPTH_LOAD, options);
    assert_non_null(ds);
    assert_int_equal(dlt_dataset_memory(ds), SANITIZED ? dlt_dataset_memory(ds) : 0);
    const long after_load = peak_mb();
    /* a part of a pass in shuffled order, every value checked */
    double values[5][128];
    void *outputs[5];
    for (int i = 0; i < 5; i++) {
        outputs[i] = values[i];
    }
    const dlt_slot slot = {outputs, NULL};
    dlt_loader *loader = NULL;
    assert_int_equal(dlt_loader_create(&(dlt_loader_options){.view = dlt_view_whole(ds),
                                                             .batch_size = 128,
                                                             .shuffle = DLT_SHUFFLE_ON,
                                                             .slots = &slot,
                                                             .slot_count = 1,
                                                             .workers = 0},
                                       &loader, f->diag),
                     DLT_OK);
    for (int b = 0; b < 100; b++) {
        dlt_batch batch;
        assert_int_equal(dlt_loader_next(loader, &batch, f->diag), DLT_OK);
        for (int i = 0; i < 128; i++) {
            assert_true(values[3][i] == (double)(batch.row_numbers[i] % BLOCK_ROWS));
            assert_true(values[4][i] == (double)(batch.row_numbers[i] % 10));
        }
        dlt_loader_release(loader, &batch);
    }
    dlt_loader_destroy(loader);
    dlt_dataset_close(ds);
    dlt_file_install(NULL);
    print_message("peak: %ld MB after the scan, %ld MB after packing, %ld MB at the end\n", after_scan,
                  after_load, peak_mb());
    if (!SANITIZED) {
        assert_true(peak_mb() < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_large_table_needs_little_memory, data_setup, data_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
