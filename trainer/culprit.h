/* trainer/culprit.h: which record of the data holds a number that is not finite, or the largest. */
#ifndef DLT_TRAINER_CULPRIT_H
#define DLT_TRAINER_CULPRIT_H

#include "base/arena.h"
#include "base/text.h"
#include "io/data/datasets.h"

/** The squares of larger values come near the end of float32, or lose everything else beside them. */
#define DLT_FAR_OUT 1e15

/** A value of a record: the first that is not finite, else the largest. */
typedef struct dlt_culprit {
    const dlt_view *view;
    const bool *parts; /* that are looked at */
    bool found, finite;
    size_t part;
    int64_t record, element;
    double value; /* as the file has it */
} dlt_culprit;

/**
 * Looks through a view for the culprit among the numbers of a role; `name`: in this column, if there is one; NULL: in all.
 * Missing values of tables are none.
 */
dlt_status dlt_culprit_find(dlt_arena *arena, const dlt_view *view, dlt_role role, const char *name,
                            dlt_culprit *culprit, dlt_diag *diag);
/** "record 17 of x.npy, column 1 is nan". Records count from 1, columns and elements from 0. */
void dlt_culprit_describe(const dlt_culprit *culprit, dlt_buf *out);
/** The same as a note: "  BEFORE: record 17 of x.npy, column 1 is nan". */
void dlt_culprit_say(const char *before, const dlt_culprit *culprit, dlt_diag *diag);

#endif
