/* tests/unit/test_data_arrays.c: IDX, NPY and NPZ: good files, bad files and what is said about them. */
#include "support/support.h"

#include "io/data/convert.h"
#include "io/data/npy.h"
#include "support/data_support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <zip.h>

#define SOURCES &dlt_source_category

/* An IDX file: header from type and sizes, then the bytes. */
static const char *write_idx(data_fixture *f, const char *name, unsigned char type, size_t rank,
                             const uint32_t *sizes, const void *bytes, size_t count, bool gzip)
{
    unsigned char file[4096];
    size_t length = 4;
    memcpy(file, (const unsigned char[]){0, 0, type, (unsigned char)rank}, 4);
    for (size_t i = 0; i < rank; i++, length += 4) {
        for (size_t k = 0; k < 4; k++) {
            file[length + k] = (unsigned char)(sizes[i] >> (24 - 8 * k));
        }
    }
    memcpy(file + length, bytes, count);
    length += count;
    return gzip ? data_gzip(f, name, file, length) : data_file(f, name, file, length);
}

static const unsigned char pixels[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255};

static void idx_reads_plain_and_gzip_alike(void **state)
{
    data_fixture *f = *state;
    const unsigned char labels[3] = {2, 0, 1};
    for (int gzip = 0; gzip < 2; gzip++) {
        const char *x =
            write_idx(f, gzip ? "x.gz" : "x", 8, 3, (const uint32_t[]){3, 2, 2}, pixels, 12, gzip != 0);
        const char *y = write_idx(f, gzip ? "y.gz" : "y", 8, 1, (const uint32_t[]){3}, labels, 3, gzip != 0);
        dlt_dataset *ds =
            data_open(f, data_item(f, SOURCES, "IDX", "features", x, "labels", y, NULL), DLT_DEPTH_LOAD);
        assert_non_null(ds);
        const dlt_record_layout *layout = &dlt_dataset_frame(ds)->layout;
        assert_int_equal(dlt_dataset_count(ds), 3);
        assert_int_equal(layout->count, 2);
        /* grey images get a last axis of one channel */
        assert_true(dlt_shape_equal(&layout->parts[0].shape, &DLT_SHAPE(2, 2, 1)));
        assert_int_equal(layout->parts[0].dtype, DLT_U8);
        assert_int_equal(layout->parts[1].shape.rank, 0);
        assert_memory_equal(data_part(f, ds, 0), pixels, 12);
        assert_memory_equal(data_part(f, ds, 1), labels, 3);
        assert_int_equal(dlt_dataset_stats(ds)->classes.count, 3);
        assert_int_equal(dlt_dataset_stats(ds)->classes.first[0], 1);
        dlt_dataset_close(ds);
    }
}

static void idx_is_big_endian(void **state)
{
    data_fixture *f = *state;
    const unsigned char floats[8] = {0x3f, 0x80, 0, 0, 0xc0, 0x20, 0, 0};
    const unsigned char shorts[4] = {0xff, 0xfe, 0x01, 0x00};
    const char *x = write_idx(f, "x", 0x0d, 1, (const uint32_t[]){2}, floats, 8, false);
    const char *y = write_idx(f, "y", 0x0b, 1, (const uint32_t[]){2}, shorts, 4, false);
    dlt_dataset *ds =
        data_open(f, data_item(f, SOURCES, "IDX", "features", x, "labels", y, NULL), DLT_DEPTH_LOAD);
    assert_non_null(ds);
    const float *values = data_part(f, ds, 0);
    const int16_t *targets = data_part(f, ds, 1);
    assert_true(values[0] == 1.0f && values[1] == -2.5f);
    assert_true(targets[0] == -2 && targets[1] == 256);
    assert_int_equal(dlt_dataset_stats(ds)->classes.other, 0);
    dlt_dataset_close(ds);
}

/* Opens and expects one message. */
static void refuses(data_fixture *f, const dlt_item *item, const char *message)
{
    dlt_dataset *ds = data_open(f, item, DLT_DEPTH_LOAD);
    assert_null(ds);
    assert_string_equal(data_message(f, 0), message);
    data_forget(f);
}

static void bad_idx_files_are_refused_by_name(void **state)
{
    data_fixture *f = *state;
    const unsigned char labels[3] = {2, 0, 1};
    const char *y = write_idx(f, "y", 8, 1, (const uint32_t[]){3}, labels, 3, false);
#define IDX(path) data_item(f, SOURCES, "IDX", "features", path, "labels", y, NULL)
    refuses(f, IDX(data_text(f, "text", "5.1,3.5\n")),
            "model.yaml:2:5: 'text' is no IDX file: it does not begin with two zero bytes");
    refuses(f, IDX(data_file(f, "type", "\0\0\x0a\x01\0\0\0\x01x", 9)),
            "model.yaml:2:5: 'type' is no IDX file: its type code is 0x0a, not one of 08 09 0b 0c 0d 0e");
    refuses(f, IDX(data_file(f, "cut", "\0\0\x08\x03\0\0\0\x03\0\0", 10)),
            "model.yaml:2:5: 'cut' ends in its header");
    refuses(
        f, IDX(write_idx(f, "short", 8, 3, (const uint32_t[]){3, 2, 2}, pixels, 11, false)),
        "model.yaml:2:5: 'short' is not whole: shape (3, 2, 2, 1) takes 12 bytes, the file holds at most 11");
    refuses(f, IDX(write_idx(f, "long", 8, 3, (const uint32_t[]){2, 2, 2}, pixels, 12, false)),
            "model.yaml:2:5: 'long' has 4 bytes more than its shape (2, 2, 2, 1) takes");
    refuses(f, IDX(write_idx(f, "long.gz", 8, 3, (const uint32_t[]){3, 2, 1}, pixels, 12, true)),
            "model.yaml:2:5: 'long.gz' goes on after the 3 records that its header promises");
    refuses(f, IDX(write_idx(f, "short.gz", 8, 3, (const uint32_t[]){3, 2, 3}, pixels, 12, true)),
            "model.yaml:2:5: 'short.gz' ends in record 3 of the 3 that its header promises");
    refuses(f,
            IDX(write_idx(f, "huge.gz", 8, 3, (const uint32_t[]){0xffffffff, 0xffffffff, 0xffffffff}, pixels,
                          12, true)),
            "model.yaml:2:5: 'huge.gz' claims the impossible shape (4294967295, 4294967295, 4294967295, 1)");
    assert_null(
        data_open(f, IDX(write_idx(f, "big.gz", 8, 3, (const uint32_t[]){3, 65535, 65535}, pixels, 12, true)),
                  DLT_DEPTH_LOAD));
    assert_non_null(strstr(data_message(f, 0), "'big.gz' is not whole: shape (3, 65535, 65535, 1) takes "
                                               "12884508675 bytes, the file holds at most "));
    data_forget(f);
    refuses(f, IDX(write_idx(f, "two", 8, 3, (const uint32_t[]){2, 2, 2}, pixels, 8, false)),
            "model.yaml:3:5: 'two' has 2 records, 'y' has 3");
    refuses(f, IDX(write_idx(f, "none", 8, 3, (const uint32_t[]){0, 2, 2}, pixels, 0, false)),
            "model.yaml:2:5: 'none' is empty: its shape is (0, 2, 2, 1)");
    refuses(f, IDX(write_idx(f, "scalar", 8, 0, NULL, pixels, 1, false)),
            "model.yaml:2:5: 'scalar' holds a single number; records are expected along a first axis");
    refuses(f, IDX(data_path(f, "absent")),
            "model.yaml:2:5: cannot open 'absent': No such file or directory");
    refuses(f, IDX(f->folder), "model.yaml:2:5: cannot open '': it is a folder");
#undef IDX
}

static void damaged_gzip_is_told_from_short_gzip(void **state)
{
    data_fixture *f = *state;
    unsigned char noise[3000], file[4096];
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (unsigned char)(i * i * 7 >> 3);
    }
    const char *good =
        write_idx(f, "good.gz", 8, 3, (const uint32_t[]){3, 10, 100}, noise, sizeof noise, true);
    FILE *in = fopen(good, "rb");
    const size_t size = fread(file, 1, sizeof file, in);
    fclose(in);
    const char *cut = data_file(f, "cut.gz", file, size - 100);
    dlt_dataset *ds = data_open(f, data_item(f, SOURCES, "IDX", "features", cut, NULL), DLT_DEPTH_LOAD);
    assert_null(ds);
    char expected[200];
    snprintf(expected, sizeof expected,
             "model.yaml:2:5: 'cut.gz' ends in the middle of its gzip data, after %zu bytes: it was not copied whole",
             size - 100);
    assert_string_equal(data_message(f, 0), expected);
    data_forget(f);
    file[size - 6] ^= 1; /* of the checksum */
    const char *bad = data_file(f, "bad.gz", file, size);
    assert_null(data_open(f, data_item(f, SOURCES, "IDX", "features", bad, NULL), DLT_DEPTH_LOAD));
    assert_non_null(strstr(data_message(f, 0), "'bad.gz' is damaged: its gzip data are wrong behind the first"));
    data_forget(f);
    file[size - 6] ^= 1;
    file[size] = 'x';
    const char *more = data_file(f, "more.gz", file, size + 1);
    assert_null(data_open(f, data_item(f, SOURCES, "IDX", "features", more, NULL), DLT_DEPTH_LOAD));
    snprintf(expected, sizeof expected,
             "model.yaml:2:5: 'more.gz' goes on after its gzip data with something else, at byte %zu", size);
    assert_string_equal(data_message(f, 0), expected);
    data_forget(f);
    file[size] = 0; /* padding is fine */
    const char *padded = data_file(f, "padded.gz", file, size + 1);
    ds = data_open(f, data_item(f, SOURCES, "IDX", "features", padded, NULL), DLT_DEPTH_LOAD);
    assert_non_null(ds);
    assert_memory_equal(data_part(f, ds, 0), noise, sizeof noise);
    dlt_dataset_close(ds);
}

static void npy_types_are_read(void **state)
{
    data_fixture *f = *state;
    static const struct {
        const char *descr;
        unsigned char bytes[16];
        size_t size;
        dlt_dtype dtype;
        double first, second;
    } types[] = {
        {"<f4", {0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0}, 8, DLT_F32, 1, -2.5},
        {">f4", {0x3f, 0x80, 0, 0, 0xc0, 0x20, 0, 0}, 8, DLT_F32, 1, -2.5},
        {"<f8", {0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 4, 0xc0}, 16, DLT_F64, 1, -2.5},
        {"<f2", {0x00, 0x3c, 0x00, 0xc1}, 4, DLT_F16, 1, -2.5},
        {"|u1", {1, 255}, 2, DLT_U8, 1, 255},
        {"|i1", {1, 255}, 2, DLT_I8, 1, -1},
        {"|b1", {1, 0}, 2, DLT_U8, 1, 0},
        {"<i2", {1, 0, 0xff, 0xff}, 4, DLT_I16, 1, -1},
        {">i2", {0, 1, 0xff, 0xff}, 4, DLT_I16, 1, -1},
        {"<u2", {1, 0, 0xff, 0xff}, 4, DLT_I32, 1, 65535},
        {">u2", {0, 1, 0xff, 0xff}, 4, DLT_I32, 1, 65535},
        {"<i4", {1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, 8, DLT_I32, 1, -1},
        {"<u4", {1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, 8, DLT_I64, 1, 4294967295.0},
        {"<i8", {1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 16, DLT_I64, 1, -1},
        {"=i8", {1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 16, DLT_I64, 1, -1},
        {">u8",
         {0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
         16,
         DLT_I64,
         1,
         9223372036854775807.0},
    };
    for (size_t i = 0; i < DLT_COUNT(types); i++) {
        const char *x = data_npy(f, "x.npy", types[i].descr, false, "(2,)", types[i].bytes, types[i].size);
        dlt_dataset *ds = data_open(f, data_item(f, SOURCES, "NPY", "features", x, NULL), DLT_DEPTH_LOAD);
        assert_non_null(ds);
        assert_int_equal(dlt_dataset_frame(ds)->layout.parts[0].dtype, types[i].dtype);
        const void *values = data_part(f, ds, 0);
        assert_true(dlt_element_value(types[i].dtype, values, 0) == types[i].first);
        assert_true(dlt_element_value(types[i].dtype, values, 1) == types[i].second);
        dlt_dataset_close(ds);
    }
}

static void npy_by_column_is_turned(void **state)
{
    data_fixture *f = *state;
    float stored[24], expected[24];
    for (int n = 0; n < 4; n++) {
        for (int a = 0; a < 2; a++) {
            for (int b = 0; b < 3; b++) {
                const float value = (float)(100 * n + 10 * a + b);
                expected[n * 6 + a * 3 + b] = value;
                stored[n + 4 * a + 8 * b] = value; /* the first axis fastest */
            }
        }
    }
    const char *x = data_npy(f, "x.npy", "<f4", true, "(4, 2, 3)", stored, sizeof stored);
    dlt_dataset *ds = data_open(f, data_item(f, SOURCES, "NPY", "features", x, NULL), DLT_DEPTH_LOAD);
    assert_non_null(ds);
    assert_memory_equal(data_part(f, ds, 0), expected, sizeof expected);
    dlt_dataset_close(ds);
    /* compressed, it is turned in memory */
    FILE *in = fopen(x, "rb");
    unsigned char file[512];
    const size_t size = fread(file, 1, sizeof file, in);
    fclose(in);
    const char *gz = data_gzip(f, "x.npy.gz", file, size);
    ds = data_open(f, data_item(f, SOURCES, "NPY", "features", gz, NULL), DLT_DEPTH_LOAD);
    assert_non_null(ds);
    assert_memory_equal(data_part(f, ds, 0), expected, sizeof expected);
    dlt_dataset_close(ds);
    assert_null(data_open_with(f, data_item(f, SOURCES, "NPY", "features", gz, NULL), DLT_DEPTH_LOAD,
                               (dlt_dataset_options){.memory = 10, .threads = 1}));
    assert_string_equal(
        data_message(f, 0),
        "model.yaml:2:5: 'x.npy.gz' is stored by column (Fortran order) and compressed, so it must be held "
        "in "
        "memory, where it takes more than data.memory allows; store it with numpy.ascontiguousarray");
    data_forget(f);
}

static void npy_headers_may_be_spelt_otherwise(void **state)
{
    data_fixture *f = *state;
    static const char *const good[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
        "{\"shape\":(2,3),\"fortran_order\":False,\"descr\":\"<f4\"}",
        "  { 'fortran_order' : False , 'shape' : ( 2 , 3 ) , 'descr' : '<f4' }  \n",
        "{'descr':'f4','fortran_order':False,'shape':(2L,3L,)}"};
    for (size_t i = 0; i < DLT_COUNT(good); i++) {
        dlt_array a = {.path = "x"};
        assert_int_equal(dlt_npy_parse(&a, good[i], strlen(good[i]), f->diag), DLT_OK);
        assert_true(a.dtype == DLT_F32 && !a.swap && !a.by_column &&
                    dlt_shape_equal(&a.shape, &DLT_SHAPE(2, 3)));
    }
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "'x' has a damaged NPY header: no '{'"},
        {"{'descr': '<f4', 'fortran_order': False}",
         "'x' has a damaged NPY header: descr, fortran_order or shape is missing"},
        {"{'descr': '<f4', 'descr': '<f4'}", "'x' has a damaged NPY header: an unknown or repeated key"},
        {"{'other': 1}", "'x' has a damaged NPY header: an unknown or repeated key"},
        {"{'descr': '<f4', 'fortran_order': 1}",
         "'x' has a damaged NPY header: fortran_order is neither True nor False"},
        {"{'shape': 3}", "'x' has a damaged NPY header: shape is not a tuple"},
        {"{'shape': (-3,)}", "'x' has a damaged NPY header: an axis of shape is no whole number"},
        {"{'shape': (3", "'x' has a damaged NPY header: shape is not closed"},
        {"{'shape': (99999999999999999999,)}",
         "'x' has a damaged NPY header: an axis of shape is no whole number"},
        {"{'shape': (1,1,1,1,1,1,1,1,1)}", "'x' has more than 8 axes, the most that is supported"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x",
         "'x' has a damaged NPY header: something follows the '}'"},
        {"{'descr': '<f4'", "'x' has a damaged NPY header: it does not end with '}'"},
        {"{'descr': '<c8'}",
         "'x' holds elements of type '<c8'; supported are f2 f4 f8, i1 i2 i4 i8, u1 u2 u4 u8, b1"},
        {"{'descr': '<U7'}",
         "'x' holds elements of type '<U7'; supported are f2 f4 f8, i1 i2 i4 i8, u1 u2 u4 u8, b1"},
        {"{'descr': '|O'}",
         "'x' holds Python objects (pickle), which are not loaded: they could run code; save numbers"},
        {"{'descr': [('a', '<f4')]}",
         "'x' is a structured array (several fields a record); save one array of numbers"},
        {"{'descr': 4}", "'x' has a damaged NPY header: descr is no string"},
        {"{descr: '<f4'}", "'x' has a damaged NPY header: a key is expected"},
    };
    for (size_t i = 0; i < DLT_COUNT(bad); i++) {
        dlt_array a = {.path = "x"};
        assert_int_equal(dlt_npy_parse(&a, bad[i].text, strlen(bad[i].text), f->diag), DLT_E_DATA);
        assert_string_equal(data_message(f, 0), bad[i].message);
        data_forget(f);
    }
}

static void bad_npy_files_are_refused(void **state)
{
    data_fixture *f = *state;
    const float x[4] = {1, 2, 3, 4};
#define NPY(path) data_item(f, SOURCES, "NPY", "features", path, NULL)
    refuses(f, NPY(data_text(f, "a", "1,2\n3,4 and more\n")),
            "model.yaml:2:5: 'a' is no NPY file: it does not begin with \\x93NUMPY");
    refuses(f, NPY(data_file(f, "a", "\x93NUMPY\x04\x00\x10\x00", 10)),
            "model.yaml:2:5: 'a' has NPY version 4; 1, 2 and 3 are supported");
    refuses(f, NPY(data_file(f, "a", "\x93NUMPY\x01\x00\x10\x00{'descr'", 18)),
            "model.yaml:2:5: 'a' has a damaged NPY header: it ends early");
    refuses(f, NPY(data_file(f, "a", "\x93NUMPY\x02\x00\xff\xff\xff\xff", 12)),
            "model.yaml:2:5: 'a' has an NPY header of 4294967295 bytes; at most 10000 are read");
    refuses(f, NPY(data_npy(f, "a", "<f4", false, "(2, 3)", x, sizeof x)),
            "model.yaml:2:5: 'a' is not whole: shape (2, 3) takes 24 bytes, the file holds at most 16");
    refuses(f, NPY(data_npy(f, "a", "<f4", false, "(3,)", x, sizeof x)),
            "model.yaml:2:5: 'a' has 4 bytes more than its shape (3,) takes");
    refuses(f, NPY(data_npy(f, "a", "<f4", false, "()", x, 4)),
            "model.yaml:2:5: 'a' holds a single number; records are expected along a first axis");
    refuses(f, NPY(data_npy(f, "a", "<f4", false, "(2, 0)", x, 0)),
            "model.yaml:2:5: 'a' is empty: its shape is (2, 0)");
    const uint64_t large[2] = {1, UINT64_MAX};
    refuses(f, NPY(data_npy(f, "a", "<u8", false, "(2,)", large, sizeof large)),
            "model.yaml:2:5: 'a': record 2 has the value 18446744073709551615; at most 9223372036854775807 "
            "is supported");
#undef NPY
}

static void targets_and_weights_must_be_finite(void **state)
{
    data_fixture *f = *state;
    const float x[3] = {1, (float)NAN, 3}, w[3] = {1, 0, -0.5f};
    const char *features = data_npy(f, "x.npy", "<f4", false, "(3,)", x, sizeof x);
    const char *weights = data_npy(f, "w.npy", "<f4", false, "(3,)", w, sizeof w);
    refuses(f, data_item(f, SOURCES, "NPY", "features", weights, "labels", features, NULL),
            "model.yaml:3:5: 'x.npy': record 2 has the value nan");
    refuses(f, data_item(f, SOURCES, "NPY", "features", features, "sample_weight", weights, NULL),
            "model.yaml:4:5: 'w.npy': record 3 has the weight -0.5; weights are 0 or more");
    const char *wide = data_npy(f, "wide.npy", "<f4", false, "(3, 1, 2)", (const float[6]){0}, 24);
    refuses(f, data_item(f, SOURCES, "NPY", "features", features, "sample_weight", wide, NULL),
            "model.yaml:4:5: 'wide.npy' has 2 weights a record; one is expected");
}

static void a_source_follows_train(void **state)
{
    data_fixture *f = *state;
    const unsigned char bytes[4] = {1, 2, 3, 200};
    const float floats[4] = {1, 2, 3, 4}, parts[4] = {1, 2.5f, 3, 4};
    const int64_t labels[2] = {1, 0};
    const char *x = data_npy(f, "x.npy", "|u1", false, "(2, 2)", bytes, 4);
    const char *y = data_npy(f, "y.npy", "<i8", false, "(2,)", labels, sizeof labels);
    dlt_dataset *train =
        data_open(f, data_item(f, SOURCES, "NPY", "features", x, "labels", y, NULL), DLT_DEPTH_LOAD);
    assert_non_null(train);
    const dlt_dataset_options follow = {.follow = dlt_dataset_frame(train), .memory = 1 << 20, .threads = 1};
    /* the same values in another type become train's type */
    const char *x2 = data_npy(f, "x2.npy", "<f4", false, "(2, 2)", floats, sizeof floats);
    dlt_dataset *test = data_open_with(f, data_item(f, SOURCES, "NPY", "features", x2, "labels", y, NULL),
                                       DLT_DEPTH_LOAD, follow);
    assert_non_null(test);
    assert_int_equal(dlt_dataset_frame(test)->layout.parts[0].dtype, DLT_U8);
    assert_memory_equal(data_part(f, test, 0), "\1\2\3\4", 4);
    dlt_dataset_close(test);
    const char *x3 = data_npy(f, "x3.npy", "<f4", false, "(2, 2)", parts, sizeof parts);
    assert_null(data_open_with(f, data_item(f, SOURCES, "NPY", "features", x3, "labels", y, NULL),
                               DLT_DEPTH_LOAD, follow));
    assert_string_equal(
        data_message(f, 0),
        "model.yaml:2:5: 'x3.npy': record 1 has a float32 value that is no uint8, which train has");
    data_forget(f);
    const char *x4 = data_npy(f, "x4.npy", "|u1", false, "(2, 2, 1)", bytes, 4);
    assert_null(data_open_with(f, data_item(f, SOURCES, "NPY", "features", x4, "labels", y, NULL),
                               DLT_DEPTH_LOAD, follow));
    assert_string_equal(data_message(f, 0),
                        "model.yaml:2:5: features of 'x4.npy' have shape (2, 1), those of train (2,)");
    data_forget(f);
    assert_null(data_open_with(f, data_item(f, SOURCES, "NPY", "features", x, NULL), DLT_DEPTH_LOAD, follow));
    assert_string_equal(data_message(f, 0),
                        "model.yaml:1:1: train has labels, this source has none; add labels");
    data_forget(f);
    dlt_dataset_close(train);
}

/* ---- NPZ ---- */

static const char *write_npz(data_fixture *f, const char *name, int method, const char *const *files,
                             size_t count)
{
    const char *path = data_path(f, name);
    int error = 0;
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &error);
    assert_non_null(zip);
    for (size_t i = 0; i < count; i++) {
        zip_source_t *from = zip_source_file(zip, data_path(f, files[i]), 0, 0);
        const zip_int64_t entry = zip_file_add(zip, files[i], from, 0);
        assert_true(entry >= 0);
        assert_int_equal(zip_set_file_compression(zip, (zip_uint64_t)entry, method, 0), 0);
    }
    assert_int_equal(zip_close(zip), 0);
    return path;
}

static void npz_reads_stored_and_deflated(void **state)
{
    data_fixture *f = *state;
    float x[600];
    unsigned char y[100];
    for (size_t i = 0; i < 600; i++) {
        x[i] = (float)(i % 50);
    }
    for (size_t i = 0; i < 100; i++) {
        y[i] = (unsigned char)(i % 3);
    }
    data_npy(f, "x_train.npy", "<f4", false, "(100, 6)", x, sizeof x);
    data_npy(f, "y_train.npy", "|u1", false, "(100,)", y, sizeof y);
    static const char *const files[] = {"x_train.npy", "y_train.npy"};
    static const int methods[] = {ZIP_CM_STORE, ZIP_CM_DEFLATE};
    for (size_t i = 0; i < 2; i++) {
        const char *path = write_npz(f, "d.npz", methods[i], files, 2);
        dlt_dataset *ds = data_open(
            f, data_item(f, SOURCES, "NPZ", "path", path, "features", "x_train", "labels", "y_train", NULL),
            DLT_DEPTH_LOAD);
        assert_non_null(ds);
        assert_int_equal(dlt_dataset_count(ds), 100);
        assert_memory_equal(data_part(f, ds, 0), x, sizeof x);
        assert_memory_equal(data_part(f, ds, 1), y, sizeof y);
        dlt_dataset_close(ds);
    }
    refuses(f, data_item(f, SOURCES, "NPZ", "path", data_path(f, "d.npz"), "features", "x_trian", NULL),
            "model.yaml:3:5: 'd.npz' has no array 'x_trian'; did you mean 'x_train'?");
    refuses(f, data_item(f, SOURCES, "NPZ", "path", data_path(f, "x_train.npy"), "features", "x", NULL),
            "model.yaml:2:5: 'x_train.npy' is no NPZ archive: Not a zip archive");
}

static void a_damaged_npz_is_found(void **state)
{
    data_fixture *f = *state;
    unsigned char x[4000], file[8192];
    for (size_t i = 0; i < sizeof x; i++) {
        x[i] = (unsigned char)(i * i * 13 >> 4);
    }
    data_npy(f, "x.npy", "|u1", false, "(40, 100)", x, sizeof x);
    static const char *const files[] = {"x.npy"};
    const char *good = write_npz(f, "good.npz", ZIP_CM_STORE, files, 1);
    FILE *in = fopen(good, "rb");
    const size_t size = fread(file, 1, sizeof file, in);
    fclose(in);
    file[2000] ^= 4;
    refuses(f,
            data_item(f, SOURCES, "NPZ", "path", data_file(f, "bad.npz", file, size), "features", "x", NULL),
            "model.yaml:3:5: 'bad.npz: x' is damaged: CRC error");
    assert_null(data_open(
        f,
        data_item(f, SOURCES, "NPZ", "path", data_file(f, "cut.npz", file, size - 10), "features", "x", NULL),
        DLT_DEPTH_LOAD));
    assert_non_null(strstr(data_message(f, 0), "model.yaml:2:5: 'cut.npz' is no NPZ archive: "));
    data_forget(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, data_setup, data_teardown)
    const struct CMUnitTest tests[] = {
        TEST(idx_reads_plain_and_gzip_alike),
        TEST(idx_is_big_endian),
        TEST(bad_idx_files_are_refused_by_name),
        TEST(damaged_gzip_is_told_from_short_gzip),
        TEST(npy_types_are_read),
        TEST(npy_by_column_is_turned),
        TEST(npy_headers_may_be_spelt_otherwise),
        TEST(bad_npy_files_are_refused),
        TEST(targets_and_weights_must_be_finite),
        TEST(a_source_follows_train),
        TEST(npz_reads_stored_and_deflated),
        TEST(a_damaged_npz_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
