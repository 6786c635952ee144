/* base/json.c: writing JSON. */
#include "base/json.h"

#include <math.h>
#include <string.h>

void dlt_json_init(dlt_json *json, dlt_buf *out, int indent)
{
    *json = (dlt_json){.out = out, .indent = indent};
}

static void line_break(dlt_json *json)
{
    if (json->indent > 0 && json->depth > 0) {
        dlt_buf_printf(json->out, "\n%*s", json->indent * json->depth, "");
    }
}

/* What stands between the last value and the next one. */
static void separate(dlt_json *json)
{
    if (json->after_key) {
        json->after_key = false;
        return;
    }
    if (json->has_item) {
        dlt_buf_string(json->out, json->indent > 0 || json->depth == 0 ? "," : ", ");
    }
    line_break(json);
    json->has_item = true;
}

void dlt_json_open(dlt_json *json, char bracket)
{
    separate(json);
    dlt_buf_char(json->out, bracket);
    json->depth++;
    json->has_item = false;
}

void dlt_json_close(dlt_json *json, char bracket)
{
    json->depth--;
    if (json->has_item) {
        if (json->indent > 0) {
            dlt_buf_printf(json->out, "\n%*s", json->indent * json->depth, "");
        }
    }
    dlt_buf_char(json->out, bracket);
    json->has_item = true;
}

static void quoted(dlt_buf *out, const char *text, size_t bytes)
{
    dlt_buf_char(out, '"');
    for (size_t i = 0; i < bytes;) {
        const unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            dlt_buf_printf(out, "\\%c", c);
            i++;
        } else if (c == '\n') {
            dlt_buf_string(out, "\\n");
            i++;
        } else if (c == '\t') {
            dlt_buf_string(out, "\\t");
            i++;
        } else if (c < 0x20 || c == 0x7F) {
            dlt_buf_printf(out, "\\u%04x", (unsigned)c);
            i++;
        } else {
            size_t length = 1;
            while (length < 4 && i + length < bytes && ((unsigned char)text[i + length] & 0xC0) == 0x80) {
                length++;
            }
            if (dlt_utf8_valid(text + i, length)) {
                dlt_buf_append(out, text + i, length);
                i += length;
            } else {
                dlt_buf_string(out, "\xEF\xBF\xBD");
                i++;
            }
        }
    }
    dlt_buf_char(out, '"');
}

void dlt_json_key(dlt_json *json, const char *key)
{
    separate(json);
    quoted(json->out, key, strlen(key));
    dlt_buf_string(json->out, ": ");
    json->after_key = true;
}

void dlt_json_string_n(dlt_json *json, const char *text, size_t bytes)
{
    separate(json);
    quoted(json->out, text, bytes);
}

void dlt_json_string(dlt_json *json, const char *text)
{
    if (text == NULL) {
        dlt_json_null(json);
    } else {
        dlt_json_string_n(json, text, strlen(text));
    }
}

void dlt_json_int(dlt_json *json, int64_t value)
{
    separate(json);
    dlt_buf_printf(json->out, "%lld", (long long)value);
}

void dlt_json_double(dlt_json *json, double value)
{
    char text[40];
    dlt_format_double(value, text, sizeof text);
    separate(json);
    dlt_buf_printf(json->out, isfinite(value) ? "%s" : "\"%s\"", text);
}

void dlt_json_float(dlt_json *json, float value)
{
    char text[40];
    dlt_format_float(value, text, sizeof text);
    separate(json);
    dlt_buf_printf(json->out, isfinite(value) ? "%s" : "\"%s\"", text);
}

void dlt_json_bool(dlt_json *json, bool value)
{
    separate(json);
    dlt_buf_string(json->out, value ? "true" : "false");
}

void dlt_json_null(dlt_json *json)
{
    separate(json);
    dlt_buf_string(json->out, "null");
}

void dlt_json_key_string(dlt_json *json, const char *key, const char *text)
{
    dlt_json_key(json, key);
    dlt_json_string(json, text);
}

void dlt_json_key_int(dlt_json *json, const char *key, int64_t value)
{
    dlt_json_key(json, key);
    dlt_json_int(json, value);
}

void dlt_json_key_double(dlt_json *json, const char *key, double value)
{
    dlt_json_key(json, key);
    dlt_json_double(json, value);
}

void dlt_json_key_bool(dlt_json *json, const char *key, bool value)
{
    dlt_json_key(json, key);
    dlt_json_bool(json, value);
}
