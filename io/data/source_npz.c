/* io/data/source_npz.c: NumPy's .npz archives: a ZIP of .npy files, stored or deflated (formats.md 8). libzip
 * reads the archive, through our own file layer; names in it are only compared, never used as paths. */
#include "io/data/npy.h"

#include "base/alloc.h"

#include <string.h>
#include <zip.h>

typedef struct npz_params {
    const char *path, *features, *labels, *sample_weight;
} npz_params;

static const dlt_field npz_fields[] = {
    DLT_PATH(npz_params, path, NULL, "the archive"),
    DLT_STRING(npz_params, features, NULL, "name of the inputs' array in it, as x_train"),
    DLT_STRING(npz_params, labels, "null", "name of the targets' array"),
    DLT_STRING(npz_params, sample_weight, "null", "name of the weights' array"),
    {0},
};

/* What libzip reads from. */
typedef struct archive {
    int fd;
    const char *path;
    int64_t size, at;
    zip_error_t error;
    zip_t *zip;
    zip_file_t *open[DLT_ARRAYS_MOST];
    size_t open_count;
} archive;

static zip_int64_t source_call(void *context, void *data, zip_uint64_t bytes, zip_source_cmd_t command)
{
    archive *a = context;
    switch (command) {
    case ZIP_SOURCE_OPEN:
        a->at = 0;
        return 0;
    case ZIP_SOURCE_READ: {
        const int64_t left = a->size - a->at;
        const size_t n = (uint64_t)left < bytes ? (size_t)left : (size_t)bytes;
        if (dlt_file_read_at(a->fd, a->path, data, n, a->at, DLT_E_DATA, NULL) != DLT_OK) {
            zip_error_set(&a->error, ZIP_ER_READ, 0);
            return -1;
        }
        a->at += (int64_t)n;
        return (zip_int64_t)n;
    }
    case ZIP_SOURCE_SEEK: {
        const zip_int64_t to = zip_source_seek_compute_offset((zip_uint64_t)a->at, (zip_uint64_t)a->size,
                                                              data, bytes, &a->error);
        a->at = to >= 0 ? to : a->at;
        return to >= 0 ? 0 : -1;
    }
    case ZIP_SOURCE_TELL:
        return a->at;
    case ZIP_SOURCE_STAT: {
        zip_stat_t *stat = data;
        zip_stat_init(stat);
        stat->size = (zip_uint64_t)a->size;
        stat->valid |= ZIP_STAT_SIZE;
        return (zip_int64_t)sizeof *stat;
    }
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&a->error, data, bytes);
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE,
                                              ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE,
                                              ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_SUPPORTS, -1);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE: /* ours is the memory */
        return 0;
    default:
        zip_error_set(&a->error, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
}

static void release(dlt_arrays *arrays)
{
    archive *a = arrays->handle;
    if (a == NULL) {
        return;
    }
    for (size_t i = 0; i < a->open_count; i++) {
        zip_fclose(a->open[i]); /* only read from */
    }
    if (a->zip != NULL) {
        zip_discard(a->zip);
    }
    if (a->fd >= 0) {
        dlt_file()->close(a->fd);
    }
    zip_error_fini(&a->error);
    dlt_free(a);
}

static dlt_status open_archive(dlt_source *source, const char *path, archive *a, dlt_diag *diag)
{
    const dlt_pos at = dlt_item_pos(source->item, "path");
    zip_error_t error;
    a->path = path;
    DLT_TRY(dlt_file_open_read(path, DLT_E_DATA, at, &a->fd, &a->size, diag));
    zip_error_init(&error);
    zip_source_t *from = zip_source_function_create(source_call, a, &error);
    a->zip = from != NULL ? zip_open_from_source(from, ZIP_RDONLY | ZIP_CHECKCONS, &error) : NULL;
    dlt_status status = DLT_OK;
    if (a->zip == NULL) {
        status = zip_error_code_zip(&error) == ZIP_ER_MEMORY
                     ? dlt_fail_memory(diag)
                     : dlt_fail(diag, DLT_E_DATA, at, "'%s' is no NPZ archive: %s", path,
                                zip_error_strerror(&error));
        if (from != NULL) {
            zip_source_free(from);
        }
    }
    zip_error_fini(&error);
    return status;
}

/* Name of entry i without ".npy", or NULL if it has another ending. In `name`, cut to its room. */
static bool array_name(zip_t *zip, zip_uint64_t i, char *name, size_t room)
{
    const char *entry = zip_get_name(zip, i, ZIP_FL_ENC_RAW);
    if (entry == NULL || !dlt_text_ends(entry, ".npy")) {
        return false;
    }
    const size_t length = strlen(entry) - 4;
    if (length >= room) {
        return false;
    }
    memcpy(name, entry, length);
    name[length] = '\0';
    return true;
}

static dlt_status no_such_array(zip_t *zip, const char *path, const char *wanted, dlt_pos at, dlt_diag *diag)
{
    enum { SHOWN = 16 };
    char names[SHOWN][128];
    const char *list[SHOWN];
    size_t count = 0;
    dlt_buf text = {0};
    const zip_int64_t entries = zip_get_num_entries(zip, 0);
    for (zip_int64_t i = 0; i < entries && count < SHOWN; i++) {
        if (array_name(zip, (zip_uint64_t)i, names[count], sizeof names[count])) {
            dlt_buf_printf(&text, "%s%s", count > 0 ? ", " : "", names[count]);
            list[count] = names[count];
            count++;
        }
    }
    const int near = dlt_nearest(wanted, list, count);
    const dlt_detail detail = {
        .found = wanted, .allowed = dlt_buf_text(&text), .nearest = near >= 0 ? list[near] : NULL};
    const dlt_status status = dlt_fail_detail(
        diag, DLT_E_DATA, at, &detail, "'%s' has no array '%s'%s%s%s%s", path, wanted,
        near >= 0 ? "; did you mean '" : "; it has ", near >= 0 ? list[near] : "", near >= 0 ? "'?" : "",
        near >= 0    ? ""
        : count == 0 ? "none"
                     : dlt_buf_text(&text));
    dlt_buf_release(&text);
    return status;
}

static dlt_status pull(dlt_array *array, void *out, size_t bytes, size_t *got, dlt_diag *diag)
{
    zip_file_t *file = array->handle;
    *got = 0;
    while (*got < bytes) {
        const zip_int64_t n = zip_fread(file, (char *)out + *got, bytes - *got);
        if (n < 0) {
            return dlt_fail(diag, DLT_E_DATA, array->at, "'%s' is damaged: %s", array->path,
                            zip_file_strerror(file));
        }
        if (n == 0) {
            break;
        }
        *got += (size_t)n;
    }
    return DLT_OK;
}

static dlt_status take(void *context, void *data, size_t bytes, size_t *got, dlt_diag *diag)
{
    return pull(context, data, bytes, got, diag);
}

static dlt_status open_array(dlt_source *source, const char *field, const char *name, dlt_role role,
                             dlt_diag *diag)
{
    enum { MOST_EXPANSION = 1032, SMALL = 64 << 10 };
    const npz_params *p = source->item->params;
    const dlt_pos at = dlt_item_pos(source->item, field);
    dlt_arrays *arrays = source->state;
    archive *a = arrays->handle;
    zip_stat_t stat;
    char found[1024];
    const char *shown = dlt_arena_printf(source->arena, "%s: %s", p->path, name);
    if (shown == NULL) {
        return dlt_fail_memory(diag);
    }
    dlt_array *array = dlt_arrays_add(arrays, field, shown, at, role);
    zip_int64_t entry = zip_get_num_entries(a->zip, 0) - 1;
    while (entry >= 0 &&
           !(array_name(a->zip, (zip_uint64_t)entry, found, sizeof found) && strcmp(found, name) == 0)) {
        entry--;
    }
    if (entry < 0) {
        return no_such_array(a->zip, p->path, name, at, diag);
    }
    zip_stat_init(&stat);
    const zip_uint64_t wanted =
        ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if (zip_stat_index(a->zip, (zip_uint64_t)entry, 0, &stat) != 0 || (stat.valid & wanted) != wanted) {
        return dlt_fail(diag, DLT_E_DATA, at, "'%s' is damaged: %s", shown, zip_strerror(a->zip));
    }
    if (stat.encryption_method != ZIP_EM_NONE ||
        (stat.comp_method != ZIP_CM_STORE && stat.comp_method != ZIP_CM_DEFLATE)) {
        return dlt_fail(diag, DLT_E_DATA, at,
                        "'%s' is encrypted or compressed in a way that NumPy does not use", shown);
    }
    if (stat.comp_size > (zip_uint64_t)a->size || stat.size / MOST_EXPANSION > stat.comp_size + SMALL) {
        return dlt_fail(diag, DLT_E_DATA, at,
                        "'%s' claims %llu bytes, more than %llu compressed ones can hold", shown,
                        (unsigned long long)stat.size, (unsigned long long)stat.comp_size);
    }
    zip_file_t *file = zip_fopen_index(a->zip, (zip_uint64_t)entry, 0);
    if (file == NULL) {
        return dlt_fail(diag, DLT_E_DATA, at, "cannot read '%s': %s", shown, zip_strerror(a->zip));
    }
    a->open[a->open_count++] = file;
    array->handle = file;
    array->pull = pull;
    int64_t data_at = 0;
    DLT_TRY(dlt_npy_header(array, take, array, &data_at, diag));
    array->most_bytes = (int64_t)stat.size - data_at;
    array->exact_bytes = true;
    return DLT_OK;
}

static dlt_status npz_files(dlt_source *source, dlt_diag *diag)
{
    const npz_params *p = source->item->params;
    return dlt_source_add_file(source, p->path, dlt_item_pos(source->item, "path"), diag);
}

static dlt_status npz_open(dlt_source *source, dlt_diag *diag)
{
    const npz_params *p = source->item->params;
    dlt_arrays *arrays = dlt_arrays_create(source, diag);
    archive *a = dlt_alloc_zeroed(1, sizeof *a);
    if (arrays == NULL || a == NULL) {
        dlt_free(a);
        return dlt_fail_memory(diag);
    }
    a->fd = -1;
    zip_error_init(&a->error);
    arrays->handle = a;
    arrays->release = release;
    DLT_TRY(open_archive(source, p->path, a, diag));
    DLT_TRY(dlt_arrays_open_named(source, p->features, p->labels, p->sample_weight, open_array, diag));
    return dlt_arrays_finish(source, diag);
}

static dlt_status npz_input(dlt_arena *arena, const dlt_item *like, const char *path, bool targets,
                            void *params, dlt_diag *diag)
{
    (void)arena;
    (void)diag;
    const npz_params *p = like != NULL ? like->params : NULL;
    *(npz_params *)params = (npz_params){.path = path, .features = p != NULL ? p->features : "x"};
    if (targets && p != NULL) {
        *(npz_params *)params = *p;
        ((npz_params *)params)->path = path;
    }
    return DLT_OK;
}

const dlt_source_desc dlt_source_npz = {
    .kind = {.name = "NPZ",
             .doc = "arrays in a NumPy .npz archive",
             .size = sizeof(npz_params),
             .fields = npz_fields},
    .files = npz_files,
    .open = npz_open,
    .next = dlt_arrays_next,
    .close = dlt_arrays_close,
    .input = npz_input,
};
