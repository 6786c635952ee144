/* graph/pass_precision.c: mixed precision: products of layers take their operands in bfloat16.
 *
 *   y = sum_k round(a_k) round(b_k)       round: to the nearest bfloat16, ties to even; sums and y are float32
 *
 * Products are MATMUL, the convolutions, RNN and ATTENTION and their gradients, where a layer asked for them; what the trainer adds
 * (penalties, optimizers) stays as it is. Variables and their gradients are float32, so there is nothing to scale. Everything
 * between products is computed in float32: normalisation, softmax, losses and metrics as in Keras, activations more exactly than there.
 *
 * A value that enters a product is rounded once, where it is made, and elementwise ops of its own shape read it rounded too: so
 * that only the half of its bytes is kept for the backward pass. Weights are rounded as they are read, by the product.
 *
 * Where the target has no kernel that reads bfloat16 the rounded operand is turned back: the float32 kernel of the product then
 * computes the same formula. */
#include "graph/passes.h"

#include "graph/builder.h"
#include "graph/rewrite.h"

typedef enum need { NEED_LOW = 1, NEED_ROUNDED = 2 } need; /* in the compute type; rounded to it, but float32 */

typedef struct precision {
    dlt_rewrite r;
    const dlt_target *target;
    dlt_dtype compute, real; /* real: what the graph computes in: float32, or float64 for tests */
    unsigned *needs;     /* by id of the old value: sum of `need` */
    const dlt_node **user; /* by id of the old value: the first product that needs it */
    dlt_value **low;     /* by id of the old value: new ones, NULL where there is no need */
    dlt_value **rounded;
    dlt_value **back[DLT_PHASE_UPDATE + 1]; /* low in float32 again, for elementwise ops of a phase, which take it in; made on demand */
} precision;

/* ---- which operands ---- */

bool dlt_op_is_product(dlt_op op)
{
    switch (op) {
    case DLT_OP_MATMUL:
    case DLT_OP_CONV:
    case DLT_OP_CONV_DX:
    case DLT_OP_CONV_DW:
    case DLT_OP_RNN:
    case DLT_OP_RNN_DX:
    case DLT_OP_ATTENTION:
    case DLT_OP_ATTENTION_DX:
        return true;
    default:
        return false;
    }
}

static bool is_product(const dlt_node *n)
{
    return dlt_op_is_product(n->op) && n->phase != DLT_PHASE_UPDATE && n->layer[0] != '\0';
}

/* The value whose memory this one is, in another shape. */
static const dlt_value *base_of(const dlt_value *v)
{
    while (v->node->op == DLT_OP_RESHAPE) {
        v = v->node->inputs[0];
    }
    return v;
}

static bool is_weight(const dlt_value *v)
{
    const dlt_op op = base_of(v)->node->op;
    return op == DLT_OP_VAR || op == DLT_OP_SEGMENT || op == DLT_OP_FLAT;
}

/* True if operand i of a product is a factor. Masks, biases, states and what a forward pass left for its gradient are not. */
static bool is_factor(const dlt_node *n, int i)
{
    if (n->inputs[i]->type != n->outputs[0]->type) { /* a mask */
        return false;
    }
    switch (n->op) {
    case DLT_OP_ATTENTION: /* q, k, v */
        return i < 3;
    case DLT_OP_ATTENTION_DX: /* do, q, k, v */
        return i < 4;
    case DLT_OP_RNN:
    case DLT_OP_RNN_DX: { /* x, kernel and recurrent kernel; gradients go through the gates first */
        const dlt_rnn_attrs *attrs = n->attrs;
        const int x = n->op == DLT_OP_RNN_DX ? (int)attrs->has_dy + (int)attrs->has_dlast : 0;
        const int params = x + 1 + (int)attrs->has_kernel + (int)attrs->has_bias;
        return (i == x && !attrs->projected) || (i == x + 1 && attrs->has_kernel) ||
               (i == params && attrs->body.params > 0 && attrs->cell != DLT_RNN_OTHER);
    }
    default:
        return true;
    }
}

static bool reads_low(const precision *p, const dlt_node *n)
{
    return p->real == DLT_F32 && p->target->takes != NULL && p->target->takes(p->target->self, n, p->compute);
}

/* Factors that stay float32 because the product, which reads the compute type, rounds them itself. A matrix product does so with weights; one
 * operand at least says by its type what is meant. With RNN, whose states are float32 anyway, that is the recurrent kernel alone, the last of its
 * factors. */
static bool left_to_product(const dlt_node *n, int i)
{
    bool later = false, other = false;
    for (int k = 0; k < n->input_count; k++) {
        later = later || (k > i && is_factor(n, k));
        other = other || (k != i && is_factor(n, k) && (!is_weight(n->inputs[k]) || k < i));
    }
    if (n->op == DLT_OP_RNN || n->op == DLT_OP_RNN_DX) {
        return later;
    }
    return n->op == DLT_OP_MATMUL && is_weight(n->inputs[i]) && other;
}

static void find_needs(precision *p)
{
    const dlt_graph *g = p->r.from;
    for (int at = g->node_count - 1; at >= 0; at--) {
        const dlt_node *n = g->nodes[at];
        const bool product = is_product(n), low = product && reads_low(p, n);
        for (int i = 0; i < n->input_count && product; i++) {
            if (is_factor(n, i) && !(low && left_to_product(n, i))) {
                p->needs[n->inputs[i]->id] |= low ? NEED_LOW : NEED_ROUNDED;
                p->user[n->inputs[i]->id] = n;
            }
        }
        if (n->op == DLT_OP_RESHAPE) { /* a view of the rounded value */
            const int view = n->outputs[0]->id;
            p->needs[n->inputs[0]->id] |= p->needs[view];
            p->user[n->inputs[0]->id] = p->needs[view] != 0 ? p->user[view] : p->user[n->inputs[0]->id];
        }
    }
}

/* ---- the new graph ---- */

static dlt_value *cast(precision *p, const dlt_node *like, dlt_phase phase, dlt_value *x, dlt_dtype type)
{
    dlt_ew_attrs *attrs = p->r.failed ? NULL : dlt_arena_alloc(p->r.to->arena, 1, sizeof *attrs);
    if (attrs == NULL) {
        p->r.failed = true;
        return NULL;
    }
    *attrs = (dlt_ew_attrs){.op = DLT_EW_CAST, .type = type};
    dlt_node *node = dlt_rewrite_node(&p->r, like, DLT_OP_EW, &x, 1, attrs, sizeof *attrs);
    if (node != NULL) {
        node->phase = phase;
    }
    return dlt_rewrite_value(&p->r, node, type, x->shape, x->layout);
}

static dlt_value *view(precision *p, const dlt_node *reshape, dlt_value *of)
{
    dlt_node *node = of != NULL ? dlt_rewrite_node(&p->r, reshape, DLT_OP_RESHAPE, &of, 1, reshape->attrs, reshape->attrs_size) : NULL;
    return node != NULL ? dlt_rewrite_value(&p->r, node, of->type, reshape->outputs[0]->shape, reshape->outputs[0]->layout) : NULL;
}

/* Rounds an output of a node that was just copied, as it is needed. */
static void round_value(precision *p, const dlt_value *old)
{
    const dlt_node *n = old->node;
    const unsigned needs = p->needs[old->id];
    if (needs == 0 || p->r.failed) {
        return;
    }
    if (n->op == DLT_OP_RESHAPE) {
        const int from = n->inputs[0]->id;
        p->low[old->id] = view(p, n, p->low[from]);
        p->rounded[old->id] = view(p, n, p->rounded[from]);
        return;
    }
    const dlt_node *like = n->layer[0] != '\0' ? n : p->user[old->id]; /* what enters the model belongs to who rounds it */
    p->low[old->id] = cast(p, like, n->phase, dlt_rewrite_of(&p->r, old), p->compute);
    if ((needs & NEED_ROUNDED) != 0 && !p->r.failed) {
        p->rounded[old->id] = cast(p, like, n->phase, p->low[old->id], p->real);
    }
}

/* What an elementwise op or a reduction reads instead of a value that products read rounded. */
static dlt_value *as_products_see_it(precision *p, const dlt_node *n, const dlt_value *old)
{
    const dlt_op op = base_of(old)->node->op;
    const bool same_shape = n->op == DLT_OP_REDUCE || dlt_shape_equal(&old->shape, &n->outputs[0]->shape);
    if (p->needs[old->id] == 0 || is_weight(old) || op == DLT_OP_INPUT || op == DLT_OP_CONST || !same_shape ||
        n->phase == DLT_PHASE_UPDATE) {
        return dlt_rewrite_of(&p->r, old);
    }
    if ((p->needs[old->id] & NEED_ROUNDED) != 0) {
        return p->rounded[old->id];
    }
    dlt_value **back = &p->back[n->phase][old->id];
    if (*back == NULL) {
        *back = cast(p, n, n->phase, p->low[old->id], p->real);
    }
    return *back;
}

static void copy_node(precision *p, const dlt_node *n)
{
    const bool product = is_product(n), low = product && reads_low(p, n);
    dlt_value **in = dlt_arena_alloc(p->r.to->arena, (size_t)n->input_count + 1, sizeof *in);
    p->r.failed = p->r.failed || in == NULL;
    for (int i = 0; i < n->input_count && !p->r.failed; i++) {
        const dlt_value *old = n->inputs[i];
        if (n->op == DLT_OP_EW || n->op == DLT_OP_REDUCE) {
            in[i] = as_products_see_it(p, n, old);
        } else if (product && is_factor(n, i)) {
            in[i] = !low ? p->rounded[old->id] : left_to_product(n, i) ? dlt_rewrite_of(&p->r, old) : p->low[old->id];
        } else {
            in[i] = dlt_rewrite_of(&p->r, old);
        }
    }
    dlt_node *copy = dlt_rewrite_node(&p->r, n, n->op, in, n->input_count, n->attrs, n->attrs_size);
    if (copy != NULL) {
        copy->epilogue = n->epilogue;
        copy->own_inputs = n->own_inputs;
    }
    for (int i = 0; i < n->output_count && copy != NULL; i++) {
        dlt_rewrite_output(&p->r, copy, n->outputs[i]);
        round_value(p, n->outputs[i]);
    }
}

dlt_status dlt_pass_precision(const dlt_graph *graph, dlt_dtype compute, dlt_pos at, const dlt_target *target,
                              dlt_graph **out, dlt_diag *diag)
{
    *out = NULL;
    if (compute == DLT_F32 || compute == DLT_F64) {
        *out = (dlt_graph *)(uintptr_t)graph; /* nothing to change: graphs are constant once returned */
        return DLT_OK;
    }
    if (compute != DLT_BF16) {
        return dlt_fail(diag, DLT_E_UNSUPPORTED, at,
                        "precision: there are no %s kernels on this device yet; use mixed_bfloat16 or float32",
                        dlt_dtype_name(compute));
    }
    precision p = {.target = target, .compute = compute, .real = graph->real};
    const size_t values = (size_t)graph->value_count;
    dlt_rewrite_begin(&p.r, graph);
    p.needs = dlt_arena_alloc(graph->arena, values, sizeof *p.needs);
    p.user = dlt_arena_alloc(graph->arena, values, sizeof *p.user);
    p.low = dlt_arena_alloc(graph->arena, values, sizeof *p.low);
    p.rounded = dlt_arena_alloc(graph->arena, values, sizeof *p.rounded);
    for (int i = 0; i <= DLT_PHASE_UPDATE; i++) {
        p.back[i] = dlt_arena_alloc(graph->arena, values, sizeof(dlt_value *));
    }
    if (p.r.failed || dlt_arena_failed(graph->arena)) {
        return dlt_fail_memory(diag);
    }
    find_needs(&p);
    for (int i = 0; i < graph->node_count && !p.r.failed; i++) {
        copy_node(&p, graph->nodes[i]);
    }
    dlt_graph *rounded = NULL;
    DLT_TRY(dlt_rewrite_end(&p.r, &rounded, diag));
    return dlt_pass_dead(rounded, out, diag); /* what is now read rounded only */
}
