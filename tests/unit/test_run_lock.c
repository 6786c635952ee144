/* tests/unit/test_run_lock.c: a run directory has one owner at a time, whatever became of the one before. */
#include "support/scratch.h"
#include "support/support.h"

#include "base/linux_process.h"
#include "io/file.h"
#include "trainer/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* libc's, unless a file system without such locks is wanted: this one stands before it. */
static bool no_locks;
int flock(int fd, int operation)
{
    if (no_locks) {
        errno = ENOLCK;
        return -1;
    }
    return (int)syscall(SYS_flock, fd, operation);
}

typedef struct fixture {
    char *folder;
    char lock[2048], host[256], boot[64];
    dlt_diag *diag;
} fixture;

static int setup(void **state)
{
    static fixture f;
    f = (fixture){.folder = dlt_scratch_create("lock"), .diag = dlt_diag_create()};
    snprintf(f.lock, sizeof f.lock, "%s/lock", f.folder);
    gethostname(f.host, sizeof f.host - 1);
    dlt_boot_name(f.boot, sizeof f.boot);
    no_locks = false;
    dlt_run_lock_set_times(30, 900);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    dlt_diag_destroy(f->diag);
    dlt_scratch_destroy(f->folder);
    return 0;
}

static void put_lock(const fixture *f, const char *host, long process, const char *boot,
                     unsigned long long started, const char *how)
{
    char line[512];
    const int length = snprintf(line, sizeof line, "%s %ld %s %llu %s\n", host, process, boot, started, how);
    dlt_scratch_save(f->lock, line, (size_t)length);
}

/* The number of a process that is no more. */
static long dead_process(void)
{
    const pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    assert_true(child > 0 && waitpid(child, NULL, 0) == child);
    return (long)child;
}

/* A process that waits to be killed. */
static pid_t sleeping_process(void)
{
    const pid_t child = fork();
    if (child == 0) {
        for (;;) {
            pause();
        }
    }
    assert_true(child > 0);
    return child;
}

static void end_process(pid_t child)
{
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void is_taken_over(fixture *f, const char *words)
{
    dlt_run_lock *lock = NULL;
    dlt_diag_reset(f->diag);
    assert_int_equal(dlt_run_lock_take(f->folder, &lock, f->diag), DLT_OK);
    assert_int_equal(dlt_diag_size(f->diag), 1);
    assert_non_null(strstr(dlt_diag_text(f->diag, 0), "took over"));
    assert_non_null(strstr(dlt_diag_text(f->diag, 0), words));
    dlt_run_lock_release(lock);
    assert_int_equal(dlt_scratch_count(f->folder), 0);
}

static void is_refused(fixture *f, const char *words)
{
    dlt_run_lock *lock = NULL;
    dlt_diag_reset(f->diag);
    assert_int_equal(dlt_run_lock_take(f->folder, &lock, f->diag), DLT_E_CHECKPOINT);
    assert_null(lock);
    assert_int_equal(dlt_diag_size(f->diag), 1);
    assert_non_null(strstr(dlt_diag_text(f->diag, 0), "is in use by"));
    assert_non_null(strstr(dlt_diag_text(f->diag, 0), words));
    assert_int_equal(dlt_scratch_count(f->folder), 1);
}

static void a_lock_is_there_while_it_is_held(void **state)
{
    fixture *f = *state;
    dlt_run_lock *lock = NULL;
    assert_int_equal(dlt_run_lock_take(f->folder, &lock, f->diag), DLT_OK);
    assert_int_equal(dlt_diag_size(f->diag), 0);
    assert_int_equal(dlt_scratch_count(f->folder), 1);
    assert_int_equal(access(f->lock, F_OK), 0);
    assert_int_equal(dlt_run_lock_check(lock, f->diag), DLT_OK);
    is_refused(f, "in use by process"); /* by itself, too */
    dlt_run_lock_release(lock);
    assert_int_equal(dlt_scratch_count(f->folder), 0);
}

/* A child that takes the lock and keeps it; *told: what came of it. */
static pid_t owner_process(const fixture *f, char *told)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        dlt_run_lock *lock = NULL;
        const char answer = dlt_run_lock_take(f->folder, &lock, f->diag) == DLT_OK ? 'W' : 'R';
        if (write(ends[1], &answer, 1) != 1) {
            _exit(1);
        }
        for (;;) {
            pause();
        }
    }
    assert_int_equal(read(ends[0], told, 1), 1);
    close(ends[0]);
    close(ends[1]);
    return child;
}

static void a_live_owner_is_named_and_a_dead_one_replaced(void **state)
{
    fixture *f = *state;
    for (int locks = 0; locks < 2; locks++) {
        no_locks = locks == 0;
        char told = 0, words[400];
        const pid_t child = owner_process(f, &told);
        assert_int_equal(told, 'W');
        snprintf(words, sizeof words, "process %ld on %s", (long)child, f->host);
        is_refused(f, words);
        kill(child, SIGSTOP); /* asleep is not dead */
        is_refused(f, words);
        kill(child, SIGKILL);
        siginfo_t ended; /* ended, but its parent has not asked yet: nobody is at work */
        assert_int_equal(waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT), 0);
        is_taken_over(f, words);
        assert_int_equal(waitpid(child, NULL, 0), child);
    }
}

static void a_number_that_is_used_again_is_another_process(void **state)
{
    fixture *f = *state;
    const pid_t child = sleeping_process();
    const unsigned long long started = dlt_process_started((long)child);
    assert_true(started > 0);
    put_lock(f, f->host, (long)child, f->boot, started, "-");
    is_refused(f, "in use by process");
    put_lock(f, f->host, (long)child, f->boot, started - 1, "-");
    is_taken_over(f, "which is gone");
    put_lock(f, f->host, (long)child, f->boot, 0, "-"); /* not known when it began: it may be the one */
    is_refused(f, "in use by process");
    put_lock(f, f->host, (long)child, "another-boot", started, "-");
    is_taken_over(f, "which is gone");
    put_lock(f, f->host, (long)child, f->boot, started, "locked"); /* but the kernel has no such lock */
    is_taken_over(f, "which is gone");
    end_process(child);
}

static void one_of_another_machine_is_gone_when_its_signs_of_life_end(void **state)
{
    fixture *f = *state;
    put_lock(f, "far-away", 7, "its-boot", 99, "locked");
    is_refused(f, "process 7 on far-away");
    struct timespec now, times[2];
    clock_gettime(CLOCK_REALTIME, &now);
    times[0] = times[1] = (struct timespec){.tv_sec = now.tv_sec - 800};
    assert_int_equal(utimensat(AT_FDCWD, f->lock, times, 0), 0);
    is_refused(f, "process 7 on far-away");
    times[0] = times[1] = (struct timespec){.tv_sec = now.tv_sec - 1000};
    assert_int_equal(utimensat(AT_FDCWD, f->lock, times, 0), 0);
    is_taken_over(f, "process 7 on far-away");
    /* the same kernel by another name, and its lock is free */
    put_lock(f, "container", 7, f->boot, 99, "locked");
    is_taken_over(f, "process 7 on container");
}

static void a_damaged_lock_is_replaced(void **state)
{
    fixture *f = *state;
    static const char zeros[100];
    static const struct {
        const char *text;
        size_t bytes;
    } damaged[] = {
        {"", 0}, {zeros, sizeof zeros}, {"somewhere 17", 12}, {"somewhere 17 boot 5 lo", 22}, {"a b c\n", 6}};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        dlt_scratch_save(f->lock, damaged[i].text, damaged[i].bytes);
        is_taken_over(f, "its lock is damaged");
    }
    char old[400]; /* as earlier versions wrote it */
    const int length = snprintf(old, sizeof old, "%s %ld %s\n", f->host, (long)getppid(), f->boot);
    dlt_scratch_save(f->lock, old, (size_t)length);
    is_refused(f, "in use by process");
}

static void what_a_killed_taker_left_is_no_hindrance(void **state)
{
    fixture *f = *state;
    char left[2100];
    dlt_run_lock *lock = NULL;
    snprintf(left, sizeof left, "%s.tmp-%ld", f->lock, (long)getpid());
    dlt_scratch_save(left, "half", 4);
    assert_int_equal(dlt_run_lock_take(f->folder, &lock, f->diag), DLT_OK);
    assert_int_equal(dlt_scratch_count(f->folder), 1);
    dlt_run_lock_release(lock);
}

static void signs_of_life_are_given_by_themselves(void **state)
{
    fixture *f = *state;
    dlt_run_lock *lock = NULL;
    struct stat seen;
    dlt_run_lock_set_times(0.01, 900);
    assert_int_equal(dlt_run_lock_take(f->folder, &lock, f->diag), DLT_OK);
    for (int beats = 0; beats < 3; beats++) { /* the owner does nothing: a step of hours */
        const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
        assert_int_equal(utimensat(AT_FDCWD, f->lock, old, 0), 0);
        seen.st_mtim.tv_sec = 1000;
        for (int waits = 0; waits < 1000 && seen.st_mtim.tv_sec == 1000; waits++) {
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
            assert_int_equal(stat(f->lock, &seen), 0);
        }
        assert_true(seen.st_mtim.tv_sec > 1000);
    }
    dlt_run_lock_release(lock);
}

static void an_owner_notices_that_it_was_replaced(void **state)
{
    fixture *f = *state;
    dlt_run_lock *lock = NULL;
    assert_int_equal(dlt_run_lock_take(f->folder, &lock, f->diag), DLT_OK);
    unlink(f->lock); /* by a user: nobody else is there */
    assert_int_equal(dlt_run_lock_check(lock, f->diag), DLT_OK);
    put_lock(f, "far-away", 7, "its-boot", 99, "locked");
    assert_int_equal(dlt_run_lock_check(lock, f->diag), DLT_E_CHECKPOINT);
    assert_non_null(strstr(dlt_diag_text(f->diag, 0), "taken over by another process"));
    dlt_run_lock_release(lock);
    assert_int_equal(access(f->lock, F_OK), 0); /* the new owner's stays */
}

/* A taker is held up just before it puts its lock in place: what it looked at may be long past by then. */
static int late_rename(const char *from, const char *to)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)(getpid() % 4) * 1000000}, NULL);
    return rename(from, to);
}

static int late_rename_new(const char *from, const char *to)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)(getpid() % 4) * 1000000}, NULL);
    return dlt_file_system()->rename_new(from, to);
}

/* Several processes want it at the same moment; how many have it then. */
static int winners(const fixture *f, int takers)
{
    int start[2], answers[2], won = 0;
    pid_t children[16];
    assert_true(takers <= 16 && pipe(start) == 0 && pipe(answers) == 0);
    for (int i = 0; i < takers; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            char c;
            dlt_run_lock *lock = NULL;
            close(start[1]);
            (void)!read(start[0], &c, 1); /* until all begin */
            c = dlt_run_lock_take(f->folder, &lock, f->diag) == DLT_OK ? 'W'
                : strstr(dlt_diag_text(f->diag, dlt_diag_size(f->diag) - 1), "in use by") ||
                        strstr(dlt_diag_text(f->diag, dlt_diag_size(f->diag) - 1), "at the same moment")
                    ? 'R'
                    : '?';
            (void)!write(answers[1], &c, 1);
            for (;;) { /* nobody lets go before all have tried */
                pause();
            }
        }
        assert_true(children[i] > 0);
    }
    close(start[0]);
    close(start[1]);
    for (int i = 0; i < takers; i++) {
        char c = 0;
        assert_int_equal(read(answers[0], &c, 1), 1);
        assert_true(c == 'W' || c == 'R');
        won += c == 'W';
    }
    for (int i = 0; i < takers; i++) {
        end_process(children[i]);
    }
    close(answers[0]);
    close(answers[1]);
    return won;
}

static void of_several_takers_one_wins(void **state)
{
    fixture *f = *state;
    enum { TIMES = 100, TAKERS = 4 };
    const long dead = dead_process();
    dlt_file_ops late = *dlt_file_system();
    late.rename = late_rename;
    late.rename_new = late_rename_new;
    for (int i = 0; i < TIMES; i++) {
        dlt_file_install(i % 2 == 0 ? &late : NULL);
        assert_int_equal(winners(f, TAKERS), 1); /* the lock is that of the dead winner of the time before */
        if (i % 4 == 0) {
            unlink(f->lock);
        } else if (i % 4 == 1) {
            dlt_scratch_save(f->lock, "", 0);
        } else if (i % 4 == 2) {
            put_lock(f, f->host, dead, f->boot, 12345, "-");
        }
    }
    no_locks = true;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(winners(f, TAKERS), 1);
    }
    dlt_file_install(NULL);
}

/* ---- a folder that becomes a run while it is looked at ---- */

static char made_meanwhile[2048]; /* run.json of a run that another process makes as soon as this one has not found it */

static int stat_then_make(const char *path, struct stat *status)
{
    const int found = dlt_file_system()->stat(path, status), why = errno;
    if (strcmp(path, made_meanwhile) == 0 && found != 0) {
        dlt_scratch_save(path, "{}\n", 3);
    }
    errno = why;
    return found;
}

static void a_run_that_another_process_makes_is_no_strangers_folder(void **state)
{
    fixture *f = *state;
    dlt_file_ops ops = *dlt_file_system();
    ops.stat = stat_then_make;
    snprintf(made_meanwhile, sizeof made_meanwhile, "%s/run.json", f->folder);
    dlt_file_install(&ops);
    const dlt_status status = dlt_rundir_create_at(f->folder, false, f->diag);
    dlt_file_install(NULL);
    assert_int_equal(access(made_meanwhile, F_OK), 0);
    assert_int_equal(status, DLT_E_CHECKPOINT);
    assert_int_equal(dlt_diag_size(f->diag), 1);
    assert_non_null(strstr(dlt_diag_text(f->diag, 0), "holds a run already"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_lock_is_there_while_it_is_held),
        TEST(a_live_owner_is_named_and_a_dead_one_replaced),
        TEST(a_number_that_is_used_again_is_another_process),
        TEST(one_of_another_machine_is_gone_when_its_signs_of_life_end),
        TEST(a_damaged_lock_is_replaced),
        TEST(what_a_killed_taker_left_is_no_hindrance),
        TEST(signs_of_life_are_given_by_themselves),
        TEST(an_owner_notices_that_it_was_replaced),
        TEST(of_several_takers_one_wins),
        TEST(a_run_that_another_process_makes_is_no_strangers_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
