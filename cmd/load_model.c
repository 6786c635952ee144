/* cmd/load_model.c: a model file on its way into a command, with all its mistakes told. */
#include "cmd/load_model.h"

#include "cmd/probe_model.h"
#include "layers/unknown.h"

dlt_status dlt_load_model(dlt_arena *arena, const dlt_catalogue *catalogue, const char *path, const dlt_load_options *options,
                          bool no_data, const dlt_run_spec **spec, dlt_diag *diag)
{
    dlt_load_options all = *options;
    dlt_session *session = NULL;
    all.stand_in = &dlt_layer_unknown.kind;
    const dlt_status status = dlt_spec_load(arena, catalogue, path, &all, spec, diag);
    if (status == DLT_OK || *spec == NULL) {
        return status;
    }
    const dlt_status further = dlt_probe_model(*spec, no_data, &session, diag);
    dlt_session_close(session);
    dlt_diag_sort(diag);
    *spec = NULL;
    return further == DLT_E_MEMORY ? further : status;
}

dlt_status dlt_load_argument(const dlt_command_call *call, const dlt_load_options *options, const dlt_run_spec **spec)
{
    return dlt_load_model(call->arena, call->catalogue, call->arguments.at[0], options, false, spec, call->diag);
}
