/* schema/tree.c: making and changing trees of nodes, and remembering which node gave a value.
 *
 * Nodes are constant and may be shared by aliases, so a change copies the nodes on the way to it and nothing
 * else. */
#include "schema/schema_internal.h"

#include <string.h>

dlt_yaml *dlt_tree_copy(dlt_loader *l, const dlt_yaml *node)
{
    dlt_yaml *copy = dlt_arena_alloc(l->arena, 1, sizeof *copy);
    if (copy != NULL) {
        *copy = *node;
    }
    return copy;
}

dlt_yaml *dlt_tree_scalar(dlt_loader *l, const char *text, size_t length, bool quoted, dlt_pos pos)
{
    dlt_yaml *node = dlt_arena_alloc(l->arena, 1, sizeof *node);
    const char *copy = dlt_arena_copy(l->arena, text, length);
    if (node == NULL || copy == NULL) {
        return NULL;
    }
    *node = (dlt_yaml){.type = DLT_YAML_SCALAR, .quoted = quoted, .text = copy, .length = length, .pos = pos};
    return node;
}

dlt_yaml *dlt_tree_list(dlt_loader *l, size_t count, dlt_yaml ***values, dlt_pos pos)
{
    dlt_yaml *node = dlt_arena_alloc(l->arena, 1, sizeof *node);
    *values = dlt_arena_alloc(l->arena, count, sizeof **values);
    if (node == NULL || *values == NULL) {
        return NULL;
    }
    *node = (dlt_yaml){.type = DLT_YAML_LIST, .count = count, .values = *values, .pos = pos};
    return node;
}

dlt_yaml *dlt_tree_map(dlt_loader *l, size_t count, dlt_yaml ***keys, dlt_yaml ***values, dlt_pos pos)
{
    dlt_yaml *node = dlt_tree_list(l, count, values, pos);
    *keys = dlt_arena_alloc(l->arena, count, sizeof **keys);
    if (node == NULL || *keys == NULL) {
        return NULL;
    }
    node->type = DLT_YAML_MAP;
    node->keys = *keys;
    return node;
}

const dlt_yaml *dlt_tree_empty(dlt_loader *l, dlt_pos pos)
{
    dlt_yaml **keys = NULL, **values = NULL;
    return dlt_tree_map(l, 0, &keys, &values, pos);
}

dlt_yaml *dlt_tree_with(dlt_loader *l, const dlt_yaml *map, dlt_yaml *key, dlt_yaml *value, dlt_pos pos)
{
    const size_t count = map != NULL ? map->count : 0;
    dlt_yaml **keys = NULL, **values = NULL;
    if (key == NULL || value == NULL) {
        return NULL;
    }
    dlt_yaml *made = dlt_tree_map(l, count + 1, &keys, &values, map != NULL ? map->pos : pos);
    if (made == NULL) {
        return NULL;
    }
    size_t at = count;
    for (size_t i = 0; i < count; i++) {
        keys[i] = map->keys[i];
        values[i] = map->values[i];
        at = strcmp(keys[i]->text, key->text) == 0 ? i : at;
    }
    keys[at] = at < count ? keys[at] : key; /* a key that stood there keeps its place */
    values[at] = value;
    made->count = at < count ? count : count + 1;
    made->origin = map != NULL ? map->origin : NULL;
    return made;
}

bool dlt_is_note(const dlt_yaml *key)
{
    return key->text[0] == 'x' && key->text[1] == '-';
}

int dlt_tree_only_key(const dlt_yaml *map)
{
    int only = -1;
    for (size_t i = 0; i < map->count; i++) {
        if (!dlt_is_note(map->keys[i])) {
            if (only >= 0) {
                return -1;
            }
            only = (int)i;
        }
    }
    return only;
}

/* ---- origins ---- */

typedef struct origin {
    const void *address;
    const dlt_field *field;
    const dlt_yaml *node;
} origin;

struct dlt_origins {
    origin *at;
    size_t count, room; /* room is a power of two; open addressing */
};

static size_t slot_of(const origin *at, size_t room, const void *address, const dlt_field *field)
{
    const uint64_t mixed =
        ((uint64_t)(uintptr_t)address ^ ((uint64_t)(uintptr_t)field << 21)) * 0x9E3779B97F4A7C15u;
    size_t slot = (size_t)(mixed >> 20) & (room - 1);
    while (at[slot].address != NULL && (at[slot].address != address || at[slot].field != field)) {
        slot = (slot + 1) & (room - 1);
    }
    return slot;
}

bool dlt_origin_put(dlt_loader *l, const void *address, const dlt_field *field, const dlt_yaml *node)
{
    if (l->origins == NULL) {
        l->origins = dlt_arena_alloc(l->arena, 1, sizeof *l->origins);
        if (l->origins == NULL) {
            return false;
        }
    }
    dlt_origins *o = l->origins;
    if (2 * (o->count + 1) > o->room) {
        const size_t room = o->room > 0 ? 2 * o->room : 64;
        origin *at = dlt_arena_alloc(l->arena, room, sizeof *at);
        if (at == NULL) {
            return false;
        }
        for (size_t i = 0; i < o->room; i++) {
            if (o->at[i].address != NULL) {
                at[slot_of(at, room, o->at[i].address, o->at[i].field)] = o->at[i];
            }
        }
        o->at = at;
        o->room = room;
    }
    const size_t slot = slot_of(o->at, o->room, address, field);
    o->count += o->at[slot].address == NULL;
    o->at[slot] = (origin){address, field, node};
    return true;
}

const dlt_yaml *dlt_origin_get(const dlt_origins *origins, const void *address, const dlt_field *field)
{
    if (origins == NULL || origins->room == 0) {
        return NULL;
    }
    return origins->at[slot_of(origins->at, origins->room, address, field)].node;
}
