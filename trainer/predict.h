/* trainer/predict.h: predictions for raw rows, streaming: from a file or standard input to CSV, JSON lines,
 * NPY or HDF5. */
#ifndef DLT_TRAINER_PREDICT_H
#define DLT_TRAINER_PREDICT_H

#include "trainer/model.h"

typedef enum dlt_predict_format {
    DLT_PREDICT_CSV,
    DLT_PREDICT_JSONL,
    DLT_PREDICT_NPY,
    DLT_PREDICT_HDF5
} dlt_predict_format;

typedef struct dlt_predict_options {
    const char *input; /* file, or "-": standard input */
    const char *output; /* file, as io/outfile.h has them; NULL: standard output (CSV and JSON lines) */
    dlt_predict_format format;
    const atomic_int *stop;
    /** Bytes for standard output, in order. */
    dlt_status (*write)(void *context, const char *bytes, size_t count, dlt_diag *diag);
    void *context;
    void (*progress)(void *context, int64_t rows); /* NULL: nobody looks */
    void *progress_context;
} dlt_predict_options;

/** Predicts for all rows. session: of dlt_model_session with `predict`. *rows: how many there were. */
dlt_status dlt_predict(const dlt_model *model, dlt_session *session, const dlt_predict_options *options,
                       int64_t *rows, dlt_diag *diag);

#endif
