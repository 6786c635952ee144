/* tests/fuzz/fuzz_rows.c: `predict --input`: any bytes as rows for a model of images, of vectors or of text;
 * its kind is told by the first bytes. (Rows of tables: fuzz_csv.) The first byte chooses the model's data
 * and how many rows come at once. */
#include "fuzz/h5_fuzz.h"

static const char npy_images[] =
    "\x93NUMPY\x01\x00\x46\x00{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 3), }         "
    "\nabcdefghijkl";
static const char npy_vectors[] =
    "\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }            "
    "\n0000111122223333444455556666";
static const char text[] = "abcabc\xc3\xa4zzabcabc\xc3\xa4zz";

static const dlt_item *train_item(data_fixture *f, unsigned choice)
{
    switch (choice % 3) {
    case 0:
        fuzz_put_file(1, (const uint8_t *)npy_images, sizeof npy_images - 1 - 2);
        return data_item(f, &dlt_source_category, "NPY", "features", "mem:1", NULL);
    case 1:
        fuzz_put_file(1, (const uint8_t *)npy_vectors, sizeof npy_vectors - 1 - 6);
        return data_item(f, &dlt_source_category, "NPY", "features", "mem:1", NULL);
    default:
        fuzz_put_file(1, (const uint8_t *)text, sizeof text - 1);
        return data_item(f, &dlt_source_category, "Text", "path", "mem:1", "sequence_length", "4", NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    data_fixture f;
    dlt_dataset *train = NULL;
    dlt_rows *rows = NULL;
    const dlt_dataset_options options = {.memory = 1 << 20, .threads = 1};
    if (size < 1) {
        return 0;
    }
    fuzz_begin(&f);
    dlt_h5_set_lister(fuzz_lister); /* an empty table: HDF5 is the matter of fuzz_hdf5 */
    const dlt_item *item = train_item(&f, data[0]);
    const dlt_status opened = dlt_dataset_open(item, DLT_DEPTH_LOAD, &options, &train, f.diag);
    if (opened != DLT_OK) {
        fprintf(stderr, "%s\n", dlt_diag_text(f.diag, 0));
    }
    FUZZ_CLAIM(opened == DLT_OK);
    dlt_diag_reset(f.diag);
    fuzz_put_file(0, data + 1, size - 1);
    dlt_status status = dlt_rows_open("mem:0", dlt_dataset_frame(train), data[0] % 2 == 0 ? item : NULL,
                                      1 + data[0] / 3 % 5, NULL, &rows, f.diag);
    for (dlt_table table = {.rows = 1}; status == DLT_OK && table.rows > 0;) {
        status = dlt_rows_next(rows, &table, f.diag);
        if (status == DLT_OK) {
            fuzz_claim_values(&table);
            for (size_t i = 0; i < table.layout->count; i++) { /* every byte is there: sanitizers watch */
                static volatile unsigned sum;
                const size_t bytes = (size_t)table.rows * dlt_part_bytes(&table.layout->parts[i]);
                sum = sum + fuzz_choice(table.columns[i], bytes);
            }
        }
    }
    fuzz_claim_messages(f.diag, status);
    dlt_rows_close(rows);
    dlt_dataset_close(train);
    dlt_h5_set_lister(NULL);
    fuzz_end(&f);
    return 0;
}
