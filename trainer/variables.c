/* trainer/variables.c: the arrays of a checkpoint. */
#include "trainer/variables.h"

#include "trainer/optimizer.h"

#include <string.h>

/* A list under construction. */
typedef struct lister {
    dlt_arena *arena;
    dlt_variables *all;
    dlt_saved *list;
    int count, room;
    int next;            /* number of the optimizer's next array */
    const char *missing; /* a variable that should be there */
    const char *too_long; /* a path */
} lister;

static void add(lister *l, const char *path, const dlt_variable *variable, const dlt_variable *part)
{
    if (l->count == l->room) {
        l->missing = "more arrays than were counted";
        return;
    }
    if (path != NULL && strlen(path) > DLT_SAVED_PATH) {
        l->too_long = path;
    }
    const dlt_variable *shaped = part != NULL ? part : variable;
    l->list[l->count++] = (dlt_saved){path, variable, part, shaped->shape, shaped->layout};
}

static bool is_trained(const dlt_variable *v)
{
    return v->storage == DLT_PARAM && v->trainable;
}

static void add_weights(lister *l)
{
    for (int i = 0; i < l->all->count; i++) {
        const dlt_variable *v = l->all->list[i];
        if (v->role == DLT_VARIABLE_WEIGHT) {
            add(l, dlt_arena_printf(l->arena, "%s/vars/%d", v->group, v->index), v, NULL);
        }
    }
}

/* ---- the optimizer ---- */

static void add_numbered(lister *l, const dlt_variable *variable, const dlt_variable *part)
{
    add(l, dlt_arena_printf(l->arena, "optimizer/vars/%d", l->next), variable, part);
    l->next++;
}

static const dlt_variable *find(lister *l, const char *path)
{
    const dlt_variable *v = path != NULL ? dlt_variables_find(l->all, path) : NULL;
    if (v == NULL) {
        l->missing = path != NULL ? path : "out of memory";
    }
    return v;
}

static const dlt_variable *find_slot(lister *l, const char *name)
{
    return find(l, dlt_arena_printf(l->arena, "optimizer:%s", name));
}

/* `count` slots that alternate: s0(w0), s1(w0), s0(w1), ... */
static void add_slots(lister *l, const char *const *names, int count)
{
    const dlt_variable *slots[DLT_OPTIMIZER_MAX_SLOTS];
    for (int k = 0; k < count; k++) {
        slots[k] = find_slot(l, names[k]);
    }
    for (int i = 0; i < l->all->count && l->missing == NULL; i++) {
        for (int k = 0; k < count && is_trained(l->all->list[i]); k++) {
            add_numbered(l, slots[k], l->all->list[i]);
        }
    }
}

static void add_scalar(lister *l, const char *path)
{
    const dlt_variable *v = find(l, path);
    if (v != NULL) {
        add_numbered(l, v, NULL);
    }
}

static void add_optimizer(lister *l, const dlt_item *optimizer)
{
    const dlt_optimizer_params *p = dlt_optimizer_common(optimizer);
    const dlt_optimizer_desc *desc = dlt_optimizer_of(optimizer);
    const char *names[DLT_OPTIMIZER_MAX_SLOTS];
    const int slots = desc->slots(optimizer->params, names);
    const int together = desc->interleaved < slots ? desc->interleaved : slots;
    add_scalar(l, DLT_PATH_ITERATION);
    if (dlt_schedule_of(p->learning_rate)->constant) {
        add_scalar(l, DLT_PATH_LEARNING_RATE);
    }
    if (p->use_ema) {
        add_slots(l, &(const char *){DLT_SLOT_AVERAGE}, 1);
    }
    if (p->gradient_accumulation_steps.set) {
        add_slots(l, &(const char *){DLT_SLOT_ACCUMULATOR}, 1);
    }
    if (together > 0) {
        add_slots(l, names, together);
    }
    for (int k = together; k < slots; k++) {
        add_slots(l, &names[k], 1);
    }
    if (desc->scalar != NULL) {
        add_scalar(l, dlt_arena_printf(l->arena, "optimizer:%s", desc->scalar));
    }
}

/* ---- our own ---- */

static void add_state(lister *l, bool with_optimizer)
{
    for (int i = 0; i < l->all->count; i++) {
        const dlt_variable *v = l->all->list[i];
        const bool keras_has_it = v == dlt_variables_find(l->all, DLT_PATH_ITERATION) ||
                                  v == dlt_variables_find(l->all, DLT_PATH_LEARNING_RATE);
        if (v->role == DLT_VARIABLE_METRIC ||
            (v->role == DLT_VARIABLE_COUNTER && !(with_optimizer && keras_has_it))) {
            add(l, dlt_arena_printf(l->arena, "dltrain/state/%s", v->path), v, NULL);
        }
    }
}

/* Most arrays that there can be. */
static int most(const dlt_variables *all)
{
    int trained = 0;
    for (int i = 0; i < all->count; i++) {
        trained += is_trained(all->list[i]);
    }
    return all->count + (DLT_OPTIMIZER_MAX_SLOTS + 2) * trained + 3;
}

dlt_status dlt_saved_too_long(const char *path, dlt_diag *diag)
{
    return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0}, "'%s' is too long for a checkpoint: at most %d bytes", path,
                    (int)DLT_SAVED_PATH);
}

dlt_status dlt_saved_list(dlt_arena *arena, dlt_variables *variables, const dlt_item *optimizer,
                          unsigned kinds, const dlt_saved **list, int *count, dlt_diag *diag)
{
    lister l = {.arena = arena, .all = variables, .room = most(variables)};
    l.list = dlt_arena_alloc(arena, (size_t)l.room, sizeof *l.list);
    *list = l.list;
    *count = 0;
    if (l.list == NULL || !dlt_variables_number(variables)) {
        return dlt_fail_memory(diag);
    }
    if ((kinds & DLT_SAVED_WEIGHTS) != 0) {
        add_weights(&l);
    }
    if ((kinds & DLT_SAVED_OPTIMIZER) != 0 && optimizer != NULL) {
        add_optimizer(&l, optimizer);
    }
    if ((kinds & DLT_SAVED_STATE) != 0) {
        add_state(&l, (kinds & DLT_SAVED_OPTIMIZER) != 0 && optimizer != NULL);
    }
    if (dlt_arena_failed(arena)) {
        return dlt_fail_memory(diag);
    }
    if (l.missing != NULL) {
        return dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "a checkpoint lacks '%s'", l.missing);
    }
    if (l.too_long != NULL) {
        return dlt_saved_too_long(l.too_long, diag);
    }
    *count = l.count;
    return DLT_OK;
}

int64_t dlt_saved_offset(const dlt_saved *saved)
{
    return saved->variable->offset + (saved->part != NULL ? saved->part->offset : 0);
}
