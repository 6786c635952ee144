/* trainer/variables.h: which variables a checkpoint holds, and under which names (keras-files.md 1,
 * keras-training.md 6.6).
 *
 *   layers/dense/vars/0      weights, by group and index
 *   optimizer/vars/0         iteration
 *   optimizer/vars/1         learning_rate; with a schedule there is none, and the rest moves up
 *   optimizer/vars/2, ...    for all trained weights in order, one kind after the other: averages (use_ema),
 *                            accumulated gradients, the optimizer's slots; its scalar ends the list
 *   dltrain/state/samples    what Keras does not have: rows seen, sums of metrics
 *
 * Slots are flat vectors here and one array a weight in the file. */
#ifndef DLT_TRAINER_VARIABLES_H
#define DLT_TRAINER_VARIABLES_H

#include "trainer/kinds.h"

/** Most bytes of a path here: what is put before it in a file ("/dltrain/kept/") fits too. */
enum { DLT_SAVED_PATH = 1000 };

/** One array of a checkpoint. */
typedef struct dlt_saved {
    const char *path;         /* "optimizer/vars/3" */
    const dlt_variable *variable;
    const dlt_variable *part; /* slots: the weight whose part of the vector this is; NULL: all of it */
    dlt_shape shape;          /* logical */
    dlt_layout layout;        /* of the bytes on the device */
} dlt_saved;

typedef enum dlt_saved_kind {
    DLT_SAVED_WEIGHTS = 1,
    DLT_SAVED_OPTIMIZER = 2, /* in Keras' order; none without an optimizer */
    DLT_SAVED_STATE = 4      /* our own */
} dlt_saved_kind;

/**
 * Lists the arrays of these kinds (bits), in the order weights, optimizer, state. optimizer: NULL if there is
 * none. The first training program must have been built where DLT_SAVED_OPTIMIZER is asked for. *list lives
 * in the arena.
 */
dlt_status dlt_saved_list(dlt_arena *arena, dlt_variables *variables, const dlt_item *optimizer,
                          unsigned kinds, const dlt_saved **list, int *count, dlt_diag *diag);
/** Says that a path has more than DLT_SAVED_PATH bytes; returns DLT_E_CONFIG. */
dlt_status dlt_saved_too_long(const char *path, dlt_diag *diag);
/** Byte offset in the variable's storage class, once offsets are fixed. */
int64_t dlt_saved_offset(const dlt_saved *saved);

#endif
