/* layers/embedding.c: a learned vector for each number.    y[n,...,:] = embeddings[x[n,...], :]
 * Input (N, ...) of integers 0..input_dim-1 (real numbers are cut to integers), output (N, ..., output_dim).
 * Weight: embeddings (input_dim, output_dim). mask_zero makes the mask x != 0; row 0 stays a weight like the others.
 *
 * ReversibleEmbedding is the same layer, which Reuse can also run the other way (reversible_embedding.c). */
#include "layers/embedding.h"

static const dlt_field embedding_fields[] = {DLT_EMBEDDING_FIELDS, {0}};

dlt_value *dlt_embedding_build(dlt_builder *b, const dlt_embedding_params *p, dlt_value *in)
{
    dlt_value *table = dlt_weight(b, &p->embeddings, DLT_SHAPE(p->input_dim, p->output_dim));
    dlt_value *ids = in->type == DLT_I32 || in->type == DLT_I64 ? in : dlt_cast(b, in, DLT_I32);
    dlt_value *y = dlt_gather(b, table, ids);
    if (y != NULL && p->mask_zero) {
        y->mask = dlt_cast(b, dlt_not(b, dlt_equal(b, in, dlt_constant_typed(b, in->type, 0))), DLT_U8);
    }
    return y;
}

static dlt_value *embedding_build(dlt_builder *b, const void *params, dlt_value *in)
{
    return dlt_embedding_build(b, params, in);
}

static const char *const embedding_examples[] = {
    "{input: [2, 3], dtype: int32, high: 6, layer: {Embedding: {input_dim: 6, output_dim: 3}}}",
    "{input: [2, 4], dtype: int32, high: 5, layer: {Embedding: {input_dim: 5, output_dim: 2, mask_zero: true}}}",
    "{input: [2, 2, 3], dtype: uint8, high: 5, layer: {Embedding: {input_dim: 5, output_dim: 2}}}",
    "{input: [2, 3], dtype: int32, high: 6, layer: {Embedding: {input_dim: 6, output_dim: 3, activity_regularizer: {L2: {l2: 0.1}}}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_embedding = {
    .kind = {.name = "Embedding",
             .doc = "a learned vector for each number",
             .size = sizeof(dlt_embedding_params),
             .fields = embedding_fields},
    .build = embedding_build,
    .mask = DLT_MASK_DROP,
    .examples = embedding_examples,
};
