/* trainer/proofs.c: proofs and tools on the user's own model. */
#include "trainer/proofs.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/linux_futex.h"
#include "graph/passes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

dlt_status dlt_load_batch(dlt_session *s, dlt_set set, dlt_run_program program, int64_t skip,
                          dlt_batch *batch, int *slot, dlt_feed *feed, dlt_diag *diag)
{
    DLT_TRY(dlt_session_feed(s, set, program, (dlt_cursor){0, 0}, 0, feed, diag));
    for (int64_t i = 0;; i++) {
        DLT_TRY(dlt_loader_next(feed->loader, batch, diag));
        if (batch->rows == 0) {
            return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0}, "the data have fewer than %lld batches",
                            (long long)skip + 1);
        }
        if (i == skip) {
            break;
        }
        dlt_loader_release(feed->loader, batch);
    }
    *slot = feed->first_slot + (int)batch->slot;
    return DLT_OK;
}

/* ---- gradient check ---- */

/* Of max(1, |gradient|), in double. */
#define GRADIENT_TOLERANCE 1e-6

/* The program up to its guard: loss and gradients are there, nothing is written. */
typedef struct prefix {
    dlt_engine *e;
    const dlt_compiled *c;
    int slot, guard;
} prefix;

static dlt_status run_prefix(const prefix *p, double *loss, dlt_diag *diag)
{
    DLT_TRY(p->e->backend->run_nodes(p->c->program, p->slot, 0, p->guard, NULL, diag));
    return p->e->backend->read_value(p->c->program, p->slot, dlt_graph_output(p->c->graph, "loss"), loss,
                                     diag);
}

/* The loss with the element at `at` moved to `w`. */
static dlt_status loss_at(const prefix *p, const dlt_variable *v, int64_t at, double w, double *loss,
                          dlt_diag *diag)
{
    DLT_TRY(p->e->backend->write(p->e->memory, v->storage, at, &w, sizeof w, diag));
    return run_prefix(p, loss, diag);
}

static double error_of(double analytic, double numeric)
{
    return fabs(analytic - numeric) / fmax(1, fabs(analytic));
}

/*
 * A gradient that differs is looked at with smaller and smaller steps, so that a kink beside the point (relu,
 * max pooling) is stepped clear of; a kink in the very point shows in slopes that differ to its two sides,
 * and a gradient between the two is right there.
 */
static dlt_status check_element(const prefix *p, const dlt_variable *v, int64_t i, double analytic,
                                double loss, dlt_gradcheck_row *row, dlt_diag *diag)
{
    const int64_t at = v->offset + i * (int64_t)sizeof(double);
    double w = 0, up = 0, down = 0, numeric = 0, error = (double)INFINITY;
    bool kink = false;
    DLT_TRY(p->e->backend->read(p->e->memory, v->storage, at, &w, sizeof w, diag));
    for (double h = 1e-5; h >= 0.5e-7 && !(error <= GRADIENT_TOLERANCE) && !kink; h /= 10) {
        const double above = w + h * fmax(1, fabs(w)), below = w - h * fmax(1, fabs(w));
        DLT_TRY(loss_at(p, v, at, above, &up, diag));
        DLT_TRY(loss_at(p, v, at, below, &down, diag));
        const double here = (up - down) / (above - below);
        if (!(error_of(analytic, here) >= error)) {
            numeric = here;
            error = error_of(analytic, here);
        }
        const double right = (up - loss) / (above - w), left = (loss - down) / (w - below);
        kink = h < 0.5e-6 && analytic >= fmin(left, right) - GRADIENT_TOLERANCE &&
               analytic <= fmax(left, right) + GRADIENT_TOLERANCE;
    }
    DLT_TRY(p->e->backend->write(p->e->memory, v->storage, at, &w, sizeof w, diag));
    if (kink && !(error <= GRADIENT_TOLERANCE)) {
        row->kinks++;
        error = 0;
    }
    if (row->checked++ == 0 || !(error <= row->worst)) { /* a NaN counts as worst */
        row->worst = error;
        row->analytic = analytic;
        row->numeric = numeric;
        row->element = i;
    }
    return DLT_OK;
}

static dlt_status check_weight(const prefix *p, const dlt_variable *v, int64_t per_weight,
                               dlt_gradcheck_row *row, dlt_diag *diag)
{
    const int64_t count = dlt_shape_count(&v->shape);
    const int64_t step = count > per_weight ? count / per_weight : 1;
    double *gradient = dlt_alloc((size_t)count * sizeof *gradient);
    double loss = 0;
    if (gradient == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_status status = run_prefix(p, &loss, diag);
    status = status == DLT_OK ? p->e->backend->read(p->e->memory, DLT_GRAD, v->grad_offset, gradient,
                                                    count * (int64_t)sizeof *gradient, diag)
                              : status;
    for (int64_t i = 0; i < count && status == DLT_OK; i += step) {
        status = check_element(p, v, i, gradient[i], loss, row, diag);
    }
    dlt_free(gradient);
    row->good = row->worst <= GRADIENT_TOLERANCE;
    return status;
}

dlt_status dlt_gradcheck(dlt_session *s, int64_t per_weight, const dlt_gradcheck_row **rows, int *count,
                         dlt_diag *diag)
{
    dlt_engine *e = s->engine;
    prefix p = {.e = e, .c = &e->programs[e->main], .guard = -1};
    dlt_feed feed = {0};
    dlt_batch batch;
    const dlt_variables *all = e->variables;
    dlt_gradcheck_row *list = dlt_arena_alloc(s->arena, (size_t)all->count, sizeof *list);
    *rows = list;
    *count = 0;
    if (list == NULL) {
        return dlt_fail_memory(diag);
    }
    for (int i = 0; i < p.c->graph->node_count; i++) {
        p.guard = p.c->graph->nodes[i]->op == DLT_OP_GUARD ? i : p.guard;
    }
    DLT_TRY(dlt_engine_start(e, diag));
    DLT_TRY(dlt_engine_init_variables(e, &s->fitted, diag));
    dlt_status status = dlt_load_batch(s, DLT_TRAIN, e->main, 0, &batch, &p.slot, &feed, diag);
    for (int i = 0; i < all->count && status == DLT_OK; i++) {
        const dlt_variable *v = all->list[i];
        if (v->storage == DLT_PARAM && v->trainable) {
            list[*count] = (dlt_gradcheck_row){.weight = v->path, .pos = v->pos};
            status = check_weight(&p, v, per_weight, &list[(*count)++], diag);
        }
    }
    dlt_feed_close(&feed);
    return status;
}

/* ---- times ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static dlt_time_row *row_of(dlt_time_row *rows, int *count, const dlt_node *n)
{
    const char *layer = n->layer != NULL && n->layer[0] != '\0' ? n->layer
                        : n->phase == DLT_PHASE_UPDATE          ? "(update)"
                                                                : "(loss)";
    for (int i = 0; i < *count; i++) {
        if (strcmp(rows[i].layer, layer) == 0) {
            return &rows[i];
        }
    }
    rows[*count] = (dlt_time_row){.layer = layer, .pos = n->pos, .kernel = ""};
    return &rows[(*count)++];
}

static dlt_status time_nodes(dlt_session *s, const dlt_compiled *c, int slot, int64_t steps, dlt_timing *t,
                             dlt_diag *diag)
{
    const dlt_engine *e = s->engine;
    const int nodes = c->graph->node_count;
    double *seconds = dlt_arena_alloc(s->arena, (size_t)nodes, sizeof *seconds);
    double *most = dlt_arena_alloc(s->arena, (size_t)nodes, sizeof *most);
    dlt_time_row *rows = dlt_arena_alloc(s->arena, (size_t)nodes, sizeof *rows);
    if (seconds == NULL || most == NULL || rows == NULL) {
        return dlt_fail_memory(diag);
    }
    for (int64_t i = 0; i < steps; i++) {
        DLT_TRY(e->backend->run_nodes(c->program, slot, 0, nodes, seconds, diag));
    }
    t->count = 0;
    for (int i = 0; i < nodes; i++) {
        const dlt_node *n = c->graph->nodes[i];
        if (n->choice == NULL) {
            continue;
        }
        dlt_time_row *row = row_of(rows, &t->count, n);
        const double each = seconds[i] / (double)steps;
        double *part = n->phase == DLT_PHASE_FORWARD    ? &row->forward
                       : n->phase == DLT_PHASE_BACKWARD ? &row->backward
                                                        : &row->update;
        const dlt_choice *choice = n->choice;
        *part += each;
        row->flops += dlt_node_flops(n);
        row->bytes += (double)dlt_node_bytes(n);
        if (each >= most[row - rows] && choice->count > 0) {
            most[row - rows] = each;
            row->kernel = choice->candidates[choice->taken].name;
        }
    }
    t->rows = rows;
    return DLT_OK;
}

dlt_status dlt_time_step(dlt_session *s, int64_t steps, dlt_timing *t, dlt_diag *diag)
{
    dlt_engine *e = s->engine;
    const dlt_compiled *c = &e->programs[e->main];
    dlt_feed feed = {0};
    dlt_batch batch;
    int slot = 0;
    bool finite = true;
    double *times = dlt_arena_alloc(s->arena, (size_t)steps, sizeof *times);
    *t = (dlt_timing){.steps = steps};
    if (times == NULL) {
        return dlt_fail_memory(diag);
    }
    DLT_TRY(dlt_engine_start(e, diag));
    DLT_TRY(dlt_engine_init_variables(e, &s->fitted, diag));
    dlt_status status = dlt_load_batch(s, DLT_TRAIN, e->main, 0, &batch, &slot, &feed, diag);
    for (int i = 0; i < 3 && status == DLT_OK; i++) { /* warm-up */
        status = dlt_engine_run(e, e->main, slot, &finite, diag);
    }
    const uint64_t before = dlt_alloc_calls(), futex_before = dlt_futex_calls();
    for (int64_t i = 0; i < steps && status == DLT_OK; i++) {
        const int64_t start = dlt_clock_ns();
        status = dlt_engine_run(e, e->main, slot, &finite, diag);
        times[i] = dlt_seconds_since(start);
    }
    t->allocations = (int64_t)(dlt_alloc_calls() - before);
    t->futex_calls = (int64_t)(dlt_futex_calls() - futex_before);
    t->launches = e->backend->launches(c->program);
    if (status == DLT_OK) {
        qsort(times, (size_t)steps, sizeof *times, by_value);
        t->step = times[steps / 2];
        t->fastest = times[0];
        status = time_nodes(s, c, slot, steps < 5 ? steps : 5, t, diag);
    }
    dlt_feed_close(&feed);
    return status;
}
