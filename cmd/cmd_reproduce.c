/* cmd/cmd_reproduce.c: dltrain reproduce: does a finished run, trained again from its recorded config, come to
 * the same weights?
 *
 * What decides about bits is compared first: the files that it read, the version, the device. Then `dltrain fit`
 * trains RUN/config.yaml in a process of its own, in a folder of its own. Its metrics.jsonl is followed line by
 * line, so that a run of a week that will not come out equal is ended at the first epoch that differs. */
#include "cmd/args.h"
#include "cmd/exit_codes.h"
#include "cmd/fit_process.h"
#include "cmd/print_diag.h"
#include "cmd/write_out.h"
#include "backend/backend.h"
#include "io/file.h"
#include "schema/spec.h"
#include "trainer/compare.h"
#include "trainer/rundir.h"
#include "trainer/session.h"
#include "trainer/signals.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct reproduce_options {
    const char *run;
    dlt_opt_int threads;
    bool dry_run, whole;
} reproduce_options;

enum { LOOK_EVERY_MS = 100, MOST_METRICS = 1 << 30, HASH_SHOWN = 16 };
static const dlt_pos nowhere = {0};

static const dlt_flag flags[] = {
    DLT_TEXT(reproduce_options, run, "run", '\0', DLT_FLAG_FOLDER, "DIR",
             "run directory of the second run, kept, and gone on with if it was stopped; default: a temporary one"),
    DLT_NUMBER(reproduce_options, threads, "threads", 't', 1, 1024, "N",
               "CPU threads; default: one for each processor. They do not matter to the result"),
    DLT_SWITCH(reproduce_options, dry_run, "dry-run", 'n', "only tell whether anything stands in the way"),
    DLT_SWITCH(reproduce_options, whole, "whole", '\0', "train to the end even if an epoch differs"),
    {0},
};

/* One call of the command. */
typedef struct reproduction {
    const dlt_command_call *call;
    const reproduce_options *options;
    const char *path; /* of the run */
    dlt_run_info info;
    const dlt_run_spec *spec;
    const char *again;   /* the second run's directory */
    const char *why_not; /* what else than the run's own numbers may make a difference; NULL: nothing */
} reproduction;

/* ---- what stands in the way ---- */

/* The file is what it was when the run read it. */
static dlt_status check_file(const reproduction *r, const dlt_run_file *file)
{
    dlt_run_file now;
    DLT_TRY(dlt_run_file_look(file->path, file->folder, r->call->arena, &now, r->call->diag));
    if (file->folder != 0 && (now.bytes != file->bytes || strcmp(now.digest, file->digest) != 0)) {
        return dlt_fail(r->call->diag, DLT_E_DATA, nowhere,
                        "'%s' is not the folder that '%s' was trained on: other names or sizes of files", file->path,
                        r->path);
    }
    if (now.bytes != file->bytes) {
        return dlt_fail(r->call->diag, DLT_E_DATA, nowhere,
                        "'%s' is not the file that '%s' was trained on: it has %lld bytes, and had %lld", file->path,
                        r->path, (long long)now.bytes, (long long)file->bytes);
    }
    if (strcmp(now.digest, file->digest) != 0) {
        return dlt_fail(r->call->diag, DLT_E_DATA, nowhere,
                        "'%s' is not the file that '%s' was trained on: other contents of the same size", file->path,
                        r->path);
    }
    return DLT_OK;
}

/* All files that differ are told. */
static dlt_status check_files(const reproduction *r)
{
    dlt_status status = r->info.start.path != NULL ? check_file(r, &r->info.start) : DLT_OK;
    for (size_t i = 0; i < r->info.data_count; i++) {
        const dlt_status one = check_file(r, &r->info.data[i]);
        status = status == DLT_OK ? one : status;
    }
    return status;
}

/* What decides about bits here (decisions 23), in the words of run.json. */
static dlt_status identity_here(const reproduction *r, const char **identity)
{
    const dlt_backend *backend = NULL;
    dlt_device *device = NULL;
    dlt_buf text = {0};
    const char *name = r->spec->value.device;
    const dlt_device_options options = {.name = name,
                                        .reference = r->spec->value.kernels == DLT_KERNELS_REFERENCE};
    DLT_TRY(dlt_backend_find(name, &backend, r->call->diag));
    DLT_TRY(dlt_backend_open(backend, &options, &device, r->call->diag));
    dlt_identity(backend, device, &text);
    *identity = text.failed ? NULL : dlt_arena_string(r->call->arena, dlt_buf_text(&text));
    dlt_buf_release(&text);
    backend->close(device);
    return *identity != NULL ? DLT_OK : dlt_fail_memory(r->call->diag);
}

static dlt_status find_run(reproduction *r)
{
    dlt_arena *arena = r->call->arena;
    dlt_diag *diag = r->call->diag;
    DLT_TRY(dlt_rundir_resolve(r->call->arguments.at[0], arena, &r->path, diag));
    DLT_TRY(dlt_rundir_info(r->path, arena, &r->info, diag));
    if (strcmp(r->info.state, "done") != 0 || r->info.weights == NULL) {
        return dlt_fail(diag, DLT_E_CHECKPOINT, nowhere,
                        "'%s' has not come to its end (it is \"%s\", %lld of %lld epochs), so there is nothing to compare "
                        "with; go on with it first: dltrain fit",
                        r->path, r->info.state, (long long)r->info.epochs_done, (long long)r->info.epochs);
    }
    if (r->info.changed) {
        return dlt_fail(diag, DLT_E_CHECKPOINT, nowhere,
                        "'%s' was changed under way (fit --allow-change): its last config alone does not lead to its "
                        "weights",
                        r->path);
    }
    if (r->info.inexact != NULL) {
        r->why_not = dlt_arena_printf(arena, "the run did not go on bit for bit when it was resumed (%s)", r->info.inexact);
        dlt_warn(diag, nowhere, "it may come out differently: %s", r->why_not != NULL ? r->why_not : "");
    }
    const char *config = dlt_arena_printf(arena, "%s/config.yaml", r->path);
    if (config == NULL) {
        return dlt_fail_memory(diag);
    }
    DLT_TRY(dlt_spec_load(arena, r->call->catalogue, config, &(dlt_load_options){0}, &r->spec, diag));
    if (strcmp(r->spec->digest, r->info.digest) != 0) {
        return dlt_fail(diag, DLT_E_CHECKPOINT, nowhere,
                        "'%s' is not the config that the run was trained with: it was changed afterwards", config);
    }
    return DLT_OK;
}

/* Everything but the numbers themselves. */
static dlt_status look_before(reproduction *r)
{
    const char *here = NULL;
    DLT_TRY(find_run(r));
    DLT_TRY(check_files(r));
    DLT_TRY(identity_here(r, &here));
    if (r->why_not == NULL && (r->info.device == NULL || strcmp(r->info.device, here) != 0)) {
        r->why_not = dlt_arena_printf(r->call->arena, "the run was trained on \"%s\", this is \"%s\"",
                                      r->info.device != NULL ? r->info.device : "?", here);
        dlt_warn(r->call->diag, nowhere, "it may come out differently: %s", r->why_not);
    }
    return DLT_OK;
}

/* ---- the second run ---- */

static dlt_status load_metrics(const reproduction *r, const char *run, char **text)
{
    const char *path = dlt_arena_printf(r->call->arena, "%s/metrics.jsonl", run);
    size_t bytes = 0;
    *text = NULL;
    return path != NULL ? dlt_file_load(path, MOST_METRICS, DLT_E_CHECKPOINT, nowhere, text, &bytes, r->call->diag)
                        : dlt_fail_memory(r->call->diag);
}

/* The lines of both runs' metrics so far, epoch by epoch. */
typedef struct progress {
    const char *expected; /* the first run's lines that the second has not reached */
    int64_t equal;        /* epochs that were */
    bool differs;         /* the next one */
    int64_t start_ns;
} progress;

static void put_epoch(const reproduction *r, const progress *p)
{
    char took[32], left[32];
    const double seconds = dlt_seconds_since(p->start_ns);
    const int64_t ahead = r->info.epochs_done - p->equal;
    dlt_format_seconds(seconds, took, sizeof took);
    dlt_format_seconds(seconds / (double)p->equal * (double)ahead, left, sizeof left);
    printf("epoch %lld/%lld equal   %s", (long long)p->equal, (long long)r->info.epochs_done, took);
    printf(ahead > 0 ? "   about %s left\n" : "\n", left);
    (void)fflush(stdout); /* a failure is kept, and main tells of it */
}

/* Compares what the second run has written since. A last line that is not whole yet waits for the next time. */
static void compare_epochs(const reproduction *r, const char *now, progress *p)
{
    int64_t line = 0;
    for (const char *end; !p->differs && (end = strchr(now, '\n')) != NULL; now = end + 1, line++) {
        const size_t length = (size_t)(end - now) + 1;
        if (line < p->equal) {
            continue;
        }
        if (strncmp(p->expected, now, length) != 0) {
            p->differs = true;
            printf("epoch %lld differs\n  then  %.*s\n  now   %.*s\n", (long long)line + 1,
                   (int)strcspn(p->expected, "\n"), p->expected, (int)length - 1, now);
        } else {
            p->expected += length;
            p->equal++;
            put_epoch(r, p);
        }
    }
}

/* Follows the second run to its end, which comes early if an epoch differs or the user asks for it. */
static dlt_status follow(const reproduction *r, pid_t child, progress *p, int *code)
{
    const struct timespec wait = {.tv_nsec = LOOK_EVERY_MS * 1000000L};
    const char *path = dlt_arena_printf(r->call->arena, "%s/metrics.jsonl", r->again);
    dlt_status status = path != NULL ? DLT_OK : dlt_fail_memory(r->call->diag);
    struct stat seen;
    int64_t size = 0;
    bool ended = false, told = false;
    while (!ended) {
        ended = dlt_fit_ended(child, code); /* before the last look */
        if (status == DLT_OK && dlt_file()->stat(path, &seen) == 0 && (int64_t)seen.st_size != size) {
            char *now = NULL;
            size = (int64_t)seen.st_size;
            status = load_metrics(r, r->again, &now);
            if (status == DLT_OK) {
                compare_epochs(r, now, p);
            }
            dlt_free(now);
        }
        const bool enough = status != DLT_OK || (p->differs && !r->options->whole) ||
                            dlt_stop_requested() != DLT_REQUEST_NONE;
        if (enough && !told && !ended) {
            kill(child, SIGTERM);
            told = true;
        }
        if (!ended) {
            nanosleep(&wait, NULL);
        }
    }
    return status;
}

static void fill_words(const reproduction *r, dlt_fit_words *w)
{
    static const char *const flag[] = {NULL, "--weights", "--resume"};
    if (flag[r->info.origin] != NULL) {
        dlt_fit_words_flag(w, flag[r->info.origin], r->info.start.path);
    }
    if (r->options->threads.set) {
        dlt_fit_words_flag(w, "--threads",
                           dlt_arena_printf(r->call->arena, "%lld", (long long)r->options->threads.value));
    }
    dlt_fit_words_flag(w, "--run", r->again);
    dlt_fit_words_flag(w, "--verbose", "2");
    dlt_fit_words_redirect(w, &r->spec->value, dlt_arena_printf(r->call->arena, "%s-callbacks", r->again));
}

/* ---- the verdict ---- */

static dlt_status differs(const reproduction *r, const char *what)
{
    return dlt_fail(r->call->diag, DLT_E_INTERNAL, nowhere, "'%s' was not reproduced: %s. %s%s", r->path, what,
                    r->why_not != NULL ? "Why: " : "Config, data, version and device are the same: this must not be; "
                                                   "dltrain verify-resume and --threads 1 may tell more",
                    r->why_not != NULL ? r->why_not : "");
}

/* Files above 128 KiB are compared by samples before; by all that was read of them only now. */
static dlt_status check_data(const reproduction *r, const dlt_run_info *now)
{
    return r->info.data_digest == NULL || now->data_digest == NULL || dlt_same_data(r->info.data_digest, now->data_digest)
               ? DLT_OK
               : dlt_fail(r->call->diag, DLT_E_DATA, nowhere,
                          "the data are not those that '%s' was trained on: a file was changed since, in places where samples of it "
                          "do not show which; put them back",
                          r->path);
}

static dlt_status compare(const reproduction *r, double seconds)
{
    dlt_run_info now;
    dlt_comparison c = {0};
    dlt_buf out = {0};
    struct stat seen;
    const char *weights = dlt_final_weights_of(r->path, r->call->arena);
    if (weights == NULL) {
        return dlt_fail_memory(r->call->diag);
    }
    const bool has_weights = dlt_file()->stat(weights, &seen) == 0;
    DLT_TRY(dlt_rundir_info(r->again, r->call->arena, &now, r->call->diag));
    const bool equal = now.weights != NULL && strcmp(now.weights, r->info.weights) == 0;
    DLT_TRY(check_data(r, &now));
    if (has_weights) {
        DLT_TRY(dlt_runs_compare(r->spec, r->path, r->again, false, &c, &out, r->call->diag));
    }
    if (out.failed) {
        dlt_buf_release(&out);
        return dlt_fail_memory(r->call->diag);
    }
    if (equal && c.differences == 0) {
        printf("reproduced: weights %.*s... equal", HASH_SHOWN, r->info.weights);
        if (has_weights) {
            printf(" (%d weights, %d of the optimizer, %d others, %d logs)", c.weights, c.optimizer, c.state, c.files);
        }
        printf("   %.1f s\n", seconds);
    } else {
        printf("DIFFERS: weights %.*s... then, %.*s... now\n%s", HASH_SHOWN, r->info.weights, HASH_SHOWN,
               now.weights != NULL ? now.weights : "none", dlt_buf_text(&out));
    }
    dlt_buf_release(&out);
    return equal && c.differences == 0 ? DLT_OK
           : equal                     ? differs(r, "the weights are equal, but not everything else")
                                       : differs(r, "the weights differ");
}

static dlt_status train_again(const reproduction *r)
{
    dlt_arena *arena = r->call->arena;
    const char *log = dlt_arena_printf(arena, "%s.txt", r->again);
    dlt_fit_words words = dlt_fit_words_begin(arena, dlt_arena_printf(arena, "%s/config.yaml", r->path));
    progress p = {.start_ns = dlt_clock_ns()};
    pid_t child = 0;
    int code = 0;
    char *expected = NULL;
    fill_words(r, &words);
    DLT_TRY(load_metrics(r, r->path, &expected));
    p.expected = expected;
    dlt_status status = dlt_fit_start(&words, log, &child, r->call->diag);
    status = status == DLT_OK ? follow(r, child, &p, &code) : status;
    dlt_free(expected);
    DLT_TRY(status);
    if (dlt_stop_requested() != DLT_REQUEST_NONE) {
        *r->call->saved = code == dlt_exit_code_of(DLT_E_STOPPED);
        return DLT_E_STOPPED;
    }
    if (p.differs && !r->options->whole) {
        dlt_run_info now;
        DLT_TRY(dlt_rundir_info(r->again, arena, &now, r->call->diag));
        DLT_TRY(check_data(r, &now));
        return differs(r, dlt_arena_printf(arena, "epoch %lld differs (above)", (long long)p.equal + 1));
    }
    return code == 0 ? compare(r, dlt_seconds_since(p.start_ns))
                     : dlt_fit_failed(log, code, "when it trained again", r->call->diag);
}

/* Training may take long: what is known before is told before. */
static void show_messages(dlt_diag *diag)
{
    dlt_buf text = {0};
    const dlt_print_options how = dlt_print_options_for(STDERR_FILENO);
    dlt_print_messages(diag, &how, &text);
    fputs(text.failed ? "(no memory for a line)\n" : dlt_buf_text(&text), stderr);
    dlt_buf_release(&text);
    dlt_diag_reset(diag);
}

static dlt_status run(const dlt_command_call *call)
{
    const reproduce_options *o = call->options;
    reproduction r = {.call = call, .options = o, .again = o->run};
    DLT_TRY(look_before(&r));
    if (o->dry_run) {
        printf("%s: config, %zu file%s%s\n", r.path, r.info.data_count, r.info.data_count == 1 ? "" : "s",
               r.why_not == NULL ? ", version and device are as they were: it can be reproduced"
                                 : " are as they were, the device or version is not");
        return DLT_OK;
    }
    dlt_signals_install(NULL);
    show_messages(call->diag);
    if (o->run != NULL) {
        return train_again(&r);
    }
    const char *place = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    char *folder = dlt_arena_printf(call->arena, "%s/dltrain-reproduce-XXXXXX", place);
    if (folder == NULL) {
        return dlt_fail_memory(call->diag);
    }
    if (mkdtemp(folder) == NULL) {
        return dlt_fail(call->diag, DLT_E_OUTPUT, nowhere, "cannot make a folder in '%s': %s; another: --run DIR", place,
                        strerror(errno));
    }
    r.again = dlt_arena_printf(call->arena, "%s/run", folder);
    const dlt_status status = r.again != NULL ? train_again(&r) : dlt_fail_memory(call->diag);
    if (status == DLT_OK || !dlt_rundir_is(r.again)) {
        dlt_remove_folder(folder);
    } else {
        dlt_note(call->diag, nowhere, status == DLT_E_STOPPED ? "kept: %s; to go on with it, name it with --run" : "kept: %s",
                 r.again);
    }
    return status;
}

static const char *const examples[] = {"dltrain reproduce runs/digits-cnn",
                                       "dltrain reproduce runs/digits-cnn --run /scratch/again", NULL};

const dlt_command dlt_command_reproduce = {
    .name = "reproduce",
    .doc = "train a finished run again from its recorded config: the same weights?",
    .arguments = "RUN",
    .argument = DLT_ARG_RUN,
    .least = 1,
    .most = 1,
    .flags = flags,
    .options_size = sizeof(reproduce_options),
    .text = "Checks that the config, the data files, the version and the device are those of the run, trains once "
            "more, and compares weights, optimizer, state and logs bit for bit. Ends with 0 if all are equal, with 1 "
            "if not, and says what differs first and why; with 4 if a data file is not what it was. It ends at the "
            "first epoch whose figures differ.",
    .examples = examples,
    .run = run,
};
