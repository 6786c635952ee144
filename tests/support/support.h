/* tests/support/support.h: what test programs share. */
#ifndef DLT_TESTS_SUPPORT_H
#define DLT_TESTS_SUPPORT_H

/* cmocka wants these before its own header */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/** Path of a file of the source tree; valid until the next 8 calls. */
const char *dlt_test_path(const char *relative);

#endif
