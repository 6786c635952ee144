/* trainer/callbacks/callback_early_stopping.c: stops when a value has not become better for `patience`
 * epochs.
 *
 * At the end of an epoch: if it is too early or the value is missing, nothing; if weights are to be restored
 * and none were kept, keep these; wait += 1; if better: keep, and wait = 0 if better than the baseline too;
 * else if wait >= patience and this is not epoch 0: stop. At the end of training the kept weights come back,
 * whether it was stopped or not. */
#include "trainer/callbacks/monitor.h"

typedef struct early_stopping_params {
    const char *monitor;
    double min_delta;
    int64_t patience, verbose;
    int mode;
    dlt_opt_float baseline;
    bool restore_best_weights;
    int64_t start_from_epoch;
} early_stopping_params;

static const dlt_field fields[] = {
    DLT_MONITOR_FIELD(early_stopping_params),
    DLT_FLOAT(early_stopping_params, min_delta, -HUGE_VAL, HUGE_VAL, 0, "a change must be larger to count"),
    DLT_INT(early_stopping_params, patience, 0, INT32_MAX, 0, "epochs to wait for a better value"),
    DLT_VERBOSE_FIELD(early_stopping_params),
    DLT_MODE_FIELD(early_stopping_params),
    DLT_OPT_FLOAT(early_stopping_params, baseline, -HUGE_VAL, HUGE_VAL, 0,
                  "value that must be beaten for the wait to begin anew"),
    DLT_BOOL(early_stopping_params, restore_best_weights, false, "end with the weights of the best epoch"),
    DLT_INT(early_stopping_params, start_from_epoch, 0, INT32_MAX, 0,
            "epochs at the start that do not count"),
    {0},
};

/* the state */
enum { BEST };                                                    /* numbers */
enum { HAS_BEST, WAIT, BEST_EPOCH, STOPPED_EPOCH, KEPT, WARNED }; /* integers */

static void epoch_end(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io)
{
    const early_stopping_params *p = item->params;
    const dlt_log_entry *now = dlt_monitor_find(item, p->monitor, io, &state->integer[WARNED]);
    if (now == NULL || io->epoch < p->start_from_epoch) {
        return;
    }
    if (p->restore_best_weights && state->integer[KEPT] == 0) {
        io->keep_weights = true;
        state->integer[KEPT] = 1;
        state->integer[BEST_EPOCH] = io->epoch;
    }
    state->integer[WAIT]++;
    if (state->integer[HAS_BEST] == 0 ||
        dlt_monitor_better(now, p->mode, p->min_delta, state->number[BEST])) {
        state->number[BEST] = now->value;
        state->integer[HAS_BEST] = 1;
        state->integer[BEST_EPOCH] = io->epoch;
        io->keep_weights = p->restore_best_weights;
        if (!p->baseline.set || dlt_monitor_better(now, p->mode, p->min_delta, p->baseline.value)) {
            state->integer[WAIT] = 0;
        }
        return;
    }
    if (state->integer[WAIT] >= p->patience && io->epoch > 0) {
        state->integer[STOPPED_EPOCH] = io->epoch;
        io->stop = true;
        io->stop_reason =
            dlt_arena_printf(io->arena, "%s has not improved on %.5g (epoch %lld) for %lld epoch%s",
                             p->monitor, state->number[BEST], (long long)state->integer[BEST_EPOCH] + 1,
                             (long long)state->integer[WAIT], state->integer[WAIT] == 1 ? "" : "s");
    }
}

static void train_end(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io)
{
    const early_stopping_params *p = item->params;
    if (state->integer[STOPPED_EPOCH] > 0 && p->verbose > 0) {
        dlt_note(io->diag, (dlt_pos){0}, "epoch %lld: early stopping",
                 (long long)state->integer[STOPPED_EPOCH] + 1);
    }
    if (p->restore_best_weights && state->integer[KEPT] != 0) {
        io->restore_weights = true;
        if (p->verbose > 0) {
            dlt_note(io->diag, (dlt_pos){0}, "weights of epoch %lld restored",
                     (long long)state->integer[BEST_EPOCH] + 1);
        }
    }
}

const dlt_callback_desc dlt_callback_early_stopping = {
    .kind = {.name = "EarlyStopping",
             .doc = "stops when a value does not get better any more",
             .size = sizeof(early_stopping_params),
             .fields = fields},
    .monitor = offsetof(early_stopping_params, monitor),
    .mode = offsetof(early_stopping_params, mode),
    .epoch_end = epoch_end,
    .train_end = train_end,
};
