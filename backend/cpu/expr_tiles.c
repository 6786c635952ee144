/* backend/cpu/expr_tiles.c: EXPR nodes: programs over tiles, with reductions in the order of graph/expr.h.
 *
 * Phase 0 runs the program. Reductions over rows put elements into lanes as tiles come by; those over columns add rows up.
 * Where a reduced axis has several chunks, their results lie in workspace and phase 1 joins them pairwise. A channel-blocked
 * domain is reduced to its channels in the order of its logical rows. */
#include "backend/cpu/tiles.h"

#include "base/alloc.h"

#include <string.h>

enum { MAX_TASKS = 256, STRIP = 2048, WIDE = 4096 };
static const double task_ns = 8000; /* work that is worth a task of its own */

typedef enum reduction { NO_REDUCTION, BY_ROWS, BY_COLUMNS, BY_BLOCKS } reduction;

typedef struct prepared {
    const dlt_tiles *tiles;
    const dlt_expr *expr;
    const dlt_reducers *reduce;
    const dlt_simd *simd;
    dlt_compute compute;
    int64_t element, count;
    int64_t per_task; /* BY_ROWS, none: elements of a task; else chunks of a task */
    reduction how;
    int64_t outer, length, inner;
    int64_t chunk, chunks;     /* elements (rows) or rows (columns) of a chunk, and how many a reduced axis has */
    int64_t strip, strips;     /* columns: of a task */
    int64_t groups;            /* columns: groups of chunks, per outer index */
    int64_t rows_per_part;     /* long rows: tasks of a row */
    int64_t positions, blocks, block; /* channel-blocked domain */
    int64_t partial_offset[DLT_TILES_MAX_OUTPUTS]; /* bytes in workspace; -1: none */
    int64_t join_tasks;
} prepared;

static int64_t common_multiple(int64_t a, int64_t b)
{
    int64_t x = a, y = b;
    while (y != 0) {
        const int64_t rest = x % y;
        x = y;
        y = rest;
    }
    return a / x * b;
}

/* ---- what can be done ---- */

static const dlt_expr_out *first_reduction(const dlt_expr *expr)
{
    for (int k = 0; k < expr->output_count; k++) {
        if (expr->outputs[k].reduce != DLT_REDUCE_NONE) {
            return &expr->outputs[k];
        }
    }
    return NULL;
}

static const dlt_value *domain_value(const dlt_node *n, const dlt_expr *expr)
{
    for (int i = 0; i < n->input_count; i++) {
        if (n->inputs[i]->layout.kind != DLT_LAYOUT_ROW_MAJOR && dlt_shape_equal(&n->inputs[i]->shape, &expr->domain)) {
            return n->inputs[i];
        }
    }
    return NULL;
}

static const char *declines(const dlt_cpu_query *query)
{
    const dlt_expr *expr = query->node->attrs;
    const char *reason = dlt_tiles_decline(query->node, expr, false);
    const dlt_expr_out *reduced = first_reduction(expr);
    const dlt_value *v = domain_value(query->node, expr);
    if (reason == NULL && reduced != NULL && v != NULL && v->layout.kind != DLT_LAYOUT_FLAT) {
        const uint32_t all = (UINT32_C(1) << expr->domain.rank) - 1;
        if (v->layout.kind != DLT_LAYOUT_CHANNEL_BLOCKED || reduced->axes != all >> 1) {
            return "reduction over blocked channels";
        }
    }
    return reason;
}

/* ---- preparation ---- */

static int64_t task_count(const prepared *p, int64_t elements)
{
    const double wanted = (double)elements * dlt_tiles_cost(p->tiles) / task_ns;
    return wanted < 1 ? 1 : wanted > MAX_TASKS ? MAX_TASKS : (int64_t)wanted;
}

static void prepare_rows(prepared *p, dlt_cpu_schedule *schedule)
{
    const int64_t unit = dlt_tiles_unit(p->tiles);
    p->chunk = DLT_REDUCE_CHUNK;
    p->chunks = dlt_divide_up(p->length, p->chunk);
    if (p->chunks <= 1) { /* whole rows */
        const int64_t grain = common_multiple(p->length, unit);
        p->per_task = dlt_divide_up(dlt_divide_up(p->count, task_count(p, p->count)), grain) * grain;
        schedule->tasks[0] = dlt_divide_up(p->count, p->per_task);
    } else { /* parts of rows */
        const int64_t grain = common_multiple(p->chunk, unit);
        const int64_t parts = dlt_divide_up(task_count(p, p->count), p->outer);
        p->per_task = dlt_divide_up(dlt_divide_up(p->length, parts), grain) * grain;
        p->rows_per_part = dlt_divide_up(p->length, p->per_task);
        schedule->tasks[0] = p->outer * p->rows_per_part;
    }
}

static void prepare_columns(prepared *p, dlt_cpu_schedule *schedule)
{
    const int64_t unit = dlt_tiles_unit(p->tiles);
    p->chunk = dlt_reduce_rows(p->inner);
    p->chunks = dlt_divide_up(p->length, p->chunk);
    /* chunks whose start is the start of a tile's row */
    const int64_t rows = unit > p->inner ? common_multiple(p->chunk, unit / p->inner) : p->chunk;
    const int64_t wanted = dlt_divide_up(task_count(p, p->count), p->outer);
    p->strip = p->inner;
    p->strips = 1;
    if (p->inner > WIDE) {
        const int64_t grain = common_multiple(unit, 64);
        p->strip = dlt_divide_up(STRIP, grain) * grain;
        p->strips = dlt_divide_up(p->inner, p->strip);
    }
    const int64_t parts = dlt_divide_up(wanted, p->strips);
    p->per_task = dlt_divide_up(dlt_divide_up(p->length, parts), rows) * rows / p->chunk;
    p->groups = dlt_divide_up(p->chunks, p->per_task);
    schedule->tasks[0] = p->outer * p->groups * p->strips;
}

static void prepare_blocks(prepared *p, const dlt_value *v, dlt_cpu_schedule *schedule)
{
    const dlt_shape *s = &v->shape;
    p->block = v->layout.block;
    p->blocks = s->dim[s->rank - 1] / p->block;
    p->positions = 1;
    for (int i = 1; i + 1 < s->rank; i++) {
        p->positions *= s->dim[i];
    }
    p->outer = 1;
    p->length = s->dim[0] * p->positions;
    p->inner = s->dim[s->rank - 1];
    p->chunk = dlt_reduce_rows(p->inner);
    p->chunks = dlt_divide_up(p->length, p->chunk);
    const int64_t parts = dlt_divide_up(task_count(p, p->count), p->blocks);
    p->per_task = dlt_divide_up(p->chunks, parts < p->chunks ? parts : p->chunks);
    p->groups = dlt_divide_up(p->chunks, p->per_task);
    schedule->tasks[0] = p->groups * p->blocks;
}

static bool prepare(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_node *n = query->node;
    const dlt_expr *expr = n->attrs;
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    p->expr = expr;
    p->simd = dlt_simd_of(query->isa);
    p->tiles = dlt_tiles_create(query, expr, false, DLT_TILES_ANY);
    if (p->tiles == NULL) {
        return false;
    }
    p->compute = expr->compute == DLT_F32 ? DLT_COMPUTE_F32 : expr->compute == DLT_F64 ? DLT_COMPUTE_F64 : DLT_COMPUTE_I64;
    p->reduce = p->simd->reduce[p->compute];
    p->element = (int64_t)dlt_dtype_size(expr->compute);
    p->count = dlt_tiles_count(p->tiles);
    schedule->prepared = p;
    schedule->phases = 1;
    const dlt_expr_out *reduced = first_reduction(expr);
    const dlt_value *v = domain_value(n, expr);
    if (p->count == 0 && reduced == NULL) {
        schedule->tasks[0] = 0;
        return true;
    }
    if (reduced == NULL) {
        const int64_t unit = common_multiple(dlt_tiles_unit(p->tiles), 64);
        p->per_task = dlt_divide_up(dlt_divide_up(p->count, task_count(p, p->count)), unit) * unit;
        schedule->tasks[0] = dlt_divide_up(p->count, p->per_task);
        return true;
    }
    if (v != NULL && v->layout.kind == DLT_LAYOUT_CHANNEL_BLOCKED) {
        p->how = BY_BLOCKS;
    } else {
        if (v != NULL) { /* flat */
            p->outer = p->inner = 1;
            p->length = p->count;
        } else {
            dlt_reduce_view(&expr->domain, reduced->axes, &p->outer, &p->length, &p->inner);
        }
        p->how = p->inner > 1 ? BY_COLUMNS : BY_ROWS;
    }
    if (p->count > 0) {
        if (p->how == BY_ROWS) {
            prepare_rows(p, schedule);
        } else if (p->how == BY_COLUMNS) {
            prepare_columns(p, schedule);
        } else {
            prepare_blocks(p, v, schedule);
        }
    } else { /* sums of nothing: phase 1 stores them */
        p->chunks = 0;
    }
    if (p->how != BY_ROWS || p->chunks != 1) {
        const int64_t bytes = dlt_divide_up(p->outer * p->chunks * p->inner * p->element, 64) * 64;
        for (int k = 0; k < expr->output_count; k++) {
            p->partial_offset[k] = schedule->workspace_bytes;
            schedule->workspace_bytes += expr->outputs[k].reduce != DLT_REDUCE_NONE ? bytes : 0;
        }
        const int64_t results = p->outer * p->inner;
        const double work = (double)results * (double)(p->chunks + 1) * 0.2;
        const int64_t wanted = work / task_ns < 1 ? 1 : (int64_t)(work / task_ns);
        p->join_tasks = wanted < dlt_divide_up(results, 16) ? wanted : dlt_divide_up(results, 16);
        p->join_tasks = p->join_tasks > MAX_TASKS ? MAX_TASKS : p->join_tasks;
        schedule->phases = 2;
        schedule->tasks[1] = results > 0 ? p->join_tasks : 0;
    }
    return true;
}

static double cost(const dlt_cpu_query *query)
{
    const dlt_expr *expr = query->node->attrs;
    return 1e-10 * dlt_expr_flops(expr) * (double)dlt_shape_count(&expr->domain);
}

/* ---- running ---- */

static void set_empty(const prepared *p, void *at, int64_t n, dlt_reduce_kind kind)
{
    double empty = 0; /* bits of any compute type */
    if (kind != DLT_REDUCE_SUM) {
        const bool max = kind == DLT_REDUCE_MAX;
        if (p->compute == DLT_COMPUTE_F32) {
            const float x = max ? -__builtin_inff() : __builtin_inff();
            memcpy(&empty, &x, sizeof x);
        } else if (p->compute == DLT_COMPUTE_F64) {
            empty = max ? -__builtin_inf() : __builtin_inf();
        } else {
            const int64_t x = max ? INT64_MIN : INT64_MAX;
            memcpy(&empty, &x, sizeof x);
        }
    }
    p->simd->shape[p->compute]->fill(at, &empty, n);
}

static void store_result(const prepared *p, const dlt_cpu_call *call, int k, int64_t at, const void *values, int64_t n)
{
    const dlt_dtype type = p->expr->outputs[k].type;
    p->simd->store[p->compute][type]((char *)call->out[k] + at * (int64_t)dlt_dtype_size(type), values, n);
}

static char *partial(const prepared *p, const dlt_cpu_call *call, int k, int64_t outer, int64_t chunk)
{
    return (char *)call->workspace + p->partial_offset[k] + (outer * p->chunks + chunk) * p->inner * p->element;
}

typedef struct lanes {
    double acc[DLT_REDUCE_LANES]; /* memory for lanes of any compute type */
} lanes;

/* Elements [first, first + n) of a tile go into lanes; what is complete is stored. */
static void take_rows(const prepared *p, const dlt_cpu_call *call, const dlt_tiles_run *run, int k, lanes *l, int64_t first,
                      int64_t n)
{
    const dlt_reduce_kind kind = p->expr->outputs[k].reduce;
    const char *values = dlt_tiles_values(run, k);
    char *acc = (char *)l->acc;
    double result[64];
    while (n > 0) {
        const int64_t row = first / p->length, at = first % p->length, in_chunk = at % p->chunk;
        int64_t take;
        if (at == 0 && p->chunks == 1 && n >= p->length) { /* whole rows */
            int64_t rows = n / p->length;
            rows = rows < (int64_t)DLT_COUNT(result) ? rows : (int64_t)DLT_COUNT(result);
            p->reduce->rows(result, values, rows, p->length, kind);
            store_result(p, call, k, row, result, rows);
            take = rows * p->length;
        } else {
            const int64_t left_row = p->length - at, left_chunk = p->chunk - in_chunk;
            take = left_row < left_chunk ? left_row : left_chunk;
            const bool ends = take <= n;
            take = ends ? take : n;
            if (in_chunk == 0) {
                set_empty(p, acc, DLT_REDUCE_LANES, kind);
            }
            const int64_t lane = in_chunk % DLT_REDUCE_LANES;
            int64_t head = lane > 0 ? DLT_REDUCE_LANES - lane : 0;
            head = head < take ? head : take;
            p->reduce->rows_add(acc + lane * p->element, values, head, kind);
            p->reduce->lanes_add(acc, values + head * p->element, take - head, kind);
            if (ends && p->chunks == 1) {
                p->reduce->lanes_join(result, acc, kind);
                store_result(p, call, k, row, result, 1);
            } else if (ends) {
                p->reduce->lanes_join(partial(p, call, k, row, at / p->chunk), acc, kind);
            }
        }
        values += take * p->element;
        first += take;
        n -= take;
    }
}

static void run_rows(const prepared *p, const dlt_cpu_call *call, int64_t task)
{
    dlt_tiles_run run;
    lanes acc[DLT_TILES_MAX_OUTPUTS];
    int64_t first, end;
    if (p->chunks == 1) {
        first = task * p->per_task;
        end = first + p->per_task < p->count ? first + p->per_task : p->count;
    } else {
        const int64_t row = task / p->rows_per_part, at = task % p->rows_per_part * p->per_task;
        first = row * p->length + at;
        end = row * p->length + (at + p->per_task < p->length ? at + p->per_task : p->length);
    }
    dlt_tiles_begin(&run, p->tiles, call->in, call->out, call->scratch);
    while (first < end) {
        const int64_t n = dlt_tiles_next(p->tiles, first, end);
        dlt_tiles_run_on(&run, NULL, first, n);
        for (int k = 0; k < p->expr->output_count; k++) {
            if (p->expr->outputs[k].reduce != DLT_REDUCE_NONE && call->out[k] != NULL) {
                take_rows(p, call, &run, k, &acc[k], first, n);
            }
        }
        first += n;
    }
}

/* Adds elements [first, first + n) to their columns; each chunk's first row is copied. */
static void take_columns(const prepared *p, const dlt_cpu_call *call, const dlt_tiles_run *run, int k, int64_t first,
                         int64_t n)
{
    const dlt_reduce_kind kind = p->expr->outputs[k].reduce;
    const char *values = dlt_tiles_values(run, k);
    while (n > 0) {
        const int64_t row = first / p->inner, column = first % p->inner;
        const int64_t outer = row / p->length, at = row % p->length, in_chunk = at % p->chunk;
        char *acc = partial(p, call, k, outer, at / p->chunk) + column * p->element;
        int64_t take = p->inner - column < n ? p->inner - column : n;
        if (in_chunk == 0) {
            memcpy(acc, values, (size_t)(take * p->element));
        } else if (column == 0 && n >= p->inner) {
            int64_t rows = p->chunk - in_chunk;
            rows = rows < p->length - at ? rows : p->length - at;
            rows = rows < n / p->inner ? rows : n / p->inner;
            p->reduce->columns(acc, values, rows, p->inner, kind);
            take = rows * p->inner;
        } else {
            p->reduce->rows_add(acc, values, take, kind);
        }
        values += take * p->element;
        first += take;
        n -= take;
    }
}

static void run_columns(const prepared *p, const dlt_cpu_call *call, int64_t task)
{
    dlt_tiles_run run;
    const int64_t strip = task % p->strips, group = task / p->strips % p->groups, outer = task / p->strips / p->groups;
    const int64_t first_row = group * p->per_task * p->chunk;
    int64_t end_row = first_row + p->per_task * p->chunk;
    end_row = end_row < p->length ? end_row : p->length;
    dlt_tiles_begin(&run, p->tiles, call->in, call->out, call->scratch);
    /* strips are walked row by row, whole rows as one range */
    const int64_t ranges = p->strips > 1 ? end_row - first_row : 1;
    for (int64_t i = 0; i < ranges; i++) {
        const int64_t start = (outer * p->length + first_row + i) * p->inner + strip * p->strip;
        int64_t length = (end_row - first_row) * p->inner;
        if (p->strips > 1) {
            length = p->inner - strip * p->strip < p->strip ? p->inner - strip * p->strip : p->strip;
        }
        for (int64_t at = start; at < start + length;) {
            const int64_t n = dlt_tiles_next(p->tiles, at, start + length);
            dlt_tiles_run_on(&run, NULL, at, n);
            for (int k = 0; k < p->expr->output_count; k++) {
                if (p->expr->outputs[k].reduce != DLT_REDUCE_NONE && call->out[k] != NULL) {
                    take_columns(p, call, &run, k, at, n);
                }
            }
            at += n;
        }
    }
}

/* One channel block of some chunks of logical rows. */
static void run_blocks(const prepared *p, const dlt_cpu_call *call, int64_t task)
{
    dlt_tiles_run run;
    const int64_t block = task % p->blocks, group = task / p->blocks;
    int64_t row = group * p->per_task * p->chunk, end = row + p->per_task * p->chunk;
    end = end < p->length ? end : p->length;
    dlt_tiles_begin(&run, p->tiles, call->in, call->out, call->scratch);
    while (row < end) { /* a chunk's rows of one image at a time */
        const int64_t image = row / p->positions, position = row % p->positions;
        int64_t rows = p->positions - position, left = p->chunk - row % p->chunk;
        rows = rows < left ? rows : left;
        rows = rows < end - row ? rows : end - row;
        const int64_t start = ((image * p->blocks + block) * p->positions + position) * p->block;
        for (int64_t done = 0; done < rows;) {
            const int64_t n = dlt_tiles_next(p->tiles, start + done * p->block, start + rows * p->block) / p->block;
            dlt_tiles_run_on(&run, NULL, start + done * p->block, n * p->block);
            for (int k = 0; k < p->expr->output_count; k++) {
                const dlt_reduce_kind kind = p->expr->outputs[k].reduce;
                if (kind == DLT_REDUCE_NONE || call->out[k] == NULL) {
                    continue;
                }
                const char *values = dlt_tiles_values(&run, k);
                char *acc = partial(p, call, k, 0, row / p->chunk) + block * p->block * p->element;
                int64_t skip = 0;
                if ((row + done) % p->chunk == 0) {
                    memcpy(acc, values, (size_t)(p->block * p->element));
                    skip = 1;
                }
                p->reduce->columns(acc, values + skip * p->block * p->element, n - skip, p->block, kind);
            }
            done += n;
        }
        row += rows;
    }
}

/* Joins chunks pairwise: 0 + 1, 2 + 3, ..., an odd last one is carried on. */
static void join(const prepared *p, const dlt_cpu_call *call, int64_t task)
{
    const int64_t results = p->outer * p->inner, each = dlt_divide_up(dlt_divide_up(results, p->join_tasks), 16) * 16;
    const int64_t end = (task + 1) * each < results ? (task + 1) * each : results;
    for (int k = 0; k < p->expr->output_count; k++) {
        const dlt_reduce_kind kind = p->expr->outputs[k].reduce;
        if (kind == DLT_REDUCE_NONE || call->out[k] == NULL) {
            continue;
        }
        for (int64_t at = task * each; at < end;) {
            const int64_t outer = at / p->inner, column = at % p->inner;
            const int64_t n = p->inner - column < end - at ? p->inner - column : end - at;
            if (p->chunks == 0) {
                double nothing;
                set_empty(p, &nothing, 1, kind);
                for (int64_t i = 0; i < n; i++) {
                    store_result(p, call, k, at + i, &nothing, 1);
                }
                at += n;
                continue;
            }
            for (int64_t step = 1; step < p->chunks; step *= 2) {
                for (int64_t c = 0; c + step < p->chunks; c += 2 * step) {
                    p->reduce->rows_add(partial(p, call, k, outer, c) + column * p->element,
                                        partial(p, call, k, outer, c + step) + column * p->element, n, kind);
                }
            }
            store_result(p, call, k, at, partial(p, call, k, outer, 0) + column * p->element, n);
            at += n;
        }
    }
}

static void run(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    if (phase == 1) {
        join(p, call, task);
    } else if (p->how == BY_ROWS) {
        run_rows(p, call, task);
    } else if (p->how == BY_COLUMNS) {
        run_columns(p, call, task);
    } else if (p->how == BY_BLOCKS) {
        run_blocks(p, call, task);
    } else {
        const int64_t first = task * p->per_task, end = first + p->per_task < p->count ? first + p->per_task : p->count;
        dlt_tiles_run tiles;
        dlt_tiles_begin(&tiles, p->tiles, call->in, call->out, call->scratch);
        dlt_tiles_run_range(&tiles, first, end);
    }
}

const dlt_cpu_kernel dlt_cpu_expr_tiles = {
    .name = "expr_tiles", .op = DLT_OP_EXPR, .layouts = true, .declines = declines, .cost = cost, .prepare = prepare, .run = run};
