/* tests/unit/test_checkpoint_faults.c: whatever fails or is killed while a checkpoint is saved, the old one stays and the new
 * one is whole or not there; and no damaged bit of a checkpoint goes unnoticed. */
#define _GNU_SOURCE /* memmem */
#include "support/h5_inside.h"
#include "support/scratch.h"
#include "support/support.h"

#include "base/alloc.h"
#include "base/linux_guard.h"
#include "io/file.h"
#include "io/h5/checkpoint_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a small checkpoint ---- */

static const float kernel[6] = {1, 2, 3, 4, 5, -0.5F}, bias[3] = {0.1F, 0.2F, 0.3F};
static const char config[] = "layers: [{Dense: {units: 3}}]\n";

static dlt_status save(const char *path, int64_t step, dlt_diag *diag)
{
    dlt_checkpoint_writer *w = NULL;
    const dlt_shape scalar = dlt_scalar();
    DLT_TRY(dlt_checkpoint_begin(path, &w, diag));
    /* statuses in between need no look: the first failure is remembered */
    (void)(dlt_checkpoint_group(w, "/layers/dense/vars", "dense", diag) ||
           dlt_checkpoint_add(w, "/layers/dense/vars/0", DLT_F32, &DLT_SHAPE(2, 3), kernel, diag) ||
           dlt_checkpoint_add(w, "/layers/dense/vars/1", DLT_F32, &DLT_SHAPE(3), bias, diag) ||
           dlt_checkpoint_group(w, "/optimizer/vars", "adam", diag) ||
           dlt_checkpoint_add(w, "/optimizer/vars/0", DLT_I64, &scalar, &step, diag) ||
           dlt_checkpoint_group(w, "/vars", "m", diag) ||
           dlt_checkpoint_text(w, "config", config, sizeof config - 1, diag));
    return dlt_checkpoint_finish(w, diag);
}

/* 0: holds exactly what save(step) wrote; 1: refused; 2: read without an error, but wrong */
static unsigned char look(const char *path, int64_t step)
{
    dlt_h5_file *file = NULL;
    dlt_checkpoint *c = NULL;
    const dlt_shape scalar = dlt_scalar();
    float read_kernel[6], read_bias[3];
    int64_t read_step = -1;
    char *text = NULL;
    dlt_diag *diag = dlt_diag_create();
    unsigned char result = 1;
    if (dlt_h5_open_inside(path, DLT_E_CHECKPOINT, &file, diag) == DLT_OK &&
        dlt_checkpoint_of_file(file, DLT_CHECKPOINT_OURS, &c, diag) == DLT_OK &&
        dlt_checkpoint_verify(c, diag) == DLT_OK && dlt_checkpoint_expect(c, "/layers/dense", 2, diag) == DLT_OK &&
        dlt_checkpoint_expect(c, "/optimizer", 1, diag) == DLT_OK &&
        dlt_checkpoint_expect(c, "/", 0, diag) == DLT_OK &&
        dlt_checkpoint_read(c, "/layers/dense/vars/0", DLT_F32, &DLT_SHAPE(2, 3), read_kernel, diag) == DLT_OK &&
        dlt_checkpoint_read(c, "/layers/dense/vars/1", DLT_F32, &DLT_SHAPE(3), read_bias, diag) == DLT_OK &&
        dlt_checkpoint_read(c, "/optimizer/vars/0", DLT_I64, &scalar, &read_step, diag) == DLT_OK &&
        dlt_checkpoint_read_text(c, "config", &text, NULL, diag) == DLT_OK) {
        result = memcmp(read_kernel, kernel, sizeof kernel) == 0 && memcmp(read_bias, bias, sizeof bias) == 0 &&
                         read_step == step && strcmp(text, config) == 0 && dlt_checkpoint_count(c) == 4
                     ? 0
                     : 2;
    }
    if (result == 1 && dlt_diag_size(diag) != 1) {
        result = 3; /* refused, but not with one message */
    } else if (result == 1 && getenv("DLT_TEST_SHOW") != NULL) {
        print_message("%s\n", dlt_diag_text(diag, 0));
    }
    dlt_free(text);
    dlt_checkpoint_close(c);
    dlt_diag_destroy(diag);
    return result;
}

/* ---- the fault table ---- */

typedef enum fault_mode {
    FAIL_ONCE,
    FAIL_ALWAYS,
    SHORT_ONCE,
    KILL_BEFORE,
    KILL_AFTER,
    KILL_HALF,
    TRICKLE
} fault_mode;

static struct faults {
    fault_mode mode;
    int error;
    unsigned long nth, calls; /* the call that fails, counted from 1 */
    bool hit;
    unsigned interrupted;
    char order[65536]; /* a letter for each call */
    size_t ordered;
} faults;

/* What this call is to do: 0 go on, an errno to fail with. */
static int decide(char letter)
{
    faults.calls++;
    if (faults.ordered < sizeof faults.order - 1) {
        faults.order[faults.ordered++] = letter;
    }
    const bool now = faults.calls == faults.nth || (faults.mode == FAIL_ALWAYS && faults.calls > faults.nth);
    if (!now || faults.mode == TRICKLE) {
        return 0;
    }
    faults.hit = true;
    if (faults.mode == KILL_BEFORE) {
        kill(getpid(), SIGKILL);
    }
    return faults.mode == FAIL_ONCE || faults.mode == FAIL_ALWAYS ? faults.error : 0;
}

static void after(void)
{
    if (faults.mode == KILL_AFTER && faults.calls == faults.nth) {
        kill(getpid(), SIGKILL);
    }
}

/* How many bytes of a transfer are let through; 0: it is interrupted instead. */
static size_t portion(size_t bytes)
{
    if (faults.mode == TRICKLE) {
        if (++faults.interrupted % 3 == 0) {
            return 0;
        }
        const size_t most = 1 + faults.calls % 97;
        return bytes < most ? bytes : most;
    }
    const bool half =
        (faults.mode == SHORT_ONCE || faults.mode == KILL_HALF) && faults.calls == faults.nth && bytes > 1;
    return half ? bytes / 2 : bytes;
}

#define INJECT(letter)                                                                                               \
    const int error = decide(letter);                                                                                \
    if (error != 0) {                                                                                                \
        errno = error;                                                                                               \
        return -1;                                                                                                   \
    }
#define TRANSFER(call)                                                                                               \
    const size_t part = portion(bytes);                                                                              \
    if (part == 0 && bytes > 0) {                                                                                    \
        errno = EINTR;                                                                                               \
        return -1;                                                                                                   \
    }                                                                                                                \
    const ssize_t n = call;                                                                                          \
    if (faults.mode == KILL_HALF && faults.calls == faults.nth) {                                                    \
        kill(getpid(), SIGKILL);                                                                                     \
    }                                                                                                                \
    after();                                                                                                         \
    return n

static int fault_open(const char *path, int flags, mode_t mode)
{
    INJECT((flags & O_DIRECTORY) != 0 ? 'D' : (flags & O_CREAT) != 0 ? 'C' : 'o')
    const int result = open(path, flags, mode);
    after();
    return result;
}
static int fault_close(int fd)
{
    const int error = decide('c'); /* as on Linux, the descriptor is gone whatever close says */
    const int result = close(fd);
    after();
    errno = error;
    return error != 0 ? -1 : result;
}
static ssize_t fault_read(int fd, void *data, size_t bytes)
{
    INJECT('r')
    TRANSFER(read(fd, data, part));
}
static ssize_t fault_pread(int fd, void *data, size_t bytes, off_t offset)
{
    INJECT('r')
    TRANSFER(pread(fd, data, part, offset));
}
static ssize_t fault_write(int fd, const void *data, size_t bytes)
{
    INJECT('w')
    TRANSFER(write(fd, data, part));
}
static ssize_t fault_pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    INJECT('w')
    TRANSFER(pwrite(fd, data, part, offset));
}
static int fault_ftruncate(int fd, off_t bytes)
{
    INJECT('w')
    const int result = ftruncate(fd, bytes);
    after();
    return result;
}
static int fault_fsync(int fd)
{
    INJECT('S')
    const int result = fsync(fd);
    after();
    return result;
}
static int fault_fstat(int fd, struct stat *status)
{
    INJECT('s')
    return fstat(fd, status);
}
static int fault_rename_new(const char *from, const char *to)
{
    INJECT('R')
    const int result = dlt_file_system()->rename_new(from, to);
    after();
    return result;
}
static int fault_unlink(const char *path)
{
    INJECT('u')
    const int result = unlink(path);
    after();
    return result;
}

static void install_faults(fault_mode mode, int error, unsigned long nth)
{
    static dlt_file_ops ops;
    ops = *dlt_file_system();
    ops.open = fault_open;
    ops.close = fault_close;
    ops.read = fault_read;
    ops.pread = fault_pread;
    ops.write = fault_write;
    ops.pwrite = fault_pwrite;
    ops.ftruncate = fault_ftruncate;
    ops.fsync = fault_fsync;
    ops.fstat = fault_fstat;
    ops.rename_new = fault_rename_new;
    ops.unlink = fault_unlink;
    faults = (struct faults){.mode = mode, .error = error, .nth = nth};
    dlt_file_install(&ops);
}

/* ---- the tests ---- */

typedef struct fixture {
    char *folder;
    char old_path[2048], new_path[2048];
    char *old;
    size_t old_bytes;
    dlt_checkpoint_folder *shelf;
} fixture;

static int setup(void **state)
{
    static fixture f;
    f = (fixture){.folder = dlt_scratch_create("faults")};
    *state = &f;
    snprintf(f.old_path, sizeof f.old_path, "%s/step-000000000001.weights.h5", f.folder);
    snprintf(f.new_path, sizeof f.new_path, "%s/step-000000000002.weights.h5", f.folder);
    if (save(f.old_path, 1, NULL) != DLT_OK || dlt_checkpoint_folder_open(f.folder, &f.shelf, NULL) != DLT_OK) {
        return 1;
    }
    f.old = dlt_scratch_load(f.old_path, &f.old_bytes);
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    dlt_file_install(NULL);
    free(f->old);
    dlt_checkpoint_folder_close(f->shelf);
    dlt_scratch_destroy(f->folder);
    return 0;
}

/* The old file is as it was; the new one is there and whole (true), or not there. Then the folder is made as before. */
static bool settle(fixture *f, bool leftover_allowed)
{
    size_t bytes = 0, removed = 0;
    char *old = dlt_scratch_load(f->old_path, &bytes);
    assert_int_equal(bytes, f->old_bytes);
    assert_memory_equal(old, f->old, bytes);
    free(old);
    const bool there = access(f->new_path, F_OK) == 0;
    if (there) {
        assert_int_equal(look(f->new_path, 2), 0);
        unlink(f->new_path);
    }
    assert_int_equal(dlt_checkpoint_clean(f->shelf, &removed, NULL), DLT_OK);
    assert_true(removed <= (leftover_allowed ? 1 : 0));
    assert_int_equal(dlt_scratch_count(f->folder), 1);
    return there;
}

static void the_steps_of_a_save_stand_in_order(void **state)
{
    fixture *f = *state;
    install_faults(FAIL_ONCE, 0, 0);
    assert_int_equal(save(f->new_path, 2, NULL), DLT_OK);
    dlt_file_install(NULL);
    const char *order = faults.order, *create = strchr(order, 'C'), *sync = strchr(order, 'S');
    const char *last_write = strrchr(order, 'w'), *rename = strchr(order, 'R');
    const char *again = sync != NULL ? strchr(sync, 'o') : NULL;
    const char *folder_sync = rename != NULL ? strchr(rename, 'S') : NULL;
    print_message("%zu calls: %s\n", strlen(order), order);
    assert_true(create == order && last_write != NULL && sync != NULL && again != NULL && rename != NULL);
    assert_true(last_write < sync && sync < again && strchr(again, 'r') < rename);
    assert_true(folder_sync != NULL && strchr(rename, 'D') < folder_sync);
    assert_null(strchr(order, 'u'));
    assert_true(settle(f, false));
}

static void every_call_may_fail(void **state)
{
    fixture *f = *state;
    static const int errors[] = {ENOSPC, EIO, EDQUOT, EFBIG, EINTR, ESTALE};
    size_t saves = 0, whole = 0;
    for (size_t e = 0; e < DLT_COUNT(errors); e++) {
        for (fault_mode mode = FAIL_ONCE; mode <= SHORT_ONCE; mode++) {
            if ((mode == SHORT_ONCE && e > 0) ||
                (mode == FAIL_ALWAYS && errors[e] == EINTR)) { /* a loop for ever, rightly */
                continue;
            }
            bool hit = true;
            for (unsigned long n = 1; hit; n++) {
                dlt_diag *diag = dlt_diag_create();
                install_faults(mode, errors[e], n);
                const dlt_status status = save(f->new_path, 2, diag);
                dlt_file_install(NULL);
                hit = faults.hit;
                saves++;
                if (status == DLT_OK) {
                    assert_int_equal(dlt_diag_size(diag), 0);
                    assert_true(settle(f, false));
                    whole++;
                } else {
                    assert_int_equal(status, DLT_E_CHECKPOINT);
                    assert_int_equal(dlt_diag_size(diag), 1);
                    /* the new file may stand only where nothing but the sync of the folder failed */
                    const bool renamed = memchr(faults.order, 'R', faults.ordered) != NULL;
                    const bool there = settle(f, mode == FAIL_ALWAYS);
                    assert_true(!there || renamed);
                }
                assert_true(status == DLT_OK || hit);
                assert_true(mode != SHORT_ONCE || status == DLT_OK);
                dlt_diag_destroy(diag);
            }
        }
    }
    print_message("%zu saves with a fault, %zu of them whole all the same\n", saves, whole);
}

static void short_and_interrupted_transfers_are_loops(void **state)
{
    fixture *f = *state;
    install_faults(TRICKLE, 0, 0);
    assert_int_equal(save(f->new_path, 2, NULL), DLT_OK);
    dlt_file_install(NULL);
    assert_true(faults.interrupted > 300);
    assert_true(settle(f, false));
}

static void a_kill_at_any_call_leaves_the_old_one(void **state)
{
    fixture *f = *state;
    size_t kills = 0, whole = 0;
    for (fault_mode mode = KILL_BEFORE; mode <= KILL_HALF; mode++) {
        bool killed = true;
        for (unsigned long n = 1; killed; n++) {
            fflush(NULL);
            const pid_t child = fork();
            if (child == 0) {
                install_faults(mode, 0, n);
                _exit(save(f->new_path, 2, NULL) == DLT_OK && faults.calls < n ? 0 : 1);
            }
            int status = 0;
            assert_true(child > 0 && waitpid(child, &status, 0) == child);
            killed = WIFSIGNALED(status);
            if (killed) {
                assert_int_equal(WTERMSIG(status), SIGKILL);
                kills++;
            } else if (WEXITSTATUS(status) != 0) { /* a call that is not cut in half, or one that is not there */
                assert_int_equal(mode == KILL_BEFORE, false);
                killed = true;
            }
            whole += settle(f, true);
        }
    }
    print_message("%zu kills, the new file was whole after %zu saves\n", kills, whole);
}

static void refused_memory_while_saving_is_one_error(void **state)
{
    fixture *f = *state;
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        dlt_diag *diag = dlt_diag_create();
        const uint64_t before = dlt_alloc_fail_at(n, false);
        const dlt_status status = save(f->new_path, 2, diag);
        failed = dlt_alloc_fail_at(0, false) > before;
        if (!failed) {
            assert_int_equal(status, DLT_OK);
        } else if (status != DLT_OK) { /* libhdf5 asks the driver for memory: its refusal is a failed open */
            assert_true(status == DLT_E_MEMORY || status == DLT_E_CHECKPOINT);
            assert_true(dlt_diag_size(diag) >= 1);
        }
        settle(f, false);
        dlt_diag_destroy(diag);
    }
}

/* ---- damage ---- */

typedef struct flips {
    const char *path;
    const char *data;
    size_t bytes, stride;
} flips;

static size_t bit_of(const flips *p, size_t i)
{
    return i * p->stride + i * 5 % p->stride;
}

static void put_byte(const char *path, size_t at, char value)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || pwrite(fd, &value, 1, (off_t)at) != 1) {
        _exit(99);
    }
    close(fd);
}

static unsigned char flip_and_look(void *context, size_t i)
{
    const flips *p = context;
    if (i > 0) { /* the last worker may have died before it could undo its flip */
        const size_t before = bit_of(p, i - 1) / 8;
        put_byte(p->path, before, p->data[before]);
    }
    const size_t bit = bit_of(p, i);
    put_byte(p->path, bit / 8, (char)(p->data[bit / 8] ^ 1 << bit % 8));
    return look(p->path, 1);
}

static unsigned char cut_and_look(void *context, size_t length)
{
    const flips *p = context;
    dlt_scratch_save(p->path, p->data, length);
    return look(p->path, 1);
}

static void tally(const unsigned char *results, size_t count, size_t tallied[256])
{
    memset(tallied, 0, 256 * sizeof *tallied);
    for (size_t i = 0; i < count; i++) {
        tallied[results[i]]++;
    }
}

static void every_flipped_bit_is_found_or_without_effect(void **state)
{
    fixture *f = *state;
    size_t seen[256];
    dlt_scratch_save(f->new_path, f->old, f->old_bytes);
    /* sanitizers make this ten times as slow and look for other things: one bit of each byte is enough for them */
    flips p = {.path = f->new_path, .data = f->old, .bytes = f->old_bytes, .stride = DLT_SANITIZED ? 8 : 1};
    const size_t count = 8 * f->old_bytes / p.stride;
    unsigned char *results = calloc(count, 1);
    assert_non_null(results);
    dlt_sweep(count, flip_and_look, &p, results);
    tally(results, count, seen);
    print_message("%zu bytes, %zu bits flipped: %zu found, %zu killed the reader (found), %zu without effect\n",
                  f->old_bytes, count, seen[1], seen[DLT_SWEEP_DIED], seen[0]);
    assert_int_equal(seen[0] + seen[1] + seen[DLT_SWEEP_DIED], count); /* none was read wrong */
    /* all bits of what is loaded are found: look for the bytes of each dataset and of the manifest */
    bool *loaded = calloc(f->old_bytes, sizeof *loaded);
    assert_non_null(loaded);
    const char *manifest = memmem(f->old, f->old_bytes, "dltrain checkpoint 1\n", 21);
    assert_non_null(manifest);
    const struct {
        const void *data;
        size_t bytes;
    } parts[] = {
        {kernel, sizeof kernel}, {bias, sizeof bias}, {config, sizeof config - 1}, {manifest, strlen(manifest)}};
    assert_true(parts[3].bytes > 400);
    for (size_t k = 0; k < DLT_COUNT(parts); k++) {
        const char *at = memmem(f->old, f->old_bytes, parts[k].data, parts[k].bytes);
        assert_non_null(at);
        memset(loaded + (at - f->old), 1, parts[k].bytes);
    }
    size_t checked = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(!loaded[bit_of(&p, i) / 8] || results[i] == 1);
        checked += loaded[bit_of(&p, i) / 8];
    }
    assert_true(checked * p.stride > 8 * 400);
    free(loaded);
    free(results);
    unlink(f->new_path);
}

static void a_checkpoint_cut_short_anywhere_is_refused(void **state)
{
    fixture *f = *state;
    size_t seen[256];
    flips p = {.path = f->new_path, .data = f->old, .bytes = f->old_bytes};
    unsigned char *results = calloc(f->old_bytes + 1, 1);
    assert_non_null(results);
    dlt_sweep(f->old_bytes + 1, cut_and_look, &p, results);
    assert_int_equal(results[f->old_bytes], 0);
    tally(results, f->old_bytes, seen);
    assert_int_equal(seen[1] + seen[DLT_SWEEP_DIED], f->old_bytes);
    free(results);
    unlink(f->new_path);
}

int main(int argc, char **argv)
{
    dlt_h5_child_main(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_steps_of_a_save_stand_in_order),         TEST(every_call_may_fail),
        TEST(short_and_interrupted_transfers_are_loops),  TEST(a_kill_at_any_call_leaves_the_old_one),
        TEST(refused_memory_while_saving_is_one_error),   TEST(every_flipped_bit_is_found_or_without_effect),
        TEST(a_checkpoint_cut_short_anywhere_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
