/* graph/rewrite.h: how a pass makes its new graph from the old one. Internal to graph/. */
#ifndef DLT_GRAPH_REWRITE_H
#define DLT_GRAPH_REWRITE_H

#include "graph/graph.h"

typedef struct dlt_rewrite {
    const dlt_graph *from;
    dlt_graph *to;
    dlt_value **map; /* by id of the old value: the new one, or NULL */
    bool failed;     /* memory was refused */
} dlt_rewrite;

void dlt_rewrite_begin(dlt_rewrite *r, const dlt_graph *from);
/** New value that stands for an old one. */
dlt_value *dlt_rewrite_of(const dlt_rewrite *r, const dlt_value *old);
/** Copies a node with its outputs; its inputs are mapped. */
dlt_node *dlt_rewrite_copy(dlt_rewrite *r, const dlt_node *old);
/** A new node like `old` in place, layer and phase, with inputs and attributes of its own (not copied). */
dlt_node *dlt_rewrite_node(dlt_rewrite *r, const dlt_node *old, dlt_op op, dlt_value *const *inputs, int count,
                           const void *attrs, size_t attrs_size);
/** Adds an output like `old` (type, shape, layout, storage) and lets it stand for it; `old` may be NULL with like given. */
dlt_value *dlt_rewrite_output(dlt_rewrite *r, dlt_node *node, const dlt_value *old);
dlt_value *dlt_rewrite_value(dlt_rewrite *r, dlt_node *node, dlt_dtype type, dlt_shape shape, dlt_layout layout);
/** Carries inputs and named outputs over. */
dlt_status dlt_rewrite_end(dlt_rewrite *r, dlt_graph **out, dlt_diag *diag);

/** How often each value (by id) is used: by nodes, and once more if it is a named output. NULL when memory is refused. */
int *dlt_graph_uses(const dlt_graph *graph);

#endif
