/* trainer/compare.c: are two runs the same, bit for bit? */
#include "trainer/compare.h"

#include "base/alloc.h"
#include "base/num.h"
#include "io/data/convert.h"
#include "io/file.h"
#include "io/h5/checkpoint.h"
#include "trainer/rundir.h"

#include <dirent.h>
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

/* "  /optimizer/vars/3: 12 of 640 elements differ, the first at 7: 0.1 and 0.2" */
static void put_difference(const dlt_checkpoint_entry *e, const char *a, const char *b, dlt_buf *out)
{
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
    dlt_buf_printf(out, "  %s: %lld of %lld elements differ, the first at %lld: %s and %s\n", e->path,
                   (long long)differing, (long long)count, (long long)first, x, y);
}

static dlt_status compare_entry(dlt_checkpoint *a, dlt_checkpoint *b, const dlt_checkpoint_entry *e,
                                dlt_comparison *c, dlt_buf *out, dlt_diag *diag)
{
    const dlt_checkpoint_entry *other = dlt_checkpoint_find(b, e->path);
    count_entry(e->path, c);
    if (other == NULL || other->dtype != e->dtype || !dlt_shape_equal(&other->shape, &e->shape)) {
        if (note_difference(c)) {
            dlt_buf_printf(out, "  %s: %s\n", e->path, other == NULL ? "missing" : "another type or shape");
        }
        return DLT_OK;
    }
    const size_t bytes = (size_t)dlt_shape_count(&e->shape) * dlt_dtype_size(e->dtype);
    char *x = dlt_alloc(bytes + 1), *y = dlt_alloc(bytes + 1);
    dlt_status status = x != NULL && y != NULL ? DLT_OK : dlt_fail_memory(diag);
    status = status == DLT_OK ? dlt_checkpoint_read(a, e->path, e->dtype, &e->shape, x, diag) : status;
    status = status == DLT_OK ? dlt_checkpoint_read(b, e->path, e->dtype, &e->shape, y, diag) : status;
    if (status == DLT_OK && memcmp(x, y, bytes) != 0 && note_difference(c)) {
        put_difference(e, x, y, out);
    }
    dlt_free(x);
    dlt_free(y);
    return status;
}

static dlt_status compare_checkpoints(const char *path, const char *other, dlt_comparison *c, dlt_buf *out,
                                      dlt_diag *diag)
{
    dlt_checkpoint *a = NULL, *b = NULL;
    dlt_status status = dlt_checkpoint_open(path, DLT_CHECKPOINT_OURS, &a, diag);
    status = status == DLT_OK ? dlt_checkpoint_open(other, DLT_CHECKPOINT_OURS, &b, diag) : status;
    for (int part = WEIGHT; part < PARTS; part++) {
        for (size_t i = 0; status == DLT_OK && i < dlt_checkpoint_count(a); i++) {
            const dlt_checkpoint_entry *e = dlt_checkpoint_at(a, i);
            if ((int)part_of(e->path) == part) {
                status = compare_entry(a, b, e, c, out, diag);
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

dlt_status dlt_runs_compare(const char *run, const char *other, dlt_comparison *comparison, dlt_buf *out,
                            dlt_diag *diag)
{
    dlt_arena *arena = dlt_arena_create();
    *comparison = (dlt_comparison){0};
    const char *a = arena != NULL ? dlt_final_weights_of(run, arena) : NULL;
    const char *b = arena != NULL ? dlt_final_weights_of(other, arena) : NULL;
    dlt_status status =
        a != NULL && b != NULL ? compare_checkpoints(a, b, comparison, out, diag) : dlt_fail_memory(diag);
    status = status == DLT_OK ? compare_files(run, other, "history.csv", comparison, out, diag) : status;
    status = status == DLT_OK ? compare_files(run, other, "metrics.jsonl", comparison, out, diag) : status;
    dlt_arena_destroy(arena);
    return status;
}

static bool has_file(const char *folder, const char *name)
{
    struct stat seen;
    char *path = dlt_path_join(folder, name);
    const bool has = path != NULL && dlt_file()->stat(path, &seen) == 0;
    dlt_free(path);
    return has;
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
