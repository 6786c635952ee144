/* graph/plan.h: where every value lies. Computed before anything is allocated, exact to the byte, and checked by
 * graph/verify.c, which shares no code with it. */
#ifndef DLT_GRAPH_PLAN_H
#define DLT_GRAPH_PLAN_H

#include "graph/graph.h"

enum { DLT_PLAN_ALIGN = 64 };

/** Place of a value. A value that nobody uses and that is no named output has bytes 0 and is not written. */
typedef struct dlt_place {
    dlt_storage storage;
    int64_t offset, bytes;
    int first, last; /* TRANSIENT: nodes at which it is made and used last; graph->node_count: to the end */
} dlt_place;

typedef struct dlt_plan dlt_plan;
struct dlt_plan {
    const dlt_graph *graph;
    const dlt_place *places;    /* by value id */
    const int64_t *workspace;   /* by node id: offset in TRANSIENT */
    const bool *copies;         /* by node id, ASSIGN only: the value lies elsewhere and has to be copied */
    int64_t transient_bytes, input_bytes, constant_bytes; /* of one input slot */
};

typedef struct dlt_plan_options {
    bool reuse; /* false: every value keeps memory of its own: slower, the same bits; for debugging */
    const dlt_plan *inputs_like; /* INPUTs lie where that plan's lie, by slot number: programs that are fed from the
                                           same buffers. NULL: one after the other */
} dlt_plan_options;

/** Plans a graph whose kernels are selected and whose variables are closed. Lives in the graph's arena. */
dlt_status dlt_plan_create(const dlt_graph *graph, const dlt_plan_options *options, const dlt_plan **plan,
                           dlt_diag *diag);

/**
 * Checks a plan by walking through its program: every operand still holds what its producer wrote, nothing overlaps that
 * must not, nothing is written to PARAM or STATE before the guard, all lies inside the classes' sizes.
 * DLT_E_INTERNAL with the first offence.
 */
dlt_status dlt_plan_verify(const dlt_plan *plan, dlt_diag *diag);

#endif
