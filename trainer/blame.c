/* trainer/blame.c: who made the first value that is not finite? */
#include "trainer/blame.h"

#include "base/alloc.h"
#include "base/text.h"
#include "io/data/convert.h"
#include "io/file.h"
#include "io/h5/checkpoint.h"
#include "trainer/culprit.h"
#include "trainer/kinds.h"

#include <math.h>
#include <string.h>

/* *bad is the first element of a real value that is not finite, else 0; *largest is the largest finite magnitude. */
static dlt_status look_for(dlt_engine *e, const dlt_compiled *c, int slot, const dlt_value *v, double *bad,
                           double *largest, dlt_diag *diag)
{
    const int64_t bytes = dlt_value_bytes(v), count = bytes / (int64_t)dlt_dtype_size(v->type);
    *bad = 0;
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
            *bad = isfinite(*bad) ? x : *bad;
        } else if (fabs(x) > *largest) {
            *largest = fabs(x);
        }
    }
    dlt_free(data);
    return status;
}

static dlt_status look(dlt_engine *e, const dlt_compiled *c, int slot, const dlt_value *v, bool *finite,
                       double *largest, dlt_diag *diag)
{
    double bad = 0;
    DLT_TRY(look_for(e, c, slot, v, &bad, largest, diag));
    *finite = isfinite(bad);
    return DLT_OK;
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

/*
 * Looks at what the loader put into the slot. *guilty: an input is not finite; the record's own value is
 * named, as the file has it.
 */
static dlt_status look_at_batch(const dlt_blame_options *o, bool *guilty, dlt_diag *diag)
{
    const dlt_session *s = o->session;
    const dlt_engine *e = s->engine;
    const dlt_compiled *c = &e->programs[o->program];
    const dlt_view *view = s->data != NULL ? dlt_datasets_view(s->data, o->set) : NULL;
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
            dlt_culprit found;
            DLT_TRY(dlt_culprit_find(s->arena, &record, role, of_model ? e->inputs->step.inputs[i].name : NULL, &found, diag));
            if (found.found && !isfinite((float)found.value)) { /* else it is its product with class_weight */
                dlt_culprit_say("first bad value: the data", &found, diag);
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
    dlt_culprit found;
    DLT_TRY(dlt_culprit_find(o->session->arena, view, DLT_ROLE_FEATURE, NULL, &found, diag));
    *guilty = found.found && (!found.finite || fabs(found.value) > DLT_FAR_OUT);
    if (*guilty) {
        dlt_buf text = {0};
        dlt_buf_printf(&text, "first bad value: what %s has learned from the data", n->layer);
        dlt_culprit_say(dlt_buf_text(&text), &found, diag);
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

static bool stands_in(const dlt_node *n, const char *layer)
{
    return n->layer != NULL && strcmp(n->layer, layer) == 0;
}

/*
 * What layers gave is finite, what the optimizer makes of it is not (squares overflow): names the largest gradient that it
 * read in the first `count` nodes.
 */
static dlt_status name_gradient(dlt_engine *twin, const dlt_compiled *c, int count, dlt_diag *diag)
{
    const dlt_node *worst = NULL;
    double most = 0;
    for (int i = 0; i < count; i++) {
        const dlt_node *n = c->graph->nodes[i];
        for (int k = 0; k < n->input_count && stands_in(n, "optimizer"); k++) {
            const dlt_value *g = n->inputs[k];
            bool finite = true;
            double largest = 0;
            if (g->node->phase != DLT_PHASE_BACKWARD || stands_in(g->node, "optimizer")) {
                continue;
            }
            DLT_TRY(look(twin, c, 0, g, &finite, &largest, diag));
            if (worst == NULL || largest > most) {
                worst = g->node;
                most = largest;
            }
        }
    }
    char number[40];
    dlt_format_float((float)most, number, sizeof number);
    dlt_note(diag, worst != NULL ? worst->pos : (dlt_pos){0},
             "  first bad value: the sum of squares of the gradients overflows; the largest is the gradient of %s, up to %s",
             worst != NULL && worst->layer != NULL && worst->layer[0] != '\0' ? worst->layer : "the loss", number);
    return DLT_OK;
}

static dlt_status name_culprit(dlt_engine *twin, const dlt_blame_options *o, bool *guilty, dlt_diag *diag)
{
    int at = -1;
    DLT_TRY(dlt_first_not_finite(twin, o->program, 0, &at, diag));
    const dlt_compiled *c = &twin->programs[o->program];
    if (at < 0 || stands_in(c->graph->nodes[at], "optimizer")) { /* at < 0: only the fused sum overflows */
        return name_gradient(twin, c, at < 0 ? c->graph->node_count : at + 1, diag);
    }
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
    const bool penalty = dlt_text_ends(n->layer != NULL ? n->layer : "", "/" DLT_PENALTY_SCOPE);
    const size_t length = n->layer != NULL ? strlen(n->layer) - (penalty ? strlen("/" DLT_PENALTY_SCOPE) : 0) : 0;
    dlt_note(diag, n->pos, "  first bad value: %s of %.*s%s, from its %s; operands up to %s",
             n->phase == DLT_PHASE_BACKWARD ? (penalty ? "the gradient of the penalty" : "the gradient")
             : penalty                      ? "the penalty"
                                            : "the output",
             length > 0 ? (int)length : (int)strlen("the loss"), length > 0 ? n->layer : "the loss",
             n->op == DLT_OP_INPUT || from_data ? " (which reads the data)" : "", what_it_does(n), number);
    return DLT_OK;
}

/* Finite values that are far out are worth a look, whichever node it was that they broke. */
static dlt_status name_far_out(const dlt_blame_options *o, dlt_diag *diag)
{
    const dlt_session *s = o->session;
    const dlt_view *view = s->data != NULL ? dlt_datasets_view(s->data, o->set) : NULL;
    dlt_culprit worst = {0};
    for (int64_t i = 0; view != NULL && o->batch != NULL && i < o->batch->rows; i++) {
        const dlt_view record = {.dataset = view->dataset, .count = 1, .first = o->batch->row_numbers[i]};
        for (dlt_role role = DLT_ROLE_FEATURE; role <= DLT_ROLE_WEIGHT; role++) {
            dlt_culprit here;
            DLT_TRY(dlt_culprit_find(s->arena, &record, role, NULL, &here, diag));
            if (here.found && (!worst.found || fabs(here.value) > fabs(worst.value))) {
                worst = here;
                worst.view = view;
            }
        }
    }
    if (worst.found && fabs(worst.value) > DLT_FAR_OUT) {
        dlt_culprit_say("the largest value of the batch", &worst, diag);
    }
    return DLT_OK;
}

static void name_batch(const dlt_blame_options *o, dlt_diag *diag)
{
    static const char *const of[] = {[DLT_TRAIN] = "the pass", [DLT_VALIDATION] = "validation", [DLT_TEST] = "test"};
    const dlt_batch *b = o->batch;
    if (b == NULL || b->rows == 0) {
        return;
    }
    dlt_buf rows = {0};
    const int64_t shown = b->rows < 8 ? b->rows : 8;
    for (int64_t i = 0; i < shown; i++) {
        dlt_buf_printf(&rows, "%s%lld", i > 0 ? ", " : "", (long long)b->row_numbers[i] + 1);
    }
    dlt_note(diag, (dlt_pos){0}, "  batch %lld of %s: records %s%s",
             (long long)b->cursor.batch + 1, of[o->set], dlt_buf_text(&rows), b->rows > shown ? ", ..." : "");
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

/* What a layer was to keep, where loss and gradients are finite: the node that made it not finite; NULL: none. */
static dlt_status bad_state(const dlt_blame_options *o, const dlt_node **maker, double *value, dlt_diag *diag)
{
    dlt_engine *e = o->session->engine;
    const dlt_compiled *c = &e->programs[o->program];
    *maker = NULL;
    for (int i = 0; i < c->graph->node_count; i++) {
        const dlt_node *n = c->graph->nodes[i];
        for (int k = 0; k < n->input_count && n->op == DLT_OP_GUARD && *maker == NULL; k++) {
            double largest = 0;
            DLT_TRY(look_for(e, c, o->slot, n->inputs[k], value, &largest, diag));
            *maker = isfinite(*value) ? NULL : n->inputs[k]->node;
        }
    }
    return DLT_OK;
}

/* The headline: what the guard has seen. */
static dlt_status say_what_became(const dlt_blame_options *o, dlt_diag *diag)
{
    double loss = (double)NAN, norm = (double)NAN, bad = (double)NAN;
    const dlt_node *state = NULL;
    dlt_engine *e = o->session->engine;
    char number[40];
    DLT_TRY(dlt_engine_scalar(e, o->program, o->slot, "loss", &loss, diag));
    DLT_TRY(dlt_engine_scalar(e, o->program, o->slot, "grad_norm", &norm, diag));
    if (isfinite(loss) && isfinite(norm)) {
        DLT_TRY(bad_state(o, &state, &bad, diag));
    }
    dlt_format_float((float)(state != NULL ? bad : isfinite(loss) ? norm : loss), number, sizeof number);
    const bool named = state != NULL && state->layer != NULL && state->layer[0] != '\0';
    (void)dlt_fail(diag, DLT_E_NUMERIC, (dlt_pos){0}, "%s%s became %s at epoch %lld, step %lld; the update was not applied",
                   state != NULL ? "a moving statistic of " : "",
                   named            ? state->layer
                   : state != NULL  ? "a layer"
                   : isfinite(loss) ? "the norm of the gradients"
                                    : "loss",
                   number, (long long)o->epoch + 1, (long long)o->step + 1);
    return DLT_OK;
}

/* The same where loss, gradients and state were finite and the update itself was not: it has been applied. */
static dlt_status say_update(const dlt_blame_options *o, dlt_diag *diag)
{
    const dlt_variable *weight = o->updated->part != NULL ? o->updated->part : o->updated->variable;
    double rate = (double)NAN, norm = (double)NAN;
    dlt_engine *e = o->session->engine;
    char rate_text[40], norm_text[40];
    DLT_TRY(dlt_engine_scalar(e, o->program, o->slot, "learning_rate", &rate, diag));
    DLT_TRY(dlt_engine_scalar(e, o->program, o->slot, "grad_norm", &norm, diag));
    dlt_format_float((float)rate, rate_text, sizeof rate_text);
    dlt_format_float((float)norm, norm_text, sizeof norm_text);
    (void)dlt_fail(diag, DLT_E_NUMERIC, (dlt_pos){0},
                   "the update of epoch %lld, step %lld is not finite, though loss and gradients are; its weights are not kept",
                   (long long)o->epoch + 1, (long long)o->step + 1);
    dlt_note(diag, weight->pos, "  first bad value: %s %s, from the update: learning_rate %s, norm of the gradients %s",
             o->updated->variable == weight ? "the new" : "what the optimizer keeps of", weight->path, rate_text, norm_text);
    return DLT_OK;
}

/* What the data or a layer did: the notes below the headline. *guilty: the data. */
static void name_first(const dlt_blame_options *o, bool *guilty, dlt_diag *diag)
{
    dlt_engine *twin = NULL;
    /* what could not be found out is not worth another error */
    (void)look_at_batch(o, guilty, diag);
    if (!*guilty && dlt_plain_twin(o->session, o->program, o->slot, &twin, diag) == DLT_OK) {
        (void)name_culprit(twin, o, guilty, diag);
    }
    dlt_engine_destroy(twin);
}

dlt_status dlt_blame(const dlt_blame_options *o, dlt_diag *diag)
{
    bool guilty = false;
    DLT_TRY(o->updated != NULL ? say_update(o, diag) : say_what_became(o, diag));
    if (o->updated == NULL) {
        name_first(o, &guilty, diag);
    }
    name_batch(o, diag);
    if (!guilty) {
        (void)name_far_out(o, diag);
    }
    if (o->run != NULL && has_checkpoint(o->run)) {
        dlt_note(diag, (dlt_pos){0}, "  saved before the bad step: %s/checkpoints", o->run);
    }
    dlt_note(diag, (dlt_pos){0}, "  try: %s",
             guilty ? "look at that record. What stands for a missing value belongs into a table, as an empty "
                      "field or listed in `missing`, and FeatureSpace fills it in"
             : o->updated != NULL
                 ? "a lower learning_rate, the optimizer's clipnorm"
                 : "normalised inputs (Normalization, FeatureSpace), the optimizer's clipnorm, a lower learning_rate");
    return DLT_E_NUMERIC;
}

dlt_status dlt_blame_evaluation(const dlt_blame_options *o, dlt_diag *diag)
{
    bool guilty = false;
    DLT_TRY(look_at_batch(o, &guilty, diag));
    name_batch(o, diag);
    return guilty ? DLT_OK : name_far_out(o, diag);
}

/* ---- the update ---- */

dlt_status dlt_update_look(const dlt_session *s, dlt_run_program program, int slot, const dlt_saved **bad, dlt_diag *diag)
{
    dlt_engine *e = s->engine;
    const dlt_saved *list = NULL;
    int count = 0;
    double sum = 0;
    *bad = NULL;
    if (dlt_graph_output(e->programs[program].graph, "update_sum") == NULL) {
        return DLT_OK; /* it only adds gradients up */
    }
    DLT_TRY(dlt_engine_scalar(e, program, slot, "update_sum", &sum, diag));
    if (isfinite(sum)) {
        return DLT_OK;
    }
    DLT_TRY(dlt_saved_list(e->arena, e->variables, s->spec->optimizer, DLT_SAVED_WEIGHTS | DLT_SAVED_OPTIMIZER, &list,
                           &count, diag));
    for (int i = 0; i < count && *bad == NULL; i++) {
        const dlt_dtype type = list[i].variable->type;
        const size_t elements = (size_t)dlt_shape_count(&list[i].shape);
        char *data = dlt_alloc(elements * dlt_dtype_size(type));
        const dlt_status status = data != NULL ? dlt_engine_read(e, &list[i], data, diag) : dlt_fail_memory(diag);
        for (size_t k = 0; k < elements && status == DLT_OK && dlt_dtype_is_real(type) && *bad == NULL; k++) {
            *bad = isfinite(dlt_element_value(type, data, k)) ? NULL : &list[i];
        }
        dlt_free(data);
        DLT_TRY(status);
    }
    return DLT_OK; /* all are finite: only their sum is not */
}
