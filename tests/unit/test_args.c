/* tests/unit/test_args.c: flags and arguments, usage and completion from the tables; messages with their
 * excerpts. */
#include "support/support.h"

#include "base/alloc.h"
#include "base/diag.h"
#include "cmd/args.h"
#include "cmd/exit_codes.h"
#include "cmd/print_diag.h"
#include "support/fake_catalogue.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct trial_options {
    bool quick, loud;
    const char *output, *note;
    dlt_opt_int threads;
    int format;
    dlt_strings overrides;
} trial_options;

static const char *const formats[] = {"text", "json", "csv", NULL};
static const dlt_flag flags[] = {
    DLT_SWITCH(trial_options, quick, "quick", 'q', "be quick"),
    DLT_SWITCH(trial_options, loud, "loud", 'l', "be loud"),
    DLT_TEXT(trial_options, output, "output", 'O', DLT_FLAG_FILE, "FILE", "where to"),
    DLT_TEXT(trial_options, note, "note", '\0', DLT_FLAG_TEXT, "TEXT", "what for"),
    DLT_NUMBER(trial_options, threads, "threads", 't', 1, 64, "N", "how many"),
    DLT_CHOICE(trial_options, format, "format", '\0', formats, "FORMAT", "how"),
    DLT_OVERRIDES(trial_options, overrides),
    {0},
};
static const dlt_command command = {.name = "trial",
                                    .doc = "try",
                                    .arguments = "FILE [FILE]",
                                    .least = 1,
                                    .most = 2,
                                    .flags = flags,
                                    .options_size = sizeof(trial_options),
                                    .text = "Tries."};

typedef struct fixture {
    dlt_arena *arena;
    dlt_diag *diag;
    dlt_command_call call;
    const trial_options *options;
    bool help;
    dlt_status status;
} fixture;

static void parse(fixture *f, int count, const char *const *words)
{
    *f = (fixture){.arena = dlt_arena_create(), .diag = dlt_diag_create()};
    f->call.arena = f->arena;
    f->call.diag = f->diag;
    f->status = dlt_args_parse(&command, count, words, &f->call, &f->help);
    f->options = f->call.options;
}

static void release(fixture *f)
{
    dlt_arena_destroy(f->arena);
    dlt_diag_destroy(f->diag);
}

#define PARSE(f, ...)                                                                                        \
    do {                                                                                                     \
        const char *const words_[] = {__VA_ARGS__};                                                          \
        parse(f, (int)DLT_COUNT(words_), words_);                                                            \
    } while (0)

static void flags_are_read_in_all_their_forms(void **state)
{
    (void)state;
    fixture f;
    PARSE(&f, "a.yaml", "--output=x", "--threads", "3", "-q", "-o", "k=v", "-ok2=v2", "--override",
          "k3=", "--format", "json", "b");
    assert_int_equal(f.status, DLT_OK);
    assert_true(f.options->quick && !f.options->loud);
    assert_string_equal(f.options->output, "x");
    assert_true(f.options->threads.set && f.options->threads.value == 3);
    assert_int_equal(f.options->format, 1);
    assert_int_equal(f.options->overrides.count, 3);
    assert_string_equal(f.options->overrides.at[1], "k2=v2");
    assert_string_equal(f.options->overrides.at[2], "k3=");
    assert_int_equal(f.call.arguments.count, 2);
    assert_string_equal(f.call.arguments.at[1], "b");
    release(&f);
    PARSE(&f, "-ql", "-t8", "-O", "-", "--note=a=b", "-");
    assert_int_equal(f.status, DLT_OK);
    assert_true(f.options->quick && f.options->loud && f.options->threads.value == 8);
    assert_string_equal(f.options->output, "-");
    assert_string_equal(f.options->note, "a=b");
    assert_string_equal(f.call.arguments.at[0], "-");
    release(&f);
    PARSE(&f, "--", "--quick", "-x");
    assert_int_equal(f.status, DLT_OK);
    assert_false(f.options->quick);
    assert_string_equal(f.call.arguments.at[0], "--quick");
    release(&f);
}

static void wrong_command_lines_say_what_to_do(void **state)
{
    (void)state;
    static const struct wrong {
        const char *words[4], *expected;
    } cases[] = {
        {{"a", "--outptu", "x"}, "unknown flag '--outptu'; did you mean '--output'?"},
        {{"a", "--zzzzzzzz"}, "unknown flag '--zzzzzzzz'; 'dltrain trial --help' lists the flags"},
        {{"a", "-qz"}, "unknown flag '-z' in '-qz'; 'dltrain trial --help' lists the flags"},
        {{"a", "--output"}, "--output needs a value: --output FILE"},
        {{"a", "--output", "--quick"}, "--output needs a value: --output FILE"},
        {{"a", "--output="}, "--output needs a FILE, found nothing"},
        {{"a", "--quick=yes"}, "--quick takes no value, found 'yes'"},
        {{"a", "--threads", "many"}, "--threads must be an integer of 1..64, found 'many'"},
        {{"a", "--threads", "-1"}, "--threads must be an integer of 1..64, found '-1'"},
        {{"a", "-t65"}, "--threads must be an integer of 1..64, found '65'"},
        {{"a", "--format", "jsn"},
         "--format must be one of text, json, csv, found 'jsn'; did you mean json?"},
        {{"a", "--format", "xxxxxxx"}, "--format must be one of text, json, csv, found 'xxxxxxx'"},
        {{"a", "b", "c"}, "'dltrain trial' takes FILE [FILE], found 'c' too"},
        {{"-q"}, "'dltrain trial' needs FILE [FILE]; 'dltrain trial --help' says more"},
    };
    for (size_t i = 0; i < DLT_COUNT(cases); i++) {
        fixture f;
        int count = 0;
        while (count < 4 && cases[i].words[count] != NULL) {
            count++;
        }
        parse(&f, count, cases[i].words);
        assert_int_equal(f.status, DLT_E_CONFIG);
        assert_string_equal(dlt_diag_text(f.diag, 0), cases[i].expected);
        assert_int_equal(dlt_diag_size(f.diag), 1);
        release(&f);
    }
    fixture f;
    PARSE(&f, "--zz", "--threads=0", "a", "b", "c"); /* all of them at once */
    assert_int_equal(dlt_diag_size(f.diag), 3);
    release(&f);
}

static void help_is_seen_whatever_else_is_wrong(void **state)
{
    (void)state;
    fixture f;
    PARSE(&f, "--nonsense", "--help");
    assert_true(f.help && f.status == DLT_OK && dlt_diag_size(f.diag) == 0);
    release(&f);
    PARSE(&f, "--", "--help");
    assert_false(f.help);
    release(&f);
}

static void usage_fits_80_columns_and_names_every_flag(void **state)
{
    (void)state;
    size_t count = 0;
    const dlt_command *const *commands = dlt_commands(&count);
    assert_true(count >= 6);
    for (size_t i = 0; i < count; i++) {
        dlt_buf out = {0};
        dlt_usage_command(commands[i], 80, &out);
        assert_false(out.failed);
        for (const dlt_flag *f = commands[i]->flags; f != NULL && f->name != NULL; f++) {
            char wanted[64];
            snprintf(wanted, sizeof wanted, "--%s", f->name);
            assert_non_null(strstr(out.data, wanted));
            assert_true(strlen(f->doc) > 0 && f->doc[strlen(f->doc) - 1] != '.');
        }
        for (const char *line = out.data; *line != '\0'; line = strchr(line, '\n') + 1) {
            if (strcspn(line, "\n") > 80) {
                fail_msg("dltrain %s --help: %.*s", commands[i]->name, (int)strcspn(line, "\n"), line);
            }
        }
        assert_ptr_equal(dlt_command_find(commands[i]->name), commands[i]);
        dlt_buf_release(&out);
    }
    assert_null(dlt_command_find("nonsense"));
}

static void completions_and_the_man_page_name_every_flag(void **state)
{
    (void)state;
    static const char *const shells[] = {"bash", "zsh", "fish", NULL};
    size_t count = 0;
    const dlt_command *const *commands = dlt_commands(&count);
    for (size_t s = 0; s < DLT_COUNT(shells); s++) {
        dlt_buf out = {0};
        if (shells[s] != NULL) {
            assert_true(dlt_completion(shells[s], dlt_catalogue_all(), &out));
            assert_non_null(strstr(out.data, "Conv2D"));
            assert_non_null(strstr(out.data, "fit.batch_size"));
        } else {
            dlt_man_page(&out);
        }
        for (size_t i = 0; i < count; i++) {
            assert_non_null(strstr(out.data, commands[i]->name));
            for (const dlt_flag *f = commands[i]->flags; f != NULL && f->name != NULL; f++) {
                char wanted[64];
                size_t at = 0;
                for (const char *c = f->name; *c != '\0'; c++) { /* roff writes a hyphen as \- */
                    if (*c == '-' && shells[s] == NULL) {
                        wanted[at++] = '\\';
                    }
                    wanted[at++] = *c;
                }
                wanted[at] = '\0';
                assert_non_null(strstr(out.data, wanted));
            }
        }
        dlt_buf_release(&out);
    }
    dlt_buf out = {0};
    assert_false(dlt_completion("tcsh", dlt_catalogue_all(), &out));
}

static void every_status_has_its_exit_code(void **state)
{
    (void)state;
    static const int codes[] = {0, 2, 2, 3, 4, 5, 6, 7, 8, 75, 1}; /* in the order of dlt_status */
    for (int status = DLT_OK; status <= DLT_E_INTERNAL; status++) {
        assert_int_equal(dlt_exit_code_of((dlt_status)status), codes[status]);
        assert_true((status == DLT_OK) == (dlt_status_word((dlt_status)status)[0] == '\0'));
    }
}

/* ---- messages ---- */

static void assert_printed(const char *line, dlt_pos pos, int width, bool color, const char *expected)
{
    dlt_diag *diag = dlt_diag_create();
    dlt_buf out = {0};
    const dlt_print_options options = {.color = color, .width = width};
    dlt_diag_add_source(diag, "m.yaml", line, strlen(line));
    dlt_fail(diag, DLT_E_CONFIG, pos, "wrong");
    dlt_print_messages(diag, &options, &out);
    assert_string_equal(dlt_buf_text(&out), expected);
    dlt_buf_release(&out);
    dlt_diag_destroy(diag);
}

static void excerpts_stand_under_their_tokens(void **state)
{
    (void)state;
    assert_printed("a: bcd\n", (dlt_pos){"m.yaml", 1, 4, 3}, 80, false,
                   "m.yaml:1:4: wrong\n    1 | a: bcd\n      |    ^^^\n");
    assert_printed("\ta:\tbcd", (dlt_pos){"m.yaml", 1, 5, 3}, 80, false,
                   "m.yaml:1:5: wrong\n    1 |         a:      bcd\n      |                 ^^^\n");
    assert_printed("深: 学", (dlt_pos){"m.yaml", 1, 4, 1}, 80, false,
                   "m.yaml:1:4: wrong\n    1 | 深: 学\n      |     ^^\n");
    assert_printed("e\xcc\x81: x", (dlt_pos){"m.yaml", 1, 5, 1}, 80, false,
                   "m.yaml:1:5: wrong\n    1 | e\xcc\x81: x\n      |    ^\n");
    assert_printed("a\033[31m: x", (dlt_pos){"m.yaml", 1, 9, 1}, 80, false,
                   "m.yaml:1:9: wrong\n    1 | a?[31m: x\n      |         ^\n");
    assert_printed("a: \xff\xfe x", (dlt_pos){"m.yaml", 1, 4, 1}, 80, false,
                   "m.yaml:1:4: wrong\n    1 | a: ?? x\n      |    ^\n");
    assert_printed("a:", (dlt_pos){"m.yaml", 1, 3, 1}, 80, false,
                   "m.yaml:1:3: wrong\n    1 | a:\n      |   ^\n");
    assert_printed("", (dlt_pos){"m.yaml", 1, 1, 1}, 80, false, "m.yaml:1:1: wrong\n    1 | \n      | ^\n");
    assert_printed("a: b", (dlt_pos){"m.yaml", 7, 1, 1}, 80, false, "m.yaml:7:1: wrong\n");
    assert_printed("a: b", (dlt_pos){0}, 80, false, "error: wrong\n");
    assert_printed("a: b", (dlt_pos){.file = "m.yaml"}, 80, false, "m.yaml: wrong\n");
    assert_printed("a: b", (dlt_pos){"m.yaml", 1, 4, 99}, 80, false,
                   "m.yaml:1:4: wrong\n    1 | a: b\n      |    ^\n");
    assert_printed("a: b", (dlt_pos){"m.yaml", 1, 4, 1}, 80, true,
                   "\033[1mm.yaml:1:4:\033[0m wrong\n    1 | a: b\n      |    \033[1;31m^\033[0m\n");
}

static void long_lines_show_the_part_around_the_mistake(void **state)
{
    (void)state;
    char line[301] = "";
    for (size_t i = 0; i < 300; i++) {
        line[i] = (char)('a' + (i / 10) % 26);
    }
    assert_printed(line, (dlt_pos){"m.yaml", 1, 201, 5}, 48, false,
                   "m.yaml:1:201: wrong\n    1 | ...ttttttttttuuuuuuuuuuvvvvvvvvvvwwww...\n      |           "
                   "   ^^^^^\n");
    assert_printed(line, (dlt_pos){"m.yaml", 1, 3, 2}, 48, false,
                   "m.yaml:1:3: wrong\n    1 | aaaaaaaaaabbbbbbbbbbccccccccccddddddd...\n      |   ^^\n");
    assert_printed(line, (dlt_pos){"m.yaml", 1, 300, 1}, 48, false,
                   "m.yaml:1:300: wrong\n    1 | ...aaaaaabbbbbbbbbbccccccccccdddddddddd\n      |            "
                   "                           ^\n");
}

static void machines_get_one_object_a_message(void **state)
{
    (void)state;
    dlt_diag *diag = dlt_diag_create();
    dlt_buf out = {0};
    const dlt_detail detail = {
        .key = "fit.epohcs", .found = "a\"b\n", .allowed = "x, y", .nearest = "epochs"};
    dlt_fail_detail(diag, DLT_E_CONFIG, (dlt_pos){"m.yaml", 3, 4, 5}, &detail, "wrong");
    dlt_warn(diag, (dlt_pos){0}, "careful");
    dlt_print_messages_json(diag, &out);
    assert_string_equal(
        dlt_buf_text(&out),
        "{\"file\": \"m.yaml\", \"line\": 3, \"column\": 4, \"span\": 5, \"severity\": \"error\", \"code\": "
        "\"config\", "
        "\"key\": \"fit.epohcs\", \"found\": \"a\\\"b\\n\", \"allowed\": \"x, y\", \"nearest\": \"epochs\", "
        "\"text\": \"wrong\"}\n"
        "{\"file\": null, \"line\": null, \"column\": null, \"span\": null, \"severity\": \"warning\", "
        "\"code\": null, "
        "\"key\": null, \"found\": null, \"allowed\": null, \"nearest\": null, \"text\": \"careful\"}\n");
    dlt_buf_reset(&out);
    dlt_print_summary(diag, "m.yaml", &out);
    assert_string_equal(dlt_buf_text(&out), "1 error, 1 warning in m.yaml\n");
    dlt_buf_release(&out);
    dlt_diag_destroy(diag);
}

static void warnings_say_that_they_are_warnings(void **state)
{
    (void)state;
    dlt_diag *diag = dlt_diag_create();
    dlt_buf out = {0};
    const dlt_print_options options = {.width = 80};
    dlt_warn(diag, (dlt_pos){"m.yaml", 1, 1, 1}, "careful");
    dlt_note(diag, (dlt_pos){0}, "by the way");
    dlt_print_messages(diag, &options, &out);
    assert_string_equal(dlt_buf_text(&out), "m.yaml:1:1: warning: careful\nnote: by the way\n");
    dlt_buf_release(&out);
    dlt_diag_destroy(diag);
}

static void colour_is_for_terminals_alone(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    setenv("TERM", "xterm", 1);
    assert_false(dlt_print_options_for(fileno(file)).color);
    setenv("COLUMNS", "100", 1);
    assert_int_equal(dlt_print_options_for(fileno(file)).width, 100);
    setenv("COLUMNS", "nonsense", 1);
    assert_int_equal(dlt_print_options_for(fileno(file)).width, 80);
    fclose(file);
}

/* ---- refused allocations ---- */

/* Runs a command with its output in a file; returns what it printed, NULL when it failed. */
static char *output_of(int count, const char *const *words, dlt_status *status)
{
    char path[512];
    snprintf(path, sizeof path, "%s/args-output", DLT_BINARY_DIR);
    dlt_arena *arena = dlt_arena_create();
    dlt_diag *diag = dlt_diag_create();
    char *text = NULL;
    *status = DLT_E_MEMORY;
    if (arena != NULL && diag != NULL) {
        dlt_command_call call = {.arena = arena, .diag = diag, .catalogue = dlt_catalogue_all()};
        bool help = false;
        const dlt_command *found = dlt_command_find(words[0]);
        fflush(stdout);
        const int saved = dup(STDOUT_FILENO), errors = dup(STDERR_FILENO);
        FILE *said = tmpfile();
        const int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
        assert_true(saved >= 0 && errors >= 0 && file >= 0 && said != NULL);
        dup2(file, STDOUT_FILENO);
        dup2(fileno(said), STDERR_FILENO);
        *status = dlt_args_parse(found, count - 1, words + 1, &call, &help);
        *status = *status == DLT_OK ? found->run(&call) : *status;
        fflush(stdout);
        dup2(saved, STDOUT_FILENO);
        dup2(errors, STDERR_FILENO);
        if (*status == DLT_OK) {
            const off_t size = lseek(file, 0, SEEK_END);
            text = malloc((size_t)size + 1);
            assert_non_null(text);
            assert_int_equal(pread(file, text, (size_t)size, 0), size);
            text[size] = '\0';
        } else {
            /* check prints its messages itself, in JSON on standard output */
            assert_true(dlt_diag_count(diag, DLT_ERROR) > 0 || lseek(fileno(said), 0, SEEK_END) > 0 ||
                        lseek(file, 0, SEEK_END) > 0);
        }
        close(saved);
        close(errors);
        close(file);
        fclose(said);
    }
    dlt_arena_destroy(arena);
    dlt_diag_destroy(diag);
    remove(path);
    return text;
}

static void a_refused_allocation_never_cuts_a_result_short(void **state)
{
    (void)state;
    char model[512];
    snprintf(model, sizeof model, "%s/args-model.yaml", DLT_BINARY_DIR);
    FILE *file = fopen(model, "w");
    assert_non_null(file);
    assert_true(fputs("layers:\n  - Repeat: {times: 3, layers: [Residual: {layers: [Dense: {units: 3}]}]}\n"
                      "  - Parallel: {branches: [[Flatten], [Dense: {units: 1}]], merge: add}\n"
                      "fit: {class_weight: {b: 1, a: 2}}\n",
                      file) >= 0);
    assert_int_equal(fclose(file), 0);
    const char *const lines[][4] = {
        {"check", "--show", model},
        {"help", "Conv2D"},
        {"help", "kernel_size"},
        {"help"},
        {"help", "layers"},
        {"help", "check"},
        {"init", "--output", "-"},
        {"init", "--kind=table", "--output=-"},
        {"completion", "bash"},
        {"man"},
        {"check", "--format", "json", model},
        {"help", "--markdown"},
        {"completion", "zsh"},
        {"schema"},
    };
    for (size_t i = 0; i < DLT_COUNT(lines); i++) {
        int count = 0;
        while (count < 4 && lines[i][count] != NULL) {
            count++;
        }
        dlt_status status = DLT_OK;
        char *whole = output_of(count, lines[i], &status);
        assert_int_equal(status, DLT_OK);
        const uint64_t start = dlt_alloc_calls();
        free(output_of(count, lines[i], &status));
        const uint64_t calls = dlt_alloc_calls() - start;
        for (uint64_t n = 1; n <= calls;
             n += calls > 400 ? 37 : 1) { /* the long ones do the same things over and over */
            for (int later = 0; later < 2; later++) {
                dlt_alloc_fail_at(n, later != 0);
                char *text = output_of(count, lines[i], &status);
                dlt_alloc_fail_at(0, false);
                if (status == DLT_OK && strcmp(text, whole) != 0) {
                    fail_msg("%s %s, allocation %d of %d: cut short", lines[i][0],
                             count > 1 ? lines[i][1] : "", (int)n, (int)calls);
                }
                free(text);
            }
        }
        free(whole);
    }
    remove(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_are_read_in_all_their_forms),
        cmocka_unit_test(wrong_command_lines_say_what_to_do),
        cmocka_unit_test(help_is_seen_whatever_else_is_wrong),
        cmocka_unit_test(usage_fits_80_columns_and_names_every_flag),
        cmocka_unit_test(completions_and_the_man_page_name_every_flag),
        cmocka_unit_test(every_status_has_its_exit_code),
        cmocka_unit_test(excerpts_stand_under_their_tokens),
        cmocka_unit_test(long_lines_show_the_part_around_the_mistake),
        cmocka_unit_test(machines_get_one_object_a_message),
        cmocka_unit_test(warnings_say_that_they_are_warnings),
        cmocka_unit_test(colour_is_for_terminals_alone),
        cmocka_unit_test(a_refused_allocation_never_cuts_a_result_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
