/* io/data/rows.c: raw rows for prediction, as a stream of tables. */
#include "io/data/rows.h"

#include "base/alloc.h"
#include "io/data/stream.h"

#include <string.h>

struct dlt_rows {
    dlt_arena *arena;
    dlt_item item;
    char *path;
    dlt_source *source;
    int64_t most;
    unsigned char *units; /* that are not given out yet */
    size_t have, room;    /* bytes */
    size_t skip;          /* bytes still to come that no row covers */
    bool ended;
    void **columns;
    int64_t *row_numbers;
    int64_t next_row;
};

/* Images as bytes, which files and folders of images can give. */
static bool takes_images(const dlt_frame *frame)
{
    const dlt_part *first = frame->layout.count > 0 ? &frame->layout.parts[0] : NULL;
    return first != NULL && !frame->table && first->dtype == DLT_U8 && first->shape.rank == 3 && first->dictionary == NULL;
}

static bool is_folder(const char *path)
{
    struct stat status;
    return strcmp(path, "-") != 0 && dlt_file()->stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

dlt_status dlt_source_kind_of_file(const char *path, const dlt_frame *frame, const dlt_kind **kind,
                                   dlt_diag *diag)
{
    const bool text = !frame->table && frame->layout.count > 0 && frame->layout.parts[0].dictionary != NULL;
    const char *name = frame->table ? "CSV"
                       : text       ? "Text"
                                    : "NPY"; /* of what has no mark, and of standard input */
    if (takes_images(frame) && is_folder(path)) {
        name = "ImageFolder";
    } else if (strcmp(path, "-") != 0) {
        unsigned char front[8] = {0};
        size_t got = 0;
        dlt_stream *stream = NULL;
        DLT_TRY(dlt_stream_open(path, (dlt_pos){0}, NULL, &stream, diag));
        const dlt_status status = dlt_stream_fill(stream, front, sizeof front, &got, diag);
        dlt_stream_close(stream);
        DLT_TRY(status);
        const bool idx = front[0] == 0 && front[1] == 0 && front[2] >= 8 && front[2] <= 14 && front[3] > 0;
        const char *image = memcmp(front, "\xff\xd8\xff", 3) == 0           ? "JPEG"
                            : memcmp(front, "\x89PNG\r\n\x1a\n", 8) == 0 ? "PNG"
                                                                         : NULL;
        const char *arrays = memcmp(front, "\x93NUMPY", 6) == 0           ? "NPY"
                             : memcmp(front, "PK\x03\x04", 4) == 0        ? "NPZ"
                             : memcmp(front, "\x89HDF\r\n\x1a\n", 8) == 0 ? "HDF5"
                             : idx                                        ? "IDX"
                                                                          : NULL;
        if ((frame->table || text) && (arrays != NULL || image != NULL)) {
            return dlt_fail(diag, DLT_E_DATA, (dlt_pos){0}, "'%s' is a%s %s file; the model takes %s", path,
                            arrays != NULL ? "n" : "", arrays != NULL ? arrays : image, frame->table ? "a table" : "text");
        }
        if (image != NULL && !takes_images(frame)) {
            return dlt_fail(diag, DLT_E_DATA, (dlt_pos){0},
                            "'%s' is a %s file; the model takes arrays that are no images of bytes, (height, width, channels)", path, image);
        }
        if (!frame->table && !text && arrays == NULL && image == NULL) {
            return dlt_fail(
                diag, DLT_E_DATA, (dlt_pos){0},
                "'%s' is no NPY, NPZ, HDF5 or IDX file%s; the model takes arrays, not tables or text", path,
                takes_images(frame) ? ", no image" : "");
        }
        name = image != NULL ? "ImageFolder" : arrays != NULL ? arrays : name;
    }
    *kind = dlt_kind_find(&dlt_source_category, name);
    return *kind != NULL ? DLT_OK
                         : dlt_fail(diag, DLT_E_UNSUPPORTED, (dlt_pos){0}, "'%s': %s files are not supported",
                                    path, name);
}

static dlt_status make_item(dlt_rows *rows, const dlt_frame *frame, const dlt_item *like, dlt_diag *diag)
{
    const dlt_kind *kind = NULL;
    DLT_TRY(dlt_source_kind_of_file(rows->path, frame, &kind, diag));
    void *params = dlt_arena_alloc(rows->arena, 1, kind->size);
    if (params == NULL) {
        return dlt_fail_memory(diag);
    }
    rows->item = (dlt_item){.kind = kind, .params = params, .trainable = true};
    const dlt_source_desc *desc = dlt_source_desc_of(&rows->item);
    return desc->input(rows->arena, like != NULL && like->kind == kind ? like : NULL, rows->path, false,
                       params, diag);
}

static dlt_status make_buffers(dlt_rows *rows, dlt_diag *diag)
{
    const dlt_source *source = rows->source;
    const dlt_record_layout *layout = &source->frame->layout;
    size_t bytes = 0;
    if (!dlt_mul_size((size_t)(rows->most - 1), (size_t)source->stride, &bytes) ||
        !dlt_add_size(bytes, (size_t)source->span, &rows->room)) {
        return dlt_fail_memory(diag);
    }
    rows->units = dlt_alloc_aligned(64, rows->room);
    rows->columns = dlt_alloc_zeroed(layout->count, sizeof *rows->columns);
    rows->row_numbers = dlt_alloc_zeroed((size_t)rows->most, sizeof *rows->row_numbers);
    if (rows->units == NULL || rows->columns == NULL || rows->row_numbers == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < layout->count; i++) {
        if (!dlt_mul_size((size_t)rows->most, dlt_part_bytes(&layout->parts[i]), &bytes) ||
            (rows->columns[i] = dlt_alloc_aligned(64, bytes)) == NULL) {
            return dlt_fail_memory(diag);
        }
    }
    return DLT_OK;
}

dlt_status dlt_rows_open(const char *path, const dlt_frame *frame, const dlt_item *like, int64_t most,
                         const atomic_int *stop, dlt_rows **rows, dlt_diag *diag)
{
    *rows = NULL;
    dlt_rows *made = dlt_alloc_zeroed(1, sizeof *made);
    dlt_arena *arena = dlt_arena_create();
    if (made == NULL || arena == NULL) {
        dlt_free(made);
        dlt_arena_destroy(arena);
        return dlt_fail_memory(diag);
    }
    made->arena = arena;
    made->most = most;
    made->path = dlt_arena_string(arena, path);
    dlt_status status = made->path != NULL ? make_item(made, frame, like, diag) : dlt_fail_memory(diag);
    const dlt_source_options how = {
        .follow = frame, .predict = true, .threads = 1, .memory = 1 << 30, .stop = stop};
    if (status == DLT_OK) {
        status = dlt_source_create(&made->item, &how, &made->source, diag);
    }
    if (status == DLT_OK) {
        status = dlt_source_open(made->source, diag);
    }
    if (status == DLT_OK) {
        status = make_buffers(made, diag);
    }
    if (status != DLT_OK) {
        dlt_rows_close(made);
        return status;
    }
    *rows = made;
    return DLT_OK;
}

void dlt_rows_close(dlt_rows *rows)
{
    if (rows == NULL) {
        return;
    }
    for (size_t i = 0; rows->columns != NULL && i < rows->source->frame->layout.count; i++) {
        dlt_free(rows->columns[i]);
    }
    dlt_free(rows->columns);
    dlt_free(rows->units);
    dlt_free(rows->row_numbers);
    dlt_source_close(rows->source);
    dlt_arena_destroy(rows->arena);
    dlt_free(rows);
}

const dlt_record_layout *dlt_rows_layout(const dlt_rows *rows)
{
    return &rows->source->frame->layout;
}

/* Takes away the first bytes, some of which may still have to come. */
static void drop(dlt_rows *rows, size_t bytes)
{
    const size_t here = bytes < rows->have ? bytes : rows->have;
    memmove(rows->units, rows->units + here, rows->have - here);
    rows->have -= here;
    rows->skip += bytes - here;
}

dlt_status dlt_rows_next(dlt_rows *rows, dlt_table *table, dlt_diag *diag)
{
    dlt_source *source = rows->source;
    const dlt_record_layout *layout = &source->frame->layout;
    const size_t *offsets = source->unit_offsets != NULL ? source->unit_offsets : layout->offsets;
    const size_t span = (size_t)source->span, stride = (size_t)source->stride;
    *table = (dlt_table){.layout = layout, .columns = rows->columns, .row_numbers = rows->row_numbers};
    while (rows->have < span && !rows->ended) {
        int64_t got = 0;
        DLT_TRY(dlt_source_next(source, (int64_t)((rows->room - rows->have) / source->unit_bytes),
                                rows->units + rows->have, &got, diag));
        rows->have += (size_t)got * source->unit_bytes;
        rows->ended = got == 0;
        const size_t skipped = rows->skip;
        rows->skip = 0;
        drop(rows, skipped);
    }
    int64_t count = rows->have >= span ? (int64_t)((rows->have - span) / stride) + 1 : 0;
    count = count < rows->most ? count : rows->most;
    for (int64_t r = 0; r < count; r++) {
        for (size_t i = 0; i < layout->count; i++) {
            const size_t bytes = dlt_part_bytes(&layout->parts[i]);
            memcpy((char *)rows->columns[i] + (size_t)r * bytes,
                   rows->units + (size_t)r * stride + offsets[i], bytes);
        }
        rows->row_numbers[r] = rows->next_row++;
    }
    if (count > 0) {
        drop(rows, (size_t)count * stride);
    }
    table->rows = count;
    return DLT_OK;
}
