/* io/data/view.h: which records of a data set are train's and which are validation's. */
#ifndef DLT_IO_DATA_VIEW_H
#define DLT_IO_DATA_VIEW_H

#include "io/data/data_spec.h"
#include "io/data/dataset.h"

/** A bit for each row, and where the k-th one (or zero) is: an eighth of a byte a row, and a little. */
typedef struct dlt_bits {
    int64_t count, ones;
    uint64_t *words;
    int64_t *before; /* ones before each block of 8 words */
} dlt_bits;

/** Some rows of a data set, in their order. A plain value: copies are views too. */
typedef struct dlt_view {
    const dlt_dataset *dataset;
    int64_t count;
    int64_t first;        /* rows first .. first + count - 1; or */
    const dlt_bits *bits; /* rows whose bit is `one`; NULL: the range */
    bool one;
} dlt_view;

/** All rows. */
dlt_view dlt_view_whole(const dlt_dataset *dataset);
/** Row at a position of the view. */
int64_t dlt_view_row(const dlt_view *view, int64_t position);
/** Positions become rows, in place. */
void dlt_view_rows(const dlt_view *view, int64_t *rows, int64_t count);

/** Sees a batch of rows; what is not DLT_OK ends the walk. */
typedef dlt_status (*dlt_see_rows)(void *context, const dlt_table *rows, dlt_diag *diag);
/**
 * Shows all rows of a view of a loaded data set to `see`, in order, in batches of some 1,000. `parts` tells
 * by part which columns are wanted (the others are NULL in the table); NULL: all. For what is learnt from
 * train before the first step.
 */
dlt_status dlt_view_walk(const dlt_view *view, const bool *parts, const atomic_int *stop, dlt_see_rows see,
                         void *context, dlt_diag *diag);

/** A data set in two parts. */
typedef struct dlt_split {
    dlt_view train, validation;
    dlt_bits bits; /* of validation's rows; empty where they are the last ones */
} dlt_split;

/**
 * Splits by `params`. Validation gets n - floor(n (1 - fraction)) rows: the last ones, as in Keras; or random
 * ones by the seed; or the same part of every class (the largest remainders are rounded up). An empty side is
 * an error at `at`. Loaded data sets only where stratify is asked for.
 */
dlt_status dlt_split_create(const dlt_dataset *dataset, const dlt_split_params *params, uint64_t seed,
                            dlt_pos at, const atomic_int *stop, dlt_split **split, dlt_diag *diag);
/** NULL is accepted. */
void dlt_split_destroy(dlt_split *split);
/** Rows of train, and of validation by difference, without a data set: for `check`. */
int64_t dlt_split_count(int64_t rows, double fraction);

/** Class number of a target as Keras' class_weight sees it: the index of the largest of several values, else
 * the value rounded; -1 if that is none. */
int64_t dlt_class_of(const dlt_part *target, const void *value);
/** Counts the records of each class 0..class_count-1 in a view of a loaded data set; other targets are passed
 * over. */
dlt_status dlt_view_classes(const dlt_view *view, int64_t *counts, int64_t class_count,
                            const atomic_int *stop, dlt_diag *diag);

#endif
