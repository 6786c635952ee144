/* io/data/source_idx.c: IDX files, as MNIST and its likes come (formats.md 9): two zero bytes, a type, the
 * number of axes, a big-endian 32-bit size for each axis, then the elements, big-endian, last axis fastest.
 * Plain or gzip, by magic number. */
#include "io/data/array.h"

#include <string.h>

typedef struct idx_params {
    const char *features, *labels;
} idx_params;

static const dlt_field idx_fields[] = {
    DLT_PATH(idx_params, features, NULL, "file of the inputs; grey images get a last axis of 1"),
    DLT_PATH(idx_params, labels, "null", "file of the targets"),
    {0},
};

static dlt_status idx_files(dlt_source *source, dlt_diag *diag)
{
    const idx_params *p = source->item->params;
    const char *const fields[] = {"features", "labels"}, *const paths[] = {p->features, p->labels};
    return dlt_source_add_fields(source, fields, paths, source->options.predict ? 1 : DLT_COUNT(fields), diag);
}

static dlt_status open_array(dlt_source *source, const char *field, const char *path, dlt_role role,
                             dlt_diag *diag)
{
    static const struct {
        unsigned char code;
        dlt_dtype dtype;
    } types[] = {{0x08, DLT_U8},  {0x09, DLT_I8},  {0x0b, DLT_I16},
                 {0x0c, DLT_I32}, {0x0d, DLT_F32}, {0x0e, DLT_F64}};
    const dlt_pos at = dlt_item_pos(source->item, field);
    dlt_array *a = dlt_arrays_add(source->state, field, path, at, role);
    unsigned char head[4], sizes[4 * 255];
    size_t got = 0;
    DLT_TRY(dlt_stream_open(path, at, source->options.stop, &a->stream, diag));
    DLT_TRY(dlt_stream_fill(a->stream, head, sizeof head, &got, diag));
    if (got < sizeof head || head[0] != 0 || head[1] != 0) {
        return dlt_fail(diag, DLT_E_DATA, at, "'%s' is no IDX file: it does not begin with two zero bytes",
                        path);
    }
    size_t type = 0;
    while (type < DLT_COUNT(types) && types[type].code != head[2]) {
        type++;
    }
    if (type == DLT_COUNT(types)) {
        return dlt_fail(diag, DLT_E_DATA, at,
                        "'%s' is no IDX file: its type code is 0x%02x, not one of 08 09 0b 0c 0d 0e", path,
                        head[2]);
    }
    const size_t rank = head[3];
    DLT_TRY(dlt_stream_fill(a->stream, sizes, 4 * rank, &got, diag));
    if (got < 4 * rank) {
        return dlt_fail(diag, DLT_E_DATA, at, "'%s' ends in its header", path);
    }
    /* grey images: three axes of bytes. Keras' layers want channels, which come last */
    const bool grey = rank == 3 && types[type].dtype == DLT_U8 && role == DLT_ROLE_FEATURE;
    if (rank + grey > DLT_MAX_RANK) {
        return dlt_fail(diag, DLT_E_DATA, at, "'%s' has %zu axes; at most %d are supported", path, rank,
                        DLT_MAX_RANK);
    }
    for (size_t d = 0; d < rank; d++) {
        const unsigned char *size = sizes + 4 * d;
        a->shape.dim[d] = (int64_t)size[0] << 24 | size[1] << 16 | size[2] << 8 | size[3];
    }
    a->shape.rank = (int)rank;
    if (grey) {
        a->shape.dim[a->shape.rank++] = 1;
    }
    a->dtype = types[type].dtype;
    const uint16_t one = 1;
    a->swap = dlt_dtype_size(a->dtype) > 1 && *(const unsigned char *)&one == 1;
    a->most_bytes = dlt_stream_most(a->stream);
    return dlt_array_in_place(a, (int64_t)(4 + 4 * rank), diag);
}

static dlt_status idx_open(dlt_source *source, dlt_diag *diag)
{
    const idx_params *p = source->item->params;
    if (dlt_arrays_create(source, diag) == NULL) {
        return DLT_E_MEMORY;
    }
    DLT_TRY(open_array(source, "features", p->features, DLT_ROLE_FEATURE, diag));
    if (p->labels != NULL && !source->options.predict) {
        DLT_TRY(open_array(source, "labels", p->labels, DLT_ROLE_TARGET, diag));
    }
    return dlt_arrays_finish(source, diag);
}

static dlt_status idx_input(dlt_arena *arena, const dlt_item *like, const char *path, bool targets,
                            void *params, dlt_diag *diag)
{
    (void)arena;
    if (targets && like != NULL && ((const idx_params *)like->params)->labels != NULL) {
        return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0},
                        "'%s' has no labels: IDX data have them in a file of their own; give both with -o "
                        "'data.test={IDX: {features: FILE, labels: FILE}}'",
                        path);
    }
    *(idx_params *)params = (idx_params){.features = path};
    return DLT_OK;
}

const dlt_source_desc dlt_source_idx = {
    .kind = {.name = "IDX",
             .doc = "IDX files, as MNIST has them",
             .size = sizeof(idx_params),
             .fields = idx_fields},
    .files = idx_files,
    .open = idx_open,
    .next = dlt_arrays_next,
    .close = dlt_arrays_close,
    .input = idx_input,
};
