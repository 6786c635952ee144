/* cmd/args.c: reads command lines by the tables of the commands, and writes usage from them. */
#include "cmd/args.h"

#include "base/num.h"

#include <string.h>

#define DLT_COMMAND(name) extern const dlt_command dlt_command_##name;
#include "cmd/commands.def"
#undef DLT_COMMAND

const dlt_command *const *dlt_commands(size_t *count)
{
#define DLT_COMMAND(name) &dlt_command_##name,
    static const dlt_command *const commands[] = {
#include "cmd/commands.def"
    };
#undef DLT_COMMAND
    *count = DLT_COUNT(commands);
    return commands;
}

const dlt_command *dlt_command_find(const char *name)
{
    size_t count = 0;
    const dlt_command *const *commands = dlt_commands(&count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

/* ---- parsing ---- */

static const dlt_flag *flag_by_name(const dlt_command *command, const char *name, size_t length)
{
    for (const dlt_flag *f = command->flags; f != NULL && f->name != NULL; f++) {
        if (strncmp(f->name, name, length) == 0 && f->name[length] == '\0') {
            return f;
        }
    }
    return NULL;
}

static const dlt_flag *flag_by_letter(const dlt_command *command, char letter)
{
    for (const dlt_flag *f = command->flags; f != NULL && f->name != NULL; f++) {
        if (f->letter == letter) {
            return f;
        }
    }
    return NULL;
}

static dlt_status unknown_flag(const dlt_command *command, const char *name, size_t length, dlt_diag *diag)
{
    const char *names[64] = {"help"};
    char wanted[64];
    size_t count = 1;
    for (const dlt_flag *f = command->flags; f != NULL && f->name != NULL && count < DLT_COUNT(names); f++) {
        names[count++] = f->name;
    }
    length = length < sizeof wanted ? length : sizeof wanted - 1;
    memcpy(wanted, name, length);
    wanted[length] = '\0';
    const int nearest = dlt_nearest(wanted, names, count);
    if (nearest >= 0) {
        const dlt_detail detail = {.found = wanted, .nearest = names[nearest]};
        return dlt_fail_detail(diag, DLT_E_CONFIG, (dlt_pos){0}, &detail,
                               "unknown flag '--%s'; did you mean '--%s'?", wanted, names[nearest]);
    }
    return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0},
                    "unknown flag '--%s'; 'dltrain %s --help' lists the flags", wanted, command->name);
}

/* Appends to a list of an options struct. */
static bool append(dlt_arena *arena, dlt_strings *list, const char *text)
{
    const char **grown = dlt_arena_alloc(arena, list->count + 1, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        grown[i] = list->at[i];
    }
    grown[list->count] = text;
    *list = (dlt_strings){list->count + 1, grown};
    return true;
}

static dlt_status set_choice(const dlt_flag *flag, const char *value, int *to, dlt_diag *diag)
{
    dlt_buf list = {0};
    size_t count = 0;
    for (; flag->choices[count] != NULL; count++) {
        if (strcmp(flag->choices[count], value) == 0) {
            *to = (int)count;
            dlt_buf_release(&list);
            return DLT_OK;
        }
        dlt_buf_printf(&list, "%s%s", count > 0 ? ", " : "", flag->choices[count]);
    }
    const int nearest = dlt_nearest(value, flag->choices, count);
    const dlt_detail detail = {.key = flag->name,
                               .found = value,
                               .allowed = dlt_buf_text(&list),
                               .nearest = nearest >= 0 ? flag->choices[nearest] : NULL};
    dlt_fail_detail(diag, DLT_E_CONFIG, (dlt_pos){0}, &detail, "--%s must be one of %s, found '%s'%s%s%s",
                    flag->name, dlt_buf_text(&list), value, nearest >= 0 ? "; did you mean " : "",
                    nearest >= 0 ? flag->choices[nearest] : "", nearest >= 0 ? "?" : "");
    dlt_buf_release(&list);
    return DLT_E_CONFIG;
}

static dlt_status set_flag(const dlt_flag *flag, const char *value, char *options, dlt_arena *arena,
                           dlt_diag *diag)
{
    void *to = options + flag->offset;
    int64_t number = 0;
    switch (flag->type) {
    case DLT_FLAG_SWITCH:
        *(bool *)to = true;
        return DLT_OK;
    case DLT_FLAG_TEXT:
    case DLT_FLAG_FILE:
    case DLT_FLAG_FOLDER:
        if (*value == '\0') {
            return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0}, "--%s needs a %s, found nothing", flag->name,
                            flag->value);
        }
        *(const char **)to = value;
        return DLT_OK;
    case DLT_FLAG_INT:
        if (!dlt_parse_i64(value, strlen(value), &number) || number < flag->min || number > flag->max) {
            return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0},
                            "--%s must be an integer of %lld..%lld, found '%s'", flag->name,
                            (long long)flag->min, (long long)flag->max, value);
        }
        *(dlt_opt_int *)to = (dlt_opt_int){true, number};
        return DLT_OK;
    case DLT_FLAG_CHOICE:
        return set_choice(flag, value, to, diag);
    case DLT_FLAG_LIST:
    default:
        return append(arena, to, value) ? DLT_OK : dlt_fail_memory(diag);
    }
}

/* A word that begins with '-'. *at is its index; a value in the next word moves it on. */
static dlt_status parse_flag(const dlt_command *command, int count, const char *const *words, int *at,
                             char *options, dlt_arena *arena, dlt_diag *diag)
{
    const char *word = words[*at], *value = NULL;
    const dlt_flag *flag = NULL;
    if (word[1] == '-') {
        const size_t length = strcspn(word + 2, "=");
        flag = flag_by_name(command, word + 2, length);
        value = word[2 + length] == '=' ? word + 3 + length : NULL;
        if (flag == NULL) {
            return unknown_flag(command, word + 2, length, diag);
        }
    } else {
        for (const char *letter = word + 1; *letter != '\0'; letter++) {
            flag = flag_by_letter(command, *letter);
            if (flag == NULL) {
                return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0},
                                "unknown flag '-%c' in '%s'; 'dltrain %s --help' lists the flags", *letter,
                                word, command->name);
            }
            if (flag->type != DLT_FLAG_SWITCH) {
                value = letter[1] == '=' ? letter + 2 : letter[1] != '\0' ? letter + 1 : NULL;
                break;
            }
            set_flag(flag, NULL, options, arena, diag);
        }
        if (flag == NULL || flag->type == DLT_FLAG_SWITCH) {
            return DLT_OK;
        }
    }
    if (flag->type == DLT_FLAG_SWITCH) {
        if (value != NULL) {
            return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0}, "--%s takes no value, found '%s'", flag->name,
                            value);
        }
    } else if (value == NULL) {
        if (*at + 1 >= count ||
            (words[*at + 1][0] == '-' && words[*at + 1][1] != '\0' && flag->type != DLT_FLAG_INT)) {
            return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0}, "--%s needs a value: --%s %s", flag->name,
                            flag->name, flag->value);
        }
        value = words[++*at];
    }
    return set_flag(flag, value, options, arena, diag);
}

static dlt_status check_count(const dlt_command *command, size_t count, dlt_diag *diag)
{
    if ((int)count < command->least) {
        return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0},
                        "'dltrain %s' needs %s; 'dltrain %s --help' says more", command->name,
                        command->arguments, command->name);
    }
    return DLT_OK;
}

dlt_status dlt_args_parse(const dlt_command *command, int count, const char *const *words,
                          dlt_command_call *call, bool *help)
{
    dlt_status status = DLT_OK;
    char *options = dlt_arena_alloc(call->arena, 1, command->options_size);
    const char **arguments = dlt_arena_alloc(call->arena, (size_t)count, sizeof *arguments);
    size_t given = 0;
    *help = false;
    call->command = command;
    call->options = options;
    if (options == NULL || arguments == NULL) {
        return dlt_fail_memory(call->diag);
    }
    for (int i = 0; i < count && strcmp(words[i], "--") != 0; i++) {
        *help = *help || strcmp(words[i], "--help") == 0 || strcmp(words[i], "-h") == 0;
    }
    if (*help) {
        return DLT_OK;
    }
    bool flags = true;
    for (int i = 0; i < count; i++) {
        dlt_status one = DLT_OK;
        if (flags && strcmp(words[i], "--") == 0) {
            flags = false;
        } else if (flags && words[i][0] == '-' && words[i][1] != '\0') {
            one = parse_flag(command, count, words, &i, options, call->arena, call->diag);
        } else if (command->most >= 0 && (int)given >= command->most) {
            one = dlt_fail(call->diag, DLT_E_CONFIG, (dlt_pos){0}, "'dltrain %s' takes %s, found '%s' too",
                           command->name, command->most == 0 ? "no arguments" : command->arguments, words[i]);
        } else {
            arguments[given++] = words[i];
        }
        status = status != DLT_OK ? status : one;
    }
    call->arguments = (dlt_strings){given, arguments};
    return status != DLT_OK ? status : check_count(command, given, call->diag);
}

/* ---- usage ---- */

/* "-o, --override KEY=VALUE" */
static void flag_text(const dlt_flag *flag, dlt_buf *out)
{
    if (flag->letter != '\0') {
        dlt_buf_printf(out, "-%c, ", flag->letter);
    } else {
        dlt_buf_string(out, "    ");
    }
    dlt_buf_printf(out, "--%s", flag->name);
    if (flag->type == DLT_FLAG_CHOICE) {
        dlt_buf_char(out, ' ');
        for (size_t i = 0; flag->choices[i] != NULL; i++) {
            dlt_buf_printf(out, "%s%s", i > 0 ? "|" : "", flag->choices[i]);
        }
    } else if (flag->value != NULL) {
        dlt_buf_printf(out, " %s", flag->value);
    }
}

void dlt_usage_command(const dlt_command *command, int width, dlt_buf *out)
{
    enum { COLUMN = 30 };
    const bool flags = command->flags != NULL && command->flags[0].name != NULL;
    dlt_buf_printf(out, "usage: dltrain %s%s%s%s\n\n", command->name, flags ? " [FLAG...]" : "",
                   command->arguments[0] != '\0' ? " " : "", command->arguments);
    dlt_buf_wrap(out, command->text, 0, 0, width);
    dlt_buf_char(out, '\n');
    if (flags) {
        dlt_buf_char(out, '\n');
    }
    for (const dlt_flag *f = command->flags; f != NULL && f->name != NULL; f++) {
        dlt_buf left = {0};
        dlt_buf_string(&left, "  ");
        flag_text(f, &left);
        dlt_buf_append(out, dlt_buf_text(&left), left.length);
        if (left.length + 2 > COLUMN) {
            dlt_buf_printf(out, "\n%*s", (int)COLUMN, "");
        } else {
            dlt_buf_printf(out, "%*s", (int)(COLUMN - left.length), "");
        }
        dlt_buf_wrap(out, f->doc, COLUMN, COLUMN, width);
        dlt_buf_char(out, '\n');
        dlt_buf_finish(&left, out);
    }
    for (size_t i = 0; command->examples != NULL && command->examples[i] != NULL; i++) {
        dlt_buf_printf(out, "%s    %s\n", i == 0 ? "\n" : "", command->examples[i]);
    }
}

void dlt_usage_program(int width, dlt_buf *out)
{
    size_t count = 0;
    const dlt_command *const *commands = dlt_commands(&count);
    int column = 0;
    for (size_t i = 0; i < count; i++) {
        const int length = (int)(strlen(commands[i]->name) + 1 + strlen(commands[i]->arguments));
        column = length > column ? length : column;
    }
    dlt_buf_string(out, "dltrain trains neural networks that are described in a YAML file.\n\nusage: dltrain "
                        "COMMAND [FLAG...] [ARGUMENT...]\n\n");
    for (size_t i = 0; i < count; i++) {
        dlt_buf left = {0};
        dlt_buf_printf(&left, "%s %s", commands[i]->name, commands[i]->arguments);
        dlt_buf_printf(out, "  %-*s  ", column, dlt_buf_text(&left));
        dlt_buf_wrap(out, commands[i]->doc, column + 4, column + 4, width);
        dlt_buf_char(out, '\n');
        dlt_buf_finish(&left, out);
    }
    dlt_buf_string(out,
                   "\n'dltrain COMMAND --help' says more of a command, 'dltrain help Dense' of a layer,\n"
                   "'dltrain help fit.batch_size' of a key. 'dltrain --version' says which this is.\n");
}
