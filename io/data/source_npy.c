/* io/data/source_npy.c: NumPy's .npy files, one array each (formats.md 8); gzip by its magic number. */
#include "io/data/npy.h"

#include "base/alloc.h"

typedef struct npy_params {
    const char *features, *labels, *sample_weight;
} npy_params;

static const dlt_field npy_fields[] = {
    DLT_PATH(npy_params, features, NULL, "file of the inputs, records along the first axis"),
    DLT_PATH(npy_params, labels, "null", "file of the targets"),
    DLT_PATH(npy_params, sample_weight, "null", "file of the weights of the records"),
    {0},
};

static dlt_status npy_files(dlt_source *source, dlt_diag *diag)
{
    const npy_params *p = source->item->params;
    const char *const fields[] = {"features", "labels", "sample_weight"}, *const paths[] = {p->features, p->labels, p->sample_weight};
    return dlt_source_add_fields(source, fields, paths, source->options.predict ? 1 : DLT_COUNT(fields), diag);
}

static dlt_status take_from_stream(void *context, void *data, size_t bytes, size_t *got, dlt_diag *diag)
{
    return dlt_stream_fill(context, data, bytes, got, diag);
}

static dlt_status open_array(dlt_source *source, const char *field, const char *path, dlt_role role,
                             dlt_diag *diag)
{
    const dlt_pos at = dlt_item_pos(source->item, field);
    dlt_array *a = dlt_arrays_add(source->state, field, path, at, role);
    int64_t data_at = 0;
    DLT_TRY(dlt_stream_open(path, at, source->options.stop, &a->stream, diag));
    DLT_TRY(dlt_npy_header(a, take_from_stream, a->stream, &data_at, diag));
    a->most_bytes = dlt_stream_most(a->stream);
    return dlt_array_in_place(a, data_at, diag);
}

static dlt_status npy_open(dlt_source *source, dlt_diag *diag)
{
    const npy_params *p = source->item->params;
    if (dlt_arrays_create(source, diag) == NULL) {
        return DLT_E_MEMORY;
    }
    DLT_TRY(open_array(source, "features", p->features, DLT_ROLE_FEATURE, diag));
    if (p->labels != NULL && !source->options.predict) {
        DLT_TRY(open_array(source, "labels", p->labels, DLT_ROLE_TARGET, diag));
    }
    if (p->sample_weight != NULL && !source->options.predict) {
        DLT_TRY(open_array(source, "sample_weight", p->sample_weight, DLT_ROLE_WEIGHT, diag));
    }
    return dlt_arrays_finish(source, diag);
}

static dlt_status npy_input(dlt_arena *arena, const dlt_item *like, const char *path, bool targets,
                            void *params, dlt_diag *diag)
{
    (void)arena;
    if (targets && like != NULL && ((const npy_params *)like->params)->labels != NULL) {
        return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0},
                        "'%s' has no labels: NPY data have them in a file of their own; give both with -o "
                        "'data.test={NPY: {features: FILE, labels: FILE}}'",
                        path);
    }
    *(npy_params *)params = (npy_params){.features = path};
    return DLT_OK;
}

const dlt_source_desc dlt_source_npy = {
    .kind = {.name = "NPY",
             .doc = "arrays in NumPy's .npy files",
             .size = sizeof(npy_params),
             .fields = npy_fields},
    .files = npy_files,
    .open = npy_open,
    .next = dlt_arrays_next,
    .close = dlt_arrays_close,
    .input = npy_input,
};
