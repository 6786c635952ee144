/* cmd/fit_process.h: `dltrain fit` in a process of its own, for the commands that prove something about runs. */
#ifndef DLT_CMD_FIT_PROCESS_H
#define DLT_CMD_FIT_PROCESS_H

#include "schema/spec.h"

#include <sys/types.h>

enum { DLT_FIT_WORDS = 256, DLT_FIT_KILLED = -1 };

/** The words of a command line; texts live in the arena. What memory was refused for is told by
 * dlt_fit_words_complete. */
typedef struct dlt_fit_words {
    dlt_arena *arena;
    const char *at[DLT_FIT_WORDS + 1];
    int count;
    bool failed;
} dlt_fit_words;

/** "dltrain fit MODEL". */
dlt_fit_words dlt_fit_words_begin(dlt_arena *arena, const char *model);
void dlt_fit_words_add(dlt_fit_words *words, const char *word);
/** Adds a flag with its value. */
void dlt_fit_words_flag(dlt_fit_words *words, const char *flag, const char *value);
/**
 * Adds overrides that send the files which callbacks write into `folder`: those that the model file names are the
 * user's and stay as they are, and each run has to write its own.
 */
void dlt_fit_words_redirect(dlt_fit_words *words, const dlt_spec *spec, const char *folder);
/** False if words are missing: memory was refused, or there were too many. */
bool dlt_fit_words_complete(const dlt_fit_words *words);

/** Starts it without standard input; what it says is appended to the file `log`. */
dlt_status dlt_fit_start(const dlt_fit_words *words, const char *log, pid_t *child, dlt_diag *diag);
/** Waits for its end; the exit code, or DLT_FIT_KILLED. */
int dlt_fit_wait(pid_t child);
/** Looks whether it has ended; if so, *code is as above. */
bool dlt_fit_ended(pid_t child, int *code);

/**
 * It ended with `code` where it should not: shows the end of its log on standard error and fails with what the code
 * means. when: "when it was resumed".
 */
dlt_status dlt_fit_failed(const char *log, int code, const char *when, dlt_diag *diag);

/** Removes a folder and everything in it; symbolic links are not followed. */
void dlt_remove_folder(const char *path);

#endif
