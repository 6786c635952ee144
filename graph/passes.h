/* graph/passes.h: from the graph as it was built to the graph that is planned. Each pass reads one graph and returns a new
 * one over the same variables; values keep their meaning, nodes their places in the model file.
 *
 *     dead -> fold -> precision -> layout -> [close variables] -> place -> fuse -> select -> plan (graph/plan.h)
 */
#ifndef DLT_GRAPH_PASSES_H
#define DLT_GRAPH_PASSES_H

#include "base/text.h"
#include "graph/graph.h"
#include "graph/target.h"

/** Without nodes whose results nobody uses. */
dlt_status dlt_pass_dead(const dlt_graph *graph, dlt_graph **out, dlt_diag *diag);
/** Scalars computed from constants become constants; equal computations are done once; copies that only repeat go. */
dlt_status dlt_pass_fold(const dlt_graph *graph, dlt_graph **out, dlt_diag *diag);
/** Whether mixed precision is about this op: MATMUL, the convolutions, RNN and ATTENTION and their gradients. */
bool dlt_op_is_product(dlt_op op);
/**
 * Compute types: `compute` F32 and F64 leave the graph as it is; with BF16 the products of layers take rounded operands
 * (graph/pass_precision.c). F16, which needs a loss that is scaled, is refused.
 */
dlt_status dlt_pass_precision(const dlt_graph *graph, dlt_dtype compute, dlt_pos at, const dlt_target *target,
                              dlt_graph **out, dlt_diag *diag);
/**
 * Physical layouts by the target's wishes, with REORDER nodes where they change. The main program also decides the
 * layouts of variables (decisions 15); later ones take them as they are. `wishes` false: row-major everywhere.
 */
dlt_status dlt_pass_layout(const dlt_graph *graph, const dlt_target *target, bool wishes, dlt_graph **out,
                           dlt_diag *diag);
/** Gradients get memory of their own where they have none, so that the plan can put them into GRAD. */
dlt_status dlt_pass_place(const dlt_graph *graph, dlt_graph **out, dlt_diag *diag);
/**
 * Elementwise ops and reductions become expression programs; with `fuse` chains of them become one, and go into the
 * epilogues of products and convolutions. Without it each op is a program of its own: more kernels, the same bits.
 */
dlt_status dlt_pass_fuse(const dlt_graph *graph, const dlt_target *target, bool fuse, dlt_graph **out, dlt_diag *diag);
/** Kernels: sets choice, workspace and opaque extents in place. All nodes that lack one are reported. */
dlt_status dlt_pass_select(dlt_graph *graph, const dlt_target *target, dlt_diag *diag);

typedef struct dlt_pass_options {
    bool fuse, layout;
    dlt_dtype compute;
    dlt_pos compute_at; /* where it was asked for, for messages */
    bool main_program; /* decides layouts of variables and closes the list */
} dlt_pass_options;
/** All of them in order. */
dlt_status dlt_passes_run(const dlt_graph *graph, const dlt_target *target, const dlt_pass_options *options,
                          dlt_graph **out, dlt_diag *diag);

/** Text of a graph, one line a node; and Graphviz. Stages of compilation are dumped by `plan --dump`. */
void dlt_graph_dump(const dlt_graph *graph, dlt_buf *out);
void dlt_graph_dot(const dlt_graph *graph, dlt_buf *out);

/** Floating-point operations of a node, and the bytes it must at least read and write. */
/** What decides how long a node takes besides the machine, as a text: op, types, shapes, layouts, window. Nodes with the same key can share a choice
 * of kernel. */
void dlt_node_key(const dlt_node *node, dlt_buf *out);
double dlt_node_flops(const dlt_node *node);
int64_t dlt_node_bytes(const dlt_node *node);

#endif
