/* backend/cpu/conv_few.c: convolutions of few channels that fill no block of 16, and their gradients, row-major.
 *
 *   x (N, H, W, C), kernel (KH, KW, C, F), y (N, H', W', F); C at most 8
 *
 * The inner loops are those of conv_blocked.c. The kernel is brought into blocks of 16 results, with zeros behind the last, and rows of results are made
 * in scratch, from where those that there are go to their place. Forward and the gradient with respect to the kernel read x as it lies, a window's
 * row of KW x C neighbours at a time; that with respect to x brings dy into blocks. */
#include "backend/cpu/conv.h"
#include "backend/cpu/gemm.h"
#include "graph/passes.h"

#include "base/alloc.h"

#include <string.h>

enum {
    BLOCK = DLT_CONV_BLOCK,
    FEW = 8,
    SLAB_FLOATS = (640 << 10) / (int)sizeof(float), /* padded rows of what is read */
    ROWS_FLOATS = (512 << 10) / (int)sizeof(float)  /* rows of blocks of what is made, or of dy */
};
_Static_assert((SLAB_FLOATS + ROWS_FLOATS) * (int)sizeof(float) <= (int)DLT_CPU_SCRATCH_BYTES, "scratch is too small");

typedef struct prepared {
    dlt_conv_geometry g;
    const dlt_simd *simd;
    int64_t blocks;                     /* of F */
    int64_t reach[2];                   /* of the window, dilation included */
    int64_t chunk, chunks;              /* rows of the result that a task makes */
    int64_t width;                      /* of a padded row */
    dlt_conv_taps taps;
    int64_t images, splits, sums;       /* weights: images of a part, parts, floats of one */
} prepared;

static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static dlt_conv_geometry geometry_of(const dlt_node *n)
{
    const dlt_shape *y = n->op == DLT_OP_CONV ? &n->outputs[0]->shape : n->op == DLT_OP_CONV_DX ? &n->inputs[0]->shape : &n->inputs[1]->shape;
    return dlt_conv_geometry_of(n->attrs, y);
}

static prepared sizes_of(const dlt_node *n)
{
    prepared p = {.g = geometry_of(n)};
    const dlt_conv_geometry *g = &p.g;
    p.blocks = dlt_divide_up(g->out_channels, BLOCK);
    for (int a = 0; a < 2; a++) {
        p.reach[a] = (g->size[a + 1] - 1) * g->dilation[a + 1] + 1;
    }
    const bool dx = n->op == DLT_OP_CONV_DX;
    p.width = dx ? g->in[2] + p.reach[1] - 1 : (g->out[2] - 1) * g->stride[2] + p.reach[1];
    const int64_t line = p.width * (dx ? p.blocks * BLOCK : g->in_channels); /* of the slab */
    const int64_t made = dx ? g->in[2] * BLOCK : g->out[2] * p.blocks * BLOCK, rows = dx ? g->in[1] : g->out[1];
    const int64_t by_slab = line > 0 ? (SLAB_FLOATS / line - p.reach[0]) / (dx ? 1 : g->stride[1]) + 1 : 0;
    p.chunk = at_most(rows, at_most(by_slab, made > 0 ? ROWS_FLOATS / made : 0));
    p.chunks = p.chunk > 0 ? dlt_divide_up(rows, p.chunk) : 0;
    return p;
}

static bool is_row_major(const dlt_node *n)
{
    for (int i = 0; i < n->input_count + n->output_count; i++) {
        const dlt_value *v = i < n->input_count ? n->inputs[i] : n->outputs[i - n->input_count];
        if (v->layout.kind != DLT_LAYOUT_ROW_MAJOR) {
            return false;
        }
    }
    return true;
}

static const char *declines(const dlt_cpu_query *query)
{
    const dlt_node *n = query->node;
    const dlt_conv_attrs *attrs = n->attrs;
    if (n->inputs[0]->type != DLT_F32 || n->inputs[1]->type != DLT_F32) {
        return "needs float32";
    }
    if (attrs->window.axes > 2 || attrs->groups != 1) {
        return "needs one or two spatial axes and one group";
    }
    if (n->epilogue != NULL || !is_row_major(n)) {
        return "row-major only";
    }
    const prepared p = sizes_of(n);
    const dlt_conv_geometry *g = &p.g;
    if (g->in_channels > FEW) {
        return "needs 8 input channels at most";
    }
    if (g->batch == 0 || g->in_channels == 0 || g->out_channels == 0 || g->in[1] * g->in[2] == 0 || g->out[1] * g->out[2] == 0) {
        return "empty";
    }
    if (n->op != DLT_OP_CONV_DX && g->dilation[2] != 1) {
        return "few channels need dilation 1";
    }
    if (n->op == DLT_OP_CONV_DX && (g->stride[1] != 1 || g->stride[2] != 1)) {
        return "needs stride 1";
    }
    if (g->size[1] * g->size[2] > 1024 || p.blocks > 64) {
        return "window or channels too many";
    }
    return p.chunk < 1 ? "rows too long for scratch" : NULL;
}

static double cost(const dlt_cpu_query *query)
{
    static const double rate[] = {14e9, 70e9, 80e9, 80e9};
    const dlt_conv_geometry g = geometry_of(query->node);
    const int64_t blocks = dlt_divide_up(g.out_channels, BLOCK);
    const bool dx = query->node->op == DLT_OP_CONV_DX;
    const double pixels = (double)g.batch * (double)(dx ? g.in[1] * g.in[2] : g.out[1] * g.out[2]);
    const double depth = (double)(g.size[1] * g.size[2]) * (double)(dx ? blocks * BLOCK : g.in_channels);
    return pixels * (2 * depth * (double)(dx ? BLOCK : blocks * BLOCK) / rate[query->isa] + 8e-9) + 4e-6;
}

/* ---- pieces ---- */

/* Rows [top, top + height) of an image, `width` pixels from column `left` on, zeros outside; `pixel` floats each, to `to` floats each. */
static void bring(float *d, int64_t d_pixel, const float *x, const int64_t size[2], int64_t pixel, int64_t top, int64_t left, int64_t height,
                  int64_t width)
{
    const int64_t skip = left < 0 ? at_most(-left, width) : 0, end = at_least(at_most(width, size[1] - left), skip);
    for (int64_t h = top; h < top + height; h++, d += width * d_pixel) {
        if (h < 0 || h >= size[0] || d_pixel != pixel || skip > 0 || end < width) {
            memset(d, 0, (size_t)(width * d_pixel) * sizeof *d);
        }
        if (h < 0 || h >= size[0]) {
            continue;
        }
        const float *from = x + (h * size[1] + left + skip) * pixel;
        if (d_pixel == pixel) {
            memcpy(d + skip * pixel, from, (size_t)((end - skip) * pixel) * sizeof *d);
            continue;
        }
        for (int64_t i = skip; i < end; i++, from += pixel) {
            memcpy(d + i * d_pixel, from, (size_t)pixel * sizeof *d);
        }
    }
}

/* Blocks of `pixels` results to their row. */
static void take_row(float *y, int64_t channels, const float *made, int64_t pixels)
{
    for (int64_t b = 0; b * BLOCK < channels; b++) {
        const int64_t count = at_most(BLOCK, channels - b * BLOCK);
        const float *from = made + b * pixels * BLOCK;
        for (int64_t i = 0; i < pixels; i++) {
            memcpy(y + i * channels + b * BLOCK, from + i * BLOCK, (size_t)count * sizeof *y);
        }
    }
}

static bool make_taps(const dlt_cpu_query *query, prepared *p, int64_t count, int64_t **x, int64_t **w)
{
    *x = dlt_arena_alloc(query->arena, (size_t)count, sizeof **x);
    *w = dlt_arena_alloc(query->arena, (size_t)count, sizeof **w);
    p->taps.count = count;
    p->taps.x_offset = *x;
    p->taps.w_offset = *w;
    return *x != NULL && *w != NULL;
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

/* ---- forward ---- */

static bool prepare(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    prepared *p = prepare_sizes(query);
    int64_t *x, *w;
    if (p == NULL || !make_taps(query, p, p->g.size[1], &x, &w)) {
        return false;
    }
    const dlt_conv_geometry *g = &p->g;
    const int64_t run = g->size[2] * g->in_channels;
    for (int64_t i = 0; i < g->size[1]; i++) {
        x[i] = i * g->dilation[1] * p->width * g->in_channels;
        w[i] = i * run * BLOCK;
    }
    p->taps.run = run;
    p->taps.x_step = g->stride[2] * g->in_channels;
    p->taps.y_step = p->taps.w_row = BLOCK;
    p->taps.w_block = g->size[1] * run * BLOCK;
    p->taps.y_block = g->out[2] * BLOCK;
    schedule->prepared = p;
    schedule->phases = 2;
    schedule->tasks[0] = 1;
    schedule->tasks[1] = g->batch * p->chunks;
    schedule->workspace_bytes = p->blocks * p->taps.w_block * (int64_t)sizeof(float);
    return true;
}

static void run(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    const dlt_conv_geometry *g = &p->g;
    const int64_t elements = g->size[1] * g->size[2] * g->in_channels;
    float *blocks = call->workspace;
    if (phase == 0) {
        memset(blocks, 0, (size_t)(p->blocks * p->taps.w_block) * sizeof *blocks);
        for (int64_t b = 0; b < p->blocks; b++) {
            const int64_t count = at_most(BLOCK, g->out_channels - b * BLOCK);
            for (int64_t i = 0; i < elements; i++) {
                memcpy(blocks + b * p->taps.w_block + i * BLOCK, (const float *)call->in[1] + i * g->out_channels + b * BLOCK,
                       (size_t)count * sizeof *blocks);
            }
        }
        return;
    }
    const int64_t image = task / p->chunks, row = task % p->chunks * p->chunk, end = at_most(row + p->chunk, g->out[1]);
    float *slab = call->scratch, *made = slab + SLAB_FLOATS;
    bring(slab, g->in_channels, (const float *)call->in[0] + image * g->in[1] * g->in[2] * g->in_channels, g->in + 1, g->in_channels,
          row * g->stride[1] - g->before[1], -g->before[2], (end - 1 - row) * g->stride[1] + p->reach[0], p->width);
    for (int64_t h = row; h < end; h++) {
        p->simd->conv->row(&p->taps, slab + (h - row) * g->stride[1] * p->width * g->in_channels, blocks, made, g->out[2], p->blocks);
        take_row((float *)call->out[0] + (image * g->out[1] + h) * g->out[2] * g->out_channels, g->out_channels, made, g->out[2]);
    }
}

/* ---- dx ---- */

static bool prepare_dx(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    prepared *p = prepare_sizes(query);
    int64_t *x, *w, at = 0;
    if (p == NULL || !make_taps(query, p, p->blocks * p->g.size[1] * p->g.size[2], &x, &w)) {
        return false;
    }
    const dlt_conv_geometry *g = &p->g;
    const int64_t pixel = p->blocks * BLOCK;
    for (int64_t b = 0; b < p->blocks; b++) {
        for (int64_t i = 0; i < g->size[1]; i++) {
            for (int64_t j = 0; j < g->size[2]; j++, at++) {
                const int64_t up = (g->size[1] - 1 - i) * g->dilation[1], left = (g->size[2] - 1 - j) * g->dilation[2];
                x[at] = (up * p->width + left) * pixel + b * BLOCK;
                w[at] = ((i * g->size[2] + j) * p->blocks + b) * BLOCK * BLOCK;
            }
        }
    }
    p->taps.run = p->taps.y_step = p->taps.w_row = BLOCK;
    p->taps.x_step = pixel;
    schedule->prepared = p;
    schedule->phases = 2;
    schedule->tasks[0] = 1;
    schedule->tasks[1] = g->batch * p->chunks;
    schedule->workspace_bytes = at * BLOCK * BLOCK * (int64_t)sizeof(float);
    return true;
}

static void run_dx(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    const dlt_conv_geometry *g = &p->g;
    float *blocks = call->workspace;
    if (phase == 0) { /* [place][block of F][16 of F][16 of C] */
        const float *w = call->in[1];
        memset(blocks, 0, (size_t)(p->taps.count * BLOCK * BLOCK) * sizeof *blocks);
        for (int64_t k = 0; k < g->size[1] * g->size[2]; k++) {
            for (int64_t c = 0; c < g->in_channels; c++) {
                for (int64_t f = 0; f < g->out_channels; f++) {
                    blocks[(k * p->blocks * BLOCK + f) * BLOCK + c] = w[(k * g->in_channels + c) * g->out_channels + f];
                }
            }
        }
        return;
    }
    const int64_t image = task / p->chunks, row = task % p->chunks * p->chunk, end = at_most(row + p->chunk, g->in[1]);
    const int64_t pixel = p->blocks * BLOCK;
    float *slab = call->scratch, *made = slab + SLAB_FLOATS;
    bring(slab, pixel, (const float *)call->in[0] + image * g->out[1] * g->out[2] * g->out_channels, g->out + 1, g->out_channels,
          row + g->before[1] - (p->reach[0] - 1), g->before[2] - (p->reach[1] - 1), end - row + p->reach[0] - 1, p->width);
    for (int64_t h = row; h < end; h++) {
        p->simd->conv->row(&p->taps, slab + (h - row) * p->width * pixel, blocks, made, g->in[2], 1);
        take_row((float *)call->out[0] + (image * g->in[1] + h) * g->in[2] * g->in_channels, g->in_channels, made, g->in[2]);
    }
}

/* ---- dw ---- */

static bool prepare_dw(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    enum { MOST_SPLITS = 32 };
    prepared *p = prepare_sizes(query);
    if (p == NULL) {
        return false;
    }
    const dlt_conv_geometry *g = &p->g;
    const double work = 2.0 * (double)(g->batch * g->out[1] * g->out[2] * g->size[1] * g->size[2] * g->in_channels) * (double)(p->blocks * BLOCK);
    const int64_t splits = at_most(at_most(MOST_SPLITS, g->batch), at_least(1, (int64_t)(work / 2e6)));
    p->images = dlt_divide_up(g->batch, splits);
    p->splits = dlt_divide_up(g->batch, p->images);
    p->sums = g->size[1] * g->size[2] * g->in_channels * p->blocks * BLOCK;
    schedule->prepared = p;
    schedule->phases = 2;
    schedule->tasks[0] = p->splits;
    schedule->tasks[1] = 1;
    schedule->workspace_bytes = p->splits * p->sums * (int64_t)sizeof(float);
    return true;
}

static void run_dw(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    const dlt_conv_geometry *g = &p->g;
    const int64_t row_floats = p->blocks * BLOCK, run = g->size[2] * g->in_channels;
    float *all = call->workspace;
    if (phase == 1) {
        dlt_gemm_join(p->simd, all, p->splits, p->sums, 0, p->sums);
        for (int64_t i = 0; i < g->size[1] * run; i++) {
            memcpy((float *)call->out[0] + i * g->out_channels, all + i * row_floats, (size_t)g->out_channels * sizeof *all);
        }
        return;
    }
    float *acc = all + task * p->sums, *slab = call->scratch, *dy = slab + SLAB_FLOATS;
    memset(acc, 0, (size_t)p->sums * sizeof *acc);
    for (int64_t image = task * p->images; image < at_most((task + 1) * p->images, g->batch); image++) {
        const float *x = (const float *)call->in[0] + image * g->in[1] * g->in[2] * g->in_channels;
        for (int64_t row = 0; row < g->out[1]; row += p->chunk) {
            const int64_t rows = at_most(p->chunk, g->out[1] - row), pixels = rows * g->out[2];
            bring(slab, g->in_channels, x, g->in + 1, g->in_channels, row * g->stride[1] - g->before[1], -g->before[2],
                  (rows - 1) * g->stride[1] + p->reach[0], p->width);
            const float *from = (const float *)call->in[1] + (image * g->out[1] + row) * g->out[2] * g->out_channels;
            for (int64_t b = 0; b < p->blocks; b++) { /* each block of dy by itself, with zeros behind the last channel */
                const int64_t count = at_most(BLOCK, g->out_channels - b * BLOCK);
                if (count < BLOCK) {
                    memset(dy, 0, (size_t)(pixels * BLOCK) * sizeof *dy);
                }
                for (int64_t i = 0; i < pixels; i++) {
                    memcpy(dy + i * BLOCK, from + i * g->out_channels + b * BLOCK, (size_t)count * sizeof *dy);
                }
                p->simd->conv->dw_first(acc + b * BLOCK, row_floats, g->size[1], run, slab, g->dilation[1] * p->width * g->in_channels,
                                        g->stride[2] * g->in_channels, g->stride[1] * p->width * g->in_channels, dy, g->out[2] * BLOCK, g->out[2],
                                        rows);
            }
        }
    }
}

#define FEW_CHANNELS(symbol, text, OP, prepare_it, run_it)                                                                               \
    const dlt_cpu_kernel symbol = {.name = text, .op = OP, .declines = declines, .cost = cost, .prepare = prepare_it, .run = run_it}
FEW_CHANNELS(dlt_cpu_conv_few, "conv_few", DLT_OP_CONV, prepare, run);
FEW_CHANNELS(dlt_cpu_conv_dx_few, "conv_dx_few", DLT_OP_CONV_DX, prepare_dx, run_dx);
FEW_CHANNELS(dlt_cpu_conv_dw_few, "conv_dw_few", DLT_OP_CONV_DW, prepare_dw, run_dw);
