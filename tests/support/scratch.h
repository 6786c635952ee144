/* tests/support/scratch.h: folders and files that a test makes and throws away. */
#ifndef DLT_TESTS_SCRATCH_H
#define DLT_TESTS_SCRATCH_H

#include <stddef.h>

/** A new, empty folder in memory, or below $DLT_TEST_SCRATCH; removed by dlt_scratch_destroy. Ends the program on failure. */
char *dlt_scratch_create(const char *name);
/** Removes a folder and what lies in it (one level of folders deep), and frees the text. NULL is accepted. */
void dlt_scratch_destroy(char *folder);
/** "folder/name"; valid until the next 8 calls. */
const char *dlt_scratch_path(const char *folder, const char *name);
/** Number of names in a folder, "." and ".." left out. */
size_t dlt_scratch_count(const char *folder);
/** Whole file; free with free(). */
char *dlt_scratch_load(const char *path, size_t *bytes);
void dlt_scratch_save(const char *path, const void *data, size_t bytes);

#endif
