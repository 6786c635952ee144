/* schema/items.c: things: a bare kind, or a mapping of one key, and lists and mappings of them. */
#include "schema/schema_internal.h"

#include <assert.h>
#include <string.h>

static const dlt_item *apply_item(dlt_loader *l, const dlt_category *category, const dlt_yaml *node);

const dlt_kind *dlt_find_kind(dlt_loader *l, const dlt_category *category, const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *c = name; *c != '\0'; c++) {
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    }
    dlt_kind_entry *entry = &l->kinds[(hash ^ (uint32_t)((uintptr_t)category >> 4)) % DLT_COUNT(l->kinds)];
    if (entry->category != category || entry->name == NULL || strcmp(entry->name, name) != 0) {
        *entry = (dlt_kind_entry){category, dlt_arena_string(l->arena, name), dlt_kind_find(category, name)};
    }
    return entry->kind;
}

/* ---- one thing ---- */

/* What is wrong with a mapping that should have been `Kind: {...}` but has no key or several. */
static bool wrong_item_mapping(dlt_loader *l, const dlt_category *category, const dlt_yaml *node)
{
    dlt_buf thing = {0};
    dlt_expect_item(category->name, &thing);
    const char *text = dlt_take_text(l, &thing);
    const dlt_yaml *first = NULL, *second = NULL, *first_value = NULL;
    size_t kinds = 0;
    for (size_t i = 0; i < node->count; i++) {
        if (dlt_is_note(node->keys[i])) {
            continue;
        }
        kinds += dlt_find_kind(l, category, node->keys[i]->text) != NULL;
        if (first == NULL) {
            first = node->keys[i];
            first_value = node->values[i];
        } else if (second == NULL) {
            second = node->keys[i];
        }
    }
    if (first == NULL) {
        return dlt_mistake(
            l, node->pos, NULL,
            "%s is written as its kind, or as a mapping of one key, its kind; this mapping has none", text);
    }
    const dlt_kind *kind = dlt_find_kind(l, category, first->text);
    const dlt_yaml *class_name = dlt_yaml_get(node, "class_name");
    if (class_name == NULL && kinds == 0) {
        class_name = dlt_yaml_get(node, "type");
    }
    if (class_name == NULL && kinds == 0) {
        class_name = dlt_yaml_get(node, "kind");
    }
    if (kind == NULL && class_name != NULL && class_name->type == DLT_YAML_SCALAR &&
        dlt_find_kind(l, category, class_name->text) != NULL) {
        return dlt_mistake(l, node->pos, NULL,
                           "the kind of %s is the key itself; write '%s: {...}' with its parameters inside",
                           text, class_name->text);
    }
    assert(second != NULL); /* one key is none of this: dlt_tree_only_key */
    dlt_part_of part = DLT_WHOLE;
    if (kind != NULL && first_value->type == DLT_YAML_NULL &&
        dlt_field_of(kind->fields, second->text, &part) != NULL) {
        const dlt_detail detail = {.found = second->text};
        return dlt_mistake(
            l, second->pos, &detail,
            "'%s' stands beside %s, not inside it; indent it further, or write '%s: {%s: ...}'", second->text,
            first->text, first->text, second->text);
    }
    if (kind != NULL && kinds > 1 && !dlt_text_ends(dlt_buf_text(&l->path), "]")) {
        return dlt_mistake(l, second->pos, NULL, "'%s' and '%s' stand in one mapping; there is one %s here, so keep one of them",
                           first->text, second->text, category->name);
    }
    if (kind != NULL && kinds > 1) {
        return dlt_mistake(
            l, second->pos, NULL,
            "'%s' and '%s' stand in one mapping; each %s needs an entry of its own, begun with '- '",
            first->text, second->text, category->name);
    }
    const dlt_detail detail = {.found = second->text};
    return dlt_mistake(l, second->pos, &detail,
                       "%s is a mapping of one key, its kind; '%s' is one key too many", text, second->text);
}

/* Required fields of a kind that stands bare or with nothing; a scalar given in their place is put where it
 * may belong. */
static bool wants_parameters(dlt_loader *l, const dlt_kind *kind, const char *written, const dlt_yaml *params,
                             dlt_pos at)
{
    dlt_buf example = {0};
    const dlt_field *first = NULL;
    for (size_t i = 0; i < dlt_field_count(kind->fields) && first == NULL; i++) {
        first = dlt_field_required(&kind->fields[i]) && kind->fields[i].type != DLT_FIELD_STRUCT
                    ? &kind->fields[i]
                    : NULL;
    }
    const bool scalar = params != NULL && params->type == DLT_YAML_SCALAR,
               list = params != NULL && params->type == DLT_YAML_LIST;
    if (scalar && first != NULL) {
        const char *quote = params->quoted ? "\"" : "";
        dlt_buf_printf(&example, "%s: {%s: %s%s%s}", written, first->name, quote, params->text, quote);
    } else if (first != NULL) {
        dlt_example_item(l->catalogue, kind, &example);
    } else if (dlt_field_count(kind->fields) == 0) {
        dlt_buf_string(&example, written);
    } else {
        dlt_buf_printf(&example, "%s: {%s: ...}", written, kind->fields[0].name);
    }
    const char *found = params != NULL ? dlt_found_text(l, params) : "";
    const char *write = dlt_take_text(l, &example);
    const dlt_detail detail = {.found = scalar ? params->text : found, .allowed = write};
    if (dlt_field_count(kind->fields) == 0) {
        return dlt_mistake(l, at, &detail, "%s takes no parameters, found %s; write %s", written, found,
                           write);
    }
    if (scalar || list) {
        return dlt_mistake(l, at, &detail, "%s takes a mapping of parameters, found %s; write %s", written,
                           found, write);
    }
    return dlt_mistake(l, at, &detail, "%s needs parameters; write %s", written, write);
}

static bool has_required(const dlt_kind *kind)
{
    for (size_t i = 0; i < dlt_field_count(kind->fields); i++) {
        if (dlt_field_required(&kind->fields[i])) {
            return true;
        }
    }
    return false;
}

/* Fills the parameters of an item from `params` (a mapping). */
static bool apply_params(dlt_loader *l, const dlt_category *category, const dlt_yaml *params, dlt_item *item)
{
    const dlt_kind *kind = item->kind;
    const size_t fields = dlt_field_count(kind->fields);
    const char *owner = l->owner;
    char *base = dlt_arena_alloc(l->arena, 1, kind->size);
    dlt_pos *field_pos = dlt_arena_alloc(l->arena, fields, sizeof *field_pos);
    if (base == NULL || field_pos == NULL) {
        return false;
    }
    item->params = kind->size > 0 ? base : NULL;
    item->field_pos = field_pos;
    l->owner = kind->name;
    const size_t before = dlt_enter_key(l, kind->name);
    const bool outer_harm = l->harm;
    l->harm = false;
    bool good = dlt_apply_fields(l, kind->fields, category, params, item->pos, base, field_pos, item);
    l->usable = good || l->harm ? NULL : item;
    l->harm = outer_harm;
    if (good && kind->check != NULL) {
        const size_t errors = dlt_diag_count(l->diag, DLT_ERROR);
        kind->check(item, l->diag);
        const size_t more = dlt_diag_count(l->diag, DLT_ERROR) - errors;
        l->errors += more;
        good = more == 0;
    }
    dlt_leave(l, before);
    l->owner = owner;
    return good;
}

/* True if the node gives parameters of the kind that its category implies: no key of it is a kind's name. */
static bool is_implied(dlt_loader *l, const dlt_category *category, const dlt_yaml *node)
{
    if (category->implied == NULL || (node->type != DLT_YAML_LIST && node->type != DLT_YAML_MAP)) {
        return false;
    }
    for (size_t i = 0; node->type == DLT_YAML_MAP && i < node->count; i++) {
        if (dlt_find_kind(l, category, node->keys[i]->text) != NULL) {
            return false;
        }
    }
    return true;
}

/*
 * Something of a category: a bare kind, or a mapping of one key, or what an implied kind takes. `node` is
 * resolved. NULL after a mistake.
 */
static const dlt_item *apply_item(dlt_loader *l, const dlt_category *category, const dlt_yaml *node)
{
    const dlt_yaml *name = node, *params = NULL;
    l->usable = NULL;
    if (is_implied(l, category, node)) {
        assert(category->implied != NULL); /* as is_implied asks */
        name = dlt_tree_scalar(l, category->implied, strlen(category->implied), false, node->pos);
        params = node;
        if (name == NULL) {
            return NULL;
        }
    } else if (node->type == DLT_YAML_MAP) {
        const int only = dlt_tree_only_key(node);
        if (only < 0) {
            wrong_item_mapping(l, category, node);
            return NULL;
        }
        name = node->keys[only];
        params = dlt_resolve(l, node->values[only]);
        if (params == NULL) {
            return NULL;
        }
    } else if (node->type != DLT_YAML_SCALAR) {
        dlt_buf thing = {0};
        dlt_expect_item(category->name, &thing);
        const dlt_detail detail = {.found = dlt_found_text(l, node), .allowed = dlt_take_text(l, &thing)};
        dlt_mistake(l, node->pos, &detail, "expected %s here, found %s; write its kind, or 'KIND: {...}'",
                    detail.allowed, detail.found);
        return NULL;
    }
    const dlt_kind *kind = dlt_find_kind(l, category, name->text);
    if (kind == NULL) {
        dlt_mistake_kind(l, name->pos, name->text, category);
        return NULL;
    }
    dlt_item *item = dlt_arena_alloc(l->arena, 1, sizeof *item);
    if (item == NULL) {
        return NULL;
    }
    item->kind = kind;
    item->written = name->text;
    item->bare = node->type == DLT_YAML_SCALAR;
    item->trainable = true;
    item->pos = name->pos;
    if (category->called && item->bare && dlt_field_count(kind->fields) > 0) {
        item->name = item->written; /* so that it keeps its name where all its parameters are written out */
    }
    const bool nothing = params == NULL || params->type == DLT_YAML_NULL;
    if (nothing && has_required(kind)) {
        const size_t before = dlt_enter_key(l, kind->name);
        wants_parameters(l, kind, name->text, NULL, name->pos);
        dlt_leave(l, before);
        return NULL;
    }
    if (!nothing && params->type != DLT_YAML_MAP) {
        if (kind->scalar_field == NULL) {
            const size_t before = dlt_enter_key(l, kind->name);
            wants_parameters(l, kind, name->text, params, params->pos);
            dlt_leave(l, before);
            return NULL;
        }
        dlt_yaml *key =
            dlt_tree_scalar(l, kind->scalar_field, strlen(kind->scalar_field), false, params->pos);
        params = dlt_tree_with(l, NULL, key, dlt_tree_copy(l, params), params->pos);
    } else if (nothing) {
        params = dlt_tree_empty(l, name->pos);
    }
    return params != NULL && apply_params(l, category, params, item) ? item : NULL;
}

const dlt_category *dlt_category_of(dlt_loader *l, const dlt_field *field, dlt_part_of part)
{
    static const dlt_category unknown = {.name = "thing"};
    const char *name = dlt_field_category(field, part);
    const dlt_category *found = name != NULL ? dlt_catalogue_find(l->catalogue, name) : &unknown;
    if (found != NULL) {
        return found;
    }
    dlt_category *empty = dlt_arena_alloc(l->arena, 1, sizeof *empty);
    if (empty == NULL) {
        return &unknown;
    }
    empty->name = name;
    return empty;
}

/* A single thing into *to. */
bool dlt_apply_item(dlt_loader *l, const dlt_category *category, const dlt_yaml *node, const dlt_item **to)
{
    if (l->in_default && category->count == 0) {
        return true; /* a part of the program without, say, optimizers: the default is none */
    }
    *to = apply_item(l, category, node);
    return *to != NULL;
}

/* Where an item's `name:` stands. */
static dlt_pos name_pos(const dlt_yaml *node, const dlt_item *item)
{
    const int only = node->type == DLT_YAML_MAP ? dlt_tree_only_key(node) : -1;
    const dlt_yaml *name = only >= 0 ? dlt_yaml_get(node->values[only], "name") : NULL;
    return name != NULL ? name->pos : item->pos;
}

/* A name given twice in one list of things. */
static bool check_names(dlt_loader *l, const dlt_category *category, const dlt_yaml *node,
                        const dlt_items *items, const dlt_item **list)
{
    enum { ROOM = 64 };
    size_t room = ROOM, named = 0;
    bool good = true;
    for (size_t i = 0; i < items->count; i++) {
        named += items->at[i] != NULL && items->at[i]->name != NULL;
    }
    if (named < 2) {
        return true;
    }
    while (room < 2 * named) {
        room *= 2;
    }
    const dlt_item **table = dlt_arena_alloc(l->arena, room, sizeof *table);
    for (size_t i = 0; table != NULL && i < items->count; i++) {
        const dlt_item *item = items->at[i];
        if (item == NULL || item->name == NULL) {
            continue;
        }
        uint64_t hash = 1469598103934665603u;
        for (const char *c = item->name; *c != '\0'; c++) {
            hash = (hash ^ (unsigned char)*c) * 1099511628211u;
        }
        size_t slot = (size_t)(hash & (room - 1));
        while (table[slot] != NULL && strcmp(table[slot]->name, item->name) != 0) {
            slot = (slot + 1) & (room - 1);
        }
        if (table[slot] == NULL) {
            table[slot] = item;
            continue;
        }
        const dlt_detail detail = {.found = item->name};
        const dlt_pos first = table[slot]->pos;
        dlt_item *unnamed = l->stand_in != NULL ? dlt_arena_alloc(l->arena, 1, sizeof *unnamed) : NULL;
        if (unnamed != NULL) { /* to go on with: it is told only once */
            *unnamed = *item;
            unnamed->name = NULL;
            list[i] = unnamed;
        }
        good = dlt_mistake(
            l, name_pos(node->values[i], item), &detail,
            "the name '%s' stands twice in this list; the first %s that has it is on line %u, column %u",
            item->name, category->name, first.line, first.column);
    }
    return table != NULL && good;
}

/* Layers that are wrong become the layer that stands for them. */
static void replace_wrong(dlt_loader *l, const dlt_category *category, const dlt_yaml *node, const dlt_item **list)
{
    for (size_t i = 0; i < node->count && strcmp(category->name, "layer") == 0; i++) {
        dlt_item *item = list[i] == NULL ? dlt_arena_alloc(l->arena, 1, sizeof *item) : NULL;
        if (item != NULL) {
            *item = (dlt_item){
                .kind = l->stand_in, .written = l->stand_in->name, .trainable = true, .pos = node->values[i]->pos};
            list[i] = item;
        }
    }
}

/* Moves what is there to the front; returns how much that is. */
static size_t without_null(const dlt_item **list, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (list[i] != NULL) {
            list[kept++] = list[i];
        }
    }
    return kept;
}

bool dlt_apply_items(dlt_loader *l, const dlt_field *field, const dlt_category *category, const char *name,
                     const dlt_yaml *node, dlt_items *items)
{
    if (node->type == DLT_YAML_MAP || node->type == DLT_YAML_SCALAR) {
        dlt_buf thing = {0};
        dlt_plural(field->category, &thing);
        const dlt_detail detail = {.found = dlt_found_text(l, node), .allowed = "a list"};
        const char *start = node->type == DLT_YAML_SCALAR ? node->text
                            : node->count > 0             ? node->keys[0]->text
                                                          : "...";
        const int only = node->type == DLT_YAML_MAP ? dlt_tree_only_key(node) : 0;
        const char *things = dlt_take_text(l, &thing);
        if (only >= 0) {
            return dlt_mistake(l, node->pos, &detail, "%s%s must be a list of %s, found %s; write [%s%s]",
                               dlt_owner_prefix(l), name, things, detail.found, start,
                               node->type == DLT_YAML_MAP ? ": {...}" : "");
        }
        return dlt_mistake(l, node->pos, &detail, "%s%s must be a list of %s, found %s; begin each with '- '",
                           dlt_owner_prefix(l), name, things, detail.found);
    }
    if (node->type != DLT_YAML_LIST) {
        return dlt_wrong_value(l, field, name, node, false, NULL);
    }
    const dlt_item **list = dlt_list_of(l, node->count, sizeof *list);
    bool good = node->count == 0 || list != NULL;
    for (size_t i = 0; list != NULL && i < node->count && !l->stop; i++) {
        const dlt_yaml *element = dlt_resolve(l, node->values[i]);
        const size_t before = dlt_enter_index(l, i);
        list[i] = element != NULL ? apply_item(l, category, element) : NULL;
        good = list[i] != NULL && good;
        list[i] = list[i] == NULL && element != NULL && l->stand_in != NULL ? l->usable : list[i];
        dlt_leave(l, before);
    }
    good = good && !l->stop;
    if (list != NULL && l->stand_in != NULL && !good) {
        replace_wrong(l, category, node, list);
        *items = (dlt_items){node->count, list};
        (void)check_names(l, category, node, items, list);
        *items = (dlt_items){without_null(list, node->count), list};
        return false;
    }
    *items = (dlt_items){good ? node->count : 0, list};
    return good && check_names(l, category, node, items, list);
}

/* "kernel_size[1]" */
static const char *element_name(dlt_loader *l, const char *name, size_t i)
{
    const char *text = dlt_arena_printf(l->arena, "%s[%zu]", name, i);
    return text != NULL ? text : name;
}

bool dlt_apply_item_lists(dlt_loader *l, const dlt_field *field, const dlt_category *category,
                          const char *name, const dlt_yaml *node, dlt_item_lists *lists)
{
    if (node->type != DLT_YAML_LIST) {
        return dlt_wrong_value(l, field, name, node, false, NULL);
    }
    dlt_items *list = dlt_list_of(l, node->count, sizeof *list);
    bool good = node->count == 0 || list != NULL;
    for (size_t i = 0; list != NULL && i < node->count && !l->stop; i++) {
        const dlt_yaml *element = dlt_resolve(l, node->values[i]);
        const size_t before = dlt_enter_index(l, i);
        dlt_field inner = *field;
        inner.type = DLT_FIELD_ITEMS;
        good = element != NULL &&
               dlt_apply_items(l, &inner, category, element_name(l, name, i), element, &list[i]) && good;
        dlt_leave(l, before);
    }
    *lists = (dlt_item_lists){good ? node->count : 0, list};
    return good;
}

const dlt_field *dlt_number_field(const dlt_kind *number)
{
    dlt_part_of part = DLT_WHOLE;
    const dlt_field *field =
        number->scalar_field != NULL ? dlt_field_of(number->fields, number->scalar_field, &part) : NULL;
    return field != NULL ? field : &number->fields[0];
}

/* A number becomes a thing of kind `number`. */
bool dlt_apply_float_or_item(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                             const dlt_item **to)
{
    const dlt_category *category = dlt_category_of(l, field, DLT_WHOLE);
    double value = 0;
    const bool number =
        node->type == DLT_YAML_SCALAR && dlt_read_number(node->text, node->length, true, &value);
    const bool kind_like =
        node->type == DLT_YAML_MAP ||
        (node->type == DLT_YAML_SCALAR && !number && !node->quoted &&
         (dlt_find_kind(l, category, node->text) != NULL || (node->text[0] >= 'A' && node->text[0] <= 'Z')));
    if (kind_like) {
        return dlt_apply_item(l, category, node, to);
    }
    if (!dlt_read_float(l, field, name, node, false, &value)) {
        return false;
    }
    const dlt_kind *kind = dlt_find_kind(l, category, "number");
    if (kind == NULL) {
        if (l->in_default) {
            return true;
        }
        return dlt_mistake(l, node->pos, NULL, "%s%s: this build knows no %s for a plain number",
                           dlt_owner_prefix(l), name, field->category);
    }
    const char *scalar = dlt_number_field(kind)->name;
    dlt_item *item = dlt_arena_alloc(l->arena, 1, sizeof *item);
    dlt_yaml *key = dlt_tree_scalar(l, scalar, strlen(scalar), false, node->pos),
             *copy = dlt_tree_copy(l, node);
    const dlt_yaml *params = dlt_tree_with(l, NULL, key, copy, node->pos);
    if (item == NULL || params == NULL) {
        return false;
    }
    *item = (dlt_item){.kind = kind, .written = kind->name, .trainable = true, .pos = node->pos};
    *to = item;
    return apply_params(l, category, params, item);
}

bool dlt_apply_item_map(dlt_loader *l, const dlt_field *field, const dlt_category *category, const char *name,
                        const dlt_yaml *node, dlt_item_map *map)
{
    if (node->type != DLT_YAML_MAP) {
        return dlt_wrong_value(l, field, name, node, false, NULL);
    }
    const char **keys = dlt_list_of(l, node->count, sizeof *keys);
    const dlt_item **values = dlt_list_of(l, node->count, sizeof *values);
    bool good = true;
    if (node->count > 0 && (keys == NULL || values == NULL)) {
        return false;
    }
    for (size_t i = 0; i < node->count && !l->stop; i++) {
        const dlt_yaml *value = dlt_resolve(l, node->values[i]);
        const size_t before = dlt_enter_key(l, node->keys[i]->text);
        keys[i] = node->keys[i]->text;
        values[i] = value != NULL ? apply_item(l, category, value) : NULL;
        good = values[i] != NULL && good;
        dlt_leave(l, before);
    }
    *map = (dlt_item_map){node->count, keys, values};
    return good;
}
