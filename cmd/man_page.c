/* cmd/man_page.c: the man page, made from the tables of commands. */
#include "cmd/args.h"
#include "cmd/exit_codes.h"

#include <string.h>

/* Text for roff: backslashes doubled, hyphens kept as hyphens, no line begins with a control character. */
static void text(const char *t, dlt_buf *out)
{
    bool start = true;
    for (; *t != '\0'; t++) {
        if (start && (*t == '.' || *t == '\'')) {
            dlt_buf_string(out, "\\&");
        }
        start = *t == '\n';
        if (*t == '\\') {
            dlt_buf_string(out, "\\e");
        } else if (*t == '-') {
            dlt_buf_string(out, "\\-");
        } else if (*t == '\n') {
            dlt_buf_string(out, "\n.PP\n");
        } else {
            dlt_buf_char(out, *t);
        }
    }
}

static void flag_rows(const dlt_command *command, dlt_buf *out)
{
    for (const dlt_flag *f = command->flags; f != NULL && f->name != NULL; f++) {
        dlt_buf_string(out, ".TP\n.B ");
        if (f->letter != '\0') {
            dlt_buf_printf(out, "\\-%c\\fR, \\fB", f->letter);
        }
        dlt_buf_string(out, "\\-\\-");
        text(f->name, out);
        if (f->type == DLT_FLAG_CHOICE) {
            dlt_buf_string(out, " \\fR");
            for (size_t i = 0; f->choices[i] != NULL; i++) {
                dlt_buf_string(out, i > 0 ? "|" : "");
                text(f->choices[i], out);
            }
        } else if (f->value != NULL) {
            dlt_buf_string(out, " \\fI");
            text(f->value, out);
            dlt_buf_string(out, "\\fR");
        }
        dlt_buf_char(out, '\n');
        text(f->doc, out);
        dlt_buf_char(out, '\n');
    }
}

void dlt_man_page(dlt_buf *out)
{
    size_t count = 0;
    const dlt_command *const *commands = dlt_commands(&count);
    dlt_buf_string(
        out,
        ".TH DLTRAIN 1 \"\" \"dltrain " DLT_VERSION "\" \"User Commands\"\n"
        ".SH NAME\ndltrain \\- trains neural networks that are described in a YAML file\n"
        ".SH SYNOPSIS\n.B dltrain\n.I COMMAND\n[\\fIFLAG\\fR...] [\\fIARGUMENT\\fR...]\n"
        ".SH DESCRIPTION\n"
        "A model file names layers, an optimizer, a loss and data; dltrain checks it, trains it and saves "
        "what was learned.\n"
        "Layers, optimizers, losses, metrics and callbacks bear the names, defaults and numerics of Keras.\n"
        ".PP\n"
        "Results go to standard output, progress and messages to standard error.\n"
        "A file named by --output appears whole or not at all; '-' is standard output, a symbolic link is "
        "followed, "
        "and a pipe or device is written into.\n"
        ".SH COMMANDS\n");
    for (size_t i = 0; i < count; i++) {
        const dlt_command *c = commands[i];
        dlt_buf_printf(out, ".SS %s ", c->name);
        text(c->arguments, out);
        dlt_buf_char(out, '\n');
        text(c->text, out);
        dlt_buf_char(out, '\n');
        flag_rows(c, out);
        for (size_t k = 0; c->examples != NULL && c->examples[k] != NULL; k++) {
            dlt_buf_string(out, k == 0 ? ".PP\nFor example:\n.PP\n.nf\n.RS\n" : "");
            text(c->examples[k], out);
            dlt_buf_char(out, '\n');
            dlt_buf_string(out, c->examples[k + 1] == NULL ? ".RE\n.fi\n" : "");
        }
    }
    dlt_buf_string(out, ".SH EXIT STATUS\n");
    for (const dlt_exit_code *code = dlt_exit_codes(); code->text != NULL; code++) {
        dlt_buf_printf(out, ".TP\n.B %d\n", code->code);
        text(code->text, out);
        dlt_buf_char(out, '\n');
    }
    dlt_buf_string(out, ".SH ENVIRONMENT\n"
                        ".TP\n.B NO_COLOR\nif set and not empty, no colours are used\n"
                        ".TP\n.B COLUMNS\nwidth of help where standard output is no terminal\n"
                        ".SH SEE ALSO\n"
                        "\\fBdltrain help\\fR \\fIWORD\\fR explains every key and kind of the model file.\n");
}
