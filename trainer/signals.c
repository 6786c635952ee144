/* trainer/signals.c: being asked to stop. */
#include "trainer/signals.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>

static atomic_int stop;        /* dlt_request: TERMINATE or INTERRUPT */
static atomic_int interrupts;  /* SIGINTs so far */
static atomic_int save;
static atomic_int held;
static atomic_int leave_later; /* a second SIGINT came while held */

static void (*leave)(void); /* ends the process; async-signal-safe */

static void on_signal(int number)
{
    if (number == SIGUSR1) {
        atomic_store(&save, 1);
    } else if (number == SIGTERM) {
        int none = DLT_REQUEST_NONE;
        atomic_compare_exchange_strong(&stop, &none, DLT_REQUEST_TERMINATE);
    } else {
        atomic_store(&stop, DLT_REQUEST_INTERRUPT);
        if (atomic_fetch_add(&interrupts, 1) > 0) {
            if (atomic_load(&held) == 0 && leave != NULL) {
                leave(); /* the user asked twice */
            }
            atomic_store(&leave_later, 1);
        }
    }
}

void dlt_signals_install(void (*leave_at_once)(void))
{
    leave = leave_at_once;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
}

dlt_request dlt_stop_requested(void)
{
    return (dlt_request)atomic_load_explicit(&stop, memory_order_relaxed);
}

const atomic_int *dlt_stop_flag(void)
{
    return &stop;
}

bool dlt_save_requested(void)
{
    return atomic_load_explicit(&save, memory_order_relaxed) != 0 && atomic_exchange(&save, 0) != 0;
}

void dlt_signals_hold(void)
{
    atomic_fetch_add(&held, 1);
}

void dlt_signals_release(void)
{
    if (atomic_fetch_sub(&held, 1) == 1 && atomic_load(&leave_later) != 0 && leave != NULL) {
        leave();
    }
}

void dlt_signals_reset(void)
{
    atomic_store(&stop, DLT_REQUEST_NONE);
    atomic_store(&interrupts, 0);
    atomic_store(&save, 0);
    atomic_store(&leave_later, 0);
}
