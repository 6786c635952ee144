/* io/h5/h5_writer.c: writing with libhdf5 through a driver on dlt_file().
 *
 * The driver never tells libhdf5 of a failed write. libhdf5 cannot close a file whose cache it cannot flush, and would keep
 * it and its identifiers for ever. So the driver notes the first failure, drops everything after it, and says that all is
 * well; the writer asks the driver after each call. */
#define H5_USE_110_API
#include "io/h5/h5_writer.h"

#include "base/alloc.h"
#include "io/file.h"
#include "io/h5/h5_internal.h"

#include <errno.h>
#include <hdf5.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "values are read and written as on a little-endian machine"
#endif

struct dlt_h5_writer {
    int fd;
    const char *path;
    dlt_status kind;
    hid_t file, links, dataset_creation, text;
    int error;   /* errno of the driver's first failure, 0 if there is none */
    bool failed; /* a message was given */
};

/* ---- the driver ---- */

typedef struct driver_info { /* what libhdf5 copies into a property list */
    dlt_h5_writer *writer;
} driver_info;

typedef struct driver {
    H5FD_t base; /* libhdf5's part; must be first */
    dlt_h5_writer *writer;
    haddr_t end;  /* of what libhdf5 has allocated */
    haddr_t size; /* of the file */
} driver;

static H5FD_t *driver_open(const char *name, unsigned flags, hid_t access, haddr_t most)
{
    (void)name;
    (void)flags;
    (void)most;
    const driver_info *info = H5Pget_driver_info(access);
    driver *opened = info != NULL ? dlt_alloc_zeroed(1, sizeof *opened) : NULL;
    if (opened != NULL) {
        opened->writer = info->writer;
    } else if (info != NULL) {
        info->writer->error = ENOMEM;
    }
    return (H5FD_t *)opened;
}

static herr_t driver_close(H5FD_t *file)
{
    dlt_free(file);
    return 0;
}

static herr_t driver_query(const H5FD_t *file, unsigned long *flags)
{
    (void)file;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
             H5FD_FEAT_AGGREGATE_SMALLDATA;
    return 0;
}

static haddr_t driver_end(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const driver *)file)->end;
}

static herr_t driver_set_end(H5FD_t *file, H5FD_mem_t type, haddr_t end)
{
    (void)type;
    ((driver *)file)->end = end;
    return 0;
}

static haddr_t driver_size(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const driver *)file)->size;
}

static herr_t driver_read(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t offset, size_t bytes, void *out)
{
    dlt_h5_writer *w = ((driver *)file)->writer;
    char *at = out;
    (void)type;
    (void)transfer;
    while (bytes > 0 && w->error == 0) {
        const ssize_t n = dlt_file()->pread(w->fd, at, bytes, (off_t)offset);
        if (n > 0) {
            at += n;
            offset += (haddr_t)n;
            bytes -= (size_t)n;
        } else if (n == 0) { /* allocated and not yet written */
            memset(at, 0, bytes);
            return 0;
        } else if (errno != EINTR) {
            w->error = errno;
        }
    }
    return w->error == 0 ? 0 : -1;
}

static herr_t driver_write(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t offset, size_t bytes,
                           const void *data)
{
    driver *d = (driver *)file;
    dlt_h5_writer *w = d->writer;
    const char *at = data;
    (void)type;
    (void)transfer;
    d->size = offset + bytes > d->size ? offset + bytes : d->size;
    while (bytes > 0 && w->error == 0) {
        const ssize_t n = dlt_file()->pwrite(w->fd, at, bytes, (off_t)offset);
        if (n > 0) {
            at += n;
            offset += (haddr_t)n;
            bytes -= (size_t)n;
        } else if (n == 0) {
            w->error = EIO;
        } else if (errno != EINTR) {
            w->error = errno;
        }
    }
    return 0;
}

/* At the end the file is as long as libhdf5 has allocated: what it left unwritten reads as zeros. */
static herr_t driver_truncate(H5FD_t *file, hid_t transfer, hbool_t closing)
{
    driver *d = (driver *)file;
    dlt_h5_writer *w = d->writer;
    (void)transfer;
    (void)closing;
    while (w->error == 0 && d->size != d->end) {
        if (dlt_file()->ftruncate(w->fd, (off_t)d->end) == 0) {
            d->size = d->end;
        } else if (errno != EINTR) {
            w->error = errno;
        }
    }
    d->size = d->end;
    return 0;
}

static const H5FD_class_t driver_class = {
#ifdef H5FD_CLASS_VERSION /* libhdf5 1.14 */
    .version = H5FD_CLASS_VERSION,
    .value = (H5FD_class_value_t)601,
#endif
    .name = "dltrain-writer",
    .maxaddr = INT64_MAX,
    .fc_degree = H5F_CLOSE_STRONG,
    .fapl_size = sizeof(driver_info),
    .open = driver_open,
    .close = driver_close,
    .query = driver_query,
    .get_eoa = driver_end,
    .set_eoa = driver_set_end,
    .get_eof = driver_size,
    .read = driver_read,
    .write = driver_write,
    .truncate = driver_truncate,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

static atomic_bool in_use;                /* a writer is open */
static hid_t driver_id = H5I_INVALID_HID; /* registered by the first writer; the flag above guards it */

/* ---- failures ---- */

static herr_t innermost_error(unsigned n, const H5E_error2_t *error, void *out)
{
    if (n == 0 && error->desc != NULL) {
        *(const char **)out = error->desc;
    }
    return 0;
}

/* One message for the first failure; the driver's reason where it has one, else libhdf5's words. */
static dlt_status failed(dlt_h5_writer *w, const char *what, dlt_diag *diag)
{
    const char *reason = "libhdf5 refuses";
    if (w->failed) {
        return w->kind;
    }
    w->failed = true;
    if (dlt_h5_reserve_used() || w->error == ENOMEM) {
        w->error = ENOMEM; /* nothing more is written */
        return dlt_fail_memory(diag);
    }
    if (w->error != 0) {
        return dlt_fail(diag, w->kind, (dlt_pos){0}, "cannot write '%s': %s", w->path, strerror(w->error));
    }
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost_error, &reason);
    const dlt_status status =
        dlt_fail(diag, w->kind, (dlt_pos){0}, "cannot write '%s' (%s): %s", w->path, what, reason);
    w->error = EIO; /* nothing more is written */
    return status;
}

static dlt_status outcome(dlt_h5_writer *w, bool good, const char *what, dlt_diag *diag)
{
    return good && w->error == 0 && !w->failed && !dlt_h5_reserve_used() ? DLT_OK : failed(w, what, diag);
}

/* Closes an identifier; false if that fails. Negative ones are none. */
static bool close_id(hid_t id, herr_t (*close)(hid_t))
{
    return id < 0 || close(id) >= 0;
}

/* ---- the writer ---- */

dlt_status dlt_h5_writer_create(int fd, const char *path, dlt_status kind, dlt_h5_writer **writer, dlt_diag *diag)
{
    *writer = NULL;
    if (atomic_exchange(&in_use, true)) {
        return dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "two HDF5 files are written at once");
    }
    dlt_h5_writer *w = dlt_h5_reserve_begin() ? dlt_alloc_zeroed(1, sizeof *w) : NULL;
    if (w == NULL) {
        dlt_h5_reserve_end();
        atomic_store(&in_use, false);
        return dlt_fail_memory(diag);
    }
    const bool ready = dlt_h5_library();
    if (ready && driver_id < 0) {
        driver_id = H5FDregister(&driver_class);
    }
    *w = (dlt_h5_writer){.fd = fd,
                         .path = path,
                         .kind = kind,
                         .file = H5I_INVALID_HID,
                         .links = H5Pcreate(H5P_LINK_CREATE),
                         .dataset_creation = H5Pcreate(H5P_DATASET_CREATE),
                         .text = H5Tcopy(H5T_C_S1)};
    const driver_info info = {.writer = w};
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    bool good = ready && driver_id >= 0 && access >= 0 && w->links >= 0 && w->dataset_creation >= 0 && w->text >= 0 &&
                H5Pset_driver(access, driver_id, &info) >= 0 && H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0 &&
                H5Pset_create_intermediate_group(w->links, 1) >= 0 &&
                H5Pset_obj_track_times(w->dataset_creation, 0) >= 0 && H5Tset_size(w->text, H5T_VARIABLE) >= 0 &&
                H5Tset_strpad(w->text, H5T_STR_NULLTERM) >= 0 && H5Tset_cset(w->text, H5T_CSET_UTF8) >= 0;
    if (good) {
        w->file = H5Fcreate("/file", H5F_ACC_TRUNC, H5P_DEFAULT, access);
        good = w->file >= 0;
    }
    good &= close_id(access, H5Pclose);
    const dlt_status status = outcome(w, good, "its beginning", diag);
    if (status != DLT_OK) {
        dlt_h5_writer_destroy(w);
        return status;
    }
    *writer = w;
    return DLT_OK;
}

dlt_status dlt_h5_writer_group(dlt_h5_writer *w, const char *path, dlt_diag *diag)
{
    if (w->failed || w->error != 0) {
        return failed(w, path, diag);
    }
    hid_t group = H5Gcreate2(w->file, path, w->links, H5P_DEFAULT, H5P_DEFAULT);
    const bool good = group >= 0 && close_id(group, H5Gclose);
    return outcome(w, good, path, diag);
}

/* The type as it lies in the file, which is also how it lies in memory; to be closed. */
static hid_t make_type(dlt_dtype dtype)
{
    const hid_t known[DLT_DTYPE_COUNT] = {
        [DLT_F32] = H5T_IEEE_F32LE, [DLT_F64] = H5T_IEEE_F64LE, [DLT_BF16] = H5I_INVALID_HID,
        [DLT_F16] = H5T_IEEE_F32LE, [DLT_U8] = H5T_STD_U8LE,    [DLT_I8] = H5T_STD_I8LE,
        [DLT_I16] = H5T_STD_I16LE,  [DLT_I32] = H5T_STD_I32LE,  [DLT_I64] = H5T_STD_I64LE,
    };
    hid_t type = dtype == DLT_BF16 ? H5Tcreate(H5T_OPAQUE, 2) : H5Tcopy(known[dtype]);
    const bool good = dtype == DLT_BF16  ? type >= 0 && H5Tset_tag(type, "") >= 0
                      : dtype == DLT_F16 ? type >= 0 && H5Tset_fields(type, 15, 10, 5, 0, 10) >= 0 &&
                                               H5Tset_size(type, 2) >= 0 && H5Tset_ebias(type, 15) >= 0
                                         : type >= 0;
    if (!good && type >= 0) {
        H5Tclose(type);
        type = H5I_INVALID_HID;
    }
    return type;
}

dlt_status dlt_h5_writer_dataset(dlt_h5_writer *w, const char *path, dlt_dtype dtype, const dlt_shape *shape,
                                 const void *data, dlt_diag *diag)
{
    hsize_t dim[DLT_MAX_RANK] = {0};
    if (w->failed || w->error != 0) {
        return failed(w, path, diag);
    }
    for (int i = 0; i < shape->rank; i++) {
        dim[i] = (hsize_t)shape->dim[i];
    }
    const int64_t count = dlt_shape_count(shape);
    hid_t type = make_type(dtype);
    hid_t space = shape->rank == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(shape->rank, dim, NULL);
    hid_t set = H5I_INVALID_HID;
    bool good = count >= 0 && type >= 0 && space >= 0;
    if (good) {
        set = H5Dcreate2(w->file, path, type, space, w->links, w->dataset_creation, H5P_DEFAULT);
        good = set >= 0 && (count == 0 || H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    }
    good &= close_id(set, H5Dclose);
    good &= close_id(space, H5Sclose);
    good &= close_id(type, H5Tclose);
    DLT_TRY(outcome(w, good, path, diag));
    return dtype == DLT_BF16 ? dlt_h5_writer_text(w, path, "dtype", "bfloat16", diag) : DLT_OK;
}

dlt_status dlt_h5_writer_text(dlt_h5_writer *w, const char *object, const char *name, const char *text,
                              dlt_diag *diag)
{
    if (w->failed || w->error != 0) {
        return failed(w, object, diag);
    }
    hid_t space = H5Screate(H5S_SCALAR), attribute = H5I_INVALID_HID;
    bool good = space >= 0;
    if (good) {
        attribute = H5Acreate_by_name(w->file, object, name, w->text, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        good = attribute >= 0 && H5Awrite(attribute, w->text, &text) >= 0;
    }
    good &= close_id(attribute, H5Aclose);
    good &= close_id(space, H5Sclose);
    return outcome(w, good, object, diag);
}

static bool close_all(dlt_h5_writer *w)
{
    bool good = close_id(w->file, H5Fclose);
    good &= close_id(w->links, H5Pclose);
    good &= close_id(w->dataset_creation, H5Pclose);
    good &= close_id(w->text, H5Tclose);
    w->file = w->links = w->dataset_creation = w->text = H5I_INVALID_HID;
    return good;
}

dlt_status dlt_h5_writer_finish(dlt_h5_writer *w, dlt_diag *diag)
{
    const bool good = close_all(w);
    const dlt_status status = outcome(w, good, "its end", diag);
    dlt_h5_writer_destroy(w);
    return status;
}

void dlt_h5_writer_destroy(dlt_h5_writer *w)
{
    if (w == NULL) {
        return;
    }
    if (w->error == 0) {
        w->error = ECANCELED; /* what libhdf5 flushes now goes nowhere */
    }
    close_all(w);
    dlt_h5_reserve_end();
    atomic_store(&in_use, false);
    dlt_free(w);
}
