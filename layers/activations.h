/* layers/activations.h: activation functions that layers of their own use. */
#ifndef DLT_LAYERS_ACTIVATIONS_H
#define DLT_LAYERS_ACTIVATIONS_H

#include "layers/layer.h"

/** Parameters of relu; the layer ReLU has them too. */
typedef struct dlt_relu_params {
    double negative_slope, threshold;
    dlt_opt_float max_value;
} dlt_relu_params;
#define DLT_RELU_FIELDS                                                                                      \
    DLT_FLOAT(dlt_relu_params, negative_slope, 0, INFINITY, 0, "slope below the threshold"),                 \
        DLT_OPT_FLOAT(dlt_relu_params, max_value, 0, INFINITY, 0, "the largest value; null: none"),          \
        DLT_FLOAT(dlt_relu_params, threshold, -INFINITY, INFINITY, 0, "at and below it the input is damped")

/** max where x >= max; x where threshold < x; slope (x - threshold) elsewhere. */
dlt_value *dlt_relu_of(dlt_builder *b, dlt_value *x, const dlt_relu_params *params);
/** x, or slope x below 0. */
dlt_value *dlt_leaky_relu(dlt_builder *b, dlt_value *x, double slope);
/** x, or alpha (e^x - 1) below 0. */
dlt_value *dlt_elu(dlt_builder *b, dlt_value *x, double alpha);

#endif
