/* trainer/callbacks/monitor.h: what callbacks share that watch one value of the logs (keras-training.md 11).
 */
#ifndef DLT_TRAINER_CALLBACKS_MONITOR_H
#define DLT_TRAINER_CALLBACKS_MONITOR_H

#include "trainer/kinds.h"

extern const char *const dlt_monitor_modes[]; /* auto, min, max */
typedef enum dlt_monitor_mode { DLT_MONITOR_AUTO, DLT_MONITOR_MIN, DLT_MONITOR_MAX } dlt_monitor_mode;

#define DLT_MONITOR_FIELD(T)                                                                                 \
    DLT_STRING(T, monitor, "val_loss", "name in the logs of the value that is watched")
#define DLT_MODE_FIELD(T)                                                                                    \
    DLT_ENUM(T, mode, dlt_monitor_modes, auto, "which way is better; auto: as the metric says")
#define DLT_VERBOSE_FIELD(T) DLT_INT(T, verbose, 0, 2, 0, "1: say on the screen what is done")

/**
 * True if value is better than reference by more than min_delta: value + min_delta < reference, or value -
 * min_delta > reference, as float32. Nothing is better than a NaN, and a NaN is better than nothing.
 */
bool dlt_monitor_better(const dlt_log_entry *entry, int mode, double min_delta, double reference);
/** The watched entry; NULL, with a warning the first time (*warned), if the logs do not have it. */
const dlt_log_entry *dlt_monitor_find(const dlt_item *item, const char *monitor, const dlt_callback_io *io,
                                      int64_t *warned);

#endif
