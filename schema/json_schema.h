/* schema/json_schema.h: the field tables as a JSON Schema, for editors (yaml-language-server) and for CI. */
#ifndef DLT_SCHEMA_JSON_SCHEMA_H
#define DLT_SCHEMA_JSON_SCHEMA_H

#include "base/kind.h"
#include "base/text.h"

/**
 * Appends a schema of model files, draft 07: the draft that yaml-language-server reads in full. It accepts
 * whatever dltrain accepts of single values, also `${...}`, `1/255` and `1e-3` as text (decisions 36); rules
 * across values are dltrain's own. Check out->failed.
 */
void dlt_json_schema(const dlt_catalogue *catalogue, dlt_buf *out);

#endif
