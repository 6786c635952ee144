/* tests/fuzz/fuzz_csv.c: CSV: any bytes as a table, read in large and in tiny blocks, which must not show, in
 * records or in messages; then as a test set and as raw rows after itself. The first byte chooses the
 * parameters, a digest of all which of the claims are looked at. */
#include "fuzz/data_fuzz.h"

static const dlt_item *item_of(data_fixture *f, uint8_t choice, const char *path)
{
    static const char *const targets[] = {"null", "-1", "0", "[0, 1]"};
    static const char *const headers[] = {"auto", "true", "false", "auto"};
    static const char *const delimiters[] = {"','", "auto", "';'", "tab"};
    return data_item(f, &dlt_source_category, "CSV", "path", path, "target", targets[choice & 3], "header",
                     headers[choice >> 2 & 3], "delimiter", delimiters[choice >> 4 & 3], "trim",
                     (choice & 64) != 0 ? "true" : "false", "comment", (choice & 128) != 0 ? "#" : "null",
                     "skip_rows", choice % 7 == 3 ? "1" : "0", NULL);
}

/* The bytes as raw rows for a model that was trained on `frame`. */
static void claim_rows(data_fixture *f, const dlt_frame *frame, const dlt_item *like)
{
    dlt_rows *rows = NULL;
    dlt_status status = dlt_rows_open("mem:0", frame, like, 7, NULL, &rows, f->diag);
    for (dlt_table table = {.rows = 1}; status == DLT_OK && table.rows > 0;) {
        status = dlt_rows_next(rows, &table, f->diag);
        if (status == DLT_OK) {
            fuzz_claim_values(&table);
        }
    }
    fuzz_claim_messages(f->diag, status);
    dlt_diag_reset(f->diag);
    dlt_rows_close(rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    data_fixture f;
    char whole[65], pieces[65];
    if (size < 1) {
        return 0;
    }
    fuzz_begin(&f);
    fuzz_put_file(0, data + 1, size - 1);
    const dlt_item *item = item_of(&f, data[0], "mem:0");
    item->kind->check(item, f.diag);
    FUZZ_CLAIM(dlt_diag_size(f.diag) == 0);
    const dlt_dataset_options options = {
        .memory = 1 << 16, .block_bytes = 1 << 16, .cache = "/nowhere", .threads = 1};
    const dlt_status load = fuzz_read_all(&f, item, DLT_DEPTH_LOAD, options, whole);
    static const size_t blocks[] = {1, 7, 64};
    const unsigned choice = fuzz_choice(data, size);
    dlt_dataset_options small = options;
    small.block_bytes = blocks[choice % DLT_COUNT(blocks)];
    FUZZ_CLAIM(fuzz_read_all(&f, item, DLT_DEPTH_LOAD, small, pieces) == load);
    /* of a gzip file that is damaged behind a record that is wrong, either is told: a block ends where the damage begins */
    const bool damaged = load != DLT_OK && size > 2 && data[1] == 0x1f && data[2] == 0x8b;
    FUZZ_CLAIM(damaged || strcmp(whole, pieces) == 0);
    const dlt_depth depth = choice / 4 % 2 == 0 ? DLT_DEPTH_SCAN : DLT_DEPTH_PROBE;
    FUZZ_CLAIM(load != DLT_OK || fuzz_read_all(&f, item, depth, options, pieces) == DLT_OK);
    dlt_dataset *train = NULL;
    if (load == DLT_OK && choice / 8 % 4 == 0 &&
        dlt_dataset_open(item, DLT_DEPTH_LOAD, &options, &train, f.diag) == DLT_OK) {
        dlt_diag_reset(f.diag);
        /* what train has read, a test set may be, and what follows it reads the same records */
        dlt_dataset_options follow = options;
        follow.follow = dlt_dataset_frame(train);
        FUZZ_CLAIM(fuzz_read_all(&f, item, DLT_DEPTH_LOAD, follow, pieces) == DLT_OK);
        claim_rows(&f, dlt_dataset_frame(train), item);
        claim_rows(&f, dlt_dataset_frame(train), NULL);
        fuzz_put_file(0, data + 1 + size / 2, size - 1 - size / 2); /* and another text against it */
        claim_rows(&f, dlt_dataset_frame(train), item);
        fuzz_read_all(&f, item, DLT_DEPTH_LOAD, follow, pieces);
    }
    dlt_dataset_close(train);
    fuzz_end(&f);
    return 0;
}
