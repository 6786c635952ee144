/* schema/reference.h: the field tables as text to read: `dltrain help` and docs/config.md. */
#ifndef DLT_SCHEMA_REFERENCE_H
#define DLT_SCHEMA_REFERENCE_H

#include "base/kind.h"
#include "base/text.h"

/** One kind: what it is, how it is written, its keys. `category` is NULL for the model file itself. */
void dlt_reference_kind(const dlt_catalogue *catalogue, const dlt_category *category, const dlt_kind *kind,
                        int width, dlt_buf *out);
/** The kinds of a category, one a line. */
void dlt_reference_category(const dlt_category *category, int width, dlt_buf *out);
/**
 * Whatever `word` means: a kind by any of its names, a category, a section or key of the model file ("fit",
 * "fit.batch_size", "batch_size"), a key of kinds ("kernel_size"). All meanings are written; false if there
 * is none, and *nearest is then the known word most like it, or NULL (borrowed from the tables, or from
 * `room`, of at least 128 bytes).
 */
bool dlt_reference(const dlt_catalogue *catalogue, const char *word, int width, dlt_buf *out, char *room,
                   const char **nearest);
/** The whole reference as Markdown: docs/config.md. */
void dlt_reference_markdown(const dlt_catalogue *catalogue, dlt_buf *out);

#endif
