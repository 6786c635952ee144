/* io/h5/checkpoint_read.c: reading checkpoints and Keras' weights. */
#include "io/h5/checkpoint.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/num.h"
#include "base/sha256.h"
#include "base/text.h"
#include "io/h5/checkpoint_internal.h"
#include "io/h5/h5_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct item {
    dlt_checkpoint_entry entry;
    uint8_t digest[DLT_SHA256_BYTES]; /* of files of ours */
    const dlt_h5_object *object;
} item;

struct dlt_checkpoint {
    dlt_h5_file *file;
    dlt_arena *arena;
    bool ours;
    char *manifest; /* NUL-terminated; of files of ours */
    size_t manifest_bytes;
    size_t count, room;
    item *items; /* sorted by path */
};

/* Where our datasets and Keras' lie: nothing else may be among them. */
static const char *const guarded[] = {"/layers", "/optimizer", "/vars", "/dltrain"};

static dlt_status fault(const dlt_checkpoint *c, dlt_diag *diag, const char *fmt, ...) DLT_PRINTF(3, 4);
static dlt_status fault(const dlt_checkpoint *c, dlt_diag *diag, const char *fmt, ...)
{
    char text[2 * CHECKPOINT_DESCRIPTION];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return dlt_fail(diag, DLT_E_CHECKPOINT, (dlt_pos){0}, "'%s': %s", dlt_h5_path(c->file), text);
}

char *dlt_checkpoint_describe(const char *path, char *text, size_t room)
{
    const char *number = strrchr(path, '/');
    const size_t digits = number != NULL ? strspn(number + 1, "0123456789") : 0;
    const size_t above = number != NULL ? (size_t)(number - path) : 0;
    static const char vars[] = "/vars";
    const size_t tail = sizeof vars - 1;
    if (digits > 0 && number[1 + digits] == '\0' && above >= tail && strncmp(number - tail, vars, tail) == 0) {
        if (above == tail) {
            snprintf(text, room, "variable %s of the model", number + 1);
        } else {
            snprintf(text, room, "variable %s of '%.*s'", number + 1, (int)(above - tail), path);
        }
    } else {
        snprintf(text, room, "'%s'", path);
    }
    return text;
}

/* ---- the manifest ---- */

static item *add_item(dlt_checkpoint *c)
{
    if (c->count == c->room) {
        const size_t room = c->room > 0 ? c->room * 2 : 64;
        item *grown = dlt_realloc(c->items, room, sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        c->items = grown;
        c->room = room;
    }
    item *added = &c->items[c->count++];
    *added = (item){.object = NULL};
    return added;
}

static bool parse_dtype(const char *text, dlt_dtype *dtype)
{
    for (dlt_dtype type = 0; type < DLT_DTYPE_COUNT; type++) {
        if (strcmp(dlt_dtype_name(type), text) == 0) {
            *dtype = type;
            return true;
        }
    }
    return false;
}

/* "[32,3]", "[]" */
static bool parse_shape(const char *text, dlt_shape *shape)
{
    const size_t length = strlen(text);
    shape->rank = 0;
    if (length < 2 || text[0] != '[' || text[length - 1] != ']') {
        return false;
    }
    const char *at = text + 1, *end = text + length - 1;
    while (at < end) {
        const size_t digits = strspn(at, "0123456789");
        if (shape->rank == DLT_MAX_RANK || !dlt_parse_i64(at, digits, &shape->dim[shape->rank])) {
            return false;
        }
        shape->rank++;
        at += digits;
        if (at < end && (*at != ',' || ++at == end)) {
            return false;
        }
    }
    return dlt_shape_count(shape) >= 0;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_digest(const char *text, uint8_t digest[DLT_SHA256_BYTES])
{
    if (strlen(text) != 2 * (size_t)DLT_SHA256_BYTES) {
        return false;
    }
    for (int i = 0; i < DLT_SHA256_BYTES; i++) {
        const int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        digest[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

/* Cuts a line at its tabs; the number of fields, or 0 if there are more than `most`. */
static size_t cut(char *line, char **field, size_t most)
{
    size_t count = 0;
    for (char *at = line; at != NULL;) {
        if (count == most) {
            return 0;
        }
        field[count++] = at;
        at = strchr(at, '\t');
        if (at != NULL) {
            *at++ = '\0';
        }
    }
    return count;
}

/* ---- the manifest against the table ---- */

/* Marks an object and the groups above it as belonging here. */
static void mark(const dlt_checkpoint *c, const char *path, bool *known)
{
    char above[DLT_H5_MAX_PATH + 1];
    const dlt_h5_object *first = dlt_h5_at(c->file, 0);
    const size_t length = strlen(path);
    if (length >= sizeof above) {
        return; /* no object has such a path */
    }
    memcpy(above, path, length + 1);
    for (;;) {
        const dlt_h5_object *object = dlt_h5_find(c->file, above);
        if (object != NULL) {
            known[object - first] = true;
        }
        char *slash = strrchr(above, '/');
        if (slash == NULL || slash == above) {
            return;
        }
        *slash = '\0';
    }
}

static dlt_status check_dataset(const dlt_checkpoint *c, item *i, dlt_diag *diag)
{
    char what[CHECKPOINT_DESCRIPTION], is[160], was[160];
    const dlt_h5_object *object = dlt_h5_find(c->file, i->entry.path);
    dlt_checkpoint_describe(i->entry.path, what, sizeof what);
    if (object == NULL || object->object_class != DLT_H5_DATASET || object->refused != NULL) {
        return fault(c, diag, "%s is damaged: %s", what,
                     object == NULL            ? "it is missing"
                     : object->refused != NULL ? object->refused
                                               : "it is no dataset");
    }
    if (!dlt_shape_equal(&object->shape, &i->entry.shape)) {
        return fault(c, diag, "%s is damaged: it has shape %s and was written with %s", what,
                     dlt_shape_text(&object->shape, is, sizeof is), dlt_shape_text(&i->entry.shape, was, sizeof was));
    }
    if (object->big_endian || dlt_h5_dtype(object) != i->entry.dtype ||
        object->element_bytes != dlt_dtype_size(i->entry.dtype)) {
        return fault(c, diag, "%s is damaged: it has type %s and was written as %s", what, dlt_h5_type_name(object),
                     dlt_dtype_name(i->entry.dtype));
    }
    if (object->storage != DLT_H5_CONTIGUOUS || object->bytes_stored != object->bytes) {
        return fault(c, diag, "%s is damaged: it is not stored in one piece", what);
    }
    i->object = object;
    i->entry.bytes = object->bytes;
    return DLT_OK;
}

static dlt_status check_group(const dlt_checkpoint *c, const char *path, const char *name, dlt_diag *diag)
{
    const dlt_h5_object *object = dlt_h5_find(c->file, path);
    if (object == NULL || object->object_class != DLT_H5_GROUP) {
        return fault(c, diag, "'%s' is damaged: it is missing", path);
    }
    const dlt_h5_attribute *attribute = dlt_h5_find_attribute(object, "name");
    if (attribute == NULL || attribute->type != DLT_H5_STRINGS || !attribute->scalar ||
        strcmp(attribute->strings[0], name) != 0) {
        return fault(c, diag, "'%s' is damaged: its name is not '%s'", path, name);
    }
    return DLT_OK;
}

static int by_path(const void *a, const void *b)
{
    const item *left = a, *right = b;
    return strcmp(left->entry.path, right->entry.path);
}

static dlt_status parse_line(dlt_checkpoint *c, char *line, bool *known, dlt_diag *diag)
{
    char *field[5] = {NULL};
    const size_t fields = cut(line, field, DLT_COUNT(field));
    if (fields == 3 && strcmp(field[0], "group") == 0) {
        mark(c, field[1], known);
        return check_group(c, field[1], field[2], diag);
    }
    item *added = fields == 5 && strcmp(field[0], "dataset") == 0 ? add_item(c) : NULL;
    if (added == NULL) {
        return fields == 5 ? dlt_fail_memory(diag) : fault(c, diag, "its manifest is not valid");
    }
    added->entry.path = field[1];
    if (!parse_dtype(field[2], &added->entry.dtype) || !parse_shape(field[3], &added->entry.shape) ||
        !parse_digest(field[4], added->digest)) {
        return fault(c, diag, "its manifest is not valid");
    }
    mark(c, field[1], known);
    return check_dataset(c, added, diag);
}

static dlt_status check_first_line(const dlt_checkpoint *c, const char *line, dlt_diag *diag)
{
    static const char words[] = "dltrain checkpoint ";
    int64_t version = 0;
    const size_t skip = sizeof words - 1;
    if (strncmp(line, words, skip) != 0 || !dlt_parse_i64(line + skip, strlen(line + skip), &version) ||
        version < 1) {
        return fault(c, diag, "its manifest is not valid");
    }
    return version <= DLT_CHECKPOINT_VERSION
               ? DLT_OK
               : fault(c, diag, "it was written by a newer dltrain (checkpoint format %lld; this one reads up to %d)",
                       (long long)version, (int)DLT_CHECKPOINT_VERSION);
}

/* Everything in the guarded groups is listed in the manifest, or lies above something that is. */
static dlt_status check_nothing_else(const dlt_checkpoint *c, bool *known, dlt_diag *diag)
{
    mark(c, CHECKPOINT_MANIFEST, known);
    mark(c, CHECKPOINT_DIGEST, known);
    for (size_t i = 0; i < dlt_h5_count(c->file); i++) {
        const char *path = dlt_h5_at(c->file, i)->path;
        for (size_t k = 0; k < DLT_COUNT(guarded) && !known[i]; k++) {
            const size_t length = strlen(guarded[k]);
            if (strncmp(path, guarded[k], length) == 0 && (path[length] == '/' || path[length] == '\0')) {
                return fault(c, diag, "'%s' does not belong there: the file was changed or is damaged", path);
            }
        }
    }
    return DLT_OK;
}

/* Cuts a copy of the manifest into lines; items keep pointing into it. */
static dlt_status parse_manifest(dlt_checkpoint *c, dlt_diag *diag)
{
    char *text = dlt_arena_copy(c->arena, c->manifest, c->manifest_bytes);
    bool *known = dlt_alloc_zeroed(dlt_h5_count(c->file), sizeof *known);
    dlt_status status = text != NULL && known != NULL ? DLT_OK : dlt_fail_memory(diag);
    char *line = text;
    if (status == DLT_OK && (c->manifest_bytes == 0 || text[c->manifest_bytes - 1] != '\n' ||
                             memchr(text, '\0', c->manifest_bytes) != NULL)) {
        status = fault(c, diag, "its manifest is not valid");
    }
    char *end = NULL;
    for (bool first = true; status == DLT_OK && (end = strchr(line, '\n')) != NULL; first = false) {
        *end = '\0';
        status = first ? check_first_line(c, line, diag) : parse_line(c, line, known, diag);
        line = end + 1;
    }
    if (status == DLT_OK && c->count > 0) {
        qsort(c->items, c->count, sizeof *c->items, by_path);
        for (size_t i = 1; i < c->count && status == DLT_OK; i++) {
            if (strcmp(c->items[i].entry.path, c->items[i - 1].entry.path) == 0) {
                status = fault(c, diag, "its manifest is not valid");
            }
        }
    }
    if (status == DLT_OK) {
        status = check_nothing_else(c, known, diag);
    }
    dlt_free(known);
    return status;
}

/* Reads the manifest and compares its digest. */
static dlt_status load_manifest(dlt_checkpoint *c, const dlt_h5_object *manifest, dlt_diag *diag)
{
    const dlt_h5_object *sum = dlt_h5_find(c->file, CHECKPOINT_DIGEST);
    const dlt_shape one = DLT_SHAPE(DLT_SHA256_BYTES);
    const dlt_h5_want want = {.dtype = DLT_U8, .all = true};
    uint8_t stored[DLT_SHA256_BYTES], digest[DLT_SHA256_BYTES];
    dlt_sha256 sha;
    if (manifest->object_class != DLT_H5_DATASET || manifest->refused != NULL || manifest->kind != DLT_H5_UINT ||
        manifest->element_bytes != 1 || manifest->shape.rank != 1 || manifest->bytes > CHECKPOINT_MAX_MANIFEST ||
        sum == NULL || sum->object_class != DLT_H5_DATASET || sum->refused != NULL || sum->kind != DLT_H5_UINT ||
        sum->element_bytes != 1 || !dlt_shape_equal(&sum->shape, &one)) {
        return fault(c, diag, "its manifest is damaged");
    }
    c->manifest_bytes = (size_t)manifest->bytes;
    c->manifest = dlt_arena_alloc(c->arena, c->manifest_bytes + 1, 1);
    if (c->manifest == NULL) {
        return dlt_fail_memory(diag);
    }
    DLT_TRY(dlt_h5_read(c->file, manifest, &want, c->manifest, c->manifest_bytes, diag));
    DLT_TRY(dlt_h5_read(c->file, sum, &want, stored, sizeof stored, diag));
    dlt_sha256_init(&sha);
    dlt_sha256_update(&sha, c->manifest, c->manifest_bytes);
    dlt_sha256_final(&sha, digest);
    return memcmp(stored, digest, sizeof digest) == 0 ? DLT_OK : fault(c, diag, "its manifest is damaged");
}

/* ---- files of others ---- */

static dlt_status list_foreign(dlt_checkpoint *c, dlt_diag *diag)
{
    if (dlt_h5_find(c->file, "/layers") == NULL) {
        const bool legacy = dlt_h5_find(c->file, "/model_weights") != NULL ||
                            dlt_h5_find_attribute(dlt_h5_at(c->file, 0), "layer_names") != NULL;
        return fault(c, diag, "%s",
                     legacy ? "it has Keras' old layout; load it with Keras 3 and save it as NAME.weights.h5"
                            : "it holds no weights (there is no '/layers')");
    }
    for (size_t i = 0; i < dlt_h5_count(c->file); i++) {
        const dlt_h5_object *object = dlt_h5_at(c->file, i);
        if (object->object_class == DLT_H5_DATASET && object->refused == NULL) {
            item *added = add_item(c);
            if (added == NULL) {
                return dlt_fail_memory(diag);
            }
            added->entry = (dlt_checkpoint_entry){.path = object->path,
                                                  .dtype = dlt_h5_dtype(object),
                                                  .shape = object->shape,
                                                  .bytes = object->bytes_stored};
            added->object = object;
        }
    }
    return DLT_OK; /* the table is sorted by path, so the items are */
}

/* ---- open and close ---- */

dlt_status dlt_checkpoint_of_file(dlt_h5_file *file, dlt_checkpoint_origin origin, dlt_checkpoint **checkpoint,
                                  dlt_diag *diag)
{
    *checkpoint = NULL;
    dlt_checkpoint *c = dlt_alloc_zeroed(1, sizeof *c);
    dlt_arena *arena = dlt_arena_create();
    if (c == NULL || arena == NULL) {
        dlt_free(c);
        dlt_arena_destroy(arena);
        dlt_h5_close(file);
        return dlt_fail_memory(diag);
    }
    c->file = file;
    c->arena = arena;
    const dlt_h5_object *manifest = dlt_h5_find(file, CHECKPOINT_MANIFEST);
    dlt_status status = DLT_OK;
    if (manifest != NULL) {
        c->ours = true;
        status = load_manifest(c, manifest, diag);
        if (status == DLT_OK) {
            status = parse_manifest(c, diag);
        }
    } else if (dlt_h5_find(file, "/dltrain") != NULL) {
        status = fault(c, diag, "its manifest is damaged: it is missing");
    } else if (origin == DLT_CHECKPOINT_OURS) {
        status = fault(c, diag, "it is no checkpoint of dltrain (there is no '/dltrain')");
    } else {
        status = list_foreign(c, diag);
    }
    if (status != DLT_OK) {
        dlt_checkpoint_close(c);
        return status;
    }
    *checkpoint = c;
    return DLT_OK;
}

dlt_status dlt_checkpoint_open(const char *path, dlt_checkpoint_origin origin, dlt_checkpoint **checkpoint,
                               dlt_diag *diag)
{
    dlt_h5_file *file = NULL;
    *checkpoint = NULL;
    DLT_TRY(dlt_h5_open(path, DLT_E_CHECKPOINT, (dlt_pos){0}, &file, diag));
    return dlt_checkpoint_of_file(file, origin, checkpoint, diag);
}

void dlt_checkpoint_close(dlt_checkpoint *c)
{
    if (c != NULL) {
        dlt_h5_close(c->file);
        dlt_arena_destroy(c->arena);
        dlt_free(c->items);
        dlt_free(c);
    }
}

bool dlt_checkpoint_is_ours(const dlt_checkpoint *c)
{
    return c->ours;
}

const char *dlt_checkpoint_manifest(const dlt_checkpoint *c, size_t *bytes)
{
    *bytes = c->manifest_bytes;
    return c->manifest;
}

/* ---- content ---- */

size_t dlt_checkpoint_count(const dlt_checkpoint *c)
{
    return c->count;
}

const dlt_checkpoint_entry *dlt_checkpoint_at(const dlt_checkpoint *c, size_t i)
{
    return i < c->count ? &c->items[i].entry : NULL;
}

static const item *find_item(const dlt_checkpoint *c, const char *path)
{
    const item key = {.entry = {.path = path}};
    return c->count > 0 ? bsearch(&key, c->items, c->count, sizeof key, by_path) : NULL;
}

const dlt_checkpoint_entry *dlt_checkpoint_find(const dlt_checkpoint *c, const char *path)
{
    const item *found = find_item(c, path);
    return found != NULL ? &found->entry : NULL;
}

size_t dlt_checkpoint_variables(const dlt_checkpoint *c, const char *layer)
{
    char vars[DLT_H5_MAX_PATH + 1];
    const int length = snprintf(vars, sizeof vars, "%s/vars", strcmp(layer, "/") == 0 ? "" : layer);
    return length > 0 && (size_t)length < sizeof vars ? dlt_h5_entries(c->file, vars) : 0;
}

dlt_status dlt_checkpoint_expect(const dlt_checkpoint *c, const char *layer, size_t count, dlt_diag *diag)
{
    const size_t found = dlt_checkpoint_variables(c, layer);
    if (found == count) {
        return DLT_OK;
    }
    if (dlt_h5_find(c->file, layer) == NULL) {
        return fault(c, diag, "there is no '%s'; expected it with %zu variable%s", layer, count,
                     count == 1 ? "" : "s");
    }
    return fault(c, diag, "'%s' has %zu variable%s; expected %zu", layer, found, found == 1 ? "" : "s", count);
}

static dlt_status differs(const dlt_checkpoint *c, const char *path, dlt_diag *diag)
{
    char what[CHECKPOINT_DESCRIPTION];
    return fault(c, diag, "%s is damaged: its bytes do not match their digest",
                 dlt_checkpoint_describe(path, what, sizeof what));
}

static dlt_status verify_item(dlt_checkpoint *c, const item *i, dlt_diag *diag)
{
    uint8_t digest[DLT_SHA256_BYTES];
    DLT_TRY(dlt_h5_digest(c->file, i->object, digest, diag));
    return memcmp(digest, i->digest, sizeof digest) == 0 ? DLT_OK : differs(c, i->entry.path, diag);
}

dlt_status dlt_checkpoint_verify(dlt_checkpoint *c, dlt_diag *diag)
{
    for (size_t i = 0; c->ours && i < c->count; i++) {
        assert(c->items != NULL);
        DLT_TRY(verify_item(c, &c->items[i], diag));
    }
    return DLT_OK;
}

/* The object of a dataset, or NULL: of one of ours only what the manifest lists. */
static const dlt_h5_object *find_object(const dlt_checkpoint *c, const char *path)
{
    const item *i = find_item(c, path);
    return i != NULL ? i->object : c->ours ? NULL : dlt_h5_find(c->file, path);
}

dlt_status dlt_checkpoint_fits(const dlt_checkpoint *c, const char *path, const dlt_shape *shape, dlt_diag *diag)
{
    char what[CHECKPOINT_DESCRIPTION], found[160], expected[160];
    const dlt_h5_object *object = find_object(c, path);
    if (object == NULL) {
        return fault(c, diag, "%s is missing", dlt_checkpoint_describe(path, what, sizeof what));
    }
    if (object->object_class == DLT_H5_DATASET && object->refused == NULL &&
        !dlt_shape_equal(&object->shape, shape)) {
        return fault(c, diag, "%s has shape %s; expected %s", dlt_checkpoint_describe(path, what, sizeof what),
                     dlt_shape_text(&object->shape, found, sizeof found),
                     dlt_shape_text(shape, expected, sizeof expected));
    }
    return DLT_OK;
}

dlt_status dlt_checkpoint_read(dlt_checkpoint *c, const char *path, dlt_dtype dtype, const dlt_shape *shape,
                               void *out, dlt_diag *diag)
{
    const item *i = find_item(c, path);
    const dlt_h5_want want = {.dtype = dtype, .all = true};
    const int64_t count = dlt_shape_count(shape);
    size_t room = 0;
    if (count < 0 || !dlt_mul_size((size_t)count, dlt_dtype_size(dtype), &room)) {
        return dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "'%s' is expected with an impossible shape", path);
    }
    DLT_TRY(dlt_checkpoint_fits(c, path, shape, diag));
    assert(i != NULL || !c->ours); /* else it is missing */
    if (c->ours && i->entry.dtype != dtype) {
        DLT_TRY(verify_item(c, i, diag));
    }
    DLT_TRY(dlt_h5_read(c->file, find_object(c, path), &want, out, room, diag));
    if (c->ours && i->entry.dtype == dtype) { /* the bytes are those in the file: no need to read them twice */
        uint8_t digest[DLT_SHA256_BYTES];
        dlt_sha256 sha;
        dlt_sha256_init(&sha);
        dlt_sha256_update(&sha, out, room);
        dlt_sha256_final(&sha, digest);
        return memcmp(digest, i->digest, sizeof digest) == 0 ? DLT_OK : differs(c, path, diag);
    }
    return DLT_OK;
}

dlt_status dlt_checkpoint_read_text(dlt_checkpoint *c, const char *name, char **text, size_t *bytes, dlt_diag *diag)
{
    char path[DLT_H5_MAX_PATH + 1];
    *text = NULL;
    const int length = snprintf(path, sizeof path, "/dltrain/%s", name);
    const item *i = length > 0 && (size_t)length < sizeof path ? find_item(c, path) : NULL;
    if (i == NULL) {
        return fault(c, diag, "'%s' is missing", path);
    }
    if (i->entry.dtype != DLT_U8 || i->entry.shape.rank != 1 || i->entry.bytes > CHECKPOINT_MAX_TEXT) {
        return fault(c, diag, "'%s' is no text", path);
    }
    char *room = dlt_alloc((size_t)i->entry.bytes + 1);
    if (room == NULL) {
        return dlt_fail_memory(diag);
    }
    const dlt_status status = dlt_checkpoint_read(c, path, DLT_U8, &i->entry.shape, room, diag);
    if (status != DLT_OK) {
        dlt_free(room);
        return status;
    }
    room[i->entry.bytes] = '\0';
    *text = room;
    if (bytes != NULL) {
        *bytes = (size_t)i->entry.bytes;
    }
    return DLT_OK;
}
