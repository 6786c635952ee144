/* trainer/check.h: what can be known to be wrong about a whole model before anything runs: the loss against
 * the last activation, the number of outputs and the labels; metrics against both; names that callbacks
 * watch. Each with its place and the way out. */
#ifndef DLT_TRAINER_CHECK_H
#define DLT_TRAINER_CHECK_H

#include "trainer/step.h"

/** What is known of the targets. */
typedef struct dlt_target_info {
    dlt_dtype type;
    dlt_shape shape; /* of one row */
    int64_t classes; /* class names, or one more than the largest class number; 0: no classes, or not known */
    bool names;      /* the targets are names (of classes) */
    bool uncertain;  /* not all data were looked at: there may be more classes, and sizes are not to be complained about */
} dlt_target_info;

typedef struct dlt_check {
    const dlt_spec *spec;
    const dlt_variables *variables; /* after the forward graph was built; NULL: it was not */
    bool unsure_activation; /* the last one may be another */
    bool unsure_metrics; /* there may be others: a monitor is complained about only where it is much like one that there is */
    const dlt_value *y;             /* the model's output, (B, ...) */
    const dlt_item *last;           /* the layer that makes it; NULL: none */
    const dlt_target_info *target;  /* NULL: the data have none, or are not looked at */
    const dlt_metric_set *metrics;
    bool validation; /* there will be val_ values */
} dlt_check;

/** Adds all complaints to diag; DLT_E_CONFIG if there was an error. */
dlt_status dlt_check_model(const dlt_check *check, dlt_diag *diag);

#endif
