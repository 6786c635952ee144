/* trainer/evaluate.h: how good a model is on a set: loss and metrics, and for classes a confusion matrix. */
#ifndef DLT_TRAINER_EVALUATE_H
#define DLT_TRAINER_EVALUATE_H

#include "trainer/session.h"

typedef struct dlt_evaluation {
    int64_t samples;
    double seconds;
    int count; /* of loss and metrics */
    const dlt_log_entry *values;
    int64_t classes;          /* 0: the target is no class */
    const char *const *names; /* of the classes; NULL: numbers */
    const int64_t *confusion; /* classes x classes: row true, column predicted */
} dlt_evaluation;

/** True if the loss takes logits: then a single output names class 1 where it is above 0, not above one half.
 */
bool dlt_takes_logits(const dlt_item *loss);

/** Most classes that a confusion matrix is made for. */
enum { DLT_CONFUSION_MOST = 2000 };

/** Evaluates a set of the session's data. Results live in the session's arena. */
dlt_status dlt_evaluate(dlt_session *session, dlt_set set, const atomic_int *stop, dlt_evaluation *evaluation,
                        dlt_diag *diag);

/** Precision, recall and F1 of a class, its number of samples, and the class it is most often taken for (-1:
 * none). */
typedef struct dlt_class_figures {
    double precision, recall, f1;
    int64_t count, taken_for, taken_count;
} dlt_class_figures;
dlt_class_figures dlt_class_figures_of(const dlt_evaluation *evaluation, int64_t index);

#endif
