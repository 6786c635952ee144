/* trainer/compare.h: are two runs the same, bit for bit? */
#ifndef DLT_TRAINER_COMPARE_H
#define DLT_TRAINER_COMPARE_H

#include "base/text.h"
#include "schema/spec.h"

/** What was compared. */
typedef struct dlt_comparison {
    int weights, optimizer, state; /* arrays: of the model, of the optimizer, the rest (metric sums, random
                                      state, average weights) */
    int files;                     /* of logs and callbacks */
    int differences;               /* arrays, files and entries of the progress that are not the same */
} dlt_comparison;

/**
 * Compares the final weights files of two run directories array by array, what they say of progress and
 * callbacks, and the files history.csv and metrics.jsonl. A difference puts one line into `out`: what, which weight
 * at which place of the model file, how many elements, the first with both values; weights come first, and of many
 * arrays only the first few are told. Times and paths are not compared. spec: of both; it is looked at only where
 * they differ, which reads the data once more. callbacks: what callbacks remember is compared too; it may hang on
 * files that were there before.
 */
dlt_status dlt_runs_compare(const dlt_run_spec *spec, const char *run, const char *other, bool callbacks,
                            dlt_comparison *comparison, dlt_buf *out, dlt_diag *diag);
/** Adds to a comparison: all files of two folders, byte by byte. A folder that is not there has none. */
dlt_status dlt_folders_compare(const char *folder, const char *other, dlt_comparison *comparison,
                               dlt_buf *out, dlt_diag *diag);

#endif
