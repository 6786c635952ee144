/* trainer/session.c: from a run spec to programs that can run. */
#include "trainer/session.h"

#include "trainer/optimizer.h"

#include "base/alloc.h"
#include "io/data/convert.h"
#include "layers/unknown.h"
#include "trainer/check.h"
#include "trainer/culprit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TRAIN_SLOTS = 4, EVALUATE_SLOTS = 3 };

/* ---- data ---- */

/* A table layer needs records, not only headers, before its output's width is known. */
static dlt_depth depth_of(const dlt_session *s, const dlt_session_options *o)
{
    return o->depth == DLT_DEPTH_SCAN && dlt_table_layer_of(s->spec) != NULL && o->loaded == NULL
               ? DLT_DEPTH_LOAD
               : o->depth;
}

static dlt_status open_data(dlt_session *s, const dlt_session_options *o, dlt_diag *diag)
{
    if (o->no_data) {
        return DLT_OK;
    }
    const dlt_data_spec wanted = o->data != NULL ? *o->data : s->spec->data;
    if (wanted.train == NULL && wanted.test == NULL) {
        return dlt_fail(
            diag, DLT_E_CONFIG, dlt_run_spec_pos(s->run, "data"),
            o->loaded != NULL
                ? "no data were named; give them with --data"
                : "data: train is missing; say what the model learns from, or check with --no-data");
    }
    const dlt_datasets_options options = {.depth = depth_of(s, o),
                                          .seed = (uint64_t)s->spec->seed,
                                          .stop = o->stop,
                                          .follow = o->loaded != NULL ? o->loaded->frame : NULL};
    DLT_TRY(dlt_datasets_open(&wanted, &options, &s->data, diag));
    s->signature = dlt_datasets_signature(s->data);
    s->frame = dlt_datasets_frame(s->data);
    return DLT_OK;
}

static dlt_status fit_table(dlt_session *s, const dlt_session_options *o, dlt_diag *diag)
{
    s->fitted = (dlt_fitted){.arena = s->arena};
    if (o->loaded != NULL || o->fitted != NULL) {
        s->fitted = o->loaded != NULL ? o->loaded->fitted : *o->fitted;
        return DLT_OK;
    }
    if (s->data == NULL || dlt_table_layer_of(s->spec) == NULL) {
        return DLT_OK;
    }
    const dlt_view *train = dlt_datasets_view(s->data, DLT_TRAIN);
    return train != NULL ? dlt_table_fit(s->arena, s->spec, train, s->frame, o->stop, &s->fitted, diag)
                         : dlt_table_fit_probe(s->arena, s->spec, s->frame, &s->fitted, diag);
}

/* Labels must be class numbers below the number of outputs where the loss takes them for such. */
static dlt_status check_labels(const dlt_session *s, const dlt_value *y, dlt_diag *diag)
{
    const dlt_item *loss = s->spec->loss;
    const void *params = NULL;
    if (s->signature == NULL || loss == NULL || y == NULL || y->shape.rank == 0 ||
        s->signature->target == DLT_TARGET_NONE || s->signature->target == DLT_TARGET_TENSOR ||
        s->inputs->target.classes > y->shape.dim[y->shape.rank - 1]) { /* which is told already */
        return DLT_OK;
    }
    const dlt_shape target = DLT_SHAPE(s->batch); /* one class number or number a record */
    if (dlt_loss_resolve(loss, &target, &y->shape, &params)->form != DLT_TARGET_CLASSES) {
        return DLT_OK;
    }
    return dlt_signature_classes(s->signature, y->shape.dim[y->shape.rank - 1], loss->pos, diag);
}

/* Numbers that the files have in float64 must be some in float32 as well: better told here than by the loader, amid a step.
 * What is not in memory would have to be read from disk once more for that: there the loader tells. */
static dlt_status check_numbers(const dlt_session *s, const dlt_session_options *o, dlt_diag *diag)
{
    const dlt_data_spec *data = o->data != NULL ? o->data : &s->spec->data;
    const dlt_item *items[DLT_SET_COUNT] = {data->train, data->validation, data->test};
    bool wide = false;
    for (size_t p = 0; s->data != NULL && p < s->frame->layout.count; p++) {
        const dlt_part *part = &s->frame->layout.parts[p];
        wide = wide || (part->role == DLT_ROLE_FEATURE && part->type != DLT_COLUMN_TEXT && part->dtype == DLT_F64);
    }
    if (!wide || depth_of(s, o) != DLT_DEPTH_LOAD || o->real == DLT_F64 || dlt_table_layer_of(s->spec) != NULL) {
        return DLT_OK; /* a table layer has looked at its columns itself */
    }
    for (int set = 0; set < DLT_SET_COUNT; set++) {
        const dlt_view *view = dlt_datasets_view(s->data, (dlt_set)set);
        dlt_culprit found = {0};
        if (view != NULL && dlt_dataset_in_memory(view->dataset)) {
            DLT_TRY(dlt_culprit_find(s->arena, view, DLT_ROLE_FEATURE, NULL, &found, diag));
        }
        if (found.found && found.finite && !isfinite((float)found.value)) {
            dlt_buf text = {0};
            dlt_culprit_describe(&found, &text);
            (void)dlt_fail(diag, DLT_E_DATA, items[set] != NULL ? items[set]->pos : (dlt_pos){0}, "%s: at most 3.4028235e+38",
                           dlt_buf_text(&text));
            dlt_buf_release(&text);
            return DLT_E_DATA;
        }
    }
    return DLT_OK;
}

/* Sizes of batches and epochs. */
static void count(dlt_session *s, const dlt_session_options *o)
{
    const dlt_fit_spec *fit = &s->spec->fit;
    const dlt_set_info *train = s->signature != NULL ? &s->signature->sets[DLT_TRAIN] : NULL;
    s->batch = o->batch > 0 ? o->batch : fit->batch_size;
    s->evaluate_batch = fit->validation_batch_size.set ? fit->validation_batch_size.value : s->batch;
    s->train_rows = train != NULL && train->present ? train->count : -1;
    if (s->train_rows >= 0 && s->train_rows < s->batch && o->train) {
        s->batch = s->train_rows > 0 ? s->train_rows : 1; /* all rows are one batch, as in Keras */
    }
    s->batches_in_pass = s->train_rows >= 0 ? dlt_batches_in_pass(s->train_rows, s->batch) : 0;
    s->steps_per_epoch = fit->steps_per_epoch.set ? fit->steps_per_epoch.value : s->batches_in_pass;
}

static dlt_status weigh_classes(dlt_session *s, const dlt_session_options *o, dlt_diag *diag)
{
    float *weights = NULL;
    if (s->signature == NULL || !o->train) {
        return DLT_OK;
    }
    const bool counted = s->signature->sets[DLT_TRAIN].class_counts != NULL || s->signature->target != DLT_TARGET_CLASS;
    if (s->spec->fit.class_weight.word != NULL && !counted && s->signature->stats->classes.count > 0 && depth_of(s, o) != DLT_DEPTH_LOAD) {
        return DLT_OK; /* they are counted when all records are read */
    }
    DLT_TRY(dlt_class_weights(s->signature, &s->spec->fit.class_weight,
                              dlt_run_spec_pos(s->run, "fit.class_weight"), s->arena, &weights,
                              &s->class_weight_count, diag));
    s->class_weights = weights;
    return DLT_OK;
}

/* Whether there is something that the layers can be built on. */
static bool has_start(const dlt_session *s)
{
    return s->spec->layers.count > 0 &&
           (s->frame != NULL || (dlt_layer_of(s->spec->layers.at[0])->starts && dlt_table_layer_of(s->spec) == NULL));
}

static bool begins_unknown(const dlt_session *s)
{
    return s->spec->layers.count > 0 && s->spec->layers.at[0]->kind == &dlt_layer_unknown.kind;
}

static dlt_status make_inputs(dlt_session *s, const dlt_session_options *o, dlt_diag *diag)
{
    if (s->frame == NULL && o->loaded != NULL) {
        s->frame = o->loaded->frame;
    }
    if (s->frame != NULL && !begins_unknown(s)) { /* what comes first might have been a layer for tables */
        return dlt_inputs_create(s->arena, s->spec, s->signature, s->frame, &s->fitted, &s->inputs, diag);
    }
    s->inputs = dlt_arena_alloc(s->arena, 1, sizeof *s->inputs); /* no data: Input says what there is */
    if (s->inputs == NULL) {
        return dlt_fail_memory(diag);
    }
    if (!has_start(s)) {
        return dlt_fail(
            diag, DLT_E_CONFIG, dlt_run_spec_pos(s->run, "layers"),
            "without data the shape of what goes in is not known; begin with Input: {shape: [...]}");
    }
    return DLT_OK;
}

/* A mistake of the user, besides which there may be others. */
static bool is_mistake(dlt_status status)
{
    return status == DLT_E_CONFIG || status == DLT_E_DATA;
}

/* Whole-model checks that need neither data nor outputs: what callbacks watch. */
static dlt_status check_parts(const dlt_session *s, dlt_diag *diag)
{
    dlt_metric_set *metrics = NULL;
    DLT_TRY(dlt_metric_set_create(s->arena, &s->spec->metrics, &s->spec->weighted_metrics, &metrics, diag));
    const dlt_check check = {.spec = s->spec, .metrics = metrics, .validation = s->spec->data.validation != NULL || s->run->unsure_validation,
                             .unsure_metrics = s->run->unsure_metrics,
                             .unsure_activation = s->run->unsure_activation};
    return dlt_check_model(&check, diag);
}

/* The data without the sets that may be wrong, or none: what there is to look on with behind a mistake. */
static dlt_status open_less(dlt_session *s, const dlt_session_options *o, dlt_diag *diag)
{
    dlt_data_spec less = o->data != NULL ? *o->data : s->spec->data;
    if (less.train == NULL || (less.validation == NULL && less.test == NULL)) {
        return DLT_OK;
    }
    less.validation = less.test = NULL;
    dlt_session_options again = *o;
    again.data = &less;
    again.depth = DLT_DEPTH_PROBE; /* nothing will be trained */
    dlt_diag *unheard = dlt_diag_create(); /* train may be what is wrong, which was told */
    dlt_status status = unheard != NULL ? open_data(s, &again, unheard) : dlt_fail_memory(diag);
    if (unheard != NULL && status == DLT_E_MEMORY) {
        (void)dlt_fail_memory(diag);
    }
    dlt_diag_destroy(unheard);
    return is_mistake(status) ? DLT_OK : status;
}

/* After a mistake there is a session too, if there is more in which mistakes can be found. */
static dlt_status begin(const dlt_run_spec *run, const dlt_session_options *o, dlt_session **out,
                        dlt_diag *diag)
{
    dlt_arena *arena = dlt_arena_create();
    dlt_session *s = arena != NULL ? dlt_arena_alloc(arena, 1, sizeof *s) : NULL;
    *out = NULL;
    if (s == NULL) {
        dlt_arena_destroy(arena);
        return dlt_fail_memory(diag);
    }
    *s = (dlt_session){.arena = arena, .run = run, .spec = &run->value};
    dlt_status told = run->mistaken ? DLT_E_CONFIG : DLT_OK; /* the first mistake */
    if (run->value.layers.count == 0 && !run->mistaken) {
        told = dlt_fail(diag, DLT_E_CONFIG, dlt_run_spec_pos(run, "layers"), "the model has no layers");
    }
    dlt_status status = open_data(s, o, diag);
    if (is_mistake(status)) {
        told = told != DLT_OK ? told : status;
        status = open_less(s, o, diag);
    }
    if (status == DLT_OK && told != DLT_OK && !has_start(s)) {
        status = told;
    }
    status = status == DLT_OK && !begins_unknown(s) ? fit_table(s, o, diag) : status;
    status = status == DLT_OK ? make_inputs(s, o, diag) : status;
    const dlt_status numbers = status == DLT_OK ? check_numbers(s, o, diag) : DLT_OK;
    told = told == DLT_OK && is_mistake(numbers) ? numbers : told;
    if (numbers != DLT_OK && !is_mistake(numbers)) {
        status = numbers;
    }
    if (status == DLT_OK) {
        count(s, o);
        *out = s;
        return told;
    }
    if (is_mistake(status)) { /* what needs neither data nor layers is told as well */
        (void)check_parts(s, diag);
    }
    dlt_session_close(s);
    return told != DLT_OK && is_mistake(status) ? told : status;
}

void dlt_session_close(dlt_session *s)
{
    if (s != NULL) {
        for (int i = 0; i < DLT_SET_COUNT; i++) {
            dlt_feed_close(&s->evaluation[i]);
        }
        dlt_engine_destroy(s->engine);
        dlt_datasets_close(s->data);
        dlt_arena_destroy(s->arena);
    }
}

/* ---- whole-model checks ---- */

/* Codes of characters index the table of an Embedding that comes first. */
static dlt_status check_ids(const dlt_session *s, dlt_diag *diag)
{
    const dlt_items *layers = &s->spec->layers;
    const size_t first = layers->count > 1 && dlt_kind_is(layers->at[0]->kind, "Input") ? 1 : 0;
    const dlt_item *item = layers->at[first];
    const dlt_part *part = s->frame != NULL && s->frame->layout.count > 0 ? &s->frame->layout.parts[0] : NULL;
    if (part == NULL || part->role != DLT_ROLE_FEATURE || part->type != DLT_COLUMN_TENSOR ||
        part->dictionary == NULL) {
        return DLT_OK;
    }
    for (const dlt_field *f = item->kind->fields; f != NULL && f->name != NULL; f++) {
        if (f->type == DLT_FIELD_INT && strcmp(f->name, "input_dim") == 0) {
            int64_t rows;
            memcpy(&rows, (const char *)item->params + f->offset, sizeof rows);
            if (rows < part->dictionary->count) {
                return dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "input_dim"),
                                "%s: input_dim is %lld, but the text has %lld different characters",
                                item->kind->name, (long long)rows, (long long)part->dictionary->count);
            }
        }
    }
    return DLT_OK;
}

/* Where inference can be built and training cannot: a layer that changes sizes in training only may be why. */
static void note_sizes(const dlt_spec *spec, dlt_diag *diag)
{
    for (size_t i = 0; i < spec->layers.count; i++) {
        const dlt_item *item = spec->layers.at[i];
        if (dlt_layer_of(item)->whole_at_inference) {
            dlt_note(diag, item->pos,
                     "%s changes the size in training only: at inference it lets all through, and what follows must take both sizes; "
                     "a global pooling before Dense does",
                     item->kind->name);
        }
    }
}

/* How many variables there were before each layer of the model's own list, and behind the last. */
typedef struct weights_before {
    const dlt_items *layers;
    const dlt_variables *variables;
    dlt_layer_visit *next; /* who wants to see the layers as well */
    void *next_context;
    int *before; /* layers->count + 1 */
    size_t seen;
} weights_before;

static void count_weights(void *context, const dlt_item *item, const char *path, dlt_value *in, dlt_value *out)
{
    weights_before *w = context;
    if (w->seen < w->layers->count && w->layers->at[w->seen] == item) {
        w->before[++w->seen] = w->variables->count;
    }
    if (w->next != NULL) {
        w->next(w->next_context, item, path, in, out);
    }
}

static bool wants_adapt(const dlt_item *item)
{
    const dlt_adapt_layer *adapt = dlt_layer_of(item)->adapt;
    return adapt != NULL && adapt->wanted(item);
}

/* Weights before a measured layer must all be measured themselves. */
static dlt_status check_measured_order(const dlt_session_options *o, const weights_before *w, dlt_diag *diag)
{
    if (o->loaded != NULL || o->fitted != NULL) {
        return DLT_OK; /* they were measured when training began */
    }
    const dlt_variable *learned = NULL;
    for (size_t i = 0; i < w->seen; i++) {
        const dlt_item *item = w->layers->at[i];
        if (wants_adapt(item) && learned != NULL) {
            return dlt_fail(diag, DLT_E_CONFIG, item->pos,
                            "%s is measured on the training data and cannot stand behind '%s' (line %u), whose weights are learned; "
                            "move it before, or give mean and variance",
                            item->kind->name, learned->layer, learned->pos.line);
        }
        const bool measured = wants_adapt(item) || dlt_layer_of(item)->table != NULL;
        for (int k = w->before[i]; k < w->before[i + 1] && !measured && learned == NULL; k++) {
            const dlt_variable *v = w->variables->list[k];
            learned = v->role == DLT_VARIABLE_WEIGHT ? v : NULL;
        }
    }
    return DLT_OK;
}

/* Builds the forward graph on variables of its own and looks at the model as a whole. */
static dlt_status check_model(dlt_session *s, const dlt_session_options *o, dlt_diag *diag)
{
    dlt_variables *variables = dlt_variables_create(s->arena);
    dlt_metric_set *metrics = NULL;
    dlt_step step;
    if (variables == NULL) {
        return dlt_fail_memory(diag);
    }
    weights_before weights = {.layers = &s->spec->layers,
                              .variables = variables,
                              .next = o->visit,
                              .next_context = o->visit_context,
                              .before = dlt_arena_alloc(s->arena, s->spec->layers.count + 1, sizeof *weights.before)};
    if (weights.before == NULL) {
        return dlt_fail_memory(diag);
    }
    const dlt_step_options options = {.kind = DLT_PROGRAM_PREDICT,
                                      .batch = s->batch,
                                      .real = DLT_F32,
                                      .visit = count_weights,
                                      .context = &weights};
    DLT_TRY(dlt_metric_set_create(s->arena, &s->spec->metrics, &s->spec->weighted_metrics, &metrics, diag));
    const dlt_status built =
        dlt_step_build(s->arena, variables, s->spec, &s->inputs->step, &options, metrics, &step, diag);
    if (built != DLT_OK && !is_mistake(built)) {
        return built;
    }
    const dlt_check check = {.spec = s->spec,
                             .variables = variables,
                             .y = step.y,
                             .last = step.last,
                             .target = s->inputs->step.target != NULL ? &s->inputs->target : NULL,
                             .metrics = metrics,
                             .validation = s->spec->data.validation != NULL || s->run->unsure_validation,
                             .unsure_metrics = s->run->unsure_metrics,
                             .unsure_activation = s->run->unsure_activation};
    const dlt_status status = dlt_check_model(&check, diag);
    const dlt_status order = check_measured_order(o, &weights, diag);
    const dlt_status ids = check_ids(s, diag), labels = check_labels(s, step.y, diag);
    const dlt_status classes = weigh_classes(s, o, diag);
    DLT_TRY(is_mistake(status) ? DLT_OK : status);
    DLT_TRY(built);
    DLT_TRY(status);
    DLT_TRY(ids);
    DLT_TRY(labels);
    DLT_TRY(classes);
    DLT_TRY(order);
    if (o->train && s->spec->loss != NULL &&
        s->inputs->step.target != NULL) { /* what only the whole step can tell */
        const dlt_step_options train = {.kind = DLT_PROGRAM_TRAIN, .batch = s->batch, .real = DLT_F32};
        const dlt_status trained = dlt_step_build(s->arena, variables, s->spec, &s->inputs->step, &train, metrics, &step, diag);
        if (is_mistake(trained)) {
            note_sizes(s->spec, diag);
        }
        DLT_TRY(trained);
    }
    return DLT_OK;
}

dlt_status dlt_session_parts(const dlt_run_spec *run, dlt_diag *diag)
{
    dlt_session s = {.arena = dlt_arena_create(), .run = run, .spec = &run->value};
    const dlt_status status = s.arena != NULL ? check_parts(&s, diag) : dlt_fail_memory(diag);
    dlt_arena_destroy(s.arena);
    return status;
}

dlt_status dlt_session_check(const dlt_run_spec *run, const dlt_session_options *options,
                             dlt_session **session, dlt_diag *diag)
{
    dlt_status status = begin(run, options, session, diag);
    if (*session != NULL) {
        const dlt_status model = check_model(*session, options, diag);
        status = status == DLT_OK || !(model == DLT_OK || is_mistake(model)) ? model : status;
    }
    if (status != DLT_OK) {
        dlt_session_close(*session);
        *session = NULL;
    }
    return status;
}

/* ---- layers that are measured on the data ---- */

static dlt_status engine_for(dlt_session *s, const dlt_session_options *o, const dlt_spec *spec,
                             const dlt_engine_options *more, dlt_engine **engine, dlt_diag *diag)
{
    dlt_engine_options options = *more;
    options.device = o->device != NULL ? o->device : spec->device;
    options.device_options =
        (dlt_device_options){.name = options.device,
                             .threads = o->threads,
                             .pin = o->pin,
                             .isa = o->isa,
                             .prefer = o->prefer,
                             .tuned = &spec->tuned,
                             .tuned_elsewhere = o->loaded != NULL,
                             .tuned_at = dlt_run_spec_pos(s->run, "tuned"),
                             .trial = o->trial,
                             .reference = o->reference || spec->kernels == DLT_KERNELS_REFERENCE,
                             .deterministic = spec->deterministic};
    options.real = o->real;
    options.precision_at = dlt_run_spec_pos(s->run, "precision");
    options.plain = o->plain;
    options.no_fusion = o->no_fusion;
    options.visit = o->visit;
    options.visit_context = o->visit_context;
    return dlt_engine_create(s->arena, spec, s->inputs, &options, engine, diag);
}

/* The outputs of a prefix of the model over all of train, as doubles, go to the layer. */
static dlt_status measure(dlt_session *s, dlt_engine *engine, const dlt_item *item, double *state,
                          const atomic_int *stop, dlt_diag *diag)
{
    const dlt_adapt_layer *adapt = dlt_layer_of(item)->adapt;
    const dlt_value *y = dlt_graph_output(engine->programs[DLT_RUN_PREDICT].graph, "y");
    const int64_t row = dlt_shape_count(&y->shape) / y->shape.dim[0];
    dlt_feed feed = {0};
    dlt_batch batch;
    char *raw = dlt_alloc((size_t)dlt_value_bytes(y));
    double *x = dlt_alloc((size_t)dlt_shape_count(&y->shape) * sizeof *x);
    dlt_engine *own = s->engine;
    s->engine = engine; /* the feed fills this engine's slots */
    dlt_status status = raw != NULL && x != NULL ? dlt_session_feed(s, DLT_TRAIN, DLT_RUN_PREDICT,
                                                                    (dlt_cursor){0, 0}, 0, &feed, diag)
                                                 : dlt_fail_memory(diag);
    while (status == DLT_OK && (status = dlt_loader_next(feed.loader, &batch, diag)) == DLT_OK &&
           batch.rows > 0) {
        bool finite = true;
        const int slot = feed.first_slot + (int)batch.slot;
        status = dlt_engine_run(engine, DLT_RUN_PREDICT, slot, &finite, diag);
        if (status == DLT_OK) {
            status =
                engine->backend->read_value(engine->programs[DLT_RUN_PREDICT].program, slot, y, raw, diag);
        }
        if (status == DLT_OK) {
            for (int64_t i = 0; i < batch.rows * row; i++) {
                x[i] = dlt_element_value(y->type, raw, (size_t)i);
            }
            adapt->update(item, &y->shape, state, x, batch.rows);
        }
        dlt_loader_release(feed.loader, &batch);
        if (stop != NULL && atomic_load_explicit(stop, memory_order_relaxed) != 0) {
            status = DLT_E_STOPPED;
        }
    }
    dlt_feed_close(&feed);
    s->engine = own;
    dlt_free(raw);
    dlt_free(x);
    return status;
}

/* What a layer has measured must be a number in float32 as well. */
static dlt_status check_measured(const dlt_session *s, const dlt_item *item, const dlt_variable *v, const char *name,
                                 const double *values, size_t count, dlt_diag *diag)
{
    size_t bad = 0;
    while (bad < count && isfinite((float)values[bad])) {
        bad++;
    }
    if (bad == count) {
        return DLT_OK;
    }
    char number[40], place[32] = "";
    dlt_culprit found;
    if (v->shape.rank > 0) {
        (void)snprintf(place, sizeof place, "[%zu]", bad);
    }
    dlt_format_double(values[bad], number, sizeof number);
    (void)dlt_fail(diag, DLT_E_DATA, item->pos, "%s: %s%s, measured on the training data, is %s%s", v->layer, name, place,
                   number, isfinite(values[bad]) ? ", beyond float32" : "");
    if (dlt_culprit_find(s->arena, dlt_datasets_view(s->data, DLT_TRAIN), DLT_ROLE_FEATURE, NULL, &found, diag) == DLT_OK &&
        found.found) {
        dlt_culprit_say(found.finite ? "the largest value of train" : "first bad value: the data", &found, diag);
    }
    return DLT_E_DATA;
}

/* Finds the variables of one layer: path of the layer, a slash, a name. */
static const char *name_in_layer(const dlt_variable *v, const char *layer)
{
    const size_t length = strlen(layer);
    return v->role == DLT_VARIABLE_WEIGHT && strncmp(v->path, layer, length) == 0 && v->path[length] == '/' &&
                   strchr(v->path + length + 1, '/') == NULL
               ? v->path + length + 1
               : NULL;
}

static dlt_status adapt_layer(dlt_session *s, const dlt_session_options *o, size_t at,
                              const dlt_engine *whole, const char *path, dlt_diag *diag)
{
    const dlt_item *item = s->spec->layers.at[at];
    const dlt_adapt_layer *adapt = dlt_layer_of(item)->adapt;
    dlt_spec prefix = *s->spec;
    dlt_engine *engine = NULL;
    prefix.layers.count = at;
    const dlt_engine_options options = {.predict_batch = s->evaluate_batch, .evaluate_slots = EVALUATE_SLOTS};
    dlt_session_options quiet = *o;
    quiet.visit = NULL;
    DLT_TRY(engine_for(s, &quiet, &prefix, &options, &engine, diag));
    dlt_status status = dlt_engine_start(engine, diag);
    status = status == DLT_OK ? dlt_engine_init_variables(engine, &s->fitted, false, diag) : status;
    const dlt_value *y = dlt_graph_output(engine->programs[DLT_RUN_PREDICT].graph, "y");
    double *state =
        status == DLT_OK ? dlt_alloc_zeroed(adapt->state_count(item, &y->shape), sizeof *state) : NULL;
    if (status == DLT_OK && state == NULL) {
        status = dlt_fail_memory(diag);
    }
    status = status == DLT_OK ? measure(s, engine, item, state, o->stop, diag) : status;
    for (int i = 0; i < whole->variables->count && status == DLT_OK; i++) {
        const dlt_variable *v = whole->variables->list[i];
        const char *name = name_in_layer(v, path);
        if (name == NULL) {
            continue;
        }
        const size_t elements = (size_t)dlt_shape_count(&v->shape);
        double *values = dlt_alloc_zeroed(elements, sizeof *values);
        if (values == NULL) {
            status = dlt_fail_memory(diag);
            break;
        }
        adapt->finish(item, &y->shape, state, name, values, elements);
        status = check_measured(s, item, v, name, values, elements, diag);
        if (status == DLT_OK && !dlt_fitted_numbers(&s->fitted, v->path, values, elements)) {
            status = dlt_fail_memory(diag);
        }
        dlt_free(values);
    }
    dlt_free(state);
    dlt_engine_destroy(engine);
    return status;
}

/* Paths of the layers of the model's own list. */
typedef struct top_paths {
    const dlt_items *layers;
    const char **paths;
} top_paths;

static void note_path(void *context, const dlt_item *item, const char *path, dlt_value *in, dlt_value *out)
{
    top_paths *t = context;
    (void)in;
    (void)out;
    for (size_t i = 0; i < t->layers->count; i++) {
        if (t->layers->at[i] == item && t->paths[i] == NULL) {
            t->paths[i] = path;
        }
    }
}

static bool contains_adapt(const dlt_item *item)
{
    return wants_adapt(item);
}

/* Measures all layers that ask for it, in list order. Only those of the model's own list can be. */
static dlt_status adapt_layers(dlt_session *s, const dlt_session_options *o, dlt_diag *diag)
{
    bool any = false;
    for (size_t i = 0; i < s->spec->layers.count; i++) {
        const dlt_item *item = s->spec->layers.at[i];
        if (wants_adapt(item)) {
            any = true;
        } else if (dlt_layer_any(item, contains_adapt)) {
            return dlt_fail(diag, DLT_E_UNSUPPORTED, item->pos,
                            "a layer inside %s wants to be measured on the data; only layers of the model's "
                            "own list can be: move it out, "
                            "or give its values",
                            item->kind->name);
        }
    }
    const dlt_view *train = s->data != NULL ? dlt_datasets_view(s->data, DLT_TRAIN) : NULL;
    if (!any || train == NULL || o->depth != DLT_DEPTH_LOAD || o->loaded != NULL || o->fitted != NULL) {
        return DLT_OK;
    }
    top_paths paths = {&s->spec->layers,
                       dlt_arena_alloc(s->arena, s->spec->layers.count, sizeof(const char *))};
    if (paths.paths == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_engine *whole = NULL; /* tells the paths and shapes of the weights that are measured */
    dlt_session_options quiet = *o;
    quiet.visit = note_path;
    quiet.visit_context = &paths;
    const dlt_engine_options options = {.predict_batch = s->evaluate_batch, .evaluate_slots = 1};
    DLT_TRY(engine_for(s, &quiet, s->spec, &options, &whole, diag));
    dlt_status status = DLT_OK;
    for (size_t i = 0; i < s->spec->layers.count && status == DLT_OK; i++) {
        if (wants_adapt(s->spec->layers.at[i])) {
            status = adapt_layer(s, o, i, whole, paths.paths[i], diag);
        }
    }
    dlt_engine_destroy(whole);
    return status;
}

dlt_status dlt_session_open(const dlt_run_spec *run, const dlt_session_options *o, dlt_session **out,
                            dlt_diag *diag)
{
    dlt_session *s = NULL;
    *out = NULL;
    const dlt_status told = begin(run, o, &s, diag);
    if (s == NULL) {
        return told;
    }
    dlt_session_options quiet = *o;
    quiet.visit = NULL;
    dlt_status status = check_model(s, &quiet, diag);
    status = told == DLT_OK || !(status == DLT_OK || is_mistake(status)) ? status : told;
    status = status == DLT_OK ? adapt_layers(s, o, diag) : status;
    if (status == DLT_OK) {
        const int64_t rest = s->train_rows >= 0 && s->batch > 0 ? s->train_rows % s->batch : 0;
        const bool reaches_rest = rest > 0 && (s->spec->fit.epochs > 0);
        const dlt_engine_options options = {.train = o->train,
                                            .batch = o->train ? s->batch : 0,
                                            .rest = o->train && reaches_rest ? rest : 0,
                                            .evaluate_batch = o->evaluate ? s->evaluate_batch : 0,
                                            .predict_batch = o->predict ? s->evaluate_batch : 0,
                                            .train_slots = o->train ? TRAIN_SLOTS : 0,
                                            .evaluate_slots = o->evaluate || o->predict ? EVALUATE_SLOTS : 0};
        status = engine_for(s, o, s->spec, &options, &s->engine, diag);
    }
    if (status != DLT_OK) {
        dlt_session_close(s);
        return status;
    }
    *out = s;
    return DLT_OK;
}

void dlt_identity(const dlt_backend *backend, const dlt_device *device, dlt_buf *out)
{
    dlt_buf_printf(out, "dltrain %s; ", DLT_VERSION);
    backend->identity(device, out);
}

const char *dlt_session_identity(const dlt_session *s)
{
    dlt_buf text = {0};
    dlt_identity(s->engine->backend, s->engine->device, &text);
    const char *kept = text.failed ? NULL : dlt_arena_string(s->arena, dlt_buf_text(&text));
    dlt_buf_release(&text);
    return kept;
}

dlt_run_program dlt_session_program(const dlt_session *s, int64_t step, int64_t rows)
{
    const dlt_optimizer_params *p = dlt_optimizer_common(s->spec->optimizer);
    const bool rest = rows < s->batch;
    if (!p->gradient_accumulation_steps.set) {
        return rest ? DLT_RUN_TRAIN_REST : DLT_RUN_TRAIN;
    }
    const bool apply = (step + 1) % p->gradient_accumulation_steps.value == 0;
    return apply ? (rest ? DLT_RUN_APPLY_REST : DLT_RUN_APPLY)
                 : (rest ? DLT_RUN_ACCUMULATE_REST : DLT_RUN_ACCUMULATE);
}

/* ---- feeding ---- */

dlt_status dlt_session_feed(dlt_session *s, dlt_set set, dlt_run_program program, dlt_cursor start,
                            int64_t limit, dlt_feed *feed, dlt_diag *diag)
{
    enum { MOST_OUTPUTS = 256, MOST_SLOTS = 16 };
    const bool training = program != DLT_RUN_EVALUATE && program != DLT_RUN_PREDICT;
    const dlt_engine_options *eo = &s->engine->options;
    const int slots = training ? eo->train_slots : eo->evaluate_slots;
    const dlt_view *view = dlt_datasets_view(s->data, set);
    *feed = (dlt_feed){.program = program, .first_slot = training ? 0 : eo->train_slots};
    if (view == NULL || slots < 1 || slots > MOST_SLOTS || s->inputs->step.input_count + 1 > MOST_OUTPUTS) {
        return dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "there is nothing to feed program %s with",
                        dlt_run_program_name(program));
    }
    dlt_slot ring[MOST_SLOTS];
    for (int i = 0; i < slots; i++) {
        void **outputs = dlt_arena_alloc(s->arena, (size_t)s->inputs->step.input_count + 1, sizeof *outputs);
        if (outputs == NULL) {
            return dlt_fail_memory(diag);
        }
        dlt_engine_slot(s->engine, program, feed->first_slot + i, outputs, &ring[i].weights);
        ring[i].outputs = outputs;
    }
    dlt_loader_options options = {
        .view = *view,
        .batch_size = training ? s->batch : s->evaluate_batch,
        .shuffle = training ? (dlt_shuffle_mode)s->spec->fit.shuffle : DLT_SHUFFLE_OFF,
        .seed = (uint64_t)s->spec->seed,
        .start = start,
        .repeat = training,
        .pad = !training,
        .limit = limit,
        .threads = s->engine->backend->threads(s->engine->device),
        .workers = s->spec->data.workers.set ? (int)s->spec->data.workers.value : DLT_WORKERS_CHOSEN,
        .class_weight = training ? s->class_weights : NULL,
        .class_count = training ? s->class_weight_count : 0,
        .slots = ring,
        .slot_count = (size_t)slots};
    if (program == DLT_RUN_PREDICT) {
        options.batch_size = s->engine->options.predict_batch;
    }
    const dlt_record_layout *layout = &dlt_dataset_frame(view->dataset)->layout;
    dlt_input_encoder encoder = {0};
    size_t files = 0;
    (void)dlt_dataset_stamps(view->dataset, &files);
    DLT_TRY(dlt_inputs_encoder(s->arena, s->inputs, layout,
                               files == 1 ? dlt_dataset_path(view->dataset) : NULL,
                               program != DLT_RUN_PREDICT, &encoder, diag));
    options.encode = encoder.encode;
    options.context = encoder.context;
    options.direct = encoder.direct;
    return dlt_loader_create(&options, &feed->loader, diag);
}

void dlt_feed_close(dlt_feed *feed)
{
    dlt_loader_destroy(feed->loader);
    feed->loader = NULL;
}

dlt_status dlt_session_evaluate(dlt_session *s, dlt_set set, int64_t limit, const atomic_int *stop,
                                dlt_batch_seen *each, void *context, dlt_diag *diag)
{
    dlt_feed *feed = &s->evaluation[set]; /* made once: each evaluation goes back to the first row */
    dlt_batch batch;
    dlt_status status = dlt_engine_zero_metrics(s->engine, diag);
    if (status == DLT_OK && feed->loader == NULL) {
        status = dlt_session_feed(s, set, DLT_RUN_EVALUATE, (dlt_cursor){0, 0}, limit, feed, diag);
    } else if (status == DLT_OK) {
        dlt_loader_seek(feed->loader, (dlt_cursor){0, 0});
    }
    while (status == DLT_OK && (status = dlt_loader_next(feed->loader, &batch, diag)) == DLT_OK &&
           batch.rows > 0) {
        bool finite = true;
        const int slot = feed->first_slot + (int)batch.slot;
        dlt_engine_set_rows(s->engine, DLT_RUN_EVALUATE, slot, batch.rows);
        status = dlt_engine_run(s->engine, DLT_RUN_EVALUATE, slot, &finite, diag);
        if (status == DLT_OK && each != NULL) {
            status = each(context, &batch, slot, diag);
        }
        dlt_loader_release(feed->loader, &batch);
        if (status == DLT_OK && stop != NULL && atomic_load_explicit(stop, memory_order_relaxed) != 0) {
            status = DLT_E_STOPPED;
        }
    }
    return status;
}
