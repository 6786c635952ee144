/* backend/cpu/reorder_blocked.c: REORDER between row-major (N, positions, C) and channel blocks (N, C / 16, positions, 16): a
 * block of a position is one copy. */
#include "backend/cpu/kernel.h"

#include <string.h>

typedef struct prepared {
    int64_t batch, positions, channels, block, bytes; /* bytes of a block of one position */
    int64_t per_task, parts;                          /* positions of a task, tasks of an image */
    bool to_blocks;
} prepared;

static const char *declines(const dlt_cpu_query *query)
{
    const dlt_layout from = query->node->inputs[0]->layout, to = query->node->outputs[0]->layout;
    const bool blocks = from.kind == DLT_LAYOUT_CHANNEL_BLOCKED && to.kind == DLT_LAYOUT_ROW_MAJOR;
    const bool rows = from.kind == DLT_LAYOUT_ROW_MAJOR && to.kind == DLT_LAYOUT_CHANNEL_BLOCKED;
    return blocks || rows ? NULL : "needs row-major and channel blocks";
}

static bool prepare(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_value *x = query->node->inputs[0], *y = query->node->outputs[0];
    const dlt_shape *s = &x->shape;
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    p->to_blocks = y->layout.kind == DLT_LAYOUT_CHANNEL_BLOCKED;
    p->block = p->to_blocks ? y->layout.block : x->layout.block;
    p->batch = s->dim[0];
    p->channels = s->dim[s->rank - 1];
    p->positions = 1;
    for (int i = 1; i + 1 < s->rank; i++) {
        p->positions *= s->dim[i];
    }
    p->bytes = p->block * (int64_t)dlt_dtype_size(x->type);
    const int64_t elements = p->positions * p->channels;
    p->parts = elements > 65536 ? (elements + 65535) / 65536 : 1;
    p->per_task = p->parts > 0 ? (p->positions + p->parts - 1) / p->parts : 0;
    schedule->prepared = p;
    schedule->phases = 1;
    schedule->tasks[0] = elements > 0 ? p->batch * p->parts : 0;
    return true;
}

static void run(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    const int64_t image = task / p->parts, first = task % p->parts * p->per_task, blocks = p->channels / p->block;
    const int64_t end = first + p->per_task < p->positions ? first + p->per_task : p->positions;
    const char *x = (const char *)call->in[0] + image * p->positions * blocks * p->bytes;
    char *y = (char *)call->out[0] + image * p->positions * blocks * p->bytes;
    (void)phase;
    for (int64_t b = 0; b < blocks; b++) {
        for (int64_t i = first; i < end; i++) {
            const int64_t row = (i * blocks + b) * p->bytes, blocked = (b * p->positions + i) * p->bytes;
            if (p->bytes == 64) {
                memcpy(y + (p->to_blocks ? blocked : row), x + (p->to_blocks ? row : blocked), 64);
            } else {
                memcpy(y + (p->to_blocks ? blocked : row), x + (p->to_blocks ? row : blocked), (size_t)p->bytes);
            }
        }
    }
}

const dlt_cpu_kernel dlt_cpu_reorder_blocked = {
    .name = "reorder_blocked", .op = DLT_OP_REORDER, .layouts = true, .declines = declines, .prepare = prepare, .run = run};
