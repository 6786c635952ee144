/* trainer/callbacks/callback_model_checkpoint.c: saves checkpoints at the ends of epochs, or every so many
 * batches; all of them, or those whose value is the best so far. Without filepath they go among the run's own
 * checkpoints.
 *
 * The file's name is a format as in Python: {epoch} (from 1), {batch} (from 1, with save_freq a number) and
 * every name in the logs, each with a format of numbers: {epoch:02d}, {val_loss:.3f}. */
#include "trainer/callbacks/monitor.h"

#include "base/num.h"
#include "base/text.h"

#include <ctype.h>
#include <string.h>

typedef struct checkpoint_params {
    const char *filepath, *monitor;
    int64_t verbose;
    bool save_best_only, save_weights_only;
    int mode;
    const char *save_freq;
    dlt_opt_float initial_value_threshold;
} checkpoint_params;

static const dlt_field fields[] = {
    DLT_PATH(checkpoint_params, filepath, "null",
             "file, as model-{epoch:02d}-{val_loss:.3f}.weights.h5; default: the run's checkpoints"),
    DLT_MONITOR_FIELD(checkpoint_params),
    DLT_VERBOSE_FIELD(checkpoint_params),
    DLT_BOOL(checkpoint_params, save_best_only, false, "save only when the value is the best so far"),
    DLT_BOOL(checkpoint_params, save_weights_only, false, "without the state that resuming needs"),
    DLT_MODE_FIELD(checkpoint_params),
    DLT_STRING(checkpoint_params, save_freq, "epoch", "epoch, or a number of batches"),
    DLT_OPT_FLOAT(checkpoint_params, initial_value_threshold, -HUGE_VAL, HUGE_VAL, 0,
                  "value that the first one saved must beat"),
    {0},
};

/* the state */
enum { BEST };                   /* numbers */
enum { HAS_BEST, SEEN, WARNED }; /* integers; SEEN: batches since the last one saved */

/* Batches between saves; 0: by epochs. -1: neither. */
static int64_t frequency(const checkpoint_params *p)
{
    int64_t batches;
    if (strcmp(p->save_freq, "epoch") == 0) {
        return 0;
    }
    return dlt_parse_i64(p->save_freq, strlen(p->save_freq), &batches) && batches > 0 ? batches : -1;
}

/* ---- file names ---- */

/* One replacement field of a format: {name:spec}. */
typedef struct replacement {
    const char *name;
    size_t name_bytes;
    bool zero;            /* pad with zeros */
    int width, precision; /* -1: none */
    char type;            /* d e f g, or 0: as Python prints it */
} replacement;

static int digits(const char **at)
{
    int value = -1;
    while (isdigit((unsigned char)**at)) {
        value = (value < 0 ? 0 : value) * 10 + (**at - '0');
        (*at)++;
        if (value > 1000) {
            return 1001;
        }
    }
    return value;
}

/* Reads a field behind its '{'; *at moves behind its '}'. False if it is none that we know. */
static bool read_field(const char **at, replacement *field)
{
    const char *c = *at;
    *field = (replacement){.name = c, .width = -1, .precision = -1};
    while (*c != '\0' && *c != ':' && *c != '}' && *c != '{') {
        c++;
    }
    field->name_bytes = (size_t)(c - field->name);
    if (*c == ':') {
        c++;
        field->zero = *c == '0';
        field->width = digits(&c);
        if (*c == '.') {
            c++;
            field->precision = digits(&c);
            if (field->precision < 0) {
                return false;
            }
        }
        if (*c != '\0' && strchr("defg", *c) != NULL) {
            field->type = *c++;
        }
    }
    *at = c + 1;
    return *c == '}' && field->name_bytes > 0 && field->width <= 100 && field->precision <= 30 &&
           !(field->type == 'd' && field->precision >= 0);
}

static bool is_named(const replacement *field, const char *name)
{
    return strlen(name) == field->name_bytes && memcmp(field->name, name, field->name_bytes) == 0;
}

static void append_padded(dlt_buf *out, const char *text, const replacement *field)
{
    const int length = (int)strlen(text), missing = field->width > length ? field->width - length : 0;
    const bool negative = text[0] == '-' && field->zero;
    if (negative) {
        dlt_buf_char(out, '-');
    }
    for (int i = 0; i < missing; i++) {
        dlt_buf_char(out, field->zero ? '0' : ' ');
    }
    dlt_buf_string(out, negative ? text + 1 : text);
}

static void append_value(dlt_buf *out, const replacement *field, bool whole, double value)
{
    char text[400];
    dlt_buf number = {0};
    if (whole && (field->type == 'd' || field->type == 0)) {
        dlt_buf_printf(&number, "%lld", (long long)value);
    } else if (field->type == 0 && field->precision < 0) {
        dlt_format_double(value, text, sizeof text);
        dlt_buf_string(&number, text);
    } else {
        const int precision = field->precision < 0 ? 6 : field->precision;
        switch (field->type) {
        case 'e':
            dlt_buf_printf(&number, "%.*e", precision, value);
            break;
        case 'f':
            dlt_buf_printf(&number, "%.*f", precision, value);
            break;
        default:
            dlt_buf_printf(&number, "%.*g", precision, value);
        }
    }
    append_padded(out, dlt_buf_text(&number), field);
    dlt_buf_finish(&number, out);
}

/*
 * Appends the file's name. batch < 0: there is none. Returns NULL, or where the name of a field begins that
 * there is no value for, or '{' of one that is malformed.
 */
static const char *append_name(dlt_buf *out, const char *format, int64_t epoch, int64_t batch,
                               const dlt_logs *logs)
{
    for (const char *at = format; *at != '\0';) {
        if ((at[0] == '{' && at[1] == '{') || (at[0] == '}' && at[1] == '}')) {
            dlt_buf_char(out, *at);
            at += 2;
        } else if (*at == '{') {
            replacement field;
            const char *begin = at++;
            if (!read_field(&at, &field)) {
                return begin;
            }
            double value = 0;
            bool found = false, whole = false;
            if (is_named(&field, "epoch") || (is_named(&field, "batch") && batch >= 0)) {
                value = (double)(is_named(&field, "epoch") ? epoch : batch) + 1;
                found = whole = true;
            }
            for (int i = 0; i < logs->count && !found; i++) {
                found = is_named(&field, logs->at[i].name);
                value = logs->at[i].value;
            }
            if (!found || (field.type == 'd' && !whole)) {
                return field.name;
            }
            append_value(out, &field, whole, value);
        } else {
            dlt_buf_char(out, *at++);
        }
    }
    return NULL;
}

static void check(const dlt_item *item, dlt_diag *diag)
{
    const checkpoint_params *p = item->params;
    if (frequency(p) < 0) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "save_freq"),
                 "ModelCheckpoint: save_freq must be epoch or a number of batches, found '%s'", p->save_freq);
    }
    if (p->filepath != NULL && !dlt_text_ends(p->filepath, ".weights.h5")) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "filepath"),
                 "ModelCheckpoint: filepath must end in .weights.h5, as Keras wants it");
    }
}

static void check_logs(const dlt_item *item, const dlt_logs *names, dlt_diag *diag)
{
    const checkpoint_params *p = item->params;
    dlt_buf name = {0};
    const char *wrong =
        p->filepath != NULL ? append_name(&name, p->filepath, 0, frequency(p) > 0 ? 0 : -1, names) : NULL;
    if (wrong != NULL && *wrong != '{') {
        const char *known[64] = {"epoch"};
        size_t count = 1;
        for (int i = 0; i < names->count && count < DLT_COUNT(known); i++) {
            known[count++] = names->at[i].name;
        }
        char found[128];
        size_t length = strcspn(wrong, ":}");
        length = length < sizeof found ? length : sizeof found - 1;
        memcpy(found, wrong, length);
        found[length] = '\0';
        const bool batch = strcmp(found, "batch") == 0;
        const int nearest = batch ? -1 : dlt_nearest(found, known, count);
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "filepath"),
                 "ModelCheckpoint: filepath names {%s}, which %s%s%s%s", found,
                 batch ? "there is only with save_freq as a number of batches"
                       : "has no value, or none of this format",
                 nearest >= 0 ? "; did you mean {" : "", nearest >= 0 ? known[nearest] : "",
                 nearest >= 0 ? "}?" : "");
    } else if (wrong != NULL) {
        dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, "filepath"),
                 "ModelCheckpoint: '%.40s' is no {name} or {name:format}; {epoch:02d} and {val_loss:.3f} are",
                 wrong);
    }
    dlt_buf_release(&name);
}

/* ---- saving ---- */

static bool should_save(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io)
{
    const checkpoint_params *p = item->params;
    if (!p->save_best_only) {
        return true;
    }
    const dlt_log_entry *now = dlt_monitor_find(item, p->monitor, io, &state->integer[WARNED]);
    if (now == NULL) { /* as Keras: rather too many than none */
        return true;
    }
    if (state->integer[HAS_BEST] != 0 && !dlt_monitor_better(now, p->mode, 0, state->number[BEST])) {
        if (p->verbose > 0) {
            dlt_note(io->diag, (dlt_pos){0}, "epoch %lld: %s did not improve on %.5f",
                     (long long)io->epoch + 1, p->monitor, state->number[BEST]);
        }
        return false;
    }
    if (p->verbose > 0 && state->integer[HAS_BEST] != 0) {
        dlt_note(io->diag, (dlt_pos){0}, "epoch %lld: %s improved from %.5f to %.5f",
                 (long long)io->epoch + 1, p->monitor, state->number[BEST], now->value);
    }
    state->number[BEST] = now->value;
    state->integer[HAS_BEST] = 1;
    io->best = true;
    return true;
}

static void save(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io, int64_t batch)
{
    const checkpoint_params *p = item->params;
    if (!should_save(item, state, io)) {
        return;
    }
    if (p->filepath != NULL) {
        dlt_buf name = {0};
        const char *wrong = append_name(&name, p->filepath, io->epoch, batch, io->logs);
        io->save_path = wrong == NULL && !name.failed
                            ? dlt_arena_copy(io->arena, dlt_buf_text(&name), name.length)
                            : NULL;
        dlt_buf_release(&name);
        if (io->save_path == NULL && wrong == NULL) {
            dlt_fail_memory(io->diag);
            return;
        }
        if (io->save_path == NULL) {
            dlt_warn(io->diag, dlt_item_pos(item, "filepath"),
                     "ModelCheckpoint: epoch %lld has no value for {%.40s; not saved",
                     (long long)io->epoch + 1, wrong);
            return;
        }
    }
    io->save = true;
    io->save_weights_only = p->save_weights_only;
    if (p->verbose > 0) {
        dlt_note(io->diag, (dlt_pos){0}, "epoch %lld: saving %s", (long long)io->epoch + 1,
                 io->save_path != NULL ? io->save_path : "a checkpoint");
    }
}

static void train_begin(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io)
{
    const checkpoint_params *p = item->params;
    (void)io;
    state->number[BEST] = p->initial_value_threshold.value;
    state->integer[HAS_BEST] = p->initial_value_threshold.set;
}

static void batch_end(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io)
{
    const int64_t every = frequency(item->params);
    if (every > 0 && ++state->integer[SEEN] >= every) {
        state->integer[SEEN] = 0;
        save(item, state, io, io->batch);
    }
}

static void epoch_end(const dlt_item *item, dlt_callback_state *state, dlt_callback_io *io)
{
    if (frequency(item->params) == 0) {
        save(item, state, io, -1);
    }
}

static bool wants_batches(const dlt_item *item)
{
    return frequency(item->params) > 0;
}

static bool watches(const dlt_item *item)
{
    return ((const checkpoint_params *)item->params)->save_best_only;
}

const dlt_callback_desc dlt_callback_model_checkpoint = {
    .kind = {.name = "ModelCheckpoint",
             .doc = "saves checkpoints, all or the best",
             .size = sizeof(checkpoint_params),
             .fields = fields,
             .check = check},
    .monitor = offsetof(checkpoint_params, monitor),
    .watches = watches,
    .mode = offsetof(checkpoint_params, mode),
    .train_begin = train_begin,
    .batch_end = batch_end,
    .epoch_end = epoch_end,
    .wants_batches = wants_batches,
    .check_logs = check_logs,
};
