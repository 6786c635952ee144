/* tests/fuzz/fuzz_h5_table.c: the table that the child sends, as a child sends it that was taken over. */
#define _GNU_SOURCE /* memfd_create */
#include "fuzz/fuzz.h"

#include "io/h5/h5_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The file that tables speak of: large enough for the places that honest ones name. */
static int backing(void)
{
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("file", MFD_CLOEXEC);
        FUZZ_CLAIM(fd >= 0 && ftruncate(fd, 1 << 16) == 0);
    }
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static void read_dataset(dlt_h5_file *file, const dlt_h5_object *object, dlt_diag *diag)
{
    static char out[1 << 17];
    const dlt_dtype type = dlt_h5_dtype(object);
    const int64_t count = dlt_shape_count(&object->shape);
    if (count < 0 || count > (int64_t)(sizeof out / dlt_dtype_size(type))) {
        return;
    }
    const size_t messages = dlt_diag_size(diag);
    const dlt_h5_want want = {.dtype = type, .all = true};
    const dlt_status status = dlt_h5_read(file, object, &want, out, (size_t)count * dlt_dtype_size(type), diag);
    FUZZ_CLAIM(dlt_diag_size(diag) == messages + (status != DLT_OK));
}

static void look_around(dlt_h5_file *file, dlt_diag *diag)
{
    FUZZ_CLAIM(dlt_h5_count(file) > 0 && strcmp(dlt_h5_at(file, 0)->path, "/") == 0);
    size_t entries = 0;
    for (size_t i = 0; i < dlt_h5_count(file); i++) {
        const dlt_h5_object *object = dlt_h5_at(file, i);
        FUZZ_CLAIM(dlt_h5_find(file, object->path) == object);
        entries += dlt_h5_entries(file, object->path);
        for (size_t k = 0; k < object->attribute_count; k++) {
            const dlt_h5_attribute *a = &object->attributes[k];
            for (size_t n = 0; n < a->count; n++) { /* what is counted is there: sanitizers watch */
                double number = 0;
                if (a->type == DLT_H5_STRINGS) {
                    FUZZ_CLAIM(strlen(a->strings[n]) <= DLT_H5_MAX_ATTRIBUTE);
                } else if (a->type == DLT_H5_FLOATS) {
                    memcpy(&number, &a->floats[n], sizeof number);
                } else {
                    memcpy(&number, &a->ints[n], sizeof number);
                }
            }
        }
        if (object->object_class == DLT_H5_DATASET && object->refused == NULL) {
            read_dataset(file, object, diag);
        }
    }
    FUZZ_CLAIM(entries == dlt_h5_count(file) - 1); /* a tree */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dlt_h5_file *file = NULL;
    dlt_diag *diag = dlt_diag_create();
    FUZZ_CLAIM(diag != NULL);
    FUZZ_CLAIM(dlt_h5_file_create(backing(), "fuzz.h5", DLT_E_DATA, (dlt_pos){0}, &file, diag) == DLT_OK);
    const dlt_status status = dlt_h5_parse_table(file, data, size, diag);
    if (status == DLT_OK) {
        FUZZ_CLAIM(dlt_diag_size(diag) == 0);
        look_around(file, diag);
    } else {
        FUZZ_CLAIM(dlt_diag_size(diag) == 1);
    }
    dlt_h5_close(file);
    dlt_diag_destroy(diag);
    return 0;
}
