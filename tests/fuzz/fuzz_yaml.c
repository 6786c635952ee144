/* tests/fuzz/fuzz_yaml.c: model files: every one gives a spec or messages, and a spec is written down so that
 * it reads back as the same. */
#include "fuzz/spec_claims.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const dlt_load_options stored = {.stored = true};
    char *text = fuzz_text(data, size);
    fuzz_close_files();
    fuzz_claim_spec(text, size, NULL, fuzz_choice(data, size) % 2);
    if (size > 0 && data[size - 1] % 4 == 0) { /* now and then as if from a checkpoint */
        dlt_arena *arena = dlt_arena_create();
        dlt_diag *diag = dlt_diag_create();
        const dlt_run_spec *spec = NULL;
        const dlt_status status =
            dlt_spec_parse(arena, dlt_catalogue_all(), "stored", text, size, &stored, &spec, diag);
        fuzz_claim_messages(diag, status);
        dlt_arena_destroy(arena);
        dlt_diag_destroy(diag);
    }
    free(text);
    return 0;
}
