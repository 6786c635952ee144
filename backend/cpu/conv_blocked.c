/* backend/cpu/conv_blocked.c: direct convolutions on channels in blocks of 16, and their gradients.
 *
 *   x (N, C / 16, H, W, 16), kernel (F / 16, C / 16, KH, KW, 16, 16), y (N, F / 16, H', W', 16)
 *
 * First layers, whose few channels do not fill a block, read x and the kernel row-major. A gradient with respect to x is
 * itself a convolution of dy with the kernel turned round, one for each residue of the position modulo the stride: phase 0
 * turns the blocks of the kernel, phase 1 convolves. The gradient with respect to the kernel is summed over groups of images,
 * and those sums joined pairwise. Where the window reaches into the padding, the rows a task needs are copied with zeros
 * around them. Epilogues run on the rows of two blocks while they are in cache. */
#include "backend/cpu/conv.h"
#include "backend/cpu/gemm.h"
#include "backend/cpu/tiles.h"
#include "graph/passes.h"

#include "base/alloc.h"

#include <string.h>

enum {
    BLOCK = DLT_CONV_BLOCK,
    FEW_CHANNELS = 8,
    DW_BLOCKS = 4, /* of results, that the gradient with respect to the kernel makes together */
    SLAB_BYTES = 320 << 10,  /* rows of the input with padding around them */
    RESULT_BYTES = 112 << 10 /* rows of two blocks of the result, before their epilogue */
};
_Static_assert(SLAB_BYTES + RESULT_BYTES + (int)DLT_TILES_EPILOGUE_BYTES <= (int)DLT_CPU_SCRATCH_BYTES, "scratch is too small");

/* Results at positions first + u step, u < count along each axis, from inputs at u in_step + (dh, dw) of each tap. */
typedef struct part {
    dlt_conv_taps taps;
    int64_t first[2], count[2];
    int64_t lowest[2], highest[2]; /* of the taps' places */
    bool padded;
} part;

typedef struct prepared {
    dlt_conv_geometry g;
    const dlt_simd *simd;
    bool first; /* x and kernel are row-major */
    /* forward and dx: sizes of what is read and what is made */
    int64_t in[2], in_blocks, out[2], out_blocks, in_step[2], out_step[2];
    part *parts;
    int part_count;
    int64_t chunk, chunks;  /* rows of the result that a task makes */
    int64_t group, groups;  /* blocks of the result */
    int64_t slab[2];        /* height and width */
    int64_t weights;        /* of the kernel */
    const dlt_tiles *epilogue;
    /* dw */
    int64_t images, splits, join_tasks;
} prepared;

static int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

dlt_conv_geometry dlt_conv_geometry_of(const dlt_conv_attrs *attrs, const dlt_shape *y)
{
    const dlt_window *w = &attrs->window;
    const dlt_shape *x = &attrs->x_shape;
    dlt_conv_geometry g = {.batch = x->dim[0],
                           .in_channels = x->dim[x->rank - 1],
                           .out_channels = y->dim[y->rank - 1],
                           .groups = attrs->groups};
    for (int i = 0; i < 3; i++) {
        const int own = i - (3 - w->axes); /* missing axes are of size 1 in front */
        const bool there = own >= 0;
        g.in[i] = there ? x->dim[1 + own] : 1;
        g.out[i] = there ? y->dim[1 + own] : 1;
        g.size[i] = there ? w->size[own] : 1;
        g.stride[i] = there ? w->stride[own] : 1;
        g.dilation[i] = there ? w->dilation[own] : 1;
        g.before[i] = there ? w->before[own] : 0;
    }
    return g;
}

/* ---- what can be done ---- */

/* Bytes of the padded rows that one row of the result needs. */
static int64_t row_slab_bytes(const dlt_conv_geometry *g, bool backwards)
{
    const int64_t channels = backwards ? g->out_channels : g->in_channels;
    const int64_t height = (g->size[1] - 1) * g->dilation[1] + 1, width = (g->size[2] - 1) * g->dilation[2] + 1;
    const int64_t columns = backwards ? g->in[2] + width : (g->out[2] - 1) * g->stride[2] + width;
    return channels * height * columns * (int64_t)sizeof(float);
}

const char *dlt_conv_blocked_decline(const dlt_node *n)
{
    const dlt_conv_attrs *attrs = n->attrs;
    const dlt_value *x = n->inputs[0], *w = n->inputs[1];
    const dlt_shape *y = n->op == DLT_OP_CONV ? &n->outputs[0]->shape : n->op == DLT_OP_CONV_DX ? &x->shape : &w->shape;
    if (x->type != DLT_F32 || w->type != DLT_F32) {
        return "needs float32";
    }
    if (attrs->window.axes > 2) {
        return "needs one or two spatial axes";
    }
    if (attrs->groups != 1) {
        return "needs one group";
    }
    if (dlt_shape_count(&attrs->x_shape) == 0 || dlt_shape_count(y) == 0) {
        return "empty";
    }
    /* fused programs may give several results: the shape of the product is that of the first full one */
    const dlt_conv_geometry g = dlt_conv_geometry_of(attrs, y);
    if (g.out_channels % BLOCK != 0) {
        return "needs output channels in blocks of 16";
    }
    if (g.in_channels % BLOCK != 0 && (g.in_channels > FEW_CHANNELS || n->op == DLT_OP_CONV_DX)) {
        return "needs input channels in blocks of 16";
    }
    if (g.in_channels % BLOCK != 0 && g.dilation[2] != 1) {
        return "few channels need dilation 1";
    }
    if (row_slab_bytes(&g, false) > SLAB_BYTES / 2 || row_slab_bytes(&g, true) > SLAB_BYTES / 2) {
        return "rows too long for scratch";
    }
    if (2 * BLOCK * (int64_t)sizeof(float) * at_least(g.out[2], g.in[2] * g.stride[1]) > RESULT_BYTES) {
        return "rows too long for scratch";
    }
    if (g.size[1] * g.size[2] > 1024) {
        return "window too large";
    }
    return NULL;
}

static bool is_blocked(const dlt_value *v)
{
    return v->layout.kind == DLT_LAYOUT_CHANNEL_BLOCKED && v->layout.block == BLOCK;
}
static bool is_kernel_blocked(const dlt_value *v)
{
    return v->layout.kind == DLT_LAYOUT_KERNEL_BLOCKED && v->layout.block == BLOCK && v->layout.in_block == BLOCK;
}
static bool is_row_major(const dlt_value *v)
{
    return v->layout.kind == DLT_LAYOUT_ROW_MAJOR;
}

const char *dlt_conv_blocked_layouts_decline(const dlt_node *n)
{
    const char *reason = dlt_conv_blocked_decline(n);
    if (reason != NULL) {
        return reason;
    }
    const dlt_conv_attrs *attrs = n->attrs;
    const bool few = attrs->x_shape.dim[attrs->x_shape.rank - 1] % BLOCK != 0;
    bool fits;
    if (n->op == DLT_OP_CONV) {
        fits = few ? is_row_major(n->inputs[0]) && is_row_major(n->inputs[1])
                   : is_blocked(n->inputs[0]) && is_kernel_blocked(n->inputs[1]);
    } else if (n->op == DLT_OP_CONV_DX) {
        fits = is_blocked(n->inputs[0]) && is_kernel_blocked(n->inputs[1]);
    } else {
        fits = is_blocked(n->inputs[1]) && (few ? is_row_major(n->inputs[0]) && is_row_major(n->outputs[0])
                                                : is_blocked(n->inputs[0]) && is_kernel_blocked(n->outputs[0]));
    }
    for (int i = 0; i < n->output_count && n->op != DLT_OP_CONV_DW; i++) {
        fits = fits && is_blocked(n->outputs[i]);
    }
    return fits ? NULL : "needs blocked layouts";
}

static const char *declines(const dlt_cpu_query *query)
{
    const dlt_node *n = query->node;
    const char *reason = dlt_conv_blocked_layouts_decline(n);
    if (reason != NULL) {
        return reason;
    }
    if (n->epilogue != NULL) {
        return n->epilogue->compute != DLT_F32 ? "the epilogue computes in another type"
                                               : dlt_tiles_decline(n, n->epilogue, true);
    }
    return NULL;
}

/* ---- forward, and dx as such ---- */

static bool make_taps(const dlt_cpu_query *query, part *p, int64_t most)
{
    int64_t *x = dlt_arena_alloc(query->arena, (size_t)most, sizeof *x), *w = dlt_arena_alloc(query->arena, (size_t)most, sizeof *w);
    p->taps.x_offset = x;
    p->taps.w_offset = w;
    return x != NULL && w != NULL;
}

static void note_place(part *p, bool any, int64_t h, int64_t w)
{
    p->lowest[0] = any ? at_most(p->lowest[0], h) : h;
    p->highest[0] = any ? at_least(p->highest[0], h) : h;
    p->lowest[1] = any ? at_most(p->lowest[1], w) : w;
    p->highest[1] = any ? at_least(p->highest[1], w) : w;
}

/* One place of the window: where it lies relative to position u = 0; false if this part does not meet it. */
static bool place_of(const prepared *p, const part *q, bool backwards, int axis, int64_t k, int64_t *place)
{
    const dlt_conv_geometry *g = &p->g;
    const int64_t at = k * g->dilation[axis + 1], before = g->before[axis + 1], stride = g->stride[axis + 1];
    if (!backwards) {
        *place = at - before;
        return true;
    }
    const int64_t shifted = q->first[axis] + before - at;
    if (((shifted % stride) + stride) % stride != 0) {
        return false;
    }
    *place = shifted >= 0 ? shifted / stride : -((-shifted) / stride);
    return true;
}

/* The taps of a part. Two rounds: the first finds how far they reach, the second their offsets. */
static bool fill_part(const dlt_cpu_query *query, prepared *p, part *q, bool backwards)
{
    const dlt_conv_geometry *g = &p->g;
    const int64_t kh = g->size[1], kw = g->size[2];
    int64_t *x_offset = NULL, *w_offset = NULL;
    for (int round = 0; round < 2; round++) {
        bool any = false;
        q->taps.count = 0;
        for (int64_t b = 0; b < p->in_blocks; b++) {
            for (int64_t i = 0; i < kh; i++) {
                for (int64_t j = 0; j < (p->first ? 1 : kw); j++) {
                    int64_t h, w;
                    if (!place_of(p, q, backwards, 0, i, &h) || !place_of(p, q, backwards, 1, j, &w)) {
                        continue;
                    }
                    if (round == 0) {
                        note_place(q, any, h, w);
                        if (p->first) { /* a run goes over the whole width of the window */
                            note_place(q, true, h, w + kw - 1);
                        }
                        any = true;
                    } else {
                        const int64_t height = q->padded ? p->slab[0] : p->in[0], width = q->padded ? p->slab[1] : p->in[1];
                        const int64_t up = q->padded ? h - q->lowest[0] : h, left = q->padded ? w - q->lowest[1] : w;
                        const int64_t at = (b * height + up) * width + left;
                        x_offset[q->taps.count] = at * (p->first ? g->in_channels : BLOCK);
                        w_offset[q->taps.count] = p->first ? i * kw * g->in_channels * g->out_channels
                                                           : ((b * kh + i) * kw + j) * BLOCK * BLOCK;
                    }
                    q->taps.count++;
                }
            }
        }
        if (round == 0) {
            for (int a = 0; a < 2; a++) {
                q->padded = q->padded || q->lowest[a] < 0 || (q->count[a] - 1) * p->in_step[a] + q->highest[a] >= p->in[a];
                const int64_t reach = (a == 0 ? 1 : q->count[a]) - 1; /* a row of results; its whole width */
                const int64_t size = reach * p->in_step[a] + q->highest[a] - q->lowest[a] + 1;
                p->slab[a] = at_least(p->slab[a], size);
            }
            if (!make_taps(query, q, q->taps.count)) {
                return false;
            }
            x_offset = (int64_t *)(uintptr_t)q->taps.x_offset;
            w_offset = (int64_t *)(uintptr_t)q->taps.w_offset;
            if (!p->chunks) {
                return true; /* offsets follow once the slab's height is known */
            }
        }
    }
    return true;
}

/* Rows of the result a task makes. */
static void choose_chunks(prepared *p, double work, bool epilogue)
{
    const int64_t step = p->out_step[0], pixel = p->first ? p->g.in_channels : p->in_blocks * BLOCK;
    int64_t rows = dlt_divide_up(p->out[0], step) * step; /* a multiple of the step, so that parts begin at whole numbers */
    for (;;) {
        const int64_t height = (rows / step - 1) * p->in_step[0] + p->slab[0];
        const bool fits = height * p->slab[1] * pixel * (int64_t)sizeof(float) <= SLAB_BYTES &&
                          (!epilogue || 2 * rows * p->out[1] * BLOCK * (int64_t)sizeof(float) <= RESULT_BYTES);
        const int64_t tasks = p->g.batch * dlt_divide_up(p->out[0], rows);
        const bool large = tasks < 16 && work / (double)tasks > 4e6;
        if ((fits && !large) || rows <= step) {
            p->slab[0] = height;
            break;
        }
        rows = dlt_divide_up(rows / step, 2) * step;
    }
    p->chunk = rows;
    p->chunks = dlt_divide_up(p->out[0], rows);
    const int64_t tasks = p->g.batch * p->chunks, pairs = dlt_divide_up(p->out_blocks, 2);
    const double share = work / (double)tasks / 2e6;
    int64_t groups = tasks >= 16 || share < 2 ? 1 : dlt_divide_up(16, tasks);
    groups = at_most(groups, at_most(pairs, (int64_t)share + 1));
    p->group = dlt_divide_up(pairs, groups) * 2;
    p->groups = dlt_divide_up(p->out_blocks, p->group);
}

static bool prepare_pass(const dlt_cpu_query *query, dlt_cpu_schedule *schedule, bool backwards)
{
    const dlt_node *n = query->node;
    const dlt_conv_attrs *attrs = n->attrs;
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    p->g = dlt_conv_geometry_of(attrs, backwards ? &n->inputs[0]->shape : &n->outputs[0]->shape);
    const dlt_conv_geometry *g = &p->g;
    p->simd = dlt_simd_of(query->isa);
    p->first = g->in_channels % BLOCK != 0;
    p->weights = g->size[1] * g->size[2] * g->in_channels * g->out_channels;
    for (int a = 0; a < 2; a++) {
        p->in[a] = backwards ? g->out[a + 1] : g->in[a + 1];
        p->out[a] = backwards ? g->in[a + 1] : g->out[a + 1];
        p->in_step[a] = backwards ? 1 : g->stride[a + 1];
        p->out_step[a] = backwards ? g->stride[a + 1] : 1;
    }
    p->in_blocks = p->first ? 1 : (backwards ? g->out_channels : g->in_channels) / BLOCK;
    p->out_blocks = (backwards ? g->in_channels : g->out_channels) / BLOCK;
    p->part_count = (int)(p->out_step[0] * p->out_step[1]);
    p->parts = dlt_arena_alloc(query->arena, (size_t)p->part_count, sizeof *p->parts);
    if (p->parts == NULL) {
        return false;
    }
    for (int round = 0; round < 2; round++) {
        int made = 0;
        for (int64_t i = 0; i < p->out_step[0]; i++) {
            for (int64_t j = 0; j < p->out_step[1]; j++) {
                part *q = &p->parts[made];
                if (i >= p->out[0] || j >= p->out[1]) {
                    continue;
                }
                made++;
                q->first[0] = i;
                q->first[1] = j;
                q->count[0] = dlt_divide_up(p->out[0] - i, p->out_step[0]);
                q->count[1] = dlt_divide_up(p->out[1] - j, p->out_step[1]);
                if (!fill_part(query, p, q, backwards)) {
                    return false;
                }
                q->taps.run = p->first ? g->size[2] * g->in_channels : BLOCK;
                q->taps.x_step = p->in_step[1] * (p->first ? g->in_channels : BLOCK);
                q->taps.y_step = p->out_step[1] * BLOCK;
                q->taps.w_row = p->first ? g->out_channels : BLOCK;
                q->taps.w_block = p->first ? BLOCK : p->in_blocks * g->size[1] * g->size[2] * BLOCK * BLOCK;
            }
        }
        p->part_count = made;
        if (round == 0) {
            choose_chunks(p, dlt_node_flops(n), n->epilogue != NULL);
        }
    }
    if (n->epilogue != NULL) {
        p->epilogue = dlt_tiles_create(query, n->epilogue, true, DLT_TILES_ROWS);
        if (p->epilogue == NULL) {
            return false;
        }
    }
    schedule->prepared = p;
    if (backwards) {
        schedule->phases = 2;
        schedule->tasks[0] = p->in_blocks * p->out_blocks;
        schedule->workspace_bytes = p->weights * (int64_t)sizeof(float);
    } else {
        schedule->phases = 1;
    }
    schedule->tasks[schedule->phases - 1] = g->batch * p->chunks * p->groups;
    return true;
}

static bool prepare_forward(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    return prepare_pass(query, schedule, false);
}
static bool prepare_dx(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    return prepare_pass(query, schedule, true);
}

/* Rows [top, top + height) and columns [left, left + width) of planes of pixels, zeros outside. */
static void copy_padded(float *d, const float *x, int64_t planes, const int64_t size[2], int64_t pixel, int64_t top,
                        int64_t left, int64_t height, int64_t width)
{
    const int64_t skip = left < 0 ? at_most(-left, width) : 0;
    const int64_t end = at_least(at_most(width, size[1] - left), skip);
    for (int64_t b = 0; b < planes; b++) {
        for (int64_t h = 0; h < height; h++, d += width * pixel) {
            const int64_t from = top + h;
            if (from < 0 || from >= size[0]) {
                memset(d, 0, (size_t)(width * pixel) * sizeof *d);
                continue;
            }
            memset(d, 0, (size_t)(skip * pixel) * sizeof *d);
            memcpy(d + skip * pixel, x + ((b * size[0] + from) * size[1] + left + skip) * pixel,
                   (size_t)((end - skip) * pixel) * sizeof *d);
            memset(d + end * pixel, 0, (size_t)((width - end) * pixel) * sizeof *d);
        }
    }
}

/* Rows [row, end) of image `image` in blocks [block, block + blocks) of the result, to y. */
static void run_part(const prepared *p, const part *q, const float *x, const float *w, float *y, int64_t y_block,
                     int64_t y_first, float *slab, bool bring, int64_t row, int64_t end, int64_t block, int64_t blocks)
{
    const int64_t pixel = p->first ? p->g.in_channels : BLOCK, step = p->out_step[0];
    const int64_t u = row / step, u_end = at_most(q->count[0], dlt_divide_up(end - q->first[0], step));
    const float *from = x + u * p->in_step[0] * p->in[1] * pixel;
    int64_t line = p->in_step[0] * p->in[1] * pixel;
    if (q->padded) {
        if (bring) {
            copy_padded(slab, x, p->in_blocks, p->in, pixel, u * p->in_step[0] + q->lowest[0], q->lowest[1], p->slab[0],
                        p->slab[1]);
        }
        from = slab;
        line = p->in_step[0] * p->slab[1] * pixel;
    }
    dlt_conv_taps taps = q->taps;
    taps.y_block = y_block;
    for (int64_t i = u; i < u_end; i++) {
        const int64_t at = (q->first[0] + i * step - y_first) * p->out[1] + q->first[1];
        p->simd->conv->row(&taps, from + (i - u) * line, w + block * taps.w_block, y + at * BLOCK, q->count[1], blocks);
    }
}

static void run_pass(const dlt_cpu_call *call, const prepared *p, const float *w, int64_t task)
{
    const int64_t group = task % p->groups, chunk = task / p->groups % p->chunks, image = task / p->groups / p->chunks;
    const int64_t row = chunk * p->chunk, end = at_most(row + p->chunk, p->out[0]);
    const int64_t block_end = at_most((group + 1) * p->group, p->out_blocks), plane = p->out[0] * p->out[1] * BLOCK;
    const int64_t in_plane = p->in[0] * p->in[1] * (p->first ? p->g.in_channels : BLOCK);
    const float *x = (const float *)call->in[0] + image * p->in_blocks * in_plane;
    float *slab = call->scratch, *buffer = (float *)call->scratch + SLAB_BYTES / (int)sizeof(float);
    const bool alone = p->part_count == 1; /* then one slab serves all blocks */
    dlt_tiles_run run;
    if (p->epilogue != NULL) {
        const void *in[DLT_TILES_MAX_INPUTS] = {NULL};
        const dlt_node *n = call->node;
        for (int i = n->own_inputs; i < n->input_count; i++) {
            in[1 + i - n->own_inputs] = call->in[i];
        }
        dlt_tiles_begin(&run, p->epilogue, in, call->out,
                        (char *)call->scratch + DLT_CPU_SCRATCH_BYTES - DLT_TILES_EPILOGUE_BYTES);
    }
    for (int64_t block = group * p->group; block < block_end; block += 2) {
        const int64_t blocks = at_most(2, block_end - block), place = (image * p->out_blocks + block) * plane;
        float *y = p->epilogue != NULL ? buffer : (float *)call->out[0] + place;
        const int64_t y_block = p->epilogue != NULL ? (end - row) * p->out[1] * BLOCK : plane;
        for (int i = 0; i < p->part_count; i++) {
            const bool bring = !alone || block == group * p->group;
            run_part(p, &p->parts[i], x, w, y, y_block, p->epilogue != NULL ? row : 0, slab, bring, row, end, block, blocks);
        }
        for (int64_t b = 0; b < blocks && p->epilogue != NULL; b++) {
            const int64_t start = place + b * plane + row * p->out[1] * BLOCK, most = dlt_tiles_most(p->epilogue) / BLOCK * BLOCK;
            for (int64_t at = 0; at < y_block; at += most) {
                dlt_tiles_run_on(&run, buffer + b * y_block + at, start + at, at_most(most, y_block - at));
            }
        }
    }
}

static void run_forward(const dlt_cpu_call *call, int phase, int64_t task)
{
    (void)phase;
    run_pass(call, call->prepared, call->in[1], task);
}

static void run_dx(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    float *turned = call->workspace;
    if (phase == 1) {
        run_pass(call, p, turned, task);
        return;
    }
    /* block (f, c) of the kernel becomes block (c, f), each place turned */
    const int64_t places = p->g.size[1] * p->g.size[2], f = task % p->in_blocks, c = task / p->in_blocks;
    const float *from = (const float *)call->in[1] + (f * p->out_blocks + c) * places * BLOCK * BLOCK;
    float *to = turned + (c * p->in_blocks + f) * places * BLOCK * BLOCK;
    for (int64_t k = 0; k < places; k++, from += BLOCK * BLOCK, to += BLOCK * BLOCK) {
        for (int i = 0; i < BLOCK; i++) {
            for (int j = 0; j < BLOCK; j++) {
                to[j * BLOCK + i] = from[i * BLOCK + j];
            }
        }
    }
}

/* ---- dw ---- */

static bool prepare_dw(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const dlt_node *n = query->node;
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    p->g = dlt_conv_geometry_of(n->attrs, &n->inputs[1]->shape);
    const dlt_conv_geometry *g = &p->g;
    p->simd = dlt_simd_of(query->isa);
    p->first = g->in_channels % BLOCK != 0;
    p->weights = g->size[1] * g->size[2] * g->in_channels * g->out_channels;
    p->in_blocks = p->first ? 1 : g->in_channels / BLOCK;
    p->out_blocks = g->out_channels / BLOCK;
    /* enough tasks to share out, but not so many partial results that joining them costs */
    const double work = dlt_node_flops(n);
    const int64_t blocks = p->first ? 1 : dlt_divide_up(p->out_blocks, DW_BLOCKS);
    int64_t splits = dlt_divide_up(work > 64e6 ? 32 : work > 2e6 ? (int64_t)(work / 2e6) : 1, blocks);
    splits = at_most(splits, at_least(1, (int64_t)(work / (double)p->weights / 256)));
    p->images = dlt_divide_up(g->batch, splits);
    p->splits = dlt_divide_up(g->batch, p->images);
    schedule->prepared = p;
    schedule->phases = 1;
    schedule->tasks[0] = blocks * p->splits;
    if (p->splits > 1) {
        p->join_tasks = at_least(1, at_most(64, p->weights * p->splits / 65536));
        schedule->phases = 2;
        schedule->tasks[1] = p->join_tasks;
        schedule->workspace_bytes = p->weights * p->splits * (int64_t)sizeof(float);
    }
    return true;
}

/* Positions o of the result whose input o stride + place lies inside. */
static void inside(int64_t place, int64_t stride, int64_t in, int64_t out, int64_t *first, int64_t *count)
{
    const int64_t start = place >= 0 ? 0 : dlt_divide_up(-place, stride);
    const int64_t end = in - 1 - place >= 0 ? at_most(out, (in - 1 - place) / stride + 1) : 0;
    *first = start;
    *count = end > start ? end - start : 0;
}

/* Rows of the result that go through all places of the window together: so few that they and their input stay in the first-level cache. */
static int64_t dw_rows(const dlt_conv_geometry *g, int64_t blocks)
{
    enum { CACHE_BYTES = 24 << 10 };
    const int64_t pixel = BLOCK * (int64_t)sizeof(float), reach = (g->size[1] - 1) * g->dilation[1] * g->in[2] * pixel;
    const int64_t row = (blocks * g->out[2] + g->stride[1] * g->in[2]) * pixel;
    return at_least(1, (CACHE_BYTES - reach) / row);
}

/* Blocks [f, f + blocks) of results. */
static void dw_blocks(const dlt_cpu_call *call, const prepared *p, float *sums, int64_t f, int64_t blocks, int64_t image, int64_t end)
{
    const dlt_conv_geometry *g = &p->g;
    const int64_t kh = g->size[1], kw = g->size[2], places = kh * kw, chunk = dw_rows(g, blocks), kernel = p->in_blocks * places * BLOCK * BLOCK;
    float *acc = sums + f * kernel;
    memset(acc, 0, (size_t)(blocks * kernel) * sizeof *acc);
    for (; image < end; image++) {
        const float *dy = (const float *)call->in[1] + (image * p->out_blocks + f) * g->out[1] * g->out[2] * BLOCK;
        for (int64_t c = 0; c < p->in_blocks; c++) {
            const float *x = (const float *)call->in[0] + (image * p->in_blocks + c) * g->in[1] * g->in[2] * BLOCK;
            for (int64_t top = 0; top < g->out[1]; top += chunk) {
                for (int64_t k = 0; k < places; k++) {
                    const int64_t h = k / kw * g->dilation[1] - g->before[1], w = k % kw * g->dilation[2] - g->before[2];
                    int64_t first, rows, column, columns;
                    inside(h, g->stride[1], g->in[1], g->out[1], &first, &rows);
                    inside(w, g->stride[2], g->in[2], g->out[2], &column, &columns);
                    const int64_t row = at_least(first, top);
                    rows = at_most(first + rows, top + chunk) - row;
                    if (rows > 0 && columns > 0) {
                        const int64_t from = (row * g->stride[1] + h) * g->in[2] + column * g->stride[2] + w;
                        p->simd->conv->dw_blocks(acc + (c * places + k) * BLOCK * BLOCK, kernel, x + from * BLOCK, g->stride[2] * BLOCK,
                                                 g->stride[1] * g->in[2] * BLOCK, dy + (row * g->out[2] + column) * BLOCK,
                                                 g->out[2] * BLOCK, g->out[1] * g->out[2] * BLOCK, columns, rows, blocks);
                    }
                }
            }
        }
    }
}

static void dw_few_channels(const dlt_cpu_call *call, const prepared *p, float *sums, int64_t image, int64_t end)
{
    const dlt_conv_geometry *g = &p->g;
    const int64_t channels = g->in_channels, run = g->size[2] * channels;
    const int64_t width = (g->out[2] - 1) * g->stride[2] + g->size[2], reach = (g->size[1] - 1) * g->dilation[1] + 1;
    const int64_t fit = SLAB_BYTES / (int64_t)sizeof(float) / (width * channels) - reach; /* rows of x beside the first */
    const int64_t chunk = fit / g->stride[1] + 1;
    const int64_t size[2] = {g->in[1], g->in[2]};
    float *slab = call->scratch;
    memset(sums, 0, (size_t)p->weights * sizeof *sums);
    for (; image < end; image++) {
        const float *x = (const float *)call->in[0] + image * g->in[1] * g->in[2] * channels;
        for (int64_t row = 0; row < g->out[1]; row += chunk) {
            const int64_t rows = at_most(chunk, g->out[1] - row);
            copy_padded(slab, x, 1, size, channels, row * g->stride[1] - g->before[1], -g->before[2],
                        (rows - 1) * g->stride[1] + reach, width);
            for (int64_t f = 0; f < p->out_blocks; f++) {
                const float *dy = (const float *)call->in[1] +
                                  (((image * p->out_blocks + f) * g->out[1] + row) * g->out[2]) * BLOCK;
                p->simd->conv->dw_first(sums + f * BLOCK, g->out_channels, g->size[1], run, slab,
                                        g->dilation[1] * width * channels, g->stride[2] * channels,
                                        g->stride[1] * width * channels, dy, g->out[2] * BLOCK, g->out[2], rows);
            }
        }
    }
}

static void run_dw(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    float *sums = p->splits > 1 ? call->workspace : call->out[0];
    if (phase == 1) {
        const int64_t first = p->weights * task / p->join_tasks, end = p->weights * (task + 1) / p->join_tasks;
        dlt_gemm_join(p->simd, sums, p->splits, p->weights, first, end);
        memcpy((float *)call->out[0] + first, sums + first, (size_t)(end - first) * sizeof *sums);
        return;
    }
    const int64_t split = task % p->splits, image = split * p->images, end = at_most(image + p->images, p->g.batch);
    if (p->first) {
        dw_few_channels(call, p, sums + split * p->weights, image, end);
    } else {
        const int64_t f = task / p->splits * DW_BLOCKS;
        dw_blocks(call, p, sums + split * p->weights, f, at_most(DW_BLOCKS, p->out_blocks - f), image, end);
    }
}

/* Share of the peak that the inner loops reach, roughly. */
static double cost(const dlt_cpu_query *query)
{
    static const double rate[] = {16e9, 80e9, 95e9, 95e9};
    return dlt_node_flops(query->node) / rate[query->isa] + 2e-6;
}

const dlt_cpu_kernel dlt_cpu_conv_direct_blocked = {.name = "conv_direct_blocked",
                                                    .op = DLT_OP_CONV,
                                                    .layouts = true,
                                                    .declines = declines,
                                                    .cost = cost,
                                                    .prepare = prepare_forward,
                                                    .run = run_forward};
const dlt_cpu_kernel dlt_cpu_conv_dx_direct_blocked = {.name = "conv_dx_direct_blocked",
                                                       .op = DLT_OP_CONV_DX,
                                                       .layouts = true,
                                                       .declines = declines,
                                                       .cost = cost,
                                                       .prepare = prepare_dx,
                                                       .run = run_dx};
const dlt_cpu_kernel dlt_cpu_conv_dw_direct_blocked = {.name = "conv_dw_direct_blocked",
                                                       .op = DLT_OP_CONV_DW,
                                                       .layouts = true,
                                                       .declines = declines,
                                                       .cost = cost,
                                                       .prepare = prepare_dw,
                                                       .run = run_dw};
