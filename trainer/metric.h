/* trainer/metric.h: the metrics of a run: their names in the logs, their sums on the device, their values. */
#ifndef DLT_TRAINER_METRIC_H
#define DLT_TRAINER_METRIC_H

#include "trainer/kinds.h"

typedef struct dlt_metric {
    const dlt_item *item;
    const char *name; /* in the logs: "accuracy", "auc_1" */
    bool weighted;    /* of weighted_metrics: sees sample weights */
    dlt_direction direction;
    /* known once a program was built: */
    const dlt_metric_desc *desc; /* what the shapes made of `accuracy` */
    const void *params;
    dlt_variable *sums[DLT_METRIC_MAX_SUMS]; /* float64, in STATE */
    int sum_count;
    int value_count; /* 1, or the length of a list of thresholds: then logs have NAME[0], NAME[1], ... */
} dlt_metric;

/** All that a run logs: the loss, then metrics, then weighted metrics, in the order of the model file. */
typedef struct dlt_metric_set {
    dlt_arena *arena;
    int count;
    dlt_metric *at;
    dlt_variable *loss_total, *loss_rows; /* float64: logged loss = total / rows (keras-training.md 1.2) */
} dlt_metric_set;

/**
 * Names the metrics as Keras does (keras-training.md 1.3): a bare word keeps its word, an object its name or
 * its class in snake case; of equal names the second is called _1, in weighted_metrics weighted_NAME. Refuses
 * the names that the logs use themselves (loss, val_...).
 */
dlt_status dlt_metric_set_create(dlt_arena *arena, const dlt_items *metrics, const dlt_items *weighted,
                                 dlt_metric_set **set, dlt_diag *diag);
/**
 * Adds the updates of all metrics and of the loss's sums to a program. loss: scalar of this batch. Sums are
 * shared by the programs of a run: the loop reads and zeroes them (DLT_VARIABLE_METRIC) between training and
 * validation.
 */
void dlt_metric_set_update(dlt_builder *b, dlt_metric_set *set, const dlt_outcome *outcome, dlt_value *loss);
/** The values of metric i; sums[k] are the elements of metric->sums[k]. Returns how many values there are. */
int dlt_metric_values(const dlt_metric *metric, const double *const *sums, double *out, int room);
/**
 * Log names: "loss" first, then each metric's. `val`: with prefix val_. entries has room for `room`; returns
 * how many there are. Values are left 0. Before a program was built, a metric of several values counts as
 * one.
 */
int dlt_metric_log_names(const dlt_metric_set *set, bool val, dlt_log_entry *entries, int room);

#endif
