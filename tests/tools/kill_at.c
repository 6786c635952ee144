/* tests/tools/kill_at.c: SIGKILL at one system call of the thread that writes checkpoints, and of no other.
 *
 *     kill_at list PROGRAM WORD...                        prints FILE NUMBER NAME for each call
 *     kill_at FILE NUMBER entry|exit PROGRAM WORD...      kills there, and prints the same line once it is
 * dead
 *
 * That thread is the one that creates a temporary checkpoint, `.FILE.tmp-...`. Its calls from that one
 * (NUMBER 1) to the next temporary checkpoint are counted under FILE; they are what ends this save and begins
 * the next. Waits for work are not counted: they are of no save. At the entry of a call the kernel does not
 * do it any more; at its exit it is done.
 *
 * Ends with 0; 1: the program came to its end before; 2: it cannot be traced. Linux only. */
#define _GNU_SOURCE /* process_vm_readv */
#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct tracer {
    pid_t program, saver; /* saver 0: not known yet */
    const char *file;     /* of the call to kill at; NULL: calls are listed */
    int64_t number;
    bool at_exit;
    char save[128]; /* FILE of the save that the saver is at */
    int64_t calls;
    uint64_t call;        /* that the saver is in */
    bool counted, killed; /* that call; the program */
} tracer;

static const char *name_of(uint64_t call, char room[32])
{
    static const struct {
        uint64_t number;
        const char *name;
    } names[] = {
#define NAME(call) {(uint64_t)SYS_##call, #call}
        NAME(brk),     NAME(clone3),    NAME(close),           NAME(exit),           NAME(fcntl),
        NAME(fsync),   NAME(futex),     NAME(getdents64),      NAME(getpid),         NAME(lseek),
        NAME(madvise), NAME(mmap),      NAME(mprotect),        NAME(munmap),         NAME(newfstatat),
        NAME(openat),  NAME(pipe2),     NAME(pread64),         NAME(prlimit64),      NAME(pwrite64),
        NAME(read),    NAME(renameat2), NAME(restart_syscall), NAME(rt_sigprocmask), NAME(wait4),
        NAME(write),
#ifdef SYS_rename /* younger architectures have no such calls */
        NAME(mkdir),   NAME(poll),      NAME(readlink),        NAME(rename),         NAME(symlink),
        NAME(unlink),
#endif
#undef NAME
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].number == call) {
            return names[i].name;
        }
    }
    snprintf(room, 32, "call-%llu", (unsigned long long)call);
    return room;
}

static void tell(const tracer *t)
{
    char room[32];
    printf("%s %lld %s\n", t->save, (long long)t->calls, name_of(t->call, room));
}

/* Whether the call creates a temporary checkpoint; puts FILE into `file`. */
static bool begins_save(pid_t thread, const struct __ptrace_syscall_info *info, char file[128])
{
    char path[4096] = "";
    if (info->entry.nr != SYS_openat || (info->entry.args[2] & O_CREAT) == 0) {
        return false;
    }
    const struct iovec there = {.iov_base = (void *)(uintptr_t)info->entry.args[1],
                                .iov_len = sizeof path - 1};
    const struct iovec here = {.iov_base = path, .iov_len = sizeof path - 1};
    if (process_vm_readv(thread, &here, 1, &there, 1, 0) <= 0) {
        return false;
    }
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    const char *end = strstr(name, ".weights.h5.tmp-");
    if (name[0] != '.' || end == NULL) {
        return false;
    }
    snprintf(file, 128, "%.*s", (int)(end - name - 1), name + 1);
    return true;
}

/* A thread stands at the entry or the exit of a call. */
static void at_call(tracer *t, pid_t thread)
{
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) <= 0) {
        return; /* it has just been killed */
    }
    const bool entry = info.op == PTRACE_SYSCALL_INFO_ENTRY;
    if (entry && begins_save(thread, &info, t->save)) {
        t->saver = thread;
        t->calls = 0;
    }
    if (thread != t->saver || t->killed) {
        return;
    }
    if (entry) {
        const uint64_t wait = FUTEX_WAIT_BITSET; /* pthread_cond_wait; mutexes wait otherwise */
        t->call = info.entry.nr;
        t->counted = t->call != SYS_futex || (info.entry.args[1] & (uint64_t)FUTEX_CMD_MASK) != wait;
        t->calls += t->counted ? 1 : 0;
    }
    if (t->file == NULL && t->counted && entry) {
        tell(t);
    } else if (t->file != NULL && t->counted && t->calls == t->number && entry != t->at_exit &&
               strcmp(t->file, t->save) == 0) {
        t->killed = kill(t->program, SIGKILL) == 0;
    }
}

/* Lets everything run, and looks at the saver's calls, until the program ends; its status. */
static int follow(tracer *t)
{
    for (;;) {
        int status = 0;
        const pid_t thread = waitpid(-1, &status, __WALL);
        if (thread < 0 && errno == EINTR) {
            continue;
        }
        if (thread < 0 || (thread == t->program && !WIFSTOPPED(status))) {
            return status;
        }
        if (!WIFSTOPPED(status)) {
            continue; /* a thread's end */
        }
        int passed = WSTOPSIG(status);
        if (passed == (SIGTRAP | 0x80)) {
            at_call(t, thread);
        }
        if (passed == (SIGTRAP | 0x80) || status >> 16 != 0 || passed == SIGSTOP) {
            passed = 0; /* ptrace's own; a new thread begins with SIGSTOP */
        }
        const bool look = t->saver == 0 || thread == t->saver;
        ptrace(look ? PTRACE_SYSCALL : PTRACE_CONT, thread, NULL, (void *)(uintptr_t)passed);
    }
}

static int begin(char **words)
{
    const int nowhere = open("/dev/null", O_RDWR);
    if (nowhere < 0 || dup2(nowhere, STDOUT_FILENO) < 0 || ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
        return 2;
    }
    execvp(words[0], words);
    return 2;
}

int main(int argc, char **argv)
{
    tracer t = {0};
    const bool lists = argc > 2 && strcmp(argv[1], "list") == 0;
    if (!lists && (argc < 5 || !dlt_parse_i64(argv[2], strlen(argv[2]), &t.number))) {
        fputs("kill_at list PROGRAM WORD... | kill_at FILE NUMBER entry|exit PROGRAM WORD...\n", stderr);
        return 2;
    }
    t.file = lists ? NULL : argv[1];
    t.at_exit = !lists && strcmp(argv[3], "exit") == 0;
    t.program = fork();
    if (t.program == 0) {
        _exit(begin(argv + (lists ? 2 : 4)));
    }
    int status = 0;
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    if (t.program < 0 || waitpid(t.program, &status, 0) != t.program || !WIFSTOPPED(status) ||
        ptrace(PTRACE_SETOPTIONS, t.program, NULL, (void *)(uintptr_t)options) != 0 ||
        ptrace(PTRACE_SYSCALL, t.program, NULL, NULL) != 0) {
        fputs("kill_at: cannot trace\n", stderr);
        return 2;
    }
    status = follow(&t);
    if (!lists && (!t.killed || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)) {
        return 1;
    }
    if (!lists) {
        tell(&t);
    }
    return 0;
}
