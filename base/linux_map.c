/* base/linux_map.c: large zeroed memory. */
#include "base/linux_map.h"

#include "base/alloc.h"

#include <sys/mman.h>
#include <unistd.h>

enum { HUGE_PAGE_BYTES = 2 << 20 };

void *dlt_map_zeroed(size_t bytes)
{
    if (dlt_alloc_refused()) {
        return NULL;
    }
    void *memory = mmap(NULL, bytes > 0 ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
    if (bytes >= 4 * (size_t)HUGE_PAGE_BYTES) {
        madvise(memory, bytes, MADV_HUGEPAGE); /* a wish */
    }
    return memory;
}

void dlt_unmap(void *memory, size_t bytes)
{
    if (memory != NULL) {
        munmap(memory, bytes > 0 ? bytes : 1);
    }
}

size_t dlt_memory_of_machine(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (size_t)pages * (size_t)size : 0;
}
