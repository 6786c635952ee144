/* schema/override.c: `-o key.path=value` (decisions 34).
 *
 * A path names keys with dots and list entries with [n] from 0; [-1] is the last. The kind of a thing may
 * stand in it or be left out (layers[3].units, layers[3].Dense.units), and an entry of a list of things may
 * be named by its `name:` (layers.head.units). The tables say what each step stands for. The value is YAML.
 * What is overridden may stand in the file or not; what no table knows is a mistake. */
#include "base/num.h"
#include "schema/schema_internal.h"

#include <assert.h>
#include <string.h>

enum { MAX_STEPS = 64 };

typedef struct step {
    const char *key; /* NULL: an index */
    int64_t index;
    dlt_pos pos;
} step;

typedef struct override_path {
    step steps[MAX_STEPS];
    size_t count;
    dlt_yaml *value;
} override_path;

static dlt_yaml *set_fields(dlt_loader *l, const dlt_field *fields, const dlt_category *category,
                            const dlt_yaml *map, const override_path *path, size_t at);

/* ---- reading the text ---- */

/* Splits "layers[3].units" into steps; text has `length` bytes and begins at `pos`. */
static bool read_path(dlt_loader *l, const char *text, size_t length, dlt_pos pos, override_path *path)
{
    const unsigned first = pos.column;
    for (size_t i = 0; i < length;) {
        pos.column = first + (unsigned)dlt_utf8_length(text, i);
        if (path->count == MAX_STEPS) {
            return dlt_mistake(l, pos, NULL, "a path has at most %d parts", (int)MAX_STEPS);
        }
        step *s = &path->steps[path->count];
        if (text[i] == '[') {
            const char *close = memchr(text + i, ']', length - i);
            const size_t end = close != NULL ? (size_t)(close - text) : length;
            pos.span = (unsigned)(end - i) + 1;
            if (close == NULL || !dlt_parse_i64(text + i + 1, end - i - 1, &s->index)) {
                return dlt_mistake(l, pos, NULL,
                                   "an entry of a list is named by its number: layers[3].units");
            }
            s->key = NULL;
            i = end + 1;
        } else {
            size_t end = i;
            while (end < length && text[end] != '.' && text[end] != '[') {
                end++;
            }
            pos.span = end > i ? (unsigned)dlt_utf8_length(text + i, end - i) : 1;
            if (end == i) {
                return dlt_mistake(
                    l, pos, NULL,
                    "a key is missing here; a path is written like fit.epochs or layers[3].units");
            }
            s->key = dlt_arena_copy(l->arena, text + i, end - i);
            if (s->key == NULL) {
                return false;
            }
            i = end;
        }
        s->pos = pos;
        path->count++;
        if (i < length && text[i] == '.') {
            i++;
            if (i == length) {
                pos.column = first + (unsigned)dlt_utf8_length(text, i);
                pos.span = 1;
                return dlt_mistake(l, pos, NULL, "a key is missing behind the '.'");
            }
        } else if (i < length && text[i] != '[') {
            pos.column = first + (unsigned)dlt_utf8_length(text, i);
            pos.span = 1;
            return dlt_mistake(l, pos, NULL, "a '.' is missing before the next key");
        }
    }
    return true;
}

/* ---- helpers ---- */

/* "layers[3].units": the steps before `end`. Lives in the arena. */
static const char *path_text(dlt_loader *l, const override_path *path, size_t end)
{
    dlt_buf out = {0};
    for (size_t i = 0; i < end; i++) {
        if (path->steps[i].key != NULL) {
            dlt_buf_printf(&out, "%s%s", i > 0 ? "." : "", path->steps[i].key);
        } else {
            dlt_buf_printf(&out, "[%lld]", (long long)path->steps[i].index);
        }
    }
    return dlt_take_text(l, &out);
}

/* Adds a mistake at a step. Always NULL. */
static dlt_yaml *wrong(dlt_loader *l, const override_path *path, size_t at, const char *text)
{
    const size_t last = at < path->count ? at : path->count - 1;
    dlt_mistake(l, path->steps[last].pos, NULL, "%s", text != NULL ? text : "this path leads nowhere");
    return NULL;
}

static bool is_last(const override_path *path, size_t at)
{
    return at + 1 == path->count;
}

static dlt_yaml *key_node(dlt_loader *l, const char *text, dlt_pos pos)
{
    return dlt_tree_scalar(l, text, strlen(text), false, pos);
}

/* A mapping of one key; NULL when memory is refused or value is. */
static dlt_yaml *one_key(dlt_loader *l, dlt_yaml *key, dlt_yaml *value, dlt_pos pos)
{
    return dlt_tree_with(l, NULL, key, value, pos);
}

/* A node that a path wants to go through, but cannot. */
static dlt_yaml *cannot_pass(dlt_loader *l, const dlt_yaml *node, const override_path *path, size_t at)
{
    const char *before = path_text(l, path, at);
    if (node->type == DLT_YAML_SCALAR && strstr(node->text, "${vars.") != NULL) {
        return wrong(
            l, path, at,
            dlt_arena_printf(l->arena, "%s is %s in the file; override that variable", before, node->text));
    }
    return wrong(l, path, at,
                 dlt_arena_printf(l->arena,
                                  "%s is %s in the file, so nothing stands below it; override %s itself",
                                  before, dlt_found_text(l, node), before));
}

static dlt_yaml *checked_element(dlt_loader *l, const dlt_yaml *list, const override_path *path, size_t at,
                                 size_t *index)
{
    const int64_t wanted = path->steps[at].index,
                  count = list != NULL && list->type == DLT_YAML_LIST ? (int64_t)list->count : 0;
    const int64_t found = wanted < 0 ? wanted + count : wanted;
    if (found < 0 || found >= count) {
        const char *before = path_text(l, path, at);
        return wrong(
            l, path, at,
            count == 0 ? dlt_arena_printf(l->arena, "%s has no entries; write %s=[...]", before, before)
                       : dlt_arena_printf(l->arena, "%s has entries 0..%lld", before, (long long)count - 1));
    }
    *index = (size_t)found;
    return list->values[found];
}

/* Copy of a list with one entry replaced. */
static dlt_yaml *with_element(dlt_loader *l, const dlt_yaml *list, size_t index, dlt_yaml *value)
{
    dlt_yaml **values = NULL;
    dlt_yaml *copy = value != NULL ? dlt_tree_list(l, list->count, &values, list->pos) : NULL;
    if (copy != NULL) {
        for (size_t i = 0; i < list->count; i++) {
            values[i] = i == index ? value : list->values[i];
        }
    }
    return copy;
}

/* ---- things ---- */

static dlt_yaml *set_params(dlt_loader *l, const dlt_category *category, const dlt_kind *kind,
                            const dlt_yaml *params, const override_path *path, size_t at)
{
    const char *owner = l->owner;
    dlt_yaml *map = NULL;
    if (params != NULL && params->type != DLT_YAML_NULL && params->type != DLT_YAML_MAP) {
        if (kind->scalar_field == NULL ||
            (params->type == DLT_YAML_SCALAR && strstr(params->text, "${vars.") != NULL)) {
            return cannot_pass(l, params, path, at);
        }
        dlt_yaml *copy = dlt_tree_copy(l, params);
        map = one_key(l, key_node(l, kind->scalar_field, params->pos), copy, params->pos);
        if (map == NULL) {
            return NULL;
        }
        params = map;
    }
    l->owner = kind->name;
    dlt_yaml *set = set_fields(l, kind->fields, category, params, path, at);
    l->owner = owner;
    return set;
}

/* True if `key` is something a kind's parameters hold. */
static bool has_param(const dlt_kind *kind, const dlt_category *category, const char *key)
{
    dlt_part_of part = DLT_WHOLE;
    return dlt_field_of(kind->fields, key, &part) != NULL || (category->named && strcmp(key, "name") == 0) ||
           (category->trainable && strcmp(key, "trainable") == 0);
}

/* Sets something in a thing; `in_file` is false where the node stands for the default. */
static dlt_yaml *set_item(dlt_loader *l, const dlt_category *category, const dlt_yaml *node, bool in_file,
                          const override_path *path, size_t at)
{
    const step *s = &path->steps[at];
    if (s->key == NULL) {
        return node != NULL && in_file
                   ? cannot_pass(l, node, path, at)
                   : wrong(l, path, at, "this is no list, so its entries have no numbers");
    }
    const dlt_kind *named = dlt_find_kind(l, category, s->key), *kind = NULL;
    const dlt_yaml *params = NULL;
    dlt_yaml *key = NULL;
    if (node != NULL && node->type == DLT_YAML_SCALAR) {
        kind = dlt_find_kind(l, category, node->text);
        key = kind != NULL ? dlt_tree_copy(l, node) : NULL;
    } else if (node != NULL && node->type == DLT_YAML_MAP && dlt_tree_only_key(node) >= 0) {
        const int only = dlt_tree_only_key(node);
        kind = dlt_find_kind(l, category, node->keys[only]->text);
        key = node->keys[only];
        params = node->values[only];
    }
    const bool exact = named != NULL && strcmp(named->name, s->key) == 0;
    if (kind != NULL && named == kind && (exact || !has_param(kind, category, s->key))) {
        dlt_yaml *set = is_last(path, at) ? path->value : set_params(l, category, kind, params, path, at + 1);
        return set != NULL ? one_key(l, key, set, key->pos) : NULL;
    }
    if (kind != NULL && has_param(kind, category, s->key)) {
        dlt_yaml *set = set_params(l, category, kind, params, path, at);
        return set != NULL ? one_key(l, key, set, key->pos) : NULL;
    }
    const char *before = path_text(l, path, at);
    if (named != NULL && (!in_file || node == NULL || node->type == DLT_YAML_NULL)) {
        dlt_yaml *set = is_last(path, at) ? path->value : set_params(l, category, named, NULL, path, at + 1);
        return set != NULL ? one_key(l, key_node(l, s->key, s->pos), set, s->pos) : NULL;
    }
    if (named != NULL && kind != NULL) {
        return wrong(l, path, at,
                     dlt_arena_printf(l->arena,
                                      "%s is %s in the file, not %s; to replace it write %s={%s: {...}}",
                                      before, kind->name, named->name, before, named->name));
    }
    if (kind != NULL) {
        const char *owner = l->owner;
        l->owner = kind->name;
        dlt_mistake_key(l, s->pos, s->key, kind->fields, category);
        l->owner = owner;
        return NULL;
    }
    if (node != NULL && in_file && node->type != DLT_YAML_NULL) {
        return cannot_pass(l, node, path, at);
    }
    return wrong(l, path, at,
                 dlt_arena_printf(l->arena, "%s is not in the file; write %s={KIND: {...}}", before, before));
}

/* The text of a thing's `name:`, or NULL. */
static const char *name_of(const dlt_yaml *item)
{
    const int only = item->type == DLT_YAML_MAP ? dlt_tree_only_key(item) : -1;
    const dlt_yaml *name = only >= 0 ? dlt_yaml_get(item->values[only], "name") : NULL;
    return name != NULL && name->type == DLT_YAML_SCALAR ? name->text : NULL;
}

/* Sets something in a list of things. */
static dlt_yaml *set_items(dlt_loader *l, const dlt_category *category, const dlt_yaml *list,
                           const override_path *path, size_t at)
{
    const step *s = &path->steps[at];
    size_t index = 0;
    if (list != NULL && list->type == DLT_YAML_SCALAR) {
        return cannot_pass(l, list, path, at);
    }
    if (s->key == NULL) {
        if (checked_element(l, list, path, at, &index) == NULL) {
            return NULL;
        }
    } else {
        const char *names[64];
        size_t count = 0, entries = list != NULL && list->type == DLT_YAML_LIST ? list->count : 0;
        bool found = false;
        for (size_t i = 0; i < entries && !found; i++) {
            const char *name = name_of(list->values[i]);
            found = name != NULL && strcmp(name, s->key) == 0;
            index = found ? i : index;
            if (name != NULL && count < DLT_COUNT(names)) {
                names[count++] = name;
            }
        }
        if (!found) {
            const int nearest = dlt_nearest(s->key, names, count);
            const dlt_detail detail = {.found = s->key, .nearest = nearest >= 0 ? names[nearest] : NULL};
            const char *before = path_text(l, path, at);
            if (nearest >= 0) {
                dlt_mistake(l, s->pos, &detail, "%s has no entry with the name '%s'; did you mean '%s'?",
                            before, s->key, names[nearest]);
            } else {
                dlt_mistake(l, s->pos, &detail,
                            "%s has no entry with the name '%s'; entries are counted from 0: %s[0]", before,
                            s->key, before);
            }
            return NULL;
        }
    }
    assert(list != NULL && index < list->count); /* or there is no such entry, which was said */
    if (is_last(path, at)) {
        return with_element(l, list, index, path->value);
    }
    return with_element(l, list, index, set_item(l, category, list->values[index], true, path, at + 1));
}

/* ---- fields ---- */

/* A mapping with the user's own keys, its values things of `category` or plain (NULL). */
static dlt_yaml *set_free_key(dlt_loader *l, const dlt_category *category, const dlt_yaml *map,
                              const override_path *path, size_t at)
{
    const step *s = &path->steps[at];
    if (map != NULL && map->type != DLT_YAML_NULL && map->type != DLT_YAML_MAP) {
        return cannot_pass(l, map, path, at);
    }
    if (s->key == NULL) {
        return wrong(l, path, at, "this is no list, so its entries have no numbers");
    }
    const dlt_yaml *held = dlt_yaml_get(map, s->key);
    dlt_yaml *value = path->value;
    if (!is_last(path, at)) {
        if (category == NULL) {
            return wrong(l, path, at + 1, "this value has nothing below it");
        }
        value = set_item(l, category, held, held != NULL, path, at + 1);
    }
    const dlt_yaml *old = map != NULL && map->type == DLT_YAML_MAP ? map : NULL;
    return value != NULL ? dlt_tree_with(l, old, key_node(l, s->key, s->pos), value, s->pos) : NULL;
}

/* Goes on below a field whose value is `held` (NULL: not in the file). */
static dlt_yaml *set_below(dlt_loader *l, const dlt_field *field, dlt_part_of part, const dlt_yaml *held,
                           const override_path *path, size_t at)
{
    const char *name = dlt_field_category(field, part);
    const dlt_category *category = name != NULL ? dlt_catalogue_find(l->catalogue, name) : NULL;
    static const dlt_category nothing = {.name = "thing"};
    category = category != NULL ? category : &nothing;
    size_t index = 0;
    switch (field->type) {
    case DLT_FIELD_STRUCT: {
        const char *owner = l->owner;
        l->owner = field->name;
        dlt_yaml *set = set_fields(l, field->fields, NULL, held, path, at);
        l->owner = owner;
        return set;
    }
    case DLT_FIELD_ITEM:
    case DLT_FIELD_WEIGHT:
    case DLT_FIELD_FLOAT_OR_ITEM: {
        const bool plain_default =
            part <= DLT_INITIALIZER && field->def != NULL && !dlt_field_required(field);
        const dlt_yaml *node = held == NULL && plain_default ? dlt_default_node(l, field->def) : held;
        return set_item(l, category, node, held != NULL, path, at);
    }
    case DLT_FIELD_ITEMS:
        return set_items(l, category, held, path, at);
    case DLT_FIELD_ITEM_LISTS: {
        const dlt_yaml *inner =
            path->steps[at].key == NULL ? checked_element(l, held, path, at, &index) : NULL;
        if (inner == NULL) {
            return path->steps[at].key != NULL
                       ? wrong(l, path, at, "the lists in this list are counted from 0")
                       : NULL;
        }
        return with_element(l, held, index,
                            is_last(path, at) ? path->value : set_items(l, category, inner, path, at + 1));
    }
    case DLT_FIELD_ITEM_MAP:
        return set_free_key(l, category, held, path, at);
    case DLT_FIELD_FLOAT_MAP:
    case DLT_FIELD_STRING_MAP:
        return set_free_key(l, NULL, held, path, at);
    case DLT_FIELD_AXES:
    case DLT_FIELD_INTS:
    case DLT_FIELD_SHAPE:
    case DLT_FIELD_FLOATS:
    case DLT_FIELD_STRINGS:
    case DLT_FIELD_PATHS:
    case DLT_FIELD_COLUMNS:
        if (path->steps[at].key == NULL && is_last(path, at) && held != NULL && held->type == DLT_YAML_LIST) {
            return checked_element(l, held, path, at, &index) != NULL
                       ? with_element(l, held, index, path->value)
                       : NULL;
        }
        return held != NULL
                   ? cannot_pass(l, held, path, at)
                   : wrong(l, path, at,
                           dlt_arena_printf(l->arena, "%s is not in the file; set it as a whole: %s=...",
                                            path_text(l, path, at), path_text(l, path, at)));
    default:
        return wrong(l, path, at,
                     dlt_arena_printf(l->arena, "%s is one value, so nothing stands below it",
                                      path_text(l, path, at)));
    }
}

/* `vars.x.y`: only what the file has can be set, so that a slip is not a new variable that nobody reads. */
static dlt_yaml *set_variable(dlt_loader *l, const dlt_yaml *vars, const override_path *path, size_t at)
{
    const step *s = &path->steps[at];
    const dlt_yaml *held = s->key != NULL ? dlt_yaml_get(vars, s->key) : NULL;
    if (held == NULL) {
        const char *names[64];
        size_t count = 0;
        for (size_t i = 0;
             vars != NULL && vars->type == DLT_YAML_MAP && i < vars->count && count < DLT_COUNT(names); i++) {
            names[count++] = vars->keys[i]->text;
        }
        const int nearest = s->key != NULL ? dlt_nearest(s->key, names, count) : -1;
        const dlt_detail detail = {.found = s->key, .nearest = nearest >= 0 ? names[nearest] : NULL};
        if (nearest >= 0) {
            dlt_mistake(l, s->pos, &detail, "unknown variable '%s'; did you mean '%s'?", s->key,
                        names[nearest]);
        } else {
            dlt_mistake(l, s->pos, &detail, "%s has no variable '%s'; write it into the file first",
                        path_text(l, path, at), s->key != NULL ? s->key : "[...]");
        }
        return NULL;
    }
    dlt_yaml *value = is_last(path, at) ? path->value : set_variable(l, held, path, at + 1);
    return value != NULL ? dlt_tree_with(l, vars, key_node(l, s->key, s->pos), value, s->pos) : NULL;
}

static dlt_yaml *set_fields(dlt_loader *l, const dlt_field *fields, const dlt_category *category,
                            const dlt_yaml *map, const override_path *path, size_t at)
{
    const step *s = &path->steps[at];
    if (map != NULL && map->type != DLT_YAML_NULL && map->type != DLT_YAML_MAP) {
        return cannot_pass(l, map, path, at);
    }
    if (s->key == NULL) {
        return wrong(l, path, at, "this is no list, so its entries have no numbers");
    }
    const dlt_yaml *old = map != NULL && map->type == DLT_YAML_MAP ? map : NULL,
                   *held = dlt_yaml_get(old, s->key);
    dlt_part_of part = DLT_WHOLE;
    const dlt_field *field = dlt_field_of(fields, s->key, &part);
    dlt_yaml *value = NULL;
    if (field != NULL) {
        value = is_last(path, at) ? path->value : set_below(l, field, part, held, path, at + 1);
    } else if (category != NULL && ((category->named && strcmp(s->key, "name") == 0) ||
                                    (category->trainable && strcmp(s->key, "trainable") == 0))) {
        value = is_last(path, at) ? path->value : wrong(l, path, at + 1, "this value has nothing below it");
    } else if (fields == l->model && strcmp(s->key, "vars") == 0 && !is_last(path, at)) {
        value = set_variable(l, held, path, at + 1);
    } else if (fields == l->model && (strcmp(s->key, "include") == 0 || strcmp(s->key, "vars") == 0)) {
        return wrong(l, path, at, dlt_arena_printf(l->arena, "'%s' can only be written in the file", s->key));
    } else if (dlt_text_starts(s->key, "x-")) {
        return wrong(l, path, at, "keys that begin with 'x-' are notes; setting them does nothing");
    } else {
        dlt_mistake_key(l, s->pos, s->key, fields, category);
        return NULL;
    }
    return value != NULL ? dlt_tree_with(l, old, key_node(l, s->key, s->pos), value, s->pos) : NULL;
}

/* ---- the door ---- */

/* One override; the tree as it was after a mistake. `line` is where its text begins among all overrides. */
static const dlt_yaml *apply_one(dlt_loader *l, const dlt_kind *model, const dlt_yaml *tree, const char *text,
                                 unsigned line)
{
    const dlt_pos start = {"-o", line, 1, 1};
    const size_t length = strlen(text);
    override_path path = {.count = 0};
    if (!dlt_utf8_valid(text, length)) {
        dlt_mistake(l, start, NULL, "an override must be valid UTF-8");
        return tree;
    }
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text) {
        dlt_pos whole = start;
        whole.span = length > 0 ? (unsigned)dlt_utf8_length(text, length) : 1;
        dlt_mistake(l, whole, NULL, "an override is written key.path=value, as in fit.epochs=3");
        return tree;
    }
    const size_t left = (size_t)(equals - text);
    if (memchr(text, '\n', left) != NULL) {
        dlt_mistake(l, start, NULL, "a path has no line breaks");
        return tree;
    }
    if (!read_path(l, text, left, start, &path)) {
        return tree;
    }
    const dlt_pos at = {"-o", line, (unsigned)dlt_utf8_length(text, left + 1) + 1, 1};
    dlt_yaml *value = NULL;
    if (dlt_yaml_parse_part(l->arena, at, text + left + 1, length - left - 1, &value, l->diag) != DLT_OK) {
        l->errors++;
        return tree;
    }
    path.value = value;
    const char *owner = l->owner;
    l->owner = NULL;
    const dlt_yaml *set = set_fields(l, model->fields, NULL, tree, &path, 0);
    l->owner = owner;
    return set != NULL ? set : tree;
}

const dlt_yaml *dlt_override_all(dlt_loader *l, const dlt_kind *model, const dlt_yaml *tree,
                                 const dlt_load_options *options)
{
    if (options == NULL || options->override_count == 0) {
        return tree;
    }
    dlt_buf all = {0};
    unsigned line = 1;
    for (size_t i = 0; i < options->override_count && !l->stop; i++) {
        const char *text = options->overrides[i];
        tree = apply_one(l, model, tree, text, line);
        dlt_buf_printf(&all, "%s\n", text);
        for (const char *feed = strchr(text, '\n'); feed != NULL; feed = strchr(feed + 1, '\n')) {
            line++;
        }
        line++;
    }
    if (all.failed) {
        dlt_fail_memory(l->diag);
    } else {
        dlt_diag_add_source(l->diag, "-o", dlt_buf_text(&all), all.length);
    }
    dlt_buf_release(&all);
    return dlt_arena_failed(l->arena) ? NULL : tree;
}
