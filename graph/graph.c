/* graph/graph.c: names, layouts and variables. */
#include "graph/graph.h"

#include "graph/graph_internal.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned flags;
} ops[DLT_OP_COUNT] = {
#define DLT_OP(NAME, text, flags) [DLT_OP_##NAME] = {text, flags},
#include "graph/op.def"
#undef DLT_OP
};

const char *dlt_op_name(dlt_op op)
{
    return ops[op].name;
}

unsigned dlt_op_flags(dlt_op op)
{
    return ops[op].flags;
}

static const struct {
    const char *name;
    int operands;
} instructions[DLT_EW_COUNT] = {
#define DLT_EW(NAME, operands, text) [DLT_EW_##NAME] = {text, operands},
#include "graph/ew.def"
#undef DLT_EW
};

const char *dlt_ew_name(dlt_ew op)
{
    return instructions[op].name;
}

int dlt_ew_operands(dlt_ew op)
{
    return instructions[op].operands;
}

const char *dlt_storage_name(dlt_storage storage)
{
    static const char *const names[DLT_STORAGE_COUNT] = {"transient", "param", "grad", "state", "input", "constant"};
    return names[storage];
}

bool dlt_layout_equal(dlt_layout a, dlt_layout b)
{
    return a.kind == b.kind && a.block == b.block && a.in_block == b.in_block;
}

const char *dlt_layout_text(dlt_layout layout, char *text, size_t room)
{
    switch (layout.kind) {
    case DLT_LAYOUT_ROW_MAJOR:
        snprintf(text, room, "row-major");
        break;
    case DLT_LAYOUT_CHANNEL_BLOCKED:
        snprintf(text, room, "blocked%u", (unsigned)layout.block);
        break;
    case DLT_LAYOUT_KERNEL_BLOCKED:
        snprintf(text, room, "kernel%ux%u", (unsigned)layout.in_block, (unsigned)layout.block);
        break;
    case DLT_LAYOUT_FLAT:
        snprintf(text, room, "flat");
        break;
    default:
        snprintf(text, room, "backend%u:%u", (unsigned)layout.kind, (unsigned)layout.block);
    }
    return text;
}

int64_t dlt_value_bytes(const dlt_value *value)
{
    return value->extent * (int64_t)dlt_dtype_size(value->type);
}

dlt_value *dlt_graph_output(const dlt_graph *graph, const char *name)
{
    for (int i = 0; i < graph->output_count; i++) {
        if (strcmp(graph->outputs[i].name, name) == 0) {
            return graph->outputs[i].value;
        }
    }
    return NULL;
}

bool dlt_graph_grow(dlt_arena *arena, void *array, int count, int *room, size_t size)
{
    if (count < *room) {
        return true;
    }
    const int wanted = *room > 0 ? *room * 2 : 4;
    void **pointer = array;
    void *grown = dlt_arena_alloc(arena, (size_t)wanted, size);
    if (grown == NULL) {
        return false;
    }
    if (count > 0) {
        memcpy(grown, *pointer, (size_t)count * size);
    }
    *pointer = grown; /* the old array stays in the arena: doubling wastes at most as much again */
    *room = wanted;
    return true;
}

dlt_variables *dlt_variables_create(dlt_arena *arena)
{
    dlt_variables *variables = dlt_arena_alloc(arena, 1, sizeof *variables);
    if (variables != NULL) {
        variables->arena = arena;
        variables->by_path.arena = arena;
    }
    return variables;
}

dlt_variable *dlt_variables_find(const dlt_variables *variables, const char *path)
{
    const int64_t *at = dlt_names_find(&variables->by_path, path);
    return at != NULL ? variables->list[*at] : NULL;
}

bool dlt_variables_number(dlt_variables *variables)
{
    dlt_names next = {.arena = variables->arena}; /* by group: number of the next weight */
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < variables->count; i++) {
            dlt_variable *v = variables->list[i];
            if (v->role != DLT_VARIABLE_WEIGHT || v->created_trainable != (pass == 0)) {
                continue;
            }
            int64_t *number = dlt_names_at(&next, v->group, 0);
            if (number == NULL) {
                return false;
            }
            v->index = (int)(*number)++;
        }
    }
    return true;
}

int64_t dlt_variables_count_weights(const dlt_variables *variables, bool trainable_only)
{
    int64_t count = 0;
    for (int i = 0; i < variables->count; i++) {
        const dlt_variable *v = variables->list[i];
        if (v->role == DLT_VARIABLE_WEIGHT && (v->trainable || !trainable_only)) {
            count += dlt_shape_count(&v->shape);
        }
    }
    return count;
}

int64_t dlt_variable_bytes(const dlt_variables *variables, const dlt_variable *variable)
{
    if (variable->layout.kind == DLT_LAYOUT_FLAT) {
        return variables->trainable_bytes;
    }
    return dlt_shape_count(&variable->shape) * (int64_t)dlt_dtype_size(variable->type);
}

/* Puts a variable behind `*end`; false on overflow. */
static bool place(const dlt_variables *variables, dlt_variable *v, int64_t *end)
{
    const int64_t bytes = dlt_variable_bytes(variables, v);
    v->offset = *end;
    return bytes >= 0 && !__builtin_add_overflow(*end, bytes, end) &&
           !__builtin_add_overflow(*end, (int64_t)DLT_VARIABLE_ALIGN - 1, end) &&
           (*end = *end / DLT_VARIABLE_ALIGN * DLT_VARIABLE_ALIGN, true);
}

bool dlt_variables_close(dlt_variables *variables)
{
    bool fits = true;
    variables->param_bytes = variables->state_bytes = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < variables->count && fits; i++) {
            dlt_variable *v = variables->list[i];
            if (v->storage == DLT_PARAM && v->trainable == (pass == 0)) {
                fits = place(variables, v, &variables->param_bytes);
                v->grad_offset = v->offset;
            }
        }
        if (pass == 0) {
            variables->trainable_bytes = variables->grad_bytes = variables->param_bytes;
        }
    }
    for (int i = 0; i < variables->count && fits; i++) {
        dlt_variable *v = variables->list[i];
        if (v->storage == DLT_STATE) {
            fits = place(variables, v, &variables->state_bytes);
        }
    }
    variables->closed = true;
    return fits;
}
