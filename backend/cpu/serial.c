/* backend/cpu/serial.c: small programs inside kernels. They are interpreted with reference kernels on one thread. */
#include "backend/cpu/steps.h"
#include "graph/passes.h"

#include <string.h>

struct dlt_cpu_serial {
    const dlt_plan *plan;
    dlt_cpu_steps steps; /* operands are resolved anew in each run, in a copy that lies in the run's memory */
    int64_t list_bytes;
};

const dlt_cpu_serial *dlt_cpu_serial_create(const dlt_graph *graph, dlt_arena *arena, dlt_diag *diag)
{
    dlt_cpu_serial *serial = dlt_arena_alloc(arena, 1, sizeof *serial);
    dlt_cpu_target *target = dlt_arena_alloc(arena, 1, sizeof *target);
    dlt_graph *g = NULL;
    if (serial == NULL || target == NULL) {
        dlt_fail_memory(diag);
        return NULL;
    }
    dlt_cpu_target_init(target, DLT_ISA_PLAIN, true);
    const dlt_pass_options options = {.fuse = true, .compute = graph->real, .main_program = true};
    if (dlt_passes_run(graph, &target->target, &options, &g, diag) != DLT_OK ||
        dlt_plan_create(g, &(dlt_plan_options){.reuse = true}, &serial->plan, diag) != DLT_OK ||
        dlt_plan_verify(serial->plan, diag) != DLT_OK ||
        dlt_cpu_steps_create(serial->plan, arena, &serial->steps, diag) != DLT_OK) {
        return NULL;
    }
    return serial;
}

/* One running copy: transient memory, then inputs, then the pointers of the calls. */
static int64_t pointers_of(const dlt_cpu_serial *serial)
{
    int64_t count = 0;
    for (int i = 0; i < serial->steps.count; i++) {
        count += serial->steps.list[i].node->input_count + serial->steps.list[i].node->output_count;
    }
    return count;
}

int64_t dlt_cpu_serial_bytes(const dlt_cpu_serial *serial)
{
    return serial->plan->transient_bytes + pointers_of(serial) * (int64_t)sizeof(void *) + DLT_PLAN_ALIGN;
}

/* Address of a value: inputs are where the caller has them. */
static void *address(const dlt_cpu_serial *serial, char *memory, const void *const *in, const dlt_value *v)
{
    const dlt_place *p = &serial->plan->places[v->id];
    const dlt_value *root = v;
    while (root->node->op == DLT_OP_RESHAPE) {
        root = root->node->inputs[0];
    }
    if (root->node->op == DLT_OP_INPUT) {
        const dlt_graph *g = serial->plan->graph;
        for (int i = 0; i < g->input_count; i++) {
            if (g->inputs[i] == root) {
                return (void *)(uintptr_t)in[i];
            }
        }
    }
    return p->storage == DLT_CONSTANT ? serial->steps.constants + p->offset : memory + p->offset;
}

void dlt_cpu_serial_run(const dlt_cpu_serial *serial, void *memory, void *scratch, const void *const *in,
                        void *const *out)
{
    const dlt_graph *g = serial->plan->graph;
    char *transient = memory;
    void **pointers = (void **)(void *)(transient + serial->plan->transient_bytes);
    for (int i = 0; i < serial->steps.count; i++) {
        const dlt_cpu_step *s = &serial->steps.list[i];
        const dlt_node *n = s->node;
        dlt_cpu_call call = s->call;
        call.in = (const void *const *)pointers;
        call.out = pointers + n->input_count;
        for (int k = 0; k < n->input_count; k++) {
            pointers[k] = address(serial, transient, in, n->inputs[k]);
        }
        for (int k = 0; k < n->output_count; k++) {
            const bool used = serial->plan->places[n->outputs[k]->id].bytes > 0;
            pointers[n->input_count + k] = used ? address(serial, transient, in, n->outputs[k]) : NULL;
        }
        call.workspace = transient + serial->plan->workspace[n->id];
        call.scratch = scratch;
        for (int phase = 0; phase < s->choice->schedule.phases; phase++) {
            for (int64_t task = 0; task < s->choice->schedule.tasks[phase]; task++) {
                s->choice->kernel->run(&call, phase, task);
            }
        }
    }
    for (int i = 0; i < g->output_count; i++) {
        const dlt_value *v = g->outputs[i].value;
        if (out[i] != NULL) {
            memcpy(out[i], address(serial, transient, in, v), (size_t)dlt_value_bytes(v));
        }
    }
}
