/* tests/fuzz/fuzz_idx.c: IDX files, plain and gzip: any bytes as images, and as labels. The first byte cuts
 * the input in two. */
#include "fuzz/data_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    data_fixture f;
    if (size < 2) {
        return 0;
    }
    const size_t cut = (size - 1) * data[0] / 256;
    const unsigned choice = fuzz_choice(data, size);
    fuzz_begin(&f);
    fuzz_put_file(0, data + 1, cut);
    fuzz_put_file(1, data + 1 + cut, size - 1 - cut);
    fuzz_claim_source(
        &f, data_item(&f, &dlt_source_category, "IDX", "features", "mem:0", "labels", "mem:1", NULL), choice);
    fuzz_put_file(0, data + 1, size - 1);
    fuzz_claim_source(&f, data_item(&f, &dlt_source_category, "IDX", "features", "mem:0", NULL), choice);
    fuzz_end(&f);
    return 0;
}
