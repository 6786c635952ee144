/* tests/unit/test_data_hdf5.c: data sets in HDF5 files, contiguous and chunked, as h5py writes them. */
#include "support/support.h"

#include "base/rng.h"
#include "io/data/rows.h"
#include "io/h5/h5_table.h"
#include "support/data_support.h"

#include <hdf5.h>
#include <string.h>

#define SOURCES &dlt_source_category

enum { RECORDS = 500, WIDTH = 12 };
static float x[RECORDS * WIDTH];
static uint8_t y[RECORDS];

/* Writes one dataset; chunk rows 0: contiguous. */
static void put(hid_t file, const char *name, hid_t stored, hid_t native, int rank, const hsize_t *shape,
                hsize_t chunk_rows, const void *data)
{
    hid_t list = H5Pcreate(H5P_DATASET_CREATE), links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    if (chunk_rows > 0) {
        hsize_t chunk[4];
        memcpy(chunk, shape, (size_t)rank * sizeof *shape);
        chunk[0] = chunk_rows;
        H5Pset_chunk(list, rank, chunk);
        H5Pset_shuffle(list);
        H5Pset_deflate(list, 4);
    }
    const hid_t space = H5Screate_simple(rank, shape, NULL);
    const hid_t set = H5Dcreate2(file, name, stored, space, links, list, H5P_DEFAULT);
    assert_true(set >= 0);
    assert_true(H5Dwrite(set, native, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    H5Dclose(set);
    H5Sclose(space);
    H5Pclose(links);
    H5Pclose(list);
}

static const char *write_file(data_fixture *f, const char *name, hsize_t chunk_rows)
{
    const char *path = data_path(f, name);
    static const hsize_t features[] = {RECORDS, 3, 4}, labels[] = {RECORDS};
    for (uint64_t i = 0; i < RECORDS * WIDTH; i++) {
        x[i] = dlt_random_uniform(1, 1, i, 0);
    }
    for (int i = 0; i < RECORDS; i++) {
        y[i] = (uint8_t)(i % 7);
    }
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(file >= 0);
    put(file, "train/x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 3, features, chunk_rows, x);
    put(file, "train/y", H5T_STD_U8LE, H5T_NATIVE_UCHAR, 1, labels, chunk_rows, y);
    put(file, "big", H5T_IEEE_F64BE, H5T_NATIVE_FLOAT, 3, features, 0, x);
    H5Fclose(file);
    return path;
}

static const dlt_item *item_of(data_fixture *f, const char *path)
{
    return data_item(f, SOURCES, "HDF5", "path", path, "features", "train/x", "labels", "/train/y", NULL);
}

static void contiguous_and_chunked_are_alike(void **state)
{
    data_fixture *f = *state;
    for (hsize_t chunk = 0; chunk < 128; chunk += 64) {
        const char *path = write_file(f, "d.h5", chunk);
        dlt_dataset *ds = data_open(f, item_of(f, path), DLT_DEPTH_LOAD);
        assert_non_null(ds);
        assert_string_equal(dlt_dataset_place(ds), "memory");
        assert_int_equal(dlt_dataset_count(ds), RECORDS);
        assert_true(dlt_shape_equal(&dlt_dataset_frame(ds)->layout.parts[0].shape, &DLT_SHAPE(3, 4)));
        assert_memory_equal(data_part(f, ds, 0), x, sizeof x);
        assert_memory_equal(data_part(f, ds, 1), y, sizeof y);
        assert_int_equal(dlt_dataset_stats(ds)->classes.count, 7);
        dlt_dataset_close(ds);
        /* what does not fit is read where it is, if it lies there in one piece; else packed */
        ds = data_open_with(f, item_of(f, path), DLT_DEPTH_LOAD,
                            (dlt_dataset_options){.memory = 100, .threads = 1});
        assert_non_null(ds);
        assert_int_equal(strcmp(dlt_dataset_place(ds), "in place") == 0, chunk == 0);
        assert_int_equal(dlt_text_starts(dlt_dataset_place(ds), "cache file "), chunk > 0);
        assert_memory_equal(data_part(f, ds, 0), x, sizeof x);
        assert_memory_equal(data_part(f, ds, 1), y, sizeof y);
        dlt_reader *reader = NULL;
        const int64_t rows[] = {499, 3, 4, 5, 3};
        float out[5 * WIDTH];
        void *columns[] = {out, NULL};
        assert_int_equal(dlt_reader_create(ds, 5, &reader, f->diag), DLT_OK);
        assert_int_equal(dlt_reader_read(reader, rows, 5, columns, f->diag), DLT_OK);
        for (int i = 0; i < 5; i++) {
            assert_memory_equal(out + i * WIDTH, x + rows[i] * WIDTH, WIDTH * sizeof *x);
        }
        dlt_reader_destroy(reader);
        dlt_dataset_close(ds);
    }
}

static void a_missing_dataset_is_named_with_those_that_are_there(void **state)
{
    data_fixture *f = *state;
    const char *path = write_file(f, "d.h5", 0);
    assert_null(data_open(f, data_item(f, SOURCES, "HDF5", "path", path, "features", "train/z", NULL),
                          DLT_DEPTH_LOAD));
    assert_string_equal(data_message(f, 0),
                        "model.yaml:3:5: 'd.h5' has no dataset 'train/z'; did you mean 'train/x'?");
    data_forget(f);
    assert_null(data_open(
        f, data_item(f, SOURCES, "HDF5", "path", data_text(f, "t.h5", "no HDF5"), "features", "x", NULL),
        DLT_DEPTH_LOAD));
    assert_int_equal(dlt_diag_status(f->diag), DLT_E_DATA);
    data_forget(f);
}

static void a_test_file_follows_train_in_type(void **state)
{
    data_fixture *f = *state;
    const char *path = write_file(f, "d.h5", 0);
    dlt_dataset *train = data_open(f, item_of(f, path), DLT_DEPTH_LOAD);
    dlt_dataset *test = data_open_with(
        f, data_item(f, SOURCES, "HDF5", "path", path, "features", "big", "labels", "train/y", NULL),
        DLT_DEPTH_LOAD,
        (dlt_dataset_options){.follow = dlt_dataset_frame(train), .memory = 1 << 20, .threads = 1});
    assert_non_null(test);
    assert_int_equal(dlt_dataset_frame(test)->layout.parts[0].dtype, DLT_F32);
    assert_memory_equal(data_part(f, test, 0), x, sizeof x);
    dlt_dataset_close(test);
    dlt_rows *rows = NULL;
    dlt_table table;
    assert_int_equal(
        dlt_rows_open(path, dlt_dataset_frame(train), item_of(f, path), 200, NULL, &rows, f->diag), DLT_OK);
    assert_int_equal(dlt_rows_next(rows, &table, f->diag), DLT_OK);
    assert_int_equal(table.rows, 200);
    assert_memory_equal(table.columns[0], x, 200 * WIDTH * sizeof *x);
    dlt_rows_close(rows);
    dlt_dataset_close(train);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, data_setup, data_teardown)
    const struct CMUnitTest tests[] = {
        TEST(contiguous_and_chunked_are_alike),
        TEST(a_missing_dataset_is_named_with_those_that_are_there),
        TEST(a_test_file_follows_train_in_type),
    };
    dlt_h5_child_main(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
