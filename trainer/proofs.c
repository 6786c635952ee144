/* trainer/proofs.c: proofs and tools on the user's own model. */
#include "trainer/proofs.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/linux_futex.h"
#include "base/rng.h"
#include "graph/passes.h"
#include "trainer/model.h"

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
/* Where elements lie at a kink, the weights are moved up to so often, each time by up to this times the
 * number of the place, of max(1, |weight|): far beyond the steps of the differences, and still the same
 * model. */
enum { MORE_PLACES = 4 };
#define MOVE 1e-2

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
 * max pooling) is stepped clear of. A kink in the very point shows in slopes that differ to its two sides; a
 * gradient between the two may be right, but nothing was compared then: *kink, and the row stays as it is.
 */
static dlt_status check_element(const prefix *p, const dlt_variable *v, int64_t i, double analytic,
                                double loss, dlt_gradcheck_row *row, bool *kink, dlt_diag *diag)
{
    const int64_t at = v->offset + i * (int64_t)sizeof(double);
    double w = 0, up = 0, down = 0, numeric = 0, error = (double)INFINITY;
    *kink = false;
    DLT_TRY(p->e->backend->read(p->e->memory, v->storage, at, &w, sizeof w, diag));
    for (double h = 1e-5; h >= 0.5e-8 && !(error <= GRADIENT_TOLERANCE); h /= 10) {
        const double above = w + h * fmax(1, fabs(w)), below = w - h * fmax(1, fabs(w));
        DLT_TRY(loss_at(p, v, at, above, &up, diag));
        DLT_TRY(loss_at(p, v, at, below, &down, diag));
        const double here = (up - down) / (above - below);
        if (!(error_of(analytic, here) >= error)) {
            numeric = here;
            error = error_of(analytic, here);
        }
        const double right = (up - loss) / (above - w), left = (loss - down) / (w - below);
        *kink = !(error <= GRADIENT_TOLERANCE) && analytic >= fmin(left, right) - GRADIENT_TOLERANCE &&
                analytic <= fmax(left, right) + GRADIENT_TOLERANCE;
    }
    DLT_TRY(p->e->backend->write(p->e->memory, v->storage, at, &w, sizeof w, diag));
    if (!*kink && (row->checked++ == 0 || !(error <= row->worst))) { /* a NaN counts as worst */
        row->worst = error;
        row->analytic = analytic;
        row->numeric = numeric;
        row->element = i;
    }
    return DLT_OK;
}

/* Elements of a weight that are still to be compared, and room for its gradient. */
typedef struct pending {
    int64_t *elements;
    int64_t count;
    double *gradient;
} pending;

/* Compares what is pending with the weights as they are; what lies at a kink stays pending. */
static dlt_status check_here(const prefix *p, const dlt_variable *v, pending *left, dlt_gradcheck_row *row,
                             dlt_diag *diag)
{
    const int64_t bytes = dlt_shape_count(&v->shape) * (int64_t)sizeof(double);
    double loss = 0;
    int64_t kept = 0;
    DLT_TRY(run_prefix(p, &loss, diag));
    DLT_TRY(p->e->backend->read(p->e->memory, DLT_GRAD, v->grad_offset, left->gradient, bytes, diag));
    for (int64_t k = 0; k < left->count; k++) {
        const int64_t i = left->elements[k];
        bool kink = false;
        DLT_TRY(check_element(p, v, i, left->gradient[i], loss, row, &kink, diag));
        if (kink) {
            left->elements[kept++] = i;
        }
    }
    left->count = kept;
    return DLT_OK;
}

static bool is_weight(const dlt_variable *v)
{
    return v->storage == DLT_PARAM && v->trainable;
}

/* Moves all weights a little from where they started, each element by another amount: biases that begin at 0
 * leave the kinks of relu, equal values of a pooling window part. place 0: back to the start. */
static dlt_status move_weights(const prefix *p, double *const *start, int place, dlt_diag *diag)
{
    const dlt_variables *all = p->e->variables;
    for (int i = 0; i < all->count; i++) {
        const dlt_variable *v = all->list[i];
        const int64_t count = dlt_shape_count(&v->shape);
        if (!is_weight(v)) {
            continue;
        }
        double *moved = dlt_alloc((size_t)count * sizeof *moved);
        if (moved == NULL) {
            return dlt_fail_memory(diag);
        }
        for (int64_t k = 0; k < count; k++) {
            const double w = start[i][k];
            const double by =
                2 * (double)dlt_random_uniform(0, (uint32_t)i, (uint64_t)place, (uint64_t)k) - 1;
            moved[k] = place == 0 ? w : w + MOVE * place * fmax(1, fabs(w)) * by;
        }
        const dlt_status status = p->e->backend->write(p->e->memory, v->storage, v->offset, moved,
                                                       count * (int64_t)sizeof *moved, diag);
        dlt_free(moved);
        DLT_TRY(status);
    }
    return DLT_OK;
}

static dlt_status check_weight(const prefix *p, const dlt_variable *v, int64_t per_weight,
                               double *const *start, dlt_gradcheck_row *row, dlt_diag *diag)
{
    const int64_t count = dlt_shape_count(&v->shape);
    const int64_t step = count > per_weight ? count / per_weight : 1;
    pending left = {.elements = dlt_alloc((size_t)(count / step + 1) * sizeof *left.elements),
                    .gradient = dlt_alloc((size_t)count * sizeof *left.gradient)};
    dlt_status status = left.elements != NULL && left.gradient != NULL ? DLT_OK : dlt_fail_memory(diag);
    for (int64_t i = 0; i < count && status == DLT_OK; i += step) {
        left.elements[left.count++] = i;
    }
    status = status == DLT_OK ? check_here(p, v, &left, row, diag) : status;
    for (int place = 1; place <= MORE_PLACES && left.count > 0 && status == DLT_OK; place++) {
        status = move_weights(p, start, place, diag);
        status = status == DLT_OK ? check_here(p, v, &left, row, diag) : status;
        status = status == DLT_OK ? move_weights(p, start, 0, diag) : status;
    }
    dlt_free(left.elements);
    dlt_free(left.gradient);
    row->kinks = left.count;
    row->good = row->checked == 0 || row->worst <= GRADIENT_TOLERANCE;
    return status;
}

/* By variable: the values of weights, NULL for others. In the arena. */
static dlt_status read_weights(const prefix *p, dlt_arena *arena, double ***start, dlt_diag *diag)
{
    const dlt_variables *all = p->e->variables;
    *start = dlt_arena_alloc(arena, (size_t)all->count, sizeof **start);
    if (*start == NULL) {
        return dlt_fail_memory(diag);
    }
    for (int i = 0; i < all->count; i++) {
        const dlt_variable *v = all->list[i];
        const int64_t count = dlt_shape_count(&v->shape);
        if (!is_weight(v)) {
            continue;
        }
        (*start)[i] = dlt_arena_alloc(arena, (size_t)count, sizeof(double));
        if ((*start)[i] == NULL) {
            return dlt_fail_memory(diag);
        }
        DLT_TRY(p->e->backend->read(p->e->memory, v->storage, v->offset, (*start)[i],
                                    count * (int64_t)sizeof(double), diag));
    }
    return DLT_OK;
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
    DLT_TRY(dlt_engine_init_variables(e, &s->fitted, false, diag));
    dlt_status status = dlt_load_batch(s, DLT_TRAIN, e->main, 0, &batch, &p.slot, &feed, diag);
    double **start = NULL;
    status = status == DLT_OK ? read_weights(&p, s->arena, &start, diag) : status;
    for (int i = 0; i < all->count && status == DLT_OK; i++) {
        const dlt_variable *v = all->list[i];
        if (is_weight(v)) {
            list[*count] = (dlt_gradcheck_row){.weight = v->path, .pos = v->pos};
            status = check_weight(&p, v, per_weight, start, &list[(*count)++], diag);
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

/* One step on the next batch; the batch stays held. */
static dlt_status time_one(dlt_session *s, dlt_feed *feed, int64_t step, dlt_batch *batch, double *seconds, double *loss,
                           bool *full, dlt_diag *diag)
{
    bool finite = true;
    DLT_TRY(dlt_loader_next(feed->loader, batch, diag));
    const int slot = feed->first_slot + (int)batch->slot;
    const dlt_run_program program = dlt_session_program(s, step, batch->rows);
    const int64_t start = dlt_clock_ns();
    DLT_TRY(dlt_engine_run(s->engine, program, slot, &finite, diag));
    *seconds = dlt_seconds_since(start);
    *full = batch->rows == s->batch;
    if (!finite) {
        return dlt_fail(diag, DLT_E_NUMERIC, (dlt_pos){0},
                        "step %lld: the loss or a gradient is not finite, and so nothing is updated; 'dltrain fit' says where it comes from",
                        (long long)step + 1);
    }
    return dlt_engine_scalar(s->engine, program, slot, "loss", loss, diag);
}

/* Of the loader, in seconds. */
static double waited(const dlt_feed *feed)
{
    return (double)dlt_loader_statistics(feed->loader).wait_ns * 1e-9;
}

static dlt_status time_whole(dlt_session *s, dlt_feed *feed, int64_t steps, dlt_batch *batch, dlt_timing *t, dlt_diag *diag)
{
    enum { WARM_UP = 3 };
    double *times = dlt_arena_alloc(s->arena, (size_t)steps, sizeof *times);
    double *losses = dlt_arena_alloc(s->arena, (size_t)steps + WARM_UP, sizeof *losses);
    if (times == NULL || losses == NULL) {
        return dlt_fail_memory(diag);
    }
    int64_t timed = 0, lesser = 0, start = dlt_clock_ns(); /* full batches from the front of `times`, lesser ones from its end */
    uint64_t allocs = 0, futexes = 0;
    double waited_before = 0;
    t->losses = losses;
    for (int64_t i = 0; i < steps + WARM_UP; i++) {
        bool full = false;
        double one;
        if (i == WARM_UP) {
            start = dlt_clock_ns();
            allocs = dlt_alloc_calls();
            futexes = dlt_futex_calls();
            waited_before = waited(feed);
        }
        if (i > 0) {
            dlt_loader_release(feed->loader, batch);
        }
        DLT_TRY(time_one(s, feed, i, batch, &one, &losses[i], &full, diag));
        t->loss_count++;
        if (i >= WARM_UP) {
            times[full ? timed++ : steps - ++lesser] = one;
        }
    }
    const double seconds = dlt_seconds_since(start);
    t->mean = seconds / (double)steps;
    t->waiting = (waited(feed) - waited_before) / seconds;
    t->allocations = (int64_t)(dlt_alloc_calls() - allocs);
    t->futex_calls = (int64_t)(dlt_futex_calls() - futexes);
    timed = timed > 0 ? timed : lesser;
    qsort(times, (size_t)timed, sizeof *times, by_value);
    t->step = times[timed / 2];
    t->fastest = times[0];
    t->slowest = times[timed - 1];
    return DLT_OK;
}

dlt_status dlt_time_steps(dlt_session *s, const dlt_time_options *o, dlt_timing *t, dlt_diag *diag)
{
    dlt_engine *e = s->engine;
    const dlt_compiled *c = &e->programs[e->main];
    dlt_feed feed = {0};
    dlt_batch batch = {0};
    *t = (dlt_timing){.steps = o->steps};
    DLT_TRY(dlt_engine_start(e, diag));
    DLT_TRY(dlt_engine_init_variables(e, &s->fitted, false, diag));
    if (o->weights != NULL) {
        DLT_TRY(dlt_weights_load(e, o->weights, s->arena, diag));
    }
    DLT_TRY(dlt_session_feed(s, DLT_TRAIN, e->main, (dlt_cursor){0, 0}, 0, &feed, diag));
    dlt_status status = time_whole(s, &feed, o->steps, &batch, t, diag);
    t->launches = e->backend->launches(c->program);
    t->peak = e->backend->peak != NULL ? e->backend->peak(e->device) : 0;
    for (int i = 0; i < c->graph->node_count; i++) {
        t->flops += dlt_node_flops(c->graph->nodes[i]);
    }
    if (status == DLT_OK && !o->whole) {
        status = time_nodes(s, c, feed.first_slot + (int)batch.slot, o->steps < 5 ? o->steps : 5, t, diag);
    }
    dlt_feed_close(&feed);
    return status;
}
