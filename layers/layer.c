/* layers/layer.c: the registry, and how lists of layers become graph: names, scopes, masks, reuse. */
#include "layers/layer.h"

#include "base/names.h"
#include "base/text.h"

#include <string.h>

#define DLT_LAYER(Name, file) extern const dlt_layer_desc dlt_layer_##file;
#include "layers/layers.def"
#undef DLT_LAYER

const dlt_layer_desc *const dlt_layers[] = {
#define DLT_LAYER(Name, file) &dlt_layer_##file,
#include "layers/layers.def"
#undef DLT_LAYER
    NULL,
};

/* A layer that was built, for Reuse to find again. */
typedef struct built {
    const dlt_item *item;
    const char *path, *group; /* absolute */
    struct built *next;
} built;

/* One list of layers being built; lists nest. */
typedef struct frame {
    dlt_names names;    /* names taken in this list */
    built *layers;      /* newest first */
    struct frame *above;
} frame;

/* What the layers of one model share while it is built; the builder carries it. */
typedef struct model {
    frame *frame;
    const dlt_fitted *fitted;
    dlt_value *const *inputs;
    int input_count;
    bool reversed;
    dlt_layer_visit *visit;
    void *visit_context;
} model;

static model *model_of(const dlt_builder *b)
{
    return dlt_builder_context(b);
}

bool dlt_layer_reversed(const dlt_builder *b)
{
    return model_of(b)->reversed;
}

dlt_value *const *dlt_layer_inputs(const dlt_builder *b, int *count)
{
    *count = model_of(b)->input_count;
    return model_of(b)->inputs;
}

const dlt_fitted *dlt_layer_fitted(const dlt_builder *b)
{
    return model_of(b)->fitted;
}

/* Builds `item` in the present scope and sees to the mask. */
static dlt_value *build_here(dlt_builder *b, const dlt_item *item, dlt_value *in)
{
    const dlt_layer_desc *layer = dlt_layer_of(item);
    dlt_value *out = layer->build(b, item->params, in);
    if (out == NULL || in == NULL || out == in) {
        return out;
    }
    if (layer->mask == DLT_MASK_PASS) {
        out->mask = in->mask;
    } else if (layer->mask == DLT_MASK_DROP && in->mask != NULL && dlt_builder_mode(b) == DLT_MODE_TRAIN) {
        dlt_warn(dlt_builder_diag(b), item->pos,
                 "%s drops the mask that the layers before it made: padding counts as data from here on",
                 item->kind->name);
    }
    return out;
}

dlt_value *dlt_layer_apply(dlt_builder *b, const dlt_item *item, const char *name, const char *group, dlt_value *in)
{
    dlt_scope_enter(b, name, group, item->pos, item->trainable);
    dlt_value *out = build_here(b, item, in);
    dlt_scope_leave(b);
    return out;
}

/* "dense_1": the class in snake case, numbered from the second of its class in this list (keras-files.md 1.3). */
static const char *key_of(dlt_builder *b, dlt_names *classes, const dlt_kind *kind)
{
    dlt_arena *arena = dlt_builder_graph(b)->arena;
    char snake[160];
    dlt_snake_case(kind->name, snake, sizeof snake);
    int64_t *seen = dlt_names_at(classes, kind->name, 0);
    if (seen == NULL) {
        return NULL;
    }
    const int64_t number = (*seen)++;
    return number == 0 ? dlt_arena_string(arena, snake) : dlt_arena_printf(arena, "%s_%lld", snake, (long long)number);
}

/* Builds one member of a list and remembers it by name. */
static dlt_value *apply_member(dlt_builder *b, frame *f, const dlt_item *item, const char *key, dlt_value *in)
{
    dlt_arena *arena = dlt_builder_graph(b)->arena;
    const dlt_layer_desc *layer = dlt_layer_of(item);
    const char *name = item->name != NULL ? item->name : key;
    const char *group = layer->no_key ? NULL : dlt_arena_printf(arena, "layers/%s", key);
    int64_t *line = dlt_names_at(&f->names, name, 0);
    built *record = dlt_arena_alloc(arena, 1, sizeof *record);
    if (line == NULL || record == NULL || (!layer->no_key && group == NULL)) {
        return dlt_reject_at(b, DLT_E_MEMORY, item->pos, "out of memory");
    }
    dlt_scope_enter(b, name, group, item->pos, item->trainable);
    if (*line != 0) {
        dlt_reject_at(b, DLT_E_CONFIG, dlt_item_pos(item, "name"),
                      "a layer called '%s' stands in this list already (line %lld); names must differ", name,
                      (long long)*line);
    }
    *line = item->pos.line > 0 ? (int64_t)item->pos.line : 1;
    dlt_value *out = build_here(b, item, in);
    *record = (built){.item = item, .path = dlt_scope_path(b), .group = dlt_scope_group(b), .next = f->layers};
    f->layers = record;
    const model *m = model_of(b);
    if (m->visit != NULL && out != NULL) {
        m->visit(m->visit_context, item, dlt_scope_path(b), in, out);
    }
    dlt_scope_leave(b);
    return out;
}

dlt_value *dlt_layers_apply(dlt_builder *b, const dlt_items *items, const char *list, dlt_value *in)
{
    model *m = model_of(b);
    dlt_arena *arena = dlt_builder_graph(b)->arena;
    frame f = {.names = {.arena = arena}, .above = m->frame};
    dlt_names classes = {.arena = arena}, without_key = {.arena = arena};
    dlt_value *value = in;
    if (list != NULL) {
        dlt_scope_enter(b, list, list, (dlt_pos){0}, true);
    }
    m->frame = &f;
    for (size_t i = 0; i < items->count && !dlt_builder_failed(b); i++) {
        const dlt_item *item = items->at[i];
        const bool counted = !dlt_layer_of(item)->no_key;
        const char *key = key_of(b, counted ? &classes : &without_key, item->kind);
        if (key == NULL) {
            value = dlt_reject_at(b, DLT_E_MEMORY, item->pos, "out of memory");
            break;
        }
        value = apply_member(b, &f, item, key, value);
    }
    m->frame = f.above;
    if (list != NULL) {
        dlt_scope_leave(b);
    }
    return dlt_builder_failed(b) ? NULL : value;
}

dlt_value *dlt_model_apply(dlt_builder *b, const dlt_items *items, dlt_value *in, const dlt_fitted *fitted,
                           dlt_value *const *inputs, int input_count, dlt_layer_visit *visit, void *context)
{
    model m = {.fitted = fitted,
               .inputs = inputs,
               .input_count = input_count,
               .visit = visit,
               .visit_context = context};
    dlt_builder_set_context(b, &m);
    dlt_value *out = dlt_layers_apply(b, items, NULL, in);
    dlt_builder_set_context(b, NULL);
    return out;
}

dlt_value *dlt_layer_reuse(dlt_builder *b, const char *name, bool reverse, dlt_value *in)
{
    model *m = model_of(b);
    const char *known[32] = {NULL};
    size_t count = 0;
    for (frame *f = m->frame; f != NULL; f = f->above) {
        for (const built *r = f->layers; r != NULL; r = r->next) {
            const char *last = strrchr(r->path, '/');
            last = last != NULL ? last + 1 : r->path;
            if (strcmp(last, name) != 0) {
                if (count < DLT_COUNT(known)) {
                    known[count++] = last;
                }
                continue;
            }
            const bool was = m->reversed;
            m->reversed = reverse;
            dlt_scope_enter_at(b, r->path, r->group, r->item->trainable);
            dlt_value *out = build_here(b, r->item, in);
            dlt_scope_leave(b);
            m->reversed = was;
            return out;
        }
    }
    const int nearest = dlt_nearest(name, known, count);
    if (nearest >= 0) {
        return dlt_reject(b, "no layer called '%s' stands before this one; did you mean '%s'?", name, known[nearest]);
    }
    return dlt_reject(b, "no layer called '%s' stands before this one; give the layer to use again a name: and use that",
                      name);
}
