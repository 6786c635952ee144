/* graph/graph.h: the intermediate form of a model: values, the nodes that make them, and the variables that outlive a step.
 *
 * A graph is one program to be: train at a batch size, evaluate, predict (decisions 14). Nodes stand in an order in which
 * they can run. Values are in SSA form. Shapes are logical, in Keras' terms (channels last, kernels HWIO), and concrete:
 * the batch axis is a number. Where a value lies, and in which physical layout, is decided by passes and the memory plan.
 *
 * Stages (docs/architecture.md): builder -> dlt_gradients -> passes -> plan -> verify. Each returns a new object or adds
 * to one that is still being built; a graph that a stage has returned does not change any more. */
#ifndef DLT_GRAPH_GRAPH_H
#define DLT_GRAPH_GRAPH_H

#include "base/arena.h"
#include "base/diag.h"
#include "base/kind.h"
#include "base/names.h"
#include "base/tensor.h"
#include "graph/expr.h"

typedef struct dlt_graph dlt_graph;
typedef struct dlt_node dlt_node;
typedef struct dlt_value dlt_value;
typedef struct dlt_variable dlt_variable;
typedef struct dlt_variables dlt_variables;

typedef enum dlt_op {
#define DLT_OP(NAME, text, flags) DLT_OP_##NAME,
#include "graph/op.def"
#undef DLT_OP
    DLT_OP_COUNT
} dlt_op;

enum {
    DLT_OP_VIEW = 1,    /* output 0 is a view of input 0: no kernel, no memory */
    DLT_OP_WRITES = 2,  /* writes a variable */
    DLT_OP_ORDERED = 4  /* has an effect: keeps its place and is never removed */
};
const char *dlt_op_name(dlt_op op);
unsigned dlt_op_flags(dlt_op op);

/** Storage classes: one flat buffer each. */
typedef enum dlt_storage {
    DLT_TRANSIENT, /* planned by lifetime */
    DLT_PARAM,     /* weights; the trainable ones first */
    DLT_GRAD,      /* gradients, laid out as the trainable part of PARAM */
    DLT_STATE,     /* optimizer slots, moving statistics, step, rate, sums */
    DLT_INPUT,     /* a slot of the staging ring */
    DLT_CONSTANT,  /* constants of the program */
    DLT_STORAGE_COUNT
} dlt_storage;
const char *dlt_storage_name(dlt_storage storage);

typedef enum dlt_phase { DLT_PHASE_FORWARD, DLT_PHASE_BACKWARD, DLT_PHASE_UPDATE } dlt_phase;

/**
 * Physical layout. ROW_MAJOR: as the logical shape says. CHANNEL_BLOCKED: axis C (the last) of (N, ..., C) is split:
 * (N, C / block, ..., block), C a multiple of block. KERNEL_BLOCKED: (KH, KW, I, O) lies as (O / block, I / in_block, KH, KW,
 * in_block, block). FLAT: the trainable variables one after another with their padding (FLAT nodes, optimizer slots).
 * Backends may add kinds of their own from DLT_LAYOUT_BACKEND on; only they read those.
 */
typedef enum dlt_layout_kind {
    DLT_LAYOUT_ROW_MAJOR,
    DLT_LAYOUT_CHANNEL_BLOCKED,
    DLT_LAYOUT_KERNEL_BLOCKED,
    DLT_LAYOUT_FLAT,
    DLT_LAYOUT_BACKEND
} dlt_layout_kind;
typedef struct dlt_layout {
    uint16_t kind;
    uint16_t block, in_block;
} dlt_layout;
bool dlt_layout_equal(dlt_layout a, dlt_layout b);
/** "row-major", "blocked16", ... */
const char *dlt_layout_text(dlt_layout layout, char *text, size_t room);

struct dlt_value {
    int id; /* unique in its graph, in order of creation */
    int out; /* which output of its node */
    dlt_node *node;
    dlt_dtype type;
    dlt_shape shape;
    dlt_layout layout;
    dlt_storage storage;
    dlt_value *mask; /* uint8 (B, T): 0 where a step is padding; NULL: none (decisions 9) */
    bool uncertain;  /* its shape may change once the data were scanned in full: check by rank only (decisions 1) */
    int64_t extent;  /* physical elements; more than the logical count only for FLAT */
};

struct dlt_node {
    int id; /* place in the graph's order */
    dlt_op op;
    dlt_phase phase;
    int input_count, output_count;
    dlt_value **inputs;
    dlt_value **outputs;
    const void *attrs; /* dlt_<op>_attrs of graph/builder.h, or NULL */
    size_t attrs_size;
    const dlt_expr *epilogue; /* MATMUL, CONV, CONV_DX: program on the result; its extra inputs follow the op's own */
    int own_inputs;           /* inputs that are the op's own: the rest feed the epilogue */
    const char *layer;        /* path of the layer that asked for it: "residual/conv2d_1"; "" outside layers */
    dlt_pos pos;              /* its place in the model file */
    const void *choice;       /* what the backend chose for it (backend/backend.h); NULL before selection */
    int64_t workspace_bytes;  /* scratch that the choice needs while the node runs */
};

/** A group of the weights file, with the name that Keras gives its owner. */
typedef struct dlt_layer_group {
    const char *group; /* "layers/dense_1", "layers/lstm/cell" */
    const char *name;  /* of the layer */
} dlt_layer_group;

struct dlt_graph {
    dlt_arena *arena; /* borrowed: lives as long as the run */
    dlt_variables *variables;
    const char *name; /* "train", "evaluate", "predict", ... */
    dlt_dtype real;   /* F32, or F64 for gradient checks */
    int64_t batch;
    dlt_node **nodes;
    int node_count, node_room;
    int value_count;
    dlt_value **inputs; /* INPUT values by slot number */
    int input_count, input_room;
    struct dlt_output {
        const char *name;
        dlt_value *value;
    } *outputs; /* what the loop reads after a run: "y", "loss", ... */
    int output_count, output_room;
    dlt_layer_group *groups; /* all that layers opened while the graph was built, weights or not; passes leave them behind */
    int group_count, group_room;
};

/** The value that a name stands for in a graph's outputs, or NULL. */
dlt_value *dlt_graph_output(const dlt_graph *graph, const char *name);
/** Bytes that a value takes: extent times element size. */
int64_t dlt_value_bytes(const dlt_value *value);

/* ---- variables ---- */

typedef enum dlt_variable_role {
    DLT_VARIABLE_WEIGHT,  /* of a layer; saved under /layers */
    DLT_VARIABLE_SLOT,    /* of the optimizer; saved under /optimizer or /dltrain */
    DLT_VARIABLE_COUNTER, /* step, samples, rate, ... */
    DLT_VARIABLE_METRIC   /* sums of a metric or of the loss; zeroed at the start of an epoch */
} dlt_variable_role;

/** Something that outlives a step. One list serves all programs of a run, so parameters are shared by address. */
struct dlt_variable {
    int id; /* place in the list */
    const char *path;  /* unique: "dense_1/kernel", "adam/dense_1/kernel:m", "metric/accuracy:sum" */
    const char *group; /* WEIGHT: group in the weights file: "layers/dense_1" (keras-files.md 1) */
    int index;         /* WEIGHT: its number in the group's `vars`; -1 before dlt_variables_number */
    dlt_variable_role role;
    dlt_dtype type;
    dlt_shape shape;
    dlt_storage storage; /* PARAM or STATE */
    bool created_trainable; /* stands in the first part of its layer's `vars`, whatever `trainable` says */
    bool trainable;      /* has a gradient and is updated; such PARAMs stand first, in list order */
    const dlt_item *initializer, *regularizer, *constraint; /* NULL: none */
    double constant;     /* first value where there is no initializer */
    int64_t fan_in, fan_out; /* for the initializer; 0: by the shape's rule */
    int64_t ones_from, ones_count; /* these elements start as 1 whatever the initializer says; count 0: none */
    dlt_pos pos;
    const char *layer;
    bool guessed; /* its shape came of a guess (dlt_layers_known_again): nothing to complain about */
    /* set by the memory plan of the main program, the same for all */
    dlt_layout layout;
    int64_t offset;      /* bytes in its storage class */
    int64_t grad_offset; /* bytes in GRAD; trainable ones only */
};

struct dlt_variables {
    dlt_arena *arena;
    dlt_variable **list;
    int count, room;
    dlt_names by_path;
    bool closed; /* offsets are fixed: a program may not add any more */
    /* sizes of the storage classes once closed, bytes */
    int64_t param_bytes, trainable_bytes, grad_bytes, state_bytes;
};

dlt_variables *dlt_variables_create(dlt_arena *arena);
/** The variable with this path, or NULL. */
dlt_variable *dlt_variables_find(const dlt_variables *variables, const char *path);
/**
 * Gives each weight its number in its group: those created as trainable first, then the others (keras-files.md 1.4).
 * False when memory is refused.
 */
bool dlt_variables_number(dlt_variables *variables);
/** Elements of all weights, and of the trainable ones. */
int64_t dlt_variables_count_weights(const dlt_variables *variables, bool trainable_only);

/**
 * Fixes offsets and sizes once the layouts of the main program are chosen: trainable PARAMs first, in list order, each at a
 * multiple of DLT_VARIABLE_ALIGN bytes; GRAD the same; STATE in list order. Extents of FLAT variables follow from it.
 * False on overflow.
 */
enum { DLT_VARIABLE_ALIGN = 64 };
bool dlt_variables_close(dlt_variables *variables);
/** Bytes that a variable takes, once closed. */
int64_t dlt_variable_bytes(const dlt_variables *variables, const dlt_variable *variable);

#endif
