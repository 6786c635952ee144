/* trainer/inputs.c: from records to INPUT values. */
#include "trainer/inputs.h"

#include "base/alloc.h"

#include <string.h>

enum { FIT_ROWS = 4096 };

const dlt_item *dlt_table_layer_of(const dlt_spec *spec)
{
    return spec->layers.count > 0 && dlt_layer_of(spec->layers.at[0])->table != NULL ? spec->layers.at[0]
                                                                                     : NULL;
}

static size_t count_role(const dlt_record_layout *layout, dlt_role role)
{
    size_t count = 0;
    for (size_t i = 0; i < layout->count; i++) {
        count += layout->parts[i].role == role;
    }
    return count;
}

/* The indices of all parts of a role, as one output. NULL when memory is refused. */
static size_t *parts_of(dlt_arena *arena, const dlt_record_layout *layout, dlt_role role, size_t *count)
{
    size_t *parts = dlt_arena_alloc(arena, count_role(layout, role), sizeof *parts);
    *count = 0;
    for (size_t i = 0; parts != NULL && i < layout->count; i++) {
        if (layout->parts[i].role == role) {
            parts[(*count)++] = i;
        }
    }
    return parts;
}

void dlt_frame_classes(const dlt_frame *frame, int64_t *count, const char *const **names)
{
    const int at = dlt_layout_find(&frame->layout, DLT_ROLE_TARGET, 0);
    const dlt_dictionary *dictionary = at >= 0 ? frame->layout.parts[at].dictionary : NULL;
    *count = dictionary != NULL ? dictionary->count : 0;
    *names = dictionary != NULL ? dictionary->at : NULL;
}

/* ---- what goes into the model ---- */

/* Type in which features reach the graph: what is stored, but for doubles, which Keras makes float32. */
static dlt_dtype feature_type(const dlt_part *part)
{
    return part->dtype == DLT_F64 ? DLT_F32 : part->dtype;
}

/* Features without a table layer: one tensor as it is, or the numbers of a table as a vector. */
static dlt_status plain_features(dlt_arena *arena, const dlt_spec *spec, const dlt_record_layout *layout,
                                 bool uncertain, dlt_inputs *in, dlt_diag *diag)
{
    dlt_plain_output *out = &in->plain[0];
    dlt_step_input *input = dlt_arena_alloc(arena, 1, sizeof *input);
    size_t *parts = parts_of(arena, layout, DLT_ROLE_FEATURE, &out->count);
    if (input == NULL || parts == NULL) {
        return dlt_fail_memory(diag);
    }
    out->parts = parts;
    const dlt_pos at = spec->layers.count > 0 ? spec->layers.at[0]->pos : (dlt_pos){0};
    if (out->count == 0) {
        return dlt_fail(diag, DLT_E_DATA, at,
                        "the data have no features: every column is the target or a weight");
    }
    const dlt_part *first = &layout->parts[parts[0]];
    *input = (dlt_step_input){.name = "features", .uncertain = uncertain};
    if (out->count == 1 && first->type == DLT_COLUMN_TENSOR) {
        input->type = out->dtype = feature_type(first);
        input->shape = first->shape;
    } else {
        input->type = out->dtype = DLT_F32;
        input->shape = DLT_SHAPE((int64_t)out->count);
        for (size_t i = 0; i < out->count; i++) {
            const dlt_part *part = &layout->parts[parts[i]];
            if (part->type == DLT_COLUMN_TEXT) {
                return dlt_fail(
                    diag, DLT_E_CONFIG, at,
                    "column '%s' holds text; put FeatureSpace first, which turns columns into numbers",
                    part->name);
            }
            if (part->may_be_missing) {
                return dlt_fail(diag, DLT_E_CONFIG, at,
                                "column '%s' has missing values; put FeatureSpace first, which knows what to "
                                "do with them",
                                part->name);
            }
        }
    }
    in->step.inputs = input;
    in->step.input_count = 1;
    return DLT_OK;
}

static dlt_status table_features(dlt_arena *arena, const dlt_fitted *fitted, bool uncertain, dlt_inputs *in,
                                 dlt_diag *diag)
{
    const dlt_layer_input *layer_inputs = NULL;
    int count = 0;
    DLT_TRY(dlt_layer_of(in->table)->table->inputs(in->table, fitted, arena, &layer_inputs, &count, diag));
    dlt_step_input *inputs = dlt_arena_alloc(arena, (size_t)count, sizeof *inputs);
    if (inputs == NULL) {
        return dlt_fail_memory(diag);
    }
    for (int i = 0; i < count; i++) {
        inputs[i] =
            (dlt_step_input){layer_inputs[i].name, layer_inputs[i].type, layer_inputs[i].shape, uncertain};
    }
    in->step.inputs = inputs;
    in->step.input_count = count;
    in->step.fitted = fitted;
    return DLT_OK;
}

/* Class numbers are int32, numbers float32; whatever has a shape keeps its type. */
static dlt_dtype target_type(const dlt_signature *signature, const dlt_part *first)
{
    switch (signature->target) {
    case DLT_TARGET_CLASS:
        return DLT_I32;
    case DLT_TARGET_NUMBER:
        return DLT_F32;
    default:
        return first->type == DLT_COLUMN_TENSOR ? feature_type(first) : DLT_F32;
    }
}

static dlt_status target_of(dlt_arena *arena, const dlt_record_layout *layout, const dlt_signature *signature,
                            size_t at, dlt_inputs *in, dlt_diag *diag)
{
    dlt_plain_output *out = &in->plain[at];
    size_t *parts = parts_of(arena, layout, DLT_ROLE_TARGET, &out->count);
    if (parts == NULL) {
        return dlt_fail_memory(diag);
    }
    out->parts = parts;
    if (out->count == 0) {
        return DLT_OK;
    }
    const dlt_part *first = &layout->parts[parts[0]];
    out->dtype = target_type(signature, first);
    in->target_input =
        (dlt_step_input){.name = "target", .type = out->dtype, .shape = signature->target_shape};
    in->step.target = &in->target_input;
    in->target = (dlt_target_info){.type = out->dtype,
                                   .shape = signature->target_shape,
                                   .classes = signature->class_count,
                                   .names = signature->class_names != NULL,
                                   .uncertain = !signature->exact};
    return DLT_OK;
}

dlt_status dlt_inputs_create(dlt_arena *arena, const dlt_spec *spec, const dlt_signature *signature,
                             const dlt_frame *frame, const dlt_fitted *fitted, dlt_inputs **out,
                             dlt_diag *diag)
{
    *out = NULL;
    dlt_inputs *in = dlt_arena_alloc(arena, 1, sizeof *in);
    const dlt_record_layout *layout = &frame->layout;
    if (in == NULL || (in->plain = dlt_arena_alloc(arena, 2, sizeof *in->plain)) == NULL) {
        return dlt_fail_memory(diag);
    }
    in->frame = frame;
    in->table = dlt_table_layer_of(spec);
    const bool uncertain = signature != NULL && !signature->exact;
    if (in->table != NULL) {
        DLT_TRY(table_features(arena, fitted, uncertain, in, diag));
    } else {
        DLT_TRY(plain_features(arena, spec, layout, uncertain, in, diag));
    }
    if (signature != NULL) {
        DLT_TRY(target_of(arena, layout, signature, 1, in, diag));
        in->weighted = count_role(layout, DLT_ROLE_WEIGHT) > 0 || spec->fit.class_weight.count > 0 ||
                       spec->fit.class_weight.word != NULL;
    }
    if (in->weighted) {
        in->weight_input = (dlt_step_input){.name = "weight", .type = DLT_F32, .shape = dlt_scalar()};
        in->step.weight = &in->weight_input;
    }
    *out = in;
    return DLT_OK;
}

/* ---- encoders ---- */

/* Two encoders in one: the table layer's for the features, the plain one for the rest. */
typedef struct joined {
    const dlt_table_layer *table;
    void *encoder;
    int inputs; /* outputs that the table layer fills */
    dlt_plain_encoder rest;
} joined;

static dlt_status encode_joined(const void *context, const dlt_table *rows, void *const *outputs,
                                dlt_diag *diag)
{
    const joined *j = context;
    DLT_TRY(j->table->encode(j->encoder, rows, outputs, diag));
    return j->rest.count > 0 ? dlt_encode_plain(&j->rest, rows, outputs + j->inputs, diag) : DLT_OK;
}

/* The same output for another layout: parts are found by name. */
static dlt_status moved(dlt_arena *arena, const dlt_plain_output *from, const dlt_record_layout *was,
                        const dlt_record_layout *now, dlt_plain_output *to, dlt_diag *diag)
{
    size_t *parts = dlt_arena_alloc(arena, from->count, sizeof *parts);
    if (parts == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < from->count; i++) {
        const dlt_part *wanted = &was->parts[from->parts[i]];
        size_t at = 0;
        while (at < now->count &&
               (now->parts[at].role != wanted->role || strcmp(now->parts[at].name, wanted->name) != 0)) {
            at++;
        }
        if (at == now->count) {
            return dlt_fail(diag, DLT_E_DATA, (dlt_pos){0},
                            "the data have no '%s', which the model was trained with", wanted->name);
        }
        parts[i] = at;
    }
    *to = (dlt_plain_output){.count = from->count, .parts = parts, .dtype = from->dtype};
    return DLT_OK;
}

dlt_status dlt_inputs_encoder(dlt_arena *arena, const dlt_inputs *inputs, const dlt_record_layout *layout,
                              const char *path, bool with_target, dlt_input_encoder *out, dlt_diag *diag)
{
    joined *j = dlt_arena_alloc(arena, 1, sizeof *j);
    dlt_plain_output *outputs = dlt_arena_alloc(arena, 2, sizeof *outputs);
    int *direct = dlt_arena_alloc(arena, layout->count, sizeof *direct);
    size_t count = 0;
    if (j == NULL || outputs == NULL || direct == NULL) {
        return dlt_fail_memory(diag);
    }
    if (inputs->table == NULL) {
        DLT_TRY(moved(arena, &inputs->plain[0], &inputs->frame->layout, layout, &outputs[count++], diag));
    }
    if (with_target && inputs->step.target != NULL) {
        DLT_TRY(moved(arena, &inputs->plain[1], &inputs->frame->layout, layout, &outputs[count++], diag));
    }
    j->rest = (dlt_plain_encoder){.count = count, .outputs = outputs, .at = {.file = path}};
    DLT_TRY(dlt_encode_plain_check(&j->rest, layout, j->rest.at, diag));
    if (inputs->table == NULL) {
        dlt_encode_plain_direct(&j->rest, layout, direct);
        *out = (dlt_input_encoder){dlt_encode_plain, &j->rest, direct};
        return DLT_OK;
    }
    j->table = dlt_layer_of(inputs->table)->table;
    j->inputs = inputs->step.input_count;
    DLT_TRY(j->table->encoder(inputs->table, inputs->step.fitted, layout, arena, &j->encoder, diag));
    *out = (dlt_input_encoder){encode_joined, j, NULL};
    return DLT_OK;
}

/* ---- fitting ---- */

/* Buffers for a chunk of rows as columns. */
typedef struct chunk {
    void **columns;
    int64_t *numbers;
    void *block;
} chunk;

static bool chunk_init(chunk *c, const dlt_record_layout *layout, int64_t rows)
{
    size_t bytes = 0;
    *c = (chunk){0};
    c->columns = dlt_alloc_zeroed(layout->count, sizeof *c->columns);
    c->numbers = dlt_alloc_zeroed((size_t)rows, sizeof *c->numbers);
    for (size_t i = 0; i < layout->count; i++) {
        bytes += (dlt_part_bytes(&layout->parts[i]) * (size_t)rows + 63) / 64 * 64;
    }
    c->block = dlt_alloc_aligned(64, bytes);
    if (c->columns == NULL || c->numbers == NULL || c->block == NULL) {
        return false;
    }
    char *at = c->block;
    for (size_t i = 0; i < layout->count; i++) {
        c->columns[i] = at;
        at += (dlt_part_bytes(&layout->parts[i]) * (size_t)rows + 63) / 64 * 64;
    }
    return true;
}

static void chunk_release(chunk *c)
{
    dlt_free(c->columns);
    dlt_free(c->numbers);
    dlt_free(c->block);
}

static dlt_status fit_view(const dlt_table_layer *layer, void *state, const dlt_view *view,
                           const dlt_record_layout *layout, chunk *c, const atomic_int *stop, dlt_diag *diag)
{
    dlt_reader *reader = NULL;
    dlt_status status = dlt_reader_create(view->dataset, FIT_ROWS, &reader, diag);
    for (int64_t first = 0; first < view->count && status == DLT_OK; first += FIT_ROWS) {
        const int64_t rows = view->count - first < FIT_ROWS ? view->count - first : FIT_ROWS;
        if (stop != NULL && atomic_load_explicit(stop, memory_order_relaxed) != 0) {
            status = DLT_E_STOPPED;
            break;
        }
        for (int64_t i = 0; i < rows; i++) {
            c->numbers[i] = first + i;
        }
        dlt_view_rows(view, c->numbers, rows);
        status = dlt_reader_read(reader, c->numbers, rows, c->columns, diag);
        const dlt_table table = {
            .layout = layout, .rows = rows, .columns = c->columns, .row_numbers = c->numbers};
        if (status == DLT_OK) {
            status = layer->fit_rows(state, &table, diag);
        }
    }
    dlt_reader_destroy(reader);
    return status;
}

dlt_status dlt_table_fit(dlt_arena *arena, const dlt_spec *spec, const dlt_view *view, const dlt_frame *frame,
                         const atomic_int *stop, dlt_fitted *fitted, dlt_diag *diag)
{
    const dlt_item *item = dlt_table_layer_of(spec);
    void *state = NULL;
    chunk c;
    *fitted = (dlt_fitted){.arena = arena};
    if (item == NULL) {
        return DLT_OK;
    }
    const dlt_table_layer *layer = dlt_layer_of(item)->table;
    DLT_TRY(layer->fit_begin(item, &frame->layout, arena, &state, diag));
    dlt_status status = chunk_init(&c, &frame->layout, FIT_ROWS)
                            ? fit_view(layer, state, view, &frame->layout, &c, stop, diag)
                            : dlt_fail_memory(diag);
    chunk_release(&c);
    return status == DLT_OK ? layer->fit_end(state, fitted, diag) : status;
}

dlt_status dlt_table_fit_probe(dlt_arena *arena, const dlt_spec *spec, const dlt_frame *frame,
                               dlt_fitted *fitted, dlt_diag *diag)
{
    const dlt_item *item = dlt_table_layer_of(spec);
    dlt_source *source = NULL;
    void *state = NULL;
    chunk c = {0};
    unsigned char *units = NULL;
    int64_t got = 0;
    *fitted = (dlt_fitted){.arena = arena};
    if (item == NULL) {
        return DLT_OK;
    }
    const dlt_record_layout *layout = &frame->layout;
    const dlt_table_layer *layer = dlt_layer_of(item)->table;
    const dlt_source_options options = {.follow = frame, .threads = 1, .memory = 64 << 20};
    dlt_status status = dlt_source_create(spec->data.train, &options, &source, diag);
    status = status == DLT_OK ? dlt_source_open(source, diag) : status;
    status = status == DLT_OK ? layer->fit_begin(item, layout, arena, &state, diag) : status;
    units = dlt_alloc(layout->record_bytes * DLT_PROBE_RECORDS);
    if (status == DLT_OK && (units == NULL || !chunk_init(&c, layout, DLT_PROBE_RECORDS))) {
        status = dlt_fail_memory(diag);
    }
    status = status == DLT_OK ? dlt_source_next(source, DLT_PROBE_RECORDS, units, &got, diag) : status;
    for (int64_t r = 0; r < got && status == DLT_OK; r++) {
        const unsigned char *record = units + (size_t)r * layout->record_bytes;
        c.numbers[r] = r;
        for (size_t i = 0; i < layout->count; i++) {
            const size_t bytes = dlt_part_bytes(&layout->parts[i]);
            memcpy((char *)c.columns[i] + (size_t)r * bytes, record + layout->offsets[i], bytes);
        }
    }
    if (status == DLT_OK) {
        const dlt_table table = {
            .layout = layout, .rows = got, .columns = c.columns, .row_numbers = c.numbers};
        status = layer->fit_rows(state, &table, diag);
    }
    chunk_release(&c);
    dlt_free(units);
    dlt_source_close(source);
    return status == DLT_OK ? layer->fit_end(state, fitted, diag) : status;
}
