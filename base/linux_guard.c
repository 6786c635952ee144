/* base/linux_guard.c: resource limits and a seccomp filter (Linux, Documentation/userspace-api/seccomp_filter.rst). */
#include "base/linux_guard.h"

#include "base/status.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#endif

uint64_t dlt_guard_address_bytes(void)
{
    char text[64] = {0}; /* "PAGES ..." */
    uint64_t pages = 0, bytes = 0;
    const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++) {
        pages = pages * 10 + (uint64_t)(text[i] - '0');
    }
    const long page = sysconf(_SC_PAGESIZE);
    return page > 0 && !__builtin_mul_overflow(pages, (uint64_t)page, &bytes) ? bytes : 0;
}

void dlt_guard_close_from(int first)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)first, ~0U, 0U) == 0) {
        return;
    }
#endif
    struct rlimit limit; /* a kernel before 5.9 */
    const rlim_t most = 1 << 16;
    const rlim_t end = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < most ? limit.rlim_cur : most;
    for (int fd = first; fd < (int)end; fd++) {
        close(fd);
    }
}

void dlt_guard_die_with_parent(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static bool limit_to(int what, rlim_t soft, rlim_t hard)
{
    struct rlimit now;
    if (getrlimit(what, &now) != 0) {
        return false;
    }
    if (now.rlim_max != RLIM_INFINITY && now.rlim_max < hard) {
        hard = now.rlim_max;
    }
    const struct rlimit wanted = {.rlim_cur = soft < hard ? soft : hard, .rlim_max = hard};
    return setrlimit(what, &wanted) == 0;
}

unsigned dlt_guard_limit(const dlt_guard_limits *limits)
{
    unsigned held = 0;
    if (!DLT_SANITIZED && limits->address_bytes > 0 &&
        limit_to(RLIMIT_AS, limits->address_bytes, limits->address_bytes)) {
        held |= DLT_GUARD_MEMORY;
    }
    if (limit_to(RLIMIT_CPU, limits->cpu_seconds, limits->cpu_seconds + 1)) {
        held |= DLT_GUARD_CPU;
    }
    if (limit_to(RLIMIT_NOFILE, limits->descriptors, limits->descriptors) &&
        (DLT_SANITIZED || limit_to(RLIMIT_FSIZE, 0, 0))) { /* their reports may go to a file */
        held |= DLT_GUARD_FILES;
    }
    if (limit_to(RLIMIT_CORE, 0, 0) && prctl(PR_SET_DUMPABLE, 0) == 0) {
        held |= DLT_GUARD_CORE;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) {
        held |= DLT_GUARD_PRIVILEGES;
    }
    return held;
}

#ifdef NATIVE_ARCH
/* One rule a system call. The jumps of BPF count instructions: (if equal, if not), (if a bit is set, if none is). */
#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, member))
#define LOAD_LOW(i)                                                                                          \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, args) + 8 * (i))
#define LOAD_HIGH(i)                                                                                         \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, args) + 8 * (i) + 4)
#define EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(value), yes, no)
#define HAS_BIT(bit, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (unsigned)(bit), yes, no)
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, (unsigned)(action))

#define ALLOW(name) EQUAL(SYS_##name, 0, 1), RETURN(SECCOMP_RET_ALLOW)
#define REFUSE(name) EQUAL(SYS_##name, 0, 1), RETURN(SECCOMP_RET_ERRNO | EACCES)
#define ALLOW_ON(name, fd)                                                                                   \
    EQUAL(SYS_##name, 0, 6), LOAD_HIGH(0), EQUAL(0, 0, 3), LOAD_LOW(0), EQUAL(fd, 0, 1),                     \
        RETURN(SECCOMP_RET_ALLOW), RETURN(SECCOMP_RET_KILL_PROCESS)

bool dlt_guard_system_calls(int read_fd, int write_fd)
{
    struct sock_filter filter[] = {
        LOAD(arch),
        EQUAL(NATIVE_ARCH, 1, 0),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr), /* numbers of the x32 ABI carry bit 30 and match nothing below */
        ALLOW_ON(pread64, read_fd),
#if DLT_SANITIZED /* reports of the sanitizers go to standard error */
        EQUAL(SYS_write, 0, 3),
        LOAD_LOW(0),
        EQUAL(STDERR_FILENO, 0, 1),
        RETURN(SECCOMP_RET_ALLOW),
        LOAD(nr),
        ALLOW(sigaltstack),
        ALLOW(rt_sigprocmask),
        ALLOW(rt_sigaction),
        ALLOW(getpid),
        ALLOW(gettid),
#endif
        ALLOW_ON(write, write_fd),
        ALLOW(brk),
        ALLOW(munmap),
        ALLOW(mremap),
        ALLOW(madvise),
        ALLOW(futex),
        ALLOW(exit_group),
        ALLOW(exit),
        ALLOW(rt_sigreturn),
        ALLOW(restart_syscall),
        ALLOW(clock_gettime),
        ALLOW(gettimeofday),
        ALLOW(getrandom),
        ALLOW(sched_yield),
        ALLOW(clock_nanosleep),
        ALLOW(nanosleep),
        /* memory, but nothing of a file and nothing that can be run */
        EQUAL(SYS_mmap, 0, 6),
        LOAD_LOW(2),
        HAS_BIT(PROT_EXEC, 3, 0),
        LOAD_LOW(3),
        HAS_BIT(MAP_ANONYMOUS, 0, 1),
        RETURN(SECCOMP_RET_ALLOW),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        EQUAL(SYS_mprotect, 0, 4),
        LOAD_LOW(2),
        HAS_BIT(PROT_EXEC, 1, 0),
        RETURN(SECCOMP_RET_ALLOW),
        RETURN(SECCOMP_RET_KILL_PROCESS),
    /* a library may look for a file that it can do without */
#ifdef SYS_open
        REFUSE(open),
        REFUSE(stat),
        REFUSE(access),
        REFUSE(readlink),
#endif
        REFUSE(openat),
        REFUSE(newfstatat),
        REFUSE(faccessat),
        REFUSE(readlinkat),
        REFUSE(getcwd),
        RETURN(SECCOMP_RET_KILL_PROCESS),
    };
    const struct sock_fprog program = {.len = (unsigned short)DLT_COUNT(filter), .filter = filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}
#else
bool dlt_guard_system_calls(int read_fd, int write_fd)
{
    (void)read_fd;
    (void)write_fd;
    return false;
}
#endif
