/* cmd/write_out.c: results on standard output and in files that the user names. */
#include "cmd/write_out.h"

#include "cmd/output_guard.h"
#include "io/file.h"
#include "io/outfile.h"
#include "io/wait.h"
#include "trainer/signals.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool dlt_reader_left(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return ferror(stdout) != 0 && poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

static dlt_status failed(int reason, dlt_diag *diag)
{
    if (reason == EPIPE || dlt_reader_left()) {
        return DLT_E_OUTPUT; /* whoever read had enough */
    }
    return dlt_fail(diag, DLT_E_OUTPUT, (dlt_pos){0}, "cannot write to standard output: %s",
                    strerror(reason));
}

/* A pipe takes PIPE_BUF bytes without blocking once it takes any, so that a request to stop is heard although nobody reads. */
dlt_status dlt_write_out(const dlt_buf *text, dlt_diag *diag)
{
    if (text->failed) {
        return dlt_fail_memory(diag);
    }
    struct stat out;
    const bool pipe = dlt_file()->fstat(STDOUT_FILENO, &out) == 0 && (S_ISFIFO(out.st_mode) || S_ISSOCK(out.st_mode));
    for (size_t at = 0; at < text->length;) {
        const size_t left = text->length - at, bytes = pipe && left > PIPE_BUF ? PIPE_BUF : left;
        if (pipe && !dlt_wait_ready(STDOUT_FILENO, POLLOUT, dlt_stop_flag())) {
            return DLT_E_STOPPED;
        }
        errno = 0;
        if (fwrite(text->data + at, 1, bytes, stdout) != bytes || (pipe && fflush(stdout) != 0)) {
            return failed(errno, diag);
        }
        at += bytes;
    }
    return DLT_OK;
}

dlt_status dlt_flush_out(dlt_diag *diag)
{
    errno = 0;
    if (fflush(stdout) != 0) {
        return failed(errno, diag);
    }
    return ferror(stdout) != 0 ? failed(EIO, diag) : DLT_OK;
}

dlt_status dlt_write_file(const char *path, dlt_write_mode mode, const dlt_buf *text, dlt_diag *diag)
{
    if (text->failed) {
        return dlt_fail_memory(diag);
    }
    DLT_TRY(mode == DLT_WRITE_NEW ? dlt_output_place(path, diag) : dlt_output_allowed(path, NULL, 0, diag));
    return dlt_outfile_write_all(path, mode == DLT_WRITE_NEW ? DLT_OUTFILE_NEW : DLT_OUTFILE_REPLACE,
                                 dlt_buf_text(text), text->length, DLT_E_OUTPUT, diag);
}

bool dlt_is_standard_output(const char *path)
{
    struct stat named, standard;
    return path == NULL || strcmp(path, "-") == 0 ||
           (dlt_file()->stat(path, &named) == 0 && dlt_file()->fstat(STDOUT_FILENO, &standard) == 0 &&
            named.st_dev == standard.st_dev && named.st_ino == standard.st_ino);
}
