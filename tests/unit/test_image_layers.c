/* tests/unit/test_image_layers.c: what the layers for images draw: how often they mirror, how far and how evenly they move images; that draws
 * follow seed and sample, not the batch; and that nothing happens at inference. What they do with a draw: test_golden_layers.c. */
#include "support/program.h"
#include "support/run.h"

#include "layers/layer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct subject {
    dlt_arena *arena;
    const char *layers;
    dlt_shape shape;
    dlt_dtype type;
    test_program *program;
    double *y; /* the result of the last run, of `count` elements */
    int64_t count;
} subject;

static void build(dlt_builder *b, const void *context)
{
    const subject *s = context;
    const dlt_spec *spec = &dlt_test_spec(s->arena, dlt_arena_printf(s->arena, "layers: %s\n", s->layers))->value;
    dlt_output(b, "samples", dlt_samples(b)); /* so that the counter is there, whether the layer draws or not */
    dlt_output(b, "y", dlt_model_apply(b, &spec->layers, dlt_input(b, "x", s->type, s->shape), NULL, NULL, 0, NULL, NULL));
}

static subject *open_layers(const char *layers, dlt_shape shape, dlt_dtype type, dlt_mode mode, uint64_t seed)
{
    dlt_arena *arena = dlt_arena_create();
    subject *s = calloc(1, sizeof *s);
    assert_true(arena != NULL && s != NULL);
    *s = (subject){.arena = arena, .layers = layers, .shape = shape, .type = type};
    s->program = test_compile(build, s, &(test_options){.mode = mode, .seed = seed, .batch = shape.dim[0], .label = layers});
    s->count = test_count(s->program, "y");
    s->y = calloc((size_t)s->count + 1, sizeof *s->y);
    assert_non_null(s->y);
    return s;
}

static void close_layers(subject *s)
{
    test_release(s->program);
    dlt_arena_destroy(s->arena);
    free(s->y);
    free(s);
}

/* Runs with `first` as the number of the first sample. */
static const double *run_layers(subject *s, const double *x, int64_t first)
{
    const double number = (double)first;
    test_set_variable(s->program, "samples", &number);
    test_set_input(s->program, 0, x);
    assert_true(test_run(s->program));
    test_get(s->program, "y", s->y);
    return s->y;
}

/* Images whose pixels say where they are: channel 0 holds the row, channel 1 the column. A bilinear sample says where it was taken. */
static double *maps(int64_t count, int64_t height, int64_t width)
{
    double *x = calloc((size_t)(2 * count * height * width), sizeof *x);
    assert_non_null(x);
    for (int64_t k = 0; k < count * height * width; k++) {
        x[2 * k] = (double)(k / width % height);
        x[2 * k + 1] = (double)(k % width);
    }
    return x;
}

/* ---- what is drawn ---- */

enum { N = 2000, S = 24 };
#define MIDDLE (0.5 * (S - 1))

static void half_of_the_images_are_mirrored_exactly(void **state)
{
    enum { H = 6, W = 9 };
    static const char *const modes[] = {"horizontal", "vertical", "horizontal_and_vertical"};
    double *x = maps(N, H, W);
    (void)state;
    for (int mode = 0; mode < 3; mode++) {
        char layers[80];
        int64_t flipped = 0;
        snprintf(layers, sizeof layers, "[{RandomFlip: {mode: %s}}]", modes[mode]);
        subject *s = open_layers(layers, DLT_SHAPE(N, H, W, 2), DLT_F32, DLT_MODE_TRAIN, 1);
        const double *y = run_layers(s, x, 0);
        for (int64_t n = 0; n < N; n++) {
            const double *image = y + 2 * n * H * W;
            const bool moved = image[0] > 0 || image[1] > 0;
            flipped += moved;
            for (int64_t k = 0; k < H * W; k++) {
                assert_true(image[2 * k] == (double)(moved && mode > 0 ? H - 1 - k / W : k / W));
                assert_true(image[2 * k + 1] == (double)(moved && mode != 1 ? W - 1 - k % W : k % W));
            }
        }
        assert_true(fabs((double)flipped - N / 2.0) < 4 * sqrt(N / 4.0));
        close_layers(s);
    }
    free(x);
}

/* v is uniform in [low, high): its ends, its mean, and no tenth of the range has too many or too few. */
static void assert_uniform(const char *what, const double *v, double low, double high)
{
    double mean = 0, least = INFINITY, most = -INFINITY;
    int tenths[10] = {0};
    for (int i = 0; i < N; i++) {
        const int at = (int)((v[i] - low) / (high - low) * 10);
        tenths[at < 0 ? 0 : at > 9 ? 9 : at]++;
        mean += v[i] / N;
        least = fmin(least, v[i]);
        most = fmax(most, v[i]);
    }
    const double close = 1e-4 * fmax(1, fabs(high)), part = 0.01 * (high - low);
    if (!(least >= low - close && least < low + part && most <= high + close && most > high - part)) {
        fail_msg("%s: from %g to %g in place of %g to %g", what, least, most, low, high);
    }
    if (!(fabs(mean - 0.5 * (low + high)) < 4 * (high - low) / sqrt(12.0 * N))) {
        fail_msg("%s: mean %g in place of %g", what, mean, 0.5 * (low + high));
    }
    for (int i = 0; i < 10; i++) {
        if (!(fabs(tenths[i] - N / 10.0) < 5 * sqrt(N * 0.09))) {
            fail_msg("%s: %d of %d draws in tenth %d", what, tenths[i], N, i);
        }
    }
}

/* No more correlation than chance has. */
static double correlation(const double *a, const double *b)
{
    double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < N; i++) {
        ma += a[i] / N;
        mb += b[i] / N;
    }
    for (int i = 0; i < N; i++) {
        ab += (a[i] - ma) * (b[i] - mb);
        aa += (a[i] - ma) * (a[i] - ma);
        bb += (b[i] - mb) * (b[i] - mb);
    }
    return ab / sqrt(aa * bb);
}

/* Where pixel (row, column) of each of N images came from. */
static void sources(const char *layers, int row, int column, double *rows, double *columns)
{
    double *x = maps(N, S, S);
    subject *s = open_layers(layers, DLT_SHAPE(N, S, S, 2), DLT_F32, DLT_MODE_TRAIN, 3);
    const double *y = run_layers(s, x, 0);
    for (int64_t n = 0; n < N; n++) {
        rows[n] = y[2 * ((n * S + row) * S + column)];
        columns[n] = y[2 * ((n * S + row) * S + column) + 1];
    }
    close_layers(s);
    free(x);
}

static void translations_are_uniform_and_independent(void **state)
{
    double down[N], right[N];
    (void)state;
    sources("[{RandomTranslation: {height_factor: [0.25, -0.125], width_factor: -0.25}}]", 12, 12, down, right);
    for (int n = 0; n < N; n++) {
        down[n] = 12 - down[n];
        right[n] = 12 - right[n];
    }
    assert_uniform("down", down, -3, 6);
    assert_uniform("to the right", right, -6, 6);
    assert_true(fabs(correlation(down, right)) < 4 / sqrt(N));
}

static void zooms_are_uniform_and_share_a_draw_unless_told_otherwise(void **state)
{
    double high[N], wide[N];
    (void)state;
    for (int own = 0; own < 2; own++) {
        sources(own == 1 ? "[{RandomZoom: {height_factor: [-0.5, 0.25], width_factor: [0, 0.375]}}]"
                         : "[{RandomZoom: {height_factor: [-0.5, 0.25]}}]",
                18, 6, high, wide);
        for (int n = 0; n < N; n++) {
            high[n] = (high[n] - MIDDLE) / (18 - MIDDLE) - 1;
            wide[n] = (wide[n] - MIDDLE) / (6 - MIDDLE) - 1;
            assert_true(own == 1 || fabs(high[n] - wide[n]) < 1e-5);
        }
        assert_uniform("height", high, -0.5, 0.25);
        assert_uniform("width", wide, own == 1 ? 0 : -0.5, own == 1 ? 0.375 : 0.25);
        assert_true(own == 0 || fabs(correlation(high, wide)) < 4 / sqrt(N));
    }
}

static void angles_are_uniform(void **state)
{
    double row[N], column[N];
    (void)state;
    sources("[{RandomRotation: {factor: [-0.125, 0.375]}}]", 12, 18, row, column);
    for (int n = 0; n < N; n++) { /* the content turns counter-clockwise, so places turn clockwise: rows grow downwards */
        double turn = (atan2(row[n] - MIDDLE, column[n] - MIDDLE) - atan2(12 - MIDDLE, 18 - MIDDLE)) / 6.28318530717958647693;
        turn += turn < -0.25 ? 1 : 0;
        assert_true(fabs(hypot(row[n] - MIDDLE, column[n] - MIDDLE) - hypot(12 - MIDDLE, 18 - MIDDLE)) < 1e-4);
        row[n] = turn;
    }
    assert_uniform("turn", row, -0.125, 0.375);
}

static void a_batch_is_cropped_at_one_place_that_is_uniform(void **state)
{
    enum { B = 3, H = 9, W = 7, RUNS = 1200, PLACES = 5 * 6 };
    int met[PLACES] = {0};
    double *x = maps(B, H, W);
    subject *s = open_layers("[{RandomCrop: {height: 5, width: 2}}]", DLT_SHAPE(B, H, W, 2), DLT_F32, DLT_MODE_TRAIN, 5);
    (void)state;
    assert_int_equal(s->count, B * 5 * 2 * 2);
    for (int run = 0; run < RUNS; run++) {
        const double *y = run_layers(s, x, (int64_t)run * B);
        for (int64_t k = 0; k < B * 5 * 2; k++) {
            assert_true(y[2 * k] == y[0] + (double)(k / 2 % 5) && y[2 * k + 1] == y[1] + (double)(k % 2));
        }
        assert_true(y[0] >= 0 && y[0] <= 4 && y[1] >= 0 && y[1] <= 5);
        met[(int)y[0] * 6 + (int)y[1]]++;
    }
    for (int i = 0; i < PLACES; i++) {
        assert_true(fabs(met[i] - RUNS / (double)PLACES) < 5 * sqrt(RUNS / (double)PLACES));
    }
    close_layers(s);
    free(x);
}

/* ---- what draws hang on ---- */

static const char *const per_sample[] = {
    "[RandomFlip]",
    "[{RandomTranslation: {height_factor: 0.3, width_factor: 0.3}}]",
    "[{RandomZoom: {height_factor: 0.3, width_factor: 0.3, fill_mode: constant}}]",
    "[{RandomRotation: {factor: 0.3, fill_mode: wrap}}]",
    "[RandomFlip, {RandomTranslation: {height_factor: 0.3, width_factor: 0.3}}, {RandomRotation: {factor: 0.3}}]",
};

static void draws_follow_the_sample_and_not_the_batch(void **state)
{
    enum { ALL = 12, PART = 4, SIZE = 5 * 6 * 2 };
    double *x = maps(ALL, 5, 6);
    (void)state;
    for (size_t i = 0; i < DLT_COUNT(per_sample); i++) {
        subject *all = open_layers(per_sample[i], DLT_SHAPE(ALL, 5, 6, 2), DLT_F32, DLT_MODE_TRAIN, 9);
        subject *part = open_layers(per_sample[i], DLT_SHAPE(PART, 5, 6, 2), DLT_F32, DLT_MODE_TRAIN, 9);
        run_layers(all, x, 100);
        for (int first = 0; first < ALL; first += PART) { /* as a run does that was stopped, or has another batch size */
            const double *y = run_layers(part, x, 100 + first);
            assert_memory_equal(y, all->y + first * SIZE, PART * SIZE * sizeof *y);
        }
        close_layers(part);
        close_layers(all);
    }
    free(x);
}

/* Images of a batch that differ from those of another, of ALL equal ones. */
static int changed(const double *a, const double *b, int count, int size)
{
    int found = 0;
    for (int n = 0; n < count; n++) {
        found += memcmp(a + n * size, b + n * size, (size_t)size * sizeof *a) != 0;
    }
    return found;
}

static void seeds_names_and_samples_make_other_draws(void **state)
{
    enum { ALL = 64, SIZE = 5 * 6 * 2 };
    static const char *const ways[] = {"[{RandomFlip: {mode: horizontal}}]", "[{RandomFlip: {mode: horizontal, seed: 1}}]",
                                       "[{RandomFlip: {mode: horizontal, seed: 2}}]", "[{RandomFlip: {mode: horizontal, name: other}}]"};
    double *x = maps(ALL, 5, 6), *kept = calloc(ALL * SIZE, sizeof *kept);
    (void)state;
    assert_non_null(kept);
    for (size_t i = 0; i < DLT_COUNT(ways); i++) {
        subject *s = open_layers(ways[i], DLT_SHAPE(ALL, 5, 6, 2), DLT_F32, DLT_MODE_TRAIN, 9);
        subject *again = open_layers(ways[i], DLT_SHAPE(ALL, 5, 6, 2), DLT_F32, DLT_MODE_TRAIN, 9);
        subject *other = open_layers(ways[i], DLT_SHAPE(ALL, 5, 6, 2), DLT_F32, DLT_MODE_TRAIN, 10);
        run_layers(s, x, 0);
        assert_int_equal(changed(s->y, run_layers(again, x, 0), ALL, SIZE), 0);
        /* of two independent draws half agree: 32, give or take 4 a standard deviation */
        const int seed = changed(s->y, run_layers(other, x, 0), ALL, SIZE), sample = changed(s->y, run_layers(again, x, ALL), ALL, SIZE);
        assert_true(seed > 14 && seed < 50 && sample > 14 && sample < 50);
        if (i > 0) {
            const int way = changed(s->y, kept, ALL, SIZE);
            assert_true(way > 14 && way < 50);
        }
        memcpy(kept, s->y, ALL * SIZE * sizeof *kept);
        close_layers(other);
        close_layers(again);
        close_layers(s);
    }
    free(kept);
    free(x);
}

/* Each step of TimeDistributed has draws of its own, as in Keras. */
static void steps_are_drawn_one_by_one(void **state)
{
    enum { B = 40, T = 3, SIZE = 4 * 4 * 2 };
    static const char *const layers[] = {"[{TimeDistributed: {layer: {RandomFlip: {mode: vertical}}}}]",
                                         "[{TimeDistributed: {layer: {RandomCrop: {height: 3, width: 3}}}}]"};
    double *x = maps(B * T, 4, 4);
    (void)state;
    for (int way = 0; way < 2; way++) {
        const int size = way == 0 ? SIZE : 3 * 3 * 2;
        int steps = 0, samples = 0;
        subject *s = open_layers(layers[way], DLT_SHAPE(B, T, 4, 4, 2), DLT_F32, DLT_MODE_TRAIN, 2);
        for (int run = 0; run < 20; run++) {
            const double *y = run_layers(s, x, run * B);
            steps += changed(y, y + size, 1, size) + changed(y, y + 2 * size, 1, size);
            samples += changed(y, y + T * size, 1, size);
        }
        assert_true(steps > 5 && steps < 40);
        assert_true(way == 0 ? samples > 2 && samples < 18 : samples == 0);
        close_layers(s);
    }
    free(x);
}

/* ---- inference ---- */

static void nothing_happens_at_inference(void **state)
{
    enum { COUNT = 2 * 5 * 6 * 3 };
    double x[COUNT];
    (void)state;
    for (int integer = 0; integer < 2; integer++) {
        test_fill(x, COUNT, 4, -3, 3);
        for (int i = 0; i < COUNT; i++) {
            x[i] = integer == 1 ? (double)(i % 256) : (double)(float)x[i];
        }
        for (int mode = DLT_MODE_EVALUATE; mode <= DLT_MODE_PREDICT; mode++) {
            for (size_t i = 0; i <= DLT_COUNT(per_sample); i++) {
                const char *layers = i < DLT_COUNT(per_sample) ? per_sample[i] : "[{RandomCrop: {height: 2, width: 3}}]";
                subject *s = open_layers(layers, DLT_SHAPE(2, 5, 6, 3), integer == 1 ? DLT_U8 : DLT_F32, (dlt_mode)mode, 1);
                assert_int_equal(s->count, COUNT);
                assert_memory_equal(run_layers(s, x, 0), x, sizeof x);
                close_layers(s);
            }
        }
    }
}

/* ---- Resizing ---- */

static void resized_integers_stay_integers(void **state)
{
    const double x[] = {0, 1, 255, 4}, weight[] = {0, 0.25, 0.75, 1}; /* of the second pixel, in both directions */
    (void)state;
    subject *s = open_layers("[{Resizing: {height: 4, width: 4}}]", DLT_SHAPE(1, 2, 2, 1), DLT_U8, DLT_MODE_PREDICT, 1);
    assert_true(dlt_graph_output(s->program->graph, "y")->type == DLT_U8);
    const double *y = run_layers(s, x, 0);
    for (int k = 0; k < 16; k++) {
        const double v = weight[k / 4], u = weight[k % 4];
        assert_true(y[k] == nearbyint((1 - v) * ((1 - u) * x[0] + u * x[1]) + v * ((1 - u) * x[2] + u * x[3])));
    }
    close_layers(s);
    s = open_layers("[{Resizing: {height: 1, width: 3}}]", DLT_SHAPE(1, 1, 6, 1), DLT_I32, DLT_MODE_PREDICT, 1);
    y = run_layers(s, (const double[]){2, 3, 3, 4, -3, -2}, 0); /* means 2.5, 3.5, -2.5 */
    assert_true(y[0] == 2 && y[1] == 4 && y[2] == -2);
    close_layers(s);
}

/* Pixel floor((i + 0.5) in / out), in whole numbers: (2 i + 1) in / (2 out). */
static void the_nearest_pixel_is_exact_for_all_small_sizes(void **state)
{
    (void)state;
    for (int in = 1; in <= 12; in++) {
        for (int out = 1; out <= 40; out++) {
            char layers[100];
            double *x = maps(1, 1, in);
            snprintf(layers, sizeof layers, "[{Resizing: {height: 1, width: %d, interpolation: nearest}}]", out);
            subject *s = open_layers(layers, DLT_SHAPE(1, 1, in, 2), DLT_F32, DLT_MODE_PREDICT, 1);
            const double *y = run_layers(s, x, 0);
            for (int i = 0; i < out; i++) {
                if (!(y[2 * i + 1] == (double)((2 * i + 1) * in / (2 * out)))) {
                    fail_msg("pixel %d of %d from %d: %g", i, out, in, y[2 * i + 1]);
                }
            }
            close_layers(s);
            free(x);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_of_the_images_are_mirrored_exactly),
        cmocka_unit_test(translations_are_uniform_and_independent),
        cmocka_unit_test(zooms_are_uniform_and_share_a_draw_unless_told_otherwise),
        cmocka_unit_test(angles_are_uniform),
        cmocka_unit_test(a_batch_is_cropped_at_one_place_that_is_uniform),
        cmocka_unit_test(draws_follow_the_sample_and_not_the_batch),
        cmocka_unit_test(seeds_names_and_samples_make_other_draws),
        cmocka_unit_test(steps_are_drawn_one_by_one),
        cmocka_unit_test(nothing_happens_at_inference),
        cmocka_unit_test(resized_integers_stay_integers),
        cmocka_unit_test(the_nearest_pixel_is_exact_for_all_small_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
