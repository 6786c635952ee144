/* trainer/callbacks/monitor.c: logs, and what callbacks share that watch one value of them. */
#include "trainer/callbacks/monitor.h"

#include <math.h>
#include <string.h>

const char *const dlt_monitor_modes[] = {"auto", "min", "max", NULL};

const dlt_log_entry *dlt_logs_find(const dlt_logs *logs, const char *name)
{
    for (int i = 0; logs != NULL && i < logs->count; i++) {
        if (strcmp(logs->at[i].name, name) == 0) {
            return &logs->at[i];
        }
    }
    return NULL;
}

bool dlt_logs_set(dlt_logs *logs, const char *name, double value, dlt_direction direction)
{
    int at = 0;
    while (at < logs->count && strcmp(logs->at[at].name, name) < 0) {
        at++;
    }
    if (at < logs->count && strcmp(logs->at[at].name, name) == 0) {
        logs->at[at].value = value;
        return true;
    }
    if (logs->count == logs->room) {
        return false;
    }
    memmove(&logs->at[at + 1], &logs->at[at], (size_t)(logs->count - at) * sizeof *logs->at);
    logs->at[at] = (dlt_log_entry){name, value, direction};
    logs->count++;
    return true;
}

void dlt_callback_set_rate(dlt_callback_io *io, double rate)
{
    if (!io->rate_fixed) {
        io->rate = (double)(float)rate;
        io->set_rate = true;
    }
}

bool dlt_monitor_better(const dlt_log_entry *entry, int mode, double min_delta, double reference)
{
    const bool larger =
        mode == DLT_MONITOR_MAX || (mode == DLT_MONITOR_AUTO && entry->direction == DLT_LARGER_IS_BETTER);
    min_delta = fabs(min_delta);
    /* Keras takes the difference in double and compares in float32: what differs less than that is equal */
    return larger ? (float)(entry->value - min_delta) > (float)reference
                  : (float)(entry->value + min_delta) < (float)reference;
}

const dlt_log_entry *dlt_monitor_find(const dlt_item *item, const char *monitor, const dlt_callback_io *io,
                                      int64_t *warned)
{
    const dlt_log_entry *entry = dlt_logs_find(io->logs, monitor);
    if (entry == NULL && *warned == 0) {
        *warned = 1;
        dlt_warn(io->diag, dlt_item_pos(item, "monitor"), "%s watches %s, which epoch %lld does not have",
                 item->kind->name, monitor, (long long)io->epoch + 1);
    }
    return entry;
}
