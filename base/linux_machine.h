/* base/linux_machine.h: what the machine has for us. Linux only. */
#ifndef DLT_BASE_LINUX_MACHINE_H
#define DLT_BASE_LINUX_MACHINE_H

#include "base/text.h"

#include <stdint.h>

/**
 * Bytes that this process may still take without being killed: what the kernel calls available, or what the
 * control groups it is in leave, whichever is less. -1: not known.
 */
int64_t dlt_memory_available(void);
/** "Linux 6.1.0-18-amd64", "AMD EPYC 7R13 Processor": empty if not known. */
void dlt_kernel_name(char *text, size_t room);
void dlt_processor_name(char *text, size_t room);
/** Version of the C library, whose mathematical functions serve where speed does not matter: "2.36". */
const char *dlt_libc_version(void);

#endif
