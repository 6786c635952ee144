/* base/status.h: what a function that can fail returns. */
#ifndef DLT_BASE_STATUS_H
#define DLT_BASE_STATUS_H

#if defined(__GNUC__)
#define DLT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define DLT_MUST_CHECK __attribute__((warn_unused_result))
#define DLT_EXPORT __attribute__((visibility("default")))
#else
#define DLT_PRINTF(fmt, args)
#define DLT_MUST_CHECK
#define DLT_EXPORT
#endif

/**
 * Outcome of a call. Everything but DLT_OK has left one sentence in the diag that the call was given.
 * cmd/main.c alone maps these to exit codes (docs/architecture.md, "Exit codes").
 */
typedef enum dlt_status {
    DLT_OK = 0,
    DLT_E_CONFIG,      /* the model file or the command line is wrong */
    DLT_E_UNSUPPORTED, /* valid, but not available here or not built yet */
    DLT_E_MEMORY,      /* does not fit: by plan, or an allocation was refused */
    DLT_E_DATA,        /* a data set cannot be read, or does not fit the model */
    DLT_E_NUMERIC,     /* a loss, gradient or input is not finite */
    DLT_E_CHECKPOINT,  /* a checkpoint, a run directory or its lock */
    DLT_E_BACKEND,     /* the device or its libraries */
    DLT_E_OUTPUT,      /* a result cannot be written */
    DLT_E_STOPPED,     /* a signal asked us to stop; state was saved where the command saves any */
    DLT_E_INTERNAL     /* our bug, or a failed proof */
} dlt_status;

/** Leaves the calling function when `call` fails; for functions that have nothing to undo. */
#define DLT_TRY(call)                                                                                        \
    do {                                                                                                     \
        const dlt_status dlt_try_status_ = (call);                                                           \
        if (dlt_try_status_ != DLT_OK) {                                                                     \
            return dlt_try_status_;                                                                          \
        }                                                                                                    \
    } while (0)

/** Number of elements of an array (not of a pointer). */
#define DLT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
