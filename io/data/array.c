/* io/data/array.c: rows of arrays in files, and sources made of them. */
#include "io/data/array.h"

#include "base/alloc.h"
#include "io/data/convert.h"

#include <math.h>
#include <string.h>

enum { CHUNK_BYTES = 4 << 20 };

/* ---- one array ---- */

static int64_t rows_of(const dlt_array *a)
{
    return a->shape.dim[0];
}

static size_t handed_bytes(const dlt_array *a)
{
    return (size_t)a->row_elements * dlt_dtype_size(a->dtype);
}

static void swap_bytes(unsigned char *at, size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++, at += size) {
        for (size_t k = 0; k < size / 2; k++) {
            const unsigned char byte = at[k];
            at[k] = at[size - 1 - k];
            at[size - 1 - k] = byte;
        }
    }
}

/* Elements as in the file, at `raw`, become elements as handed out, at `out`. Both may lie in one block when
 * raw is its end: a widened element never passes the ones that are still to be read. */
static dlt_status hand_out(const dlt_array *a, int64_t first, int64_t rows, unsigned char *raw,
                           unsigned char *out, dlt_diag *diag)
{
    const size_t count = (size_t)(rows * a->row_elements);
    if (a->swap) {
        swap_bytes(raw, count, a->element_bytes);
    }
    for (size_t i = 0; a->element == DLT_ELEMENT_U16 && i < count; i++) {
        uint16_t value;
        memcpy(&value, raw + 2 * i, sizeof value);
        const int32_t wide = value;
        memcpy(out + 4 * i, &wide, sizeof wide);
    }
    for (size_t i = 0; a->element == DLT_ELEMENT_U32 && i < count; i++) {
        uint32_t value;
        memcpy(&value, raw + 4 * i, sizeof value);
        const int64_t wide = value;
        memcpy(out + 8 * i, &wide, sizeof wide);
    }
    for (size_t i = 0; a->element == DLT_ELEMENT_U64 && i < count; i++) {
        uint64_t value;
        memcpy(&value, raw + 8 * i, sizeof value);
        if (value > INT64_MAX) {
            return dlt_fail(diag, DLT_E_DATA, a->at,
                            "'%s': record %lld has the value %llu; at most 9223372036854775807 is supported",
                            a->path, (long long)(first + (int64_t)i / a->row_elements) + 1,
                            (unsigned long long)value);
        }
    }
    for (size_t i = 0; a->element == DLT_ELEMENT_BOOL && i < count; i++) {
        out[i] = out[i] != 0;
    }
    return DLT_OK;
}

/* Bytes of elements from front to back. */
static dlt_status pull(dlt_array *a, void *out, size_t bytes, dlt_diag *diag)
{
    size_t got = 0;
    if (a->pull != NULL) {
        DLT_TRY(a->pull(a, out, bytes, &got, diag));
    } else {
        DLT_TRY(dlt_stream_fill(a->stream, out, bytes, &got, diag));
    }
    if (got < bytes) {
        return dlt_fail(
            diag, DLT_E_DATA, a->at, "'%s' ends in record %lld of the %lld that its header promises", a->path,
            (long long)(a->next_row + (int64_t)(got / ((size_t)a->row_elements * a->element_bytes))) + 1,
            (long long)rows_of(a));
    }
    return DLT_OK;
}

/* Place of element `e` of a row (counted with the last axis fastest) when the first axis is the fastest:
 * counted in columns of rows_of(a) elements. */
static int64_t column_of_element(const dlt_array *a, int64_t e)
{
    int64_t place = 0, step = a->row_elements;
    for (int d = a->shape.rank - 1; d >= 1; d--) { /* the last axis is the slowest of the columns */
        step /= a->shape.dim[d];
        place += e % a->shape.dim[d] * step;
        e /= a->shape.dim[d];
    }
    return place;
}

/* Rows of an array that is stored by column, from its file: one run of bytes for each element of a row. */
static dlt_status read_columns(dlt_array *a, int64_t first, int64_t rows, unsigned char *raw, dlt_diag *diag)
{
    const size_t size = a->element_bytes;
    unsigned char *run = dlt_alloc((size_t)rows * size);
    if (run == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_status status = DLT_OK;
    for (int64_t e = 0; status == DLT_OK && e < a->row_elements; e++) {
        const int64_t from = a->offset + (column_of_element(a, e) * rows_of(a) + first) * (int64_t)size;
        status = dlt_file_read_at(a->fd, a->path, run, (size_t)rows * size, from, DLT_E_DATA, diag);
        for (int64_t r = 0; status == DLT_OK && r < rows; r++) {
            memcpy(raw + (size_t)(r * a->row_elements + e) * size, run + (size_t)r * size, size);
        }
    }
    dlt_free(run);
    return status;
}

static dlt_status load_whole(dlt_array *a, uint64_t most, dlt_diag *diag);

/* Rows as handed out, densely packed. Where the array is read from front to back, `first` must be the next
 * row. */
static dlt_status read_rows(dlt_array *a, int64_t first, int64_t rows, unsigned char *out, dlt_diag *diag)
{
    const size_t count = (size_t)(rows * a->row_elements), bytes = count * a->element_bytes;
    if (a->whole != NULL) {
        memcpy(out, a->whole + (size_t)first * handed_bytes(a), (size_t)rows * handed_bytes(a));
        return DLT_OK;
    }
    if (a->read != NULL) {
        return a->read(a, first, rows, out, diag);
    }
    unsigned char *raw = out + (count * dlt_dtype_size(a->dtype) - bytes);
    if (a->fd >= 0 && a->by_column) {
        DLT_TRY(read_columns(a, first, rows, raw, diag));
    } else if (a->fd >= 0) {
        const int64_t from = a->offset + first * a->row_elements * (int64_t)a->element_bytes;
        DLT_TRY(dlt_file_read_at(a->fd, a->path, raw, bytes, from, DLT_E_DATA, diag));
    } else {
        DLT_TRY(pull(a, raw, bytes, diag));
        a->next_row = first + rows;
    }
    return hand_out(a, first, rows, raw, out, diag);
}

static dlt_status load_whole(dlt_array *a, uint64_t most, dlt_diag *diag)
{
    const int64_t rows = rows_of(a);
    const size_t bytes = (size_t)rows * handed_bytes(a);
    if (bytes > most) {
        return dlt_fail(diag, DLT_E_DATA, a->at,
                        "'%s' is stored by column (Fortran order) and compressed, so it must be held in "
                        "memory, where it takes "
                        "more than data.memory allows; store it with numpy.ascontiguousarray",
                        a->path);
    }
    unsigned char *whole = dlt_alloc(bytes), *raw = NULL;
    if (whole == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_status status = DLT_OK;
    if (a->by_column && a->fd < 0 && a->read == NULL) {
        const size_t size = a->element_bytes;
        raw = dlt_alloc((size_t)(rows * a->row_elements) * size);
        status =
            raw != NULL ? pull(a, raw, (size_t)(rows * a->row_elements) * size, diag) : dlt_fail_memory(diag);
        unsigned char *to = whole + (bytes - (size_t)(rows * a->row_elements) * size);
        for (int64_t e = 0; status == DLT_OK && e < a->row_elements; e++) {
            const int64_t column = column_of_element(a, e);
            for (int64_t r = 0; r < rows; r++) {
                memcpy(to + (size_t)(r * a->row_elements + e) * size,
                       raw + (size_t)(column * rows + r) * size, size);
            }
        }
        if (status == DLT_OK) {
            status = hand_out(a, 0, rows, to, whole, diag);
        }
        a->next_row = rows;
    } else {
        status = read_rows(a, 0, rows, whole, diag);
    }
    dlt_free(raw);
    if (status != DLT_OK) {
        dlt_free(whole);
        return status;
    }
    a->whole = whole;
    return DLT_OK;
}

/* ---- headers against each other and against train ---- */

dlt_arrays *dlt_arrays_create(dlt_source *source, dlt_diag *diag)
{
    dlt_arrays *arrays = dlt_alloc_zeroed(1, sizeof *arrays);
    if (arrays == NULL) {
        dlt_fail_memory(diag);
        return NULL;
    }
    source->state = arrays;
    return arrays;
}

dlt_array *dlt_arrays_add(dlt_arrays *arrays, const char *field, const char *path, dlt_pos at, dlt_role role)
{
    dlt_array *a = &arrays->array[arrays->count++];
    *a = (dlt_array){.field = field, .path = path, .at = at, .role = role, .fd = -1};
    return a;
}

dlt_status dlt_array_in_place(dlt_array *a, int64_t offset, dlt_diag *diag)
{
    if (dlt_stream_is_gzip(a->stream) || dlt_stream_is_pipe(a->stream)) {
        return DLT_OK;
    }
    dlt_stream_close(a->stream);
    a->stream = NULL;
    a->offset = offset;
    a->file = a->path;
    a->exact_bytes = true;
    a->in_place = !a->swap && !a->by_column && a->element == DLT_ELEMENT_SAME;
    return dlt_file_open_read(a->path, DLT_E_DATA, a->at, &a->fd, NULL, diag);
}

void dlt_arrays_close(dlt_source *source)
{
    dlt_arrays *arrays = source->state;
    if (arrays == NULL) {
        return;
    }
    for (size_t i = 0; i < arrays->count; i++) {
        dlt_array *a = &arrays->array[i];
        dlt_stream_close(a->stream);
        if (a->fd >= 0) {
            dlt_file()->close(a->fd);
        }
        dlt_free(a->whole);
    }
    if (arrays->release != NULL) {
        arrays->release(arrays);
    }
    dlt_free(arrays->scratch);
    dlt_free(arrays);
    source->state = NULL;
}

/* Bytes of an element in the file. */
static size_t size_in_file(const dlt_array *a)
{
    switch (a->element) {
    case DLT_ELEMENT_BOOL:
        return 1;
    case DLT_ELEMENT_U16:
        return 2;
    case DLT_ELEMENT_U32:
        return 4;
    default: /* U64, SAME */
        return dlt_dtype_size(a->dtype);
    }
}

static dlt_status check_header(dlt_array *a, dlt_diag *diag)
{
    char shape[160];
    if (a->shape.rank == 0) {
        return dlt_fail(diag, DLT_E_DATA, a->at,
                        "'%s' holds a single number; records are expected along a first axis", a->path);
    }
    const int64_t elements = dlt_shape_count(&a->shape);
    a->element_bytes = size_in_file(a);
    if (elements == 0) {
        return dlt_fail(diag, DLT_E_DATA, a->at, "'%s' is empty: its shape is %s", a->path,
                        dlt_shape_text(&a->shape, shape, sizeof shape));
    }
    int64_t bytes = 0;
    if (elements < 0 || !dlt_mul_i64(elements, (int64_t)a->element_bytes, &bytes) || bytes > INT64_MAX / 8) {
        return dlt_fail(diag, DLT_E_DATA, a->at, "'%s' claims the impossible shape %s", a->path,
                        dlt_shape_text(&a->shape, shape, sizeof shape));
    }
    if (bytes > a->most_bytes) {
        return dlt_fail(diag, DLT_E_DATA, a->at,
                        "'%s' is not whole: shape %s takes %lld bytes, the file holds at most %lld", a->path,
                        dlt_shape_text(&a->shape, shape, sizeof shape), (long long)bytes,
                        (long long)a->most_bytes);
    }
    if (a->exact_bytes && bytes < a->most_bytes) {
        return dlt_fail(diag, DLT_E_DATA, a->at, "'%s' has %lld bytes more than its shape %s takes", a->path,
                        (long long)(a->most_bytes - bytes), dlt_shape_text(&a->shape, shape, sizeof shape));
    }
    a->row_elements = elements / a->shape.dim[0];
    a->wanted = a->dtype;
    return DLT_OK;
}

static dlt_shape record_shape(const dlt_array *a)
{
    dlt_shape shape = {.rank = a->shape.rank - 1};
    for (int d = 0; d < shape.rank; d++) {
        shape.dim[d] = a->shape.dim[d + 1];
    }
    return shape;
}

static dlt_status follow(dlt_array *a, const dlt_part *train, dlt_diag *diag)
{
    char here[160], there[160];
    const dlt_shape shape = record_shape(a);
    if (!dlt_shape_equal(&shape, &train->shape)) {
        return dlt_fail(diag, DLT_E_DATA, a->at, "%s of '%s' have shape %s, those of train %s", a->field,
                        a->path, dlt_shape_text(&shape, here, sizeof here),
                        dlt_shape_text(&train->shape, there, sizeof there));
    }
    a->wanted = train->dtype;
    return DLT_OK;
}

/* What a source that follows must and must not have. */
static dlt_status check_roles(const dlt_source *source, const dlt_arrays *arrays, dlt_diag *diag)
{
    const dlt_frame *train = source->options.follow;
    if (train == NULL) {
        return DLT_OK;
    }
    if (train->table) {
        return dlt_fail(diag, DLT_E_DATA, source->item->pos, "train is a table; %s gives whole arrays",
                        source->item->kind->name);
    }
    bool has_target = false;
    for (size_t i = 0; i < arrays->count; i++) {
        has_target = has_target || arrays->array[i].role == DLT_ROLE_TARGET;
    }
    const bool wants_target =
        dlt_layout_find(&train->layout, DLT_ROLE_TARGET, 0) >= 0 && !source->options.predict;
    if (wants_target && !has_target) {
        return dlt_fail(diag, DLT_E_DATA, source->item->pos,
                        "train has labels, this source has none; add labels");
    }
    return DLT_OK;
}

/* Stats of targets and weights in rows [first, first + rows) of what is handed out. */
static dlt_status look_at(dlt_source *source, size_t part, dlt_array *a, int64_t first, int64_t rows,
                          const unsigned char *values, dlt_diag *diag)
{
    dlt_part_stats *stats = &source->stats.part[part];
    const bool scalar = a->row_elements == 1;
    for (int64_t i = 0; i < rows * a->row_elements; i++) {
        const double value = dlt_element_value(a->dtype, values, (size_t)i);
        const int64_t record = first + i / a->row_elements;
        if (!isfinite(value)) {
            char text[40];
            dlt_format_double(value, text, sizeof text);
            return dlt_fail(diag, DLT_E_DATA, a->at, "'%s': record %lld has the value %s", a->path,
                            (long long)record + 1, text);
        }
        if (a->role == DLT_ROLE_WEIGHT && value < 0) {
            char text[40];
            dlt_format_double(value, text, sizeof text);
            return dlt_fail(diag, DLT_E_DATA, a->at,
                            "'%s': record %lld has the weight %s; weights are 0 or more", a->path,
                            (long long)record + 1, text);
        }
        dlt_part_stats_number(stats, value);
        if (scalar && a->role == DLT_ROLE_TARGET && !dlt_stats_class(&source->stats, value, record)) {
            return dlt_fail_memory(diag);
        }
    }
    return DLT_OK;
}

dlt_status dlt_arrays_open_named(dlt_source *source, const char *features, const char *labels,
                                 const char *sample_weight, dlt_array_open *open, dlt_diag *diag)
{
    const struct {
        const char *field, *name;
        dlt_role role;
    } wanted[] = {{"features", features, DLT_ROLE_FEATURE},
                  {"labels", labels, DLT_ROLE_TARGET},
                  {"sample_weight", sample_weight, DLT_ROLE_WEIGHT}};
    dlt_status status = DLT_OK;
    for (size_t i = 0; i < DLT_COUNT(wanted); i++) {
        if (wanted[i].name != NULL && (i == 0 || !source->options.predict)) {
            const dlt_status opened = open(source, wanted[i].field, wanted[i].name, wanted[i].role, diag);
            status = status == DLT_OK ? opened : status;
        }
    }
    return status;
}

dlt_status dlt_arrays_finish(dlt_source *source, dlt_diag *diag)
{
    dlt_arrays *arrays = source->state;
    const dlt_frame *train = source->options.follow;
    dlt_part parts[DLT_ARRAYS_MOST];
    bool all_in_place = true, all_whole = true;
    DLT_TRY(check_roles(source, arrays, diag));
    for (size_t i = 0; i < arrays->count; i++) {
        dlt_array *a = &arrays->array[i];
        DLT_TRY(check_header(a, diag));
        const int like = train != NULL ? dlt_layout_find(&train->layout, a->role, 0) : -1;
        if (like >= 0) {
            DLT_TRY(follow(a, &train->layout.parts[like], diag));
        }
        parts[i] = (dlt_part){.name = a->field,
                              .role = a->role,
                              .type = DLT_COLUMN_TENSOR,
                              .dtype = a->wanted,
                              .shape = record_shape(a)};
        if (rows_of(a) != rows_of(&arrays->array[0])) {
            return dlt_fail(diag, DLT_E_DATA, a->at, "'%s' has %lld records, '%s' has %lld",
                            arrays->array[0].path, (long long)rows_of(&arrays->array[0]), a->path,
                            (long long)rows_of(a));
        }
        if (a->role == DLT_ROLE_WEIGHT && a->row_elements != 1) {
            return dlt_fail(diag, DLT_E_DATA, a->at, "'%s' has %lld weights a record; one is expected",
                            a->path, (long long)a->row_elements);
        }
        all_in_place = all_in_place && a->in_place && a->wanted == a->dtype;
        if (a->by_column && a->fd < 0 && a->read == NULL && a->whole == NULL) {
            DLT_TRY(load_whole(a, source->options.memory, diag));
        }
    }
    arrays->rows = rows_of(&arrays->array[0]);
    DLT_TRY(
        dlt_frame_create(&(dlt_frame_plan){.count = arrays->count, .parts = parts}, &source->frame, diag));
    if (!dlt_stats_init(&source->stats, arrays->count)) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < arrays->count; i++) {
        dlt_array *a = &arrays->array[i];
        if (a->role != DLT_ROLE_FEATURE) {
            if ((uint64_t)arrays->rows * handed_bytes(a) <= DLT_PROBE_LABEL_BYTES && a->whole == NULL) {
                DLT_TRY(load_whole(a, DLT_PROBE_LABEL_BYTES, diag));
            }
            all_whole = all_whole && a->whole != NULL;
        }
    }
    for (size_t i = 0; all_whole && i < arrays->count; i++) {
        dlt_array *a = &arrays->array[i];
        if (a->role != DLT_ROLE_FEATURE) {
            DLT_TRY(look_at(source, i, a, 0, arrays->rows, a->whole, diag));
        }
    }
    source->labels_known = all_whole;
    source->stats.records = all_whole ? arrays->rows : 0;
    source->stats.complete = all_whole;
    source->unit_bytes = source->frame->layout.record_bytes;
    source->stride = source->span = (int64_t)source->unit_bytes;
    source->units = arrays->rows;
    if (all_in_place) {
        source->extents = dlt_arena_alloc(source->arena, arrays->count, sizeof *source->extents);
        if (source->extents == NULL) {
            return dlt_fail_memory(diag);
        }
        for (size_t i = 0; i < arrays->count; i++) {
            const dlt_array *a = &arrays->array[i];
            source->extents[i] = (dlt_extent){i, a->file, a->offset, (int64_t)handed_bytes(a)};
        }
        source->extent_count = arrays->count;
    }
    return DLT_OK;
}

/* ---- reading on ---- */

/* Rows of one array, handed out and converted to the part's type, into units. */
static dlt_status read_into_units(dlt_source *source, size_t part, int64_t first, int64_t rows,
                                  unsigned char *units, dlt_diag *diag)
{
    dlt_arrays *arrays = source->state;
    dlt_array *a = &arrays->array[part];
    const dlt_record_layout *layout = &source->frame->layout;
    const size_t bytes = handed_bytes(a), part_bytes = dlt_part_bytes(&layout->parts[part]);
    DLT_TRY(read_rows(a, first, rows, arrays->scratch, diag));
    if (a->role != DLT_ROLE_FEATURE && !source->labels_known) {
        DLT_TRY(look_at(source, part, a, first, rows, arrays->scratch, diag));
    }
    for (int64_t r = 0; units != NULL && r < rows; r++) {
        unsigned char *to = units + (size_t)r * source->unit_bytes + layout->offsets[part];
        const unsigned char *from = arrays->scratch + (size_t)r * bytes;
        if (a->wanted == a->dtype) {
            memcpy(to, from, part_bytes);
        } else if (dlt_convert(a->dtype, from, a->wanted, to, (size_t)a->row_elements) <
                   (size_t)a->row_elements) {
            return dlt_fail(diag, DLT_E_DATA, a->at,
                            "'%s': record %lld has a %s value that is no %s, which train has", a->path,
                            (long long)(first + r) + 1, dlt_dtype_name(a->dtype), dlt_dtype_name(a->wanted));
        }
    }
    return DLT_OK;
}

/* After the last row: a stream must be at its end too. */
static dlt_status check_end(dlt_array *a, dlt_diag *diag)
{
    unsigned char byte = 0;
    size_t got = 0;
    if (a->next_row < rows_of(a) || (a->stream == NULL && a->pull == NULL)) {
        return DLT_OK; /* not read from front to back, or only looked at */
    }
    if (a->pull != NULL) {
        DLT_TRY(a->pull(a, &byte, 1, &got, diag));
    } else {
        DLT_TRY(dlt_stream_fill(a->stream, &byte, 1, &got, diag));
    }
    if (got > 0) {
        return dlt_fail(diag, DLT_E_DATA, a->at,
                        "'%s' goes on after the %lld records that its header promises", a->path,
                        (long long)rows_of(a));
    }
    return DLT_OK;
}

dlt_status dlt_arrays_next(dlt_source *source, int64_t most, unsigned char *units, int64_t *got,
                           dlt_diag *diag)
{
    dlt_arrays *arrays = source->state;
    int64_t rows = arrays->rows - arrays->next;
    *got = 0;
    if (dlt_source_stopped(source)) {
        return dlt_source_stop(source, diag);
    }
    if (rows == 0) {
        for (size_t i = 0; i < arrays->count; i++) {
            DLT_TRY(check_end(&arrays->array[i], diag));
        }
        source->stats.records = arrays->rows;
        source->stats.complete = true;
        return DLT_OK;
    }
    size_t widest = 1;
    for (size_t i = 0; i < arrays->count; i++) {
        widest = handed_bytes(&arrays->array[i]) > widest ? handed_bytes(&arrays->array[i]) : widest;
    }
    const int64_t fit = (int64_t)(CHUNK_BYTES / widest) > 0 ? (int64_t)(CHUNK_BYTES / widest) : 1;
    rows = rows < fit ? rows : fit;
    rows = units != NULL && most < rows ? most : rows;
    if (arrays->scratch_bytes < (size_t)rows * widest) {
        dlt_free(arrays->scratch);
        arrays->scratch = dlt_alloc_aligned(64, (size_t)rows * widest);
        arrays->scratch_bytes = arrays->scratch != NULL ? (size_t)rows * widest : 0;
        if (arrays->scratch == NULL) {
            return dlt_fail_memory(diag);
        }
    }
    for (size_t i = 0; i < arrays->count; i++) {
        if (units != NULL || (arrays->array[i].role != DLT_ROLE_FEATURE && !source->labels_known)) {
            DLT_TRY(read_into_units(source, i, arrays->next, rows, units, diag));
        }
    }
    if (units != NULL && source->frame->layout.count > 0) {
        /* padding between parts is part of what digests see: nothing may be left in it */
        const dlt_record_layout *layout = &source->frame->layout;
        for (size_t i = 0; i < layout->count; i++) {
            const size_t end = layout->offsets[i] + dlt_part_bytes(&layout->parts[i]);
            const size_t next = i + 1 < layout->count ? layout->offsets[i + 1] : layout->record_bytes;
            for (int64_t r = 0; next > end && r < rows; r++) {
                memset(units + (size_t)r * source->unit_bytes + end, 0, next - end);
            }
        }
    }
    arrays->next += rows;
    *got = rows;
    return DLT_OK;
}
