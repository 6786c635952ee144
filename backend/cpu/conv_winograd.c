/* backend/cpu/conv_winograd.c: 3 x 3 convolutions of stride 1 and their gradients by Winograd's F(4 x 4, 3 x 3), on channels in blocks of 16.
 *
 * The result is cut into tiles of 4 x 4. 36 points of a tile of 6 x 6 of the input (simd/winograd.c) times those of the kernel are 36 products of
 * (tiles x channels) (channels x channels), a quarter of the multiplications of the direct way:
 *
 *   V[point][tile][in channel], U[point][out block][in channel][16], M[point][out block][tile][16]
 *
 * Tiles come in strips, a row of tiles of an image. While U is small, a task takes a group of strips from the input to the result, with V and M in its
 * scratch (form GROUPS). A larger U would be read anew by each group: then all V are made first, then all products, then the results (form PHASES).
 * The gradient with respect to x is the convolution of dy with the kernel turned round. That with respect to the kernel sums V^T D over all tiles,
 * D[point][tile][out channel] being dy transformed, as [point][in channel][out channel], in parts that are joined pairwise. Nothing here depends on
 * the number of threads. */
#include "backend/cpu/conv.h"
#include "backend/cpu/gemm.h"
#include "backend/cpu/tiles.h"
#include "graph/passes.h"

#include "base/alloc.h"

#include <string.h>

enum {
    BLOCK = DLT_CONV_BLOCK,
    POINTS = 36,
    TILE = 4,               /* pixels of the result along each axis */
    PAD = 16,               /* floats behind rows and points, so that they do not fall on the same lines of the cache */
    SMALL_KERNEL = 4 << 20, /* bytes of U up to which strips go in groups */
    MOST_TILES = 56,        /* of a group */
    DEPTH = 128,            /* tiles of a sum that are gone through together, so that they stay in the first-level cache */
    STRIP_BYTES = 128 << 10 /* a strip of results of one block, before its epilogue */
};

typedef struct prepared {
    dlt_conv_geometry g;
    const dlt_simd *simd;
    bool turned;                    /* the gradient with respect to x */
    int64_t in[2], out[2], before[2];
    int64_t in_blocks, out_blocks;
    int64_t tiles_high, tiles_wide; /* of an image */
    int64_t strips, strip;          /* of all images; of a group or, in PHASES, of a task */
    int64_t tiles;                  /* of a group or, in PHASES, of all */
    int64_t v_row, v_point, m_block, m_point, u_block, u_point; /* floats */
    bool phases;
    int64_t tile_part, tile_parts, block_part, block_parts; /* PHASES: how products are shared out */
    int64_t v_at, m_at;             /* PHASES: where V and M begin in the workspace, behind U */
    const dlt_tiles *epilogue;
    int64_t d_row, d_point;         /* weights: of D */
    int64_t splits, join_tasks;
} prepared;

static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- what can be done, and what it takes ---- */

static dlt_conv_geometry geometry_of(const dlt_node *n)
{
    return dlt_conv_geometry_of(n->attrs, n->op == DLT_OP_CONV      ? &n->outputs[0]->shape
                                          : n->op == DLT_OP_CONV_DX ? &n->inputs[0]->shape
                                                                    : &n->inputs[1]->shape);
}

static int64_t scratch_floats(const prepared *p, int64_t tiles)
{
    return POINTS * (tiles * p->v_row + tiles * p->d_row + 2 * PAD); /* M is a little smaller than D */
}

/* Sizes that follow from the shape alone. */
static prepared sizes_of(const dlt_node *n)
{
    prepared p = {.g = geometry_of(n), .turned = n->op == DLT_OP_CONV_DX};
    const dlt_conv_geometry *g = &p.g;
    for (int a = 0; a < 2; a++) {
        p.in[a] = p.turned ? g->out[a + 1] : g->in[a + 1];
        p.out[a] = p.turned ? g->in[a + 1] : g->out[a + 1];
        p.before[a] = p.turned ? 2 - g->before[a + 1] : g->before[a + 1];
    }
    p.in_blocks = (p.turned ? g->out_channels : g->in_channels) / BLOCK;
    p.out_blocks = (p.turned ? g->in_channels : g->out_channels) / BLOCK;
    p.tiles_high = dlt_divide_up(p.out[0], TILE);
    p.tiles_wide = dlt_divide_up(p.out[1], TILE);
    p.strips = g->batch * p.tiles_high;
    p.v_row = p.in_blocks * BLOCK + PAD;
    p.d_row = p.out_blocks * BLOCK + PAD;
    p.u_block = p.in_blocks * BLOCK * BLOCK;
    p.u_point = p.out_blocks * p.u_block + PAD;
    p.phases = POINTS * p.u_point * (int64_t)sizeof(float) > SMALL_KERNEL;
    return p;
}

static int64_t scratch_left(bool epilogue)
{
    return ((int64_t)DLT_CPU_SCRATCH_BYTES - (epilogue ? STRIP_BYTES + DLT_TILES_EPILOGUE_BYTES : 0)) / (int64_t)sizeof(float);
}

static const char *declines(const dlt_cpu_query *query)
{
    const dlt_node *n = query->node;
    const char *reason = dlt_conv_blocked_layouts_decline(n);
    if (reason != NULL) {
        return reason;
    }
    const prepared p = sizes_of(n);
    const dlt_conv_geometry *g = &p.g;
    for (int i = 1; i < 3; i++) {
        if (g->size[i] != 3 || g->stride[i] != 1 || g->dilation[i] != 1) {
            return "needs a 3 x 3 kernel, stride 1, dilation 1";
        }
    }
    if (g->in_channels % BLOCK != 0) {
        return "needs input channels in blocks of 16";
    }
    if (!p.phases && scratch_floats(&p, p.tiles_wide) > scratch_left(true)) {
        return "rows too long for scratch";
    }
    if (TILE * p.out[1] * BLOCK * (int64_t)sizeof(float) > STRIP_BYTES) {
        return "rows too long for scratch";
    }
    if (n->op != DLT_OP_CONV_DW && n->epilogue != NULL) {
        return n->epilogue->compute != DLT_F32 ? "the epilogue computes in another type" : dlt_tiles_decline(n, n->epilogue, true);
    }
    return NULL;
}

/* Measured on a 3.7 GHz Zen 4 (bench/bench_kernels.c): products, and a tile's transforms of a block of channels. Of a small convolution the time
 * that is won is not worth the digit that the transforms lose. */
static double cost(const dlt_cpu_query *query)
{
    static const double rate[] = {14e9, 70e9, 90e9, 90e9}, transform[] = {400e-9, 130e-9, 70e-9, 70e-9};
    const prepared p = sizes_of(query->node);
    const double tiles = (double)(p.strips * p.tiles_wide), in = (double)p.in_blocks, out = (double)p.out_blocks;
    const double seconds = 2.0 * POINTS * tiles * in * out * BLOCK * BLOCK / rate[query->isa] + tiles * (in + out) * transform[query->isa] +
                           in * out * BLOCK * 2 * transform[query->isa] + 4e-6;
    return dlt_node_flops(query->node) < 1e8 ? 8 * seconds : seconds;
}

/* ---- preparation ---- */

/* How many strips go together: they must fit, and there must be enough groups. */
static int64_t strips_of_group(const prepared *p, bool epilogue, int64_t least_groups)
{
    int64_t strips = at_least(1, MOST_TILES / p->tiles_wide);
    while (strips > 1 && (scratch_floats(p, strips * p->tiles_wide) > scratch_left(epilogue) || dlt_divide_up(p->strips, strips) < least_groups)) {
        strips--;
    }
    return strips;
}

static void lay_out(prepared *p, int64_t tiles)
{
    p->tiles = tiles;
    p->v_point = tiles * p->v_row + PAD;
    p->d_point = tiles * p->d_row + PAD;
    p->m_block = tiles * BLOCK;
    p->m_point = p->out_blocks * p->m_block + PAD;
}

/* Large products: some rows of tiles times some blocks, so many that threads find enough of them and few enough to use what is in the cache. */
static void cut_products(prepared *p)
{
    p->tile_parts = dlt_divide_up(p->tiles, 256);
    p->tile_part = dlt_divide_up(p->tiles, p->tile_parts);
    p->block_parts = dlt_divide_up(p->out_blocks, 8);
    p->block_part = dlt_divide_up(p->out_blocks, p->block_parts * 2) * 2;
    p->block_parts = dlt_divide_up(p->out_blocks, p->block_part);
}

static prepared *prepare_sizes(const dlt_cpu_query *query)
{
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p != NULL) {
        *p = sizes_of(query->node);
        p->simd = dlt_simd_of(query->isa);
    }
    return p;
}

static bool prepare(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    enum { LEAST_GROUPS = 16 };
    const dlt_node *n = query->node;
    prepared *p = prepare_sizes(query);
    if (p == NULL) {
        return false;
    }
    if (n->epilogue != NULL) {
        p->epilogue = dlt_tiles_create(query, n->epilogue, true, DLT_TILES_ROWS);
        if (p->epilogue == NULL) {
            return false;
        }
    }
    int64_t floats = POINTS * p->u_point;
    schedule->prepared = p;
    schedule->tasks[0] = p->in_blocks * p->out_blocks;
    if (!p->phases) {
        p->strip = strips_of_group(p, true, LEAST_GROUPS); /* with and without an epilogue alike: the same bits */
        lay_out(p, p->strip * p->tiles_wide);
        schedule->phases = 2;
        schedule->tasks[1] = dlt_divide_up(p->strips, p->strip);
    } else {
        lay_out(p, p->strips * p->tiles_wide);
        cut_products(p);
        p->strip = at_least(1, 16 / p->tiles_wide);
        p->v_at = floats;
        p->m_at = p->v_at + POINTS * p->v_point;
        floats = p->m_at + POINTS * p->m_point;
        schedule->phases = 4;
        schedule->tasks[1] = schedule->tasks[3] = dlt_divide_up(p->strips, p->strip);
        schedule->tasks[2] = POINTS * p->tile_parts * p->block_parts;
    }
    schedule->workspace_bytes = floats * (int64_t)sizeof(float);
    return true;
}

static bool prepare_dw(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    enum { MOST_SPLITS = 16 };
    prepared *p = prepare_sizes(query);
    if (p == NULL) {
        return false;
    }
    int64_t floats;
    schedule->prepared = p;
    if (!p->phases) {
        p->strip = strips_of_group(p, false, 1);
        lay_out(p, p->strip * p->tiles_wide);
        const int64_t groups = dlt_divide_up(p->strips, p->strip);
        p->splits = at_most(MOST_SPLITS, at_least(1, groups / 4));
        p->join_tasks = p->splits > 1 ? POINTS : 0;
        floats = p->splits * POINTS * p->u_point;
        schedule->tasks[0] = p->splits;
        schedule->tasks[1] = p->join_tasks;
    } else {
        lay_out(p, p->strips * p->tiles_wide);
        p->splits = 1;
        p->strip = at_least(1, 16 / p->tiles_wide);
        p->v_at = POINTS * p->u_point;
        p->m_at = p->v_at + POINTS * p->v_point;
        floats = p->m_at + POINTS * p->d_point;
        schedule->tasks[0] = dlt_divide_up(p->strips, p->strip);
        schedule->tasks[1] = POINTS;
    }
    schedule->phases = 3;
    schedule->tasks[2] = p->in_blocks * p->out_blocks;
    schedule->workspace_bytes = floats * (int64_t)sizeof(float);
    return true;
}

/* ---- pieces ---- */

/* Block (in, out) of the kernel to U. The turned kernel's blocks are those of the other kind, each transposed. */
static void transform_kernel(const prepared *p, const float *w, float *u, int64_t task)
{
    const int64_t in = task % p->in_blocks, out = task / p->in_blocks;
    float *to = u + out * p->u_block + in * BLOCK * BLOCK;
    if (!p->turned) {
        const float *from = w + (out * p->in_blocks + in) * 9 * BLOCK * BLOCK;
        for (int i = 0; i < BLOCK; i++) {
            p->simd->winograd->kernel(to + i * BLOCK, p->u_point, from + i * BLOCK, BLOCK * BLOCK);
        }
        return;
    }
    const float *from = w + (in * p->out_blocks + out) * 9 * BLOCK * BLOCK;
    float turned[9 * BLOCK * BLOCK];
    for (int k = 0; k < 9; k++) {
        for (int i = 0; i < BLOCK; i++) {
            for (int j = 0; j < BLOCK; j++) {
                turned[(k * BLOCK + i) * BLOCK + j] = from[(k * BLOCK + j) * BLOCK + i];
            }
        }
    }
    for (int i = 0; i < BLOCK; i++) {
        p->simd->winograd->kernel(to + i * BLOCK, p->u_point, turned + 8 * BLOCK * BLOCK + i * BLOCK, -BLOCK * BLOCK);
    }
}

/* What of the 6 positions from `at` on lies inside `size`. */
static void clip(int64_t at, int64_t size, int64_t *first, int64_t *end)
{
    *first = at_most(at_least(-at, 0), TILE + 2);
    *end = at_least(at_most(size - at, TILE + 2), *first);
}

/* A strip of the input to the tiles from `tile` on of V. */
static void transform_input(const prepared *p, const float *x, float *v, int64_t tile, int64_t strip)
{
    const int64_t image = strip / p->tiles_high, row = strip % p->tiles_high * TILE - p->before[0], plane = p->in[0] * p->in[1] * BLOCK;
    dlt_winograd_place place;
    clip(row, p->in[0], &place.top, &place.bottom);
    for (int64_t b = 0; b < p->in_blocks; b++) {
        const float *from = x + (image * p->in_blocks + b) * plane;
        for (int64_t i = 0; i < p->tiles_wide; i++) {
            const int64_t column = i * TILE - p->before[1];
            clip(column, p->in[1], &place.left, &place.right);
            p->simd->winograd->input(v + (tile + i) * p->v_row + b * BLOCK, p->v_point, from + (row * p->in[1] + column) * BLOCK,
                                     p->in[1] * BLOCK, &place);
        }
    }
}

/* A strip of the result's gradient to the tiles from `tile` on of D. */
static void transform_gradient(const prepared *p, const float *dy, float *d, int64_t tile, int64_t strip)
{
    const int64_t image = strip / p->tiles_high, row = strip % p->tiles_high * TILE, rows = at_most(TILE, p->out[0] - row);
    for (int64_t b = 0; b < p->out_blocks; b++) {
        const float *from = dy + (((image * p->out_blocks + b) * p->out[0] + row) * p->out[1]) * BLOCK;
        for (int64_t i = 0; i < p->tiles_wide; i++) {
            p->simd->winograd->gradient(d + (tile + i) * p->d_row + b * BLOCK, p->d_point, from + i * TILE * BLOCK, p->out[1] * BLOCK, rows,
                                        at_most(TILE, p->out[1] - i * TILE));
        }
    }
}

/* Tiles [tile, tile + count) times blocks [block, block + blocks) at one point. */
static void multiply(const prepared *p, const float *v, const float *u, float *m, int64_t point, int64_t tile, int64_t count, int64_t block,
                     int64_t blocks)
{
    static const int64_t none[1] = {0};
    const dlt_conv_taps taps = {.count = 1,
                                .run = p->in_blocks * BLOCK,
                                .x_offset = none,
                                .w_offset = none,
                                .x_step = p->v_row,
                                .y_step = BLOCK,
                                .w_row = BLOCK,
                                .w_block = p->u_block,
                                .y_block = p->m_block};
    p->simd->conv->row(&taps, v + point * p->v_point + tile * p->v_row, u + point * p->u_point + block * p->u_block,
                       m + point * p->m_point + block * p->m_block + tile * BLOCK, count, blocks);
}

/* The strip of the result whose tiles begin at `tile` of M. */
static void finish(const dlt_cpu_call *call, const prepared *p, const float *m, int64_t tile, int64_t strip, dlt_tiles_run *run, float *buffer)
{
    const int64_t image = strip / p->tiles_high, row = strip % p->tiles_high * TILE, rows = at_most(TILE, p->out[0] - row);
    for (int64_t b = 0; b < p->out_blocks; b++) {
        const int64_t start = (((image * p->out_blocks + b) * p->out[0] + row) * p->out[1]) * BLOCK;
        float *y = p->epilogue != NULL ? buffer : (float *)call->out[0] + start;
        for (int64_t i = 0; i < p->tiles_wide; i++) {
            p->simd->winograd->output(y + i * TILE * BLOCK, p->out[1] * BLOCK, rows, at_most(TILE, p->out[1] - i * TILE),
                                      m + b * p->m_block + (tile + i) * BLOCK, p->m_point);
        }
        if (p->epilogue != NULL) {
            const int64_t count = rows * p->out[1] * BLOCK, most = dlt_tiles_most(p->epilogue) / BLOCK * BLOCK;
            for (int64_t at = 0; at < count; at += most) {
                dlt_tiles_run_on(run, buffer + at, start + at, at_most(most, count - at));
            }
        }
    }
}

static void begin_epilogue(const dlt_cpu_call *call, const prepared *p, dlt_tiles_run *run)
{
    const void *in[DLT_TILES_MAX_INPUTS] = {NULL};
    const dlt_node *n = call->node;
    if (p->epilogue == NULL) {
        return;
    }
    for (int i = n->own_inputs; i < n->input_count; i++) {
        in[1 + i - n->own_inputs] = call->in[i];
    }
    dlt_tiles_begin(run, p->epilogue, in, call->out, (char *)call->scratch + DLT_CPU_SCRATCH_BYTES - DLT_TILES_EPILOGUE_BYTES);
}

/* Where a strip lies before its epilogue. */
static float *strip_buffer(const dlt_cpu_call *call)
{
    return (float *)call->scratch + (DLT_CPU_SCRATCH_BYTES - DLT_TILES_EPILOGUE_BYTES - STRIP_BYTES) / (int)sizeof(float);
}

/* ---- forward, and dx as such ---- */

static void run_group(const dlt_cpu_call *call, const prepared *p, int64_t task)
{
    const int64_t first = task * p->strip, end = at_most(first + p->strip, p->strips), tiles = (end - first) * p->tiles_wide;
    float *v = call->scratch, *m = v + POINTS * p->v_point;
    dlt_tiles_run run;
    begin_epilogue(call, p, &run);
    for (int64_t s = first; s < end; s++) {
        transform_input(p, call->in[0], v, (s - first) * p->tiles_wide, s);
    }
    for (int64_t point = 0; point < POINTS; point++) {
        multiply(p, v, call->workspace, m, point, 0, tiles, 0, p->out_blocks);
    }
    for (int64_t s = first; s < end; s++) {
        finish(call, p, m, (s - first) * p->tiles_wide, s, &run, strip_buffer(call));
    }
}

static void run_product(const dlt_cpu_call *call, const prepared *p, int64_t task)
{
    const int64_t part = task % p->tile_parts, blocks = task / p->tile_parts % p->block_parts, point = task / (p->tile_parts * p->block_parts);
    const int64_t tile = part * p->tile_part, block = blocks * p->block_part;
    float *all = call->workspace;
    multiply(p, all + p->v_at, all, all + p->m_at, point, tile, at_most(p->tile_part, p->tiles - tile), block,
             at_most(p->block_part, p->out_blocks - block));
}

static void run(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    float *all = call->workspace;
    if (phase == 0) {
        transform_kernel(p, call->in[1], all, task);
    } else if (!p->phases) {
        run_group(call, p, task);
    } else if (phase == 2) {
        run_product(call, p, task);
    } else {
        const int64_t first = task * p->strip, end = at_most(first + p->strip, p->strips);
        dlt_tiles_run run;
        if (phase == 3) {
            begin_epilogue(call, p, &run);
        }
        for (int64_t s = first; s < end; s++) {
            if (phase == 1) {
                transform_input(p, call->in[0], all + p->v_at, s * p->tiles_wide, s);
            } else {
                finish(call, p, all + p->m_at, s * p->tiles_wide, s, &run, strip_buffer(call));
            }
        }
    }
}

/* ---- dw ---- */

/* Adds the sum over `tiles` tiles to the gradient of one point of U. */
static void add_products(const prepared *p, float *u, const float *v, const float *d, int64_t point, int64_t tiles)
{
    const dlt_gemm_ops *ops = p->simd->gemm;
    const int64_t in = p->in_blocks * BLOCK, out = p->out_blocks * BLOCK, panels = dlt_divide_up(in, ops->mr);
    u += point * p->u_point;
    v += point * p->v_point;
    d += point * p->d_point;
    for (int64_t t = 0; t < tiles; t += DEPTH) {
        const int64_t depth = at_most(DEPTH, tiles - t);
        for (int64_t i = 0; i < panels; i++) {
            const int64_t c = in * i / panels, rows = in * (i + 1) / panels - c;
            ops->panel(v + t * p->v_row + c, p->v_row, rows, d + t * p->d_row, p->d_row, ops->nr, depth, u + c * out, out, out, true);
        }
    }
}

static void sum_split(const dlt_cpu_call *call, const prepared *p, int64_t task)
{
    float *u = (float *)call->workspace + task * POINTS * p->u_point, *v = call->scratch, *d = v + POINTS * p->v_point;
    const int64_t groups = dlt_divide_up(p->strips, p->strip), end_group = groups * (task + 1) / p->splits;
    memset(u, 0, (size_t)(POINTS * p->u_point) * sizeof *u);
    for (int64_t g = groups * task / p->splits; g < end_group; g++) {
        const int64_t first = g * p->strip, end = at_most(first + p->strip, p->strips);
        for (int64_t s = first; s < end; s++) {
            transform_input(p, call->in[0], v, (s - first) * p->tiles_wide, s);
            transform_gradient(p, call->in[1], d, (s - first) * p->tiles_wide, s);
        }
        for (int64_t point = 0; point < POINTS; point++) {
            add_products(p, u, v, d, point, (end - first) * p->tiles_wide);
        }
    }
}

static void run_dw(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    float *all = call->workspace;
    if (phase == 2) {
        const int64_t in = task % p->in_blocks, out = task / p->in_blocks;
        float *w = (float *)call->out[0] + task * 9 * BLOCK * BLOCK;
        for (int i = 0; i < BLOCK; i++) {
            p->simd->winograd->weights(w + i * BLOCK, BLOCK * BLOCK, all + (in * BLOCK + i) * p->out_blocks * BLOCK + out * BLOCK, p->u_point);
        }
    } else if (!p->phases && phase == 0) {
        sum_split(call, p, task);
    } else if (!p->phases) {
        dlt_gemm_join(p->simd, all, p->splits, POINTS * p->u_point, task * p->u_point, (task + 1) * p->u_point);
    } else if (phase == 0) {
        for (int64_t s = task * p->strip; s < at_most((task + 1) * p->strip, p->strips); s++) {
            transform_input(p, call->in[0], all + p->v_at, s * p->tiles_wide, s);
            transform_gradient(p, call->in[1], all + p->m_at, s * p->tiles_wide, s);
        }
    } else {
        memset(all + task * p->u_point, 0, (size_t)p->u_point * sizeof *all);
        add_products(p, all, all + p->v_at, all + p->m_at, task, p->tiles);
    }
}

#define WINOGRAD(symbol, text, OP, prepare_it, run_it)                                                                                  \
    const dlt_cpu_kernel symbol = {                                                                                                      \
        .name = text, .op = OP, .layouts = true, .declines = declines, .cost = cost, .prepare = prepare_it, .run = run_it}
WINOGRAD(dlt_cpu_conv_winograd, "conv_winograd", DLT_OP_CONV, prepare, run);
WINOGRAD(dlt_cpu_conv_dx_winograd, "conv_dx_winograd", DLT_OP_CONV_DX, prepare, run);
WINOGRAD(dlt_cpu_conv_dw_winograd, "conv_dw_winograd", DLT_OP_CONV_DW, prepare_dw, run_dw);
