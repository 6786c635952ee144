/* cmd/exit_codes.h: what the program ends with (decisions 32). */
#ifndef DLT_CMD_EXIT_CODES_H
#define DLT_CMD_EXIT_CODES_H

#include "base/status.h"

/** A row for each code, for the man page; ends with a NULL text. */
typedef struct dlt_exit_code {
    int code;
    const char *text;
} dlt_exit_code;

const dlt_exit_code *dlt_exit_codes(void);
/** The exit code of a status. */
int dlt_exit_code_of(dlt_status status);
/** The status that an exit code of ours stands for; DLT_E_INTERNAL for any other. */
dlt_status dlt_status_of_exit(int code);
/** The word of a status for machines: "config", "data"; "" for DLT_OK. */
const char *dlt_status_word(dlt_status status);

#endif
