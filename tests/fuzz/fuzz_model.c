/* tests/fuzz/fuzz_model.c: model files over the program's own kinds, as `check` takes them: run spec, data
 * that are made up, the forward and the training graph, and for some of the inputs the plan. No file is
 * opened and no weight is made. */
#include "fuzz/spec_claims.h"

#include "cmd/catalogue.h"
#include "cmd/probe_model.h"
#include "layers/unknown.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    const unsigned choice = fuzz_choice(data, size);
    const bool look_on = choice / 64 % 2 == 0; /* as the commands do */
    const dlt_load_options options = {.stored = choice % 8 == 1, .stand_in = look_on ? &dlt_layer_unknown.kind : NULL};
    dlt_arena *arena = dlt_arena_create();
    dlt_diag *diag = dlt_diag_create();
    const dlt_run_spec *spec = NULL;
    dlt_session *session = NULL;
    fuzz_close_files();
    dlt_status status =
        dlt_spec_parse(arena, dlt_catalogue_all(), "/fuzz/m.yaml", text, size, &options, &spec, diag);
    FUZZ_CLAIM(look_on ? status != DLT_OK || spec != NULL : (status == DLT_OK) == (spec != NULL));
    FUZZ_CLAIM(spec == NULL || spec->mistaken == (status != DLT_OK));
    if (status == DLT_OK && choice % 8 == 0) {
        fuzz_claim_dump(spec, choice / 8 % 2 == 0 ? 0 : DLT_DUMP_DEFAULTS | DLT_DUMP_ORIGINS);
    }
    if (spec != NULL) {
        const dlt_spec *s = &spec->value;
        const dlt_session_options only = {.depth = DLT_DEPTH_PROBE,
                                          .no_data = s->data.train == NULL,
                                          .train = s->loss != NULL && s->data.train != NULL};
        const dlt_status model = choice / 16 % 4 == 0 ? dlt_probe_model(spec, false, &session, diag)
                                                      : dlt_session_check(spec, &only, &session, diag);
        FUZZ_CLAIM(session == NULL || (status == DLT_OK && model == DLT_OK));
        status = status != DLT_OK ? status : model;
    }
    FUZZ_CLAIM(status != DLT_E_INTERNAL);
    fuzz_claim_messages(diag, status);
    dlt_session_close(session);
    dlt_arena_destroy(arena);
    dlt_diag_destroy(diag);
    free(text);
    return 0;
}
