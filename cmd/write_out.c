/* cmd/write_out.c: results on standard output and in new files. */
#include "cmd/write_out.h"

#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static dlt_status failed(int reason, dlt_diag *diag)
{
    if (reason == EPIPE) {
        return DLT_E_OUTPUT; /* whoever read had enough */
    }
    return dlt_fail(diag, DLT_E_OUTPUT, (dlt_pos){0}, "cannot write to standard output: %s",
                    strerror(reason));
}

dlt_status dlt_write_out(const dlt_buf *text, dlt_diag *diag)
{
    if (text->failed) {
        return dlt_fail_memory(diag);
    }
    errno = 0;
    if (text->length > 0 && fwrite(text->data, 1, text->length, stdout) != text->length) {
        return failed(errno, diag);
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

dlt_status dlt_write_new_file(const char *path, const dlt_buf *text, dlt_diag *diag)
{
    if (text->failed) {
        return dlt_fail_memory(diag);
    }
    const int fd = dlt_file()->open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST) {
        return dlt_fail(diag, DLT_E_OUTPUT, (dlt_pos){0},
                        "'%s' exists and is left as it is; name another with --output", path);
    }
    if (fd < 0) {
        return dlt_fail(diag, DLT_E_OUTPUT, (dlt_pos){0}, "cannot create '%s': %s", path, strerror(errno));
    }
    dlt_status status = dlt_file_write(fd, path, dlt_buf_text(text), text->length, DLT_E_OUTPUT, diag);
    if (dlt_file()->close(fd) != 0 && status == DLT_OK) {
        status = dlt_fail(diag, DLT_E_OUTPUT, (dlt_pos){0}, "cannot write '%s': %s", path, strerror(errno));
    }
    if (status != DLT_OK) {
        dlt_file()->unlink(path); /* half a file is worse than none */
    }
    return status;
}
