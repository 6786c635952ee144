/* backend/cpu/ref_attention.c: ATTENTION and its gradient: all scores of a query at once, in double.
 *
 * p[i, j] = exp(scale q_i k_j - lse_i) over the keys that query i sees; 1 / S over all keys if it sees none.
 * o_i = sum_j d[i, j] p[i, j] v_j, where d is 0 or 1 / (1 - rate) with dropout and 1 without. */
#include "backend/cpu/ref.h"

#include "base/rng.h"

#include <math.h>

typedef struct attention {
    const dlt_attention_attrs *attrs;
    int64_t batch, queries, keys, heads, depth, value_depth; /* B, T, S, H, D, E */
    const void *q, *k, *v;
    const uint8_t *mask; /* (B, S) or NULL */
    int64_t first_sample;
} attention;

/* first: place of q among the operands; extra: place of the mask. */
static attention attention_of(const dlt_cpu_call *call, const dlt_node *n, int first, int extra)
{
    const dlt_shape *q = &n->inputs[first]->shape, *v = &n->inputs[first + 2]->shape;
    attention a = {.attrs = n->attrs,
                   .batch = q->dim[0],
                   .queries = q->dim[1],
                   .keys = v->dim[1],
                   .heads = q->dim[2],
                   .depth = q->dim[3],
                   .value_depth = v->dim[3]};
    if (call != NULL) {
        a.q = call->in[first];
        a.k = call->in[first + 1];
        a.v = call->in[first + 2];
        a.mask = a.attrs->has_mask ? call->in[extra] : NULL;
        if (a.attrs->dropout > 0) {
            const int at = extra + a.attrs->has_mask;
            a.first_sample = dlt_ref_get_integer(call->in[at], n->inputs[at]->type, 0);
        }
    }
    return a;
}

static bool sees(const attention *a, int64_t b, int64_t i, int64_t j)
{
    return (!a->attrs->causal || j <= i) && (a->mask == NULL || a->mask[b * a->keys + j] != 0);
}

static double kept(const attention *a, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const double rate = a->attrs->dropout;
    if (!(rate > 0)) {
        return 1;
    }
    const float u = dlt_random_uniform(a->attrs->seed, a->attrs->stream, (uint64_t)(a->first_sample + b),
                                       (uint64_t)((h * a->queries + i) * a->keys + j));
    return (double)u >= rate ? 1 / (1 - rate) : 0;
}

/* Element d of row t, head h of sample b in (B, rows, H, depth). */
static int64_t element(const attention *a, int64_t b, int64_t t, int64_t rows, int64_t h, int64_t depth, int64_t d)
{
    return ((b * rows + t) * a->heads + h) * depth + d;
}

/* p[0 .. S) of a query; returns lse: log S if it sees no key. */
DLT_REF_INLINE double probabilities(const attention *a, int64_t b, int64_t h, int64_t i, double *p, bool *blind,
                                    const dlt_dtype type)
{
    double largest = (double)-INFINITY, sum = 0;
    *blind = true;
    for (int64_t j = 0; j < a->keys; j++) {
        double score = 0;
        for (int64_t d = 0; d < a->depth; d++) {
            score += dlt_ref_get(a->q, type, element(a, b, i, a->queries, h, a->depth, d)) *
                     dlt_ref_get(a->k, type, element(a, b, j, a->keys, h, a->depth, d));
        }
        p[j] = a->attrs->scale * score;
        if (sees(a, b, i, j)) {
            *blind = false;
            largest = p[j] > largest ? p[j] : largest;
        }
    }
    for (int64_t j = 0; j < a->keys; j++) {
        p[j] = *blind ? 1 : sees(a, b, i, j) ? exp(p[j] - largest) : 0;
        sum += p[j];
    }
    for (int64_t j = 0; j < a->keys; j++) {
        p[j] /= sum;
    }
    return *blind ? log(sum) : largest + log(sum);
}

static bool prepare_attention(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const attention a = attention_of(NULL, query->node, 0, 0);
    dlt_ref_phase(schedule, a.batch * a.heads * a.queries, 4 * (double)a.keys * (double)(a.depth + a.value_depth));
    schedule->workspace_bytes = schedule->tasks[0] * a.keys * (int64_t)sizeof(double);
    return true;
}

/* An item is a query of one head. */
DLT_REF_INLINE void attend(const dlt_cpu_call *call, int64_t task, const dlt_dtype type)
{
    const attention a = attention_of(call, call->node, 0, 3);
    const dlt_ref_range part = dlt_ref_part(call, 0, task, a.batch * a.heads * a.queries);
    double *p = (double *)call->workspace + task * a.keys;
    for (int64_t item = part.first; item < part.end; item++) {
        const int64_t i = item % a.queries, h = item / a.queries % a.heads, b = item / a.queries / a.heads;
        bool blind;
        const double lse = probabilities(&a, b, h, i, p, &blind, type);
        if (call->out[1] != NULL) {
            dlt_ref_put(call->out[1], type, item, lse);
        }
        for (int64_t j = 0; j < a.keys; j++) {
            p[j] *= kept(&a, b, h, i, j);
        }
        for (int64_t e = 0; e < a.value_depth && call->out[0] != NULL; e++) {
            double sum = 0;
            for (int64_t j = 0; j < a.keys; j++) {
                sum += p[j] * dlt_ref_get(a.v, type, element(&a, b, j, a.keys, h, a.value_depth, e));
            }
            dlt_ref_put(call->out[0], type, element(&a, b, i, a.queries, h, a.value_depth, e), sum);
        }
    }
}

static void run_attention(const dlt_cpu_call *call, int phase, int64_t task)
{
    (void)phase;
    DLT_REF_BY_TYPE(attend, call->node->inputs[0]->type, call, task);
}

const dlt_cpu_kernel dlt_cpu_ref_ATTENTION = {.name = "attention_reference",
                                              .op = DLT_OP_ATTENTION,
                                              .declines = dlt_ref_needs_one_type,
                                              .prepare = prepare_attention,
                                              .run = run_attention};

/* ---- gradient ----
 * g[i, j] = d[i, j] do_i v_j,  ds[i, j] = p[i, j] (g[i, j] - sum_j p[i, j] g[i, j]), and 0 where the query sees no key;
 * dq_i = scale sum_j ds[i, j] k_j,  dk_j = scale sum_i ds[i, j] q_i,  dv_j = sum_i d[i, j] p[i, j] do_i. */

/* Doubles that a task needs: p and ds of a query, and the sums dk and dv of a head. */
static int64_t room_of(const attention *a)
{
    return a->keys * (2 + a->depth + a->value_depth);
}

static bool prepare_attention_dx(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const attention a = attention_of(NULL, query->node, 1, 0);
    dlt_ref_phase(schedule, a.batch * a.heads,
                  10 * (double)a.queries * (double)a.keys * (double)(a.depth + a.value_depth));
    schedule->workspace_bytes = schedule->tasks[0] * room_of(&a) * (int64_t)sizeof(double);
    return true;
}

/* An item is a head of one sample. */
DLT_REF_INLINE void attend_dx(const dlt_cpu_call *call, int64_t task, const dlt_dtype type)
{
    const attention a = attention_of(call, call->node, 1, 6);
    const dlt_ref_range part = dlt_ref_part(call, 0, task, a.batch * a.heads);
    const void *dout = call->in[0];
    double *p = (double *)call->workspace + task * room_of(&a), *ds = p + a.keys;
    double *dk = ds + a.keys, *dv = dk + a.keys * a.depth;
    for (int64_t item = part.first; item < part.end; item++) {
        const int64_t h = item % a.heads, b = item / a.heads;
        for (int64_t j = 0; j < a.keys * (a.depth + a.value_depth); j++) {
            dk[j] = 0; /* and dv, which follows */
        }
        for (int64_t i = 0; i < a.queries; i++) {
            bool blind;
            double sum = 0;
            probabilities(&a, b, h, i, p, &blind, type);
            for (int64_t j = 0; j < a.keys; j++) {
                const double d = kept(&a, b, h, i, j);
                double g = 0;
                for (int64_t e = 0; e < a.value_depth; e++) {
                    const double o = dlt_ref_get(dout, type, element(&a, b, i, a.queries, h, a.value_depth, e));
                    g += o * dlt_ref_get(a.v, type, element(&a, b, j, a.keys, h, a.value_depth, e));
                    dv[j * a.value_depth + e] += d * p[j] * o;
                }
                ds[j] = d * g;
                sum += p[j] * ds[j];
            }
            for (int64_t j = 0; j < a.keys; j++) {
                ds[j] = blind ? 0 : a.attrs->scale * p[j] * (ds[j] - sum);
            }
            for (int64_t d = 0; d < a.depth; d++) {
                double dq = 0;
                const double q = dlt_ref_get(a.q, type, element(&a, b, i, a.queries, h, a.depth, d));
                for (int64_t j = 0; j < a.keys; j++) {
                    dq += ds[j] * dlt_ref_get(a.k, type, element(&a, b, j, a.keys, h, a.depth, d));
                    dk[j * a.depth + d] += ds[j] * q;
                }
                if (call->out[0] != NULL) {
                    dlt_ref_put(call->out[0], type, element(&a, b, i, a.queries, h, a.depth, d), dq);
                }
            }
        }
        for (int64_t j = 0; j < a.keys; j++) {
            for (int64_t d = 0; d < a.depth && call->out[1] != NULL; d++) {
                dlt_ref_put(call->out[1], type, element(&a, b, j, a.keys, h, a.depth, d), dk[j * a.depth + d]);
            }
            for (int64_t e = 0; e < a.value_depth && call->out[2] != NULL; e++) {
                dlt_ref_put(call->out[2], type, element(&a, b, j, a.keys, h, a.value_depth, e), dv[j * a.value_depth + e]);
            }
        }
    }
}

static void run_attention_dx(const dlt_cpu_call *call, int phase, int64_t task)
{
    (void)phase;
    DLT_REF_BY_TYPE(attend_dx, call->node->inputs[0]->type, call, task);
}

const dlt_cpu_kernel dlt_cpu_ref_ATTENTION_DX = {.name = "attention_dx_reference",
                                                 .op = DLT_OP_ATTENTION_DX,
                                                 .declines = dlt_ref_needs_one_type,
                                                 .prepare = prepare_attention_dx,
                                                 .run = run_attention_dx};
