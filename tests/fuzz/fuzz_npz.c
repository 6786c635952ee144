/* tests/fuzz/fuzz_npz.c: NPZ archives: any bytes as a ZIP. */
#include "fuzz/data_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    data_fixture f;
    const unsigned choice = fuzz_choice(data, size);
    fuzz_begin(&f);
    fuzz_put_file(0, data, size);
    fuzz_claim_source(
        &f, data_item(&f, &dlt_source_category, "NPZ", "path", "mem:0", "features", "x", "labels", "y", NULL),
        choice);
    fuzz_claim_source(&f, data_item(&f, &dlt_source_category, "NPZ", "path", "mem:0", "features", "x", NULL),
                      choice);
    fuzz_end(&f);
    return 0;
}
