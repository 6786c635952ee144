/* backend/cpu/attention_blocks.c: ATTENTION and its gradient, a head of a sample at a time, in blocks of queries: products by the
 * packed micro-kernels, softmax by rows. ref_attention.c has the formulas.
 *
 * A task's probabilities lie in its thread's scratch, so memory does not grow with queries x keys; the gradient computes them
 * again. With a causal mask, keys behind a block's last query are left out of the products. */
#include "backend/cpu/attention.h"

#include "backend/cpu/gemm.h"
#include "backend/cpu/ref.h"

#include <math.h>
#include <string.h>

enum { ROOM = DLT_CPU_SCRATCH_BYTES / (int)sizeof(float) - DLT_GEMM_PACK }; /* floats beside the packing */

typedef struct prepared {
    const dlt_simd *simd;
    const dlt_gemm_ops *gemm;
    dlt_dtype type;        /* of q, k, v and the gradient of o; bfloat16: all factors are rounded, probabilities too */
    int64_t block, blocks; /* queries of a block */
} prepared;

typedef struct head {
    const dlt_simd *simd;
    const dlt_attention_attrs *attrs;
    int64_t queries, keys, depth, value_depth; /* T, S, D, E */
    int64_t heads, row, value_row;             /* floats from row to row of q and k, of v and o */
    const dlt_gemm_ops *gemm;
    dlt_dtype type;
    const void *q, *k, *v;                     /* of this head and sample */
    const uint8_t *mask;                       /* of this sample's keys, or NULL */
    uint64_t sample, number;                   /* of the dropout draw; the head's number */
    float *pack, *p, *ds, *line;               /* scratch: p and ds (block, S), line (S) */
} head;

bool dlt_cpu_attention_fits(const dlt_node *n)
{
    const int64_t keys = n->inputs[n->op == DLT_OP_ATTENTION ? 2 : 3]->shape.dim[1];
    return keys * 9 <= ROOM;
}

static const char *declines(const dlt_cpu_query *query)
{
    const dlt_node *n = query->node;
    const int first = n->op == DLT_OP_ATTENTION ? 0 : 1;
    const dlt_dtype type = n->inputs[0]->type;
    if (!(type == DLT_F32 || (type == DLT_BF16 && dlt_gemm_bf16_of(query->isa) != NULL))) {
        return "needs float32, or bfloat16 and instructions for it";
    }
    for (int i = 1; i < first + 3; i++) {
        if (n->inputs[i]->type != type) {
            return "needs factors of one type";
        }
    }
    return dlt_cpu_attention_fits(n) ? NULL : "too many keys for a thread's scratch";
}

static bool prepare(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_node *n = query->node;
    const bool forward = n->op == DLT_OP_ATTENTION;
    const dlt_shape *q = &n->inputs[forward ? 0 : 1]->shape, *v = &n->inputs[forward ? 2 : 3]->shape;
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    const int64_t queries = q->dim[1], keys = v->dim[1];
    const int64_t most = keys > 0 ? (ROOM - keys) / (2 * keys) : DLT_GEMM_ROWS;
    p->simd = dlt_simd_of(query->isa);
    p->type = n->inputs[0]->type;
    p->gemm = p->type == DLT_BF16 ? dlt_gemm_bf16_of(query->isa) : p->simd->gemm;
    p->block = most < DLT_GEMM_ROWS ? most : DLT_GEMM_ROWS;
    p->blocks = (queries + p->block - 1) / p->block;
    schedule->prepared = p;
    schedule->phases = 1;
    schedule->tasks[0] = q->dim[0] * q->dim[2] * (forward ? p->blocks : 1);
    return true;
}

/* first: place of q among the operands; extra: place of the mask. */
static head head_of(const dlt_cpu_call *call, int first, int extra, int64_t b, int64_t h)
{
    const dlt_node *n = call->node;
    const prepared *p = call->prepared;
    const dlt_shape *q = &n->inputs[first]->shape, *v = &n->inputs[first + 2]->shape;
    head a = {.simd = p->simd,
              .gemm = p->gemm,
              .type = p->type,
              .attrs = n->attrs,
              .queries = q->dim[1],
              .keys = v->dim[1],
              .depth = q->dim[3],
              .value_depth = v->dim[3],
              .heads = q->dim[2],
              .row = q->dim[2] * q->dim[3],
              .value_row = v->dim[2] * v->dim[3],
              .number = (uint64_t)h,
              .pack = call->scratch};
    a.q = dlt_gemm_at(call->in[first], a.type, b * a.queries * a.row + h * a.depth);
    a.k = dlt_gemm_at(call->in[first + 1], a.type, b * a.keys * a.row + h * a.depth);
    a.v = dlt_gemm_at(call->in[first + 2], a.type, b * a.keys * a.value_row + h * a.value_depth);
    a.mask = a.attrs->has_mask ? (const uint8_t *)call->in[extra] + b * a.keys : NULL;
    if (a.attrs->dropout > 0) {
        const int at = extra + a.attrs->has_mask;
        a.sample = (uint64_t)(dlt_ref_get_integer(call->in[at], n->inputs[at]->type, 0) + b);
    }
    a.p = a.pack + DLT_GEMM_PACK;
    a.ds = a.p + p->block * a.keys;
    a.line = a.ds + p->block * a.keys;
    return a;
}

/* c (+)= a b in blocks of columns and rows that the packing holds. */
static void product(const head *h, dlt_gemm_block g)
{
    const dlt_gemm_block whole = g;
    for (int64_t i = 0; i < whole.rows; i += DLT_GEMM_ROWS) {
        for (int64_t j = 0; j < whole.cols; j += DLT_GEMM_COLS) {
            g.a = dlt_gemm_at(whole.a, whole.a_type, i * g.a_row);
            g.b = dlt_gemm_at(whole.b, whole.b_type, j * g.b_col);
            g.c = whole.c + i * g.ldc + j;
            g.rows = whole.rows - i < DLT_GEMM_ROWS ? whole.rows - i : DLT_GEMM_ROWS;
            g.cols = whole.cols - j < DLT_GEMM_COLS ? whole.cols - j : DLT_GEMM_COLS;
            dlt_gemm_run(h->gemm, &g, h->pack);
        }
    }
}

/* Keys that the queries [0, end) can see; all of them where rows may see none, which take the mean of all. */
static int64_t keys_up_to(const head *h, int64_t end)
{
    return h->attrs->causal && h->mask == NULL && end < h->keys ? end : h->keys;
}

/* Scores of query i become probabilities of `keys` keys. False if it sees no key. */
static bool softmax(const head *h, int64_t i, int64_t keys, float *p, float *lse)
{
    const int64_t seen = h->attrs->causal && i + 1 < keys ? i + 1 : keys;
    const float scale = (float)h->attrs->scale, hidden = -3e38F;
    int64_t best = -1;
    for (int64_t j = 0; j < seen; j++) {
        p[j] *= scale;
        if (h->mask != NULL && h->mask[j] == 0) {
            p[j] = hidden;
        } else if (best < 0 || p[j] > p[best]) {
            best = j;
        }
    }
    if (best < 0) {
        for (int64_t j = 0; j < keys; j++) {
            p[j] = 1 / (float)h->keys;
        }
        *lse = logf((float)h->keys);
        return false;
    }
    const float largest = p[best];
    h->simd->norm->softmax(p, p, seen);
    *lse = largest - logf(p[best]);
    for (int64_t j = 0; h->mask != NULL && j < seen; j++) {
        p[j] = h->mask[j] != 0 ? p[j] : 0;
    }
    if (seen < keys) {
        memset(p + seen, 0, (size_t)(keys - seen) * sizeof *p);
    }
    return true;
}

/* What probabilities of query i are multiplied with: 0 or 1 / (1 - rate), in h->line. */
static void draw(const head *h, int64_t i, int64_t keys)
{
    const float rate = (float)h->attrs->dropout, scale = (float)(1 / (1 - h->attrs->dropout));
    const uint64_t first = (h->number * (uint64_t)h->queries + (uint64_t)i) * (uint64_t)h->keys;
    h->simd->shape[DLT_COMPUTE_F32]->uniform(h->line, h->attrs->seed, h->attrs->stream, h->sample, first, keys);
    for (int64_t j = 0; j < keys; j++) {
        h->line[j] = h->line[j] >= rate ? scale : 0;
    }
}

static void score(const head *h, int64_t first, int64_t rows, int64_t keys)
{
    product(h, (dlt_gemm_block){.a = dlt_gemm_at(h->q, h->type, first * h->row),
                                .b = h->k,
                                .a_type = h->type,
                                .b_type = h->type,
                                .c = h->p,
                                .a_row = h->row,
                                .a_col = 1,
                                .b_row = 1,
                                .b_col = h->row,
                                .ldc = h->keys,
                                .rows = rows,
                                .cols = keys,
                                .depth = h->depth});
}

static void run_attention(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *prep = call->prepared;
    const int64_t heads = call->node->inputs[0]->shape.dim[2], item = task / prep->blocks;
    const int64_t b = item / heads, number = item % heads, first = task % prep->blocks * prep->block;
    const head h = head_of(call, 0, 3, b, number);
    const int64_t rows = h.queries - first < prep->block ? h.queries - first : prep->block;
    const int64_t keys = keys_up_to(&h, first + rows);
    float *o = call->out[0], *lse = call->out[1], unwanted;
    (void)phase;
    score(&h, first, rows, keys);
    for (int64_t i = 0; i < rows; i++) {
        float *p = h.p + i * h.keys;
        softmax(&h, first + i, keys, p, lse != NULL ? &lse[item * h.queries + first + i] : &unwanted);
        if (h.attrs->dropout > 0) {
            draw(&h, first + i, keys);
            for (int64_t j = 0; j < keys; j++) {
                p[j] *= h.line[j];
            }
        }
    }
    if (o != NULL) {
        product(&h, (dlt_gemm_block){.a = h.p,
                                     .b = h.v,
                                     .b_type = h.type,
                                     .c = o + (b * h.queries + first) * h.value_row + number * h.value_depth,
                                     .a_row = h.keys,
                                     .a_col = 1,
                                     .b_row = h.value_row,
                                     .b_col = 1,
                                     .ldc = h.value_row,
                                     .rows = rows,
                                     .cols = h.value_depth,
                                     .depth = keys});
    }
}

const dlt_cpu_kernel dlt_cpu_attention_blocks = {
    .name = "attention_blocks", .op = DLT_OP_ATTENTION, .declines = declines, .prepare = prepare, .run = run_attention};

/* ---- gradient ---- */

static void clear_rows(float *at, int64_t rows, int64_t row, int64_t width)
{
    for (int64_t j = 0; at != NULL && j < rows; j++) {
        memset(at + j * row, 0, (size_t)width * sizeof *at);
    }
}

/* p and g = do v^T of a block become d p and ds. */
static void back_through_softmax(const head *h, int64_t first, int64_t rows, int64_t keys)
{
    const float scale = (float)h->attrs->scale;
    float lse;
    for (int64_t i = 0; i < rows; i++) {
        float *p = h->p + i * h->keys, *g = h->ds + i * h->keys;
        const bool sees = softmax(h, first + i, keys, p, &lse);
        if (h->attrs->dropout > 0) {
            draw(h, first + i, keys);
            for (int64_t j = 0; j < keys; j++) {
                g[j] *= h->line[j];
            }
        }
        if (sees) {
            h->simd->norm->softmax_dx(g, g, p, keys);
            for (int64_t j = 0; j < keys; j++) {
                g[j] *= scale;
            }
        } else {
            memset(g, 0, (size_t)keys * sizeof *g);
        }
        for (int64_t j = 0; h->attrs->dropout > 0 && j < keys; j++) {
            p[j] *= h->line[j];
        }
    }
}

static void run_attention_dx(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *prep = call->prepared;
    const int64_t heads = call->node->inputs[1]->shape.dim[2], b = task / heads, number = task % heads;
    const head h = head_of(call, 1, 6, b, number);
    const int64_t at = number * h.depth, value_at = number * h.value_depth;
    const void *dout = dlt_gemm_at(call->in[0], h.type, b * h.queries * h.value_row + value_at);
    float *dq = call->out[0], *dk = call->out[1], *dv = call->out[2];
    (void)phase;
    dq = dq != NULL ? dq + b * h.queries * h.row + at : NULL;
    dk = dk != NULL ? dk + b * h.keys * h.row + at : NULL;
    dv = dv != NULL ? dv + b * h.keys * h.value_row + value_at : NULL;
    clear_rows(dk, h.keys, h.row, h.depth);
    clear_rows(dv, h.keys, h.value_row, h.value_depth);
    for (int64_t first = 0; first < h.queries; first += prep->block) {
        const int64_t rows = h.queries - first < prep->block ? h.queries - first : prep->block;
        const int64_t keys = keys_up_to(&h, first + rows);
        const void *o = dlt_gemm_at(dout, h.type, first * h.value_row);
        score(&h, first, rows, keys);
        product(&h, (dlt_gemm_block){.a = o,
                                     .b = h.v,
                                     .a_type = h.type,
                                     .b_type = h.type,
                                     .c = h.ds,
                                     .a_row = h.value_row,
                                     .a_col = 1,
                                     .b_row = 1,
                                     .b_col = h.value_row,
                                     .ldc = h.keys,
                                     .rows = rows,
                                     .cols = keys,
                                     .depth = h.value_depth});
        back_through_softmax(&h, first, rows, keys);
        if (dv != NULL) {
            product(&h, (dlt_gemm_block){.a = h.p,
                                         .b = o,
                                         .b_type = h.type,
                                         .c = dv,
                                         .a_row = 1,
                                         .a_col = h.keys,
                                         .b_row = h.value_row,
                                         .b_col = 1,
                                         .ldc = h.value_row,
                                         .rows = keys,
                                         .cols = h.value_depth,
                                         .depth = rows,
                                         .add = true});
        }
        if (dq != NULL) {
            product(&h, (dlt_gemm_block){.a = h.ds,
                                         .b = h.k,
                                         .b_type = h.type,
                                         .c = dq + first * h.row,
                                         .a_row = h.keys,
                                         .a_col = 1,
                                         .b_row = h.row,
                                         .b_col = 1,
                                         .ldc = h.row,
                                         .rows = rows,
                                         .cols = h.depth,
                                         .depth = keys});
        }
        if (dk != NULL) {
            product(&h, (dlt_gemm_block){.a = h.ds,
                                         .b = dlt_gemm_at(h.q, h.type, first * h.row),
                                         .b_type = h.type,
                                         .c = dk,
                                         .a_row = 1,
                                         .a_col = h.keys,
                                         .b_row = h.row,
                                         .b_col = 1,
                                         .ldc = h.row,
                                         .rows = keys,
                                         .cols = h.depth,
                                         .depth = rows,
                                         .add = true});
        }
    }
}

const dlt_cpu_kernel dlt_cpu_attention_dx_blocks = {.name = "attention_dx_blocks",
                                                    .op = DLT_OP_ATTENTION_DX,
                                                    .declines = declines,
                                                    .prepare = prepare,
                                                    .run = run_attention_dx};
