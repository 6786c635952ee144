/* trainer/debug.c: one training step, looked at node by node. */
#include "trainer/debug.h"

#include "base/alloc.h"
#include "io/data/convert.h"
#include "trainer/blame.h"

#include <math.h>
#include <string.h>

static dlt_value_figures figures_of(dlt_dtype type, const char *data, int64_t count, double *norm)
{
    dlt_value_figures f = {.count = count, .min = (double)NAN, .max = (double)NAN};
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < count; i++) {
        const double x = dlt_element_value(type, data, (size_t)i);
        squares += x * x;
        if (!isfinite(x)) {
            f.bad++;
            continue;
        }
        f.zeros += x == 0;
        sum += x;
        f.min = !(x >= f.min) ? x : f.min;
        f.max = !(x <= f.max) ? x : f.max;
    }
    f.mean = count > f.bad ? sum / (double)(count - f.bad) : (double)NAN;
    if (norm != NULL) {
        *norm = sqrt(squares);
    }
    return f;
}

/* One step of the session's own engine. */
static dlt_status train_on(dlt_session *s, dlt_feed *feed, int64_t done, dlt_diag *diag)
{
    dlt_batch batch;
    bool finite = true;
    DLT_TRY(dlt_loader_next(feed->loader, &batch, diag));
    const dlt_status status = dlt_engine_run(s->engine, dlt_session_program(s, done, batch.rows),
                                             feed->first_slot + (int)batch.slot, &finite, diag);
    dlt_loader_release(feed->loader, &batch);
    if (status == DLT_OK && !finite) {
        return dlt_fail(diag, DLT_E_NUMERIC, (dlt_pos){0},
                        "step %lld is not finite already: look at it with --step %lld", (long long)done + 1,
                        (long long)done + 1);
    }
    return status;
}

/* Does another layer's backward pass read what this node made? The gradients of weights go to the optimizer
 * alone. */
static bool goes_on(const dlt_graph *g, const dlt_node *n)
{
    for (int i = n->id + 1; i < g->node_count; i++) {
        const dlt_node *user = g->nodes[i];
        const bool other = user->layer == NULL || n->layer == NULL || strcmp(user->layer, n->layer) != 0;
        for (int k = 0; k < user->input_count && other && user->phase == n->phase; k++) {
            if (user->inputs[k]->node == n && user->op != DLT_OP_FLAT) {
                return true;
            }
        }
    }
    return false;
}

static bool is_given(const dlt_debug_row *row)
{
    return strcmp(row->op, dlt_op_name(DLT_OP_VAR)) == 0 || strcmp(row->op, dlt_op_name(DLT_OP_CONST)) == 0;
}

/* A layer's result is the last of what it computed that another one reads; where nothing is read, the last.
 */
static void mark_results(const dlt_graph *g, dlt_debug_row *rows, int count)
{
    for (int i = 0; i < count; i++) {
        const bool on = goes_on(g, g->nodes[rows[i].node]);
        bool last = !is_given(&rows[i]), better = false; /* better: another row goes on, this one does not */
        for (int k = 0; k < count && last; k++) {
            if (k == i || is_given(&rows[k]) || rows[k].phase != rows[i].phase ||
                strcmp(rows[k].layer, rows[i].layer) != 0) {
                continue;
            }
            const bool k_on = goes_on(g, g->nodes[rows[k].node]);
            better = better || (k_on && !on);
            last = !better && !(k > i && k_on == on);
        }
        rows[i].last_of_layer = last;
    }
}

static dlt_status look_at_values(dlt_session *s, dlt_engine *twin, dlt_run_program program,
                                 dlt_debug_report *r, dlt_diag *diag)
{
    const dlt_compiled *c = &twin->programs[program];
    dlt_debug_row *rows = dlt_arena_alloc(s->arena, (size_t)c->graph->node_count, sizeof *rows);
    r->values = rows;
    r->first_bad = -1;
    if (rows == NULL) {
        return dlt_fail_memory(diag);
    }
    for (int i = 0; i < c->graph->node_count; i++) {
        const dlt_node *n = c->graph->nodes[i];
        if (n->op == DLT_OP_GUARD || (dlt_op_flags(n->op) & DLT_OP_WRITES) != 0) {
            break;
        }
        DLT_TRY(twin->backend->run_nodes(c->program, 0, i, i + 1, NULL, diag));
        if (n->output_count == 0 || c->plan->places[n->outputs[0]->id].bytes == 0) {
            continue;
        }
        const dlt_value *v = n->outputs[0];
        char *data = dlt_alloc((size_t)dlt_value_bytes(v));
        const dlt_status status =
            data != NULL ? twin->backend->read_value(c->program, 0, v, data, diag) : dlt_fail_memory(diag);
        if (status == DLT_OK) {
            rows[r->count] =
                (dlt_debug_row){.node = i,
                                .layer = n->layer != NULL ? n->layer : "",
                                .op = dlt_op_name(n->op),
                                .pos = n->pos,
                                .phase = n->phase,
                                .type = v->type,
                                .shape = v->shape,
                                .figures = figures_of(v->type, data, dlt_shape_count(&v->shape), NULL)};
            if (rows[r->count].figures.bad > 0 && r->first_bad < 0) {
                r->first_bad = r->count;
            }
            r->count++;
        }
        dlt_free(data);
        DLT_TRY(status);
    }
    mark_results(c->graph, rows, r->count);
    return DLT_OK;
}

static dlt_status look_at_weights(dlt_session *s, dlt_engine *twin, dlt_debug_report *r, dlt_diag *diag)
{
    const dlt_variables *all = twin->variables;
    dlt_debug_weight *list = dlt_arena_alloc(s->arena, (size_t)all->count, sizeof *list);
    r->weights = list;
    if (list == NULL) {
        return dlt_fail_memory(diag);
    }
    for (int i = 0; i < all->count; i++) {
        const dlt_variable *v = all->list[i];
        if (v->storage != DLT_PARAM || !v->trainable) {
            continue;
        }
        const int64_t count = dlt_shape_count(&v->shape), bytes = count * (int64_t)dlt_dtype_size(v->type);
        char *data = dlt_alloc((size_t)bytes);
        dlt_debug_weight *w = &list[r->weight_count++];
        *w = (dlt_debug_weight){.path = v->path, .pos = v->pos};
        dlt_status status = data != NULL
                                ? twin->backend->read(twin->memory, v->storage, v->offset, data, bytes, diag)
                                : dlt_fail_memory(diag);
        if (status == DLT_OK) {
            w->weight = figures_of(v->type, data, count, &w->weight_norm);
            status = twin->backend->read(twin->memory, DLT_GRAD, v->grad_offset, data, bytes, diag);
        }
        if (status == DLT_OK) {
            w->gradient = figures_of(v->type, data, count, &w->gradient_norm);
        }
        dlt_free(data);
        DLT_TRY(status);
    }
    return DLT_OK;
}

dlt_status dlt_debug_step(dlt_session *s, dlt_cursor cursor, int64_t done, int64_t step,
                          const atomic_int *stop, dlt_debug_report *r, dlt_diag *diag)
{
    dlt_feed feed = {0};
    dlt_batch batch;
    dlt_engine *twin = NULL;
    *r = (dlt_debug_report){.step = step, .first_bad = -1};
    DLT_TRY(dlt_session_feed(s, DLT_TRAIN, s->engine->main, cursor, 0, &feed, diag));
    dlt_status status = DLT_OK;
    for (; done < step && status == DLT_OK; done++) {
        status = stop != NULL && atomic_load_explicit(stop, memory_order_relaxed) != 0
                     ? DLT_E_STOPPED
                     : train_on(s, &feed, done, diag);
    }
    status = status == DLT_OK ? dlt_loader_next(feed.loader, &batch, diag) : status;
    if (status == DLT_OK) {
        const dlt_run_program program = dlt_session_program(s, done, batch.rows);
        uint64_t *records = dlt_arena_alloc(s->arena, (size_t)batch.rows, sizeof *records);
        status = records != NULL ? dlt_plain_twin(s, program, feed.first_slot + (int)batch.slot, &twin, diag)
                                 : dlt_fail_memory(diag);
        for (int64_t i = 0; status == DLT_OK && i < batch.rows; i++) {
            records[i] = (uint64_t)batch.row_numbers[i];
        }
        r->rows = batch.rows;
        r->records = records;
        status = status == DLT_OK ? look_at_values(s, twin, program, r, diag) : status;
        status = status == DLT_OK ? look_at_weights(s, twin, r, diag) : status;
        status = status == DLT_OK ? dlt_engine_scalar(twin, program, 0, "loss", &r->loss, diag) : status;
        dlt_loader_release(feed.loader, &batch);
    }
    dlt_engine_destroy(twin);
    dlt_feed_close(&feed);
    return status;
}
