/* graph/builder.c: scopes, variables, inputs, and how a graph is begun and ended. */
#include "graph/builder.h"

#include "graph/graph_internal.h"

#include "base/alloc.h"
#include "base/rng.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

dlt_builder *dlt_builder_create(dlt_arena *arena, dlt_variables *variables, const dlt_builder_options *options,
                                dlt_diag *diag)
{
    dlt_builder *b = dlt_arena_alloc(arena, 1, sizeof *b);
    dlt_graph *g = dlt_arena_alloc(arena, 1, sizeof *g);
    if (b == NULL || g == NULL) {
        dlt_fail_memory(diag);
        return NULL;
    }
    *g = (dlt_graph){.arena = arena,
                     .variables = variables,
                     .name = options->name,
                     .real = options->real,
                     .batch = options->batch};
    *b = (dlt_builder){.arena = arena, .graph = g, .diag = diag, .options = *options, .depth = 1};
    b->streams.arena = arena;
    b->scopes[0] = (dlt_scope){.path = "", .group = "", .trainable = true, .fold = 1};
    return b;
}

bool dlt_builder_look_on(dlt_builder *b)
{
    if (b->failed && b->mistaken) {
        b->failed = false;
    }
    return !b->failed;
}

void dlt_builder_mistake(dlt_builder *b)
{
    b->mistaken = b->mistaken || !b->failed;
    b->failed = true;
}

bool dlt_builder_mistaken(const dlt_builder *b)
{
    return b->mistaken;
}

bool dlt_builder_failed(const dlt_builder *b)
{
    return b->failed;
}

bool dlt_training(const dlt_builder *b)
{
    return b->options.mode == DLT_MODE_TRAIN && b->scopes[b->depth - 1].trainable;
}

dlt_mode dlt_builder_mode(const dlt_builder *b)
{
    return b->options.mode;
}

dlt_dtype dlt_real(const dlt_builder *b)
{
    return b->options.real;
}

int64_t dlt_batch_size(const dlt_builder *b)
{
    return b->options.batch;
}

dlt_diag *dlt_builder_diag(const dlt_builder *b)
{
    return b->diag;
}

dlt_graph *dlt_builder_graph(dlt_builder *b)
{
    return b->graph;
}

dlt_shape dlt_shape_of(const dlt_value *v)
{
    return v != NULL ? v->shape : dlt_scalar();
}

dlt_value *dlt_builder_out_of_memory(dlt_builder *b)
{
    if (!b->failed) {
        dlt_fail_memory(b->diag);
        b->why = DLT_E_MEMORY;
        b->mistaken = false;
    }
    b->failed = true;
    return NULL;
}

/* ---- scopes ---- */

/* "a/b", or either where the other is empty. */
static const char *joined(dlt_builder *b, const char *above, const char *name)
{
    if (name == NULL || name[0] == '\0') {
        return above;
    }
    return above[0] == '\0' ? dlt_arena_string(b->arena, name) : dlt_arena_printf(b->arena, "%s/%s", above, name);
}

static void enter(dlt_builder *b, const char *path, const char *group, dlt_pos pos, bool trainable)
{
    const dlt_scope *above = &b->scopes[b->depth - 1];
    assert(above->path != NULL && above->group != NULL); /* "" at the least */
    dlt_scope scope = {.path = path,
                       .group = group,
                       .pos = pos.line > 0 ? pos : above->pos,
                       .trainable = trainable && above->trainable,
                       .fold = above->fold};
    if (path == NULL || group == NULL) {
        dlt_builder_out_of_memory(b);
        scope.path = scope.group = "";
    }
    if (b->depth == DLT_MAX_SCOPES) {
        dlt_reject(b, "layers are nested more than %d deep", DLT_MAX_SCOPES - 1);
        b->scopes[b->depth - 1] = scope; /* keeps enter and leave balanced: leave never goes below 1 */
        return;
    }
    if (strcmp(scope.group, above->group) != 0) {
        const char *last = strrchr(scope.path, '/');
        dlt_graph *g = b->graph;
        if (!dlt_graph_grow(b->arena, &g->groups, g->group_count, &g->group_room, sizeof *g->groups)) {
            dlt_builder_out_of_memory(b);
            return;
        }
        g->groups[g->group_count++] = (dlt_layer_group){scope.group, last != NULL ? last + 1 : scope.path};
    }
    b->scopes[b->depth++] = scope;
}

void dlt_scope_enter(dlt_builder *b, const char *name, const char *group, dlt_pos pos, bool trainable)
{
    const dlt_scope *above = &b->scopes[b->depth - 1];
    enter(b, joined(b, above->path, name), joined(b, above->group, group), pos, trainable);
}

void dlt_scope_enter_at(dlt_builder *b, const char *path, const char *group, bool trainable)
{
    enter(b, path, group, (dlt_pos){0}, trainable);
}

void dlt_scope_leave(dlt_builder *b)
{
    if (b->depth > 1) {
        b->depth--;
    }
}

void dlt_scope_fold(dlt_builder *b, int64_t steps)
{
    b->scopes[b->depth - 1].fold *= steps;
}

const char *dlt_scope_path(const dlt_builder *b)
{
    return b->scopes[b->depth - 1].path;
}

const char *dlt_scope_group(const dlt_builder *b)
{
    return b->scopes[b->depth - 1].group;
}

void dlt_builder_set_context(dlt_builder *b, void *context)
{
    b->context = context;
}

void *dlt_builder_context(const dlt_builder *b)
{
    return b->context;
}

dlt_pos dlt_scope_pos(const dlt_builder *b)
{
    return b->scopes[b->depth - 1].pos;
}

void dlt_builder_phase(dlt_builder *b, dlt_phase phase)
{
    b->phase = phase;
}

static dlt_value *reject(dlt_builder *b, dlt_status status, dlt_pos at, const char *fmt, va_list args)
{
    if (!b->failed) {
        char text[512];
        vsnprintf(text, sizeof text, fmt, args);
        b->why = dlt_fail(b->diag, status, at, "%s", text);
        b->mistaken = status == DLT_E_CONFIG;
    }
    b->failed = true;
    return NULL;
}

dlt_value *dlt_reject(dlt_builder *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    reject(b, DLT_E_CONFIG, dlt_scope_pos(b), fmt, args);
    va_end(args);
    return NULL;
}

dlt_value *dlt_reject_at(dlt_builder *b, dlt_status status, dlt_pos at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    reject(b, status, at, fmt, args);
    va_end(args);
    return NULL;
}

void dlt_builder_fail(dlt_builder *b)
{
    b->failed = true;
}

bool dlt_uncertain(const dlt_value *a, const dlt_value *b)
{
    return (a != NULL && a->uncertain) || (b != NULL && b->uncertain);
}

/* ---- nodes ---- */

dlt_node *dlt_node_add(dlt_builder *b, dlt_op op, dlt_value *const *inputs, int count, const void *attrs,
                       size_t attrs_size)
{
    dlt_graph *g = b->graph;
    if (b->failed) {
        return NULL;
    }
    for (int i = 0; i < count; i++) {
        if (inputs[i] == NULL) {
            dlt_fail(b->diag, DLT_E_INTERNAL, dlt_scope_pos(b), "%s has no operand %d", dlt_op_name(op), i);
            b->failed = true;
            return NULL;
        }
    }
    if (g->node_count >= (b->options.most_nodes > 0 ? b->options.most_nodes : DLT_MAX_NODES)) {
        dlt_reject(b, "the model grows beyond 1,000,000 operations here; lower the `times` of Repeat around it");
        return NULL;
    }
    dlt_node *node = dlt_arena_alloc(b->arena, 1, sizeof *node);
    dlt_value **in = dlt_arena_alloc(b->arena, (size_t)count, sizeof(dlt_value *));
    void *copy = attrs != NULL ? dlt_arena_alloc(b->arena, 1, attrs_size) : NULL;
    if (node == NULL || in == NULL || (attrs != NULL && copy == NULL) ||
        !dlt_graph_grow(b->arena, &g->nodes, g->node_count, &g->node_room, sizeof *g->nodes)) {
        dlt_builder_out_of_memory(b);
        return NULL;
    }
    if (count > 0) {
        memcpy(in, inputs, (size_t)count * sizeof *in);
    }
    if (copy != NULL) {
        memcpy(copy, attrs, attrs_size);
    }
    const dlt_scope *scope = &b->scopes[b->depth - 1];
    *node = (dlt_node){.id = g->node_count,
                       .op = op,
                       .phase = b->phase,
                       .input_count = count,
                       .own_inputs = count,
                       .inputs = in,
                       .attrs = copy,
                       .attrs_size = copy != NULL ? attrs_size : 0,
                       .layer = scope->path,
                       .pos = scope->pos};
    g->nodes[g->node_count++] = node;
    return node;
}

dlt_value *dlt_node_output(dlt_builder *b, dlt_node *node, dlt_dtype type, dlt_shape shape)
{
    if (node == NULL || b->failed) {
        return NULL;
    }
    const int64_t count = dlt_shape_count(&shape);
    int64_t bytes = 0;
    if (count < 0 || !dlt_mul_i64(count, (int64_t)dlt_dtype_size(type), &bytes)) {
        char text[160];
        return dlt_reject(b, "a tensor of shape %s is too large", dlt_shape_text(&shape, text, sizeof text));
    }
    dlt_value *v = dlt_arena_alloc(b->arena, 1, sizeof *v);
    dlt_value **outputs = dlt_arena_alloc(b->arena, (size_t)node->output_count + 1, sizeof(dlt_value *));
    if (v == NULL || outputs == NULL) {
        return dlt_builder_out_of_memory(b);
    }
    if (node->output_count > 0) {
        memcpy(outputs, node->outputs, (size_t)node->output_count * sizeof(dlt_value *));
    }
    *v = (dlt_value){.id = b->graph->value_count++,
                     .out = node->output_count,
                     .node = node,
                     .type = type,
                     .shape = shape,
                     .extent = count};
    for (int i = 0; i < node->input_count; i++) {
        v->uncertain = v->uncertain || node->inputs[i]->uncertain;
    }
    outputs[node->output_count++] = v;
    node->outputs = outputs;
    return v;
}

dlt_value *dlt_node_simple(dlt_builder *b, dlt_op op, dlt_value *const *inputs, int count, const void *attrs,
                           size_t attrs_size, dlt_dtype type, dlt_shape shape)
{
    return dlt_node_output(b, dlt_node_add(b, op, inputs, count, attrs, attrs_size), type, shape);
}

/* ---- variables ---- */

/* Room in the tables of values by variable. */
static bool track(dlt_builder *b, int count)
{
    if (count <= b->tracked) {
        return true;
    }
    const int wanted = count * 2 > 64 ? count * 2 : 64;
    dlt_value **read = dlt_arena_alloc(b->arena, (size_t)wanted, sizeof(dlt_value *));
    dlt_value **current = dlt_arena_alloc(b->arena, (size_t)wanted, sizeof(dlt_value *));
    if (read == NULL || current == NULL) {
        dlt_builder_out_of_memory(b);
        return false;
    }
    if (b->tracked > 0) {
        memcpy(read, b->read, (size_t)b->tracked * sizeof *read);
        memcpy(current, b->current, (size_t)b->tracked * sizeof *current);
    }
    b->read = read;
    b->current = current;
    b->tracked = wanted;
    return true;
}

dlt_value *dlt_current(dlt_builder *b, dlt_variable *variable)
{
    if (variable == NULL || b->failed || !track(b, variable->id + 1)) {
        return NULL;
    }
    if (b->current[variable->id] == NULL) {
        dlt_value *v = dlt_node_simple(b, DLT_OP_VAR, NULL, 0, &variable, sizeof variable, variable->type, variable->shape);
        if (v == NULL) {
            return NULL;
        }
        v->storage = variable->storage;
        v->layout = variable->layout;
        b->read[variable->id] = b->current[variable->id] = v;
    }
    return b->current[variable->id];
}

dlt_variable *dlt_variable_of(const dlt_value *v)
{
    return v != NULL && v->node->op == DLT_OP_VAR ? *(dlt_variable *const *)v->node->attrs : NULL;
}

/* Adds a variable that is not in the list yet. */
static dlt_variable *add_variable(dlt_builder *b, const dlt_variable *like)
{
    dlt_variables *all = b->graph->variables;
    if (all->closed) {
        dlt_fail(b->diag, DLT_E_INTERNAL, like->pos, "program %s needs variable '%s', which the main program lacks",
                 b->options.name, like->path);
        b->failed = true;
        return NULL;
    }
    dlt_variable *v = dlt_arena_alloc(all->arena, 1, sizeof *v);
    int64_t *place = v != NULL && dlt_graph_grow(all->arena, &all->list, all->count, &all->room, sizeof *all->list)
                         ? dlt_names_at(&all->by_path, like->path, all->count)
                         : NULL;
    if (place == NULL) {
        dlt_builder_out_of_memory(b);
        return NULL;
    }
    *v = *like;
    v->id = all->count;
    v->index = -1;
    all->list[all->count++] = v;
    return v;
}

dlt_value *dlt_variable_value(dlt_builder *b, const dlt_variable *like)
{
    if (b->failed) {
        return NULL;
    }
    dlt_variable *v = dlt_variables_find(b->graph->variables, like->path);
    if (v == NULL) {
        v = add_variable(b, like);
    } else if (!dlt_shape_equal(&v->shape, &like->shape) || v->type != like->type) {
        char is[160], was[160];
        return dlt_reject_at(b, DLT_E_CONFIG, dlt_scope_pos(b), "%s has shape %s here and %s where it was first used",
                             like->path, dlt_shape_text(&like->shape, is, sizeof is),
                             dlt_shape_text(&v->shape, was, sizeof was));
    }
    return dlt_current(b, v);
}

/* A weight of the present scope. */
static dlt_value *weight(dlt_builder *b, const char *name, const dlt_variable *like)
{
    if (b->failed) {
        return NULL;
    }
    const dlt_scope *scope = &b->scopes[b->depth - 1];
    dlt_variable v = *like;
    v.path = joined(b, scope->path, name);
    v.group = scope->group;
    v.role = DLT_VARIABLE_WEIGHT;
    v.pos = scope->pos;
    v.layer = scope->path;
    return v.path != NULL ? dlt_variable_value(b, &v) : dlt_builder_out_of_memory(b);
}

/* What all weights have in common; the initializer's details are still to be filled in. */
static dlt_variable learned(const dlt_builder *b, const dlt_weight_params *params, dlt_shape shape)
{
    return (dlt_variable){.type = b->options.real,
                          .shape = shape,
                          .storage = DLT_PARAM,
                          .created_trainable = true,
                          .trainable = b->scopes[b->depth - 1].trainable,
                          .initializer = params->initializer,
                          .regularizer = params->regularizer,
                          .constraint = params->constraint};
}

dlt_value *dlt_weight_fans(dlt_builder *b, const dlt_weight_params *params, dlt_shape shape, int64_t fan_in,
                           int64_t fan_out)
{
    dlt_variable like = learned(b, params, shape);
    like.fan_in = fan_in;
    like.fan_out = fan_out;
    return weight(b, params->name, &like);
}

dlt_value *dlt_weight_ones(dlt_builder *b, const dlt_weight_params *params, dlt_shape shape, int64_t from, int64_t count)
{
    dlt_variable like = learned(b, params, shape);
    like.ones_from = from;
    like.ones_count = count;
    return weight(b, params->name, &like);
}

dlt_value *dlt_weight(dlt_builder *b, const dlt_weight_params *params, dlt_shape shape)
{
    return dlt_weight_fans(b, params, shape, 0, 0);
}

dlt_value *dlt_state(dlt_builder *b, const char *name, dlt_dtype type, dlt_shape shape, const dlt_item *initializer,
                     double constant)
{
    return weight(b, name,
                  &(dlt_variable){.type = type,
                                  .shape = shape,
                                  .storage = DLT_STATE,
                                  .initializer = initializer,
                                  .constant = constant});
}

void dlt_assign(dlt_builder *b, dlt_variable *variable, dlt_value *value)
{
    if (b->failed || variable == NULL || value == NULL || !track(b, variable->id + 1)) {
        return;
    }
    if (!dlt_shape_equal(&variable->shape, &value->shape) || variable->type != value->type) {
        char is[160], was[160];
        dlt_fail(b->diag, DLT_E_INTERNAL, dlt_scope_pos(b), "%s has shape %s and is given a value of shape %s",
                 variable->path, dlt_shape_text(&variable->shape, was, sizeof was),
                 dlt_shape_text(&value->shape, is, sizeof is));
        b->failed = true;
        return;
    }
    b->current[variable->id] = value;
}

/* ---- what enters, and names for what comes out ---- */

dlt_value *dlt_input(dlt_builder *b, const char *name, dlt_dtype type, dlt_shape shape)
{
    dlt_graph *g = b->graph;
    const char *kept = dlt_arena_string(b->arena, name);
    dlt_value *v = dlt_node_simple(b, DLT_OP_INPUT, NULL, 0, &kept, sizeof kept, type, shape);
    if (v == NULL) {
        return NULL;
    }
    if (!dlt_graph_grow(b->arena, &g->inputs, g->input_count, &g->input_room, sizeof *g->inputs)) {
        return dlt_builder_out_of_memory(b);
    }
    v->storage = DLT_INPUT;
    g->inputs[g->input_count++] = v;
    return v;
}

void dlt_output(dlt_builder *b, const char *name, dlt_value *value)
{
    dlt_graph *g = b->graph;
    if (b->failed || value == NULL) {
        return;
    }
    const char *kept = dlt_arena_string(b->arena, name);
    if (kept == NULL || !dlt_graph_grow(b->arena, &g->outputs, g->output_count, &g->output_room, sizeof *g->outputs)) {
        dlt_builder_out_of_memory(b);
        return;
    }
    g->outputs[g->output_count++] = (struct dlt_output){kept, value};
}

dlt_value *dlt_constant_array(dlt_builder *b, dlt_dtype type, dlt_shape shape, const double *values)
{
    const int64_t count = dlt_shape_count(&shape);
    const double *kept = NULL;
    if (b->failed) {
        return NULL;
    }
    double *copy = dlt_arena_alloc(b->arena, count > 0 ? (size_t)count : 0, sizeof *copy);
    if (copy == NULL) {
        return dlt_builder_out_of_memory(b);
    }
    if (count > 0) {
        memcpy(copy, values, (size_t)count * sizeof *copy);
    }
    kept = copy;
    dlt_value *v = dlt_node_simple(b, DLT_OP_CONST, NULL, 0, &kept, sizeof kept, type, shape);
    if (v != NULL) {
        v->storage = DLT_CONSTANT;
    }
    return v;
}

dlt_value *dlt_constant_typed(dlt_builder *b, dlt_dtype type, double value)
{
    return dlt_constant_array(b, type, dlt_scalar(), &value);
}

dlt_value *dlt_constant(dlt_builder *b, double value)
{
    return dlt_constant_typed(b, b->options.real, value);
}

/* The stream of a purpose at the present path; a second use of the same one in this graph gets a stream of its own. */
static uint32_t stream_of(dlt_builder *b, const char *purpose)
{
    const char *name = dlt_arena_printf(b->arena, "%s:%s", dlt_scope_path(b), purpose);
    int64_t *uses = name != NULL ? dlt_names_at(&b->streams, name, 0) : NULL;
    if (uses != NULL && ++*uses > 1) {
        name = dlt_arena_printf(b->arena, "%s#%lld", name, (long long)*uses);
    }
    if (uses == NULL || name == NULL) {
        dlt_builder_out_of_memory(b);
        return 0;
    }
    return dlt_fnv1a(name);
}

dlt_value *dlt_samples(dlt_builder *b)
{
    return dlt_variable_value(b, &(dlt_variable){.path = "samples",
                                                 .group = "",
                                                 .role = DLT_VARIABLE_COUNTER,
                                                 .type = DLT_I64,
                                                 .shape = dlt_scalar(),
                                                 .storage = DLT_STATE,
                                                 .layer = ""});
}

uint32_t dlt_stream(dlt_builder *b, const char *purpose)
{
    return b->failed ? 0 : stream_of(b, purpose);
}

dlt_value *dlt_uniform(dlt_builder *b, const char *purpose, dlt_shape shape, bool once)
{
    const int64_t count = dlt_shape_count(&shape);
    const int64_t rows = shape.rank > 0 && shape.dim[0] > 0 ? shape.dim[0] : 1;
    const int64_t fold = b->scopes[b->depth - 1].fold;
    if (b->failed) {
        return NULL;
    }
    dlt_value *samples = dlt_samples(b);
    const dlt_ew_attrs attrs = {.op = DLT_EW_UNIFORM,
                                .stream = stream_of(b, purpose),
                                .seed = b->options.seed,
                                .per_sample = once || count <= 0 ? (count > 0 ? count : 1) : count / rows * fold};
    return dlt_node_simple(b, DLT_OP_EW, &samples, 1, &attrs, sizeof attrs, b->options.real, shape);
}

/* ---- penalties ---- */

/* Notes a penalty: what a regularizer makes of a value, or, where it is NULL, the value itself. */
static void note_penalty(dlt_builder *b, const dlt_item *regularizer, dlt_value *value)
{
    if (b->failed || value == NULL) {
        return;
    }
    if (!dlt_graph_grow(b->arena, &b->penalties, b->penalty_count, &b->penalty_room, sizeof *b->penalties)) {
        dlt_builder_out_of_memory(b);
        return;
    }
    b->penalties[b->penalty_count++] = (dlt_penalty){regularizer, value};
}

void dlt_penalise(dlt_builder *b, const dlt_item *regularizer, dlt_value *value)
{
    if (regularizer != NULL) {
        note_penalty(b, regularizer, value);
    }
}

void dlt_penalise_by(dlt_builder *b, dlt_value *penalty)
{
    note_penalty(b, NULL, penalty);
}

const dlt_penalty *dlt_penalties(const dlt_builder *b, int *count)
{
    *count = b->penalty_count;
    return b->penalties;
}

/* ---- the end of a step ---- */

void dlt_watch(dlt_builder *b, dlt_value *value)
{
    if (b->failed || value == NULL) {
        return;
    }
    if (!dlt_graph_grow(b->arena, &b->watched, b->watched_count, &b->watched_room, sizeof(dlt_value *))) {
        dlt_builder_out_of_memory(b);
        return;
    }
    b->watched[b->watched_count++] = value;
}

void dlt_guard(dlt_builder *b, dlt_value *const *values, int count)
{
    dlt_value **all = dlt_arena_alloc(b->arena, (size_t)count + (size_t)b->watched_count, sizeof(dlt_value *));
    if (all == NULL) {
        dlt_builder_out_of_memory(b);
        return;
    }
    for (int i = 0; i < count + b->watched_count; i++) {
        all[i] = i < count ? values[i] : b->watched[i - count];
    }
    dlt_node_add(b, DLT_OP_GUARD, all, count + b->watched_count, NULL, 0);
    b->guarded = true;
}

/* The trainable variables of the run, in list order. */
static int trainable(const dlt_builder *b, dlt_variable **out)
{
    const dlt_variables *all = b->graph->variables;
    int count = 0;
    for (int i = 0; i < all->count; i++) {
        if (all->list[i]->storage == DLT_PARAM && all->list[i]->trainable) {
            if (out != NULL) {
                out[count] = all->list[i];
            }
            count++;
        }
    }
    return count;
}

/* Elements of the flat vector without padding: its logical length. */
static int64_t flat_count(const dlt_builder *b)
{
    const dlt_variables *all = b->graph->variables;
    int64_t count = 0;
    for (int i = 0; i < all->count; i++) {
        if (all->list[i]->storage == DLT_PARAM && all->list[i]->trainable) {
            count += dlt_shape_count(&all->list[i]->shape);
        }
    }
    return count;
}

dlt_value *dlt_flat_params(dlt_builder *b)
{
    const int count = trainable(b, NULL);
    dlt_variable **list = dlt_arena_alloc(b->arena, (size_t)count, sizeof *list);
    dlt_value **values = dlt_arena_alloc(b->arena, (size_t)count, sizeof *values);
    if (list == NULL || values == NULL) {
        return dlt_builder_out_of_memory(b);
    }
    trainable(b, list);
    for (int i = 0; i < count; i++) {
        values[i] = dlt_current(b, list[i]);
    }
    dlt_value *flat =
        dlt_node_simple(b, DLT_OP_FLAT, values, count, NULL, 0, b->options.real, DLT_SHAPE(flat_count(b)));
    if (flat != NULL) {
        flat->storage = DLT_PARAM;
        flat->layout.kind = DLT_LAYOUT_FLAT;
    }
    return flat;
}

dlt_value *dlt_flat_grads(dlt_builder *b, dlt_value *const *grads, int count)
{
    dlt_value *flat =
        dlt_node_simple(b, DLT_OP_FLAT, grads, count, NULL, 0, b->options.real, DLT_SHAPE(flat_count(b)));
    if (flat != NULL) {
        flat->storage = DLT_GRAD;
        flat->layout.kind = DLT_LAYOUT_FLAT;
    }
    return flat;
}

dlt_value *dlt_flat_part(dlt_builder *b, dlt_value *flat, dlt_variable *variable)
{
    if (b->failed || flat == NULL || variable == NULL) {
        return NULL;
    }
    return dlt_node_simple(b, DLT_OP_SEGMENT, &flat, 1, &variable, sizeof variable, variable->type, variable->shape);
}

dlt_value *dlt_flat_slot(dlt_builder *b, const char *name, double constant, dlt_variable **variable)
{
    dlt_variable like = {.path = dlt_arena_printf(b->arena, "optimizer:%s", name),
                         .group = "",
                         .role = DLT_VARIABLE_SLOT,
                         .type = b->options.real,
                         .shape = DLT_SHAPE(flat_count(b)),
                         .storage = DLT_STATE,
                         .constant = constant,
                         .layer = "optimizer",
                         .layout = {.kind = DLT_LAYOUT_FLAT}};
    dlt_value *v = like.path != NULL ? dlt_variable_value(b, &like) : dlt_builder_out_of_memory(b);
    if (variable != NULL) {
        *variable = v != NULL ? dlt_variables_find(b->graph->variables, like.path) : NULL;
    }
    return v;
}

void dlt_assign_flat(dlt_builder *b, dlt_value *flat)
{
    const dlt_variables *all = b->graph->variables;
    if (flat == NULL || b->failed || !track(b, all->count)) {
        return;
    }
    b->flat = flat;
    for (int i = 0; i < all->count; i++) {
        dlt_variable *v = all->list[i];
        if (v->storage == DLT_PARAM && v->trainable) {
            b->current[i] = dlt_flat_part(b, flat, v);
        }
    }
}

dlt_status dlt_builder_finish(dlt_builder *b, dlt_graph **graph)
{
    *graph = NULL;
    b->depth = 1;
    b->phase = DLT_PHASE_UPDATE;
    if (b->flat != NULL && !b->failed) {
        const dlt_variable *none = NULL;
        dlt_node_add(b, DLT_OP_ASSIGN, &b->flat, 1, &none, sizeof none);
    }
    for (int i = 0; i < b->tracked && i < b->graph->variables->count && !b->failed; i++) {
        dlt_variable *v = b->graph->variables->list[i];
        dlt_value *now = b->current[i];
        const bool by_flat = now != NULL && now->node->op == DLT_OP_SEGMENT && now->node->inputs[0] == b->flat;
        if (now != NULL && now != b->read[i] && !by_flat) {
            dlt_node_add(b, DLT_OP_ASSIGN, &now, 1, &v, sizeof v);
        }
    }
    if (dlt_arena_failed(b->arena)) {
        dlt_builder_out_of_memory(b);
    }
    if (b->failed) {
        const dlt_status status = b->why != DLT_OK ? b->why : dlt_diag_status(b->diag);
        return status != DLT_OK ? status : DLT_E_INTERNAL;
    }
    *graph = b->graph;
    return DLT_OK;
}
