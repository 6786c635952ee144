/* cmd/probe_model.c: what `check` looks at behind the model file. Apart from the command, so that tests of
 * the command line, which run over a catalogue of their own, can do without. */
#include "cmd/probe_model.h"

#include "backend/backend.h"
#include "layers/layer.h"

static bool begins_with_input(const dlt_spec *spec)
{
    return spec->layers.count > 0 && dlt_layer_of(spec->layers.at[0])->starts &&
           dlt_table_layer_of(spec) == NULL;
}

dlt_status dlt_probe_model(const dlt_run_spec *spec, bool no_data, dlt_session **session, dlt_diag *diag)
{
    const dlt_spec *s = &spec->value;
    dlt_session_options options = {.depth = DLT_DEPTH_PROBE,
                                   .no_data = no_data || s->data.train == NULL,
                                   .train = s->loss != NULL,
                                   .evaluate = s->loss != NULL &&
                                               (s->data.validation != NULL || s->data.test != NULL)};
    if (options.no_data && !begins_with_input(s)) {
        return dlt_session_parts(spec, diag); /* nothing more can be told */
    }
    options.train = options.train && !options.no_data;
    options.evaluate = options.evaluate && !options.no_data;
    options.predict = !options.train;
    const dlt_backend *backend = NULL;
    dlt_device *device = NULL;
    dlt_diag *unheard = dlt_diag_create();
    if (unheard == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_status status = dlt_backend_find(s->device, &backend, unheard);
    status = status == DLT_OK
                 ? dlt_backend_open(backend, &(dlt_device_options){.name = s->device}, &device, unheard)
                 : status;
    if (status == DLT_OK) {
        backend->close(device);
    } else if (status == DLT_E_MEMORY) {
        dlt_diag_destroy(unheard);
        return dlt_fail_memory(diag);
    } else {
        dlt_note(diag, (dlt_pos){0}, "memory is not told: %s",
                 dlt_diag_size(unheard) > 0 ? dlt_diag_text(unheard, 0) : s->device);
    }
    dlt_diag_destroy(unheard);
    return status == DLT_E_BACKEND ? dlt_session_check(spec, &options, session, diag)
                                   : dlt_session_open(spec, &options, session, diag);
}
