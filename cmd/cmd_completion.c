/* cmd/cmd_completion.c: dltrain completion SHELL. */
#include "cmd/args.h"
#include "cmd/write_out.h"

typedef struct completion_options {
    char none;
} completion_options;

static dlt_status run(const dlt_command_call *call)
{
    const char *shell = call->arguments.at[0];
    dlt_buf out = {0};
    if (!dlt_completion(shell, call->catalogue, &out)) {
        return dlt_fail(call->diag, DLT_E_CONFIG, (dlt_pos){0},
                        "the shell must be one of bash, zsh, fish, found '%s'", shell);
    }
    const dlt_status status = dlt_write_out(&out, call->diag);
    dlt_buf_release(&out);
    return status;
}

static const char *const examples[] = {"source <(dltrain completion bash)",
                                       "dltrain completion fish > ~/.config/fish/completions/dltrain.fish",
                                       NULL};

const dlt_command dlt_command_completion = {
    .name = "completion",
    .doc = "write a completion script for bash, zsh or fish",
    .arguments = "SHELL",
    .argument = DLT_ARG_SHELL,
    .least = 1,
    .most = 1,
    .options_size = sizeof(completion_options),
    .text =
        "Writes a script that completes commands, flags, files, and the names of kinds and keys for 'help'.",
    .examples = examples,
    .run = run,
};
