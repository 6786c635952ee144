/* tests/support/csv_table.h: a table from a few lines of text, for tests of table layers. */
#ifndef DLT_TESTS_CSV_TABLE_H
#define DLT_TESTS_CSV_TABLE_H

#include "base/arena.h"
#include "base/table.h"

/**
 * Columns of CSV text with a header: fields are cut at commas and may stand in double quotes; empty ones and `?` are missing.
 * A column is integer, number or text by what all its values are. The column called `target` (or NULL) is the target.
 */
dlt_table *dlt_csv_table(dlt_arena *arena, const char *text, const char *target);

#endif
