/* cmd/args.h: the command line by tables: parsing, usage, shell completion and the man page come from the
 * same rows. */
#ifndef DLT_CMD_ARGS_H
#define DLT_CMD_ARGS_H

#include "base/arena.h"
#include "base/kind.h"
#include "base/text.h"

typedef enum dlt_flag_type {
    DLT_FLAG_SWITCH, /* bool: true when given */
    DLT_FLAG_TEXT,   /* const char *; NULL when not given */
    DLT_FLAG_FILE,   /* the same; completed as a file */
    DLT_FLAG_FOLDER, /* the same; completed as a folder */
    DLT_FLAG_INT,    /* dlt_opt_int */
    DLT_FLAG_CHOICE, /* int: index in choices; 0 when not given */
    DLT_FLAG_LIST    /* dlt_strings: every time it is given */
} dlt_flag_type;

/** A flag of a command: --name, and -letter where there is one. A table ends with {0}. */
typedef struct dlt_flag {
    const char *name;
    char letter; /* '\0': none */
    dlt_flag_type type;
    size_t offset;              /* in the options struct of the command */
    const char *value;          /* what usage calls its value: "FILE"; NULL for a switch */
    const char *const *choices; /* CHOICE: ends with NULL; the first is the default */
    int64_t min, max;           /* INT */
    const char *doc;            /* one line, small first letter, no full stop */
} dlt_flag;

#define DLT_FLAG_MEMBER_(type, member, wanted)                                                               \
    (offsetof(type, member) + 0 * sizeof(0 ? &((type *)0)->member : (wanted *)0))
#define DLT_SWITCH(T, member, name_, letter_, doc_)                                                          \
    {                                                                                                        \
        .name = name_, .letter = letter_, .type = DLT_FLAG_SWITCH,                                           \
        .offset = DLT_FLAG_MEMBER_(T, member, bool), .doc = doc_                                             \
    }
#define DLT_TEXT(T, member, name_, letter_, type_, value_, doc_)                                             \
    {                                                                                                        \
        .name = name_, .letter = letter_, .type = type_,                                                     \
        .offset = DLT_FLAG_MEMBER_(T, member, const char *), .value = value_, .doc = doc_                    \
    }
#define DLT_CHOICE(T, member, name_, letter_, choices_, value_, doc_)                                        \
    {                                                                                                        \
        .name = name_, .letter = letter_, .type = DLT_FLAG_CHOICE,                                           \
        .offset = DLT_FLAG_MEMBER_(T, member, int), .value = value_, .choices = choices_, .doc = doc_        \
    }
#define DLT_NUMBER(T, member, name_, letter_, lo, hi, value_, doc_)                                          \
    {                                                                                                        \
        .name = name_, .letter = letter_, .type = DLT_FLAG_INT,                                              \
        .offset = DLT_FLAG_MEMBER_(T, member, dlt_opt_int), .value = value_, .min = lo, .max = hi,           \
        .doc = doc_                                                                                          \
    }
/* -o key.path=value, the same for every command that reads a model file */
#define DLT_OVERRIDES(T, member)                                                                             \
    {                                                                                                        \
        .name = "override", .letter = 'o', .type = DLT_FLAG_LIST,                                            \
        .offset = DLT_FLAG_MEMBER_(T, member, dlt_strings), .value = "KEY=VALUE",                            \
        .doc = "sets a key of the model file, as in -o fit.epochs=3; may be repeated"                        \
    }

/** What the arguments of a command are, for completion. */
typedef enum dlt_argument {
    DLT_ARG_NONE,
    DLT_ARG_MODEL,
    DLT_ARG_FILE,
    DLT_ARG_RUN,
    DLT_ARG_WORD,
    DLT_ARG_SHELL
} dlt_argument;

typedef struct dlt_command_call dlt_command_call;

/** A command of dltrain. Its row in cmd/commands.def makes it known everywhere. */
typedef struct dlt_command {
    const char *name;
    const char *doc;       /* one line, for lists */
    const char *arguments; /* as usage shows them: "FILE...", "[WORD]" */
    dlt_argument argument;
    int least, most; /* how many; most < 0: any number */
    const dlt_flag *flags;
    size_t options_size;         /* of the struct that flags fill */
    const char *text;            /* paragraphs for --help and the man page, separated by a line feed */
    const char *const *examples; /* "dltrain check model.yaml"; ends with NULL */
    dlt_status (*run)(const dlt_command_call *call);
} dlt_command;

/** A command about to run. Results go to stdout; messages into the diag, which main prints. */
struct dlt_command_call {
    const dlt_command *command;
    const dlt_catalogue *catalogue;
    const void *options;
    dlt_strings arguments;
    dlt_arena *arena;
    dlt_diag *diag;
    int64_t began_ns; /* when the program was started, by dlt_clock_ns */
    bool *saved; /* to be set by a command that ends with DLT_E_STOPPED when it has saved and the same command goes on: 75 */
};

/** All commands, in the order of commands.def. */
const dlt_command *const *dlt_commands(size_t *count);
/** The command of a name, or NULL. */
const dlt_command *dlt_command_find(const char *name);

/**
 * Reads what stands behind the command's name. Flags and arguments may be mixed; `--` ends the flags; `--flag
 * value`,
 * `--flag=value`, `-f value`, `-fvalue` and joined switches `-ab` are the same as everywhere. *help is set
 * when --help or -h stands there, and nothing is checked then. Every mistake is reported; DLT_E_CONFIG.
 */
dlt_status dlt_args_parse(const dlt_command *command, int count, const char *const *words,
                          dlt_command_call *call, bool *help);

/** "usage: ..." and the flags of a command. */
void dlt_usage_command(const dlt_command *command, int width, dlt_buf *out);
/** What dltrain --help says. */
void dlt_usage_program(int width, dlt_buf *out);
/** A completion script; shell is bash, zsh or fish. False if it is none of them. */
bool dlt_completion(const char *shell, const dlt_catalogue *catalogue, dlt_buf *out);
/** The man page, in man(7) macros. */
void dlt_man_page(dlt_buf *out);

#endif
