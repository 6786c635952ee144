/* backend/cpu/scatter_rows.c: sums of rows by number: the gradient of an embedding.
 *
 * A task adds some columns of all rows, in the order of the numbers, so that the bits are those of the reference kernel whatever the threads. */
#include "backend/cpu/simd.h"

#include "base/alloc.h"

#include <string.h>

enum { GRAIN = 64 }; /* columns of a task are a multiple of it: fewer would make short strides through memory */

typedef struct prepared {
    const dlt_simd *simd;
    int64_t rows, width, count, strip;
} prepared;

static const char *declines(const dlt_cpu_query *query)
{
    const dlt_node *n = query->node;
    if (n->inputs[1]->type != DLT_F32 || n->outputs[0]->type != DLT_F32) {
        return "needs float32";
    }
    return n->inputs[0]->type != DLT_I32 && n->inputs[0]->type != DLT_I64 ? "needs 32-bit or 64-bit numbers" : NULL;
}

static bool prepare(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    enum { MOST_TASKS = 32, ELEMENTS = 32768 }; /* of a task, at least */
    const dlt_node *n = query->node;
    const dlt_shape *y = &n->outputs[0]->shape;
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    *p = (prepared){.simd = dlt_simd_of(query->isa), .rows = y->dim[0], .width = 1, .count = dlt_shape_count(&n->inputs[0]->shape)};
    for (int i = 1; i < y->rank; i++) {
        p->width *= y->dim[i];
    }
    const int64_t elements = (p->rows + p->count) * p->width;
    int64_t tasks = elements / ELEMENTS + 1;
    tasks = tasks < MOST_TASKS ? tasks : MOST_TASKS;
    p->strip = dlt_divide_up(dlt_divide_up(p->width, tasks), GRAIN) * GRAIN;
    schedule->prepared = p;
    schedule->phases = 1;
    schedule->tasks[0] = elements > 0 ? dlt_divide_up(p->width, p->strip) : 0;
    return true;
}

static void run(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    const int64_t column = task * p->strip, width = p->width - column < p->strip ? p->width - column : p->strip;
    const bool wide = call->node->inputs[0]->type == DLT_I64;
    float *y = (float *)call->out[0] + column;
    const float *x = (const float *)call->in[1] + column;
    (void)phase;
    for (int64_t row = 0; row < p->rows; row++) {
        memset(y + row * p->width, 0, (size_t)width * sizeof *y);
    }
    for (int64_t i = 0; i < p->count && p->rows > 0; i++) {
        const int64_t id = wide ? ((const int64_t *)call->in[0])[i] : ((const int32_t *)call->in[0])[i];
        const int64_t row = id < 0 || id >= p->rows ? 0 : id; /* what was gathered there was NaN */
        p->simd->reduce[DLT_COMPUTE_F32]->rows_add(y + row * p->width, x + i * p->width, width, DLT_REDUCE_SUM);
    }
}

const dlt_cpu_kernel dlt_cpu_scatter_add_rows = {
    .name = "scatter_add_rows", .op = DLT_OP_SCATTER_ADD, .declines = declines, .prepare = prepare, .run = run};
