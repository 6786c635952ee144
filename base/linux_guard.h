/* base/linux_guard.h: how a helper process gives up what it does not need before it touches foreign bytes. Linux only. */
#ifndef DLT_BASE_LINUX_GUARD_H
#define DLT_BASE_LINUX_GUARD_H

#include <stdbool.h>
#include <stdint.h>

/** Built with AddressSanitizer or ThreadSanitizer, whose runtimes need more room and a few more calls. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DLT_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define DLT_SANITIZED 1
#endif
#endif
#ifndef DLT_SANITIZED
#define DLT_SANITIZED 0
#endif

typedef struct dlt_guard_limits {
    uint64_t address_bytes; /* RLIMIT_AS; 0: not limited. Left alone under sanitizers, which reserve terabytes */
    unsigned cpu_seconds;   /* RLIMIT_CPU: SIGXCPU, then SIGKILL a second later */
    unsigned descriptors;   /* RLIMIT_NOFILE: numbers below this may be in use */
} dlt_guard_limits;

/** What holds after the calls below. */
enum {
    DLT_GUARD_MEMORY = 1,
    DLT_GUARD_CPU = 2,
    DLT_GUARD_FILES = 4, /* RLIMIT_NOFILE and RLIMIT_FSIZE 0 */
    DLT_GUARD_CORE = 8,  /* RLIMIT_CORE 0 and not dumpable */
    DLT_GUARD_PRIVILEGES = 16,
    DLT_GUARD_SECCOMP = 32
};

/** Bytes of address space in use, libraries included; 0 where the kernel does not tell. */
uint64_t dlt_guard_address_bytes(void);
/** Closes every descriptor from `first` on. */
void dlt_guard_close_from(int first);
/** Asks the kernel to kill this process when the thread that started it ends. */
void dlt_guard_die_with_parent(void);
/** Sets the limits and PR_SET_NO_NEW_PRIVS; returns those that hold. */
unsigned dlt_guard_limit(const dlt_guard_limits *limits);
/**
 * From here on the process may allocate memory, pread from one descriptor, write to another, wait and end. What opens
 * files fails with EACCES; every other call kills the process. False where seccomp is missing: nothing has changed.
 */
bool dlt_guard_system_calls(int read_fd, int write_fd);

#endif
