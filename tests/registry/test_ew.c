/* tests/registry/test_ew.c: every instruction of graph/ew.def against its formula, its gradient against differences, over
 * shapes that broadcast; integers; conversions; reductions in their fixed order. */
#include "support/op_case.h"

#include "base/rng.h"
#include "graph/graph_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- formulas ---- */

static double f_copy(double x, double y, double z)
{
    return (void)y, (void)z, x;
}
#define FORMULA(name, expression)                                                                            \
    static double f_##name(double x, double y, double z)                                                     \
    {                                                                                                        \
        return (void)x, (void)y, (void)z, (expression);                                                      \
    }
FORMULA(neg, 0 - x)
FORMULA(abs, x < 0 ? 0 - x : x)
FORMULA(sign, (double)(x > 0) - (double)(x < 0))
FORMULA(square, pow(x, 2))
FORMULA(sqrt, sqrt(x))
FORMULA(rsqrt, pow(x, -0.5))
FORMULA(recip, pow(x, -1))
FORMULA(exp, exp(x))
FORMULA(expm1, expm1(x))
FORMULA(log, log(x))
FORMULA(log1p, log1p(x))
FORMULA(sin, sin(x))
FORMULA(cos, cos(x))
FORMULA(tanh, tanh(x))
FORMULA(sigmoid, 0.5 * (1 + tanh(0.5 * x)))
FORMULA(softplus, x > 30 ? x : log1p(exp(x)))
FORMULA(erf, erf(x))
FORMULA(relu, fmax(x, 0))
FORMULA(floor, floor(x))
FORMULA(ceil, ceil(x))
FORMULA(is_finite, isfinite(x) ? 1.0 : 0.0)
FORMULA(not, x == 0 ? 1.0 : 0.0)
FORMULA(add, x + y)
FORMULA(sub, x - y)
FORMULA(mul, x *y)
FORMULA(div, x / y)
FORMULA(max, x > y ? x : y)
FORMULA(min, x < y ? x : y)
FORMULA(pow, pow(x, y))
FORMULA(mod, y == 0 ? NAN : x - y * floor(x / y))
FORMULA(lt, x < y ? 1.0 : 0.0)
FORMULA(le, x <= y ? 1.0 : 0.0)
FORMULA(eq, x == y ? 1.0 : 0.0)
FORMULA(and, x != 0 && y != 0 ? 1.0 : 0.0)
FORMULA(or, x != 0 || y != 0 ? 1.0 : 0.0)
FORMULA(select, x != 0 ? y : z)

typedef struct instruction {
    dlt_ew op;
    double (*formula)(double x, double y, double z);
    double low, high; /* of all operands */
    bool integers;    /* exists on integers */
    bool whole;       /* real operands are whole numbers: comparisons meet equal ones */
} instruction;

static const instruction instructions[] = {
    {DLT_EW_COPY, f_copy, -3, 3, true, false},
    {DLT_EW_NEG, f_neg, -3, 3, true, false},
    {DLT_EW_ABS, f_abs, -3, 3, true, false},
    {DLT_EW_SIGN, f_sign, -3, 3, false, true},
    {DLT_EW_SQUARE, f_square, -3, 3, true, false},
    {DLT_EW_SQRT, f_sqrt, 0.1, 4, false, false},
    {DLT_EW_RSQRT, f_rsqrt, 0.3, 4, false, false},
    {DLT_EW_RECIP, f_recip, 0.3, 4, false, false},
    {DLT_EW_EXP, f_exp, -3, 3, false, false},
    {DLT_EW_EXPM1, f_expm1, -3, 3, false, false},
    {DLT_EW_LOG, f_log, 0.1, 4, false, false},
    {DLT_EW_LOG1P, f_log1p, -0.8, 4, false, false},
    {DLT_EW_SIN, f_sin, -6, 6, false, false},
    {DLT_EW_COS, f_cos, -6, 6, false, false},
    {DLT_EW_TANH, f_tanh, -4, 4, false, false},
    {DLT_EW_SIGMOID, f_sigmoid, -8, 8, false, false},
    {DLT_EW_SOFTPLUS, f_softplus, -8, 8, false, false},
    {DLT_EW_ERF, f_erf, -3, 3, false, false},
    {DLT_EW_RELU, f_relu, -3, 3, false, false},
    {DLT_EW_FLOOR, f_floor, -3, 3, false, false},
    {DLT_EW_CEIL, f_ceil, -3, 3, false, false},
    {DLT_EW_IS_FINITE, f_is_finite, -3, 3, false, false},
    {DLT_EW_NOT, f_not, -2, 2, true, true},
    {DLT_EW_ADD, f_add, -3, 3, true, false},
    {DLT_EW_SUB, f_sub, -3, 3, true, false},
    {DLT_EW_MUL, f_mul, -3, 3, true, false},
    {DLT_EW_DIV, f_div, 0.3, 3, false, false},
    {DLT_EW_MAX, f_max, -3, 3, true, false},
    {DLT_EW_MIN, f_min, -3, 3, true, false},
    {DLT_EW_POW, f_pow, 0.3, 3, false, false},
    {DLT_EW_MOD, f_mod, -7, 7, true, true},
    {DLT_EW_MOD, f_mod, 0.3, 3, false, false},
    {DLT_EW_LT, f_lt, -3, 3, true, true},
    {DLT_EW_LE, f_le, -3, 3, true, true},
    {DLT_EW_EQ, f_eq, -3, 3, true, true},
    {DLT_EW_AND, f_and, -2, 2, true, true},
    {DLT_EW_OR, f_or, -2, 2, true, true},
    {DLT_EW_SELECT, f_select, -3, 3, true, false},
};

/* ---- shapes ---- */

/* Shapes of up to three operands. */
typedef struct shapes {
    dlt_shape of[3];
} shapes;

static const shapes patterns[] = {
    {{{1, {5}}, {1, {5}}, {1, {5}}}},
    {{{0, {0}}, {0, {0}}, {0, {0}}}},
    {{{2, {3, 4}}, {1, {4}}, {2, {3, 1}}}},
    {{{2, {3, 1}}, {2, {1, 4}}, {0, {0}}}},
    {{{1, {4}}, {3, {2, 3, 4}}, {3, {2, 1, 4}}}},
    {{{3, {2, 3, 4}}, {3, {1, 3, 1}}, {1, {1}}}},
    {{{0, {0}}, {2, {2, 7}}, {2, {2, 7}}}},
    {{{4, {2, 1, 3, 1}}, {4, {1, 5, 1, 2}}, {2, {3, 2}}}},
    {{{2, {37, 29}}, {1, {29}}, {2, {37, 1}}}},
    {{{1, {1}}, {2, {1, 1}}, {1, {1}}}},
};

/* Coordinates of `flat` in `shape` as an index into an operand that broadcasts to it. */
static int64_t broadcast_index(const dlt_shape *shape, const dlt_shape *operand, int64_t flat)
{
    int64_t index = 0, stride = 1;
    for (int i = shape->rank - 1, k = operand->rank - 1; i >= 0; i--, k--) {
        const int64_t at = flat % shape->dim[i];
        flat /= shape->dim[i];
        if (k >= 0) {
            index += operand->dim[k] == 1 ? 0 : at * stride;
            stride *= operand->dim[k];
        }
    }
    return index;
}

typedef struct ew_case {
    const instruction *instruction;
    dlt_shape shape; /* of the result */
} ew_case;

static void build_ew(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    const ew_case *e = c->attrs;
    out[0] = dlt_elementwise(b, e->instruction->op, in[0], in[1], in[2]);
}

static void naive_ew(const op_case *c, double *const *in, double *const *out)
{
    const ew_case *e = c->attrs;
    for (int64_t i = 0; i < dlt_shape_count(&e->shape); i++) {
        double x[3] = {0};
        for (int k = 0; k < c->input_count; k++) {
            x[k] = in[k][broadcast_index(&e->shape, &c->inputs[k].shape, i)];
        }
        const bool by_zero = e->instruction->op == DLT_EW_MOD && x[1] == 0 && !dlt_dtype_is_real(c->inputs[0].type);
        out[0][i] = by_zero ? 0 : e->instruction->formula(x[0], x[1], x[2]);
    }
}

static void check_instruction(const instruction *x, const shapes *s, dlt_dtype type, uint64_t seed)
{
    const bool integer = !dlt_dtype_is_real(type);
    ew_case e = {.instruction = x};
    char name[120];
    op_case c = {.build = build_ew,
                 .naive = naive_ew,
                 .attrs = &e,
                 .input_count = dlt_ew_operands(x->op),
                 .output_count = 1,
                 .seed = seed,
                 .no_gradient = integer || x->whole};
    for (int k = 0; k < c.input_count; k++) {
        const dlt_shape before = e.shape;
        assert_true(k == 0 ? (e.shape = s->of[0], true) : dlt_broadcast(&before, &s->of[k], &e.shape));
        c.inputs[k] = (op_input){.shape = s->of[k],
                                 .low = x->low,
                                 .high = x->high,
                                 .integer = integer || x->whole,
                                 .type = integer ? type : DLT_F64};
        c.inputs[k].type = type;
    }
    snprintf(name, sizeof name, "%s of %s %d", dlt_ew_name(x->op), dlt_dtype_name(type), (int)(s - patterns));
    c.name = name;
    op_check(&c);
}

static void instructions_compute_their_formula_and_gradient(void **state)
{
    (void)state;
    for (size_t i = 0; i < DLT_COUNT(instructions); i++) {
        for (size_t s = 0; s < DLT_COUNT(patterns); s++) {
            check_instruction(&instructions[i], &patterns[s], DLT_F32, i * 100 + s);
        }
    }
}

static void instructions_compute_their_formula_on_integers(void **state)
{
    (void)state;
    static const dlt_dtype types[] = {DLT_I32, DLT_I64, DLT_I16};
    for (size_t i = 0; i < DLT_COUNT(instructions); i++) {
        for (size_t s = 0; s < DLT_COUNT(patterns) && instructions[i].integers; s++) {
            check_instruction(&instructions[i], &patterns[s], types[s % DLT_COUNT(types)], i * 100 + s);
        }
    }
}

/* ---- special values ---- */

static const double specials[] = {0.0, -0.0, 1, -1, 0.5, -2.5, 1e-30, 3e38, -3e38, INFINITY, -INFINITY, NAN};
enum { SPECIALS = (int)DLT_COUNT(specials) };

static void build_special(dlt_builder *b, const void *context)
{
    const dlt_ew *op = context;
    dlt_value *x = dlt_input(b, "x", dlt_real(b), DLT_SHAPE(SPECIALS, 1));
    dlt_value *y = dlt_input(b, "y", dlt_real(b), DLT_SHAPE(SPECIALS));
    dlt_output(b, "z", dlt_elementwise(b, *op, x, y, NULL));
}

/* Runs an instruction on all pairs of special values, or on each. */
static void run_special(dlt_ew op, dlt_dtype real, double z[SPECIALS][SPECIALS])
{
    test_program *t = test_compile(build_special, &op, &(test_options){.real = real});
    test_set_input(t, 0, specials);
    test_set_input(t, 1, specials);
    test_run(t);
    double values[SPECIALS * SPECIALS];
    const bool both = dlt_ew_operands(op) > 1;
    test_get(t, "z", values);
    for (int i = 0; i < SPECIALS * SPECIALS; i++) {
        z[i / SPECIALS][i % SPECIALS] = values[both ? i : i / SPECIALS];
    }
    test_release(t);
}

static void assert_same(const char *what, double got, double expected, double x, double y)
{
    if (!(got == expected || (isnan(got) && isnan(expected)))) {
        fail_msg("%s of %g and %g is %g, should be %g", what, x, y, got, expected);
    }
}

static void extremes_keep_nan(void **state)
{
    (void)state;
    double z[SPECIALS][SPECIALS];
    for (int real = 0; real < 2; real++) {
        for (int k = 0; k < 3; k++) {
            const dlt_ew op = k == 0 ? DLT_EW_MAX : k == 1 ? DLT_EW_MIN : DLT_EW_RELU;
            run_special(op, real ? DLT_F64 : DLT_F32, z);
            for (int i = 0; i < SPECIALS; i++) {
                for (int j = 0; j < SPECIALS; j++) {
                    double x = specials[i], y = specials[j], expected = isnan(x) || isnan(y) ? NAN : fmax(x, y);
                    if (op == DLT_EW_RELU) {
                        expected = isnan(x) ? NAN : x > 0 ? x : 0;
                    } else if (op == DLT_EW_MIN && !isnan(expected)) {
                        expected = fmin(x, y);
                    }
                    expected = real || isnan(expected) ? expected : (double)(float)expected;
                    assert_same(dlt_ew_name(op), z[i][j], expected, x, y);
                    if (op != DLT_EW_RELU && x == 0 && y == 0) {
                        assert_true(signbit(z[i][j]) == signbit(x)); /* of equals the first */
                    }
                }
            }
        }
    }
}

static void functions_have_their_limits(void **state)
{
    (void)state;
    static const struct {
        dlt_ew op;
        double x, expected;
    } limits[] = {
        {DLT_EW_SIGMOID, INFINITY, 1},    {DLT_EW_SIGMOID, -INFINITY, 0},     {DLT_EW_SIGMOID, 3e38, 1},
        {DLT_EW_SOFTPLUS, -3e38, 0},      {DLT_EW_SOFTPLUS, INFINITY, INFINITY}, {DLT_EW_SOFTPLUS, -INFINITY, 0},
        {DLT_EW_TANH, -INFINITY, -1},     {DLT_EW_EXP, -INFINITY, 0},         {DLT_EW_EXP, 3e38, INFINITY},
        {DLT_EW_LOG, 0, -INFINITY},       {DLT_EW_LOG, -1, NAN},              {DLT_EW_RSQRT, INFINITY, 0},
        {DLT_EW_RECIP, -INFINITY, -0.0},  {DLT_EW_ERF, INFINITY, 1},          {DLT_EW_IS_FINITE, NAN, 0},
        {DLT_EW_IS_FINITE, -INFINITY, 0}, {DLT_EW_IS_FINITE, 3e38, 1},        {DLT_EW_SIGN, NAN, NAN},
        {DLT_EW_SIGN, -INFINITY, -1},     {DLT_EW_SIGN, -0.0, 0},             {DLT_EW_NOT, NAN, 0},
        {DLT_EW_SQRT, -1, NAN},           {DLT_EW_FLOOR, -2.5, -3},           {DLT_EW_CEIL, -2.5, -2},
        {DLT_EW_EXPM1, -INFINITY, -1},
    };
    double z[SPECIALS][SPECIALS];
    for (int real = 0; real < 2; real++) {
        for (size_t k = 0; k < DLT_COUNT(limits); k++) {
            run_special(limits[k].op, real ? DLT_F64 : DLT_F32, z);
            bool found = false;
            for (int i = 0; i < SPECIALS; i++) {
                const double x = specials[i];
                if (x == limits[k].x || (isnan(x) && isnan(limits[k].x))) {
                    found = true;
                    assert_same(dlt_ew_name(limits[k].op), z[i][0], limits[k].expected, x, 0);
                }
            }
            if (!found) {
                fail_msg("%g is not among the special values", limits[k].x);
            }
        }
    }
}

/* ---- casts ---- */

static const double values_to_cast[] = {0,   0.4,  -0.4, 0.6,   1.5,    -1.5,  2.5,       127.5,  128,       -128.9,
                                        255, 256,  -1,   300.7, 40000,  -4e4,  2147483647.0, 3e9,  -3e9,      1e18,
                                        1e19, -1e19, 3e38, NAN,  INFINITY, -INFINITY};
enum { CASTS = (int)DLT_COUNT(values_to_cast) };

static double saturated(double x, double low, double high)
{
    return isnan(x) ? 0 : x <= low ? low : x >= high ? high : trunc(x);
}

static double cast_by_hand(double x, dlt_dtype type)
{
    switch (type) {
    case DLT_F32:
        return (double)(float)x;
    case DLT_U8:
        return saturated(x, 0, 255);
    case DLT_I8:
        return saturated(x, -128, 127);
    case DLT_I16:
        return saturated(x, -32768, 32767);
    case DLT_I32:
        return saturated(x, -2147483648.0, 2147483647.0);
    case DLT_I64:
        return saturated(x, -0x1p63, (double)INT64_MAX);
    default:
        return x;
    }
}

typedef struct cast_case {
    dlt_dtype from, to;
} cast_case;

static void build_cast(dlt_builder *b, const void *context)
{
    const cast_case *c = context;
    dlt_value *x = dlt_input(b, "x", c->from, DLT_SHAPE(CASTS));
    dlt_output(b, "y", dlt_cast(b, x, c->to));
    dlt_output(b, "z", dlt_cast(b, dlt_cast(b, x, c->to), c->from)); /* and back, in one program where it is fused */
}

static void casts_go_toward_zero_and_saturate(void **state)
{
    (void)state;
    static const dlt_dtype types[] = {DLT_F32, DLT_F64, DLT_U8, DLT_I8, DLT_I16, DLT_I32, DLT_I64};
    for (size_t i = 0; i < DLT_COUNT(types); i++) {
        for (size_t k = 0; k < DLT_COUNT(types); k++) {
            for (int fused = 0; fused < 2; fused++) {
                const cast_case c = {types[i], types[k]};
                test_program *t = test_compile(build_cast, &c, &(test_options){.no_fuse = !fused});
                double x[CASTS], y[CASTS], z[CASTS];
                for (int n = 0; n < CASTS; n++) {
                    x[n] = cast_by_hand(values_to_cast[n], c.from);
                }
                test_set_input(t, 0, x);
                if (c.from == DLT_I64) { /* the largest is no double */
                    ((int64_t *)dlt_backend_cpu.input_slot(t->memory, 0))[20] = INT64_MAX;
                    ((int64_t *)dlt_backend_cpu.input_slot(t->memory, 0))[24] = INT64_MAX;
                    ((int64_t *)dlt_backend_cpu.input_slot(t->memory, 0))[22] = INT64_MAX;
                }
                test_run(t);
                test_get(t, "y", y);
                test_get(t, "z", z);
                for (int n = 0; n < CASTS; n++) {
                    assert_same("cast", y[n], cast_by_hand(x[n], c.to), (double)c.from, (double)c.to);
                    assert_same("cast back", z[n], cast_by_hand(y[n], c.from), (double)c.from, (double)c.to);
                }
                test_release(t);
            }
        }
    }
}

/* The nearest number with `bits` bits of fraction and exponents from `least` on, ties to even; too large: infinite. */
static double nearest(double x, int bits, int least, double largest)
{
    int exponent;
    frexp(x, &exponent); /* x = f 2^exponent, 0.5 <= |f| < 1 */
    exponent = exponent - 1 < least ? least : exponent - 1;
    const double unit = ldexp(1, exponent - bits), y = nearbyint(x / unit) * unit;
    return fabs(y) > largest ? copysign(INFINITY, x) : y;
}

static void build_halves(dlt_builder *b, const void *context)
{
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(*(const int *)context));
    dlt_output(b, "bf16", dlt_cast(b, dlt_cast(b, x, DLT_BF16), DLT_F32));
    dlt_output(b, "f16", dlt_cast(b, dlt_cast(b, x, DLT_F16), DLT_F32));
}

static void halves_round_to_nearest_even(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    static double x[COUNT], bf16[COUNT], f16[COUNT];
    const int count = COUNT;
    for (int i = 0; i < COUNT; i++) { /* all sizes; every third exactly between two halves */
        const double size = ldexp(1, i % 60 - 35);
        x[i] = (double)(float)(size * test_random(1, (uint64_t)i, -2, 2));
        if (i % 3 == 0) {
            x[i] = (double)(float)(size * (1 + (2 * (i % 1024) + 1) / 2048.0));
        }
    }
    x[0] = INFINITY, x[1] = -INFINITY, x[2] = NAN, x[3] = 65519, x[4] = 65520, x[5] = -0.0, x[6] = 3.4e38;
    for (int fused = 0; fused < 2; fused++) {
        test_program *t = test_compile(build_halves, &count, &(test_options){.no_fuse = !fused});
        test_set_input(t, 0, x);
        test_run(t);
        test_get(t, "bf16", bf16);
        test_get(t, "f16", f16);
        for (int i = 0; i < COUNT; i++) {
            const bool plain = isfinite(x[i]);
            assert_same("bf16", bf16[i], plain ? nearest(x[i], 7, -126, 3.3895313892515355e38) : x[i], x[i], 0);
            assert_same("f16", f16[i], plain ? nearest(x[i], 10, -14, 65504) : x[i], x[i], 0);
        }
        test_release(t);
    }
}

/* ---- position and random numbers ---- */

static void build_index(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    (void)c;
    for (int axis = 0; axis < 3; axis++) {
        out[axis] = dlt_add(b, in[0], dlt_index(b, dlt_real(b), DLT_SHAPE(2, 3, 5), axis));
    }
    out[3] = dlt_one_hot(b, in[1], 4);
}

static void naive_index(const op_case *c, double *const *in, double *const *out)
{
    (void)c;
    for (int i = 0; i < 30; i++) {
        out[0][i] = in[0][i] + i / 15;
        out[1][i] = in[0][i] + i / 5 % 3;
        out[2][i] = in[0][i] + i % 5;
    }
    for (int i = 0; i < 6 * 4; i++) {
        out[3][i] = in[1][i / 4] == i % 4 ? 1 : 0;
    }
}

static void positions_count_along_their_axis(void **state)
{
    (void)state;
    op_check(&(op_case){.name = "index",
                        .build = build_index,
                        .naive = naive_index,
                        .input_count = 2,
                        .output_count = 4,
                        .loose = {false, false, false, true},
                        .inputs = {{.shape = DLT_SHAPE(2, 3, 5)},
                                   {.shape = DLT_SHAPE(2, 3), .integer = true, .type = DLT_I32, .low = -1, .high = 5}}});
}

enum { BATCH = 6, WIDTH = 7 };

static void build_uniform(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_scope_enter(b, "drop", NULL, (dlt_pos){0}, true);
    dlt_value *u = dlt_uniform(b, "mask", DLT_SHAPE(BATCH, WIDTH), false);
    dlt_output(b, "u", u);
    dlt_output(b, "half", dlt_mul_c(b, u, 0.5)); /* drawn again inside another program */
    dlt_output(b, "again", dlt_uniform(b, "mask", DLT_SHAPE(BATCH, WIDTH), false));
    dlt_output(b, "once", dlt_uniform(b, "noise", DLT_SHAPE(3), true));
    dlt_scope_fold(b, 2);
    dlt_output(b, "folded", dlt_uniform(b, "steps", DLT_SHAPE(BATCH, WIDTH), false));
    dlt_scope_leave(b);
    dlt_variable *samples = dlt_variable_of(dlt_samples(b));
    dlt_assign(b, samples, dlt_add_c(b, dlt_samples(b), BATCH));
}

static void random_numbers_follow_seed_path_sample_and_element(void **state)
{
    (void)state;
    const uint64_t seed = 0x123456789abcdefu;
    for (int how = 0; how < 4; how++) {
        test_program *t = test_compile(build_uniform, NULL,
                                       &(test_options){.seed = seed, .no_fuse = how % 2 != 0, .real = how < 2 ? DLT_F32 : DLT_F64});
        double first = 5000000000.0, u[BATCH * WIDTH], half[BATCH * WIDTH], again[BATCH * WIDTH], folded[BATCH * WIDTH], once[3];
        test_set_variable(t, "samples", &first);
        for (int step = 0; step < 2; step++) {
            const uint64_t start = 5000000000u + (uint64_t)step * BATCH;
            test_run(t);
            test_get(t, "u", u);
            test_get(t, "half", half);
            test_get(t, "again", again);
            test_get(t, "folded", folded);
            test_get(t, "once", once);
            for (uint64_t i = 0; i < BATCH * WIDTH; i++) {
                assert_true(u[i] == (double)dlt_random_uniform(seed, dlt_fnv1a("drop:mask"), start + i / WIDTH, i % WIDTH));
                assert_true(half[i] == 0.5 * u[i]);
                assert_true(again[i] ==
                            (double)dlt_random_uniform(seed, dlt_fnv1a("drop:mask#2"), start + i / WIDTH, i % WIDTH));
                assert_true(folded[i] == (double)dlt_random_uniform(seed, dlt_fnv1a("drop:steps"), start + i / (2 * WIDTH),
                                                                    i % (2 * WIDTH)));
            }
            for (uint64_t i = 0; i < 3; i++) {
                assert_true(once[i] == (double)dlt_random_uniform(seed, dlt_fnv1a("drop:noise"), start, i));
            }
        }
        ew_covered[DLT_EW_UNIFORM] = true;
        test_release(t);
    }
}

/* ---- gradients that stop, or that are gone through with care ---- */

static void build_stop(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    (void)c;
    out[0] = dlt_mul(b, dlt_stop_gradient(b, in[1]), in[0]); /* as if in[1] were no variable */
    out[1] = dlt_add(b, dlt_select(b, dlt_less(b, in[0], in[1]), in[0], dlt_square(b, in[1])), dlt_square(b, in[0]));
}

static void naive_stop(const op_case *c, double *const *in, double *const *out)
{
    for (int64_t i = 0; i < dlt_shape_count(&c->inputs[0].shape); i++) {
        const double x = in[0][i], y = in[1][i];
        out[0][i] = x * y;
        out[1][i] = (x < y ? x : y * y) + x * x;
    }
}

static void stopped_and_selected_gradients(void **state)
{
    (void)state;
    op_case c = {.name = "stop",
                 .build = build_stop,
                 .naive = naive_stop,
                 .input_count = 2,
                 .output_count = 2,
                 .inputs = {{.shape = DLT_SHAPE(4, 5)}, {.shape = DLT_SHAPE(4, 5), .fixed = true}}};
    op_check(&c);
}

/* ---- reductions ---- */

typedef struct reduce_case {
    dlt_reduce_kind kind;
    uint32_t axes;
    bool keep, mean;
} reduce_case;

static void build_reduce(dlt_builder *b, const op_case *c, dlt_value *const *in, dlt_value **out)
{
    const reduce_case *r = c->attrs;
    out[0] = r->mean ? dlt_mean(b, in[0], r->axes, r->keep) : dlt_reduce(b, r->kind, in[0], r->axes, r->keep);
    assert_true(dlt_builder_failed(b) || dlt_shape_of(out[0]).rank == dlt_reduce_shape(&c->inputs[0].shape, r->axes, r->keep).rank);
}

static void naive_reduce(const op_case *c, double *const *in, double *const *out)
{
    const reduce_case *r = c->attrs;
    const dlt_shape *s = &c->inputs[0].shape;
    const dlt_shape kept = dlt_reduce_shape(s, r->axes, true);
    const int64_t count = dlt_shape_count(s), results = dlt_shape_count(&kept);
    for (int64_t i = 0; i < results; i++) {
        out[0][i] = r->kind == DLT_REDUCE_MAX ? -INFINITY : r->kind == DLT_REDUCE_MIN ? INFINITY : 0;
    }
    for (int64_t i = 0; i < count; i++) {
        double *y = &out[0][broadcast_index(s, &kept, i)];
        *y = r->kind == DLT_REDUCE_MAX   ? fmax(*y, in[0][i])
             : r->kind == DLT_REDUCE_MIN ? fmin(*y, in[0][i])
                                         : *y + in[0][i];
    }
    for (int64_t i = 0; i < results && r->mean; i++) {
        out[0][i] *= (double)results / (double)count;
    }
}

static void reductions_over_any_axes(void **state)
{
    (void)state;
    static const dlt_shape shapes_to_reduce[] = {{1, {5}},       {2, {3, 7}},          {3, {2, 3, 4}},   {4, {2, 1, 3, 5}},
                                                 {2, {1, 9}},    {2, {9, 1}},          {5, {2, 3, 1, 2, 3}}, {2, {2, 4099}},
                                                 {2, {531, 37}}, {3, {3, 40, 20}}};
    for (size_t s = 0; s < DLT_COUNT(shapes_to_reduce); s++) {
        const dlt_shape *shape = &shapes_to_reduce[s];
        const bool large = dlt_shape_count(shape) > 1000;
        for (uint32_t axes = 1; axes < UINT32_C(1) << shape->rank; axes++) {
            for (int kind = 0; kind < 4; kind++) {
                char name[80];
                const reduce_case r = {.kind = kind == 0   ? DLT_REDUCE_MAX
                                               : kind == 1 ? DLT_REDUCE_MIN
                                                           : DLT_REDUCE_SUM,
                                       .axes = axes,
                                       .keep = (axes + (uint32_t)kind) % 2 != 0,
                                       .mean = kind == 3};
                snprintf(name, sizeof name, "reduce %d of shape %d, axes %x", kind, (int)s, (unsigned)axes);
                if (large && kind % 2 != 0) {
                    continue;
                }
                op_check(&(op_case){.name = name,
                                    .build = build_reduce,
                                    .naive = naive_reduce,
                                    .attrs = &r,
                                    .input_count = 1,
                                    .output_count = 1,
                                    .seed = s,
                                    .tolerance = large ? 1e-5 : 0,
                                    .inputs = {{.shape = *shape, .spread = kind < 2, .fixed = large && kind > 1}}});
            }
        }
    }
}

/* The fixed order of graph/expr.h, written down once more in float. */
static float sum_in_order(const float *x, int64_t length, int64_t inner)
{
    static float chunks[4096];
    int64_t count = 0;
    const int64_t rows = inner == 1 ? DLT_REDUCE_CHUNK : dlt_reduce_rows(inner);
    for (int64_t first = 0; first < length; first += rows) {
        const int64_t n = length - first < rows ? length - first : rows;
        float lanes[16] = {0}, sum = 0;
        for (int64_t i = 0; i < n; i++) {
            sum += x[(first + i) * inner];
            lanes[i % 16] += x[(first + i) * inner];
        }
        for (int half = 8; half > 0; half /= 2) {
            for (int l = 0; l < half; l++) {
                lanes[l] += lanes[l + half];
            }
        }
        assert_true(count < 4096);
        chunks[count++] = inner == 1 ? lanes[0] : sum;
    }
    for (; count > 1; count = (count + 1) / 2) {
        for (int64_t i = 0; i < count / 2; i++) {
            chunks[i] = chunks[2 * i] + chunks[2 * i + 1];
        }
        if (count % 2 != 0) {
            chunks[count / 2] = chunks[count - 1];
        }
    }
    return chunks[0];
}

typedef struct order_case {
    int64_t outer, length, inner;
} order_case;

static void build_order(dlt_builder *b, const void *context)
{
    const order_case *o = context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(o->outer, o->length, o->inner));
    dlt_output(b, "sum", dlt_sum(b, dlt_mul_c(b, x, 3), 2, false)); /* in one program with an instruction */
    dlt_output(b, "scaled", dlt_mul_c(b, x, 3));
}

static void sums_are_taken_in_the_fixed_order(void **state)
{
    (void)state;
    static const order_case cases[] = {{1, 1, 1},     {2, 15, 1},    {3, 17, 1},    {2, 4096, 1},  {2, 4097, 1}, {1, 50000, 1},
                                       {2, 5, 3},     {1, 1100, 16}, {3, 700, 257}, {2, 9, 20000}, {4, 1, 3},    {1, 40, 5000},
                                       {1, 300000, 1}};
    for (size_t k = 0; k < DLT_COUNT(cases); k++) {
        const order_case *o = &cases[k];
        const int64_t count = o->outer * o->length * o->inner, results = o->outer * o->inner;
        double *x = calloc((size_t)count, sizeof *x), *y = calloc((size_t)results, sizeof *y);
        float *scaled = calloc((size_t)count, sizeof *scaled);
        assert_true(x != NULL && y != NULL && scaled != NULL);
        test_fill(x, count, k, -1, 1);
        for (int64_t i = 0; i < count; i++) {
            scaled[i] = (float)x[i] * 3.0f;
        }
        for (int how = 0; how < 4; how++) {
            test_program *t = test_compile(build_order, o,
                                           &(test_options){.no_fuse = how % 2 != 0, .threads = 1 + how, .reference = how < 2});
            test_set_input(t, 0, x);
            test_run(t);
            test_get(t, "sum", y);
            for (int64_t i = 0; i < results; i++) {
                const float expected =
                    sum_in_order(scaled + i / o->inner * o->length * o->inner + i % o->inner, o->length, o->inner);
                if ((float)y[i] != expected) {
                    fail_msg("case %d, result %lld: %.9g, should be %.9g", (int)k, (long long)i, y[i], (double)expected);
                }
            }
            test_release(t);
        }
        free(x);
        free(y);
        free(scaled);
    }
}

static void build_empty(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(0, 3));
    dlt_output(b, "y", dlt_add_c(b, x, 1));
    dlt_output(b, "sum", dlt_sum(b, x, 1, false));
    dlt_output(b, "all", dlt_sum_all(b, x));
    dlt_output(b, "max", dlt_reduce(b, DLT_REDUCE_MAX, x, 1, false));
    dlt_output(b, "none", dlt_sum(b, x, 2, false));
}

static void reductions_of_nothing(void **state)
{
    (void)state;
    for (int fused = 0; fused < 2; fused++) {
        test_program *t = test_compile(build_empty, NULL, &(test_options){.no_fuse = !fused, .threads = 2});
        double sum[3], all, max[3];
        test_run(t);
        test_get(t, "sum", sum);
        test_get(t, "all", &all);
        test_get(t, "max", max);
        assert_int_equal(test_count(t, "y"), 0);
        assert_int_equal(test_count(t, "none"), 0);
        for (int i = 0; i < 3; i++) {
            assert_true(sum[i] == 0 && max[i] == -INFINITY);
        }
        assert_true(all == 0);
        test_release(t);
    }
}

static void build_nan(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(3, 40));
    dlt_output(b, "rows", dlt_reduce(b, DLT_REDUCE_MAX, x, 2, false));
    dlt_output(b, "columns", dlt_reduce(b, DLT_REDUCE_MIN, x, 1, false));
}

static void extremes_of_an_axis_keep_nan(void **state)
{
    (void)state;
    double x[120], rows[3], columns[40];
    test_program *t = test_compile(build_nan, NULL, &(test_options){0});
    for (int at = 0; at < 120; at += 7) {
        test_fill(x, 120, 3, -1, 1);
        x[at] = NAN;
        test_set_input(t, 0, x);
        test_run(t);
        test_get(t, "rows", rows);
        test_get(t, "columns", columns);
        for (int i = 0; i < 40; i++) {
            assert_true((isnan(columns[i]) != 0) == (i == at % 40));
            assert_true((isnan(rows[i % 3]) != 0) == (i % 3 == at / 40));
        }
    }
    test_release(t);
}

static void every_instruction_has_a_case(void **state)
{
    (void)state;
    ew_covered[DLT_EW_CAST] = true; /* casts_go_toward_zero_and_saturate */
    for (int i = 0; i < DLT_EW_COUNT; i++) {
        if (!ew_covered[i]) {
            fail_msg("instruction %s has no case", dlt_ew_name((dlt_ew)i));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instructions_compute_their_formula_and_gradient),
        cmocka_unit_test(instructions_compute_their_formula_on_integers),
        cmocka_unit_test(extremes_keep_nan),
        cmocka_unit_test(functions_have_their_limits),
        cmocka_unit_test(casts_go_toward_zero_and_saturate),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(positions_count_along_their_axis),
        cmocka_unit_test(random_numbers_follow_seed_path_sample_and_element),
        cmocka_unit_test(stopped_and_selected_gradients),
        cmocka_unit_test(reductions_over_any_axes),
        cmocka_unit_test(sums_are_taken_in_the_fixed_order),
        cmocka_unit_test(reductions_of_nothing),
        cmocka_unit_test(extremes_of_an_axis_keep_nan),
        cmocka_unit_test(every_instruction_has_a_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
