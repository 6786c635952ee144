/* tests/unit/test_data_view.c: splits, signature, class weights, raw rows for prediction. */
#include "support/support.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "io/data/convert.h"
#include "io/data/datasets.h"
#include "io/data/encode.h"
#include "io/data/rows.h"
#include "support/data_support.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SOURCES &dlt_source_category
#define VALIDATION &dlt_validation_category

/* A table with `count` records of `classes` classes, unevenly many of each, mixed. */
static dlt_dataset *table(data_fixture *f, int64_t count, uint32_t classes)
{
    dlt_buf text = {0};
    dlt_buf_string(&text, "x,y\n");
    for (int64_t i = 0; i < count; i++) {
        const uint32_t r = dlt_random_bits(4, 4, (uint64_t)i, 0) % (classes * (classes + 1) / 2);
        uint32_t label = 0;
        for (uint32_t left = r; left > label; label++) {
            left -= label + 1;
        }
        dlt_buf_printf(&text, "%lld,c%u\n", (long long)i, label);
    }
    dlt_dataset *ds = data_open(
        f, data_item(f, SOURCES, "CSV", "path", data_text(f, "a.csv", text.data), "target", "y", NULL),
        DLT_DEPTH_LOAD);
    dlt_buf_release(&text);
    assert_non_null(ds);
    return ds;
}

/* Marks the rows of a view; each once. */
static void mark(const dlt_view *view, unsigned char *seen)
{
    int64_t last = -1;
    for (int64_t i = 0; i < view->count; i++) {
        const int64_t row = dlt_view_row(view, i);
        assert_true(row > last); /* views keep the order of the file */
        assert_int_equal(seen[row]++, 0);
        last = row;
    }
}

static void a_plain_split_takes_the_last_rows_as_keras(void **state)
{
    data_fixture *f = *state;
    static const struct {
        int64_t rows;
        double fraction;
        int64_t train;
    } splits[] = {{60000, 0.1, 54000}, {10, 0.25, 7},    {150, 0.2, 120},
                  {3, 0.5, 1},         {1000, 0.3, 700}, {7, 0.1, 6}};
    for (size_t i = 0; i < DLT_COUNT(splits);
         i++) { /* int(math.floor(n * (1.0 - f))) in Python gives the same */
        assert_int_equal(dlt_split_count(splits[i].rows, splits[i].fraction), splits[i].train);
    }
    dlt_dataset *ds = table(f, 150, 3);
    dlt_split *split = NULL;
    assert_int_equal(
        dlt_split_create(ds, &(dlt_split_params){.fraction = 0.2}, 1, (dlt_pos){0}, NULL, &split, f->diag),
        DLT_OK);
    assert_int_equal(split->train.count, 120);
    assert_int_equal(dlt_view_row(&split->train, 0), 0);
    assert_int_equal(dlt_view_row(&split->validation, 0), 120);
    assert_int_equal(dlt_view_row(&split->validation, 29), 149);
    dlt_split_destroy(split);
    assert_int_equal(dlt_split_create(ds, &(dlt_split_params){.fraction = 0.999}, 1,
                                      (dlt_pos){"m.yaml", 3, 4, 1}, NULL, &split, f->diag),
                     DLT_E_DATA);
    assert_string_equal(data_message(f, 0), "m.yaml:3:4: split 0.999 of 150 records leaves train empty");
    data_forget(f);
    dlt_dataset_close(ds);
}

static void shuffled_and_stratified_splits_are_partitions(void **state)
{
    data_fixture *f = *state;
    static const int64_t counts[] = {2, 63, 64, 65, 511, 512, 513, 5000};
    for (size_t k = 0; k < DLT_COUNT(counts); k++) {
        dlt_dataset *ds = table(f, counts[k], 4);
        for (int how = 0; how < 3; how++) {
            const dlt_split_params params = {.fraction = 0.3, .shuffle = how != 1, .stratify = how != 0};
            dlt_split *a = NULL, *b = NULL, *other = NULL;
            assert_int_equal(dlt_split_create(ds, &params, 1, (dlt_pos){0}, NULL, &a, f->diag), DLT_OK);
            assert_int_equal(dlt_split_create(ds, &params, 1, (dlt_pos){0}, NULL, &b, f->diag), DLT_OK);
            assert_int_equal(dlt_split_create(ds, &params, 2, (dlt_pos){0}, NULL, &other, f->diag), DLT_OK);
            unsigned char *seen = dlt_alloc_zeroed((size_t)counts[k], 1);
            assert_int_equal(a->train.count, dlt_split_count(counts[k], 0.3));
            assert_int_equal(a->train.count + a->validation.count, counts[k]);
            mark(&a->train, seen);
            mark(&a->validation, seen);
            int64_t same = 0;
            for (int64_t i = 0; i < a->validation.count; i++) {
                assert_int_equal(dlt_view_row(&a->validation, i), dlt_view_row(&b->validation, i));
                same += dlt_view_row(&a->validation, i) == dlt_view_row(&other->validation, i);
            }
            assert_true(counts[k] < 500 || !params.shuffle ||
                        same < a->validation.count / 2); /* another seed, other rows */
            dlt_free(seen);
            dlt_split_destroy(a);
            dlt_split_destroy(b);
            dlt_split_destroy(other);
        }
        dlt_dataset_close(ds);
    }
}

static void stratify_keeps_the_share_of_each_class(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = table(f, 5000, 4);
    dlt_split *split = NULL;
    int64_t train[4], validation[4];
    assert_int_equal(dlt_split_create(ds,
                                      &(dlt_split_params){.fraction = 0.2, .shuffle = true, .stratify = true},
                                      3, (dlt_pos){0}, NULL, &split, f->diag),
                     DLT_OK);
    assert_int_equal(dlt_view_classes(&split->train, train, 4, NULL, f->diag), DLT_OK);
    assert_int_equal(dlt_view_classes(&split->validation, validation, 4, NULL, f->diag), DLT_OK);
    for (int c = 0; c < 4; c++) {
        const int64_t all = dlt_dataset_stats(ds)->classes.records[c];
        assert_int_equal(train[c] + validation[c], all);
        assert_true(fabs((double)validation[c] - 0.2 * (double)all) < 1.0);
    }
    dlt_split_destroy(split);
    dlt_dataset_close(ds);
    ds = data_open(f,
                   data_item(f, SOURCES, "CSV", "path", data_text(f, "b.csv", "x,y\n1,0.5\n2,-3\n3,1\n"),
                             "target", "y", NULL),
                   DLT_DEPTH_LOAD);
    assert_int_equal(dlt_split_create(ds, &(dlt_split_params){.fraction = 0.4, .stratify = true}, 3,
                                      (dlt_pos){"m.yaml", 1, 2, 1}, NULL, &split, f->diag),
                     DLT_E_DATA);
    assert_string_equal(data_message(f, 0),
                        "m.yaml:1:2: stratify needs classes, but the target of record 2 is no class number");
    data_forget(f);
    dlt_dataset_close(ds);
}

/* ---- signature ---- */

static dlt_datasets *open_spec(data_fixture *f, const dlt_data_spec *spec, dlt_depth depth)
{
    dlt_datasets *data = NULL;
    dlt_data_spec with_cache = *spec;
    with_cache.cache = data_path(f, "cache");
    const dlt_status status = dlt_datasets_open(
        &with_cache, &(dlt_datasets_options){.depth = depth, .seed = 1, .threads = 1}, &data, f->diag);
    assert_int_equal(status == DLT_OK, data != NULL);
    return data;
}

static const char *text_of(data_fixture *f, const dlt_datasets *data)
{
    dlt_buf text = {0};
    dlt_signature_text(dlt_datasets_signature(data), &text);
    const char *kept = dlt_arena_string(f->arena, dlt_buf_text(&text));
    dlt_buf_release(&text);
    return kept;
}

static void the_signature_says_what_there_is(void **state)
{
    data_fixture *f = *state;
    dlt_buf rows = {0};
    dlt_buf_string(&rows, "size,colour,kind\n");
    for (int i = 0; i < 200; i++) {
        dlt_buf_printf(&rows, "%s,%s,%s\n",
                       i == 3       ? ""
                       : i % 2 == 0 ? "1.5"
                                    : "2",
                       i % 3 == 0 ? "red" : "blue", i % 4 == 0 ? "cat" : "dog");
    }
    const char *train = data_text(f, "pets.csv", rows.data);
    const char *test = data_text(f, "t.csv", "size,colour,kind\n1,green,cat\n2,red,dog\n");
    const dlt_data_spec spec = {.train = data_item(f, SOURCES, "CSV", "path", train, "target", "kind", NULL),
                                .validation = data_item(f, VALIDATION, "split", "fraction", "0.25", NULL),
                                .test = data_item(f, SOURCES, "CSV", "path", test, "target", "kind", NULL)};
    for (int depth = DLT_DEPTH_PROBE; depth <= DLT_DEPTH_LOAD; depth++) {
        dlt_datasets *data = open_spec(f, &spec, (dlt_depth)depth);
        assert_non_null(data);
        assert_string_equal(text_of(f, data),
                            "pets  150 train  50 validation  2 test   2 columns (1 text), 2 classes");
        const dlt_signature *s = dlt_datasets_signature(data);
        assert_true(s->exact);
        assert_int_equal(s->target, DLT_TARGET_CLASS);
        assert_string_equal(s->class_names[0], "cat");
        assert_int_equal(dlt_datasets_view(data, DLT_TRAIN) != NULL, depth == DLT_DEPTH_LOAD);
        if (depth == DLT_DEPTH_LOAD) {
            assert_int_equal(s->sets[DLT_TRAIN].class_counts[0], 38);
            assert_int_equal(s->sets[DLT_VALIDATION].class_counts[0], 12);
            assert_int_equal(s->sets[DLT_TEST].class_counts[1], 1);
            dlt_buf table_text = {0};
            dlt_signature_columns(s, &table_text);
            assert_string_equal(table_text.data, "column  role    type        missing   distinct  range\n"
                                                 "size    input   number            1          2  1.5 .. 2\n"
                                                 "colour  input   text              0          2\n"
                                                 "kind    target  text              0          2\n");
            dlt_buf_release(&table_text);
        }
        char digest[DLT_DATA_DIGEST];
        dlt_signature_digest(s, digest);
        assert_int_equal(strlen(digest), depth == DLT_DEPTH_LOAD ? 129 : 64);
        dlt_datasets_close(data);
    }
    dlt_buf_release(&rows);
}

static void what_a_probe_cannot_know_is_a_question_mark(void **state)
{
    data_fixture *f = *state;
    dlt_buf text = {0};
    for (int i = 0; i < 200000; i++) {
        dlt_buf_printf(&text, "%d,%d\n", i, i % 3);
    }
    const dlt_data_spec spec = {
        .train = data_item(f, SOURCES, "CSV", "path", data_text(f, "a.csv", text.data), "target", "-1", NULL),
        .validation = data_item(f, VALIDATION, "split", "fraction", "0.25", NULL)};
    dlt_datasets *data = open_spec(f, &spec, DLT_DEPTH_PROBE);
    assert_string_equal(text_of(f, data), "a  ? train  ? validation   1 column, 3 classes");
    assert_false(dlt_datasets_signature(data)->exact);
    dlt_datasets_close(data);
    data = open_spec(f, &spec, DLT_DEPTH_SCAN);
    assert_string_equal(text_of(f, data), "a  150,000 train  50,000 validation   1 column, 3 classes");
    dlt_datasets_close(data);
    dlt_buf_release(&text);
}

static void mistakes_of_all_sets_are_reported(void **state)
{
    data_fixture *f = *state;
    const char *train = data_text(f, "a.csv", "x,y\n1,a\n2,b\n");
    const dlt_data_spec spec = {
        .train = data_item(f, SOURCES, "CSV", "path", train, "target", "y", NULL),
        .validation =
            data_item(f, VALIDATION, "CSV", "path", data_text(f, "v.csv", "x,y\n1,c\n"), "target", "y", NULL),
        .test = data_item(f, SOURCES, "CSV", "path", data_path(f, "none.csv"), "target", "y", NULL)};
    assert_null(open_spec(f, &spec, DLT_DEPTH_LOAD));
    assert_int_equal(dlt_diag_size(f->diag), 2);
    assert_string_equal(data_message(f, 0),
                        "v.csv:2:3: label 'c' is not one of the 2 classes of train (a, b); if it is another word for "
                        "one of them, label_map says which");
    assert_string_equal(data_message(f, 1),
                        "model.yaml:2:5: cannot open 'none.csv': No such file or directory");
    data_forget(f);
    assert_null(open_spec(f, &(dlt_data_spec){.test = spec.train}, DLT_DEPTH_LOAD));
    assert_string_equal(data_message(f, 0),
                        "model.yaml:1:1: test needs train, whose columns and classes it follows");
    data_forget(f);
    assert_null(open_spec(f, &(dlt_data_spec){0}, DLT_DEPTH_LOAD));
    assert_string_equal(data_message(f, 0), "the model file names no data: data.train is missing");
    data_forget(f);
}

static void missing_classes_are_warned_about_by_name(void **state)
{
    data_fixture *f = *state;
    dlt_buf text = {0};
    dlt_buf_string(&text, "x,y\n");
    for (int i = 0; i < 40; i++) {
        dlt_buf_printf(&text, "%d,%s\n", i, i < 20 ? "setosa" : i < 30 ? "versicolor" : "virginica");
    }
    const char *path = data_text(f, "a.csv", text.data);
    const dlt_data_spec spec = {.train = data_item(f, SOURCES, "CSV", "path", path, "target", "y", NULL),
                                .validation = data_item(f, VALIDATION, "split", "fraction", "0.25", NULL)};
    dlt_datasets *data = open_spec(f, &spec, DLT_DEPTH_LOAD);
    assert_non_null(data);
    assert_int_equal(dlt_diag_count(f->diag, DLT_ERROR), 0);
    assert_string_equal(data_message(f, 0),
                        "model.yaml:1:1: class 'setosa' is missing from validation (20 records in train)");
    assert_string_equal(
        data_message(f, 1),
        "model.yaml:1:1: class 'versicolor' is missing from validation (10 records in train)");
    assert_string_equal(data_message(f, 2),
                        "model.yaml:1:1: class 'virginica' is missing from train (10 records in validation)");
    data_forget(f);
    dlt_datasets_close(data);
    dlt_buf_release(&text);
}

/* ---- classes ---- */

static void labels_are_checked_with_their_records(void **state)
{
    data_fixture *f = *state;
    static const struct {
        const char *rows;
        int64_t units;
        const char *message;
    } cases[] = {
        {"5,0\n5,1\n5,2\n", 0, NULL},
        {"5,0\n5,1\n5,2\n", 3, NULL},
        {"5,0\n5,2\n", 3,
         NULL}, /* a class that does not occur is no mistake where the units say how many there are */
        {"5,0\n5,2\n", 0,
         "m.yaml:9:1: no record has the label 1, but record 2 has 2; labels count from 0 and leave none out"},
        {"5,1\n5,2\n", 0,
         "m.yaml:9:1: no record has the label 0, but record 1 has 1; labels count from 0 and leave none out "
         "(subtract the lowest, or declare the column text)"},
        {"5,0\n5,7\n5,3\n", 3, "m.yaml:9:1: record 3 has the label 3; 3 outputs take labels 0..2"},
        {"5,0\n5,-1\n5,-2\n", 0,
         "m.yaml:9:1: record 2 has the label -1; class labels are integers from 0 (declare types: {NAME: "
         "text} to use the values of the column as names)"},
        {"5,0\n5,1\n5,0.5\n", 0,
         "m.yaml:9:1: record 3 has the label 0.5; class labels are integers from 0 (declare types: {NAME: "
         "text} to use the values of the column as names)"},
    };
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        const dlt_data_spec spec = {.train = data_item(f, SOURCES, "CSV", "path",
                                                       data_text(f, "a.csv", cases[i].rows), "target", "-1",
                                                       NULL)};
        dlt_datasets *data = open_spec(f, &spec, DLT_DEPTH_LOAD);
        const dlt_status status = dlt_signature_classes(dlt_datasets_signature(data), cases[i].units,
                                                        (dlt_pos){"m.yaml", 9, 1, 1}, f->diag);
        assert_int_equal(status, cases[i].message != NULL ? DLT_E_DATA : DLT_OK);
        if (cases[i].message != NULL) {
            assert_string_equal(data_message(f, 0), cases[i].message);
        }
        data_forget(f);
        dlt_datasets_close(data);
    }
}

static void labels_of_test_are_checked_against_train(void **state)
{
    data_fixture *f = *state;
    const dlt_pos at = {"m.yaml", 9, 1, 1};
    const dlt_data_spec spec = {
        .train = data_item(f, SOURCES, "CSV", "path", data_text(f, "a.csv", "5,0\n5,1\n5,2\n"), "target",
                           "-1", NULL),
        .test =
            data_item(f, SOURCES, "CSV", "path", data_text(f, "t.csv", "5,2\n5,3\n"), "target", "-1", NULL)};
    dlt_datasets *data = open_spec(f, &spec, DLT_DEPTH_LOAD);
    assert_non_null(data);
    assert_int_equal(dlt_datasets_signature(data)->class_count, 3);
    assert_int_equal(dlt_datasets_frame(data)->class_count, 3);
    assert_int_equal(dlt_signature_classes(dlt_datasets_signature(data), 0, at, f->diag), DLT_E_DATA);
    assert_string_equal(data_message(f, 0),
                        "m.yaml:9:1: record 2 of test has the label 3; 3 classes of train are labels 0..2");
    data_forget(f);
    assert_int_equal(dlt_signature_classes(dlt_datasets_signature(data), 4, at, f->diag), DLT_OK);
    /* a set that follows a saved frame has its classes, however few of them occur */
    const dlt_data_spec alone = {.test = spec.test, .cache = data_path(f, "cache")};
    dlt_datasets *test = NULL;
    assert_int_equal(dlt_datasets_open(&alone,
                                       &(dlt_datasets_options){.depth = DLT_DEPTH_LOAD,
                                                               .threads = 1,
                                                               .follow = dlt_datasets_frame(data)},
                                       &test, f->diag),
                     DLT_OK);
    assert_int_equal(dlt_datasets_signature(test)->target, DLT_TARGET_CLASS);
    assert_int_equal(dlt_datasets_signature(test)->class_count, 3);
    assert_string_equal(text_of(f, test), "t  2 test   1 column, 3 classes");
    dlt_datasets_close(test);
    dlt_datasets_close(data);
}

static void integer_columns_with_gaps_are_numbers(void **state)
{
    data_fixture *f = *state;
    const dlt_data_spec spec = {.train = data_item(f, SOURCES, "CSV", "path",
                                                   data_text(f, "a.csv", "s,price\n1,200\n2,300\n3,450\n"),
                                                   "target", "price", NULL)};
    dlt_datasets *data = open_spec(f, &spec, DLT_DEPTH_LOAD);
    assert_int_equal(dlt_datasets_signature(data)->target, DLT_TARGET_NUMBER);
    assert_string_equal(text_of(f, data), "a  3 train   1 column, price");
    dlt_datasets_close(data);
}

static void class_weights_are_by_name_number_or_balance(void **state)
{
    data_fixture *f = *state;
    dlt_buf text = {0};
    dlt_buf_string(&text, "x,y\n");
    for (int i = 0; i < 100; i++) {
        dlt_buf_printf(&text, "%d,%s\n", i, i % 10 == 0 ? "rare" : i % 2 == 0 ? "often" : "most");
    }
    const dlt_data_spec spec = {
        .train = data_item(f, SOURCES, "CSV", "path", data_text(f, "a.csv", text.data), "target", "y", NULL)};
    dlt_datasets *data = open_spec(f, &spec, DLT_DEPTH_LOAD);
    const dlt_signature *s = dlt_datasets_signature(data);
    float *weights = NULL;
    int64_t count = 0;
    /* most 50, often 40, rare 10: n / (classes * count) */
    assert_int_equal(dlt_class_weights(s, &(dlt_float_map){.word = "balanced"}, (dlt_pos){0}, f->arena,
                                       &weights, &count, f->diag),
                     DLT_OK);
    assert_int_equal(count, 3);
    assert_true(weights[0] == (float)(100.0 / 150) && weights[1] == (float)(100.0 / 120) &&
                weights[2] == (float)(100.0 / 30));
    static const char *const names[] = {"rare", "0"};
    static const double values[] = {5, 0.5};
    assert_int_equal(dlt_class_weights(s, &(dlt_float_map){NULL, 2, names, values}, (dlt_pos){0}, f->arena,
                                       &weights, &count, f->diag),
                     DLT_OK);
    assert_true(weights[0] == 0.5f && weights[1] == 1.0f && weights[2] == 5.0f);
    static const char *const wrong[] = {"rarr", "3"};
    assert_int_equal(dlt_class_weights(s, &(dlt_float_map){NULL, 2, wrong, values},
                                       (dlt_pos){"m.yaml", 5, 6, 1}, f->arena, &weights, &count, f->diag),
                     DLT_E_CONFIG);
    assert_string_equal(data_message(f, 0),
                        "m.yaml:5:6: class_weight: 'rarr' is no class of the data; did you mean 'rare'?");
    assert_string_equal(data_message(f, 1), "m.yaml:5:6: class_weight: '3' is no class of the data");
    data_forget(f);
    dlt_datasets_close(data);
    dlt_buf_release(&text);
}

/* ---- conversion and the plain encoder ---- */

static void conversions_are_exact_or_refused(void **state)
{
    data_fixture *f = *state;
    (void)f;
    for (uint32_t bits = 0; bits < 0x10000; bits++) { /* every half and bfloat is a float and comes back */
        const float half = dlt_f16_to_float((uint16_t)bits), brain = dlt_bf16_to_float((uint16_t)bits);
        if (!isnan(half)) {
            assert_int_equal(dlt_float_to_f16(half), bits);
        }
        if (!isnan(brain)) {
            assert_int_equal(dlt_float_to_bf16(brain), bits);
        }
    }
    assert_int_equal(dlt_float_to_f16(1.0f + 0x1p-11f), 0x3c00); /* a tie, to even */
    assert_int_equal(dlt_float_to_f16(1.0f + 3 * 0x1p-11f), 0x3c02);
    assert_int_equal(dlt_float_to_f16(65519.0f), 0x7bff);
    assert_int_equal(dlt_float_to_f16(65520.0f), 0x7c00);
    assert_int_equal(dlt_float_to_f16(0x1p-25f), 0);
    assert_int_equal(dlt_float_to_f16(0x1.8p-25f), 1);
    assert_int_equal(dlt_float_to_bf16(1.0f + 0x1p-8f), 0x3f80);
    assert_int_equal(dlt_float_to_bf16(1.0f + 3 * 0x1p-8f), 0x3f82);
    const double reals[] = {0, -1, 255, 3, 1e300};
    unsigned char bytes[5];
    float singles[5];
    assert_int_equal(dlt_convert(DLT_F64, reals, DLT_U8, bytes, 5), 1);
    assert_int_equal(dlt_convert(DLT_F64, reals + 2, DLT_U8, bytes, 2), 2);
    assert_true(bytes[0] == 255 && bytes[1] == 3);
    assert_int_equal(dlt_convert(DLT_F64, reals, DLT_F32, singles, 5), 4);
    assert_true(singles[1] == -1.0f);
    const int64_t integers[] = {-129, 127, INT64_MAX};
    int8_t small[3];
    assert_int_equal(dlt_convert(DLT_I64, integers, DLT_I8, small, 3), 0);
    assert_int_equal(dlt_convert(DLT_I64, integers + 1, DLT_I8, small, 2), 1);
    const double fraction = 0.5, nan = (double)NAN;
    int32_t integer;
    assert_int_equal(dlt_convert(DLT_F64, &fraction, DLT_I32, &integer, 1), 0);
    assert_int_equal(dlt_convert(DLT_F64, &nan, DLT_I32, &integer, 1), 0);
}

static void the_plain_encoder_joins_columns(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds =
        data_open(f,
                  data_item(f, SOURCES, "CSV", "path",
                            data_text(f, "a.csv", "a,t,b,y\n1,x,0.5,dog\n2,z,-1,cat\n"), "target", "y", NULL),
                  DLT_DEPTH_LOAD);
    const dlt_record_layout *layout = &dlt_dataset_frame(ds)->layout;
    static const size_t numbers[] = {2, 0}, target[] = {3}, text[] = {1};
    const dlt_plain_output outputs[] = {{2, numbers, DLT_F32}, {1, target, DLT_I32}};
    const dlt_plain_encoder encoder = {2, outputs, {.file = "a.csv"}};
    void *columns[4];
    for (size_t i = 0; i < 4; i++) {
        columns[i] = data_part(f, ds, i);
    }
    const int64_t row_numbers[] = {0, 1};
    float x[4];
    int32_t y[2];
    void *out[] = {x, y};
    const dlt_table rows = {layout, 2, columns, row_numbers};
    assert_int_equal(dlt_plain_output_elements(&outputs[0], layout), 2);
    assert_int_equal(dlt_encode_plain_check(&encoder, layout, (dlt_pos){0}, f->diag), DLT_OK);
    assert_int_equal(dlt_encode_plain(&encoder, &rows, out, f->diag), DLT_OK);
    assert_true(x[0] == 0.5f && x[1] == 1 && x[2] == -1 && x[3] == 2 && y[0] == 1 && y[1] == 0);
    const dlt_plain_output bad[] = {{1, text, DLT_F32}};
    assert_int_equal(
        dlt_encode_plain_check(&(dlt_plain_encoder){1, bad, {0}}, layout, (dlt_pos){"m.yaml", 2, 1, 1}, f->diag),
        DLT_E_DATA);
    assert_string_equal(
        data_message(f, 0),
        "m.yaml:2:1: column 't' is text; put FeatureSpace first, or leave it out with columns");
    data_forget(f);
    ((double *)columns[0])[1] = (double)NAN;
    assert_int_equal(dlt_encode_plain(&encoder, &rows, out, f->diag), DLT_E_DATA);
    assert_string_equal(data_message(f, 0), "a.csv: record 2: no value of 'a'");
    data_forget(f);
    ((double *)columns[0])[1] = 1e39;
    assert_int_equal(dlt_encode_plain(&encoder, &rows, out, f->diag), DLT_E_DATA);
    assert_string_equal(data_message(f, 0), "a.csv: record 2: a value beyond float32 of 'a'");
    data_forget(f);
    dlt_dataset_close(ds);
}

/* ---- raw rows ---- */

static void prediction_takes_rows_with_and_without_targets(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *named =
        data_open(f,
                  data_item(f, SOURCES, "CSV", "path",
                            data_text(f, "a.csv", "a,y,b\n1,cat,red\n2,dog,blue\n"), "target", "y", NULL),
                  DLT_DEPTH_LOAD);
    dlt_dataset *plain =
        data_open(f,
                  data_item(f, SOURCES, "CSV", "path", data_text(f, "p.csv", "1,cat,red\n2,dog,blue\n"),
                            "target", "1", NULL),
                  DLT_DEPTH_LOAD);
    static const struct {
        bool named;
        const char *text;
    } files[] = {
        {true, "a,y,b\n5,cow,red\n6,,green\n"}, /* a target that is there is not looked at */
        {true, "b,a\nred,5\ngreen,6\n"},        {true, "5,red\n6,green\n"}, /* rows without a header */
        {false, "5,?,red\n6,?,green\n"},        {false, "5,red\n6,green"},
    };
    for (size_t i = 0; i < DLT_COUNT(files); i++) {
        const dlt_frame *frame = dlt_dataset_frame(files[i].named ? named : plain);
        dlt_rows *rows = NULL;
        dlt_table table_rows;
        assert_int_equal(
            dlt_rows_open(data_text(f, "r.csv", files[i].text), frame, NULL, 10, NULL, &rows, f->diag),
            DLT_OK);
        assert_int_equal(dlt_rows_layout(rows)->count, 2);
        assert_int_equal(dlt_rows_next(rows, &table_rows, f->diag), DLT_OK);
        assert_int_equal(table_rows.rows, 2);
        assert_true(((const double *)table_rows.columns[0])[0] == 5 &&
                    ((const double *)table_rows.columns[0])[1] == 6);
        assert_int_equal(((const int32_t *)table_rows.columns[1])[0], 0);
        assert_int_equal(((const int32_t *)table_rows.columns[1])[1], DLT_CODE_UNSEEN);
        assert_int_equal(table_rows.row_numbers[1], 1);
        assert_int_equal(dlt_rows_next(rows, &table_rows, f->diag), DLT_OK);
        assert_int_equal(table_rows.rows, 0);
        dlt_rows_close(rows);
    }
    dlt_rows *rows = NULL;
    assert_int_equal(dlt_rows_open(data_text(f, "r.csv", "1,2,3,4\n"), dlt_dataset_frame(plain), NULL, 10,
                                   NULL, &rows, f->diag),
                     DLT_E_DATA);
    assert_string_equal(data_message(f, 0), "r.csv:1:1: found 4 columns, expected 3 as in train");
    data_forget(f);
    /* a bad row ends it, after those before */
    dlt_table table_rows;
    assert_int_equal(dlt_rows_open(data_text(f, "r.csv", "a,b\n1,red\nx,red\n"), dlt_dataset_frame(named),
                                   NULL, 1, NULL, &rows, f->diag),
                     DLT_OK);
    assert_int_equal(dlt_rows_next(rows, &table_rows, f->diag), DLT_E_DATA);
    assert_string_equal(data_message(f, 0), "r.csv:3:1: column 'a': 'x' is not a number");
    data_forget(f);
    dlt_rows_close(rows);
    dlt_dataset_close(named);
    dlt_dataset_close(plain);
}

static void prediction_reads_standard_input_as_it_comes(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = data_open(
        f,
        data_item(f, SOURCES, "CSV", "path", data_text(f, "a.csv", "1,2,a\n3,4,b\n"), "target", "-1", NULL),
        DLT_DEPTH_LOAD);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const int kept = dup(STDIN_FILENO);
    assert_true(dup2(ends[0], STDIN_FILENO) >= 0);
    close(ends[0]);
    dlt_rows *rows = NULL;
    dlt_table table_rows;
    assert_int_equal(write(ends[1], "5,6\n7,", 6), 6);
    assert_int_equal(dlt_rows_open("-", dlt_dataset_frame(ds), NULL, 100, NULL, &rows, f->diag), DLT_OK);
    assert_int_equal(dlt_rows_next(rows, &table_rows, f->diag), DLT_OK);
    assert_int_equal(table_rows.rows, 1); /* the row that is whole, without waiting for the next */
    assert_true(((const double *)table_rows.columns[1])[0] == 6);
    assert_int_equal(write(ends[1], "8\n9,10", 6), 6);
    assert_int_equal(dlt_rows_next(rows, &table_rows, f->diag), DLT_OK);
    assert_int_equal(table_rows.rows, 1);
    assert_true(((const double *)table_rows.columns[0])[0] == 7);
    close(ends[1]);
    assert_int_equal(dlt_rows_next(rows, &table_rows, f->diag), DLT_OK);
    assert_int_equal(table_rows.rows, 1);
    assert_true(((const double *)table_rows.columns[1])[0] == 10);
    assert_int_equal(table_rows.row_numbers[0], 2);
    assert_int_equal(dlt_rows_next(rows, &table_rows, f->diag), DLT_OK);
    assert_int_equal(table_rows.rows, 0);
    dlt_rows_close(rows);
    assert_true(dup2(kept, STDIN_FILENO) >= 0);
    close(kept);
    dlt_dataset_close(ds);
}

static void prediction_takes_arrays_and_texts(void **state)
{
    data_fixture *f = *state;
    const float x[6] = {1, 2, 3, 4, 5, 6};
    const int64_t y[3] = {0, 1, 0};
    const char *path = data_npy(f, "x.npy", "<f4", false, "(3, 2)", x, sizeof x);
    dlt_dataset *ds = data_open(f,
                                data_item(f, SOURCES, "NPY", "features", path, "labels",
                                          data_npy(f, "y.npy", "<i8", false, "(3,)", y, sizeof y), NULL),
                                DLT_DEPTH_LOAD);
    dlt_rows *rows = NULL;
    dlt_table table_rows;
    assert_int_equal(dlt_rows_open(path, dlt_dataset_frame(ds), NULL, 2, NULL, &rows, f->diag), DLT_OK);
    assert_int_equal(dlt_rows_next(rows, &table_rows, f->diag), DLT_OK);
    assert_int_equal(table_rows.rows, 2);
    assert_memory_equal(table_rows.columns[0], x, 16);
    assert_int_equal(dlt_rows_next(rows, &table_rows, f->diag), DLT_OK);
    assert_int_equal(table_rows.rows, 1);
    assert_int_equal(table_rows.row_numbers[0], 2);
    assert_int_equal(dlt_rows_next(rows, &table_rows, f->diag), DLT_OK);
    assert_int_equal(table_rows.rows, 0);
    dlt_rows_close(rows);
    assert_int_equal(
        dlt_rows_open(data_text(f, "t.csv", "1,2\n"), dlt_dataset_frame(ds), NULL, 2, NULL, &rows, f->diag),
        DLT_E_DATA);
    assert_string_equal(
        data_message(f, 0),
        "'t.csv' is no NPY, NPZ, HDF5 or IDX file; the model takes arrays, not tables or text");
    data_forget(f);
    dlt_dataset_close(ds);
    const dlt_item *text = data_item(f, SOURCES, "Text", "path", data_text(f, "t.txt", "abcdefgh"),
                                     "sequence_length", "3", "stride", "2", NULL);
    ds = data_open(f, text, DLT_DEPTH_LOAD);
    assert_int_equal(dlt_rows_open(data_text(f, "u.txt", "hgfedcba"), dlt_dataset_frame(ds), text, 2, NULL,
                                   &rows, f->diag),
                     DLT_OK);
    static const char windows[] = "\7\6\5\5\4\3\3\2\1";
    int64_t seen = 0;
    for (;;) { /* one or two at a time, as they come */
        assert_int_equal(dlt_rows_next(rows, &table_rows, f->diag), DLT_OK);
        if (table_rows.rows == 0) {
            break;
        }
        assert_memory_equal(table_rows.columns[0], windows + 3 * seen, 3 * (size_t)table_rows.rows);
        seen += table_rows.rows;
    }
    assert_int_equal(seen, 3);
    dlt_rows_close(rows);
    dlt_dataset_close(ds);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, data_setup, data_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_plain_split_takes_the_last_rows_as_keras),
        TEST(shuffled_and_stratified_splits_are_partitions),
        TEST(stratify_keeps_the_share_of_each_class),
        TEST(the_signature_says_what_there_is),
        TEST(what_a_probe_cannot_know_is_a_question_mark),
        TEST(mistakes_of_all_sets_are_reported),
        TEST(missing_classes_are_warned_about_by_name),
        TEST(labels_are_checked_with_their_records),
        TEST(labels_of_test_are_checked_against_train),
        TEST(integer_columns_with_gaps_are_numbers),
        TEST(class_weights_are_by_name_number_or_balance),
        TEST(conversions_are_exact_or_refused),
        TEST(the_plain_encoder_joins_columns),
        TEST(prediction_takes_rows_with_and_without_targets),
        TEST(prediction_reads_standard_input_as_it_comes),
        TEST(prediction_takes_arrays_and_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
