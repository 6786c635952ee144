/* backend/cpu/steps.c: a planned program as a list of calls. */
#include "backend/cpu/steps.h"

#include <math.h>
#include <string.h>

static dlt_variable *variable_of(const dlt_node *n)
{
    return *(dlt_variable *const *)n->attrs;
}

static void fill_constant(const dlt_value *v, const double *values, char *at)
{
    const int64_t count = dlt_shape_count(&v->shape);
    for (int64_t i = 0; i < count; i++) {
        switch (v->type) {
        case DLT_F64:
            ((double *)at)[i] = values[i];
            break;
        case DLT_U8:
            ((uint8_t *)at)[i] = (uint8_t)values[i];
            break;
        case DLT_I8:
            ((int8_t *)at)[i] = (int8_t)values[i];
            break;
        case DLT_I16:
            ((int16_t *)at)[i] = (int16_t)values[i];
            break;
        case DLT_I32:
            ((int32_t *)at)[i] = (int32_t)values[i];
            break;
        case DLT_I64:
            ((int64_t *)at)[i] = (int64_t)values[i];
            break;
        default: /* BF16 and F16 constants do not occur before mixed precision does */
            ((float *)at)[i] = (float)values[i];
        }
    }
}

static bool is_step(const dlt_plan *plan, const dlt_node *n)
{
    if (n->op == DLT_OP_GUARD) {
        return true;
    }
    if (n->op == DLT_OP_ASSIGN) {
        return plan->copies[n->id];
    }
    bool wanted = false;
    for (int k = 0; k < n->output_count && !wanted; k++) {
        wanted = plan->places[n->outputs[k]->id].bytes > 0;
    }
    return n->choice != NULL && wanted;
}

dlt_status dlt_cpu_steps_create(const dlt_plan *plan, dlt_arena *arena, dlt_cpu_steps *steps, dlt_diag *diag)
{
    const dlt_graph *g = plan->graph;
    *steps = (dlt_cpu_steps){.plan = plan};
    steps->list = dlt_arena_alloc(arena, (size_t)g->node_count, sizeof *steps->list);
    char *constants = dlt_arena_alloc(arena, (size_t)plan->constant_bytes + DLT_PLAN_ALIGN, 1);
    if (steps->list == NULL || constants == NULL) {
        return dlt_fail_memory(diag);
    }
    steps->constants = constants + (DLT_PLAN_ALIGN - (uintptr_t)constants % DLT_PLAN_ALIGN) % DLT_PLAN_ALIGN;
    for (int i = 0; i < g->node_count; i++) {
        const dlt_node *n = g->nodes[i];
        if (n->op == DLT_OP_CONST) {
            fill_constant(n->outputs[0], *(const double *const *)n->attrs,
                          steps->constants + plan->places[n->outputs[0]->id].offset);
        }
        if (!is_step(plan, n)) {
            continue;
        }
        dlt_cpu_step *s = &steps->list[steps->count++];
        const void **in = dlt_arena_alloc(arena, (size_t)n->input_count, sizeof *in);
        void **out = dlt_arena_alloc(arena, (size_t)n->output_count, sizeof *out);
        if (in == NULL || out == NULL) {
            return dlt_fail_memory(diag);
        }
        *s = (dlt_cpu_step){.node = n, .choice = n->choice, .call = {.node = n, .in = in, .out = out}};
        if (s->choice != NULL) {
            s->call.prepared = s->choice->schedule.prepared;
        }
    }
    return DLT_OK;
}

void *dlt_cpu_value_address(const dlt_plan *plan, const dlt_cpu_bases *bases, const dlt_value *value)
{
    const dlt_place *p = &plan->places[value->id];
    return bases->base[p->storage] + p->offset;
}

void dlt_cpu_steps_bind(dlt_cpu_steps *steps, const dlt_cpu_bases *given)
{
    dlt_cpu_bases bases = *given;
    bases.base[DLT_CONSTANT] = steps->constants;
    for (int i = 0; i < steps->count; i++) {
        dlt_cpu_step *s = &steps->list[i];
        const void **in = (const void **)(uintptr_t)s->call.in;
        void **out = (void **)(uintptr_t)s->call.out;
        for (int k = 0; k < s->node->input_count; k++) {
            in[k] = dlt_cpu_value_address(steps->plan, &bases, s->node->inputs[k]);
        }
        for (int k = 0; k < s->node->output_count; k++) {
            const dlt_value *v = s->node->outputs[k];
            out[k] = steps->plan->places[v->id].bytes > 0 ? dlt_cpu_value_address(steps->plan, &bases, v) : NULL;
        }
        s->call.workspace = bases.base[DLT_TRANSIENT] + steps->plan->workspace[s->node->id];
    }
}

bool dlt_cpu_guard_passes(const dlt_cpu_step *step)
{
    bool finite = true;
    for (int k = 0; k < step->node->input_count; k++) {
        const dlt_value *v = step->node->inputs[k];
        const void *at = step->call.in[k];
        for (int64_t i = 0; i < v->extent; i++) {
            if (v->type == DLT_F64) {
                finite = finite && isfinite(((const double *)at)[i]);
            } else if (v->type == DLT_F32) {
                finite = finite && isfinite(((const float *)at)[i]);
            }
        }
    }
    return finite;
}

void dlt_cpu_assign(const dlt_cpu_step *step, const dlt_cpu_bases *bases)
{
    const dlt_variable *v = variable_of(step->node);
    const dlt_value *value = step->node->inputs[0];
    char *to = v != NULL ? bases->base[v->storage] + v->offset : bases->base[DLT_PARAM];
    memcpy(to, step->call.in[0], (size_t)dlt_value_bytes(value));
}
