/* cmd/cmd_fit.c: dltrain fit: trains a model; starts, resumes or says "done". */
#include "cmd/load_model.h"
#include "cmd/model_flags.h"
#include "cmd/screen.h"
#include "cmd/write_out.h"
#include "trainer/plan_report.h"
#include "trainer/signals.h"

#include "base/json.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

typedef struct fit_options {
    const char *run, *resume, *weights;
    dlt_device_flags device;
    dlt_opt_int verbose, stop_after, stop_in_validation, die_after;
    bool dry_run, force, allow_change, exact, no_fusion;
    dlt_strings overrides;
} fit_options;

static const dlt_flag flags[] = {
    DLT_TEXT(fit_options, run, "run", '\0', DLT_FLAG_FOLDER, "DIR",
             "run directory; default: a new one in runs/NAME beside the model file"),
    DLT_TEXT(fit_options, resume, "resume", '\0', DLT_FLAG_TEXT, "auto|never|PATH",
             "auto: go on where a run of the same model stopped; never: start anew; PATH: from a checkpoint "
             "or run"),
    DLT_TEXT(fit_options, weights, "weights", '\0', DLT_FLAG_FILE, "FILE",
             "start from these weights: a checkpoint, a run, or a file that Keras saved"),
    DLT_DEVICE_FLAGS(fit_options, device),
    DLT_SWITCH(fit_options, no_fusion, "no-fusion", '\0',
               "train without fusion: more kernels, the same bits"),
    DLT_NUMBER(fit_options, verbose, "verbose", 'v', 0, 2, "0|1|2",
               "0: silent; 1: a bar; 2: one line an epoch"),
    DLT_SWITCH(fit_options, dry_run, "dry-run", 'n',
               "read the data, plan everything, and stop before the first step"),
    DLT_SWITCH(fit_options, force, "force", '\0',
               "start anew in a run directory that holds a run; the old one is moved aside"),
    DLT_SWITCH(fit_options, allow_change, "allow-change", '\0',
               "resume although the optimizer's learning_rate or fit.callbacks were changed"),
    DLT_SWITCH(fit_options, exact, "exact", '\0', "refuse to resume where it cannot go on bit for bit"),
    DLT_NUMBER(fit_options, stop_after, "stop-after", '\0', 1, INT64_MAX, "STEPS",
               "save and stop, as at SIGTERM, after so many steps in all"),
    DLT_NUMBER(fit_options, stop_in_validation, "stop-in-validation", '\0', 1, INT64_MAX, "EPOCH",
               "stop, as at SIGTERM, in the validation of that epoch"),
    DLT_NUMBER(fit_options, die_after, "die-after", '\0', 1, INT64_MAX, "STEPS",
               "save after so many steps in all, make one more, and die, as at a power cut"),
    DLT_OVERRIDES(fit_options, overrides),
    {0},
};

static void leave_at_once(void)
{
    _exit(130);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
}

/* The arguments as they stood on the command line, for run.json. */
static void put_argv(const dlt_command_call *call, dlt_buf *out)
{
    const fit_options *o = call->options;
    dlt_json j;
    dlt_json_init(&j, out, 0);
    dlt_json_open(&j, '[');
    dlt_json_string(&j, "dltrain");
    dlt_json_string(&j, "fit");
    dlt_json_string(&j, call->arguments.at[0]);
    for (size_t i = 0; i < o->overrides.count; i++) {
        dlt_json_string(&j, "-o");
        dlt_json_string(&j, o->overrides.at[i]);
    }
    dlt_json_close(&j, ']');
}

static dlt_status dry_run(const dlt_command_call *call, const dlt_run_spec *spec, const dlt_fit_options *fit)
{
    dlt_session *session = NULL;
    dlt_session_options o = fit->session;
    dlt_buf out = {0};
    o.depth = DLT_DEPTH_LOAD;
    o.train = true;
    o.evaluate = spec->value.data.validation != NULL || spec->value.data.test != NULL;
    DLT_TRY(dlt_session_open(spec, &o, &session, call->diag));
    dlt_plan_report_text(session->engine, false, &out);
    const dlt_status status = dlt_write_out(&out, call->diag);
    dlt_buf_release(&out);
    dlt_session_close(session);
    return status;
}

static dlt_status run(const dlt_command_call *call)
{
    const fit_options *o = call->options;
    const dlt_load_options load = {.overrides = o->overrides.at, .override_count = o->overrides.count};
    const dlt_run_spec *spec = NULL;
    dlt_buf argv = {0};
    dlt_fit_result *result = dlt_arena_alloc(call->arena, 1, sizeof *result);
    DLT_TRY(dlt_load_argument(call, &load, &spec));
    dlt_screen *screen = dlt_screen_create(o->verbose.set ? (int)o->verbose.value : 1);
    put_argv(call, &argv);
    if (screen == NULL || result == NULL || argv.failed) {
        dlt_screen_destroy(screen);
        dlt_buf_release(&argv);
        return dlt_fail_memory(call->diag);
    }
    dlt_signals_install(leave_at_once);
    const bool never = o->resume != NULL && strcmp(o->resume, "never") == 0;
    const bool from = o->resume != NULL && !never && strcmp(o->resume, "auto") != 0;
    dlt_session_options session = dlt_session_of_flags(&o->device);
    session.no_fusion = o->no_fusion;
    const dlt_fit_options fit = {.run = o->run,
                                 .resume = never  ? DLT_RESUME_NEVER
                                           : from ? DLT_RESUME_FILE
                                                  : DLT_RESUME_AUTO,
                                 .resume_path = from ? o->resume : NULL,
                                 .weights = o->weights,
                                 .force = o->force,
                                 .allow_change = o->allow_change,
                                 .exact = o->exact,
                                 .session = session,
                                 .argv_json = argv.data,
                                 .began_ns = call->began_ns,
                                 .stop_after_steps = o->stop_after.set ? o->stop_after.value : 0,
                                 .stop_in_validation =
                                     o->stop_in_validation.set ? o->stop_in_validation.value : 0,
                                 .die_after_steps = o->die_after.set ? o->die_after.value : 0,
                                 .die = die,
                                 .events = dlt_screen_events(screen)};
    dlt_status status = o->dry_run ? dry_run(call, spec, &fit)
                                   : dlt_fit(spec, call->catalogue, &fit, call->arena, result, call->diag);
    if (status == DLT_OK && !o->dry_run) {
        *call->saved = result->outcome == DLT_FIT_STOPPED;
        status = *call->saved ? DLT_E_STOPPED : DLT_OK;
    }
    dlt_screen_destroy(screen);
    dlt_buf_release(&argv);
    return status;
}

static const char *const examples[] = {"dltrain fit model.yaml",
                                       "dltrain fit model.yaml -o fit.epochs=20 --threads 4", NULL};

const dlt_command dlt_command_fit = {
    .name = "fit",
    .doc = "train a model: start, resume, or say that it is done",
    .arguments = "FILE",
    .argument = DLT_ARG_MODEL,
    .least = 1,
    .most = 1,
    .flags = flags,
    .options_size = sizeof(fit_options),
    .text = "Trains the model of a file. The same command is always safe to repeat: a run that was stopped "
            "goes on bit for bit "
            "where it stopped, one that is complete is said to be done.\n"
            "Everything is kept in a run directory, runs/NAME/STAMP beside the model file. SIGTERM saves and "
            "ends with 75 (143 where nothing was trained yet), Ctrl-C "
            "saves and ends with 130, SIGUSR1 saves and goes on.",
    .examples = examples,
    .run = run,
};
