/* tests/fuzz/run_seeds.c: runs a fuzz target over the files of a folder, without libFuzzer: regressions in
 * every build. fuzz_yaml_seeds FOLDER */
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <string.h>

static size_t run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    FUZZ_CLAIM(file != NULL);
    size_t room = 1 << 21;
    uint8_t *data = malloc(room);
    FUZZ_CLAIM(data != NULL);
    const size_t size = fread(data, 1, room, file);
    FUZZ_CLAIM(size < room && ferror(file) == 0);
    fclose(file);
    fprintf(stderr, "%s\n", path); /* the last name before a crash is the one */
    LLVMFuzzerTestOneInput(data, size);
    for (size_t cut = 1; cut < 8 && cut < size; cut++) { /* and what is left when it is cut short */
        LLVMFuzzerTestOneInput(data, size * cut / 8);
    }
    free(data);
    return 1;
}

int main(int argc, char **argv)
{
    size_t files = 0;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        FUZZ_CLAIM(folder != NULL);
        for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
            char path[4096];
            if (entry->d_name[0] != '.') {
                snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
                files += run_file(path);
            }
        }
        closedir(folder);
    }
    fprintf(stderr, "%zu files\n", files);
    return files > 0 ? 0 : 1;
}
