/* trainer/blame.h: who made the first value that is not finite? */
#ifndef DLT_TRAINER_BLAME_H
#define DLT_TRAINER_BLAME_H

#include "trainer/session.h"

typedef struct dlt_blame_options {
    const dlt_session *session;
    dlt_run_program program; /* that the guard stopped */
    dlt_set set;             /* of the batch; 0: train */
    int slot;                /* which still holds the batch */
    int64_t epoch, step;     /* from 0; updates so far */
    const dlt_batch *batch;
    const char *run; /* run directory for hints; NULL: none */
    const dlt_saved *updated; /* what the update made not finite (dlt_update_look); NULL: the guard stopped the step */
} dlt_blame_options;

/**
 * Looks at the batch first: a value of the data that is not finite is named by record and column. If there is
 * none, runs the step again without fusion, node by node, on the weights as they are (the guard let nothing be
 * written). Leaves messages: the loss or gradient that is not finite, the value of the data or the first node
 * that made such a value with its layer and line (where a layer has learned it from the data: the record; where an update
 * overflowed: the weight), the batch's record numbers, what was saved last, what to try. Returns
 * DLT_E_NUMERIC, or the status of what failed on the way.
 */
dlt_status dlt_blame(const dlt_blame_options *options, dlt_diag *diag);

/**
 * The same for a batch of an evaluation whose loss is not finite, as notes: the value of the data, or the largest; the
 * batch's record numbers.
 */
dlt_status dlt_blame_evaluation(const dlt_blame_options *options, dlt_diag *diag);

/**
 * Looks whether the update of a step that the guard let pass has overflowed: *bad is the first weight, or array of the
 * optimizer, with a number that is not finite; NULL: none. Costs one scalar as long as the update's sum is finite.
 */
dlt_status dlt_update_look(const dlt_session *session, dlt_run_program program, int slot, const dlt_saved **bad,
                           dlt_diag *diag);

/**
 * A plain engine (no fusion, no layouts, every value kept) like the session's, with the same values in all
 * variables and, in its slot 0, the batch that is in `slot` of the program. To be destroyed.
 */
dlt_status dlt_plain_twin(const dlt_session *session, dlt_run_program program, int slot, dlt_engine **twin,
                          dlt_diag *diag);

/** The first node of a plain engine's program whose result is not finite on this slot; -1: all are finite. */
dlt_status dlt_first_not_finite(dlt_engine *plain, dlt_run_program program, int slot, int *node,
                                dlt_diag *diag);

#endif
