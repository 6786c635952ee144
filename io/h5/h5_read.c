/* io/h5/h5_read.c: elements of a dataset, read by pread: contiguous, compact and chunked storage; shuffle, deflate and
 * fletcher32; byte order and type conversion. The layout was checked against the file's size when the table was parsed.
 *
 * Filters as in the HDF5 File Format Specification 3.0, section III.B.3 (filter pipeline), and zlib (RFC 1950):
 *   shuffle     byte b of element i lies at b * count + i; bytes that fill no element lie at the end as they are
 *   deflate     one zlib stream
 *   fletcher32  4 bytes after the data, little-endian: sum2 << 16 | sum1 over big-endian 16-bit words */
#include "io/h5/h5_internal.h"

#include "base/alloc.h"
#include "base/num.h"
#include "base/sha256.h"
#include "io/file.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "values are read and written as on a little-endian machine"
#endif

/* ---- elements ---- */

enum { BLOCK = 256 }; /* elements converted at a time */

/* Elements in their widest form; which member is in use follows from the dataset's kind. */
typedef union block {
    int64_t i[BLOCK];
    uint64_t u[BLOCK];
    double f[BLOCK];
} block;

static double widen_f16(uint16_t bits)
{
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    const uint32_t exponent = bits >> 10 & 31, mantissa = bits & 0x3FF;
    if (exponent == 0) { /* zero and subnormal numbers: mantissa x 2^-24 */
        const double value = mantissa * 0x1p-24;
        return sign != 0 ? -value : value;
    }
    const uint32_t wide = sign | (exponent == 31 ? 255U : exponent + 112) << 23 | mantissa << 13;
    float value;
    memcpy(&value, &wide, sizeof value);
    return (double)value;
}

static double widen_bf16(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return (double)value;
}

/* The nearest 16-bit float (ties to even) of 1 + exponent_bits + mantissa_bits bits. */
static uint16_t narrow(double value, int exponent_bits, int mantissa_bits)
{
    const uint64_t bits = dlt_bits_of(value);
    const uint16_t sign = (uint16_t)(bits >> 48 & 0x8000);
    const int exponent = (int)(bits >> 52 & 2047) - 1023;
    const uint64_t mantissa = bits & ((UINT64_C(1) << 52) - 1);
    const int bias = (1 << (exponent_bits - 1)) - 1, smallest = 1 - bias;
    const uint32_t infinity = ((1U << exponent_bits) - 1) << mantissa_bits;
    if (exponent == 1024) {
        const uint32_t quiet = 1U << (mantissa_bits - 1);
        const uint32_t payload = mantissa != 0 ? quiet | (uint32_t)(mantissa >> (52 - mantissa_bits)) : 0;
        return (uint16_t)(sign | infinity | payload);
    }
    const int shift = 52 - mantissa_bits + (exponent < smallest ? smallest - exponent : 0);
    if (exponent == -1023 || shift > 53) {
        return sign;
    }
    const uint64_t whole = mantissa | UINT64_C(1) << 52, half = UINT64_C(1) << (shift - 1);
    const uint64_t rest = whole & (2 * half - 1);
    uint64_t kept = whole >> shift;
    kept += rest > half || (rest == half && (kept & 1) != 0);
    /* the leading one of a normal number is added to the exponent field, and so is a carry */
    const uint64_t field = exponent < smallest ? 0 : (uint64_t)(exponent + bias - 1);
    const uint64_t result = (field << mantissa_bits) + kept;
    return (uint16_t)(sign | (result > infinity ? infinity : result));
}

static void swap_bytes(uint8_t *data, size_t count, unsigned size)
{
    for (size_t i = 0; i < count; i++, data += size) {
        for (unsigned a = 0, b = size - 1; a < b; a++, b--) {
            const uint8_t kept = data[a];
            data[a] = data[b];
            data[b] = kept;
        }
    }
}

/* raw (little-endian, count <= BLOCK) -> widest form */
static void load(const dlt_h5_object *set, const uint8_t *raw, size_t count, block *out)
{
#define LOAD(member, ctype, expression)                                                                              \
    for (size_t i = 0; i < count; i++) {                                                                             \
        ctype x;                                                                                                     \
        memcpy(&x, raw + i * sizeof x, sizeof x);                                                                    \
        out->member[i] = (expression);                                                                               \
    }                                                                                                                \
    break
    switch (set->kind) {
    case DLT_H5_INT:
        switch (set->element_bytes) {
        case 1:
            LOAD(i, int8_t, x);
        case 2:
            LOAD(i, int16_t, x);
        case 4:
            LOAD(i, int32_t, x);
        default:
            LOAD(i, int64_t, x);
        }
        break;
    case DLT_H5_UINT:
        switch (set->element_bytes) {
        case 1:
            LOAD(u, uint8_t, x);
        case 2:
            LOAD(u, uint16_t, x);
        case 4:
            LOAD(u, uint32_t, x);
        default:
            LOAD(u, uint64_t, x);
        }
        break;
    case DLT_H5_FLOAT:
        switch (set->element_bytes) {
        case 2:
            LOAD(f, uint16_t, widen_f16(x));
        case 4:
            LOAD(f, float, (double)x);
        default:
            LOAD(f, double, x);
        }
        break;
    case DLT_H5_BFLOAT:
        LOAD(f, uint16_t, widen_bf16(x));
    }
#undef LOAD
}

/* Each store returns the index of the first element that does not fit, or count. */

static size_t store_ints(const int64_t *in, size_t count, dlt_dtype type, void *out)
{
#define STORE(ctype, least, most)                                                                                    \
    for (size_t i = 0; i < count; i++) {                                                                             \
        if (in[i] < (least) || in[i] > (most)) {                                                                     \
            return i;                                                                                                \
        }                                                                                                            \
        ((ctype *)out)[i] = (ctype)in[i];                                                                            \
    }                                                                                                                \
    return count
    switch (type) {
    case DLT_U8:
        STORE(uint8_t, 0, UINT8_MAX);
    case DLT_I8:
        STORE(int8_t, INT8_MIN, INT8_MAX);
    case DLT_I16:
        STORE(int16_t, INT16_MIN, INT16_MAX);
    case DLT_I32:
        STORE(int32_t, INT32_MIN, INT32_MAX);
    default:
        memcpy(out, in, count * sizeof *in);
        return count;
    }
#undef STORE
}

static size_t store_floats(const double *in, size_t count, dlt_dtype type, void *out)
{
    for (size_t i = 0; i < count; i++) {
        bool infinite = false;
        switch (type) {
        case DLT_F32: {
            const float x = (float)in[i];
            ((float *)out)[i] = x;
            infinite = isinf(x);
            break;
        }
        case DLT_BF16: {
            const uint16_t x = narrow(in[i], 8, 7);
            ((uint16_t *)out)[i] = x;
            infinite = (x & 0x7FFF) == 0x7F80;
            break;
        }
        case DLT_F16: {
            const uint16_t x = narrow(in[i], 5, 10);
            ((uint16_t *)out)[i] = x;
            infinite = (x & 0x7FFF) == 0x7C00;
            break;
        }
        default:
            ((double *)out)[i] = in[i];
            break;
        }
        if (infinite && isfinite(in[i])) {
            return i;
        }
    }
    return count;
}

/* Widest form -> out; the block is used up. Integers become doubles exactly up to 2^53, the nearest beyond. */
static size_t store(const dlt_h5_object *set, block *values, size_t count, dlt_dtype type, void *out)
{
    const bool real = dlt_dtype_is_real(type);
    if (set->kind == DLT_H5_INT || set->kind == DLT_H5_UINT) {
        for (size_t i = 0; i < count; i++) {
            if (real) {
                values->f[i] = set->kind == DLT_H5_INT ? (double)values->i[i] : (double)values->u[i];
            } else if (set->kind == DLT_H5_UINT && values->u[i] > INT64_MAX) {
                return store_ints(values->i, i, type, out); /* an earlier one may be out of range */
            }
        }
    } else if (!real) {
        for (size_t i = 0; i < count; i++) {
            const double x = values->f[i];
            if (!(x >= -0x1p63 && x < 0x1p63) || x != trunc(x)) {
                return store_ints(values->i, i, type, out); /* an earlier one may be out of range */
            }
            values->i[i] = (int64_t)x;
        }
    }
    return real ? store_floats(values->f, count, type, out) : store_ints(values->i, count, type, out);
}

/* ---- one read ---- */

typedef struct job {
    dlt_h5_file *file;
    const dlt_h5_object *set;
    const h5_layout *layout;
    dlt_dtype type;
    size_t out_bytes; /* of one element */
    bool same;        /* no conversion but byte order */
    int64_t first;    /* index of out's first element in the dataset */
    char *out;
    dlt_diag *diag;
} job;

static dlt_status does_not_fit(const job *j, int64_t element, const uint8_t *raw)
{
    char where[160], value[32];
    dlt_shape index = {.rank = j->set->shape.rank};
    block one;
    load(j->set, raw, 1, &one);
    for (int i = index.rank - 1; i >= 0; i--) {
        index.dim[i] = element % j->set->shape.dim[i];
        element /= j->set->shape.dim[i];
    }
    if (j->set->kind == DLT_H5_INT) {
        snprintf(value, sizeof value, "%lld", (long long)one.i[0]);
    } else if (j->set->kind == DLT_H5_UINT) {
        snprintf(value, sizeof value, "%llu", (unsigned long long)one.u[0]);
    } else {
        dlt_format_double(one.f[0], value, sizeof value);
    }
    return dlt_fail(j->diag, j->file->kind, j->file->at, "'%s' in '%s' holds %s at %s, which is no %s", j->set->path,
                    j->file->path, value, dlt_shape_text(&index, where, sizeof where), dlt_dtype_name(j->type));
}

/* Converts count elements as they lie in the file to place `at` (in elements) of out. */
static dlt_status convert(const job *j, const uint8_t *raw, size_t count, int64_t at)
{
    const unsigned size = j->set->element_bytes;
    char *out = j->out + (size_t)at * j->out_bytes;
    if (j->same) {
        memcpy(out, raw, count * size);
        if (j->set->big_endian) {
            swap_bytes((uint8_t *)out, count, size);
        }
        return DLT_OK;
    }
    uint8_t swapped[BLOCK * 8];
    for (size_t done = 0; done < count; done += BLOCK) {
        const size_t n = count - done < BLOCK ? count - done : BLOCK;
        const uint8_t *from = raw + done * size;
        block values;
        if (j->set->big_endian) {
            memcpy(swapped, from, n * size);
            swap_bytes(swapped, n, size);
            from = swapped;
        }
        load(j->set, from, n, &values);
        const size_t good = store(j->set, &values, n, j->type, out + done * j->out_bytes);
        if (good < n) {
            return does_not_fit(j, j->first + at + (int64_t)(done + good), from + good * size);
        }
    }
    return DLT_OK;
}

/* Converts the fill value to count elements of out. */
static dlt_status fill(const job *j, size_t count, int64_t at)
{
    const unsigned size = j->set->element_bytes;
    uint8_t raw[BLOCK * 8];
    for (size_t i = 0; i < BLOCK; i++) {
        memcpy(raw + i * size, j->layout->fill, size);
    }
    for (size_t done = 0; done < count; done += BLOCK) {
        const size_t n = count - done < BLOCK ? count - done : BLOCK;
        DLT_TRY(convert(j, raw, n, at + (int64_t)done));
    }
    return DLT_OK;
}

static dlt_status read_contiguous(const job *j, size_t count)
{
    enum { PIECE = 1 << 16 };
    const unsigned size = j->set->element_bytes;
    const int64_t start = (int64_t)j->layout->offset + j->first * (int64_t)size;
    if (j->layout->offset == DLT_H5_NOWHERE) {
        return fill(j, count, 0);
    }
    if (j->same) {
        DLT_TRY(dlt_file_read_at(j->file->fd, j->file->path, j->out, count * size, start, j->file->kind, j->diag));
        if (j->set->big_endian) {
            swap_bytes((uint8_t *)j->out, count, size);
        }
        return DLT_OK;
    }
    const size_t piece = PIECE / size;
    uint8_t *raw = dlt_alloc(PIECE);
    dlt_status status = raw != NULL ? DLT_OK : dlt_fail_memory(j->diag);
    for (size_t done = 0; done < count && status == DLT_OK; done += piece) {
        const size_t n = count - done < piece ? count - done : piece;
        status = dlt_file_read_at(j->file->fd, j->file->path, raw, n * size, start + (int64_t)(done * size),
                                  j->file->kind, j->diag);
        if (status == DLT_OK) {
            status = convert(j, raw, n, (int64_t)done);
        }
    }
    dlt_free(raw);
    return status;
}

/* ---- chunks ---- */

uint32_t dlt_h5_fletcher32(const uint8_t *data, size_t bytes)
{
    uint32_t sum1 = 0, sum2 = 0;
    size_t words = bytes / 2;
    while (words > 0) {
        size_t run = words < 360 ? words : 360; /* as many as cannot overflow */
        words -= run;
        for (; run > 0; run--, data += 2) {
            sum1 += (uint32_t)data[0] << 8 | data[1];
            sum2 += sum1;
        }
        sum1 = (sum1 & 0xFFFF) + (sum1 >> 16);
        sum2 = (sum2 & 0xFFFF) + (sum2 >> 16);
    }
    if (bytes % 2 != 0) {
        sum1 += (uint32_t)data[0] << 8;
        sum2 += sum1;
        sum1 = (sum1 & 0xFFFF) + (sum1 >> 16);
        sum2 = (sum2 & 0xFFFF) + (sum2 >> 16);
    }
    sum1 = (sum1 & 0xFFFF) + (sum1 >> 16);
    sum2 = (sum2 & 0xFFFF) + (sum2 >> 16);
    return sum2 << 16 | sum1;
}

static voidpf zlib_alloc(voidpf context, uInt count, uInt size)
{
    (void)context;
    return dlt_alloc_zeroed(count, size);
}

static void zlib_free(voidpf context, voidpf memory)
{
    (void)context;
    dlt_free(memory);
}

/* Inflates one stream of `bytes` bytes to at most room; false if it is damaged, longer, or memory is refused (*memory). */
static bool inflate_all(const uint8_t *data, size_t bytes, uint8_t *out, size_t room, size_t *length, bool *memory)
{
    z_stream stream = {.zalloc = zlib_alloc, .zfree = zlib_free};
    if (bytes > UINT32_MAX || room > UINT32_MAX) {
        return false;
    }
    if (inflateInit(&stream) != Z_OK) {
        *memory = true;
        return false;
    }
    stream.next_in = (z_const Bytef *)data;
    stream.avail_in = (uInt)bytes;
    stream.next_out = out;
    stream.avail_out = (uInt)room;
    const int result = inflate(&stream, Z_FINISH);
    *length = room - stream.avail_out;
    *memory = result == Z_MEM_ERROR;
    inflateEnd(&stream);
    return result == Z_STREAM_END;
}

static void unshuffle(const uint8_t *in, size_t bytes, size_t size, uint8_t *out)
{
    const size_t count = bytes / size;
    for (size_t b = 0; b < size; b++) {
        for (size_t i = 0; i < count; i++) {
            out[i * size + b] = in[b * count + i];
        }
    }
    memcpy(out + count * size, in + count * size, bytes - count * size);
}

static dlt_status damaged(const job *j, int64_t chunk, const char *what)
{
    return dlt_h5_bad(j->file, j->diag, "chunk %lld of '%s' is damaged: %s", (long long)chunk, j->set->path, what);
}

/* Undoes filter i; *data is replaced by a new buffer where needed. */
static dlt_status undo_filter(const job *j, int64_t chunk, int i, uint8_t **data, size_t *bytes)
{
    const unsigned id = j->layout->filter[i].id;
    if (id == DLT_H5_FILTER_FLETCHER32) {
        if (*bytes < 4) {
            return damaged(j, chunk, "it is too short");
        }
        *bytes -= 4;
        const uint8_t *sum = *data + *bytes;
        const uint32_t stored =
            (uint32_t)sum[0] | (uint32_t)sum[1] << 8 | (uint32_t)sum[2] << 16 | (uint32_t)sum[3] << 24;
        return dlt_h5_fletcher32(*data, *bytes) == stored ? DLT_OK : damaged(j, chunk, "its checksum differs");
    }
    /* a sum that was added before this filter is still there */
    const size_t room = (size_t)j->layout->chunk_bytes + 4;
    uint8_t *out = dlt_alloc(room);
    if (out == NULL) {
        return dlt_fail_memory(j->diag);
    }
    size_t length = 0;
    bool memory = false, good = true;
    if (id == DLT_H5_FILTER_DEFLATE) {
        good = inflate_all(*data, *bytes, out, room, &length, &memory);
    } else if (*bytes <= room) {
        unshuffle(*data, *bytes, j->layout->filter[i].value, out);
        length = *bytes;
    } else {
        good = false;
    }
    dlt_free(*data);
    *data = out;
    *bytes = length;
    if (memory) {
        return dlt_fail_memory(j->diag);
    }
    return good ? DLT_OK : damaged(j, chunk, "it cannot be decompressed");
}

/* Reads and decodes chunk number `chunk` into a new buffer of chunk_bytes. */
static dlt_status decode(const job *j, int64_t chunk, uint8_t **decoded)
{
    const h5_chunk *place = &j->layout->chunks[chunk];
    size_t bytes = place->bytes;
    uint8_t *data = dlt_alloc(bytes);
    *decoded = NULL;
    if (data == NULL) {
        return dlt_fail_memory(j->diag);
    }
    dlt_status status =
        dlt_file_read_at(j->file->fd, j->file->path, data, bytes, (int64_t)place->offset, j->file->kind, j->diag);
    for (int i = j->layout->filter_count - 1; i >= 0 && status == DLT_OK; i--) {
        if ((place->mask >> i & 1) == 0) {
            status = undo_filter(j, chunk, i, &data, &bytes);
        }
    }
    if (status == DLT_OK && bytes != (size_t)j->layout->chunk_bytes) {
        status = damaged(j, chunk, "it is of the wrong length");
    }
    if (status != DLT_OK) {
        dlt_free(data);
        return status;
    }
    *decoded = data;
    return DLT_OK;
}

/* Frees the slot that was used longest ago; false if all are in use. The lock is held. */
static bool evict(dlt_h5_file *file)
{
    h5_slot *oldest = NULL;
    for (size_t i = 0; i < DLT_H5_SLOTS; i++) {
        h5_slot *slot = &file->slots[i];
        if (slot->data != NULL && slot->users == 0 && (oldest == NULL || slot->used < oldest->used)) {
            oldest = slot;
        }
    }
    if (oldest == NULL) {
        return false;
    }
    file->cached -= oldest->bytes;
    dlt_free(oldest->data);
    *oldest = (h5_slot){0};
    return true;
}

void dlt_h5_set_cache(dlt_h5_file *file, size_t bytes)
{
    pthread_mutex_lock(&file->lock);
    file->cache_limit = bytes;
    while (file->cached > bytes && evict(file)) {
    }
    pthread_mutex_unlock(&file->lock);
}

static h5_slot *find_slot(dlt_h5_file *file, const h5_layout *layout, int64_t chunk)
{
    for (size_t i = 0; i < DLT_H5_SLOTS; i++) {
        h5_slot *slot = &file->slots[i];
        if (slot->data != NULL && slot->layout == layout && slot->chunk == chunk) {
            return slot;
        }
    }
    return NULL;
}

static h5_slot *free_slot(dlt_h5_file *file, size_t bytes)
{
    if (bytes > file->cache_limit) {
        return NULL;
    }
    for (;;) {
        h5_slot *empty = NULL;
        for (size_t i = 0; i < DLT_H5_SLOTS && empty == NULL; i++) {
            empty = file->slots[i].data == NULL ? &file->slots[i] : NULL;
        }
        if (empty != NULL && file->cached <= file->cache_limit - bytes) {
            return empty;
        }
        if (!evict(file)) {
            return NULL;
        }
    }
}

/* A decoded chunk: from the cache (*slot, pinned) or a buffer of the caller's (*slot NULL). Chunks that the read uses up
 * are not kept: a pass over the file needs each of them once. */
static dlt_status get_chunk(const job *j, int64_t chunk, bool keep, h5_slot **slot, uint8_t **data)
{
    dlt_h5_file *file = j->file;
    const size_t bytes = (size_t)j->layout->chunk_bytes;
    pthread_mutex_lock(&file->lock);
    *slot = find_slot(file, j->layout, chunk);
    if (*slot != NULL) {
        (*slot)->users++;
        (*slot)->used = ++file->tick;
        *data = (*slot)->data;
    }
    pthread_mutex_unlock(&file->lock);
    if (*slot != NULL) {
        return DLT_OK;
    }
    DLT_TRY(decode(j, chunk, data));
    if (!keep) {
        return DLT_OK;
    }
    pthread_mutex_lock(&file->lock);
    /* another thread may have put it there meanwhile: then this copy stays the caller's */
    h5_slot *empty = find_slot(file, j->layout, chunk) == NULL ? free_slot(file, bytes) : NULL;
    if (empty != NULL) {
        *empty = (h5_slot){
            .layout = j->layout, .chunk = chunk, .data = *data, .bytes = bytes, .users = 1, .used = ++file->tick};
        file->cached += bytes;
        *slot = empty;
    }
    pthread_mutex_unlock(&file->lock);
    return DLT_OK;
}

static void put_back(const job *j, h5_slot *slot, uint8_t *data)
{
    if (slot == NULL) {
        dlt_free(data);
        return;
    }
    pthread_mutex_lock(&j->file->lock);
    slot->users--;
    pthread_mutex_unlock(&j->file->lock);
}

/* Elements [low, high) along each axis, all inside one chunk whose first element is `corner`; data NULL: never written. */
static dlt_status copy_box(const job *j, const int64_t *low, const int64_t *high, const int64_t *corner,
                           const uint8_t *data)
{
    const dlt_shape *shape = &j->set->shape, *chunk = &j->set->chunk;
    const int rank = shape->rank;
    int64_t from_stride[DLT_MAX_RANK], to_stride[DLT_MAX_RANK], at[DLT_MAX_RANK];
    int axis = rank - 1; /* axes after it are whole in chunk and dataset, so one run covers them */
    for (int i = rank - 1; i >= 0; i--) {
        from_stride[i] = i == rank - 1 ? 1 : from_stride[i + 1] * chunk->dim[i + 1];
        to_stride[i] = i == rank - 1 ? 1 : to_stride[i + 1] * shape->dim[i + 1];
        at[i] = low[i];
    }
    while (axis > 0 && chunk->dim[axis] == shape->dim[axis]) {
        axis--;
    }
    const int64_t run = (high[axis] - low[axis]) * to_stride[axis];
    for (;;) {
        int64_t from = 0, to = -j->first;
        for (int i = 0; i < rank; i++) {
            from += (at[i] - corner[i]) * from_stride[i];
            to += at[i] * to_stride[i];
        }
        DLT_TRY(data != NULL ? convert(j, data + from * (int64_t)j->set->element_bytes, (size_t)run, to)
                             : fill(j, (size_t)run, to));
        int i = axis - 1;
        for (; i >= 0; i--) {
            if (++at[i] < high[i]) {
                break;
            }
            at[i] = low[i];
        }
        if (i < 0) {
            return DLT_OK;
        }
    }
}

static dlt_status read_chunk(const job *j, const int64_t *place, int64_t number, int64_t first, int64_t end)
{
    const dlt_shape *shape = &j->set->shape, *chunk = &j->set->chunk;
    int64_t low[DLT_MAX_RANK], high[DLT_MAX_RANK], corner[DLT_MAX_RANK];
    assert(shape->rank > 0); /* a scalar has no chunks: h5_parse.c refuses it */
    for (int i = 0; i < shape->rank; i++) {
        corner[i] = low[i] = place[i] * chunk->dim[i];
        high[i] = shape->dim[i] - low[i] < chunk->dim[i] ? shape->dim[i] : low[i] + chunk->dim[i];
    }
    const bool keep = low[0] < first || high[0] > end;
    low[0] = low[0] < first ? first : low[0];
    high[0] = high[0] > end ? end : high[0];
    if (j->layout->chunks == NULL || j->layout->chunks[number].offset == DLT_H5_NOWHERE) {
        return copy_box(j, low, high, corner, NULL);
    }
    h5_slot *slot = NULL;
    uint8_t *data = NULL;
    DLT_TRY(get_chunk(j, number, keep, &slot, &data));
    const dlt_status status = copy_box(j, low, high, corner, data);
    put_back(j, slot, data);
    return status;
}

/* Rows [first, end); neither they nor the other axes are empty. */
static dlt_status read_chunked(const job *j, int64_t first, int64_t end)
{
    const int rank = j->set->shape.rank;
    int64_t place[DLT_MAX_RANK] = {0}, number;
    const int64_t last = (end - 1) / j->set->chunk.dim[0];
    place[0] = first / j->set->chunk.dim[0];
    if (j->layout->chunks == NULL) { /* nothing was written: no walk over what may be a huge grid */
        return fill(j, (size_t)(j->set->bytes / j->set->element_bytes / j->set->shape.dim[0] * (end - first)), 0);
    }
    for (;;) {
        number = 0;
        for (int i = 0; i < rank; i++) {
            number = number * j->layout->grid[i] + place[i];
        }
        DLT_TRY(read_chunk(j, place, number, first, end));
        int i = rank - 1;
        for (; i > 0; i--) {
            if (++place[i] < j->layout->grid[i]) {
                break;
            }
            place[i] = 0;
        }
        if (i == 0 && ++place[0] > last) {
            return DLT_OK;
        }
    }
}

/* ---- the door ---- */

static bool is_same(const dlt_h5_object *set, dlt_dtype type)
{
    if (set->element_bytes != dlt_dtype_size(type)) {
        return false;
    }
    switch (set->kind) {
    case DLT_H5_INT:
        return type == DLT_I8 || type == DLT_I16 || type == DLT_I32 || type == DLT_I64;
    case DLT_H5_UINT:
        return type == DLT_U8;
    case DLT_H5_FLOAT:
        return type == DLT_F16 || type == DLT_F32 || type == DLT_F64;
    default:
        return type == DLT_BF16;
    }
}

/* What a whole dataset or some rows of it take; false on overflow. */
static bool wanted_bytes(const dlt_h5_object *set, const dlt_h5_want *want, size_t *elements, size_t *bytes)
{
    int64_t count = 1;
    for (int i = 0; i < set->shape.rank; i++) {
        if (!dlt_mul_i64(count, i == 0 && !want->all ? want->count : set->shape.dim[i], &count)) {
            return false;
        }
    }
    *elements = (size_t)count;
    return dlt_mul_size((size_t)count, dlt_dtype_size(want->dtype), bytes);
}

dlt_status dlt_h5_read(dlt_h5_file *file, const dlt_h5_object *dataset, const dlt_h5_want *want, void *out,
                       size_t room, dlt_diag *diag)
{
    const dlt_shape *shape = &dataset->shape;
    char found[160], expected[160];
    size_t elements = 0, bytes = 0;
    if (dataset->refused != NULL || dataset->object_class != DLT_H5_DATASET) {
        return dlt_fail(diag, file->kind, file->at, "'%s' in '%s' cannot be read: %s", dataset->path, file->path,
                        dataset->refused != NULL ? dataset->refused : "it is a group");
    }
    if (want->shape != NULL && !dlt_shape_equal(shape, want->shape)) {
        return dlt_fail(diag, file->kind, file->at, "'%s' in '%s' has shape %s; expected %s", dataset->path,
                        file->path, dlt_shape_text(shape, found, sizeof found),
                        dlt_shape_text(want->shape, expected, sizeof expected));
    }
    if (!want->all && (shape->rank == 0 || want->first < 0 || want->count < 0 || want->first > shape->dim[0] ||
                       want->count > shape->dim[0] - want->first)) {
        return dlt_fail(diag, DLT_E_INTERNAL, file->at,
                        "%lld rows from row %lld of '%s' were asked for, whose shape is %s", (long long)want->count,
                        (long long)want->first, dataset->path, dlt_shape_text(shape, found, sizeof found));
    }
    if (!wanted_bytes(dataset, want, &elements, &bytes) || bytes != room) {
        return dlt_fail(diag, DLT_E_INTERNAL, file->at, "'%s' needs %zu bytes of room, not %zu", dataset->path, bytes,
                        room);
    }
    if (elements == 0) {
        return DLT_OK;
    }
    const int64_t rows = shape->rank > 0 ? (want->all ? shape->dim[0] : want->count) : 1;
    const int64_t first = want->all ? 0 : want->first;
    const job j = {.file = file,
                   .set = dataset,
                   .layout = dataset->layout,
                   .type = want->dtype,
                   .out_bytes = dlt_dtype_size(want->dtype),
                   .same = is_same(dataset, want->dtype),
                   .first = first * ((int64_t)elements / rows),
                   .out = out,
                   .diag = diag};
    switch (dataset->storage) {
    case DLT_H5_COMPACT:
        return convert(&j, j.layout->compact + (size_t)j.first * dataset->element_bytes, elements, 0);
    case DLT_H5_CONTIGUOUS:
        return read_contiguous(&j, elements);
    default:
        return read_chunked(&j, first, first + rows);
    }
}

dlt_status dlt_h5_digest(dlt_h5_file *file, const dlt_h5_object *dataset, uint8_t digest[32], dlt_diag *diag)
{
    enum { PIECE = 1 << 18 };
    const h5_layout *layout = dataset->layout;
    if (dataset->refused != NULL || dataset->object_class != DLT_H5_DATASET ||
        dataset->storage != DLT_H5_CONTIGUOUS || (dataset->bytes > 0 && layout->offset == DLT_H5_NOWHERE)) {
        return dlt_fail(diag, file->kind, file->at, "'%s' in '%s' is not stored in one piece", dataset->path,
                        file->path);
    }
    uint8_t *piece = dlt_alloc(PIECE);
    if (piece == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_sha256 sha;
    dlt_status status = DLT_OK;
    dlt_sha256_init(&sha);
    for (int64_t done = 0; done < dataset->bytes && status == DLT_OK; done += PIECE) {
        const size_t bytes = dataset->bytes - done < PIECE ? (size_t)(dataset->bytes - done) : PIECE;
        status =
            dlt_file_read_at(file->fd, file->path, piece, bytes, (int64_t)layout->offset + done, file->kind, diag);
        if (status == DLT_OK) {
            dlt_sha256_update(&sha, piece, bytes);
        }
    }
    dlt_sha256_final(&sha, digest);
    dlt_free(piece);
    return status;
}
