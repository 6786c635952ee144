/* base/linux_beneath.h: opening a file that must lie below a folder. Linux alone: openat2 (5.6), with a walk by hand
 * where the kernel or a sandbox refuses that call. */
#ifndef DLT_BASE_LINUX_BENEATH_H
#define DLT_BASE_LINUX_BENEATH_H

#include <stdbool.h>

/**
 * Opens `path`, relative to `folder`, with `flags` (O_CLOEXEC is added). Neither `..`, an absolute path nor a symbolic link
 * may lead out of the folder: -1 with errno EXDEV. Other errors as open's.
 */
int dlt_open_beneath(const char *folder, const char *path, int flags);
/** The walk by hand: stricter, it follows no symbolic links at all (ELOOP). Apart for tests. */
int dlt_open_beneath_walk(const char *folder, const char *path, int flags);
/** True if the kernel itself holds paths below a folder (openat2); for `doctor`. */
bool dlt_beneath_by_kernel(void);

#endif
