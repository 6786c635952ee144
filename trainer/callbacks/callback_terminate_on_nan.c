/* trainer/callbacks/callback_terminate_on_nan.c: ends training after a batch whose loss is NaN or infinite.
 * The run's own guard (fit.non_finite) usually sees it first, before the update. */
#include "trainer/callbacks/monitor.h"

#include <math.h>

typedef struct terminate_params {
    bool raise_error;
} terminate_params;

static const dlt_field fields[] = {
    DLT_BOOL(terminate_params, raise_error, false,
             "kept for Keras' sake: the command's exit code says it either way"),
    {0},
};

static void batch_end(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io)
{
    const dlt_log_entry *loss = dlt_logs_find(io->logs, "loss");
    (void)item;
    (void)state;
    if (loss != NULL && !isfinite(loss->value)) {
        io->stop = true;
        io->stop_status = DLT_E_NUMERIC;
        io->stop_reason = dlt_arena_printf(io->arena, "batch %lld: the loss is %s", (long long)io->batch + 1,
                                           isnan(loss->value) ? "not a number" : "infinite");
    }
}

static bool wants_batches(const dlt_item *item)
{
    (void)item;
    return true;
}

const dlt_callback_desc dlt_callback_terminate_on_nan = {
    .kind = {.name = "TerminateOnNaN",
             .doc = "ends training when the loss is not finite",
             .size = sizeof(terminate_params),
             .fields = fields,
             .aliases = "terminate_on_nan"},
    .monitor = -1,
    .mode = -1,
    .batch_end = batch_end,
    .wants_batches = wants_batches,
};
