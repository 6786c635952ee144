/* tests/fuzz/fuzz_hdf5.c: HDF5 as data: any table that a child could send, and any bytes behind it, read as
 * features, labels and weights, which are chosen among the objects that it names. Input: u32 bytes of the
 * table, the table, the file. */
#include "fuzz/h5_fuzz.h"

/* One of the objects that the table names, often a dataset; "x" where it names none. */
static const char *dataset_name(data_fixture *f, unsigned choice)
{
    dlt_h5_file *file = NULL;
    const char *name = "x";
    if (dlt_h5_open("mem:0", DLT_E_DATA, (dlt_pos){0}, &file, f->diag) == DLT_OK) {
        const size_t count = dlt_h5_count(file);
        for (size_t i = 0; i < 4; i++) {
            const dlt_h5_object *object = dlt_h5_at(file, (choice + i) % count);
            name = dlt_arena_string(f->arena, object->path);
            if (object->object_class == DLT_H5_DATASET) {
                break;
            }
        }
    }
    dlt_h5_close(file);
    dlt_diag_reset(f->diag);
    return name;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    data_fixture f;
    fuzz_input in = {data, size};
    size_t table_bytes = 0, file_bytes = 0;
    const unsigned choice = fuzz_choice(data, size);
    const uint8_t *table = fuzz_take(&in, fuzz_next(&in, 4), &table_bytes);
    const uint8_t *bytes = fuzz_take(&in, in.left, &file_bytes);
    const size_t room = file_bytes > sizeof fuzz_signature ? file_bytes : sizeof fuzz_signature;
    char *file = calloc(room, 1);
    FUZZ_CLAIM(file != NULL);
    memcpy(file, bytes, file_bytes); /* places in the table are those of the file */
    memcpy(file, fuzz_signature, sizeof fuzz_signature);
    fuzz_begin(&f);
    dlt_buf_reset(&fuzz_table);
    dlt_buf_append(&fuzz_table, (const char *)table, table_bytes);
    dlt_h5_set_lister(fuzz_lister);
    fuzz_put_file(0, (const uint8_t *)file, room);
    const char *x = dataset_name(&f, choice), *y = dataset_name(&f, choice / 7),
               *w = dataset_name(&f, choice / 49);
    fuzz_claim_source(&f, data_item(&f, &dlt_source_category, "HDF5", "path", "mem:0", "features", x, NULL),
                      choice);
    fuzz_claim_source(&f,
                      data_item(&f, &dlt_source_category, "HDF5", "path", "mem:0", "features", x, "labels", y,
                                "sample_weight", w, NULL),
                      choice / 4);
    dlt_h5_set_lister(NULL);
    fuzz_end(&f);
    free(file);
    return 0;
}
