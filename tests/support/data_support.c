/* tests/support/data_support.c */
#include "support/data_support.h"

#include "base/alloc.h"
#include "base/num.h"
#include "base/text.h"
#include "support/support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

int data_setup(void **state)
{
    data_fixture *f = dlt_alloc_zeroed(1, sizeof *f);
    f->arena = dlt_arena_create();
    f->diag = dlt_diag_create();
    snprintf(f->folder, sizeof f->folder, "%s/data-test-XXXXXX", DLT_BINARY_DIR);
    if (mkdtemp(f->folder) == NULL) {
        return -1;
    }
    *state = f;
    return 0;
}

static void remove_tree(const char *path)
{
    DIR *listing = opendir(path);
    for (const struct dirent *entry; listing != NULL && (entry = readdir(listing)) != NULL;) {
        char inner[1024];
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
            remove_tree(inner);
        }
    }
    if (listing != NULL) {
        closedir(listing);
    }
    remove(path);
}

int data_teardown(void **state)
{
    data_fixture *f = *state;
    remove_tree(f->folder);
    dlt_arena_destroy(f->arena);
    dlt_diag_destroy(f->diag);
    dlt_free(f);
    return 0;
}

const char *data_path(data_fixture *f, const char *name)
{
    return name[0] == '/' ? name : dlt_arena_printf(f->arena, "%s/%s", f->folder, name);
}

const char *data_file(data_fixture *f, const char *name, const void *bytes, size_t count)
{
    const char *path = data_path(f, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
    return path;
}

const char *data_text(data_fixture *f, const char *name, const char *text)
{
    return data_file(f, name, text, strlen(text));
}

const char *data_gzip(data_fixture *f, const char *name, const void *bytes, size_t count)
{
    const char *path = data_path(f, name);
    gzFile file = gzopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)count), (int)count);
    assert_int_equal(gzclose(file), Z_OK);
    return path;
}

const char *data_npy(data_fixture *f, const char *name, const char *descr, bool fortran, const char *shape,
                     const void *bytes, size_t count)
{
    char header[256];
    dlt_buf file = {0};
    int length = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", descr,
                          fortran ? "True" : "False", shape);
    const int padded = (10 + length + 1 + 63) / 64 * 64 - 10;
    dlt_buf_append(&file, "\x93NUMPY\x01\x00", 8);
    dlt_buf_char(&file, (char)(padded & 0xff));
    dlt_buf_char(&file, (char)(padded >> 8));
    dlt_buf_append(&file, header, (size_t)length);
    for (; length < padded - 1; length++) {
        dlt_buf_char(&file, ' ');
    }
    dlt_buf_char(&file, '\n');
    dlt_buf_append(&file, bytes, count);
    const char *path = data_file(f, name, file.data, file.length);
    dlt_buf_release(&file);
    return path;
}

const char *data_full(data_fixture *f, const char *relative)
{
    const char *folder = getenv("DLTRAIN_DATA");
    return folder != NULL ? dlt_arena_printf(f->arena, "%s/%s", folder, relative) : NULL;
}

const char *data_message(data_fixture *f, size_t i)
{
    const char *text = dlt_diag_text(f->diag, i);
    const size_t folder = strlen(f->folder);
    dlt_buf out = {0};
    while (*text != '\0') {
        if (strncmp(text, f->folder, folder) == 0) {
            text += folder + (text[folder] == '/');
        } else {
            dlt_buf_char(&out, *text++);
        }
    }
    const char *kept = dlt_arena_string(f->arena, dlt_buf_text(&out));
    dlt_buf_release(&out);
    return kept;
}

void data_forget(data_fixture *f)
{
    dlt_diag_reset(f->diag);
}

dlt_dataset *data_open_with(data_fixture *f, const dlt_item *item, dlt_depth depth,
                            dlt_dataset_options options)
{
    dlt_dataset *dataset = NULL;
    options.cache = options.cache != NULL ? options.cache : dlt_arena_printf(f->arena, "%s/cache", f->folder);
    const dlt_status status = dlt_dataset_open(item, depth, &options, &dataset, f->diag);
    assert_int_equal(status == DLT_OK, dataset != NULL);
    assert_int_equal(status, dlt_diag_status(f->diag));
    return dataset;
}

dlt_dataset *data_open(data_fixture *f, const dlt_item *item, dlt_depth depth)
{
    return data_open_with(f, item, depth, (dlt_dataset_options){.memory = 1 << 28, .threads = 1});
}

void *data_part(data_fixture *f, const dlt_dataset *dataset, size_t part)
{
    const dlt_record_layout *layout = &dlt_dataset_frame(dataset)->layout;
    const int64_t count = dlt_dataset_count(dataset);
    void **columns = dlt_arena_alloc(f->arena, layout->count, sizeof *columns);
    int64_t *rows = dlt_arena_alloc(f->arena, (size_t)count, sizeof *rows);
    columns[part] = dlt_arena_alloc(f->arena, (size_t)count, dlt_part_bytes(&layout->parts[part]));
    for (int64_t i = 0; i < count; i++) {
        rows[i] = i;
    }
    dlt_reader *reader = NULL;
    assert_int_equal(dlt_reader_create(dataset, count, &reader, f->diag), DLT_OK);
    assert_int_equal(dlt_reader_read(reader, rows, count, columns, f->diag), DLT_OK);
    dlt_reader_destroy(reader);
    return columns[part];
}

const char *data_digest(data_fixture *f, const dlt_dataset *dataset)
{
    const dlt_record_layout *layout = &dlt_dataset_frame(dataset)->layout;
    dlt_sha256 sha;
    uint8_t digest[DLT_SHA256_BYTES];
    char *text = dlt_arena_alloc(f->arena, DLT_SHA256_HEX, 1);
    dlt_sha256_init(&sha);
    for (size_t i = 0; i < layout->count; i++) {
        const void *values = data_part(f, dataset, i);
        dlt_sha256_update(&sha, values,
                          (size_t)dlt_dataset_count(dataset) * dlt_part_bytes(&layout->parts[i]));
    }
    dlt_sha256_final(&sha, digest);
    dlt_sha256_hex(digest, text);
    return text;
}

/* ---- items ---- */

/* A scalar of a list or map: up to one of `ends`, quotes and blanks taken away. */
static const char *take_scalar(dlt_arena *arena, const char **at, const char *ends)
{
    while (**at == ' ') {
        ++*at;
    }
    if (**at == '\'' || **at == '"') {
        const char quote = *(*at)++, *start = *at;
        while (**at != quote) {
            ++*at;
        }
        return dlt_arena_copy(arena, start, (size_t)((*at)++ - start));
    }
    const char *start = *at;
    while (**at != '\0' && strchr(ends, **at) == NULL) {
        ++*at;
    }
    size_t length = (size_t)(*at - start);
    while (length > 0 && start[length - 1] == ' ') {
        length--;
    }
    return dlt_arena_copy(arena, start, length);
}

/* "[a, b]", or one scalar, or "null" for none. */
static size_t take_list(dlt_arena *arena, const char *text, const char **items, size_t room)
{
    size_t count = 0;
    if (strcmp(text, "null") == 0) {
        return 0;
    }
    if (*text != '[') {
        const char *at = text;
        items[0] = take_scalar(arena, &at, "");
        return 1;
    }
    text++;
    while (*text != ']' && *text != '\0' && count < room) {
        items[count++] = take_scalar(arena, &text, ",]");
        while (*text == ' ' || *text == ',') {
            text++;
        }
    }
    return count;
}

static const char *const *keep_list(dlt_arena *arena, const char *const *items, size_t count)
{
    const char **kept = dlt_arena_alloc(arena, count, sizeof *kept);
    for (size_t i = 0; i < count; i++) {
        kept[i] = items[i];
    }
    return kept;
}

static double number(const char *text)
{
    double value = 0;
    assert_true(dlt_parse_double(text, strlen(text), &value));
    return value;
}

static void set_columns(data_fixture *f, dlt_columns *columns, const char *const *items, size_t count,
                        dlt_pos pos)
{
    dlt_column_ref *refs = dlt_arena_alloc(f->arena, count, sizeof *refs);
    for (size_t i = 0; i < count; i++) {
        refs[i].name = items[i];
        refs[i].number = dlt_parse_i64(items[i], strlen(items[i]), &refs[i].index);
        refs[i].pos = pos;
    }
    *columns = (dlt_columns){count, refs};
}

static void set_map(data_fixture *f, dlt_string_map *map, const char *text)
{
    const char *keys[64], *values[64];
    size_t count = 0;
    *map = (dlt_string_map){0};
    if (strcmp(text, "null") == 0) {
        return;
    }
    text++;
    while (*text != '}' && *text != '\0') {
        keys[count] = take_scalar(f->arena, &text, ":");
        text++;
        values[count++] = take_scalar(f->arena, &text, ",}");
        while (*text == ' ' || *text == ',') {
            text++;
        }
    }
    *map = (dlt_string_map){count, keep_list(f->arena, keys, count), keep_list(f->arena, values, count)};
}

static void set_field(data_fixture *f, const dlt_field *field, void *at, const char *text, dlt_pos pos)
{
    const char *items[64];
    const bool absent = strcmp(text, "null") == 0;
    const size_t count = field->type == DLT_FIELD_STRING_MAP ? 0 : take_list(f->arena, text, items, 64);
    switch (field->type) {
    case DLT_FIELD_INT:
        *(int64_t *)at = (int64_t)number(text);
        break;
    case DLT_FIELD_OPT_INT:
        *(dlt_opt_int *)at = (dlt_opt_int){!absent, absent ? 0 : (int64_t)number(text)};
        break;
    case DLT_FIELD_FLOAT:
        *(double *)at = number(text);
        break;
    case DLT_FIELD_BOOL:
        *(bool *)at = strcmp(text, "true") == 0;
        break;
    case DLT_FIELD_STRING:
    case DLT_FIELD_PATH:
        *(const char **)at = absent ? NULL : items[0];
        break;
    case DLT_FIELD_PATHS:
    case DLT_FIELD_STRINGS:
        *(dlt_strings *)at = (dlt_strings){count, keep_list(f->arena, items, count)};
        break;
    case DLT_FIELD_ENUM:
        for (*(int *)at = 0; strcmp(field->names[*(int *)at], text) != 0; ++*(int *)at) {
            assert_non_null(field->names[*(int *)at + 1]);
        }
        break;
    case DLT_FIELD_SHAPE: {
        int64_t *dims = dlt_arena_alloc(f->arena, count, sizeof *dims);
        for (size_t i = 0; i < count; i++) {
            dims[i] = (int64_t)number(items[i]);
        }
        *(dlt_ints *)at = (dlt_ints){count, dims};
        break;
    }
    case DLT_FIELD_COLUMNS:
        set_columns(f, at, items, count, pos);
        break;
    case DLT_FIELD_STRING_MAP:
        set_map(f, at, text);
        break;
    default:
        fail_msg("field %s has a type that sources do not have", field->name);
    }
}

const dlt_item *data_item(data_fixture *f, const dlt_category *category, const char *name, ...)
{
    const dlt_kind *kind = dlt_kind_find(category, name);
    assert_non_null(kind);
    const size_t count = dlt_field_count(kind->fields);
    dlt_item *item = dlt_arena_alloc(f->arena, 1, sizeof *item);
    char *params = dlt_arena_alloc(f->arena, 1, kind->size);
    dlt_pos *places = dlt_arena_alloc(f->arena, count, sizeof *places);
    *item = (dlt_item){.kind = kind,
                       .params = params,
                       .trainable = true,
                       .pos = {"model.yaml", 1, 1, 1},
                       .field_pos = places};
    for (size_t i = 0; i < count; i++) {
        if (!dlt_field_required(&kind->fields[i])) {
            set_field(f, &kind->fields[i], params + kind->fields[i].offset, kind->fields[i].def,
                      (dlt_pos){0});
        }
    }
    va_list pairs;
    va_start(pairs, name);
    for (const char *key; (key = va_arg(pairs, const char *)) != NULL;) {
        const char *value = va_arg(pairs, const char *);
        size_t i = 0;
        while (i < count && strcmp(kind->fields[i].name, key) != 0) {
            i++;
        }
        assert_true(i < count);
        places[i] = (dlt_pos){"model.yaml", 2 + (unsigned)i, 5, 1};
        set_field(f, &kind->fields[i], params + kind->fields[i].offset, value, places[i]);
    }
    va_end(pairs);
    return item;
}
