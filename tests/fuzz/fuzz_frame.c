/* tests/fuzz/fuzz_frame.c: descriptions of data from checkpoints: any bytes; what is read is written as it
 * was. */
#include "fuzz/data_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    data_fixture f;
    dlt_frame *frame = NULL;
    size_t used = 0;
    fuzz_begin(&f);
    const dlt_status status = dlt_frame_read(data, size, &used, "a checkpoint", DLT_E_DATA, &frame, f.diag);
    fuzz_claim_messages(f.diag, status);
    if (status == DLT_OK) {
        dlt_buf again = {0};
        dlt_frame_write(frame, &again);
        FUZZ_CLAIM(used <= size && again.length == used && memcmp(again.data, data, used) == 0);
        dlt_buf_release(&again);
    }
    dlt_frame_destroy(frame);
    fuzz_end(&f);
    return 0;
}
