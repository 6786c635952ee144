/* base/names.c: a map from names to numbers. */
#include "base/names.h"

#include "base/rng.h"

#include <string.h>

/* The entry of a name, or the free one where it would stand. */
static struct dlt_names_entry *slot_of(const dlt_names *names, const char *name)
{
    size_t at = dlt_fnv1a(name) & (names->room - 1);
    while (names->entries[at].name != NULL && strcmp(names->entries[at].name, name) != 0) {
        at = (at + 1) & (names->room - 1);
    }
    return &names->entries[at];
}

int64_t *dlt_names_find(const dlt_names *names, const char *name)
{
    if (names->count == 0) {
        return NULL;
    }
    struct dlt_names_entry *entry = slot_of(names, name);
    return entry->name != NULL ? &entry->value : NULL;
}

int64_t *dlt_names_at(dlt_names *names, const char *name, int64_t start)
{
    if (names->count * 2 >= names->room) {
        const dlt_names old = *names;
        names->room = old.room > 0 ? old.room * 2 : 64;
        names->entries = dlt_arena_alloc(names->arena, names->room, sizeof *names->entries);
        if (names->entries == NULL) {
            *names = old;
            return NULL;
        }
        for (size_t i = 0; i < old.room; i++) {
            if (old.entries[i].name != NULL) {
                *slot_of(names, old.entries[i].name) = old.entries[i];
            }
        }
    }
    struct dlt_names_entry *entry = slot_of(names, name);
    if (entry->name == NULL) {
        *entry = (struct dlt_names_entry){name, start};
        names->count++;
    }
    return &entry->value;
}
