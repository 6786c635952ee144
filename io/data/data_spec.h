/* io/data/data_spec.h: what a model file says about data. Part of the run spec (schema/spec.h), in a header
 * of its own because io/ may not include schema/. */
#ifndef DLT_IO_DATA_DATA_SPEC_H
#define DLT_IO_DATA_DATA_SPEC_H

#include "base/kind.h"

/** fit.shuffle: on = a new order of rows each pass; batch = batches stay, the order within each changes. */
typedef enum dlt_shuffle_mode { DLT_SHUFFLE_OFF, DLT_SHUFFLE_ON, DLT_SHUFFLE_BATCH } dlt_shuffle_mode;

/** data: */
typedef struct dlt_data_spec {
    const dlt_item
        *train; /* category "source"; NULL only for files that are merely checked or predicted with */
    const dlt_item
        *validation; /* category "validation": a source, or kind `split` (dlt_split_params); NULL: none */
    const dlt_item *test; /* category "source"; NULL: none */
    dlt_opt_int memory;   /* bytes of records kept in memory; absent: a quarter of the machine's */
    dlt_opt_int workers;  /* threads that read ahead; absent: chosen */
    const char *cache;    /* folder of packed sources; NULL: the user's cache folder */
} dlt_data_spec;

/** validation: {split: 0.1} or {split: {fraction: 0.1, shuffle: true, stratify: true}} (decisions 7) */
typedef struct dlt_split_params {
    double fraction;
    bool shuffle, stratify;
} dlt_split_params;

#endif
