/* io/data/folder.h: what images lie in one folder, in order, and the stamp that they make.
 *
 * A folder of many small files has one stamp, of the names, sizes and times of those that count: opening each
 * of 50,000 files to look at samples of it would cost as much as reading them all. */
#ifndef DLT_IO_DATA_FOLDER_H
#define DLT_IO_DATA_FOLDER_H

#include "base/arena.h"
#include "io/data/stamp.h"

typedef struct dlt_folder_file {
    const char *name;
    int64_t size, mtime_ns; /* size -1: nothing can be told of it (a link that leads nowhere) */
} dlt_folder_file;

typedef struct dlt_folder {
    const char *path;
    int64_t mtime_ns;       /* of the folder itself, before it was read: changes when names come or go */
    dlt_folder_file *files; /* .jpg, .jpeg, .png, in small letters or capitals */
    size_t count;
    const char **folders;
    size_t folder_count;
    size_t other_count;      /* images that are not read: .bmp, .gif, .webp, .tif, .tiff */
    const char *first_other; /* by its name's bytes; NULL: none */
} dlt_folder;

/**
 * Reads a folder; files and folders come in order of their names' bytes. Names that begin with a full stop
 * never count. Links to files count as files, links to folders as folders where `links` says so. `path` is
 * borrowed, the rest lies in the arena.
 */
dlt_status dlt_folder_list(const char *path, bool links, dlt_pos at, dlt_arena *arena, dlt_folder *folder,
                           dlt_diag *diag);

/** What of a folder its stamp is made of. */
enum { DLT_FOLDER_FILES = 1, DLT_FOLDER_FOLDERS = 2, DLT_FOLDER_LINKS = 4 /* as `links` above */ };
struct dlt_folder_stamp {
    unsigned counts;
    int64_t mtime_ns;                /* of the folder itself, as above */
    uint8_t times[DLT_SHA256_BYTES]; /* of the files */
};
/** Makes the stamp of a listed folder: size is that of its files, the time that of the newest, the sample one
 * of names and sizes. */
dlt_status dlt_folder_stamp_of(const dlt_folder *folder, unsigned counts, dlt_arena *arena, dlt_stamp *stamp,
                               dlt_diag *diag);
/** Lists a folder and makes its stamp. */
dlt_status dlt_folder_stamp_take(const char *path, unsigned counts, dlt_arena *arena, dlt_stamp *stamp,
                                 dlt_diag *diag);

#endif
