/* trainer/callbacks/callback_learning_rate_scheduler.c: learning rates by epoch, as a table.
 *
 *     LearningRateScheduler: {schedule: {0: 1e-3, 10: 1e-4}}
 *
 * trains with 1e-3 from the first epoch on (epochs count from 0 here, as in Keras) and with 1e-4 from the
 * eleventh. Before the first entry the optimizer's own rate stands. Keras takes a function; a model file has
 * none. */
#include "trainer/callbacks/monitor.h"

#include "base/num.h"

#include <string.h>

typedef struct scheduler_params {
    dlt_float_map schedule;
    int64_t verbose;
} scheduler_params;

static const dlt_field fields[] = {
    DLT_FLOAT_MAP(scheduler_params, schedule, 0, HUGE_VAL, NULL,
                  "learning rate by the epoch, from 0, from which it holds: {0: 1e-3, 10: 1e-4}"),
    DLT_VERBOSE_FIELD(scheduler_params),
    {0},
};

static bool parse_epoch(const char *key, int64_t *epoch)
{
    return dlt_parse_i64(key, strlen(key), epoch) && *epoch >= 0;
}

static void check(const dlt_item *item, dlt_diag *diag)
{
    const scheduler_params *p = item->params;
    const dlt_pos at = dlt_item_pos(item, "schedule");
    if (p->schedule.count == 0) {
        dlt_fail(diag, DLT_E_CONFIG, at,
                 "LearningRateScheduler: schedule must be a table {epoch: rate}, as {0: 1e-3, 10: 1e-4}");
    }
    for (size_t i = 0; i < p->schedule.count; i++) {
        int64_t epoch, other;
        if (!parse_epoch(p->schedule.key[i], &epoch)) {
            dlt_fail(diag, DLT_E_CONFIG, at, "LearningRateScheduler: '%s' is no epoch (0, 1, 2, ...)",
                     p->schedule.key[i]);
            continue;
        }
        for (size_t k = 0; k < i; k++) {
            if (parse_epoch(p->schedule.key[k], &other) && other == epoch) {
                dlt_fail(diag, DLT_E_CONFIG, at, "LearningRateScheduler: epoch %lld stands twice",
                         (long long)epoch);
            }
        }
    }
}

static void epoch_begin(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io)
{
    const scheduler_params *p = item->params;
    int64_t from = -1, epoch;
    (void)state;
    for (size_t i = 0; i < p->schedule.count; i++) {
        if (parse_epoch(p->schedule.key[i], &epoch) && epoch <= io->epoch && epoch > from) {
            from = epoch;
            dlt_callback_set_rate(io, p->schedule.value[i]);
        }
    }
    if (from >= 0 && p->verbose > 0) {
        dlt_note(io->diag, (dlt_pos){0}, "epoch %lld: learning rate set to %.6g", (long long)io->epoch + 1,
                 io->rate);
    }
}

static void epoch_end(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io)
{
    (void)item;
    (void)state;
    dlt_logs_set(io->logs, "learning_rate", io->rate, DLT_NO_DIRECTION);
}

const dlt_callback_desc dlt_callback_learning_rate_scheduler = {
    .kind = {.name = "LearningRateScheduler",
             .doc = "sets the learning rate by a table of epochs",
             .size = sizeof(scheduler_params),
             .fields = fields,
             .check = check},
    .monitor = -1,
    .mode = -1,
    .sets_rate = true,
    .epoch_begin = epoch_begin,
    .epoch_end = epoch_end,
};
