/* tests/fuzz/fuzz_rundir.c: the small files of a run directory that are read back: run.json and lock, any
 * bytes. */
#include "fuzz/data_fuzz.h"

#include "trainer/rundir.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

/* "run/run.json" and "run/lock" are the input; whoever creates the lock finds it there. */
static int open_run(const char *path, int flags, mode_t mode)
{
    if ((flags & O_CREAT) != 0 && strcmp(path, "run/lock") == 0) {
        errno = EEXIST;
        return -1;
    }
    return fuzz_open(strcmp(path, "run/lock") == 0 || strcmp(path, "run/run.json") == 0 ? "mem:0" : path,
                     flags, mode);
}

static int unlink_none(const char *path)
{
    (void)path;
    errno = EROFS;
    return -1;
}

/* A lock that does not read is looked at again a little later, in case it is just being written. Not here. */
int nanosleep(const struct timespec *wanted, struct timespec *left)
{
    (void)wanted;
    (void)left;
    return 0;
}

static void claim_message(dlt_diag *diag, dlt_status status)
{
    FUZZ_CLAIM((status == DLT_OK) == (dlt_diag_count(diag, DLT_ERROR) == 0));
    for (size_t i = 0; i < dlt_diag_size(diag); i++) {
        const char *text = dlt_diag_text(diag, i);
        FUZZ_CLAIM(text[0] != '\0' && strchr(text, '\n') == NULL && strchr(text, '\033') == NULL);
    }
    dlt_diag_reset(diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dlt_file_ops ops;
    data_fixture f;
    dlt_run_info info;
    dlt_run_lock *lock = NULL;
    fuzz_begin(&f);
    ops = *dlt_file();
    ops.open = open_run;
    ops.unlink = unlink_none;
    dlt_file_install(&ops);
    fuzz_put_file(0, data, size);
    const dlt_status status = dlt_rundir_info("run", f.arena, &info, f.diag);
    claim_message(f.diag, status);
    if (status == DLT_OK) {
        FUZZ_CLAIM(strlen(info.name) + strlen(info.digest) + strlen(info.state) + strlen(info.created) <=
                   size);
    }
    const dlt_status taken = dlt_run_lock_take("run", &lock, f.diag);
    FUZZ_CLAIM(taken == DLT_E_CHECKPOINT && lock == NULL); /* it cannot be replaced, whatever it says */
    claim_message(f.diag, taken);
    fuzz_end(&f);
    return 0;
}
