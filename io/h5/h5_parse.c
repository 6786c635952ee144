/* io/h5/h5_parse.c: checks the table that the child sends. It was made from foreign bytes by a library that may have been
 * taken over, so nothing in it is believed: every length against what is left, every count before memory is asked for,
 * every place against the size of the file. A table that breaks the rules is refused whole; a dataset that only claims
 * what the file does not hold is kept, with the reason why it cannot be read. */
#include "io/h5/h5_internal.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

/* What is left of the table; after a first failure everything reads as nothing. */
typedef struct cursor {
    const uint8_t *at;
    size_t left;
    const char *wrong;
} cursor;

static void wrong(cursor *c, const char *what)
{
    if (c->wrong == NULL) {
        c->wrong = what;
        c->left = 0;
    }
}

static const uint8_t *get(cursor *c, uint64_t bytes)
{
    if (bytes > c->left) {
        wrong(c, "it ends too early");
        return NULL;
    }
    const uint8_t *at = c->at;
    c->at += bytes;
    c->left -= (size_t)bytes;
    return at;
}

static void get_into(cursor *c, void *out, size_t bytes)
{
    const uint8_t *at = get(c, bytes);
    if (at != NULL) {
        memcpy(out, at, bytes);
    } else {
        memset(out, 0, bytes);
    }
}

static uint8_t get_u8(cursor *c)
{
    uint8_t value;
    get_into(c, &value, sizeof value);
    return value;
}

static uint32_t get_u32(cursor *c)
{
    uint32_t value;
    get_into(c, &value, sizeof value);
    return value;
}

static uint64_t get_u64(cursor *c)
{
    uint64_t value;
    get_into(c, &value, sizeof value);
    return value;
}

/* A string of at most `most` bytes without NUL, copied; "" after a failure. NULL only when memory is refused. */
static const char *get_string(cursor *c, dlt_arena *arena, size_t most)
{
    const uint32_t bytes = get_u32(c);
    if (bytes > most) {
        wrong(c, "a text is too long");
    }
    const char *text = (const char *)get(c, bytes);
    if (text == NULL || memchr(text, '\0', bytes) != NULL) {
        wrong(c, "a text holds a NUL");
        return "";
    }
    return dlt_arena_copy(arena, text, bytes);
}

/* ---- parts of an object ---- */

static void get_attribute(cursor *c, dlt_arena *arena, dlt_h5_attribute *out)
{
    out->name = get_string(c, arena, DLT_H5_MAX_PATH);
    const uint8_t type = get_u8(c), scalar = get_u8(c);
    const uint32_t count = get_u32(c);
    if (type > DLT_H5_STRINGS || scalar > 1 || (scalar == 1 && count != 1)) {
        wrong(c, "an attribute is of no known form");
    }
    /* each value takes at least 8 bytes (numbers) or 4 (the length of a string) */
    if (count > DLT_H5_MAX_ATTRIBUTE_COUNT || count > c->left / (type == DLT_H5_STRINGS ? 4 : 8)) {
        wrong(c, "an attribute has too many values");
        return;
    }
    out->type = (dlt_h5_value)type;
    out->scalar = scalar != 0;
    out->count = count;
    if (type == DLT_H5_STRINGS) {
        const char **texts = dlt_arena_alloc(arena, count, sizeof *texts);
        for (uint32_t i = 0; texts != NULL && i < count; i++) {
            texts[i] = get_string(c, arena, DLT_H5_MAX_ATTRIBUTE);
        }
        out->strings = texts;
        return;
    }
    void *values = dlt_arena_alloc(arena, count, 8);
    if (values != NULL) {
        get_into(c, values, (size_t)count * 8);
    }
    if (type == DLT_H5_INTS) {
        out->ints = values;
    } else {
        out->floats = values;
    }
}

static void get_attributes(cursor *c, dlt_arena *arena, dlt_h5_object *out)
{
    out->attributes_left_out = get_u32(c);
    const uint32_t count = get_u32(c);
    if (count > DLT_H5_MAX_ATTRIBUTES) {
        wrong(c, "an object has too many attributes");
        return;
    }
    dlt_h5_attribute *list = count > 0 ? dlt_arena_alloc(arena, count, sizeof *list) : NULL;
    for (uint32_t i = 0; list != NULL && i < count; i++) {
        get_attribute(c, arena, &list[i]);
    }
    out->attributes = list;
    out->attribute_count = list != NULL ? count : 0;
}

static void refuse(dlt_h5_object *object, const char *why)
{
    if (object->refused == NULL) {
        object->refused = why;
    }
}

/* True if bytes [offset, offset + bytes) lie in the file. */
static bool inside(const dlt_h5_file *file, uint64_t offset, uint64_t bytes)
{
    return offset <= (uint64_t)file->size && bytes <= (uint64_t)file->size - offset;
}

static void get_filters(cursor *c, h5_layout *layout, unsigned element_bytes, dlt_h5_object *out)
{
    const uint8_t count = get_u8(c);
    unsigned seen = 0;
    if (count > DLT_H5_MAX_FILTERS) {
        wrong(c, "a dataset has too many filters");
        return;
    }
    for (int i = 0; i < count; i++) {
        const unsigned id = get_u8(c), value = get_u32(c);
        if (id < DLT_H5_FILTER_DEFLATE || id > DLT_H5_FILTER_FLETCHER32 || (seen >> id & 1) != 0) {
            wrong(c, "a dataset has an unknown filter");
            return;
        }
        seen |= 1U << id;
        layout->filter[i].id = id;
        layout->filter[i].value = value;
        if (id == DLT_H5_FILTER_SHUFFLE && value != element_bytes) {
            refuse(out, "its shuffle filter does not fit its type");
        }
    }
    layout->filter_count = count;
}

/* What one stored chunk may become: its claims are checked before memory is asked for when it is read. */
static bool chunk_fits(const h5_layout *layout, const h5_chunk *chunk)
{
    bool deflated = false;
    int64_t least = layout->chunk_bytes;
    for (int i = 0; i < layout->filter_count; i++) {
        const bool applied = (chunk->mask >> i & 1) == 0;
        deflated |= applied && layout->filter[i].id == DLT_H5_FILTER_DEFLATE;
        least += applied && layout->filter[i].id == DLT_H5_FILTER_FLETCHER32 ? 4 : 0;
    }
    if (deflated) {
        return layout->chunk_bytes / DLT_H5_MAX_DEFLATE <= chunk->bytes;
    }
    return chunk->bytes == least;
}

static void get_chunked(cursor *c, dlt_h5_file *file, h5_layout *layout, dlt_h5_object *out)
{
    const int rank = out->shape.rank;
    int64_t bytes = out->element_bytes, count = 1;
    bool too_large = false;
    out->chunk.rank = rank;
    if (rank == 0) {
        wrong(c, "a scalar has chunks");
        return;
    }
    for (int i = 0; i < rank; i++) {
        const uint64_t dim = get_u64(c);
        if (c->wrong != NULL) {
            return;
        }
        if (dim == 0 || dim > UINT32_MAX) {
            wrong(c, "a chunk has an impossible shape");
            return;
        }
        out->chunk.dim[i] = (int64_t)dim;
        layout->grid[i] = out->shape.dim[i] / (int64_t)dim + (out->shape.dim[i] % (int64_t)dim != 0);
        too_large |= !dlt_mul_i64(bytes, (int64_t)dim, &bytes) || bytes > DLT_H5_MAX_CHUNK_BYTES;
        if (!dlt_mul_i64(count, layout->grid[i], &count)) {
            wrong(c, "a dataset has an impossible number of chunks");
            return;
        }
        if (too_large) {
            bytes = 1; /* refused below; the rest is still parsed */
        }
    }
    layout->chunk_bytes = bytes;
    if (too_large) {
        refuse(out, "its chunks are larger than 1 GiB");
    }
    get_filters(c, layout, out->element_bytes, out);
    const uint64_t listed = get_u64(c);
    if (listed == 0) {
        return; /* nothing was ever written */
    }
    if (listed != (uint64_t)count || listed > (uint64_t)DLT_H5_MAX_CHUNKS || listed > c->left / sizeof(h5_chunk)) {
        wrong(c, "the chunks of a dataset do not fit its shape");
        return;
    }
    h5_chunk *chunks = dlt_arena_alloc(file->arena, (size_t)listed, sizeof *chunks);
    if (chunks == NULL) {
        return;
    }
    get_into(c, chunks, (size_t)listed * sizeof *chunks);
    for (uint64_t i = 0; i < listed && out->refused == NULL; i++) {
        if (chunks[i].offset == DLT_H5_NOWHERE) {
            continue;
        }
        if (!inside(file, chunks[i].offset, chunks[i].bytes)) {
            refuse(out, "its data lie outside the file");
        } else if (!chunk_fits(layout, &chunks[i])) {
            refuse(out, "a chunk is of an impossible size");
        }
        out->bytes_stored += chunks[i].bytes;
    }
    layout->chunks = chunks;
    layout->chunk_count = count;
}

static void get_layout(cursor *c, dlt_h5_file *file, h5_layout *layout, dlt_h5_object *out)
{
    const uint8_t storage = get_u8(c);
    if (storage == DLT_H5_COMPACT) {
        out->storage = DLT_H5_COMPACT;
        const uint32_t bytes = get_u32(c);
        const uint8_t *data = get(c, bytes);
        if (data == NULL) {
            return;
        }
        if (bytes != (uint64_t)out->bytes || bytes > DLT_H5_MAX_COMPACT) {
            wrong(c, "a compact dataset is not as long as its shape says");
            return;
        }
        layout->compact = (const uint8_t *)dlt_arena_copy(file->arena, (const char *)data, bytes);
        out->bytes_stored = bytes;
    } else if (storage == DLT_H5_CONTIGUOUS) {
        out->storage = DLT_H5_CONTIGUOUS;
        layout->offset = get_u64(c);
        if (layout->offset != DLT_H5_NOWHERE) {
            out->bytes_stored = out->bytes;
            if (!inside(file, layout->offset, (uint64_t)out->bytes)) {
                refuse(out, "its data lie outside the file");
            }
        }
    } else if (storage == DLT_H5_CHUNKED) {
        out->storage = DLT_H5_CHUNKED;
        get_chunked(c, file, layout, out);
    } else {
        wrong(c, "a dataset is stored in no known way");
    }
}

static bool element_exists(unsigned kind, unsigned bytes)
{
    switch (kind) {
    case DLT_H5_INT:
    case DLT_H5_UINT:
        return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
    case DLT_H5_FLOAT:
        return bytes == 2 || bytes == 4 || bytes == 8;
    case DLT_H5_BFLOAT:
    case DLT_H5_OPAQUE:
        return bytes == 2;
    default:
        return false;
    }
}

/* Returns the kind as on the wire. */
static unsigned get_dataset(cursor *c, dlt_h5_file *file, dlt_h5_object *out)
{
    h5_layout *layout = dlt_arena_alloc(file->arena, 1, sizeof *layout);
    const unsigned kind = get_u8(c), element_bytes = get_u8(c), big_endian = get_u8(c), rank = get_u8(c);
    if (layout == NULL) {
        return kind;
    }
    if (!element_exists(kind, element_bytes) || big_endian > 1 || rank > DLT_MAX_RANK) {
        wrong(c, "a dataset is of no known type");
        return kind;
    }
    out->kind = (dlt_h5_kind)kind;
    out->element_bytes = element_bytes;
    out->big_endian = big_endian != 0;
    out->shape.rank = (int)rank;
    bool empty = false, overflow = false;
    int64_t bytes = element_bytes;
    for (unsigned i = 0; i < rank; i++) {
        const uint64_t dim = get_u64(c);
        if (dim > INT64_MAX) {
            wrong(c, "a dataset has an impossible shape");
            return kind;
        }
        out->shape.dim[i] = (int64_t)dim;
        empty |= dim == 0;
        overflow |= !dlt_mul_i64(bytes, (int64_t)dim, &bytes);
    }
    if (overflow && !empty) {
        wrong(c, "a dataset has an impossible shape");
        return kind;
    }
    out->bytes = empty ? 0 : bytes;
    get_into(c, layout->fill, sizeof layout->fill);
    get_layout(c, file, layout, out);
    if (out->bytes > DLT_H5_CLAIM_FREE && out->bytes / DLT_H5_CLAIM_RATIO > out->bytes_stored) {
        refuse(out, "it claims far more than the file holds of it");
    }
    out->layout = layout;
    return kind;
}

/* 2 bytes marked as bfloat16 are that; opaque ones without the mark are nothing. */
static void settle_kind(dlt_h5_object *object, unsigned kind)
{
    const dlt_h5_attribute *mark = dlt_h5_find_attribute(object, "dtype");
    const bool marked =
        mark != NULL && mark->type == DLT_H5_STRINGS && mark->count == 1 && strcmp(mark->strings[0], "bfloat16") == 0;
    if (marked && object->element_bytes == 2 && (kind == DLT_H5_OPAQUE || kind == DLT_H5_UINT)) {
        object->kind = DLT_H5_BFLOAT;
    } else if (kind == DLT_H5_OPAQUE) {
        object->kind = DLT_H5_UINT;
        refuse(object, "its type is opaque");
    }
}

static bool path_is_clean(const char *path)
{
    if (path[0] != '/') {
        return false;
    }
    if (path[1] == '\0') {
        return true;
    }
    for (const char *name = path; *name != '\0';) { /* name stands on a slash */
        const size_t length = strcspn(++name, "/");
        if (length == 0 || (length == 1 && name[0] == '.') || (length == 2 && name[0] == '.' && name[1] == '.')) {
            return false;
        }
        name += length;
    }
    return true;
}

static void get_object(cursor *c, dlt_h5_file *file, dlt_h5_object *out)
{
    const uint8_t object_class = get_u8(c);
    out->path = get_string(c, file->arena, DLT_H5_MAX_PATH);
    const char *refused = get_string(c, file->arena, DLT_H5_MAX_TEXT);
    if (out->path == NULL || refused == NULL) {
        return; /* memory */
    }
    if (c->wrong == NULL && (object_class > DLT_H5_OTHER || !path_is_clean(out->path))) {
        wrong(c, "an object is of no known form");
    }
    out->object_class = (dlt_h5_class)object_class;
    unsigned kind = DLT_H5_INT;
    if (refused[0] != '\0') {
        out->refused = refused;
    } else if (object_class == DLT_H5_DATASET) {
        kind = get_dataset(c, file, out);
    } else if (object_class == DLT_H5_OTHER) {
        wrong(c, "an object is of no known form");
    }
    get_attributes(c, file->arena, out);
    if (c->wrong == NULL && object_class == DLT_H5_DATASET && !dlt_arena_failed(file->arena)) {
        settle_kind(out, kind);
    }
}

/* ---- the whole ---- */

static int by_path(const void *a, const void *b)
{
    const dlt_h5_object *left = a, *right = b;
    return strcmp(left->path, right->path);
}

/* The first object whose path is not less than the first `bytes` of path. */
static size_t lower_bound(const dlt_h5_file *file, const char *path, size_t bytes)
{
    size_t first = 0, end = file->count;
    while (first < end) {
        const size_t middle = first + (end - first) / 2;
        if (strncmp(file->objects[middle].path, path, bytes) < 0) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    return first;
}

static const dlt_h5_object *find_n(const dlt_h5_file *file, const char *path, size_t bytes)
{
    /* among paths that start alike the shortest comes first */
    const size_t i = lower_bound(file, path, bytes);
    const dlt_h5_object *object = i < file->count ? &file->objects[i] : NULL;
    return object != NULL && strncmp(object->path, path, bytes) == 0 && object->path[bytes] == '\0' ? object : NULL;
}

/* Every path once, each inside a group that is listed too. */
static const char *check_tree(const dlt_h5_file *file)
{
    if (file->count == 0 || strcmp(file->objects[0].path, "/") != 0 ||
        file->objects[0].object_class != DLT_H5_GROUP) {
        return "it has no root";
    }
    for (size_t i = 1; i < file->count; i++) {
        const char *path = file->objects[i].path;
        if (strcmp(path, file->objects[i - 1].path) == 0) {
            return "two objects have one path";
        }
        const size_t folder = (size_t)(strrchr(path, '/') - path);
        const dlt_h5_object *parent = find_n(file, path, folder > 0 ? folder : 1);
        if (parent == NULL || parent->object_class != DLT_H5_GROUP) {
            return "an object lies in no group";
        }
    }
    return NULL;
}

/* One more object at the end of the list, or NULL when memory is refused. */
static dlt_h5_object *next_object(dlt_h5_file *file, size_t *room)
{
    if (file->count == *room) {
        const size_t wanted = *room > 0 ? *room * 2 : 32;
        dlt_h5_object *grown = dlt_realloc(file->objects, wanted, sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        file->objects = grown;
        *room = wanted;
    }
    dlt_h5_object *object = &file->objects[file->count++];
    *object = (dlt_h5_object){0};
    return object;
}

dlt_status dlt_h5_parse_table(dlt_h5_file *file, const void *table, size_t bytes, dlt_diag *diag)
{
    cursor c = {.at = table, .left = bytes};
    char magic[sizeof DLT_H5_MAGIC - 1];
    size_t room = 0;
    bool ended = false;
    get_into(&c, magic, sizeof magic);
    const uint32_t version = get_u32(&c);
    if (c.wrong == NULL && (memcmp(magic, DLT_H5_MAGIC, sizeof magic) != 0 || version != DLT_H5_VERSION)) {
        wrong(&c, "it has another form");
    }
    while (c.wrong == NULL && !ended) {
        const size_t before = bytes - c.left;
        const uint8_t tag = get_u8(&c);
        if (tag == 'O') {
            dlt_h5_object *object = file->count < DLT_H5_MAX_OBJECTS ? next_object(file, &room) : NULL;
            if (file->count == DLT_H5_MAX_OBJECTS && object == NULL) {
                wrong(&c, "it has too many objects");
                break;
            }
            if (object == NULL) {
                return dlt_fail_memory(diag);
            }
            get_object(&c, file, object);
            if (dlt_arena_failed(file->arena)) {
                return dlt_fail_memory(diag);
            }
        } else if (tag == 'X') {
            const char *reason = get_string(&c, file->arena, DLT_H5_MAX_TEXT);
            if (reason == NULL) {
                return dlt_fail_memory(diag);
            }
            if (c.wrong == NULL) {
                return dlt_h5_bad(file, diag, "%s", reason);
            }
        } else if (tag == 'E') {
            if (get_u64(&c) != before || c.left != 0) {
                wrong(&c, "its length is wrong");
            }
            ended = true;
        } else {
            wrong(&c, "it holds an unknown record");
        }
    }
    if (c.wrong == NULL) {
        qsort(file->objects, file->count, sizeof *file->objects, by_path);
        c.wrong = check_tree(file);
    }
    return c.wrong == NULL ? DLT_OK
                           : dlt_h5_bad(file, diag, "the reader's table of contents is not valid: %s", c.wrong);
}

/* ---- looking things up ---- */

const char *dlt_h5_path(const dlt_h5_file *file)
{
    return file->path;
}

int64_t dlt_h5_size(const dlt_h5_file *file)
{
    return file->size;
}

int64_t dlt_h5_mtime_ns(const dlt_h5_file *file)
{
    return file->mtime_ns;
}

size_t dlt_h5_count(const dlt_h5_file *file)
{
    return file->count;
}

const dlt_h5_object *dlt_h5_at(const dlt_h5_file *file, size_t i)
{
    return i < file->count ? &file->objects[i] : NULL;
}

const dlt_h5_object *dlt_h5_find(const dlt_h5_file *file, const char *path)
{
    if (path[0] == '/') {
        return find_n(file, path, strlen(path));
    }
    char full[DLT_H5_MAX_PATH + 2];
    const size_t bytes = strlen(path);
    if (bytes > DLT_H5_MAX_PATH) {
        return NULL;
    }
    full[0] = '/';
    memcpy(full + 1, path, bytes + 1);
    return find_n(file, full, bytes + 1);
}

size_t dlt_h5_entries(const dlt_h5_file *file, const char *group)
{
    const dlt_h5_object *found = dlt_h5_find(file, group);
    size_t entries = 0;
    if (found == NULL || found->object_class != DLT_H5_GROUP) {
        return 0;
    }
    const bool root = found->path[1] == '\0';
    char prefix[DLT_H5_MAX_PATH + 2];
    const size_t bytes = strlen(found->path) + (root ? 0 : 1);
    memcpy(prefix, found->path, strlen(found->path));
    prefix[bytes - 1] = '/';
    for (size_t i = lower_bound(file, prefix, bytes); i < file->count; i++) {
        const char *path = file->objects[i].path;
        if (strncmp(path, prefix, bytes) != 0) {
            break;
        }
        entries += path[bytes] != '\0' && strchr(path + bytes, '/') == NULL;
    }
    return entries;
}

const dlt_h5_attribute *dlt_h5_find_attribute(const dlt_h5_object *object, const char *name)
{
    for (size_t i = 0; i < object->attribute_count; i++) {
        if (strcmp(object->attributes[i].name, name) == 0) {
            return &object->attributes[i];
        }
    }
    return NULL;
}

dlt_dtype dlt_h5_dtype(const dlt_h5_object *dataset)
{
    static const dlt_dtype ints[] = {DLT_I8, DLT_I16, DLT_I32, DLT_I64},
                           uints[] = {DLT_U8, DLT_I32, DLT_I64, DLT_I64},
                           floats[] = {DLT_F16, DLT_F16, DLT_F32, DLT_F64};
    const unsigned size = dataset->element_bytes;
    const int log2 = size >= 8 ? 3 : size >= 4 ? 2 : size >= 2 ? 1 : 0;
    switch (dataset->kind) {
    case DLT_H5_INT:
        return ints[log2];
    case DLT_H5_UINT:
        return uints[log2];
    case DLT_H5_FLOAT:
        return floats[log2];
    default:
        return DLT_BF16;
    }
}

const char *dlt_h5_type_name(const dlt_h5_object *dataset)
{
    static const char *const names[2][4][4] = {
        {{"int8", "int16", "int32", "int64"},
         {"uint8", "uint16", "uint32", "uint64"},
         {"float16", "float16", "float32", "float64"},
         {"bfloat16", "bfloat16", "bfloat16", "bfloat16"}},
        {{"int8", "int16 big-endian", "int32 big-endian", "int64 big-endian"},
         {"uint8", "uint16 big-endian", "uint32 big-endian", "uint64 big-endian"},
         {"float16 big-endian", "float16 big-endian", "float32 big-endian", "float64 big-endian"},
         {"bfloat16 big-endian", "bfloat16 big-endian", "bfloat16 big-endian", "bfloat16 big-endian"}}};
    const unsigned size = dataset->element_bytes;
    return names[dataset->big_endian][dataset->kind][size >= 8 ? 3 : size >= 4 ? 2 : size >= 2 ? 1 : 0];
}
