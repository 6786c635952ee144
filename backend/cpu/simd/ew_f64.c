/* backend/cpu/simd/ew_f64.c: the instructions of expression programs on float64, with libm: gradient checks and sums of
 * metrics, not training. */
#include "backend/cpu/simd/ew.h"

#include <math.h>

typedef double T;

static T larger(T x, T y)
{
    return x < y || y != y ? (x != x ? x : y) : x;
}
static T smaller(T x, T y)
{
    return y < x || y != y ? (x != x ? x : y) : x;
}
static T sigmoid_of(T x)
{
    const T e = exp(-fabs(x));
    return (x < 0 ? e : 1) / (1 + e);
}
static T softplus_of(T x)
{
    return x != x ? x : (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}
static T modulo(T x, T y)
{
    const T r = fmod(x, y);
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}
/* as if stored in an integer type */
static T to_range(T x, T lowest, T largest)
{
    return x != x ? 0 : trunc(x < lowest ? lowest : x > largest ? largest : x) + 0.0;
}

#define UNARY(name, value)                                                                                   \
    static void each_##name(void *dv, const void *av, const void *bv, const void *cv, int64_t n)                    \
    {                                                                                                        \
        T *d = dv;                                                                                           \
        const T *a = av;                                                                                     \
        (void)bv, (void)cv;                                                                                  \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            const T x = a[i];                                                                                \
            d[i] = (T)(value);                                                                               \
        }                                                                                                    \
    }
#define LOOP2(name, form, first, second, value)                                                              \
    static void each_##name##_##form(void *dv, const void *av, const void *bv, const void *cv, int64_t n)           \
    {                                                                                                        \
        T *d = dv;                                                                                           \
        const T *a = av, *b = bv, a_one = *a, b_one = *b;                                                    \
        (void)a_one, (void)b_one, (void)cv;                                                                  \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            const T x = first, y = second;                                                                   \
            d[i] = (T)(value);                                                                               \
        }                                                                                                    \
    }
#define BINARY(name, value)                                                                                  \
    LOOP2(name, vv, a[i], b[i], value)                                                                       \
    LOOP2(name, sv, a_one, b[i], value)                                                                      \
    LOOP2(name, vs, a[i], b_one, value)
#define SELECT(form, yes, no)                                                                                \
    static void select_##form(void *dv, const void *av, const void *bv, const void *cv, int64_t n)           \
    {                                                                                                        \
        T *d = dv;                                                                                           \
        const T *a = av, *b = bv, *c = cv, b_one = *b, c_one = *c;                                           \
        (void)b_one, (void)c_one;                                                                            \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            d[i] = a[i] != 0 ? yes : no;                                                                     \
        }                                                                                                    \
    }

UNARY(copy, x)
UNARY(neg, -x)
UNARY(abs, fabs(x))
UNARY(sign, x != x ? x : (double)((x > 0) - (x < 0)))
UNARY(square, x * x)
UNARY(sqrt, sqrt(x))
UNARY(rsqrt, 1 / sqrt(x))
UNARY(recip, 1 / x)
UNARY(exp, exp(x))
UNARY(expm1, expm1(x))
UNARY(log, log(x))
UNARY(log1p, log1p(x))
UNARY(sin, sin(x))
UNARY(cos, cos(x))
UNARY(tanh, tanh(x))
UNARY(sigmoid, sigmoid_of(x))
UNARY(softplus, softplus_of(x))
UNARY(erf, erf(x))
UNARY(relu, x < 0 ? 0 : x)
UNARY(floor, floor(x))
UNARY(ceil, ceil(x))
UNARY(is_finite, isfinite(x) ? 1 : 0)
UNARY(not, x == 0 ? 1 : 0)
BINARY(add, x + y)
BINARY(sub, x - y)
BINARY(mul, x * y)
BINARY(div, x / y)
BINARY(max, larger(x, y))
BINARY(min, smaller(x, y))
BINARY(pow, pow(x, y))
BINARY(mod, modulo(x, y))
BINARY(lt, x < y ? 1 : 0)
BINARY(le, x <= y ? 1 : 0)
BINARY(eq, x == y ? 1 : 0)
BINARY(and, x != 0 && y != 0 ? 1 : 0)
BINARY(or, x != 0 || y != 0 ? 1 : 0)
SELECT(vvv, b[i], c[i])
SELECT(vsv, b_one, c[i])
SELECT(vvs, b[i], c_one)
SELECT(vss, b_one, c_one)

UNARY(cast_f32, (float)x)
UNARY(cast_u8, to_range(x, 0, 255))
UNARY(cast_i8, to_range(x, -128, 127))
UNARY(cast_i16, to_range(x, -32768, 32767))
UNARY(cast_i32, to_range(x, INT32_MIN, INT32_MAX))
UNARY(cast_i64, to_range(x, -0x1p63, 0x1p63))

#define FORMS2(name) {[0] = each_##name##_vv, [DLT_EW_A_ONE] = each_##name##_sv, [DLT_EW_B_ONE] = each_##name##_vs}
const dlt_ew_forms DLT_SIMD(ew_f64)[DLT_EW_COUNT] = {
    [DLT_EW_COPY] = {each_copy},
    [DLT_EW_STOP] = {each_copy},
    [DLT_EW_NEG] = {each_neg},
    [DLT_EW_ABS] = {each_abs},
    [DLT_EW_SIGN] = {each_sign},
    [DLT_EW_SQUARE] = {each_square},
    [DLT_EW_SQRT] = {each_sqrt},
    [DLT_EW_RSQRT] = {each_rsqrt},
    [DLT_EW_RECIP] = {each_recip},
    [DLT_EW_EXP] = {each_exp},
    [DLT_EW_EXPM1] = {each_expm1},
    [DLT_EW_LOG] = {each_log},
    [DLT_EW_LOG1P] = {each_log1p},
    [DLT_EW_SIN] = {each_sin},
    [DLT_EW_COS] = {each_cos},
    [DLT_EW_TANH] = {each_tanh},
    [DLT_EW_SIGMOID] = {each_sigmoid},
    [DLT_EW_SOFTPLUS] = {each_softplus},
    [DLT_EW_ERF] = {each_erf},
    [DLT_EW_RELU] = {each_relu},
    [DLT_EW_FLOOR] = {each_floor},
    [DLT_EW_CEIL] = {each_ceil},
    [DLT_EW_IS_FINITE] = {each_is_finite},
    [DLT_EW_NOT] = {each_not},
    [DLT_EW_ADD] = FORMS2(add),
    [DLT_EW_SUB] = FORMS2(sub),
    [DLT_EW_MUL] = FORMS2(mul),
    [DLT_EW_DIV] = FORMS2(div),
    [DLT_EW_MAX] = FORMS2(max),
    [DLT_EW_MIN] = FORMS2(min),
    [DLT_EW_POW] = FORMS2(pow),
    [DLT_EW_MOD] = FORMS2(mod),
    [DLT_EW_LT] = FORMS2(lt),
    [DLT_EW_LE] = FORMS2(le),
    [DLT_EW_EQ] = FORMS2(eq),
    [DLT_EW_AND] = FORMS2(and),
    [DLT_EW_OR] = FORMS2(or),
    [DLT_EW_SELECT] = {[0] = select_vvv, [DLT_EW_B_ONE] = select_vsv, [DLT_EW_C_ONE] = select_vvs,
                       [DLT_EW_B_ONE | DLT_EW_C_ONE] = select_vss},
};

dlt_ew_fn *const DLT_SIMD(cast_f64)[DLT_DTYPE_COUNT] = {
    [DLT_F64] = each_copy,
    [DLT_F32] = each_cast_f32,
    [DLT_U8] = each_cast_u8,
    [DLT_I8] = each_cast_i8,
    [DLT_I16] = each_cast_i16,
    [DLT_I32] = each_cast_i32,
    [DLT_I64] = each_cast_i64,
};

/* ---- reductions ---- */

static T join(T x, T y, dlt_reduce_kind kind)
{
    if (kind == DLT_REDUCE_SUM) {
        return (T)(x + y);
    }
    return kind == DLT_REDUCE_MAX ? larger(x, y) : smaller(x, y);
}
static void lanes_add(void *accv, const void *sv, int64_t n, dlt_reduce_kind kind)
{
    T *acc = accv;
    const T *s = sv;
    for (int64_t i = 0; i < n; i++) {
        acc[i % DLT_REDUCE_LANES] = join(acc[i % DLT_REDUCE_LANES], s[i], kind);
    }
}
static void lanes_join(void *d, const void *accv, dlt_reduce_kind kind)
{
    T x[DLT_REDUCE_LANES];
    memcpy(x, accv, sizeof x);
    for (int half = DLT_REDUCE_LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            x[i] = join(x[i], x[i + half], kind);
        }
    }
    *(T *)d = x[0];
}
static void rows_add(void *accv, const void *sv, int64_t n, dlt_reduce_kind kind)
{
    T *acc = accv;
    const T *s = sv;
    for (int64_t i = 0; i < n; i++) {
        acc[i] = join(acc[i], s[i], kind);
    }
}
static void columns(void *acc, const void *s, int64_t rows, int64_t n, dlt_reduce_kind kind)
{
    for (int64_t r = 0; r < rows; r++) {
        rows_add(acc, (const T *)s + r * n, n, kind);
    }
}
static void reduce_rows(void *d, const void *s, int64_t rows, int64_t length, dlt_reduce_kind kind)
{
    for (int64_t r = 0; r < rows; r++) {
        T acc[DLT_REDUCE_LANES];
        for (int i = 0; i < DLT_REDUCE_LANES; i++) {
            acc[i] = kind == DLT_REDUCE_SUM ? 0 : kind == DLT_REDUCE_MAX ? -HUGE_VAL : HUGE_VAL;
        }
        lanes_add(acc, (const T *)s + r * length, length, kind);
        lanes_join((T *)d + r, acc, kind);
    }
}
const dlt_reducers DLT_SIMD(reduce_f64) = {lanes_add, lanes_join, rows_add, columns, reduce_rows};
