/* tests/fuzz/fuzz_npy.c: NPY files: any bytes as features, as labels and as weights. */
#include "fuzz/data_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    data_fixture f;
    const unsigned choice = fuzz_choice(data, size);
    fuzz_begin(&f);
    fuzz_put_file(0, data, size);
    fuzz_claim_source(&f, data_item(&f, &dlt_source_category, "NPY", "features", "mem:0", NULL), choice);
    fuzz_claim_source(&f,
                      data_item(&f, &dlt_source_category, "NPY", "features", "mem:0", "labels", "mem:0",
                                "sample_weight", "mem:0", NULL),
                      choice);
    fuzz_end(&f);
    return 0;
}
