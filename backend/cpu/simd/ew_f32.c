/* backend/cpu/simd/ew_f32.c: the instructions of expression programs on float32, one loop over a tile each. */
#include "backend/cpu/simd/ew.h"
#include "backend/cpu/simd/vmath.h"

/* ---- what each instruction does to a vector ---- */

VEC vf truth(vm m)
{
    return vselect(m, vset(1), vzero());
}
VEC vf do_copy(vf a) { return a; }
VEC vf do_neg(vf a) { return vneg(a); }
VEC vf do_abs(vf a) { return vabs(a); }
VEC vf do_sign(vf a)
{
    return vselect(veq(a, vzero()), vzero(), vselect(vne(a, a), a, vcopysign(vset(1), a)));
}
VEC vf do_square(vf a) { return a * a; }
VEC vf do_sqrt(vf a) { return vsqrt(a); }
VEC vf do_rsqrt(vf a) { return vset(1) / vsqrt(a); }
VEC vf do_recip(vf a) { return vset(1) / a; }
VEC vf do_exp(vf a) { return vexp(a); }
VEC vf do_expm1(vf a) { return vexpm1(a); }
VEC vf do_log(vf a) { return vlog(a); }
VEC vf do_log1p(vf a) { return vlog1p(a); }
VEC vf do_sin(vf a) { return vsin(a); }
VEC vf do_cos(vf a) { return vcos(a); }
VEC vf do_tanh(vf a) { return vtanh(a); }
VEC vf do_sigmoid(vf a) { return vsigmoid(a); }
VEC vf do_softplus(vf a) { return vsoftplus(a); }
VEC vf do_erf(vf a) { return verf(a); }
VEC vf do_relu(vf a) { return vselect(vlt(a, vzero()), vzero(), a); }
VEC vf do_floor(vf a) { return vfloor(a); }
VEC vf do_ceil(vf a) { return vceil(a); }
VEC vf do_is_finite(vf a) { return truth(vlt(vabs(a), vset(HUGE_VALF))); }
VEC vf do_not(vf a) { return truth(veq(a, vzero())); }

VEC vf do_add(vf a, vf b) { return a + b; }
VEC vf do_sub(vf a, vf b) { return a - b; }
VEC vf do_mul(vf a, vf b) { return a * b; }
VEC vf do_div(vf a, vf b) { return a / b; }
/* NaN if either is; of equals the first */
VEC vf do_max(vf a, vf b) { return vselect(vor_m(vlt(a, b), vne(b, b)), vselect(vne(a, a), a, b), a); }
VEC vf do_min(vf a, vf b) { return vselect(vor_m(vlt(b, a), vne(b, b)), vselect(vne(a, a), a, b), a); }
VEC vf do_pow(vf a, vf b) { return vpow(a, b); }
VEC vf do_lt(vf a, vf b) { return truth(vlt(a, b)); }
VEC vf do_le(vf a, vf b) { return truth(vle(a, b)); }
VEC vf do_eq(vf a, vf b) { return truth(veq(a, b)); }
VEC vf do_and(vf a, vf b) { return truth(vand_m(vne(a, vzero()), vne(b, vzero()))); }
VEC vf do_or(vf a, vf b) { return truth(vor_m(vne(a, vzero()), vne(b, vzero()))); }
VEC vf do_mod(vf a, vf b)
{
    float x[VW], y[VW];
    vstore(x, a);
    vstore(y, b);
    for (int i = 0; i < VW; i++) { /* fmod is exact, so every C library gives the same */
        const float r = fmodf(x[i], y[i]);
        x[i] = r != 0 && (r < 0) != (y[i] < 0) ? r + y[i] : r;
    }
    return vload(x);
}

/* CAST: as if stored in the type. Whole numbers that float32 holds are exact; the ends of the ranges round up to
 * powers of two, as they do when they are read back. */
VEC vf to_range(vf a, float lowest, float largest)
{
    const vf t = vtrunc(vminof(vmaxof(a, vset(lowest)), vset(largest)));
    return vselect(vne(a, a), vzero(), t + vzero()); /* no -0 among integers */
}
VEC vf do_cast_u8(vf a) { return to_range(a, 0, 255); }
VEC vf do_cast_i8(vf a) { return to_range(a, -128, 127); }
VEC vf do_cast_i16(vf a) { return to_range(a, -32768, 32767); }
VEC vf do_cast_i32(vf a) { return to_range(a, -0x1p31f, 0x1p31f); }
VEC vf do_cast_i64(vf a) { return to_range(a, -0x1p63f, 0x1p63f); }

/* ---- loops ---- */

#define UNARY(name)                                                                                          \
    static void each_##name(void *dv, const void *av, const void *bv, const void *cv, int64_t n)                    \
    {                                                                                                        \
        float *d = dv;                                                                                       \
        const float *a = av;                                                                                 \
        int64_t i = 0;                                                                                       \
        (void)bv, (void)cv;                                                                                  \
        for (; i + VW <= n; i += VW) {                                                                       \
            vstore(d + i, do_##name(vload(a + i)));                                                          \
        }                                                                                                    \
        if (i < n) {                                                                                         \
            vstore_n(d + i, do_##name(vload_n(a + i, n - i)), n - i);                                        \
        }                                                                                                    \
    }

#define BINARY(name)                                                                                         \
    static void each_##name##_vv(void *dv, const void *av, const void *bv, const void *cv, int64_t n)               \
    {                                                                                                        \
        float *d = dv;                                                                                       \
        const float *a = av, *b = bv;                                                                        \
        int64_t i = 0;                                                                                       \
        (void)cv;                                                                                            \
        for (; i + VW <= n; i += VW) {                                                                       \
            vstore(d + i, do_##name(vload(a + i), vload(b + i)));                                            \
        }                                                                                                    \
        if (i < n) {                                                                                         \
            vstore_n(d + i, do_##name(vload_n(a + i, n - i), vload_n(b + i, n - i)), n - i);                 \
        }                                                                                                    \
    }                                                                                                        \
    static void each_##name##_sv(void *dv, const void *av, const void *bv, const void *cv, int64_t n)               \
    {                                                                                                        \
        float *d = dv;                                                                                       \
        const vf a = vset(*(const float *)av);                                                               \
        const float *b = bv;                                                                                 \
        int64_t i = 0;                                                                                       \
        (void)cv;                                                                                            \
        for (; i + VW <= n; i += VW) {                                                                       \
            vstore(d + i, do_##name(a, vload(b + i)));                                                       \
        }                                                                                                    \
        if (i < n) {                                                                                         \
            vstore_n(d + i, do_##name(a, vload_n(b + i, n - i)), n - i);                                     \
        }                                                                                                    \
    }                                                                                                        \
    static void each_##name##_vs(void *dv, const void *av, const void *bv, const void *cv, int64_t n)               \
    {                                                                                                        \
        float *d = dv;                                                                                       \
        const float *a = av;                                                                                 \
        const vf b = vset(*(const float *)bv);                                                               \
        int64_t i = 0;                                                                                       \
        (void)cv;                                                                                            \
        for (; i + VW <= n; i += VW) {                                                                       \
            vstore(d + i, do_##name(vload(a + i), b));                                                       \
        }                                                                                                    \
        if (i < n) {                                                                                         \
            vstore_n(d + i, do_##name(vload_n(a + i, n - i), b), n - i);                                     \
        }                                                                                                    \
    }

UNARY(copy)
UNARY(neg)
UNARY(abs)
UNARY(sign)
UNARY(square)
UNARY(sqrt)
UNARY(rsqrt)
UNARY(recip)
UNARY(exp)
UNARY(expm1)
UNARY(log)
UNARY(log1p)
UNARY(sin)
UNARY(cos)
UNARY(tanh)
UNARY(sigmoid)
UNARY(softplus)
UNARY(erf)
UNARY(relu)
UNARY(floor)
UNARY(ceil)
UNARY(is_finite)
UNARY(not)
UNARY(cast_u8)
UNARY(cast_i8)
UNARY(cast_i16)
UNARY(cast_i32)
UNARY(cast_i64)
BINARY(add)
BINARY(sub)
BINARY(mul)
BINARY(div)
BINARY(max)
BINARY(min)
BINARY(pow)
BINARY(mod)
BINARY(lt)
BINARY(le)
BINARY(eq)
BINARY(and)
BINARY(or)

#define SELECT(form, b_full, b_tail, c_full, c_tail)                                                         \
    static void select_##form(void *dv, const void *av, const void *bv, const void *cv, int64_t n)           \
    {                                                                                                        \
        float *d = dv;                                                                                       \
        const float *a = av, *b = bv, *c = cv;                                                               \
        const vf b_one = vset(*b), c_one = vset(*c);                                                         \
        int64_t i = 0;                                                                                       \
        (void)b_one, (void)c_one;                                                                            \
        for (; i + VW <= n; i += VW) {                                                                       \
            vstore(d + i, vselect(vne(vload(a + i), vzero()), b_full, c_full));                              \
        }                                                                                                    \
        if (i < n) {                                                                                         \
            vstore_n(d + i, vselect(vne(vload_n(a + i, n - i), vzero()), b_tail, c_tail), n - i);            \
        }                                                                                                    \
    }
SELECT(vvv, vload(b + i), vload_n(b + i, n - i), vload(c + i), vload_n(c + i, n - i))
SELECT(vsv, b_one, b_one, vload(c + i), vload_n(c + i, n - i))
SELECT(vvs, vload(b + i), vload_n(b + i, n - i), c_one, c_one)
SELECT(vss, b_one, b_one, c_one, c_one)

#define FORM1(name) {each_##name}
#define FORMS2(name) {[0] = each_##name##_vv, [DLT_EW_A_ONE] = each_##name##_sv, [DLT_EW_B_ONE] = each_##name##_vs}
const dlt_ew_forms DLT_SIMD(ew_f32)[DLT_EW_COUNT] = {
    [DLT_EW_COPY] = FORM1(copy),         [DLT_EW_STOP] = FORM1(copy),
    [DLT_EW_NEG] = FORM1(neg),           [DLT_EW_ABS] = FORM1(abs),
    [DLT_EW_SIGN] = FORM1(sign),         [DLT_EW_SQUARE] = FORM1(square),
    [DLT_EW_SQRT] = FORM1(sqrt),         [DLT_EW_RSQRT] = FORM1(rsqrt),
    [DLT_EW_RECIP] = FORM1(recip),       [DLT_EW_EXP] = FORM1(exp),
    [DLT_EW_EXPM1] = FORM1(expm1),       [DLT_EW_LOG] = FORM1(log),
    [DLT_EW_LOG1P] = FORM1(log1p),       [DLT_EW_SIN] = FORM1(sin),
    [DLT_EW_COS] = FORM1(cos),           [DLT_EW_TANH] = FORM1(tanh),
    [DLT_EW_SIGMOID] = FORM1(sigmoid),   [DLT_EW_SOFTPLUS] = FORM1(softplus),
    [DLT_EW_ERF] = FORM1(erf),           [DLT_EW_RELU] = FORM1(relu),
    [DLT_EW_FLOOR] = FORM1(floor),       [DLT_EW_CEIL] = FORM1(ceil),
    [DLT_EW_IS_FINITE] = FORM1(is_finite), [DLT_EW_NOT] = FORM1(not),
    [DLT_EW_ADD] = FORMS2(add),          [DLT_EW_SUB] = FORMS2(sub),
    [DLT_EW_MUL] = FORMS2(mul),          [DLT_EW_DIV] = FORMS2(div),
    [DLT_EW_MAX] = FORMS2(max),          [DLT_EW_MIN] = FORMS2(min),
    [DLT_EW_POW] = FORMS2(pow),          [DLT_EW_MOD] = FORMS2(mod),
    [DLT_EW_LT] = FORMS2(lt),            [DLT_EW_LE] = FORMS2(le),
    [DLT_EW_EQ] = FORMS2(eq),            [DLT_EW_AND] = FORMS2(and),
    [DLT_EW_OR] = FORMS2(or),
    [DLT_EW_SELECT] = {[0] = select_vvv, [DLT_EW_B_ONE] = select_vsv, [DLT_EW_C_ONE] = select_vvs,
                       [DLT_EW_B_ONE | DLT_EW_C_ONE] = select_vss},
};

static void each_cast_bf16(void *dv, const void *av, const void *bv, const void *cv, int64_t n)
{
    uint32_t *d = dv;
    const uint32_t *a = av;
    (void)bv, (void)cv;
    for (int64_t i = 0; i < n; i++) {
        d[i] = vec_to_bf16(a[i]);
    }
}

dlt_ew_fn *const DLT_SIMD(cast_f32)[DLT_DTYPE_COUNT] = {
    [DLT_BF16] = each_cast_bf16,
    [DLT_F32] = each_copy,        [DLT_F64] = each_copy,         [DLT_U8] = each_cast_u8,   [DLT_I8] = each_cast_i8,
    [DLT_I16] = each_cast_i16,    [DLT_I32] = each_cast_i32,     [DLT_I64] = each_cast_i64,
};

/* ---- reductions ---- */

VEC vf join(vf a, vf b, dlt_reduce_kind kind)
{
    if (kind == DLT_REDUCE_SUM) {
        return a + b;
    }
    return kind == DLT_REDUCE_MAX ? do_max(a, b) : do_min(a, b);
}

enum { VECTORS = DLT_REDUCE_LANES / VW };

VEC void lanes_add(float *acc, const float *s, int64_t n, dlt_reduce_kind kind)
{
    vf lanes[VECTORS];
    int64_t i = 0;
    for (int v = 0; v < VECTORS; v++) {
        lanes[v] = vload(acc + v * VW);
    }
    for (; i + DLT_REDUCE_LANES <= n; i += DLT_REDUCE_LANES) {
        for (int v = 0; v < VECTORS; v++) {
            lanes[v] = join(lanes[v], vload(s + i + v * VW), kind);
        }
    }
    for (int v = 0; v < VECTORS; v++) {
        vstore(acc + v * VW, lanes[v]);
    }
    for (; i < n; i += VW) {
        float *l = acc + i % DLT_REDUCE_LANES;
        const int64_t left = n - i < VW ? n - i : VW;
        vstore_to(l, join(vload_to(l, left), vload_to(s + i, left), kind), left);
    }
}
VEC void rows_add(float *acc, const float *s, int64_t n, dlt_reduce_kind kind)
{
    int64_t i = 0;
    for (; i + VW <= n; i += VW) {
        vstore(acc + i, join(vload(acc + i), vload(s + i), kind));
    }
    if (i < n) {
        vstore_n(acc + i, join(vload_n(acc + i, n - i), vload_n(s + i, n - i), kind), n - i);
    }
}

VEC void columns(float *acc, const float *s, int64_t rows, int64_t n, dlt_reduce_kind kind)
{
    if (n == DLT_REDUCE_LANES) { /* a channel block: stays in registers */
        vf lanes[VECTORS];
        for (int v = 0; v < VECTORS; v++) {
            lanes[v] = vload(acc + v * VW);
        }
        for (int64_t r = 0; r < rows; r++) {
            for (int v = 0; v < VECTORS; v++) {
                lanes[v] = join(lanes[v], vload(s + r * DLT_REDUCE_LANES + v * VW), kind);
            }
        }
        for (int v = 0; v < VECTORS; v++) {
            vstore(acc + v * VW, lanes[v]);
        }
        return;
    }
    for (int64_t r = 0; r < rows; r++) {
        rows_add(acc, s + r * n, n, kind);
    }
}
/* The lanes of one row, joined by halves. */
VEC float lanes_join(const float *acc, dlt_reduce_kind kind)
{
    float x[DLT_REDUCE_LANES];
    for (int v = 0; v < VECTORS; v++) {
        vstore(x + v * VW, vload(acc + v * VW));
    }
    for (int half = DLT_REDUCE_LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i += VW) {
            const int64_t n = half - i < VW ? half - i : VW;
            vstore_to(x + i, join(vload_to(x + i, n), vload_to(x + i + half, n), kind), n);
        }
    }
    return x[0];
}
VEC void reduce_rows(float *d, const float *s, int64_t rows, int64_t length, dlt_reduce_kind kind)
{
    const vf empty = vset(kind == DLT_REDUCE_SUM ? 0 : kind == DLT_REDUCE_MAX ? -HUGE_VALF : HUGE_VALF);
    for (int64_t r = 0; r < rows; r++) {
        float acc[DLT_REDUCE_LANES];
        for (int v = 0; v < VECTORS; v++) {
            vstore(acc + v * VW, empty);
        }
        lanes_add(acc, s + r * length, length, kind);
        d[r] = lanes_join(acc, kind);
    }
}

/* kind as a constant inside each */
#define BY_KIND(call)                                                                                        \
    do {                                                                                                     \
        if (kind == DLT_REDUCE_SUM) {                                                                        \
            call(DLT_REDUCE_SUM);                                                                            \
        } else if (kind == DLT_REDUCE_MAX) {                                                                 \
            call(DLT_REDUCE_MAX);                                                                            \
        } else {                                                                                             \
            call(DLT_REDUCE_MIN);                                                                            \
        }                                                                                                    \
    } while (0)

static void lanes_add_any(void *acc, const void *s, int64_t n, dlt_reduce_kind kind)
{
#define CALL(k) lanes_add(acc, s, n, k)
    BY_KIND(CALL);
#undef CALL
}
static void lanes_join_any(void *d, const void *acc, dlt_reduce_kind kind)
{
    *(float *)d = lanes_join(acc, kind);
}
static void rows_add_any(void *acc, const void *s, int64_t n, dlt_reduce_kind kind)
{
#define CALL(k) rows_add(acc, s, n, k)
    BY_KIND(CALL);
#undef CALL
}
static void columns_any(void *acc, const void *s, int64_t rows, int64_t n, dlt_reduce_kind kind)
{
#define CALL(k) columns(acc, s, rows, n, k)
    BY_KIND(CALL);
#undef CALL
}
static void reduce_rows_any(void *d, const void *s, int64_t rows, int64_t length, dlt_reduce_kind kind)
{
#define CALL(k) reduce_rows(d, s, rows, length, k)
    BY_KIND(CALL);
#undef CALL
}
const dlt_reducers DLT_SIMD(reduce_f32) = {lanes_add_any, lanes_join_any, rows_add_any, columns_any, reduce_rows_any};
