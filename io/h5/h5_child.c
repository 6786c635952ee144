/* io/h5/h5_child.c: the process that reads foreign HDF5 files: gives up what it does not need, lists one file, ends. */
#include "io/h5/h5_internal.h"

#include "base/linux_guard.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_bool hook_called;

bool dlt_h5_child_ready(void)
{
    return atomic_load(&hook_called);
}

unsigned dlt_h5_cpu_limit(int64_t size)
{
    const int64_t more = size / ((int64_t)DLT_H5_CHILD_CPU_MIB << 20);
    return more < DLT_H5_CHILD_MOST_CPU_S - DLT_H5_CHILD_CPU_S ? DLT_H5_CHILD_CPU_S + (unsigned)more
                                                               : DLT_H5_CHILD_MOST_CPU_S;
}

static void end_for_memory(void)
{
    _exit(DLT_H5_CHILD_MEMORY);
}

/* Memory that a file may cost: DLT_H5_CHILD_FREE and a few times its size. */
static uint64_t allowance(int64_t size)
{
    const uint64_t most = UINT64_C(1) << 30, free = DLT_H5_CHILD_FREE;
    return (uint64_t)size < (most - free) / DLT_H5_CHILD_RATIO ? free + DLT_H5_CHILD_RATIO * (uint64_t)size : most;
}

void dlt_h5_child_main(int argc, char **argv)
{
    atomic_store(&hook_called, true);
    if (argc < 2 || strcmp(argv[1], DLT_H5_CHILD_ARGUMENT) != 0) {
        return;
    }
    dlt_guard_die_with_parent();
    dlt_guard_close_from(DLT_H5_CHILD_TABLE + 1);
    const bool probe = argc > 2 && strcmp(argv[2], DLT_H5_CHILD_PROBE) == 0;
    struct stat status = {0};
    if (!probe && fstat(DLT_H5_CHILD_FILE, &status) != 0) {
        _exit(DLT_H5_CHILD_REFUSED); /* started by hand */
    }
    const uint64_t memory = allowance((int64_t)status.st_size); /* above what the program takes as it is */
    const dlt_guard_limits limits = {.address_bytes = dlt_guard_address_bytes() + memory,
                                     .cpu_seconds = dlt_h5_cpu_limit((int64_t)status.st_size),
                                     .descriptors = DLT_H5_CHILD_TABLE + 1};
    dlt_h5_child_memory(memory, end_for_memory);
    dlt_h5_library(); /* before the guards: afterwards nothing can be opened */
    unsigned guards = dlt_guard_limit(&limits);
    if (dlt_guard_system_calls(DLT_H5_CHILD_FILE, DLT_H5_CHILD_TABLE)) {
        guards |= DLT_GUARD_SECCOMP;
    }
    if (probe) {
        const ssize_t n = write(DLT_H5_CHILD_TABLE, &guards, sizeof guards);
        _exit(n == (ssize_t)sizeof guards ? 0 : DLT_H5_CHILD_REFUSED);
    }
    h5_sink sink = {.fd = DLT_H5_CHILD_TABLE};
    const bool good = dlt_h5_list(DLT_H5_CHILD_FILE, (int64_t)status.st_size, &sink);
    _exit(good ? 0 : DLT_H5_CHILD_REFUSED);
}
