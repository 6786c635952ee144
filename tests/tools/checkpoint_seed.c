/* tests/tools/checkpoint_seed.c: a checkpoint as an input of tests/fuzz/fuzz_checkpoint.c, which tells the
 * form. checkpoint_seed FILE [ROWS] > tests/fuzz/seeds/checkpoint/NAME */
#include "base/alloc.h"
#include "base/text.h"
#include "io/file.h"
#include "io/h5/h5_table.h"

#include <stdio.h>
#include <string.h>

static void put(dlt_buf *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        dlt_buf_char(out, (char)(value >> (8 * i)));
    }
}

static void put_head(dlt_buf *out, unsigned kind, const char *path)
{
    put(out, kind, 1);
    put(out, strlen(path), 1);
    dlt_buf_string(out, path);
}

static dlt_status put_dataset(dlt_h5_file *file, const dlt_h5_object *o, dlt_buf *out, dlt_diag *diag)
{
    static char data[1 << 16];
    const dlt_h5_want want = {.dtype = dlt_h5_dtype(o), .all = true};
    if (strlen(o->path) > 255 || o->bytes >= (int64_t)sizeof data || o->refused != NULL) {
        return dlt_fail(diag, DLT_E_DATA, (dlt_pos){0}, "'%s' does not fit into a seed", o->path);
    }
    DLT_TRY(dlt_h5_read(file, o, &want, data, (size_t)o->bytes, diag));
    put_head(out, 1, o->path);
    put(out, (uint64_t)want.dtype, 1);
    put(out, (uint64_t)o->shape.rank, 1);
    for (int i = 0; i < o->shape.rank; i++) {
        put(out, (uint64_t)o->shape.dim[i], 2);
    }
    put(out, (uint64_t)o->bytes, 2);
    dlt_buf_append(out, data, (size_t)o->bytes);
    return DLT_OK;
}

static dlt_status put_file(const char *path, dlt_buf *out, dlt_diag *diag)
{
    dlt_h5_file *file = NULL;
    DLT_TRY(dlt_h5_open(path, DLT_E_DATA, (dlt_pos){0}, &file, diag));
    dlt_status status = DLT_OK;
    put(out, dlt_h5_find(file, "/dltrain") == NULL, 1);
    for (size_t i = 0; i < dlt_h5_count(file) && status == DLT_OK; i++) {
        const dlt_h5_object *o = dlt_h5_at(file, i);
        const dlt_h5_attribute *name = dlt_h5_find_attribute(o, "name");
        if (o->object_class == DLT_H5_DATASET && !dlt_text_starts(o->path, "/dltrain/manifest")) {
            status = put_dataset(file, o, out, diag);
        } else if (o->object_class == DLT_H5_GROUP && name != NULL) {
            put_head(out, 0, o->path);
            put(out, strlen(name->strings[0]), 1);
            dlt_buf_string(out, name->strings[0]);
        }
    }
    dlt_h5_close(file);
    return status;
}

int main(int argc, char **argv)
{
    dlt_h5_child_main(argc, argv);
    dlt_buf out = {0};
    dlt_diag *diag = dlt_diag_create();
    char *rows = NULL;
    size_t bytes = 0;
    dlt_status status = argc > 1 ? put_file(argv[1], &out, diag) : DLT_E_CONFIG;
    if (status == DLT_OK && argc > 2) {
        status = dlt_file_load(argv[2], 60000, DLT_E_DATA, (dlt_pos){0}, &rows, &bytes, diag);
        put_head(&out, 3, "");
        put(&out, bytes, 2);
        dlt_buf_append(&out, rows, bytes);
    }
    if (status == DLT_OK && !out.failed && fwrite(out.data, 1, out.length, stdout) == out.length) {
        return 0;
    }
    fprintf(stderr, "checkpoint_seed: %s\n",
            dlt_diag_size(diag) > 0 ? dlt_diag_text(diag, 0) : "FILE [ROWS] > SEED");
    return 1;
}
