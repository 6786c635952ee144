/* backend/cpu/tiles.c: expression programs over tiles. */
#include "backend/cpu/tiles.h"

#include <string.h>

enum {
    NONE = -1,
    MAX_AXES = DLT_MAX_RANK + 1,
    LONG_ROW = 256,        /* rows from here on are run in pieces */
    CACHE_BYTES = 32 << 10, /* that the buffers and streams of a tile may fill */
    FAR_BYTES = 128 << 10   /* of a stream, from which on it is fetched ahead */
};

/* How often a register changes. */
typedef enum rate {
    ONCE,  /* one number for the whole domain */
    PIECE, /* pieces: one number for a tile */
    ROW,   /* rows: the same for all rows, so computed once for as many as a tile has */
    TILE   /* an array for each tile */
} rate;

/* Where an input's elements come from in a tile. */
typedef enum source {
    FROM_ONE,     /* one element */
    FROM_MEMORY,  /* read where it lies */
    FROM_RESULT,  /* epilogue: the product */
    CONVERTED,    /* full shape, other type */
    ROW_VECTOR,   /* rows: spread once */
    COLUMN,       /* rows: each element spread over its row */
    GENERAL,      /* rows: each row brought here by itself */
    PIECE_ONE,    /* pieces: one element */
    PIECE_MEMORY, /* pieces: read where it lies */
    PIECE_CONVERTED
} source;

typedef struct input {
    source from;
    dlt_dtype type;
    int64_t size;              /* bytes of an element */
    int64_t stride[MAX_AXES];  /* elements, by collapsed axis */
    bool plain_rows;           /* COLUMN: row r is element r */
    dlt_convert_fn *load;
} input;

typedef struct step {
    dlt_ew_fn *fn; /* NULL: INDEX, UNIFORM or FILL by what `special` says */
    uint8_t d, a, b, c;
    enum { PLAIN, DO_INDEX, DO_UNIFORM, DO_FILL } special;
    const dlt_instr *instr;
    int64_t inner, size; /* INDEX */
} step;

typedef struct output {
    int reg;
    dlt_dtype type;
    int64_t size;
    dlt_convert_fn *store;
    bool reduced, may_be_direct;
    uint32_t hazards; /* inputs that are read after the register is made: may not share memory with a direct output */
} output;

typedef struct tile_reg {
    double value; /* of a constant, in the compute type */
    int buffer;   /* NONE: none */
    rate rate;
    bool constant;
} tile_reg;

struct dlt_tiles {
    const dlt_simd *simd;
    dlt_compute compute;
    int64_t element; /* bytes of a register's element */
    int64_t count, most, row; /* row: length of the last collapsed axis */
    bool far;                 /* streams too long for the second-level cache */
    enum { FLAT, ROWS, PIECES } form;
    int axes;
    int64_t dim[MAX_AXES];
    int input_count, output_count, reg_count;
    input *inputs;
    output *outputs;
    tile_reg *regs;
    int buffer_count;
    int64_t buffer_bytes;
    step *steps; /* ONCE, then ROW, then PIECE, then TILE ones */
    int once_end, row_end, piece_end, step_count;
    double cost;
};

/* ---- what can be run ---- */

static dlt_compute compute_of(dlt_dtype type)
{
    return type == DLT_F32 ? DLT_COMPUTE_F32 : type == DLT_F64 ? DLT_COMPUTE_F64 : DLT_COMPUTE_I64;
}

/* 16-bit floats that programs of this compute type cannot read, write or round to. */
static bool is_foreign(const dlt_expr *expr, dlt_dtype type)
{
    return type == DLT_F16 || (type == DLT_BF16 && expr->compute != DLT_F32);
}

/* Registers that the program needs at most: a condition that is one number, and a result that is one, become arrays. */
static int most_regs(const dlt_expr *expr)
{
    int count = expr->input_count + expr->instr_count + expr->output_count;
    for (int i = 0; i < expr->instr_count; i++) {
        count += expr->instrs[i].op.op == DLT_EW_SELECT;
    }
    return count;
}

const char *dlt_tiles_decline(const dlt_node *node, const dlt_expr *expr, bool epilogue)
{
    const int skip = epilogue ? node->own_inputs - 1 : 0;
    if (expr->compute != DLT_F32 && expr->compute != DLT_F64 && expr->compute != DLT_I64) {
        return "computes in float32, float64 or int64";
    }
    if (expr->input_count > DLT_TILES_MAX_INPUTS || expr->output_count > DLT_TILES_MAX_OUTPUTS ||
        most_regs(expr) > DLT_TILES_MAX_REGS) {
        return "the program is too long";
    }
    for (int i = epilogue ? 1 : 0; i < expr->input_count; i++) {
        if (is_foreign(expr, node->inputs[skip + i]->type)) {
            return "16-bit floats other than bfloat16 in float32";
        }
    }
    for (int i = 0; i < expr->output_count; i++) {
        if (is_foreign(expr, expr->outputs[i].type)) {
            return "16-bit floats other than bfloat16 in float32";
        }
    }
    for (int i = 0; i < expr->instr_count; i++) {
        const dlt_instr *x = &expr->instrs[i];
        if (x->op.op == DLT_EW_CAST && is_foreign(expr, x->op.type)) {
            return "16-bit floats other than bfloat16 in float32";
        }
        if (x->op.op == DLT_EW_UNIFORM && x->a >= expr->input_count &&
            expr->instrs[x->a - expr->input_count].op.op != DLT_EW_CONST) {
            return "random numbers of a computed sample";
        }
        if (x->op.op == DLT_EW_UNIFORM && expr->compute == DLT_I64) {
            return "random integers";
        }
    }
    return NULL;
}

/* ---- preparation: shapes ---- */

/* The value that says how the domain lies; NULL: row-major. */
static const dlt_value *domain_value(const dlt_node *node, const dlt_expr *expr, bool epilogue)
{
    for (int i = 0; i < expr->output_count; i++) {
        if (expr->outputs[i].reduce == DLT_REDUCE_NONE) {
            return node->outputs[i];
        }
    }
    for (int i = 0; i < expr->input_count && !epilogue; i++) {
        const dlt_value *v = node->inputs[i];
        if (v->layout.kind != DLT_LAYOUT_ROW_MAJOR && dlt_shape_equal(&v->shape, &expr->domain)) {
            return v;
        }
    }
    return NULL;
}

/* Axes of the domain in memory, and each operand's strides along them; then joins what can be joined. */
static void find_axes(dlt_tiles *t, const dlt_node *node, const dlt_expr *expr, bool epilogue)
{
    const dlt_value *whole = domain_value(node, expr, epilogue);
    const dlt_layout layout = whole != NULL ? whole->layout : (dlt_layout){0};
    const dlt_shape *s = &expr->domain;
    const int skip = epilogue ? node->own_inputs - 1 : 0;
    int64_t dim[MAX_AXES], from[DLT_TILES_MAX_INPUTS][MAX_AXES];
    int axes = 0;
    if (layout.kind == DLT_LAYOUT_ROW_MAJOR) {
        for (axes = 0; axes < s->rank; axes++) {
            dim[axes] = s->dim[axes];
        }
    } else if (layout.kind == DLT_LAYOUT_CHANNEL_BLOCKED) { /* N, C / block, positions, block */
        int64_t positions = 1;
        for (int i = 1; i + 1 < s->rank; i++) {
            positions *= s->dim[i];
        }
        dim[axes++] = s->dim[0];
        dim[axes++] = s->dim[s->rank - 1] / layout.block;
        dim[axes++] = positions;
        dim[axes++] = layout.block;
    } else {
        dim[axes++] = whole->extent;
    }
    t->count = 1;
    for (int k = 0; k < axes; k++) {
        t->count *= dim[k];
    }
    for (int i = 0; i < expr->input_count; i++) {
        int64_t *stride = from[i];
        const dlt_value *v = epilogue && i == 0 ? NULL : node->inputs[skip + i];
        const bool full = v == NULL || (dlt_shape_equal(&v->shape, s) && dlt_layout_equal(v->layout, layout));
        if (full) {
            int64_t next = 1;
            for (int k = axes - 1; k >= 0; k--) {
                stride[k] = next;
                next *= dim[k];
            }
        } else if (layout.kind == DLT_LAYOUT_ROW_MAJOR) {
            int64_t next = 1;
            for (int k = axes - 1; k >= 0; k--) {
                const int own = k - (s->rank - v->shape.rank);
                const int64_t size = own >= 0 ? v->shape.dim[own] : 1;
                stride[k] = size == 1 ? 0 : next;
                next *= size;
            }
        } else {
            for (int k = 0; k < axes; k++) {
                stride[k] = 0;
            }
            if (dlt_shape_count(&v->shape) > 1) { /* one number a channel */
                stride[1] = layout.block;
                stride[3] = 1;
            }
        }
    }
    t->axes = 0;
    for (int k = 0; k < axes; k++) {
        if (dim[k] == 1 && t->count > 0) {
            continue;
        }
        bool joins = t->axes > 0;
        for (int i = 0; i < expr->input_count && joins; i++) {
            joins = t->inputs[i].stride[t->axes - 1] == from[i][k] * dim[k];
        }
        if (!joins) {
            t->dim[t->axes] = 1;
            t->axes++;
        }
        t->dim[t->axes - 1] *= dim[k];
        for (int i = 0; i < expr->input_count; i++) {
            t->inputs[i].stride[t->axes - 1] = from[i][k];
        }
    }
    t->row = t->axes > 0 && t->count > 0 ? t->dim[t->axes - 1] : 1;
}

static bool is_one(const dlt_tiles *t, const input *in)
{
    for (int k = 0; k < t->axes; k++) {
        if (in->stride[k] != 0) {
            return false;
        }
    }
    return true;
}

static bool is_full(const dlt_tiles *t, const input *in)
{
    int64_t next = 1;
    for (int k = t->axes - 1; k >= 0; k--) {
        if (in->stride[k] != next) {
            return false;
        }
        next *= t->dim[k];
    }
    return true;
}

/* Elements that a product's epilogue gets as one row. */
static int64_t row_of(const dlt_value *v)
{
    return v->layout.kind == DLT_LAYOUT_CHANNEL_BLOCKED ? v->layout.block : v->shape.dim[v->shape.rank - 1];
}

/* How tiles are cut, and where each input comes from. */
static void find_sources(dlt_tiles *t, const dlt_node *node, const dlt_expr *expr, bool epilogue, dlt_tiles_form form)
{
    const int skip = epilogue ? node->own_inputs - 1 : 0;
    bool repeats = false;
    for (int i = 0; i < expr->input_count; i++) {
        repeats = repeats || !(is_one(t, &t->inputs[i]) || is_full(t, &t->inputs[i]));
    }
    const bool own_rows = form == DLT_TILES_ROWS && t->row == row_of(node->outputs[0]);
    t->form = !repeats ? FLAT : own_rows || (form == DLT_TILES_ANY && t->row < LONG_ROW) ? ROWS : PIECES;
    for (int i = 0; i < expr->input_count; i++) {
        input *in = &t->inputs[i];
        in->type = epilogue && i == 0 ? expr->compute : node->inputs[skip + i]->type;
        in->size = (int64_t)dlt_dtype_size(in->type);
        in->load = t->simd->load[t->compute][in->type];
        const bool same = in->type == expr->compute;
        if (epilogue && i == 0) {
            in->from = FROM_RESULT;
        } else if (is_one(t, in)) {
            in->from = FROM_ONE;
        } else if (is_full(t, in)) {
            in->from = same ? FROM_MEMORY : CONVERTED;
        } else if (t->form == PIECES) {
            in->from = in->stride[t->axes - 1] == 0 ? PIECE_ONE : same ? PIECE_MEMORY : PIECE_CONVERTED;
        } else {
            bool outer = false, plain = true;
            int64_t next = 1;
            for (int k = t->axes - 2; k >= 0; k--) {
                outer = outer || in->stride[k] != 0;
                plain = plain && in->stride[k] == next;
                next *= t->dim[k];
            }
            in->from = in->stride[t->axes - 1] == 0 ? COLUMN : outer ? GENERAL : ROW_VECTOR;
            in->plain_rows = plain;
        }
    }
}

/* ---- preparation: registers ---- */

typedef struct maker {
    dlt_tiles *t;
    const dlt_expr *expr;
    int alias[DLT_TILES_MAX_REGS]; /* register that holds the value of a copy */
    rate step_rate[DLT_TILES_MAX_REGS];
    step all[DLT_TILES_MAX_REGS]; /* in program order */
    int count;
} maker;

static void set_constant(dlt_tiles *t, int reg, double value)
{
    t->regs[reg].constant = true;
    if (t->compute == DLT_COMPUTE_F32) {
        const float x = (float)value;
        memcpy(&t->regs[reg].value, &x, sizeof x);
    } else if (t->compute == DLT_COMPUTE_F64) {
        t->regs[reg].value = value;
    } else {
        const int64_t x = value >= 0x1p63 ? INT64_MAX : value < -0x1p63 ? INT64_MIN : (int64_t)value;
        memcpy(&t->regs[reg].value, &x, sizeof x);
    }
}

static void add_step(maker *m, step s, rate r)
{
    m->step_rate[m->count] = r;
    m->all[m->count++] = s;
}

/* A register with the array of a register that is one number. */
static int filled(maker *m, int reg)
{
    dlt_tiles *t = m->t;
    const int made = t->reg_count++;
    t->regs[made].rate = TILE;
    m->alias[made] = made;
    add_step(m, (step){.special = DO_FILL, .d = (uint8_t)made, .a = (uint8_t)reg}, TILE);
    return made;
}

/* Product of the domain's axes behind `axis`. */
static int64_t inner_of(const dlt_shape *domain, int axis)
{
    int64_t inner = 1;
    for (int i = axis + 1; i < domain->rank; i++) {
        inner *= domain->dim[i];
    }
    return inner;
}

static void make_instr(maker *m, const dlt_instr *x, int reg)
{
    dlt_tiles *t = m->t;
    const int operands = dlt_ew_operands(x->op.op);
    int a = m->alias[x->a], b = m->alias[x->b], c = m->alias[x->c];
    m->alias[reg] = reg;
    step s = {.d = (uint8_t)reg, .instr = x};
    switch (x->op.op) {
    case DLT_EW_CONST:
        t->regs[reg].rate = ONCE;
        set_constant(t, reg, x->op.value);
        return;
    case DLT_EW_INDEX: {
        s.special = DO_INDEX;
        s.inner = inner_of(&m->expr->domain, x->op.axis);
        s.size = m->expr->domain.dim[x->op.axis];
        const bool in_row = t->form == ROWS && s.inner == 1 && s.size == t->row;
        t->regs[reg].rate = t->count == 1 ? ONCE : in_row ? ROW : TILE;
        add_step(m, s, t->regs[reg].rate);
        return;
    }
    case DLT_EW_UNIFORM:
        s.special = DO_UNIFORM;
        s.a = (uint8_t)x->a;
        t->regs[reg].rate = t->count == 1 ? ONCE : TILE;
        add_step(m, s, t->regs[reg].rate);
        return;
    default:
        break;
    }
    const bool identity = x->op.op == DLT_EW_COPY || x->op.op == DLT_EW_STOP ||
                          (x->op.op == DLT_EW_CAST && (x->op.type == m->expr->compute ||
                                                       (dlt_dtype_is_real(x->op.type) && t->compute == DLT_COMPUTE_I64)));
    if (identity || (x->op.op == DLT_EW_CAST && t->compute == DLT_COMPUTE_F32 && x->op.type == DLT_F64)) {
        m->alias[reg] = a;
        t->regs[reg].rate = t->regs[a].rate;
        return;
    }
    rate r = t->regs[a].rate;
    r = operands > 1 && t->regs[b].rate > r ? t->regs[b].rate : r;
    r = operands > 2 && t->regs[c].rate > r ? t->regs[c].rate : r;
    t->regs[reg].rate = r;
    int form = 0;
    if (r >= ROW) { /* operands that are one number have forms of their own */
        const bool a_one = t->regs[a].rate < ROW, b_one = operands > 1 && t->regs[b].rate < ROW,
                   c_one = operands > 2 && t->regs[c].rate < ROW;
        form = (a_one ? DLT_EW_A_ONE : 0) | (b_one ? DLT_EW_B_ONE : 0) | (c_one ? DLT_EW_C_ONE : 0);
        if (x->op.op == DLT_EW_SELECT && a_one) {
            a = filled(m, a);
            t->regs[reg].rate = r = TILE;
            form &= ~DLT_EW_A_ONE;
        }
    }
    s.a = (uint8_t)a;
    s.b = (uint8_t)(operands > 1 ? b : a);
    s.c = (uint8_t)(operands > 2 ? c : a);
    s.fn = x->op.op == DLT_EW_CAST ? t->simd->cast[t->compute][x->op.type] : t->simd->ew[t->compute][x->op.op][form];
    add_step(m, s, r);
}

/* Buffers for the arrays of tiles: one is free again after the last step that reads its register. */
static void place_buffers(maker *m)
{
    dlt_tiles *t = m->t;
    int last[DLT_TILES_MAX_REGS], free_list[DLT_TILES_MAX_REGS], free_count = 0;
    for (int r = 0; r < t->reg_count; r++) {
        t->regs[r].buffer = last[r] = NONE;
    }
    for (int i = 0; i < t->step_count; i++) {
        const step *s = &t->steps[i];
        if (s->special == PLAIN || s->special == DO_FILL) {
            last[s->a] = last[s->b] = last[s->c] = i;
        }
    }
    for (int k = 0; k < t->output_count; k++) {
        last[t->outputs[k].reg] = t->step_count; /* stored or reduced at the end of the tile */
    }
    for (int i = 0; i < t->input_count; i++) {
        const source from = t->inputs[i].from;
        if (from == CONVERTED || from == ROW_VECTOR || from == COLUMN || from == GENERAL || from == PIECE_CONVERTED) {
            t->regs[i].buffer = t->buffer_count++;
        }
    }
    for (int i = 0; i < t->step_count; i++) {
        const step *s = &t->steps[i];
        if (t->regs[s->d].rate >= ROW) {
            t->regs[s->d].buffer = free_count > 0 && t->regs[s->d].rate == TILE ? free_list[--free_count] : t->buffer_count++;
        }
        const int used[3] = {s->a, s->b, s->c};
        for (int k = 0; k < 3 && (s->special == PLAIN || s->special == DO_FILL); k++) {
            const int r = used[k];
            if (last[r] == i && t->regs[r].rate == TILE && t->regs[r].buffer != NONE) {
                last[r] = NONE; /* once */
                free_list[free_count++] = t->regs[r].buffer;
            }
        }
        if (last[s->d] == NONE && t->regs[s->d].rate == TILE && t->regs[s->d].buffer != NONE) { /* nobody reads it */
            free_list[free_count++] = t->regs[s->d].buffer;
        }
    }
}

static void find_outputs(maker *m)
{
    dlt_tiles *t = m->t;
    for (int k = 0; k < m->expr->output_count; k++) {
        const dlt_expr_out *o = &m->expr->outputs[k];
        int reg = m->alias[o->reg];
        if (t->regs[reg].rate < ROW && t->count > 1) {
            reg = filled(m, reg);
        }
        t->outputs[k] = (output){.reg = reg,
                                 .type = o->type,
                                 .size = (int64_t)dlt_dtype_size(o->type),
                                 .store = t->simd->store[t->compute][o->type],
                                 .reduced = o->reduce != DLT_REDUCE_NONE};
    }
    t->output_count = m->expr->output_count;
}

/* Which outputs their step may write in place, and what stands against it. */
static void find_direct(dlt_tiles *t, dlt_dtype compute)
{
    for (int k = 0; k < t->output_count; k++) {
        output *o = &t->outputs[k];
        int made = NONE;
        for (int i = t->piece_end; i < t->step_count; i++) {
            made = t->steps[i].d == o->reg ? i : made;
        }
        o->may_be_direct = made != NONE && !o->reduced && o->type == compute;
        for (int j = 0; j < k; j++) {
            o->may_be_direct = o->may_be_direct && t->outputs[j].reg != o->reg;
        }
        for (int i = made + 1; i < t->step_count && o->may_be_direct; i++) {
            const step *s = &t->steps[i];
            const int used[3] = {s->a, s->b, s->c};
            for (int j = 0; j < 3 && s->special == PLAIN; j++) {
                o->hazards |= used[j] < t->input_count ? UINT32_C(1) << used[j] : 0;
            }
        }
        for (int j = 0; j < t->output_count; j++) { /* inputs that go straight to an output are read at the end */
            o->hazards |= t->outputs[j].reg < t->input_count ? UINT32_C(1) << t->outputs[j].reg : 0;
        }
    }
}

static double cost_of(dlt_ew op)
{
    switch (op) {
    case DLT_EW_EXP:
    case DLT_EW_EXPM1:
    case DLT_EW_LOG:
    case DLT_EW_LOG1P:
    case DLT_EW_TANH:
    case DLT_EW_SIGMOID:
    case DLT_EW_SOFTPLUS:
    case DLT_EW_ERF:
        return 0.6;
    case DLT_EW_SIN:
    case DLT_EW_COS:
    case DLT_EW_POW:
    case DLT_EW_MOD:
        return 6;
    case DLT_EW_UNIFORM:
        return 0.7;
    case DLT_EW_DIV:
    case DLT_EW_SQRT:
    case DLT_EW_RSQRT:
    case DLT_EW_RECIP:
        return 0.15;
    default:
        return 0.05;
    }
}

/* Size of tiles: as large as the first-level cache lets all arrays of a tile be together. */
static void find_size(dlt_tiles *t)
{
    int streams = t->buffer_count;
    for (int i = 0; i < t->input_count; i++) {
        streams += t->inputs[i].from != FROM_ONE && t->inputs[i].from != PIECE_ONE;
    }
    for (int k = 0; k < t->output_count; k++) {
        streams += !t->outputs[k].reduced;
    }
    int64_t most = CACHE_BYTES / t->element / (streams > 0 ? streams : 1) / 64 * 64;
    most = most > 1024 ? 1024 : most < 128 ? 128 : most;
    if (t->form == ROWS) {
        most = most / t->row > 0 ? most / t->row * t->row : t->row;
    } else if (t->form == PIECES && most < t->row) { /* equal pieces */
        const int64_t pieces = (t->row + most - 1) / most;
        most = ((t->row + pieces - 1) / pieces + 15) / 16 * 16;
    }
    t->most = most;
    t->far = t->count * t->element >= FAR_BYTES;
    t->buffer_bytes = (most * t->element + 64 + 63) / 64 * 64;
}

/* Room, behind the buffers, to gather one element a row. */
static int64_t column_bytes(const dlt_tiles *t)
{
    return t->form == ROWS ? 2 * ((t->most / t->row) * 8 + 64) / 64 * 64 : 0;
}

const dlt_tiles *dlt_tiles_create(const dlt_cpu_query *query, const dlt_expr *expr, bool epilogue, dlt_tiles_form form)
{
    dlt_tiles *t = dlt_arena_alloc(query->arena, 1, sizeof *t);
    maker own = {.t = t, .expr = expr}, *const m = &own;
    if (t == NULL) {
        return NULL;
    }
    t->inputs = dlt_arena_alloc(query->arena, (size_t)expr->input_count, sizeof *t->inputs);
    t->outputs = dlt_arena_alloc(query->arena, (size_t)expr->output_count, sizeof *t->outputs);
    t->regs = dlt_arena_alloc(query->arena, (size_t)most_regs(expr), sizeof *t->regs);
    if (t->inputs == NULL || t->outputs == NULL || t->regs == NULL) {
        return NULL;
    }
    t->simd = dlt_simd_of(query->isa);
    t->compute = compute_of(expr->compute);
    t->element = (int64_t)dlt_dtype_size(expr->compute);
    t->input_count = expr->input_count;
    t->reg_count = expr->input_count + expr->instr_count;
    find_axes(t, query->node, expr, epilogue);
    find_sources(t, query->node, expr, epilogue, form);
    for (int i = 0; i < expr->input_count; i++) {
        const source from = t->inputs[i].from;
        m->alias[i] = i;
        t->regs[i].rate = from == FROM_ONE ? ONCE : from == PIECE_ONE ? PIECE : from == ROW_VECTOR ? ROW : TILE;
    }
    for (int i = 0; i < expr->instr_count; i++) {
        make_instr(m, &expr->instrs[i], expr->input_count + i);
        t->cost += cost_of(expr->instrs[i].op.op);
    }
    find_outputs(m);
    t->cost += 0.05 * (double)(expr->input_count + expr->output_count);
    t->steps = dlt_arena_alloc(query->arena, (size_t)m->count + 1, sizeof *t->steps);
    if (t->steps == NULL) {
        return NULL;
    }
    static const rate order[] = {ONCE, ROW, PIECE, TILE};
    int *const ends[] = {&t->once_end, &t->row_end, &t->piece_end, &t->step_count};
    int at = 0;
    for (int k = 0; k < 4; k++) {
        for (int i = 0; i < m->count; i++) {
            if (m->step_rate[i] == order[k]) {
                t->steps[at++] = m->all[i];
            }
        }
        *ends[k] = at;
    }
    place_buffers(m);
    find_direct(t, expr->compute);
    find_size(t);
    return t;
}

int64_t dlt_tiles_count(const dlt_tiles *tiles)
{
    return tiles->count;
}

int64_t dlt_tiles_most(const dlt_tiles *tiles)
{
    return tiles->most;
}

int64_t dlt_tiles_unit(const dlt_tiles *tiles)
{
    return tiles->form == ROWS ? tiles->row : 1;
}

int64_t dlt_tiles_bytes(const dlt_tiles *tiles)
{
    return tiles->buffer_bytes * tiles->buffer_count + column_bytes(tiles);
}

double dlt_tiles_cost(const dlt_tiles *tiles)
{
    return tiles->cost;
}

/* ---- running ---- */

static const char *bytes_at(const void *base, int64_t offset)
{
    return (const char *)base + offset;
}

/* Positions of a row along the outer axes, and the offset of its elements in an operand. */
typedef struct walk {
    int64_t at[MAX_AXES];
    int64_t offset;
} walk;

static void walk_to(const dlt_tiles *t, const input *in, int64_t row, walk *w)
{
    w->offset = 0;
    for (int k = t->axes - 2; k >= 0; k--) {
        w->at[k] = row % t->dim[k];
        row /= t->dim[k];
        w->offset += w->at[k] * in->stride[k];
    }
}

static void walk_on(const dlt_tiles *t, const input *in, walk *w)
{
    for (int k = t->axes - 2; k >= 0; k--) {
        w->offset += in->stride[k];
        if (++w->at[k] < t->dim[k]) {
            return;
        }
        w->offset -= in->stride[k] * t->dim[k];
        w->at[k] = 0;
    }
}

/* Each row's element over its row. */
static void spread_column(const dlt_tiles_run *run, const input *in, const void *base, void *d, int64_t row, int64_t rows)
{
    const dlt_tiles *t = run->tiles;
    char *gathered = run->buffers + t->buffer_bytes * t->buffer_count, *converted = gathered + column_bytes(t) / 2;
    const void *s = bytes_at(base, row * in->size);
    if (!in->plain_rows) {
        walk w;
        walk_to(t, in, row, &w);
        for (int64_t r = 0; r < rows; r++) {
            memcpy(gathered + r * in->size, bytes_at(base, w.offset * in->size), (size_t)in->size);
            walk_on(t, in, &w);
        }
        s = gathered;
    }
    if (in->size != t->element || in->load != t->simd->load[t->compute][t->compute == DLT_COMPUTE_F32   ? DLT_F32
                                                                        : t->compute == DLT_COMPUTE_F64 ? DLT_F64
                                                                                                        : DLT_I64]) {
        in->load(converted, s, rows);
        s = converted;
    }
    t->simd->shape[t->compute]->spread(d, s, rows, t->row);
}

/* Rows that follow each other and are the same are brought once and copied. */
static void bring_rows(const dlt_tiles_run *run, const input *in, const void *base, void *d, int64_t row, int64_t rows)
{
    const dlt_tiles *t = run->tiles;
    const int last = t->axes - 2;
    const size_t bytes = (size_t)(t->row * t->element);
    char *to = d;
    walk w;
    walk_to(t, in, row, &w);
    while (rows > 0) {
        int64_t same = 1;
        in->load(to, bytes_at(base, w.offset * in->size), t->row);
        if (in->stride[last] == 0) {
            same = t->dim[last] - w.at[last] < rows ? t->dim[last] - w.at[last] : rows;
            size_t done = bytes;
            const size_t all = bytes * (size_t)same;
            for (; done * 2 <= all; done *= 2) {
                memcpy(to + done, to, done);
            }
            memcpy(to + done, to, all - done);
            w.at[last] += same - 1;
        }
        walk_on(t, in, &w);
        to += bytes * (size_t)same;
        rows -= same;
    }
}

/* The first sample, as an integer of whatever type it is stored in. */
static uint64_t first_sample(const dlt_tiles_run *run, int reg)
{
    const dlt_tiles *t = run->tiles;
    int64_t sample = 0;
    if (reg < t->input_count) {
        t->simd->load[DLT_COMPUTE_I64][t->inputs[reg].type](&sample, run->in[reg], 1);
    } else if (t->compute == DLT_COMPUTE_F32) {
        float x;
        memcpy(&x, &t->regs[reg].value, sizeof x);
        sample = (int64_t)x;
    } else {
        sample = (int64_t)t->regs[reg].value;
    }
    return (uint64_t)sample;
}

static void do_uniform(const dlt_tiles_run *run, const step *s, int64_t first, int64_t n)
{
    const dlt_tiles *t = run->tiles;
    const dlt_ew_attrs *op = &s->instr->op;
    const uint64_t sample = first_sample(run, s->a);
    char *d = run->at[s->d];
    while (n > 0) {
        const int64_t element = first % op->per_sample, left = op->per_sample - element, count = n < left ? n : left;
        t->simd->shape[t->compute]->uniform(d, op->seed, op->stream, sample + (uint64_t)(first / op->per_sample),
                                            (uint64_t)element, count);
        d += count * t->element;
        first += count;
        n -= count;
    }
}

static void run_steps(const dlt_tiles_run *run, int from, int end, int64_t first, int64_t n)
{
    const dlt_tiles *t = run->tiles;
    for (int i = from; i < end; i++) {
        const step *s = &t->steps[i];
        if (s->special == PLAIN) {
            s->fn(run->at[s->d], run->at[s->a], run->at[s->b], run->at[s->c], n);
        } else if (s->special == DO_FILL) {
            t->simd->shape[t->compute]->fill(run->at[s->d], run->at[s->a], n);
        } else if (s->special == DO_INDEX) {
            t->simd->shape[t->compute]->index(run->at[s->d], first, n, s->inner, s->size);
        } else {
            do_uniform(run, s, first, n);
        }
    }
}

void dlt_tiles_begin(dlt_tiles_run *run, const dlt_tiles *t, const void *const *in, void *const *out, void *buffers)
{
    run->tiles = t;
    run->buffers = buffers;
    for (int r = 0; r < t->reg_count; r++) {
        run->at[r] = t->regs[r].constant         ? (void *)(uintptr_t)&t->regs[r].value
                     : t->regs[r].buffer != NONE ? run->buffers + t->regs[r].buffer * t->buffer_bytes
                                            : (void *)&run->scalar[r];
    }
    for (int k = 0; k < t->output_count; k++) {
        const output *o = &t->outputs[k];
        run->out[k] = out[k];
        run->direct[k] = o->may_be_direct && out[k] != NULL;
        for (int i = 0; i < t->input_count && run->direct[k]; i++) {
            run->direct[k] = (o->hazards >> i & 1) == 0 || in[i] != out[k];
        }
    }
    for (int i = 0; i < t->input_count; i++) {
        const input *from = &t->inputs[i];
        run->in[i] = in[i];
        if (from->from == FROM_ONE) {
            from->load(&run->scalar[i], in[i], 1);
        } else if (from->from == ROW_VECTOR) {
            char *d = run->at[i];
            from->load(d, in[i], t->row);
            for (int64_t done = t->row; done < t->most; done += t->row) {
                memcpy(d + done * t->element, d, (size_t)(t->row * t->element));
            }
        }
    }
    run_steps(run, 0, t->once_end, 0, 1);
    run_steps(run, t->once_end, t->row_end, 0, t->most);
}

/* Asks the second-level cache for what the next tile reads, if there is one: a tile is too short for the processor to see where the streams go. */
static void fetch_ahead(const dlt_tiles *t, const input *in, const void *base, int64_t first, int64_t n)
{
    const char *at = bytes_at(base, (first + n) * in->size);
    for (int64_t done = 0; t->far && done < n * in->size; done += 64) {
        __builtin_prefetch(at + done, 0, 2);
    }
}

static void bring_inputs(dlt_tiles_run *run, const void *result, int64_t first, int64_t n)
{
    const dlt_tiles *t = run->tiles;
    const int64_t row = first / t->row, column = first % t->row;
    for (int i = 0; i < t->input_count; i++) {
        const input *in = &t->inputs[i];
        const void *base = run->in[i];
        walk w;
        switch (in->from) {
        case FROM_RESULT:
            run->at[i] = (void *)(uintptr_t)result;
            break;
        case FROM_MEMORY:
            run->at[i] = (void *)(uintptr_t)bytes_at(base, first * in->size);
            fetch_ahead(t, in, base, first, n);
            break;
        case CONVERTED:
            fetch_ahead(t, in, base, first, n);
            in->load(run->at[i], bytes_at(base, first * in->size), n);
            break;
        case COLUMN:
            spread_column(run, in, base, run->at[i], row, n / t->row);
            break;
        case GENERAL:
            bring_rows(run, in, base, run->at[i], row, n / t->row);
            break;
        case PIECE_ONE:
            walk_to(t, in, row, &w);
            in->load(&run->scalar[i], bytes_at(base, w.offset * in->size), 1);
            break;
        case PIECE_MEMORY:
            walk_to(t, in, row, &w);
            run->at[i] = (void *)(uintptr_t)bytes_at(base, (w.offset + column) * in->size);
            break;
        case PIECE_CONVERTED:
            walk_to(t, in, row, &w);
            in->load(run->at[i], bytes_at(base, (w.offset + column) * in->size), n);
            break;
        default: /* FROM_ONE, ROW_VECTOR: there since the beginning */
            break;
        }
    }
}

void dlt_tiles_run_on(dlt_tiles_run *run, const void *result, int64_t first, int64_t n)
{
    const dlt_tiles *t = run->tiles;
    bring_inputs(run, result, first, n);
    for (int k = 0; k < t->output_count; k++) {
        if (run->direct[k]) {
            run->at[t->outputs[k].reg] = (char *)run->out[k] + first * t->outputs[k].size;
        }
    }
    run_steps(run, t->row_end, t->piece_end, first, 1);
    run_steps(run, t->piece_end, t->step_count, first, n);
    for (int k = 0; k < t->output_count; k++) {
        const output *o = &t->outputs[k];
        if (!run->direct[k] && !o->reduced && run->out[k] != NULL) {
            o->store((char *)run->out[k] + first * o->size, run->at[o->reg], n);
        }
    }
}

int64_t dlt_tiles_next(const dlt_tiles *t, int64_t at, int64_t end)
{
    int64_t n = end - at < t->most ? end - at : t->most;
    if (t->form == PIECES) {
        const int64_t left = t->row - at % t->row;
        n = n < left ? n : left;
    }
    return n;
}

void dlt_tiles_run_range(dlt_tiles_run *run, int64_t first, int64_t end)
{
    while (first < end) {
        const int64_t n = dlt_tiles_next(run->tiles, first, end);
        dlt_tiles_run_on(run, NULL, first, n);
        first += n;
    }
}

const void *dlt_tiles_values(const dlt_tiles_run *run, int k)
{
    return run->at[run->tiles->outputs[k].reg];
}

void dlt_tiles_run_block(dlt_tiles_run *run, const void *result, int64_t stride, int64_t width, int64_t row, int64_t rows,
                         int64_t column, int64_t columns)
{
    const dlt_tiles *t = run->tiles;
    const int64_t at_once = t->most / width;
    if (columns == width && stride == width && t->form != PIECES && at_once > 0) { /* whole rows, one after another */
        for (int64_t r = 0; r < rows; r += at_once) {
            const int64_t n = rows - r < at_once ? rows - r : at_once;
            dlt_tiles_run_on(run, bytes_at(result, r * width * t->element), (row + r) * width, n * width);
        }
        return;
    }
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c += t->most) {
            const int64_t n = columns - c < t->most ? columns - c : t->most;
            dlt_tiles_run_on(run, bytes_at(result, (r * stride + c) * t->element), (row + r) * width + column + c, n);
        }
    }
}
