/* graph/target.h: what the passes ask of a backend, without knowing one. */
#ifndef DLT_GRAPH_TARGET_H
#define DLT_GRAPH_TARGET_H

#include "graph/graph.h"

/** A kernel that was considered for a node. */
typedef struct dlt_candidate {
    const char *name;   /* "conv_direct_blocked" */
    const char *reason; /* why it was not taken; NULL for the one that was */
    double seconds;     /* predicted; 0: not estimated */
} dlt_candidate;

/** A backend's choice for a node begins with this (dlt_node.choice); plan and time print it. */
typedef struct dlt_choice {
    const dlt_candidate *candidates;
    int count, taken;
} dlt_choice;

typedef struct dlt_target {
    void *self;
    /**
     * Layouts that the backend would like for a node, given those its inputs have (in: present layout of each input;
     * out: wished). layouts[0..input_count) are inputs, then outputs. Returns the predicted gain in seconds over
     * row-major; 0 or less: no wish.
     */
    double (*layout)(void *self, const dlt_node *node, dlt_layout *layouts);
    /** Limits of fused programs. */
    int max_inputs, max_instrs, max_outputs;
    /** True if the node can take this program as its epilogue. */
    bool (*epilogue)(void *self, const dlt_node *node, const dlt_expr *expr);
    /** True if a node may combine a reduction with the rest of its program. */
    bool (*reduces)(void *self, const dlt_expr *expr);
    /**
     * True if there is a kernel for this product (MATMUL, CONV, RNN, ATTENTION, their gradients) that reads its factors in a type
     * narrower than float32, as graph/pass_precision.c says: those that are float32 it rounds as it reads them. NULL: none.
     */
    bool (*takes)(void *self, const dlt_node *node, dlt_dtype compute);
    /** Chooses a kernel: sets choice, workspace_bytes and the extent of opaque outputs. */
    dlt_status (*select)(void *self, dlt_graph *graph, dlt_node *node, dlt_diag *diag);
} dlt_target;

#endif
