/* graph/builder.h: making graphs. Layers, losses, metrics, optimizers, regularizers, constraints and schedules are written
 * in terms of these calls alone.
 *
 * The builder is sticky: after the first failure every call accepts NULL and returns NULL, so a layer needs no checks but
 * those of meaning. Each call infers the shape of its result and refuses what does not fit, naming the layer's place in
 * the model file. */
#ifndef DLT_GRAPH_BUILDER_H
#define DLT_GRAPH_BUILDER_H

#include "graph/graph.h"

typedef struct dlt_builder dlt_builder;

typedef enum dlt_mode { DLT_MODE_TRAIN, DLT_MODE_EVALUATE, DLT_MODE_PREDICT } dlt_mode;

typedef struct dlt_builder_options {
    const char *name; /* of the program: "train", ... */
    dlt_mode mode;
    dlt_dtype real; /* F32, or F64 for gradient checks */
    int64_t batch;
    uint64_t seed;
    int most_nodes; /* that the graph may have; 0: DLT_MAX_NODES */
} dlt_builder_options;
/** A graph of more nodes is refused: nested Repeat grows fast (decisions 38). */
enum { DLT_MAX_NODES = 1000000 };

/** An empty graph over `variables`. All memory comes from `arena`. */
dlt_builder *dlt_builder_create(dlt_arena *arena, dlt_variables *variables, const dlt_builder_options *options,
                                dlt_diag *diag);
/**
 * Ends the building: writes every variable whose value was set (ASSIGN), checks that nothing failed, returns the graph.
 */
dlt_status dlt_builder_finish(dlt_builder *b, dlt_graph **graph);

bool dlt_builder_failed(const dlt_builder *b);
/**
 * After a mistake of the model: goes on as if there had been none, so that mistakes in what does not hang on it are told too; who
 * calls this must end with dlt_builder_fail. false if building failed for another reason.
 */
bool dlt_builder_look_on(dlt_builder *b);
/** Fails for a mistake of the model that was told elsewhere. */
void dlt_builder_mistake(dlt_builder *b);
/** Whether a mistake of the model was told: what seems wrong now may follow from it. */
bool dlt_builder_mistaken(const dlt_builder *b);
/** True in a training program for a layer that is trainable: batch statistics, dropout. */
bool dlt_training(const dlt_builder *b);
dlt_mode dlt_builder_mode(const dlt_builder *b);
dlt_dtype dlt_real(const dlt_builder *b);
int64_t dlt_batch_size(const dlt_builder *b);
dlt_diag *dlt_builder_diag(const dlt_builder *b);
dlt_graph *dlt_builder_graph(dlt_builder *b);
dlt_shape dlt_shape_of(const dlt_value *v); /* rank 0 for NULL */

/* ---- where we are: scopes ---- */

/**
 * Enters a part of the model. `name` extends the path of nodes and variables ("conv2d_1"), `group` the path in the
 * weights file ("layers/conv2d_1"); either may be NULL to leave it. `pos.line == 0` keeps the place. Untrainable parts make
 * everything below untrainable.
 */
void dlt_scope_enter(dlt_builder *b, const char *name, const char *group, dlt_pos pos, bool trainable);
void dlt_scope_leave(dlt_builder *b);
/** Until the scope is left, axis 0 holds `steps` rows for each sample (TimeDistributed): random numbers follow samples. */
void dlt_scope_fold(dlt_builder *b, int64_t steps);
/** Enters a scope whose paths are given whole: that of a layer which is used again. Keeps the place. */
void dlt_scope_enter_at(dlt_builder *b, const char *path, const char *group, bool trainable);
/** Path of the present scope: "residual/conv2d_1"; and its group in weights files. */
const char *dlt_scope_path(const dlt_builder *b);
const char *dlt_scope_group(const dlt_builder *b);
/** Something that who builds wants to find again (layers/layer.c keeps the model there). */
void dlt_builder_set_context(dlt_builder *b, void *context);
void *dlt_builder_context(const dlt_builder *b);
dlt_pos dlt_scope_pos(const dlt_builder *b);
/** From here on nodes belong to this phase. */
void dlt_builder_phase(dlt_builder *b, dlt_phase phase);

/** Refuses: adds an error at the present scope's place (DLT_E_CONFIG), makes the builder sticky, returns NULL. */
dlt_value *dlt_reject(dlt_builder *b, const char *fmt, ...) DLT_PRINTF(2, 3);
/** The same at a place of its own and with a status of its own. */
dlt_value *dlt_reject_at(dlt_builder *b, dlt_status status, dlt_pos at, const char *fmt, ...) DLT_PRINTF(4, 5);
/** Makes the builder sticky without a word: what went wrong was said by another builder (the step of a cell). */
void dlt_builder_fail(dlt_builder *b);
/** True (and nothing is said) if any of the values is uncertain: then sizes are not yet to be complained about. */
bool dlt_uncertain(const dlt_value *a, const dlt_value *b);

/* ---- what enters ---- */

/** A weight of the present layer: trainable unless the scope is not. Same path again: the same weight (Reuse). */
dlt_value *dlt_weight(dlt_builder *b, const dlt_weight_params *params, dlt_shape shape);
/** The same with fans of its own for the initializer (attention projections). */
dlt_value *dlt_weight_fans(dlt_builder *b, const dlt_weight_params *params, dlt_shape shape, int64_t fan_in,
                           int64_t fan_out);
/** The same, but elements from..from+count-1 start as 1 whatever the initializer says (forget gates of LSTM). */
dlt_value *dlt_weight_ones(dlt_builder *b, const dlt_weight_params *params, dlt_shape shape, int64_t from, int64_t count);
/** A weight that no gradient updates: moving statistics, fitted numbers. initializer NULL: starts as `constant`. */
dlt_value *dlt_state(dlt_builder *b, const char *name, dlt_dtype type, dlt_shape shape, const dlt_item *initializer,
                     double constant);
/** Any variable: `like` gives path, role, type, shape and so on; found by path or added. Returns its present value. */
dlt_value *dlt_variable_value(dlt_builder *b, const dlt_variable *like);
/** The variable that a value came from, or NULL. */
dlt_variable *dlt_variable_of(const dlt_value *v);
/** The value becomes the variable's; later reads in this graph see it (decisions 16). Written after the guard. */
void dlt_assign(dlt_builder *b, dlt_variable *variable, dlt_value *value);
/** Present value of a variable in this graph. */
dlt_value *dlt_current(dlt_builder *b, dlt_variable *variable);

/** Next slot of the staging ring. shape includes the batch axis. */
dlt_value *dlt_input(dlt_builder *b, const char *name, dlt_dtype type, dlt_shape shape);
/** Scalar of the real type. */
dlt_value *dlt_constant(dlt_builder *b, double value);
dlt_value *dlt_constant_typed(dlt_builder *b, dlt_dtype type, double value);
/** Constant of any shape from `count` doubles in row-major order (copied). */
dlt_value *dlt_constant_array(dlt_builder *b, dlt_dtype type, dlt_shape shape, const double *values);
/** Names a value for the loop to read after a run. */
void dlt_output(dlt_builder *b, const char *name, dlt_value *value);

/* ---- elementwise: operands broadcast by numpy's rule and must have one type class (real or integer) ---- */

dlt_value *dlt_elementwise(dlt_builder *b, dlt_ew op, dlt_value *x, dlt_value *y, dlt_value *z); /* unused operands NULL */
dlt_value *dlt_neg(dlt_builder *b, dlt_value *x);
dlt_value *dlt_abs(dlt_builder *b, dlt_value *x);
dlt_value *dlt_square(dlt_builder *b, dlt_value *x);
dlt_value *dlt_sqrt(dlt_builder *b, dlt_value *x);
dlt_value *dlt_rsqrt(dlt_builder *b, dlt_value *x);
dlt_value *dlt_exp(dlt_builder *b, dlt_value *x);
dlt_value *dlt_log(dlt_builder *b, dlt_value *x);
dlt_value *dlt_log1p(dlt_builder *b, dlt_value *x);
dlt_value *dlt_tanh(dlt_builder *b, dlt_value *x);
dlt_value *dlt_sigmoid(dlt_builder *b, dlt_value *x);
dlt_value *dlt_softplus(dlt_builder *b, dlt_value *x);
dlt_value *dlt_erf(dlt_builder *b, dlt_value *x);
dlt_value *dlt_relu(dlt_builder *b, dlt_value *x);
dlt_value *dlt_not(dlt_builder *b, dlt_value *x);
dlt_value *dlt_stop_gradient(dlt_builder *b, dlt_value *x);
dlt_value *dlt_cast(dlt_builder *b, dlt_value *x, dlt_dtype type); /* x itself if it has the type */
dlt_value *dlt_add(dlt_builder *b, dlt_value *x, dlt_value *y);
dlt_value *dlt_sub(dlt_builder *b, dlt_value *x, dlt_value *y);
dlt_value *dlt_mul(dlt_builder *b, dlt_value *x, dlt_value *y);
dlt_value *dlt_div(dlt_builder *b, dlt_value *x, dlt_value *y);
dlt_value *dlt_max(dlt_builder *b, dlt_value *x, dlt_value *y);
dlt_value *dlt_min(dlt_builder *b, dlt_value *x, dlt_value *y);
dlt_value *dlt_pow(dlt_builder *b, dlt_value *x, dlt_value *y);
dlt_value *dlt_less(dlt_builder *b, dlt_value *x, dlt_value *y);       /* comparisons give 1 or 0 in the operands' */
dlt_value *dlt_less_equal(dlt_builder *b, dlt_value *x, dlt_value *y); /* type if real, uint8 if integers */
dlt_value *dlt_equal(dlt_builder *b, dlt_value *x, dlt_value *y);
dlt_value *dlt_and(dlt_builder *b, dlt_value *x, dlt_value *y);
dlt_value *dlt_select(dlt_builder *b, dlt_value *condition, dlt_value *yes, dlt_value *no);
/* with a number as the second operand */
dlt_value *dlt_add_c(dlt_builder *b, dlt_value *x, double c);
dlt_value *dlt_sub_c(dlt_builder *b, dlt_value *x, double c); /* x - c */
dlt_value *dlt_c_sub(dlt_builder *b, double c, dlt_value *x); /* c - x */
dlt_value *dlt_mul_c(dlt_builder *b, dlt_value *x, double c);
dlt_value *dlt_div_c(dlt_builder *b, dlt_value *x, double c);
dlt_value *dlt_max_c(dlt_builder *b, dlt_value *x, double c);
dlt_value *dlt_min_c(dlt_builder *b, dlt_value *x, double c);
/** Position along an axis (from 0) as an array of this shape. */
dlt_value *dlt_index(dlt_builder *b, dlt_dtype type, dlt_shape shape, int axis);
/** x repeated to a shape it broadcasts to. */
dlt_value *dlt_broadcast_to(dlt_builder *b, dlt_value *x, dlt_shape shape);
/** 1 where ids (any shape, integers) equal the index along a new last axis of size n, in the real type. */
dlt_value *dlt_one_hot(dlt_builder *b, dlt_value *ids, int64_t n);
/**
 * Uniform in [0, 1) of the real type. The stream is that of the present path and `purpose` (and of which use of the layer
 * this is); axis 0 counts samples, or steps of samples inside dlt_scope_fold.
 * once: drawn once a batch, from its first sample (a mask shared by the batch).
 */
dlt_value *dlt_uniform(dlt_builder *b, const char *purpose, dlt_shape shape, bool once);
/** For ops that draw inside: number of the step's first sample (int64 scalar), and a stream as dlt_uniform takes it. */
dlt_value *dlt_samples(dlt_builder *b);
uint32_t dlt_stream(dlt_builder *b, const char *purpose);

/* ---- reductions. axes: bit i is axis i ---- */

typedef struct dlt_reduce_attrs {
    dlt_reduce_kind kind;
    uint32_t axes;
    bool keep; /* reduced axes stay with size 1 */
} dlt_reduce_attrs;
dlt_value *dlt_reduce(dlt_builder *b, dlt_reduce_kind kind, dlt_value *x, uint32_t axes, bool keep);
dlt_value *dlt_sum(dlt_builder *b, dlt_value *x, uint32_t axes, bool keep);
dlt_value *dlt_mean(dlt_builder *b, dlt_value *x, uint32_t axes, bool keep);
dlt_value *dlt_sum_all(dlt_builder *b, dlt_value *x);  /* scalar */
dlt_value *dlt_mean_all(dlt_builder *b, dlt_value *x); /* scalar */
/** Sum over the axes in which x is larger than shape, so that the result has it: the gradient of a broadcast. */
dlt_value *dlt_sum_to(dlt_builder *b, dlt_value *x, dlt_shape shape);
/** Bits of the axes from `first` on. */
uint32_t dlt_axes_from(const dlt_value *x, int first);
uint32_t dlt_axis_bit(const dlt_value *x, int axis); /* negative axes count from the end */

/* ---- moving ---- */

typedef struct dlt_transpose_attrs {
    int perm[DLT_MAX_RANK]; /* output axis i is input axis perm[i] */
} dlt_transpose_attrs;
typedef struct dlt_slice_attrs {
    int axis;
    int64_t start, count;
} dlt_slice_attrs;
typedef struct dlt_pad_attrs {
    int axis;
    int64_t before, after; /* zeros */
} dlt_pad_attrs;
typedef struct dlt_axis_attrs { /* CONCAT, REVERSE, CUMSUM */
    int axis;
    bool reverse; /* CUMSUM from the end */
} dlt_axis_attrs;
dlt_value *dlt_reshape(dlt_builder *b, dlt_value *x, dlt_shape shape);
/** (B, ...) to (B, rest): keeps the first axis. */
dlt_value *dlt_flatten(dlt_builder *b, dlt_value *x);
dlt_value *dlt_expand(dlt_builder *b, dlt_value *x, int axis); /* new axis of size 1 at `axis`; -1: last */
dlt_value *dlt_squeeze(dlt_builder *b, dlt_value *x, int axis);
dlt_value *dlt_transpose(dlt_builder *b, dlt_value *x, const int *perm);
dlt_value *dlt_slice(dlt_builder *b, dlt_value *x, int axis, int64_t start, int64_t count);
dlt_value *dlt_pad(dlt_builder *b, dlt_value *x, int axis, int64_t before, int64_t after);
dlt_value *dlt_concat(dlt_builder *b, dlt_value *const *parts, int count, int axis);
dlt_value *dlt_reverse(dlt_builder *b, dlt_value *x, int axis);
/** Row ids[...] of table (V, ...): shape ids + table's without its first axis. Out of range: row 0 of the gradient and
 * a value of NaN (INT_MIN for integers): data are range-checked before they get here. */
dlt_value *dlt_gather(dlt_builder *b, dlt_value *table, dlt_value *ids);
/** (rows, ...) of zeros plus x's rows at ids, added in the order of ids. */
dlt_value *dlt_scatter_add(dlt_builder *b, dlt_value *ids, dlt_value *x, int64_t rows);

/* ---- images ---- */

/* WARP: x, transform -> y. WARP_DX: dy, transform -> dx: each pixel of dy goes back to where y took it from. */
typedef enum dlt_fill_mode { /* what lies outside an image with the row a b c d */
    DLT_FILL_CONSTANT,       /* k k k k | a b c d | k k k k */
    DLT_FILL_NEAREST,        /* a a a a | a b c d | d d d d */
    DLT_FILL_REFLECT,        /* d c b a | a b c d | d c b a */
    DLT_FILL_WRAP            /* a b c d | a b c d | a b c d */
} dlt_fill_mode;
typedef struct dlt_warp_attrs {
    int64_t height, width; /* of the result */
    bool nearest;          /* the nearest pixel, of two equally near the one farther from 0; else bilinear */
    dlt_fill_mode fill_mode;
    double fill_value;     /* k of DLT_FILL_CONSTANT */
} dlt_warp_attrs;
/**
 * Samples images x (B, H, W, C), real, at affinely transformed places: (B, height, width, C). Pixel (row j, column i) of the result is
 * taken from row b0 i + b1 j + b2 and column a0 i + a1 j + a2 of the input, where a row of `transform`, (B, 6) or (1, 6) for all
 * images, is a0 a1 a2 b0 b1 b2. The fill mode holds for each of the four pixels of a bilinear sample by itself; one of weight 0 is not
 * looked at, so whole steps and mirrored images are exact copies. Places beyond 2^30 count as 2^30, NaN as -2^30.
 * The transform has no gradient. Source: keras.ops.image.affine_transform on JAX.
 */
dlt_value *dlt_warp(dlt_builder *b, dlt_value *x, dlt_value *transform, const dlt_warp_attrs *attrs);

/* ---- order and counting: no gradients but top_k's values ---- */

typedef struct dlt_top_k_attrs {
    int64_t k;
} dlt_top_k_attrs;
/** The k largest of the last axis, descending, of equals the lower index first; *indices (int32) may be NULL. */
dlt_value *dlt_top_k(dlt_builder *b, dlt_value *x, int64_t k, dlt_value **indices);
/** Index of the first largest of the last axis, int32. */
dlt_value *dlt_argmax(dlt_builder *b, dlt_value *x);
typedef struct dlt_bincount_attrs {
    int64_t bins;
} dlt_bincount_attrs;
/** Sum of weights (real, same shape) for each bin of ids (int32; outside 0..bins-1: not counted); (bins), float64. */
dlt_value *dlt_bincount(dlt_builder *b, dlt_value *ids, dlt_value *weights, int64_t bins);
dlt_value *dlt_cumsum(dlt_builder *b, dlt_value *x, int axis, bool reverse);

/* ---- products ---- */

typedef struct dlt_matmul_attrs {
    bool trans_a, trans_b; /* of the last two axes */
} dlt_matmul_attrs;
/**
 * (..., M, K) times (K, N), or times (..., K, N) with the same leading axes. With a rank-2 second operand the leading
 * axes of the first are rows; then trans_a needs rank 2.
 */
dlt_value *dlt_matmul(dlt_builder *b, dlt_value *x, dlt_value *y, bool trans_x, bool trans_y);

enum { DLT_MAX_SPATIAL = 3 };
/** Window geometry of convolutions and pools, 1 to 3 spatial axes between N and C. */
typedef struct dlt_window {
    int axes;
    int64_t size[DLT_MAX_SPATIAL], stride[DLT_MAX_SPATIAL], dilation[DLT_MAX_SPATIAL];
    int64_t before[DLT_MAX_SPATIAL], after[DLT_MAX_SPATIAL]; /* padding */
} dlt_window;
typedef struct dlt_conv_attrs {
    dlt_window window;
    int64_t groups;
    dlt_shape x_shape, kernel_shape; /* CONV_DX, CONV_DW: shape of the result */
} dlt_conv_attrs;
/** Fills `before` and `after` for Keras' "same" (keras-layers.md 0.1) of an input (N, spatial..., C). */
void dlt_window_same(dlt_window *window, const dlt_shape *x);
/** Output sizes of the spatial axes; false where the window does not fit. */
bool dlt_window_output(const dlt_window *window, const dlt_shape *x, int64_t out[DLT_MAX_SPATIAL]);
/** Cross-correlation of x (N, spatial..., C) with kernel (spatial..., C / groups, F): (N, spatial'..., F). */
dlt_value *dlt_conv(dlt_builder *b, dlt_value *x, dlt_value *kernel, const dlt_window *window, int64_t groups);
dlt_value *dlt_max_pool(dlt_builder *b, dlt_value *x, const dlt_window *window); /* padding never wins */
dlt_value *dlt_avg_pool(dlt_builder *b, dlt_value *x, const dlt_window *window); /* padding is not counted */

/* ---- norms and softmax ---- */

/* BATCH_NORM, LAYER_NORM: x, [gamma], [beta] -> y, mean, variance, rstd = rsqrt(variance + epsilon).
 * *_DX: dy, x, mean, rstd, [gamma] -> dx, dgamma, dbeta. Results that nobody uses are not computed. */
typedef struct dlt_norm_attrs {
    double epsilon;
    int axes; /* LAYER_NORM: number of trailing axes that are normalised together */
    bool has_gamma, has_beta;
} dlt_norm_attrs;
/**
 * Batch statistics over all axes but the last: y = (x - mean) rsqrt(var + eps) gamma + beta with the biased variance.
 * gamma, beta (C) or NULL. *mean and *variance (C) carry no gradient.
 */
dlt_value *dlt_batch_norm(dlt_builder *b, dlt_value *x, dlt_value *gamma, dlt_value *beta, double epsilon,
                          dlt_value **mean, dlt_value **variance);
/** The same over the last `axes` axes of each row; gamma, beta have their shape, or NULL. */
dlt_value *dlt_layer_norm(dlt_builder *b, dlt_value *x, dlt_value *gamma, dlt_value *beta, int axes, double epsilon);
/* SOFTMAX: x -> y. SOFTMAX_DX: dy, y -> dx. SOFTMAX_XENT: logits, target -> loss, probabilities. */
dlt_value *dlt_softmax(dlt_builder *b, dlt_value *x); /* last axis */
dlt_value *dlt_log_softmax(dlt_builder *b, dlt_value *x);
/**
 * Cross-entropy from logits (..., C): -sum_c t log softmax(z). target: probabilities (..., C), or class numbers (...)
 * (integers; outside 0..C-1 gives loss 0 and no gradient: ignored classes). Result (...).
 */
dlt_value *dlt_softmax_xent(dlt_builder *b, dlt_value *logits, dlt_value *target);

/* ---- sequences ---- */

/* RNN: x, [kernel], [bias], params..., [mask], [initial states...] -> y, last, saved.
 * RNN_DX: [dy], [dlast], the inputs of RNN, y, saved -> dx, [dkernel], [dbias], dparams..., [dinitial...].
 * `saved` is opaque (uint8): the backend says at selection how large it is and what it holds. */

/** The step of a recurrent cell as a small graph (decisions 10). */
typedef struct dlt_rnn_body {
    dlt_graph *graph;  /* inputs: projected input of the step (B, P), states (B, U) each, then parameters;
                          outputs: "s0", "s1", ...: the new states */
    int states, params;
} dlt_rnn_body;
/** The first parameter of all but OTHER is the recurrent kernel (U, P); GRU's second is its recurrent bias (P), if any. */
typedef enum dlt_rnn_cell {
    DLT_RNN_OTHER,
    DLT_RNN_SIMPLE,
    DLT_RNN_LSTM,     /* gates i f c o */
    DLT_RNN_GRU,      /* gates z r h, reset after the product (two biases) */
    DLT_RNN_GRU_BEFORE /* reset before it */
} dlt_rnn_cell;
typedef struct dlt_rnn_attrs {
    dlt_rnn_cell cell;         /* what a backend may know a kernel for; the body says what it means */
    const char *activation, *recurrent_activation; /* names, for such kernels; NULL: not a plain name */
    int64_t units;
    bool backwards;            /* from the last step to the first; outputs in processing order */
    bool zero_masked;          /* output 0 at masked steps instead of the last output */
    bool projected;            /* input 0 is (B, T, P) already: no kernel and bias */
    bool has_kernel, has_bias, has_mask, has_initial; /* filled in by dlt_rnn */
    bool has_dy, has_dlast;    /* RNN_DX: which of the results had a gradient */
    dlt_rnn_body body;
    dlt_rnn_body grad;         /* RNN_DX: inputs: step's projected input, states before, gradients of the new states,
                                  parameters; outputs "dx", "ds0".., "dp0".. */
} dlt_rnn_attrs;
typedef struct dlt_rnn_args {
    dlt_value *x;               /* (B, T, C), or (B, T, P) when kernel is NULL */
    dlt_value *kernel, *bias;   /* (C, P), (P); either may be NULL */
    dlt_value *const *params;   /* of the body: recurrent kernel, recurrent bias, dropout mask, ... */
    int param_count;
    dlt_value *mask;            /* uint8 (B, T) or NULL */
    dlt_value *const *initial;  /* one (B, U) a state, or NULL: zeros */
    const dlt_rnn_attrs *attrs; /* copied */
} dlt_rnn_args;
/**
 * Runs a cell over axis 1. Result: outputs (B, T, U) in processing order; *last: state 0 after the last step (B, U).
 * Either is computed only where it is used.
 */
dlt_value *dlt_rnn(dlt_builder *b, const dlt_rnn_args *args, dlt_value **last);

/* ATTENTION: q, k, v, [mask], [first sample] -> o, lse (B, H, T): logarithm of the sum of exponentials of each row.
 * ATTENTION_DX: do, q, k, v, o, lse, [mask], [first sample] -> dq, dk, dv. Element of the dropout draw of a sample:
 * (h T + i) S + j. */
typedef struct dlt_attention_attrs {
    double scale;
    bool causal;    /* query i sees keys j <= i */
    bool has_mask;  /* filled in by dlt_attention */
    double dropout; /* on the probabilities; 0: none */
    uint32_t stream; /* of the draw; 0: that of "dropout" */
    uint64_t seed;   /* filled in by dlt_attention */
} dlt_attention_attrs;
/**
 * softmax(scale q k^T + masks) v for q, k (B, T, H, D), v (B, S, H, E): (B, T, H, E). mask: uint8 (B, S) keys to see, or
 * NULL. A query that sees no key gets the mean of all values, as Keras' additive mask gives it.
 */
dlt_value *dlt_attention(dlt_builder *b, dlt_value *q, dlt_value *k, dlt_value *v, dlt_value *mask,
                         const dlt_attention_attrs *attrs);

/**
 * Repeats the nodes of a finished graph here, with inputs[i] in place of its i-th INPUT; outputs[i] gets its i-th named
 * output. The graph must read no variables.
 */
void dlt_inline(dlt_builder *b, const dlt_graph *graph, dlt_value *const *inputs, dlt_value **outputs);

/* ---- penalties: activity_regularizer ---- */

typedef struct dlt_penalty {
    const dlt_item *regularizer; /* category "regularizer"; NULL: value is the penalty itself, a scalar */
    dlt_value *value;            /* its first axis is the batch, or samples times steps inside dlt_scope_fold */
} dlt_penalty;
/** Asks the trainer to add regularizer(value) / batch to the loss. regularizer NULL: nothing. */
void dlt_penalise(dlt_builder *b, const dlt_item *regularizer, dlt_value *value);
/** The same with a scalar that is added as it is. */
void dlt_penalise_by(dlt_builder *b, dlt_value *penalty);
/**
 * What was asked for so far, in order. Rows of a batch that are padding would count in it: a program with penalties is not
 * padded (decisions 14).
 */
const dlt_penalty *dlt_penalties(const dlt_builder *b, int *count);

/* ---- the step ---- */

/**
 * Gradients of a scalar with respect to values: out[i] gets the gradient of wrt[i], or zeros. Adds nodes of phase BACKWARD.
 * Sums of several contributions are taken in the order in which the forward nodes stand. Symbol to symbol: the result can
 * be differentiated again.
 */
void dlt_gradients(dlt_builder *b, dlt_value *of, dlt_value *const *wrt, int count, dlt_value **out);
/** The same starting from given gradients of several values. */
void dlt_gradients_from(dlt_builder *b, dlt_value *const *of, dlt_value *const *seeds, int of_count,
                        dlt_value *const *wrt, int count, dlt_value **out);

/**
 * The guard looks at this value, too: what a layer's new state is made of (moving statistics), for which a finite loss does
 * not vouch. Not the new state itself, which is then written in place behind the guard.
 */
void dlt_watch(dlt_builder *b, dlt_value *value);
/**
 * Marks the end of what a step may not yet write: stops the step unless all elements are finite (decisions 11), of these
 * values and of those that are watched.
 */
void dlt_guard(dlt_builder *b, dlt_value *const *values, int count);
/**
 * All trainable variables as one vector, in list order, padding between them included: what an optimizer updates in one
 * piece. `grads` (one a variable, in that order) gives the vector of gradients.
 */
dlt_value *dlt_flat_params(dlt_builder *b);
dlt_value *dlt_flat_grads(dlt_builder *b, dlt_value *const *grads, int count);
/** The part of such a vector, or of a slot, that belongs to a trainable variable, in the variable's shape. */
dlt_value *dlt_flat_part(dlt_builder *b, dlt_value *flat, dlt_variable *variable);
/** Optimizer slot of the shape of the flat parameters; `name` is "m", "v", ... */
dlt_value *dlt_flat_slot(dlt_builder *b, const char *name, double constant, dlt_variable **variable);
/** Sets all trainable variables from one vector; dlt_current then gives each its part. */
void dlt_assign_flat(dlt_builder *b, dlt_value *flat);

#endif
