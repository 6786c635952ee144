/* cmd/cmd_help.c: dltrain help: commands, kinds and keys explained. */
#include "cmd/args.h"
#include "cmd/print_diag.h"
#include "cmd/write_out.h"
#include "schema/reference.h"

#include <string.h>
#include <unistd.h>

typedef struct help_options {
    bool markdown;
} help_options;

static const dlt_flag flags[] = {
    DLT_SWITCH(help_options, markdown, "markdown", '\0',
               "write the whole reference of the model file as Markdown"),
    {0},
};

static dlt_status unknown(const dlt_command_call *call, const char *word, const char *nearest)
{
    const char *names[64];
    size_t count = 0, commands = 0;
    const dlt_command *const *all = dlt_commands(&commands);
    for (size_t i = 0; i < commands && count < DLT_COUNT(names); i++) {
        names[count++] = all[i]->name;
    }
    const int command = dlt_nearest(word, names, count);
    if (command >= 0 &&
        (nearest == NULL || dlt_edit_distance(word, names[command]) < dlt_edit_distance(word, nearest))) {
        nearest = names[command];
    }
    const dlt_detail detail = {.found = word, .nearest = nearest};
    if (nearest != NULL) {
        return dlt_fail_detail(call->diag, DLT_E_CONFIG, (dlt_pos){0}, &detail,
                               "no command, kind or key is called '%s'; did you mean '%s'?", word, nearest);
    }
    return dlt_fail_detail(call->diag, DLT_E_CONFIG, (dlt_pos){0}, &detail,
                           "no command, kind or key is called '%s'; 'dltrain help model' lists the keys, "
                           "'dltrain help layer' the layers",
                           word);
}

static dlt_status run(const dlt_command_call *call)
{
    const help_options *options = call->options;
    const char *word = call->arguments.count > 0 ? call->arguments.at[0] : NULL, *nearest = NULL;
    const int width = dlt_print_options_for(STDOUT_FILENO).width;
    char room[128];
    dlt_buf out = {0};
    dlt_status status = DLT_OK;
    if (options->markdown) {
        dlt_reference_markdown(call->catalogue, &out);
    } else if (word == NULL) {
        dlt_usage_program(width, &out);
    } else {
        const dlt_command *command = dlt_command_find(word);
        const bool found = dlt_reference(call->catalogue, word, width, &out, room, &nearest);
        if (command != NULL) {
            dlt_buf_string(&out, out.length > 0 ? "\n" : "");
            dlt_usage_command(command, width, &out);
        } else if (!found && !out.failed) {
            status = unknown(call, word, nearest);
        }
    }
    const dlt_status written = dlt_write_out(&out, call->diag);
    dlt_buf_release(&out);
    return status != DLT_OK ? status : written;
}

static const char *const examples[] = {"dltrain help Dense", "dltrain help fit.batch_size",
                                       "dltrain help layers", "dltrain help model", NULL};

const dlt_command dlt_command_help = {
    .name = "help",
    .doc = "explain a command, a kind or a key",
    .arguments = "[WORD]",
    .argument = DLT_ARG_WORD,
    .least = 0,
    .most = 1,
    .flags = flags,
    .options_size = sizeof(help_options),
    .text = "Explains a command, a kind of layer, optimizer, loss, metric, callback or source, a category of "
            "them, or a key "
            "of the model file: what may stand there, and what stands there by default.",
    .examples = examples,
    .run = run,
};
