/* cmd/completion.c: completion scripts for bash, zsh and fish, made from the tables of commands and kinds. */
#include "cmd/args.h"
#include "io/data/source.h"
#include "schema/spec.h"

#include <string.h>

/* Text inside single quotes of a shell. */
static void quoted(const char *text, dlt_buf *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            dlt_buf_string(out, "'\\''");
        } else {
            dlt_buf_char(out, *text);
        }
    }
}

/* Every word that `dltrain help` knows, separated by blanks: kinds, categories, keys of the model file. */
static void help_words(const dlt_catalogue *catalogue, dlt_buf *out)
{
    for (size_t i = 0; i < catalogue->count; i++) {
        const dlt_category *category = &catalogue->categories[i];
        dlt_buf_printf(out, "%s ", category->name);
        for (size_t k = 0; k < category->count; k++) {
            const bool again =
                strcmp(category->name, "validation") == 0 && category->kinds[k] != &dlt_split_kind;
            if (!again && strcmp(category->kinds[k]->name, "number") != 0) {
                dlt_buf_printf(out, "%s ", category->kinds[k]->name);
            }
        }
    }
    for (const dlt_field *f = dlt_kind_model.fields; f->name != NULL; f++) {
        dlt_buf_printf(out, "%s ", f->name);
        for (size_t k = 0; f->type == DLT_FIELD_STRUCT && k < dlt_field_count(f->fields); k++) {
            dlt_buf_printf(out, "%s.%s ", f->name, f->fields[k].name);
        }
    }
    size_t count = 0;
    const dlt_command *const *commands = dlt_commands(&count);
    for (size_t i = 0; i < count; i++) {
        dlt_buf_printf(out, "%s%s", commands[i]->name, i + 1 < count ? " " : "");
    }
}

static void choices(const dlt_flag *flag, dlt_buf *out)
{
    for (size_t i = 0; flag->choices[i] != NULL; i++) {
        dlt_buf_printf(out, "%s%s", i > 0 ? " " : "", flag->choices[i]);
    }
}

/* ---- bash ---- */

static void bash_flags(const dlt_command *command, dlt_buf *out)
{
    dlt_buf_string(out, "--help");
    for (const dlt_flag *f = command->flags; f != NULL && f->name != NULL; f++) {
        dlt_buf_printf(out, " --%s", f->name);
        if (f->letter != '\0') {
            dlt_buf_printf(out, " -%c", f->letter);
        }
    }
}

static void bash_argument(const dlt_command *command, const dlt_catalogue *catalogue, dlt_buf *out)
{
    switch (command->argument) {
    case DLT_ARG_WORD:
        dlt_buf_string(out, "COMPREPLY=($(compgen -W '");
        help_words(catalogue, out);
        dlt_buf_string(out, "' -- \"$word\"))");
        break;
    case DLT_ARG_SHELL:
        dlt_buf_string(out, "COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$word\"))");
        break;
    case DLT_ARG_MODEL:
        dlt_buf_string(out, "COMPREPLY=($(compgen -f -X '!*.y*ml' -- \"$word\") $(compgen -d -- \"$word\"))");
        break;
    case DLT_ARG_FILE:
    case DLT_ARG_RUN:
        dlt_buf_string(out, "COMPREPLY=($(compgen -f -- \"$word\"))");
        break;
    case DLT_ARG_NONE:
    default:
        dlt_buf_string(out, "COMPREPLY=()");
        break;
    }
}

static void bash(const dlt_catalogue *catalogue, dlt_buf *out)
{
    size_t count = 0;
    const dlt_command *const *commands = dlt_commands(&count);
    dlt_buf_string(out,
                   "# bash completion for dltrain\n"
                   "_dltrain() {\n"
                   "    local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
                   "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                   "        COMPREPLY=($(compgen -W '");
    for (size_t i = 0; i < count; i++) {
        dlt_buf_printf(out, "%s ", commands[i]->name);
    }
    dlt_buf_string(out, "--help --version' -- \"$word\"))\n"
                        "        return\n"
                        "    fi\n"
                        "    case \"${COMP_WORDS[1]}\" in\n");
    for (size_t i = 0; i < count; i++) {
        dlt_buf_printf(out, "    %s)\n        case \"$before\" in\n", commands[i]->name);
        for (const dlt_flag *f = commands[i]->flags; f != NULL && f->name != NULL; f++) {
            if (f->type == DLT_FLAG_SWITCH) {
                continue;
            }
            dlt_buf_printf(out, "        --%s", f->name);
            if (f->letter != '\0') {
                dlt_buf_printf(out, "|-%c", f->letter);
            }
            dlt_buf_string(out, ") ");
            if (f->type == DLT_FLAG_CHOICE) {
                dlt_buf_string(out, "COMPREPLY=($(compgen -W '");
                choices(f, out);
                dlt_buf_string(out, "' -- \"$word\"))");
            } else if (f->type == DLT_FLAG_FILE) {
                dlt_buf_string(out, "COMPREPLY=($(compgen -f -- \"$word\"))");
            } else if (f->type == DLT_FLAG_FOLDER) {
                dlt_buf_string(out, "COMPREPLY=($(compgen -d -- \"$word\"))");
            } else {
                dlt_buf_string(out, "COMPREPLY=()");
            }
            dlt_buf_string(out, "; return ;;\n");
        }
        dlt_buf_string(out, "        esac\n        case \"$word\" in\n        -*) COMPREPLY=($(compgen -W '");
        bash_flags(commands[i], out);
        dlt_buf_string(out, "' -- \"$word\")) ;;\n        *) ");
        bash_argument(commands[i], catalogue, out);
        dlt_buf_string(out, " ;;\n        esac\n        ;;\n");
    }
    dlt_buf_string(out, "    esac\n}\ncomplete -o filenames -F _dltrain dltrain\n");
}

/* ---- zsh ---- */

/* Text inside the single quotes and brackets of an _arguments specification. */
static void zsh_doc(const char *text, dlt_buf *out)
{
    for (; *text != '\0'; text++) {
        if (strchr("[]:\\", *text) != NULL) {
            dlt_buf_char(out, '\\');
        }
        const char one[2] = {*text, '\0'};
        quoted(one, out);
    }
}

static void zsh_action(const dlt_flag *f, dlt_buf *out)
{
    if (f->type == DLT_FLAG_SWITCH) {
        return;
    }
    dlt_buf_printf(out, ":%s:", f->value);
    if (f->type == DLT_FLAG_CHOICE) {
        dlt_buf_char(out, '(');
        choices(f, out);
        dlt_buf_char(out, ')');
    } else if (f->type == DLT_FLAG_FILE) {
        dlt_buf_string(out, "_files");
    } else if (f->type == DLT_FLAG_FOLDER) {
        dlt_buf_string(out, "_files -/");
    }
}

static void zsh(const dlt_catalogue *catalogue, dlt_buf *out)
{
    size_t count = 0;
    const dlt_command *const *commands = dlt_commands(&count);
    dlt_buf_string(out, "#compdef dltrain\n# zsh completion for dltrain\n_dltrain() {\n    local -a "
                        "commands\n    commands=(\n");
    for (size_t i = 0; i < count; i++) {
        dlt_buf_printf(out, "        '%s:", commands[i]->name);
        zsh_doc(commands[i]->doc, out);
        dlt_buf_string(out, "'\n");
    }
    dlt_buf_string(out, "    )\n"
                        "    if (( CURRENT == 2 )); then\n"
                        "        _describe command commands\n"
                        "        return\n"
                        "    fi\n"
                        "    local command=$words[2]\n"
                        "    shift words\n"
                        "    (( CURRENT-- ))\n"
                        "    case $command in\n");
    for (size_t i = 0; i < count; i++) {
        dlt_buf_printf(out, "    %s)\n        _arguments '(-h --help)'{-h,--help}'[what this command does]'",
                       commands[i]->name);
        for (const dlt_flag *f = commands[i]->flags; f != NULL && f->name != NULL; f++) {
            const char *star = f->type == DLT_FLAG_LIST ? "*" : "",
                       *equals = f->type == DLT_FLAG_SWITCH ? "" : "=";
            dlt_buf_printf(out, " \\\n            '%s--%s%s[", star, f->name, equals);
            zsh_doc(f->doc, out);
            dlt_buf_char(out, ']');
            zsh_action(f, out);
            dlt_buf_char(out, '\'');
            if (f->letter != '\0') {
                dlt_buf_printf(out, " \\\n            '%s-%c%s[", star, f->letter,
                               f->type == DLT_FLAG_SWITCH ? "" : "+");
                zsh_doc(f->doc, out);
                dlt_buf_char(out, ']');
                zsh_action(f, out);
                dlt_buf_char(out, '\'');
            }
        }
        switch (commands[i]->argument) {
        case DLT_ARG_WORD:
            dlt_buf_string(out, " \\\n            '*:word:(");
            help_words(catalogue, out);
            dlt_buf_string(out, ")'");
            break;
        case DLT_ARG_SHELL:
            dlt_buf_string(out, " \\\n            '1:shell:(bash zsh fish)'");
            break;
        case DLT_ARG_MODEL:
            dlt_buf_string(out, " \\\n            '*:model file:_files -g \"*.y(a|)ml\"'");
            break;
        case DLT_ARG_FILE:
        case DLT_ARG_RUN:
            dlt_buf_string(out, " \\\n            '*:file:_files'");
            break;
        case DLT_ARG_NONE:
        default:
            break;
        }
        dlt_buf_string(out, "\n        ;;\n");
    }
    dlt_buf_string(out, "    esac\n}\n_dltrain \"$@\"\n");
}

/* ---- fish ---- */

static void fish(const dlt_catalogue *catalogue, dlt_buf *out)
{
    size_t count = 0;
    const dlt_command *const *commands = dlt_commands(&count);
    dlt_buf_string(out, "# fish completion for dltrain\ncomplete -c dltrain -f\n"
                        "complete -c dltrain -n __fish_use_subcommand -l version -d 'which dltrain this is'\n"
                        "complete -c dltrain -s h -l help -d 'what it does'\n");
    for (size_t i = 0; i < count; i++) {
        const dlt_command *c = commands[i];
        dlt_buf_printf(out, "complete -c dltrain -n __fish_use_subcommand -a %s -d '", c->name);
        quoted(c->doc, out);
        dlt_buf_string(out, "'\n");
        for (const dlt_flag *f = c->flags; f != NULL && f->name != NULL; f++) {
            dlt_buf_printf(out, "complete -c dltrain -n '__fish_seen_subcommand_from %s' -l %s", c->name,
                           f->name);
            if (f->letter != '\0') {
                dlt_buf_printf(out, " -s %c", f->letter);
            }
            if (f->type == DLT_FLAG_CHOICE) {
                dlt_buf_string(out, " -x -a '");
                choices(f, out);
                dlt_buf_char(out, '\'');
            } else if (f->type == DLT_FLAG_FILE || f->type == DLT_FLAG_FOLDER) {
                dlt_buf_string(out, f->type == DLT_FLAG_FILE ? " -r -F"
                                                             : " -x -a '(__fish_complete_directories)'");
            } else if (f->type != DLT_FLAG_SWITCH) {
                dlt_buf_string(out, " -x");
            }
            dlt_buf_string(out, " -d '");
            quoted(f->doc, out);
            dlt_buf_string(out, "'\n");
        }
        if (c->argument == DLT_ARG_WORD || c->argument == DLT_ARG_SHELL) {
            dlt_buf_printf(out, "complete -c dltrain -n '__fish_seen_subcommand_from %s' -a '", c->name);
            if (c->argument == DLT_ARG_WORD) {
                help_words(catalogue, out);
            } else {
                dlt_buf_string(out, "bash zsh fish");
            }
            dlt_buf_string(out, "'\n");
        } else if (c->argument != DLT_ARG_NONE) {
            dlt_buf_printf(out, "complete -c dltrain -n '__fish_seen_subcommand_from %s' -F\n", c->name);
        }
    }
}

bool dlt_completion(const char *shell, const dlt_catalogue *catalogue, dlt_buf *out)
{
    if (strcmp(shell, "bash") == 0) {
        bash(catalogue, out);
    } else if (strcmp(shell, "zsh") == 0) {
        zsh(catalogue, out);
    } else if (strcmp(shell, "fish") == 0) {
        fish(catalogue, out);
    } else {
        return false;
    }
    return true;
}
