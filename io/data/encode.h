/* io/data/encode.h: from columns of records to the INPUT values of a graph. What needs no learning is done
 * here: copying, joining number columns to vectors, changing the type. Layers that learn from tables
 * (FeatureSpace) bring encoders of their own. */
#ifndef DLT_IO_DATA_ENCODE_H
#define DLT_IO_DATA_ENCODE_H

#include "base/table.h"

/**
 * Turns `rows->rows` records into the outputs, each a buffer of as many rows. Called by several threads at
 * once, each time with other buffers; takes no memory. Messages name records by rows->row_numbers. The encode
 * of layers/layer.h's dlt_table_layer is one of these.
 */
typedef dlt_status (*dlt_encode)(const void *context, const dlt_table *rows, void *const *outputs,
                                 dlt_diag *diag);

/** An output of the plain encoder: parts of a record one behind the other, as one type. */
typedef struct dlt_plain_output {
    size_t count;
    const size_t *parts;
    dlt_dtype dtype;
} dlt_plain_output;

/** Context of dlt_encode_plain. */
typedef struct dlt_plain_encoder {
    size_t count;
    const dlt_plain_output *outputs;
    dlt_pos at; /* of the records: their file, for messages */
} dlt_plain_encoder;

/**
 * The plain encoder. A column that lies in the output already (dlt_encode_plain_direct) stays there. Missing values, text that is not in the dictionary and values that the output's type
 * does not have are errors (DLT_E_DATA) that name file, record (from 1) and column. float64 to float32 is rounded, as Keras
 * does.
 */
dlt_status dlt_encode_plain(const void *context, const dlt_table *rows, void *const *outputs, dlt_diag *diag);
/** Whether a part can go into a plain output: text can only as the codes of a target. If not, says what to do
 * at `at`. */
dlt_status dlt_encode_plain_check(const dlt_plain_encoder *encoder, const dlt_record_layout *layout,
                                  dlt_pos at, dlt_diag *diag);
/** By part of the layout: the output that it would be copied to as it is, nothing before or behind it in a row; -1: none. */
void dlt_encode_plain_direct(const dlt_plain_encoder *encoder, const dlt_record_layout *layout, int *direct);
/** Elements of a row of an output. */
int64_t dlt_plain_output_elements(const dlt_plain_output *output, const dlt_record_layout *layout);

#endif
