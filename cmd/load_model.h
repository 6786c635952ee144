/* cmd/load_model.h: a model file on its way into a command, with all its mistakes told. */
#ifndef DLT_CMD_LOAD_MODEL_H
#define DLT_CMD_LOAD_MODEL_H

#include "cmd/args.h"
#include "schema/spec.h"

/**
 * dlt_spec_load. Where the file is wrong, what is right of it is looked at as far as that goes, data and shapes included (unless
 * `no_data`), so that the mistakes there need no second run; *spec is NULL then.
 */
dlt_status dlt_load_model(dlt_arena *arena, const dlt_catalogue *catalogue, const char *path, const dlt_load_options *options,
                          bool no_data, const dlt_run_spec **spec, dlt_diag *diag);
/** The model file that is the command's first argument, with these overrides. */
dlt_status dlt_load_argument(const dlt_command_call *call, const dlt_load_options *options, const dlt_run_spec **spec);

#endif
