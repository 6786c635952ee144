/* backend/cpu/ref_expr_type.h: loops of expression programs in one compute type. Included by ref_expr.c once for each, with
 *
 *     VALUE    the C type: float, double or int64_t
 *     NAME(x)  names of the functions
 *     REAL     1 for float and double
 *
 * No include guard for that reason. Functions of libm are taken in double and rounded once. */

#if REAL
#define AS_INTEGER(x) dlt_ref_to_integer((double)(x))
#else
#define AS_INTEGER(x) (x)
#endif

/* dst[i] = element offsets[i] of an array, converted. */
static void NAME(load)(VALUE *dst, const void *src, dlt_dtype type, const int64_t *offsets, int64_t n)
{
    switch (type) {
    case DLT_F32:
    case DLT_F64:
    case DLT_BF16:
    case DLT_F16:
        for (int64_t i = 0; i < n; i++) {
#if REAL
            dst[i] = (VALUE)dlt_ref_get(src, type, offsets[i]);
#else
            dst[i] = dlt_ref_to_integer(dlt_ref_get(src, type, offsets[i]));
#endif
        }
        break;
    default:
        for (int64_t i = 0; i < n; i++) {
            dst[i] = (VALUE)dlt_ref_get_integer(src, type, offsets[i]);
        }
    }
}

/* Element offsets[i] of an array = src[i], converted as CAST does it. */
static void NAME(store)(void *dst, dlt_dtype type, const int64_t *offsets, const VALUE *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (dlt_dtype_is_real(type)) {
#if REAL
            dlt_ref_put(dst, type, offsets[i], (double)src[i]);
#else
            if (type == DLT_F64) {
                ((double *)dst)[offsets[i]] = (double)src[i];
            } else {
                dlt_ref_put(dst, type, offsets[i], (double)(float)src[i]); /* once: not by way of double */
            }
#endif
        } else {
            dlt_ref_put_integer(dst, type, offsets[i], AS_INTEGER(src[i]));
        }
    }
}

/* What a value is after it was stored in `type` and read again. */
static VALUE NAME(cast)(VALUE x, dlt_dtype type)
{
    const int64_t first = 0;
    union {
        double f64;
        int64_t i64;
    } room = {0}; /* large enough for any type */
    NAME(store)(&room, type, &first, &x, 1);
    NAME(load)(&x, &room, type, &first, 1);
    return x;
}

static VALUE NAME(larger)(VALUE x, VALUE y)
{
#if REAL
    return x >= y || x != x ? x : y;
#else
    return x >= y ? x : y;
#endif
}

static VALUE NAME(smaller)(VALUE x, VALUE y)
{
#if REAL
    return x <= y || x != x ? x : y;
#else
    return x <= y ? x : y;
#endif
}

#if REAL
/* Floored: the sign is that of y. */
static VALUE NAME(mod)(VALUE x, VALUE y)
{
    const double r = fmod((double)x, (double)y);
    if (r == 0) {
        return (VALUE)copysign(0.0, (double)y);
    }
    return (r < 0) != (y < 0) ? (VALUE)r + y : (VALUE)r;
}

static VALUE NAME(sum)(VALUE x, VALUE y)
{
    return x + y;
}
#else
/* Integers wrap around, which C defines for unsigned ones only. */
static int64_t NAME(sum)(int64_t x, int64_t y)
{
    return (int64_t)((uint64_t)x + (uint64_t)y);
}

static int64_t NAME(mod)(int64_t x, int64_t y)
{
    if (y == 0 || y == -1) {
        return 0;
    }
    const int64_t r = x % y;
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}
#endif

#define EACH(expression)                                                                                     \
    for (int64_t i = 0; i < n; i++) {                                                                        \
        const VALUE x = a[i], y = b[i], z = c[i];                                                            \
        (void)x, (void)y, (void)z;                                                                           \
        out[i] = (expression);                                                                               \
    }                                                                                                        \
    break
#define FUNCTION(expression)                                                                                 \
    for (int64_t i = 0; i < n; i++) {                                                                        \
        const double x = (double)a[i], y = (double)b[i];                                                     \
        (void)y;                                                                                             \
        out[i] = (VALUE)(expression);                                                                        \
    }                                                                                                        \
    break

/* One instruction on n elements; operands that it does not have are given as some valid array. INDEX and UNIFORM are not
 * done here: they depend on the place. */
static void NAME(execute)(const dlt_ew_attrs *op, VALUE *out, const VALUE *a, const VALUE *b, const VALUE *c, int64_t n)
{
    switch (op->op) {
    case DLT_EW_CONST:
        EACH((VALUE)op->value);
    case DLT_EW_COPY:
    case DLT_EW_STOP:
        EACH(x);
    case DLT_EW_CAST:
        EACH(NAME(cast)(x, op->type));
    case DLT_EW_MAX:
        EACH(NAME(larger)(x, y));
    case DLT_EW_MIN:
        EACH(NAME(smaller)(x, y));
    case DLT_EW_MOD:
        EACH(NAME(mod)(x, y));
    case DLT_EW_NOT:
        EACH((VALUE)(x == 0));
    case DLT_EW_LT:
        EACH((VALUE)(x < y));
    case DLT_EW_LE:
        EACH((VALUE)(x <= y));
    case DLT_EW_EQ:
        EACH((VALUE)(x == y));
    case DLT_EW_AND:
        EACH((VALUE)(x != 0 && y != 0));
    case DLT_EW_OR:
        EACH((VALUE)(x != 0 || y != 0));
    case DLT_EW_SELECT:
        EACH(x != 0 ? y : z);
    case DLT_EW_ADD:
        EACH(NAME(sum)(x, y));
#if REAL
    case DLT_EW_SUB:
        EACH(x - y);
    case DLT_EW_MUL:
        EACH(x * y);
    case DLT_EW_DIV:
        EACH(x / y);
    case DLT_EW_NEG:
        EACH(-x);
    case DLT_EW_ABS:
        FUNCTION(fabs(x));
    case DLT_EW_SIGN:
        EACH(x > 0 ? 1 : x < 0 ? -1 : x);
    case DLT_EW_SQUARE:
        EACH(x * x);
    case DLT_EW_SQRT:
        FUNCTION(sqrt(x)); /* of a float by way of double it is still correctly rounded */
    case DLT_EW_RSQRT:
        EACH(1 / (VALUE)sqrt((double)x));
    case DLT_EW_RECIP:
        EACH(1 / x);
    case DLT_EW_EXP:
        FUNCTION(exp(x));
    case DLT_EW_EXPM1:
        FUNCTION(expm1(x));
    case DLT_EW_LOG:
        FUNCTION(log(x));
    case DLT_EW_LOG1P:
        FUNCTION(log1p(x));
    case DLT_EW_SIN:
        FUNCTION(sin(x));
    case DLT_EW_COS:
        FUNCTION(cos(x));
    case DLT_EW_TANH:
        FUNCTION(tanh(x));
    case DLT_EW_SIGMOID:
        FUNCTION(1 / (1 + exp(-x)));
    case DLT_EW_SOFTPLUS:
        FUNCTION(x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)));
    case DLT_EW_ERF:
        FUNCTION(erf(x));
    case DLT_EW_RELU:
        EACH(x < 0 ? 0 : x);
    case DLT_EW_FLOOR:
        FUNCTION(floor(x));
    case DLT_EW_CEIL:
        FUNCTION(ceil(x));
    case DLT_EW_IS_FINITE:
        EACH((VALUE)(isfinite(x) != 0));
    case DLT_EW_POW:
        FUNCTION(pow(x, y));
#else
    case DLT_EW_SUB:
        EACH((int64_t)((uint64_t)x - (uint64_t)y));
    case DLT_EW_MUL:
        EACH((int64_t)((uint64_t)x * (uint64_t)y));
    case DLT_EW_NEG:
        EACH((int64_t)(0 - (uint64_t)x));
    case DLT_EW_ABS:
        EACH(x < 0 ? (int64_t)(0 - (uint64_t)x) : x);
    case DLT_EW_SQUARE:
        EACH((int64_t)((uint64_t)x * (uint64_t)x));
#endif
    default: /* refused by dlt_ref_program_declines */
        break;
    }
}

#undef EACH
#undef FUNCTION

static VALUE NAME(combine)(dlt_reduce_kind kind, VALUE sum, VALUE x)
{
    return kind == DLT_REDUCE_SUM ? NAME(sum)(sum, x) : kind == DLT_REDUCE_MAX ? NAME(larger)(sum, x) : NAME(smaller)(sum, x);
}

/* What an accumulator holds before the first element. */
static VALUE NAME(neutral)(dlt_reduce_kind kind)
{
#if REAL
    return kind == DLT_REDUCE_SUM ? 0 : kind == DLT_REDUCE_MAX ? (VALUE)-INFINITY : (VALUE)INFINITY;
#else
    return kind == DLT_REDUCE_SUM ? 0 : kind == DLT_REDUCE_MAX ? INT64_MIN : INT64_MAX;
#endif
}

/* Runs the program on the positions [first, first + n): registers, then results that are stored whole. */
static void NAME(run_tile)(const dlt_ref_program *p, int64_t first, int64_t n, const void *const *inputs,
                           void *const *outputs, VALUE *registers)
{
    const dlt_expr *e = p->expr;
    int64_t offsets[MOST_TILE];
    for (int i = 0; i < e->input_count; i++) {
        dlt_ref_map_offsets(&p->inputs[i].map, first, n, offsets);
        NAME(load)(registers + i * p->tile, inputs[i], p->inputs[i].type, offsets, n);
    }
    for (int k = 0; k < e->instr_count; k++) {
        const dlt_instr *x = &e->instrs[k];
        VALUE *out = registers + (e->input_count + k) * p->tile;
        const VALUE *a = registers + x->a * p->tile, *b = registers + x->b * p->tile, *c = registers + x->c * p->tile;
        if (x->op.op == DLT_EW_INDEX) {
            for (int64_t i = 0; i < n; i++) {
                out[i] = (VALUE)((first + i) / p->index_stride[x->op.axis] % p->domain.dim[x->op.axis]);
            }
        } else if (x->op.op == DLT_EW_UNIFORM) {
            const int64_t sample = first_sample(p, x, inputs);
            for (int64_t i = 0; i < n; i++) {
                const int64_t at = first + i;
                out[i] = (VALUE)dlt_random_uniform(x->op.seed, x->op.stream, (uint64_t)(sample + at / x->op.per_sample),
                                                   (uint64_t)(at % x->op.per_sample));
            }
        } else {
            NAME(execute)(&x->op, out, a, b, c, n);
        }
    }
    for (int i = 0; i < e->output_count; i++) {
        if (e->outputs[i].reduce == DLT_REDUCE_NONE && outputs[i] != NULL) {
            dlt_ref_map_offsets(&p->outputs[i].map, first, n, offsets);
            NAME(store)(outputs[i], p->outputs[i].type, offsets, registers + e->outputs[i].reg * p->tile, n);
        }
    }
}

/* One chunk of a reduction; its sums go to workspace. */
static void NAME(run_chunk)(const dlt_ref_program *p, int64_t unit, const void *const *inputs, void *const *outputs,
                            VALUE *workspace, VALUE *registers)
{
    const dlt_expr *e = p->expr;
    const int64_t row = unit / p->chunks, chunk = unit % p->chunks, inner = p->inner;
    const int64_t begin = row * p->length * inner + chunk * p->chunk_rows * inner;
    const int64_t rows = p->length - chunk * p->chunk_rows < p->chunk_rows ? p->length - chunk * p->chunk_rows : p->chunk_rows;
    const int64_t end = begin + rows * inner;
    const int64_t width = inner == 1 ? DLT_REDUCE_LANES : inner;
    VALUE lanes[MOST_OUTPUTS][DLT_REDUCE_LANES];
    for (int k = 0; k < p->reduced_count; k++) {
        VALUE *sums = inner == 1 ? lanes[k] : workspace + (k * p->units + unit) * inner;
        for (int64_t i = 0; i < width; i++) {
            sums[i] = NAME(neutral)(e->outputs[p->reduced[k]].reduce);
        }
    }
    for (int64_t first = begin; first < end; first += p->tile) {
        const int64_t n = end - first < p->tile ? end - first : p->tile;
        NAME(run_tile)(p, first, n, inputs, outputs, registers);
        for (int k = 0; k < p->reduced_count; k++) {
            const dlt_expr_out *o = &e->outputs[p->reduced[k]];
            const VALUE *x = registers + o->reg * p->tile;
            VALUE *sums = inner == 1 ? lanes[k] : workspace + (k * p->units + unit) * inner;
            int64_t at = (first - begin) % width;
            for (int64_t i = 0; i < n; i++) {
                sums[at] = NAME(combine)(o->reduce, sums[at], x[i]);
                at = at + 1 < width ? at + 1 : 0;
            }
        }
    }
    for (int k = 0; k < p->reduced_count && inner == 1; k++) {
        const dlt_reduce_kind kind = e->outputs[p->reduced[k]].reduce;
        for (int half = DLT_REDUCE_LANES / 2; half > 0; half /= 2) {
            for (int l = 0; l < half; l++) {
                lanes[k][l] = NAME(combine)(kind, lanes[k][l], lanes[k][l + half]);
            }
        }
        workspace[k * p->units + unit] = lanes[k][0];
    }
}

/* Joins the chunks of one result pairwise and stores it. */
static void NAME(join_chunks)(const dlt_ref_program *p, int64_t item, void *const *outputs, VALUE *workspace)
{
    const int64_t row = item / p->inner, column = item % p->inner;
    for (int k = 0; k < p->reduced_count; k++) {
        const int at = p->reduced[k];
        const dlt_reduce_kind kind = p->expr->outputs[at].reduce;
        VALUE *partial = workspace + (k * p->units + row * p->chunks) * p->inner + column; /* spaced by inner */
        for (int64_t count = p->chunks; count > 1; count = (count + 1) / 2) {
            for (int64_t i = 0; i < count / 2; i++) {
                partial[i * p->inner] =
                    NAME(combine)(kind, partial[2 * i * p->inner], partial[(2 * i + 1) * p->inner]);
            }
            if (count % 2 != 0) {
                partial[count / 2 * p->inner] = partial[(count - 1) * p->inner];
            }
        }
        if (outputs[at] != NULL) {
            NAME(store)(outputs[at], p->outputs[at].type, &item, partial, 1);
        }
    }
}

static void NAME(run_phase)(const dlt_ref_program *p, int phase, int64_t task, const void *const *inputs,
                            void *const *outputs, void *workspace, void *scratch)
{
    if (p->reduced_count == 0) {
        const dlt_ref_range part = dlt_ref_share(p->count, p->tasks[0], task);
        for (int64_t first = part.first; first < part.end; first += p->tile) {
            const int64_t n = part.end - first < p->tile ? part.end - first : p->tile;
            NAME(run_tile)(p, first, n, inputs, outputs, scratch);
        }
    } else if (phase == 0) {
        const dlt_ref_range part = dlt_ref_share(p->units, p->tasks[0], task);
        for (int64_t unit = part.first; unit < part.end; unit++) {
            NAME(run_chunk)(p, unit, inputs, outputs, workspace, scratch);
        }
    } else {
        const dlt_ref_range part = dlt_ref_share(p->rows * p->inner, p->tasks[1], task);
        for (int64_t item = part.first; item < part.end; item++) {
            NAME(join_chunks)(p, item, outputs, workspace);
        }
    }
}

#undef AS_INTEGER
#undef VALUE
#undef NAME
#undef REAL
