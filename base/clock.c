/* base/clock.c: time. */
#include "base/clock.h"

#include <time.h>

int64_t dlt_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with this clock on Linux */
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

double dlt_seconds_since(int64_t start_ns)
{
    return (double)(dlt_clock_ns() - start_ns) * 1e-9;
}

void dlt_clock_stamp(char *text, size_t room)
{
    const time_t now = time(NULL);
    struct tm parts;
    if (localtime_r(&now, &parts) == NULL || strftime(text, room, "%Y-%m-%d-%H%M", &parts) == 0) {
        text[0] = '\0';
    }
}

void dlt_clock_utc(char *text, size_t room)
{
    const time_t now = time(NULL);
    struct tm parts;
    if (gmtime_r(&now, &parts) == NULL || strftime(text, room, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) {
        text[0] = '\0';
    }
}
