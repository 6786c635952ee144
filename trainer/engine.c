/* trainer/engine.c: the programs of a run on a device. */
#include "trainer/engine.h"

#include "base/alloc.h"
#include "base/sha256.h"
#include "graph/passes.h"
#include "trainer/initializer.h"
#include "trainer/optimizer.h"

#include <string.h>

enum { MAX_SUMS = 1 << 16 };

const char *dlt_run_program_name(dlt_run_program program)
{
    static const char *const names[DLT_RUN_PROGRAMS] = {
        [DLT_RUN_TRAIN] = "train",
        [DLT_RUN_TRAIN_REST] = "train (last batch)",
        [DLT_RUN_APPLY] = "train-apply",
        [DLT_RUN_APPLY_REST] = "train-apply (last batch)",
        [DLT_RUN_ACCUMULATE] = "train-accumulate",
        [DLT_RUN_ACCUMULATE_REST] = "train-accumulate (last batch)",
        [DLT_RUN_EVALUATE] = "evaluate",
        [DLT_RUN_PREDICT] = "predict",
        [DLT_RUN_FINISH] = "finish",
    };
    return names[program];
}

static const dlt_program_kind kinds[DLT_RUN_PROGRAMS] = {
    [DLT_RUN_TRAIN] = DLT_PROGRAM_TRAIN,           [DLT_RUN_TRAIN_REST] = DLT_PROGRAM_TRAIN,
    [DLT_RUN_ACCUMULATE] = DLT_PROGRAM_ACCUMULATE, [DLT_RUN_ACCUMULATE_REST] = DLT_PROGRAM_ACCUMULATE,
    [DLT_RUN_APPLY] = DLT_PROGRAM_APPLY,           [DLT_RUN_APPLY_REST] = DLT_PROGRAM_APPLY,
    [DLT_RUN_EVALUATE] = DLT_PROGRAM_EVALUATE,     [DLT_RUN_PREDICT] = DLT_PROGRAM_PREDICT,
    [DLT_RUN_FINISH] = DLT_PROGRAM_FINISH,
};

/* Rows of a program's batch; 0: this run does not have it. */
static int64_t rows_of(const dlt_engine *e, dlt_run_program program)
{
    const dlt_engine_options *o = &e->options;
    const dlt_optimizer_params *p =
        o->train && e->spec->optimizer != NULL ? dlt_optimizer_common(e->spec->optimizer) : NULL;
    const bool accumulates = p != NULL && p->gradient_accumulation_steps.set;
    switch (program) {
    case DLT_RUN_TRAIN:
        return o->train && !accumulates ? o->batch : 0;
    case DLT_RUN_TRAIN_REST:
        return o->train && !accumulates ? o->rest : 0;
    case DLT_RUN_ACCUMULATE:
    case DLT_RUN_APPLY:
        return o->train && accumulates ? o->batch : 0;
    case DLT_RUN_ACCUMULATE_REST:
    case DLT_RUN_APPLY_REST:
        return o->train && accumulates ? o->rest : 0;
    case DLT_RUN_EVALUATE:
        return o->evaluate_batch;
    case DLT_RUN_PREDICT:
        return o->predict_batch;
    default:
        return p != NULL && p->use_ema ? 1 : 0;
    }
}

/* Program whose input buffers this one shares, or itself. */
static dlt_run_program feeder_of(dlt_run_program program)
{
    switch (program) {
    case DLT_RUN_TRAIN_REST:
        return DLT_RUN_TRAIN;
    case DLT_RUN_APPLY_REST:
    case DLT_RUN_ACCUMULATE:
    case DLT_RUN_ACCUMULATE_REST:
        return DLT_RUN_APPLY;
    default:
        return program;
    }
}

static dlt_status build(dlt_engine *e, dlt_run_program program, bool first, dlt_diag *diag)
{
    dlt_compiled *c = &e->programs[program];
    const dlt_step_options step = {.kind = kinds[program],
                                   .batch = rows_of(e, program),
                                   .real = e->options.real,
                                   .visit = first ? e->options.visit : NULL,
                                   .context = e->options.visit_context};
    DLT_TRY(
        dlt_step_build(e->arena, e->variables, e->spec, &e->inputs->step, &step, e->metrics, &c->step, diag));
    c->built = c->step.graph;
    const dlt_dtype compute = e->options.real == DLT_F64                       ? DLT_F64
                              : e->spec->precision == DLT_PRECISION_MIXED_BF16 ? DLT_BF16
                              : e->spec->precision == DLT_PRECISION_MIXED_F16  ? DLT_F16
                                                                               : DLT_F32;
    const dlt_pass_options passes = {.fuse = !e->options.plain && !e->options.no_fusion,
                                     .layout = !e->options.plain && e->options.real == DLT_F32,
                                     .compute = compute,
                                     .compute_at = e->options.precision_at,
                                     .main_program = first};
    DLT_TRY(dlt_passes_run(c->built, e->backend->target(e->device), &passes, &c->graph, diag));
    const dlt_run_program feeder = feeder_of(program);
    const dlt_plan_options plan = {.reuse = !e->options.plain,
                                   .inputs_like = feeder != program ? e->programs[feeder].plan : NULL};
    DLT_TRY(dlt_plan_create(c->graph, &plan, &c->plan, diag));
    return dlt_plan_verify(c->plan, diag);
}

static void count_sizes(dlt_engine *e)
{
    dlt_memory_sizes *s = &e->sizes;
    s->bytes[DLT_PARAM] = e->variables->param_bytes;
    s->bytes[DLT_GRAD] = e->options.train ? e->variables->grad_bytes : 0;
    s->bytes[DLT_STATE] = e->variables->state_bytes;
    for (int i = 0; i < DLT_RUN_PROGRAMS; i++) {
        const dlt_plan *plan = e->programs[i].plan;
        if (plan != NULL) {
            s->bytes[DLT_TRANSIENT] = plan->transient_bytes > s->bytes[DLT_TRANSIENT]
                                          ? plan->transient_bytes
                                          : s->bytes[DLT_TRANSIENT];
            s->bytes[DLT_INPUT] =
                plan->input_bytes > s->bytes[DLT_INPUT] ? plan->input_bytes : s->bytes[DLT_INPUT];
        }
    }
    s->input_slots = e->options.train_slots + e->options.evaluate_slots;
    if (s->input_slots < 1) {
        s->input_slots = 1;
    }
}

dlt_status dlt_engine_create(dlt_arena *arena, const dlt_spec *spec, const dlt_inputs *inputs,
                             const dlt_engine_options *options, dlt_engine **out, dlt_diag *diag)
{
    *out = NULL;
    dlt_engine *e = dlt_arena_alloc(arena, 1, sizeof *e);
    if (e == NULL) {
        return dlt_fail_memory(diag);
    }
    *e = (dlt_engine){.arena = arena, .spec = spec, .inputs = inputs, .options = *options};
    e->variables = dlt_variables_create(arena);
    if (e->variables == NULL) {
        return dlt_fail_memory(diag);
    }
    DLT_TRY(dlt_backend_find(options->device, &e->backend, diag));
    DLT_TRY(dlt_backend_open(e->backend, &options->device_options, &e->device, diag));
    dlt_status status =
        dlt_metric_set_create(arena, &spec->metrics, &spec->weighted_metrics, &e->metrics, diag);
    bool first = true;
    for (int i = 0; i < DLT_RUN_PROGRAMS && status == DLT_OK; i++) {
        if (rows_of(e, (dlt_run_program)i) > 0) {
            e->main = first ? (dlt_run_program)i : e->main;
            status = build(e, (dlt_run_program)i, first, diag);
            first = false;
        }
    }
    if (status != DLT_OK) {
        dlt_engine_destroy(e);
        return status;
    }
    count_sizes(e);
    *out = e;
    return DLT_OK;
}

dlt_status dlt_engine_start(dlt_engine *e, dlt_diag *diag)
{
    DLT_TRY(e->backend->memory_create(e->device, &e->sizes, &e->memory, diag));
    for (int i = 0; i < DLT_RUN_PROGRAMS; i++) {
        dlt_compiled *c = &e->programs[i];
        if (c->plan != NULL) {
            DLT_TRY(e->backend->program_create(e->device, e->memory, c->plan, &c->program, diag));
        }
    }
    return DLT_OK;
}

void dlt_engine_destroy(dlt_engine *e)
{
    if (e == NULL) {
        return;
    }
    for (int i = 0; i < DLT_RUN_PROGRAMS; i++) {
        e->backend->program_destroy(e->programs[i].program);
    }
    e->backend->memory_destroy(e->memory);
    e->backend->close(e->device);
    e->memory = NULL;
    e->device = NULL;
}

int64_t dlt_engine_bytes(const dlt_engine *e)
{
    return e->backend->memory_bytes(e->device, &e->sizes);
}

/* ---- running ---- */

static char *input_address(const dlt_engine *e, const dlt_compiled *c, int slot, int input)
{
    return (char *)e->backend->input_slot(e->memory, slot) +
           c->plan->places[c->graph->inputs[input]->id].offset;
}

void dlt_engine_slot(const dlt_engine *e, dlt_run_program program, int slot, void **outputs, float **weights)
{
    const dlt_compiled *c = &e->programs[program];
    int count = 0;
    for (; count < e->inputs->step.input_count; count++) {
        outputs[count] = input_address(e, c, slot, count);
    }
    if (c->step.target >= 0) {
        outputs[count] = input_address(e, c, slot, c->step.target);
    }
    *weights = c->step.weight >= 0 ? (float *)(void *)input_address(e, c, slot, c->step.weight) : NULL;
}

void dlt_engine_set_rows(const dlt_engine *e, dlt_run_program program, int slot, int64_t rows)
{
    const dlt_compiled *c = &e->programs[program];
    if (c->step.rows >= 0) {
        const int32_t count = (int32_t)rows;
        memcpy(input_address(e, c, slot, c->step.rows), &count, sizeof count);
    }
}

dlt_status dlt_engine_run(dlt_engine *e, dlt_run_program program, int slot, bool *finite, dlt_diag *diag)
{
    dlt_run_result result;
    DLT_TRY(e->backend->run(e->programs[program].program, slot, diag));
    DLT_TRY(e->backend->finish(e->programs[program].program, &result, diag));
    *finite = result.finite;
    return DLT_OK;
}

/* An element of a known type as a double. */
static double element(dlt_dtype type, const void *at)
{
    switch (type) {
    case DLT_F64:
        return *(const double *)at;
    case DLT_I64:
        return (double)*(const int64_t *)at;
    case DLT_I32:
        return (double)*(const int32_t *)at;
    default:
        return (double)*(const float *)at;
    }
}

dlt_status dlt_engine_scalar(dlt_engine *e, dlt_run_program program, int slot, const char *name,
                             double *value, dlt_diag *diag)
{
    const dlt_compiled *c = &e->programs[program];
    const dlt_value *v = dlt_graph_output(c->graph, name);
    union {
        double f64;
        int64_t i64;
        float f32;
        int32_t i32;
    } data = {0};
    if (v == NULL || dlt_value_bytes(v) > (int64_t)sizeof data) {
        return dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "program %s gives no scalar '%s'",
                        dlt_run_program_name(program), name);
    }
    DLT_TRY(e->backend->read_value(c->program, slot, v, &data, diag));
    *value = element(v->type, &data);
    return DLT_OK;
}

/* ---- layouts ---- */

/* Place of logical element i of a kernel (spatial..., I, O) that lies as (O / block, I / in_block,
 * spatial..., in_block, block). */
static int64_t kernel_place(const dlt_shape *shape, dlt_layout layout, int64_t i)
{
    const int64_t outs = shape->dim[shape->rank - 1], ins = shape->dim[shape->rank - 2];
    const int64_t o = i % outs, in = i / outs % ins, cell = i / outs / ins;
    const int64_t cells = dlt_shape_count(shape) / outs / ins;
    const int64_t ob = o / layout.block, ib = in / layout.in_block;
    return (((ob * (ins / layout.in_block) + ib) * cells + cell) * layout.in_block + in % layout.in_block) *
               layout.block +
           o % layout.block;
}

/* Copies between a packed logical array and the bytes of a layout. */
static void translate(const dlt_saved *s, char *logical, char *physical, bool to_physical)
{
    const size_t size = dlt_dtype_size(s->variable->type);
    const int64_t count = dlt_shape_count(&s->shape);
    if (s->layout.kind != DLT_LAYOUT_KERNEL_BLOCKED) {
        memcpy(to_physical ? physical : logical, to_physical ? logical : physical, (size_t)count * size);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        char *at = physical + kernel_place(&s->shape, s->layout, i) * (int64_t)size,
             *element_at = logical + i * (int64_t)size;
        memcpy(to_physical ? at : element_at, to_physical ? element_at : at, size);
    }
}

static int64_t saved_bytes(const dlt_saved *s)
{
    return dlt_shape_count(&s->shape) * (int64_t)dlt_dtype_size(s->variable->type);
}

dlt_status dlt_engine_read(const dlt_engine *e, const dlt_saved *s, void *data, dlt_diag *diag)
{
    const int64_t bytes = saved_bytes(s);
    if (s->layout.kind != DLT_LAYOUT_KERNEL_BLOCKED) {
        return e->backend->read(e->memory, s->variable->storage, dlt_saved_offset(s), data, bytes, diag);
    }
    char *raw = dlt_alloc((size_t)bytes);
    if (raw == NULL) {
        return dlt_fail_memory(diag);
    }
    const dlt_status status =
        e->backend->read(e->memory, s->variable->storage, dlt_saved_offset(s), raw, bytes, diag);
    if (status == DLT_OK) {
        translate(s, data, raw, false);
    }
    dlt_free(raw);
    return status;
}

dlt_status dlt_engine_write(const dlt_engine *e, const dlt_saved *s, const void *data, dlt_diag *diag)
{
    const int64_t bytes = saved_bytes(s);
    if (s->layout.kind != DLT_LAYOUT_KERNEL_BLOCKED) {
        return e->backend->write(e->memory, s->variable->storage, dlt_saved_offset(s), data, bytes, diag);
    }
    char *raw = dlt_alloc((size_t)bytes);
    if (raw == NULL) {
        return dlt_fail_memory(diag);
    }
    translate(s, (char *)(uintptr_t)data, raw, true);
    const dlt_status status =
        e->backend->write(e->memory, s->variable->storage, dlt_saved_offset(s), raw, bytes, diag);
    dlt_free(raw);
    return status;
}

/* ---- variables ---- */

/* Doubles as elements of a type. */
static void convert(const double *from, dlt_dtype type, void *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        switch (type) {
        case DLT_F64:
            ((double *)to)[i] = from[i];
            break;
        case DLT_I64:
            ((int64_t *)to)[i] = (int64_t)from[i];
            break;
        case DLT_I32:
            ((int32_t *)to)[i] = (int32_t)from[i];
            break;
        default:
            ((float *)to)[i] = (float)from[i];
        }
    }
}

static dlt_status init_variable(const dlt_engine *e, const dlt_variable *v, const dlt_fitted *fitted,
                                dlt_diag *diag)
{
    const bool flat = v->layout.kind == DLT_LAYOUT_FLAT;
    const int64_t bytes = dlt_variable_bytes(e->variables, v);
    const int64_t count = bytes / (int64_t)dlt_dtype_size(v->type);
    double *values = dlt_alloc_zeroed((size_t)count, sizeof *values);
    char *typed = dlt_alloc((size_t)bytes);
    dlt_status status = values != NULL && typed != NULL ? DLT_OK : dlt_fail_memory(diag);
    const dlt_fitted_entry *measured = fitted != NULL && !flat ? dlt_fitted_find(fitted, v->path) : NULL;
    if (status == DLT_OK && flat) {
        for (int64_t i = 0; i < count; i++) {
            values[i] = v->constant;
        }
    } else if (status == DLT_OK && measured != NULL && measured->numbers != NULL &&
               (int64_t)measured->count == count) {
        memcpy(values, measured->numbers, (size_t)count * sizeof *values);
    } else if (status == DLT_OK) {
        status = dlt_initial_value(v, (uint64_t)e->spec->seed, values, diag);
    }
    if (status == DLT_OK) {
        const dlt_saved all = {.path = v->path, .variable = v, .shape = v->shape, .layout = v->layout};
        convert(values, v->type, typed, count);
        status = flat ? e->backend->write(e->memory, v->storage, v->offset, typed, bytes, diag)
                      : dlt_engine_write(e, &all, typed, diag);
    }
    dlt_free(values);
    dlt_free(typed);
    return status;
}

dlt_status dlt_engine_init_variables(dlt_engine *e, const dlt_fitted *fitted, bool weights_follow, dlt_diag *diag)
{
    for (int i = 0; i < e->variables->count; i++) {
        const dlt_variable *v = e->variables->list[i];
        if (!weights_follow || v->storage != DLT_PARAM) {
            DLT_TRY(init_variable(e, v, fitted, diag));
        }
    }
    return DLT_OK;
}

/* A scalar variable, or NULL after a message. */
static const dlt_variable *scalar_variable(const dlt_engine *e, const char *path, dlt_diag *diag)
{
    const dlt_variable *v = dlt_variables_find(e->variables, path);
    if (v == NULL || dlt_shape_count(&v->shape) != 1) {
        dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "there is no scalar variable '%s'", path);
        return NULL;
    }
    return v;
}

dlt_status dlt_engine_get_scalar(const dlt_engine *e, const char *path, double *value, dlt_diag *diag)
{
    const dlt_variable *v = scalar_variable(e, path, diag);
    int64_t data = 0;
    if (v == NULL) {
        return DLT_E_INTERNAL;
    }
    DLT_TRY(
        e->backend->read(e->memory, v->storage, v->offset, &data, (int64_t)dlt_dtype_size(v->type), diag));
    *value = element(v->type, &data);
    return DLT_OK;
}

dlt_status dlt_engine_set_scalar(const dlt_engine *e, const char *path, double value, dlt_diag *diag)
{
    const dlt_variable *v = scalar_variable(e, path, diag);
    int64_t data = 0;
    if (v == NULL) {
        return DLT_E_INTERNAL;
    }
    convert(&value, v->type, &data, 1);
    return e->backend->write(e->memory, v->storage, v->offset, &data, (int64_t)dlt_dtype_size(v->type), diag);
}

dlt_status dlt_engine_hash(const dlt_engine *e, unsigned which, char hex[65], dlt_diag *diag)
{
    const dlt_saved *list = NULL;
    int count = 0;
    dlt_sha256 sha;
    uint8_t digest[DLT_SHA256_BYTES];
    dlt_sha256_init(&sha);
    dlt_arena *arena = dlt_arena_create();
    dlt_status status =
        arena != NULL ? dlt_saved_list(arena, e->variables, e->spec->optimizer, which, &list, &count, diag)
                      : dlt_fail_memory(diag);
    for (int i = 0; i < count && status == DLT_OK; i++) {
        const int64_t bytes = saved_bytes(&list[i]);
        char *data = dlt_alloc((size_t)bytes);
        status = data != NULL ? dlt_engine_read(e, &list[i], data, diag) : dlt_fail_memory(diag);
        if (status == DLT_OK) {
            dlt_sha256_update(&sha, list[i].path, strlen(list[i].path) + 1);
            dlt_sha256_update(&sha, data, (size_t)bytes);
        }
        dlt_free(data);
    }
    dlt_arena_destroy(arena);
    dlt_sha256_final(&sha, digest);
    dlt_sha256_hex(digest, hex);
    return status;
}

/* ---- metrics ---- */

dlt_status dlt_engine_zero_metrics(const dlt_engine *e, dlt_diag *diag)
{
    for (int i = 0; i < e->variables->count; i++) {
        const dlt_variable *v = e->variables->list[i];
        if (v->role == DLT_VARIABLE_METRIC) {
            DLT_TRY(e->backend->zero(e->memory, v->storage, v->offset, dlt_variable_bytes(e->variables, v),
                                     diag));
        }
    }
    return DLT_OK;
}

static dlt_status read_sum(const dlt_engine *e, const dlt_variable *v, double *out, int64_t room,
                           int64_t *used, dlt_diag *diag)
{
    const int64_t count = dlt_shape_count(&v->shape);
    if (count > room) {
        return dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "metric sum '%s' has too many elements", v->path);
    }
    *used = count;
    return e->backend->read(e->memory, v->storage, v->offset, out, count * (int64_t)sizeof *out, diag);
}

dlt_status dlt_engine_metrics(const dlt_engine *e, bool val, dlt_log_entry *entries, int room, int *count,
                              dlt_diag *diag)
{
    const dlt_metric_set *set = e->metrics;
    double total = 0, rows = 0;
    int64_t used = 0;
    *count = dlt_metric_log_names(set, val, entries, room);
    DLT_TRY(read_sum(e, set->loss_total, &total, 1, &used, diag));
    DLT_TRY(read_sum(e, set->loss_rows, &rows, 1, &used, diag));
    entries[0].value = rows > 0 ? total / rows : 0;
    int64_t most = 0;
    for (int i = 0; i < set->count; i++) {
        int64_t elements = 0;
        for (int k = 0; k < set->at[i].sum_count; k++) {
            elements += dlt_shape_count(&set->at[i].sums[k]->shape);
        }
        most = elements > most ? elements : most;
    }
    double *buffer = dlt_alloc_zeroed((size_t)most + 1, sizeof *buffer);
    if (buffer == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_status status = DLT_OK;
    int at = 1;
    for (int i = 0; i < set->count && status == DLT_OK; i++) {
        const dlt_metric *m = &set->at[i];
        const double *sums[DLT_METRIC_MAX_SUMS] = {NULL};
        double values[64];
        int64_t offset = 0;
        for (int k = 0; k < m->sum_count && status == DLT_OK; k++) {
            sums[k] = buffer + offset;
            status = read_sum(e, m->sums[k], buffer + offset, most - offset, &used, diag);
            offset += used;
        }
        const int values_count =
            status == DLT_OK ? dlt_metric_values(m, sums, values, (int)DLT_COUNT(values)) : 0;
        for (int k = 0; k < values_count && at < *count; k++) {
            entries[at++].value = values[k];
        }
    }
    dlt_free(buffer);
    return status;
}
