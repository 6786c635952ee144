/* tests/unit/test_data_csv.c: CSV: what is read out of a text, and what is said about a bad one. */
#include "support/support.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "support/data_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOURCES &dlt_source_category
#define CSV(text, ...) data_item(f, SOURCES, "CSV", "path", data_text(f, "a.csv", text), __VA_ARGS__)

static dlt_dataset *good(data_fixture *f, const dlt_item *item)
{
    dlt_dataset *ds = data_open(f, item, DLT_DEPTH_LOAD);
    if (ds == NULL) {
        print_error("%s\n", data_message(f, 0));
    }
    assert_non_null(ds);
    return ds;
}

static void refuses(data_fixture *f, const dlt_item *item, const char *message)
{
    assert_null(data_open(f, item, DLT_DEPTH_LOAD));
    assert_string_equal(data_message(f, 0), message);
    data_forget(f);
}

/* Index of the part of a name. */
static size_t part_of(const dlt_dataset *ds, const char *name)
{
    const dlt_record_layout *layout = &dlt_dataset_frame(ds)->layout;
    for (size_t i = 0; i < layout->count; i++) {
        if (strcmp(layout->parts[i].name, name) == 0) {
            return i;
        }
    }
    fail_msg("no part '%s'", name);
    return 0;
}

/* A column as text: "1 2.5 ?" or "b a ?", missing as ?, unseen as !. */
static const char *shown(data_fixture *f, const dlt_dataset *ds, const char *name)
{
    const size_t i = part_of(ds, name);
    const dlt_part *part = &dlt_dataset_frame(ds)->layout.parts[i];
    const void *values = data_part(f, ds, i);
    dlt_buf out = {0};
    for (int64_t r = 0; r < dlt_dataset_count(ds); r++) {
        dlt_buf_string(&out, r > 0 ? " " : "");
        if (part->type == DLT_COLUMN_TEXT) {
            const int32_t code = ((const int32_t *)values)[r];
            dlt_buf_string(&out, code >= 0                  ? part->dictionary->at[code]
                                 : code == DLT_CODE_MISSING ? "?"
                                                            : "!");
        } else {
            char text[40];
            snprintf(text, sizeof text, "%.17g", ((const double *)values)[r]);
            dlt_buf_string(&out, isnan(((const double *)values)[r]) ? "?" : text);
        }
    }
    const char *kept = dlt_arena_string(f->arena, dlt_buf_text(&out));
    dlt_buf_release(&out);
    return kept;
}

static dlt_column_type type_of(const dlt_dataset *ds, const char *name)
{
    return dlt_dataset_frame(ds)->layout.parts[part_of(ds, name)].type;
}

/* ---- reading ---- */

static void rfc_4180_is_read(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds =
        good(f, CSV("name,note,n\r\n\"Smith, John\",\"said \"\"hi\"\"\",1\r\nplain,\"two\r\nlines\",2\r\n"
                    "\"\"\"q\"\"\",\"\",3",
                    "header", "true", "trim", "false", NULL));
    assert_int_equal(dlt_dataset_count(ds), 3);
    assert_string_equal(shown(f, ds, "name"), "Smith, John plain \"q\"");
    assert_string_equal(shown(f, ds, "note"), "said \"hi\" two\r\nlines ?");
    assert_string_equal(shown(f, ds, "n"), "1 2 3");
    assert_int_equal(type_of(ds, "n"), DLT_COLUMN_INTEGER);
    assert_int_equal(type_of(ds, "name"), DLT_COLUMN_TEXT);
    dlt_dataset_close(ds);
}

static void real_files_are_read(void **state)
{
    data_fixture *f = *state;
    /* byte order mark, blanks around fields, blank lines, no line feed at the end, quotes after blanks */
    dlt_dataset *ds =
        good(f, CSV("\xef\xbb\xbf"
                    "39, State-gov , 77.5\n\n  50,\t\"Self, emp\" ,83\n   \n38,?,NaN\r\n \r\n7,x,-1e-3",
                    "target", "0", NULL));
    assert_int_equal(dlt_dataset_count(ds), 4);
    assert_string_equal(shown(f, ds, "0"), "39 50 38 7");
    assert_string_equal(shown(f, ds, "1"), "State-gov Self, emp ? x");
    assert_string_equal(shown(f, ds, "2"), "77.5 83 ? -0.001");
    assert_int_equal(dlt_dataset_stats(ds)->part[part_of(ds, "1")].missing, 1);
    assert_true(dlt_dataset_frame(ds)->layout.parts[part_of(ds, "2")].may_be_missing);
    dlt_dataset_close(ds);
    /* comments, front matter, another delimiter */
    ds = good(f, CSV("made by x\non a day\n# columns\na;b\n1;2\n# 3;4\n5;6\n", "skip_rows", "2", "comment",
                     "#", "delimiter", ";", NULL));
    assert_string_equal(shown(f, ds, "a"), "1 5");
    dlt_dataset_close(ds);
    ds = good(f, CSV("a\tb\n1\t\n \t2\n", "delimiter", "tab", NULL));
    assert_string_equal(shown(f, ds, "a"), "1 ?");
    assert_string_equal(shown(f, ds, "b"), "? 2");
    dlt_dataset_close(ds);
    ds = good(f, CSV("a;b,c;d\n1;2,5;3\n1;2,6;3\n", "delimiter", "auto", NULL));
    assert_string_equal(shown(f, ds, "b,c"), "2,5 2,6");
    dlt_dataset_close(ds);
}

static void a_header_is_told_from_a_record(void **state)
{
    data_fixture *f = *state;
    static const struct {
        const char *text;
        bool named;
        int64_t count;
    } files[] = {
        {"a,b\n1,2\n3,4\n", true, 2},         {"1,2\n3,4\n", false, 2},
        {"a,b\nx,1\ny,2\n", true, 2},         {"x,1\ny,2\nz,3\n", false, 3},
        {"p,x,s\ne,x,y\np,b,s\n", false, 3}, /* mushrooms: what stands first stands again */
        {"class,shape\np,x\ne,x\n", true, 2}, {"a,a\nx,y\n", false, 2}, /* names differ */
        {",a\n0,5\n1,6\n", true, 2},                                    /* as pandas writes its index */
    };
    for (size_t i = 0; i < DLT_COUNT(files); i++) {
        dlt_dataset *ds = good(f, CSV(files[i].text, NULL));
        assert_int_equal(dlt_dataset_frame(ds)->named, files[i].named);
        assert_int_equal(dlt_dataset_count(ds), files[i].count);
        dlt_dataset_close(ds);
    }
    refuses(f, CSV("a,a\n1,2\n3,4\n", NULL), "a.csv:1:1: columns 0 and 1 are both named 'a'"); /* names, and not a record */
    dlt_dataset *ds = good(f, CSV("p,x\ne,x\n", "header", "true", NULL));
    assert_string_equal(shown(f, ds, "p"), "e");
    dlt_dataset_close(ds);
    ds = good(f, CSV("p,x\ne,x\n", "target", "p", NULL)); /* a name that is used is a name */
    assert_int_equal(dlt_dataset_count(ds), 1);
    dlt_dataset_close(ds);
}

static void columns_are_chosen_by_name_and_number(void **state)
{
    data_fixture *f = *state;
    const char *text = "a,b,c,d,w\n1,2,3,x,1\n4,5,6,y,0.5\n";
    dlt_dataset *ds = good(f, CSV(text, "target", "d", "columns", "[c, 0]", "sample_weight", "-1", NULL));
    const dlt_record_layout *layout = &dlt_dataset_frame(ds)->layout;
    assert_int_equal(layout->count, 4); /* in the order asked for, then target, then weight */
    assert_string_equal(layout->parts[0].name, "c");
    assert_string_equal(layout->parts[1].name, "a");
    assert_int_equal(layout->parts[2].role, DLT_ROLE_TARGET);
    assert_int_equal(layout->parts[3].role, DLT_ROLE_WEIGHT);
    assert_string_equal(shown(f, ds, "w"), "1 0.5");
    dlt_dataset_close(ds);
    ds = good(f, CSV(text, "target", "[a, b]", NULL));
    layout = &dlt_dataset_frame(ds)->layout;
    assert_int_equal(layout->count, 5);
    assert_string_equal(layout->parts[0].name, "c");
    assert_string_equal(layout->parts[4].name, "b");
    dlt_dataset_close(ds);
    ds = good(f, CSV("2019,2020\n1,2\n", "header", "true", "target", "2020",
                     NULL)); /* out of range as a number: a name */
    assert_string_equal(shown(f, ds, "2020"), "2");
    dlt_dataset_close(ds);
    refuses(f, CSV(text, "target", "label", NULL), "model.yaml:3:5: 'a.csv' has no column 'label'; it has a, b, c, d, w");
    refuses(f, CSV("species,x\na,1\n", "target", "specie", NULL),
            "model.yaml:3:5: 'a.csv' has no column 'specie'; did you mean 'species'?");
    refuses(f, CSV("1,2\n", "target", "5", NULL),
            "model.yaml:3:5: there is no column 5: 'a.csv' has 2 columns, numbered from 0");
    refuses(f, CSV("1,2\n", "target", "b", NULL),
            "model.yaml:3:5: there is no column 'b': 'a.csv' has no header line, so its columns have "
            "numbers, 0 to 1");
    refuses(f, CSV(text, "target", "a", "columns", "[b, a]", NULL),
            "model.yaml:4:5: column 'a' is the target, too");
    refuses(f, CSV(text, "columns", "[b, b]", NULL), "model.yaml:4:5: column 'b' is named twice");
    refuses(f, CSV(text, "target", "a", "sample_weight", "a", NULL),
            "model.yaml:5:5: column 'a' is the target and the weight");
    refuses(f, CSV("a\n1\n", "target", "a", NULL), "model.yaml:1:1: no column is left as input");
    refuses(f, CSV("a,b,a\n1,2,3\n", "header", "true", NULL),
            "a.csv:1:1: columns 0 and 2 are both named 'a'");
}

static void types_are_inferred_and_declared(void **state)
{
    data_fixture *f = *state;
    const char *text = "i,n,t,m,zip\n1,1.5,a,,01234\n2.0,2,7,,10115\n-3,.5,b,,99999\n";
    dlt_dataset *ds = good(f, CSV(text, "types", "{zip: text}", NULL));
    assert_int_equal(type_of(ds, "i"), DLT_COLUMN_INTEGER);
    assert_int_equal(type_of(ds, "n"), DLT_COLUMN_NUMBER);
    assert_int_equal(type_of(ds, "t"), DLT_COLUMN_TEXT);
    assert_int_equal(type_of(ds, "m"), DLT_COLUMN_NUMBER);
    assert_int_equal(type_of(ds, "zip"), DLT_COLUMN_TEXT);
    assert_string_equal(shown(f, ds, "zip"), "01234 10115 99999");
    assert_string_equal(data_message(f, 0), "model.yaml:1:1: column 'm' has no value in any record");
    assert_int_equal(dlt_dataset_stats(ds)->part[part_of(ds, "i")].distinct, 3);
    assert_true(dlt_dataset_stats(ds)->part[part_of(ds, "i")].least == -3);
    dlt_dataset_close(ds);
    data_forget(f);
    ds = good(f, CSV("1,2\n3,4\n", "types", "{'1': text}", NULL)); /* a column by its number */
    assert_int_equal(type_of(ds, "1"), DLT_COLUMN_TEXT);
    dlt_dataset_close(ds);
    refuses(f, CSV(text, "types", "{zap: text}", NULL),
            "model.yaml:12:5: 'a.csv' has no column 'zap'; did you mean 'zip'?");
    refuses(f, CSV(text, "types", "{n: integer}", NULL),
            "a.csv:2:3: column 'n' is declared integer, found '1.5'");
    refuses(f, CSV(text, "types", "{t: number}", NULL), "a.csv:2:7: column 't': 'a' is not a number");
}

static void missing_values_are_what_the_user_says(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = good(
        f, CSV("a,b\n1,x\n-999,none\n3,\nnan,NA\n", "missing", "['-999', none]", "header", "true", NULL));
    assert_string_equal(shown(f, ds, "a"), "1 ? 3 ?");
    assert_string_equal(shown(f, ds, "b"), "x ? ? NA");
    dlt_dataset_close(ds);
    ds = good(f, CSV("a,b\n1,NULL\n2,None\n3,N/A\n4,null\n5,?\n6,v\n", "header", "true", NULL));
    assert_string_equal(shown(f, ds, "b"), "? ? ? ? ? v");
    dlt_dataset_close(ds);
    refuses(f, CSV("a,y\n1,x\n2,\n", "target", "y", NULL), "a.csv:3:3: column 'y', the target, has no value");
    refuses(f, CSV("a,w\n1,1\n2,-1\n", "sample_weight", "w", NULL),
            "a.csv:3:3: column 'w': the weight -1 is below 0");
    refuses(f, CSV("a,w\n1,1\n2,?\n", "sample_weight", "w", NULL),
            "a.csv:3:3: column 'w', the weight, has no value");
}

static void a_column_that_is_nearly_all_numbers_is_pointed_out(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = good(f, CSV("a\n1\n2\n3\n4\n5\n6\n7\nx9\n9\n10\n11\n12\n", NULL));
    assert_int_equal(type_of(ds, "a"), DLT_COLUMN_TEXT);
    assert_string_equal(data_message(f, 0),
                        "a.csv:9:1: column 'a' is read as text because of 'x9', though most of its values "
                        "are numbers; if that "
                        "stands for a missing value, add it to missing; else declare types: {a: text}");
    dlt_dataset_close(ds);
}

static void class_names_are_sorted_by_their_bytes(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds =
        good(f, CSV("x,y\n1,versicolor\n2,setosa\n3,Zebra\n4,setosa\n5,\xc3\xa4hre\n", "target", "y", NULL));
    const dlt_part *part = &dlt_dataset_frame(ds)->layout.parts[1];
    assert_int_equal(part->dictionary->count, 4);
    assert_string_equal(part->dictionary->at[0], "Zebra");
    assert_string_equal(part->dictionary->at[1], "setosa");
    assert_string_equal(part->dictionary->at[3], "\xc3\xa4hre");
    const int32_t *codes = data_part(f, ds, 1);
    static const int32_t expected[] = {2, 1, 0, 1, 3};
    assert_memory_equal(codes, expected, sizeof expected);
    assert_int_equal(dlt_dataset_stats(ds)->classes.records[1], 2);
    assert_int_equal(dlt_dataset_stats(ds)->classes.first[1], 1);
    assert_int_equal(dlt_dataset_stats(ds)->classes.first[3], 4);
    dlt_dataset_close(ds);
    /* features keep the order of first appearance */
    ds = good(f, CSV("x,y\nb,1\na,2\nb,3\n", "target", "y", NULL));
    assert_string_equal(dlt_dataset_frame(ds)->layout.parts[0].dictionary->at[0], "b");
    dlt_dataset_close(ds);
}

static void labels_are_mapped_first(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *ds = good(f, CSV("x,y\n1,>50K.\n2,<=50K.\n3,>50K\n", "target", "y", "label_map",
                                  "{'>50K.': '>50K', '<=50K.': '<=50K'}", NULL));
    assert_string_equal(shown(f, ds, "y"), ">50K <=50K >50K");
    dlt_dataset_close(ds);
    ds = good(f, CSV("x,y\n1,no\n2,yes\n", "target", "y", "label_map", "{no: 0, yes: 1}", NULL));
    assert_int_equal(type_of(ds, "y"), DLT_COLUMN_INTEGER);
    assert_string_equal(shown(f, ds, "y"), "0 1");
    dlt_dataset_close(ds);
}

static void several_files_are_one_table(void **state)
{
    data_fixture *f = *state;
    data_text(f, "part-2.csv", "a,b\n3,z\n");
    data_text(f, "part-1.csv", "a,b\n1,x\n2,y");
    data_gzip(f, "part-3.csv", "a,b\n4,x\n", 8);
    const char *pattern = data_path(f, "part-*.csv");
    dlt_dataset *ds = good(f, data_item(f, SOURCES, "CSV", "path", pattern, NULL));
    assert_string_equal(shown(f, ds, "a"), "1 2 3 4");
    assert_string_equal(shown(f, ds, "b"), "x y z x");
    dlt_dataset_close(ds);
    const char *list =
        dlt_arena_printf(f->arena, "[%s, %s]", data_path(f, "part-2.csv"), data_path(f, "part-1.csv"));
    ds = good(f, data_item(f, SOURCES, "CSV", "path", list, NULL));
    assert_string_equal(shown(f, ds, "a"), "3 1 2");
    dlt_dataset_close(ds);
    data_text(f, "index-1.csv", ",a\n0,5\n");
    data_text(f, "index-2.csv", ",a\n0,6\n");
    ds = good(f, data_item(f, SOURCES, "CSV", "path", data_path(f, "index-*.csv"), NULL));
    assert_string_equal(shown(f, ds, "a"), "5 6");
    dlt_dataset_close(ds);
    data_text(f, "part-4.csv", "a,c\n4,x\n");
    refuses(f, data_item(f, SOURCES, "CSV", "path", pattern, NULL),
            "part-4.csv:1:1: column 1 is 'c', but 'b' in 'part-1.csv'; files that are read together need the "
            "same header");
    data_text(f, "part-4.csv", "\na\n4\n");
    refuses(f, data_item(f, SOURCES, "CSV", "path", pattern, NULL),
            "part-4.csv:2:1: the header has 1 columns, that of 'part-1.csv' has 2");
    data_text(f, "part-4.csv", "a,b\n5,x\n6\n");
    refuses(f, data_item(f, SOURCES, "CSV", "path", pattern, NULL),
            "part-4.csv:3:1: found 1 column, expected 2");
    refuses(f, data_item(f, SOURCES, "CSV", "path", data_path(f, "none-*.csv"), NULL),
            "model.yaml:2:5: no file matches 'none-*.csv'");
    /* a file whose name looks like a pattern is a file */
    ds = good(f, data_item(f, SOURCES, "CSV", "path", data_text(f, "odd[1].csv", "a\n7\n"), NULL));
    assert_string_equal(shown(f, ds, "a"), "7");
    dlt_dataset_close(ds);
}

/* ---- complaints ---- */

static void errors_have_file_line_and_column(void **state)
{
    data_fixture *f = *state;
    refuses(f, CSV("a,b\n1,2\n3\n", NULL), "a.csv:3:1: found 1 column, expected 2");
    refuses(f, CSV("a,b\n1,2\n3,4,5\n", NULL), "a.csv:3:1: found 3 columns, expected 2");
    refuses(f, CSV("a,b\n\"x\ny\",2\n\n3,\"4\" 5\n", NULL),
            "a.csv:5:3: something stands behind a closing quote: \"4\" 5");
    refuses(f, CSV("a,b\n\xc3\xa4\xc3\xb6,1\n\xc3\xa4,x\n", "types", "{b: number}", NULL),
            "a.csv:3:3: column 'b': 'x' is not a number");
    refuses(f, CSV("a,b\n1,2\n3,\"4\n5,6\n", NULL), "a.csv:3:3: this quote is never closed");
    refuses(f, CSV("\"a,b\n1,2\n", NULL), "a.csv:1:1: this quote is never closed");
    refuses(f, CSV("a,b\r1,2\r", NULL),
            "a.csv:1:4: a carriage return without a line feed; lines end in LF or CR LF");
    refuses(f, CSV("a,b\n1,2\r3,4\n", NULL),
            "a.csv:2:4: a carriage return without a line feed; lines end in LF or CR LF");
    refuses(f, CSV("", NULL), "model.yaml:2:5: 'a.csv' has no records");
    refuses(f, CSV("\n\n\n", NULL), "model.yaml:2:5: 'a.csv' has no records");
    refuses(f, CSV("a,b\n", "header", "true", NULL), "model.yaml:1:1: 'a.csv' has no records");
    refuses(f,
            CSV("\xff\xfe"
                "a",
                NULL),
            "a.csv:1:1: the file is UTF-16; save it as UTF-8");
    refuses(f, data_item(f, SOURCES, "CSV", "path", data_file(f, "nul.csv", "a,b\nx\0y,1\n", 10), NULL),
            "nul.csv:2:1: column 'a': the text has a NUL byte");
    refuses(f, data_item(f, SOURCES, "CSV", "path", "-", NULL),
            "model.yaml:2:5: standard input can be predicted from, but not trained on: it is read once");
}

static void a_column_that_changes_after_the_first_records_is_an_error(void **state)
{
    data_fixture *f = *state;
    dlt_buf text = {0};
    dlt_buf_string(&text, "id,value\n");
    for (int i = 0; i < 90000; i++) {
        dlt_buf_printf(&text, "%d,%d\n", i, i % 7);
    }
    dlt_buf_string(&text, "90000,high\n");
    const char *path = data_text(f, "a.csv", text.data);
    refuses(f, data_item(f, SOURCES, "CSV", "path", path, NULL),
            "a.csv:90002:7: column 'value': 'high' is not a number, but the first 1000 records have numbers "
            "there; add it to missing, "
            "or declare types: {value: text}");
    dlt_dataset *ds = good(f, data_item(f, SOURCES, "CSV", "path", path, "types", "{value: text}", NULL));
    assert_int_equal(dlt_dataset_stats(ds)->part[part_of(ds, "value")].distinct, 8);
    dlt_dataset_close(ds);
    /* the first 1,000 records tell nothing of it */
    ds = data_open(f, data_item(f, SOURCES, "CSV", "path", path, NULL), DLT_DEPTH_PROBE);
    assert_non_null(ds);
    assert_false(dlt_dataset_exact(ds));
    assert_int_equal(dlt_dataset_count(ds), -1);
    dlt_dataset_close(ds);
    dlt_buf_release(&text);
}

static void a_wrong_row_far_down_is_named(void **state)
{
    data_fixture *f = *state;
    dlt_buf text = {0};
    for (int i = 1; i <= 20000; i++) {
        dlt_buf_printf(&text, i == 9000 ? "%d,1,2\n" : "%d,1\n", i);
    }
    const char *path = data_text(f, "a.csv", text.data);
    for (int threads = 1; threads <= 4; threads++) {
        assert_null(data_open_with(f, data_item(f, SOURCES, "CSV", "path", path, NULL), DLT_DEPTH_LOAD,
                                   (dlt_dataset_options){.memory = 1 << 28, .threads = threads}));
        assert_string_equal(data_message(f, 0), "a.csv:9000:1: found 3 columns, expected 2");
        assert_int_equal(dlt_diag_size(f->diag), 1);
        data_forget(f);
    }
    dlt_buf_release(&text);
}

static void twenty_errors_are_shown_and_the_rest_is_counted(void **state)
{
    data_fixture *f = *state;
    dlt_buf text = {0};
    dlt_buf_string(&text, "a,b\n");
    for (int i = 0; i < 200000; i++) {
        dlt_buf_string(&text, i % 2 == 1 ? "1\n" : "1,2\n");
    }
    const char *path = data_text(f, "a.csv", text.data);
    for (int threads = 1; threads <= 3; threads++) {
        assert_null(data_open_with(f, data_item(f, SOURCES, "CSV", "path", path, NULL), DLT_DEPTH_LOAD,
                                   (dlt_dataset_options){.memory = 1 << 28, .threads = threads}));
        assert_int_equal(dlt_diag_size(f->diag), 21);
        assert_string_equal(data_message(f, 19), "a.csv:41:1: found 1 column, expected 2");
        assert_string_equal(data_message(f, 20), "and 99,980 more errors in the data");
        data_forget(f);
    }
    dlt_buf_release(&text);
}

static void a_record_that_never_ends_is_an_error(void **state)
{
    data_fixture *f = *state;
    const size_t size = (17u << 20) + 10;
    char *text = dlt_alloc(size + 1);
    memset(text, 'x', size);
    memcpy(text, "a,b\n1,2\n", 8);
    const char *path = data_file(f, "a.csv", text, size);
    refuses(f, data_item(f, SOURCES, "CSV", "path", path, NULL), "a.csv:3:1: a record is longer than 16 MiB");
    text[8] = '"';
    path = data_file(f, "a.csv", text, size);
    refuses(f, data_item(f, SOURCES, "CSV", "path", path, NULL), "a.csv:3:1: this quote is never closed");
    dlt_free(text);
}

/* ---- following train ---- */

static void test_and_prediction_follow_train(void **state)
{
    data_fixture *f = *state;
    dlt_dataset *train = good(f, CSV("size,colour,kind,w\n1,red,cat,1\n2,blue,dog,2\n3.5,red,cat,1\n",
                                     "target", "kind", "sample_weight", "w", NULL));
    dlt_dataset_options follow = {.follow = dlt_dataset_frame(train), .memory = 1 << 20, .threads = 1};
    /* columns by name, in another order, more of them, no weights; an unknown colour is unseen */
    dlt_dataset *test = data_open_with(
        f,
        data_item(f, SOURCES, "CSV", "path",
                  data_text(f, "t.csv", "kind,extra,colour,size\ndog,1,green,7\ncat,2,blue,\n"), NULL),
        DLT_DEPTH_LOAD, follow);
    assert_non_null(test);
    const dlt_record_layout *layout = &dlt_dataset_frame(test)->layout;
    assert_int_equal(layout->count, 3);
    assert_string_equal(layout->parts[0].name, "size");
    assert_string_equal(shown(f, test, "size"), "7 ?");
    assert_string_equal(shown(f, test, "colour"), "! blue");
    const int32_t *codes = data_part(f, test, 2);
    assert_true(codes[0] == 1 && codes[1] == 0);
    assert_ptr_equal(layout->parts[1].dictionary, dlt_dataset_frame(train)->layout.parts[1].dictionary);
    dlt_dataset_close(test);
    /* an unknown label is an error with its row */
    assert_null(
        data_open_with(f,
                       data_item(f, SOURCES, "CSV", "path",
                                 data_text(f, "t.csv", "size,colour,kind\n7,red,cat\n8,red,cow\n"), NULL),
                       DLT_DEPTH_LOAD, follow));
    assert_string_equal(data_message(f, 0),
                        "t.csv:3:7: label 'cow' is not one of the 2 classes of train (cat, dog); if it is another word for "
                        "one of them, label_map says which");
    data_forget(f);
    assert_null(data_open_with(f,
                               data_item(f, SOURCES, "CSV", "path",
                                         data_text(f, "t.csv", "size,color,kind\n7,red,cat\n"), "header",
                                         "true", NULL),
                               DLT_DEPTH_LOAD, follow));
    assert_string_equal(data_message(f, 0),
                        "t.csv:1:1: there is no column 'colour', which train has; there is 'color'");
    data_forget(f);
    /* a text where train has numbers */
    assert_null(data_open_with(
        f,
        data_item(f, SOURCES, "CSV", "path", data_text(f, "t.csv", "size,colour,kind\nbig,red,cat\n"), NULL),
        DLT_DEPTH_LOAD, follow));
    assert_string_equal(data_message(f, 0), "t.csv:2:1: column 'size': 'big' is not a number");
    data_forget(f);
    dlt_dataset_close(train);
    /* a nameless column, as pandas writes its index, is found by its number */
    train = good(f, CSV(",a,y\n0,1,p\n1,2,q\n", "target", "y", NULL));
    follow.follow = dlt_dataset_frame(train);
    test = data_open_with(
        f, data_item(f, SOURCES, "CSV", "path", data_text(f, "t.csv", ",a,y\n7,5,q\n"), "target", "y", NULL),
        DLT_DEPTH_LOAD, follow);
    assert_non_null(test);
    assert_string_equal(shown(f, test, "0"), "7");
    dlt_dataset_close(test);
    dlt_dataset_close(train);
    /* without names, by place */
    train = good(f, CSV("1,2,a\n3,4,b\n", "target", "-1", NULL));
    follow.follow = dlt_dataset_frame(train);
    test = data_open_with(
        f, data_item(f, SOURCES, "CSV", "path", data_text(f, "t.csv", "5,6,b\n"), "target", "-1", NULL),
        DLT_DEPTH_LOAD, follow);
    assert_non_null(test);
    assert_string_equal(shown(f, test, "1"), "6");
    dlt_dataset_close(test);
    assert_null(data_open_with(
        f, data_item(f, SOURCES, "CSV", "path", data_text(f, "t.csv", "b,5,6\n"), "target", "0", NULL),
        DLT_DEPTH_LOAD, follow));
    assert_string_equal(data_message(f, 0),
                        "model.yaml:3:5: the target is column '0' here, another one than in train");
    data_forget(f);
    assert_null(data_open_with(f,
                               data_item(f, SOURCES, "CSV", "path", data_text(f, "t.csv", "5,6,7,b\n"), NULL),
                               DLT_DEPTH_LOAD, follow));
    assert_string_equal(data_message(f, 0), "t.csv:1:1: found 4 columns, expected 3 as in train");
    data_forget(f);
    dlt_dataset_close(train);
}

static void parameters_are_checked(void **state)
{
    data_fixture *f = *state;
    static const struct {
        const char *key, *value, *message;
    } bad[] = {
        {"delimiter", "ab",
         "model.yaml:7:5: CSV: delimiter must be one character that no number or quote has, or tab, or auto, "
         "found 'ab'"},
        {"delimiter", "'\"'",
         "model.yaml:7:5: CSV: delimiter must be one character that no number or quote has, or tab, or auto, "
         "found '\"'"},
        {"delimiter", "7",
         "model.yaml:7:5: CSV: delimiter must be one character that no number or quote has, or tab, or auto, "
         "found '7'"},
        {"comment", "//",
         "model.yaml:13:5: CSV: comment must be one character other than a quote and the delimiter, found "
         "'//'"},
        {"comment", "','",
         "model.yaml:13:5: CSV: comment must be one character other than a quote and the delimiter, found "
         "','"},
        {"types", "{a: float}",
         "model.yaml:12:5: CSV: type of column 'a' must be number, text or integer, found 'float'"},
        {"sample_weight", "[a, b]", "model.yaml:5:5: CSV: sample_weight must be one column, found 2"},
    };
    for (size_t i = 0; i < DLT_COUNT(bad); i++) {
        const dlt_item *item = CSV("a,b\n1,2\n", bad[i].key, bad[i].value, NULL);
        item->kind->check(item, f->diag);
        assert_int_equal(dlt_diag_size(f->diag), 1);
        assert_string_equal(data_message(f, 0), bad[i].message);
        data_forget(f);
    }
    const dlt_item *item = CSV("a,b\n1,2\n", "delimiter", "tab", "comment", "#", "types", "{a: text}", NULL);
    item->kind->check(item, f->diag);
    assert_int_equal(dlt_diag_size(f->diag), 0);
}

/* ---- many threads, many pieces ---- */

/* A table of all sorts: numbers long and short, quoted texts with line feeds, missing values, a growing
 * vocabulary. */
static void write_mixed(dlt_buf *text, int rows)
{
    dlt_buf_string(text, "number,word,quoted,rare,label\n");
    for (int i = 0; i < rows; i++) {
        const uint32_t r = dlt_random_bits(11, 3, (uint64_t)i, 0);
        dlt_buf_printf(text, r % 13 == 0 ? "," : "%.*g,", (int)(1 + r % 17), (double)(int32_t)r / 1234.5);
        dlt_buf_printf(text, "w%u,", r % 50);
        dlt_buf_printf(text, r % 5 == 0 ? "\"a \"\"%u\"\"\nb, c\"," : "plain %u,", r % 7);
        dlt_buf_printf(text, r % 3 == 0 ? "id-%d," : "?,", i);
        dlt_buf_printf(text, "class %u\n", (r >> 8) % 4);
        if (r % 97 == 0) {
            dlt_buf_char(text, '\n');
        }
    }
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    data_fixture *f = *state;
    dlt_buf text = {0};
    write_mixed(&text, 60000); /* some 3 MB: several blocks */
    const char *path = data_text(f, "a.csv", text.data);
    const char *first = NULL, *words = NULL;
    for (int threads = 1; threads <= 4; threads++) {
        dlt_dataset *ds =
            data_open_with(f, data_item(f, SOURCES, "CSV", "path", path, "target", "label", NULL),
                           DLT_DEPTH_LOAD, (dlt_dataset_options){.memory = 1 << 28, .threads = threads});
        assert_non_null(ds);
        assert_int_equal(dlt_dataset_count(ds), 60000);
        const dlt_dictionary *rare = dlt_dataset_frame(ds)->layout.parts[part_of(ds, "rare")].dictionary;
        dlt_buf all = {0};
        for (int64_t i = 0; i < rare->count; i++) {
            dlt_buf_string(&all, rare->at[i]);
        }
        char *digest = dlt_arena_alloc(f->arena, DLT_SHA256_HEX, 1);
        dlt_sha256_of(dlt_buf_text(&all), all.length, digest);
        dlt_buf_release(&all);
        if (first == NULL) {
            first = data_digest(f, ds);
            words = digest;
            assert_string_equal(rare->at[0], dlt_arena_printf(f->arena, "%s", rare->at[0]));
        }
        assert_string_equal(data_digest(f, ds), first);
        assert_string_equal(digest, words);
        dlt_dataset_close(ds);
    }
    dlt_buf_release(&text);
}

/* The same table by a slow and simple reader, to compare with. */
static void blocks_do_not_show(void **state)
{
    data_fixture *f = *state;
    dlt_buf text = {0};
    write_mixed(&text, 30000);
    dlt_dataset *ds = good(
        f, data_item(f, SOURCES, "CSV", "path", data_text(f, "a.csv", text.data), "target", "label", NULL));
    const double *numbers = data_part(f, ds, part_of(ds, "number"));
    const int32_t *words = data_part(f, ds, part_of(ds, "word"));
    const dlt_dictionary *dictionary = dlt_dataset_frame(ds)->layout.parts[part_of(ds, "word")].dictionary;
    for (int i = 0; i < 30000; i++) {
        const uint32_t r = dlt_random_bits(11, 3, (uint64_t)i, 0);
        char number[64], word[16];
        snprintf(number, sizeof number, "%.*g", (int)(1 + r % 17), (double)(int32_t)r / 1234.5);
        snprintf(word, sizeof word, "w%u", r % 50);
        assert_true(r % 13 == 0 ? isnan(numbers[i]) : numbers[i] == strtod(number, NULL));
        assert_string_equal(dictionary->at[words[i]], word);
    }
    dlt_dataset_close(ds);
    dlt_buf_release(&text);
}

static void vocabularies_are_bounded(void **state)
{
    data_fixture *f = *state;
    dlt_words words = {0};
    char text[32];
    for (int i = 0; i < 1000; i++) {
        const int length = snprintf(text, sizeof text, "%d", i / 2);
        assert_int_equal(dlt_words_add(&words, text, (size_t)length), i / 2);
    }
    assert_int_equal(words.dictionary.count, 500);
    assert_int_equal(dlt_words_find(&words, "499", 3), 499);
    assert_int_equal(dlt_words_find(&words, "500", 3), -1);
    assert_int_equal(dlt_words_add(&words, "", 0), 500);
    words.bytes = DLT_WORDS_MOST_BYTES - 2;
    assert_int_equal(dlt_words_add(&words, "abc", 3), DLT_WORDS_FULL);
    assert_int_equal(dlt_words_add(&words, "ab", 2), 501);
    dlt_words_release(&words);
    /* a column with too many different texts is named */
    dlt_buf csv = {0};
    dlt_buf_string(&csv, "name,x\n");
    for (int i = 0; i < 1000005; i++) {
        dlt_buf_printf(&csv, "n%d,1\n", i);
    }
    const char *path = data_text(f, "a.csv", csv.data);
    refuses(f, data_item(f, SOURCES, "CSV", "path", path, NULL),
            "model.yaml:1:1: column 'name' has more than 1000000 different texts, or more than 64 MiB of "
            "them; leave it out with columns");
    dlt_dataset *ds = good(f, data_item(f, SOURCES, "CSV", "path", path, "columns", "[x]", NULL));
    assert_int_equal(dlt_dataset_count(ds), 1000005);
    dlt_dataset_close(ds);
    dlt_buf_release(&csv);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, data_setup, data_teardown)
    const struct CMUnitTest tests[] = {
        TEST(rfc_4180_is_read),
        TEST(real_files_are_read),
        TEST(a_header_is_told_from_a_record),
        TEST(columns_are_chosen_by_name_and_number),
        TEST(types_are_inferred_and_declared),
        TEST(missing_values_are_what_the_user_says),
        TEST(a_column_that_is_nearly_all_numbers_is_pointed_out),
        TEST(class_names_are_sorted_by_their_bytes),
        TEST(labels_are_mapped_first),
        TEST(several_files_are_one_table),
        TEST(errors_have_file_line_and_column),
        TEST(a_column_that_changes_after_the_first_records_is_an_error),
        TEST(a_wrong_row_far_down_is_named),
        TEST(twenty_errors_are_shown_and_the_rest_is_counted),
        TEST(a_record_that_never_ends_is_an_error),
        TEST(test_and_prediction_follow_train),
        TEST(parameters_are_checked),
        TEST(any_number_of_threads_gives_the_same_bits),
        TEST(blocks_do_not_show),
        TEST(vocabularies_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
