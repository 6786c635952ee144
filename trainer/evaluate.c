/* trainer/evaluate.c: how good a model is on a set. */
#include "trainer/evaluate.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "io/data/convert.h"

#include <string.h>

enum { MAX_LOGS = 256 };

/* What is counted while batches go by. */
typedef struct counter {
    dlt_session *session;
    const dlt_compiled *program;
    const dlt_value *y;
    int64_t classes, row; /* row: predictions of one sample */
    char *data;           /* y of one batch */
    int64_t *confusion;
    int64_t samples;
} counter;

bool dlt_takes_logits(const dlt_item *loss)
{
    const int at = loss != NULL ? dlt_loss_of(loss)->from_logits : -1;
    return at >= 0 && loss->params != NULL && *(const bool *)((const char *)loss->params + at);
}

/* The class that predictions name: the largest of several, or one threshold at one half (0 for logits). */
static int64_t predicted(const counter *c, const char *y, int64_t i, int64_t outputs)
{
    if (outputs == 1) {
        return dlt_element_value(c->y->type, y, (size_t)i) >
               (dlt_takes_logits(c->session->spec->loss) ? 0.0 : 0.5);
    }
    int64_t best = 0;
    double most = dlt_element_value(c->y->type, y, (size_t)(i * outputs));
    for (int64_t k = 1; k < outputs; k++) {
        const double v = dlt_element_value(c->y->type, y, (size_t)(i * outputs + k));
        if (v > most) {
            most = v;
            best = k;
        }
    }
    return best;
}

static dlt_status count_batch(void *context, const dlt_batch *batch, int slot, dlt_diag *diag)
{
    counter *c = context;
    const dlt_engine *e = c->session->engine;
    c->samples += batch->rows;
    if (c->confusion == NULL) {
        return DLT_OK;
    }
    void *outputs[256];
    float *weights = NULL;
    dlt_engine_slot(e, DLT_RUN_EVALUATE, slot, outputs, &weights);
    const dlt_value *target = c->program->graph->inputs[c->program->step.target];
    const char *truth = outputs[c->session->inputs->step.input_count];
    const int64_t per_sample = dlt_shape_count(&target->shape) / target->shape.dim[0];
    const int64_t width = c->row / per_sample;
    DLT_TRY(e->backend->read_value(c->program->program, slot, c->y, c->data, diag));
    for (int64_t i = 0; i < batch->rows * per_sample; i++) {
        const int64_t is = (int64_t)dlt_element_value(target->type, truth, (size_t)i);
        const int64_t said = predicted(c, c->data, i, width);
        if (is >= 0 && is < c->classes && said < c->classes) {
            c->confusion[is * c->classes + said]++;
        }
    }
    return DLT_OK;
}

dlt_status dlt_evaluate(dlt_session *s, dlt_set set, const atomic_int *stop, dlt_evaluation *out,
                        dlt_diag *diag)
{
    const int64_t start = dlt_clock_ns();
    const dlt_signature *signature = s->signature;
    counter c = {.session = s, .program = &s->engine->programs[DLT_RUN_EVALUATE]};
    dlt_log_entry *values = dlt_arena_alloc(s->arena, MAX_LOGS, sizeof *values);
    *out = (dlt_evaluation){.values = values, .names = signature->class_names};
    c.y = dlt_graph_output(c.program->graph, "y");
    c.row = c.y != NULL ? dlt_shape_count(&c.y->shape) / c.y->shape.dim[0] : 0;
    const bool classes = c.program->step.target >= 0 && !dlt_dtype_is_real(s->inputs->step.target->type) &&
                         signature->class_count > 1 && signature->class_count <= DLT_CONFUSION_MOST;
    const int64_t per_sample =
        s->inputs->step.target != NULL ? dlt_shape_count(&s->inputs->step.target->shape) : 1;
    const int64_t width = per_sample > 0 ? c.row / per_sample : 0;
    if (classes && (width == 1 || width >= signature->class_count)) {
        c.classes = width == 1 ? 2 : width;
        c.confusion = dlt_arena_alloc(s->arena, (size_t)(c.classes * c.classes), sizeof *c.confusion);
        c.data = dlt_alloc((size_t)dlt_value_bytes(c.y));
        if (c.confusion == NULL || c.data == NULL) {
            dlt_free(c.data);
            return dlt_fail_memory(diag);
        }
    }
    dlt_status status =
        values != NULL ? dlt_session_evaluate(s, set, 0, stop, count_batch, &c, diag) : dlt_fail_memory(diag);
    dlt_free(c.data);
    DLT_TRY(status);
    DLT_TRY(dlt_engine_metrics(s->engine, false, values, MAX_LOGS, &out->count, diag));
    out->samples = c.samples;
    out->classes = c.confusion != NULL ? c.classes : 0;
    out->confusion = c.confusion;
    out->seconds = dlt_seconds_since(start);
    return DLT_OK;
}

dlt_class_figures dlt_class_figures_of(const dlt_evaluation *e, int64_t index)
{
    const int64_t n = e->classes;
    int64_t named = 0;
    dlt_class_figures f = {.taken_for = -1};
    for (int64_t k = 0; k < n; k++) {
        const int64_t here = e->confusion[index * n + k];
        f.count += here;
        named += e->confusion[k * n + index];
        if (k != index && here > f.taken_count) {
            f.taken_for = k;
            f.taken_count = here;
        }
    }
    const double right = (double)e->confusion[index * n + index];
    f.precision = named > 0 ? right / (double)named : 0;
    f.recall = f.count > 0 ? right / (double)f.count : 0;
    f.f1 = f.precision + f.recall > 0 ? 2 * f.precision * f.recall / (f.precision + f.recall) : 0;
    return f;
}
