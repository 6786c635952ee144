/* layers/layer.c: the registry, and how lists of layers become graph: names, scopes, masks, reuse. */
#include "layers/unknown.h"

#include "base/names.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
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

const dlt_kind *const dlt_layer_kinds[] = {
#define DLT_LAYER(Name, file) &dlt_layer_##file.kind,
#include "layers/layers.def"
#undef DLT_LAYER
};
const size_t dlt_layer_kind_count = DLT_COUNT(dlt_layer_kinds);

/* A layer that was built, for Reuse to find again. */
typedef struct built {
    const dlt_item *item;
    const char *path, *group; /* absolute */
    bool trainable;           /* it and all around it */
    struct built *next;
} built;

/* One list of layers being built; lists nest. */
typedef struct frame {
    const dlt_items *items;
    dlt_names names; /* names taken in this list */
    built *layers;   /* newest first */
    struct frame *above;
} frame;

/* What the layers of one model share while it is built; the builder carries it. */
typedef struct model {
    frame *frame;
    const dlt_fitted *fitted;
    dlt_value *const *inputs;
    int input_count;
    const dlt_item *item; /* the layer that is being built */
    bool trainable;       /* it and all around it */
    bool reused;
    bool looks_on;        /* behind a layer that is rejected */
    dlt_layer_call call;
    dlt_layer_visit *visit;
    void *visit_context;
} model;

static model *model_of(const dlt_builder *b)
{
    return dlt_builder_context(b);
}

dlt_layer_call dlt_layer_called(const dlt_builder *b)
{
    return model_of(b)->call;
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

const dlt_item *dlt_layer_item(const dlt_builder *b)
{
    return model_of(b)->item;
}

bool dlt_layer_first(const dlt_builder *b)
{
    const frame *f = model_of(b)->frame;
    return f == NULL || (f->layers == NULL && f->above == NULL);
}

dlt_value *dlt_layer_reject(dlt_builder *b, const char *field, const char *fmt, ...)
{
    const model *m = model_of(b);
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    /* a layer that is used again is complained about where it is used, not where its field was written */
    const dlt_pos at = m->reused ? dlt_scope_pos(b) : dlt_item_pos(m->item, field);
    return dlt_reject_at(b, DLT_E_CONFIG, at.line > 0 ? at : dlt_scope_pos(b), "%s", text);
}

const dlt_item *dlt_layer_activity_regularizer(const dlt_item *item)
{
    for (const dlt_field *f = item->kind->fields; f != NULL && f->name != NULL; f++) {
        if (f->type == DLT_FIELD_ITEM && strcmp(f->name, "activity_regularizer") == 0) {
            const void *place = (const char *)item->params + f->offset;
            return *(const dlt_item *const *)place;
        }
    }
    return NULL;
}

/* Builds `item` in the present scope, and sees to the mask and to the penalty on the output. */
static dlt_value *build_here(dlt_builder *b, const dlt_item *item, dlt_value *in, dlt_layer_call call)
{
    const dlt_layer_desc *layer = dlt_layer_of(item);
    model *m = model_of(b);
    if (dlt_builder_failed(b)) {
        return NULL;
    }
    if (in == NULL && !layer->starts) {
        return dlt_reject(
            b, "the shape of what comes into %s is not known; begin the layers with Input: {shape: [...]}",
            item->kind->name);
    }
    const dlt_item *outside = m->item;
    const bool trainable = m->trainable;
    const dlt_layer_call outer_call = m->call;
    m->item = item;
    m->trainable = trainable && item->trainable;
    m->call = call;
    dlt_value *out = layer->build(b, item->params, in);
    m->item = outside;
    m->trainable = trainable;
    m->call = outer_call;
    if (!call.no_penalty && dlt_builder_mode(b) != DLT_MODE_PREDICT) {
        dlt_penalise(b, dlt_layer_activity_regularizer(item), out);
    }
    if (out == NULL || in == NULL || out == in) {
        return out;
    }
    if (layer->mask == DLT_MASK_PASS) {
        out->mask = in->mask;
    } else if (layer->mask == DLT_MASK_DROP && in->mask != NULL && out->mask == NULL &&
               dlt_builder_mode(b) == DLT_MODE_TRAIN) {
        dlt_warn(dlt_builder_diag(b), item->pos,
                 "%s drops the mask that the layers before it made: padding counts as data from here on",
                 item->kind->name);
    }
    return out;
}

dlt_value *dlt_layer_apply_as(dlt_builder *b, const dlt_item *item, const char *name, const char *group,
                              dlt_value *in, dlt_layer_call call)
{
    dlt_scope_enter(b, name, group, item->pos, item->trainable);
    dlt_value *out = build_here(b, item, in, call);
    dlt_scope_leave(b);
    return out;
}

dlt_value *dlt_layer_apply(dlt_builder *b, const dlt_item *item, const char *name, const char *group,
                           dlt_value *in)
{
    return dlt_layer_apply_as(b, item, name, group, in, (dlt_layer_call){0});
}

const char *dlt_layer_inner_name(dlt_builder *b, const dlt_item *item, const char *prefix)
{
    char snake[160];
    dlt_snake_case(item->kind->name, snake, sizeof snake);
    const char *own = item->name != NULL ? item->name : snake;
    return dlt_arena_printf(dlt_builder_graph(b)->arena, "%s%s", dlt_text_starts(own, prefix) ? "" : prefix,
                            own);
}

void dlt_layer_children(const dlt_item *item, void (*visit)(void *context, const dlt_item *child),
                        void *context)
{
    const char *params = item->params;
    for (const dlt_field *f = item->kind->fields; f != NULL && f->name != NULL; f++) {
        if (f->category == NULL || strcmp(f->category, "layer") != 0) {
            continue;
        }
        const void *place = params + f->offset;
        dlt_item_lists lists = {0};
        if (f->type == DLT_FIELD_ITEM) {
            const dlt_item *child = *(const dlt_item *const *)place;
            if (child != NULL) {
                visit(context, child);
            }
        } else if (f->type == DLT_FIELD_ITEMS) {
            lists = (dlt_item_lists){1, place};
        } else if (f->type == DLT_FIELD_ITEM_LISTS) {
            lists = *(const dlt_item_lists *)place;
        }
        for (size_t i = 0; i < lists.count; i++) {
            for (size_t k = 0; k < lists.at[i].count; k++) {
                visit(context, lists.at[i].at[k]);
            }
        }
    }
}

typedef struct search {
    bool (*test)(const dlt_item *item);
    bool found;
} search;

static void look_into(void *context, const dlt_item *item)
{
    search *s = context;
    s->found = s->found || s->test(item);
    if (!s->found) {
        dlt_layer_children(item, look_into, s);
    }
}

bool dlt_layer_any(const dlt_item *item, bool (*test)(const dlt_item *item))
{
    search s = {.test = test};
    look_into(&s, item);
    return s.found;
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
    return number == 0 ? dlt_arena_string(arena, snake)
                       : dlt_arena_printf(arena, "%s_%lld", snake, (long long)number);
}

/*
 * Name of a layer that the user gave none: its key, with an underscore behind where the user called another layer of the
 * list so.
 */
static const char *name_of(dlt_arena *arena, const dlt_names *given, const char *key)
{
    while (key != NULL && dlt_names_find(given, key) != NULL) {
        key = dlt_arena_printf(arena, "%s_", key);
    }
    return key;
}

/* Builds one member of a list and remembers it by name. */
static dlt_value *apply_member(dlt_builder *b, frame *f, const dlt_item *item, const char *name,
                               const char *key, dlt_value *in)
{
    dlt_arena *arena = dlt_builder_graph(b)->arena;
    const dlt_layer_desc *layer = dlt_layer_of(item);
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
    dlt_value *out = build_here(b, item, in, (dlt_layer_call){0});
    const model *m = model_of(b);
    *record = (built){.item = item,
                      .path = dlt_scope_path(b),
                      .group = dlt_scope_group(b),
                      .trainable = m->trainable && item->trainable,
                      .next = f->layers};
    f->layers = record;
    if (m->visit != NULL && out != NULL) {
        m->visit(m->visit_context, item, dlt_scope_path(b), in, out);
    }
    dlt_scope_leave(b);
    return out;
}

static const dlt_variables *variables_of(dlt_builder *b)
{
    return dlt_builder_graph(b)->variables;
}

/* Shapes of the variables from the Nth on are nothing to complain about. */
static void mark_guessed(dlt_builder *b, int nth)
{
    for (int i = nth; i < variables_of(b)->count; i++) {
        variables_of(b)->list[i]->guessed = true;
    }
}

dlt_value *dlt_layers_apply(dlt_builder *b, const dlt_items *items, const char *list, dlt_value *in)
{
    model *m = model_of(b);
    dlt_arena *arena = dlt_builder_graph(b)->arena;
    frame f = {.items = items, .names = {.arena = arena}, .above = m->frame};
    dlt_names classes = {.arena = arena}, without_key = {.arena = arena}, given = {.arena = arena};
    dlt_value *value = in;
    if (list != NULL) {
        dlt_scope_enter(b, list, list, (dlt_pos){0}, true);
    }
    m->frame = &f;
    for (size_t i = 0; i < items->count; i++) {
        if (items->at[i]->name != NULL && dlt_names_at(&given, items->at[i]->name, 0) == NULL) {
            dlt_reject_at(b, DLT_E_MEMORY, items->at[i]->pos, "out of memory");
        }
    }
    size_t known = 0; /* behind a mistake: the first layer that is looked at again */
    bool mistaken = false;
    for (size_t i = 0; i < items->count && !dlt_builder_failed(b); i++) {
        const dlt_item *item = items->at[i];
        const bool counted = !dlt_layer_of(item)->no_key;
        const char *key = key_of(b, counted ? &classes : &without_key, item->kind);
        const char *name = item->name != NULL ? item->name : name_of(arena, &given, key);
        if (key == NULL || name == NULL) {
            value = dlt_reject_at(b, DLT_E_MEMORY, item->pos, "out of memory");
            break;
        }
        if (i < known) {
            continue;
        }
        built *before = f.layers;
        const int first = variables_of(b)->count;
        value = apply_member(b, &f, item, name, key, value);
        if (mistaken && i == known) { /* what came in was a guess */
            mark_guessed(b, first);
        }
        if (value == NULL && m->looks_on && f.above == NULL && dlt_builder_look_on(b)) {
            mistaken = true;
            known = dlt_layers_known_again(b, items, i, &value);
            if (known == i) { /* it is right in itself */
                f.layers = before;
                const int again = variables_of(b)->count;
                *dlt_names_at(&f.names, name, 0) = 0;
                value = apply_member(b, &f, item, name, key, value);
                mark_guessed(b, again);
                known = value == NULL && dlt_builder_look_on(b) ? dlt_layers_known_again(b, items, i + 1, &value) : i + 1;
            }
        }
    }
    m->frame = f.above;
    if (list != NULL) {
        dlt_scope_leave(b);
    }
    if (mistaken) {
        dlt_builder_fail(b);
    } else if (dlt_builder_failed(b)) {
        value = NULL;
    }
    return value;
}

dlt_value *dlt_model_apply(dlt_builder *b, const dlt_items *items, dlt_value *in, const dlt_fitted *fitted,
                           dlt_value *const *inputs, int input_count, dlt_layer_visit *visit, void *context)
{
    model m = {.trainable = true,
               .looks_on = true,
               .fitted = fitted,
               .inputs = inputs,
               .input_count = input_count,
               .visit = visit,
               .visit_context = context};
    dlt_builder_set_context(b, &m);
    dlt_value *out = dlt_layers_apply(b, items, NULL, in);
    dlt_builder_set_context(b, NULL);
    return out;
}

dlt_value *dlt_layer_alone(dlt_builder *b, const dlt_item *item, dlt_value *in)
{
    model m = {.trainable = true};
    const dlt_items one = {1, &item};
    dlt_builder_set_context(b, &m);
    dlt_value *out = dlt_layers_apply(b, &one, NULL, in);
    dlt_builder_set_context(b, NULL);
    return out;
}

/* Whether a layer of these lists may have the name: its own, or that of its class with a number, or if it is not known what it is. */
static bool may_be_called(const frame *f, const char *name)
{
    for (; f != NULL; f = f->above) {
        for (size_t i = 0; i < f->items->count; i++) {
            const dlt_item *item = f->items->at[i];
            char snake[160];
            dlt_snake_case(item->kind->name, snake, sizeof snake);
            if (item->kind == &dlt_layer_unknown.kind ||
                (item->name != NULL ? strcmp(item->name, name) == 0 : dlt_text_starts(name, snake))) {
                return true;
            }
        }
    }
    return false;
}

dlt_value *dlt_layers_reuse(dlt_builder *b, const char *name, bool reverse, dlt_value *in)
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
            if (reverse && !dlt_layer_of(r->item)->reversible) {
                return dlt_layer_reject(b, "reverse",
                                        "reverse: true needs a ReversibleEmbedding, but '%s' is a %s", name,
                                        r->item->kind->name);
            }
            const bool reused = m->reused, trainable = m->trainable;
            m->reused = true;
            m->trainable = r->trainable;
            dlt_scope_enter_at(b, r->path, r->group, r->trainable);
            dlt_value *out = build_here(b, r->item, in, (dlt_layer_call){.reversed = reverse});
            dlt_scope_leave(b);
            m->reused = reused;
            m->trainable = trainable;
            return out;
        }
    }
    if (dlt_builder_mistaken(b) && may_be_called(m->frame, name)) { /* a layer that was not built, for it stands behind one that was rejected */
        dlt_builder_mistake(b);
        return NULL;
    }
    const int nearest = dlt_nearest(name, known, count);
    if (nearest >= 0) {
        return dlt_layer_reject(b, "layer", "no layer called '%s' stands before this one; did you mean '%s'?",
                                name, known[nearest]);
    }
    return dlt_layer_reject(
        b, "layer",
        "no layer called '%s' stands before this one; give the layer to use again a name: and use that",
        name);
}
