/* tests/support/support.h: what test programs share. */
#ifndef DLT_TESTS_SUPPORT_H
#define DLT_TESTS_SUPPORT_H

/* cmocka wants these before its own header */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DLT_TEST_USUALLY_SLOWER 20
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define DLT_TEST_USUALLY_SLOWER 20
#endif
#endif
#ifndef DLT_TEST_USUALLY_SLOWER
#define DLT_TEST_USUALLY_SLOWER 2
#endif
/**
 * What limits of CPU time in tests are multiplied by: wide, for they are there to find what grows with the square of its input. The environment's
 * DLT_TEST_SLOWER for machines that are slower still, as valgrind's is.
 */
double dlt_test_slower(void);
/** Seconds of CPU time that this process has used. */
double dlt_test_cpu_seconds(void);

/** Path of a file of the source tree; valid until the next 8 calls. */
const char *dlt_test_path(const char *relative);

#endif
