/* base/table.h: rows of named columns on their way from a data source to the INPUT values of a graph.
 *
 * A source gives each record as fixed-size parts. A part is a tensor (an image, a label, one number of a table) with a role.
 * Text of a table is kept as an int32 code into the column's dictionary; missing and unseen text have codes of their own.
 * Missing numbers are NaN. */
#ifndef DLT_BASE_TABLE_H
#define DLT_BASE_TABLE_H

#include "base/diag.h"
#include "base/tensor.h"

#include <stdint.h>

typedef enum dlt_role { DLT_ROLE_FEATURE, DLT_ROLE_TARGET, DLT_ROLE_WEIGHT } dlt_role;

typedef enum dlt_column_type {
    DLT_COLUMN_TENSOR,  /* no table: part as it comes (IDX, NPY, HDF5, text windows) */
    DLT_COLUMN_NUMBER,  /* float64, NaN where missing */
    DLT_COLUMN_INTEGER, /* int64 values held as float64: every value seen was an integer; NaN where missing */
    DLT_COLUMN_TEXT     /* int32 code into the dictionary, or one of DLT_CODE_* */
} dlt_column_type;

/** Codes of text that is not in the dictionary. */
enum {
    DLT_CODE_MISSING = -1, /* no value */
    DLT_CODE_UNSEEN = -2   /* a value that train does not have: in validation, test and prediction only */
};

/**
 * Distinct texts of a column; code i stands for at[i]. A feature's are in order of first appearance. A target's are the class
 * names in order of their bytes, or as class_names of ImageFolder lists them, so that its codes are class numbers.
 */
typedef struct dlt_dictionary {
    int64_t count;
    const char *const *at;  /* NUL-terminated UTF-8 or raw bytes without NUL */
    const size_t *length;   /* bytes */
} dlt_dictionary;

/** What one part of every record is. */
typedef struct dlt_part {
    const char *name; /* column name; "features", "labels", "sample_weight" for tensors */
    dlt_role role;
    dlt_column_type type;
    dlt_dtype dtype;
    dlt_shape shape;            /* of one record, without the batch axis */
    bool may_be_missing;        /* a missing value was seen */
    const dlt_dictionary *dictionary; /* TEXT: grows while the source is scanned, constant afterwards */
} dlt_part;

/** The parts of a record, in file order; offsets[i] is where part i lies in a packed record of record_bytes. */
typedef struct dlt_record_layout {
    size_t count;
    const dlt_part *parts;
    const size_t *offsets;
    size_t record_bytes;
} dlt_record_layout;

/**
 * A batch of rows as columns: column i holds `rows` elements of part i, densely packed.
 * row_numbers[r] is the record's number in its source (from 0), for messages.
 */
typedef struct dlt_table {
    const dlt_record_layout *layout;
    int64_t rows;
    void *const *columns;
    const int64_t *row_numbers;
} dlt_table;

#endif
