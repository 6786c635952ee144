/* tests/unit/test_feature_space.c: tables to vectors. Expected numbers are those of Keras 3.15.1 on TensorFlow 2.21 (vocabularies,
 * hashes, crosses, boundaries), by keras.utils.FeatureSpace and its layers. */
#include "support/csv_table.h"
#include "support/layer_model.h"
#include "support/support.h"

#include "base/alloc.h"
#include "layers/farmhash.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A FeatureSpace fitted on one table, and another encoded by it. */
typedef struct space {
    dlt_layer_model *m;
    const dlt_table *rows; /* what was encoded */
    dlt_fitted fitted;
    const dlt_layer_input *inputs;
    int count;
    void **outputs;
    dlt_status status;
} space;

/* Fits on `train`, encodes `rows` (NULL: train). Stops at the first failure, which the model's diag holds. */
static space made(const char *layer, const char *train, const char *rows)
{
    space s = {.m = dlt_layer_model_open(), .status = DLT_E_CONFIG};
    char *list = dlt_arena_printf(s.m->arena, "[%s]", layer);
    assert_non_null(list);
    s.fitted.arena = s.m->arena;
    if (!dlt_layer_model_parse(s.m, list)) {
        return s;
    }
    const dlt_item *item = s.m->layers->at[0];
    const dlt_table_layer *table = dlt_layer_of(item)->table;
    const dlt_table *data = dlt_csv_table(s.m->arena, train, "y");
    void *state = NULL, *encoder = NULL;
    s.rows = rows != NULL ? dlt_csv_table(s.m->arena, rows, "y") : data;
    s.status = table->fit_begin(item, data->layout, s.m->arena, &state, s.m->diag);
    if (s.status == DLT_OK) {
        s.status = table->fit_rows(state, data, s.m->diag);
    }
    if (s.status == DLT_OK) {
        s.status = table->fit_end(state, &s.fitted, s.m->diag);
    }
    if (s.status == DLT_OK) {
        s.status = table->inputs(item, &s.fitted, s.m->arena, &s.inputs, &s.count, s.m->diag);
    }
    if (s.status == DLT_OK) {
        s.status = table->encoder(item, &s.fitted, s.rows->layout, s.m->arena, &encoder, s.m->diag);
    }
    if (s.status == DLT_OK) {
        s.outputs = dlt_arena_alloc(s.m->arena, (size_t)s.count, sizeof *s.outputs);
        assert_non_null(s.outputs);
        for (int i = 0; i < s.count; i++) {
            s.outputs[i] =
                dlt_arena_alloc(s.m->arena, (size_t)s.rows->rows, dlt_dtype_size(s.inputs[i].type));
            assert_non_null(s.outputs[i]);
        }
        s.status = table->encode(encoder, s.rows, s.outputs, s.m->diag);
    }
    return s;
}

static void release(space *s)
{
    dlt_layer_model_close(s->m);
}

/* Values of an input of the graph. */
static const void *values(const space *s, const char *name)
{
    for (int i = 0; i < s->count; i++) {
        if (strcmp(s->inputs[i].name, name) == 0) {
            return s->outputs[i];
        }
    }
    fail_msg("no input %s: %s", name, dlt_layer_model_error(s->m));
    return NULL;
}

static void expect_indices(const space *s, const char *name, const int32_t *expected)
{
    const int32_t *is = values(s, name);
    for (int64_t r = 0; r < s->rows->rows; r++) {
        if (is[r] != expected[r]) {
            fail_msg("%s, row %d: %d is not %d", name, (int)r, (int)is[r], (int)expected[r]);
        }
    }
}

/* The vector's width: what build makes of the inputs. */
static const char *width(space *s)
{
    const dlt_builder_options options = {.name = "test", .mode = DLT_MODE_TRAIN, .real = DLT_F32, .batch = 2};
    dlt_builder *b = dlt_builder_create(s->m->arena, s->m->variables, &options, s->m->diag);
    dlt_value *in[16];
    assert_non_null(b);
    for (int i = 0; i < s->count; i++) {
        in[i] = dlt_input(b, s->inputs[i].name, s->inputs[i].type, DLT_SHAPE(2));
    }
    return dlt_layer_model_shape(
        s->m, dlt_model_apply(b, s->m->layers, NULL, &s->fitted, in, s->count, NULL, NULL));
}

static void expect_texts(const space *s, const char *name, const char *const *expected, size_t count)
{
    const dlt_fitted_entry *e = dlt_fitted_find(&s->fitted, name);
    assert_non_null(e);
    assert_int_equal(e->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(e->texts[i], expected[i]);
    }
}

static double fitted_number(const space *s, const char *name, size_t i)
{
    const dlt_fitted_entry *e = dlt_fitted_find(&s->fitted, name);
    assert_non_null(e);
    assert_true(i < e->count && e->numbers != NULL);
    return e->numbers[i];
}

/* ---- hashes ---- */

static void hashes_are_those_of_tensorflow(void **state)
{
    static const struct {
        const char *text;
        uint64_t bin; /* modulo 2^62 */
    } cases[] = {
        {"", UINT64_C(1936946117179621455)},
        {"a", UINT64_C(3694432073954588131)},
        {"abc", UINT64_C(2640714258260161385)},
        {"0", UINT64_C(1363911219970409023)},
        {"hello world", UINT64_C(1769834696496558107)},
        {"xxxxxxxxxxxxxxxx", UINT64_C(3320895591121647644)},
        {"xxxxxxxxxxxxxxxxx", UINT64_C(2082709914559524773)},
        {"abababababababababababababababab", UINT64_C(1609993026957689460)},
        {"ababababababababababababababababab", UINT64_C(1975580056695917414)},
        {"qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", UINT64_C(2530101068778109086)},
        {"qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", UINT64_C(3227602484106814583)},
        {"qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", UINT64_C(3080958293828885289)},
        {"abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij"
         "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij",
         UINT64_C(920586471271343743)},
    };
    (void)state;
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        assert_true(dlt_fingerprint64(cases[i].text, strlen(cases[i].text)) % (UINT64_C(1) << 62) ==
                    cases[i].bin);
    }
}

static void hashed_features_fall_into_the_bins_of_keras(void **state)
{
    static const int32_t words[] = {0, 4, 0, 1, 1, 1, 3};
    static const int32_t numbers[] = {537292, 361198, 285648, 59059, 924877, 345099, 745992};
    (void)state;
    space s = made(
        "{FeatureSpace: {features: {w: {string_hashed: {num_bins: 5}}, n: {integer_hashed: {num_bins: 1000003}}}}}",
        "w,n\nred,0\ngreen,1\nblue,-1\ndark blue,42\n\xc3\x9cn\xc3\xaf"
        "code,123456789\n\"a,b\",-2147483648\n,2147483647\n",
        NULL);
    assert_int_equal(s.status, DLT_OK);
    expect_indices(&s, "w", words);
    expect_indices(&s, "n", numbers);
    assert_string_equal(width(&s), "(2, 1000008)");
    release(&s);
}

/* ---- vocabularies ---- */

static void words_stand_by_falling_count_and_then_by_falling_bytes(void **state)
{
    static const char *const words[] = {"c", "b", "a", "\xc3\x84", "z", "d", "ab", "B"};
    static const int32_t indices[] = {3, 2, 1, 6, 0, 4};
    (void)state;
    space s = made("{FeatureSpace: {features: {w: string_categorical}}}",
                   "w\nb\na\nc\na\nb\nc\nd\nB\nab\n\xc3\x84\nz\n", "w\na\nb\nc\nd\ne\n\xc3\x84\n");
    assert_int_equal(s.status, DLT_OK);
    expect_texts(&s, "w:vocabulary", words, DLT_COUNT(words));
    expect_indices(&s, "w", indices);
    assert_string_equal(width(&s), "(2, 9)");
    release(&s);
}

static void integers_stand_by_falling_count_and_minus_one_is_unknown(void **state)
{
    static const int32_t indices[] = {1, 2, 4, 0, 0};
    (void)state;
    space s = made("{FeatureSpace: {features: {n: integer_categorical}}}", "n\n3\n-1\n10\n3\n10\n2\n-1\n7\n",
                   "n\n10\n3\n2\n5\n-1\n");
    assert_int_equal(s.status, DLT_OK);
    assert_true(fitted_number(&s, "n:vocabulary", 0) == 10 && fitted_number(&s, "n:vocabulary", 1) == 3 &&
                fitted_number(&s, "n:vocabulary", 2) == 7 && fitted_number(&s, "n:vocabulary", 3) == 2);
    expect_indices(&s, "n", indices);
    release(&s);
}

static void several_slots_for_unknown_values_are_chosen_by_remainder_or_hash(void **state)
{
    static const int32_t numbers[] = {3, 2, 0, 1};
    (void)state;
    space s = made("{FeatureSpace: {features: {n: {integer_categorical: {num_oov_indices: 3}}}}}",
                   "n\n5\n5\n", "n\n5\n-1\n-6\n7\n");
    assert_int_equal(s.status, DLT_OK);
    expect_indices(&s, "n", numbers);
    release(&s);
    s = made("{FeatureSpace: {features: {w: {string_categorical: {num_oov_indices: 2}}}}}", "w\nred\n",
             "w\nred\nblack\nwhite\n");
    assert_int_equal(s.status, DLT_OK);
    const int32_t by_hash[] = {2, (int32_t)(dlt_fingerprint64("black", 5) % 2),
                               (int32_t)(dlt_fingerprint64("white", 5) % 2)};
    expect_indices(&s, "w", by_hash);
    release(&s);
}

static void max_tokens_counts_the_slots_for_unknown_values(void **state)
{
    static const char *const words[] = {"a", "b"};
    static const int32_t indices[] = {1, 2, 0};
    (void)state;
    space s = made("{FeatureSpace: {features: {w: {string_categorical: {max_tokens: 3}}}}}",
                   "w\na\na\na\nb\nb\nc\n", "w\na\nb\nc\n");
    assert_int_equal(s.status, DLT_OK);
    expect_texts(&s, "w:vocabulary", words, 2);
    expect_indices(&s, "w", indices);
    release(&s);
}

static void a_declared_empty_text_is_a_word(void **state)
{
    static const char *const words[] = {"", "a", "b"};
    static const int32_t indices[] = {1, 2, 0};
    (void)state;
    space s = made("{FeatureSpace: {features: {w: string_categorical}}}", "w,n\na,0\n,1\nb,2\n,3\n,4\na,5\n",
                   "w,n\n,0\na,1\nc,2\n");
    assert_int_equal(s.status, DLT_OK);
    expect_texts(&s, "w:vocabulary", words, 3);
    expect_indices(&s, "w", indices);
    release(&s);
}

static void text_features_take_columns_of_whole_numbers_and_new_words_of_later_tables(void **state)
{
    static const char *const words[] = {"12", "7"};
    static const int32_t indices[] = {2, 0, 1};
    (void)state;
    space s = made("{FeatureSpace: {features: {w: string_categorical}}}", "w\n7\n12\n12\n", "w\n7\nx\n12\n");
    assert_int_equal(s.status, DLT_OK);
    expect_texts(&s, "w:vocabulary", words, 2);
    expect_indices(&s, "w", indices);
    release(&s);
}

/* ---- numbers ---- */

static void numbers_are_measured_over_their_present_values(void **state)
{
    (void)state;
    space s = made(
        "{FeatureSpace: {features: {a: float_normalized, b: float, c: {float_rescaled: {scale: 1/80, offset: 2}}}}}",
        "a,b,c\n1,10,1\n?,20,2\n5,?,3\n", "a,b,c\n?,1,2\n3,?,4\n");
    assert_int_equal(s.status, DLT_OK);
    assert_true(fitted_number(&s, "a:mean", 0) == 3 && fitted_number(&s, "a:variance", 0) == 4);
    const float *a = values(&s, "a"), *b = values(&s, "b");
    assert_true(a[0] == 3 && a[1] == 3 && b[0] == 1 && b[1] == 15);
    assert_null(dlt_fitted_find(&s.fitted, "a:missing"));
    assert_string_equal(width(&s), "(2, 3)");
    release(&s);
}

#define HEIGHTS                                                                                                        \
    "147.63\n162.632\n156.036\n159.61\n166.857\n186.861\n165.176\n172.143\n156.03\n167.08\n189.986\n163.121\n166.54\n" \
    "168.828\n161.285\n157.922\n181.78\n146.28\n152.741\n158.792\n157.728\n150.983\n145.476\n191.867\n"

static void bins_are_bounded_where_keras_bounds_them(void **state)
{
    static const double four[] = {156.02999877929688, 161.28500366210938, 167.0800018310547};
    static const double seven[] = {149.06700134277344, 156.03514099121094, 159.02572631835938,
                                   162.98129272460938, 166.88885498046875, 177.6498565673828};
    (void)state;
    space s = made("{FeatureSpace: {features: {h: {float_discretized: {num_bins: 4}}}}}", "h\n" HEIGHTS,
                   "h\n100\n156.03\n156.04\n999\n?\n");
    static const int32_t indices[] = {0, 1, 1, 3, 3};
    assert_int_equal(s.status, DLT_OK);
    for (size_t i = 0; i < DLT_COUNT(four); i++) {
        assert_true(fitted_number(&s, "h:boundaries", i) == four[i]);
    }
    expect_indices(&s, "h", indices);
    assert_string_equal(width(&s), "(2, 4)");
    release(&s);
    s = made("{FeatureSpace: {features: {h: float_discretized}, num_discretization_bins: 7}}", "h\n" HEIGHTS,
             NULL);
    assert_int_equal(s.status, DLT_OK);
    for (size_t i = 0; i < DLT_COUNT(seven); i++) {
        assert_true(fabs(fitted_number(&s, "h:boundaries", i) - seven[i]) < 2e-5);
    }
    release(&s);
    s = made("{FeatureSpace: {features: {v: {float_discretized: {bin_boundaries: [0, 1, 2]}}}}}",
             "v\n0\n1\n2\n1.5\n-1\n2.5\n", NULL);
    static const int32_t at_boundaries[] = {1, 2, 3, 2, 0, 3};
    assert_int_equal(s.status, DLT_OK);
    expect_indices(&s, "v", at_boundaries);
    release(&s);
}

/* ---- crosses ---- */

static void crosses_hash_the_indices_of_their_features_in_order(void **state)
{
    /* as Keras: red X M with red = 1 of [UNK] red green ..., M = 3 of [UNK] L S M XL */
    static const int32_t color_size[] = {458601, 967215, 966703}, size_color[] = {725305, 469786, 772752};
    static const char train[] =
        "color,size\nred,M\nred,S\nblue,L\nteal,L\ngreen,M\ngreen,L\nred,M\nred,S\nred,M\nblue,M\nteal,L\n"
        "teal,S\nred,S\ngreen,L\nred,S\nteal,L\nred,M\ngreen,M\nblue,S\ngreen,S\nred,XL\ngreen,L\nred,L\n"
        "blue,L\n";
    (void)state;
    space s = made(
        "{FeatureSpace: {features: {color: string_categorical, size: string_categorical}, crossing_dim: 1000003, "
        "crosses: [[size, color], {feature_names: [color, size]}]}}",
        train, "color,size\nred,M\nred,S\nblue,L\n");
    assert_int_equal(s.status, DLT_OK);
    expect_indices(&s, "color_X_size", color_size);
    expect_indices(&s, "size_X_color", size_color);
    assert_int_equal(s.count, 4);
    assert_string_equal(s.inputs[0].name, "color");
    assert_string_equal(s.inputs[3].name, "size_X_color");
    assert_string_equal(width(&s), "(2, 2000016)");
    release(&s);
}

/* ---- bare ---- */

static void a_bare_feature_space_chooses_by_column_type(void **state)
{
    static const char *const names[] = {"age", "city", "income"};
    static const char *const kinds[] = {"float_normalized", "string_categorical", "float_normalized"};
    static const char *const cities[] = {"Rome", "Oslo", "Bern"};
    static const int32_t city[] = {1, 0, 0};
    static const uint8_t missing[] = {0, 1, 0};
    (void)state;
    space s = made(
        "FeatureSpace",
        "income,age,city,y\n39.5,39,Rome,1\n?,50,Oslo,0\n28.25,38,Rome,1\n51,53,Rome,0\n33.75,28,Bern,1\n",
        "income,age,city,y\n40,?,Rome,1\n?,20,Paris,0\n1,61,?,1\n");
    assert_int_equal(s.status, DLT_OK);
    expect_texts(&s, "features", names, 3);
    expect_texts(&s, "kinds", kinds, 3);
    expect_texts(&s, "city:vocabulary", cities, 3);
    expect_indices(&s, "city", city);
    assert_memory_equal(values(&s, "income:missing"), missing, 3);
    assert_int_equal(s.count, 4); /* no indicator for age: training had no missing one */
    const float *age = values(&s, "age");
    assert_true(age[0] == (float)(208.0 / 5) && age[1] == 20);
    assert_string_equal(width(&s), "(2, 7)");
    release(&s);
}

static void a_bare_text_column_of_too_many_words_is_named(void **state)
{
    char *text = malloc(200000), *at = text;
    (void)state;
    assert_non_null(text);
    at += snprintf(at, 16, "a,w\n");
    for (int i = 0; i < 10001; i++) {
        at += snprintf(at, 16, "1,w%d\n", i);
    }
    space s = made("FeatureSpace", text, NULL);
    assert_int_equal(s.status, DLT_E_DATA);
    assert_string_equal(
        dlt_layer_model_error(s.m),
        "test.yaml:1:10: column 'w' has 10001 different texts, more than the 10,000 that FeatureSpace takes unasked; "
        "list the features, with string_hashed or max_tokens for it");
    release(&s);
    free(text);
}

/* ---- mistakes ---- */

static void mistakes_name_the_column_and_the_place(void **state)
{
    static const struct {
        const char *layer, *train, *rows, *error;
        dlt_status status;
    } cases[] = {
        {"{FeatureSpace: {features: {hight: float}}}", "height,y\n1,2\n", NULL,
         "test.yaml:1:44: the data have no column 'hight'; did you mean 'height'?", DLT_E_DATA},
        {"{FeatureSpace: {features: {y: float}}}", "a,y\n1,2\n", NULL,
         "test.yaml:1:40: column 'y' is the target, it cannot be a feature as well", DLT_E_CONFIG},
        {"{FeatureSpace: {features: {a: float}}}", "a\nx\n", NULL,
         "test.yaml:1:40: column 'a' holds text, which float cannot take; use string_categorical or string_hashed",
         DLT_E_CONFIG},
        {"{FeatureSpace: {features: {a: string_hashed}}}", "a\n1.5\n", NULL,
         "test.yaml:1:40: column 'a' holds numbers that are not whole, which string_hashed cannot take; use float_normalized or "
         "float_discretized",
         DLT_E_CONFIG},
        {"{FeatureSpace: {features: {a: integer_categorical}}}", "a\n1\n2.5\n", NULL,
         "test.yaml:1:40: column 'a', record 2: 2.5 is not a whole number, which integer_categorical needs",
         DLT_E_DATA},
        {"{FeatureSpace: {features: {a: integer_categorical}}}", "a\n1\n2\n", "a\n1\n2.5\n",
         "test.yaml:1:11: column 'a', record 2: 2.5 is not a whole number, which integer_categorical needs",
         DLT_E_DATA},
        {"{FeatureSpace: {features: {w: {string_categorical: {num_oov_indices: 0}}}}}", "w\na\nb\n",
         "w\na\nc\n",
         "test.yaml:1:11: column 'w', record 2: 'c' was not seen in training, and num_oov_indices is 0",
         DLT_E_DATA},
        {"{FeatureSpace: {features: {a: float}}}", "a\n1\n", "b\n1\n",
         "test.yaml:1:11: the data have no column 'a'", DLT_E_DATA},
        {"FeatureSpace", "y\n1\n", NULL, "test.yaml:1:10: the data have no feature columns for FeatureSpace",
         DLT_E_DATA},
        {"{FeatureSpace: {features: {a: {string_hashed: {output_mode: int}}}}}", "a\n1\n", NULL,
         "test.yaml:1:70: string_hashed: an integer cannot be joined with other features to one vector; use output_mode: one_hot",
         DLT_E_CONFIG},
        {"{FeatureSpace: {features: {a: {float_discretized: {num_bins: 3, bin_boundaries: [1]}}}}}", "a\n1\n",
         NULL,
         "test.yaml:1:90: float_discretized: num_bins and bin_boundaries exclude each other; give one of them",
         DLT_E_CONFIG},
        {"{FeatureSpace: {features: {a: {float_discretized: {bin_boundaries: [2, 1]}}}}}", "a\n1\n", NULL,
         "test.yaml:1:77: float_discretized: bin_boundaries must rise, but number 2 is below the one before it",
         DLT_E_CONFIG},
        {"{FeatureSpace: {features: {a: {string_categorical: {max_tokens: 2, num_oov_indices: 2}}}}}",
         "a\n1\n", NULL,
         "test.yaml:1:74: string_categorical: max_tokens of 2 leaves no slot beside 2 OOV slots; raise it",
         DLT_E_CONFIG},
        {"{FeatureSpace: {features: {a: float, b: string_hashed}, crosses: [[a, b]]}}", "a,b\n1,x\n", NULL,
         "test.yaml:1:76: cross: 'a' is float, a number; only categorical, hashed and discretized features can be crossed",
         DLT_E_CONFIG},
        {"{FeatureSpace: {features: {b: string_hashed}, crosses: [[b, c]]}}", "b\nx\n", NULL,
         "test.yaml:1:66: cross: 'c' is not among the features; add it there", DLT_E_CONFIG},
        {"{FeatureSpace: {features: {b: string_hashed}, crosses: [[b]]}}", "b\nx\n", NULL,
         "test.yaml:1:66: cross: two features or more are needed, found 1", DLT_E_CONFIG},
        {"{FeatureSpace: {crosses: [[a, b]]}}", "a,b\n1,x\n", NULL,
         "test.yaml:1:36: cross: 'a' is a number; only categorical, hashed and discretized features can be crossed",
         DLT_E_CONFIG},
    };
    int wrong = 0;
    (void)state;
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        space s = made(cases[i].layer, cases[i].train, cases[i].rows);
        if (s.status != cases[i].status || strcmp(dlt_layer_model_error(s.m), cases[i].error) != 0) {
            print_error("%s:\n  says  %s (%d)\n  wants %s (%d)\n", cases[i].layer, dlt_layer_model_error(s.m),
                        (int)s.status, cases[i].error, (int)cases[i].status);
            wrong++;
        }
        release(&s);
    }
    assert_int_equal(wrong, 0);
}

static void what_was_fitted_is_checked_before_it_is_used(void **state)
{
    (void)state;
    space s =
        made("{FeatureSpace: {features: {w: string_categorical, h: {float_discretized: {num_bins: 2}}}}}",
             "w,h\na,1\nb,2\n", NULL);
    assert_int_equal(s.status, DLT_OK);
    static const double many[] = {1, 2, 3};
    assert_true(dlt_fitted_numbers(&s.fitted, "h:boundaries", many, 3));
    const dlt_item *item = s.m->layers->at[0];
    const dlt_table_layer *table = dlt_layer_of(item)->table;
    assert_int_equal(table->inputs(item, &s.fitted, s.m->arena, &s.inputs, &s.count, s.m->diag),
                     DLT_E_CHECKPOINT);
    assert_string_equal(
        dlt_layer_model_error(s.m),
        "test.yaml:1:11: what FeatureSpace learned about 'h' is missing or damaged; train again");
    const dlt_fitted empty = {.arena = s.m->arena};
    assert_int_equal(table->inputs(item, &empty, s.m->arena, &s.inputs, &s.count, s.m->diag), DLT_E_CHECKPOINT);
    assert_int_equal(table->inputs(item, NULL, s.m->arena, &s.inputs, &s.count, s.m->diag), DLT_E_INTERNAL);
    release(&s);
}

static void a_refused_allocation_is_said_at_each_stage(void **state)
{
    static const char layer[] = "[{FeatureSpace: {features: {w: string_categorical, n: integer_categorical, h: float_normalized, "
                                "d: {float_discretized: {num_bins: 3}}}, crosses: [[w, n]]}}]";
    (void)state;
    dlt_layer_model *m = dlt_layer_model_open();
    assert_true(dlt_layer_model_parse(m, layer));
    const dlt_item *item = m->layers->at[0];
    const dlt_table_layer *table = dlt_layer_of(item)->table;
    const dlt_table *rows = dlt_csv_table(m->arena, "w,n,h,d\na,1,2,3\nb,2,?,4\na,1,5,6\n", NULL);
    bool done = false;
    for (uint64_t nth = 1; nth < 100 && !done; nth++) {
        dlt_arena *arena = dlt_arena_create();
        dlt_diag *diag = dlt_diag_create();
        dlt_fitted fitted = {.arena = arena};
        const dlt_layer_input *inputs;
        void *fit = NULL, *encoder = NULL;
        int count;
        assert_non_null(arena);
        assert_non_null(diag);
        dlt_alloc_fail_at(nth, true);
        dlt_status status = table->fit_begin(item, rows->layout, arena, &fit, diag);
        status = status == DLT_OK ? table->fit_rows(fit, rows, diag) : status;
        status = status == DLT_OK ? table->fit_end(fit, &fitted, diag) : status;
        status = status == DLT_OK ? table->inputs(item, &fitted, arena, &inputs, &count, diag) : status;
        status = status == DLT_OK ? table->encoder(item, &fitted, rows->layout, arena, &encoder, diag) : status;
        dlt_alloc_fail_at(0, false);
        done = status == DLT_OK;
        assert_true(done || status == DLT_E_MEMORY);
        assert_true(done || dlt_diag_status(diag) == DLT_E_MEMORY);
        dlt_arena_destroy(arena);
        dlt_diag_destroy(diag);
    }
    assert_true(done);
    dlt_layer_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_those_of_tensorflow),
        cmocka_unit_test(hashed_features_fall_into_the_bins_of_keras),
        cmocka_unit_test(words_stand_by_falling_count_and_then_by_falling_bytes),
        cmocka_unit_test(integers_stand_by_falling_count_and_minus_one_is_unknown),
        cmocka_unit_test(several_slots_for_unknown_values_are_chosen_by_remainder_or_hash),
        cmocka_unit_test(max_tokens_counts_the_slots_for_unknown_values),
        cmocka_unit_test(a_declared_empty_text_is_a_word),
        cmocka_unit_test(text_features_take_columns_of_whole_numbers_and_new_words_of_later_tables),
        cmocka_unit_test(numbers_are_measured_over_their_present_values),
        cmocka_unit_test(bins_are_bounded_where_keras_bounds_them),
        cmocka_unit_test(crosses_hash_the_indices_of_their_features_in_order),
        cmocka_unit_test(a_bare_feature_space_chooses_by_column_type),
        cmocka_unit_test(a_bare_text_column_of_too_many_words_is_named),
        cmocka_unit_test(mistakes_name_the_column_and_the_place),
        cmocka_unit_test(what_was_fitted_is_checked_before_it_is_used),
        cmocka_unit_test(a_refused_allocation_is_said_at_each_stage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
