/* io/h5/h5_parent.c: opens a file, starts the child that lists it, and takes the table. */
#define _GNU_SOURCE /* environ, pipe2 */
#include "io/h5/h5_internal.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/linux_guard.h"
#include "io/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The parent's patience in milliseconds. */
static atomic_int deadline_ms = DLT_H5_CHILD_WALL_S * 1000;

void dlt_h5_set_deadline(double seconds)
{
    atomic_store(&deadline_ms, seconds > 0 ? (int)(seconds * 1000) : DLT_H5_CHILD_WALL_S * 1000);
}

static _Atomic(dlt_h5_lister *) other_lister; /* NULL: the child */

void dlt_h5_set_lister(dlt_h5_lister *lister)
{
    atomic_store(&other_lister, lister);
}

dlt_status dlt_h5_bad(const dlt_h5_file *file, dlt_diag *diag, const char *fmt, ...)
{
    char text[2 * DLT_H5_MAX_TEXT + DLT_H5_MAX_PATH];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return dlt_fail(diag, file->kind, file->at, "bad HDF5 file '%s': %s", file->path, text);
}

/* ---- starting the child ---- */

/* Only what the loader, malloc, sanitizers and our own tests need: nothing that steers libhdf5, and no
 * secrets of the user's. And a BLAS that starts no threads when it is loaded. The array is for dlt_free, the
 * strings are borrowed. */
static char **child_environment(void)
{
    static char one_thread[] = "OPENBLAS_NUM_THREADS=1";
    static const char *const wanted[] = {"LD_",
                                         "GLIBC_",
                                         "MALLOC_",
                                         "ASAN_OPTIONS=",
                                         "UBSAN_OPTIONS=",
                                         "TSAN_OPTIONS=",
                                         "LSAN_",
                                         "OPENBLAS_CORETYPE=",
                                         "TEST_",
                                         "DLT_",
                                         "DLTRAIN_"};
    size_t count = 0, kept = 0;
    while (environ[count] != NULL) {
        count++;
    }
    char **list = dlt_alloc_zeroed(count + 2, sizeof *list);
    if (list == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < DLT_COUNT(wanted); k++) {
            if (dlt_text_starts(environ[i], wanted[k])) {
                list[kept++] = environ[i];
                break;
            }
        }
    }
    list[kept++] = one_thread;
    return list;
}

/* A copy of a descriptor far from the numbers that the child uses. */
static int move_up(int fd)
{
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 16);
    if (copy < 0 && errno == EINVAL) {
        errno = EMFILE; /* the limit of open files is lower */
    }
    return copy;
}

/* 0 or an errno. file and table are >= 16. */
static int spawn(int file, int table, bool probe, char **environment, pid_t *child)
{
    static char name[] = "dltrain", argument[] = DLT_H5_CHILD_ARGUMENT, probe_word[] = DLT_H5_CHILD_PROBE;
    char *const arguments[] = {name, argument, probe ? probe_word : NULL, NULL};
    static const int held_back[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t blocked, defaults;
    /* signals for the whole group are the parent's to judge: a child killed by Ctrl-C would look like a bad
     * file */
    sigemptyset(&blocked);
    for (size_t i = 0; i < DLT_COUNT(held_back); i++) {
        sigaddset(&blocked, held_back[i]);
    }
    sigfillset(&defaults);
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) {
        return error;
    }
    error = posix_spawnattr_init(&attributes);
    if (error == 0) {
        /* the reports of sanitizers are let through */
        if ((error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0)) == 0 &&
            (error = posix_spawn_file_actions_adddup2(&actions, 0, 1)) == 0 &&
            (DLT_SANITIZED || (error = posix_spawn_file_actions_adddup2(&actions, 0, 2)) == 0) &&
            (error = posix_spawn_file_actions_adddup2(&actions, file, DLT_H5_CHILD_FILE)) == 0 &&
            (error = posix_spawn_file_actions_adddup2(&actions, table, DLT_H5_CHILD_TABLE)) == 0 &&
            (error = posix_spawnattr_setsigmask(&attributes, &blocked)) == 0 &&
            (error = posix_spawnattr_setsigdefault(&attributes, &defaults)) == 0 &&
            (error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)) ==
                0) {
            error = posix_spawn(child, "/proc/self/exe", &actions, &attributes, arguments, environment);
        }
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

/* ---- taking the table ---- */

typedef struct reply {
    char *data;
    size_t bytes, room;
    bool late, too_large, no_memory;
    int error; /* errno of a read that failed */
} reply;

static void take(int fd, size_t most, reply *got)
{
    const int64_t start = dlt_clock_ns();
    for (;;) {
        const int64_t left = atomic_load(&deadline_ms) - (dlt_clock_ns() - start) / 1000000;
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        const int ready = left > 0 ? poll(&wait, 1, (int)left) : 0;
        if (ready == 0) {
            got->late = true;
            return;
        }
        if (ready < 0 && errno != EINTR) {
            got->error = errno;
            return;
        }
        if (ready < 0) {
            continue;
        }
        if (got->room - got->bytes < 1 << 12) {
            const size_t room = got->room > 0 ? got->room * 2 : 1 << 14;
            char *grown = dlt_realloc(got->data, room, 1);
            if (grown == NULL) {
                got->no_memory = true;
                return;
            }
            got->data = grown;
            got->room = room;
        }
        const ssize_t n = dlt_file()->read(fd, got->data + got->bytes, got->room - got->bytes);
        if (n > 0) {
            got->bytes += (size_t)n;
            if (got->bytes > most) {
                got->too_large = true;
                return;
            }
        } else if (n == 0) {
            return;
        } else if (errno != EINTR && errno != EAGAIN) {
            got->error = errno;
            return;
        }
    }
}

/* Exit status as of waitpid, or -1 where it cannot be known (a caller ignores SIGCHLD). */
static int reap(pid_t child)
{
    int status = 0;
    pid_t seen;
    do {
        seen = waitpid(child, &status, 0);
    } while (seen < 0 && errno == EINTR);
    return seen == child ? status : -1;
}

static dlt_status cannot_start(int error, dlt_diag *diag)
{
    const bool refused = error == ENOMEM || error == EAGAIN || error == EMFILE || error == ENFILE; /* limits */
    return dlt_fail(diag, refused ? DLT_E_MEMORY : DLT_E_INTERNAL, (dlt_pos){0},
                    "cannot start the reader of HDF5 files: %s", strerror(error));
}

dlt_status dlt_h5_run_child(int fd, int64_t size, bool probe, const char *path, dlt_status kind, dlt_pos at,
                            char **table, size_t *bytes, dlt_diag *diag)
{
    const int64_t most = (DLT_H5_MAX_TABLE - DLT_H5_TABLE_FREE) / DLT_H5_TABLE_RATIO > size
                             ? DLT_H5_TABLE_FREE + size * DLT_H5_TABLE_RATIO
                             : DLT_H5_MAX_TABLE;
    const dlt_h5_file about = {.path = path, .kind = kind, .at = at};
    int ends[2] = {-1, -1}, file = -1, sink = -1, error = 0;
    pid_t child = -1;
    reply got = {0};
    *table = NULL;
    *bytes = 0;
    if (!dlt_h5_child_ready()) {
        return dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0},
                        "cannot start the reader of HDF5 files: main() does not call dlt_h5_child_main");
    }
    char **environment = child_environment();
    if (environment == NULL) {
        return dlt_fail_memory(diag);
    }
    if (pipe2(ends, O_CLOEXEC) != 0 || (file = move_up(fd)) < 0 || (sink = move_up(ends[1])) < 0) {
        error = errno;
    } else {
        error = spawn(file, sink, probe, environment, &child);
    }
    dlt_free(environment);
    const int ours[] = {file, sink, ends[1]};
    for (size_t i = 0; i < DLT_COUNT(ours); i++) {
        if (ours[i] >= 0) {
            close(ours[i]);
        }
    }
    if (error != 0) {
        if (ends[0] >= 0) {
            close(ends[0]);
        }
        return cannot_start(error, diag);
    }
    take(ends[0], (size_t)most, &got);
    close(ends[0]); /* a child that goes on writing dies of SIGPIPE */
    const bool stopped = got.late || got.too_large || got.no_memory || got.error != 0;
    if (stopped) {
        kill(child, SIGKILL);
    }
    const int end = reap(child);
    dlt_status status = DLT_OK;
    if (got.no_memory) {
        status = dlt_fail_memory(diag);
    } else if (got.late) {
        status = dlt_h5_bad(&about, diag, "listing its content takes longer than %.3g s",
                            atomic_load(&deadline_ms) / 1000.0);
    } else if (got.too_large) {
        status = dlt_h5_bad(&about, diag, "its table of contents is too large");
    } else if (got.error != 0) {
        status = dlt_h5_bad(&about, diag, "its table of contents cannot be read: %s", strerror(got.error));
    } else if (end >= 0 && WIFSIGNALED(end)) {
        const int number = WTERMSIG(end);
        const char *name = strsignal(number); /* NOLINT(concurrency-mt-unsafe): glibc's is per thread */
        status = number == SIGXCPU
                     ? dlt_h5_bad(&about, diag, "listing its content takes more than %u s of processor time",
                                  dlt_h5_cpu_limit(size))
                     : dlt_h5_bad(&about, diag, "the reader died of it (signal %d, %s)", number,
                                  name != NULL ? name : "unknown");
    } else if (end >= 0 && WEXITSTATUS(end) == DLT_H5_CHILD_MEMORY) {
        status = dlt_fail_memory(diag);
    } else if (end >= 0 && WEXITSTATUS(end) != 0 && WEXITSTATUS(end) != DLT_H5_CHILD_REFUSED) {
        status = dlt_h5_bad(&about, diag, "the reader ended with status %d", WEXITSTATUS(end));
    }
    if (status != DLT_OK) {
        dlt_free(got.data);
        return status;
    }
    *table = got.data;
    *bytes = got.bytes;
    return DLT_OK;
}

dlt_status dlt_h5_child_guard(dlt_h5_guard *guard, dlt_diag *diag)
{
    char *answer = NULL;
    size_t bytes = 0;
    uint32_t held = 0;
    *guard = (dlt_h5_guard){0};
    const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing < 0) {
        return cannot_start(errno, diag);
    }
    dlt_status status =
        dlt_h5_run_child(nothing, 0, true, "/dev/null", DLT_E_INTERNAL, (dlt_pos){0}, &answer, &bytes, diag);
    close(nothing);
    if (status == DLT_OK && bytes != sizeof held) {
        status = dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "the reader of HDF5 files does not answer");
    }
    if (status == DLT_OK) {
        memcpy(&held, answer, sizeof held);
        *guard = (dlt_h5_guard){.seccomp = (held & DLT_GUARD_SECCOMP) != 0,
                                .memory_limit = (held & DLT_GUARD_MEMORY) != 0,
                                .cpu_limit = (held & DLT_GUARD_CPU) != 0,
                                .file_limit = (held & DLT_GUARD_FILES) != 0,
                                .no_core = (held & DLT_GUARD_CORE) != 0,
                                .no_privileges = (held & DLT_GUARD_PRIVILEGES) != 0};
    }
    dlt_free(answer);
    return status;
}

/* ---- open and close ---- */

dlt_status dlt_h5_file_create(int fd, const char *path, dlt_status kind, dlt_pos at, dlt_h5_file **file,
                              dlt_diag *diag)
{
    struct stat seen;
    *file = NULL;
    if (dlt_file()->fstat(fd, &seen) != 0) {
        const int reason = errno;
        dlt_file()->close(fd);
        return dlt_fail(diag, kind, at, "cannot read '%s': %s", path, strerror(reason));
    }
    dlt_arena *arena = dlt_arena_create();
    dlt_h5_file *made = dlt_alloc_zeroed(1, sizeof *made);
    char *copy = arena != NULL ? dlt_arena_string(arena, path) : NULL;
    if (made == NULL || copy == NULL || pthread_mutex_init(&made->lock, NULL) != 0) {
        dlt_free(made);
        dlt_arena_destroy(arena);
        dlt_file()->close(fd);
        return dlt_fail_memory(diag);
    }
    made->arena = arena;
    made->path = copy;
    made->at = at;
    made->kind = kind;
    made->fd = fd;
    made->size = (int64_t)seen.st_size;
    made->mtime_ns = (int64_t)seen.st_mtim.tv_sec * 1000000000 + seen.st_mtim.tv_nsec;
    made->cache_limit = DLT_H5_DEFAULT_CACHE;
    *file = made;
    return DLT_OK;
}

/* libhdf5 looks for the signature at 0, 512, 1024, 2048, ...: what has none needs no child to be refused. */
static dlt_status check_signature(const dlt_h5_file *file, dlt_diag *diag)
{
    static const char signature[8] = {'\x89', 'H', 'D', 'F', '\r', '\n', '\x1a', '\n'};
    for (int64_t at = 0; at <= file->size - (int64_t)sizeof signature; at = at == 0 ? 512 : at * 2) {
        char found[sizeof signature];
        DLT_TRY(dlt_file_read_at(file->fd, file->path, found, sizeof found, at, file->kind, diag));
        if (memcmp(found, signature, sizeof found) == 0) {
            return DLT_OK;
        }
        if (at > INT64_MAX / 4) {
            break;
        }
    }
    return dlt_fail(diag, file->kind, file->at, "'%s' is not an HDF5 file", file->path);
}

dlt_status dlt_h5_open(const char *path, dlt_status kind, dlt_pos at, dlt_h5_file **file, dlt_diag *diag)
{
    int fd = -1;
    dlt_h5_file *made = NULL;
    char *table = NULL;
    size_t bytes = 0;
    *file = NULL;
    DLT_TRY(dlt_file_open_read(path, kind, at, &fd, NULL, diag));
    DLT_TRY(dlt_h5_file_create(fd, path, kind, at, &made, diag));
    assert(made != NULL);
    dlt_status status = check_signature(made, diag);
    if (status == DLT_OK) {
        dlt_h5_lister *lister = atomic_load(&other_lister);
        status = lister != NULL
                     ? lister(made, &table, &bytes, diag)
                     : dlt_h5_run_child(fd, made->size, false, path, kind, at, &table, &bytes, diag);
    }
    if (status == DLT_OK) {
        status = dlt_h5_parse_table(made, table, bytes, diag);
    }
    dlt_free(table);
    if (status != DLT_OK) {
        dlt_h5_close(made);
        return status;
    }
    *file = made;
    return DLT_OK;
}

void dlt_h5_close(dlt_h5_file *file)
{
    if (file == NULL) {
        return;
    }
    for (size_t i = 0; i < DLT_H5_SLOTS; i++) {
        dlt_free(file->slots[i].data);
    }
    dlt_file()->close(file->fd); /* only read from */
    pthread_mutex_destroy(&file->lock);
    dlt_arena_destroy(file->arena);
    dlt_free(file->objects);
    dlt_free(file);
}
