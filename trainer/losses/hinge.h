/* trainer/losses/hinge.h: what the hinge losses share. */
#ifndef DLT_TRAINER_LOSSES_HINGE_H
#define DLT_TRAINER_LOSSES_HINGE_H

#include "trainer/kinds.h"

/** max(1 - t p, 0) of each element; targets that are 0 or 1 in the whole batch stand for -1 and 1. */
dlt_value *dlt_hinge_of(dlt_builder *b, dlt_value *y_true, dlt_value *y_pred);

#endif
