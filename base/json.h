/* base/json.h: writing JSON (RFC 8259). Reading is io/yaml.h's work: JSON is a subset of YAML's flow style, and one parser
 * with limits and positions is enough. A library's writer would print 0.1 as 0.10000000000000001. */
#ifndef DLT_BASE_JSON_H
#define DLT_BASE_JSON_H

#include "base/text.h"

/** Writes into a text; commas and, where asked for, line breaks and indentation come by themselves. */
typedef struct dlt_json {
    dlt_buf *out;
    int indent;    /* spaces a level; 0 writes everything on one line */
    int depth;
    bool has_item; /* something stands before in the open object or array */
    bool after_key;
} dlt_json;

/** `out` is borrowed while writing. */
void dlt_json_init(dlt_json *json, dlt_buf *out, int indent);
void dlt_json_open(dlt_json *json, char bracket);  /* '{' or '[' */
void dlt_json_close(dlt_json *json, char bracket); /* '}' or ']' */
void dlt_json_key(dlt_json *json, const char *key);
/** NULL is written as null. Invalid UTF-8 becomes U+FFFD. */
void dlt_json_string(dlt_json *json, const char *text);
void dlt_json_string_n(dlt_json *json, const char *text, size_t bytes);
void dlt_json_int(dlt_json *json, int64_t value);
/** Shortest form; what is not finite is written as the strings "nan", "inf", "-inf", which JSON has no numbers for. */
void dlt_json_double(dlt_json *json, double value);
void dlt_json_float(dlt_json *json, float value);
void dlt_json_bool(dlt_json *json, bool value);
void dlt_json_null(dlt_json *json);

/* key and value in one call */
void dlt_json_key_string(dlt_json *json, const char *key, const char *text);
void dlt_json_key_int(dlt_json *json, const char *key, int64_t value);
void dlt_json_key_double(dlt_json *json, const char *key, double value);
void dlt_json_key_bool(dlt_json *json, const char *key, bool value);

#endif
