/* base/linux_process.c: other processes of this machine. */
#include "base/linux_process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The beginning of a small file of the kernel, empty if there is none. */
static void read_start(const char *path, char *text, size_t room)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t bytes = fd >= 0 ? read(fd, text, room - 1) : -1;
    text[bytes > 0 ? bytes : 0] = '\0';
    if (fd >= 0) {
        close(fd);
    }
}

uint64_t dlt_process_started(long process)
{
    enum { STATE = 3, START = 22 }; /* fields of /proc/PID/stat, from 1 (man 5 proc) */
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", process);
    read_start(path, text, sizeof text);
    const char *at = strrchr(text, ')'); /* field 2, the name, may hold anything */
    if (at == NULL || at[1] != ' ' || strchr("ZX", at[2]) != NULL) {
        return 0;
    }
    for (int field = STATE - 1; field < START && at != NULL; field++) {
        at = strchr(at + 1, ' ');
    }
    return at != NULL ? strtoull(at + 1, NULL, 10) : 0;
}

void dlt_boot_name(char *text, size_t room)
{
    read_start("/proc/sys/kernel/random/boot_id", text, room);
    text[strcspn(text, "\n")] = '\0';
}
