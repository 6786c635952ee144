/* trainer/callbacks/callback_reduce_lr_on_plateau.c: multiplies the learning rate by `factor` when a value
 * has not become better for `patience` epochs.
 *
 * At the end of an epoch: the rate goes into the logs; while cooling down: counter -= 1, wait = 0; if better:
 * wait = 0; else if not cooling down: wait += 1, and when wait >= patience and the rate is above min_lr: rate
 * = max(rate factor, min_lr), counter = cooldown, wait = 0. */
#include "trainer/callbacks/monitor.h"

typedef struct reduce_params {
    const char *monitor;
    double factor;
    int64_t patience, verbose;
    int mode;
    double min_delta;
    int64_t cooldown;
    double min_lr;
} reduce_params;

static const dlt_field fields[] = {
    DLT_MONITOR_FIELD(reduce_params),
    DLT_FLOAT_OPEN(reduce_params, factor, 0, 1, DLT_FIELD_OPEN_MAX, 0.1,
                   "the new rate as a share of the old"),
    DLT_INT(reduce_params, patience, 0, INT32_MAX, 10, "epochs to wait for a better value"),
    DLT_VERBOSE_FIELD(reduce_params),
    DLT_MODE_FIELD(reduce_params),
    DLT_FLOAT(reduce_params, min_delta, -HUGE_VAL, HUGE_VAL, 1e-4, "a change must be larger to count"),
    DLT_INT(reduce_params, cooldown, 0, INT32_MAX, 0, "epochs after a change in which no other is made"),
    DLT_FLOAT(reduce_params, min_lr, 0, HUGE_VAL, 0.0, "the lowest rate"),
    {0},
};

/* the state */
enum { BEST };                             /* numbers */
enum { HAS_BEST, WAIT, COOLDOWN, WARNED }; /* integers */

static void reduce(const reduce_params *p, dlt_callback_state *state, dlt_callback_io *io)
{
    if (!(io->rate > (double)(float)p->min_lr)) {
        return;
    }
    const double reduced = io->rate * p->factor;
    dlt_callback_set_rate(io, reduced > p->min_lr ? reduced : p->min_lr);
    if (p->verbose > 0) {
        dlt_note(io->diag, (dlt_pos){0}, "epoch %lld: learning rate reduced to %.6g",
                 (long long)io->epoch + 1, io->rate);
    }
    state->integer[COOLDOWN] = p->cooldown;
    state->integer[WAIT] = 0;
}

static void epoch_end(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io)
{
    const reduce_params *p = item->params;
    dlt_logs_set(io->logs, "learning_rate", io->rate, DLT_NO_DIRECTION);
    const dlt_log_entry *now = dlt_monitor_find(item, p->monitor, io, &state->integer[WARNED]);
    if (now == NULL) {
        return;
    }
    if (state->integer[COOLDOWN] > 0) {
        state->integer[COOLDOWN]--;
        state->integer[WAIT] = 0;
    }
    if (state->integer[HAS_BEST] == 0 ||
        dlt_monitor_better(now, p->mode, p->min_delta, state->number[BEST])) {
        state->number[BEST] = now->value;
        state->integer[HAS_BEST] = 1;
        state->integer[WAIT] = 0;
    } else if (state->integer[COOLDOWN] == 0) {
        state->integer[WAIT]++;
        if (state->integer[WAIT] >= p->patience) {
            reduce(p, state, io);
        }
    }
}

const dlt_callback_desc dlt_callback_reduce_lr_on_plateau = {
    .kind = {.name = "ReduceLROnPlateau",
             .doc = "lowers the learning rate when a value does not get better any more",
             .size = sizeof(reduce_params),
             .fields = fields,
             .aliases = "reduce_lr_on_plateau"},
    .monitor = offsetof(reduce_params, monitor),
    .mode = offsetof(reduce_params, mode),
    .sets_rate = true,
    .epoch_end = epoch_end,
};
