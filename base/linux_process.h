/* base/linux_process.h: other processes of this machine. Linux only. */
#ifndef DLT_BASE_LINUX_PROCESS_H
#define DLT_BASE_LINUX_PROCESS_H

#include <stddef.h>
#include <stdint.h>

/**
 * When a process was started, in ticks since boot: with its number that tells it from a later one of the same
 * number. 0: there is none, it has ended and only its parent has not noticed, or it cannot be seen from here.
 */
uint64_t dlt_process_started(long process);
/** What the kernel calls this boot; empty if not known. */
void dlt_boot_name(char *text, size_t room);

#endif
