/* trainer/initializer.h: first values of weights and states. */
#ifndef DLT_TRAINER_INITIALIZER_H
#define DLT_TRAINER_INITIALIZER_H

#include "trainer/kinds.h"

/**
 * The first value of a variable: out gets a double for each element, row-major in the logical shape. Random
 * numbers come from the stream of the variable's path (decisions 18). Fails with a position where the
 * initializer does not fit the shape.
 */
dlt_status dlt_initial_value(const dlt_variable *variable, uint64_t seed, double *out, dlt_diag *diag);
/** The check alone. */
dlt_status dlt_initializer_fits(const dlt_variable *variable, dlt_diag *diag);

#endif
