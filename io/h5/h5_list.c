/* io/h5/h5_child.c: the side of the door where libhdf5 is: runs in a child that has one descriptor to read
 * and one to write.
 *
 * libhdf5 parses the file through a driver that can only pread that descriptor. The tree is walked over hard
 * links, without recursion and within the limits of h5_internal.h, and each object becomes one record of the
 * table. No element is read here except those of compact datasets and small attributes, which lie in the
 * object headers. */
#define H5_USE_110_API
#include "io/h5/h5_internal.h"

#include "base/alloc.h"
#include "io/file.h"

#include <errno.h>
#include <hdf5.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(h5_chunk) == 16, "chunks are sent as they lie in memory");

/* ---- the sink ---- */

static void sink_flush(h5_sink *sink)
{
    if (sink->fd < 0) {
        return;
    }
    size_t sent = 0;
    while (sent < sink->buffer.length && !sink->failed) {
        const ssize_t n = dlt_file()->write(sink->fd, sink->buffer.data + sent, sink->buffer.length - sent);
        if (n > 0) {
            sent += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            sink->failed = true;
        }
    }
    sink->written += sent;
    dlt_buf_reset(&sink->buffer);
}

static void sink_put(h5_sink *sink, const void *data, size_t bytes)
{
    if (sink->failed) {
        return;
    }
    if (bytes > DLT_H5_MAX_TABLE - sink->buffer.length ||
        sink->written > DLT_H5_MAX_TABLE - sink->buffer.length - bytes) {
        sink->failed = true;
        return;
    }
    dlt_buf_append(&sink->buffer, data, bytes);
    sink->failed |= sink->buffer.failed;
    if (sink->buffer.length >= 1 << 16) {
        sink_flush(sink);
    }
}

static void put_u8(dlt_buf *out, unsigned value)
{
    dlt_buf_char(out, (char)value);
}

static void put_u32(dlt_buf *out, uint32_t value)
{
    dlt_buf_append(out, (const char *)&value, sizeof value);
}

static void put_u64(dlt_buf *out, uint64_t value)
{
    dlt_buf_append(out, (const char *)&value, sizeof value);
}

static void put_bytes(dlt_buf *out, const void *data, size_t bytes)
{
    put_u32(out, (uint32_t)bytes);
    dlt_buf_append(out, data, bytes);
}

static void put_string(dlt_buf *out, const char *text)
{
    put_bytes(out, text, strlen(text));
}

/* ---- libhdf5's view of the file ---- */

/* The file, and the trap that learns where chunks lie: libhdf5 has no call that tells the place of one chunk
 * in less than a pass over all of them, but it finds it quickly when asked to read the chunk. With the trap
 * set, the driver notes what would be read and leaves the caller's buffer alone. */
typedef struct source {
    int fd;
    haddr_t size;
    bool trap;
    unsigned trapped;
    haddr_t offset;
    size_t bytes;
} source;

typedef struct source_info { /* what libhdf5 copies into a property list */
    source *at;
} source_info;

typedef struct reader {
    H5FD_t base; /* libhdf5's part; must be first */
    source *at;
    haddr_t end; /* end of what is allocated, as libhdf5 keeps it */
} reader;

static H5FD_t *reader_open(const char *name, unsigned flags, hid_t access, haddr_t most)
{
    (void)name;
    (void)most;
    const source_info *info = H5Pget_driver_info(access);
    if (info == NULL || (flags & (H5F_ACC_RDWR | H5F_ACC_CREAT | H5F_ACC_TRUNC)) != 0) {
        return NULL;
    }
    reader *opened = dlt_alloc_zeroed(1, sizeof *opened);
    if (opened != NULL) {
        opened->at = info->at;
    }
    return (H5FD_t *)opened;
}

static herr_t reader_close(H5FD_t *file)
{
    dlt_free(file);
    return 0;
}

static herr_t reader_query(const H5FD_t *file, unsigned long *flags)
{
    (void)file;
    *flags = H5FD_FEAT_ACCUMULATE_METADATA;
    return 0;
}

static haddr_t reader_end(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const reader *)file)->end;
}

static herr_t reader_set_end(H5FD_t *file, H5FD_mem_t type, haddr_t end)
{
    (void)type;
    ((reader *)file)->end = end;
    return 0;
}

static haddr_t reader_size(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const reader *)file)->at->size;
}

static herr_t reader_read(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t offset, size_t bytes, void *out)
{
    source *from = ((reader *)file)->at;
    (void)transfer;
    if (from->trap && type == H5FD_MEM_DRAW) {
        from->trapped++;
        from->offset = offset;
        from->bytes = bytes;
        return 0;
    }
    if (offset > from->size) {
        return -1;
    }
    char *at = out;
    while (bytes > 0) {
        const ssize_t n = dlt_file()->pread(from->fd, at, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        if (n == 0) { /* libhdf5 reads its first block whole, also of a shorter file */
            memset(at, 0, bytes);
            break;
        }
        at += n;
        offset += (haddr_t)n;
        bytes -= (size_t)n;
    }
    return 0;
}

static herr_t reader_write(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t offset, size_t bytes,
                           const void *data)
{
    (void)file, (void)type, (void)transfer, (void)offset, (void)bytes, (void)data;
    return -1;
}

static const H5FD_class_t reader_class = {
#ifdef H5FD_CLASS_VERSION /* libhdf5 1.14 */
    .version = H5FD_CLASS_VERSION,
    .value = (H5FD_class_value_t)600,
#endif
    .name = "dltrain-reader",
    .maxaddr = INT64_MAX,
    .fc_degree = H5F_CLOSE_STRONG,
    .fapl_size = sizeof(source_info),
    .open = reader_open,
    .close = reader_close,
    .query = reader_query,
    .get_eoa = reader_end,
    .set_eoa = reader_set_end,
    .get_eof = reader_size,
    .read = reader_read,
    .write = reader_write,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

/* ---- the walk ---- */

typedef struct pending { /* a group whose content is still to be listed */
    char *path;
    haddr_t address;
} pending;

typedef struct walk {
    h5_sink *sink;
    source source;
    hid_t file;
    pending *groups;
    size_t group_count, group_room;
    haddr_t *seen; /* addresses of all groups met: open addressing, HADDR_UNDEF is free */
    size_t seen_count, seen_room;
    size_t objects, attribute_bytes;
    int64_t chunks;
    const char *folder; /* path of the group being listed */
    dlt_buf record, list;
    char text[DLT_H5_MAX_TEXT];   /* room for the reason that a dataset is refused for */
    char reason[DLT_H5_MAX_TEXT]; /* why the walk was given up; empty while it goes on */
} walk;

static void give_up(walk *w, const char *fmt, ...) DLT_PRINTF(2, 3);
static void give_up(walk *w, const char *fmt, ...)
{
    if (w->reason[0] == '\0') {
        va_list args;
        va_start(args, fmt);
        vsnprintf(w->reason, sizeof w->reason, fmt, args);
        va_end(args);
    }
}

static herr_t innermost_error(unsigned n, const H5E_error2_t *error, void *out)
{
    if (n == 0 && error->desc != NULL) {
        snprintf(out, DLT_H5_MAX_TEXT / 2, "%s", error->desc);
    }
    return 0;
}

/* libhdf5's own words for its last failure; "" if it has none. */
static void last_error(char text[DLT_H5_MAX_TEXT / 2])
{
    text[0] = '\0';
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost_error, text);
}

/* Notes a group's address; false if it was noted before, or memory is refused (then the walk is given up). */
static bool first_visit(walk *w, haddr_t address)
{
    if (2 * (w->seen_count + 1) > w->seen_room) {
        const size_t room = w->seen_room > 0 ? w->seen_room * 2 : 64;
        haddr_t *grown = dlt_alloc_zeroed(room, sizeof *grown);
        if (grown == NULL) {
            give_up(w, "out of memory");
            return false;
        }
        memset(grown, 0xFF, room * sizeof *grown); /* HADDR_UNDEF */
        for (size_t i = 0; i < w->seen_room; i++) {
            if (w->seen[i] != HADDR_UNDEF) {
                size_t at = (size_t)(w->seen[i] * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (room - 1);
                while (grown[at] != HADDR_UNDEF) {
                    at = (at + 1) & (room - 1);
                }
                grown[at] = w->seen[i];
            }
        }
        dlt_free(w->seen);
        w->seen = grown;
        w->seen_room = room;
    }
    size_t at = (size_t)(address * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (w->seen_room - 1);
    while (w->seen[at] != HADDR_UNDEF) {
        if (w->seen[at] == address) {
            return false;
        }
        at = (at + 1) & (w->seen_room - 1);
    }
    w->seen[at] = address;
    w->seen_count++;
    return true;
}

static void push_group(walk *w, const char *path, haddr_t address)
{
    if (w->group_count == w->group_room) {
        const size_t room = w->group_room > 0 ? w->group_room * 2 : 32;
        pending *grown = dlt_realloc(w->groups, room, sizeof *grown);
        if (grown == NULL) {
            give_up(w, "out of memory");
            return;
        }
        w->groups = grown;
        w->group_room = room;
    }
    const size_t bytes = strlen(path) + 1;
    char *copy = dlt_alloc(bytes);
    if (copy == NULL) {
        give_up(w, "out of memory");
        return;
    }
    memcpy(copy, path, bytes);
    w->groups[w->group_count++] = (pending){.path = copy, .address = address};
}

/* Starts a record; the caller adds a dataset's part if there is one, then calls end_object. */
static void begin_object(walk *w, dlt_h5_class object_class, const char *path, const char *refused)
{
    dlt_buf_reset(&w->record);
    put_u8(&w->record, 'O');
    put_u8(&w->record, (unsigned)object_class);
    put_string(&w->record, path);
    put_string(&w->record, refused);
}

static void send_record(walk *w)
{
    if (w->record.failed) {
        give_up(w, "out of memory");
        return;
    }
    sink_put(w->sink, w->record.data, w->record.length);
    if (w->sink->failed) {
        give_up(w, "its table of contents is too large");
    }
}

/* ---- attributes ---- */

typedef struct attribute_list {
    walk *walk;
    uint32_t count, left_out;
} attribute_list;

/* Puts count strings of a fixed size, each cut at its padding; false if one holds a NUL before its end. */
static bool put_fixed_strings(dlt_buf *out, const char *data, size_t count, size_t size, H5T_str_t padding)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = data + i * size;
        size_t length = padding == H5T_STR_NULLTERM ? strnlen(text, size) : size;
        const char pad = padding == H5T_STR_SPACEPAD ? ' ' : '\0';
        while (length > 0 && text[length - 1] == pad) {
            length--;
        }
        if (memchr(text, '\0', length) != NULL) {
            return false;
        }
        put_bytes(out, text, length);
    }
    return true;
}

static bool put_strings(dlt_buf *out, hid_t attribute, hid_t type, hid_t space, size_t count)
{
    const htri_t variable = H5Tis_variable_str(type);
    const size_t size = H5Tget_size(type);
    bool good = false;
    if (variable < 0 || size == 0 || count > DLT_H5_MAX_ATTRIBUTE / size) {
        return false;
    }
    if (variable == 0) {
        char *data = dlt_alloc_zeroed(count, size);
        good = data != NULL && (count == 0 || H5Aread(attribute, type, data) >= 0) &&
               put_fixed_strings(out, data, count, size, H5Tget_strpad(type));
        dlt_free(data);
        return good;
    }
    char **texts = dlt_alloc_zeroed(count, sizeof *texts);
    if (texts != NULL && (count == 0 || H5Aread(attribute, type, texts) >= 0)) {
        size_t bytes = 0;
        good = true;
        for (size_t i = 0; i < count && good; i++) {
            const char *text = texts[i] != NULL ? texts[i] : "";
            const size_t length = strlen(text);
            bytes += length;
            good = length <= DLT_H5_MAX_ATTRIBUTE && bytes <= DLT_H5_MAX_ATTRIBUTE;
            if (good) {
                put_bytes(out, text, length);
            }
        }
        if (count > 0 && H5Dvlen_reclaim(type, space, H5P_DEFAULT, texts) < 0) {
            good = false;
        }
    }
    dlt_free(texts);
    return good;
}

static bool put_numbers(dlt_buf *out, hid_t attribute, hid_t type, size_t count, bool real)
{
    int64_t *data = dlt_alloc_zeroed(count, sizeof *data);
    bool good = data != NULL;
    if (good && count > 0 && real) {
        good = H5Aread(attribute, H5T_NATIVE_DOUBLE, data) >= 0;
    } else if (good && count > 0) {
        hid_t base = H5Tget_class(type) == H5T_ENUM ? H5Tget_super(type) : H5Tcopy(type);
        const bool large = H5Tget_sign(base) == H5T_SGN_NONE && H5Tget_size(base) >= sizeof *data;
        good = base >= 0 && H5Aread(attribute, large ? H5T_NATIVE_UINT64 : H5T_NATIVE_INT64, data) >= 0;
        for (size_t i = 0; i < count && good && large; i++) {
            good = data[i] >= 0; /* beyond int64 */
        }
        if (base >= 0 && H5Tclose(base) < 0) {
            good = false;
        }
    }
    if (good) {
        dlt_buf_append(out, (const char *)data, count * sizeof *data);
    }
    dlt_free(data);
    return good;
}

/* Adds one attribute to walk->list; false if it is left out. */
static bool put_attribute(walk *w, hid_t attribute, const char *name)
{
    dlt_buf *out = &w->list;
    const size_t start = out->length;
    hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    bool good = false;
    if (type >= 0 && space >= 0) {
        const H5T_class_t type_class = H5Tget_class(type);
        const H5S_class_t extent = H5Sget_simple_extent_type(space);
        const int rank = H5Sget_simple_extent_ndims(space);
        const hssize_t count = H5Sget_simple_extent_npoints(space);
        const bool real = type_class == H5T_FLOAT, text = type_class == H5T_STRING;
        const bool whole = type_class == H5T_INTEGER || type_class == H5T_ENUM;
        if ((extent == H5S_SCALAR || (extent == H5S_SIMPLE && rank == 1)) && count >= 0 &&
            count <= DLT_H5_MAX_ATTRIBUTE_COUNT && strlen(name) <= DLT_H5_MAX_PATH && (real || text || whole)) {
            put_string(out, name);
            put_u8(out, (unsigned)(text ? DLT_H5_STRINGS : real ? DLT_H5_FLOATS : DLT_H5_INTS));
            put_u8(out, extent == H5S_SCALAR);
            put_u32(out, (uint32_t)count);
            good = text ? put_strings(out, attribute, type, space, (size_t)count)
                        : put_numbers(out, attribute, type, (size_t)count, real);
        }
    }
    if (type >= 0) {
        H5Tclose(type);
    }
    if (space >= 0) {
        H5Sclose(space);
    }
    if (good && out->length - start > DLT_H5_MAX_ATTRIBUTES_TOTAL - w->attribute_bytes) {
        good = false;
    }
    if (good) {
        w->attribute_bytes += out->length - start;
    } else {
        out->length = start;
    }
    return good;
}

static herr_t visit_attribute(hid_t object, const char *name, const H5A_info_t *info, void *context)
{
    attribute_list *list = context;
    (void)info;
    bool kept = false;
    if (list->count < DLT_H5_MAX_ATTRIBUTES) {
        hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
        if (attribute >= 0) {
            kept = put_attribute(list->walk, attribute, name);
            H5Aclose(attribute);
        }
    }
    if (kept) {
        list->count++;
    } else if (list->left_out < UINT32_MAX) {
        list->left_out++;
    }
    return 0;
}

/* Ends an object's record with its attributes; object < 0: it has none. */
static void end_object(walk *w, hid_t object)
{
    attribute_list list = {.walk = w};
    dlt_buf_reset(&w->list);
    if (object >= 0) {
        hsize_t at = 0;
        if (H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, &at, visit_attribute, &list) < 0) {
            list.left_out++; /* damaged: what came before is good */
        }
    }
    put_u32(&w->record, list.left_out);
    put_u32(&w->record, list.count);
    dlt_buf_append(&w->record, dlt_buf_text(&w->list), w->list.length);
    w->record.failed |= w->list.failed;
    send_record(w);
}

/* ---- datasets ---- */

typedef struct element_type {
    unsigned kind, bytes;
    bool big_endian;
} element_type;

/* NULL and *out, or why the integer type cannot be read. */
static const char *classify_integer(hid_t type, element_type *out)
{
    const size_t size = H5Tget_size(type);
    const H5T_order_t order = H5Tget_order(type);
    if ((size != 1 && size != 2 && size != 4 && size != 8) || H5Tget_precision(type) != 8 * size ||
        H5Tget_offset(type) != 0 || (order != H5T_ORDER_LE && order != H5T_ORDER_BE)) {
        return "its type is an unusual integer";
    }
    *out = (element_type){.kind = H5Tget_sign(type) == H5T_SGN_NONE ? DLT_H5_UINT : DLT_H5_INT,
                          .bytes = (unsigned)size,
                          .big_endian = size > 1 && order == H5T_ORDER_BE};
    return NULL;
}

static const char *classify_float(hid_t type, element_type *out)
{
    static const struct {
        size_t size, exponent_at, exponent_bits, bias;
        dlt_h5_kind kind;
    } known[] = {{2, 10, 5, 15, DLT_H5_FLOAT},
                 {4, 23, 8, 127, DLT_H5_FLOAT},
                 {8, 52, 11, 1023, DLT_H5_FLOAT},
                 {2, 7, 8, 127, DLT_H5_BFLOAT}};
    size_t sign = 0, exponent = 0, exponent_bits = 0, mantissa = 0, mantissa_bits = 0;
    const size_t size = H5Tget_size(type);
    const H5T_order_t order = H5Tget_order(type);
    if (H5Tget_fields(type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits) >= 0 &&
        H5Tget_norm(type) == H5T_NORM_IMPLIED && H5Tget_precision(type) == 8 * size && H5Tget_offset(type) == 0 &&
        (order == H5T_ORDER_LE || order == H5T_ORDER_BE)) {
        for (size_t i = 0; i < DLT_COUNT(known); i++) {
            if (size == known[i].size && sign == 8 * size - 1 && exponent == known[i].exponent_at &&
                exponent_bits == known[i].exponent_bits && mantissa == 0 && mantissa_bits == exponent &&
                H5Tget_ebias(type) == known[i].bias) {
                *out = (element_type){
                    .kind = known[i].kind, .bytes = (unsigned)size, .big_endian = order == H5T_ORDER_BE};
                return NULL;
            }
        }
    }
    return "its type is an unusual float";
}

static const char *classify(hid_t type, element_type *out)
{
    const char *refused = NULL;
    switch (H5Tget_class(type)) {
    case H5T_INTEGER:
        return classify_integer(type, out);
    case H5T_FLOAT:
        return classify_float(type, out);
    case H5T_ENUM: {
        hid_t base = H5Tget_super(type);
        refused = base >= 0 && H5Tget_class(base) == H5T_INTEGER ? classify_integer(base, out)
                                                                 : "its type is an unusual enum";
        if (base >= 0) {
            H5Tclose(base);
        }
        return refused;
    }
    case H5T_OPAQUE: /* of 2 bytes: how h5py stores Keras' bfloat16, if an attribute says so */
        *out = (element_type){.kind = DLT_H5_OPAQUE, .bytes = 2};
        return H5Tget_size(type) == 2 ? NULL : "its type is opaque";
    case H5T_STRING:
        return H5Tis_variable_str(type) > 0 ? "its type is variable-length string" : "its type is string";
    case H5T_VLEN:
        return "its type is variable-length";
    case H5T_COMPOUND:
        return "its type is compound";
    case H5T_REFERENCE:
        return "its type is reference";
    case H5T_ARRAY:
        return "its type is array";
    case H5T_BITFIELD:
        return "its type is bitfield";
    default:
        return "its type is unknown";
    }
}

/* NULL, or why the filters of a chunked dataset cannot be undone here; `text` may be used for the reason. */
static const char *put_filters(dlt_buf *out, hid_t creation, char text[DLT_H5_MAX_TEXT])
{
    static const struct {
        int id;
        const char *name;
    } names[] = {{4, "szip"},    {5, "nbit"},           {6, "scale-offset"}, {32000, "lzf"},  {32001, "blosc"},
                 {32004, "lz4"}, {32008, "bitshuffle"}, {32013, "zfp"},      {32015, "zstd"}, {32026, "blosc2"}};
    const int count = H5Pget_nfilters(creation);
    if (count < 0) {
        return "its filters are damaged";
    }
    unsigned ids[DLT_H5_MAX_FILTERS] = {0}, values[DLT_H5_MAX_FILTERS] = {0};
    for (int i = 0; i < count; i++) {
        unsigned flags = 0, value[8] = {0};
        size_t value_count = DLT_COUNT(value);
        const H5Z_filter_t id = H5Pget_filter2(creation, (unsigned)i, &flags, &value_count, value, 0, NULL, NULL);
        if (id < 0) {
            return "its filters are damaged";
        }
        if (id != DLT_H5_FILTER_DEFLATE && id != DLT_H5_FILTER_SHUFFLE && id != DLT_H5_FILTER_FLETCHER32) {
            const char *name = "unknown";
            for (size_t k = 0; k < DLT_COUNT(names); k++) {
                name = names[k].id == id ? names[k].name : name;
            }
            snprintf(text, DLT_H5_MAX_TEXT, "it needs filter %d (%s)", (int)id, name);
            return text;
        }
        for (int k = 0; k < i && k < DLT_H5_MAX_FILTERS; k++) {
            if (ids[k] == (unsigned)id) {
                return "it has a filter twice";
            }
        }
        if (i >= DLT_H5_MAX_FILTERS || (id == DLT_H5_FILTER_SHUFFLE && value_count < 1)) {
            return "its filters are damaged";
        }
        ids[i] = (unsigned)id;
        values[i] = value[0];
    }
    put_u8(out, (unsigned)count);
    for (int i = 0; i < count; i++) {
        put_u8(out, ids[i]);
        put_u32(out, values[i]);
    }
    return NULL;
}

/* Where one chunk lies; DLT_H5_NOWHERE also where libhdf5 fails, which 1.10 does for a chunk that was never written. The
 * caller compares the number of those found with what the index holds. False if what was learnt makes no sense. */
static bool find_chunk(walk *w, hid_t set, const hsize_t *at, h5_chunk *chunk)
{
    hsize_t stored = 0;
    uint32_t mask = 0;
    char unused = 0; /* never written to: the trap is set */
    *chunk = (h5_chunk){.offset = DLT_H5_NOWHERE};
    if (H5Dget_chunk_storage_size(set, at, &stored) < 0 || stored == 0) {
        return true;
    }
    w->source.trapped = 0;
    w->source.trap = true;
    const herr_t result = H5Dread_chunk(set, H5P_DEFAULT, at, &mask, &unused);
    w->source.trap = false;
    if (result < 0 || w->source.trapped != 1 || w->source.bytes != stored || stored > UINT32_MAX) {
        return false;
    }
    *chunk = (h5_chunk){.offset = w->source.offset, .bytes = (uint32_t)stored, .mask = mask};
    return true;
}

static const char *put_chunks(walk *w, hid_t set, hid_t creation, int rank, const hsize_t *dim)
{
    hsize_t chunk[DLT_MAX_RANK], grid[DLT_MAX_RANK], at[DLT_MAX_RANK] = {0};
    unsigned options = 0;
    uint64_t count = 1;
    hsize_t written = 0;
    if (rank < 1 || H5Pget_chunk(creation, rank, chunk) != rank || H5Pget_chunk_opts(creation, &options) < 0) {
        return "its chunk sizes are damaged";
    }
    for (int i = 0; i < rank; i++) {
        if (chunk[i] == 0) {
            return "its chunk sizes are damaged";
        }
        put_u64(&w->record, chunk[i]);
        grid[i] = dim[i] / chunk[i] + (dim[i] % chunk[i] != 0);
        if (__builtin_mul_overflow(count, grid[i], &count)) {
            return "it has too many chunks";
        }
    }
    const char *refused = put_filters(&w->record, creation, w->text);
    if (refused != NULL) {
        return refused;
    }
    hid_t space = H5Dget_space(set); /* 1.10.8 takes no H5S_ALL here */
    const bool counted = space >= 0 && H5Dget_num_chunks(set, space, &written) >= 0;
    if (space >= 0) {
        H5Sclose(space);
    }
    if (!counted) {
        return "its chunk index is damaged";
    }
    if (count == 0 || written == 0) {
        put_u64(&w->record, 0);
        return NULL;
    }
    if (count > (uint64_t)(DLT_H5_MAX_CHUNKS - w->chunks) ||
        (count > DLT_H5_SPARSE_CHUNKS && count / DLT_H5_SPARSE_RATIO > written)) {
        return "it has too many chunks";
    }
    w->chunks += (int64_t)count;
    put_u64(&w->record, count);
    for (uint64_t n = 0; n < count; n++) {
        h5_chunk found;
        bool partial = false;
        hsize_t corner[DLT_MAX_RANK];
        for (int i = 0; i < rank; i++) {
            corner[i] = at[i] * chunk[i];
            partial |= dim[i] - corner[i] < chunk[i];
        }
        if (!find_chunk(w, set, corner, &found)) {
            return "its chunk index is damaged";
        }
        written -= found.offset != DLT_H5_NOWHERE;
        if (partial && (options & H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS) != 0) {
            found.mask = UINT32_MAX;
        }
        dlt_buf_append(&w->record, (const char *)&found, sizeof found);
        for (int i = rank - 1; i >= 0; i--) { /* next place of the grid, row-major */
            if (++at[i] < grid[i]) {
                break;
            }
            at[i] = 0;
        }
    }
    return written == 0 ? NULL : "its chunk index is damaged";
}

static const char *put_layout(walk *w, hid_t set, hid_t creation, hid_t type, H5D_layout_t layout, int rank,
                              const hsize_t *dim, size_t element_bytes)
{
    dlt_buf *out = &w->record;
    if (layout == H5D_CONTIGUOUS) {
        put_u8(out, DLT_H5_CONTIGUOUS);
        const bool written = H5Dget_storage_size(set) > 0;
        const haddr_t offset = written ? H5Dget_offset(set) : HADDR_UNDEF; /* the same as DLT_H5_NOWHERE */
        put_u64(out, offset);
        return written && offset == HADDR_UNDEF ? "its place in the file is damaged" : NULL;
    }
    if (layout == H5D_CHUNKED) {
        put_u8(out, DLT_H5_CHUNKED);
        return put_chunks(w, set, creation, rank, dim);
    }
    if (layout != H5D_COMPACT) {
        return "its storage is of an unknown kind";
    }
    uint64_t bytes = element_bytes;
    for (int i = 0; i < rank; i++) {
        if (__builtin_mul_overflow(bytes, dim[i], &bytes)) {
            return "its shape is damaged";
        }
    }
    if (bytes > DLT_H5_MAX_COMPACT) {
        return "its shape is damaged";
    }
    char *data = dlt_alloc_zeroed((size_t)bytes, 1);
    if (data == NULL) {
        return "memory is short";
    }
    const bool good = bytes == 0 || H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0;
    put_u8(out, DLT_H5_COMPACT);
    put_bytes(out, data, (size_t)bytes);
    dlt_free(data);
    return good ? NULL : "its data are damaged";
}

/* Writes the dataset's part of the record; NULL, or why the dataset cannot be read. */
static const char *put_dataset(walk *w, hid_t set, hid_t creation, hid_t type)
{
    dlt_buf *out = &w->record;
    element_type element = {0};
    hsize_t dim[DLT_MAX_RANK] = {0};
    int rank = 0;
    const H5D_layout_t layout = H5Pget_layout(creation);
    if (layout == H5D_VIRTUAL) { /* asked first: libhdf5 would go looking for its sources */
        return "it is a virtual dataset";
    }
    if (H5Pget_external_count(creation) != 0) {
        return "its data lie in another file";
    }
    const char *refused = classify(type, &element);
    if (refused != NULL) {
        return refused;
    }
    hid_t space = H5Dget_space(set);
    if (space < 0) {
        return "its shape is damaged";
    }
    const H5S_class_t extent = H5Sget_simple_extent_type(space);
    if (extent == H5S_NULL) {
        refused = "it is empty";
    } else if (extent == H5S_SIMPLE) {
        rank = H5Sget_simple_extent_ndims(space);
        if (rank < 0 || rank > DLT_MAX_RANK) {
            refused = "its rank is over 8";
        } else if (H5Sget_simple_extent_dims(space, dim, NULL) != rank) {
            refused = "its shape is damaged";
        }
    } else if (extent != H5S_SCALAR) {
        refused = "its shape is damaged";
    }
    H5Sclose(space);
    if (refused != NULL) {
        return refused;
    }
    put_u8(out, element.kind);
    put_u8(out, element.bytes);
    put_u8(out, element.big_endian);
    put_u8(out, (unsigned)rank);
    for (int i = 0; i < rank; i++) {
        put_u64(out, dim[i]);
    }
    uint8_t fill[8] = {0};
    H5D_fill_value_t defined = H5D_FILL_VALUE_ERROR;
    if (H5Pfill_value_defined(creation, &defined) < 0 ||
        (defined == H5D_FILL_VALUE_USER_DEFINED && H5Pget_fill_value(creation, type, fill) < 0)) {
        return "its fill value is damaged";
    }
    dlt_buf_append(out, (const char *)fill, sizeof fill);
    return put_layout(w, set, creation, type, layout, rank, dim, element.bytes);
}

static void list_dataset(walk *w, hid_t set, const char *path)
{
    hid_t creation = H5Dget_create_plist(set), type = H5Dget_type(set);
    const char *refused = "its header is damaged";
    begin_object(w, DLT_H5_DATASET, path, "");
    if (creation >= 0 && type >= 0) {
        refused = put_dataset(w, set, creation, type);
    }
    if (refused != NULL) {
        begin_object(w, DLT_H5_DATASET, path, refused);
    }
    end_object(w, set);
    if (creation >= 0) {
        H5Pclose(creation);
    }
    if (type >= 0) {
        H5Tclose(type);
    }
}

static void list_other(walk *w, const char *path, const char *refused)
{
    begin_object(w, DLT_H5_OTHER, path, refused);
    end_object(w, H5I_INVALID_HID);
}

/* An object behind a hard link. */
static void list_object(walk *w, hid_t object, const char *path)
{
    H5O_info_t info;
    if (H5Oget_info2(object, &info, H5O_INFO_BASIC) < 0) {
        list_other(w, path, "its header is damaged");
    } else if (info.type == H5O_TYPE_DATASET) {
        list_dataset(w, object, path);
    } else if (info.type != H5O_TYPE_GROUP) {
        list_other(w, path, "it is a named type");
    } else if (first_visit(w, info.addr)) {
        begin_object(w, DLT_H5_GROUP, path, "");
        end_object(w, object);
        push_group(w, path, info.addr);
    } else {
        list_other(w, path, "it is another name of a group");
    }
}

static herr_t visit_link(hid_t group, const char *name, const H5L_info_t *info, void *context)
{
    walk *w = context;
    char path[DLT_H5_MAX_PATH + 1];
    const bool root = strcmp(w->folder, "/") == 0;
    const int length = snprintf(path, sizeof path, "%s/%s", root ? "" : w->folder, name);
    if (++w->objects > DLT_H5_MAX_OBJECTS) {
        give_up(w, "it has more than %d objects", (int)DLT_H5_MAX_OBJECTS);
        return -1;
    }
    if (name[0] == '\0' || strchr(name, '/') != NULL || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        give_up(w, "group '%.200s' holds an object with the invalid name '%.100s'", w->folder, name);
        return -1;
    }
    if (length < 0 || (size_t)length >= sizeof path) {
        give_up(w, "a path is longer than %d bytes", (int)DLT_H5_MAX_PATH);
        return -1;
    }
    if (info->type != H5L_TYPE_HARD) {
        list_other(w, path,
                   info->type == H5L_TYPE_SOFT       ? "it is a soft link"
                   : info->type == H5L_TYPE_EXTERNAL ? "it is an external link"
                                                     : "it is a link of an unknown kind");
    } else {
        hid_t object = H5Oopen(group, name, H5P_DEFAULT);
        if (object < 0) {
            list_other(w, path, "its header is damaged");
        } else {
            list_object(w, object, path);
            H5Oclose(object);
        }
    }
    return w->reason[0] == '\0' ? 0 : -1;
}

static void list_group(walk *w, const pending *group)
{
    int depth = 0;
    for (const char *c = group->path; *c != '\0'; c++) {
        depth += *c == '/' && c[1] != '\0';
    }
    if (depth > DLT_H5_MAX_DEPTH) {
        give_up(w, "groups lie more than %d deep inside each other", (int)DLT_H5_MAX_DEPTH);
        return;
    }
    hid_t id = H5Oopen_by_addr(w->file, group->address);
    hsize_t at = 0;
    w->folder = group->path;
    if (id < 0 || H5Literate(id, H5_INDEX_NAME, H5_ITER_INC, &at, visit_link, w) < 0) {
        char words[DLT_H5_MAX_TEXT / 2];
        last_error(words);
        give_up(w, "group '%.200s' is damaged (%s)", group->path, words);
    }
    if (id >= 0) {
        H5Oclose(id);
    }
}

static void list_file(walk *w)
{
    hid_t root = H5Gopen2(w->file, "/", H5P_DEFAULT);
    w->objects = 1;
    if (root < 0) {
        char words[DLT_H5_MAX_TEXT / 2];
        last_error(words);
        give_up(w, "its root is damaged (%s)", words);
        return;
    }
    list_object(w, root, "/");
    H5Gclose(root);
    while (w->group_count > 0 && w->reason[0] == '\0') {
        const pending group = w->groups[--w->group_count];
        list_group(w, &group);
        dlt_free(group.path);
    }
}

/* ---- the library ---- */

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static bool library_ready;
static hid_t reader_driver = H5I_INVALID_HID;

static void library_init(void)
{
    library_ready = H5dont_atexit() >= 0 && H5open() >= 0 && H5Eset_auto2(H5E_DEFAULT, NULL, NULL) >= 0 &&
                    H5PLset_loading_state(0) >= 0 && H5Lunregister(H5L_TYPE_EXTERNAL) >= 0;
    if (library_ready) {
        reader_driver = H5FDregister(&reader_class);
    }
}

bool dlt_h5_library(void)
{
    pthread_once(&library_once, library_init);
    return library_ready;
}

bool dlt_h5_list(int fd, int64_t size, h5_sink *sink)
{
    walk w = {.sink = sink, .source = {.fd = fd, .size = (haddr_t)size}, .file = H5I_INVALID_HID};
    const source_info info = {.at = &w.source};
    const bool ready = dlt_h5_library();
    put_u32(&w.record, DLT_H5_VERSION);
    sink_put(sink, DLT_H5_MAGIC, sizeof DLT_H5_MAGIC - 1);
    send_record(&w);
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (!ready || reader_driver < 0 || access < 0 || H5Pset_driver(access, reader_driver, &info) < 0 ||
        H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) < 0) {
        give_up(&w, "libhdf5 cannot be set up");
    } else {
        w.file = H5Fopen("/file", H5F_ACC_RDONLY, access); /* absolute: libhdf5 asks for no folder */
        if (w.file < 0) {
            char words[DLT_H5_MAX_TEXT / 2];
            last_error(words);
            give_up(&w, "%s", words[0] != '\0' ? words : "libhdf5 refuses it");
        } else {
            list_file(&w);
            if (H5Fclose(w.file) < 0) {
                give_up(&w, "libhdf5 cannot close it");
            }
        }
    }
    if (access >= 0) {
        H5Pclose(access);
    }
    const bool good = w.reason[0] == '\0';
    dlt_buf_reset(&w.record);
    if (good) {
        put_u8(&w.record, 'E');
        put_u64(&w.record, sink->written + sink->buffer.length);
    } else {
        put_u8(&w.record, 'X');
        put_string(&w.record, w.reason);
    }
    send_record(&w);
    sink_flush(sink);
    for (size_t i = 0; i < w.group_count; i++) {
        dlt_free(w.groups[i].path);
    }
    dlt_free(w.groups);
    dlt_free(w.seen);
    dlt_buf_release(&w.record);
    dlt_buf_release(&w.list);
    return good && !sink->failed;
}
