/* tests/program/count.c: counts what the program asks of the C library. Preloaded into it (LD_PRELOAD) by test_counts.py; when the
 * program ends, the counts go as JSON into the file that COUNT_FILE names. Processes that the program starts are not counted:
 * only one whose first argument is that of COUNT_COMMAND is. glibc's own names for the real functions are used. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

enum { MOST_MAPS = 4096 };

static bool counting;
static atomic_ullong calls, bytes;
static atomic_int maps;
static size_t mapped[MOST_MAPS];

static void count(size_t size)
{
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&bytes, size, memory_order_relaxed);
}

void *malloc(size_t size)
{
    count(size);
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
    count(number * size);
    return __libc_calloc(number, size);
}

void *realloc(void *block, size_t size)
{
    count(size);
    return __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count(size);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
    count(size);
    *block = __libc_memalign(alignment, size);
    return *block != NULL ? 0 : ENOMEM;
}

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset)
{
    if ((flags & MAP_ANONYMOUS) != 0) {
        const int at = atomic_fetch_add_explicit(&maps, 1, memory_order_relaxed);
        if (at < MOST_MAPS) {
            mapped[at] = length;
        }
    }
    return (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
}

__attribute__((constructor)) static void begin(int argc, char **argv)
{
    const char *command = getenv("COUNT_COMMAND");
    counting = argc > 1 && command != NULL && strcmp(argv[1], command) == 0;
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("COUNT_FILE");
    const unsigned long long all_calls = atomic_load(&calls), all_bytes = atomic_load(&bytes);
    FILE *file = counting && path != NULL ? fopen(path, "w") : NULL;
    if (file == NULL) {
        return;
    }
    fprintf(file, "{\"allocations\": %llu, \"allocated\": %llu, \"mapped\": [", all_calls, all_bytes);
    for (int i = 0; i < maps && i < MOST_MAPS; i++) {
        fprintf(file, "%s%zu", i > 0 ? ", " : "", mapped[i]);
    }
    fputs("]}\n", file);
    fclose(file);
}
