/* trainer/compare.c: are two runs the same, bit for bit? */
#include "trainer/compare.h"

#include "base/alloc.h"
#include "base/num.h"
#include "io/data/convert.h"
#include "io/file.h"
#include "io/h5/checkpoint.h"
#include "trainer/rundir.h"
#include "trainer/session.h"
#include "trainer/variables.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { MOST_SHOWN = 5 };
static const size_t file_limit = (size_t)1 << 33;

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* What an array is, in the order in which differences are told: the first line names the first weight. */
typedef enum part_of_model { WEIGHT, OPTIMIZER, STATE, PARTS } part_of_model;

static part_of_model part_of(const char *path)
{
    return starts_with(path, "/layers/") ? WEIGHT : starts_with(path, "/optimizer/") ? OPTIMIZER : STATE;
}

static void count_entry(const char *path, dlt_comparison *c)
{
    const part_of_model part = part_of(path);
    c->weights += part == WEIGHT;
    c->optimizer += part == OPTIMIZER;
    c->state += part == STATE && starts_with(path, "/dltrain/");
}

/* One more array differs; true if there is room to tell how. */
static bool note_difference(dlt_comparison *c)
{
    return c->differences++ < MOST_SHOWN;
}

/* What is being compared. */
typedef struct comparing {
    const dlt_run_spec *spec; /* NULL: places are not known */
    bool callbacks;           /* what they remember too */
    dlt_session *session;     /* made at the first difference */
    const dlt_saved *list;    /* its arrays */
    int count;
    dlt_comparison *found;
    dlt_buf *out;
    dlt_diag *diag;
} comparing;

/* What a run was trained with and on is no part of what came out of it: the paths of callbacks' files stand there. */
static bool is_compared(const comparing *c, const char *path)
{
    return strcmp(path, "/dltrain/config") != 0 && strcmp(path, "/dltrain/device") != 0 &&
           (c->callbacks || !starts_with(path, "/dltrain/callbacks/"));
}

/* Opens the model to see which arrays belong to which layer. What cannot be found out is left out. */
static void find_places(comparing *c)
{
    const dlt_session_options options = {.depth = DLT_DEPTH_SCAN, .train = true};
    dlt_diag *unheard = dlt_diag_create();
    if (unheard != NULL && dlt_session_open(c->spec, &options, &c->session, unheard) == DLT_OK &&
        dlt_saved_list(c->session->arena, c->session->engine->variables, c->session->spec->optimizer,
                       DLT_SAVED_WEIGHTS | DLT_SAVED_OPTIMIZER | DLT_SAVED_STATE, &c->list, &c->count,
                       unheard) != DLT_OK) {
        c->count = 0;
    }
    dlt_diag_destroy(unheard);
    c->spec = NULL;
}

/* ", dense/kernel at model.yaml:7:5" behind the path of an array, where the model file has a place for it. */
static void put_place(comparing *c, const char *path)
{
    if (c->spec != NULL) {
        find_places(c);
    }
    for (int i = 0; i < c->count; i++) {
        const dlt_variable *v = c->list[i].part != NULL ? c->list[i].part : c->list[i].variable;
        if (strcmp(c->list[i].path, path + (path[0] == '/')) == 0 && v->pos.line > 0) {
            dlt_buf_printf(c->out, " (%s, %s:%u:%u)", v->path, v->pos.file, v->pos.line, v->pos.column);
        }
    }
}

/* "  /optimizer/vars/3 (dense/kernel, model.yaml:7:5): 12 of 640 elements differ, the first at 7: 0.1 and 0.2" */
static void put_difference(comparing *c, const dlt_checkpoint_entry *e, const char *a, const char *b)
{
    dlt_buf *out = c->out;
    const size_t size = dlt_dtype_size(e->dtype);
    const int64_t count = dlt_shape_count(&e->shape);
    int64_t differing = 0, first = -1;
    for (int64_t i = 0; i < count; i++) {
        if (memcmp(a + (size_t)i * size, b + (size_t)i * size, size) != 0) {
            first = first < 0 ? i : first;
            differing++;
        }
    }
    if (e->dtype == DLT_U8) { /* text */
        const size_t from = first > 24 ? (size_t)first - 24 : 0,
                     bytes = (size_t)count - from < 48 ? (size_t)count - from : 48;
        dlt_buf_printf(out, "  %s: differs at byte %lld: \"", e->path, (long long)first);
        dlt_buf_escaped(out, a + from, bytes);
        dlt_buf_string(out, "\" and \"");
        dlt_buf_escaped(out, b + from, bytes);
        dlt_buf_string(out, "\"\n");
        return;
    }
    char x[40], y[40];
    dlt_format_double(dlt_element_value(e->dtype, a, (size_t)first), x, sizeof x);
    dlt_format_double(dlt_element_value(e->dtype, b, (size_t)first), y, sizeof y);
    dlt_buf_printf(out, "  %s", e->path);
    put_place(c, e->path);
    dlt_buf_printf(out, ": %lld of %lld elements differ, the first at %lld: %s and %s\n", (long long)differing,
                   (long long)count, (long long)first, x, y);
}

static dlt_status compare_entry(comparing *c, dlt_checkpoint *a, dlt_checkpoint *b,
                                const dlt_checkpoint_entry *e)
{
    dlt_diag *diag = c->diag;
    const dlt_checkpoint_entry *other = dlt_checkpoint_find(b, e->path);
    count_entry(e->path, c->found);
    if (other == NULL || other->dtype != e->dtype || !dlt_shape_equal(&other->shape, &e->shape)) {
        if (note_difference(c->found)) {
            dlt_buf_printf(c->out, "  %s: %s\n", e->path, other == NULL ? "missing" : "another type or shape");
        }
        return DLT_OK;
    }
    const size_t bytes = (size_t)dlt_shape_count(&e->shape) * dlt_dtype_size(e->dtype);
    char *x = dlt_alloc(bytes + 1), *y = dlt_alloc(bytes + 1);
    dlt_status status = x != NULL && y != NULL ? DLT_OK : dlt_fail_memory(diag);
    status = status == DLT_OK ? dlt_checkpoint_read(a, e->path, e->dtype, &e->shape, x, diag) : status;
    status = status == DLT_OK ? dlt_checkpoint_read(b, e->path, e->dtype, &e->shape, y, diag) : status;
    if (status == DLT_OK && memcmp(x, y, bytes) != 0 && note_difference(c->found)) {
        put_difference(c, e, x, y);
    }
    dlt_free(x);
    dlt_free(y);
    return status;
}

static dlt_status compare_checkpoints(comparing *how, const char *path, const char *other)
{
    dlt_comparison *c = how->found;
    dlt_buf *out = how->out;
    dlt_diag *diag = how->diag;
    dlt_checkpoint *a = NULL, *b = NULL;
    dlt_status status = dlt_checkpoint_open(path, DLT_CHECKPOINT_OURS, &a, diag);
    status = status == DLT_OK ? dlt_checkpoint_open(other, DLT_CHECKPOINT_OURS, &b, diag) : status;
    for (int part = WEIGHT; part < PARTS; part++) {
        for (size_t i = 0; status == DLT_OK && i < dlt_checkpoint_count(a); i++) {
            const dlt_checkpoint_entry *e = dlt_checkpoint_at(a, i);
            if ((int)part_of(e->path) == part && is_compared(how, e->path)) {
                status = compare_entry(how, a, b, e);
            }
        }
    }
    if (c->differences > MOST_SHOWN) {
        dlt_buf_printf(out, "  and %d arrays more\n", c->differences - MOST_SHOWN);
    }
    if (status == DLT_OK && dlt_checkpoint_count(a) != dlt_checkpoint_count(b)) {
        dlt_buf_printf(out, "  the checkpoints have %zu and %zu arrays\n", dlt_checkpoint_count(a),
                       dlt_checkpoint_count(b));
        c->differences++;
    }
    dlt_checkpoint_close(a);
    dlt_checkpoint_close(b);
    return status;
}

static dlt_status compare_files(const char *run, const char *other, const char *file, dlt_comparison *c,
                                dlt_buf *out, dlt_diag *diag)
{
    char *a = dlt_path_join(run, file), *b = dlt_path_join(other, file), *x = NULL, *y = NULL;
    size_t m = 0, n = 0;
    c->files++;
    dlt_status status = a != NULL && b != NULL ? DLT_OK : dlt_fail_memory(diag);
    status = status == DLT_OK ? dlt_file_load(a, file_limit, DLT_E_CHECKPOINT, (dlt_pos){0}, &x, &m, diag)
                              : status;
    status = status == DLT_OK ? dlt_file_load(b, file_limit, DLT_E_CHECKPOINT, (dlt_pos){0}, &y, &n, diag)
                              : status;
    if (status == DLT_OK && (m != n || memcmp(x, y, m) != 0)) {
        size_t line = 1, at = 0;
        while (at < m && at < n && x[at] == y[at]) {
            line += x[at++] == '\n';
        }
        dlt_buf_printf(out, "  %s: differs from line %zu on\n", file, line);
        c->differences++;
    }
    dlt_free(x);
    dlt_free(y);
    dlt_free(a);
    dlt_free(b);
    return status;
}

dlt_status dlt_runs_compare(const dlt_run_spec *spec, const char *run, const char *other, bool callbacks,
                            dlt_comparison *comparison, dlt_buf *out, dlt_diag *diag)
{
    comparing how = {.spec = spec, .callbacks = callbacks, .found = comparison, .out = out, .diag = diag};
    dlt_arena *arena = dlt_arena_create();
    *comparison = (dlt_comparison){0};
    const char *a = arena != NULL ? dlt_final_weights_of(run, arena) : NULL;
    const char *b = arena != NULL ? dlt_final_weights_of(other, arena) : NULL;
    dlt_status status =
        a != NULL && b != NULL ? compare_checkpoints(&how, a, b) : dlt_fail_memory(diag);
    dlt_session_close(how.session);
    status = status == DLT_OK ? compare_files(run, other, "history.csv", comparison, out, diag) : status;
    status = status == DLT_OK ? compare_files(run, other, "metrics.jsonl", comparison, out, diag) : status;
    dlt_arena_destroy(arena);
    return status;
}

static bool has_file(const char *folder, const char *name)
{
    struct stat seen;
    char path[PATH_MAX]; /* needs no memory: a file that is there is not said to be missing */
    const int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    return length > 0 && (size_t)length < sizeof path && dlt_file()->stat(path, &seen) == 0;
}

/* Visits the files of `folder`: those that the other has too are compared if `both`, the others are told. */
static dlt_status compare_names(const char *folder, const char *other, bool both, dlt_comparison *c,
                                dlt_buf *out, dlt_diag *diag)
{
    DIR *open = opendir(folder);
    dlt_status status = DLT_OK;
    if (open == NULL) {
        return DLT_OK;
    }
    for (const struct dirent *e; status == DLT_OK && (e = readdir(open)) != NULL;) {
        if (e->d_name[0] == '.') {
            continue;
        }
        if (!has_file(other, e->d_name)) {
            dlt_buf_printf(out, "  %s: only one run wrote it\n", e->d_name);
            c->differences++;
        } else if (both) {
            status = compare_files(folder, other, e->d_name, c, out, diag);
        }
    }
    closedir(open);
    return status;
}

dlt_status dlt_folders_compare(const char *folder, const char *other, dlt_comparison *comparison,
                               dlt_buf *out, dlt_diag *diag)
{
    DLT_TRY(compare_names(folder, other, true, comparison, out, diag));
    return compare_names(other, folder, false, comparison, out, diag);
}
