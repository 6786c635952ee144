/* tests/unit/test_data_sets.c: data sets as people have them: excerpts that come along, and the whole ones
 * where $DLTRAIN_DATA says they are. */
#include "support/support.h"

#include "base/alloc.h"
#include "io/data/datasets.h"
#include "io/data/stream.h"
#include "support/data_support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SOURCES &dlt_source_category
#define VALIDATION &dlt_validation_category

/* A file of the excerpts, or of the whole sets. */
static const char *set_file(data_fixture *f, const char *excerpt, const char *whole, bool full)
{
    return full ? data_full(f, whole)
                : dlt_arena_printf(f->arena, "%s/tests/data/sets/%s", DLT_SOURCE_DIR, excerpt);
}

/* Excerpts, then the whole sets if there are any. */
static int rounds(void)
{
    return getenv("DLTRAIN_DATA") != NULL ? 2 : 1;
}

static dlt_datasets *load(data_fixture *f, const dlt_item *train, const dlt_item *validation,
                          const dlt_item *test)
{
    const dlt_data_spec spec = {
        .train = train, .validation = validation, .test = test, .cache = data_path(f, "cache")};
    dlt_datasets *data = NULL;
    if (dlt_datasets_open(&spec, &(dlt_datasets_options){.depth = DLT_DEPTH_LOAD, .seed = 1, .threads = 2},
                          &data, f->diag) != DLT_OK) {
        print_error("%s\n", data_message(f, 0));
    }
    assert_non_null(data);
    return data;
}

static const char *shown(data_fixture *f, const dlt_datasets *data)
{
    dlt_buf text = {0};
    dlt_signature_text(dlt_datasets_signature(data), &text);
    const char *kept = dlt_arena_string(f->arena, dlt_buf_text(&text));
    dlt_buf_release(&text);
    return kept;
}

static int part_of(const dlt_datasets *data, const char *name)
{
    const dlt_record_layout *layout = dlt_datasets_signature(data)->layout;
    for (size_t i = 0; i < layout->count; i++) {
        if (strcmp(layout->parts[i].name, name) == 0) {
            return (int)i;
        }
    }
    fail_msg("no part '%s'", name);
    return 0;
}

static void mnist(void **state)
{
    data_fixture *f = *state;
    for (int full = 0; full < rounds(); full++) {
        const dlt_item *train = data_item(
            f, SOURCES, "IDX", "features",
            set_file(f, "mnist/train-images-100.gz", "mnist/train-images-idx3-ubyte.gz", full), "labels",
            set_file(f, "mnist/train-labels-100.gz", "mnist/train-labels-idx1-ubyte.gz", full), NULL);
        const dlt_item *test = data_item(
            f, SOURCES, "IDX", "features",
            set_file(f, "mnist/t10k-images-50.gz", "mnist/t10k-images-idx3-ubyte.gz", full), "labels",
            set_file(f, "mnist/t10k-labels-50.gz", "mnist/t10k-labels-idx1-ubyte.gz", full), NULL);
        dlt_datasets *data = load(f, train, data_item(f, VALIDATION, "split", "fraction", "0.1", NULL), test);
        assert_string_equal(shown(f, data),
                            full ? "mnist  54,000 train  6,000 validation  10,000 test   28x28x1, 10 classes"
                                 : "mnist  90 train  10 validation  50 test   28x28x1, 10 classes");
        const dlt_view *view = dlt_datasets_view(data, DLT_TRAIN);
        const unsigned char *labels = data_part(f, view->dataset, 1);
        static const unsigned char first[] = {5, 0, 4, 1, 9, 2, 1, 3, 1, 4};
        assert_memory_equal(labels, first, sizeof first);
        if (full) {
            static const int64_t counts[] = {5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949};
            assert_memory_equal(dlt_dataset_stats(view->dataset)->classes.records, counts, sizeof counts);
        }
        dlt_datasets_close(data);
    }
}

static void housing(void **state)
{
    data_fixture *f = *state;
    for (int full = 0; full < rounds(); full++) {
        dlt_datasets *data =
            load(f,
                 data_item(f, SOURCES, "CSV", "path",
                           set_file(f, "housing/housing-405.csv", "tabular/housing.csv", full), "target",
                           "median_house_value", NULL),
                 NULL, NULL);
        const dlt_signature *s = dlt_datasets_signature(data);
        assert_string_equal(shown(f, data),
                            full ? "housing  20,640 train   9 columns (1 text), median_house_value"
                                 : "housing-405  405 train   9 columns (1 text), median_house_value");
        assert_int_equal(s->stats->part[part_of(data, "total_bedrooms")].missing, full ? 207 : 6);
        assert_int_equal(s->target, DLT_TARGET_NUMBER);
        for (size_t i = 0; i < s->layout->count; i++) {
            assert_int_equal(s->layout->parts[i].may_be_missing,
                             i == (size_t)part_of(data, "total_bedrooms"));
        }
        const dlt_part *ocean = &s->layout->parts[part_of(data, "ocean_proximity")];
        assert_string_equal(ocean->dictionary->at[0], "NEAR BAY");
        assert_int_equal(ocean->dictionary->count, full ? 5 : 4);
        assert_int_equal(ocean->type, DLT_COLUMN_TEXT);
        const double *longitude = data_part(f, dlt_datasets_view(data, DLT_TRAIN)->dataset, 0);
        assert_true(longitude[0] == -122.23);
        dlt_datasets_close(data);
    }
}

static void adult(void **state)
{
    data_fixture *f = *state;
    for (int full = 0; full < rounds(); full++) {
        const char *train = set_file(f, "adult/adult-train-300.csv", "tabular/adult-train.csv", full);
        const char *test = set_file(f, "adult/adult-test-150.csv", "tabular/adult-test.csv", full);
        const dlt_item *train_item =
            data_item(f, SOURCES, "CSV", "path", train, "target", "-1", "missing", "['?']", NULL);
        dlt_datasets *data =
            load(f, train_item,
                 data_item(f, VALIDATION, "split", "fraction", "0.15", "shuffle", "true", "stratify", "true",
                           NULL),
                 data_item(f, SOURCES, "CSV", "path", test, "target", "-1", "missing", "['?']", "label_map",
                           "{'>50K.': '>50K', '<=50K.': '<=50K'}", NULL));
        const dlt_signature *s = dlt_datasets_signature(data);
        assert_string_equal(
            shown(f, data),
            full ? "adult-train  27,676 train  4,885 validation  16,281 test   14 columns (8 text), 2 classes"
                 : "adult-train-300  255 train  45 validation  150 test   14 columns (8 text), 2 classes");
        assert_string_equal(s->class_names[0], "<=50K");
        assert_string_equal(s->class_names[1], ">50K");
        if (full) {
            assert_int_equal(s->stats->part[1].missing, 1836); /* workclass */
            assert_int_equal(s->sets[DLT_TRAIN].class_counts[1] + s->sets[DLT_VALIDATION].class_counts[1],
                             7841);
            assert_int_equal(s->sets[DLT_TEST].class_counts[1], 3846);
        }
        dlt_datasets_close(data);
        /* without the map, each label of test is an error, at the first row that has it */
        const dlt_data_spec spec = {.train = train_item,
                                    .test = data_item(f, SOURCES, "CSV", "path", test, "target", "-1", NULL),
                                    .cache = data_path(f, "cache")};
        data = NULL;
        assert_int_equal(dlt_datasets_open(&spec,
                                           &(dlt_datasets_options){.depth = DLT_DEPTH_LOAD, .threads = 2},
                                           &data, f->diag),
                         DLT_E_DATA);
        assert_int_equal(dlt_diag_size(f->diag), 3);
        assert_non_null(strstr(data_message(f, 0),
                               ":1:114: label '<=50K.' is not one of the 2 classes of train (<=50K, >50K)"));
        assert_non_null(strstr(data_message(f, 1), "label '>50K.' is not one of"));
        assert_string_equal(data_message(f, 2),
                            full ? "and 16,279 more errors in the data" : "and 148 more errors in the data");
        data_forget(f);
    }
}

static void iris(void **state)
{
    data_fixture *f = *state;
    for (int full = 0; full < rounds(); full++) {
        dlt_datasets *data = load(
            f,
            data_item(f, SOURCES, "CSV", "path", set_file(f, "iris/iris.csv", "tabular/iris.csv", full),
                      "target", "-1", NULL),
            data_item(f, VALIDATION, "split", "fraction", "0.2", "shuffle", "true", "stratify", "true", NULL),
            NULL);
        const dlt_signature *s = dlt_datasets_signature(data);
        assert_string_equal(shown(f, data), "iris  120 train  30 validation   4 columns, 3 classes");
        for (int c = 0; c < 3; c++) {
            assert_int_equal(s->sets[DLT_TRAIN].class_counts[c], 40);
        }
        assert_string_equal(s->class_names[2], "Iris-virginica"); /* the last line has no line feed */
        dlt_datasets_close(data);
    }
}

static void daily_temperatures(void **state)
{
    data_fixture *f = *state;
    for (int full = 0; full < rounds(); full++) {
        const char *path = set_file(f, "temperatures/daily-min-temperatures-1000.csv",
                                    "timeseries/daily-min-temperatures.csv", full);
        dlt_datasets *data =
            load(f, data_item(f, SOURCES, "CSV", "path", path, "target", "Temp", NULL), NULL, NULL);
        const dlt_signature *s = dlt_datasets_signature(data);
        assert_int_equal(s->sets[DLT_TRAIN].count, full ? 3650 : 1000);
        assert_int_equal(s->layout->parts[0].type, DLT_COLUMN_TEXT);
        assert_string_equal(s->layout->parts[0].dictionary->at[0], "1981-01-01");
        const double *temperature = data_part(f, dlt_datasets_view(data, DLT_TRAIN)->dataset, 1);
        assert_true(temperature[0] == 20.7);
        dlt_datasets_close(data);
    }
}

static void shakespeare(void **state)
{
    data_fixture *f = *state;
    for (int full = 0; full < rounds(); full++) {
        const char *path =
            set_file(f, "shakespeare/tinyshakespeare-40000.txt", "text/tinyshakespeare.txt", full);
        dlt_datasets *data =
            load(f, data_item(f, SOURCES, "Text", "path", path, "sequence_length", "100", NULL),
                 data_item(f, VALIDATION, "split", "fraction", "0.1", NULL), NULL);
        const dlt_signature *s = dlt_datasets_signature(data);
        assert_string_equal(shown(f, data),
                            full ? "tinyshakespeare  10,037 train  1,116 validation   100, 65 characters"
                                 : "tinyshakespeare-40000  359 train  40 validation   100, 58 characters");
        const unsigned char *codes = data_part(f, dlt_datasets_view(data, DLT_TRAIN)->dataset, 0);
        assert_string_equal(s->class_names[codes[0]], "F");
        assert_string_equal(s->class_names[codes[1]], "i");
        dlt_datasets_close(data);
    }
}

static void digits(void **state)
{
    data_fixture *f = *state;
    dlt_datasets *data = load(
        f,
        data_item(f, SOURCES, "CSV", "path", dlt_test_path("configs/data/digits.csv.gz"), "header", "false",
                  "target", "-1", NULL),
        data_item(f, VALIDATION, "split", "fraction", "0.2", "shuffle", "true", "stratify", "true", NULL),
        NULL);
    assert_string_equal(shown(f, data), "digits  1,437 train  360 validation   64 columns, 10 classes");
    assert_int_equal(dlt_diag_size(f->diag), 0);
    dlt_datasets_close(data);
}

/* ---- MD5 (RFC 1321), for the sums that are published with MNIST ---- */

typedef struct md5 {
    uint32_t state[4];
    uint64_t bytes;
    unsigned char block[64];
} md5;

static void md5_block(md5 *m)
{
    static const unsigned char turns[4][4] = {
        {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    uint32_t a = m->state[0], b = m->state[1], c = m->state[2], d = m->state[3];
    for (unsigned i = 0; i < 64; i++) {
        const uint32_t constant = (uint32_t)(int64_t)floor(fabs(sin((double)i + 1)) * 4294967296.0);
        uint32_t mix, which;
        if (i < 16) {
            mix = (b & c) | (~b & d);
            which = i;
        } else if (i < 32) {
            mix = (d & b) | (~d & c);
            which = (5 * i + 1) % 16;
        } else if (i < 48) {
            mix = b ^ c ^ d;
            which = (3 * i + 5) % 16;
        } else {
            mix = c ^ (b | ~d);
            which = 7 * i % 16;
        }
        const unsigned char *w = m->block + 4 * which;
        const uint32_t word =
            (uint32_t)w[0] | (uint32_t)w[1] << 8 | (uint32_t)w[2] << 16 | (uint32_t)w[3] << 24;
        const uint32_t sum = a + mix + constant + word, turn = turns[i / 16][i % 4];
        a = d;
        d = c;
        c = b;
        b += sum << turn | sum >> (32 - turn);
    }
    m->state[0] += a;
    m->state[1] += b;
    m->state[2] += c;
    m->state[3] += d;
}

static void md5_add(md5 *m, const unsigned char *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        m->block[m->bytes++ % 64] = data[i];
        if (m->bytes % 64 == 0) {
            md5_block(m);
        }
    }
}

static const char *md5_text(data_fixture *f, md5 *m)
{
    const uint64_t bits = m->bytes * 8;
    char *text = dlt_arena_alloc(f->arena, 33, 1);
    md5_add(m, (const unsigned char *)"\x80", 1);
    while (m->bytes % 64 != 56) {
        md5_add(m, (const unsigned char *)"", 1);
    }
    for (int i = 0; i < 8; i++) {
        const unsigned char byte = (unsigned char)(bits >> (8 * i));
        md5_add(m, &byte, 1);
    }
    for (int i = 0; i < 16; i++) {
        const unsigned byte = m->state[i / 4] >> (8 * (i % 4)) & 0xff;
        text[2 * i] = "0123456789abcdef"[byte >> 4];
        text[2 * i + 1] = "0123456789abcdef"[byte & 15];
    }
    return text;
}

static void mnist_has_its_published_sums(void **state)
{
    data_fixture *f = *state;
    static const struct {
        const char *file, *sum;
    } files[] = {{"mnist/train-images-idx3-ubyte.gz", "6bbc9ace898e44ae57da46a324031adb"},
                 {"mnist/train-labels-idx1-ubyte.gz", "a25bea736e30d166cdddb491f175f624"},
                 {"mnist/t10k-images-idx3-ubyte.gz", "2646ac647ad5339dbf082846283269ea"},
                 {"mnist/t10k-labels-idx1-ubyte.gz", "27ae3e4e09519cfbb04c329615203637"}};
    if (getenv("DLTRAIN_DATA") == NULL) {
        skip(); /* the whole files are not here */
    }
    unsigned char *piece = dlt_alloc(1 << 20);
    for (size_t i = 0; i < DLT_COUNT(files); i++) {
        dlt_stream *stream = NULL;
        md5 sum = {.state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}};
        assert_int_equal(dlt_stream_open(data_full(f, files[i].file), (dlt_pos){0}, NULL, &stream, f->diag),
                         DLT_OK);
        for (size_t got = 1; got > 0;) {
            assert_int_equal(dlt_stream_fill(stream, piece, 1 << 20, &got, f->diag), DLT_OK);
            md5_add(&sum, piece, got);
        }
        assert_string_equal(md5_text(f, &sum), files[i].sum);
        dlt_stream_close(stream);
    }
    dlt_free(piece);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, data_setup, data_teardown)
    const struct CMUnitTest tests[] = {
        TEST(mnist),
        TEST(housing),
        TEST(adult),
        TEST(iris),
        TEST(daily_temperatures),
        TEST(shakespeare),
        TEST(digits),
        TEST(mnist_has_its_published_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
