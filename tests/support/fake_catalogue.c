/* tests/support/fake_catalogue.c */
#include "support/fake_catalogue.h"

#include "cmd/probe_model.h"
#include "io/data/source.h"
#include "schema/spec.h"

#include <math.h>

/* ---- activations, initializers, regularizers, constraints ---- */

typedef struct leaky_params {
    double negative_slope;
} leaky_params;
static const dlt_field leaky_fields[] = {
    DLT_FLOAT(leaky_params, negative_slope, 0, INFINITY, 0.2, "slope below zero"),
    {0},
};
static const dlt_kind act_linear = {.name = "linear", .doc = "the value itself"};
static const dlt_kind act_relu = {.name = "relu", .doc = "max(x, 0)"};
static const dlt_kind act_softmax = {.name = "softmax", .doc = "shares that sum to one"};
static const dlt_kind act_leaky = {.name = "leaky_relu",
                                   .doc = "relu with a slope below zero",
                                   .size = sizeof(leaky_params),
                                   .fields = leaky_fields};
static const dlt_kind *const activations[] = {&act_linear, &act_relu, &act_softmax, &act_leaky};

typedef struct constant_params {
    double value;
} constant_params;
static const dlt_field constant_fields[] = {
    DLT_FLOAT(constant_params, value, -INFINITY, INFINITY, 0.0, "every element"),
    {0},
};
typedef struct normal_params {
    double mean, stddev;
} normal_params;
static const dlt_field normal_fields[] = {
    DLT_FLOAT(normal_params, mean, -INFINITY, INFINITY, 0.0, "centre"),
    DLT_FLOAT(normal_params, stddev, 0, INFINITY, 0.05, "width"),
    {0},
};
static const dlt_kind init_glorot = {.name = "GlorotUniform", .doc = "uniform, scaled by both fans"};
static const dlt_kind init_zeros = {.name = "Zeros", .doc = "zeros", .aliases = "zero"};
static const dlt_kind init_constant = {.name = "Constant",
                                       .doc = "one value",
                                       .size = sizeof(constant_params),
                                       .fields = constant_fields,
                                       .scalar_field = "value"};
static const dlt_kind init_normal = {.name = "RandomNormal",
                                     .doc = "normal",
                                     .size = sizeof(normal_params),
                                     .fields = normal_fields,
                                     .aliases = "normal"};
static const dlt_kind *const initializers[] = {&init_glorot, &init_zeros, &init_constant, &init_normal};

typedef struct l2_params {
    double l2;
} l2_params;
static const dlt_field l2_fields[] = {
    DLT_FLOAT(l2_params, l2, 0, INFINITY, 0.01, "factor of the sum of squares"),
    {0},
};
static const dlt_kind reg_l2 = {
    .name = "L2", .doc = "sum of squares", .size = sizeof(l2_params), .fields = l2_fields, .aliases = "l2"};
static const dlt_kind *const regularizers[] = {&reg_l2};

typedef struct max_norm_params {
    double max_value;
    dlt_ints axis;
} max_norm_params;
static const dlt_field max_norm_fields[] = {
    DLT_FLOAT(max_norm_params, max_value, 0, INFINITY, 2, "largest norm"),
    DLT_INTS(max_norm_params, axis, -8, 7, "0", "axes of one norm"),
    {0},
};
static const dlt_kind con_max_norm = {
    .name = "MaxNorm", .doc = "norms are cut", .size = sizeof(max_norm_params), .fields = max_norm_fields};
static const dlt_kind con_non_neg = {.name = "NonNeg", .doc = "no weight below zero", .aliases = "nonneg"};
static const dlt_kind *const constraints[] = {&con_max_norm, &con_non_neg};

/* ---- layers ---- */

static const char *const padding_names[] = {"valid", "same", "causal", NULL};
static const char *const merge_names[] = {"concat", "add", "multiply", NULL};

typedef struct input_params {
    dlt_ints shape;
} input_params;
static const dlt_field input_fields[] = {
    DLT_SHAPE_FIELD(input_params, shape, -1, 1 << 30, 8, NULL, "of one sample"),
    {0},
};
static const dlt_kind layer_input = {.name = "Input",
                                     .doc = "the shape of one sample",
                                     .size = sizeof(input_params),
                                     .fields = input_fields,
                                     .aliases = "InputLayer"};

typedef struct dense_params {
    int64_t units;
    bool use_bias;
    const dlt_item *activation;
    dlt_weight_params kernel, bias;
} dense_params;
static const dlt_field dense_fields[] = {
    DLT_INT(dense_params, units, 1, 1 << 24, DLT_REQUIRED, "size of the last output axis"),
    DLT_BOOL(dense_params, use_bias, true, "add a learned vector"),
    DLT_ITEM(dense_params, activation, "activation", linear, "applied to the result"),
    DLT_WEIGHT(dense_params, kernel, "glorot_uniform", "the matrix"),
    DLT_WEIGHT(dense_params, bias, "zeros", "the vector"),
    {0},
};
static const dlt_kind layer_dense = {
    .name = "Dense", .doc = "fully connected layer", .size = sizeof(dense_params), .fields = dense_fields};

typedef struct conv_params {
    int64_t filters, kernel_size[2], strides[2];
    int padding;
    const dlt_item *activation;
    dlt_weight_params kernel;
} conv_params;
static const dlt_field conv_fields[] = {
    DLT_INT(conv_params, filters, 1, 1 << 20, DLT_REQUIRED, "output channels"),
    DLT_AXES(conv_params, kernel_size, 2, 1, 1 << 20, DLT_REQUIRED, "rows and columns of the window"),
    DLT_AXES(conv_params, strides, 2, 1, 1 << 20, 1, "steps of the window"),
    DLT_ENUM(conv_params, padding, padding_names, valid, "what happens at the edges"),
    DLT_ITEM(conv_params, activation, "activation", linear, "applied to the result"),
    DLT_WEIGHT(conv_params, kernel, "glorot_uniform", "the filters"),
    {0},
};
static const dlt_kind layer_conv = {.name = "Conv2D",
                                    .doc = "two-dimensional convolution",
                                    .size = sizeof(conv_params),
                                    .fields = conv_fields};

typedef struct pool_params {
    int64_t pool_size[2];
    int padding;
} pool_params;
static const dlt_field pool_fields[] = {
    DLT_AXES(pool_params, pool_size, 2, 1, 1 << 20, 2, "rows and columns of the window"),
    DLT_ENUM(pool_params, padding, padding_names, valid, "what happens at the edges"),
    {0},
};
static const dlt_kind layer_pool = {.name = "MaxPooling2D",
                                    .doc = "largest value of each window",
                                    .size = sizeof(pool_params),
                                    .fields = pool_fields};

static const dlt_kind layer_flatten = {.name = "Flatten", .doc = "all axes of a sample as one"};

typedef struct dropout_params {
    double rate;
} dropout_params;
static const dlt_field dropout_fields[] = {
    DLT_FLOAT_OPEN(dropout_params, rate, 0, 1, DLT_FIELD_OPEN_MAX, DLT_REQUIRED,
                   "share of values set to zero"),
    {0},
};
static const dlt_kind layer_dropout = {.name = "Dropout",
                                       .doc = "sets values to zero while training",
                                       .size = sizeof(dropout_params),
                                       .fields = dropout_fields};

typedef struct rescaling_params {
    double scale, offset;
} rescaling_params;
static const dlt_field rescaling_fields[] = {
    DLT_FLOAT(rescaling_params, scale, -INFINITY, INFINITY, DLT_REQUIRED, "factor"),
    DLT_FLOAT(rescaling_params, offset, -INFINITY, INFINITY, 0.0, "added after it"),
    {0},
};
static const dlt_kind layer_rescaling = {.name = "Rescaling",
                                         .doc = "x scale + offset",
                                         .size = sizeof(rescaling_params),
                                         .fields = rescaling_fields};

typedef struct activation_params {
    const dlt_item *activation;
} activation_params;
static const dlt_field activation_fields[] = {
    DLT_ITEM(activation_params, activation, "activation", DLT_REQUIRED, "what is applied"),
    {0},
};
static const dlt_kind layer_activation = {.name = "Activation",
                                          .doc = "an activation on its own",
                                          .size = sizeof(activation_params),
                                          .fields = activation_fields};

typedef struct residual_params {
    dlt_items layers, shortcut;
} residual_params;
static const dlt_field residual_fields[] = {
    DLT_ITEMS(residual_params, layers, "layer", NULL, "the long way"),
    DLT_ITEMS(residual_params, shortcut, "layer", "[]", "the short way; nothing passes the input on"),
    {0},
};
static const dlt_kind layer_residual = {.name = "Residual",
                                        .doc = "layers(x) + shortcut(x)",
                                        .size = sizeof(residual_params),
                                        .fields = residual_fields};

typedef struct parallel_params {
    dlt_item_lists branches;
    int merge;
} parallel_params;
static const dlt_field parallel_fields[] = {
    DLT_ITEM_LISTS(parallel_params, branches, "layer", NULL, "each gets the same input"),
    DLT_ENUM(parallel_params, merge, merge_names, concat, "how the results become one"),
    {0},
};
static const dlt_kind layer_parallel = {.name = "Parallel",
                                        .doc = "branches side by side",
                                        .size = sizeof(parallel_params),
                                        .fields = parallel_fields};

typedef struct repeat_params {
    int64_t times;
    dlt_items layers;
} repeat_params;
static const dlt_field repeat_fields[] = {
    DLT_INT(repeat_params, times, 1, 10000, DLT_REQUIRED, "copies"),
    DLT_ITEMS(repeat_params, layers, "layer", NULL, "what is copied"),
    {0},
};
static const dlt_kind layer_repeat = {.name = "Repeat",
                                      .doc = "the same layers several times",
                                      .size = sizeof(repeat_params),
                                      .fields = repeat_fields};

typedef struct embedding_params {
    int64_t input_dim, output_dim;
    bool mask_zero;
} embedding_params;
static const dlt_field embedding_fields[] = {
    DLT_INT(embedding_params, input_dim, 1, 0x1p40, DLT_REQUIRED, "number of tokens"),
    DLT_INT(embedding_params, output_dim, 1, 1 << 24, DLT_REQUIRED, "size of a vector"),
    DLT_BOOL(embedding_params, mask_zero, false, "token 0 is padding"),
    {0},
};
static const dlt_kind layer_embedding = {.name = "Embedding",
                                         .doc = "tokens to vectors",
                                         .size = sizeof(embedding_params),
                                         .fields = embedding_fields};

typedef struct feature_space_params {
    dlt_item_map features;
    dlt_strings crosses;
} feature_space_params;
static const dlt_field feature_space_fields[] = {
    DLT_ITEM_MAP(feature_space_params, features, "feature", "column by column"),
    DLT_STRINGS(feature_space_params, crosses, "[]", "columns to cross"),
    {0},
};
static const dlt_kind layer_feature_space = {.name = "FeatureSpace",
                                             .doc = "columns of a table to one vector",
                                             .size = sizeof(feature_space_params),
                                             .fields = feature_space_fields};

static const dlt_kind layer_batch_norm = {.name = "BatchNormalization",
                                          .doc = "centres and scales over the batch"};

static const char *const mode_names[] = {"fast", "exact", NULL};
static const char *const map_words[] = {"balanced", NULL};
static const dlt_field inner_fields[] = {
    DLT_INT(fake_inner, depth, 0, 9, 1, "levels"),
    DLT_BOOL(fake_inner, flag, false, "a switch"),
    {0},
};
static const dlt_field everything_fields[] = {
    DLT_INT(fake_everything, count, -5, 5, 0, "an integer"),
    DLT_OPT_INT(fake_everything, maybe_count, 1, 100, "an integer that may be absent"),
    DLT_FLOAT_OPEN(fake_everything, ratio, 0, 1, DLT_FIELD_OPEN_MIN, 0.5, "a number"),
    DLT_OPT_FLOAT(fake_everything, maybe_ratio, 0, INFINITY, DLT_FIELD_OPEN_MIN,
                  "a number that may be absent"),
    DLT_BOOL(fake_everything, flag, false, "a boolean"),
    DLT_STRING(fake_everything, text, "hello", "a text"),
    DLT_PATH(fake_everything, path, "null", "a path"),
    DLT_PATHS(fake_everything, paths, "[]", "paths"),
    DLT_ENUM(fake_everything, mode, mode_names, fast, "a choice"),
    {.name = "axes",
     .type = DLT_FIELD_AXES,
     .offset = offsetof(fake_everything, axes),
     .count = 2,
     .min = 1,
     .max = 9,
     .def = "[1, 2]",
     .doc = "two axes"},
    DLT_INTS(fake_everything, ints, 0, 9, "[]", "integers"),
    DLT_SHAPE_FIELD(fake_everything, shape, -1, 100, 3, "[]", "a shape"),
    DLT_FLOATS(fake_everything, floats, 0, 1, "[0.25, 0.75]", "numbers"),
    DLT_STRINGS(fake_everything, strings, "null", "texts"),
    DLT_COLUMNS(fake_everything, columns, "null", "columns"),
    DLT_FLOAT_MAP(fake_everything, float_map, 0, INFINITY, map_words, "numbers by key"),
    DLT_STRING_MAP(fake_everything, string_map, "texts by key"),
    DLT_ITEM(fake_everything, item, "activation", null, "a thing"),
    DLT_ITEMS(fake_everything, items, "activation", "[relu]", "things"),
    DLT_ITEM_LISTS(fake_everything, item_lists, "activation", "[]", "lists of things"),
    DLT_ITEM_MAP(fake_everything, item_map, "feature", "things by key"),
    DLT_STRUCT(fake_everything, inner, inner_fields, "{}", "a section"),
    DLT_WEIGHT(fake_everything, kernel, "zeros", "a weight"),
    DLT_FLOAT_OR_ITEM(fake_everything, rate, 0, 10, 0, "schedule", 0.5, "a number or a schedule"),
    {.name = "any",
     .type = DLT_FIELD_FLOAT,
     .offset = offsetof(fake_everything, any),
     .min = 0,
     .max = 1,
     .def = ".inf",
     .flags = DLT_FIELD_NON_FINITE,
     .doc = "a number that need not be finite"},
    {.name = "auto_count",
     .type = DLT_FIELD_OPT_INT,
     .offset = offsetof(fake_everything, auto_count),
     .min = 1,
     .max = 8,
     .def = "null",
     .flags = DLT_FIELD_AUTO | DLT_FIELD_NOT_IN_RUN,
     .doc = "an integer that may be chosen"},
    {0},
};
static const dlt_kind layer_everything = {.name = "Everything",
                                          .doc = "one field of each type",
                                          .size = sizeof(fake_everything),
                                          .fields = everything_fields};

static const dlt_kind *const layers[] = {
    &layer_input,   &layer_dense,     &layer_conv,          &layer_pool,       &layer_flatten,
    &layer_dropout, &layer_rescaling, &layer_activation,    &layer_residual,   &layer_parallel,
    &layer_repeat,  &layer_embedding, &layer_feature_space, &layer_batch_norm, &layer_everything};

/* ---- features ---- */

typedef struct string_categorical_params {
    int64_t max_tokens;
} string_categorical_params;
static const dlt_field string_categorical_fields[] = {
    DLT_INT(string_categorical_params, max_tokens, 2, 1e6, 10000, "most words"),
    {0},
};
static const dlt_kind feature_string = {.name = "string_categorical",
                                        .doc = "words, one-hot",
                                        .size = sizeof(string_categorical_params),
                                        .fields = string_categorical_fields};
static const dlt_kind feature_float = {.name = "float_normalized", .doc = "numbers, centred and scaled"};
static const dlt_kind *const features[] = {&feature_string, &feature_float};

/* ---- schedules and optimizers ---- */

typedef struct number_params {
    double value;
} number_params;
static const dlt_field number_fields[] = {
    DLT_FLOAT(number_params, value, 0, INFINITY, DLT_REQUIRED, "the same at every step"),
    {0},
};
static const dlt_kind schedule_number = {.name = "number",
                                         .doc = "a plain number",
                                         .size = sizeof(number_params),
                                         .fields = number_fields,
                                         .scalar_field = "value"};
typedef struct cosine_params {
    double initial_learning_rate;
    int64_t decay_steps;
    double alpha;
} cosine_params;
static const dlt_field cosine_fields[] = {
    DLT_FLOAT(cosine_params, initial_learning_rate, 0, INFINITY, DLT_REQUIRED, "rate at the start"),
    DLT_INT(cosine_params, decay_steps, 1, 0x1p40, DLT_REQUIRED, "steps until the end"),
    DLT_FLOAT(cosine_params, alpha, 0, 1, 0.0, "share of the rate that stays"),
    {0},
};
static const dlt_kind schedule_cosine = {
    .name = "CosineDecay", .doc = "half a cosine", .size = sizeof(cosine_params), .fields = cosine_fields};
static const dlt_kind *const schedules[] = {&schedule_number, &schedule_cosine};

typedef struct optimizer_params {
    const dlt_item *learning_rate;
    double momentum, beta_1;
    dlt_opt_float clipnorm, clipvalue;
} optimizer_params;
#define LEARNING_RATE(default_)                                                                              \
    {                                                                                                        \
        .name = "learning_rate", .type = DLT_FIELD_FLOAT_OR_ITEM,                                            \
        .offset = offsetof(optimizer_params, learning_rate), .min = 0, .max = INFINITY,                      \
        .category = "schedule", .def = default_, .flags = DLT_FIELD_CHANGEABLE, .doc = "size of a step"      \
    }
static const dlt_field sgd_fields[] = {
    LEARNING_RATE("0.01"),
    DLT_FLOAT_OPEN(optimizer_params, momentum, 0, 1, DLT_FIELD_OPEN_MAX, 0.0,
                   "share of the last step that is kept"),
    DLT_OPT_FLOAT(optimizer_params, clipnorm, 0, INFINITY, DLT_FIELD_OPEN_MIN, "largest norm of a gradient"),
    DLT_OPT_FLOAT(optimizer_params, clipvalue, 0, INFINITY, DLT_FIELD_OPEN_MIN,
                  "largest element of a gradient"),
    {0},
};
static const dlt_field adam_fields[] = {
    LEARNING_RATE("0.001"),
    DLT_FLOAT_OPEN(optimizer_params, beta_1, 0, 1, DLT_FIELD_OPEN_MAX, 0.9, "decay of the mean"),
    DLT_OPT_FLOAT(optimizer_params, clipnorm, 0, INFINITY, DLT_FIELD_OPEN_MIN, "largest norm of a gradient"),
    DLT_OPT_FLOAT(optimizer_params, clipvalue, 0, INFINITY, DLT_FIELD_OPEN_MIN,
                  "largest element of a gradient"),
    {0},
};
static const dlt_field rmsprop_fields[] = {LEARNING_RATE("0.001"), {0}};

static void check_clip(const dlt_item *item, dlt_diag *diag)
{
    const optimizer_params *p = item->params;
    if (p->clipnorm.set && p->clipvalue.set) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "clipvalue"),
                 "%s: clipnorm and clipvalue exclude each other; remove one", item->kind->name);
    }
}

static const dlt_kind opt_sgd = {.name = "SGD",
                                 .doc = "gradient descent",
                                 .size = sizeof(optimizer_params),
                                 .fields = sgd_fields,
                                 .aliases = "sgd",
                                 .check = check_clip};
static const dlt_kind opt_adam = {.name = "Adam",
                                  .doc = "moments of the gradient",
                                  .size = sizeof(optimizer_params),
                                  .fields = adam_fields,
                                  .check = check_clip};
static const dlt_kind opt_rmsprop = {.name = "RMSprop",
                                     .doc = "mean square of the gradient",
                                     .size = sizeof(optimizer_params),
                                     .fields = rmsprop_fields,
                                     .aliases = "rmsprop"};
static const dlt_kind *const optimizers[] = {&opt_sgd, &opt_adam, &opt_rmsprop};

/* ---- losses, metrics, callbacks ---- */

typedef struct crossentropy_params {
    bool from_logits;
    double label_smoothing;
} crossentropy_params;
static const dlt_field crossentropy_fields[] = {
    DLT_BOOL(crossentropy_params, from_logits, false, "the output is no probability yet"),
    DLT_FLOAT(crossentropy_params, label_smoothing, 0, 1, 0.0, "share moved to the other classes"),
    {0},
};
static const dlt_kind loss_mse = {.name = "MeanSquaredError", .doc = "mean (t - p)^2", .aliases = "mse MSE"};
static const dlt_kind loss_cce = {.name = "CategoricalCrossentropy",
                                  .doc = "for one-hot labels",
                                  .size = sizeof(crossentropy_params),
                                  .fields = crossentropy_fields};
static const dlt_kind loss_scce = {.name = "SparseCategoricalCrossentropy",
                                   .doc = "for integer labels",
                                   .size = sizeof(crossentropy_params),
                                   .fields = crossentropy_fields};
static const dlt_kind *const losses[] = {&loss_mse, &loss_cce, &loss_scce};

static const dlt_kind metric_accuracy = {
    .name = "Accuracy", .doc = "share that is right", .aliases = "accuracy acc"};
static const dlt_kind metric_mae = {.name = "MeanAbsoluteError", .doc = "mean |t - p|", .aliases = "mae MAE"};
static const dlt_kind *const metrics[] = {&metric_accuracy, &metric_mae};

static const char *const direction_names[] = {"auto", "min", "max", NULL};
typedef struct early_params {
    const char *monitor;
    int64_t patience;
    double min_delta;
    int mode;
    bool restore_best_weights;
} early_params;
static const dlt_field early_fields[] = {
    DLT_STRING(early_params, monitor, "val_loss", "the figure that is watched"),
    DLT_INT(early_params, patience, 0, 1e9, 0, "epochs without improvement before it stops"),
    DLT_FLOAT(early_params, min_delta, 0, INFINITY, 0, "smallest change that counts"),
    DLT_ENUM(early_params, mode, direction_names, auto, "whether less or more is better"),
    DLT_BOOL(early_params, restore_best_weights, false, "end with the best weights"),
    {0},
};
static const dlt_kind callback_early = {.name = "EarlyStopping",
                                        .doc = "stops when a figure stalls",
                                        .size = sizeof(early_params),
                                        .fields = early_fields};
static const dlt_kind callback_nan = {.name = "TerminateOnNaN", .doc = "stops on a loss that is not finite"};
static const dlt_kind *const callbacks[] = {&callback_early, &callback_nan};

/* ---- sources ---- */

typedef struct idx_params {
    const char *features, *labels;
} idx_params;
static const dlt_field idx_fields[] = {
    DLT_PATH(idx_params, features, NULL, "file of samples"),
    DLT_PATH(idx_params, labels, "null", "file of labels"),
    {0},
};
static const dlt_kind source_idx = {.name = "IDX",
                                    .doc = "files of MNIST",
                                    .size = sizeof(idx_params),
                                    .fields = idx_fields,
                                    .aliases = "idx"};

static const char *const header_names[] = {"auto", "true", "false", NULL};
typedef struct csv_params {
    dlt_strings path;
    dlt_columns target, columns;
    int header;
    const char *delimiter;
    dlt_strings missing;
    dlt_string_map label_map;
} csv_params;
static const dlt_field csv_fields[] = {
    DLT_PATHS(csv_params, path, NULL, "file, files or patterns"),
    DLT_COLUMNS(csv_params, target, "-1", "column to predict"),
    DLT_COLUMNS(csv_params, columns, "null", "columns to read; null is all"),
    DLT_ENUM(csv_params, header, header_names, auto, "whether the first line names the columns"),
    DLT_STRING(csv_params, delimiter, "null", "between fields; null finds out"),
    DLT_STRINGS(csv_params, missing, "['', NA, '?']", "texts that stand for nothing"),
    DLT_STRING_MAP(csv_params, label_map, "labels to rename"),
    {0},
};
static const dlt_kind source_csv = {.name = "CSV",
                                    .doc = "tables of text",
                                    .size = sizeof(csv_params),
                                    .fields = csv_fields,
                                    .aliases = "csv"};

typedef struct synthetic_params {
    int64_t samples;
    dlt_ints shape;
} synthetic_params;
static const dlt_field synthetic_fields[] = {
    DLT_INT(synthetic_params, samples, 1, 0x1p40, 1000, "number of samples"),
    DLT_SHAPE_FIELD(synthetic_params, shape, 1, 1 << 30, 8, "[4]", "of one sample"),
    {0},
};
static const dlt_kind source_synthetic = {.name = "Synthetic",
                                          .doc = "random samples",
                                          .size = sizeof(synthetic_params),
                                          .fields = synthetic_fields};
static const dlt_kind *const sources[] = {&source_idx, &source_csv, &source_synthetic};
static const dlt_kind *const validations[] = {&source_idx, &source_csv, &source_synthetic, &dlt_split_kind};

#define CATEGORY(name_, doc_, list, named_, trainable_)                                                      \
    {                                                                                                        \
        .name = name_, .doc = doc_, .kinds = list, .count = DLT_COUNT(list), .named = named_,                \
        .trainable = trainable_                                                                              \
    }
static const dlt_category categories[] = {
    CATEGORY("layer", "a step of the network", layers, true, true),
    CATEGORY("activation", "a function of each value", activations, false, false),
    CATEGORY("initializer", "what weights start from", initializers, false, false),
    CATEGORY("regularizer", "what weights cost", regularizers, false, false),
    CATEGORY("constraint", "what weights are held to", constraints, false, false),
    CATEGORY("loss", "what training makes small", losses, false, false),
    CATEGORY("metric", "a figure of merit", metrics, true, false),
    CATEGORY("optimizer", "how gradients become updates", optimizers, false, false),
    CATEGORY("schedule", "a rate that changes", schedules, false, false),
    CATEGORY("callback", "what happens between epochs", callbacks, false, false),
    CATEGORY("source", "where samples come from", sources, false, false),
    CATEGORY("validation", "what validation runs on", validations, false, false),
    CATEGORY("feature", "what becomes of a column", features, false, false),
};

const dlt_catalogue *dlt_catalogue_all(void)
{
    static const dlt_catalogue catalogue = {categories, DLT_COUNT(categories)};
    return &catalogue;
}

/* Kinds of this catalogue are names and fields: there is nothing behind them to look at. */
dlt_status dlt_probe_model(const dlt_run_spec *spec, bool no_data, dlt_session **session, dlt_diag *diag)
{
    (void)spec;
    (void)no_data;
    (void)diag;
    *session = NULL;
    return DLT_OK;
}
