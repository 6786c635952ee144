/* io/data/datasets.h: the data of a model file, opened: train, validation and test as views, and the
 * signature.
 *
 *     dlt_datasets *data = NULL;
 *     DLT_TRY(dlt_datasets_open(&spec->data, &(dlt_datasets_options){.depth = DLT_DEPTH_LOAD, .seed = seed},
 * &data, diag)); const dlt_signature *s = dlt_datasets_signature(data); dlt_loader_options options = {.view =
 * *dlt_datasets_view(data, DLT_TRAIN), ...};
 */
#ifndef DLT_IO_DATA_DATASETS_H
#define DLT_IO_DATA_DATASETS_H

#include "io/data/data_spec.h"
#include "io/data/signature.h"
#include "io/data/view.h"

typedef struct dlt_datasets dlt_datasets;

typedef struct dlt_datasets_options {
    dlt_depth depth;
    uint64_t seed;           /* of a shuffled split */
    int threads;             /* for packing; 0: as many as there are processors, at most 8 */
    const atomic_int *stop;  /* not 0: end with DLT_E_STOPPED; may be NULL */
    const dlt_frame *follow; /* of a checkpoint: rules all sets, and train is not needed; NULL: train's */
} dlt_datasets_options;

/**
 * Opens what the spec names. The mistakes of all sets are reported; where train has some, the others are looked at
 * each by itself. Warns about classes that are missing on one side of train and validation.
 */
dlt_status dlt_datasets_open(const dlt_data_spec *spec, const dlt_datasets_options *options,
                             dlt_datasets **data, dlt_diag *diag);
/** NULL is accepted. */
void dlt_datasets_close(dlt_datasets *data);
const dlt_signature *dlt_datasets_signature(const dlt_datasets *data);
/** What validation, test and prediction follow; saved with each checkpoint by dlt_frame_write. */
const dlt_frame *dlt_datasets_frame(const dlt_datasets *data);
/** Records of a set; NULL where it is absent or the data were not loaded. */
const dlt_view *dlt_datasets_view(const dlt_datasets *data, dlt_set set);
/** Bytes of records that lie in memory, all sets together: what a run takes beside the plan's memory. */
uint64_t dlt_datasets_resident(const dlt_datasets *data);
/** DLT_E_DATA if a file changed since the data were opened. */
dlt_status dlt_datasets_unchanged(const dlt_datasets *data, dlt_diag *diag);
/** Bytes that records may take: what is asked for, else a quarter of the machine's (or of the control group's
 * limit). */
uint64_t dlt_datasets_memory(const dlt_opt_int *asked);

#endif
