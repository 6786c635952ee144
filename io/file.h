/* io/file.h: the one thin layer between dltrain and the file system. Everything that is read or written goes through the
 * table below, so that tests can make the n-th call fail, cut transfers short or record what reached the disk. */
#ifndef DLT_IO_FILE_H
#define DLT_IO_FILE_H

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/** The calls, with the meaning and errno of POSIX. A test copies dlt_file_system(), replaces members and installs it. */
typedef struct dlt_file_ops {
    int (*open)(const char *path, int flags, mode_t mode);
    int (*open_beneath)(const char *folder, const char *path, int flags); /* EXDEV where it would leave the folder */
    int (*close)(int fd);
    ssize_t (*read)(int fd, void *data, size_t bytes);
    ssize_t (*pread)(int fd, void *data, size_t bytes, off_t offset);
    ssize_t (*write)(int fd, const void *data, size_t bytes);
    ssize_t (*pwrite)(int fd, const void *data, size_t bytes, off_t offset);
    int (*ftruncate)(int fd, off_t bytes);
    int (*fsync)(int fd);
    int (*fstat)(int fd, struct stat *status);
    int (*stat)(const char *path, struct stat *status);
    int (*lstat)(const char *path, struct stat *status);
    int (*rename)(const char *from, const char *to);
    int (*rename_new)(const char *from, const char *to); /* fails with EEXIST where `to` exists */
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*rmdir)(const char *path);
    int (*symlink)(const char *target, const char *path);
    ssize_t (*readlink)(const char *path, char *target, size_t room);
} dlt_file_ops;

/** The operating system's own calls. */
const dlt_file_ops *dlt_file_system(void);
/** Installs another table (NULL: the system's) and returns the one before. For tests; not while threads use files. */
const dlt_file_ops *dlt_file_install(const dlt_file_ops *ops);
/** The table in force. */
const dlt_file_ops *dlt_file(void);

/**
 * Opens a regular file for reading (O_CLOEXEC | O_NONBLOCK, then fstat must say regular file; symlinks are followed).
 * *size may be NULL. On failure fd is -1 and diag has "cannot open 'path': reason" at `at` with status `kind`.
 */
dlt_status dlt_file_open_read(const char *path, dlt_status kind, dlt_pos at, int *fd, int64_t *size, dlt_diag *diag);
/** Reads exactly `bytes` at `offset`, looping over EINTR and short reads. A file that ends early is an error. */
dlt_status dlt_file_read_at(int fd, const char *path, void *data, size_t bytes, int64_t offset, dlt_status kind,
                            dlt_diag *diag);
/** Writes all bytes, looping over EINTR and short writes. */
dlt_status dlt_file_write(int fd, const char *path, const void *data, size_t bytes, dlt_status kind, dlt_diag *diag);
/**
 * Whole text file of at most `most` bytes into memory, NUL-terminated; free with dlt_free. `-` reads standard input.
 */
dlt_status dlt_file_load(const char *path, size_t most, dlt_status kind, dlt_pos at, char **data, size_t *bytes,
                         dlt_diag *diag);
/** The same for a file that must lie below `folder`, whatever `..` or symbolic links stand in `path`. */
dlt_status dlt_file_load_beneath(const char *folder, const char *path, size_t most, dlt_status kind, dlt_pos at,
                                 char **data, size_t *bytes, dlt_diag *diag);
/**
 * Replaces `path` in one step: temporary name in the same folder, write, fsync, rename, fsync of the folder.
 * On failure the old file stays as it was and the temporary one is gone.
 */
dlt_status dlt_file_replace(const char *path, const void *data, size_t bytes, dlt_status kind, dlt_diag *diag);
/** fsync of a folder, so that names in it survive a power cut. */
dlt_status dlt_file_sync_folder(const char *path, dlt_status kind, dlt_diag *diag);
/** Makes a folder and those above it, so that they survive a power cut. An existing folder is fine unless `must_be_new`, which tells only of the last. */
dlt_status dlt_file_make_folders(const char *path, bool must_be_new, dlt_status kind, dlt_diag *diag);

/** `path` itself if absolute, else `folder`/`path`; free with dlt_free; NULL when memory is refused. */
char *dlt_path_join(const char *folder, const char *path);
/** The folder part ("." if there is none); free with dlt_free. */
char *dlt_path_folder(const char *path);
/** What stands behind the last slash. */
const char *dlt_path_base(const char *path);
/** Absolute form without symlink resolution; free with dlt_free. */
char *dlt_path_absolute(const char *path);

#endif
