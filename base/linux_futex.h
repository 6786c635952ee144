/* base/linux_futex.h: sleeping until a 32-bit word changes. Linux's own (decisions 37). */
#ifndef DLT_BASE_LINUX_FUTEX_H
#define DLT_BASE_LINUX_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

/** Sleeps while *word == seen; may return early. */
void dlt_futex_wait(_Atomic uint32_t *word, uint32_t seen);
/** Wakes all who sleep on the word. */
void dlt_futex_wake_all(_Atomic uint32_t *word);
/** Number of futex calls of this process so far: a steady step makes next to none (decisions 21). */
uint64_t dlt_futex_calls(void);

#endif
