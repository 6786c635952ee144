/* bench/bench_kernels.c: rates of single kernels on one thread beside the rate of fused multiply-adds, measured in the same process.
 *
 *     cmake --build build/release --target bench_kernels && build/release/bench_kernels [filter] [threads] [isa]
 *
 * Medians of several repetitions. `blas` is OpenBLAS called for the whole product on one thread.
 *
 *     bench_kernels --floors
 *
 * is the test kernel_rates: each kernel that has a floor must reach that share of the peak in one of many short runs, so that other work on the
 * machine does not count. Floors are about half of what a quiet machine shows: what falls below has lost a kernel, not a little speed. */
#include "support/cell.h"
#include "support/program.h"

#include "backend/cpu/kernel.h"
#include "backend/cpu/simd.h"
#include "base/clock.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPEATS = 9 };

typedef struct work {
    const char *name;
    test_build *build;
    int64_t n[8];
    bool trans_a, trans_b;
    int floor; /* percent of the peak that --floors wants; 0: not asked */
    bool bf16; /* factors of products are bfloat16, and the peak is that of their products */
} work;

static double peak, bf16_peak; /* operations a second of one thread; bf16_peak 0: no instructions for it */
static int threads = 1;
static const char *isa;

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *seconds, int count)
{
    qsort(seconds, (size_t)count, sizeof *seconds, by_size);
    return seconds[count / 2];
}

static double peak_of(const dlt_gemm_ops *ops)
{
    double s[REPEATS], done = 0;
    for (int i = 0; i < REPEATS; i++) {
        const int64_t start = dlt_clock_ns();
        done = ops->spin(300000);
        s[i] = dlt_seconds_since(start);
    }
    return done / median(s, REPEATS);
}

static void measure_peak(void)
{
    const dlt_gemm_ops *bf16 = dlt_gemm_bf16_of(dlt_isa_best());
    peak = peak_of(dlt_simd_of(dlt_isa_best())->gemm);
    bf16_peak = bf16 != NULL ? peak_of(bf16) : 0;
    printf("peak of one thread: %.1f GFLOP/s (%s), %.1f GFLOP/s of bfloat16\n", peak * 1e-9, dlt_isa_name(dlt_isa_best()), bf16_peak * 1e-9);
}

static double peak_for(const work *w)
{
    return w->bf16 ? bf16_peak : peak;
}

/* ---- what is measured ---- */

static dlt_dtype type_of(const work *w)
{
    return w->bf16 ? DLT_BF16 : DLT_F32;
}

/* Products of bfloat16 factors are float32, as graph/pass_precision.c makes them. */
static dlt_value *as_float(dlt_value *z)
{
    if (z != NULL) {
        z->type = DLT_F32;
    }
    return z;
}

static void product(dlt_builder *b, const void *context)
{
    const work *w = context;
    const int64_t m = w->n[0], n = w->n[1], k = w->n[2];
    dlt_value *x = dlt_input(b, "x", type_of(w), w->trans_a ? DLT_SHAPE(k, m) : DLT_SHAPE(m, k));
    dlt_value *y = dlt_input(b, "y", type_of(w), w->trans_b ? DLT_SHAPE(n, k) : DLT_SHAPE(k, n));
    dlt_output(b, "z", as_float(dlt_matmul(b, x, y, w->trans_a, w->trans_b)));
}

static void product_bias_relu(dlt_builder *b, const void *context)
{
    const work *w = context;
    dlt_value *x = dlt_input(b, "x", type_of(w), DLT_SHAPE(w->n[0], w->n[2]));
    dlt_value *y = dlt_input(b, "y", type_of(w), DLT_SHAPE(w->n[2], w->n[1]));
    dlt_value *bias = dlt_input(b, "bias", DLT_F32, DLT_SHAPE(w->n[1]));
    dlt_output(b, "z", dlt_relu(b, dlt_add(b, as_float(dlt_matmul(b, x, y, false, false)), bias)));
}

/* n: batch, size, in, out, kernel, stride; trans_a: dx, trans_b: dw. Operands are made blocked by a layer before and after. */
static void convolution(dlt_builder *b, const void *context)
{
    const work *w = context;
    const int64_t size = w->n[1], kernel = w->n[4];
    dlt_window window = {.axes = 2, .size = {kernel, kernel}, .stride = {w->n[5], w->n[5]}, .dilation = {1, 1}};
    const dlt_shape image = DLT_SHAPE(w->n[0], size, size, w->n[2]);
    dlt_window_same(&window, &image);
    dlt_value *x = dlt_input(b, "x", DLT_F32, image), *k = dlt_input(b, "k", DLT_F32, DLT_SHAPE(kernel, kernel, w->n[2], w->n[3]));
    dlt_value *y = dlt_conv(b, x, k, &window, 1);
    if (!w->trans_a && !w->trans_b) {
        dlt_output(b, "y", y);
        return;
    }
    dlt_value *loss = dlt_sum_all(b, dlt_mul(b, y, dlt_input(b, "dy", DLT_F32, dlt_shape_of(y)))), *grad = NULL;
    dlt_value *const wrt[] = {w->trans_a ? x : k};
    dlt_gradients(b, loss, wrt, 1, &grad);
    dlt_output(b, "grad", grad);
}

static void adam(dlt_builder *b, const void *context)
{
    const work *w = context;
    dlt_value *p = dlt_input(b, "p", DLT_F32, DLT_SHAPE(w->n[0])), *g = dlt_input(b, "g", DLT_F32, DLT_SHAPE(w->n[0]));
    dlt_value *m = dlt_input(b, "m", DLT_F32, DLT_SHAPE(w->n[0])), *v = dlt_input(b, "v", DLT_F32, DLT_SHAPE(w->n[0]));
    dlt_value *rate = dlt_input(b, "rate", DLT_F32, dlt_scalar());
    m = dlt_add(b, m, dlt_mul_c(b, dlt_sub(b, g, m), 0.1));
    v = dlt_add(b, v, dlt_mul_c(b, dlt_sub(b, dlt_square(b, g), v), 0.001));
    dlt_output(b, "m", m);
    dlt_output(b, "v", v);
    dlt_output(b, "p", dlt_sub(b, p, dlt_div(b, dlt_mul(b, m, rate), dlt_add_c(b, dlt_sqrt(b, v), 1e-7))));
}

static void add(dlt_builder *b, const void *context)
{
    const work *w = context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(w->n[0])), *y = dlt_input(b, "y", DLT_F32, DLT_SHAPE(w->n[0]));
    dlt_output(b, "z", dlt_add(b, x, y));
}

static void tanh_of(dlt_builder *b, const void *context)
{
    const work *w = context;
    dlt_output(b, "z", dlt_tanh(b, dlt_input(b, "x", DLT_F32, DLT_SHAPE(w->n[0]))));
}

static void dropout(dlt_builder *b, const void *context)
{
    const work *w = context;
    const dlt_shape s = DLT_SHAPE(w->n[0], w->n[1]);
    dlt_value *kept = dlt_less(b, dlt_constant(b, 0.5), dlt_uniform(b, "mask", s, false));
    dlt_output(b, "z", dlt_mul_c(b, dlt_mul(b, dlt_input(b, "x", DLT_F32, s), kept), 2));
}

static void scalar(dlt_builder *b, const void *context)
{
    (void)context;
    dlt_value *x = dlt_input(b, "x", DLT_F32, dlt_scalar());
    dlt_output(b, "z", dlt_mul_c(b, dlt_add_c(b, x, 1), 0.5));
}

static void column_sum(dlt_builder *b, const void *context)
{
    const work *w = context;
    dlt_output(b, "z", dlt_sum(b, dlt_input(b, "x", DLT_F32, DLT_SHAPE(w->n[0], w->n[1])), 1, false));
}

/* n: batch, steps, channels, units; trans_a: with gradients; trans_b: GRU, else LSTM. */
static void recurrence(dlt_builder *b, const void *context)
{
    const work *w = context;
    const int64_t batch = w->n[0], steps = w->n[1], channels = w->n[2], units = w->n[3], width = (w->trans_b ? 3 : 4) * units;
    const dlt_rnn_cell cell = w->trans_b ? DLT_RNN_GRU : DLT_RNN_LSTM;
    const dlt_rnn_attrs attrs = {.cell = cell,
                                 .activation = "tanh",
                                 .recurrent_activation = "sigmoid",
                                 .units = units,
                                 .body = test_cell_body(b, cell, batch, units, false)};
    dlt_value *const x = dlt_input(b, "x", DLT_F32, DLT_SHAPE(batch, steps, channels));
    dlt_value *const wrt[] = {x, dlt_input(b, "kernel", DLT_F32, DLT_SHAPE(channels, width)),
                              dlt_input(b, "recurrent", DLT_F32, DLT_SHAPE(units, width))};
    dlt_value *params[] = {wrt[2]}, *last = NULL, *grads[3];
    dlt_rnn(b, &(dlt_rnn_args){.x = x, .kernel = wrt[1], .params = params, .param_count = 1, .attrs = &attrs}, &last);
    dlt_output(b, "last", last);
    if (w->trans_a) {
        dlt_gradients(b, dlt_sum_all(b, last), wrt, 3, grads);
        dlt_output(b, "dx", grads[0]);
        dlt_output(b, "dkernel", grads[1]);
        dlt_output(b, "drecurrent", grads[2]);
    }
}

static const work all[] = {
    {"mlp-small forward", product_bias_relu, {32, 64, 784}, false, false},
    {"mlp-small dw", product, {784, 64, 32}, true, false},
    {"mlp forward 1", product_bias_relu, {128, 512, 784}, false, false, 40},
    {"mlp forward 2", product_bias_relu, {128, 512, 512}, false, false},
    {"mlp forward 3", product, {128, 10, 512}, false, false},
    {"mlp dx 3", product, {128, 512, 10}, false, true},
    {"mlp dx 2", product, {128, 512, 512}, false, true, 40},
    {"mlp dw 1", product, {784, 512, 128}, true, false, 35},
    {"mlp dw 2", product, {512, 512, 128}, true, false},
    {"mlp dw 3", product, {512, 10, 128}, true, false},
    {"higgs forward", product_bias_relu, {100, 300, 300}, false, false, 35},
    {"higgs dw", product, {300, 300, 100}, true, false},
    {"cnn dense forward", product, {128, 10, 1600}, false, false},
    {"cnn dense dx", product, {128, 1600, 10}, false, true},
    {"cnn dense dw", product, {1600, 10, 128}, true, false},
    {"lstm projection", product, {6400, 512, 128}, false, false, 25},
    {"lstm dw", product, {128, 512, 6400}, true, false, 25},
    {"gpt qkv", product, {2048, 1152, 384}, false, false},
    {"gpt mlp", product, {2048, 1536, 384}, false, false, 35},
    {"gpt mlp dw", product, {384, 1536, 2048}, true, false},
    {"gpt mlp dx", product, {2048, 384, 1536}, false, true},
    {"square 1024", product, {1024, 1024, 1024}, false, false, 40},
    {"bf16 mlp forward 1", product_bias_relu, {128, 512, 784}, .floor = 35, .bf16 = true},
    {"bf16 mlp dx 2", product, {128, 512, 512}, .trans_b = true, .bf16 = true},
    {"bf16 mlp dw 1", product, {784, 512, 128}, .trans_a = true, .bf16 = true},
    {"bf16 lstm projection", product, {6400, 512, 128}, .bf16 = true},
    {"bf16 lstm dw", product, {128, 512, 6400}, .trans_a = true, .bf16 = true},
    {"bf16 gpt qkv", product, {2048, 1152, 384}, .bf16 = true},
    {"bf16 gpt mlp", product, {2048, 1536, 384}, .floor = 35, .bf16 = true},
    {"bf16 gpt mlp dw", product, {384, 1536, 2048}, .trans_a = true, .bf16 = true},
    {"bf16 gpt mlp dx", product, {2048, 384, 1536}, .trans_b = true, .bf16 = true},
    {"bf16 square 1024", product, {1024, 1024, 1024}, .floor = 35, .bf16 = true},
    {"bf16 square 2048", product, {2048, 2048, 2048}, .bf16 = true},
    {"conv 3x3/1 64-64 32", convolution, {128, 32, 64, 64, 3, 1}, false, false},
    {"conv 3x3/1 64-64 32 dx", convolution, {128, 32, 64, 64, 3, 1}, true, false},
    {"conv 3x3/1 64-64 32 dw", convolution, {128, 32, 64, 64, 3, 1}, false, true},
    {"conv 3x3/1 128-128 16", convolution, {128, 16, 128, 128, 3, 1}, false, false},
    {"conv 3x3/1 128-128 16 dx", convolution, {128, 16, 128, 128, 3, 1}, true, false},
    {"conv 3x3/1 128-128 16 dw", convolution, {128, 16, 128, 128, 3, 1}, false, true},
    {"conv 3x3/1 256-256 8", convolution, {128, 8, 256, 256, 3, 1}, false, false},
    {"conv 3x3/1 256-256 8 dx", convolution, {128, 8, 256, 256, 3, 1}, true, false},
    {"conv 3x3/1 256-256 8 dw", convolution, {128, 8, 256, 256, 3, 1}, false, true},
    {"conv 3x3/1 512-512 4", convolution, {128, 4, 512, 512, 3, 1}, false, false},
    {"conv 3x3/1 512-512 4 dx", convolution, {128, 4, 512, 512, 3, 1}, true, false},
    {"conv 3x3/1 512-512 4 dw", convolution, {128, 4, 512, 512, 3, 1}, false, true},
    {"conv 3x3/2 64-128 32", convolution, {128, 32, 64, 128, 3, 2}, false, false},
    {"conv 3x3/2 64-128 32 dx", convolution, {128, 32, 64, 128, 3, 2}, true, false},
    {"conv 3x3/2 64-128 32 dw", convolution, {128, 32, 64, 128, 3, 2}, false, true},
    {"conv 3x3/2 128-256 16", convolution, {128, 16, 128, 256, 3, 2}, false, false},
    {"conv 3x3/2 128-256 16 dx", convolution, {128, 16, 128, 256, 3, 2}, true, false},
    {"conv 3x3/2 128-256 16 dw", convolution, {128, 16, 128, 256, 3, 2}, false, true},
    {"conv 3x3/2 256-512 8", convolution, {128, 8, 256, 512, 3, 2}, false, false},
    {"conv 3x3/2 256-512 8 dx", convolution, {128, 8, 256, 512, 3, 2}, true, false},
    {"conv 3x3/2 256-512 8 dw", convolution, {128, 8, 256, 512, 3, 2}, false, true},
    {"conv 1x1/2 64-128 32", convolution, {128, 32, 64, 128, 1, 2}, false, false},
    {"conv 1x1/2 64-128 32 dx", convolution, {128, 32, 64, 128, 1, 2}, true, false},
    {"conv 1x1/2 64-128 32 dw", convolution, {128, 32, 64, 128, 1, 2}, false, true},
    {"conv 3x3/1 3-64 32", convolution, {128, 32, 3, 64, 3, 1}, false, false},
    {"conv 3x3/1 3-64 32 dw", convolution, {128, 32, 3, 64, 3, 1}, false, true},
    {"conv 3x3/1 16-16 32", convolution, {128, 32, 16, 16, 3, 1}, false, false},
    {"conv 3x3/1 16-16 32 dx", convolution, {128, 32, 16, 16, 3, 1}, true, false},
    {"conv 3x3/1 16-16 32 dw", convolution, {128, 32, 16, 16, 3, 1}, false, true},
    {"conv 3x3/1 128-128 16 small", convolution, {8, 16, 128, 128, 3, 1}, false, false, 70},
    {"conv 3x3/1 128-128 16 small dx", convolution, {8, 16, 128, 128, 3, 1}, true, false, 60},
    {"conv 3x3/1 128-128 16 small dw", convolution, {8, 16, 128, 128, 3, 1}, false, true, 60},
    {"conv 3x3/2 64-128 32 small", convolution, {8, 32, 64, 128, 3, 2}, false, false, 35},
    {"conv 3x3/2 64-128 32 small dx", convolution, {8, 32, 64, 128, 3, 2}, true, false, 30},
    {"conv 3x3/2 64-128 32 small dw", convolution, {8, 32, 64, 128, 3, 2}, false, true, 20},
    {"conv 3x3/1 16-16 32 small", convolution, {8, 32, 16, 16, 3, 1}, false, false, 30},
    {"conv 3x3/1 3-64 32 small", convolution, {8, 32, 3, 64, 3, 1}, false, false, 20},
    {"conv 5x5/1 6-16 14", convolution, {64, 14, 6, 16, 5, 1}, false, false, 15},
    {"lstm 20x64x128", recurrence, {64, 20, 128, 128}, false, false, 30},
    {"lstm 20x64x128 dx dw", recurrence, {64, 20, 128, 128}, true, false, 30},
    {"gru 20x64x128", recurrence, {64, 20, 128, 128}, false, true, 30},
    {"gru 20x64x128 dx dw", recurrence, {64, 20, 128, 128}, true, true, 30},
    {"scalar program", scalar, {1}, false, false},
    {"adam 100k", adam, {100000}, false, false},
    {"adam 5M", adam, {5000000}, false, false},
    {"add 100k", add, {100000}, false, false},
    {"add 5M", add, {5000000}, false, false},
    {"tanh 100k", tanh_of, {100000}, false, false},
    {"dropout 128x1600", dropout, {128, 1600}, false, false},
    {"column sum", column_sum, {15488, 64}, false, false},
};

/* ---- measuring ---- */

static double seconds_of(test_program *t)
{
    double s[REPEATS];
    int64_t start = dlt_clock_ns();
    test_run(t);
    test_run(t);
    const double once = dlt_seconds_since(start) / 2;
    const int rounds = once < 2e-3 ? (int)(2e-3 / once) + 1 : 1;
    for (int i = 0; i < REPEATS; i++) {
        start = dlt_clock_ns();
        for (int k = 0; k < rounds; k++) {
            test_run(t);
        }
        s[i] = dlt_seconds_since(start) / rounds;
    }
    return median(s, REPEATS);
}

static double blas_seconds(const work *w)
{
    const int64_t m = w->n[0], n = w->n[1], k = w->n[2];
    float *a = calloc((size_t)(m * k), sizeof *a), *b = calloc((size_t)(k * n), sizeof *b), *c = calloc((size_t)(m * n), sizeof *c);
    double s[REPEATS];
    if (a == NULL || b == NULL || c == NULL) {
        exit(1);
    }
    const int rounds = (int)(2e8 / (2.0 * (double)m * (double)n * (double)k)) + 1;
    for (int i = 0; i < REPEATS; i++) {
        const int64_t start = dlt_clock_ns();
        for (int r = 0; r < rounds; r++) {
            cblas_sgemm(CblasRowMajor, w->trans_a ? CblasTrans : CblasNoTrans, w->trans_b ? CblasTrans : CblasNoTrans, (int)m,
                        (int)n, (int)k, 1, a, (int)(w->trans_a ? m : k), b, (int)(w->trans_b ? k : n), 0, c, (int)n);
        }
        s[i] = dlt_seconds_since(start) / rounds;
    }
    free(a);
    free(b);
    free(c);
    return median(s, REPEATS);
}

/* The program of a piece of work, its inputs filled. */
static test_program *compiled(const work *w, double *flops, double *bytes)
{
    test_program *t = test_compile(w->build, w, &(test_options){.threads = threads, .isa = isa, .batch = w->n[0]});
    *flops = *bytes = 0;
    for (int i = 0; i < t->graph->node_count; i++) {
        const dlt_node *n = t->graph->nodes[i];
        *flops += dlt_node_flops(n);
        *bytes += (double)dlt_node_bytes(n);
    }
    for (int i = 0; i < t->built->input_count; i++) {
        const int64_t count = test_input_count(t, i);
        double *x = calloc((size_t)count, sizeof *x);
        if (x == NULL) {
            exit(1);
        }
        test_fill(x, count, (uint64_t)i, 0.1, 1);
        test_set_input(t, i, x);
        free(x);
    }
    return t;
}

static void measure(const work *w)
{
    double flops, bytes;
    test_program *t = compiled(w, &flops, &bytes);
    const double s = seconds_of(t);
    printf("%-30s %9.1f us %7.1f GFLOP/s %4.0f %% %7.1f GB/s", w->name, s * 1e6, flops / s * 1e-9,
           100 * flops / s / (peak_for(w) * threads), bytes / s * 1e-9);
    for (int i = 0; i < t->graph->node_count; i++) {
        const dlt_choice *c = t->graph->nodes[i]->choice;
        for (int k = 0; c != NULL && k < c->count; k++) {
            if (k == c->taken || c->candidates[k].seconds > 0) {
                printf("  %s%s %.1f us", k == c->taken ? "*" : "", c->candidates[k].name, c->candidates[k].seconds * 1e6);
            }
        }
    }
    if (!w->bf16 && (w->build == product || w->build == product_bias_relu)) {
        printf("  (blas %.1f us)", blas_seconds(w) * 1e6);
    }
    printf("\n");
    test_release(t);
}

/* Whether the kernel reaches its floor within a few seconds; says what it reached. */
static bool reaches_floor(const work *w)
{
    enum { SECONDS = 5 };
    double flops, bytes, share = 0;
    test_program *t = compiled(w, &flops, &bytes);
    const int64_t start = dlt_clock_ns();
    test_run(t); /* the first touches memory */
    while (share * 100 < w->floor && dlt_seconds_since(start) < SECONDS) {
        const int64_t run = dlt_clock_ns();
        test_run(t);
        const double now = flops / dlt_seconds_since(run) / peak_for(w);
        share = now > share ? now : share;
    }
    const bool reached = share * 100 >= w->floor;
    printf("%-30s %4.0f %% of the peak, floor %d %%%s\n", w->name, share * 100, w->floor, reached ? "" : ": too slow");
    test_release(t);
    return reached;
}

static int check_floors(void)
{
    int slow = 0;
    if (dlt_isa_best() == DLT_ISA_PLAIN) {
        printf("floors are for AVX2 and AVX-512\n");
        return 77;
    }
    for (size_t i = 0; i < DLT_COUNT(all); i++) {
        slow += all[i].floor > 0 && peak_for(&all[i]) > 0 && !reaches_floor(&all[i]);
    }
    return slow > 0;
}

int main(int count, char **arguments)
{
    const bool floors = count > 1 && strcmp(arguments[1], "--floors") == 0;
    const char *filter = count > 1 ? arguments[1] : "";
    threads = count > 2 ? (int)strtol(arguments[2], NULL, 10) : 1;
    isa = count > 3 ? arguments[3] : NULL;
    measure_peak();
    if (floors) {
        return check_floors();
    }
    for (size_t i = 0; i < DLT_COUNT(all); i++) {
        if (strstr(all[i].name, filter) != NULL && peak_for(&all[i]) > 0) {
            measure(&all[i]);
        }
    }
    return 0;
}
