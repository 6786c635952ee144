/* base/linux_map.h: large zeroed memory straight from the kernel: pages come when they are touched, in 2 MiB pieces where
 * the system offers them. Counted and refusable like base/alloc.h. */
#ifndef DLT_BASE_LINUX_MAP_H
#define DLT_BASE_LINUX_MAP_H

#include <stddef.h>

/** Zeroed memory at a page boundary, or NULL. */
void *dlt_map_zeroed(size_t bytes);
/** NULL is accepted; bytes as given to dlt_map_zeroed. */
void dlt_unmap(void *memory, size_t bytes);
/** Bytes of memory this machine has; 0 if that cannot be told. */
size_t dlt_memory_of_machine(void);

#endif
