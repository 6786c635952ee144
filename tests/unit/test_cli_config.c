/* tests/unit/test_cli_config.c: the program itself, over the catalogue of tests/support/fake_catalogue.c:
 * what the commands that need only a config print, where, and how they end. */
#include "support/support.h"

#include "base/alloc.h"
#include "base/text.h"
#include "io/yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[256]; /* where commands run */

typedef struct outcome {
    int code;
    char *out, *err;
} outcome;

static char *read_all(const char *name)
{
    char path[512], piece[4096];
    dlt_buf text = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    for (size_t n = fread(piece, 1, sizeof piece, file); n > 0; n = fread(piece, 1, sizeof piece, file)) {
        dlt_buf_append(&text, piece, n);
    }
    fclose(file);
    dlt_buf_string(&text, "");
    assert_false(text.failed);
    return text.data;
}

static void write_file(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

/* Runs a shell line in the folder; `dltrain` in it is the program. */
static outcome run(const char *line)
{
    dlt_buf command = {0};
    dlt_buf_printf(&command, "cd '%s' && { dltrain() { '%s/tests/dltrain_fake' \"$@\"; }; %s; } >.out 2>.err",
                   folder, DLT_BINARY_DIR, line);
    assert_false(command.failed);
    const int status = system(command.data);
    assert_true(WIFEXITED(status));
    dlt_buf_release(&command);
    return (outcome){WEXITSTATUS(status), read_all(".out"), read_all(".err")};
}

static void done(outcome *o)
{
    dlt_free(o->out);
    dlt_free(o->err);
}

static void assert_run(const char *line, int code, const char *out, const char *err)
{
    outcome o = run(line);
    if (o.code != code || (out != NULL && strcmp(o.out, out) != 0) ||
        (err != NULL && strcmp(o.err, err) != 0)) {
        fail_msg("%s\nended with %d\nstdout: %s\nstderr: %s", line, o.code, o.out, o.err);
    }
    done(&o);
}

static void assert_holds(const char *line, int code, const char *out, const char *err)
{
    outcome o = run(line);
    if (o.code != code || (out != NULL && strstr(o.out, out) == NULL) ||
        (err != NULL && strstr(o.err, err) == NULL)) {
        fail_msg("%s\nended with %d\nstdout: %s\nstderr: %s", line, o.code, o.out, o.err);
    }
    done(&o);
}

static const char good[] =
    "layers:\n  - Dense: {units: 3}\n  - Flatten\noptimizer: adam\nfit: {batch_size: 1024}\n";
static const char bad[] = "seeed: 1\nlayers:\n  - Dense: {units: ten}\n";

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s/cli-XXXXXX", DLT_BINARY_DIR);
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    setenv("COLUMNS", "80", 1);
    write_file("good.yaml", good);
    write_file("bad.yaml", bad);
    return 0;
}

static int tear_down(void **state)
{
    dlt_buf command = {0};
    (void)state;
    dlt_buf_printf(&command, "rm -rf '%s'", folder);
    const int status = system(command.data);
    dlt_buf_release(&command);
    return status;
}

static void a_good_file_gets_one_line(void **state)
{
    (void)state;
    assert_run("dltrain check good.yaml", 0, "good.yaml: ok   2 layers at batch 1,024\n", "");
    assert_run("dltrain check --no-data good.yaml good.yaml", 0,
               "good.yaml: ok   2 layers at batch 1,024\ngood.yaml: ok   2 layers at batch 1,024\n",
               "");
    assert_run("dltrain check - <good.yaml", 0, "stdin: ok   2 layers at batch 1,024\n", "");
    assert_run("dltrain check -o layers[0].units=9 -o fit.batch_size=7 good.yaml", 0,
               "good.yaml: ok   2 layers at batch 7\n", "");
    assert_run("dltrain check --format json good.yaml", 0, "", "");
}

static void a_bad_file_gets_every_mistake_on_standard_error(void **state)
{
    (void)state;
    assert_run("dltrain check bad.yaml", 2, "",
               "bad.yaml:1:1: unknown key 'seeed'; did you mean 'seed'?\n"
               "    1 | seeed: 1\n"
               "      | ^^^^^\n"
               "bad.yaml:3:20: Dense: units must be an integer of 1..16777216, found 'ten'\n"
               "    3 |   - Dense: {units: ten}\n"
               "      |                    ^^^\n"
               "2 errors in bad.yaml\n");
    assert_holds("dltrain check good.yaml bad.yaml good.yaml", 2,
                 "good.yaml: ok   2 layers at batch 1,024\ngood.yaml: ok", "2 errors in bad.yaml");
    assert_run("dltrain check nowhere.yaml", 2, "",
               "error: cannot open 'nowhere.yaml': No such file or directory\n1 error in nowhere.yaml\n");
    assert_holds("dltrain check .", 2, NULL, "cannot open '.': it is a folder");
    assert_holds("mkfifo pipe; dltrain check pipe", 2, NULL, "cannot open 'pipe': it is not a regular file");
}

static void messages_for_machines_go_to_standard_output(void **state)
{
    (void)state;
    assert_run("dltrain check --format json bad.yaml", 2,
               "{\"file\": \"bad.yaml\", \"line\": 1, \"column\": 1, \"span\": 5, \"severity\": \"error\", "
               "\"code\": \"config\", "
               "\"key\": \"seeed\", \"found\": \"seeed\", \"allowed\": \"name, seed, device, precision, "
               "deterministic, tune, tuned, kernels, data, "
               "layers, optimizer, loss, metrics, weighted_metrics, fit\", \"nearest\": \"seed\", "
               "\"text\": \"unknown key 'seeed'; did you mean 'seed'?\"}\n"
               "{\"file\": \"bad.yaml\", \"line\": 3, \"column\": 20, \"span\": 3, \"severity\": \"error\", "
               "\"code\": \"config\", "
               "\"key\": \"layers[0].Dense.units\", \"found\": \"ten\", \"allowed\": \"an integer of "
               "1..16777216\", \"nearest\": null, "
               "\"text\": \"Dense: units must be an integer of 1..16777216, found 'ten'\"}\n",
               "");
}

static void show_prints_what_will_run_and_it_runs(void **state)
{
    (void)state;
    assert_holds("dltrain check --show -o fit.epochs=3 good.yaml", 0, "  epochs: 3 ", "");
    assert_holds("dltrain check --show -o fit.epochs=3 good.yaml", 0, "  # -o\n", "");
    assert_holds("dltrain check --show good.yaml", 0, "      units: 3 ", "");
    assert_holds("dltrain check --show good.yaml", 0, "# good.yaml:2:20\n", "");
    assert_holds("dltrain check --show good.yaml >shown.yaml && dltrain check shown.yaml", 0,
                 "shown.yaml: ok   2 layers at batch 1,024\n", "");
    assert_holds("dltrain check --show good.yaml >a.yaml && dltrain check --show a.yaml | sed 's/ *#.*//' >b "
                 "&& sed 's/ *#.*//' a.yaml | cmp - b",
                 0, "", "");
}

static void usage_mistakes_end_with_2(void **state)
{
    (void)state;
    assert_run("dltrain chekc x", 2, "", "error: unknown command 'chekc'; did you mean 'check'?\n");
    assert_run("dltrain xyzzyxyzzy", 2, "",
               "error: unknown command 'xyzzyxyzzy'; 'dltrain --help' lists them\n");
    assert_run(
        "dltrain --show", 2, "",
        "error: flags stand behind the command, found '--show'; 'dltrain --help' lists the commands\n");
    assert_run("dltrain check --shwo good.yaml", 2, "",
               "error: unknown flag '--shwo'; did you mean '--show'?\n");
    assert_run("dltrain check", 2, "",
               "error: 'dltrain check' needs FILE...; 'dltrain check --help' says more\n");
    assert_holds("dltrain", 2, "", "usage: dltrain COMMAND");
}

static void help_is_a_result(void **state)
{
    (void)state;
    assert_holds("dltrain --help", 0, "usage: dltrain COMMAND [FLAG...] [ARGUMENT...]\n\n  check FILE...",
                 "");
    assert_holds("dltrain -h", 0, "usage:", "");
    assert_holds("dltrain help", 0, "usage:", "");
    assert_holds("dltrain check --help", 0, "usage: dltrain check [FLAG...] FILE...\n", "");
    assert_holds("dltrain help check", 0, "usage: dltrain check", "");
    assert_holds("dltrain help Dense", 0, "units               required        an integer of 1..16777216\n",
                 "");
    assert_holds("dltrain help --markdown", 0, "### Dense\n", "");
    assert_run("dltrain help Dnese", 2, "",
               "error: no command, kind or key is called 'Dnese'; did you mean 'Dense'?\n");
    assert_run("dltrain help chek", 2, "",
               "error: no command, kind or key is called 'chek'; did you mean 'check'?\n");
    outcome o = run("dltrain --version");
    assert_int_equal(o.code, 0);
    assert_true(strncmp(o.out, "dltrain ", 8) == 0 && o.out[strlen(o.out) - 1] == '\n');
    done(&o);
}

static void a_reader_that_has_enough_is_no_accident(void **state)
{
    (void)state;
    assert_run("dltrain schema | head -n 1", 0, "{\n", "");
    assert_run("dltrain schema | { head -n 1 >/dev/null; } ; true", 0, "", "");
    assert_holds("dltrain schema >/dev/full", 8, NULL,
                 "error: cannot write to standard output: No space left on device\n");
    assert_holds("dltrain check good.yaml >/dev/full", 8, NULL, "cannot write to standard output");
}

static void closed_streams_do_no_harm(void **state)
{
    (void)state;
    assert_run("dltrain check good.yaml <&-", 0, "good.yaml: ok   2 layers at batch 1,024\n", "");
    assert_run("dltrain check bad.yaml 2>&-", 2, "", "");
    assert_run("dltrain check good.yaml 2>&- <&-", 0, "good.yaml: ok   2 layers at batch 1,024\n", "");
    assert_run("dltrain check good.yaml >&- 2>&- <&-", 8, "", ""); /* a result that is lost is none, as on a full device */
}

static void colour_never_reaches_a_file(void **state)
{
    (void)state;
    outcome o = run("TERM=xterm dltrain check bad.yaml");
    assert_null(strchr(o.err, '\033'));
    done(&o);
}

static void init_writes_files_that_are_read_without_mistakes(void **state)
{
    (void)state;
    static const char *const kinds[] = {"image", "table", "text", "regression", "transformer"};
    for (size_t i = 0; i < DLT_COUNT(kinds); i++) {
        char line[256], name[64];
        snprintf(line, sizeof line, "dltrain init --kind %s --output %s.yaml", kinds[i], kinds[i]);
        snprintf(name, sizeof name, "%s.yaml", kinds[i]);
        assert_holds(line, 0, "", "next   dltrain check ");
        dlt_arena *arena = dlt_arena_create();
        dlt_diag *diag = dlt_diag_create();
        dlt_yaml *root = NULL;
        char *text = read_all(name);
        assert_int_equal(dlt_yaml_parse(arena, name, text, strlen(text), &root, diag), DLT_OK);
        static const char *const keys[] = {"name",      "seed", "data",    "layers",
                                           "optimizer", "loss", "metrics", "fit"};
        for (size_t k = 0; k < DLT_COUNT(keys); k++) {
            assert_non_null(dlt_yaml_get(root, keys[k]));
        }
        dlt_free(text);
        dlt_arena_destroy(arena);
        dlt_diag_destroy(diag);
        /* the small catalogue does not know every kind; of everything else there must be no complaint */
        snprintf(line, sizeof line,
                 "dltrain check %s.yaml 2>&1 | grep -E '^[^ ]+:[0-9]+:[0-9]+:' | grep -vE 'unknown "
                 "(layer|activation|source|validation|metric|optimizer|callback)'",
                 kinds[i]);
        assert_run(line, 1, "", "");
    }
    assert_run("dltrain check image.yaml", 0, "image.yaml: ok   9 layers at batch 128\n", "");
}

static void init_looks_at_the_data_and_never_overwrites(void **state)
{
    (void)state;
    write_file("flowers.csv", "length;width;species\n1;2;\"a\"\n3;4;b\n5;6;c\n7;8;a\n");
    write_file("text.txt", "abcabc\n\xc3\xa9");
    assert_holds("dltrain init --kind table --data flowers.csv && cat model.yaml", 0,
                 "CSV: {path: 'flowers.csv', target: species}}", "wrote model.yaml\n");
    assert_holds("cat model.yaml", 0, "  - Dense: {units: 3, activation: softmax}", "");
    assert_run("dltrain init --kind table", 8, "",
               "error: 'model.yaml' exists and is left as it is; name another with --output\n");
    assert_holds("cat model.yaml", 0, "flowers.csv", "");
    assert_holds("dltrain init --kind text --data text.txt --output -", 0, "  characters: 5 ", "");
    assert_holds("dltrain init --kind regression --data \"it's.csv\" --output -", 0,
                 "path: 'it''s.csv', target: -1}}", "");
    assert_holds("dltrain init --data x/t10k-images-idx3-ubyte.gz --output -", 0,
                 "labels: 'x/t10k-labels-idx1-ubyte.gz'", "");
    assert_holds("dltrain init --data x.npz --output -", 0,
                 "NPZ: {path: 'x.npz', features: x_train, labels: y_train}", "");
    assert_holds("dltrain init --output no/such/folder.yaml", 8, "",
                 "error: cannot create 'no/such/folder.yaml': No such file or directory");
    assert_run("dltrain init --kind imag", 2, "",
               "error: --kind must be one of image, table, text, regression, transformer, found 'imag'; did "
               "you mean image?\n");
}

static void the_schema_is_written_to_a_file_too(void **state)
{
    (void)state;
    assert_run("dltrain schema --output s.json && dltrain schema | cmp - s.json", 0, "", "");
    assert_run("dltrain schema --output s.json", 0, "", ""); /* replaced */
    assert_holds("dltrain schema --output no/such/s.json", 8, "", "cannot ");
}

static void completions_and_the_man_page_are_well_formed(void **state)
{
    (void)state;
    assert_run("dltrain completion bash >c.bash && bash -n c.bash", 0, "", "");
    assert_run("dltrain completion bash >c.bash && bash -c '. ./c.bash; COMP_WORDS=(dltrain ch); "
               "COMP_CWORD=1; _dltrain; echo ${COMPREPLY[@]}'",
               0, "check\n", "");
    assert_run(
        "bash -c '. ./c.bash; COMP_WORDS=(dltrain check --fo); COMP_CWORD=2; _dltrain; echo ${COMPREPLY[@]}'",
        0, "--format\n", "");
    assert_run("bash -c '. ./c.bash; COMP_WORDS=(dltrain check --format j); COMP_CWORD=3; _dltrain; echo "
               "${COMPREPLY[@]}'",
               0, "json\n", "");
    assert_run("bash -c '. ./c.bash; COMP_WORDS=(dltrain help fit.bat); COMP_CWORD=2; _dltrain; echo "
               "${COMPREPLY[@]}'",
               0, "fit.batch_size\n", "");
    assert_run(
        "bash -c '. ./c.bash; COMP_WORDS=(dltrain check go); COMP_CWORD=2; _dltrain; echo ${COMPREPLY[@]}'",
        0, "good.yaml\n", "");
    assert_run("dltrain completion tcsh", 2, "",
               "error: the shell must be one of bash, zsh, fish, found 'tcsh'\n");
    assert_holds("dltrain completion zsh", 0, "#compdef dltrain\n", "");
    assert_holds(
        "dltrain completion fish", 0,
        "complete -c dltrain -n __fish_use_subcommand -a check -d 'find every mistake in model files'\n", "");
    assert_holds("dltrain man", 0, ".SS check FILE...\n", "");
    assert_run("if command -v groff >/dev/null; then dltrain man | groff -man -Tascii -ww >/dev/null; fi", 0,
               "", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_gets_one_line),
        cmocka_unit_test(a_bad_file_gets_every_mistake_on_standard_error),
        cmocka_unit_test(messages_for_machines_go_to_standard_output),
        cmocka_unit_test(show_prints_what_will_run_and_it_runs),
        cmocka_unit_test(usage_mistakes_end_with_2),
        cmocka_unit_test(help_is_a_result),
        cmocka_unit_test(a_reader_that_has_enough_is_no_accident),
        cmocka_unit_test(closed_streams_do_no_harm),
        cmocka_unit_test(colour_never_reaches_a_file),
        cmocka_unit_test(init_writes_files_that_are_read_without_mistakes),
        cmocka_unit_test(init_looks_at_the_data_and_never_overwrites),
        cmocka_unit_test(the_schema_is_written_to_a_file_too),
        cmocka_unit_test(completions_and_the_man_page_are_well_formed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
