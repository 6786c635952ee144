/* base/alloc.h: every allocation of dltrain goes through here, so that it can be counted and made to fail. */
#ifndef DLT_BASE_ALLOC_H
#define DLT_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Memory for `size` bytes, or NULL. A size of 0 gives a valid pointer. Free with dlt_free. */
void *dlt_alloc(size_t size);
/** Zeroed memory for count elements; NULL also when the product overflows. */
void *dlt_alloc_zeroed(size_t count, size_t size);
/** Grows or shrinks to count elements; NULL (and the old block stays) when refused or on overflow. */
void *dlt_realloc(void *block, size_t count, size_t size);
/** Memory aligned to `alignment` (a power of two, a multiple of sizeof(void *)). Free with dlt_free. */
void *dlt_alloc_aligned(size_t alignment, size_t size);
/** NULL is accepted. */
void dlt_free(void *block);

/** Calls of dlt_alloc and its siblings since the process started, all threads together. */
uint64_t dlt_alloc_calls(void);
/**
 * Fault injection for tests: the nth allocation from now (1 is the next one) is refused, and every later one too
 * if `and_all_later`. 0 switches it off. Returns the number of allocations that were refused so far.
 */
uint64_t dlt_alloc_fail_at(uint64_t nth, bool and_all_later);

/** `handler` is called whenever memory is refused, before the caller learns of it; NULL: none. For a process that is to end there. */
void dlt_alloc_on_refusal(void (*handler)(void));

/** Counts an allocation made by other means, and tells whether it must be refused (fault injection). */
bool dlt_alloc_refused(void);

/** *product = a * b; false on overflow. */
static inline bool dlt_mul_size(size_t a, size_t b, size_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}
/** *sum = a + b; false on overflow. */
static inline bool dlt_add_size(size_t a, size_t b, size_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}
/** a / b, rounded up; a >= 0, b > 0 (0 where b is not: there is nothing to be cut then). */
static inline int64_t dlt_divide_up(int64_t a, int64_t b)
{
    return b > 0 ? (a + b - 1) / b : 0;
}
/** *product = a * b for signed 64-bit counts; false on overflow. */
static inline bool dlt_mul_i64(int64_t a, int64_t b, int64_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

#endif
