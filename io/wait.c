/* io/wait.c: waiting for the other side of a pipe.
 *
 * A handler only sets a flag (trainer/signals.h), and the signal may have been taken by any thread: no call of this one need
 * come back with EINTR, and one that came just before a wait would be missed. So no wait is longer than a slice, and the
 * flag is looked at after each. */
#include "io/wait.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>

static bool asked(const atomic_int *stop)
{
    return stop != NULL && atomic_load_explicit(stop, memory_order_relaxed) != 0;
}

bool dlt_wait_ready(int fd, short events, const atomic_int *stop)
{
    if (stop == NULL) {
        return true;
    }
    for (;;) {
        struct pollfd wanted = {.fd = fd, .events = events};
        const int ready = poll(&wanted, 1, DLT_WAIT_SLICE_MS);
        if (ready > 0 || (ready < 0 && errno != EINTR)) {
            return true;
        }
        if (asked(stop)) {
            return false;
        }
    }
}

bool dlt_wait_slice(const atomic_int *stop)
{
    (void)poll(NULL, 0, DLT_WAIT_SLICE_MS);
    return !asked(stop);
}
