/* base/alloc.c: counted allocation with fault injection. */
#include "base/alloc.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

static atomic_uint_fast64_t calls;
static atomic_uint_fast64_t fail_at; /* value of `calls` whose allocation is refused; 0 = none */
static atomic_bool fail_later;
static atomic_uint_fast64_t refused;
static _Atomic(void (*)(void)) on_refusal;

bool dlt_alloc_refused(void)
{
    const uint64_t call = atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed) + 1;
    const uint64_t at = atomic_load_explicit(&fail_at, memory_order_relaxed);
    if (at == 0 || call < at || (call > at && !atomic_load_explicit(&fail_later, memory_order_relaxed))) {
        return false;
    }
    atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
    errno = ENOMEM;
    return true;
}

void dlt_alloc_on_refusal(void (*handler)(void))
{
    atomic_store(&on_refusal, handler);
}

static void *given(void *block)
{
    void (*handler)(void) = block == NULL ? atomic_load(&on_refusal) : NULL;
    if (handler != NULL) {
        handler();
    }
    return block;
}

void *dlt_alloc(size_t size)
{
    return given(dlt_alloc_refused() ? NULL : malloc(size > 0 ? size : 1));
}

void *dlt_alloc_zeroed(size_t count, size_t size)
{
    if (dlt_alloc_refused()) {
        return given(NULL);
    }
    return given(count > 0 && size > 0 ? calloc(count, size) : calloc(1, 1));
}

void *dlt_realloc(void *block, size_t count, size_t size)
{
    size_t bytes = 0;
    if (dlt_alloc_refused() || !dlt_mul_size(count, size, &bytes)) {
        return given(NULL);
    }
    return given(realloc(block, bytes > 0 ? bytes : 1));
}

void *dlt_alloc_aligned(size_t alignment, size_t size)
{
    void *block = NULL;
    if (dlt_alloc_refused() || posix_memalign(&block, alignment, size > 0 ? size : 1) != 0) {
        return given(NULL);
    }
    return block;
}

void dlt_free(void *block)
{
    free(block);
}

uint64_t dlt_alloc_calls(void)
{
    return atomic_load_explicit(&calls, memory_order_relaxed);
}

uint64_t dlt_alloc_fail_at(uint64_t nth, bool and_all_later)
{
    atomic_store_explicit(&fail_later, and_all_later, memory_order_relaxed);
    atomic_store_explicit(&fail_at, nth > 0 ? dlt_alloc_calls() + nth : 0, memory_order_relaxed);
    return atomic_load_explicit(&refused, memory_order_relaxed);
}
