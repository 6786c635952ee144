/* base/clock.h: time. Intervals and deadlines use the monotonic clock; wall time appears only in names and messages. */
#ifndef DLT_BASE_CLOCK_H
#define DLT_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/** Nanoseconds of the monotonic clock. */
int64_t dlt_clock_ns(void);
/** Seconds since an earlier dlt_clock_ns. */
double dlt_seconds_since(int64_t start_ns);
/** "2026-11-20-1912": local time for names; room at least 24. */
void dlt_clock_stamp(char *text, size_t room);
/** "2026-11-20T19:12:03Z"; room at least 24. */
void dlt_clock_utc(char *text, size_t room);

#endif
