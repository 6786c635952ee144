/* cmd/cmd_schema.c: dltrain schema: the JSON Schema of model files. */
#include "cmd/args.h"
#include "cmd/write_out.h"
#include "schema/json_schema.h"

typedef struct schema_options {
    const char *output;
} schema_options;

static const dlt_flag flags[] = {
    DLT_TEXT(schema_options, output, "output", '\0', DLT_FLAG_FILE, "FILE",
             "write it there instead; an older one is replaced, '-' is standard output"),
    {0},
};

static dlt_status run(const dlt_command_call *call)
{
    const schema_options *options = call->options;
    dlt_buf out = {0};
    dlt_json_schema(call->catalogue, &out);
    const dlt_status status =
        dlt_is_standard_output(options->output)
            ? dlt_write_out(&out, call->diag)
            : dlt_write_file(options->output, DLT_WRITE_REPLACE, &out, call->diag);
    dlt_buf_release(&out);
    return status;
}

static const char *const examples[] = {"dltrain schema --output dltrain.schema.json", NULL};

const dlt_command dlt_command_schema = {
    .name = "schema",
    .doc = "write the JSON Schema of model files, for editors and CI",
    .arguments = "",
    .argument = DLT_ARG_NONE,
    .least = 0,
    .most = 0,
    .flags = flags,
    .options_size = sizeof(schema_options),
    .text = "Writes a JSON Schema (draft 07) of model files. Editors with yaml-language-server complete and "
            "check model files "
            "by it when the first line is\n# yaml-language-server: $schema=./dltrain.schema.json\nValidate "
            "with a loader of YAML "
            "1.2: those of 1.1 read 1e-3 as text and no as false.",
    .examples = examples,
    .run = run,
};
