/* base/arena.h: memory that is given back all at once. Owns what is described: specs, graphs, plans. */
#ifndef DLT_BASE_ARENA_H
#define DLT_BASE_ARENA_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct dlt_arena dlt_arena;

/** An empty arena, or NULL. */
dlt_arena *dlt_arena_create(void);
/** NULL is accepted. */
void dlt_arena_destroy(dlt_arena *arena);

/**
 * Zeroed memory for count elements of size bytes, aligned for any type; lives until the arena is destroyed.
 * NULL after a refusal, which is sticky: every later call returns NULL too, so a phase asks dlt_arena_failed once
 * at its end. A zero product gives a valid pointer.
 */
void *dlt_arena_alloc(dlt_arena *arena, size_t count, size_t size);
/** Copy of `bytes` bytes and a NUL after them. */
char *dlt_arena_copy(dlt_arena *arena, const char *text, size_t bytes);
/** Copy of a string. */
char *dlt_arena_string(dlt_arena *arena, const char *text);
/** Formatted string. */
char *dlt_arena_printf(dlt_arena *arena, const char *fmt, ...) DLT_PRINTF(2, 3);
/** True once any allocation of this arena was refused. */
bool dlt_arena_failed(const dlt_arena *arena);
/** Bytes held from the system. */
size_t dlt_arena_bytes(const dlt_arena *arena);

#endif
