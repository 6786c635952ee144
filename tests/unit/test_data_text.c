/* tests/unit/test_data_text.c: windows over a text, and made-up data. */
#include "support/support.h"

#include "base/rng.h"
#include "io/data/signature.h"
#include "support/data_support.h"

#include <math.h>
#include <string.h>

#define SOURCES &dlt_source_category

static void refuses(data_fixture *f, const dlt_item *item, const char *message)
{
    assert_null(data_open(f, item, DLT_DEPTH_LOAD));
    assert_string_equal(data_message(f, 0), message);
    data_forget(f);
}

/* A window as text, by the part's dictionary. */
static const char *window(data_fixture *f, const dlt_dataset *ds, size_t part, int64_t record)
{
    const dlt_part *p = &dlt_dataset_frame(ds)->layout.parts[part];
    const size_t elements = (size_t)dlt_shape_count(&p->shape);
    const unsigned char *codes =
        (const unsigned char *)data_part(f, ds, part) + (size_t)record * dlt_part_bytes(p);
    dlt_buf out = {0};
    for (size_t i = 0; i < elements; i++) {
        int32_t code = codes[i];
        if (p->dtype == DLT_I32) {
            memcpy(&code, codes + 4 * i, sizeof code);
        }
        dlt_buf_string(&out, p->dictionary->at[code]);
    }
    const char *kept = dlt_arena_string(f->arena, dlt_buf_text(&out));
    dlt_buf_release(&out);
    return kept;
}

static void windows_lie_side_by_side_and_the_target_is_one_on(void **state)
{
    data_fixture *f = *state;
    const char *path = data_text(f, "t.txt", "hello, world");
    dlt_dataset *ds = data_open(f, data_item(f, SOURCES, "Text", "path", path, "sequence_length", "4", NULL),
                                DLT_DEPTH_LOAD);
    assert_non_null(ds);
    assert_int_equal(dlt_dataset_count(ds),
                     2); /* 12 characters: the third window's target would need a 13th */
    assert_string_equal(window(f, ds, 0, 0), "hell");
    assert_string_equal(window(f, ds, 1, 0), "ello");
    assert_string_equal(window(f, ds, 0, 1), "o, w");
    assert_string_equal(window(f, ds, 1, 1), ", wo");
    const dlt_dictionary *characters = dlt_dataset_frame(ds)->layout.parts[0].dictionary;
    assert_int_equal(characters->count, 9);
    assert_string_equal(characters->at[0], " "); /* sorted(set(text)) */
    assert_string_equal(characters->at[8], "w");
    dlt_dataset_close(ds);
    ds = data_open(
        f, data_item(f, SOURCES, "Text", "path", path, "sequence_length", "4", "target", "last", NULL),
        DLT_DEPTH_LOAD);
    assert_non_null(ds);
    assert_int_equal(dlt_dataset_count(ds), 8); /* windows one apart */
    assert_string_equal(window(f, ds, 0, 7), "worl");
    assert_string_equal(window(f, ds, 1, 7), "d");
    assert_int_equal(dlt_dataset_frame(ds)->layout.parts[1].shape.rank, 0);
    dlt_dataset_close(ds);
    ds =
        data_open(f, data_item(f, SOURCES, "Text", "path", path, "sequence_length", "3", "stride", "5", NULL),
                  DLT_DEPTH_LOAD);
    assert_int_equal(dlt_dataset_count(ds), 2);
    assert_string_equal(window(f, ds, 0, 1), ", w");
    dlt_dataset_close(ds);
}

static void characters_are_code_points(void **state)
{
    data_fixture *f = *state;
    data_text(f, "1.txt",
              "\xef\xbb\xbf"
              "a\xc3\xa4\xe2\x82\xac");
    data_text(f, "2.txt",
              "\xf0\x9f\x98\x80"
              "b");
    dlt_dataset *ds = data_open(
        f, data_item(f, SOURCES, "Text", "path", data_path(f, "*.txt"), "sequence_length", "4", NULL),
        DLT_DEPTH_LOAD);
    assert_non_null(ds);
    assert_int_equal(dlt_dataset_count(ds), 1);
    assert_string_equal(window(f, ds, 0, 0), "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    assert_string_equal(window(f, ds, 1, 0), "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"
                                             "b");
    dlt_dataset_close(ds);
    refuses(f,
            data_item(f, SOURCES, "Text", "path",
                      data_text(f, "bad",
                                "ab\n\xc3\xa4"
                                "c\xff"
                                "d"),
                      "sequence_length", "2", NULL),
            "bad:2:3: byte 0xff is no UTF-8");
    refuses(f,
            data_item(f, SOURCES, "Text", "path", data_text(f, "cut", "ab\n\xe2\x82"), "sequence_length", "2",
                      NULL),
            "cut:2:1: the text ends in the middle of a UTF-8 character");
    refuses(
        f,
        data_item(f, SOURCES, "Text", "path", data_file(f, "nul", "ab\0c", 4), "sequence_length", "2", NULL),
        "nul:1:3: the text has a NUL character");
    refuses(f,
            data_item(f, SOURCES, "Text", "path", data_text(f, "few", "abc"), "sequence_length", "3", NULL),
            "model.yaml:1:1: the text has 3 characters; sequence_length 3 needs at least 4");
}

static void more_than_256_characters_need_wide_codes(void **state)
{
    data_fixture *f = *state;
    dlt_buf text = {0};
    for (uint32_t point = 0x4e00; point < 0x4e00 + 300; point++) {
        dlt_buf_char(&text, (char)(0xe0 | point >> 12));
        dlt_buf_char(&text, (char)(0x80 | (point >> 6 & 0x3f)));
        dlt_buf_char(&text, (char)(0x80 | (point & 0x3f)));
    }
    dlt_dataset *ds = data_open(
        f, data_item(f, SOURCES, "Text", "path", data_text(f, "t", text.data), "sequence_length", "7", NULL),
        DLT_DEPTH_LOAD);
    assert_non_null(ds);
    assert_int_equal(dlt_dataset_frame(ds)->layout.parts[0].dtype, DLT_I32);
    assert_int_equal(dlt_dataset_count(ds), 42);
    assert_memory_equal(window(f, ds, 0, 41), text.data + 41 * 7 * 3, 21);
    assert_memory_equal(window(f, ds, 1, 41), text.data + 41 * 7 * 3 + 3, 21);
    dlt_dataset_close(ds);
    dlt_buf_release(&text);
}

static void a_test_text_has_trains_characters(void **state)
{
    data_fixture *f = *state;
    const char *path = data_text(f, "t.txt", "abcabc");
    dlt_dataset *train = data_open(
        f, data_item(f, SOURCES, "Text", "path", path, "sequence_length", "2", NULL), DLT_DEPTH_LOAD);
    const dlt_dataset_options follow = {.follow = dlt_dataset_frame(train), .memory = 1 << 20, .threads = 1};
    dlt_dataset *test = data_open_with(
        f, data_item(f, SOURCES, "Text", "path", data_text(f, "u.txt", "cab"), "sequence_length", "2", NULL),
        DLT_DEPTH_LOAD, follow);
    assert_non_null(test);
    assert_string_equal(window(f, test, 1, 0), "ab");
    dlt_dataset_close(test);
    assert_null(data_open_with(
        f,
        data_item(f, SOURCES, "Text", "path", data_text(f, "u.txt", "ca\nbd"), "sequence_length", "2", NULL),
        DLT_DEPTH_LOAD, follow));
    assert_string_equal(data_message(f, 0),
                        "u.txt:1:3: the character '\\x0a' (U+000A) does not occur in train");
    data_forget(f);
    assert_null(data_open_with(f, data_item(f, SOURCES, "Text", "path", path, "sequence_length", "3", NULL),
                               DLT_DEPTH_LOAD, follow));
    assert_string_equal(data_message(f, 0),
                        "model.yaml:1:1: sequence_length and target must be those of train");
    data_forget(f);
    dlt_dataset_close(train);
}

static void windows_come_from_a_cache_file_too(void **state)
{
    data_fixture *f = *state;
    dlt_buf text = {0};
    for (uint64_t i = 0; i < 30000; i++) {
        dlt_buf_char(&text, (char)('a' + dlt_random_bits(1, 1, i, 0) % 26));
    }
    const dlt_item *item = data_item(f, SOURCES, "Text", "path", data_text(f, "t.txt", text.data),
                                     "sequence_length", "50", "stride", "7", NULL);
    dlt_dataset *memory = data_open(f, item, DLT_DEPTH_LOAD);
    dlt_dataset *cache =
        data_open_with(f, item, DLT_DEPTH_LOAD, (dlt_dataset_options){.memory = 100, .threads = 1});
    assert_non_null(memory);
    assert_non_null(cache);
    assert_true(dlt_text_starts(dlt_dataset_place(cache), "cache file "));
    assert_int_equal(dlt_dataset_count(cache), dlt_dataset_count(memory));
    assert_string_equal(data_digest(f, cache), data_digest(f, memory));
    dlt_dataset_close(memory);
    dlt_dataset_close(cache);
    dlt_buf_release(&text);
}

/* ---- Synthetic ---- */

static void made_up_data_are_a_function_of_seed_and_record(void **state)
{
    data_fixture *f = *state;
    static const char *const tasks[] = {"classification", "regression", "sequence", "images"};
    for (size_t i = 0; i < DLT_COUNT(tasks); i++) {
        const dlt_item *item = data_item(f, SOURCES, "Synthetic", "task", tasks[i], "samples", "300", NULL);
        dlt_dataset *memory = data_open(f, item, DLT_DEPTH_LOAD);
        dlt_dataset *demand =
            data_open_with(f, item, DLT_DEPTH_LOAD, (dlt_dataset_options){.memory = 10, .threads = 1});
        dlt_dataset *other = data_open(
            f, data_item(f, SOURCES, "Synthetic", "task", tasks[i], "samples", "300", "seed", "1", NULL),
            DLT_DEPTH_LOAD);
        assert_string_equal(dlt_dataset_place(memory), "memory");
        assert_string_equal(dlt_dataset_place(demand), "made as needed");
        assert_string_equal(data_digest(f, memory), data_digest(f, demand));
        assert_string_not_equal(data_digest(f, memory), data_digest(f, other));
        assert_string_not_equal(dlt_dataset_digest(memory), dlt_dataset_digest(other));
        dlt_dataset_close(memory);
        dlt_dataset_close(demand);
        dlt_dataset_close(other);
    }
}

static void made_up_classes_can_be_told_apart(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = data_open(
        f, data_item(f, SOURCES, "Synthetic", "samples", "400", "classes", "3", "noise", "0.3", NULL),
        DLT_DEPTH_LOAD);
    const float *x = data_part(f, ds, 0);
    const int32_t *y = data_part(f, ds, 1);
    assert_int_equal(dlt_dataset_stats(ds)->classes.count, 3);
    double centre[3][16] = {{0}};
    int count[3] = {0};
    for (int r = 0; r < 200; r++) {
        count[y[r]]++;
        for (int i = 0; i < 16; i++) {
            centre[y[r]][i] += (double)x[r * 16 + i];
        }
    }
    int right = 0;
    for (int r = 200; r < 400; r++) {
        int best = 0;
        double least = 1e30;
        for (int c = 0; c < 3; c++) {
            double distance = 0;
            for (int i = 0; i < 16; i++) {
                const double d = (double)x[r * 16 + i] - centre[c][i] / count[c];
                distance += d * d;
            }
            if (distance < least) {
                least = distance;
                best = c;
            }
        }
        right += best == y[r];
    }
    assert_true(right > 190);
    dlt_dataset_close(ds);
    /* without noise a sequence follows its rule */
    ds = data_open(f,
                   data_item(f, SOURCES, "Synthetic", "task", "sequence", "samples", "5", "classes", "7",
                             "noise", "0", NULL),
                   DLT_DEPTH_LOAD);
    const int32_t *tokens = data_part(f, ds, 0), *next = data_part(f, ds, 1);
    for (int i = 0; i < 5 * 32; i++) {
        assert_int_equal(next[i], (5 * tokens[i] + 3) % 7);
    }
    dlt_dataset_close(ds);
    /* and a regression its plane */
    ds = data_open(f,
                   data_item(f, SOURCES, "Synthetic", "task", "regression", "samples", "2", "shape", "[1]",
                             "noise", "0", NULL),
                   DLT_DEPTH_LOAD);
    const float *in = data_part(f, ds, 0), *out = data_part(f, ds, 1);
    assert_true(fabsf(out[0] / in[0] - out[1] / in[1]) < 1e-5f);
    dlt_dataset_close(ds);
}

static void impossible_shapes_are_refused(void **state)
{
    data_fixture *f = *state;
    const dlt_item *item =
        data_item(f, SOURCES, "Synthetic", "task", "images", "shape", "[28, 28]", "noise", "2", NULL);
    item->kind->check(item, f->diag);
    assert_int_equal(dlt_diag_size(f->diag), 2);
    assert_string_equal(data_message(f, 0),
                        "model.yaml:4:5: Synthetic: the shape of images is [height, width, channels]");
    assert_string_equal(data_message(f, 1),
                        "model.yaml:6:5: Synthetic: noise is at most 1 for sequence and images");
    data_forget(f);
    refuses(f, data_item(f, SOURCES, "Synthetic", "shape", "[16777216, 16777216, 16777216]", NULL),
            "a record has 1 byte to 1 GiB; this one is empty or larger");
    refuses(f, data_item(f, SOURCES, "Synthetic", "shape", "[1000, 1000]", "classes", "100", NULL),
            "model.yaml:1:1: shape and classes need more than 64 MiB for what is to be learnt");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, data_setup, data_teardown)
    const struct CMUnitTest tests[] = {
        TEST(windows_lie_side_by_side_and_the_target_is_one_on),
        TEST(characters_are_code_points),
        TEST(more_than_256_characters_need_wide_codes),
        TEST(a_test_text_has_trains_characters),
        TEST(windows_come_from_a_cache_file_too),
        TEST(made_up_data_are_a_function_of_seed_and_record),
        TEST(made_up_classes_can_be_told_apart),
        TEST(impossible_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
