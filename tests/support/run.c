/* tests/support/run.c: running graphs on the CPU for tests. */
#include "support/run.h"

#include "graph/passes.h"
#include "io/data/source.h"
#include "layers/layer.h"
#include "support/support.h"
#include "trainer/kinds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- kinds ---- */

/* Enough of a source for model files to be read; nothing opens it. */
static const dlt_field npz_fields[] = {
    DLT_STRING(dlt_test_source, path, NULL, "file"),
    DLT_STRING(dlt_test_source, features, NULL, "array"),
    DLT_STRING(dlt_test_source, labels, "null", "array"),
    DLT_STRING(dlt_test_source, sample_weight, "null", "array"),
    {0},
};
static const dlt_kind npz_kind = {
    .name = "NPZ", .doc = "arrays", .size = sizeof(dlt_test_source), .fields = npz_fields};

const dlt_catalogue *dlt_test_catalogue(void)
{
    static const dlt_kind *const sources[] = {&npz_kind}, *const validation[] = {&dlt_split_kind};
    static dlt_category categories[DLT_TRAINER_CATEGORIES + 6];
    static dlt_catalogue catalogue;
    size_t count = 0;
    if (catalogue.count > 0) {
        return &catalogue;
    }
    for (; count < DLT_TRAINER_CATEGORIES; count++) {
        categories[count] = dlt_trainer_categories[count];
    }
    const dlt_category others[] = {
        {.name = "layer",
         .kinds = dlt_layer_kinds,
         .count = dlt_layer_kind_count,
         .named = true,
         .trainable = true},
        {.name = "activation", .kinds = dlt_activation_kinds, .count = dlt_activation_kind_count},
        {.name = "feature", .kinds = dlt_feature_kinds, .count = dlt_feature_kind_count},
        {.name = "cross", .kinds = dlt_cross_kinds, .count = dlt_cross_kind_count, .implied = "cross"},
        {.name = "source", .kinds = sources, .count = 1},
        {.name = "validation", .kinds = validation, .count = 1}};
    for (size_t i = 0; i < DLT_COUNT(others); i++) {
        categories[count++] = others[i];
    }
    catalogue = (dlt_catalogue){categories, count};
    return &catalogue;
}

const dlt_run_spec *dlt_test_spec(dlt_arena *arena, const char *text)
{
    dlt_diag *diag = dlt_diag_create();
    const dlt_run_spec *spec = NULL;
    const dlt_load_options options = {0};
    if (dlt_spec_parse(arena, dlt_test_catalogue(), "test.yaml", text, strlen(text), &options, &spec, diag) !=
        DLT_OK) {
        fail_msg("%s\nin\n%s", dlt_diag_text(diag, 0), text);
    }
    dlt_diag_destroy(diag);
    return spec;
}

const char *dlt_test_mistake(dlt_arena *arena, const char *text)
{
    dlt_diag *diag = dlt_diag_create();
    const dlt_run_spec *spec = NULL;
    const dlt_load_options options = {0};
    assert_int_not_equal(
        dlt_spec_parse(arena, dlt_test_catalogue(), "test.yaml", text, strlen(text), &options, &spec, diag),
        DLT_OK);
    dlt_diag_sort(diag);
    const char *message = dlt_arena_string(arena, dlt_diag_text(diag, 0));
    dlt_diag_destroy(diag);
    return message;
}

/* The item in one of the three members of a layer's `kernel`. */
static const dlt_item *of_kernel(const dlt_item *layer, const char *category)
{
    for (const dlt_field *f = layer->kind->fields; f->name != NULL; f++) {
        if (f->type == DLT_FIELD_WEIGHT && strcmp(f->name, "kernel") == 0) {
            const dlt_weight_params *w =
                (const dlt_weight_params *)(const void *)((const char *)layer->params + f->offset);
            return strcmp(category, "initializer") == 0   ? w->initializer
                   : strcmp(category, "regularizer") == 0 ? w->regularizer
                                                          : w->constraint;
        }
    }
    return NULL;
}

const dlt_item *dlt_test_item(dlt_arena *arena, const char *category, const char *text)
{
    static const struct {
        const char *category, *before, *after;
    } places[] = {
        {"loss", "layers: [Flatten]\nloss: ", ""},
        {"metric", "layers: [Flatten]\nmetrics: [", "]"},
        {"optimizer", "layers: [Flatten]\noptimizer: ", ""},
        {"schedule", "layers: [Flatten]\noptimizer: {SGD: {learning_rate: ", "}}"},
        {"callback", "layers: [Flatten]\nfit: {callbacks: [", "]}"},
        {"initializer", "layers: [{Dense: {units: 1, kernel_initializer: ", "}}]"},
        {"regularizer", "layers: [{Dense: {units: 1, kernel_regularizer: ", "}}]"},
        {"constraint", "layers: [{Dense: {units: 1, kernel_constraint: ", "}}]"},
    };
    for (size_t i = 0; i < DLT_COUNT(places); i++) {
        if (strcmp(places[i].category, category) != 0) {
            continue;
        }
        const char *model = dlt_arena_printf(arena, "%s%s%s\n", places[i].before, text, places[i].after);
        const dlt_spec *spec = &dlt_test_spec(arena, model)->value;
        switch (i) {
        case 0:
            return spec->loss;
        case 1:
            return spec->metrics.at[0];
        case 2:
            return spec->optimizer;
        case 3:
            return ((const dlt_optimizer_params *)spec->optimizer->params)->learning_rate;
        case 4:
            return spec->fit.callbacks.at[0];
        default:
            return of_kernel(spec->layers.at[0], category);
        }
    }
    fail_msg("no category '%s'", category);
    return NULL;
}

/* ---- programs ---- */

static void check(const dlt_test_run *run, dlt_status status)
{
    if (status != DLT_OK) {
        fail_msg("%s", dlt_diag_text(run->diag, 0));
    }
}

static dlt_test_run *open_run(bool reference)
{
    dlt_arena *arena = dlt_arena_create();
    dlt_test_run *run = arena != NULL ? dlt_arena_alloc(arena, 1, sizeof *run) : NULL;
    assert_non_null(run);
    run->arena = arena;
    run->diag = dlt_diag_create();
    run->variables = dlt_variables_create(arena);
    run->fuse = true;
    assert_non_null(run->diag);
    assert_non_null(run->variables);
    check(run, dlt_backend_cpu.open(&(dlt_device_options){.name = "cpu", .threads = 1, .reference = reference},
                                    &run->device, run->diag));
    return run;
}

dlt_test_run *dlt_test_run_open(void)
{
    return open_run(true);
}

dlt_test_run *dlt_test_run_open_chosen(void)
{
    return open_run(false);
}

void dlt_test_run_close(dlt_test_run *run)
{
    for (int i = 0; i < run->count; i++) {
        dlt_backend_cpu.program_destroy(run->programs[i]);
    }
    dlt_backend_cpu.memory_destroy(run->memory);
    dlt_backend_cpu.close(run->device);
    dlt_diag_destroy(run->diag);
    dlt_arena_destroy(run->arena);
}

int dlt_test_run_add(dlt_test_run *run, const dlt_graph *graph)
{
    dlt_graph *passed = NULL;
    const dlt_pass_options options = {
        .fuse = run->fuse, .layout = true, .compute = run->compute, .main_program = run->count == 0};
    assert_true(run->count < (int)DLT_COUNT(run->graphs));
    check(run, dlt_passes_run(graph, dlt_backend_cpu.target(run->device), &options, &passed, run->diag));
    run->graphs[run->count] = passed;
    check(run,
          dlt_plan_create(passed, &(dlt_plan_options){.reuse = true}, &run->plans[run->count], run->diag));
    check(run, dlt_plan_verify(run->plans[run->count], run->diag));
    return run->count++;
}

void dlt_test_run_start(dlt_test_run *run)
{
    dlt_memory_sizes sizes = {.bytes = {[DLT_PARAM] = run->variables->param_bytes,
                                        [DLT_GRAD] = run->variables->grad_bytes,
                                        [DLT_STATE] = run->variables->state_bytes},
                              .input_slots = 1};
    for (int i = 0; i < run->count; i++) {
        const dlt_plan *plan = run->plans[i];
        if (plan->transient_bytes > sizes.bytes[DLT_TRANSIENT]) {
            sizes.bytes[DLT_TRANSIENT] = plan->transient_bytes;
        }
        if (plan->input_bytes > sizes.bytes[DLT_INPUT]) {
            sizes.bytes[DLT_INPUT] = plan->input_bytes;
        }
    }
    check(run, dlt_backend_cpu.memory_create(run->device, &sizes, &run->memory, run->diag));
    for (int i = 0; i < run->count; i++) {
        check(run, dlt_backend_cpu.program_create(run->device, run->memory, run->plans[i], &run->programs[i],
                                                  run->diag));
    }
    for (int i = 0; i < run->variables->count; i++) {
        const dlt_variable *v = run->variables->list[i];
        if (v->constant == 0) {
            continue;
        }
        double *values = NULL;
        if (v->layout.kind != DLT_LAYOUT_FLAT) {
            const int64_t count = dlt_shape_count(&v->shape);
            values = malloc((size_t)count * sizeof *values);
            for (int64_t k = 0; k < count; k++) {
                values[k] = v->constant;
            }
            dlt_test_set(run, v, NULL, values);
            free(values);
            continue;
        }
        for (int j = 0; j < run->variables->count; j++) {
            const dlt_variable *part = run->variables->list[j];
            if (part->storage == DLT_PARAM && part->trainable) {
                const int64_t count = dlt_shape_count(&part->shape);
                values = malloc((size_t)count * sizeof *values);
                for (int64_t k = 0; k < count; k++) {
                    values[k] = v->constant;
                }
                dlt_test_set(run, v, part, values);
                free(values);
            }
        }
    }
}

/* ---- numbers in and out ---- */

static void put(dlt_dtype type, void *at, int64_t i, double value)
{
    switch (type) {
    case DLT_F32:
        ((float *)at)[i] = (float)value;
        break;
    case DLT_F64:
        ((double *)at)[i] = value;
        break;
    case DLT_U8:
        ((uint8_t *)at)[i] = (uint8_t)value;
        break;
    case DLT_I32:
        ((int32_t *)at)[i] = (int32_t)value;
        break;
    case DLT_I64:
        ((int64_t *)at)[i] = (int64_t)value;
        break;
    default:
        fail_msg("type %s", dlt_dtype_name(type));
    }
}

static double got(dlt_dtype type, const void *at, int64_t i)
{
    switch (type) {
    case DLT_F32:
        return (double)((const float *)at)[i];
    case DLT_F64:
        return ((const double *)at)[i];
    case DLT_U8:
        return ((const uint8_t *)at)[i];
    case DLT_I32:
        return ((const int32_t *)at)[i];
    case DLT_I64:
        return (double)((const int64_t *)at)[i];
    default:
        fail_msg("type %s", dlt_dtype_name(type));
        return 0;
    }
}

static int64_t place_of(const dlt_variable *variable, const dlt_variable *part, int64_t *count)
{
    const dlt_variable *shaped = part != NULL ? part : variable;
    assert_int_equal(shaped->layout.kind, DLT_LAYOUT_ROW_MAJOR);
    *count = dlt_shape_count(&shaped->shape);
    return variable->offset + (part != NULL ? part->offset : 0);
}

void dlt_test_set(dlt_test_run *run, const dlt_variable *variable, const dlt_variable *part,
                  const double *values)
{
    int64_t count;
    const int64_t offset = place_of(variable, part, &count);
    const int64_t bytes = count * (int64_t)dlt_dtype_size(variable->type);
    void *data = malloc((size_t)bytes);
    for (int64_t i = 0; i < count; i++) {
        put(variable->type, data, i, values[i]);
    }
    check(run, dlt_backend_cpu.write(run->memory, variable->storage, offset, data, bytes, run->diag));
    free(data);
}

void dlt_test_get(dlt_test_run *run, const dlt_variable *variable, const dlt_variable *part, double *values)
{
    int64_t count;
    const int64_t offset = place_of(variable, part, &count);
    const int64_t bytes = count * (int64_t)dlt_dtype_size(variable->type);
    void *data = malloc((size_t)bytes);
    check(run, dlt_backend_cpu.read(run->memory, variable->storage, offset, data, bytes, run->diag));
    for (int64_t i = 0; i < count; i++) {
        values[i] = got(variable->type, data, i);
    }
    free(data);
}

void dlt_test_input(dlt_test_run *run, int program, int number, const double *values)
{
    const dlt_value *v = run->graphs[program]->inputs[number];
    char *slot = dlt_backend_cpu.input_slot(run->memory, 0);
    const int64_t count = dlt_shape_count(&v->shape);
    for (int64_t i = 0; i < count; i++) {
        put(v->type, slot + run->plans[program]->places[v->id].offset, i, values[i]);
    }
}

bool dlt_test_run_once(dlt_test_run *run, int program)
{
    dlt_run_result result;
    check(run, dlt_backend_cpu.run(run->programs[program], 0, run->diag));
    check(run, dlt_backend_cpu.finish(run->programs[program], &result, run->diag));
    return result.finite;
}

void dlt_test_output(dlt_test_run *run, int program, const char *name, double *values)
{
    const dlt_value *v = dlt_graph_output(run->graphs[program], name);
    assert_non_null(v);
    const int64_t count = dlt_shape_count(&v->shape);
    void *data = malloc((size_t)(dlt_value_bytes(v) + 1));
    check(run, dlt_backend_cpu.read_value(run->programs[program], 0, v, data, run->diag));
    for (int64_t i = 0; i < count; i++) {
        values[i] = got(v->type, data, i);
    }
    free(data);
}
