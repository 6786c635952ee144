/* trainer/planted.h: bugs that are planted on purpose, to see that verify-resume finds them.
 *
 * DLT_PLANTED("slot") is the constant false in the product. tests/ build a second program, dltrain_planted,
 * of the same sources with -DDLT_PLANTED_BUGS; there the environment variable DLTRAIN_PLANT chooses a bug:
 *   slot    one array of the optimizer is not read back from a checkpoint
 *   cursor  the place in the data is one batch off after a resume
 *   buffer  a checkpoint is written from memory that the steps after it overwrite */
#ifndef DLT_TRAINER_PLANTED_H
#define DLT_TRAINER_PLANTED_H

#ifdef DLT_PLANTED_BUGS
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static inline bool dlt_planted(const char *bug)
{
    const char *chosen = getenv("DLTRAIN_PLANT");
    return chosen != NULL && strcmp(chosen, bug) == 0;
}
#define DLT_PLANTED(bug) dlt_planted(bug)
#else
#define DLT_PLANTED(bug) false
#endif

#endif
