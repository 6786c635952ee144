/* layers/position_embedding.c: a learned vector for each position, added to the input.    y[n,...,t,d] = x[n,...,t,d] + E[t,d]
 * Input and output (N, ..., T, D), T <= sequence_length. Weight: embeddings (sequence_length, D), that of KerasHub's layer,
 * which gives E[:T] alone and leaves the sum to its caller. */
#include "layers/layer.h"

#include "base/text.h"

typedef struct position_embedding_params {
    int64_t sequence_length;
    const dlt_item *initializer;
} position_embedding_params;

static const dlt_field position_embedding_fields[] = {
    DLT_INT(position_embedding_params, sequence_length, 1, INT32_MAX, DLT_REQUIRED,
            "how many positions there may be"),
    DLT_ITEM(position_embedding_params, initializer, "initializer", glorot_uniform,
             "first value of the vectors"),
    {0},
};

static dlt_value *position_embedding_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const position_embedding_params *p = params;
    const dlt_shape x = dlt_shape_of(in);
    const dlt_weight_params weight = {.name = "embeddings", .initializer = p->initializer};
    char text[160];
    if (x.rank < 3) {
        return dlt_reject(b, "PositionEmbedding needs (N, ..., T, D), got %s; put Embedding before it",
                          dlt_shape_text_batch(&x, text, sizeof text));
    }
    const int64_t steps = x.dim[x.rank - 2];
    if (steps > p->sequence_length) {
        return dlt_layer_reject(b, "sequence_length",
                                "PositionEmbedding has %lld positions, but the input %s has %lld steps; "
                                "raise sequence_length to %lld",
                                (long long)p->sequence_length, dlt_shape_text_batch(&x, text, sizeof text),
                                (long long)steps, (long long)steps);
    }
    dlt_value *table = dlt_weight(b, &weight, DLT_SHAPE(p->sequence_length, x.dim[x.rank - 1]));
    return dlt_add(b, dlt_as_real(b, in), dlt_slice(b, table, 0, 0, steps));
}

static const char *const position_embedding_examples[] = {
    "{input: [2, 4, 3], layer: {PositionEmbedding: {sequence_length: 4}}}",
    "{input: [2, 2, 3, 2], layer: {PositionEmbedding: {sequence_length: 7, initializer: zeros}}}",
    "{input: [2, 4, 3], mask: true, layer: {PositionEmbedding: {sequence_length: 5}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_position_embedding = {
    .kind = {.name = "PositionEmbedding",
             .doc = "adds a learned vector for each position",
             .size = sizeof(position_embedding_params),
             .fields = position_embedding_fields},
    .build = position_embedding_build,
    .mask = DLT_MASK_PASS,
    .examples = position_embedding_examples,
};
