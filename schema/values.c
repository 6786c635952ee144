/* schema/values.c: single values, lists of them and mappings to them: what needs no other table. */
#include "base/num.h"
#include "schema/schema_internal.h"

#include <string.h>

void *dlt_list_of(dlt_loader *l, size_t count, size_t size)
{
    return count > 0 ? dlt_arena_alloc(l->arena, count, size) : NULL;
}

/* ---- mistakes about single values ---- */

bool dlt_wrong_value(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                     bool element, const char *hint)
{
    dlt_buf expected = {0};
    if (element) {
        dlt_expect_element(field, &expected);
    } else {
        dlt_expect(field, &expected);
        if ((field->type == DLT_FIELD_OPT_INT || field->type == DLT_FIELD_OPT_FLOAT) &&
            (field->flags & DLT_FIELD_AUTO) == 0) {
            dlt_buf_string(&expected, ", or null");
        }
    }
    return dlt_mistake_value(l, name, node, dlt_take_text(l, &expected), hint);
}

/* ---- scalars ---- */

bool dlt_is_plain_scalar(const dlt_yaml *node)
{
    return node->type == DLT_YAML_SCALAR && !node->quoted;
}

static bool read_int(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                     bool element, int64_t *value)
{
    if (dlt_is_plain_scalar(node) && dlt_parse_i64(node->text, node->length, value) &&
        *value >= dlt_bound_int(field->min) && *value <= dlt_bound_int(field->max)) {
        return true;
    }
    return dlt_wrong_value(l, field, name, node, element, dlt_number_hint(l->arena, field, node));
}

bool dlt_read_float(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                    bool element, double *value)
{
    if (dlt_is_plain_scalar(node) && dlt_read_number(node->text, node->length, true, value) &&
        dlt_in_bounds(field, *value)) {
        return true;
    }
    return dlt_wrong_value(l, field, name, node, element, dlt_number_hint(l->arena, field, node));
}

bool dlt_read_bool(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node, bool *value)
{
    if (dlt_is_plain_scalar(node) && (strcmp(node->text, "true") == 0 || strcmp(node->text, "false") == 0)) {
        *value = node->text[0] == 't';
        return true;
    }
    return dlt_wrong_value(l, field, name, node, false, dlt_bool_hint(l->arena, node));
}

static bool read_string(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                        bool element, const char **value)
{
    if (node->type == DLT_YAML_SCALAR) {
        *value = node->text;
        return true;
    }
    return dlt_wrong_value(l, field, name, node, element, NULL);
}

/* The one name of which `text` is the end, as bfloat16 is of mixed_bfloat16; -1: none. */
static int name_ending_in(const char *text, const char *const *names)
{
    const size_t n = strlen(text);
    int found = -1;
    for (int i = 0; names[i] != NULL; i++) {
        const size_t m = strlen(names[i]);
        if (n > 2 && m > n && names[i][m - n - 1] == '_' && strcmp(names[i] + m - n, text) == 0) {
            if (found >= 0) {
                return -1;
            }
            found = i;
        }
    }
    return found;
}

static bool read_enum(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                      int *value)
{
    int count = 0;
    const char *text = node->type == DLT_YAML_SCALAR || node->type == DLT_YAML_NULL ? node->text : NULL;
    for (; field->names[count] != NULL; count++) {
        if (text != NULL && strcmp(field->names[count], text) == 0) {
            *value = count;
            return true;
        }
    }
    int nearest = text != NULL ? name_ending_in(text, field->names) : -1;
    nearest = nearest < 0 && text != NULL ? dlt_nearest(text, field->names, (size_t)count) : nearest;
    dlt_buf expected = {0};
    dlt_expect(field, &expected);
    const char *allowed = dlt_take_text(l, &expected);
    const dlt_detail detail = {.found = text != NULL ? text : dlt_found_text(l, node),
                               .allowed = allowed,
                               .nearest = nearest >= 0 ? field->names[nearest] : NULL};
    const char *hint =
        nearest >= 0 ? dlt_arena_printf(l->arena, "; did you mean '%s'?", field->names[nearest]) : "";
    return dlt_mistake(l, node->pos, &detail, "%s%s must be %s, found %s%s", dlt_owner_prefix(l), name,
                       allowed, dlt_found_text(l, node), hint != NULL ? hint : "");
}

/* ---- paths ---- */

/* Absolute form of a path written in the file of `node`; "." parts and double slashes go, ".." stays
 * (symlinks). */
static const char *absolute(dlt_loader *l, const dlt_yaml *node)
{
    const char *folder = dlt_loader_folder(l, node->pos.file);
    dlt_buf out = {0};
    const char *parts[2] = {node->text[0] == '/' ? "" : folder, node->text};
    for (int i = 0; i < 2; i++) {
        for (const char *c = parts[i]; *c != '\0';) {
            c += strspn(c, "/");
            const size_t length = strcspn(c, "/");
            if (length > 0 && !(length == 1 && *c == '.')) {
                dlt_buf_char(&out, '/');
                dlt_buf_append(&out, c, length);
            }
            c += length;
        }
    }
    if (out.length == 0) {
        dlt_buf_char(&out, '/');
    }
    if (out.length > 1 && node->length > 0 && node->text[node->length - 1] == '/') {
        dlt_buf_char(&out, '/'); /* says that it is a folder */
    }
    const char *path = out.failed ? NULL : dlt_arena_copy(l->arena, out.data, out.length);
    if (path == NULL) {
        dlt_fail_memory(l->diag);
    }
    dlt_buf_release(&out);
    return path;
}

static bool read_path(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                      bool element, const char **value)
{
    if (node->type != DLT_YAML_SCALAR) {
        return dlt_wrong_value(l, field, name, node, element, NULL);
    }
    if (l->stored) {
        *value = node->text;
        return true;
    }
    if (node->length == 0) {
        return dlt_wrong_value(l, field, name, node, element, NULL);
    }
    if (node->text[0] == '~' && (node->text[1] == '/' || node->text[1] == '\0')) {
        return dlt_wrong_value(l, field, name, node, element, "'~' is not expanded; write ${env:HOME}/...");
    }
    if (strstr(node->text, "://") != NULL && !dlt_text_starts(node->text, "/")) {
        return dlt_wrong_value(l, field, name, node, element, "only local files are read; download it first");
    }
    *value = absolute(l, node);
    return *value != NULL;
}

/* ---- columns ---- */

static bool read_column(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                        bool element, dlt_column_ref *column)
{
    if (node->type != DLT_YAML_SCALAR || node->length == 0) {
        return dlt_wrong_value(l, field, name, node, element, NULL);
    }
    *column = (dlt_column_ref){.name = node->text, .pos = node->pos};
    column->number = !node->quoted && dlt_parse_i64(node->text, node->length, &column->index);
    return true;
}

/* ---- lists ---- */

/* One element of a list field into slot i of `to`. */
static bool read_element(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                         bool element, void *to, size_t i)
{
    switch (field->type) {
    case DLT_FIELD_AXES:
    case DLT_FIELD_INTS:
        return read_int(l, field, name, node, element, (int64_t *)to + i);
    case DLT_FIELD_SHAPE:
        if (node->type == DLT_YAML_NULL && field->min <= -1) {
            ((int64_t *)to)[i] = -1;
            return true;
        }
        return read_int(l, field, name, node, element, (int64_t *)to + i);
    case DLT_FIELD_FLOATS:
        return dlt_read_float(l, field, name, node, element, (double *)to + i);
    case DLT_FIELD_STRINGS:
        return read_string(l, field, name, node, element, (const char **)to + i);
    case DLT_FIELD_PATHS:
        return read_path(l, field, name, node, element, (const char **)to + i);
    case DLT_FIELD_COLUMNS:
        return read_column(l, field, name, node, element, (dlt_column_ref *)to + i);
    default:
        return false;
    }
}

static size_t element_size(dlt_field_type type)
{
    switch (type) {
    case DLT_FIELD_FLOATS:
        return sizeof(double);
    case DLT_FIELD_STRINGS:
    case DLT_FIELD_PATHS:
        return sizeof(const char *);
    case DLT_FIELD_COLUMNS:
        return sizeof(dlt_column_ref);
    default:
        return sizeof(int64_t);
    }
}

/* Elements of a list, or the one value that stands in its place, into new memory. */
static bool read_list(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                      size_t *count, void **list)
{
    const bool is_list = node->type == DLT_YAML_LIST;
    const size_t n = is_list ? node->count : 1;
    void *to = dlt_list_of(l, n, element_size(field->type));
    bool good = true;
    *count = 0;
    *list = to;
    if (n > 0 && to == NULL) {
        return false;
    }
    if (field->type == DLT_FIELD_SHAPE && (!is_list || (field->count > 0 && n > (size_t)field->count))) {
        const char *hint = dlt_number_hint(l->arena, field, node);
        int64_t one = 0;
        if (is_list) {
            hint = dlt_arena_printf(l->arena, "this one has %zu", n);
        } else if (dlt_is_plain_scalar(node) && dlt_parse_i64(node->text, node->length, &one)) {
            hint = field->count == 2 ? dlt_arena_printf(l->arena, "write [%s, %s]", node->text, node->text)
                                     : dlt_arena_printf(l->arena, "write [%s]", node->text);
        }
        return dlt_wrong_value(l, field, name, node, false, hint);
    }
    for (size_t i = 0; i < n && !l->stop; i++) {
        const dlt_yaml *element = is_list ? dlt_resolve(l, node->values[i]) : node;
        const size_t before = is_list ? dlt_enter_index(l, i) : l->path.length;
        l->element = is_list ? (int64_t)i : -1;
        good = element != NULL && read_element(l, field, name, element, is_list, to, i) && good;
        l->element = -1;
        dlt_leave(l, before);
    }
    *count = good ? n : 0;
    return good;
}

static bool read_axes(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                      int64_t *to)
{
    const size_t wanted = (size_t)field->count;
    if (node->type != DLT_YAML_LIST) {
        if (!read_int(l, field, name, node, false, to)) {
            return false;
        }
        for (size_t i = 1; i < wanted; i++) {
            to[i] = to[0];
        }
        return true;
    }
    if (node->count != wanted) {
        return dlt_wrong_value(l, field, name, node, false,
                               dlt_arena_printf(l->arena, "this one has %zu", node->count));
    }
    bool good = true;
    for (size_t i = 0; i < wanted; i++) {
        const dlt_yaml *element = dlt_resolve(l, node->values[i]);
        const size_t before = dlt_enter_index(l, i);
        l->element = (int64_t)i;
        good = element != NULL && read_int(l, field, name, element, true, to + i) && good;
        l->element = -1;
        dlt_leave(l, before);
    }
    return good;
}

/* ---- mappings with the user's own keys ---- */

static bool apply_float_map(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                            dlt_float_map *map)
{
    if (node->type == DLT_YAML_SCALAR) {
        size_t count = 0;
        for (; field->names != NULL && field->names[count] != NULL; count++) {
            if (strcmp(field->names[count], node->text) == 0) {
                map->word = field->names[count];
                return true;
            }
        }
        const int nearest = field->names != NULL ? dlt_nearest(node->text, field->names, count) : -1;
        return dlt_wrong_value(
            l, field, name, node, false,
            nearest >= 0 ? dlt_arena_printf(l->arena, "did you mean '%s'?", field->names[nearest]) : NULL);
    }
    if (node->type != DLT_YAML_MAP) {
        return dlt_wrong_value(l, field, name, node, false, NULL);
    }
    const char **keys = dlt_list_of(l, node->count, sizeof *keys);
    double *values = dlt_list_of(l, node->count, sizeof *values);
    dlt_pos *places = dlt_list_of(l, node->count, sizeof *places);
    bool good = true;
    if (node->count > 0 && (keys == NULL || values == NULL || places == NULL)) {
        return false;
    }
    for (size_t i = 0; i < node->count && !l->stop; i++) {
        const dlt_yaml *value = dlt_resolve(l, node->values[i]);
        const size_t before = dlt_enter_key(l, node->keys[i]->text);
        const char *own = dlt_arena_printf(l->arena, "%s.%s", name, node->keys[i]->text);
        keys[i] = node->keys[i]->text;
        places[i] = node->keys[i]->pos;
        good = value != NULL && dlt_read_float(l, field, own != NULL ? own : name, value, true, &values[i]) &&
               good;
        dlt_leave(l, before);
    }
    *map = (dlt_float_map){.count = node->count, .key = keys, .value = values, .pos = places};
    return good;
}

static bool apply_string_map(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                             dlt_string_map *map)
{
    if (node->type != DLT_YAML_MAP) {
        return dlt_wrong_value(l, field, name, node, false, NULL);
    }
    const char **keys = dlt_list_of(l, node->count, sizeof *keys),
               **values = dlt_list_of(l, node->count, sizeof *values);
    dlt_pos *places = dlt_list_of(l, node->count, sizeof *places);
    bool good = true;
    if (node->count > 0 && (keys == NULL || values == NULL || places == NULL)) {
        return false;
    }
    for (size_t i = 0; i < node->count && !l->stop; i++) {
        const dlt_yaml *value = dlt_resolve(l, node->values[i]);
        const size_t before = dlt_enter_key(l, node->keys[i]->text);
        const char *own = dlt_arena_printf(l->arena, "%s.%s", name, node->keys[i]->text);
        keys[i] = node->keys[i]->text;
        places[i] = node->keys[i]->pos;
        good =
            value != NULL && read_string(l, field, own != NULL ? own : name, value, true, &values[i]) && good;
        dlt_leave(l, before);
    }
    *map = (dlt_string_map){node->count, keys, values, places};
    return good;
}

/* ---- by type ---- */

bool dlt_apply_plain(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node, void *at)
{
    size_t count = 0;
    void *list = NULL;
    switch (field->type) {
    case DLT_FIELD_INT:
        return read_int(l, field, name, node, false, at);
    case DLT_FIELD_OPT_INT:
        ((dlt_opt_int *)at)->set = true;
        return read_int(l, field, name, node, false, &((dlt_opt_int *)at)->value);
    case DLT_FIELD_FLOAT:
        return dlt_read_float(l, field, name, node, false, at);
    case DLT_FIELD_OPT_FLOAT:
        ((dlt_opt_float *)at)->set = true;
        return dlt_read_float(l, field, name, node, false, &((dlt_opt_float *)at)->value);
    case DLT_FIELD_BOOL:
        return dlt_read_bool(l, field, name, node, at);
    case DLT_FIELD_STRING:
        return read_string(l, field, name, node, false, at);
    case DLT_FIELD_PATH:
        return read_path(l, field, name, node, false, at);
    case DLT_FIELD_ENUM:
        return read_enum(l, field, name, node, at);
    case DLT_FIELD_AXES:
        return read_axes(l, field, name, node, at);
    case DLT_FIELD_INTS:
    case DLT_FIELD_SHAPE: {
        const bool good = read_list(l, field, name, node, &count, &list);
        *(dlt_ints *)at = (dlt_ints){count, list};
        return good;
    }
    case DLT_FIELD_FLOATS: {
        const bool good = read_list(l, field, name, node, &count, &list);
        *(dlt_floats *)at = (dlt_floats){count, list};
        return good;
    }
    case DLT_FIELD_STRINGS:
    case DLT_FIELD_PATHS: {
        const bool good = read_list(l, field, name, node, &count, &list);
        *(dlt_strings *)at = (dlt_strings){count, list};
        return good;
    }
    case DLT_FIELD_COLUMNS: {
        const bool good = read_list(l, field, name, node, &count, &list);
        *(dlt_columns *)at = (dlt_columns){count, list};
        return good;
    }
    case DLT_FIELD_FLOAT_MAP:
        return apply_float_map(l, field, name, node, at);
    case DLT_FIELD_STRING_MAP:
        return apply_string_map(l, field, name, node, at);
    default:
        return false;
    }
}
