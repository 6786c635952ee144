/* cmd/write_out.h: results on standard output and in files that the user names. */
#ifndef DLT_CMD_WRITE_OUT_H
#define DLT_CMD_WRITE_OUT_H

#include "base/diag.h"
#include "base/text.h"

#include <stdbool.h>

/** Writes a text to stdout. DLT_E_OUTPUT when it cannot, DLT_E_MEMORY when the text is not whole, DLT_E_STOPPED when a signal
 * came while the reader of a pipe kept it waiting. */
dlt_status dlt_write_out(const dlt_buf *text, dlt_diag *diag);
/** Flushes stdout; a failure that stdio noticed earlier is reported here at the latest. A pipe that was
 * closed by its reader (`| head`) fails without a message. */
dlt_status dlt_flush_out(dlt_diag *diag);
/** Whether a write to standard output failed because the reader of that pipe is gone. */
bool dlt_reader_left(void);
/** Whether an existing file may be replaced. */
typedef enum dlt_write_mode { DLT_WRITE_NEW, DLT_WRITE_REPLACE } dlt_write_mode;
/** Writes a file that --output names, where cmd/output_guard.h lets it. DLT_WRITE_NEW: one that exists is left as it is,
 * DLT_E_OUTPUT. Devices and pipes: io/outfile.h. */
dlt_status dlt_write_file(const char *path, dlt_write_mode mode, const dlt_buf *text, dlt_diag *diag);
/** Whether --output names standard output: by NULL (not given), by `-`, or by a name of what it is (/dev/stdout). */
bool dlt_is_standard_output(const char *path);

#endif
