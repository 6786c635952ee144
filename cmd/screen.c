/* cmd/screen.c: what fit shows while it runs. */
#include "cmd/screen.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "cmd/print_diag.h"
#include "trainer/rundir.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BAR = 28, MOST_COLUMNS = 12 };

struct dlt_screen {
    int verbose;
    bool terminal, utf8;
    int width;
    bool bar_shown;
    dlt_run_log *log;  /* borrowed from the loop; NULL: none */
    dlt_diag *unheard; /* of writing to the log: its failure must not stop the screen */
    int64_t epoch_start_ns, last_bar_ns, last_line_ns;
    int64_t epoch, batch, batches, epochs;
    char values[256]; /* "loss 0.3127  accuracy 0.9041" */
    bool header_shown;
    char columns[MOST_COLUMNS][DLT_LOG_NAME];
    int column_count;
};

dlt_screen *dlt_screen_create(int verbose)
{
    dlt_screen *s = dlt_alloc_zeroed(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->verbose = verbose;
    s->terminal = isatty(STDERR_FILENO) == 1;
    s->width = dlt_print_options_for(STDERR_FILENO).width;
    /* setlocale is never called (numbers stay as they are), so the locale is asked by its variables */
    const char *locale = getenv("LC_ALL");
    locale = locale != NULL && locale[0] != '\0' ? locale : getenv("LC_CTYPE");
    locale = locale != NULL && locale[0] != '\0' ? locale : getenv("LANG");
    s->utf8 = locale != NULL && (strstr(locale, "UTF-8") != NULL || strstr(locale, "utf8") != NULL ||
                                 strstr(locale, "UTF8") != NULL);
    s->unheard = dlt_diag_create();
    return s;
}

void dlt_screen_destroy(dlt_screen *screen)
{
    if (screen != NULL) {
        dlt_diag_destroy(screen->unheard);
        dlt_free(screen);
    }
}

void dlt_format_figure(double value, char *text, size_t room)
{
    const double size = fabs(value);
    if (!isfinite(value)) {
        dlt_format_double(value, text, room);
    } else if (size != 0 && (size < 1e-3 || size >= 1e7)) {
        snprintf(text, room, "%.2e", value);
    } else if (size >= 1e4) {
        snprintf(text, room, "%.1f", value);
    } else if (size >= 100) {
        snprintf(text, room, "%.2f", value);
    } else {
        snprintf(text, room, "%.4f", value);
    }
}

/* Rates are round numbers: 1e-3 says more than 0.0010. */
static void format_rate(double value, char *text, size_t room)
{
    dlt_format_float((float)value, text, room);
    if (value > 0 && value < 0.01) {
        snprintf(text, room, "%.3g", value);
        char exact[32];
        for (int digits = 0; digits < 3; digits++) {
            snprintf(exact, sizeof exact, "%.*e", digits, value);
            if (fabs(strtod(exact, NULL) - value) <= 1e-6 * value) {
                char *e = strchr(exact, 'e');
                const int power = e != NULL ? (int)strtol(e + 1, NULL, 10) : 0;
                snprintf(text, room, "%.*se%d", e != NULL ? (int)(e - exact) : 0, exact, power);
                return;
            }
        }
    }
}

static void clear_bar(dlt_screen *s)
{
    if (s->bar_shown) {
        fputs("\r\033[K", stderr);
        s->bar_shown = false;
    }
}

static void put_line(dlt_screen *s, const char *text)
{
    if (s->verbose > 0) {
        clear_bar(s);
        fprintf(stderr, "%s\n", text);
    }
    if (s->log != NULL && s->unheard != NULL) {
        dlt_buf line = {0};
        dlt_buf_printf(&line, "%s\n", text);
        if (!line.failed) {
            (void)dlt_run_log_append(s->log, line.data, line.length, s->unheard);
        }
        dlt_buf_release(&line);
        dlt_diag_reset(s->unheard);
    }
}

/* The text; where there was no memory for all of it, that. */
static void put_text(dlt_screen *s, const dlt_buf *text)
{
    put_line(s, text->failed ? "(no memory for a line)" : dlt_buf_text(text));
}

void dlt_screen_line(dlt_screen *s, const char *fmt, ...)
{
    dlt_buf text = {0};
    va_list args;
    va_start(args, fmt);
    dlt_buf_vprintf(&text, fmt, args);
    va_end(args);
    put_text(s, &text);
    dlt_buf_release(&text);
}

/* ---- events ---- */

/* Where the records lie, and the memory they take there: that comes on top of what is planned. */
static void show_records(dlt_screen *s, const dlt_session *session)
{
    const dlt_view *train = session->data != NULL ? dlt_datasets_view(session->data, DLT_TRAIN) : NULL;
    char bytes[40];
    if (train == NULL) {
        return;
    }
    dlt_format_bytes(dlt_datasets_resident(session->data), bytes, sizeof bytes);
    if (dlt_dataset_memory(train->dataset) > 0) {
        dlt_screen_line(s, "%-11s %s in memory", "records", bytes);
    } else {
        dlt_screen_line(s, "%-11s %s in memory; train's: %s", "records", bytes,
                        dlt_dataset_place(train->dataset));
    }
}

static void on_start(void *context, const dlt_fit_start *start)
{
    dlt_screen *s = context;
    const dlt_session *session = start->session;
    char parameters[40], bytes[40];
    dlt_buf device = {0}, data = {0};
    static const char *const precisions[] = {"float32", "mixed_bfloat16", "mixed_float16"};
    s->log = start->log;
    s->epochs = session->spec->fit.epochs;
    session->engine->backend->describe(session->engine->device, &device);
    dlt_signature_text(session->signature, &data);
    dlt_format_count(start->parameters, parameters, sizeof parameters);
    dlt_format_bytes((uint64_t)start->planned_bytes, bytes, sizeof bytes);
    dlt_screen_line(s, "%-11s %s parameters   %d layers   %s   %s", session->spec->name, parameters,
                    start->layers, dlt_buf_text(&device), precisions[session->spec->precision]);
    dlt_screen_line(s, "%-11s %s", "data", dlt_buf_text(&data));
    show_records(s, session);
    if (start->run != NULL) {
        dlt_screen_line(s, "%-11s %s planned, fixed from here on   run  %s", "memory", bytes,
                        dlt_shown_path(start->run));
    } else {
        dlt_screen_line(s, "%-11s %s planned, fixed from here on", "memory", bytes);
    }
    if (start->resumed) {
        const dlt_progress *p = start->progress;
        dlt_screen_line(
            s, "resuming at epoch %lld, %s%lld; %s%s", (long long)p->epoch + 1,
            p->trained ? "its validation, step " : "batch ", (long long)(p->trained ? p->step : p->batch),
            start->exact ? "continues bit for bit" : "not bit for bit: ", start->exact ? "" : start->why_not);
    }
    dlt_buf_release(&device);
    dlt_buf_release(&data);
}

static void draw_bar(dlt_screen *s)
{
    const double share = s->batches > 0 ? (double)s->batch / (double)s->batches : 0;
    const double seconds = dlt_seconds_since(s->epoch_start_ns);
    char left[40], line[512];
    size_t at = 0;
    dlt_format_seconds(share > 0 ? seconds * (1 - share) / share : -1, left, sizeof left);
    at += (size_t)snprintf(line, sizeof line, "epoch %2lld/%lld  ", (long long)s->epoch + 1,
                           (long long)s->epochs);
    const int eighths = (int)(share * BAR * 8);
    for (int i = 0; i < BAR && at + 4 < sizeof line; i++) {
        static const char *const parts[] = {"\xe2\x96\x8f", "\xe2\x96\x8e", "\xe2\x96\x8d", "\xe2\x96\x8c",
                                            "\xe2\x96\x8b", "\xe2\x96\x8a", "\xe2\x96\x89"};
        const int here = eighths - 8 * i;
        const char *cell = here >= 8             ? (s->utf8 ? "\xe2\x96\x88" : "#")
                           : here > 0 && s->utf8 ? parts[here - 1]
                           : s->utf8             ? "\xc2\xb7"
                                                 : ".";
        at += (size_t)snprintf(line + at, sizeof line - at, "%s", cell);
    }
    snprintf(line + at, sizeof line - at, "  %lld/%lld  %s left  %s", (long long)s->batch,
             (long long)s->batches, left, s->values);
    /* a line that is wider than the terminal would wrap and could not be taken back */
    size_t columns = 0, bytes = 0;
    while (line[bytes] != '\0' && columns < (size_t)(s->width > 1 ? s->width - 1 : 79)) {
        columns++;
        for (bytes++; ((unsigned char)line[bytes] & 0xC0) == 0x80; bytes++) {
        }
    }
    fprintf(stderr, "\r%.*s\033[K", (int)bytes, line);
    (void)fflush(stderr);
    s->bar_shown = true;
}

static void on_batch(void *context, const dlt_fit_batch *batch)
{
    dlt_screen *s = context;
    if (batch->epoch != s->epoch || batch->batch <= 1 || s->epoch_start_ns == 0) {
        if (batch->epoch != s->epoch || s->epoch_start_ns == 0) {
            s->epoch_start_ns = dlt_clock_ns();
            s->last_line_ns = s->epoch_start_ns;
        }
    }
    s->epoch = batch->epoch;
    s->batch = batch->batch;
    s->batches = batch->batches;
    if (s->verbose != 1) {
        return;
    }
    if (s->terminal) {
        if (dlt_seconds_since(s->last_bar_ns) >= 0.1) {
            draw_bar(s);
            s->last_bar_ns = dlt_clock_ns();
        }
    } else if (dlt_seconds_since(s->last_line_ns) >= 60) {
        char stamp[32], left[40];
        const double share = (double)s->batch / (double)s->batches;
        dlt_clock_utc(stamp, sizeof stamp);
        dlt_format_seconds(dlt_seconds_since(s->epoch_start_ns) * (1 - share) / share, left, sizeof left);
        dlt_screen_line(s, "%s  epoch %lld/%lld  %lld/%lld  %s left  %s", stamp, (long long)s->epoch + 1,
                        (long long)s->epochs, (long long)s->batch, (long long)s->batches, left, s->values);
        s->last_line_ns = dlt_clock_ns();
    }
}

static void on_values(void *context, const dlt_logs *logs)
{
    dlt_screen *s = context;
    size_t at = 0;
    s->values[0] = '\0';
    for (int i = 0; i < logs->count && i < 4 && at < sizeof s->values; i++) {
        char figure[32];
        dlt_format_figure(logs->at[i].value, figure, sizeof figure);
        const int n = snprintf(s->values + at, sizeof s->values - at, "%s%s %s", i > 0 ? "  " : "",
                               logs->at[i].name, figure);
        at += n > 0 ? (size_t)n : 0;
    }
}

/* Columns of the table: loss, the metrics, then their val_ twins; the rate apart. */
static void choose_columns(dlt_screen *s, const dlt_logs *logs)
{
    s->column_count = 0;
    for (int pass = 0; pass < 4; pass++) { /* loss, others, val_loss, val_ others */
        for (int i = 0; i < logs->count && s->column_count < MOST_COLUMNS; i++) {
            const char *name = logs->at[i].name;
            const bool val = dlt_text_starts(name, "val_");
            const bool loss = strcmp(val ? name + 4 : name, "loss") == 0;
            const int belongs = (val ? 2 : 0) + (loss ? 0 : 1);
            if (belongs == pass && strcmp(name, "learning_rate") != 0) {
                snprintf(s->columns[s->column_count++], sizeof s->columns[0], "%s", name);
            }
        }
    }
}

static void on_epoch(void *context, const dlt_fit_epoch *epoch)
{
    dlt_screen *s = context;
    char text[64], seconds[40];
    dlt_buf line = {0};
    if (!s->header_shown) {
        choose_columns(s, epoch->logs);
        dlt_buf_string(&line, "  epoch");
        for (int i = 0; i < s->column_count; i++) {
            const int width = (int)strlen(s->columns[i]) > 9 ? (int)strlen(s->columns[i]) : 9;
            dlt_buf_printf(&line, "  %*s ", width, s->columns[i]);
        }
        if (dlt_logs_find(epoch->logs, "learning_rate") != NULL) {
            dlt_buf_printf(&line, "  %7s", "lr");
        }
        dlt_buf_string(&line, "     time");
        put_text(s, &line);
        dlt_buf_reset(&line);
        s->header_shown = true;
    }
    snprintf(text, sizeof text, "%lld/%lld", (long long)epoch->epoch + 1, (long long)epoch->epochs);
    dlt_buf_printf(&line, "%7s", text);
    for (int i = 0; i < s->column_count; i++) {
        const int width = (int)strlen(s->columns[i]) > 9 ? (int)strlen(s->columns[i]) : 9;
        const dlt_log_entry *e = dlt_logs_find(epoch->logs, s->columns[i]);
        const bool marked =
            epoch->best && epoch->monitor != NULL && strcmp(epoch->monitor, s->columns[i]) == 0;
        text[0] = '\0';
        if (e != NULL) {
            dlt_format_figure(e->value, text, sizeof text);
        }
        dlt_buf_printf(&line, "  %*s%c", width, text, marked ? '*' : ' ');
    }
    const dlt_log_entry *rate = dlt_logs_find(epoch->logs, "learning_rate");
    if (rate != NULL) {
        format_rate(rate->value, text, sizeof text);
        dlt_buf_printf(&line, "  %7s", text);
    }
    dlt_format_seconds(epoch->seconds, seconds, sizeof seconds);
    dlt_buf_printf(&line, "  %7s", seconds);
    if (epoch->train_seconds > 0) {
        const double speed = (double)epoch->rows / epoch->train_seconds;
        dlt_buf_printf(&line,
                       speed >= 1e6   ? "  %.1f M/s"
                       : speed >= 1e3 ? "  %.1f k/s"
                                      : "  %.1f /s",
                       speed >= 1e6   ? speed * 1e-6
                       : speed >= 1e3 ? speed * 1e-3
                                      : speed);
    }
    put_text(s, &line);
    dlt_buf_release(&line);
    if (epoch->waiting > 0.1 && epoch->train_seconds > 1) {
        dlt_screen_line(s,
                        "waiting for data %.0f %% of the time: more data.workers, or data.memory large "
                        "enough to hold the records, may help",
                        epoch->waiting * 100);
    }
    s->epoch_start_ns = 0;
    s->values[0] = '\0';
}

static void on_message(void *context, dlt_severity severity, const char *text)
{
    dlt_screen *s = context;
    const int verbose = s->verbose;
    if (severity != DLT_NOTE) {
        s->verbose = verbose > 0 ? verbose : 1; /* said even when nothing else is */
    }
    dlt_screen_line(s, "%s%s", severity == DLT_WARNING ? "warning: " : "", text);
    s->verbose = verbose;
}

static void show_figures(dlt_screen *s, const char *head, const dlt_log_entry *entries, int count)
{
    dlt_buf line = {0};
    char figure[40];
    dlt_buf_printf(&line, "%-7s", head);
    for (int i = 0; i < count; i++) {
        dlt_format_figure(entries[i].value, figure, sizeof figure);
        dlt_buf_printf(&line, "%s%s %s", i > 0 ? "   " : "  ", entries[i].name, figure);
    }
    put_text(s, &line);
    dlt_buf_release(&line);
}

static void on_end(void *context, const dlt_fit_result *r)
{
    dlt_screen *s = context;
    char figure[40];
    const char *run = dlt_shown_path(r->run);
    char restored[64] = "";
    if (r->restored_epoch > 0) {
        snprintf(restored, sizeof restored, "weights of epoch %lld restored", (long long)r->restored_epoch);
    }
    if (r->stop_reason != NULL) {
        dlt_screen_line(s, "stopped: %s%s%s", r->stop_reason, restored[0] != '\0' ? "; " : "", restored);
    } else if (restored[0] != '\0') {
        dlt_screen_line(s, "%s", restored);
    }
    if (r->outcome == DLT_FIT_DONE_BEFORE) {
        dlt_format_figure(r->best, figure, sizeof figure);
        const bool best = !isnan(r->best) && r->monitor[0] != '\0';
        dlt_screen_line(s, "done already: %lld epochs%s%s%s%s (%s)", (long long)r->epochs_done,
                        best ? ", " : "", best ? r->monitor : "", best ? " " : "", best ? figure : "", run);
        dlt_screen_line(s, "to train on: -o fit.epochs=%lld      to start over: --resume never",
                        (long long)r->epochs_done * 2);
    } else if (r->outcome == DLT_FIT_STOPPED) {
        dlt_screen_line(s, "stopped by a signal after step %lld; saved in %s", (long long)r->steps, run);
        dlt_screen_line(s, "next     the same command goes on from here");
    } else {
        if (r->has_test) {
            show_figures(s, "test", r->test, r->test_count);
        }
        dlt_screen_line(s, "saved    %s", run);
        dlt_buf word = {0};
        dlt_buf_shell(&word, run);
        const char *shown = word.failed ? run : dlt_buf_text(&word);
        dlt_screen_line(s, "next     dltrain evaluate %s", shown);
        dlt_screen_line(s, "         dltrain predict  %s --input FILE", shown);
        dlt_buf_release(&word);
    }
    s->log = NULL;
}

dlt_fit_events dlt_screen_events(dlt_screen *screen)
{
    return (dlt_fit_events){.context = screen,
                            .start = on_start,
                            .batch = on_batch,
                            .epoch = on_epoch,
                            .message = on_message,
                            .values = screen->verbose == 1 ? on_values : NULL,
                            .end = on_end};
}
