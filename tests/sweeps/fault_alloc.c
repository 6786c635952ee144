/* tests/sweeps/fault_alloc.c: refuses memory. Part of dltrain_faults; sweep_alloc.py drives it.
 *
 *   DLTRAIN_FAULT_ALLOC=PROCESS:WHO:N[+]   refuses the Nth allocation (N+: and every later one) of WHO in each process whose
 *                                          first argument is PROCESS: "fit", or "--h5-child" for the reader of HDF5 files.
 *                                          WHO is ours (base/alloc.h and libyaml) or hdf5 (libhdf5). N = 0 refuses nothing.
 *   DLTRAIN_FAULT_ALLOC_PROOF=FILE         what happened is added there: a proof, mapped and shared, so that it outlives any
 *                                          death of the process and works where nothing can be opened any more.
 *   DLTRAIN_FAULT_SERVE=SECONDS            the process becomes a server, which loads and links once: for each line
 *                                          "FAULT<TAB>FOLDER" on standard input it forks a process that goes on into main()
 *                                          in that folder with that DLTRAIN_FAULT_ALLOC, standard output and error in
 *                                          FOLDER.out and FOLDER.err, and at most SECONDS to live. The answer is a line
 *                                          "STATUS CALLS REFUSED YAML_REFUSED": the status as of waitpid, and the most
 *                                          calls of one process.
 *
 * libyaml allocates through yaml_malloc and its siblings, which an executable can replace. What libhdf5 asks of the C
 * library is told by the return address; base/alloc.c is compiled for this program with the C library's inner names instead
 * (tests/CMakeLists.txt), and nothing else in the executable calls malloc. Under sanitizers, whose malloc must stay, libhdf5
 * is left alone. */
#define _GNU_SOURCE /* dl_iterate_phdr */
#include "base/alloc.h"
#include "base/linux_guard.h"

#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

enum { LONGEST_LINE = 4096, MOST_RANGES = 16 };

typedef struct proof {
    atomic_uint_fast64_t calls; /* the most of one process */
    atomic_uint_fast64_t refused, yaml_refused;
} proof;

static proof nowhere, *shared = &nowhere;
static bool watch_ours; /* set once, before main() */

static void note_calls(uint64_t calls)
{
    uint_fast64_t most = atomic_load(&shared->calls);
    while (most < calls && !atomic_compare_exchange_weak(&shared->calls, &most, calls)) {
    }
}

/* ---- ours ---- */

static void note_ours(void)
{
    if (watch_ours) {
        watch_ours = false;
        note_calls(dlt_alloc_calls());
        atomic_fetch_add(&shared->refused, dlt_alloc_fail_at(0, false));
    }
}

__attribute__((destructor)) static void at_exit(void)
{
    note_ours();
}

/* The child that reads HDF5 files ends this way, without destructors. */
EXPORTED _Noreturn void _exit(int code)
{
    note_ours();
    for (;;) {
        syscall(SYS_exit_group, code);
    }
}

/* ---- libyaml ---- */

#if DLT_SANITIZED
#define REAL(name) name
#else
#define REAL(name) __libc_##name
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
#endif

EXPORTED void *yaml_malloc(size_t size);
EXPORTED void *yaml_realloc(void *block, size_t size);
EXPORTED void yaml_free(void *block);
EXPORTED char *yaml_strdup(const char *text);

static bool refuse_yaml(void)
{
    const bool refused = dlt_alloc_refused();
    if (refused) {
        atomic_fetch_add(&shared->yaml_refused, 1);
    }
    return refused;
}

void *yaml_malloc(size_t size)
{
    return refuse_yaml() ? NULL : REAL(malloc)(size > 0 ? size : 1);
}

void *yaml_realloc(void *block, size_t size)
{
    return refuse_yaml() ? NULL : REAL(realloc)(block, size > 0 ? size : 1);
}

void yaml_free(void *block)
{
    free(block);
}

char *yaml_strdup(const char *text)
{
    const size_t bytes = text != NULL ? strlen(text) + 1 : 0;
    char *copy = bytes > 0 && !refuse_yaml() ? REAL(malloc)(bytes) : NULL;
    return copy != NULL ? memcpy(copy, text, bytes) : NULL;
}

/* ---- libhdf5 ---- */

#if !DLT_SANITIZED
static uint64_t hdf5_at; /* the call that is refused */
static bool watch_hdf5, hdf5_later;
static atomic_uint_fast64_t hdf5_calls;
static struct {
    uintptr_t start, end;
} ranges[MOST_RANGES]; /* the executable's code, which holds libhdf5's archive, or that of the shared libhdf5 */
static size_t range_count;

static int note_ranges(struct dl_phdr_info *object, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    if (object->dlpi_name[0] == '\0' || strstr(object->dlpi_name, "libhdf5") != NULL) {
        for (size_t i = 0; i < object->dlpi_phnum && range_count < MOST_RANGES; i++) {
            const ElfW(Phdr) *part = &object->dlpi_phdr[i];
            if (part->p_type == PT_LOAD && (part->p_flags & PF_X) != 0) {
                ranges[range_count].start = object->dlpi_addr + part->p_vaddr;
                ranges[range_count].end = ranges[range_count].start + part->p_memsz;
                range_count++;
            }
        }
    }
    return 0;
}

static bool refuse_hdf5(const void *from)
{
    bool is_hdf5 = false;
    for (size_t i = 0; watch_hdf5 && i < range_count; i++) {
        is_hdf5 |= (uintptr_t)from >= ranges[i].start && (uintptr_t)from < ranges[i].end;
    }
    if (!is_hdf5) {
        return false;
    }
    const uint64_t call = atomic_fetch_add(&hdf5_calls, 1) + 1;
    note_calls(call);
    if (hdf5_at == 0 || call < hdf5_at || (call > hdf5_at && !hdf5_later)) {
        return false;
    }
    atomic_fetch_add(&shared->refused, 1);
    return true;
}

EXPORTED void *malloc(size_t size)
{
    return refuse_hdf5(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

EXPORTED void *calloc(size_t count, size_t size)
{
    return refuse_hdf5(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

EXPORTED void *realloc(void *block, size_t size)
{
    return refuse_hdf5(__builtin_return_address(0)) ? NULL : __libc_realloc(block, size);
}
#endif

/* ---- what is to happen ---- */

static _Noreturn void misused(const char *what)
{
    fprintf(stderr, "dltrain_faults: %s\n", what);
    _exit(99);
}

static void open_proof(void)
{
    const char *path = getenv("DLTRAIN_FAULT_ALLOC_PROOF");
    const int fd = path != NULL ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (path == NULL) {
        return;
    }
    void *map = fd >= 0 && ftruncate(fd, sizeof *shared) == 0
                    ? mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                    : MAP_FAILED;
    if (map == MAP_FAILED) {
        misused("the file that DLTRAIN_FAULT_ALLOC_PROOF names cannot be made");
    }
    close(fd);
    shared = map;
}

/* Arms this process, if DLTRAIN_FAULT_ALLOC means it. */
static void arm(const char *process)
{
    const char *text = getenv("DLTRAIN_FAULT_ALLOC");
    const size_t length = process != NULL ? strlen(process) : 0;
    if (text == NULL || length == 0 || strncmp(text, process, length) != 0 || text[length] != ':') {
        return;
    }
    const char *who = text + length + 1, *number = strchr(who, ':');
    char *end = NULL;
    const uint64_t nth = number != NULL ? strtoull(number + 1, &end, 10) : 0;
    const bool later = end != NULL && *end == '+';
    if (end == NULL || end == number + 1 || end[later] != '\0') {
        misused("DLTRAIN_FAULT_ALLOC is PROCESS:WHO:N or PROCESS:WHO:N+");
    }
    if (strncmp(who, "ours:", 5) == 0) {
        dlt_alloc_fail_at(nth, later);
        watch_ours = true;
        return;
    }
#if !DLT_SANITIZED
    if (strncmp(who, "hdf5:", 5) == 0) {
        dl_iterate_phdr(note_ranges, NULL);
        hdf5_at = nth;
        hdf5_later = later;
        watch_hdf5 = true;
        return;
    }
#endif
    misused("DLTRAIN_FAULT_ALLOC: WHO is ours, or, without sanitizers, hdf5");
}

/* ---- the server ---- */

static void put_stream(int fd, const char *path, int flags)
{
    const int opened = open(path, flags | O_CLOEXEC, 0600);
    if (opened < 0 || dup2(opened, fd) < 0 || close(opened) != 0) {
        misused("a standard stream cannot be made");
    }
}

/* In the forked process: makes it look as if it had been started in `folder` with that fault. */
static void become(const char *fault, const char *folder, const char *seconds)
{
    char path[LONGEST_LINE + 8];
    put_stream(STDIN_FILENO, "/dev/null", O_RDONLY);
    snprintf(path, sizeof path, "%s.err", folder);
    put_stream(STDERR_FILENO, path, O_WRONLY | O_CREAT | O_TRUNC);
    snprintf(path, sizeof path, "%s.out", folder);
    put_stream(STDOUT_FILENO, path, O_WRONLY | O_CREAT | O_TRUNC);
    if (chdir(folder) != 0 || setenv("DLTRAIN_FAULT_ALLOC", fault, 1) != 0) {
        misused("the folder of a run is not there");
    }
    alarm((unsigned)strtoul(seconds, NULL, 10));
}

/* Comes back in each forked process only. */
static void serve(const char *seconds)
{
    char line[LONGEST_LINE];
    FILE *in = fdopen(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3), "r");
    FILE *out = fdopen(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3), "w");
    if (in == NULL || out == NULL) {
        misused("the server's streams cannot be opened");
    }
    while (fgets(line, sizeof line, in) != NULL) {
        char *folder = strchr(line, '\t'), *feed = strchr(line, '\n');
        if (folder == NULL || feed == NULL) {
            misused("a line of the server is FAULT<TAB>FOLDER");
        }
        *folder++ = *feed = '\0';
        atomic_store(&shared->calls, 0);
        atomic_store(&shared->refused, 0);
        atomic_store(&shared->yaml_refused, 0);
        const pid_t child = fork();
        if (child == 0) {
            close(fileno(in)); /* the streams' memory stays: closing them would move the descriptor's offset */
            close(fileno(out));
            become(line, folder, seconds);
            return;
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child) {
            misused("a process cannot be forked");
        }
        fprintf(out, "%d %llu %llu %llu\n", status, (unsigned long long)atomic_load(&shared->calls),
                (unsigned long long)atomic_load(&shared->refused),
                (unsigned long long)atomic_load(&shared->yaml_refused));
        fflush(out);
    }
    _exit(0);
}

__attribute__((constructor)) static void begin(int argc, char **argv)
{
    const char *seconds = getenv("DLTRAIN_FAULT_SERVE");
    open_proof();
    if (seconds != NULL) {
        char most[16];
        snprintf(most, sizeof most, "%s", seconds);
        unsetenv("DLTRAIN_FAULT_SERVE"); /* not for the processes that this one starts */
        serve(most);
    }
    arm(argc > 1 ? argv[1] : NULL);
}
