/* schema/effective.c: from the structs of a spec back to text, lists and mappings, everything filled in.
 *
 * One walk over the field tables gives the tree that dump.c prints, compare.c compares and digests. */
#include "schema/schema_internal.h"

#include <stdio.h>
#include <string.h>

typedef struct writer {
    dlt_arena *arena;
    const dlt_origins *origins;
} writer;

static dlt_shown *show_item(writer *w, const dlt_item *item, unsigned flags);
static bool show_fields(writer *w, const dlt_field *fields, const char *base, dlt_shown *map, size_t *at);

static dlt_shown *new_shown(writer *w, dlt_yaml_type type, size_t count)
{
    dlt_shown *s = dlt_arena_alloc(w->arena, 1, sizeof *s);
    if (s != NULL) {
        s->type = type;
        s->count = count;
        s->at = dlt_arena_alloc(w->arena, count, sizeof *s->at);
        if (s->at == NULL) {
            return NULL;
        }
    }
    return s;
}

static dlt_shown *new_scalar(writer *w, const char *text, bool string)
{
    dlt_shown *s = new_shown(w, DLT_YAML_SCALAR, 0);
    if (s != NULL) {
        s->text = dlt_arena_string(w->arena, text);
        s->canonical = s->text;
        s->string = string;
    }
    return s != NULL && s->text != NULL ? s : NULL;
}

static dlt_shown *show_null(writer *w, const dlt_field *field)
{
    if ((field->flags & DLT_FIELD_AUTO) != 0) {
        return new_scalar(w, "auto", false);
    }
    dlt_shown *s = new_scalar(w, "null", false);
    if (s != NULL) {
        s->type = DLT_YAML_NULL;
    }
    return s;
}

static dlt_shown *show_int(writer *w, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return new_scalar(w, text, false);
}

/* A number as it was written where that is the number still, else in its shortest form. */
static dlt_shown *show_float(writer *w, double value, const dlt_yaml *source)
{
    char text[40];
    double written = 0;
    dlt_number_text(value, text, sizeof text);
    dlt_shown *s = new_scalar(w, text, false);
    if (s != NULL && source != NULL && source->type == DLT_YAML_SCALAR && source->text[0] != '+' &&
        dlt_read_number(source->text, source->length, false, &written) && written == value) {
        s->text = source->text;
    }
    return s;
}

/* A text that is YAML already: a list or mapping on one line. Releases both; canonical may be the same
 * buffer. */
static dlt_shown *show_line(writer *w, dlt_buf *text, dlt_buf *canonical)
{
    dlt_shown *s = text->failed || canonical->failed ? NULL : new_scalar(w, dlt_buf_text(text), false);
    if (s != NULL && canonical != text) {
        s->canonical = dlt_arena_copy(w->arena, dlt_buf_text(canonical), canonical->length);
        s = s->canonical != NULL ? s : NULL;
    }
    dlt_buf_release(text);
    if (canonical != text) {
        dlt_buf_release(canonical);
    }
    return s;
}

static void put_float(double value, dlt_buf *out)
{
    char text[40];
    dlt_number_text(value, text, sizeof text);
    dlt_buf_string(out, text);
}

/* Value i of a list field. */
static void put_element(const dlt_field *field, const void *at, size_t i, dlt_buf *out)
{
    switch (field->type) {
    case DLT_FIELD_FLOATS:
        put_float(((const dlt_floats *)at)->at[i], out);
        break;
    case DLT_FIELD_STRINGS:
    case DLT_FIELD_PATHS:
        dlt_quote(((const dlt_strings *)at)->at[i], true, out);
        break;
    case DLT_FIELD_COLUMNS: {
        const dlt_column_ref *column = &((const dlt_columns *)at)->at[i];
        if (column->number) {
            dlt_buf_printf(out, "%lld", (long long)column->index);
        } else {
            dlt_quote(column->name, true, out);
        }
        break;
    }
    case DLT_FIELD_AXES:
        dlt_buf_printf(out, "%lld", (long long)((const int64_t *)at)[i]);
        break;
    default:
        dlt_buf_printf(out, "%lld", (long long)((const dlt_ints *)at)->at[i]);
        break;
    }
}

/* One value stands alone, several in brackets, none as null or []. A shape is always a list. */
static dlt_shown *show_list(writer *w, const dlt_field *field, const void *at, size_t count)
{
    if (count == 0 && field->def != NULL && strcmp(field->def, "null") == 0) {
        return show_null(w, field);
    }
    const bool brackets = count != 1 || field->type == DLT_FIELD_SHAPE;
    dlt_buf text = {0};
    dlt_buf_string(&text, brackets ? "[" : "");
    for (size_t i = 0; i < count; i++) {
        dlt_buf_string(&text, i > 0 ? ", " : "");
        put_element(field, at, i, &text);
    }
    dlt_buf_string(&text, brackets ? "]" : "");
    return show_line(w, &text, &text);
}

/* Gives a mapping its next entry; false when memory is refused. */
static bool put(dlt_shown *map, size_t *at, const char *key, dlt_shown *value)
{
    if (value == NULL || key == NULL) {
        return false;
    }
    value->key = key;
    map->at[(*at)++] = value;
    return true;
}

static dlt_shown *show_items(writer *w, const dlt_items *items, unsigned flags)
{
    dlt_shown *list = new_shown(w, DLT_YAML_LIST, items->count);
    for (size_t i = 0; list != NULL && i < items->count; i++) {
        list->at[i] = show_item(w, items->at[i], flags);
        if (list->at[i] == NULL) {
            return NULL;
        }
    }
    return list;
}

/* Keys in the order written, and sorted where the same value must give the same text. */
static void put_map(const dlt_field *field, const void *at, const size_t *order, dlt_buf *out)
{
    const dlt_float_map *floats = at;
    const dlt_string_map *strings = at;
    const bool numbers = field->type == DLT_FIELD_FLOAT_MAP;
    const size_t count = numbers ? floats->count : strings->count;
    dlt_buf_char(out, '{');
    for (size_t k = 0; k < count; k++) {
        const size_t i = order != NULL ? order[k] : k;
        dlt_buf_string(out, k > 0 ? ", " : "");
        dlt_put_key(numbers ? floats->key[i] : strings->key[i], out);
        if (numbers) {
            put_float(floats->value[i], out);
        } else {
            dlt_quote(strings->value[i], true, out);
        }
    }
    dlt_buf_char(out, '}');
}

static dlt_shown *show_map(writer *w, const dlt_field *field, const void *at)
{
    const dlt_float_map *floats = at;
    const dlt_string_map *strings = at;
    const bool numbers = field->type == DLT_FIELD_FLOAT_MAP;
    if (numbers && floats->word != NULL) {
        return new_scalar(w, floats->word, false);
    }
    const size_t count = numbers ? floats->count : strings->count;
    if (count == 0) {
        return show_null(w, field);
    }
    size_t *order = dlt_arena_alloc(w->arena, count, sizeof *order);
    if (order == NULL) {
        return NULL;
    }
    dlt_sort_texts(numbers ? floats->key : strings->key, order, count);
    dlt_buf text = {0}, canonical = {0};
    put_map(field, at, NULL, &text);
    put_map(field, at, order, &canonical);
    return show_line(w, &text, &canonical);
}

static dlt_shown *show_item_map(writer *w, const dlt_field *field, const dlt_item_map *items)
{
    if (items->count == 0) {
        return show_null(w, field);
    }
    dlt_shown *map = new_shown(w, DLT_YAML_MAP, items->count);
    size_t next = 0;
    for (size_t i = 0; map != NULL && i < items->count; i++) {
        if (!put(map, &next, items->key[i], show_item(w, items->value[i], field->flags))) {
            return NULL;
        }
    }
    return map;
}

static dlt_shown *show_item_or_null(writer *w, const dlt_field *field, const dlt_item *item)
{
    return item != NULL ? show_item(w, item, field->flags) : show_null(w, field);
}

static dlt_shown *show_struct(writer *w, const dlt_field *field, const char *base)
{
    size_t count = 0, at = 0;
    for (size_t i = 0; i < dlt_field_count(field->fields); i++) {
        count += field->fields[i].type == DLT_FIELD_WEIGHT ? 3 : 1;
    }
    dlt_shown *map = new_shown(w, DLT_YAML_MAP, count);
    if (map == NULL || !show_fields(w, field->fields, base, map, &at)) {
        return NULL;
    }
    map->section = true;
    return map;
}

/* The value of one field at `at`; `source` is the node that gave it, or NULL. */
static dlt_shown *show_value(writer *w, const dlt_field *field, const void *at, const dlt_yaml *source)
{
    switch (field->type) {
    case DLT_FIELD_INT:
        return show_int(w, *(const int64_t *)at);
    case DLT_FIELD_OPT_INT:
        return ((const dlt_opt_int *)at)->set ? show_int(w, ((const dlt_opt_int *)at)->value)
                                              : show_null(w, field);
    case DLT_FIELD_FLOAT:
        return show_float(w, *(const double *)at, source);
    case DLT_FIELD_OPT_FLOAT:
        return ((const dlt_opt_float *)at)->set ? show_float(w, ((const dlt_opt_float *)at)->value, source)
                                                : show_null(w, field);
    case DLT_FIELD_BOOL:
        return new_scalar(w, *(const bool *)at ? "true" : "false", false);
    case DLT_FIELD_STRING:
    case DLT_FIELD_PATH: {
        const char *text = *(const char *const *)at;
        return text != NULL ? new_scalar(w, text, true) : show_null(w, field);
    }
    case DLT_FIELD_ENUM:
        return new_scalar(w, field->names[*(const int *)at], false);
    case DLT_FIELD_AXES: {
        const int64_t *axes = at;
        bool same = true;
        for (int i = 1; i < field->count; i++) {
            same = same && axes[i] == axes[0];
        }
        return show_list(w, field, at, same ? 1 : (size_t)field->count);
    }
    case DLT_FIELD_INTS:
    case DLT_FIELD_SHAPE:
        return show_list(w, field, at, ((const dlt_ints *)at)->count);
    case DLT_FIELD_FLOATS:
        return show_list(w, field, at, ((const dlt_floats *)at)->count);
    case DLT_FIELD_STRINGS:
    case DLT_FIELD_PATHS:
        return show_list(w, field, at, ((const dlt_strings *)at)->count);
    case DLT_FIELD_COLUMNS:
        return show_list(w, field, at, ((const dlt_columns *)at)->count);
    case DLT_FIELD_FLOAT_MAP:
    case DLT_FIELD_STRING_MAP:
        return show_map(w, field, at);
    case DLT_FIELD_ITEM_MAP:
        return show_item_map(w, field, at);
    case DLT_FIELD_ITEM:
        return show_item_or_null(w, field, *(const dlt_item *const *)at);
    case DLT_FIELD_FLOAT_OR_ITEM: {
        const dlt_item *item = *(const dlt_item *const *)at;
        if (item != NULL && strcmp(item->kind->name, "number") == 0) {
            const dlt_field *number = dlt_number_field(item->kind);
            return show_float(w, *(const double *)(const void *)((const char *)item->params + number->offset),
                              source);
        }
        return show_item_or_null(w, field, item);
    }
    case DLT_FIELD_ITEMS:
        return show_items(w, at, field->flags);
    case DLT_FIELD_ITEM_LISTS: {
        const dlt_item_lists *lists = at;
        dlt_shown *list = new_shown(w, DLT_YAML_LIST, lists->count);
        for (size_t i = 0; list != NULL && i < lists->count; i++) {
            list->at[i] = show_items(w, &lists->at[i], field->flags);
            if (list->at[i] == NULL) {
                return NULL;
            }
        }
        return list;
    }
    case DLT_FIELD_STRUCT:
        return show_struct(w, field, at);
    case DLT_FIELD_WEIGHT:
    default:
        return NULL;
    }
}

/* Marks a value with where it came from. */
static void mark(dlt_shown *shown, const dlt_field *field, const dlt_yaml *source)
{
    if (shown != NULL) {
        const bool files = field->type == DLT_FIELD_PATH || field->type == DLT_FIELD_PATHS;
        shown->flags = field->flags | (files ? DLT_FIELD_FILES : 0);
        shown->source = source;
        shown->is_default = source == NULL;
        shown->pos = source != NULL ? source->pos : (dlt_pos){0};
    }
}

static bool show_weight(writer *w, const dlt_field *field, const dlt_weight_params *weight, dlt_shown *map,
                        size_t *at)
{
    const dlt_item *const *parts[] = {&weight->initializer, &weight->regularizer, &weight->constraint};
    for (dlt_part_of part = DLT_INITIALIZER; part <= DLT_CONSTRAINT; part++) {
        const dlt_item *const *item = parts[part - DLT_INITIALIZER];
        dlt_shown *shown = show_item_or_null(w, field, *item);
        mark(shown, field, dlt_origin_get(w->origins, item, field));
        if (!put(map, at, dlt_arena_printf(w->arena, "%s%s", field->name, dlt_part_suffix(part)), shown)) {
            return false;
        }
    }
    return true;
}

static bool show_fields(writer *w, const dlt_field *fields, const char *base, dlt_shown *map, size_t *at)
{
    for (const dlt_field *f = fields; f != NULL && f->name != NULL; f++) {
        const char *value = base + f->offset;
        if (f->type == DLT_FIELD_WEIGHT) {
            if (!show_weight(w, f, (const dlt_weight_params *)(const void *)value, map, at)) {
                return false;
            }
            continue;
        }
        const dlt_yaml *source = dlt_origin_get(w->origins, value, f);
        dlt_shown *shown = show_value(w, f, value, source);
        mark(shown, f, source);
        if (!put(map, at, f->name, shown)) {
            return false;
        }
    }
    return true;
}

/* `Kind: {params}`: a mapping of one entry, the mapping of all parameters. */
static dlt_shown *show_item(writer *w, const dlt_item *item, unsigned flags)
{
    size_t count = 2, at = 0;
    for (size_t i = 0; i < dlt_field_count(item->kind->fields); i++) {
        count += item->kind->fields[i].type == DLT_FIELD_WEIGHT ? 3 : 1;
    }
    dlt_shown *shown = new_shown(w, DLT_YAML_MAP, 1), *params = new_shown(w, DLT_YAML_MAP, count);
    if (shown == NULL || params == NULL) {
        return NULL;
    }
    shown->item = true;
    shown->flags = flags;
    shown->is_default = item->pos.line == 0;
    shown->pos = item->pos;
    if (item->name != NULL && !put(params, &at, "name", new_scalar(w, item->name, true))) {
        return NULL;
    }
    if (at > 0) {
        params->at[0]->is_default = item->bare;
    }
    if (!item->trainable && !put(params, &at, "trainable", new_scalar(w, "false", false))) {
        return NULL;
    }
    for (size_t i = 0; i < at; i++) {
        params->at[i]->pos = item->pos; /* nearly: they have no place of their own */
    }
    if (item->params != NULL && !show_fields(w, item->kind->fields, item->params, params, &at)) {
        return NULL;
    }
    params->count = at;
    params->key = item->written;
    params->canonical = item->kind->name;
    params->pos = item->pos;
    shown->at[0] = params;
    return shown;
}

dlt_shown *dlt_effective(dlt_arena *arena, const dlt_item *root, const dlt_origins *origins)
{
    writer w = {arena, origins};
    const dlt_field whole = {.name = "model", .type = DLT_FIELD_STRUCT, .fields = root->kind->fields};
    dlt_shown *map = show_struct(&w, &whole, root->params);
    if (map != NULL) {
        map->pos = root->pos;
    }
    return map;
}

const dlt_run_spec *dlt_run_spec_tuned(dlt_arena *arena, const dlt_run_spec *spec, const dlt_string_map *tuned)
{
    writer w = {.arena = arena};
    dlt_run_spec *copy = dlt_arena_alloc(arena, 1, sizeof *copy);
    dlt_shown *map = new_shown(&w, DLT_YAML_MAP, spec->effective->count);
    if (copy == NULL || map == NULL) {
        return NULL;
    }
    dlt_shown **const at = map->at;
    *copy = *spec;
    copy->value.tuned = *tuned;
    *map = *spec->effective;
    map->at = at;
    const dlt_field *field = spec->root->kind->fields;
    while (strcmp(field->name, "tuned") != 0) {
        field++;
    }
    dlt_shown *const shown = show_map(&w, field, tuned);
    if (shown == NULL) {
        return NULL;
    }
    mark(shown, field, NULL);
    shown->key = field->name;
    shown->is_default = tuned->count == 0;
    for (size_t i = 0; i < map->count; i++) {
        map->at[i] = strcmp(spec->effective->at[i]->key, field->name) == 0 ? shown : spec->effective->at[i];
    }
    copy->effective = map;
    return copy;
}

/* ---- finding ---- */

static const dlt_shown *entry_of(const dlt_shown *map, const char *key, size_t length)
{
    for (size_t i = 0; map->type == DLT_YAML_MAP && i < map->count; i++) {
        const char *own = map->at[i]->key;
        if (own != NULL && strncmp(own, key, length) == 0 && own[length] == '\0') {
            return map->at[i];
        }
    }
    return NULL;
}

const dlt_shown *dlt_shown_find(const dlt_shown *root, const char *path)
{
    const dlt_shown *at = root;
    while (at != NULL && *path != '\0') {
        if (*path == '[') {
            size_t index = 0;
            const char *digit = path + 1;
            for (; *digit >= '0' && *digit <= '9' && index <= at->count; digit++) {
                index = index * 10 + (size_t)(*digit - '0');
            }
            if (*digit != ']' || digit == path + 1 || at->type != DLT_YAML_LIST || index >= at->count) {
                return NULL;
            }
            at = at->at[index];
            path = digit + 1;
        } else {
            const size_t length = strcspn(path, ".[");
            const dlt_shown *next = entry_of(at, path, length);
            if (next == NULL && at->item) { /* the kind may be left out */
                next = entry_of(at->at[0], path, length);
            }
            at = next;
            path += length;
        }
        path += *path == '.';
    }
    return at;
}
