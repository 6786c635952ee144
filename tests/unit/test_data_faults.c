/* tests/unit/test_data_faults.c: memory is refused at every place and system calls fail at every place:
 * nothing crashes, nothing leaks (under ASan), nothing wrong is handed out, no half cache file stays. */
#include "support/support.h"

#include "base/alloc.h"
#include "io/data/datasets.h"
#include "io/data/loader.h"
#include "io/data/rows.h"
#include "support/data_support.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SOURCES &dlt_source_category

/* ---- what is done again and again ---- */

typedef struct task {
    dlt_data_spec spec;
    const char *rows;            /* raw rows to predict from; NULL: none */
    char digest[DLT_SHA256_HEX]; /* of all records, when all goes well */
} task;

/* Opens train (split) and test, reads an epoch through a loader, checks the records; then the raw rows. */
static dlt_status run(data_fixture *f, task *t, dlt_diag *diag)
{
    dlt_datasets *data = NULL;
    dlt_loader *loader = NULL;
    dlt_rows *rows = NULL;
    char buffers[2][6][64 * 16];
    void *outputs[2][6];
    dlt_slot slots[2];
    dlt_sha256 sha;
    (void)f;
    dlt_status status = dlt_datasets_open(
        &t->spec, &(dlt_datasets_options){.depth = DLT_DEPTH_LOAD, .seed = 1, .threads = 2}, &data, diag);
    if (status == DLT_OK) {
        for (size_t i = 0; i < 2; i++) {
            for (size_t k = 0; k < 6; k++) {
                outputs[i][k] = buffers[i][k];
            }
            slots[i] = (dlt_slot){outputs[i], NULL};
        }
        status = dlt_loader_create(&(dlt_loader_options){.view = *dlt_datasets_view(data, DLT_TRAIN),
                                                         .batch_size = 64,
                                                         .slots = slots,
                                                         .slot_count = 2,
                                                         .workers = 1},
                                   &loader, diag);
    }
    dlt_sha256_init(&sha);
    for (dlt_batch batch = {.rows = 1}; status == DLT_OK && batch.rows > 0;) {
        status = dlt_loader_next(loader, &batch, diag);
        const dlt_record_layout *layout = &dlt_datasets_frame(data)->layout;
        for (size_t i = 0; status == DLT_OK && batch.rows > 0 && i < layout->count; i++) {
            dlt_sha256_update(&sha, outputs[batch.slot][i],
                              (size_t)batch.rows * dlt_part_bytes(&layout->parts[i]));
        }
        if (status == DLT_OK && batch.rows > 0) {
            dlt_loader_release(loader, &batch);
        }
    }
    if (status == DLT_OK) {
        char digest[DLT_SHA256_HEX];
        uint8_t bytes[DLT_SHA256_BYTES];
        dlt_sha256_final(&sha, bytes);
        dlt_sha256_hex(bytes, digest);
        if (t->digest[0] == '\0') {
            memcpy(t->digest, digest, sizeof digest);
        }
        assert_string_equal(digest, t->digest); /* success is the same success */
        if (t->rows != NULL) {
            status = dlt_rows_open(t->rows, dlt_datasets_frame(data), t->spec.train, 100, NULL, &rows, diag);
        }
    }
    for (dlt_table table = {.rows = 1}; status == DLT_OK && rows != NULL && table.rows > 0;) {
        status = dlt_rows_next(rows, &table, diag);
    }
    dlt_rows_close(rows);
    dlt_loader_destroy(loader);
    dlt_datasets_close(data);
    return status;
}

static task csv_task(data_fixture *f, int64_t memory)
{
    dlt_buf text = {0};
    dlt_buf_string(&text, "a,b,c,y\n");
    for (int i = 0; i < 300; i++) {
        dlt_buf_printf(&text, "%d,%d.5,\"t \"\"%d\"\"\",%s\n", i, i * 7, i % 20, i % 3 == 0 ? "yes" : "no");
    }
    const char *train = data_text(f, "a.csv", text.data);
    const char *test = data_gzip(f, "t.csv.gz", text.data, text.length);
    dlt_buf_release(&text);
    return (task){.spec = {.train = data_item(f, SOURCES, "CSV", "path", train, "target", "y", NULL),
                           .validation = data_item(f, &dlt_validation_category, "split", "fraction", "0.2",
                                                   "shuffle", "true", "stratify", "true", NULL),
                           .test = data_item(f, SOURCES, "CSV", "path", test, "target", "y", NULL),
                           .memory = {true, memory},
                           .cache = data_path(f, "cache")},
                  .rows = train};
}

static task npy_task(data_fixture *f, int64_t memory)
{
    float x[300 * 3];
    int16_t y[300];
    for (int i = 0; i < 900; i++) {
        x[i] = (float)i;
    }
    for (int i = 0; i < 300; i++) {
        y[i] = (int16_t)(i % 4);
    }
    const char *features = data_npy(f, "x.npy", "<f4", false, "(300, 3)", x, sizeof x);
    const char *labels = data_npy(f, "y.npy", "<i2", false, "(300,)", y, sizeof y);
    return (task){
        .spec = {.train = data_item(f, SOURCES, "NPY", "features", features, "labels", labels, NULL),
                 .validation = data_item(f, &dlt_validation_category, "split", "fraction", "0.2", NULL),
                 .memory = {true, memory},
                 .cache = data_path(f, "cache")},
        .rows = features};
}

/* Twelve images of two kinds, in two folders. */
static task image_task(data_fixture *f, int64_t memory)
{
    static const char *const kinds[] = {"tests/data/images/classes/bee/rgb.png", "tests/data/images/classes/ape/baseline.jpg"};
    mkdir(data_path(f, "images"), 0777);
    mkdir(data_path(f, "images/a"), 0777);
    mkdir(data_path(f, "images/b"), 0777);
    for (int i = 0; i < 12; i++) {
        char *bytes = NULL;
        size_t count = 0;
        assert_int_equal(dlt_file_load(dlt_test_path(kinds[i % 2]), 1 << 20, DLT_E_DATA, (dlt_pos){0}, &bytes, &count, f->diag), DLT_OK);
        data_file(f, dlt_arena_printf(f->arena, "images/%c/%d.%s", 'a' + i % 3 % 2, i, i % 2 == 0 ? "png" : "jpg"), bytes, count);
        dlt_free(bytes);
    }
    const char *path = data_path(f, "images");
    return (task){.spec = {.train = data_item(f, SOURCES, "ImageFolder", "path", path, "image_size", "[2, 2]", NULL),
                           .validation = data_item(f, &dlt_validation_category, "split", "fraction", "0.3", "shuffle", "true", NULL),
                           .memory = {true, memory},
                           .cache = data_path(f, "cache")},
                  .rows = path};
}

static int leftovers(data_fixture *f)
{
    DIR *listing = opendir(data_path(f, "cache"));
    int count = 0;
    for (const struct dirent *entry; listing != NULL && (entry = readdir(listing)) != NULL;) {
        count += strstr(entry->d_name, ".tmp-") != NULL;
    }
    if (listing != NULL) {
        closedir(listing);
    }
    return count;
}

static void empty_cache(data_fixture *f)
{
    DIR *listing = opendir(data_path(f, "cache"));
    for (const struct dirent *entry; listing != NULL && (entry = readdir(listing)) != NULL;) {
        remove(data_path(f, dlt_arena_printf(f->arena, "cache/%s", entry->d_name)));
    }
    if (listing != NULL) {
        closedir(listing);
    }
}

/* The call that fails, when, and how; or every transfer is short or interrupted. */
static struct {
    int call;
    uint64_t nth;
    atomic_uint_fast64_t seen; /* the loader's thread counts too */
    int error;
    bool shorten, interrupt;
    atomic_uint_fast64_t turn;
} fault;

/* ---- memory ---- */

static dlt_file_ops faulty(void);

static void refuse_each_allocation(data_fixture *f, task *t)
{
    dlt_diag *diag = dlt_diag_create();
    const dlt_file_ops ops = faulty();
    memset(&fault, 0, sizeof fault);
    fault.call = -1;
    dlt_file_install(&ops);
    assert_int_equal(run(f, t, diag), DLT_OK);
    for (int later = 0; later < 2; later++) {
        uint64_t refused = 1;
        for (uint64_t nth = 1; refused > 0; nth++) {
            empty_cache(f);
            const uint64_t before = dlt_alloc_fail_at(nth, later != 0);
            const dlt_status status = run(f, t, diag);
            refused = dlt_alloc_fail_at(0, false) - before;
            if (status != DLT_OK && status != DLT_E_MEMORY) {
                print_error("allocation %llu: status %d, %s\n", (unsigned long long)nth, status,
                            dlt_diag_text(diag, 0));
            }
            assert_true(status == DLT_OK || status == DLT_E_MEMORY);
            assert_true(refused > 0 || status == DLT_OK);
            assert_int_equal(leftovers(f), 0);
            dlt_diag_reset(diag);
            assert_true(nth < 20000);
        }
    }
    dlt_file_install(NULL);
    dlt_diag_destroy(diag);
}

static void refused_memory_is_an_error_in_memory(void **state)
{
    data_fixture *f = *state;
    task t = csv_task(f, 1 << 20);
    refuse_each_allocation(f, &t);
}

static void refused_memory_is_an_error_with_a_cache_file(void **state)
{
    data_fixture *f = *state;
    task t = csv_task(f, 100);
    refuse_each_allocation(f, &t);
}

static void refused_memory_is_an_error_for_arrays(void **state)
{
    data_fixture *f = *state;
    task t = npy_task(f, 1 << 20);
    refuse_each_allocation(f, &t);
    t = npy_task(f, 100);
    refuse_each_allocation(f, &t);
}

static void refused_memory_is_an_error_for_images(void **state)
{
    data_fixture *f = *state;
    task t = image_task(f, 1 << 20);
    refuse_each_allocation(f, &t);
    t = image_task(f, 20);
    refuse_each_allocation(f, &t);
}

/* ---- system calls ---- */

enum { OPEN, CLOSE, READ, PREAD, WRITE, PWRITE, FSYNC, FSTAT, STAT, RENAME, MKDIR, CALLS };
static const char *const call_names[] = {"open",  "close", "read", "pread",  "write", "pwrite",
                                         "fsync", "fstat", "stat", "rename", "mkdir"};

static bool fails(int call)
{
    if (fault.call == call && atomic_fetch_add(&fault.seen, 1) + 1 == fault.nth) {
        errno = fault.error;
        return true;
    }
    return false;
}

/* Bytes of a transfer, or 0 for "interrupted". */
static size_t portion(size_t bytes)
{
    if (fault.interrupt && atomic_fetch_add(&fault.turn, 1) % 3 == 0) {
        return 0;
    }
    return fault.shorten && bytes > 1 ? 1 + bytes / 3 : bytes;
}

#define SYSTEM dlt_file_system()
static int f_open(const char *path, int flags, mode_t mode)
{
    return fails(OPEN) ? -1 : SYSTEM->open(path, flags, mode);
}
static int f_close(int fd)
{
    const bool bad = fails(CLOSE);
    const int result = SYSTEM->close(fd); /* as Linux does: it is closed whatever it says */
    errno = bad ? fault.error : errno;
    return bad ? -1 : result;
}
static ssize_t f_read(int fd, void *data, size_t bytes)
{
    const size_t n = portion(bytes);
    if (fails(READ) || (n == 0 && bytes > 0)) {
        errno = n == 0 ? EINTR : errno;
        return -1;
    }
    return SYSTEM->read(fd, data, n);
}
static ssize_t f_pread(int fd, void *data, size_t bytes, off_t offset)
{
    const size_t n = portion(bytes);
    if (fails(PREAD) || (n == 0 && bytes > 0)) {
        errno = n == 0 ? EINTR : errno;
        return -1;
    }
    return SYSTEM->pread(fd, data, n, offset);
}
static ssize_t f_write(int fd, const void *data, size_t bytes)
{
    const size_t n = portion(bytes);
    if (fails(WRITE) || (n == 0 && bytes > 0)) {
        errno = n == 0 ? EINTR : errno;
        return -1;
    }
    return SYSTEM->write(fd, data, n);
}
static ssize_t f_pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    const size_t n = portion(bytes);
    if (fails(PWRITE) || (n == 0 && bytes > 0)) {
        errno = n == 0 ? EINTR : errno;
        return -1;
    }
    return SYSTEM->pwrite(fd, data, n, offset);
}
static int f_fsync(int fd)
{
    (void)fd;
    return fails(FSYNC) ? -1 : 0; /* waiting for the disk thousands of times proves nothing */
}
static int f_fstat(int fd, struct stat *status)
{
    return fails(FSTAT) ? -1 : SYSTEM->fstat(fd, status);
}
static int f_stat(const char *path, struct stat *status)
{
    return fails(STAT) ? -1 : SYSTEM->stat(path, status);
}
static int f_rename(const char *from, const char *to)
{
    return fails(RENAME) ? -1 : SYSTEM->rename(from, to);
}
static int f_mkdir(const char *path, mode_t mode)
{
    return fails(MKDIR) ? -1 : SYSTEM->mkdir(path, mode);
}

static dlt_file_ops faulty(void)
{
    dlt_file_ops ops = *dlt_file_system();
    ops.open = f_open;
    ops.close = f_close;
    ops.read = f_read;
    ops.pread = f_pread;
    ops.write = f_write;
    ops.pwrite = f_pwrite;
    ops.fsync = f_fsync;
    ops.fstat = f_fstat;
    ops.stat = f_stat;
    ops.rename = f_rename;
    ops.mkdir = f_mkdir;
    return ops;
}

static void fail_each_call(data_fixture *f, task *t)
{
    dlt_diag *diag = dlt_diag_create();
    const dlt_file_ops ops = faulty();
    memset(&fault, 0, sizeof fault);
    assert_int_equal(run(f, t, diag), DLT_OK);
    static const int errors[CALLS] = {EMFILE, EIO, EIO, EIO, ENOSPC, EIO, EIO, EIO, EACCES, EACCES, EROFS};
    for (int call = 0; call < CALLS; call++) {
        for (uint64_t nth = 1;; nth++) {
            empty_cache(f);
            memset(&fault, 0, sizeof fault);
            fault.call = call;
            fault.nth = nth;
            fault.error = errors[call];
            dlt_file_install(&ops);
            const dlt_status status = run(f, t, diag);
            dlt_file_install(NULL);
            if (status != DLT_OK && status != DLT_E_DATA) {
                print_error("%s %llu: status %d, %s\n", call_names[call], (unsigned long long)nth, status,
                            dlt_diag_text(diag, 0));
            }
            assert_true(status == DLT_OK || status == DLT_E_DATA);
            assert_int_equal(status, dlt_diag_status(diag)); /* what went wrong was said */
            assert_int_equal(leftovers(f), 0);
            dlt_diag_reset(diag);
            if (fault.seen < nth) {
                break;
            }
            assert_true(nth < 3000);
        }
    }
    dlt_diag_destroy(diag);
}

static void failing_calls_are_errors(void **state)
{
    data_fixture *f = *state;
    static const int64_t memories[] = {1 << 20, 100};
    for (size_t i = 0; i < 2; i++) {
        task csv = csv_task(f, memories[i]), npy = npy_task(f, memories[i]), images = image_task(f, memories[i] / 5);
        fail_each_call(f, &csv);
        fail_each_call(f, &npy);
        fail_each_call(f, &images);
    }
}

static void short_and_interrupted_transfers_are_none(void **state)
{
    data_fixture *f = *state;
    static const int64_t memories[] = {1 << 20, 100};
    const dlt_file_ops ops = faulty();
    for (int how = 1; how < 4; how++) {
        for (size_t i = 0; i < 2; i++) {
            task tasks[3] = {csv_task(f, memories[i]), npy_task(f, memories[i]), image_task(f, memories[i] / 5)};
            for (size_t k = 0; k < DLT_COUNT(tasks); k++) {
                memset(&fault, 0, sizeof fault);
                fault.call = -1;
                assert_int_equal(run(f, &tasks[k], f->diag), DLT_OK);
                empty_cache(f);
                fault.shorten = (how & 1) != 0;
                fault.interrupt = (how & 2) != 0;
                dlt_file_install(&ops);
                assert_int_equal(run(f, &tasks[k], f->diag), DLT_OK);
                dlt_file_install(NULL);
                empty_cache(f);
            }
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, data_setup, data_teardown)
    const struct CMUnitTest tests[] = {
        TEST(refused_memory_is_an_error_in_memory),     TEST(refused_memory_is_an_error_with_a_cache_file),
        TEST(refused_memory_is_an_error_for_arrays),    TEST(refused_memory_is_an_error_for_images),
        TEST(failing_calls_are_errors),
        TEST(short_and_interrupted_transfers_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
