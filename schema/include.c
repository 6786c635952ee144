/* schema/include.c: `include: [base.yaml]` and how two trees become one (decisions 31, 34).
 *
 * The files named are laid over each other in their order, then the file's own keys over them. Mappings merge
 * key by key; lists and single values are replaced as a whole. A thing (`Adam: {...}`) merges with one of the
 * same kind and replaces one of another, so the tables are asked what stands where. Nodes keep their places,
 * so a mistake is still reported in the file that made it. Only files below the folder of the including file
 * are opened. */
#include "base/alloc.h"
#include "io/file.h"
#include "schema/schema_internal.h"

#include <string.h>

bool dlt_loader_add_file(dlt_loader *l, const char *name, const char *folder)
{
    for (size_t i = 0; i < l->file_count; i++) {
        if (strcmp(l->files[i].name, name) == 0) {
            return true; /* the same file from two places */
        }
    }
    if (l->file_count == DLT_FILES_MAX) {
        return false;
    }
    const char *own_name = dlt_arena_string(l->arena, name), *own_folder = dlt_arena_string(l->arena, folder);
    if (own_name == NULL || own_folder == NULL) {
        return false;
    }
    l->files[l->file_count++] = (dlt_file_entry){own_name, own_folder};
    return true;
}

const char *dlt_loader_folder(const dlt_loader *l, const char *name)
{
    for (size_t i = 0; name != NULL && i < l->file_count; i++) {
        if (strcmp(l->files[i].name, name) == 0) {
            return l->files[i].folder;
        }
    }
    return l->file_count > 0 ? l->files[0].folder : ".";
}

/* ---- merging ---- */

/* Finds keys of a mapping; mappings of a few keys are searched, larger ones get a table. */
typedef struct key_index {
    const dlt_yaml *map;
    size_t *slots, room; /* index + 1, 0: free */
} key_index;

static size_t hash_of(const char *text)
{
    size_t hash = 1469598103934665603u; /* FNV-1a */
    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    }
    return hash;
}

static bool index_keys(dlt_loader *l, key_index *index, const dlt_yaml *map)
{
    enum { FEW = 16 };
    *index = (key_index){.map = map};
    if (map->count <= FEW) {
        return true;
    }
    for (index->room = 64; index->room < 2 * map->count; index->room *= 2) {
    }
    index->slots = dlt_arena_alloc(l->arena, index->room, sizeof *index->slots);
    for (size_t i = 0; index->slots != NULL && i < map->count; i++) {
        size_t slot = hash_of(map->keys[i]->text) & (index->room - 1);
        while (index->slots[slot] != 0) {
            slot = (slot + 1) & (index->room - 1);
        }
        index->slots[slot] = i + 1;
    }
    return index->slots != NULL;
}

/* Number of the pair with that key, or -1. */
static int find_key(const key_index *index, const char *key)
{
    const dlt_yaml *map = index->map;
    if (index->slots == NULL) {
        for (size_t i = 0; i < map->count; i++) {
            if (strcmp(map->keys[i]->text, key) == 0) {
                return (int)i;
            }
        }
        return -1;
    }
    for (size_t slot = hash_of(key) & (index->room - 1); index->slots[slot] != 0;
         slot = (slot + 1) & (index->room - 1)) {
        if (strcmp(map->keys[index->slots[slot] - 1]->text, key) == 0) {
            return (int)index->slots[slot] - 1;
        }
    }
    return -1;
}

/* How the values under one key become one. */
typedef struct merge_rule {
    const dlt_field *fields;      /* a mapping with this table, or NULL */
    const dlt_category *category; /* a thing of this category, or NULL */
    bool free_keys;               /* a mapping whose keys are the user's */
    const dlt_category *values;   /* free keys: its values are things of this category, or NULL */
} merge_rule;

static const dlt_yaml *merge_mappings(dlt_loader *l, const merge_rule *rule, const dlt_yaml *base,
                                      const dlt_yaml *over);

static merge_rule rule_of(const dlt_loader *l, const dlt_field *fields, const char *key)
{
    dlt_part_of part = DLT_WHOLE;
    const dlt_field *field = dlt_field_of(fields, key, &part);
    merge_rule rule = {0};
    if (field == NULL) {
        rule.free_keys = fields == l->model && strcmp(key, "vars") == 0;
        return rule;
    }
    const char *category = dlt_field_category(field, part);
    switch (field->type) {
    case DLT_FIELD_STRUCT:
        rule.fields = field->fields;
        break;
    case DLT_FIELD_FLOAT_MAP:
    case DLT_FIELD_STRING_MAP:
        rule.free_keys = true;
        break;
    case DLT_FIELD_ITEM_MAP:
        rule.free_keys = true;
        rule.values = dlt_catalogue_find(l->catalogue, category);
        break;
    case DLT_FIELD_ITEM:
    case DLT_FIELD_WEIGHT:
    case DLT_FIELD_FLOAT_OR_ITEM:
        rule.category = dlt_catalogue_find(l->catalogue, category);
        break;
    default:
        break;
    }
    return rule;
}

/* Two things: of one kind they merge, else the upper one stands. */
static const dlt_yaml *merge_items(dlt_loader *l, const dlt_category *category, const dlt_yaml *base,
                                   const dlt_yaml *over)
{
    const int below = dlt_tree_only_key(base), above = dlt_tree_only_key(over);
    if (below < 0 || above < 0) {
        return over;
    }
    const dlt_kind *kind = dlt_find_kind(l, category, over->keys[above]->text);
    if (kind == NULL || kind != dlt_find_kind(l, category, base->keys[below]->text)) {
        return over;
    }
    const dlt_yaml *low = base->values[below], *high = over->values[above];
    if (low->type != DLT_YAML_MAP || high->type != DLT_YAML_MAP) {
        return over;
    }
    const merge_rule rule = {.fields = kind->fields};
    dlt_yaml **keys = NULL, **values = NULL;
    const dlt_yaml *merged = merge_mappings(l, &rule, low, high);
    dlt_yaml *params = merged != NULL ? dlt_tree_copy(l, merged) : NULL;
    dlt_yaml *item = params != NULL ? dlt_tree_map(l, 1, &keys, &values, over->pos) : NULL;
    if (item == NULL) {
        return NULL;
    }
    keys[0] = over->keys[above];
    values[0] = params;
    return item;
}

static const dlt_yaml *merge_values(dlt_loader *l, const merge_rule *rule, const dlt_yaml *base,
                                    const dlt_yaml *over)
{
    if (base->type != DLT_YAML_MAP || over->type != DLT_YAML_MAP) {
        return over;
    }
    if (rule->category != NULL) {
        return merge_items(l, rule->category, base, over);
    }
    return rule->fields != NULL || rule->free_keys ? merge_mappings(l, rule, base, over) : over;
}

static const dlt_yaml *merge_mappings(dlt_loader *l, const merge_rule *rule, const dlt_yaml *base,
                                      const dlt_yaml *over)
{
    key_index below, above;
    dlt_yaml **keys = NULL, **values = NULL;
    dlt_yaml *merged = dlt_tree_map(l, base->count + over->count, &keys, &values, over->pos);
    if (merged == NULL || !index_keys(l, &below, base) || !index_keys(l, &above, over)) {
        return NULL;
    }
    size_t count = 0;
    for (size_t i = 0; i < base->count; i++) {
        const int at = find_key(&above, base->keys[i]->text);
        keys[count] = at >= 0 ? over->keys[at] : base->keys[i];
        values[count] = base->values[i];
        if (at >= 0) {
            const char *key = base->keys[i]->text;
            const merge_rule inner = rule->fields != NULL ? rule_of(l, rule->fields, key)
                                                          : (merge_rule){.category = rule->values,
                                                                         .free_keys = rule->values == NULL};
            const dlt_yaml *value = merge_values(l, &inner, base->values[i], over->values[at]);
            if (value == NULL) {
                return NULL;
            }
            values[count] = value == over->values[at] ? over->values[at] : dlt_tree_copy(l, value);
            if (values[count] == NULL) {
                return NULL;
            }
        }
        count++;
    }
    for (size_t i = 0; i < over->count; i++) {
        if (find_key(&below, over->keys[i]->text) < 0) {
            keys[count] = over->keys[i];
            values[count] = over->values[i];
            count++;
        }
    }
    merged->count = count;
    return merged;
}

const dlt_yaml *dlt_merge(dlt_loader *l, const dlt_field *fields, const dlt_yaml *base, const dlt_yaml *over)
{
    const merge_rule rule = {.fields = fields};
    return merge_values(l, &rule, base, over);
}

/* ---- reading ---- */

/* The files that are being read, from the model file inwards: one that stands here includes itself. */
typedef struct chain {
    const struct chain *outer;
    dev_t device;
    ino_t inode;
    bool known;
} chain;

static const dlt_yaml *with_includes(dlt_loader *l, const dlt_field *fields, const dlt_yaml *tree,
                                     const char *name, const char *folder, const chain *here, int depth);

/* One file that an `include` names. NULL after an error. */
static const dlt_yaml *read_one(dlt_loader *l, const dlt_field *fields, const dlt_yaml *entry,
                                const char *name, const char *folder, const chain *outer, int depth)
{
    if (entry->type != DLT_YAML_SCALAR || entry->length == 0) {
        dlt_mistake_value(l, "include", entry, "the path of a file, or a list of them", NULL);
        return NULL;
    }
    if (strstr(entry->text, "${") != NULL) {
        dlt_mistake(l, entry->pos, NULL,
                    "variables cannot stand in 'include': files are read before variables are known");
        return NULL;
    }
    if (depth > DLT_INCLUDE_MAX_DEPTH) {
        dlt_mistake(l, entry->pos, NULL, "includes nest more than %d files deep", (int)DLT_INCLUDE_MAX_DEPTH);
        return NULL;
    }
    if (l->includes == DLT_INCLUDE_MAX_FILES) {
        dlt_mistake(l, entry->pos, NULL, "more than %d files are included", (int)DLT_INCLUDE_MAX_FILES);
        l->stop = true;
        return NULL;
    }
    l->includes++;
    const dlt_yaml *result = NULL;
    char *own_folder = dlt_path_folder(name), *path = dlt_path_join(folder, entry->text);
    char *shown = own_folder != NULL ? dlt_path_join(own_folder, entry->text) : NULL;
    char *text = NULL, *inner_folder = path != NULL ? dlt_path_folder(path) : NULL;
    size_t bytes = 0;
    struct stat seen;
    dlt_yaml *root = NULL;
    if (shown == NULL || inner_folder == NULL) {
        dlt_fail_memory(l->diag);
        goto out;
    }
    chain here = {.outer = outer};
    if (dlt_file()->stat(path, &seen) == 0) {
        here.known = true;
        here.device = seen.st_dev;
        here.inode = seen.st_ino;
        for (const chain *c = outer; c != NULL; c = c->outer) {
            if (c->known && c->device == seen.st_dev && c->inode == seen.st_ino) {
                dlt_mistake(l, entry->pos, NULL, "'%s' includes itself", entry->text);
                goto out;
            }
        }
    }
    if (dlt_file_load_beneath(folder, entry->text, DLT_YAML_MAX_BYTES, DLT_E_CONFIG, entry->pos, &text,
                              &bytes, l->diag) != DLT_OK) {
        l->errors++;
        goto out;
    }
    if (!dlt_loader_add_file(l, shown, inner_folder)) {
        dlt_fail_memory(l->diag);
        goto out;
    }
    if (dlt_yaml_parse(l->arena, shown, text, bytes, &root, l->diag) != DLT_OK) {
        l->errors++;
    }
    if (root == NULL) {
        goto out;
    }
    if (root->type == DLT_YAML_NULL) { /* an empty file adds nothing */
        result = dlt_tree_empty(l, root->pos);
    } else if (root->type != DLT_YAML_MAP) {
        dlt_mistake(l, root->pos, NULL, "an included file must hold a mapping of keys, as a model file does");
    } else {
        result = with_includes(l, fields, root, shown, inner_folder, &here, depth);
    }
out:
    dlt_free(own_folder);
    dlt_free(path);
    dlt_free(shown);
    dlt_free(inner_folder);
    dlt_free(text);
    return result;
}

/* A tree without its `include`, with what that names below it. */
static const dlt_yaml *with_includes(dlt_loader *l, const dlt_field *fields, const dlt_yaml *tree,
                                     const char *name, const char *folder, const chain *here, int depth)
{
    const dlt_yaml *include = dlt_yaml_get(tree, "include");
    if (include == NULL) {
        return tree;
    }
    dlt_yaml **keys = NULL, **values = NULL;
    dlt_yaml *own = dlt_tree_map(l, tree->count, &keys, &values, tree->pos);
    if (own == NULL) {
        return NULL;
    }
    own->count = 0;
    for (size_t i = 0; i < tree->count; i++) {
        if (tree->values[i] != include || strcmp(tree->keys[i]->text, "include") != 0) {
            keys[own->count] = tree->keys[i];
            values[own->count++] = tree->values[i];
        }
    }
    const bool list = include->type == DLT_YAML_LIST;
    const size_t count = list ? include->count : include->type == DLT_YAML_NULL ? 0 : 1;
    const dlt_yaml *base = NULL;
    bool good = true;
    for (size_t i = 0; i < count && !l->stop; i++) {
        const dlt_yaml *next =
            read_one(l, fields, list ? include->values[i] : include, name, folder, here, depth + 1);
        good = good && next != NULL; /* go on: the next file may be wrong as well */
        if (next != NULL) {
            base = base != NULL ? dlt_merge(l, fields, base, next) : next;
            good = good && base != NULL;
        }
    }
    if (!good && (l->stand_in == NULL || l->stop || depth > 0)) {
        return NULL;
    }
    if (!good) {
        l->include_missing = true;
        l->broken |= DLT_BROKEN_DATA | DLT_BROKEN_FIT | DLT_BROKEN_METRICS | DLT_BROKEN_VALIDATION;
    }
    return base != NULL ? dlt_merge(l, fields, base, own) : own;
}

const dlt_yaml *dlt_include(dlt_loader *l, const dlt_kind *model, const dlt_yaml *tree, const char *folder)
{
    chain here = {0};
    struct stat seen;
    const char *name = tree->pos.file;
    if (dlt_yaml_get(tree, "include") != NULL && dlt_file()->stat(name, &seen) == 0) {
        here = (chain){NULL, seen.st_dev, seen.st_ino, true};
    }
    return with_includes(l, model->fields, tree, name, folder, &here, 0);
}
