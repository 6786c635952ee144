/* tests/unit/test_h5_hostile.c: files and readers that mean harm. Whatever they do, this process gets one error. */
#include "support/h5_inside.h"
#include "support/scratch.h"
#include "support/support.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/linux_guard.h"
#include "base/rng.h"
#include "io/h5/h5_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define GOOD "tests/data/h5/good.h5"

/* ---- a reader that was taken over: this program started as one, with a word in its environment ---- */

static void misbehave(const char *how)
{
    static char zeros[4096];
    if (strcmp(how, "crash") == 0) {
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    } else if (strcmp(how, "status") == 0) {
        _exit(7);
    } else if (strcmp(how, "silence") == 0) {
        _exit(0);
    } else if (strcmp(how, "hang") == 0) {
        for (;;) {
            pause();
        }
    } else if (strcmp(how, "drip") == 0) {
        while (write(DLT_H5_CHILD_TABLE, zeros, 1) == 1) {
            usleep(1000);
        }
    } else if (strcmp(how, "flood") == 0) {
        while (write(DLT_H5_CHILD_TABLE, zeros, sizeof zeros) > 0) {
        }
    } else if (strcmp(how, "half") == 0) { /* a good beginning, then death */
        h5_sink sink = {.fd = -1};
        dlt_h5_list(DLT_H5_CHILD_FILE, 9965, &sink);
        if (write(DLT_H5_CHILD_TABLE, sink.buffer.data, sink.buffer.length / 2) > 0) {
            kill(getpid(), SIGKILL);
        }
    } else if (strcmp(how, "lie") == 0) { /* says all is well and then dies */
        h5_sink sink = {.fd = DLT_H5_CHILD_TABLE};
        dlt_h5_list(DLT_H5_CHILD_FILE, 9965, &sink);
        kill(getpid(), SIGKILL);
    } else if (strcmp(how, "spin") == 0) {
        signal(SIGXCPU, SIG_DFL);
        dlt_guard_limit(&(dlt_guard_limits){.cpu_seconds = 1, .descriptors = 5});
        for (volatile unsigned i = 0;; i++) {
        }
    }
    _exit(98);
}

static void expect(const char *how, double patience, const char *message)
{
    dlt_diag *diag = dlt_diag_create();
    dlt_h5_file *file = NULL;
    setenv("TEST_H5_CHILD", how, 1);
    dlt_h5_set_deadline(patience);
    const int64_t start = dlt_clock_ns();
    assert_int_equal(dlt_h5_open(GOOD, DLT_E_CHECKPOINT, (dlt_pos){0}, &file, diag), DLT_E_CHECKPOINT);
    assert_true(dlt_seconds_since(start) < 20);
    dlt_h5_set_deadline(0);
    unsetenv("TEST_H5_CHILD");
    assert_null(file);
    assert_int_equal(dlt_diag_size(diag), 1);
    assert_string_equal(dlt_diag_text(diag, 0), message);
    errno = 0;
    assert_true(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD); /* no child is left behind */
    dlt_diag_destroy(diag);
}

static void a_reader_that_fails_is_one_error(void **state)
{
    (void)state;
    expect("crash", 0, "bad HDF5 file '" GOOD "': the reader died of it (signal 11, Segmentation fault)");
    expect("status", 0, "bad HDF5 file '" GOOD "': the reader ended with status 7");
    expect("silence", 0, "bad HDF5 file '" GOOD "': the reader's table of contents is not valid: it ends too early");
    expect("half", 0, "bad HDF5 file '" GOOD "': the reader died of it (signal 9, Killed)");
    expect("lie", 0, "bad HDF5 file '" GOOD "': the reader died of it (signal 9, Killed)");
    expect("flood", 0, "bad HDF5 file '" GOOD "': its table of contents is too large");
    expect("hang", 0.3, "bad HDF5 file '" GOOD "': listing its content takes longer than 0.3 s");
    expect("drip", 0.3, "bad HDF5 file '" GOOD "': listing its content takes longer than 0.3 s");
    expect("spin", 0, "bad HDF5 file '" GOOD "': listing its content takes more than 3 s of processor time");
}

static void descriptors_are_not_lost(void **state)
{
    (void)state;
    const int before = open("/dev/null", O_RDONLY);
    close(before);
    for (int i = 0; i < 20; i++) {
        dlt_h5_file *file = NULL;
        assert_int_equal(dlt_h5_open(GOOD, DLT_E_DATA, (dlt_pos){0}, &file, NULL), DLT_OK);
        dlt_h5_close(file);
        assert_int_equal(dlt_h5_open("tests/data/h5/deep.h5", DLT_E_DATA, (dlt_pos){0}, &file, NULL), DLT_E_DATA);
    }
    const int after = open("/dev/null", O_RDONLY);
    close(after);
    assert_int_equal(before, after);
}

static void a_caller_that_ignores_its_children_reads_all_the_same(void **state)
{
    (void)state;
    dlt_h5_file *file = NULL;
    signal(SIGCHLD, SIG_IGN); /* the kernel reaps: the child's end cannot be asked for */
    const dlt_status status = dlt_h5_open(GOOD, DLT_E_DATA, (dlt_pos){0}, &file, NULL);
    signal(SIGCHLD, SIG_DFL);
    assert_int_equal(status, DLT_OK);
    dlt_h5_close(file);
}

static void a_guarded_process_can_do_next_to_nothing(void **state)
{
    (void)state;
    int status = 0;
    for (int what = 0; what < 5; what++) {
        const pid_t child = fork();
        if (child == 0) {
            const int file = open(GOOD, O_RDONLY), out = open("/dev/null", O_WRONLY);
            char byte;
            if (!dlt_guard_system_calls(file, out)) {
                _exit(77);
            }
            switch (what) {
            case 0: /* what it may do */
                _exit(pread(file, &byte, 1, 0) == 1 && write(out, &byte, 1) == 1 && open(GOOD, O_RDONLY) < 0 &&
                              errno == EACCES
                          ? 0
                          : 1);
            case 1:
                _exit(socket(AF_INET, SOCK_STREAM, 0) >= 0);
            case 2:
                _exit(pread(out, &byte, 1, 0) == 1);
            case 3:
                _exit(kill(getppid(), 0));
            default:
                _exit(fork() >= 0);
            }
        }
        assert_true(child > 0 && waitpid(child, &status, 0) == child);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
            print_message("skipped: this kernel has no seccomp\n");
            skip();
        }
        if (what == 0) {
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        } else {
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
        }
    }
}

/* ---- damaged files ---- */

/* Reads everything that can be read; true if all of it could. */
static bool read_everything(dlt_h5_file *file, dlt_diag *diag)
{
    bool good = true;
    for (size_t i = 0; i < dlt_h5_count(file); i++) {
        const dlt_h5_object *object = dlt_h5_at(file, i);
        int64_t bytes = 0;
        if (object->object_class != DLT_H5_DATASET || object->refused != NULL || object->bytes > 1 << 22 ||
            !dlt_mul_i64(object->bytes / object->element_bytes, (int64_t)dlt_dtype_size(dlt_h5_dtype(object)),
                         &bytes)) {
            continue;
        }
        void *out = malloc((size_t)bytes + 1);
        assert_non_null(out);
        const dlt_h5_want want = {.dtype = dlt_h5_dtype(object), .all = true};
        const size_t messages = dlt_diag_size(diag);
        const dlt_status status = dlt_h5_read(file, object, &want, out, (size_t)bytes, diag);
        assert_int_equal(dlt_diag_size(diag), messages + (status != DLT_OK));
        good &= status == DLT_OK;
        free(out);
    }
    return good;
}

static void mutate(unsigned char *data, size_t *bytes, uint64_t seed, uint64_t round)
{
    const unsigned changes = 1 + dlt_random_bits(seed, 1, round, 0) % 12;
    for (unsigned k = 1; k <= changes; k++) {
        const uint32_t a = dlt_random_bits(seed, 1, round, 4 * (uint64_t)k),
                       b = dlt_random_bits(seed, 1, round, 4 * k + 1),
                       c = dlt_random_bits(seed, 1, round, 4 * (uint64_t)k + 2);
        const size_t at = a % *bytes, run = 1 + b % 8;
        switch (c % 8) {
        case 0: /* a field of ones or zeros */
        case 1:
            for (size_t i = at; i < *bytes && i < at + run; i++) {
                data[i] = c % 8 == 0 ? 0xFF : 0;
            }
            break;
        case 2: /* a piece from elsewhere */
            for (size_t i = 0; i < 4 * run && at + i < *bytes && b % *bytes + i < *bytes; i++) {
                data[at + i] = data[b % *bytes + i];
            }
            break;
        case 3:
            *bytes = k == 1 && c % 5 == 0 ? at + 1 : *bytes;
            break;
        default:
            data[at] ^= (unsigned char)(1U << (b % 8));
            break;
        }
    }
}

static void two_thousand_mutated_files_do_no_harm(void **state)
{
    (void)state;
    static const char *const names[] = {"good",    "types",     "chunked",       "latest",
                                        "refused", "userblock", "keras.weights", "keras_legacy"};
    enum { ROUNDS = DLT_SANITIZED ? 300 : 2000 }; /* a sanitized child starts slowly */
    const char *given = getenv("DLT_TEST_SEED");
    const uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)dlt_clock_ns() % 1000000;
    char *folder = dlt_scratch_create("mutated");
    const char *path = dlt_scratch_path(folder, "x.h5");
    unsigned opened = 0, read = 0, died = 0;
    print_message("seed %llu (DLT_TEST_SEED repeats it)\n", (unsigned long long)seed);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        char source[256];
        size_t bytes = 0;
        snprintf(source, sizeof source, "tests/data/h5/%s.h5", names[round % DLT_COUNT(names)]);
        char *data = dlt_scratch_load(source, &bytes);
        mutate((unsigned char *)data, &bytes, seed, round);
        dlt_scratch_save(path, data, bytes);
        free(data);
        dlt_diag *diag = dlt_diag_create();
        dlt_h5_file *file = NULL;
        const dlt_status status = dlt_h5_open(path, DLT_E_DATA, (dlt_pos){0}, &file, diag);
        if (status == DLT_OK) {
            opened++;
            read += read_everything(file, diag);
        } else {
            assert_int_equal(status, DLT_E_DATA);
            assert_int_equal(dlt_diag_size(diag), 1);
            died += strstr(dlt_diag_text(diag, 0), "the reader died") != NULL;
        }
        dlt_h5_close(file);
        dlt_diag_destroy(diag);
    }
    print_message("%u of %u opened, %u read whole, the reader died of %u\n", opened, (unsigned)ROUNDS, read, died);
    dlt_scratch_destroy(folder);
}

typedef struct cut {
    const char *path, *data;
} cut;

static unsigned char open_cut(void *context, size_t length)
{
    const cut *c = context;
    dlt_h5_file *file = NULL;
    dlt_scratch_save(c->path, c->data, length);
    const dlt_status status = dlt_h5_open_inside(c->path, DLT_E_DATA, &file, NULL);
    dlt_h5_close(file);
    return (unsigned char)status;
}

static void a_file_cut_short_anywhere_is_refused(void **state)
{
    (void)state;
    size_t bytes = 0;
    char *folder = dlt_scratch_create("cut"), *data = dlt_scratch_load(GOOD, &bytes);
    const cut c = {.path = dlt_scratch_path(folder, "x.h5"), .data = data};
    unsigned char *results = malloc(bytes + 1);
    assert_non_null(results);
    dlt_sweep(bytes + 1, open_cut, (void *)&c, results);
    for (size_t i = 0; i < bytes; i++) {
        assert_int_equal(results[i], DLT_E_DATA);
    }
    assert_int_equal(results[bytes], DLT_OK);
    for (size_t i = 0; i < bytes; i += 199) { /* and some with the real child */
        dlt_h5_file *file = NULL;
        dlt_scratch_save(c.path, data, i);
        assert_int_equal(dlt_h5_open(c.path, DLT_E_DATA, (dlt_pos){0}, &file, NULL), DLT_E_DATA);
    }
    free(results);
    free(data);
    dlt_scratch_destroy(folder);
}

/* ---- damaged tables ---- */

static void every_flipped_bit_of_a_table_is_survived(void **state)
{
    (void)state;
    static const char *const names[] = {"good", "types", "chunked", "latest"};
    size_t refused = 0, accepted = 0;
    for (size_t n = 0; n < DLT_COUNT(names); n++) {
        char path[256];
        snprintf(path, sizeof path, "tests/data/h5/%s.h5", names[n]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        char *table = NULL;
        size_t bytes = 0;
        assert_true(fd >= 0);
        assert_int_equal(dlt_h5_run_child(fd, 1 << 16, false, path, DLT_E_DATA, (dlt_pos){0}, &table, &bytes, NULL),
                         DLT_OK);
        close(fd);
        if (getenv("DLT_WRITE_SEEDS") != NULL) { /* after a change of the wire form: tests/fuzz/seeds/h5_table */
            dlt_scratch_save(dlt_scratch_path(getenv("DLT_WRITE_SEEDS"), names[n]), table, bytes);
        }
        char *copy = malloc(bytes); /* exactly as long, so that sanitizers see a byte too far */
        assert_non_null(copy);
        const size_t step = n == 0 ? 1 : 5;
        for (size_t bit = 0; bit < 9 * bytes; bit += step) { /* bits, then lengths */
            const size_t length = bit < 8 * bytes ? bytes : bit - 8 * bytes;
            memcpy(copy, table, bytes);
            if (bit < 8 * bytes) {
                copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
            }
            char *exact = realloc(NULL, length > 0 ? length : 1);
            assert_non_null(exact);
            memcpy(exact, copy, length);
            dlt_h5_file *file = NULL;
            dlt_diag *diag = dlt_diag_create();
            fd = open(path, O_RDONLY | O_CLOEXEC);
            assert_int_equal(dlt_h5_file_create(fd, path, DLT_E_DATA, (dlt_pos){0}, &file, diag), DLT_OK);
            const dlt_status status = dlt_h5_parse_table(file, exact, length, diag);
            if (status == DLT_OK) {
                assert_true(bit < 8 * bytes);
                accepted++;
                read_everything(file, diag);
            } else {
                refused++;
                assert_int_equal(status, DLT_E_DATA);
                assert_int_equal(dlt_diag_size(diag), 1);
            }
            dlt_h5_close(file);
            dlt_diag_destroy(diag);
            free(exact);
        }
        free(copy);
        dlt_free(table);
    }
    print_message("%zu tables refused, %zu accepted\n", refused, accepted);
}

int main(int argc, char **argv)
{
    const char *how = getenv("TEST_H5_CHILD");
    if (argc > 1 && strcmp(argv[1], DLT_H5_CHILD_ARGUMENT) == 0 && how != NULL) {
        misbehave(how);
    }
    dlt_h5_child_main(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_that_fails_is_one_error),
        cmocka_unit_test(descriptors_are_not_lost),
        cmocka_unit_test(a_caller_that_ignores_its_children_reads_all_the_same),
        cmocka_unit_test(a_guarded_process_can_do_next_to_nothing),
        cmocka_unit_test(two_thousand_mutated_files_do_no_harm),
        cmocka_unit_test(a_file_cut_short_anywhere_is_refused),
        cmocka_unit_test(every_flipped_bit_of_a_table_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
