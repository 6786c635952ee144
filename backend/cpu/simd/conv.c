/* backend/cpu/simd/conv.c: inner loops of direct convolutions in channel blocks of 16.
 *
 * A result of some pixels in a row times some vectors of channels stays in registers while the loops go over taps (places of
 * the window times blocks of input channels) and over the elements of a tap's run (the channels of a block, or, for first
 * layers, the neighbouring pixels of a row): one broadcast element of x times vectors of the kernel. */
#include "backend/cpu/simd.h"
#include "backend/cpu/simd/vec.h"

enum { BLOCK = DLT_CONV_BLOCK };
#if defined(DLT_ISA_avx512)
enum { PIXELS = 14, VECTORS = 2, ROWS = 16 }; /* two channel blocks */
#elif defined(DLT_ISA_avx2)
enum { PIXELS = 6, VECTORS = 2, ROWS = 4 }; /* one block in two vectors */
#else
enum { PIXELS = 3, VECTORS = 4, ROWS = 2 };
#endif

/* x_const: distance of pixels if it is known when this is compiled, else 0. */
VEC void forward(const int pixels, const int vectors, const int64_t x_const, const dlt_conv_taps *t, const float *x,
                 const float *w, float *y)
{
    const int64_t x_step = x_const > 0 ? x_const : t->x_step;
    vf acc[PIXELS][VECTORS];
    UNROLL(14)
    for (int i = 0; i < pixels; i++) {
        UNROLL(4)
        for (int v = 0; v < vectors; v++) {
            acc[i][v] = vzero();
        }
    }
    for (int64_t k = 0; k < t->count; k++) {
        const float *xp = x + t->x_offset[k], *wp = w + t->w_offset[k];
        for (int64_t r = 0; r < t->run; r++, wp += t->w_row) {
            vf wv[VECTORS];
            UNROLL(4)
            for (int v = 0; v < vectors; v++) {
                wv[v] = vload(wp + v * t->w_vector);
            }
            UNROLL(14)
            for (int i = 0; i < pixels; i++) {
                const vf xv = vset(xp[i * x_step + r]);
                UNROLL(4)
                for (int v = 0; v < vectors; v++) {
                    acc[i][v] = vfma(xv, wv[v], acc[i][v]);
                }
            }
        }
    }
    UNROLL(14)
    for (int i = 0; i < pixels; i++) {
        UNROLL(4)
        for (int v = 0; v < vectors; v++) {
            vstore(y + i * t->y_step + v * t->y_vector, acc[i][v]);
        }
    }
}

typedef void forward_fn(const dlt_conv_taps *t, const float *x, const float *w, float *y);

#define FORWARD(pixels, vectors, name, x_const)                                                              \
    static void forward_##pixels##_##vectors##_##name(const dlt_conv_taps *t, const float *x, const float *w, float *y) \
    {                                                                                                        \
        forward(pixels, vectors, x_const, t, x, w, y);                                                       \
    }
#define FORWARDS(pixels, vectors) FORWARD(pixels, vectors, one, BLOCK) FORWARD(pixels, vectors, two, 2 * BLOCK) FORWARD(pixels, vectors, any, 0)
#define LIST(pixels, vectors)                                                                                \
    {forward_##pixels##_##vectors##_one, forward_##pixels##_##vectors##_two, forward_##pixels##_##vectors##_any}

#if defined(DLT_ISA_avx512)
#define EACH(do_it)                                                                                          \
    do_it(1, 1) do_it(2, 1) do_it(3, 1) do_it(4, 1) do_it(5, 1) do_it(6, 1) do_it(7, 1) do_it(8, 1) do_it(9, 1) do_it(10, 1) \
        do_it(11, 1) do_it(12, 1) do_it(13, 1) do_it(14, 1) do_it(1, 2) do_it(2, 2) do_it(3, 2) do_it(4, 2) do_it(5, 2)      \
            do_it(6, 2) do_it(7, 2) do_it(8, 2) do_it(9, 2) do_it(10, 2) do_it(11, 2) do_it(12, 2) do_it(13, 2) do_it(14, 2)
EACH(FORWARDS)
#define ENTRY(pixels, vectors) [vectors - 1][pixels] = LIST(pixels, vectors),
static forward_fn *const forwards[2][PIXELS + 1][3] = {EACH(ENTRY)};
#elif defined(DLT_ISA_avx2)
#define EACH(do_it) do_it(1, 2) do_it(2, 2) do_it(3, 2) do_it(4, 2) do_it(5, 2) do_it(6, 2)
EACH(FORWARDS)
#define ENTRY(pixels, vectors) [0][pixels] = LIST(pixels, vectors),
static forward_fn *const forwards[1][PIXELS + 1][3] = {EACH(ENTRY)};
#else
#define EACH(do_it) do_it(1, 4) do_it(2, 4) do_it(3, 4)
EACH(FORWARDS)
#define ENTRY(pixels, vectors) [0][pixels] = LIST(pixels, vectors),
static forward_fn *const forwards[1][PIXELS + 1][3] = {EACH(ENTRY)};
#endif

/* A row of pixels, cut evenly. Where a vector is a block, two blocks run together. */
static void row(const dlt_conv_taps *given, const float *x, const float *w, float *y, int64_t pixels, int64_t blocks)
{
    dlt_conv_taps t = *given;
    const int64_t together = VW == (int)BLOCK ? 2 : 1, parts = (pixels + PIXELS - 1) / PIXELS;
    const int which = t.x_step == BLOCK ? 0 : t.x_step == 2 * BLOCK ? 1 : 2;
    if (VW < (int)BLOCK) {
        t.w_vector = t.y_vector = VW;
    } else {
        t.w_vector = given->w_block;
        t.y_vector = given->y_block;
    }
    for (int64_t b = 0; b < blocks; b += together) {
        const int64_t count = blocks - b < together ? blocks - b : together;
        for (int64_t p = 0; p < parts; p++) {
            const int64_t first = pixels * p / parts, n = pixels * (p + 1) / parts - first;
            forwards[count - 1][n][which](&t, x + first * t.x_step, w + b * t.w_block, y + b * t.y_block + first * t.y_step);
        }
    }
}

/* acc[v, i] += sum over pixels of x[i] dy[v], for `rows` elements i and `vectors` vectors of channels, acc_vector and dy_vector apart. Few rows of
 * many vectors need fewer loads for each multiply-add than the other way round. */
VEC void weights(const int rows, const int vectors, float *acc, int64_t acc_vector, const float *x, int64_t x_step, int64_t x_row, const float *dy,
                 int64_t dy_row, int64_t dy_vector, int64_t pixels, int64_t lines)
{
    vf sum[ROWS][4];
    UNROLL(16)
    for (int i = 0; i < rows; i++) {
        UNROLL(4)
        for (int v = 0; v < vectors; v++) {
            sum[i][v] = vload(acc + i * BLOCK + v * acc_vector);
        }
    }
    for (int64_t h = 0; h < lines; h++, x += x_row, dy += dy_row) {
        const float *xp = x, *dp = dy;
        for (int64_t p = 0; p < pixels; p++, xp += x_step, dp += BLOCK) {
            vf d[4];
            UNROLL(4)
            for (int v = 0; v < vectors; v++) {
                d[v] = vload(dp + v * dy_vector);
            }
            UNROLL(16)
            for (int i = 0; i < rows; i++) {
                const vf xv = vset(xp[i]);
                UNROLL(4)
                for (int v = 0; v < vectors; v++) {
                    sum[i][v] = vfma(xv, d[v], sum[i][v]);
                }
            }
        }
    }
    UNROLL(16)
    for (int i = 0; i < rows; i++) {
        UNROLL(4)
        for (int v = 0; v < vectors; v++) {
            vstore(acc + i * BLOCK + v * acc_vector, sum[i][v]);
        }
    }
}

static void dw_blocks(float *acc, int64_t acc_block, const float *x, int64_t x_step, int64_t x_row, const float *dy, int64_t dy_row, int64_t dy_block,
                      int64_t pixels, int64_t lines, int64_t blocks)
{
#if defined(DLT_ISA_avx512)
    for (; blocks >= 4; blocks -= 4, acc += 4 * acc_block, dy += 4 * dy_block) {
        weights(6, 4, acc, acc_block, x, x_step, x_row, dy, dy_row, dy_block, pixels, lines);
        weights(5, 4, acc + 6 * BLOCK, acc_block, x + 6, x_step, x_row, dy, dy_row, dy_block, pixels, lines);
        weights(5, 4, acc + 11 * BLOCK, acc_block, x + 11, x_step, x_row, dy, dy_row, dy_block, pixels, lines);
    }
    for (; blocks >= 2; blocks -= 2, acc += 2 * acc_block, dy += 2 * dy_block) {
        weights(8, 2, acc, acc_block, x, x_step, x_row, dy, dy_row, dy_block, pixels, lines);
        weights(8, 2, acc + 8 * BLOCK, acc_block, x + 8, x_step, x_row, dy, dy_row, dy_block, pixels, lines);
    }
#endif
    for (; blocks > 0; blocks--, acc += acc_block, dy += dy_block) {
        for (int i = 0; i < BLOCK; i += ROWS) { /* a block is one vector, two or four */
            weights(ROWS, BLOCK / VW, acc + i * BLOCK, VW, x + i, x_step, x_row, dy, dy_row, VW, pixels, lines);
        }
    }
}

/* The same for first layers: elements i of `groups` runs of `run` neighbours each, x_group apart. groups and run constant. */
VEC void first_weights(const int groups, const int run, float *acc, int64_t acc_row, const float *x, int64_t x_group,
                       int64_t x_step, int64_t x_row, const float *dy, int64_t dy_row, int64_t pixels, int64_t lines)
{
    /* registers hold one vector of channels for every element */
    for (int64_t v = 0; v < BLOCK; v += VW) {
        vf sum[28];
        UNROLL(28)
        for (int i = 0; i < groups * run; i++) {
            sum[i] = vload(acc + i * acc_row + v);
        }
        for (int64_t h = 0; h < lines; h++) {
            const float *xp = x + h * x_row, *dp = dy + h * dy_row + v;
            for (int64_t p = 0; p < pixels; p++, xp += x_step, dp += BLOCK) {
                const vf d = vload(dp);
                UNROLL(5)
                for (int g = 0; g < groups; g++) {
                    UNROLL(9)
                    for (int i = 0; i < run; i++) {
                        sum[g * run + i] = vfma(vset(xp[g * x_group + i]), d, sum[g * run + i]);
                    }
                }
            }
        }
        UNROLL(28)
        for (int i = 0; i < groups * run; i++) {
            vstore(acc + i * acc_row + v, sum[i]);
        }
    }
}

static void dw_first(float *acc, int64_t acc_row, int64_t groups, int64_t run, const float *x, int64_t x_group, int64_t x_step,
                     int64_t x_row, const float *dy, int64_t dy_row, int64_t pixels, int64_t lines)
{
    if (groups == 3 && run == 3) {
        first_weights(3, 3, acc, acc_row, x, x_group, x_step, x_row, dy, dy_row, pixels, lines);
#if defined(DLT_ISA_avx512)
    } else if (groups == 5 && run == 5) {
        first_weights(5, 5, acc, acc_row, x, x_group, x_step, x_row, dy, dy_row, pixels, lines);
    } else if (groups == 3 && run == 9) {
        first_weights(3, 9, acc, acc_row, x, x_group, x_step, x_row, dy, dy_row, pixels, lines);
#endif
    } else {
        for (int64_t g = 0; g < groups; g++) {
            int64_t i = 0;
            for (; i + 7 <= run; i += 7) {
                first_weights(1, 7, acc + (g * run + i) * acc_row, acc_row, x + g * x_group + i, 0, x_step, x_row, dy, dy_row,
                              pixels, lines);
            }
            for (; i < run; i++) {
                first_weights(1, 1, acc + (g * run + i) * acc_row, acc_row, x + g * x_group + i, 0, x_step, x_row, dy, dy_row,
                              pixels, lines);
            }
        }
    }
}

extern const dlt_conv_ops DLT_SIMD(conv);
const dlt_conv_ops DLT_SIMD(conv) = {.row = row, .dw_blocks = dw_blocks, .dw_first = dw_first};
