/* tests/sweeps/fault_file.c: calls of the file system that fail, and a record of those that change it.
 *
 * Linked into dltrain_faults, which is the program otherwise. The environment says what to do, and is
 * forgotten at once, so that the readers of HDF5 files, processes of this program too, are left alone:
 *
 *   DLTRAIN_FAULT_FILE=ENOSPC:17   the 17th call that can fail with ENOSPC does; EIO, EDQUOT, EINTR likewise
 *   DLTRAIN_FAULT_FILE=ENOSPC:17+  that one and all after it
 *   DLTRAIN_FAULT_FILE=SHORT:17    the 17th transfer moves half of its bytes (17+: all after it too)
 *   DLTRAIN_FAULT_FILE=KILL:17     the process is killed before the 17th call, or when half is written
 *   DLTRAIN_FAULT_FILE=EIO:0       nothing fails
 *   DLTRAIN_FAULT_PROOF=FILE       gets a line "number call path" for each call that was made to fail,
 *                                  with :0 for each that could have been
 *   DLTRAIN_RECORD_FILE=FILE       gets what changes files and folders, in the order in which it happened
 *                                  (see record)
 *
 * Which calls can fail with what is what POSIX and network file systems have: a read does not find the disk
 * full. Calls of all threads are counted together; which is the 17th may differ from run to run, so the sweeps
 * take the proof's word for it. */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_FILES = 1024, MOST_PATH = 1024 };

/* What a call is, as far as errors go. */
typedef enum call_kind { LOOKS, READS, OPENS, MAKES, WRITES, CLOSES_READ, CLOSES_WRITTEN } call_kind;

static struct {
    pthread_mutex_t lock;
    int error; /* 0 with cut: a short transfer */
    bool cut, kill, onwards;
    unsigned long nth, calls;
    int proof, record; /* -1: none */
    const dlt_file_ops *system;
    char path[MOST_FILES][MOST_PATH]; /* of open files, by descriptor */
    bool written[MOST_FILES];         /* opened for writing */
} faults = {.lock = PTHREAD_MUTEX_INITIALIZER, .proof = -1, .record = -1};

static const char *path_of(int fd)
{
    return fd >= 0 && fd < MOST_FILES ? faults.path[fd] : "?";
}

/* True if a call of this kind can fail in the way that is asked for. */
static bool can_fail(call_kind kind)
{
    switch (faults.error) {
    case ENOSPC:
    case EDQUOT:
        return kind == MAKES || kind == WRITES || kind == CLOSES_WRITTEN;
    case EINTR:
        return kind != LOOKS;
    case EIO:
        return true;
    default:
        return faults.kill || kind == READS || kind == WRITES;
    }
}

static void put(int fd, const void *data, size_t bytes)
{
    for (const char *at = data; bytes > 0;) {
        const ssize_t n = write(fd, at, bytes);
        if (n <= 0) {
            _exit(99); /* no proof, no test */
        }
        at += n;
        bytes -= (size_t)n;
    }
}

/* Counts a call, under the lock: true if it is the one to fail. */
static bool is_due(call_kind kind, const char *call, const char *path)
{
    char line[MOST_PATH + 64];
    if ((faults.error == 0 && !faults.cut && !faults.kill) || !can_fail(kind)) {
        return false;
    }
    faults.calls++;
    const bool due =
        faults.nth > 0 && (faults.calls == faults.nth || (faults.onwards && faults.calls > faults.nth));
    if ((due || faults.nth == 0) && faults.proof >= 0) {
        const int length = snprintf(line, sizeof line, "%lu %s %s\n", faults.calls, call, path);
        put(faults.proof, line, (size_t)length);
    }
    if (due && faults.kill && kind != WRITES) {
        kill(getpid(), SIGKILL);
    }
    return due;
}

/* One operation of the record: a line of fields that tabs separate, and after it the bytes that were written.
 *   open fd path flags | close fd | write fd offset bytes | truncate fd size | sync fd
 *   rename from to | unlink path | mkdir path | rmdir path | symlink path target
 * Only what succeeded is there. The lock is held around the call and its line, so the order is the one that
 * happened. */
static void record(const char *line, int length, const void *data, size_t bytes)
{
    if (faults.record >= 0) {
        put(faults.record, line, (size_t)length);
        put(faults.record, data, bytes);
    }
}

#define RECORD(...)                                                                                          \
    do {                                                                                                     \
        char line_[2 * MOST_PATH + 64];                                                                      \
        const int length_ = snprintf(line_, sizeof line_, __VA_ARGS__);                                      \
        record(line_, length_, "", 0);                                                                       \
    } while (0)

/* Runs `call` under the lock unless it is due to fail, and `then` if it succeeded; errno is the call's. */
#define GUARDED(type, kind, name, path, call, then)                                                          \
    pthread_mutex_lock(&faults.lock);                                                                        \
    type result = -1;                                                                                        \
    int reason = faults.error;                                                                               \
    if (!is_due(kind, name, path)) {                                                                         \
        result = call;                                                                                       \
        reason = errno;                                                                                      \
        if (result >= 0) {                                                                                   \
            then;                                                                                            \
        }                                                                                                    \
    }                                                                                                        \
    pthread_mutex_unlock(&faults.lock);                                                                      \
    errno = reason;                                                                                          \
    return result

/* The same for a transfer, which may be cut in half instead of failing. */
#define TRANSFER(kind, name, call, then)                                                                     \
    pthread_mutex_lock(&faults.lock);                                                                        \
    ssize_t result = -1;                                                                                     \
    int reason = faults.error;                                                                               \
    const bool due = (!faults.cut || bytes > 1) && is_due(kind, name, path_of(fd));                          \
    if (!due || faults.cut || faults.kill) {                                                                 \
        bytes = due ? bytes / 2 : bytes;                                                                     \
        result = call;                                                                                       \
        if (due && faults.kill) {                                                                            \
            kill(getpid(), SIGKILL);                                                                         \
        }                                                                                                    \
        reason = errno;                                                                                      \
        if (result > 0) {                                                                                    \
            then;                                                                                            \
        }                                                                                                    \
    }                                                                                                        \
    pthread_mutex_unlock(&faults.lock);                                                                      \
    errno = reason;                                                                                          \
    return result

static void opened(int fd, const char *path, int flags)
{
    if (fd < MOST_FILES) {
        snprintf(faults.path[fd], MOST_PATH, "%s", path);
        faults.written[fd] = (flags & O_ACCMODE) != O_RDONLY;
    }
    RECORD("open\t%d\t%s\t%s%s%s\n", fd, path, (flags & O_CREAT) != 0 ? "c" : "",
           (flags & O_TRUNC) != 0 ? "t" : "", (flags & O_DIRECTORY) != 0 ? "d" : "");
}

static int fault_open(const char *path, int flags, mode_t mode)
{
    GUARDED(int, (flags & O_CREAT) != 0 ? MAKES : OPENS, "open", path, faults.system->open(path, flags, mode),
            opened(result, path, flags));
}

static int fault_open_beneath(const char *folder, const char *path, int flags)
{
    GUARDED(int, OPENS, "open", path, faults.system->open_beneath(folder, path, flags),
            opened(result, path, flags));
}

/* As on Linux, the descriptor is gone whatever close says. */
static int fault_close(int fd)
{
    pthread_mutex_lock(&faults.lock);
    const bool written = fd >= 0 && fd < MOST_FILES && faults.written[fd];
    const bool due = is_due(written ? CLOSES_WRITTEN : CLOSES_READ, "close", path_of(fd));
    int result = close(fd), reason = errno;
    if (result == 0) {
        RECORD("close\t%d\n", fd);
        if (fd < MOST_FILES) {
            faults.path[fd][0] = '\0';
        }
    }
    if (due) {
        result = -1;
        reason = faults.error;
    }
    pthread_mutex_unlock(&faults.lock);
    errno = reason;
    return result;
}

static void written(int fd, const void *data, ssize_t bytes, off_t offset)
{
    char line[128];
    const int length = snprintf(line, sizeof line, "write\t%d\t%lld\t%zd\n", fd, (long long)offset, bytes);
    record(line, length, data, (size_t)bytes);
}

static ssize_t fault_read(int fd, void *data, size_t bytes)
{
    TRANSFER(READS, "read", read(fd, data, bytes), (void)0);
}

static ssize_t fault_pread(int fd, void *data, size_t bytes, off_t offset)
{
    TRANSFER(READS, "pread", pread(fd, data, bytes, offset), (void)0);
}

static ssize_t fault_write(int fd, const void *data, size_t bytes)
{
    TRANSFER(WRITES, "write", write(fd, data, bytes),
             written(fd, data, result, lseek(fd, 0, SEEK_CUR) - result));
}

static ssize_t fault_pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    TRANSFER(WRITES, "pwrite", pwrite(fd, data, bytes, offset), written(fd, data, result, offset));
}

static int fault_ftruncate(int fd, off_t bytes)
{
    GUARDED(int, MAKES, "ftruncate", path_of(fd), ftruncate(fd, bytes),
            RECORD("truncate\t%d\t%lld\n", fd, (long long)bytes));
}

static int fault_fsync(int fd)
{
    GUARDED(int, MAKES, "fsync", path_of(fd), fsync(fd), RECORD("sync\t%d\n", fd));
}

static int fault_fstat(int fd, struct stat *status)
{
    GUARDED(int, LOOKS, "fstat", path_of(fd), fstat(fd, status), (void)0);
}

static int fault_stat(const char *path, struct stat *status)
{
    GUARDED(int, LOOKS, "stat", path, stat(path, status), (void)0);
}

static int fault_lstat(const char *path, struct stat *status)
{
    GUARDED(int, LOOKS, "lstat", path, lstat(path, status), (void)0);
}

static int fault_rename(const char *from, const char *to)
{
    GUARDED(int, MAKES, "rename", to, rename(from, to), RECORD("rename\t%s\t%s\n", from, to));
}

static int fault_rename_new(const char *from, const char *to)
{
    GUARDED(int, MAKES, "rename_new", to, faults.system->rename_new(from, to),
            RECORD("rename\t%s\t%s\n", from, to));
}

static int fault_unlink(const char *path)
{
    GUARDED(int, LOOKS, "unlink", path, unlink(path), RECORD("unlink\t%s\n", path));
}

static int fault_mkdir(const char *path, mode_t mode)
{
    GUARDED(int, MAKES, "mkdir", path, mkdir(path, mode), RECORD("mkdir\t%s\n", path));
}

static int fault_rmdir(const char *path)
{
    GUARDED(int, LOOKS, "rmdir", path, rmdir(path), RECORD("rmdir\t%s\n", path));
}

static int fault_symlink(const char *target, const char *path)
{
    GUARDED(int, MAKES, "symlink", path, symlink(target, path), RECORD("symlink\t%s\t%s\n", path, target));
}

static ssize_t fault_readlink(const char *path, char *target, size_t room)
{
    GUARDED(ssize_t, LOOKS, "readlink", path, readlink(path, target, room), (void)0);
}

static int open_report(const char *variable)
{
    const char *path = getenv(variable);
    const int fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    if (path != NULL && fd < 0) {
        _exit(99);
    }
    unsetenv(variable);
    return fd;
}

static void read_order(const char *order)
{
    static const struct {
        const char *name;
        int error;
    } kinds[] = {{"ENOSPC:", ENOSPC}, {"EIO:", EIO}, {"EDQUOT:", EDQUOT},
                 {"EINTR:", EINTR},   {"SHORT:", 0}, {"KILL:", 0}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const size_t length = strlen(kinds[i].name);
        if (strncmp(order, kinds[i].name, length) == 0) {
            char *end = NULL;
            faults.nth = strtoul(order + length, &end, 10);
            faults.onwards = *end == '+';
            faults.error = kinds[i].error;
            faults.kill = kinds[i].name[0] == 'K';
            faults.cut = faults.error == 0 && !faults.kill;
            return;
        }
    }
    _exit(99);
}

__attribute__((constructor)) static void install_file_faults(void)
{
    static dlt_file_ops ops;
    const char *order = getenv("DLTRAIN_FAULT_FILE");
    faults.proof = open_report("DLTRAIN_FAULT_PROOF");
    faults.record = open_report("DLTRAIN_RECORD_FILE");
    if (order == NULL && faults.record < 0) {
        return;
    }
    if (order != NULL) {
        read_order(order);
    }
    unsetenv("DLTRAIN_FAULT_FILE");
    faults.system = dlt_file_system();
    ops = (dlt_file_ops){.open = fault_open,
                         .open_beneath = fault_open_beneath,
                         .close = fault_close,
                         .read = fault_read,
                         .pread = fault_pread,
                         .write = fault_write,
                         .pwrite = fault_pwrite,
                         .ftruncate = fault_ftruncate,
                         .fsync = fault_fsync,
                         .fstat = fault_fstat,
                         .stat = fault_stat,
                         .lstat = fault_lstat,
                         .rename = fault_rename,
                         .rename_new = fault_rename_new,
                         .unlink = fault_unlink,
                         .mkdir = fault_mkdir,
                         .rmdir = fault_rmdir,
                         .symlink = fault_symlink,
                         .readlink = fault_readlink};
    dlt_file_install(&ops);
}
