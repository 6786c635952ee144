/* tests/tools/spawn_own_program.c: preloaded by tests/valgrind.sh. Our program starts itself again as /proc/self/exe, which under
 * valgrind is valgrind: this gives the program's own path instead, which valgrind does tell to those who read the link. The
 * process that is started runs without valgrind. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <string.h>
#include <unistd.h>

typedef int spawn_call(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[],
                       char *const[]);

int posix_spawn(pid_t *process, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
                char *const arguments[], char *const environment[])
{
    static const char itself[] = "/proc/self/exe";
    char own[PATH_MAX] = "";
    spawn_call *const next = (spawn_call *)dlsym(RTLD_NEXT, "posix_spawn");
    if (next == NULL || (strcmp(path, itself) == 0 && readlink(itself, own, sizeof own - 1) <= 0)) {
        return ENOENT;
    }
    return next(process, own[0] != '\0' ? own : path, actions, attributes, arguments, environment);
}
