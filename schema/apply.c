/* schema/apply.c: fills parameter structs from a tree as their field tables say.
 *
 * Every mistake is reported and reading goes on, so that one run shows them all. What a mistake leaves in a
 * struct is not looked at by anyone: the spec is handed out only when there was none, or when what is wrong was
 * replaced (dlt_load_options.stand_in). */
#include "schema/schema_internal.h"

#include <stdio.h>
#include <string.h>

static bool apply_value(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                        void *at);

/* ---- tables ---- */

const char *dlt_part_suffix(dlt_part_of part)
{
    switch (part) {
    case DLT_INITIALIZER:
        return "_initializer";
    case DLT_REGULARIZER:
        return "_regularizer";
    case DLT_CONSTRAINT:
        return "_constraint";
    case DLT_WHOLE:
    default:
        return "";
    }
}

const char *dlt_field_category(const dlt_field *field, dlt_part_of part)
{
    return part == DLT_WHOLE ? field->category : dlt_part_suffix(part) + 1;
}

const dlt_field *dlt_field_of(const dlt_field *fields, const char *key, dlt_part_of *part)
{
    for (const dlt_field *f = fields; f != NULL && f->name != NULL; f++) {
        *part = DLT_WHOLE;
        if (f->type != DLT_FIELD_WEIGHT) {
            if (strcmp(f->name, key) == 0) {
                return f;
            }
            continue;
        }
        const size_t length = strlen(f->name);
        for (*part = DLT_INITIALIZER; *part <= DLT_CONSTRAINT; ++*part) {
            if (strncmp(key, f->name, length) == 0 && strcmp(key + length, dlt_part_suffix(*part)) == 0) {
                return f;
            }
        }
    }
    *part = DLT_WHOLE;
    return NULL;
}

/* True if a null, or nothing, may stand in place of the field's value. */
static bool nullable(const dlt_field *field)
{
    switch (field->type) {
    case DLT_FIELD_OPT_INT:
    case DLT_FIELD_OPT_FLOAT:
    case DLT_FIELD_STRUCT:
        return true;
    default:
        return (field->flags & DLT_FIELD_NULL) != 0 ||
               (field->def != NULL && (strcmp(field->def, "null") == 0 || strcmp(field->def, "[]") == 0));
    }
}

/* ---- defaults ---- */

/* True if a default is a plain scalar that needs no parser. */
static bool is_plain(const char *def)
{
    for (const char *c = def; *c != '\0'; c++) {
        const bool word = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                          *c == '_' || *c == '.' || *c == '/' || *c == '+';
        if (!word && !(*c == '-' && c[1] != '\0' && c[1] != ' ')) {
            return false;
        }
    }
    return *def != '\0';
}

const dlt_yaml *dlt_default_node(dlt_loader *l, const char *def)
{
    dlt_default_entry *entry = &l->defaults[((uintptr_t)def >> 3) % DLT_COUNT(l->defaults)];
    if (entry->def == def) {
        return entry->node;
    }
    dlt_yaml *node = NULL;
    if (strcmp(def, "null") == 0) {
        node = dlt_arena_alloc(l->arena, 1, sizeof *node);
        if (node != NULL) {
            node->type = DLT_YAML_NULL;
            node->text = "null";
            node->length = 4;
        }
    } else if (is_plain(def)) {
        node = dlt_tree_scalar(l, def, strlen(def), false, (dlt_pos){0});
    } else if (dlt_yaml_parse_part(l->arena, (dlt_pos){"default", 0, 1, 1}, def, strlen(def), &node,
                                   l->diag) != DLT_OK) {
        l->errors++;
        return NULL;
    }
    *entry = (dlt_default_entry){def, node};
    return node;
}

/* ---- the path of what is being looked at ---- */

size_t dlt_enter_key(dlt_loader *l, const char *key)
{
    const size_t before = l->path.length;
    dlt_buf_printf(&l->path, "%s%s", before > 0 ? "." : "", key);
    return before;
}

size_t dlt_enter_index(dlt_loader *l, size_t index)
{
    const size_t before = l->path.length;
    dlt_buf_printf(&l->path, "[%zu]", index);
    return before;
}

void dlt_leave(dlt_loader *l, size_t before)
{
    if (!l->path.failed && before < l->path.length) {
        l->path.length = before;
        l->path.data[before] = '\0';
    }
}

/* ---- one field ---- */

/* `node` is resolved and no null. */
static bool apply_present(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                          void *at)
{
    switch (field->type) {
    case DLT_FIELD_ITEM:
        return dlt_apply_item(l, dlt_category_of(l, field, DLT_WHOLE), node, at);
    case DLT_FIELD_ITEMS:
        return dlt_apply_items(l, field, dlt_category_of(l, field, DLT_WHOLE), name, node, at);
    case DLT_FIELD_ITEM_LISTS:
        return dlt_apply_item_lists(l, field, dlt_category_of(l, field, DLT_WHOLE), name, node, at);
    case DLT_FIELD_ITEM_MAP:
        return dlt_apply_item_map(l, field, dlt_category_of(l, field, DLT_WHOLE), name, node, at);
    case DLT_FIELD_FLOAT_OR_ITEM:
        return dlt_apply_float_or_item(l, field, name, node, at);
    case DLT_FIELD_STRUCT: {
        if (node->type != DLT_YAML_MAP) {
            dlt_buf keys = {0};
            dlt_buf_printf(&keys, "write '%s: {%s: ...}'", name, field->fields[0].name);
            return dlt_wrong_value(l, field, name, node, false, dlt_take_text(l, &keys));
        }
        const char *owner = l->owner;
        l->owner = owner != NULL ? dlt_arena_printf(l->arena, "%s.%s", owner, name) : name;
        const bool good = dlt_apply_fields(l, field->fields, NULL, node, node->pos, at, NULL, NULL);
        l->owner = owner;
        return good;
    }
    case DLT_FIELD_WEIGHT: /* its three keys are handled where keys are: apply_key */
        return false;
    default:
        return dlt_apply_plain(l, field, name, node, at);
    }
}

/* Leaves a field's value absent; a section gets its defaults. */
static bool apply_null(dlt_loader *l, const dlt_field *field, const char *name, dlt_pos pos, void *at)
{
    if (field->type != DLT_FIELD_STRUCT) {
        return true; /* the struct is zeroed: NULL, count 0, not set */
    }
    const dlt_yaml *empty = dlt_tree_empty(l, pos);
    return empty != NULL && apply_present(l, field, name, empty, at);
}

static bool apply_value(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                        void *at)
{
    if (l->depth >= DLT_YAML_MAX_DEPTH &&
        !l->in_default) { /* only variables and overrides can get here: a file's own depth is bounded */
        return dlt_mistake(l, node->pos, NULL, "nested more than %d levels deep", (int)DLT_YAML_MAX_DEPTH);
    }
    const bool is_auto =
        (field->flags & DLT_FIELD_AUTO) != 0 && dlt_is_plain_scalar(node) && strcmp(node->text, "auto") == 0;
    bool good = false;
    l->depth++;
    if (is_auto || (node->type == DLT_YAML_NULL && nullable(field))) {
        good = apply_null(l, field, name, node->pos, at);
    } else if (node->type == DLT_YAML_NULL && field->type == DLT_FIELD_STRING) {
        const char *hint = node->text != NULL ? "put it in quotes if that is the text" : NULL;
        good = dlt_wrong_value(l, field, name, node, false, hint);
    } else if (node->type == DLT_YAML_NULL && field->category != NULL) {
        good = dlt_wrong_value(l, field, name, node, false, NULL);
    } else {
        good = apply_present(l, field, name, node, at);
    }
    l->depth--;
    return good;
}

/* ---- the three keys of a weight ---- */

static const dlt_item **part_of_weight(dlt_weight_params *weight, dlt_part_of part)
{
    return part == DLT_INITIALIZER   ? &weight->initializer
           : part == DLT_REGULARIZER ? &weight->regularizer
                                     : &weight->constraint;
}

/* The field that one key of a weight would be if it stood alone. */
static dlt_field field_of_part(const dlt_field *weight, const char *name, dlt_part_of part)
{
    return (dlt_field){.name = name,
                       .type = DLT_FIELD_ITEM,
                       .def = part == DLT_INITIALIZER ? weight->def : "null",
                       .category = dlt_part_suffix(part) + 1,
                       .doc = weight->doc};
}

/* ---- going on behind a mistake (dlt_load_options.stand_in) ---- */

/* Bytes of a field's value. */
static size_t size_of(const dlt_field *field)
{
    switch (field->type) {
    case DLT_FIELD_INT:
        return sizeof(int64_t);
    case DLT_FIELD_OPT_INT:
        return sizeof(dlt_opt_int);
    case DLT_FIELD_FLOAT:
        return sizeof(double);
    case DLT_FIELD_OPT_FLOAT:
        return sizeof(dlt_opt_float);
    case DLT_FIELD_BOOL:
        return sizeof(bool);
    case DLT_FIELD_STRING:
    case DLT_FIELD_PATH:
    case DLT_FIELD_ITEM:
    case DLT_FIELD_FLOAT_OR_ITEM:
        return sizeof(void *);
    case DLT_FIELD_ENUM:
        return sizeof(int);
    case DLT_FIELD_AXES:
        return (size_t)field->count * sizeof(int64_t);
    case DLT_FIELD_PATHS:
    case DLT_FIELD_STRINGS:
    case DLT_FIELD_INTS:
    case DLT_FIELD_SHAPE:
    case DLT_FIELD_FLOATS:
    case DLT_FIELD_COLUMNS:
    case DLT_FIELD_ITEMS:
    case DLT_FIELD_ITEM_LISTS:
        return sizeof(dlt_items); /* a count and a pointer, all of them */
    case DLT_FIELD_FLOAT_MAP:
        return sizeof(dlt_float_map);
    case DLT_FIELD_STRING_MAP:
        return sizeof(dlt_string_map);
    case DLT_FIELD_ITEM_MAP:
        return sizeof(dlt_item_map);
    case DLT_FIELD_STRUCT:
        return field->size;
    case DLT_FIELD_WEIGHT:
        return sizeof(dlt_weight_params);
    }
    return 0;
}

/* Remembers that something is wrong under the path where the loader is; `meant`: what an unknown key there should be, or NULL. */
static void note_broken(dlt_loader *l, const char *meant)
{
    const char *path = dlt_buf_text(&l->path);
    const char *dot = strrchr(path, '.');
    const size_t above = meant == NULL ? strlen(path) : dot != NULL ? (size_t)(dot + 1 - path) : 0;
    char whole[64];
    snprintf(whole, sizeof whole, "%.*s%s", (int)(above < 40 ? above : 40), path, meant != NULL ? meant : "");
    l->broken |= dlt_text_starts(whole, "layers") ? DLT_BROKEN_LAYERS
                 : dlt_text_starts(whole, "fit")  ? DLT_BROKEN_FIT
                 : dlt_text_starts(whole, "data") ? DLT_BROKEN_DATA
                                                  : 0;
    l->broken |= dlt_text_starts(whole, "metrics") || dlt_text_starts(whole, "weighted_metrics") ? DLT_BROKEN_METRICS
                 : dlt_text_starts(whole, "data.train") || dlt_text_starts(whole, "data.test")   ? 0
                 : dlt_text_starts(whole, "data")                                                ? DLT_BROKEN_VALIDATION
                                                                                                 : 0;
}

/* Whether no shape hangs on a thing's field, so that its default, or 0, can stand for a wrong value while the rest is looked at. */
static bool is_harmless(dlt_loader *l, const dlt_field *field, dlt_part_of part)
{
    if (field->type == DLT_FIELD_ITEM && strcmp(field->category, "activation") == 0) {
        l->broken |= DLT_BROKEN_ACTIVATION; /* but the loss may */
        return true;
    }
    static const char *const categories[] = {"initializer", "regularizer", "constraint"};
    for (size_t i = 0; i < DLT_COUNT(categories) && field->type == DLT_FIELD_ITEM; i++) {
        if (strcmp(field->category, categories[i]) == 0) {
            return true;
        }
    }
    return part != DLT_WHOLE || field->type == DLT_FIELD_FLOAT || field->type == DLT_FIELD_OPT_FLOAT || strcmp(field->name, "seed") == 0;
}

/* Takes a section's wrong value away, so that the default comes in its place; false: what is there is good to go on with. */
static bool take_away(const dlt_field *field, const dlt_yaml *node, char *base)
{
    const bool list = field->type == DLT_FIELD_ITEMS && node->type == DLT_YAML_LIST; /* holds what is good of it */
    if (list || (field->type == DLT_FIELD_STRUCT && node->type == DLT_YAML_MAP)) {
        return false;
    }
    memset(base + field->offset, 0, size_of(field));
    return !dlt_field_required(field); /* that it is missing was never said, and must not be now */
}

/* ---- tables of fields ---- */

/* The value under one key. */
static bool apply_key(dlt_loader *l, const dlt_field *field, dlt_part_of part, const char *key,
                      const dlt_yaml *written, char *base)
{
    const dlt_yaml *node = dlt_resolve(l, written);
    char *at = base + field->offset;
    bool good = false;
    if (node == NULL) {
        return false;
    }
    if (part == DLT_WHOLE) {
        good = apply_value(l, field, key, node, at);
        return (l->in_default || dlt_origin_put(l, at, field, node)) && good;
    }
    const dlt_field alone = field_of_part(field, key, part);
    const dlt_item **to = part_of_weight((dlt_weight_params *)(void *)at, part);
    good = apply_value(l, &alone, key, node, to);
    return (l->in_default || dlt_origin_put(l, to, field, node)) && good;
}

/* What stands in the table for a field that is not written. */
static bool apply_default(dlt_loader *l, const dlt_field *field, dlt_pos owner, char *base, const bool given[4])
{
    bool good = true;
    if (field->type == DLT_FIELD_WEIGHT) {
        dlt_weight_params *weight = (dlt_weight_params *)(void *)(base + field->offset);
        weight->name = field->name;
        const dlt_yaml *node = given[DLT_INITIALIZER] ? NULL : dlt_default_node(l, field->def);
        if (node == NULL || node->type == DLT_YAML_NULL) {
            return given[DLT_INITIALIZER] || node != NULL;
        }
        const bool outer = l->in_default;
        l->in_default = true;
        good = dlt_apply_item(l, dlt_category_of(l, field, DLT_INITIALIZER), node, &weight->initializer);
        l->in_default = outer;
        return good;
    }
    if (given[DLT_WHOLE]) {
        return true;
    }
    if (dlt_field_required(field) && l->include_missing && l->owner == NULL) {
        note_broken(l, field->name);
        return false;
    }
    if (dlt_field_required(field)) {
        dlt_buf example = {0}, expected = {0};
        if (field->type == DLT_FIELD_ITEMS || field->type == DLT_FIELD_ITEM_LISTS) {
            dlt_buf_string(&example, "[...]"); /* any one thing would be a poor example of a list of them */
        } else {
            dlt_example_value(l->catalogue, field, &example);
        }
        dlt_expect(field, &expected);
        const size_t before = dlt_enter_key(l, field->name);
        const dlt_detail detail = {.allowed = dlt_take_text(l, &expected)};
        dlt_mistake(l, owner, &detail, "%s'%s' is missing (%s); write %s: %s", dlt_owner_prefix(l),
                    field->name, detail.allowed, field->name, dlt_take_text(l, &example));
        note_broken(l, NULL);
        l->harm = true;
        dlt_leave(l, before);
        return false;
    }
    if (field->type == DLT_FIELD_STRUCT) {
        /* not a default itself: what is required inside is still missing */
        const size_t before = dlt_enter_key(l, field->name);
        good = apply_null(l, field, field->name, owner, base + field->offset);
        dlt_leave(l, before);
        return good;
    }
    const bool outer = l->in_default;
    l->in_default = true;
    const dlt_yaml *node = dlt_default_node(l, field->def);
    const size_t before = dlt_enter_key(l, field->name);
    good = node != NULL && apply_value(l, field, field->name, node, base + field->offset);
    dlt_leave(l, before);
    l->in_default = outer;
    return good;
}

/* `name:` and `trainable:` */
static bool apply_common(dlt_loader *l, const dlt_category *category, const char *key,
                         const dlt_yaml *written, dlt_item *item, bool *known)
{
    const bool is_name = category->named && strcmp(key, "name") == 0;
    *known = is_name || (category->trainable && strcmp(key, "trainable") == 0);
    const dlt_yaml *node = *known ? dlt_resolve(l, written) : NULL;
    if (node == NULL) {
        return !*known;
    }
    if (!is_name) {
        static const dlt_field field = {.name = "trainable", .type = DLT_FIELD_BOOL};
        return dlt_read_bool(l, &field, key, node, &item->trainable);
    }
    if (node->type == DLT_YAML_NULL) {
        return true;
    }
    const bool text = node->type == DLT_YAML_SCALAR && node->length > 0;
    if (!text || strchr(node->text, '/') != NULL || strcmp(node->text, ".") == 0 ||
        strcmp(node->text, "..") == 0 || !dlt_text_plain(node->text)) {
        return dlt_mistake_value(l, key, node, "a word without '/'",
                                 text ? "names become parts of paths in checkpoints" : NULL);
    }
    if (node->length > DLT_MAX_NAME) {
        return dlt_mistake_value(l, key, node, dlt_arena_printf(l->arena, "at most %d bytes long", (int)DLT_MAX_NAME), NULL);
    }
    item->name = node->text;
    return true;
}

/* Python's (28, 28, 1) inside { } falls apart into `(28`, `28` and `1)`: true for the pieces behind the
 * first. */
static bool is_piece_of_tuple(const dlt_yaml *map, size_t i)
{
    for (size_t k = i; k > 0; k--) {
        if (map->values[k]->type != DLT_YAML_NULL || map->values[k]->text != NULL) {
            return false;
        }
        const dlt_yaml *before = map->values[k - 1];
        if (before->type == DLT_YAML_SCALAR && before->text[0] == '(' && strchr(before->text, ')') == NULL) {
            return true;
        }
        if (strchr(map->keys[k - 1]->text, ')') != NULL) {
            return false;
        }
    }
    return false;
}

/* Applies a mapping to a struct. `field_pos` and `item` are NULL for sections. */
bool dlt_apply_fields(dlt_loader *l, const dlt_field *fields, const dlt_category *category,
                      const dlt_yaml *map, dlt_pos at, char *base, dlt_pos *field_pos, dlt_item *item)
{
    bool given[DLT_MOST_FIELDS][4] = {{false}};
    const size_t count = dlt_field_count(fields);
    bool good = true;
    if (count > DLT_MOST_FIELDS) { /* dlt_catalogue_check finds such a table */
        return dlt_mistake(l, at, NULL, "%smore than %d fields", dlt_owner_prefix(l), (int)DLT_MOST_FIELDS);
    }
    for (size_t i = 0; i < count; i++) { /* so that a weight has its name even when a key of it is wrong */
        if (fields[i].type == DLT_FIELD_WEIGHT) {
            ((dlt_weight_params *)(void *)(base + fields[i].offset))->name = fields[i].name;
        }
    }
    for (size_t i = 0; i < map->count && !l->stop; i++) {
        const dlt_yaml *key = map->keys[i];
        dlt_part_of part = DLT_WHOLE;
        const dlt_field *field = dlt_field_of(fields, key->text, &part);
        bool known = false;
        if (field == NULL && (dlt_is_note(key) || is_piece_of_tuple(map, i))) {
            continue;
        }
        const size_t before = dlt_enter_key(l, key->text);
        if (field != NULL) {
            const size_t index = (size_t)(field - fields);
            given[index][part] = true;
            if (field_pos != NULL && field_pos[index].line == 0) {
                field_pos[index] = map->values[i]->pos;
            }
            const bool right = apply_key(l, field, part, key->text, map->values[i], base);
            if (!right && category == NULL && l->stand_in != NULL) {
                if (field->type != DLT_FIELD_STRUCT || map->values[i]->type != DLT_YAML_MAP) { /* else its own fields were noted */
                    note_broken(l, NULL);
                }
                given[index][part] = !take_away(field, map->values[i], base);
            } else if (!right && l->stand_in != NULL && !is_harmless(l, field, part)) {
                l->harm = true;
            } else if (!right && l->stand_in != NULL) {
                given[index][part] = part == DLT_WHOLE && dlt_field_required(field); /* then 0 stands for it */
                if (part == DLT_WHOLE) {
                    memset(base + field->offset, 0, size_of(field));
                }
            }
            good = right && good;
        } else if (category != NULL && item != NULL) {
            good = apply_common(l, category, key->text, map->values[i], item, &known) && good;
        }
        if (field == NULL && !known && !(fields == l->model && strcmp(key->text, "vars") == 0)) {
            const char *meant = dlt_mistake_key(l, key->pos, key->text, fields, category);
            const dlt_field *other = meant != NULL ? dlt_field_of(fields, meant, &part) : NULL;
            if (other != NULL && (l->stand_in == NULL || dlt_field_required(other))) { /* so that it is not reported as missing too */
                given[other - fields][part] = true;
            } /* else its default stands for what was meant */
            if (category == NULL && l->stand_in != NULL) {
                note_broken(l, meant != NULL ? meant : "");
            } else {
                l->harm = l->harm || other == NULL || !is_harmless(l, other, part);
            }
            good = false;
        }
        dlt_leave(l, before);
    }
    for (size_t i = 0; i < count && !l->stop; i++) {
        good = apply_default(l, &fields[i], at, base, given[i]) && good;
    }
    return good && !l->stop;
}

bool dlt_apply_model(dlt_loader *l, const dlt_kind *model, const dlt_yaml *tree, dlt_spec *spec,
                     dlt_item *root)
{
    dlt_pos *field_pos = dlt_arena_alloc(l->arena, dlt_field_count(model->fields), sizeof *field_pos);
    if (field_pos == NULL) {
        return false;
    }
    *root = (dlt_item){.kind = model,
                       .written = model->name,
                       .params = spec,
                       .trainable = true,
                       .pos = tree->pos,
                       .field_pos = field_pos};
    bool good = dlt_apply_fields(l, model->fields, NULL, tree, tree->pos, (char *)spec, field_pos, root);
    if (good && model->check != NULL) {
        const size_t errors = dlt_diag_count(l->diag, DLT_ERROR);
        model->check(root, l->diag);
        good = dlt_diag_count(l->diag, DLT_ERROR) == errors;
        l->errors += good ? 0 : 1;
    }
    return good;
}

bool dlt_apply_default(dlt_loader *l, const dlt_field *field, void *base)
{
    bool given[4] = {false};
    return apply_default(l, field, (dlt_pos){0}, base, given);
}
