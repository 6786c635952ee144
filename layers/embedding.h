/* layers/embedding.h: what Embedding and ReversibleEmbedding share. */
#ifndef DLT_LAYERS_EMBEDDING_H
#define DLT_LAYERS_EMBEDDING_H

#include "layers/layer.h"

typedef struct dlt_embedding_params {
    int64_t input_dim, output_dim;
    bool mask_zero;
    dlt_weight_params embeddings;
    const dlt_item *activity_regularizer;
    bool tie_weights; /* of ReversibleEmbedding */
    dlt_opt_float logit_soft_cap;
} dlt_embedding_params;

#define DLT_EMBEDDING_FIELDS                                                                                 \
    DLT_INT(dlt_embedding_params, input_dim, 1, INT32_MAX, DLT_REQUIRED,                                     \
            "how many numbers there are: the largest plus 1"),                                               \
        DLT_INT(dlt_embedding_params, output_dim, 1, DLT_MAX_UNITS, DLT_REQUIRED, "size of the vectors"),    \
        DLT_BOOL(dlt_embedding_params, mask_zero, false, "0 is padding: later layers pass over it"),         \
        DLT_WEIGHT(dlt_embedding_params, embeddings, "uniform", "the vectors (input_dim, output_dim)"),      \
        DLT_ACTIVITY_FIELD(dlt_embedding_params)

/** The vectors of the numbers in `in`, with their mask. */
dlt_value *dlt_embedding_build(dlt_builder *b, const dlt_embedding_params *params, dlt_value *in);

#endif
