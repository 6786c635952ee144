/* tests/tools/list_tables.c: all field tables of the program as JSON, for tests that try every kind and key. One line each:
 * the category, the kind, its aliases and its fields; the keys at the top of a model file are kind `model` of category "". */
#include "cmd/catalogue.h"
#include "schema/spec.h"

#include "base/json.h"
#include "base/text.h"

#include <stdio.h>

static const char *const types[] = {
    "int",    "opt_int", "float",   "opt_float", "bool",       "string", "path",  "paths",      "enum",     "axes",   "ints",         "shape",
    "floats", "strings", "columns", "float_map", "string_map", "item",   "items", "item_lists", "item_map", "struct", "weight", "float_or_item"};

static void put_fields(dlt_json *j, const dlt_field *fields)
{
    dlt_json_key(j, "fields");
    dlt_json_open(j, '[');
    for (const dlt_field *f = fields; f != NULL && f->name != NULL; f++) {
        dlt_json_open(j, '{');
        dlt_json_key_string(j, "name", f->name);
        dlt_json_key_string(j, "type", types[f->type]);
        dlt_json_key_bool(j, "required", dlt_field_required(f));
        if (!dlt_field_required(f)) {
            dlt_json_key_string(j, "default", f->def);
        }
        dlt_json_key_double(j, "min", f->min);
        dlt_json_key_double(j, "max", f->max);
        dlt_json_key_int(j, "count", f->count);
        dlt_json_key_int(j, "flags", (int64_t)f->flags);
        if (f->category != NULL) {
            dlt_json_key_string(j, "category", f->category);
        }
        if (f->names != NULL) {
            dlt_json_key(j, "names");
            dlt_json_open(j, '[');
            for (size_t i = 0; f->names[i] != NULL; i++) {
                dlt_json_string(j, f->names[i]);
            }
            dlt_json_close(j, ']');
        }
        if (f->fields != NULL) {
            put_fields(j, f->fields);
        }
        dlt_json_close(j, '}');
    }
    dlt_json_close(j, ']');
}

static void put_kind(dlt_buf *out, const dlt_category *category, const dlt_kind *kind)
{
    dlt_json j;
    dlt_json_init(&j, out, 0);
    dlt_json_open(&j, '{');
    dlt_json_key_string(&j, "category", category != NULL ? category->name : "");
    dlt_json_key_string(&j, "kind", kind->name);
    dlt_json_key_string(&j, "aliases", kind->aliases != NULL ? kind->aliases : "");
    dlt_json_key_bool(&j, "named", category != NULL && category->named);
    dlt_json_key_bool(&j, "trainable", category != NULL && category->trainable);
    put_fields(&j, kind->fields);
    dlt_json_close(&j, '}');
    dlt_buf_char(out, '\n');
}

int main(void)
{
    const dlt_catalogue *all = dlt_catalogue_all();
    dlt_buf out = {0};
    put_kind(&out, NULL, &dlt_kind_model);
    for (size_t i = 0; i < all->count; i++) {
        for (size_t k = 0; k < all->categories[i].count; k++) {
            put_kind(&out, &all->categories[i], all->categories[i].kinds[k]);
        }
    }
    const bool good = !out.failed && fputs(dlt_buf_text(&out), stdout) >= 0 && fflush(stdout) == 0;
    dlt_buf_release(&out);
    return good ? 0 : 1;
}
