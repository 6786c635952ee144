/* trainer/step.c: a whole step as one graph. */
#include "trainer/step.h"

#include "trainer/optimizer.h"

const char *dlt_program_name(dlt_program_kind kind)
{
    static const char *const names[] = {"train",    "train-accumulate", "train-apply",
                                        "evaluate", "predict",          "finish"};
    return names[kind];
}

static dlt_mode mode_of(dlt_program_kind kind)
{
    return kind == DLT_PROGRAM_EVALUATE                                ? DLT_MODE_EVALUATE
           : kind == DLT_PROGRAM_PREDICT || kind == DLT_PROGRAM_FINISH ? DLT_MODE_PREDICT
                                                                       : DLT_MODE_TRAIN;
}

static bool is_training(dlt_program_kind kind)
{
    return mode_of(kind) == DLT_MODE_TRAIN;
}

/* ---- inputs ---- */

static dlt_value *add_input(dlt_builder *b, const dlt_step_input *input)
{
    dlt_shape shape = {.rank = input->shape.rank + 1, .dim = {dlt_batch_size(b)}};
    if (input->shape.rank >= DLT_MAX_RANK) {
        return dlt_reject(b, "%s: tensors of rank %d are not supported", input->name, input->shape.rank + 1);
    }
    for (int i = 0; i < input->shape.rank; i++) {
        shape.dim[i + 1] = input->shape.dim[i];
    }
    dlt_value *v = dlt_input(b, input->name, input->type, shape);
    if (v != NULL) {
        v->uncertain = input->uncertain;
    }
    return v;
}

/* Number of the input that comes next. */
static int next_input(dlt_builder *b)
{
    return dlt_builder_graph(b)->input_count;
}

/* Remembers the layer that was built last: at the end that is the model's last. */
typedef struct watcher {
    const dlt_step_options *options;
    dlt_step *step;
} watcher;

static void watch(void *context, const dlt_item *item, const char *path, dlt_value *in, dlt_value *out)
{
    watcher *w = context;
    w->step->last = item;
    if (w->options->visit != NULL) {
        w->options->visit(w->options->context, item, path, in, out);
    }
}

static dlt_value *forward(dlt_builder *b, const dlt_spec *spec, const dlt_step_data *data,
                          const dlt_step_options *options, dlt_step *step)
{
    dlt_value **inputs =
        dlt_arena_alloc(dlt_builder_graph(b)->arena, (size_t)data->input_count, sizeof *inputs);
    watcher w = {options, step};
    if (inputs == NULL) {
        return dlt_reject_at(b, DLT_E_MEMORY, (dlt_pos){0}, "out of memory");
    }
    for (int i = 0; i < data->input_count; i++) {
        inputs[i] = add_input(b, &data->inputs[i]);
    }
    const dlt_layer_desc *first = spec->layers.count > 0 ? dlt_layer_of(spec->layers.at[0]) : NULL;
    const bool table = first != NULL && first->table != NULL;
    const bool starts = first != NULL && first->starts; /* Input makes a value even where there are no data */
    if (!table && data->input_count != 1 && !(data->input_count == 0 && starts)) {
        return dlt_reject_at(
            b, DLT_E_CONFIG, spec->layers.count > 0 ? spec->layers.at[0]->pos : (dlt_pos){0},
            "the data have %d features apart; put FeatureSpace first, which makes one of them",
            data->input_count);
    }
    dlt_value *x = table || data->input_count == 0 ? NULL : inputs[0];
    if (x != NULL &&
        dlt_dtype_is_real(x->type)) { /* integers stay what they are until a layer wants numbers */
        x = dlt_cast(b, x, dlt_real(b));
    }
    return dlt_model_apply(b, &spec->layers, x, data->fitted, inputs, data->input_count, watch, &w);
}

/* ---- the loss ---- */

static dlt_value *total_loss(dlt_builder *b, const dlt_item *loss, const dlt_outcome *outcome)
{
    dlt_value *total = dlt_loss_apply(b, loss, outcome);
    dlt_value *penalty = total != NULL ? dlt_penalty_total(b, outcome->rows) : NULL;
    return penalty != NULL ? dlt_add(b, total, penalty) : total;
}

/* ---- programs ---- */

static void count_samples(dlt_builder *b)
{
    dlt_value *before = dlt_samples(b);
    dlt_variable *samples = dlt_variables_find(dlt_builder_graph(b)->variables, "samples");
    dlt_assign(b, samples, dlt_add_c(b, before, (double)dlt_batch_size(b)));
}

static void train(dlt_builder *b, const dlt_spec *spec, dlt_program_kind kind, dlt_value *loss)
{
    const dlt_update_kind update = kind == DLT_PROGRAM_ACCUMULATE ? DLT_UPDATE_ACCUMULATE
                                   : kind == DLT_PROGRAM_APPLY    ? DLT_UPDATE_APPLY
                                                                  : DLT_UPDATE_STEP;
    dlt_update_report report;
    dlt_optimizer_build(b, spec->optimizer, loss, update, &report);
    count_samples(b);
    dlt_output(b, "grad_norm", report.grad_norm);
    dlt_output(b, "learning_rate", report.rate);
    dlt_output(b, "update_sum", report.sum);
}

static void build_program(dlt_builder *b, const dlt_spec *spec, const dlt_step_data *data,
                          const dlt_step_options *options, dlt_metric_set *metrics, dlt_step *step)
{
    if (options->kind == DLT_PROGRAM_FINISH) {
        dlt_optimizer_finish(b);
        return;
    }
    step->y = forward(b, spec, data, options, step);
    if (options->kind == DLT_PROGRAM_PREDICT) {
        dlt_output(b, "y", step->y);
        return;
    }
    dlt_outcome outcome = {.y_pred = step->y};
    step->target = next_input(b);
    outcome.y_true = add_input(b, data->target);
    if (data->weight != NULL) {
        step->weight = next_input(b);
        outcome.weight = add_input(b, data->weight);
    }
    if (options->kind == DLT_PROGRAM_EVALUATE) {
        step->rows = next_input(b);
        outcome.rows = dlt_input(b, "rows", DLT_I32, dlt_scalar());
        dlt_output(b, "y", step->y);
    }
    dlt_value *loss = total_loss(b, spec->loss, &outcome);
    dlt_metric_set_update(b, metrics, &outcome, loss);
    dlt_output(b, "loss", loss);
    if (is_training(options->kind)) {
        train(b, spec, options->kind, loss);
    }
}

dlt_status dlt_step_build(dlt_arena *arena, dlt_variables *variables, const dlt_spec *spec,
                          const dlt_step_data *data, const dlt_step_options *options, dlt_metric_set *metrics,
                          dlt_step *step, dlt_diag *diag)
{
    const bool wants_loss = options->kind != DLT_PROGRAM_PREDICT && options->kind != DLT_PROGRAM_FINISH;
    *step = (dlt_step){.target = -1, .weight = -1, .rows = -1};
    if (wants_loss && (spec->loss == NULL || data->target == NULL)) {
        return dlt_fail(diag, DLT_E_CONFIG, spec->loss != NULL ? spec->loss->pos : (dlt_pos){0},
                        "%s needs %s", dlt_program_name(options->kind),
                        spec->loss == NULL ? "a loss:" : "data with targets");
    }
    dlt_builder *b = dlt_builder_create(arena, variables,
                                        &(dlt_builder_options){.name = dlt_program_name(options->kind),
                                                               .mode = mode_of(options->kind),
                                                               .real = options->real,
                                                               .batch = options->batch,
                                                               .seed = (uint64_t)spec->seed},
                                        diag);
    if (b == NULL) {
        return DLT_E_MEMORY;
    }
    build_program(b, spec, data, options, metrics, step);
    return dlt_builder_finish(b, &step->graph);
}
