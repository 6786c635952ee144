/* cmd/cmd_verify_resume.c: dltrain verify-resume: does a run of this model that is stopped go on as if it had
 * not been?
 *
 * Everything is done by `dltrain fit` in processes of their own, in a folder that is removed afterwards: one
 * run without a stop, then for each kind of stop a run that is stopped there and resumed in a new process.
 * The final files are compared bit for bit. */
#include "cmd/args.h"
#include "cmd/fit_process.h"
#include "cmd/load_model.h"
#include "cmd/write_out.h"
#include "io/file.h"
#include "schema/dump.h"
#include "trainer/compare.h"
#include "trainer/signals.h"
#include "trainer/tune.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rng.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct verify_options {
    dlt_opt_int epochs, steps, threads, random, seed;
    const char *device, *folder;
    bool keep;
    dlt_strings overrides;
} verify_options;

enum {
    DEFAULT_EPOCHS = 3,
    DEFAULT_STEPS = 6,
    DEFAULT_VALIDATION = 2,
    DEFAULT_RANDOM = 1,
    LOG_LIMIT = 1 << 24,
    MOST_STOPS = 6,
    MOST_RANDOM = 1000,
    SAVED_AND_STOPPED = 75
};
static const dlt_pos nowhere = {0};

static const dlt_flag flags[] = {
    DLT_NUMBER(verify_options, epochs, "epochs", '\0', 1, INT32_MAX, "N",
               "epochs of each run; default: 3, or the file's if fewer"),
    DLT_NUMBER(verify_options, steps, "steps", '\0', 1, INT32_MAX, "N",
               "steps of each epoch; default: 6, or the file's if fewer"),
    DLT_NUMBER(verify_options, random, "random", '\0', 0, MOST_RANDOM, "N",
               "runs that are stopped twice at random steps; default: 1"),
    DLT_NUMBER(verify_options, seed, "seed", '\0', 0, INT64_MAX, "N",
               "of those steps; default: another one each time, which is told"),
    DLT_TEXT(verify_options, device, "device", '\0', DLT_FLAG_TEXT, "DEVICE",
             "cpu, cuda, cuda:N or auto; default: the model file's"),
    DLT_NUMBER(verify_options, threads, "threads", 't', 1, 1024, "N",
               "CPU threads; default: one for each processor"),
    DLT_TEXT(verify_options, folder, "folder", '\0', DLT_FLAG_FOLDER, "DIR",
             "where the runs are made; default: $TMPDIR or /tmp"),
    DLT_SWITCH(verify_options, keep, "keep", '\0', "keep the runs, to look at them"),
    DLT_OVERRIDES(verify_options, overrides),
    {0},
};

/* One call of the command. */
typedef struct proof {
    const dlt_command_call *call;
    const verify_options *options;
    const dlt_run_spec *run;
    const dlt_spec *spec; /* of `run` */
    const char *folder;   /* with all runs */
    const char *files;    /* in it: what callbacks of the run that is under way write */
    dlt_fit_words common; /* of every fit */
    bool no_memory;       /* was refused while this was filled */
    int failed;
} proof;

/* Where a run is stopped. */
typedef struct stop {
    const char *what;
    const char *flag;
    int64_t at;
    int code;     /* with which the fit has to end */
    int64_t then; /* once resumed, it is stopped again after this step; 0: it is not */
} stop;

/* ---- processes ---- */

static const char *log_of(const proof *p, const char *run)
{
    return dlt_arena_printf(p->call->arena, "%s.txt", run);
}

static dlt_status tell_failure(const proof *p, const char *run, int code, const char *when)
{
    return dlt_fit_failed(log_of(p, run), code, when, p->call->diag);
}

/* Runs `dltrain fit` into the run directory `run`, with one more flag if given; *code is its exit code. */
static dlt_status run_fit(const proof *p, const char *run, const stop *s, bool first, int *code)
{
    dlt_fit_words words = p->common;
    pid_t child = 0;
    dlt_fit_words_flag(&words, "--run", run);
    if (!first) {
        dlt_fit_words_add(&words, "--exact");
    }
    if (s != NULL) {
        dlt_fit_words_flag(&words, s->flag, dlt_arena_printf(words.arena, "%lld", (long long)s->at));
    }
    DLT_TRY(dlt_fit_start(&words, log_of(p, run), &child, p->call->diag));
    *code = dlt_fit_wait(child);
    return dlt_stop_requested() != DLT_REQUEST_NONE ? DLT_E_STOPPED : DLT_OK;
}

/* ---- what to compare with ---- */

/* Reads steps and learning rates of the epochs from metrics.jsonl; *cut: first epoch (from 0) whose rate is
 * lower than the one before, -1: none. */
static dlt_status read_epochs(proof *p, const char *run, int64_t *step_at_end, int64_t most, int64_t *count,
                              int64_t *cut)
{
    char *text = NULL;
    size_t bytes = 0;
    double rate = (double)NAN;
    const char *path = dlt_arena_printf(p->call->arena, "%s/metrics.jsonl", run);
    *count = 0;
    *cut = -1;
    if (path == NULL) {
        return dlt_fail_memory(p->call->diag);
    }
    DLT_TRY(dlt_file_load(path, LOG_LIMIT, DLT_E_CHECKPOINT, nowhere, &text, &bytes, p->call->diag));
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line != NULL && *line != '\0' && *count < most;
         line = strsep(&rest, "\n")) {
        const char *step = strstr(line, "\"step\":"), *lr = strstr(line, "\"learning_rate\":");
        const double here = lr != NULL ? strtod(lr + strlen("\"learning_rate\":"), NULL) : (double)NAN;
        step_at_end[*count] = step != NULL ? strtoll(step + strlen("\"step\":"), NULL, 10) : 0;
        if (*cut < 0 && here < rate) {
            *cut = *count;
        }
        rate = here;
        ++*count;
    }
    dlt_free(text);
    return DLT_OK;
}

/* ---- the files of callbacks ---- */

static const char *files_of(const proof *p, const char *run)
{
    return dlt_arena_printf(p->call->arena, "%s/callbacks", run);
}

/* A run is over: what its callbacks wrote is put aside in its folder. */
static dlt_status keep_files(const proof *p, const char *run)
{
    const char *kept = files_of(p, run);
    if (kept == NULL) {
        return dlt_fail_memory(p->call->diag);
    }
    if (dlt_file()->rename(p->files, kept) != 0 && errno != ENOENT) {
        return dlt_fail(p->call->diag, DLT_E_OUTPUT, nowhere, "cannot move '%s': %s", p->files,
                        strerror(errno));
    }
    return DLT_OK;
}

/* ---- the proof ---- */

static dlt_status prove(proof *p, const char *whole, const stop *s, int index)
{
    int code = 0;
    dlt_comparison c;
    dlt_buf differences = {0}, line = {0};
    const char *run = dlt_arena_printf(p->call->arena, "%s/stopped-%d", p->folder, index);
    if (run == NULL) {
        return dlt_fail_memory(p->call->diag);
    }
    DLT_TRY(run_fit(p, run, s, true, &code));
    if (code != s->code) {
        return tell_failure(p, run, code,
                            s->code == DLT_FIT_KILLED ? "where it should have been killed"
                                              : "where it should have saved and stopped");
    }
    if (s->then > 0) {
        const stop again = {.flag = s->flag, .at = s->then};
        DLT_TRY(run_fit(p, run, &again, false, &code));
        if (code != s->code) {
            return tell_failure(p, run, code, "where it should have saved and stopped once more");
        }
    }
    DLT_TRY(run_fit(p, run, NULL, false, &code));
    if (code != 0) {
        return tell_failure(p, run, code, "when it was resumed");
    }
    DLT_TRY(keep_files(p, run));
    dlt_status status = dlt_runs_compare(p->run, whole, run, true, &c, &differences, p->call->diag);
    const char *files = files_of(p, run), *expected = files_of(p, whole);
    if (status == DLT_OK) {
        status = files != NULL && expected != NULL
                     ? dlt_folders_compare(expected, files, &c, &differences, p->call->diag)
                     : dlt_fail_memory(p->call->diag);
    }
    if (status == DLT_OK) {
        p->failed += c.differences > 0;
        dlt_buf_printf(&line, "%-54s %s   %d weights, %d of the optimizer, %d others, %d files\n%s", s->what,
                       c.differences == 0 ? "equal  " : "DIFFERS", c.weights, c.optimizer, c.state, c.files,
                       dlt_buf_text(&differences));
        dlt_buf_finish(&differences, &line);
        status = dlt_write_out(&line, p->call->diag);
        (void)fflush(stdout); /* a failure is kept, and main tells of it */
    }
    dlt_buf_release(&line);
    dlt_buf_release(&differences);
    return status;
}

/* Where the run is stopped, given the steps at the ends of its epochs and the epoch where the rate was cut
 * (from 0; -1: none). Returns how many stops there are. */
static int plan_stops(const proof *p, const int64_t *ends, int64_t count, int64_t cut, stop *list)
{
    dlt_arena *arena = p->call->arena;
    int n = 0;
    const int64_t middle = ends[0] / 2, end = ends[count - 1], last = count > 1 ? ends[count - 2] : 0;
    if (middle > 0) {
        list[n++] = (stop){dlt_arena_printf(arena, "stopped in epoch 1, after step %lld", (long long)middle),
                           "--stop-after", middle, SAVED_AND_STOPPED};
    }
    list[n++] = (stop){"stopped at the end of epoch 1, before its validation", "--stop-after", ends[0],
                       SAVED_AND_STOPPED};
    if (p->spec->data.validation != NULL) {
        const int64_t freq = p->spec->fit.validation_freq, before = p->spec->fit.initial_epoch;
        const int64_t first = (before / freq + 1) * freq,
                      epoch = first + freq <= before + count ? first + freq : first;
        if (epoch <= before + count) {
            list[n++] =
                (stop){dlt_arena_printf(arena, "stopped in the validation of epoch %lld", (long long)epoch),
                       "--stop-in-validation", epoch, SAVED_AND_STOPPED};
        }
    }
    if (cut > 0) {
        const int64_t at = ends[cut - 1] + (ends[cut] - ends[cut - 1] + 1) / 2;
        list[n++] = (stop){dlt_arena_printf(arena, "stopped in epoch %lld, step %lld, where the rate was cut",
                                            (long long)cut + 1, (long long)at),
                           "--stop-after", at, SAVED_AND_STOPPED};
    }
    if (count > 1 && cut != count - 1) {
        const int64_t at = last + (end - last + 1) / 2;
        list[n++] = (stop){dlt_arena_printf(arena, "stopped in epoch %lld, after step %lld", (long long)count,
                                            (long long)at),
                           "--stop-after", at, SAVED_AND_STOPPED};
    }
    /* what was saved is what was true then, whatever came after it */
    const int64_t saved = end - 2 > last ? end - 2 : end - 1;
    if (saved > 0) {
        list[n++] =
            (stop){dlt_arena_printf(arena, "killed one step after the save of step %lld", (long long)saved),
                   "--die-after", saved, DLT_FIT_KILLED};
    }
    return n;
}

/* A place in [from, to], each as likely as the other. */
static int64_t draw(uint64_t seed, uint64_t number, int64_t from, int64_t to)
{
    const uint32_t stream = dlt_fnv1a("verify-resume");
    return from + (int64_t)(dlt_random_bits(seed, stream, number, 0) % (uint64_t)(to - from + 1));
}

/* Runs that are stopped at random steps, and, where steps are left, once more later. Fills `list` with
 * `count` of them. */
static void draw_stops(const proof *p, uint64_t seed, int64_t end, int count, stop *list)
{
    for (int i = 0; i < count; i++) {
        const int64_t at = draw(seed, 2 * (uint64_t)i, 1, end - 1);
        const int64_t then = at < end - 1 ? draw(seed, 2 * (uint64_t)i + 1, at + 1, end - 1) : 0;
        const char *what = then > 0 ? dlt_arena_printf(p->call->arena, "stopped after steps %lld and %lld, at random",
                                                       (long long)at, (long long)then)
                                    : dlt_arena_printf(p->call->arena, "stopped after step %lld, at random",
                                                       (long long)at);
        list[i] = (stop){what, "--stop-after", at, SAVED_AND_STOPPED, then};
    }
}

static dlt_status prove_all(proof *p)
{
    enum { MOST = 1024 };
    int64_t ends[MOST], count = 0, cut = -1;
    int code = 0;
    const int random = p->options->random.set ? (int)p->options->random.value : DEFAULT_RANDOM;
    const uint64_t seed = p->options->seed.set ? (uint64_t)p->options->seed.value : (uint64_t)dlt_clock_ns();
    dlt_arena *arena = p->call->arena;
    const char *whole = dlt_arena_printf(arena, "%s/whole", p->folder);
    stop *list = dlt_arena_alloc(arena, (size_t)MOST_STOPS + (size_t)random, sizeof *list);
    const int64_t start = dlt_clock_ns();
    if (whole == NULL || list == NULL) {
        return dlt_fail_memory(p->call->diag);
    }
    DLT_TRY(run_fit(p, whole, NULL, true, &code));
    if (code != 0) {
        return tell_failure(p, whole, code, "without being stopped");
    }
    DLT_TRY(keep_files(p, whole));
    DLT_TRY(read_epochs(p, whole, ends, MOST, &count, &cut));
    if (count == 0) {
        return dlt_fail(p->call->diag, DLT_E_INTERNAL, nowhere,
                        "the run has no epoch: nothing can be compared");
    }
    printf("not stopped: %lld epoch%s, %lld steps, %.1f s\n", (long long)count, count == 1 ? "" : "s",
           (long long)ends[count - 1], dlt_seconds_since(start));
    (void)fflush(stdout); /* a failure is kept, and main tells of it */
    int stops = plan_stops(p, ends, count, cut, list);
    if (random > 0 && ends[count - 1] > 1) {
        printf("seed of the random stops: %llu\n", (unsigned long long)seed);
        draw_stops(p, seed, ends[count - 1], random, list + stops);
        stops += random;
    }
    if (dlt_arena_failed(arena)) {
        return dlt_fail_memory(p->call->diag);
    }
    for (int i = 0; i < stops; i++) {
        DLT_TRY(prove(p, whole, &list[i], i + 1));
    }
    if (p->failed > 0) {
        return dlt_fail(p->call->diag, DLT_E_INTERNAL, nowhere, "%d of %d stopped runs went on differently",
                        p->failed, stops);
    }
    printf("ok: a run that is stopped goes on bit for bit (%d stops, each resumed in a new process)\n",
           stops);
    return DLT_OK;
}

static void fill_common(proof *p)
{
    const verify_options *o = p->options;
    dlt_arena *arena = p->call->arena;
    const dlt_fit_spec *fit = &p->spec->fit;
    const int64_t epochs = o->epochs.set ? o->epochs.value
                           : fit->initial_epoch + DEFAULT_EPOCHS < fit->epochs
                               ? fit->initial_epoch + DEFAULT_EPOCHS
                               : fit->epochs;
    const int64_t steps = o->steps.set ? o->steps.value : DEFAULT_STEPS;
    dlt_fit_words w = dlt_fit_words_begin(arena, p->call->arguments.at[0]);
    dlt_fit_words_flag(&w, "--verbose", "2");
    for (size_t i = 0; i < o->overrides.count; i++) {
        dlt_fit_words_flag(&w, "-o", o->overrides.at[i]);
    }
    dlt_fit_words_flag(&w, "-o", dlt_arena_printf(arena, "fit.epochs=%lld", (long long)epochs));
    if (!fit->steps_per_epoch.set || fit->steps_per_epoch.value > steps || o->steps.set) {
        dlt_fit_words_flag(&w, "-o", dlt_arena_printf(arena, "fit.steps_per_epoch=%lld", (long long)steps));
    }
    if (p->spec->data.validation != NULL &&
        (!fit->validation_steps.set || fit->validation_steps.value > DEFAULT_VALIDATION)) {
        dlt_fit_words_flag(&w, "-o", dlt_arena_printf(arena, "fit.validation_steps=%d", DEFAULT_VALIDATION));
    }
    if (o->device != NULL) {
        dlt_fit_words_flag(&w, "--device", o->device);
    }
    if (o->threads.set) {
        dlt_fit_words_flag(&w, "--threads", dlt_arena_printf(arena, "%lld", (long long)o->threads.value));
    }
    dlt_fit_words_redirect(&w, p->spec, p->files);
    p->common = w;
}

/* Kernels are timed once, for all fits: two would not choose the same. */
static dlt_status tune(proof *p)
{
    dlt_tuning tuning;
    size_t count = 0;
    const dlt_session_options session = {.device = p->options->device, .threads = p->options->threads.set ? (int)p->options->threads.value : 0};
    if (!p->spec->tune || p->spec->tuned.count > 0) {
        return DLT_OK;
    }
    DLT_TRY(dlt_tune(p->run, &session, p->call->arena, &tuning, p->call->diag));
    const dlt_run_spec *tuned = dlt_run_spec_tuned(p->call->arena, p->run, &tuning.kernels);
    const dlt_spec_entry *entries = tuned != NULL ? dlt_spec_flatten(p->call->arena, tuned, &count) : NULL;
    if (entries == NULL) {
        return dlt_fail_memory(p->call->diag);
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(entries[i].path, "tuned") == 0) {
            dlt_fit_words_flag(&p->common, "-o", dlt_arena_printf(p->call->arena, "tuned=%s", entries[i].text));
        }
    }
    return DLT_OK;
}

static dlt_status run(const dlt_command_call *call)
{
    const verify_options *o = call->options;
    const dlt_load_options load = {.overrides = o->overrides.at, .override_count = o->overrides.count};
    const dlt_run_spec *spec = NULL;
    const char *place = o->folder != NULL ? o->folder : getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    DLT_TRY(dlt_load_argument(call, &load, &spec));
    char *folder = dlt_arena_printf(call->arena, "%s/dltrain-verify-XXXXXX", place);
    proof *p = dlt_arena_alloc(call->arena, 1, sizeof *p);
    if (folder == NULL || p == NULL) {
        return dlt_fail_memory(call->diag);
    }
    *p = (proof){.call = call, .options = o, .run = spec, .spec = &spec->value};
    if (mkdtemp(folder) == NULL) {
        return dlt_fail(call->diag, DLT_E_OUTPUT, nowhere, "cannot make a folder in '%s': %s", place,
                        strerror(errno));
    }
    char *absolute = dlt_path_absolute(folder);
    p->folder = folder;
    p->no_memory = absolute == NULL;
    p->files = dlt_arena_printf(call->arena, "%s/callbacks", absolute != NULL ? absolute : folder);
    dlt_free(absolute);
    fill_common(p);
    dlt_signals_install(NULL);
    dlt_status status = tune(p);
    if (status == DLT_OK) {
        status = p->no_memory || dlt_arena_failed(call->arena) ? dlt_fail_memory(call->diag) : prove_all(p);
    }
    if (o->keep) {
        printf("kept: %s\n", folder);
    } else {
        dlt_remove_folder(folder);
    }
    return status;
}

static const char *const examples[] = {"dltrain verify-resume model.yaml",
                                       "dltrain verify-resume model.yaml --epochs 2 --steps 20", NULL};

const dlt_command dlt_command_verify_resume = {
    .name = "verify-resume",
    .doc = "prove that a stopped run of a model goes on bit for bit",
    .arguments = "FILE",
    .argument = DLT_ARG_MODEL,
    .least = 1,
    .most = 1,
    .flags = flags,
    .options_size = sizeof(verify_options),
    .text = "Fits the model without a stop, then once for each kind of stop: in mid-epoch, at an epoch's "
            "end, during validation, after the "
            "learning rate was cut where that happens, by a kill after a save, and twice at random steps; each "
            "is resumed in a new process. Weights, optimizer, "
            "state, progress, logs and what callbacks write must come "
            "out equal bit for bit. Ends with 1 if they do not.\n"
            "The runs are short (--epochs, --steps) and are made in a temporary folder.",
    .examples = examples,
    .run = run,
};
