/* graph/op_ew.c: elementwise ops: shapes by numpy's broadcasting, gradients by the chain rule. */
#include "graph/builder.h"

#include "graph/graph_internal.h"

#include <assert.h>
#include <math.h>

static bool is_comparison(dlt_ew op)
{
    return op == DLT_EW_LT || op == DLT_EW_LE || op == DLT_EW_EQ || op == DLT_EW_AND || op == DLT_EW_OR ||
           op == DLT_EW_NOT;
}

/* Integer ops exist only for those of ew.def that are marked I. */
static bool works_on_integers(dlt_ew op)
{
    switch (op) {
    case DLT_EW_COPY:
    case DLT_EW_STOP:
    case DLT_EW_CAST:
    case DLT_EW_NEG:
    case DLT_EW_ABS:
    case DLT_EW_SQUARE:
    case DLT_EW_NOT:
    case DLT_EW_ADD:
    case DLT_EW_SUB:
    case DLT_EW_MUL:
    case DLT_EW_MAX:
    case DLT_EW_MIN:
    case DLT_EW_MOD:
    case DLT_EW_LT:
    case DLT_EW_LE:
    case DLT_EW_EQ:
    case DLT_EW_AND:
    case DLT_EW_OR:
    case DLT_EW_SELECT:
        return true;
    default:
        return false;
    }
}

/* Type of the result of operands x and y: the wider of two reals or two integers; -1 if the classes differ. */
static int joined_type(dlt_dtype x, dlt_dtype y)
{
    if (dlt_dtype_is_real(x) != dlt_dtype_is_real(y)) {
        return -1;
    }
    if (x == y) {
        return (int)x;
    }
    return (int)(dlt_dtype_size(x) >= dlt_dtype_size(y) ? x : y);
}

static dlt_value *make(dlt_builder *b, const dlt_ew_attrs *attrs, dlt_value *const *operands, int count, dlt_dtype type)
{
    dlt_shape shape = dlt_scalar();
    for (int i = 0; i < count; i++) {
        const dlt_shape before = shape;
        if (operands[i] != NULL && !dlt_broadcast(&before, &operands[i]->shape, &shape)) {
            char left[160], right[160];
            return dlt_reject(b, "shapes %s and %s do not fit together", dlt_shape_text(&before, left, sizeof left),
                              dlt_shape_text(&operands[i]->shape, right, sizeof right));
        }
    }
    return dlt_node_simple(b, DLT_OP_EW, operands, count, attrs, sizeof *attrs, type, shape);
}

dlt_value *dlt_elementwise(dlt_builder *b, dlt_ew op, dlt_value *x, dlt_value *y, dlt_value *z)
{
    dlt_value *const operands[3] = {x, y, z};
    const int count = dlt_ew_operands(op);
    const bool select = op == DLT_EW_SELECT; /* its condition has a type of its own */
    assert(count > 0 && count <= 3 && (!select || count == 3));
    if (b->failed) {
        return NULL;
    }
    if (x == NULL || (count > 1 && y == NULL) || (count > 2 && z == NULL)) {
        dlt_fail(b->diag, DLT_E_INTERNAL, dlt_scope_pos(b), "%s lacks an operand", dlt_ew_name(op));
        b->failed = true;
        return NULL;
    }
    int type = (int)(select ? y : x)->type;
    if (count > 1 && !select) {
        type = joined_type((dlt_dtype)type, y->type);
    }
    if (count > 2 && type >= 0) {
        type = joined_type((dlt_dtype)type, z->type);
    }
    const bool real = type >= 0 && dlt_dtype_is_real((dlt_dtype)type);
    if (type < 0 || (!real && !works_on_integers(op))) {
        dlt_fail(b->diag, DLT_E_INTERNAL, dlt_scope_pos(b), "%s of %s and %s", dlt_ew_name(op),
                 dlt_dtype_name(operands[0]->type), dlt_dtype_name(operands[count - 1]->type));
        b->failed = true;
        return NULL;
    }
    if (!real && is_comparison(op)) {
        type = DLT_U8;
    }
    const dlt_ew_attrs attrs = {.op = op};
    return make(b, &attrs, operands, count, (dlt_dtype)type);
}

#define UNARY(name, OP)                                                                                      \
    dlt_value *name(dlt_builder *b, dlt_value *x)                                                            \
    {                                                                                                        \
        return dlt_elementwise(b, DLT_EW_##OP, x, NULL, NULL);                                                        \
    }
#define BINARY(name, OP)                                                                                     \
    dlt_value *name(dlt_builder *b, dlt_value *x, dlt_value *y)                                              \
    {                                                                                                        \
        return dlt_elementwise(b, DLT_EW_##OP, x, y, NULL);                                                           \
    }
UNARY(dlt_neg, NEG)
UNARY(dlt_abs, ABS)
UNARY(dlt_square, SQUARE)
UNARY(dlt_sqrt, SQRT)
UNARY(dlt_rsqrt, RSQRT)
UNARY(dlt_exp, EXP)
UNARY(dlt_log, LOG)
UNARY(dlt_log1p, LOG1P)
UNARY(dlt_tanh, TANH)
UNARY(dlt_sigmoid, SIGMOID)
UNARY(dlt_softplus, SOFTPLUS)
UNARY(dlt_erf, ERF)
UNARY(dlt_relu, RELU)
UNARY(dlt_not, NOT)
UNARY(dlt_stop_gradient, STOP)
BINARY(dlt_add, ADD)
BINARY(dlt_sub, SUB)
BINARY(dlt_mul, MUL)
BINARY(dlt_div, DIV)
BINARY(dlt_max, MAX)
BINARY(dlt_min, MIN)
BINARY(dlt_pow, POW)
BINARY(dlt_less, LT)
BINARY(dlt_less_equal, LE)
BINARY(dlt_equal, EQ)
BINARY(dlt_and, AND)

dlt_value *dlt_select(dlt_builder *b, dlt_value *condition, dlt_value *yes, dlt_value *no)
{
    return dlt_elementwise(b, DLT_EW_SELECT, condition, yes, no);
}

dlt_value *dlt_cast(dlt_builder *b, dlt_value *x, dlt_dtype type)
{
    if (b->failed || x == NULL || x->type == type) {
        return b->failed ? NULL : x;
    }
    const dlt_ew_attrs attrs = {.op = DLT_EW_CAST, .type = type};
    return make(b, &attrs, &x, 1, type);
}

/* A constant of x's type, so that the operands agree. */
static dlt_value *like(dlt_builder *b, const dlt_value *x, double c)
{
    return x != NULL ? dlt_constant_typed(b, x->type, c) : NULL;
}

dlt_value *dlt_add_c(dlt_builder *b, dlt_value *x, double c)
{
    return dlt_add(b, x, like(b, x, c));
}

dlt_value *dlt_sub_c(dlt_builder *b, dlt_value *x, double c)
{
    return dlt_sub(b, x, like(b, x, c));
}

dlt_value *dlt_c_sub(dlt_builder *b, double c, dlt_value *x)
{
    return dlt_sub(b, like(b, x, c), x);
}

dlt_value *dlt_mul_c(dlt_builder *b, dlt_value *x, double c)
{
    return dlt_mul(b, x, like(b, x, c));
}

dlt_value *dlt_div_c(dlt_builder *b, dlt_value *x, double c)
{
    return dlt_div(b, x, like(b, x, c));
}

dlt_value *dlt_max_c(dlt_builder *b, dlt_value *x, double c)
{
    return dlt_max(b, x, like(b, x, c));
}

dlt_value *dlt_min_c(dlt_builder *b, dlt_value *x, double c)
{
    return dlt_min(b, x, like(b, x, c));
}

dlt_value *dlt_index(dlt_builder *b, dlt_dtype type, dlt_shape shape, int axis)
{
    const dlt_ew_attrs attrs = {.op = DLT_EW_INDEX, .axis = axis};
    return dlt_node_simple(b, DLT_OP_EW, NULL, 0, &attrs, sizeof attrs, type, shape);
}

dlt_value *dlt_broadcast_to(dlt_builder *b, dlt_value *x, dlt_shape shape)
{
    dlt_shape both;
    if (b->failed || x == NULL || dlt_shape_equal(&x->shape, &shape)) {
        return b->failed ? NULL : x;
    }
    if (!dlt_broadcast(&x->shape, &shape, &both) || !dlt_shape_equal(&both, &shape)) {
        char from[160], to[160];
        return dlt_reject(b, "shape %s cannot be repeated to %s", dlt_shape_text(&x->shape, from, sizeof from),
                          dlt_shape_text(&shape, to, sizeof to));
    }
    const dlt_ew_attrs attrs = {.op = DLT_EW_COPY};
    return dlt_node_simple(b, DLT_OP_EW, &x, 1, &attrs, sizeof attrs, x->type, shape);
}

dlt_value *dlt_one_hot(dlt_builder *b, dlt_value *ids, int64_t n)
{
    /* compared as reals, exact up to 2^24 classes, so that it fuses with what it is used in */
    dlt_value *column = dlt_cast(b, dlt_expand(b, ids, -1), b->options.real);
    if (column == NULL) {
        return NULL;
    }
    return dlt_equal(b, column, dlt_index(b, b->options.real, DLT_SHAPE(n), 0));
}

/* ---- gradients ---- */

/* dx of operand k, before the sum over broadcast axes; NULL: none. y is the result, g its gradient. */
static dlt_value *partial(dlt_builder *b, const dlt_node *n, int k, dlt_value *y, dlt_value *g)
{
    const dlt_ew_attrs *attrs = n->attrs;
    dlt_value *x = n->input_count > 0 ? n->inputs[0] : NULL, *z = n->input_count > 1 ? n->inputs[1] : NULL;
    dlt_value *d;
    switch (attrs->op) {
    case DLT_EW_COPY:
    case DLT_EW_ADD:
        return g;
    case DLT_EW_CAST:
        assert(x != NULL);
        return dlt_cast(b, g, x->type);
    case DLT_EW_NEG:
        return dlt_neg(b, g);
    case DLT_EW_SUB:
        return k == 0 ? g : dlt_neg(b, g);
    case DLT_EW_MUL:
        return dlt_mul(b, g, n->inputs[1 - k]);
    case DLT_EW_DIV: /* d(x/z) = 1/z, -x/z^2 = -y/z */
        d = dlt_div(b, g, z);
        return k == 0 ? d : dlt_neg(b, dlt_mul(b, d, y));
    case DLT_EW_ABS:
        return dlt_mul(b, g, dlt_elementwise(b, DLT_EW_SIGN, x, NULL, NULL));
    case DLT_EW_SQUARE:
        return dlt_mul(b, g, dlt_mul_c(b, x, 2));
    case DLT_EW_SQRT: /* 1 / (2 sqrt x) */
        return dlt_div(b, dlt_mul_c(b, g, 0.5), y);
    case DLT_EW_RSQRT: /* -y^3 / 2 */
        return dlt_mul(b, dlt_mul_c(b, g, -0.5), dlt_mul(b, y, dlt_square(b, y)));
    case DLT_EW_RECIP:
        return dlt_neg(b, dlt_mul(b, g, dlt_square(b, y)));
    case DLT_EW_EXP:
        return dlt_mul(b, g, y);
    case DLT_EW_EXPM1:
        return dlt_mul(b, g, dlt_add_c(b, y, 1));
    case DLT_EW_LOG:
        return dlt_div(b, g, x);
    case DLT_EW_LOG1P:
        return dlt_div(b, g, dlt_add_c(b, x, 1));
    case DLT_EW_SIN:
        return dlt_mul(b, g, dlt_elementwise(b, DLT_EW_COS, x, NULL, NULL));
    case DLT_EW_COS:
        return dlt_neg(b, dlt_mul(b, g, dlt_elementwise(b, DLT_EW_SIN, x, NULL, NULL)));
    case DLT_EW_TANH:
        return dlt_mul(b, g, dlt_c_sub(b, 1, dlt_square(b, y)));
    case DLT_EW_SIGMOID:
        return dlt_mul(b, g, dlt_mul(b, y, dlt_c_sub(b, 1, y)));
    case DLT_EW_SOFTPLUS:
        return dlt_mul(b, g, dlt_sigmoid(b, x));
    case DLT_EW_ERF: /* 2 / sqrt(pi) exp(-x^2) */
        return dlt_mul(b, g, dlt_mul_c(b, dlt_exp(b, dlt_neg(b, dlt_square(b, x))), 1.1283791670955125739));
    case DLT_EW_RELU:
        return dlt_mul(b, g, dlt_less(b, like(b, y, 0), y));
    case DLT_EW_MAX: /* ties go to the first operand */
        d = dlt_less(b, x, z);
        return dlt_mul(b, g, k == 0 ? dlt_c_sub(b, 1, d) : d);
    case DLT_EW_MIN:
        d = dlt_less(b, z, x);
        return dlt_mul(b, g, k == 0 ? dlt_c_sub(b, 1, d) : d);
    case DLT_EW_POW: /* z x^(z-1), y log x with 0 where x is 0 */
        if (k == 0) {
            return dlt_mul(b, g, dlt_mul(b, z, dlt_pow(b, x, dlt_sub_c(b, z, 1))));
        }
        d = dlt_less(b, like(b, x, 0), x);
        return dlt_mul(b, g, dlt_mul(b, y, dlt_select(b, d, dlt_log(b, dlt_select(b, d, x, like(b, x, 1))), like(b, x, 0))));
    case DLT_EW_MOD: /* x - z floor(x / z) */
        return k == 0 ? g : dlt_neg(b, dlt_mul(b, g, dlt_elementwise(b, DLT_EW_FLOOR, dlt_div(b, x, z), NULL, NULL)));
    case DLT_EW_SELECT:
        d = like(b, g, 0);
        return k == 0 ? NULL : dlt_select(b, n->inputs[0], k == 1 ? g : d, k == 1 ? d : g);
    default: /* STOP, INDEX, UNIFORM, SIGN, FLOOR, comparisons, ...: constant almost everywhere, or asked to stop */
        return NULL;
    }
}

void dlt_gradient_ew(dlt_builder *b, const dlt_node *node, dlt_value *const *dy, const bool *wanted, dlt_value **dx)
{
    for (int k = 0; k < node->input_count; k++) {
        if (wanted[k] && dlt_dtype_is_real(node->inputs[k]->type)) {
            dlt_value *d = partial(b, node, k, node->outputs[0], dy[0]);
            dx[k] = d != NULL ? dlt_cast(b, dlt_sum_to(b, d, node->inputs[k]->shape), node->inputs[k]->type) : NULL;
        }
    }
}
