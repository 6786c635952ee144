/* backend/cpu/ref_expr.c: expression programs (graph/expr.h), interpreted: an instruction after the other on a tile of the
 * domain. Positions are logical and row-major whatever the layout of operands; a FLAT domain is one axis of its `extent`
 * elements, padding included. A reduction takes the order that graph/expr.h fixes. */
#include "backend/cpu/ref.h"

#include "base/rng.h"

#include <math.h>
#include <string.h>

/* Most elements of a tile, and most results; the tile shrinks so that all registers fit into scratch. */
enum { MOST_TILE = 512, MOST_INPUTS = 64, MOST_OUTPUTS = 32, REGISTER_BYTES = 8 };

typedef struct operand {
    dlt_dtype type;
    dlt_ref_map map; /* results that are reduced have none: they lie row-major in order (row, column) */
} operand;

struct dlt_ref_program {
    const dlt_expr *expr;
    dlt_shape domain;
    int64_t count; /* elements of the domain */
    int64_t tile;
    int64_t index_stride[DLT_MAX_RANK];
    operand *inputs, *outputs;
    int reduced[MOST_OUTPUTS], reduced_count; /* numbers of the outputs that are reduced */
    /* the domain as rows x length x inner; length is cut into chunks of chunk_rows */
    int64_t rows, length, inner, chunk_rows, chunks, units;
    int64_t tasks[2];
};

/* The operand of UNIFORM, a scalar, as an integer. */
static int64_t first_sample(const dlt_ref_program *p, const dlt_instr *x, const void *const *inputs)
{
    if (x->a >= p->expr->input_count) { /* a constant */
        return dlt_ref_to_integer(p->expr->instrs[x->a - p->expr->input_count].op.value);
    }
    const operand *in = &p->inputs[x->a];
    return dlt_dtype_is_real(in->type) ? dlt_ref_to_integer(dlt_ref_get(inputs[x->a], in->type, in->map.start))
                                       : dlt_ref_get_integer(inputs[x->a], in->type, in->map.start);
}

#define VALUE float
#define NAME(x) x##_f32
#define REAL 1
#include "backend/cpu/ref_expr_type.h"
#define VALUE double
#define NAME(x) x##_f64
#define REAL 1
#include "backend/cpu/ref_expr_type.h"
#define VALUE int64_t
#define NAME(x) x##_i64
#define REAL 0
#include "backend/cpu/ref_expr_type.h"

/* ---- preparation ---- */

/* Operand k of the program: NULL for the product that an epilogue starts from. */
static const dlt_value *input_value(const dlt_node *n, int k)
{
    if (n->op == DLT_OP_EXPR) {
        return n->inputs[k];
    }
    return k == 0 ? NULL : n->inputs[n->own_inputs + k - 1];
}

/* The value of flat layout that gives the domain its extent, or NULL. */
static const dlt_value *flat_operand(const dlt_node *n, const dlt_expr *e)
{
    for (int i = 0; i < e->input_count + e->output_count; i++) {
        const dlt_value *v = i < e->input_count ? input_value(n, i) : n->outputs[i - e->input_count];
        if (v != NULL && v->layout.kind == DLT_LAYOUT_FLAT && dlt_shape_equal(&v->shape, &e->domain)) {
            return v;
        }
    }
    return NULL;
}

static bool map_operand(const dlt_value *v, const dlt_value *flat, const dlt_shape *domain, const dlt_shape *logical,
                        dlt_ref_map *map)
{
    if (flat != NULL && v != NULL && dlt_shape_equal(&v->shape, logical) && v->extent == flat->extent) {
        dlt_ref_map_rows(domain, map);
        return v->layout.kind == DLT_LAYOUT_FLAT;
    }
    const dlt_layout rows = {0};
    return dlt_ref_map_layout(v != NULL ? &v->shape : logical, v != NULL ? v->layout : rows, domain, map);
}

static bool is_real_only(dlt_ew op)
{
    switch (op) {
    case DLT_EW_UNIFORM:
    case DLT_EW_SIGN:
    case DLT_EW_SQRT:
    case DLT_EW_RSQRT:
    case DLT_EW_RECIP:
    case DLT_EW_EXP:
    case DLT_EW_EXPM1:
    case DLT_EW_LOG:
    case DLT_EW_LOG1P:
    case DLT_EW_SIN:
    case DLT_EW_COS:
    case DLT_EW_TANH:
    case DLT_EW_SIGMOID:
    case DLT_EW_SOFTPLUS:
    case DLT_EW_ERF:
    case DLT_EW_RELU:
    case DLT_EW_FLOOR:
    case DLT_EW_CEIL:
    case DLT_EW_IS_FINITE:
    case DLT_EW_DIV:
    case DLT_EW_POW:
        return true;
    default:
        return false;
    }
}

const char *dlt_ref_program_declines(const dlt_node *n, const dlt_expr *e)
{
    const dlt_value *flat = flat_operand(n, e);
    const dlt_shape domain = flat != NULL ? DLT_SHAPE(flat->extent) : e->domain;
    dlt_ref_map map;
    if (e->input_count > MOST_INPUTS || e->output_count > MOST_OUTPUTS ||
        e->input_count + e->instr_count > DLT_CPU_SCRATCH_BYTES / (REGISTER_BYTES * DLT_REDUCE_LANES)) {
        return "program too large";
    }
    for (int i = 0; i < e->input_count; i++) {
        if (!map_operand(input_value(n, i), flat, &domain, &e->domain, &map)) {
            return "unknown layout";
        }
    }
    uint32_t axes = 0;
    for (int i = 0; i < e->output_count; i++) {
        const dlt_expr_out *o = &e->outputs[i];
        int64_t outer, length, inner;
        if (o->reduce == DLT_REDUCE_NONE) {
            if (!map_operand(n->outputs[i], flat, &domain, &e->domain, &map)) {
                return "unknown layout";
            }
            continue;
        }
        if (n->outputs[i]->layout.kind != DLT_LAYOUT_ROW_MAJOR || (axes != 0 && axes != o->axes) ||
            !dlt_reduce_view(&domain, o->axes, &outer, &length, &inner)) {
            return "unknown reduction";
        }
        axes = o->axes;
    }
    for (int i = 0; i < e->instr_count; i++) {
        const dlt_instr *x = &e->instrs[i];
        if (e->compute == DLT_I64 && is_real_only(x->op.op)) {
            return "unknown integer instruction";
        }
        if (x->op.op == DLT_EW_UNIFORM) {
            const dlt_value *sample = x->a < e->input_count ? input_value(n, x->a) : NULL;
            const bool constant = x->a >= e->input_count && e->instrs[x->a - e->input_count].op.op == DLT_EW_CONST;
            if (!constant && (sample == NULL || dlt_shape_count(&sample->shape) != 1)) {
                return "the first sample is not a scalar";
            }
        }
    }
    return NULL;
}

/* How a reduction is cut. */
static void cut_reduction(dlt_ref_program *p, uint32_t axes)
{
    dlt_reduce_view(&p->domain, axes, &p->rows, &p->length, &p->inner);
    p->chunk_rows = p->inner == 1 ? DLT_REDUCE_CHUNK : dlt_reduce_rows(p->inner > 0 ? p->inner : 1);
    p->chunks = p->length > 0 ? (p->length + p->chunk_rows - 1) / p->chunk_rows : 1;
    p->units = p->rows * p->chunks;
}

/* Adds the phases of a program and its workspace. */
static void schedule_program(dlt_ref_program *p, dlt_cpu_schedule *schedule)
{
    const double cost = 4 * (double)(p->expr->input_count + p->expr->instr_count + p->expr->output_count);
    const int first = schedule->phases;
    if (p->reduced_count == 0) {
        dlt_ref_phase(schedule, p->count, cost);
    } else {
        const int64_t rows = p->chunk_rows < p->length ? p->chunk_rows : p->length;
        dlt_ref_phase(schedule, p->units, cost * (double)rows * (double)p->inner);
        dlt_ref_phase(schedule, p->rows * p->inner, 2 * (double)p->chunks * p->reduced_count);
        p->tasks[1] = schedule->tasks[first + 1];
        schedule->workspace_bytes += p->reduced_count * p->units * p->inner * REGISTER_BYTES;
    }
    p->tasks[0] = schedule->tasks[first];
}

const dlt_ref_program *dlt_ref_program_create(const dlt_node *n, const dlt_expr *e, dlt_dtype result, dlt_arena *arena,
                                              dlt_cpu_schedule *schedule)
{
    dlt_ref_program *p = dlt_arena_alloc(arena, 1, sizeof *p);
    operand *inputs = dlt_arena_alloc(arena, (size_t)e->input_count, sizeof *inputs);
    operand *outputs = dlt_arena_alloc(arena, (size_t)e->output_count, sizeof *outputs);
    if (p == NULL || inputs == NULL || outputs == NULL) {
        return NULL;
    }
    const dlt_value *flat = flat_operand(n, e);
    const int registers = e->input_count + e->instr_count;
    *p = (dlt_ref_program){.expr = e,
                           .domain = flat != NULL ? DLT_SHAPE(flat->extent) : e->domain,
                           .inputs = inputs,
                           .outputs = outputs};
    p->count = dlt_shape_count(&p->domain);
    p->tile = registers > 0 ? DLT_CPU_SCRATCH_BYTES / REGISTER_BYTES / registers : MOST_TILE;
    p->tile = p->tile < MOST_TILE ? p->tile / DLT_REDUCE_LANES * DLT_REDUCE_LANES : MOST_TILE;
    for (int i = p->domain.rank - 1; i >= 0; i--) {
        p->index_stride[i] = i == p->domain.rank - 1 ? 1 : p->index_stride[i + 1] * p->domain.dim[i + 1];
    }
    for (int i = 0; i < e->input_count; i++) {
        const dlt_value *v = input_value(n, i);
        inputs[i].type = v != NULL ? v->type : result;
        map_operand(v, flat, &p->domain, &e->domain, &inputs[i].map);
    }
    for (int i = 0; i < e->output_count; i++) {
        outputs[i].type = e->outputs[i].type;
        if (e->outputs[i].reduce == DLT_REDUCE_NONE) {
            map_operand(n->outputs[i], flat, &p->domain, &e->domain, &outputs[i].map);
        } else {
            p->reduced[p->reduced_count++] = i;
            cut_reduction(p, e->outputs[i].axes);
        }
    }
    schedule_program(p, schedule);
    return p;
}

void dlt_ref_program_run(const dlt_ref_program *p, int phase, int64_t task, const void *const *inputs,
                         void *const *outputs, void *workspace, void *scratch)
{
    switch (p->expr->compute) {
    case DLT_F64:
        run_phase_f64(p, phase, task, inputs, outputs, workspace, scratch);
        break;
    case DLT_I64:
        run_phase_i64(p, phase, task, inputs, outputs, workspace, scratch);
        break;
    default:
        run_phase_f32(p, phase, task, inputs, outputs, workspace, scratch);
    }
}

/* ---- EXPR ---- */

static const char *declines(const dlt_cpu_query *query)
{
    return dlt_ref_program_declines(query->node, query->node->attrs);
}

static bool prepare(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    schedule->prepared = dlt_ref_program_create(query->node, query->node->attrs, DLT_F32, query->arena, schedule);
    return schedule->prepared != NULL;
}

static void run(const dlt_cpu_call *call, int phase, int64_t task)
{
    dlt_ref_program_run(call->prepared, phase, task, call->in, call->out, call->workspace, call->scratch);
}

const dlt_cpu_kernel dlt_cpu_ref_EXPR = {
    .name = "expr_reference", .op = DLT_OP_EXPR, .layouts = true, .declines = declines, .prepare = prepare, .run = run};

/* ---- epilogues ---- */

typedef struct epilogue {
    const dlt_ref_program *program;
    int64_t result_bytes; /* of the product, at the start of workspace; the program's own comes behind */
} epilogue;

dlt_dtype dlt_ref_result_type(const dlt_node *n)
{
    return n->epilogue != NULL ? n->epilogue->compute : n->outputs[0]->type;
}

bool dlt_ref_rounds(const dlt_node *n)
{
    const dlt_dtype a = n->inputs[0]->type, b = n->inputs[1]->type;
    return (a == DLT_BF16 || b == DLT_BF16) && (a == DLT_BF16 || a == DLT_F32) && (b == DLT_BF16 || b == DLT_F32) &&
           dlt_ref_result_type(n) == DLT_F32;
}

const char *dlt_ref_epilogue_declines(const dlt_cpu_query *query)
{
    const dlt_node *n = query->node;
    const char *reason = dlt_ref_rounds(n) ? NULL : dlt_ref_needs_one_type(query);
    return reason != NULL || n->epilogue == NULL ? reason : dlt_ref_program_declines(n, n->epilogue);
}

bool dlt_ref_epilogue_prepare(const dlt_cpu_query *query, const dlt_shape *result, dlt_cpu_schedule *schedule)
{
    const dlt_node *n = query->node;
    const dlt_dtype type = dlt_ref_result_type(n);
    if (n->epilogue == NULL) {
        return true;
    }
    epilogue *e = dlt_arena_alloc(query->arena, 1, sizeof *e);
    if (e == NULL) {
        return false;
    }
    const int64_t bytes = dlt_shape_count(result) * (int64_t)dlt_dtype_size(type);
    e->result_bytes = (bytes + 63) / 64 * 64;
    e->program = dlt_ref_program_create(n, n->epilogue, type, query->arena, schedule);
    schedule->workspace_bytes += e->result_bytes;
    schedule->prepared = e;
    return e->program != NULL;
}

void *dlt_ref_epilogue_target(const dlt_cpu_call *call)
{
    return call->node->epilogue != NULL ? call->workspace : call->out[0];
}

void dlt_ref_epilogue_run(const dlt_cpu_call *call, int phase, int64_t task)
{
    const epilogue *e = call->prepared;
    const dlt_node *n = call->node;
    const void *inputs[MOST_INPUTS] = {call->workspace};
    for (int i = 1; i < n->epilogue->input_count; i++) {
        inputs[i] = call->in[n->own_inputs + i - 1];
    }
    dlt_ref_program_run(e->program, phase, task, inputs, call->out, (char *)call->workspace + e->result_bytes,
                        call->scratch);
}
