/* io/data/rows.h: raw rows for prediction, as a stream of tables. */
#ifndef DLT_IO_DATA_ROWS_H
#define DLT_IO_DATA_ROWS_H

#include "io/data/source.h"

/** Rows of a file or of standard input, chunk after chunk; no end need be known. */
typedef struct dlt_rows dlt_rows;

/**
 * Opens `path` ("-" is standard input) for a model whose data had `frame`; targets may be there or not. The
 * kind is told by the file's first bytes; where it is train's own, `like` (train's item, or NULL) gives the
 * other parameters, as the delimiter.
 */
dlt_status dlt_rows_open(const char *path, const dlt_frame *frame, const dlt_item *like, int64_t most,
                         const atomic_int *stop, dlt_rows **rows, dlt_diag *diag);
/** NULL is accepted. */
void dlt_rows_close(dlt_rows *rows);
/** Layout of the columns: the features of `frame`, in its order. */
const dlt_record_layout *dlt_rows_layout(const dlt_rows *rows);
/** The next 1 to `most` rows, as they come; table->rows is 0 at the end. It lives until the next call. */
dlt_status dlt_rows_next(dlt_rows *rows, dlt_table *table, dlt_diag *diag);

#endif
