/* io/data/source.c: what all source kinds share. */
#include "io/data/source.h"

#include "base/alloc.h"
#include "io/data/data_spec.h"

#include <errno.h>
#include <glob.h>
#include <string.h>

/* ---- the list ---- */

#define DLT_SOURCE(name, file) extern const dlt_source_desc dlt_source_##file;
#include "io/data/sources.def"
#undef DLT_SOURCE

static const dlt_field split_fields[] = {
    DLT_FLOAT_OPEN(dlt_split_params, fraction, 0, 1, DLT_FIELD_OPEN_MIN | DLT_FIELD_OPEN_MAX, DLT_REQUIRED,
                   "part of train that is set aside: its last rows, as in Keras"),
    DLT_BOOL(dlt_split_params, shuffle, false, "take rows at random (by the seed), not the last ones"),
    DLT_BOOL(dlt_split_params, stratify, false, "take the same part of every class"),
    {0},
};
const dlt_kind dlt_split_kind = {
    .name = "split",
    .doc = "a fraction of the training data",
    .size = sizeof(dlt_split_params),
    .fields = split_fields,
    .scalar_field = "fraction",
};

#define DLT_SOURCE(name, file) &dlt_source_##file.kind,
static const dlt_kind *const source_kinds[] = {
#include "io/data/sources.def"
};
static const dlt_kind *const validation_kinds[] = {
#include "io/data/sources.def"
    &dlt_split_kind,
};
#undef DLT_SOURCE

const dlt_category dlt_source_category = {.name = "source",
                                          .doc = "where records come from",
                                          .kinds = source_kinds,
                                          .count = DLT_COUNT(source_kinds)};
const dlt_category dlt_validation_category = {.name = "validation",
                                              .doc = "records to validate with: a source, or a part of train",
                                              .kinds = validation_kinds,
                                              .count = DLT_COUNT(validation_kinds)};

const dlt_source_desc *dlt_source_desc_of(const dlt_item *item)
{
    return (const dlt_source_desc *)(const void *)item->kind; /* kind is the first member */
}

/* ---- life ---- */

dlt_status dlt_source_create(const dlt_item *item, const dlt_source_options *options, dlt_source **source,
                             dlt_diag *diag)
{
    *source = dlt_alloc_zeroed(1, sizeof **source);
    if (*source == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_source *s = *source;
    s->item = item;
    s->options = *options;
    s->stats.classes.other = -1;
    s->arena = dlt_arena_create();
    if (s->arena == NULL) {
        return dlt_fail_memory(diag);
    }
    return dlt_source_desc_of(item)->files(s, diag);
}

dlt_status dlt_source_open(dlt_source *source, dlt_diag *diag)
{
    return dlt_source_desc_of(source->item)->open(source, diag);
}

void dlt_source_close(dlt_source *source)
{
    if (source == NULL) {
        return;
    }
    dlt_source_desc_of(source->item)->close(source);
    dlt_stats_release(&source->stats);
    if (source->class_map != NULL && source->frame != NULL) {
        for (size_t i = 0; i < source->frame->layout.count; i++) {
            dlt_free(source->class_map[i]);
        }
    }
    dlt_free(source->class_map);
    dlt_frame_destroy(source->frame);
    dlt_free(source->stamps);
    dlt_arena_destroy(source->arena);
    dlt_free(source);
}

int64_t dlt_source_records(const dlt_source *source, int64_t units)
{
    const int64_t bytes = units * (int64_t)source->unit_bytes;
    return bytes < source->span ? 0 : (bytes - source->span) / source->stride + 1;
}

bool dlt_source_stopped(const dlt_source *source)
{
    return source->options.stop != NULL &&
           atomic_load_explicit(source->options.stop, memory_order_relaxed) != 0;
}

dlt_status dlt_source_stop(const dlt_source *source, dlt_diag *diag)
{
    return dlt_fail(diag, DLT_E_STOPPED, source->item->pos, "stopped while reading the data");
}

/* ---- files ---- */

dlt_status dlt_source_add_file(dlt_source *source, const char *path, dlt_pos at, dlt_diag *diag)
{
    if (strcmp(path, "-") == 0) {
        return source->options.predict
                   ? DLT_OK
                   : dlt_fail(diag, DLT_E_DATA, at,
                              "standard input can be predicted from, but not trained on: it is read once");
    }
    dlt_stamp *stamps = dlt_realloc(source->stamps, source->stamp_count + 1, sizeof *stamps);
    if (stamps == NULL) {
        return dlt_fail_memory(diag);
    }
    source->stamps = stamps;
    int fd = -1;
    DLT_TRY(dlt_file_open_read(path, DLT_E_DATA, at, &fd, NULL, diag));
    const dlt_status status = dlt_stamp_take(fd, path, true, &stamps[source->stamp_count], diag);
    dlt_file()->close(fd);
    source->stamp_count += status == DLT_OK;
    return status;
}

dlt_status dlt_source_add_fields(dlt_source *source, const char *const *fields, const char *const *paths, size_t count, dlt_diag *diag)
{
    dlt_status first = DLT_OK;
    for (size_t i = 0; i < count; i++) {
        const dlt_status status =
            paths[i] != NULL ? dlt_source_add_file(source, paths[i], dlt_item_pos(source->item, fields[i]), diag) : DLT_OK;
        if (status == DLT_E_MEMORY) {
            return status;
        }
        first = first == DLT_OK ? status : first;
    }
    return first;
}

/* Files that a pattern matches, appended to `found` (room for them is made). */
static dlt_status expand(dlt_source *source, const char *pattern, dlt_pos at, const char ***found,
                         size_t *count, dlt_diag *diag)
{
    glob_t matches = {0};
    const int result = glob(pattern, 0, NULL, &matches);
    if (result == GLOB_NOMATCH) {
        return dlt_fail(diag, DLT_E_DATA, at, "no file matches '%s'", pattern);
    }
    if (result != 0) {
        globfree(&matches);
        return result == GLOB_NOSPACE
                   ? dlt_fail_memory(diag)
                   : dlt_fail(diag, DLT_E_DATA, at, "cannot list '%s': %s", pattern, strerror(errno));
    }
    dlt_status status = DLT_OK;
    const char **grown = dlt_realloc(*found, *count + matches.gl_pathc, sizeof *grown);
    if (grown != NULL) {
        *found = grown;
    }
    for (size_t i = 0; grown != NULL && i < matches.gl_pathc; i++) {
        grown[(*count)++] = dlt_arena_string(source->arena, matches.gl_pathv[i]);
    }
    if (grown == NULL || dlt_arena_failed(source->arena)) {
        status = dlt_fail_memory(diag);
    }
    globfree(&matches);
    return status;
}

dlt_status dlt_source_add_paths(dlt_source *source, const dlt_strings *paths, const char *field,
                                dlt_strings *found, dlt_diag *diag)
{
    const dlt_pos at = dlt_item_pos(source->item, field);
    const char **list = NULL;
    size_t count = 0;
    dlt_status status = DLT_OK;
    *found = (dlt_strings){0};
    for (size_t i = 0; status == DLT_OK && i < paths->count; i++) {
        struct stat seen;
        const char *path = paths->at[i];
        if (strpbrk(path, "*?[") != NULL && dlt_file()->stat(path, &seen) != 0) {
            status = expand(source, path, at, &list, &count, diag);
            continue;
        }
        const char **grown = dlt_realloc(list, count + 1, sizeof *list);
        if (grown == NULL) {
            status = dlt_fail_memory(diag);
            break;
        }
        list = grown;
        list[count++] = path;
    }
    const char **kept = status == DLT_OK ? dlt_arena_alloc(source->arena, count, sizeof *kept) : NULL;
    if (status == DLT_OK && kept == NULL) {
        status = dlt_fail_memory(diag);
    }
    for (size_t i = 0; status == DLT_OK && i < count; i++) {
        kept[i] = list[i];
        status = dlt_source_add_file(source, list[i], at, diag);
    }
    if (status == DLT_OK && count == 0) {
        status = dlt_fail(diag, DLT_E_DATA, at, "%s: no file is named", field);
    }
    dlt_free(list);
    *found = (dlt_strings){count, kept};
    return status;
}

/* ---- digest of parameters ---- */

static void add_text(dlt_sha256 *sha, const char *text)
{
    const unsigned char there = text != NULL;
    dlt_sha256_update(sha, &there, 1);
    if (text != NULL) {
        dlt_sha256_update(sha, text, strlen(text) + 1);
    }
}

static void add_number(dlt_sha256 *sha, double value)
{
    char text[40];
    dlt_format_double(value, text, sizeof text);
    add_text(sha, text);
}

static void add_integer(dlt_sha256 *sha, int64_t value)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)((uint64_t)value >> (8 * i));
    }
    dlt_sha256_update(sha, bytes, sizeof bytes);
}

static void add_field(dlt_sha256 *sha, const dlt_field *field, const void *at, bool with_paths)
{
    add_text(sha, field->name);
    switch (field->type) {
    case DLT_FIELD_INT:
        add_integer(sha, *(const int64_t *)at);
        break;
    case DLT_FIELD_OPT_INT:
        add_integer(sha, ((const dlt_opt_int *)at)->set);
        add_integer(sha, ((const dlt_opt_int *)at)->value);
        break;
    case DLT_FIELD_FLOAT:
        add_number(sha, *(const double *)at);
        break;
    case DLT_FIELD_BOOL:
        add_integer(sha, *(const bool *)at);
        break;
    case DLT_FIELD_ENUM:
        add_integer(sha, *(const int *)at);
        break;
    case DLT_FIELD_STRING:
        add_text(sha, *(const char *const *)at);
        break;
    case DLT_FIELD_PATH:
        add_text(sha, with_paths || *(const char *const *)at == NULL ? *(const char *const *)at : "");
        break;
    case DLT_FIELD_PATHS:
    case DLT_FIELD_STRINGS: {
        const dlt_strings *list = at;
        add_integer(sha, (int64_t)list->count);
        for (size_t i = 0; (field->type == DLT_FIELD_STRINGS || with_paths) && i < list->count; i++) {
            add_text(sha, list->at[i]);
        }
        break;
    }
    case DLT_FIELD_INTS:
    case DLT_FIELD_SHAPE: {
        const dlt_ints *list = at;
        add_integer(sha, (int64_t)list->count);
        for (size_t i = 0; i < list->count; i++) {
            add_integer(sha, list->at[i]);
        }
        break;
    }
    case DLT_FIELD_COLUMNS: {
        const dlt_columns *list = at;
        add_integer(sha, (int64_t)list->count);
        for (size_t i = 0; i < list->count; i++) {
            add_text(sha, list->at[i].name);
            add_integer(sha, list->at[i].number);
        }
        break;
    }
    case DLT_FIELD_STRING_MAP: {
        const dlt_string_map *map = at;
        add_integer(sha, (int64_t)map->count);
        for (size_t i = 0; i < map->count; i++) {
            add_text(sha, map->key[i]);
            add_text(sha, map->value[i]);
        }
        break;
    }
    default: /* a source has no fields of the other types: tests/unit/test_data_source.c looks */
        break;
    }
}

void dlt_source_digest(const dlt_source *source, bool with_paths, dlt_sha256 *sha)
{
    const dlt_kind *kind = source->item->kind;
    add_text(sha, kind->name);
    for (size_t i = 0; i < dlt_field_count(kind->fields); i++) {
        add_field(sha, &kind->fields[i], (const char *)source->item->params + kind->fields[i].offset,
                  with_paths);
    }
}
