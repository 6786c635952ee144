/* graph/graph_internal.h: what the files of graph/ share: making nodes, the rules of ops. */
#ifndef DLT_GRAPH_GRAPH_INTERNAL_H
#define DLT_GRAPH_GRAPH_INTERNAL_H

#include "graph/builder.h"

enum { DLT_MAX_SCOPES = 64 };

typedef struct dlt_scope {
    const char *path, *group;
    dlt_pos pos;
    bool trainable;
    int64_t fold; /* rows of axis 0 that belong to one sample */
} dlt_scope;

struct dlt_builder {
    dlt_arena *arena;
    dlt_graph *graph;
    dlt_diag *diag;
    dlt_builder_options options;
    dlt_scope scopes[DLT_MAX_SCOPES];
    int depth;
    dlt_phase phase;
    bool failed;
    dlt_status why; /* it failed; DLT_OK: it has not, or for a mistake that was told elsewhere */
    bool mistaken; /* failed by a mistake of the model, now or before dlt_builder_look_on */
    dlt_value **read;    /* by variable id: value at the start of the step, or NULL */
    dlt_value **current; /* by variable id: value now, or NULL */
    int tracked;         /* length of both */
    dlt_value *flat;     /* what dlt_assign_flat was given, or NULL */
    dlt_names streams;   /* random streams used so far, and how often */
    bool guarded;
    dlt_value **watched; /* that the guard looks at besides what it is given */
    int watched_count, watched_room;
    dlt_penalty *penalties;
    int penalty_count, penalty_room;
    void *context;
};

/** A node at the end of the list with copies of inputs and attributes; no outputs yet. NULL: sticky failure. */
dlt_node *dlt_node_add(dlt_builder *b, dlt_op op, dlt_value *const *inputs, int count, const void *attrs,
                       size_t attrs_size);
/** Adds an output. Refuses shapes whose element count overflows. */
dlt_value *dlt_node_output(dlt_builder *b, dlt_node *node, dlt_dtype type, dlt_shape shape);
/** One node with one output. */
dlt_value *dlt_node_simple(dlt_builder *b, dlt_op op, dlt_value *const *inputs, int count, const void *attrs,
                           size_t attrs_size, dlt_dtype type, dlt_shape shape);
/** Fails for want of memory, or for a mistake of ours: sticky. Returns NULL. */
dlt_value *dlt_builder_out_of_memory(dlt_builder *b);

/**
 * Gradient rule: dy[i] is the gradient of output i, NULL if it has none; sets dx[k] for each input that has one (NULL: none).
 * wanted[k]: somebody asks for the gradient of input k.
 */
typedef void dlt_gradient_rule(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted,
                               dlt_value **dx);
dlt_gradient_rule dlt_gradient_ew, dlt_gradient_reduce, dlt_gradient_reshape, dlt_gradient_transpose, dlt_gradient_slice,
    dlt_gradient_pad, dlt_gradient_concat, dlt_gradient_reverse, dlt_gradient_gather, dlt_gradient_scatter_add, dlt_gradient_warp,
    dlt_gradient_top_k, dlt_gradient_cumsum, dlt_gradient_matmul, dlt_gradient_conv, dlt_gradient_conv_dx,
    dlt_gradient_conv_dw, dlt_gradient_max_pool, dlt_gradient_avg_pool, dlt_gradient_batch_norm,
    dlt_gradient_layer_norm, dlt_gradient_softmax, dlt_gradient_softmax_xent, dlt_gradient_rnn, dlt_gradient_attention,
    dlt_gradient_segment, dlt_gradient_warp_dx;

/** Grows an array of the graph's arena to hold one more; NULL-safe; false when memory is refused. */
bool dlt_graph_grow(dlt_arena *arena, void *array, int count, int *room, size_t size);

#endif
