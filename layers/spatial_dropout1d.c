/* layers/spatial_dropout1d.c: in training, whole channels of (N, T, C) are 0 with probability `rate`, the others are
 * divided by 1 - rate; otherwise y = x. */
#include "layers/layer.h"

#include "base/text.h"

typedef struct spatial_dropout1d_params {
    double rate;
    dlt_opt_int seed;
} spatial_dropout1d_params;

static const dlt_field spatial_dropout1d_fields[] = {
    DLT_FLOAT(spatial_dropout1d_params, rate, 0, 1, DLT_REQUIRED, "part of the channels that are dropped"),
    DLT_OPT_INT(spatial_dropout1d_params, seed, INT64_MIN, INT64_MAX,
                "sets this layer's draws apart; null: its name does"),
    {0},
};

static dlt_value *spatial_dropout1d_build(dlt_builder *b, const void *params, dlt_value *in)
{
    const spatial_dropout1d_params *p = params;
    const dlt_shape x = dlt_shape_of(in);
    char text[160];
    if (x.rank != 3) {
        return dlt_reject(b, "SpatialDropout1D needs (N, T, C), got %s",
                          dlt_shape_text_batch(&x, text, sizeof text));
    }
    if (dlt_builder_mode(b) != DLT_MODE_TRAIN || p->rate == 0) {
        return in;
    }
    const dlt_shape shape = DLT_SHAPE(x.dim[0], 1, x.dim[2]);
    return dlt_dropout(b, dlt_as_real(b, in), p->rate, shape, dlt_layer_draw(b, "mask", p->seed));
}

static const char *const spatial_dropout1d_examples[] = {
    "{input: [2, 4, 3], layer: {SpatialDropout1D: {rate: 0.5}}}",
    NULL,
};

const dlt_layer_desc dlt_layer_spatial_dropout1d = {
    .kind = {.name = "SpatialDropout1D",
             .doc = "drops whole channels at random in training",
             .size = sizeof(spatial_dropout1d_params),
             .fields = spatial_dropout1d_fields},
    .build = spatial_dropout1d_build,
    .mask = DLT_MASK_PASS,
    .examples = spatial_dropout1d_examples,
};
