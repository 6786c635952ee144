/* trainer/callback.h: the callbacks of a run: their states, and how the loop calls them. */
#ifndef DLT_TRAINER_CALLBACK_H
#define DLT_TRAINER_CALLBACK_H

#include "trainer/kinds.h"

typedef enum dlt_callback_event {
    DLT_EVENT_TRAIN_BEGIN, /* for those that are fresh: all of a new run, none of one that goes on unchanged */
    DLT_EVENT_EPOCH_BEGIN,
    DLT_EVENT_BATCH_END,
    DLT_EVENT_EPOCH_END,
    DLT_EVENT_TRAIN_END
} dlt_callback_event;

typedef struct dlt_callback_set {
    int count;
    const dlt_item *const *items; /* in the order of the model file */
    dlt_callback_state *states;   /* what a checkpoint keeps, one each */
    bool *fresh; /* one each: begins with this run or, added on resume, with this part of it */
} dlt_callback_set;

/** NULL when memory is refused. */
dlt_callback_set *dlt_callback_set_create(dlt_arena *arena, const dlt_items *callbacks);
/** True if any callback wants to see batches. */
bool dlt_callback_set_wants_batches(const dlt_callback_set *set);

/** Does what callback `index` asked for in io; the loop's. A failure ends the event. */
typedef dlt_status dlt_callback_act(void *context, int index, const dlt_callback_io *io, dlt_diag *diag);
/**
 * Calls all callbacks in order, and `act` after each that asked for something. The caller fills io's facts
 * once; requests are cleared before each call, and a rate that one sets is what the next sees. *stop: one of
 * them asked to stop. A callback that leaves an error in io->diag ends the event with its status.
 */
dlt_status dlt_callback_set_run(dlt_callback_set *set, dlt_callback_event event, dlt_callback_io *io,
                                dlt_callback_act *act, void *context, bool *stop);

/**
 * What makes one checkpoint better than another (decisions 30): the first callback that watches something,
 * else val_loss, else loss. *mode: 0 as the metric says, 1 smaller, 2 larger.
 */
const char *dlt_best_monitor(const dlt_items *callbacks, bool validation, int *mode);

#endif
