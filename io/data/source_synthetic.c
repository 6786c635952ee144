/* io/data/source_synthetic.c: made-up data, for examples, tests and timings. Every value is a function of
 * (seed, record, element), so nothing is stored and any part of it can be made at once.
 *
 *   classification  x = centre of the class + noise * normal; centres have standard normal coordinates
 *   regression      y = sum w_i x_i / sqrt(n) + noise * normal; x and w standard normal
 *   sequence        tokens of 0..classes-1: the next one is (5 t + 3) mod classes, or with probability `noise` any;
 *                   the target is the sequence one token on
 *   images          bytes: a grating whose direction is the class, at a random phase, and noise * 255 of uniform noise */
#include "io/data/source.h"

#include "base/alloc.h"
#include "base/rng.h"

#include <math.h>
#include <string.h>

enum { CLASSIFICATION, REGRESSION, SEQUENCE, IMAGES };
static const char *const task_names[] = {"classification", "regression", "sequence", "images", NULL};
enum { SINE_STEPS = 1024, COUNTED_LABELS = 64 << 20 };

typedef struct synthetic_params {
    int task;
    int64_t samples;
    dlt_ints shape;
    int64_t classes;
    double noise;
    int64_t seed;
} synthetic_params;

static const dlt_field synthetic_fields[] = {
    DLT_ENUM(synthetic_params, task, task_names, classification, "what there is to learn"),
    DLT_INT(synthetic_params, samples, 1, INT64_C(1) << 40, 1000, "how many records"),
    DLT_SHAPE_FIELD(
        synthetic_params, shape, 1, 1 << 24, 4, "null",
        "of a record; default: [16], [8] for regression, [32] for sequence, [28, 28, 1] for images"),
    DLT_INT(synthetic_params, classes, 2, 1 << 16, 10, "classes, or tokens of a sequence"),
    DLT_FLOAT(synthetic_params, noise, 0, 1e6, 0.5, "how much is left to chance"),
    DLT_INT(synthetic_params, seed, 0, INT64_MAX, 0,
            "of the data; the model's own seed does not change them"),
    {0},
};

static void synthetic_check(const dlt_item *item, dlt_diag *diag)
{
    const synthetic_params *p = item->params;
    if (p->task == SEQUENCE && p->shape.count > 1) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "shape"),
                 "Synthetic: the shape of a sequence is one number, its length");
    }
    if (p->task == IMAGES && p->shape.count != 0 && p->shape.count != 3) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "shape"),
                 "Synthetic: the shape of images is [height, width, channels]");
    }
    if ((p->task == SEQUENCE || p->task == IMAGES) && p->noise > 1) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "noise"),
                 "Synthetic: noise is at most 1 for sequence and images");
    }
}

typedef struct synthetic_state {
    dlt_shape shape;
    int64_t elements;
    int64_t next;
    double *table; /* centres, class after class; or weights */
    double sine[SINE_STEPS];
} synthetic_state;

static uint32_t stream(const char *name)
{
    return dlt_fnv1a(name);
}

static int64_t label_of(const synthetic_params *p, int64_t record)
{
    const uint64_t bits = dlt_random_bits((uint64_t)p->seed, stream("synthetic:label"), (uint64_t)record, 0);
    return (int64_t)(bits * (uint64_t)p->classes >> 32);
}

static double noise_of(const synthetic_params *p, int64_t record, int64_t element)
{
    return p->noise * dlt_random_normal((uint64_t)p->seed, stream("synthetic:noise"), (uint64_t)record,
                                        (uint64_t)element);
}

static void make_classification(const synthetic_state *s, const synthetic_params *p, int64_t record, float *x)
{
    const double *centre = s->table + label_of(p, record) * s->elements;
    for (int64_t i = 0; i < s->elements; i++) {
        x[i] = (float)(centre[i] + noise_of(p, record, i));
    }
}

static double input_of(const synthetic_params *p, int64_t record, int64_t i)
{
    return dlt_random_normal((uint64_t)p->seed, stream("synthetic:input"), (uint64_t)record, (uint64_t)i);
}

static float make_regression_target(const synthetic_state *s, const synthetic_params *p, int64_t record)
{
    double sum = 0;
    for (int64_t i = 0; i < s->elements; i++) {
        sum += s->table[i] * (double)(float)input_of(p, record, i);
    }
    return (float)(sum / sqrt((double)s->elements) + noise_of(p, record, 0));
}

/* Tokens first .. first + count - 1 of a sequence. */
static void make_sequence(const synthetic_params *p, int64_t record, int64_t first, int64_t count,
                          int32_t *tokens)
{
    const uint64_t seed = (uint64_t)p->seed, classes = (uint64_t)p->classes;
    const uint32_t values = stream("synthetic:token"), chances = stream("synthetic:chance");
    uint64_t token = 0;
    for (int64_t i = 0; i < first + count; i++) {
        const uint64_t any =
            (uint64_t)dlt_random_bits(seed, values, (uint64_t)record, (uint64_t)i) * classes >> 32;
        const bool chance =
            i == 0 || (double)dlt_random_uniform(seed, chances, (uint64_t)record, (uint64_t)i) < p->noise;
        token = chance ? any : (5 * token + 3) % classes;
        if (i >= first) {
            tokens[i - first] = (int32_t)token;
        }
    }
}

static void make_image(const synthetic_state *s, const synthetic_params *p, int64_t record,
                       unsigned char *image)
{
    const uint64_t seed = (uint64_t)p->seed;
    const double turn = (double)label_of(p, record) / (double)p->classes;
    const double waves = 4.0 * SINE_STEPS; /* across the image */
    const double down = waves * s->sine[(int)(turn * SINE_STEPS / 2)] / (double)s->shape.dim[0];
    const double right = waves * s->sine[((int)(turn * SINE_STEPS / 2) + SINE_STEPS / 4) % SINE_STEPS] /
                         (double)s->shape.dim[1];
    const double phase =
        SINE_STEPS * (double)dlt_random_uniform(seed, stream("synthetic:phase"), (uint64_t)record, 0);
    const uint32_t pixels = stream("synthetic:pixel");
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t bits[4] = {0};
    int64_t element = 0;
    for (int64_t y = 0; y < s->shape.dim[0]; y++) {
        for (int64_t x = 0; x < s->shape.dim[1]; x++) {
            const double at = phase + down * (double)y + right * (double)x + 64.0 * SINE_STEPS;
            const double wave = s->sine[(int64_t)at % SINE_STEPS];
            for (int64_t c = 0; c < s->shape.dim[2]; c++, element++) {
                if (element % 4 == 0) {
                    const uint32_t counter[4] = {(uint32_t)(element / 4), pixels, (uint32_t)record,
                                                 (uint32_t)((uint64_t)record >> 32)};
                    dlt_philox(counter, key, bits);
                }
                const double uniform = (double)dlt_uniform_of(bits[element % 4]) - 0.5;
                const double value = 127.5 + 100.0 * wave + 255.0 * p->noise * uniform;
                image[element] = (unsigned char)(value < 0 ? 0 : value > 255 ? 255 : value);
            }
        }
    }
}

static void make_part(const dlt_source *source, size_t part, int64_t record, void *out)
{
    const synthetic_params *p = source->item->params;
    const synthetic_state *s = source->state;
    const bool features = part == 0;
    if (p->task == SEQUENCE) {
        make_sequence(p, record, features ? 0 : 1, s->elements, out);
    } else if (!features && p->task == REGRESSION) {
        const float target = make_regression_target(s, p, record);
        memcpy(out, &target, sizeof target);
    } else if (!features) {
        const int32_t label = (int32_t)label_of(p, record);
        memcpy(out, &label, sizeof label);
    } else if (p->task == CLASSIFICATION) {
        make_classification(s, p, record, out);
    } else if (p->task == REGRESSION) {
        float *x = out;
        for (int64_t i = 0; i < s->elements; i++) {
            x[i] = (float)input_of(p, record, i);
        }
    } else {
        make_image(s, p, record, out);
    }
}

static dlt_status synthetic_fetch(const dlt_source *source, size_t part, int64_t first, int64_t rows,
                                  void *out, dlt_diag *diag)
{
    (void)diag;
    const size_t bytes = dlt_part_bytes(&source->frame->layout.parts[part]);
    for (int64_t r = 0; r < rows; r++) {
        make_part(source, part, first + r, (char *)out + (size_t)r * bytes);
    }
    return DLT_OK;
}

static dlt_status synthetic_files(dlt_source *source, dlt_diag *diag)
{
    (void)source;
    (void)diag;
    return DLT_OK;
}

static dlt_status synthetic_open(dlt_source *source, dlt_diag *diag)
{
    static const dlt_shape defaults[] = {[CLASSIFICATION] = {1, {16}},
                                         [REGRESSION] = {1, {8}},
                                         [SEQUENCE] = {1, {32}},
                                         [IMAGES] = {3, {28, 28, 1}}};
    const synthetic_params *p = source->item->params;
    const dlt_frame *train = source->options.follow;
    synthetic_state *s = dlt_alloc_zeroed(1, sizeof *s);
    if (s == NULL) {
        return dlt_fail_memory(diag);
    }
    source->state = s;
    s->shape = defaults[p->task];
    if (p->shape.count > 0) {
        s->shape.rank = (int)p->shape.count;
        memcpy(s->shape.dim, p->shape.at, p->shape.count * sizeof *p->shape.at);
    }
    s->elements = dlt_shape_count(&s->shape);
    for (int i = 0; i < SINE_STEPS; i++) {
        s->sine[i] = sin(6.283185307179586476925 * i / SINE_STEPS);
    }
    const bool tokens = p->task == SEQUENCE, bytes = p->task == IMAGES;
    const dlt_part parts[2] = {
        {.name = "features",
         .role = DLT_ROLE_FEATURE,
         .dtype = tokens  ? DLT_I32
                  : bytes ? DLT_U8
                          : DLT_F32,
         .shape = s->shape},
        {.name = "labels",
         .role = DLT_ROLE_TARGET,
         .dtype = p->task == REGRESSION ? DLT_F32 : DLT_I32,
         .shape = tokens ? s->shape : dlt_scalar()},
    };
    const size_t part_count = source->options.predict ? 1 : 2;
    for (size_t i = 0; train != NULL && i < part_count; i++) {
        if (train->layout.count < part_count ||
            !dlt_shape_equal(&train->layout.parts[i].shape, &parts[i].shape) ||
            train->layout.parts[i].dtype != parts[i].dtype) {
            return dlt_fail(diag, DLT_E_DATA, source->item->pos, "task and shape must give what train has");
        }
    }
    DLT_TRY(dlt_frame_create(&(dlt_frame_plan){.count = part_count, .parts = parts}, &source->frame, diag));
    if (!dlt_stats_init(&source->stats, part_count)) {
        return dlt_fail_memory(diag);
    }
    int64_t table = p->task == REGRESSION ? s->elements : 0;
    if (p->task == CLASSIFICATION && !dlt_mul_i64(s->elements, p->classes, &table)) {
        table = INT64_MAX;
    }
    if (table > (64 << 20) / (int64_t)sizeof *s->table) {
        return dlt_fail(diag, DLT_E_DATA, source->item->pos,
                        "shape and classes need more than 64 MiB for what is to be learnt");
    }
    s->table = dlt_alloc_zeroed((size_t)table, sizeof *s->table);
    if (s->table == NULL) {
        return dlt_fail_memory(diag);
    }
    for (int64_t i = 0; i < table; i++) {
        s->table[i] = dlt_random_normal((uint64_t)p->seed, stream("synthetic:table"),
                                        (uint64_t)(i / s->elements), (uint64_t)(i % s->elements));
    }
    source->unit_bytes = source->frame->layout.record_bytes;
    source->stride = source->span = (int64_t)source->unit_bytes;
    source->units = p->samples;
    source->fetch = synthetic_fetch;
    source->stats.records = p->samples;
    source->stats.complete = source->labels_known = true;
    const bool classes = (p->task == CLASSIFICATION || p->task == IMAGES) && part_count == 2;
    for (int64_t r = 0; classes && p->samples <= COUNTED_LABELS && r < p->samples; r++) {
        const double label = (double)label_of(p, r);
        dlt_part_stats_number(&source->stats.part[1], label);
        if (!dlt_stats_class(&source->stats, label, r)) {
            return dlt_fail_memory(diag);
        }
    }
    return DLT_OK;
}

static dlt_status synthetic_next(dlt_source *source, int64_t most, unsigned char *units, int64_t *got,
                                 dlt_diag *diag)
{
    enum { AT_ONCE = 256 };
    const synthetic_params *p = source->item->params;
    synthetic_state *s = source->state;
    const dlt_record_layout *layout = &source->frame->layout;
    const int64_t left = p->samples - s->next;
    *got = left < most ? left : most;
    if (units == NULL) {
        s->next = p->samples;
        *got = left;
        return DLT_OK;
    }
    *got = *got < AT_ONCE ? *got : AT_ONCE;
    if (dlt_source_stopped(source)) {
        return dlt_source_stop(source, diag);
    }
    memset(units, 0, (size_t)*got * source->unit_bytes);
    for (int64_t r = 0; r < *got; r++) {
        for (size_t i = 0; i < layout->count; i++) {
            make_part(source, i, s->next + r, units + (size_t)r * source->unit_bytes + layout->offsets[i]);
        }
    }
    s->next += *got;
    return DLT_OK;
}

static void synthetic_close(dlt_source *source)
{
    synthetic_state *s = source->state;
    if (s != NULL) {
        dlt_free(s->table);
        dlt_free(s);
        source->state = NULL;
    }
}

const dlt_source_desc dlt_source_synthetic = {
    .kind = {.name = "Synthetic",
             .doc = "made-up data for examples and timings",
             .size = sizeof(synthetic_params),
             .fields = synthetic_fields,
             .check = synthetic_check},
    .files = synthetic_files,
    .open = synthetic_open,
    .next = synthetic_next,
    .close = synthetic_close,
};
