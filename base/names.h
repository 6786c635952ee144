/* base/names.h: a map from names to numbers, in an arena. */
#ifndef DLT_BASE_NAMES_H
#define DLT_BASE_NAMES_H

#include "base/arena.h"

#include <stdint.h>

/** Starts as {.arena = arena}. Names are borrowed: they must live as long as the map. */
typedef struct dlt_names {
    dlt_arena *arena;
    struct dlt_names_entry {
        const char *name;
        int64_t value;
    } *entries; /* open addressing; room is a power of two */
    size_t count, room;
} dlt_names;

/** Place of the name's value, which is added as `start` where the name is new; NULL when memory is refused. */
int64_t *dlt_names_at(dlt_names *names, const char *name, int64_t start);
/** Place of the name's value, or NULL. */
int64_t *dlt_names_find(const dlt_names *names, const char *name);

#endif
