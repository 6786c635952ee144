/* trainer/callback.c: the callbacks of a run. */
#include "trainer/callback.h"

#include <string.h>

dlt_callback_set *dlt_callback_set_create(dlt_arena *arena, const dlt_items *callbacks)
{
    dlt_callback_set *set = dlt_arena_alloc(arena, 1, sizeof *set);
    dlt_callback_state *states = dlt_arena_alloc(arena, callbacks->count, sizeof *states);
    bool *fresh = dlt_arena_alloc(arena, callbacks->count, sizeof *fresh);
    if (set == NULL || states == NULL || fresh == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < callbacks->count; i++) {
        fresh[i] = true;
    }
    *set = (dlt_callback_set){(int)callbacks->count, callbacks->at, states, fresh};
    return set;
}

bool dlt_callback_set_wants_batches(const dlt_callback_set *set)
{
    for (int i = 0; i < set->count; i++) {
        const dlt_callback_desc *desc = dlt_callback_of(set->items[i]);
        if (desc->wants_batches != NULL && desc->wants_batches(set->items[i])) {
            return true;
        }
    }
    return false;
}

static void clear_requests(dlt_callback_io *io)
{
    io->stop = io->keep_weights = io->restore_weights = io->save = io->save_weights_only = io->best =
        io->set_rate = false;
    io->stop_status = DLT_OK;
    io->stop_reason = io->save_path = NULL;
    io->write = (dlt_write_request){NULL, 0, NULL, 0};
}

static bool asks(const dlt_callback_io *io)
{
    return io->stop || io->keep_weights || io->restore_weights || io->save || io->set_rate ||
           io->write.path != NULL;
}

static void call(const dlt_item *item, dlt_callback_state *state, dlt_callback_event event,
                 dlt_callback_io *io)
{
    const dlt_callback_desc *desc = dlt_callback_of(item);
    void (*const of_event[])(const dlt_item *, dlt_callback_state *, dlt_callback_io *) = {
        desc->train_begin, desc->epoch_begin, desc->batch_end, desc->epoch_end, desc->train_end};
    if (of_event[event] != NULL) {
        of_event[event](item, state, io);
    }
}

dlt_status dlt_callback_set_run(dlt_callback_set *set, dlt_callback_event event, dlt_callback_io *io,
                                dlt_callback_act *act, void *context, bool *stop)
{
    *stop = false;
    for (int i = 0; i < set->count; i++) {
        if (event == DLT_EVENT_TRAIN_BEGIN && !set->fresh[i]) {
            continue;
        }
        clear_requests(io);
        const size_t errors = dlt_diag_count(io->diag, DLT_ERROR);
        call(set->items[i], &set->states[i], event, io);
        if (dlt_diag_count(io->diag, DLT_ERROR) > errors) {
            return dlt_diag_status(io->diag);
        }
        *stop = *stop || io->stop;
        if (asks(io)) {
            DLT_TRY(act(context, i, io, io->diag));
        }
    }
    return DLT_OK;
}

const char *dlt_best_monitor(const dlt_items *callbacks, bool validation, int *mode)
{
    *mode = 0;
    for (size_t i = 0; i < callbacks->count; i++) {
        const dlt_item *item = callbacks->at[i];
        const dlt_callback_desc *desc = dlt_callback_of(item);
        if (desc->monitor >= 0 && (desc->watches == NULL || desc->watches(item))) {
            const char *monitor;
            memcpy(&monitor, (const char *)item->params + desc->monitor, sizeof monitor);
            if (desc->mode >= 0) {
                memcpy(mode, (const char *)item->params + desc->mode, sizeof *mode);
            }
            return monitor;
        }
    }
    return validation ? "val_loss" : "loss";
}
