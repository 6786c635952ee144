/* tests/support/golden.c: reading golden vectors. NPZ is a zip file of .npy files: magic, version 1.0, a
 * Python dict as text. */
#include "support/golden.h"

#include "base/num.h"
#include "base/text.h"
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

/* ---- NPZ ---- */

static dlt_dtype type_of(const char *header)
{
    if (strstr(header, "'<f4'") != NULL) {
        return DLT_F32;
    }
    if (strstr(header, "'<i4'") != NULL) {
        return DLT_I32;
    }
    assert_non_null(strstr(header, "'|u1'"));
    return DLT_U8;
}

/* The tuple behind 'shape': */
static dlt_shape shape_of(const char *header)
{
    dlt_shape shape = {.rank = 0};
    const char *at = strstr(header, "'shape': (");
    assert_non_null(at);
    at += strlen("'shape': (");
    while (*at != ')') {
        const size_t digits = strspn(at, "0123456789");
        assert_true(digits > 0 && shape.rank < DLT_MAX_RANK);
        assert_true(dlt_parse_i64(at, digits, &shape.dim[shape.rank++]));
        at += digits;
        at += strspn(at, ", ");
    }
    return shape;
}

static void read_array(dlt_golden *g, dlt_golden_array *array, const char *name, const unsigned char *bytes,
                       size_t size)
{
    assert_true(size > 10 && memcmp(bytes, "\x93NUMPY\x01\x00", 8) == 0);
    const size_t header_bytes = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    assert_true(size >= 10 + header_bytes);
    const char *header = dlt_arena_copy(g->arena, (const char *)bytes + 10, header_bytes);
    array->name = dlt_arena_copy(g->arena, name, strlen(name) - strlen(".npy"));
    array->type = type_of(header);
    array->shape = shape_of(header);
    const int64_t count = dlt_shape_count(&array->shape);
    const size_t element = dlt_dtype_size(array->type);
    assert_true(size == 10 + header_bytes + (size_t)count * element);
    array->values = dlt_arena_alloc(g->arena, (size_t)count, sizeof(double));
    assert_non_null(array->values);
    for (int64_t i = 0; i < count; i++) {
        const unsigned char *at = bytes + 10 + header_bytes + (size_t)i * element;
        float f;
        int32_t n;
        memcpy(&f, at, array->type == DLT_F32 ? sizeof f : 0);
        memcpy(&n, at, array->type == DLT_I32 ? sizeof n : 0);
        array->values[i] = array->type == DLT_F32   ? (double)f
                           : array->type == DLT_I32 ? (double)n
                                                    : (double)*at;
    }
}

static void read_npz(dlt_golden *g, const char *path)
{
    int error;
    zip_t *zip = zip_open(path, ZIP_RDONLY, &error);
    assert_non_null(zip);
    g->count = (int)zip_get_num_entries(zip, 0);
    g->arrays = dlt_arena_alloc(g->arena, (size_t)g->count, sizeof *g->arrays);
    assert_non_null(g->arrays);
    for (int i = 0; i < g->count; i++) {
        zip_stat_t stat;
        assert_int_equal(zip_stat_index(zip, (zip_uint64_t)i, 0, &stat), 0);
        unsigned char *bytes = malloc((size_t)stat.size + 1);
        zip_file_t *file = zip_fopen_index(zip, (zip_uint64_t)i, 0);
        assert_non_null(file);
        assert_true(zip_fread(file, bytes, stat.size) == (zip_int64_t)stat.size);
        zip_fclose(file);
        read_array(g, &g->arrays[i], stat.name, bytes, (size_t)stat.size);
        free(bytes);
    }
    zip_discard(zip);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const dlt_golden_array *)a)->name, ((const dlt_golden_array *)b)->name);
}

dlt_golden *dlt_golden_open(const char *family)
{
    dlt_arena *arena = dlt_arena_create();
    assert_non_null(arena);
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/golden/%s.npz", DLT_SOURCE_DIR, family);
    FILE *there = fopen(path, "rb");
    if (there == NULL) {
        dlt_arena_destroy(arena);
        return NULL;
    }
    fclose(there);
    dlt_golden *g = dlt_arena_alloc(arena, 1, sizeof *g);
    assert_non_null(g);
    g->arena = arena;
    read_npz(g, path);
    qsort(g->arrays, (size_t)g->count, sizeof *g->arrays, by_name);
    dlt_diag *diag = dlt_diag_create();
    dlt_yaml *root = NULL;
    snprintf(path, sizeof path, "%s/tests/golden/%s.yaml", DLT_SOURCE_DIR, family);
    if (dlt_yaml_load(arena, path, &root, diag) != DLT_OK) {
        fail_msg("%s", dlt_diag_text(diag, 0));
    }
    dlt_diag_destroy(diag);
    assert_int_equal(root->type, DLT_YAML_LIST);
    g->cases = root;
    return g;
}

void dlt_golden_close(dlt_golden *golden)
{
    if (golden != NULL) {
        dlt_arena_destroy(golden->arena);
    }
}

const dlt_golden_array *dlt_golden_find(const dlt_golden *golden, const char *name, const char *key)
{
    char path[256];
    snprintf(path, sizeof path, "%s%s%s", name != NULL ? name : "", name != NULL ? "/" : "", key);
    const dlt_golden_array wanted = {.name = path};
    return bsearch(&wanted, golden->arrays, (size_t)golden->count, sizeof wanted, by_name);
}

/* ---- YAML ---- */

const char *dlt_golden_text(const dlt_yaml *node, const char *key)
{
    const dlt_yaml *value = dlt_yaml_get(node, key);
    return value != NULL && value->type == DLT_YAML_SCALAR ? value->text : NULL;
}

static void append_scalar(dlt_buf *out, const dlt_yaml *node)
{
    if (!node->quoted) {
        dlt_buf_string(out, node->text);
        return;
    }
    dlt_buf_char(out, '"');
    for (size_t i = 0; i < node->length; i++) {
        if (strchr("\"\\", node->text[i]) != NULL) {
            dlt_buf_char(out, '\\');
        }
        dlt_buf_char(out, node->text[i]);
    }
    dlt_buf_char(out, '"');
}

static void append_flow(dlt_buf *out, const dlt_yaml *node)
{
    switch (node->type) {
    case DLT_YAML_NULL:
        dlt_buf_string(out, "null");
        return;
    case DLT_YAML_SCALAR:
        append_scalar(out, node);
        return;
    case DLT_YAML_LIST:
    case DLT_YAML_MAP:
        break;
    }
    const bool map = node->type == DLT_YAML_MAP;
    dlt_buf_char(out, map ? '{' : '[');
    for (size_t i = 0; i < node->count; i++) {
        dlt_buf_string(out, i > 0 ? ", " : "");
        if (map) {
            append_scalar(out, node->keys[i]);
            dlt_buf_string(out, ": ");
        }
        append_flow(out, node->values[i]);
    }
    dlt_buf_char(out, map ? '}' : ']');
}

const char *dlt_golden_flow(dlt_arena *arena, const dlt_yaml *node)
{
    dlt_buf out = {0};
    append_flow(&out, node);
    assert_false(out.failed);
    const char *text = dlt_arena_string(arena, dlt_buf_text(&out));
    dlt_buf_release(&out);
    assert_non_null(text);
    return text;
}

/* ---- comparing ---- */

void dlt_assert_close(const char *what, const double *got, const double *expected, int64_t count,
                      double tolerance)
{
    double largest = 0;
    for (int64_t i = 0; i < count; i++) {
        largest = fmax(largest, isfinite(expected[i]) ? fabs(expected[i]) : 0);
    }
    for (int64_t i = 0; i < count; i++) {
        if (isnan(expected[i]) ? isnan(got[i]) : got[i] == expected[i]) {
            continue;
        }
        const double limit = tolerance * fmax(fabs(expected[i]), 0.1 * largest);
        if (!(fabs(got[i] - expected[i]) <= limit)) {
            fail_msg("%s: element %lld is %.9g, expected %.9g (off by %.2g, allowed %.2g)", what,
                     (long long)i, got[i], expected[i], fabs(got[i] - expected[i]), limit);
        }
    }
}
