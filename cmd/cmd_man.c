/* cmd/cmd_man.c: dltrain man: the man page. */
#include "cmd/args.h"
#include "cmd/write_out.h"

typedef struct man_options {
    char none;
} man_options;

static dlt_status run(const dlt_command_call *call)
{
    dlt_buf out = {0};
    dlt_man_page(&out);
    const dlt_status status = dlt_write_out(&out, call->diag);
    dlt_buf_release(&out);
    return status;
}

static const char *const examples[] = {"dltrain man | man -l -", NULL};

const dlt_command dlt_command_man = {
    .name = "man",
    .doc = "write the man page",
    .arguments = "",
    .argument = DLT_ARG_NONE,
    .least = 0,
    .most = 0,
    .options_size = sizeof(man_options),
    .text = "Writes the man page to standard output.",
    .examples = examples,
    .run = run,
};
