/* cmd/print_diag.h: messages for people, with the line they are about, and for machines, as JSON. */
#ifndef DLT_CMD_PRINT_DIAG_H
#define DLT_CMD_PRINT_DIAG_H

#include "base/diag.h"
#include "base/text.h"

typedef struct dlt_print_options {
    bool color;
    int width; /* columns of the terminal; longer source lines show the part around the mistake */
} dlt_print_options;

/**
 * Appends every message: "file:line:column: text", the line of the source and a caret line under the token.
 * Tabs are widened, East Asian wide characters take two columns, combining ones none, control characters show
 * as '?'.
 */
void dlt_print_messages(const dlt_diag *diag, const dlt_print_options *options, dlt_buf *out);
/** The same as one JSON object a line: file, line, column, span, severity, code, key, found, allowed,
 * nearest, text. */
void dlt_print_messages_json(const dlt_diag *diag, dlt_buf *out);
/** "3 errors in model.yaml", "1 error, 2 warnings in model.yaml"; nothing when there are none. */
void dlt_print_summary(const dlt_diag *diag, const char *file, dlt_buf *out);
/** Options for a file descriptor: colour only on a terminal, with NO_COLOR unset and a TERM that is not dumb.
 */
dlt_print_options dlt_print_options_for(int fd);

#endif
