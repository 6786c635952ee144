/* tests/unit/test_data_cache.c: where records are kept: in memory, in cache files, in place; and what happens
 * when files change. */
#include "support/support.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "io/data/pack.h"
#include "support/data_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOURCES &dlt_source_category

static const dlt_dataset_options small = {.memory = 1000, .threads = 2};

/* A table of some 200 KB. */
static const char *write_table(data_fixture *f, const char *name, uint64_t seed)
{
    dlt_buf text = {0};
    dlt_buf_string(&text, "a,b,c,label\n");
    for (uint64_t i = 0; i < 8000; i++) {
        const uint32_t r = dlt_random_bits(seed, 9, i, 0);
        dlt_buf_printf(&text, "%u,%.4f,t%u,%s\n", r % 1000, (double)r / 7, r % 30, r % 2 == 0 ? "yes" : "no");
    }
    const char *path = data_text(f, name, text.data);
    dlt_buf_release(&text);
    return path;
}

/* Number of files in the cache folder whose names hold `part`, and the path of one of them. */
static int cache_files(data_fixture *f, const char *part, const char **path)
{
    DIR *listing = opendir(data_path(f, "cache"));
    int count = 0;
    for (const struct dirent *entry; listing != NULL && (entry = readdir(listing)) != NULL;) {
        if (strstr(entry->d_name, part) != NULL) {
            count++;
            if (path != NULL) {
                *path = dlt_arena_printf(f->arena, "%s/cache/%s", f->folder, entry->d_name);
            }
        }
    }
    if (listing != NULL) {
        closedir(listing);
    }
    return count;
}

static ino_t inode_of(const char *path)
{
    struct stat seen;
    assert_int_equal(stat(path, &seen), 0);
    return seen.st_ino;
}

static void what_does_not_fit_is_packed_once(void **state)
{
    data_fixture *f = *state;
    const dlt_item *item =
        data_item(f, SOURCES, "CSV", "path", write_table(f, "a.csv", 1), "target", "label", NULL);
    dlt_dataset *memory = data_open(f, item, DLT_DEPTH_LOAD);
    assert_string_equal(dlt_dataset_place(memory), "memory");
    assert_int_equal(cache_files(f, ".pack", NULL), 0);
    dlt_dataset *packed = data_open_with(f, item, DLT_DEPTH_LOAD, small);
    assert_non_null(packed);
    const char *path = NULL;
    assert_int_equal(cache_files(f, ".pack", &path), 1);
    assert_non_null(strstr(path, "/cache/a.csv-"));
    assert_string_equal(dlt_dataset_place(packed), dlt_arena_printf(f->arena, "cache file %s", path));
    assert_int_equal(dlt_dataset_memory(packed), 0);
    const char *digest = data_digest(f, memory);
    assert_string_equal(data_digest(f, packed), digest);
    const ino_t inode = inode_of(path);
    dlt_dataset_close(packed);
    /* the second time it is found, with all that was learnt */
    packed = data_open_with(f, item, DLT_DEPTH_LOAD, small);
    assert_non_null(packed);
    assert_int_equal(inode_of(path), inode);
    assert_string_equal(data_digest(f, packed), digest);
    const dlt_stats *a = dlt_dataset_stats(memory), *b = dlt_dataset_stats(packed);
    assert_int_equal(a->records, b->records);
    assert_int_equal(a->classes.count, b->classes.count);
    assert_memory_equal(a->classes.records, b->classes.records, 2 * sizeof *a->classes.records);
    assert_memory_equal(a->classes.first, b->classes.first, 2 * sizeof *a->classes.first);
    for (size_t i = 0; i < a->part_count; i++) {
        assert_int_equal(a->part[i].missing, b->part[i].missing);
        assert_int_equal(a->part[i].distinct, b->part[i].distinct);
        assert_int_equal(a->part[i].whole, b->part[i].whole);
        assert_memory_equal(&a->part[i].least, &b->part[i].least, sizeof a->part[i].least);
        const dlt_part *p = &dlt_dataset_frame(memory)->layout.parts[i],
                       *q = &dlt_dataset_frame(packed)->layout.parts[i];
        assert_string_equal(p->name, q->name);
        assert_true(p->type == q->type && p->role == q->role && p->may_be_missing == q->may_be_missing);
        assert_int_equal(p->dictionary != NULL ? p->dictionary->count : -1,
                         q->dictionary != NULL ? q->dictionary->count : -1);
    }
    assert_string_equal(dlt_dataset_frame(packed)->layout.parts[3].dictionary->at[0], "no");
    dlt_dataset_close(packed);
    /* with more memory the packed copy is read into it */
    packed = data_open(f, item, DLT_DEPTH_LOAD);
    assert_string_equal(dlt_dataset_place(packed), "memory");
    assert_string_equal(data_digest(f, packed), digest);
    dlt_dataset_close(packed);
    dlt_dataset_close(memory);
    assert_int_equal(dlt_diag_size(f->diag), 0);
}

static void other_parameters_are_another_file(void **state)
{
    data_fixture *f = *state;
    const char *path = write_table(f, "a.csv", 1);
    dlt_dataset_close(data_open_with(f, data_item(f, SOURCES, "CSV", "path", path, "target", "label", NULL),
                                     DLT_DEPTH_LOAD, small));
    dlt_dataset_close(data_open_with(
        f, data_item(f, SOURCES, "CSV", "path", path, "target", "label", "types", "{a: text}", NULL),
        DLT_DEPTH_LOAD, small));
    assert_int_equal(cache_files(f, ".pack", NULL), 2);
    /* what follows another train is another file, too */
    const char *other = write_table(f, "b.csv", 2);
    dlt_dataset *train =
        data_open(f, data_item(f, SOURCES, "CSV", "path", other, "target", "label", NULL), DLT_DEPTH_LOAD);
    dlt_dataset_options follow = small;
    follow.follow = dlt_dataset_frame(train);
    dlt_dataset *test = data_open_with(f, data_item(f, SOURCES, "CSV", "path", path, "target", "label", NULL),
                                       DLT_DEPTH_LOAD, follow);
    assert_non_null(test);
    assert_int_equal(cache_files(f, ".pack", NULL), 3);
    const char *digest = data_digest(f, test);
    dlt_dataset_close(test);
    test = data_open_with(f, data_item(f, SOURCES, "CSV", "path", path, "target", "label", NULL),
                          DLT_DEPTH_LOAD, follow);
    assert_string_equal(data_digest(f, test), digest);
    dlt_dataset_close(test);
    dlt_dataset_close(train);
}

static void a_changed_source_is_packed_anew_and_said_so(void **state)
{
    data_fixture *f = *state;
    const char *path = write_table(f, "a.csv", 1), *pack = NULL;
    const dlt_item *item = data_item(f, SOURCES, "CSV", "path", path, "target", "label", NULL);
    dlt_dataset_close(data_open_with(f, item, DLT_DEPTH_LOAD, small));
    write_table(f, "a.csv", 2);
    dlt_dataset *ds = data_open_with(f, item, DLT_DEPTH_LOAD, small);
    assert_non_null(ds);
    assert_int_equal(cache_files(f, ".pack", &pack), 1);
    assert_string_equal(data_message(f, 0),
                        dlt_arena_printf(f->arena,
                                         "a.csv: the packed copy '%s' is of an older state; packing it anew",
                                         pack + strlen(f->folder) + 1));
    dlt_dataset *memory =
        data_open_with(f, item, DLT_DEPTH_LOAD,
                       (dlt_dataset_options){.memory = 1 << 28, .cache = "/nonexistent", .threads = 1});
    assert_string_equal(data_digest(f, ds), data_digest(f, memory));
    dlt_dataset_close(memory);
    dlt_dataset_close(ds);
}

/* Changes one byte of a file. */
static void flip(const char *path, long offset)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, offset < 0 ? SEEK_END : SEEK_SET), 0);
    const int byte = fgetc(file);
    assert_int_equal(fseek(file, offset, offset < 0 ? SEEK_END : SEEK_SET), 0);
    fputc(byte ^ 0x10, file);
    assert_int_equal(fclose(file), 0);
}

static void damage_is_found_wherever_it_is(void **state)
{
    data_fixture *f = *state;
    const dlt_item *item =
        data_item(f, SOURCES, "CSV", "path", write_table(f, "a.csv", 1), "target", "label", NULL);
    const char *pack = NULL;
    dlt_dataset *ds = data_open_with(f, item, DLT_DEPTH_LOAD, small);
    const char *digest = data_digest(f, ds);
    dlt_dataset_close(ds);
    assert_int_equal(cache_files(f, ".pack", &pack), 1);
    /* in header, checks and meta: noticed when it is opened, and packed anew */
    static const long places[] = {3, 9, 20, 60, 85, 100, 110, -1, -300, -700};
    for (size_t i = 0; i < DLT_COUNT(places); i++) {
        flip(pack, places[i]);
        ds = data_open_with(f, item, DLT_DEPTH_LOAD, small);
        assert_non_null(ds);
        assert_string_equal(data_digest(f, ds), digest);
        assert_int_equal(dlt_diag_size(f->diag), 1);
        assert_non_null(strstr(data_message(f, 0), "packing it anew"));
        data_forget(f);
        dlt_dataset_close(ds);
    }
    /* cut short */
    assert_int_equal(truncate(pack, 5000), 0);
    ds = data_open_with(f, item, DLT_DEPTH_LOAD, small);
    assert_string_equal(data_digest(f, ds), digest);
    assert_non_null(strstr(data_message(f, 0), "is damaged; packing it anew"));
    data_forget(f);
    dlt_dataset_close(ds);
    /* in a record: noticed when it is read, never handed out */
    flip(pack, 4096 * 3 + 17);
    ds = data_open_with(f, item, DLT_DEPTH_LOAD, small);
    assert_non_null(ds);
    dlt_reader *reader = NULL;
    double a[2];
    void *columns[4] = {a, NULL, NULL, NULL};
    assert_int_equal(dlt_reader_create(ds, 2, &reader, f->diag), DLT_OK);
    assert_int_equal(dlt_reader_read(reader, (const int64_t[]){0, 7999}, 2, columns, f->diag), DLT_OK);
    const int64_t row = 2 * 4096 / (int64_t)dlt_dataset_frame(ds)->layout.record_bytes + 1;
    assert_int_equal(dlt_reader_read(reader, &row, 1, columns, f->diag), DLT_E_DATA);
    assert_string_equal(
        data_message(f, 0),
        dlt_arena_printf(f->arena,
                         "the cache file '%s' is damaged in its page 2; delete it, and it is packed anew",
                         pack + strlen(f->folder) + 1));
    data_forget(f);
    dlt_reader_destroy(reader);
    dlt_dataset_close(ds);
}

static void leftovers_of_dead_processes_are_cleared_away(void **state)
{
    data_fixture *f = *state;
    struct utsname names;
    assert_int_equal(uname(&names), 0);
    assert_int_equal(mkdir(data_path(f, "cache"), 0777), 0);
    const pid_t dead = fork();
    if (dead == 0) {
        _exit(0);
    }
    int status = 0;
    while (dead != waitpid(dead, &status, 0)) {
    }
    const char *old =
        data_text(f, dlt_arena_printf(f->arena, "cache/x.pack.tmp-%s-%ld", names.nodename, (long)dead), "x");
    const char *alive = data_text(
        f, dlt_arena_printf(f->arena, "cache/y.pack.tmp-%s-%ld", names.nodename, (long)getppid()), "x");
    const char *elsewhere = data_text(f, "cache/z.pack.tmp-another-host-1", "x");
    const char *mine = data_text(f, "cache/not-ours.txt", "x");
    const dlt_item *item =
        data_item(f, SOURCES, "CSV", "path", write_table(f, "a.csv", 1), "target", "label", NULL);
    dlt_dataset_close(data_open_with(f, item, DLT_DEPTH_LOAD, small));
    assert_int_equal(access(old, F_OK), -1);
    assert_int_equal(access(alive, F_OK), 0);
    assert_int_equal(access(elsewhere, F_OK), 0);
    assert_int_equal(access(mine, F_OK), 0);
    assert_int_equal(cache_files(f, "a.csv-", NULL), 1);
}

static void a_failed_source_leaves_no_cache_file(void **state)
{
    data_fixture *f = *state;
    const char *path = write_table(f, "a.csv", 1);
    FILE *file = fopen(path, "ab");
    fputs("1,2\n", file);
    fclose(file);
    assert_null(data_open_with(f, data_item(f, SOURCES, "CSV", "path", path, "target", "label", NULL),
                               DLT_DEPTH_LOAD, small));
    assert_string_equal(data_message(f, 0), "a.csv:8002:1: found 2 columns, expected 4");
    assert_int_equal(cache_files(f, "a.csv", NULL), 0);
}

static void the_cache_folder_is_the_users(void **state)
{
    data_fixture *f = *state;
    const char *old = getenv("XDG_CACHE_HOME");
    const char *kept = old != NULL ? dlt_arena_string(f->arena, old) : NULL;
    char *folder = NULL;
    assert_true(dlt_pack_folder("/chosen", &folder));
    assert_string_equal(folder, "/chosen");
    dlt_free(folder);
    setenv("XDG_CACHE_HOME", "/x/cache", 1);
    assert_true(dlt_pack_folder(NULL, &folder));
    assert_string_equal(folder, "/x/cache/dltrain");
    dlt_free(folder);
    setenv("XDG_CACHE_HOME", "relative", 1);
    const char *home = getenv("HOME");
    assert_true(dlt_pack_folder(NULL, &folder));
    assert_string_equal(folder, dlt_arena_printf(f->arena, "%s/.cache/dltrain", home != NULL ? home : ""));
    dlt_free(folder);
    if (kept != NULL) {
        setenv("XDG_CACHE_HOME", kept, 1);
    } else {
        unsetenv("XDG_CACHE_HOME");
    }
}

static void plain_arrays_are_read_in_place(void **state)
{
    data_fixture *f = *state;
    float *x = dlt_alloc(5000 * 30 * sizeof *x);
    int32_t *y = dlt_alloc(5000 * sizeof *y);
    for (uint64_t i = 0; i < 150000; i++) {
        x[i] = dlt_random_uniform(1, 1, i, 0);
    }
    for (int i = 0; i < 5000; i++) {
        y[i] = i % 10;
    }
    const dlt_item *item =
        data_item(f, SOURCES, "NPY", "features", data_npy(f, "x.npy", "<f4", false, "(5000, 30)", x, 600000),
                  "labels", data_npy(f, "y.npy", "<i4", false, "(5000,)", y, 20000), NULL);
    dlt_dataset *ds = data_open_with(f, item, DLT_DEPTH_LOAD, small);
    assert_non_null(ds);
    assert_string_equal(dlt_dataset_place(ds), "in place");
    assert_int_equal(cache_files(f, ".pack", NULL), 0);
    assert_memory_equal(data_part(f, ds, 0), x, 600000);
    assert_memory_equal(data_part(f, ds, 1), y, 20000);
    /* rows in any order, with repetitions */
    dlt_reader *reader = NULL;
    assert_int_equal(dlt_reader_create(ds, 300, &reader, f->diag), DLT_OK);
    int64_t rows[300];
    float out[300 * 30];
    int32_t labels[300];
    void *columns[2] = {out, labels};
    for (uint64_t i = 0; i < 300; i++) {
        rows[i] = i % 10 == 0 ? 77 : (int64_t)(dlt_random_bits(5, 5, i, 0) % 5000);
    }
    assert_int_equal(dlt_reader_read(reader, rows, 300, columns, f->diag), DLT_OK);
    for (int i = 0; i < 300; i++) {
        assert_memory_equal(out + 30 * i, x + 30 * rows[i], 30 * sizeof *x);
        assert_int_equal(labels[i], y[rows[i]]);
    }
    uint64_t reads = 0, bytes = 0;
    dlt_reader_work(reader, &reads, &bytes);
    assert_true(reads <= 4); /* neighbours are read together: all 300 rows lie within 600 KB */
    dlt_reader_destroy(reader);
    dlt_dataset_close(ds);
    dlt_free(x);
    dlt_free(y);
}

static void a_file_that_changes_under_a_run_is_an_error(void **state)
{
    data_fixture *f = *state;
    const float x[4] = {1, 2, 3, 4}, z[4] = {1, 2, 3, 5};
    const char *path = data_npy(f, "x.npy", "<f4", false, "(4,)", x, sizeof x);
    const dlt_item *item = data_item(f, SOURCES, "NPY", "features", path, NULL);
    dlt_dataset *memory = data_open(f, item, DLT_DEPTH_LOAD);
    dlt_dataset *place =
        data_open_with(f, item, DLT_DEPTH_LOAD, (dlt_dataset_options){.memory = 1, .threads = 1});
    assert_int_equal(dlt_dataset_unchanged(memory, f->diag), DLT_OK);
    assert_int_equal(dlt_dataset_unchanged(place, f->diag), DLT_OK);
    const struct timespec later[2] = {{.tv_sec = 2000000000}, {.tv_sec = 2000000000}};
    assert_int_equal(utimensat(AT_FDCWD, path, later, 0), 0);
    /* a new time alone matters only where records are still read from the file */
    assert_int_equal(dlt_dataset_unchanged(memory, f->diag), DLT_OK);
    assert_int_equal(dlt_dataset_unchanged(place, f->diag), DLT_E_DATA);
    assert_string_equal(data_message(f, 0), "'x.npy' changed while the run was using it; a run needs the "
                                            "same data from its first step to its last");
    data_forget(f);
    data_npy(f, "x.npy", "<f4", false, "(4,)", z, sizeof z);
    assert_int_equal(dlt_dataset_unchanged(memory, f->diag), DLT_E_DATA);
    data_forget(f);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(dlt_dataset_unchanged(memory, f->diag), DLT_E_DATA);
    assert_string_equal(data_message(f, 0),
                        "'x.npy' can no longer be read while the run uses it: No such file or directory");
    data_forget(f);
    dlt_dataset_close(memory);
    dlt_dataset_close(place);
}

static void a_large_scan_is_remembered(void **state)
{
    data_fixture *f = *state;
    dlt_buf text = {0};
    for (uint64_t i = 0; i < 500000; i++) {
        dlt_buf_printf(&text, "%u,0.123456789,%llu\n", dlt_random_bits(1, 1, i, 0),
                       (unsigned long long)(i % 5));
    }
    assert_true(text.length > 8 << 20);
    const dlt_item *item =
        data_item(f, SOURCES, "CSV", "path", data_text(f, "a.csv", text.data), "target", "-1", NULL);
    dlt_dataset *first = data_open(f, item, DLT_DEPTH_SCAN);
    assert_non_null(first);
    assert_int_equal(cache_files(f, ".pack", NULL), 1);
    const uint64_t calls = dlt_alloc_calls();
    dlt_dataset *second = data_open(f, item, DLT_DEPTH_SCAN);
    assert_true(dlt_alloc_calls() - calls < 200); /* not read again */
    assert_int_equal(dlt_dataset_count(second), 500000);
    assert_true(dlt_dataset_exact(second));
    assert_int_equal(dlt_dataset_stats(second)->classes.records[3], 100000);
    dlt_dataset_close(second);
    dlt_dataset_close(first);
    /* it holds no records, and does not pretend to */
    dlt_dataset *ds = data_open_with(f, item, DLT_DEPTH_LOAD, small);
    assert_non_null(ds);
    const double *labels = data_part(f, ds, 2);
    assert_true(labels[499999] == 4);
    dlt_dataset_close(ds);
    dlt_buf_release(&text);
}

static void frames_are_read_back(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = data_open(
        f, data_item(f, SOURCES, "CSV", "path", write_table(f, "a.csv", 1), "target", "label", NULL),
        DLT_DEPTH_LOAD);
    const dlt_frame *frame = dlt_dataset_frame(ds);
    dlt_buf bytes = {0}, again = {0};
    dlt_frame_write(frame, &bytes);
    dlt_frame *copy = NULL;
    size_t used = 0;
    assert_int_equal(
        dlt_frame_read(bytes.data, bytes.length, &used, "a checkpoint", DLT_E_CHECKPOINT, &copy, f->diag),
        DLT_OK);
    assert_int_equal(used, bytes.length);
    dlt_frame_write(copy, &again);
    assert_int_equal(again.length, bytes.length);
    assert_memory_equal(again.data, bytes.data, bytes.length);
    assert_int_equal(copy->layout.record_bytes, frame->layout.record_bytes);
    assert_int_equal(dlt_words_find(&copy->words[3], "yes", 3), 1);
    dlt_frame_destroy(copy);
    /* cut anywhere it is refused, and so is every change that breaks it; none of it crashes */
    for (size_t cut = 0; cut < bytes.length; cut++) {
        assert_int_equal(
            dlt_frame_read(bytes.data, cut, &used, "a checkpoint", DLT_E_CHECKPOINT, &copy, f->diag),
            DLT_E_CHECKPOINT);
        assert_null(copy);
    }
    data_forget(f);
    for (size_t i = 0; i < bytes.length; i++) {
        bytes.data[i] = (char)(bytes.data[i] ^ 0x40);
        if (dlt_frame_read(bytes.data, bytes.length, &used, "a checkpoint", DLT_E_CHECKPOINT, &copy,
                           f->diag) == DLT_OK) {
            dlt_frame_destroy(copy);
        }
        bytes.data[i] = (char)(bytes.data[i] ^ 0x40);
    }
    data_forget(f);
    bytes.data[8] = 2;
    assert_int_equal(
        dlt_frame_read(bytes.data, bytes.length, &used, "a checkpoint", DLT_E_CHECKPOINT, &copy, f->diag),
        DLT_E_CHECKPOINT);
    assert_string_equal(data_message(f, 0),
                        "a checkpoint: its description of data has version 2; this program reads version 1");
    dlt_buf_release(&bytes);
    dlt_buf_release(&again);
    dlt_dataset_close(ds);
}

static void a_stop_is_heard(void **state)
{
    data_fixture *f = *state;
    atomic_int stop = 1;
    const dlt_item *item = data_item(f, SOURCES, "CSV", "path", write_table(f, "a.csv", 1), NULL);
    assert_null(data_open_with(f, item, DLT_DEPTH_LOAD,
                               (dlt_dataset_options){.memory = 1 << 20, .threads = 1, .stop = &stop}));
    assert_int_equal(dlt_diag_status(f->diag), DLT_E_STOPPED);
    data_forget(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, data_setup, data_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_does_not_fit_is_packed_once),
        TEST(other_parameters_are_another_file),
        TEST(a_changed_source_is_packed_anew_and_said_so),
        TEST(damage_is_found_wherever_it_is),
        TEST(leftovers_of_dead_processes_are_cleared_away),
        TEST(a_failed_source_leaves_no_cache_file),
        TEST(the_cache_folder_is_the_users),
        TEST(plain_arrays_are_read_in_place),
        TEST(a_file_that_changes_under_a_run_is_an_error),
        TEST(a_large_scan_is_remembered),
        TEST(frames_are_read_back),
        TEST(a_stop_is_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
