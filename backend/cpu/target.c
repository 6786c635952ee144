/* backend/cpu/target.c: which kernel runs a node, and what the passes may count on. */
#include "backend/cpu/attention.h"
#include "backend/cpu/rnn_rows.h"
#include "graph/passes.h"

#include <string.h>

#define DLT_CPU_KERNEL(symbol) extern const dlt_cpu_kernel symbol;
#include "backend/cpu/kernels.def"
#undef DLT_CPU_KERNEL
#define DLT_CPU_REF(OP) extern const dlt_cpu_kernel dlt_cpu_ref_##OP;
#include "backend/cpu/refs.def"
#undef DLT_CPU_REF

static const dlt_cpu_kernel *const fast[] = {
#define DLT_CPU_KERNEL(symbol) &symbol,
#include "backend/cpu/kernels.def"
#undef DLT_CPU_KERNEL
    NULL,
};

static const dlt_cpu_kernel *const references[DLT_OP_COUNT] = {
#define DLT_CPU_REF(OP) [DLT_OP_##OP] = &dlt_cpu_ref_##OP,
#include "backend/cpu/refs.def"
#undef DLT_CPU_REF
};

enum { MAX_INPUTS = 16, MAX_INSTRS = 96, MAX_OUTPUTS = 8, MAX_CANDIDATES = 24 };

static bool is_row_major(const dlt_node *n)
{
    for (int i = 0; i < n->input_count; i++) {
        if (n->inputs[i]->layout.kind != DLT_LAYOUT_ROW_MAJOR) {
            return false;
        }
    }
    for (int i = 0; i < n->output_count; i++) {
        if (n->outputs[i]->layout.kind != DLT_LAYOUT_ROW_MAJOR) {
            return false;
        }
    }
    return true;
}

/* Why a kernel does not take a node; NULL: it does. */
static const char *refusal(const dlt_cpu_kernel *k, const dlt_cpu_query *query, bool row_major)
{
    if (!row_major && !k->layouts) {
        return "row-major only";
    }
    return k->declines != NULL ? k->declines(query) : NULL;
}

static dlt_status out_of_memory(const dlt_cpu_query *query)
{
    return dlt_fail_memory(query->diag);
}

const dlt_cpu_kernel *dlt_cpu_kernel_named(const char *name)
{
    for (int i = 0; fast[i] != NULL; i++) {
        if (strcmp(fast[i]->name, name) == 0) {
            return fast[i];
        }
    }
    for (int op = 0; op < DLT_OP_COUNT; op++) {
        if (references[op] != NULL && strcmp(references[op]->name, name) == 0) {
            return references[op];
        }
    }
    return NULL;
}

int dlt_cpu_kernels_of(dlt_op op, const char **names, int most)
{
    int count = 0;
    for (int i = 0; fast[i] != NULL && count < most; i++) {
        if (fast[i]->op == op) {
            names[count++] = fast[i]->name;
        }
    }
    if (references[op] != NULL && count < most) {
        names[count++] = references[op]->name;
    }
    return count;
}

/* Candidate that is to be tried, or that was the fastest when a node like this was timed; -1: the rule decides. */
static dlt_status find_tuned(const dlt_cpu_target *target, const dlt_cpu_query *query, const dlt_candidate *candidates, int count, int *found)
{
    *found = -1;
    for (int i = 0, able = 0; i < count && target->trial > 0; i++) {
        able += candidates[i].reason == NULL;
        if (candidates[i].reason == NULL && able == target->trial) {
            *found = i;
        }
    }
    if (target->tuned == NULL || target->tuned->count == 0 || count < 2) {
        return DLT_OK;
    }
    dlt_buf key = {0};
    dlt_node_key(query->node, &key);
    for (size_t k = 0; k < target->tuned->count && !key.failed; k++) {
        for (int i = 0; i < count && strcmp(target->tuned->key[k], dlt_buf_text(&key)) == 0; i++) {
            if (candidates[i].reason == NULL && strcmp(candidates[i].name, target->tuned->value[k]) == 0) {
                *found = i;
            }
        }
    }
    const bool failed = key.failed;
    dlt_buf_release(&key);
    return failed ? out_of_memory(query) : DLT_OK;
}

static dlt_status choose(const dlt_cpu_target *target, const dlt_cpu_query *query, dlt_cpu_choice *choice)
{
    const dlt_node *n = query->node;
    const dlt_cpu_kernel *kernels[MAX_CANDIDATES];
    dlt_candidate *candidates = dlt_arena_alloc(query->arena, MAX_CANDIDATES, sizeof *candidates);
    const bool row_major = is_row_major(n);
    int count = 0, best = -1, tuned = -1;
    bool decided = false;
    if (candidates == NULL) {
        return out_of_memory(query);
    }
    for (int i = 0; fast[i] != NULL && count < MAX_CANDIDATES - 1; i++) {
        const dlt_cpu_kernel *k = fast[i];
        if (k->op != n->op) {
            continue;
        }
        const char *reason = target->reference ? "kernels: reference" : refusal(k, query, row_major);
        candidates[count] = (dlt_candidate){.name = k->name, .reason = reason};
        kernels[count] = k;
        const bool preferred = target->prefer != NULL && strstr(k->name, target->prefer) != NULL;
        if (reason == NULL && (k->cost == NULL || preferred)) {
            best = decided ? best : count;
            decided = true;
        } else if (reason == NULL) {
            candidates[count].seconds = k->cost(query);
            if (!decided && (best < 0 || candidates[count].seconds < candidates[best].seconds)) {
                best = count;
            }
        }
        count++;
    }
    DLT_TRY(find_tuned(target, query, candidates, count, &tuned));
    best = tuned >= 0 ? tuned : best;
    if (references[n->op] != NULL) {
        const char *reason = refusal(references[n->op], query, row_major);
        candidates[count] = (dlt_candidate){.name = references[n->op]->name, .reason = reason};
        kernels[count] = references[n->op];
        if (best < 0 && reason == NULL) {
            best = count;
        }
        count++;
    }
    if (best < 0) {
        return dlt_fail(query->diag, DLT_E_UNSUPPORTED, n->pos, "cpu: no kernel for %s (%s)", dlt_op_name(n->op),
                        count > 0 ? candidates[count - 1].reason : "none is known");
    }
    for (int i = 0; i < count; i++) {
        if (i != best && candidates[i].reason == NULL) {
            candidates[i].reason = kernels[i] == references[n->op] ? "reference" : tuned >= 0 ? "slower when timed" : "slower";
        }
    }
    choice->choice = (dlt_choice){.candidates = candidates, .count = count, .taken = best};
    choice->kernel = kernels[best];
    return DLT_OK;
}

static bool is_computed(const dlt_node *n)
{
    switch (n->op) {
    case DLT_OP_VAR:
    case DLT_OP_INPUT:
    case DLT_OP_CONST:
    case DLT_OP_GUARD:
    case DLT_OP_ASSIGN:
        return false;
    default:
        return (dlt_op_flags(n->op) & DLT_OP_VIEW) == 0;
    }
}

static dlt_status select_kernel(void *self, dlt_graph *graph, dlt_node *node, dlt_diag *diag)
{
    const dlt_cpu_target *target = self;
    if (!is_computed(node)) {
        return DLT_OK;
    }
    const dlt_cpu_query query = {
        .node = node, .graph = graph, .isa = target->isa, .arena = graph->arena, .diag = diag};
    dlt_cpu_choice *choice = dlt_arena_alloc(graph->arena, 1, sizeof *choice);
    if (choice == NULL) {
        return dlt_fail_memory(diag);
    }
    DLT_TRY(choose(target, &query, choice));
    if (!choice->kernel->prepare(&query, &choice->schedule)) {
        const dlt_status status = dlt_diag_status(diag);
        return status != DLT_OK ? status : dlt_fail_memory(diag);
    }
    node->choice = choice;
    node->workspace_bytes = choice->schedule.workspace_bytes;
    if (node->op == DLT_OP_RNN) {
        node->outputs[2]->extent = choice->schedule.opaque_bytes;
    }
    return DLT_OK;
}

static bool takes_reductions(void *self, const dlt_expr *expr)
{
    (void)self;
    (void)expr;
    return true;
}

/* The products that have a kernel for bfloat16; the others round what they are given and compute in float32. */
static bool takes_bf16(void *self, const dlt_node *node, dlt_dtype compute)
{
    const dlt_cpu_target *target = self;
    if (compute != DLT_BF16 || dlt_gemm_bf16_of(target->isa) == NULL) {
        return false;
    }
    switch (node->op) {
    case DLT_OP_MATMUL: /* the reference, too */
        return true;
    case DLT_OP_ATTENTION:
    case DLT_OP_ATTENTION_DX:
        return !target->reference && dlt_cpu_attention_fits(node);
    case DLT_OP_RNN:
    case DLT_OP_RNN_DX:
        return !target->reference && dlt_rnn_declines(&(dlt_cpu_query){.node = node, .isa = target->isa}) == NULL;
    default:
        return false;
    }
}

void dlt_cpu_target_init(dlt_cpu_target *target, dlt_isa isa, bool reference)
{
    *target = (dlt_cpu_target){.isa = isa, .reference = reference};
    target->target = (dlt_target){.self = target,
                                  .layout = reference ? NULL : dlt_cpu_layout,
                                  .max_inputs = MAX_INPUTS,
                                  .max_instrs = MAX_INSTRS,
                                  .max_outputs = MAX_OUTPUTS,
                                  .epilogue = reference ? NULL : dlt_cpu_epilogue,
                                  .reduces = takes_reductions,
                                  .takes = takes_bf16,
                                  .select = select_kernel};
}
