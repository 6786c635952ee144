/* tests/support/program.c */
#include "support/program.h"

#include "base/half.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const dlt_backend *const cpu = &dlt_backend_cpu;

static void check(const test_program *t, dlt_status status, const char *what)
{
    if (status != DLT_OK) {
        const char *label = t->options.label != NULL ? t->options.label : "program";
        fail_msg("%s: %s: status %d: %s", label, what, (int)status, dlt_diag_text(t->diag, 0));
    }
}

test_program *test_graph(test_build *build, const void *context, const test_options *options)
{
    test_program *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->options = *options;
    t->arena = dlt_arena_create();
    t->diag = dlt_diag_create();
    assert_non_null(t->arena);
    assert_non_null(t->diag);
    t->variables = dlt_variables_create(t->arena);
    const dlt_builder_options how = {.name = "test",
                                     .mode = options->mode,
                                     .real = options->real,
                                     .batch = options->batch,
                                     .seed = options->seed};
    dlt_builder *b = dlt_builder_create(t->arena, t->variables, &how, t->diag);
    assert_non_null(b);
    build(b, context);
    check(t, dlt_builder_finish(b, &t->built), "build");
    return t;
}

test_program *test_compile(test_build *build, const void *context, const test_options *options)
{
    test_program *t = test_graph(build, context, options);
    const dlt_device_options device = {.name = "cpu",
                                       .threads = options->threads > 0 ? options->threads : 1,
                                       .isa = options->isa,
                                       .reference = options->reference,
                                       .prefer = options->prefer,
                                       .deterministic = true};
    check(t, cpu->open(&device, &t->device, t->diag), "open");
    dlt_target target = *cpu->target(t->device);
    if (options->target != NULL) {
        const dlt_target own = target;
        target = *options->target;
        target.select = own.select;
        target.self = own.self;
    }
    const dlt_pass_options passes = {.fuse = !options->no_fuse,
                                     .layout = !options->no_layout,
                                     .compute = options->compute != DLT_F32 ? options->compute : options->real,
                                     .main_program = true};
    check(t, dlt_passes_run(t->built, &target, &passes, &t->graph, t->diag), "passes");
    check(t, dlt_plan_create(t->graph, &(dlt_plan_options){.reuse = !options->no_reuse}, &t->plan, t->diag), "plan");
    check(t, dlt_plan_verify(t->plan, t->diag), "verify");
    const dlt_variables *v = t->variables;
    t->sizes = (dlt_memory_sizes){.bytes = {[DLT_TRANSIENT] = t->plan->transient_bytes,
                                            [DLT_PARAM] = v->param_bytes,
                                            [DLT_GRAD] = v->grad_bytes,
                                            [DLT_STATE] = v->state_bytes,
                                            [DLT_INPUT] = t->plan->input_bytes},
                                  .input_slots = 1};
    check(t, cpu->memory_create(t->device, &t->sizes, &t->memory, t->diag), "memory");
    check(t, cpu->program_create(t->device, t->memory, t->plan, &t->program, t->diag), "program");
    return t;
}

void test_release(test_program *t)
{
    if (t != NULL) {
        cpu->program_destroy(t->program);
        cpu->memory_destroy(t->memory);
        cpu->close(t->device);
        dlt_diag_destroy(t->diag);
        dlt_arena_destroy(t->arena);
        free(t);
    }
}

double test_element(const void *at, dlt_dtype type, int64_t i)
{
    switch (type) {
    case DLT_F32:
        return (double)((const float *)at)[i];
    case DLT_F64:
        return ((const double *)at)[i];
    case DLT_U8:
        return ((const uint8_t *)at)[i];
    case DLT_I8:
        return ((const int8_t *)at)[i];
    case DLT_I16:
        return ((const int16_t *)at)[i];
    case DLT_I32:
        return ((const int32_t *)at)[i];
    case DLT_I64:
        return (double)((const int64_t *)at)[i];
    case DLT_BF16:
        return (double)dlt_bf16_to_float(((const uint16_t *)at)[i]);
    default:
        fail_msg("type %s has no doubles", dlt_dtype_name(type));
        return 0;
    }
}

void test_put_element(void *at, dlt_dtype type, int64_t i, double x)
{
    switch (type) {
    case DLT_F32:
        ((float *)at)[i] = (float)x;
        break;
    case DLT_F64:
        ((double *)at)[i] = x;
        break;
    case DLT_BF16:
        ((uint16_t *)at)[i] = dlt_float_to_bf16((float)x);
        break;
    case DLT_U8:
        ((uint8_t *)at)[i] = (uint8_t)x;
        break;
    case DLT_I8:
        ((int8_t *)at)[i] = (int8_t)x;
        break;
    case DLT_I16:
        ((int16_t *)at)[i] = (int16_t)x;
        break;
    case DLT_I32:
        ((int32_t *)at)[i] = (int32_t)x;
        break;
    case DLT_I64:
        ((int64_t *)at)[i] = (int64_t)x;
        break;
    default:
        fail_msg("type %s has no doubles", dlt_dtype_name(type));
    }
}

int64_t test_input_count(const test_program *t, int n)
{
    return dlt_shape_count(&t->graph->inputs[n]->shape);
}

void test_set_input(test_program *t, int n, const double *values)
{
    assert_in_range(n, 0, t->graph->input_count - 1);
    const dlt_value *v = t->graph->inputs[n];
    char *at = (char *)cpu->input_slot(t->memory, 0) + t->plan->places[v->id].offset;
    for (int64_t i = 0; i < test_input_count(t, n); i++) {
        test_put_element(at, v->type, i, values[i]);
    }
}

static const dlt_variable *variable_at(const test_program *t, const char *path)
{
    const dlt_variable *v = dlt_variables_find(t->variables, path);
    if (v == NULL) {
        fail_msg("no variable '%s'", path);
    }
    return v;
}

void test_set_variable(test_program *t, const char *path, const double *values)
{
    const dlt_variable *v = variable_at(t, path);
    const int64_t count = dlt_shape_count(&v->shape), bytes = count * (int64_t)dlt_dtype_size(v->type);
    void *data = malloc((size_t)bytes + 1);
    assert_non_null(data);
    for (int64_t i = 0; i < count; i++) {
        test_put_element(data, v->type, i, values[i]);
    }
    check(t, cpu->write(t->memory, v->storage, v->offset, data, bytes, t->diag), "write");
    free(data);
}

void test_get_variable(test_program *t, const char *path, double *values)
{
    const dlt_variable *v = variable_at(t, path);
    const int64_t count = dlt_shape_count(&v->shape), bytes = count * (int64_t)dlt_dtype_size(v->type);
    void *data = malloc((size_t)bytes + 1);
    assert_non_null(data);
    check(t, cpu->read(t->memory, v->storage, v->offset, data, bytes, t->diag), "read");
    for (int64_t i = 0; i < count; i++) {
        values[i] = test_element(data, v->type, i);
    }
    free(data);
}

bool test_run(test_program *t)
{
    dlt_run_result result = {0};
    check(t, cpu->run(t->program, 0, t->diag), "run");
    check(t, cpu->finish(t->program, &result, t->diag), "finish");
    return result.finite;
}

static const dlt_value *output_of(const test_program *t, const char *name)
{
    const dlt_value *v = dlt_graph_output(t->graph, name);
    if (v == NULL) {
        fail_msg("no output '%s'", name);
    }
    return v;
}

int64_t test_count(const test_program *t, const char *name)
{
    return dlt_shape_count(&output_of(t, name)->shape);
}

void test_get(test_program *t, const char *name, double *values)
{
    const dlt_value *v = output_of(t, name);
    void *data = malloc((size_t)dlt_value_bytes(v) + 1);
    assert_non_null(data);
    check(t, cpu->read_value(t->program, 0, v, data, t->diag), "read a value");
    for (int64_t i = 0; i < dlt_shape_count(&v->shape); i++) {
        values[i] = test_element(data, v->type, i);
    }
    free(data);
}

void *test_bytes(test_program *t, size_t *bytes)
{
    static const dlt_storage kept[] = {DLT_PARAM, DLT_GRAD, DLT_STATE};
    *bytes = 0;
    for (int i = 0; i < t->graph->output_count; i++) {
        *bytes += (size_t)dlt_value_bytes(t->graph->outputs[i].value);
    }
    for (size_t i = 0; i < DLT_COUNT(kept); i++) {
        *bytes += (size_t)t->sizes.bytes[kept[i]];
    }
    char *all = calloc(1, *bytes + 1), *at = all;
    assert_non_null(all);
    for (int i = 0; i < t->graph->output_count; i++) {
        const dlt_value *v = t->graph->outputs[i].value;
        check(t, cpu->read_value(t->program, 0, v, at, t->diag), "read a value");
        at += dlt_value_bytes(v);
    }
    for (size_t i = 0; i < DLT_COUNT(kept); i++) {
        const int64_t size = t->sizes.bytes[kept[i]];
        check(t, cpu->read(t->memory, kept[i], 0, at, size, t->diag), "read");
        at += size;
    }
    return all;
}

int test_nodes(const test_program *t, dlt_op op)
{
    int count = 0;
    for (int i = 0; i < t->graph->node_count; i++) {
        count += t->graph->nodes[i]->op == op;
    }
    return count;
}

double test_random(uint64_t seed, uint64_t i, double low, double high)
{
    return low + (high - low) * (double)dlt_random_uniform(seed, dlt_fnv1a("test"), i >> 30, i & ((1u << 30) - 1));
}

void test_fill(double *values, int64_t count, uint64_t seed, double low, double high)
{
    for (int64_t i = 0; i < count; i++) {
        values[i] = test_random(seed, (uint64_t)i, low, high);
    }
}

void test_close(const char *what, const double *a, const double *b, int64_t count, double tolerance)
{
    for (int64_t i = 0; i < count; i++) {
        const bool same = a[i] == b[i] || (isnan(a[i]) && isnan(b[i]));
        if (!same && !(fabs(a[i] - b[i]) <= tolerance * fmax(1, fabs(b[i])))) {
            fail_msg("%s: element %lld is %.17g, should be %.17g", what, (long long)i, a[i], b[i]);
        }
    }
}
