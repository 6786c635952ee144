/* backend/cpu/warp_rows.c: WARP of float32 images by rows, WARP_DX by samples.
 *
 * Without rotation (a1 = b0 = 0: flips, shifts, crops, zooms, resizing) the columns are the same for all rows of a sample: they are found
 * once and joined to runs. Two rows of the input are blended to one, where their weights are not 0 and 1, and then the columns of
 * that, a run at a time: a whole shift copies, any other shift blends the row with itself moved on by a pixel. With rotation each
 * pixel is sampled by itself. A task takes some rows of the result.
 *
 * The way back adds each pixel to the four that it was made of, in the order of the reference kernel. A task takes whole samples. */
#include "backend/cpu/simd.h"
#include "backend/cpu/warp.h"

#include "base/alloc.h"

#include <assert.h>
#include <string.h>

/* Neighbouring columns of the result whose sources lie one after another, in order (step 1), reversed (-1) or at one place (0). */
typedef struct run {
    int32_t first, count;
    int32_t at[2]; /* columns of the input that the first is made of; -1: outside (step 0) */
    int32_t step;
    float weight[2]; /* the second 0: a copy of the first */
} run;

typedef struct prepared {
    const dlt_simd *simd;
    int64_t rows, per_task;
} prepared;

/* A task's place of work: the scratch of its thread. */
typedef struct work {
    const dlt_warp_attrs *attrs;
    const dlt_shape *x, *y;
    dlt_blend_fn *blend;
    float *fill, *blended; /* a row of the input each */
    run *runs;
    int64_t run_count;
} work;

static int64_t row_floats(const dlt_shape *x)
{
    return x->dim[2] * x->dim[3];
}

static const char *declines(const dlt_cpu_query *query)
{
    const dlt_node *n = query->node;
    const dlt_shape *x = &n->inputs[0]->shape, *y = &n->outputs[0]->shape;
    if (n->inputs[0]->type != DLT_F32 || n->inputs[1]->type != DLT_F32) {
        return "needs float32";
    }
    if (x->dim[1] > INT32_MAX || x->dim[2] > DLT_CPU_SCRATCH_BYTES || y->dim[2] > DLT_CPU_SCRATCH_BYTES ||
        x->dim[3] > DLT_CPU_SCRATCH_BYTES ||
        2 * row_floats(x) * (int64_t)sizeof(float) + y->dim[2] * (int64_t)sizeof(run) > DLT_CPU_SCRATCH_BYTES) {
        return "rows too long";
    }
    return NULL;
}

static bool prepare(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    enum { FEWEST_ROWS = 16 }; /* of a task, as it finds the columns of each of its samples */
    const dlt_shape *y = &query->node->outputs[0]->shape;
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    const double row = (double)(y->dim[2] * (y->dim[3] + 4)) * 0.5 + 20; /* nanoseconds */
    *p = (prepared){.simd = dlt_simd_of(query->isa), .rows = y->dim[3] > 0 ? y->dim[0] * y->dim[1] : 0};
    const int64_t wanted = (int64_t)(8000 / row) + FEWEST_ROWS, most = (p->rows + 63) / 64;
    p->per_task = wanted > most ? wanted : most;
    schedule->prepared = p;
    schedule->phases = 1;
    schedule->tasks[0] = dlt_divide_up(p->rows, p->per_task);
    return true;
}

/* Adds a column to the last run, or begins one. */
static void add_column(work *w, int32_t i, const dlt_warp_tap *tap)
{
    const float weight = (float)tap->weight[1];
    const int32_t first = (int32_t)tap->at[0], second = weight > 0 ? (int32_t)tap->at[1] : first;
    assert(w->runs != NULL);
    run *last = w->run_count > 0 ? &w->runs[w->run_count - 1] : NULL;
    if (last != NULL && !(last->weight[1] < weight) && !(last->weight[1] > weight)) {
        const int32_t so_far = (last->count - 1) * last->step; /* from the run's first column to its last */
        const int32_t step = first - last->at[0] - so_far;
        const bool inside = first >= 0 && second >= 0 && last->at[0] >= 0 && last->at[1] >= 0;
        if (second - last->at[1] - so_far == step && step >= -1 && step <= 1 && (step == 0 || inside) &&
            (last->count == 1 || step == last->step)) {
            last->step = step;
            last->count++;
            return;
        }
    }
    w->runs[w->run_count++] =
        (run){.first = i, .count = 1, .at = {first, second}, .weight = {(float)tap->weight[0], weight}};
}

/* `channels` is a constant where this is called with one, so that the loop over them is unrolled. */
#if defined(__GNUC__)
__attribute__((always_inline))
#endif
static inline void pixels(float *y, const float *a, float wa, const float *b, float wb, int64_t count, int64_t step, int64_t channels)
{
    for (int64_t i = 0; i < count && !(wb > 0); i++) {
        for (int64_t c = 0; c < channels; c++) {
            y[i * channels + c] = a[i * step + c];
        }
    }
    for (int64_t i = 0; i < count && wb > 0; i++) {
        for (int64_t c = 0; c < channels; c++) {
            y[i * channels + c] = wa * a[i * step + c] + wb * b[i * step + c];
        }
    }
}

/* The columns of one row of the result from a row of the input. */
static void take_runs(const work *w, const float *row, float *y)
{
    const int64_t channels = w->x->dim[3];
    for (int64_t k = 0; k < w->run_count; k++) {
        const run *r = &w->runs[k];
        const float *a = r->at[0] < 0 ? w->fill : row + r->at[0] * channels;
        const float *b = r->at[1] < 0 ? w->fill : row + r->at[1] * channels;
        const float wa = r->weight[0], wb = r->weight[1];
        const int64_t step = r->step * channels;
        float *to = y + r->first * channels;
        if (r->step == 1 && wb > 0) {
            w->blend(to, a, wa, b, wb, r->count * channels);
        } else if (r->step == 1) {
            memcpy(to, a, (size_t)(r->count * channels) * sizeof *to);
        } else if (channels == 3) {
            pixels(to, a, wa, b, wb, r->count, step, 3);
        } else if (channels == 1) {
            pixels(to, a, wa, b, wb, r->count, step, 1);
        } else {
            pixels(to, a, wa, b, wb, r->count, step, channels);
        }
    }
}

/* Row `at` of an image; -1: the fill value. */
static const float *row_at(const work *w, const float *image, int64_t at)
{
    return at < 0 ? w->fill : image + at * row_floats(w->x);
}

static void straight_row(const work *w, const float *image, const float *t, int64_t j, float *y)
{
    const dlt_warp_tap tap = dlt_warp_tap_at((double)t[4] * (double)j + (double)t[5], w->x->dim[1], w->attrs);
    const float *row = row_at(w, image, tap.at[0]);
    if ((float)tap.weight[1] > 0) {
        w->blend(w->blended, row, (float)tap.weight[0], row_at(w, image, tap.at[1]), (float)tap.weight[1], row_floats(w->x));
        row = w->blended;
    }
    take_runs(w, row, y);
}

static void turned_row(const work *w, const float *image, const float *t, int64_t j, float *y)
{
    const int64_t channels = w->x->dim[3];
    for (int64_t i = 0; i < w->y->dim[2]; i++) {
        const double u = (double)i, v = (double)j;
        const dlt_warp_tap column = dlt_warp_tap_at((double)t[0] * u + (double)t[1] * v + (double)t[2], w->x->dim[2], w->attrs);
        const dlt_warp_tap row = dlt_warp_tap_at((double)t[3] * u + (double)t[4] * v + (double)t[5], w->x->dim[1], w->attrs);
        const float *from[4];
        for (int k = 0; k < 4; k++) {
            const int64_t down = row.at[k / 2], right = column.at[k % 2];
            from[k] = down < 0 || right < 0 ? w->fill : row_at(w, image, down) + right * channels;
        }
        const float down[2] = {(float)row.weight[0], (float)row.weight[1]};
        const float right[2] = {(float)column.weight[0], (float)column.weight[1]};
        if (down[1] > 0 && right[1] > 0) {
            for (int64_t c = 0; c < channels; c++) {
                y[i * channels + c] = right[0] * (down[0] * from[0][c] + down[1] * from[2][c]) +
                                      right[1] * (down[0] * from[1][c] + down[1] * from[3][c]);
            }
        } else if (down[1] > 0) {
            pixels(y + i * channels, from[0], down[0], from[2], down[1], 1, 0, channels);
        } else {
            pixels(y + i * channels, from[0], right[0], from[1], right[1], 1, 0, channels);
        }
    }
}

static void run_rows(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    const dlt_node *n = call->node;
    const int64_t first = task * p->per_task, end = p->rows - first < p->per_task ? p->rows : first + p->per_task;
    work w = {.attrs = n->attrs, .x = &n->inputs[0]->shape, .y = &n->outputs[0]->shape, .blend = p->simd->blend};
    const int64_t floats = row_floats(w.x);
    w.fill = call->scratch;
    w.blended = w.fill + floats;
    w.runs = (run *)(void *)(w.blended + floats);
    (void)phase;
    for (int64_t i = 0; i < floats && w.attrs->fill_mode == DLT_FILL_CONSTANT; i++) {
        w.fill[i] = (float)w.attrs->fill_value;
    }
    for (int64_t line = first; line < end; line++) {
        const int64_t sample = line / w.y->dim[1], j = line % w.y->dim[1];
        const float *t = (const float *)call->in[1] + (n->inputs[1]->shape.dim[0] == 1 ? 0 : 6 * sample);
        const bool straight = t[1] == 0 && t[3] == 0; /* else turned, or not a number */
        const float *image = (const float *)call->in[0] + sample * w.x->dim[1] * floats;
        float *y = (float *)call->out[0] + line * w.y->dim[2] * w.y->dim[3];
        if (straight && (line == first || j == 0)) {
            w.run_count = 0;
            for (int64_t i = 0; i < w.y->dim[2]; i++) {
                const dlt_warp_tap tap = dlt_warp_tap_at((double)t[0] * (double)i + (double)t[2], w.x->dim[2], w.attrs);
                add_column(&w, (int32_t)i, &tap);
            }
        }
        if (straight) {
            straight_row(&w, image, t, j, y);
        } else {
            turned_row(&w, image, t, j, y);
        }
    }
}

const dlt_cpu_kernel dlt_cpu_warp_rows = {
    .name = "warp_rows", .op = DLT_OP_WARP, .declines = declines, .prepare = prepare, .run = run_rows};

/* ---- WARP_DX ---- */

static const char *declines_samples(const dlt_cpu_query *query)
{
    const dlt_node *n = query->node;
    return n->inputs[0]->type != DLT_F32 || n->inputs[1]->type != DLT_F32 ? "needs float32" : NULL;
}

static bool prepare_samples(const dlt_cpu_query *query, dlt_cpu_schedule *schedule)
{
    const int64_t samples = query->node->inputs[0]->shape.dim[0];
    prepared *p = dlt_arena_alloc(query->arena, 1, sizeof *p);
    if (p == NULL) {
        return false;
    }
    *p = (prepared){.simd = dlt_simd_of(query->isa), .rows = samples, .per_task = (samples + 63) / 64};
    schedule->prepared = p;
    schedule->phases = 1;
    schedule->tasks[0] = samples > 0 ? dlt_divide_up(samples, p->per_task) : 0;
    return true;
}

/* dx += weight dy for the channels of a pixel. */
static void add_pixel(const prepared *p, float *dx, const float *dy, float weight, int64_t channels)
{
    enum { FEW = 8 }; /* not worth a call */
    if (channels >= FEW) {
        p->simd->blend(dx, dx, 1, dy, weight, channels);
        return;
    }
    for (int64_t c = 0; c < channels; c++) {
        dx[c] += weight * dy[c];
    }
}

static void run_samples(const dlt_cpu_call *call, int phase, int64_t task)
{
    const prepared *p = call->prepared;
    const dlt_node *n = call->node;
    const dlt_shape *x = &n->outputs[0]->shape, *y = &n->inputs[0]->shape;
    const int64_t channels = x->dim[3], first = task * p->per_task, size = x->dim[1] * x->dim[2] * channels;
    const int64_t end = p->rows - first < p->per_task ? p->rows : first + p->per_task;
    const float *dy = (const float *)call->in[0] + first * y->dim[1] * y->dim[2] * channels;
    (void)phase;
    for (int64_t sample = first; sample < end; sample++) {
        float *dx = (float *)call->out[0] + sample * size;
        const float *t = (const float *)call->in[1] + (n->inputs[1]->shape.dim[0] == 1 ? 0 : 6 * sample);
        memset(dx, 0, (size_t)size * sizeof *dx);
        for (int64_t pixel = 0; pixel < y->dim[1] * y->dim[2]; pixel++, dy += channels) {
            const int64_t line = pixel / y->dim[2];
            const double u = (double)(pixel - line * y->dim[2]), v = (double)line;
            const dlt_warp_tap column = dlt_warp_tap_at((double)t[0] * u + (double)t[1] * v + (double)t[2], x->dim[2], n->attrs);
            const dlt_warp_tap row = dlt_warp_tap_at((double)t[3] * u + (double)t[4] * v + (double)t[5], x->dim[1], n->attrs);
            for (int k = 0; k < 4; k++) {
                const int64_t down = row.at[k / 2], right = column.at[k % 2];
                const float weight = (float)(row.weight[k / 2] * column.weight[k % 2]);
                if (down >= 0 && right >= 0 && weight > 0) {
                    add_pixel(p, dx + (down * x->dim[2] + right) * channels, dy, weight, channels);
                }
            }
        }
    }
}

const dlt_cpu_kernel dlt_cpu_warp_dx_samples = {.name = "warp_dx_samples",
                                                .op = DLT_OP_WARP_DX,
                                                .declines = declines_samples,
                                                .prepare = prepare_samples,
                                                .run = run_samples};
