/* io/data/source_hdf5.c: data sets of an HDF5 file, as h5py writes them (formats.md 12). The file is parsed
 * behind the door of io/h5; rows are then read by ourselves. */
#include "io/data/array.h"

#include "base/alloc.h"
#include "io/h5/h5_table.h"

#include <string.h>

typedef struct hdf5_params {
    const char *path, *features, *labels, *sample_weight;
} hdf5_params;

static const dlt_field hdf5_fields[] = {
    DLT_PATH(hdf5_params, path, NULL, "the file"),
    DLT_STRING(hdf5_params, features, NULL,
               "path of the inputs in it, as train/images; records along the first axis"),
    DLT_STRING(hdf5_params, labels, "null", "path of the targets"),
    DLT_STRING(hdf5_params, sample_weight, "null", "path of the weights of the records"),
    {0},
};

/* What an array's handle points to. */
typedef struct dataset {
    dlt_h5_file *file;
    const dlt_h5_object *object;
} dataset;

typedef struct hdf5_state {
    dlt_h5_file *file;
    dataset sets[DLT_ARRAYS_MOST];
} hdf5_state;

static void release(dlt_arrays *arrays)
{
    hdf5_state *s = arrays->handle;
    dlt_h5_close(s->file);
    dlt_free(s);
}

static dlt_status read_rows(dlt_array *array, int64_t first, int64_t rows, void *out, dlt_diag *diag)
{
    const dataset *set = array->handle;
    const dlt_h5_want want = {.dtype = array->dtype, .first = first, .count = rows};
    return dlt_h5_read(set->file, set->object, &want, out,
                       (size_t)(rows * array->row_elements) * dlt_dtype_size(array->dtype), diag);
}

/* What there is in place of it: the nearest data set of all, those in the group of that name, or the first ones. */
static dlt_status no_such_dataset(const dlt_h5_file *file, const char *wanted, dlt_pos at, dlt_diag *diag)
{
    enum { SHOWN = 16, LOOKED_AT = 1024 };
    const char *list[LOOKED_AT];
    size_t count = 0, shown = 0;
    dlt_buf text = {0};
    const char *name = wanted + (wanted[0] == '/');
    const dlt_h5_object *group = dlt_h5_find(file, wanted);
    const bool is_group = group != NULL && group->object_class == DLT_H5_GROUP;
    for (size_t i = 0; i < dlt_h5_count(file) && count < LOOKED_AT; i++) {
        const dlt_h5_object *object = dlt_h5_at(file, i);
        if (object->object_class == DLT_H5_DATASET) {
            list[count++] = object->path + (object->path[0] == '/');
            const char *last = list[count - 1];
            if (shown < SHOWN && (!is_group || (dlt_text_starts(last, name) && last[strlen(name)] == '/'))) {
                dlt_buf_printf(&text, "%s%s", shown++ > 0 ? ", " : "", last);
            }
        }
    }
    const int near = is_group ? -1 : dlt_nearest(name, list, count);
    const dlt_detail detail = {
        .found = wanted, .allowed = dlt_buf_text(&text), .nearest = near >= 0 ? list[near] : NULL};
    const dlt_status status = dlt_fail_detail(
        diag, DLT_E_DATA, at, &detail, "'%s' has no dataset '%s'%s%s%s", dlt_h5_path(file), wanted,
        near >= 0    ? "; did you mean '"
        : is_group   ? ", it is a group: name what is in it, "
        : count == 0 ? "; it has none"
                     : "; it has ",
        near >= 0 ? list[near] : dlt_buf_text(&text), near >= 0 ? "'?" : shown == SHOWN ? ", ..." : "");
    dlt_buf_release(&text);
    return status;
}

static dlt_status open_array(dlt_source *source, const char *field, const char *name, dlt_role role,
                             dlt_diag *diag)
{
    const hdf5_params *p = source->item->params;
    const dlt_pos at = dlt_item_pos(source->item, field);
    dlt_arrays *arrays = source->state;
    hdf5_state *s = arrays->handle;
    const char *shown = dlt_arena_printf(source->arena, "%s: %s", p->path, name);
    if (shown == NULL) {
        return dlt_fail_memory(diag);
    }
    dataset *set = &s->sets[arrays->count];
    dlt_array *array = dlt_arrays_add(arrays, field, shown, at, role);
    *set = (dataset){s->file, dlt_h5_find(s->file, name)};
    if (set->object == NULL || set->object->object_class == DLT_H5_GROUP) {
        return no_such_dataset(s->file, name, at, diag);
    }
    if (set->object->refused != NULL) {
        return dlt_fail(diag, DLT_E_DATA, at, "'%s' cannot be read: %s", shown, set->object->refused);
    }
    array->handle = set;
    array->read = read_rows;
    array->dtype = dlt_h5_dtype(set->object);
    array->shape = set->object->shape;
    array->most_bytes = INT64_MAX / 8; /* the door has compared what it claims with the file */
    return DLT_OK;
}

/* Rows at any time by any thread: where they lie in one piece, nothing need be copied. */
static dlt_status fetch(const dlt_source *source, size_t part, int64_t first, int64_t rows, void *out,
                        dlt_diag *diag)
{
    const dlt_arrays *arrays = source->state;
    const dlt_array *array = &arrays->array[part];
    const dataset *set = array->handle;
    const dlt_h5_want want = {.dtype = array->wanted, .first = first, .count = rows};
    return dlt_h5_read(set->file, set->object, &want, out,
                       (size_t)(rows * array->row_elements) * dlt_dtype_size(array->wanted), diag);
}

static dlt_status hdf5_files(dlt_source *source, dlt_diag *diag)
{
    const hdf5_params *p = source->item->params;
    return dlt_source_add_file(source, p->path, dlt_item_pos(source->item, "path"), diag);
}

static dlt_status hdf5_open(dlt_source *source, dlt_diag *diag)
{
    const hdf5_params *p = source->item->params;
    dlt_arrays *arrays = dlt_arrays_create(source, diag);
    hdf5_state *s = dlt_alloc_zeroed(1, sizeof *s);
    if (arrays == NULL || s == NULL) {
        dlt_free(s);
        return dlt_fail_memory(diag);
    }
    arrays->handle = s;
    arrays->release = release;
    DLT_TRY(dlt_h5_open(p->path, DLT_E_DATA, dlt_item_pos(source->item, "path"), &s->file, diag));
    DLT_TRY(dlt_arrays_open_named(source, p->features, p->labels, p->sample_weight, open_array, diag));
    DLT_TRY(dlt_arrays_finish(source, diag));
    bool contiguous = true;
    for (size_t i = 0; i < arrays->count; i++) {
        contiguous = contiguous && s->sets[i].object->storage == DLT_H5_CONTIGUOUS;
    }
    source->fetch = contiguous ? fetch : NULL;
    return DLT_OK;
}

static dlt_status hdf5_input(dlt_arena *arena, const dlt_item *like, const char *path, bool targets,
                             void *params, dlt_diag *diag)
{
    (void)arena;
    (void)diag;
    const hdf5_params *p = like != NULL ? like->params : NULL;
    *(hdf5_params *)params = (hdf5_params){.path = path, .features = p != NULL ? p->features : "x"};
    if (targets && p != NULL) {
        *(hdf5_params *)params = *p;
        ((hdf5_params *)params)->path = path;
    }
    return DLT_OK;
}

const dlt_source_desc dlt_source_hdf5 = {
    .kind = {.name = "HDF5",
             .doc = "data sets of an HDF5 file",
             .size = sizeof(hdf5_params),
             .fields = hdf5_fields},
    .files = hdf5_files,
    .open = hdf5_open,
    .next = dlt_arrays_next,
    .close = dlt_arrays_close,
    .input = hdf5_input,
};
