/* tests/support/scratch.c */
#include "support/scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void give_up(const char *what)
{
    perror(what);
    exit(99);
}

char *dlt_scratch_create(const char *name)
{
    char *folder = malloc(1024);
    if (folder == NULL) {
        give_up("malloc");
    }
    /* in memory where possible: thousands of syncs to a disk take minutes */
    const char *given = getenv("DLT_TEST_SCRATCH"), *memory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : DLT_BINARY_DIR;
    snprintf(folder, 1024, "%s/dltrain-%s-XXXXXX", given != NULL ? given : memory, name);
    if (mkdtemp(folder) == NULL) {
        give_up(folder);
    }
    return folder;
}

void dlt_scratch_destroy(char *folder)
{
    char path[2048];
    if (folder == NULL) {
        return;
    }
    DIR *open_folder = opendir(folder);
    struct dirent *entry;
    while (open_folder != NULL && (entry = readdir(open_folder)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            if (unlink(path) != 0 && rmdir(path) != 0) {
                perror(path);
            }
        }
    }
    if (open_folder != NULL) {
        closedir(open_folder);
    }
    rmdir(folder);
    free(folder);
}

const char *dlt_scratch_path(const char *folder, const char *name)
{
    static char paths[8][2048];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

size_t dlt_scratch_count(const char *folder)
{
    size_t count = 0;
    DIR *open_folder = opendir(folder);
    struct dirent *entry;
    while (open_folder != NULL && (entry = readdir(open_folder)) != NULL) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    if (open_folder != NULL) {
        closedir(open_folder);
    }
    return count;
}

char *dlt_scratch_load(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    struct stat status;
    if (file == NULL || fstat(fileno(file), &status) != 0) {
        give_up(path);
    }
    char *data = malloc((size_t)status.st_size + 1);
    if (data == NULL || fread(data, 1, (size_t)status.st_size, file) != (size_t)status.st_size) {
        give_up(path);
    }
    fclose(file);
    *bytes = (size_t)status.st_size;
    return data;
}

void dlt_scratch_save(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, bytes, file) != bytes || fclose(file) != 0) {
        give_up(path);
    }
}
