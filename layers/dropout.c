/* layers/dropout.c: in training, each value is 0 with probability `rate`, else x / (1 - rate); otherwise y = x.
 * A value stays where u >= rate, u uniform in [0, 1). `noise_shape` broadcasts the draw: [null, 1, null] drops whole columns
 * of (N, T, C); a batch size of 1 in it shares the draw among all samples. */
#include "layers/layer.h"

typedef struct dropout_params {
    double rate;
    dlt_ints noise_shape;
    dlt_opt_int seed;
} dropout_params;

static const dlt_field dropout_fields[] = {
    DLT_FLOAT(dropout_params, rate, 0, 1, DLT_REQUIRED, "part of the values that are dropped"),
    DLT_SHAPE_FIELD(dropout_params, noise_shape, -1, INT32_MAX, DLT_MAX_RANK, "null",
                    "shape of the draw, with the batch; null in it: as the input; null: the input's shape"),
    DLT_OPT_INT(dropout_params, seed, INT64_MIN, INT64_MAX,
                "sets this layer's draws apart; null: its name does"),
    {0},
};

static void dropout_check(const dlt_item *item, dlt_diag *diag)
{
    const dropout_params *p = item->params;
    for (size_t i = 0; i < p->noise_shape.count; i++) {
        if (p->noise_shape.at[i] == 0) {
            dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "noise_shape"),
                     "Dropout: noise_shape has a size of 0; sizes are 1, the input's, or null");
            return;
        }
    }
}

static dlt_value *dropout_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const dropout_params *p = params;
    dlt_shape shape = dlt_shape_of(in);
    const dlt_shape x = shape;
    if (p->noise_shape.count > 0) {
        bool fits = (int)p->noise_shape.count <= x.rank;
        shape.rank = fits ? (int)p->noise_shape.count : 0;
        for (int i = 0; i < shape.rank; i++) {
            const int64_t size = p->noise_shape.at[i], whole = x.dim[x.rank - shape.rank + i];
            shape.dim[i] = size < 0 ? whole : size;
            fits = fits && (shape.dim[i] == 1 || shape.dim[i] == whole);
        }
        if (!fits) {
            char is[160], said[160];
            shape.rank = (int)p->noise_shape.count;
            for (int i = 0; i < shape.rank; i++) {
                shape.dim[i] = p->noise_shape.at[i];
            }
            return dlt_layer_reject(b, "noise_shape",
                                    "Dropout: noise_shape %s does not fit the input %s; each size is 1, "
                                    "the input's, or null",
                                    dlt_shape_text(&shape, said, sizeof said),
                                    dlt_shape_text_batch(&x, is, sizeof is));
        }
    }
    if (dlt_builder_mode(b) != DLT_MODE_TRAIN || p->rate == 0) {
        return in;
    }
    return dlt_dropout(b, dlt_as_real(b, in), p->rate, shape, dlt_layer_draw(b, "mask", p->seed));
}

/* A draw that samples may share is drawn anew for each step of TimeDistributed. */
static bool dropout_joins(const dlt_item *item)
{
    return ((const dropout_params *)item->params)->noise_shape.count > 0;
}

static const char *const dropout_examples[] = {
    "{input: [2, 3, 4], layer: {Dropout: {rate: 0.5}}}",
    "{input: [2, 3], layer: {Dropout: {rate: 0}}}",
    "{input: [2, 3], layer: {Dropout: {rate: 1}}}",
    "{input: [4, 3, 4], layer: {Dropout: {rate: 0.25, noise_shape: [null, 1, null], seed: 7}}}",
    "{input: [4, 3], layer: {Dropout: {rate: 0.25, noise_shape: [1, 3]}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_dropout = {
    .kind = {.name = "Dropout",
             .doc = "drops values at random in training",
             .size = sizeof(dropout_params),
             .fields = dropout_fields,
             .check = dropout_check},
    .build = dropout_build,
    .mask = DLT_MASK_PASS,
    .joins_samples = dropout_joins,
    .examples = dropout_examples,
};
