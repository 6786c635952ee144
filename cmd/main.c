/* cmd/main.c: finds the command, runs it, prints what it had to say, and ends with its exit code. */
#include "base/clock.h"
#include "cmd/args.h"
#include "cmd/catalogue.h"
#include "cmd/exit_codes.h"
#include "cmd/print_diag.h"
#include "cmd/write_out.h"
#include "io/h5/h5_table.h"
#include "trainer/signals.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* A closed standard stream would give its number to the next file that is opened, and results would end up there. What
 * stands for an output is a folder, so that writing to it fails as it does to a closed one: results are not lost unheard. */
static void open_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open(fd == STDIN_FILENO ? "/dev/null" : "/", O_RDONLY) < 0) {
            return; /* there is nothing better to do */
        }
    }
}

/* Whatever reads models and data needs some open files: those of the reader of HDF5 files begin at 16. One message says so,
 * in place of as many as there are calls that may fail. */
static dlt_status check_open_files(const dlt_command *command, dlt_diag *diag)
{
    enum { NEEDED = 32 };
    struct rlimit limit;
    if ((command->argument != DLT_ARG_MODEL && command->argument != DLT_ARG_RUN) ||
        getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= NEEDED) {
        return DLT_OK;
    }
    const struct rlimit raised = {.rlim_cur = NEEDED, .rlim_max = limit.rlim_max};
    return limit.rlim_max >= NEEDED && setrlimit(RLIMIT_NOFILE, &raised) == 0
               ? DLT_OK
               : dlt_fail(diag, DLT_E_MEMORY, (dlt_pos){0}, "the limit of open files is too low: %llu, at least %d are needed (ulimit -n)",
                          (unsigned long long)limit.rlim_cur, NEEDED);
}

/* A write to a closed pipe or beyond a file size limit is an error code, not a death. */
static void ignore_signals(void)
{
    const int ignored[] = {SIGPIPE, SIGXFSZ};
    for (size_t i = 0; i < DLT_COUNT(ignored); i++) {
        struct sigaction action = {.sa_handler = SIG_IGN};
        sigemptyset(&action.sa_mask);
        sigaction(ignored[i], &action, NULL);
    }
}

static dlt_status unknown_command(const char *name, dlt_diag *diag)
{
    const char *names[64];
    size_t count = 0, commands = 0;
    const dlt_command *const *all = dlt_commands(&commands);
    for (size_t i = 0; i < commands && count < DLT_COUNT(names); i++) {
        names[count++] = all[i]->name;
    }
    const int nearest = dlt_nearest(name, names, count);
    if (name[0] == '-') {
        return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0},
                        "flags stand behind the command, found '%s'; 'dltrain --help' lists the commands",
                        name);
    }
    if (nearest >= 0) {
        const dlt_detail detail = {.found = name, .nearest = names[nearest]};
        return dlt_fail_detail(diag, DLT_E_CONFIG, (dlt_pos){0}, &detail,
                               "unknown command '%s'; did you mean '%s'?", name, names[nearest]);
    }
    return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0}, "unknown command '%s'; 'dltrain --help' lists them",
                    name);
}

static dlt_status show_help(const dlt_command *command, dlt_diag *diag)
{
    const int width = dlt_print_options_for(STDOUT_FILENO).width;
    dlt_buf out = {0};
    if (command != NULL) {
        dlt_usage_command(command, width, &out);
    } else {
        dlt_usage_program(width, &out);
    }
    const dlt_status status = dlt_write_out(&out, diag);
    dlt_buf_release(&out);
    return status;
}

static dlt_status dispatch(int count, const char *const *words, int64_t began_ns, bool *saved, dlt_arena *arena, dlt_diag *diag)
{
    if (count < 2) {
        dlt_buf out = {0};
        dlt_usage_program(dlt_print_options_for(STDERR_FILENO).width, &out);
        fputs(dlt_buf_text(&out), stderr);
        dlt_buf_release(&out);
        return DLT_E_CONFIG;
    }
    const char *name = words[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        return show_help(NULL, diag);
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("dltrain %s\n", DLT_VERSION);
        return DLT_OK;
    }
    const dlt_command *command = dlt_command_find(name);
    if (command == NULL) {
        return unknown_command(name, diag);
    }
    dlt_command_call call = {.arena = arena, .diag = diag, .began_ns = began_ns};
    call.saved = saved;
    bool help = false;
    DLT_TRY(dlt_args_parse(command, count - 2, words + 2, &call, &help));
    if (help) {
        return show_help(command, diag);
    }
    DLT_TRY(check_open_files(command, diag));
    call.catalogue = dlt_catalogue_all();
    return command->run(&call);
}

/* 130 for Ctrl-C; 75 where it was saved and the same command goes on, and else what a shell says of a killed process. */
static int stopped_code(bool saved)
{
    if (dlt_stop_requested() == DLT_REQUEST_INTERRUPT) {
        return 128 + SIGINT;
    }
    return saved ? dlt_exit_code_of(DLT_E_STOPPED) : 128 + SIGTERM;
}

int main(int argc, char **argv)
{
    dlt_h5_child_main(argc, argv); /* the reader of HDF5 files is this program too, and never comes back from here */
    const int64_t began_ns = dlt_clock_ns();
    open_streams();
    ignore_signals();
    dlt_arena *arena = dlt_arena_create();
    dlt_diag *diag = dlt_diag_create();
    dlt_status status = DLT_E_MEMORY;
    bool saved = false;
    if (arena != NULL && diag != NULL) {
        status = dispatch(argc, (const char *const *)argv, began_ns, &saved, arena, diag);
        const dlt_status flushed = status == DLT_E_OUTPUT ? DLT_OK : dlt_flush_out(diag); /* once is enough */
        status = status != DLT_OK ? status : flushed;
        if (status == DLT_E_OUTPUT && dlt_diag_count(diag, DLT_ERROR) == 0 && dlt_reader_left()) {
            status = DLT_OK; /* `dltrain help | head`: nothing went wrong */
        }
        if (status == DLT_OK && dlt_diag_status(diag) == DLT_E_MEMORY) {
            status = DLT_E_MEMORY; /* something that was to be said got lost */
        }
        dlt_buf messages = {0};
        const dlt_print_options print = dlt_print_options_for(STDERR_FILENO);
        dlt_print_messages(diag, &print, &messages);
        fputs(messages.failed ? "error: out of memory\n" : dlt_buf_text(&messages), stderr);
        dlt_buf_release(&messages);
    } else {
        fputs("error: out of memory\n", stderr);
    }
    dlt_diag_destroy(diag);
    dlt_arena_destroy(arena);
    return status == DLT_E_STOPPED ? stopped_code(saved) : dlt_exit_code_of(status);
}
