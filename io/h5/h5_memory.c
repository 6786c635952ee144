/* io/h5/h5_memory.c: what libhdf5 gets where memory is refused.
 *
 * libhdf5 does not bear a refusal: by the place it dies, ends the process, or keeps what it cannot close any more. So where its
 * archive is linked (cmake/hdf5.cmake) the linker leads malloc and its siblings through this file. While a writer is open on a
 * thread, what the C library refuses there comes from a reserve that the writer got before it began: libhdf5 goes on as if
 * nothing had happened, the writer sees it after the call, and gives the file up. In the process that reads foreign files the
 * first refusal ends the process, and its parent knows why.
 *
 * Without the archive (DLT_H5_WRAPPED is not defined) libhdf5 is left to itself. */
#include "io/h5/h5_internal.h"

#include "base/alloc.h"

#include <malloc.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* From a first refusal to the end of the call and of the file libhdf5 takes some hundred KiB. Pages that are not touched cost
 * nothing. */
enum { RESERVE_BYTES = 4 << 20, ALIGNMENT = 16 };

/* Blocks one behind the other; each stands behind its size. What libhdf5 keeps for good stays in its reserve, and the next
 * writer gets another. */
typedef struct reserve {
    struct reserve *older;
    size_t used;       /* bytes */
    atomic_size_t live; /* blocks */
    alignas(ALIGNMENT) unsigned char bytes[RESERVE_BYTES];
} reserve;

static _Atomic(reserve *) reserves; /* the newest first; they are never freed, as their blocks may be anywhere */
static _Thread_local bool writing;
static _Thread_local bool served;

bool dlt_h5_reserve_begin(void)
{
    reserve *newest = atomic_load(&reserves);
    if (newest != NULL && atomic_load(&newest->live) == 0) {
        newest->used = 0;
    }
    if (newest == NULL || newest->used > RESERVE_BYTES / 2) {
        reserve *made = dlt_alloc(sizeof *made);
        if (made == NULL) {
            return false;
        }
        made->older = newest;
        made->used = 0;
        atomic_init(&made->live, 0);
        atomic_store(&reserves, made);
    }
    writing = true;
    served = false;
    return true;
}

bool dlt_h5_reserve_used(void)
{
    return served;
}

void dlt_h5_reserve_end(void)
{
    writing = served = false;
}

static atomic_bool in_child;
static void (*end_child)(void); /* set before in_child */
static atomic_bool too_much;    /* was asked for: the file is at fault, whatever else is refused because of it */
static int64_t most_held;
static atomic_int_fast64_t held; /* bytes that the child has, once it counts them */

static void end_unless_too_much(void)
{
    if (!atomic_load(&too_much)) {
        end_child();
    }
}

void dlt_h5_child_memory(uint64_t limit_bytes, void (*end)(void))
{
    end_child = end;
    most_held = (int64_t)(limit_bytes / 2);
    atomic_store(&in_child, true);
    dlt_alloc_on_refusal(end_unless_too_much);
}

#ifdef DLT_H5_WRAPPED
/* The names are the linker's. NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __wrap_free(void *block);
char *__wrap_strdup(const char *text);

/* The reserve that a block lies in, or NULL. */
static reserve *reserve_of(const void *block)
{
    const uintptr_t at = (uintptr_t)block;
    reserve *r = atomic_load_explicit(&reserves, memory_order_acquire);
    while (r != NULL && (at < (uintptr_t)r->bytes || at >= (uintptr_t)r->bytes + RESERVE_BYTES)) {
        r = r->older;
    }
    return r;
}

static size_t size_of(const unsigned char *block)
{
    size_t size = 0;
    memcpy(&size, block - ALIGNMENT, sizeof size);
    return size;
}

static void *from_reserve(size_t size)
{
    reserve *r = atomic_load(&reserves);
    if (size > RESERVE_BYTES - 2 * ALIGNMENT) {
        return NULL;
    }
    const size_t bytes = ALIGNMENT + (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (bytes > RESERVE_BYTES - r->used) {
        return NULL;
    }
    unsigned char *block = r->bytes + r->used + ALIGNMENT;
    memcpy(block - ALIGNMENT, &size, sizeof size);
    r->used += bytes;
    atomic_fetch_add(&r->live, 1);
    return block;
}

/* What is given for a block of so many bytes, when the C library gave `block`. */
static void *given(void *block, size_t size)
{
    if (block != NULL) {
        if (atomic_load_explicit(&in_child, memory_order_relaxed)) {
            atomic_fetch_add(&held, (int_fast64_t)malloc_usable_size(block));
        }
        return block;
    }
    if (atomic_load_explicit(&in_child, memory_order_relaxed)) {
        if (size > (size_t)most_held || atomic_load(&held) + (int64_t)size > most_held) {
            atomic_store(&too_much, true);
        }
        end_unless_too_much();
    }
    if (writing) {
        served = true;
        return from_reserve(size);
    }
    return NULL;
}

static void taken(void *block)
{
    if (block != NULL && atomic_load_explicit(&in_child, memory_order_relaxed)) {
        atomic_fetch_sub(&held, (int_fast64_t)malloc_usable_size(block));
    }
}

void *__wrap_malloc(size_t size)
{
    return given(__real_malloc(size), size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    size_t bytes = 0;
    void *block = __real_calloc(count, size);
    if (block != NULL || !dlt_mul_size(count, size, &bytes)) {
        return block != NULL ? given(block, 0) : NULL;
    }
    block = given(NULL, bytes);
    return block != NULL ? memset(block, 0, bytes) : NULL;
}

void *__wrap_realloc(void *block, size_t size)
{
    reserve *from = block != NULL ? reserve_of(block) : NULL;
    size_t old = 0;
    if (from == NULL) {
        old = block != NULL ? malloc_usable_size(block) : 0;
        void *moved = __real_realloc(block, size);
        if (moved != NULL || size == 0) {
            if (atomic_load_explicit(&in_child, memory_order_relaxed)) {
                atomic_fetch_sub(&held, (int_fast64_t)old);
            }
            return moved != NULL ? given(moved, size) : NULL;
        }
    } else {
        old = size_of(block);
    }
    void *moved = from == NULL ? given(NULL, size) : __wrap_malloc(size);
    if (moved != NULL && block != NULL) {
        memcpy(moved, block, old < size ? old : size);
        __wrap_free(block);
    }
    return moved;
}

void __wrap_free(void *block)
{
    reserve *r = block != NULL ? reserve_of(block) : NULL;
    if (r != NULL) {
        atomic_fetch_sub(&r->live, 1);
        return;
    }
    taken(block);
    __real_free(block);
}

char *__wrap_strdup(const char *text)
{
    const size_t bytes = strlen(text) + 1;
    char *copy = __wrap_malloc(bytes);
    return copy != NULL ? memcpy(copy, text, bytes) : NULL;
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
#endif
