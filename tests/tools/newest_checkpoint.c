/* tests/tools/newest_checkpoint.c: reads names of folders, one a line, and answers each with the step of the
 * newest checkpoint there that is whole, "none", or "refused: why". */
#include "io/h5/checkpoint.h"
#include "io/h5/h5_table.h"

#include <stdio.h>
#include <string.h>

static void answer(const char *path)
{
    dlt_checkpoint_folder *folder = NULL;
    dlt_checkpoint *newest = NULL;
    int64_t step = -1;
    dlt_diag *diag = dlt_diag_create();
    dlt_status status = dlt_checkpoint_folder_open(path, &folder, diag);
    if (status == DLT_OK) {
        status = dlt_checkpoint_newest(folder, &newest, &step, diag);
    }
    if (status != DLT_OK) {
        const size_t messages = dlt_diag_size(diag);
        printf("refused: %s\n", messages > 0 ? dlt_diag_text(diag, messages - 1) : "?");
    } else if (newest == NULL) {
        puts("none");
    } else {
        printf("%lld\n", (long long)step);
    }
    fflush(stdout);
    dlt_checkpoint_close(newest);
    dlt_checkpoint_folder_close(folder);
    dlt_diag_destroy(diag);
}

int main(int argc, char **argv)
{
    char line[4096];
    dlt_h5_child_main(argc, argv); /* the reader of HDF5 files is this program too */
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        answer(line);
    }
    return 0;
}
