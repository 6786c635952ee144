/* tests/fuzz/fuzz_text.c: texts: any bytes as characters. */
#include "fuzz/data_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    data_fixture f;
    if (size < 1) {
        return 0;
    }
    const unsigned choice = fuzz_choice(data, size);
    fuzz_begin(&f);
    fuzz_put_file(0, data + 1, size - 1);
    fuzz_claim_source(&f,
                      data_item(&f, &dlt_source_category, "Text", "path", "mem:0", "sequence_length",
                                data[0] % 2 == 0 ? "3" : "17", "stride", data[0] % 3 == 0 ? "5" : "null",
                                "target", data[0] % 5 == 0 ? "last" : "sequence", NULL),
                      choice);
    fuzz_end(&f);
    return 0;
}
