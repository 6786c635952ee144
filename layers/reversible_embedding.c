/* layers/reversible_embedding.c: an embedding that Reuse with `reverse: true` turns round, for output logits.
 *   forward:   y[n,...,:] = embeddings[x[n,...], :]
 *   reverse:   y[n,...,v] = sum_d x[n,...,d] embeddings[v,d]    (tied), or with reverse_embeddings[d,v];
 *              with logit_soft_cap c:   c tanh(y / c)
 * Input (N, ...) and output (N, ..., output_dim); reversed (N, ..., output_dim) and (N, ..., input_dim), without a mask.
 * Weights: embeddings (input_dim, output_dim); where tie_weights is false, reverse_embeddings (output_dim, input_dim). */
#include "layers/embedding.h"

#include "base/text.h"

static const dlt_field reversible_embedding_fields[] = {
    DLT_EMBEDDING_FIELDS,
    DLT_BOOL(dlt_embedding_params, tie_weights, true, "the way back uses the same weights"),
    DLT_OPT_FLOAT(dlt_embedding_params, logit_soft_cap, 0, INFINITY, DLT_FIELD_OPEN_MIN,
                  "bends logits towards this bound; null: no bound"),
    {0},
};

static dlt_value *reversible_embedding_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const dlt_embedding_params *p = params;
    const dlt_shape x = dlt_shape_of(in);
    const dlt_weight_params back = {.name = "reverse_embeddings", .initializer = p->embeddings.initializer};
    dlt_value *table, *y;
    if (!dlt_layer_called(b).reversed) {
        y = dlt_embedding_build(b, p, in);
        if (!p->tie_weights) { /* stands in the weights file whether or not anything goes back through it */
            dlt_weight(b, &back, DLT_SHAPE(p->output_dim, p->input_dim));
        }
        return y;
    }
    if (x.rank < 2 || (x.dim[x.rank - 1] != p->output_dim && !dlt_uncertain(in, NULL))) {
        char text[160];
        return dlt_reject(b, "the way back through '%s' needs (N, ..., %lld), got %s", dlt_scope_path(b),
                          (long long)p->output_dim, dlt_shape_text_batch(&x, text, sizeof text));
    }
    if (p->tie_weights) {
        table = dlt_weight(b, &p->embeddings, DLT_SHAPE(p->input_dim, p->output_dim));
        y = dlt_matmul(b, dlt_as_real(b, in), table, false, true);
    } else {
        table = dlt_weight(b, &back, DLT_SHAPE(p->output_dim, p->input_dim));
        y = dlt_matmul(b, dlt_as_real(b, in), table, false, false);
    }
    if (p->logit_soft_cap.set) {
        y = dlt_mul_c(b, dlt_tanh(b, dlt_div_c(b, y, p->logit_soft_cap.value)), p->logit_soft_cap.value);
    }
    return y;
}

static const char *const reversible_embedding_examples[] = {
    "{input: [2, 3], dtype: int32, high: 6, layer: {ReversibleEmbedding: {input_dim: 6, output_dim: 3}}}",
    "{input: [2, 3], dtype: int32, high: 6, layer: {ReversibleEmbedding: {input_dim: 6, output_dim: 3, tie_weights: false, "
    "mask_zero: true}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_reversible_embedding = {
    .kind = {.name = "ReversibleEmbedding",
             .doc = "an embedding that also gives output logits (Reuse with reverse: true)",
             .size = sizeof(dlt_embedding_params),
             .fields = reversible_embedding_fields},
    .build = reversible_embedding_build,
    .mask = DLT_MASK_DROP,
    .reversible = true,
    .examples = reversible_embedding_examples,
};
