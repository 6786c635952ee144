/* base/arena.c: bump allocation in blocks that double up to 1 MiB. */
#include "base/arena.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_BLOCK_BYTES = 4096, LARGEST_BLOCK_BYTES = 1 << 20, ALIGNMENT = 16 };

typedef struct block {
    struct block *next;
    size_t size, used; /* bytes of payload */
} block;

struct dlt_arena {
    block *blocks; /* newest first; allocation happens in the first */
    size_t next_size, held;
    bool failed;
};

/* Payload starts at a multiple of ALIGNMENT behind the header. */
static const size_t header_bytes = (sizeof(block) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

dlt_arena *dlt_arena_create(void)
{
    dlt_arena *arena = dlt_alloc_zeroed(1, sizeof *arena);
    if (arena != NULL) {
        arena->next_size = FIRST_BLOCK_BYTES;
    }
    return arena;
}

void dlt_arena_destroy(dlt_arena *arena)
{
    if (arena == NULL) {
        return;
    }
    for (block *b = arena->blocks; b != NULL;) {
        block *next = b->next;
        dlt_free(b);
        b = next;
    }
    dlt_free(arena);
}

static block *add_block(dlt_arena *arena, size_t at_least)
{
    size_t payload = arena->next_size, bytes = 0;
    if (payload < at_least) {
        payload = at_least;
    }
    if (arena->next_size < LARGEST_BLOCK_BYTES) {
        arena->next_size *= 2;
    }
    block *b = dlt_add_size(header_bytes, payload, &bytes) ? dlt_alloc(bytes) : NULL;
    if (b == NULL) {
        return NULL;
    }
    b->size = payload;
    b->used = 0;
    b->next = arena->blocks;
    arena->blocks = b;
    arena->held += bytes;
    return b;
}

void *dlt_arena_alloc(dlt_arena *arena, size_t count, size_t size)
{
    size_t bytes = 0;
    if (arena->failed || !dlt_mul_size(count, size, &bytes) || bytes > SIZE_MAX - ALIGNMENT) {
        arena->failed = true;
        return NULL;
    }
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    block *b = arena->blocks;
    if (b == NULL || b->size - b->used < bytes) {
        b = add_block(arena, bytes);
        if (b == NULL) {
            arena->failed = true;
            return NULL;
        }
    }
    void *at = (char *)b + header_bytes + b->used;
    b->used += bytes;
    return memset(at, 0, bytes);
}

char *dlt_arena_copy(dlt_arena *arena, const char *text, size_t bytes)
{
    char *copy = bytes < SIZE_MAX ? dlt_arena_alloc(arena, bytes + 1, 1) : NULL;
    if (copy != NULL && bytes > 0) {
        memcpy(copy, text, bytes);
    }
    return copy;
}

char *dlt_arena_string(dlt_arena *arena, const char *text)
{
    return dlt_arena_copy(arena, text, strlen(text));
}

char *dlt_arena_printf(dlt_arena *arena, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = length >= 0 ? dlt_arena_alloc(arena, (size_t)length + 1, 1) : NULL;
    if (text != NULL) {
        va_start(args, fmt);
        vsnprintf(text, (size_t)length + 1, fmt, args);
        va_end(args);
    }
    return text;
}

bool dlt_arena_failed(const dlt_arena *arena)
{
    return arena->failed;
}

size_t dlt_arena_bytes(const dlt_arena *arena)
{
    return arena->held;
}
