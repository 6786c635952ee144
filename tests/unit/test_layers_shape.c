/* tests/unit/test_layers_shape.c: output shapes, weights and masks of each layer, and what is said of mistakes. */
#include "support/layer_model.h"
#include "support/support.h"

#include <stdio.h>
#include <string.h>

/* ---- shapes and weights ---- */

typedef struct shape_case {
    const char *layers;
    dlt_shape in;
    const char *out;     /* shape */
    const char *weights; /* as dlt_layer_model_weights writes them; NULL: not looked at */
    dlt_dtype type;
} shape_case;

/* A shape that may stand in a static table. */
#define IN(...)                                                                                              \
    {                                                                                                        \
        .rank = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .dim = { __VA_ARGS__ }            \
    }
#define ROW(layers_, in_, out_, ...)                                                                         \
    {                                                                                                        \
        .layers = layers_, .in = in_, .out = out_, .weights = __VA_ARGS__                                    \
    }
#define IDS .type = DLT_I32

static const shape_case shapes[] = {
    ROW("[{Dense: {units: 4}}]", IN(2, 3), "(2, 4)",
        "layers/dense 0 dense/kernel (3, 4)\nlayers/dense 1 dense/bias (4,)\n"),
    ROW("[{Dense: {units: 4, use_bias: false, name: a, trainable: false}}]", IN(2, 7, 5, 3), "(2, 7, 5, 4)",
        "layers/dense 0 a/kernel (3, 4) frozen\n"),
    ROW("[{Dense: {units: 4}}, {Activation: {activation: relu}}, {Dense: {units: 5, name: z}}, {Dense: {units: 6}}]",
        IN(2, 3), "(2, 6)",
        "layers/dense 0 dense/kernel (3, 4)\nlayers/dense 1 dense/bias (4,)\n"
        "layers/dense_1 0 z/kernel (4, 5)\nlayers/dense_1 1 z/bias (5,)\n"
        "layers/dense_2 0 dense_2/kernel (5, 6)\nlayers/dense_2 1 dense_2/bias (6,)\n"),
    ROW("[{Dense: {units: 2}}, {Dense: {units: 2, name: dense}}]", IN(2, 3), "(2, 2)",
        "layers/dense 0 dense_/kernel (3, 2)\nlayers/dense 1 dense_/bias (2,)\n"
        "layers/dense_1 0 dense/kernel (2, 2)\nlayers/dense_1 1 dense/bias (2,)\n"),
    ROW("[{Activation: glu}]", IN(2, 6), "(2, 3)", ""),
    ROW("[Flatten]", IN(2, 3, 4), "(2, 12)", ""),
    ROW("[Flatten]", IN(2), "(2, 1)", ""),
    ROW("[{Reshape: {target_shape: [3, -1]}}]", IN(2, 2, 6), "(2, 3, 4)", ""),
    ROW("[{Input: {shape: [28, 28, 1]}}]", IN(2, 28, 28), "(2, 28, 28, 1)", ""),
    ROW("[{Input: {shape: [28, null]}}]", IN(2, 28, 28, 1), "(2, 28, 28)", ""),
    ROW("[{Dropout: {rate: 0.5}}]", IN(2, 3), "(2, 3)", ""),
    ROW("[{Conv2D: {filters: 4, kernel_size: 3}}]", IN(2, 8, 9, 3), "(2, 6, 7, 4)",
        "layers/conv2d 0 conv2d/kernel (3, 3, 3, 4)\nlayers/conv2d 1 conv2d/bias (4,)\n"),
    ROW("[{Conv2D: {filters: 4, kernel_size: [3, 5], strides: [2, 1], padding: same, groups: 2}}]",
        IN(2, 9, 9, 6), "(2, 5, 9, 4)",
        "layers/conv2d 0 conv2d/kernel (3, 5, 3, 4)\nlayers/conv2d 1 conv2d/bias (4,)\n"),
    ROW("[{Conv2D: {filters: 4, kernel_size: 3, dilation_rate: 2, use_bias: false}}]", IN(2, 9, 9, 1),
        "(2, 5, 5, 4)", "layers/conv2d 0 conv2d/kernel (3, 3, 1, 4)\n"),
    ROW("[{Conv2D: {filters: 4, kernel_size: 3, data_format: channels_first}}]", IN(2, 3, 8, 9),
        "(2, 4, 6, 7)", "layers/conv2d 0 conv2d/kernel (3, 3, 3, 4)\nlayers/conv2d 1 conv2d/bias (4,)\n"),
    ROW("[MaxPooling2D]", IN(2, 5, 7, 3), "(2, 2, 3, 3)", ""),
    ROW("[{MaxPooling2D: {pool_size: [2, 3], strides: 1, padding: same}}]", IN(2, 5, 7, 3), "(2, 5, 7, 3)",
        ""),
    ROW("[{AveragePooling2D: {pool_size: 2, padding: same}}]", IN(2, 5, 7, 3), "(2, 3, 4, 3)", ""),
    ROW("[GlobalAveragePooling2D]", IN(2, 5, 7, 3), "(2, 3)", ""),
    ROW("[{GlobalAveragePooling2D: {keepdims: true, data_format: channels_first}}]", IN(2, 5, 7, 3),
        "(2, 5, 1, 1)", ""),
    ROW("[BatchNormalization]", IN(2, 5, 3), "(2, 5, 3)",
        "layers/batch_normalization 0 batch_normalization/gamma (3,)\nlayers/batch_normalization 1 batch_normalization/beta (3,)\n"
        "layers/batch_normalization 2 batch_normalization/moving_mean (3,) fixed\n"
        "layers/batch_normalization 3 batch_normalization/moving_variance (3,) fixed\n"),
    ROW("[{BatchNormalization: {scale: false, axis: 1}}]", IN(2, 5, 3), "(2, 5, 3)",
        "layers/batch_normalization 0 batch_normalization/beta (5,)\n"
        "layers/batch_normalization 1 batch_normalization/moving_mean (5,) fixed\n"
        "layers/batch_normalization 2 batch_normalization/moving_variance (5,) fixed\n"),
    ROW("[LayerNormalization]", IN(2, 5, 3), "(2, 5, 3)",
        "layers/layer_normalization 0 layer_normalization/gamma (3,)\nlayers/layer_normalization 1 layer_normalization/beta (3,)\n"),
    ROW("[{LayerNormalization: {axis: [3, 1], center: false}}]", IN(2, 5, 3, 4), "(2, 5, 3, 4)",
        "layers/layer_normalization 0 layer_normalization/gamma (5, 4)\n"),
    ROW("[{Embedding: {input_dim: 7, output_dim: 3}}]", IN(2, 5), "(2, 5, 3)",
        "layers/embedding 0 embedding/embeddings (7, 3)\n", IDS),
    ROW("[{ReversibleEmbedding: {input_dim: 7, output_dim: 3, tie_weights: false, name: e}}, {Dense: {units: 3, use_bias: false}},"
        " {Reuse: {layer: e, reverse: true}}]",
        IN(2, 5), "(2, 5, 7)",
        "layers/reversible_embedding 0 e/embeddings (7, 3)\nlayers/reversible_embedding 1 e/reverse_embeddings (3, 7)\n"
        "layers/dense 0 dense/kernel (3, 3)\n",
        IDS),
    ROW("[{PositionEmbedding: {sequence_length: 9}}]", IN(2, 5, 3), "(2, 5, 3)",
        "layers/position_embedding 0 position_embedding/embeddings (9, 3)\n"),
    ROW("[{LSTM: {units: 4}}]", IN(2, 5, 3), "(2, 4)",
        "layers/lstm/cell 0 lstm/lstm_cell/kernel (3, 16)\nlayers/lstm/cell 1 lstm/lstm_cell/recurrent_kernel (4, 16)\n"
        "layers/lstm/cell 2 lstm/lstm_cell/bias (16,) ones 4+4\n"),
    ROW("[{LSTM: {units: 4, return_sequences: true, unit_forget_bias: false}}]", IN(2, 5, 3), "(2, 5, 4)",
        "layers/lstm/cell 0 lstm/lstm_cell/kernel (3, 16)\nlayers/lstm/cell 1 lstm/lstm_cell/recurrent_kernel (4, 16)\n"
        "layers/lstm/cell 2 lstm/lstm_cell/bias (16,)\n"),
    ROW("[{GRU: {units: 4}}]", IN(2, 5, 3), "(2, 4)",
        "layers/gru/cell 0 gru/gru_cell/kernel (3, 12)\nlayers/gru/cell 1 gru/gru_cell/recurrent_kernel (4, 12)\n"
        "layers/gru/cell 2 gru/gru_cell/bias (2, 12)\n"),
    ROW("[{GRU: {units: 4, reset_after: false, go_backwards: true}}]", IN(2, 5, 3), "(2, 4)",
        "layers/gru/cell 0 gru/gru_cell/kernel (3, 12)\nlayers/gru/cell 1 gru/gru_cell/recurrent_kernel (4, 12)\n"
        "layers/gru/cell 2 gru/gru_cell/bias (12,)\n"),
    ROW("[{SimpleRNN: {units: 4, use_bias: false}}]", IN(2, 5, 3), "(2, 4)",
        "layers/simple_rnn/cell 0 simple_rnn/simple_rnn_cell/kernel (3, 4)\n"
        "layers/simple_rnn/cell 1 simple_rnn/simple_rnn_cell/recurrent_kernel (4, 4)\n"),
    ROW("[{Bidirectional: {layer: {SimpleRNN: {units: 4, use_bias: false, return_sequences: true}}}}]",
        IN(2, 5, 3), "(2, 5, 8)",
        "layers/bidirectional/forward_layer/cell 0 bidirectional/forward_simple_rnn/simple_rnn_cell/kernel (3, 4)\n"
        "layers/bidirectional/forward_layer/cell 1 bidirectional/forward_simple_rnn/simple_rnn_cell/recurrent_kernel (4, 4)\n"
        "layers/bidirectional/backward_layer/cell 0 bidirectional/backward_simple_rnn/simple_rnn_cell/kernel (3, 4)\n"
        "layers/bidirectional/backward_layer/cell 1 bidirectional/backward_simple_rnn/simple_rnn_cell/recurrent_kernel (4, 4)\n"),
    ROW("[{Bidirectional: {merge_mode: ave, layer: {GRU: {units: 4, name: up}},"
        " backward_layer: {SimpleRNN: {units: 4, go_backwards: true, name: down}}}}]",
        IN(2, 5, 3), "(2, 4)",
        "layers/bidirectional/forward_layer/cell 0 bidirectional/forward_up/gru_cell/kernel (3, 12)\n"
        "layers/bidirectional/forward_layer/cell 1 bidirectional/forward_up/gru_cell/recurrent_kernel (4, 12)\n"
        "layers/bidirectional/forward_layer/cell 2 bidirectional/forward_up/gru_cell/bias (2, 12)\n"
        "layers/bidirectional/backward_layer/cell 0 bidirectional/down/simple_rnn_cell/kernel (3, 4)\n"
        "layers/bidirectional/backward_layer/cell 1 bidirectional/down/simple_rnn_cell/recurrent_kernel (4, 4)\n"
        "layers/bidirectional/backward_layer/cell 2 bidirectional/down/simple_rnn_cell/bias (4,)\n"),
    ROW("[{TimeDistributed: {layer: {Conv2D: {filters: 2, kernel_size: 3}}}}]", IN(2, 5, 6, 7, 3),
        "(2, 5, 4, 5, 2)",
        "layers/time_distributed/layer 0 time_distributed/conv2d/kernel (3, 3, 3, 2)\n"
        "layers/time_distributed/layer 1 time_distributed/conv2d/bias (2,)\n"),
    ROW("[{TimeDistributed: {layer: {BatchNormalization: {center: false}}}}]", IN(2, 5, 3), "(2, 5, 3)",
        "layers/time_distributed/layer 0 time_distributed/batch_normalization/gamma (3,)\n"
        "layers/time_distributed/layer 1 time_distributed/batch_normalization/moving_mean (3,) fixed\n"
        "layers/time_distributed/layer 2 time_distributed/batch_normalization/moving_variance (3,) fixed\n"),
    ROW("[{MultiHeadAttention: {num_heads: 2, key_dim: 3, value_dim: 4}}]", IN(2, 5, 6), "(2, 5, 6)",
        "layers/multi_head_attention/query_dense 0 multi_head_attention/query/kernel (6, 2, 3) fans 6 6\n"
        "layers/multi_head_attention/query_dense 1 multi_head_attention/query/bias (2, 3)\n"
        "layers/multi_head_attention/key_dense 0 multi_head_attention/key/kernel (6, 2, 3) fans 6 6\n"
        "layers/multi_head_attention/key_dense 1 multi_head_attention/key/bias (2, 3)\n"
        "layers/multi_head_attention/value_dense 0 multi_head_attention/value/kernel (6, 2, 4) fans 6 8\n"
        "layers/multi_head_attention/value_dense 1 multi_head_attention/value/bias (2, 4)\n"
        "layers/multi_head_attention/output_dense 0 multi_head_attention/attention_output/kernel (2, 4, 6) fans 8 6\n"
        "layers/multi_head_attention/output_dense 1 multi_head_attention/attention_output/bias (6,)\n"),
    ROW("[{MultiHeadAttention: {num_heads: 2, key_dim: 3, output_shape: [2, 5], use_bias: false}}]",
        IN(2, 5, 6), "(2, 5, 2, 5)",
        "layers/multi_head_attention/query_dense 0 multi_head_attention/query/kernel (6, 2, 3) fans 6 6\n"
        "layers/multi_head_attention/key_dense 0 multi_head_attention/key/kernel (6, 2, 3) fans 6 6\n"
        "layers/multi_head_attention/value_dense 0 multi_head_attention/value/kernel (6, 2, 3) fans 6 6\n"
        "layers/multi_head_attention/output_dense 0 multi_head_attention/attention_output/kernel (2, 3, 2, 5) fans 6 10\n"),
    ROW("[{Rescaling: {scale: 1/255}}]", IN(2, 5), "(2, 5)", "", IDS),
    ROW("[Normalization]", IN(2, 5, 3), "(2, 5, 3)",
        "layers/normalization 0 normalization/mean (3,) fixed\nlayers/normalization 1 normalization/variance (3,) fixed\n"
        "layers/normalization 2 normalization/count () fixed\n"),
    ROW("[{Normalization: {axis: [1, 2]}}]", IN(2, 5, 3), "(2, 5, 3)",
        "layers/normalization 0 normalization/mean (5, 3) fixed\nlayers/normalization 1 normalization/variance (5, 3) fixed\n"
        "layers/normalization 2 normalization/count () fixed\n"),
    ROW("[{Normalization: {axis: null}}]", IN(2, 5, 3), "(2, 5, 3)",
        "layers/normalization 0 normalization/mean () fixed\nlayers/normalization 1 normalization/variance () fixed\n"
        "layers/normalization 2 normalization/count () fixed\n"),
    ROW("[{Normalization: {mean: [1, 2, 3], variance: [1, 1, 1]}}]", IN(2, 5, 3), "(2, 5, 3)", ""),
    ROW("[{ActivityRegularization: {l2: 0.1}}]", IN(2, 3), "(2, 3)", ""),
    ROW("[{Sequential: {layers: [{Dense: {units: 3, use_bias: false}}, {Sequential: {layers: [{Dense: {units: 2, use_bias: false}}]}}],"
        " trainable: false}}]",
        IN(2, 4), "(2, 2)",
        "layers/sequential/layers/dense 0 sequential/dense/kernel (4, 3) frozen\n"
        "layers/sequential/layers/sequential/layers/dense 0 sequential/sequential/dense/kernel (3, 2) frozen\n"),
    ROW("[{Residual: {layers: [{Dense: {units: 5, use_bias: false}}, {Dense: {units: 3, use_bias: false}}],"
        " shortcut: [{Dense: {units: 3, use_bias: false}}]}}]",
        IN(2, 4), "(2, 3)",
        "layers/residual/main/layers/dense 0 residual/main/dense/kernel (4, 5)\n"
        "layers/residual/main/layers/dense_1 0 residual/main/dense_1/kernel (5, 3)\n"
        "layers/residual/shortcut/layers/dense 0 residual/shortcut/dense/kernel (4, 3)\n"),
    ROW("[{Parallel: {branches: [[], [{Dense: {units: 3, use_bias: false}}], [{Dense: {units: 2, use_bias: false}}]]}}]",
        IN(2, 4), "(2, 9)",
        "layers/parallel/branches/sequential_1/layers/dense 0 parallel/branches/sequential_1/dense/kernel (4, 3)\n"
        "layers/parallel/branches/sequential_2/layers/dense 0 parallel/branches/sequential_2/dense/kernel (4, 2)\n"),
    ROW("[{Repeat: {times: 3, layers: [{Dense: {units: 5, use_bias: false}}]}}]", IN(2, 4), "(2, 5)",
        "layers/repeat/blocks/sequential/layers/dense 0 repeat/0/dense/kernel (4, 5)\n"
        "layers/repeat/blocks/sequential_1/layers/dense 0 repeat/1/dense/kernel (5, 5)\n"
        "layers/repeat/blocks/sequential_2/layers/dense 0 repeat/2/dense/kernel (5, 5)\n"),
    ROW("[{Dense: {units: 4, use_bias: false, name: a}}, {Repeat: {times: 2, layers: [{Dense: {units: 4, use_bias: false}}, {Reuse: {layer: a}}]}}]",
        IN(2, 4), "(2, 4)",
        "layers/dense 0 a/kernel (4, 4)\n"
        "layers/repeat/blocks/sequential/layers/dense 0 repeat/0/dense/kernel (4, 4)\n"
        "layers/repeat/blocks/sequential_1/layers/dense 0 repeat/1/dense/kernel (4, 4)\n"),
    ROW("[{Dense: {units: 4, use_bias: false, name: a}}, {Sequential: {layers: [{Dense: {units: 4, use_bias: false, name: a}}, {Reuse: a}]}}, {Reuse: a}]",
        IN(2, 4), "(2, 4)",
        "layers/dense 0 a/kernel (4, 4)\nlayers/sequential/layers/dense 0 sequential/a/kernel (4, 4)\n"),
    ROW("[{Conv1D: {filters: 4, kernel_size: 3, padding: causal}}]", IN(2, 8, 3), "(2, 8, 4)",
        "layers/conv1d 0 conv1d/kernel (3, 3, 4)\nlayers/conv1d 1 conv1d/bias (4,)\n"),
    ROW("[{DepthwiseConv2D: {kernel_size: [3, 2], depth_multiplier: 2}}]", IN(2, 8, 9, 3), "(2, 6, 8, 6)",
        "layers/depthwise_conv2d 0 depthwise_conv2d/kernel (3, 2, 3, 2)\nlayers/depthwise_conv2d 1 depthwise_conv2d/bias (6,)\n"),
    ROW("[{MaxPooling1D: {padding: same}}]", IN(2, 5, 3), "(2, 3, 3)", ""),
    ROW("[{AveragePooling1D: {pool_size: 2, data_format: channels_first}}]", IN(2, 3, 5), "(2, 3, 2)", ""),
    ROW("[GlobalMaxPooling1D]", IN(2, 5, 3), "(2, 3)", ""),
    ROW("[{GlobalAveragePooling1D: {keepdims: true}}]", IN(2, 5, 3), "(2, 1, 3)", ""),
    ROW("[GlobalMaxPooling2D]", IN(2, 5, 7, 3), "(2, 3)", ""),
    ROW("[{Permute: {dims: [3, 1, 2]}}]", IN(2, 3, 4, 5), "(2, 5, 3, 4)", ""),
    ROW("[{RepeatVector: {n: 4}}]", IN(2, 3), "(2, 4, 3)", ""),
    ROW("[{ZeroPadding2D: {padding: [1, 2, 3, 4]}}]", IN(2, 5, 6, 3), "(2, 8, 13, 3)", ""),
    ROW("[RandomFlip, {RandomTranslation: {height_factor: 0.1, width_factor: 0.1}}, {RandomRotation: {factor: 0.1}}, {RandomZoom: "
        "{height_factor: 0.1}}]",
        IN(2, 5, 6, 3), "(2, 5, 6, 3)", ""),
    ROW("[{RandomCrop: {height: 3, width: 2}}]", IN(2, 5, 6, 3), "(2, 3, 2, 3)", ""),
    ROW("[{RandomCrop: {height: 3, width: 2, data_format: channels_first}}]", IN(2, 3, 5, 6), "(2, 3, 3, 2)", ""),
    ROW("[{CenterCrop: {height: 9, width: 2}}]", IN(2, 5, 6, 3), "(2, 9, 2, 3)", ""),
    ROW("[{Resizing: {height: 9, width: 2}}]", IN(2, 5, 6, 3), "(2, 9, 2, 3)", ""),
    ROW("[Masking]", IN(2, 5, 3), "(2, 5, 3)", ""),
    ROW("[ReLU, LeakyReLU, ELU, Softmax]", IN(2, 5), "(2, 5)", ""),
    ROW("[{PReLU: {shared_axes: [1, 2]}}]", IN(2, 5, 6, 3), "(2, 5, 6, 3)",
        "layers/p_re_lu 0 p_re_lu/alpha (1, 1, 3)\n"),
    ROW("[{GaussianNoise: {stddev: 0.5}}]", IN(2, 5), "(2, 5)", ""),
    ROW("[{SpatialDropout1D: {rate: 0.5}}]", IN(2, 5, 3), "(2, 5, 3)", ""),
    ROW("[{SpatialDropout2D: {rate: 0.5}}]", IN(2, 5, 6, 3), "(2, 5, 6, 3)", ""),
};

static void shapes_and_weights_are_those_of_keras(void **state)
{
    (void)state;
    for (size_t i = 0; i < DLT_COUNT(shapes); i++) {
        const shape_case *c = &shapes[i];
        dlt_layer_model *m = dlt_layer_model_open();
        const dlt_layer_input_spec input = {.shape = c->in, .type = c->type};
        const dlt_value *out = dlt_layer_model_make(m, c->layers, &input);
        if (out == NULL || strcmp(dlt_layer_model_shape(m, out), c->out) != 0) {
            fail_msg("%s: gives %s, not %s: %s", c->layers, dlt_layer_model_shape(m, out), c->out,
                     dlt_layer_model_error(m));
        }
        if (c->weights != NULL && strcmp(dlt_layer_model_weights(m), c->weights) != 0) {
            fail_msg("%s: has the weights\n%snot\n%s", c->layers, dlt_layer_model_weights(m), c->weights);
        }
        dlt_layer_model_close(m);
    }
}

/* ---- masks: keras-layers.md 14 ---- */

static void a_layer_does_to_masks_what_keras_says(void **state)
{
    static const struct {
        dlt_mask_rule rule;
        const char *names;
    } table[] = {
        {DLT_MASK_PASS,
         "Activation ActivityRegularization BatchNormalization Dense Dropout ELU GaussianNoise Input "
         "LayerNormalization LeakyReLU MultiHeadAttention Normalization PReLU PositionEmbedding ReLU Rescaling "
         "Softmax SpatialDropout1D SpatialDropout2D TimeDistributed"},
        {DLT_MASK_USE, "Bidirectional GRU LSTM Masking Parallel Repeat Residual Reuse Sequential SimpleRNN"},
        {DLT_MASK_DROP,
         "AveragePooling1D AveragePooling2D CenterCrop Conv1D Conv2D DepthwiseConv2D Embedding Flatten "
         "GlobalAveragePooling2D GlobalMaxPooling1D GlobalMaxPooling2D MaxPooling1D MaxPooling2D Permute "
         "RandomCrop RandomFlip RandomRotation RandomTranslation RandomZoom RepeatVector Reshape Resizing "
         "ReversibleEmbedding ZeroPadding2D"},
        {DLT_MASK_END, "FeatureSpace GlobalAveragePooling1D"},
    };
    (void)state;
    for (size_t i = 0; i < DLT_COUNT(table); i++) {
        for (const char *at = table[i].names; *at != '\0';) {
            const size_t length = strcspn(at, " ");
            const dlt_layer_desc *found = NULL;
            for (size_t k = 0; dlt_layers[k] != NULL; k++) {
                const char *name = dlt_layers[k]->kind.name;
                found = strlen(name) == length && strncmp(name, at, length) == 0 ? dlt_layers[k] : found;
            }
            if (found == NULL || found->mask != table[i].rule) {
                fail_msg("%.*s: its mask rule is not %d", (int)length, at, (int)table[i].rule);
            }
            at += length;
            at += *at == ' ';
        }
    }
}

#define TOKENS "{Embedding: {input_dim: 7, output_dim: 4, mask_zero: true}}"
#define DROPS "{Dense: {units: 2}}, {Reshape: {target_shape: [3, -1]}}, {Reshape: {target_shape: [6, 2]}}"
#define KEEPS "{Dense: {units: 2}}"

static const struct {
    const char *layers;
    const char *mask; /* its shape, or "none" */
    bool lost;        /* a warning says so */
} masks[] = {
    {"[" TOKENS "]", "(4, 6)", false},
    {"[{Embedding: {input_dim: 7, output_dim: 4}}]", "none", false},
    {"[" TOKENS
     ", {Dense: {units: 3}}, {Activation: relu}, {Dropout: {rate: 0.5}}, BatchNormalization, LayerNormalization]",
     "(4, 6)", false},
    {"[" TOKENS ", {Rescaling: {scale: 2}}, {PositionEmbedding: {sequence_length: 9}}]", "(4, 6)", false},
    {"[" TOKENS ", {MultiHeadAttention: {num_heads: 2, key_dim: 2}}]", "(4, 6)", false},
    {"[" TOKENS ", {LSTM: {units: 2, return_sequences: true, go_backwards: true}}]", "(4, 6)", false},
    {"[" TOKENS ", {LSTM: {units: 2}}]", "none", false},
    {"[" TOKENS ", {Bidirectional: {layer: {GRU: {units: 2, return_sequences: true}}}}]", "(4, 6)", false},
    {"[" TOKENS ", {Bidirectional: {layer: {GRU: {units: 2}}}}]", "none", false},
    {"[" TOKENS ", {TimeDistributed: {layer: {Dense: {units: 2}}}}]", "(4, 6)", false},
    {"[" TOKENS ", {TimeDistributed: {layer: {Reshape: {target_shape: [2, 2]}}}}]", "(4, 6)", false},
    {"[" TOKENS ", Flatten]", "none", true},
    {"[" TOKENS ", {Reshape: {target_shape: [6, 2, 2]}}]", "none", true},
    {"[" TOKENS ", {Reshape: {target_shape: [6, 4]}}]", "(4, 6)", false}, /* the same tensor, as on JAX */
    {"[" TOKENS
     ", {Sequential: {layers: [{Dense: {units: 3}}, {LSTM: {units: 2, return_sequences: true}}]}}]",
     "(4, 6)", false},
    {"[{Sequential: {layers: [" TOKENS ", {Dense: {units: 3}}]}}]", "(4, 6)", false},
    {"[" TOKENS ", {Residual: {layers: [{Dense: {units: 4}}]}}]", "(4, 6)", false},
    {"[" TOKENS ", {Residual: {layers: [" DROPS "], shortcut: [" KEEPS "]}}]", "none", true},
    {"[" TOKENS ", {Parallel: {branches: [[" KEEPS "], [" KEEPS "]]}}]", "(4, 6)", false},
    {"[" TOKENS ", {Parallel: {branches: [[" KEEPS "], [" DROPS "]]}}]", "(4, 6)", true},
    {"[" TOKENS ", {Parallel: {branches: [[" DROPS "], [" DROPS "]]}}]", "none", true},
    {"[" TOKENS ", {Parallel: {branches: [[" KEEPS "], [" DROPS "]], merge: add}}]", "none", true},
    {"[" TOKENS ", {Parallel: {branches: [[" KEEPS "], [" KEEPS "]], merge: maximum}}]", "(4, 6)", false},
    {"[" TOKENS ", {Parallel: {branches: [[], [" KEEPS "]]}}]", "(4, 6)", false},
    {"[" TOKENS ", {Repeat: {times: 2, layers: [{LSTM: {units: 2, return_sequences: true}}]}}]", "(4, 6)",
     false},
    {"[" TOKENS ", {Dense: {units: 4, name: a}}, {Reuse: a}]", "(4, 6)", false},
    {"[{ReversibleEmbedding: {input_dim: 7, output_dim: 4, mask_zero: true, name: t}}, {Reuse: {layer: t, reverse: true}}]",
     "none", true},
    {"[" TOKENS ", Masking]", "(4, 6)", false},
    {"[" TOKENS ", {SpatialDropout1D: {rate: 0.5}}, ReLU, PReLU]", "(4, 6)", false},
    {"[" TOKENS ", GlobalAveragePooling1D]", "none", false},
    {"[" TOKENS ", GlobalMaxPooling1D]", "none", true},
};

static void masks_travel_through_chains_as_in_keras(void **state)
{
    const dlt_layer_input_spec input = {.shape = DLT_SHAPE(4, 6), .type = DLT_I32};
    (void)state;
    for (size_t i = 0; i < DLT_COUNT(masks); i++) {
        dlt_layer_model *m = dlt_layer_model_open();
        const dlt_value *out = dlt_layer_model_make(m, masks[i].layers, &input);
        if (out == NULL) {
            fail_msg("%s: %s", masks[i].layers, dlt_layer_model_error(m));
            return;
        }
        if (strcmp(dlt_layer_model_shape(m, out->mask), masks[i].mask) != 0) {
            fail_msg("%s: the mask is %s, not %s", masks[i].layers, dlt_layer_model_shape(m, out->mask),
                     masks[i].mask);
        }
        const bool lost = dlt_diag_count(m->diag, DLT_WARNING) > 0;
        if (lost != masks[i].lost || (lost && strstr(dlt_layer_model_error(m), "drops the mask") == NULL)) {
            fail_msg("%s: warned '%s'", masks[i].layers, dlt_layer_model_error(m));
        }
        dlt_layer_model_close(m);
    }
}

/* ---- mistakes ---- */

#define MISTAKE(layers_, in_, ...)                                                                           \
    {                                                                                                        \
        .layers = layers_, .in = in_, .error = __VA_ARGS__                                                   \
    }
static const struct {
    const char *layers;
    dlt_shape in;
    const char *error; /* places count in "layers: LIST" */
    bool ids, mask;
} mistakes[] = {
    MISTAKE("[{Dense: {units: 4}}]", IN(3),
            "test.yaml:1:11: Dense needs (N, ..., C), got rank 1; put Flatten before it"),
    MISTAKE("[{Activation: {softmax: {axis: 2}}}]", IN(2, 3), NULL),
    MISTAKE(
        "[{Activation: {activation: {softmax: {axis: 0}}}}]", IN(2, 3),
        "test.yaml:1:11: softmax cannot work along axis 0 of (None, 3); an axis of 1 to 1, or -1 for the last, is needed"),
    MISTAKE("[{Dense: {units: 3, activation: glu}}]", IN(2, 3),
            "test.yaml:1:11: glu needs an axis of even size to halve; axis 1 of (None, 3) has 3"),
    MISTAKE(
        "[{Activation: {activation: threshold}}]", IN(2, 3),
        "test.yaml:1:36: threshold needs parameters; write threshold: {threshold: 10, default_value: 10}"),
    MISTAKE(
        "[Flatten, {Input: {shape: [6]}}]", IN(2, 3, 2),
        "test.yaml:1:20: Input must be the first layer; remove it here, the layer before it gives the shape"),
    MISTAKE(
        "[{Input: {shape: [28, 28, 3]}}]", IN(2, 28, 28),
        "test.yaml:1:26: Input says (28, 28, 3), but one sample of the data has shape (28, 28); correct the shape, or leave Input "
        "out"),
    MISTAKE("[{Reshape: {target_shape: [4, -1]}}]", IN(2, 3, 5),
            "test.yaml:1:35: Reshape cannot make (4, -1) of (None, 3, 5): a sample has 15 values"),
    MISTAKE("[{Reshape: {target_shape: [-1, -1]}}]", IN(2, 3),
            "test.yaml:1:35: Reshape: only one size can be -1, found 2; write the others as numbers"),
    MISTAKE(
        "[{Reshape: {target_shape: [2000000000, 2000000000, 2000000000]}}]", IN(2, 3),
        "test.yaml:1:35: Reshape cannot make (2000000000, 2000000000, 2000000000) of (None, 3): a sample has 3 values"),
    MISTAKE(
        "[{Dropout: {rate: 0.5, noise_shape: [null, 4]}}]", IN(2, 3),
        "test.yaml:1:45: Dropout: noise_shape (-1, 4) does not fit the input (None, 3); each size is 1, the input's, or null"),
    MISTAKE(
        "[{Conv2D: {filters: 4, kernel_size: 3}}]", IN(2, 28, 28),
        "test.yaml:1:11: Conv2D needs (N, H, W, C), got (None, 28, 28); if the axis of the channels is missing, put Reshape before it"),
    MISTAKE(
        "[{Conv2D: {filters: 4, kernel_size: 5, dilation_rate: 2}}]", IN(2, 8, 12, 1),
        "test.yaml:1:11: Conv2D: the window covers 9 x 9, more than the input of 8 x 12; use padding: same or a smaller window"),
    MISTAKE(
        "[{Conv2D: {filters: 4, kernel_size: 3, strides: 2, dilation_rate: 2}}]", IN(2, 8, 8, 1),
        "test.yaml:1:75: Conv2D: strides and dilation_rate cannot both be above 1; leave one of them at 1"),
    MISTAKE(
        "[{Conv2D: {filters: 4, kernel_size: 3, groups: 3}}]", IN(2, 8, 8, 3),
        "test.yaml:1:56: Conv2D: 4 filters cannot be split into 3 groups of one size; choose groups that divide filters"),
    MISTAKE(
        "[{Conv2D: {filters: 4, kernel_size: 3, groups: 2}}]", IN(2, 8, 8, 3),
        "test.yaml:1:56: Conv2D: 3 input channels cannot be split into 2 groups of one size; choose groups that divide both"),
    MISTAKE("[{MaxPooling2D: {pool_size: [2, 2, 2]}}]", IN(2, 8, 8, 3),
            "test.yaml:1:37: MaxPooling2D: pool_size has 3 numbers; give 2, or one for all axes"),
    MISTAKE("[GlobalAveragePooling2D]", IN(2, 8),
            "test.yaml:1:10: GlobalAveragePooling2D needs (N, H, W, C), got (None, 8)"),
    MISTAKE(
        "[{BatchNormalization: {axis: 2}}]", IN(2, 3),
        "test.yaml:1:38: there is no axis 2 in the input (None, 3); its axes are 1 to 1, or -1 for the last"),
    MISTAKE(
        "[{BatchNormalization: {axis: 0}}]", IN(2, 3),
        "test.yaml:1:38: axis 0 is the batch; an axis of the features is needed: 1 to 1, or -1 for the last"),
    MISTAKE(
        "[BatchNormalization]", IN(2, 3, 4, 5),
        "test.yaml:1:10: BatchNormalization: a mask of shape (None, 3) does not fit the input (None, 3, 4, 5); one axis less is "
        "needed",
        .mask = true),
    MISTAKE("[{LayerNormalization: {axis: [1, -1]}}]", IN(2, 3),
            "test.yaml:1:38: LayerNormalization: axis 1 is listed twice"),
    MISTAKE(
        "[{PositionEmbedding: {sequence_length: 4}}]", IN(2, 5, 3),
        "test.yaml:1:48: PositionEmbedding has 4 positions, but the input (None, 5, 3) has 5 steps; raise sequence_length to 5"),
    MISTAKE("[{LSTM: {units: 4}}]", IN(2, 5),
            "test.yaml:1:11: LSTM needs (N, T, C), got (None, 5); put Embedding or Reshape before it"),
    MISTAKE(
        "[{LSTM: {units: 4, activation: glu}}]", IN(2, 5, 3),
        "test.yaml:1:11: an activation of a recurrent layer must keep the shape, which glu does not; choose another"),
    MISTAKE("[{LSTM: {units: 4, dropout: 1}}]", IN(2, 5, 3),
            "test.yaml:1:37: LSTM: dropout must be a number of at least 0 and below 1, found 1"),
    MISTAKE("[{LSTM: {units: 4, stateful: true}}]", IN(2, 5, 3), NULL),
    MISTAKE("[{Bidirectional: {layer: {Dense: {units: 4}}}}]", IN(2, 5, 3),
            "test.yaml:1:35: Bidirectional: layer must be LSTM, GRU or SimpleRNN, found Dense"),
    MISTAKE(
        "[{Bidirectional: {layer: {LSTM: {units: 4, go_backwards: true}}}}]", IN(2, 5, 3),
        "test.yaml:1:66: Bidirectional goes both ways by itself; remove go_backwards, or give a backward_layer that goes forwards"),
    MISTAKE(
        "[{Bidirectional: {layer: {LSTM: {units: 4}}, backward_layer: {LSTM: {units: 4}}}}]", IN(2, 5, 3),
        "test.yaml:1:71: Bidirectional: layer and backward_layer go the same way; set go_backwards: true in backward_layer"),
    MISTAKE(
        "[{Bidirectional: {merge_mode: sum, layer: {LSTM: {units: 4}}, backward_layer: {GRU: {units: 3, go_backwards: true}}}}]",
        IN(2, 5, 3),
        "test.yaml:1:87: Bidirectional: sum needs outputs of one size, but the layers have 4 and 3 units"),
    MISTAKE("[{TimeDistributed: {layer: {Dense: {units: 4}}}}]", IN(2, 5),
            "test.yaml:1:11: TimeDistributed needs (N, T, ...) with something at each step, got (None, 5)"),
    MISTAKE(
        "[{TimeDistributed: {layer: {LSTM: {units: 2}}}}]", IN(2, 5, 3, 4),
        "test.yaml:1:37: LSTM: a mask of shape (None,) does not fit the input (None, 3, 4); one number a step is needed",
        .mask = true),
    MISTAKE("[{MultiHeadAttention: {num_heads: 2, key_dim: 3}}]", IN(2, 5),
            "test.yaml:1:11: MultiHeadAttention needs (N, T, D), got (None, 5)"),
    MISTAKE(
        "[{Rescaling: {scale: [1, 2]}}]", IN(2, 3),
        "test.yaml:1:30: scale has 2 numbers, but the last axis of the input has 3; give as many, or one for all"),
    MISTAKE(
        "[{Normalization: {mean: 1}}]", IN(2, 3),
        "test.yaml:1:33: Normalization: mean is given without variance; give both, or neither to measure them on the training data"),
    MISTAKE(
        "[{Normalization: {mean: [1, 2], variance: [1, 2]}}]", IN(2, 3),
        "test.yaml:1:33: Normalization: mean has 2 numbers, but the sizes of its axes are (3,); give 3, or one for all"),
    MISTAKE(
        "[{Residual: {layers: [{Dense: {units: 4}}]}}]", IN(2, 3),
        "test.yaml:1:11: Residual: the layers give (None, 4), the input is (None, 3); make them one shape, or add a shortcut: layers "
        "that bring the input to (None, 4)"),
    MISTAKE(
        "[{Residual: {layers: [{Dense: {units: 4}}], shortcut: [{Dense: {units: 5}}]}}]", IN(2, 3),
        "test.yaml:1:11: Residual: the layers give (None, 4), the shortcut (None, 5); both must give one shape"),
    MISTAKE(
        "[{Parallel: {branches: [[{Dense: {units: 4}}], []], merge: add}}]", IN(2, 3),
        "test.yaml:1:32: Parallel: add needs equal shapes, but branch 1 gives (None, 4) and branch 2 (None, 3)"),
    MISTAKE(
        "[{Parallel: {branches: [[Flatten], []]}}]", IN(2, 3, 4),
        "test.yaml:1:32: Parallel: concat needs equal shapes up to the last axis, but branch 1 gives (None, 12) and branch 2 (None, 3, 4)"),
    MISTAKE("[{Parallel: {branches: []}}]", IN(2, 3),
            "test.yaml:1:32: Parallel has 0 branches; 1 to 1024 lists of layers are needed"),
    MISTAKE("[{Repeat: {times: 2000, layers: [{Repeat: {times: 1000, layers: [Flatten]}}]}}]", IN(2, 3),
            "test.yaml:1:27: Repeat: 2000 times 1001 layers are more than 1,000,000; lower times"),
    MISTAKE("[{Dense: {units: 3, name: first}}, {Reuse: {layer: frist}}]", IN(2, 3),
            "test.yaml:1:60: no layer called 'frist' stands before this one; did you mean 'first'?"),
    MISTAKE(
        "[{Reuse: {layer: a}}, {Dense: {units: 3, name: a}}]", IN(2, 3),
        "test.yaml:1:26: no layer called 'a' stands before this one; give the layer to use again a name: and use that"),
    MISTAKE("[{Dense: {units: 3, name: a}}, {Reuse: {layer: a, reverse: true}}]", IN(2, 3),
            "test.yaml:1:68: reverse: true needs a ReversibleEmbedding, but 'a' is a Dense"),
    MISTAKE("[{Dense: {units: 4, name: a}}, {Reuse: a}]", IN(2, 3),
            "test.yaml:1:41: a/kernel has shape (4, 4) here and (3, 4) where it was first used"),
    MISTAKE(
        "[{ReversibleEmbedding: {input_dim: 7, output_dim: 4, name: t}}, {Dense: {units: 3}}, {Reuse: {layer: t, reverse: true}}]",
        IN(2, 5), "test.yaml:1:95: the way back through 't' needs (N, ..., 4), got (None, 5, 3)",
        .ids = true),
    MISTAKE("[{Permute: {dims: [1, 1]}}]", IN(2, 3, 4),
            "test.yaml:1:27: Permute: dims must hold each axis 1, 2, ... once"),
    MISTAKE("[{Permute: {dims: [2, 1]}}]", IN(2, 3),
            "test.yaml:1:27: Permute has 2 dims, but the input (None, 3) has 1 axes behind the batch"),
    MISTAKE(
        "[{ZeroPadding2D: {padding: [1, 2, 3]}}]", IN(2, 3, 4, 5),
        "test.yaml:1:36: ZeroPadding2D: padding has 3 numbers; give 1, 2 (height, width) or 4 (top, bottom, left, right)"),
    MISTAKE("[RandomFlip]", IN(2, 3, 4),
            "test.yaml:1:10: RandomFlip needs images (N, H, W, C), got (None, 3, 4); if the axis of the channels is missing, put "
            "Reshape before it"),
    MISTAKE("[{Resizing: {height: 2, width: 2, data_format: channels_first}}]", IN(2, 3),
            "test.yaml:1:11: Resizing needs images (N, C, H, W), got (None, 3)"),
    MISTAKE("[{Resizing: {height: 2, width: 2, crop_to_aspect_ratio: true, pad_to_aspect_ratio: true}}]", IN(2, 3, 4, 5),
            "test.yaml:1:92: Resizing: only one of crop_to_aspect_ratio and pad_to_aspect_ratio can be true"),
    MISTAKE("[{RandomTranslation: {height_factor: [0.1, 0.2, 0.3], width_factor: 0}}]", IN(2, 3, 4, 5),
            "test.yaml:1:46: RandomTranslation: height_factor has 3 numbers; give one, f for -f to f, or two, the least and the "
            "largest"),
    MISTAKE("[{RandomZoom: {height_factor: [-1, 0.5]}}]", IN(2, 3, 4, 5),
            "test.yaml:1:39: RandomZoom: height_factor must be above -1, got -1"),
    MISTAKE(
        "[Softmax]", IN(2, 3, 4),
        "test.yaml:1:10: Softmax: a mask of shape (None, 3) does not fit the input (None, 3, 4); it must have the input's shape",
        .mask = true),
    MISTAKE("[{Conv2D: {filters: 16777216, kernel_size: 65536}}]", IN(1, 65536, 65536, 4096), NULL),
};

static void mistakes_are_named_where_they_stand(void **state)
{
    int wrong = 0;
    (void)state;
    for (size_t i = 0; i < DLT_COUNT(mistakes); i++) {
        dlt_layer_model *m = dlt_layer_model_open();
        const dlt_layer_input_spec input = {
            .shape = mistakes[i].in, .type = mistakes[i].ids ? DLT_I32 : DLT_F32, .mask = mistakes[i].mask};
        (void)dlt_layer_model_make(m, mistakes[i].layers, &input);
        const char *wanted = mistakes[i].error;
        dlt_diag_sort(m->diag);
        const bool said = wanted == NULL ? dlt_diag_count(m->diag, DLT_ERROR) > 0
                                         : dlt_diag_count(m->diag, DLT_ERROR) == 1 &&
                                               strcmp(dlt_layer_model_error(m), wanted) == 0;
        if ((m->b != NULL && !dlt_builder_failed(m->b)) || !said) {
            print_error("%s:\n  says  %s\n  wants %s\n", mistakes[i].layers, dlt_layer_model_error(m),
                        wanted != NULL ? wanted : "an error");
            wrong++;
        }
        dlt_layer_model_close(m);
    }
    assert_int_equal(wrong, 0);
}

/* ---- what is done once, and what twice ---- */

static int count_ops(const dlt_layer_model *m, dlt_op op)
{
    const dlt_graph *g = dlt_builder_graph(m->b);
    int count = 0;
    for (int i = 0; i < g->node_count; i++) {
        count += g->nodes[i]->op == op;
    }
    return count;
}

static void dropout_draws_only_in_training(void **state)
{
    const dlt_layer_input_spec input = {.shape = DLT_SHAPE(4, 6)};
    (void)state;
    dlt_layer_model *m = dlt_layer_model_open();
    assert_true(dlt_layer_model_parse(m, "[{Dropout: {rate: 0.5, trainable: false}}]"));
    dlt_layer_model_build(m, DLT_MODE_TRAIN, DLT_F32, &input);
    assert_ptr_not_equal(m->out, m->in);
    dlt_layer_model_build(m, DLT_MODE_EVALUATE, DLT_F32, &input);
    assert_ptr_equal(m->out, m->in);
    dlt_layer_model_build(m, DLT_MODE_PREDICT, DLT_F32, &input);
    assert_ptr_equal(m->out, m->in);
    dlt_layer_model_close(m);
}

/* Streams of the draws of a built model, in order. */
static int streams(const dlt_layer_model *m, uint32_t *out, int room)
{
    const dlt_graph *g = dlt_builder_graph(m->b);
    int count = 0;
    for (int i = 0; i < g->node_count; i++) {
        const dlt_ew_attrs *attrs = g->nodes[i]->attrs;
        if (g->nodes[i]->op == DLT_OP_EW && attrs->op == DLT_EW_UNIFORM) {
            assert_true(count < room);
            out[count++] = attrs->stream;
        }
    }
    return count;
}

static void each_layer_and_each_use_of_it_draws_numbers_of_its_own(void **state)
{
    static const char *const models[] = {
        "[{Dropout: {rate: 0.5, name: a}}, {Dropout: {rate: 0.5}}, {Reuse: a}, {Dropout: {rate: 0.5, seed: 3}}]",
        "[{Repeat: {times: 4, layers: [{Dropout: {rate: 0.5}}]}}]",
        "[{Reshape: {target_shape: [2, 3]}}, {Bidirectional: {layer: {LSTM: {units: 2, dropout: 0.5, recurrent_dropout: 0.5}}}}]",
    };
    static const int counts[] = {4, 4, 16};
    const dlt_layer_input_spec input = {.shape = DLT_SHAPE(4, 6)};
    (void)state;
    for (size_t i = 0; i < DLT_COUNT(models); i++) {
        uint32_t found[32];
        dlt_layer_model *m = dlt_layer_model_open();
        assert_non_null(dlt_layer_model_make(m, models[i], &input));
        const int count = streams(m, found, 32);
        assert_int_equal(count, counts[i]);
        for (int k = 0; k < count; k++) {
            for (int j = 0; j < k; j++) {
                assert_true(found[j] != found[k]);
            }
        }
        dlt_layer_model_close(m);
    }
}

static void recurrent_dropout_is_drawn_once_a_call_and_not_once_a_step(void **state)
{
    uint32_t found[16];
    const dlt_layer_input_spec input = {.shape = DLT_SHAPE(4, 50, 3)};
    (void)state;
    static const struct {
        const char *layers;
        int draws;
        dlt_rnn_cell cell;
    } cases[] = {
        {"[{LSTM: {units: 2, dropout: 0.5}}]", 1, DLT_RNN_LSTM},
        {"[{LSTM: {units: 2, recurrent_dropout: 0.5}}]", 4, DLT_RNN_OTHER},
        {"[{LSTM: {units: 2, dropout: 0.5, recurrent_dropout: 0.5}}]", 8, DLT_RNN_OTHER},
        {"[{GRU: {units: 2, dropout: 0.5}}]", 1, DLT_RNN_GRU},
        {"[{GRU: {units: 2, dropout: 0.5, recurrent_dropout: 0.5}}]", 6, DLT_RNN_OTHER},
        {"[{GRU: {units: 2, reset_after: false}}]", 0, DLT_RNN_GRU_BEFORE},
        {"[{SimpleRNN: {units: 2, dropout: 0.5, recurrent_dropout: 0.5}}]", 2, DLT_RNN_OTHER},
    };
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        dlt_layer_model *m = dlt_layer_model_open();
        assert_non_null(dlt_layer_model_make(m, cases[i].layers, &input));
        assert_int_equal(streams(m, found, 16), cases[i].draws);
        assert_int_equal(count_ops(m, DLT_OP_RNN), 1);
        const dlt_graph *g = dlt_builder_graph(m->b);
        for (int k = 0; k < g->node_count; k++) {
            if (g->nodes[k]->op == DLT_OP_RNN) {
                assert_int_equal(((const dlt_rnn_attrs *)g->nodes[k]->attrs)->cell, cases[i].cell);
            }
        }
        dlt_layer_model_close(m);
    }
}

static void backends_learn_the_names_of_plain_activations_only(void **state)
{
    const dlt_layer_input_spec input = {.shape = DLT_SHAPE(4, 5, 3)};
    static const struct {
        const char *layers, *activation, *recurrent;
    } cases[] = {
        {"[{LSTM: {units: 2}}]", "tanh", "sigmoid"},
        {"[{LSTM: {units: 2, activation: relu, recurrent_activation: hard_sigmoid}}]", "relu",
         "hard_sigmoid"},
        {"[{LSTM: {units: 2, activation: {relu: {max_value: 2}}}}]", NULL, "sigmoid"},
        {"[{LSTM: {units: 2, activation: linear}}]", "linear", "sigmoid"},
    };
    (void)state;
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        dlt_layer_model *m = dlt_layer_model_open();
        assert_non_null(dlt_layer_model_make(m, cases[i].layers, &input));
        const dlt_graph *g = dlt_builder_graph(m->b);
        for (int k = 0; k < g->node_count; k++) {
            const dlt_rnn_attrs *attrs = g->nodes[k]->attrs;
            if (g->nodes[k]->op != DLT_OP_RNN) {
                continue;
            }
            if (cases[i].activation == NULL) {
                assert_null(attrs->activation);
            } else {
                assert_string_equal(attrs->activation, cases[i].activation);
            }
            assert_string_equal(attrs->recurrent_activation, cases[i].recurrent);
        }
        dlt_layer_model_close(m);
    }
}

static void time_distributed_folds_unless_samples_are_joined(void **state)
{
    const dlt_layer_input_spec input = {.shape = DLT_SHAPE(4, 5, 3)};
    (void)state;
    dlt_layer_model *m = dlt_layer_model_open();
    assert_non_null(dlt_layer_model_make(m, "[{TimeDistributed: {layer: {Dense: {units: 2}}}}]", &input));
    assert_int_equal(count_ops(m, DLT_OP_MATMUL), 1);
    dlt_layer_model_close(m);
    m = dlt_layer_model_open();
    assert_true(dlt_layer_model_parse(
        m,
        "[{TimeDistributed: {layer: {Sequential: {layers: [{Dense: {units: 2}}, BatchNormalization]}}}}]"));
    assert_non_null(dlt_layer_model_build(m, DLT_MODE_TRAIN, DLT_F32, &input));
    assert_int_equal(count_ops(m, DLT_OP_BATCH_NORM), 5);
    assert_non_null(dlt_layer_model_build(m, DLT_MODE_PREDICT, DLT_F32, &input));
    assert_int_equal(count_ops(m, DLT_OP_MATMUL), 1);
    dlt_layer_model_close(m);
}

static void a_frozen_container_freezes_statistics_too(void **state)
{
    const dlt_layer_input_spec input = {.shape = DLT_SHAPE(4, 3)};
    (void)state;
    dlt_layer_model *m = dlt_layer_model_open();
    assert_non_null(
        dlt_layer_model_make(m, "[{Sequential: {layers: [BatchNormalization], trainable: false}}]", &input));
    assert_int_equal(count_ops(m, DLT_OP_BATCH_NORM), 0);
    dlt_layer_model_close(m);
}

static void penalties_are_asked_for_when_there_is_a_loss(void **state)
{
    const dlt_layer_input_spec input = {.shape = DLT_SHAPE(4, 3)};
    int count;
    (void)state;
    dlt_layer_model *m = dlt_layer_model_open();
    assert_true(dlt_layer_model_parse(
        m, "[{Dense: {units: 3, name: a, activity_regularizer: {L2: {l2: 0.1}}}}, {Reuse: a}, "
           "{ActivityRegularization: {l1: 0.1, l2: 0.2}}]"));
    assert_non_null(dlt_layer_model_build(m, DLT_MODE_TRAIN, DLT_F32, &input));
    const dlt_penalty *penalties = dlt_penalties(m->b, &count);
    assert_int_equal(count, 4);
    assert_string_equal(penalties[0].regularizer->kind->name, "L2");
    assert_string_equal(dlt_layer_model_shape(m, penalties[1].value), "(4, 3)");
    assert_null(penalties[2].regularizer);
    assert_string_equal(dlt_layer_model_shape(m, penalties[2].value), "()");
    assert_non_null(dlt_layer_model_build(m, DLT_MODE_EVALUATE, DLT_F32, &input));
    dlt_penalties(m->b, &count);
    assert_int_equal(count, 4);
    assert_non_null(dlt_layer_model_build(m, DLT_MODE_PREDICT, DLT_F32, &input));
    dlt_penalties(m->b, &count);
    assert_int_equal(count, 0);
    dlt_layer_model_close(m);
}

static void time_distributed_warns_that_a_penalty_inside_has_no_effect(void **state)
{
    const dlt_layer_input_spec input = {.shape = DLT_SHAPE(4, 5, 3)};
    int count;
    (void)state;
    dlt_layer_model *m = dlt_layer_model_open();
    assert_non_null(dlt_layer_model_make(
        m, "[{TimeDistributed: {layer: {Dense: {units: 4, activity_regularizer: {L2: {l2: 0.1}}}}}}]",
        &input));
    dlt_penalties(m->b, &count);
    assert_int_equal(count, 0);
    assert_string_equal(
        dlt_layer_model_error(m),
        "test.yaml:1:77: TimeDistributed: an activity_regularizer has no effect in here, as in Keras; put the "
        "layer ActivityRegularization behind TimeDistributed");
    assert_int_equal(dlt_diag_count(m->diag, DLT_ERROR), 0);
    dlt_layer_model_close(m);
}

static void without_data_the_input_layer_makes_the_input(void **state)
{
    (void)state;
    dlt_layer_model *m = dlt_layer_model_open();
    const dlt_layer_input_spec none = {.shape = {.rank = 0}};
    assert_non_null(dlt_layer_model_make(m, "[{Input: {shape: [4, 3], dtype: int32}}, Flatten]", &none));
    assert_string_equal(dlt_layer_model_shape(m, m->out), "(2, 12)");
    assert_int_equal(m->out->type, DLT_I32);
    dlt_layer_model_close(m);
    m = dlt_layer_model_open();
    assert_null(dlt_layer_model_make(m, "[Flatten]", &none));
    assert_string_equal(dlt_layer_model_error(m),
                        "test.yaml:1:10: the shape of what comes into Flatten is not known; begin the "
                        "layers with Input: {shape: [...]}");
    dlt_layer_model_close(m);
    m = dlt_layer_model_open();
    assert_null(dlt_layer_model_make(m, "[{Input: {shape: [null, 3]}}]", &none));
    assert_string_equal(dlt_layer_model_error(m),
                        "test.yaml:1:26: size 1 of the shape is left open, and there are no data to tell it");
    dlt_layer_model_close(m);
}

static void a_graph_that_explodes_is_refused(void **state)
{
    const dlt_layer_input_spec input = {.shape = DLT_SHAPE(4, 3)};
    (void)state;
    dlt_layer_model *m = dlt_layer_model_open();
    assert_non_null(dlt_layer_model_make(m, "[{Repeat: {times: 3, layers: [{Activation: tanh}]}}]", &input));
    dlt_graph *g = dlt_builder_graph(m->b);
    const int count = g->node_count;
    g->node_count = DLT_MAX_NODES; /* as if so many stood there */
    assert_null(dlt_neg(m->b, m->out));
    g->node_count = count;
    assert_true(dlt_builder_failed(m->b));
    assert_string_equal(
        dlt_layer_model_error(m),
        "the model grows beyond 1,000,000 operations here; lower the `times` of Repeat around it");
    dlt_layer_model_close(m);
}

/* ---- Normalization measures ---- */

static void normalization_measures_mean_and_variance_of_its_axes(void **state)
{
    /* rows (2, 3) of which axis 2 is kept */
    static const double x[] = {1, 10, 5, 3, 20, 5, 5, 30, 5, 7, 40, 5};
    const dlt_shape in = DLT_SHAPE(2, 2, 3);
    double value[3], sums[9] = {0};
    (void)state;
    dlt_layer_model *m = dlt_layer_model_open();
    assert_true(dlt_layer_model_parse(m, "[Normalization]"));
    const dlt_item *item = m->layers->at[0];
    const dlt_adapt_layer *adapt = dlt_layer_of(item)->adapt;
    assert_true(adapt->wanted(item));
    assert_int_equal(adapt->state_count(item, &in), 9);
    adapt->update(item, &in, sums, x, 1);
    adapt->update(item, &in, sums, x + 6, 1);
    adapt->finish(item, &in, sums, "mean", value, 3);
    assert_true(value[0] == 4 && value[1] == 25 && value[2] == 5);
    adapt->finish(item, &in, sums, "variance", value, 3);
    assert_true(value[0] == 5 && value[1] == 125 && value[2] == 0);
    value[0] = 9;
    adapt->finish(item, &in, sums, "count", value, 1);
    assert_true(value[0] == 0);
    dlt_layer_model_close(m);
    m = dlt_layer_model_open();
    assert_true(dlt_layer_model_parse(m, "[{Normalization: {mean: 1, variance: 2}}]"));
    assert_false(adapt->wanted(m->layers->at[0]));
    dlt_layer_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_and_weights_are_those_of_keras),
        cmocka_unit_test(a_layer_does_to_masks_what_keras_says),
        cmocka_unit_test(masks_travel_through_chains_as_in_keras),
        cmocka_unit_test(mistakes_are_named_where_they_stand),
        cmocka_unit_test(dropout_draws_only_in_training),
        cmocka_unit_test(each_layer_and_each_use_of_it_draws_numbers_of_its_own),
        cmocka_unit_test(recurrent_dropout_is_drawn_once_a_call_and_not_once_a_step),
        cmocka_unit_test(backends_learn_the_names_of_plain_activations_only),
        cmocka_unit_test(time_distributed_folds_unless_samples_are_joined),
        cmocka_unit_test(a_frozen_container_freezes_statistics_too),
        cmocka_unit_test(penalties_are_asked_for_when_there_is_a_loss),
        cmocka_unit_test(time_distributed_warns_that_a_penalty_inside_has_no_effect),
        cmocka_unit_test(without_data_the_input_layer_makes_the_input),
        cmocka_unit_test(a_graph_that_explodes_is_refused),
        cmocka_unit_test(normalization_measures_mean_and_variance_of_its_axes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
