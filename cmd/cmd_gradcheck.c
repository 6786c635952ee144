/* cmd/cmd_gradcheck.c: dltrain gradcheck: are the gradients of this model right? */
#include "cmd/load_model.h"
#include "cmd/model_flags.h"
#include "cmd/write_out.h"
#include "trainer/proofs.h"

#include <stdio.h>

typedef struct gradcheck_options {
    dlt_opt_int per_weight, batch;
    dlt_device_flags device;
    dlt_strings overrides;
} gradcheck_options;

enum { FEW_ROWS = 8 };

static const dlt_flag flags[] = {
    DLT_NUMBER(gradcheck_options, per_weight, "elements", 'n', 1, 1000000, "N",
               "elements of each weight to check; default: 10"),
    DLT_NUMBER(gradcheck_options, batch, "batch", 'b', 1, INT32_MAX, "N",
               "rows of the batch; default: 8 at most"),
    DLT_DEVICE_FLAGS(gradcheck_options, device),
    DLT_OVERRIDES(gradcheck_options, overrides),
    {0},
};

static dlt_status run(const dlt_command_call *call)
{
    const gradcheck_options *o = call->options;
    const dlt_load_options load = {.overrides = o->overrides.at, .override_count = o->overrides.count};
    const dlt_run_spec *spec = NULL;
    dlt_session *session = NULL;
    const dlt_gradcheck_row *rows = NULL;
    int count = 0, bad = 0, unchecked = 0;
    dlt_buf out = {0};
    DLT_TRY(dlt_load_argument(call, &load, &spec));
    dlt_session_options options = dlt_session_of_flags(&o->device);
    options.depth = DLT_DEPTH_LOAD;
    options.train = true;
    options.reference = true;
    options.real = DLT_F64;
    options.batch = o->batch.set                            ? o->batch.value
                    : spec->value.fit.batch_size < FEW_ROWS ? spec->value.fit.batch_size
                                                            : FEW_ROWS;
    DLT_TRY(dlt_session_open(spec, &options, &session, call->diag));
    dlt_status status =
        dlt_gradcheck(session, o->per_weight.set ? o->per_weight.value : 10, &rows, &count, call->diag);
    dlt_buf_printf(&out, "%-44s %8s %6s %10s  %14s %14s\n", "weight", "checked", "kinks", "worst", "gradient",
                   "difference");
    for (int i = 0; i < count && status == DLT_OK; i++) {
        const dlt_gradcheck_row *r = &rows[i];
        if (r->checked == 0) {
            unchecked++;
            dlt_buf_printf(&out, "%-44.44s %8d %6lld %10s  not checked\n", r->weight, 0, (long long)r->kinks,
                           "-");
            continue;
        }
        dlt_buf_printf(&out, "%-44.44s %8lld %6lld %10.2e  %14.6e %14.6e%s\n", r->weight,
                       (long long)r->checked, (long long)r->kinks, r->worst, r->analytic, r->numeric,
                       r->good ? "" : "  WRONG");
        if (!r->good) {
            bad++;
            dlt_fail(call->diag, DLT_E_INTERNAL, r->pos,
                     "the gradient of %s is %.6e at element %lld; central differences give %.6e", r->weight,
                     r->analytic, (long long)r->element, r->numeric);
        }
    }
    if (status == DLT_OK) {
        dlt_buf_printf(&out, "%d weight%s, %d wrong", count, count == 1 ? "" : "s", bad);
        if (unchecked > 0) {
            dlt_buf_printf(&out, ", %d not checked", unchecked);
        }
        dlt_buf_printf(&out, " (in double; tolerance 1e-6 of max(1, |gradient|))\n");
        status = dlt_write_out(&out, call->diag);
        status = status == DLT_OK && bad > 0 ? DLT_E_INTERNAL : status;
    }
    dlt_buf_release(&out);
    dlt_session_close(session);
    return status;
}

static const char *const examples[] = {"dltrain gradcheck model.yaml", NULL};

const dlt_command dlt_command_gradcheck = {
    .name = "gradcheck",
    .doc = "compare the gradients of a model with central differences",
    .arguments = "FILE",
    .argument = DLT_ARG_MODEL,
    .least = 1,
    .most = 1,
    .flags = flags,
    .options_size = sizeof(gradcheck_options),
    .text =
        "Computes loss and gradients of one batch in double, moves single elements of each weight up and "
        "down, and compares the slope of "
        "the loss with the gradient. Ends with 1 if one is wrong. Where the loss has a kink in the very "
        "point (relu at 0), there is no slope to compare with: such elements are looked at again with all "
        "weights moved a little. Only what was compared counts as checked; the others are counted as kinks.",
    .examples = examples,
    .run = run,
};
