/* trainer/kinds.h: what a loss, metric, optimizer, schedule, initializer, regularizer, constraint and callback is. One file
 * each in the folder of its category, one row in that folder's .def list. All but initializers, metric results and
 * callbacks are written in builder calls, so they run on the device and differentiate themselves. */
#ifndef DLT_TRAINER_KINDS_H
#define DLT_TRAINER_KINDS_H

#include "base/kind.h"
#include "graph/builder.h"

/* ---- losses ---- */

typedef enum dlt_reduction { DLT_REDUCTION_MEAN, DLT_REDUCTION_SUM, DLT_REDUCTION_WEIGHTED_MEAN } dlt_reduction;

typedef struct dlt_loss_desc {
    dlt_kind kind; /* its parameter struct begins with dlt_loss_params */
    /**
     * Value of each element of y_pred's shape without the last axis (Keras: before reduction). y_true has y_pred's shape,
     * or, where `sparse`, that shape without the last axis and an integer type.
     * *mask: elements that count (real 0/1, shape of the result), or left NULL.
     */
    dlt_value *(*build)(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred, dlt_value **mask);
    bool sparse;
    const char *fits; /* what the check of the whole model needs: "classes", "binary", "regression" */
} dlt_loss_desc;
typedef struct dlt_loss_params {
    int reduction; /* dlt_reduction */
} dlt_loss_params;

/**
 * What a softmax (or sigmoid) directly before was computed from, or NULL: cross-entropies are then taken from logits
 * (decisions 13).
 */
dlt_value *dlt_logits_of(const dlt_value *probabilities, bool softmax);

/** Operands of a loss or metric for one batch. */
typedef struct dlt_outcome {
    dlt_value *y_true;
    dlt_value *y_pred; /* its mask, if any, counts */
    dlt_value *weight; /* real (B), or (B, T) where y has steps, or NULL. Padded rows of a batch have weight 0 */
    dlt_value *rows;   /* real scalar: rows that count in this batch, when some are padding; NULL: all */
} dlt_outcome;
/** The reduced loss, scalar (keras-training.md 3): squeezes (B, 1) against (B), applies mask, weights, reduction. */
dlt_value *dlt_loss_apply(dlt_builder *b, const dlt_item *loss, const dlt_outcome *outcome);

/* ---- metrics ---- */

typedef enum dlt_direction { DLT_NO_DIRECTION, DLT_SMALLER_IS_BETTER, DLT_LARGER_IS_BETTER } dlt_direction;

typedef struct dlt_metric_desc {
    dlt_kind kind;
    dlt_direction direction;
    /** Adds this batch to the metric's sums (dlt_metric_sum). Shapes of y_true and y_pred already agree. */
    void (*update)(dlt_builder *b, const void *params, const dlt_outcome *outcome);
    /**
     * The metric's value from its sums, read back from the device. sums[i] belongs to the i-th dlt_metric_sum call.
     * A metric with several values (a list of thresholds) writes several; returns how many, at most `room`.
     */
    int (*result)(const void *params, const double *const *sums, const int64_t *counts, double *out, int room);
    const char *default_name; /* log name of an unnamed object: "mean_squared_error"; NULL: snake case, numbered */
} dlt_metric_desc;
/** A float64 accumulator of the present metric, 0 at the start of an epoch; `addend` (real or float64) is added to it. */
void dlt_metric_sum(dlt_builder *b, const char *name, dlt_value *addend);
/** Most accumulators of one metric. */
enum { DLT_METRIC_MAX_SUMS = 8 };

/* ---- optimizers ---- */

/** Parameters that every optimizer takes; its struct begins with this. DLT_OPTIMIZER_FIELDS are their rows. */
typedef struct dlt_optimizer_params {
    const dlt_item *learning_rate; /* of category "schedule"; a plain number is kind Constant */
    dlt_opt_float weight_decay, clipnorm, clipvalue, global_clipnorm;
    bool use_ema;
    double ema_momentum;
    dlt_opt_int ema_overwrite_frequency, gradient_accumulation_steps;
    dlt_opt_float loss_scale_factor;
} dlt_optimizer_params;

typedef struct dlt_optimizer_io {
    dlt_value *w, *g; /* all trainable weights and gradients as vectors */
    dlt_value *rate;  /* real scalar */
    dlt_value *step;  /* real scalar: updates so far plus one (t of the formulas) */
} dlt_optimizer_io;

typedef struct dlt_optimizer_desc {
    dlt_kind kind;
    /** The new weights. Slots by dlt_flat_slot and dlt_assign. */
    dlt_value *(*update)(dlt_builder *b, const void *params, const dlt_optimizer_io *io);
    /** Slots in the order of Keras' file (keras-training.md 6.6): NULL-terminated names; `interleaved`: by variable. */
    int (*slots)(const void *params, const char *names[8]);
    bool interleaved;
    int trailing; /* of these, the last so many follow for all variables at the end (Adam's velocity_hat) */
} dlt_optimizer_desc;

/* ---- schedules ---- */

typedef struct dlt_schedule_desc {
    dlt_kind kind;
    /** The rate at `step` (real scalar: updates so far). */
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
    /** False when memory is refused. */
    bool (*fill)(const void *params, const dlt_initializer_io *io);
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

/* ---- callbacks ---- */

/** Values of an epoch by name: "loss", "val_accuracy", "learning_rate"; sorted by name. */
typedef struct dlt_logs {
    int count;
    const char *const *names;
    const double *values;
    const dlt_direction *directions;
} dlt_logs;
/** The value of a name; false if there is none. */
bool dlt_logs_find(const dlt_logs *logs, const char *name, double *value);

/** What a callback may ask of the loop. Set members are done after all callbacks of the event ran. */
typedef struct dlt_callback_io {
    int64_t epoch; /* from 0 */
    int64_t step;  /* updates so far */
    const dlt_logs *logs; /* NULL at epoch begin */
    bool last_epoch;
    /* requests */
    bool stop;
    const char *stop_reason; /* one sentence for the screen; arena of the call */
    bool keep_weights;       /* these weights are this callback's best: keep a copy */
    bool restore_weights;    /* at train end: bring the kept copy back */
    bool save_checkpoint;
    const char *save_path; /* NULL: the run's own checkpoints */
    bool best;               /* this checkpoint is the best so far */
    bool set_rate;
    double rate;             /* in: the present rate; out: the new one if set_rate */
    dlt_arena *arena;
    dlt_diag *diag;          /* notes and warnings for the screen */
} dlt_callback_io;

/** State that a checkpoint keeps: numbers by fixed meaning, one text for files (CSVLogger's header). */
typedef struct dlt_callback_state {
    double number[16];
    int64_t integer[8];
} dlt_callback_state;

typedef struct dlt_callback_desc {
    dlt_kind kind;
    /** Offset of the `monitor` member in params, or -1: the check of the whole model looks at it. */
    int monitor;
    void (*train_begin)(const dlt_item *item, dlt_callback_state *state);
    void (*epoch_begin)(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io);
    /** Batch loss is given as logs "loss"; only where set. */
    void (*batch_end)(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io);
    void (*epoch_end)(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io);
    void (*train_end)(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io);
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

#endif
