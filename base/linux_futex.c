/* base/linux_futex.c: futex calls, counted. */
#define _GNU_SOURCE
#include "base/linux_futex.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_uint_fast64_t calls;

void dlt_futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0); /* the caller looks again anyway */
}

void dlt_futex_wake_all(_Atomic uint32_t *word)
{
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

uint64_t dlt_futex_calls(void)
{
    return atomic_load_explicit(&calls, memory_order_relaxed);
}
