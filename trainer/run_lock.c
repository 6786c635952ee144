/* trainer/run_lock.c: who is at work in a run directory.
 *
 * RUN/lock is one line: host, process, boot, start of the process, and whether it holds the kernel's lock
 * (flock) on the file, which it does for as long as it lives wherever the file system has such locks. Its
 * time of change is the last sign of life.
 *
 * The file appears whole, by a rename of one that was written and synced. It is replaced, again by one
 * rename, only by a process that holds the kernel's lock on the very file that it replaces: of several that
 * find a dead owner's lock one wins, and the others find a live owner's. Where the file system has no locks
 * the last of several renames wins, and each looks again after a while whether it was the last. */
#include "trainer/rundir.h"

#include "base/alloc.h"
#include "base/linux_process.h"
#include "base/num.h"
#include "base/text.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { ATTEMPTS = 60, PAUSE_MS = 50, SETTLE_MS = 300, LINE = 512 };
static const dlt_pos nowhere = {0};
static _Atomic double beat_s = 30, stale_s = 900;

struct dlt_run_lock {
    char *path, *run;
    int fd; /* of the file, with the kernel's lock */
    dev_t device;
    ino_t inode; /* of the file */
    pthread_t heart;
    bool beating, stopping;
    pthread_mutex_t guard;
    pthread_cond_t changed;
};

void dlt_run_lock_set_times(double beat, double stale)
{
    atomic_store(&beat_s, beat);
    atomic_store(&stale_s, stale);
}

static void pause_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

/* ---- owners ---- */

typedef struct owner {
    char host[256], boot[64];
    long process;
    unsigned long long started; /* 0: not known */
    bool locked;                /* holds the kernel's lock while it lives */
} owner;

static void this_owner(owner *me)
{
    *me = (owner){.process = (long)getpid()};
    if (gethostname(me->host, sizeof me->host) != 0 || me->host[0] == '\0') {
        snprintf(me->host, sizeof me->host, "unknown");
    }
    me->host[sizeof me->host - 1] = '\0';
    dlt_boot_name(me->boot, sizeof me->boot);
    if (me->boot[0] == '\0') {
        snprintf(me->boot, sizeof me->boot, "-");
    }
    me->started = dlt_process_started(me->process);
}

/* The next word of a line, copied; false if there is none, or it is too long. */
static bool next_word(const char **at, char *word, size_t room)
{
    *at += strspn(*at, " ");
    const size_t length = strcspn(*at, " \n");
    if (length == 0 || length >= room) {
        return false;
    }
    snprintf(word, room, "%.*s", (int)length, *at);
    *at += length;
    return true;
}

static bool next_number(const char **at, int64_t *number)
{
    char word[24];
    return next_word(at, word, sizeof word) && dlt_parse_i64(word, strlen(word), number) && *number >= 0;
}

/* HOST PROCESS BOOT [STARTED [HOW]]: a line that is whole. */
static bool parse_owner(const char *text, owner *out)
{
    char how[16] = "";
    int64_t process = 0, started = 0;
    *out = (owner){0};
    if (strchr(text, '\n') == NULL || !next_word(&text, out->host, sizeof out->host) ||
        !next_number(&text, &process) || process < 1 || process > INT_MAX || !next_word(&text, out->boot, sizeof out->boot)) {
        return false;
    }
    out->process = (long)process;
    if (next_number(&text, &started) && next_word(&text, how, sizeof how)) {
        out->locked = strcmp(how, "locked") == 0;
    }
    out->started = (unsigned long long)started;
    return true;
}

/* What is known of a lock that stands in the way. */
typedef struct finding {
    int fd;
    struct stat seen;
    bool has_locks, held; /* the file system has such locks; we hold it now */
    bool known;
    owner other;
} finding;

static bool is_alive(const owner *other)
{
    const uint64_t started = dlt_process_started(other->process);
    return started != 0 && (other->started == 0 || other->started == started);
}

/* True if the owner cannot be at work any more. now: the file server's time, from a file just written. */
static bool is_gone(const finding *f, const owner *me, const struct timespec *now)
{
    const owner *o = &f->other;
    const bool same_boot = strcmp(o->boot, me->boot) == 0;
    if (!f->known || (f->held && o->locked && same_boot)) {
        return true; /* the kernel that knows the owner has given us its lock */
    }
    if (strcmp(o->host, me->host) == 0) {
        return !same_boot || !is_alive(o);
    }
    const double age = (double)(now->tv_sec - f->seen.st_mtim.tv_sec) +
                       1e-9 * (double)(now->tv_nsec - f->seen.st_mtim.tv_nsec);
    return age > atomic_load(&stale_s);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/* Opens the lock that stands there. false: it is not there any more, or another one by now. */
static bool look(const char *file, finding *f)
{
    struct stat named;
    char text[LINE];
    *f = (finding){.fd = dlt_file()->open(file, O_RDWR | O_CLOEXEC | O_NONBLOCK, 0)};
    if (f->fd < 0 && (errno == EACCES || errno == EPERM || errno == EROFS)) {
        f->fd = dlt_file()->open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    }
    if (f->fd < 0) {
        return false;
    }
    f->held = flock(f->fd, LOCK_EX | LOCK_NB) == 0;
    f->has_locks = f->held || errno == EWOULDBLOCK;
    const ssize_t bytes = dlt_file()->pread(f->fd, text, sizeof text - 1, 0);
    text[bytes > 0 ? bytes : 0] = '\0';
    f->known = parse_owner(text, &f->other);
    if (bytes >= 0 && dlt_file()->fstat(f->fd, &f->seen) == 0 && dlt_file()->stat(file, &named) == 0 &&
        same_file(&named, &f->seen)) {
        return true;
    }
    dlt_file()->close(f->fd);
    return false;
}

/* ---- taking ---- */

/* Writes a lock of ours under a name of its own, with the kernel's lock on it. */
static dlt_status prepare(const char *name, owner *me, int *fd, struct stat *seen, dlt_diag *diag)
{
    char line[LINE];
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
    *fd = dlt_file()->open(name, flags, 0666);
    if (*fd < 0 && errno == EEXIST) { /* left by a process of this number that was killed */
        dlt_file()->unlink(name);
        *fd = dlt_file()->open(name, flags, 0666);
    }
    if (*fd < 0) {
        return dlt_fail(diag, DLT_E_CHECKPOINT, nowhere, "cannot create '%s': %s", name, strerror(errno));
    }
    me->locked = flock(*fd, LOCK_EX | LOCK_NB) == 0;
    const int length = snprintf(line, sizeof line, "%s %ld %s %llu %s\n", me->host, me->process, me->boot,
                                me->started, me->locked ? "locked" : "-");
    dlt_status status = dlt_file_write(*fd, name, line, (size_t)length, DLT_E_CHECKPOINT, diag);
    if (status == DLT_OK && (dlt_file()->fsync(*fd) != 0 || dlt_file()->fstat(*fd, seen) != 0)) {
        status = dlt_fail(diag, DLT_E_CHECKPOINT, nowhere, "cannot write '%s': %s", name, strerror(errno));
    }
    return status;
}

static dlt_status refuse(const char *run, const char *file, const finding *f, dlt_diag *diag)
{
    return f->known ? dlt_fail(diag, DLT_E_CHECKPOINT, nowhere,
                               "'%s' is in use by process %ld on %s; wait for it, or delete '%s' if you know "
                               "that it is gone",
                               run, f->other.process, f->other.host, file)
                    : dlt_fail(diag, DLT_E_CHECKPOINT, nowhere,
                               "'%s' is in use by another process; wait for it, or delete '%s' if you know "
                               "that it is gone",
                               run, file);
}

/* Looks once more whether the lock is ours: without the kernel's locks a later rename may have replaced it, and
 * processes of one number on two machines have one name for what they prepare. */
static dlt_status confirm(const char *run, const char *file, const struct stat *ours, dlt_diag *diag)
{
    struct stat named;
    return dlt_file()->stat(file, &named) == 0 && !same_file(&named, ours)
               ? dlt_fail(diag, DLT_E_CHECKPOINT, nowhere, "'%s' was taken by another process at the same moment",
                          run)
               : DLT_OK;
}

/* Puts our lock in the place of a dead owner's. */
static dlt_status replace(const char *run, const char *file, const char *name, const struct stat *ours,
                          const finding *f, dlt_diag *diag)
{
    if (dlt_file()->rename(name, file) != 0) {
        return dlt_fail(diag, DLT_E_CHECKPOINT, nowhere, "cannot take '%s': %s", file, strerror(errno));
    }
    if (!f->has_locks) {
        pause_ms(SETTLE_MS);
    }
    DLT_TRY(confirm(run, file, ours, diag));
    if (f->known) {
        dlt_warn(diag, nowhere, "took over '%s' from process %ld on %s, which is gone", run, f->other.process,
                 f->other.host);
    } else {
        dlt_warn(diag, nowhere, "took over '%s' from a process that is not known: its lock is damaged", run);
    }
    return DLT_OK;
}

/* Gives the lock written as `name` its place. */
static dlt_status put_in_place(const char *run, const char *file, const char *name, const struct stat *ours,
                               const owner *me, dlt_diag *diag)
{
    finding f = {.fd = -1};
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (dlt_file()->rename_new(name, file) == 0) {
            return confirm(run, file, ours, diag);
        }
        if (errno != EEXIST) {
            return dlt_fail(diag, DLT_E_CHECKPOINT, nowhere, "cannot create '%s': %s", file, strerror(errno));
        }
        if (!look(file, &f)) {
            pause_ms(1); /* released, or taken over, in between */
            continue;
        }
        const bool gone = is_gone(&f, me, &ours->st_mtim);
        dlt_status status = DLT_OK;
        if (!gone) {
            status = refuse(run, file, &f, diag);
        } else if (f.held || !f.has_locks) {
            status = replace(run, file, name, ours, &f, diag);
        }
        dlt_file()->close(f.fd); /* and with it the kernel's lock */
        if (!gone || f.held || !f.has_locks) {
            return status;
        }
        pause_ms(PAUSE_MS); /* somebody else is about to take it over */
    }
    return refuse(run, file, &f, diag);
}

/* ---- the sign of life ---- */

static void *beat(void *argument)
{
    dlt_run_lock *lock = argument;
    pthread_mutex_lock(&lock->guard);
    while (!lock->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        const int64_t ns = until.tv_nsec + (int64_t)(atomic_load(&beat_s) * 1e9);
        until.tv_sec += (time_t)(ns / 1000000000);
        until.tv_nsec = (long)(ns % 1000000000);
        if (pthread_cond_timedwait(&lock->changed, &lock->guard, &until) == ETIMEDOUT) {
            futimens(
                lock->fd,
                NULL); /* of the file itself: its name may be another's by now. A failure changes nothing */
        }
    }
    pthread_mutex_unlock(&lock->guard);
    return NULL;
}

static bool start_heart(dlt_run_lock *lock)
{
    pthread_condattr_t clock;
    pthread_mutex_init(&lock->guard, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&lock->changed, &clock);
    pthread_condattr_destroy(&clock);
    lock->beating = pthread_create(&lock->heart, NULL, beat, lock) == 0;
    return lock->beating;
}

/* ---- take, check, release ---- */

dlt_status dlt_run_lock_take(const char *path, dlt_run_lock **out, dlt_diag *diag)
{
    owner me;
    struct stat seen = {0};
    dlt_buf name = {0};
    *out = NULL;
    dlt_run_lock *lock = dlt_alloc_zeroed(1, sizeof *lock);
    if (lock == NULL) {
        return dlt_fail_memory(diag);
    }
    *lock = (dlt_run_lock){.path = dlt_path_join(path, "lock"), .run = dlt_path_join("", path), .fd = -1};
    dlt_buf_printf(&name, "%s.tmp-%ld", lock->path != NULL ? lock->path : "", (long)getpid());
    dlt_status status =
        lock->path == NULL || lock->run == NULL || name.failed ? dlt_fail_memory(diag) : DLT_OK;
    if (status == DLT_OK) {
        this_owner(&me);
        status = prepare(name.data, &me, &lock->fd, &seen, diag);
        if (status == DLT_OK) {
            status = put_in_place(path, lock->path, name.data, &seen, &me, diag);
        }
        if (status != DLT_OK && lock->fd >= 0) {
            dlt_file()->unlink(name.data);
        }
    }
    dlt_buf_release(&name);
    if (status == DLT_OK && !start_heart(lock)) {
        status = dlt_fail(diag, DLT_E_MEMORY, nowhere, "cannot start the thread that keeps the run's lock");
        dlt_file()->unlink(lock->path);
    }
    if (status != DLT_OK) {
        if (lock->fd >= 0) {
            dlt_file()->close(lock->fd);
        }
        dlt_free(lock->path);
        dlt_free(lock->run);
        dlt_free(lock);
        return status;
    }
    lock->device = seen.st_dev;
    lock->inode = seen.st_ino;
    *out = lock;
    return DLT_OK;
}

/* 1: the file under the lock's name is ours; 0: it is another; -1: there is none, or it cannot be seen. */
static int whose(const dlt_run_lock *lock)
{
    struct stat named;
    return dlt_file()->stat(lock->path, &named) != 0                     ? -1
           : named.st_ino == lock->inode && named.st_dev == lock->device ? 1
                                                                         : 0;
}

dlt_status dlt_run_lock_check(const dlt_run_lock *lock, dlt_diag *diag)
{
    return lock == NULL || whose(lock) != 0 /* one that a user has deleted is nobody's */
               ? DLT_OK
               : dlt_fail(diag, DLT_E_CHECKPOINT, nowhere,
                          "'%s' was taken over by another process; this one has stopped there", lock->run);
}

void dlt_run_lock_release(dlt_run_lock *lock)
{
    if (lock == NULL) {
        return;
    }
    pthread_mutex_lock(&lock->guard);
    lock->stopping = true;
    pthread_cond_broadcast(&lock->changed);
    pthread_mutex_unlock(&lock->guard);
    pthread_join(lock->heart, NULL);
    if (whose(lock) == 1) {
        dlt_file()->unlink(lock->path);
    }
    dlt_file()->close(lock->fd); /* and with it the kernel's lock: only now can another process have it */
    pthread_mutex_destroy(&lock->guard);
    pthread_cond_destroy(&lock->changed);
    dlt_free(lock->path);
    dlt_free(lock->run);
    dlt_free(lock);
}
