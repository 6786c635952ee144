/* base/fitted.h: what preprocessing learned from the training data (vocabularies, means), as named lists of numbers and
 * texts. Layers fill and read it; the checkpoint keeps it under /dltrain/preprocess, so that predict takes raw rows. */
#ifndef DLT_BASE_FITTED_H
#define DLT_BASE_FITTED_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct dlt_fitted_entry {
    const char *name;          /* "age:mean", "workclass:vocabulary" */
    size_t count;
    const double *numbers;     /* either these */
    const char *const *texts;  /* or these; may hold any bytes but NUL */
} dlt_fitted_entry;

/** Starts as {.arena = arena}. */
typedef struct dlt_fitted {
    dlt_arena *arena;
    dlt_fitted_entry *entries;
    size_t count, room;
} dlt_fitted;

/** Copies the values into the arena; false when memory is refused. A name that is there already is replaced. */
bool dlt_fitted_numbers(dlt_fitted *fitted, const char *name, const double *numbers, size_t count);
bool dlt_fitted_texts(dlt_fitted *fitted, const char *name, const char *const *texts, size_t count);
/** The entry of a name, or NULL. */
const dlt_fitted_entry *dlt_fitted_find(const dlt_fitted *fitted, const char *name);

#endif
