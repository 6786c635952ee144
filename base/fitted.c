/* base/fitted.c: named lists of numbers and texts. */
#include "base/fitted.h"

#include <string.h>

/* The entry of a name, added if it is new; NULL when memory is refused. */
static dlt_fitted_entry *entry_of(dlt_fitted *fitted, const char *name)
{
    for (size_t i = 0; i < fitted->count; i++) {
        if (strcmp(fitted->entries[i].name, name) == 0) {
            return &fitted->entries[i];
        }
    }
    if (fitted->count == fitted->room) {
        const size_t room = fitted->room > 0 ? 2 * fitted->room : 16;
        dlt_fitted_entry *grown = dlt_arena_alloc(fitted->arena, room, sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        if (fitted->count > 0) {
            memcpy(grown, fitted->entries, fitted->count * sizeof *grown);
        }
        fitted->entries = grown;
        fitted->room = room;
    }
    const char *kept = dlt_arena_string(fitted->arena, name);
    if (kept == NULL) {
        return NULL;
    }
    fitted->entries[fitted->count].name = kept;
    return &fitted->entries[fitted->count++];
}

bool dlt_fitted_numbers(dlt_fitted *fitted, const char *name, const double *numbers, size_t count)
{
    dlt_fitted_entry *entry = entry_of(fitted, name);
    double *copy = dlt_arena_alloc(fitted->arena, count, sizeof *copy);
    if (entry == NULL || copy == NULL) {
        return false;
    }
    if (count > 0) {
        memcpy(copy, numbers, count * sizeof *copy);
    }
    *entry = (dlt_fitted_entry){.name = entry->name, .count = count, .numbers = copy};
    return true;
}

bool dlt_fitted_texts(dlt_fitted *fitted, const char *name, const char *const *texts, size_t count)
{
    dlt_fitted_entry *entry = entry_of(fitted, name);
    const char **copy = dlt_arena_alloc(fitted->arena, count, sizeof *copy);
    if (entry == NULL || copy == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        copy[i] = dlt_arena_string(fitted->arena, texts[i]);
        if (copy[i] == NULL) {
            return false;
        }
    }
    *entry = (dlt_fitted_entry){.name = entry->name, .count = count, .texts = copy};
    return true;
}

const dlt_fitted_entry *dlt_fitted_find(const dlt_fitted *fitted, const char *name)
{
    for (size_t i = 0; i < fitted->count; i++) {
        if (strcmp(fitted->entries[i].name, name) == 0) {
            return &fitted->entries[i];
        }
    }
    return NULL;
}
