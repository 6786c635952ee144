/* tests/unit/test_h5_read.c: what is read of files that h5py and Keras made (tests/data/h5/make.py). */
#include "support/scratch.h"
#include "support/support.h"

#include "base/alloc.h"
#include "io/h5/h5_table.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct fixture {
    dlt_diag *diag;
    dlt_h5_file *file;
} fixture;

static int setup(void **state)
{
    static fixture f;
    f = (fixture){.diag = dlt_diag_create()};
    *state = &f;
    return f.diag == NULL;
}

static int teardown(void **state)
{
    fixture *f = *state;
    dlt_h5_close(f->file);
    dlt_diag_destroy(f->diag);
    return 0;
}

static void open_data(fixture *f, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "tests/data/h5/%s", name);
    if (dlt_h5_open(path, DLT_E_DATA, (dlt_pos){0}, &f->file, f->diag) != DLT_OK) {
        fail_msg("%s", dlt_diag_text(f->diag, 0));
    }
}

static const dlt_h5_object *find(fixture *f, const char *path)
{
    const dlt_h5_object *object = dlt_h5_find(f->file, path);
    assert_non_null(object);
    return object;
}

/* Reads a whole dataset; the test's room is exactly what it takes. */
static void read_all(fixture *f, const char *path, dlt_dtype type, void *out, size_t bytes)
{
    const dlt_h5_want want = {.dtype = type, .all = true};
    if (dlt_h5_read(f->file, find(f, path), &want, out, bytes, f->diag) != DLT_OK) {
        fail_msg("%s", dlt_diag_text(f->diag, 0));
    }
}

static void read_fails(fixture *f, const char *path, dlt_dtype type, size_t bytes, const char *message)
{
    char room[65536];
    assert_true(bytes <= sizeof room);
    dlt_diag_reset(f->diag);
    assert_int_equal(
        dlt_h5_read(f->file, find(f, path), &(dlt_h5_want){.dtype = type, .all = true}, room, bytes, f->diag),
        DLT_E_DATA);
    assert_int_equal(dlt_diag_size(f->diag), 1);
    assert_string_equal(dlt_diag_text(f->diag, 0), message);
}

/* ---- types ---- */

static double element(const void *data, dlt_dtype type, size_t i)
{
    switch (type) {
    case DLT_F32:
        return (double)((const float *)data)[i];
    case DLT_F64:
        return ((const double *)data)[i];
    case DLT_U8:
        return ((const uint8_t *)data)[i];
    case DLT_I8:
        return ((const int8_t *)data)[i];
    case DLT_I16:
        return ((const int16_t *)data)[i];
    case DLT_I32:
        return ((const int32_t *)data)[i];
    case DLT_I64:
        return (double)((const int64_t *)data)[i];
    default: {
        const uint16_t bits = ((const uint16_t *)data)[i];
        const int wide = type == DLT_F16 ? 10 : 7, bias = type == DLT_F16 ? 15 : 127;
        const int exponent = (bits & 0x7FFF) >> wide, mantissa = bits & ((1 << wide) - 1);
        const double value =
            exponent == 0 ? ldexp(mantissa, 1 - bias - wide) : ldexp(mantissa + (1 << wide), exponent - bias - wide);
        return (bits & 0x8000) != 0 ? -value : value;
    }
    }
}

static void every_type_becomes_every_type(void **state)
{
    fixture *f = *state;
    static const char *const types[] = {"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"};
    static const dlt_dtype natural[] = {DLT_I8,  DLT_I16, DLT_I32, DLT_I64, DLT_U8, DLT_I32,
                                        DLT_I64, DLT_I64, DLT_F16, DLT_F32, DLT_F64};
    static const double with_sign[] = {0, 1, 2, 100, -1, -100}, without[] = {0, 1, 2, 100, 127, 126};
    open_data(f, "types.h5");
    for (size_t i = 0; i < DLT_COUNT(types); i++) {
        const bool has_sign = types[i][0] != 'u';
        for (int big = 0; big < 2; big++) {
            char path[32];
            snprintf(path, sizeof path, "/%s/%s", big != 0 ? "big" : "little", types[i]);
            assert_int_equal(dlt_h5_dtype(find(f, path)), natural[i]);
            assert_int_equal(find(f, path)->big_endian, big != 0 && types[i][1] != '1');
            for (dlt_dtype type = 0; type < DLT_DTYPE_COUNT; type++) {
                char out[6 * 8];
                if (type == DLT_U8 && has_sign) {
                    char message[200];
                    snprintf(message, sizeof message,
                             "'%s' in 'tests/data/h5/types.h5' holds -1 at (4,), which is no uint8", path);
                    read_fails(f, path, type, 6, message);
                    continue;
                }
                read_all(f, path, type, out, 6 * dlt_dtype_size(type));
                for (size_t k = 0; k < 6; k++) {
                    assert_true(element(out, type, k) == (has_sign ? with_sign : without)[k]);
                }
            }
        }
    }
}

static void special_kinds_of_data(void **state)
{
    fixture *f = *state;
    open_data(f, "types.h5");
    uint8_t flags[3];
    read_all(f, "/bool", DLT_U8, flags, sizeof flags);
    assert_true(flags[0] == 1 && flags[1] == 0 && flags[2] == 1);
    float values[12];
    assert_int_equal(dlt_h5_dtype(find(f, "/bfloat16")), DLT_BF16);
    read_all(f, "bfloat16", DLT_F32, values, 3 * sizeof *values);
    assert_true(values[0] == 1 && values[1] == 2.5F && values[2] == -3);
    uint16_t brief[3];
    read_all(f, "/bfloat16", DLT_BF16, brief, sizeof brief);
    assert_true(brief[0] == 0x3F80 && brief[1] == 0x4020 && brief[2] == 0xC040);
    assert_int_equal(find(f, "/scalar")->shape.rank, 0);
    read_all(f, "/scalar", DLT_F32, values, sizeof *values);
    assert_true(values[0] == 2.5F);
    read_all(f, "/empty", DLT_F32, values, 0);
    int32_t compact[5];
    assert_int_equal(find(f, "/compact")->storage, DLT_H5_COMPACT);
    read_all(f, "/compact", DLT_I32, compact, sizeof compact);
    assert_true(compact[0] == 5 && compact[1] == 4 && compact[4] == 1);
    int64_t filled[6];
    read_all(f, "/filled", DLT_I64, filled, sizeof filled);
    assert_true(filled[0] == 7 && filled[5] == 7);
    assert_int_equal(find(f, "/filled")->bytes_stored, 0);
    double odd[4];
    read_all(f, "/nan", DLT_F64, odd, sizeof odd);
    assert_true(isnan(odd[0]) && odd[1] > 0 && isinf(odd[1]) && odd[2] < 0 && isinf(odd[2]) && signbit(odd[3]));
    read_all(f, "/nan", DLT_F32, values, 4 * sizeof *values);
    assert_true(isnan(values[0]) && isinf(values[1]) && values[1] > 0 && isinf(values[2]) && signbit(values[3]));
}

static void half_floats_round_to_nearest_even(void **state)
{
    fixture *f = *state;
    /* made with numpy 2.4.6 and ml_dtypes 0.6.0 */
    static const uint16_t half[] = {0x3C00, 0x3C02, 0x3C01, 0x4000, 1, 0, 1, 0x7BFF, 0x7BFF, 0x3C04, 0x3C0C, 0x400};
    static const uint16_t brain[] = {0x3F80, 0x3F80, 0x3F80, 0x4000, 0x3380, 0x3300,
                                     0x3300, 0x4780, 0x4780, 0x3F80, 0x3F82, 0x3880};
    open_data(f, "types.h5");
    uint16_t out[12];
    read_all(f, "/rounding", DLT_F16, out, sizeof out);
    assert_memory_equal(out, half, sizeof half);
    read_all(f, "/rounding", DLT_BF16, out, sizeof out);
    assert_memory_equal(out, brain, sizeof brain);
    /* float16 -> float32 -> float16 is the identity, NaNs apart */
    enum { COUNT = 3856 };
    assert_int_equal(find(f, "/every_half")->shape.dim[0], COUNT);
    static uint16_t bits[COUNT];
    static float wide[COUNT];
    read_all(f, "/every_half", DLT_F16, bits, sizeof bits);
    read_all(f, "/every_half", DLT_F32, wide, sizeof wide);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(bits[i], i * 17);
        if ((bits[i] & 0x7C00) == 0x7C00) {
            assert_true((bits[i] & 0x3FF) != 0 ? isnan(wide[i]) : isinf(wide[i]));
        } else {
            assert_true((double)wide[i] == element(bits, DLT_F16, i));
        }
    }
}

static void what_does_not_fit_is_named(void **state)
{
    fixture *f = *state;
    open_data(f, "types.h5");
    read_fails(f, "/large/u8", DLT_I64, 24,
               "'/large/u8' in 'tests/data/h5/types.h5' holds 9223372036854775808 at (1,), which is no int64");
    read_fails(f, "/large/i4", DLT_U8, 4,
               "'/large/i4' in 'tests/data/h5/types.h5' holds 300 at (1, 1), which is no uint8");
    read_fails(f, "/large/f8", DLT_F32, 8,
               "'/large/f8' in 'tests/data/h5/types.h5' holds 1e+300 at (1,), which is no float32");
    read_fails(f, "/large/f8", DLT_F16, 4,
               "'/large/f8' in 'tests/data/h5/types.h5' holds 1e+300 at (1,), which is no float16");
    read_fails(f, "/large/f8", DLT_I64, 16,
               "'/large/f8' in 'tests/data/h5/types.h5' holds 1e+300 at (1,), which is no int64");
    read_fails(f, "/fraction", DLT_I32, 12,
               "'/fraction' in 'tests/data/h5/types.h5' holds 2.5 at (2,), which is no int32");
    read_fails(f, "/nan", DLT_I32, 16, "'/nan' in 'tests/data/h5/types.h5' holds nan at (0,), which is no int32");
}

static void a_wrong_shape_or_room_is_refused(void **state)
{
    fixture *f = *state;
    open_data(f, "types.h5");
    const dlt_shape other = DLT_SHAPE(4, 3);
    float out[12];
    dlt_h5_want want = {.dtype = DLT_F32, .shape = &other, .all = true};
    const dlt_h5_object *matrix = find(f, "/matrix");
    assert_int_equal(dlt_h5_read(f->file, matrix, &want, out, sizeof out, f->diag), DLT_E_DATA);
    assert_string_equal(dlt_diag_text(f->diag, 0),
                        "'/matrix' in 'tests/data/h5/types.h5' has shape (3, 4); expected (4, 3)");
    want = (dlt_h5_want){.dtype = DLT_F32, .all = true};
    assert_int_equal(dlt_h5_read(f->file, matrix, &want, out, sizeof out - 4, f->diag), DLT_E_INTERNAL);
    want = (dlt_h5_want){.dtype = DLT_F32, .first = 2, .count = 2};
    assert_int_equal(dlt_h5_read(f->file, matrix, &want, out, 32, f->diag), DLT_E_INTERNAL);
    want = (dlt_h5_want){.dtype = DLT_F32, .first = INT64_MAX, .count = INT64_MAX};
    assert_int_equal(dlt_h5_read(f->file, matrix, &want, out, 32, f->diag), DLT_E_INTERNAL);
    want = (dlt_h5_want){.dtype = DLT_F32, .first = 0, .count = 1};
    assert_int_equal(dlt_h5_read(f->file, find(f, "/scalar"), &want, out, 4, f->diag), DLT_E_INTERNAL);
    want = (dlt_h5_want){.dtype = DLT_F32, .first = 3, .count = 0};
    assert_int_equal(dlt_h5_read(f->file, matrix, &want, out, 0, f->diag), DLT_OK);
    want = (dlt_h5_want){.dtype = DLT_F32, .first = 1, .count = 2};
    assert_int_equal(dlt_h5_read(f->file, matrix, &want, out, 32, f->diag), DLT_OK);
    assert_true(out[0] == 4 && out[7] == 11);
    int32_t whole[8];
    want = (dlt_h5_want){.dtype = DLT_I32, .first = 1, .count = 2};
    assert_int_equal(dlt_h5_read(f->file, matrix, &want, whole, sizeof whole, f->diag), DLT_OK);
    assert_true(whole[0] == 4 && whole[7] == 11);
}

static void small_attributes_come_with_the_table(void **state)
{
    fixture *f = *state;
    open_data(f, "types.h5");
    const dlt_h5_object *g = find(f, "/attributes");
    static const struct {
        const char *name, *first;
        size_t count;
        bool scalar;
    } texts[] = {{"variable", "gr\xc3\xbc\xc3\x9f dich", 1, true},
                 {"list", "a", 3, false},
                 {"fixed", "fixed", 1, true},
                 {"fixed_list", "ab", 3, false},
                 {"spaces", "word", 1, true},
                 {"terminated", "word", 1, true}};
    for (size_t i = 0; i < DLT_COUNT(texts); i++) {
        const dlt_h5_attribute *a = dlt_h5_find_attribute(g, texts[i].name);
        assert_non_null(a);
        assert_int_equal(a->type, DLT_H5_STRINGS);
        assert_int_equal(a->count, texts[i].count);
        assert_int_equal(a->scalar, texts[i].scalar);
        assert_string_equal(a->strings[0], texts[i].first);
    }
    assert_string_equal(dlt_h5_find_attribute(g, "list")->strings[1], "bc");
    assert_string_equal(dlt_h5_find_attribute(g, "list")->strings[2], "");
    assert_int_equal(dlt_h5_find_attribute(g, "number")->ints[0], -7);
    assert_int_equal(dlt_h5_find_attribute(g, "numbers")->ints[2], 3);
    assert_int_equal(dlt_h5_find_attribute(g, "flag")->ints[0], 1);
    assert_true(dlt_h5_find_attribute(g, "real")->floats[0] == 0.5);
    assert_true(dlt_h5_find_attribute(g, "reals")->floats[1] == -1);
    assert_int_equal(dlt_h5_find_attribute(g, "none")->count, 0);
    assert_null(dlt_h5_find_attribute(g, "matrix"));
    assert_null(dlt_h5_find_attribute(g, "too_large_number"));
    assert_int_equal(g->attributes_left_out, 3);
    assert_int_equal(find(f, "/many_attributes")->attribute_count, 64);
    assert_int_equal(find(f, "/many_attributes")->attributes_left_out, 6);
}

static void objects_are_found_by_path(void **state)
{
    fixture *f = *state;
    open_data(f, "types.h5");
    assert_non_null(dlt_h5_find(f->file, "/"));
    assert_non_null(dlt_h5_find(f->file, "little/i4"));
    assert_null(dlt_h5_find(f->file, "/little/"));
    assert_null(dlt_h5_find(f->file, "/little/i"));
    assert_ptr_equal(dlt_h5_find(f->file, ""), dlt_h5_find(f->file, "/"));
    assert_int_equal(dlt_h5_entries(f->file, "/little"), 11);
    assert_int_equal(dlt_h5_entries(f->file, "/"), 16);
    assert_int_equal(dlt_h5_entries(f->file, "/scalar"), 0);
    assert_int_equal(dlt_h5_entries(f->file, "/nowhere"), 0);
    for (size_t i = 1; i < dlt_h5_count(f->file); i++) {
        assert_true(strcmp(dlt_h5_at(f->file, i - 1)->path, dlt_h5_at(f->file, i)->path) < 0);
    }
    assert_null(dlt_h5_at(f->file, dlt_h5_count(f->file)));
}

/* ---- chunks ---- */

static void every_way_of_chunking_gives_the_same(void **state)
{
    fixture *f = *state;
    static const char *const names[] = {"plain", "deflate", "shuffle",    "fletcher32",
                                        "all",   "rows",    "big_endian", "larger_than_data"};
    open_data(f, "chunked.h5");
    for (size_t cache = 0; cache < 3; cache++) {
        dlt_h5_set_cache(f->file, cache == 0 ? 0 : cache == 1 ? 100 : 1 << 20);
        for (size_t i = 0; i < DLT_COUNT(names); i++) {
            const dlt_h5_object *set = find(f, names[i]);
            assert_int_equal(set->storage, DLT_H5_CHUNKED);
            for (int64_t first = 0; first <= 7; first++) {
                for (int64_t count = 0; first + count <= 7; count++) {
                    int32_t out[105];
                    const dlt_h5_want want = {.dtype = DLT_I32, .first = first, .count = count};
                    const size_t room = (size_t)count * 15 * sizeof *out;
                    assert_int_equal(dlt_h5_read(f->file, set, &want, out, room, f->diag), DLT_OK);
                    for (int64_t k = 0; k < count * 15; k++) {
                        assert_int_equal(out[k], first * 15 + k);
                    }
                }
            }
        }
    }
}

static void chunks_that_were_never_written_give_the_fill_value(void **state)
{
    fixture *f = *state;
    open_data(f, "chunked.h5");
    int32_t out[7][5][3];
    read_all(f, "/missing", DLT_I32, out, sizeof out);
    for (int i = 0; i < 7; i++) {
        for (int k = 0; k < 5; k++) {
            for (int m = 0; m < 3; m++) {
                const bool written = i >= 3 && i < 6 && k >= 2 && k < 4 && m < 2;
                assert_int_equal(out[i][k][m], written ? i * 15 + k * 3 + m : -9);
            }
        }
    }
    double real[105];
    read_all(f, "/never", DLT_F64, real, sizeof real);
    assert_true(real[0] == 11 && real[104] == 11);
}

static void unusual_orders_of_filters_are_undone(void **state)
{
    fixture *f = *state;
    open_data(f, "chunked.h5");
    int32_t out[8];
    uint8_t bytes[7];
    read_all(f, "/sum_first", DLT_I32, out, sizeof out);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(out[i], i);
    }
    read_all(f, "/masked", DLT_I32, out, sizeof out);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(out[i], i);
    }
    read_all(f, "/odd_bytes", DLT_U8, bytes, sizeof bytes);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(bytes[i], i);
    }
}

static void files_of_the_latest_format_are_read(void **state)
{
    fixture *f = *state;
    static const char *const names[] = {"contiguous", "single", "single_deflate", "fixed_array",
                                        "extensible", "tree2",  "implicit"};
    open_data(f, "latest.h5");
    for (size_t i = 0; i < DLT_COUNT(names); i++) {
        float out[48];
        read_all(f, names[i], DLT_F32, out, sizeof out);
        for (int k = 0; k < 48; k++) {
            assert_true(out[k] == (float)k);
        }
    }
    assert_int_equal(dlt_h5_find_attribute(find(f, "/"), "dense11")->ints[0], 11);
}

static void a_user_block_shifts_everything(void **state)
{
    fixture *f = *state;
    open_data(f, "userblock.h5");
    int32_t x[3], c[9];
    read_all(f, "/x", DLT_I32, x, sizeof x);
    assert_true(x[0] == 0 && x[1] == 1 && x[2] == 2);
    read_all(f, "/c", DLT_I32, c, sizeof c);
    assert_true(c[0] == 0 && c[5] == 5 && c[8] == 8);
}

typedef struct race {
    dlt_h5_file *file;
    const dlt_h5_object *set;
    unsigned seed;
    bool good;
} race;

static void *read_rows_at_random(void *argument)
{
    race *r = argument;
    r->good = true;
    for (int round = 0; round < 300; round++) {
        r->seed = r->seed * 1664525 + 1013904223;
        const int64_t first = (r->seed >> 16) % 7, count = 1 + (int64_t)(r->seed >> 24) % (7 - first);
        int32_t out[105];
        const dlt_h5_want want = {.dtype = DLT_I32, .first = first, .count = count};
        r->good &= dlt_h5_read(r->file, r->set, &want, out, (size_t)count * 60, NULL) == DLT_OK;
        for (int64_t k = 0; k < count * 15; k++) {
            r->good &= out[k] == first * 15 + k;
        }
    }
    return NULL;
}

static void threads_read_at_once(void **state)
{
    fixture *f = *state;
    open_data(f, "chunked.h5");
    dlt_h5_set_cache(f->file, 200); /* four chunks: threads drive out each other's */
    pthread_t thread[4];
    race races[4];
    for (unsigned i = 0; i < 4; i++) {
        races[i] = (race){.file = f->file, .set = find(f, "/all"), .seed = i};
        assert_int_equal(pthread_create(&thread[i], NULL, read_rows_at_random, &races[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        assert_true(races[i].good);
    }
}

/* ---- what is refused ---- */

static void what_cannot_be_read_says_why(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *path, *why;
    } cases[] = {
        {"/array", "its type is array"},
        {"/claims_chunk", "its chunks are larger than 1 GiB"},
        {"/claims_contiguous", "it claims far more than the file holds of it"},
        {"/claims_rows", "it claims far more than the file holds of it"},
        {"/complex", "its type is compound"},
        {"/compound", "its type is compound"},
        {"/external", "it is an external link"},
        {"/external_storage", "its data lie in another file"},
        {"/fixed_strings", "its type is string"},
        {"/group", "it is a group"},
        {"/group/cycle", "it is another name of a group"},
        {"/huge_grid", "it has too many chunks"},
        {"/long_double", "its type is an unusual float"},
        {"/lzf", "it needs filter 32000 (lzf)"},
        {"/named_type", "it is a named type"},
        {"/null", "it is empty"},
        {"/opaque", "its type is opaque"},
        {"/opaque3", "its type is opaque"},
        {"/rank9", "its rank is over 8"},
        {"/reference", "its type is reference"},
        {"/scaleoffset", "it needs filter 6 (scale-offset)"},
        {"/second_name", "it is another name of a group"},
        {"/soft", "it is a soft link"},
        {"/strings", "its type is variable-length string"},
        {"/virtual", "it is a virtual dataset"},
        {"/vlen", "its type is variable-length"},
    };
    open_data(f, "refused.h5");
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        char message[256];
        snprintf(message, sizeof message, "'%s' in 'tests/data/h5/refused.h5' cannot be read: %s", cases[i].path,
                 cases[i].why);
        read_fails(f, cases[i].path, DLT_F32, 0, message);
    }
    int32_t out[3];
    read_all(f, "/good", DLT_I32, out, sizeof out);
    read_all(f, "/hard", DLT_I32, out, sizeof out); /* a second hard link is as good as the first */
    assert_int_equal(out[2], 2);
    assert_null(dlt_h5_find(f->file, "/group/cycle/inner"));
}

static void open_fails(fixture *f, const char *path, const char *message)
{
    dlt_diag_reset(f->diag);
    assert_int_equal(dlt_h5_open(path, DLT_E_CHECKPOINT, (dlt_pos){0}, &f->file, f->diag), DLT_E_CHECKPOINT);
    assert_null(f->file);
    assert_int_equal(dlt_diag_size(f->diag), 1);
    assert_string_equal(dlt_diag_text(f->diag, 0), message);
}

static void bad_files_give_one_clear_error(void **state)
{
    fixture *f = *state;
    open_fails(f, "tests/data/h5/no-such.h5", "cannot open 'tests/data/h5/no-such.h5': No such file or directory");
    open_fails(f, "tests/data", "cannot open 'tests/data': it is a folder");
    open_fails(f, "/dev/null", "cannot open '/dev/null': it is not a regular file");
    open_fails(f, "tests/data/h5/make.py", "'tests/data/h5/make.py' is not an HDF5 file");
    open_fails(f, "tests/data/h5/deep.h5",
               "bad HDF5 file 'tests/data/h5/deep.h5': groups lie more than 32 deep inside each other");
    char *folder = dlt_scratch_create("h5");
    const char *path = dlt_scratch_path(folder, "x.h5");
    char message[1024];
    size_t bytes = 0;
    char *good = dlt_scratch_load("tests/data/h5/good.h5", &bytes);
    snprintf(message, sizeof message, "'%s' is not an HDF5 file", path);
    dlt_scratch_save(path, good, 0);
    open_fails(f, path, message);
    dlt_scratch_save(path, good, 7);
    open_fails(f, path, message);
    snprintf(message, sizeof message,
             "bad HDF5 file '%s': truncated file: eof = 5000, sblock->base_addr = 0, stored_eof = 9965", path);
    dlt_scratch_save(path, good, 5000);
    open_fails(f, path, message);
    free(good);
    dlt_scratch_destroy(folder);
}

static void a_damaged_chunk_is_named(void **state)
{
    fixture *f = *state;
    char *folder = dlt_scratch_create("h5");
    const char *path = dlt_scratch_path(folder, "x.h5");
    size_t bytes = 0, found = 0;
    char *data = dlt_scratch_load("tests/data/h5/good.h5", &bytes);
    for (size_t i = 0; i + 2 < bytes && found == 0; i++) { /* the first zlib stream: level 4 to 6, 32 KiB window */
        found = data[i] == 0x78 && data[i + 1] == 0x5E ? i : 0;
    }
    assert_true(found > 0);
    data[found + 4] = (char)(data[found + 4] ^ 0x10);
    dlt_scratch_save(path, data, bytes);
    assert_int_equal(dlt_h5_open(path, DLT_E_DATA, (dlt_pos){0}, &f->file, f->diag), DLT_OK);
    char message[1024];
    snprintf(message, sizeof message, "bad HDF5 file '%s': chunk 0 of '/g/z' is damaged: its checksum differs", path);
    read_fails(f, "/g/z", DLT_I16, 200, message);
    free(data);
    dlt_scratch_destroy(folder);
}

static void a_file_cut_short_after_opening_is_an_error(void **state)
{
    fixture *f = *state;
    char *folder = dlt_scratch_create("h5");
    const char *path = dlt_scratch_path(folder, "x.h5");
    size_t bytes = 0;
    char *data = dlt_scratch_load("tests/data/h5/good.h5", &bytes);
    dlt_scratch_save(path, data, bytes);
    assert_int_equal(dlt_h5_open(path, DLT_E_DATA, (dlt_pos){0}, &f->file, f->diag), DLT_OK);
    assert_int_equal(truncate(path, 100), 0);
    int32_t out[100];
    const dlt_h5_want want = {.dtype = DLT_I32, .all = true};
    assert_int_equal(dlt_h5_read(f->file, find(f, "/g/y"), &want, out, sizeof out, f->diag), DLT_E_DATA);
    assert_non_null(strstr(dlt_diag_text(f->diag, 0), "400 bytes too early"));
    free(data);
    dlt_scratch_destroy(folder);
}

static void weights_that_keras_wrote_are_read(void **state)
{
    fixture *f = *state;
    open_data(f, "keras.weights.h5");
    const dlt_shape shape = DLT_SHAPE(32, 3);
    float kernel[96];
    const dlt_h5_want want = {.dtype = DLT_F32, .shape = &shape, .all = true};
    assert_int_equal(dlt_h5_read(f->file, find(f, "/layers/dense/vars/0"), &want, kernel, sizeof kernel, f->diag),
                     DLT_OK);
    for (int i = 0; i < 96; i++) {
        assert_true(kernel[i] == (float)i);
    }
    assert_string_equal(dlt_h5_find_attribute(find(f, "/vars"), "name")->strings[0], "cnn");
    assert_int_equal(dlt_h5_entries(f->file, "/layers/flatten/vars"), 0);
    assert_int_equal(dlt_h5_entries(f->file, "/optimizer/vars"), 18);
    int64_t iteration = 0;
    read_all(f, "/optimizer/vars/0", DLT_I64, &iteration, sizeof iteration);
    assert_int_equal(iteration, 2);
}

static void refused_memory_is_one_error(void **state)
{
    fixture *f = *state;
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        assert_true(n < 1000);
        dlt_diag_reset(f->diag);
        int32_t out[105];
        const uint64_t before = dlt_alloc_fail_at(n, false);
        dlt_status status = dlt_h5_open("tests/data/h5/chunked.h5", DLT_E_DATA, (dlt_pos){0}, &f->file, f->diag);
        if (status == DLT_OK) {
            const dlt_h5_want want = {.dtype = DLT_I32, .all = true};
            status = dlt_h5_read(f->file, dlt_h5_find(f->file, "/all"), &want, out, sizeof out, f->diag);
        }
        failed = dlt_alloc_fail_at(0, false) > before;
        assert_int_equal(status, failed ? DLT_E_MEMORY : DLT_OK);
        dlt_h5_close(f->file);
        f->file = NULL;
    }
}

static void the_child_is_held_back(void **state)
{
    fixture *f = *state;
    dlt_h5_guard guard;
    assert_int_equal(dlt_h5_child_guard(&guard, f->diag), DLT_OK);
    assert_true(guard.cpu_limit && guard.file_limit && guard.no_core && guard.no_privileges);
    print_message("seccomp %d, memory limit %d\n", guard.seccomp, guard.memory_limit);
}

int main(int argc, char **argv)
{
    dlt_h5_child_main(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_type_becomes_every_type),
        TEST(special_kinds_of_data),
        TEST(half_floats_round_to_nearest_even),
        TEST(what_does_not_fit_is_named),
        TEST(a_wrong_shape_or_room_is_refused),
        TEST(small_attributes_come_with_the_table),
        TEST(objects_are_found_by_path),
        TEST(every_way_of_chunking_gives_the_same),
        TEST(chunks_that_were_never_written_give_the_fill_value),
        TEST(unusual_orders_of_filters_are_undone),
        TEST(files_of_the_latest_format_are_read),
        TEST(a_user_block_shifts_everything),
        TEST(threads_read_at_once),
        TEST(what_cannot_be_read_says_why),
        TEST(bad_files_give_one_clear_error),
        TEST(a_damaged_chunk_is_named),
        TEST(a_file_cut_short_after_opening_is_an_error),
        TEST(weights_that_keras_wrote_are_read),
        TEST(refused_memory_is_one_error),
        TEST(the_child_is_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
