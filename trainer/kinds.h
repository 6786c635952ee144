/* trainer/kinds.h: what a loss, metric, optimizer, schedule, initializer, regularizer, constraint and
 * callback is.
 *
 * The kinds of a category stand in a folder of its name, one row each in the folder's .def list;
 * trainer/registry.c makes tables of the lists. All but initializers, metric results and callbacks are
 * written in builder calls, so they run on the device and differentiate themselves. Numbers and names are
 * those of Keras (keras-training.md). */
#ifndef DLT_TRAINER_KINDS_H
#define DLT_TRAINER_KINDS_H

#include "base/kind.h"
#include "graph/builder.h"

/** keras.config.epsilon(): the small number in all formulas that have one. */
#define DLT_EPSILON 1e-7

/* ---- what a loss or metric sees ---- */

/** Operands of a loss or metric for one batch. */
typedef struct dlt_outcome {
    dlt_value *y_true; /* any type and shape that dlt_outcome_match can bring to y_pred's */
    dlt_value *y_pred;
    dlt_value *mask;   /* uint8 (B, T), or NULL: then y_pred's own */
    dlt_value *weight; /* of the user: (B), (B, 1), (B, T), ... of any real or integer type; NULL: none */
    dlt_value *rows;   /* int32 scalar: so many rows of the batch count, the rest is padding; NULL: all */
} dlt_outcome;

/** What a loss or metric wants of y_true. */
typedef enum dlt_target_form {
    DLT_TARGET_SAME,   /* real, the shape of y_pred */
    DLT_TARGET_CLASSES /* int32 class numbers, the shape of y_pred without its last axis */
} dlt_target_form;

/**
 * Brings y_true and y_pred to one shape and type by Keras' rules (losses/loss.py,
 * squeeze_or_expand_to_same_rank): real y_pred, y_true as `form` says. Where Keras would squeeze (B, T, 1)
 * against (B, T) although a mask or weights by step are there - which then fails - y_true is expanded
 * instead. False, with an error at the present place, where the shapes do not fit.
 */
bool dlt_outcome_match(dlt_builder *b, const dlt_outcome *outcome, dlt_target_form form,
                       dlt_outcome *matched);
/** 1 for each row that counts, 0 for padding: real (B); NULL if there is no padding. */
dlt_value *dlt_outcome_rows(dlt_builder *b, const dlt_outcome *outcome);
/**
 * Makes a weight or mask broadcastable to `shape`: trailing axes of size 1 are dropped or added, so that (B)
 * stands for each element of a sample. Real; NULL with an error where it does not fit.
 */
dlt_value *dlt_weight_aligned(dlt_builder *b, dlt_value *weight, dlt_shape shape);

/* small formulas that kinds share */
dlt_value *dlt_clip(dlt_builder *b, dlt_value *x, double lo, double hi);
/** x / y, 0 where y is 0. */
dlt_value *dlt_divide_no_nan(dlt_builder *b, dlt_value *x, dlt_value *y);
/** x divided by the Euclidean norm along an axis (Keras' ops.normalize: by EPS where the norm is smaller). */
dlt_value *dlt_normalize(dlt_builder *b, dlt_value *x, int axis);
/** x with `axis` moved to the end, the others in their order: a kind with an axis parameter then works on the
 * last one. */
dlt_value *dlt_axis_to_last(dlt_builder *b, dlt_value *x, int axis);
/**
 * What a softmax (or sigmoid) directly before was computed from, or NULL: cross-entropies are then taken from
 * logits (decisions 13).
 */
dlt_value *dlt_logits_of(const dlt_value *probabilities, bool softmax);

/* ---- losses ---- */

typedef enum dlt_reduction {
    DLT_REDUCTION_SUM_OVER_BATCH_SIZE,
    DLT_REDUCTION_SUM,
    DLT_REDUCTION_MEAN_WITH_SAMPLE_WEIGHT,
    DLT_REDUCTION_MEAN /* the same as the first, as in Keras */
} dlt_reduction;
extern const char *const dlt_reduction_names[];

/** What the check of the whole model asks of targets and outputs. */
typedef enum dlt_fits {
    DLT_FITS_NUMBERS,       /* any numbers */
    DLT_FITS_PROBABILITIES, /* outputs in [0, 1], targets of their shape */
    DLT_FITS_BINARY,        /* two classes: one output, or one for each label of a sample */
    DLT_FITS_CLASSES        /* one output a class */
} dlt_fits;

/** The parameter struct of a loss begins with this; DLT_LOSS_FIELDS is its row. */
typedef struct dlt_loss_params {
    int reduction; /* dlt_reduction */
} dlt_loss_params;
#define DLT_LOSS_FIELDS                                                                                      \
    DLT_ENUM(dlt_loss_params, reduction, dlt_reduction_names, sum_over_batch_size,                           \
             "how the losses of a batch become one number")

typedef struct dlt_loss_desc dlt_loss_desc;
struct dlt_loss_desc {
    dlt_kind kind;
    /**
     * The loss before reduction (Keras: a Loss' call): one value for each element of y_pred without its last
     * axis, or another axis of the kind's. y_true and y_pred come from dlt_outcome_match. *mask: elements
     * that count (real 0 or 1, shape of the result), or left NULL.
     */
    dlt_value *(*build)(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask);
    dlt_target_form form;
    dlt_fits fits;
    /** Offset of the bool `from_logits` in params, or -1: no such parameter. */
    int from_logits;
    /** Parameters as a bare word has them; only where `resolve` may lead here. */
    const void *defaults;
    /** `crossentropy`: the loss that it stands for with these shapes (Keras' compile). NULL: itself. */
    const dlt_loss_desc *(*resolve)(const dlt_shape *y_true, const dlt_shape *y_pred);
};

/** The loss and its parameters that an item stands for with these shapes. */
const dlt_loss_desc *dlt_loss_resolve(const dlt_item *loss, const dlt_shape *y_true, const dlt_shape *y_pred,
                                      const void **params);
/** Keras' rule for `crossentropy` and `accuracy`: is it about two classes, or about class numbers? */
void dlt_resolve_shapes(const dlt_shape *y_true, const dlt_shape *y_pred, bool *binary, bool *sparse);
/** The reduced loss, a scalar (keras-training.md 3): shapes, mask, weights, padding, reduction. */
dlt_value *dlt_loss_apply(dlt_builder *b, const dlt_item *loss, const dlt_outcome *outcome);

/* ---- metrics ---- */

typedef enum dlt_direction { DLT_NO_DIRECTION, DLT_SMALLER_IS_BETTER, DLT_LARGER_IS_BETTER } dlt_direction;

/** Most accumulators of one metric. */
enum { DLT_METRIC_MAX_SUMS = 8 };

typedef struct dlt_metric_desc dlt_metric_desc;
struct dlt_metric_desc {
    dlt_kind kind;
    dlt_direction direction;
    dlt_target_form form;
    dlt_fits fits;
    /** Adds this batch to the metric's sums (dlt_metric_sum). The outcome comes from dlt_outcome_match. */
    void (*update)(dlt_builder *b, const void *params, const dlt_outcome *outcome);
    /**
     * The metric's value from its sums, read back from the device: sums[i], of counts[i] elements, belongs to
     * the i-th dlt_metric_sum call. A metric with several values (a list of thresholds) writes several;
     * returns how many there are, and writes at most `room`.
     */
    int (*result)(const void *params, const double *const *sums, const int64_t *counts, double *out,
                  int room);
    /** Log name of an object without `name:`. NULL: the class in snake case, numbered: auc, auc_1. */
    const char *default_name;
    const void *defaults; /* as in dlt_loss_desc */
    /** `accuracy` as a bare word: the metric that it stands for with these shapes. NULL: itself. */
    const dlt_metric_desc *(*resolve)(const dlt_shape *y_true, const dlt_shape *y_pred);
};

/** A float64 accumulator of the present metric, 0 at the start of an epoch, and what is added to it. */
void dlt_metric_sum(dlt_builder *b, const char *name, dlt_value *addend);
/**
 * Sums "total" and "count" of a mean over samples (Keras' Mean): a sample's value is the mean of its
 * elements, weighted by weight and mask. values: real (B, ...). own_mask: as a loss gives it, or NULL; Keras
 * looks at it only where there are weights.
 */
void dlt_metric_mean(dlt_builder *b, const dlt_outcome *outcome, dlt_value *values, dlt_value *own_mask);
/** total / count, 0 if nothing was counted: the result of such a metric. */
int dlt_metric_mean_result(const void *params, const double *const *sums, const int64_t *counts, double *out,
                           int room);

/* ---- optimizers ---- */

/** Parameters that every optimizer takes; its struct begins with this. DLT_OPTIMIZER_FIELDS: the rows. */
typedef struct dlt_optimizer_params {
    const dlt_item *learning_rate; /* of category "schedule"; a plain number is kind `number` */
    dlt_opt_float weight_decay, clipnorm, clipvalue, global_clipnorm;
    bool use_ema;
    double ema_momentum;
    dlt_opt_int ema_overwrite_frequency, gradient_accumulation_steps;
    dlt_opt_float loss_scale_factor;
} dlt_optimizer_params;

/* a row whose default is a number, which DLT_OPT_FLOAT does not have */
#define DLT_OPT_FLOAT_DEFAULT(T, member, lo, hi, flags_, default_, doc_)                                     \
    {                                                                                                        \
        .name = #member, .type = DLT_FIELD_OPT_FLOAT, .offset = DLT_MEMBER_(T, member, dlt_opt_float),       \
        .min = (lo), .max = (hi), .def = #default_, .flags = (flags_), .doc = doc_                           \
    }
#define DLT_OPTIMIZER_FIELDS(rate_, decay_)                                                                  \
    DLT_FLOAT_OR_ITEM(dlt_optimizer_params, learning_rate, 0, HUGE_VAL, DLT_FIELD_CHANGEABLE, "schedule",    \
                      rate_, "size of a step: a number or a schedule"),                                      \
        DLT_OPT_FLOAT_DEFAULT(                                                                               \
            dlt_optimizer_params, weight_decay, 0, HUGE_VAL, 0, decay_,                                      \
            "share of each weight, times the learning rate, that is taken away before a step"),              \
        DLT_OPT_FLOAT(dlt_optimizer_params, clipnorm, 0, HUGE_VAL, DLT_FIELD_OPEN_MIN,                       \
                      "most that the norm of each weight's gradient may be"),                                \
        DLT_OPT_FLOAT(dlt_optimizer_params, clipvalue, 0, HUGE_VAL, DLT_FIELD_OPEN_MIN,                      \
                      "most that each element of a gradient may be"),                                        \
        DLT_OPT_FLOAT(dlt_optimizer_params, global_clipnorm, 0, HUGE_VAL, DLT_FIELD_OPEN_MIN,                \
                      "most that the norm of all gradients together may be"),                                \
        DLT_BOOL(dlt_optimizer_params, use_ema, false,                                                       \
                 "keep a moving average of the weights, which replaces them at the end of fit"),             \
        DLT_FLOAT(dlt_optimizer_params, ema_momentum, 0, 1, 0.99,                                            \
                  "share of the old average that stays at each step"),                                       \
        DLT_OPT_INT(dlt_optimizer_params, ema_overwrite_frequency, 1, 1e15,                                  \
                    "steps after which the average replaces the weights, again and again"),                  \
        DLT_OPT_FLOAT(dlt_optimizer_params, loss_scale_factor, 0, HUGE_VAL, DLT_FIELD_OPEN_MIN,              \
                      "the loss is multiplied by it, and the gradients divided again"),                      \
        DLT_OPT_INT(dlt_optimizer_params, gradient_accumulation_steps, 2, 1e9,                               \
                    "batches whose gradients are averaged before a step is made")
/** The `check` of every optimizer: at most one of the clip parameters. */
void dlt_optimizer_check(const dlt_item *item, dlt_diag *diag);

typedef struct dlt_optimizer_io {
    dlt_value *w, *g; /* all trainable weights and gradients as vectors; decayed and clipped already */
    dlt_value *rate;  /* real scalar */
    dlt_value *step;  /* float64 scalar: updates so far plus one (t of the formulas) */
} dlt_optimizer_io;

enum { DLT_OPTIMIZER_MAX_SLOTS = 4 };
typedef struct dlt_optimizer_desc {
    dlt_kind kind;
    /** The new weights. Slots by dlt_flat_slot, under the names of `slots`, and dlt_assign. */
    dlt_value *(*update)(dlt_builder *b, const void *params, const dlt_optimizer_io *io);
    /** Names of the slots in the order of Keras' file (keras-training.md 6.6); returns how many. */
    int (*slots)(const void *params, const char *names[DLT_OPTIMIZER_MAX_SLOTS]);
    /** Of these the first so many alternate in the file: m(w0), v(w0), m(w1), ...; others follow one by one. */
    int interleaved;
    /** A real scalar, dlt_optimizer_scalar, that ends the file (Nadam's u_product). NULL: none. */
    const char *scalar;
    /** Its slots are sums without end, which may overflow where the new weights do not; means of finite numbers cannot. */
    bool sums;
} dlt_optimizer_desc;
/** The optimizer's scalar variable: its value, and the variable for dlt_assign. */
dlt_value *dlt_optimizer_scalar(dlt_builder *b, const char *name, double start, dlt_variable **variable);
/**
 * 1 - beta^t, real scalar; beta in [0, 1), step a float64 scalar. In float32 beta and the power are rounded
 * where Keras rounds them, before the subtraction: 1 - 0.999 is then wrong by 3e-5, and in both alike.
 */
dlt_value *dlt_one_minus_power(dlt_builder *b, double beta, dlt_value *step);
/** The new value of a slot, assigned to it: slot + (x - slot) (1 - beta), as Keras' Adam family has it. */
dlt_value *dlt_moving_slot(dlt_builder *b, const char *name, dlt_value *x, double beta);

/* ---- schedules ---- */

typedef struct dlt_schedule_desc {
    dlt_kind kind;
    /** The rate, float64 scalar, at `step` (the same: micro-steps so far). NULL where `constant`. */
    dlt_value *(*build)(dlt_builder *b, const void *params, dlt_value *step);
    bool constant; /* a plain number: then the rate is a variable that callbacks may change */
} dlt_schedule_desc;
typedef struct dlt_constant_rate_params {
    double value;
} dlt_constant_rate_params;

/* ---- initializers ---- */

typedef struct dlt_initializer_io {
    dlt_shape shape;
    int64_t fan_in, fan_out;
    uint64_t seed;
    uint32_t stream; /* of the weight's path */
    double *out;     /* row-major */
} dlt_initializer_io;
typedef struct dlt_initializer_desc {
    dlt_kind kind;
    /** False when memory is refused. The shape fits `rank`. */
    bool (*fill)(const void *params, const dlt_initializer_io *io);
    int min_rank, max_rank; /* max 0: any */
} dlt_initializer_desc;
/** fan_in, fan_out by the shape's rule (keras-training.md 10). */
void dlt_fans(const dlt_shape *shape, int64_t *fan_in, int64_t *fan_out);

/* ---- regularizers, constraints ---- */

typedef struct dlt_regularizer_desc {
    dlt_kind kind;
    dlt_value *(*build)(dlt_builder *b, const void *params, dlt_value *w); /* scalar */
} dlt_regularizer_desc;
typedef struct dlt_constraint_desc {
    dlt_kind kind;
    dlt_value *(*build)(dlt_builder *b, const void *params, dlt_value *w); /* shape of w */
} dlt_constraint_desc;
/** The value of a regularizer, scalar; of a constraint, shape of w. item NULL: NULL, or w. */
dlt_value *dlt_regularize(dlt_builder *b, const dlt_item *item, dlt_value *w);
dlt_value *dlt_constrain(dlt_builder *b, const dlt_item *item, dlt_value *w);
/** Nodes of a layer's penalties stand in the scope "LAYER/penalty". */
#define DLT_PENALTY_SCOPE "penalty"
/**
 * What is added to the loss: penalties of all trainable weights, and those that layers asked for
 * (dlt_penalties) of their outputs, divided by the number of rows. rows: as in dlt_outcome. NULL if there are
 * none.
 */
dlt_value *dlt_penalty_total(dlt_builder *b, dlt_value *rows);

/* ---- callbacks ---- */

/** Room for the longest name of a value: DLT_MAX_NAME bytes after "val_weighted_", and before a number "_12" and an index "[34]". */
enum { DLT_LOG_NAME = 128 };
/** One value of an epoch: "loss", "val_accuracy", "learning_rate". */
typedef struct dlt_log_entry {
    const char *name; /* borrowed */
    double value;
    dlt_direction direction;
} dlt_log_entry;
/** Sorted by name. A callback may add entries, which those after it see. */
typedef struct dlt_logs {
    int count, room;
    dlt_log_entry *at; /* the loop's, with room for one more than it fills */
} dlt_logs;
/** The entry of a name, or NULL. */
const dlt_log_entry *dlt_logs_find(const dlt_logs *logs, const char *name);
/** Sets or adds an entry; false if there is no room. */
bool dlt_logs_set(dlt_logs *logs, const char *name, double value, dlt_direction direction);

/** Bytes that belong at a place of a file: the loop cuts the file there and appends them. */
typedef struct dlt_write_request {
    const char *path; /* NULL: nothing to write */
    int64_t offset;   /* 0: a new file, made with its folders */
    const char *text; /* arena of the call */
    size_t bytes;
} dlt_write_request;

/** What a callback sees of the run, and what it asks of the loop, which acts when it has returned. */
typedef struct dlt_callback_io {
    int64_t epoch;    /* from 0 */
    int64_t batch;    /* batch_end: number in the epoch, from 0 */
    int64_t step;     /* updates so far */
    dlt_logs *logs;   /* epoch_end: of the epoch; batch_end: so far; else empty */
    double rate;      /* the present learning rate, as float32 */
    bool rate_fixed;  /* a schedule makes it: it cannot be set */
    dlt_arena *arena; /* of the call */
    dlt_diag *diag;   /* notes and warnings for the screen */
    /** Bytes of a file, -1 if there is none. False, after a message, where that cannot be said: no answer is no missing file. */
    bool (*file_size)(void *context, const char *path, int64_t *size, dlt_diag *diag);
    void *context;

    /* requests */
    bool stop;               /* end the training after this event */
    dlt_status stop_status;  /* DLT_OK, or DLT_E_NUMERIC: what the command shall return */
    const char *stop_reason; /* one sentence for the screen; arena of the call */
    bool keep_weights;       /* the present weights are this callback's best: keep a copy */
    bool restore_weights;    /* train_end: bring the kept copy back */
    bool save;               /* write a checkpoint */
    const char *save_path;   /* to this file (arena of the call); NULL: among the run's own */
    bool save_weights_only;  /* without optimizer and run state */
    bool best;               /* it is the best so far */
    bool set_rate;           /* `rate` is the new one: by dlt_callback_set_rate */
    dlt_write_request write;
} dlt_callback_io;
/** Asks for another rate, unless it is fixed: io->rate is it, rounded to float32 as Keras' variable holds it. */
void dlt_callback_set_rate(dlt_callback_io *io, double rate);

/** State that a checkpoint keeps: plain numbers, and one text (CSVLogger's columns). Starts as {0}. */
typedef struct dlt_callback_state {
    double number[4];
    int64_t integer[8];
    char text[4096];
} dlt_callback_state;

typedef struct dlt_callback_desc {
    dlt_kind kind;
    /** Offset of the const char * `monitor` in params, or -1; the check of the whole model looks at it. */
    int monitor;
    /** False: with these parameters it does not look at monitor. NULL: it does. */
    bool (*watches)(const dlt_item *item);
    bool sets_rate; /* refused where a schedule makes the rate */
    /** Offset of an int member of names {"auto", "min", "max"}, or -1. */
    int mode;
    /** Once at the start of fit, not on resume: state is {0}. */
    void (*train_begin)(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io);
    void (*epoch_begin)(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io);
    void (*batch_end)(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io);
    void (*epoch_end)(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io);
    void (*train_end)(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io);
    /** True if batch_end wants to be called (it costs a look at the device each time). NULL: never. */
    bool (*wants_batches)(const dlt_item *item);
    /** Checks what it is given against the names in the logs of this run. NULL: nothing. */
    void (*check_logs)(const dlt_item *item, const dlt_logs *names, dlt_diag *diag);
} dlt_callback_desc;

/* ---- the registries, NULL-terminated ---- */

extern const dlt_loss_desc *const dlt_losses[];
extern const dlt_metric_desc *const dlt_metrics[];
extern const dlt_optimizer_desc *const dlt_optimizers[];
extern const dlt_schedule_desc *const dlt_schedules[];
extern const dlt_initializer_desc *const dlt_initializers[];
extern const dlt_regularizer_desc *const dlt_regularizers[];
extern const dlt_constraint_desc *const dlt_constraints[];
extern const dlt_callback_desc *const dlt_callbacks[];

/** The eight categories of this folder, for the catalogue that cmd/ hands to schema/. */
enum { DLT_TRAINER_CATEGORIES = 8 };
extern const dlt_category dlt_trainer_categories[DLT_TRAINER_CATEGORIES];

/* the descriptor of an item */
static inline const dlt_loss_desc *dlt_loss_of(const dlt_item *item)
{
    return (const dlt_loss_desc *)(const void *)item->kind;
}
static inline const dlt_metric_desc *dlt_metric_of(const dlt_item *item)
{
    return (const dlt_metric_desc *)(const void *)item->kind;
}
static inline const dlt_optimizer_desc *dlt_optimizer_of(const dlt_item *item)
{
    return (const dlt_optimizer_desc *)(const void *)item->kind;
}
static inline const dlt_schedule_desc *dlt_schedule_of(const dlt_item *item)
{
    return (const dlt_schedule_desc *)(const void *)item->kind;
}
static inline const dlt_callback_desc *dlt_callback_of(const dlt_item *item)
{
    return (const dlt_callback_desc *)(const void *)item->kind;
}

#endif
