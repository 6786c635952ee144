/* trainer/blame.c: who made the first value that is not finite? */
#include "trainer/blame.h"

#include "base/alloc.h"
#include "io/data/convert.h"
#include "io/file.h"
#include "io/h5/checkpoint.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* True if some element of a real value is not finite; *largest is the largest finite magnitude. */
static dlt_status look(dlt_engine *e, const dlt_compiled *c, int slot, const dlt_value *v, bool *finite,
                       double *largest, dlt_diag *diag)
{
    const int64_t bytes = dlt_value_bytes(v), count = bytes / (int64_t)dlt_dtype_size(v->type);
    *finite = true;
    *largest = 0;
    if (!dlt_dtype_is_real(v->type) || c->plan->places[v->id].bytes == 0) {
        return DLT_OK;
    }
    char *data = dlt_alloc((size_t)bytes);
    if (data == NULL) {
        return dlt_fail_memory(diag);
    }
    const dlt_status status = e->backend->read_value(c->program, slot, v, data, diag);
    for (int64_t i = 0; i < count && status == DLT_OK; i++) {
        const double x = dlt_element_value(v->type, data, (size_t)i);
        if (!isfinite(x)) {
            *finite = false;
        } else if (fabs(x) > *largest) {
            *largest = fabs(x);
        }
    }
    dlt_free(data);
    return status;
}

dlt_status dlt_first_not_finite(dlt_engine *e, dlt_run_program program, int slot, int *node, dlt_diag *diag)
{
    const dlt_compiled *c = &e->programs[program];
    *node = -1;
    for (int i = 0; i < c->graph->node_count; i++) {
        const dlt_node *n = c->graph->nodes[i];
        if (n->op == DLT_OP_GUARD || n->op == DLT_OP_ASSIGN) {
            break; /* what stands behind the guard was never reached */
        }
        DLT_TRY(e->backend->run_nodes(c->program, slot, i, i + 1, NULL, diag));
        for (int k = 0; k < n->output_count; k++) {
            bool finite = true;
            double largest = 0;
            DLT_TRY(look(e, c, slot, n->outputs[k], &finite, &largest, diag));
            if (!finite) {
                *node = i;
                return DLT_OK;
            }
        }
    }
    return DLT_OK;
}

dlt_status dlt_plain_twin(const dlt_session *s, dlt_run_program program, int slot, dlt_engine **twin,
                          dlt_diag *diag)
{
    dlt_engine *e = s->engine;
    dlt_engine_options options = e->options;
    const dlt_saved *list = NULL;
    int count = 0;
    options.plain = true;
    options.train_slots = 1;
    options.evaluate_slots = 0;
    options.evaluate_batch = options.predict_batch = 0;
    DLT_TRY(dlt_engine_create(e->arena, s->spec, s->inputs, &options, twin, diag));
    DLT_TRY(dlt_engine_start(*twin, diag));
    DLT_TRY(dlt_saved_list(e->arena, e->variables, s->spec->optimizer,
                           DLT_SAVED_WEIGHTS | DLT_SAVED_OPTIMIZER | DLT_SAVED_STATE, &list, &count, diag));
    const dlt_saved *other = NULL;
    int other_count = 0;
    DLT_TRY(dlt_saved_list(e->arena, (*twin)->variables, s->spec->optimizer,
                           DLT_SAVED_WEIGHTS | DLT_SAVED_OPTIMIZER | DLT_SAVED_STATE, &other, &other_count,
                           diag));
    for (int i = 0; i < count && i < other_count; i++) {
        char *data =
            dlt_alloc((size_t)dlt_shape_count(&list[i].shape) * dlt_dtype_size(list[i].variable->type));
        dlt_status status = data != NULL ? dlt_engine_read(e, &list[i], data, diag) : dlt_fail_memory(diag);
        status = status == DLT_OK ? dlt_engine_write(*twin, &other[i], data, diag) : status;
        dlt_free(data);
        DLT_TRY(status);
    }
    const dlt_compiled *from = &e->programs[program], *to = &(*twin)->programs[program];
    for (int i = 0; i < from->graph->input_count; i++) {
        const dlt_value *a = from->graph->inputs[i], *b = to->graph->inputs[i];
        char *source = (char *)e->backend->input_slot(e->memory, slot) + from->plan->places[a->id].offset;
        char *target = (char *)e->backend->input_slot((*twin)->memory, 0) + to->plan->places[b->id].offset;
        memcpy(target, source, (size_t)dlt_value_bytes(b));
    }
    return DLT_OK;
}

static const char *what_it_does(const dlt_node *n)
{
    if (n->op == DLT_OP_EXPR) {
        const dlt_expr *e = n->attrs;
        return e->instr_count > 0 ? dlt_ew_name(e->instrs[e->instr_count - 1].op.op) : "sum";
    }
    return dlt_op_name(n->op);
}

/* ---- the data ---- */

/* The squares of larger values come near the end of float32, or lose everything else beside them. */
#define FAR_OUT 1e15

/* A value of a record: the first that is not finite, else the largest. */
typedef struct culprit {
    const dlt_view *view;
    const bool *parts; /* that are looked at */
    bool found, finite;
    size_t part;
    int64_t record, element;
    double value;
} culprit;

static dlt_status see_rows(void *context, const dlt_table *rows, dlt_diag *diag)
{
    culprit *c = context;
    (void)diag;
    for (size_t p = 0; p < rows->layout->count; p++) {
        const dlt_part *part = &rows->layout->parts[p];
        if (!c->parts[p]) {
            continue;
        }
        const int64_t width = dlt_shape_count(&part->shape), count = rows->rows * width;
        const bool table = part->type != DLT_COLUMN_TENSOR;
        for (int64_t i = 0; i < count; i++) {
            const double x = dlt_element_value(part->dtype, rows->columns[p], (size_t)i);
            if (table && isnan(x)) {
                continue; /* missing: FeatureSpace fills it in, anything else has refused it */
            }
            if (!c->found || (c->finite && (!isfinite(x) || fabs(x) > fabs(c->value)))) {
                *c = (culprit){.view = c->view,
                               .parts = c->parts,
                               .found = true,
                               .finite = isfinite(x),
                               .part = p,
                               .record = rows->row_numbers[i / width],
                               .element = i % width,
                               .value = x};
            }
        }
    }
    return DLT_OK;
}

/* Looks through a view for the culprit among the numbers of a role; `name`: in this column, if there is one.
 */
static dlt_status search(const dlt_session *s, const dlt_view *view, dlt_role role, const char *name,
                         culprit *c, dlt_diag *diag)
{
    const dlt_record_layout *layout = &dlt_dataset_frame(view->dataset)->layout;
    bool *parts = dlt_arena_alloc(s->arena, layout->count, sizeof *parts), named = false;
    if (parts == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t p = 0; p < layout->count; p++) {
        const dlt_part *part = &layout->parts[p];
        parts[p] = part->role == role && part->type != DLT_COLUMN_TEXT;
        named = named || (parts[p] && name != NULL && strcmp(part->name, name) == 0);
    }
    for (size_t p = 0; p < layout->count && named; p++) {
        parts[p] = parts[p] && strcmp(layout->parts[p].name, name) == 0;
    }
    *c = (culprit){.view = view, .parts = parts};
    return dlt_view_walk(view, parts, NULL, see_rows, c, diag);
}

/* "record 17 (row 16 of x.npy), column 1 is nan" */
static void describe(const culprit *c, dlt_buf *out)
{
    const dlt_part *part = &dlt_dataset_frame(c->view->dataset)->layout.parts[c->part];
    const char *path = dlt_dataset_part_path(c->view->dataset, c->part);
    char number[40];
    dlt_buf_printf(out, "record %lld", (long long)c->record + 1);
    if (path != NULL) {
        const char *slash = strrchr(path, '/');
        dlt_buf_printf(out, " (row %lld of %s)", (long long)c->record, slash != NULL ? slash + 1 : path);
    }
    if (part->type != DLT_COLUMN_TENSOR) {
        dlt_buf_printf(out, ", column %s", part->name);
    } else if (part->shape.rank == 1) {
        dlt_buf_printf(out, ", column %lld%s%s", (long long)c->element,
                       part->role != DLT_ROLE_FEATURE ? " of " : "",
                       part->role != DLT_ROLE_FEATURE ? part->name : "");
    } else {
        dlt_buf_printf(out, ", %s", part->name);
        int64_t below = dlt_shape_count(&part->shape), rest = c->element;
        for (int i = 0; i < part->shape.rank; i++) {
            below /= part->shape.dim[i];
            dlt_buf_printf(out, "%s%lld%s", i == 0 ? " [" : ", ", (long long)(rest / below),
                           i + 1 == part->shape.rank ? "]" : "");
            rest %= below;
        }
    }
    dlt_format_double(c->value, number, sizeof number);
    dlt_buf_printf(out, " is %s%s", number,
                   fabs(c->value) > (double)FLT_MAX && c->finite ? ", beyond float32" : "");
}

static void say_culprit(const char *before, const culprit *c, dlt_diag *diag)
{
    dlt_buf text = {0};
    describe(c, &text);
    dlt_note(diag, (dlt_pos){0}, "  %s: %s", before, dlt_buf_text(&text));
    dlt_buf_release(&text);
}

/*
 * Looks at what the loader put into the slot. *guilty: an input is not finite; the record's own value is
 * named, as the file has it.
 */
static dlt_status look_at_batch(const dlt_blame_options *o, bool *guilty, dlt_diag *diag)
{
    const dlt_session *s = o->session;
    const dlt_engine *e = s->engine;
    const dlt_compiled *c = &e->programs[o->program];
    const dlt_view *view = s->data != NULL ? dlt_datasets_view(s->data, DLT_TRAIN) : NULL;
    *guilty = false;
    if (view == NULL || o->batch == NULL) {
        return DLT_OK;
    }
    for (int i = 0; i < c->graph->input_count; i++) {
        const dlt_value *v = c->graph->inputs[i];
        const bool of_model = i < e->inputs->step.input_count;
        if (!dlt_dtype_is_real(v->type) || v->shape.rank == 0 || c->plan->places[v->id].bytes == 0 ||
            (!of_model && i != c->step.target && i != c->step.weight)) {
            continue;
        }
        const char *data =
            (const char *)e->backend->input_slot(e->memory, o->slot) + c->plan->places[v->id].offset;
        const int64_t width = dlt_shape_count(&v->shape) / v->shape.dim[0], count = o->batch->rows * width;
        for (int64_t k = 0; k < count; k++) {
            if (isfinite(dlt_element_value(v->type, data, (size_t)k))) {
                continue;
            }
            const dlt_view record = {
                .dataset = view->dataset, .count = 1, .first = o->batch->row_numbers[k / width]};
            const dlt_role role = of_model              ? DLT_ROLE_FEATURE
                                  : i == c->step.target ? DLT_ROLE_TARGET
                                                        : DLT_ROLE_WEIGHT;
            culprit found;
            DLT_TRY(search(s, &record, role, of_model ? e->inputs->step.inputs[i].name : NULL, &found, diag));
            if (found.found) {
                say_culprit("first bad value: the data", &found, diag);
                *guilty = true;
                return DLT_OK;
            }
        }
    }
    return DLT_OK;
}

/* What a layer has learned from the data is not finite: the value of train that did it. */
static dlt_status blame_learned(const dlt_blame_options *o, const dlt_node *n, bool *guilty, dlt_diag *diag)
{
    const dlt_view *view = dlt_datasets_view(o->session->data, DLT_TRAIN);
    culprit found;
    DLT_TRY(search(o->session, view, DLT_ROLE_FEATURE, NULL, &found, diag));
    *guilty = found.found && (!found.finite || fabs(found.value) > FAR_OUT);
    if (*guilty) {
        dlt_buf text = {0};
        dlt_buf_printf(&text, "first bad value: what %s has learned from the data", n->layer);
        say_culprit(dlt_buf_text(&text), &found, diag);
        dlt_buf_release(&text);
    }
    return DLT_OK;
}

/* ---- the graph ---- */

/* A table was asked for a row that it does not have: says which. */
static dlt_status blame_ids(dlt_engine *twin, const dlt_compiled *c, const dlt_node *n, bool *guilty, dlt_diag *diag)
{
    const dlt_value *ids = n->inputs[1];
    const int64_t rows = n->inputs[0]->shape.dim[0];
    const int64_t bytes = dlt_value_bytes(ids), count = bytes / (int64_t)dlt_dtype_size(ids->type);
    char *data = dlt_alloc((size_t)bytes);
    if (data == NULL) {
        return dlt_fail_memory(diag);
    }
    const dlt_status status = c->plan->places[ids->id].bytes > 0 || ids->node->op == DLT_OP_INPUT
                                  ? twin->backend->read_value(c->program, 0, ids, data, diag)
                                  : DLT_E_UNSUPPORTED;
    for (int64_t i = 0; i < count && status == DLT_OK && !*guilty; i++) {
        const double id = dlt_element_value(ids->type, data, (size_t)i);
        if (!(id >= 0 && id < (double)rows)) {
            *guilty = true;
            dlt_note(diag, n->pos,
                     "  first bad value: %s is asked for row %.0f; its table has rows 0 to %lld (input_dim %lld)",
                     n->layer != NULL && n->layer[0] != '\0' ? n->layer : "a table", id, (long long)rows - 1,
                     (long long)rows);
        }
    }
    dlt_free(data);
    return status == DLT_E_UNSUPPORTED ? DLT_OK : status;
}

static dlt_status name_culprit(dlt_engine *twin, const dlt_blame_options *o, bool *guilty, dlt_diag *diag)
{
    int at = -1;
    DLT_TRY(dlt_first_not_finite(twin, o->program, 0, &at, diag));
    if (at < 0) {
        dlt_note(diag, (dlt_pos){0},
                 "  run again without fusion, every value is finite: the sum of squares of the gradients "
                 "overflows; "
                 "clipvalue or a smaller loss helps");
        return DLT_OK;
    }
    const dlt_compiled *c = &twin->programs[o->program];
    const dlt_node *n = c->graph->nodes[at];
    if ((n->op == DLT_OP_CONST || n->op == DLT_OP_VAR) && n->layer != NULL && n->layer[0] != '\0' &&
        o->session->data != NULL) {
        DLT_TRY(blame_learned(o, n, guilty, diag));
        if (*guilty) {
            return DLT_OK;
        }
    }
    if (n->op == DLT_OP_GATHER) {
        DLT_TRY(blame_ids(twin, c, n, guilty, diag));
        if (*guilty) {
            return DLT_OK;
        }
    }
    double largest = 0;
    bool from_data = false;
    for (int k = 0; k < n->input_count; k++) {
        bool finite = true;
        double here = 0;
        DLT_TRY(look(twin, c, 0, n->inputs[k], &finite, &here, diag));
        largest = here > largest ? here : largest;
        from_data = from_data || n->inputs[k]->node->op == DLT_OP_INPUT;
    }
    char number[40];
    dlt_format_float((float)largest, number, sizeof number);
    dlt_note(diag, n->pos, "  first bad value: %s of %s%s, from its %s; operands up to %s",
             n->phase == DLT_PHASE_BACKWARD ? "the gradient" : "the output",
             n->layer != NULL && n->layer[0] != '\0' ? n->layer : "the loss",
             n->op == DLT_OP_INPUT || from_data ? " (which reads the data)" : "", what_it_does(n), number);
    return DLT_OK;
}

/* Finite values that are far out are worth a look, whichever node it was that they broke. */
static dlt_status name_far_out(const dlt_blame_options *o, dlt_diag *diag)
{
    const dlt_session *s = o->session;
    const dlt_view *view = s->data != NULL ? dlt_datasets_view(s->data, DLT_TRAIN) : NULL;
    culprit worst = {0};
    for (int64_t i = 0; view != NULL && o->batch != NULL && i < o->batch->rows; i++) {
        const dlt_view record = {.dataset = view->dataset, .count = 1, .first = o->batch->row_numbers[i]};
        for (dlt_role role = DLT_ROLE_FEATURE; role <= DLT_ROLE_TARGET; role++) {
            culprit here;
            DLT_TRY(search(s, &record, role, NULL, &here, diag));
            if (here.found && (!worst.found || fabs(here.value) > fabs(worst.value))) {
                worst = here;
                worst.view = view;
            }
        }
    }
    if (worst.found && fabs(worst.value) > FAR_OUT) {
        say_culprit("the largest value of the batch", &worst, diag);
    }
    return DLT_OK;
}

static void name_batch(const dlt_blame_options *o, dlt_diag *diag)
{
    const dlt_batch *b = o->batch;
    if (b == NULL || b->rows == 0) {
        return;
    }
    dlt_buf rows = {0};
    const int64_t shown = b->rows < 8 ? b->rows : 8;
    for (int64_t i = 0; i < shown; i++) {
        dlt_buf_printf(&rows, "%s%lld", i > 0 ? ", " : "", (long long)b->row_numbers[i]);
    }
    dlt_note(diag, (dlt_pos){0}, "  batch %lld of the pass: records %s%s (from 0)",
             (long long)b->cursor.batch + 1, dlt_buf_text(&rows), b->rows > shown ? ", ..." : "");
    dlt_buf_release(&rows);
}

static bool has_checkpoint(const char *run)
{
    dlt_checkpoint_folder *folder = NULL;
    int64_t *steps = NULL;
    size_t count = 0;
    char *path = dlt_path_join(run, "checkpoints");
    if (path != NULL && dlt_checkpoint_folder_open(path, &folder, NULL) == DLT_OK &&
        dlt_checkpoint_list(folder, &steps, &count, NULL) != DLT_OK) {
        count = 0;
    }
    dlt_free(steps);
    dlt_free(path);
    dlt_checkpoint_folder_close(folder);
    return count > 0;
}

dlt_status dlt_blame(const dlt_blame_options *o, dlt_diag *diag)
{
    double loss = (double)NAN, norm = (double)NAN;
    dlt_engine *twin = NULL, *e = o->session->engine;
    DLT_TRY(dlt_engine_scalar(e, o->program, o->slot, "loss", &loss, diag));
    DLT_TRY(dlt_engine_scalar(e, o->program, o->slot, "grad_norm", &norm, diag));
    char number[40];
    dlt_format_float((float)(isfinite(loss) ? norm : loss), number, sizeof number);
    dlt_fail(diag, DLT_E_NUMERIC, (dlt_pos){0},
             "%s became %s at epoch %lld, step %lld; the update was not applied",
             isfinite(loss) ? "the norm of the gradients" : "loss", number, (long long)o->epoch + 1,
             (long long)o->step + 1);
    bool guilty = false; /* the data are. What could not be found out is not worth another error */
    (void)look_at_batch(o, &guilty, diag);
    if (!guilty && dlt_plain_twin(o->session, o->program, o->slot, &twin, diag) == DLT_OK) {
        (void)name_culprit(twin, o, &guilty, diag);
    }
    dlt_engine_destroy(twin);
    name_batch(o, diag);
    if (!guilty) {
        (void)name_far_out(o, diag);
    }
    if (o->run != NULL && has_checkpoint(o->run)) {
        dlt_note(diag, (dlt_pos){0}, "  saved before the bad step: %s/checkpoints", o->run);
    }
    if (guilty) {
        dlt_note(
            diag, (dlt_pos){0},
            "  try: look at that record. What stands for a missing value belongs into a table, as an empty "
            "field or listed in `missing`, and FeatureSpace fills it in");
        return DLT_E_NUMERIC;
    }
    dlt_note(diag, (dlt_pos){0},
             "  try: normalised inputs (Normalization, FeatureSpace), the optimizer's clipnorm, a lower "
             "learning_rate");
    return DLT_E_NUMERIC;
}
