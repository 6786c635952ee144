/* trainer/signals.h: being asked to stop. Handlers set a flag and do nothing else; every loop looks at it. */
#ifndef DLT_TRAINER_SIGNALS_H
#define DLT_TRAINER_SIGNALS_H

#include <stdatomic.h>
#include <stdbool.h>

/** What was asked for since the start. */
typedef enum dlt_request {
    DLT_REQUEST_NONE,
    DLT_REQUEST_SAVE,      /* SIGUSR1: save and go on */
    DLT_REQUEST_TERMINATE, /* SIGTERM: save and end (75) */
    DLT_REQUEST_INTERRUPT  /* SIGINT: save and end (130) */
} dlt_request;

/**
 * Installs the handlers of SIGTERM, SIGUSR1 and SIGINT. A second SIGINT calls leave_at_once (async-signal-safe, does not
 * return; NULL: ignored) unless something that must not be cut is under way (dlt_signals_hold).
 */
void dlt_signals_install(void (*leave_at_once)(void));
/** The strongest request to stop: NONE, TERMINATE or INTERRUPT. */
dlt_request dlt_stop_requested(void);
/** Flag for loops that only need to know whether to end: not 0 when they shall. */
const atomic_int *dlt_stop_flag(void);
/** True once for each SIGUSR1 (several before the question count as one). */
bool dlt_save_requested(void);
/** Around a rename and what belongs to it: a second SIGINT waits. Calls nest. */
void dlt_signals_hold(void);
void dlt_signals_release(void);
/** Forgets all requests (tests). */
void dlt_signals_reset(void);

#endif
