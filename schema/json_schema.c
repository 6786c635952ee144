/* schema/json_schema.c: the field tables as a JSON Schema. */
#include "schema/json_schema.h"

#include "base/json.h"
#include "base/num.h"
#include "schema/schema_internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define VARIABLE "\\$\\{[^}]+\\}"
#define DECIMAL "[-+]?(\\.[0-9]+|[0-9]+(\\.[0-9]*)?)([eE][-+]?[0-9]+)?"

typedef struct schema_writer {
    dlt_json json;
    const dlt_catalogue *catalogue;
    dlt_arena *arena; /* for defaults that are lists */
} schema_writer;

static void write_field(schema_writer *w, const dlt_field *field);

static void open_key(schema_writer *w, const char *key, char bracket)
{
    dlt_json_key(&w->json, key);
    dlt_json_open(&w->json, bracket);
}

/* A string that may stand for any single value: one with a variable in it. */
static void write_variable(schema_writer *w)
{
    dlt_json_open(&w->json, '{');
    dlt_json_key_string(&w->json, "type", "string");
    dlt_json_key_string(&w->json, "pattern", VARIABLE);
    dlt_json_close(&w->json, '}');
}

static void write_null(schema_writer *w)
{
    dlt_json_open(&w->json, '{');
    dlt_json_key_string(&w->json, "type", "null");
    dlt_json_close(&w->json, '}');
}

static bool is_nullable(const dlt_field *field)
{
    return field->type == DLT_FIELD_OPT_INT || field->type == DLT_FIELD_OPT_FLOAT ||
           field->type == DLT_FIELD_STRUCT || (field->flags & DLT_FIELD_NULL) != 0 ||
           (field->def != NULL && (strcmp(field->def, "null") == 0 || strcmp(field->def, "[]") == 0));
}

/* A bound as JSON; bounds that say nothing are left out. */
static void write_bound(schema_writer *w, const char *key, double bound, bool integer)
{
    if (isfinite(bound) && (!integer || fabs(bound) < 0x1p62)) {
        if (bound == floor(bound) && fabs(bound) < 0x1p62) {
            dlt_json_key_int(&w->json, key, (int64_t)bound);
        } else {
            dlt_json_key_double(&w->json, key, bound);
        }
    }
}

/* Inside an object: `type`, bounds and the pattern of a number that may be text too. */
static void number_members(schema_writer *w, const dlt_field *field, bool integer, bool nullable)
{
    const bool any = (field->flags & DLT_FIELD_NON_FINITE) != 0,
               is_auto = (field->flags & DLT_FIELD_AUTO) != 0;
    open_key(w, "type", '[');
    dlt_json_string(&w->json, integer ? "integer" : "number");
    dlt_json_string(&w->json, "string");
    if (nullable) {
        dlt_json_string(&w->json, "null");
    }
    dlt_json_close(&w->json, ']');
    if (!any) { /* infinity is beyond every bound */
        write_bound(w, (field->flags & DLT_FIELD_OPEN_MIN) != 0 ? "exclusiveMinimum" : "minimum",
                    integer ? field->min : fmax(field->min, -(double)FLT_MAX), integer);
        write_bound(w, (field->flags & DLT_FIELD_OPEN_MAX) != 0 ? "exclusiveMaximum" : "maximum",
                    integer ? field->max : fmin(field->max, (double)FLT_MAX), integer);
    }
    dlt_buf pattern = {0};
    dlt_buf_printf(&pattern, "^(%s%s%s)$", integer ? "" : DECIMAL "(/" DECIMAL ")?|", is_auto ? "auto|" : "",
                   VARIABLE);
    dlt_json_key_string(&w->json, "pattern", dlt_buf_text(&pattern));
    dlt_buf_finish(&pattern, w->json.out);
}

static void write_number(schema_writer *w, const dlt_field *field, bool integer, bool nullable)
{
    dlt_json_open(&w->json, '{');
    number_members(w, field, integer, nullable);
    dlt_json_close(&w->json, '}');
}

/* Text that the schema reads as text whatever it looks like. */
static void string_members(schema_writer *w, bool nullable)
{
    open_key(w, "type", '[');
    dlt_json_string(&w->json, "string");
    dlt_json_string(&w->json, "number");
    dlt_json_string(&w->json, "boolean");
    if (nullable) {
        dlt_json_string(&w->json, "null");
    }
    dlt_json_close(&w->json, ']');
}

static void write_string(schema_writer *w)
{
    dlt_json_open(&w->json, '{');
    string_members(w, false);
    dlt_json_close(&w->json, '}');
}

static void write_ref(schema_writer *w, const char *category)
{
    dlt_buf ref = {0};
    dlt_buf_printf(&ref, "#/definitions/%s", category);
    dlt_json_open(&w->json, '{');
    dlt_json_key_string(&w->json, "$ref", dlt_buf_text(&ref));
    dlt_json_close(&w->json, '}');
    dlt_buf_finish(&ref, w->json.out);
}

static void write_element(schema_writer *w, const dlt_field *field)
{
    switch (field->type) {
    case DLT_FIELD_FLOATS:
        write_number(w, field, false, false);
        break;
    case DLT_FIELD_STRINGS:
    case DLT_FIELD_PATHS:
    case DLT_FIELD_COLUMNS:
        write_string(w);
        break;
    case DLT_FIELD_SHAPE:
        write_number(w, field, true, field->min <= -1);
        break;
    case DLT_FIELD_ITEMS:
    case DLT_FIELD_ITEM_LISTS:
        write_ref(w, field->category);
        break;
    default:
        write_number(w, field, true, false);
        break;
    }
}

/* {"type": "array", ...} of a field's elements */
static void write_array(schema_writer *w, const dlt_field *field, int least, int most)
{
    dlt_json_open(&w->json, '{');
    dlt_json_key_string(&w->json, "type", "array");
    dlt_json_key(&w->json, "items");
    write_element(w, field);
    if (least > 0) {
        dlt_json_key_int(&w->json, "minItems", least);
    }
    if (most > 0) {
        dlt_json_key_int(&w->json, "maxItems", most);
    }
    dlt_json_close(&w->json, '}');
}

static void write_list_of_items(schema_writer *w, const dlt_field *field)
{
    dlt_json_open(&w->json, '{');
    dlt_json_key_string(&w->json, "type", "array");
    dlt_json_key(&w->json, "items");
    write_ref(w, field->category);
    dlt_json_close(&w->json, '}');
}

/* What a field takes, as the alternatives of an "anyOf" that is already open; lists, mappings and things. */
static void write_alternatives(schema_writer *w, const dlt_field *field)
{
    switch (field->type) {
    case DLT_FIELD_AXES:
        write_number(w, field, true, false);
        write_array(w, field, field->count, field->count);
        break;
    case DLT_FIELD_INTS:
        write_number(w, field, true, false);
        write_array(w, field, 0, 0);
        break;
    case DLT_FIELD_SHAPE:
        write_array(w, field, 0, field->count);
        write_variable(w);
        break;
    case DLT_FIELD_FLOATS:
        write_number(w, field, false, false);
        write_array(w, field, 0, 0);
        break;
    case DLT_FIELD_STRINGS:
    case DLT_FIELD_PATHS:
    case DLT_FIELD_COLUMNS:
        write_string(w);
        write_array(w, field, 0, 0);
        break;
    case DLT_FIELD_ENUM:
        dlt_json_open(&w->json, '{');
        open_key(w, "enum", '[');
        for (size_t i = 0; field->names[i] != NULL; i++) {
            const bool is_true = strcmp(field->names[i], "true") == 0,
                       is_false = strcmp(field->names[i], "false") == 0;
            if (is_true || is_false) {
                dlt_json_bool(&w->json, is_true);
            } else if (strcmp(field->names[i], "null") == 0) {
                dlt_json_null(&w->json);
            } else {
                dlt_json_string(&w->json, field->names[i]);
            }
        }
        dlt_json_close(&w->json, ']');
        dlt_json_close(&w->json, '}');
        write_variable(w);
        break;
    case DLT_FIELD_FLOAT_MAP:
        dlt_json_open(&w->json, '{');
        dlt_json_key_string(&w->json, "type", "object");
        dlt_json_key(&w->json, "additionalProperties");
        write_number(w, field, false, false);
        dlt_json_close(&w->json, '}');
        if (field->names != NULL && field->names[0] != NULL) {
            dlt_json_open(&w->json, '{');
            open_key(w, "enum", '[');
            for (size_t i = 0; field->names[i] != NULL; i++) {
                dlt_json_string(&w->json, field->names[i]);
            }
            dlt_json_close(&w->json, ']');
            dlt_json_close(&w->json, '}');
        }
        write_variable(w);
        break;
    case DLT_FIELD_STRING_MAP:
        dlt_json_open(&w->json, '{');
        dlt_json_key_string(&w->json, "type", "object");
        dlt_json_key(&w->json, "additionalProperties");
        write_string(w);
        dlt_json_close(&w->json, '}');
        write_variable(w);
        break;
    case DLT_FIELD_ITEM_MAP:
        dlt_json_open(&w->json, '{');
        dlt_json_key_string(&w->json, "type", "object");
        dlt_json_key(&w->json, "additionalProperties");
        write_ref(w, field->category);
        dlt_json_close(&w->json, '}');
        write_variable(w);
        break;
    case DLT_FIELD_ITEM:
        write_ref(w, field->category);
        break;
    case DLT_FIELD_FLOAT_OR_ITEM:
        write_number(w, field, false, false);
        write_ref(w, field->category);
        break;
    case DLT_FIELD_ITEMS:
        write_list_of_items(w, field);
        write_variable(w);
        break;
    case DLT_FIELD_ITEM_LISTS:
        dlt_json_open(&w->json, '{');
        dlt_json_key_string(&w->json, "type", "array");
        dlt_json_key(&w->json, "items");
        write_list_of_items(w, field);
        dlt_json_close(&w->json, '}');
        write_variable(w);
        break;
    default:
        break;
    }
    if (is_nullable(field)) {
        write_null(w);
    }
    if ((field->flags & DLT_FIELD_AUTO) != 0) {
        dlt_json_open(&w->json, '{');
        dlt_json_key_string(&w->json, "const", "auto");
        dlt_json_close(&w->json, '}');
    }
}

/* A default of a table as JSON. */
static void write_yaml_as_json(schema_writer *w, const dlt_yaml *node)
{
    double number = 0;
    int64_t whole = 0;
    switch (node->type) {
    case DLT_YAML_LIST:
        dlt_json_open(&w->json, '[');
        for (size_t i = 0; i < node->count; i++) {
            write_yaml_as_json(w, node->values[i]);
        }
        dlt_json_close(&w->json, ']');
        break;
    case DLT_YAML_MAP:
        dlt_json_open(&w->json, '{');
        for (size_t i = 0; i < node->count; i++) {
            dlt_json_key(&w->json, node->keys[i]->text);
            write_yaml_as_json(w, node->values[i]);
        }
        dlt_json_close(&w->json, '}');
        break;
    case DLT_YAML_NULL:
        dlt_json_null(&w->json);
        break;
    case DLT_YAML_SCALAR:
    default:
        if (node->quoted) {
            dlt_json_string(&w->json, node->text);
        } else if (strcmp(node->text, "true") == 0 || strcmp(node->text, "false") == 0) {
            dlt_json_bool(&w->json, node->text[0] == 't');
        } else if (dlt_parse_i64(node->text, node->length, &whole)) {
            dlt_json_int(&w->json, whole);
        } else if (dlt_parse_double(node->text, node->length, &number)) {
            dlt_json_double(&w->json, number);
        } else {
            dlt_json_string(&w->json, node->text);
        }
        break;
    }
}

static void write_default(schema_writer *w, const char *def)
{
    dlt_yaml *node = NULL;
    if (def == NULL || strcmp(def, "DLT_REQUIRED") == 0) {
        return;
    }
    if (dlt_yaml_parse_part(w->arena, (dlt_pos){"default", 0, 1, 1}, def, strlen(def), &node, NULL) !=
        DLT_OK) {
        w->json.out->failed =
            true; /* dlt_catalogue_check finds a default that is no YAML: memory was refused */
        return;
    }
    dlt_json_key(&w->json, "default");
    write_yaml_as_json(w, node);
}

/* The keys of a table as members of an open object: properties, required, notes. */
static void write_table(schema_writer *w, const dlt_field *fields, const dlt_category *category, bool root)
{
    open_key(w, "properties", '{');
    if (category != NULL && category->named) {
        open_key(w, "name", '{');
        dlt_json_key_string(&w->json, "description", "name of this one, by which others and -o refer to it");
        string_members(w, true);
        dlt_json_key_string(&w->json, "pattern", "^[^/\\u0000-\\u001f\\u007f]+$");
        /* in characters, where schema/apply.c counts bytes */
        dlt_json_key_int(&w->json, "maxLength", DLT_MAX_NAME);
        dlt_json_close(&w->json, '}');
    }
    if (category != NULL && category->trainable) {
        open_key(w, "trainable", '{');
        dlt_json_key_string(&w->json, "description", "false freezes its weights");
        dlt_json_key_string(&w->json, "type", "boolean");
        dlt_json_key_bool(&w->json, "default", true);
        dlt_json_close(&w->json, '}');
    }
    for (size_t i = 0; i < dlt_field_count(fields); i++) {
        const dlt_field *field = &fields[i];
        if (field->type != DLT_FIELD_WEIGHT) {
            dlt_json_key(&w->json, field->name);
            write_field(w, field);
            continue;
        }
        for (dlt_part_of part = DLT_INITIALIZER; part <= DLT_CONSTRAINT; part++) {
            dlt_buf name = {0}, doc = {0};
            dlt_buf_printf(&name, "%s%s", field->name, dlt_part_suffix(part));
            dlt_buf_printf(&doc, "%s: %s", field->doc,
                           part == DLT_INITIALIZER   ? "what it starts from"
                           : part == DLT_REGULARIZER ? "what it costs"
                                                     : "what it is held to");
            const dlt_field alone = {.name = dlt_buf_text(&name),
                                     .type = DLT_FIELD_ITEM,
                                     .def = part == DLT_INITIALIZER ? field->def : "null",
                                     .category = dlt_part_suffix(part) + 1,
                                     .doc = dlt_buf_text(&doc)};
            dlt_json_key(&w->json, alone.name);
            write_field(w, &alone);
            dlt_buf_finish(&name, w->json.out);
            dlt_buf_finish(&doc, w->json.out);
        }
    }
    if (root) {
        open_key(w, "include", '{');
        dlt_json_key_string(&w->json, "description",
                            "files below this one's folder whose keys stand where this one has none");
        open_key(w, "type", '[');
        dlt_json_string(&w->json, "string");
        dlt_json_string(&w->json, "array");
        dlt_json_string(&w->json, "null");
        dlt_json_close(&w->json, ']');
        open_key(w, "items", '{');
        dlt_json_key_string(&w->json, "type", "string");
        dlt_json_close(&w->json, '}');
        dlt_json_close(&w->json, '}');
        open_key(w, "vars", '{');
        dlt_json_key_string(&w->json, "description", "values to use as ${vars.NAME}");
        open_key(w, "type", '[');
        dlt_json_string(&w->json, "object");
        dlt_json_string(&w->json, "null");
        dlt_json_close(&w->json, ']');
        dlt_json_close(&w->json, '}');
    }
    dlt_json_close(&w->json, '}');
    open_key(w, "patternProperties", '{');
    open_key(w, "^x-", '{');
    dlt_json_close(&w->json, '}');
    dlt_json_close(&w->json, '}');
    dlt_json_key_bool(&w->json, "additionalProperties", false);
    if (root) {
        return; /* what a file lacks may be in one that it includes */
    }
    bool required = false;
    for (size_t i = 0; i < dlt_field_count(fields); i++) {
        if (dlt_field_required(&fields[i]) && fields[i].type != DLT_FIELD_WEIGHT) {
            if (!required) {
                open_key(w, "required", '[');
            }
            required = true;
            dlt_json_string(&w->json, fields[i].name);
        }
    }
    if (required) {
        dlt_json_close(&w->json, ']');
    }
}

static void write_field(schema_writer *w, const dlt_field *field)
{
    dlt_json_open(&w->json, '{');
    dlt_json_key_string(&w->json, "description", field->doc);
    switch (field->type) {
    case DLT_FIELD_INT:
    case DLT_FIELD_OPT_INT:
        number_members(w, field, true, is_nullable(field));
        write_default(w, field->def);
        break;
    case DLT_FIELD_FLOAT:
    case DLT_FIELD_OPT_FLOAT:
        number_members(w, field, false, is_nullable(field));
        write_default(w, field->def);
        break;
    case DLT_FIELD_BOOL:
        open_key(w, "type", '[');
        dlt_json_string(&w->json, "boolean");
        dlt_json_string(&w->json, "string");
        dlt_json_close(&w->json, ']');
        dlt_json_key_string(&w->json, "pattern", "^" VARIABLE "$");
        write_default(w, field->def);
        break;
    case DLT_FIELD_STRING:
    case DLT_FIELD_PATH:
        string_members(w, is_nullable(field));
        write_default(w, field->def);
        break;
    case DLT_FIELD_STRUCT:
        open_key(w, "type", '[');
        dlt_json_string(&w->json, "object");
        dlt_json_string(&w->json, "null");
        dlt_json_close(&w->json, ']');
        write_table(w, field->fields, NULL, false);
        break;
    default:
        open_key(w, "anyOf", '[');
        write_alternatives(w, field);
        dlt_json_close(&w->json, ']');
        write_default(w, field->def);
        break;
    }
    dlt_json_close(&w->json, '}');
}

/* ---- kinds ---- */

static bool stands_bare(const dlt_kind *kind)
{
    for (size_t i = 0; i < dlt_field_count(kind->fields); i++) {
        if (dlt_field_required(&kind->fields[i])) {
            return false;
        }
    }
    return strcmp(kind->name, "number") != 0;
}

/* Calls `each` with every name of a kind: class name, snake case, aliases; each once. */
static void each_name(schema_writer *w, const dlt_category *category, const dlt_kind *kind,
                      void (*each)(schema_writer *, const dlt_category *, const dlt_kind *, const char *))
{
    char snake[128];
    each(w, category, kind, kind->name);
    dlt_snake_case(kind->name, snake, sizeof snake);
    if (strcmp(snake, kind->name) != 0) {
        each(w, category, kind, snake);
    }
    for (const char *word = kind->aliases; word != NULL && *word != '\0';) {
        char alias[128];
        const size_t length = strcspn(word, " ");
        if (length < sizeof alias) {
            memcpy(alias, word, length);
            alias[length] = '\0';
            if (strcmp(alias, kind->name) != 0 && strcmp(alias, snake) != 0) {
                each(w, category, kind, alias);
            }
        }
        word += length;
        word += *word == ' ';
    }
}

static void name_as_property(schema_writer *w, const dlt_category *category, const dlt_kind *kind,
                             const char *name)
{
    dlt_buf ref = {0};
    dlt_buf_printf(&ref, "%s.%s", category->name, kind->name);
    dlt_json_key(&w->json, name);
    write_ref(w, dlt_buf_text(&ref));
    dlt_buf_finish(&ref, w->json.out);
}

static void name_as_word(schema_writer *w, const dlt_category *category, const dlt_kind *kind,
                         const char *name)
{
    (void)category;
    (void)kind;
    dlt_json_string(&w->json, name);
}

/* A bare name, or a mapping of one key, notes not counted. */
static void write_category(schema_writer *w, const dlt_category *category)
{
    open_key(w, category->name, '{');
    dlt_json_key_string(&w->json, "description", category->doc);
    open_key(w, "anyOf", '[');
    dlt_json_open(&w->json, '{');
    dlt_json_key_string(&w->json, "type", "object");
    open_key(w, "properties", '{');
    for (size_t i = 0; i < category->count; i++) {
        if (strcmp(category->kinds[i]->name, "number") != 0) {
            each_name(w, category, category->kinds[i], name_as_property);
        }
    }
    dlt_json_close(&w->json, '}');
    open_key(w, "patternProperties", '{');
    open_key(w, "^x-", '{');
    dlt_json_close(&w->json, '}');
    dlt_json_close(&w->json, '}');
    dlt_json_key_bool(&w->json, "additionalProperties", false);
    dlt_json_key_int(&w->json, "minProperties", 1);
    open_key(w, "if", '{');
    open_key(w, "propertyNames", '{');
    open_key(w, "not", '{');
    dlt_json_key_string(&w->json, "pattern", "^x-");
    dlt_json_close(&w->json, '}');
    dlt_json_close(&w->json, '}');
    dlt_json_close(&w->json, '}');
    open_key(w, "then", '{');
    dlt_json_key_int(&w->json, "maxProperties", 1);
    dlt_json_close(&w->json, '}');
    dlt_json_close(&w->json, '}');
    bool any = false;
    for (size_t i = 0; i < category->count; i++) {
        if (stands_bare(category->kinds[i])) {
            if (!any) {
                dlt_json_open(&w->json, '{');
                open_key(w, "enum", '[');
            }
            any = true;
            each_name(w, category, category->kinds[i], name_as_word);
        }
    }
    if (any) {
        dlt_json_close(&w->json, ']');
        dlt_json_close(&w->json, '}');
    }
    if (category->implied != NULL) {
        dlt_buf ref = {0};
        dlt_buf_printf(&ref, "%s.%s", category->name, category->implied);
        write_ref(w, dlt_buf_text(&ref));
        dlt_buf_finish(&ref, w->json.out);
    }
    write_variable(w);
    dlt_json_close(&w->json, ']');
    dlt_json_close(&w->json, '}');
}

static void write_kind(schema_writer *w, const dlt_category *category, const dlt_kind *kind)
{
    dlt_buf key = {0};
    dlt_buf_printf(&key, "%s.%s", category->name, kind->name);
    open_key(w, dlt_buf_text(&key), '{');
    dlt_buf_finish(&key, w->json.out);
    dlt_json_key_string(&w->json, "description", kind->doc);
    open_key(w, "anyOf", '[');
    dlt_json_open(&w->json, '{');
    dlt_json_key_string(&w->json, "type", "object");
    write_table(w, kind->fields, category, false);
    dlt_json_close(&w->json, '}');
    dlt_part_of part = DLT_WHOLE;
    const dlt_field *scalar =
        kind->scalar_field != NULL ? dlt_field_of(kind->fields, kind->scalar_field, &part) : NULL;
    if (scalar != NULL) {
        write_field(w, scalar);
    }
    if (stands_bare(kind)) {
        write_null(w);
    }
    write_variable(w);
    dlt_json_close(&w->json, ']');
    dlt_json_close(&w->json, '}');
}

void dlt_json_schema(const dlt_catalogue *catalogue, dlt_buf *out)
{
    schema_writer w = {.catalogue = catalogue, .arena = dlt_arena_create()};
    if (w.arena == NULL) {
        out->failed = true;
        return;
    }
    dlt_json_init(&w.json, out, 2);
    dlt_json_open(&w.json, '{');
    dlt_json_key_string(&w.json, "$schema", "http://json-schema.org/draft-07/schema#");
    dlt_json_key_string(&w.json, "title", "dltrain model file");
    dlt_json_key_string(&w.json, "type", "object");
    write_table(&w, dlt_kind_model.fields, NULL, true);
    open_key(&w, "anyOf", '[');
    static const char *const either[] = {"layers", "include"};
    for (size_t i = 0; i < DLT_COUNT(either); i++) {
        dlt_json_open(&w.json, '{');
        open_key(&w, "required", '[');
        dlt_json_string(&w.json, either[i]);
        dlt_json_close(&w.json, ']');
        dlt_json_close(&w.json, '}');
    }
    dlt_json_close(&w.json, ']');
    open_key(&w, "definitions", '{');
    for (size_t i = 0; i < catalogue->count; i++) {
        const dlt_category *category = &catalogue->categories[i];
        write_category(&w, category);
        for (size_t k = 0; k < category->count; k++) {
            if (strcmp(category->kinds[k]->name, "number") != 0) {
                write_kind(&w, category, category->kinds[k]);
            }
        }
    }
    dlt_json_close(&w.json, '}');
    dlt_json_close(&w.json, '}');
    dlt_buf_char(out, '\n');
    out->failed = out->failed || dlt_arena_failed(w.arena);
    dlt_arena_destroy(w.arena);
}
