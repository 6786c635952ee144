/* io/outfile.c: files that results are written to. */
#include "io/outfile.h"

#include "base/alloc.h"
#include "base/text.h"
#include "io/file.h"
#include "io/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { MOST_LINKS = 40 }; /* as Linux has it */
static const dlt_pos nowhere = {0};

static dlt_status failed(const char *what, const char *name, dlt_status kind, dlt_diag *diag)
{
    return dlt_fail(diag, kind, nowhere, "cannot %s '%s': %s", what, name, strerror(errno));
}

dlt_status dlt_outfile_target(const char *path, dlt_status kind, char **target, dlt_diag *diag)
{
    char text[PATH_MAX];
    struct stat seen;
    char *name = dlt_path_join("", path);
    *target = NULL;
    for (int links = 0; name != NULL && dlt_file()->lstat(name, &seen) == 0 && S_ISLNK(seen.st_mode);
         links++) {
        const ssize_t length = links < MOST_LINKS ? dlt_file()->readlink(name, text, sizeof text - 1) : -1;
        if (length < 0) {
            errno = links < MOST_LINKS ? errno : ELOOP;
            const dlt_status status = failed("write", path, kind, diag);
            dlt_free(name);
            return status;
        }
        text[length] = '\0';
        char *folder = dlt_path_folder(name);
        dlt_free(name);
        name = folder != NULL ? dlt_path_join(folder, text) : NULL;
        dlt_free(folder);
    }
    *target = name;
    return name != NULL ? DLT_OK : dlt_fail_memory(diag);
}

/* Where the bytes for `path` are to go: *target, and whether straight into it. */
static dlt_status find_target(const char *path, dlt_status kind, char **target, bool *straight,
                              dlt_diag *diag)
{
    struct stat given, found;
    const bool exists = dlt_file()->stat(path, &given) == 0;
    *straight = false;
    if (exists && S_ISDIR(given.st_mode)) {
        errno = EISDIR;
        return failed("write", path, kind, diag);
    }
    if (exists && !S_ISREG(given.st_mode)) {
        *straight = true;
    } else {
        DLT_TRY(dlt_outfile_target(path, kind, target, diag));
        /* The links of /proc/self/fd lead to files that may have lost their names. */
        *straight = exists && (dlt_file()->stat(*target, &found) != 0 || found.st_dev != given.st_dev ||
                               found.st_ino != given.st_ino);
    }
    if (*straight) {
        dlt_free(*target);
        *target = dlt_path_join("", path);
    }
    return *target != NULL ? DLT_OK : dlt_fail_memory(diag);
}

static dlt_status stopped(const dlt_outfile *out, dlt_diag *diag)
{
    return dlt_fail(diag, DLT_E_STOPPED, nowhere, "stopped while waiting for the reader of '%s'", out->name);
}

/* Whether this is why it cannot be opened: ENXIO is also a socket's. Leaves ENXIO in errno. */
static bool waits_for_reader(const dlt_outfile *out)
{
    struct stat seen;
    const bool waits = out->stop != NULL && dlt_file()->stat(out->name, &seen) == 0 && S_ISFIFO(seen.st_mode);
    errno = ENXIO;
    return waits;
}

static dlt_status open_straight(dlt_outfile *out, dlt_diag *diag)
{
    out->name = out->target;
    out->target = NULL;
    const int flags = O_WRONLY | O_TRUNC | O_NOCTTY | O_CLOEXEC | (out->stop != NULL ? O_NONBLOCK : 0);
    while ((out->fd = dlt_file()->open(out->name, flags, 0)) < 0 && errno == ENXIO && waits_for_reader(out)) {
        if (!dlt_wait_slice(out->stop)) {
            return stopped(out, diag);
        }
    }
    return out->fd >= 0 ? DLT_OK : failed("write", out->name, out->kind, diag);
}

static dlt_status open_new(const char *path, dlt_outfile *out, dlt_diag *diag)
{
    out->name = out->target;
    out->target = NULL;
    out->fd = dlt_file()->open(out->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (out->fd < 0 && errno == EEXIST) {
        return dlt_fail(diag, out->kind, nowhere,
                        "'%s' exists and is left as it is; name another with --output", path);
    }
    return out->fd >= 0 ? DLT_OK : failed("create", out->name, out->kind, diag);
}

static dlt_status open_temporary(dlt_outfile *out, dlt_diag *diag)
{
    dlt_buf name = {0};
    dlt_buf_printf(&name, "%s.tmp-%ld", out->target, (long)getpid());
    if (name.failed) {
        dlt_buf_release(&name);
        return dlt_fail_memory(diag);
    }
    out->name = name.data;
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
    out->fd = dlt_file()->open(out->name, flags, 0666);
    if (out->fd < 0 && errno == EEXIST) { /* left by a process of this number that was killed */
        dlt_file()->unlink(out->name);
        out->fd = dlt_file()->open(out->name, flags, 0666);
    }
    return out->fd >= 0 ? DLT_OK : failed("create", out->target, out->kind, diag);
}

static void release(dlt_outfile *out)
{
    dlt_free(out->name);
    dlt_free(out->target);
    *out = (dlt_outfile){.fd = -1};
}

dlt_status dlt_outfile_open(const char *path, dlt_outfile_mode mode, dlt_status kind, const atomic_int *stop,
                            dlt_outfile *out, dlt_diag *diag)
{
    dlt_status status = DLT_OK;
    *out = (dlt_outfile){.fd = -1, .kind = kind, .stop = stop};
    if (path[0] == '\0') {
        errno = ENOENT;
        return failed("create", path, kind, diag);
    }
    if (mode == DLT_OUTFILE_NAME) {
        out->target = dlt_path_join("", path);
        status = out->target != NULL ? DLT_OK : dlt_fail_memory(diag);
    } else {
        status = find_target(path, kind, &out->target, &out->straight, diag);
    }
    if (status == DLT_OK) {
        status = out->straight             ? open_straight(out, diag)
                 : mode == DLT_OUTFILE_NEW ? open_new(path, out, diag)
                                           : open_temporary(out, diag);
    }
    if (status != DLT_OK) {
        release(out);
    }
    return status;
}

dlt_status dlt_outfile_write(dlt_outfile *out, const void *data, size_t bytes, dlt_diag *diag)
{
    if (!out->straight || out->stop == NULL) {
        return dlt_file_write(out->fd, out->name, data, bytes, out->kind, diag);
    }
    for (const char *at = data; bytes > 0;) { /* the file was opened with O_NONBLOCK */
        const ssize_t n = dlt_file()->write(out->fd, at, bytes < SSIZE_MAX ? bytes : SSIZE_MAX);
        if (n < 0 && errno == EAGAIN && !dlt_wait_ready(out->fd, POLLOUT, out->stop)) {
            return stopped(out, diag);
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return failed("write", out->name, out->kind, diag);
        }
        at += n > 0 ? n : 0;
        bytes -= n > 0 ? (size_t)n : 0;
    }
    return DLT_OK;
}

dlt_status dlt_outfile_close(dlt_outfile *out, dlt_status status, dlt_diag *diag)
{
    if (out->fd < 0) {
        return status;
    }
    if (status == DLT_OK && !out->straight && dlt_file()->fsync(out->fd) != 0) {
        status = failed("write", out->name, out->kind, diag);
    }
    if (dlt_file()->close(out->fd) != 0 && status == DLT_OK) {
        status = failed("write", out->name, out->kind, diag);
    }
    if (status == DLT_OK && out->target != NULL && dlt_file()->rename(out->name, out->target) != 0) {
        status = failed("write", out->target, out->kind, diag);
    }
    if (status != DLT_OK && !out->straight) {
        dlt_file()->unlink(out->name); /* half a file is worse than none */
    }
    release(out);
    return status;
}

dlt_status dlt_outfile_write_all(const char *path, dlt_outfile_mode mode, const void *data, size_t bytes,
                                 dlt_status kind, dlt_diag *diag)
{
    dlt_outfile out;
    DLT_TRY(dlt_outfile_open(path, mode, kind, NULL, &out, diag));
    return dlt_outfile_close(&out, dlt_outfile_write(&out, data, bytes, diag), diag);
}
