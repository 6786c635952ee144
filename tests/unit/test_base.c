/* tests/unit/test_base.c: diag, text, numbers, random numbers, digests, JSON. */
#include "support/support.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/diag.h"
#include "base/json.h"
#include "base/kind.h"
#include "base/num.h"
#include "base/rng.h"
#include "base/sha256.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void messages_are_sorted_by_place_and_repetitions_dropped(void **state)
{
    (void)state;
    dlt_diag *d = dlt_diag_create();
    assert_non_null(d);
    assert_int_equal(dlt_fail(d, DLT_E_CONFIG, (dlt_pos){"m.yaml", 9, 2, 1}, "nine %d", 9), DLT_E_CONFIG);
    dlt_fail(d, DLT_E_DATA, (dlt_pos){"m.yaml", 2, 7, 1}, "two");
    dlt_fail(d, DLT_E_DATA, (dlt_pos){"m.yaml", 2, 7, 1}, "two");
    dlt_fail(d, DLT_E_DATA, (dlt_pos){0}, "nowhere");
    dlt_warn(d, (dlt_pos){"m.yaml", 2, 1, 1}, "first");
    dlt_diag_sort(d);
    assert_int_equal(dlt_diag_size(d), 4);
    assert_string_equal(dlt_diag_text(d, 0), "m.yaml:2:1: first");
    assert_string_equal(dlt_diag_text(d, 1), "m.yaml:2:7: two");
    assert_string_equal(dlt_diag_text(d, 2), "m.yaml:9:2: nine 9");
    assert_string_equal(dlt_diag_text(d, 3), "nowhere");
    assert_int_equal(dlt_diag_count(d, DLT_ERROR), 3);
    assert_int_equal(dlt_diag_status(d), DLT_E_DATA);
    dlt_diag_destroy(d);
}

static void control_bytes_in_messages_are_escaped(void **state)
{
    (void)state;
    dlt_diag *d = dlt_diag_create();
    dlt_fail(d, DLT_E_DATA, (dlt_pos){0}, "found '%s'", "a\033[31m\n\xff\xc2\x9b\xc3\xa9");
    assert_string_equal(dlt_diag_text(d, 0), "found 'a\\x1b[31m\\x0a\\xff\\xc2\\x9b\xc3\xa9'");
    dlt_diag_destroy(d);
}

static void a_refused_allocation_leaves_a_message(void **state)
{
    (void)state;
    dlt_diag *d = dlt_diag_create();
    const uint64_t before = dlt_alloc_fail_at(1, true);
    assert_int_equal(dlt_fail(d, DLT_E_DATA, (dlt_pos){0}, "this needs memory"), DLT_E_MEMORY);
    assert_true(dlt_alloc_fail_at(0, false) > before);
    assert_string_equal(dlt_diag_text(d, 0), "out of memory");
    assert_int_equal(dlt_diag_status(d), DLT_E_MEMORY);
    dlt_diag_destroy(d);
}

static void out_of_memory_is_said_once_though_it_is_passed_on(void **state)
{
    (void)state;
    dlt_diag *d = dlt_diag_create();
    assert_int_equal(dlt_fail(d, DLT_E_MEMORY, (dlt_pos){0}, "%s", "out of memory"), DLT_E_MEMORY);
    assert_int_equal(dlt_fail_memory(d), DLT_E_MEMORY);
    assert_int_equal(dlt_diag_count(d, DLT_ERROR), 1);
    dlt_diag_destroy(d);
}

static void source_lines_are_found(void **state)
{
    (void)state;
    dlt_diag *d = dlt_diag_create();
    const char *text = "one\r\ntwo\n\nfour";
    dlt_diag_add_source(d, "m.yaml", text, strlen(text));
    size_t length = 0;
    const char *line = dlt_diag_source_line(d, "m.yaml", 1, &length);
    assert_int_equal(length, 3);
    assert_memory_equal(line, "one", 3);
    assert_non_null(dlt_diag_source_line(d, "m.yaml", 3, &length));
    assert_int_equal(length, 0);
    line = dlt_diag_source_line(d, "m.yaml", 4, &length);
    assert_memory_equal(line, "four", length);
    assert_null(dlt_diag_source_line(d, "m.yaml", 5, &length));
    dlt_diag_destroy(d);
}

static void numbers_are_read_whole_or_not_at_all(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        double value;
    } doubles[] = {{"1e-3", true, 1e-3},      {"0.1", true, 0.1},     {".5", true, 0.5},       {"5.", true, 5},
                   {"-2.5E+2", true, -250},   {"1e400", false, 0},    {"1e", false, 0},        {"", false, 0},
                   {".", false, 0},           {"+", false, 0},        {"1.2.3", false, 0},     {"0x10", false, 0},
                   {"1e-400", true, 0},       {" 1", false, 0},       {"1_000", false, 0},     {"nan", false, 0},
                   {"9007199254740993", true, 9007199254740992.0},    {"4.9e-324", true, 4.9e-324},
                   {"1.7976931348623157e308", true, 1.7976931348623157e308}};
    for (size_t i = 0; i < DLT_COUNT(doubles); i++) {
        double v = 0;
        assert_int_equal(dlt_parse_double(doubles[i].text, strlen(doubles[i].text), &v), doubles[i].good);
        if (doubles[i].good) {
            assert_true(v == doubles[i].value);
        }
    }
    int64_t n = 0;
    assert_true(dlt_parse_i64("-9223372036854775808", 20, &n) && n == INT64_MIN);
    assert_false(dlt_parse_i64("9223372036854775808", 19, &n));
    assert_true(dlt_parse_i64("010", 3, &n) && n == 10);
    assert_true(dlt_parse_i64("0x1F", 4, &n) && n == 31);
    assert_true(dlt_parse_i64("0o17", 4, &n) && n == 15);
    assert_false(dlt_parse_i64("0o18", 4, &n) || dlt_parse_i64("1.0", 3, &n) || dlt_parse_i64("-", 1, &n));
}

static void the_fast_path_of_numbers_is_exact(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        char text[64];
        const uint32_t a = dlt_random_bits(1, 2, i, 0), b = dlt_random_bits(1, 2, i, 1);
        snprintf(text, sizeof text, "%u.%ue%d", a % 100000, b >> (a % 28), (int)(b % 50) - 25);
        double v = 0;
        assert_true(dlt_parse_double(text, strlen(text), &v));
        assert_true(v == strtod(text, NULL));
    }
}

static void long_numbers_are_rounded_correctly(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 40000; i++) {
        char text[64];
        const uint64_t digits = (uint64_t)dlt_random_bits(3, 4, i, 0) << 32 | dlt_random_bits(3, 4, i, 1);
        const uint64_t fewer = digits >> (dlt_random_bits(3, 4, i, 2) % 60);
        snprintf(text, sizeof text, "%llue%d", (unsigned long long)(fewer % 10000000000000000000u),
                 (int)(dlt_random_bits(3, 4, i, 3) % 60) - 30);
        double v = 0;
        assert_true(dlt_parse_double(text, strlen(text), &v));
        assert_true(v == strtod(text, NULL));
    }
    static const char *const ties[] = {/* halfway between neighbours, and just beside */
        "9007199254740993", "9007199254740995", "9007199254740993.0", "900719925474099.35", "9007199254740992500e-3",
        "4503599627370496.5", "4503599627370497.5", "450359962737049650e-2", "4503599627370496.501", "1e23", "8.5e22",
        "0.500000000000000166", "9223372036854775807e-19", "18014398509481985", "18014398509481986e0"};
    for (size_t i = 0; i < DLT_COUNT(ties); i++) {
        double v = 0;
        assert_true(dlt_parse_double(ties[i], strlen(ties[i]), &v));
        assert_true(v == strtod(ties[i], NULL));
    }
}

static void shortest_forms_read_back(void **state)
{
    (void)state;
    char text[40];
    dlt_format_double(0.1, text, sizeof text);
    assert_string_equal(text, "0.1");
    dlt_format_float(0.1f, text, sizeof text);
    assert_string_equal(text, "0.1");
    dlt_format_double(-(double)NAN, text, sizeof text);
    assert_string_equal(text, "nan");
    dlt_format_count(-1234567, text, sizeof text);
    assert_string_equal(text, "-1,234,567");
    dlt_format_bytes(14889779, text, sizeof text);
    assert_string_equal(text, "14.2 MiB");
    dlt_format_bytes(1048575, text, sizeof text);
    assert_string_equal(text, "1.0 MiB");
}

static void names_near_a_typo_are_found(void **state)
{
    (void)state;
    static const char *const names[] = {"filters", "kernel_size", "strides", "padding", "units"};
    assert_int_equal(dlt_nearest("kernal_size", names, DLT_COUNT(names)), 1);
    assert_int_equal(dlt_nearest("pading", names, DLT_COUNT(names)), 3);
    assert_int_equal(dlt_nearest("Units", names, DLT_COUNT(names)), 4);
    assert_int_equal(dlt_nearest("zzz", names, DLT_COUNT(names)), -1);
    assert_int_equal(dlt_edit_distance("ab", "ba"), 2);
}

static void snake_case_is_keras(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"PReLU", "p_re_lu"},
                                           {"ReLU", "re_lu"},
                                           {"GRU", "gru"},
                                           {"SimpleRNN", "simple_rnn"},
                                           {"ConvLSTM2D", "conv_lstm2d"},
                                           {"Conv2DTranspose", "conv2d_transpose"},
                                           {"RMSNormalization", "rms_normalization"},
                                           {"STFTSpectrogram", "stft_spectrogram"},
                                           {"MaxPooling2D", "max_pooling2d"},
                                           {"RMSprop", "rm_sprop"},
                                           {"AdamW", "adam_w"},
                                           {"SGD", "sgd"},
                                           {"TimeDistributed", "time_distributed"},
                                           {"MultiHeadAttention", "multi_head_attention"}};
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        char text[64];
        dlt_snake_case(cases[i][0], text, sizeof text);
        assert_string_equal(text, cases[i][1]);
    }
}

static void philox_gives_the_published_vectors(void **state)
{
    (void)state;
    /* known answers of Random123's kat_vectors for philox4x32 with 10 rounds */
    const uint32_t zero[4] = {0}, key0[2] = {0};
    uint32_t out[4];
    dlt_philox(zero, key0, out);
    assert_true(out[0] == 0x6627e8d5 && out[1] == 0xe169c58d && out[2] == 0xbc57ac4c && out[3] == 0x9b00dbd8);
    const uint32_t pi[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, key1[2] = {0xa4093822, 0x299f31d0};
    dlt_philox(pi, key1, out);
    assert_true(out[0] == 0xd16cfe09 && out[1] == 0x94fdcceb && out[2] == 0x5001e420 && out[3] == 0x24126ea1);
}

static void a_shuffle_visits_each_row_once(void **state)
{
    (void)state;
    static const uint64_t counts[] = {1, 2, 3, 5, 16, 17, 1000, 4097};
    for (size_t i = 0; i < DLT_COUNT(counts); i++) {
        dlt_shuffle order;
        uint8_t seen[4097] = {0};
        dlt_shuffle_init(&order, counts[i], 42, 3);
        uint64_t fixed = 0;
        for (uint64_t p = 0; p < counts[i]; p++) {
            const uint64_t row = dlt_shuffle_at(&order, p);
            assert_true(row < counts[i] && seen[row] == 0);
            seen[row] = 1;
            fixed += row == p;
        }
        assert_true(counts[i] < 16 || fixed < counts[i] / 2);
    }
}

static void rows_of_a_shuffle_come_many_at_a_time(void **state)
{
    (void)state;
    static const uint64_t counts[] = {1, 2, 5, 63, 64, 65, 1000, 4097};
    for (size_t i = 0; i < DLT_COUNT(counts); i++) {
        dlt_shuffle order;
        dlt_shuffle_init(&order, counts[i], 7, i);
        int64_t rows[4097];
        for (uint64_t first = 0; first < counts[i]; first += 1 + counts[i] / 3) {
            const size_t many = (size_t)(counts[i] - first);
            dlt_shuffle_rows(&order, first, many, rows);
            for (size_t k = 0; k < many; k++) {
                assert_int_equal(rows[k], dlt_shuffle_at(&order, first + k));
            }
        }
    }
}

static void the_normal_has_mean_0_and_deviation_1(void **state)
{
    (void)state;
    double sum = 0, squares = 0;
    enum { N = 100000 };
    for (uint64_t i = 0; i < N; i++) {
        const double x = dlt_random_normal(7, 9, 0, i);
        sum += x;
        squares += x * x;
    }
    assert_true(fabs(sum / N) < 0.02 && fabs(squares / N - 1) < 0.02);
}

static void sha256_gives_the_published_digests(void **state)
{
    (void)state;
    char hex[DLT_SHA256_HEX];
    dlt_sha256_of("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    dlt_sha256_of("", 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    /* a million times 'a', in pieces of odd sizes */
    char piece[977];
    memset(piece, 'a', sizeof piece);
    dlt_sha256 sha;
    dlt_sha256_init(&sha);
    for (size_t left = 1000000; left > 0;) {
        const size_t take = left < sizeof piece ? left : sizeof piece;
        dlt_sha256_update(&sha, piece, take);
        left -= take;
    }
    uint8_t digest[DLT_SHA256_BYTES];
    dlt_sha256_final(&sha, digest);
    dlt_sha256_hex(digest, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void words_for_a_shell_are_quoted_where_they_must_be(void **state)
{
    (void)state;
    static const struct {
        const char *path, *word;
    } cases[] = {
        {"runs/iris/2026-11-21_x.y", "runs/iris/2026-11-21_x.y"}, {"a b", "'a b'"}, {"it's", "'it'\\''s'"},
        {"$HOME;`x`", "'$HOME;`x`'"}, {"~", "'~'"}, {"#1", "'#1'"}, {"*", "'*'"}, {"", "''"}, {"-x", "./-x"},
        {"- x", "'./- x'"}, {"\xc3\xbc", "\xc3\xbc"}, {"a\n'\\", "$'a\\x0a\\'\\\\'"},
    };
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        dlt_buf out = {0};
        dlt_buf_shell(&out, cases[i].path);
        assert_string_equal(dlt_buf_text(&out), cases[i].word);
        dlt_buf_release(&out);
    }
}

static void json_is_quoted_and_separated(void **state)
{
    (void)state;
    dlt_buf out = {0};
    dlt_json j;
    dlt_json_init(&j, &out, 0);
    dlt_json_open(&j, '{');
    dlt_json_key_string(&j, "a\"b", "x\ny\xff");
    dlt_json_key(&j, "list");
    dlt_json_open(&j, '[');
    dlt_json_int(&j, -1);
    dlt_json_double(&j, 0.1);
    dlt_json_bool(&j, true);
    dlt_json_double(&j, (double)INFINITY);
    dlt_json_close(&j, ']');
    dlt_json_key(&j, "none");
    dlt_json_null(&j);
    dlt_json_close(&j, '}');
    assert_string_equal(dlt_buf_text(&out),
                        "{\"a\\\"b\": \"x\\ny\xEF\xBF\xBD\", \"list\": [-1, 0.1, true, \"inf\"], \"none\": null}");
    dlt_buf_release(&out);
}

static void an_arena_that_fails_stays_failed(void **state)
{
    (void)state;
    dlt_arena *arena = dlt_arena_create();
    assert_non_null(dlt_arena_alloc(arena, 3, 5));
    assert_null(dlt_arena_alloc(arena, SIZE_MAX, 2));
    assert_true(dlt_arena_failed(arena));
    assert_null(dlt_arena_string(arena, "x"));
    dlt_arena_destroy(arena);
}

static void kinds_answer_to_keras_names(void **state)
{
    (void)state;
    static const dlt_kind mse = {.name = "MeanSquaredError", .aliases = "mse MSE"};
    static const dlt_kind *const kinds[] = {&mse};
    const dlt_category losses = {.name = "loss", .kinds = kinds, .count = 1};
    assert_ptr_equal(dlt_kind_find(&losses, "mse"), &mse);
    assert_ptr_equal(dlt_kind_find(&losses, "MSE"), &mse);
    assert_ptr_equal(dlt_kind_find(&losses, "mean_squared_error"), &mse);
    assert_ptr_equal(dlt_kind_find(&losses, "MeanSquaredError"), &mse);
    assert_null(dlt_kind_find(&losses, "ms"));
    assert_null(dlt_kind_find(&losses, "mse MSE"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_sorted_by_place_and_repetitions_dropped),
        cmocka_unit_test(control_bytes_in_messages_are_escaped),
        cmocka_unit_test(a_refused_allocation_leaves_a_message),
        cmocka_unit_test(out_of_memory_is_said_once_though_it_is_passed_on),
        cmocka_unit_test(source_lines_are_found),
        cmocka_unit_test(numbers_are_read_whole_or_not_at_all),
        cmocka_unit_test(the_fast_path_of_numbers_is_exact),
        cmocka_unit_test(long_numbers_are_rounded_correctly),
        cmocka_unit_test(shortest_forms_read_back),
        cmocka_unit_test(names_near_a_typo_are_found),
        cmocka_unit_test(snake_case_is_keras),
        cmocka_unit_test(philox_gives_the_published_vectors),
        cmocka_unit_test(a_shuffle_visits_each_row_once),
        cmocka_unit_test(rows_of_a_shuffle_come_many_at_a_time),
        cmocka_unit_test(the_normal_has_mean_0_and_deviation_1),
        cmocka_unit_test(sha256_gives_the_published_digests),
        cmocka_unit_test(words_for_a_shell_are_quoted_where_they_must_be),
        cmocka_unit_test(json_is_quoted_and_separated),
        cmocka_unit_test(an_arena_that_fails_stays_failed),
        cmocka_unit_test(kinds_answer_to_keras_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
