/* base/linux_machine.c: what the machine has for us. */
#include "base/linux_machine.h"

#include <ctype.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { ROOM = 16384 };

/* The beginning of a small file of the kernel; false if there is none. */
static bool read_start(const char *path, char text[ROOM])
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t bytes = fd >= 0 ? read(fd, text, ROOM - 1) : -1;
    text[bytes > 0 ? bytes : 0] = '\0';
    if (fd >= 0) {
        close(fd);
    }
    return bytes > 0;
}

/* The number that a file begins with, or -1 ("max"). */
static int64_t number_in(const char *path)
{
    char text[ROOM];
    return read_start(path, text) && isdigit((unsigned char)text[0]) ? (int64_t)strtoll(text, NULL, 10) : -1;
}

/* What the control groups above this process leave, or -1. Files of the page cache can be taken back: they do
 * not count. */
static int64_t left_by_groups(void)
{
    char all[ROOM], stat[ROOM], path[ROOM + sizeof "/sys/fs/cgroup"], file[sizeof path + sizeof "/memory.current"];
    int64_t least = -1;
    if (!read_start("/proc/self/cgroup", all)) {
        return -1;
    }
    const char *own = strstr(all, "0::/");
    if (own == NULL) {
        return -1;
    }
    const size_t length = strcspn(own + 3, "\n");
    if (own[3 + length] != '\n') {
        return -1; /* longer than what was read: its beginning may be another group */
    }
    snprintf(path, sizeof path, "/sys/fs/cgroup%.*s", (int)length, own + 3);
    for (;;) {
        snprintf(file, sizeof file, "%s/memory.max", path);
        const int64_t most = number_in(file);
        snprintf(file, sizeof file, "%s/memory.current", path);
        const int64_t used = number_in(file);
        if (most >= 0 && used >= 0) {
            snprintf(file, sizeof file, "%s/memory.stat", path);
            const char *cache = read_start(file, stat) ? strstr(stat, "\nfile ") : NULL;
            const int64_t taken_back = cache != NULL ? strtoll(cache + 6, NULL, 10) : 0;
            const int64_t left = most - used + (taken_back < used ? taken_back : used);
            least = least < 0 || left < least ? left : least;
        }
        char *slash = strrchr(path, '/');
        if (slash == NULL || slash <= path + strlen("/sys/fs/cgroup") - 1) {
            return least;
        }
        *slash = '\0';
    }
}

int64_t dlt_memory_available(void)
{
    char text[ROOM];
    const char *line = read_start("/proc/meminfo", text) ? strstr(text, "MemAvailable:") : NULL;
    const int64_t free_bytes = line != NULL ? strtoll(line + strlen("MemAvailable:"), NULL, 10) * 1024 : -1;
    const int64_t left = left_by_groups();
    return left >= 0 && (free_bytes < 0 || left < free_bytes) ? left : free_bytes;
}

void dlt_kernel_name(char *text, size_t room)
{
    struct utsname name;
    snprintf(text, room, "%s%s%s", uname(&name) == 0 ? name.sysname : "", " ",
             uname(&name) == 0 ? name.release : "");
}

void dlt_processor_name(char *text, size_t room)
{
    char all[ROOM];
    const char *line = read_start("/proc/cpuinfo", all) ? strstr(all, "model name") : NULL;
    const char *name = line != NULL ? strchr(line, ':') : NULL;
    snprintf(text, room, "%.*s", name != NULL ? (int)strcspn(name + 2, "\n") : 0,
             name != NULL ? name + 2 : "");
}

const char *dlt_libc_version(void)
{
    return gnu_get_libc_version();
}
