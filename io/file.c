/* io/file.c: files. */
#define _GNU_SOURCE /* renameat2 */
#include "io/file.h"

#include "base/alloc.h"
#include "base/linux_beneath.h"
#include "base/text.h"
#include "io/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int system_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

static int system_rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return -1;
    }
    /* a file system without the flag (some network ones): a hard link does not replace either */
    if (link(from, to) != 0) {
        return -1;
    }
    return unlink(from);
}

static const dlt_file_ops system_ops = {
    .open = system_open,
    .open_beneath = dlt_open_beneath,
    .close = close,
    .read = read,
    .pread = pread,
    .write = write,
    .pwrite = pwrite,
    .ftruncate = ftruncate,
    .fsync = fsync,
    .fstat = fstat,
    .stat = stat,
    .lstat = lstat,
    .rename = rename,
    .rename_new = system_rename_new,
    .unlink = unlink,
    .mkdir = mkdir,
    .rmdir = rmdir,
    .symlink = symlink,
    .readlink = readlink,
};

static const dlt_file_ops *_Atomic installed = &system_ops;

const dlt_file_ops *dlt_file_system(void)
{
    return &system_ops;
}

const dlt_file_ops *dlt_file_install(const dlt_file_ops *ops)
{
    return atomic_exchange(&installed, ops != NULL ? ops : &system_ops);
}

const dlt_file_ops *dlt_file(void)
{
    return atomic_load_explicit(&installed, memory_order_acquire);
}

/* What is left to do with a file just opened (opened < 0: errno says why not): it must be a regular one. */
static dlt_status check_opened(int opened, const char *path, dlt_status kind, dlt_pos at, int *fd, int64_t *size,
                               dlt_diag *diag)
{
    struct stat status;
    *fd = -1;
    if (opened < 0) {
        const int reason = errno;
        return dlt_fail(diag, kind, at, "cannot open '%s': %s", path,
                        reason == EXDEV                              ? "it leads out of the folder of the file that names it"
                        : reason == ELOOP && !dlt_beneath_by_kernel() ? "links are not followed where the kernel cannot keep them inside a folder"
                                                                      : strerror(reason));
    }
    if (dlt_file()->fstat(opened, &status) != 0) {
        const int reason = errno;
        dlt_file()->close(opened);
        return dlt_fail(diag, kind, at, "cannot open '%s': %s", path, strerror(reason));
    }
    if (!S_ISREG(status.st_mode)) {
        dlt_file()->close(opened);
        return dlt_fail(diag, kind, at, "cannot open '%s': %s", path,
                        S_ISDIR(status.st_mode) ? "it is a folder" : "it is not a regular file");
    }
    if (size != NULL) {
        *size = (int64_t)status.st_size;
    }
    *fd = opened;
    return DLT_OK;
}

dlt_status dlt_file_open_read(const char *path, dlt_status kind, dlt_pos at, int *fd, int64_t *size, dlt_diag *diag)
{
    return check_opened(dlt_file()->open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0), path, kind, at, fd, size, diag);
}

dlt_status dlt_file_read_at(int fd, const char *path, void *data, size_t bytes, int64_t offset, dlt_status kind,
                            dlt_diag *diag)
{
    char *at = data;
    while (bytes > 0) {
        const ssize_t n = dlt_file()->pread(fd, at, bytes < SSIZE_MAX ? bytes : SSIZE_MAX, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return dlt_fail(diag, kind, (dlt_pos){0}, "cannot read '%s': %s", path, strerror(errno));
        }
        if (n == 0) {
            return dlt_fail(diag, kind, (dlt_pos){0}, "'%s' ends at byte %lld, %zu bytes too early", path,
                            (long long)offset, bytes);
        }
        at += n;
        offset += n;
        bytes -= (size_t)n;
    }
    return DLT_OK;
}

dlt_status dlt_file_write(int fd, const char *path, const void *data, size_t bytes, dlt_status kind, dlt_diag *diag)
{
    const char *at = data;
    while (bytes > 0) {
        const ssize_t n = dlt_file()->write(fd, at, bytes < SSIZE_MAX ? bytes : SSIZE_MAX);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return dlt_fail(diag, kind, (dlt_pos){0}, "cannot write '%s': %s", path,
                            n < 0 ? strerror(errno) : "nothing was written");
        }
        at += n;
        bytes -= (size_t)n;
    }
    return DLT_OK;
}

/* Reads all of an open file; closes it unless it is standard input. */
static dlt_status load_opened(int fd, const char *path, size_t most, dlt_status kind, dlt_pos at, char **data,
                              size_t *bytes, dlt_diag *diag)
{
    dlt_status status = DLT_OK;
    size_t room = 4096, length = 0;
    char *text = dlt_alloc(room + 1);
    while (text != NULL) {
        const ssize_t n = dlt_file()->read(fd, text + length, room - length);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            status = dlt_fail(diag, kind, at, "cannot read '%s': %s", path, strerror(errno));
            break;
        }
        if (n == 0) {
            break;
        }
        length += (size_t)n;
        if (length > most) {
            status = dlt_fail(diag, kind, at, "'%s' has more than %zu bytes, the most that is read", path, most);
            break;
        }
        if (length == room) {
            char *grown = dlt_realloc(text, room * 2 + 1, 1);
            if (grown == NULL) {
                dlt_free(text);
                text = NULL;
                break;
            }
            text = grown;
            room *= 2;
        }
    }
    if (fd != STDIN_FILENO) {
        dlt_file()->close(fd); /* only read from */
    }
    if (text == NULL) {
        return dlt_fail_memory(diag);
    }
    if (status != DLT_OK) {
        dlt_free(text);
        return status;
    }
    text[length] = '\0';
    *data = text;
    *bytes = length;
    return DLT_OK;
}

dlt_status dlt_file_load(const char *path, size_t most, dlt_status kind, dlt_pos at, char **data, size_t *bytes,
                         dlt_diag *diag)
{
    int fd = STDIN_FILENO;
    *data = NULL;
    *bytes = 0;
    if (strcmp(path, "-") != 0) {
        int64_t size = 0;
        DLT_TRY(dlt_file_open_read(path, kind, at, &fd, &size, diag));
        if (size > (int64_t)most) {
            dlt_file()->close(fd);
            return dlt_fail(diag, kind, at, "'%s' has %lld bytes; at most %zu are read", path, (long long)size, most);
        }
    }
    return load_opened(fd, path, most, kind, at, data, bytes, diag);
}

dlt_status dlt_file_load_beneath(const char *folder, const char *path, size_t most, dlt_status kind, dlt_pos at,
                                 char **data, size_t *bytes, dlt_diag *diag)
{
    int fd = -1;
    *data = NULL;
    *bytes = 0;
    DLT_TRY(check_opened(dlt_file()->open_beneath(folder, path, O_RDONLY | O_NONBLOCK), path, kind, at, &fd, NULL, diag));
    return load_opened(fd, path, most, kind, at, data, bytes, diag);
}

dlt_status dlt_file_replace(const char *path, const void *data, size_t bytes, dlt_status kind, dlt_diag *diag)
{
    char *folder = dlt_path_folder(path);
    dlt_status status = folder != NULL ? dlt_outfile_write_all(path, DLT_OUTFILE_NAME, data, bytes, kind, diag)
                                       : dlt_fail_memory(diag);
    if (status == DLT_OK) {
        status = dlt_file_sync_folder(folder, kind, diag);
    }
    dlt_free(folder);
    return status;
}

dlt_status dlt_file_sync_folder(const char *path, dlt_status kind, dlt_diag *diag)
{
    const int fd = dlt_file()->open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) {
        return dlt_fail(diag, kind, (dlt_pos){0}, "cannot open folder '%s': %s", path, strerror(errno));
    }
    dlt_status status = DLT_OK;
    if (dlt_file()->fsync(fd) != 0 && errno != EINVAL && errno != EROFS) { /* some file systems cannot sync folders */
        status = dlt_fail(diag, kind, (dlt_pos){0}, "cannot sync folder '%s': %s", path, strerror(errno));
    }
    dlt_file()->close(fd);
    return status;
}

/* Makes the name of a folder just made survive a power cut: what is saved in it would be gone with it. */
static dlt_status sync_parent(const char *path, dlt_status kind, dlt_diag *diag)
{
    char *parent = dlt_path_folder(path);
    const dlt_status status = parent != NULL ? dlt_file_sync_folder(parent, kind, diag) : dlt_fail_memory(diag);
    dlt_free(parent);
    return status;
}

dlt_status dlt_file_make_folders(const char *path, bool must_be_new, dlt_status kind, dlt_diag *diag)
{
    dlt_buf part = {0};
    dlt_status status = DLT_OK;
    for (const char *at = path; status == DLT_OK && *at != '\0';) {
        const size_t slashes = strspn(at, "/"), name = strcspn(at + slashes, "/");
        dlt_buf_append(&part, at, slashes + name);
        at += slashes + name;
        if (part.failed) {
            status = dlt_fail_memory(diag);
            break;
        }
        const bool last = at[strspn(at, "/")] == '\0';
        if (name == 0) {
            continue;
        }
        if (dlt_file()->mkdir(part.data, 0777) == 0) {
            status = sync_parent(part.data, kind, diag);
            continue;
        }
        struct stat seen;
        const int reason = errno;
        const bool is_folder = dlt_file()->stat(part.data, &seen) == 0 && S_ISDIR(seen.st_mode);
        if (!is_folder || (last && must_be_new)) {
            status = dlt_fail(diag, kind, (dlt_pos){0}, "cannot make folder '%s': %s", part.data, strerror(reason));
        }
    }
    dlt_buf_release(&part);
    return status;
}

char *dlt_path_join(const char *folder, const char *path)
{
    dlt_buf joined = {0};
    if (path[0] != '/' && folder[0] != '\0' && strcmp(folder, ".") != 0) {
        dlt_buf_string(&joined, folder);
        if (!dlt_text_ends(folder, "/")) {
            dlt_buf_char(&joined, '/');
        }
    }
    dlt_buf_string(&joined, path);
    if (joined.failed) {
        dlt_buf_release(&joined);
        return NULL;
    }
    return joined.data;
}

char *dlt_path_folder(const char *path)
{
    const char *base = dlt_path_base(path);
    dlt_buf folder = {0};
    if (base == path) {
        dlt_buf_string(&folder, ".");
    } else {
        size_t bytes = (size_t)(base - path);
        while (bytes > 1 && path[bytes - 1] == '/') {
            bytes--;
        }
        dlt_buf_append(&folder, path, bytes);
    }
    if (folder.failed) {
        dlt_buf_release(&folder);
        return NULL;
    }
    return folder.data;
}

const char *dlt_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

char *dlt_path_absolute(const char *path)
{
    char here[PATH_MAX];
    if (path[0] == '/') {
        return dlt_path_join("", path);
    }
    return getcwd(here, sizeof here) != NULL ? dlt_path_join(here, path) : NULL;
}
