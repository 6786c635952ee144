/* trainer/blame.c: who made the first value that is not finite? */
#include "trainer/blame.h"

#include "base/alloc.h"
#include "io/data/convert.h"

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

static dlt_status name_culprit(dlt_engine *twin, const dlt_blame_options *o, dlt_diag *diag)
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
    const dlt_status status = dlt_plain_twin(o->session, o->program, o->slot, &twin, diag);
    if (status == DLT_OK) {
        (void)name_culprit(twin, o, diag); /* what it could not find out is not worth another error */
    }
    dlt_engine_destroy(twin);
    name_batch(o, diag);
    if (o->run != NULL) {
        dlt_note(diag, (dlt_pos){0}, "  saved before the bad step: %s/checkpoints", o->run);
    }
    dlt_note(diag, (dlt_pos){0},
             "  try: normalised inputs (Normalization, FeatureSpace), the optimizer's clipnorm, a lower "
             "learning_rate");
    return DLT_E_NUMERIC;
}
