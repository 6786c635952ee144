/* base/linux_beneath.c: openat2(RESOLVE_BENEATH) and the walk that stands in for it. */
#define _GNU_SOURCE /* O_PATH, syscall */
#include "base/linux_beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int dlt_open_beneath_walk(const char *folder, const char *path, int flags)
{
    char name[NAME_MAX + 1];
    if (path[0] == '/') {
        errno = EXDEV;
        return -1;
    }
    int at = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (at >= 0) {
        path += strspn(path, "/");
        const size_t length = strcspn(path, "/");
        const char *rest = path + length + strspn(path + length, "/");
        int reason = 0, next = -1;
        if (length == 0 || length > NAME_MAX) {
            reason = length == 0 ? ENOENT : ENAMETOOLONG;
        } else {
            memcpy(name, path, length);
            name[length] = '\0';
            if (strcmp(name, "..") == 0) {
                reason = EXDEV;
            } else {
                next = openat(at, name,
                              *rest != '\0' ? O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
                                            : flags | O_NOFOLLOW | O_CLOEXEC);
                reason = next < 0 ? errno : 0;
            }
        }
        close(at); /* only a place to start from */
        if (next < 0) {
            errno = reason;
            return -1;
        }
        if (*rest == '\0') {
            return next;
        }
        at = next;
        path = rest;
    }
    return -1;
}

int dlt_open_beneath(const char *folder, const char *path, int flags)
{
#if defined(SYS_openat2)
    const int at = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0) {
        return -1;
    }
    const struct open_how how = {.flags = (unsigned)(flags | O_CLOEXEC),
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    const long opened = syscall(SYS_openat2, at, path, &how, sizeof how);
    const int reason = errno;
    close(at);
    if (opened >= 0) {
        return (int)opened;
    }
    if (reason != ENOSYS && reason != EPERM) { /* sandboxes answer EPERM to calls they do not know */
        errno = reason;
        return -1;
    }
#endif
    return dlt_open_beneath_walk(folder, path, flags);
}

bool dlt_beneath_by_kernel(void)
{
#if defined(SYS_openat2)
    const struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
    const int fd = (int)syscall(SYS_openat2, AT_FDCWD, ".", &how, sizeof how);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
#else
    return false;
#endif
}
