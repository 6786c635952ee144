/* tests/support/h5_inside.c */
#include "support/h5_inside.h"

#include "io/file.h"
#include "io/h5/h5_internal.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

dlt_status dlt_h5_open_inside(const char *path, dlt_status kind, dlt_h5_file **file, dlt_diag *diag)
{
    int fd = -1;
    int64_t size = 0;
    h5_sink sink = {.fd = -1};
    dlt_h5_file *made = NULL;
    *file = NULL;
    DLT_TRY(dlt_file_open_read(path, kind, (dlt_pos){0}, &fd, &size, diag));
    DLT_TRY(dlt_h5_file_create(fd, path, kind, (dlt_pos){0}, &made, diag));
    dlt_h5_list(fd, size, &sink);
    const dlt_status status = dlt_h5_parse_table(made, sink.buffer.data, sink.buffer.length, diag);
    dlt_buf_release(&sink.buffer);
    if (status != DLT_OK) {
        dlt_h5_close(made);
        return status;
    }
    *file = made;
    return DLT_OK;
}

void dlt_sweep(size_t count, unsigned char (*work)(void *context, size_t i), void *context, unsigned char *results)
{
    enum { RESTART = 4000 };                                        /* libhdf5 leaks where it fails */
    const struct itimerval patience = {.it_value.tv_usec = 150000}; /* processor time; a case takes a millisecond */
    struct shared {
        size_t next;
        unsigned char result[];
    } *shared = mmap(NULL, sizeof *shared + count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("mmap");
        exit(99);
    }
    while (shared->next < count) {
        fflush(NULL);
        const pid_t worker = fork();
        if (worker == 0) {
            /* a test runner's or sanitizer's handler would turn a crash into something else */
            static const int deadly[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGPROF};
            for (size_t i = 0; i < DLT_COUNT(deadly); i++) {
                signal(deadly[i], SIG_DFL);
            }
            mallopt(M_MMAP_THRESHOLD, 1 << 26); /* libhdf5's large blocks would come and go by mmap for each file */
            mallopt(M_TRIM_THRESHOLD, 1 << 28);
            for (size_t done = 0; done < RESTART && shared->next < count; done++) {
                setitimer(ITIMER_PROF, &patience, NULL);
                shared->result[shared->next] = work(context, shared->next);
                shared->next++;
            }
            _exit(0);
        }
        int status = 0;
        while (waitpid(worker, &status, 0) < 0 && errno == EINTR) {
        }
        if (worker < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 99)) {
            perror("fork");
            exit(99);
        }
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            shared->result[shared->next++] = DLT_SWEEP_DIED;
        }
    }
    memcpy(results, shared->result, count);
    munmap(shared, sizeof *shared + count);
}
