/* tests/tools/hdf5_seed.c: an HDF5 file as an input of tests/fuzz/fuzz_hdf5.c: its table, then its bytes.
 *     hdf5_seed FILE > tests/fuzz/seeds/hdf5/NAME */
#include "base/alloc.h"
#include "io/file.h"
#include "io/h5/h5_internal.h"

#include <fcntl.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    dlt_h5_child_main(argc, argv);
    char *table = NULL, *file = NULL;
    size_t table_bytes = 0, bytes = 0;
    dlt_diag *diag = dlt_diag_create();
    const int fd = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0 && dlt_file_load(argv[1], 1 << 20, DLT_E_DATA, (dlt_pos){0}, &file, &bytes, diag) == DLT_OK &&
        dlt_h5_run_child(fd, (int64_t)bytes, false, argv[1], DLT_E_DATA, (dlt_pos){0}, &table, &table_bytes,
                         diag) == DLT_OK) {
        const unsigned char length[4] = {(unsigned char)table_bytes, (unsigned char)(table_bytes >> 8),
                                         (unsigned char)(table_bytes >> 16),
                                         (unsigned char)(table_bytes >> 24)};
        if (fwrite(length, 1, 4, stdout) == 4 && fwrite(table, 1, table_bytes, stdout) == table_bytes &&
            fwrite(file, 1, bytes, stdout) == bytes) {
            return 0;
        }
    }
    fprintf(stderr, "hdf5_seed: %s\n", dlt_diag_size(diag) > 0 ? dlt_diag_text(diag, 0) : "FILE > SEED");
    return 1;
}
