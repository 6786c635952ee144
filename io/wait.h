/* io/wait.h: waiting for the other side of a pipe, and for being asked to stop. */
#ifndef DLT_IO_WAIT_H
#define DLT_IO_WAIT_H

#include <stdatomic.h>
#include <stdbool.h>

/** How long a request to stop may go unnoticed. */
enum { DLT_WAIT_SLICE_MS = 50 };

/**
 * Waits until `fd` can be read or written (`events`: POLLIN or POLLOUT; its end, or an error, is for the read or write to
 * tell) and returns true, or false when *stop is not 0 before that. stop NULL: returns true at once, and the call that
 * follows waits.
 */
bool dlt_wait_ready(int fd, short events, const atomic_int *stop);
/** Waits a slice; false when *stop is not 0. For what cannot be polled. */
bool dlt_wait_slice(const atomic_int *stop);

#endif
