/* cmd/screen.h: what fit shows while it runs: a head, a bar on a terminal or a line a minute elsewhere, a
 * line an epoch. */
#ifndef DLT_CMD_SCREEN_H
#define DLT_CMD_SCREEN_H

#include "trainer/fit.h"

typedef struct dlt_screen dlt_screen;

/** verbose 0: nothing but warnings; 1: a bar on a terminal; 2: a line an epoch. To standard error. NULL: no
 * memory. */
dlt_screen *dlt_screen_create(int verbose);
/** NULL is accepted. */
void dlt_screen_destroy(dlt_screen *screen);
/** The events by which the loop fills it. */
dlt_fit_events dlt_screen_events(dlt_screen *screen);
/** A line below everything; also into the run's log. */
void dlt_screen_line(dlt_screen *screen, const char *fmt, ...) DLT_PRINTF(2, 3);

/** "0.0297", "1.25e-05", "412.7": a figure in at most 9 columns, four digits behind the point where there is
 * room. */
void dlt_format_figure(double value, char *text, size_t room);

#endif
