/* backend/cpu/ref_rnn.c: RNN and its gradient: all steps are projected first, then the step body is interpreted once a step
 * (serial.c), for the whole batch on one thread.
 *
 * A masked row keeps its states; its output repeats the last one, which is state 0 as it was kept (so before the first step
 * the initial state), or is 0 (zero_masked). `saved` holds the states after each step in processing order: for each step all
 * states, one after the other, (B, units of the state) each. */
#include "backend/cpu/ref.h"

#include <string.h>

enum { MOST_STATES = 8, MOST_PARAMS = 24, ALIGN = 64 };

typedef struct rnn {
    const dlt_rnn_attrs *attrs;
    dlt_dtype type;
    int64_t batch, steps, channels, width; /* B, T, C, P */
    int64_t state_width[MOST_STATES];
    int states, params;
    /* places among the operands of RNN, counted from its first; -1: not there */
    int kernel, bias, param, mask, initial, inputs;
    int64_t row_bytes[MOST_STATES]; /* of a state, (B, width) */
    int64_t step_bytes;             /* of all states */
} rnn;

/* first: the operand of the node that is the RNN's x. */
static rnn rnn_of(const dlt_node *n, int first)
{
    const dlt_rnn_attrs *attrs = n->attrs;
    const dlt_graph *body = attrs->body.graph;
    const dlt_shape *x = &n->inputs[first]->shape;
    rnn r = {.attrs = attrs,
             .type = n->inputs[first]->type,
             .batch = x->dim[0],
             .steps = x->dim[1],
             .channels = x->dim[2],
             .width = body->inputs[0]->shape.dim[1],
             .states = attrs->body.states,
             .params = attrs->body.params};
    int at = 1;
    r.kernel = attrs->has_kernel ? at++ : -1;
    r.bias = attrs->has_bias ? at++ : -1;
    r.param = at;
    at += r.params;
    r.mask = attrs->has_mask ? at++ : -1;
    r.initial = attrs->has_initial ? at : -1;
    r.inputs = at + (attrs->has_initial ? r.states : 0);
    for (int i = 0; i < r.states && i < MOST_STATES; i++) {
        r.state_width[i] = body->inputs[1 + i]->shape.dim[1];
        r.row_bytes[i] = r.batch * r.state_width[i] * (int64_t)dlt_dtype_size(r.type);
        r.step_bytes += r.row_bytes[i];
    }
    return r;
}

static int first_operand(const dlt_node *n)
{
    const dlt_rnn_attrs *attrs = n->attrs;
    return n->op == DLT_OP_RNN ? 0 : (int)attrs->has_dy + (int)attrs->has_dlast;
}

static const char *declines(const dlt_cpu_query *query)
{
    const dlt_rnn_attrs *attrs = query->node->attrs;
    const dlt_value *x = query->node->inputs[first_operand(query->node)];
    const dlt_graph *body = attrs->body.graph;
    if (attrs->body.states < 1 || attrs->body.states > MOST_STATES || attrs->body.params > MOST_PARAMS) {
        return "too many states or parameters";
    }
    if (x->type != DLT_F32 && x->type != DLT_F64) {
        return "needs float32 or float64";
    }
    if (body->real != x->type || body->inputs[0]->shape.dim[0] != x->shape.dim[0]) {
        return "the step body was built for another batch or type";
    }
    return dlt_ref_needs_one_type(query);
}

/* Which step of x is processed at t. */
static int64_t time_of(const rnn *r, int64_t t)
{
    return r->attrs->backwards ? r->steps - 1 - t : t;
}

static bool is_masked(const rnn *r, const uint8_t *mask, int64_t b, int64_t t)
{
    return mask != NULL && mask[b * r->steps + time_of(r, t)] == 0;
}

static int64_t aligned(int64_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* Projected steps, (T, B, P) in processing order. */
static int64_t projected_bytes(const rnn *r)
{
    return aligned(r->steps * r->batch * r->width * (int64_t)dlt_dtype_size(r->type));
}

/* One row of the projection: row t B + b of `to` = x[b, time] kernel + bias. Rows that are masked are 0: nobody needs them,
 * and what stands in the padding of x must not reach the gradients. */
DLT_REF_INLINE void project(const rnn *r, const void *const *in, void *to, int64_t row, double *sums, const dlt_dtype type)
{
    const int64_t t = row / r->batch, b = row % r->batch, from = (b * r->steps + time_of(r, t)) * r->channels;
    const bool masked = is_masked(r, r->mask >= 0 ? in[r->mask] : NULL, b, t);
    for (int64_t p = 0; p < r->width; p++) {
        sums[p] = masked ? 0 : r->kernel < 0 ? dlt_ref_get(in[0], type, from + p) : 0;
    }
    for (int64_t c = 0; c < r->channels && r->kernel >= 0 && !masked; c++) {
        const double x = dlt_ref_get(in[0], type, from + c);
        for (int64_t p = 0; p < r->width; p++) {
            sums[p] += x * dlt_ref_get(in[r->kernel], type, c * r->width + p);
        }
    }
    for (int64_t p = 0; p < r->width; p++) {
        const double bias = r->bias >= 0 && !masked ? dlt_ref_get(in[r->bias], type, p) : 0;
        dlt_ref_put(to, type, row * r->width + p, sums[p] + bias);
    }
}

DLT_REF_INLINE void project_rows(const rnn *r, const void *const *in, void *to, dlt_ref_range rows, double *sums,
                                 const dlt_dtype type)
{
    for (int64_t row = rows.first; row < rows.end; row++) {
        project(r, in, to, row, sums, type);
    }
}

/* Bytes of sums that each task of the projection has in workspace. */
static int64_t sums_bytes(const rnn *r)
{
    return aligned(r->width * (int64_t)sizeof(double));
}

/* Row b of a state that is laid out (B, width) at `at`. */
static void copy_row(const rnn *r, int state, void *to, const void *from, int64_t b)
{
    const size_t bytes = (size_t)(r->row_bytes[state] / (r->batch > 0 ? r->batch : 1));
    memcpy((char *)to + b * (int64_t)bytes, (const char *)from + b * (int64_t)bytes, bytes);
}

/* States before the first step, one after the other. */
static void initial_states(const rnn *r, const void *const *in, char *states)
{
    for (int i = 0; i < r->states; i++) {
        if (r->initial >= 0) {
            memcpy(states, in[r->initial + i], (size_t)r->row_bytes[i]);
        } else {
            memset(states, 0, (size_t)r->row_bytes[i]);
        }
        states += r->row_bytes[i];
    }
}

/* ---- RNN ---- */

typedef struct prepared {
    const dlt_cpu_serial *body;
    int64_t sums, states, next, memory; /* places in workspace, behind the projected steps */
} prepared;

static bool prepare_rnn(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const rnn r = rnn_of(query->node, 0);
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    p->body = dlt_cpu_serial_create(r.attrs->body.graph, query->arena, query->diag);
    if (p->body == NULL) {
        return false;
    }
    dlt_ref_phase(schedule, r.steps * r.batch, 2 * (double)r.channels * (double)r.width);
    dlt_ref_phase(schedule, 1, 0);
    p->sums = projected_bytes(&r);
    p->states = p->sums + schedule->tasks[0] * sums_bytes(&r);
    p->next = p->states + aligned(r.step_bytes);
    p->memory = p->next + aligned(r.step_bytes);
    schedule->workspace_bytes = p->memory + dlt_cpu_serial_bytes(p->body);
    schedule->opaque_bytes = r.steps * r.step_bytes;
    schedule->prepared = p;
    return true;
}

/* Output of step t: state 0, or 0 where the row is masked. */
static void put_output(const rnn *r, const uint8_t *mask, char *y, const char *state, int64_t t)
{
    const int64_t bytes = r->state_width[0] * (int64_t)dlt_dtype_size(r->type);
    for (int64_t b = 0; b < r->batch; b++) {
        char *to = y + (b * r->steps + t) * bytes;
        if (r->attrs->zero_masked && is_masked(r, mask, b, t)) {
            memset(to, 0, (size_t)bytes);
        } else {
            memcpy(to, state + b * bytes, (size_t)bytes);
        }
    }
}

static void run_steps(const dlt_cpu_call *call, const rnn *r)
{
    const prepared *p = call->prepared;
    char *work = call->workspace, *states = work + p->states, *next = work + p->next;
    const uint8_t *mask = r->mask >= 0 ? call->in[r->mask] : NULL;
    const int64_t projected = r->batch * r->width * (int64_t)dlt_dtype_size(r->type);
    const void *in[1 + MOST_STATES + MOST_PARAMS];
    void *out[MOST_STATES];
    char *at[MOST_STATES];
    initial_states(r, call->in, states);
    for (int64_t i = 0, offset = 0; i < r->states; offset += r->row_bytes[i++]) {
        at[i] = states + offset;
        in[1 + i] = at[i];
        out[i] = next + offset;
    }
    for (int i = 0; i < r->params; i++) {
        in[1 + r->states + i] = call->in[r->param + i];
    }
    for (int64_t t = 0; t < r->steps; t++) {
        in[0] = work + t * projected;
        dlt_cpu_serial_run(p->body, work + p->memory, call->scratch, in, out);
        for (int64_t b = 0; b < r->batch; b++) {
            for (int i = 0; i < r->states && !is_masked(r, mask, b, t); i++) {
                copy_row(r, i, at[i], out[i], b);
            }
        }
        if (call->out[0] != NULL) {
            put_output(r, mask, call->out[0], states, t);
        }
        if (call->out[2] != NULL) {
            memcpy((char *)call->out[2] + t * r->step_bytes, states, (size_t)r->step_bytes);
        }
    }
    if (call->out[1] != NULL) {
        memcpy(call->out[1], states, (size_t)r->row_bytes[0]);
    }
}

static void run_rnn(const dlt_cpu_call *call, int phase, int64_t task)
{
    const rnn r = rnn_of(call->node, 0);
    const prepared *p = call->prepared;
    if (phase == 0) {
        const dlt_ref_range rows = dlt_ref_part(call, 0, task, r.steps * r.batch);
        double *sums = (double *)(void *)((char *)call->workspace + p->sums + task * sums_bytes(&r));
        DLT_REF_BY_TYPE(project_rows, r.type, &r, call->in, call->workspace, rows, sums);
    } else {
        run_steps(call, &r);
    }
}

const dlt_cpu_kernel dlt_cpu_ref_RNN = {
    .name = "rnn_reference", .op = DLT_OP_RNN, .declines = declines, .prepare = prepare_rnn, .run = run_rnn};

/* ---- RNN_DX ----
 * Phases: project again; go back through the steps, which gives the gradients of projected steps, parameters and initial
 * states; gradients of x, kernel and bias from those of the projected steps. */

typedef struct prepared_dx {
    const dlt_cpu_serial *body;
    int64_t dprojected, sums, initial, gradients, seeds, results, memory; /* places in workspace */
    int64_t param_sums[MOST_PARAMS];    /* doubles, summed over steps */
    int64_t param_results[MOST_PARAMS]; /* of one step */
    int64_t param_count[MOST_PARAMS];   /* elements; 0 for integers, which have no gradient */
    int first; /* operand of the node that is x */
} prepared_dx;

/* Number of the result that is the gradient of operand k of the RNN; -1: it has none. */
static int result_of(const dlt_node *n, int first, int k)
{
    int at = 0;
    for (int i = 0; i < k; i++) {
        at += dlt_dtype_is_real(n->inputs[first + i]->type);
    }
    return dlt_dtype_is_real(n->inputs[first + k]->type) ? at : -1;
}

/* Where the gradient of operand k goes; NULL: nobody wants it, or there is no such operand. */
static void *gradient_of(const dlt_cpu_call *call, int first, int k)
{
    const int at = k >= 0 ? result_of(call->node, first, k) : -1;
    return at >= 0 ? call->out[at] : NULL;
}

static bool prepare_rnn_dx(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_node *n = query->node;
    const dlt_rnn_attrs *attrs = n->attrs;
    prepared_dx *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    p->first = first_operand(n);
    const rnn r = rnn_of(n, p->first);
    p->body = dlt_cpu_serial_create(attrs->grad.graph, query->arena, query->diag);
    if (p->body == NULL) {
        return false;
    }
    dlt_ref_phase(schedule, r.steps * r.batch, 2 * (double)r.channels * (double)r.width);
    dlt_ref_phase(schedule, 1, 0);
    dlt_ref_phase(schedule, r.steps * r.batch, 2 * (double)r.channels * (double)r.width);
    dlt_ref_phase(schedule, r.channels + 1, 2 * (double)(r.steps * r.batch) * (double)r.width);
    const int64_t most = schedule->tasks[0] > schedule->tasks[3] ? schedule->tasks[0] : schedule->tasks[3];
    int64_t end = projected_bytes(&r);
    p->dprojected = end;
    end += projected_bytes(&r);
    p->sums = end;
    end += most * sums_bytes(&r);
    int64_t *const states[] = {&p->initial, &p->gradients, &p->seeds, &p->results};
    for (size_t i = 0; i < DLT_COUNT(states); i++) {
        *states[i] = end;
        end += aligned(r.step_bytes);
    }
    for (int i = 0; i < r.params; i++) {
        const dlt_value *v = n->inputs[p->first + r.param + i];
        p->param_count[i] = dlt_dtype_is_real(v->type) ? dlt_shape_count(&v->shape) : 0;
        p->param_sums[i] = end;
        end += aligned(p->param_count[i] * (int64_t)sizeof(double));
        p->param_results[i] = end;
        end += aligned(dlt_value_bytes(v));
    }
    p->memory = end;
    schedule->workspace_bytes = end + dlt_cpu_serial_bytes(p->body);
    schedule->prepared = p;
    return true;
}

/* Gradients of the states after step t from those after it (`gradients`), with the output's gradient added: `seeds` for the
 * body, 0 in masked rows, which it must not go through. */
DLT_REF_INLINE void make_seeds(const rnn *r, const uint8_t *mask, const void *dy, char *gradients, char *seeds, int64_t t,
                               const dlt_dtype type)
{
    for (int i = 0; i < r->states; i++) {
        const int64_t width = r->state_width[i];
        for (int64_t b = 0; b < r->batch; b++) {
            const bool masked = is_masked(r, mask, b, t);
            for (int64_t u = 0; u < width; u++) {
                const int64_t at = b * width + u;
                if (i == 0 && dy != NULL && !(masked && r->attrs->zero_masked)) {
                    const double g = dlt_ref_get(dy, type, (b * r->steps + t) * width + u);
                    dlt_ref_put(gradients, type, at, dlt_ref_get(gradients, type, at) + g);
                }
                dlt_ref_put(seeds, type, at, masked ? 0 : dlt_ref_get(gradients, type, at));
            }
        }
        gradients += r->row_bytes[i];
        seeds += r->row_bytes[i];
    }
}

DLT_REF_INLINE void add_up(double *sums, const void *x, int64_t count, const dlt_dtype type)
{
    for (int64_t i = 0; i < count; i++) {
        sums[i] += dlt_ref_get(x, type, i);
    }
}

static void run_steps_back(const dlt_cpu_call *call, const rnn *r)
{
    const prepared_dx *p = call->prepared;
    const void *const *operands = call->in + p->first;
    char *work = call->workspace, *gradients = work + p->gradients;
    const uint8_t *mask = r->mask >= 0 ? operands[r->mask] : NULL;
    const void *dy = r->attrs->has_dy ? call->in[0] : NULL;
    const char *saved = operands[r->inputs + 1]; /* behind y */
    const int64_t projected = r->batch * r->width * (int64_t)dlt_dtype_size(r->type);
    const void *in[1 + 2 * MOST_STATES + MOST_PARAMS];
    void *out[1 + MOST_STATES + MOST_PARAMS];
    initial_states(r, operands, work + p->initial);
    memset(gradients, 0, (size_t)r->step_bytes);
    if (r->attrs->has_dlast) {
        memcpy(gradients, call->in[r->attrs->has_dy ? 1 : 0], (size_t)r->row_bytes[0]);
    }
    for (int i = 0; i < r->params; i++) {
        in[1 + 2 * r->states + i] = operands[r->param + i];
        out[1 + r->states + i] = work + p->param_results[i];
        memset(work + p->param_sums[i], 0, (size_t)p->param_count[i] * sizeof(double));
    }
    for (int64_t t = r->steps - 1; t >= 0; t--) {
        const char *before = t > 0 ? saved + (t - 1) * r->step_bytes : work + p->initial;
        in[0] = work + t * projected;
        out[0] = work + p->dprojected + t * projected;
        for (int64_t i = 0, offset = 0; i < r->states; offset += r->row_bytes[i++]) {
            in[1 + i] = before + offset;
            in[1 + r->states + i] = work + p->seeds + offset;
            out[1 + i] = work + p->results + offset;
        }
        DLT_REF_BY_TYPE(make_seeds, r->type, r, mask, dy, gradients, work + p->seeds, t);
        dlt_cpu_serial_run(p->body, work + p->memory, call->scratch, in, out);
        for (int64_t b = 0; b < r->batch; b++) {
            const bool masked = is_masked(r, mask, b, t);
            for (int64_t i = 0, offset = 0; i < r->states && !masked; offset += r->row_bytes[i++]) {
                copy_row(r, (int)i, gradients + offset, work + p->results + offset, b);
            }
            if (masked) {
                const int64_t row = projected / r->batch;
                memset((char *)out[0] + b * row, 0, (size_t)row);
            }
        }
        for (int i = 0; i < r->params; i++) {
            double *sums = (double *)(void *)(work + p->param_sums[i]);
            DLT_REF_BY_TYPE(add_up, r->type, sums, work + p->param_results[i], p->param_count[i]);
        }
    }
    for (int i = 0; i < r->params; i++) {
        const double *sums = (const double *)(const void *)(work + p->param_sums[i]);
        void *to = gradient_of(call, p->first, r->param + i);
        for (int64_t k = 0; k < p->param_count[i] && to != NULL; k++) {
            dlt_ref_put(to, r->type, k, sums[k]);
        }
    }
    for (int64_t i = 0, offset = 0; i < r->states && r->initial >= 0; offset += r->row_bytes[i++]) {
        void *to = gradient_of(call, p->first, r->initial + (int)i);
        if (to != NULL) {
            memcpy(to, gradients + offset, (size_t)r->row_bytes[i]);
        }
    }
}

/* dx[b, time] = dprojected[t, b] kernel^T */
DLT_REF_INLINE void inputs_back(const rnn *r, const void *const *in, const void *dprojected, void *dx,
                                dlt_ref_range rows, const dlt_dtype type)
{
    for (int64_t row = rows.first; row < rows.end; row++) {
        const int64_t t = row / r->batch, b = row % r->batch, to = (b * r->steps + time_of(r, t)) * r->channels;
        for (int64_t c = 0; c < r->channels; c++) {
            double sum = 0;
            for (int64_t p = 0; p < r->width && r->kernel >= 0; p++) {
                sum += dlt_ref_get(dprojected, type, row * r->width + p) * dlt_ref_get(in[r->kernel], type, c * r->width + p);
            }
            dlt_ref_put(dx, type, to + c, r->kernel >= 0 ? sum : dlt_ref_get(dprojected, type, row * r->width + c));
        }
    }
}

/* dkernel[c] = sum over t and b of x[b, time, c] dprojected[t, b]; row C is dbias, with x = 1. */
DLT_REF_INLINE void weights_back(const rnn *r, const void *const *in, const void *dprojected, void *dkernel, void *dbias,
                                 dlt_ref_range channels, double *sums, const dlt_dtype type)
{
    const uint8_t *mask = r->mask >= 0 ? in[r->mask] : NULL;
    for (int64_t c = channels.first; c < channels.end; c++) {
        void *to = c < r->channels ? dkernel : dbias;
        if (to == NULL) {
            continue;
        }
        for (int64_t p = 0; p < r->width; p++) {
            sums[p] = 0;
        }
        for (int64_t row = 0; row < r->steps * r->batch; row++) {
            const int64_t t = row / r->batch, b = row % r->batch;
            if (is_masked(r, mask, b, t)) {
                continue;
            }
            const double x =
                c < r->channels ? dlt_ref_get(in[0], type, (b * r->steps + time_of(r, t)) * r->channels + c) : 1;
            for (int64_t p = 0; p < r->width; p++) {
                sums[p] += x * dlt_ref_get(dprojected, type, row * r->width + p);
            }
        }
        for (int64_t p = 0; p < r->width; p++) {
            dlt_ref_put(to, type, (c < r->channels ? c * r->width : 0) + p, sums[p]);
        }
    }
}

static void run_rnn_dx(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared_dx *p = call->prepared;
    const rnn r = rnn_of(call->node, p->first);
    const void *const *operands = call->in + p->first;
    char *work = call->workspace;
    double *sums = (double *)(void *)(work + p->sums + task * sums_bytes(&r));
    const dlt_ref_range rows = phase == 0 || phase == 2 ? dlt_ref_part(call, phase, task, r.steps * r.batch)
                                                        : (dlt_ref_range){0, 0};
    if (phase == 0) {
        DLT_REF_BY_TYPE(project_rows, r.type, &r, operands, work, rows, sums);
    } else if (phase == 1) {
        run_steps_back(call, &r);
    } else if (phase == 2) {
        void *dx = gradient_of(call, p->first, 0);
        if (dx != NULL) {
            DLT_REF_BY_TYPE(inputs_back, r.type, &r, operands, work + p->dprojected, dx, rows);
        }
    } else {
        const dlt_ref_range channels = dlt_ref_part(call, phase, task, r.channels + 1);
        void *dkernel = gradient_of(call, p->first, r.kernel), *dbias = gradient_of(call, p->first, r.bias);
        DLT_REF_BY_TYPE(weights_back, r.type, &r, operands, work + p->dprojected, dkernel, dbias, channels, sums);
    }
}

const dlt_cpu_kernel dlt_cpu_ref_RNN_DX = {
    .name = "rnn_dx_reference", .op = DLT_OP_RNN_DX, .declines = declines, .prepare = prepare_rnn_dx, .run = run_rnn_dx};
